"""Where in memory step t of sample n lies: padded, batch first and packed input are one.

Input, output and their gradients are 2-D inside: (R, features), one row a step of a sample. Row
step_row[t] + batch_row[i] holds step t of the i-th longest sample:

    padded (L, N, .)        step_row = 0, N, 2N, ...      batch_row = the sample's place
    batch first (N, L, .)   step_row = 0, 1, 2, ...       batch_row = L times the sample's place
    packed (sum, .)         step_row = offsets of steps   batch_row = 0, 1, 2, ...

so nothing is ever transposed, padded or packed in order to be computed on.
"""

from __future__ import annotations

import numpy as np

LARGEST_KEPT = 1 << 14  # numbers in a table of a layout that is kept for the next call


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
    packing : tuple of (ndarray or None) or None
        batch_sizes, sorted_indices and unsorted_indices where the input is packed. Nothing can
        write to them: they are handed out with every result.
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
        packing: tuple[np.ndarray | None, ...] | None = None,
    ) -> None:
        self.rows, self.batch, self.packing = rows, len(lengths), packing
        L, N = len(step_row), self.batch
        self.index = np.concatenate((step_row, batch_row, lengths, order))
        self.step_row, self.batch_row = self.index[:L], self.index[L : L + N]
        self.lengths, self.order = self.index[L + N : L + 2 * N], self.index[L + 2 * N :]
        self._ends = np.cumsum(lengths)
        self.longest = int(lengths[0]) if self.batch else 0
        self.real_steps = int(self._ends[-1]) if self.batch else 0
        self.has_padding = self.real_steps < rows
        self.empty = self.order[self.lengths == 0] if N and lengths[-1] == 0 else self.order[:0]
        self._blocks: dict[int, np.ndarray] = {}
        self._transitions: tuple[tuple[np.ndarray, ...], ...] = ()

    def blocks(self, count: int) -> np.ndarray:
        """Cut the samples into `count` ranges with nearly equal numbers of real steps.

        Returns the ends of the ranges, shape (count + 1,).
        """
        bounds = self._blocks.get(count)
        if bounds is None:
            # The sample in which a share ends goes to the side where more of it lies.
            shares = [2 * self.real_steps * part / count for part in range(1, count)]
            inner = np.searchsorted(2 * self._ends - self.lengths, shares).tolist()
            bounds = np.array([0, *inner, self.batch], np.int64)
            self._blocks[count] = bounds
        return bounds

    def _real(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows of all real steps in time order; rows of steps t and t - 1 where both are real."""
        alive = np.searchsorted(-self.lengths, -np.arange(self.longest))  # samples with a step t
        starts = np.cumsum(alive) - alive
        place = np.arange(self.real_steps) - np.repeat(starts, alive)
        step_row = self.step_row[: self.longest]
        rows = np.repeat(step_row, alive) + self.batch_row[place]
        later = rows[alive[0] if self.longest else 0 :]
        return rows, later, later - np.repeat(np.diff(step_row), alive[1:])

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
        found = self._transitions or self._both_transitions()
        if self.rows <= LARGEST_KEPT:
            self._transitions = found
        return found[reverse]

    def _both_transitions(self) -> tuple[tuple[np.ndarray, ...], ...]:
        rows, later, earlier = self._real()
        alive = int(np.count_nonzero(self.lengths))
        sample, last = self.order[:alive], self.lengths[:alive] - 1
        first, first_in_reverse = (
            self.step_row[t] + self.batch_row[:alive] for t in (np.zeros_like(last), last)
        )
        return (
            (rows, later, earlier, first, sample),
            (rows, earlier, later, first_in_reverse, sample),
        )
