"""Weights, validation data, learning rates and losses of a fit."""

import functools
import math

import numpy as np
import pytest
import sklearn
from helpers import assert_same_bits
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_sample_weight_equivalence_on_dense_data

from numba_rnn import losses
from numba_rnn.estimators import RNNClassifier, RNNRegressor, objectives
from numba_rnn.estimators.sequences import spread, weighted_quantiles
from numba_rnn.estimators.training import Training, auto_batch_size

QUICK = {"hidden_size": 5, "max_iter": 4, "n_iter_no_change": np.inf, "random_state": 0}
FULL = QUICK | {"batch_size": 10_000, "dtype": "float64", "max_iter": 10}
RNG = np.random.default_rng(0)
LIST = [RNG.normal(size=(length, 2)) for length in RNG.integers(1, 12, 30)]
Y = np.array([x[-1].sum() for x in LIST])
LABELS = np.arange(30) % 3
STEPS = [x[:, 0] for x in LIST]
STEP_LABELS = [(x[:, 0] > 0).astype(int) for x in LIST]
WEIGHTS = RNG.integers(0, 4, 30)
TWICE = np.repeat(np.arange(30), WEIGHTS)


def weights(model):
    return np.concatenate([model.rnn_.flat_parameters, model.head_.flat_parameters])


def some(values, which):
    if isinstance(values, np.ndarray):
        return values[which]
    return [values[k] for k in which]


# --- weights ------------------------------------------------------------------------------------


