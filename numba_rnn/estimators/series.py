"""Series to forecast: from whatever they came in to arrays, and forecasts back into that.

A pandas Series keeps its index and its name; the index is continued from its last entry. pandas is
never imported for anything else, so what needs it only happens where it has been imported.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import validation
from . import checks, missing


@dataclass(frozen=True, eq=False)
class Series:
    """One series, or one column of several that are forecast together, and what is known beside it.

    Attributes
    ----------
    values : ndarray of float64, shape (n,)
    x : ndarray of float64, shape (n, F)
        Known of the future; F = 0 where nothing is.
    form : Form
    read : ndarray of float64, shape (n, P)
        Known up to now.
    static : ndarray of float64, shape (S,)
        Known of the series as a whole.
    truth : ndarray of float64, shape (n,)
        The values as they came, with NaN for those that are missing.
    marks_of_y, marks_of_x, marks_of_read : ndarray of float64, shape (n, columns)
        1 where something was missing, of columns that have such an indicator.
    """

    values: np.ndarray
    x: np.ndarray
    form: Form
    read: np.ndarray
    static: np.ndarray
    truth: np.ndarray
    marks_of_y: np.ndarray
    marks_of_x: np.ndarray
    marks_of_read: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    def until(self, end: int) -> Series:
        """Return the first values; how the index goes on is lost."""
        return replace(self._at(slice(end)), form=Form())

    def lengthened(self, least: int, season: int) -> Series:
        """Continue it backwards to so many values, by its first season, or its first value."""
        missing, n = least - len(self), len(self)
        if missing <= 0:
            return self
        cycle = season if n >= season else 1
        return self._at(np.concatenate([np.arange(-missing, 0) % cycle, np.arange(n)]))

    def _at(self, places: slice | np.ndarray) -> Series:
        rows = (
            "values", "x", "read", "truth", "marks_of_y", "marks_of_x", "marks_of_read",
        )  # fmt: skip
        return replace(self, **{name: getattr(self, name)[places] for name in rows})


@dataclass(frozen=True, eq=False)
class Panel:
    """What was given: series, or the columns of each side by side.

    Attributes
    ----------
    series : list of Series
        The columns of the first, then those of the second, and so on.
    listed : bool
        Whether they came in a list.
    wide : bool
        Whether each had columns.
    targets : int
        How many: 1 where they had none.
    names : list of str or None
        Of the columns, where they were in frames.
    """

    series: list[Series]
    listed: bool
    wide: bool = False
    targets: int = 1
    names: list[str] | None = None

    def __len__(self) -> int:
        return len(self.series)

    def __iter__(self) -> Iterator[Series]:
        return iter(self.series)

    def __getitem__(self, k: int) -> Series:
        return self.series[k]

    @property
    def each(self) -> list[Series]:
        """The first column of each series: what is known beside it is the same for all of them."""
        return self.series[:: self.targets]

    @property
    def forms(self) -> list[Form]:
        """Those of all columns."""
        return [one.form for one in self.series]

    def name(self, k: int) -> str:
        """Return how a column's series is called."""
        return f"y[{k // self.targets}]" if self.listed else "y"

    def of(self, series: list[Series]) -> Panel:
        """Return others in the same form."""
        return replace(self, series=series)

    def give(self, values: np.ndarray, columns: list[Any] | None = None) -> Any:
        """Return values (columns of all series, steps), or with one axis more, as `give` does."""
        return give(values, self.forms, self.listed, self.wide, self.targets, columns)


