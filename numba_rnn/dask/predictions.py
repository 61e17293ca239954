"""What estimators say of Dask arrays: of each block of samples what they say of it alone."""

from __future__ import annotations

import copy
from typing import Any
from uuid import uuid4

import numpy as np

from .. import validation
from ..estimators.sequences import Sequences
from ..extras import need
from . import workers
from .threads import share


def mapped(model: Any, method: str, X: Any) -> Any:
    """Return what a method says of the series of X, (N, T, F) or (N, T), as a Dask array."""
    dask = need("dask", "dask", "a Dask array")
    array = need("dask.array", "dask", "a Dask array")
    X, pickled = _in_blocks(X), _pickled(model)
    # One series of zeros tells what comes out, and what is wrong with the others' shape.
    meta = getattr(model, method)(np.zeros((1, *X.shape[1:]), X.dtype))
    if isinstance(meta, list):  # of a y that was one
        meta = np.stack(meta)
    token = dask.base.tokenize("numba_rnn", method, pickled, X.name)
    of_model = dask.delayed(copy.deepcopy(model), name=f"model-{token}", traverse=False)
    return array.map_blocks(
        _say, X, of_model, method, dtype=meta.dtype, meta=meta[:0],
        chunks=(X.chunks[0], *((size,) for size in meta.shape[1:])), name=f"{method}-{token}",
        drop_axis=list(range(1, X.ndim)), new_axis=list(range(1, meta.ndim)) or None,
    )  # fmt: skip


def _pickled(model: Any) -> bytes:
    """Return a model as bytes; of parameters that can't be that the first is named."""
    workers.sendable(model)
    return workers.pickled("the model", model)


def _say(block: np.ndarray, model: Any, method: str) -> np.ndarray:
    with share():
        found = getattr(model, method)(block)
    return np.stack(found) if isinstance(found, list) else found


def _in_blocks(X: Any) -> Any:
    """X in blocks of whole series."""
    validation.dask_blocks("X", X)
    if X.ndim not in (2, 3):
        raise ValueError(
            "X must have shape (n_samples, n_timesteps, n_features) or (n_samples, n_timesteps), "
            f"got {tuple(X.shape)}"
        )
    return X.rechunk(dict.fromkeys(range(1, X.ndim), -1))


def readouts(model: Any, X: Any) -> tuple[list[np.ndarray], Sequences]:
    """Compute what each member of an estimator reads of the series, and how long these are.

    The series stay where they are: there are no rows in what is returned.
    """
    dask = need("dask", "dask", "a Dask array")
    X = _in_blocks(X)
    _pickled(model)
    of_model = dask.delayed(model, name=f"model-{uuid4().hex}", traverse=False)
    read = dask.delayed(_read, pure=False)
    found = dask.compute(*(read(of_model, block) for block in X.to_delayed().ravel()))
    members = [np.concatenate(blocks) for blocks in zip(*found, strict=True)]
    lengths = np.full(X.shape[0], X.shape[1])
    return members, Sequences.of(np.empty((0, 1)), lengths)


def _read(model: Any, block: np.ndarray) -> list[np.ndarray]:
    with share():
        found: list[np.ndarray] = model._readouts(block)[0]
    return found
