"""Missing values of series, and of what is known beside them, in a forecaster."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from helpers import assert_same_bits, forecaster

import numba_rnn as nr
from numba_rnn.estimators import RNNForecaster, RNNRegressor, ridge, scaling
from numba_rnn.estimators.gaps import carried

NAN = np.nan


def small(horizon=3, **options):
    """Return a network alone, fitted in no time."""
    quick = {"hidden_size": 3, "max_iter": 2, "n_iter_no_change": np.inf, "random_state": 0}
    quick |= {"linear": False, "season": 1, "window": 5, "early_stopping": False}
    return forecaster(horizon, **quick | {"missing": "forward"} | options)


def both(horizon=3, **options):
    """Return a network beside a linear path."""
    return small(horizon, **{"linear": True, "early_stopping": True} | options)


def walk(n=60, seed=0):
    return np.cumsum(np.random.default_rng(seed).normal(size=n)) + 10


def holes(values, places):
    found = values.copy()
    found[np.array(places)] = NAN
    return found


Y, X = walk(), np.random.default_rng(1).normal(size=(70, 2))
GAPS = [0, 1, 7, 20, 21, 22, 40, 50, 59]
HOLED = holes(Y, GAPS)


def test_the_last_value_is_carried_forward():
    assert carried(np.array([NAN, 1, NAN, NAN, 4]), 9.0).tolist() == [9, 1, 1, 1, 4]
    y = np.array([2.0, 3])
    assert carried(y) is y


def test_with_a_season_its_last_change_is_carried_forward():
    y = np.array([NAN, 5, 1, 11, 15, NAN, NAN, NAN, 21, NAN, NAN])
    # the start, then 1 + 10, 11 + 10 and 15 + 10; what lies a season after a gap is no change
    expected = [3.0, 5, 1, 11, 15, 11, 21, 25, 21, 31, 35]
    assert carried(y, 3.0, season=3).tolist() == expected
    t = np.arange(60)
    seasonal = 0.5 * t + np.resize([1.0, 7, -3, 2], 60)
    np.testing.assert_allclose(carried(holes(seasonal, [9, 30, 31, 32, 33, 34]), 0, 4), seasonal)


@pytest.mark.parametrize("strategy", ["recursive", "direct"])
def test_without_gaps_nothing_changes(strategy):
    options = {"strategy": strategy}
    filling, plain = both(**options).fit(Y, X[:60]), both(missing="error", **options).fit(Y, X[:60])
    for name in ("predict", "predict_interval", "predict_quantiles"):
        found, expected = (getattr(model, name)(X=X[60:63]) for model in (filling, plain))
        assert_same_bits(found, expected)
    assert_same_bits(filling.rnn_.flat_parameters, plain.rnn_.flat_parameters)


@pytest.fixture
def seen(monkeypatch):
    """What RNNRegressor begins with: windows as an array (N, w, F), and targets."""
    calls = []

    def begin(self, x, y, original=RNNRegressor._begin, validation_data=None, **options):
        calls.append((x.rows[x.starts[:, None] + np.arange(x.lengths[0])], y, x))
        return original(self, x, y, validation_data=validation_data, **options)

    monkeypatch.setattr(RNNRegressor, "_begin", begin)
    return calls


@pytest.mark.parametrize("strategy, k", [("recursive", 1), ("direct", 3)])
@pytest.mark.parametrize("difference", [0, 1])
def test_windows_of_gaps_by_hand(seen, strategy, k, difference):
    """Rows are carried forward and marked; targets that come from a gap are no targets."""
    holed = holes(X[:60], [3])
    options = {"strategy": strategy, "calibration_fraction": 0, "standardize": False}
    model = small(**options, difference=difference).fit(HOLED, holed)
    inputs, targets, _ = seen[0]
    start = np.nanmean(HOLED)
    filled = carried(HOLED, start)
    x = np.stack([carried(column, np.nan) for column in holed.T], axis=1)
    z, truth = (np.diff(v) if difference else v for v in (filled, HOLED))
    absent, gone = np.isnan(HOLED)[difference:], np.isnan(holed)[difference:]
    x = x[difference:]
    assert model.rnn_.input_size == 1 + 1 + 2 * 4 and model._x.shape[2] == 4
    n = 0
    for begin in range(len(z) - 5 - k + 1):
        ahead = truth[begin + 5 : begin + 5 + k]
        if np.isnan(ahead).all():
            continue
        for s in range(5):
            t = begin + s
            beside = [np.concatenate([x[u], gone[u].astype(float)]) for u in (t, t + k)]
            expected = [z[t], float(absent[t]), *beside[0], *beside[1]]
            np.testing.assert_allclose(inputs[n, s], expected, rtol=1e-12, err_msg=f"{n}, {s}")
        np.testing.assert_allclose(targets[n], ahead, rtol=1e-12)
        n += 1
    assert n == len(inputs)


def test_what_is_missing_is_not_learnt():
    """Whatever a gap would be filled with, loss and linear path are those of the rest."""
    a, b = (both(horizon=1, window=1).fit(y) for y in (HOLED, HOLED.copy()))
    assert_same_bits(a.predict(), b.predict())
    y = np.resize([1.0, 2, 3, 4], 200) + 0.01 * np.random.default_rng(0).normal(size=200)
    gone = holes(y, np.arange(13, 170, 9))
    model = both(4, window=8, season=4).fit(gone)
    assert np.abs(model.predict() - [1, 2, 3, 4]).max() < 0.1
    assert np.nanstd(model.residuals_) < 5  # units of a change from season to season


def test_rows_of_regressions_whose_target_is_missing_are_left_out():
    rng = np.random.default_rng(0)
    z, x = rng.normal(size=30), np.empty((30, 0))
    truth = holes(z, [7, 8, 20])
    found = ridge.Moments.of(z, x, 3, truth)
    rows = [[*z[t - 3 : t], z[t]] for t in range(3, 30) if t not in (7, 8, 20)]
    assert found.count == len(rows)
    np.testing.assert_allclose(found.sums, np.sum(rows, axis=0))


def test_scales_are_those_of_known_values():
    assert scaling.level(HOLED) == pytest.approx((np.nanmean(HOLED), np.nanstd(HOLED)))
    mean, scale = scaling.measured(HOLED, 48, [1])
    changes = np.diff(HOLED)[:47]
    assert (mean, scale) == pytest.approx((np.nanmean(changes), np.nanstd(changes)))
    # where nothing is known at first, what comes after says what the unit is
    assert scaling.measured(holes(Y, range(48)), 48, []) == pytest.approx(
        (Y[48:].mean(), Y[48:].std())
    )


def test_nothing_is_known_of_values_held_back():
    """The mean that stands before the first value is that of the values before them."""
    later = HOLED.copy()
    later[48:] = 1000 + later[48:]
    model, other = small().fit(HOLED, X[:60]), small().fit(later, X[:60])
    assert_same_bits(other.rnn_.flat_parameters, model.rnn_.flat_parameters)
    assert_same_bits(other.y_scale_, model.y_scale_)


def test_residuals_have_gaps_where_truths_do():
    model = small().fit(HOLED)
    assert model.residuals_.shape == (10, 3)
    expected = [[np.isnan(HOLED[48 + j + s]) for s in range(3)] for j in range(10)]
    np.testing.assert_array_equal(np.isnan(model.residuals_), expected)
    for j in range(10):
        filled = carried(HOLED, np.nanmean(HOLED[:48]))
        model._values = filled[None, 43 + j : 48 + j]
        model._read = np.isnan(HOLED)[None, 43 + j : 48 + j, None].astype(float)
        error = HOLED[48 + j : 51 + j] - model.predict()
        np.testing.assert_allclose(model.residuals_[j] * model.y_scale_[0], error, atol=1e-9)


def test_intervals_of_residuals_with_gaps_are_those_of_the_rest():
    """Step by step: of one with fewer residuals as if there were no others."""
    model = small(2).fit(Y)
    residuals = np.random.default_rng(0).normal(size=(60, 2))
    gone = residuals.copy()
    gone[20:, 0] = NAN
    for name, options in (
        ("predict_interval", {"coverage": 0.8}),
        ("predict_quantiles", {"quantiles": [0.2, 0.5, 0.7]}),
    ):
        call = getattr(model, name)
        model.residuals_ = gone
        found = call(**options)
        model.residuals_ = residuals[:20]
        np.testing.assert_allclose(found[0], call(**options)[0], rtol=1e-12)
        model.residuals_ = residuals
        np.testing.assert_allclose(found[1], call(**options)[1], rtol=1e-12)
    gone[1:, 0] = NAN  # one is too few, and so those of both steps are taken together
    model.residuals_ = gone
    with warnings.catch_warnings():
        assert np.isfinite(model.predict_interval()).all()
    gone[:, 0] = NAN
    assert np.isfinite(model.predict_interval()).all()
    assert np.isfinite(model.predict_quantiles()).all()
    model.residuals_ = np.full((4, 2), NAN)
    with pytest.warns(UserWarning, match="0 residuals were held back"):
        assert np.isfinite(model.predict_interval()).all()


WAYS = {
    "NaN": lambda y: y,
    "None": lambda y: [None if np.isnan(v) else v for v in y],
    "masked": lambda y: np.ma.masked_array(np.where(np.isnan(y), -999, y), np.isnan(y)),
    "pandas": pd.Series,
    "NA": lambda y: pd.Series(y).astype("Float64"),
    "NA objects": lambda y: np.array([pd.NA if np.isnan(v) else v for v in y], object),
    "polars": lambda y: pl.Series([None if np.isnan(v) else v for v in y]),
}


@pytest.mark.parametrize("way", WAYS)
def test_whatever_stands_for_a_missing_value(way):
    beside, ahead = holes(X[:60, 0], [5, 6]), holes(X[:63, 0], [5, 6, 61])
    expected = small().fit(HOLED, beside).predict(X=ahead, y=HOLED)
    make = WAYS[way]
    model = small().fit(make(HOLED), make(beside))
    assert_same_bits(np.asarray(model.predict(X=make(ahead), y=make(HOLED))), expected)
    with pytest.raises((TypeError, ValueError), match=r"y must (be finite|have no masked|hold)"):
        small(missing="error").fit(make(HOLED), X[:60])


def test_frames_with_gaps():
    days = pd.date_range("2024", periods=63)
    frame = pd.DataFrame({"a": HOLED, "b": holes(100 * Y, [30])}, days[:60])
    x = pd.DataFrame({"c": holes(X[:63, 0], [4, 61]), "d": X[:63, 1]}, days).astype("Float64")
    model = both().fit(frame, x[:60], X_past=frame[["b"]])
    assert model._gaps.y.tolist() == [0, 1] and model._gaps.x.marked.tolist() == [0]
    assert model.rnn_.input_size == 2 + 2 + 1 + 1 + 2 * 3
    found = model.predict(X=x[60:])
    assert found.index.equals(days[60:]) and np.isfinite(found.to_numpy()).all()
    only = both().fit(pd.DataFrame({"a": Y, "b": holes(Y, [30])}, days[:60]))
    assert only._gaps.y.tolist() == [1]


def test_a_gap_in_future_x_is_the_last_row():
    model = both().fit(Y, holes(X[:60], [3]))
    gone = holes(X[60:63], [0])
    last = np.stack([X[59], *X[61:63]])
    marked = model._scaled_future(model._own(), [gone])[0]
    filled = model._scaled_future(model._own(), [last])[0]
    np.testing.assert_allclose(marked[:, :2], filled[:, :2], rtol=1e-12)
    assert marked[:, 2:].tolist() == [[1, 1], [0, 0], [0, 0]] and not filled[:, 2:].any()
    assert np.isfinite(model.predict(X=gone)).all()
    given = np.concatenate([holes(X[:60], [3]), gone])
    other = model._forecast(3, given, Y, None, None)
    np.testing.assert_allclose(other.x[0], marked, rtol=1e-12)
    np.testing.assert_allclose(other.past.x, model._x, rtol=1e-12)


def test_update_goes_on_from_the_last_value():
    model = both().fit(HOLED[:50], X[:50], X_past=holes(X[:50], [3]))
    model.update([NAN, 7.0, NAN], [[NAN, 1], [2, 3], [4, NAN]], X_past=[[NAN] * 2] * 3)
    # the value before is that of place 49, and what is marked is what was missing
    assert model._values[0, -3:].tolist() == [HOLED[49], 7, 7]
    assert model._read[0, -3:, 0].tolist() == [1, 0, 1]
    unscaled = model._x[0, -3:, :2] * model.x_scale_ + model.x_mean_
    np.testing.assert_allclose(unscaled, [[X[49, 0], 1], [2, 3], [4, 3]], rtol=1e-12)
    past = model._read[0, -3:, 1:3] * model.x_past_scale_ + model.x_past_mean_
    np.testing.assert_allclose(past, np.repeat(X[49:50], 3, axis=0), rtol=1e-9)
    assert model._read[0, -3:, 3:].tolist() == [[1, 1]] * 3
    assert np.isfinite(model.predict(X=X[53:56])).all()


@pytest.mark.parametrize("linear", [True, False])
def test_update_fills_by_the_last_season_as_fit_does(linear, tmp_path):
    """Also where the network alone reads less than a season."""
    t = np.arange(60)
    y = holes(0.5 * t + np.resize(walk(12), 60), [49, 50, 53, 58])
    options = {"window": 4, "season": 12, "difference_season": False, "linear": linear}
    model, whole = (small(**options).fit(y[:n]) for n in (49, 60))
    model.update(y[49:51]).update(y[51:])
    np.testing.assert_allclose(model._values, whole._values[:, -model.tail_ :], rtol=1e-12)
    nr.save(model, tmp_path / "model")
    assert_same_bits(nr.load(tmp_path / "model").predict(), model.predict())
    config, tensors = model._to_tensors()
    del config["plan"]["missing"]  # a file of before
    if linear:  # which kept as much as now
        assert RNNForecaster._from_tensors(config, tensors)._plan == model._plan
    assert small(**options | {"missing": "error"}).fit(Y).tail_ == (16 if linear else 4)


@pytest.mark.parametrize("strategy", ["recursive", "direct"])
def test_forecasts_after_a_gap(strategy):
    """What is forecast is no gap, so that only what was known is marked."""
    model = small(strategy=strategy).fit(HOLED)
    filled = carried(HOLED, np.nanmean(HOLED))[-5:]
    marks = np.isnan(HOLED)[-5:].astype(float)
    z = (filled - model.y_mean_) / model.y_scale_
    k, found = model._plan.at_once, []
    while len(found) < 3:
        ahead = model.regressor_.predict(np.stack([z[-5:], marks[-5:]], axis=1)[None])[0]
        z, marks = np.concatenate([z, ahead]), np.concatenate([marks, np.zeros(k)])
        found += list(ahead * model.y_scale_ + model.y_mean_)
    np.testing.assert_allclose(model.predict(3), found, rtol=1e-5)


def test_forecasts_of_other_series_with_gaps():
    model = both().fit([HOLED, 5 * HOLED[::-1]])
    for n in (60, 12, 4):
        found = model.predict(y=[HOLED[:n], Y[:n]])
        assert np.isfinite(found).all()
    assert np.isfinite(model.predict_interval(y=[HOLED])[0]).all()
    with pytest.raises(ValueError, match=r"y\[1\] must have a value that is not missing, got none"):
        model.predict(y=[Y, np.full(9, NAN)])
    with pytest.raises(ValueError, match=r"y must be finite, got nan .* missing=.forward"):
        both(missing="error").fit(Y).predict(y=HOLED)


def test_backtest_scores_what_is_known():
    y = holes(Y, [20, 55, 59])
    result = both().backtest(y, 2, X[:60], season=4)
    np.testing.assert_array_equal(np.isnan(result.truth), [[0, 1, 0], [0, 0, 1]])
    for k, origin in enumerate((54, 57)):
        known = both().fit(y[:origin], X[:origin]).predict(3, X[origin : origin + 3])
        assert_same_bits(result.forecasts["RNNForecaster"][k], known)
    naive = np.array([[y[53]] * 3, [y[56]] * 3])
    np.testing.assert_array_equal(result.forecasts["naive"], naive)
    errors = np.abs(naive - result.truth)
    assert result.scores["naive"]["MAE"] == pytest.approx(np.nanmean(errors))
    assert result.scores["naive"]["RMSE"] == pytest.approx(np.sqrt(np.nanmean(errors**2)))
    scale = [np.nanmean(np.abs(y[4:n] - y[: n - 4])) for n in (54, 57)]
    np.testing.assert_allclose(result.scale, scale)
    expected = np.mean(np.nanmean(errors, axis=1) / scale)
    assert result.scores["naive"]["MASE"] == pytest.approx(expected)
    gone = both().backtest(holes(Y, [54, 55, 56, 57, 58, 59]), 2)
    assert all(np.isnan(v) for v in gone.scores["naive"].values())


def test_a_series_without_values_beside_others():
    with pytest.raises(ValueError, match=r"y\[1\] must have a value that is not missing, got none"):
        both().fit([Y, np.full(60, NAN)])


LATE = [walk(120), holes(1e3 * walk(120, 1), range(97))]  # begins among the values held back


@pytest.mark.parametrize("linear", [True, False])
def test_a_series_that_begins_among_the_values_held_back(linear):
    options = {"linear": linear, "window": 8, "early_stopping": True}
    model = small(**options).fit(LATE)
    alone = small(**options).fit(LATE[:1])
    assert model.residuals_.shape == alone.residuals_.shape  # of that series there are none
    assert np.isfinite(model.residuals_).all() and np.isfinite(model.predict()).all()
    assert all(np.isfinite(model.predict_interval(coverage=0.5)).ravel())
    assert np.isfinite(model.predict(y=LATE)).all()
    assert small(**options).backtest(LATE, 5).truth.shape == (2, 5, 3)
    assert scaling.measured(np.full(9, NAN), 5, [1]) == (0.0, 0.0)


@pytest.mark.parametrize("fitted", [False, True])
def test_a_refusal_after_the_training_changes_nothing(fitted, monkeypatch):
    def refuse(*_):
        raise ValueError("too late")

    model = small(warm_start=True)
    if fitted:
        model.fit(Y)
        forecast, curve = model.predict(), list(model.loss_curve_)
    before = dict(vars(model))
    monkeypatch.setattr(RNNForecaster, "_look_back", refuse)
    with pytest.raises(ValueError, match="too late"):
        model.fit(2 * Y)
    assert vars(model).keys() == before.keys() and hasattr(model, "regressor_") == fitted
    if fitted:
        assert_same_bits(model.predict(), forecast)
        assert model.loss_curve_ == curve


def test_it_learns_what_a_gap_means():
    """Sensors fail before a drop: the indicator says what the carried value doesn't."""
    rng = np.random.default_rng(0)
    fails = rng.random(400) < 0.2
    y = 0.1 * rng.normal(size=401)
    y[1:][fails] -= 3
    x = np.where(fails, NAN, 1.0)
    options = {"window": 2, "max_iter": 40, "hidden_size": 8, "learning_rate_init": 1e-2}
    model = small(1, **options, batch_size=32).fit(y[:400], X_past=x)
    assert np.std(model.residuals_) < 0.5


