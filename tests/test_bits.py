"""The promises about bits: on one processor model and version of the package, one result.

Comparisons here are of bits, stricter than ==: 0 is not -0.
"""

import copy
import hashlib
import tracemalloc

import numba
import numpy as np
import pytest
from helpers import assert_same_bits, example, gradients, normal
from processes import python

import numba_rnn as nr
from numba_rnn import batches, cpu
from numba_rnn.backends import LayerKind
from numba_rnn.cpu import parallel, plans, tables

DTYPES = [np.float32, np.float64]
each_dtype = pytest.mark.parametrize("dtype", DTYPES)

# Threads, ranges of samples, ranges of hidden units (which take part from two wide tiles on).
SERIAL = (1, 1, 1)
SPLITS = [(2, 2, 1), (5, 7, 1), (2, 1, 2), (4, 2, 3), (5, 1, 16)]

SIZES = [  # L, N, I, H
    (3, 1, 3, 300),  # low and wide tiles, every slice of hidden units
    (2, 2, 40, 257),  # one unit into a new panel
    (2, 7, 300, 64),  # whole panels, many inputs
    (6, 100, 17, 33),  # samples in several blocks, gradients in several blocks of rows
    (30, 3, 1, 5),  # a fraction of a vector
]


def bits(result):
    """Arrays as the integers that their bits are, in whatever they come in."""
    if isinstance(result, dict):
        return {key: bits(value) for key, value in result.items()}
    if isinstance(result, nr.PackedSequence):
        return bits(result.data)
    if isinstance(result, (list, tuple)):
        return [bits(value) for value in result]
    if isinstance(result, np.ndarray):
        return np.ascontiguousarray(result).view(f"u{result.dtype.itemsize}")
    return result


def leaves(result):
    """Yield the arrays of what `bits` returns."""
    if isinstance(result, np.ndarray):
        yield result
    else:
        for value in result.values() if isinstance(result, dict) else result:
            yield from leaves(value)


def same(ours, theirs, name=""):
    assert_same_bits(bits(ours), bits(theirs), name)


def everything(rnn, x, h_0=None, lengths=None):
    """Return all that a call and its backward give, for gradients that depend on shapes alone."""
    tape = rnn.forward(x, h_0, lengths=lengths)
    output = tape.output.data if isinstance(tape.output, nr.PackedSequence) else tape.output
    grads = tape.backward(
        normal(output.shape, rnn.dtype, 8), normal(tape.h_n.shape, rnn.dtype, 9),
        state_gradients=True,
    )  # fmt: skip
    return {"output": tape.output, "h_n": tape.h_n, **gradients(grads)}


def one_step(cell, x, h, form=np.copy):
    tape = cell.forward(x, h)
    grads = tape.backward(form(normal(tape.h.shape, cell.dtype, 8)))
    return {"h": tape.h, "input": grads.input, "grad_h": grads.h, "flat": grads.flat}


def one_map(linear, x, form=np.copy):
    tape = linear.forward(x)
    grads = tape.backward(form(normal(tape.output.shape, linear.dtype, 8)))
    return {"output": tape.output, "input": grads.input, "flat": grads.flat}


@pytest.fixture
def force(monkeypatch):
    """Return a function that forces a way of splitting on all work."""
    numba.get_num_threads()  # starts the pool, as the decision that is replaced does

    # What was split before, by whatever test, is split anew.
    batches._kept_padded.cache_clear()
    batches._kept_packed.cache_clear()
    monkeypatch.setattr(cpu, "LARGEST_KEPT", -1)
    monkeypatch.setattr(plans, "_plans", {})
    monkeypatch.setattr(plans, "_bytes", 0)

    asked = [True]

    def answer(what):
        asked.append(True)
        return what

    def to(split):
        assert asked, "work was done in the way that was forced before"
        asked.clear()
        plans._plans.clear()
        monkeypatch.setattr(cpu, "split", lambda *arguments: answer(split))
        monkeypatch.setattr(cpu, "threads", lambda work: answer(split[0]))
        monkeypatch.setattr(parallel.worth, "launch", lambda kind: True)

    yield to
    assert asked, "work was done in the way that was forced before"


# --- however work is split ------------------------------------------------------------------------


@each_dtype
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_any_split_of_an_rnn(size, dtype, force):
    L, N, I, H = size
    nonlinearity = "relu" if N == 7 else "tanh"
    rnn = nr.RNN(I, H, 2, nonlinearity, dropout=0.3, bidirectional=True, dtype=dtype, rng=1)
    for kind in ("packed", "lengths"):
        arguments = example(rnn, kind, L, N)
        force(SERIAL)
        expected = everything(copy.deepcopy(rnn), *arguments)
        for split in SPLITS:
            force(split)
            same(everything(copy.deepcopy(rnn), *arguments), expected, f"{kind}, {split}")


