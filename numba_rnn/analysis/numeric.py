"""Backward beside finite differences."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import validation
from ..packed import PackedSequence
from .landscape import settled

GOOD = {np.dtype(np.float64): 1e-7, np.dtype(np.float32): 1e-2}


@dataclass(frozen=True, eq=False)
class GradCheck:
    """Finite differences beside backward, for each quantity and each eps.

    Attributes
    ----------
    eps : ndarray, shape (E,)
    error : dict of str to ndarray, shape (E,)
        Of 'input', 'h_0' and every parameter: |numeric - backward| / (|numeric| + |backward|),
        norms over the elements that were checked and that no kink spoils; 0 where both are 0, and
        NaN where kinks spoil all.
    kinks : dict of str to ndarray, shape (E,)
        Of each, the share of elements that a kink of ReLU spoils: a unit was on at one end of the
        difference and off at the other. Of tanh, 0.
    numeric, backward : dict of str to ndarray
        The derivatives of the elements that were checked, numeric at the best eps, NaN where a kink
        spoils it.
    index : dict of str to ndarray of int
        Which elements those are, of the flattened array.
    best : dict of str to float
        The eps with the least error, among those with the least share of kinks.
    limit : float
        What an error may be: 1e-7 in float64, 1e-2 in float32.
    passed : bool
        Whether the error of every quantity is below the limit at its best eps.
    """

    eps: np.ndarray
    error: dict[str, np.ndarray]
    kinks: dict[str, np.ndarray]
    numeric: dict[str, np.ndarray]
    backward: dict[str, np.ndarray]
    index: dict[str, np.ndarray]
    best: dict[str, float]
    limit: float

    @property
    def passed(self) -> bool:
        """Whether the error of every quantity is below the limit at its best eps."""
        return all(
            e[np.flatnonzero(self.eps == self.best[name])[0]] <= self.limit
            for name, e in self.error.items()
        )

    def __str__(self) -> str:
        lines = [f"{'':24}{'eps':>10}{'error':>12}{'kinks':>8}"]
        for name, errors in self.error.items():
            row = int(np.flatnonzero(self.eps == self.best[name])[0])
            lines.append(
                f"{name:24}{self.eps[row]:>10.0e}{errors[row]:>12.1e}{self.kinks[name][row]:>8.0%}"
            )
        return "\n".join(lines)


def gradcheck(
    rnn: Any,
    x: Any,
    *,
    h_0: np.ndarray | None = None,
    lengths: Sequence[int] | np.ndarray | None = None,
    loss: Callable[[Any, Any], tuple[float, Any, Any]] | None = None,
    eps: Sequence[float] | float | None = None,
    most: int = 50,
    rng: int | np.random.Generator | None = 0,
) -> GradCheck:
    """Compare backward with central differences, over a sweep of eps.

    For single elements theta_i of the input, h_0 and every parameter::

        numeric_i = (L(theta + eps e_i) - L(theta - eps e_i)) / (2 eps)

    A large eps errs by the curvature, as eps², a small one by rounding, as 1/eps: the least error
    lies between, near eps = 1e-5 in float64 and 1e-2 in float32, where it isn't small. Where a
    ReLU unit goes on or off between the two ends, the difference is that of two slopes, and says
    nothing of backward: such elements are counted, and left out.

    Parameters
    ----------
    rnn : RNN
        On the CPU; without dropout, or in evaluation mode. It stays as it is.
    x : ndarray or PackedSequence, shape (L, N, I)
        As the layer takes it.
    h_0 : ndarray, shape of h_n, optional
    lengths : array_like of int, shape (N,), optional
        Elements of x beyond a length are not checked.
    loss : callable, optional
        Your own: of output and h_n, returns the loss and its gradients for output and for h_n, one
        of which may be None. Left out, the loss is a sum of all outputs and last states with random
        weights.
    eps : float or sequence of float, optional
        1e-1 to 1e-9 where left out, in float32 1e0 to 1e-5.
    most : int, default 50
        Elements of each quantity to check, drawn at random.
    rng : None, int or numpy.random.Generator, default 0
        Source of the choice, and of the weights of the loss.

    Returns
    -------
    GradCheck
        ``print`` it for a table.

    Raises
    ------
    TypeError, ValueError
        If rnn is no RNN on the CPU or drops at random, eps isn't positive, what loss returns isn't
        as described, or as in `RNN.forward` and `Tape.backward`.

    References
    ----------
    Y. Bengio, "Practical recommendations for gradient-based training of deep architectures",
    arXiv:1206.5533, 2012, section 4.1.

    Examples
    --------
    >>> import numpy as np
    >>> import numba_rnn as nr
    >>> rnn = nr.RNN(2, 3, dtype=np.float64, rng=0)
    >>> check = nr.analysis.gradcheck(rnn, np.ones((4, 2, 2)))
    >>> check.passed, list(check.error)[:3]
    (True, ['input', 'h_0', 'weight_ih_l0'])
    """
    rnn = settled(rnn)
    generator = np.random.default_rng(validation.seed("rng", rng))
    most, steps = validation.positive_int("most", most), _sweep(eps, rnn.dtype)
    trial = copy.deepcopy(rnn)
    data = x.data if isinstance(x, PackedSequence) else x
    tape = trial.forward(x, h_0, lengths=lengths)
    moved = np.array(data, rnn.dtype)
    begin = np.zeros(tape.h_n.shape, rnn.dtype) if h_0 is None else np.array(h_0, rnn.dtype)
    again = x._replace(data=moved) if isinstance(x, PackedSequence) else moved
    if loss is None:
        shape = getattr(tape.output, "data", tape.output).shape
        if not isinstance(tape.output, PackedSequence):
            shape = tape.output.shape
        loss = _weighted(generator.normal(size=shape), generator.normal(size=tape.h_n.shape))

    def value() -> tuple[float, list[np.ndarray]]:
        now = trial.forward(again, begin, lengths=lengths)
        return _answer(loss, now)[0], [layer > 0 for layer in now.layer_outputs]

    _, of_output, of_h_n = _answer(loss, tape)
    grads = tape.backward(of_output, of_h_n)
    of_input = grads.input.data if isinstance(x, PackedSequence) else grads.input
    arrays = {"input": (moved, of_input), "h_0": (begin, grads.h_0)}
    for name, array in trial.parameters.items():
        arrays[name] = (array, grads.parameters[name])
    real = _real_elements(rnn, moved, lengths)
    error, kinks, numeric, backward, chosen, best = {}, {}, {}, {}, {}, {}
    for name, (array, gradient) in arrays.items():
        among = np.flatnonzero(real) if name == "input" else np.arange(array.size)
        index = np.sort(generator.permutation(among)[:most])
        found = np.zeros((len(steps), len(index)))
        spoilt = np.zeros(found.shape, bool)
        flat = array.reshape(-1)
        for column, i in enumerate(index):
            start = flat[i]
            for row, e in enumerate(steps):
                ends = []
                for sign in (1, -1):
                    flat[i] = start + rnn.dtype.type(sign * e)
                    ends.append((float(flat[i]), *value()))
                    flat[i] = start
                (up, high, on), (down, low, off) = ends
                found[row, column] = (high - low) / (up - down) if up != down else 0.0
                spoilt[row, column] = rnn.nonlinearity == "relu" and any(
                    np.any(a != b) for a, b in zip(on, off, strict=True)
                )
        exact = np.asarray(gradient, float).reshape(-1)[index]
        errors = np.array([_error(a[~s], exact[~s]) for a, s in zip(found, spoilt, strict=True)])
        kinks[name] = spoilt.mean(axis=1) if len(index) else np.zeros(len(steps))
        # where kinks spoil much, what is left may be units that are off, whose slopes are all 0
        telling = np.where(kinks[name] == kinks[name].min(), errors, np.nan)
        row = int(np.nanargmin(telling)) if np.isfinite(telling).any() else len(steps) - 1
        error[name], best[name], chosen[name] = errors, float(steps[row]), index
        numeric[name], backward[name] = np.where(spoilt[row], np.nan, found[row]), exact
    return GradCheck(steps, error, kinks, numeric, backward, chosen, best, GOOD[rnn.dtype])


def _sweep(eps: Any, dtype: np.dtype) -> np.ndarray:
    if eps is None:
        return np.logspace(-1, -9, 9) if dtype == np.float64 else np.logspace(0, -5, 6)
    steps = np.atleast_1d(np.asarray(eps, float))
    if steps.ndim != 1 or not len(steps) or not np.all((steps > 0) & np.isfinite(steps)):
        raise ValueError(f"eps must be positive, one number or several, got {eps}")
    return steps


def _weighted(of_output: np.ndarray, of_h_n: np.ndarray) -> Callable[[Any, Any], Any]:
    def loss(output: Any, h_n: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        data = output.data if isinstance(output, PackedSequence) else output
        value = np.sum(data * of_output, dtype=float) + np.sum(h_n * of_h_n, dtype=float)
        return value, of_output.astype(h_n.dtype), of_h_n.astype(h_n.dtype)

    return loss


def _answer(loss: Any, tape: Any) -> tuple[float, Any, Any]:
    answer = loss(tape.output, tape.h_n)
    if not isinstance(answer, tuple) or len(answer) != 3:
        raise TypeError(
            "loss must return three: its value and its gradients for output and for h_n, got "
            f"{validation.describe(answer)}"
        )
    return float(answer[0]), answer[1], answer[2]


def _real_elements(rnn: Any, x: np.ndarray, lengths: Any) -> np.ndarray:
    """Which elements of x are no padding."""
    real = np.ones(x.shape, bool)
    if lengths is not None:
        by_step = real.swapaxes(0, 1) if rnn.batch_first else real
        by_step[np.arange(len(by_step))[:, None] >= np.asarray(lengths)] = False
    return real


def _error(a: np.ndarray, b: np.ndarray) -> float:
    if not len(a):
        return np.nan
    size = np.linalg.norm(a) + np.linalg.norm(b)
    return float(np.linalg.norm(a - b) / size) if size > 0 else 0.0
