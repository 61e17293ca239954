"""Every check of what a user passes in, in one place.

Each function names the argument, says what was expected and shows what came. Checks come before
any work, so that a refused call has changed nothing.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from . import dispatch
from .dispatch import CPU

LARGEST_SIZE = 1 << 31
NONLINEARITIES = ("tanh", "relu")
FLOAT_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


def describe(value: Any) -> str:
    """Say in a few words what a value is: its shape and dtype, or its type and itself."""
    if isinstance(value, type):
        return f"{type(value).__name__} {value!r}"
    if (owner := dispatch.library(value)) is not None:
        kind = f"{type(value).__module__.partition('.')[0]}.{type(value).__name__}"
        return f"{kind} of shape {owner.shape(value)} and dtype {owner.dtype(value)}"
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{type(value).__name__} of shape {tuple(value.shape)} and dtype {value.dtype}"
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"


# --- numbers, flags and choices -----------------------------------------------------------------


def positive_int(name: str, value: Any) -> int:
    """Return a size as an int; booleans and floats are refused as torch refuses them."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an int, got {describe(value)}")
    if not 0 < value < LARGEST_SIZE:
        raise ValueError(f"{name} must be positive and below {LARGEST_SIZE}, got {describe(value)}")
    return int(value)


def flag(name: str, value: Any) -> bool:
    """Return a bool; anything else, 0 and 1 included, is refused."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {describe(value)}")
    return bool(value)


def real(
    name: str,
    value: Any,
    low: float = -np.inf,
    high: float = np.inf,
    *,
    open_low: bool = False,
    open_high: bool = False,
) -> float:
    """Return a real number within bounds as a float; NaN is out of every bound."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(
        value, (int, float, np.integer, np.floating)
    ):
        raise TypeError(f"{name} must be a real number, got {describe(value)}")
    above = value > low if open_low else value >= low
    below = value < high if open_high else value <= high
    if not (above and below):
        left, right = "(["[not open_low], ")]"[not open_high]
        raise ValueError(f"{name} must lie in {left}{low:g}, {high:g}{right}, got {value}")
    return float(value)


def choice(name: str, value: Any, allowed: tuple[str, ...]) -> str:
    """Return one of the allowed words."""
    if not isinstance(value, str) or value not in allowed:
        words = " or ".join(repr(word) for word in allowed)
        raise ValueError(f"{name} must be {words}, got {describe(value)}")
    return value


def float_dtype(name: str, value: Any) -> np.dtype:
    """Return float32 or float64 as a dtype; everything else is refused."""
    try:
        dtype = None if value is None else np.dtype(value)
    except (TypeError, ValueError, SyntaxError):  # what NumPy says to nonsense
        dtype = None
    if dtype is None or dtype not in FLOAT_DTYPES:
        raise ValueError(f"{name} must be np.float32 or np.float64, got {describe(value)}")
    return dtype


def seed(name: str, value: Any) -> int | np.random.Generator | None:
    """Return what a random generator can be made from."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(
        value, (int, np.integer, np.random.Generator, type(None))
    ):
        raise TypeError(f"{name} must be None, an int or a numpy Generator, got {describe(value)}")
    if isinstance(value, (int, np.integer)) and value < 0:
        raise ValueError(f"{name} must not be negative, got {value}")
    return value


def dropout(name: str, value: Any, num_layers: int) -> float:
    """Return the probability that an element is dropped."""
    probability = real(name, value, 0, 1)
    if probability > 0 and num_layers == 1:
        warnings.warn(
            f"{name} acts between layers, so {name}={value} has no effect with num_layers=1",
            UserWarning,
            stacklevel=5,  # the caller of the constructor
        )
    return probability


def path(name: str, value: Any) -> Path:
    """Return the place of a file."""
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name} must be a str or a path, got {describe(value)}")
    return Path(value)


# --- parameters ---------------------------------------------------------------------------------


def parameter(
    name: str, value: Any, shape: tuple[int, ...], dtype: np.dtype, place: str = CPU
) -> Any:
    """Return real floats of the right shape, in the layer's dtype and at its place."""
    if place != CPU:
        return shaped(name, value, shape, dtype, place)
    array = on_host(name, value, "an array")
    if array.dtype.kind != "f":
        raise TypeError(
            f"{name} must be of a real floating dtype, got {array.dtype}; "
            f"convert with np.asarray({name}, dtype=np.{dtype.name})"
        )
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    with np.errstate(over="ignore"):  # float64 beyond float32 becomes infinity, as in NumPy
        return array.astype(dtype)