KINDS = {
    "numbers": (RNNRegressor(**FULL), Y),
    "two numbers": (RNNRegressor(**FULL, alpha=0.5), np.c_[Y, -Y]),
    "quantiles": (RNNRegressor(**FULL, loss="quantile"), Y),
    "absolute": (RNNRegressor(**FULL, loss="absolute_error"), Y),
    "huber": (RNNRegressor(**FULL, loss="huber"), Y),
    "own": (RNNRegressor(**FULL, loss=losses.mse), Y),
    "labels": (RNNClassifier(**FULL), LABELS),
    "balanced": (RNNClassifier(**FULL, class_weight="balanced"), LABELS),
    "given": (RNNClassifier(**FULL, class_weight={0: 3, 2: 0.5}), LABELS),
    "steps": (RNNRegressor(**FULL), STEPS),
    "steps, alpha": (RNNRegressor(**FULL, alpha=0.5), STEPS),
    "steps, lbfgs": (
        RNNRegressor(**FULL | {"max_iter": 200, "tol": 1e-3}, solver="lbfgs", alpha=0.5), STEPS,
    ),
    "labels of steps": (RNNClassifier(**FULL, class_weight="balanced"), STEP_LABELS),
    "lbfgs": (RNNRegressor(**FULL | {"max_iter": 200, "tol": 1e-3}, solver="lbfgs"), Y),
    "lbfgs, alpha": (
        RNNClassifier(**FULL | {"max_iter": 200, "tol": 1e-3}, solver="lbfgs", alpha=0.3), LABELS,
    ),
    "truncated": (RNNRegressor(**FULL, truncation=3, pooling="mean"), Y),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:max_iter=:sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_a_weight_is_as_many_series(kind):
    """In batches of all the data; 0 is no series at all."""
    model, y = KINDS[kind]
    # a penalty is scaled by the series, or what they weigh, and so by each of them alike
    weighted = clone(model).fit(LIST, y, sample_weight=WEIGHTS)
    repeated = clone(model).fit(some(LIST, TWICE), some(y, TWICE))
    tolerance = {"rtol": 1e-6, "atol": 1e-8} if "lbfgs" not in kind else {"atol": 0.02}
    np.testing.assert_allclose(weighted.x_mean_, repeated.x_mean_, rtol=1e-12)
    np.testing.assert_allclose(weighted.x_scale_, repeated.x_scale_, rtol=1e-12)
    np.testing.assert_allclose(weights(weighted), weights(repeated), **tolerance)
    if "lbfgs" not in kind:
        np.testing.assert_allclose(weighted.loss_curve_, repeated.loss_curve_, rtol=1e-9)
    # and equal ones change nothing
    even = clone(model).fit(LIST, y, sample_weight=np.full(30, 3.0))
    plain = clone(model).fit(LIST, y)
    if model.alpha == 0 and "lbfgs" not in kind:
        np.testing.assert_allclose(weights(even), weights(plain), rtol=1e-6, atol=1e-8)


def test_a_weight_of_zero_is_no_series_to_the_bit():
    """Whatever the batches, for what weighs nothing never gets into one."""
    seen = np.flatnonzero(WEIGHTS)
    ones = (WEIGHTS > 0).astype(float)
    options = QUICK | {"batch_size": 7}
    X = [*LIST[:-1], np.full((3, 2), 1e6)]
    ones[-1] = 0
    seen = seen[seen < 29]
    for model, y in (
        (RNNRegressor(**options), Y),
        (RNNRegressor(**options), STEPS),
        (RNNClassifier(**options), LABELS),
    ):
        y = [*list(y)[:-1], np.zeros(3)] if y is STEPS else y
        one = clone(model).fit(X, y, sample_weight=ones)
        other = clone(model).fit(some(X, seen), some(y, seen), sample_weight=np.ones(len(seen)))
        assert_same_bits(weights(one), weights(other))
        bare = clone(model).fit(some(X, seen), some(y, seen))
        np.testing.assert_allclose(weights(one), weights(bare), rtol=1e-4, atol=1e-6)
        assert one.predict(X) is not None
    labels = RNNClassifier(**options).fit(LIST, LABELS, sample_weight=LABELS > 0)
    assert labels.classes_.tolist() == [1, 2]


def test_scikit_learns_check_of_weights():
    """It compares fits of other batches, and these are equal where a batch is all of the data."""
    for kind in (RNNClassifier, RNNRegressor):
        model = kind(**FULL | {"shuffle": False})
        check_sample_weight_equivalence_on_dense_data(kind.__name__, model)


def test_weights_of_partial_fit():
    model = RNNRegressor(**QUICK)
    for _ in range(4):
        model.partial_fit(LIST, Y, sample_weight=WEIGHTS)
    whole = RNNRegressor(**QUICK).fit(LIST, Y, sample_weight=WEIGHTS)
    assert_same_bits(weights(model), weights(whole))
    first = RNNClassifier(**QUICK).partial_fit(LIST, LABELS, [0, 1, 2], WEIGHTS)
    plain = RNNClassifier(**QUICK).partial_fit(LIST, LABELS, [0, 1, 2])
    assert (weights(first) != weights(plain)).any()
    with pytest.raises(ValueError, match='class_weight must not be "balanced" for partial_fit'):
        RNNClassifier(class_weight="balanced").partial_fit(LIST, LABELS, [0, 1, 2])


def test_class_weight_is_a_weight_of_each_series():
    each = np.array([2.0, 1.0, 0.25])
    one = RNNClassifier(**FULL, class_weight={0: 2, np.int64(2): 0.25}).fit(LIST, LABELS)
    other = RNNClassifier(**FULL, standardize=True).fit(LIST, LABELS)
    assert (weights(one) != weights(other)).any()
    bare = {"standardize": False}
    one = RNNClassifier(**FULL, **bare, class_weight={0: 2, 2: 0.25}).fit(LIST, LABELS)
    other = RNNClassifier(**FULL, **bare).fit(LIST, LABELS, sample_weight=each[LABELS])
    np.testing.assert_allclose(weights(one), weights(other), rtol=1e-9, atol=1e-12)
    rare = np.where(np.arange(30) < 27, 0, 1)
    balanced = RNNClassifier(**FULL, **bare, class_weight="balanced").fit(LIST, rare)
    other = RNNClassifier(**FULL, **bare, class_weight={0: 30 / 54, 1: 5}).fit(LIST, rare)
    np.testing.assert_allclose(weights(balanced), weights(other), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (np.ones(29), r"sample_weight must have shape \(30,\), one weight a series, got \(29,\)"),
        (np.ones((30, 1)), "sample_weight must have shape"),
        (1.0, "sample_weight must have shape"),
        (np.r_[np.ones(29), -1], "sample_weight must not be negative, got -1"),
        (np.zeros(30), "sample_weight must not be zero for all series"),
        (np.r_[np.ones(29), np.nan], "sample_weight contains NaN"),
        (np.r_[np.ones(29), np.inf], "sample_weight contains infinity"),
        (["a"] * 30, "could not convert"),
        (np.ma.masked_array(np.ones(30), np.arange(30) == 3), "sample_weight must have no masked"),
    ],
)
def test_bad_weights(given, words):
    model = RNNClassifier(**QUICK).fit(LIST, LABELS)
    before = weights(model).copy()
    for call in (model.fit, model.partial_fit):
        with pytest.raises((TypeError, ValueError), match=words):
            call(LIST, LABELS, sample_weight=given)
    assert_same_bits(weights(model), before)
    assert model.n_iter_ == 4
    with pytest.raises((TypeError, ValueError), match=words):
        RNNRegressor(**QUICK).fit(LIST, STEPS, given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("even", "class_weight must be None"),
        (3, "class_weight must be None"),
        ({7: 1.0}, "class_weight must have labels of y alone, got 7"),
        ({0: -1.0}, r"class_weight\[0\] must"),
        ({0: np.nan}, r"class_weight\[0\] must"),
        ({0: 0, 1: 0, 2: 0}, "class_weight must not be 0 for all"),
    ],
)
def test_bad_class_weights(given, words):
    model = RNNClassifier(**QUICK).fit(LIST, LABELS)
    before = weights(model).copy()
    with pytest.raises((TypeError, ValueError), match=words):
        model.set_params(class_weight=given).fit(LIST, LABELS)
    assert_same_bits(weights(model), before)


def test_weights_are_routed():
    X = np.stack([np.resize(x, (8, 2)) for x in LIST])
    w = np.ones(30)
    with sklearn.config_context(enable_metadata_routing=True):
        model = RNNClassifier(**QUICK).set_fit_request(sample_weight=True)
        model.set_score_request(sample_weight=True)
        scores = cross_val_score(model, X, LABELS, cv=2, params={"sample_weight": w})
        assert np.isfinite(scores).all()
        search = GridSearchCV(model, {"hidden_size": [2, 3]}, cv=2)
        search.fit(X, LABELS, sample_weight=np.arange(30.0))
        alone = clone(search.best_estimator_).fit(X, LABELS, sample_weight=np.arange(30.0))
        assert_same_bits(weights(search.best_estimator_), weights(alone))
        flat = X.reshape(30, -1)
        pipeline = make_pipeline(RNNClassifier(**QUICK).set_fit_request(sample_weight=True))
        pipeline.fit(flat, LABELS, sample_weight=np.arange(30.0))
    alone = RNNClassifier(**QUICK).fit(flat, LABELS, np.arange(30.0))
    assert_same_bits(weights(pipeline[-1]), weights(alone))


