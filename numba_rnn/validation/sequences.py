"""Lengths, packed sequences, and lists of sequences."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dispatch
from . import advice
from .advice import convert
from .arrays import any_array, on_host, shape_of
from .values import describe, positive_int


def index_array(name: str, value: Any) -> np.ndarray:
    """Return a 1-D sequence of integers as a new int64 array; booleans and floats are refused."""
    array = on_host(name, value, "a 1-D sequence of integers")
    if array.ndim != 1:
        raise ValueError(f"{name} must be 1-D, got {describe(value)}")
    bare = not hasattr(value, "dtype")  # a list, a tuple, a range
    if bare and array.size == 0:
        return np.zeros(0, np.int64)
    # NumPy reads [True, 2] as integers, so a list is looked through for booleans.
    if array.dtype.kind not in "iu" or (
        bare and any(isinstance(entry, (bool, np.bool_)) for entry in value)
    ):
        raise TypeError(
            f"{name} must hold integers, got {describe(value)}; "
            f"convert with np.asarray({name}, dtype=np.int64) if they are whole numbers"
        )
    result = array.astype(np.int64)
    if array.dtype.kind == "u" and (result < 0).any():
        raise ValueError(f"{name} must hold integers below 2**63, {offenders(array, result < 0)}")
    return result


def offenders(array: np.ndarray, bad: np.ndarray) -> str:
    """Say which entries of a 1-D array are wrong, and where; the first five of them."""
    where = np.flatnonzero(bad)
    shown = ", ".join(f"{array[k]} at index {k}" for k in where[:5])
    return f"got {shown}" + (f" and {where.size - 5} more" if where.size > 5 else "")


def lengths(name: str, value: Any, batch: int, longest: int, *, zero_allowed: bool) -> np.ndarray:
    """Return one length a sequence as a new int64 array, shape (N,), in the given order."""
    result = index_array(name, value)
    lengths_fit(name, result, batch, longest, zero_allowed=zero_allowed)
    return result


def lengths_fit(
    name: str, array: np.ndarray, batch: int, longest: int, *, zero_allowed: bool
) -> None:
    """Refuse integers, shape (N,), that are not one length a sequence."""
    if array.size != batch:
        raise ValueError(
            f"{name} must hold one length for each of the {batch} sequences, got {array.size}"
        )
    low = 0 if zero_allowed else 1
    if array.size and not (low <= array.min() and array.max() <= longest):
        bad = (array < low) | (array > longest)
        raise ValueError(
            f"{name} must lie between {low} and {longest}, the padded length, "
            f"{offenders(array, bad)}"
        )


def series_offsets(name: str, value: Any, rows: int) -> np.ndarray:
    """Return where series begin and the last one ends, as int64, shape (N + 1,)."""
    result = index_array(name, value)
    if result.size == 0 or result[0] < 0 or result[-1] > rows or (np.diff(result) < 0).any():
        raise ValueError(
            f"{name} must rise from 0 or more to {rows}, the rows of data, at most, and hold one "
            f"more than there are series, got {describe(value)}"
        )
    return result


def decreasing_lengths(name: str, value: np.ndarray) -> None:
    """Refuse lengths that grow somewhere: what enforce_sorted=True asks for."""
    if (value[1:] > value[:-1]).any():
        k = int(np.argmax(value[1:] > value[:-1]))
        raise ValueError(
            f"{name} must not grow with enforce_sorted=True, got {value[k]} followed by "
            f"{value[k + 1]} at index {k + 1}; sort the sequences or pass enforce_sorted=False"
        )


def packed_sequence(
    data: Any, batch_sizes: Any, sorted_indices: Any = None, unsorted_indices: Any = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Return the four parts of a well-formed packed sequence as arrays.

    `data` is passed on as it is, not copied, and may be on a GPU.
    """
    if not dispatch.on_gpu(data):
        data = any_array("data", data, 1)
    elif len(shape_of(data)) < 1:
        raise ValueError(f"data must have at least 1 axes, got {describe(data)}")
    return data, *packing(shape_of(data)[0], batch_sizes, sorted_indices, unsorted_indices)


