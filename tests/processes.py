"""Python in a process of its own, for what a process can do or be only once."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

TESTS = Path(__file__).parent

# What the process compiles and asks the disk for, from here on. Numba compiles in passes, and tells
# who listens of each; a function that is found on disk has none.
LISTEN = """
import numba.core.event as numba_events
import numba_rnn as nr
from numba_rnn.cpu.cache import DiskCache
compiled, loaded = numba_events.RecordingListener(), []
numba_events.register("numba:run_pass", compiled)
def load(self, *arguments, original=DiskCache.load_overload):
    loaded.append(self)
    return original(self, *arguments)
DiskCache.load_overload = load
"""


def environment(**variables):
    """Return the environment of a process that can import what tests can.

    A variable that is None is taken out.
    """
    path = os.pathsep.join(p for p in (str(TESTS), os.environ.get("PYTHONPATH")) if p)
    both = os.environ | {"PYTHONPATH": path} | variables
    return {name: str(value) for name, value in both.items() if value is not None}


def python(code, cwd=None, timeout=300, **variables):
    """Run code where warnings are errors, with environment variables; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=environment(**variables), cwd=cwd, capture_output=True, text=True, timeout=timeout,
    )  # fmt: skip
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def chosen(request, *tests):
    """Return the values of the parameters of those tests of a module that are to be run."""
    found = [i for i in request.session.items if i.module is request.module]
    found = [i for i in found if getattr(i, "originalname", None) in tests]
    return {value for item in found for value in item.callspec.params.values()}


@contextmanager
def at_once(calls):
    """Make calls that wait for processes, as many at once as there are processors, in this order.

    Parameters
    ----------
    calls : dict of hashable to callable

    Yields
    ------
    callable
        Waits for the call of a name, and returns what it did or raises what it raised.
    """
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    pool = ThreadPoolExecutor(processors)
    try:
        done = {name: pool.submit(call) for name, call in calls.items()}
        yield lambda name: done[name].result()
    finally:
        pool.shutdown(cancel_futures=True)
