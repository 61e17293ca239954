"""Predictions of Dask arrays: block by block, when they are asked for."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any, TypeVar

from ..owners import is_dask

Method = TypeVar("Method", bound=Callable[..., Any])


def over_blocks(method: Method) -> Method:
    """Let a method that predicts take a Dask array, and return one.

    Of a series it says the same whatever series are beside it, so that blocks may be apart.
    """

    @functools.wraps(method)
    def predict(self: Any, X: Any) -> Any:
        return tasks().mapped(self, method.__name__, X) if is_dask(X) else method(self, X)

    return predict  # type: ignore[return-value]


def tasks() -> Any:
    """What makes tasks of predictions: imported when a Dask array is seen."""
    return importlib.import_module("numba_rnn.dask.predictions")
