"""The first use: what an import loads, what is compiled when, and where it is kept."""

import os
import shutil
from pathlib import Path

import pytest
from processes import TESTS, python

import numba_rnn as nr

PACKAGE = Path(nr.__file__).parent

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

# Numba compiles in passes, and tells who listens of each; a function that it has on disk has none.
import numba.core.event as numba_events
from numba.core import caching
compiled, loaded = numba_events.RecordingListener(), []
numba_events.register("numba:run_pass", compiled)
def load(self, *arguments, original=caching.Cache.load_overload):
    loaded.append(self)
    return original(self, *arguments)
caching.Cache.load_overload = load
"""

LINEAR = """
import numpy as np, numba_rnn as nr
linear = nr.Linear(2, 1)
linear.weight[:] = [1, 2]
linear.bias[:] = -5
print(nr.__file__, *linear(np.array([[1, 2], [10, 20]], np.float32)).ravel().tolist())
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
assert not compiled.buffer and not loaded, (compiled.buffer[:1], loaded)
"""
    python("import numba_rnn as nr\n" + USES + code, NUMBA_NUM_THREADS=2)


@pytest.fixture
def copied(tmp_path):
    """Return a directory with a copy of the package, and variables with which it is used."""
    shutil.copytree(PACKAGE, tmp_path / "numba_rnn", ignore=shutil.ignore_patterns("__pycache__"))
    path = os.pathsep.join((str(tmp_path), str(TESTS)))
    return tmp_path, {"PYTHONPATH": path, "NUMBA_CACHE_DIR": tmp_path / "cache"}


def results(printed, directory):
    """Return the numbers that LINEAR prints, and check that it ran the copy."""
    place, *numbers = printed.split()
    assert Path(place).parent.parent.samefile(directory)
    return [float(number) for number in numbers]


def change(path, old, new):
    """Edit a file so that neither its size nor its time tells."""
    stat, text = path.stat(), path.read_text()
    assert old in text, f"{path.name} has changed: adapt this test"
    path.write_text(text.replace(old, new))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)


def test_kept_on_disk_for_the_next_process_but_not_for_other_sources(copied):
    directory, variables = copied
    code = USES + LINEAR + "print(len(compiled.buffer) > 0, len(loaded) > 0)"

    def run():
        *numbers, was_compiled, was_loaded = python(code, cwd=directory, **variables).rsplit(
            maxsplit=2
        )
        assert was_loaded == "True"
        return results(numbers[0], directory), was_compiled == "True"

    assert run() == ([0, 45], True)
    kept = list((directory / "cache").rglob("*.nb[ic]"))
    assert kept
    assert not list((directory / "numba_rnn").rglob("*.nb[ic]"))
    assert run() == ([0, 45], False)
    # A function's own file, and then one that it builds on: to Numba nothing has happened.
    change(directory / "numba_rnn/cpu/products.py", "w[j * depth + k]", "w[j * depth + 0]")
    assert run() == ([-2, 25], True)
    assert run() == ([-2, 25], False)
    with open(directory / "numba_rnn/cpu/tile.py", "a") as file:
        file.write("\n\nVectors.fma = lambda self, a, b, c: c\n")
    assert run() == ([-5, -5], True)
    assert set(kept) <= set((directory / "cache").rglob("*.nb[ic]"))  # what was there still is


NOWHERE = """
import warnings
import numba.core.caching as caching
if {everywhere}:
    caching.CacheImpl._locator_classes = []
warnings.simplefilter("always")
with warnings.catch_warnings(record=True) as caught:
    {code}
    found = [(w.category.__name__, "NUMBA_CACHE_DIR" in str(w.message)) for w in caught]
    assert found == [("RuntimeWarning", True)], [str(w) for w in caught]
"""


def test_without_a_directory_to_write_to(copied):
    directory, variables = copied
    code = NOWHERE.format(everywhere=True, code=LINEAR.strip().replace("\n", "\n    "))
    variables |= {"NUMBA_CACHE_DIR": None}
    assert results(python(code, cwd=directory, **variables), directory) == [0, 45]
    assert not list(directory.rglob("*.nb[ic]"))


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is read-only for root"
)
def test_with_read_only_directories(copied):
    directory, variables = copied
    code = NOWHERE.format(everywhere=False, code=LINEAR.strip().replace("\n", "\n    "))
    for path in [directory, *directory.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    places = {"HOME": directory, "XDG_CACHE_HOME": directory}
    try:
        assert results(python(code, cwd=directory, **variables | places), directory) == [0, 45]
    finally:
        for path in [directory, *(p for p in directory.rglob("*") if p.is_dir())]:
            path.chmod(0o755)
