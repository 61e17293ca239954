"""What launches cost: beside busy processes, under a quota, and the lock of Python."""

import ctypes
import time

import numba
import numpy as np
import pytest
from processes import python

from numba_rnn.cpu import parallel, quota, worth
from numba_rnn.cpu.native import let_go, take_back

# --- whether launches are worth it ----------------------------------------------------------------


class Machine:
    """Calls of pieces of work on a machine whose clock is a number."""

    def __init__(self):
        self.now = 100.0
        self.worth = worth.Worth(clock=lambda: self.now)

    def run(self, alone, launched, kind="a", work=1e6, times=1):
        """Run a piece of work, which takes so many seconds; return which of them were launched."""
        found = []
        for _ in range(times):
            found.append(self.worth.launch(kind))
            seconds = launched if found[-1] else alone
            self.now += seconds
            self.worth.ran(kind, found[-1], work, seconds)
        return found


IDLE, BUSY = {"alone": 2e-4, "launched": 1e-4}, {"alone": 4e-4, "launched": 23e-3}


def test_launches_that_gain_go_on():
    machine = Machine()
    found = machine.run(**IDLE, times=10_000)
    assert found[:6] == [True, False, False, True, True, True]  # two calls to compare with
    assert found.count(False) < 40  # and one now and then


def test_launches_that_lose_stop_at_once_and_come_back():
    machine = Machine()
    machine.run(**IDLE, times=100)
    found = machine.run(**BUSY, times=100)
    assert found[0] and not any(found[1:])
    # A second of it: launches are tried again, but little of the time goes into that.
    start, launches = machine.now, 0
    while machine.now < start + 5:
        launches += sum(machine.run(**BUSY))
    assert 1 <= launches and launches * BUSY["launched"] < 0.05 * 5
    machine.run(**IDLE, times=int(worth.LONGEST_PAUSE / IDLE["alone"]) + 1)
    found = machine.run(**IDLE, times=1000)
    assert found.count(False) < 10


def test_a_busy_machine_from_the_beginning():
    """The first launch, with which nothing can be compared, is judged by what any machine can."""
    machine = Machine()
    found = machine.run(**BUSY, times=100)
    assert found[0] and not any(found[1:])
    assert not any(machine.run(**BUSY, kind="b", times=100))


def test_a_first_launch_that_compiles_costs_a_moment():
    machine = Machine()
    machine.run(alone=2e-4, launched=2.0)
    machine.now += worth.SHORTEST_PAUSE
    found = machine.run(**IDLE, times=100)
    assert found.count(False) <= worth.COMPARISONS


def test_a_disturbance_now_and_then_changes_nothing():
    machine = Machine()
    machine.run(**IDLE, times=1000)
    assert machine.run(alone=2e-4, launched=4e-3) == [True]
    assert machine.run(**IDLE, times=100).count(False) <= 1


def test_small_losses_add_up():
    machine = Machine()
    found = machine.run(alone=1e-5, launched=2e-5, work=1e5, times=1000)
    assert 100 < found.count(True) < 300 and not any(found[-100:])


def test_work_that_gains_carries_work_that_loses_little():
    machine = Machine()
    for _ in range(900):
        machine.run(**IDLE, kind="large")
        last = machine.run(alone=1e-5, launched=2e-5, kind="small", work=1e5)
    assert last == [True]


def test_kinds_of_work_do_not_pile_up():
    machine = Machine()
    for kind in range(3 * worth.KINDS):
        machine.run(**IDLE, kind=kind)
    assert len(machine.worth._alone) <= worth.KINDS


def test_a_kernel_runs_in_one_thread_where_launches_lose(monkeypatch):
    """From the decision to the call: which twin is called, and the same result."""
    import numba_rnn as nr
    from numba_rnn import cpu
    from numba_rnn.cpu import native

    called = []

    def call(self, p, arrays, dtype, parallel, release, original=native.Twins.__call__):
        called.append(parallel)
        original(self, p, arrays, dtype, parallel, release)

    monkeypatch.setattr(native.Twins, "__call__", call)
    monkeypatch.setattr(parallel, "worth", worth.Worth())
    monkeypatch.setattr(cpu, "split", lambda *arguments: (2, 2, 1))

    def launch(*arguments, original=parallel._launch):
        time.sleep(0.01)  # as if a thread had not come
        original(*arguments)

    monkeypatch.setattr(parallel, "_launch", launch)
    rnn, x = nr.RNN(3, 5, rng=0), np.ones((4, 6, 3), np.float32)
    outputs = [rnn(x)[0] for _ in range(5)]
    assert called == [True, False, False, False, False]
    for output in outputs[1:]:
        np.testing.assert_array_equal(output, outputs[0])


