"""Whether this process is a fork: a thread pool does not live on in a child."""

import os
import sys

_PID = os.getpid()  # of the process that imported the package


def is_child() -> bool:
    """Whether this process is a fork of one that imported the package or used Numba's pool."""
    return _HAS_LOST_POOL or os.getpid() != _PID


def _inherited_a_pool() -> bool:
    """Whether this process, when it imports the package, is a fork that inherited a used pool.

    The pool has been started by somebody, and by another process where `logging`, which Numba
    imports long before its pool starts, was loaded before this process began. Where the system
    doesn't tell when that was (there is no /proc), a fork can't be told from its parent.
    """
    numba_parallel = sys.modules.get("numba.np.ufunc.parallel")
    if not getattr(numba_parallel, "_is_initialized", False):
        return False
    import logging
    import time

    try:
        with open("/proc/self/stat") as file:
            began = int(file.read().rpartition(")")[2].split()[19])  # in ticks since the boot
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - began / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, IndexError, ValueError):
        return False
    return logging.makeLogRecord({}).relativeCreated / 1000 > age + 0.05  # both in seconds


_HAS_LOST_POOL = _inherited_a_pool()
