"""Products, copies, dropout, losses and optimisers as compiled, in the interpreter.

They are compared with NumPy or the CPU backend. `test_cuda.py` runs this file in a process of its
own.
"""

import numpy as np
import pytest
from interpreter import GPU, Fault, install

from numba_rnn import cpu, losses, optim
from numba_rnn.cuda import Backend, memory, products
from numba_rnn.cuda.libraries import NUMBA

install()
F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
CLOSE = {F32: 1e-5, F64: 1e-12}


@pytest.fixture(autouse=True)
def _memory_is_free():
    GPU.clear()


def to_host(array):
    return array.copy_to_host()


def assert_close(ours, theirs, tolerance):
    """Compare relative to the largest number; NaN and infinity must be in the same places."""
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    assert ours.shape == theirs.shape
    scale = max(1, np.max(np.abs(theirs), where=np.isfinite(theirs), initial=0))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * scale)


# --- products -------------------------------------------------------------------------------------


def matmul(M, K, N, dtype, turned, gap):
    """A product of matrices with gaps, into one with a gap; nothing beside it may change."""
    rng, factors, operands = np.random.default_rng(0), [], []
    for shape, turn in zip(((M, K), (K, N)), turned, strict=True):
        factors.append(rng.normal(size=shape).astype(dtype))
        stored = factors[-1].T if turn else factors[-1]
        wide = np.full((stored.shape[0], stored.shape[1] + gap), np.nan, dtype)
        wide[:, : stored.shape[1]] = stored
        flat = NUMBA.vector(GPU.array(np.append(np.full(gap, np.nan, dtype), wide)))
        found = products.matrix(flat, gap, *stored.shape, stored.shape[1] + gap)
        operands.append(found.T if turn else found)
    c = GPU.array(np.full((M + 1) * (N + 2) + 1, 7, dtype))
    products.matmul(NUMBA, *operands, products.matrix(NUMBA.vector(c), 1, M, N, N + 2))
    found = to_host(c)[1:].reshape(M + 1, N + 2)
    assert_close(found[:M, :N], factors[0].astype(F64) @ factors[1], CLOSE[dtype])
    assert to_host(c)[0] == 7 and (found[M] == 7).all() and (found[:, N:] == 7).all()


@pytest.mark.parametrize(
    ("M", "K", "N", "dtype", "turned", "gap"),
    [
        (65, 17, 66, F32, (False, True), 1),  # more than a tile, and than a slab
        (3, 300, 5, F32, (True, False), 0),  # parts of the sum
        (64, 16, 1, F64, (True, True), 2),
        (4, 0, 3, F64, (False, False), 0),
        (0, 3, 2, F64, (False, False), 0),
    ],
)
def test_matmul(M, K, N, dtype, turned, gap):
    matmul(M, K, N, dtype, turned, gap)


@pytest.mark.parametrize(
    ("M", "N", "cut", "dtype"), [(1, 2, 1, F64), (25, 9, 4, F32), (16, 300, 256, F64)]
)
def test_column_sums(M, N, cut, dtype):
    a = np.random.default_rng(0).normal(size=(M, N + 2)).astype(dtype)
    out = GPU.array(np.full(cut + N + 3, 7, dtype))
    vector = NUMBA.vector(out)
    outs = [products.matrix(vector, 1, 2, cut), products.matrix(vector, 2 * cut + 2, 1, N - cut)]
    columns = products.matrix(NUMBA.vector(GPU.array(a.ravel())), 2, M, N, N + 2)
    products.column_sums(NUMBA, columns, outs)
    s = a[:, 2:].astype(F64).sum(0)
    assert_close(to_host(out), np.r_[7, s[:cut], s[:cut], 7, s[cut:], 7], CLOSE[dtype])


@pytest.mark.parametrize(
    ("M", "I", "O", "bias", "dtype"), [(33, 9, 65, 1, F32), (5, 3, 7, 0, F64), (0, 3, 2, 1, F64)]
)
def test_linear(M, I, O, bias, dtype):
    rng, backend = np.random.default_rng(0), Backend(NUMBA)
    x, w, g = (rng.normal(size=n).astype(dtype) for n in ((M, I), O * (I + bias), (M, O)))
    there = [GPU.array(a) for a in (x, w, g)]
    ours = [backend.linear_forward(*there[:2], O)]
    ours += backend.linear_backward(*there[:2], O, there[2])
    theirs = [cpu.linear_forward(x, w, O), *cpu.linear_backward(x, w, O, g)]
    for a, b in zip(ours, theirs, strict=True):
        assert_close(to_host(a), b, CLOSE[dtype])


# --- copies, dropout ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "dtype", "view"),
    [
        ((9,), np.uint8, lambda a: a[1::2]),
        ((9,), F32, lambda a: a[::-1]),
        ((40, 30), F32, lambda a: a.T),
        ((5, 7), F64, lambda a: a[:, 2:5]),
        ((1, 6), F32, lambda a: np.broadcast_to(a, (5, 6))),
        ((4, 3, 6), F64, lambda a: a.swapaxes(0, 1)),
        ((3, 4, 5, 6), np.int64, lambda a: a.transpose(2, 0, 3, 1)[:, 1:, ::2]),
        ((4, 5), F32, lambda a: a[:0].T),
    ],
)
def test_copies(shape, dtype, view):
    host = (np.random.default_rng(0).random(shape) * 200).astype(dtype)
    there = GPU.array(host)
    ours = memory.copy(type(there)(view(there.host)), 0)
    np.testing.assert_array_equal(to_host(ours), view(host))


