"""What the pictures show: lines, bands, labels and axes, read back from the Axes."""

import itertools
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from helpers import forecaster as make
from matplotlib.colors import to_hex
from matplotlib.dates import ConciseDateFormatter, num2date
from matplotlib.figure import Figure
from processes import python

from numba_rnn import plotting
from numba_rnn.estimators import Backtest, RNNForecaster, RNNRegressor, permutation_importance


@pytest.fixture
def ax():
    return Figure(figsize=(8, 5)).subplots()


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def line(ax, label):
    """Return x and y of the line with a label."""
    (found,) = [line for line in ax.lines if line.get_label() == label]
    return found.get_xdata(orig=True), found.get_ydata()


def band(ax):
    """Return x, lower and upper ends of the only band."""
    (found,) = ax.collections
    corners = found.get_paths()[0].vertices
    x = np.unique(corners[:, 0])
    ends = [corners[corners[:, 0] == at, 1] for at in x]
    return x, np.array([e.min() for e in ends]), np.array([e.max() for e in ends])


def drawn(ax):
    """Draw the figure, so that everything on it has a place; return the Axes."""
    ax.figure.canvas.draw()
    return ax


# --- loss curves --------------------------------------------------------------------------------


def test_loss_alone(ax):
    model = SimpleNamespace(loss_curve_=[0.9, 0.7, 0.6], validation_scores_=None)
    assert plotting.loss_curves(model, ax=ax) is ax
    x, y = line(ax, "training loss")
    np.testing.assert_array_equal(x, [1, 2, 3])
    np.testing.assert_array_equal(y, model.loss_curve_)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "training loss")
    assert ax.get_yscale() == "linear" and ax.get_legend() is None
    ticks = drawn(ax).get_xticks()
    np.testing.assert_array_equal(ticks, np.round(ticks))
    assert ax.figure.axes == [ax]


def test_loss_and_validation_score(ax):
    model = SimpleNamespace(
        loss_curve_=[5, 0.5, 0.1, 0.05], validation_scores_=[0.1, 0.8, 0.7, 0.75]
    )
    plotting.loss_curves(model, ax=ax)
    assert ax.get_yscale() == "log"
    _, right = ax.figure.axes
    label = "validation score, best in epoch 2"
    x, y = line(right, label)
    np.testing.assert_array_equal(x, [1, 2, 3, 4])
    np.testing.assert_array_equal(y, model.validation_scores_)
    assert right.lines[0].get_markevery() == [1] and right.lines[0].get_marker() == "o"
    assert right.get_ylabel() == "validation score"
    assert legend(right) == ["training loss", label] and ax.get_legend() is None
    assert to_hex(ax.lines[0].get_color()) != to_hex(right.lines[0].get_color())


def test_validation_loss(ax):
    """It may be shorter than the training's, which a fit without validation data came before."""
    model = SimpleNamespace(
        loss_curve_=[0.9, 0.7, 0.6], validation_losses_=[5.0, 0.4], validation_scores_=[0.1, 0.2]
    )
    plotting.loss_curves(model, ax=ax)
    x, y = line(ax, "validation loss")
    np.testing.assert_array_equal(x, [2, 3])
    np.testing.assert_array_equal(y, [5.0, 0.4])
    assert (ax.get_yscale(), ax.get_ylabel()) == ("log", "loss")
    labels = ["training loss", "validation loss", "validation score, best in epoch 3"]
    assert legend(ax.figure.axes[1]) == labels


@pytest.mark.parametrize("early_stopping", [False, True])
def test_losses_of_estimators(ax, early_stopping):
    options = {"max_iter": 4, "n_iter_no_change": np.inf, "early_stopping": early_stopping}
    x = np.random.default_rng(0).normal(size=(40, 5))
    regressor = RNNRegressor(3, random_state=0, **options).fit(x, x.sum(axis=1))
    forecaster = make(2, window=5, hidden_size=3, random_state=0, **options).fit(x[:, 0])
    for model in (regressor, forecaster):
        ax.figure.clear()
        ax = plotting.loss_curves(model, ax=ax.figure.subplots())
        np.testing.assert_array_equal(line(ax, "training loss")[1], model.loss_curve_)
        assert len(ax.figure.axes) == 1 + early_stopping
        if early_stopping:
            (scores,) = ax.figure.axes[1].lines
            np.testing.assert_array_equal(scores.get_ydata(), model.validation_scores_)


