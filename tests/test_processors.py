"""Other processors than this one, as far as one can pretend: vectors of other widths."""

import subprocess
import sys

import llvmlite.binding
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

PROCESSORS = {"generic": ({"NUMBA_CPU_NAME": "generic"}, "128 bits, no fused multiply-add")}
FEATURES = get_host_cpu_features().split(",")
if "+avx512f" in FEATURES:
    without = [f"-{f[1:]}" if "avx512" in f or "avx10" in f else f for f in FEATURES]
    variables = {
        "NUMBA_CPU_NAME": llvmlite.binding.get_host_cpu_name(),
        "NUMBA_CPU_FEATURES": ",".join(without),
    }
    PROCESSORS["avx2"] = (variables, "256 bits, fused multiply-add")


@pytest.mark.parametrize("processor", PROCESSORS)
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
