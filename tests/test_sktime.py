"""The adapters for sktime: its own checks, its order of axes, its tools."""

import doctest
import importlib.util

import numpy as np
import pandas as pd
import pytest

if importlib.util.find_spec("sktime") is None:
    pytest.skip("sktime is not installed, see .ci/run", allow_module_level=True)

from sktime.forecasting.base import ForecastingHorizon
from sktime.utils.estimator_checks import check_estimator

import numba_rnn.sktime
from numba_rnn import estimators
from numba_rnn.adapters import TINY
from numba_rnn.sktime import RNNClassifier, RNNForecaster, RNNRegressor

RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 2, 9))
Y = X[:, 0].sum(axis=1)
LABELS = np.where(Y > 0, "up", "down")
KINDS = [(RNNClassifier, LABELS), (RNNRegressor, Y)]
MONTHS = pd.period_range("2015-01", periods=72, freq="M")
SERIES = pd.Series(
    np.sin(np.arange(72) * np.pi / 6) + 0.05 * np.arange(72) + RNG.normal(0, 0.1, 72),
    MONTHS,
    name="demand",
)
BESIDE = pd.DataFrame({"a": RNG.normal(size=72), "b": np.arange(72.0)}, MONTHS)
QUICK = RNNForecaster.get_test_params()[0]

# What sktime says of its own future, and what few held-back values of tiny series make ours say.
pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning:sktime"),
    pytest.mark.filterwarnings("ignore::FutureWarning:skbase"),
]


@pytest.mark.filterwarnings("ignore")  # its data are short, constant and of its own warnings
@pytest.mark.parametrize("kind", [RNNClassifier, RNNRegressor, RNNForecaster])
def test_sktimes_own_checks(kind):
    found = check_estimator(kind, verbose=False)
    failed = {name: result for name, result in found.items() if result != "PASSED"}
    assert not failed and len(found) > 100


# --- classifier and regressor -------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "y"), KINDS)
def test_the_order_of_axes(kind, y):
    turned = np.swapaxes(X, 1, 2)
    ours = getattr(estimators, kind.__name__)(**TINY).fit(turned, y)
    model = kind(**TINY).fit(X, y)
    np.testing.assert_array_equal(model.predict(X), ours.predict(turned))
    assert model.model_.n_features_in_ == 2
    ragged = [pd.DataFrame(one[: 4 + k % 5], columns=["a", "b"]) for k, one in enumerate(turned)]
    model = kind(**TINY).fit(ragged, y)
    ours.fit(ragged, y)
    np.testing.assert_array_equal(model.predict(ragged), ours.predict(ragged))
    together = pd.concat(dict(enumerate(ragged)))
    np.testing.assert_array_equal(
        kind(**TINY).fit(together, y).predict(ragged), model.predict(ragged)
    )
    many = RNG.normal(size=(24, 40, 4))  # many channels, few steps: no word of a wrong order
    assert kind(**TINY).fit(many, y).model_.n_features_in_ == 40


@pytest.mark.parametrize(("kind", "y"), KINDS)
def test_parameters(kind, y):
    own = getattr(estimators, kind.__name__)().get_params()
    del own["warm_start"]  # sktime's fit begins anew
    assert kind().get_params() == own
    assert kind(7).clone().set_params(max_iter=3).get_params() == own | {
        "hidden_size": 7,
        "max_iter": 3,
    }
    with pytest.raises(TypeError, match="hiden_size"):
        kind(hiden_size=3)
    with pytest.raises(ValueError, match="hidden_size must be positive"):
        kind(hidden_size=-3).fit(X, y)
    gaps = np.where(X > 1, np.nan, X)
    with pytest.raises(ValueError, match="missing values"):
        kind(**TINY).fit(gaps, y)
    model = kind(missing="forward", **TINY).fit(gaps, y)
    assert model.model_.filling_.marked.size == 2 and len(model.predict(gaps)) == 24


def test_classifiers_in_the_tools_of_sktime():
    from sklearn.model_selection import GridSearchCV
    from sktime.classification.compose import ClassifierPipeline
    from sktime.transformations.exponent import ExponentTransformer

    pipeline = ClassifierPipeline(RNNClassifier(**TINY), [ExponentTransformer(3)])
    assert set(pipeline.fit(X, LABELS).predict(X)) <= {"up", "down"}
    search = GridSearchCV(RNNClassifier(**TINY), {"hidden_size": [2, 3]}, cv=2).fit(X, LABELS)
    assert search.best_params_["hidden_size"] in (2, 3)


# --- forecaster ---------------------------------------------------------------------------------


def ours(horizon, y, beside=None, **changes):
    """What is adapted, with the same parameters."""
    params = {name: value for name, value in QUICK.items() if name != "horizon"} | changes
    return estimators.RNNForecaster(horizon, **params).fit(y, beside)


