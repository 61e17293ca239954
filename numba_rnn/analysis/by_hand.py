"""The CPU kernels run by hand: their very source, in plain Python, for a debugger to step through.

The package `numba_rnn.cpu` is loaded a second time, under another name, with Numba's compiler
switched off, as `NUMBA_DISABLE_JIT=1` does for a whole process. Its files are the same, so
breakpoints in them are met; a vector is one number wide.
"""

from __future__ import annotations

import copy
import importlib
import importlib.util
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from ..tape import Tape
from .taken import layer, passed

_NAME = "numba_rnn.cpu_by_hand"
_loading = threading.RLock()


def interpret(
    rnn: Any,
    x: Any,
    h_0: np.ndarray | None = None,
    *,
    lengths: Sequence[int] | np.ndarray | None = None,
) -> Tape[Any, Any]:
    """Run a layer as `RNN.forward` does, with the kernels in plain Python, and return the tape.

    Forward, and `Tape.backward` after it, are the source of ``rnn_forward`` and ``rnn_backward`` in
    numba_rnn/cpu/recurrence.py, line by line, not compiled. Set a breakpoint there, or step in with
    ``pdb``. What comes out is what the compiled kernels give, to rounding. It is thousands of times
    slower.

    ::

        h_t     = f(b_ih + b_hh + x_t w_ih^T + h_(t-1) w_hh^T)
        delta_t = (g_t + delta_(t+1) w_hh) f'(h_t)

    Parameters
    ----------
    rnn : RNN
        On the CPU.
    x : ndarray or PackedSequence, shape (L, N, I)
        As the layer takes it.
    h_0 : ndarray, shape (S, N, H), optional
    lengths : array_like of int, shape (N,), optional

    Returns
    -------
    Tape

    Raises
    ------
    TypeError, ValueError
        If rnn is no RNN on the CPU, or as in `RNN.forward`.

    References
    ----------
    numba_rnn/cpu/recurrence.py, which says what each function does, and numba_rnn/cpu/plain.py,
    which stands in for the register tile.

    Examples
    --------
    >>> import numpy as np
    >>> import numba_rnn as nr
    >>> rnn, x = nr.RNN(2, 3, dtype=np.float64, rng=0), np.ones((4, 3, 2))
    >>> by_hand = nr.analysis.interpret(rnn, x, lengths=[2, 4, 3])
    >>> compiled = rnn.forward(x, lengths=[2, 4, 3])
    >>> np.allclose(by_hand.output, compiled.output, rtol=0, atol=1e-14)
    True
    >>> ones = np.ones_like(compiled.output)
    >>> np.allclose(by_hand.backward(ones).flat, compiled.backward(ones).flat)
    True
    """
    rnn, backend = layer(rnn), _kernels()
    form, rows = rnn._enter(x, lengths)
    form = copy.copy(form)
    form.backend = backend
    states = form.first_states("h_0", h_0)
    done = rnn._stack.forward(
        backend, rnn._flat.copy(), rows, states.copy(), form.layout, rnn._dropout, rnn._key()
    )
    return Tape(done, form, rnn._shapes)


def _kernels() -> ModuleType:
    """`numba_rnn.cpu` in plain Python."""
    with _loading:
        if _NAME in sys.modules:
            return sys.modules[_NAME]
        config: Any = importlib.import_module("numba.core.config")
        compiled = importlib.import_module("numba_rnn.cpu")  # and all of Numba that it needs
        spec = importlib.util.spec_from_file_location(
            _NAME, compiled.__file__, submodule_search_locations=list(compiled.__path__)
        )
        if spec is None or spec.loader is None:
            raise ImportError(f"the source of the kernels is not at {compiled.__file__}")
        module = importlib.util.module_from_spec(spec)
        sys.modules[_NAME] = module
        before, config.DISABLE_JIT = config.DISABLE_JIT, 1  # asked for where functions are defined
        try:
            spec.loader.exec_module(module)
        except BaseException:
            for name in [n for n in list(sys.modules) if n == _NAME or n.startswith(f"{_NAME}.")]:
                del sys.modules[name]
            raise
        finally:
            config.DISABLE_JIT = before
        # Few samples have kernels of their own, which give the same: here all go the way that the
        # pages describe.
        sys.modules[f"{_NAME}.tables"].FEW = 0  # type: ignore[attr-defined]
        return module


@dataclass(frozen=True, eq=False)
class RowTable:
    """Where the steps of a batch lie in memory.

    Attributes
    ----------
    step_row : ndarray, shape (L,)
    batch_row, lengths, order : ndarray, shape (N,)
        Of the samples, longest first; order says which of the caller's each one is.
    rows : ndarray, shape (L, N)
        ``step_row[t] + batch_row[i]``: the row of step t of the i-th longest sample; -1 where it
        has no such step.
    """

    step_row: np.ndarray
    batch_row: np.ndarray
    lengths: np.ndarray
    order: np.ndarray
    rows: np.ndarray


def row_table(tape: Tape[Any, Any]) -> RowTable:
    """Return where each step of each sample lies in the rows that the kernels compute on.

    ::

        row of step t of sample i = step_row[t] + batch_row[i]

    for padded, batch-first and packed input alike; samples come longest first, so those that are
    alive at a step are the first.

    Parameters
    ----------
    tape : Tape
        Of `RNN.forward` or `interpret`.

    Returns
    -------
    RowTable

    Raises
    ------
    TypeError, ValueError
        If tape is none of an RNN on the CPU.

    References
    ----------
    numba_rnn/layout.py.

    Examples
    --------
    >>> import numpy as np
    >>> import numba_rnn as nr
    >>> tape = nr.RNN(1, 1).forward(np.zeros((5, 3, 1), np.float32), lengths=[2, 5, 3])
    >>> table = nr.analysis.row_table(tape)
    >>> table.order, table.rows
    (array([1, 2, 0]), array([[ 1,  2,  0],
           [ 4,  5,  3],
           [ 7,  8, -1],
           [10, -1, -1],
           [13, -1, -1]]))
    """
    layout = passed(tape).layout
    step_row, batch_row = layout.step_row.copy(), layout.batch_row.copy()
    lengths, order = layout.lengths.copy(), layout.order.copy()
    real = np.arange(layout.steps)[:, None] < lengths
    rows = np.where(real, step_row[:, None] + batch_row, -1)
    return RowTable(step_row, batch_row, lengths, order, rows)
