"""Each file here runs in a process of its own, as `test_cuda.py` starts it."""

import os
import sys
import threading

import numpy as np
import pytest

pytest.register_assert_rewrite("on_gpu")

if os.environ.get("NUMBA_ENABLE_CUDASIM") == "1":
    import simulator
    from numba.cuda.np.numpy_support import as_dtype
    from numba.cuda.simulator import kernelapi

    simulator.complete()

    # The simulator's main thread waits by looking again and again; the threads of a block, which
    # it waits for, get the interpreter sooner.
    sys.setswitchinterval(1e-4)

    # Threads that come to a shared array at once must find one array, not make one each.
    _lock = threading.Lock()
    _original = kernelapi.FakeCUDAShared.array

    def _array(self, shape, dtype, alignment=None):
        if shape == 0:
            return _original(self, shape, dtype)
        caller = sys._getframe(1)
        line = caller.f_code.co_filename, caller.f_lineno
        with _lock:
            if line not in self._allocations:
                kind = dtype if isinstance(dtype, (type, np.dtype)) else as_dtype(dtype)
                self._allocations[line] = np.full(shape, 77, kind)
            return self._allocations[line]

    kernelapi.FakeCUDAShared.array = _array
