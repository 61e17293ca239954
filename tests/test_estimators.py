"""The estimators as scikit-learn's users know them: forms of X and y, conventions, bits."""

import json
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from processes import python
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from numba_rnn.estimators import EXPECTED_FAILED_CHECKS, RNNClassifier, RNNRegressor

# Of L-BFGS a few iterations are enough here, and it warns whenever it doesn't come to its end.
pytestmark = pytest.mark.filterwarnings(
    "ignore:max_iter=.+ iterations of L-BFGS:sklearn.exceptions.ConvergenceWarning"
)

QUICK = {"hidden_size": 5, "max_iter": 3, "n_iter_no_change": np.inf, "random_state": 0}
RNG = np.random.default_rng(0)
TABLE = RNG.normal(size=(30, 6))
ARRAY = RNG.normal(size=(30, 6, 2))
LIST = [RNG.normal(size=(length, 2)) for length in RNG.integers(1, 12, 30)]
Y = TABLE.sum(axis=1)
LABELS = np.where(Y > 0, "up", "down")


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(
    [
        RNNClassifier(),
        RNNRegressor(),
        RNNClassifier(missing="forward"),
        RNNRegressor(missing="forward"),
    ],
    expected_failed_checks=lambda model: EXPECTED_FAILED_CHECKS[type(model).__name__],
)
def test_scikit_learn(estimator, check):
    check(estimator)


def test_defaults():
    expected = {
        "hidden_size": 64, "num_layers": 1, "nonlinearity": "tanh", "bidirectional": "auto",
        "dropout": 0.0, "pooling": "max", "solver": "adam", "alpha": 0.0, "batch_size": "auto",
        "learning_rate_init": 3e-3, "max_iter": 200, "shuffle": True, "clip_norm": 1.0,
        "truncation": None, "early_stopping": False, "validation_fraction": 0.1,
        "n_iter_no_change": 10, "tol": 1e-4, "standardize": True, "warm_start": False,
        "random_state": None, "verbose": 0, "dtype": "float32", "checkpoint": None,
        "patch": "auto", "n_members": 1, "learning_rate": "constant", "missing": "error",
    }  # fmt: skip
    assert RNNClassifier().get_params() == expected | {"class_weight": None}
    quantiles = {"loss": "squared_error", "quantiles": (0.1, 0.5, 0.9)}
    assert RNNRegressor().get_params() == expected | quantiles


# --- forms of X ---------------------------------------------------------------------------------


def test_one_table_in_many_forms():
    model = RNNRegressor(**QUICK)
    expected = model.fit(TABLE, Y).predict(TABLE)
    assert model.n_features_in_ == 6 and model.x_mean_.shape == (1,)
    frame = pd.DataFrame(TABLE, columns=list("abcdef"))
    forms = [
        (TABLE.tolist(), Y.tolist()),
        (frame, pd.Series(Y, index=range(5, 35))),
        (pl.DataFrame(TABLE, schema=list("abcdef")), pl.Series(Y)),
        (np.asfortranarray(TABLE), Y[::-1].copy()[::-1]),
        (TABLE[:, :, None], Y),
        (TABLE[:, :, None].tolist(), Y),
        (list(TABLE), Y),
        ([pd.Series(row) for row in TABLE], Y),
        ([pl.Series(row) for row in TABLE], Y),
        ([pd.DataFrame(row) for row in TABLE], Y),
    ]
    for X, y in forms:
        np.testing.assert_array_equal(model.fit(X, y).predict(X), expected)
        is_table = isinstance(X, (pd.DataFrame, pl.DataFrame)) or np.ndim(X) == 2
        is_table &= not (isinstance(X, list) and hasattr(X[0], "shape"))
        assert model.n_features_in_ == (6 if is_table else 1)
    model.fit(frame, Y)
    assert model.feature_names_in_.tolist() == list("abcdef")
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[list("fedcba")])
    model.fit(list(TABLE), Y)
    assert not hasattr(model, "feature_names_in_")


