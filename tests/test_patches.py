"""Patches that the network reads, and members of which predictions are the mean."""

import pickle

import numpy as np
import onnxruntime
import pytest
from helpers import assert_same_bits
from scipy.special import softmax
from sklearn.exceptions import ConvergenceWarning

import numba_rnn as nr
from numba_rnn import atomic
from numba_rnn.estimators import RNNClassifier, RNNRegressor
from numba_rnn.estimators.patches import COUNT, Patches
from numba_rnn.estimators.sequences import Sequences

QUICK = {"hidden_size": 5, "max_iter": 4, "n_iter_no_change": np.inf, "random_state": 0}
RNG = np.random.default_rng(0)
LIST = [RNG.normal(size=(length, 2)) for length in RNG.integers(1, 40, 30)]
Y = np.array([x[-1].sum() for x in LIST])
LABELS = np.arange(30) % 3


def weights(model):
    return np.concatenate([layer.flat_parameters for pair in model.members_ for layer in pair])


# --- patches ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "stride"), [(1, 1), (2, 1), (4, 3), (7, 7), (60, 20)])
def test_patches_by_hand(size, stride):
    rows, lengths = np.concatenate(LIST), np.array([len(x) for x in LIST])
    order = np.array([4, 2, 2, 9])
    found = Patches(size, stride).cut(Sequences.of(rows, lengths)[order])
    for k, place in enumerate(order):
        x = LIST[place]
        begins = [0]
        while begins[-1] + size < len(x):
            begins.append(begins[-1] + stride)
        longer = np.concatenate([x, np.repeat(x[-1:], size + stride, axis=0)])
        expected = [longer[begin : begin + size].ravel() for begin in begins]
        mine = found.rows[found.starts[k] : found.starts[k] + found.lengths[k]]
        np.testing.assert_array_equal(mine, expected)


def test_how_long_patches_are():
    auto = [Patches.of("auto", np.array([3, longest])) for longest in (3, 24, 150, 1460)]
    assert [auto[0].stride, auto[1].stride] == [1, 1]
    for longest, patches in ((150, auto[2]), (1460, auto[3])):
        assert abs(patches.counts(np.array([longest]))[0] - COUNT) <= 3
        assert 1 < patches.size / patches.stride
    assert Patches.of(None, np.array([100])) == Patches(1, 1)
    assert Patches.of(6, np.array([100])).size == 6
    model = RNNRegressor(**QUICK, patch=6).fit(LIST, Y)
    assert model.patch_size_ == 6 and model.rnn_.input_size == 12
    assert model.predict([np.ones((1, 2)), np.ones((500, 2))]).shape == (2,)
    assert RNNRegressor(**QUICK, patch=None).fit(LIST, Y).rnn_.input_size == 2


def test_targets_of_steps_have_no_patches_and_know_nothing_of_later():
    """By default, whatever patch and pooling are."""
    y = [x[:, 0] for x in LIST]
    model = RNNRegressor(**QUICK).fit(LIST, y)
    assert (model.patch_size_, model.rnn_.bidirectional, model.bidirectional) == (1, False, "auto")
    longest = max(LIST, key=len)
    np.testing.assert_array_equal(
        model.predict([longest[:10]])[0], model.predict([longest])[0][:10]
    )
    assert RNNRegressor(**QUICK).fit(LIST, Y).rnn_.bidirectional
    assert not RNNRegressor(truncation=3, **QUICK).fit(LIST, Y).rnn_.bidirectional


def test_early_stopping_with_steps_of_series_of_one_step():
    """As many rows as series: rows of targets are still those of the series."""
    X = [x[:1] for x in LIST]
    y = [1e3 * k * np.ones(1) for k in range(30)]
    model = RNNRegressor(**QUICK, early_stopping=True, shuffle=False, solver="lbfgs")
    begun, data = model._begin(X, y)
    (training,) = begun.trainings
    seen = []
    training._lbfgs = lambda *data: seen.append(data) or True
    training.run(data)
    ((some,),) = seen
    np.testing.assert_array_equal(some.x.starts, training.only)
    assert len(some.target) == 30


