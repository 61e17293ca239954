"""The CUDA backend without a GPU: each file of `tests/cuda` in a process of its own.

Those named sim_ run kernels in Numba's simulator, those named ptx_ compile them for real.
"""

import os
import subprocess
import sys
from functools import partial
from importlib.util import find_spec

import pytest
from processes import TESTS, at_once, chosen, environment, python

IN_CI = bool(os.environ.get("NUMBA_RNN_CI"))
needs_numba_cuda = pytest.mark.skipif(
    find_spec("numba_cuda") is None and not IN_CI,
    reason="numba-cuda is not installed: pip install 'numba_rnn[test]' on Linux",
)
SIMULATED, COMPILED = (
    sorted(path.name for path in (TESTS / "cuda").glob(f"{kind}_*.py")) for kind in ("sim", "ptx")
)


def run(name, **variables):
    """Run a file of tests in a process of its own."""
    variables = environment(**variables)
    variables["PYTHONPATH"] += os.pathsep + str(TESTS / "cuda")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", TESTS / "cuda" / name],
        env=variables, capture_output=True, text=True, timeout=1200,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[-8000:]}\n{done.stderr[-2000:]}"
    assert " skipped" not in done.stdout


@pytest.fixture(scope="module")
def finished(request):
    """Return a function that waits for a file, of those that were asked for; the longest first."""
    wanted = chosen(request, "test_in_the_simulator", "test_compiled_without_a_gpu")
    calls = {
        name: partial(run, name, NUMBA_ENABLE_CUDASIM=1 if name in SIMULATED else None)
        for name in COMPILED + SIMULATED
        if name in wanted
    }
    with at_once(calls) as wait:
        yield wait


@needs_numba_cuda
@pytest.mark.parametrize("name", SIMULATED)
def test_in_the_simulator(name, finished):
    finished(name)


@needs_numba_cuda
@pytest.mark.parametrize("name", COMPILED)
def test_compiled_without_a_gpu(name, finished):
    finished(name)


def test_files_are_found():
    assert {"sim_layers.py", "sim_training.py", "sim_libraries.py"} <= set(SIMULATED)
    assert "ptx_training.py" in COMPILED


# --- without a GPU, and without numba-cuda --------------------------------------------------------

CPU_WORK = """
import sys
import numpy as np
import numba_rnn as nr

rnn, readout = nr.RNN(2, 3, 2, dropout=0.5), nr.Linear(3, 1)
x = np.zeros((4, 5, 2), np.float32)
tape = rnn.forward(x, lengths=[1, 2, 3, 4, 0])
head = readout.forward(tape.output)
value, slope = nr.losses.mse(head.output, x[..., :1])
grads = head.backward(slope)
grads = tape.backward(grads.input, state_gradients=True)
nr.optim.clip_grad_norm(grads.flat, 1.0)
nr.optim.Adam(rnn.flat_parameters).step(grads.flat)
rnn(nr.pack_padded_sequence(x, [4] * 5))
rnn.load_state_dict(rnn.state_dict())
for bad in (None, [1.0], object()):
    try:
        rnn(bad)
    except TypeError:
        pass
    else:
        raise AssertionError(bad)
assert rnn.to("cpu").device == "cpu"
loaded = {name for name in sys.modules if name.split(".")[0] in ("torch", "cupy", "numba_cuda")}
loaded |= {name for name in sys.modules if name.startswith(("numba.cuda", "numba_rnn.cuda"))}
assert not loaded, loaded
"""


def test_work_on_the_cpu_loads_nothing_of_cuda():
    python(CPU_WORK)


ASK = """
import numpy as np
import numba_rnn as nr
rnn = nr.RNN(2, 3, rng=0)
before = rnn.flat_parameters.copy()
try:
    rnn.to("cuda")
except {error} as error:
    print(error)
assert rnn.device == "cpu" and (rnn.flat_parameters == before).all()
rnn(np.zeros((1, 1, 2), np.float32))
"""

HIDE = """
import importlib.util
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name == "numba_cuda" else find_spec(name)
"""


def test_without_numba_cuda_the_error_names_the_extra():
    printed = python(HIDE + ASK.format(error="ModuleNotFoundError"))
    for word in ("numba-cuda", "numba-cuda[cu13]", "numba-cuda[cu12]"):
        assert word in printed


@needs_numba_cuda
def test_without_a_driver_the_error_says_so():
    if python("from numba import cuda; print(cuda.is_available())").strip() == "True":
        pytest.skip("there is a GPU here")
    printed = python(ASK.format(error="RuntimeError"))
    for word in ("NVIDIA GPU", "driver", "numba-cuda[cu13]"):
        assert word in printed
