"""What is peculiar to workers: things have to be sent there, and may be of no use any more."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .. import validation
from ..extras import need


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
