"""In Numba's simulator, or on a GPU: every kernel against the textbook or NumPy, on tiny shapes.

`test_cuda.py` runs this file in processes of its own.
"""

import numpy as np
import pytest
import simulator
from numba import cuda
from problem import check

from numba_rnn import cpu
from numba_rnn.cuda import Backend, products
from numba_rnn.cuda import backend as backend_module
from numba_rnn.cuda.choice import Plan
from numba_rnn.cuda.lanes import Split
from numba_rnn.cuda.libraries import NUMBA

F32, F64 = np.float32, np.float64
LIBRARY = NUMBA
LAYOUTS = ["padded", "batch_first", "lengths", "packed"]


def to_host(array):
    return array.copy_to_host()


def one_layer(plan, kind, monkeypatch, **options):
    monkeypatch.setattr(backend_module, "choose", lambda *_: plan)
    check(Backend(LIBRARY), cuda.to_device, to_host, kind, **options)


@pytest.mark.parametrize("plan", [Plan("generic"), Plan("steps")], ids=lambda plan: plan.kind)
@pytest.mark.parametrize("kind", LAYOUTS)
def test_generic_and_steps(plan, kind, monkeypatch):
    one_layer(plan, kind, monkeypatch, dtype=F32)
    relu = {"nonlinearity": "relu", "bias": False, "states": False, "D": 1}
    one_layer(plan, kind, monkeypatch, grads=(kind == "padded", True), **relu)


# (width, units, lanes, quads in registers, rows); H fills the width or doesn't.
@pytest.mark.parametrize(
    ("split", "H", "kind", "options"),
    [
        (Split(16, 16, 4, 1, 1), 13, "lengths", {}),
        (Split(16, 16, 4, 0, 1), 16, "packed", {"dtype": F32, "nonlinearity": "relu"}),
        (Split(32, 32, 4, 1, 1), 17, "batch_first", {"D": 1, "N": 2, "bias": False}),
        (Split(32, 32, 8, 1, 2), 5, "lengths", {"D": 1, "L": 2, "grads": (True, False)}),
        (Split(16, 16, 4, 1, 1), 3, "lengths", {"lengths": [0, 2, 0], "states": False}),
        (Split(16, 16, 4, 1, 1), 2, "padded", {"L": 1, "N": 1, "grads": (False, True)}),
    ],
    ids=str,
)
def test_persistent(split, H, kind, options, monkeypatch):
    one_layer(Plan("persistent", split), kind, monkeypatch, H=H, **options)


@pytest.mark.parametrize(
    ("plan", "H", "kind", "options"),
    [
        # blocks, groups, directions of a launch
        (Plan("grid", Split(16, 8, 4, 1, 1), 2, 1, 2), 13, "lengths", {"N": 2}),
        (Plan("grid", Split(16, 8, 4, 1, 1), 2, 2, 1), 15, "packed", {"N": 3, "dtype": F32}),
        (Plan("grid", Split(32, 4, 8, 1, 2), 2, 1, 1), 7, "batch_first", {"D": 1}),
        (Plan("grid", Split(32, 4, 8, 0, 2), 2, 1, 1), 7, "lengths", {"lengths": [0, 2, 0]}),
        (Plan("grid", Split(128, 4, 32, 1, 4), 1, 1, 1), 4, "lengths", {"D": 1, "L": 2, "N": 5}),
    ],
    ids=str,
)
def test_grid(plan, H, kind, options, monkeypatch):
    options = {"L": 3, "nonlinearity": "relu" if plan.groups > 1 else "tanh"} | options
    with simulator.concurrent_blocks():
        one_layer(plan, kind, monkeypatch, H=H, **options)


@pytest.mark.parametrize("parts", [1, 6])
@pytest.mark.parametrize("dtype", [F32, F64])
def test_matmul(parts, dtype, monkeypatch):
    monkeypatch.setattr(products, "PARTS", parts)
    rng = np.random.default_rng(0)
    for M, K, N in ((3, 50, 5), (9, 17, 2), (1, 1, 1), (4, 0, 3), (0, 2, 2)):
        a, b = rng.normal(size=(K, M + 2)).astype(dtype), rng.normal(size=(N, K)).astype(dtype)
        c = cuda.to_device(np.full((M + 1) * N, 7, dtype))
        products.matmul(
            LIBRARY,
            products.matrix(cuda.to_device(a.ravel()), 1, K, M, M + 2).T,  # columns of a
            products.matrix(cuda.to_device(b.ravel()), 0, N, K).T,
            products.matrix(c, 0, M, N),
        )
        expected = a[:, 1 : M + 1].T.astype(F64) @ b.T
        found = to_host(c).reshape(M + 1, N)
        np.testing.assert_allclose(found[:M], expected, atol=1e-5 if dtype is F32 else 1e-13)
        assert (found[M] == 7).all()  # nothing is written beyond the end


@pytest.mark.parametrize("parts", [1, 3])
def test_column_sums(parts, monkeypatch):
    monkeypatch.setattr(products, "PARTS", parts)
    a = np.random.default_rng(0).normal(size=(25, 11))
    out = cuda.to_device(np.zeros(20))
    columns = products.matrix(cuda.to_device(a.ravel()), 2, 25, 9, 11)
    outs = [products.matrix(out, 1, 2, 4), products.matrix(out, 12, 1, 5)]
    products.column_sums(LIBRARY, columns, outs)
    sums = a[:, 2:].sum(0)
    expected = np.r_[0, sums[:4], sums[:4], [0] * 3, sums[4:], [0] * 3]
    np.testing.assert_allclose(to_host(out), expected, atol=1e-13)


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize(("M", "I", "O", "bias"), [(5, 3, 7, 1), (0, 3, 2, 1), (33, 9, 1, 0)])
def test_linear_is_the_cpus(M, I, O, bias, dtype):
    rng, backend = np.random.default_rng(0), Backend(LIBRARY)
    x, w, g = (rng.normal(size=n).astype(dtype) for n in ((M, I), O * (I + bias), (M, O)))
    on_gpu = [cuda.to_device(a) for a in (x, w, g)]
    ours = [backend.linear_forward(*on_gpu[:2], O)]
    ours += backend.linear_backward(*on_gpu[:2], O, on_gpu[2])
    theirs = [cpu.linear_forward(x, w, O), *cpu.linear_backward(x, w, O, g)]
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == dtype
        np.testing.assert_allclose(to_host(a), b, atol=1e-5 if dtype is F32 else 1e-13)


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("probability", [0.0, 0.3, 0.9, 1.0])
def test_dropout_has_the_cpus_masks(probability, dtype):
    x = np.random.default_rng(0).normal(size=(20, 3)).astype(dtype)
    for key, layer in ((2**62 + 12345, 2), (0, 1)):
        ours = Backend(LIBRARY).dropout(cuda.to_device(x), probability, key, layer)
        np.testing.assert_array_equal(to_host(ours), cpu.dropout(x, probability, key, layer))
