"""Frames with a row for each series and time, to series and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import validation
from ..extras import need

if TYPE_CHECKING:
    import pandas as pd


def from_long(
    frame: Any,
    id: str = "unique_id",
    time: str = "ds",
    value: str | Sequence[str] = "y",
) -> dict[Any, pd.Series | pd.DataFrame]:
    """Take a long frame, with a row for each series and time, apart into series.

    Parameters
    ----------
    frame : pandas or polars DataFrame
    id, time : str
        The columns that say which series a row belongs to, and when it was.
    value : str or sequence of str
        The column of the values, or several of them.

    Returns
    -------
    dict of Series or DataFrame
        By what is in the column `id`, in the order in which it comes there: the values, whose index
        is the time, sorted. With several columns, in a list, frames. ``list(series.values())`` is
        what `RNNForecaster.fit` takes, and, of frames, what it takes as X.

    Raises
    ------
    ModuleNotFoundError
        If pandas is not installed.
    TypeError, ValueError
        If it is no such frame, has no such columns, or one column twice, if a row doesn't say what
        series or time it is of, or two rows of a series have one time.

    See Also
    --------
    to_long : Back.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from numba_rnn.estimators import RNNForecaster, from_long, to_long
    >>> days = pd.date_range("2026-01-01", periods=40)
    >>> shops = [pd.DataFrame({"shop": name, "day": days, "sold": 1.0}) for name in ("A", "B")]
    >>> series = from_long(pd.concat(shops), "shop", "day", "sold")
    >>> model = RNNForecaster(2, random_state=0).fit(list(series.values()))
    >>> found = dict(zip(series, model.predict(), strict=True))
    >>> to_long(found, "shop", "day", "sold")
      shop        day  sold
    0    A 2026-02-10   1.0
    1    A 2026-02-11   1.0
    2    B 2026-02-10   1.0
    3    B 2026-02-11   1.0
    """
    pd = need("pandas", "examples", "numba_rnn.estimators.from_long")
    names = list(getattr(frame, "columns", ()))
    if not names or isinstance(frame, Mapping):
        raise TypeError(f"frame must be a DataFrame, got {validation.describe(frame)}")
    columns = [value] if isinstance(value, str) else list(value)
    for role, name in (("id", id), ("time", time), *(("value", name) for name in columns)):
        if name not in names:
            raise ValueError(f"{role} must be one of the columns {names}, got {name!r}")
    if not columns:
        raise ValueError("value must name one column at least, got none")
    if len({id, time, *columns}) < 2 + len(columns):
        raise ValueError(
            f"id, time and value must be different columns, got {', '.join([id, time, *columns])}"
        )
    if not isinstance(frame, pd.DataFrame):  # of polars
        kept = dict.fromkeys([id, time, *columns])
        frame = pd.DataFrame({name: np.asarray(frame[name]) for name in kept})
    for role, name in (("id", id), ("time", time)):
        if gone := int(frame[name].isna().sum()):
            raise ValueError(
                f"{role} must be in every row, got {gone} of {len(frame)} rows without {name!r}"
            )
    found = {}
    for label, rows in frame.groupby(id, sort=False, observed=True):
        rows = rows.set_index(time).sort_index()
        if not rows.index.is_unique:
            twice = rows.index[rows.index.duplicated()][0]
            raise ValueError(f"time must be different in all rows of {label!r}, got {twice} twice")
        found[label] = rows[value] if isinstance(value, str) else rows[columns]
    if not found:
        raise ValueError("frame must have rows, got none")
    return found


def to_long(
    series: Mapping[Any, pd.Series | pd.DataFrame],
    id: str = "unique_id",
    time: str = "ds",
    value: str = "y",
) -> pd.DataFrame:
    """Put series, or frames, below one another into a long frame.

    Parameters
    ----------
    series : mapping to Series or DataFrame
        Forecasts by what they are of, as ``dict(zip(names, model.predict()))`` has them.
    id, time, value : str
        Names of its columns; frames, as of intervals and quantiles, keep theirs instead of `value`.

    Returns
    -------
    pandas DataFrame

    Raises
    ------
    ModuleNotFoundError
        If pandas is not installed.
    TypeError, ValueError
        If it is no mapping to objects of pandas, or empty.

    See Also
    --------
    from_long : The other way.

    Examples
    --------
    >>> import pandas as pd
    >>> from numba_rnn.estimators import to_long
    >>> to_long({"A": pd.Series([1.5, 2.5]), "B": pd.Series([3.5])}, "shop", "day", "sold")
      shop  day  sold
    0    A    0   1.5
    1    A    1   2.5
    2    B    0   3.5
    """
    pd = need("pandas", "examples", "numba_rnn.estimators.to_long")
    if not isinstance(series, Mapping):
        raise TypeError(f"series must be a mapping to series, got {validation.describe(series)}")
    if not series:
        raise ValueError("series must not be empty")
    parts = []
    for label, one in series.items():
        if isinstance(one, pd.Series):
            one = one.to_frame(value)
        elif not isinstance(one, pd.DataFrame):
            raise TypeError(
                f"series[{label!r}] must be a Series or a DataFrame, got {validation.describe(one)}"
            )
        rows = one.rename_axis(time).reset_index()
        rows.insert(0, id, [label] * len(rows))
        parts.append(rows)
    return pd.concat(parts, ignore_index=True)
