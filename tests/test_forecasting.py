"""RNNForecaster against forecasts by hand, its intervals, its indices, and what it must not see."""

import pickle
import re
import tracemalloc
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from helpers import assert_same_bits, forecaster
from scipy.stats import norm, t
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import ParameterGrid

import numba_rnn as nr
from numba_rnn.estimators import Backtest, RNNForecaster, RNNRegressor, window_regressor
from numba_rnn.estimators.differencing import difference, undo

STRATEGIES = ("recursive", "direct")


def small(window=5, horizon=3, **options):
    """Return a forecaster that is fitted in no time: a network alone."""
    quick = {"hidden_size": 3, "max_iter": 2, "n_iter_no_change": np.inf, "random_state": 0}
    quick |= {"linear": False, "strategy": "recursive", "season": 1, "early_stopping": False}
    quick |= {"validation_fraction": 0.1, "batch_size": "auto"}
    if options.get("season") not in (None, 1):
        quick["difference_season"] = True
    return forecaster(horizon, window=window, **quick | options)


def change(model, **options):
    """Set parameters of a forecaster, or of its regressor."""
    own = model.get_params(deep=False)
    return model.set_params(**{k if k in own else f"regressor__{k}": v for k, v in options.items()})


def walk(n=60, seed=0):
    return np.cumsum(np.random.default_rng(seed).normal(size=n)) + 10


def weights(model):
    return [model.rnn_.flat_parameters, model.head_.flat_parameters]


# --- differences --------------------------------------------------------------------------------

LAGS = [[], [1], [1, 1], [1, 1, 1], [4], [4, 1], [7, 1, 1]]


@pytest.mark.parametrize("lags", LAGS, ids=str)
@pytest.mark.parametrize("steps", [1, 4, 11])
def test_undo_is_the_inverse_of_difference(lags, steps):
    y = np.random.default_rng(0).integers(-1000, 1000, (2, 3, 20 + steps)).astype(float)
    z = difference(y, lags)
    assert z.shape == (2, 3, 20 + steps - sum(lags))
    np.testing.assert_array_equal(undo(z[..., -steps:], y[..., :20], lags), y[..., -steps:])


def test_difference_is_that_of_the_definition():
    y = walk(30)
    seasonal = [y[t] - y[t - 7] for t in range(7, 30)]
    expected = [seasonal[t] - seasonal[t - 1] for t in range(1, len(seasonal))]
    np.testing.assert_array_equal(difference(y, [7, 1]), expected)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("season, times", [(None, 1), (None, 2), (4, 0), (4, 1)])
def test_what_differences_leave_constant_is_continued_exactly(season, times, strategy):
    """A readout of 0 forecasts the mean of the differences, so a line or a season goes on."""
    t = np.arange(50.0)
    trend = t**2 if times == 2 else 3 * t
    y = trend + (np.resize([5.0, -1, 0, 2], 50) if season else 0)
    model = small(season=season, difference=times, strategy=strategy).fit(y[:40])
    model.head_.flat_parameters[:] = 0
    np.testing.assert_allclose(model.predict(10), y[40:], rtol=1e-12)


# --- what the network reads, and what becomes of what it says ------------------------------------


def table(windows, targets):
    """Windows as an array (N, w, F), beside their targets."""
    return windows.rows[windows.starts[:, None] + np.arange(windows.lengths[0])], targets


@pytest.fixture
def seen(monkeypatch):
    """What RNNRegressor begins with: inputs, targets, and both to validate on."""
    calls = []

    def begin(self, X, y, original=RNNRegressor._begin, validation_data=None, **options):
        calls.append(
            (*table(X, y), *(table(*validation_data) if validation_data else (None, None)))
        )
        return original(self, X, y, validation_data=validation_data, **options)

    monkeypatch.setattr(RNNRegressor, "_begin", begin)
    return calls


@pytest.mark.parametrize("strategy, k", [("recursive", 1), ("direct", 3)])
def test_windows_hold_the_values_that_they_should(seen, strategy, k):
    y, x = np.arange(20.0) ** 2, np.stack([np.arange(20.0), 100 + np.arange(20.0)], axis=1)
    options = {"strategy": strategy, "standardize": False, "calibration_fraction": 0}
    small(4, 3, difference=1, **options).fit(y, x)
    inputs, targets, *held = seen[0]
    assert inputs.shape == (20 - 4 - 1 - k + 1, 4, 5) and targets.shape == (len(inputs), k)
    assert held == [None, None]
    for n in range(len(inputs)):
        for s in range(4):
            t = n + 1 + s  # the step that is read: differences begin one step later
            np.testing.assert_array_equal(
                inputs[n, s], [y[t] - y[t - 1], *x[t], *x[t + k]], err_msg=f"{n}, {s}"
            )
        t = n + 1 + 4
        np.testing.assert_array_equal(targets[n], y[t : t + k] - y[t - 1 : t + k - 1])


def by_hand(model, y, x, future, steps):
    """Forecast step by step in plain Python: season of 4, one difference."""
    k = model.horizon if model.strategy == "direct" else 1
    known, beside = list(y), [*x, *future]
    beside = [(row - model.x_mean_) / model.x_scale_ for row in beside]
    while len(known) < len(y) + steps:
        d = [known[t] - known[t - 4] - known[t - 1] + known[t - 5] for t in range(5, len(known))]
        z = [(value - model.y_mean_[0]) / model.y_scale_[0] for value in d]
        n, w = len(known), model.window
        read = [[z[t - 5], *beside[t], *beside[t + k]] for t in range(n - w, n)]
        for value in model.regressor_.predict(np.array([read]))[0]:
            change = value * model.y_scale_[0] + model.y_mean_[0]
            known.append(change + known[-4] + known[-1] - known[-5])
    return known[len(y) : len(y) + steps]


@pytest.mark.parametrize("strategy, rows", [("recursive", 7), ("direct", 9)])
def test_forecast_by_hand(strategy, rows):
    x = np.random.default_rng(1).normal(size=(80, 2))
    y = walk(70)
    model = small(season=4, difference=1, strategy=strategy, dtype="float64").fit(y, x[:70])
    forecast = model.predict(7, x[70 : 70 + rows])
    assert forecast.shape == (7,) and forecast.dtype == np.float64
    expected = by_hand(model, y, x[:70], x[70 : 70 + rows], 7)
    np.testing.assert_allclose(forecast, expected, rtol=1e-9)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_fewer_steps_are_the_first_ones_of_more(strategy):
    model = small(strategy=strategy).fit(walk())
    many = model.predict(10)  # beyond the horizon too
    for steps in (1, 2, 3, 4, 9):
        assert_same_bits(model.predict(steps), many[:steps])


def test_scaling_of_every_series_and_column():
    """Units of a series or a column change nothing but the unit of the forecast."""
    y, x = walk(), np.random.default_rng(1).normal(size=(63, 1))
    options = {"dtype": "float64", "max_iter": 5}
    plain = small(**options).fit([y, y[::-1]], [x[:60], x[:60]])
    other = small(**options).fit([4000 * y + 7, y[::-1]], [2 - 50 * x[:60], 2 - 50 * x[:60]])
    expected = plain.predict(3, [x[60:], x[60:]])
    found = other.predict(3, [2 - 50 * x[60:], 2 - 50 * x[60:]])
    # a column that changes its sign is another one to a random network
    assert not np.allclose(found[1], expected[1], rtol=1e-3)
    other = small(**options).fit([4000 * y + 7, y[::-1]], [2 + 50 * x[:60], 2 + 50 * x[:60]])
    found = other.predict(3, [2 + 50 * x[60:], 2 + 50 * x[60:]])
    np.testing.assert_allclose(found[0], 4000 * expected[0] + 7, rtol=1e-9)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-9)


CONSTANTS = [1e-6, 0.0, 1.0, -2.5, 1e12, 1e-300, 0.1]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("lags", [{}, {"difference": 1}, {"season": 4, "difference": 1}], ids=str)
def test_a_constant_is_forecast_whatever_its_size(strategy, lags, tmp_path):
    options = {"strategy": strategy, **lags}
    for size in CONSTANTS:
        model = small(**options).fit(np.full(50, size))
        assert model.predict(7).tolist() == [size] * 7
        band = model.predict_interval(3, coverage=0.5)
        assert band.tolist() == [[size, size]] * 3
    many = [walk(), *[np.full(50, size) for size in CONSTANTS], 1e-6 * walk(seed=1)]
    model = small(**options).fit(many)
    nr.save(model, tmp_path / "model")
    for each in (model, nr.load(tmp_path / "model")):
        for size, found in zip(CONSTANTS, each.predict(7)[1:], strict=False):
            assert found.tolist() == [size] * 7
        for size, band in zip(CONSTANTS, each.predict_interval(3)[1:], strict=False):
            assert band.tolist() == [[size, size]] * 3
    # what the others are off by says how wide their intervals are, and constants say nothing of it
    assert len(model.residuals_) == len(small(**options).fit([many[0], many[-1]]).residuals_)
    assert (np.diff(model.predict_interval(3)[0]) > 0).all()


@pytest.mark.parametrize("slope, offset", [(0.1, 0), (1e-9, 0), (0.1, 1e6), (3, -1e-3)])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_line_is_a_constant_but_for_rounding(strategy, slope, offset):
    y = offset + slope * np.arange(70)
    model = small(difference=1, strategy=strategy).fit([y[:60], walk()])
    size = np.abs(y).max()
    np.testing.assert_allclose(model.predict(10)[0], y[60:], rtol=0, atol=1e-13 * size)
    assert np.ptp(model.predict_interval(3)[0], axis=1).max() < 1e-13 * size


def test_a_series_that_is_constant_up_to_what_is_held_back():
    """Nothing is learnt of it; how far it then goes says what its unit is."""
    unit = 1e-6
    y = np.concatenate([np.full(48, 5 * unit), unit * (5 + walk(12))])
    model, other = small().fit(y), small().fit(y / unit)
    assert model.y_mean_ == 5 * unit and 0 < model.y_scale_ < 20 * unit
    np.testing.assert_allclose(model.predict(4) / unit, other.predict(4), rtol=1e-4)
    lower, upper = model.predict_interval(1, coverage=0.5)[0]
    assert 0 < upper - lower < 60 * unit


