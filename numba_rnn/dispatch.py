"""The one place that knows array types: it finds the backend for an array.

A backend is a module with the functions

    rows(array, features)                                   -> memory of a kernel, (R, features)
    zeros(shape, dtype), empty(shape, dtype)                 -> arrays of the backend's own
    rnn_forward, rnn_backward, linear_forward, linear_backward, dropout
    start_threads()                                         -> whatever a first call would wait for

`numba_rnn.cpu` describes them. Backends are imported when an array of theirs is first seen.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

import numpy as np

_found: dict[type, ModuleType] = {}


def backend(array: Any) -> ModuleType:
    """Return the backend module for an array."""
    kind = type(array)
    module = _found.get(kind)
    if module is None:
        if not isinstance(array, np.ndarray):
            raise TypeError(f"no backend for arrays of type {kind.__module__}.{kind.__name__}")
        module = _found[kind] = importlib.import_module("numba_rnn.cpu")
    return module