def state(value: Any, shapes: Mapping[str, tuple[int, ...]], dtype: np.dtype) -> dict:
    """Return a state dict with exactly the expected names, every value checked."""
    if not isinstance(value, Mapping):
        raise TypeError(f"state must be a mapping of names to arrays, got {describe(value)}")
    missing = [name for name in shapes if name not in value]
    unknown = [repr(name) for name in value if name not in shapes]
    if missing or unknown:
        problems = [f"missing {', '.join(missing)}"] if missing else []
        problems += [f"unknown {', '.join(unknown)}"] if unknown else []
        raise ValueError(f"state must have exactly {', '.join(shapes)}: {'; '.join(problems)}")
    return {name: parameter(name, value[name], shape, dtype) for name, shape in shapes.items()}


# --- places -------------------------------------------------------------------------------------


def at(name: str, value: Any, place: str, owner: str) -> Any:
    """Return an array that lies at a place, that of `owner`; one from elsewhere is refused.

    A GPU array is returned as what can be sliced and reshaped: without torch's record of
    gradients, and as Numba's device array where it is of no library that is known.
    """
    found = dispatch.place(value)
    library = dispatch.library(value)
    if found is None or isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} must be {_array_at(place)}, got {describe(value)}")
    if not dispatch.agree(found, place):
        fix = f"move {name} with {dispatch.how_to_move(name, value, place)}"
        if owner == "the layer":
            fix += f", or the layer with .to({'cpu' if found == CPU else 'cuda'!r})"
        raise TypeError(f"{name} is {_spoken(found)}, {owner} {_spoken(place)}: {fix}")
    if library is None:
        return value
    if found == CPU:  # a tensor of torch's, and the like
        fix = dispatch.how_to_move(name, value, CPU)
        raise TypeError(f"{name} must be a NumPy array, got {describe(value)}; convert with {fix}")
    return library.plain(value)


def _spoken(place: str) -> str:
    if place == CPU:
        return "on the CPU"
    return f"on the GPU ({place})" if place.startswith("cuda") else f"on {place}"


def _array_at(place: str) -> str:
    return "a NumPy array" if place == CPU else f"an array {_spoken(place)}"


def on_host(name: str, value: Any, words: str) -> np.ndarray:
    """Return what NumPy makes of a value; what lies on a GPU is never copied silently."""
    if dispatch.on_gpu(value):
        fix = dispatch.how_to_move(name, value, CPU)
        got = f"{describe(value)} on the GPU"
        raise TypeError(f"{name} must be {words} on the CPU, got {got}: copy it with {fix}")
    try:
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name} must be {words}, got {describe(value)}: {error}") from error


# --- input and gradients of the layers ----------------------------------------------------------


def floats(name: str, value: Any, dtype: np.dtype, place: str = CPU) -> Any:
    """Return an array of exactly the layer's dtype and place; nothing is converted silently."""
    if type(value) is np.ndarray and place == CPU:
        found = value.dtype
    else:
        value, found = _floats_elsewhere(name, value, dtype, place)
    if found != dtype:
        fix = f"convert with {dispatch.how_to_cast(name, value, dtype)}"
        if found in FLOAT_DTYPES:
            fix += f" or build the layer with dtype=np.{found.name}"
        raise TypeError(f"{name} must be of dtype {dtype}, as the layer is, got {found}; {fix}")
    return value


def _floats_elsewhere(name: str, value: Any, dtype: np.dtype, place: str) -> tuple[Any, Any]:
    """Array and dtype, of a subclass of NumPy's array or of an array on a GPU."""
    if dispatch.place(value) is None or isinstance(value, np.ma.MaskedArray):
        fix = f"np.asarray({name}, dtype=np.{dtype.name})"
        if place != CPU:
            fix = f"cupy.asarray({name}, dtype=np.{dtype.name})"
        raise TypeError(
            f"{name} must be {_array_at(place)} of dtype {dtype}, got {describe(value)}; "
            f"convert with {fix}"
        )
    array = at(name, value, place, "the layer")
    library = dispatch.library(array)
    return array, array.dtype if library is None else library.dtype(array)


