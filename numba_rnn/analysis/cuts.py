"""Mistakes that are made when backpropagation through time is written by hand.

Each is `reference.py` with a line or two of its own source exchanged, so that a mistake is as exact
as the textbook, and follows it when it changes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from .. import reference

Answer = dict[str, np.ndarray]
NAMES = ("h", "x", "h_0", "w_ih", "w_hh", "b_ih", "b_hh")


@dataclass(frozen=True)
class Mistake:
    """A mistake in the backward pass of a layer.

    Attributes
    ----------
    name : str
    what : str
        What is done.
    why : str
        Why that is wrong.
    cuts : tuple of (str, str, str)
        The function of `reference.py`, or '' for the module, the right source and the wrong one.
    """

    name: str
    what: str
    why: str
    cuts: tuple[tuple[str, str, str], ...]

    def source(self) -> str:
        """The whole of `reference.py`, with the mistake in it."""
        whole = inspect.getsource(reference)
        for function, right, wrong in self.cuts:
            start = whole.index(f"def {function}(") if function else 0
            stop = whole.index("\n\n\n", start) if function else len(whole)
            if whole.count(right, start, stop) != 1:
                raise RuntimeError(f"mistake {self.name!r} does not fit reference.py: {right!r}")
            place = whole.index(right, start)
            whole = whole[:place] + wrong + whole[place + len(right) :]
        return whole

    def student(self) -> Callable[..., Answer]:
        """A backward with the mistake, as `check_backward` takes it."""
        module = ModuleType(f"reference, but {self.name}")
        exec(compile(self.source(), f"<reference.py, but {self.name}>", "exec"), module.__dict__)
        return of_textbook(module)


def of_textbook(module: Any) -> Callable[..., Answer]:
    """The backward of a layer of `reference.py`, or of a module like it, as a student's."""

    def student(
        x: np.ndarray,
        h_0: np.ndarray,
        w_ih: np.ndarray,
        w_hh: np.ndarray,
        b_ih: np.ndarray,
        b_hh: np.ndarray,
        grad_output: np.ndarray,
        grad_h_n: np.ndarray,
        *,
        nonlinearity: str = "tanh",
        lengths: np.ndarray | None = None,
        reverse: bool = False,
    ) -> Answer:
        options: dict[str, Any] = {
            "lengths": lengths, "nonlinearity": nonlinearity, "reverse": reverse
        }  # fmt: skip
        output, _ = reference.layer_forward(x, h_0, w_ih, w_hh, b_ih, b_hh, **options)
        dx, dh_init, dw_ih, dw_hh, db, dh = module.layer_backward(
            grad_output, grad_h_n, x, h_0, output, w_ih, w_hh, **options
        )
        return dict(zip(NAMES, (dh, dx, dh_init, dw_ih, dw_hh, db, db), strict=True))

    return student


def mistakes() -> list[Mistake]:
    """Return the mistakes that `check_backward` knows, for exercises.

    Returns
    -------
    list of Mistake
        Each with a name, what is done, why it is wrong, ``source()``, the whole of `reference.py`
        with it, and ``student()``, a backward that makes it.

    Examples
    --------
    >>> from numba_rnn import analysis
    >>> known = {mistake.name: mistake for mistake in analysis.mistakes()}
    >>> known["nothing carried"].what
    'dh_t is what the loss sees of step t, and what flows back from step t + 1 is left out.'
    >>> check = analysis.check_backward(known["nothing carried"].student())
    >>> check.quantity, check.step, check.mistakes
    ('h', 0, ['nothing carried'])
    """
    return list(_MISTAKES)


_TOTAL = "dh[t, live] = grad_output[t, live] + carried[live]  # (3)"
_END = "carried = np.array(grad_h_n, dtype)  # (N, H)  (6) of the step computed last"
_CALL = "dx[t, live], carried[live], dw_ih_t, dw_hh_t, db_t = cell_backward("
_SUMS = """        dw_ih += dw_ih_t  # (7)
        dw_hh += dw_hh_t  # (8)
        db += db_t  # (9)
"""
_RETURN = "return dx, carried, dw_ih, dw_hh, db, dh"
_DELTA = "da = dh_new * f_prime(h_new)"
_BACK = """    for t in steps[::-1]:
        live = t < lengths  # (N,)
"""

