"""What is known beside series that a forecaster reads, and several series forecast as one."""

import pickle
import re

import numpy as np
import pandas as pd
import polars as pl
import pytest
from helpers import assert_same_bits, forecaster

import numba_rnn as nr
from numba_rnn.estimators import RNNForecaster
from numba_rnn.estimators.windows import cut

STRATEGIES = ("recursive", "direct")


def small(horizon=3, **options):
    """Return a network alone, fitted in no time."""
    quick = {"hidden_size": 3, "max_iter": 2, "n_iter_no_change": np.inf, "random_state": 0}
    quick |= {"linear": False, "season": 1, "window": 5, "early_stopping": False}
    return forecaster(horizon, **quick | options)


def both(horizon=3, **options):
    """Return a network beside a linear path."""
    return small(horizon, **{"linear": True, "early_stopping": True} | options)


def walk(n=60, seed=0):
    return np.cumsum(np.random.default_rng(seed).normal(size=n)) + 10


Y, BESIDE = walk(), np.random.default_rng(1).normal(size=(70, 2))
WIDE = np.stack([Y, 100 * walk(seed=2)], axis=1)
DAYS = pd.date_range("2024", periods=70, freq="D")


def test_rows_hold_what_they_should():
    rng = np.random.default_rng(0)
    z, read, x = rng.normal(size=(12, 2)), rng.normal(size=(12, 3)), rng.normal(size=(12, 1))
    windows, targets = cut([z, z[:8]], [z, z[:8]], [read, read[:8]], [x, x[:8]], 4, 3)
    assert len(windows) == len(targets) == (12 - 6) + (8 - 6)
    for n, (begin, end) in enumerate([(k, 12) for k in range(6)] + [(k, 8) for k in range(2)]):
        start = windows.starts[n]
        for s in range(4):
            t = begin + s
            assert t + 3 < end
            expected = [*z[t], *read[t], *x[t], *x[t + 3]]
            np.testing.assert_array_equal(windows.rows[start + s], expected)
        np.testing.assert_array_equal(targets[n], z[begin + 4 : begin + 7].ravel())


# --- known up to now alone ----------------------------------------------------------------------