def test_a_warm_start_scales_what_was_constant():
    flat, y = np.full(60, 1e-6), walk()
    model = small(warm_start=True).fit([flat, y])
    before = [model.y_mean_[1], model.y_scale_[1]]
    model.fit([1e-6 * y, 3 * y])
    assert model.y_scale_[0] == pytest.approx(1e-6 * before[1])
    assert model.y_scale_[1] == pytest.approx(3 * before[1])
    assert np.ptp(model.predict(5)[0]) > 0


def test_a_constant_column_beside_the_series():
    y = walk()
    expected = small(dtype="float64").fit(y, np.zeros(60)).predict(3, np.zeros(3))
    for size in CONSTANTS:
        model = small(dtype="float64").fit(y, np.full(60, size))
        assert model.x_scale_.tolist() == [1]
        assert_same_bits(model.predict(3, np.full(3, size)), expected)


def test_a_list_of_one_is_that_one():
    y = walk()
    one, listed = small().fit(y), small().fit([y])
    assert_same_bits(listed.predict(4), [one.predict(4)])
    assert_same_bits(
        listed.predict_interval(3, coverage=0.5), [one.predict_interval(3, coverage=0.5)]
    )


def test_series_of_different_lengths():
    ys = [walk(60), 1e3 * walk(45, seed=1), walk(30, seed=2)]
    model = small().fit(ys)
    assert [len(f) for f in model.predict(4)] == [4, 4, 4]
    # held back are 12, 9 and 6 values, which make 10, 7 and 4 whole horizons
    assert model.residuals_.shape == (21, 3)
    widths = [np.diff(band)[:, 0] for band in model.predict_interval(3)]
    np.testing.assert_allclose(widths[1] / model.y_scale_[1], widths[0] / model.y_scale_[0])


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_it_learns_what_is_known_beside_the_series(strategy):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, 420).astype(float)
    y = 3 * x + 0.1 * rng.normal(size=420)
    model = forecaster(
        4, window=4, strategy=strategy, linear=False, early_stopping=False, hidden_size=16,
        learning_rate_init=1e-2, max_iter=40,
        n_iter_no_change=np.inf, batch_size=32, calibration_fraction=0, random_state=0,
    )  # fmt: skip
    forecast = model.fit(y[:412], x[:412]).predict(8, x[412:])
    assert np.sqrt(np.mean((forecast - y[412:]) ** 2)) < 0.4  # the standard deviation is 1.5


# --- what may not be seen -----------------------------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("early_stopping", [False, True])
def test_nothing_is_learnt_from_values_held_back(strategy, early_stopping):
    y, x = walk(100), np.random.default_rng(1).normal(size=(100, 2))
    options = {"strategy": strategy, "early_stopping": early_stopping, "difference": 1}
    model = small(season=4, **options).fit(y, x)
    y2, x2 = y.copy(), x.copy()
    y2[80:] = 50 * y[80:] ** 2  # calibration_fraction is 0.2
    x2[80:] -= 100
    other = small(season=4, **options).fit(y2, x2)
    assert_same_bits(weights(other), weights(model))
    for name in ("y_mean_", "y_scale_", "x_mean_", "x_scale_"):
        assert_same_bits(getattr(other, name), getattr(model, name))
    assert other.loss_curve_ == model.loss_curve_
    assert other.validation_scores_ == model.validation_scores_
    assert (other.residuals_ != model.residuals_).all()
    alone = small(season=4, calibration_fraction=0, **options).fit(y[:80], x[:80])
    assert_same_bits(weights(alone), weights(model))


