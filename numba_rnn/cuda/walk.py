"""The walk through time, forward and backward: launches of the kernels that `choice` chose."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from . import generic, grid, persistent, steps
from .choice import Plan
from .launching import launch
from .products import matmul, matrix, transposed


class Walk(NamedTuple):
    """What all kernels of a walk need; symbols as in step.py."""

    library: Any
    plan: Plan
    dtype: np.dtype
    lengths: np.ndarray  # on the host, longest first
    weights: Any  # flat, on the device
    index: Any
    w_hh: int  # where it starts in the weights
    bias: int  # where b_ih starts, and b_hh right behind it; -1 where there is none
    stride: int  # how far on the weights of the other direction are
    given: int
    nonlinearity: int
    L: int
    N: int
    H: int
    D: int

    @property
    def _sizes(self) -> tuple[int, ...]:
        return self.stride, self.given, self.nonlinearity, self.L, self.N, self.H, self.D

    @property
    def _stream(self) -> Any:
        return self.library.stream()

    def _scratch(self, *shape: int) -> Any:
        return self.library.vector(self.library.empty(shape, self.dtype))

    def forward(self, output: Any, h_n: Any, h_0: Any) -> None:
        """Turn output, (R, D·H) with the products x_t·w_ihᵀ, into the states, and fill h_n."""
        arrays = output, h_n, h_0
        if self.plan.kind == "generic":
            w_hh_t = transposed(self.library, self.weights, self.w_hh, self.stride, self.D, self.H)
            launch(
                generic.forward(self.dtype), (self.N, self.D), generic.threads(self.H),
                self._stream, *arrays, w_hh_t, self.weights, self.index, self.bias, *self._sizes,
            )  # fmt: skip
        elif self.plan.kind == "steps":
            self._steps_forward(*arrays)
        else:
            module = persistent if self.plan.kind == "persistent" else grid
            kernel = module.forward(self.plan.split, self.dtype)
            self._launch(kernel, arrays, (self.w_hh, self.bias))

    def backward(
        self, delta: Any, dh_0: Any, dh: Any, output: Any, grad_output: Any, grad_h_n: Any
    ) -> None:
        """Fill delta, dh_0 and, where it is asked for, dh."""
        arrays = delta, dh_0, dh, output, grad_output, grad_h_n
        if self.plan.kind == "generic":
            launch(
                generic.backward(self.dtype), (self.N, self.D), generic.threads(self.H),
                self._stream, *arrays, self.weights, self.index, self.w_hh, *self._sizes,
            )  # fmt: skip
        elif self.plan.kind == "steps":
            self._steps_backward(*arrays)
        else:
            module = persistent if self.plan.kind == "persistent" else grid
            kernel = module.backward(self.plan.split, self.dtype)
            self._launch(kernel, arrays, (self.w_hh,))

    def _launch(self, kernel: Any, arrays: tuple[Any, ...], places: tuple[int, ...]) -> None:
        """Launch a kernel that keeps w_hh, for all directions or for one after the other."""
        split, plan = self.plan.split, self.plan
        shared = split.shared(self.dtype.itemsize)
        arrays = *arrays, self.weights, self.index
        if plan.kind == "persistent":
            blocks = -(-self.N // split.rows), self.D
            launch(
                kernel, blocks, split.threads, self._stream, *arrays, *places, *self._sizes,
                shared=shared,
            )  # fmt: skip
            return
        each = -(-self.N // plan.groups)
        arrived = self.library.zeros((plan.groups * self.D,), np.dtype(np.int32))
        arrived = self.library.vector(arrived)
        for d in range(0, self.D, plan.directions):
            launch(
                kernel, (plan.blocks, plan.groups, plan.directions), split.threads, self._stream,
                *arrays, arrived, d, each, *places, *self._sizes, shared=shared, cooperative=True,
            )  # fmt: skip

    def _alive(self, s: int) -> int:
        """How many samples have a step s."""
        return int(np.count_nonzero(self.lengths > s))

    def _steps_forward(self, output: Any, h_n: Any, h_0: Any) -> None:
        N, H = self.N, self.H
        state, product = self._scratch(N * H), self._scratch(N * H)
        kernel, threads = steps.forward(self.dtype), steps.THREADS
        for d in range(self.D):
            w_hh = matrix(self.weights, self.w_hh + d * self.stride, H, H)
            for s in range(-1, int(self.lengths[0])):
                n = self._alive(s)
                if s >= 0:
                    matmul(self.library, matrix(state, 0, n, H), w_hh.T, matrix(product, 0, n, H))
                launch(
                    kernel, -(-n * H // threads), threads, self._stream,
                    state, product, output, h_n, h_0, self.weights, self.index, s, n, d, self.bias,
                    *self._sizes,
                )  # fmt: skip

    def _steps_backward(
        self, delta: Any, dh_0: Any, dh: Any, output: Any, grad_output: Any, grad_h_n: Any
    ) -> None:
        N, H = self.N, self.H
        state, product = self._scratch(N * H), self._scratch(N * H)
        kernel, threads = steps.backward(self.dtype), steps.THREADS
        for d in range(self.D):
            w_hh = matrix(self.weights, self.w_hh + d * self.stride, H, H)
            for s in range(int(self.lengths[0]) - 1, -2, -1):
                n, later = self._alive(s), self._alive(s + 1)
                if later:
                    matmul(
                        self.library, matrix(state, 0, later, H), w_hh, matrix(product, 0, later, H)
                    )
                launch(
                    kernel, -(-n * H // threads), threads, self._stream,
                    state, product, delta, dh_0, dh, output, grad_output, grad_h_n, self.index,
                    s, n, d, *self._sizes[1:],
                )  # fmt: skip
