"""Losses of a forecaster, and the quantiles that it forecasts."""

import warnings

import numpy as np
import pandas as pd
import pytest
from helpers import assert_same_bits, forecaster
from scipy.stats import norm, t
from sklearn.exceptions import NotFittedError

import numba_rnn as nr
from numba_rnn.estimators import RNNForecaster, intervals
from numba_rnn.estimators.paths import NetworkPath

LEVELS = (0.1, 0.5, 0.9)


def small(horizon=2, **options):
    quick = {"hidden_size": 3, "max_iter": 3, "n_iter_no_change": np.inf, "random_state": 0}
    return forecaster(horizon, **quick | {"window": 4, "season": 1} | options)


def alone(**options):
    return small(linear=False, early_stopping=False, **options)


def noise(n=200, seed=0):
    """Skewed: what is above the median is farther from it than what is below."""
    return np.random.default_rng(seed).exponential(size=n)


def stretch(n, horizon, level):
    return t.ppf(level, n / horizon + 1.5) / norm.ppf(level)


def test_losses_are_those_of_the_network():
    y = noise()
    plain = small().fit(y)
    for loss in ("absolute_error", "huber", "quantile"):
        model = small(loss=loss).fit(y)
        assert model.regressor_.loss == loss
        assert not np.array_equal(model.rnn_.flat_parameters, plain.rnn_.flat_parameters)
        assert_same_bits(model.coefficients_, plain.coefficients_)  # which has least squares


def test_absolute_errors_have_medians():
    """Of numbers without memory, a network alone."""
    y, options = noise(600), {"max_iter": 30, "learning_rate_init": 1e-2, "window": 1}
    means = alone(**options).fit(y).predict(2)
    for loss in ("absolute_error", "quantile"):
        found = alone(loss=loss, **options).fit(y).predict(2)
        assert (found < means - 0.1).all()
        np.testing.assert_allclose(found, np.median(y), atol=0.15)


def test_a_quantile_is_the_residual_of_the_right_rank():
    model = alone().fit(noise())
    first = np.array([3.0, -1, 2, -7, 5, 4, 9, -6, 8])
    model.residuals_ = np.stack([first, np.arange(9) * 10.0], axis=1)
    model._deviations = np.empty((9, 2, 0))
    ranked, centre = np.sort(model.residuals_, axis=0), model.predict()
    middle, scale = ranked[4], model.y_scale_[0]
    for level, rank in ((0.3, 3), (0.29, 2), (0.1, 1), (0.7, 7), (0.71, 8), (0.9, 9)):
        found = model.predict_quantiles(quantiles=[level])[:, 0]
        factor = stretch(9, 2, level)
        expected = centre + scale * (middle + factor * (ranked[rank - 1] - middle))
        np.testing.assert_allclose(found, expected, rtol=1e-9, err_msg=str(level))
    median = model.predict_quantiles(quantiles=[0.5])[:, 0]
    np.testing.assert_allclose(median, centre + scale * middle, rtol=1e-9)
    # beyond that the residuals of both steps are one, in the unit of each step
    away = model.residuals_ - middle
    units = np.sqrt(np.mean(away**2, axis=0))
    together = np.sort(away / units, axis=None)
    found = model.predict_quantiles(quantiles=[0.06, 0.94])
    for k, (level, place) in enumerate([(0.06, 0), (0.94, -1)]):
        expected = middle + stretch(9, 2, level) * units * together[place]
        np.testing.assert_allclose(found[:, k], centre + scale * expected, rtol=1e-9)
    with pytest.warns(UserWarning, match="9 residuals .* too few for the quantile 0.99, which is"):
        found = model.predict_quantiles(quantiles=[0.99])[:, 0]
    expected = centre + scale * (middle + units * t.ppf(0.99, 9 / 2 + 1.5))
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_as_many_values_lie_below_as_should():
    """Of 500 residuals; how many lie below is beta distributed around the quantile."""
    residuals, fresh = noise((500, 2)), noise(100_000, seed=1)
    for level in (0.05, 0.1, 0.25, 0.5, 0.75, 0.95):
        found = intervals.shifts(residuals, level, np.ones(2))
        below = np.mean(fresh[:, None] < found, axis=0)
        assert (np.abs(below - level) < 3 * np.sqrt(level * (1 - level) / 500)).all(), level


def test_quantiles_need_not_be_symmetric():
    lower, middle, upper = alone().fit(noise(400)).predict_quantiles().T
    assert (upper - middle > 1.5 * (middle - lower)).all()


@pytest.mark.parametrize("strategy", ["recursive", "direct"])
@pytest.mark.parametrize("linear", [False, True])
def test_quantiles_of_the_network_are_conformalised(strategy, linear):
    """Each is the forecast, moved by as much of the network's as it counts, and by residuals."""
    y = noise(90)
    model = small(strategy=strategy, linear=linear, loss="quantile", horizon=3).fit(y)
    assert model._deviations.shape == (len(model.residuals_), 3, 3)
    if linear:
        model.network_share_ = 0.4
    share, network = model.network_share_, model.regressor_
    z = (y[-4:] - model.y_mean_) / model.y_scale_
    apart = []
    while len(apart) < 3:
        quantiles = network.predict_quantiles(z[None, -4:, None])[0]
        apart += list(quantiles - quantiles[:, 1:2])
        z = np.concatenate([z, quantiles[:, 1]])
    apart = np.array(apart)
    levels = (0.1, 0.3, 0.5, 0.9)
    between = [apart[:, 0], apart[:, 0] / 2, apart[:, 1], apart[:, 2]]
    found = model.predict_quantiles(quantiles=levels)
    for k, level in enumerate(levels):
        of_these = model._deviations[:, :, 0] / 2 if level == 0.3 else None
        if of_these is None:
            of_these = model._deviations[:, :, (0, None, 1, 2)[k]]
        residuals = model.residuals_ - share * of_these
        plain = small(strategy=strategy, linear=linear, horizon=3).fit(y)
        plain.residuals_ = residuals
        shift = plain.predict_quantiles(quantiles=[level])[:, 0] - plain.predict()
        shift *= model.y_scale_[0] / plain.y_scale_[0]
        expected = model.predict() + share * between[k] * model.y_scale_[0] + shift
        np.testing.assert_allclose(found[:, k], expected, rtol=1e-5, err_msg=str(level))


