"""The layers of an RNN one on top of the other: forward, and backward beside it.

Everything here is in rows (R, features), as `layout.py` lays them out; one layer, both directions,
is one call of the backend. Dropout masks are never stored: the key gives them again. Nothing is
checked.

Symbols: S = num_layers·D states, P parameters, R rows, N samples, I input size, H hidden size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from .backends import LayerKind
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
        D = self.directions
        ends = np.cumsum([0, *(size(shapes) for shapes in self.layers)]).tolist()
        spans = [slice(a, b) for a, b in pairwise(ends)]
        states = [slice(k * D, (k + 1) * D) for k in range(len(spans))]
        H, f = self.hidden_size, self.nonlinearity
        kinds = [LayerKind(places(shapes, D), H, D, f) for shapes in self.layers]
        # of each layer: its span of the weights, its states, and what it is
        object.__setattr__(self, "_parts", tuple(zip(spans, states, kinds, strict=True)))
        object.__setattr__(self, "several", len(spans) > 1)

    def forward(
        self,
        backend: Any,
        weights: Any,
        x: Any,
        h_0: Any,
        layout: Layout,
        dropout: float = 0.0,
        key: np.uint64 | None = None,
    ) -> Pass:
        """Run all layers, and keep what backward needs.

        Parameters
        ----------
        backend : module or object
            Of the arrays.
        weights : ndarray, shape (P,)
        x : ndarray, shape (R, I)
        h_0 : ndarray, shape (S, N, H)
        layout : Layout
        dropout : float
        key : np.uint64 or None
            What the dropout masks are made from; None where nothing is dropped.
        """
        outputs: list[Any] = []
        _, h_n = self.run(backend, weights, x, h_0, layout, dropout, key, outputs.append)
        return Pass(self, backend, weights, x, h_0, layout, dropout, key, outputs, h_n)

    def run(
        self,
        backend: Any,
        weights: Any,
        x: Any,
        h_0: Any,
        layout: Layout,
        dropout: float = 0.0,
        key: np.uint64 | None = None,
        keep: Callable[[Any], None] | None = None,
    ) -> tuple[Any, Any]:
        """Run all layers; parameters as in `forward`, and `keep` is given each layer's output.

        Returns
        -------
        output : ndarray, shape (R, D·H)
            Of the last layer.
        h_n : ndarray, shape (S, N, H)
        """
        h_n = backend.empty(h_0.shape, h_0.dtype)
        below, w, begin, end = x, weights, h_0, h_n
        for k, (span, states, kind) in enumerate(self._parts):
            if self.several:
                w, begin, end = weights[span], h_0[states], h_n[states]
                if k > 0 and key is not None:
                    below = backend.dropout(below, dropout, key, k)
            below = backend.rnn_forward(below, begin, end, w, kind, layout)
            if keep is not None:
                keep(below)
        return below, h_n


@dataclass(eq=False, slots=True)
class Pass:
    """A way forward through the layers: what went in, what came out, and the way back."""

    stack: Stack
    backend: Any
    weights: Any  # (P,)
    x: Any  # (R, I)
    h_0: Any  # (S, N, H)
    layout: Layout
    dropout: float
    key: np.uint64 | None  # of the dropout masks; None where nothing was dropped
    outputs: list[Any]  # of each layer before dropout: (R, D·H)
    h_n: Any  # (S, N, H)

    def backward(
        self,
        grad_output: Any | None,
        grad_h_n: Any | None,
        state_gradients: bool = False,
        seen: Callable[[Any, Any], None] | None = None,
    ) -> tuple[Any, Any, Any, list[Any] | None]:
        """Run all layers backward, last first.

        Parameters
        ----------
        grad_output : ndarray, shape (R, D·H), or None for zeros
        grad_h_n : ndarray, shape (S, N, H), or None for zeros
        state_gradients : bool
            Whether dL/dh_t is wanted too.
        seen : callable, optional
            Is given, for each layer, last first, the gradient of its output, (R, D·H) or None for
            zeros, and dL/dh_t.

        Returns
        -------
        dx : ndarray, shape (R, I)
        dh_init : ndarray, shape (S, N, H)
            Of h_0, the initial states; dL/dh_t of step 0 is in `states`.
        gradients : ndarray, shape (P,)
        states : list of ndarray, shape (R, D·H), or None
            dL/dh_t of each layer, the total gradient.
        """
        stack, backend, key, h_0, w = self.stack, self.backend, self.key, self.h_0, self.weights
        dh_init = backend.zeros(h_0.shape, h_0.dtype)
        gradients = backend.zeros(w.shape, w.dtype)
        of_states = []
        grad, begin, end, dw, dbegin = grad_output, h_0, grad_h_n, gradients, dh_init
        for k in range(len(stack._parts) - 1, -1, -1):
            span, states, kind = stack._parts[k]
            below = self.x if k == 0 else self.outputs[k - 1]
            if stack.several:
                w, dw = self.weights[span], gradients[span]
                begin, dbegin = h_0[states], dh_init[states]
                end = None if grad_h_n is None else grad_h_n[states]
                if k > 0 and key is not None:
                    below = backend.dropout(below, self.dropout, key, k)
            of_output = grad
            grad, dh = backend.rnn_backward(
                below, begin, self.outputs[k], w, kind, self.layout,
                grad, end, dbegin, dw, state_gradients,
            )  # fmt: skip
            of_states.insert(0, dh)
            if seen is not None:
                seen(of_output, dh)
            if k > 0 and key is not None:
                grad = backend.dropout(grad, self.dropout, key, k)  # the same mask, the same scale
        return grad, dh_init, gradients, of_states if state_gradients else None