@pytest.mark.parametrize("kind", [RNNClassifier, RNNRegressor])
def test_each_fold_gets_its_weights(kind):
    """In cross_validate and GridSearchCV, for arrays and lists, to fit and to score."""
    y = LABELS if kind is RNNClassifier else np.arange(30.0)
    w = np.linspace(0.5, 2, 30)
    cv = KFold(2)
    with sklearn.config_context(enable_metadata_routing=True):
        model = kind(**QUICK).set_fit_request(sample_weight=True)
        model.set_score_request(sample_weight=True)
        for X in (LIST, np.stack([np.resize(x, (8, 2)) for x in LIST])):
            found = cross_validate(
                model, X, y, cv=cv, params={"sample_weight": w}, return_estimator=True
            )
            search = GridSearchCV(model, {"hidden_size": [5]}, cv=cv, refit=False)
            search.fit(X, y, sample_weight=w)
            for k, (train, test) in enumerate(cv.split(y)):
                own = kind(**QUICK).fit(some(X, train), some(y, train), w[train])
                assert_same_bits(weights(found["estimator"][k]), weights(own))
                score = own.score(some(X, test), some(y, test), w[test])
                assert found["test_score"][k] == score
                assert search.cv_results_[f"split{k}_test_score"][0] == score
                plain = kind(**QUICK).fit(some(X, train), some(y, train))
                assert (weights(plain) != weights(own)).any()
        model.set_fit_request(sample_weight=False)
        found = cross_validate(
            model, X, y, cv=cv, params={"sample_weight": w}, return_estimator=True
        )
        assert_same_bits(weights(found["estimator"][1]), weights(plain))
        unsaid = kind(**QUICK)
        with pytest.raises(ValueError, match="sample_weight"):
            cross_validate(unsaid, X, y, cv=cv, params={"sample_weight": w})


def test_weighted_measures():
    rows, w = RNG.normal(size=(30, 3)), WEIGHTS[WEIGHTS > 0].astype(float)
    kept = rows[WEIGHTS > 0]
    for mine, theirs in zip(spread(kept, weights=w), spread(rows[TWICE]), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12)
    found = weighted_quantiles(rows, WEIGHTS.astype(float), (0.1, 0.5, 0.9))
    for q, level in enumerate((0.1, 0.5, 0.9)):
        expected = np.quantile(rows[TWICE], level, axis=0, method="inverted_cdf")
        np.testing.assert_array_equal(found[q], expected)


def test_weights_of_a_score():
    for model, y in (
        (RNNRegressor(**QUICK), Y),
        (RNNRegressor(**QUICK), STEPS),
        (RNNClassifier(**QUICK), LABELS),
        (RNNClassifier(**QUICK), STEP_LABELS),
    ):
        model.fit(LIST, y)
        expected = model.score(some(LIST, TWICE), some(y, TWICE))
        assert model.score(LIST, y, WEIGHTS) == pytest.approx(expected, rel=1e-9)
        assert model.score(LIST, y) != pytest.approx(expected, rel=1e-6)
        for given in (-WEIGHTS, np.zeros(30), WEIGHTS[1:], np.full(30, np.nan)):
            with pytest.raises(ValueError, match="sample_weight"):
                model.score(LIST, y, given)


# --- validation data ----------------------------------------------------------------------------


OTHER = [RNG.normal(size=(length, 2)) for length in RNG.integers(1, 12, 20)]
OTHER_Y = np.array([x[-1].sum() for x in OTHER])


def test_validation_losses():
    model = RNNRegressor(**QUICK).fit(LIST, Y, validation_data=(OTHER, OTHER_Y))
    plain = RNNRegressor(**QUICK).fit(LIST, Y)
    assert_same_bits(weights(model), weights(plain))
    assert plain.validation_losses_ is None and plain.validation_scores_ is None
    assert len(model.validation_losses_) == len(model.validation_scores_) == 4
    unit = model.y_scale_[0]
    expected = np.mean(((model.predict(OTHER) - OTHER_Y) / unit) ** 2)
    assert model.validation_losses_[-1] == pytest.approx(expected, rel=1e-5)
    assert model.validation_scores_[-1] == pytest.approx(model.score(OTHER, OTHER_Y), rel=1e-5)
    labels = RNNClassifier(**QUICK).fit(LIST, LABELS, validation_data=(OTHER, np.arange(20) % 3))
    proba = labels.predict_proba(OTHER)[np.arange(20), np.arange(20) % 3]
    assert labels.validation_losses_[-1] == pytest.approx(-np.log(proba).mean(), rel=1e-5)
    held_back = RNNRegressor(early_stopping=True, **QUICK).fit(LIST, Y)
    assert len(held_back.validation_losses_) == 4
    steps = RNNRegressor(**QUICK).fit(
        LIST, STEPS, validation_data=(OTHER, [x[:, 1] for x in OTHER])
    )
    assert len(steps.validation_losses_) == 4