@pytest.mark.parametrize("strategy, k", [("recursive", 1), ("direct", 3)])
def test_windows_for_early_stopping_come_later(seen, strategy, k):
    ys = [walk(60), walk(47, seed=1)]
    options = {"strategy": strategy, "early_stopping": True, "calibration_fraction": 0}
    model = small(5, 3, **options, validation_fraction=0.25).fit(ys)
    assert len(model.validation_scores_) == 2
    inputs, _, later, _ = seen[0]
    counts = [60 - 5 - k + 1, 47 - 5 - k + 1]
    for i, count in enumerate(counts):
        held = -(-count // 4)
        z = (ys[i] - model.y_mean_[i]) / model.y_scale_[i]
        every = np.lib.stride_tricks.sliding_window_view(z, 5)[:count]
        # the last target of window n is value n + k - 1 after the first window
        for begin, end, found in (
            (0, count - held - (k - 1), inputs),
            (count - held, count, later),
        ):
            assert_same_bits(found[: end - begin, :, 0], every[begin:end])
        inputs, later = inputs[count - held - (k - 1) :], later[held:]
    assert len(inputs) == len(later) == 0


@pytest.mark.parametrize("strategy, k", [("recursive", 1), ("direct", 3)])
def test_nothing_but_the_stop_comes_from_values_for_early_stopping(strategy, k):
    y, x = walk(64), np.random.default_rng(1).normal(size=(64, 1))
    options = {"strategy": strategy, "early_stopping": True, "calibration_fraction": 0}
    model = small(5, 3, max_iter=1, **options).fit(y, x)
    windows = 64 - 5 - k + 1
    first = windows - -(-windows // 10) + 5  # value that is the first validated target
    y2, x2 = y.copy(), x.copy()
    y2[first:] *= -3
    x2[first:] += 100
    other = small(5, 3, max_iter=1, **options).fit(y2, x2)
    assert_same_bits(weights(other), weights(model))
    assert other.loss_curve_ == model.loss_curve_
    assert other.validation_scores_ != model.validation_scores_


def test_backtest_sees_nothing_of_the_future():
    y, x = walk(80), np.random.default_rng(1).normal(size=(80, 1))
    before = small(strategy="direct", difference=1).backtest(y, 3, x)
    y2, x2 = y.copy(), x.copy()
    y2[74:] += 100  # folds begin at 71, 74 and 77
    x2[77:] += 100
    after = small(strategy="direct", difference=1).backtest(y2, 3, x2)
    np.testing.assert_array_equal(before.origins, [71, 74, 77])
    for name, values in before.forecasts.items():
        assert_same_bits(after.forecasts[name][:2], values[:2], name)
        assert (after.forecasts[name][2] != values[2]).any(), name
    assert_same_bits(after.scale[:2], before.scale[:2])


# --- intervals ----------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_residuals_are_those_of_forecasts_from_each_step(strategy):
    y = walk(70)
    model = small(strategy=strategy, difference=1).fit(y)
    assert model.residuals_.shape == (70 - 56 - 3 + 1, 3)
    for j, residuals in enumerate(model.residuals_):
        model._values = y[None, 56 + j - 6 : 56 + j]  # as if the series had ended there
        error = y[56 + j : 59 + j] - model.predict(3)
        np.testing.assert_allclose(residuals * model.y_scale_[0], error, atol=1e-12)


def test_the_interval_reaches_to_the_residual_of_the_right_rank():
    """n + 1 equally likely ranks: the k-th smallest of n covers with probability k / (n + 1)."""
    model = small(horizon=2).fit(walk())
    model.residuals_ = np.array([[3, -1, 2, -7, 5, 4, 9, -6, 8], np.arange(9) * 10.0]).T
    centre = model.predict(2)
    for coverage, rank in ((0.1, 1), (0.11, 2), (0.5, 5), (0.7, 7), (0.81, 9), (0.9, 9)):
        lower, upper = model.predict_interval(2, coverage=coverage).T
        ranked = np.sort(np.abs(model.residuals_), axis=0)[rank - 1] * model.y_scale_[0]
        ranked *= stretch(9 / 2, coverage)
        np.testing.assert_allclose(upper - centre, ranked, rtol=1e-9)
        np.testing.assert_allclose(centre - lower, ranked, rtol=1e-9)
    # beyond that the residuals of both steps are one, in the unit of each step
    units = np.sqrt(np.mean(model.residuals_**2, axis=0))
    together = np.sort(np.abs(model.residuals_ / units), axis=None)
    width = np.diff(model.predict_interval(2, coverage=0.91))[:, 0] / 2
    expected = units * together[18 - 1] * stretch(9 / 2, 0.91) * model.y_scale_[0]
    np.testing.assert_allclose(width, expected, rtol=1e-9)
    with pytest.warns(UserWarning, match="9 residuals were held back.* coverage 0.99; their ends"):
        width = np.diff(model.predict_interval(2, coverage=0.99))[:, 0] / 2
    expected = units * t.ppf(0.995, 9 / 2 + 1.5) * model.y_scale_[0]
    np.testing.assert_allclose(width, expected, rtol=1e-9)


def stretch(horizons, coverage):
    return t.ppf((1 + coverage) / 2, horizons + 1.5) / norm.ppf((1 + coverage) / 2)


@pytest.mark.parametrize("coverage", [0.5, 0.9])
def test_coverage_is_reached_where_residuals_are_exchangeable(coverage):
    """Of white noise; the coverage given the n = 500 residuals is beta distributed around it."""
    rng = np.random.default_rng(3)
    model = small(window=3, horizon=2, calibration_fraction=0.5).fit(rng.normal(size=1002))
    assert model.residuals_.shape == (500, 2)
    bands = model.predict_interval(2, coverage=coverage)
    fresh = rng.normal(size=(100_000, 2))
    inside = ((fresh >= bands[:, 0]) & (fresh <= bands[:, 1])).mean(axis=0)
    sigma = np.sqrt(coverage * (1 - coverage) / 500)
    assert (np.abs(inside - coverage) < 3 * sigma).all()


def test_intervals_grow_with_coverage_and_steps_ahead():
    model = small(10, 10, difference=1, calibration_fraction=0.4).fit(walk(400))
    narrow, wide = (model.predict_interval(10, coverage=c) for c in (0.5, 0.95))
    assert (wide[:, 0] < narrow[:, 0]).all() and (narrow[:, 1] < wide[:, 1]).all()
    widths = np.diff(wide)[:, 0]
    assert widths[9] > 2 * widths[0]  # a random walk: as the root of the steps, 3.2
    assert_same_bits(model.predict_interval(4), model.predict_interval(10)[:4])


# --- pandas and polars --------------------------------------------------------------------------

INDICES = {
    "days": pd.date_range("2024-02-01", periods=64, freq="D"),
    "month ends": pd.date_range("2019-01-31", periods=64, freq="ME", name="month"),
    "working days": pd.date_range("2024-01-01", periods=64, freq="B"),
    "weeks to Saturday": pd.date_range("2019-01-05", periods=64, freq="W-SAT"),
    "hours over a change of the clock": pd.date_range(
        "2024-03-29", periods=64, freq="h", tz="Europe/Berlin"
    ),
    "days over a change of the clock": pd.date_range(
        "2024-01-29", periods=64, freq="D", tz="America/New_York"
    ),
    "nanoseconds": pd.date_range("2024", periods=64, freq="3ns", unit="ns"),
    "seconds": pd.date_range("2024", periods=64, freq="s", unit="s"),
    "periods": pd.period_range("2020-01", periods=64, freq="M"),
    "quarters": pd.period_range("2001Q1", periods=64, freq="Q-NOV", name="quarter"),
    "spans": pd.timedelta_range("0h", periods=64, freq="90min"),
    "range": pd.RangeIndex(64),
    "range with steps": pd.RangeIndex(10, 10 + 64 * 5, 5, name="n"),
}


@pytest.mark.parametrize("kind", INDICES)
def test_the_index_is_continued(kind):
    index, y = INDICES[kind], walk(64)
    model = small().fit(pd.Series(y[:60], index[:60], name="sales"))
    forecast = model.predict(4)
    pd.testing.assert_index_equal(forecast.index, index[60:], exact=True)
    assert forecast.index.name == index.name and forecast.name == "sales"
    assert getattr(forecast.index, "freq", None) == getattr(index, "freq", None)
    assert_same_bits(forecast.to_numpy(), small().fit(y[:60]).predict(4))
    band = model.predict_interval(3)
    pd.testing.assert_index_equal(band.index, index[60:63], exact=True)
    assert list(band.columns) == ["lower", "upper"]


TIMES = [k for k in INDICES if isinstance(INDICES[k], (pd.DatetimeIndex, pd.TimedeltaIndex))]


@pytest.mark.parametrize("kind", TIMES)
def test_an_index_without_freq_is_continued_where_it_is_regular(kind):
    index, y = INDICES[kind], walk(64)
    bare = index.copy(deep=True)  # or else old versions share the freq
    bare.freq = None
    forecast = small().fit(pd.Series(y[:60], bare[:60])).predict(4)
    pd.testing.assert_index_equal(forecast.index, index[60:], exact=True)


def test_whole_numbers_as_an_index():
    y = walk()
    forecast = small().fit(pd.Series(y, pd.Index(np.arange(2000, 2120, 2)))).predict(3)
    assert forecast.index.tolist() == [2120, 2122, 2124]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint64", "Int64", "UInt8"])
def test_whole_numbers_of_any_dtype_as_an_index(dtype):
    y, index = walk(), pd.Index(np.arange(3, 123, 2), dtype=dtype)
    assert small().fit(pd.Series(y, index)).predict(5).index.tolist() == [123, 125, 127, 129, 131]
    if dtype == "int8":  # whose steps, 254, it can't hold
        few = small(1, 1, calibration_fraction=0).fit(
            pd.Series(y[:2], pd.Index([-127, 127], dtype))
        )
        assert few.predict(2).index.tolist() == [381, 635]
    for falling in (index[::-1], pd.Index(np.arange(120, 0, -2), dtype=dtype)):
        with pytest.raises(ValueError, match=rf"{dtype} without regular steps"):
            small().fit(pd.Series(y, falling))


def test_an_index_that_ends_where_integers_do():
    far = 2**63 - 5
    model = small().fit(pd.Series(walk(), pd.RangeIndex(far - 59, far + 1)))
    assert model.predict(4).index.tolist() == [far + 1, far + 2, far + 3, far + 4]
    with pytest.raises(ValueError, match=f"steps must not continue the index beyond {2**63 - 1}"):
        model.predict(5)
    with pytest.raises(ValueError, match="the index of y must end where a forecast can go on"):
        small().fit(pd.Series(walk(), pd.Index(np.arange(2**63, 2**63 + 60, dtype="uint64"))))


DAYS = pd.date_range("2024", periods=60, freq="D")
BAD_INDICES = {
    "a gap": DAYS.delete(30).append(pd.DatetimeIndex(["2024-03-05"])),
    "backwards": DAYS[::-1],
    "periods with a gap": pd.period_range("2020", periods=61, freq="M").delete(5),
    "numbers with a gap": pd.Index([*range(59), 70]),
    "numbers backwards": pd.RangeIndex(60, 0, -1),
    "words": pd.Index([f"day {k}" for k in range(60)]),
    "fractions": pd.Index(np.arange(60) / 2),
    "levels": pd.MultiIndex.from_product([range(6), range(10)]),
    "unsigned backwards": pd.Index(np.arange(60, 0, -1), dtype="uint64"),
    "twice": DAYS[:59].append(DAYS[58:59]),
    "periods twice": pd.period_range("2020", periods=59, freq="M").repeat([1] * 58 + [2]),
    "numbers twice": pd.Index([*range(59), 58]),
    "nothing": DAYS[:59].append(pd.DatetimeIndex([None])),
    "no number": pd.Index([*range(59), None], dtype="Int64"),
    "a gap in a zone": DAYS.delete(30).append(pd.DatetimeIndex(["2024-03-05"])).tz_localize("UTC"),
}
REPAIRS = {
    "a gap": r"y\.asfreq\(",
    "a gap in a zone": r"y\.asfreq\(",
    "backwards": r"y\.sort_index\(\)",
    "unsigned backwards": r"y\.sort_index\(\)",
    "numbers backwards": r"y\.sort_index\(\)",
    "periods with a gap": r"y\.reindex\(pd\.period_range\(y\.index\[0\], y\.index\[-1\]\)\)",
    "twice": r"y\.groupby\(level=0\)\.mean\(\)",
    "periods twice": r"y\.groupby\(level=0\)\.mean\(\)",
    "numbers twice": r"y\.groupby\(level=0\)\.mean\(\)",
}  # what is advised, and of the others nothing but to_numpy


@pytest.mark.parametrize("kind", BAD_INDICES)
def test_an_index_that_nothing_follows_from(kind):
    way = f"{REPAIRS[kind]}.*, or " if kind in REPAIRS else ""
    words = rf"the index of y must be .* regular.*; pass {way}y\.to_numpy\(\)"
    y = pd.Series(walk(), BAD_INDICES[kind])
    with pytest.raises(ValueError, match=words):
        small().fit(y)
    small().fit(y.to_numpy())
    repaired = {
        "asfreq": lambda: y.asfreq("D").interpolate(),
        "sort_index": lambda: y.sort_index(),
        "reindex": lambda: y.reindex(pd.period_range(y.index[0], y.index[-1])).interpolate(),
        "groupby": lambda: y.groupby(level=0).mean(),
    }
    for name, repair in repaired.items():
        if name in way:
            small().fit(repair())


def test_whatever_holds_numbers():
    y, x = walk(), np.random.default_rng(1).normal(size=(63, 2))
    expected = small().fit(y, x[:60]).predict(3, x[60:])
    frame = pl.DataFrame(x, schema=["a", "b"])
    for values in (y.tolist(), tuple(y), pl.Series("y", y), y.astype(object)):
        model = small().fit(values, frame[:60])
        assert_same_bits(model.predict(3, frame[60:]), expected)
        assert model.feature_names_in_.tolist() == ["a", "b"]
    assert_same_bits(small().fit(y, x[:60].tolist()).predict(3, x[60:].tolist()), expected)
    one = small().fit(y, x[:60, 0]).predict(3, x[60:, 0])
    assert_same_bits(small().fit(y, x[:60, :1]).predict(3, pd.Series(x[60:, 0])), one)


def test_truths_are_one_and_zero():
    open_, x = np.arange(63) % 3 == 0, np.random.default_rng(1).normal(size=63)
    numbers = np.stack([open_, x], axis=1)
    expected = small().fit(numbers[:60, 0], numbers[:60]).predict(3, numbers[60:])
    columns = {"open": open_, "x": x}
    frames = [
        pd.DataFrame(columns),
        pd.DataFrame(columns).astype({"open": "boolean", "x": "Float64"}),
        pl.DataFrame(columns),
        pd.DataFrame(columns).astype(object),
    ]
    for frame in frames:
        model = small().fit(frame["open"][:60], frame[:60])
        assert_same_bits(np.asarray(model.predict(3, frame[60:])), expected)
    truths = small().fit(open_[:60], open_[:60, None]).predict(3, open_[60:])
    assert_same_bits(truths, small().fit(1.0 * open_[:60], 1.0 * open_[:60]).predict(3, open_[60:]))
    only = pd.DataFrame({"a": open_, "b": ~open_})
    assert_same_bits(
        small().fit(x[:60], only[:60]).predict(3, only[60:]),
        small().fit(x[:60], only[:60].astype(float)).predict(3, only[60:].astype(float)),
    )


@pytest.mark.parametrize("package", [pd, pl], ids=["pandas", "polars"])
def test_columns_without_numbers_are_named(package):
    frame = package.DataFrame(
        {"a": Y, "day": DAYS.to_numpy(), "b": Y > 10, "kind": ["x", "y"] * 30, "n": ["1", "2"] * 30}
    )
    with pytest.raises(TypeError) as caught:
        small().fit(Y, frame)
    words = "X must hold real numbers, got the columns 'day' of dtype .*, 'kind' of .*, 'n' of "
    assert re.match(words, str(caught.value)) and "\n" not in str(caught.value)
    with pytest.raises(TypeError, match=r"y must hold real numbers, got list \['1', '2'"):
        small().fit(["1", "2"] * 30)
    with pytest.raises(TypeError, match="y must hold real numbers, got ndarray of shape"):
        small().fit(np.array(["1", "2"] * 30, object))


def test_two_columns_of_one_name():
    frame = pd.DataFrame(np.random.default_rng(1).normal(size=(63, 2)), columns=["a", "a"])
    found = small().fit(Y, frame[:60]).predict(3, frame[60:])
    assert_same_bits(found, small().fit(Y, frame[:60].to_numpy()).predict(3, frame[60:]))


@pytest.mark.parametrize("units", [("s", "ns"), ("ns", "s"), ("us", "ms")])
def test_an_index_in_another_resolution_is_the_same(units):
    """It is for pandas from 3 on, and for those before it as well."""
    one, other = (pd.date_range("2024", periods=63, freq="D", unit=unit) for unit in units)
    spans = pd.timedelta_range("0h", periods=63, freq="h")
    x = np.random.default_rng(1).normal(size=(63, 1))
    expected = small().fit(Y, x[:60]).predict(3, x[60:])
    for mine, yours in (
        (one, other),
        (one.tz_localize("Asia/Tokyo"), other.tz_localize("Asia/Tokyo")),
        *[[spans.as_unit(unit) for unit in units]],
    ):
        frame = pd.DataFrame(x, yours)
        model = small().fit(pd.Series(Y, mine[:60]), frame[:60])
        forecast = model.predict(3, frame[60:])
        assert_same_bits(forecast.to_numpy(), expected)
        assert forecast.index.dtype == mine.dtype
        later = pd.DataFrame(x, yours + pd.Timedelta(1, units[0]))
        with pytest.raises(ValueError, match="X must have the index of its series"):
            small().fit(pd.Series(Y, mine[:60]), later[:60])
        with pytest.raises(ValueError, match="X must have the index of its series"):
            model.predict(3, later[60:])


# --- time zones: what a clock skips, and what it shows twice --------------------------------------


def stamps(*texts, zone):
    return pd.DatetimeIndex([pd.Timestamp(text).tz_convert(zone) for text in texts])


SANTIAGO = stamps(  # midnight of the 8th is skipped
    "2024-09-07T00:00-04:00", "2024-09-08T01:00-03:00", "2024-09-09T00:00-03:00",
    zone="America/Santiago",
)  # fmt: skip


def until(last, periods, freq="D"):
    return pd.date_range(end=last, periods=periods, freq=freq)


def test_a_midnight_that_does_not_exist(tmp_path):
    y = pd.Series(walk(), until(SANTIAGO[0] - pd.Timedelta("24h"), 60))
    x = pd.DataFrame({"x": walk(63)}, y.index.append(SANTIAGO))
    model = small().fit(y)
    for found in (model.predict(3), model.predict_interval(3)):
        assert found.index.tolist() == SANTIAGO.tolist() and found.index.tz == SANTIAGO.tz
    assert model.predict(1).index.freq == y.index.freq  # which ends before it
    assert small().fit(y, x[:60]).predict(3, x[60:]).index.tolist() == SANTIAGO.tolist()
    assert model.backtest(y, 2).truth.shape == (2, 3)
    nr.save(model, tmp_path / "model")
    again = nr.load(tmp_path / "model").predict(3)
    pd.testing.assert_series_equal(again, model.predict(3), check_exact=True)


def test_a_series_over_a_midnight_that_does_not_exist(tmp_path):
    """As tz_localize(nonexistent="shift_forward") makes it; with the history of a year or more."""
    naive = pd.date_range("2024-07-12", periods=60, freq="D")
    index = naive.tz_localize(SANTIAGO.tz, nonexistent="shift_forward")
    assert index.freq is None and index[58] == SANTIAGO[1]
    for end in (60, 59):  # ends the day after, and at the very time
        y = pd.Series(walk()[:end], index[:end], name="sales")
        model = small().fit(y)
        after = (naive[:end] + pd.Timedelta(f"{end}D"))[:4].tz_localize(SANTIAGO.tz)
        forecast = model.predict(4)
        assert forecast.index.tolist() == after.tolist(), end
        assert_same_bits(forecast.to_numpy(), small().fit(y.to_numpy()).predict(4))
        nr.save(model, tmp_path / "model")
        again = nr.load(tmp_path / "model").predict(4)
        pd.testing.assert_series_equal(again, forecast, check_exact=True)
        again = pickle.loads(pickle.dumps(model)).predict(4)
        pd.testing.assert_series_equal(again, forecast, check_exact=True)
    # a forecast is history in its turn
    y = pd.Series(walk(), until(SANTIAGO[0] - pd.Timedelta("24h"), 60))
    longer = pd.concat([y, small().fit(y).predict(3)])
    assert small().fit(longer).predict(1).index.tolist() == [SANTIAGO[2] + pd.Timedelta("24h")]


def test_a_time_that_a_clock_shows_twice():
    zone = "America/New_York"  # 01:30 of 3 November
    days = stamps(
        "2024-11-02T01:30-04:00", "2024-11-03T01:30-04:00", "2024-11-04T01:30-05:00", zone=zone
    )
    y = pd.Series(walk(), until(days[0], 60))
    assert small().fit(y).predict(2).index.tolist() == days[1:].tolist()
    over = pd.Series(walk(62), y.index.append(days[1:]))
    for end in (61, 62):
        after = small().fit(over[:end]).predict(1).index
        assert after.tolist() == [(days[2] if end == 61 else days[2] + pd.Timedelta("24h"))]


def test_hours_are_spans_whatever_the_clock_shows():
    for zone, hour in (("America/Santiago", "2024-09-07T22:00"), ("Europe/Berlin", "2024-10-26")):
        index = pd.date_range(hour, periods=66, freq="h", tz=zone)
        y = pd.Series(walk(), index[:60])
        for given in (y, y.set_axis(pd.DatetimeIndex(index[:60], freq=None))):
            assert small().fit(given).predict(6).index.equals(index[60:])


def test_weeks_over_midnights_that_do_not_exist():
    """Every spring, on a Sunday."""
    weeks = pd.date_range("2023-07-16", periods=60, freq="W")
    weeks = weeks.tz_localize("America/Santiago", nonexistent="shift_forward")
    assert [str(stamp) for stamp in weeks if stamp.hour] == ["2023-09-03 01:00:00-03:00"]
    forecast = small().fit(pd.Series(walk(), weeks)).predict(2)
    assert [str(stamp) for stamp in forecast.index] == [
        "2024-09-08 01:00:00-03:00", "2024-09-15 00:00:00-03:00",
    ]  # fmt: skip


def test_frames_of_what_is_known_beside_the_series():
    index = pd.date_range("2024", periods=63, freq="D")
    y = pd.Series(walk(), index[:60])
    x = pd.DataFrame(np.random.default_rng(1).normal(size=(63, 2)), index, columns=["a", "b"])
    model = small().fit(y, x[:60])
    assert model.n_features_in_ == 2 and model.predict(3, x[60:]).index.equals(index[60:])
    with pytest.raises(ValueError, match=r"X must have the columns.*'a', 'b'.*'b', 'a'"):
        model.predict(3, x[60:][["b", "a"]])
    with pytest.raises(ValueError, match="X must have the index of its series, 2024-03-01"):
        model.predict(3, x[57:60])
    with pytest.raises(ValueError, match=r"X must have the index of its series, 2024-01-01.*01-03"):
        small().fit(y, x[2:62])


# --- backtest -----------------------------------------------------------------------------------


def test_backtest_refits_on_all_that_came_before():
    y, x = walk(70), np.random.default_rng(1).normal(size=(70, 1))
    model = small(difference=1)
    result = model.backtest(y, 2, x, season=4)
    assert isinstance(result, Backtest) and not hasattr(model, "regressor_")
    np.testing.assert_array_equal(result.truth, [y[64:67], y[67:]])
    for k, origin in enumerate((64, 67)):
        assert result.origins[k] == origin
        forecast = (
            small(difference=1).fit(y[:origin], x[:origin]).predict(3, x[origin : origin + 3])
        )
        assert_same_bits(result.forecasts["RNNForecaster"][k], forecast)
        np.testing.assert_array_equal(result.forecasts["naive"][k], y[origin - 1])
        season = y[origin - 4 : origin - 1]
        np.testing.assert_array_equal(result.forecasts["seasonal naive"][k], season)
        changes = [abs(y[t] - y[t - 4]) for t in range(4, origin)]
        assert result.scale[k] == pytest.approx(np.mean(changes), rel=1e-12)


def test_scores_by_hand():
    result = Backtest(
        np.array([5, 7]),
        np.array([[1.0, 2], [3, 4]]),
        {"model": np.array([[2.0, 2], [3, 8]]), "naive": np.array([[1.0, 1], [3, 3]])},
        np.array([0.5, 2]),
    )
    assert result.scores["model"] == {"MASE": 1.0, "RMSE": np.sqrt(17 / 4), "MAE": 5 / 4}
    assert result.scores["naive"] == {"MASE": (1 + 0.25) / 2, "RMSE": np.sqrt(0.5), "MAE": 0.5}
    lines = [line.split() for line in str(result).splitlines()]
    assert lines == [
        ["MASE", "RMSE", "MAE"],
        ["model", "1", "2.062", "1.25"],
        ["naive", "0.625", "0.7071", "0.5"],
    ]  # fmt: skip


def test_backtest_of_many_series():
    ys = [walk(60), walk(50, seed=1)]
    result = small(horizon=2, season=5).backtest(ys, 3)
    assert result.truth.shape == (2, 3, 2) and result.scale.shape == (2, 3)
    np.testing.assert_array_equal(result.origins, [[54, 56, 58], [44, 46, 48]])
    np.testing.assert_array_equal(result.truth[1].ravel(), ys[1][44:])
    assert list(result.scores) == ["RNNForecaster", "naive", "seasonal naive"]
    np.testing.assert_array_equal(result.of(1).truth, result.truth[1])
    assert result.of(1).scores["naive"]["MAE"] == pytest.approx(
        np.mean([np.abs(ys[1][o : o + 2] - ys[1][o - 1]) for o in (44, 46, 48)])
    )
    forecast = small(horizon=2, season=5).fit([ys[0][:56], ys[1][:46]]).predict(2)
    assert_same_bits(list(result.forecasts["RNNForecaster"][:, 1]), forecast)
    assert list(small().backtest(ys, 1).scores) == ["RNNForecaster", "naive"]


def test_the_season_is_repeated_over_a_longer_horizon():
    y = np.arange(60.0)
    result = small(horizon=7).backtest(y, 1, season=3)
    expected = [50, 51, 52, 50, 51, 52, 50]
    np.testing.assert_array_equal(result.forecasts["seasonal naive"][0], expected)
    assert result.scale[0] == 3


def test_a_constant_series_has_no_mase():
    scores = small().backtest(np.full(60, 2.5), 1).scores
    assert np.isnan(scores["naive"]["MASE"]) and scores["naive"]["RMSE"] == 0


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_it_is_better_than_the_baselines_where_there_is_something_to_learn(strategy):
    """Two waves, of which the sum repeats after 91 steps only."""
    t = np.arange(300)
    y = np.sin(2 * np.pi * t / 7) + np.sin(2 * np.pi * t / 13) + 0.05 * t
    model = forecaster(
        7, window=26, difference=1, strategy=strategy, linear=False, early_stopping=False,
        hidden_size=16, learning_rate_init=1e-2,
        max_iter=60, n_iter_no_change=np.inf, batch_size=32, random_state=0,
    )  # fmt: skip
    scores = model.backtest(y, 2, season=13).scores
    assert scores["RNNForecaster"]["MASE"] < 0.25 * scores["seasonal naive"]["MASE"]
    assert scores["RNNForecaster"]["MASE"] < 0.25 * scores["naive"]["MASE"]


# --- scikit-learn's conventions -----------------------------------------------------------------


def test_parameters_are_those_of_the_forecaster_and_of_its_regressor():
    own = ["horizon", "window", "season", "difference_season", "difference", "strategy", "linear"]
    own += ["calibration_fraction", "missing", "regressor", "warm_start", "random_state", "verbose"]
    assert list(RNNForecaster.__init__.__annotations__)[:-1] == [*own, "checkpoint"]
    model = RNNForecaster(3, regressor=window_regressor()).set_params(season=12)
    assert {f"regressor__{name}" for name in RNNRegressor().get_params()} < set(model.get_params())
    model.set_params(regressor__max_iter=7)
    assert model.regressor.max_iter == 7 and model.season == 12
    assert clone(model).get_params().keys() == model.get_params().keys()
    assert repr(model) == repr(clone(model))
    with pytest.raises(TypeError, match="positional"):  # which was window, horizon once
        RNNForecaster(5, 3)


def test_parameters_of_the_default_regressor_can_be_set():
    model = RNNForecaster(3)
    with pytest.raises(ValueError, match="Invalid parameter 'units'"):
        model.set_params(regressor__units=7)
    model = RNNForecaster(3).set_params(regressor__max_iter=7)
    assert repr(model.regressor) == repr(window_regressor(max_iter=7))
    again = RNNForecaster(3).set_params(regressor=None, season=4)
    assert again.regressor is None and again.set_params().regressor is None


def test_the_default_is_window_regressor():
    y = walk()
    plain = RNNForecaster(3, random_state=0).fit(y)
    other = RNNForecaster(3, random_state=0, regressor=window_regressor()).fit(y)
    assert_same_bits(plain.predict(), other.predict())
    assert plain.regressor is None and plain.rnn_.hidden_size == 32
    assert not plain.regressor_.standardize and not plain.rnn_.bidirectional


def test_the_given_regressor_stays_as_it_is():
    given = window_regressor(hidden_size=3, max_iter=2, n_iter_no_change=np.inf)
    before = given.get_params()
    model = RNNForecaster(3, regressor=given, random_state=1, season=1).fit(walk())
    assert model.regressor is given and model.regressor_ is not given
    assert given.get_params() == before and not hasattr(given, "rnn_")
    assert model.regressor_.random_state == 1 and model.regressor_.hidden_size == 3


def test_a_plain_regressor_is_used_as_it_stands(tmp_path):
    given = RNNRegressor(4, max_iter=2, n_iter_no_change=np.inf)
    model = RNNForecaster(3, regressor=given, random_state=0).fit(walk())
    fitted = model.regressor_
    assert fitted.patch_size_ == 1 and model.rnn_.bidirectional and fitted.pooling == "max"
    assert model.validation_scores_ is None and model.validation_losses_ is None
    patched = clone(model).set_params(regressor__patch=3).fit(walk())
    assert patched.regressor_.patch_size_ == 3
    for each in (model, patched):
        nr.save(each, tmp_path / "model")
        again = nr.load(tmp_path / "model")
        assert_same_bits(again.predict(), each.predict())
        assert repr(again) == repr(each)


def test_what_comes_with_the_regressor(tmp_path):
    options = {"n_members": 2, "learning_rate": "cosine", "early_stopping": True, "max_iter": 5}
    model = small(**options, validation_fraction=None).fit(walk())
    assert len(model.regressor_.members_) == 2
    assert len(model.validation_losses_) == len(model.validation_scores_) == 5
    one = small(**options | {"n_members": 1}, validation_fraction=None).fit(walk())
    assert_same_bits(one.rnn_.flat_parameters, model.rnn_.flat_parameters)
    assert not np.array_equal(one.predict(), model.predict())
    constant = small(**options | {"learning_rate": "constant"}, validation_fraction=None)
    assert not np.array_equal(weights(constant.fit(walk()))[0], weights(model)[0])
    nr.save(model, tmp_path / "model")
    assert_same_bits(nr.load(tmp_path / "model").predict(), model.predict())


def test_a_grid_over_the_network():
    model = small(regressor=window_regressor(hidden_size=3, max_iter=2, n_iter_no_change=np.inf))
    grid = ParameterGrid({"regressor__hidden_size": [2, 4], "window": [4, 5]})
    sizes = [clone(model).set_params(**one).fit(walk()).rnn_.hidden_size for one in grid]
    assert sizes == [2, 2, 4, 4] and model.regressor.hidden_size == 3


@pytest.mark.parametrize(
    "regressor, error, words",
    [
        ("adam", TypeError, "regressor must be an RNNRegressor, as window_regressor"),
        (RNNForecaster(3), TypeError, "regressor must be an RNNRegressor"),
        (RNNRegressor, TypeError, "regressor must be an RNNRegressor"),
        (window_regressor(random_state=0), ValueError, "leave random_state at None.*forecaster"),
        (window_regressor(missing="forward"), ValueError, "leave missing at 'error'"),
        (window_regressor(verbose=1), ValueError, "leave verbose at 0"),
        (window_regressor(warm_start=True), ValueError, "leave warm_start at False"),
        (window_regressor(checkpoint="x"), ValueError, "leave checkpoint at None"),
    ],
)
def test_bad_regressors(regressor, error, words):
    model = RNNForecaster(3, regressor=regressor)
    for call in (model.fit, lambda y: model.backtest(y, 1)):
        with pytest.raises(error, match=words):
            call(walk())
    assert not hasattr(model, "regressor_")


def test_windows_need_no_share_of_their_own():
    x = np.random.default_rng(0).normal(size=(20, 4))
    with pytest.raises(ValueError, match="validation_data with early_stopping and validation_frac"):
        window_regressor().fit(x, x[:, 0])
    with pytest.raises(TypeError, match="units"):
        window_regressor(units=3)


def test_parameters_reach_the_network():
    options = {
        "num_layers": 2, "nonlinearity": "relu", "bidirectional": True, "dropout": 0.25,
        "pooling": "mean", "solver": "rmsprop", "alpha": 0.5, "batch_size": 7, "tol": 0.5,
        "learning_rate_init": 0.5, "shuffle": False, "clip_norm": 3.0, "dtype": "float64",
        "validation_fraction": 0.3,
    }  # fmt: skip
    model = small(**options).fit(walk())
    params = model.regressor_.get_params()
    assert {name: params[name] for name in options} == options
    assert model.rnn_.num_layers == 2 and model.rnn_.dtype == np.float64
    assert model.n_iter_ == len(model.loss_curve_) == 2
    assert model.best_loss_ == min(model.loss_curve_) and model.validation_scores_ is None


def test_random_state():
    y = walk()
    first, again, other = (small(random_state=seed).fit(y) for seed in (1, 1, 2))
    assert_same_bits(weights(again), weights(first))
    assert_same_bits(again.predict(5), first.predict(5))
    assert_same_bits(again.predict_interval(3), first.predict_interval(3))
    assert (other.predict(5) != first.predict(5)).all()
    assert_same_bits(first.fit(y).predict(5), again.predict(5))


def test_pickle():
    y = pd.Series(walk(), DAYS)
    model = small(early_stopping=True).fit(y)
    again = pickle.loads(pickle.dumps(model))
    pd.testing.assert_series_equal(again.predict(5), model.predict(5), check_exact=True)
    pd.testing.assert_frame_equal(
        again.predict_interval(3, coverage=0.5),
        model.predict_interval(3, coverage=0.5),
        check_exact=True,
    )


def test_warm_start_goes_on():
    y = walk()
    model = small(warm_start=True).fit(y[:50])
    before = [w.copy() for w in weights(model)]
    model.fit(y)
    assert len(model.loss_curve_) == 4
    cold = small().fit(y)
    assert not np.array_equal(weights(model)[0], weights(cold)[0])
    assert not np.array_equal(weights(model)[0], before[0])
    assert model._values[0, -1] == y[-1]


def test_a_warm_start_on_another_series_is_judged_by_itself():
    """With early stopping the weights of the first fit came back, as their score was better."""
    t, rng = np.arange(240), np.random.default_rng(0)
    easy = np.sin(2 * np.pi * t / 8)
    hard = np.cos(2 * np.pi * t / 5) + 0.7 * rng.normal(size=240)
    options = {"early_stopping": True, "max_iter": 60, "n_iter_no_change": 8, "batch_size": 20}
    model = small(8, 2, warm_start=True, hidden_size=8, learning_rate_init=1e-2, **options)
    model.fit(easy)
    before = [w.copy() for w in weights(model)]
    model.fit(hard)
    assert not np.array_equal(weights(model)[0], before[0])
    own = model.loss_curve_[-model.n_iter_ :]
    assert model.best_loss_ == min(own) > min(model.loss_curve_)


def state(model):
    """All that a forecaster has but for its parameters, arrays copied."""
    both = {k: v for k, v in vars(model).items() if k not in model.get_params(deep=False)}
    both |= {k: v for k, v in vars(both.pop("regressor_")).items() if k.endswith("_")}
    kept = {k: np.array(v) for k, v in both.items() if isinstance(v, (np.ndarray, list, float))}
    return kept | {"weights": np.concatenate(weights(model))}


@pytest.mark.parametrize(
    "options, y, x, words",
    [
        ({"hidden_size": 5}, 100, 2, "warm_start=True must keep the network"),
        ({}, 100, 0, r"warm_start=True: X must have 2 columns, as in fit, got 0"),
        (
            {"season": 4, "difference_season": True},
            100,
            2,
            r"must keep season and difference.*\[\], got \[4\]",
        ),
        ({"warm_start": False, "window": 60}, 1, 2, "at least 61"),
        ({"warm_start": False, "standardize": False}, 1e300, 2, "X must hold values that float32"),
    ],
)
def test_a_fit_that_is_refused_changes_nothing(options, y, x, words):
    beside = np.random.default_rng(1).normal(size=(63, 2))
    model = small(warm_start=True).fit(Y, beside[:60])
    before, forecast = state(model), model.predict(3, beside[60:])
    with pytest.raises(ValueError, match=words):
        change(model, **options).fit(y * Y, beside[:60] if x else None)
    assert_same_bits(state(model), before)
    assert_same_bits(model.predict(3, beside[60:]), forecast)


def test_a_warm_start_scales_series_anew_and_what_is_beside_them_as_before():
    y, x = walk(), np.random.default_rng(1).normal(size=(60, 1))
    model = small(warm_start=True).fit(y, x)
    names = ("x_mean_", "x_scale_")
    before, unit = [getattr(model, name).copy() for name in names], model.y_scale_[0]
    model.fit(100 * y + 7, 3 * x + 1)
    assert_same_bits([getattr(model, name) for name in names], before)
    assert model.y_scale_[0] == pytest.approx(100 * unit)


def test_a_network_goes_on_with_other_series():
    """Fine-tuning: of another number, length and unit."""
    rng = np.random.default_rng(0)
    wave = np.sin(np.arange(400) * 2 * np.pi / 7.3)
    many = [
        unit * (wave[k : k + 200] + 0.1 * rng.normal(size=200)) for k, unit in enumerate((1, 9, 50))
    ]
    other = 1e4 * (wave[50:110] + 0.1 * rng.normal(size=60)) + 3e5
    options = {"window": 10, "max_iter": 40, "hidden_size": 8}
    model = small(**options, warm_start=True, learning_rate_init=1e-2).fit(many)
    before = [w.copy() for w in weights(model)]
    change(model, max_iter=1).fit(other)
    assert len(model.y_scale_) == 1 and len(model.predict()) == 3 and model.n_iter_ == 1
    assert not np.array_equal(weights(model)[0], before[0])
    cold = small(**options | {"max_iter": 1}).fit(other)
    assert model.best_loss_ < 0.5 * cold.best_loss_
    assert [len(one) for one in model.fit([other, many[0]]).predict()] == [3, 3]
    with pytest.raises(ValueError, match=r"must keep the number of columns of y.* 1, got 2"):
        model.fit(np.stack([other, other], axis=1))


def monthly(n, seed=0, freq="MS"):
    return pd.Series(walk(n, seed), pd.date_range("2015-01-01", periods=n, freq=freq))


def test_a_warm_start_keeps_what_was_chosen_by_default(tmp_path):
    """Of another length it would have chosen another window, season or strategy."""
    quick = {"hidden_size": 3, "max_iter": 2, "n_iter_no_change": np.inf, "random_state": 0}
    for first, *others in (
        (walk(80), walk(54), walk(200)),
        (walk(30), walk(80)),
        (monthly(80), monthly(56), walk(60)),
        (monthly(30), monthly(80)),  # too short for a season
    ):
        model = forecaster(6, warm_start=True, **quick).fit(first)
        nr.save(model, tmp_path / "model")
        for again in (model, nr.load(tmp_path / "model")):
            plan = again._plan
            for other in others:
                assert again.fit(other)._plan == plan
    # what is said now, or was said, is not kept
    model = forecaster(6, warm_start=True, **quick).fit(monthly(80))
    with pytest.raises(ValueError, match=r"must keep window.* \(24, 6\), got \(9, 6\)"):
        model.set_params(window=9).fit(monthly(56))
    said = forecaster(6, warm_start=True, window=9, **quick).fit(walk(80))
    with pytest.raises(ValueError, match=r"must keep window.* \(9, 6\), got \(24, 6\)"):
        said.set_params(window=None).fit(walk(80))


def test_a_warm_start_keeps_no_season_that_is_none():
    model = forecaster(3, warm_start=True, max_iter=2, n_iter_no_change=np.inf).fit(monthly(80))
    with pytest.raises(ValueError, match=r"must keep season and difference.*\[12\], got \[7\]"):
        model.fit(monthly(80, freq="D"))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_parameters_set_after_a_fit_wait_for_the_next_one(strategy, tmp_path):
    model = small(strategy=strategy, difference=1).fit(walk())
    forecast, band = model.predict(7), model.predict_interval(3, coverage=0.5)
    change(model, horizon=6, window=9, season=4, difference=0, hidden_size=7)
    assert_same_bits(model.predict(7), forecast)
    assert_same_bits(model.predict_interval(3, coverage=0.5), band)
    with pytest.raises(ValueError, match="steps must be at most horizon, 3"):
        model.predict_interval(4)
    nr.save(model, tmp_path / "model")
    again = nr.load(tmp_path / "model")
    model.set_params(difference=np.int64(0))
    assert (again.horizon, again.regressor.hidden_size) == (3, 3)
    assert_same_bits(again.predict(7), forecast)
    assert model.fit(walk()).residuals_.shape[1] == 6 and model.rnn_.hidden_size == 7


def test_a_training_that_fails_leaves_a_forecaster_that_works():
    model = small(learning_rate_init=1e38, clip_norm=None, max_iter=50)
    with pytest.raises(FloatingPointError, match="in epoch"):
        model.fit(Y)
    assert np.isfinite(model.predict(3)).all()
    with pytest.warns(UserWarning, match=r"0 residuals were held back"):
        assert np.isfinite(model.predict_interval(3)).all()


def test_a_forecast_that_explodes():
    model = small(nonlinearity="relu").fit(Y)
    for array in weights(model):
        array[:] = 1e3
    assert np.isfinite(model.predict(1)).all()
    with pytest.raises(FloatingPointError, match=r"leaves the numbers of float32 within \d+ steps"):
        model.predict(100)


def test_checkpoint(tmp_path):
    y, path = walk(), tmp_path / "training"
    plain = small().fit(y)
    model = small(checkpoint=path).fit(y)
    assert path.exists()
    again = small(checkpoint=path).fit(y)  # which was over, so it is read
    for other in (model, again):
        assert_same_bits(weights(other), weights(plain))
    with pytest.raises(ValueError, match="checkpoint"):
        small(checkpoint=path).fit(walk(seed=1))
    small(checkpoint=path).backtest(y, 2)  # whose trainings are others


def test_not_fitted():
    with pytest.raises(NotFittedError):
        small().predict(3)
    with pytest.raises(NotFittedError):
        small().predict_interval(3)
    with pytest.raises(NotFittedError):
        small()._to_tensors()


# --- bad input ----------------------------------------------------------------------------------

Y, X = walk(), np.zeros((60, 2))
NAN = np.where(np.arange(60) == 17, np.nan, Y)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"window": 0}, "window must be positive"),
        ({"horizon": 0}, "horizon must be positive"),
        ({"season": 1, "difference_season": True}, "difference_season=True needs a season"),
        ({"season": -3}, "season must be positive"),
        ({"difference": -1}, "difference must be positive"),
        ({"strategy": "both"}, "strategy must be 'auto' or 'recursive' or 'direct'"),
        ({"calibration_fraction": 1}, "calibration_fraction must lie in"),
        ({"calibration_fraction": -0.1}, "calibration_fraction must lie in"),
        ({"hidden_size": 0}, "hidden_size must be positive"),
        ({"solver": "newton"}, "solver must be"),
        ({"early_stopping": True, "validation_fraction": 0.0}, "validation_fraction must lie in"),
        ({"early_stopping": True, "validation_fraction": 0.01}, "two windows held back"),
        ({"window": 46, "difference": 2}, r"49 \(window 46 .* 1 forecast.*got 48.*leaves of 60"),
        ({"season": 48}, r"at least 54 \(window 5 \+ difference 48 \+ 1 forecast at once\)"),
        ({"horizon": 56, "strategy": "direct", "calibration_fraction": 0}, "at least 61.*got 60"),
        ({"early_stopping": True, "horizon": 25, "strategy": "direct"}, "more for early_stopping"),
    ],
)
def test_bad_parameters(options, words):
    model = small(**options)
    with pytest.raises(ValueError, match=words):
        model.fit(Y)
    assert not hasattr(model, "regressor_")


