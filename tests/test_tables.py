"""The tables of a batch, beside NumPy's own way to make them."""

import copy

import numpy as np
import pytest
from helpers import assert_same_bits, example
from processes import python

import numba_rnn as nr
from numba_rnn import batches, cpu
from numba_rnn.cpu import plans, recurrence, tables
from numba_rnn.layout import LARGEST_KEPT, Layout, longest_first

LENGTHS = {
    "no sample": (5, []),
    "no sample and no step": (0, []),
    "no step": (0, [0, 0, 0]),
    "one sample": (4, [3]),
    "one empty sample": (4, [0]),
    "one step": (1, [1, 0, 1, 1, 0]),
    "all alike": (6, [6] * 5),
    "all alike and shorter": (6, [2] * 5),
    "all empty": (3, [0] * 4),
    "zeros among them": (7, [0, 3, 0, 7, 1, 0, 3]),
    "growing": (5, [0, 1, 2, 3, 4, 5]),
    "falling": (5, [5, 4, 3, 2, 1, 0]),
    "ties": (9, [4, 9, 4, 4, 9, 1, 1, 4]),
    "more steps than samples": (300, [300, 17]),
    "more samples than steps": (3, np.arange(200) % 4),
    "as they come": (40, np.random.default_rng(0).integers(0, 41, 100)),
}
KINDS = ("padded", "batch first", "packed")


def layout_of(name, kind):
    L, lengths = LENGTHS[name]
    lengths = np.array(lengths, np.int64)
    if kind != "packed":
        return batches.padded(L, len(lengths), kind == "batch first", lengths)
    lengths = lengths[lengths > 0]
    x = np.zeros((lengths.max(), len(lengths), 1))
    return batches.packed(nr.pack_padded_sequence(x, lengths, enforce_sorted=False))


each_batch = pytest.mark.parametrize(
    ("name", "kind"),
    [
        (name, kind)
        for name in LENGTHS
        for kind in KINDS
        if kind != "packed" or any(LENGTHS[name][1])
    ],
)


# --- what NumPy says ------------------------------------------------------------------------------


def transitions(layout):
    """Rows of all real steps in time order, and which of them follows which."""
    alive = np.searchsorted(-layout.lengths, -np.arange(layout.longest))  # samples with a step t
    starts = np.cumsum(alive) - alive
    place = np.arange(layout.real_steps) - np.repeat(starts, alive)
    step_row = layout.step_row[: layout.longest]
    rows = np.repeat(step_row, alive) + layout.batch_row[place]
    later = rows[alive[0] if layout.longest else 0 :]
    earlier = later - np.repeat(np.diff(step_row), alive[1:])
    count = int(np.count_nonzero(layout.lengths))
    sample, last = layout.order[:count], layout.lengths[:count] - 1
    first, first_in_reverse = (
        layout.step_row[t] + layout.batch_row[:count] for t in (np.zeros_like(last), last)
    )
    return {
        "rows": rows, "later": later, "earlier": earlier, "first": first,
        "first_in_reverse": first_in_reverse, "sample": sample,
        "steps": len(rows), "successions": len(later), "starts": len(first),
    }  # fmt: skip


def cut_evenly(layout, count):
    shares = [2 * layout.real_steps * part / count for part in range(1, count)]
    ends = np.cumsum(layout.lengths)
    return np.array([0, *np.searchsorted(2 * ends - layout.lengths, shares), layout.batch])


# --- the same -------------------------------------------------------------------------------------


@each_batch
def test_samples_come_longest_first(name, kind):
    layout = copy.copy(layout_of(name, kind))
    given = layout._given
    if kind == "packed":  # they do already
        np.testing.assert_array_equal(layout.lengths, given[2])
    else:
        layout._index = None
        expected = np.empty(layout.steps + 3 * layout.batch, np.int64)
        longest_first(*given, expected)
        assert_same_bits(layout.index_by(tables.longest_first), expected)
        order = np.array(sorted(range(layout.batch), key=lambda n: -given[2][n]), np.int64)
        assert_same_bits(layout.order, order)
        assert_same_bits(layout.lengths, given[2][order])
        assert_same_bits(layout.batch_row, given[1][order])
    assert_same_bits(layout.step_row, given[0])
    assert layout.longest == max(given[2], default=0)
    assert layout.real_steps == sum(given[2])
    assert layout.has_padding == (layout.rows > layout.real_steps)
    np.testing.assert_array_equal(np.sort(layout.empty), np.sort(layout.order[layout.lengths == 0]))


