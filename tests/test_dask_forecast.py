"""Forecasters and lists of series that Dask holds: in bags, or as partitions of frames."""

import threading

import numpy as np
import pandas as pd
import pytest
from helpers import assert_same_bits
from sklearn.exceptions import NotFittedError

from numba_rnn.estimators import RNNForecaster, from_long, to_long, window_regressor

dask = pytest.importorskip("dask")
bags = pytest.importorskip("dask.bag")
frames = pytest.importorskip("dask.dataframe")

RNG = np.random.default_rng(0)
SERIES = [np.sin(np.arange(60 + k) / 3 + k) + 0.1 * RNG.normal(size=60 + k) for k in range(6)]
BESIDE = [np.column_stack([np.arange(64 + k) % 7, np.ones(64 + k)]) for k in range(6)]
# One batch an epoch: the order of the windows doesn't matter but for rounding.
WHOLE = {
    "batch_size": 10_000, "max_iter": 8, "shuffle": False, "dtype": "float64",
    "n_iter_no_change": np.inf,
}  # fmt: skip


@pytest.fixture(autouse=True)
def synchronous():
    with dask.config.set(scheduler="synchronous"):
        yield


def forecaster(**options):
    return RNNForecaster(4, random_state=0, regressor=window_regressor(**WHOLE), **options)


def weights(model):
    return np.concatenate([model.rnn_.flat_parameters, model.head_.flat_parameters])


@pytest.mark.parametrize("partitions", [1, 3, 6])
def test_a_bag_is_the_list_of_its_series(partitions):
    expected = forecaster().fit(SERIES)
    found = forecaster().fit(bags.from_sequence(SERIES, npartitions=partitions))
    np.testing.assert_allclose(weights(found), weights(expected), rtol=1e-8, atol=1e-10)
    turned = forecaster().fit(bags.from_sequence(SERIES[::-1], npartitions=partitions))
    np.testing.assert_allclose(turned.predict()[::-1], found.predict(), rtol=1e-6)
    np.testing.assert_allclose(found.predict(), expected.predict(), rtol=1e-8)
    np.testing.assert_allclose(found.validation_scores_, expected.validation_scores_, rtol=1e-7)


def test_forecasts_of_other_series_where_they_are():
    model = forecaster(linear=False).fit(SERIES)
    others = bags.from_sequence([one[7:] for one in SERIES], npartitions=4)
    for method, options in (
        ("predict", {}), ("predict", {"steps": 2}), ("predict_interval", {"coverage": 0.8}),
        ("predict_quantiles", {"quantiles": (0.2, 0.7)}),
    ):  # fmt: skip
        expected = getattr(model, method)(y=[one[7:] for one in SERIES], **options)
        found = getattr(model, method)(y=others, **options)
        assert found.npartitions == others.npartitions
        assert_same_bits(found.compute(), expected)
    some = others.filter(lambda one: len(one) > 55)  # partitions may be empty
    assert len(model.predict(y=some).compute()) == 3


def test_x_comes_in_the_same_partitions():
    known = [x[: len(y)] for x, y in zip(BESIDE, SERIES, strict=True)]
    model = forecaster().fit(SERIES, known)
    found = forecaster().fit(*(bags.from_sequence(one, npartitions=3) for one in (SERIES, known)))
    np.testing.assert_allclose(weights(found), weights(model), rtol=1e-8, atol=1e-10)
    y, X = (bags.from_sequence(one, npartitions=3) for one in (SERIES, BESIDE))
    assert_same_bits(model.predict(4, X, y=y).compute(), model.predict(4, BESIDE, y=SERIES))
    with pytest.raises(TypeError, match="X must be in partitions as y is, a Bag of 3, got list"):
        model.predict(4, BESIDE, y=y)
    with pytest.raises(TypeError, match="X must be in partitions as y is"):
        model.predict(4, bags.from_sequence(BESIDE, npartitions=2), y=y)


def test_what_is_known_of_series_as_a_whole():
    static = RNG.normal(size=(6, 2))
    model = forecaster(linear=False).fit(SERIES, static=static)
    found = forecaster(linear=False).fit(bags.from_sequence(SERIES, npartitions=3), static=static)
    np.testing.assert_allclose(weights(found), weights(model), rtol=1e-8, atol=1e-10)
    y, rows = (bags.from_sequence(one, npartitions=3) for one in (SERIES, list(static)))
    ahead = model.predict(y=y, static=rows).compute()
    assert_same_bits(ahead, model.predict(y=SERIES, static=static))
    with pytest.raises(TypeError, match="static must be in partitions as y is, a Bag of 3"):
        model.predict(y=y, static=static[:2])


def test_what_is_not_taken():
    y = bags.from_sequence(SERIES, npartitions=3)
    with pytest.raises(NotFittedError):
        forecaster().predict(y=y)
    model = forecaster().fit(SERIES)
    with pytest.raises(ValueError, match="steps must be"):
        model.predict(-1, y=y)
    with pytest.raises(TypeError, match="a bag must hold series, got one that holds numbers"):
        forecaster().fit(bags.from_sequence(SERIES[0].tolist()))
    lock = threading.Lock()
    own = window_regressor(**WHOLE, loss=lambda *given: lock)
    with pytest.raises(TypeError, match="loss must be something that can be pickled"):
        RNNForecaster(4, regressor=own).fit(y)
    assert forecaster().backtest(y, 1).scores == forecaster().backtest(SERIES, 1).scores


@pytest.mark.parametrize("first", [0, 1])
def test_a_checkpoint_belongs_to_the_list_or_to_the_bag(first, tmp_path):
    given = [SERIES, bags.from_sequence(SERIES, npartitions=3)]
    forecaster(checkpoint=tmp_path / "c").fit(given[first])
    forecaster(checkpoint=tmp_path / "c").fit(given[first])
    with pytest.raises(ValueError, match="with other X or y"):
        forecaster(checkpoint=tmp_path / "c").fit(given[1 - first])


def test_a_partition_of_a_frame_is_a_series():
    days = [pd.Series(y, pd.date_range("2026-01-01", periods=len(y)), name="y") for y in SERIES]
    lazy = frames.from_delayed(
        [dask.delayed(one) for one in days], meta=days[0].iloc[:0], verify_meta=False
    )
    expected, found = forecaster().fit(days), forecaster().fit(lazy)
    for one, other in zip(found.predict(), expected.predict(), strict=True):
        pd.testing.assert_series_equal(one, other, rtol=1e-8)
    ahead = dask.compute(*found.predict(y=lazy))
    for one, other in zip(ahead, found.predict(y=days), strict=True):
        pd.testing.assert_series_equal(one, other)


def test_long_frames_partition_by_partition():
    long = to_long({f"shop {k}": pd.Series(one) for k, one in enumerate(SERIES)})
    lazy = frames.from_pandas(long.set_index("unique_id"), npartitions=3).reset_index()

    @dask.delayed
    def apart(part):
        return list(from_long(part).values())

    bag = bags.from_delayed([apart(part) for part in lazy.to_delayed()])
    found, expected = forecaster().fit(bag), forecaster().fit(list(from_long(long).values()))
    np.testing.assert_allclose(weights(found), weights(expected), rtol=1e-8, atol=1e-10)