@pytest.mark.parametrize(
    "options, words",
    [
        ({"window": 2.0}, "window must be an int"),
        ({"season": "12"}, "season must be an int"),
        ({"difference": True}, "difference must be an int"),
        ({"difference": 1.0}, "difference must be an int"),
        ({"difference": 0.0}, "difference must be an int"),
        ({"standardize": 1}, "standardize must be True or False"),
    ],
)
def test_bad_types_of_parameters(options, words):
    with pytest.raises(TypeError, match=words):
        small(**options).fit(Y)


@pytest.mark.parametrize(
    "y, x, words",
    [
        (NAN, None, "y must be finite, got nan at index 17"),
        ([Y, NAN], None, r"y\[1\] must be finite, got nan at index 17"),
        (pl.Series([1.0, None] * 30), None, "y must be finite, got nan at index 1"),
        (np.where(Y == Y[3], np.inf, Y), None, "y must be finite, got inf at index 3"),
        (Y, np.where(X == X, np.nan, X), "X must be finite, got nan at index 0, 0"),
        (Y[:, None, None], None, r"y must be one series, shape \(n,\).* got shape \(60, 1, 1\)"),
        (np.empty((60, 0)), None, r"y must be one series, shape \(n,\).* got shape \(60, 0\)"),
        (Y[:3], None, "y must have at least 6"),
        ([Y[:4], Y[:3]], None, r"y\[0\] must have at least 6"),
        ([Y, Y[:0]], None, r"y\[1\] must have at least 6"),
        (np.empty(0), None, "y must have at least 6"),
        (pd.Series([], dtype=float), None, "y must have at least 6"),
        (Y, X[:59], "X must have 60 rows, one a step, got 59"),
        (Y, X[:, :0], "X must have shape"),
        (Y, X[None], "X must have shape"),
        ([Y, Y], X, "X must be a list of 2 tables"),
        ([Y, Y], [X], "X must be a list of 2 tables"),
        ([Y, Y], [X, X[:, :1]], r"X\[1\] must have 2 columns"),
        ([Y, Y], [X, X[:5]], r"X\[1\] must have 60 rows"),
    ],
)
def test_bad_series(y, x, words):
    with pytest.raises(ValueError, match=words):
        small().fit(y, x)


