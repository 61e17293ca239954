"""Sequences of different lengths: packed into one array without padding, or padded to one length.

A packed batch is time-major. With the sequences sorted by length, longest first, the rows of
step 0 come first, one a sequence, then those of step 1 of every sequence that has one, and so on:

    sequences        sorted           data (rows)                 batch_sizes
    b: 4 5           a: 1 2 3         1 4 6   2 5   3             3 2 1
    c: 6             b: 4 5           t = 0   t = 1 t = 2
    a: 1 2 3         c: 6

Row offset[t] + i holds step t of sorted sequence i, offset being the running sum of batch_sizes.

Names, arguments and defaults are those of ``torch.nn.utils.rnn``; the arrays are NumPy's and may
have any dtype, since nothing is computed here, only moved. Nothing is ever changed in place. A
`PackedSequence` may hold data on a GPU, for the layers; the index arrays are always on the host.

Symbols: L steps, N batch, R rows of a packed batch (the sum of the lengths), * any further axes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from . import validation

__all__ = [
    "PackedSequence",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "unpack_sequence",
    "unpad_sequence",
]


class _Fields(NamedTuple):
    data: np.ndarray
    batch_sizes: np.ndarray
    sorted_indices: np.ndarray | None = None
    unsorted_indices: np.ndarray | None = None


class PackedSequence(_Fields):
    """A batch of sequences of different lengths in one array, without padding.

    Usually made by `pack_sequence` or `pack_padded_sequence`. A named tuple:
    ``data, batch_sizes, sorted_indices, unsorted_indices = packed`` works.

    Parameters
    ----------
    data : ndarray, shape (R, ...)
        The rows of all sequences, time-major; R is the sum of the lengths. Kept, not copied.
    batch_sizes : array_like of int, shape (L,)
        How many sequences have a step t; positive and never growing, with the sum R.
    sorted_indices : array_like of int, shape (N,), optional
        Sorted sequence i is the caller's sequence ``sorted_indices[i]``. None: the caller's
        order is the sorted one.
    unsorted_indices : array_like of int, shape (N,), optional
        The inverse permutation. Of the two, one that is left out is derived from the other.

    Attributes
    ----------
    data : ndarray, shape (R, ...)
    batch_sizes : ndarray of int64, shape (L,), read-only
    sorted_indices, unsorted_indices : ndarray of int64, shape (N,), read-only, or None

    Raises
    ------
    TypeError
        If an index array does not hold integers, or data is no array.
    ValueError
        If batch_sizes is not positive, grows, or does not sum to the rows of data, or the index
        arrays are not permutations and inverse to each other.

    Examples
    --------
    >>> import numpy as np
    >>> import numba_rnn as nr
    >>> packed = nr.PackedSequence(np.arange(6.0), [3, 2, 1], sorted_indices=[2, 0, 1])
    >>> packed
    PackedSequence(data=<float64, shape (6,)>, batch_sizes=[3 2 1], sorted_indices=[2 0 1], \
unsorted_indices=[1 2 0])
    >>> data, batch_sizes, sorted_indices, unsorted_indices = packed
    >>> unsorted_indices
    array([1, 2, 0])
    """

    __slots__ = ()

    def __new__(
        cls,
        data: np.ndarray,
        batch_sizes: Sequence[int] | np.ndarray,
        sorted_indices: Sequence[int] | np.ndarray | None = None,
        unsorted_indices: Sequence[int] | np.ndarray | None = None,
    ) -> PackedSequence:
        parts = validation.packed_sequence(data, batch_sizes, sorted_indices, unsorted_indices)
        for index in parts[1:]:
            if index is not None:
                index.flags.writeable = False
        return super().__new__(cls, *parts)

    @classmethod
    def _of_checked(cls, data: np.ndarray, *index: np.ndarray | None) -> PackedSequence:
        """Lay data out as a packed sequence that was checked, with the layout's index arrays."""
        return super().__new__(cls, data, *index)

    @classmethod
    def _make(cls, iterable: Iterable[Any]) -> PackedSequence:
        """Check here too: `_replace` makes its result this way."""
        return cls(*iterable)

    def __repr__(self) -> str:
        def text(index: np.ndarray | None) -> str:
            if index is None:
                return "None"
            return np.array2string(index, threshold=20, max_line_width=1000)

        return (
            f"PackedSequence(data=<{self.data.dtype}, shape {self.data.shape}>, "
            f"batch_sizes={text(self.batch_sizes)}, "
            f"sorted_indices={text(self.sorted_indices)}, "
            f"unsorted_indices={text(self.unsorted_indices)})"
        )


