"""Which backend computes on an array, and where the array lies.

A NumPy array belongs to `numba_rnn.cpu`. An array on the GPU belongs to one of the libraries of
`numba_rnn.cuda.libraries`, and to the `numba_rnn.cuda.Backend` made for that library. A Dask array
has no backend: `numba_rnn.dask` makes tasks of a call, and each is a call on NumPy arrays. None of
them is imported before an array of its kind is seen.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload

import numpy as np

from .owners import is_dask, owner

if TYPE_CHECKING:
    from types import ModuleType

    from .backends import Backend, GpuBackend
    from .cuda.libraries import Library

CPU = "cpu"


class GpuArray(Protocol):
    """An array on a GPU, of whatever library, as type checkers know it."""

    @property
    def __cuda_array_interface__(self) -> Any: ...


class LazyArray(Protocol):
    """An array of Dask's, as type checkers know it."""

    @property
    def chunks(self) -> Any: ...
    def to_delayed(self) -> Any: ...


Lazy = TypeVar("Lazy", bound=LazyArray)
A = TypeVar("A", bound=np.ndarray | GpuArray)  # what comes out is of the kind of what goes in


def library(array: Any) -> Library | None:
    """Return the library of an array that may be on a GPU; None for NumPy's and for no array."""
    found = owner(array)
    return None if found is None else _libraries()[found]


def place(array: Any) -> str | None:
    """Say where an array lies, "cpu" or "cuda:0" and so on; None for what is no array here.

    A torch tensor on the CPU lies at "cpu" too, though only NumPy arrays are computed on there.
    """
    found = library(array)
    if found is not None:
        return found.place(array)
    return CPU if isinstance(array, np.ndarray) else None


def on_gpu(array: Any) -> bool:
    """Whether this is an array on a GPU."""
    found = library(array)
    return found is not None and found.place(array).startswith("cuda")


def lazy(array: Any) -> ModuleType | None:
    """Return what makes tasks of a layer's call where this is a Dask array; None for all else."""
    return importlib.import_module("numba_rnn.dask.layers") if is_dask(array) else None


def agree(a: str, b: str) -> bool:
    """Whether two places are one; "cuda" stands for a GPU whose number isn't known."""
    return a == b or ("cuda" in (a, b) and a[:4] == b[:4])


@overload
def backend(array: GpuArray) -> GpuBackend: ...
@overload
def backend(array: Any) -> Backend: ...
def backend(array: Any) -> Any:
    """Return the backend for an array that validation let pass."""
    kind = type(array)
    found = _backends.get(kind)
    if found is None:
        owning = library(array)
        if owning is not None:
            found = _gpu_backend(owning)
        elif isinstance(array, np.ndarray):
            found = importlib.import_module("numba_rnn.cpu")
        else:
            raise TypeError(f"no backend for arrays of type {kind.__module__}.{kind.__name__}")
        _backends[kind] = found
    if kind is not np.ndarray and (owning := library(array)) is not None:
        owning.require_current(array)
    return found


_backends: dict[type, Any] = {}


@cache
def _gpu_backend(owning: Library) -> GpuBackend:
    return importlib.import_module("numba_rnn.cuda.backend").Backend(owning)


@cache
def _libraries() -> dict[str, Library]:
    return importlib.import_module("numba_rnn.cuda.libraries").LIBRARIES


if not TYPE_CHECKING:  # a type checker would take every name for one of ours

    def __getattr__(name: str) -> Any:
        """NUMBA, the library of a layer's parameters on a GPU: imported when it is asked for."""
        if name == "NUMBA":
            return _libraries()["Numba"]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