@each_dtype
@pytest.mark.parametrize("size", [(1, 3, 300), (7, 300, 9), (600, 5, 33)], ids=str)
def test_any_split_of_linear_and_the_cell(size, dtype, force):
    N, I, H = size
    x, h = normal((N, I), dtype), normal((N, H), dtype, 1)
    linear, cell = nr.Linear(I, H, dtype=dtype, rng=0), nr.RNNCell(I, H, dtype=dtype, rng=0)
    force(SERIAL)
    expected = one_map(linear, x), one_step(cell, x, h)
    for split in SPLITS:
        force(split)
        same((one_map(linear, x), one_step(cell, x, h)), expected, str(split))


def digests():
    """Digests of all that is promised to have the same bits everywhere on a machine."""
    found = []
    for dtype in DTYPES:
        for L, N, I, H in [(6, 64, 40, 70), (4, 2, 40, 300), (3, 500, 3, 33), (4, 1, 300, 500)]:
            rnn = nr.RNN(I, H, dropout=0.3, num_layers=2, bidirectional=True, dtype=dtype, rng=0)
            results = [everything(rnn, *example(rnn, kind, L, N)) for kind in ("packed", "lengths")]
            x, h = normal((L * N, I), dtype), normal((L * N, H), dtype)
            results.append(one_map(nr.Linear(I, H, dtype=dtype, rng=0), x))
            results.append(one_step(nr.RNNCell(I, H, dtype=dtype, rng=0), x, h))
            digest = hashlib.sha256()
            for array in leaves(bits(results)):
                digest.update(array.tobytes())
            found.append(digest.hexdigest())
    return found


def test_any_number_of_threads_in_any_process():
    """By the package's own decisions: run to run, and on 1 to 5 threads."""
    before, counts = numba.get_num_threads(), range(1, min(numba.config.NUMBA_NUM_THREADS, 3) + 1)
    expected = digests()
    try:
        for count in counts:
            numba.set_num_threads(count)
            assert digests() == expected, count
    finally:
        numba.set_num_threads(before)
    code = """
import numba, test_bits
for count in (5, 3):
    numba.set_num_threads(count)
    print(*test_bits.digests())
"""
    for line in python(code, NUMBA_NUM_THREADS=5, PYTHONHASHSEED=7).splitlines():
        assert line.split() == expected


SMALL_BATCHES = [(1, 2, 3, 9), (30, 1, 5, 70), (40, 2, 20, 140), (20, 3, 2, 24), (9, 4, 5, 33)]


@each_dtype
@pytest.mark.parametrize("size", SMALL_BATCHES, ids=str)
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_kernels_of_few_samples(nonlinearity, size, dtype, monkeypatch):
    """A few samples of one length have kernels of their own."""
    L, N, I, H = size
    rnn = nr.RNN(I, H, 2, nonlinearity, bidirectional=True, dtype=dtype, rng=0)
    x, h_0, _ = example(rnn, "padded", L, N)
    used, most = [], tables.FEW
    for is_few in (True, False):
        monkeypatch.setattr(plans, "_plans", {})
        monkeypatch.setattr(plans, "_bytes", 0)
        monkeypatch.setattr(tables, "FEW", most if is_few else 0)
        batches._kept_padded.cache_clear()
        rnn._last_form = None
        used.append((everything(rnn, x, h_0), rnn.forward(x, h_0).backward(grad_h_n=h_0)))
        names = {kept.spare[0]._how[0].__name__ for kept in plans._plans.values()}
        assert names == {f"rnn_{way}{'_few' if is_few else ''}" for way in ("forward", "backward")}
    (few, few_grads), (many, many_grads) = used
    same(few, many)
    same(gradients(few_grads), gradients(many_grads))


# --- whatever batch a sequence is in --------------------------------------------------------------


