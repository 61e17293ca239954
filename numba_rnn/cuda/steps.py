"""One layer, a product and a launch for every step: for w_hh of any size.

    h_t     = f(a_t + h_{t-1}·w_hhᵀ)        forward, a_t = x_t·w_ihᵀ + b_ih + b_hh
    dh_t    = g_t + delta_{t+1}·w_hh        backward, g_t = dL/d(output_t)
    delta_t = dh_t · f'(h_t)                the gradient at the sum inside f

Symbols, rows of memory, `index` and `given` are those of generic.py. The samples that have a step
are the first ones; their states lie one after the other in `state` (N, H), and `product` (N, H) is
what comes out of state·w_hhᵀ, or of state·w_hh where the state is a delta. A thread has a number.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from .activation import activation, derivative
from .generic import GRAD_H_N, GRAD_OUTPUT, KEEP, PADDED
from .persistent import place_of
from .toolkit import SIMULATOR, cuda, kernel

THREADS = 8 if SIMULATOR else 256


@cache
def forward(dtype: np.dtype) -> Any:
    """The kernel of a step forward; step -1 only prepares the state."""
    f, zero = activation(dtype), dtype.type(0)

    @kernel(THREADS)
    def rnn_forward_step(
        state,  # (N, H)
        product,  # (N, H)
        output,  # (R, D·H): x_t·w_ihᵀ comes in, h_t comes out
        h_n,  # (D, N, H)
        h_0,  # (D, N, H)
        weights,  # flat, with b_ih of direction d at bias + d·stride, and b_hh behind it
        index,
        s, alive, d, bias, stride, given, nonlinearity, L, N, H, D,
    ):  # fmt: skip
        e = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        if e >= alive * H:
            return
        n, j = e // H, e % H
        batch_row, length = index[L + n], index[L + N + n]
        own = (d * N + index[L + 2 * N + n]) * H + j
        if s < 0:
            state[e] = h_0[own]
            if length == 0:
                h_n[own] = h_0[own]
            if given & PADDED:
                for t in range(length, L):
                    output[((index[t] + batch_row) * D + d) * H + j] = zero
            return
        at = place_of(s, length, (batch_row * D + d) * H + j, index, d, D * H)
        a = product[e] + output[at]
        if bias >= 0:
            a += weights[bias + d * stride + j] + weights[bias + d * stride + H + j]
        h = f(a, nonlinearity)
        output[at] = h
        state[e] = h
        if s == length - 1:
            h_n[own] = h

    return rnn_forward_step


@cache
def backward(dtype: np.dtype) -> Any:
    """The kernel of a step backward; step -1 stands for the initial state."""
    f_prime, zero = derivative(dtype), dtype.type(0)

    @kernel(THREADS)
    def rnn_backward_step(
        state,  # (N, H)
        product,  # (N, H)
        delta,  # (R, D·H)
        dh_0,  # (D, N, H)
        dh,  # (R, D·H), written where `given` has KEEP
        output,  # (R, D·H)
        grad_output,  # (R, D·H), read where `given` has GRAD_OUTPUT
        grad_h_n,  # (D, N, H), read where `given` has GRAD_H_N
        index,
        s, alive, d, given, nonlinearity, L, N, H, D,
    ):  # fmt: skip
        e = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        if e >= alive * H:
            return
        n, j = e // H, e % H
        batch_row, length = index[L + n], index[L + N + n]
        own = (d * N + index[L + 2 * N + n]) * H + j
        g = zero
        if s < length - 1:
            g = product[e]
        elif given & GRAD_H_N:
            g = grad_h_n[own]
        if s < 0:
            dh_0[own] = g
            if given & PADDED:
                for t in range(length, L):
                    beyond = ((index[t] + batch_row) * D + d) * H + j
                    delta[beyond] = zero
                    if given & KEEP:
                        dh[beyond] = zero
            return
        at = place_of(s, length, (batch_row * D + d) * H + j, index, d, D * H)
        if given & GRAD_OUTPUT:
            g += grad_output[at]
        if given & KEEP:
            dh[at] = g
        delta_t = f_prime(g, output[at], nonlinearity)
        delta[at] = delta_t
        state[e] = delta_t

    return rnn_backward_step
