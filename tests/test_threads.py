"""The promises about threads: callers from any number of them, forks, and a quiet neighbour."""

import importlib
import os
import threading
import time

import numpy as np
import pytest
from processes import python

import numba_rnn as nr
from numba_rnn.cpu import plans
from numba_rnn.cpu.native import Twins


def is_there(layer):
    """Whether a threading layer of Numba can be loaded: some need a library."""
    try:
        importlib.import_module(f"numba.np.ufunc.{layer}pool")
    except ImportError:
        return False
    return True


LAYERS = ["workqueue", *filter(is_there, ("omp", "tbb"))]
each_threading_layer = pytest.mark.parametrize("layer", LAYERS)

# What every process below begins with: some calls, each with a forward pass and its backward, and
# a way to see how they entered the pool.
BEGIN = """
import os, sys, threading, time, warnings
from concurrent.futures import ThreadPoolExecutor
import numba, numpy as np
import numba_rnn as nr
from helpers import example, normal
from test_bits import bits, everything, leaves, one_map, one_step

rnn = nr.RNN(40, 128, num_layers=2, bidirectional=True, rng=0)
wide = nr.RNN(300, 600, dtype=np.float64, rng=0)
cell = nr.RNNCell(300, 400, rng=0)
linear = nr.Linear(300, 700, rng=0)
small = nr.RNN(3, 5, rng=0)
calls = [(everything, rnn, *example(rnn, kind, 9, 70)) for kind in ("padded", "lengths")]
calls += [(everything, wide, *example(wide, "padded", 3, 1))]
calls += [(one_step, cell, normal((300, 300), np.float32), normal((300, 400), np.float32))]
calls += [(one_map, linear, normal((400, 300), np.float32))]
calls += [(everything, small, *example(small, "padded", 3, 2))]

def answer(call):
    function, *arguments = call
    return b"".join(a.tobytes() for a in leaves(bits(function(*arguments))))

def serially():
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    answers = [answer(call) for call in calls]
    numba.set_num_threads(before)
    return answers

from numba_rnn import cpu
from numba_rnn.cpu import parallel, plans
from numba_rnn.cpu.native import Twins
launches = []
def run(kernel, p, arrays, parts, *others, original=parallel.run):
    launches.append(parts)
    original(kernel, p, arrays, parts, *others)
cpu.run = plans.run = run
def alone(*given, original=Twins.alone):
    def count(*arrays, serial=original(*given)):
        launches.append(1)
        serial(*arrays)
    return count
Twins.alone = alone
parallel.worth.launch = lambda kind: True  # however slow launches are
"""


@each_threading_layer
def test_many_threads_at_once(layer):
    """Shared layers, the pool still cold, more callers than processors: the serial bits."""
    code = """
barrier = threading.Barrier(8)
def work(k):
    barrier.wait()
    return [answer(calls[(i + k) % len(calls)]) for i in range(2 * len(calls))]
with ThreadPoolExecutor(8) as pool:
    results = list(pool.map(work, range(8)))
assert 1 in launches and max(launches) == 4
expected = serially()
for k, answers in enumerate(results):
    for i, found in enumerate(answers):
        assert found == expected[(i + k) % len(calls)], (k, i)
print(numba.threading_layer())
"""
    printed = python(BEGIN + code, NUMBA_THREADING_LAYER=layer, NUMBA_NUM_THREADS=4)
    assert printed.split() == [layer]