@dataclass(frozen=True, eq=False)
class Form:
    """How a series was given, and so how a forecast is given back.

    Attributes
    ----------
    last : pandas.Index or None
        The last entry of the index, which knows its freq; None for arrays. In a time zone the last
        one whose time the clock shows, and shows once.
    name : hashable
    beyond : int
        Entries of the index after that one.
    trading : bool
        Whether the dates were working days without some holidays: forecasts are of working days,
        and the holidays to come are not known.
    """

    last: Any = None
    name: Any = None
    beyond: int = 0
    trading: bool = False

    def index(self, steps: int) -> Any:
        """Continue the index."""
        import pandas as pd

        last = self.last
        if isinstance(last, pd.PeriodIndex):
            return pd.period_range(last[0] + 1, periods=steps, name=last.name)
        if isinstance(last, pd.RangeIndex):
            first = last.start + last.step
            if first + (steps - 1) * last.step > _LARGEST:
                raise ValueError(
                    f"steps must not continue the index beyond {_LARGEST}, got {steps} after "
                    f"{last.start}"
                )
            return pd.RangeIndex(first, first + steps * last.step, last.step, name=last.name)
        steps += self.beyond
        if getattr(last, "tz", None) is not None and not _is_span(last.freq):
            wall = pd.date_range(
                last[0].tz_localize(None), periods=steps + 1, freq=last.freq, name=last.name
            )[1:].as_unit(last.unit)
            found, plain = _on_the_clock(wall, last.tz)
            if plain.all():  # or else the freq is not that of an index of pandas
                found = pd.DatetimeIndex(found, freq=last.freq)
            return found[self.beyond :]
        regular = pd.date_range if isinstance(last, pd.DatetimeIndex) else pd.timedelta_range
        longer = regular(last[0], periods=steps + 1, freq=last.freq, name=last.name)
        return longer[1:].as_unit(last.unit)

    @property
    def season(self) -> int | None:
        """Steps of the season that the freq of the index suggests, None where it suggests none.

        A year of months, quarters or weeks, a week of days or working days, a day of hours or
        minutes, unless it has more than 288 of such steps: then an hour of them.
        """
        freq = getattr(self.last, "freq", None)
        return None if freq is None else _season(freq)

    def after(self, name: str, own: Any, steps: int) -> Form:
        """Return that of a series which goes on for some steps, whose index must be the next one.

        Parameters
        ----------
        name : str
        own : pandas.Index or None
            That of these steps.
        steps : int
        """
        if self.last is None or steps == 0:
            return self
        if own is not None and self.trading:
            self._check_trading(name, own)
            last = type(own)(own[-1:], freq="B", name=self.last.name)
            return replace(self, last=last)
        index = self.index(steps)
        if own is not None and not _same(own, index):
            raise ValueError(
                f"the index of {name} must go on after {self.last[-1]}, from {index[0]} to "
                f"{index[-1]}, got {own[0]} to {own[-1]}"
            )
        last, beyond, _ = _last(name, index)
        return Form(last, self.name, beyond, self.trading)

    def ahead(self, name: str, steps: int, own: Any) -> Any:
        """Return the index that what is known of the next steps must have, None where any does.

        Parameters
        ----------
        name : str
        steps : int
        own : pandas.Index or None
            That which it has: only those who trade know which of the days to come are holidays.
        """
        if self.last is None or (self.trading and own is None):
            return None
        if not self.trading:
            return self.index(steps)
        if len(own):
            self._check_trading(name, own)
        return own

    def _check_trading(self, name: str, own: Any) -> None:
        """Check that an index goes on with working days, of which only a few are left out."""
        right = _is_trading(own) and str(own.tz) == str(self.last.tz) and own[0] > self.last[-1]
        if right:
            days = _working_days(self.last[-1], own[-1]) - 1
            right = len(own) >= TRADED * days - CLOSED
        if not right:
            raise ValueError(
                f"the index of {name} must go on after {self.last[-1]} with working days, but for "
                f"a few holidays, got {len(own)} from {own[0]} to {own[-1]}"
            )

    # --- for files ------------------------------------------------------------------------------

    def describe(self) -> dict[str, Any] | None:
        """Return all of it in JSON's types; names other than str and int are left out.

        Raises
        ------
        ValueError
            If the freq is none that can be written down.
        """
        last = self.last
        if last is None:
            return None
        config = {"kind": type(last).__name__, "name": _plain(self.name), "of": _plain(last.name)}
        if config["kind"] == "RangeIndex":
            return config | {"last": last.start, "step": last.step}
        config |= {"last": str(last[0]), "freq": _plain_freq(last)}
        if self.beyond:
            config["beyond"] = self.beyond
        if self.trading:
            config["trading"] = True
        if config["kind"] != "PeriodIndex":
            config["unit"] = last.unit
        if getattr(last, "tz", None) is not None:
            config["zone"] = str(last.tz)
        try:
            again = type(self).build(config).last
        except (TypeError, ValueError):  # what pandas names in words that it can't read
            again = None
        if again is None or again.freq != last.freq or not again.equals(last):
            # holidays of one's own, for one, have the name of another freq
            raise ValueError(
                f"a file can't hold this index, whose freq is {last.freq!r}; pickle the model, or "
                "fit it to a series without an index"
            )
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
        freq = config["freq"]
        if isinstance(freq, dict):
            if not all(type(value) is int for value in freq.values()):
                raise TypeError(f"freq must hold integers, got {validation.describe(freq)}")
            freq = pd.DateOffset(**freq)
        options = {"freq": freq, "name": of}
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
        beyond = config.get("beyond", 0)
        if beyond:
            beyond = validation.positive_int("beyond", beyond)
        trading = validation.flag("trading", config.get("trading", False))
        return cls(pd.DatetimeIndex(stamp, **options), name, beyond, trading)


