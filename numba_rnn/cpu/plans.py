"""Plans: what a call needs besides its arrays, kept for the next one like it.

A plan is a structure whose sizes and split are filled in, with scratch memory where that is small.
What changes from batch to batch (see tables.py) it is told with each call. A call takes it out, so
that no other thread has it at the same time, points it to its arrays, runs it and puts it back.
Taking and putting back are single operations of a list, which need no lock; a lock is taken where a
plan is new.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .native import Twins
from .parallel import releases, run
from .structures import Structure, as_kernels_want

# Keys whose plans are kept, what these hold in bytes together, the most that one may hold, and how
# many of one key are kept for threads that compute at once.
PLANS, BYTES, LARGEST, ALIKE = 64, 4 << 20, 1 << 20, 8

_plans: dict[Hashable, _Kept] = {}
_bytes = 0
_counting = threading.RLock()  # a signal handler may compute too


def _after_fork() -> None:
    global _counting
    _counting = threading.RLock()  # another thread of the parent may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@dataclass(frozen=True)
class Size:
    """Of a piece of scratch memory."""

    count: int
    dtype: Any
    zeros: bool = False  # whether it starts as zeros
    each_time: bool = False  # and has to be zeros again for the next call


def scratch(sizes: dict[str, Size]) -> dict[str, np.ndarray]:
    """Allocate scratch memory by name; each piece begins on a cache line of its own."""
    ends = np.cumsum([-(-size.count * size.dtype.itemsize // 64) * 64 for size in sizes.values()])
    memory = np.empty(int(ends[-1]) + 64, np.uint8)
    begin, found = -memory.__array_interface__["data"][0] % 64, {}
    for (name, size), end in zip(sizes.items(), ends.tolist(), strict=True):
        found[name] = memory[begin : begin + size.count * size.dtype.itemsize].view(size.dtype)
        if size.zeros:
            found[name][:] = 0
        begin = end + begin % 64
    return found


class Plan:
    """A kernel and its structure.

    Parameters
    ----------
    kernel : Twins
    structure : type
    constants : dict
        Fields that are the same for each call.
    sizes : dict of str to Size
        Fields that are scratch.
    parts : int
        Threads.
    work : float
        Multiply-adds.
    shape : hashable
        Work of one kernel and one shape takes the same time for each multiply-add.
    keeps : bool
        Whether scratch is kept however large it is.
    """

    def __init__(
        self,
        kernel: Twins,
        structure: type[Structure],
        constants: dict[str, Any],
        sizes: dict[str, Size],
        dtype: np.dtype,
        parts: int,
        work: float,
        shape: Hashable,
        keeps: bool = False,
    ) -> None:
        self._how = kernel, parts, dtype, work, shape
        self._release = releases(work)
        self._sizes = {name: size for name, size in sizes.items() if size.count}
        self.bytes = sum(size.count * size.dtype.itemsize for size in sizes.values())
        self._again = [name for name, size in self._sizes.items() if size.each_time]
        self._keeps = keeps or self.bytes <= LARGEST
        if not self._keeps:
            self.bytes = 0
        self.bytes += sum(v.nbytes for v in constants.values() if isinstance(v, np.ndarray))
        nothing = dict.fromkeys(sizes, np.zeros(1, np.int64))
        self._p = structure(**constants, **nothing)
        self._scratch: dict[str, np.ndarray] = {}
        # What a call of a plan for one thread that keeps its scratch comes down to.
        self._alone = None
        if parts == 1 and self._keeps:
            self._allocate()
            self._alone = kernel.alone(self._p, dtype)

    def _allocate(self) -> None:
        self._scratch = scratch(self._sizes)
        self._p.point(self._scratch)

    def run(self, arrays: tuple[np.ndarray, ...]) -> None:
        """Run the kernel on the arrays of a call."""
        if self._alone is not None:
            try:
                self._alone(self._release, *arrays)
            except TypeError:  # before anything has run: some are not as they should be
                self._alone(self._release, *map(as_kernels_want, arrays))
            return
        if not self._scratch:
            self._allocate()
        else:
            for name in self._again:
                self._scratch[name][:] = 0
        kernel, parts, dtype, work, shape = self._how
        run(kernel, self._p, arrays, parts, dtype, work, shape)
        if not self._keeps:
            self._scratch = {}

    def put(self, **fields: int) -> None:
        """Change integers of the structure, for all runs from now on."""
        self._p.put(**fields)


class _Kept:
    """The plans of one key: as many as were at work at once, without those that are at work."""

    __slots__ = ("bytes", "count", "spare", "used")

    def __init__(self) -> None:
        self.spare: list[Plan] = []
        self.bytes, self.count, self.used = 0, 0, False


def with_plan(
    arrays: tuple[np.ndarray, ...], batch: tuple[Any, ...], make: Callable[..., Plan],
    *key: Hashable,
) -> None:  # fmt: skip
    """Run a plan on arrays: one that was kept, or ``make(*key, *batch)``.

    `batch` is what plans of one key are told anew in each run.
    """
    kept, plan = _plans.get((make, key)), None
    if kept is not None and kept.spare:
        try:
            plan = kept.spare.pop()
        except IndexError:  # another thread was quicker
            pass
    if plan is None:
        plan = make(*key, *batch)
        plan.run(arrays, *batch)
        _keep((make, key), plan)
        return
    kept.used = True
    try:
        plan.run(arrays, *batch)
    finally:
        kept.spare.append(plan)


def _keep(key: Hashable, plan: Plan) -> None:
    """Keep a new plan; others go, the oldest first of those not used since this was last asked."""
    global _bytes
    if plan.bytes > LARGEST:
        return
    with _counting:
        kept = _plans.setdefault(key, _Kept())
        if kept.count == ALIKE:
            return
        kept.count += 1
        kept.bytes += plan.bytes
        _bytes += plan.bytes
        kept.spare.append(plan)
        while _plans and (len(_plans) > PLANS or _bytes > BYTES):
            oldest = next(iter(_plans))
            kept = _plans.pop(oldest)
            if kept.used:
                kept.used = False
                _plans[oldest] = kept
            else:
                _bytes -= kept.bytes
