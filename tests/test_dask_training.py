"""Gradients of blocks: one sum, whatever the workers, and when one of them is lost."""

import contextlib
import os
import signal

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


@pytest.fixture
def cluster():
    """Two workers, processes of one thread each."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
    ) as cluster:
        yield cluster


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
            patch.setattr(trees, "_workers", lambda dask, workers=workers: workers)
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

    def count(_, block):
        a, b = block
        assert a.shape == (5, 2, 3) and b.shape == (2,)
        return b.sum(), []

    given = zip(x.to_delayed().ravel(), y.to_delayed().ravel(), strict=True)
    assert in_one_process(count, None, given) == (28.0, [])


def dying(parameters, x):
    """What `of_states` gives, but the first who finds no file of this name kills its process."""
    rnn, path = parameters
    if path is not None:
        with contextlib.suppress(FileExistsError):
            path.touch(exist_ok=False)
            os.kill(os.getpid(), signal.SIGKILL)
    return of_states(rnn, x)


def train(steps, fatal, folder):
    """The losses and parameters of a training by hand; in some steps a worker is killed.

    The blocks are kept on the workers, so that some are lost with one.
    """
    rnn = nr.RNN(3, 4, rng=0)
    optimizer, losses = nr.optim.Adam([rnn.flat_parameters], lr=1e-2), []
    kept = da.from_array(normal((5, 32, 3), np.float32), (5, 4, 3)).persist()
    x = kept.to_delayed().ravel()
    for k in range(steps):
        path = folder / str(k) if k in fatal else None
        value, grads = nr.dask.gradients(dying, (rnn, path), x)
        optimizer.step(grads)
        losses.append(value)
    return np.array(losses), rnn.flat_parameters


def test_a_training_loses_a_worker_and_nothing_else(cluster, tmp_path):
    with dask.config.set(scheduler="synchronous"):
        expected = train(5, (), tmp_path)
    with distributed.Client(cluster):
        assert_same_bits(train(5, (1, 3), tmp_path), expected)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "3"]


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
