"""Windows of a series, as a network reads them.

Symbols: N windows of w steps, k steps to forecast at once, K columns that are forecast together, F
columns of what is known beside the series, P of what is known of it only up to now. A network that
is to forecast z_(t+1) to z_(t+k) reads, for each of the last w steps, a row

    z_t, p_t, x_t, x_(t+k)

so that over the window it sees all of the x of what it forecasts, and that of what it reads.
Windows overlap and share their rows: they are cut when a batch of them is read.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .sequences import Sequences


def rows(z: np.ndarray, read: np.ndarray, x: np.ndarray, k: int) -> np.ndarray:
    """Join z (..., n, K), read (..., n, P), x (..., n + k, F) to rows (..., n, K + P + 2F)."""
    n = z.shape[-2]
    return np.concatenate([z, read, x[..., :n, :], x[..., k:, :]], axis=-1)


def cut(
    zs: Sequence[np.ndarray],
    truths: Sequence[np.ndarray],
    reads: Sequence[np.ndarray],
    xs: Sequence[np.ndarray],
    w: int,
    k: int,
) -> tuple[Sequences, np.ndarray]:
    """Cut series (n, K), with what is known beside each, into windows and targets (N, k·K).

    Targets are cut from truths, (n, K), in which NaN may stand.
    """
    tables, targets, starts, first = [], [], [], 0
    for z, truth, read, x in zip(zs, truths, reads, xs, strict=True):
        before = len(z) - k
        tables.append(rows(z[:before], read[:before], x, k))
        starts.append(first + np.arange(before - w + 1))
        first += before
        ahead = sliding_window_view(truth[w:], k, axis=0).swapaxes(1, 2)
        targets.append(ahead.reshape(len(ahead), -1))
    begins = np.concatenate(starts)
    windows = Sequences(np.concatenate(tables), begins, np.full(len(begins), w))
    return windows, np.concatenate(targets)


def rolling(x: np.ndarray, length: int) -> np.ndarray:
    """Rows of a table (n, F) in windows (n - length + 1, length, F), a view."""
    return sliding_window_view(x, length, axis=0).swapaxes(1, 2)
