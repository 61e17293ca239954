"""An RNN that is given one step at a time and carries its state from each to the next."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from . import validation
from .cpu import Stepper
from .stack import Stack

BUSY = "another thread is in a step of this stream; give each thread a stream of its own"


class Stream:
    """A state that is carried through an `RNN`, step by step; ``rnn.stream()`` makes it.

    Steps give the very bits that the layer gives for the whole sequence. A stream has a copy of the
    parameters as they were when it was made, and dropout doesn't act. Any number of streams can be
    at work, each in a thread of its own. Copies and pickles go on from the state of their original.

    Attributes
    ----------
    batch_size : int or None
        N, the number of sequences that are carried along; None for one alone, without an axis.
    state : ndarray, shape (num_layers, N, H), without N where batch_size is None
        A copy of the current state of every layer. Assign it to go on from there.

    See Also
    --------
    numba_rnn.RNN.stream : Makes one.

    Examples
    --------
    >>> import numpy as np
    >>> import numba_rnn as nr
    >>> rnn = nr.RNN(2, 3, num_layers=2, rng=0)
    >>> x = np.ones((5, 2), np.float32)
    >>> stream = rnn.stream()
    >>> outputs = [stream.step(x_t) for x_t in x]
    >>> bool((np.stack(outputs) == rnn(x)[0]).all())
    True
    >>> saved = stream.state
    >>> stream.reset()
    >>> stream.state = saved
    """

    def __init__(
        self, stack: Stack, weights: np.ndarray, input_size: int, batch_size: int | None
    ) -> None:
        """Keep weights (P,); everything was checked."""
        self._made_of = stack, weights, input_size, batch_size
        self.batch_size, dtype = batch_size, weights.dtype
        N, outer = (1, ()) if batch_size is None else (batch_size, (batch_size,))
        K, H = len(stack.layers), stack.hidden_size
        self._dtype, self._rows = dtype, (N, input_size)
        self._input, self._output, self._shape = (*outer, input_size), (*outer, H), (K, *outer, H)
        layers = [
            Stepper(weights[span], kind, N, H if k else input_size)
            for k, (span, _, kind) in enumerate(stack._parts)
        ]
        self._states = np.zeros((2, K, N, H), dtype)  # of now and of the next step, by turns
        self._turn = 0
        # Tried, not waited for. The thread that has it gets in again, or else an interruption
        # between two lines could lock it out for ever.
        self._lock = threading.RLock()
        self._steps, self._results = [], []
        for turn in range(2):
            now, after = self._states[turn], self._states[1 - turn]
            self._steps.append(
                [(f.step, now[k : k + 1], after[k : k + 1], after[k]) for k, f in enumerate(layers)]
            )
            self._results.append(after[-1].reshape(self._output))

    def step(self, x_t: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Take one step.

        Parameters
        ----------
        x_t : ndarray, shape (N, I), or (I,) where batch_size is None
        out : ndarray, shape (N, H) or (H,), optional
            Memory for the result, which is a new array where this is left out.

        Returns
        -------
        ndarray, shape (N, H) or (H,)
            Output of the last layer.

        Raises
        ------
        TypeError, ValueError
            If x_t or out is no array of the layer's dtype and the right shape. The state is then
            what it was.
        RuntimeError
            If another thread is in a step of this stream.
        """
        if type(x_t) is not np.ndarray or x_t.shape != self._input or x_t.dtype != self._dtype:
            x_t = validation.shaped("x_t", x_t, self._input, self._dtype)
        if not x_t.flags.carray:  # read-only, or not in C order
            x_t = x_t.copy()
        if out is not None:
            validation.shaped("out", out, self._output, self._dtype)
            validation.writeable_array("out", out)
        if not self._lock.acquire(blocking=False):
            raise RuntimeError(BUSY)
        try:
            turn, x = self._turn, x_t.reshape(self._rows)
            for step, h, after, output in self._steps[turn]:
                step(x, h, after, output)
                x = output
            if out is None:
                out = self._results[turn].copy()
            else:
                out[...] = self._results[turn]
            self._turn = 1 - turn
            return out
        finally:
            self._lock.release()

    def reset(self, h_0: np.ndarray | None = None) -> None:
        """Begin anew.

        Parameters
        ----------
        h_0 : ndarray, shape (num_layers, N, H), without N where batch_size is None, optional
            Initial states, zeros where left out.

        Raises
        ------
        TypeError, ValueError
            If h_0 is no array of the layer's dtype and the right shape.
        RuntimeError
            If another thread is in a step of this stream.
        """
        self._go_on_from(0 if h_0 is None else validation.shaped("h_0", h_0, *self._kind))

    @property
    def state(self) -> np.ndarray:
        """A copy of the current state of every layer, (num_layers, N, H) or (num_layers, H)."""
        with self._alone():
            return self._states[self._turn].reshape(self._shape).copy()

    @state.setter
    def state(self, value: np.ndarray) -> None:
        self._go_on_from(validation.shaped("state", value, *self._kind))

    @property
    def _kind(self) -> tuple[tuple[int, ...], np.dtype]:
        return self._shape, self._dtype

    def _go_on_from(self, state: Any) -> None:
        with self._alone():
            self._states[self._turn].reshape(self._shape)[...] = state

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._lock.acquire(blocking=False):
            raise RuntimeError(BUSY)
        try:
            yield
        finally:
            self._lock.release()

    def __repr__(self) -> str:
        stack, weights, input_size, batch_size = self._made_of
        return (
            f"<Stream of RNN({input_size}, {stack.hidden_size}, num_layers={len(stack.layers)}, "
            f"nonlinearity={stack.nonlinearity!r}, dtype={weights.dtype}), batch_size={batch_size}>"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (*self._made_of, self.state)


def _again(
    stack: Stack, weights: np.ndarray, input_size: int, batch_size: int | None, state: np.ndarray
) -> Stream:
    """Make the stream that a copy or a pickle is of."""
    stream = Stream(stack, weights, input_size, batch_size)
    stream.state = state
    return stream