def test_deviations_are_those_of_forecasts_from_each_step():
    y = noise(70)
    model = alone(loss="quantile", difference=1).fit(y)
    assert model._deviations.shape == (14 - 2 + 1, 2, 3)
    assert (np.diff(model._deviations, axis=2) >= 0).all()
    x = np.empty((1, model._plan.tail + 2, 0))
    for j, deviations in enumerate(model._deviations):
        model._values = y[None, 56 + j - model._plan.tail : 56 + j]
        found = NetworkPath(model._plan, model.regressor_).deviations(model._own(), x)[0]
        np.testing.assert_allclose(deviations * model.y_scale_[0], found, atol=1e-12)


def test_quantiles_never_cross():
    y = noise(60)
    levels = np.linspace(0.02, 0.98, 49)
    for loss in ("squared_error", "quantile"):
        model = small(loss=loss, horizon=9).fit(y)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            found = model.predict_quantiles(quantiles=levels)
        assert found.shape == (9, 49) and (np.diff(found) >= 0).all()


def test_quantiles_are_never_refused():
    for options in ({"calibration_fraction": 0}, {"linear": False, "calibration_fraction": 0}):
        model = small(**options).fit(noise())
        assert len(model.residuals_) == 0
        with pytest.warns(UserWarning, match=r"0 residuals .* the quantile 0\.[19]"):
            found = model.predict_quantiles()
        np.testing.assert_allclose(found[:, 1], model.predict(), rtol=1e-12)
        assert (np.diff(found) > 0).all()
    assert alone().fit(np.full(60, 3.5)).predict_quantiles().tolist() == [[3.5] * 3] * 2


def test_how_quantiles_are_given_back():
    y = pd.Series(noise(80), pd.date_range("2024", periods=80))
    model = small(3).fit(y)
    found = model.predict_quantiles()
    assert isinstance(found, pd.DataFrame) and list(found.columns) == list(LEVELS)
    assert found.index.equals(pd.date_range("2024-03-21", periods=3))
    assert_same_bits(model.predict_quantiles(2).to_numpy(), found.to_numpy()[:2])
    listed = small(3).fit([y, y.to_numpy()])
    both = listed.predict_quantiles(quantiles=[0.2, 0.4])
    assert isinstance(both[0], pd.DataFrame) and both[1].shape == (3, 2)
    other = model.predict_quantiles(y=5 * y)
    ahead = model.predict(y=5 * y).to_numpy()
    assert (other[0.1] < ahead).all() and (ahead < other[0.9]).all()


@pytest.mark.parametrize("loss", ["squared_error", "quantile"])
def test_saved_and_loaded(loss, tmp_path):
    model = small(loss=loss, strategy="direct").fit(noise())
    nr.save(model, tmp_path / "model")
    again = nr.load(tmp_path / "model")
    assert_same_bits(again.predict_quantiles(), model.predict_quantiles())
    assert_same_bits(again.predict_interval(), model.predict_interval())
    config, tensors = model._to_tensors()
    for wrong in (tensors["_deviations"][1:], tensors["_deviations"][:, :, :1, None]):
        with pytest.raises(ValueError, match="_deviations must"):
            RNNForecaster._from_tensors(config, tensors | {"_deviations": wrong})


@pytest.mark.parametrize(
    "arguments, error, words",
    [
        ({"quantiles": (0.5, 0.1)}, ValueError, "quantiles must be one or more that rise"),
        ({"quantiles": (0.5, 0.5)}, ValueError, "quantiles must be one or more that rise"),
        ({"quantiles": ()}, ValueError, "quantiles must be one or more that rise"),
        ({"quantiles": (0, 0.5)}, ValueError, r"quantiles\[0\] must lie in"),
        ({"quantiles": (0.5, 1.0)}, ValueError, r"quantiles\[1\] must lie in"),
        ({"quantiles": 0.5}, TypeError, "quantiles must be a sequence of numbers"),
        ({"quantiles": ("a",)}, TypeError, r"quantiles\[0\] must be"),
        ({"steps": 3}, ValueError, "steps must be at most horizon, 2"),
        ({"steps": 0}, ValueError, "steps must be positive"),
        ({"X": [1, 2]}, ValueError, "X must be None"),
    ],
)
def test_bad_calls(arguments, error, words):
    with pytest.raises(error, match=words):
        small().fit(noise()).predict_quantiles(**arguments)


def test_bad_losses_and_no_fit():
    with pytest.raises(NotFittedError):
        small().predict_quantiles()
    for options, words in (
        ({"loss": "mse"}, "loss must be"),
        ({"loss": "quantile", "quantiles": (0.9, 0.1)}, "quantiles must be one or more that rise"),
    ):
        model = small(**options)
        with pytest.raises(ValueError, match=words):
            model.fit(noise())
        assert not hasattr(model, "regressor_")
