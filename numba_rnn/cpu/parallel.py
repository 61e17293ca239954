"""The one place that decides how many threads a piece of work gets, and how it enters the pool.

There is one pool, Numba's, and `numba.set_num_threads` rules it. Work too small to win from more
threads runs in the calling thread, without a launch; so does all work in a forked child, since the
pool's threads don't live on there (and GNU OpenMP ends a child that asks for them). Where a control
group limits the processors, Numba's default number of threads gives way to that limit. And where
launches turn out to cost more than they bring, the work stays in one thread, see worth.py.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Hashable
from functools import cache

import numba
import numpy as np

from ..forks import is_child
from ..layout import Layout
from . import quota
from .native import Twins
from .structures import Structure
from .vectors import VECTOR_BYTES
from .worth import Worth

# Multiply-adds that two threads must have to gain more than a launch costs, by the bytes of a
# vector: wider ones are through sooner. For 32 bytes asv_bench/second_thread.py has shown it, for
# 64 a measurement like it; 16 is a guess. (The workqueue layer's launches cost much more.)
WORTH_A_LAUNCH = {16: 400_000, 32: 1_000_000, 64: 4_000_000}[VECTOR_BYTES]
WORTH_A_LAUNCH_WORKQUEUE = 20_000_000
# Hidden units are split over threads, which meet at every step, from this much work a step on.
WORTH_SHARING_A_STEP = 100_000
# A backward pass whose steps can't be split has products worth splitting from here on.
WORTH_A_LAUNCH_PRODUCTS = 4_000_000
# Work during which other threads of Python may run: after less they would be waited for too long.
WORTH_RELEASING = 1_000_000
PACKING = 16  # multiply-adds that take as long as packing a number
SAMPLES_A_THREAD = 3  # with fewer, a tile is too low to be fast
SAMPLES_A_BLOCK = 48  # with more, the states of a block leave the nearest cache

worth = Worth()
_entering = threading.Lock()


def _after_fork() -> None:
    global _entering
    _entering = threading.Lock()  # another thread of the parent may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _layer() -> str | None:
    """Name of Numba's threading layer, None before its first use."""
    try:
        return numba.threading_layer()
    except ValueError:
        return None


@cache
def _quota() -> int | None:
    return quota.processors()


def available() -> int:
    """How many threads Numba may use: as many as it was told, or by default as the quota allows."""
    count, limit = numba.get_num_threads(), _quota()
    if limit is None or count <= limit or "NUMBA_NUM_THREADS" in os.environ:
        return count
    return limit if count == numba.config.NUMBA_DEFAULT_NUM_THREADS else count


def threads(work: float) -> int:
    """How many threads a piece of work is worth, in multiply-adds."""
    if work < WORTH_A_LAUNCH or is_child():
        return 1
    if work < WORTH_A_LAUNCH_WORKQUEUE and _layer() == "workqueue":
        return 1
    return available()


def counted(work: float) -> int:
    """How many threads Numba has, where a piece of work is so large that a plan rests on it."""
    return 1 if work < WORTH_A_LAUNCH or is_child() else numba.get_num_threads()


def releases(work: float) -> bool:
    """Whether other threads of Python may run during so many multiply-adds."""
    return work >= WORTH_RELEASING


def packers(numbers: int) -> int:
    """How many threads are worth packing so many numbers of a matrix."""
    return threads(PACKING * numbers)


def split(layout: Layout, work: float, directions: int, backward: bool) -> tuple[int, int, int]:
    """How a layer is split: threads, ranges of samples, ranges of hidden units.

    Samples walk through time on their own, so splitting them needs one launch for a whole
    sequence. Where there are fewer samples than threads could use, hidden units are split instead,
    whose threads meet at every step. Where neither can be done there is nothing for a second
    thread to do, but for the products of the backward pass.
    """
    parts = threads(work)
    if parts > 1:
        ways = parts // directions if parts % directions == 0 else parts
        if (
            layout.batch < SAMPLES_A_THREAD * ways
            and ways > 1
            and work >= WORTH_SHARING_A_STEP * layout.longest
            and _layer() != "workqueue"
        ):
            return parts, 1, ways
        ways = min(ways, layout.batch)
        if ways * directions > 1 or (backward and work >= WORTH_A_LAUNCH_PRODUCTS):
            return parts, _blocks(layout.batch, ways), 1
    return 1, _blocks(layout.batch, 1), 1


def _blocks(batch: int, ways: int) -> int:
    """Number of ranges to cut a batch into: a multiple of `ways`, each range not too large."""
    return ways * max(1, -(-batch // (ways * SAMPLES_A_BLOCK)))


def run(
    kernel: Twins,
    p: Structure,
    arrays: tuple[np.ndarray, ...],
    parts: int,
    dtype: np.dtype,
    work: float,
    shape: Hashable,
) -> None:
    """Call a kernel in so many threads, or in one where launches aren't worth it.

    Parameters
    ----------
    work : float
        Multiply-adds.
    shape : hashable
        Work of one kernel and one shape takes the same time for each multiply-add.
    """
    release = releases(work)
    if parts == 1 or is_child():  # what was planned may have been the parent's plan
        kernel(p, arrays, dtype, False, release)
        return
    kind = (kernel, parts, shape)
    launched = worth.launch(kind)
    kernel.make(dtype, launched)  # what is compiled, or loaded, is no part of what a launch costs
    start = time.perf_counter()
    if launched:
        _launch(kernel, p, arrays, dtype)
    else:
        kernel(p, arrays, dtype, False, release)
    worth.ran(kind, launched, work, time.perf_counter() - start)


def _launch(kernel: Twins, p: Structure, arrays: tuple[np.ndarray, ...], dtype: np.dtype) -> None:
    """Call a kernel in the threads that are available."""
    if _layer() in ("omp", "tbb"):
        _with_threads(kernel, p, arrays, dtype)
        return
    # The workqueue layer ends the process when two threads enter it at once. A thread that finds
    # the pool taken does all the work itself, with the same result.
    entered = False
    try:
        entered = _entering.acquire(blocking=False)
        if entered:
            _with_threads(kernel, p, arrays, dtype)
        else:
            kernel(p, arrays, dtype, False, True)
    finally:
        if entered:
            _entering.release()


def _with_threads(
    kernel: Twins, p: Structure, arrays: tuple[np.ndarray, ...], dtype: np.dtype
) -> None:
    told, allowed = numba.get_num_threads(), available()
    if told == allowed:
        kernel(p, arrays, dtype, True, True)
        return
    numba.set_num_threads(allowed)  # of this thread of Python alone
    try:
        kernel(p, arrays, dtype, True, True)
    finally:
        numba.set_num_threads(told)
