"""The CUDA backend: each file of `tests/cuda` in a process of its own.

Those named sim_ run kernels in Numba's simulator, those named ptx_ compile them for real, and those
named run_ also run what is compiled, in an interpreter; none needs a GPU. Where there is one, those
named gpu_ run, and on it those of ON_GPU too.
"""

import os
import subprocess
import sys
from functools import cache, partial
from importlib.util import find_spec

import numpy as np
import pytest
from processes import TESTS, at_once, chosen, environment, python

IN_CI = bool(os.environ.get("NUMBA_RNN_CI"))
needs_numba_cuda = pytest.mark.skipif(
    find_spec("numba_cuda") is None and not IN_CI,
    reason="numba-cuda is not installed: pip install 'numba_rnn[test]' on Linux",
)
SIMULATED, COMPILED, INTERPRETED = (
    sorted(path.name for path in (TESTS / "cuda").glob(f"{kind}_*.py"))
    for kind in ("sim", "ptx", "run")
)

ON_GPU = ["sim_kernels.py", "sim_layers.py", "sim_training.py"]
LIBRARIES = "gpu_libraries.py"


@cache
def gpu():
    """Whether there is one here."""
    return python("from numba import cuda; print(cuda.is_available())").strip() == "True"


def run(name, *options, **variables):
    """Run a file of tests in a process of its own."""
    variables = environment(**variables)
    variables["PYTHONPATH"] += os.pathsep + str(TESTS / "cuda")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options,
         TESTS / "cuda" / name],
        env=variables, capture_output=True, text=True, timeout=1200,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[-8000:]}\n{done.stderr[-2000:]}"
    assert " skipped" not in done.stdout


@pytest.fixture(scope="module")
def finished(request):
    """Return a function that waits for a file, of those that were asked for; the longest first."""
    tests = ("in_the_simulator", "compiled_without_a_gpu", "run_as_compiled")
    wanted = chosen(request, *(f"test_{name}" for name in tests))
    seed = getattr(request.config.option, "randomly_seed", None)  # the order that these tests have
    options = [] if seed is None else [f"--randomly-seed={seed}"]
    calls = {
        name: partial(run, name, *options, NUMBA_ENABLE_CUDASIM=1 if name in SIMULATED else None)
        for name in INTERPRETED + COMPILED + SIMULATED
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


@needs_numba_cuda
@pytest.mark.parametrize("name", INTERPRETED)
def test_run_as_compiled(name, finished):
    finished(name)


@needs_numba_cuda
@pytest.mark.parametrize("name", [*ON_GPU, LIBRARIES])
def test_on_a_gpu(name):
    if not gpu():
        pytest.skip("there is no GPU here")
    if name == LIBRARIES and not (find_spec("torch") and find_spec("cupy")):
        pytest.skip("torch and CuPy are not installed")
    run(name, NUMBA_ENABLE_CUDASIM=None)


def test_files_are_found():
    assert {*ON_GPU, "sim_libraries.py"} <= set(SIMULATED)
    assert (TESTS / "cuda" / LIBRARIES).exists()
    assert "ptx_training.py" in COMPILED
    assert {"run_arrays.py", "run_interpreter.py", "run_layers.py"} == set(INTERPRETED)


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
    if gpu():
        pytest.skip("there is a GPU here")
    printed = python(ASK.format(error="RuntimeError"))
    for word in ("NVIDIA GPU", "driver", "numba-cuda[cu13]"):
        assert word in printed


OF_ANOTHER_TIME = """
import numpy as np
import numba_rnn as nr
import numba_rnn.cuda.toolkit
nr.RNN(2, 3, rng=0)(np.zeros((1, 1, 2), np.float32))  # imports what others import late
np.__dict__.pop("row_stack", None)  # which NumPy 2.5 hasn't got
"""


@needs_numba_cuda
@pytest.mark.skipif(not hasattr(np, "row_stack"), reason="this NumPy has none: the case itself")
def test_a_numpy_that_numba_cuda_does_not_work_with_is_named():
    printed = python(OF_ANOTHER_TIME + ASK.format(error="RuntimeError"))
    for word in ("numba-cuda", f"NumPy {np.__version__}", "row_stack", "pip install 'numpy<2.5'"):
        assert word in printed
