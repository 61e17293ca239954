"""A training that was stopped, in whatever way, ends in the bits of one that never was."""

import json
import logging
import os
import signal
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from helpers import assert_same_bits
from processes import environment, python
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_val_score

from numba_rnn import atomic, locks
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
    assert 12 < first.n_iter_ < 200
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
        (
            {"max_iter": 7, "alpha": 1.0, "hidden_size": 5},
            "alpha=0.0, not 1.0; hidden_size=4, not 5",
        ),
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

    def epoch(self, *data):
        if self.history.n_iter == 3:
            raise KeyboardInterrupt
        return real(self, *data)

    with monkeypatch.context() as patched, pytest.warns(UserWarning, match="interrupted"):
        patched.setattr(Training, "_epoch", epoch)
        model.fit(LIST, Y)
    assert model.n_iter_ == 3
    assert_same_bits(fitted(model.fit(LIST, Y)), expected)


# --- what may change ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("first", [3, 6])
def test_raising_max_iter(kind, first, tmp_path):
    """Of a training that had ended: as if the last number had been there from the start."""
    options = QUICK | KINDS[kind]
    expected = fitted(RNNRegressor(**options | {"max_iter": 9}).fit(LIST, Y))
    options["checkpoint"] = tmp_path / "c"
    for max_iter in (first, 7, 9):
        model = RNNRegressor(**options | {"max_iter": max_iter}).fit(LIST, Y)
    assert_same_bits(fitted(model), expected)


def test_lowering_max_iter(tmp_path, monkeypatch):
    path = tmp_path / "c"
    with monkeypatch.context() as patched, pytest.raises(Stop):
        stop_after(4, patched)
        RNNRegressor(checkpoint=path, **QUICK).fit(LIST, Y)
    model = RNNRegressor(checkpoint=path, **QUICK | {"max_iter": 3})
    with pytest.raises(ValueError, match=r"max_iter must be 4 at least, the epochs that .* got 3"):
        model.fit(LIST, Y)
    assert not hasattr(model, "rnn_") and os.listdir(tmp_path) == ["c"]
    for max_iter in (4, 5):
        expected = fitted(RNNRegressor(**QUICK | {"max_iter": max_iter}).fit(LIST, Y))
        options = QUICK | {"max_iter": max_iter, "checkpoint": path}
        assert_same_bits(fitted(RNNRegressor(**options).fit(LIST, Y)), expected)