def test_early_stopping_goes_by_validation_data():
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(60, 5)), rng.normal(size=60)  # noise: only memorised
    data = rng.normal(size=(40, 5)), rng.normal(size=40)
    options = {"learning_rate_init": 0.02, "random_state": 0, "batch_size": 10}
    model = RNNRegressor(16, early_stopping=True, n_iter_no_change=8, **options)
    model.fit(X, y, validation_data=data)
    best = int(np.argmax(model.validation_scores_)) + 1
    assert best < model.n_iter_ < 200
    exact = {"n_iter_no_change": np.inf, "max_iter": best}
    again = RNNRegressor(16, **options | exact).fit(X, y)  # on all of X: nothing is held back
    assert_same_bits(weights(again), weights(model))


def test_validation_data_belongs_to_a_checkpoint(tmp_path):
    options = QUICK | {"checkpoint": tmp_path / "c"}
    RNNRegressor(**options).fit(LIST, Y, validation_data=(OTHER, OTHER_Y))
    model = RNNRegressor(**options).fit(LIST, Y, validation_data=(OTHER, OTHER_Y))
    assert len(model.validation_losses_) == 4
    for data in (None, (OTHER, -OTHER_Y), (OTHER[1:], OTHER_Y[1:])):
        with pytest.raises(ValueError, match="other X or y"):
            RNNRegressor(**options).fit(LIST, Y, validation_data=data)
    with pytest.raises(ValueError, match="other X or y"):
        RNNRegressor(**options).fit(LIST, Y, WEIGHTS, validation_data=(OTHER, OTHER_Y))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (OTHER, r"validation_data must be a tuple \(X, y\)"),
        ((OTHER, OTHER_Y, OTHER_Y), r"validation_data must be a tuple"),
        ((OTHER, OTHER_Y[1:]), "in validation_data, .*inconsistent"),
        (([x[:, :1] for x in OTHER], OTHER_Y), "in validation_data, X has 1 features"),
        ((OTHER, np.c_[OTHER_Y, OTHER_Y]), "in validation_data, y must have the form"),
        ((OTHER, None), "in validation_data"),
    ],
)
def test_bad_validation_data(data, words):
    model = RNNRegressor(**QUICK).fit(LIST, Y)
    before = weights(model).copy()
    with pytest.raises((TypeError, ValueError), match=words):
        model.fit(LIST, Y, validation_data=data)
    assert_same_bits(weights(model), before)
    with pytest.raises(ValueError, match=r"in validation_data, y must hold labels of classes_"):
        RNNClassifier(**QUICK).fit(LIST, LABELS, validation_data=(OTHER, np.arange(20)))


# --- learning rates -----------------------------------------------------------------------------


def rates(monkeypatch, **options):
    """Learning rates of the epochs of a fit."""
    seen, real = [], Training._epoch

    def epoch(self, *data):
        loss = real(self, *data)
        seen.append(self.optimizer.lr)
        return loss

    with monkeypatch.context() as patched:
        patched.setattr(Training, "_epoch", epoch)
        model = RNNRegressor(**QUICK | options).fit(LIST, Y)
    return np.array(seen), model


def test_learning_rates(monkeypatch):
    constant, _ = rates(monkeypatch, max_iter=20)
    assert (constant == RNNRegressor().learning_rate_init).all()
    cosine, _ = rates(monkeypatch, max_iter=20, learning_rate="cosine", learning_rate_init=0.5)
    np.testing.assert_allclose(cosine, [0.25 * (1 + math.cos(math.pi * k / 20)) for k in range(20)])
    plateau, model = rates(
        monkeypatch, max_iter=60, learning_rate="plateau", learning_rate_init=0.05, tol=0.05
    )
    assert plateau[0] == 0.05 and plateau[-1] < 0.05
    late = RNNRegressor(**QUICK, learning_rate="cosine")
    for _ in range(6):  # after its last epoch it goes on with the last rate
        late.partial_fit(LIST, Y)
    assert late.n_iter_ == 6
    best, stalled, expected = math.inf, 0, 0.05
    constant = model._begin(LIST, Y)[0].trainings[0].constant
    for rate, loss in zip(plateau, model.loss_curve_, strict=True):
        assert rate == pytest.approx(expected)
        stalls, best = loss > best - 0.05, min(loss, best)
        stalled = stalled + 1 if stalls and best <= 0.95 * constant else 0
        if stalled and stalled % 5 == 0:
            expected /= 2


def test_learning_rates_and_checkpoints(tmp_path):
    """What a rate depends on may not change."""
    options = QUICK | {"checkpoint": tmp_path / "c", "learning_rate": "cosine"}
    RNNRegressor(**options).fit(LIST, Y)
    with pytest.raises(ValueError, match="written with max_iter=4, not 9"):
        RNNRegressor(**options | {"max_iter": 9}).fit(LIST, Y)
    options |= {"checkpoint": tmp_path / "d", "learning_rate": "plateau"}
    RNNRegressor(**options).fit(LIST, Y)
    RNNRegressor(**options | {"max_iter": 9}).fit(LIST, Y)
    with pytest.raises(ValueError, match=r"written with tol=0\.0001, not 0\.1"):
        RNNRegressor(**options | {"tol": 0.1}).fit(LIST, Y)


def test_bad_learning_rates():
    with pytest.raises(ValueError, match="learning_rate must be"):
        RNNRegressor(**QUICK, learning_rate="adaptive").fit(LIST, Y)
    with pytest.raises(ValueError, match='learning_rate must be "constant" with solver="lbfgs"'):
        RNNRegressor(**QUICK, learning_rate="cosine", solver="lbfgs").fit(LIST, Y)


