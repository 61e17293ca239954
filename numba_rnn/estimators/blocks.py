"""From estimators to Dask arrays: fits to blocks of them, and predictions block by block."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any, TypeVar

from .. import validation
from ..owners import is_dask, is_dask_list

Method = TypeVar("Method", bound=Callable[..., Any])


def over_blocks(method: Method) -> Method:
    """Let a method that predicts take a Dask array, and return one.

    Of a series it says the same whatever series are beside it, so that blocks may be apart.
    """

    @functools.wraps(method)
    def predict(self: Any, X: Any) -> Any:
        return (
            room("predictions").mapped(self, method.__name__, X) if is_dask(X) else method(self, X)
        )

    return predict  # type: ignore[return-value]


def over_partitions(method: Method) -> Method:
    """Let a method that forecasts take other series in a bag, or a frame, of Dask's."""

    @functools.wraps(method)
    def forecast(self: Any, steps: int | None = None, X: Any = None, **given: Any) -> Any:
        if not is_dask_list(given.get("y")):
            return method(self, steps, X, **given)
        given = {name: one for name, one in ({"X": X} | given).items() if one is not None}
        beside = {k: given.pop(k) for k in ("X", "X_past", "static") if k in given}
        options = {"steps": steps} | {k: one for k, one in given.items() if k != "y"}
        return room("panels").forecast(self, method.__name__, given["y"], beside, options)

    return forecast  # type: ignore[return-value]


def room(name: str) -> Any:
    """Return a module of numba_rnn.dask, which is imported when a Dask array is seen."""
    return importlib.import_module(f"numba_rnn.dask.{name}")


def panel(value: Any) -> Any:
    """Return a list of series that may be Dask's as one in memory."""
    return room("panels").collected(value) if is_dask_list(value) else value


def in_memory(name: str, value: Any) -> Any:
    """Return targets or weights, which the caller keeps, as NumPy has them."""
    if not is_dask(value):
        return value
    validation.dask_blocks(name, value)
    return value.compute()
