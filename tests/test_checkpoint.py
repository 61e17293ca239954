"""A training that was stopped, in whatever way, ends in the bits of one that never was."""

import json
import os

import numpy as np
import pytest
from helpers import assert_same_bits
from processes import python
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_val_score

from numba_rnn import atomic
from numba_rnn.estimators import RNNClassifier, RNNRegressor
from numba_rnn.estimators.training import Training

# Of L-BFGS a few iterations are enough here, and it warns whenever it doesn't come to its end.
pytestmark = pytest.mark.filterwarnings(
    "ignore:max_iter=.+ iterations of L-BFGS:sklearn.exceptions.ConvergenceWarning"
)

RNG = np.random.default_rng(0)
LIST = [RNG.normal(size=(length, 2)) for length in RNG.integers(1, 12, 30)]
Y = np.array([x[-1].sum() for x in LIST])
QUICK = {"hidden_size": 4, "max_iter": 6, "n_iter_no_change": np.inf, "random_state": 0}
KINDS = {
    "plain": {},
    "everything": {
        "num_layers": 2, "dropout": 0.4, "early_stopping": True, "solver": "rmsprop",
        "truncation": 3, "batch_size": 7, "alpha": 0.1, "pooling": "mean",
    },
    "sgd": {"solver": "sgd", "shuffle": False, "batch_size": 7},
    "lbfgs": {"solver": "lbfgs"},
    "lbfgs, early stopping": {"solver": "lbfgs", "early_stopping": True, "dtype": "float64"},
}  # fmt: skip


def fitted(model):
    """All that a fit leaves."""
    names = ("loss_curve_", "validation_scores_", "n_iter_", "best_loss_", "x_mean_", "y_mean_")
    found = {name: np.array(getattr(model, name), float) for name in names if hasattr(model, name)}
    return found | {"rnn": model.rnn_.flat_parameters, "head": model.head_.flat_parameters}


class Stop(Exception):
    """Instead of a kill, within a process."""


def stop_after(epochs, monkeypatch):
    """Let the process end, so to speak, while it writes the checkpoint of an epoch."""
    real, calls = atomic.write, []

    def write(path, data):
        calls.append(path)
        if len(calls) > epochs:
            raise Stop
        real(path, data)

    monkeypatch.setattr(atomic, "write", write)