_LARGEST = int(np.iinfo(np.int64).max)  # of a RangeIndex


_STEPS = {"W": 52, "B": 5, "D": 7} | dict.fromkeys(("Q", "QE", "QS", "BQE", "BQS"), 4)
_STEPS |= dict.fromkeys(("M", "ME", "MS", "BME", "BMS"), 12)
_MOST = 288  # steps of a day: five minutes each


def _season(freq: Any) -> int | None:
    import pandas as pd

    if _is_span(freq):
        step = pd.Timedelta(freq).value
        spans = [pd.Timedelta(1, unit).value for unit in ("D", "h", "min")]
        found = next((span for span in spans if step < span <= _MOST * step), 0)
        steps, rest = divmod(found, step)
        return steps if steps > 1 and rest == 0 else None
    months = freq.kwds.get("months") if type(freq) is pd.DateOffset else None
    if months is not None and set(freq.kwds) == {"months"}:
        whole, n = 12, months * freq.n
    else:
        whole, n = _STEPS.get(freq.base.freqstr.split("-")[0], 0), freq.n
    return whole // n if whole % n == 0 and whole > n else None


def _plain_freq(index: Any) -> str | dict[str, int]:
    """Return a freq in JSON's types: its name, or the numbers of an offset that has none."""
    import pandas as pd

    freq = index.freq
    if type(freq) is pd.DateOffset and not freq.normalize:
        if all(type(value) is int for value in freq.kwds.values()):
            return {"n": freq.n, **freq.kwds}
    return index.freqstr


# --- the clock of a time zone -------------------------------------------------------------------


def _is_span(freq: Any) -> bool:
    """Whether steps are spans of hours or less, not days or months as a clock and calendar have."""
    import pandas as pd

    return isinstance(freq, pd.offsets.Tick) and not isinstance(freq, pd.offsets.Day)


def _on_the_clock(wall: Any, zone: Any) -> tuple[Any, np.ndarray]:
    """Return when the clock of a zone shows some times, and which of them it shows once.

    A time that it skips is the first one after it: midnight, where a day begins at one. Of a time
    that it shows twice this is the first.
    """
    options = {"tz": zone, "nonexistent": "shift_forward"}
    first, second = (
        wall.tz_localize(**options, ambiguous=np.full(len(wall), summer))
        for summer in (True, False)
    )
    return first, np.asarray((first == second) & (first.tz_localize(None) == wall))


