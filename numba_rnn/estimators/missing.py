"""Missing values: found whatever stands for them, carried forward in X, left out in y.

    x   3  NaN  NaN  5        as the network reads it   3  3  3  5
    gap 0   1    1   0                                  0  1  1  0

The last value is carried forward, and beside each column that had gaps in fit an indicator says
where: GRU-D without its decays (Z. Che, S. Purushotham, K. Cho, D. Sontag and Y. Liu, "Recurrent
neural networks for multivariate time series with missing values", Scientific Reports 8, 6085,
2018). Before the first value of a series stands the mean of the column.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import validation
from .sequences import Sequences

CHOICES = ("error", "forward")
_FLOATS = (float, np.floating)


# --- what stands for a missing value ------------------------------------------------------------


def opened(value: Any) -> Any:
    """Return what is given with NaN for each masked entry and each NA of pandas.

    None and NaN are what NumPy makes NaN of by itself. Frames stay frames, for their names.
    """
    if isinstance(value, np.ma.MaskedArray):
        return _unmasked(value)
    if hasattr(value, "iloc"):  # of pandas
        array = np.asarray(value)
        if array.dtype != object:
            return value
        found = _without_na(array)
        return type(value)(found, value.index, columns=value.columns) if found.ndim == 2 else found
    if isinstance(value, np.ndarray) and value.dtype == object:
        if value.ndim == 1 and any(getattr(entry, "shape", ()) for entry in value):
            return [opened(entry) for entry in value]
        return _without_na(value)
    if isinstance(value, (list, tuple)):
        return [
            opened(entry) if _holds_more(entry) else np.nan if _is_na(entry) else entry
            for entry in value
        ]
    return value


def absent(values: np.ndarray) -> np.ndarray:
    """Which entries are missing: NaN, None or NA, in an array of any dtype."""
    if values.dtype.kind == "f":
        return np.isnan(values)
    if values.dtype != object:
        return np.zeros(values.shape, bool)
    found = [
        entry is None or _is_na(entry) or (isinstance(entry, _FLOATS) and entry != entry)
        for entry in values.flat
    ]
    return np.array(found, bool).reshape(values.shape)


def _is_na(entry: Any) -> bool:
    """Whether this is pandas' NA, or its NaT."""
    pd = sys.modules.get("pandas")
    return pd is not None and (entry is pd.NA or entry is pd.NaT)


def _holds_more(entry: Any) -> bool:
    return isinstance(entry, (list, tuple, np.ndarray)) or hasattr(entry, "iloc")


def _without_na(array: np.ndarray) -> np.ndarray:
    """Return an array of objects with NaN for NA."""
    found = array.copy()
    found[np.array([_is_na(entry) for entry in array.flat], bool).reshape(array.shape)] = np.nan
    return found


def _unmasked(value: np.ma.MaskedArray) -> np.ndarray:
    """Return an array with NaN for what is masked."""
    mask, data = np.ma.getmaskarray(value), value.data
    if not mask.any() or data.dtype.kind not in "biufO":  # which is refused for its dtype
        return data
    found = data.astype(np.float64 if data.dtype.kind in "biu" else data.dtype)
    found[mask] = np.nan
    return found


# --- gaps of X ----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Filling:
    """How the gaps of features are filled, and which of them have an indicator.

    Attributes
    ----------
    start : ndarray of float64, shape (F,)
        What stands before the first value of a series: the mean of the feature in fit.
    marked : ndarray of int64, shape (M,)
        Features that had gaps in fit, rising.
    """

    start: np.ndarray
    marked: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray, weights: np.ndarray | None = None) -> Filling:
        """Measure it on rows (R, F) with gaps, and weights (R,) above 0.

        Raises
        ------
        ValueError
            If a feature has no value at all.
        """
        gaps = np.isnan(rows)
        if (empty := gaps.all(axis=0)).any():
            raise ValueError(
                "X must have a value of each feature where missing ones are filled, got none of "
                f"feature {int(np.argmax(empty))}; leave it out"
            )
        start = [
            mean(column[~gap], None if weights is None else weights[~gap])
            for column, gap in zip(rows.T, gaps.T, strict=True)
        ]
        return cls(np.array(start), np.flatnonzero(gaps.any(axis=0)))

    def fill(self, x: Sequences) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows (R, F) of series one after the other filled, and indicators (R, M)."""
        gaps = np.isnan(x.rows)
        if not gaps.any():
            return x.rows, np.zeros((len(gaps), len(self.marked)), bool)
        row = np.arange(len(gaps))[:, None]
        known = np.maximum.accumulate(np.where(gaps, -1, row), axis=0)  # the last row with a value
        carried = np.take_along_axis(x.rows, np.maximum(known, 0), axis=0)
        of_series = known >= np.repeat(x.starts, x.lengths)[:, None]
        return np.where(of_series, carried, self.start), gaps[:, self.marked]

    def describe(self) -> dict[str, Any]:
        """Return all of it in JSON's types."""
        return {"start": self.start.tolist(), "marked": self.marked.tolist()}

    @classmethod
    def build(cls, config: Any, features: int) -> Filling | None:
        """Return what `describe` has described; None where nothing is filled.

        Raises
        ------
        TypeError, ValueError
            If it is anything else, or not of so many features.
        """
        if config is None:
            return None
        if not isinstance(config, dict) or set(config) != {"start", "marked"}:
            raise ValueError(f"filling must be start and marked, got {validation.describe(config)}")
        start, marked = config["start"], config["marked"]
        if not isinstance(start, list) or len(start) != features:
            raise ValueError(f"start must be a list of {features} numbers")
        for value in start:
            validation.real("start", value, -np.inf, np.inf, open_low=True, open_high=True)
        if not isinstance(marked, list) or not all(type(place) is int for place in marked):
            raise ValueError("marked must be a list of integers")
        if marked != sorted(set(marked)) or not set(marked) <= set(range(features)):
            raise ValueError(f"marked must be rising places of {features} features, got {marked}")
        return cls(np.array(start, np.float64), np.array(marked, np.int64))


def mean(values: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Mean of values (n,), between the smallest and the largest whatever is rounded."""
    low, high = float(values.min()), float(values.max())
    unit = max(abs(low), abs(high)) or 1.0  # so that no sum overflows
    shares = None if weights is None else weights / weights.max()
    found = unit * float(np.average(values.astype(np.float64) / unit, weights=shares))
    return min(max(found, low), high)
