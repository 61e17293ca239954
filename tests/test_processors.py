"""Other processors than this one, as far as one can pretend: vectors of other widths."""

import platform
import subprocess
import sys

import pytest
from numba.core.codegen import get_host_cpu_features
from processes import TESTS, environment, python

# A few tests of each kind; the whole suite runs in the same way with these variables set.
SELECTION = [
    "test_rnn.py::test_sizes",
    "test_rnn.py::test_nan_stays_in_its_sequence",
    "test_bits.py::test_any_split_of_an_rnn",
    "test_bits.py::test_any_split_of_linear_and_the_cell",
    "test_bits.py::test_rows_of_linear_in_any_batch",
    "test_bits.py::test_a_sequence_in_any_batch",
    "test_activation.py::test_tanh_in_float32",
    "test_activation.py::test_tanh_in_float64_densely",
    "test_activation.py::test_tanh_of_the_largest_and_the_least",
    "test_activation.py::test_relu",
]
LESS = "not (130 or 300 or 257 or 140 or 150)"  # of the sizes, the smaller ones

HERE = set(get_host_cpu_features().split(","))
PROCESSORS = {"generic": ({"NUMBA_CPU_NAME": "generic"}, "128 bits, no fused multiply-add")}
if {"+avx2", "+fma"} <= HERE:
    AVX2 = {"NUMBA_CPU_NAME": "x86-64-v3", "NUMBA_CPU_FEATURES": "+avx2,+fma"}
    PROCESSORS["avx2"] = (AVX2, "256 bits, fused multiply-add")
# Where this processor has AVX2 and no more, the other tests run with just that.
NARROWER = [name for name in PROCESSORS if name == "generic" or "+avx512f" in HERE]


@pytest.mark.parametrize("processor", NARROWER)
def test_narrower_vectors(processor):
    variables, width = PROCESSORS[processor]
    report = python("import numba_rnn as nr; nr.show_versions()", **variables)
    assert width in report
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", LESS, *SELECTION],
        cwd=TESTS, env=environment(**variables), capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


# Stands for a host with AVX-512, whatever this one has. Nothing is compiled, so nothing can crash.
ON_AVX512 = """
import llvmlite.binding

features = llvmlite.binding.get_host_cpu_features()
features |= dict.fromkeys(["avx2", "fma", "avx512f", "avx512vl"], True)
class Features(dict):
    flatten = type(features).flatten
llvmlite.binding.get_host_cpu_features = lambda: Features(features)

from numba_rnn.cpu.vectors import HAS_FMA, VECTOR_BYTES
print(VECTOR_BYTES, HAS_FMA)
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="features of x86-64")
@pytest.mark.parametrize(
    ("name", "features", "expected"),
    [
        (None, None, "64 True"),
        ("generic", None, "16 False"),
        ("haswell", None, "64 True"),  # a name alone leaves the features as the host has them
        ("x86-64-v3", "+avx2,+fma", "32 True"),
        ("x86-64-v2", "+sse4.2", "16 False"),
    ],
)
def test_width_on_a_host_with_avx512(name, features, expected):
    variables = {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features}
    assert python(ON_AVX512, **variables).strip() == expected


@pytest.mark.parametrize("processor", PROCESSORS)
def test_only_instructions_that_were_asked_for(processor):
    """In the machine code, not only in the report: a register of 512 bits is a zmm."""
    code = """
import numpy as np
import numba
from numba_rnn.cpu.native import OPTIONS

@numba.njit(fastmath=True, **OPTIONS)
def dot(a, b):
    s = np.float32(0)
    for i in range(len(a)):
        s += a[i] * b[i]
    return s

dot(np.ones(1000, np.float32), np.ones(1000, np.float32))
(assembly,) = dot.inspect_asm().values()
print([name for name in ("xmm", "ymm", "zmm") if name in assembly])
"""
    variables, width = PROCESSORS[processor]
    report = "import numba_rnn as nr; nr.show_versions()"
    assert width in python(report, **variables)
    registers = {"128": "['xmm']", "256": "['xmm', 'ymm']"}
    assert python(code, **variables).strip() == registers[width[:3]]