def _last_on_the_clock(index: Any, freq: Any) -> tuple[Any, int] | None:
    """Return the last entry that a clock shows once, and how many come after it.

    None where the steps are not regular.
    """
    import pandas as pd

    wall = index.tz_localize(None)
    if freq is None:  # it may have skipped times: the same time of every day, or one after it
        days = wall.normalize()
        wall = days + (wall - days).min()
        freq = _freq(wall)
        if freq is None or not (_on_the_clock(wall, index.tz)[0] == index).all():
            return None
    plain = _on_the_clock(wall, index.tz)[1]
    if freq.n <= 0 or not plain.any():
        return None
    k = int(np.flatnonzero(plain)[-1])
    return pd.DatetimeIndex(index[k : k + 1], freq=freq, name=index.name), len(index) - 1 - k


def _freq(index: Any) -> Any:
    """Return the freq of dates or time spans; None where their steps differ."""
    return type(index)(index, freq="infer").freq if index.freq is None else index.freq


# --- in -----------------------------------------------------------------------------------------


def give(
    values: np.ndarray,
    forms: Sequence[Form],
    listed: bool,
    wide: bool,
    targets: int,
    columns: list[Any] | None = None,
) -> Any:
    """Return forecasts in the form of the series, arrays or with the index continued.

    Parameters
    ----------
    values : ndarray, shape (M, steps) or (M, steps, Q)
    forms : sequence of Form, of length M
    listed, wide : bool
    targets : int
        Of these M so many are the columns of one series.
    columns : list, optional
        Names of the last axis, where there is one.

    Returns
    -------
    ndarray, Series or DataFrame, or list of such
        (steps,) or (steps, Q), or with wide (steps, targets) or (steps, targets, Q), of which a
        DataFrame has columns of two levels.
    """
    found = []
    for k in range(0, len(forms), targets):
        own = forms[k : k + targets]
        rows = values[k : k + targets].swapaxes(0, 1) if wide else values[k]
        found.append(rows if own[0].last is None else _framed(rows, own, wide, columns))
    return found if listed else found[0]


def _framed(rows: np.ndarray, own: Sequence[Form], wide: bool, columns: list[Any] | None) -> Any:
    import pandas as pd

    index = own[0].index(len(rows))
    if not wide and columns is None:
        return pd.Series(rows, index, name=own[0].name)
    names: Any = [form.name for form in own]
    if not wide:
        names = columns
    elif columns is not None:
        names = pd.MultiIndex.from_product([names, columns])
    return pd.DataFrame(rows.reshape(len(rows), -1), index, columns=names)


def panel(
    y: Any,
    X: Any,
    X_past: Any = None,
    static: Any = None,
    *,
    gaps: bool = False,
    goes_on: bool = False,
) -> Panel:
    """Return the series of y, each with its rows of X and X_past, and of static.

    With gaps, NaN stands for what is missing, but in static. With goes_on they are the next values
    of others, whose index says which theirs must be; they have none of their own then.

    Raises
    ------
    TypeError, ValueError
        If anything is no series of finite numbers, X doesn't belong to y, or an index of pandas has
        no regular steps.
    """
    if not checks.is_list_of_series(y):
        rows = statics(static, 1, listed=False)
        own, wide = one("y", y, ("X", X), ("X_past", X_past), rows[0], gaps, goes_on)
        return Panel(own, False, wide, len(own), columns("y", y) if wide else None)
    xs, pasts = _list_beside("X", X, len(y)), _list_beside("X_past", X_past, len(y))
    rows = statics(static, len(y), listed=True)
    found, wides = [], []
    for k in range(len(y)):
        own, wide = one(
            f"y[{k}]", y[k], (f"X[{k}]", xs[k]), (f"X_past[{k}]", pasts[k]), rows[k], gaps, goes_on
        )
        found.append(own)
        wides.append(wide)
        if (wide, len(own)) != (wides[0], len(found[0])):
            raise ValueError(
                f"y[{k}] must have the columns that y[0] has, {_shape(found[0], wides[0])}, got "
                f"{_shape(own, wide)}"
            )
        for name, width, first in (
            ("X", own[0].x.shape[1], found[0][0].x.shape[1]),
            ("X_past", own[0].read.shape[1], found[0][0].read.shape[1]),
        ):
            if width != first:
                raise ValueError(
                    f"{name}[{k}] must have {first} columns as {name}[0] has, got {width}"
                )
    names = columns("y", y) if wides[0] else None
    flat = [column for own in found for column in own]
    return Panel(flat, True, wides[0], len(found[0]), names)


