"""How many of Numba's threads a task gets: together no more than its worker has.

Dask limits the threads of OpenMP and MKL on its workers, and not Numba's. A worker of four threads
runs four tasks at once, and each would take all of the machine. So a task takes what others have
left of the worker's own number, and one thread at least: many tasks have one each, and one alone
has them all. The results don't depend on it.
"""

from __future__ import annotations

import multiprocessing
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numba

from ..forks import is_child

_lock = threading.Lock()
_taken = 0


def _limit() -> int:
    """How many threads the tasks of this process may have together."""
    from ..cpu.parallel import available

    if "distributed" in sys.modules:
        from distributed import get_worker

        try:
            return min(get_worker().state.nthreads, available())
        except ValueError:  # not in a task of a worker
            pass
    if multiprocessing.parent_process() is not None:  # of Dask's scheduler of processes
        return 1
    return available()


@contextmanager
def share() -> Iterator[int]:
    """Let this thread of Python use its share of Numba's threads.

    Yields
    ------
    int
        How many these are.
    """
    global _taken
    if is_child():  # has one thread, whatever it is told
        yield 1
        return
    limit = _limit()
    with _lock:
        mine = max(1, limit - _taken)
        _taken += mine
    told = numba.get_num_threads()
    numba.set_num_threads(mine)  # of this thread of Python alone
    try:
        yield mine
    finally:
        numba.set_num_threads(told)
        with _lock:
            _taken -= mine
