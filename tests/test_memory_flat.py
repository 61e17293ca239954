"""Memory stays as it is however many calls of whatever shapes there are.

NUMBA_RNN_MEMORY_CALLS asks for another number of calls, 100000 say, than the 20000 of the suite.
"""

import os
import sys

import pytest
from processes import python

if sys.platform != "linux":
    pytest.skip("the memory of a process is read from /proc", allow_module_level=True)

MOST = 5e6  # bytes that a process may grow

CALLS = """
import gc, os, random
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


def test_calls_of_any_shape():
    calls = int(os.environ.get("NUMBA_RNN_MEMORY_CALLS", 20_000))
    code = CALLS + f"print(growth(10_000, {calls}))"
    grown = int(python(code, timeout=300 + calls / 50))
    assert grown <= MOST


def test_what_is_kept_is_seen():
    """The gradients of 5000 calls, 3 KB each."""
    assert int(python(CALLS + "print(growth(1000, 5000, keep=True))")) > MOST