@each_dtype
@pytest.mark.parametrize("H", [9, 70, 140], ids=str)
def test_a_sequence_in_any_batch(H, dtype):
    """Alone, among 7, among 1000; padded, with lengths, packed, batch first, unbatched."""
    L, N, I = 3, 1000, 5
    options = {"num_layers": 2, "bidirectional": True, "dtype": dtype}
    rnn = nr.RNN(I, H, rng=0, **options)
    batch_first = nr.RNN(I, H, rng=0, batch_first=True, **options)
    x, h_0, lengths = example(rnn, "lengths", L, N)  # beyond lengths x is NaN
    x_all = np.nan_to_num(x)
    output, h_n = rnn(x_all, h_0)
    cut, cut_h = rnn(x, h_0, lengths=lengths)
    packed, packed_h = rnn(nr.pack_padded_sequence(x, lengths, enforce_sorted=False), h_0)
    same((nr.pad_packed_sequence(packed)[0], packed_h), (cut, cut_h))
    for array, options, expected in [
        (x_all, {}, (output, h_n)),
        (x, {"lengths": lengths}, (cut, cut_h)),
    ]:
        turned, turned_h = batch_first(array.swapaxes(0, 1).copy(), h_0, **options)
        same((turned.swapaxes(0, 1), turned_h), expected)

    for n in [0, 1, 2, 3, 46, 47, 48, 333, 499, 500, 501, 997, 998, 999]:
        k = lengths[n]
        same(rnn(x_all[:, n], h_0[:, n]), (output[:, n], h_n[:, n]))
        same(rnn(x[:k, n], h_0[:, n]), (cut[:k, n], cut_h[:, n]))
        for near in (slice(n, n + 1), slice(max(n - 3, 0), n + 4)):
            some, some_h = x_all[:, near], h_0[:, near]
            same(rnn(some, some_h), (output[:, near], h_n[:, near]))
            answer = rnn(x[:, near], some_h, lengths=lengths[near])
            same(answer, (cut[:, near], cut_h[:, near]))
            same(batch_first(some.swapaxes(0, 1), some_h)[1], h_n[:, near])
    for few in range(1, 30):  # every height of a tile, and of what is left over
        same(rnn(x_all[:, :few], h_0[:, :few]), (output[:, :few], h_n[:, :few]))


