"""No kernel reads or writes outside an array: {cases} cases, {runs} runs for each width of vectors.

Each case is a layer, a call and its backward. It runs on memory that ends, and once more on memory
that begins, at a page whose touch ends the process, and must give the bits that it gives without.
What that takes is in guarded.py, which runs in a process of its own.
"""

import itertools
import signal
import subprocess
import sys
from functools import partial

import pytest
from processes import TESTS, at_once, chosen, environment
from test_processors import HERE, PROCESSORS

if sys.platform != "linux":
    pytest.skip("pages are guarded as Linux does it", allow_module_level=True)

from guarded import BATCHES, CASES, DTYPES, FAULTS, NO_FAULT, PLACEMENTS, SPLITS, STEPS

RUNS = len(CASES) * len(PLACEMENTS)
__doc__ = __doc__.format(cases=len(CASES), runs=RUNS)

WIDTHS = dict(PROCESSORS)
if "+avx512f" in HERE:
    as_it_is = {"NUMBA_CPU_NAME": None, "NUMBA_CPU_FEATURES": None}
    WIDTHS["avx512"] = (as_it_is, "512 bits")


def guarded(processor, *fault):
    """Run guarded.py for a processor; return the lines that it prints."""
    variables, width = WIDTHS[processor]
    done = subprocess.run(
        [sys.executable, "-W", "error", TESTS / "guarded.py", *fault],
        env=environment(NUMBA_NUM_THREADS=2, **variables), capture_output=True, text=True,
        timeout=1800,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    if done.returncode != 0:
        how = f"exit status {done.returncode}"
        if done.returncode == -signal.SIGSEGV:
            how = "an access outside an array"
        pytest.fail(f"{how} in {lines[-1:]}\n{done.stderr[-5000:]}")
    assert lines[0] == width[: len(lines[0])]
    return lines[1:]


@pytest.fixture(scope="module")
def finished(request):
    """Return a function that waits for what guarded.py says for a processor, or of a fault."""
    wanted = chosen(
        request,
        "test_every_access_is_inside_its_array",
        "test_a_fault_ends_the_process_and_is_named",
    )
    calls = {name: partial(guarded, name) for name in WIDTHS if name in wanted}
    calls |= {fault: partial(guarded, "generic", fault) for fault in FAULTS if fault in wanted}
    with at_once(calls) as wait:
        yield wait


@pytest.mark.parametrize("processor", WIDTHS)
def test_every_access_is_inside_its_array(processor, finished):
    lines = finished(processor)
    assert len(lines) == len(set(lines)) == RUNS


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_ends_the_process_and_is_named(fault, finished):
    with pytest.raises(
        pytest.fail.Exception, match=rf"an access outside an array in \['{fault}'\]"
    ):
        finished(fault)


def test_what_the_faults_are_planted_in_runs_without_them():
    assert guarded("generic", NO_FAULT) == [NO_FAULT]


def test_cases_are_of_every_kind():
    """Each two of these meet in some case."""
    layers = [case for case in CASES if case.kind in BATCHES]
    flag = (False, True)
    values = {
        "kind": BATCHES, "dtype": DTYPES, "L": STEPS, "split": SPLITS, "bias": flag,
        "nonlinearity": ("tanh", "relu"), "h_0": flag, "layers": (1, 2, 3),
        "bidirectional": flag, "batch_first": flag, "dropout": (0.0, 0.3, 1.0),
        "given": ("both", "output", "h_n"), "states": flag,
    }  # fmt: skip
    for a, b in itertools.combinations(values, 2):
        there = {(getattr(case, a), getattr(case, b)) for case in layers}
        missing = set(itertools.product(values[a], values[b])) - there
        # With one layer there is nothing to drop.
        if {a, b} == {"layers", "dropout"}:
            missing -= {(1, 0.3), (1, 1.0)}
        assert not missing, (a, b, missing)
    for kind, split, dtype in itertools.product(("cell", "linear"), SPLITS, DTYPES):
        assert any((c.kind, c.split, c.dtype) == (kind, split, dtype) for c in CASES)