def _shape(columns: list[Series], wide: bool) -> str:
    return f"shape (n, {len(columns)})" if wide else "shape (n,)"


def _list_beside(name: str, given: Any, count: int) -> Any:
    """Return a table for each series of a list, or None for each."""
    if given is None:
        return [None] * count
    if not isinstance(given, (list, tuple)) or len(given) != count:
        raise ValueError(
            f"{name} must be a list of {count} tables, as y is a list of {count} series, "
            f"got {validation.describe(given)}"
        )
    return given


def statics(static: Any, count: int, *, listed: bool) -> np.ndarray:
    """Return what is known of each series as a whole, (count, S)."""
    if static is None:
        return np.empty((count, 0))
    rows = _numbers("static", static)
    if rows.ndim == 1:
        rows = rows[:, None] if listed else rows[None]
    if rows.ndim != 2 or len(rows) != count or rows.shape[1] == 0:
        expected = f"({count}, columns), one row a series" if listed else "(columns,)"
        raise ValueError(f"static must have shape {expected}, got {np.shape(static)}")
    return rows


def one(
    name: str,
    y: Any,
    X: tuple[str, Any],
    X_past: tuple[str, Any],
    static: np.ndarray,
    gaps: bool,
    goes_on: bool,
) -> tuple[list[Series], bool]:
    """Return the columns of one series with what is known beside it, and whether it had some."""
    values = _numbers(name, y, gaps)
    listed = isinstance(y, (list, tuple))
    if values.ndim > 2 or (values.ndim == 2 and (listed or values.shape[1] == 0)):
        way = ""
        if values.ndim == 2 and listed:
            way = f"; for a list of series pass [np.asarray(one) for one in {name}]"
        raise ValueError(
            f"{name} must be one series, shape (n,), several that are forecast together, (n, K), "
            f"or a list of such arrays, got shape {values.shape}{way}"
        )
    index, n = index_of(y), len(values)
    x, read = (
        np.empty((n, 0)) if given is None else table(what, given, n, index, gaps=gaps)
        for what, given in (X, X_past)
    )
    wide = values.ndim == 2
    last, beyond, trading = None, 0, False
    if index is not None and not goes_on:
        last, beyond, trading = _last(name, index)
    names = [None] if index is None else [y.name] if not wide else list(y.columns)
    if wide and index is None:
        names = [None] * values.shape[1]
    none = np.empty((n, 0))
    return [
        Series(
            column, x, Form(last, label, beyond, trading), read, static, column, none, none, none
        )
        for column, label in zip((values if wide else values[:, None]).T.copy(), names, strict=True)
    ], wide


def table(
    name: str,
    X: Any,
    rows: int,
    index: Any = None,
    most: int | None = None,
    *,
    gaps: bool = False,
) -> np.ndarray:
    """Return a table of so many rows, (rows, F); its index, if both have one, must be the same.

    With `most` there may be more rows, up to so many.
    """
    values = _numbers(name, X, gaps)
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or values.shape[1] == 0:
        raise ValueError(f"{name} must have shape (rows, columns), got {values.shape}")
    if not rows <= len(values) <= (most or rows):
        beside = f', or up to {most} as strategy="direct" reads' if (most or rows) > rows else ""
        raise ValueError(f"{name} must have {rows} rows, one a step{beside}, got {len(values)}")
    own = index_of(X)
    if index is not None and own is not None:
        index = index[: len(values)]
        if not _same(own, index):
            k = int(np.argmin(own == index)) if len(own) == len(index) else 0
            raise ValueError(
                f"{name} must have the index of its series, {index[k]} in row {k}, got {own[k]}"
            )
    return values


