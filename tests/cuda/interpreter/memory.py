"""Memory that is watched: what may be touched, what was written, and who touches it unordered.

Every byte has a flag that says whether a launch may touch it and one that says whether it was ever
written. For races, each launch remembers of every few bytes (`grain`) who wrote them last and who
read them since; `order.py` says whether that came before what a thread does now. So a race is
found whether or not it happens in the order in which threads are run.

Two shortcuts make the watch stricter than the memory model: what atomics touch in a launch nothing
else may touch in it, and blocks that don't run together must share nothing that one of them writes.
"""

import numpy as np

from .fault import MISALIGNED, OUTSIDE, RACE, UNWRITTEN, Wrong

YES = 0xFF
NOBODY, MANY, ATOMICS = 0, -1, -2  # in place of a thread, which are counted from 1 here


class Memory:
    """Bytes from 0 on, at most `size` of them."""

    def __init__(self, size):
        self.top = size
        self._arrays = [np.zeros(-(-size // 8) * 8, np.uint8) for _ in range(3)]
        self.data, self.allowed, self.written = self._arrays
        self._views = {}

    def begin(self, grain, order):
        """Forget who touched what: a launch begins."""
        self._grain, self._order = grain, order
        count, slots = -(-self.top // grain), order.slots
        self._writer, self._written_in = np.zeros(count, np.int32), np.zeros(count, np.int32)
        self._reader, self._reader_block, self._read_in = (
            np.zeros((slots, count), np.int32) for _ in range(3)
        )

    def load(self, threads, at, count, dtype):
        """Numbers next to each other that threads read, from address `at` on: a list of arrays."""
        data, written, places = self._checked(threads, at, count, dtype)
        found = []
        for place in places:
            unwritten = written[place] != _all(dtype)
            if unwritten.any():
                self._raise(UNWRITTEN, threads, unwritten, place * dtype.itemsize)
            for grain in self._grains(place, dtype):
                self._read(threads, grain)
            found.append(data[place])
        return found

    def store(self, threads, at, values, dtype):
        """Write numbers next to each other."""
        data, written, places = self._checked(threads, at, len(values), dtype)
        for place, value in zip(places, values, strict=True):
            for grain in self._grains(place, dtype):
                self._write(threads, grain)
            data[place], written[place] = value, _all(dtype)

    def add(self, thread, at, value, dtype):
        """Add to a number in one go, for one thread; return what it was."""
        threads, at = np.array([thread]), np.array([at])
        data, written, (place,) = self._checked(threads, at, 1, dtype)
        if written[place] != _all(dtype):
            self._raise(UNWRITTEN, threads, [True], at)
        for grain in self._grains(place, dtype):
            touched = (self._writer[grain] > 0) | (self._reader[:, grain] != NOBODY).any()
            if touched.any():
                self._raise(RACE, threads, touched, at, ": an atomic, and what is none")
            self._writer[grain] = ATOMICS
        (old,) = data[place]
        data[place] = old + dtype.type(value)
        return old

    def _checked(self, threads, at, count, dtype):
        """Views of the memory as a dtype, and places in them for each of `count` numbers."""
        size = dtype.itemsize
        misaligned = at % (size * count) != 0
        if misaligned.any():
            self._raise(MISALIGNED, threads, misaligned, at)
        outside = (at < 0) | (at + size * count > self.top)
        if outside.any():
            self._raise(OUTSIDE, threads, outside, at)
        if size not in self._views:
            self._views[size] = [a.view(f"u{size}") for a in self._arrays]
        data, allowed, written = self._views[size]
        places = [at // size + k for k in range(count)]
        for place in places:
            outside = allowed[place] != _all(dtype)
            if outside.any():
                self._raise(OUTSIDE, threads, outside, place * size)
        return data, written, places

    def _grains(self, place, dtype):
        each = dtype.itemsize // self._grain
        return [place * each + k for k in range(each)]

    def _read(self, threads, grain):
        self._after_writes(threads, grain)
        order = self._order
        blocks, epochs, slots = order.blocks[threads], order.epochs_of(threads), order.slot(threads)
        reader, block = self._reader[slots, grain], self._reader_block[slots, grain]
        here = block == blocks + 1
        earlier = here & (self._read_in[slots, grain] < epochs)
        new = (reader == NOBODY) | earlier | (reader == threads + 1)
        now = np.where(new, threads + 1, MANY).astype(np.int32)
        inside = np.where(here | (block == NOBODY), blocks + 1, MANY).astype(np.int32)
        self._reader[slots, grain] = now
        self._reader_block[slots, grain] = inside
        self._read_in[slots, grain] = epochs
        # Where several threads come at once the last one is left standing: the others see that.
        for kept, mine in ((self._reader, now), (self._reader_block, inside)):
            several = kept[slots, grain] != mine
            if several.any():
                kept[slots if order.slots == 1 else slots[several], grain[several]] = MANY

    def _write(self, threads, grain):
        self._after_writes(threads, grain)
        order = self._order
        for slot in range(order.slots):
            reader, block = self._reader[slot, grain], self._reader_block[slot, grain]
            before = order.before(block - 1, self._read_in[slot, grain], threads)
            clash = (reader != NOBODY) & (reader != threads + 1) & ((block == MANY) | ~before)
            if clash.any():
                self._race(threads, grain, clash, reader, "read")
        self._writer[grain], self._written_in[grain] = threads + 1, order.epochs_of(threads)
        clash = self._writer[grain] != threads + 1  # several write at once
        if clash.any():
            self._race(threads, grain, clash, self._writer[grain], "written")

    def _after_writes(self, threads, grain):
        writer = self._writer[grain]
        others = (writer != NOBODY) & (writer != threads + 1)
        if not others.any():
            return
        order, known = self._order, np.maximum(writer - 1, 0)
        before = order.before(order.blocks[known], self._written_in[grain], threads)
        clash = others & ((writer == ATOMICS) | ~before)
        if clash.any():
            self._race(threads, grain, clash, writer, "written")

    def _race(self, threads, grain, clash, others, what):
        (other,) = np.asarray(others)[clash][:1]
        name = {MANY: "several threads", ATOMICS: "atomics"}.get(int(other))
        name = name or self._order.name(int(other) - 1)
        self._raise(RACE, threads, clash, grain * self._grain, f": {what} by {name}, unordered")

    def _raise(self, kind, threads, where, at, text=""):
        k = int(np.flatnonzero(where)[0])
        raise Wrong(kind, threads[k], f"byte {int(np.asarray(at)[k])}{text}")


def _all(dtype):
    return (1 << 8 * dtype.itemsize) - 1
