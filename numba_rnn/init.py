"""Initial values of the recurrent weights, in place, by the recipes that have names.

Each function takes an `RNN` or `RNNCell`, wherever it lies, and changes every layer and direction
of it; `uniform_` takes a `Linear` too. What a function does not name stays as it is.
"""

from __future__ import annotations

import math
from typing import Any, TypeVar

import numpy as np

from . import validation
from .parameters import Parametrised, generator

__all__ = ["identity_", "orthogonal_", "sparse_", "uniform_"]

Layer = TypeVar("Layer", bound=Parametrised)
Rng = int | np.random.Generator | None


def uniform_(layer: Layer, gain: float = 1.0, *, rng: Rng = None) -> Layer:
    """Draw every parameter from U(-gain/sqrt(H), gain/sqrt(H)), as new layers do with gain 1.

    Parameters
    ----------
    layer : RNN, RNNCell or Linear
        Changed in place; of a Linear, H is the number of inputs.
    gain : float, default 1.0
    rng : None, int or numpy.random.Generator, default None

    Returns
    -------
    The layer.

    Raises
    ------
    TypeError, ValueError
        If layer is none, or gain is negative or no number.

    Examples
    --------
    >>> import numpy as np
    >>> import numba_rnn as nr
    >>> rnn = nr.init.uniform_(nr.RNN(3, 4), gain=0.1, rng=0)
    >>> bool(np.abs(rnn.flat_parameters).max() <= 0.1 / 2)
    True
    """
    from .linear import Linear

    _is_layer(layer, Linear)
    gain, rng = _gain(gain), generator(rng)
    size = layer.in_features if isinstance(layer, Linear) else layer.hidden_size  # type: ignore[attr-defined]
    bound = gain / math.sqrt(size)
    _put(layer, {n: rng.uniform(-bound, bound, shape) for n, shape in layer._shapes.items()})
    return layer


def orthogonal_(layer: Layer, gain: float = 1.0, *, rng: Rng = None) -> Layer:
    """Make every W_hh orthogonal, times gain: all its singular values are gain.

    Drawn uniformly from all orthogonal matrices. A linear network then carries gradients back with
    the norm that they have, at gain 1 (Saxe, McClelland and Ganguli 2014).

    Parameters
    ----------
    layer : RNN or RNNCell
        Changed in place.
    gain : float, default 1.0
    rng : None, int or numpy.random.Generator, default None

    Returns
    -------
    The layer.

    Raises
    ------
    TypeError, ValueError
        If layer is none, or gain is negative or no number.

    References
    ----------
    A. M. Saxe, J. L. McClelland and S. Ganguli, "Exact solutions to the nonlinear dynamics of
    learning in deep linear neural networks", ICLR 2014.

    Examples
    --------
    >>> import numpy as np
    >>> import numba_rnn as nr
    >>> rnn = nr.init.orthogonal_(nr.RNN(3, 4, dtype=np.float64), gain=0.9, rng=0)
    >>> np.linalg.svd(rnn.weight_hh_l0, compute_uv=False).round(6)
    array([0.9, 0.9, 0.9, 0.9])
    """
    _is_layer(layer)
    gain, rng = _gain(gain), generator(rng)

    def draw(H: int) -> np.ndarray:
        q, r = np.linalg.qr(rng.standard_normal((H, H)))
        return gain * q * np.where(np.diag(r) < 0, -1, 1)  # without that, not uniform

    _put(layer, {name: draw(shape[0]) for name, shape in _recurrent(layer).items()})
    return layer


