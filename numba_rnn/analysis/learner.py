"""A learner's own backward, checked: what is wrong first, where, and by which mistake."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from .. import reference, validation
from .cuts import NAMES, Answer, Mistake, mistakes, of_textbook

ARGUMENTS = ("x", "h_0", "w_ih", "w_hh", "b_ih", "b_hh", "grad_output", "grad_h_n")
SCOPE = ("batch", "relu", "lengths", "reverse")
OPTION = {"nonlinearity": "relu", "lengths": "lengths", "reverse": "reverse"}
INPUTS, UNITS = 3, 4


@dataclass(frozen=True)
class _Rung:
    """A question of the ladder, a little harder than the one before."""

    name: str
    needs: frozenset[str] = frozenset()
    steps: int = 5
    samples: int = 1
    lengths: tuple[int, ...] | None = None
    through_output: bool = True
    through_h_n: bool = True
    one_hot: bool = False  # x_t is the t-th unit vector

    @property
    def options(self) -> dict[str, Any]:
        """What the student is given by name; what is the default is left out."""
        options: dict[str, Any] = {}
        if "relu" in self.needs:
            options["nonlinearity"] = "relu"
        if self.lengths is not None:
            options["lengths"] = np.array(self.lengths)
        if "reverse" in self.needs:
            options["reverse"] = True
        return options

    def arrays(self, seed: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(seed)
        L, N, I, H = self.steps, self.samples, self.steps if self.one_hot else INPUTS, UNITS
        shapes = ((L, N, I), (N, H), (H, I), (H, H), (H,), (H,), (L, N, H), (N, H))
        found = {
            name: rng.normal(size=shape) for name, shape in zip(ARGUMENTS, shapes, strict=True)
        }
        for name in ("w_ih", "w_hh", "b_ih", "b_hh"):
            found[name] *= 0.6
        if self.one_hot:
            found["x"] = np.repeat(np.eye(L)[:, None], N, axis=1)
        if not self.through_output:
            found["grad_output"][:] = 0
        if not self.through_h_n:
            found["grad_h_n"][:] = 0
        return found


_LADDER = (
    _Rung("one step", steps=1, through_h_n=False),
    _Rung("one step, and h_n", steps=1),
    _Rung("two steps", steps=2, through_h_n=False),
    _Rung("two steps, and h_n", steps=2),
    _Rung("five steps"),
    _Rung("a batch", frozenset({"batch"}), samples=3),
    _Rung("ReLU", frozenset({"relu"})),
    _Rung("lengths", frozenset({"batch", "lengths"}), samples=4, lengths=(3, 5, 0, 2)),
    _Rung("reverse", frozenset({"reverse"})),
    _Rung(
        "reverse, with lengths", frozenset({"batch", "lengths", "reverse"}),
        samples=4, lengths=(3, 5, 0, 2),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class _Outcome:
    """What came of a question: an answer, or a reason why there is none."""

    answer: Answer = field(default_factory=dict)
    wrote: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True, eq=False)
class BackwardCheck:
    """What `check_backward` found.

    Attributes
    ----------
    passed : bool
    rungs : dict of str to bool
        Every question that was asked, and whether it was answered right.
    rung : str or None
        The first one that was not.
    quantity : str or None
        What is wrong there first: 'h' for dh_t, 'x', 'h_0', 'w_ih', 'w_hh', 'b_ih', 'b_hh'; or the
        argument that was written to.
    step : int or None
        The first step, on the way back, at which the gradient goes wrong, where that can be told:
        by 'h', by 'x', or by a question whose dW_ih shows each step in a column of its own.
    mistakes : list of str
        Names of those of `mistakes` with which every answer agrees: none, one, or, of a student
        that answers in part, perhaps several.
    message : str
    """

    passed: bool
    rungs: dict[str, bool]
    rung: str | None
    quantity: str | None
    step: int | None
    mistakes: list[str]
    message: str

    def __str__(self) -> str:
        return self.message


def check_backward(
    student: Callable[..., Any],
    *,
    scope: Collection[str] | None = None,
    tolerance: float = 1e-7,
    rng: int = 0,
) -> BackwardCheck:
    """Check a backward pass that somebody wrote, and say what is wrong with it.

    The student is asked questions that grow harder one by one: one step, two, five, a batch, ReLU,
    lengths, reverse. Each is answered by `reference.layer_backward` too. For the first wrong answer
    it is said which gradient is wrong, and at which step it goes wrong on the way back. All answers
    are compared with those of backwards with well-known mistakes, see `mistakes`.

    Parameters
    ----------
    student : callable
        ``student(x, h_0, w_ih, w_hh, b_ih, b_hh, grad_output, grad_h_n)`` with arrays of float64 of
        shapes (L, N, I), (N, H), (H, I), (H, H), (H,), (H,), (L, N, H), (N, H): the gradients of
        the loss for output and h_n of a tanh layer come in. It returns a dict of gradients: 'x',
        'h_0', 'w_ih', 'w_hh', 'b_ih', 'b_hh' and 'h', dh_t of every state (L, N, H). 'b' stands for
        both biases. What it leaves out, or gives as None, isn't judged. It gets read-only arrays.
        What it takes besides of ``nonlinearity='relu'``, ``lengths=array`` and ``reverse=True`` it
        is given where a question needs it. Other layouts: `from_min_char_rnn`, `from_cs231n`,
        `from_deeplearning_ai`.
    scope : collection of str, optional
        What it claims to be able to do: of 'batch', 'relu', 'lengths' and 'reverse'. Left out:
        batches, and the others where it has an argument for them.
    tolerance : float, default 1e-7
        For max|a - b| / max(1, max|b|).
    rng : int, default 0
        Seed of the questions.

    Returns
    -------
    BackwardCheck
        With passed, rungs, rung, quantity, step, mistakes and a message; ``print`` it.

    Raises
    ------
    TypeError, ValueError
        If student is no callable, or an argument not as described.

    References
    ----------
    `reference.layer_backward` is what it is compared with, and numbers its equations.

    Examples
    --------
    >>> import numpy as np
    >>> from numba_rnn import analysis
    >>> def student(x, h_0, w_ih, w_hh, b_ih, b_hh, grad_output, grad_h_n):
    ...     h = [h_0]
    ...     for x_t in x:
    ...         h.append(np.tanh(x_t @ w_ih.T + b_ih + h[-1] @ w_hh.T + b_hh))
    ...     dw_hh, dh = np.zeros_like(w_hh), grad_h_n
    ...     for t in reversed(range(len(x))):
    ...         delta = (grad_output[t] + dh) * (1 - h[t + 1] ** 2)
    ...         dw_hh += delta.T @ h[t + 1]
    ...         dh = delta @ w_hh
    ...     return {"w_hh": dw_hh, "h_0": dh}
    >>> print(analysis.check_backward(student))
    The gradient of w_hh is wrong from the question 'one step' on.
    It is as if: h_t for h_(t-1). dW_hh is made with the state after the step.
    W_hh multiplies the state before the step, so that one stands in its gradient, (8).
    """
    if not callable(student):
        raise TypeError(f"student must be a function, got {validation.describe(student)}")
    tolerance = validation.real("tolerance", tolerance, 0, 1, open_low=True)
    rng = validation.index("rng", rng, 2**32)
    able = _scope(student, scope)
    asked = [rung for rung in _LADDER if rung.needs <= able]
    right = of_textbook(reference)
    outcomes = {rung: _ask(student, rung, rng) for rung in asked}
    expected = {rung: _ask(right, rung, rng) for rung in asked}
    rungs = {
        rung.name: _agree(outcomes[rung], expected[rung], tolerance, exactly=False)
        for rung in asked
    }
    failed = next((rung for rung in asked if not rungs[rung.name]), None)
    if failed is None:
        given = [name for name in NAMES if any(name in o.answer for o in outcomes.values())]
        message = f"Right, at {len(asked)} questions: the gradients of {', '.join(given)}."
        if not given:
            message = "Nothing was answered, so nothing is wrong and nothing right."
        return BackwardCheck(bool(given), rungs, None, None, None, [], message)
    quantity, step = _first_wrong(outcomes[failed], expected[failed], failed, tolerance)
    if step is None and not outcomes[failed].wrote and not outcomes[failed].error:
        step = _step_by_probe(student, failed, rng, tolerance)
    known = []
    for mistake in mistakes():
        if all(
            _agree(outcomes[rung], _of_mistake(mistake, rung, rng), tolerance, exactly=True)
            for rung in asked
        ):
            known.append(mistake)
    message = _message(outcomes[failed], failed, quantity, step, known)
    names = [mistake.name for mistake in known]
    return BackwardCheck(False, rungs, failed.name, quantity, step, names, message)


def _scope(student: Callable[..., Any], scope: Collection[str] | None) -> frozenset[str]:
    if scope is None:
        scope = getattr(student, "scope", None)
    if scope is None:
        try:
            taken = inspect.signature(student).parameters
        except ValueError:
            return frozenset({"batch"})
        if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in taken.values()):
            return frozenset(SCOPE)
        return frozenset({"batch"} | {word for name, word in OPTION.items() if name in taken})
    if isinstance(scope, str) or not all(word in SCOPE for word in scope):
        raise ValueError(f"scope must be words of {', '.join(SCOPE)}, got {scope!r}")
    return frozenset(scope)


# --- asking -------------------------------------------------------------------------------------


def _ask(student: Callable[..., Any], rung: _Rung, seed: int) -> _Outcome:
    given = rung.arrays(seed)
    for array in given.values():
        array.flags.writeable = False
    try:
        with np.errstate(all="ignore"):
            return _Outcome(_read(student(*given.values(), **rung.options), given))
    except Exception as error:
        if not (isinstance(error, ValueError) and "read-only" in str(error)):
            return _Outcome(error=f"{type(error).__name__}: {error}")
    wrote = [name for name in ARGUMENTS if _writes(student, rung, given, name)]
    return _Outcome(wrote=tuple(wrote) or ("an argument",))


def _writes(
    student: Callable[..., Any], rung: _Rung, given: dict[str, np.ndarray], name: str
) -> bool:
    """Whether a student can't do with one of its arguments being read-only."""
    mine = {key: array if key == name else array.copy() for key, array in given.items()}
    try:
        with np.errstate(all="ignore"):
            student(*mine.values(), **rung.options)
    except Exception as error:
        return "read-only" in str(error)
    return False


