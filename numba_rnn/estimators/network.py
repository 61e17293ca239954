"""RNN, pooling and readout: loss and gradients of a batch, and prediction.

What `numba_rnn.RNN` and `numba_rnn.Linear` do at each call, checking and copying, is left out: the
batches are small and thousands of them come, all of one make.

Symbols: N series of a batch, R rows (steps of all of them), W = D·H width of the output of the RNN,
K outputs of the readout, S = num_layers·D states.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..dispatch import backend
from ..layout import Layout
from ..linear import Linear
from ..rnn import RNN
from ..stack import Pass
from .objectives import Loss
from .pooling import POOLS
from .sequences import Sequences, pack

ROWS_AT_ONCE = 1 << 15  # of a prediction, so that memory stays small


class Network:
    """An RNN and its readout, with weights of their own in one vector.

    Parameters
    ----------
    rnn : RNN
    head : Linear
        Both give their weights, and get them back by `store`.
    pooling : {"last", "mean", "max"} or None
        What of a series the readout sees; None for every step on its own.
    loss : callable, optional
        (prediction, target, weights) -> (value, gradient), as in `objectives`; for training.

    Attributes
    ----------
    weights : ndarray, shape (P,)
        Those of the RNN, then those of the readout.
    """

    def __init__(
        self, rnn: RNN, head: Linear, pooling: str | None, loss: Loss | None = None
    ) -> None:
        self.rnn, self.head, self.pooling, self.loss = rnn, head, pooling, loss
        self.weights = np.concatenate((rnn.flat_parameters, head.flat_parameters))
        self._rnn_weights, self._head_weights = np.split(self.weights, [rnn.flat_parameters.size])
        self._backend = backend(self.weights)

    def store(self) -> None:
        """Give RNN and readout the weights."""
        self.rnn.flat_parameters, self.head.flat_parameters = self._rnn_weights, self._head_weights

    @property
    def decayed(self) -> np.ndarray:
        """Which of the weights are no biases, shape (P,)."""
        named = (*self.rnn.parameters.items(), *self.head.parameters.items())
        return np.concatenate([np.full(p.size, name.startswith("weight")) for name, p in named])

    # --- training -------------------------------------------------------------------------------

    def gradients(
        self,
        x: Sequences,
        target: np.ndarray,
        batch: np.ndarray,
        truncation: int | None,
        weights: np.ndarray | None = None,
        exponent: int = 0,
    ) -> Iterator[tuple[float, float, np.ndarray]]:
        """Loss and gradients of a batch: once, or chunk by chunk where steps are truncated.

        Parameters
        ----------
        x : Sequences
        target : ndarray, shape (len(x), ...) or, for every step on its own, (R, ...)
        batch : ndarray of int64, shape (N,)
            Places of the series, longest first.
        truncation : int or None
            Steps through which gradients flow back, of every series counted from its end. States
            are carried on from chunk to chunk. Without pooling each chunk has a loss of its own.
        weights : ndarray, shape (len(x), 1) or (R, 1), optional
            Of the targets; (len(x), K) or (R, K) where some of several are missing.
        exponent : int
            Of the power of two in which weights are counted.

        Yields
        ------
        value : float
        count : float
            Targets that the value is the mean of, or what they weigh.
        gradients : ndarray, shape (P,)
        """
        series = x[batch]
        h = self._no_states(len(batch))
        passes = []
        for index, layout, is_last in series.chunks(truncation):
            keep = is_last or self.pooling != "last"  # or else nothing flows back to here
            done = self._forward(x.rows.take(index, axis=0), layout, h[:, : layout.batch].copy())
            if not is_last:
                h[:, : layout.batch] = done.h_n
            if self.pooling is None:
                weight = None if weights is None else weights.take(index, axis=0)
                yield self._step_gradients(done, target.take(index, axis=0), weight, exponent)
            elif keep:
                passes.append(done)
        if self.pooling is None:
            return
        weight = None if weights is None else weights[batch]
        if self.pooling == "last":
            yield self._last_gradients(passes[0], target[batch], weight, exponent)
        else:
            yield self._pooled_gradients(passes, series.lengths, target[batch], weight, exponent)

    def _step_gradients(
        self, done: Pass, target: np.ndarray, weight: np.ndarray | None, exponent: int
    ) -> tuple[float, float, np.ndarray]:
        value, grad, head = self._readout_gradients(done.outputs[-1], target, weight)
        grads = np.concatenate((done.backward(grad, None)[2], head))
        return value, _count(target, weight, exponent), grads

    def _last_gradients(
        self, done: Pass, target: np.ndarray, weight: np.ndarray | None, exponent: int
    ) -> tuple[float, float, np.ndarray]:
        value, grad, head = self._readout_gradients(self._last(done.h_n), target, weight)
        grad_h_n = self._last_backward(grad, done.h_n)
        grads = np.concatenate((done.backward(None, grad_h_n)[2], head))
        return value, _count(target, weight, exponent), grads

    def _pooled_gradients(
        self,
        passes: list[Pass],
        lengths: np.ndarray,
        target: np.ndarray,
        weight: np.ndarray | None,
        exponent: int,
    ) -> tuple[float, float, np.ndarray]:
        outputs = np.concatenate([done.outputs[-1] for done in passes])
        pool = POOLS[self.pooling](outputs, [done.layout for done in passes], lengths)
        value, grad, head = self._readout_gradients(pool.value, target, weight)
        ends = np.cumsum([len(done.x) for done in passes])
        parts = np.split(pool.backward(grad), ends[:-1])
        rnn = sum(done.backward(part, None)[2] for done, part in zip(passes, parts, strict=True))
        return value, _count(target, weight, exponent), np.concatenate((rnn, head))

    # --- prediction -----------------------------------------------------------------------------

    def predict(self, x: Sequences) -> np.ndarray:
        """Readout of every series, (N, K), or without pooling of every step, (R, K).

        The bits of a series' readout depend on that series alone.
        """
        total = int(x.lengths.sum())
        out = np.empty((len(x) if self.pooling else total, self.head.out_features), x.rows.dtype)
        place = np.cumsum(x.lengths) - x.lengths  # of the first step of each series in out
        for batch in x.groups(ROWS_AT_ONCE):
            lengths = x.lengths[batch]
            index, layout = pack(x.starts[batch], lengths)
            h_0 = self._no_states(len(batch))
            rows, rnn = x.rows.take(index, axis=0), self.rnn
            output, h_n = rnn._stack.run(
                self._backend, self._rnn_weights, rows, h_0, layout, rnn.dropout, rnn._key()
            )
            if self.pooling is None:
                out[pack(place[batch], lengths)[0]] = self._readout(output)
            elif self.pooling == "last":
                out[batch] = self._readout(self._last(h_n))
            else:
                pool = POOLS[self.pooling](output, [layout], lengths)
                out[batch] = self._readout(pool.value)
        return out

    # --- the parts ------------------------------------------------------------------------------

    def _no_states(self, batch: int) -> np.ndarray:
        states = self.rnn.num_layers * self.rnn._directions
        return self._backend.zeros((states, batch, self.rnn.hidden_size), self.weights.dtype)

    def _forward(self, x: np.ndarray, layout: Layout, h_0: np.ndarray) -> Pass:
        """Go through the RNN with a batch, or with a chunk of its steps."""
        rnn = self.rnn
        return rnn._stack.forward(
            self._backend, self._rnn_weights, x, h_0, layout, rnn.dropout, rnn._key()
        )

    def _readout(self, x: np.ndarray) -> np.ndarray:
        return self._backend.linear_forward(x, self._head_weights, self.head.out_features)

    def _readout_gradients(
        self, x: np.ndarray, target: np.ndarray, weight: np.ndarray | None
    ) -> tuple[float, np.ndarray, np.ndarray]:
        """Loss, and its gradients with respect to x and to the weights of the readout."""
        value, slope = self.loss(self._readout(x), target, weight)
        grad, weights = self._backend.linear_backward(
            x, self._head_weights, self.head.out_features, slope
        )
        return value, grad, weights

    def _last(self, h_n: np.ndarray) -> np.ndarray:
        """Last states of the last layer, (N, W), from h_n."""
        D = self.rnn._directions
        return h_n[-1] if D == 1 else np.concatenate(h_n[-D:], axis=1)

    def _last_backward(self, grad: np.ndarray, h_n: np.ndarray) -> np.ndarray:
        """dL/dh_n from dL/d(last states)."""
        D = self.rnn._directions
        out = np.zeros_like(h_n)
        out[-D:] = grad if D == 1 else np.stack(np.split(grad, D, axis=1))
        return out


def _count(target: np.ndarray, weight: np.ndarray | None, exponent: int) -> float:
    """How many targets there are, or what they weigh, divided by a power of two."""
    return len(target) if weight is None else float(np.ldexp(weight, -exponent).sum())
