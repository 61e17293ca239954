"""The layers and directions of a pass one by one, as arrays over steps and samples.

Kernels work on rows (see layout.py). What looks at single steps and samples wants (L, N, features),
by time, and sometimes in a direction's own order of steps: s = 0, 1, ... from its own start, which
in reverse is each sequence's own end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .layout import Layout
from .stack import Pass


class Grid:
    """Steps and samples of a batch, samples in the caller's order.

    Attributes
    ----------
    shape : tuple of int
        (L, N).
    lengths : ndarray of int64, shape (N,)
    live : ndarray of bool, shape (L, N)
        Which steps are real.
    """

    def __init__(self, layout: Layout) -> None:
        self.shape = layout.steps, layout.batch
        L, N = self.shape
        back = np.empty(N, np.int64)
        back[layout.order] = np.arange(N)
        self.lengths = layout.lengths[back]
        self.live = np.arange(L)[:, None] < self.lengths
        self._count, self._whole = layout.rows, bool(self.live.all())
        self._rows = np.where(self.live, layout.step_row[:, None] + layout.batch_row[back], 0)
        self._turned = np.where(self.live, self.lengths - 1 - np.arange(L)[:, None], 0)

    def by_step(self, rows: np.ndarray) -> np.ndarray:
        """Rows (R, features) as (L, N, features), zero beyond a length."""
        if self._whole:
            return rows[self._rows]
        found = np.zeros((*self.shape, rows.shape[1]), rows.dtype)
        found[self.live] = rows[self._rows[self.live]]
        return found

    def rows(self, by_step: np.ndarray) -> np.ndarray:
        """The way back; rows that are no real step are zero."""
        rows = np.zeros((self._count, by_step.shape[2]), by_step.dtype)
        rows[self._rows[self.live]] = by_step[self.live]
        return rows

    def turned(self, by_step: np.ndarray, reverse: bool = True) -> np.ndarray:
        """From time to a reverse direction's own order of steps, or back; zero beyond a length."""
        if not reverse:
            return by_step
        found = by_step[self._turned, np.arange(self.shape[1])]
        found[~self.live] = 0
        return found

    def before(self, by_step: np.ndarray, first: np.ndarray, reverse: bool) -> np.ndarray:
        """What the step computed before each had; `first`, (N, ·), at the first; zero beyond."""
        return self._beside(by_step, first, not reverse)

    def after(self, by_step: np.ndarray, last: np.ndarray, reverse: bool) -> np.ndarray:
        """What the step computed after each has; `last`, (N, ·), at the last; zero beyond."""
        return self._beside(by_step, last, reverse)

    def _beside(self, by_step: np.ndarray, end: np.ndarray, earlier: bool) -> np.ndarray:
        found = np.zeros_like(by_step)
        if len(by_step) == 0:
            return found
        if earlier:
            found[1:] = by_step[:-1]
            found[0] = end
        else:
            found[:-1] = by_step[1:]
            real = np.flatnonzero(self.lengths)
            found[self.lengths[real] - 1, real] = end[real]
        found[~self.live] = 0
        return found


@dataclass(frozen=True, eq=False)
class Chain:
    """One layer and direction of a pass. By time; zero beyond a length.

    Attributes
    ----------
    reverse : bool
    x : ndarray, shape (L, N, I)
        What the layer read: after dropout.
    h, h_before : ndarray, shape (L, N, H)
        The state of each step, and the one that it started from.
    slope : ndarray, shape (L, N, H)
        f'(a_t).
    h_0 : ndarray, shape (N, H)
    w_ih, w_hh : ndarray, shape (H, I), (H, H)
    """

    reverse: bool
    x: np.ndarray
    h: np.ndarray
    h_before: np.ndarray
    slope: np.ndarray
    h_0: np.ndarray
    w_ih: np.ndarray
    w_hh: np.ndarray


def chain(done: Pass, grid: Grid, layer: int, direction: int) -> Chain:
    """Return a layer and direction of a pass, whose grid that is."""
    stack, H, reverse = done.stack, done.stack.hidden_size, direction == 1
    span, states, kind = stack._parts[layer]
    weights = done.weights[span]
    x = grid.by_step(below(done, layer))
    h = grid.by_step(done.outputs[layer][:, direction * H : (direction + 1) * H])
    h_0 = done.h_0[states][direction]
    slope = 1 - h * h if stack.nonlinearity == "tanh" else (h > 0).astype(h.dtype)
    I, (w_ih, w_hh, _, _) = x.shape[2], kind.places[direction]
    return Chain(
        reverse, x, h, grid.before(h, h_0, reverse), slope * grid.live[:, :, None], h_0,
        weights[w_ih : w_ih + H * I].reshape(H, I), weights[w_hh : w_hh + H * H].reshape(H, H),
    )  # fmt: skip


def below(done: Pass, layer: int) -> Any:
    """Return what a layer read, as rows: after dropout."""
    if layer == 0:
        return done.x
    read = done.outputs[layer - 1]
    if done.key is None:
        return read
    return done.backend.dropout(read, done.dropout, done.key, layer)
