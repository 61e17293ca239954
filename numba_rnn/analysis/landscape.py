"""Fixed points of one unit, the folds where they vanish, and the loss around a layer's weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from .. import validation
from .taken import layer

UNIT = ("sigmoid", "tanh")


@dataclass(frozen=True, eq=False)
class Bifurcation:
    """Fixed points of a unit over its bias.

    Attributes
    ----------
    b : ndarray, shape (M,)
    points : ndarray, shape (M, 3)
        Ascending; NaN where there are fewer than three.
    stable : ndarray of bool, shape (M, 3)
    folds : ndarray, shape (0,) or (2,)
        Values of b at which two fixed points meet and vanish, ascending.
    """

    b: np.ndarray
    points: np.ndarray
    stable: np.ndarray
    folds: np.ndarray


def fixed_points(
    w: float, b: float, nonlinearity: str = "sigmoid"
) -> tuple[np.ndarray, np.ndarray]:
    """Return the fixed points of one unit without input, and which of them are stable.

    ::

        a_(t+1) = w f(a_t) + b,    a = w f(a) + b,    stable where |w f'(a)| < 1

    a is the sum inside f; the state of the unit is f(a).

    Parameters
    ----------
    w, b : float
        Weight and bias.
    nonlinearity : {'sigmoid', 'tanh'}, default 'sigmoid'

    Returns
    -------
    points : ndarray, shape (1,), (2,) or (3,)
        Ascending; two where two of them have just met.
    stable : ndarray of bool, same shape

    Raises
    ------
    TypeError, ValueError
        If w or b is no finite number, or the nonlinearity another word.

    References
    ----------
    R. Pascanu, T. Mikolov and Y. Bengio, "On the difficulty of training recurrent neural networks",
    ICML 2013, figures 3 and 6, whose x_t this a_t is.

    Examples
    --------
    >>> from numba_rnn import analysis
    >>> points, stable = analysis.fixed_points(5.0, -2.4)
    >>> points.round(3), stable
    (array([-1.45 , -0.433,  2.008]), array([ True, False,  True]))
    """
    from scipy.optimize import brentq  # when it is used: importing it takes long

    w, b = (validation.real(name, value, -1e100, 1e100) for name, value in (("w", w), ("b", b)))
    f, slope = _unit(nonlinearity)

    def excess(a: float) -> float:
        return float(w * f(a) + b - a)

    low, high = b - abs(w) - 1, b + abs(w) + 1
    turns = [a for a in _turns(w, nonlinearity) if low < a < high]
    found = [a for a in turns if abs(excess(a)) < 1e-14 * max(1, abs(a))]
    ends = [low, *turns, high]
    for left, right in pairwise(ends):
        if excess(left) * excess(right) < 0 and not {left, right} & set(found):
            found.append(brentq(excess, left, right, xtol=1e-15, rtol=1e-14))
    points = np.sort(np.array(found))
    return points, np.abs(w * slope(points)) < 1


def bifurcation(
    w: float, b: Sequence[float] | np.ndarray, nonlinearity: str = "sigmoid"
) -> Bifurcation:
    """Return the fixed points of one unit over its bias, and the folds.

    Where w f'(a) reaches 1, at w > 4 for sigmoid and w > 1 for tanh, there is a range of b with two
    stable fixed points and an unstable one between. At its ends, the folds, two of them meet and
    vanish, and the unit jumps to the third: a small step of b changes all that follows, and the
    loss has a cliff near by::

        f'(a) = 1 / w,    b = a - w f(a)

    Parameters
    ----------
    w : float
        Weight.
    b : sequence of float, shape (M,)
        Biases.
    nonlinearity : {'sigmoid', 'tanh'}, default 'sigmoid'

    Returns
    -------
    Bifurcation
        With b, points and stable (M, 3), and folds.

    Raises
    ------
    TypeError, ValueError
        If w is no finite number, b none with one axis, or the nonlinearity another word.

    References
    ----------
    R. Pascanu, T. Mikolov and Y. Bengio, "On the difficulty of training recurrent neural networks",
    ICML 2013, figure 3.

    Examples
    --------
    >>> from numba_rnn import analysis
    >>> found = analysis.bifurcation(5.0, [-3.0, -2.5, -2.0])
    >>> found.folds.round(4)
    array([-2.6556, -2.3444])
    >>> found.stable.sum(axis=1)
    array([1, 2, 1])
    """
    w = validation.real("w", w, -1e100, 1e100)
    f, _ = _unit(nonlinearity)
    along = np.asarray(validation.unmasked("b", b), float)
    if along.ndim != 1 or not np.isfinite(along).all():
        raise ValueError(f"b must be finite numbers with one axis, got {validation.describe(b)}")
    points, stable = np.full((len(along), 3), np.nan), np.zeros((len(along), 3), bool)
    for row, value in enumerate(along):
        found, is_stable = fixed_points(w, float(value), nonlinearity)
        points[row, : len(found)], stable[row, : len(found)] = found, is_stable
    turns = np.array(_turns(w, nonlinearity))
    return Bifurcation(along, points, stable, np.sort(turns - w * f(turns)))


def _unit(nonlinearity: str) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """f and f' of a."""
    validation.choice("nonlinearity", nonlinearity, UNIT)
    if nonlinearity == "tanh":
        return np.tanh, lambda a: 1 - np.tanh(a) ** 2

    def sigmoid(a: Any) -> Any:
        return (1 + np.tanh(np.asarray(a) / 2)) / 2

    return sigmoid, lambda a: sigmoid(a) * (1 - sigmoid(a))


