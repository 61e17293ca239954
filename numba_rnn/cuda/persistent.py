"""One layer in one launch, for w_hh that fits into the registers and shared memory of a block.

Equations and symbols are those of step.py, the split of the threads that of lanes.py. A block walks
a few samples (`rows`) in one direction, and blocks never wait for each other. Samples come longest
first, so those of a block end nearly together. A step has one barrier: the state is read from one
copy in shared memory and written to the other. What comes from global memory is loaded a step
ahead, and where it lies is looked up two steps ahead.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from . import step
from .lanes import TEAM, Split, filler, multiplier
from .step import GRAD_H_N, GRAD_OUTPUT, PADDED, clear, clear_backward, place_of, sample
from .toolkit import ALIGNMENT, cuda, kernel, uint64


@cache
def forward(split: Split, dtype: np.dtype) -> Any:
    """The kernel of the forward walk; a block for each `rows` samples and each direction."""
    (bias_of, state_of), zero = step.forward(dtype), dtype.type(0)
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
            length, first, state = sample(index, n, d, j, L, N, H, D)
            h = h_0[state]
            b = bias_of(weights, bias, d * stride + j, H)
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
                h = state_of(total, a, b, nonlinearity)
                output[at] = h
                shared[uint64(4 * write + r * width + j)] = h
            a, at, at_next = a_next, at_next, at_later
            read, write = write, read
            cuda.syncthreads()  # the next state is whole, and nobody reads this one any more

        if state >= 0:
            h_n[state] = h
            if given & PADDED:
                clear(output, length, first, index, row, L)

    return rnn_forward


@cache
def backward(split: Split, dtype: np.dtype) -> Any:
    """The kernel of the backward walk; a block for each `rows` samples and each direction."""
    delta_of, zero = step.backward(dtype), dtype.type(0)
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
            length, first, state = sample(index, n, d, j, L, N, H, D)
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
        for s in range(final, -2, -1):
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
                delta_t = delta_of(g + total, h, at, delta, dh, given, nonlinearity)
                shared[uint64(4 * write + r * width + j)] = delta_t
            h, g, at, at_next = h_next, g_next, at_next, at_later
            read, write = write, read
            cuda.syncthreads()  # the next delta is whole, and nobody reads this one any more

        if given & PADDED and state >= 0:
            clear_backward(delta, dh, length, first, index, row, L, given)

    return rnn_backward
