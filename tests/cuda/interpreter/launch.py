"""A launch: all its threads, of all blocks, run instruction by instruction as arrays.

Threads are independent. Those that are at the same instruction go on together, most often those
that are furthest behind, so that branches meet again; now and then, by chance, those of one warp
alone. A thread waits at a barrier until all of its block are at the same one, and at a shuffle
until all lanes that it names are there.
"""

import random

import numpy as np

from . import decode
from .decode import ADD, BARRIER, BRANCH, COMPUTE, FENCE, LOAD, RETURN, SHUFFLE, STRAIGHT, unsigned
from .fault import BARRIER as AT_BARRIER
from .fault import DIVISION, ENDLESS, OUTSIDE, REGISTER, Fault, Wrong
from .fault import SHUFFLE as AT_SHUFFLE
from .memory import YES, Memory
from .order import Order

WARP = 32
RUNS, WAITS, EXCHANGES, GONE = range(4)  # what a thread does
ALONE = 1 / 8  # how often a warp goes on alone
JUNK = 0xDEADBEEF_DEADBEEF  # in registers that nobody has set


class Launch:
    """A launch of a kernel.

    Parameters
    ----------
    kernel : decode.Kernel
    grid : tuple of int, shape (3,)
    threads : int
        Of a block.
    parameters : sequence of ndarray, shape (1,)
    memory : Memory
        Global memory, with what the launch may touch marked as allowed.
    base : int
        Its address.
    shared : int
        Bytes of dynamic shared memory.
    together : bool
        Whether the blocks run together, and may wait for each other.
    seed : int
        Of the order in which threads run.
    limit : int
        Branches and waits, each of all threads that come together, after which it is endless.
    """

    def __init__(
        self, kernel, grid, threads, parameters, memory, base, *, shared=0, together=False, seed=0,
        limit=100_000,
    ):  # fmt: skip
        assert threads <= kernel.max_threads, f"{kernel.name}: {threads} threads a block"
        self.kernel, self.grid, self.threads, self.limit = kernel, grid, threads, limit
        self.memory, self.base, self._chance = memory, base, random.Random(seed)
        blocks, lanes = int(np.prod(grid)), -(-threads // WARP) * WARP
        self.order = Order(blocks, lanes, together)
        self.total = blocks * lanes
        thread = np.arange(self.total) % lanes
        self.at = np.zeros(self.total, np.int64)
        self.state = np.where(thread < threads, RUNS, GONE).astype(np.int8)
        self.exists = thread < threads
        self._set_registers(thread, parameters, shared)
        self._share(blocks, shared)
        self.executed, self.done = np.zeros(len(kernel.code), np.int64), 0
        memory.begin(kernel.grain, self.order)

    def _set_registers(self, thread, parameters, shared):
        block, (x, y, z) = self.order.blocks, self.grid
        special = {
            "%tid.x": thread, "%tid.y": 0, "%tid.z": 0,
            "%ntid.x": self.threads, "%ntid.y": 1, "%ntid.z": 1,
            "%ctaid.x": block % x, "%ctaid.y": block // x % y, "%ctaid.z": block // (x * y),
            "%nctaid.x": x, "%nctaid.y": y, "%nctaid.z": z, "%dynamic_smem_size": shared,
        }  # fmt: skip
        self.registers = {
            name: np.broadcast_to(np.asarray(value, np.uint32), self.total)
            for name, value in special.items()
        }
        for (name, dtype), value in zip(self.kernel.parameters.items(), parameters, strict=True):
            self.registers[name] = np.broadcast_to(value.view(unsigned(dtype)), self.total)

    def _share(self, blocks, dynamic):
        """Shared memory of all blocks, with a gap before each variable and behind the last."""
        variables = [(at, dynamic if n is None else n) for at, n in self.kernel.variables]
        end = max((at + size for at, size in variables), default=0)
        self.stride = (end // decode.GAP + 2) * decode.GAP
        self.shared = Memory(blocks * self.stride)
        allowed = self.shared.allowed.reshape(blocks, self.stride)
        for at, size in variables:
            allowed[:, at : at + size] = YES
        self.shared.begin(self.kernel.grain, self.order)

    def run(self):
        """Run all threads to their ends; Fault where one does something wrong."""
        place = 0
        try:
            with np.errstate(all="ignore"):
                while (threads := self._chosen()) is not None:
                    place = self.at[threads[0]]
                    end = self.kernel.ends[place]
                    while place < end:
                        self._straight(self.kernel.code[place], threads)
                        self.executed[place] += 1
                        place += 1
                    if self.kernel.code[place].what in STRAIGHT:  # others jump there
                        self.at[threads] = place
                    else:
                        self._control(place, threads)
        except Wrong as wrong:
            self._fault(wrong, place)

    def _fault(self, wrong, place):
        block, thread = divmod(wrong.thread, self.order.lanes)
        x, y, _ = self.grid
        raise Fault(
            wrong.kind,
            f"{self.kernel.name}, grid {self.grid} of {self.threads} threads, thread {thread} of "
            f"block {block} {(block % x, block // x % y, block // (x * y))}, instruction {place} "
            f"`{self.kernel.code[place].text}`: {wrong}",
        ) from None

    def _chosen(self):
        """Threads at the same instruction that run next; None where all are done."""
        ready = np.flatnonzero(self.state == RUNS)
        if not ready.size:
            for state, kind in ((EXCHANGES, AT_SHUFFLE), (WAITS, AT_BARRIER)):
                waiting = np.flatnonzero(self.state == state)
                if waiting.size:
                    place = int(self.at[waiting[0]])
                    text = f"waits at `{self.kernel.code[place].text}` for threads that don't come"
                    raise Wrong(kind, waiting[0], text)
            return None
        if self._chance.random() < ALONE:
            warp = ready[self._chance.randrange(ready.size)] // WARP
            ready = ready[ready // WARP == warp]
        places = self.at[ready]
        return ready[places == places.min()]

    def _read(self, source, threads):
        value, dtype = source
        if type(value) is not str:
            return value
        try:
            return self.registers[value][threads].view(dtype)
        except KeyError:
            raise Wrong(REGISTER, threads[0], f"nobody has set {value}") from None

    def _write(self, target, threads, value):
        name, dtype = target
        bits = unsigned(dtype)
        register = self.registers.get(name)
        if register is None:
            register = self.registers[name] = np.full(self.total, JUNK, np.uint64).astype(bits)
        register[threads] = value.astype(dtype, copy=False).view(bits)

    def _straight(self, instruction, threads):
        if instruction.what == COMPUTE:
            values = [self._read(source, threads) for source in instruction.sources]
            try:
                value = instruction.compute(*values)
            except ZeroDivisionError:
                raise Wrong(DIVISION, threads[0], "an integer is divided by 0") from None
            self._write(instruction.targets[0], threads, value)
            return
        memory, at = self._located(instruction, threads)
        if instruction.what == LOAD:
            found = memory.load(threads, at, len(instruction.targets), instruction.dtype)
            for target, value in zip(instruction.targets, found, strict=True):
                self._write(target, threads, value.view(instruction.dtype))
        else:
            values = [self._read(source, threads) for source in instruction.sources[1:]]
            bits = unsigned(instruction.dtype)
            memory.store(threads, at, [value.astype(bits) for value in values], bits)

    def _located(self, instruction, threads):
        """The memory that threads access, and where."""
        at = self._read(instruction.sources[0], threads) + instruction.offset
        at = np.broadcast_to(at, threads.shape)
        if instruction.space != "shared":
            return self.memory, at - self.base
        outside = (at < 0) | (at >= self.stride - decode.GAP)
        if outside.any():
            k = np.flatnonzero(outside)[0]
            raise Wrong(OUTSIDE, threads[k], f"byte {at[k]} of shared memory")
        return self.shared, at + self.order.blocks[threads] * self.stride

    def _control(self, place, threads):
        """Run an instruction after which not all threads need go straight on."""
        instruction = self.kernel.code[place]
        self.done += 1
        if self.done > self.limit:
            raise Wrong(ENDLESS, threads[0], f"more than {self.limit} branches and waits")
        self.executed[place] += 1
        what = instruction.what
        if what == BRANCH:
            self.at[threads] = instruction.offset
            if instruction.guard:
                guard = self.registers[instruction.guard][threads]
                self.at[threads[guard != instruction.wanted]] = place + 1
        elif what == RETURN:
            self.state[threads] = GONE
        elif what == BARRIER:
            self._barrier(place, threads)
        elif what == SHUFFLE:
            self._shuffle(place, threads)
        else:
            if what == FENCE:
                self.order.fence(threads)
            elif what == ADD:
                self._add(instruction, threads)
            self.at[threads] = place + 1

    def _add(self, instruction, threads):
        """Atomics come one after the other, in any order."""
        memory, at = self._located(instruction, threads)
        value = np.broadcast_to(self._read(instruction.sources[1], threads), threads.shape)
        found = np.zeros(threads.size, instruction.dtype)
        for k in self._chance.sample(range(threads.size), threads.size):
            found[k] = memory.add(threads[k], at[k], value[k], instruction.dtype)
            self.order.atomic(threads[k], int(at[k]))
        self._write(instruction.targets[0], threads, found)

    def _barrier(self, place, threads):
        self.state[threads], self.at[threads] = WAITS, place
        lanes = self.order.lanes
        blocks = np.unique(threads // lanes)
        exists = self.exists.reshape(-1, lanes)[blocks]
        state, at = self.state.reshape(-1, lanes)[blocks], self.at.reshape(-1, lanes)[blocks]
        gone = exists & (state == GONE)
        if gone.any():
            raise Wrong(AT_BARRIER, threads[0], "some threads of the block have ended already")
        whole = ((state == WAITS) | ~exists).all(1)
        if (whole[:, None] & exists & (at != place)).any():
            raise Wrong(AT_BARRIER, threads[0], "others of the block are at another barrier")
        blocks = blocks[whole]
        free = (blocks[:, None] * lanes + np.arange(lanes))[exists[whole]]
        self.state[free], self.at[free] = RUNS, place + 1
        self.order.barrier(blocks)

    def _shuffle(self, place, threads):
        """Lanes give each other numbers: `d|p = a, b, c, mask`, as PTX names the operands."""
        instruction = self.kernel.code[place]
        self.state[threads], self.at[threads] = EXCHANGES, place
        (mask_of, _) = instruction.sources[3]
        lanes = np.unique(threads // WARP)[:, None] * WARP + np.arange(WARP)
        here = (self.state[lanes] == EXCHANGES) & (self.at[lanes] == place)
        if type(mask_of) is str:
            masks = self.registers[mask_of][lanes]
        else:
            masks = np.broadcast_to(mask_of, lanes.shape)
        mask = np.where(here, masks, 0).max(1, keepdims=True)
        named = (mask >> np.arange(WARP)) & 1 == 1
        wrong = here & (~named | (masks != mask))
        if wrong.any():
            raise Wrong(AT_SHUFFLE, lanes[wrong][0], "the mask lacks it, or lanes have others")
        absent = named & (self.state[lanes] == GONE)
        if absent.any():
            raise Wrong(AT_SHUFFLE, threads[0], f"lane {lanes[absent][0] % WARP} isn't there")
        free = lanes[(here | ~named).all(1)]
        free = free[self.state[free] == EXCHANGES]
        if not free.size:
            return
        a, b, c = (self._read(source, free) for source in instruction.sources[:3])
        a = np.broadcast_to(a, free.shape)
        lane = free % WARP
        other = lane ^ b.astype(np.int64)
        segment, clamp = (c >> 8 & 31).astype(np.int64), (c & 31).astype(np.int64)
        inside = other <= (lane & segment | clamp & ~segment)
        other = free - lane + np.where(inside, other, lane)
        missing = ~np.isin(other, free)
        if missing.any():
            raise Wrong(AT_SHUFFLE, free[missing][0], "it asks a lane that the mask lacks")
        self._write(instruction.targets[0], free, a[np.searchsorted(free, other)])
        self._write(instruction.targets[1], free, inside)
        self.state[free], self.at[free] = RUNS, place + 1