@pytest.mark.parametrize("patch", [0, -1, 2.0, "all", True])
def test_bad_patches(patch):
    with pytest.raises((TypeError, ValueError), match="patch"):
        RNNRegressor(**QUICK, patch=patch).fit(LIST, Y)


def test_a_warm_start_keeps_its_patches():
    model = RNNRegressor(**QUICK, warm_start=True).fit(LIST, Y)
    size = model.patch_size_
    model.fit([np.repeat(x, 9, axis=0) for x in LIST], Y)  # of longer ones "auto" would make others
    assert model.patch_size_ == size
    before = weights(model).copy()
    for patch in (None, size + 1):
        with pytest.raises(ValueError, match="warm_start=True must keep"):
            model.set_params(patch=patch).fit(LIST, Y)
    assert_same_bits(weights(model), before)


def bumps(series, steps, seed=0):
    """Noise with a bump somewhere, which is up or down: nothing to see in a single step."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(0, 0.3, size=(series, steps)), np.arange(series) % 2
    for k, begin in enumerate(rng.integers(0, steps - 12, series)):
        x[k, begin : begin + 12] += np.sin(np.arange(12) / 12 * 2 * np.pi) * (2 * y[k] - 1)
    return x, y


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_long_series_are_learned_with_the_defaults():
    x, y = bumps(60, 150)
    model = RNNClassifier(random_state=0).fit(x, y)
    assert model.best_loss_ < 0.1 < np.log(2)
    assert model.score(*bumps(200, 150, seed=1)) > 0.85


# --- members ------------------------------------------------------------------------------------


def test_predictions_are_the_mean_of_the_members():
    model = RNNRegressor(**QUICK, n_members=3).fit(LIST, Y)
    x = model._reading().read(model._series(LIST, reset=False))
    each = [network.predict(x)[:, 0] for network in model._networks()]
    assert np.std(each, axis=0).min() > 0
    expected = np.mean(each, axis=0) * model.y_scale_ + model.y_mean_
    np.testing.assert_allclose(model.predict(LIST), expected, rtol=1e-5, atol=1e-6)
    labels = RNNClassifier(**QUICK, n_members=3).fit(LIST, LABELS)
    x = labels._reading().read(labels._series(LIST, reset=False))
    each = [softmax(network.predict(x), axis=1) for network in labels._networks()]
    proba = labels.predict_proba(LIST)
    np.testing.assert_allclose(proba, np.mean(each, axis=0), rtol=1e-5)
    assert labels.predict(LIST).tolist() == proba.argmax(axis=1).tolist()
    assert labels.score(LIST, LABELS) == np.mean(proba.argmax(axis=1) == LABELS)
    for k, x in enumerate(LIST[:5]):  # whatever is predicted with it
        np.testing.assert_array_equal(labels.predict_proba([x])[0], proba[k])


def test_the_first_member_is_that_of_one_alone():
    one, more = (RNNRegressor(**QUICK, n_members=count).fit(LIST, Y) for count in (1, 3))
    assert_same_bits(more.rnn_.flat_parameters, one.rnn_.flat_parameters)
    assert more.loss_curve_ == one.loss_curve_ and len(more.members_) == 3
    assert more.members_[0] == (more.rnn_, more.head_)


def test_members_go_on():
    """partial_fit and warm starts: all of them, each with what its optimiser remembers."""
    options = QUICK | {"batch_size": 8, "n_members": 2}
    model = RNNRegressor(**options)
    for _ in range(4):
        model.partial_fit(LIST, Y)
    whole = RNNRegressor(**options).fit(LIST, Y)
    assert_same_bits(weights(model), weights(whole))
    again = pickle.loads(pickle.dumps(model))
    for either in (model, again):
        either.partial_fit(LIST, Y)
    assert_same_bits(weights(again), weights(model))
    before = weights(whole).copy()
    whole.set_params(warm_start=True).fit(LIST, Y)
    half = len(before) // 2
    assert (weights(whole)[:half] != before[:half]).any()
    assert (weights(whole)[half:] != before[half:]).any()
    with pytest.raises(ValueError, match="warm_start=True must keep n_members, 2, got 3"):
        whole.set_params(n_members=3).fit(LIST, Y)


class Stop(Exception):
    """Instead of a kill, within a process."""


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"early_stopping": True, "batch_size": 7},
        {"solver": "lbfgs"},
        {"learning_rate": "plateau", "tol": 1.0, "max_iter": 12},
        {"learning_rate": "cosine"},
    ],
)
@pytest.mark.filterwarnings("ignore:.*max_iter=.+ of L-BFGS:sklearn.exceptions.ConvergenceWarning")
def test_members_go_on_from_a_checkpoint(options, tmp_path, monkeypatch):
    options = QUICK | {"n_members": 2} | options
    whole = RNNRegressor(**options).fit(LIST, Y)
    for saved in (0, 2, 4, 5, 7):
        real, calls = atomic.write, []

        def write(path, data, real=real, calls=calls, saved=saved):
            calls.append(path)
            if len(calls) > saved:
                raise Stop
            real(path, data)

        path = tmp_path / f"{saved}"
        with monkeypatch.context() as patched, pytest.raises(Stop):
            patched.setattr(atomic, "write", write)
            RNNRegressor(checkpoint=path, **options).fit(LIST, Y)
        model = RNNRegressor(checkpoint=path, **options).fit(LIST, Y)
        assert_same_bits(weights(model), weights(whole))
        assert model.loss_curve_ == whole.loss_curve_
    finished = path.read_bytes()
    model = RNNRegressor(checkpoint=path, **options).fit(LIST, Y)
    assert_same_bits(weights(model), weights(whole))
    assert path.read_bytes() == finished


def test_an_interruption_keeps_the_members_that_learned(monkeypatch):
    from numba_rnn.estimators.training import Training

    real, done = Training._finish, []

    def finish(self, loss):
        real(self, loss)
        done.append(loss)
        if len(done) == 6:
            raise KeyboardInterrupt

    monkeypatch.setattr(Training, "_finish", finish)
    model = RNNRegressor(**QUICK, n_members=4)
    with pytest.warns(UserWarning, match="interrupted by user"):
        model.fit(LIST, Y)
    assert len(model.members_) == 2 and np.isfinite(model.predict(LIST)).all()
    done.clear()
    with pytest.warns(UserWarning, match="interrupted by user"):
        model.fit(LIST, Y)  # another one, of which the members of the first are no part
    assert len(model.members_) == 2 and model.n_iter_ == 4


@pytest.mark.parametrize("count", [0, 1.5, None])
def test_bad_counts_of_members(count):
    with pytest.raises((TypeError, ValueError), match="n_members"):
        RNNRegressor(**QUICK, n_members=count).fit(LIST, Y)


def test_files_of_members_and_patches(tmp_path):
    for model, y in (
        (RNNClassifier(**QUICK, n_members=3, class_weight={0: 2.0, 2: 0.5}), LABELS),
        (RNNRegressor(**QUICK, n_members=2, loss="quantile", quantiles=(0.2, 0.7)), Y),
        (RNNRegressor(**QUICK, patch=5, loss="huber", learning_rate="cosine"), np.c_[Y, Y]),
    ):
        model.fit(LIST, y, validation_data=(LIST, y))
        nr.save(model, tmp_path / "model")
        again = nr.load(tmp_path / "model")
        np.testing.assert_array_equal(again.predict(LIST), model.predict(LIST))
        for name, value in vars(model).items():
            if name not in ("rnn_", "head_", "members_") and not name.startswith("_"):
                np.testing.assert_array_equal(getattr(again, name), value, err_msg=name)
        for either in (again, model):
            either.partial_fit(LIST, y)
        assert len(again._histories) == len(model._histories)
    config, tensors = model.set_params(n_members=2, warm_start=False).fit(LIST, y)._to_tensors()
    for changed in (
        {"patch": [4, 5]}, {"patch": [4]}, {"patch": "a"}, {"members": []}, {"members": [{}]},
        {"params": config["params"] | {"n_members": 3}},
    ):  # fmt: skip
        with pytest.raises((TypeError, ValueError)):
            RNNRegressor._from_tensors(config | changed, dict(tensors))
    with pytest.raises((TypeError, ValueError)):
        rows = tensors["members.weights"][:, :-1]
        RNNRegressor._from_tensors(config, tensors | {"members.weights": rows})


def test_files_from_before_there_were_patches(tmp_path):
    """What a file doesn't say was off."""
    model = RNNRegressor(**QUICK, patch=None).fit(LIST, Y)
    config, tensors = model._to_tensors()
    for name in ("patch", "n_members", "learning_rate", "loss", "quantiles"):
        del config["params"][name]
    for name in ("patch", "members", "validation_losses"):
        del config[name]
    again = RNNRegressor._from_tensors(config, tensors)
    np.testing.assert_array_equal(again.predict(LIST), model.predict(LIST))
    assert again.patch is None