# --- forecasts ----------------------------------------------------------------------------------

PAST, FUTURE = np.array([3.0, 1, 4, 1, 5]), np.array([9.0, 2, 6])
BAND = np.stack([FUTURE - 1, FUTURE + 2], axis=1)


def test_forecast_with_all_there_is(ax):
    returned = plotting.forecast(
        FUTURE, history=PAST, interval=BAND, truth=[8, np.nan], coverage=0.95, ax=ax
    )
    assert returned is ax
    assert legend(ax) == ["history", "measured", "95% interval", "forecast"]
    for label, x, y in (
        ("history", [-4, -3, -2, -1, 0], PAST),
        ("measured", [1, 2], [8, np.nan]),
        ("forecast", [1, 2, 3], FUTURE),
    ):
        np.testing.assert_array_equal(line(ax, label)[0], x)
        np.testing.assert_array_equal(line(ax, label)[1], y)
    for found, expected in zip(band(ax), ([1, 2, 3], *BAND.T), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert ax.get_xlabel() == "step"


def test_forecast_alone(ax):
    plotting.forecast([1.5, 2.5], ax=ax)
    assert legend(ax) == ["forecast"] and not ax.collections
    np.testing.assert_array_equal(line(ax, "forecast")[1], [1.5, 2.5])


def test_a_forecast_of_one_step_can_be_seen(ax):
    plotting.forecast([2.0], history=PAST, interval=[[1.0, 4.0]], ax=ax)
    (found,) = [line for line in ax.lines if line.get_label() == "forecast"]
    assert found.get_marker() == "o"
    bars = ax.containers[0].lines[2][0].get_segments()
    np.testing.assert_array_equal(bars, [[[1, 1], [1, 4]]])


@pytest.mark.parametrize(
    "index",
    [
        pd.date_range("2020-01-31", periods=8, freq="ME"),
        pd.period_range("2020-01", periods=8, freq="M"),
        pd.date_range("2024-03-30 20:00", periods=8, freq="h", tz="Europe/Berlin"),
    ],
    ids=["dates", "periods", "zone"],
)
def test_forecast_of_pandas_series(ax, index):
    past = pd.Series(PAST, index[:5], name="CO2")
    future = pd.Series(FUTURE, index[5:], name="CO2")
    ends = pd.DataFrame(BAND, index[5:], columns=["lower", "upper"])
    plotting.forecast(future, history=past, interval=ends, truth=future[:2] + 1, ax=ax)
    dates = index.to_timestamp() if isinstance(index, pd.PeriodIndex) else index.tz_localize(None)
    np.testing.assert_array_equal(line(ax, "history")[0], dates[:5].to_numpy())
    np.testing.assert_array_equal(line(ax, "forecast")[0], dates[5:].to_numpy())
    np.testing.assert_array_equal(line(ax, "measured")[0], dates[5:7].to_numpy())
    shown = [date.replace(tzinfo=None) for date in num2date(band(ax)[0])]
    assert shown == dates[5:].to_pydatetime().tolist()
    assert isinstance(ax.xaxis.get_major_formatter(), ConciseDateFormatter)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("", "CO2")


def test_dates_of_arrays(ax):
    dates = np.datetime64("2001-01-06") + 7 * np.arange(8)
    plotting.forecast(FUTURE, history=PAST, index=dates, ax=ax)
    np.testing.assert_array_equal(line(ax, "history")[0], dates[:5])
    np.testing.assert_array_equal(line(ax, "forecast")[0], dates[5:])
    labels = [tick.get_text() for tick in drawn(ax).get_xticklabels() if tick.get_text()]
    assert labels and max(map(len, labels)) <= 4  # days or months


def test_dates_do_not_overlap(ax):
    y = pd.Series(np.arange(400.0), pd.date_range("2019-12-20", periods=400, freq="D"))
    plotting.forecast(y[300:], history=y[:300], ax=ax)
    drawn(ax)
    boxes = [tick.get_window_extent() for tick in ax.get_xticklabels() if tick.get_text()]
    assert len(boxes) > 3
    assert all(a.x1 < b.x0 for a, b in itertools.pairwise(boxes))


def test_what_a_forecaster_gives(ax):
    y = pd.Series(np.cumsum(np.random.default_rng(0).normal(size=60)), name="y")
    options = {"hidden_size": 3, "max_iter": 2, "n_iter_no_change": np.inf, "random_state": 0}
    model = make(3, **options).fit(y)
    ends = model.predict_interval(3, coverage=0.5)
    plotting.forecast(model.predict(3), history=y, interval=ends, coverage=0.5, ax=ax)
    np.testing.assert_array_equal(line(ax, "forecast")[0], [60, 61, 62])
    np.testing.assert_allclose(band(ax)[1:], ends.to_numpy().T)


# --- predicted against true ---------------------------------------------------------------------


def test_predicted_against_true(ax):
    true, predicted = [1.0, 2, 3, 6], [1.0, 2, 5, 4]
    assert plotting.predicted_against_true(true, predicted, ax=ax) is ax
    (points,) = ax.collections
    np.testing.assert_array_equal(points.get_offsets(), np.stack([true, predicted], axis=1))
    # squares of errors 0, 0, 4, 4; of distances from the mean 4, 1, 0, 9
    assert legend(ax) == ["equal", "RMSE 1.41, R² 0.43"]
    np.testing.assert_array_equal(line(ax, "equal"), [[1, 6], [1, 6]])
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_aspect()) == ("true", "predicted", 1)


