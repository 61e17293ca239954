"""Dask's arrays and clients as they should not be: refused, or raised with the user's words."""

import threading
import time

import numpy as np
import pytest
from helpers import normal

import numba_rnn as nr
from numba_rnn.estimators import RNNRegressor

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
distributed = pytest.importorskip("distributed")

L, N, I = 6, 4, 3
QUICK = {"hidden_size": 2, "max_iter": 1, "n_iter_no_change": np.inf, "random_state": 0}


class Duck:
    """An array that is none of NumPy's, as CuPy's and sparse ones are."""

    def __init__(self, array):
        self.array = array

    shape = property(lambda self: self.array.shape)
    dtype = property(lambda self: self.array.dtype)
    ndim = property(lambda self: self.array.ndim)

    def __array_function__(self, *_):
        return NotImplemented

    def __getitem__(self, place):
        return Duck(self.array[place])


@pytest.fixture(scope="module")
def model():
    return RNNRegressor(**QUICK).fit(normal((8, L, I)), normal(8))


@pytest.fixture(scope="module")
def calls(model):
    """All that takes a Dask array, by name of the argument, with one that it takes."""
    rnn, cell, linear = nr.RNN(I, 2, rng=0), nr.RNNCell(I, 2, rng=0), nr.Linear(I, 2, rng=0)
    x = da.zeros((L, N, I), chunks=(2, 2, I), dtype=np.float32)
    h_0 = da.zeros((1, N, 2), chunks=(1, 2, 2), dtype=np.float32)
    lengths = da.full(N, L, chunks=2)
    return {
        "x of RNN": (lambda value: rnn(value), x),
        "h_0 of RNN": (lambda value: rnn(x, value), h_0),
        "lengths of RNN": (lambda value: rnn(x, lengths=value), lengths),
        "x of RNNCell": (lambda value: cell(value), x[0]),
        "h of RNNCell": (lambda value: cell(x[0], value), h_0[0]),
        "x of Linear": (lambda value: linear(value), x),
        "data of map_series": (
            lambda value: nr.dask.map_series(len, value, offsets=[0, 2]), x[:, 0]
        ),
        "X of predict": (lambda value: model.predict(value), x),
    }  # fmt: skip


NAMES = (
    "x of RNN", "h_0 of RNN", "lengths of RNN", "x of RNNCell", "h of RNNCell", "x of Linear",
    "data of map_series", "X of predict",
)  # fmt: skip


@pytest.fixture(scope="module")
def cluster():
    """Two workers, processes of one thread each."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
    ) as cluster:
        yield cluster


@pytest.fixture
def client(cluster):
    with distributed.Client(cluster) as client:
        yield client


def wait_until(condition):
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def argument(name):
    return name.partition(" ")[0]


# --- known before anything is computed ----------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_chunks_of_unknown_size(calls, name):
    if name == "data of map_series":
        pytest.importorskip("pandas")
    call, value = calls[name]
    call(value)
    some = value[da.ones(value.shape[0], chunks=value.chunks[0]) > 0]
    with pytest.raises(
        ValueError,
        match=rf"^{argument(name)} must have chunks of known size, .*compute_chunk_sizes\(\)",
    ):
        call(some)


@pytest.mark.parametrize("name", NAMES)
def test_blocks_that_are_not_numpys(calls, name):
    if name == "data of map_series":
        pytest.importorskip("pandas")
    call, value = calls[name]
    meta = Duck(np.zeros((0,) * value.ndim, value.dtype))
    words = rf"^{argument(name)} must have blocks that are NumPy arrays, got "
    with pytest.raises(TypeError, match=words + r".*Duck"):
        call(value.map_blocks(Duck, meta=meta))
    if name[-4:] in (" RNN", "Cell", "near"):  # elsewhere masks mean something
        with pytest.raises(TypeError, match=words + "numpy.MaskedArray"):
            call(da.ma.masked_array(value, False))


@pytest.mark.parametrize("name", ["x of RNN", "x of RNNCell", "x of Linear"])
def test_features_in_several_chunks(calls, name):
    """They are moved into one, with a warning, and the result is the same."""
    call, value = calls[name]
    given = da.from_array(normal(value.shape, np.float32), value.chunks)
    split = given.rechunk({-1: 2})
    with pytest.warns(UserWarning, match="the 3 features of x lie in 2 chunks") as caught:
        found = call(split)
    assert caught[0].filename == __file__
    both = [out[0] if isinstance(out, tuple) else out for out in (found, call(given))]
    ours, theirs = dask.compute(*both, scheduler="synchronous")
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("value", [-1, L + 1, 10**6])
def test_lengths_that_are_none(value):
    """Dask's are seen when they are computed, by the task that reads them."""
    x, rnn = da.zeros((L, N, I), chunks=(2, 2, I), dtype=np.float32), nr.RNN(I, 2, rng=0)
    words = rf"lengths must lie between 0 and {L}, the padded length, got {value} at index"
    with pytest.raises(ValueError, match=words):
        rnn(x, lengths=[1, 2, 3, value])
    for out in rnn(x, lengths=da.from_array([1, 2, 3, value], 2)):
        with pytest.raises(ValueError, match=words):
            out.compute(scheduler="synchronous")
    liar = da.ones(N, chunks=2, dtype=int).map_blocks(lambda block: block / 2, dtype=int)
    with pytest.raises(TypeError, match="lengths must hold integers"):
        rnn(x, lengths=liar)[0].compute(scheduler="synchronous")
    longer = da.ones(N, chunks=2, dtype=int).map_blocks(lambda block: np.ones(3, int), dtype=int)
    with pytest.raises(ValueError, match="lengths must hold one length for each of the 2"):
        rnn(x, lengths=longer)[0].compute(scheduler="synchronous")