def test_names_in_a_list_of_frames():
    frames = [pd.DataFrame(x, columns=["a", "b"]) for x in LIST]
    swapped = [frame[["b", "a"]] for frame in frames]
    model = RNNRegressor(**QUICK).fit(frames, Y)
    assert model.feature_names_in_.tolist() == ["a", "b"]
    np.testing.assert_array_equal(model.predict(LIST), model.predict(frames))
    objects = np.empty(30, object)
    objects[:] = swapped
    for X in (swapped, objects, [frame.rename(columns={"b": "c"}) for frame in frames]):
        with pytest.raises(ValueError, match=r"X must have the columns \['a', 'b'\], as in fit"):
            model.predict(X)
        with pytest.raises(ValueError, match="X must have the columns"):
            model.partial_fit(X, Y)
    with pytest.raises(ValueError, match=r"X\[1\] must have the columns \['a', 'b'\]"):
        model.fit([frames[0], *swapped[1:]], Y)
    assert not hasattr(model.fit(LIST, Y), "feature_names_in_")


def test_series_of_different_lengths():
    model = RNNRegressor(**QUICK).fit(LIST, Y)
    assert model.n_features_in_ == 2
    objects = np.empty(30, object)
    objects[:] = LIST
    frames = [pd.DataFrame(x) for x in LIST]
    for X in (objects, tuple(LIST), frames, [pl.DataFrame(x) for x in LIST]):
        np.testing.assert_array_equal(model.predict(X), model.predict(LIST))
    # What an array can hold is in whatever form the same.
    np.testing.assert_array_equal(model.predict(ARRAY), model.predict(list(ARRAY)))


def test_what_was_fitted_as_one_form_predicts_another():
    as_table = RNNRegressor(**QUICK).fit(TABLE, Y)
    assert as_table.predict([TABLE[0, :3], TABLE[1]]).shape == (2,)
    with pytest.raises(ValueError, match="X has 5 features, but RNNRegressor is expecting 6"):
        as_table.predict(TABLE[:, :5])
    as_array = RNNRegressor(**QUICK).fit(TABLE[:, :, None], Y)
    np.testing.assert_array_equal(as_array.predict(TABLE), as_table.predict(TABLE))
    assert as_array.predict(TABLE[:, :4]).shape == (30,)
    with pytest.raises(ValueError, match="X has 2 features, but RNNRegressor is expecting 1"):
        as_array.predict(ARRAY)
    with pytest.raises(ValueError, match="X has 1 features, but RNNRegressor is expecting 2"):
        RNNRegressor(**QUICK).fit(ARRAY, Y).predict(TABLE)


@pytest.mark.parametrize(
    ("X", "words"),
    [
        ([[1, 2], [1]], "a list of arrays where lengths differ"),
        ("abc", "could not convert"),
        (5, "scalar"),
        (None, "scalar"),
        (np.zeros(4), "1D array"),
        (np.zeros((3, 4, 5, 6)), r"X must have shape .*a list of arrays, got shape \(3, 4, 5, 6\)"),
        (np.zeros((3, 0, 2)), r"X must not be empty, got shape \(3, 0, 2\)"),
        (np.zeros((0, 2)), "0 sample"),
        ([np.zeros(3), np.zeros((3, 1))], r"shapes \(3,\) of X\[0\] and \(3, 1\) of X\[1\]"),
        ([np.zeros((3, 1)), np.zeros((3, 2))], r"\(3, 2\) of X\[1\]"),
        ([np.zeros((2, 1)), np.full((2, 1), np.nan)], r"X\[1\] contains NaN"),
        ([np.zeros((2, 1)), np.zeros((0, 1))], r"X\[1\] must not be empty"),
        (np.full((3, 4, 1), np.inf), "infinity"),
        (np.zeros((3, 4, 1), complex), "Complex"),
    ],
)
def test_bad_X(X, words):
    for model in (RNNRegressor(**QUICK), RNNClassifier(**QUICK)):
        with pytest.raises((TypeError, ValueError), match=words):
            model.fit(X, [0, 1, 0])