def columns(name: str, X: Any) -> list[str] | None:
    """Return the names of the columns of a frame, or of a list of frames; None where it has none.

    Raises
    ------
    ValueError
        If the frames of a list differ.
    """
    tables = X if isinstance(X, (list, tuple)) else [X]
    names = [getattr(table, "columns", None) for table in tables]
    names = [None if found is None else [str(label) for label in found] for found in names]
    for k, found in enumerate(names):
        if found != names[0]:
            raise ValueError(
                f"{name}[{k}] must have the columns {names[0]}, as {name}[0] has, got {found}"
            )
    return names[0] if names else None


def _numbers(name: str, value: Any, gaps: bool = False) -> np.ndarray:
    """Return finite numbers in float64, or NaN for gaps; True is 1 and False 0."""
    if gaps:
        value = missing.opened(value)
    array = _floats(name, value) if (held := _held(value)) is None else _frame(name, held)
    bad = np.isinf(array) if gaps else ~np.isfinite(array)
    if bad.any():
        where = tuple(np.argwhere(bad)[0].tolist())
        way = "" if name == "static" else ', say missing="forward"'
        raise ValueError(
            f"{name} must be finite, got {array[where]} at index {', '.join(map(str, where))} and "
            f"{np.count_nonzero(bad)} such values in all; fill them{way if not gaps else ''}, or "
            "leave them out at the ends"
        )
    return array


def _floats(name: str, value: Any) -> np.ndarray:
    """Return real numbers in float64, whatever holds them but a frame."""
    try:
        array = np.asarray(validation.unmasked(name, value))
    except ValueError as error:
        if not isinstance(value, (list, tuple)) or "inhomogeneous" not in str(error):
            raise
        raise ValueError(
            f"{name} must be an array or a list of arrays, got a list of lists of different "
            f"lengths; where each is a series pass [np.asarray(one) for one in {name}]"
        ) from error
    words = array.dtype.kind == "O" and any(isinstance(entry, (str, bytes)) for entry in array.flat)
    if array.dtype.kind not in "biufO" or array.ndim == 0 or words:
        raise TypeError(f"{name} must hold real numbers, got {validation.describe(value)}")
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must hold real numbers, got {error}") from error


def _frame(name: str, held: list[tuple[Any, Any]]) -> np.ndarray:
    """Return the columns of a frame side by side, each converted on its own."""
    found, wrong = [], []
    for label, column in held:
        try:
            found.append(_floats(name, column))
        except TypeError:
            wrong.append(f"{label!r} of dtype {column.dtype}")
    if wrong:
        raise TypeError(f"{name} must hold real numbers, got the columns {', '.join(wrong)}")
    return np.stack(found, axis=1)


def _held(value: Any) -> list[tuple[Any, Any]] | None:
    """Return the columns of a frame of pandas or polars with their names, None of anything else."""
    names = getattr(value, "columns", None)
    if names is None or len(names) == 0:
        return None
    if hasattr(value, "iloc"):
        return [(name, value.iloc[:, k]) for k, name in enumerate(names)]
    if hasattr(value, "get_columns"):
        return [(column.name, column) for column in value.get_columns()]
    return None


def index_of(value: Any) -> Any:
    """Return the index of a pandas object, None of anything else."""
    pd = sys.modules.get("pandas")
    return value.index if pd and isinstance(value, (pd.Series, pd.DataFrame)) else None


def _same(own: Any, index: Any) -> bool:
    """Whether two indices of pandas are one, in whatever resolution their times are kept."""
    if own.equals(index):
        return True
    import pandas as pd

    times = type(own) is type(index) and isinstance(own, (pd.DatetimeIndex, pd.TimedeltaIndex))
    return times and len(own) == len(index) and bool((own == index).all())


TRADED = 0.9  # of all working days that an index has to have, the others being holidays
CLOSED = 7  # working days that may be left out beside them where an index goes on


