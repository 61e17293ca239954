"""One layer for any shape and dtype: a block walks one sample in one direction through time.

    h_t     = f(a_t + h_{t-1}·w_hhᵀ)        forward, a_t = x_t·w_ihᵀ + b_ih + b_hh
    dh_t    = g_t + delta_{t+1}·w_hh        backward, g_t = dL/d(output_t)
    delta_t = dh_t · f'(h_t)                the gradient at the sum inside f

Symbols: L steps, N samples, H hidden size, D directions; R rows of memory, of D·H numbers each.
Step t of the n-th longest sample lies in row step_row[t] + batch_row[n], see layout.py; s counts
the steps of a direction from its own start. `index` is step_row (L), batch_row (N), lengths (N)
and order (N), one after the other.

Threads are hidden units, j, j + threads, ...; the state before is read where it was written, in
global memory, so that no size has a limit. w_hh is read from memory again at every step.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from .activation import activation, derivative
from .toolkit import WARP, cuda, device_function, kernel

THREADS = 256
GRAD_OUTPUT, GRAD_H_N, KEEP, PADDED = 1, 2, 4, 8  # bits of `given`


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


@cache
def forward(dtype: np.dtype) -> Any:
    """The kernel of the forward walk; a block for each sample and direction."""
    f, zero = activation(dtype), dtype.type(0)

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
        n, d = cuda.blockIdx.x, cuda.blockIdx.y
        batch_row, length = index[L + n], index[L + N + n]
        state = (d * N + index[L + 2 * N + n]) * H
        bias_ih = bias + d * stride
        before = state
        for s in range(length):
            t = length - 1 - s if d == 1 else s
            at = ((index[t] + batch_row) * D + d) * H
            for j in range(cuda.threadIdx.x, H, cuda.blockDim.x):
                if s == 0:
                    a = dot(h_0, before, w_hh_t, d * H * H, H, j)
                else:
                    a = dot(output, before, w_hh_t, d * H * H, H, j)
                a += output[at + j]
                if bias >= 0:
                    a += weights[bias_ih + j] + weights[bias_ih + H + j]
                output[at + j] = f(a, nonlinearity)
            cuda.syncthreads()  # the whole state is written before any of it is read
            before = at
        for j in range(cuda.threadIdx.x, H, cuda.blockDim.x):
            h_n[state + j] = output[before + j] if length > 0 else h_0[state + j]
            if given & PADDED:
                for t in range(length, L):
                    output[((index[t] + batch_row) * D + d) * H + j] = zero

    return rnn_forward


@cache
def backward(dtype: np.dtype) -> Any:
    """The kernel of the backward walk; a block for each sample and direction."""
    f_prime, zero = derivative(dtype), dtype.type(0)

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
        n, d = cuda.blockIdx.x, cuda.blockIdx.y
        batch_row, length = index[L + n], index[L + N + n]
        state = (d * N + index[L + 2 * N + n]) * H
        w_hh = place + d * stride
        after = state
        for s in range(length - 1, -2, -1):  # step -1 stands for the initial state
            t = length - 1 - s if d == 1 else s
            at = state if s < 0 else ((index[t] + batch_row) * D + d) * H
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
                    if given & KEEP:
                        dh[at + j] = g
                    delta[at + j] = f_prime(g, output[at + j], nonlinearity)
            cuda.syncthreads()
            after = at
        if given & PADDED:
            for j in range(cuda.threadIdx.x, H, cuda.blockDim.x):
                for t in range(length, L):
                    at = ((index[t] + batch_row) * D + d) * H + j
                    delta[at] = zero
                    if given & KEEP:
                        dh[at] = zero

    return rnn_backward
