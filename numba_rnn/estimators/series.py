"""Series to forecast: from whatever they came in to arrays, and forecasts back into that.

A pandas Series keeps its index and its name; the index is continued from its last entry. pandas is
never imported for anything else, so what needs it only happens where it has been imported.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import validation
from . import checks


@dataclass(frozen=True, eq=False)
class Series:
    """One series and what is known beside it.

    Attributes
    ----------
    values : ndarray of float64, shape (n,)
    x : ndarray of float64, shape (n, F)
        F = 0 where nothing is known.
    form : Form
    """

    values: np.ndarray
    x: np.ndarray
    form: Form

    def __len__(self) -> int:
        return len(self.values)

    def until(self, end: int) -> Series:
        """Return the first values; how the index goes on is lost."""
        return Series(self.values[:end], self.x[:end], Form())


@dataclass(frozen=True, eq=False)
class Form:
    """How a series was given, and so how a forecast is given back.

    Attributes
    ----------
    last : pandas.Index or None
        The last entry of the index, which knows its freq; None for arrays.
    name : hashable
    """

    last: Any = None
    name: Any = None

    def index(self, steps: int) -> Any:
        """Continue the index."""
        import pandas as pd

        last = self.last
        if isinstance(last, pd.PeriodIndex):
            return pd.period_range(last[0] + 1, periods=steps, name=last.name)
        if isinstance(last, pd.RangeIndex):
            first = last.start + last.step
            return pd.RangeIndex(first, first + steps * last.step, last.step, name=last.name)
        regular = pd.date_range if isinstance(last, pd.DatetimeIndex) else pd.timedelta_range
        longer = regular(last[0], periods=steps + 1, freq=last.freq, name=last.name)
        return longer[1:].as_unit(last.unit)

    def give(self, values: np.ndarray, columns: list[str] | None = None) -> Any:
        """Return values (steps,), or (steps, columns), as an array or with the index continued."""
        if self.last is None:
            return values
        import pandas as pd

        index = self.index(len(values))
        if columns is None:
            return pd.Series(values, index, name=self.name)
        return pd.DataFrame(values, index, columns=columns)

    # --- for files ------------------------------------------------------------------------------

    def describe(self) -> dict[str, Any] | None:
        """Return all of it in JSON's types; names other than str and int are left out."""
        last = self.last
        if last is None:
            return None
        config = {"kind": type(last).__name__, "name": _plain(self.name), "of": _plain(last.name)}
        if config["kind"] == "RangeIndex":
            return config | {"last": last.start, "step": last.step}
        config |= {"last": str(last[0]), "freq": last.freqstr}
        if config["kind"] != "PeriodIndex":
            config["unit"] = last.unit
        if getattr(last, "tz", None) is not None:
            config["zone"] = str(last.tz)
        again = type(self).build(config).last
        if again.freq != last.freq or not again.equals(last):  # holidays of one's own, for one
            raise ValueError(f"a file can't hold this index, whose freq is {last.freq!r}")
        return config

    @classmethod
    def build(cls, config: dict[str, Any] | None) -> Form:
        """Return what `describe` has described."""
        if config is None:
            return cls()
        import pandas as pd

        kind, last = config["kind"], config["last"]
        name, of = _plain(config["name"]), _plain(config["of"])
        if kind == "RangeIndex":
            step = validation.positive_int("step", config["step"])
            return cls(pd.RangeIndex(last, last + step, step, name=of), name)
        options = {"freq": config["freq"], "name": of}
        if kind == "PeriodIndex":
            return cls(pd.PeriodIndex([last], **options), name)
        if kind == "TimedeltaIndex":
            span = pd.TimedeltaIndex([last]).as_unit(config["unit"])
            return cls(pd.TimedeltaIndex(span, **options), name)
        if kind != "DatetimeIndex":
            raise ValueError(f"kind must be that of an index, got {validation.describe(kind)}")
        stamp = pd.DatetimeIndex([last]).as_unit(config["unit"])
        if "zone" in config:
            if config["zone"].startswith("dateutil"):  # whose zones can be any file
                raise ValueError(f"zone must be one of zoneinfo, got {config['zone']!r}")
            stamp = stamp.tz_convert(config["zone"])
        return cls(pd.DatetimeIndex(stamp, **options), name)


# --- in -----------------------------------------------------------------------------------------


def many(y: Any, X: Any) -> tuple[list[Series], bool]:
    """Return the series of y, each with its rows of X, and whether y was a list of them.

    Raises
    ------
    TypeError, ValueError
        If anything is no series of finite numbers, X doesn't belong to y, or an index of pandas has
        no regular steps.
    """
    if not checks.is_list_of_series(y):
        return [one("y", y, "X", X)], False
    if X is None:
        X = [None] * len(y)
    elif not isinstance(X, (list, tuple)) or len(X) != len(y):
        raise ValueError(
            f"X must be a list of {len(y)} tables, as y is a list of {len(y)} series, "
            f"got {validation.describe(X)}"
        )
    found = [one(f"y[{k}]", y[k], f"X[{k}]", X[k]) for k in range(len(y))]
    widths = [series.x.shape[1] for series in found]
    for k, width in enumerate(widths):
        if width != widths[0]:
            raise ValueError(f"X[{k}] must have {widths[0]} columns as X[0] has, got {width}")
    return found, True


