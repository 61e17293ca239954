"""What the register tile alone reaches: the ceiling for everything that is built of it.

Each thread runs the kernel of an RNN step, `affine_band`, on a tile's height of rows and a few
panels of weights, again and again. Everything lies in the nearest caches and nothing is packed,
no state depends on the one before, so only the tile itself is timed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numba
import numpy as np

from numba_rnn.cpu.native import native, twins
from numba_rnn.cpu.products import Factor, Rows
from numba_rnn.cpu.structures import Int, Numbers, Structure, Table, at
from numba_rnn.cpu.tile import TILE_ROWS, affine_band
from numba_rnn.cpu.vectors import IDENTITY, LANES

DEPTHS = (128, 256, 512, 1024)
PANELS = (2, 8)
REPEATED = 1 << 21  # vectors of multiply-adds a row and thread: some milliseconds


def multiply_adds(dtype: str) -> int:
    """Multiply-adds of one thread in one call, the same for every depth and width."""
    return TILE_ROWS * LANES[np.dtype(dtype)] * REPEATED


def calls(dtype: str) -> dict[str, Any]:
    """Offer the depths and widths of `affine_band` to the worker, which takes the fastest.

    The result of a call is the number of floating-point operations in it.
    """
    return {
        f"depth={depth}, panels={panels}": (_tile(dtype, depth, panels), lambda result: {})
        for depth in DEPTHS
        for panels in PANELS
    }


def _tile(dtype: str, depth: int, panels: int) -> Callable[[], float]:
    threads = numba.get_num_threads()
    width = panels * LANES[np.dtype(dtype)]
    a, w, out = (
        _aligned((threads, size), dtype)
        for size in (TILE_ROWS * depth, depth * width, TILE_ROWS * width)
    )
    p = Tiles(
        repeats=REPEATED // (depth * panels), threads=threads, panels=panels, width=width,
        depth=depth, a=a, w=w, bias=_aligned((1, width), dtype),
        a_at=np.arange(TILE_ROWS) * depth, out_at=np.arange(TILE_ROWS) * width,
    )  # fmt: skip

    def run() -> float:
        every_thread(p, (out,), np.dtype(dtype), True, True)
        return 2.0 * threads * multiply_adds(dtype)

    return run


class Tiles(Structure):
    """The tile's operands, for each thread its own."""

    arrays: ClassVar = {"out": 2}

    repeats: Int
    threads: Int
    panels: Int
    width: Int
    depth: Int
    a: Numbers  # (threads, TILE_ROWS, depth)
    w: Numbers  # (threads, panels, depth, lanes)
    out: Numbers  # (threads, TILE_ROWS, width)
    bias: Numbers
    a_at: Table
    out_at: Table


@twins
def every_thread(p: Tiles):
    """Run the tile in every thread."""
    for thread in numba.prange(p.threads):
        one_thread(p, thread)


@native
def one_thread(p: Tiles, thread: Int):
    """Run the tile again and again."""
    out = Rows(at(p.out, thread * TILE_ROWS * p.width), p.out_at)
    numbers, w = at(p.a, thread * TILE_ROWS * p.depth), at(p.w, thread * p.depth * p.width)
    a, none = Factor(numbers, p.a_at, w, p.depth), Factor(numbers, p.a_at, w, p.depth * 0)
    for _ in range(p.repeats):
        affine_band(out, TILE_ROWS, 0, p.panels, p.width, p.bias, a, none, IDENTITY)


def _aligned(shape: tuple[int, int], dtype: str) -> np.ndarray:
    """Random numbers, from the beginning of a cache line on."""
    size = shape[0] * shape[1]
    memory = np.empty(size + 64, dtype)
    start = -memory.ctypes.data % 64 // memory.itemsize
    array = memory[start : start + size]
    array[:] = np.random.default_rng(0).uniform(-1, 1, size)
    return array.reshape(shape)
