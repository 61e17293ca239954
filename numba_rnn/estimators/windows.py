"""Windows of a series, as a network reads them.

Symbols: N windows of w steps, k steps to forecast at once, F columns of what is known beside the
series. A network that is to forecast z_(t+1) to z_(t+k) reads, for each of the last w steps,

    z_t, x_t, x_(t+k)

so that over the window it sees all of the x of what it forecasts, and that of what it reads.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def cut(z: np.ndarray, x: np.ndarray, w: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut a series z (n,) with x (n, F) into inputs (N, w, 1 + 2F) and targets (N, k)."""
    both = sliding_window_view(z, w + k)
    return joined(both[:, :w], rolling(x, w + k)), both[:, w:]


def joined(z: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Join z (N, w) and x (N, w + k, F) to inputs (N, w, 1 + 2F)."""
    w = z.shape[1]
    return np.concatenate([z[:, :, None], x[:, :w], x[:, -w:]], axis=2)


def rolling(x: np.ndarray, length: int) -> np.ndarray:
    """Rows of a table (n, F) in windows (n - length + 1, length, F), a view."""
    return sliding_window_view(x, length, axis=0).swapaxes(1, 2)