def _turns(w: float, nonlinearity: str) -> list[float]:
    """Where w f'(a) = 1, ascending."""
    # sigmoid(a) = (1 + tanh(a/2)) / 2: its slope is a quarter of that of tanh at a/2
    scale, weight = (1, w) if nonlinearity == "tanh" else (2, w / 4)
    if weight <= 1:
        return []
    a = scale * float(np.arccosh(np.sqrt(weight)))
    return [-a, a]


# --- the loss around the weights ------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class LossSurface:
    """The loss along one or two directions.

    Attributes
    ----------
    alphas, betas : ndarray, shape (A,), (B,)
        Steps along the first and the second direction; betas is [0] where there is one direction.
    losses : ndarray, shape (A, B)
    """

    alphas: np.ndarray
    betas: np.ndarray
    losses: np.ndarray


def loss_surface(
    rnn: Any,
    x: Any,
    loss: Callable[[Any, Any], float],
    directions: Sequence[np.ndarray],
    *,
    h_0: np.ndarray | None = None,
    lengths: Sequence[int] | np.ndarray | None = None,
    alphas: Sequence[float] | np.ndarray | None = None,
    betas: Sequence[float] | np.ndarray | None = None,
) -> LossSurface:
    """Return the loss at weights around those that a layer has.

    ::

        losses[i, j] = loss(rnn with the parameters theta + alphas[i] u + betas[j] v)

    The layer stays as it is.

    Parameters
    ----------
    rnn : RNN
        On the CPU; without dropout, or in evaluation mode.
    x : ndarray or PackedSequence, shape (L, N, I)
        As the layer takes it.
    loss : callable
        Of output and h_n: a number.
    directions : sequence of one or two ndarray, shape (P,)
        u and v, laid out as ``rnn.flat_parameters``.
    h_0 : ndarray, shape (S, N, H), optional
    lengths : array_like of int, shape (N,), optional
    alphas, betas : sequence of float, optional
        21 values from -1 to 1 where left out.

    Returns
    -------
    LossSurface
        With alphas, betas and losses (A, B).

    Raises
    ------
    TypeError, ValueError
        If rnn is no RNN on the CPU or drops at random, directions are not as described, or as in
        `RNN.forward`.

    References
    ----------
    R. Pascanu, T. Mikolov and Y. Bengio, "On the difficulty of training recurrent neural networks",
    ICML 2013, figure 6.

    Examples
    --------
    >>> import numpy as np
    >>> import numba_rnn as nr
    >>> rnn = nr.RNN(1, 2, dtype=np.float64, rng=0)
    >>> u, v = np.random.default_rng(0).normal(size=(2, rnn.flat_parameters.size))
    >>> surface = nr.analysis.loss_surface(
    ...     rnn, np.ones((20, 1, 1)), lambda output, h_n: np.sum(h_n**2), (u, v),
    ...     alphas=[-1, 0, 1], betas=[0, 1],
    ... )
    >>> surface.losses.shape
    (3, 2)
    """
    rnn = settled(rnn)
    theta = rnn.flat_parameters
    if not isinstance(directions, Sequence) and not isinstance(directions, np.ndarray):
        raise TypeError(f"directions must be arrays, got {validation.describe(directions)}")
    given = [np.asarray(one, theta.dtype) for one in directions]
    if len(given) not in (1, 2) or any(one.shape != theta.shape for one in given):
        raise ValueError(
            f"directions must be one or two arrays of shape {theta.shape}, got shapes "
            f"{[one.shape for one in given]}"
        )
    along = [_along("alphas", alphas), _along("betas", betas) if len(given) == 2 else np.zeros(1)]
    if len(given) == 1 and betas is not None:
        raise ValueError("betas are steps along a second direction, and directions has one")
    given.append(np.zeros_like(theta))
    losses = np.zeros((len(along[0]), len(along[1])))
    trial = copy.deepcopy(rnn)
    for i, alpha in enumerate(along[0]):
        for j, beta in enumerate(along[1]):
            trial.flat_parameters[:] = theta + alpha * given[0] + beta * given[1]
            losses[i, j] = loss(*trial(x, h_0, lengths=lengths))
    return LossSurface(along[0], along[1], losses)


def settled(rnn: Any) -> Any:
    """Return an RNN that gives the same whenever it is called."""
    rnn = layer(rnn)
    if rnn.training and rnn.dropout > 0:
        raise ValueError("rnn must not drop at random, got one in training mode: call rnn.eval()")
    return rnn


def _along(name: str, values: Any) -> np.ndarray:
    steps = np.linspace(-1, 1, 21) if values is None else np.asarray(values, float)
    if steps.ndim != 1 or not np.isfinite(steps).all():
        raise ValueError(f"{name} must be finite numbers with one axis, got {values}")
    return steps
