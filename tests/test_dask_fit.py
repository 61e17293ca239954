"""Fits to Dask arrays: one model whatever the chunks, the workers and what happens to them."""

import contextlib
import os
import signal
import threading
import traceback

import numpy as np
import pytest
from helpers import assert_same_bits, normal

from numba_rnn.estimators import RNNClassifier, RNNRegressor
from numba_rnn.estimators.training import Training

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
distributed = pytest.importorskip("distributed")

QUICK = {"hidden_size": 4, "max_iter": 2, "n_iter_no_change": np.inf, "random_state": 0}
# One batch an epoch, in which the order of the series doesn't matter but for rounding.
WHOLE = QUICK | {"batch_size": 100, "max_iter": 3, "solver": "sgd", "dtype": "float64"}
X = normal((50, 7, 2))
Y = X[:, :, 0].sum(axis=1)
LABELS = np.where(Y > 1, "high", np.where(Y < -1, "low", "middle"))
WEIGHTS = np.linspace(0, 1, 50)
GAPS = np.where(normal((50, 7, 2)) > 1, np.nan, X)


@pytest.fixture(autouse=True)
def synchronous():
    with dask.config.set(scheduler="synchronous"):
        yield


def in_blocks(array, size=9):
    return da.from_array(array, (size, *(3 for _ in array.shape[1:])))


def weights(model):
    return np.concatenate([layer.flat_parameters for pair in model.members_ for layer in pair])


def fitted(model):
    """What a fit leaves."""
    curves = [model.loss_curve_, model.validation_scores_, model.validation_losses_]
    return [weights(model), model.x_mean_, model.x_scale_, *map(np.array, filter(None, curves))]


CASES = {
    "numbers": (RNNRegressor, {}, X, Y, None),
    "labels": (RNNClassifier, {"class_weight": "balanced"}, X, LABELS, None),
    "several targets": (RNNRegressor, {"loss": "huber"}, X, X[:, -1], None),
    "every step": (RNNRegressor, {}, X, X.cumsum(axis=1), None),
    "a label for every step": (RNNClassifier, {}, X, (X > 0)[:, :, :1], None),
    "weights": (RNNRegressor, {"alpha": 0.1}, X, Y, WEIGHTS),
    "weights of steps": (RNNRegressor, {"alpha": 0.1}, X, X, WEIGHTS),
    "a table": (RNNRegressor, {}, X[:, :, 0], Y, None),
    "as they are": (RNNRegressor, {"standardize": False}, X, Y, None),
    "gaps": (RNNRegressor, {"missing": "forward"}, GAPS, Y, WEIGHTS),
    "missing targets": (RNNRegressor, {"missing": "forward"}, GAPS, GAPS[:, -1], None),
    "members": (RNNRegressor, {"n_members": 2}, X, Y, None),
    "quantiles": (RNNRegressor, {"loss": "quantile"}, X, Y, None),
    "truncated": (RNNRegressor, {"truncation": 3, "pooling": "last"}, X, Y, None),
    "two layers": (RNNRegressor, {"num_layers": 2, "pooling": "mean"}, X, Y, None),
    "patches": (RNNRegressor, {"patch": 3}, X, Y, None),
}


@pytest.mark.parametrize("case", CASES)
def test_a_batch_of_all_gives_what_it_gives_in_memory(case):
    """But for the rounding of sums, which have another order."""
    kind, options, given, y, sample_weight = CASES[case]
    lazy = kind(**WHOLE | options).fit(in_blocks(given), in_blocks(y, 5), sample_weight)
    expected = kind(**WHOLE | options).fit(given, y, sample_weight)
    for found, own in zip(fitted(lazy), fitted(expected), strict=True):
        np.testing.assert_allclose(found, own, rtol=1e-9, atol=1e-11)
    assert (lazy.n_iter_, lazy.n_features_in_) == (expected.n_iter_, expected.n_features_in_)
    np.testing.assert_allclose(lazy.x_scale_, expected.x_scale_, rtol=1e-14)
    if kind is RNNClassifier:
        assert lazy.classes_.tolist() == expected.classes_.tolist()
    # a second fit that goes on, and one that goes once over the data
    for model, X in ((lazy, in_blocks(given, 11)), (expected, given)):
        if options.get("class_weight") is None:
            model.partial_fit(X, y, sample_weight=sample_weight)
        model.set_params(warm_start=True).fit(X, y, sample_weight)
    np.testing.assert_allclose(weights(lazy), weights(expected), rtol=1e-8, atol=1e-10)


