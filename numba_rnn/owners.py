"""Whose an array is, told by the name of its type: no library is imported to find out."""

from __future__ import annotations

from typing import Any

import numpy as np

NUMBA, CUPY, TORCH = "Numba", "CuPy", "torch"
_NAMES = {("cupy", "ndarray"): CUPY, ("torch", "Tensor"): TORCH}
_NONE = frozenset((np.ndarray, np.float64, float, int, bool, list, tuple, str, type(None)))
_owners: dict[type, str] = {}
_dasks: dict[type, bool] = {}


def owner(array: Any) -> str | None:
    """Name the library of an array that may be on a GPU; None for NumPy's and for no array.

    Whatever else has a ``__cuda_array_interface__`` counts as Numba's, which can look at it. torch
    has one type for tensors everywhere: `dispatch.place` tells.
    """
    kind = type(array)
    if kind in _NONE:
        return None
    if kind in _owners:
        return _owners[kind]
    found = _by_name(kind)
    if found is not None:
        _owners[kind] = found
        return found
    try:  # not kept: what is on a GPU now may be elsewhere the next time
        return NUMBA if hasattr(array, "__cuda_array_interface__") else None
    except Exception:  # some raise other things than AttributeError where they are on the CPU
        return None


def is_dask(array: Any) -> bool:
    """Whether this is an array of Dask's, which lies in blocks and is computed later."""
    kind = type(array)
    if kind in _NONE:
        return False
    found = _dasks.get(kind)
    if found is None:
        found = any(
            base.__name__ == "Array" and str(base.__module__).partition(".")[0] == "dask"
            for base in kind.__mro__
        )
        _dasks[kind] = found
    return found


def _by_name(kind: type) -> str | None:
    for base in kind.__mro__:
        found = _NAMES.get((str(base.__module__).partition(".")[0], base.__name__))
        if found is not None:
            return found
    return NUMBA if is_numba(kind) else None


def is_numba(kind: type) -> bool:
    """Whether this is a type of Numba's device arrays, the simulator's included."""
    return bool(getattr(kind, "__cuda_ndarray__", False))
