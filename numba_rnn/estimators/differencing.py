"""Differences of a series, and back: each way forward, and its inverse beside it.

A list of lags says which differences are taken, one after the other: ``[12, 1]`` is the change from
one year to the next of monthly values, and of that the change from month to month. Time is the
last axis.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def difference(values: np.ndarray, lags: Sequence[int]) -> np.ndarray:
    """Take z_t = y_t - y_(t-lag) for one lag after the other, (..., n) -> (..., n - sum(lags))."""
    for lag in lags:
        values = values[..., lag:] - values[..., :-lag]
    return values


def undo(z: np.ndarray, past: np.ndarray, lags: Sequence[int]) -> np.ndarray:
    """Return the y whose differences are z: y_t = z_t + y_(t-lag), for the last lag first.

    Parameters
    ----------
    z : ndarray, shape (..., steps)
        Differences that follow those of the past.
    past : ndarray, shape (..., at least sum(lags))
        The y before them.

    Returns
    -------
    ndarray, shape (..., steps)
    """
    stages = [past]
    for lag in lags:
        stages.append(difference(stages[-1], [lag]))
    steps = z.shape[-1]
    for lag, before in zip(reversed(lags), reversed(stages[:-1]), strict=True):
        cycles = -(-steps // lag)
        rows = np.zeros((*z.shape[:-1], cycles * lag))
        rows[..., :steps] = z
        rows = rows.reshape(*z.shape[:-1], cycles, lag)  # a column for each place in the cycle
        rows[..., 0, :] += before[..., -lag:]
        z = np.cumsum(rows, axis=-2).reshape(*z.shape[:-1], -1)[..., :steps]
    return z
