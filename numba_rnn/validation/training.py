"""What losses and optimisers take."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from .. import devices, dispatch
from ..dispatch import CPU
from . import advice
from .advice import convert
from .arrays import any_array, at, dtype_of, float_array, shape_of
from .values import describe, flag, real


def _numbers(name: str, value: Any, kinds: str, words: str) -> np.ndarray:
    """Return value as an array whose dtype is of one of the kinds (np.dtype.kind)."""
    if type(value) is not np.ndarray and dispatch.on_gpu(value):
        at(name, value, CPU, "prediction")
    array = any_array(name, value, 0)
    if array.dtype.kind not in kinds:
        fix = None
        if "f" in kinds:  # whoever gives floats as classes may mean something else
            fix = advice.how_to_convert(name, value, np.dtype(np.float64))
        raise TypeError(f"{name} must hold {words}, got {describe(value)}{convert(fix)}")
    return array


def loss_prediction(value: Any, *, classes: bool = False) -> Any:
    """Return a loss's prediction; with classes, its last axis must hold at least one."""
    prediction = float_array("prediction", value)
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
    if getattr(dtype_of(array), "kind", "") not in tuple(kinds):
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
    single = _is_array(value)
    if single:
        value = [value]
    elif not _is_list(value):
        fix = f"list({name}.values())"
        if not isinstance(value, Mapping):
            fix = advice.how_to_share(name, value)
        hint = f": pass {fix}" if fix else ""
        raise TypeError(f"{name} must be an array or a list of arrays, got {describe(value)}{hint}")
    arrays = list(value)
    names = [name if single else f"{name}[{i}]" for i in range(len(arrays))]
    for i, array in enumerate(arrays):
        arrays[i] = array = float_array(names[i], array, in_place=True)
        at(names[i], array, dispatch.place(arrays[0]), names[0])
        writeable_array(names[i], array)
        for j in range(i):
            if _share_memory(arrays[j], array):
                raise ValueError(
                    f"{name} must not share memory, got {names[j]} and {names[i]} that do"
                )
    return arrays, single


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) or dispatch.library(value) is not None


def _is_list(value: Any) -> bool:
    """Whether this is something to go through, in an order that means something."""
    plain = isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping))
    return plain and not _is_array(value)


def _share_memory(a: Any, b: Any) -> bool:
    """Whether two arrays at the same place have an element in common."""
    if dispatch.on_gpu(a):
        (a0, a1), (b0, b1) = (dispatch.library(array).extent(array) for array in (a, b))
        return a0 < b1 and b0 < a1
    # the first test is quick, the second exact
    return np.may_share_memory(a, b) and np.shares_memory(a, b)


def writeable_array(name: str, value: Any) -> None:
    """Refuse an array that cannot be changed in place."""
    if dispatch.on_gpu(value):
        if not dispatch.library(value).in_c_order(value):
            raise ValueError(f"{name} must be contiguous (in C order) on a GPU, got strides")
    elif not value.flags.writeable:
        raise ValueError(f"{name} must be writeable, got a read-only array")


def optimizer_params(value: Any) -> tuple[list[np.ndarray], bool]:
    """Return the parameters of an optimiser as a list, and whether it was one array alone."""
    arrays, single = array_list("params", value)
    if not arrays:
        raise ValueError("params must hold at least one array, got an empty list")
    return arrays, single


def arrays_of_a_copy(arrays: list[Any]) -> list[Any]:
    """Refuse a copied optimiser of whose arrays one was not copied with it, and so is None."""
    if any(array is None for array in arrays):
        raise ValueError(
            "this optimiser was copied without the arrays that it changes, and would train "
            "nothing: copy it together with the layers, as in copy.deepcopy((rnn, optimizer)), or "
            "make another one for the other layers and give it this one's state_dict()"
        )
    return arrays


def copied_on_the_host(params: list[Any]) -> None:
    """Refuse to copy an optimiser of arrays on a GPU."""
    if any(dispatch.on_gpu(param) for param in params):
        raise TypeError(
            "an optimiser of arrays on a GPU can't be copied or pickled: make another one for "
            "the other parameters, and give it this one's state_dict()"
        )


def optimizer_grads(value: Any, params: list[Any], single: bool) -> list[Any]:
    """Return gradients as a list that matches the parameters, which must still be writeable."""
    if single:
        if not _is_array(value):
            fix = advice.how_to_share("grads", value)
            hint = f": pass {fix}" if fix else ""
            raise TypeError(
                f"grads must be an array of shape {shape_of(params[0])}, as params is one array, "
                f"got {describe(value)}{hint}"
            )
        arrays = [value]
    else:
        if not _is_list(value):
            fix = _grads_as_list(value, params)
            hint = f": pass {fix}" if fix else ""
            raise TypeError(
                f"grads must be a list of {len(params)} arrays, as params is, "
                f"got {describe(value)}{hint}"
            )
        arrays = list(value)
    if len(arrays) != len(params):
        raise ValueError(f"grads must hold {len(params)} arrays, got {len(arrays)}")
    for i, (param, grad) in enumerate(zip(params, arrays, strict=True)):
        index = "" if single else f"[{i}]"
        arrays[i] = _like(f"grads{index}", grad, param, f"params{index}")
        writeable_array(f"params{index}", param)
    return arrays


def _grads_as_list(value: Any, params: list[Any]) -> str | None:
    """Say how one object with gradients becomes the list that is meant; None where it can't."""
    named = isinstance(value, Mapping)
    if not named and advice.how_to_share("grads", value) is None:
        return None
    arrays = list((value if named else value.parameters).values())
    fits = all(_is_array(array) for array in arrays)
    if fits and list(map(shape_of, arrays)) == list(map(shape_of, params)):
        return "list(grads.values())" if named else "list(grads.parameters.values())"
    if named:
        return None
    single = len(params) == 1
    return "[grads.flat]" if single else "a list with the .flat of the gradients of each layer"


def _like(name: str, value: Any, like: Any, owner: str) -> Any:
    """Return an array with the place, shape and dtype of another; refuse anything else."""
    if type(value) is not np.ndarray or type(like) is not np.ndarray:
        value = at(name, value, dispatch.place(like), owner, dtype_of(like))
    _same_kind(name, value, like)
    return value


def _same_kind(name: str, value: Any, like: Any) -> None:
    """Refuse an array without the shape and dtype of another, which may be on a GPU."""
    shape, dtype = shape_of(like), dtype_of(like)
    if shape_of(value) != shape:
        raise ValueError(f"{name} must have shape {shape}, got {shape_of(value)}")
    if dtype_of(value) != dtype:
        fix = advice.how_to_cast(name, value, dtype)
        raise TypeError(
            f"{name} must be of dtype {dtype}, got {dtype_of(value)}: convert with {fix}"
        )


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
            buffers[buffer].append(devices.like(param, array))
    return step, lr, checked, buffers


def _all_there(state: Mapping[str, Any], keys: Iterable[str]) -> None:
    """Refuse a state dict that lacks one of the keys."""
    missing = [key for key in keys if key not in state]
    if missing:
        raise ValueError(f"state must hold {missing} too, got only {list(state)}")