@each_dtype
@pytest.mark.parametrize("size", [(20, 9, 3, 17), (7, 1, 40, 300), (7, 70, 5, 66)], ids=str)
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_prefixes_chunks_and_steps(nonlinearity, size, dtype):
    """A part of a sequence is the part of its output; states connect the parts."""
    L, N, I, H = size
    rnn = nr.RNN(I, H, 2, nonlinearity, dtype=dtype, rng=0)
    x, h_0, _ = example(rnn, "padded", L, N)
    output, h_n = rnn(x, h_0)
    for k in range(L):
        same(rnn(x[:k], h_0)[0], output[:k])
    for sizes in ([1] * L, [L // 2, L - L // 2], [2, 1, 3, L - 6]):
        h, parts, start = h_0, [], 0
        for k in sizes:
            part, h = rnn(x[start : start + k], h)
            parts.append(part)
            start += k
        same((np.concatenate(parts), h), (output, h_n))

    lengths = np.random.default_rng(0).integers(0, L + 1, N)
    expected = rnn(x, h_0, lengths=lengths)
    h, parts = h_0, []
    for start in range(0, L, 3):
        chunk = x[start : start + 3]
        part, h = rnn(chunk, h, lengths=np.clip(lengths - start, 0, len(chunk)))
        parts.append(part)
    same((np.concatenate(parts), h), expected)

    cells = []
    for k in range(2):
        cell = nr.RNNCell(H if k else I, H, nonlinearity=nonlinearity, dtype=dtype)
        for name in cell.parameters:
            setattr(cell, name, getattr(rnn, f"{name}_l{k}"))
        cells.append(cell)
    h = list(h_0)
    for t in range(L):
        step = x[t]
        for k, cell in enumerate(cells):
            step = h[k] = cell(step, h[k])
        same(step, output[t])
    same(np.stack(h), h_n)
    state = h_0[0, 0]
    lower = rnn.forward(x, h_0).layer_outputs[0]
    for t in range(L):  # one sample of the batch alone
        state = cells[0].forward(x[t, 0], state).h
        same(state, lower[t, 0])


def test_prefixes_and_suffixes_of_two_directions():
    rnn = nr.RNN(3, 20, bidirectional=True, rng=0)
    x, h_0, _ = example(rnn, "padded", 10, 7)
    output, _ = rnn(x, h_0)
    for k in range(10):
        same(rnn(x[:k], h_0)[0][..., :20], output[:k, :, :20])
        same(rnn(x[k:], h_0)[0][..., 20:], output[k:, :, 20:])


@each_dtype
@pytest.mark.parametrize("size", [(3, 5), (40, 1), (300, 130)], ids=str)
def test_rows_of_linear_in_any_batch(size, dtype):
    I, O = size
    linear = nr.Linear(I, O, dtype=dtype, rng=0)
    x = normal((1000, I), dtype)
    y = linear(x)
    same(linear(x.reshape(10, 100, I)).reshape(1000, O), y)
    same(linear.forward(x).output, y)
    for n in [0, 1, 5, 95, 96, 500, 999]:
        same(linear(x[n]), y[n])
        same(linear(x[n : n + 1]), y[n : n + 1])
        near = slice(max(n - 3, 0), n + 4)
        same(linear(x[near]), y[near])
    for few in range(30):
        same(linear(x[:few]), y[:few])


# --- however input lies in memory -----------------------------------------------------------------


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def misaligned(array):
    memory = np.empty(array.nbytes + 1, np.uint8)
    other = memory[1:].view(array.dtype).reshape(array.shape)
    other[...] = array
    assert not other.flags.aligned
    return other


def strided(array):
    other = np.zeros([2 * size for size in array.shape], array.dtype)
    other = other[tuple(slice(1, None, 2) for _ in array.shape)]
    other[...] = array
    return other


def reversed_in_memory(array):
    backward = (slice(None, None, -1),) * array.ndim
    return array[backward].copy()[backward]


@each_dtype
@pytest.mark.parametrize(
    "form", [read_only, misaligned, strided, reversed_in_memory, np.asfortranarray]
)
def test_any_memory(form, dtype):
    """Of every input: x, states and gradients."""
    size = {"dtype": dtype, "rng": 0}
    for H in (5, 70):
        rnn = nr.RNN(3, H, num_layers=2, bidirectional=True, **size)
        x, h_0, lengths = example(rnn, "lengths", 6, 20)
        tape = rnn.forward(x, h_0, lengths=lengths)
        grads = normal(tape.output.shape, dtype, 1), normal(tape.h_n.shape, dtype, 2)
        expected = gradients(tape.backward(*grads, state_gradients=True))
        other = rnn.forward(form(x), form(h_0), lengths=form(lengths))
        same((tuple(other), rnn(form(x), form(h_0), lengths=lengths)), (tuple(tape),) * 2)
        same(gradients(other.backward(*map(form, grads), state_gradients=True)), expected)

        cell, linear = nr.RNNCell(3, H, **size), nr.Linear(3, H, **size)
        x, h = normal((20, 3), dtype), normal((20, H), dtype)
        same(one_step(cell, form(x), form(h), form), one_step(cell, x, h))
        same(one_map(linear, form(x), form), one_map(linear, x))
        same((cell(form(x), form(h)), linear(form(x))), (cell(x, h), linear(x)))


def test_parameters_that_cannot_be_written_to():
    """As where joblib maps a file into memory, or with gaps between numbers: the same code."""
    from numba_rnn.cpu.recurrence import rnn_forward

    rnn, x = nr.RNN(3, 5, rng=0), normal((4, 2, 3), np.float32)
    expected, count = rnn(x), len(rnn_forward.make(np.dtype(np.float32), False).overloads)
    rnn._flat.flags.writeable = False
    same(rnn(x), expected)
    assert len(rnn_forward.make(np.dtype(np.float32), False).overloads) == count == 1
    table = np.zeros((1, 4), np.int64)
    rows = normal((2, 6), np.float32)[:, ::2]
    layout = batches.padded(1, 2, False)
    state = np.zeros((1, 2, 5), np.float32)
    options = state, state.copy(), rnn._flat, LayerKind(table, 5, 1, "tanh"), layout
    same(cpu.rnn_forward(rows, *options), cpu.rnn_forward(rows.copy(), *options))
    assert len(rnn_forward.make(np.dtype(np.float32), False).overloads) == 1


def test_what_cannot_be_written_to_is_read_without_a_detour(monkeypatch):
    """Read-only input, states and gradients, as tapes hand them out, in any order of axes."""

    def refuse(array):
        raise AssertionError("a kernel was called in vain before")

    rnn, cell, linear = nr.RNN(3, 5, rng=0), nr.RNNCell(3, 5, rng=0), nr.Linear(5, 5, rng=0)
    x, h_0 = normal((4, 2, 3), np.float32), normal((1, 2, 5), np.float32)
    for array in (x, h_0):
        array.flags.writeable = False
    monkeypatch.setattr(plans, "as_kernels_want", refuse)
    for given in (x, x, np.asfortranarray(x), x[::-1]):
        rnn(given, h_0)
        cell(given[0], h_0[0])
        rnn.stream(2).step(given[0])
        tape = rnn.forward(given, h_0)
        head = linear.forward(tape.output)
        head.backward(head.output)
        tape.backward(tape.output, tape.h_n)
        step = cell.forward(given[0], h_0[0])
        step.backward(step.h)


@pytest.mark.thread_unsafe(reason="the memory of all threads is counted")
def test_a_large_batch_takes_no_more_than_its_share_of_memory():
    """Scratch memory grows as the batch does, not as its square."""
    rnn, x = nr.RNN(1, 1, rng=0), np.zeros((2, 30_000, 1), np.float32)
    tape = rnn.forward(x)  # what is compiled is not counted
    tape.backward(tape.output)
    tracemalloc.start()
    try:
        tape = rnn.forward(x)
        tape.backward(tape.output)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()