def shaped(name: str, value: Any, shape: tuple[int, ...], dtype: np.dtype, place: str = CPU) -> Any:
    """Return an array of exactly this shape, dtype and place."""
    array = floats(name, value, dtype, place)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {tuple(array.shape)}")
    return array


def features(
    name: str,
    value: Any,
    dtype: np.dtype,
    size: int,
    leading: tuple[tuple[str, ...], ...],
    place: str = CPU,
) -> Any:
    """Return an array with `size` features on its last axis.

    `leading` lists what the axes before it may be, as in ``(("L", "N"), ("L",))``; ``("...",)``
    stands for any.
    """
    array = floats(name, value, dtype, place)
    ndim = array.ndim
    if ndim and array.shape[ndim - 1] == size:
        for axes in leading:
            if ndim == len(axes) + 1 or axes == ("...",):
                return array
    shapes = " or ".join(f"({', '.join([*axes, str(size)])})" for axes in leading)
    raise ValueError(f"{name} must have shape {shapes}, got {tuple(array.shape)}")


# --- lengths and packed sequences ---------------------------------------------------------------


def index_array(name: str, value: Any) -> np.ndarray:
    """Return a 1-D sequence of integers as a new int64 array; booleans and floats are refused."""
    array = on_host(name, value, "a 1-D sequence of integers")
    if array.ndim != 1:
        raise ValueError(f"{name} must be 1-D, got {describe(value)}")
    bare = not hasattr(value, "dtype")  # a list, a tuple, a range
    if bare and array.size == 0:
        return np.zeros(0, np.int64)
    # NumPy reads [True, 2] as integers, so a list is looked through for booleans.
    if array.dtype.kind not in "iu" or (
        bare and any(isinstance(entry, (bool, np.bool_)) for entry in value)
    ):
        raise TypeError(
            f"{name} must hold integers, got {describe(value)}; "
            f"convert with np.asarray({name}, dtype=np.int64) if they are whole numbers"
        )
    result = array.astype(np.int64)
    if array.dtype.kind == "u" and (result < 0).any():
        raise ValueError(f"{name} must hold integers below 2**63, {offenders(array, result < 0)}")
    return result


def offenders(array: np.ndarray, bad: np.ndarray) -> str:
    """Say which entries of a 1-D array are wrong, and where; the first five of them."""
    where = np.flatnonzero(bad)
    shown = ", ".join(f"{array[k]} at index {k}" for k in where[:5])
    return f"got {shown}" + (f" and {where.size - 5} more" if where.size > 5 else "")


def lengths(name: str, value: Any, batch: int, longest: int, *, zero_allowed: bool) -> np.ndarray:
    """Return one length a sequence as a new int64 array, shape (N,), in the given order."""
    result = index_array(name, value)
    if result.size != batch:
        raise ValueError(
            f"{name} must hold one length for each of the {batch} sequences, got {result.size}"
        )
    low = 0 if zero_allowed else 1
    bad = (result < low) | (result > longest)
    if bad.any():
        raise ValueError(
            f"{name} must lie between {low} and {longest}, the padded length, "
            f"{offenders(result, bad)}"
        )
    return result


def decreasing_lengths(name: str, value: np.ndarray) -> None:
    """Refuse lengths that grow somewhere: what enforce_sorted=True asks for."""
    if (value[1:] > value[:-1]).any():
        k = int(np.argmax(value[1:] > value[:-1]))
        raise ValueError(
            f"{name} must not grow with enforce_sorted=True, got {value[k]} followed by "
            f"{value[k + 1]} at index {k + 1}; sort the sequences or pass enforce_sorted=False"
        )