@cache
def _of_mistake(mistake: Mistake, rung: _Rung, seed: int) -> _Outcome:
    return _ask(_student_of(mistake), rung, seed)


@cache
def _student_of(mistake: Mistake) -> Callable[..., Answer]:
    return mistake.student()


def _read(returned: Any, given: dict[str, np.ndarray]) -> Answer:
    """What a student returned, by name, as arrays of the right shapes."""
    if not isinstance(returned, Mapping):
        raise TypeError(
            f"the student must return a dict of gradients, got {validation.describe(returned)}"
        )
    answer = dict(returned)
    if "b" in answer:
        both = answer.pop("b")
        answer.setdefault("b_ih", both)
        answer.setdefault("b_hh", both)
    unknown = [name for name in answer if name not in NAMES]
    if unknown:
        raise ValueError(
            f"the student must return gradients of {', '.join(NAMES)} or b, got {unknown}"
        )
    found = {}
    for name in NAMES:
        if answer.get(name) is not None:
            array = np.asarray(answer[name], float)
            shape = given["grad_output" if name == "h" else name].shape
            if array.shape != shape:
                raise ValueError(
                    f"the gradient of {name} must have shape {shape}, got {array.shape}"
                )
            found[name] = array.copy()
    return found


# --- judging ------------------------------------------------------------------------------------


