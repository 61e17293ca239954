"""What Numba's simulator lacks: shuffles, and blocks of one launch that run at the same time.

`complete()` adds both. A shuffle is an exchange among all threads of a block, so every thread of
it must take part, as in our kernels. The blocks of a launch run concurrently where the kernel is
launched within `concurrent_blocks()`, each with shared memory of its own, so that blocks may wait
for each other as on a GPU.
"""

import contextlib
import sys
import threading
import time

import numpy as np
from numba.cuda.simulator import kernel, kernelapi

_run_one_by_one = kernel.BlockManager.run
_add = kernelapi.FakeCUDAAtomic.add


def _shfl_xor_sync(self, mask, value, lane_mask):
    thread = threading.current_thread()
    slots = thread._manager.__dict__.setdefault("exchanged", {})
    slots[thread.thread_id] = value
    thread.syncthreads()
    other = slots[thread.thread_id ^ lane_mask]
    thread.syncthreads()
    return other


class _SharedOfBlock:
    """Shared memory for each block, in place of one for a whole launch; it holds NaN at first."""

    def __init__(self, size):
        self._size, self._lock = size, threading.Lock()

    def array(self, shape, dtype, alignment=None):
        place = sys._getframe(1).f_lineno if shape else "dynamic"
        itemsize = np.dtype(dtype).itemsize
        with self._lock:
            mine = threading.current_thread()._manager.__dict__.setdefault("shared", {})
            if place not in mine:
                size = np.prod(shape) if shape else self._size // itemsize
                mine[place] = np.full(size * itemsize, 0xFF, np.uint8).view(dtype)
        return mine[place].reshape(shape) if shape else mine[place]


def complete():
    """Add shuffles to the simulator."""
    kernelapi.FakeCUDAModule.shfl_xor_sync = _shfl_xor_sync


def _add_or_look(self, array, index, value):
    """atomic.add, which leaves the processor to others where it only looks, as a wait does."""
    if value == 0:
        time.sleep(0.002)
    return _add(self, array, index, value)


@contextlib.contextmanager
def concurrent_blocks():
    """Run all blocks of a kernel of grid.py at the same time."""
    waiting = []

    def run(self, grid_point, *args):
        if self._f.__module__ != "numba_rnn.cuda.grid":
            _run_one_by_one(self, grid_point, *args)
            return
        waiting.append((self, grid_point, args))
        if len(waiting) < np.prod(self._grid_dim):
            return
        managers, failures = waiting[:], []
        waiting.clear()

        def one(manager, point, arguments):
            try:
                _run_one_by_one(manager, point, *arguments)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=one, args=each, daemon=True) for each in managers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive() or failures, "blocks wait for each other for ever"
        if failures:
            raise failures[0]

    shared = kernelapi.FakeCUDAShared
    kernel.BlockManager.run, kernelapi.FakeCUDAShared = run, _SharedOfBlock
    kernelapi.FakeCUDAAtomic.add = _add_or_look
    try:
        yield
    finally:
        kernel.BlockManager.run, kernelapi.FakeCUDAShared = _run_one_by_one, shared
        kernelapi.FakeCUDAAtomic.add = _add
