"""The derivative of a state for an earlier one: of one step, and of many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import validation
from ..tape import Tape
from .products import Product
from .taken import link


def step_jacobians(tape: Tape[Any, Any], layer: int = 0, direction: int = 0) -> np.ndarray:
    """Return the Jacobian of every step.

    ::

        J_t = dh_t / dh_(t-1) = diag(f'(a_t)) W_hh

    with t - 1 for the step computed before, in reverse t + 1; that of the first step is the
    derivative for the initial state.

    Parameters
    ----------
    tape : Tape
        Of `RNN.forward`.
    layer : int, default 0
    direction : int, default 0
        0 forward, 1 reverse.

    Returns
    -------
    ndarray, shape (L, N, H, H)
        [t, n, i, j]: derivative of unit i at step t for unit j at the step before.

    Raises
    ------
    TypeError, ValueError
        If tape is none of an RNN on the CPU, or has no such layer or direction.

    References
    ----------
    R. Pascanu, T. Mikolov and Y. Bengio, "On the difficulty of training recurrent neural networks",
    ICML 2013, equation (5).

    Examples
    --------
    >>> import numpy as np
    >>> import numba_rnn as nr
    >>> rnn = nr.RNN(2, 3, dtype=np.float64, rng=0)
    >>> tape = rnn.forward(np.ones((5, 1, 2)))
    >>> J = nr.analysis.step_jacobians(tape)
    >>> np.allclose(J[4, 0], np.diag(1 - tape.output[4, 0] ** 2) @ rnn.weight_hh_l0)
    True
    """
    one, _ = link(tape, layer, direction)
    return one.slope[:, :, :, None] * one.w_hh


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Singular values of products of Jacobians, largest first.

    Attributes
    ----------
    lags : ndarray of int, shape (len(lags),)
    values : ndarray, shape (len(lags), N, H)
        0 where a value is below the least float.
    logs : ndarray, shape (len(lags), N, H)
        Natural logarithms, which don't leave the range of floats; -inf for 0.
    """

    lags: np.ndarray
    values: np.ndarray
    logs: np.ndarray


def jacobian_spectrum(
    tape: Tape[Any, Any], lags: Sequence[int] | np.ndarray, layer: int = 0, direction: int = 0
) -> Spectrum:
    """Return how the last state stretches and shrinks changes of the state k steps before.

    ::

        dh_t / dh_(t-k) = J_t J_(t-1) ... J_(t-k+1)

    for the state h_t that was computed last. Its singular values say by how much a gradient that
    comes in at h_t may grow or shrink on its way to h_(t-k). The largest singular value of W_hh
    being below 1 suffices for all to vanish; its being above 1 is necessary for any to explode,
    and not sufficient. Where all steps are alike, an eigenvalue of J above 1 decides.

    The product is taken in orthogonal and triangular factors with logarithms for scales, and the
    values come of one-sided Jacobi rotations, so that small ones are right beside large ones, over
    hundreds of steps. That takes time: of the order of a second for each lag at H = 64 and far
    less at H = 32.

    Parameters
    ----------
    tape : Tape
        Of `RNN.forward`.
    lags : sequence of int
        Each k, 0 to L; 0 is the identity, and the length of a sequence goes to its initial state.
    layer : int, default 0
    direction : int, default 0
        0 forward, 1 reverse.

    Returns
    -------
    Spectrum
        With values and logs, each (len(lags), N, H). NaN where a sequence is shorter than a lag.

    Raises
    ------
    TypeError, ValueError
        If tape is none of an RNN on the CPU or has no such layer or direction, or a lag isn't an
        integer from 0 to L.

    References
    ----------
    R. Pascanu, T. Mikolov and Y. Bengio, "On the difficulty of training recurrent neural networks",
    ICML 2013. J. Demmel and K. Veselić, "Jacobi's method is more accurate than QR", SIAM Journal on
    Matrix Analysis and Applications 13(4), 1992.

    Examples
    --------
    With an orthogonal W_hh and ReLU units that are all on, nothing grows and nothing shrinks:

    >>> import numpy as np
    >>> import numba_rnn as nr
    >>> rnn = nr.RNN(1, 2, nonlinearity="relu", dtype=np.float64, rng=0)
    >>> rnn.weight_hh_l0, rnn.bias_hh_l0 = [[0.0, 1.0], [1.0, 0.0]], [9.0, 9.0]
    >>> spectrum = nr.analysis.jacobian_spectrum(rnn.forward(np.zeros((300, 1, 1))), [1, 300])
    >>> spectrum.values[:, 0].round(12)
    array([[1., 1.],
           [1., 1.]])
    """
    one, grid = link(tape, layer, direction)
    L, N = grid.shape
    wanted = validation.index_array("lags", lags)
    if wanted.ndim != 1 or wanted.min(initial=0) < 0 or wanted.max(initial=0) > L:
        raise ValueError(f"lags must be integers from 0 to L = {L}, got {lags}")
    # The transposes of the Jacobians, the last first: one product serves all lags.
    own = grid.turned(one.slope, one.reverse)[:, :, :, None] * one.w_hh
    H, n = own.shape[2], np.arange(N)
    product = Product(N, H)
    logs = np.full((len(wanted), N, H), np.nan)
    for k in range(int(wanted.max(initial=0)) + 1):
        if k > 0:
            factor = own[np.maximum(grid.lengths - k, 0), n].swapaxes(1, 2)
            product.multiply(factor.astype(np.float64))
        for row in np.flatnonzero(wanted == k):
            logs[row] = np.where(
                (grid.lengths >= k)[:, None], product.log_singular_values(), np.nan
            )
    with np.errstate(under="ignore"):
        return Spectrum(wanted, np.exp(logs), logs)


def lyapunov_exponents(tape: Tape[Any, Any], layer: int = 0, direction: int = 0) -> np.ndarray:
    """Return how fast small changes of the state grow or shrink, per step, on average.

    With the Jacobians of the steps in their order, and Q_0 the identity::

        J_t Q_(t-1) = Q_t R_t,    exponent_i = mean over t of log |(R_t)_ii|

    The first is above 0 where neighbours part (the dynamics are chaotic, and gradients explode),
    and all are below where they meet again (and gradients vanish).

    Parameters
    ----------
    tape : Tape
        Of `RNN.forward`.
    layer : int, default 0
    direction : int, default 0
        0 forward, 1 reverse.

    Returns
    -------
    ndarray, shape (N, H)
        Nearly in descending order, as the QR leaves them; -inf where a direction is lost, as by a
        ReLU that is off; NaN for a sequence of length 0.

    Raises
    ------
    TypeError, ValueError
        If tape is none of an RNN on the CPU or has no such layer or direction.

    References
    ----------
    G. Benettin, L. Galgani, A. Giorgilli and J.-M. Strelcyn, "Lyapunov characteristic exponents for
    smooth dynamical systems", Meccanica 15, 1980.

    Examples
    --------
    >>> import numpy as np
    >>> import numba_rnn as nr
    >>> rnn = nr.RNN(1, 2, dtype=np.float64, rng=0)
    >>> rnn.flat_parameters[:] = 0
    >>> rnn.weight_hh_l0 = [[0.5, 0.0], [0.0, 0.25]]
    >>> exponents = nr.analysis.lyapunov_exponents(rnn.forward(np.zeros((100, 1, 1))))
    >>> np.exp(exponents)
    array([[0.5 , 0.25]])
    """
    one, grid = link(tape, layer, direction)
    slope = grid.turned(one.slope, one.reverse)
    _, N, H = slope.shape
    q = np.broadcast_to(np.eye(H), (N, H, H)).copy()
    sums = np.zeros((N, H))
    for s in range(int(grid.lengths.max(initial=0))):
        live = grid.lengths > s
        factor = (slope[s, live, :, None] * one.w_hh).astype(np.float64)
        q[live], r = np.linalg.qr(factor @ q[live])
        with np.errstate(divide="ignore"):
            sums[live] += np.log(np.abs(np.diagonal(r, axis1=1, axis2=2)))
    with np.errstate(invalid="ignore"):
        return np.divide(sums, grid.lengths[:, None])
