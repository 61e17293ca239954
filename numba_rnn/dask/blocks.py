"""Series of a Dask array, in blocks that are cut by their number and size alone.

    X, (N, T, F), in any chunks
    M blocks of N/M whole series, each a task      M = 16·R, where 16 blocks have about 64 MB

So what is trained on a block doesn't depend on the chunks that X came in, nor on the workers.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import validation
from ..estimators import checks
from ..estimators.missing import Filling
from ..estimators.sequences import ROUNDING, Sequences, spread
from ..estimators.training import auto_batch_size
from ..extras import need
from . import workers

LEAVES = 16  # blocks that a batch takes its series from: a power of two
GROUP = 64_000_000  # bytes that so many of them have, or more where a batch has


def borders(series: int, size: int, batch: int | None) -> np.ndarray:
    """Cut series, which have so many bytes together, into blocks for batches of a size.

    Returns
    -------
    ndarray of int64, shape (M + 1,)
        Where each block begins, and where the last one ends.
    """
    most = series // (batch or auto_batch_size(series))  # or else a group were less than a batch
    count = min(series, LEAVES * max(1, min(-(-size // GROUP), most)))
    return np.arange(count + 1) * series // count


@dataclass(frozen=True, eq=False)
class Blocks:
    """Series that stay where they are, as `Sequences` that do not.

    Attributes
    ----------
    parts : list of Delayed
        Arrays (n, T, F), or (n, T) of tables.
    ends : ndarray of int64, shape (M + 1,)
        Where blocks begin, as numbers of series, and where the last one ends.
    places : ndarray of int64, shape (N,)
        Numbers of the series that are meant, rising.
    starts : ndarray of int64, shape (N,)
        Rows of targets where those of each series begin, if steps have targets.
    steps, features : int
    gaps : bool
        Whether values may be missing.
    """

    parts: list[Any]
    ends: np.ndarray
    places: np.ndarray
    starts: np.ndarray
    steps: int
    features: int
    gaps: bool

    @classmethod
    def of(cls, X: Any, *, batch: int | None, gaps: bool) -> Blocks:
        """Cut an array (N, T, F), or (N, T), into blocks of whole series, for batches of a size."""
        validation.dask_numbers("X", X)
        if X.ndim not in (2, 3) or 0 in X.shape:
            raise ValueError(
                "X must have shape (n_samples, n_timesteps, n_features) or "
                f"(n_samples, n_timesteps), and not be empty, got {tuple(X.shape)}"
            )
        N, T = X.shape[:2]
        size = math.prod(X.shape) * 8  # as float64, whatever dtype these numbers have
        ends = borders(N, size, batch)
        X = X.rechunk({0: tuple(np.diff(ends).tolist())} | dict.fromkeys(range(1, X.ndim), -1))
        parts, series = list(X.to_delayed().ravel()), np.arange(N)
        if 2 * size <= workers.memory():  # for what is read of them, too
            parts = list(need("dask", "dask", "a Dask array").persist(*parts))
        return cls(parts, ends, series, series * T, T, X.shape[2] if X.ndim == 3 else 1, gaps)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, which: np.ndarray) -> Blocks:
        """Some of the series, which must rise."""
        return replace(self, places=self.places[which], starts=self.starts[which])

    @property
    def lengths(self) -> np.ndarray:
        """Steps of each series, shape (N,)."""
        return np.full(len(self), self.steps)

    @property
    def index(self) -> np.ndarray:
        """Rows of targets that are those of the series, one series after the other."""
        return (self.starts[:, None] + np.arange(self.steps)).ravel()

    def compact(self) -> Blocks:
        """These series, whose targets are then rows one after the other."""
        return replace(self, starts=np.arange(len(self)) * self.steps)

    @property
    def bounds(self) -> np.ndarray:
        """Where the blocks begin among the series that are meant, and where the last one ends."""
        return np.searchsorted(self.places, self.ends)

    def each(self, function: Callable[..., Any], *arrays: np.ndarray | None) -> list[Any]:
        """Tasks of a function of the series of each block, and of their part of some arrays.

        Arrays have an entry a series. Where there are no series in a block, None is in its place.
        """
        task = need("dask", "dask", "a Dask array").delayed(_on_block, pure=False)
        bounds, found = self.bounds, []
        for k, part in enumerate(self.parts):
            first, a, b = self.ends[k], bounds[k], bounds[k + 1]
            if a == b:
                found.append(None)
                continue
            own = [None if array is None else array[a:b] for array in arrays]
            place = first, self.ends[k + 1]
            found.append(task(part, place, self.places[a:b] - first, self.gaps, function, own))
        return found

    def measured(self, function: Callable[..., Any], *arrays: np.ndarray | None) -> list[Any]:
        """Return what a function says of each block in which there are series."""
        tasks = [task for task in self.each(function, *arrays) if task is not None]
        found = need("dask", "dask", "a Dask array").compute(*tasks)
        return [one for one in found if one is not None]

    def content(self) -> list[np.ndarray]:
        """Return what tells these series from others."""
        found = self.measured(_digest)
        return [np.frombuffer(b"".join(found), np.uint8), self.places]

    def turned(self) -> bool:
        """Whether the first ones look as if time were their last axis."""
        if not checks.may_be_turned(self.steps, self.features):
            return False
        return bool(self[np.arange(len(self)) < self.ends[1]].measured(_turned)[0])

    def filling(self, weights: np.ndarray | None) -> Filling:
        """Measure how gaps are filled, with weights of the series."""
        parts = self.measured(_known, weights)
        totals = np.sum([total for total, *_ in parts], axis=0)
        if (empty := totals == 0).any():
            raise ValueError(
                "X must have a value of each feature where missing ones are filled, got none of "
                f"feature {int(np.argmax(empty))}; leave it out"
            )
        start = np.sum([total / totals * mean for total, mean, _ in parts], axis=0)
        return Filling(start, np.flatnonzero(np.any([marked for *_, marked in parts], axis=0)))

    def spread(
        self, filling: Filling | None, weights: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of each feature, 0 where it is constant.

        Those of blocks are put together as T. F. Chan, G. H. Golub and R. J. LeVeque do
        ("Algorithms for computing the sample variance", The American Statistician 37, 1983).
        """
        parts = self.measured(_Measure(filling), weights)
        lowest, highest = np.min([p[0] for p in parts], 0), np.max([p[1] for p in parts], 0)
        size = np.maximum(np.abs(lowest), np.abs(highest))
        with np.errstate(over="ignore"):
            constant = highest - lowest <= ROUNDING * size
        share = np.array([p[4] for p in parts])[:, None]
        share /= share.sum()
        means = np.array([p[2] for p in parts])
        mean = np.clip(np.sum(share * means, axis=0), lowest, highest)
        unit = np.where(constant, 1.0, np.maximum(highest - mean, mean - lowest))
        squares = (np.array([p[3] for p in parts]) / unit) ** 2 + ((means - mean) / unit) ** 2
        return mean, np.where(constant, 0.0, unit * np.sqrt(np.sum(share * squares, axis=0)))