def identity_(layer: Layer, gain: float = 1.0) -> Layer:
    """Make every W_hh the identity, times gain, and the biases zero.

    With ReLU this is the IRNN of Le, Jaitly and Hinton (2015): a state that nothing comes into
    stays as it is, and so does its gradient. (They drew W_ih from a normal distribution of standard
    deviation 0.001; here it stays as it is.)

    Parameters
    ----------
    layer : RNN or RNNCell
        Changed in place.
    gain : float, default 1.0

    Returns
    -------
    The layer.

    Raises
    ------
    TypeError, ValueError
        If layer is none, or gain is negative or no number.

    References
    ----------
    Q. V. Le, N. Jaitly and G. E. Hinton, "A simple way to initialize recurrent networks of
    rectified linear units", arXiv:1504.00941, 2015.

    Examples
    --------
    >>> import numba_rnn as nr
    >>> rnn = nr.init.identity_(nr.RNN(1, 2, nonlinearity="relu"), gain=0.5)
    >>> rnn.weight_hh_l0, rnn.bias_hh_l0
    (array([[0.5, 0. ],
           [0. , 0.5]], dtype=float32), array([0., 0.], dtype=float32))
    """
    _is_layer(layer)
    gain = _gain(gain)
    values = {name: gain * np.eye(shape[0]) for name, shape in _recurrent(layer).items()}
    values |= {n: np.zeros(shape) for n, shape in layer._shapes.items() if n.startswith("bias")}
    _put(layer, values)
    return layer


def sparse_(layer: Layer, connections: int = 15, gain: float = 1.0, *, rng: Rng = None) -> Layer:
    """Let every unit read few others: `connections` entries in each row of W_hh, the others zero.

    Which, is drawn at random, and their values from a normal distribution; then W_hh is scaled so
    that its spectral radius is gain. Units that meet few others saturate less and stay different
    (Martens 2010; Sutskever and others 2013, with 15 connections and a radius of 1.1).

    Parameters
    ----------
    layer : RNN or RNNCell
        Changed in place.
    connections : int, default 15
        At most H; where H is smaller, all H.
    gain : float, default 1.0
    rng : None, int or numpy.random.Generator, default None

    Returns
    -------
    The layer.

    Raises
    ------
    TypeError, ValueError
        If layer is none, connections not positive, or gain negative or no number.

    References
    ----------
    J. Martens, "Deep learning via Hessian-free optimization", ICML 2010.
    I. Sutskever, J. Martens, G. Dahl and G. Hinton, "On the importance of initialization and
    momentum in deep learning", ICML 2013.

    Examples
    --------
    >>> import numpy as np
    >>> import numba_rnn as nr
    >>> rnn = nr.init.sparse_(nr.RNN(3, 50), connections=5, rng=0)
    >>> set(np.count_nonzero(rnn.weight_hh_l0, axis=1).tolist())
    {5}
    """
    _is_layer(layer)
    connections = validation.positive_int("connections", connections)
    gain, rng = _gain(gain), generator(rng)

    def draw(H: int) -> np.ndarray:
        w, few = np.zeros((H, H)), min(connections, H)
        for row in w:
            row[rng.choice(H, few, replace=False)] = rng.standard_normal(few)
        # Every unit reads one, so there is a cycle, and the radius is not zero.
        return gain * w / np.abs(np.linalg.eigvals(w)).max()

    _put(layer, {name: draw(shape[0]) for name, shape in _recurrent(layer).items()})
    return layer


# --- what they share ----------------------------------------------------------------------------


def _is_layer(layer: Any, *others: type) -> None:
    from .cell import RNNCell
    from .rnn import RNN

    kinds = (RNN, RNNCell, *others)
    if not isinstance(layer, kinds):
        names = " or ".join(kind.__name__ for kind in kinds)
        raise TypeError(f"layer must be an {names}, got {validation.describe(layer)}")


def _gain(gain: float) -> float:
    return validation.real("gain", gain, 0, np.inf, open_high=True)


def _recurrent(layer: Parametrised) -> dict[str, tuple[int, ...]]:
    return {n: shape for n, shape in layer._shapes.items() if n.startswith("weight_hh")}


def _put(layer: Parametrised, values: dict[str, np.ndarray]) -> None:
    """Copy values into parameters, wherever they lie."""
    layer.load_state_dict(layer.state_dict() | values)
