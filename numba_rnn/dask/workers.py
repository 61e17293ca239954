"""What is peculiar to workers: things have to be sent there, and may be of no use any more."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .. import validation
from ..extras import need

FILLED = 0.6  # of its memory, from where on a worker of Dask's spills what it keeps
KERNELS = 100_000_000  # bytes that a process takes to compile and to run them


def client() -> Any:
    """The client that computes, or None where tasks stay on this machine."""
    found = getattr(need("dask.base", "dask", "Dask").get_scheduler(), "__self__", None)
    return found if "distributed" in sys.modules else None


def pickled(name: str, value: Any) -> bytes:
    """Return what is sent to workers instead of a value.

    Raises
    ------
    TypeError
        If it can't be pickled; the message names it.
    """
    try:
        found: bytes = need("cloudpickle", "dask", "Dask").dumps(value)
    except Exception as error:  # whatever an object of the user's raises
        raise TypeError(
            f"{name} must be something that can be pickled, to be sent to workers, got "
            f"{validation.describe(value)}: {error}"
        ) from error
    return found


def sendable(estimator: Any) -> None:
    """Refuse an estimator with a parameter that can't be pickled; the message names it."""
    for name, value in estimator.get_params(deep=False).items():
        pickled(name, value)


@contextmanager
def sending(**given: Any) -> Iterator[None]:
    """Name the argument, where something is computed and one can't be sent to workers."""
    try:
        yield
    except Exception as error:
        words = str(error)
        if "serialize" in words or "pickle" in words:  # which the user's function may say too
            for name, value in given.items():
                pickled(name, value)
        raise


def abandoned() -> bool:
    """Whether this is a task of a worker whose result nobody waits for any more.

    A worker can't end a task that is running; one of many parts can look between two of them.
    """
    if "distributed" not in sys.modules:
        return False
    from distributed import get_worker

    try:
        worker = get_worker()
        task = worker.state.tasks.get(worker.get_current_task())
    except (AttributeError, ValueError):  # not in a task of a worker
        return False
    return task is None or task.state == "cancelled"


def memory() -> float:
    """Bytes that all workers together may keep, infinite where nothing limits them."""
    here = client()
    if here is None:
        system = need("distributed.system", "dask", "a Dask array")
        return _rest(system.MEMORY_LIMIT, 0)
    here.wait_for_workers(1)
    return float(sum(here.run(_free, on_error="ignore").values()))


def without_word_of_size() -> Any:
    """Send what is the caller's, and has to be sent, without Dask's warning of its size."""
    word = "distributed.admin.large-graph-warning-threshold"
    return need("dask", "dask", "Dask").config.set({word: "1 TB"})


def _free(dask_worker: Any) -> float:
    """Bytes that a worker may keep beside what it has already."""
    limit = dask_worker.memory_manager.memory_limit
    return math.inf if limit is None else _rest(limit, dask_worker.monitor.get_process_memory())


def _rest(limit: float, taken: float) -> float:
    return max(FILLED * limit - taken - KERNELS, 0)
