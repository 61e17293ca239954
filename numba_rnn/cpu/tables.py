"""What kernels are told of a batch: how it is cut into ranges, and which step follows which.

Lengths may be new in every call, and so are their tables. Loops that are compiled make them in a
few microseconds. A plan is for all batches that are cut alike, and is pointed to the tables of the
one that comes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from ..layout import LARGEST_KEPT, Layout
from .cache import jitted
from .few import FEW
from .native import OPTIONS
from .parallel import releases
from .plans import Plan
from .recurrence import Backward, table
from .structures import PLAIN, Structure

NOTHING = np.zeros(0, np.int64)
MOST_KEPT = 1 << 14  # bytes of the tables that a plan keeps for the next call
CUTS = 16  # that a layout keeps: one for each kernel, size of a layer and number of threads


def _loop(function: Callable) -> Callable:
    return function if PLAIN else jitted(function, f"tables.{function.__name__}", **OPTIONS)


@_loop
def longest_first(step_row, batch_row, lengths, index):
    """Fill the index of a layout, as `layout.longest_first` does: here by counting."""
    L, N = len(step_row), len(lengths)
    order = L + 2 * N  # where it starts
    if N > 0:
        # The place in `order` of the next sample of each length lies where steps will.
        for k in range(L + 1):
            index[k] = 0
        for n in range(N):
            index[lengths[n]] += 1
        longer = 0
        for k in range(L, -1, -1):
            count, index[k] = index[k], longer
            longer += count
        for n in range(N):
            k = lengths[n]
            index[order + index[k]] = n
            index[k] += 1
    for i in range(N):
        n = index[order + i]
        index[L + i] = batch_row[n]
        index[L + N + i] = lengths[n]
    for t in range(L):
        index[t] = step_row[t]


@_loop
def cut_samples(index, L, N, real_steps, bounds):
    """Cut samples into ranges with nearly equal numbers of real steps; return the largest range.

    The sample in which a share ends goes to the side where more of it lies.
    """
    lengths, count = L + N, len(bounds) - 1
    bounds[0] = 0
    i = before = largest = 0
    for part in range(1, count + 1):
        share = 2 * real_steps * part  # times count, and so is the other side
        while i < N and (part == count or (2 * before + index[lengths + i]) * count < share):
            before += index[lengths + i]
            i += 1
        bounds[part] = i
        largest = max(largest, i - bounds[part - 1])
    return largest


@_loop
def follow(index, L, N, real_steps, starts, rows):
    """Say which step follows which.

    Fill the rows of all real steps, in time order; behind them those of steps t - 1 where t and
    t - 1 are real; and those of first and of last steps, of the `starts` samples that have a step.
    """
    earlier, first, last = real_steps, 2 * real_steps - starts, 2 * real_steps
    for i in range(starts):
        rows[first + i] = index[0] + index[L + i]
        rows[last + i] = index[index[L + N + i] - 1] + index[L + i]
    k, n, t = 0, starts, 0
    while n > 0:
        for i in range(n):
            rows[k + i] = index[t] + index[L + i]
        if t > 0:
            for i in range(n):
                rows[earlier + k - starts + i] = index[t - 1] + index[L + i]
        k, t = k + n, t + 1
        while n > 0 and index[L + N + n - 1] == t:
            n -= 1


def prepare() -> None:
    """Compile all loops, or load them from the cache."""
    one_step = Layout(1, *np.zeros((2, 1), np.int64), np.ones(1, np.int64))
    Cut(Backward, one_step, 1, (1, 2, 1))


# --- what a structure is told ---------------------------------------------------------------------

# Fields of `recurrence.Forward` and of `recurrence.Backward` that depend on the batch.
OF_FORWARD = ("L", "bounds", "step_row", "batch_row", "lengths", "order")
OF_BACKWARD = (
    "L", "steps", "successions", "starts", "bounds", "step_row", "batch_row", "lengths", "order",
    "rows", "earlier", "later", "first", "first_in_reverse", "sample",
)  # fmt: skip


class Memory:
    """Tables one after the other, and where they lie."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.address = array, array.__array_interface__["data"][0]


Part = tuple[Memory, int, int]  # one of them: where it starts and stops