def packed_sequence(
    data: Any, batch_sizes: Any, sorted_indices: Any = None, unsorted_indices: Any = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Return the four parts of a well-formed packed sequence as arrays.

    `data` is passed on as it is, not copied, and may be on a GPU.
    """
    if not dispatch.on_gpu(data):
        data = any_array("data", data, 1)
    elif len(shape_of(data)) < 1:
        raise ValueError(f"data must have at least 1 axes, got {describe(data)}")
    return data, *packing(shape_of(data)[0], batch_sizes, sorted_indices, unsorted_indices)


def packing(
    rows: int, batch_sizes: Any, sorted_indices: Any = None, unsorted_indices: Any = None
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Return the index arrays of a packed sequence with that many rows of data.

    They are new int64 arrays, so that what was checked is what is used, whatever happens to the
    caller's own. Of the two orders, one that is missing is derived from the other.
    """
    sizes = index_array("batch_sizes", batch_sizes)
    if sizes.size == 0:
        raise ValueError("batch_sizes must hold at least one step, got none")
    if (sizes <= 0).any():
        raise ValueError(f"batch_sizes must be positive, {offenders(sizes, sizes <= 0)}")
    if (sizes[1:] > sizes[:-1]).any():
        k = int(np.argmax(sizes[1:] > sizes[:-1]))
        raise ValueError(
            f"batch_sizes must not grow, got {sizes[k]} followed by {sizes[k + 1]} at index {k + 1}"
        )
    ends = np.cumsum(sizes)  # a sum that overflows shows as a negative end
    if ends[-1] != rows or ends.min() < 0:
        total = sum(sizes.tolist())
        raise ValueError(f"batch_sizes must sum to the {rows} rows of data, got a sum of {total}")
    batch = int(sizes[0])
    if sorted_indices is not None and unsorted_indices is not None:
        order = index_array("sorted_indices", sorted_indices)
        back = index_array("unsorted_indices", unsorted_indices)
        if _undo_each_other(order, back, batch):  # the rest only finds out what is wrong
            return sizes, order, back
    order = None if sorted_indices is None else _order("sorted_indices", sorted_indices, batch)
    back = None if unsorted_indices is None else _order("unsorted_indices", unsorted_indices, batch)
    if order is not None and back is not None:
        wrong = back[order] != np.arange(batch)
        if wrong.any():
            k = int(np.argmax(wrong))
            raise ValueError(
                "unsorted_indices must be the inverse of sorted_indices, got "
                f"unsorted_indices[sorted_indices[{k}]] = {back[order[k]]}"
            )
    elif order is not None:
        back = _inverse(order)
    elif back is not None:
        order = _inverse(back)
    return sizes, order, back


def _order(name: str, value: Any, batch: int) -> np.ndarray:
    """Return a permutation of range(batch)."""
    order = index_array(name, value)
    if order.size != batch:
        raise ValueError(
            f"{name} must hold one index for each of the {batch} sequences, got {order.size}"
        )
    bad = (order < 0) | (order >= batch)
    if not bad.any():
        bad = np.bincount(order, minlength=batch)[order] > 1
    if bad.any():
        raise ValueError(f"{name} must be a permutation of range({batch}), {offenders(order, bad)}")
    return order


def _undo_each_other(order: np.ndarray, back: np.ndarray, batch: int) -> bool:
    """Whether two arrays are permutations of range(batch), each the inverse of the other."""
    if not order.size == back.size == batch:
        return False
    if min(order.min(), back.min()) < 0 or max(order.max(), back.max()) >= batch:
        return False
    return bool((back[order] == np.arange(batch)).all())


def _inverse(order: np.ndarray) -> np.ndarray:
    """Return the inverse of a permutation."""
    back = np.empty_like(order)
    back[order] = np.arange(order.size)
    return back


def any_array(name: str, value: Any, ndim: int) -> np.ndarray:
    """Return an array of any dtype with at least `ndim` axes: data that is only moved about."""
    array = value if type(value) is np.ndarray else on_host(name, value, "an array")
    if array.ndim < ndim:
        raise ValueError(f"{name} must have at least {ndim} axes, got {describe(value)}")
    return array


def sequence_list(name: str, value: Any) -> list[np.ndarray]:
    """Return at least one sequence (length, ...) as arrays with one dtype and trailing shape."""
    try:
        entries = list(value)
    except TypeError as error:
        raise TypeError(f"{name} must be a list of arrays, got {describe(value)}") from error
    if not entries:
        raise ValueError(f"{name} must hold at least one sequence, got none")
    arrays = [any_array(f"{name}[{k}]", entry, 1) for k, entry in enumerate(entries)]
    first = arrays[0]
    for k, array in enumerate(arrays):
        if array.shape[1:] != first.shape[1:]:
            expected = ", ".join(["length", *map(str, first.shape[1:])])
            raise ValueError(
                f"{name}[{k}] must have shape ({expected}) as {name}[0] has, got {array.shape}"
            )
        if array.dtype != first.dtype:
            raise TypeError(
                f"{name}[{k}] must have dtype {first.dtype} as {name}[0] has, got {array.dtype}; "
                f"convert with {name}[{k}].astype({str(first.dtype)!r})"
            )
    return arrays


def not_empty(name: str, array: np.ndarray) -> None:
    """Refuse an array without a single element."""
    if array.size == 0:
        raise ValueError(f"{name} must not be empty, got shape {array.shape}")


def padding_value(name: str, value: Any, dtype: np.dtype) -> Any:
    """Return a number that an array of this dtype can hold; 0.5 among integers is refused."""
    if not isinstance(value, (int, float, complex, np.number, np.bool_)):
        raise TypeError(f"{name} must be a number, got {describe(value)}")
    if dtype.kind not in "biufc":
        return value
    if dtype.kind != "c" and isinstance(value, (complex, np.complexfloating)):
        raise TypeError(f"{name} must be real for data of dtype {dtype}, got {value}")
    fits = True
    try:
        with np.errstate(all="ignore"):
            cast = np.asarray(value).astype(dtype)
            if dtype.kind in "biu":
                fits = bool(cast == value)
            else:  # rounding is fine, turning into infinity is not
                fits = bool(np.isfinite(cast) or not np.isfinite(value))
    except (OverflowError, TypeError, ValueError):
        fits = False
    if not fits:
        raise ValueError(f"{name} must be a value that dtype {dtype} can hold, got {value}")
    return cast[()]


def instance(name: str, value: Any, kind: type) -> None:
    """Refuse what is not of the one class that a function works on."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be a {kind.__name__}, got {describe(value)}")


def total_length(name: str, value: Any, longest: int) -> int:
    """Return a padded length that no sequence is longer than."""
    total = positive_int(name, value)
    if total < longest:
        raise ValueError(f"{name} must be at least {longest}, the longest length, got {total}")
    return total


def same_packing(name: str, value: Any, packing: tuple | None) -> np.ndarray:
    """Return the data of a PackedSequence that is laid out as another one, given by its indices."""
    if packing is None:
        raise TypeError(
            f"{name} must be an array, as x was no PackedSequence, got {describe(value)}"
        )
    data, sizes, order, _ = packed_sequence(*value)
    if not np.array_equal(sizes, packing[0]):
        raise ValueError(
            f"{name} must have the batch_sizes of x, {packing[0].tolist()}, got {sizes.tolist()}"
        )
    plain = np.arange(sizes[0])
    if not np.array_equal(
        plain if order is None else order, plain if packing[1] is None else packing[1]
    ):
        raise ValueError(f"{name} must have the sorted_indices of x, {packing[1]}, got {order}")
    return data


# --- losses and optimisers -----------------------------------------------------------------------


def _numbers(name: str, value: Any, kinds: str, words: str) -> np.ndarray:
    """Return value as an array whose dtype is of one of the kinds (np.dtype.kind)."""
    if type(value) is not np.ndarray and dispatch.on_gpu(value):
        at(name, value, CPU, "prediction")
    array = any_array(name, value, 0)
    if array.dtype.kind not in kinds:
        raise TypeError(f"{name} must hold {words}, got {describe(value)}")
    return array


def _float_array(name: str, value: Any) -> Any:
    """Return an array of float32 or float64, on the CPU or a GPU, as it is; refuse the rest."""
    if not isinstance(value, np.ndarray) and not dispatch.on_gpu(value):
        raise TypeError(f"{name} must be a NumPy array, got {describe(value)}")
    if _dtype(value) not in FLOAT_DTYPES:
        fix = dispatch.how_to_cast(name, value, np.dtype(np.float32))
        raise TypeError(
            f"{name} must be of dtype float32 or float64, got {_dtype(value)}: convert with {fix}"
        )
    return dispatch.plain(value) if dispatch.on_gpu(value) else value


def _dtype(array: Any) -> np.dtype | str:
    library = dispatch.library(array)
    return array.dtype if library is None else library.dtype(array)


def shape_of(array: Any) -> tuple[int, ...]:
    library = dispatch.library(array)
    return array.shape if library is None else library.shape(array)


def loss_prediction(value: Any, *, classes: bool = False) -> Any:
    """Return a loss's prediction; with classes, its last axis must hold at least one."""
    prediction = _float_array("prediction", value)
    shape = shape_of(prediction)
    if classes and (len(shape) == 0 or shape[-1] == 0):
        raise ValueError(
            "prediction must have shape (..., number of classes), at least one of them, "
            f"got {shape}"
        )
    return prediction


def gpu_loss(
    prediction: Any, target: Any, weights: Any, *, classes: bool = False
) -> tuple[Any, Any, Any]:
    """Check a loss's arguments of which the first is on a GPU: places, dtypes and shapes.

    Values are left alone, since to look at them would be to wait for the GPU. Weights may be None,
    a number, or an array.
    """
    prediction = loss_prediction(prediction, classes=classes)
    place, shape = dispatch.place(prediction), shape_of(prediction)
    target = at("target", target, place, "prediction")
    if classes:
        expected, kinds, words = shape[:-1], "iu", "integer class indices"
        expectation = f"shape {expected}, the prediction's {shape} without its classes"
    else:
        expected, kinds, words = shape, "fiub", "real numbers"
        expectation = f"the prediction's shape {shape}"
    _kind_among("target", target, kinds, words)
    if shape_of(target) != expected:
        raise ValueError(f"target must have {expectation}, got {shape_of(target)}")
    if weights is None:
        return prediction, target, None
    if isinstance(weights, (int, float, np.number, np.bool_)):
        return prediction, target, float(loss_weights(weights, ()))
    weights = at("weights", weights, place, "prediction")
    _kind_among("weights", weights, "fiub", "real numbers")
    try:
        fits = np.broadcast_shapes(shape_of(weights), expected) == expected
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"weights must broadcast to shape {expected}, got shape {shape_of(weights)}"
        )
    return prediction, target, weights


