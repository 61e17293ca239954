"""Whose an array is, told by the name of its type: no library is imported to find out."""

from __future__ import annotations

from typing import Any

import numpy as np

NUMBA, CUPY, TORCH = "Numba", "CuPy", "torch"
_NAMES = {("cupy", "ndarray"): CUPY, ("torch", "Tensor"): TORCH}
_NONE = frozenset((np.ndarray, np.float64, float, int, bool, list, tuple, str, type(None)))
_owners: dict[type, str] = {}
_dasks: dict[type, str] = {}


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
    return _of_dask(type(array)) == "Array"


def is_dask_list(value: Any) -> bool:
    """Whether this is a bag of Dask's, or a frame or series of its dataframes."""
    return _of_dask(type(value)) in ("Bag", "DataFrame", "Series")


def _of_dask(kind: type) -> str:
    """Name a kind of collection of Dask's; "" where it is none."""
    if kind in _NONE:
        return ""
    found = _dasks.get(kind)
    if found is None:
        names = {
            base.__name__
            for base in kind.__mro__
            if str(base.__module__).partition(".")[0] in ("dask", "dask_expr")
        }
        found = next(
            (name for name in ("Array", "Bag", "DataFrame", "Series") if name in names), ""
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
