"""Permutation importance: what a score owes to the series of each feature."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.metrics import accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from numba_rnn.estimators import RNNClassifier, RNNRegressor, permutation_importance

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 6, 3))
Y = X[:, :, 1].sum(axis=1)
LISTED = [x[: 4 + k % 3] for k, x in enumerate(X)]


class Sum:
    """A model that is known: the sum of the first feature, and twice that of the last."""

    def __init__(self):
        self.seen = []

    def fit(self, X, y):
        return self

    def predict(self, X):
        return np.array([np.sum(np.asarray(x)[:, 0]) + 2 * np.sum(np.asarray(x)[:, 2]) for x in X])

    def score(self, X, y, sample_weight=None):
        self.seen.append(X)
        return -float(np.average((self.predict(X) - y) ** 2, weights=sample_weight))


@pytest.mark.parametrize("x", [X, LISTED], ids=["array", "list"])
def test_by_hand(x):
    model = Sum()
    y = model.predict(x)
    found = permutation_importance(model, x, y, n_repeats=50, random_state=0)
    assert found.importances.shape == (3, 50) and found.feature_names is None
    assert (found.importances[1] == 0).all()
    np.testing.assert_array_equal(found.importances_mean, found.importances.mean(axis=1))
    np.testing.assert_array_equal(found.importances_std, found.importances.std(axis=1))
    # of sums s exchanged at random E (s_i - s_j)² = 2 var(s), n for n - 1 as some keep theirs
    for feature, factor in ((0, 1), (2, 4)):
        expected = 0.0
        for length in {len(one) for one in x}:
            sums = np.array([one[:, feature].sum() for one in x if len(one) == length])
            expected += factor * 2 * sums.var() * len(sums) / len(x)
        assert found.importances_mean[feature] == pytest.approx(expected, rel=0.1)


def test_whole_series_are_exchanged_among_those_of_one_length():
    model = Sum()
    permutation_importance(model, LISTED, Y, n_repeats=2, random_state=0)
    assert len(model.seen) == 7
    first = model.seen[0]
    for one, own in zip(first, LISTED, strict=True):
        np.testing.assert_array_equal(one, own)
    columns = {one[:, 0].tobytes() for one in LISTED}
    moved = model.seen[1]
    assert {one[:, 0].tobytes() for one in moved} == columns
    for one, own in zip(moved, LISTED, strict=True):
        assert one.shape == own.shape
        np.testing.assert_array_equal(one[:, 1:], own[:, 1:])
    assert any((one != own).any() for one, own in zip(moved, LISTED, strict=True))


def test_estimators():
    options = {"hidden_size": 8, "max_iter": 30, "n_iter_no_change": np.inf, "random_state": 0}
    model = RNNRegressor(learning_rate_init=1e-2, **options).fit(X, Y)
    found = permutation_importance(model, X, Y, random_state=0)
    assert found.importances_mean.argmax() == 1 and found.importances_mean[1] > 0.5
    again = permutation_importance(model, list(X), Y, random_state=0)
    np.testing.assert_array_equal(again.importances, found.importances)
    pipeline = make_pipeline(FunctionTransformer(), model)
    again = permutation_importance(pipeline, X, Y, random_state=0)
    np.testing.assert_array_equal(again.importances, found.importances)
    labels = np.where(Y > 0, "up", "down")
    model = RNNClassifier(learning_rate_init=1e-2, **options).fit(X, labels)
    weights = RNG.random(40)
    for name, metric in ((None, accuracy_score), ("accuracy", accuracy_score)):
        found = permutation_importance(
            model, X, labels, scoring=name, sample_weight=weights, n_repeats=1, random_state=0
        )
        assert found.importances_mean.argmax() == 1
        order = np.random.RandomState(0).permutation(40)
        moved = X.copy()
        moved[:, :, 0] = X[order, :, 0]
        own = [metric(labels, model.predict(x), sample_weight=weights) for x in (X, moved)]
        assert found.importances[0, 0] == pytest.approx(own[0] - own[1])
    found = permutation_importance(model, X, labels, scoring="neg_log_loss", random_state=0)
    assert found.importances_mean.argmax() == 1
    found = permutation_importance(model, X, labels, scoring=lambda model, x, y: 3.0)
    assert (found.importances == 0).all()


def test_frames_and_tables():
    names = ["a", "b", "c"]
    frames = [pd.DataFrame(x, columns=names) for x in LISTED]
    options = {"hidden_size": 4, "max_iter": 3, "n_iter_no_change": np.inf, "random_state": 0}
    model = RNNRegressor(**options).fit(frames, Y)
    found = permutation_importance(model, frames, Y, random_state=0)
    assert found.feature_names == names
    others = [pl.DataFrame(x, schema=names) for x in LISTED]
    again = permutation_importance(model, others, Y, random_state=0)
    np.testing.assert_array_equal(again.importances, found.importances)
    flat = [x[:, 0] for x in LISTED]
    one = permutation_importance(RNNRegressor(**options).fit(flat, Y), flat, Y)
    assert one.importances.shape == (1, 5)
    table = X[:, :, 0]
    columns = [f"t{k}" for k in range(6)]
    for form in (pd.DataFrame(table, columns=columns), pl.DataFrame(table, schema=columns)):
        model = RNNRegressor(**options).fit(form, Y)
        found = permutation_importance(model, form, Y)  # and no word of names that are not there
        assert found.importances.shape == (1, 5)
    gaps = np.where(X > 1, np.nan, X)
    model = RNNRegressor(missing="forward", **options).fit(gaps, Y)
    assert permutation_importance(model, np.ma.masked_invalid(gaps), Y).importances.shape == (3, 5)
    steps = RNNRegressor(**options).fit(LISTED, [x[:, 0] for x in LISTED])
    found = permutation_importance(steps, LISTED, [x[:, 0] for x in LISTED])
    assert found.importances.shape == (3, 5)


def test_nothing_is_changed():
    x, listed = X.copy(), [one.copy() for one in LISTED]
    permutation_importance(Sum(), x, Y)
    permutation_importance(Sum(), listed, Y)
    np.testing.assert_array_equal(x, X)
    for one, own in zip(listed, LISTED, strict=True):
        np.testing.assert_array_equal(one, own)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n_repeats": 0}, "n_repeats must be positive"),
        ({"n_repeats": 1.5}, "n_repeats must be an int"),
        ({"scoring": ["r2"]}, "scoring must be a name, a scorer or None, got list"),
        ({"scoring": "magic"}, "magic"),
        ({"sample_weight": np.ones(3)}, r"sample_weight must have shape \(40,\)"),
        ({"sample_weight": -np.ones(40)}, "sample_weight must not be negative"),
        ({"random_state": "x"}, "cannot be used to seed"),
        ({"X": [X[0, :k] for k in range(1, 7)]}, "two series of one length at least"),
        ({"X": X[0, :, 0]}, "X must have shape"),
        ({"X": X[:, :, :, None]}, "X must have shape"),
    ],
)
def test_bad_input(changes, words):
    arguments = {"model": Sum(), "X": X, "y": Y} | changes
    with pytest.raises((TypeError, ValueError), match=words):
        permutation_importance(**arguments)
