"""Layers from torch's modules and back, parameters copied."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import validation
from ..cell import RNNCell
from ..extras import need
from ..linear import Linear
from ..rnn import RNN
from . import configuration

if TYPE_CHECKING:
    import torch

_LAYERS = (RNN, RNNCell, Linear)  # torch.nn has modules of the same names


def from_torch(module: torch.nn.Module) -> RNN | RNNCell | Linear:
    """Return the layer that computes what a module of torch does.

    Parameters
    ----------
    module : torch.nn.RNN, torch.nn.RNNCell or torch.nn.Linear
        Of float32 or float64, on any device.

    Returns
    -------
    RNN, RNNCell or Linear
        With copies of the parameters, and dropout and mode as they are there.

    Raises
    ------
    ModuleNotFoundError
        If torch is not installed.
    TypeError
        If module is none of these.
    ValueError
        If its parameters are not float32 or float64.

    Examples
    --------
    >>> import torch
    >>> import numba_rnn as nr
    >>> nr.from_torch(torch.nn.RNN(4, 8, batch_first=True))
    RNN(4, 8, batch_first=True)
    """
    torch = need("torch", "torch", "numba_rnn.from_torch")
    for kind in _LAYERS:
        if isinstance(module, getattr(torch.nn, kind.__name__)):
            break
    else:
        raise TypeError(
            f"module must be a torch.nn.RNN, RNNCell or Linear, got {validation.describe(module)}"
        )
    config = configuration.read(kind, module)
    # Through the attributes, which are the values themselves where a module is parametrised.
    dtype = next(module.parameters()).dtype
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"module must have parameters of torch.float32 or torch.float64, got {dtype}; "
            "convert with module.float()"
        )
    layer = configuration.new(kind, config, str(dtype).removeprefix("torch."))
    tensors = {name: getattr(module, name).detach().cpu() for name in layer.parameters}
    layer.load_state_dict(tensors)
    return layer


def to_torch(layer: RNN | RNNCell | Linear) -> torch.nn.Module:
    """Return the module of torch that computes what a layer does.

    Parameters
    ----------
    layer : RNN, RNNCell or Linear

    Returns
    -------
    torch.nn.RNN, torch.nn.RNNCell or torch.nn.Linear
        On the CPU, with copies of the parameters, and dropout and mode as they are here. Torch's
        random numbers are left alone.

    Raises
    ------
    ModuleNotFoundError
        If torch is not installed.
    TypeError
        If layer is none of these.

    Examples
    --------
    >>> import numba_rnn as nr
    >>> nr.to_torch(nr.RNN(4, 8, batch_first=True))
    RNN(4, 8, batch_first=True)
    """
    torch = need("torch", "torch", "numba_rnn.to_torch")
    if type(layer) not in _LAYERS:
        raise TypeError(
            f"layer must be an RNN, RNNCell or Linear, got {validation.describe(layer)}"
        )
    config = configuration.describe(layer)
    training, dropout = config.pop("training", True), config.pop("dropout", None)
    build = getattr(torch.nn, type(layer).__name__)
    # On the device that holds nothing, so that no random numbers are drawn.
    module = build(**config, dtype=getattr(torch, layer.dtype.name), device="meta")
    state = {name: torch.from_numpy(value) for name, value in layer.state_dict().items()}
    module.load_state_dict(state, assign=True)
    if dropout is not None:
        module.dropout = dropout
    return module.train(training)