@pytest.mark.parametrize(
    "y",
    [["a"] * 60, Y.astype(complex), pd.Series([pd.NA, 1] * 30), DAYS.to_numpy(), None],
    ids=["words", "complex", "missing", "dates", "nothing"],
)
def test_no_numbers(y):
    with pytest.raises(TypeError, match="y must hold real numbers"):
        small().fit(y)


def test_masked_arrays():
    """A mask would be dropped, and what lies under it forecast like a value."""
    gaps = np.ma.masked_equal([0.0, 1, -9999, 1] * 15, -9999)
    columns = np.ma.masked_array(X, X == X)
    model = small().fit(Y, X)
    for name, call in {
        "y": lambda: small().fit(gaps),
        "y[1]": lambda: small().fit([Y, gaps]),
        "X": lambda: small().fit(Y, columns),
        "X[1]": lambda: small().fit([Y, Y], [X, columns]),
    }.items():
        with pytest.raises(ValueError, match=r"must have no masked entries.*\.filled") as caught:
            call()
        assert str(caught.value).startswith(f"{name} must"), name
    with pytest.raises(ValueError, match="X must have no masked entries"):
        model.predict(3, columns[:3])
    with pytest.raises(ValueError, match="y must have no masked entries, got 15 of 60"):
        small().backtest(gaps, 1)
    assert_same_bits(small().fit(np.ma.masked_array(Y)).predict(3), small().fit(Y).predict(3))


