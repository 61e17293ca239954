"""Estimators on Dask arrays, and searches on Dask's workers."""

import numpy as np
import pytest
from helpers import assert_same_bits, normal
from sklearn.model_selection import GridSearchCV

from numba_rnn.estimators import RNNClassifier, RNNRegressor

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
distributed = pytest.importorskip("distributed")
QUICK = {"hidden_size": 4, "max_iter": 2, "n_iter_no_change": np.inf, "random_state": 0}
X = normal((24, 7, 2))
Y = X[:, :, 0].sum(axis=1)


@pytest.fixture(autouse=True)
def synchronous():
    with dask.config.set(scheduler="synchronous"):
        yield


def in_blocks(X):
    return da.from_array(X, (9, *(3 for _ in X.shape[1:])))


CASES = {
    "numbers": (RNNRegressor(**QUICK), X, Y),
    "several targets": (RNNRegressor(**QUICK), X, X[:, -1]),
    "every step": (RNNRegressor(**QUICK), X, X.cumsum(axis=1)),
    "a number for every step": (RNNRegressor(**QUICK), list(X), [x[:, 0] for x in X]),
    "a table": (RNNRegressor(**QUICK), X[:, :, 0], Y),
    "members": (RNNRegressor(**QUICK, n_members=2), X, Y),
    "quantiles": (RNNRegressor(**QUICK, loss="quantile"), X, Y),
    "labels": (RNNClassifier(**QUICK), X, np.where(Y > 0, "up", "down")),
    "members of labels": (RNNClassifier(**QUICK, n_members=2), X, Y > 0),
}


@pytest.mark.parametrize("case", CASES)
def test_predictions_are_those_of_numpy_arrays(case):
    model, given, y = CASES[case]
    model.fit(given, y)
    plain = np.stack(given) if isinstance(given, list) else given
    for method in ("predict", "predict_proba", "predict_quantiles"):
        if not hasattr(model, method):
            continue
        expected = getattr(model, method)(plain)
        expected = np.stack(expected) if isinstance(expected, list) else expected
        lazy = getattr(model, method)(in_blocks(plain))
        again = getattr(model, method)(in_blocks(plain))
        assert lazy.name == again.name and lazy.chunks[0] == (9, 9, 6)
        assert (lazy.shape, lazy.dtype) == (expected.shape, expected.dtype)
        assert_same_bits(lazy.compute(), expected)
    truth = y if isinstance(y, list) else da.from_array(y, 5)
    assert model.score(in_blocks(plain), truth) == model.score(plain, y)
    if not isinstance(y, list):
        weights = np.arange(24.0)
        assert model.score(in_blocks(plain), y, weights) == model.score(plain, y, weights)


def test_what_is_built_is_of_the_model_as_it_was():
    model = RNNRegressor(**QUICK).fit(X, Y)
    expected, lazy = model.predict(X), model.predict(in_blocks(X))
    model.fit(X, -Y)
    assert_same_bits(lazy.compute(), expected)
    assert model.predict(in_blocks(X)).name != lazy.name


def test_what_is_not_taken():
    model = RNNRegressor(**QUICK).fit(X, Y)
    with pytest.raises(ValueError, match="X has 1 features, but RNNRegressor is expecting 2"):
        model.predict(in_blocks(X[:, :, :1]))
    with pytest.raises(ValueError, match=r"X must have shape .*, got \(24,\)"):
        model.predict(da.zeros(24))
    unknown = in_blocks(X)[da.from_array(Y, 9) > 0]
    with pytest.raises(ValueError, match="chunks of known size"):
        model.predict(unknown)


def test_grid_search_on_workers():
    joblib = pytest.importorskip("joblib")
    search = GridSearchCV(RNNRegressor(**QUICK), {"hidden_size": [2, 4]}, cv=2)
    alone = search.fit(X, Y).cv_results_["mean_test_score"]
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster),
        joblib.parallel_backend("dask"),
    ):
        found = search.fit(X, Y)
    assert_same_bits(found.cv_results_["mean_test_score"], alone)