FORK = """
warnings.filterwarnings("ignore", "This process", DeprecationWarning)  # from Python 3.12 on

def child(work):
    "Run work in a forked child and return its exit status."
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = 0 if work() else 2
        finally:
            os._exit(status)
    for _ in range(1200):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status
        time.sleep(0.05)
    os.kill(pid, 9)
    return "the child hangs"

def answers_are_right():
    return [answer(call) for call in calls] == expected
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@each_threading_layer
def test_children_of_a_fork_work(layer):
    """Before and after the pool is in use, in a child's child, and while another thread works."""
    code = """
expected = serially()
assert child(answers_are_right) == 0
assert answers_are_right() and max(launches) == 2
assert child(answers_are_right) == 0
assert child(lambda: child(answers_are_right) == 0 and answers_are_right()) == 0
def in_threads():
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(answer, calls * 2)) == expected * 2
assert child(in_threads) == 0

going_on = True
def work():
    while going_on:
        answer(calls[0])
thread = threading.Thread(target=work)
thread.start()
try:
    for _ in range(5):
        assert child(answers_are_right) == 0
finally:
    going_on = False
    thread.join()
launches.clear()
assert answers_are_right() and max(launches) == 2  # the parent goes on as before

import multiprocessing
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(answer, calls) == expected
"""
    python(BEGIN + FORK + code, NUMBA_THREADING_LAYER=layer, NUMBA_NUM_THREADS=2)


def test_set_num_threads_is_respected():
    code = """
largest = {}
for count in (4, 1, 3):
    launches.clear()
    numba.set_num_threads(count)
    answers = [answer(call) for call in calls]
    assert max(launches) == count and numba.get_num_threads() == count
    largest[count] = answers
assert largest[1] == largest[3] == largest[4]

def launch(*arguments):
    raise AssertionError("a launch")
parallel._launch = launch
numba.set_num_threads(1)
[answer(call) for call in calls]
numba.set_num_threads(2)
try:
    answer(calls[0])
except AssertionError:
    print("launched")
"""
    assert python(BEGIN + code, NUMBA_NUM_THREADS=4).split() == ["launched"]


def test_small_work_is_done_by_the_caller(monkeypatch):
    from numba_rnn.cpu import parallel

    def launch(*arguments):
        raise AssertionError("a launch")

    monkeypatch.setattr(parallel, "_launch", launch)
    monkeypatch.setattr(parallel.worth, "launch", lambda kind: True)  # whatever launches cost now
    monkeypatch.setattr(parallel.numba, "get_num_threads", lambda: 8)
    rnn = nr.RNN(8, 32, rng=0)
    for shape in ((0, 3, 8), (1, 1, 8), (10, 8, 8), (100, 1, 8)):
        tape = rnn.forward(np.zeros(shape, np.float32))
        tape.backward(np.zeros(tape.output.shape, np.float32))
    dropping = nr.RNN(2, 4, num_layers=2, dropout=0.5, bidirectional=True, rng=0)
    tape = dropping.forward(np.zeros((5, 3, 2), np.float32))
    tape.backward(tape.output)
    cell, linear = nr.RNNCell(8, 64, rng=0), nr.Linear(64, 10, rng=0)
    for layer, width in ((cell, 8), (linear, 64)):
        x = np.zeros((7, width), np.float32)
        layer(x)
        layer(x[0])
        layer.forward(x).backward(layer(x))
    with pytest.raises(AssertionError, match="a launch"):
        nr.RNN(64, 128, rng=0)(np.zeros((20, 32, 64), np.float32))


def test_the_lock_of_python_is_released(monkeypatch):
    """Another thread goes on while a kernel runs, in every kind of call."""
    from numba_rnn import cpu

    monkeypatch.setattr(cpu, "split", lambda *arguments: (1, 1, 1))  # leaves a processor free
    monkeypatch.setattr(cpu, "threads", lambda work: 1)
    rnn = nr.RNN(8, 512, dropout=0.5, num_layers=2, rng=0)
    linear = nr.Linear(1024, 1024, rng=0)
    x, x_linear = np.ones((1000, 2, 8), np.float32), np.ones((2000, 1024), np.float32)
    tape, tape_linear = rnn.forward(x), linear.forward(x_linear)
    calls = [
        lambda: rnn(x),
        lambda: tape.backward(tape.output),
        lambda: linear(x_linear),
        lambda: tape_linear.backward(tape_linear.output),
    ]
    for call in calls:
        call()
        started, ended = threading.Event(), threading.Event()

        def work(call=call, started=started, ended=ended):
            started.set()
            try:
                call()
            finally:
                ended.set()

        thread = threading.Thread(target=work)
        thread.start()
        started.wait()
        ticks = 0
        while not ended.is_set():
            time.sleep(0.0005)
            ticks += 1
        thread.join()
        # A call that held the lock would leave a few ticks, before it and after.
        assert ticks >= 12


