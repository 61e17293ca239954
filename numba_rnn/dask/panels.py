"""Lists of series that Dask holds: in a bag, or each as a partition of a frame.

A forecaster is fitted to all of them at once, so they are brought to the caller; what takes time,
the training on their windows, is the workers'. Forecasts of others are made where these are.
"""

from __future__ import annotations

import copy
from typing import Any
from uuid import uuid4

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .. import validation
from ..extras import need
from ..owners import is_dask_list
from . import workers
from .threads import share


def collected(value: Any) -> Any:
    """Return a list of series of Dask's as a list in memory, anything else as it is."""
    if not is_dask_list(value):
        return value
    parts = need("dask", "dask", "a Dask bag").compute(*value.to_delayed())
    if hasattr(value, "divisions"):  # a frame
        return list(parts)
    found = [series for part in parts for series in part]
    if not all(np.ndim(series) for series in found):
        raise TypeError("a bag must hold series, got one that holds numbers")
    return found


def forecast(
    model: Any, method: str, y: Any, beside: dict[str, Any], options: dict[str, Any]
) -> Any:
    """Return what a forecaster says of other series, as a bag, or as Delayed objects of a frame.

    Raises
    ------
    NotFittedError, TypeError, ValueError
        If the forecaster is not fitted or can't be sent, or what is beside the series is not in
        the same partitions.
    """
    dask = need("dask", "dask", "a Dask bag")
    check_is_fitted(model)
    workers.sendable(model)
    if options["steps"] is not None:
        validation.positive_int("steps", options["steps"])
    framed = hasattr(y, "divisions")
    if framed and "static" in beside:
        raise TypeError("static must be None where each partition of y is a series; use a bag")
    for name, value in beside.items():
        if type(value) is not type(y) or value.npartitions != y.npartitions:
            raise TypeError(
                f"{name} must be in partitions as y is, a {type(y).__name__} of {y.npartitions}, "
                f"got {validation.describe(value)}"
            )
    of_model = dask.delayed(copy.deepcopy(model), name=f"model-{uuid4().hex}", traverse=False)
    task = dask.delayed(_say, pure=False)
    parts = [
        task(of_model, method, dict(zip(("y", *beside), part, strict=True)), options, framed)
        for part in zip(*(one.to_delayed() for one in (y, *beside.values())), strict=True)
    ]
    return parts if framed else need("dask.bag", "dask", "a Dask bag").from_delayed(parts)


def _say(
    model: Any, method: str, series: dict[str, Any], options: dict[str, Any], one: bool
) -> Any:
    """Forecast the series of a partition; there may be none."""
    if not one:
        series = {name: list(part) for name, part in series.items()}
        if not series["y"]:
            return []
        if "static" in series:
            series["static"] = np.stack(series["static"])
    with share():
        return getattr(model, method)(**series, **options)
