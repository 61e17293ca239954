"""What is done with arrays apart from computing, on the CPU and on GPUs: copied, moved, written."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from . import dispatch
from .dispatch import CPU, library


def moved(array: Any, to: str) -> Any:
    """Copy a vector of parameters to the host ("cpu") or to the current GPU ("cuda")."""
    return to_host(array) if to == CPU else dispatch.NUMBA.to_device(array)


def to_host(array: Any) -> np.ndarray:
    """Copy an array of any kind to the host."""
    found = library(array)
    return array.copy() if found is None else found.to_host(array)


def like(array: Any, values: np.ndarray) -> Any:
    """Copy values on the host into a new array of another's kind, at its place."""
    found = library(array)
    if found is None:
        return np.array(values)
    result = found.empty(values.shape, values.dtype, array)
    found.assign(result, values)
    return result


def assign(target: Any, values: Any) -> None:
    """Write values, which lie at the target's place or on the host, into an array in C order."""
    found = library(target)
    if found is None:
        target[...] = values
    else:
        found.assign(target, values)


def zeros_like(array: Any) -> Any:
    """Return zeros of an array's shape, dtype, kind and place."""
    found = library(array)
    return np.zeros_like(array, subok=False) if found is None else found.zeros_like(array)


def vector(array: Any) -> Any:
    """Return what a kernel gets of an array on a GPU: its memory, as a vector."""
    return library(array).vector(array)


def settle(arrays: Iterable[Any]) -> None:
    """Wait where arrays on a GPU are of libraries whose current streams differ."""
    found = {library(array) for array in arrays}
    if len({int(one.stream()) for one in found}) > 1:
        found.pop().settle()
