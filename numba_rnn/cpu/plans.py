"""Plans: what a call needs besides its arrays, kept for the next call of the same shape.

A plan is a structure whose sizes, split and tables are filled in, with scratch memory where that
is small. A call takes it out, so that no other thread has it at the same time, points it to its
arrays, runs it and puts it back.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .native import Structure, Twins
from .parallel import run

PLANS, BYTES = 64, 1 << 16  # that are kept, and the largest scratch of each that is

_plans: OrderedDict[Hashable, Plan] = OrderedDict()


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
        self._structure, self._constants, self._sizes = structure, constants, sizes
        total = sum(size.count * size.dtype.itemsize for size in sizes.values())
        self._p = self._filled() if total <= BYTES else None
        self._again = [name for name, size in sizes.items() if size.each_time and size.count]

    def _filled(self) -> Structure:
        return self._structure(**self._constants, **scratch(self._sizes))

    def run(self, arrays: tuple[np.ndarray, ...]) -> None:
        """Run the kernel on the arrays of a call."""
        p = self._p
        if p is None:
            p = self._filled()
        else:
            for name in self._again:
                p.kept[name][:] = 0
        kernel, parts, dtype, work, shape = self._how
        run(kernel, p, arrays, parts, dtype, work, shape)


def with_plan(key: Hashable, make: Callable[[], Plan], arrays: tuple[np.ndarray, ...]) -> None:
    """Run the plan of a key, or one that is made for it."""
    plan = _plans.pop(key, None)
    if plan is None:
        plan = make()
    plan.run(arrays)
    _plans[key] = plan
    if len(_plans) > PLANS:
        with contextlib.suppress(KeyError):  # other threads took them all
            _plans.popitem(last=False)