@pytest.mark.filterwarnings("ignore:max_iter:sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("early_stopping", [False, True])
def test_patience_and_tol(tmp_path, early_stopping):
    """A stalled training goes on with more patience; what would have ended before is refused."""
    base = {"hidden_size": 4, "random_state": 0, "max_iter": 40, "early_stopping": early_stopping}
    base |= {"n_iter_no_change": 3, "tol": 0.5}
    began = RNNRegressor(checkpoint=tmp_path / "c", **base).fit(LIST, Y)
    assert began.n_iter_ < 40  # stalled
    content = (tmp_path / "c").read_bytes()
    for change in ({"n_iter_no_change": 6}, {"tol": 1e-6}, {"tol": 1e-3, "n_iter_no_change": 5}):
        (tmp_path / "c").write_bytes(content)
        expected = RNNRegressor(**base | change).fit(LIST, Y)
        assert expected.n_iter_ > began.n_iter_
        model = RNNRegressor(checkpoint=tmp_path / "c", **base | change).fit(LIST, Y)
        assert_same_bits(fitted(model), fitted(expected))
    (tmp_path / "c").write_bytes(content)
    for change in ({"n_iter_no_change": 1}, {"tol": 1e3, "n_iter_no_change": 2}):
        model = RNNRegressor(checkpoint=tmp_path / "c", **base | change)
        with pytest.raises(ValueError, match="would have ended the training after"):
            model.fit(LIST, Y)
        assert not hasattr(model, "rnn_")


def test_tol_of_lbfgs(tmp_path):
    """It stops where it would have stopped."""
    options = QUICK | KINDS["lbfgs"] | {"max_iter": 30}
    RNNRegressor(checkpoint=tmp_path / "c", **options).fit(LIST, Y)
    options["tol"] = 0.05
    expected = fitted(RNNRegressor(**options).fit(LIST, Y))
    assert expected["n_iter_"] < 30
    model = RNNRegressor(checkpoint=tmp_path / "c", **options).fit(LIST, Y)
    assert_same_bits(fitted(model), expected)


def test_what_matters_to_no_epoch(path, tmp_path):
    model = RNNClassifier(checkpoint=path, **QUICK | {"validation_fraction": 0.3})
    assert model.fit(LIST, Y > 0).n_iter_ == 6
    options = QUICK | KINDS["lbfgs"] | {"checkpoint": tmp_path / "lbfgs"}
    first = RNNRegressor(**options).fit(LIST, Y)
    options |= {"batch_size": 3, "learning_rate_init": 1.0, "shuffle": False, "clip_norm": None}
    assert_same_bits(fitted(RNNRegressor(**options).fit(LIST, Y)), fitted(first))


def rewritten(path, change):
    """Change what a checkpoint says, with a digest that is right."""
    import hashlib
    import io

    from numba_rnn.estimators import checkpoint

    with np.load(io.BytesIO(path.read_bytes()[checkpoint._HEAD :])) as file:
        arrays = dict(file)
    meta = json.loads(arrays.pop("meta").tobytes())
    change(meta)
    buffer = io.BytesIO()
    np.savez(buffer, meta=np.frombuffer(json.dumps(meta).encode(), np.uint8), **arrays)
    body = buffer.getvalue()
    head = checkpoint._MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n"
    path.write_bytes(head + body)


def test_files_of_versions_with_other_parameters(path):
    """One that is missing was what it is by default; one that is unknown may have mattered."""
    from numba_rnn import __version__

    def older(meta):
        assert meta.pop("version") == __version__
        del meta["identity"]["parameters"]["clip_norm"]

    def later(meta):
        meta["identity"]["parameters"]["gates"] = 3
        meta["version"] = "99.1"

    rewritten(path, older)
    RNNClassifier(checkpoint=path, **QUICK).fit(LIST, Y > 0)
    with pytest.raises(ValueError, match=r"written with clip_norm=1\.0, not 2\.0"):
        RNNClassifier(checkpoint=path, clip_norm=2.0, **QUICK).fit(LIST, Y > 0)
    RNNClassifier(checkpoint=path, **QUICK | {"max_iter": 7}).fit(LIST, Y > 0)
    rewritten(path, later)
    with pytest.raises(ValueError, match=r"clip_norm=1.0, not 2.0; gates=3, which.* version 99\.1"):
        RNNClassifier(checkpoint=path, clip_norm=2.0, **QUICK).fit(LIST, Y > 0)


# --- places and other trainings -----------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with a name are POSIX's")
def test_pipes_and_devices(tmp_path):
    os.mkfifo(tmp_path / "c")
    model = RNNRegressor(checkpoint=tmp_path / "c", **QUICK)
    with pytest.raises(ValueError, match="checkpoint must be a file, got the pipe or device"):
        model.fit(LIST, Y)


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_a_folder_that_can_not_be_written_to():
    """It is noticed before the first epoch; a training that is finished can be read from it."""
    code = """
import os, tempfile
import numpy as np
from numba_rnn.estimators import RNNRegressor
from numba_rnn.estimators.training import Training

folder = tempfile.mkdtemp()
rng = np.random.default_rng(0)
X, y = rng.normal(size=(20, 5, 2)), rng.normal(size=20)
options = dict(hidden_size=3, max_iter=2, n_iter_no_change=np.inf, random_state=0)
path = os.path.join(folder, "c")
for _ in range(2):  # all modules are imported then, which that user may not be able to read
    RNNRegressor(checkpoint=path, **options).fit(X, y)
if os.getuid() == 0:
    os.chown(folder, 65534, 65534)
    os.chown(path, 65534, 65534)
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
os.chmod(folder, 0o500)

def epoch(self, *data):
    raise AssertionError("too late")

Training._epoch = epoch
try:
    print(RNNRegressor(checkpoint=path, **options).fit(X, y).n_iter_)
    for other, more in ((path + "2", {}), (path, {"max_iter": 3})):
        model = RNNRegressor(checkpoint=other, **options | more)
        try:
            model.fit(X, y)
        except PermissionError as error:
            assert error.filename == other and not hasattr(model, "rnn_")
            print(error.strerror)
finally:
    os.chmod(folder, 0o700)
    os.unlink(path)
    os.rmdir(folder)
"""
    words = "checkpoint and its folder must be writable: Permission denied"
    assert python(code).splitlines() == ["2", words, words]


@pytest.mark.skipif(locks.fcntl is None, reason="this system has no flock")
def test_a_second_training_is_refused(tmp_path, monkeypatch):
    """While the first goes on; the first is not disturbed, and the second is what it was."""
    path = tmp_path / "c"
    expected = fitted(RNNRegressor(**QUICK).fit(LIST, Y))
    model, real = RNNRegressor(checkpoint=path, **QUICK), Training._epoch
    second = RNNRegressor(checkpoint=path, **QUICK)
    refused = []

    def epoch(self, *data):
        if self.history.n_iter in (0, 3):  # without a file, and with one
            with pytest.raises(RuntimeError, match=f"'{path}' is being written by another"):
                second.fit(LIST, Y)
            refused.append(self.history.n_iter)
        return real(self, *data)

    monkeypatch.setattr(Training, "_epoch", epoch)
    assert_same_bits(fitted(model.fit(LIST, Y)), expected)
    assert refused == [0, 3] and not hasattr(second, "rnn_")
    assert os.listdir(tmp_path) == ["c"]
    assert_same_bits(fitted(second.fit(LIST, Y)), expected)  # of the file, when it is finished


def test_without_locks_one_of_two_ends(tmp_path, monkeypatch):
    """As on some file systems of networks: the one that saves over another's file."""
    monkeypatch.setattr(locks, "fcntl", None)
    path, real = tmp_path / "c", Training._epoch
    model = RNNRegressor(checkpoint=path, **QUICK | {"random_state": None})
    other = RNNRegressor(checkpoint=path, **QUICK | {"random_state": None})

    def epoch(self, *data):
        if self.history.n_iter == 2:
            monkeypatch.setattr(Training, "_epoch", real)
            path.unlink()  # or else it would go on with that
            other.fit(LIST, Y)
        return real(self, *data)

    monkeypatch.setattr(Training, "_epoch", epoch)
    with pytest.raises(RuntimeError, match="is being written by another training"):
        model.fit(LIST, Y)
    assert_same_bits(fitted(RNNRegressor(**other.get_params()).fit(LIST, Y)), fitted(other))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="it leaves a child of a fork behind")
