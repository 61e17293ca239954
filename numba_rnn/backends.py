"""What a backend is: `numba_rnn.cpu`, a module, and `numba_rnn.cuda.Backend`, one for a library."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np

from .layout import Layout


class LayerKind(NamedTuple):
    """What a layer is: all but the size of its input and the values of its parameters."""

    places: np.ndarray  # int64, (D, 4): where w_ih, w_hh, b_ih, b_hh start in weights, -1: no bias
    hidden_size: int
    directions: int
    nonlinearity: str  # "tanh" or "relu"


class Backend(Protocol):
    """What computes on arrays of one kind: a module or an object. What comes out is of that kind.

    A layer has input size I, hidden size H and D directions; its parameters are one vector, weights
    (P,). A batch of N samples is R rows, in the order of its layout.
    """

    def prepare(self, dtype: np.dtype, training: bool) -> None:
        """Do what a first call would wait for."""

    def rows(self, array: Any, features: int) -> Any:
        """Return an array's memory as rows, (R, features); a copy only where it must be one."""

    def empty(self, shape: tuple[int, ...], dtype: Any, /) -> Any:
        """Allocate an array of this shape."""

    def zeros(self, shape: tuple[int, ...], dtype: Any, /) -> Any:
        """Allocate an array of zeros of this shape."""

    def copy(self, array: Any, /) -> Any:
        """Copy an array, of any shape, in C order."""

    def read_only(self, array: Any) -> Any:
        """Return a view of the same shape; it can't be written to where memory can be protected."""

    def time_major(self, states: list[Any], leading: tuple[int, ...], H: int, swap: bool) -> Any:
        """Return dL/dh_t of all layers, (R, D·H) each, as one array (num_layers·D, *leading, H).

        With swap, leading is (N, L) and changes places in the result.
        """

    def rnn_forward(
        self, x: Any, h_0: Any, h_n: Any, weights: Any, kind: LayerKind, layout: Layout
    ) -> Any:
        """Run one layer on x (R, I) from h_0 (D, N, H); fill h_n (D, N, H); return output (R, D·H).

        The output is zero in rows that are no real step.
        """

    def rnn_backward(
        self, x: Any, h_0: Any, output: Any, weights: Any, kind: LayerKind, layout: Layout,
        grad_output: Any, grad_h_n: Any, dh_init: Any, gradients: Any, state_gradients: bool,
    ) -> tuple[Any, Any]:  # fmt: skip
        """Run it backward from grad_output (R, D·H) and grad_h_n (D, N, H), None for zeros.

        Fill dh_init (D, N, H) and gradients (P,), which come as zeros; return dx (R, I), and
        dL/dh_t (R, D·H), or None unless state_gradients asks for it.
        """

    def linear_forward(self, x: Any, weights: Any, out_features: int) -> Any:
        """Return x·wᵀ + b (M, O): x (M, I), weights w (O, I) and perhaps b (O,) in one vector."""

    def linear_backward(
        self, x: Any, weights: Any, out_features: int, grad_output: Any
    ) -> tuple[Any, Any]:
        """Return dx (M, I) and the gradients (P,), laid out as weights, from grad_output (M, O)."""

    def dropout(self, x: Any, probability: float, key: int, layer: int) -> Any:
        """Return x, of any shape, without what the mask of (key, layer) for its size drops."""


class GpuBackend(Backend, Protocol):
    """A backend on a GPU, which has losses and optimisers too: on the CPU they are NumPy's work."""

    def loss(
        self, name: str, prediction: Any, target: Any, weights: Any, delta: float = 1.0
    ) -> tuple[Any, Any]:
        """Return value, shape (), and gradient, the prediction's shape, of `numba_rnn.losses`."""

    def optimizer_step(
        self, rule: str, p: Any, g: Any, buffers: dict[str, Any], t: int, lr: float,
        options: dict[str, Any],
    ) -> None:  # fmt: skip
        """Change p (P,) by its gradient g (P,), buffers (P,) and a rule of `numba_rnn.optim`."""

    def clip(self, gradients: list[Any], max_norm: float) -> Any:
        """Shorten gradients, vectors, to a norm; return the norm that they had, shape ()."""