def test_many_gaps_are_learnt_from_all_the_same():
    """Half of all values are missing, of two columns at different times."""
    rng, t = np.random.default_rng(0), np.arange(300)
    truth = np.stack([np.sin(t * 2 * np.pi / 8), np.cos(t * 2 * np.pi / 8)], axis=1)
    y = np.where(rng.random(truth.shape) < 0.3, NAN, truth)
    options = {"window": 12, "max_iter": 60, "hidden_size": 16, "learning_rate_init": 1e-2}
    model = small(8, strategy="direct", **options, batch_size=32).fit(y[:292])
    assert np.sqrt(np.mean((model.predict() - truth[292:]) ** 2)) < 0.3
    both(8, season=8).fit(y[:292]).predict_interval()


@pytest.mark.parametrize("loss", ["squared_error", "quantile"])
def test_saved_and_loaded(loss, tmp_path):
    x = holes(X[:60], [3])
    model = both(loss=loss).fit(np.stack([HOLED, Y], axis=1), x, X_past=x)
    nr.save(model, tmp_path / "model")
    again = nr.load(tmp_path / "model")
    assert again.missing == "forward" and np.isnan(again.residuals_).any()
    future = holes(X[60:63], [1])
    for name in ("predict", "predict_interval", "predict_quantiles"):
        assert_same_bits(getattr(again, name)(X=future), getattr(model, name)(X=future))
    again.update(np.array([[NAN, 1.0]]), [[NAN, 1.0]], X_past=[[NAN, NAN]])


