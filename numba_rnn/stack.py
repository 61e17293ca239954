"""The layers of an RNN one on top of the other: forward, and backward beside it.

Everything here is in rows (R, features), as `layout.py` lays them out; one layer, both directions,
is one call of the backend. Dropout masks are never stored: the key gives them again.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np

from .layout import Layout
from .parameters import Shapes, places, size


@dataclass(frozen=True)
class Stack:
    """What the layers are: everything but the values of the parameters."""

    layers: tuple[Shapes, ...]
    hidden_size: int
    directions: int
    nonlinearity: str

    def __post_init__(self) -> None:
        ends = np.cumsum([0, *(size(shapes) for shapes in self.layers)]).tolist()
        spans = tuple(slice(a, b) for a, b in pairwise(ends))
        object.__setattr__(self, "_spans", spans)
        tables = tuple(places(shapes, self.directions) for shapes in self.layers)
        object.__setattr__(self, "_places", tables)

    def forward(
        self,
        backend: ModuleType,
        weights: np.ndarray,
        x: np.ndarray,
        h_0: np.ndarray,
        layout: Layout,
        dropout: float,
        key: int | None,
        keep: bool,
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """Run all layers.

        Parameters
        ----------
        weights : ndarray, shape (P,)
        x : ndarray, shape (R, I)
        h_0 : ndarray, shape (num_layers·D, N, H)
        key : int or None
            What the dropout masks are made from; None where nothing is dropped.
        keep : bool
            Whether the outputs of all layers are wanted, or the last alone.

        Returns
        -------
        outputs : list of ndarray, shape (R, D·H)
            Before dropout.
        h_n : ndarray, shape (num_layers·D, N, H)
        """
        D = self.directions
        h_n = backend.empty(h_0.shape, h_0.dtype)
        outputs: list[np.ndarray] = []
        for k, (span, table) in enumerate(zip(self._spans, self._places, strict=True)):
            if k > 0:
                x = outputs[-1] if keep else outputs.pop()
                if key is not None:
                    x = backend.dropout(x, dropout, key, k)
            part = slice(k * D, (k + 1) * D)
            output = backend.rnn_forward(
                x, h_0[part], h_n[part], weights[span], table, layout,
                self.hidden_size, D, self.nonlinearity,
            )  # fmt: skip
            outputs.append(output)
        return outputs, h_n

    def backward(
        self,
        backend: ModuleType,
        weights: np.ndarray,
        x: np.ndarray,
        h_0: np.ndarray,
        layout: Layout,
        dropout: float,
        key: int | None,
        outputs: list[np.ndarray],
        grad_output: np.ndarray | None,
        grad_h_n: np.ndarray | None,
        state_gradients: bool,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[np.ndarray] | None]:
        """Run all layers backward, last first.

        The arguments are those of `forward`, what it returned, and the gradients of the loss with
        respect to that.

        Returns
        -------
        dx : ndarray, shape (R, I)
        dh_0 : ndarray, shape (num_layers·D, N, H)
        gradients : ndarray, shape (P,)
        states : list of ndarray, shape (R, D·H), or None
            dL/dh_t of each layer.
        """
        D = self.directions
        dh_0 = backend.zeros(h_0.shape, h_0.dtype)
        gradients = backend.zeros(weights.shape, weights.dtype)
        states: list[Any] = []
        grad = grad_output
        for k in range(len(self.layers) - 1, -1, -1):
            span, part = self._spans[k], slice(k * D, (k + 1) * D)
            below = x
            if k > 0:
                below = outputs[k - 1]
                if key is not None:
                    below = backend.dropout(below, dropout, key, k)
            grad, dh = backend.rnn_backward(
                below, h_0[part], outputs[k], weights[span], self._places[k], layout,
                self.hidden_size, D, self.nonlinearity,
                grad, None if grad_h_n is None else grad_h_n[part],
                dh_0[part], gradients[span], state_gradients,
            )  # fmt: skip
            states.insert(0, dh)
            if k > 0 and key is not None:
                grad = backend.dropout(grad, dropout, key, k)  # the same mask, the same scale
        return grad, dh_0, gradients, states if state_gradients else None