def test_auto_batches():
    assert [auto_batch_size(n) for n in (1, 50, 256, 1000, 10**6)] == [16, 16, 16, 63, 200]


# --- losses -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_objectives_are_the_weighted_losses_of_the_package(dtype):
    x = RNG.normal(size=(20, 5)).astype(dtype)
    y, w = RNG.normal(size=(20, 5)).astype(dtype), RNG.random((20, 1)) + 0.1
    classes = RNG.integers(0, 5, 20)
    for mine, theirs in (
        (objectives.squared_error(x, y, w), losses.mse(x, y, w)),
        (objectives.absolute_error(x, y, w), losses.mae(x, y, w)),
        (objectives.absolute_error(x, y), losses.mae(x, y)),
        (objectives.huber(x, y, w), losses.huber(x, y, w)),
        (objectives.huber(x, y), losses.huber(x, y)),
        (objectives.cross_entropy(x, classes, w), losses.cross_entropy(x, classes, w[:, 0])),
    ):
        assert mine[0] == pytest.approx(theirs[0], rel=1e-12)
        np.testing.assert_allclose(mine[1], theirs[1], rtol=1e-5, atol=1e-9)
        assert mine[1].dtype == dtype


def test_pinball_loss_by_hand():
    loss = objectives.Quantile((0.1, 0.8))
    value, gradient = loss(np.array([[1.0, 1.0]]), np.array([[3.0]]))
    assert value == pytest.approx((0.1 * 2 + 0.8 * 2) / 2)
    np.testing.assert_allclose(gradient, [[-0.05, -0.4]])
    value, gradient = loss(np.array([[1.0, 1.0]]), np.array([[0.0]]))
    assert value == pytest.approx((0.9 * 1 + 0.2 * 1) / 2)
    np.testing.assert_allclose(gradient, [[0.45, 0.1]])
    x, y, w = RNG.normal(size=(7, 4)), RNG.normal(size=(7, 2)), RNG.random((7, 1))
    _, gradient = loss(x, y, w)
    for index in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[index] += 1e-6
        down[index] -= 1e-6
        slope = (loss(up, y, w)[0] - loss(down, y, w)[0]) / 2e-6
        assert gradient[index] == pytest.approx(slope, abs=1e-7)


NOISE = np.random.default_rng(3)
LINE = NOISE.normal(size=(400, 3, 1))
SKEWED = LINE[:, -1, 0] + NOISE.exponential(1.0, 400)


def test_quantiles_hold_their_share():
    model = RNNRegressor(
        8, loss="quantile", quantiles=(0.1, 0.5, 0.9), max_iter=60, n_iter_no_change=np.inf,
        learning_rate="cosine", random_state=0,
    ).fit(LINE, SKEWED)  # fmt: skip
    found = model.predict_quantiles(LINE)
    assert found.shape == (400, 3) and (np.diff(found, axis=1) >= 0).all()
    np.testing.assert_allclose((SKEWED[:, None] <= found).mean(axis=0), [0.1, 0.5, 0.9], atol=0.05)
    np.testing.assert_array_equal(model.predict(LINE), found[:, 1])
    assert model.score(LINE, SKEWED) > 0.2


def test_losses_are_what_is_minimised():
    """Of a target that X says nothing of, the mean, the median and one between them are learned."""
    X, y = np.zeros((300, 3)), np.random.default_rng(0).exponential(1.0, 300)
    options = QUICK | {"max_iter": 150, "learning_rate": "cosine", "learning_rate_init": 0.01}
    found = {
        name: RNNRegressor(**options, loss=name).fit(X, y).predict(X[:1])[0]
        for name in ("squared_error", "absolute_error", "huber")
    }
    assert found["squared_error"] == pytest.approx(y.mean(), abs=0.03)
    assert found["absolute_error"] == pytest.approx(np.median(y), abs=0.03)
    assert np.median(y) + 0.03 < found["huber"] < y.mean() - 0.03


def test_quantiles_of_many_forms():
    for y, shape in ((np.c_[Y, Y], (30, 2, 3)), (Y[:, None], (30, 1, 3)), (Y, (30, 3))):
        model = RNNRegressor(**QUICK, loss="quantile").fit(LIST, y)
        assert model.predict_quantiles(LIST).shape == shape
        assert model.predict(LIST).shape == np.shape(y)
    model = RNNRegressor(**QUICK, loss="quantile").fit(LIST, STEPS)
    assert [a.shape for a in model.predict_quantiles(LIST)] == [(len(x), 3) for x in LIST]
    assert [a.shape for a in model.predict(LIST)] == [(len(x),) for x in LIST]
    lower = RNNRegressor(**QUICK, loss="quantile", quantiles=[0.2]).fit(LIST, Y)
    np.testing.assert_array_equal(lower.predict_quantiles(LIST)[:, 0], lower.predict(LIST))
    assert not hasattr(RNNRegressor(), "predict_quantiles")
    with pytest.raises(sklearn.exceptions.NotFittedError):
        RNNRegressor(loss="quantile").predict_quantiles(LIST)