# --- packed and padded --------------------------------------------------------------------------


def pack_padded_sequence(
    input: np.ndarray,
    lengths: Sequence[int] | np.ndarray,
    batch_first: bool = False,
    enforce_sorted: bool = True,
) -> PackedSequence:
    """Pack a padded batch: keep the real steps, drop the padding.

    Parameters
    ----------
    input : ndarray, shape (L, N, ...), or (N, L, ...) with batch_first
        The padded batch, of any dtype. What lies beyond a length is never read.
    lengths : array_like of int, shape (N,)
        The length of every sequence, 1 to L.
    batch_first : bool, default False
        Whether the batch is the first axis of input.
    enforce_sorted : bool, default True
        True asks for sequences sorted by length, longest first, and refuses others; False takes
        any order and remembers it.

    Returns
    -------
    PackedSequence
        With a copy of the real steps.

    Raises
    ------
    TypeError
        If lengths does not hold integers (float and bool are refused) or a flag is not a bool.
    ValueError
        If input is empty or has fewer than two axes, or lengths has the wrong count, is not 1-D,
        holds a length below 1 or above L, or grows where enforce_sorted is True.

    Examples
    --------
    >>> import numpy as np
    >>> import numba_rnn as nr
    >>> x = np.array([[4, 5, 0], [6, 0, 0], [1, 2, 3]])
    >>> packed = nr.pack_padded_sequence(x, [2, 1, 3], batch_first=True, enforce_sorted=False)
    >>> packed.data, packed.batch_sizes
    (array([1, 4, 6, 2, 5, 3]), array([3, 2, 1]))
    >>> packed.sorted_indices, packed.unsorted_indices
    (array([2, 0, 1]), array([1, 2, 0]))
    """
    x = _time_major("input", input, batch_first)
    validation.not_empty("input", x)
    size = validation.lengths("lengths", lengths, x.shape[1], x.shape[0], zero_allowed=False)
    order, batch_sizes = _sort(size, enforce_sorted)
    step, position = _steps_and_positions(batch_sizes)
    sequence = position if order is None else order[position]
    return PackedSequence(x[step, sequence], batch_sizes, order)


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Pad a packed batch, with the sequences back in the caller's order.

    Parameters
    ----------
    sequence : PackedSequence
        R rows of N sequences.
    batch_first : bool, default False
        Whether the batch becomes the first axis.
    padding_value : float, default 0.0
        What to write beyond a length; the dtype of the data must be able to hold it.
    total_length : int, optional
        The padded length L, at least the longest length, which is the default.

    Returns
    -------
    padded : ndarray, shape (L, N, ...), or (N, L, ...) with batch_first
    lengths : ndarray of int64, shape (N,)

    Raises
    ------
    TypeError
        If sequence is no PackedSequence, or another argument has the wrong type.
    ValueError
        If total_length is below the longest length, padding_value does not fit the dtype, or the
        packed sequence is malformed.

    Examples
    --------
    >>> import numpy as np
    >>> import numba_rnn as nr
    >>> packed = nr.pack_sequence([np.array([4, 5]), np.array([1, 2, 3])], enforce_sorted=False)
    >>> padded, lengths = nr.pad_packed_sequence(packed, batch_first=True, padding_value=-1)
    >>> padded
    array([[ 4,  5, -1],
           [ 1,  2,  3]])
    >>> lengths
    array([2, 3])
    """
    validation.instance("sequence", sequence, PackedSequence)
    data, batch_sizes, order, back = validation.packed_sequence(*sequence)
    data = validation.any_array("sequence.data", data, 1)
    batch_first = validation.flag("batch_first", batch_first)
    fill = validation.padding_value("padding_value", padding_value, data.dtype)
    longest = batch_sizes.size
    if total_length is not None:
        longest = validation.total_length("total_length", total_length, longest)

    step, position = _steps_and_positions(batch_sizes)
    column = position if order is None else order[position]
    padded, by_step = _filled(longest, batch_sizes[0], data, fill, batch_first)
    by_step[step, column] = data
    lengths = conjugate(batch_sizes)
    return padded, lengths if back is None else lengths[back]


# --- lists of sequences -------------------------------------------------------------------------


def pack_sequence(sequences: Iterable[np.ndarray], enforce_sorted: bool = True) -> PackedSequence:
    """Pack a list of sequences.

    Parameters
    ----------
    sequences : list of N ndarrays, shape (length, ...)
        None of them empty, all of one dtype and one trailing shape.
    enforce_sorted : bool, default True
        True asks for sequences sorted by length, longest first, and refuses others; False takes
        any order and remembers it.

    Returns
    -------
    PackedSequence
        With a copy of the sequences.

    Raises
    ------
    TypeError
        If sequences is no list of arrays, or their dtypes differ.
    ValueError
        If there is no sequence, one is empty, their trailing shapes differ, or the lengths grow
        where enforce_sorted is True.

    Examples
    --------
    >>> import numpy as np
    >>> import numba_rnn as nr
    >>> a, b, c = np.array([1, 2, 3]), np.array([4, 5]), np.array([6])
    >>> data, batch_sizes, *_ = nr.pack_sequence([b, c, a], enforce_sorted=False)
    >>> data, batch_sizes
    (array([1, 4, 6, 2, 5, 3]), array([3, 2, 1]))
    """
    arrays = validation.sequence_list("sequences", sequences)
    for k, array in enumerate(arrays):
        validation.not_empty(f"sequences[{k}]", array)
    size = np.array([len(array) for array in arrays], np.int64)
    order, batch_sizes = _sort(size, enforce_sorted)
    step, position = _steps_and_positions(batch_sizes)
    sequence = position if order is None else order[position]
    start = np.cumsum(size) - size  # where each sequence begins in the concatenation
    return PackedSequence(np.concatenate(arrays)[start[sequence] + step], batch_sizes, order)


def unpack_sequence(packed_sequences: PackedSequence) -> list[np.ndarray]:
    """Unpack into a list of sequences, in the caller's order; the inverse of `pack_sequence`.

    Parameters
    ----------
    packed_sequences : PackedSequence

    Returns
    -------
    list of N ndarrays, shape (length, ...)
        Copies.

    Raises
    ------
    TypeError
        If packed_sequences is no PackedSequence.
    ValueError
        If it is malformed.

    Examples
    --------
    >>> import numpy as np
    >>> import numba_rnn as nr
    >>> packed = nr.pack_sequence([np.array([4, 5]), np.array([1, 2, 3])], enforce_sorted=False)
    >>> nr.unpack_sequence(packed)
    [array([4, 5]), array([1, 2, 3])]
    """
    validation.instance("packed_sequences", packed_sequences, PackedSequence)
    data, batch_sizes, _, back = validation.packed_sequence(*packed_sequences)
    data = validation.any_array("packed_sequences.data", data, 1)
    lengths = conjugate(batch_sizes)
    offset = offsets(batch_sizes)
    positions = range(len(lengths)) if back is None else back
    return [data[offset[: lengths[i]] + i] for i in positions]


def pad_sequence(
    sequences: Iterable[np.ndarray],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> np.ndarray:
    """Pad a list of sequences to the length of the longest and stack them.

    Parameters
    ----------
    sequences : list of N ndarrays, shape (length, ...)
        All of one dtype and one trailing shape; some may be empty.
    batch_first : bool, default False
        Whether the batch becomes the first axis.
    padding_value : float, default 0.0
        What to write beyond a length; the dtype of the sequences must be able to hold it.
    padding_side : {"right", "left"}, default "right"
        Whether the padding comes after a sequence or before it. The layers here read sequences
        that are padded on the right.

    Returns
    -------
    ndarray, shape (L, N, ...), or (N, L, ...) with batch_first

    Raises
    ------
    TypeError
        If sequences is no list of arrays, their dtypes differ, or another argument has the wrong
        type.
    ValueError
        If there is no sequence, their trailing shapes differ, padding_value does not fit the
        dtype, or padding_side is something else.

    Examples
    --------
    >>> import numpy as np
    >>> import numba_rnn as nr
    >>> nr.pad_sequence([np.array([4, 5]), np.array([1, 2, 3])], batch_first=True)
    array([[4, 5, 0],
           [1, 2, 3]])
    """
    arrays = validation.sequence_list("sequences", sequences)
    batch_first = validation.flag("batch_first", batch_first)
    fill = validation.padding_value("padding_value", padding_value, arrays[0].dtype)
    left = validation.choice("padding_side", padding_side, ("right", "left")) == "left"
    longest = max(len(array) for array in arrays)
    padded, by_step = _filled(longest, len(arrays), arrays[0], fill, batch_first)
    for n, array in enumerate(arrays):
        start = longest - len(array) if left else 0
        by_step[start : start + len(array), n] = array
    return padded


def unpad_sequence(
    padded_sequences: np.ndarray,
    lengths: Sequence[int] | np.ndarray,
    batch_first: bool = False,
) -> list[np.ndarray]:
    """Cut a padded batch into a list of sequences; the inverse of `pad_sequence`.

    Parameters
    ----------
    padded_sequences : ndarray, shape (L, N, ...), or (N, L, ...) with batch_first
        A batch that is padded on the right.
    lengths : array_like of int, shape (N,)
        The length of every sequence, 0 to L.
    batch_first : bool, default False
        Whether the batch is the first axis.

    Returns
    -------
    list of N ndarrays, shape (length, ...)
        Copies.

    Raises
    ------
    TypeError
        If lengths does not hold integers (float and bool are refused).
    ValueError
        If padded_sequences has fewer than two axes, or lengths has the wrong count, is not 1-D,
        or holds a length below 0 or above L.

    Examples
    --------
    >>> import numpy as np
    >>> import numba_rnn as nr
    >>> nr.unpad_sequence(np.array([[4, 5, 0], [1, 2, 3]]), [2, 3], batch_first=True)
    [array([4, 5]), array([1, 2, 3])]
    """
    x = _time_major("padded_sequences", padded_sequences, batch_first)
    size = validation.lengths("lengths", lengths, x.shape[1], x.shape[0], zero_allowed=True)
    return [x[:length, n].copy() for n, length in enumerate(size)]


# --- where things lie ---------------------------------------------------------------------------


def offsets(batch_sizes: np.ndarray) -> np.ndarray:
    """Return the first row of every step, shape (L,): row offset[t] + i is step t of sequence i."""
    return np.cumsum(batch_sizes) - batch_sizes


def _steps_and_positions(batch_sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the step and the sorted position of every row, shapes (R,): offset[t] + i undone."""
    step = np.repeat(np.arange(batch_sizes.size), batch_sizes)
    position = np.arange(step.size) - offsets(batch_sizes)[step]
    return step, position


