"""How the threads of a block share h·w_hhᵀ where w_hh stays in registers and shared memory.

A block has `units` hidden units. Four of them belong to a team of `lanes` neighbouring threads,
which split the sum over k: in turns ("quads") of 4 · lanes, lane l takes k = 4 (q · lanes + l) and
the three after it. So each thread reads four numbers of h at once, uses them for four units, and
what neighbours read lies in different banks.

    registers   w[q, u, c] = w_hh[unit + u, 4 (q · lanes + l) + c]     the first quads
    shared      the other quads, laid out as the threads read them
                and two copies of h (rows, width), one to read while the other is written

The sums of a team are added with shuffles that also hand them out: lane l ends with unit l % 4 of
row l // 4, where there are so many rows.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from .toolkit import cuda, device_function, uint64

TEAM = 4  # units of a team
WARP_MASK = 0xFFFFFFFF


class Split(NamedTuple):
    """The sizes that a kernel is compiled for."""

    width: int  # the hidden size, rounded up to whole quads of all lanes
    units: int  # hidden units of a block
    lanes: int  # threads of a team: 4, 8, 16 or 32
    in_registers: int  # quads in registers; the others are in shared memory
    rows: int  # samples that are computed at once

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return self.units // TEAM * self.lanes

    @property
    def quads(self) -> int:
        """Quads of each thread."""
        return self.width // (4 * self.lanes)

    @property
    def copies(self) -> int:
        """Lanes that end with the same unit: as many rows can be computed at once."""
        return self.lanes // TEAM

    def shared(self, itemsize: int) -> int:
        """Bytes of shared memory of a block."""
        spilt = (self.quads - self.in_registers) * 16 * self.threads
        return (2 * self.rows * self.width + spilt) * itemsize


@cache
def filler(split: Split, dtype: np.dtype) -> Any:
    """Load a thread's part of w_hh, or of its transpose, into registers and shared memory."""
    zero, lanes, threads = dtype.type(0), split.lanes, split.threads
    quads, in_registers, start = split.quads, split.in_registers, 2 * split.rows * split.width

    @device_function
    def fill(w, shared, weights, at, unit_stride, k_stride, first, end, H):
        thread = cuda.threadIdx.x
        unit, lane = first + thread // lanes * TEAM, thread % lanes
        for q in range(in_registers):
            for u in range(TEAM):
                for c in range(4):
                    k = 4 * (q * lanes + lane) + c
                    inside = unit + u < end and k < H
                    place = at + (unit + u) * unit_stride + k * k_stride
                    w[(q * TEAM + u) * 4 + c] = weights[place] if inside else zero
        for q in range(quads - in_registers):
            for u in range(TEAM):
                for c in range(4):
                    k = 4 * ((in_registers + q) * lanes + lane) + c
                    inside = unit + u < end and k < H
                    place = at + (unit + u) * unit_stride + k * k_stride
                    value = weights[place] if inside else zero
                    shared[start + ((q * TEAM + u) * threads + thread) * 4 + c] = value

    return fill


@cache
def multiplier(split: Split, dtype: np.dtype) -> Any:
    """Compute h·w_hhᵀ of the row and the unit that this lane finishes.

    h starts at 4·h of shared memory.
    """
    zero, lanes, threads, rows = dtype.type(0), split.lanes, split.threads, split.rows
    quads, in_registers = split.quads, split.in_registers
    fours, start = split.width // 4, split.rows * split.width // 2  # both in fours

    @device_function
    def gather(a, b, c, d, lane):
        """Add up the sums of a team for four units; lane l gets the total of unit l % 4."""
        upper, odd = lane & 2 != 0, lane & 1 != 0
        kept_0, sent_0 = (c, a) if upper else (a, c)
        kept_1, sent_1 = (d, b) if upper else (b, d)
        kept_0 += cuda.shfl_xor_sync(WARP_MASK, sent_0, 2)
        kept_1 += cuda.shfl_xor_sync(WARP_MASK, sent_1, 2)
        kept, sent = (kept_1, kept_0) if odd else (kept_0, kept_1)
        kept += cuda.shfl_xor_sync(WARP_MASK, sent, 1)
        if lanes > 4:
            kept += cuda.shfl_xor_sync(WARP_MASK, kept, 4)
        if lanes > 8:
            kept += cuda.shfl_xor_sync(WARP_MASK, kept, 8)
        if lanes > 16:
            kept += cuda.shfl_xor_sync(WARP_MASK, kept, 16)
        return kept

    @device_function
    def nothing(sums, w, shared, h, thread):
        for e in range(rows * TEAM):
            sums[e] = zero

    @device_function
    def from_registers(sums, w, shared, h, thread, q):
        for r in range(rows):
            at = uint64(4 * (h + r * fours + q * lanes + thread % lanes))
            for c in range(4):
                value = shared[at + uint64(c)]
                for u in range(TEAM):
                    sums[r * TEAM + u] += w[(q * TEAM + u) * 4 + c] * value

    @device_function
    def from_shared(sums, w, shared, h, thread, q):
        for u in range(TEAM):
            spilt = uint64(4 * (start + ((q - in_registers) * TEAM + u) * threads + thread))
            for r in range(rows):
                at = uint64(4 * (h + r * fours + q * lanes + thread % lanes))
                for c in range(4):
                    sums[r * TEAM + u] += shared[spilt + uint64(c)] * shared[at + uint64(c)]

    def products(count):
        """Products of the first `count` quads, one after the other: straight-line code.

        A loop that is too long for the compiler to unroll would send w to slow memory.
        """
        if count == 0:
            return nothing
        before, q = products(count - 1), count - 1
        quad = from_registers if q < in_registers else from_shared

        @device_function
        def more(sums, w, shared, h, thread):
            before(sums, w, shared, h, thread)
            quad(sums, w, shared, h, thread, q)

        return more

    multiplied = products(quads)

    @device_function
    def multiply(sums, w, shared, h):
        thread = cuda.threadIdx.x
        lane = thread % lanes
        multiplied(sums, w, shared, h, thread)
        total = gather(sums[0], sums[1], sums[2], sums[3], lane)
        for r in range(1, rows):
            a = r * TEAM
            other = gather(sums[a], sums[a + 1], sums[a + 2], sums[a + 3], lane)
            total = other if lane // TEAM == r else total
        return total

    return multiply