def test_one_series_alone():
    """The form that a single series has to be given is said where it was forgotten."""
    model = RNNRegressor(**QUICK).fit(ARRAY, Y)
    words = "X has 1 features, but RNNRegressor is expecting 2 features as input"
    for one, way in (
        (ARRAY[0], r"pass X\[None\]"),
        (ARRAY[0].tolist(), r"pass \[X\]"),
        (pd.DataFrame(ARRAY[0]), r"pass \[X\]"),
        (pl.DataFrame(ARRAY[0]), r"pass \[X\]"),
    ):
        with pytest.raises(ValueError, match=f"{words}.*{way}"):
            model.predict(one)
        with pytest.raises(ValueError, match=f"{words}.*{way}"):
            model.score(one, Y[:1])
        again = one[None] if isinstance(one, np.ndarray) else [one]
        np.testing.assert_array_equal(model.predict(again), model.predict(ARRAY[:1]))
    with pytest.raises(ValueError, match=words) as caught:
        model.predict(TABLE)  # which is no series of two features
    assert "pass" not in str(caught.value)
    steps = RNNRegressor(**QUICK).fit([x[:, 0] for x in ARRAY], Y)
    with pytest.raises(ValueError, match=r"got shape \(6,\); for one series pass X\[None\]"):
        steps.predict(ARRAY[0, :, 0])
    assert steps.predict(ARRAY[0, :, 0][None]).shape == (1,)
    for call in (model.predict, steps.predict):
        with pytest.raises(ValueError, match=r"X must have shape .* got shape \(1, 30, 6, 2\)"):
            call(ARRAY[None])


@pytest.mark.parametrize("size", [1e-6, 1.0, -3e9, 0.0, 1e-300])
def test_a_constant_target_is_predicted_whatever_its_size(size):
    y = np.stack([np.full(30, size), Y], axis=1)
    alone, beside = RNNRegressor(**QUICK).fit(ARRAY, y[:, 0]), RNNRegressor(**QUICK).fit(ARRAY, y)
    np.testing.assert_array_equal(alone.predict(ARRAY), y[:, 0])
    found = beside.predict(ARRAY)
    np.testing.assert_array_equal(found[:, 0], y[:, 0])
    assert np.ptp(found[:, 1]) > 0 and beside.y_scale_[0] == 0
    config, tensors = beside._to_tensors()
    again = RNNRegressor._from_tensors(json.loads(json.dumps(config)), tensors)
    np.testing.assert_array_equal(again.predict(ARRAY), found)


@pytest.mark.parametrize("way", ["partial_fit", "warm start"])
def test_a_target_that_was_constant_is_scaled_when_it_changes(way):
    """One series is a constant, so a first call with one must not scale the rest by it."""
    y = 1e-6 * Y
    model = RNNRegressor(**QUICK | {"max_iter": 30, "warm_start": True, "learning_rate_init": 0.1})
    fit = model.partial_fit if way == "partial_fit" else model.fit
    fit(TABLE[:1], y[:1])
    assert model.y_scale_.tolist() == [0] and model.predict(TABLE[:1]) == y[:1]
    fit(TABLE, y)
    assert model.y_scale_[0] == pytest.approx(y.std()) and model.y_mean_ == pytest.approx(y.mean())
    assert np.ptp(model.predict(TABLE)) > 1e-8
    kept = model.y_scale_
    fit(TABLE, 5 * y)
    np.testing.assert_array_equal(model.y_scale_, kept)


def hidden(array):
    """Return an array of which the first entry is masked."""
    found = np.ma.masked_array(array, False)
    found[(0,) * array.ndim] = np.ma.masked
    return found


@pytest.mark.parametrize("model", [RNNRegressor(**QUICK), RNNClassifier(**QUICK)])
def test_masked_arrays(model):
    """A mask would be dropped, and what lies under it taken as a number or a label."""
    y, steps = np.arange(30) % 2, [np.arange(len(x)) % 2 for x in LIST]
    fitted = clone(model).fit(ARRAY, y)
    some = [hidden(LIST[0]), *LIST[1:]]
    lists = TABLE.tolist()
    calls = {
        "X": [
            lambda: clone(model).fit(hidden(ARRAY), y),
            lambda: clone(model).fit(hidden(TABLE), y),
            lambda: clone(model).partial_fit(*(hidden(ARRAY), y), **classes(model)),
            lambda: fitted.predict(hidden(ARRAY)),
            lambda: fitted.score(hidden(ARRAY), y),
        ],
        "X[0]": [
            lambda: clone(model).fit(some, y),
            lambda: clone(model).fit([hidden(TABLE[0]), *lists[1:]], y),
            lambda: fitted.predict(some),
        ],
        "y": [
            lambda: clone(model).fit(ARRAY, hidden(y)),
            lambda: clone(model).fit(ARRAY, hidden(np.repeat(y, 6).reshape(30, 6, 1))),
            lambda: fitted.score(ARRAY, hidden(y)),
        ],
        "y[0]": [lambda: clone(model).fit(LIST, [hidden(steps[0]), *steps[1:]])],
        "sample_weight": [lambda: fitted.score(ARRAY, y, hidden(np.ones(30)))],
    }
    for name, group in calls.items():
        for call in group:
            with pytest.raises(ValueError, match="must have no masked entries, got 1 of") as caught:
                call()
            assert str(caught.value).startswith(f"{name} must"), name
    expected = fitted.predict(ARRAY)
    np.testing.assert_array_equal(fitted.predict(np.ma.masked_array(ARRAY)), expected)
    again = clone(model).fit(np.ma.masked_array(ARRAY), np.ma.masked_array(y))
    np.testing.assert_array_equal(again.predict(ARRAY), expected)


