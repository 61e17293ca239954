"""What a type checker knows of the package, and what it finds wrong; and which names there are."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import numba_rnn as nr
from numba_rnn import estimators

PACKAGE = Path(nr.__file__).parents[1]

# Each line with what mypy says of it: "-> a type" reveals one, "! words" is an error, and of the
# others it says nothing.
LINES = """
output, h_n = rnn(x)
rnn(x)[0]                                           -> ndarray
rnn(x, h_0, lengths=[3, 1])[1]                      -> ndarray
rnn(packed)[0]                                      -> PackedSequence
rnn(packed)[0].data                                 -> ndarray
rnn(packed)[1]                                      -> ndarray
rnn(on_gpu)[0]                                      -> OnGpu
rnn(on_gpu, on_gpu)[1]                              -> OnGpu
rnn([[1.0]])                                        ! No overload variant
rnn(packed, lengths=[1])                            ! No overload variant
rnn.forward(x).output                               -> ndarray
rnn.forward(x).h_n                                  -> ndarray
rnn.forward(packed).output                          -> PackedSequence
rnn.forward(on_gpu).output                          -> OnGpu
rnn.forward(x).backward(x).input                    -> ndarray
rnn.forward(x).backward(x).flat                     -> ndarray
rnn.forward(packed).backward(packed).input          -> PackedSequence
rnn.forward(x).backward(x, truncation=(2, 4)).input -> ndarray
rnn.forward(x).backward(x, truncation=2.5)          ! incompatible type
rnn.forward(x).backward(x, per_sample=True).samples -> ndarray | None
nr.analysis.gradient_flow(rnn.forward(x), x).local  -> ndarray
nr.analysis.rtrl(rnn, x, x).parameters["a"]         -> ndarray
nr.analysis.interpret(rnn, x).backward(x).flat      -> ndarray
nr.analysis.check_backward(3)                       ! incompatible type
nr.init.orthogonal_(rnn, 0.9, rng=0).hidden_size    -> int
nr.init.orthogonal_(x)                              ! type variable
rnn.forward(on_gpu).backward(on_gpu).h_0            -> OnGpu
cell(h_0)                                           -> ndarray
cell.forward(h_0).h                                 -> ndarray
cell.forward(on_gpu).backward(on_gpu).input         -> OnGpu
linear(x)                                           -> ndarray
linear(on_gpu)                                      -> OnGpu
linear.forward(x).backward(x).input                 -> ndarray
rnn.weight_ih_l0                                    -> ndarray
rnn.bias_hh_l3_reverse                              -> ndarray
cell.weight_hh                                      -> ndarray
linear.weight                                       -> ndarray
linear.bias                                         -> ndarray | None
rnn.bias                                            -> bool
rnn.weight_hh_l0 = x
rnn.weight_hh_l0 = [[1.0]]
rnn.weight_hh_l0 = None                             ! Incompatible types in assignment
rnn.wieght_ih_l0                                    ! has no attribute
rnn.wieght_ih_l0 = x                                ! has no attribute
rnn.weight                                          ! has no attribute
cell.weight_ih_l0                                   ! has no attribute
linear.weights = x                                  ! has no attribute
rnn.parameters["weight_ih_l9"]                      -> ndarray
rnn.parameters["weight_ih_l0"] = "a"                ! "str"
rnn.parameters()                                    ! not callable
rnn.forward(x).backward(x).parameters["a"]          -> ndarray
adam.step(g for g in [x])
adam.step(linear)                                   ! incompatible type
nr.load("file")                                     -> RNN | RNNCell | Linear | RNNClassifier \
| RNNRegressor | RNNForecaster
nr.load("file").wieght                              ! has no attribute
classifier.predict([x])                             -> ndarray | list[ndarray]
forecaster.predict(3)                               -> ndarray | Any | list[ndarray | Any]
forecaster.predict_interval(3)                      -> ndarray | Any | list[ndarray | Any]
forecaster.predict_quantiles(quantiles=[0.5])       -> ndarray | Any | list[ndarray | Any]
forecaster.fit(x).regressor_.head_                  -> Linear
estimators.window_regressor(hidden_size=3)          -> RNNRegressor
nr.LSTM                                             ! has no attribute
estimators.RNNRegresor                              ! has no attribute
nr.reference.rnn_forward(x, x, rnn.parameters, num_layers=1, bidirectional=False)
computes(cpu)
computes(cuda.Backend(NUMBA))
computes(on_gpu)                                    ! incompatible type
trains(cuda.Backend(NUMBA))
trains(cpu)                                         ! incompatible type
""".replace("\\\n", "")
START = """
import numpy as np
import numba_rnn as nr
from numba_rnn import cpu, cuda, estimators
from numba_rnn.backends import Backend, GpuBackend
from numba_rnn.cuda.libraries import NUMBA