def test_many_targets(ax):
    true = np.random.default_rng(0).normal(size=(20, 3))
    plotting.predicted_against_true(true, true + np.arange(3), ax=ax)
    assert len(ax.collections) == 3
    for k, points in enumerate(ax.collections):
        np.testing.assert_array_equal(points.get_offsets()[:, 1], true[:, k] + k)
    assert len({to_hex(points.get_facecolor()[0]) for points in ax.collections}) == 3
    words = [text.split(",")[0] for text in legend(ax)]
    assert words == ["equal", "target 0: RMSE 0", "target 1: RMSE 1", "target 2: RMSE 2"]


def test_targets_that_are_all_the_same(ax):
    plotting.predicted_against_true([2, 2], [1, 3], ax=ax)
    assert legend(ax)[1] == "RMSE 1, R² undefined"


# --- Axes and bad input -------------------------------------------------------------------------

CALLS = {
    "loss_curves": lambda **kw: plotting.loss_curves(SimpleNamespace(loss_curve_=[2, 1]), **kw),
    "forecast": lambda **kw: plotting.forecast([1.0, 2], **kw),
    "predicted_against_true": lambda **kw: plotting.predicted_against_true([1, 2], [1, 3], **kw),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_figure_of_its_own(name):
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    before = pyplot.get_fignums()
    ax = CALLS[name]()
    try:
        assert len(pyplot.get_fignums()) == len(before) + 1 and pyplot.gca() is ax
    finally:
        pyplot.close(ax.figure)


@pytest.mark.parametrize("name", CALLS)
def test_no_axes(name):
    with pytest.raises(TypeError, match="ax must be a matplotlib Axes, got"):
        CALLS[name](ax=Figure())


def test_only_what_is_fitted():
    with pytest.raises(TypeError, match="model must be a fitted estimator, got RNNRegressor"):
        plotting.loss_curves(RNNRegressor())
    with pytest.raises(TypeError, match="model must be a fitted estimator"):
        plotting.loss_curves(RNNForecaster(3))


@pytest.mark.parametrize(
    "arguments, error, words",
    [
        ({"forecast": [[1.0]]}, ValueError, r"forecast must have shape \(steps,\)"),
        ({"forecast": []}, (TypeError, ValueError), "forecast must have shape"),
        ({"forecast": ["a"]}, TypeError, "forecast must be real numbers"),
        ({"history": np.zeros((2, 2))}, ValueError, r"history must have shape \(n,\)"),
        ({"interval": BAND[:2]}, ValueError, r"interval must have shape \(3, 2\), got \(2, 2\)"),
        ({"interval": BAND.T[0]}, ValueError, r"interval must have shape \(steps, 2\)"),
        ({"truth": np.zeros(4)}, ValueError, "truth must have at most 3 values"),
        ({"index": np.arange(2)}, ValueError, r"index must have shape \(3,\), got \(2,\)"),
        (
            {"history": pd.Series(PAST, pd.date_range("2020", periods=5))},
            TypeError,
            "history and forecast must both have an index of dates, or neither",
        ),
    ],
)
def test_bad_forecasts(ax, arguments, error, words):
    with pytest.raises(error, match=words):
        plotting.forecast(**{"forecast": FUTURE} | arguments, ax=ax)
    assert not ax.lines and not ax.collections  # nothing half done


@pytest.mark.parametrize(
    "true, predicted, words",
    [
        ([1, 2], [1, 2, 3], r"y_pred must have the shape of y_true, \(2,\), got \(3,\)"),
        ([1, 2], [[1], [2]], r"y_pred must have shape \(n,\)"),
        ([1, np.nan], [1.0, 2], "must be finite"),
        (np.zeros((2, 2, 2)), np.zeros((2, 2, 2)), r"y_true must have shape \(n, k\)"),
    ],
)
def test_bad_predictions(ax, true, predicted, words):
    with pytest.raises(ValueError, match=words):
        plotting.predicted_against_true(true, predicted, ax=ax)
    assert not ax.collections


def test_matplotlib_is_imported_when_it_is_used(tmp_path):
    """And whoever has it not is told how to get it."""
    code = """
import sys
from numba_rnn import plotting
assert "matplotlib" not in sys.modules
sys.modules["matplotlib"] = None  # as if it were not installed
try:
    plotting.forecast([1.0, 2.0])
except ModuleNotFoundError as error:
    assert "numba_rnn.plotting.forecast needs matplotlib" in str(error), error
    assert "pip install" in str(error)
else:
    raise AssertionError("no error")
"""
    python(code, cache=tmp_path)


# --- quantiles ----------------------------------------------------------------------------------


def test_a_fan(ax):
    middle = np.arange(4.0)
    fan = np.stack([middle - 2, middle - 1, middle, middle + 1, middle + 3], axis=1)
    levels = [0.05, 0.25, 0.5, 0.75, 0.95]
    assert plotting.quantiles(fan, levels=levels, history=[7, 8], truth=[0, 1], ax=ax) is ax
    expected = ["history", "measured", "quantiles 0.05 to 0.95", "quantiles 0.25 to 0.75", "median"]
    assert legend(ax) == expected
    x, y = line(ax, "median")
    np.testing.assert_array_equal(x, [1, 2, 3, 4])
    np.testing.assert_array_equal(y, middle)
    np.testing.assert_array_equal(line(ax, "history")[0], [-1, 0])
    outer, inner = ax.collections
    for found, low, high in ((outer, -2, 3), (inner, -1, 1)):
        corners = found.get_paths()[0].vertices
        for step in range(4):
            at = corners[corners[:, 0] == step + 1, 1]
            assert (at.min(), at.max()) == (step + low, step + high)
    assert outer.get_alpha() < inner.get_alpha()
    drawn(ax)


def test_a_fan_of_a_forecaster(ax):
    y = pd.Series(
        np.sin(np.arange(96.0)) + np.random.default_rng(0).normal(0, 0.1, 96),
        pd.period_range("2012-01", periods=96, freq="M"),
        name="sales",
    )
    model = make(6, window=12, max_iter=2, random_state=0).fit(y)
    found = model.predict_quantiles(quantiles=(0.1, 0.4, 0.6, 0.9))
    plotting.quantiles(found, history=y[-20:], ax=ax)
    assert legend(ax) == ["history", "quantiles 0.1 to 0.9", "quantiles 0.4 to 0.6"]
    assert ax.get_ylabel() == "sales"
    assert isinstance(drawn(ax).xaxis.get_major_formatter(), ConciseDateFormatter)


def test_fans_of_one_step_and_of_one_quantile(ax):
    plotting.quantiles([[1.0, 2.0, 4.0]], levels=[0.1, 0.3, 0.9], ax=ax)
    assert legend(ax) == ["quantile 0.3", "quantiles 0.1 to 0.9"]
    assert line(ax, "quantile 0.3")[1] == [2.0]
    other = Figure().subplots()
    plotting.quantiles([[1.0], [2.0]], levels=[0.5], ax=other)
    assert legend(other) == ["median"] and not other.collections


@pytest.mark.parametrize(
    ("values", "options", "error", "words"),
    [
        ([[1.0, 2.0]], {}, ValueError, "levels must say which quantiles"),
        ([1.0, 2.0], {"levels": [0.5]}, ValueError, r"quantiles must have shape \(steps, Q\)"),
        ([[1.0, 2.0]], {"levels": [0.5]}, ValueError, "levels must be 2 numbers"),
        ([[1.0, 2.0]], {"levels": [0.9, 0.1]}, ValueError, "levels must be 2 numbers .* that rise"),
        ([[1.0, 2.0]], {"levels": [0.0, 0.1]}, ValueError, "between 0 and 1"),
        ([[2.0, 1.0]], {"levels": [0.1, 0.9]}, ValueError, "must not fall"),
        ([["a", "b"]], {"levels": [0.1, 0.9]}, TypeError, "quantiles must be real numbers"),
        (pd.DataFrame({"low": [1.0]}), {}, TypeError, "levels must be real numbers"),
        ([[1.0]], {"levels": [0.1], "truth": [1, 2]}, ValueError, "at most 1 values, as quantiles"),
        ([[1.0]], {"levels": [0.1], "index": [1, 2]}, ValueError, r"index must have shape \(1,\)"),
    ],
)
def test_bad_fans(values, options, error, words):
    with pytest.raises(error, match=words):
        plotting.quantiles(values, **options)


# --- backtests ----------------------------------------------------------------------------------

TRUTH = np.array([[1.0, 2.0, 3.0], [4.0, np.nan, 6.0]])
RESULT = Backtest(
    np.array([10, 13]), TRUTH,
    {"RNNForecaster": np.nan_to_num(TRUTH, nan=5.0) + 0.5, "naive": np.ones((2, 3))}, np.ones(2),
)  # fmt: skip


def test_a_backtest(ax):
    assert plotting.backtest(RESULT, history=np.arange(10.0), ax=ax) is ax
    mase = [f"{RESULT.scores[name]['MASE']:.2f}" for name in ("RNNForecaster", "naive")]
    assert mase[0] == "0.50"
    expected = [f"RNNForecaster, MASE {mase[0]}", f"naive, MASE {mase[1]}"]
    assert legend(ax) == ["history", "measured", *expected]
    x, y = line(ax, "measured")
    np.testing.assert_array_equal(x, np.arange(10, 16))
    np.testing.assert_array_equal(y, TRUTH.ravel())
    np.testing.assert_array_equal(line(ax, "history")[0], np.arange(10))
    ours = [one for one in ax.lines if one.get_color() == line_color(ax, expected[0])]
    assert len(ours) == 2  # fold by fold, and no line from one to the next
    np.testing.assert_array_equal(ours[1].get_xdata(), [13, 14, 15])
    np.testing.assert_array_equal(ours[1].get_ydata(), RESULT.forecasts["RNNForecaster"][1])
    begins = [one.get_xdata()[0] for one in ax.lines if one.get_linestyle() == ":"]
    assert begins == [10, 13]
    drawn(ax)


def line_color(ax, label):
    (found,) = [one.get_color() for one in ax.lines if one.get_label() == label]
    return found


def test_a_backtest_over_dates(ax):
    y = pd.Series(np.arange(16.0), pd.date_range("2020-01-01", periods=16), name="load")
    plotting.backtest(RESULT, history=y, names=["naive"], ax=ax)
    assert ax.get_ylabel() == "load" and len(legend(ax)) == 3
    np.testing.assert_array_equal(line(ax, "measured")[0], y.index[10:])
    np.testing.assert_array_equal(line(ax, "history")[0], y.index[4:10])
    assert isinstance(drawn(ax).xaxis.get_major_formatter(), ConciseDateFormatter)
    other = Figure().subplots()
    plotting.backtest(RESULT, history=y[:10], index=y.index[10:], ax=other)
    np.testing.assert_array_equal(line(other, "measured")[0], y.index[10:])
    np.testing.assert_array_equal(line(other, "history")[0], y.index[:10])
    naive = line_color(ax, legend(ax)[-1]), line_color(other, legend(other)[-1])
    assert naive[0] == naive[1]  # whatever is drawn beside it


def test_backtests_of_a_forecaster(ax):
    y = [np.sin(np.arange(60.0)), np.cos(np.arange(60.0))]
    model = make(1, window=6, max_iter=2, random_state=0)
    found = model.backtest(y, folds=2)
    with pytest.raises(ValueError, match=r"result must be of one series.*draw result.of\(k\)"):
        plotting.backtest(found, ax=ax)
    plotting.backtest(found.of(1), ax=ax)
    assert all(one.get_marker() == "o" for one in ax.lines if "MASE" in str(one.get_label()))


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"result": 3}, TypeError, "result must be a Backtest, got int 3"),
        ({"names": ["magic"]}, ValueError, "names must be among RNNForecaster, naive, got"),
        (
            {"history": np.arange(12.0)},
            ValueError,
            "history must have at most 10 values, or all 16",
        ),
        ({"index": [1, 2]}, ValueError, r"index must have shape \(6,\)"),
        (
            {"history": pd.Series(np.arange(10.0), pd.date_range("2020-01-01", periods=10))},
            TypeError,
            "history must be the whole series, or index be given",
        ),
    ],
)
def test_bad_backtests(options, error, words):
    with pytest.raises(error, match=words):
        plotting.backtest(**{"result": RESULT} | options)