def test_bad_calls_of_predict():
    plain, beside = small().fit(Y), small(strategy="direct").fit(Y, X)
    for steps in (0, -1):
        with pytest.raises(ValueError, match="steps must be positive"):
            plain.predict(steps)
    with pytest.raises(TypeError, match="steps must be an int"):
        plain.predict(1.5)
    with pytest.raises(ValueError, match="X must be None, as it was in fit"):
        plain.predict(3, X[:3])
    with pytest.raises(ValueError, match="X must have the 2 columns that it had in fit, got None"):
        beside.predict(3)
    with pytest.raises(ValueError, match="X must have 2 columns, as in fit, got 1"):
        beside.predict(3, X[:3, :1])
    for rows in (3, 7):
        with pytest.raises(
            ValueError, match=rf"4 rows, one a step, or up to 6 as strategy=.direct.*got {rows}"
        ):
            beside.predict(4, X[:rows])
    with pytest.raises(ValueError, match="X must have 3 rows, one a step, got 4"):
        beside.predict(3, X[:4])
    with pytest.raises(ValueError, match="X must be a list of 2 tables"):
        small().fit([Y, Y], [X, X]).predict(3, X[:3])
    with pytest.raises(ValueError, match=r"steps must be at most horizon, 3.* got 4"):
        plain.predict_interval(4)
    for coverage in (0, 1, -0.5, np.nan):
        with pytest.raises(ValueError, match="coverage must lie in"):
            plain.predict_interval(3, coverage=coverage)


