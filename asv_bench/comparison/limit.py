"""What the register tile alone reaches: the ceiling for everything that is built of it.

Each thread runs the kernel of an RNN step, `affine_band`, on a tile's height of rows and a few
panels of weights, again and again. Everything lies in the nearest caches and nothing is packed,
no state depends on the one before, so only the tile itself is timed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from numba_rnn.cpu.build import call, natives
from numba_rnn.cpu.products import AFFINE_BAND
from numba_rnn.cpu.tile import TILE_ROWS
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
    bias = _aligned((1, width), dtype)[0]
    a_at, out_at = np.arange(TILE_ROWS) * depth, np.arange(TILE_ROWS) * width
    table = natives.table(np.dtype(dtype), (AFFINE_BAND,))
    repeats = REPEATED // (depth * panels)
    sizes = tuple(array.shape[1] for array in (a, w, out))
    arguments = (
        table, out.reshape(-1), out_at, TILE_ROWS, panels, width, bias, a.reshape(-1), a_at,
        w.reshape(-1), depth, IDENTITY, *sizes, repeats, threads,
    )  # fmt: skip

    def run() -> float:
        _repeat(*arguments)
        return 2.0 * threads * multiply_adds(dtype)

    return run


@numba.njit(parallel=True, error_model="numpy")
def _repeat(
    bands, out, out_at, rows, panels, width, bias, a, a_at, w, depth, f,
    a_size, w_size, out_size, repeats, threads,
):  # fmt: skip
    """Run the tile in every thread, on memory of its own."""
    for thread in numba.prange(threads):
        here, weights = (a, thread * a_size), (w, thread * w_size)
        for _ in range(repeats):
            call(
                bands[AFFINE_BAND],
                ((out, thread * out_size), out_at, rows, 0, panels, width, bias,
                 here, a_at, weights, depth, here, a_at, weights, 0, f),
            )  # fmt: skip


def _aligned(shape: tuple[int, int], dtype: str) -> np.ndarray:
    """Random numbers, from the beginning of a cache line on."""
    size = shape[0] * shape[1]
    memory = np.empty(size + 64, dtype)
    start = -memory.ctypes.data % 64 // memory.itemsize
    array = memory[start : start + size]
    array[:] = np.random.default_rng(0).uniform(-1, 1, size)
    return array.reshape(shape)