def classes(model):
    return {"classes": [0, 1]} if isinstance(model, RNNClassifier) else {}


def test_values_beyond_the_dtype():
    X = TABLE * 1e300
    with pytest.raises(ValueError, match=r'X must hold values that float32.*dtype="float64"'):
        RNNRegressor(standardize=False, **QUICK).fit(X, Y)
    scaled = RNNRegressor(**QUICK).fit(X, Y * 1e300)
    np.testing.assert_allclose(
        scaled.predict(X) / 1e300, RNNRegressor(**QUICK).fit(TABLE, Y).predict(TABLE), rtol=1e-5
    )
    # a small signal on a large level, which float32 alone would lose
    level = RNNRegressor(**QUICK).fit(TABLE + 1e6, Y + 1e9)
    np.testing.assert_allclose(
        level.predict(TABLE + 1e6) - 1e9, RNNRegressor(**QUICK).fit(TABLE, Y).predict(TABLE),
        atol=1e-5,
    )  # fmt: skip


def test_standardisation_looks_at_real_steps_and_is_undone():
    rows = np.concatenate(LIST)
    model = RNNRegressor(**QUICK).fit(LIST, 5 + 3 * Y)
    np.testing.assert_allclose(model.x_mean_, rows.mean(axis=0))
    np.testing.assert_allclose(model.x_scale_, rows.std(axis=0))
    np.testing.assert_allclose((model.y_mean_, model.y_scale_), [[5 + 3 * Y.mean()], [3 * Y.std()]])
    expected = RNNRegressor(**QUICK).fit(LIST, Y).predict(LIST)
    np.testing.assert_allclose(model.predict(LIST), 5 + 3 * expected, rtol=1e-5)
    bare = RNNRegressor(standardize=False, **QUICK).fit(LIST, Y)
    assert not bare.x_mean_.any() and not bare.y_mean_.any()
    assert (bare.x_scale_ == 1).all() and (bare.y_scale_ == 1).all()
    constant = np.stack([TABLE, np.full_like(TABLE, 0.1)], axis=-1)
    assert RNNRegressor(**QUICK).fit(constant, Y).x_scale_[1] == 1


# --- forms of y ---------------------------------------------------------------------------------


def test_targets_come_back_in_their_form():
    model = RNNRegressor(**QUICK)
    assert model.fit(ARRAY, Y).predict(ARRAY[:4]).shape == (4,)
    for k in (1, 3):
        y = np.stack([Y] * k, axis=1)
        assert model.fit(ARRAY, y).predict(ARRAY[:4]).shape == (4, k)
        assert model.fit(ARRAY, pd.DataFrame(y)).predict(ARRAY[:4]).shape == (4, k)
        assert model.fit(ARRAY, y.tolist()).predict(ARRAY[:4]).shape == (4, k)
    steps = np.concatenate([ARRAY, ARRAY[:, :, :1]], axis=2)
    found = model.fit(ARRAY, steps).predict(ARRAY[:4])
    assert found.shape == (4, 6, 3)
    np.testing.assert_array_equal(model.fit(ARRAY, list(steps)).predict(ARRAY[:4]), found)
    model.fit(ARRAY, steps)
    assert [a.shape for a in model.predict(LIST)] == [(len(x), 3) for x in LIST]
    model.fit(LIST, [x[:, 0] for x in LIST])
    found = model.predict(LIST)
    assert isinstance(found, list) and [a.shape for a in found] == [(len(x),) for x in LIST]
    assert [a.shape for a in model.predict(ARRAY[:2])] == [(6,), (6,)]
    assert model.score(LIST, [x[:, 0] for x in LIST]) <= 1


