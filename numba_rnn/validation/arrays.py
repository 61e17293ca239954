"""Arrays: their kind, dtype, shape and place, as layers, losses and optimisers take them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import dispatch
from ..dispatch import CPU
from . import advice
from .advice import convert
from .values import FLOAT_DTYPES, describe

# --- masks --------------------------------------------------------------------------------------


def unmasked(name: str, value: Any) -> Any:
    """Return what may be computed with as it stands: no masked entry, whose value is no value.

    NumPy drops a mask wherever it makes a plain array, and what lies under it would be taken as a
    number. A masked array that masks nothing becomes a plain one, in the same memory. Lists are
    looked through, and are what they were.
    """
    if isinstance(value, np.ma.MaskedArray):
        count = int(np.count_nonzero(np.ma.getmaskarray(value)))
        if count:
            raise ValueError(
                f"{name} must have no masked entries, got {count} of {value.size}: leave them out, "
                f"as {name}.compressed() does of one axis, or fill them, as with "
                f"{name}.filled(value)"
            )
        return value.data
    listed = isinstance(value, (list, tuple))
    if listed or (isinstance(value, np.ndarray) and value.dtype == object and value.ndim == 1):
        for k, entry in enumerate(value):
            if isinstance(entry, (list, tuple, np.ma.MaskedArray)):
                unmasked(f"{name}[{k}]", entry)
    return value


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


def at(name: str, value: Any, place: str, owner: str, dtype: np.dtype | None = None) -> Any:
    """Return an array that lies at a place, that of `owner`; one from elsewhere is refused.

    The dtype is the one that messages say how to get.

    A GPU array is returned as what can be sliced and reshaped: without torch's record of
    gradients, and as Numba's device array where it is of no library that is known.
    """
    value = unmasked(name, value)
    found = dispatch.place(value)
    library = dispatch.library(value)
    if found is None:
        fix = advice.how_to_convert(name, value, dtype, place)
        raise TypeError(f"{name} must be {_array_at(place)}, got {describe(value)}{convert(fix)}")
    if not dispatch.agree(found, place):
        fix = f"move {name} with {advice.how_to_move(name, value, place, dtype)}"
        if owner == "the layer":
            fix += f", or the layer with .to({'cpu' if found == CPU else 'cuda'!r})"
        raise TypeError(f"{name} is {_spoken(found)}, {owner} {_spoken(place)}: {fix}")
    if library is None:
        return value
    if found == CPU:  # a tensor of torch's, and the like
        fix = advice.how_to_move(name, value, CPU, dtype)
        raise TypeError(f"{name} must be a NumPy array, got {describe(value)}; convert with {fix}")
    return library.plain(value)


def _spoken(place: str) -> str:
    if place == CPU:
        return "on the CPU"
    return f"on the GPU ({place})" if place.startswith("cuda") else f"on {place}"


def _array_at(place: str) -> str:
    return "a NumPy array" if place == CPU else f"an array {_spoken(place)}"


def on_host(name: str, value: Any, words: str) -> np.ndarray:
    """Return what NumPy makes of a value; what lies on a GPU is never copied silently.

    Nor is a mask dropped.
    """
    if dispatch.on_gpu(value):
        fix = advice.how_to_move(name, value, CPU)
        got = f"{describe(value)} on the GPU"
        raise TypeError(f"{name} must be {words} on the CPU, got {got}: copy it with {fix}")
    value = unmasked(name, value)
    try:
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        fix = advice.how_to_convert(name, value)
        why = f": {error}" if fix is None else convert(fix)
        raise TypeError(f"{name} must be {words}, got {describe(value)}{why}") from error


# --- input and gradients of the layers ----------------------------------------------------------


def floats(name: str, value: Any, dtype: np.dtype, place: str = CPU) -> Any:
    """Return an array of exactly the layer's dtype and place; nothing is converted silently."""
    if type(value) is np.ndarray and place == CPU:
        found = value.dtype
    else:
        value, found = _floats_elsewhere(name, value, dtype, place)
    if found != dtype:
        cast = advice.how_to_cast(name, value, dtype)
        if name.endswith(".data"):  # of a packed sequence, which can't be assigned to
            cast = f"{name.removesuffix('.data')}._replace(data={cast})"
        fix = f"convert with {cast}"
        if found in FLOAT_DTYPES:
            fix += f" or build the layer with dtype=np.{found.name}"
        raise TypeError(f"{name} must be of dtype {dtype}, as the layer is, got {found}; {fix}")
    return value


def _floats_elsewhere(name: str, value: Any, dtype: np.dtype, place: str) -> tuple[Any, Any]:
    """Array and dtype, of a subclass of NumPy's array or of an array on a GPU."""
    value = unmasked(name, value)
    if dispatch.place(value) is None:
        fix = advice.how_to_convert(name, value, dtype, place)
        raise TypeError(
            f"{name} must be {_array_at(place)} of dtype {dtype}, "
            f"got {describe(value)}{convert(fix)}"
        )
    array = at(name, value, place, "the layer", dtype)
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


# --- any arrays ---------------------------------------------------------------------------------


def any_array(name: str, value: Any, ndim: int) -> np.ndarray:
    """Return an array of any dtype with at least `ndim` axes: data that is only moved about."""
    array = value if type(value) is np.ndarray else on_host(name, value, "an array")
    if array.ndim < ndim:
        raise ValueError(f"{name} must have at least {ndim} axes, got {describe(value)}")
    return array


def float_array(name: str, value: Any, *, in_place: bool = False) -> Any:
    """Return an array of float32 or float64, on the CPU or a GPU, as it is; refuse the rest.

    Where it is to be changed in place, no message advises a copy.
    """
    value = unmasked(name, value)
    on_gpu = dispatch.on_gpu(value)
    if not (isinstance(value, np.ndarray) or on_gpu):
        wanted = None if dtype_of(value) in FLOAT_DTYPES else np.dtype(np.float32)
        fix = advice.how_to_share(name, value)
        if not in_place:
            fix = advice.how_to_convert(name, value, wanted)
        raise TypeError(f"{name} must be a NumPy array, got {describe(value)}{convert(fix)}")
    if dtype_of(value) not in FLOAT_DTYPES:
        fix = advice.how_to_cast(name, value, np.dtype(np.float32))
        raise TypeError(
            f"{name} must be of dtype float32 or float64, got {dtype_of(value)}: convert with {fix}"
        )
    return dispatch.library(value).plain(value) if on_gpu else value


def dtype_of(array: Any) -> np.dtype | str | None:
    library = dispatch.library(array)
    return getattr(array, "dtype", None) if library is None else library.dtype(array)


def shape_of(array: Any) -> tuple[int, ...]:
    library = dispatch.library(array)
    return array.shape if library is None else library.shape(array)
