"""Windows of a series, as a network reads them.

Symbols: N windows of w steps, k steps to forecast at once, F columns of what is known beside the
series. A network that is to forecast z_(t+1) to z_(t+k) reads, for each of the last w steps, a row

    z_t, x_t, x_(t+k)

so that over the window it sees all of the x of what it forecasts, and that of what it reads.
Windows overlap and share their rows: they are cut when a batch of them is read.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .sequences import Sequences


def rows(z: np.ndarray, x: np.ndarray, k: int) -> np.ndarray:
    """Join z (..., n) and x (..., n + k, F) to rows (..., n, 1 + 2F)."""
    n = z.shape[-1]
    return np.concatenate([z[..., None], x[..., :n, :], x[..., k:, :]], axis=-1)


def cut(
    zs: Sequence[np.ndarray], xs: Sequence[np.ndarray], w: int, k: int
) -> tuple[Sequences, np.ndarray]:
    """Cut series (n,), each with its x (n, F), into windows and their targets (N, k)."""
    tables = [rows(z[: len(z) - k], x, k) for z, x in zip(zs, xs, strict=True)]
    starts, first = [], 0
    for table in tables:
        starts.append(first + np.arange(len(table) - w + 1))
        first += len(table)
    begins = np.concatenate(starts)
    targets = np.concatenate([sliding_window_view(z[w:], k) for z in zs])
    return Sequences(np.concatenate(tables), begins, np.full(len(begins), w)), targets


def rolling(x: np.ndarray, length: int) -> np.ndarray:
    """Rows of a table (n, F) in windows (n - length + 1, length, F), a view."""
    return sliding_window_view(x, length, axis=0).swapaxes(1, 2)