def _on_block(
    block: np.ndarray,
    place: tuple[int, int],
    chosen: np.ndarray,
    gaps: bool,
    function: Callable[..., Any],
    arrays: list[np.ndarray | None],
) -> Any:
    """What a function says of some series of the block of the series in a place."""
    first, end = place
    if len(block) != end - first:
        raise ValueError(
            f"X must have the series that its chunks say, {end - first} from {first} on, got "
            f"{len(block)}"
        )
    if len(chosen) < len(block):
        block = block[chosen]
    read = checks.table if block.ndim == 2 else checks.array_3d
    try:
        block = checks.without_masks("X", block, gaps=gaps)
        return function(Sequences.of_array(read("X", block, gaps=gaps)), *arrays)
    except ValueError as error:
        raise ValueError(f"of the series from {first + chosen[0]} on, {error}") from error


def _digest(x: Sequences) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(x.rows).data).digest()


def _turned(x: Sequences) -> bool:
    return checks.looks_turned(x.rows.reshape(len(x), -1, x.features))


def _known(x: Sequences, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the values of each feature weigh, their mean, and whether some are missing."""
    there = ~np.isnan(x.rows)
    of_steps = np.ones(len(there)) if weights is None else np.repeat(weights, x.lengths)
    total = of_steps @ there
    shares = np.where(there, of_steps[:, None] / np.where(total > 0, total, 1), 0)
    return total, np.sum(shares * np.where(there, x.rows, 0), axis=0), ~there.all(axis=0)


@dataclass(frozen=True)
class _Measure:
    """Lowest and highest value of each feature, mean, deviation, and what the series weigh."""

    filling: Filling | None

    def __call__(self, x: Sequences, weights: np.ndarray | None) -> tuple[Any, ...] | None:
        if weights is not None and not weights.any():  # beside those of others they are nothing
            return None
        rows = x.rows if self.filling is None else self.filling.fill(x)[0]
        of_steps = None if weights is None else np.repeat(weights, x.lengths)
        total = len(rows) if of_steps is None else of_steps.sum()
        return rows.min(axis=0), rows.max(axis=0), *spread(rows, weights=of_steps), float(total)
