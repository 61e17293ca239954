"""All layers on memory that ends, or begins, at a page that can't be touched.

A program: it prints the name of each case before it runs it, and the system ends it where a kernel
reads or writes outside an array. The memory is exchanged at the one door to the kernels: each array
that one is given, whether the caller's, a table or scratch, is moved to pages of its own between
two guards, and back when the kernel is done.
"""

import copy
import ctypes
import faulthandler
import itertools
import mmap
import pkgutil
import random
import resource
import sys
from collections import defaultdict
from contextlib import ExitStack
from importlib import import_module
from typing import NamedTuple
from unittest.mock import patch

import numpy as np

import numba_rnn as nr
from numba_rnn import cpu
from numba_rnn.cpu import parallel, plans, recurrence
from numba_rnn.cpu.native import Twins
from numba_rnn.cpu.tables import Cut
from numba_rnn.cpu.vectors import VECTOR_BYTES

# --- memory ---------------------------------------------------------------------------------------

GUARD = 1 << 20  # bytes on either side: as far as an access may be off
ENDS, BEGINS = PLACEMENTS = ("ends at a guard", "begins at a guard")
UNWRITTEN = 0xFF  # bytes that make NaN, and -1 in tables


class Room:
    """Pages between two guards."""

    def __init__(self, size):
        private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        everything = np.frombuffer(mmap.mmap(-1, size + 2 * GUARD, flags=private), np.uint8)
        start = everything.__array_interface__["data"][0]
        protect = ctypes.CDLL(None, use_errno=True).mprotect
        protect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
        for guard in (start, start + GUARD + size):
            if protect(guard, GUARD, 0) != 0:  # 0 is PROT_NONE
                raise OSError(ctypes.get_errno(), "mprotect")
        self.bytes, self.start, self.end = everything[GUARD:-GUARD], start + GUARD, guard


FREE = defaultdict(list)  # rooms by size: a process may have only so many mappings
MET = set()  # kernels, and whether in threads