def test_a_model_predicts_as_it_was_fitted():
    """Whatever was set since then, and refused."""
    for options, later in (
        ({}, {"loss": "quantile"}),
        ({"loss": "quantile"}, {"loss": "squared_error"}),
        ({"loss": "quantile"}, {"quantiles": (0.5,)}),
        ({}, {"loss": "mse"}),
    ):
        model = RNNRegressor(**QUICK, **options).fit(LIST, Y)
        expected = model.predict(LIST)
        model.set_params(**later)
        with pytest.raises((TypeError, ValueError)):
            model.fit(LIST, None)
        np.testing.assert_array_equal(model.predict(LIST), expected)
        if later != {"loss": "mse"}:
            again = RNNRegressor._from_tensors(*model._to_tensors())
            np.testing.assert_array_equal(again.predict(LIST), expected)
            with pytest.raises(ValueError, match="the quantiles must stay those of the network"):
                model.set_params(warm_start=True).fit(LIST, Y)
    model = RNNRegressor(**QUICK).fit(LIST, Y).set_params(loss="quantile")
    with pytest.raises(ValueError, match=r"predict_quantiles needs a fit with loss=.quantile."):
        model.predict_quantiles(LIST)


def own(prediction, target, weights):
    return losses.mse(prediction, target, weights)


def test_a_loss_of_ones_own(tmp_path):
    model = RNNRegressor(**QUICK, loss=own).fit(LIST, Y)
    named = RNNRegressor(**QUICK).fit(LIST, Y)
    np.testing.assert_allclose(weights(model), weights(named), rtol=1e-4, atol=1e-6)
    RNNRegressor(**QUICK, loss=own, checkpoint=tmp_path / "c").fit(LIST, Y)
    with pytest.raises(ValueError, match=r"written with loss='.*own', not 'squared_error'"):
        RNNRegressor(**QUICK, checkpoint=tmp_path / "c").fit(LIST, Y)
    with pytest.raises(TypeError, match="loss must be a name to be saved"):
        model._to_tensors()
    for bad, words in (
        (lambda x, y, w: 1.0, r"loss must return a tuple \(value, gradient\)"),
        (lambda x, y, w: (1.0, x[:, 0]), "loss must return a gradient of shape"),
    ):
        fresh = RNNRegressor(**QUICK, loss=bad)
        with pytest.raises((TypeError, ValueError), match=words):
            fresh.fit(LIST, Y)
        assert not hasattr(fresh, "rnn_")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"loss": "mse"}, "loss must be"),
        ({"loss": 3}, "loss must be"),
        ({"loss": "quantile", "quantiles": ()}, "quantiles must be one or more that rise"),
        ({"loss": "quantile", "quantiles": (0.5, 0.1)}, "quantiles must be one or more that rise"),
        ({"loss": "quantile", "quantiles": (0.5, 0.5)}, "quantiles must be one or more that rise"),
        ({"loss": "quantile", "quantiles": (0.0, 0.5)}, r"quantiles\[0\] must"),
        ({"loss": "quantile", "quantiles": (0.5, 1.0)}, r"quantiles\[1\] must"),
        ({"loss": "quantile", "quantiles": 0.5}, "quantiles must be a sequence"),
        ({"loss": "quantile", "quantiles": "0.5"}, "quantiles must be a sequence"),
    ],
)
def test_bad_losses(options, words):
    with pytest.raises((TypeError, ValueError), match=words):
        RNNRegressor(**QUICK | options).fit(LIST, Y)


