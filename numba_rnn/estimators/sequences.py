"""Series of one length or of many, as one: their rows, one after the other.

    given                                  rows (R, F)         starts    lengths
    an array (N, T, F)                     series by series    0, T, ..  T, T, ...
    a table (N, T), a column a time step   the same, F = 1     0, T, ..  T, T, ...
    a list of arrays (T_i, F) or (T_i,)    series by series    sums      T_0, T_1, ...

A batch is a choice of series, longest first. It is gathered by one index into the packed layout
of `numba_rnn.packed`, so that nothing is padded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .. import batches
from ..layout import Layout

POOL = 8  # batches of which the samples are sorted by length, so that they are alike in it


@dataclass(frozen=True, eq=False)
class Sequences:
    """Series, their rows one after the other.

    Attributes
    ----------
    rows : ndarray, shape (R, F)
    starts, lengths : ndarray of int64, shape (N,)
        Series n is ``rows[starts[n] : starts[n] + lengths[n]]``.
    """

    rows: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray, lengths: np.ndarray) -> Sequences:
        """All rows, in series of these lengths."""
        return cls(rows, np.cumsum(lengths) - lengths, lengths)

    @classmethod
    def of_array(cls, array: np.ndarray) -> Sequences:
        """Series of an array (N, T, F)."""
        samples, steps, features = array.shape
        return cls.of(array.reshape(-1, features), np.full(samples, steps))

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def features(self) -> int:
        """Columns of the rows."""
        return self.rows.shape[1]

    def __getitem__(self, which: np.ndarray) -> Sequences:
        """Some of the series, with the rows of all."""
        return Sequences(self.rows, self.starts[which], self.lengths[which])

    @property
    def index(self) -> np.ndarray:
        """Rows of the series, one series after the other, shape (sum of lengths,)."""
        ends = np.cumsum(self.lengths)
        return np.arange(ends[-1]) + np.repeat(self.starts - (ends - self.lengths), self.lengths)

    def compact(self) -> Sequences:
        """These series with rows of their own, one after the other."""
        return Sequences.of(self.rows[self.index], self.lengths)

    def content(self) -> list[np.ndarray]:
        """Return what tells these series from others."""
        return [self.rows, self.lengths]

    def batches(self, size: int, rng: np.random.Generator | None = None) -> list[np.ndarray]:
        """Cut the series into batches of similar length.

        Parameters
        ----------
        size : int
            Series a batch; the last one may have fewer.
        rng : numpy.random.Generator, optional
            Shuffles, anew with each call. Without it the series come in their order.

        Returns
        -------
        list of ndarray of int64
            Places of the series, longest first in each batch.
        """
        n = len(self)
        order = np.arange(n) if rng is None else rng.permutation(n)
        longest_first = order[np.argsort(-self.lengths[order], kind="stable")]
        if rng is None:
            return [longest_first[k : k + size] for k in range(0, n, size)]
        if n > POOL * size:  # or else batches of long series would be the same in every epoch
            pools = [order[k : k + POOL * size] for k in range(0, n, POOL * size)]
            parts = [pool[np.argsort(-self.lengths[pool], kind="stable")] for pool in pools]
        else:
            parts = [longest_first]
        found = [part[k : k + size] for part in parts for k in range(0, len(part), size)]
        return [found[k] for k in rng.permutation(len(found))]

    def groups(self, rows: int) -> Iterator[np.ndarray]:
        """Cut the series into groups of so many rows at most, or of one series.

        Yields
        ------
        ndarray of int64
            Places of the series, longest first over all groups.
        """
        order, begin = np.argsort(-self.lengths, kind="stable"), 0
        while begin < len(order):
            end = begin + max(1, rows // int(self.lengths[order[begin]]))
            yield order[begin:end]
            begin = end

    def chunks(self, steps: int | None) -> Iterator[tuple[np.ndarray, Layout, bool]]:
        """Cut series, which come longest first, into chunks of so many steps, and pack each.

        Counted from the end of each series, since the end is what most depends on; None for one
        chunk. The series of a chunk are the first ones, as many as have begun by then.

        Yields
        ------
        index : ndarray of int64
            Rows of the chunk, packed.
        layout : Layout
            Of what the index gathers.
        is_last : bool
        """
        if steps is None:
            yield *pack(self.starts, self.lengths), True
            return
        for later in range((int(self.lengths[0]) - 1) // steps * steps, -1, -steps):
            lengths = np.clip(self.lengths - later, 0, steps)
            alive = int(np.count_nonzero(lengths))
            past = np.maximum(self.lengths[:alive] - later - steps, 0)
            yield *pack(self.starts[:alive] + past, lengths[:alive]), later == 0


def pack(starts: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, Layout]:
    """Rows of series that come longest first, time-major, and how they lie then."""
    step = np.arange(lengths[0])[:, None]
    table = step + starts
    if lengths[-1] == lengths[0]:
        return table.ravel(), batches.padded(len(table), len(lengths), False)
    real = step < lengths
    ends = np.cumsum(real.sum(axis=1))
    place = np.arange(len(lengths))
    step_row = np.concatenate(([0], ends[:-1]))
    return table[real], Layout(int(ends[-1]), step_row, place, lengths, place)


ROUNDING = 4 * np.finfo(np.float64).eps  # of a value in float64, and of the sums it came from


def spread(
    rows: np.ndarray,
    rounding: np.ndarray | float | None = None,
    weights: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column, in float64, of rows with weights above 0.

    The deviation is 0 for a column that is constant but for rounding: by `rounding`, or a few of
    the last bits of its values.
    """
    lowest, highest = rows.min(axis=0), rows.max(axis=0)
    size = np.maximum(np.abs(lowest), np.abs(highest))
    with np.errstate(over="ignore"):  # of a range that is infinite it is none
        width = highest - lowest
    constant = width <= (ROUNDING * size if rounding is None else rounding)
    if weights is None:
        average = rows.mean(axis=0, dtype=np.float64)
    else:
        share = (weights / weights.max() / np.sum(weights / weights.max()))[:, None]
        average = np.sum(share * rows, axis=0, dtype=np.float64)
    mean = np.where(lowest == highest, rows[0], average)
    distance = np.abs(rows - mean)
    unit = np.where(constant, 1.0, distance.max(axis=0))  # so that no square overflows
    squares = (distance / unit) ** 2
    scale = unit * np.sqrt(squares.mean(axis=0) if weights is None else np.sum(share * squares, 0))
    return mean, np.where(constant, 0.0, scale)


def units(scale: np.ndarray) -> np.ndarray:
    """Return what values are divided by: their scale, or 1 where they are constant."""
    return np.where(scale == 0, 1.0, scale)


def weighted_quantiles(
    rows: np.ndarray, weights: np.ndarray, levels: tuple[float, ...]
) -> np.ndarray:
    """Quantiles of each column (K,), at which so much of the weight is reached, shape (Q, K).

    Weights are (R,), or (R, K) where each column has its own.
    """
    order = np.argsort(rows, axis=0)
    weights = np.broadcast_to(weights.reshape(len(rows), -1), rows.shape)
    reached = np.cumsum(np.take_along_axis(weights, order, 0), axis=0) / weights.sum(axis=0)
    found = np.empty((len(levels), rows.shape[1]))
    for q, level in enumerate(levels):
        first = np.argmax(reached >= level - 1e-12, axis=0)
        found[q] = np.take_along_axis(rows, order, 0)[first, np.arange(rows.shape[1])]
    return found