@pytest.mark.parametrize(
    ("layers", "leading", "H", "D", "swap", "dtype"),
    [(1, (3, 2), 5, 2, False, F32), (2, (3, 7), 13, 1, True, F32), (3, (7,), 4, 2, False, F64)],
)
def test_states_in_order_of_time(layers, leading, H, D, swap, dtype):
    rng = np.random.default_rng(0)
    host = [rng.normal(size=(int(np.prod(leading)), D * H)).astype(dtype) for _ in range(layers)]
    ours = memory.time_major(NUMBA, [GPU.array(a) for a in host], leading, H, swap)
    np.testing.assert_array_equal(to_host(ours), cpu.time_major(host, leading, H, swap))


@pytest.mark.parametrize(
    ("shape", "probability", "key", "layer", "dtype"),
    [
        ((257, 2), 0.3, 2**62 + 12345, 2, F32),
        ((20, 3), 0.9, 0, 1, F64),
        ((5, 3), 0.0, 7, 0, F64),
        ((5, 3), 1.0, 7, 0, F32),
    ],
)
def test_dropout(shape, probability, key, layer, dtype):
    x = np.random.default_rng(0).normal(size=shape).astype(dtype)
    ours = Backend(NUMBA).dropout(GPU.array(x), probability, key, layer)
    np.testing.assert_array_equal(to_host(ours), cpu.dropout(x, probability, key, layer))


# --- losses ---------------------------------------------------------------------------------------


def target(name, shape, rng, dtype):
    if name == "cross_entropy":
        return rng.integers(shape[-1], size=shape[:-1])
    if name == "binary_cross_entropy":
        return rng.random(shape) > 0.5
    return (30 * rng.normal(size=shape)).astype(dtype)


@pytest.mark.parametrize(
    ("name", "shape", "weights", "dtype"),
    [
        ("mse", (130, 3), None, F32),  # blocks: 2
        ("mae", (7, 2, 40), "column", F64),
        ("huber", (2, 3, 4), 2.5, F32),
        ("binary_cross_entropy", (3, 4, 5), "all", F64),
        ("cross_entropy", (300, 3), None, F32),
        ("cross_entropy", (2, 5, 40), "row", F64),
    ],
)
def test_losses(name, shape, weights, dtype):
    rng, loss = np.random.default_rng(0), getattr(losses, name)
    x = (30 * rng.normal(size=shape)).astype(dtype)
    y, places = target(name, shape, rng, dtype), shape[:-1] if name == "cross_entropy" else shape
    if isinstance(weights, str):
        of = {"all": places, "column": (*places[:-1], 1), "row": places[-1:]}[weights]
        weights = (rng.random(of) * (rng.random(of) > 0.3)).astype(dtype)
        assert (weights == 0).any() and (weights > 0).any()
    expected, slope = loss(x, y, weights)
    there = GPU.array(weights) if isinstance(weights, np.ndarray) else weights
    value, gradient = loss(GPU.array(x), GPU.array(y), there)
    assert_close(to_host(value), expected, 1e-12)
    largest = np.abs(slope).max()
    assert_close(to_host(gradient) / largest, slope / largest, {F32: 1e-6, F64: 1e-11}[dtype])


# --- optimisers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "options", "dtype"),
    [
        ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}, F32),
        ("SGD", {}, F32),
        ("RMSprop", {"centered": True, "momentum": 0.9, "weight_decay": 0.1}, F32),
        ("RMSprop", {}, F32),
        ("Adam", {"amsgrad": True, "weight_decay": 0.1}, F64),
        ("AdamW", {}, F64),
    ],
)
def test_optimisers(rule, options, dtype):
    rng, sizes = np.random.default_rng(0), (1, 256, 257)
    here = [rng.normal(size=n).astype(dtype) for n in sizes]
    there = [GPU.array(a) for a in here]
    ours, theirs = (getattr(optim, rule)(p, lr=0.05, **options) for p in (there, here))
    for _ in range(2):
        g = [rng.normal(size=n).astype(dtype) for n in sizes]
        ours.step([GPU.array(a) for a in g])
        theirs.step(g)
    for a, b in zip(there, here, strict=True):
        assert_close(to_host(a), b, CLOSE[dtype])


@pytest.mark.parametrize(
    ("sizes", "most", "spoil"), [((1, 300, 257), 2.0, 1), ((4, 2), 1e9, 1), ((5, 3), 1.0, np.nan)]
)
def test_clipping(sizes, most, spoil):
    rng = np.random.default_rng(0)
    here = [rng.normal(size=n).astype(F32) for n in sizes]
    here[0][0] *= spoil
    there = [GPU.array(a) for a in here]
    norm = optim.clip_grad_norm(there, most)
    assert_close(to_host(norm), optim.clip_grad_norm(here, most), 1e-6)
    for a, b in zip(there, here, strict=True):
        assert_close(to_host(a), b, 1e-6)


# --- what orders threads is needed ----------------------------------------------------------------

CASES = {
    "products.": lambda: matmul(3, 17, 5, F32, (False, False), 0),
    "losses.": lambda: test_losses("mse", (130, 3), None, F32),
    "optim.": lambda: test_clipping((300, 257), 2.0, 1),
}


NOT_NEEDED = {("optim.sum_squares", 8)}  # the last one: thread 0 reads what it has written itself


@pytest.mark.parametrize("kernels", CASES)
def test_every_barrier_is_missed(kernels):
    """Each one, taken out by itself, leaves a race or a read of unwritten memory."""
    CASES[kernels]()
    places = GPU.ordering(kernels)
    assert len(places) == {"products.": 2, "losses.": 18, "optim.": 18}[kernels], places
    for place in places:
        GPU.clear()
        if place in NOT_NEEDED:
            with GPU.without(*place):
                CASES[kernels]()
        else:
            with GPU.without(*place), pytest.raises(Fault, match=r"race|unwritten"):
                CASES[kernels]()