def test_weights_matter_as_they_do_elsewhere():
    """A class that is weighed up is predicted more often, as by logistic regression."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4))
    y = (X[:, 0] + rng.normal(0, 1.5, 300) > 1).astype(int)
    options = {"max_iter": 40, "n_iter_no_change": np.inf, "random_state": 0}
    shares = []
    for model in (RNNClassifier(4, **options), LogisticRegression()):
        plain, heavy = (
            clone(model).set_params(class_weight=w).fit(X, y).predict(X).mean()
            for w in (None, "balanced")
        )
        shares.append((plain, heavy))
        assert heavy > plain + 0.05


@pytest.mark.parametrize("early_stopping", [True, False])
def test_validation_data_of_numbers_are_two_at_least(early_stopping):
    """R² of one is no number, and the weights that a fit began with would be the best."""
    model = RNNRegressor(**QUICK, early_stopping=early_stopping)
    with pytest.raises(ValueError, match="in validation_data, y must have two targets at least"):
        model.fit(LIST, Y, validation_data=(OTHER[:1], OTHER_Y[:1]))
    assert not hasattr(model, "members_")
    long = [np.ones((4, 2))], [np.arange(4.0)]  # but one series of some steps has several
    assert len(clone(model).fit(LIST, STEPS, validation_data=long).validation_scores_) == 4
    labels = RNNClassifier(**QUICK, early_stopping=early_stopping)
    assert len(labels.fit(LIST, LABELS, None, (OTHER[:1], [1])).validation_scores_) == 4


def test_early_stopping_on_targets_that_are_all_equal(tmp_path):
    """R² is 0 whatever is predicted, and so the loss says which weights are best."""
    data = [np.r_[x, [[1.0, 1.5]]] for x in OTHER], np.full(20, 2.5)
    options = QUICK | {"max_iter": 12, "learning_rate_init": 0.02}
    model = RNNRegressor(early_stopping=True, **options).fit(LIST, Y, validation_data=data)
    assert set(model.validation_scores_) == {0.0}
    best = int(np.argmin(model.validation_losses_)) + 1
    assert best > 1
    both = RNNRegressor(**options)  # and where it is one of two, the score is that of the other
    both.fit(LIST, np.c_[Y, Y], validation_data=(data[0], np.c_[OTHER_Y, data[1]]))
    found = r2_score(OTHER_Y, both.predict(data[0])[:, 0]) / 2
    assert both.validation_scores_[-1] == pytest.approx(found, rel=1e-4)
    again = RNNRegressor(**options | {"max_iter": best}).fit(LIST, Y)
    assert_same_bits(weights(again), weights(model))
    # and when it ends, also where a checkpoint is gone on from
    options |= {"max_iter": 300, "n_iter_no_change": 3, "tol": 0.01, "early_stopping": True}
    model = RNNRegressor(**options).fit(LIST, Y, validation_data=data)
    losses_ = np.array(model.validation_losses_)
    assert 4 < model.n_iter_ < 300 and (losses_[-4:] > np.min(losses_[:-4]) - 0.01).all()
    kept = options | {"checkpoint": tmp_path / "c"}
    for _ in range(2):
        kept_model = RNNRegressor(**kept).fit(LIST, Y, validation_data=data)
        assert_same_bits(weights(kept_model), weights(model))


def test_validation_data_measure_nothing():
    """Not even where a target was constant in training: what comes there is no knowledge of it."""
    y = np.c_[Y, np.ones(30)]
    data = OTHER, np.c_[OTHER_Y, 5 + OTHER_Y]
    model = RNNRegressor(**QUICK).fit(LIST, y, validation_data=data)
    plain = RNNRegressor(**QUICK).fit(LIST, y)
    assert_same_bits(model.y_mean_, plain.y_mean_)
    assert_same_bits(model.y_scale_, plain.y_scale_)
    assert_same_bits(weights(model), weights(plain))
    # what a fit goes on with it does measure
    model.set_params(warm_start=True).fit(LIST, np.c_[Y, Y], validation_data=data)
    assert model.y_mean_[1] == pytest.approx(Y.mean()) and model.y_scale_[1] > 0


def test_class_weights_weigh_validation_too():
    other = np.r_[np.zeros(14, int), np.ones(3, int), np.full(3, 2)]
    for given, each in (
        ({0: 3.0, 2: 0.5}, np.array([3.0, 1.0, 0.5])[other]),
        ("balanced", 1 / np.bincount(other)[other]),
        (None, np.ones(20)),
    ):
        model = RNNClassifier(**QUICK, class_weight=given)
        model.fit(LIST, LABELS, validation_data=(OTHER, other))
        score = model.score(OTHER, other, each)
        assert model.validation_scores_[-1] == pytest.approx(score, rel=1e-12)
        each = each / each.sum()
        loss = -each @ np.log(model.predict_proba(OTHER)[np.arange(20), other])
        assert model.validation_losses_[-1] == pytest.approx(loss, rel=1e-5)
    model = RNNClassifier(**QUICK, class_weight={0: 0.0})
    with pytest.raises(ValueError, match="in validation_data, class_weight must not be 0 for all"):
        model.fit(LIST, LABELS, validation_data=(OTHER, np.zeros(20)))


def test_a_part_without_weight_is_refused():
    """With early stopping both parts must weigh something."""
    for steps in (False, True):
        X = [np.ones((2, 1)) * k for k in range(20)]
        few, refused = RNNClassifier(**QUICK, early_stopping=True), set()
        for seed in range(12):
            for count in (1, 3, 17, 19):
                y = np.r_[np.zeros(20 - count, int), np.ones(count, int)]
                y = [np.full(2, label) for label in y] if steps else y
                for zero in (0, 1):
                    model = clone(few).set_params(
                        class_weight={zero: 0}, random_state=seed, max_iter=1
                    )
                    try:
                        model.fit(X, y)
                    except ValueError as error:
                        refused.add(str(error).split(" with early_stopping")[0].split(" are ")[-1])
                        assert not hasattr(model, "members_")
                    else:
                        assert np.isfinite(model.loss_curve_ + model.validation_losses_).all()
        # by labels a series both parts have some of each, or scikit-learn refuses them
        assert "held back" in refused
        if steps:
            assert "trained on" in refused


def test_weights_whose_sum_overflows():
    """What counts is their ratio."""
    huge = np.ldexp(np.maximum(WEIGHTS, 1).astype(float), 1021)
    assert np.isfinite(huge).all() and huge[:3].max() > 1e307
    for model, y in (
        (RNNRegressor(**QUICK, early_stopping=True), Y),
        (RNNRegressor(**QUICK, loss="quantile"), Y),
        (RNNRegressor(**QUICK, solver="lbfgs", tol=1.0), Y),
        (RNNRegressor(**QUICK, pooling="last"), Y),
        (RNNRegressor(**QUICK), STEPS),
        (RNNClassifier(**QUICK, early_stopping=True), LABELS),
    ):
        one = clone(model).fit(LIST, y, sample_weight=huge)
        other = clone(model).fit(LIST, y, sample_weight=np.ldexp(huge, -1000))
        assert_same_bits(weights(one), weights(other))
        assert one.loss_curve_ == other.loss_curve_
        assert np.isfinite(one.loss_curve_).all()
        assert one.validation_scores_ == other.validation_scores_
        assert one.score(LIST, y, huge) == other.score(LIST, y, np.ldexp(huge, -1000))
        constants = [
            model._begin(LIST, y, w)[0].trainings[0].constant for w in (huge, np.ldexp(huge, -1000))
        ]
        assert constants[0] == constants[1] > 0
    even = RNNClassifier(**QUICK, class_weight="balanced")
    one = clone(even).fit(LIST, LABELS, np.full(30, 1e307))
    assert_same_bits(weights(one), weights(clone(even).fit(LIST, LABELS, np.full(30, 1.0))))
    with pytest.raises(ValueError, match="class_weight times sample_weight must be finite"):
        RNNClassifier(**QUICK, class_weight={0: 100}).fit(LIST, LABELS, np.full(30, 1e307))


def test_balanced_weights_of_a_class_that_is_gone():
    """A warm start may be on some of the classes only."""
    model = RNNClassifier(**QUICK, class_weight="balanced", warm_start=True).fit(LIST, LABELS)
    some_of = np.flatnonzero(LABELS > 0)
    model.fit(some(LIST, some_of), LABELS[some_of])
    assert np.isfinite(model.loss_curve_).all() and model.classes_.tolist() == [0, 1, 2]


def test_refused_warm_starts_change_nothing(tmp_path):
    options = QUICK | {"num_layers": 2, "checkpoint": tmp_path / "c"}
    RNNRegressor(**options | {"hidden_size": 3}).fit(LIST, Y)
    model = RNNRegressor(**options | {"checkpoint": None}, n_members=2).fit(LIST, Y)
    before = [(rnn.dropout, rnn._rng) for rnn, _ in model.members_]
    (tmp_path / "c").write_bytes(b"something else")
    model.set_params(warm_start=True, dropout=0.5, checkpoint=tmp_path / "c")
    with pytest.raises(ValueError, match="is not whole or no checkpoint"):
        model.fit(LIST, Y)
    model.set_params(checkpoint=None, early_stopping=True, validation_fraction=0.01)
    with pytest.raises(ValueError, match="two series held back"):
        model.fit(LIST, Y)
    for (dropout, rng), (rnn, _) in zip(before, model.members_, strict=True):
        assert rnn.dropout == dropout and rnn._rng is rng
    model.set_params(early_stopping=False).fit(LIST, Y)
    assert [rnn.dropout for rnn, _ in model.members_] == [0.5, 0.5]
    model.set_params(dropout=0.25).partial_fit(LIST, Y)
    assert [rnn.dropout for rnn, _ in model.members_] == [0.25, 0.25]


def test_members_stay_as_many_in_partial_fit():
    model = RNNRegressor(**QUICK, n_members=2).fit(LIST, Y)
    before = weights(model).copy()
    for optimizer in (model._optimizer_state, None):  # None as after load
        model._optimizer_state = optimizer
        for count in (1, 3):
            with pytest.raises(ValueError, match=f"must keep n_members, 2, got {count}"):
                model.set_params(n_members=count).partial_fit(LIST, Y)
    assert_same_bits(weights(model), before)
    model.set_params(n_members=2).partial_fit(LIST, Y)
    assert model.n_iter_ == 5


def test_a_quiet_training():
    model = RNNRegressor(4, max_iter=2, random_state=0)
    trainings, data = model._begin(LIST, Y)
    with pytest.warns(sklearn.exceptions.ConvergenceWarning):
        trainings.run(data)
    trainings, data = model._begin(LIST, Y)
    trainings.run(data, quiet=True)  # warnings are errors here
    assert trainings.trainings[0].history.n_iter == 2


class Losses:
    """Losses that are of a class, or of an object."""

    @staticmethod
    def static(prediction, target, weights):
        return losses.mse(prediction, target, weights)

    @classmethod
    def of_class(cls, prediction, target, weights):
        return losses.mse(prediction, target, weights)

    def bound(self, prediction, target, weights):
        return losses.mse(prediction, target, weights)

    __call__ = bound


def test_a_checkpoint_knows_a_loss_by_its_name(tmp_path):
    """Two lambdas have one, so that the file of one would go on with the other."""

    def closure(prediction, target, weights):
        return losses.mse(prediction, target, weights)

    for k, loss in enumerate((own, losses.mse, Losses.static, Losses.of_class)):
        options = QUICK | {"loss": loss, "checkpoint": tmp_path / str(k)}
        first = RNNRegressor(**options).fit(LIST, Y)
        assert_same_bits(weights(first), weights(RNNRegressor(**options).fit(LIST, Y)))
    for loss in (
        lambda *given: own(*given), closure, functools.partial(own), Losses(), Losses().bound,
    ):  # fmt: skip
        model = RNNRegressor(**QUICK, loss=loss, checkpoint=tmp_path / "no")
        with pytest.raises(ValueError, match="loss must be a name or a function at the top of a"):
            model.fit(LIST, Y)
        assert not hasattr(model, "members_") and not (tmp_path / "no").exists()
        assert clone(model).partial_fit(LIST, Y).n_iter_ == 1  # which keeps none
        assert model.set_params(checkpoint=None).fit(LIST, Y).n_iter_ == 4


def test_a_loss_that_writes_into_what_it_is_given():
    def greedy(prediction, target, weights):
        prediction -= target
        target[:] = 7
        value = float(np.mean(prediction**2, dtype=np.float64))
        prediction *= 2 / prediction.size
        return value, prediction

    data = OTHER, OTHER_Y
    one = RNNRegressor(**QUICK, loss=greedy).fit(LIST, Y, validation_data=data)
    other = RNNRegressor(**QUICK).fit(LIST, Y, validation_data=data)
    np.testing.assert_allclose(weights(one), weights(other), rtol=1e-4, atol=1e-6)
    for name in ("loss_curve_", "validation_scores_", "validation_losses_"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-4)