def test_intervals_are_never_refused():
    for options in ({"calibration_fraction": 0}, {"horizon": 13, "calibration_fraction": 0.1}):
        model = small(**options).fit(Y)
        assert len(model.residuals_) == (0 if model.calibration_fraction == 0 else 4)
        for coverage in (0.5, 0.8, 0.95, 0.999):
            enough = len(model.residuals_) * model.horizon > coverage / (1 - coverage)
            with warnings.catch_warnings() if enough else pytest.warns(UserWarning, match="normal"):
                band = model.predict_interval(coverage=coverage)
            assert (band[:, 0] < model.predict()).all() and (model.predict() < band[:, 1]).all()
    flat = small(calibration_fraction=0).fit(np.full(60, 3.5))
    with pytest.warns(UserWarning, match="normal"):
        assert (flat.predict_interval() == 3.5).all()


def test_where_nothing_was_held_back_errors_are_those_of_the_naive_forecast():
    model = small(calibration_fraction=0, season=4, difference_season=False, horizon=6).fit(Y)
    error = np.sqrt(np.mean((Y[4:] - Y[:-4]) ** 2))
    with pytest.warns(UserWarning, match="normal"):
        width = np.diff(model.predict_interval(coverage=0.9))[:, 0] / 2
    expected = error * np.sqrt([1, 1, 1, 1, 2, 2]) * t.ppf(0.95, 1.5)
    np.testing.assert_allclose(width, expected, rtol=1e-9)


def test_a_share_of_forecasts_is_held_back_where_values_are_few():
    """A fifth of 60 values is less than the horizon, 13; of 43 windows 8 are held back."""
    model = small(horizon=13).fit(Y)
    assert len(model.residuals_) == 8


def test_lists_of_lists():
    ragged = [Y[:40].tolist(), Y[:50].tolist()]
    words = r"y must be an array or a list of arrays.*pass \[np\.asarray\(one\) for one in y\]"
    with pytest.raises(ValueError, match=words):
        small().fit(ragged)
    with pytest.raises(ValueError, match=words):
        small().backtest(ragged, 1)
    with pytest.raises(ValueError, match="X must be an array or a list of arrays"):
        small().fit(Y, [[1.0], [1.0, 2.0]] * 30)
    with pytest.raises(
        ValueError, match=r"got shape \(2, 40\); for a list of series pass \[np.asarray"
    ):
        small().fit([Y[:40].tolist(), Y[1:41].tolist()])
    small().fit([np.asarray(one) for one in ragged])


