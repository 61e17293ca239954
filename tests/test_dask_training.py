"""Gradients of blocks: one sum, whatever the workers, and when one of them is lost."""

import asyncio
import contextlib
import os
import random
import signal
import tempfile
import threading
import time
from itertools import count, takewhile

import numpy as np
import pytest
from helpers import assert_same_bits, normal
from hypothesis import given
from hypothesis import strategies as st

import numba_rnn as nr
from numba_rnn.dask import trees

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
distributed = pytest.importorskip("distributed")


def of_states(rnn, x):
    """Half the sum of squares of the last states."""
    tape = rnn.forward(x)
    return 0.5 * float((tape.h_n**2).sum()), [tape.backward(grad_h_n=tape.h_n).flat]


def blocks(N=32, size=4):
    x = normal((5, N, 3), np.float32)
    return da.from_array(x, (5, size, 3)).to_delayed().ravel()


def in_one_process(function, parameters, given):
    with dask.config.set(scheduler="synchronous"):
        return nr.dask.gradients(function, parameters, given)


def workers(count):
    """Workers that are processes of one thread each."""
    return distributed.LocalCluster(
        n_workers=count, threads_per_worker=1, processes=True, dashboard_address=":0"
    )


@pytest.fixture(scope="module")
def cluster():
    """Of two workers, which are waited for when they are killed again and again."""
    patience = {"distributed.deploy.lost-worker-timeout": "1 hour"}
    with dask.config.set(patience), workers(2) as cluster:
        yield cluster


@pytest.fixture
def client(cluster):
    """Of two workers."""
    with distributed.Client(cluster) as client:
        client.wait_for_workers(2)
        yield client


@given(st.integers(1, 21))
def test_the_tree_is_the_same_for_any_number_of_workers(count):
    """1e8 and ones: in float32 each other order gives another sum."""
    numbers = np.where(np.arange(count) % 3 == 0, 1e8, 1.0).astype(np.float32)
    numbers *= np.random.default_rng(count).normal(size=count).astype(np.float32)

    def pairwise(values):
        """The tree by its definition: neighbours, padded to a power of two with nothing."""
        values = list(values)
        while len(values) > 1:
            values += [None] * (len(values) % 2)
            pairs = zip(values[::2], values[1::2], strict=True)
            values = [a if b is None else a + b for a, b in pairs]
        return values[0]

    with pytest.MonkeyPatch.context() as patch:
        for workers in (1, 2, 4, 8, 64):
            patch.setattr(trees, "_threads", lambda *_, workers=workers: workers)
            value, (total,) = in_one_process(
                lambda _, number: (number, [np.array([number])]), None, numbers
            )
            assert_same_bits(total, np.array([pairwise(numbers)]))
            assert value == pairwise(numbers.astype(float).tolist())


def test_gradients_are_those_of_the_blocks_one_by_one():
    rnn = nr.RNN(3, 4, rng=0)
    x = normal((5, 32, 3), np.float32)
    value, (flat,) = in_one_process(of_states, rnn, blocks())
    parts = [of_states(rnn, x[:, n : n + 4]) for n in range(0, 32, 4)]
    np.testing.assert_allclose(value, sum(part[0] for part in parts), rtol=1e-12)
    np.testing.assert_allclose(flat, sum(part[1][0] for part in parts), rtol=1e-4, atol=1e-5)
    assert flat.dtype == np.float32
    with dask.config.set(scheduler="threads"):
        again, grads = nr.dask.gradients(of_states, rnn, blocks())
    assert again == value
    assert_same_bits(grads, [flat])


def test_blocks_of_several_arrays():
    x, y = da.ones((5, 8, 3), chunks=(5, 2, 3)), da.arange(8, chunks=2)

    def sums(_, block):
        a, b = block
        assert a.shape == (5, 2, 3) and b.shape == (2,)
        return b.sum(), []

    given = zip(x.to_delayed().ravel(), y.to_delayed().ravel(), strict=True)
    assert in_one_process(sums, None, given) == (28.0, [])


def dying(parameters, x):
    """What `of_states` gives, but the first who finds no file of this name kills its process."""
    rnn, path = parameters
    if path is not None:
        with contextlib.suppress(FileExistsError):
            path.touch(exist_ok=False)
            os.kill(os.getpid(), signal.SIGKILL)
    return of_states(rnn, x)


def train(steps, fatal, folder):
    """The losses and parameters of a training by hand; in steps that are fatal a worker is killed.

    The blocks are kept on the workers, so that some are lost with one.
    """
    rnn = nr.RNN(3, 4, rng=0)
    optimizer, losses = nr.optim.Adam([rnn.flat_parameters], lr=1e-2), []
    kept = da.from_array(normal((5, 32, 3), np.float32), (5, 4, 3)).persist()
    x = kept.to_delayed().ravel()
    for k in steps:
        path = folder / str(k) if k in fatal else None
        value, grads = nr.dask.gradients(dying, (rnn, path), x)
        optimizer.step(grads)
        losses.append(value)
    return np.array(losses), rnn.flat_parameters


def test_a_training_loses_a_worker_and_nothing_else(client, tmp_path):
    with dask.config.set(scheduler="synchronous"):
        expected = train(range(5), (), tmp_path)
    assert_same_bits(train(range(5), (1, 3), tmp_path), expected)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "3"]