def test_forecasts_are_ours():
    model = RNNForecaster(**QUICK).fit(SERIES, fh=[1, 2, 6])
    expected = ours(6, SERIES).predict()
    found = model.predict()
    np.testing.assert_array_equal(found, expected.iloc[[0, 1, 5]])
    assert found.name == "demand" and found.index.equals(expected.index[[0, 1, 5]])
    assert model.model_.horizon == 6
    with pytest.raises(ValueError, match="must be passed to"):
        RNNForecaster(**QUICK).fit(SERIES)
    told = RNNForecaster(horizon=6, **QUICK).fit(SERIES)
    np.testing.assert_array_equal(told.predict(fh=[2, 6]), expected.iloc[[1, 5]])
    ahead = ForecastingHorizon(pd.PeriodIndex(["2021-03"], freq="M"), is_relative=False)
    np.testing.assert_array_equal(told.predict(fh=ahead), expected.iloc[[2]])
    assert len(told.predict(fh=range(1, 15))) == 14
    with pytest.raises(NotImplementedError, match="in-sample"):
        told.predict(fh=[-1])


def test_the_order_of_steps_asked_for_does_not_matter():
    model = RNNForecaster(horizon=6, **QUICK).fit(SERIES)
    np.testing.assert_array_equal(model.predict(fh=[5, 1]).sort_index(), model.predict(fh=[1, 5]))


def test_what_is_known_beside_a_series():
    past, future = SERIES[:66], BESIDE[66:]
    model = RNNForecaster(**QUICK).fit(past, X=BESIDE[:66], fh=[2, 5])
    expected = ours(5, past, BESIDE[:66]).predict(5, future[:5])
    np.testing.assert_array_equal(model.predict(X=future), expected.iloc[[1, 4]])
    np.testing.assert_array_equal(model.predict(X=BESIDE), expected.iloc[[1, 4]])
    with pytest.raises(ValueError, match="X must have 5 rows"):
        model.predict(X=future[:3])


@pytest.mark.filterwarnings("ignore:.*residuals.*:UserWarning")
def test_quantiles_and_intervals_are_ours():
    model = RNNForecaster(**QUICK).fit(SERIES, fh=[1, 3])
    reference = ours(3, SERIES)
    found = model.predict_quantiles(alpha=[0.9, 0.1])
    assert found.columns.tolist() == [("demand", 0.9), ("demand", 0.1)]
    expected = reference.predict_quantiles(quantiles=(0.1, 0.9)).iloc[[0, 2], ::-1]
    np.testing.assert_array_equal(found, expected)
    band = model.predict_interval(coverage=0.8)
    expected = reference.predict_quantiles(quantiles=(0.1, 0.9)).iloc[[0, 2]]
    np.testing.assert_allclose(band, expected)
    told = RNNForecaster(horizon=3, **QUICK).fit(SERIES)
    with pytest.raises(ValueError, match="steps must be at most horizon, 3"):
        told.predict_interval(fh=[4])


def test_updates():
    """With what was seen before among it, one value or many, with and without X."""
    for beside in (None, BESIDE):

        def x(part, beside=beside):
            return None if beside is None else beside[part]

        model = RNNForecaster(**QUICK).fit(SERIES[:60], X=x(slice(0, 60)), fh=[1, 2, 3])
        again = model.clone().fit(SERIES[:66], X=x(slice(0, 66)), fh=[1, 2, 3])
        reference = ours(3, SERIES[:60], x(slice(0, 60)))
        reference.update(SERIES[60:66], x(slice(60, 66)))
        model.update(SERIES[55:65], X=x(slice(55, 65)), update_params=False)
        model.update(SERIES[65:66], X=x(slice(65, 66)), update_params=False)
        found = model.predict(X=x(slice(66, 69)))
        np.testing.assert_array_equal(found, reference.predict(3, x(slice(66, 69))))
        assert found.index[0] == SERIES.index[66]
        model.update(SERIES[60:66], X=x(slice(60, 66)), update_params=True)  # nothing is new
        np.testing.assert_array_equal(model.predict(X=x(slice(66, 69))), found)
        refitted = RNNForecaster(**QUICK).fit(SERIES[:60], X=x(slice(0, 60)), fh=[1, 2, 3])
        refitted.update(SERIES[60:66], X=x(slice(60, 66)))
        np.testing.assert_array_equal(
            refitted.predict(X=x(slice(66, 69))), again.predict(X=x(slice(66, 69)))
        )


