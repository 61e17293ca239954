"""One layer for any shape and dtype: a block walks one sample in one direction through time.

Equations and symbols are those of step.py. Threads are hidden units, j, j + threads, ...; the
state before is read where it was written, in global memory, so that no size has a limit. w_hh is
read from memory again at every step.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from . import step
from .step import GRAD_H_N, GRAD_OUTPUT, PADDED, clear, clear_backward, sample
from .toolkit import WARP, cuda, device_function, kernel

THREADS = 256


def threads(H: int) -> int:
    """Threads of a block."""
    return min(THREADS, -(-H // WARP) * WARP)


@device_function
def dot(h, at, w, start, H, j):
    """Sum over k of h[at + k] · w[k, j], for w (H, H) at start."""
    total = h[at] * w[start + j]
    for k in range(1, H):
        total += h[at + k] * w[start + k * H + j]
    return total


@device_function
def row_of(s, length, first, index, d, row):
    """Where step s of a sample starts, as place_of, but signed."""
    t = length - 1 - s if d == 1 else s
    return first + row * index[t]


@cache
def forward(dtype: np.dtype) -> Any:
    """The kernel of the forward walk; a block for each sample and direction."""
    bias_of, state_of = step.forward(dtype)

    @kernel(THREADS)
    def rnn_forward(
        output,  # (R, D·H): x_t·w_ihᵀ comes in, h_t comes out
        h_n,  # (D, N, H)
        h_0,  # (D, N, H)
        w_hh_t,  # (D, H, H), transposed
        weights,  # flat, with b_ih of direction d at bias + d·stride, and b_hh behind it
        index,
        bias, stride, given, nonlinearity, L, N, H, D,
    ):  # fmt: skip
        d, row = cuda.blockIdx.y, D * H
        length, first, state = sample(index, cuda.blockIdx.x, d, 0, L, N, H, D)
        before = state
        for s in range(length):
            at = row_of(s, length, first, index, d, row)
            for j in range(cuda.threadIdx.x, H, cuda.blockDim.x):
                if s == 0:
                    product = dot(h_0, before, w_hh_t, d * H * H, H, j)
                else:
                    product = dot(output, before, w_hh_t, d * H * H, H, j)
                b = bias_of(weights, bias, d * stride + j, H)
                output[at + j] = state_of(product, output[at + j], b, nonlinearity)
            cuda.syncthreads()  # the whole state is written before any of it is read
            before = at
        for j in range(cuda.threadIdx.x, H, cuda.blockDim.x):
            h_n[state + j] = output[before + j] if length > 0 else h_0[state + j]
            if given & PADDED:
                clear(output, length, first + j, index, row, L)

    return rnn_forward


@cache
def backward(dtype: np.dtype) -> Any:
    """The kernel of the backward walk; a block for each sample and direction."""
    delta_of, zero = step.backward(dtype), dtype.type(0)

    @kernel(THREADS)
    def rnn_backward(
        delta,  # (R, D·H)
        dh_0,  # (D, N, H)
        dh,  # (R, D·H), written where `given` has KEEP
        output,  # (R, D·H)
        grad_output,  # (R, D·H), read where `given` has GRAD_OUTPUT
        grad_h_n,  # (D, N, H), read where `given` has GRAD_H_N
        weights,  # flat, with w_hh of direction d at place + d·stride
        index,
        place, stride, given, nonlinearity, L, N, H, D,
    ):  # fmt: skip
        d, row = cuda.blockIdx.y, D * H
        length, first, state = sample(index, cuda.blockIdx.x, d, 0, L, N, H, D)
        w_hh = place + d * stride
        after = state
        for s in range(length - 1, -2, -1):
            at = state if s < 0 else row_of(s, length, first, index, d, row)
            for j in range(cuda.threadIdx.x, H, cuda.blockDim.x):
                if s < length - 1:
                    g = dot(delta, after, weights, w_hh, H, j)
                elif given & GRAD_H_N:
                    g = grad_h_n[state + j]
                else:
                    g = zero
                if s < 0:
                    dh_0[at + j] = g
                else:
                    if given & GRAD_OUTPUT:
                        g += grad_output[at + j]
                    delta_of(g, output[at + j], at + j, delta, dh, given, nonlinearity)
            cuda.syncthreads()
            after = at
        if given & PADDED:
            for j in range(cuda.threadIdx.x, H, cuda.blockDim.x):
                clear_backward(delta, dh, length, first + j, index, row, L, given)

    return rnn_backward