@pytest.mark.parametrize(
    "labels", [["b", "a"], [True, False], [7, -1], [2.0, 1.0], [("u"), "longer"]]
)
def test_labels_of_many_types(labels):
    y = [labels[int(v > 0)] for v in Y]
    model = RNNClassifier(**QUICK).fit(ARRAY, y)
    assert model.classes_.tolist() == sorted(labels)
    assert model.predict(ARRAY).dtype == model.classes_.dtype
    assert set(model.predict(ARRAY).tolist()) <= set(labels)
    assert 0 <= model.score(ARRAY, y) <= 1
    as_series = RNNClassifier(**QUICK).fit(ARRAY, pd.Series(y, dtype="category"))
    np.testing.assert_array_equal(as_series.predict(ARRAY), model.predict(ARRAY))


def test_labels_of_steps():
    y = [np.where(x[:, 0] > 0, "p", "n") for x in LIST]
    options = QUICK | {"max_iter": 60, "learning_rate_init": 0.03}
    model = RNNClassifier(**options).fit(LIST, y)
    found = model.predict(LIST)
    assert [a.shape for a in found] == [(len(x),) for x in LIST]
    proba = model.predict_proba(LIST)
    assert [a.shape for a in proba] == [(len(x), 2) for x in LIST]
    right = np.mean(np.concatenate(found) == np.concatenate(y))
    assert model.score(LIST, y) == pytest.approx(right) and right > 0.9


def test_probabilities():
    model = RNNClassifier(**QUICK).fit(ARRAY, np.arange(30) % 3)
    proba = model.predict_proba(ARRAY)
    assert proba.shape == (30, 3) and proba.dtype == np.float64
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_array_equal(model.classes_[proba.argmax(axis=1)], model.predict(ARRAY))


@pytest.mark.parametrize(
    ("model", "X", "y", "words"),
    [
        (RNNRegressor(), ARRAY, Y[:-1], "inconsistent numbers of samples"),
        (RNNRegressor(), ARRAY, LABELS, "could not convert"),
        (RNNRegressor(), ARRAY, np.full(30, np.nan), "y contains NaN"),
        (RNNRegressor(), ARRAY, None, "requires y"),
        (RNNRegressor(), ARRAY, np.zeros((30, 5, 1)), "as many steps"),
        (RNNRegressor(), LIST, np.zeros((30, 5, 1)), "as many steps"),
        (RNNRegressor(), ARRAY, np.zeros((30, 6, 1, 1)), "one to three axes"),
        (RNNRegressor(), ARRAY, np.zeros((30, 6, 0)), "y must not be empty"),
        (RNNRegressor(), LIST, [LIST[0][1:], *LIST[1:]], r"y\[0\] must have"),
        (RNNRegressor(), LIST, [[1.0, 2.0], [1.0]], "y must be an array, or a list of arrays"),
        (RNNClassifier(), LIST, [[1, 2], [1]], "y must be an array, or a list of arrays"),
        (RNNClassifier(), ARRAY, Y, "Unknown label type"),
        (RNNClassifier(), ARRAY, np.zeros((30, 6, 2), int), "one label a step"),
        (RNNClassifier(), ARRAY, LABELS[:-1], "inconsistent numbers of samples"),
    ],
)
def test_bad_y(model, X, y, words):
    with pytest.raises((TypeError, ValueError), match=words):
        clone(model).set_params(**QUICK).fit(X, y)


# --- parameters ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hidden_size", 0), ("hidden_size", 2.0), ("num_layers", -1), ("nonlinearity", "gelu"),
        ("bidirectional", 1), ("dropout", 1.5), ("pooling", "sum"), ("solver", "adamw"),
        ("alpha", -1), ("batch_size", 0), ("batch_size", "all"), ("learning_rate_init", 0),
        ("max_iter", 0), ("shuffle", None), ("clip_norm", 0), ("clip_norm", "1"),
        ("truncation", 0), ("early_stopping", "yes"), ("n_iter_no_change", 0),
        ("n_iter_no_change", 2.5), ("tol", -1e-3), ("standardize", 1), ("warm_start", 0),
        ("random_state", "a"), ("verbose", "much"), ("dtype", "float16"), ("checkpoint", 3),
        ("patch", 0), ("n_members", 0), ("learning_rate", "fast"), ("loss", "mse"),
    ],
)  # fmt: skip
def test_bad_parameters(name, value):
    words = "seed" if name == "random_state" else name
    with pytest.raises((TypeError, ValueError), match=words):
        RNNRegressor(**QUICK | {name: value}).fit(ARRAY, Y)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"truncation": 3, "bidirectional": True}, "truncation must be None with bidirectional"),
        ({"truncation": 3, "solver": "lbfgs"}, "truncation must be None with solver"),
        ({"dropout": 0.5, "num_layers": 2, "solver": "lbfgs"}, "dropout must be 0 with solver"),
        ({"early_stopping": True, "validation_fraction": 0.0}, "validation_fraction"),
        ({"early_stopping": True, "validation_fraction": 0.01}, "two series held back"),
    ],
)
def test_parameters_that_contradict(options, words):
    with pytest.raises(ValueError, match=words):
        RNNRegressor(**QUICK | options).fit(ARRAY, Y)


