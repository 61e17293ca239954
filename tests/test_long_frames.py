"""Long frames to series and back."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from helpers import forecaster

from numba_rnn.estimators import from_long, to_long

DAYS = pd.date_range("2024-01-01", periods=30)


def long():
    rng = np.random.default_rng(0)
    return pd.concat(
        pd.DataFrame({"id": name, "day": DAYS[:n], "y": rng.normal(size=n), "x": rng.random(n)})
        for name, n in (("b", 30), ("a", 25))
    )


def test_there_and_back():
    frame = long()
    series = from_long(frame, "id", "day", "y")
    assert list(series) == ["b", "a"] and [len(one) for one in series.values()] == [30, 25]
    assert series["a"].index.equals(DAYS[:25]) and series["a"].name == "y"
    mixed = from_long(frame.sample(frac=1, random_state=0), "id", "day", "y")
    for name, one in series.items():
        pd.testing.assert_series_equal(mixed[name], one, check_freq=False)
    pd.testing.assert_frame_equal(
        to_long(series, "id", "day"), frame[["id", "day", "y"]].reset_index(drop=True)
    )
    both = from_long(frame, "id", "day", ["y", "x"])
    assert list(both["b"].columns) == ["y", "x"]
    pd.testing.assert_frame_equal(to_long(both, "id", "day"), frame.reset_index(drop=True))


def test_names_are_those_of_others():
    frame = long().rename(columns={"id": "unique_id", "day": "ds"})
    pd.testing.assert_frame_equal(
        to_long(from_long(frame)), frame[["unique_id", "ds", "y"]].reset_index(drop=True)
    )


def test_frames_of_polars():
    frame = long()
    found = from_long(pl.DataFrame(frame.to_dict("list")), "id", "day", "y")
    pd.testing.assert_series_equal(
        found["a"], from_long(frame, "id", "day", "y")["a"], check_index_type=False
    )


@pytest.mark.parametrize("column", ["id", "day"])
def test_rows_that_belong_nowhere_are_not_dropped(column):
    frame = long().reset_index(drop=True)
    frame.loc[[3, 40], column] = None
    columns = {name: frame[name].astype(object).where(frame[name].notna(), None) for name in frame}
    for given in (frame, pl.DataFrame({name: list(values) for name, values in columns.items()})):
        with pytest.raises(ValueError, match=rf"must be in every row, got 2 of 55 .* '{column}'"):
            from_long(given, "id", "day")


def test_categories_that_are_not_there_are_no_series():
    frame = long()
    frame["id"] = pd.Categorical(frame["id"], ["a", "b", "c"])
    assert {name: len(one) for name, one in from_long(frame, "id", "day").items()} == {
        "b": 30,
        "a": 25,
    }


def test_forecasts_of_long_frames():
    series = from_long(long(), "id", "day", "y")
    past = from_long(long(), "id", "day", ["x"])
    model = forecaster(3, hidden_size=2, max_iter=2, n_iter_no_change=np.inf, random_state=0)
    model.fit(list(series.values()), X_past=list(past.values()))
    found = to_long(dict(zip(series, model.predict(), strict=True)), "id", "day", "y")
    assert list(found.columns) == ["id", "day", "y"] and found["id"].tolist() == [*"bbbaaa"]
    assert found["day"].tolist() == [*pd.date_range("2024-01-31", periods=3), *DAYS[25:28]]
    bands = to_long(dict(zip(series, model.predict_interval(), strict=True)), "id", "day")
    assert list(bands.columns) == ["id", "day", "lower", "upper"] and len(bands) == 6


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: from_long([1, 2]), TypeError, "frame must be a DataFrame"),
        (lambda: from_long({"unique_id": [1]}), TypeError, "frame must be a DataFrame"),
        (lambda: from_long(long()), ValueError, "id must be one of the columns .* 'unique_id'"),
        (lambda: from_long(long(), "id"), ValueError, "time must be one of the columns .* 'ds'"),
        (lambda: from_long(long(), "id", "day", ["y", "z"]), ValueError, "value must be one of"),
        (lambda: from_long(pd.concat([long()] * 2), "id", "day"), ValueError, "time must be diff"),
        (lambda: from_long(long()[:0], "id", "day"), ValueError, "frame must have rows, got none"),
        (lambda: from_long(long(), "id", "day", []), ValueError, "value must name one column at"),
        (lambda: from_long(long(), "id", "day", "day"), ValueError, "different .* id, day, day"),
        (lambda: from_long(long(), "id", "day", ["y", "id"]), ValueError, "different columns, got"),
        (lambda: from_long(long(), "id", "day", ["y", "y"]), ValueError, "different columns, got"),
        (lambda: from_long(long(), "id", "id"), ValueError, "must be different columns, got"),
        (lambda: to_long([1]), TypeError, "series must be a mapping"),
        (lambda: to_long({}), ValueError, "series must not be empty"),
        (lambda: to_long({"a": np.ones(3)}), TypeError, r"series\['a'\] must be a Series or a"),
    ],
)
def test_bad_frames(call, error, words):
    with pytest.raises(error, match=words):
        call()
