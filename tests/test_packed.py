"""Packing and padding: against torch, round trips, and everything that must be refused."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numba_rnn import packed as nrp
from numba_rnn import validation

lengths_of_a_batch = st.lists(st.integers(1, 6), min_size=1, max_size=6)
trailing_shapes = st.sampled_from([(), (1,), (3,), (2, 3)])


@pytest.fixture
def torch_rnn(torch):
    """torch.nn.utils.rnn."""
    return torch.nn.utils.rnn


def random_sequences(lengths, trailing=(), dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    return [(100 * rng.standard_normal((n, *trailing))).astype(dtype) for n in lengths]


def assert_same_list(got, expected):
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def assert_packed_like_torch(ours, theirs):
    for field in ("data", "batch_sizes", "sorted_indices", "unsorted_indices"):
        mine, other = getattr(ours, field), getattr(theirs, field)
        if other is None:
            assert mine is None, field
        else:
            assert mine.dtype == other.numpy().dtype, field
            np.testing.assert_array_equal(mine, other.numpy(), err_msg=field)


# --- the documented example ---------------------------------------------------------------------

A, B, C = np.array([1, 2, 3]), np.array([4, 5]), np.array([6])


def bca():
    return nrp.pack_sequence([B, C, A], enforce_sorted=False)


def test_documented_example():
    data, batch_sizes, sorted_indices, unsorted_indices = bca()
    assert data.tolist() == [1, 4, 6, 2, 5, 3]
    assert batch_sizes.tolist() == [3, 2, 1]
    assert sorted_indices.tolist() == [2, 0, 1]
    assert unsorted_indices.tolist() == [1, 2, 0]
    assert batch_sizes.dtype == sorted_indices.dtype == unsorted_indices.dtype == np.int64


def test_documented_example_sorted():
    packed = nrp.pack_sequence([A, B, C])
    assert packed.data.tolist() == [1, 4, 6, 2, 5, 3]
    assert packed.sorted_indices is None and packed.unsorted_indices is None


def test_equal_lengths_keep_their_order():
    packed = nrp.pack_sequence([B, A, B + 10, A + 10], enforce_sorted=False)
    assert packed.sorted_indices.tolist() == [1, 3, 0, 2]


# --- against torch ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.bool_])
@pytest.mark.parametrize("trailing", [(), (3,), (2, 3)])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("enforce_sorted", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_pack_and_pad_match_torch(
    torch, torch_rnn, seed, enforce_sorted, batch_first, trailing, dtype
):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 8, size=5)
    if enforce_sorted:
        lengths = np.sort(lengths)[::-1].copy()
    longest = int(lengths.max()) + seed  # padded to more than the longest, too
    shape = (5, longest, *trailing) if batch_first else (longest, 5, *trailing)
    x = (10 * rng.standard_normal(shape)).astype(dtype)

    ours = nrp.pack_padded_sequence(x, lengths, batch_first, enforce_sorted)
    theirs = torch_rnn.pack_padded_sequence(
        torch.from_numpy(x), torch.from_numpy(lengths), batch_first, enforce_sorted
    )
    assert_packed_like_torch(ours, theirs)

    fill = 0.0 if dtype in (np.int64, np.bool_) else -1.5
    for total in (None, longest, longest + 2):
        for first in (False, True):
            padded, sizes = nrp.pad_packed_sequence(ours, first, fill, total)
            t_padded, t_sizes = torch_rnn.pad_packed_sequence(theirs, first, fill, total)
            assert padded.dtype == dtype and padded.flags.c_contiguous
            np.testing.assert_array_equal(padded, t_padded.numpy())
            np.testing.assert_array_equal(sizes, t_sizes.numpy())
            assert sizes.dtype == np.int64

    assert_same_list(
        nrp.unpack_sequence(ours), [s.numpy() for s in torch_rnn.unpack_sequence(theirs)]
    )


@pytest.mark.parametrize("padding_side", ["right", "left"])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("trailing", [(), (3,), (2, 3)])
def test_lists_match_torch(torch, torch_rnn, trailing, batch_first, padding_side):
    sequences = random_sequences([3, 0, 5, 1], trailing)
    tensors = [torch.from_numpy(s) for s in sequences]
    padded = nrp.pad_sequence(sequences, batch_first, 7.0, padding_side)
    t_padded = torch_rnn.pad_sequence(tensors, batch_first, 7.0, padding_side)
    np.testing.assert_array_equal(padded, t_padded.numpy())

    cut = nrp.unpad_sequence(padded, [3, 0, 5, 1], batch_first)
    t_cut = torch_rnn.unpad_sequence(t_padded.clone(), torch.tensor([3, 0, 5, 1]), batch_first)
    assert_same_list(cut, [s.numpy() for s in t_cut])

    kept = [0, 2, 3]
    assert_packed_like_torch(
        nrp.pack_sequence([sequences[k] for k in kept], enforce_sorted=False),
        torch_rnn.pack_sequence([tensors[k] for k in kept], enforce_sorted=False),
    )


def test_constructor_matches_torch(torch, torch_rnn):
    ours = nrp.PackedSequence(np.arange(6.0), [3, 2, 1], np.array([2, 0, 1]))
    theirs = torch_rnn.PackedSequence(
        torch.arange(6, dtype=torch.float64), torch.tensor([3, 2, 1]), torch.tensor([2, 0, 1])
    )
    assert_packed_like_torch(ours, theirs)


def test_torch_tensors_serve_as_lengths(torch, torch_rnn):
    x = np.arange(12.0).reshape(4, 3)
    packed = nrp.pack_padded_sequence(x, torch.tensor([2, 4, 1]), enforce_sorted=False)
    assert packed.batch_sizes.tolist() == [3, 2, 1, 1]


@pytest.mark.parametrize(
    "call",
    [
        lambda r, array: r.pack_padded_sequence(array(np.zeros((0, 2, 3))), [1, 1]),
        lambda r, array: r.pack_padded_sequence(array(np.zeros((3, 2, 0))), [2, 1]),
        lambda r, array: r.pack_padded_sequence(array(np.zeros((3, 2, 1))), [3]),
        lambda r, array: r.pack_padded_sequence(array(np.zeros((3, 2, 1))), [3, 0]),
        lambda r, array: r.pack_padded_sequence(array(np.zeros((3, 2, 1))), [3, -1]),
        lambda r, array: r.pack_padded_sequence(array(np.zeros((3, 2, 1))), [1, 3]),
        lambda r, array: r.pack_sequence([]),
        lambda r, array: r.pack_sequence([array(np.zeros(1)), array(np.zeros(2))]),
        lambda r, array: r.pack_sequence([array(np.zeros(1)), array(np.zeros(0))]),
        lambda r, array: r.pad_sequence([]),
        lambda r, array: r.pad_sequence([array(np.zeros(2))], padding_side="middle"),
        lambda r, array: r.pad_packed_sequence(
            r.pack_sequence([array(np.ones(3))]), total_length=2
        ),
    ],
)
def test_what_torch_refuses_is_refused(torch, torch_rnn, call):
    with pytest.raises((RuntimeError, ValueError)):
        call(torch_rnn, torch.from_numpy)
    with pytest.raises(ValueError):
        call(nrp, np.asarray)


# --- round trips --------------------------------------------------------------------------------


@settings(deadline=None)
@given(lengths=lengths_of_a_batch, trailing=trailing_shapes)
def test_pack_unpack_round_trip(lengths, trailing):
    sequences = random_sequences(lengths, trailing)
    packed = nrp.pack_sequence(sequences, enforce_sorted=False)
    assert_same_list(nrp.unpack_sequence(packed), sequences)


@settings(deadline=None)
@given(
    lengths=lengths_of_a_batch,
    trailing=trailing_shapes,
    batch_first=st.booleans(),
    extra=st.integers(0, 2),
)
def test_pad_pack_pad_round_trip(lengths, trailing, batch_first, extra):
    total = max(lengths) + extra
    packed = nrp.pack_sequence(random_sequences(lengths, trailing), enforce_sorted=False)
    padded, sizes = nrp.pad_packed_sequence(packed, batch_first, np.nan, total)
    assert padded.shape[:2] == ((len(lengths), total) if batch_first else (total, len(lengths)))
    assert sizes.tolist() == lengths
    again = nrp.pack_padded_sequence(padded, sizes, batch_first, enforce_sorted=False)
    assert not np.isnan(again.data).any()  # the padding is left behind
    for one, other in zip(packed, again, strict=True):
        np.testing.assert_array_equal(one, other)


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(0, 6), min_size=1, max_size=6),
    trailing=trailing_shapes,
    batch_first=st.booleans(),
)
def test_pad_unpad_round_trip(lengths, trailing, batch_first):
    sequences = random_sequences(lengths, trailing)
    padded = nrp.pad_sequence(sequences, batch_first)
    assert_same_list(nrp.unpad_sequence(padded, lengths, batch_first), sequences)


@settings(deadline=None)
@given(lengths=lengths_of_a_batch)
def test_rows_lie_where_the_layout_says(lengths):
    sequences = random_sequences(lengths)
    packed = nrp.pack_sequence(sequences, enforce_sorted=False)
    offset = np.cumsum(packed.batch_sizes) - packed.batch_sizes
    for i, n in enumerate(packed.sorted_indices):
        for t in range(lengths[n]):
            assert packed.data[offset[t] + i] == sequences[n][t]
    step, position = nrp._steps_and_positions(packed.batch_sizes)
    np.testing.assert_array_equal(offset[step] + position, np.arange(len(packed.data)))


@pytest.mark.parametrize(
    "arrange",
    [
        lambda x: np.asfortranarray(x),
        lambda x: x[::-1].copy()[::-1],
        lambda x: np.repeat(x, 2, axis=2)[:, :, ::2],
        lambda x: x.astype(">f8"),
    ],
)
def test_any_memory_layout(arrange):
    x = np.random.default_rng(0).standard_normal((5, 3, 4))
    y = arrange(x)
    before = y.copy()
    y.flags.writeable = False
    a = nrp.pack_padded_sequence(x, [2, 5, 3], enforce_sorted=False)
    b = nrp.pack_padded_sequence(y, [2, 5, 3], enforce_sorted=False)
    np.testing.assert_array_equal(a.data, b.data)
    np.testing.assert_array_equal(y, before)


def test_results_are_copies():
    x = np.ones((3, 2))
    packed = nrp.pack_padded_sequence(x, [3, 3])
    cut = nrp.unpad_sequence(x, [3, 3])
    lists = nrp.unpack_sequence(packed)
    assert not any(np.shares_memory(x, part) for part in (packed.data, *cut))
    assert not any(np.shares_memory(packed.data, part) for part in lists)


def test_any_dtype_is_moved():
    when = np.array(["2024-01-01", "2024-02-01"], "datetime64[D]")
    assert_same_list(nrp.unpack_sequence(nrp.pack_sequence([when, when[:1]])), [when, when[:1]])


# --- the class ----------------------------------------------------------------------------------


def test_one_index_array_gives_the_other():
    data = np.arange(6)
    a = nrp.PackedSequence(data, [3, 2, 1], sorted_indices=[2, 0, 1])
    b = nrp.PackedSequence(data, [3, 2, 1], unsorted_indices=[1, 2, 0])
    assert a.unsorted_indices.tolist() == [1, 2, 0]
    assert b.sorted_indices.tolist() == [2, 0, 1]


def test_data_is_kept_and_indices_are_own_and_read_only():
    data, sizes, order = np.arange(6), np.array([3, 2, 1]), np.array([2, 0, 1])
    packed = nrp.PackedSequence(data, sizes, order)
    sizes[0], order[0] = 9, 9
    assert packed.data is data
    assert packed.batch_sizes.tolist() == [3, 2, 1] and packed.sorted_indices.tolist() == [2, 0, 1]
    for index in packed[1:]:
        with pytest.raises(ValueError, match="read-only"):
            index[0] = 9


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))]
)
def test_copy_and_pickle(duplicate):
    again = duplicate(bca())
    assert type(again) is nrp.PackedSequence
    for one, other in zip(again, bca(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not again.batch_sizes.flags.writeable


def test_replace_checks():
    packed = bca()
    assert packed._replace(data=np.zeros((6, 2))).data.shape == (6, 2)
    with pytest.raises(ValueError, match="batch_sizes"):
        packed._replace(data=np.zeros((5, 2)))


def test_repr():
    assert repr(bca()) == (
        "PackedSequence(data=<int64, shape (6,)>, batch_sizes=[3 2 1], "
        "sorted_indices=[2 0 1], unsorted_indices=[1 2 0])"
    )
    many = nrp.PackedSequence(np.zeros((2000, 3), np.float32), np.ones(2000, int))
    assert len(repr(many)) < 150 and "unsorted_indices=None" in repr(many)


@pytest.mark.parametrize(
    "batch_sizes, expected",
    [
        ([2, 3, 1], "must not grow, got 2 followed by 3 at index 1"),
        ([3, 2, 2], "sum to the 6 rows of data, got a sum of 7"),
        ([3, 2], "got a sum of 5"),
        ([3, 3, 0], "positive, got 0 at index 2"),
        ([7, -1], "positive, got -1 at index 1"),
        ([], "at least one step"),
        ([[3, 2, 1]], "1-D"),
        (6, "1-D"),
        ([2**62] * 4 + [6], "got a sum of"),  # wraps around to 6 in 64 bits
        (np.array([2**64 - 2, 8], np.uint64), "below 2\\*\\*63"),
    ],
)
def test_malformed_batch_sizes(batch_sizes, expected):
    with pytest.raises(ValueError, match=f"batch_sizes .*{expected}"):
        nrp.PackedSequence(np.zeros((6, 2)), batch_sizes)


@pytest.mark.parametrize(
    "batch_sizes", [None, [3.0, 2.0, 1.0], [True] * 6, np.ones(6, bool), "321", [[3], [2, 1]]]
)
def test_batch_sizes_of_another_type(batch_sizes):
    with pytest.raises((TypeError, ValueError), match="batch_sizes must"):
        nrp.PackedSequence(np.zeros((6, 2)), batch_sizes)


@pytest.mark.parametrize("name", ["sorted_indices", "unsorted_indices"])
@pytest.mark.parametrize(
    "value, error",
    [
        ([0, 1], ValueError),
        ([0, 1, 2, 3], ValueError),
        ([0, 1, 1], ValueError),
        ([0, 1, 3], ValueError),
        ([0, 1, -1], ValueError),
        ([0, 1, 2**62], ValueError),
        ([[0, 1, 2]], ValueError),
        ([], ValueError),
        ([0.0, 1.0, 2.0], TypeError),
        (np.array([True, False, True]), TypeError),
    ],
)
def test_malformed_index_arrays(name, value, error):
    with pytest.raises(error, match=f"^{name} must"):
        nrp.PackedSequence(np.zeros(6), [3, 2, 1], **{name: value})


def test_index_arrays_that_are_not_inverse():
    with pytest.raises(ValueError, match="unsorted_indices must be the inverse of sorted_indices"):
        nrp.PackedSequence(np.zeros(6), [3, 2, 1], [2, 0, 1], [2, 0, 1])


@pytest.mark.parametrize("data, error", [(np.float64(1.0), ValueError), ([[1], [1, 2]], TypeError)])
def test_malformed_data(data, error):
    with pytest.raises(error, match=r"^data must"):
        nrp.PackedSequence(data, [1])


@pytest.mark.parametrize("function", [nrp.pad_packed_sequence, nrp.unpack_sequence])
def test_a_packed_sequence_that_changed_is_found_out(function):
    packed = bca()
    packed.data.resize(5, refcheck=False)
    with pytest.raises(ValueError, match="batch_sizes must sum to the 5 rows"):
        function(packed)
    packed = bca()
    packed.batch_sizes.flags.writeable = True
    packed.batch_sizes[:] = [1, 2, 3]
    with pytest.raises(ValueError, match="batch_sizes must not grow"):
        function(packed)


# --- refusals -----------------------------------------------------------------------------------

X = np.zeros((4, 3, 2))


@pytest.mark.parametrize(
    "lengths, error, expected",
    [
        ([4, 2], ValueError, "each of the 3 sequences, got 2"),
        ([4, 2, 1, 1], ValueError, "each of the 3 sequences, got 4"),
        ([4, 2, 0], ValueError, "between 1 and 4, the padded length, got 0 at index 2"),
        ([4, 2, -1], ValueError, "got -1 at index 2"),
        ([9, 5, 4], ValueError, "got 9 at index 0, 5 at index 1"),
        ([1, 4, 2], ValueError, "enforce_sorted=True, got 1 followed by 4 at index 1"),
        ([[4, 2, 1]], ValueError, "1-D"),
        (4, ValueError, "1-D"),
        (None, ValueError, "1-D"),
        ([4.0, 2.0, 1.0], TypeError, "integers"),
        (np.array([4.0, 2.0, 1.0]), TypeError, "float64"),
        ([4, 2, True], TypeError, "integers"),
        (np.array([True, True, True]), TypeError, "bool"),
        (["4", "2", "1"], TypeError, "integers"),
        ([[4], [2, 1], 3], TypeError, "integers"),
        (np.array([2**63, 2, 1], np.uint64), ValueError, "below 2\\*\\*63"),
    ],
)
def test_bad_lengths(lengths, error, expected):
    with pytest.raises(error, match=f"^lengths must .*{expected}"):
        nrp.pack_padded_sequence(X, lengths)


@pytest.mark.parametrize("lengths", [[5, 0, 0], [-1, 0, 0], [1, 2], [1.0, 2.0, 3.0], [[1, 2, 3]]])
def test_bad_lengths_to_unpad(lengths):
    with pytest.raises((TypeError, ValueError), match=r"^lengths must"):
        nrp.unpad_sequence(X, lengths)


@pytest.mark.parametrize("shape", [(0, 3, 2), (4, 0, 2), (4, 3, 0)])
def test_empty_input(shape):
    with pytest.raises(ValueError, match=r"^input must not be empty"):
        nrp.pack_padded_sequence(np.zeros(shape), [1] * shape[1])


@pytest.mark.parametrize("x", [np.zeros(3), np.float64(1.0), None, "abc"])
def test_too_few_axes(x):
    with pytest.raises(ValueError, match=r"^input must have at least 2 axes"):
        nrp.pack_padded_sequence(x, [1])
    with pytest.raises(ValueError, match=r"^padded_sequences must have at least 2 axes"):
        nrp.unpad_sequence(x, [1])


@pytest.mark.parametrize("function", [nrp.pack_sequence, nrp.pad_sequence])
@pytest.mark.parametrize(
    "sequences, error, expected",
    [
        ([], ValueError, "sequences must hold at least one"),
        (None, TypeError, "sequences must be a list"),
        (3, TypeError, "sequences must be a list"),
        ([1, 2], ValueError, r"sequences\[0\] must have at least 1 axes"),
        ("ab", ValueError, r"sequences\[0\] must have at least 1 axes"),
        ([np.zeros((2, 3)), np.zeros((2, 4))], ValueError, r"sequences\[1\] must have shape"),
        ([np.zeros((2, 3)), np.zeros(2)], ValueError, r"sequences\[1\] must have shape"),
        ([np.zeros(2), np.zeros(1, int)], TypeError, r"sequences\[1\] must have dtype float64"),
    ],
)
def test_bad_list_of_sequences(function, sequences, error, expected):
    with pytest.raises(error, match=f"^{expected}"):
        function(sequences)


def test_pack_sequence_refuses_empty_and_unsorted():
    with pytest.raises(ValueError, match=r"^sequences\[1\] must not be empty"):
        nrp.pack_sequence([A, A[:0]])
    with pytest.raises(ValueError, match="enforce_sorted=True"):
        nrp.pack_sequence([B, A])


@pytest.mark.parametrize("total", [2, 0, -1, True, 3.0, "3"])
def test_bad_total_length(total):
    with pytest.raises((TypeError, ValueError), match=r"^total_length must"):
        nrp.pad_packed_sequence(bca(), total_length=total)


@pytest.mark.parametrize("value", [0.5, np.nan, 2**64, None, "0", [0], 1j])
def test_bad_padding_value(value):
    with pytest.raises((TypeError, ValueError), match=r"^padding_value must"):
        nrp.pad_packed_sequence(bca(), padding_value=value)
    with pytest.raises((TypeError, ValueError), match=r"^padding_value must"):
        nrp.pad_sequence([A, B], padding_value=value)


def test_padding_value_in_the_dtype():
    half = [np.ones(2, np.float32), np.ones(1, np.float32)]
    assert nrp.pad_sequence(half, padding_value=0.1)[1, 1] == np.float32(0.1)
    assert np.isneginf(nrp.pad_sequence(half, padding_value=-np.inf)[1, 1])
    with pytest.raises(ValueError, match="float32 can hold, got 1e\\+300"):
        nrp.pad_sequence(half, padding_value=1e300)


@pytest.mark.parametrize("value", [1, 0, None, "yes"])
def test_flags_must_be_bool(value):
    with pytest.raises(TypeError, match=r"^batch_first must"):
        nrp.pack_padded_sequence(X, [4, 2, 1], batch_first=value)
    with pytest.raises(TypeError, match=r"^enforce_sorted must"):
        nrp.pack_padded_sequence(X, [4, 2, 1], enforce_sorted=value)
    with pytest.raises(TypeError, match=r"^enforce_sorted must"):
        nrp.pack_sequence([A], enforce_sorted=value)
    with pytest.raises(TypeError, match=r"^batch_first must"):
        nrp.pad_packed_sequence(bca(), batch_first=value)
    with pytest.raises(TypeError, match=r"^batch_first must"):
        nrp.pad_sequence([A], batch_first=value)
    with pytest.raises(TypeError, match=r"^batch_first must"):
        nrp.unpad_sequence(X, [4, 2, 1], batch_first=value)


@pytest.mark.parametrize("value", ["middle", None, 1, "Left"])
def test_bad_padding_side(value):
    with pytest.raises(ValueError, match=r"^padding_side must be 'right' or 'left'"):
        nrp.pad_sequence([A], padding_side=value)


@pytest.mark.parametrize("value", [None, A, (A, [1, 1, 1], None, None)])
def test_only_a_packed_sequence_is_unpacked(value):
    with pytest.raises(TypeError, match=r"^sequence must be a PackedSequence"):
        nrp.pad_packed_sequence(value)
    with pytest.raises(TypeError, match=r"^packed_sequences must be a PackedSequence"):
        nrp.unpack_sequence(value)


# --- the check of lengths that the layers share -------------------------------------------------


@pytest.mark.parametrize(
    "value", [[3, 0, 1], (3, 0, 1), np.array([3, 0, 1], np.uint8), np.array([3, 0, 1], np.uint64)]
)
def test_lengths_of_any_integer_type(value):
    got = validation.lengths("lengths", value, 3, 3, zero_allowed=True)
    assert got.dtype == np.int64 and got.tolist() == [3, 0, 1]
    assert not np.shares_memory(got, value)


def test_lengths_that_are_already_int64_are_copied():
    value = np.array([3, 0, 1])
    assert not np.shares_memory(
        validation.lengths("lengths", value, 3, 3, zero_allowed=True), value
    )


@pytest.mark.parametrize("value", [[], (), range(0), np.zeros(0, int)])
def test_no_lengths_for_no_sequences(value):
    got = validation.lengths("lengths", value, 0, 5, zero_allowed=True)
    assert got.shape == (0,) and got.dtype == np.int64


def test_many_bad_lengths_are_shown_in_part():
    with pytest.raises(ValueError, match="9 at index 4 and 3 more"):
        validation.lengths("sizes", [9] * 8, 8, 5, zero_allowed=True)
