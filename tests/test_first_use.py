"""The first use: what an import loads, and what is compiled when."""

import pytest
from processes import LISTEN, python

# Calls of every kind, in both modes, of every nonlinearity, with every kind of input.
USES = """
def use(dtype, training):
    import numpy as np
    import numba_rnn as nr
    from helpers import example
    for D in (1, 2):
        for options in ({}, {"bias": False}, {"nonlinearity": "relu", "batch_first": True}):
            rnn = nr.RNN(40, 70, 2, dropout=0.5, bidirectional=D == 2, dtype=dtype, **options)
            rnn.train(training)
            for kind in ("padded", "lengths", "packed", "unbatched"):
                x, h_0, lengths = example(rnn, kind, 9, 30)
                if training:
                    tape = rnn.forward(x, h_0, lengths=lengths)
                    tape.backward(tape.output)
                    tape.backward(grad_h_n=tape.h_n, state_gradients=True)
                else:
                    rnn(x, lengths=lengths)
                    rnn(x, h_0, lengths=lengths)
            rnn(np.zeros((0, 3, 40) if not rnn.batch_first else (3, 0, 40), dtype))
    frozen = np.zeros((800, 40), dtype)
    frozen.flags.writeable = False
    for layer in (nr.RNNCell(40, 70, dtype=dtype), nr.Linear(40, 70, dtype=dtype)):
        for x in (frozen, frozen[:, ::-1], frozen[0]):
            layer(x)
            if training:
                tape = layer.forward(x)
                tape.backward(np.array(layer(x)))
"""


def test_import_loads_little():
    code = """
import sys
import numba, numpy
before = set(sys.modules)
import numba_rnn as nr
own = {name for name in sys.modules if name.startswith("numba_rnn")}
assert own == {"numba_rnn", "numba_rnn.forks"}, own
added = {name.split(".")[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)
assert added == {"numba_rnn"}, added

rnn = nr.RNN(2, 3)
assert "numba_rnn.cpu" not in sys.modules
tape = rnn.forward(numpy.zeros((4, 5, 2), numpy.float32))
tape.backward(tape.output)
added = set(sys.modules) - before
unused = ("cupy", "sklearn", "matplotlib", "torch", "pandas", "tqdm", "safetensors", "onnx")
for name in (*unused, "numba.cuda", "numba_cuda", "numba_rnn.cuda", "scipy.special"):
    assert name not in added, name
"""
    python(code)
    alone = """
import sys
import numba_rnn
assert "numba_rnn.cpu" not in sys.modules
banned = {"numba.cuda", "sklearn", "matplotlib", "torch", "scipy.special", "safetensors", "onnx"}
assert not banned & set(sys.modules), banned & set(sys.modules)
"""
    python(alone)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("training", [False, True])
def test_after_warmup_nothing_is_compiled_or_loaded(training, dtype):
    code = f"""
nr.warmup("{dtype}", training={training})
assert loaded
compiled.buffer.clear()
loaded.clear()
use("{dtype}", {training})
assert not compiled.buffer and not loaded, (compiled.buffer[:1], [c._name for c in loaded])
"""
    python(LISTEN + USES + code, NUMBA_NUM_THREADS=2)
