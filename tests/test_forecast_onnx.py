"""Forecasters as ONNX graphs, run by ONNX Runtime beside `predict`."""

import numpy as np
import pytest
from helpers import forecaster

import numba_rnn as nr

onnxruntime = pytest.importorskip("onnxruntime")
SIX = np.sin(np.arange(90) * 2 * np.pi / 6)
RNG = np.random.default_rng(0)
Y, X, PAST = SIX + 0.3 * RNG.normal(size=90), RNG.normal(size=(100, 2)), RNG.normal(size=(90, 1))


def fitted(horizon=5, given=(), beside=None, **options):
    quick = {"hidden_size": 3, "max_iter": 2, "n_iter_no_change": np.inf, "random_state": 0}
    model = forecaster(horizon, **quick | {"season": 6, "window": 7} | options)
    return model.fit(*(given or (Y,)), **(beside or {}))


def run(model, path, feed):
    nr.to_onnx(model, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert {one.name for one in session.get_inputs()} == set(feed)
    (found,) = session.run(None, feed)
    return found


def assert_alike(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("strategy", ["recursive", "direct"])
@pytest.mark.parametrize(
    "options",
    [
        {}, {"linear": False}, {"season": 1}, {"season": 1, "difference": 1}, {"difference": 2},
        {"linear": False, "difference_season": False}, {"loss": "quantile"}, {"n_members": 2},
        {"loss": "quantile", "n_members": 2}, {"patch": 3}, {"dtype": "float64"},
        {"bidirectional": True, "pooling": "mean", "num_layers": 2},
        {"horizon": 14},
    ],
    ids=str,
)  # fmt: skip
def test_the_forecast_of_a_series(strategy, options, tmp_path):
    model = fitted(strategy=strategy, **options)
    if model._plan.linear:  # so that all three count
        model.network_share_, model.naive_share_ = 0.4, 0.25
    found = run(model, tmp_path / "model.onnx", {"y": Y[None, -model.tail_ :]})
    assert found.dtype == np.float64 and found.shape == (1, model.horizon)
    assert_alike(found[0], model.predict())
    # one graph for other ends of the series too
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    ends = np.stack([Y[-model.tail_ - 1 : -1], Y[-model.tail_ :]])
    assert_alike(session.run(None, {"y": ends})[0][1], model.predict())


@pytest.mark.parametrize("strategy", ["recursive", "direct"])
def test_with_what_is_known_beside_it(strategy, tmp_path):
    given = {"X_past": PAST, "static": [3.0]}
    model = fitted(4, (Y, X[:90]), given, strategy=strategy)
    model.network_share_, model.naive_share_ = 0.5, 0.1
    T = model.tail_
    feed = {"y": Y[None, -T:], "x": X[None, 90 - T : 94], "x_past": PAST[None, -T:]}
    assert_alike(run(model, tmp_path / "model.onnx", feed)[0], model.predict(X=X[90:94]))


@pytest.mark.parametrize("strategy", ["recursive", "direct"])
def test_many_series_of_several_columns(strategy, tmp_path):
    wide = np.stack([Y, 100 + 7 * Y[::-1]], axis=1)
    static = {"static": [[1.0], [5.0], [2.0]]}
    many = [wide, 2 * wide, wide[:70]]
    model = fitted(5, (many, [X[: len(one)] for one in many]), static, strategy=strategy)
    model.network_share_, model.naive_share_ = 0.5, 0.1
    T = model.tail_
    x = np.stack([X[len(one) - T : len(one) + 5] for one in many])
    found = run(model, tmp_path / "m.onnx", {"y": np.stack([one[-T:] for one in many]), "x": x})
    assert found.shape == (3, 5, 2)
    expected = model.predict(X=[X[len(one) : len(one) + 5] for one in many])
    for k in range(3):
        assert_alike(found[k], expected[k])


def test_a_constant(tmp_path):
    model = fitted(given=(np.full(60, 2.5),))
    found = run(model, tmp_path / "model.onnx", {"y": np.full((1, model.tail_), 2.5)})
    assert found.tolist() == [[2.5] * 5]


def test_bad_input(tmp_path):
    path = tmp_path / "model.onnx"
    model = fitted()
    for options, words in (
        ({"lengths": True}, "lengths must be False for RNNForecaster"),
        ({"initial_state": True}, "initial_state must be False for RNNForecaster"),
    ):
        with pytest.raises(ValueError, match=words):
            nr.to_onnx(model, path, **options)
    with pytest.raises(ValueError, match=r"missing must be .error. for to_onnx"):
        nr.to_onnx(fitted(missing="forward"), path)
    assert not path.exists()
