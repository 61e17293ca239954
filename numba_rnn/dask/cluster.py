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


def memory() -> float:
    """Bytes that all workers have together, infinite where nothing limits them."""
    found = client()
    if found is None:
        return float(need("distributed.system", "dask", "a Dask array").MEMORY_LIMIT)
    limits = found.run(_limit).values()
    return math.inf if None in limits else float(sum(limits))


def _limit(dask_worker: Any) -> int | None:
    """Memory limit of a worker."""
    limit: int | None = dask_worker.memory_manager.memory_limit
    return limit