def test_it_learns_from_what_was_known():
    """y follows x by three steps, so that what is known says all of the next three."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, 423).astype(float)
    y = np.concatenate([np.zeros(3), 3 * x[:-3]]) + 0.1 * rng.normal(size=423)
    options = {"window": 4, "max_iter": 60, "hidden_size": 16, "learning_rate_init": 1e-2}
    model = small(3, strategy="direct", **options, batch_size=32).fit(y[:420], X_past=x[:420])
    error = np.sqrt(np.mean((model.predict() - y[420:]) ** 2))
    assert error < 0.5  # the standard deviation is 1.5
    found = model.predict(y=y[:301], X_past=x[:301]) - y[301:304]
    assert np.sqrt(np.mean(found**2)) < 0.5
    blind = small(3, strategy="direct", **options, batch_size=32).fit(y[:420])
    assert np.std(blind.residuals_) > 2 * np.std(model.residuals_)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_no_future_is_read(strategy):
    """The last row stands for what is not known, and what comes later changes nothing."""
    model = both(strategy=strategy).fit(Y, X_past=BESIDE[:60])
    assert model.predict(7).shape == (7,)
    by_hand = np.concatenate([BESIDE[:60], np.repeat(BESIDE[59:60], 4, axis=0)])
    assert model._read.shape == (1, model._plan.tail, 2)
    z = (Y[-5:] - model.y_mean_) / model.y_scale_
    read = (by_hand - model.x_past_mean_) / model.x_past_scale_
    k, found = model._plan.at_once, []
    for step in range(0, 4, k):
        table = np.concatenate([z[-5:, None], read[55 + step : 60 + step]], axis=1)
        ahead = model.regressor_.predict(table[None])[0]
        found += list(ahead)
        z = np.concatenate([z, ahead])
    found = np.array(found[:4]) * model.y_scale_ + model.y_mean_
    model.network_share_, model.naive_share_ = 1.0, 0.0
    np.testing.assert_allclose(model.predict(4), found, rtol=1e-5)


def test_nothing_is_learnt_from_what_was_held_back():
    model = both().fit(Y, BESIDE[:60], X_past=BESIDE[:60])
    other_past = BESIDE[:60].copy()
    other_past[48:] += 100
    other = small().fit(Y, BESIDE[:60], X_past=other_past)
    alone = small().fit(Y, BESIDE[:60], X_past=BESIDE[:60])
    assert_same_bits(other.rnn_.flat_parameters, alone.rnn_.flat_parameters)
    assert_same_bits(other.x_past_mean_, alone.x_past_mean_)
    assert_same_bits(model.coefficients_, both().fit(Y, BESIDE[:60]).coefficients_)


def test_update_takes_what_was_known():
    model = both().fit(Y[:50], BESIDE[:50, :1], X_past=BESIDE[:50])
    model.update(Y[50:], BESIDE[50:60, :1], X_past=BESIDE[50:60])
    tail = model._plan.tail
    read = (BESIDE[60 - tail : 60] - model.x_past_mean_) / model.x_past_scale_
    np.testing.assert_array_equal(model._read[0], read)
    before = model.predict(3, BESIDE[60:63, :1])
    for wrong, words in (
        ({}, "X_past must have 2 columns, as in fit, got 0"),
        ({"X_past": BESIDE[:2, :1]}, "X_past must have 2 columns, as in fit, got 1"),
        ({"X_past": BESIDE[:3]}, "X_past must have 2 rows"),
    ):
        with pytest.raises(ValueError, match=words):
            model.update(Y[:2], BESIDE[:2, :1], **wrong)
    assert_same_bits(model.predict(3, BESIDE[60:63, :1]), before)


@pytest.mark.parametrize("listed", [False, True])
def test_backtest_refits_with_all_of_it(listed):
    y, x = Y, BESIDE[:60]
    model = both(strategy="recursive")
    found = model.backtest(
        [y, -y] if listed else y, 2, X_past=[x, x] if listed else x,
        static=[[1.0], [2.0]] if listed else [1.0],
    )  # fmt: skip
    for k, n in enumerate((54, 57)):
        if listed:
            each = both(strategy="recursive").fit(
                [y[:n], -y[:n]], X_past=[x[:n]] * 2, static=[[1.0], [2.0]]
            )
            assert_same_bits(found.forecasts["RNNForecaster"][:, k], np.stack(each.predict()))
        else:
            each = both(strategy="recursive").fit(y[:n], X_past=x[:n], static=[1.0])
            assert_same_bits(found.forecasts["RNNForecaster"][k], each.predict())


# --- known of the series as a whole -------------------------------------------------------------


def test_it_learns_from_what_kind_a_series_is():
    """Half of the series turn around at every step, half don't; the last value can't say which."""
    rng = np.random.default_rng(0)
    kinds = np.resize([0.0, 1.0], 40)
    ys = []
    for kind in kinds:
        y = np.zeros(30)
        for t in range(1, 30):
            y[t] = (0.8 if kind else -0.8) * y[t - 1] + rng.normal()
        ys.append(y)
    options = {"window": 1, "strategy": "recursive", "max_iter": 40, "hidden_size": 8}
    options |= {"batch_size": 32, "learning_rate_init": 1e-2}
    model = small(1, **options).fit(ys, static=kinds)
    assert model._static[:, 0].tolist() == (2 * kinds - 1).tolist()
    same = np.array([0.0, 0.1, -0.1, 2.0])
    like, unlike = (model.predict(1, y=[same], static=[kind])[0][0] for kind in (1.0, 0.0))
    assert like > 1 and unlike < -0.5
    blind = small(1, **options).fit(ys)
    assert np.std(blind.residuals_) > 1.1 * np.std(model.residuals_)


def test_the_linear_path_knows_the_level_of_a_kind():
    """It has a constant of all series, and static columns say how it differs."""
    rng = np.random.default_rng(0)
    sizes = np.linspace(-1, 1, 12)
    ys = [5 + rng.normal(size=50) for _ in sizes]
    model = both().fit(ys, static=sizes)
    assert model.coefficients_.shape == (1, 13, 5 + 2 + 1)
    assert model.predict(2, y=[ys[0]], static=[0.3])[0].shape == (2,)
    plain = both().fit(ys)
    assert plain.coefficients_.shape == (1, 13, 5 + 1)


def test_one_series_alone_has_a_static_row_that_says_nothing():
    plain, model = both().fit(Y), both().fit(Y, static=[3.0, -7.0])
    assert model._static.tolist() == [[0, 0]]
    np.testing.assert_allclose(model.coefficients_[..., :5], plain.coefficients_[..., :5])
    model.network_share_ = plain.network_share_ = 0.0
    model.naive_share_ = plain.naive_share_ = 0.0
    np.testing.assert_allclose(model.predict(), plain.predict())


def test_frames_beside_series():
    static = pd.DataFrame({"size": [1.0, 2], "age": [5, 3]})
    past = [pd.DataFrame(BESIDE[:60], DAYS[:60], columns=["a", "b"])] * 2
    ys = [pd.Series(Y, DAYS[:60]), pd.Series(-Y, DAYS[:60])]
    model = small().fit(ys, X_past=past, static=static)
    model.predict(y=ys, X_past=past, static=static)
    with pytest.raises(ValueError, match=r"static must have the columns \['size', 'age'\]"):
        model.predict(y=ys, X_past=past, static=static[["age", "size"]])
    with pytest.raises(ValueError, match=r"X_past must have the columns \['a', 'b'\]"):
        model.predict(y=ys, X_past=[one[["b", "a"]] for one in past], static=static)
    with pytest.raises(ValueError, match=r"X_past\[1\] must have the columns"):
        small().fit(ys, X_past=[past[0], past[0][["b", "a"]]])
    with pytest.raises(ValueError, match=r"X_past\[0\] must have the index of its series"):
        small().fit(ys, X_past=[one.set_axis(DAYS[1:61]) for one in past])


# --- several columns ----------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_columns_are_read_and_forecast_together(strategy):
    """Step by step, by hand: one difference, both columns in each row."""
    model = small(strategy=strategy, difference=1).fit(WIDE)
    k = model._plan.at_once
    assert model.rnn_.input_size == 2 and model.head_.out_features == 2 * k
    known = [*WIDE]
    while len(known) < 67:
        d = np.diff(known, axis=0)[-5:]
        z = (d - model.y_mean_) / model.y_scale_
        for row in model.regressor_.predict(z[None])[0].reshape(k, 2):
            known.append(known[-1] + row * model.y_scale_ + model.y_mean_)
    found = model.predict(7)
    assert found.shape == (7, 2)
    np.testing.assert_allclose(found, known[60:67], rtol=1e-5)


def test_one_column_follows_from_the_other():
    rng = np.random.default_rng(0)
    lead = rng.normal(size=401)
    wide = np.stack([lead, np.concatenate([[0.0], 3 * lead[:-1]])], axis=1)
    options = {"max_iter": 60, "hidden_size": 8, "learning_rate_init": 1e-2, "batch_size": 32}
    model = small(1, window=2, **options).fit(wide[:400])
    follower = np.std(model.residuals_.reshape(2, -1), axis=1)  # a column after the other
    assert follower[1] < 0.3 < 0.8 < follower[0]
    assert abs(model.predict(1)[0, 1] - wide[400, 1]) < 1
    apart = small(1, window=2, **options).fit([wide[:400, 0], wide[:400, 1]])
    assert np.std(apart.residuals_.reshape(2, -1), axis=1)[1] > 0.8


def test_the_linear_path_takes_columns_for_series():
    wide, listed = both().fit(WIDE), both().fit(list(WIDE.T))
    for name in ("coefficients_", "y_mean_", "y_scale_", "level_mean_"):
        assert_same_bits(getattr(wide, name), getattr(listed, name))
    for model in (wide, listed):
        model.network_share_, model.naive_share_ = 0.0, 0.3
    assert_same_bits(wide.predict(), np.stack(listed.predict(), axis=1))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_residuals_of_columns(strategy):
    model = small(strategy=strategy).fit(WIDE)
    assert model.residuals_.shape == (2 * (12 - 3 + 1), 3)
    rows = model.residuals_.reshape(2, 10, 3)
    for j in range(10):
        model._values = WIDE[43 + j : 48 + j].T.copy()
        error = (WIDE[48 + j : 51 + j] - model.predict()).T / model.y_scale_[:, None]
        np.testing.assert_allclose(rows[:, j], error, atol=1e-9)


def test_one_column_is_a_series():
    column, plain = both().fit(Y[:, None]), both().fit(Y)
    assert_same_bits(column.predict(), plain.predict()[:, None])
    assert_same_bits(column.predict_interval(), plain.predict_interval()[:, None])
    frame = pd.DataFrame({"sales": Y}, DAYS[:60])
    found = both().fit(frame).predict()
    assert list(found.columns) == ["sales"] and found.index.equals(DAYS[60:63])
    assert_same_bits(found.to_numpy(), both().fit(frame["sales"]).predict().to_numpy()[:, None])
    assert both().fit(pl.DataFrame({"sales": Y})).predict().shape == (3, 1)


def test_a_constant_column_beside_another():
    wide = np.stack([Y, np.full(60, 2.5)], axis=1)
    model = small(calibration_fraction=0.3).fit(wide)
    assert (model.predict()[:, 1] == 2.5).all() and len(model.residuals_) == 18 - 3 + 1
    assert model.predict_interval(coverage=0.5)[:, 1].tolist() == [[2.5, 2.5]] * 3


def test_frames_of_several_columns():
    frame = pd.DataFrame(WIDE, DAYS[:60], columns=["a", "b"])
    model = both().fit(frame)
    found = model.predict()
    assert list(found.columns) == ["a", "b"] and found.index.equals(DAYS[60:63])
    plain = both().fit(WIDE)
    assert_same_bits(found.to_numpy(), plain.predict())
    band = model.predict_interval()
    assert band.columns.tolist() == [(c, end) for c in "ab" for end in ("lower", "upper")]
    assert plain.predict_interval().shape == (3, 2, 2)
    assert_same_bits(band["b"].to_numpy(), plain.predict_interval()[:, 1])
    quantiles = model.predict_quantiles(quantiles=[0.2, 0.8])
    assert quantiles.columns.tolist() == [(c, q) for c in "ab" for q in (0.2, 0.8)]
    assert plain.predict_quantiles().shape == (3, 2, 3)
    assert (quantiles["a"][0.2] <= found["a"]).all()
    with pytest.raises(ValueError, match="the index of y must go on after"):
        model.update(frame)
    other = model.predict(y=2 * frame)
    assert list(other.columns) == ["a", "b"]


def frame_of(names, rows=slice(60)):
    return pd.DataFrame(WIDE[rows], DAYS[rows], columns=names)


@pytest.mark.parametrize("listed", [False, True])
def test_columns_are_those_of_fit_in_their_order(listed, tmp_path):
    def given(frame):
        return [frame, frame] if listed else frame

    model = small(warm_start=True).fit(given(frame_of(["a", "b"], slice(50))))
    nr.save(model, tmp_path / "model")
    before, more = model.predict(), slice(50, 53)
    for names in (["b", "a"], ["a", "c"]):
        said = re.escape(f"must have the columns ['a', 'b'], as in fit, got {names}")
        for each in (model, nr.load(tmp_path / "model")):
            with pytest.raises(ValueError, match=rf"y(\[0\])? {said}"):
                each.update(given(frame_of(names, more)))
            with pytest.raises(ValueError, match=said):
                each.predict(y=given(frame_of(names)))
        with pytest.raises(ValueError, match=f"warm_start=True: y.* {said}"):
            model.fit(given(frame_of(names)))
    assert_same_bits(np.asarray(model.predict()), np.asarray(before))
    plain = given(WIDE[:53])  # has no names
    assert len(model.predict(y=plain)) == len(model.predict(y=given(frame_of(["a", "b"]))))
    model.update(given(frame_of(["a", "b"], more)))
    config, tensors = model._to_tensors()
    del config["names"]["y"]  # a file of before
    RNNForecaster._from_tensors(config, tensors).update(given(WIDE[53:55]))


def test_columns_of_polars_and_of_a_list():
    wide = pl.DataFrame(WIDE, schema=["a", "b"])
    model = small().fit(wide)
    with pytest.raises(ValueError, match=r"y must have the columns .*, as in fit, got"):
        model.update(wide[["b", "a"]][:3])
    with pytest.raises(ValueError, match=r"y\[1\] must have the columns \['a', 'b'\], as y\[0\]"):
        small().fit([frame_of(["a", "b"]), frame_of(["b", "a"])])


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_quantiles_of_columns(strategy):
    model = small(strategy=strategy, loss="quantile").fit(WIDE)
    found = model.predict_quantiles()
    assert found.shape == (3, 2, 3) and (np.diff(found) >= 0).all()
    assert model._deviations.shape == (20, 3, 3)
    z = (WIDE[-5:] - model.y_mean_) / model.y_scale_
    first = model.regressor_.predict_quantiles(z[None])[0]  # (k·K, Q), columns of a step together
    x = np.empty((2, model._plan.tail + 3, 0))
    apart = model._network().deviations(model._own(), x)[:, 0]
    expected = (first[:2] - first[:2, 1:2]) * model.y_scale_[:, None]
    np.testing.assert_allclose(apart, expected, rtol=1e-4)


def test_lists_of_several_columns():
    ys = [WIDE, 5 * WIDE[:40]]
    model = both().fit(ys, [BESIDE[:60], BESIDE[:40]], static=[[1.0], [2.0]])
    assert len(model.y_scale_) == 4 and model._static[:, 0].tolist() == [-1, -1, 1, 1]
    found = model.predict(X=[BESIDE[60:63], BESIDE[40:43]])
    assert [one.shape for one in found] == [(3, 2)] * 2
    other = model.predict(X=[BESIDE[:63]], y=[WIDE], static=[[2.0]])
    assert other[0].shape == (3, 2)
    model.update([WIDE[:2]] * 2, [BESIDE[:2]] * 2)
    assert [row[-1] for row in model._values] == [*WIDE[1], *WIDE[1]]


def test_backtest_of_columns():
    result = both().backtest(WIDE, 2, X_past=BESIDE[:60])
    assert result.truth.shape == (2, 2, 3)
    np.testing.assert_array_equal(result.truth[1].ravel(), WIDE[54:, 1])
    known = both().fit(WIDE[:57], X_past=BESIDE[:57])
    assert_same_bits(result.forecasts["RNNForecaster"][:, 1], known.predict().T)


# --- kept ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["squared_error", "quantile"])
def test_saved_and_loaded(loss, tmp_path):
    frame = pd.DataFrame(WIDE, DAYS[:60], columns=["a", "b"])
    past = pd.DataFrame(BESIDE[:60], DAYS[:60], columns=["c", "d"])
    model = both(loss=loss).fit(frame, BESIDE[:60, :1], X_past=past, static=[1.0])
    nr.save(model, tmp_path / "model")
    for again in (nr.load(tmp_path / "model"), pickle.loads(pickle.dumps(model))):
        for name in ("predict", "predict_interval", "predict_quantiles"):
            ours, theirs = (getattr(each, name)(X=BESIDE[:3, :1]) for each in (again, model))
            pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
        with pytest.raises(ValueError, match=r"X_past must have the columns \['c', 'd'\]"):
            again.predict(3, BESIDE[:63, :1], y=frame, X_past=past[["d", "c"]], static=[1.0])


@pytest.mark.parametrize(
    "change",
    [
        {"targets": 3}, {"targets": 4}, {"targets": 0}, {"wide": False}, {"wide": 1},
        {"names": {}}, {"names": {"X": None, "X_past": ["a"], "static": None}},
        {"names": {"X": 5, "X_past": None, "static": None}},
    ],
    ids=str,
)  # fmt: skip
def test_files_of_strangers(change):
    config, tensors = both().fit(WIDE, X_past=BESIDE[:60])._to_tensors()
    RNNForecaster._from_tensors(config, tensors)
    with pytest.raises((KeyError, TypeError, ValueError)):
        RNNForecaster._from_tensors(config | change, tensors)


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "y, given, words",
    [
        (Y, {"X_past": BESIDE}, "X_past must have 60 rows, one a step, got 70"),
        (Y, {"X_past": np.full((60, 1), np.nan)}, "X_past must be finite"),
        ([Y, Y], {"X_past": BESIDE[:60]}, "X_past must be a list of 2 tables"),
        ([Y, Y], {"X_past": [BESIDE[:60], BESIDE[:60, :1]]}, r"X_past\[1\] must have 2 columns"),
        (Y, {"static": [[1.0], [2.0]]}, r"static must have shape \(columns,\), got \(2, 1\)"),
        ([Y, Y], {"static": [[1.0]]}, r"static must have shape \(2, columns\), one row a series"),
        ([Y, Y], {"static": [1.0, 2.0, 3.0]}, r"static must have shape \(2, columns\)"),
        ([Y, Y], {"static": [1.0, np.inf]}, "static must be finite, got inf at index 1"),
        ([Y, WIDE], {}, r"y\[1\] must have the columns that y\[0\] has, shape \(n,\), got"),
        ([WIDE, WIDE[:, :1]], {}, r"y\[1\] must have the columns that y\[0\] has"),
        (np.where(WIDE == WIDE[7, 1], np.nan, WIDE), {}, "y must be finite, got nan at index 7, 1"),
    ],
)
def test_bad_series(y, given, words):
    model = small()
    with pytest.raises(ValueError, match=words):
        model.fit(y, **given)
    assert not hasattr(model, "regressor_")


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"X_past": BESIDE[:60]}, "X_past must be None without y, as it is known from fit"),
        ({"static": [1.0]}, "static must be None without y"),
        ({"y": WIDE}, "X_past must have 2 columns, as in fit, got 0"),
        ({"y": WIDE, "X_past": BESIDE[:60]}, "static must have 1 columns, as in fit, got 0"),
        ({"y": WIDE, "X_past": BESIDE[:59], "static": [1.0]}, "X_past must have 60 rows"),
        (
            {"y": Y, "X_past": BESIDE[:60], "static": [1.0]},
            r"y must have shape \(n, 2\), as in fit",
        ),
        (
            {"y": [Y], "X_past": [BESIDE[:60]], "static": [[1.0]]},
            r"y\[0\] must have shape \(n, 2\)",
        ),
    ],
)
def test_bad_calls_of_predict(arguments, words):
    model = small().fit(WIDE, X_past=BESIDE[:60], static=[1.0])
    for call in (model.predict, model.predict_interval, model.predict_quantiles):
        with pytest.raises(ValueError, match=words):
            call(**arguments)


def test_bad_updates_of_columns():
    model = small().fit(WIDE)
    for y in (Y[:5], WIDE[:5, :1]):
        with pytest.raises(ValueError, match=r"y must have shape \(n, 2\), as in fit, got shape"):
            model.update(y)
