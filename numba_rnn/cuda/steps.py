"""One layer, a product and a launch for every step: for w_hh of any size.

Equations and symbols are those of step.py. The samples that have a step
are the first ones; their states lie one after the other in `state` (N, H), and `product` (N, H) is
what comes out of state·w_hhᵀ, or of state·w_hh where the state is a delta. A thread has a number.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from . import step
from .step import GRAD_H_N, GRAD_OUTPUT, PADDED, clear, clear_backward, place_of, sample
from .toolkit import SIMULATOR, cuda, kernel

THREADS = 8 if SIMULATOR else 256


@cache
def forward(dtype: np.dtype) -> Any:
    """The kernel of a step forward; step -1 only prepares the state."""
    bias_of, state_of = step.forward(dtype)

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
        j, row = e % H, D * H
        length, first, own = sample(index, e // H, d, j, L, N, H, D)
        if s < 0:
            state[e] = h_0[own]
            if length == 0:
                h_n[own] = h_0[own]
            if given & PADDED:
                clear(output, length, first, index, row, L)
            return
        at = place_of(s, length, first, index, d, row)
        b = bias_of(weights, bias, d * stride + j, H)
        h = state_of(product[e], output[at], b, nonlinearity)
        output[at] = h
        state[e] = h
        if s == length - 1:
            h_n[own] = h

    return rnn_forward_step


@cache
def backward(dtype: np.dtype) -> Any:
    """The kernel of a step backward; step -1 stands for the initial state."""
    delta_of, zero = step.backward(dtype), dtype.type(0)

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
        j, row = e % H, D * H
        length, first, own = sample(index, e // H, d, j, L, N, H, D)
        g = zero
        if s < length - 1:
            g = product[e]
        elif given & GRAD_H_N:
            g = grad_h_n[own]
        if s < 0:
            dh_0[own] = g
            if given & PADDED:
                clear_backward(delta, dh, length, first, index, row, L, given)
            return
        at = place_of(s, length, first, index, d, row)
        if given & GRAD_OUTPUT:
            g += grad_output[at]
        state[e] = delta_of(g, output[at], at, delta, dh, given, nonlinearity)

    return rnn_backward_step
