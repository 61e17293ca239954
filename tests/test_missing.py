"""Missing values: what stands for them, how X is filled, and what y leaves out."""

import json
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.metrics import r2_score

import numba_rnn as nr
from numba_rnn.estimators import RNNClassifier, RNNRegressor, missing
from numba_rnn.estimators.missing import Filling
from numba_rnn.estimators.sequences import Sequences

RNG = np.random.default_rng(0)
ARRAY = RNG.normal(size=(30, 6, 2))
Y = ARRAY[:, :, 0].sum(axis=1)
LABELS = np.where(Y > 0, "up", "down")
GAPS = RNG.random((30, 6)) < 0.3
GAPS[:5] = [[True, False, True, True, False, False]]
QUICK = {"hidden_size": 5, "max_iter": 3, "n_iter_no_change": np.inf, "random_state": 0}
FORWARD = QUICK | {"missing": "forward"}
WHOLE = QUICK | {
    "missing": "forward", "batch_size": 100, "shuffle": False, "dtype": "float64",
    "standardize": False,
}  # fmt: skip


def with_gaps():
    """ARRAY with gaps in its first feature."""
    x = ARRAY.copy()
    x[GAPS, 0] = np.nan
    return x


def weights(model):
    return np.concatenate([layer.flat_parameters for pair in model.members_ for layer in pair])


# --- filling ------------------------------------------------------------------------------------


def test_the_last_value_is_carried_forward():
    nan = np.nan
    rows = np.array([[nan, 1.0], [2.0, nan], [nan, nan], [nan, 5.0], [4.0, 6.0], [nan, nan]])
    x = Sequences.of(rows, np.array([3, 3]))
    filling = Filling.of(rows)
    np.testing.assert_array_equal(filling.start, [3.0, 4.0])
    np.testing.assert_array_equal(filling.marked, [0, 1])
    filled, marks = filling.fill(x)
    expected = [[3.0, 1.0], [2.0, 1.0], [2.0, 1.0], [3.0, 5.0], [4.0, 6.0], [4.0, 6.0]]
    np.testing.assert_array_equal(filled, expected)  # nothing goes from one series to the next
    np.testing.assert_array_equal(marks, np.isnan(rows))
    one = Filling(np.array([0.0, 0.0]), np.array([1]))
    np.testing.assert_array_equal(one.fill(x)[1], np.isnan(rows)[:, 1:])
    weighted = Filling.of(rows, np.array([1.0, 3.0, 1.0, 1.0, 1.0, 1.0]))
    np.testing.assert_allclose(weighted.start, [2.5, 4.0])


@pytest.mark.parametrize("value", [0.1, 1.7e308, -3e-320, 0.0])
def test_the_mean_of_a_constant_is_the_constant(value):
    assert missing.mean(np.full(7, value)) == value
    assert missing.mean(np.full(7, value), RNG.random(7)) == value