def conjugate(counts: np.ndarray) -> np.ndarray:
    """Turn sorted lengths into batch sizes, or batch sizes into sorted lengths.

    Both say the same of a staircase, one by columns, the other by rows: the result holds, for
    every k below counts[0], how many counts are above k.
    """
    return np.searchsorted(-counts, -np.arange(counts[0]), side="left").astype(np.int64)


def _sort(lengths: np.ndarray, enforce_sorted: bool) -> tuple[np.ndarray | None, np.ndarray]:
    """Return sorted_indices (None where the order is enforced) and batch_sizes."""
    if validation.flag("enforce_sorted", enforce_sorted):
        validation.decreasing_lengths("lengths", lengths)
        return None, conjugate(lengths)
    order = np.argsort(-lengths, kind="stable")  # of equal lengths, the first stays first
    return order, conjugate(lengths[order])


def _time_major(name: str, value: Any, batch_first: bool) -> np.ndarray:
    """Return a view (L, N, ...) of a padded batch."""
    x = validation.any_array(name, value, 2)
    return x.swapaxes(0, 1) if validation.flag("batch_first", batch_first) else x


def _filled(
    steps: int, batch: int, like: np.ndarray, fill: Any, batch_first: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return a new padded batch, all padding as yet, and a view (L, N, ...) to write it through."""
    leading = (batch, steps) if batch_first else (steps, batch)
    padded = np.full(leading + like.shape[1:], fill, like.dtype)
    return padded, padded.swapaxes(0, 1) if batch_first else padded