@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
@pytest.mark.parametrize("size", [4, 60])
def test_onnx_of_patches_and_members(size, pooling, tmp_path):
    options = QUICK | {"n_members": 2, "patch": size, "pooling": pooling}
    lengths = np.array([len(x) for x in LIST], np.int32)
    padded = np.full((30, lengths.max(), 2), 1e6)
    for k, x in enumerate(LIST):
        padded[k, : len(x)] = x
    for model, y in (
        (RNNClassifier(**options), LABELS),
        (RNNRegressor(**options), Y),
        (RNNRegressor(**options, loss="quantile"), Y),
        (RNNRegressor(**options, loss="quantile", quantiles=(0.4,)), np.c_[Y, -Y]),
    ):
        model.fit(LIST, y)
        quantiles = getattr(model, "predict_quantiles", None)
        predict = getattr(model, "predict_proba", model.predict)
        name = "prediction" if predict == model.predict else "probabilities"
        for with_lengths in (True, False):
            X, feed = LIST, {"x": padded, "lengths": lengths}
            if not with_lengths:
                X = np.stack([x[:7] for x in LIST if len(x) >= 7])
                feed = {"x": X}
            nr.to_onnx(model, tmp_path / "model.onnx", lengths=with_lengths)
            session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
            np.testing.assert_allclose(session.run([name], feed)[0], predict(X), atol=2e-5)
            if name == "probabilities":
                assert session.run(["label"], feed)[0].tolist() == model.predict(X).tolist()
            if quantiles is not None:
                found = session.run(["quantiles"], feed)[0]
                np.testing.assert_allclose(found, quantiles(X), atol=2e-5)


