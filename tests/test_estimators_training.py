"""What a fit computes: gradients, batches, stopping, and what is left when it goes wrong."""

import copy
import os
import signal
import warnings

import numpy as np
import pytest
from helpers import assert_close, assert_same_bits
from processes import python
from sklearn.exceptions import ConvergenceWarning

import numba_rnn as nr
from numba_rnn import losses
from numba_rnn.estimators import RNNClassifier, RNNRegressor, objectives
from numba_rnn.estimators.network import Network
from numba_rnn.estimators.pooling import Max, Mean
from numba_rnn.estimators.sequences import Sequences, pack, spread
from numba_rnn.estimators.training import Training

# Of L-BFGS a few iterations are enough here, and it warns whenever it doesn't come to its end.
pytestmark = pytest.mark.filterwarnings(
    "ignore:max_iter=.+ iterations of L-BFGS:sklearn.exceptions.ConvergenceWarning"
)

QUICK = {"hidden_size": 5, "max_iter": 4, "n_iter_no_change": np.inf, "random_state": 0}
RNG = np.random.default_rng(0)
LIST = [RNG.normal(size=(length, 2)) for length in RNG.integers(1, 12, 30)]
Y = np.array([x[-1].sum() for x in LIST])
SERIES = Sequences.of(np.concatenate(LIST), np.array([len(x) for x in LIST]))


def weights(model):
    return np.concatenate([model.rnn_.flat_parameters, model.head_.flat_parameters])


# --- series and batches -------------------------------------------------------------------------


def test_rows_of_series():
    some = SERIES[np.array([4, 2, 9])]
    expected = np.concatenate([LIST[4], LIST[2], LIST[9]])
    np.testing.assert_array_equal(SERIES.rows[some.index], expected)


@pytest.mark.parametrize("size", [1, 4, 7, 30, 100])
@pytest.mark.parametrize("seed", [None, 0])
def test_batches_hold_every_series_once_longest_first(size, seed):
    batches = SERIES.batches(size, None if seed is None else np.random.default_rng(seed))
    assert sorted(np.concatenate(batches).tolist()) == list(range(30))
    assert sorted(map(len, batches))[1:] == [size] * (len(batches) - 1)
    for batch in batches:
        assert (np.diff(SERIES.lengths[batch]) <= 0).all()


def test_batches_are_of_similar_length_and_change():
    lengths = np.random.default_rng(0).integers(1, 1000, 4000)
    series = Sequences.of(np.zeros((lengths.sum(), 1), np.float32), lengths)
    rng = np.random.default_rng(1)
    batches = series.batches(20, rng)
    ranges = [np.ptp(lengths[batch]) for batch in batches]
    assert np.mean(ranges) < 200  # a random batch has 900
    first = {tuple(sorted(batch)) for batch in batches}
    assert not first & {tuple(sorted(batch)) for batch in series.batches(20, rng)}


@pytest.mark.parametrize("rows", [1, 8, 20, 1000])
def test_groups_hold_every_series_once_and_few_rows(rows):
    groups = list(SERIES.groups(rows))
    order = np.concatenate(groups)
    assert sorted(order.tolist()) == list(range(30))
    assert (np.diff(SERIES.lengths[order]) <= 0).all()
    for group in groups:
        assert len(group) == 1 or SERIES.lengths[group].sum() <= rows
    assert len(groups) == {1: 30, 1000: 1}.get(rows, len(groups))