def test_predict_needs_fit():
    with pytest.raises(NotFittedError):
        RNNRegressor().predict(ARRAY)


@pytest.mark.parametrize("warm_start", [False, True])
def test_a_first_fit_that_is_refused(warm_start):
    alone = np.r_[np.zeros(29), 1]  # a class of one can't be split
    model = RNNClassifier(early_stopping=True, warm_start=warm_start, **QUICK)
    with pytest.raises(ValueError, match="least populated class"):
        model.fit(TABLE, alone)
    with pytest.raises(NotFittedError):
        model.predict(TABLE)
    assert [name for name in vars(model) if name.endswith("_")] == []
    model.fit(TABLE, LABELS).predict(TABLE)


def test_a_refit_that_is_refused_leaves_the_model(tmp_path):
    path = tmp_path / "checkpoint"
    model = RNNClassifier(checkpoint=path, **QUICK).fit(TABLE, LABELS)
    expected = model.predict_proba(TABLE)
    for options, words in (({}, "other X or y"), ({"checkpoint": 7}, "checkpoint")):
        with pytest.raises((TypeError, ValueError), match=words):
            model.set_params(**options).fit(5 * ARRAY + 3, np.arange(30) % 3)
        assert model.classes_.tolist() == ["down", "up"] and model.n_features_in_ == 6
        np.testing.assert_array_equal(model.predict_proba(TABLE), expected)


