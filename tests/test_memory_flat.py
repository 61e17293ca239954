"""Memory stays as it is however many calls of whatever shapes there are.

NUMBA_RNN_MEMORY_CALLS asks for another number of calls, 100000 say, than the 20000 of the suite;
fits, and calls on Dask arrays, are a fiftieth of it.
"""

import os
import sys

import pytest
from processes import python

if sys.platform != "linux":
    pytest.skip("the memory of a process is read from /proc", allow_module_level=True)

COUNT = int(os.environ.get("NUMBA_RNN_MEMORY_CALLS", 20_000))
MOST, MOST_OF_FITS = 5e6, 2e6  # bytes that a process may grow

CALLS = """
import random
import numpy as np
import numba_rnn as nr

draw = random.Random(0)
flag = (False, True)

def layer(k):
    "A layer of some kind and size."
    kind, options = draw.choice((nr.RNN, nr.RNN, nr.RNN, nr.RNNCell, nr.Linear)), {}
    if kind is nr.RNN:
        options = {"bidirectional": draw.choice(flag), "batch_first": draw.choice(flag)}
    dtype = draw.choice((np.float32, np.float64))
    return kind(draw.randint(1, 8), draw.randint(1, 33), dtype=dtype, rng=k, **options)

layers = [layer(k) for k in range(200)]
values = {d: np.random.default_rng(0).normal(size=2000).astype(d) for d in ("f4", "f8")}
values = {array.dtype: array for array in values.values()}
kept = []

def call(keep):
    "Forward and backward of a layer, in some shape; what comes is kept where asked for."
    layer = draw.choice(layers)
    L, N, numbers = draw.randint(0, 20), draw.randint(1, 8), values[layer.dtype]
    I = layer.in_features if type(layer) is nr.Linear else layer.input_size
    if type(layer) is not nr.RNN:
        tape = layer.forward(numbers[: N * I].reshape(N, I))
        found = tape.backward(tape.h if type(layer) is nr.RNNCell else tape.output)
    else:
        shape = (N, L, I) if layer.batch_first else (L, N, I)
        x, lengths = numbers[: L * N * I].reshape(shape), None
        kind = draw.choice(("padded", "lengths", "packed"))
        if kind == "lengths":
            lengths = [draw.randint(0, L) for _ in range(N)]
        elif kind == "packed":
            steps = [draw.randint(1, 20) for _ in range(N)]
            parts = [numbers[: k * I].reshape(k, I) for k in steps]
            x = nr.pack_sequence(parts, enforce_sorted=False)
        tape = layer.forward(x, lengths=lengths)
        found = tape.backward(grad_h_n=tape.h_n, state_gradients=draw.choice(flag))
    if keep:
        kept.append(found.flat)

"""
MEASURE = """
import gc, os

def memory():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def growth(warm_up, calls, keep=False):
    for _ in range(warm_up):
        call(keep)
    before = memory()
    for _ in range(calls):
        call(keep)
    return memory() - before
"""

FITS = """
import random, warnings
import numpy as np
from numba_rnn.estimators import RNNClassifier, RNNForecaster, RNNRegressor, window_regressor

warnings.simplefilter("ignore")  # they don't converge so soon
draw, rng, flag, kept = random.Random(0), np.random.default_rng(0), (False, True), []

def call(keep):
    "A fit and a prediction of an estimator; it is kept, with its data, where asked for."
    kind = draw.choice((RNNClassifier, RNNRegressor, RNNForecaster))
    options = {
        "hidden_size": draw.choice((2, 5, 8)), "max_iter": draw.choice((1, 2)),
        "n_iter_no_change": np.inf, "n_members": draw.choice((1, 1, 2)),
        "solver": draw.choice(("adam", "sgd", "rmsprop", "lbfgs")),
        "early_stopping": draw.choice(flag), "dtype": draw.choice(("float32", "float64")),
    }
    if kind is RNNForecaster:
        regressor = window_regressor(**options)
        model = RNNForecaster(2, window=4, season=1, regressor=regressor, random_state=0)
        given = (rng.normal(size=draw.randint(40, 70)).cumsum(),)
        model.fit(*given).predict(draw.randint(1, 5))
    else:
        pooling = draw.choice(("last", "mean", "max"))
        model = kind(**options, pooling=pooling, validation_fraction=0.4, random_state=0)
        N, F = draw.randint(8, 20), draw.randint(1, 3)
        X = [rng.normal(size=(draw.randint(1, 12), F)) for _ in range(N)]
        given = X, np.arange(N) % 2 if kind is RNNClassifier else rng.normal(size=N)
        model.fit(*given).predict(X)
    if keep:
        kept.append((model, given))
"""

LAZY = """
import random
import dask, dask.array as da
import numpy as np
import numba_rnn as nr

draw, rng, flag, kept = random.Random(0), np.random.default_rng(0), (False, True), []

def call(keep):
    "A layer on a Dask array; its graph is kept where asked for."
    options = {"bidirectional": draw.choice(flag), "batch_first": draw.choice(flag)}
    rnn = nr.RNN(draw.randint(1, 4), draw.randint(1, 9), draw.randint(1, 2), rng=0, **options)
    L, N = draw.randint(1, 12), draw.randint(1, 9)
    shape = (N, L) if rnn.batch_first else (L, N)
    x = rng.normal(size=(*shape, rnn.input_size)).astype(np.float32)
    chunks = (draw.randint(1, shape[0]), draw.randint(1, shape[1]), -1)
    found = rnn(da.from_array(x, chunks), lengths=rng.integers(0, L + 1, N))
    dask.compute(*found, scheduler=draw.choice(("synchronous", "threads")))
    if keep:
        kept.append(found)
"""


def growth(code, warm_up, calls, keep=False):
    """By how many bytes a process grows in some calls."""
    ask = f"print(growth({warm_up}, {calls}, {keep}))"
    return int(python(code + MEASURE + ask, timeout=600 + calls / 2))


def test_calls_of_any_shape():
    assert growth(CALLS, 10_000, COUNT) <= MOST


@pytest.mark.parametrize("what", ["fits", "calls on Dask arrays"])
def test_fits_and_graphs(what):
    if what != "fits":
        pytest.importorskip("dask.array")
    assert growth(FITS if what == "fits" else LAZY, 200, COUNT // 50) <= MOST_OF_FITS


def test_what_is_kept_is_seen():
    """The gradients of 5000 calls, 3 KB each, models of 10 KB, and graphs."""
    assert growth(CALLS, 1000, 5000, keep=True) > MOST
    assert growth(FITS, 50, 400, keep=True) > MOST_OF_FITS
    assert growth(LAZY, 50, 400, keep=True) > MOST_OF_FITS