def test_the_number_of_threads_is_that_of_the_python_thread():
    """set_num_threads is forgotten in other Python threads, unless each is told."""
    code = """
from concurrent.futures import ThreadPoolExecutor
import numba
import numba_rnn as nr
from numba_rnn.cpu import parallel, plans

numba.set_num_threads(1)
many = 1e12
assert parallel.threads(many) == 1
with ThreadPoolExecutor(1) as pool:
    assert pool.submit(parallel.threads, many).result() == 3
with ThreadPoolExecutor(1, initializer=numba.set_num_threads, initargs=(2,)) as pool:
    assert pool.submit(parallel.threads, many).result() == 2
assert parallel.threads(many) == 1
"""
    python(code, NUMBA_NUM_THREADS=3)


def test_a_quiet_neighbour():
    """Importing and using the package changes no settings of Numba, NumPy or the process."""
    code = """
import os, sys, warnings
import numba, numpy as np
import scipy.linalg  # Numba does so as it compiles; some versions of it put a filter in front
from numba.core import config
def settings():
    return (
        {name: repr(getattr(config, name)) for name in dir(config) if name.isupper()},
        dict(os.environ), np.geterr(), np.get_printoptions(), list(warnings.filters),
        sys.getswitchinterval(), sys.getrecursionlimit(), np.random.get_state()[1].tolist(),
    )
before = settings()
import numba_rnn as nr
assert settings() == before
rnn = nr.RNN(64, 128, num_layers=2, dropout=0.5, rng=0)
tape = rnn.forward(np.zeros((20, 32, 64), np.float32))
tape.backward(tape.output)
nr.warmup()
assert settings() == before
assert numba.get_num_threads() == 2
"""
    python(code, NUMBA_NUM_THREADS=2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("imported", ["by the parent", "by the child"])
def test_a_child_whose_parent_used_the_pool_for_other_work(imported):
    """The parent runs a loop of its own; the package is imported before that, or by the child."""
    code = """
import os
import numba
import numpy as np
import numba_rnn as nr

@numba.njit(parallel=True)
def loop(a):
    for i in numba.prange(len(a)):
        a[i] += 1

loop(np.zeros(1000))
child = os.fork()
if child == 0:
    IMPORT
    output, h_n = nr.RNN(64, 128, rng=0)(np.ones((50, 32, 64), np.float32))
    os._exit(0 if np.isfinite(output).all() else 1)
assert os.waitpid(child, 0)[1] == 0
IMPORT
assert not nr.forks.is_child()
"""
    statement = "import numba_rnn as nr"
    if imported == "by the child":
        code = code.replace(statement, "").replace("IMPORT", statement)
    python(code.replace("IMPORT", "pass"), NUMBA_THREADING_LAYER="omp", NUMBA_NUM_THREADS="2")


def test_long_calls_let_other_threads_run_whatever_came_before(monkeypatch):
    """And short ones don't: one plan serves both."""
    rnn, asked = nr.RNN(8, 64, rng=0), []

    def alone(kernel, p, dtype, original=Twins.alone):
        serial = original(kernel, p, dtype)

        def call(release, *arrays):
            asked.append(release)
            serial(release, *arrays)

        return call

    monkeypatch.setattr(Twins, "alone", alone)
    monkeypatch.setattr(plans, "_plans", {})
    for L in (1, 1000, 1):
        rnn(np.zeros((L, 1, 8), np.float32))
    assert asked == [False, True, False]