def test_workers_are_killed_at_random_moments(client, cluster):
    """From outside, whatever they do; both of them too, and while another is being started."""
    rng = random.Random(0)

    def kill():
        for _ in range(4):
            time.sleep(rng.uniform(0, 1))
            pids = [nanny.pid for nanny in cluster.workers.values() if nanny.pid is not None]
            if pids:
                with contextlib.suppress(ProcessLookupError):  # another was faster
                    os.kill(rng.choice(pids), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    losses, parameters = train(takewhile(lambda _: killer.is_alive(), count()), (), None)
    killer.join()
    with dask.config.set(scheduler="synchronous"):
        assert_same_bits((losses, parameters), train(range(len(losses)), (), None))


def test_blocks_on_the_workers_arrays_and_what_is_still_to_be_made(client):
    """All ways to give blocks give one sum."""
    x = da.from_array(normal((5, 32, 3), np.float32), (5, 4, 3))
    rnn, given = nr.RNN(3, 4, rng=0), x.to_delayed().ravel()
    expected = in_one_process(in_pairs, rnn, [(one, [2.0]) for one in given])
    kept = x.persist()
    on_workers, half = kept.to_delayed().ravel(), (kept / 2).to_delayed().ravel()
    arrays = [np.asarray(block) for block in dask.compute(*given)]
    futures = [distributed.Future(one.key, client) for one in on_workers]
    for ways in (on_workers, given, arrays, futures, list(on_workers[:4]) + arrays[4:]):
        assert_same(nr.dask.gradients(in_pairs, rnn, [(one, [2.0]) for one in ways]), expected)
    doubled = [(one, [4.0]) for one in half]  # of what is kept, and not kept itself
    assert_same(nr.dask.gradients(in_pairs, rnn, doubled), expected)
    named = [{"x": one} for one in on_workers]
    assert_same(
        nr.dask.gradients(lambda rnn, block: in_pairs(rnn, (block["x"], [2.0])), rnn, named),
        expected,
    )
    task = client.submit(nr.dask.gradients, in_pairs, rnn, [(one, [2.0]) for one in arrays])
    assert_same(task.result(), expected)  # asks for the workers that it is on


def in_pairs(rnn, block):
    x, (scale,) = block
    assert isinstance(x, np.ndarray)
    return of_states(rnn, x * np.float32(scale))


def assert_same(a, b):
    assert a[0] == b[0]
    assert_same_bits(a[1], b[1])


class Remade:
    """A function that leaves a file named after the process in which it is read."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return remade, (self.folder,)

    def __call__(self, rnn, x):
        return of_states(rnn, x)


def remade(folder):
    tempfile.mkstemp(prefix=f"{os.getpid()}-", dir=folder)
    return Remade(folder)


def test_a_function_is_read_once_by_each_worker_and_not_by_the_scheduler(client, tmp_path):
    function, kept = Remade(tmp_path), client.persist(list(blocks()))
    for k in range(4):
        nr.dask.gradients(function, nr.RNN(3, 4, rng=k), kept)
    workers = {str(pid) for pid in client.run(os.getpid).values()}
    assert sorted(path.name.partition("-")[0] for path in tmp_path.iterdir()) == sorted(workers)


def test_a_result_is_let_go_of_in_the_next_call(client):
    def kept():
        client.sync(asyncio.sleep, 0)  # what was released goes when the client's loop comes to it
        return len(client.futures)

    counts = []
    for k in range(3):
        nr.dask.gradients(lambda k, _: (k, [np.ones(2)]), k, [1, 2])
        counts.append(kept())
    assert counts == [2, 2, 2]
    nr.dask.gradients(lambda *_: (0.0, []), None, [1])
    assert kept() == 1


def test_what_cannot_be_sent_is_named(client):
    lock = threading.Lock()
    wanted = "must be something that can be pickled"
    with pytest.raises(TypeError, match=f"function {wanted}"):
        nr.dask.gradients(lambda *_: lock, None, [1, 2])
    with pytest.raises(TypeError, match=f"parameters {wanted}"):
        nr.dask.gradients(of_states, lock, [1, 2])
    assert not client.futures


def test_a_function_that_raises_on_a_worker_leaves_nothing_behind(client):
    def wrong(_, block):
        raise ZeroDivisionError(f"of block {block}")

    with pytest.raises(ZeroDivisionError, match="of block 0") as caught:
        nr.dask.gradients(wrong, None, [0, 0])
    assert "wrong" in [entry.name for entry in caught.traceback]
    client.sync(asyncio.sleep, 0)  # what was released goes when the client's loop comes to it
    assert not client.futures


def test_workers_come_and_go_between_steps():
    rnn = nr.RNN(3, 4, rng=0)
    expected = in_one_process(of_states, rnn, blocks())
    with workers(1) as cluster, distributed.Client(cluster) as client:
        kept = client.persist(list(blocks()))
        for count in (1, 3, 2):
            cluster.scale(count)
            client.wait_for_workers(count)
            trees._asked.clear()  # as if a second had passed
            assert_same(nr.dask.gradients(of_states, rnn, kept), expected)


def test_what_a_function_raises_is_raised_with_its_traceback():
    def wrong(_, block):
        raise ZeroDivisionError(f"of block {block}")

    with pytest.raises(ZeroDivisionError, match="of block 1") as caught:
        in_one_process(wrong, None, [1])
    assert caught.traceback[-1].name == "wrong"


@pytest.mark.parametrize("result", [None, 3.0, (1.0,), (1.0, None), ("a", []), (1.0, ["a"])])
def test_what_a_function_must_return(result):
    with pytest.raises(TypeError, match="function must return"):
        in_one_process(lambda *_: result, None, [1, 2])


def test_what_is_not_taken():
    with pytest.raises(ValueError, match="at least one block"):
        nr.dask.gradients(of_states, None, [])
    with pytest.raises(TypeError, match="function must be callable, got"):
        nr.dask.gradients(3, None, [1])
    with pytest.raises(ValueError, match="the same shapes and dtypes"):
        in_one_process(lambda _, n: (0.0, [np.zeros(n)]), None, [1, 2])