def packing(
    rows: int, batch_sizes: Any, sorted_indices: Any = None, unsorted_indices: Any = None
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Return the index arrays of a packed sequence with that many rows of data.

    They are new int64 arrays, so that what was checked is what is used, whatever happens to the
    caller's own. Of the two orders, one that is missing is derived from the other.
    """
    sizes = index_array("batch_sizes", batch_sizes)
    if sizes.size == 0:
        raise ValueError("batch_sizes must hold at least one step, got none")
    if (sizes <= 0).any():
        raise ValueError(f"batch_sizes must be positive, {offenders(sizes, sizes <= 0)}")
    if (sizes[1:] > sizes[:-1]).any():
        k = int(np.argmax(sizes[1:] > sizes[:-1]))
        raise ValueError(
            f"batch_sizes must not grow, got {sizes[k]} followed by {sizes[k + 1]} at index {k + 1}"
        )
    ends = np.cumsum(sizes)  # a sum that overflows shows as a negative end
    if ends[-1] != rows or ends.min() < 0:
        total = sum(sizes.tolist())
        raise ValueError(f"batch_sizes must sum to the {rows} rows of data, got a sum of {total}")
    batch = int(sizes[0])
    if sorted_indices is not None and unsorted_indices is not None:
        order = index_array("sorted_indices", sorted_indices)
        back = index_array("unsorted_indices", unsorted_indices)
        if _undo_each_other(order, back, batch):  # the rest only finds out what is wrong
            return sizes, order, back
    order = None if sorted_indices is None else _order("sorted_indices", sorted_indices, batch)
    back = None if unsorted_indices is None else _order("unsorted_indices", unsorted_indices, batch)
    if order is not None and back is not None:
        wrong = back[order] != np.arange(batch)
        if wrong.any():
            k = int(np.argmax(wrong))
            raise ValueError(
                "unsorted_indices must be the inverse of sorted_indices, got "
                f"unsorted_indices[sorted_indices[{k}]] = {back[order[k]]}"
            )
    elif order is not None:
        back = _inverse(order)
    elif back is not None:
        order = _inverse(back)
    return sizes, order, back


def _order(name: str, value: Any, batch: int) -> np.ndarray:
    """Return a permutation of range(batch)."""
    order = index_array(name, value)
    if order.size != batch:
        raise ValueError(
            f"{name} must hold one index for each of the {batch} sequences, got {order.size}"
        )
    bad = (order < 0) | (order >= batch)
    if not bad.any():
        bad = np.bincount(order, minlength=batch)[order] > 1
    if bad.any():
        raise ValueError(f"{name} must be a permutation of range({batch}), {offenders(order, bad)}")
    return order


def _undo_each_other(order: np.ndarray, back: np.ndarray, batch: int) -> bool:
    """Whether two arrays are permutations of range(batch), each the inverse of the other."""
    if not order.size == back.size == batch:
        return False
    if min(order.min(), back.min()) < 0 or max(order.max(), back.max()) >= batch:
        return False
    return bool((back[order] == np.arange(batch)).all())


def _inverse(order: np.ndarray) -> np.ndarray:
    """Return the inverse of a permutation."""
    back = np.empty_like(order)
    back[order] = np.arange(order.size)
    return back


def sequence_list(name: str, value: Any) -> list[np.ndarray]:
    """Return at least one sequence (length, ...) as arrays with one dtype and trailing shape."""
    try:
        entries = list(value)
    except TypeError as error:
        raise TypeError(f"{name} must be a list of arrays, got {describe(value)}") from error
    if not entries:
        raise ValueError(f"{name} must hold at least one sequence, got none")
    arrays = [any_array(f"{name}[{k}]", entry, 1) for k, entry in enumerate(entries)]
    first = arrays[0]
    for k, array in enumerate(arrays):
        if array.shape[1:] != first.shape[1:]:
            expected = ", ".join(["length", *map(str, first.shape[1:])])
            raise ValueError(
                f"{name}[{k}] must have shape ({expected}) as {name}[0] has, got {array.shape}"
            )
        if array.dtype != first.dtype:
            raise TypeError(
                f"{name}[{k}] must have dtype {first.dtype} as {name}[0] has, got {array.dtype}; "
                f"convert with {name}[{k}].astype({str(first.dtype)!r})"
            )
    return arrays


def not_empty(name: str, array: np.ndarray) -> None:
    """Refuse an array without a single element."""
    if array.size == 0:
        raise ValueError(f"{name} must not be empty, got shape {array.shape}")


def padding_value(name: str, value: Any, dtype: np.dtype) -> Any:
    """Return a number that an array of this dtype can hold; 0.5 among integers is refused."""
    if not isinstance(value, (int, float, complex, np.number, np.bool_)):
        raise TypeError(f"{name} must be a number, got {describe(value)}")
    if dtype.kind not in "biufc":
        return value
    if dtype.kind != "c" and isinstance(value, (complex, np.complexfloating)):
        raise TypeError(f"{name} must be real for data of dtype {dtype}, got {value}")
    fits = True
    try:
        with np.errstate(all="ignore"):
            cast = np.asarray(value).astype(dtype)
            if dtype.kind in "biu":
                fits = bool(cast == value)
            else:  # rounding is fine, turning into infinity is not
                fits = bool(np.isfinite(cast) or not np.isfinite(value))
    except (OverflowError, TypeError, ValueError):
        fits = False
    if not fits:
        raise ValueError(f"{name} must be a value that dtype {dtype} can hold, got {value}")
    return cast[()]


def instance(name: str, value: Any, kind: type) -> None:
    """Refuse what is not of the one class that a function works on."""
    if not isinstance(value, kind):
        fix = advice.how_to_convert(name, value) if advice.is_torchs_packed(value) else None
        raise TypeError(f"{name} must be a {kind.__name__}, got {describe(value)}{convert(fix)}")


def total_length(name: str, value: Any, longest: int) -> int:
    """Return a padded length that no sequence is longer than."""
    total = positive_int(name, value)
    if total < longest:
        raise ValueError(f"{name} must be at least {longest}, the longest length, got {total}")
    return total


def same_packing(name: str, value: Any, packing: tuple | None) -> np.ndarray:
    """Return the data of a PackedSequence that is laid out as another one, given by its indices."""
    if packing is None:
        raise TypeError(
            f"{name} must be an array, as x was no PackedSequence, got {describe(value)}"
        )
    data, sizes, order, _ = packed_sequence(*value)
    if not np.array_equal(sizes, packing[0]):
        raise ValueError(
            f"{name} must have the batch_sizes of x, {packing[0].tolist()}, got {sizes.tolist()}"
        )
    plain = np.arange(sizes[0])
    if not np.array_equal(
        plain if order is None else order, plain if packing[1] is None else packing[1]
    ):
        raise ValueError(f"{name} must have the sorted_indices of x, {packing[1]}, got {order}")
    return data