@pytest.mark.parametrize("kind", KINDS)
def test_going_on_gives_the_same_bits(kind, tmp_path, monkeypatch):
    options = QUICK | KINDS[kind]
    expected = fitted(RNNRegressor(**options).fit(LIST, Y))
    for epochs in (0, 1, 4, 5):
        path = tmp_path / f"{epochs}.checkpoint"
        with monkeypatch.context() as patched, pytest.raises(Stop):
            stop_after(epochs, patched)
            RNNRegressor(checkpoint=path, **options).fit(LIST, Y)
        assert path.exists() == (epochs > 0)
        # A resumed one may be stopped again.
        with monkeypatch.context() as patched, pytest.raises(Stop):
            stop_after(0, patched)
            RNNRegressor(checkpoint=path, **options).fit(LIST, Y)
        assert_same_bits(fitted(RNNRegressor(checkpoint=path, **options).fit(LIST, Y)), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_finished_file_gives_the_finished_model(kind, tmp_path, monkeypatch):
    options = QUICK | KINDS[kind] | {"checkpoint": tmp_path / "checkpoint"}
    expected = fitted(RNNRegressor(**options).fit(LIST, Y))
    content = options["checkpoint"].read_bytes()

    def no_more(*arguments):
        raise AssertionError("trained again")

    from numba_rnn.estimators.network import Network

    monkeypatch.setattr(Network, "gradients", no_more)
    assert_same_bits(fitted(RNNRegressor(**options).fit(LIST, Y)), expected)
    assert options["checkpoint"].read_bytes() == content
    assert os.listdir(tmp_path) == ["checkpoint"]


def test_one_that_stalled_is_finished_too(tmp_path):
    options = {"hidden_size": 4, "tol": 0.5, "random_state": 0, "checkpoint": tmp_path / "c"}
    first = RNNRegressor(**options).fit(LIST, Y)
    assert first.n_iter_ == 12
    assert_same_bits(fitted(RNNRegressor(**options).fit(LIST, Y)), fitted(first))
    options |= {"tol": 0.0, "max_iter": 11, "checkpoint": tmp_path / "d"}
    for _ in range(2):
        with pytest.warns(ConvergenceWarning):
            RNNRegressor(**options).fit(LIST, Y)


def test_without_a_random_state_the_file_has_it(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint"
    options = QUICK | KINDS["everything"] | {"random_state": None, "checkpoint": path}
    np.random.seed(3)
    expected = fitted(RNNRegressor(**options | {"checkpoint": None}).fit(LIST, Y))
    np.random.seed(3)
    with monkeypatch.context() as patched, pytest.raises(Stop):
        stop_after(2, patched)
        RNNRegressor(**options).fit(LIST, Y)
    np.random.seed(4)
    assert_same_bits(fitted(RNNRegressor(**options).fit(LIST, Y)), expected)


KILLS = """
import os, signal, sys, time, warnings
import numpy as np
from numba_rnn.estimators import RNNClassifier

warnings.filterwarnings("ignore", "This process", DeprecationWarning)  # from Python 3.12 on
rng = np.random.default_rng(5)
X = [rng.normal(size=(length, 3)) for length in rng.integers(5, 30, 120)]
y = [str(k % 4) for k in range(120)]
options = dict(
    hidden_size=16, num_layers=2, dropout=0.2, batch_size=16, early_stopping=True, max_iter=100,
    n_iter_no_change=np.inf, random_state=1,
)
path, written = "checkpoint", None
moments = np.random.default_rng()
for _ in range(8):
    child = os.fork()
    if child == 0:
        RNNClassifier(checkpoint=path, **options).fit(X, y)
        os._exit(0)
    until = time.monotonic() + 60
    while not os.path.exists(path) or os.stat(path).st_mtime_ns == written:  # an epoch at least
        assert time.monotonic() < until
        time.sleep(0.001)
    time.sleep(moments.uniform(0, 0.05))  # nobody knows in the middle of what
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL, "it was finished before"
    written = os.stat(path).st_mtime_ns
resumed = RNNClassifier(checkpoint=path, **options).fit(X, y)
whole = RNNClassifier(**options).fit(X, y)
for model in (resumed, whole):
    print(model.loss_curve_, model.validation_scores_, model.best_loss_, model.n_iter_)
    print(model.rnn_.flat_parameters.tobytes().hex() + model.head_.flat_parameters.tobytes().hex())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="it kills children of a fork")
def test_killed_at_any_moment(tmp_path):
    lines = python(KILLS, cwd=tmp_path, NUMBA_NUM_THREADS=1).splitlines()
    assert len(lines) == 4 and lines[:2] == lines[2:]
    assert lines[0].split()[-1] == "100"


# --- files that don't fit -----------------------------------------------------------------------


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "checkpoint"
    RNNClassifier(checkpoint=path, **QUICK).fit(LIST, Y > 0)
    return path


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"hidden_size": 5}, "hidden_size=4, not 5"),
        ({"max_iter": 7, "alpha": 1.0}, "alpha=0.0, not 1.0; max_iter=6, not 7"),
        ({"random_state": None}, "random_state=0, not None"),
        ({"dtype": "float64"}, "dtype='float32', not 'float64'"),
    ],
)
def test_other_parameters(options, words, path):
    before = path.read_bytes()
    with pytest.raises(ValueError, match=f"checkpoint '{path}' must .*written with {words}"):
        RNNClassifier(checkpoint=path, **QUICK | options).fit(LIST, Y > 0)
    assert path.read_bytes() == before


def test_same_parameters_otherwise_said(path):
    same = {"hidden_size": np.int64(4), "dtype": np.float32, "verbose": 0, "warm_start": True}
    RNNClassifier(checkpoint=str(path), **QUICK | same).fit(tuple(LIST), list(Y > 0))


def test_other_data(path):
    model = RNNClassifier(checkpoint=path, **QUICK)
    changed = [LIST[0] + 1e-12, *LIST[1:]]
    split = [LIST[0][:1], LIST[0][1:], *LIST[1:]]
    for X, y in (
        (changed, Y > 0),
        (LIST, Y < 0),
        (LIST, np.where(Y > 0, "b", "a")),
        (split, [Y[0] > 0, *(Y > 0)]),
    ):
        with pytest.raises(ValueError, match="with other X or y"):
            model.fit(X, y)
    with pytest.raises(ValueError, match="estimator='RNNClassifier', not 'RNNRegressor'"):
        RNNRegressor(checkpoint=path, **QUICK).fit(LIST, Y)


def test_a_file_is_of_one_training_alone(tmp_path):
    """So that a search or a cross-validation, which has many, is refused at the second."""
    model = RNNClassifier(checkpoint=tmp_path / "c", **QUICK)
    with pytest.raises(ValueError, match="with other X or y"):
        cross_val_score(model, LIST, Y > 0, cv=3, error_score="raise")
    model.set_params(checkpoint=tmp_path / "d")
    with pytest.raises(ValueError, match="must belong to the same training"):
        GridSearchCV(model, {"alpha": [0.0, 1.0]}, cv=2, error_score="raise").fit(LIST, Y > 0)


def test_damage(path, tmp_path):
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    model = RNNClassifier(checkpoint=path, **QUICK)
    for content in (b"", whole[:-1], whole[:40], bytes(flipped), b"x" + whole, b"PK\x03\x04"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"checkpoint '{path}' is not whole"):
            model.fit(LIST, Y > 0)
        assert path.read_bytes() == content


def test_no_place_for_a_file(path, tmp_path):
    model = RNNClassifier(**QUICK)
    for place in (tmp_path / "missing" / "c", path / "c"):
        with pytest.raises(ValueError, match=f"checkpoint must lie in a folder .*'{place}'"):
            model.set_params(checkpoint=place).fit(LIST, Y > 0)
    with pytest.raises(ValueError, match=f"checkpoint must be a file, got the folder '{tmp_path}'"):
        model.set_params(checkpoint=tmp_path).fit(LIST, Y > 0)
    assert not hasattr(model, "rnn_")


def test_nothing_is_unpickled(path):
    import hashlib
    import io

    from numba_rnn.estimators import checkpoint

    buffer = io.BytesIO()
    meta = np.frombuffer(json.dumps({"identity": {}}).encode(), np.uint8)
    np.savez(buffer, meta=meta, weights=np.array([Stop()], object))
    body = buffer.getvalue()
    head = checkpoint._MAGIC + hashlib.sha256(body).hexdigest().encode()
    path.write_bytes(head + b"\n" + body)
    with pytest.raises(ValueError, match=r"can't be read.*allow_pickle=False"):
        RNNClassifier(checkpoint=path, **QUICK).fit(LIST, Y > 0)


def test_warm_start_begins_from_its_weights(tmp_path):
    path = tmp_path / "checkpoint"
    options = QUICK | {"warm_start": True}
    model = RNNRegressor(**options).fit(LIST, Y)
    model.set_params(checkpoint=path).fit(LIST, Y)
    assert len(model.loss_curve_) == 12
    expected = fitted(model)
    again = RNNRegressor(**options).fit(LIST, Y).set_params(checkpoint=path).fit(LIST, Y)
    assert_same_bits(fitted(again), expected)
    with pytest.raises(ValueError, match="with other X or y"):
        again.fit(LIST, Y)  # from other weights


def test_an_interrupted_fit_goes_on(tmp_path, monkeypatch):
    expected = fitted(RNNRegressor(**QUICK).fit(LIST, Y))
    model = RNNRegressor(checkpoint=tmp_path / "checkpoint", **QUICK)
    real = Training._epoch

    def epoch(self, x, target):
        if self.history.n_iter == 3:
            raise KeyboardInterrupt
        return real(self, x, target)

    with monkeypatch.context() as patched, pytest.warns(UserWarning, match="interrupted"):
        patched.setattr(Training, "_epoch", epoch)
        model.fit(LIST, Y)
    assert model.n_iter_ == 3
    assert_same_bits(fitted(model.fit(LIST, Y)), expected)
