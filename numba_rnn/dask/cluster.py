"""What computes: a client's workers, or this process."""

from __future__ import annotations

import math
import sys
from typing import Any

from ..extras import need


def client() -> Any:
    """Return the client of distributed on which Dask computes now; None where there is none."""
    scheduler = need("dask.base", "dask", "a Dask array").get_scheduler()
    found = getattr(scheduler, "__self__", None)
    return found if found is not None and "distributed" in sys.modules else None


FILLED = 0.6  # of its memory, from where on a worker of Dask's spills what it keeps
KERNELS = 100_000_000  # bytes that a process takes to compile and to run them


def memory() -> float:
    """Bytes that all workers together may keep, infinite where nothing limits them."""
    found = client()
    if found is None:
        system = need("distributed.system", "dask", "a Dask array")
        return _rest(system.MEMORY_LIMIT, 0)
    return float(sum(found.run(_free).values()))


def _free(dask_worker: Any) -> float:
    """Bytes that a worker may keep beside what it has already."""
    limit = dask_worker.memory_manager.memory_limit
    return math.inf if limit is None else _rest(limit, dask_worker.monitor.get_process_memory())


def _rest(limit: float, taken: float) -> float:
    return max(FILLED * limit - taken - KERNELS, 0)