def _is_trading(index: Any) -> bool:
    """Whether an index is of working days, rising, at one time of the day."""
    import pandas as pd

    if not isinstance(index, pd.DatetimeIndex) or not len(index) or index.hasnans:
        return False
    wall = index.tz_localize(None)
    days = wall.normalize()
    rising = days.is_monotonic_increasing and days.is_unique
    one_time = ((wall - days) == wall[0] - days[0]).all()
    return bool(rising and one_time and np.is_busday(days.to_numpy().astype("M8[D]")).all())


def _traded(index: Any) -> bool:
    """Whether an index is of working days without a few."""
    if not _is_trading(index):
        return False
    return len(index) >= TRADED * _working_days(index[0], index[-1])


def _working_days(first: Any, last: Any) -> int:
    """Return how many there are from one date to another, both counted."""
    begin, end = (np.datetime64(stamp.date(), "D") for stamp in (first, last))
    return int(np.busday_count(begin, end + 1))


def _last(name: str, index: Any) -> tuple[Any, int, bool]:
    """Return the last entry of an index that knows how to go on, and how many are after it.

    And whether it is of working days without some.
    """
    import pandas as pd

    wrong = ""
    if not len(index):  # whoever sees that it is too short will say so
        return pd.RangeIndex(1), 0, False
    if _has_missing(index):
        wrong = " with missing entries"
    elif isinstance(index, pd.PeriodIndex):
        if (index[1:] == index[:-1] + 1).all():
            return index[-1:], 0, False
        wrong = " with gaps"
    elif isinstance(index, (pd.DatetimeIndex, pd.TimedeltaIndex)):
        freq = _freq(index)
        if getattr(index, "tz", None) is not None and not _is_span(freq):
            found = _last_on_the_clock(index, freq)
            if found is not None:
                return *found, False
        elif freq is not None and freq.n > 0:
            return type(index)(index[-1:], freq=freq, name=index.name), 0, False
        if freq is None and _traded(index):
            return type(index)(index[-1:], freq="B", name=index.name), 0, True
        wrong = " without regular steps"
    elif pd.api.types.is_integer_dtype(index.dtype):
        values = index.to_numpy().astype(object)  # whose differences are what they are in any dtype
        steps = np.unique(np.diff(values))
        step = index.step if isinstance(index, pd.RangeIndex) else steps[0] if len(steps) else 1
        if len(steps) <= 1 and step > 0:
            last = int(index[-1])
            if last + step > _LARGEST:
                raise ValueError(
                    f"the index of {name} must end where a forecast can go on below "
                    f"{_LARGEST}, got {last} with steps of {step}"
                )
            return pd.RangeIndex(last, last + int(step), int(step), name=index.name), 0, False
        wrong = " without regular steps"
    raise ValueError(
        f"the index of {name} must be dates, periods, time spans or integers at regular, rising "
        f"steps, so that a forecast can continue it, got {type(index).__name__} of dtype "
        f"{index.dtype}{wrong}; pass {_way_out(name, index)}{name}.to_numpy() for a forecast "
        "without an index"
    )


def _has_missing(index: Any) -> bool:
    """Whether an entry is missing; those of several levels are refused anyway."""
    return index.nlevels == 1 and index.hasnans


def _way_out(name: str, index: Any) -> str:
    """Say how an index gets regular steps, where that can be told."""
    import pandas as pd

    times = isinstance(index, (pd.DatetimeIndex, pd.TimedeltaIndex, pd.PeriodIndex))
    if _has_missing(index) or not (times or pd.api.types.is_integer_dtype(index.dtype)):
        return ""
    if not index.is_unique:
        return f"{name}.groupby(level=0).mean(), or whatever makes one value of each step, or "
    if not index.is_monotonic_increasing:
        return f"{name}.sort_index(), or "
    if isinstance(index, pd.PeriodIndex):
        whole = f"pd.period_range({name}.index[0], {name}.index[-1])"
        return f"{name}.reindex({whole}) with its gaps filled, or "
    return f"{name}.asfreq(...) with its gaps filled, or " if times else ""


def _plain(name: Any) -> str | int | None:
    return name if type(name) in (str, int) else None