_MISTAKES = (
    Mistake(
        "nothing carried",
        "dh_t is what the loss sees of step t, and what flows back from step t + 1 is left out.",
        "h_t has a part in every later step: the gradients of all of them add up in dh_t, (3).",
        (
            (
                "layer_backward",
                _TOTAL,
                "dh[t, live] = grad_output[t, live] + (carried[live] if t == steps[-1] else 0)",
            ),
        ),
    ),
    Mistake(
        "h_t for h_(t-1)",
        "dW_hh is made with the state after the step.",
        "W_hh multiplies the state before the step, so that one stands in its gradient, (8).",
        (("cell_backward", "dw_hh = da.T @ h  #", "dw_hh = da.T @ h_new  #"),),
    ),
    Mistake(
        "W_hh not transposed",
        "The gradient is carried back by W_hh, as the state is carried forward.",
        "Back goes the transpose, (6): rows of W_hh are read forward, and columns back.",
        (("cell_backward", "carried = da @ w_hh  #", "carried = da @ w_hh.T  #"),),
    ),
    Mistake(
        "dW_hh transposed",
        "dW_hh is h^T da in place of da^T h.",
        "Row i of W_hh feeds unit i, so row i of its gradient has delta of unit i, (8). The shape, "
        "being square, does not tell.",
        (("cell_backward", "dw_hh = da.T @ h  #", "dw_hh = h.T @ da  #"),),
    ),
    Mistake(
        "the caller's gradient overwritten",
        "What is carried is added to grad_output in place.",
        "grad_output is the caller's array, who may need it again: a sum wants one of its own.",
        (
            (
                "layer_backward",
                _TOTAL,
                "grad_output[t, live] += carried[live]\n        dh[t, live] = grad_output[t, live]",
            ),
        ),
    ),
    Mistake(
        "the initial state overwritten",
        "h_0 itself is carried along from step to step, and not a copy.",
        "h_0 is the caller's array, who may need it again.",
        (
            (
                "layer_backward",
                "h = h_0.astype(dtype)  # (N, H), a copy",
                "h = h_0.astype(dtype, copy=False)",
            ),
        ),
    ),
    Mistake(
        "a bias counted twice",
        "The gradient of each bias is twice what it should be.",
        "b_ih and b_hh are added once each, and each has the same gradient, (9): it isn't shared "
        "out, and not added up.",
        (("cell_backward", "db = da.sum(axis=0)", "db = 2 * da.sum(axis=0)"),),
    ),
    Mistake(
        "f' of the state",
        "f' is computed from f(h) in place of h, as if h were the sum inside f.",
        "With h = f(a), tanh'(a) is 1 - h^2: h has been through f already.",
        (("cell_backward", "f_prime(h_new)", "f_prime(_F[nonlinearity](h_new))"),),
    ),
    Mistake(
        "f' left out",
        "da_t is taken to be dh_t.",
        "Between the sum a and the state h lies f, whose slope is a factor of the gradient, (4).",
        (("cell_backward", _DELTA, "da = dh_new"),),
    ),
    Mistake(
        "f' left out of what is carried",
        "The weights get dh_t f', and what is carried back is dh_t W_hh.",
        "The way back to h_(t-1) leads through f as well, (6).",
        (("cell_backward", "carried = da @ w_hh  #", "carried = dh_new @ w_hh  #"),),
    ),
    Mistake(
        "f' left out of dW_ih",
        "dW_ih is made from dh_t in place of da_t.",
        "The weights act inside f, (7).",
        (("cell_backward", "dw_ih = da.T @ x  #", "dw_ih = dh_new.T @ x  #"),),
    ),
    Mistake(
        "1 - h for 1 - h^2",
        "The square is missing in the slope of tanh.",
        "tanh'(a) = 1 - tanh(a)^2.",
        (("", '"tanh": lambda h: 1 - h * h,', '"tanh": lambda h: 1 - h,'),),
    ),
    Mistake(
        "ReLU's slope 1 everywhere",
        "The slope of ReLU is taken to be 1 where h >= 0.",
        "h is never below 0: where h = 0 the unit is off, and its slope is 0.",
        (("", '"relu": lambda h: h > 0,', '"relu": lambda h: h >= 0,'),),
    ),
    Mistake(
        "steps not summed",
        "The gradients of the weights are those of the step that was done last.",
        "The weights are those of every step, so what all steps send to them adds up, (7) to (9).",
        (("layer_backward", _SUMS, "        dw_ih, dw_hh, db = dw_ih_t, dw_hh_t, db_t\n"),),
    ),
    Mistake(
        "divided by the samples",
        "The gradients of the weights are means over the batch.",
        "The gradient of a sum is a sum. If the loss is a mean, grad_output has the 1/N already.",
        (
            (
                "layer_backward",
                _RETURN,
                "N = x.shape[1]\n    return dx, carried, dw_ih / N, dw_hh / N, db / N, dh",
            ),
        ),
    ),
    Mistake(
        "divided by the steps",
        "The gradients of the weights are means over time.",
        "The gradient of a sum is a sum. If the loss is a mean, grad_output has the 1/L already.",
        (
            (
                "layer_backward",
                _RETURN,
                "L = len(x)\n    return dx, carried, dw_ih / L, dw_hh / L, db / L, dh",
            ),
        ),
    ),
    Mistake(
        "grad_h_n left out",
        "What the loss sees of the last state through h_n is ignored.",
        "h_n is an output too: its gradient enters at the step that was computed last, (6).",
        (("layer_backward", _END, "carried = np.zeros(np.shape(grad_h_n), dtype)"),),
    ),
    Mistake(
        "grad_h_n at every step",
        "grad_h_n is added to the gradient of every state.",
        "h_n is the state computed last, and no other, (6).",
        (
            ("layer_backward", _END, "carried = np.zeros(np.shape(grad_h_n), dtype)"),
            (
                "layer_backward",
                _TOTAL,
                "dh[t, live] = grad_output[t, live] + carried[live] + grad_h_n[live]",
            ),
        ),
    ),
    Mistake(
        "grad_h_n at the last step of the batch",
        "grad_h_n enters at step L - 1, for shorter sequences too.",
        "h_n of a sequence is its own last state: there its gradient enters.",
        (
            (
                "layer_backward",
                _END,
                "carried = np.where((lengths == len(x))[:, None], grad_h_n, 0.0)",
            ),
        ),
    ),
    Mistake(
        "h_0 taken for zero",
        "The state before the first step is taken to be zero in dW_hh.",
        "The first step starts from h_0, (8).",
        (
            (
                "layer_backward",
                "h = h_0.astype(dtype)  # (N, H), a copy",
                "h = np.zeros(h_0.shape, dtype)",
            ),
        ),
    ),
    Mistake(
        "dh of the first step for that of h_0",
        "The gradient of the initial state is given as dh of the first step.",
        "Between the two lies a step: what is carried out of it is the gradient of h_0, (6).",
        (("layer_backward", _RETURN, "return dx, dh[steps[0]], dw_ih, dw_hh, db, dh"),),
    ),
    Mistake(
        "what is carried piles up",
        "What flows back from a step is added to what flowed back from the steps after it.",
        "dh_t has what came from later steps in it already: it is replaced, and not added to.",
        (
            ("layer_backward", _CALL, "dx[t, live], back, dw_ih_t, dw_hh_t, db_t = cell_backward("),
            ("layer_backward", _SUMS, "        carried[live] += back\n" + _SUMS),
        ),
    ),
    Mistake(
        "the wrong way through time",
        "The steps are gone through in the order of the forward pass.",
        "dh_t needs dh_(t+1): the way back begins where the way forward ended.",
        (("layer_backward", "for t in steps[::-1]:", "for t in steps:"),),
    ),
    Mistake(
        "padding counted",
        "Steps beyond the end of a sequence are gone through like real ones.",
        "They are no part of the sequence: nothing flows through them, and dx is 0 there.",
        (
            (
                "layer_backward",
                _BACK,
                "    for t in steps[::-1]:\n        live = np.ones(len(lengths), bool)\n",
            ),
        ),
    ),
    Mistake(
        "reverse ignored",
        "A layer that reads from the end is gone back through as one that reads from the start.",
        "In reverse the step computed before step t is t + 1, and the last one is step 0.",
        (("layer_backward", "steps = _steps(len(x), reverse)", "steps = _steps(len(x), False)"),),
    ),
)
