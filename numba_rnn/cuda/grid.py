"""One layer in one launch, for w_hh that is spread over the blocks of a grid.

Equations and symbols are those of step.py, the split of the threads that of lanes.py. A set of
blocks has `units` hidden units each, together all of them, and walks the samples of its group in
one direction: (blocks, groups, directions) is the grid. Every step, each block reads the whole
state of a few samples (`rows`) at a time from global memory, computes its units, and waits until
the other blocks of its set have written theirs.

All blocks of a launch must run at once: it is a cooperative one.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from . import step
from .lanes import TEAM, Split, filler, multiplier
from .step import GRAD_H_N, GRAD_OUTPUT, PADDED, clear, clear_backward, place_of, sample
from .toolkit import ALIGNMENT, cuda, device_function, kernel, uint64


@device_function
def wait_for_all(arrived, place, expected):
    """Wait until `expected` blocks have come here, counted from the start of the launch.

    What any of their threads wrote before is then seen by every thread of this block: the fences
    of the one thread that counts also order what the barrier of its block has made known to it.
    """
    cuda.syncthreads()
    if cuda.threadIdx.x == 0:
        cuda.threadfence()
        cuda.atomic.add(arrived, place, 1)
        while cuda.atomic.add(arrived, place, 0) < expected:
            pass
        cuda.threadfence()
    cuda.syncthreads()


@cache
def loader(split: Split, dtype: np.dtype) -> Any:
    """Copy the state of one sample to shared memory; zeros beyond H, or all over."""
    zero, width, threads = dtype.type(0), split.width, split.threads

    @device_function
    def load(shared, to, source, at, count):
        for k in range(cuda.threadIdx.x, width, threads):
            shared[uint64(to + k)] = source[at + uint64(k)] if k < count else zero

    return load


@cache
def forward(split: Split, dtype: np.dtype) -> Any:
    """The kernel of the forward walk; see above for the grid."""
    (bias_of, state_of), zero = step.forward(dtype), dtype.type(0)
    fill, multiply, load = filler(split, dtype), multiplier(split, dtype), loader(split, dtype)
    lanes, rows, width, units = split.lanes, split.rows, split.width, split.units
    w_kept, sums_kept = max(1, split.in_registers * 4 * TEAM), rows * TEAM

    @kernel(split.threads)
    def rnn_forward(
        output,  # (R, D·H): x_t·w_ihᵀ comes in, h_t comes out
        h_n,  # (D, N, H)
        h_0,  # (D, N, H)
        weights,  # flat: w_hh of direction d at place + d·stride, b_ih and b_hh at bias + d·stride
        index,
        arrived,  # (groups·D,), zeros
        d0,  # the first direction of this launch
        each,  # samples of a group
        place, bias, stride, given, nonlinearity, L, N, H, D,
    ):  # fmt: skip
        shared = cuda.shared.array(0, dtype, ALIGNMENT)
        w, sums = cuda.local.array(w_kept, dtype), cuda.local.array(sums_kept, dtype)
        thread, d, first = cuda.threadIdx.x, d0 + cuda.blockIdx.z, cuda.blockIdx.x * units
        counter, row = cuda.blockIdx.y * D + d, D * H
        n0 = cuda.blockIdx.y * each
        count = min(each, N - n0)
        j, r = first + thread // lanes * TEAM + thread % TEAM, thread % lanes // TEAM
        fill(w, shared, weights, place + d * stride, H, 1, first, min(H, first + units), H)
        own = r < rows and j < H  # whether there is something for this thread to finish
        b = zero
        if own:
            b = bias_of(weights, bias, d * stride + j, H)

        if own:
            for n in range(n0 + r, n0 + count, rows):
                length, start, state = sample(index, n, d, j, L, N, H, D)
                if length == 0:
                    h_n[state] = h_0[state]
                if given & PADDED:
                    clear(output, length, start, index, row, L)

        alive, side = count, 0
        for s in range(index[L + N + n0]):
            while index[L + N + n0 + alive - 1] <= s:  # the first sample has every step
                alive -= 1
            for n1 in range(n0, n0 + alive, rows):
                for q in range(rows):
                    n, to = n1 + q, (side * rows + q) * width
                    if n >= n0 + alive:
                        load(shared, to, h_0, uint64(0), 0)
                    else:
                        length, start, state = sample(index, n, d, 0, L, N, H, D)
                        if s == 0:
                            load(shared, to, h_0, uint64(state), H)
                        else:
                            before = place_of(s - 1, length, start, index, d, row)
                            load(shared, to, output, before, H)
                n, a, at, length, state = n1 + r, zero, uint64(0), 0, 0
                mine = own and n < n0 + alive
                if mine:
                    length, start, state = sample(index, n, d, j, L, N, H, D)
                    at = place_of(s, length, start, index, d, row)
                    a = output[at]
                cuda.syncthreads()  # the states are in place
                total = multiply(sums, w, shared, side * rows * width // 4)
                if mine:
                    h = state_of(total, a, b, nonlinearity)
                    output[at] = h
                    if s == length - 1:
                        h_n[state] = h
                side = 1 - side  # the next states go where nobody reads any more
            wait_for_all(arrived, counter, (s + 1) * cuda.gridDim.x)

    return rnn_forward


@cache
def backward(split: Split, dtype: np.dtype) -> Any:
    """The kernel of the backward walk; see above for the grid."""
    delta_of, zero = step.backward(dtype), dtype.type(0)
    fill, multiply, load = filler(split, dtype), multiplier(split, dtype), loader(split, dtype)
    lanes, rows, width, units = split.lanes, split.rows, split.width, split.units
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
        arrived,  # (groups·D,), zeros
        d0,  # the first direction of this launch
        each,  # samples of a group
        place, stride, given, nonlinearity, L, N, H, D,
    ):  # fmt: skip
        shared = cuda.shared.array(0, dtype, ALIGNMENT)
        w, sums = cuda.local.array(w_kept, dtype), cuda.local.array(sums_kept, dtype)
        thread, d, first = cuda.threadIdx.x, d0 + cuda.blockIdx.z, cuda.blockIdx.x * units
        counter, row = cuda.blockIdx.y * D + d, D * H
        n0 = cuda.blockIdx.y * each
        count = min(each, N - n0)
        j, r = first + thread // lanes * TEAM + thread % TEAM, thread % lanes // TEAM
        fill(w, shared, weights, place + d * stride, 1, H, first, min(H, first + units), H)
        own = r < rows and j < H

        if own and given & PADDED:
            for n in range(n0 + r, n0 + count, rows):
                length, start, _ = sample(index, n, d, j, L, N, H, D)
                clear_backward(delta, dh, length, start, index, row, L, given)

        alive, side, longest = 0, 0, index[L + N + n0]
        for s in range(longest - 1, -2, -1):
            while alive < count and index[L + N + n0 + alive] > s:
                alive += 1
            for n1 in range(n0, n0 + alive, rows):
                for q in range(rows):
                    n, to = n1 + q, (side * rows + q) * width
                    if n < n0 + alive and s + 1 < index[L + N + n]:
                        length, start, _ = sample(index, n, d, 0, L, N, H, D)
                        after = place_of(s + 1, length, start, index, d, row)
                        load(shared, to, delta, after, H)
                    else:
                        load(shared, to, delta, uint64(0), 0)
                n, g, h, at, length, state = n1 + r, zero, zero, uint64(0), 0, 0
                mine = own and n < n0 + alive
                if mine:
                    length, start, state = sample(index, n, d, j, L, N, H, D)
                    if s >= 0:
                        at = place_of(s, length, start, index, d, row)
                        h = output[at]
                        if given & GRAD_OUTPUT:
                            g = grad_output[at]
                cuda.syncthreads()  # the deltas are in place
                total = multiply(sums, w, shared, side * rows * width // 4)
                if mine:
                    if s == length - 1 and given & GRAD_H_N:
                        total = grad_h_n[state]
                    if s < 0:
                        dh_0[state] = total
                    else:
                        delta_of(g + total, h, at, delta, dh, given, nonlinearity)
                side = 1 - side  # the next deltas go where nobody reads any more
            if s >= 0:
                wait_for_all(arrived, counter, (longest - s) * cuda.gridDim.x)

    return rnn_backward