def test_an_estimator_that_can_not_be_pickled(model):
    X = da.zeros((4, L, I), chunks=(2, L, I))
    lock = threading.Lock()
    lost = RNNRegressor(**QUICK).fit(normal((8, L, I)), normal(8)).set_params(loss=lock)
    for call in (lost.predict, lambda X: lost.score(X, np.zeros(4))):
        with pytest.raises(TypeError, match=r"^loss must be something that can be pickled, .*lock"):
            call(X)
    own = model.set_params(verbose=0)
    assert own.predict(X).compute(scheduler="synchronous").shape == (4,)


# --- clients ------------------------------------------------------------------------------------


def test_what_can_not_be_sent(client):
    pytest.importorskip("pandas")
    lock, blocks = threading.Lock(), [1, 2]

    def locked(*_):
        with lock:
            return 0.0, []

    def fine(*_):
        return 0.0, []

    words = "must be something that can be pickled, to be sent to workers, got .*lock"
    for name, given in {
        "function": (locked, None, blocks),
        "parameters": (fine, {"lock": lock}, blocks),
        "blocks": (fine, None, [1, lock]),
    }.items():
        with pytest.raises(TypeError, match=rf"^{name} {words}"):
            nr.dask.gradients(*given)
    with pytest.raises(TypeError, match=rf"^function {words}"):
        nr.dask.map_series(locked, da.zeros(9), offsets=[0, 9])
    assert nr.dask.gradients(fine, None, blocks) == (0.0, [])

    def wrong(*_):
        raise TypeError("of mine: I can't pickle cucumbers")

    with pytest.raises(TypeError, match=r"^of mine"):
        nr.dask.gradients(wrong, None, blocks)
    with dask.config.set(scheduler="threads"):  # nothing is sent anywhere
        assert nr.dask.gradients(locked, None, blocks) == (0.0, [])


def test_a_client_that_was_closed(calls, cluster):
    pandas, frames = pytest.importorskip("pandas"), pytest.importorskip("dask.dataframe")
    frame = pandas.DataFrame({"a": [[1.0], [2.0]]})
    with (
        dask.config.set({"dataframe.convert-string": False}),
        distributed.Client(cluster, set_as_default=False) as first,
    ):
        kept = {name: first.persist(value) for name, (_, value) in calls.items()}
        frame = first.persist(frames.from_pandas(frame, npartitions=2))
        for name, (call, _) in calls.items():
            call(kept[name])
        nr.dask.map_series(len, frame, "a")
    words = "must be of a client that is open, got blocks that were persisted on one that is closed"
    for name, (call, _) in calls.items():
        with pytest.raises(ValueError, match=rf"^{argument(name)} {words}"):
            call(kept[name])
    with pytest.raises(ValueError, match=rf"^data {words}"):
        nr.dask.map_series(len, frame, "a")