class Cut:
    """A batch as a kernel is told of it: split in a way, with the tables for that.

    Parameters
    ----------
    structure : type
        `recurrence.Forward` or `recurrence.Backward`.
    layout : Layout
    work : float
        Multiply-adds.
    split : tuple of int
        Threads, ranges of samples and ranges of hidden units, see `parallel.split`.

    Attributes
    ----------
    table : int
        Entries that a task's table of rows has.
    few : bool
        Whether each range is one for few.py.
    samples : int
    key : tuple of int
        Batches that have this in common can have a plan in common.
    bytes : int
        Of the tables.
    """

    def __init__(
        self,
        structure: type[Structure],
        layout: Layout,
        work: float,
        split: tuple[int, int, int],
    ) -> None:
        self.work, self.split, self.samples = work, split, layout.batch
        L, N, steps = layout.steps, layout.batch, layout.real_steps
        index = _kept(layout, "index", lambda: layout.index_by(longest_first))
        bounds = Memory(np.array([0, N] if split[1] == 1 else [0] * (split[1] + 1), np.int64))
        largest = N if split[1] == 1 else cut_samples(index.array, L, N, steps, bounds.array)
        self.table = table(largest)
        self.few = (
            split[2] == 1 and largest <= FEW and 0 < layout.longest and steps == N * layout.longest
        )
        self.key = (N, self.table, self.few, *split)
        self.bytes = index.array.nbytes
        to_batch, to_lengths, to_order = L, L + N, L + 2 * N
        self._names, self._numbers = OF_FORWARD, [layout.longest]
        self._parts: list[Part] = [
            (bounds, 0, split[1] + 1), (index, 0, L), (index, to_batch, to_lengths),
            (index, to_lengths, to_order), (index, to_order, L + 3 * N),
        ]  # fmt: skip
        if structure is Backward:
            starts = N - len(layout.empty)
            to_first, to_last, end = 2 * steps - starts, 2 * steps, 2 * steps + starts

            def successions() -> np.ndarray:
                memory = np.empty(end, np.int64)
                follow(index.array, L, N, steps, starts, memory)
                return memory

            rows = _kept(layout, "successions", successions)
            self.bytes += rows.array.nbytes
            self._names = OF_BACKWARD
            self._numbers += [steps, steps - starts, starts]
            self._parts += [
                (rows, 0, steps), (rows, steps, to_first), (rows, starts, steps),
                (rows, to_first, to_last), (rows, to_last, end),
                (index, to_order, to_order + starts),
            ]  # fmt: skip
        addresses = [memory.address + 8 * start for memory, start, _ in self._parts]
        self._values = np.array(self._numbers + addresses, np.int64)

    @property
    def fields(self) -> dict[str, Any]:
        """Those of the structure that depend on the batch."""
        arrays = [memory.array[start:stop] for memory, start, stop in self._parts]
        return dict(zip(self._names, self._numbers + arrays, strict=True))

    @property
    def nothing(self) -> dict[str, Any]:
        """The same, without tables."""
        numbers = self._numbers + [NOTHING] * len(self._parts)
        return dict(zip(self._names, numbers, strict=True))

    def tell(self, p: Structure) -> None:
        """Write them into a structure, which may hold those of another cut."""
        if PLAIN:
            for name, value in self.fields.items():
                setattr(p, name, value)
        else:
            p._fields[_places(type(p), self._names)] = self._values


def _kept(layout: Layout, name: str, make: Callable[[], np.ndarray]) -> Memory:
    """Find tables that all cuts of a batch share, or make them."""
    found = layout.kept.get(name)
    if found is None:
        found = Memory(make())
        if layout.rows <= LARGEST_KEPT:
            layout.kept[name] = found
    return found


@cache
def _places(structure: type[Structure], names: tuple[str, ...]) -> np.ndarray:
    return np.array([structure.order[name] for name in names])


class LayerPlan(Plan):
    """A plan for all batches that are cut alike: a call gives it the cut of its own, as well."""

    def __init__(
        self,
        kernel: Any,
        structure: type[Structure],
        cut: Cut,
        constants: dict[str, Any],
        *arguments: Any,
    ) -> None:
        super().__init__(kernel, structure, constants | cut.nothing, *arguments)
        self.bytes += MOST_KEPT
        self._cut: Cut | None = None

    def run(self, arrays: tuple[np.ndarray, ...], cut: Cut) -> None:
        """Run the kernel on the arrays of a call, and the batch that it is about."""
        if cut is not self._cut:
            cut.tell(self._p)
            self._cut = cut
            kernel, parts, dtype, _, shape = self._how
            self._how = kernel, parts, dtype, cut.work, shape
            self._release = releases(cut.work)
        super().run(arrays)
        if cut.bytes > MOST_KEPT:
            self._cut = None