# --- importances --------------------------------------------------------------------------------


def test_importances(ax):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 4, 3))
    frames = [pd.DataFrame(one, columns=["sun", "wind", "rain"]) for one in x]
    model = RNNRegressor(4, max_iter=2, n_iter_no_change=np.inf, random_state=0)
    y = x[:, :, 1].sum(axis=1)
    found = permutation_importance(model.fit(frames, y), frames, y, random_state=0)
    assert plotting.importance(found, ax=ax) is ax
    names = [text.get_text() for text in ax.get_yticklabels()]
    order = np.argsort(found.importances_mean)
    assert names == [["sun", "wind", "rain"][k] for k in order]
    widths = [bar.get_width() for bar in ax.patches]
    np.testing.assert_allclose(widths, found.importances_mean[order])
    dots = ax.collections[0].get_offsets()
    np.testing.assert_allclose(dots[:5, 0], found.importances[order[0]])
    assert ax.get_xlabel() == "fall of the score"
    drawn(ax)


def test_importances_without_names_and_the_largest_alone(ax):
    plotting.importance(SimpleNamespace(importances=np.arange(30.0)[:, None]), most=2, ax=ax)
    names = [text.get_text() for text in ax.get_yticklabels()]
    assert names == ["feature 28", "feature 29"]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"result": 3}, TypeError, "result must have importances"),
        ({"result": SimpleNamespace(importances=[1.0])}, ValueError, "importances must have shape"),
        ({"result": SimpleNamespace(importances=[[np.nan]])}, ValueError, "must be finite"),
        ({"names": ["a"]}, ValueError, "names must be 2, one a feature, got 1"),
        ({"most": 0}, ValueError, "most must be positive"),
    ],
)
def test_bad_importances(options, error, words):
    given = {"result": SimpleNamespace(importances=np.ones((2, 3)))} | options
    with pytest.raises(error, match=words):
        plotting.importance(**given)