@each_batch
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_what_kernels_are_told(name, kind, count):
    layout = layout_of(name, kind)
    for structure in (recurrence.Forward, recurrence.Backward):
        cut = tables.Cut(structure, layout, 1.0, (1, count, 1))
        expected = {
            "L": layout.longest, "bounds": cut_evenly(layout, count), "step_row": layout.step_row,
            "batch_row": layout.batch_row, "lengths": layout.lengths, "order": layout.order,
        }  # fmt: skip
        if structure is recurrence.Backward:
            expected |= transitions(layout)
        fields = cut.fields
        assert fields.keys() == expected.keys()
        for field, values in expected.items():
            np.testing.assert_array_equal(fields[field], values, err_msg=field)
        largest = np.diff(expected["bounds"]).max()
        assert cut.table == recurrence.table(largest)
        # The addresses are those of what the fields say.
        size = {
            name: 0 if kind == "Int" else tables.NOTHING for name, kind in structure.kinds.items()
        }
        p = structure(**size)
        cut.tell(p)
        for field, value in fields.items():
            told = p._fields[structure.order[field]]
            if isinstance(value, int):
                assert told == value, field
            elif value.size:
                assert told == value.ctypes.data, field


def test_empty_batches_of_any_kind():
    """A forward pass and its backward give zeros, or the first states."""
    for L, N in ((0, 0), (0, 3), (3, 0)):
        rnn = nr.RNN(2, 3, bidirectional=True, rng=0)
        h_0 = np.ones((2, N, 3), np.float32)
        for lengths in (None, [0] * N):
            tape = rnn.forward(np.ones((L, N, 2), np.float32), h_0, lengths=lengths)
            grads = tape.backward(grad_h_n=2 * h_0)
            if lengths is not None or L == 0:
                assert_same_bits(tape.h_n, h_0)
                assert_same_bits(grads.h_0, 2 * h_0)
                assert not grads.flat.any()


def test_numba_checks_bounds_where_it_is_told_to(tmp_path):
    """These loops index arrays. That they lie on the disk without checks makes no difference."""
    code = """
import numpy as np
from numba_rnn.cpu import tables
L, N, steps = 3, 2, 5
step_row, batch_row, lengths = np.arange(L), np.arange(N), np.array([2, 3])
index = np.zeros(L + 3 * N, np.int64)
tables.longest_first(step_row, batch_row, lengths, index)
cut, rows = np.zeros(3, np.int64), np.zeros(2 * steps + N, np.int64)
assert tables.cut_samples(index, L, N, steps, cut) == 1
tables.follow(index, L, N, steps, N, rows)
print("right")
"""
    faults = """
short = index[: L + N + 1].copy()
for name, call in {
    "longest_first": lambda: tables.longest_first(step_row, batch_row, lengths, short),
    "cut_samples": lambda: tables.cut_samples(short, L, N + 1, steps, cut),
    "follow": lambda: tables.follow(index, L, N, steps, N, rows[:-1].copy()),
}.items():
    try:
        call()
    except IndexError:
        print(name)
"""
    variables = {"NUMBA_CACHE_DIR": tmp_path, "NUMBA_DISABLE_JIT": None}
    assert python(code, NUMBA_BOUNDSCHECK=None, **variables) == "right\n"
    found = python(code + faults, NUMBA_BOUNDSCHECK=1, **variables).split()
    assert found == ["right", "longest_first", "cut_samples", "follow"]


# --- kept -----------------------------------------------------------------------------------------