@pytest.mark.parametrize("listed", [False, True])
def test_direct_takes_the_rows_of_any_number_of_steps(listed):
    x = pd.DataFrame(np.random.default_rng(1).normal(size=(69, 2)), until("2024-03-09", 69))
    y = pd.Series(Y, x.index[:60])

    def rows(begin, end):
        return [x[begin:end], -x[begin:end]] if listed else x[begin:end]

    model = small(strategy="direct").fit([y, -y] if listed else y, rows(0, 60))
    for steps in (1, 2, 3, 4, 6, 8):
        given = np.concatenate([x[60 : 60 + steps], np.repeat(x[59 + steps : 60 + steps], 8, 0)])
        whole = given[: -(-steps // 3) * 3]  # to the end of a horizon, by the last row
        expected = model.predict(steps, [whole, -whole] if listed else whole)
        found = model.predict(steps, rows(60, 60 + steps))
        assert_same_bits(list(map(np.asarray, found)), list(map(np.asarray, expected)))
    expected = model.predict_interval(2, [whole[:3], -whole[:3]] if listed else whole[:3])
    more = model.predict_interval(2, rows(60, 63))
    assert_same_bits(list(map(np.asarray, more)), list(map(np.asarray, expected)))
    model.predict_interval(2, rows(60, 62))
    with pytest.raises(ValueError, match="must have the index of its series"):
        model.predict(2, rows(61, 63))


def test_window_and_horizon_with_what_is_known():
    small(2, 3, strategy="direct").fit(Y)
    with pytest.raises(ValueError, match=r"window must be at least horizon, 3, .*got 2"):
        small(2, 3, strategy="direct").fit(Y, X)


@pytest.mark.parametrize(
    "arguments, words",
    [
        ((Y, 0), "folds must be positive"),
        ((Y, 18), "y, before the first of 18 folds of 3 values, must have at least 6.*got 5"),
        ((Y, 30), "at least 6.*got 0"),
        ((Y, 2, X[:5]), "X must have 60 rows"),
        ((Y, 2, None), "season must be positive"),
    ],
)
def test_bad_backtests(arguments, words):
    season = 0 if "season" in words else None
    with pytest.raises(ValueError, match=words):
        small().backtest(*arguments, season=season)
    with pytest.raises(ValueError, match="must have more than season, 54, values"):
        small().backtest(Y, 2, season=54)


# --- files --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [None, *INDICES])
def test_saved_and_loaded(tmp_path, kind):
    path, y = tmp_path / "model.safetensors", walk()
    y = y if kind is None else pd.Series(y, INDICES[kind][:60], name="sales")
    nr.save(model := small(season=4, early_stopping=True).fit(y), path)
    again = nr.load(path)
    assert repr(again) == repr(model) and again.loss_curve_ == model.loss_curve_
    for name in ("predict", "predict_interval"):
        ours, theirs = getattr(again, name)(3), getattr(model, name)(3)
        assert_same_bits(np.asarray(ours), np.asarray(theirs))
        if kind is not None:
            pd.testing.assert_index_equal(ours.index, theirs.index, exact=True)
            assert getattr(ours.index, "freq", None) == getattr(theirs.index, "freq", None)
            assert getattr(ours, "name", None) == getattr(theirs, "name", None)


@pytest.mark.filterwarnings("ignore:max_iter=2 iter:sklearn.exceptions.ConvergenceWarning")
def test_saved_and_loaded_with_many_series_and_columns(tmp_path):
    path = tmp_path / "model.safetensors"
    x = pd.DataFrame(np.random.default_rng(1).normal(size=(66, 2)), columns=["a", "b"])
    options = {"strategy": "direct", "solver": "lbfgs", "checkpoint": tmp_path / "training"}
    model = small(**options).fit([walk(), walk(seed=1)], [x[:60], x[:60]])
    nr.save(model, path)
    again = nr.load(path)
    assert_same_bits(again.predict(5, [x[60:]] * 2), model.predict(5, [x[60:]] * 2))
    assert again.n_features_in_ == 2 and again.feature_names_in_.tolist() == ["a", "b"]
    assert again.checkpoint is None
    assert again.regressor_.checkpoint is None
    for name in ("y_mean_", "y_scale_", "x_mean_", "x_scale_", "residuals_"):
        assert_same_bits(getattr(again, name), getattr(model, name))


def test_a_freq_that_no_file_can_hold(tmp_path):
    holidays = pd.offsets.CustomBusinessDay(holidays=["2024-01-02"])
    y = pd.Series(walk(), pd.date_range("2024-01-01", periods=60, freq=holidays))
    model = small().fit(y)
    assert model.predict(3).index.freq == holidays
    words = r"a file can't hold this index, whose freq is <CustomBusinessDay>; pickle"
    with pytest.raises(ValueError, match=words):
        nr.save(model, tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())
    again = pickle.loads(pickle.dumps(model)).predict(3)
    pd.testing.assert_series_equal(again, model.predict(3), check_exact=True)


@pytest.mark.parametrize(
    "freq",
    [
        pd.DateOffset(months=1), pd.DateOffset(months=1, days=-2), 2 * pd.DateOffset(weeks=1),
        pd.DateOffset(), pd.DateOffset(years=1, month=7),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_an_offset_without_a_name_is_kept(freq, zone, tmp_path):
    index = pd.date_range("2001-07-05", periods=64, freq=freq, tz=zone)
    model = small().fit(pd.Series(walk(), index[:60]))
    pd.testing.assert_index_equal(model.predict(4).index, index[60:], exact=True)
    nr.save(model, tmp_path / "model")
    again = nr.load(tmp_path / "model").predict(4)
    pd.testing.assert_series_equal(again, model.predict(4), check_exact=True)
    assert again.index.freq == freq


def test_an_offset_that_can_not_be_written_down(tmp_path):
    from dateutil.relativedelta import FR

    for freq in (pd.DateOffset(weekday=FR(1), weeks=1), pd.DateOffset(days=1, normalize=True)):
        model = small().fit(pd.Series(walk(), pd.date_range("2001", periods=60, freq=freq)))
        with pytest.raises(ValueError, match="a file can't hold this index, whose freq is <Date"):
            nr.save(model, tmp_path / "model")
        assert len(pickle.loads(pickle.dumps(model)).predict(2)) == 2


FORM = {"kind": "DatetimeIndex", "last": "2024", "of": None, "name": None, "unit": "s", "freq": "D"}


@pytest.mark.parametrize(
    "change",
    [
        {"forms": []},
        {"forms": [None, None]},
        {"forms": [{"kind": "os", "last": "", "of": None, "name": None, "freq": "D"}]},
        {"forms": [{"kind": "DatetimeIndex"}]},
        {"forms": [FORM | {"freq": {"n": 1.5}}]},
        {"forms": [FORM | {"freq": {"months": "1"}}]},
        {"forms": [FORM | {"freq": {"what": 1}}]},
        {"forms": [FORM | {"beyond": -1}]},
        {"listed": 1},
        {"regressor": {}},
        {"own": {"window": 10**9}},
        {"own": {"window": 5, "horizon": 3, "strategy": "direct"}},
        {"own": {"window": 5, "horizon": 3, "season": 1}},
        {"own": {"window": 5, "horizon": 3, "unknown": 1}},
        {"own": {"window": 5, "horizon": 3, "hidden_size": 9}},
        {"asked": {"standardize": True}},
        {"asked": {"standardize": 1, "early_stopping": False, "patch": None}},
        {"asked": {"standardize": True, "early_stopping": 2, "patch": None}},
        {"asked": {"standardize": True, "early_stopping": False, "patch": 5}},
        {"asked": None},
    ],
    ids=str,
)
def test_configurations_of_strangers(change):
    config, tensors = small().fit(Y)._to_tensors()
    again = RNNForecaster._from_tensors(
        config | {"own": config["own"] | {"checkpoint": "x"}}, tensors
    )
    assert again.checkpoint is None  # a file from anyone must not say where to write
    with pytest.raises((KeyError, TypeError, ValueError)):
        RNNForecaster._from_tensors(config | change, tensors)


@pytest.mark.parametrize(
    "name, value",
    [
        ("_values", np.nan), ("_x", np.inf), ("residuals_", np.nan), ("y_mean_", np.inf),
        ("y_scale_", -1.0), ("y_scale_", np.nan), ("x_scale_", 0.0), ("x_scale_", -1.0),
        ("x_mean_", np.nan), ("regressor.y_scale_", -1.0),
    ],
)  # fmt: skip
def test_numbers_of_strangers(name, value):
    config, tensors = small(linear=True).fit(Y, X)._to_tensors()
    changed = tensors[name].copy()
    changed.flat[0] = value
    with pytest.raises(ValueError, match=f"{name.removeprefix('regressor.')} must be"):
        RNNForecaster._from_tensors(config, tensors | {name: changed})


def test_arrays_of_strangers():
    model = small(linear=True, loss="quantile").fit(Y, X, X_past=Y, static=[1.0])
    config, tensors = model._to_tensors()
    for name, value in tensors.items():
        for wrong in (value[:-1], value.astype(np.float16), value[None]):
            if name == "residuals_" and wrong.shape == (len(value) - 1, 3):
                continue  # there may be any number of them
            with pytest.raises((KeyError, TypeError, ValueError)):
                RNNForecaster._from_tensors(config, tensors | {name: wrong})
        with pytest.raises((KeyError, TypeError, ValueError)):
            RNNForecaster._from_tensors(config, {k: v for k, v in tensors.items() if k != name})


# --- memory -------------------------------------------------------------------------------------


@pytest.mark.parametrize("horizon", [1, 12])
def test_windows_are_cut_batch_by_batch(horizon):
    """A table of all windows alone would take 32 MB; what is needed is a share of that."""
    n, w = 20_000, 200
    options = {"max_iter": 1, "early_stopping": True, "batch_size": 1024, "hidden_size": 2}
    small(w, horizon, **options).fit(walk(2 * w))  # what is made once
    y = walk(n)
    tracemalloc.start()
    try:
        small(w, horizon, strategy="direct", validation_fraction=None, **options).fit(y)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.6 * 8 * n * w


# --- trading days -------------------------------------------------------------------------------

HOLIDAYS = ["2024-01-01", "2024-01-15", "2024-02-19", "2024-03-29", "2024-05-27"]
TRADING = pd.bdate_range("2023-12-28", periods=110, freq="C", holidays=HOLIDAYS)


@pytest.mark.parametrize("zone", [None, "America/New_York"])
@pytest.mark.parametrize("hour", [0, 16])
def test_trading_days_go_on_with_working_days(zone, hour, tmp_path):
    dates = pd.DatetimeIndex(TRADING.to_numpy()) + pd.Timedelta(hours=hour)
    index = dates.tz_localize(zone).rename("day")
    assert index.freq is None
    y = pd.Series(walk(110), index, name="price")
    model = small(season=None, difference_season=None).fit(y[:100])
    assert model._plan.season == 5
    expected = pd.date_range(index[99] + pd.offsets.BDay(), periods=4, freq="B", name="day")
    found = model.predict(4)
    pd.testing.assert_index_equal(found.index, expected, check_exact=False, exact="equiv")
    assert_same_bits(found.to_numpy(), small(season=5).fit(y[:100].to_numpy()).predict(4))
    model.update(y[100:])  # over a holiday
    assert model.predict(1).index[0] == index[-1] + pd.offsets.BDay()
    nr.save(model, tmp_path / "model")
    again = nr.load(tmp_path / "model")
    assert again._forms[0].trading
    pd.testing.assert_series_equal(again.predict(3), model.predict(3), check_exact=True)
    weekend = pd.Series([1.0], pd.DatetimeIndex(["2024-08-03"]).tz_localize(zone))  # a Saturday
    elsewhere = pd.Series([1.0], pd.DatetimeIndex(["2024-08-02"]).tz_localize("Asia/Tokyo"))
    for wrong in (y[100:], weekend, elsewhere, pd.Series([1.0], pd.RangeIndex(1))):
        with pytest.raises(ValueError, match=r"must go on after .* with working days"):
            again.update(wrong)


def test_what_is_known_beside_trading_days():
    days = pd.DatetimeIndex(TRADING.to_numpy())
    y, x = pd.Series(walk(110), days), pd.DataFrame({"a": np.arange(110.0)}, days)
    model = small(season=None, difference_season=None).fit(y[:95], x[:95])
    assert len(model.predict(3, x[95:98])) == 3 and len(model.predict(3, x[:98], y=y[:95])) == 3
    with pytest.raises(ValueError, match="X must have the index of its series"):
        model.fit(y[:95], x[1:96])


def test_trading_days_of_what_is_known_are_those_of_the_series():
    days = pd.DatetimeIndex(TRADING.to_numpy())
    y, x = pd.Series(walk(110), days), pd.DataFrame({"a": np.arange(110.0)}, days)
    model = small(season=None, difference_season=None).fit(y[:95], x[:95])
    expected = model.predict(3, x[95:98])
    assert_same_bits(model.predict(3, x[95:98].to_numpy()), expected)
    for shift in (-366, -1, 3, 366):  # before, over a weekend, and much later
        wrong = x[95:98].set_axis(x.index[95:98] + pd.Timedelta(days=shift))
        with pytest.raises(ValueError, match=r"the index of X must go on after 2024-05-1.* days"):
            model.predict(3, wrong)
    assert len(model.predict(3, x[:98], y=y[:95])) == 3
    with pytest.raises(ValueError, match="X must have the index of its series"):
        model.predict(3, x[5:103], y=y[:95])
    with pytest.raises(ValueError, match="the index of X must go on after"):
        model.predict(3, pd.concat([x[:95], x[:3]]), y=y[:95])
    listed = small(season=None, difference_season=None).fit([y[:95]], [x[:95]])
    with pytest.raises(ValueError, match=r"the index of X\[0\] must go on after"):
        listed.predict(3, [x[:3]])


def test_trading_days_go_on_without_a_leap():
    days = pd.DatetimeIndex(TRADING.to_numpy())
    model = small(season=None, difference_season=None).fit(pd.Series(walk(100), days[:100]))
    last = model.predict(1).index[0]
    for wrong in (
        days[100:] + pd.Timedelta(days=7 * 74),
        pd.bdate_range(last, periods=40)[::2],
        pd.bdate_range(last, periods=30)[12:],
    ):
        with pytest.raises(ValueError, match="with working days, but for a few holidays, got"):
            model.update(pd.Series(1.0, wrong))
    assert model.predict(1).index[0] == last
    closed = pd.bdate_range(last, periods=30)[6:]  # a week of holidays, and a day
    model.update(pd.Series(1.0, closed[:1])).update(pd.Series(1.0, closed[1:]))


def test_days_with_larger_gaps_are_no_trading_days():
    days = pd.DatetimeIndex(TRADING.to_numpy())
    for index in (days[::2], days.delete(np.arange(10, 30)), days[::-1]):
        with pytest.raises(ValueError, match="without regular steps"):
            small().fit(pd.Series(np.arange(float(len(index))), index))
    weekends = pd.date_range("2024-01-01", periods=80).delete([3, 40])
    with pytest.raises(ValueError, match="without regular steps"):
        small().fit(pd.Series(walk(78), weekends))


def test_short_series_are_padded():
    """Alone, by a shorter window; beside others, and in predict, by their first season or value."""
    alone = RNNForecaster(6, random_state=0).fit(walk(9))
    assert alone.tail_ < 9 and np.isfinite(alone.predict()).all()
    model = RNNForecaster(6, season=12, random_state=0).fit([walk(120), walk(7)])
    assert model.tail_ > 7 and np.isfinite(model.predict()[1]).all()
    assert np.isfinite(model.predict(y=[walk(3)])[0]).all()