@pytest.mark.parametrize(
    "change",
    [
        {"gaps": None}, {"gaps": {}}, {"gaps": {"y": [1], "X": None, "X_past": None}},
        {"gaps": {"y": [1]}}, {"own": {"missing": "error"}},
    ],
    ids=str,
)  # fmt: skip
def test_files_of_strangers(change):
    config, tensors = both().fit(HOLED, holes(X[:60], [3]))._to_tensors()
    RNNForecaster._from_tensors(config, tensors)
    change = {k: config[k] | v if k in ("gaps", "own") and v else v for k, v in change.items()}
    with pytest.raises((KeyError, TypeError, ValueError)):
        RNNForecaster._from_tensors(config | change, tensors)
    plain, arrays = both(missing="error").fit(Y)._to_tensors()
    gone = holes(arrays["residuals_"], [0])
    with pytest.raises(ValueError, match="residuals_ must be finite"):
        RNNForecaster._from_tensors(plain, arrays | {"residuals_": gone})


@pytest.mark.parametrize(
    "options, y, given, words",
    [
        ({"missing": "drop"}, Y, {}, "missing must be 'error' or 'forward'"),
        ({}, np.where(Y == Y[3], np.inf, Y), {}, "y must be finite, got inf at index 3"),
        ({}, np.full(60, NAN), {}, "y must have a value that is not missing, got none"),
        ({}, Y, {"X": np.full((60, 1), NAN)}, "X must have a value in each column.* column 0"),
        ({}, Y, {"X_past": np.full((60, 1), NAN)}, "X_past must have a value in each column"),
        ({}, Y, {"static": [NAN]}, "static must be finite, got nan"),
        ({}, holes(Y, range(5, 60)), {}, "y must have values that are not missing after windows"),
        ({"missing": "error"}, HOLED, {}, "y must be finite, got nan .*say missing=.forward"),
    ],
)
def test_bad_series(options, y, given, words):
    model = small(**options)
    with pytest.raises(ValueError, match=words):
        model.fit(y, **given)
    assert not hasattr(model, "regressor_")


def test_a_warm_start_keeps_what_is_done_with_gaps():
    model = small(warm_start=True).fit(HOLED)
    model.fit(Y)  # without gaps, and with its indicator all the same
    assert model.rnn_.input_size == 2
    before = model.predict()
    with pytest.raises(ValueError, match=r"must keep missing, .* forward, got error"):
        model.set_params(missing="error").fit(Y)
    assert_same_bits(model.predict(), before)
    plain = small(missing="error", warm_start=True).fit(Y)
    with pytest.raises(ValueError, match=r"must keep missing, .* error, got forward"):
        plain.set_params(missing="forward").fit(HOLED)
