"""Plans: what a call needs besides its arrays, kept for the next call of the same shape.

A plan is a structure whose sizes, split and tables are filled in, with scratch memory where that
is small. A call takes it out, so that no other thread has it at the same time, points it to its
arrays, runs it and puts it back.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .native import Structure, Twins
from .parallel import run

# Plans that are kept, what they hold in bytes together, and the most that one may hold.
PLANS, BYTES, LARGEST = 64, 4 << 20, 1 << 20

_plans: OrderedDict[Hashable, Plan] = OrderedDict()
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
    ) -> None:
        self._how = kernel, parts, dtype, work, shape
        self._sizes = {name: size for name, size in sizes.items() if size.count}
        self.bytes = sum(size.count * size.dtype.itemsize for size in sizes.values())
        self._again = [name for name, size in self._sizes.items() if size.each_time]
        self._keeps = self.bytes <= LARGEST
        if not self._keeps:
            self.bytes = 0
        self.bytes += sum(v.nbytes for v in constants.values() if isinstance(v, np.ndarray))
        nothing = dict.fromkeys(sizes, np.zeros(1, np.int64))
        self._p = structure(**constants, **nothing)
        self._scratch = scratch(self._sizes)
        self._p.point(self._scratch)
        self._is_new = True

    def run(self, arrays: tuple[np.ndarray, ...]) -> None:
        """Run the kernel on the arrays of a call."""
        if not self._is_new:
            if not self._scratch:
                self._scratch = scratch(self._sizes)
                self._p.point(self._scratch)
            elif self._again:
                for name in self._again:
                    self._scratch[name][:] = 0
        self._is_new = False
        kernel, parts, dtype, work, shape = self._how
        run(kernel, self._p, arrays, parts, dtype, work, shape)
        if not self._keeps:
            self._scratch = {}


def with_plan(key: Hashable, make: Callable[[], Plan], arrays: tuple[np.ndarray, ...]) -> None:
    """Run the plan of a key, or one that is made for it."""
    global _bytes
    with _counting:
        plan = _plans.pop(key, None)
        if plan is not None:
            _bytes -= plan.bytes
    if plan is None:
        plan = make()
    plan.run(arrays)
    with _counting:
        if key in _plans or plan.bytes > LARGEST:  # another thread put its own there; too large
            return
        _plans[key] = plan
        _bytes += plan.bytes
        while _plans and (len(_plans) > PLANS or _bytes > BYTES):
            _bytes -= _plans.popitem(last=False)[1].bytes