# --- quotas ---------------------------------------------------------------------------------------


@pytest.fixture
def groups(tmp_path):
    """Return a function that writes files of control groups and says what is read from them."""

    def read(own, **files):
        (tmp_path / "own").write_text(own)
        for name, text in files.items():
            path = tmp_path / "root" / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return quota.processors(tmp_path / "root", tmp_path / "own")

    return read


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max 100000\n", None),
        ("100000 100000\n", 1),
        ("50000 100000\n", 1),
        ("150000 100000\n", 2),
        ("800000 100000\n", 8),
        ("nonsense\n", None),
        ("", None),
        ("100000 0\n", None),
    ],
)
def test_a_quota_of_version_2(groups, text, expected):
    assert groups("0::/\n", cpu_dot_max=text) == expected


def test_the_least_quota_above_counts(groups):
    own = "0::/service/worker\n"
    files = {
        "cpu_dot_max": "max 100000",
        "service__cpu_dot_max": "200000 100000",
        "service__worker__cpu_dot_max": "400000 100000",
    }
    assert groups(own, **files) == 2
    assert groups("0::/../elsewhere\n", cpu_dot_max="300000 100000") == 3


def test_a_quota_of_version_1(groups):
    own = "5:memory:/a\n4:cpu,cpuacct:/a\n3:cpuset:/a\n0::/\n"
    unlimited = {
        "cpu,cpuacct__a__cpu.cfs_quota_us": "-1",
        "cpu,cpuacct__a__cpu.cfs_period_us": "100000",
    }
    assert groups(own, **unlimited) is None
    assert groups(own, **unlimited | {"cpu,cpuacct__a__cpu.cfs_quota_us": "250000"}) == 3


def test_without_groups(tmp_path):
    assert quota.processors(tmp_path, tmp_path / "own") is None
    (tmp_path / "own").write_text("0::/\n")
    assert quota.processors(tmp_path, tmp_path / "own") is None


QUOTA = """
import numpy as np, numba
import numba_rnn as nr
from numba_rnn.cpu import parallel, quota
quota.processors = lambda: 2
numba.set_num_threads({told}) if {told} else None
before, inside = numba.get_num_threads(), []
parallel.worth.launch = lambda kind: True
from numba_rnn.cpu import native
def call(self, p, arrays, dtype, parallel, release, original=native.Twins.__call__):
    inside.extend([numba.get_num_threads()] if parallel else [])
    original(self, p, arrays, dtype, parallel, release)
native.Twins.__call__ = call
output, _ = nr.RNN(64, 128, rng=0)(np.zeros((20, 32, 64), np.float32))
assert numba.get_num_threads() == before
nr.show_versions()
print("inside", *inside)
"""


@pytest.mark.parametrize(
    ("variable", "told", "expected"), [(None, None, 2), (None, 3, 3), (4, None, 4), (4, 1, None)]
)
def test_the_quota_replaces_a_default_and_nothing_else(variable, told, expected):
    code = "from numba.core import config\n"
    if variable is None:  # as on a machine of four processors
        code = "import os\nos.sched_getaffinity = lambda pid: {0, 1, 2, 3}\n" + code
    printed = python(code + QUOTA.format(told=told), NUMBA_NUM_THREADS=variable)
    *report, last = printed.splitlines()
    assert last.split() == ["inside", *[str(expected)] * (expected is not None)]
    threads = next(line for line in report if line.startswith("threads"))
    assert threads.split()[1] == str(expected or 1)


# --- the lock of Python ---------------------------------------------------------------------------


def test_python_s_lock_is_released_where_asked():
    check = ctypes.CDLL(ctypes.pythonapi._name).PyGILState_Check
    check.restype, check.argtypes = ctypes.c_int, []

    @numba.njit
    def is_held(release):
        state = let_go(release)
        held = check()
        take_back(state)
        return held

    assert is_held(False) == 1 and is_held(True) == 0 and is_held(False) == 1


def test_python_s_lock_is_released_for_long_work_alone(monkeypatch):
    released = []

    def kernel(p, arrays, dtype, parallel, release):
        released.append(release)

    for work in (parallel.WORTH_RELEASING - 1, parallel.WORTH_RELEASING):
        parallel.run(kernel, None, (), 1, np.float32, work, None)
    assert released == [False, True]
