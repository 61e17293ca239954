"""RNNForecaster with its defaults: the linear path, the network's share, other and newer values."""

import warnings

import numpy as np
import pandas as pd
import pytest
from helpers import assert_same_bits, forecaster
from scipy.optimize import nnls
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import BayesianRidge

import numba_rnn as nr
from numba_rnn.estimators import RNNForecaster, ridge


def series(n=96, season=12, seed=0):
    """A trend, a season and noise."""
    rng, t = np.random.default_rng(seed), np.arange(n)
    return 20 + 0.1 * t + 3 * np.sin(2 * np.pi * t / season) + rng.normal(size=n)


def quick(horizon=6, **options):
    return forecaster(
        horizon, **{"max_iter": 3, "n_iter_no_change": np.inf, "random_state": 0} | options
    )


MONTHS = pd.date_range("2001-01", periods=120, freq="MS")

# --- regressions --------------------------------------------------------------------------------


def test_a_regression_is_that_of_the_likeliest_penalty():
    """Beside scikit-learn's, which finds the same penalty by steps."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=400)
    for t in range(3, 400):
        z[t] += 0.6 * z[t - 1] - 0.3 * z[t - 3]
    found = ridge.Moments.of(z, np.empty((400, 0)), 5).regression(5)[1]
    rows = np.lib.stride_tricks.sliding_window_view(z[:-1], 5)
    theirs = BayesianRidge(alpha_1=0, alpha_2=0, lambda_1=0, lambda_2=0).fit(rows, z[5:])
    np.testing.assert_allclose(found, [*theirs.coef_, theirs.intercept_], atol=0.01)


def test_windows_in_parts_have_the_moments_of_all(monkeypatch):
    rng = np.random.default_rng(0)
    z, x = rng.normal(size=300), rng.normal(size=(300, 2))
    whole = ridge.Moments.of(z, x, 7)
    monkeypatch.setattr(ridge, "ROWS_AT_ONCE", 16)
    parts = ridge.Moments.of(z, x, 7)
    assert whole.count == parts.count == 293
    np.testing.assert_allclose(parts.products, whole.products)
    row = [*z[3:10], *x[9], *x[10], z[10]]
    single = ridge.Moments.of(z[3:11], x[3:11], 7)
    np.testing.assert_allclose(single.sums, row)
    np.testing.assert_allclose(single.products, np.outer(row, row))


def test_x_that_says_nothing_is_left_out_and_x_that_does_is_not():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    noise = rng.normal(size=200)
    assert (ridge.Moments.of(noise, x, 4).regression(4)[1][4:-1] == 0).all()
    told = noise + 3 * x[:, 1]
    np.testing.assert_allclose(
        ridge.Moments.of(told, x, 4).regression(4)[1][4:-1], [0, 0, 0, 3], atol=0.3
    )


def test_own_coefficients_are_pulled_towards_the_common_ones():
    rng = np.random.default_rng(0)
    zs = [rng.normal(size=n) for n in (400, 400, 20)]
    for z, slope in zip(zs, (0.8, 0.8, 0.8), strict=True):
        for t in range(1, len(z)):
            z[t] += slope * z[t - 1]
    common, first, _, short = ridge.fit(zs, zs, [np.empty((len(z), 0)) for z in zs], 3, 1)[0]
    alone = ridge.fit(zs[2:], zs[2:], [np.empty((20, 0))], 3, 1)[0, 0]
    assert np.abs(short - common).sum() < np.abs(alone - common).sum()
    np.testing.assert_allclose(first[2], 0.8, atol=0.1)
    # one that is too short for a window has those of all
    more = [*zs, zs[0][:3]]
    both = ridge.fit(more, more, [np.empty((len(z), 0)) for z in more], 3, 1)[0]
    assert_same_bits(both[-1], both[0])


@pytest.mark.parametrize("features", [0, 2])
def test_the_linear_forecast_by_hand(features):
    y, x = series(), np.random.default_rng(1).normal(size=(106, 2))[:, :features]
    x[:, :1] += np.r_[y, y[:10]][:, None] / 3  # so that it isn't left out
    model = quick(window=5, season=4).fit(y, x[:96] if features else None)
    levels, changes = model.coefficients_[:, 1]
    beside = (x - model.x_mean_) / model.x_scale_
    found = []
    for lag, own in ((0, levels), (4, changes)):
        known = list((y - model.level_mean_[0]) / model.level_scale_[0])
        for _ in range(10):
            z = [known[t] - (known[t - lag] if lag else 0) for t in range(lag, len(known))]
            d = beside[lag:] - (beside[:-lag] if lag else 0)
            n = len(z)
            ahead = own[:5] @ z[-5:] + own[5:-1] @ np.r_[d[n - 1], d[n]] + own[-1]
            known.append(ahead + (known[-lag] if lag else 0))
        found.append(np.array(known[-10:]) * model.level_scale_[0] + model.level_mean_[0])
    model.network_share_ = model.naive_share_ = 0.0
    expected = np.mean(found, axis=0)
    np.testing.assert_allclose(model.predict(10, x[96:] if features else None), expected)


def test_units_change_nothing_but_units():
    y = series()
    plain, other = quick(season=12).fit(y), quick(season=12).fit(1e6 * y - 3)
    np.testing.assert_allclose(other.predict(), 1e6 * plain.predict() - 3, rtol=1e-5)


@pytest.mark.parametrize("size", [0.0, 1.0, -2.5, 1e-300, 0.1, 1e12])
def test_a_constant_goes_on(size):
    model = quick(season=4).fit(np.full(60, size))
    assert model.predict(9).tolist() == [size] * 9
    assert model.predict_interval(coverage=0.5).tolist() == [[size, size]] * 6


# --- the network's share ------------------------------------------------------------------------


def test_the_share_is_that_of_the_smallest_error_and_of_how_much_was_held_back():
    """Of residuals of a model with and without the network, the mixture has the least squares."""
    t = np.arange(400)
    y = np.sign(np.sin(2 * np.pi * t / 7.3)) + 0.1 * np.random.default_rng(0).normal(size=400)
    model = RNNForecaster(3, window=14, random_state=0).fit(y)
    assert 0.2 < model.network_share_ < 1
    h, held = 3, 80
    origins = held - h + 1
    assert model.residuals_.shape == (origins, h)
    weights = np.array([model.network_share_, model.naive_share_])
    weights *= (origins / h + 2) / (origins / h)
    linear = RNNForecaster(3, window=14, random_state=0).fit(y[:-held])
    truth = np.stack([y[320 + k : 323 + k] for k in range(origins)])
    lines, networks = [], []
    for share, found in ((0.0, lines), (1.0, networks)):
        for k in range(origins):
            each = model if share else linear
            each.network_share_, each.naive_share_ = share, 0.0
            each._values = y[None, 320 + k - each._plan.tail : 320 + k]
            found.append(each.predict())
    naives = np.repeat(y[319 : 319 + origins, None], h, axis=1)
    changes = np.stack([np.subtract(networks, lines), naives - lines], axis=-1).reshape(-1, 2)
    expected, _ = nnls(changes, (truth - lines).ravel())
    np.testing.assert_allclose(weights, expected / max(1, expected.sum()), rtol=1e-4, atol=1e-9)


def test_a_forecast_is_the_weighted_mean_of_three():
    y = series()[:90]
    model = quick(season=6).fit(y)
    shares = 0.25, 0.4
    model.network_share_, model.naive_share_ = 0.0, 1.0
    np.testing.assert_allclose(model.predict(8), np.r_[y[-6:], y[-6:-4]])
    model.network_share_, model.naive_share_ = 0.0, 0.0
    line = model.predict(8)
    model.network_share_, model.naive_share_ = 1.0, 0.0
    network = model.predict(8)
    model.network_share_, model.naive_share_ = shares
    mean = line + shares[0] * (network - line) + shares[1] * (np.r_[y[-6:], y[-6:-4]] - line)
    np.testing.assert_allclose(model.predict(8), mean)


def test_where_nothing_is_held_back_the_network_counts_half():
    assert quick(calibration_fraction=0).fit(series()).network_share_ == 0.5
    assert quick(linear=False).fit(series()).network_share_ == 1
    assert quick(horizon=18).fit(series(20)).network_share_ == 0  # too short to measure it


def test_the_linear_path_knows_the_values_held_back():
    y = series()
    model = quick(season=12, early_stopping=False).fit(y)
    newer = y.copy()
    newer[-1] += 30
    other = quick(season=12, early_stopping=False).fit(newer)
    assert_same_bits(other.rnn_.flat_parameters, model.rnn_.flat_parameters)
    assert not np.array_equal(other.coefficients_, model.coefficients_)


def test_only_a_network_alone_warns_that_it_is_not_done():
    unfinished = {"n_iter_no_change": 50, "early_stopping": False}
    with warnings.catch_warnings():
        quick(**unfinished).fit(series())
    with pytest.warns(ConvergenceWarning, match="max_iter=3"):
        quick(linear=False, **unfinished).fit(series())


# --- defaults -----------------------------------------------------------------------------------

SEASONS = {
    "MS": 12, "ME": 12, "2MS": 6, "QS": 4, "QE-NOV": 4, "W-SUN": 52, "D": 7, "2D": None, "B": 5,
    "h": 24, "6h": 4, "7h": None, "90min": 16, "30min": 48, "5min": 288, "min": 60, "s": 60,
    "3ns": None, "YS": None,
}  # fmt: skip


@pytest.mark.parametrize("freq", SEASONS)
def test_the_season_is_that_of_the_index(freq):
    index = pd.date_range("2001-01-01", periods=900, freq=freq)[:900] if freq != "YS" else None
    if index is None:
        index = pd.date_range("2001-01-01", periods=90, freq=freq)
    expected = SEASONS[freq] or 1
    n = min(len(index), 3 * expected + 40)
    y = pd.Series(np.random.default_rng(0).normal(size=n), index[:n])
    model = quick(2, max_iter=1).fit(y)
    assert model._plan.season == expected
    assert model.season is None  # which is what was asked for
    assert quick(2, season=1, max_iter=1).fit(y)._plan.season == 1


def test_the_season_of_periods_and_of_what_has_none():
    y = series()
    months = pd.period_range("2001-01", periods=96, freq="M")
    assert quick().fit(pd.Series(y, months))._plan.season == 12
    assert quick().fit(pd.Series(y, pd.RangeIndex(96)))._plan.season == 1
    assert quick().fit(y)._plan.season == 1
    days = pd.date_range("2001", periods=20, freq="D")
    assert quick(2).fit(pd.Series(y[:20], days))._plan.season == 1  # not three weeks
    assert quick(2).fit(pd.Series(y[:22], days.union(days + days.freq * 2)))._plan.season == 7


@pytest.mark.parametrize(
    "n, options, window, strategy, difference_season",
    [
        (200, {"season": 12}, 24, "direct", True),
        (200, {"season": 52}, 52, "direct", True),
        (200, {}, 24, "direct", False),
        (200, {"season": 12, "window": 7}, 7, "direct", True),
        (40, {"season": 12}, 14, "recursive", True),
        (9, {}, 4, "recursive", False),
        (2, {"horizon": 3}, 1, "recursive", False),
    ],
)
def test_what_is_chosen(n, options, window, strategy, difference_season):
    model = quick(**options).fit(series(n))
    plan = model._plan
    assert (plan.window, plan.strategy) == (window, strategy)
    assert plan.difference_season is difference_season
    assert np.isfinite(model.predict()).all()


def test_x_may_carry_the_season():
    y, x = series(120), np.random.default_rng(1).normal(size=(120, 1))
    assert not quick(season=12).fit(y, x)._plan.difference_season
    assert quick(season=12, difference_season=True).fit(y, x)._plan.difference_season
    short = quick(season=12, window=4).fit(y, x)._plan  # which would not see all X at once
    assert short.strategy == "recursive"


def test_steps_are_those_of_the_horizon():
    model = quick().fit(series())
    assert_same_bits(model.predict(), model.predict(6))
    assert_same_bits(model.predict_interval(), model.predict_interval(6))


def test_it_is_better_than_seasonal_naive_with_nothing_but_a_horizon():
    rng, t = np.random.default_rng(0), np.arange(144)
    y = (100 + t) * (1 + 0.2 * np.sin(2 * np.pi * t / 12)) + 3 * rng.normal(size=144)
    y = pd.Series(y, pd.date_range("2001-01", periods=144, freq="MS"))
    scores = RNNForecaster(12, random_state=0).backtest(y, 2).scores
    assert scores["RNNForecaster"]["MASE"] < 0.6 * scores["seasonal naive"]["MASE"]


def test_backtest_takes_the_season_of_the_index():
    y = series(120)
    found = quick().backtest(pd.Series(y, MONTHS), 2)
    expected = quick(season=12).backtest(y, 2)
    for name in ("RNNForecaster", "naive", "seasonal naive"):
        assert_same_bits(found.forecasts[name], expected.forecasts[name])


# --- other series, and newer values -------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["recursive", "direct"])
@pytest.mark.parametrize("features", [0, 2])
def test_update_goes_on_from_newer_values(strategy, features):
    y, x = series(110), np.random.default_rng(1).normal(size=(120, 2))
    model = quick(season=12, strategy=strategy)
    model.fit(y[:96], x[:96] if features else None)
    other = quick(season=12, strategy=strategy).fit(y[:96], x[:96] if features else None)
    other._values = y[None, 110 - other._plan.tail : 110]
    beside = (
        (x[110 - other._plan.tail : 110] - other.x_mean_) / other.x_scale_ if features else None
    )
    other._x = np.empty((1, other._plan.tail, 0)) if beside is None else beside[None]
    assert model.update(y[96:100], x[96:100] if features else None) is model
    model.update(y[100:], x[100:110] if features else None)
    ahead = x[110:116] if features else None
    assert_same_bits(model.predict(6, ahead), other.predict(6, ahead))
    band = model.predict_interval(6, ahead, coverage=0.5)
    assert (band[:, 0] < model.predict(6, ahead)).all()


def test_update_continues_the_index():
    y = pd.Series(series(120), MONTHS, name="y")
    model = quick().fit(y[:96])
    model.update(y[96:100]).update(y[100:101].to_numpy())
    assert model.predict().index.equals(pd.date_range(MONTHS[101], periods=6, freq="MS"))
    before = model.predict()
    for wrong in (y[100:], y[102:], y[102:].asfreq("2MS")):
        with pytest.raises(ValueError, match="index of y must go on after 2009-05-01"):
            model.update(wrong)
    for y_, x_, words in (
        (y[101:], np.zeros((19, 1)), "X must have 0 columns"),
        ([y[101:]], None, "y must be as it was in fit"),
        (np.array([np.nan]), None, "y must be finite"),
    ):
        with pytest.raises(ValueError, match=words):
            model.update(y_, x_)
    pd.testing.assert_series_equal(model.predict(), before, check_exact=True)


def test_update_with_one_date():
    """Which has no freq of its own."""
    days = pd.DatetimeIndex(pd.date_range("2024", periods=97).to_numpy())
    model = quick().fit(pd.Series(series(96), days[:96]))
    model.update(pd.Series([20.0], days[96:]))
    assert model.predict(1).index[0] == pd.Timestamp("2024-04-07")
    with pytest.raises(ValueError, match="index of y must go on after 2024-04-06"):
        model.update(pd.Series([20.0], days[96:]))


def test_update_of_many_series(tmp_path):
    ys = [series(100), series(90, seed=1)]
    model = quick(season=12).fit([y[:80] for y in ys])
    model.update([y[80:] for y in ys])
    assert [row[-1] for row in model._values] == [y[-1] for y in ys]
    nr.save(model, tmp_path / "model")
    assert_same_bits(nr.load(tmp_path / "model").predict(), model.predict())


@pytest.mark.parametrize("features", [0, 2])
def test_forecasts_of_other_series(features):
    y, x = series(110), np.random.default_rng(1).normal(size=(120, 2))
    beside = x[:110] if features else None
    model = quick(season=12).fit(y, beside)
    ahead = x[110:116] if features else None
    both = x[:116] if features else None
    # its own values are scaled as they were, but by all of them
    if features == 0:
        assert model.y_mean_.tolist() == [0]
        model.y_scale_ = np.array([np.std(y[12:] - y[:-12])])
    else:
        model.y_mean_, model.y_scale_ = np.array([y.mean()]), np.array([y.std()])
    np.testing.assert_allclose(model.predict(6, both, y=y), model.predict(6, ahead), rtol=1e-5)
    found = model.predict(6, None if both is None else [both, both], y=[y, 1000 * y])
    np.testing.assert_allclose(found[1], 1000 * found[0], rtol=1e-5)
    band = model.predict_interval(6, both, y=1000 * y, coverage=0.5)
    assert (band[:, 0] < found[1]).all() and (found[1] < band[:, 1]).all()


def test_a_forecast_of_another_series_continues_its_index():
    y = pd.Series(series(120), MONTHS, name="y")
    x = pd.DataFrame({"a": np.arange(126.0)}, pd.date_range(MONTHS[0], periods=126, freq="MS"))
    model = quick().fit(y[:96], x[:96])
    found = model.predict(6, x[20:86], y=y[20:80])
    assert found.index.equals(MONTHS[80:86]) and found.name == "y"
    with pytest.raises(ValueError, match="X must have the index of its series"):
        model.predict(6, x[21:87], y=y[20:80])
    with pytest.raises(ValueError, match=r"X must have 66 rows"):
        model.predict(6, x[80:86], y=y[20:80])


def test_other_series_may_be_short():
    model = quick(season=12).fit(series())
    for n in (1, 5, 12, 30):
        assert np.isfinite(model.predict(6, y=series(n))).all()
    assert model.predict(4, y=[7.0] * 3).tolist() == [7.0] * 4
    with pytest.raises(ValueError, match="must have values, got an empty series"):
        model.predict(6, y=np.empty(0))


@pytest.mark.parametrize("n", [8, 12, 18])
def test_intervals_of_short_series_are_as_wide_as_usual(n):
    """Too few values for a difference of seasons say nothing of how large one is."""
    model, y = quick(season=12).fit(series(200)), series(200)
    usual = np.diff(model.predict_interval(y=y, coverage=0.8)).mean()
    found = np.diff(model.predict_interval(y=y[:n], coverage=0.8)).mean()
    assert 0.3 * usual < found < 3 * usual


def test_update_with_nothing_changes_nothing():
    ys = [pd.Series(series(96), MONTHS[:96]), pd.Series(series(90, seed=1), MONTHS[:90])]
    model = quick().fit(ys)
    before = model.predict()
    model.update([ys[0][:0], ys[1][:0]])
    for was, now in zip(before, model.predict(), strict=True):
        pd.testing.assert_series_equal(was, now, check_exact=True)


def test_a_warm_start_keeps_what_is_read():
    model = quick(season=12, warm_start=True).fit(series(120))
    assert model._plan.at_once == 6
    with pytest.raises(ValueError, match="must keep window, and steps forecast at once"):
        model.set_params(strategy="recursive").fit(series(120))


def test_another_split_is_another_checkpoint(tmp_path):
    """Also where windows are not scaled, and so the same."""
    options = {"season": 12, "standardize": False, "checkpoint": tmp_path / "run.ckpt"}
    quick(**options).fit(series(150))
    quick(**options, calibration_fraction=0.2).fit(series(150))
    with pytest.raises(ValueError, match="checkpoint"):
        quick(**options, calibration_fraction=0.4).fit(series(150))


def test_with_x_a_direct_window_is_as_long_as_the_horizon():
    x = np.random.default_rng(0).normal(size=(200, 1))
    model = quick(30, strategy="direct").fit(series(200), x)
    assert model._plan.window == 30


def test_short_series_beside_others():
    ys = [series(100), series(9, seed=1), series(20, seed=2)]
    model = quick(season=12).fit(ys)
    found, bands = model.predict(), model.predict_interval(coverage=0.5)
    for y, ahead, band in zip(ys, found, bands, strict=True):
        assert ahead.shape == (6,) and np.abs(ahead - y.mean()).max() < 30
        assert (band[:, 0] < ahead).all() and (ahead < band[:, 1]).all()
    network = quick(season=12, linear=False).fit(ys)
    assert np.isfinite(network.predict()).all()


# --- files --------------------------------------------------------------------------------------


def test_defaults_are_saved_as_defaults(tmp_path):
    model = quick().fit(pd.Series(series(), MONTHS[:96]))
    nr.save(model, tmp_path / "model")
    again = nr.load(tmp_path / "model")
    assert repr(again) == repr(model) and again._plan == model._plan
    assert again.window is None and again.season is None and again.strategy == "auto"
    pd.testing.assert_series_equal(again.predict(), model.predict(), check_exact=True)
    with warnings.catch_warnings():
        pd.testing.assert_frame_equal(again.predict_interval(), model.predict_interval())


@pytest.mark.parametrize(
    "change",
    [
        {"plan": {"window": 5}},
        {"plan": {"window": 10**9}},
        {"plan": {"strategy": "both"}},
        {"plan": {"linear": 1}},
        {"plan": {"linear": False}},
        {"plan": {"difference": 10**9}},
        {"network_share": 1.5},
        {"naive_share": 1.0, "network_share": 0.5},
        {"network_share": "x"},
        {"changes": -1.0},
        {"own": {"window": 7}},
        {"own": {"random_state": 3}},
        {"own": {"calibration_fraction": 2.0}},
        {"regressor": {"patch": [3, 1]}},
    ],
    ids=str,
)
def test_files_of_strangers(change):
    config, tensors = quick(season=12).fit(series())._to_tensors()
    RNNForecaster._from_tensors(config, tensors)
    change = {
        key: config[key] | value if isinstance(value, dict) else value
        for key, value in change.items()
    }
    with pytest.raises((TypeError, ValueError)):
        RNNForecaster._from_tensors(config | change, tensors)