@pytest.mark.parametrize("steps", [1, 3, 5, 11, 100])
def test_chunks_cover_every_step_once_and_end_together(steps):
    series = SERIES[SERIES.batches(30)[0]]
    seen, chunks = [], list(series.chunks(steps))
    for index, layout, is_last in chunks:
        assert layout.longest <= steps and layout.real_steps == len(index)
        seen.append(index)
        if is_last:
            np.testing.assert_array_equal(layout.lengths, np.minimum(series.lengths, steps))
    assert [chunk[2] for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert sorted(np.concatenate(seen).tolist()) == list(range(len(SERIES.rows)))
    assert len(chunks) == -(-series.lengths.max() // steps)


def test_packed_as_the_package_packs():
    for which in (SERIES.batches(30)[0], np.flatnonzero(SERIES.lengths == 7)):
        series = SERIES[which]
        index, layout = pack(series.starts, series.lengths)
        expected = nr.pack_sequence([LIST[k] for k in which])
        np.testing.assert_array_equal(SERIES.rows[index], expected.data)
        np.testing.assert_array_equal(
            np.diff(layout.step_row, append=layout.rows), expected.batch_sizes
        )


def test_spread():
    rows = np.stack([RNG.normal(3, 2, 500), np.full(500, 0.1), RNG.normal(size=500) * 1e200], 1)
    mean, scale = spread(rows)
    np.testing.assert_allclose(mean[:2], [rows[:, 0].mean(), 0.1])
    np.testing.assert_allclose(scale, [rows[:, 0].std(), 0, rows[:, 2].std(dtype=np.longdouble)])


def test_spread_of_what_is_constant_but_for_rounding():
    noise = np.cumsum(np.full(50, 0.1)) - 0.1 * np.arange(50)  # 0.1 but for the last bits
    rows = np.stack([noise, 1e9 + np.arange(50) % 2 * 2e-7, 1 + 1e-12 * np.arange(50)], 1)
    assert np.ptp(noise[:5]) > 0
    scale = spread(rows)[1]
    assert scale[1] == 0 and scale[2] == pytest.approx(1e-12 * np.arange(50).std(), rel=1e-3)
    assert spread(rows[:5])[1][0] == 0
    assert (spread(np.array([[0.0, 1e308], [0.0, -1e308]]))[1] == [0, 1e308]).all()


# --- losses and gradients -----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1, 1e4])
@pytest.mark.parametrize("shape", [(20, 5), (1, 1), (300, 11)])
def test_objectives_are_the_losses_of_the_package(shape, scale, dtype):
    """One formula for both: the same bits."""
    x = (scale * RNG.normal(size=shape)).astype(dtype)
    classes, y = RNG.integers(0, shape[1], shape[0]), RNG.normal(size=shape).astype(dtype)
    y[0, 0] = x[0, 0]
    pairs = [
        (objectives.cross_entropy(x, classes), losses.cross_entropy(x, classes)),
        (objectives.squared_error(x, y), losses.mse(x, y)),
    ]
    for (value, slope), (expected, gradient) in pairs:
        assert value == expected
        assert slope.dtype == dtype
        assert slope.tobytes() == gradient.tobytes()


def network(pooling, bidirectional=False, outputs=2):
    rnn = nr.RNN(2, 4, 2, bidirectional=bidirectional, dtype=np.float64, rng=0).eval()
    head = nr.Linear(8 if bidirectional else 4, outputs, dtype=np.float64, rng=1)
    return Network(rnn, head, pooling, objectives.squared_error)


BATCH = SERIES.batches(30)[0]
TARGET = RNG.normal(size=(30, 2))
STEP_TARGET = RNG.normal(size=(len(SERIES.rows), 2))


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("pooling", ["last", "mean", "max", None])
def test_gradient_is_the_finite_difference(pooling, bidirectional):
    net = network(pooling, bidirectional)
    target = STEP_TARGET if pooling is None else TARGET
    ((value, count, found),) = net.gradients(SERIES, target, BATCH, None)
    assert count == len(target)
    readout = net.predict(SERIES)
    expected = target[SERIES.index] if pooling is None else target
    assert value == pytest.approx(np.mean((readout - expected) ** 2))

    def loss():
        return next(net.gradients(SERIES, target, BATCH, None))[0]

    for k in np.random.default_rng(0).choice(len(net.weights), 40, replace=False):
        kept, h = net.weights[k], 1e-6
        net.weights[k] = kept + h
        up = loss()
        net.weights[k] = kept - h
        down = loss()
        net.weights[k] = kept
        assert found[k] == pytest.approx((up - down) / (2 * h), rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_pooling_by_hand(pooling):
    series = SERIES[BATCH]
    index, layout = pack(series.starts, series.lengths)
    pool = {"mean": Mean, "max": Max}[pooling](SERIES.rows[index], [layout], series.lengths)
    by_hand = [getattr(np, pooling)(LIST[k], axis=0) for k in BATCH]
    np.testing.assert_allclose(pool.value, by_hand, rtol=1e-14)


@pytest.mark.parametrize("pooling", ["last", "mean", "max", None])
def test_truncation_beyond_the_longest_changes_nothing(pooling):
    net = network(pooling)
    target = STEP_TARGET if pooling is None else TARGET
    whole = list(net.gradients(SERIES, target, BATCH, None))
    assert_same_bits(next(net.gradients(SERIES, target, BATCH, 11))[2], whole[0][2])


@pytest.mark.parametrize("pooling", ["last", "mean", None])
def test_truncated_gradients_are_those_of_chunks_with_their_states_given(pooling):
    """Against the public layer, on one series of 11 steps in chunks of 3, 4 and 4."""
    net, x = network(pooling), RNG.normal(size=(11, 2))
    series, target = Sequences.of(x, np.array([11])), RNG.normal(size=(11, 2))
    y = target if pooling is None else target[:1]
    found = list(net.gradients(series, y, np.array([0]), 4))
    rnn, head, h = net.rnn, net.head, None
    tapes, expected = [], []
    for part in (slice(0, 3), slice(3, 7), slice(7, 11)):
        tapes.append(rnn.forward(x[part, None], h))
        h = tapes[-1].h_n
        if pooling is None:
            tape = head.forward(tapes[-1].output)
            _, slope = losses.mse(tape.output, target[part, None])
            grads = tape.backward(slope)
            expected.append((tapes[-1].backward(grads.input).flat, grads.flat))
    if pooling is not None:
        outputs = np.concatenate([tape.output for tape in tapes])
        tape = head.forward(outputs.mean(axis=0) if pooling == "mean" else h[-1])
        grads = tape.backward(losses.mse(tape.output, target[:1])[1])
        if pooling == "last":
            grad_h_n = np.zeros_like(h)
            grad_h_n[-1] = grads.input
            flat = tapes[-1].backward(grad_h_n=grad_h_n).flat
        else:
            each = np.broadcast_to(grads.input / 11, outputs.shape)
            parts = (each[:3], each[3:7], each[7:])
            flat = sum(tape.backward(part).flat for tape, part in zip(tapes, parts, strict=True))
        expected.append((flat, grads.flat))
    assert len(found) == len(expected) == (3 if pooling is None else 1)
    for (_, _, ours), theirs in zip(found, expected, strict=True):
        assert_close(ours, np.concatenate(theirs), 1e-14)


def test_a_fit_is_the_loop_that_one_would_write(torch):
    """Epochs of RNNClassifier against torch, from the same weights on the same batches."""
    y = np.array([k % 3 for k in range(30)])
    options = QUICK | {"batch_size": 8, "learning_rate_init": 1e-2, "dtype": "float64"}
    model = RNNClassifier(**options, alpha=0.3, bidirectional=True, pooling="last", patch=None)
    model.fit(LIST, y)

    seed = np.random.RandomState(0).randint(2**31, size=4).tolist()
    rng = np.random.default_rng(seed)
    rnn = torch.nn.RNN(2, 5, bidirectional=True, dtype=torch.float64)
    head = torch.nn.Linear(10, 3, dtype=torch.float64)
    for layer, start in (
        (rnn, nr.RNN(2, 5, bidirectional=True, dtype=np.float64, rng=rng)),
        (head, nr.Linear(10, 3, dtype=np.float64, rng=rng)),
    ):
        layer.load_state_dict({k: torch.tensor(v) for k, v in start.state_dict().items()})
    both = [*rnn.named_parameters(), *head.named_parameters()]
    optimizer = torch.optim.Adam([p for _, p in both], lr=1e-2)
    curve = []
    for _ in range(4):
        total = 0.0
        for batch in SERIES.batches(8, rng):
            scaled = [torch.tensor((LIST[k] - model.x_mean_) / model.x_scale_) for k in batch]
            _, h_n = rnn(torch.nn.utils.rnn.pack_sequence(scaled))
            logits = head(torch.cat([h_n[-2], h_n[-1]], dim=1))
            loss = torch.nn.functional.cross_entropy(logits, torch.tensor(y[batch]))
            squares = sum((p**2).sum() for name, p in both if name.startswith("weight"))
            loss = loss + 0.3 / 2 / len(batch) * squares
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_([p for _, p in both], 1.0)
            optimizer.step()
            total += len(batch) * loss.item()
        curve.append(total / 30)
    np.testing.assert_allclose(model.loss_curve_, curve, rtol=1e-10)
    theirs = np.concatenate([p.detach().numpy().ravel() for _, p in both])
    assert_close(weights(model), theirs, 1e-9)


# --- solvers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["adam", "sgd", "rmsprop", "lbfgs"])
def test_every_solver_learns(solver):
    rates = {"sgd": 0.1, "rmsprop": 1e-2}
    model = RNNRegressor(
        8, solver=solver, learning_rate_init=rates.get(solver, 1e-2), batch_size=10, max_iter=100,
        n_iter_no_change=np.inf, random_state=0,
    ).fit(LIST, Y)  # fmt: skip
    assert model.score(LIST, Y) > 0.95
    assert model.loss_curve_[-1] < 0.1 * model.loss_curve_[0]
    assert len(model.loss_curve_) == model.n_iter_ <= 100
    assert model.best_loss_ == min(model.loss_curve_)
    assert model.rnn_.dtype == (np.float64 if solver == "lbfgs" else np.float32)


def test_lbfgs_ends_where_the_gradient_is_small():
    options = {"alpha": 1.0, "tol": 1e-6, "max_iter": 2000, "random_state": 0}
    model = RNNRegressor(3, solver="lbfgs", pooling="last", **options)  # the largest has kinks
    model.fit(LIST, Y)
    assert model.n_iter_ < 2000
    (net,) = model._networks(model._objective())
    x = model._reading().read(SERIES)
    target = model._scaled_target(Y[:, None])
    ((_, _, grad),) = net.gradients(x, target, x.batches(30)[0], None)
    grad += np.where(net.decayed, net.weights, 0) / 30  # of the penalty
    assert np.abs(grad).max() <= 1e-6
    assert (np.diff(model.loss_curve_) <= 0).all()


def test_shuffle():
    def curve(shuffle, X, y):
        return RNNRegressor(shuffle=shuffle, batch_size=7, **QUICK).fit(X, y).loss_curve_

    order = np.argsort([-len(x) for x in LIST], kind="stable")
    by_length = [LIST[k] for k in order], Y[order]
    assert curve(False, LIST, Y) == pytest.approx(curve(False, *by_length), rel=1e-6)
    assert curve(True, LIST, Y) != pytest.approx(curve(True, *by_length), rel=1e-6)


# --- when it ends -------------------------------------------------------------------------------


def test_it_stops_where_the_loss_stalls():
    model = RNNRegressor(4, tol=0.5, n_iter_no_change=3, random_state=0).fit(LIST, Y)
    left = next(k for k, loss in enumerate(model.loss_curve_) if loss <= 0.95)
    assert model.n_iter_ == left + 4 and model.validation_scores_ is None
    with pytest.warns(ConvergenceWarning, match="max_iter=12"):
        RNNRegressor(4, max_iter=12, random_state=0).fit(LIST, Y)


def test_too_few_epochs():
    for options, words in (
        ({"max_iter": 1}, "max_iter=1 epochs"),
        ({"max_iter": 10}, "max_iter=10 epochs"),
        ({"max_iter": 2, "solver": "lbfgs"}, "max_iter=2 iterations of L-BFGS"),
        ({"max_iter": 2, "solver": "lbfgs", "n_iter_no_change": np.inf}, "of L-BFGS"),
    ):
        with pytest.warns(ConvergenceWarning, match=words) as caught:
            RNNRegressor(4, random_state=0, **options).fit(LIST, Y)
        assert caught[0].filename == __file__
    RNNRegressor(4, max_iter=1, n_iter_no_change=np.inf).fit(LIST, Y)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_early_stopping_keeps_the_best_weights(solver):
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(60, 5)), rng.normal(size=60)  # noise: only memorised
    model = RNNRegressor(
        16, early_stopping=True, validation_fraction=0.3, learning_rate_init=0.02, solver=solver,
        random_state=0, n_iter_no_change=8, batch_size=10,
    ).fit(X, y)  # fmt: skip
    scores = model.validation_scores_
    assert len(scores) == len(model.loss_curve_) == model.n_iter_ < 200
    assert max(scores) > scores[-1] + 0.01
    best = int(np.argmax(scores)) + 1
    exact = {"n_iter_no_change": np.inf, "max_iter": best}
    again = RNNRegressor(**model.get_params() | exact).fit(X, y)
    assert again.validation_scores_[-1] == max(scores)
    assert_same_bits(weights(again), weights(model))


def test_classes_are_held_back_in_proportion():
    y = np.repeat([0, 1, 2], [6, 12, 12])
    model = RNNClassifier(early_stopping=True, validation_fraction=0.5, **QUICK).fit(LIST, y)
    train, held_back = model._split(model._begin(LIST, y)[1], np.random.default_rng(0))
    assert np.bincount(y[held_back]).tolist() == np.bincount(y[train]).tolist() == [3, 6, 6]
    assert all(0 <= score <= 1 for score in model.validation_scores_)


@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_a_loss_that_is_no_number_any_more(solver):
    y = np.full(30, 1e200) if solver == "lbfgs" else 1e3 * Y
    model = RNNRegressor(
        8, nonlinearity="relu", solver=solver, learning_rate_init=1e3, clip_norm=None,
        standardize=False, random_state=0, dtype="float64",
    )  # fmt: skip
    words = r"the loss became (nan|inf) in epoch \d+\. Try .*weights .* are kept"
    with pytest.raises(FloatingPointError, match=words):
        model.fit(LIST, y)
    assert np.isfinite(weights(model)).all() and np.isfinite(model.predict(LIST)).all()
    assert model.n_iter_ == len(model.loss_curve_) and np.isfinite(model.loss_curve_).all()


def test_it_keeps_the_weights_of_the_best_epoch(monkeypatch):
    kept, real = [], Training._finish

    def finish(self, loss):
        kept.append(self.network.weights.copy())
        real(self, [3.0, 1.0, 2.0][len(kept) - 1])
        if len(kept) == 3:
            self.network.weights[:] = np.nan

    monkeypatch.setattr(Training, "_finish", finish)
    model = RNNRegressor(**QUICK)
    with pytest.raises(FloatingPointError, match=r"in epoch 4\..*of the best epoch so far"):
        model.fit(LIST, Y)
    assert_same_bits(weights(model), kept[0])  # with which the second epoch, the best, began
    assert model.loss_curve_ == [3.0, 1.0, 2.0] and model.best_loss_ == 1


def test_weights_that_exploded_are_not_kept():
    """One step is enough for it, and the loss before it is finite."""
    model = RNNRegressor(**QUICK | {"nonlinearity": "relu", "learning_rate_init": 1e30})
    with pytest.raises(FloatingPointError, match="learning_rate_init"):
        model.fit(LIST, Y)
    assert np.abs(weights(model)).max() < 1
    assert np.isfinite(model.predict(LIST)).all()


@pytest.fixture
def interruptible():
    """Ctrl+C means what it usually does, though a shell's background jobs ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_an_interruption_keeps_the_model(solver, monkeypatch, interruptible):
    real = Training._finish

    def finish(self, loss):
        real(self, loss)
        if self.history.n_iter == 2:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Training, "_finish", finish)
    model = RNNRegressor(solver=solver, **QUICK)
    with pytest.warns(UserWarning, match="interrupted by user") as caught:
        model.fit(LIST, Y)
    assert caught[0].filename == __file__
    assert model.n_iter_ == 2 and len(model.loss_curve_) == 2
    monkeypatch.undo()
    shorter = RNNRegressor(solver=solver, **QUICK | {"max_iter": 2}).fit(LIST, Y)
    assert_same_bits(weights(model), weights(shorter))


# --- going on -----------------------------------------------------------------------------------


def test_warm_start_goes_on():
    model = RNNRegressor(warm_start=True, **QUICK).fit(LIST, Y)
    first, rnn = weights(model).copy(), model.rnn_
    mean = model.x_mean_
    model.fit([2 * x + 1 for x in LIST], Y)
    assert model.rnn_ is rnn and (weights(model) != first).any()
    np.testing.assert_array_equal(model.x_mean_, mean)
    assert len(model.loss_curve_) == 8 and model.n_iter_ == 4
    with pytest.raises(ValueError, match="warm_start=True must keep the network"):
        model.set_params(hidden_size=6).fit(LIST, Y)
    with pytest.raises(ValueError, match="form that it had"):
        model.set_params(hidden_size=5).fit(LIST, LIST)
    cold = RNNRegressor(**QUICK).fit(LIST, Y)
    before = weights(cold)
    assert_same_bits(weights(cold.fit(LIST, Y)), before)
    labels = RNNClassifier(warm_start=True, **QUICK).fit(LIST, np.arange(30) % 2)
    with pytest.raises(ValueError, match=r"labels of classes_ alone, \[0, 1\], got \[2\]"):
        labels.fit(LIST, np.arange(30) % 3)


NOISY = np.random.default_rng(0)
OTHER_X = NOISY.normal(size=(300, 6, 1))
OTHER_Y = OTHER_X[:, -1, 0]
OTHER_Z = NOISY.normal(size=300) - OTHER_Y  # the loss and the score of y are out of its reach


@pytest.mark.filterwarnings("ignore:max_iter=200 epochs:sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("early_stopping", [True, False])
def test_a_warm_start_on_other_data_is_judged_by_itself(early_stopping):
    options = {"learning_rate_init": 1e-2, "random_state": 0, "early_stopping": early_stopping}
    model = RNNRegressor(16, warm_start=True, **options).fit(OTHER_X, OTHER_Y)
    before, epochs = model.predict(OTHER_X), model.n_iter_
    model.fit(OTHER_X, OTHER_Z)
    assert not np.array_equal(model.predict(OTHER_X), before)
    assert model.score(OTHER_X, OTHER_Z) > 0.4  # a new one reaches 0.46 with early stopping
    assert model.n_iter_ > 11  # ten epochs without a gain are no patience spent before the first
    assert len(model.loss_curve_) == epochs + model.n_iter_
    assert model.best_loss_ == min(model.loss_curve_[epochs:]) > min(model.loss_curve_)


def test_a_warm_start_of_lbfgs_with_early_stopping():
    options = {"solver": "lbfgs", "max_iter": 30, "random_state": 0, "early_stopping": True}
    model = RNNRegressor(4, warm_start=True, **options).fit(OTHER_X, OTHER_Y)
    model.fit(OTHER_X, OTHER_Z)
    assert model.score(OTHER_X, OTHER_Z) > 0.35


def test_a_warm_start_that_fails_keeps_the_best_weights_of_its_own(monkeypatch):
    """The first fit was better by far, but at something else."""
    model = RNNRegressor(warm_start=True, **QUICK).fit(LIST, Y)
    kept, real = [], Training._finish

    def finish(self, loss):
        kept.append(self.network.weights.copy())
        real(self, [30.0, 10.0, 20.0][len(kept) - 1])
        if len(kept) == 3:
            self.network.weights[:] = np.nan

    monkeypatch.setattr(Training, "_finish", finish)
    with pytest.raises(FloatingPointError, match="of the best epoch so far"):
        model.fit(LIST, -Y)
    assert_same_bits(weights(model), kept[0])
    assert model.best_loss_ == 10


@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_an_interrupted_warm_start_goes_on(solver, early_stopping, monkeypatch, tmp_path):
    """From its checkpoint, to the bits and the epochs of one that was never stopped."""
    options = QUICK | {"n_iter_no_change": 3, "max_iter": 8, "early_stopping": early_stopping}
    first = RNNRegressor(solver=solver, warm_start=True, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        first.fit(OTHER_X, OTHER_Y)
        whole = copy.deepcopy(first).fit(OTHER_X, OTHER_Z)
        stopped = copy.deepcopy(first).set_params(checkpoint=tmp_path / "training")
        real = Training._finish

        def finish(self, loss):
            if self.history.n_iter == 3:
                raise MemoryError
            real(self, loss)

        monkeypatch.setattr(Training, "_finish", finish)
        with pytest.raises(MemoryError):
            copy.deepcopy(stopped).fit(OTHER_X, OTHER_Z)
        monkeypatch.undo()
        stopped.fit(OTHER_X, OTHER_Z)
    assert_same_bits(weights(stopped), weights(whole))
    for name in ("loss_curve_", "validation_scores_", "best_loss_", "n_iter_"):
        assert getattr(stopped, name) == getattr(whole, name), name


def test_best_loss_of_partial_fit_is_that_of_all_calls():
    model = RNNRegressor(**QUICK).fit(LIST, Y)
    for y in (Y, 100 + Y, Y):
        model.partial_fit(LIST, y)
    assert model.best_loss_ == min(model.loss_curve_) and model.n_iter_ == 7


def test_partial_fit_is_an_epoch():
    model = RNNRegressor(batch_size=8, num_layers=2, dropout=0.3, **QUICK)
    for _ in range(4):
        model.partial_fit(LIST, Y)
    whole = RNNRegressor(batch_size=8, num_layers=2, dropout=0.3, **QUICK).fit(LIST, Y)
    assert_same_bits(weights(model), weights(whole))
    assert model.loss_curve_ == whole.loss_curve_ and model.n_iter_ == 4
    model.set_params(learning_rate_init=1e-9).partial_fit(LIST, Y)
    np.testing.assert_allclose(weights(model), weights(whole), atol=1e-6)


def test_partial_fit_of_a_classifier():
    y = np.arange(30) % 2
    model = RNNClassifier(**QUICK).partial_fit(LIST, y, classes=[2, 1, 0])
    assert model.classes_.tolist() == [0, 1, 2] and model.predict_proba(LIST).shape == (30, 3)
    model.partial_fit(LIST, 2 * y)
    with pytest.raises(ValueError, match=r"got \[3\]"):
        model.partial_fit(LIST, 3 * y)
    with pytest.raises(ValueError, match=r"got \[1\]"):
        RNNClassifier(**QUICK).partial_fit(LIST, y, classes=[0, 2])


def test_classes_of_partial_fit():
    y = np.arange(30) % 2
    model = RNNClassifier(**QUICK)
    with pytest.raises(ValueError, match=r"classes must be all labels.* first call.* got None"):
        model.partial_fit(LIST, y)
    model.partial_fit(LIST, y, classes=[0, 1])
    before = weights(model).copy()
    with pytest.raises(ValueError, match=r"classes must be .* first call, \[0, 1\], got \[0, 2\]"):
        model.partial_fit(LIST, y, classes=[2, 0])
    assert_same_bits(weights(model), before)
    model.partial_fit(LIST, y, classes=[1, 0])
    RNNClassifier(**QUICK).fit(LIST, y).partial_fit(LIST, y)  # they are known from fit


@pytest.mark.parametrize("solver", ["adam", "sgd", "rmsprop"])
def test_partial_fit_after_one_that_exploded(solver):
    """It goes on as if from those weights a training had begun, without what exploded."""
    options = {"batch_size": 8, "nonlinearity": "relu", "shuffle": False, "clip_norm": None}
    model = RNNRegressor(solver=solver, **QUICK | options).partial_fit(LIST, Y)
    fresh = copy.deepcopy(model)
    fresh._optimizer_state = None
    with pytest.raises(FloatingPointError, match="learning_rate_init"):
        model.set_params(learning_rate_init=1e3).partial_fit(LIST, Y)
    for either in (model, fresh):
        either.set_params(learning_rate_init=1e-3).partial_fit(LIST, Y)
    assert_same_bits(weights(model), weights(fresh))
    assert model.loss_curve_[-1] < model.loss_curve_[0]


def test_partial_fit_with_another_solver():
    model = RNNRegressor(**QUICK).partial_fit(LIST, Y)
    fresh = RNNRegressor(**QUICK).partial_fit(LIST, Y)
    fresh._optimizer_state = None
    for either in (model, fresh):
        either.set_params(solver="sgd").partial_fit(LIST, Y)
    assert_same_bits(weights(model), weights(fresh))


def test_partial_fit_where_it_can_not_be():
    assert not hasattr(RNNRegressor(solver="lbfgs"), "partial_fit")
    with pytest.raises(ValueError, match="early_stopping must be False"):
        RNNRegressor(early_stopping=True).partial_fit(LIST, Y)


# --- what is shown ------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_one_bar(solver, capsys):
    model = RNNRegressor(verbose=1, early_stopping=True, solver=solver, **QUICK).fit(LIST, Y)
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    last = shown.split("\r")[-1]
    assert "epoch 4/4" in last and "samples/s" in last
    assert f"loss={model.loss_curve_[-1]:.4g}" in last
    assert f"validation={model.validation_scores_[-1]:.4g}" in last
    RNNRegressor(solver=solver, **QUICK).fit(LIST, Y)
    assert capsys.readouterr() == ("", "")


def test_without_tqdm():
    code = """
import sys
sys.modules["tqdm"] = None
import numpy as np
from numba_rnn.estimators import RNNRegressor
X = np.random.default_rng(0).normal(size=(5, 3))
RNNRegressor(2, max_iter=1, n_iter_no_change=np.inf).fit(X, X[:, 0])
try:
    RNNRegressor(2, max_iter=1, verbose=1).fit(X, X[:, 0])
except ModuleNotFoundError as error:
    assert "tqdm" in str(error) and "pip install tqdm (" in str(error), error
else:
    raise AssertionError
"""
    python(code)


def test_dropout_acts_in_training_alone():
    model = RNNRegressor(num_layers=2, dropout=0.5, **QUICK).fit(LIST, Y)
    assert_same_bits(model.predict(LIST), model.predict(LIST))
    assert not model.rnn_.training
    without = RNNRegressor(num_layers=2, **QUICK).fit(LIST, Y)
    assert (weights(model) != weights(without)).any()
    with pytest.warns(UserWarning, match="dropout acts between layers"):
        RNNRegressor(dropout=0.5, **QUICK).fit(LIST, Y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(LIST)
