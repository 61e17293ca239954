"""The CUDA backend: `numba_rnn.backends.Backend` for arrays on a GPU, of one library."""

from __future__ import annotations

import math
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from ..backends import LayerKind
from ..layout import Layout
from . import dropout as _dropout
from . import losses, memory, optim, toolkit
from .activation import F
from .choice import choose
from .libraries import NUMBA
from .products import (
    add_rows,
    column_sums,
    matmul,
    matrix,
    real_rows,
    stack,
    states_before,
)
from .step import GRAD_H_N, GRAD_OUTPUT, KEEP, PADDED
from .walk import Walk


class Backend:
    """A `numba_rnn.backends.GpuBackend` for the arrays of one library.

    Parameters
    ----------
    library : libraries.Library
        Whose arrays come in and go out.
    walk : str, optional
        Kernels to use in place of what `choice` finds best: "persistent", "grid", "steps" or
        "generic".
    """

    def __init__(self, library: Any, walk: str | None = None) -> None:
        toolkit.require()
        self.library, self.walk = library, walk
        self._indices: WeakKeyDictionary[Layout, dict[Any, Any]] = WeakKeyDictionary()

    def prepare(self, dtype: np.dtype, training: bool) -> None:
        """Nothing: the GPU has its own."""

    def rows(self, array: Any, features: int) -> Any:
        """Return an array's memory as rows, shape (R, features); a copy only where it must be."""
        array = self.library.contiguous(self.library.own(array))
        return array.reshape((math.prod(tuple(array.shape)) // features, features))

    def empty(self, shape: tuple[int, ...], dtype: Any, like: Any = None) -> Any:
        """Allocate an array of the library's kind."""
        return self.library.empty(shape, dtype, like)

    def zeros(self, shape: tuple[int, ...], dtype: Any, like: Any = None) -> Any:
        """Allocate an array of zeros of the library's kind."""
        return self.library.zeros(shape, dtype, like)

    def copy(self, array: Any) -> Any:
        """Copy an array on the GPU into one of the library's kind."""
        return self.library.copy(array)

    def read_only(self, array: Any) -> Any:
        """Return the array: memory on the GPU can't be protected."""
        return array

    def time_major(self, states: list[Any], leading: tuple[int, ...], H: int, swap: bool) -> Any:
        """dL/dh_t of all layers, (R, D·H) each, as one array (num_layers·D, *leading, H)."""
        return memory.time_major(self.library, states, leading, H, swap)

    def _index(self, layout: Layout) -> Any:
        """A layout's index on the device: the one thing that is copied there, once a layout."""
        stream = self.library.stream()
        key = toolkit.device_number(), int(stream)
        found = self._indices.setdefault(layout, {})
        if key not in found:
            found[key] = NUMBA.vector(toolkit.upload(layout.index, stream))
        return found[key]

    # The arguments of the following are those of `numba_rnn.cpu`.

    def _walk(self, x: Any, weights: Any, kind: LayerKind, layout: Layout, given: int) -> Walk:
        dtype, (places, H, D, f) = np.dtype(self.library.dtype(x)), kind
        _, w_hh, bias, stride = _places(places)
        plan = choose(toolkit.gpu(), H, layout.batch, D, dtype.itemsize, self.walk)
        return Walk(
            self.library, plan, dtype, layout.lengths, weights, self._index(layout),
            w_hh, bias, stride, given | PADDED * layout.has_padding, F[f],
            len(layout.step_row), layout.batch, H, D,
        )  # fmt: skip

    def rnn_forward(
        self, x: Any, h_0: Any, h_n: Any, weights: Any, kind: LayerKind, layout: Layout
    ) -> Any:
        """Run one layer, both directions, and fill h_n; return output (R, D·H)."""
        library, (R, I), (places, H, D, _) = self.library, tuple(x.shape), kind
        output = library.empty((R, D * H), x.dtype, x)
        if layout.batch == 0:
            return output
        w_ih, _, _, stride = _places(places)
        out, w = library.vector(output), library.vector(weights)
        both = stack(library, w, w_ih, stride, D, H, I)
        matmul(library, matrix(library.vector(x), 0, R, I), both.T, matrix(out, 0, R, D * H))
        walk = self._walk(x, w, kind, layout, 0)
        walk.forward(out, library.vector(h_n), library.vector(h_0))
        return output

    def rnn_backward(
        self, x: Any, h_0: Any, output: Any, weights: Any, kind: LayerKind, layout: Layout,
        grad_output: Any, grad_h_n: Any, dh_init: Any, gradients: Any, state_gradients: bool,
    ) -> tuple[Any, Any]:  # fmt: skip
        """Run one layer backward; fill dh_init and gradients; return dx (R, I) and dh (R, D·H)."""
        library, (R, I), (places, H, D, _) = self.library, tuple(x.shape), kind
        dx = library.empty((R, I), x.dtype, x)
        dh = library.empty((R, D * H), x.dtype, x) if state_gradients else None
        if layout.batch == 0:
            return dx, dh
        out, x_flat, w, g = (library.vector(a) for a in (output, x, weights, gradients))
        h_0 = library.vector(h_0)
        delta = library.vector(library.empty((R * D * H,), x.dtype, x))
        given, arrays = 0, [delta, out, h_0]  # which stand in for those that are not there
        for i, (bit, array) in enumerate(
            ((KEEP, dh), (GRAD_OUTPUT, grad_output), (GRAD_H_N, grad_h_n))
        ):
            if array is not None:
                given, arrays[i] = given | bit, library.vector(array)
        walk = self._walk(x, w, kind, layout, given)
        walk.backward(delta, library.vector(dh_init), arrays[0], out, *arrays[1:])
        if R == 0:
            return dx, dh

        w_ih, w_hh, bias, stride = _places(places)
        both = stack(library, w, w_ih, stride, D, H, I)
        matmul(library, matrix(delta, 0, R, D * H), both, matrix(library.vector(dx), 0, R, I))
        L, N, index, padded = walk.L, walk.N, walk.index, layout.has_padding
        if padded:
            x_flat = real_rows(library, x_flat, index, R, L, N, I)
        past = states_before(library, out, h_0, index, R, padded, L, N, H, D)
        for d in range(D):
            own = matrix(delta, d * H, R, H, D * H)
            dw_ih = matrix(g, w_ih + d * stride, H, I)
            matmul(library, own.T, matrix(x_flat, 0, R, I), dw_ih)
            dw_hh = matrix(g, w_hh + d * stride, H, H)
            matmul(library, own.T, matrix(past, d * H, R, H, D * H), dw_hh)
        if bias >= 0:  # b_ih and b_hh, one after the other, have the same gradient
            both = [matrix(g, bias + d * stride, 2, H) for d in range(D)]
            column_sums(library, matrix(delta, 0, R, D * H), both)
        return dx, dh

    def linear_forward(self, x: Any, weights: Any, out_features: int) -> Any:
        """Y = x·wᵀ + b: x (M, I), weights w (O, I) and perhaps b (O,) in one vector, y (M, O)."""
        M, I = tuple(x.shape)
        library, O = self.library, out_features
        y = library.empty((M, O), x.dtype, x)
        out, w = matrix(library.vector(y), 0, M, O), library.vector(weights)
        matmul(library, matrix(library.vector(x), 0, M, I), matrix(w, 0, O, I).T, out)
        if w.size > O * I:
            add_rows(library, out, w, O * I)
        return y

    def linear_backward(
        self, x: Any, weights: Any, out_features: int, grad_output: Any
    ) -> tuple[Any, Any]:
        """Return dx (M, I) and the gradients of the parameters, laid out as weights."""
        M, I = tuple(x.shape)
        library, O = self.library, out_features
        w = library.vector(weights)
        dx = library.empty((M, I), x.dtype, x)
        gradients = library.zeros((w.size,), x.dtype, x)
        g, grad = library.vector(gradients), matrix(library.vector(grad_output), 0, M, O)
        matmul(library, grad, matrix(w, 0, O, I), matrix(library.vector(dx), 0, M, I))
        if M:
            matmul(library, grad.T, matrix(library.vector(x), 0, M, I), matrix(g, 0, O, I))
        if w.size > O * I:
            column_sums(library, grad, [matrix(g, O * I, 1, O)])
        return dx, gradients

    def dropout(self, x: Any, probability: float, key: int, layer: int) -> Any:
        """Drop elements of x by the mask that (key, layer) gives for its size."""
        library = self.library
        out = library.empty(tuple(x.shape), x.dtype, x)
        vectors = library.vector(out), library.vector(x)
        _dropout.dropout(library, *vectors, probability, key, layer)
        return out

    # Losses and optimisers, which on the CPU are NumPy's business.

    def loss(
        self, name: str, prediction: Any, target: Any, weights: Any, delta: float = 1.0
    ) -> tuple[Any, Any]:
        """Value, shape (), and gradient of a loss of `numba_rnn.losses`."""
        return losses.loss(self.library, name, prediction, target, weights, delta)

    def optimizer_step(
        self, rule: str, p: Any, g: Any, buffers: dict[str, Any], t: int, lr: float,
        options: dict[str, Any],
    ) -> None:  # fmt: skip
        """Change p by a rule of `numba_rnn.optim`; p, g and buffers are device vectors."""
        optim.step(self.library.stream(), rule, p, g, buffers, t, lr, options)

    def clip(self, gradients: list[Any], max_norm: float) -> Any:
        """Shorten gradients, device vectors, to a norm; return the norm they had, shape ()."""
        library = self.library
        norm = library.empty((1,), np.dtype(np.float64))
        parts = library.empty((optim.parts(gradients),), np.dtype(np.float64))
        vectors = library.vector(parts), library.vector(norm)
        optim.clip(library.stream(), gradients, *vectors, max_norm)
        return norm.reshape(())


def _places(places: np.ndarray) -> tuple[int, int, int, int]:
    """Where w_ih, w_hh and b_ih of direction 0 start; how far on those of direction 1 are."""
    w_ih, w_hh, b_ih, _ = (int(place) for place in places[0])
    stride = int(places[1, 0] - places[0, 0]) if len(places) > 1 else 0
    return w_ih, w_hh, b_ih, stride