class Guarded(ExitStack):
    """A context in which kernels work between guards."""

    def __init__(self, placement):
        super().__init__()
        self.placement, self.used, self.addresses = placement, [], set()
        self.enter_context(patch.object(Twins, "__call__", lambda *given: self.call(*given)))
        self.enter_context(
            patch.object(
                Twins,
                "alone",
                lambda kernel, p, dtype: (
                    lambda release, *arrays: self.call(kernel, p, arrays, dtype, False, release)
                ),
            )
        )
        self.enter_context(patch.object(plans, "scratch", self.scratch))
        self.enter_context(patch.object(Cut, "tell", tell))
        self.enter_context(patch.object(plans, "_plans", {}))
        self.enter_context(patch.object(plans, "_bytes", 0))
        self.enter_context(patch.object(cpu, "empty", unwritten))
        self.callback(self.free_rooms)

    def room(self, size):
        """Return bytes in a room of their own, and their address."""
        pages = -(-max(size, 1) // mmap.PAGESIZE)
        whole = mmap.PAGESIZE << (pages - 1).bit_length()
        room = FREE[whole].pop() if FREE[whole] else Room(whole)
        self.used.append((whole, room))
        if self.placement == BEGINS and size > 0:  # of nothing not even the first may be touched
            return room.bytes[:size], room.start
        return room.bytes[whole - size :], room.end - size

    def scratch(self, sizes):
        """In place of `plans.scratch`: memory of exactly these sizes, each apart."""
        found = {}
        for name, size in sizes.items():
            memory, address = self.room(size.count * size.dtype.itemsize)
            memory.fill(0 if size.zeros else UNWRITTEN)
            found[name] = memory.view(size.dtype)
            self.addresses.add(address)
        return found

    def moved_in(self, array):
        """Return a copy of an array in a room of its own."""
        assert array.flags.c_contiguous
        memory, _ = self.room(array.nbytes)
        memory[:] = array.reshape(-1).view(np.uint8)
        return memory.view(array.dtype).reshape(array.shape)

    def call(self, kernel, p, arrays, dtype, parallel, release):
        """In place of a kernel: the same with all arrays in rooms."""
        MET.add((kernel.__name__, parallel))
        before, moved = p._fields.copy(), []
        for name, kind in p.kinds.items():
            place = p.order[name]
            if kind == "Int" or name in p.arrays or p._fields[place] in self.addresses:
                continue
            inside = self.moved_in(p._kept[name])
            p._fields[place] = inside.__array_interface__["data"][0]
            moved.append((p._kept[name], inside))
        own = [self.moved_in(array) for array in arrays]
        moved += zip(arrays, own, strict=True)
        CALL(kernel, p, tuple(own), dtype, parallel, release)
        p._fields[:] = before
        for outside, inside in moved:
            if outside.flags.writeable:
                outside[...] = inside
            else:
                assert np.array_equal(outside, inside)

    def free_rooms(self):
        for size, room in self.used:
            FREE[size].append(room)


CALL, TELL = Twins.__call__, Cut.tell


def tell(cut, p):
    """In place of `Cut.tell`: the same, and the tables lie beside the structure's other arrays."""
    TELL(cut, p)
    p._kept |= cut.fields


def unwritten(shape, dtype):
    """In place of `cpu.empty`: what reads it before it is written gives something else."""
    array = np.empty(shape, dtype)
    array.reshape(-1).view(np.uint8).fill(UNWRITTEN)
    return array


# --- cases ----------------------------------------------------------------------------------------

SIZES = (1, 2, 3, 5, 7, 17, 31, 33, 65, 100)  # of N, I and H
STEPS = (0, 1, 2, 3, 4)
LARGER = [  # L, N, I, H, beyond the blocks that products are cut into
    (2, 0, 3, 5),  # and a batch without a sample
    (3, 1, 3, 300),
    (2, 2, 40, 257),
    (2, 7, 300, 64),
    (1, 5, 517, 9),
    (2, 300, 5, 33),
    (1, 3, 130, 513),
    (2, 129, 1, 1),
]
# Threads, ranges of samples, ranges of hidden units.
SPLITS = [(1, 1, 1), (2, 2, 1), (5, 7, 1), (2, 1, 2), (4, 2, 3), (5, 1, 16)]
BATCHES = ("padded", "lengths", "lengths of 0", "packed", "unbatched")
DTYPES = ("float32", "float64")


class Case(NamedTuple):
    """One layer, one call of it and its backward."""

    kind: str  # one of BATCHES, "cell" or "linear"
    dtype: str
    L: int
    N: int
    I: int
    H: int
    split: tuple
    launched: bool  # in threads, or one part after the other in one
    bias: bool
    nonlinearity: str
    h_0: bool
    seed: int
    layers: int = 1
    bidirectional: bool = False
    batch_first: bool = False
    dropout: float = 0.0
    given: str = "both"  # gradients
    states: bool = False


def _cases():
    draw = random.Random(0)
    flag = (False, True)

    def case(kind, dtype, L, N, I, H):
        split = draw.choice(SPLITS)
        common = Case(
            kind, dtype, L, N, I, H, split, launched=split[0] > 1 and draw.random() < 0.03,
            bias=draw.random() < 0.7, nonlinearity=draw.choice(("tanh", "relu")),
            h_0=draw.random() < 0.7, seed=draw.randrange(1000),
        )  # fmt: skip
        if kind not in BATCHES:
            return common
        layers = draw.choice((1, 1, 2, 3))
        return common._replace(
            layers=layers, bidirectional=draw.choice(flag), batch_first=draw.choice(flag),
            dropout=draw.choice((0.0, 0.3, 1.0)) if layers > 1 else 0.0,
            given=draw.choice(("both", "both", "output", "h_n")), states=draw.random() < 0.7,
        )  # fmt: skip

    for dtype, N, I, H in itertools.product(DTYPES, SIZES, SIZES, SIZES):
        yield case(draw.choice(BATCHES), dtype, draw.choice(STEPS), N, I, H)
    for N, I, H in itertools.product(SIZES, SIZES, SIZES):
        yield case(draw.choice(("cell", "linear")), draw.choice(DTYPES), 1, N, I, H)
    for dtype, size in itertools.product(DTYPES, LARGER):
        for kind in (*BATCHES, "cell", "linear"):
            yield case(kind, dtype, *size)


CASES = list(_cases())
VALUES = np.random.default_rng(0).normal(size=400_000)
VALUES = {dtype: VALUES.astype(dtype) for dtype in DTYPES}


def prepared(case):
    """Return a function that answers a case with a list of arrays, always the same."""
    draw = random.Random(case.seed)
    make = {"dtype": case.dtype, "rng": case.seed}

    def values(*shape):
        start, size = draw.randrange(1000), int(np.prod(shape))
        return VALUES[case.dtype][start : start + size].reshape(shape).copy()

    if case.kind == "linear":
        linear = nr.Linear(case.I, case.H, case.bias, **make)
        x, gradient = values(case.N, case.I), values(case.N, case.H)

        def answer():
            tape = linear.forward(x)
            found = tape.backward(gradient)
            return [linear(x), tape.output, found.input, found.flat]

        return answer

    if case.kind == "cell":
        cell = nr.RNNCell(case.I, case.H, case.bias, case.nonlinearity, **make)
        x, gradient = values(case.N, case.I), values(case.N, case.H)
        h = values(case.N, case.H) if case.h_0 else None

        def answer():
            tape = cell.forward(x, h)
            found = tape.backward(gradient)
            return [cell(x, h), tape.h, found.input, found.h, found.flat]

        return answer

    L, N = case.L, 1 if case.kind == "unbatched" else case.N
    rnn = nr.RNN(
        case.I, case.H, case.layers, case.nonlinearity, case.bias, case.batch_first, case.dropout,
        case.bidirectional, **make,
    )  # fmt: skip
    D = 1 + case.bidirectional
    lengths, states = None, (case.layers * D, N, case.H)
    x = values(N, L, case.I) if case.batch_first else values(L, N, case.I)
    if case.kind == "packed":
        sequences = [values(draw.randint(1, max(L, 1)), case.I) for _ in range(max(N, 1))]
        x = nr.pack_sequence(sequences, enforce_sorted=False)
        states = (case.layers * D, len(sequences), case.H)
    elif case.kind == "unbatched":
        x, states = values(L, case.I), (case.layers * D, case.H)
    elif case.kind != "padded":
        lengths = np.array([draw.randint(0, L) for _ in range(N)], int)
        lengths *= case.kind != "lengths of 0" or draw.random() < 0.5
        if case.kind == "lengths of 0":
            lengths[::2] = 0
    h_0 = values(*states) if case.h_0 else None
    data = x.data if case.kind == "packed" else x
    given = {}
    if case.given != "h_n":
        given["grad_output"] = values(*data.shape[:-1], D * case.H)
    if case.given != "output":
        given["grad_h_n"] = values(*states)

    def answer():
        own = copy.deepcopy(rnn) if case.dropout else rnn  # its masks are those of a new layer
        output, h_n = own(x, h_0, lengths=lengths)
        tape = own.forward(x, h_0, lengths=lengths)
        found = tape.backward(**given, state_gradients=case.states)
        arrays = [output, h_n, tape.output, tape.h_n, *tape.layer_outputs, found.input, found.h_0]
        arrays += [found.flat] + ([found.states] if case.states else [])
        return [a.data if isinstance(a, nr.PackedSequence) else a for a in arrays]

    return answer


def run(case):
    """Run a case with and without guards, in the split that it asks for, and compare the bits."""
    answer, parts = prepared(case), case.split[0]
    with (
        patch.object(cpu, "split", lambda *arguments: case.split),
        patch.object(cpu, "threads", lambda work: parts),
        patch.object(cpu, "packers", lambda numbers: parts),
        patch.object(parallel.worth, "launch", lambda kind: case.launched),
        patch.object(cpu, "LARGEST_KEPT", -1),  # no layout keeps how it was split before
    ):
        expected = [array.tobytes() for array in answer()]
        for placement in PLACEMENTS:
            print(f"{placement}: {case}", flush=True)
            with Guarded(placement) as guarded:
                found = [array.tobytes() for array in answer()]
            assert guarded.used, "no kernel was met"
            assert found == expected, "with guards the bits are others"


def kernels():
    """Return the names of all kernels that the backend has."""
    modules = [
        import_module(f"{cpu.__name__}.{module.name}")
        for module in pkgutil.iter_modules(cpu.__path__)
    ]
    return {v.__name__ for module in modules for v in vars(module).values() if isinstance(v, Twins)}


# --- faults ---------------------------------------------------------------------------------------


def touch(placement, offset):
    """Read a byte next to an array."""
    with Guarded(placement) as guarded:
        memory, address = guarded.room(12)
        offset = offset if offset < 0 else memory.nbytes + offset
        print(ctypes.c_char.from_address(address + offset).value)


def wrong(placement, change):
    """Run a layer whose tables are changed where nobody checks them any more."""
    rnn = nr.RNN(3, 5, bidirectional=True, rng=0)
    right = cpu.rnn_forward

    def forward(x, h_0, h_n, weights, kind, layout):
        places, layout = kind.places.copy(), copy.deepcopy(layout)
        change(places, layout)
        return right(x, h_0, h_n, weights, kind._replace(places=places), layout)

    with Guarded(placement), patch.object(cpu, "rnn_forward", forward):
        rnn(np.ones((4, 2, 3), np.float32))


def longer(places, layout):
    layout.lengths[:] += 1


def row_before_the_first(places, layout):
    layout.batch_row[:] -= 1


def bias_behind_the_last(places, layout):
    places[-1, 3] += 1


def too_little_scratch():
    right = recurrence.forward_scratch

    def sizes(*arguments):
        found = right(*arguments)
        return found | {"packed_bias": found["packed_bias"] - 1}

    with patch.object(recurrence, "forward_scratch", sizes):
        wrong(ENDS, lambda places, layout: None)


FAULTS = {
    "a byte behind an array": lambda: touch(ENDS, 0),
    "a byte before an array": lambda: touch(BEGINS, -1),
    "lengths one too long": lambda: wrong(ENDS, longer),
    "a row before the first": lambda: wrong(BEGINS, row_before_the_first),
    "a bias behind the last": lambda: wrong(ENDS, bias_behind_the_last),
    "scratch one number too small": too_little_scratch,
}
NO_FAULT = "none of these"


def main():
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    print(8 * VECTOR_BYTES, "bits")
    if len(sys.argv) > 1:
        (fault,) = sys.argv[1:]
        print(fault, flush=True)
        if fault == NO_FAULT:
            wrong(ENDS, lambda places, layout: None)
        else:
            FAULTS[fault]()
        return
    for case in CASES:
        run(case)
    expected = set(itertools.product(kernels(), (False, True)))
    assert MET == expected, f"kernels that no case met: {expected - MET}"


if __name__ == "__main__":
    main()