SHUFFLED = {
    "plain": {},
    "dropout": {"num_layers": 2, "dropout": 0.5},
    "early stopping": {"early_stopping": True, "validation_fraction": 0.3},
    "members": {"n_members": 2, "early_stopping": True, "validation_fraction": 0.3},
    "L-BFGS": {"solver": "lbfgs", "tol": 0.02, "max_iter": 100},
    "in their order": {"shuffle": False, "learning_rate": "cosine"},
}


@pytest.mark.parametrize("options", SHUFFLED.values(), ids=SHUFFLED)
def test_the_model_does_not_depend_on_chunks(options, monkeypatch):
    """Nor on the scheduler, nor on how much is kept in memory at a time."""
    model = RNNRegressor(**QUICK | options, batch_size=16)
    expected = fitted(model.fit(in_blocks(X), Y))
    assert model.n_iter_ > 1
    for size in (1, 50):
        assert_same_bits(fitted(model.fit(in_blocks(X, size), in_blocks(Y, 7))), expected)
    with dask.config.set(scheduler="threads"):
        assert_same_bits(fitted(model.fit(in_blocks(X), Y)), expected)
    monkeypatch.setattr("numba_rnn.dask.workers.memory", lambda: 0)
    assert_same_bits(fitted(model.fit(in_blocks(X), Y)), expected)
    monkeypatch.setattr("numba_rnn.dask.blocks.GROUP", X.nbytes // 3)  # 48 blocks, 16 at a time
    several = fitted(model.fit(in_blocks(X), Y))
    monkeypatch.setattr("numba_rnn.dask.workers.memory", lambda: 1e9)
    assert_same_bits(fitted(model.fit(in_blocks(X, 50), Y)), several)


CUTS = [(50, 10, 1), (50, 10, 2), (17, 1, 1), (15, 4, 1), (50, 24, 1), (3, 9, 1)]


@pytest.mark.parametrize(("N", "size", "groups"), CUTS)
def test_every_series_is_seen_once_an_epoch(N, size, groups, monkeypatch):
    """In batches of the size that is asked for, and of the rest."""
    from numba_rnn.dask import fitting

    steps, real = [], fitting.gradients

    def gradients(leaf, weights, leaves):
        parts = dask.compute(*(leaf[0] for leaf in leaves))
        rows = [
            part.x.rows.reshape(-1, 7)[some]
            for part, (_, some, _) in zip(parts, leaves, strict=True)
        ]
        steps.append(np.concatenate(rows)[:, 0].tolist())
        return real(leaf, weights, leaves)

    table = X[:N, :, 0]
    monkeypatch.setattr(fitting, "gradients", gradients)
    monkeypatch.setattr("numba_rnn.dask.blocks.GROUP", -(-table.nbytes // groups))
    options = QUICK | {"max_iter": 1, "standardize": False, "patch": None, "dtype": "float64"}
    for seed in (0, 1):
        RNNRegressor(**options | {"random_state": seed}, batch_size=size).fit(
            in_blocks(table), Y[:N]
        )
    count = len(steps) // 2
    first, second = (np.concatenate(some).tolist() for some in (steps[:count], steps[count:]))
    assert sorted(first) == sorted(second) == sorted(table[:, 0].tolist())
    assert first != second or N == 1
    lengths = [len(step) for step in steps[:count]]
    if groups == 1:
        assert lengths == [size] * (N // size) + [N % size] * (N % size > 0)
    else:
        assert sum(lengths) == N and max(lengths) == size and len(lengths) <= N // size + groups


@pytest.mark.parametrize("N", [1, 2, 15, 17])
def test_few_series(N):
    lazy, expected = (RNNRegressor(**WHOLE).fit(x, Y[:N]) for x in (in_blocks(X[:N]), X[:N]))
    np.testing.assert_allclose(weights(lazy), weights(expected), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("memory", [0, 1e9])
def test_weights_that_are_nothing(memory, monkeypatch):
    """In whole blocks, and beside others that are much more."""
    monkeypatch.setattr("numba_rnn.dask.workers.memory", lambda: memory)
    for small in (0.0, 1e-300, 1e-50):
        some = np.where(np.arange(50) < 30, small, 1e300 if small == 1e-300 else 1.0)
        lazy, expected = (
            RNNRegressor(**WHOLE, alpha=0.1).fit(x, Y, some) for x in (in_blocks(X), X)
        )
        np.testing.assert_allclose(weights(lazy), weights(expected), rtol=1e-9, atol=1e-11)
        quick = RNNRegressor(**QUICK, batch_size=16, early_stopping=True)
        assert np.isfinite(quick.fit(in_blocks(X), Y, some).loss_curve_).all()


def test_masks_of_dropout_differ(monkeypatch):
    from numba_rnn.dask.fitting import Leaf

    seeds, real = [], Leaf.__call__

    def leaf(self, weights, block):
        seeds.append(tuple(block[2]))
        return real(self, weights, block)

    monkeypatch.setattr(Leaf, "__call__", leaf)
    RNNRegressor(**QUICK, num_layers=2, dropout=0.5, batch_size=16).fit(in_blocks(X), Y)
    assert len(set(seeds)) == len(seeds) > 32


def test_series_are_read_once_where_they_fit(monkeypatch):
    reads = []

    def read(block):
        reads.append(len(block))
        return block

    def count(**options):
        reads.clear()
        RNNRegressor(**QUICK, **options).fit(in_blocks(X).map_blocks(read, meta=X[:0]), Y)
        return sum(reads)

    assert count() == count(missing="forward") == 50 * 3 * 1  # three chunks of steps, one of two
    monkeypatch.setattr("numba_rnn.dask.workers.memory", lambda: 0)
    assert count() > 150


def test_validation_data_of_any_kind():
    options = WHOLE | {"early_stopping": True, "validation_fraction": None}
    expected = RNNRegressor(**options).fit(X[:40], Y[:40], validation_data=(X[40:], Y[40:]))
    held = [(in_blocks(X[40:]), in_blocks(Y[40:])), (X[40:], Y[40:])]
    for one in held:
        found = RNNRegressor(**options).fit(in_blocks(X[:40]), Y[:40], validation_data=one)
        np.testing.assert_allclose(found.validation_scores_, expected.validation_scores_, rtol=1e-9)
    local = RNNRegressor(**options).fit(X[:40], Y[:40], validation_data=held[0])
    assert local.validation_scores_ == expected.validation_scores_


def test_what_is_held_back_is_scored():
    """The score of the last epoch is that of its weights on the series held back."""
    options = WHOLE | {"early_stopping": True, "validation_fraction": 0.3}
    lazy, expected = (RNNRegressor(**options).fit(x, Y) for x in (in_blocks(X), X))
    np.testing.assert_allclose(lazy.validation_scores_, expected.validation_scores_, rtol=1e-9)
    np.testing.assert_allclose(lazy.loss_curve_, expected.loss_curve_, rtol=1e-9)


# --- interruptions ------------------------------------------------------------------------------


def test_a_fit_goes_on_from_its_checkpoint(tmp_path, monkeypatch):
    options = QUICK | {"max_iter": 4, "batch_size": 16}
    expected = fitted(RNNRegressor(**options).fit(in_blocks(X), Y))
    model = RNNRegressor(**options, checkpoint=tmp_path / "c")
    real = Training._epoch

    def epoch(self, data):
        if self.history.n_iter == 2:
            raise KeyboardInterrupt
        return real(self, data)

    with monkeypatch.context() as patched, pytest.warns(UserWarning, match="interrupted"):
        patched.setattr(Training, "_epoch", epoch)
        model.fit(in_blocks(X), Y)
    assert model.n_iter_ == 2 and model.predict(X).shape == (50,)
    assert_same_bits(fitted(model.fit(in_blocks(X, 50), Y)), expected)
    with pytest.raises(ValueError, match="with other X or y"):
        model.fit(in_blocks(X + 1), Y)


def test_progress_is_shown(capsys):
    RNNRegressor(**QUICK, verbose=1).fit(in_blocks(X), Y)
    assert "epoch 2/2" in capsys.readouterr().err


@pytest.fixture
def workers():
    """A client of a cluster of one worker, of which a test may ask for more.

    Those that are killed are waited for, however slowly they start on a busy machine.
    """
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1 hour"}),
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
        dask.config.set(scheduler=None),
    ):
        yield client


def test_the_model_does_not_depend_on_workers(workers):
    options = QUICK | {"early_stopping": True, "validation_fraction": 0.2, "batch_size": 40}
    model = RNNRegressor(**options)
    with dask.config.set(scheduler="synchronous"):
        expected = fitted(model.fit(in_blocks(X), Y))
    for count in (1, 2, 4):
        workers.cluster.scale(count)
        workers.wait_for_workers(count)
        assert_same_bits(fitted(model.fit(in_blocks(X), in_blocks(Y))), expected)
    _loses_workers(workers, options | {"max_iter": 10})


def _loses_workers(client, options):
    """A fit of which some workers are killed gives the same model."""
    with dask.config.set(scheduler="synchronous"):
        expected = fitted(RNNRegressor(**options).fit(in_blocks(X), Y))
    pids = list(client.run(os.getpid).values())
    done, killed = threading.Event(), []

    def kill():
        for pid in pids[:3]:
            if done.wait(0.5):
                return
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        found = fitted(RNNRegressor(**options).fit(in_blocks(X), Y))
    finally:
        done.set()
        killer.join()
    assert killed
    assert_same_bits(found, expected)


def test_what_a_loss_raises_on_a_worker_is_seen_here(workers):
    model = RNNRegressor(**QUICK)
    model.loss = failing_late
    with pytest.raises(ZeroDivisionError, match="of my own") as caught:
        model.fit(in_blocks(X), Y)
    assert "failing_late" in [frame.name for frame in traceback.extract_tb(caught.tb)]


def failing_late(prediction, target, weights):
    """The caller measures constants with it, and workers train with it."""
    if distributed.worker.thread_state.__dict__.get("execution_state"):
        raise ZeroDivisionError("of my own")
    return 1.0, np.zeros_like(prediction)


# --- what is not taken --------------------------------------------------------------------------


def test_what_is_wrong_is_said_before_training_begins():
    model = RNNRegressor(**QUICK)
    bad = X.copy()
    bad[33, 2, 1] = np.nan
    for method in (model.fit, model.partial_fit):
        with pytest.raises(ValueError, match=r"of the series from 3\d on, X contains NaN"):
            method(in_blocks(bad), Y)
        with pytest.raises(ValueError, match="inconsistent numbers of samples"):
            method(in_blocks(X), Y[:-1])
        with pytest.raises(ValueError, match="chunks of known size"):
            method(in_blocks(X)[in_blocks(Y) > 0], Y)
        with pytest.raises(ValueError, match="y must have chunks of known size"):
            method(in_blocks(X), in_blocks(Y)[in_blocks(Y) > 0])
        with pytest.raises(ValueError, match=r"X must have shape .*, got \(50,\)"):
            method(in_blocks(Y), Y)
        with pytest.raises(TypeError, match="X must hold numbers"):
            method(in_blocks(X).astype("U3"), Y)
        assert not hasattr(model, "rnn_")
    lock = threading.Lock()
    model.loss = lambda *given: lock
    with pytest.raises(TypeError, match="loss must be something that can be pickled"):
        model.fit(in_blocks(X), Y)
    model.loss = "squared_error"
    with pytest.raises(ValueError, match="truncation must be None where a Dask array"):
        RNNRegressor(**QUICK, truncation=2).fit(in_blocks(X), X)
    with pytest.raises(ValueError, match="got none of feature 1"):
        RNNRegressor(**QUICK, missing="forward").fit(in_blocks(X * [1, np.nan]), Y)
    with pytest.raises(ValueError, match="values that float32 can hold"):
        RNNRegressor(**QUICK, standardize=False).fit(in_blocks(X * 1e300), Y)
    model.fit(X, Y)
    before = weights(model)
    with pytest.raises(ValueError, match="X has 1 features, but RNNRegressor is expecting 2"):
        model.partial_fit(in_blocks(X[:, :, :1]), Y)
    with pytest.raises(ValueError, match="contains NaN"):
        model.partial_fit(in_blocks(bad), Y)
    assert_same_bits(weights(model), before)
    shorter = da.from_array(X, (25, 7, 2)).map_blocks(lambda block: block[1:], meta=X[:0])
    with pytest.raises(ValueError, match="X must have the series that its chunks say"):
        model.fit(shorter, Y)
    masked = in_blocks(np.ma.masked_greater(X, 1.5))
    with pytest.raises(
        ValueError, match=r"of the series from \d+ on, X must have no masked entries"
    ):
        model.fit(masked, Y)
    filled = RNNRegressor(**WHOLE, missing="forward")
    gaps = np.where(X > 1.5, np.nan, X)
    np.testing.assert_allclose(weights(filled.fit(masked, Y)), weights(filled.fit(gaps, Y)))
    with pytest.warns(UserWarning, match="looks as if the last axis were time"):
        RNNRegressor(**QUICK).fit(in_blocks(normal((20, 2, 30)).cumsum(axis=2)), Y[:20])
