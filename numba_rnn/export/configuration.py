"""A layer as its configuration and its parameters, apart, and back from what a file says of them.

What comes from a file is not to be trusted, so nothing is allocated before the sizes that the
configuration names are those of parameters that are there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .. import validation
from ..cell import RNNCell
from ..linear import Linear
from ..parameters import Parametrised, Shapes, cell_shapes, linear_shapes, rnn_shapes
from ..rnn import RNN


def describe(layer: RNN | RNNCell | Linear) -> dict[str, Any]:
    """Return what a layer is, apart from its parameters: JSON's types alone.

    The source of random numbers is not part of it.
    """
    return read(type(layer), layer)


def read(kind: type[Parametrised], layer: Any) -> dict[str, Any]:
    """Return the configuration that a layer has in its attributes, or torch's twin of one."""
    config = {key: getattr(layer, key) for key in _KEYS[kind]}
    if kind is Linear:
        config["bias"] = layer.bias is not None  # the attribute is the array
    return config


def build(
    kind: type[Parametrised], config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]
) -> Any:
    """Return a layer with this configuration and copies of these parameters.

    Parameters
    ----------
    kind : RNN, RNNCell or Linear
    config : mapping
        As `describe` returns it.
    tensors : mapping of str to ndarray
        As ``layer.state_dict()`` returns them. Their dtype, one for all, is the layer's.

    Raises
    ------
    TypeError, ValueError
        If anything does not fit; nothing was built then.
    """
    expected = _expected(kind, config, len(tensors))
    dtypes = {array.dtype for array in tensors.values()}
    if len(dtypes) != 1:
        found = ", ".join(sorted(map(str, dtypes))) or "no parameter"
        raise ValueError(f"the parameters of a {kind.__name__} must have one dtype, got {found}")
    dtype = validation.float_dtype("dtype of the parameters", dtypes.pop())
    checked = validation.state(tensors, expected, dtype)
    layer = new(kind, config, dtype)
    layer.load_state_dict(checked)
    return layer


def check_sizes(config: Mapping[str, Any], shapes: dict[str, tuple[int, ...]], kind: type) -> None:
    """Refuse layers whose parameters don't have these shapes, before the parameters are read.

    Parameters
    ----------
    config : mapping
        Of a layer, or of an estimator, whose layers are entries of it.
    shapes : dict of str to tuple of int
        Of all tensors; those of a layer in an entry have its name and a dot before their own.
    kind : type
        Class of the whole.
    """
    if kind in _KEYS:
        expected = _expected(kind, config, len(shapes))
        for name in expected | shapes:
            if expected.get(name) != shapes.get(name):
                raise ValueError(
                    f"{name} must have shape {expected.get(name, 'none')}, "
                    f"got {shapes.get(name, 'none')}"
                )
        return
    for part, layer in _PARTS.items():
        if part in config:
            before = f"{part}."
            own = {k.removeprefix(before): v for k, v in shapes.items() if k.startswith(before)}
            check_sizes(config[part], own, layer)


def _expected(kind: type[Parametrised], config: Mapping[str, Any], count: int) -> Shapes:
    """Return names and shapes of the parameters, which are to be so many."""
    if set(config) != set(_KEYS[kind]):
        raise ValueError(
            f"the configuration of a {kind.__name__} must have exactly "
            f"{', '.join(_KEYS[kind])}, got {', '.join(config) or 'nothing'}"
        )
    return _SHAPES[kind](config, count)


def new(kind: type[Parametrised], config: Mapping[str, Any], dtype: np.dtype) -> Any:
    """Return a layer with this configuration and whatever parameters.

    A dropout without effect is not warned of: the layer that had it first was.
    """
    arguments = {key: value for key, value in config.items() if key not in ("training", "dropout")}
    layer = kind(**arguments, dtype=dtype, rng=0)
    if isinstance(layer, RNN):
        layer.train(config["training"])
        layer._dropout = validation.real("dropout", config["dropout"], 0, 1)
    return layer


def _rnn(config: dict[str, Any], count: int) -> Shapes:
    sizes = [
        validation.positive_int(name, config[name])
        for name in ("input_size", "hidden_size", "num_layers")
    ]
    bias = validation.flag("bias", config["bias"])
    directions = 1 + validation.flag("bidirectional", config["bidirectional"])
    expected = sizes[2] * directions * (4 if bias else 2)
    if count != expected:  # first of all: the names of a billion layers would fill the memory
        raise ValueError(f"the parameters of this RNN must be {expected}, got {count}")
    layers = rnn_shapes(*sizes, bias, directions)
    return {name: shape for layer in layers for name, shape in layer.items()}


def _cell(config: dict[str, Any], count: int) -> Shapes:
    sizes = [validation.positive_int(name, config[name]) for name in ("input_size", "hidden_size")]
    return cell_shapes(*sizes, validation.flag("bias", config["bias"]))


def _linear(config: dict[str, Any], count: int) -> Shapes:
    sizes = [
        validation.positive_int(name, config[name]) for name in ("in_features", "out_features")
    ]
    return linear_shapes(*sizes, validation.flag("bias", config["bias"]))


_KEYS: dict[type, tuple[str, ...]] = {
    RNN: (
        "input_size",
        "hidden_size",
        "num_layers",
        "nonlinearity",
        "bias",
        "batch_first",
        "dropout",
        "bidirectional",
        "training",
    ),
    RNNCell: ("input_size", "hidden_size", "bias", "nonlinearity"),
    Linear: ("in_features", "out_features", "bias"),
}
_PARTS: dict[str, type] = {"rnn": RNN, "head": Linear, "regressor": object}  # of estimators
_SHAPES: dict[type, Callable[[dict[str, Any], int], Shapes]] = {
    RNN: _rnn,
    RNNCell: _cell,
    Linear: _linear,
}