def computes(backend: Backend) -> None: ...
def trains(backend: GpuBackend) -> None: ...

class OnGpu:
    @property
    def __cuda_array_interface__(self) -> dict[str, object]:
        return {}

rnn, cell, linear = nr.RNN(2, 3), nr.RNNCell(2, 3), nr.Linear(2, 3)
x, on_gpu = np.zeros((4, 1, 2), np.float32), OnGpu()
h_0 = np.asarray(x)
packed = nr.pack_sequence([x[0]])
adam = nr.optim.Adam([rnn.flat_parameters])
classifier = estimators.RNNClassifier(3)
forecaster = estimators.RNNForecaster(2, window=5)
"""
# No line is about these, and to read torch takes longer than all else.
SETTINGS = """
[mypy]
[mypy-torch.*,matplotlib.*,onnx.*]
follow_imports = skip
"""
CASES = [re.split(r"\s+(?=-> |! )", line) for line in LINES.strip().splitlines()]


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """All that mypy says, by the place in the list, as to somebody who uses the package."""
    folder = tmp_path_factory.mktemp("types")
    code = START
    for line, *expected in CASES:
        code += f"reveal_type({line})\n" if expected and expected[0][0] == "-" else f"{line}\n"
    (folder / "user.py").write_text(code)
    (folder / "mypy.ini").write_text(SETTINGS)
    # Where it is installed mypy finds it by itself, and wants no other way to it.
    path = {} if PACKAGE.name == "site-packages" else {"MYPYPATH": str(PACKAGE)}
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--follow-imports=silent", "--ignore-missing-imports",
         "--no-error-summary", "--cache-dir", folder / "cache", "user.py"],
        cwd=folder, env=os.environ | path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found: dict[int, list[str]] = {}
    assert "user.py" in done.stdout, done.stdout + done.stderr
    for number, text in re.findall(r"user\.py:(\d+): (.*)", done.stdout):
        found.setdefault(int(number) - len(START.splitlines()) - 1, []).append(text)
    return found


def plain(revealed):
    """A type without its modules, and ndarray without its shape and dtype."""
    text = re.search('"(.*)"', revealed)[1]
    if "fallback=" in text:  # mypy's way to write a named tuple
        text = re.search(r"fallback=([\w.]+)", text)[1]
    text = re.sub(r"(\w+\.)+(?=\w)", "", text)
    return re.sub(r"ndarray\[tuple\[[^\]]*\], dtype\[(\w+\[\w+\]|\w+)\]\]", "ndarray", text)


@pytest.mark.parametrize("index", range(len(CASES)), ids=[case[0] for case in CASES])
def test_what_mypy_says(said, index):
    expected, texts = CASES[index][1:], said.get(index, [])
    errors = [text for text in texts if text.startswith("error: ")]
    if not expected:
        assert not texts
    elif expected[0].startswith("! "):
        assert errors and all(expected[0][2:] in error for error in errors)
    else:
        assert not errors and plain(texts[0]) == expected[0][3:]


@pytest.mark.parametrize("module", [nr, estimators])
def test_public_names_alone_are_shown(module):
    names = [name for name in dir(module) if not name.startswith("__")]
    assert names == sorted(module.__all__)
    assert all(getattr(module, name) is not None for name in names)
    assert {"__all__", "__doc__", "__file__"} <= set(dir(module))


@pytest.mark.parametrize("name", ["wieght_ih_l0", "weigth_hh_l0", "Weight_ih_l0", "bais_ih_l0"])
def test_a_misspelt_parameter_is_no_new_attribute(name):
    rnn = nr.RNN(2, 3)
    with pytest.raises(AttributeError, match=rf"no parameter '{name}'; did you mean \w+_l0"):
        setattr(rnn, name, rnn.weight_hh_l0)
    assert name not in vars(rnn)
    with pytest.raises(AttributeError, match=f"RNN has no attribute '{name}'") as caught:
        getattr(rnn, name)
    assert caught.value.name == name and caught.value.obj is rnn
    rnn.note = "one's own"  # attributes of other names are the user's to add
    assert rnn.note == "one's own"