def test_a_killed_training_can_be_resumed_at_once(tmp_path):
    """Even where a child that it forked lives on, with all files that were open."""
    code = """
import os, signal, sys, time, warnings
import numpy as np
from numba_rnn.estimators import RNNRegressor
from numba_rnn.estimators.training import Training

warnings.filterwarnings("ignore", "This process", DeprecationWarning)  # from Python 3.12 on
options = dict(hidden_size=3, max_iter=4, n_iter_no_change=np.inf, random_state=0)
rng = np.random.default_rng(0)
X, y = rng.normal(size=(20, 5, 2)), rng.normal(size=20)
real = Training._epoch

def epoch(self, *data):
    if self.history.n_iter == 2 and "die" in sys.argv:
        if (child := os.fork()) == 0:
            time.sleep(600)
        print(child, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, *data)

Training._epoch = epoch
print(RNNRegressor(checkpoint="c", **options).fit(X, y).n_iter_)
"""
    command, options = [sys.executable, "-c", code], {"env": environment(), "cwd": tmp_path}
    with subprocess.Popen([*command, "die"], stdout=subprocess.PIPE, text=True, **options) as died:
        child = int(died.stdout.readline())
        try:
            assert died.wait() == -signal.SIGKILL
            assert len(os.listdir(tmp_path)) == 2  # it left a lock that nobody holds
            assert python(code, cwd=tmp_path) == "4\n"
        finally:
            os.kill(child, signal.SIGKILL)
    assert os.listdir(tmp_path) == ["c"]


def test_arrays_that_ask_for_memory(path):
    """Compressed ones, and a file of 5 GB that takes no place on the disk."""
    import hashlib
    import io

    from numba_rnn.estimators import checkpoint

    model = RNNClassifier(checkpoint=path, **QUICK)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("meta.npy", bytes(10_000_000))
    body = buffer.getvalue()
    head = checkpoint._MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n"
    path.write_bytes(head + body)
    with pytest.raises(ValueError, match=r"can't be read.*must not be compressed"):
        model.fit(LIST, Y > 0)
    with open(path, "wb") as file:
        file.truncate(5 << 30)
    with pytest.raises(ValueError, match="is not whole or no checkpoint"):
        model.fit(LIST, Y > 0)


# --- logging ------------------------------------------------------------------------------------


def test_logging(tmp_path, caplog, capfd):
    """A record for each epoch, once, and nothing where nobody listens."""
    RNNRegressor(early_stopping=True, **QUICK).fit(LIST, Y)
    assert not caplog.records and capfd.readouterr() == ("", "")
    assert logging.getLogger("numba_rnn.estimators").handlers
    for solver in ("adam", "lbfgs"):
        options = QUICK | {
            "solver": solver,
            "early_stopping": True,
            "checkpoint": tmp_path / solver,
        }
        caplog.clear()
        with caplog.at_level(logging.INFO, logger="numba_rnn.estimators"):
            RNNRegressor(**options | {"max_iter": 4}).fit(LIST, Y)
            model = RNNRegressor(**options).fit(LIST, Y)  # goes on
        records = [r for r in caplog.records if r.name == "numba_rnn.estimators"]
        assert [record.epoch for record in records] == [1, 2, 3, 4, 5, 6]
        assert [record.loss for record in records] == model.loss_curve_
        assert [record.validation_score for record in records] == model.validation_scores_
        assert {record.levelno for record in records} == {logging.INFO}
        text = f"epoch 1: loss {model.loss_curve_[0]:.6g}, validation score "
        assert records[0].getMessage().startswith(text)
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="numba_rnn"):
        RNNRegressor(**QUICK).partial_fit(LIST, Y).partial_fit(LIST, Y)
    assert [r.epoch for r in caplog.records] == [1, 2]
    assert caplog.records[0].validation_score is None
    assert capfd.readouterr().out == ""
