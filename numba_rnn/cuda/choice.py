"""Which kernels walk through time: the one place that decides.

persistent: w_hh fits into one block; a launch a layer, and no waiting between blocks.
grid: w_hh is spread over several blocks, which meet after every step.
steps: a product and a launch for every step; w_hh may have any size.
generic: a block a sample, and w_hh is read from memory at every step; what the simulator runs.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from .lanes import TEAM, Split
from .toolkit import SIMULATOR, Gpu

REGISTERS = 65536  # of a multiprocessor, and so of a block that has it for itself
MOST = 255  # registers that one thread can have
OVERHEAD = {1: 64, 2: 88, 4: 112}  # registers for all but w_hh, by rows: the linker reports them
DOUBLE = 16  # more of them for each row in float64
UNROLLED = 8  # quads that the compiler keeps in registers and doesn't send to slow memory
PERSISTENT_WIDTH = 256
FEW_LANES = 192  # hidden size above which some of w_hh is in shared memory, and 4 lanes do better
GRID_THREADS = 256
GENERIC_WIDTH = 256  # hidden size up to which reading w_hh at every step is bearable


class Plan(NamedTuple):
    """What is launched.

    Attributes
    ----------
    kind : str
        "persistent", "grid", "steps" or "generic".
    split : Split or None
        How a block shares its part of w_hh; of persistent and grid.
    blocks : int
        Blocks that have a part of w_hh each; of grid, and 1 elsewhere.
    groups : int
        Such sets of blocks, with samples of their own; of grid.
    directions : int
        Directions that run in one launch.
    """

    kind: str
    split: Split | None = None
    blocks: int = 1
    groups: int = 1
    directions: int = 1


@cache
def choose(gpu: Gpu, H: int, N: int, D: int, itemsize: int, only: str | None = None) -> Plan:
    """Choose the kernels for a layer.

    Parameters
    ----------
    gpu : Gpu
    H, N, D : int
        Hidden size, samples, directions.
    itemsize : int
        Bytes of a number, 4 or 8.
    only : str, optional
        The kind to use where it can be; ValueError where it can't.
    """
    if only is None and SIMULATOR:
        only = "generic"
    if only in (None, "persistent"):
        plan = _persistent(gpu, H, N, D, itemsize)
        if plan is not None:
            return plan
    if only in (None, "grid"):
        plan = _grid(gpu, H, N, D, itemsize)
        if plan is not None:
            return plan
    if only == "generic" or (only is None and H <= GENERIC_WIDTH):
        return Plan("generic", directions=D)
    if only in (None, "steps"):
        return Plan("steps")
    raise ValueError(f"no {only} kernel for hidden size {H} with {itemsize} bytes a number")


def _quads_in_registers(threads: int, quads: int, rows: int, itemsize: int) -> int:
    """How many of a thread's quads of w_hh, 16 numbers each, its registers have room for."""
    whole = -(-threads // 128) * 128  # registers are given to four warps at a time
    limit = min(MOST, REGISTERS // whole // 8 * 8)
    words = itemsize // 4
    room = limit - OVERHEAD[rows] - DOUBLE * rows * (words - 1)
    return max(0, min(quads, UNROLLED, room // (16 * words)))


def _persistent(gpu: Gpu, H: int, N: int, D: int, itemsize: int) -> Plan | None:
    if H > PERSISTENT_WIDTH:
        return None
    # A block has one sample for itself while there are multiprocessors for all.
    rows = 1 if N * D <= gpu.multiprocessors else 2
    lanes = 4 if H > FEW_LANES and rows == 1 and itemsize == 4 else 8
    width = -(-H // 32) * 32  # a multiple of 4 * lanes, and whole warps
    quads = width // (4 * lanes)
    in_registers = _quads_in_registers(width // TEAM * lanes, quads, rows, itemsize)
    split = Split(width, width, lanes, in_registers, rows)
    if split.shared(itemsize) > gpu.shared_memory:
        return None
    return Plan("persistent", split, directions=D)


def _grid(gpu: Gpu, H: int, N: int, D: int, itemsize: int) -> Plan | None:
    if not gpu.cooperative:
        return None
    for lanes in (16, 32):  # fewer lanes: more units of a block, fewer blocks that meet
        width = -(-H // (4 * lanes)) * 4 * lanes
        units, quads = GRID_THREADS // lanes * TEAM, width // (4 * lanes)
        blocks = -(-H // units)
        directions = D if D * blocks <= gpu.multiprocessors else 1
        # Each set of blocks has all of w_hh, and samples of its own.
        groups = min(gpu.multiprocessors // (blocks * directions), N)
        if groups == 0:
            continue
        each = -(-N // groups)
        for rows in (4, 2, 1):
            in_registers = _quads_in_registers(GRID_THREADS, quads, rows, itemsize)
            split = Split(width, units, lanes, in_registers, rows)
            # With 32 lanes more fits into registers; in float32 that was measured to be slower.
            spilt = in_registers < quads and lanes == 16 and itemsize == 8
            if rows < 2 * each and not spilt and split.shared(itemsize) <= gpu.shared_memory:
                return Plan("grid", split, blocks, -(-N // each), directions)
    return None