def answer(rnn, x, lengths):
    tape = rnn.forward(x, lengths=lengths)
    grads = tape.backward(tape.output)
    return tape.output, tape.h_n, grads.input, grads.flat


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_new_lengths_make_no_new_plans(monkeypatch, bidirectional, batch_first):
    """A plan is pointed to the tables of whatever batch comes, and gives what a new plan gives."""
    options = {"bidirectional": bidirectional, "batch_first": batch_first, "num_layers": 2}
    rnn = nr.RNN(3, 5, rng=0, **options)
    x, _, _ = example(rnn, "padded", 20, 8)
    rng = np.random.default_rng(1)
    new = [np.append(rng.integers(0, 20, 7), 20) for _ in range(60)]
    expected = []
    for lengths in new:
        monkeypatch.setattr(plans, "_plans", type(plans._plans)())
        monkeypatch.setattr(plans, "_bytes", 0)
        expected.append(answer(rnn, x, lengths))
    made = []

    def init(self, *arguments, original=cpu.LayerPlan.__init__):
        made.append(self)
        original(self, *arguments)

    monkeypatch.setattr(cpu.LayerPlan, "__init__", init)
    for lengths, right in zip(new * 2, expected * 2, strict=True):
        for ours, theirs in zip(answer(rnn, x, lengths), right, strict=True):
            assert_same_bits(ours, theirs)
    # both passes of two layers; those of the last lengths are there
    assert len(made) <= 4


def test_a_layout_keeps_a_few_cuts(monkeypatch):
    layout = batches._padded(5, 3, False, None)
    monkeypatch.setattr(batches, "padded", lambda *arguments: layout)
    for H in range(1, 60):
        rnn = nr.RNN(2, H, rng=0)
        tape = rnn.forward(np.ones((5, 3, 2), np.float32))
        tape.backward(tape.output)
        assert 0 < len(layout.kept) <= tables.CUTS + 3
    large = batches._padded(LARGEST_KEPT + 1, 1, False, None)
    monkeypatch.setattr(batches, "padded", lambda *arguments: large)
    tape = nr.RNN(2, 1, rng=0).forward(np.ones((LARGEST_KEPT + 1, 1, 2), np.float32))
    tape.backward(tape.output)
    assert not large.kept


def test_a_plan_holds_small_tables_only(monkeypatch):
    monkeypatch.setattr(plans, "_plans", type(plans._plans)())  # without those of other tests
    monkeypatch.setattr(plans, "_bytes", 0)
    rnn = nr.RNN(2, 3, rng=0)
    for L, lengths in ((4, [4, 2, 0]), (4, [4, 4, 4]), (4, [4, 1, 1]), (4000, [4000, 3999, 0])):
        tape = rnn.forward(np.ones((L, 3, 2), np.float32), lengths=lengths)
        tape.backward(tape.output)
    assert plans._bytes == sum(kept.bytes for kept in plans._plans.values())
    found = [plan for kept in plans._plans.values() for plan in kept.spare]
    found = [plan for plan in found if isinstance(plan, tables.LayerPlan)]
    for plan in found:
        scratch = sum(size.count * size.dtype.itemsize for size in plan._sizes.values())
        assert plan.bytes == scratch + tables.MOST_KEPT
        assert plan._cut is None or plan._cut.bytes <= tables.MOST_KEPT
    assert {plan._cut is None for plan in found} == {True, False}


@pytest.mark.parametrize("twin", [copy.copy, copy.deepcopy])
def test_a_copied_layout_has_tables_of_its_own(twin):
    """What is kept has addresses of the original's memory."""
    layout = batches._padded(4, 3, False, np.array([1, 4, 2]).tobytes())
    tables.Cut(recurrence.Backward, layout, 1.0, (1, 1, 1))
    assert layout.kept
    copied = twin(layout)
    assert not copied.kept
    assert_same_bits(copied.index, layout.index)


def test_only_this_backend_sorts_by_a_compiled_loop():
    """Elsewhere a layout sorts itself, by NumPy."""
    layout = Layout(12, 3 * np.arange(4), np.arange(3), np.array([1, 4, 2]))
    np.testing.assert_array_equal(layout.order, [1, 2, 0])
    np.testing.assert_array_equal(layout.lengths, [4, 2, 1])