# --- what has learned nothing -------------------------------------------------------------------


def test_a_plateau_is_no_end():
    """Epochs at the loss of a constant are no stalls, however many there are."""
    x, y = bumps(40, 60)
    model = RNNClassifier(
        8, learning_rate_init=1e-5, patch=None, max_iter=30, n_iter_no_change=2, random_state=0
    )
    words = r"max_iter=30 epochs are over and its loss, 0.\d+, is still that of a constant .*0.693"
    with pytest.warns(ConvergenceWarning, match=words):
        model.fit(x, y)
    assert model.n_iter_ == 30
    with pytest.warns(ConvergenceWarning, match="is still that of a constant"):
        model.set_params(early_stopping=True).fit(x, y)
    with pytest.warns(ConvergenceWarning, match="of 2 of 2 members: max_iter=30"):
        model.set_params(early_stopping=False, n_members=2).fit(x, y)
    with pytest.warns(ConvergenceWarning, match="is still that of a constant"):
        RNNRegressor(4, max_iter=5, n_iter_no_change=1, random_state=0).fit(
            np.ones((20, 5)), np.arange(20.0)
        )


def test_stalls_are_counted_from_where_it_has_left():
    from numba_rnn.estimators.training import LEFT, Training

    model = RNNRegressor(**QUICK)
    begun, _ = model._begin(LIST, Y)
    training = begun.trainings[0]
    assert training.constant == pytest.approx(1, abs=0.01)
    training._show = lambda history: None
    for loss, stalled in ((1.2, 0), (1.2, 0), (1.2, 0), (LEFT * 0.99, 0), (2.0, 1), (2.0, 2)):
        Training._finish(training, loss)
        assert training.history.stalled == stalled


def test_a_class_alone_and_a_constant_are_learned():
    RNNClassifier(4, random_state=0).fit(LIST, np.ones(30, int))
    RNNRegressor(4, random_state=0).fit(LIST, np.ones(30))
