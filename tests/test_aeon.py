"""The adapters for aeon: its own checks, its order of axes, its tools."""

import doctest
import importlib.util
import pickle

import numpy as np
import pytest

if importlib.util.find_spec("aeon") is None:
    pytest.skip(
        "aeon is not installed (aeon 1.6 pins numba below 0.64: see .ci/run)",
        allow_module_level=True,
    )

from aeon.testing.estimator_checking import parametrize_with_checks
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline

import numba_rnn.aeon
from numba_rnn import estimators
from numba_rnn.adapters import TINY
from numba_rnn.aeon import RNNClassifier, RNNRegressor

RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 2, 9))
Y = X[:, 0].sum(axis=1)
LABELS = np.where(Y > 0, "up", "down")
KINDS = [(RNNClassifier, LABELS), (RNNRegressor, Y)]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks([RNNClassifier, RNNRegressor, RNNClassifier(missing="forward", **TINY)])
def test_aeons_own_checks(check):
    check()


@pytest.mark.parametrize(("kind", "y"), KINDS)
def test_the_order_of_axes(kind, y):
    ours = getattr(estimators, kind.__name__)(**TINY).fit(np.swapaxes(X, 1, 2), y)
    model = kind(**TINY).fit(X, y)
    np.testing.assert_array_equal(model.predict(X), ours.predict(np.swapaxes(X, 1, 2)))
    assert model.model_.n_features_in_ == 2
    ragged = [one[:, : 4 + k % 5] for k, one in enumerate(X)]
    model = kind(**TINY).fit(ragged, y)
    ours.fit([one.T for one in ragged], y)
    np.testing.assert_array_equal(model.predict(ragged), ours.predict([one.T for one in ragged]))
    table = kind(**TINY).fit(X[:, 0], y)
    np.testing.assert_array_equal(table.predict(X[:, 0]), table.predict(X[:, :1]))
    many = RNG.normal(size=(24, 40, 4))  # many channels, few steps: no word of a wrong order
    assert kind(**TINY).fit(many, y).model_.n_features_in_ == 40


def test_probabilities():
    model = RNNClassifier(**TINY).fit(X, LABELS)
    found = model.predict_proba(X)
    ours = estimators.RNNClassifier(**TINY).fit(np.swapaxes(X, 1, 2), LABELS)
    np.testing.assert_array_equal(found, ours.predict_proba(np.swapaxes(X, 1, 2)))
    assert model.classes_.tolist() == ["down", "up"] and model.n_classes_ == 2


@pytest.mark.parametrize(("kind", "y"), KINDS)
def test_parameters(kind, y):
    ours = getattr(estimators, kind.__name__)()
    own = ours.get_params()
    del own["warm_start"]  # aeon's fit begins anew
    assert kind().get_params() == own
    model = kind(7, max_iter=3)
    assert model.hidden_size == 7 and model.get_params()["max_iter"] == 3
    assert model.clone().get_params() == model.get_params()
    with pytest.raises(TypeError, match="hiden_size"):
        kind(hiden_size=3)
    with pytest.raises(ValueError, match="hidden_size must be positive"):
        kind(hidden_size=-3).fit(X, y)
    with pytest.raises(ValueError, match="missing values"):
        kind(**TINY).fit(np.where(X > 2, np.nan, X), y)
    model = pickle.loads(pickle.dumps(kind(**TINY).fit(X, y)))
    assert model.predict(X).shape == (24,)


@pytest.mark.parametrize(("kind", "y"), KINDS)
def test_missing_values(kind, y):
    gaps = np.where(X > 1, np.nan, X)
    model = kind(missing="forward", **TINY).fit(gaps, y)
    assert model.get_tag("capability:missing_values") and model.model_.filling_.marked.size == 2
    assert model.predict(gaps).shape == (24,)
    assert not kind(missing="error").get_tag("capability:missing_values")


@pytest.mark.parametrize(("kind", "y"), KINDS)
def test_in_the_tools_of_aeon_and_scikit_learn(kind, y):
    from aeon.transformations.collection import Normalizer

    pipeline = make_pipeline(Normalizer(), kind(**TINY)).fit(X, y)
    assert pipeline.predict(X).shape == (24,)
    assert len(cross_val_score(kind(**TINY), X, y, cv=2)) == 2
    search = GridSearchCV(kind(**TINY), {"hidden_size": [2, 3]}, cv=2).fit(X, y)
    assert search.best_params_["hidden_size"] in (2, 3)


def test_docstring_examples_run():
    found = doctest.testmod(numba_rnn.aeon, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.failed == 0 and found.attempted >= 8
