"""Where in memory step t of sample n lies: padded, batch first and packed input are one.

Input, output and their gradients are 2-D inside: (R, features), one row a step of a sample. Row
step_row[t] + batch_row[i] holds step t of the i-th longest sample:

    padded (L, N, .)        step_row = 0, N, 2N, ...      batch_row = the sample's place
    batch first (N, L, .)   step_row = 0, 1, 2, ...       batch_row = L times the sample's place
    packed (sum, .)         step_row = offsets of steps   batch_row = 0, 1, 2, ...

so nothing is ever transposed, padded or packed in order to be computed on.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

ROWS_KEPT = 1 << 14  # rows of layouts that keep their tables, as layouts of small calls live on


class Layout:
    """The rows of a batch.

    Attributes
    ----------
    rows : int
        Rows of memory, padding included.
    step_row : ndarray of int64, shape (L,)
    batch_row, lengths, order : ndarray of int64, shape (N,)
        Samples come longest first; `order` gives their places in the caller's batch.
    index : ndarray of int64, shape (L + 3·N,)
        These four, one after the other: kernels get them as one.
    batch, longest, real_steps : int
    has_padding : bool
        Whether some rows are no real step.
    empty : ndarray of int64
        Places of the samples without a single step in the caller's batch.
    """

    def __init__(
        self,
        rows: int,
        step_row: np.ndarray,
        batch_row: np.ndarray,
        lengths: np.ndarray,
        order: np.ndarray,
    ) -> None:
        self.rows, self.step_row, self.batch_row = rows, step_row, batch_row
        self.lengths, self.order = lengths, order
        self.index = np.concatenate((step_row, batch_row, lengths, order))
        self.batch = len(lengths)
        self._ends = np.cumsum(lengths)
        self.longest = int(lengths[0]) if self.batch else 0
        self.real_steps = int(self._ends[-1]) if self.batch else 0
        self.has_padding = self.real_steps < rows
        self.empty = order[lengths == 0] if self.batch and lengths[-1] == 0 else order[:0]
        self._blocks: dict[int, np.ndarray] = {}
        self._transitions: dict[bool, tuple[np.ndarray, ...]] = {}

    def blocks(self, count: int) -> np.ndarray:
        """Cut the samples into `count` ranges with nearly equal numbers of real steps.

        Returns the ends of the ranges, shape (count + 1,).
        """
        bounds = self._blocks.get(count)
        if bounds is None:
            bounds = np.zeros(count + 1, np.int64)
            if count > 1:
                shares = self.real_steps * np.arange(1, count) / count
                # The sample in which a share ends goes to the side where more of it lies.
                middles = self._ends - self.lengths / 2
                bounds[1:-1] = np.searchsorted(middles, shares)
            bounds[-1] = self.batch
            self._blocks[count] = bounds
        return bounds

    def _real(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows of all real steps in time order; rows of steps t and t - 1 where both are real."""
        table = self.step_row[:, None] + self.batch_row
        real = np.arange(len(self.step_row))[:, None] < self.lengths
        return table[real], table[1:][real[1:]], table[:-1][real[1:]]

    def transitions(self, reverse: bool) -> tuple[np.ndarray, ...]:
        """Which state follows which, for a direction.

        Returns
        -------
        rows : ndarray of int64, shape (real_steps,)
            All real steps, in time order.
        with_past, past : ndarray of int64
            Rows of the steps that have one before them in this direction, and of those before.
        first, sample : ndarray of int64
            Rows of first steps, and the samples they are of, in the caller's batch.
        """
        found = self._transitions.get(reverse)
        if found is None:
            rows, later, earlier = self._real()
            alive = int(np.count_nonzero(self.lengths))
            start = self.lengths[:alive] - 1 if reverse else np.zeros(alive, np.int64)
            first = self.step_row[start] + self.batch_row[:alive]
            with_past, past = (earlier, later) if reverse else (later, earlier)
            found = rows, with_past, past, first, self.order[:alive]
            if self.rows <= ROWS_KEPT:
                self._transitions[reverse] = found
        return found


@lru_cache(maxsize=32)
def padded(steps: int, batch: int, batch_first: bool) -> Layout:
    """Layout of (L, N, .) or, batch first, (N, L, .) without lengths."""
    place = np.arange(batch, dtype=np.int64)
    step = np.arange(steps, dtype=np.int64)
    lengths = np.full(batch, steps, np.int64)
    if batch_first:
        return Layout(steps * batch, step, place * steps, lengths, place)
    return Layout(steps * batch, step * batch, place, lengths, place)


def padded_lengths(steps: int, batch_first: bool, lengths: np.ndarray) -> Layout:
    """Layout of padded input with a length for each sample, in the caller's order."""
    full = padded(steps, len(lengths), batch_first)
    order = np.argsort(-lengths, kind="stable")
    return Layout(full.rows, full.step_row, full.batch_row[order], lengths[order], order)


def packed(batch_sizes: np.ndarray, sorted_indices: np.ndarray | None) -> Layout:
    """Layout of the data of a packed sequence."""
    batch = int(batch_sizes[0])
    ends = np.cumsum(batch_sizes)
    # Sample i has a step t where batch_sizes[t] > i, so its length is the number of such t.
    lengths = np.searchsorted(-batch_sizes, -np.arange(batch), side="left").astype(np.int64)
    place = np.arange(batch, dtype=np.int64)
    order = place if sorted_indices is None else sorted_indices
    return Layout(int(ends[-1]), ends - batch_sizes, place, lengths, order)
