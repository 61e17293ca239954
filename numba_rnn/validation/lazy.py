"""Dask arrays: all that can be known of them before they are computed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..dispatch import CPU
from ..owners import is_dask
from . import advice
from .arrays import shaped
from .sequences import index_array, lengths
from .values import describe


def evaluating(layer: Any) -> None:
    """Refuse a layer that Dask's tasks can't call: on a GPU, or drawing dropout masks."""
    if layer.device != CPU:
        raise TypeError(
            'a layer on the GPU takes no Dask arrays: move it with .to("cpu"), or call it on each '
            "block with x.map_blocks"
        )
    if getattr(layer, "dropout", 0) and layer.training and layer.num_layers > 1:
        raise ValueError(
            f"dropout acts in training mode, got dropout={layer.dropout} and a Dask array, whose "
            "blocks are computed in any order and perhaps twice: call .eval() first"
        )


def known_chunks(name: str, value: Any) -> None:
    """Refuse an array of which Dask doesn't know how long its chunks are."""
    if any(math.isnan(size) for size in value.shape):
        raise ValueError(
            f"{name} must have chunks of known size, got shape {value.shape}; "
            f"{name}.compute_chunk_sizes() finds them out"
        )


def dask_array(
    name: str, value: Any, dtype: np.dtype, size: int, leading: tuple[tuple[str, ...], ...]
) -> None:
    """Refuse what has another dtype, kind of blocks or number of features than a layer takes.

    `leading` is as for `features`.
    """
    known_chunks(name, value)
    _of_numpy(name, value, dtype)
    ndim = value.ndim
    if ndim and value.shape[-1] == size:
        for axes in leading:
            if ndim == len(axes) + 1 or axes == ("...",):
                return
    shapes = " or ".join(f"({', '.join([*axes, str(size)])})" for axes in leading)
    raise ValueError(f"{name} must have shape {shapes}, got {tuple(value.shape)}")


def dask_numbers(name: str, value: Any) -> None:
    """Refuse an array of chunks of unknown size, or of other blocks than NumPy's numbers."""
    known_chunks(name, value)
    _in_numpy_blocks(name, value)
    if value.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold numbers, got {describe(value)}")


def _in_numpy_blocks(name: str, value: Any) -> None:
    meta = value._meta
    if not isinstance(meta, np.ndarray) or isinstance(meta, np.ma.MaskedArray):
        kind = f"{type(meta).__module__.partition('.')[0]}.{type(meta).__name__}"
        raise TypeError(f"{name} must have blocks that are NumPy arrays, got {kind}")


def _of_numpy(name: str, value: Any, dtype: np.dtype) -> None:
    _in_numpy_blocks(name, value)
    if value.dtype != dtype:
        raise TypeError(
            f"{name} must be of dtype {dtype}, as the layer is, got {value.dtype}; convert with "
            f"{advice.how_to_cast(name, value, dtype)}"
        )


def dask_states(name: str, value: Any, shape: tuple[int, ...], dtype: np.dtype) -> Any:
    """Return initial states, a NumPy or a Dask array of exactly this shape and dtype."""
    if not is_dask(value):
        return shaped(name, value, shape, dtype)
    known_chunks(name, value)
    _of_numpy(name, value, dtype)
    if value.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {tuple(value.shape)}")
    return value


def dask_lengths(name: str, value: Any, batch: int, longest: int) -> Any:
    """Return one length a sequence; of a Dask array the values are seen when it is computed."""
    if not is_dask(value):
        return lengths(name, index_array(name, value), batch, longest, zero_allowed=True)
    known_chunks(name, value)
    if value.dtype.kind not in "iu":
        raise TypeError(f"{name} must hold integers, got {describe(value)}")
    if value.shape != (batch,):
        raise ValueError(
            f"{name} must hold one length for each of the {batch} sequences, got {describe(value)}"
        )
    return value
