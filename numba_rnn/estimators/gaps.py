"""Gaps of series and of what is known beside them: filled by what was last, with indicators.

What indicators there are, and what stands before the first value, is measured in a fit. The values
to be forecast are kept as they came, with NaN, so that nothing is learnt or judged by a filled one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from . import missing
from .missing import Filling
from .sequences import Sequences
from .series import Panel


@dataclass(frozen=True, eq=False)
class Gaps:
    """How gaps are filled, and which columns have an indicator.

    Attributes
    ----------
    y : ndarray of int64
        Columns of the series that had gaps.
    x, past : Filling
        Of X and X_past.
    """

    y: np.ndarray
    x: Filling
    past: Filling

    @classmethod
    def of(cls, given: Panel, known: Sequence[int]) -> Gaps:
        """Measure it on series of which so many values are known, those after them held back.

        Raises
        ------
        ValueError
            If a column of X or X_past has no value at all.
        """
        K, each = given.targets, given.each
        absent = [np.isnan(one.values).any() for one in given]
        y = np.flatnonzero(np.any(np.reshape(absent, (-1, K)), axis=0))
        return cls(
            y,
            _filling("X", [one.x for one in each], known[::K]),
            _filling("X_past", [one.read for one in each], known[::K]),
        )

    def filled(
        self,
        given: Panel,
        season: int,
        known: Sequence[int] | None = None,
        after: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]] | None = None,
    ) -> Panel:
        """Return series without gaps, with their indicators and their values as they came.

        Parameters
        ----------
        given : Panel
        season : int
            1 for none.
        known : sequence of int, optional
            How many values of each the mean is of that stands before the first; all by default.
        after : sequence of tuple, optional
            What stands there instead: values, and a row of X and of X_past, of each series.

        Raises
        ------
        ValueError
            If a series has no value, and nothing stands before it.
        """
        K, found = given.targets, []
        for k, one in enumerate(given):
            if k % K == 0:
                own = given.series[k : k + K]
                marks = [np.isnan(own[place].values) for place in self.y]
                of_y = np.stack(marks, axis=1) if marks else np.empty((len(one), 0))
                before = (None, None) if after is None else after[k][1:]
                x, of_x = fill(self.x, one.x, before[0])
                read, of_read = fill(self.past, one.read, before[1])
            if after is None:
                values = carried(one.values, _start(given, k, known), season)
            else:
                past = after[k][0]
                values = carried(np.concatenate([past, one.values]), season=season)[len(past) :]
            found.append(
                replace(
                    one, values=values, x=x,
                    read=read, marks_of_y=of_y.astype(float), marks_of_x=of_x.astype(float),
                    marks_of_read=of_read.astype(float),
                )
            )  # fmt: skip
        return given.of(found)

    def describe(self) -> dict[str, Any]:
        """Return all of it in JSON's types."""
        return {"y": self.y.tolist(), "X": self.x.describe(), "X_past": self.past.describe()}

    @classmethod
    def build(cls, config: Any, targets: int, features: int, past: int) -> Gaps | None:
        """Return what `describe` has described; None where nothing is filled.

        Raises
        ------
        TypeError, ValueError
            If it is anything else, or not of so many columns.
        """
        if config is None:
            return None
        if not isinstance(config, dict) or set(config) != {"y", "X", "X_past"}:
            raise ValueError("gaps must be those of y, X and X_past")
        y, x = config["y"], Filling.build(config["X"], features)
        read = Filling.build(config["X_past"], past)
        if not isinstance(y, list) or not all(type(place) is int for place in y):
            raise ValueError("gaps of y must be a list of integers")
        if y != sorted(set(y)) or not set(y) <= set(range(targets)) or x is None or read is None:
            raise ValueError(f"gaps of y must be rising places of {targets} columns, got {y}")
        return cls(np.array(y, np.int64), x, read)


def fill(
    filling: Filling, rows: np.ndarray, before: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Fill rows (n, F), which may go on after one, and return indicators (n, M)."""
    if before is not None:
        filling = replace(filling, start=before)
    return filling.fill(Sequences.of(rows, np.array([len(rows)])))


def _filling(name: str, tables: list[np.ndarray], known: Sequence[int]) -> Filling:
    """Measure how columns are filled: by the mean of what is known, where that has values."""
    early = np.concatenate([table[:end] for table, end in zip(tables, known, strict=True)])
    rows, start = np.concatenate(tables), []
    for k, column in enumerate(rows.T):
        values = early[~np.isnan(early[:, k]), k]
        values = values if values.size else column[~np.isnan(column)]
        if not values.size:
            raise ValueError(
                f"{name} must have a value in each column where missing ones are filled, got none "
                f"in column {k}; leave it out"
            )
        start.append(missing.mean(values))
    return Filling(np.array(start), np.flatnonzero(np.isnan(rows).any(axis=0)))


def _start(given: Panel, k: int, known: Sequence[int] | None) -> float:
    """Return what stands before the first value of a series."""
    values = given[k].values
    there = ~np.isnan(values)
    if len(values) and not there.any():
        raise ValueError(f"{given.name(k)} must have a value that is not missing, got none")
    end = len(values) if known is None else known[k]
    if there[:end].any():
        values, there = values[:end], there[:end]
    return missing.mean(values[there]) if len(values) else 0.0


def carried(values: np.ndarray, start: float = np.nan, season: int = 1) -> np.ndarray:
    """Carry the last value forward, or with a season the last change from one to the next.

    `start` stands before the first value.
    """
    absent = np.isnan(values)
    if not absent.any():
        return values
    found, last, change = values.tolist(), float(start), 0.0
    for t, gone in enumerate(absent.tolist()):
        before = t - season
        if gone:
            found[t] = found[before] + change if season > 1 and before >= 0 else last
        elif before >= 0 and not absent[before]:
            change = found[t] - found[before]
        last = found[t]
    return np.array(found)
