"""Series of different lengths as people store them: lists in a column, or values with offsets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from .. import validation
from ..extras import need
from ..owners import is_dask
from . import workers
from .threads import share

EXTRA = "dask"


def map_series(
    function: Callable[[list[np.ndarray]], Any],
    data: Any,
    columns: str | Sequence[str] | None = None,
    *,
    offsets: np.ndarray | Sequence[int] | None = None,
    names: str | Sequence[str] = "prediction",
    dtype: Any = np.float64,
    per_partition: int = 1024,
) -> Any:
    """Give the series of each partition to a function; return what it says as a Dask DataFrame.

    Nothing is computed before the result is asked for. A function that is a method of an estimator
    or uses a layer is sent to each worker once.

    Parameters
    ----------
    function : callable
        Takes a list of arrays (T_i, n_features), as ``model.predict`` does, and returns an array
        (n,), or (n, K) for K `names`.
    data : dask.dataframe.DataFrame or dask.array.Array, shape (R, n_features) or (R,)
        A frame of which a column has a list in each row, as Parquet's list columns and Arrow's list
        arrays are read. Or the values of all series one after the other, as Arrow's list arrays and
        Zarr have them, with offsets.
    columns : str or sequence of str, optional
        The column or columns of a frame that hold the series. Of several, each is a feature; one
        may hold lists of lists, (T_i, n_features).
    offsets : array_like of int, shape (N + 1,), optional
        Where series begin in the values: series n is ``data[offsets[n] : offsets[n + 1]]``.
    names : str or sequence of str, default "prediction"
        Columns of the result.
    dtype : dtype, default np.float64
        Of these columns.
    per_partition : int, default 1024
        Series in a partition, where there are offsets; a frame keeps its own partitions.

    Returns
    -------
    dask.dataframe.DataFrame
        With the index of the frame, or 0, 1, ..., N - 1.

    Raises
    ------
    TypeError
        If data is no frame and no array of Dask's, its blocks are no NumPy arrays, offsets are no
        integers, or there is a client and the function can't be pickled.
    ValueError
        If a column is not there, offsets are not of these values, or data was persisted by a client
        that is closed. When it is computed, if a row has no series, or its columns have series of
        different lengths.

    Examples
    --------
    >>> import dask.array as da
    >>> import numba_rnn as nr
    >>> def means(series):
    ...     return [x.mean() for x in series]
    >>> values = da.arange(10.0, chunks=5)
    >>> nr.dask.map_series(means, values, offsets=[0, 3, 4, 10])["prediction"].compute().tolist()
    [1.0, 3.0, 6.5]
    """
    frames = need("dask.dataframe", EXTRA, "numba_rnn.dask.map_series")
    pandas = need("pandas", EXTRA, "numba_rnn.dask.map_series")
    if not callable(function):
        raise TypeError(f"function must be callable, got {validation.describe(function)}")
    if workers.client() is not None:
        workers.pickled("function", function)
    names = [names] if isinstance(names, str) else list(names)
    meta = pandas.DataFrame({name: np.zeros(0, dtype) for name in names})
    if is_dask(data):
        return _of_values(frames, function, data, offsets, meta, per_partition)
    if not isinstance(data, frames.DataFrame):
        raise TypeError(
            f"data must be a Dask DataFrame or a Dask array, got {validation.describe(data)}"
        )
    if offsets is not None:
        raise ValueError("offsets must be None with a frame, whose rows are the series")
    validation.still_there("data", data)
    found = [columns] if isinstance(columns, str) else list(columns or ())
    missing = [name for name in found if name not in data.columns]
    if missing or not found:
        raise ValueError(f"columns must be some of {list(data.columns)}, got {missing or columns}")
    return data[found].map_partitions(
        _of_frame, _once(function), found, meta, meta=meta, enforce_metadata=False
    )


def _once(function: Any) -> Any:
    """The function as one key of the graph."""
    dask = need("dask", EXTRA, "numba_rnn.dask.map_series")
    return dask.delayed(function, name=f"function-{dask.base.tokenize(function)}", traverse=False)


def _of_values(
    frames: Any, function: Any, values: Any, offsets: Any, meta: Any, per_partition: int
) -> Any:
    """Partitions of so many series, of values and offsets."""
    dask = need("dask", EXTRA, "numba_rnn.dask.map_series")
    validation.dask_blocks("data", values)
    per_partition = validation.positive_int("per_partition", per_partition)
    if values.ndim not in (1, 2):
        raise ValueError(f"data must have shape (R, n_features) or (R,), got {values.shape}")
    if offsets is None:
        raise ValueError("offsets must be given with an array of values")
    ends = validation.series_offsets("offsets", offsets, values.shape[0])
    count = len(ends) - 1
    firsts = [*range(0, max(count, 1), per_partition), count]
    places = ends[firsts]
    inside = values[places[0] : places[-1]]
    chunks = tuple(np.diff(places).tolist())
    inside = inside.rechunk({0: chunks} | ({1: -1} if values.ndim == 2 else {}))
    task, of_function = dask.delayed(_of_part, pure=True), _once(function)
    parts = [
        task(block, ends[a : b + 1] - ends[a], of_function, meta, a)
        for block, a, b in zip(inside.to_delayed().ravel(), firsts[:-1], firsts[1:], strict=True)
    ]
    divisions = (*firsts[:-1], max(count - 1, 0))
    return frames.from_delayed(parts, meta=meta, divisions=divisions, verify_meta=False)


def _of_part(values: np.ndarray, ends: np.ndarray, function: Any, meta: Any, first: int) -> Any:
    """What the function says of the series in some values, which begin with series `first`."""
    rows = _rows(values)
    series = [rows[a:b] for a, b in pairwise(ends)]
    return _said(function, series, meta, range(first, first + len(series)))


def _of_frame(frame: Any, function: Any, columns: list[str], meta: Any) -> Any:
    """What the function says of the series in a partition of a frame."""
    series = []
    for place, row in zip(
        frame.index, zip(*(frame[name] for name in columns), strict=True), strict=True
    ):
        series.append(_one(place, columns, row))
    return _said(function, series, meta, frame.index)


def _one(place: Any, columns: list[str], row: tuple[Any, ...]) -> np.ndarray:
    """The series of a row, (T, n_features)."""
    features = []
    for name, value in zip(columns, row, strict=True):
        if value is None or np.ndim(value) == 0:  # also pandas' NA
            raise ValueError(
                f"column {name!r} must have a series in each row, got {value} at {place}"
            )
        array = np.asarray(value)
        if array.dtype == object:  # a list of lists comes as an array of arrays
            array = np.stack([np.asarray(step) for step in array]) if len(array) else array
        features.append(_rows(array))
    if len({len(feature) for feature in features}) > 1:
        lengths = [len(feature) for feature in features]
        raise ValueError(f"columns {columns} must be as long in each row, got {lengths} at {place}")
    return np.concatenate(features, axis=1)


def _rows(values: np.ndarray) -> np.ndarray:
    """Steps of one feature as (T, 1), of several as they are."""
    return values[:, None] if values.ndim == 1 else values


def _said(function: Any, series: list[np.ndarray], meta: Any, index: Any) -> Any:
    """What the function says of some series, as a frame like `meta`; it isn't asked about none."""
    import pandas

    if not series:
        return meta.set_index(pandas.Index(index)) if len(index) == 0 else meta
    with share():
        found = np.asarray(function(series))
    wanted = len(series), len(meta.columns)
    if found.shape not in (wanted, wanted[:1] if wanted[1] == 1 else wanted):
        raise ValueError(
            f"function must return shape {wanted}, one row a series and a column for each of "
            f"names, got {found.shape}"
        )
    found = found.reshape(wanted)
    return pandas.DataFrame(
        {name: found[:, k].astype(meta[name].dtype) for k, name in enumerate(meta.columns)},
        index=index,
    )
