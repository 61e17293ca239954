"""One layer in one launch, for w_hh that fits into the registers and shared memory of a block.

    h_t     = f(a_t + h_{t-1}·w_hhᵀ)        forward, a_t = x_t·w_ihᵀ + b_ih + b_hh
    dh_t    = g_t + delta_{t+1}·w_hh        backward, g_t = dL/d(output_t)
    delta_t = dh_t · f'(h_t)                the gradient at the sum inside f

Symbols, rows of memory, `index` and `given` are those of generic.py, the split of the threads that
of lanes.py. A block walks a few samples (`rows`) in one direction, and blocks never wait for each
other. Samples come longest first, so those of a block end nearly together. A step has one barrier:
the state is read from one copy in shared memory and written to the other. What comes from global
memory is loaded a step ahead, and where it lies is looked up two steps ahead.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from .activation import activation, derivative
from .generic import GRAD_H_N, GRAD_OUTPUT, KEEP, PADDED
from .lanes import TEAM, Split, filler, multiplier
from .toolkit import ALIGNMENT, cuda, device_function, kernel, uint64


@device_function
def place_of(s, length, first, index, d, row):
    """Where the number at `first`, seen from the start of a sample's row of step 0, is at step s.

    0 where the sample has no step s. Unsigned, as signed indices are tested for being negative.
    """
    if s < 0 or s >= length:
        return uint64(0)
    t = length - 1 - s if d == 1 else s
    return uint64(first + row * index[uint64(t)])


@cache
def forward(split: Split, dtype: np.dtype) -> Any:
    """The kernel of the forward walk; a block for each `rows` samples and each direction."""
    f, zero = activation(dtype), dtype.type(0)
    fill, multiply = filler(split, dtype), multiplier(split, dtype)
    lanes, rows, width = split.lanes, split.rows, split.width
    w_kept, sums_kept = max(1, split.in_registers * 4 * TEAM), rows * TEAM

    @kernel(split.threads)
    def rnn_forward(
        output,  # (R, D·H): x_t·w_ihᵀ comes in, h_t comes out
        h_n,  # (D, N, H)
        h_0,  # (D, N, H)
        weights,  # flat: w_hh of direction d at place + d·stride, b_ih and b_hh at bias + d·stride
        index,
        place, bias, stride, given, nonlinearity, L, N, H, D,
    ):  # fmt: skip
        shared = cuda.shared.array(0, dtype, ALIGNMENT)
        w, sums = cuda.local.array(w_kept, dtype), cuda.local.array(sums_kept, dtype)
        thread, d, n0 = cuda.threadIdx.x, cuda.blockIdx.y, cuda.blockIdx.x * rows
        j, r = thread // lanes * TEAM + thread % TEAM, thread % lanes // TEAM
        fill(w, shared, weights, place + d * stride, H, 1, 0, H, H)

        # Unit j of row r is this thread's to finish. Where there is none its length is 0.
        n = n0 + r
        length, first, state, row = 0, 0, -1, D * H
        b, h = zero, zero
        if r < rows and n < N and j < H:
            length, first = index[L + N + n], (index[L + n] * D + d) * H + j
            state = (d * N + index[L + 2 * N + n]) * H + j
            h = h_0[state]
            if bias >= 0:
                b = weights[bias + d * stride + j] + weights[bias + d * stride + H + j]
        if r < rows:
            shared[r * width + j] = h
            shared[(rows + r) * width + j] = zero
        at = place_of(0, length, first, index, d, row)
        at_next = place_of(1, length, first, index, d, row)
        a = output[at] if length > 0 else zero
        cuda.syncthreads()

        read, write = 0, rows * width // 4  # in fours
        for s in range(index[L + N + n0]):
            at_later = place_of(s + 2, length, first, index, d, row)
            a_next = output[at_next] if s + 1 < length else zero
            total = multiply(sums, w, shared, read)
            if s < length:
                h = f(total + a + b, nonlinearity)
                output[at] = h
                shared[uint64(4 * write + r * width + j)] = h
            a, at, at_next = a_next, at_next, at_later
            read, write = write, read
            cuda.syncthreads()  # the next state is whole, and nobody reads this one any more

        if state >= 0:
            h_n[state] = h
            if given & PADDED:
                for t in range(length, L):
                    output[first + row * index[t]] = zero

    return rnn_forward


@cache
def backward(split: Split, dtype: np.dtype) -> Any:
    """The kernel of the backward walk; a block for each `rows` samples and each direction."""
    f_prime, zero = derivative(dtype), dtype.type(0)
    fill, multiply = filler(split, dtype), multiplier(split, dtype)
    lanes, rows, width = split.lanes, split.rows, split.width
    w_kept, sums_kept = max(1, split.in_registers * 4 * TEAM), rows * TEAM

    @kernel(split.threads)
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
        shared = cuda.shared.array(0, dtype, ALIGNMENT)
        w, sums = cuda.local.array(w_kept, dtype), cuda.local.array(sums_kept, dtype)
        thread, d, n0 = cuda.threadIdx.x, cuda.blockIdx.y, cuda.blockIdx.x * rows
        j, r = thread // lanes * TEAM + thread % TEAM, thread % lanes // TEAM
        fill(w, shared, weights, place + d * stride, 1, H, 0, H, H)

        n = n0 + r
        length, first, state, row = 0, 0, -1, D * H
        if r < rows and n < N and j < H:
            length, first = index[L + N + n], (index[L + n] * D + d) * H + j
            state = (d * N + index[L + 2 * N + n]) * H + j
        if r < rows:
            shared[r * width + j] = zero
            shared[(rows + r) * width + j] = zero
        final = index[L + N + n0] - 1
        at = place_of(final, length, first, index, d, row)
        at_next = place_of(final - 1, length, first, index, d, row)
        h, g = zero, zero
        if 0 <= final < length:
            h = output[at]
            if given & GRAD_OUTPUT:
                g = grad_output[at]
        cuda.syncthreads()

        read, write = 0, rows * width // 4  # in fours
        for s in range(final, -2, -1):  # step -1 stands for the initial state
            at_later = place_of(s - 2, length, first, index, d, row)
            h_next, g_next = zero, zero
            if 0 < s <= length:
                h_next = output[at_next]
                if given & GRAD_OUTPUT:
                    g_next = grad_output[at_next]
            total = multiply(sums, w, shared, read)  # 0 where the sample has no later step
            if s == length - 1 and given & GRAD_H_N and state >= 0:
                total = grad_h_n[state]
            if s < 0:
                if state >= 0:
                    dh_0[state] = total
            elif s < length:
                dh_t = g + total
                if given & KEEP:
                    dh[at] = dh_t
                delta_t = f_prime(dh_t, h, nonlinearity)
                delta[at] = delta_t
                shared[uint64(4 * write + r * width + j)] = delta_t
            h, g, at, at_next = h_next, g_next, at_next, at_later
            read, write = write, read
            cuda.syncthreads()  # the next delta is whole, and nobody reads this one any more

        if given & PADDED and state >= 0:
            for t in range(length, L):
                beyond = first + row * index[t]
                delta[beyond] = zero
                if given & KEEP:
                    dh[beyond] = zero

    return rnn_backward
