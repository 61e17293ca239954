"""Dask arrays and frames: all that can be known of them before they are computed."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
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


def dask_blocks(name: str, value: Any) -> None:
    """Refuse an array of which Dask doesn't know how long its chunks are, or which it has lost.

    Also one whose blocks are no NumPy arrays; masked ones may be, and mean something to some.
    """
    if any(math.isnan(size) for size in value.shape):
        raise ValueError(
            f"{name} must have chunks of known size, got shape {value.shape}; "
            f"{name}.compute_chunk_sizes() finds them out"
        )
    if not isinstance(value._meta, np.ndarray):
        raise _other_blocks(name, value._meta)
    still_there(name, value)


def _other_blocks(name: str, meta: Any) -> TypeError:
    kind = f"{type(meta).__module__.partition('.')[0]}.{type(meta).__name__}"
    return TypeError(f"{name} must have blocks that are NumPy arrays, got {kind}")


def still_there(name: str, value: Any) -> None:
    """Refuse an array, a frame or a future on workers who don't have it any more."""
    if "distributed" not in sys.modules:
        return
    from distributed import Future

    for block in [value] if isinstance(value, Future) else _persisted(value, Future):
        if block.client is None or block.client.status != "running":
            raise ValueError(
                f"{name} must be of a client that is open, got blocks that were persisted on one "
                "that is closed; persist them on the new one"
            )
        if block.status in ("cancelled", "lost"):
            raise ValueError(
                f"{name} must have blocks that are there, got one that was persisted and is "
                f"{block.status}"
            )


def blocks_still_there(name: str, blocks: list[Any], client: Any) -> None:
    """Refuse blocks, alone or several in a tuple or list, that a client has no more or never had.

    Those of an array that was persisted are keys alone, in no graph, and go with the array.
    """
    from dask.delayed import Delayed

    seen = set()  # blocks of one array have one graph, with all of them
    for k, block in enumerate(blocks):
        for part in block if isinstance(block, (list, tuple)) else (block,):
            if type(part).__module__.startswith("distributed."):  # a future
                still_there(f"{name}[{k}]", part)
            if not isinstance(part, Delayed):
                continue
            if id(part.dask) not in seen:
                seen.add(id(part.dask))
                still_there(f"{name}[{k}]", part)
            layer = _layers(part)[part.__dask_layers__()[0]]
            if part.key not in layer and (client is None or part.key not in client.futures):
                raise ValueError(
                    f"{name}[{k}] must be there, got one of an array that was persisted and is "
                    "gone, or its client: keep the array as long as its blocks are needed"
                )


def _persisted(value: Any, kind: type) -> Iterator[Any]:
    """Blocks of an array or a frame that are results on workers, found in graphs as they stand."""
    if hasattr(type(value), "expr"):  # a frame
        parts = [part for one in value.expr.walk() for part in one.operands]
    else:
        parts = [getattr(layer, "mapping", layer) for layer in _layers(value).values()]
    for part in parts:
        if isinstance(part, dict):
            yield from (task for task in part.values() if isinstance(task, kind))


def _layers(value: Any) -> dict[str, Any]:
    """Layers of the graph of an array or a delayed value, by name."""
    return getattr(value.dask, "layers", None) or {value.__dask_layers__()[0]: value.dask}


def dask_array(
    name: str, value: Any, dtype: np.dtype, size: int, leading: tuple[tuple[str, ...], ...]
) -> None:
    """Refuse what has another dtype, kind of blocks or number of features than a layer takes.

    `leading` is as for `features`.
    """
    _of_numpy(name, value, dtype)
    ndim = value.ndim
    if ndim and value.shape[-1] == size:
        for axes in leading:
            if ndim == len(axes) + 1 or axes == ("...",):
                return
    shapes = " or ".join(f"({', '.join([*axes, str(size)])})" for axes in leading)
    raise ValueError(f"{name} must have shape {shapes}, got {tuple(value.shape)}")


def dask_numbers(name: str, value: Any) -> None:
    """Refuse an array that Dask doesn't have any more, or not in blocks of NumPy's numbers."""
    dask_blocks(name, value)
    if value.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold numbers, got {describe(value)}")


def _of_numpy(name: str, value: Any, dtype: np.dtype) -> None:
    _without_masks(name, value)
    if value.dtype != dtype:
        raise TypeError(
            f"{name} must be of dtype {dtype}, as the layer is, got {value.dtype}; convert with "
            f"{advice.how_to_cast(name, value, dtype)}"
        )


def _without_masks(name: str, value: Any) -> None:
    dask_blocks(name, value)
    if isinstance(value._meta, np.ma.MaskedArray):
        raise _other_blocks(name, value._meta)


def dask_states(name: str, value: Any, shape: tuple[int, ...], dtype: np.dtype) -> Any:
    """Return initial states, a NumPy or a Dask array of exactly this shape and dtype."""
    if not is_dask(value):
        return shaped(name, value, shape, dtype)
    _of_numpy(name, value, dtype)
    if value.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {tuple(value.shape)}")
    return value


def dask_lengths(name: str, value: Any, batch: int, longest: int) -> Any:
    """Return one length a sequence; of a Dask array the values are seen when it is computed."""
    if not is_dask(value):
        return lengths(name, index_array(name, value), batch, longest, zero_allowed=True)
    _without_masks(name, value)
    if value.dtype.kind not in "iu":
        raise TypeError(f"{name} must hold integers, got {describe(value)}")
    if value.shape != (batch,):
        raise ValueError(
            f"{name} must hold one length for each of the {batch} sequences, got {describe(value)}"
        )
    return value