def test_a_fit_interrupted_before_the_training(monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    model = RNNRegressor(**QUICK)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(RNNRegressor, "_networks", interrupt)
        model.fit(TABLE, Y)
    with pytest.raises(NotFittedError):
        model.predict(TABLE)


# --- bits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("pooling", ["last", "mean", "max", "steps"])
def test_a_prediction_does_not_depend_on_what_is_predicted_with_it(pooling, bidirectional):
    y = [x[:, 0] for x in LIST] if pooling == "steps" else Y
    options = {"pooling": "last" if pooling == "steps" else pooling, "bidirectional": bidirectional}
    model = RNNRegressor(num_layers=2, **options, **QUICK).fit(LIST, y)
    together = model.predict(LIST)
    more = model.predict([np.ones((200, 2)), *LIST, *LIST])[1:]
    for k, x in enumerate(LIST):
        np.testing.assert_array_equal(model.predict([x])[0], together[k])
        np.testing.assert_array_equal(more[k], together[k])
    labels = RNNClassifier(**options, **QUICK).fit(LIST, np.arange(30) % 7)
    alone = [labels.predict_proba([x])[0] for x in LIST]
    np.testing.assert_array_equal(labels.predict_proba(LIST), alone)


@pytest.mark.parametrize(
    "options",
    [
        {"num_layers": 2, "dropout": 0.5},
        {"early_stopping": True, "solver": "rmsprop"},
        {"solver": "sgd", "truncation": 2, "alpha": 0.1},
        {"solver": "lbfgs"},
    ],
)
def test_same_random_state_same_bits(options):
    def weights(state):
        model = RNNRegressor(**QUICK | options | {"random_state": state, "batch_size": 7})
        model.fit(LIST, Y)
        return np.concatenate([model.rnn_.flat_parameters, model.head_.flat_parameters])

    np.testing.assert_array_equal(weights(3), weights(3))
    np.testing.assert_array_equal(
        weights(np.random.RandomState(1)), weights(np.random.RandomState(1))
    )
    assert (weights(3) != weights(4)).any()
    np.random.seed(5)
    first = weights(None)
    assert (weights(None) != first).any()
    np.random.seed(5)
    np.testing.assert_array_equal(weights(None), first)


# --- scikit-learn's tools -----------------------------------------------------------------------


def test_with_scikit_learns_tools():
    model = RNNClassifier(**QUICK)
    scores = cross_val_score(model, LIST, LABELS, cv=3)
    assert scores.shape == (3,) and np.isfinite(scores).all()
    search = GridSearchCV(model, {"hidden_size": [2, 4], "pooling": ["last", "mean"]}, cv=2)
    assert search.fit(ARRAY, LABELS).best_params_["hidden_size"] in (2, 4)
    pipeline = make_pipeline(StandardScaler(), RNNRegressor(**QUICK))
    assert pipeline.fit(TABLE, Y).predict(TABLE).shape == (30,)
    again = clone(search.best_estimator_)
    assert not hasattr(again, "rnn_") and again.get_params() == search.best_estimator_.get_params()


def test_pickle():
    for model, y in ((RNNRegressor(**QUICK), Y), (RNNClassifier(**QUICK), LABELS)):
        options = {"classes": ["down", "up"]} if y is LABELS else {}
        model.partial_fit(LIST, y, **options)
        again = pickle.loads(pickle.dumps(model))
        np.testing.assert_array_equal(again.predict(LIST), model.predict(LIST))
        # and both go on in the same way
        model.partial_fit(LIST, y)
        again.partial_fit(LIST, y)
        np.testing.assert_array_equal(again.predict(LIST), model.predict(LIST))
        assert again.loss_curve_ == model.loss_curve_ and len(again.loss_curve_) == 2


def test_taken_apart_and_put_together():
    steps = [x[:, 0] for x in LIST]
    frame = pd.DataFrame(TABLE, columns=list("abcdef"))
    for model, X, y in (
        (RNNRegressor(**QUICK), frame, Y),
        (RNNRegressor(early_stopping=True, **QUICK), LIST, steps),
        (RNNRegressor(bidirectional=True, solver="lbfgs", **QUICK), ARRAY, ARRAY),
        (RNNClassifier(num_layers=2, dropout=0.1, **QUICK), LIST, LABELS),
        (RNNClassifier(pooling="max", **QUICK), TABLE, np.arange(30) % 4),
        (RNNClassifier(**QUICK | {"random_state": np.random.RandomState(0)}), TABLE, Y > 0),
    ):
        config, tensors = model.fit(X, y)._to_tensors()
        config = json.loads(json.dumps(config))
        again = type(model)._from_tensors(config, {k: v.copy() for k, v in tensors.items()})
        for a, b in zip(again.predict(X), model.predict(X), strict=True):
            np.testing.assert_array_equal(a, b)
        for name, value in vars(model).items():
            if name.endswith("_") and name not in ("rnn_", "head_", "members_"):
                np.testing.assert_array_equal(getattr(again, name), value, err_msg=name)
        assert again.rnn_.dropout == model.rnn_.dropout and not again.rnn_.training
        assert hasattr(again, "partial_fit") == (model.solver != "lbfgs")


def test_what_does_not_fit_is_not_put_together():
    config, tensors = RNNClassifier(**QUICK).fit(LIST, LABELS)._to_tensors()
    for part, value in (
        ("params", {"hidden": 3}),
        ("params", {"solver": "none"}),
        ("n_features_in", 3),
        ("classes", ["a"]),
        ("classes", [["a"], ["b"]]),
        ("classes_dtype", "V8"),
        ("target", {"steps": True}),
        ("loss_curve", ["a"]),
    ):
        with pytest.raises((TypeError, ValueError)):
            RNNClassifier._from_tensors(config | {part: value}, tensors)
    for name, value in (
        ("x_mean_", np.zeros(3)),
        ("x_mean_", np.zeros(2, np.float32)),
        ("more", np.zeros(2)),
        ("head.weight", np.zeros((2, 6), np.float32)),
    ):
        with pytest.raises((TypeError, ValueError)):
            RNNClassifier._from_tensors(config, tensors | {name: value})


def test_without_scikit_learn():
    code = """
import sys
sys.modules["sklearn"] = None
import numba_rnn as nr
nr.RNN(2, 3)
try:
    nr.estimators
except ModuleNotFoundError as error:
    assert "pip install scikit-learn (" in str(error), error
else:
    raise AssertionError
"""
    python(code)
