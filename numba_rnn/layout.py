"""Where in memory step t of sample n lies: padded, batch first and packed input are one.

Input, output and their gradients are 2-D inside: (R, features), one row a step of a sample. Row
step_row[t] + batch_row[i] holds step t of the i-th longest sample:

    padded (L, N, .)        step_row = 0, N, 2N, ...      batch_row = the sample's place
    batch first (N, L, .)   step_row = 0, 1, 2, ...       batch_row = L times the sample's place
    packed (sum, .)         step_row = offsets of steps   batch_row = 0, 1, 2, ...

so nothing is ever transposed, padded or packed in order to be computed on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

LARGEST_KEPT = 1 << 14  # numbers in a table of a layout that is kept for the next call
Sort = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], Any]


class Layout:
    """The rows of a batch.

    Parameters
    ----------
    rows : int
        Rows of memory, padding included.
    step_row : ndarray of int64, shape (L,)
    batch_row, lengths : ndarray of int64, shape (N,)
        Of samples that come longest first; where `order` is None, of those in the caller's batch.
    order : ndarray of int64, shape (N,), or None
        Places of the samples in the caller's batch.
    packing : tuple of (ndarray or None) or None
        batch_sizes, sorted_indices and unsorted_indices where the input is packed. Nothing can
        write to them: they are handed out with every result.

    Attributes
    ----------
    rows, packing
    steps, batch, longest, real_steps : int
    has_padding : bool
        Whether some rows are no real step.
    empty : ndarray of int64
        Places of the samples without a single step in the caller's batch.
    index : ndarray of int64, shape (L + 3·N,)
        step_row, batch_row, lengths and order, samples longest first, one after the other: kernels
        get them as one. These are its parts.
    kept : dict
        What a backend keeps of it for the next call.
    """

    def __init__(
        self,
        rows: int,
        step_row: np.ndarray,
        batch_row: np.ndarray,
        lengths: np.ndarray,
        order: np.ndarray | None = None,
        packing: tuple[np.ndarray | None, ...] | None = None,
    ) -> None:
        self.rows, self.packing = rows, packing
        self.steps, self.batch = len(step_row), len(lengths)
        of_each = lengths.tolist()  # of a small batch Python is quicker than NumPy
        self.longest, self.real_steps = max(of_each, default=0), sum(of_each)
        self.has_padding = self.real_steps < rows
        self.empty = np.flatnonzero(lengths == 0) if 0 in of_each else lengths[:0]
        if len(self.empty) and order is not None:
            self.empty = order[self.empty]
        self._given = step_row, batch_row, lengths
        self._index = None
        if order is not None:
            self._index = np.concatenate((*self._given, order))
        self.kept: dict[Any, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"kept": {}}  # may be of this memory, and not of a copy's

    def index_by(self, sort: Sort) -> np.ndarray:
        """`index`, made by a backend's own way to sort: see `longest_first`."""
        if self._index is None:
            index = np.empty(self.steps + 3 * self.batch, np.int64)
            sort(*self._given, index)
            self._index = index
        return self._index

    @property
    def index(self) -> np.ndarray:
        return self.index_by(longest_first)

    @property
    def step_row(self) -> np.ndarray:
        return self.index[: self.steps]

    @property
    def batch_row(self) -> np.ndarray:
        return self.index[self.steps : self.steps + self.batch]

    @property
    def lengths(self) -> np.ndarray:
        return self.index[self.steps + self.batch : self.steps + 2 * self.batch]

    @property
    def order(self) -> np.ndarray:
        return self.index[self.steps + 2 * self.batch :]


def longest_first(
    step_row: np.ndarray, batch_row: np.ndarray, lengths: np.ndarray, index: np.ndarray
) -> None:
    """Fill the index of a layout; of samples of one length, the first stays first."""
    order = np.argsort(-lengths, kind="stable")
    np.concatenate((step_row, batch_row[order], lengths[order], order), out=index)
