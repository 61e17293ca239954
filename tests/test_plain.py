"""The source of the kernels in plain Python, as a debugger sees it, beside the compiled one."""

from processes import python

CALLS = """
import numpy as np
import numba_rnn as nr
from helpers import example, gradients

def calls():
    "Output and gradients of layers of every kind."
    for D in (1, 2):
        for nonlinearity, bias in (("tanh", True), ("relu", False)):
            rnn = nr.RNN(
                3, 5, 2, nonlinearity, bias, batch_first=D == 2, dropout=0.4, bidirectional=D == 2,
                dtype=np.float64, rng=0,
            )
            for kind in ("padded", "lengths", "packed", "unbatched"):
                x, h_0, lengths = example(rnn, kind, 6, 4)
                if lengths is not None:
                    lengths[1] = 0
                tape = rnn.forward(x, h_0, lengths=lengths)
                grads = tape.backward(tape.output, tape.h_n, state_gradients=True)
                output = tape.output.data if kind == "packed" else tape.output
                x_gradient = grads.input.data if kind == "packed" else grads.input
                yield output, tape.h_n, x_gradient, grads.h_0, grads.flat, grads.states
    cell = nr.RNNCell(3, 5, dtype=np.float64, rng=0)
    linear = nr.Linear(20, 3, dtype=np.float64, rng=0)
    x, h = np.linspace(-1, 1, 12).reshape(4, 3), np.linspace(1, -1, 20).reshape(4, 5)
    tape = cell.forward(x, h)
    grads = tape.backward(h)
    yield tape.h, grads.input, grads.h, grads.flat
    x = np.linspace(-1, 1, 40).reshape(2, 20)
    tape = linear.forward(x)
    grads = tape.backward(np.ones((2, 3)))
    yield tape.output, grads.input, grads.flat
"""

SAVE = """
import sys
np.savez(sys.argv[1] if len(sys.argv) > 1 else PATH, *[a for call in calls() for a in call])
"""


def test_plain_python_computes_the_same(tmp_path):
    import numpy as np

    found = []
    for name, variables in (("plain", {"NUMBA_DISABLE_JIT": 1}), ("compiled", {})):
        path = tmp_path / f"{name}.npz"
        python(f"PATH = {str(path)!r}\n" + CALLS + SAVE, **variables)
        with np.load(path) as arrays:
            found.append(list(arrays.values()))
    plain, compiled = found
    assert len(plain) == len(compiled) == 16 * 6 + 4 + 3
    for ours, theirs in zip(plain, compiled, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)


def test_plain_python_meets_at_marks():
    """A sample whose hidden units are shared: each slice comes in its turn."""
    code = """
import numpy as np
import numba_rnn as nr
from numba_rnn import cpu
from numba_rnn.cpu import marks, recurrence
marks.PATIENCE = 3
rnn = nr.RNN(2, 40, dtype=np.float64, rng=0)
x = np.linspace(-1, 1, 6).reshape(3, 1, 2)
answers, met = [], set()
cpu.LARGEST_KEPT = -1  # each is split anew
def wait(*arguments, original=recurrence.wait):
    met.add(slices)
    return original(*arguments)
recurrence.wait = wait
for slices in (1, 3):
    cpu.split = lambda *arguments, slices=slices: (slices, 1, slices)
    tape = rnn.forward(x)
    grads = tape.backward(tape.output, tape.h_n)
    answers.append((tape.output, tape.h_n, grads.flat, grads.input, grads.h_0))
for one, other in zip(*answers):
    assert (one == other).all()
assert met == {3}
"""
    python(code, NUMBA_DISABLE_JIT=1)


def test_a_debugger_finds_the_source():
    """Kernels are functions of the files that a reader has open."""
    code = """
import sys
import numpy as np
import numba_rnn as nr
seen = set()
def trace(frame, event, argument):
    seen.add((frame.f_code.co_filename.rpartition("numba_rnn")[2], frame.f_code.co_name))
rnn = nr.RNN(2, 3, rng=0)
sys.setprofile(trace)
for N in (1, 5):
    tape = rnn.forward(np.ones((4, N, 2), np.float32))
    tape.backward(tape.output)
sys.setprofile(None)
names = {name for path, name in seen if path.endswith("recurrence.py")}
for name in ("rnn_forward", "forward_steps", "forward_step", "rnn_backward", "backward_step",
             "parameter_gradients"):
    assert name in names, (name, names)
names = {name for path, name in seen if path.endswith("few.py")}
for name in ("rnn_forward_few", "walk", "project", "rnn_backward_few", "walk_back"):
    assert name in names, (name, names)
"""
    python(code, NUMBA_DISABLE_JIT=1)