@pytest.mark.parametrize("kind", ["periods", "dates", "integers"])
def test_updates_that_leave_something_out_are_refused(kind):
    y = SERIES.copy()
    if kind == "dates":
        y.index = SERIES.index.to_timestamp(freq="M")
    elif kind == "integers":
        y.index = pd.RangeIndex(72)
    model = RNNForecaster(horizon=3, **QUICK).fit(y[:60])
    expected = model.predict(fh=[1, 2, 3])
    for update_params in (True, False):
        with pytest.raises(ValueError, match="the index of y must"):
            model.update(y[63:66], update_params=update_params)
        assert model.cutoff[0] == y.index[59]
        pd.testing.assert_series_equal(model.predict(fh=[1, 2, 3]), expected)
        model.update(y[50:55], update_params=update_params)  # known already
        assert model.cutoff[0] == y.index[59]
        pd.testing.assert_series_equal(model.predict(fh=[1, 2, 3]), expected)
    model.update(y[58:63], update_params=False)
    assert model.cutoff[0] == y.index[62] and model.predict(fh=[1]).index[0] == y.index[63]


def test_dates_without_freq():
    y = SERIES.copy()
    y.index = pd.DatetimeIndex(SERIES.index.to_timestamp().to_numpy())
    model = RNNForecaster(horizon=3, **QUICK).fit(y.asfreq("MS"))
    model.update(y[-1:].asfreq("MS"), update_params=False)
    assert model.predict(fh=[1]).index[0] == pd.Timestamp("2021-01-01")
    for update_params in (True, False):
        model = RNNForecaster(horizon=3, **QUICK).fit(y[:-1].asfreq("MS"))
        model.update(y[-1:], update_params=update_params)  # one date, whose step none can tell
        assert model.predict(fh=[1]).index[0] == pd.Timestamp("2021-01-01")


def test_parameters_of_forecasters():
    own = estimators.RNNForecaster(3).get_params(deep=False)
    del own["warm_start"]
    assert RNNForecaster().get_params(deep=False) == own | {"horizon": None}
    model = RNNForecaster(3).set_params(regressor__hidden_size=5)
    assert model.regressor.hidden_size == 5
    assert model.regressor.pooling == "last"  # of window_regressor
    with pytest.raises(ValueError, match="window must be"):
        RNNForecaster(3, window=-1).fit(SERIES)
    before = RNNForecaster(3, regressor=estimators.window_regressor(random_state=3))
    before.fit(SERIES)  # a seed that sktime's tools gave it
    assert before.regressor.random_state == 3


def test_forecasters_fill_gaps():
    y = SERIES.copy()
    y.iloc[[20, 21, 40]] = np.nan
    with pytest.raises(ValueError, match="missing"):
        RNNForecaster(3, **QUICK).fit(y)
    model = RNNForecaster(3, missing="forward", **QUICK)
    assert model.get_tag("capability:missing_values")
    found = model.fit(y).predict(fh=[1, 2, 3])
    np.testing.assert_array_equal(found, ours(3, y, missing="forward").predict())
    model.set_params(missing="error")
    assert not model.get_tag("capability:missing_values")


def test_tuning():
    from sktime.forecasting.model_selection import ForecastingGridSearchCV
    from sktime.split import ExpandingWindowSplitter

    cv = ExpandingWindowSplitter(fh=[1, 2, 3], initial_window=60, step_length=6)
    grid = {"regressor__hidden_size": [2, 3], "window": [4]}
    search = ForecastingGridSearchCV(RNNForecaster(**QUICK), cv=cv, param_grid=grid)
    search.fit(SERIES, fh=[1, 2, 3])
    assert search.best_params_["regressor__hidden_size"] in (2, 3)
    best = search.best_forecaster_
    assert best.model_.regressor_.hidden_size == search.best_params_["regressor__hidden_size"]
    assert len(search.predict()) == 3


def test_evaluation():
    from sktime.forecasting.model_evaluation import evaluate
    from sktime.split import ExpandingWindowSplitter

    cv = ExpandingWindowSplitter(fh=[1, 2, 3], initial_window=60, step_length=6)
    for strategy in ("refit", "update", "no-update_params"):
        found = evaluate(RNNForecaster(**QUICK), cv, SERIES, strategy=strategy, error_score="raise")
        scores = found.filter(like="test_").iloc[:, 0]
        assert len(scores) == 2 and np.isfinite(scores).all()


def test_pipelines():
    from sktime.transformations.boxcox import LogTransformer
    from sktime.transformations.difference import Differencer

    pipeline = LogTransformer() * Differencer(1) * RNNForecaster(**QUICK)
    found = pipeline.fit(SERIES + 5, fh=[1, 2]).predict()
    assert found.index[0] == SERIES.index[-1] + 1 and np.isfinite(found).all()


def test_many_series():
    wide = pd.DataFrame({"a": SERIES, "b": 2 * SERIES})
    assert RNNForecaster(**QUICK).fit(wide, fh=[1, 2]).predict().shape == (2, 2)
    long = pd.concat({"x": SERIES.to_frame(), "y": 3 * SERIES.to_frame()}, names=["id", "month"])
    found = RNNForecaster(**QUICK).fit(long, fh=[1, 2]).predict()
    assert found.index.get_level_values("id").unique().tolist() == ["x", "y"]


def test_docstring_examples_run():
    found = doctest.testmod(numba_rnn.sktime, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.failed == 0 and found.attempted >= 8