def test_blocks_of_gradients_that_are_gone(cluster):
    words = r"must be there, got one of an array that was persisted and is gone, or its client"
    with distributed.Client(cluster) as first:
        kept = first.persist(da.ones((4, 2), chunks=(2, 2)))
        blocks = kept.to_delayed().ravel()
        assert nr.dask.gradients(sums, None, blocks)[0] == 8.0
        pairs = list(zip(blocks, [1, 2], strict=True))
        one = first.persist(dask.delayed(np.ones)(2))
        assert nr.dask.gradients(sums, None, [one, one])[0] == 4.0
        sent = first.scatter(np.ones(2))
        assert nr.dask.gradients(sums, None, [sent, sent])[0] == 4.0
        del kept
        wait_until(lambda: not any(block.key in first.futures for block in blocks))
        with pytest.raises(ValueError, match=rf"^blocks\[0\] {words}"):
            nr.dask.gradients(sums, None, blocks)
        with pytest.raises(ValueError, match=rf"^blocks\[1\] {words}"):
            nr.dask.gradients(sums, None, [(np.ones(2), 1), pairs[1]])
    with distributed.Client(cluster):
        with pytest.raises(ValueError, match=rf"^blocks\[0\] {words}"):
            nr.dask.gradients(sums, None, blocks)
        for lost in (one, sent):
            with pytest.raises(ValueError, match=r"^blocks\[1\] must be of a client that is open"):
                nr.dask.gradients(sums, None, [np.ones(2), lost])
    with pytest.raises(ValueError, match=rf"^blocks\[0\] {words}"):
        nr.dask.gradients(sums, None, blocks)


def test_cancelled_blocks(client, calls):
    call, value = calls["x of RNN"]
    kept = client.persist(value)
    client.cancel(kept)
    with pytest.raises(ValueError, match=r"^x must have blocks that are there, got .* cancelled"):
        call(kept)


def sums(_, block):
    return block.sum(), []


# --- what the user's function raises ------------------------------------------------------------


def spoilt(*given):
    """A function of the user's that has a mistake in it."""
    raise LookupError("no such thing as a spoon")


def test_a_worker_raises_what_the_user_wrote(client):
    """With the line of the user's function in the traceback, also of what lies below a layer."""
    pytest.importorskip("pandas")
    x = da.zeros((L, N, I), chunks=(2, 2, I), dtype=np.float32)
    below = x.map_blocks(spoilt, dtype=np.float32, meta=np.empty((0, 0, 0), np.float32))
    for call in (
        lambda: nr.dask.gradients(spoilt, None, [1, 2, 3]),
        lambda: nr.dask.map_series(spoilt, x[:, 0, 0], offsets=[0, 2, 5, 6]).compute(),
        lambda: nr.RNN(I, 2, rng=0)(below)[1].compute(),
        lambda: nr.Linear(I, 2, rng=0)(below).compute(),
    ):
        with pytest.raises(LookupError, match=r"^'?no such thing as a spoon'?$") as caught:
            call()
        assert caught.traceback[-1].name == "spoilt"
        assert caught.traceback[-1].path.name == "test_dask_bad_input.py"


# --- nothing is left behind ---------------------------------------------------------------------


def slow(folder, block):
    """Leave a file, and be busy for a while; the first block fails when others are on their way."""
    (folder / str(block)).touch()
    if block == 0:
        wait_until(lambda: len(list(folder.iterdir())) > 3)
        raise LookupError("of block 0")
    time.sleep(0.05)
    return 0.0, []


def idle(client):
    """Wait until workers neither run a task nor know of one."""
    wait_until(lambda: not any(client.run(count_tasks).values()))


def count_tasks(dask_worker):
    return len(dask_worker.state.tasks)


def test_nothing_runs_after_an_error(client, tmp_path):
    """Not even the rest of a worker's share, of which a worker can't be rid by itself."""
    with pytest.raises(LookupError, match="of block 0"):
        nr.dask.gradients(slow, tmp_path, range(512))
    idle(client)
    assert len(list(tmp_path.iterdir())) < 100  # of the other worker's share of 256
    assert nr.dask.gradients(sums, None, [np.ones(2)] * 8)[0] == 16.0


def test_nothing_runs_after_an_interrupt(client, tmp_path, monkeypatch):
    """The client is interrupted while it waits."""
    real = type(client).gather

    def gather(self, *given, **options):
        while len(list(tmp_path.iterdir())) < 4:
            time.sleep(0.01)
        raise KeyboardInterrupt

    monkeypatch.setattr(type(client), "gather", gather)
    with pytest.raises(KeyboardInterrupt):
        nr.dask.gradients(slow, tmp_path, range(1, 513))
    monkeypatch.setattr(type(client), "gather", real)
    idle(client)
    assert len(list(tmp_path.iterdir())) < 100  # of shares of 256
    rnn, x = nr.RNN(I, 2, rng=0), da.zeros((L, N, I), chunks=(1, 2, I), dtype=np.float32)
    monkeypatch.setattr(type(client), "gather", gather)
    with pytest.raises(KeyboardInterrupt):
        rnn(x)[0].compute()
    monkeypatch.setattr(type(client), "gather", real)
    idle(client)
