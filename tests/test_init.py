"""Initial values by name."""

import numpy as np
import pytest
from helpers import assert_same_bits

import numba_rnn as nr
from numba_rnn import init

RECURRENT = (init.orthogonal_, init.identity_, init.sparse_)
DRAWN = (init.uniform_, init.orthogonal_, init.sparse_)


def stack(**options):
    return nr.RNN(3, 6, 2, bidirectional=True, **{"dtype": np.float64, "rng": 0} | options)


def recurrent(layer):
    return {n: p for n, p in layer.parameters.items() if n.startswith("weight_hh")}


def test_orthogonal():
    rnn = init.orthogonal_(stack(), 0.7, rng=1)
    matrices = list(recurrent(rnn).values())
    assert len(matrices) == 4
    for w in matrices:
        np.testing.assert_allclose(w @ w.T, 0.49 * np.eye(6), atol=1e-14)
    assert not np.allclose(matrices[0], matrices[1])
    # uniform over all of them: both signs of determinant and of the first entry come up
    many = [init.orthogonal_(nr.RNNCell(1, 2), rng=seed).weight_hh for seed in range(40)]
    assert {np.sign(np.linalg.det(w)) for w in many} == {-1, 1}
    assert {np.sign(w[0, 0]) for w in many} == {-1, 1}


def test_identity():
    rnn = init.identity_(stack(), 1.5)
    for w in recurrent(rnn).values():
        np.testing.assert_array_equal(w, 1.5 * np.eye(6))
    biases = [p for name, p in rnn.parameters.items() if name.startswith("bias")]
    assert len(biases) == 8 and not np.any(biases)
    init.identity_(stack(bias=False))


def test_sparse():
    rnn = nr.RNN(2, 200, 2, dtype=np.float64)
    init.sparse_(rnn, 10, 1.1, rng=0)
    for w in recurrent(rnn).values():
        assert np.all(np.count_nonzero(w, axis=1) == 10)
        assert np.all(np.count_nonzero(w, axis=0) < 40)  # columns are anybody's
        assert abs(np.mean(w[w != 0])) < 0.1 * np.std(w[w != 0])
        assert np.abs(np.linalg.eigvals(w)).max() == pytest.approx(1.1)
    assert np.all(init.sparse_(nr.RNNCell(2, 5)).weight_hh != 0)  # fewer units than connections
    for seed in range(20):  # a single connection makes a cycle too
        assert np.isfinite(init.sparse_(nr.RNNCell(1, 3), 1, rng=seed).weight_hh).all()


def test_uniform():
    rnn = init.uniform_(stack(), 3.0, rng=0)
    bound = 3 / np.sqrt(6)
    for p in rnn.parameters.values():
        assert 0.5 * bound < np.abs(p).max() <= bound
    linear = init.uniform_(nr.Linear(9, 40), rng=0)
    assert 0.3 < np.abs(linear.flat_parameters).max() <= 1 / 3
    assert_same_bits(init.uniform_(stack(), rng=5).flat_parameters, stack(rng=5).flat_parameters)


@pytest.mark.parametrize("recipe", RECURRENT)
def test_the_others_stay_as_they_are(recipe):
    rnn, before = stack(), stack()
    flat = rnn.flat_parameters
    assert recipe(rnn) is rnn and rnn.flat_parameters is not None
    assert np.shares_memory(flat, rnn.flat_parameters)
    for name, value in before.parameters.items():
        same = name.startswith("weight_ih") or (
            name.startswith("bias") and recipe is not init.identity_
        )
        assert np.array_equal(rnn.parameters[name], value) == same, name
    assert recipe(nr.RNNCell(3, 4)).weight_hh.dtype == np.float32


@pytest.mark.parametrize("recipe", DRAWN)
def test_the_same_rng_draws_the_same(recipe):
    first, second = (recipe(stack(), rng=3).flat_parameters for _ in range(2))
    assert_same_bits(first, second)
    assert not np.array_equal(first, recipe(stack(), rng=4).flat_parameters)
    rng = np.random.default_rng(3)
    assert_same_bits(first, recipe(stack(), rng=rng).flat_parameters)
    assert not np.array_equal(first, recipe(stack(), rng=rng).flat_parameters)


@pytest.mark.parametrize("recipe", [*RECURRENT, init.uniform_])
def test_bad_arguments(recipe):
    rnn = stack()
    before = rnn.flat_parameters.copy()
    for layer in (rnn.weight_hh_l0, None, nr.RNN):
        with pytest.raises(TypeError, match="layer must be an RNN or RNNCell"):
            recipe(layer)
    if recipe is not init.uniform_:
        with pytest.raises(TypeError, match="layer must be an RNN or RNNCell, got Linear"):
            recipe(nr.Linear(2, 3))
    for gain, error in (
        (-1, ValueError),
        (np.nan, ValueError),
        (np.inf, ValueError),
        ("1", TypeError),
    ):
        with pytest.raises(error, match="gain must"):
            recipe(rnn, gain=gain)
    if recipe is init.sparse_:
        with pytest.raises(ValueError, match="connections must be positive"):
            recipe(rnn, 0)
    if recipe is not init.identity_:
        with pytest.raises(TypeError, match="rng must be"):
            recipe(rnn, rng="0")
    assert_same_bits(rnn.flat_parameters, before)
