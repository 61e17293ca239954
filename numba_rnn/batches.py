"""The layout of a call's batch: lengths and packed sequences checked, and what they say kept.

Making a layout takes NumPy tens of microseconds, so those of small calls are kept for the next call
with the same content. Their index arrays are made from the bytes that were looked up: no later
change of the caller's arrays can reach them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from . import validation
from .layout import LARGEST_KEPT, Layout
from .packed import PackedSequence, conjugate, offsets


def padded(steps: int, batch: int, batch_first: bool, lengths: Any = None) -> Layout:
    """Layout of (L, N, .) or, batch first, (N, L, .), perhaps with a length for each sample.

    Raises
    ------
    TypeError, ValueError
        If lengths are not one integer for each sample, 0 to L.
    """
    content = None if lengths is None else validation.index_array("lengths", lengths).tobytes()
    make = _kept_padded if steps + 3 * batch <= LARGEST_KEPT else _padded
    return make(steps, batch, batch_first, content)


def _padded(steps: int, batch: int, batch_first: bool, content: bytes | None) -> Layout:
    rows = _kept_rows if steps + batch <= LARGEST_KEPT else _rows
    step_row, batch_row = rows(steps, batch, batch_first)
    if content is None:
        full, place = np.full(batch, steps, np.int64), np.arange(batch, dtype=np.int64)
        return Layout(steps * batch, step_row, batch_row, full, place)
    lengths = np.frombuffer(content, np.int64).copy()  # kernels are made for writable arrays
    validation.lengths_fit("lengths", lengths, batch, steps, zero_allowed=True)
    return Layout(steps * batch, step_row, batch_row, lengths)


def _rows(steps: int, batch: int, batch_first: bool) -> tuple[np.ndarray, np.ndarray]:
    """step_row and batch_row of a padded batch, which nobody writes to."""
    step, sample = np.arange(steps, dtype=np.int64), np.arange(batch, dtype=np.int64)
    return (step, sample * steps) if batch_first else (step * batch, sample)


def packed(sequence: PackedSequence) -> Layout:
    """Layout of the data of a packed sequence, with its index arrays as `packing`.

    Raises
    ------
    TypeError, ValueError
        If the sequence is malformed.
    """
    data, *index = sequence
    rows = (getattr(data, "shape", None) or (None,))[0]
    if rows is None or not all(array is None or _is_plain(array) for array in index):
        data, *index = validation.packed_sequence(*sequence)
        rows = validation.shape_of(data)[0]
    content = [None if array is None else array.tobytes() for array in index]
    make = _kept_packed if sum(map(len, filter(None, content))) <= 8 * LARGEST_KEPT else _packed
    return make(rows, *content)


def _packed(rows: int, *content: bytes | None) -> Layout:
    index = (None if part is None else np.frombuffer(part, np.int64) for part in content)
    sizes, order, back = validation.packing(rows, *index)
    packing = tuple(None if part is None else _fixed(part) for part in (sizes, order, back))
    place = np.arange(sizes[0], dtype=np.int64)
    order = place if order is None else order
    return Layout(rows, offsets(sizes), place, conjugate(sizes), order, packing)


def _fixed(array: np.ndarray) -> np.ndarray:
    """Copy integers into memory that nothing can write to."""
    return np.frombuffer(array.tobytes(), np.int64)


def _is_plain(array: Any) -> bool:
    return type(array) is np.ndarray and array.dtype == np.int64 and array.ndim == 1


# Batches with new lengths, but of one size, come one after the other.
_kept_rows = lru_cache(maxsize=8)(_rows)
_kept_padded, _kept_packed = lru_cache(maxsize=32)(_padded), lru_cache(maxsize=32)(_packed)