def one(y_name: str, y: Any, x_name: str, X: Any) -> Series:
    """Return one series with its rows of X."""
    values = _numbers(y_name, y)
    if values.ndim != 1:
        way = f"{y_name}.squeeze()" if hasattr(y, "squeeze") else f"{y_name}.to_series()"
        one_column = values.ndim == 2 and values.shape[1] == 1 and hasattr(y, "shape")
        raise ValueError(
            f"{y_name} must be one series, shape (n,), or a list of such, got shape {values.shape}"
            + (f"; pass {way}" if one_column else "")
        )
    index = _index(y)
    x = np.empty((len(values), 0)) if X is None else table(x_name, X, len(values), index)
    if index is None:
        return Series(values, x, Form())
    return Series(values, x, Form(_last(y_name, index), y.name))


def table(name: str, X: Any, rows: int, index: Any = None) -> np.ndarray:
    """Return a table of so many rows, (rows, F); its index, if both have one, must be the same."""
    values = _numbers(name, X)
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or values.shape[1] == 0:
        raise ValueError(f"{name} must have shape (rows, columns), got {values.shape}")
    if len(values) != rows:
        raise ValueError(f"{name} must have {rows} rows, one a step, got {len(values)}")
    own = _index(X)
    if index is not None and own is not None and not own.equals(index):
        k = int(np.argmin(own == index)) if len(own) == len(index) else 0
        raise ValueError(
            f"{name} must have the index of its series, {index[k]} in row {k}, got {own[k]}"
        )
    return values


def columns(X: Any) -> list[str] | None:
    """Return the names of the columns of a frame, or of a list of frames; None where it has none.

    Raises
    ------
    ValueError
        If the frames of a list differ.
    """
    tables = X if isinstance(X, (list, tuple)) else [X]
    names = [getattr(table, "columns", None) for table in tables]
    names = [None if found is None else [str(name) for name in found] for found in names]
    for k, found in enumerate(names):
        if found != names[0]:
            raise ValueError(f"X[{k}] must have the columns {names[0]}, as X[0] has, got {found}")
    return names[0] if names else None


def _numbers(name: str, value: Any) -> np.ndarray:
    """Return finite numbers in float64."""
    array = np.asarray(validation.unmasked(name, value))
    if array.dtype.kind not in "iufO" or array.ndim == 0:
        raise TypeError(f"{name} must hold real numbers, got {validation.describe(value)}")
    try:
        array = array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must hold real numbers, got {error}") from error
    bad = ~np.isfinite(array)
    if bad.any():
        where = tuple(np.argwhere(bad)[0].tolist())
        raise ValueError(
            f"{name} must be finite, got {array[where]} at index {', '.join(map(str, where))} and "
            f"{np.count_nonzero(bad)} such values in all; fill them, or leave them out at the ends"
        )
    return array


def _index(value: Any) -> Any:
    """Return the index of a pandas object, None of anything else."""
    pd = sys.modules.get("pandas")
    return value.index if pd and isinstance(value, (pd.Series, pd.DataFrame)) else None


def _last(name: str, index: Any) -> Any:
    """Return the last entry of an index as one that knows how to go on."""
    import pandas as pd

    wrong = ""
    if not len(index):  # whoever sees that it is too short will say so
        return pd.RangeIndex(1)
    if isinstance(index, pd.PeriodIndex):
        if (index[1:] == index[:-1] + 1).all():
            return index[-1:]
        wrong = " with gaps"
    elif isinstance(index, (pd.DatetimeIndex, pd.TimedeltaIndex)):
        freq = index.freq
        if freq is None:  # None again where the steps differ
            freq = type(index)(index, freq="infer").freq
        if freq is not None and freq.n > 0:
            return type(index)(index[-1:], freq=freq, name=index.name)
        wrong = " without regular steps"
    elif pd.api.types.is_integer_dtype(index.dtype):
        steps = np.unique(np.diff(index.to_numpy()))
        step = index.step if isinstance(index, pd.RangeIndex) else steps[0] if len(steps) else 1
        if len(steps) <= 1 and step > 0:
            last = int(index[-1])
            return pd.RangeIndex(last, last + int(step), int(step), name=index.name)
        wrong = " without regular steps"
    raise ValueError(
        f"the index of {name} must be dates, periods, time spans or integers at regular, rising "
        f"steps, so that a forecast can continue it, got a {type(index).__name__} of dtype "
        f"{index.dtype}{wrong}; pass {name}.asfreq(...) without gaps, or {name}.to_numpy() "
        "for a forecast without an index"
    )


def _plain(name: Any) -> str | int | None:
    return name if type(name) in (str, int) else None