def _close(a: np.ndarray, b: np.ndarray, tolerance: float) -> bool:
    scale = np.max(np.abs(b), initial=1)
    return bool(np.max(np.abs(a - b), initial=0) <= tolerance * scale)  # not for NaN


def _agree(student: _Outcome, other: _Outcome, tolerance: float, exactly: bool) -> bool:
    """Whether a student's outcome is that of another; of a mistake's, what it breaks too."""
    if student.error or other.error:
        return exactly and student.error == other.error
    if student.wrote or other.wrote:
        return exactly and student.wrote == other.wrote
    return all(_close(a, other.answer[name], tolerance) for name, a in student.answer.items())


def _first_wrong(
    outcome: _Outcome, expected: _Outcome, rung: _Rung, tolerance: float
) -> tuple[str | None, int | None]:
    if outcome.error:
        return None, None
    wrong = [
        name
        for name in NAMES
        if name in outcome.answer
        and not _close(outcome.answer[name], expected.answer[name], tolerance)
    ]
    if outcome.wrote:
        return outcome.wrote[0], None
    quantity, step = wrong[0], None
    for name in ("h", "x"):
        if name in wrong:
            step = _step(outcome.answer[name], expected.answer[name], rung, tolerance)
            break
    return quantity, step


def _step(ours: np.ndarray, right: np.ndarray, rung: _Rung, tolerance: float) -> int | None:
    """The first step, on the way back, at which two arrays by step differ."""
    steps = range(len(right))
    for t in steps if "reverse" in rung.needs else reversed(steps):
        if not _close(ours[t], right[t], tolerance):
            return t
    return None


def _step_by_probe(
    student: Callable[..., Any], rung: _Rung, seed: int, tolerance: float
) -> int | None:
    """Of a student that gives no gradient by step: where x_t is e_t, column t of dW_ih is da_t."""
    probe = _Rung(
        rung.name, rung.needs, rung.steps, 1, None, rung.through_output, rung.through_h_n, True
    )
    ours, right = _ask(student, probe, seed), _ask(of_textbook(reference), probe, seed)
    if "h" in ours.answer or "x" in ours.answer or "w_ih" not in ours.answer:
        return None
    return _step(ours.answer["w_ih"].T, right.answer["w_ih"].T, rung, tolerance)


def _message(
    outcome: _Outcome, rung: _Rung, quantity: str | None, step: int | None, known: list[Any]
) -> str:
    if outcome.error:
        lines = [f"The question {rung.name!r} is not answered: {outcome.error}."]
    elif outcome.wrote:
        lines = [
            f"It writes to {' and '.join(outcome.wrote)}, which the caller may need again: from "
            f"the question {rung.name!r} on."
        ]
    else:
        what = "dh_t" if quantity == "h" else f"The gradient of {quantity}"
        back = "" if step is None else f", on the way back first at step {step} of {rung.steps}"
        lines = [f"{what} is wrong from the question {rung.name!r} on{back}."]
    for mistake in known:
        lines += [f"It is as if: {mistake.name}. {mistake.what}", mistake.why]
    if not known:
        lines.append("None of the known mistakes gives these answers.")
    return "\n".join(lines)