def _kind_among(name: str, array: Any, kinds: str, words: str) -> None:
    """Refuse an array whose dtype is of none of the kinds."""
    if getattr(_dtype(array), "kind", "") not in tuple(kinds):
        raise TypeError(f"{name} must hold {words}, got {describe(array)}")


def loss_weights(value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Return weights as float64 broadcast (without a copy) to shape; None is 1 everywhere."""
    weights = _numbers("weights", 1.0 if value is None else value, "fiub", "real numbers")
    weights = weights.astype(np.float64)
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        bad = weights[~(np.isfinite(weights) & (weights >= 0))].flat[0]
        raise ValueError(f"weights must be finite and not negative, got {bad}")
    try:
        return np.broadcast_to(weights, shape)
    except ValueError as error:
        raise ValueError(
            f"weights must broadcast to shape {shape}, got shape {weights.shape}"
        ) from error


def loss_target(value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Return the target of a regression: real numbers in the prediction's shape."""
    target = _numbers("target", value, "fiub", "real numbers")
    if target.shape != shape:
        raise ValueError(f"target must have the prediction's shape {shape}, got {target.shape}")
    return target


def loss_probabilities(value: Any, shape: tuple[int, ...], used: np.ndarray) -> np.ndarray:
    """Return the target of a binary classification: in [0, 1] where used, anything elsewhere."""
    target = loss_target(value, shape)
    bad = used & ~((target >= 0) & (target <= 1))
    if bad.any():
        raise ValueError(
            f"target must lie in [0, 1], got {target[bad].flat[0]} (weight 0 masks an element)"
        )
    return target


def loss_classes(value: Any, shape: tuple[int, ...], used: np.ndarray) -> np.ndarray:
    """Return class indices for logits of that shape: in range where used, 0 elsewhere."""
    target = _numbers("target", value, "iu", "integer class indices")
    if target.shape != shape[:-1]:
        raise ValueError(
            f"target must have shape {shape[:-1]}, the prediction's {shape} without its classes, "
            f"got {target.shape}"
        )
    bad = used & ~((target >= 0) & (target < shape[-1]))
    if bad.any():
        raise ValueError(
            f"target must lie in 0..{shape[-1] - 1}, got {target[bad].flat[0]} "
            "(weight 0 masks a position)"
        )
    return np.where(used, target, 0).astype(np.intp)


def array_list(name: str, value: Any) -> tuple[list[Any], bool]:
    """Return arrays to be changed in place as a list, and whether it was one array alone.

    Each must be writeable and where the first is, and no two may share memory: it would be changed
    twice.
    """
    single = isinstance(value, np.ndarray) or dispatch.on_gpu(value)
    if single:
        value = [value]
    elif isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        hint = f": pass list({name}.values())" if isinstance(value, Mapping) else ""
        raise TypeError(f"{name} must be an array or a list of arrays, got {describe(value)}{hint}")
    arrays = list(value)
    names = [name if single else f"{name}[{i}]" for i in range(len(arrays))]
    for i, array in enumerate(arrays):
        arrays[i] = array = _float_array(names[i], array)
        at(names[i], array, dispatch.place(arrays[0]), names[0])
        writeable_array(names[i], array)
        for j in range(i):
            if _share_memory(arrays[j], array):
                raise ValueError(
                    f"{name} must not share memory, got {names[j]} and {names[i]} that do"
                )
    return arrays, single


def _share_memory(a: Any, b: Any) -> bool:
    """Whether two arrays at the same place have an element in common."""
    if dispatch.on_gpu(a):
        (a0, a1), (b0, b1) = dispatch.extent(a), dispatch.extent(b)
        return a0 < b1 and b0 < a1
    # the first test is quick, the second exact
    return np.may_share_memory(a, b) and np.shares_memory(a, b)


def writeable_array(name: str, value: Any) -> None:
    """Refuse an array that cannot be changed in place."""
    if dispatch.on_gpu(value):
        if not dispatch.in_c_order(value):
            raise ValueError(f"{name} must be contiguous (in C order) on a GPU, got strides")
    elif not value.flags.writeable:
        raise ValueError(f"{name} must be writeable, got a read-only array")


def optimizer_params(value: Any) -> tuple[list[np.ndarray], bool]:
    """Return the parameters of an optimiser as a list, and whether it was one array alone."""
    arrays, single = array_list("params", value)
    if not arrays:
        raise ValueError("params must hold at least one array, got an empty list")
    return arrays, single


def optimizer_grads(value: Any, params: list[Any], single: bool) -> list[Any]:
    """Return gradients as a list that matches the parameters, which must still be writeable."""
    if single:
        if not isinstance(value, np.ndarray) and not dispatch.on_gpu(value):
            raise TypeError(
                f"grads must be an array of shape {shape_of(params[0])}, as params is one array, "
                f"got {describe(value)}"
            )
        arrays = [value]
    else:
        if not isinstance(value, (list, tuple)):
            raise TypeError(
                f"grads must be a list of {len(params)} arrays, as params is, got {describe(value)}"
            )
        arrays = list(value)
    if len(arrays) != len(params):
        raise ValueError(f"grads must hold {len(params)} arrays, got {len(arrays)}")
    for i, (param, grad) in enumerate(zip(params, arrays, strict=True)):
        index = "" if single else f"[{i}]"
        arrays[i] = _like(f"grads{index}", grad, param, f"params{index}")
        writeable_array(f"params{index}", param)
    return arrays


def _like(name: str, value: Any, like: Any, owner: str) -> Any:
    """Return an array with the place, shape and dtype of another; refuse anything else."""
    if type(value) is not np.ndarray or type(like) is not np.ndarray:
        value = at(name, value, dispatch.place(like), owner)
    _same_kind(name, value, like)
    return value


def _same_kind(name: str, value: Any, like: Any) -> None:
    """Refuse an array without the shape and dtype of another, which may be on a GPU."""
    shape, dtype = shape_of(like), _dtype(like)
    if shape_of(value) != shape:
        raise ValueError(f"{name} must have shape {shape}, got {shape_of(value)}")
    if _dtype(value) != dtype:
        fix = dispatch.how_to_cast(name, value, dtype)
        raise TypeError(f"{name} must be of dtype {dtype}, got {_dtype(value)}: convert with {fix}")


def learning_rate(value: Any) -> float:
    """Return a learning rate, finite and not negative."""
    return real("lr", value, 0, open_high=True)


def sgd_options(
    *, momentum: Any, dampening: Any, weight_decay: Any, nesterov: Any
) -> dict[str, Any]:
    """Return the checked options of SGD."""
    options = {
        "momentum": real("momentum", momentum, 0, open_high=True),
        "dampening": real("dampening", dampening, open_low=True, open_high=True),
        "weight_decay": real("weight_decay", weight_decay, 0, open_high=True),
        "nesterov": flag("nesterov", nesterov),
    }
    if options["nesterov"] and (options["momentum"] == 0 or options["dampening"] != 0):
        raise ValueError(
            "nesterov must come with momentum above 0 and dampening 0, "
            f"got momentum={momentum} and dampening={dampening}"
        )
    return options


def rmsprop_options(
    *, alpha: Any, eps: Any, weight_decay: Any, momentum: Any, centered: Any
) -> dict[str, Any]:
    """Return the checked options of RMSprop."""
    return {
        "alpha": real("alpha", alpha, 0, 1),
        "eps": real("eps", eps, 0, open_high=True),
        "weight_decay": real("weight_decay", weight_decay, 0, open_high=True),
        "momentum": real("momentum", momentum, 0, open_high=True),
        "centered": flag("centered", centered),
    }


def adam_options(*, betas: Any, eps: Any, weight_decay: Any, amsgrad: Any) -> dict[str, Any]:
    """Return the checked options of Adam and AdamW."""
    if not isinstance(betas, (tuple, list)) or len(betas) != 2:
        raise TypeError(f"betas must be a pair of numbers, got {describe(betas)}")
    return {
        "betas": tuple(real(f"betas[{i}]", betas[i], 0, 1, open_high=True) for i in (0, 1)),
        "eps": real("eps", eps, 0, open_high=True),
        "weight_decay": real("weight_decay", weight_decay, 0, open_high=True),
        "amsgrad": flag("amsgrad", amsgrad),
    }


def optimizer_state(
    state: Any,
    name: str,
    check_options: Callable[..., dict[str, Any]],
    options: Iterable[str],
    buffer_names: Callable[[dict[str, Any]], tuple[str, ...]],
    params: list[np.ndarray],
) -> tuple[int, float, dict[str, Any], dict[str, list[np.ndarray]]]:
    """Return the step count, learning rate, options and buffers (copies) of a state dict.

    Scalars may have become 0-d arrays, as they do in an .npz file.
    """
    if not isinstance(state, Mapping):
        raise TypeError(f"state must be a dict, got {describe(state)}")
    scalars = ("optimizer", "step", "lr", *options)
    _all_there(state, scalars)
    plain = {key: np.asarray(state[key]).tolist() for key in scalars}
    if plain["optimizer"] != name:
        raise ValueError(f"state must come from {name}, got one from {plain['optimizer']}")
    step = plain["step"]
    if type(step) is not int or step < 0:
        raise ValueError(f"state['step'] must be an int of at least 0, got {describe(step)}")
    lr = learning_rate(plain["lr"])
    checked = check_options(**{key: plain[key] for key in options})

    # which buffers there are follows from the options
    keys = {
        buffer: [f"{buffer}.{i}" for i in range(len(params))] for buffer in buffer_names(checked)
    }
    known = [*scalars, *(key for group in keys.values() for key in group)]
    _all_there(state, known)
    unknown = [key for key in state if key not in known]
    if unknown:
        raise ValueError(f"state must hold {known} alone, got also {unknown}")
    buffers: dict[str, list[np.ndarray]] = {}
    for buffer, group in keys.items():
        buffers[buffer] = []
        for key, param in zip(group, params, strict=True):
            array, where = state[key], f"state[{key!r}]"
            _same_kind(where, at(where, array, CPU, "a state"), param)
            buffers[buffer].append(dispatch.like(param, array))
    return step, lr, checked, buffers


def _all_there(state: Mapping[str, Any], keys: Iterable[str]) -> None:
    """Refuse a state dict that lacks one of the keys."""
    missing = [key for key in keys if key not in state]
    if missing:
        raise ValueError(f"state must hold {missing} too, got only {list(state)}")