def test_what_the_network_reads():
    x = with_gaps()
    model = RNNRegressor(**FORWARD, patch=None).fit(x, Y)
    known = x[~GAPS, 0]
    np.testing.assert_allclose(model.filling_.start, [known.mean(), ARRAY[:, :, 1].mean()])
    assert model.filling_.marked.tolist() == [0] and model.rnn_.input_size == 3
    assert model.x_mean_.shape == (2,) and model.n_features_in_ == 2
    # the same network, given by hand what it is to read
    by_hand = np.empty((30, 6, 3))
    for n, series in enumerate(x):
        last = model.filling_.start.copy()
        for t, step in enumerate(series):
            last = np.where(np.isnan(step), last, step)
            by_hand[n, t] = [*((last - model.x_mean_) / model.x_scale_), np.isnan(step[0])]
    plain = RNNRegressor(**QUICK, patch=None, standardize=False).fit(by_hand, Y)
    for ours, theirs in zip(plain.members_[0], model.members_[0], strict=True):
        ours.flat_parameters[:] = theirs.flat_parameters
    plain.y_mean_, plain.y_scale_ = model.y_mean_, model.y_scale_
    np.testing.assert_allclose(plain.predict(by_hand), model.predict(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", [RNNClassifier, RNNRegressor])
def test_without_gaps_nothing_changes(kind):
    y = LABELS if kind is RNNClassifier else Y
    plain, forward = kind(**QUICK).fit(ARRAY, y), kind(**FORWARD).fit(ARRAY, y)
    np.testing.assert_array_equal(weights(forward), weights(plain))
    np.testing.assert_array_equal(forward.predict(ARRAY), plain.predict(ARRAY))
    assert plain.filling_ is None and forward.filling_.marked.size == 0
    # gaps that come later are filled, without an indicator that nobody has learned to read
    filled = ARRAY.copy()
    filled[:, 3] = filled[:, 2]
    late = ARRAY.copy()
    late[:, 3] = np.nan
    np.testing.assert_array_equal(forward.predict(late), plain.predict(filled))
    forward.partial_fit(late, y)
    assert forward.filling_.marked.size == 0


def test_indicators_tell():
    """Whether a value is there is all that is to be learned."""
    x = np.ones((60, 8))
    y = np.arange(60) % 2
    x[y == 1, 3] = np.nan
    options = {"random_state": 0, "hidden_size": 8, "learning_rate_init": 0.01, "max_iter": 40}
    model = RNNClassifier(missing="forward", n_iter_no_change=np.inf, **options).fit(x, y)
    assert model.score(x, y) == 1.0


# --- what stands for a missing value ------------------------------------------------------------


def test_all_that_is_missing():
    x = with_gaps()
    model = RNNRegressor(**FORWARD).fit(x, Y)
    expected = model.predict(x)
    masked = np.ma.masked_array(ARRAY, np.isnan(x))
    names = ["a", "b"]
    objects = x.astype(object)
    objects[np.isnan(x)] = None
    forms = {
        "masked array": masked,
        "objects with None": objects,
        "lists with None": objects.tolist(),
        "objects with NA": np.where(np.isnan(x), pd.NA, objects),
        "lists with NA": np.where(np.isnan(x), pd.NA, objects).tolist(),
        "list of arrays": list(x),
        "list of masked arrays": list(masked),
        "list of frames": [pd.DataFrame(one, columns=names) for one in x],
        "frames of pandas' dtypes": [
            pd.DataFrame(one, columns=names).convert_dtypes() for one in x
        ],
        "frames of objects": [pd.DataFrame(one, columns=names, dtype=object) for one in objects],
        "frames of polars": [
            pl.DataFrame({n: one[:, k].tolist() for k, n in enumerate(names)}, strict=False)
            for one in objects
        ],
    }
    for name, form in forms.items():
        np.testing.assert_array_equal(model.predict(form), expected, err_msg=name)
        again = clone(model).fit(form, Y)
        np.testing.assert_array_equal(weights(again), weights(model), err_msg=name)
    # float32 has other values, but the same gaps
    assert clone(model).fit(x.astype(np.float32), Y).filling_.marked.tolist() == [0]


def test_all_that_is_missing_in_tables():
    x = with_gaps()[:, :, 0]
    names = list("abcdef")
    model = RNNRegressor(**FORWARD).fit(pd.DataFrame(x, columns=names), Y)
    expected = model.predict(pd.DataFrame(x, columns=names))
    nothing = x.astype(object)
    nothing[np.isnan(x)] = pd.NA
    for form in (
        pd.DataFrame(x, columns=names).convert_dtypes(),
        pd.DataFrame(nothing, columns=names),
        pl.DataFrame(
            {n: [None if np.isnan(v) else v for v in x[:, k]] for k, n in enumerate(names)}
        ),
    ):
        np.testing.assert_array_equal(model.predict(form), expected)
        again = clone(model).fit(form, Y)
        assert again.feature_names_in_.tolist() == names
        np.testing.assert_array_equal(weights(again), weights(model))
    no_names = RNNRegressor(**FORWARD)
    for form in (x, np.ma.masked_invalid(x), nothing, nothing.tolist(), list(x)):
        np.testing.assert_array_equal(weights(no_names.fit(form, Y)), weights(model))


def test_without_forward_all_of_them_are_errors():
    x = with_gaps()
    nothing = x.astype(object)
    nothing[np.isnan(x)] = pd.NA
    words = r'X(\[\d+\])? contains NaN, \d+ in all, the first at index .*missing="forward"'
    for model in (RNNRegressor(**QUICK), RNNClassifier(**QUICK)):
        y = Y if isinstance(model, RNNRegressor) else LABELS
        for form in (
            x,
            list(x),
            x.tolist(),
            nothing,
            x[:, :, 0],
            [pd.DataFrame(o) for o in nothing],
        ):
            with pytest.raises(ValueError, match=words):
                model.fit(form, y)
        with pytest.raises(ValueError, match="X must have no masked entries"):
            model.fit(np.ma.masked_invalid(x), y)
        assert not hasattr(model, "filling_")
        model.fit(ARRAY, y)
        with pytest.raises(ValueError, match=words):
            model.predict(x)
        model.set_params(missing="forward")  # a model predicts as it was fitted
        with pytest.raises(ValueError, match=words):
            model.predict(x)


# --- targets ------------------------------------------------------------------------------------


def test_a_series_without_a_target_is_no_series():
    y = Y.copy()
    y[[2, 7]] = np.nan
    keep = ~np.isnan(y)
    x = with_gaps()
    for options in ({}, {"early_stopping": True}, {"standardize": True}, {"n_members": 2}):
        settings = FORWARD | options
        model = RNNRegressor(**settings).fit(x, y)
        without = RNNRegressor(**settings).fit(x[keep], y[keep])
        np.testing.assert_array_equal(weights(model), weights(without))
        assert model.score(x, y) == without.score(x[keep], y[keep])
    many = RNG.random(30) + 0.5
    np.testing.assert_array_equal(
        weights(RNNRegressor(**FORWARD).fit(x, y, many)),
        weights(RNNRegressor(**FORWARD).fit(x[keep], y[keep], many[keep])),
    )
    for form in (
        np.ma.masked_invalid(y),
        [None if np.isnan(v) else v for v in y],
        pd.Series(y).convert_dtypes(),
        pl.Series([None if np.isnan(v) else v for v in y]),
        pd.Series([pd.NA if np.isnan(v) else v for v in y]),
    ):
        np.testing.assert_array_equal(weights(RNNRegressor(**FORWARD).fit(x, form)),
                                      weights(RNNRegressor(**FORWARD).fit(x, y)))  # fmt: skip


LOSSES = ["squared_error", "absolute_error", "huber", "quantile"]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("alpha", [0.0, 0.1])
def test_steps_without_targets_are_masked(loss, alpha):
    """Where they are the last ones, it is as if they were cut off."""
    y = ARRAY[:, :, :1].cumsum(axis=1)
    y[:, 4:] = np.nan
    settings = WHOLE | {"loss": loss, "alpha": alpha, "bidirectional": False}
    model = RNNRegressor(**settings).fit(ARRAY, y)
    cut = RNNRegressor(**settings).fit(ARRAY[:, :4], y[:, :4])
    np.testing.assert_allclose(weights(model), weights(cut), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(model.loss_curve_, cut.loss_curve_, rtol=1e-9)
    np.testing.assert_allclose(model.predict(ARRAY)[:, :4], cut.predict(ARRAY[:, :4]), rtol=1e-8)
    score = model.score(ARRAY, y)
    np.testing.assert_allclose(score, cut.score(ARRAY[:, :4], y[:, :4]), rtol=1e-8)
    one = [series[:, 0] for series in y]
    listed = RNNRegressor(**settings).fit(list(ARRAY), one)
    np.testing.assert_array_equal(weights(listed), weights(model))


@pytest.mark.parametrize("loss", LOSSES)
def test_some_of_several_targets(loss):
    """The loss is the mean over what is known, with its gradient; R² one of each target."""
    y = np.stack([Y, ARRAY[:, -1, 1]], axis=1)
    y[:12, 0] = np.nan
    y[9:20, 1] = np.nan
    settings = WHOLE | {"loss": loss, "patch": None}
    model = RNNRegressor(**settings | {"max_iter": 1}).fit(ARRAY, y)
    still = settings | {"max_iter": 1, "learning_rate_init": 1e-300}
    begun = RNNRegressor(**still).fit(ARRAY, y)
    known = ~np.isnan(y)
    if loss == "quantile":
        d = y[:, :, None] - begun.predict_quantiles(ARRAY)
        # what is predicted is sorted, which the loss is not; so only where it is sorted already
        losses = np.maximum(np.array(begun.quantiles) * d, (np.array(begun.quantiles) - 1) * d)
        losses = losses.mean(axis=2)
        assert begun.loss_curve_[0] >= losses[known].mean() * (1 - 1e-12)
    else:
        d = begun.predict(ARRAY) - y
        a = np.abs(d)
        losses = {"squared_error": d**2, "absolute_error": a}.get(loss)
        losses = np.where(a < 1, d**2 / 2, a - 0.5) if losses is None else losses
        np.testing.assert_allclose(begun.loss_curve_[0], losses[known].mean(), rtol=1e-12)
    found = model.predict(ARRAY)
    expected = [r2_score(y[known[:, k], k], found[known[:, k], k]) for k in range(2)]
    np.testing.assert_allclose(model.score(ARRAY, y), np.mean(expected), rtol=1e-12)
    counts = np.linspace(0.5, 2, 30)
    expected = [
        r2_score(y[here, k], found[here, k], sample_weight=counts[here])
        for k, here in enumerate(known.T)
    ]
    np.testing.assert_allclose(model.score(ARRAY, y, counts), np.mean(expected), rtol=1e-12)
    # a target of which half is missing trains as the other half twice
    twice = np.concatenate([y[20:], y[20:]])
    half = twice.copy()
    half[10:] = np.nan
    both = RNNRegressor(**settings).fit(np.tile(ARRAY[20:], (2, 1, 1)), twice)
    alone = RNNRegressor(**settings).fit(np.tile(ARRAY[20:], (2, 1, 1)), half)
    np.testing.assert_allclose(weights(alone), weights(both), rtol=1e-9, atol=1e-12)


def test_gradients_of_a_masked_loss():
    """By finite differences, of a batch in which some of several targets are missing."""
    from numba_rnn.estimators import objectives

    rng = np.random.default_rng(1)
    target, masks = rng.normal(size=(4, 2)), np.array([[1.0, 0], [0, 1], [1, 1], [1, 0]])
    for loss in (*objectives.NAMED.values(), objectives.Quantile((0.2, 0.7))):
        width = 4 if isinstance(loss, objectives.Quantile) else 2
        prediction = rng.normal(size=(4, width))
        value, gradient = loss(prediction, target, masks)
        for place in np.ndindex(prediction.shape):
            step = np.zeros_like(prediction)
            step[place] = 1e-6
            up, down = (loss(prediction + s, target, masks)[0] for s in (step, -step))
            np.testing.assert_allclose((up - down) / 2e-6, gradient[place], atol=1e-7)
        other = np.where(masks > 0, target, 100.0)
        assert loss(prediction, other, masks)[0] == value


def test_lbfgs_masks_too():
    y = np.stack([Y, -Y], axis=1)
    y[::3, 0] = np.nan
    model = RNNRegressor(
        4, solver="lbfgs", max_iter=2, n_iter_no_change=np.inf, missing="forward", random_state=0,
        tol=1e9,
    ).fit(with_gaps(), y)  # fmt: skip
    assert np.isfinite(model.predict(with_gaps())).all()


def test_early_stopping_and_validation_data():
    y = np.stack([Y, ARRAY[:, -1, 1]], axis=1)
    y[:12, 0] = np.nan
    y[9:20, 1] = np.nan
    x = with_gaps()
    model = RNNRegressor(early_stopping=True, validation_fraction=0.3, **FORWARD).fit(x, y)
    assert np.isfinite(model.validation_scores_).all()
    own = RNNRegressor(**FORWARD).fit(x, y, validation_data=(x, y))
    assert own.validation_scores_[-1] == pytest.approx(own.score(x, y), rel=1e-4, abs=1e-5)
    with pytest.raises(ValueError, match="in validation_data, y must have two targets at least"):
        own.fit(x, y, validation_data=(x[:2], [[1.0, np.nan], [np.nan, 2.0]]))
    with pytest.raises(ValueError, match="in validation_data, y must have two targets at least"):
        own.fit(x, y, validation_data=(x[:2], np.full((2, 2), np.nan)))
    # one value of each target says nothing of R²: the loss has to do
    y = np.full((8, 4), np.nan)
    y[np.arange(8), np.arange(8) % 4] = np.arange(8.0)
    model = RNNRegressor(early_stopping=True, validation_fraction=0.25, **FORWARD)
    with np.errstate(all="raise"):
        model.fit(ARRAY[:8], y)


def test_labels_must_be_there():
    x = ARRAY
    floats = np.arange(30) % 2.0
    floats[4] = np.nan
    objects = LABELS.astype(object)
    objects[4] = None
    gone = objects.copy()
    gone[4] = np.nan
    na = objects.copy()
    na[4] = pd.NA
    words = "y must have a label everywhere, got NaN or None instead of 1, the first at place 4"
    for settings in (QUICK, FORWARD):
        for y in (floats, objects, gone, na, list(objects), pd.Series(na), pd.Series(floats)):
            with pytest.raises(ValueError, match=words):
                RNNClassifier(**settings).fit(x, y)
        with pytest.raises(ValueError, match="masked"):
            RNNClassifier(**settings).fit(
                x, np.ma.masked_array(np.arange(30) % 2, floats != floats)
            )
        steps = [np.array(["a", "b", None, "a", "a", "b"], object) for _ in range(30)]
        with pytest.raises(ValueError, match="instead of 30, the first at place 2"):
            RNNClassifier(**settings).fit(x, steps)
    model = RNNClassifier(**FORWARD).fit(x, LABELS)
    with pytest.raises(ValueError, match=words):
        model.score(x, objects)


# --- refusals, files ----------------------------------------------------------------------------


def test_bad_settings_and_data():
    with pytest.raises(ValueError, match="missing must be 'error' or 'forward', got str 'mean'"):
        RNNRegressor(missing="mean").fit(ARRAY, Y)
    with pytest.raises(ValueError, match="missing must be 'error' or 'forward', got NoneType"):
        RNNClassifier(missing=None).fit(ARRAY, LABELS)
    empty = ARRAY.copy()
    empty[:, :, 1] = np.nan
    targets = np.stack([Y, np.full(30, np.nan)], axis=1)
    infinite = with_gaps()
    infinite[3, 2, 1] = np.inf
    some = np.where(np.arange(30) < 3, 1.0, np.nan)
    model = RNNRegressor(**FORWARD).fit(with_gaps(), Y)
    before = pickle.dumps(model)
    for x, y, weight, words in (
        (empty, Y, None, "X must have a value of each feature .* got none of feature 1"),
        (ARRAY, targets, None, "y must have a value of each target, got none of target 1"),
        (ARRAY, np.full(30, np.nan), None, "y must have a target that is not missing, got none"),
        (ARRAY, np.full((30, 6, 1), np.nan), None, "y must have a target that is not missing"),
        (ARRAY, some, np.arange(30) > 4, "sample_weight must not be zero for all series that have"),
        (infinite, Y, None, "infinity"),
        (ARRAY, np.where(Y > 1, np.inf, np.nan), None, "infinity"),
        ([["a", None]], [1.0], None, "could not convert"),
    ):
        with pytest.raises(ValueError, match=words):
            model.fit(x, y, weight)
        assert pickle.dumps(model) == before
    with pytest.raises(ValueError, match=r'y contains NaN, 27 in all, .*missing="forward"'):
        RNNRegressor(**QUICK).fit(ARRAY, some)
    with pytest.raises(ValueError, match="y must have two targets at least, as R² needs, got 1"):
        model.score(ARRAY, np.where(np.arange(30) < 1, 1.0, np.nan))
    with pytest.raises(ValueError, match="y must have two targets at least"):
        model.score(ARRAY, some, np.arange(30) > 1)


def test_fits_that_go_on():
    x, y = with_gaps(), Y.copy()
    y[:3] = np.nan
    model = RNNRegressor(warm_start=True, **FORWARD).fit(x, y)
    start = model.filling_.start
    model.fit(x[:10] + 5, y[:10])
    np.testing.assert_array_equal(model.filling_.start, start)
    for kind, x_was, now in (("forward", x, "error"), ("error", ARRAY, "forward")):
        model = RNNRegressor(**QUICK | {"missing": kind}, warm_start=True).fit(x_was, Y)
        model.set_params(missing=now)
        for call in (model.fit, model.partial_fit):
            before = pickle.dumps(model)
            with pytest.raises(ValueError, match=f"missing must stay .*, got {now!r}"):
                call(ARRAY, Y)
            assert pickle.dumps(model) == before
    # of two targets one may be missing in a part
    both = np.stack([Y, Y], axis=1)
    model = RNNRegressor(warm_start=True, **FORWARD).fit(x, both)
    both[:, 1] = np.nan
    model.partial_fit(x, both)
    model.fit(x, both)
    constant = np.stack([Y, np.ones(30)], axis=1)
    model = RNNRegressor(warm_start=True, **FORWARD).fit(x, constant)
    assert model.y_scale_[1] == 0
    constant[:, 1] = np.nan
    model.fit(x, constant)
    assert (model.predict(x)[:, 1] == 1).all()


@pytest.mark.parametrize("kind", [RNNClassifier, RNNRegressor])
def test_files(kind, tmp_path):
    x, y = with_gaps(), LABELS if kind is RNNClassifier else Y
    model = kind(**FORWARD).fit(x, y)
    path = tmp_path / "model.safetensors"
    nr.save(model, path)
    again = nr.load(path)
    assert again.missing == "forward"
    np.testing.assert_array_equal(again.predict(x), model.predict(x))
    again.partial_fit(x, y)
    table = kind(**FORWARD).fit(x[:, :, 0], y)
    nr.save(table, path)
    np.testing.assert_array_equal(nr.load(path).predict(x[:, :, 0]), table.predict(x[:, :, 0]))
    model.set_params(missing="error")  # a file says how the network was made
    nr.save(model, path)
    assert nr.load(path).missing == "forward"
    with pytest.raises(ValueError, match='missing must be "error" for to_onnx'):
        nr.to_onnx(model, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_what_files_must_not_say():
    model = RNNRegressor(**FORWARD).fit(with_gaps(), Y)
    config, tensors = model._to_tensors()
    text = json.dumps(config)
    for key, value, words in (
        ("filling", None, "filling must go with missing='forward'"),
        ("filling", {}, "filling must be start and marked"),
        ("filling", {"start": [0.0], "marked": [0]}, "start must be a list of 2 numbers"),
        ("filling", {"start": [0.0, "a"], "marked": [0]}, "start must be a real number"),
        ("filling", {"start": [0.0, float("nan")], "marked": [0]}, "start must lie"),
        ("filling", {"start": [0.0, 0.0], "marked": [2]}, "marked must be rising places"),
        ("filling", {"start": [0.0, 0.0], "marked": [1, 0]}, "marked must be rising places"),
        ("filling", {"start": [0.0, 0.0], "marked": ["a"]}, "marked must be a list of integers"),
        ("filling", {"start": [0.0, 0.0], "marked": [0, 1]}, "must fit n_features_in"),
    ):
        with pytest.raises((TypeError, ValueError), match=words):
            RNNRegressor._from_tensors(json.loads(text) | {key: value}, tensors)
    old = json.loads(text)
    del old["filling"], old["params"]["missing"]
    with pytest.raises(ValueError, match="must fit n_features_in"):
        RNNRegressor._from_tensors(old, tensors)
    plain = RNNRegressor(**QUICK).fit(ARRAY, Y)
    old, tensors = plain._to_tensors()
    assert "filling" not in old
    del old["params"]["missing"]  # from before there was any
    again = RNNRegressor._from_tensors(json.loads(json.dumps(old)), tensors)
    np.testing.assert_array_equal(again.predict(ARRAY), plain.predict(ARRAY))


def test_checkpoints_know_gaps(tmp_path):
    x = with_gaps()
    settings = FORWARD | {"checkpoint": tmp_path / "run.ckpt"}
    model = RNNRegressor(**settings).fit(x, Y)
    again = RNNRegressor(**settings).fit(x, Y)
    np.testing.assert_array_equal(weights(again), weights(model))
    with pytest.raises(ValueError, match="other X or y"):
        RNNRegressor(**settings).fit(ARRAY, Y)


def test_tags():
    for kind in (RNNClassifier, RNNRegressor):
        assert kind(missing="forward").__sklearn_tags__().input_tags.allow_nan
        assert not kind().__sklearn_tags__().input_tags.allow_nan
        assert not kind(missing=3).__sklearn_tags__().input_tags.allow_nan
