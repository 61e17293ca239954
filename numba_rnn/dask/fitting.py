"""A fit to series that lie in blocks: the same epochs, and workers that sum the gradients.

    epoch       the blocks, shuffled, LEAVES at a time
    batch k     of each of these the k-th part of its series, shuffled
    gradients   a sum over the tree of these leaves, as in trees.py

Weights, optimiser and random numbers stay with the caller, who takes a step when the sum is there.
So the model has the same bits whatever the workers, and nothing is lost with one of them but what
it was computing: Dask makes its blocks anew.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from ..estimators.examples import SERIES_AT_ONCE, Examples, Gradient
from ..estimators.network import Network
from ..estimators.objectives import Loss
from ..estimators.reading import Reading
from ..estimators.sequences import Sequences
from ..extras import need
from ..linear import Linear
from ..rnn import RNN
from . import workers
from .blocks import LEAVES, Blocks, borders
from .threads import share
from .trees import gradients


@dataclass(frozen=True)
class Leaf:
    """What a worker does with some series of a block, but for the weights.

    Attributes
    ----------
    rnn : RNN
    head : Linear
    pooling : {"last", "mean", "max"} or None
    loss : callable or None
    truncation : int or None
    """

    rnn: RNN
    head: Linear
    pooling: str | None
    loss: Loss | None
    truncation: int | None = None

    @classmethod
    def of(cls, network: Network, truncation: int | None = None) -> Leaf:
        """Take a network apart."""
        rnn = copy.deepcopy(network.rnn).eval()
        return cls(rnn, network.head, network.pooling, network.loss, truncation)

    def network(self, weights: np.ndarray) -> Network:
        """Put it together, with other weights."""
        network = Network(copy.deepcopy(self.rnn), self.head, self.pooling, self.loss)
        network.weights[:] = weights
        return network

    def __call__(
        self, weights: np.ndarray, block: tuple[Examples, np.ndarray, list[int] | None]
    ) -> tuple[float, list[np.ndarray]]:
        """Sum of losses and of gradients, and what targets and series weigh."""
        examples, which, seed = block
        network, loss, counts = self.network(weights), 0.0, np.zeros(2)
        if seed is not None:  # of the masks of dropout
            network.rnn._rng = np.random.default_rng(seed)
            network.rnn.train()
        sums = np.zeros(len(weights))  # in float64, where n times a gradient is a number
        with np.errstate(all="ignore"):
            for k in range(0, len(which), SERIES_AT_ONCE):
                some = which[k : k + SERIES_AT_ONCE]
                some = some[np.argsort(-examples.x.lengths[some], kind="stable")]
                for value, n, grads, mass in examples.gradients(network, some, self.truncation):
                    loss += n * value
                    sums += np.multiply(grads, n, dtype=np.float64)
                    counts += n, mass
        return loss, [sums, counts]


@dataclass(frozen=True, eq=False)
class Prepared:
    """Blocks of series as the network reads them.

    Attributes
    ----------
    parts : list of Delayed
        Examples, or None where there are none.
    bounds : ndarray of int64, shape (M + 1,)
        Where the blocks begin among all series.
    kept : bool
        Whether the workers keep all of them, or a group of blocks is made when its turn comes.
    """

    parts: list[Any]
    bounds: np.ndarray
    kept: bool

    @classmethod
    def of(
        cls,
        blocks: Blocks,
        reading: Reading,
        target: np.ndarray,
        weights: np.ndarray | None,
        steps: bool,
        exponent: int,
    ) -> Prepared:
        """Read all series, and keep them where there is memory for that.

        Raises
        ------
        ValueError
            If the network can't read them.
        """
        arrays = [target, weights]
        if steps:  # an entry a series
            shape = len(blocks), blocks.steps
            arrays = [None if a is None else a.reshape(*shape, *a.shape[1:]) for a in arrays]
        parts = blocks.each(_Read(reading, steps, exponent), *arrays)
        marks = 0 if reading.filling is None else len(reading.filling.marked)
        numbers = reading.patches.size * (blocks.features + marks)
        numbers *= int(reading.patches.counts(blocks.lengths[:1])[0])
        fits = len(blocks) * numbers * reading.dtype.itemsize <= workers.memory()
        dask = need("dask", "dask", "a Dask array")
        with workers.without_word_of_size():
            if fits:
                parts = list(dask.persist(*parts))
            there = [dask.delayed(len, pure=False)(part) for part in parts if part is not None]
            dask.compute(*there)  # what is wrong with some series is said before training begins
        return cls(parts, blocks.bounds, fits)

    def groups(self, order: np.ndarray) -> Iterator[np.ndarray]:
        """Cut blocks in some order into groups of which a batch is taken."""
        for first in range(0, len(order), LEAVES):
            yield order[first : first + LEAVES]

    @contextmanager
    def held(self, group: np.ndarray) -> Iterator[list[Any]]:
        """The blocks of a group, while they are kept."""
        parts = [self.parts[block] for block in group]
        if not self.kept:
            with workers.without_word_of_size():
                parts = list(need("dask", "dask", "a Dask array").persist(*parts))
        yield parts


@dataclass(frozen=True, eq=False)
class Remote:
    """Examples that lie in blocks, as `Examples` that are in memory.

    Attributes
    ----------
    prepared : Prepared
    target : ndarray, shape (N, ...) or, for each step, (N·T, ...)
        Of all series of the blocks, as `weights`: they stay with the caller.
    weights : ndarray or None
    places : ndarray of int64
        Series of the blocks that are meant.
    steps : bool
        Whether targets are those of steps.
    """

    prepared: Prepared
    target: np.ndarray
    weights: np.ndarray | None
    places: np.ndarray
    steps: bool

    def __len__(self) -> int:
        return len(self.places)

    def some(self, which: np.ndarray) -> Remote:
        """Return some of the series."""
        return replace(self, places=self.places[which])

    @property
    def targets(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Targets and weights of these series alone, in their order."""
        rows = self.places
        if self.steps:
            T = len(self.target) // int(self.prepared.bounds[-1])
            rows = (rows[:, None] * T + np.arange(T)).ravel()
        return self.target[rows], None if self.weights is None else self.weights[rows]

    def _inside(self, block: int) -> np.ndarray:
        """Series of a block that are meant, by their places in it."""
        first, end = self.prepared.bounds[block : block + 2]
        return self.places[(self.places >= first) & (self.places < end)] - first

    def epoch(
        self, network: Network, size: int, rng: np.random.Generator | None, truncation: int | None
    ) -> Iterator[Gradient]:
        """Go once over all series in batches of a size, shuffled with random numbers."""
        leaf, count = Leaf.of(network, truncation), len(self.prepared.parts)
        drops = network.rnn.dropout > 0 and network.rnn.num_layers > 1
        order = np.arange(count) if rng is None else rng.permutation(count)
        for group in self.prepared.groups(order):
            own = [self._inside(block) for block in group]
            if rng is not None:
                own = [rng.permutation(series) for series in own]
            with self.prepared.held(group) as parts:
                for some in _batches(own, size):
                    seed = int(network.rnn._rng.integers(2**63)) if drops else None
                    yield from self._sum(leaf, network.weights, parts, some, seed)
                del parts  # or else they would be there with those of the next group

    def whole(self, network: Network) -> Gradient:
        """Return the gradient of all series."""
        leaf, loss, counts = Leaf.of(network), 0.0, np.zeros(2)
        sums = np.zeros_like(network.weights)
        for group in self.prepared.groups(np.arange(len(self.prepared.parts))):
            own = [self._inside(block) for block in group]
            with self.prepared.held(group) as parts:
                for value, n, grads, mass in self._sum(leaf, network.weights, parts, own, None):
                    loss += n * value
                    sums += n * grads
                    counts += n, mass
                del parts
        n, mass = counts.tolist()
        return loss / n, n, sums / n, mass

    def _sum(
        self,
        leaf: Leaf,
        weights: np.ndarray,
        parts: list[Any],
        some: list[np.ndarray],
        seed: int | None,
    ) -> Iterator[Gradient]:
        """The gradient of some series of some blocks, where they weigh anything."""
        leaves = [
            (part, series, None if seed is None else [seed, k])
            for k, (part, series) in enumerate(zip(parts, some, strict=True))
            if len(series)
        ]
        if not leaves:
            return
        value, (grads, counts) = gradients(leaf, weights.copy(), leaves)
        n, mass = counts.tolist()
        if n > 0:
            yield value / n, n, (grads / n).astype(weights.dtype), mass

    def predict(self, network: Network) -> np.ndarray:
        """Return what the network reads of each series (N, K), or of each step (R, K)."""
        dask = need("dask", "dask", "a Dask array")
        leaf = dask.delayed((Leaf.of(network), network.weights.copy()), traverse=False, pure=False)
        task, found = dask.delayed(_predict, pure=False), {}
        for group in self.prepared.groups(np.arange(len(self.prepared.parts))):
            own = {block: inside for block in group if len(inside := self._inside(block))}
            with self.prepared.held(np.array(list(own), int)) as parts:
                said = [task(leaf, *pair) for pair in zip(parts, own.values(), strict=True)]
                found.update(zip(own, dask.compute(*said), strict=True))
                del parts, said
        block = np.searchsorted(self.prepared.bounds, self.places, "right") - 1
        shape = next(iter(found.values())).shape[1:]
        out = np.empty((len(self), *shape), network.weights.dtype)
        for k, readout in found.items():
            out[block == k] = readout
        return out.reshape(-1, shape[-1])


def examples(
    x: Blocks,
    reading: Reading,
    target: np.ndarray,
    weights: np.ndarray | None,
    steps: bool,
    exponent: int,
) -> Remote:
    """Return series in blocks and their targets as a network meets them, as `Examples` says.

    Raises
    ------
    ValueError
        If the network can't read the series.
    """
    prepared = Prepared.of(x, reading, target, weights, steps, exponent)
    return Remote(prepared, target, weights, np.arange(len(x)), steps)


def _batches(own: list[np.ndarray], size: int) -> Iterator[list[np.ndarray]]:
    """Cut the series of some blocks into batches of a size, the last one of what is left.

    Of each block a batch has as large a share as of the others, or one series more or less.
    """
    counts = [len(series) for series in own]
    share = np.concatenate([(np.arange(n) + 0.5) / max(n, 1) for n in counts])
    batch = np.empty(len(share), np.int64)
    batch[np.argsort(share, kind="stable")] = np.arange(len(share)) // size
    of_blocks = np.split(batch, np.cumsum(counts)[:-1])
    for k in range(-(-len(share) // size)):
        yield [series[mine == k] for series, mine in zip(own, of_blocks, strict=True)]


def send(examples: Examples, batch: int | None) -> Remote:
    """Send examples that are in memory to the workers, in blocks for batches of a size."""
    x, steps = examples.x, examples.steps
    bounds, parts = borders(len(x), x.rows.nbytes, batch), []
    for a, b in pairwise(bounds.tolist()):
        some = x[np.arange(a, b)]
        low, high = int(some.starts.min()), int((some.starts + some.lengths).max())
        own = slice(low, high) if steps else slice(a, b)
        weights = None if examples.weights is None else examples.weights[own]
        series = Sequences(x.rows[low:high], some.starts - low, some.lengths)
        part = replace(examples, x=series, target=examples.target[own], weights=weights)
        parts.append(need("dask", "dask", "a Dask bag").delayed(part, pure=False, traverse=False))
    with workers.without_word_of_size():
        kept = list(need("dask", "dask", "a Dask bag").persist(*parts))
    prepared = Prepared(kept, bounds, True)
    return Remote(prepared, examples.target, examples.weights, np.arange(len(x)), steps)


@dataclass(frozen=True)
class _Read:
    """What makes examples of the series of a block, and of their targets and weights."""

    reading: Reading
    steps: bool
    exponent: int

    def __call__(self, x: Sequences, target: np.ndarray, weights: np.ndarray | None) -> Examples:
        if self.steps:
            target = target.reshape(-1, *target.shape[2:])
            weights = None if weights is None else weights.reshape(-1, *weights.shape[2:])
        return Examples(self.reading.read(x), target, weights, self.steps, self.exponent)


def _predict(leaf: tuple[Leaf, np.ndarray], examples: Examples, which: np.ndarray) -> np.ndarray:
    """Readout of some series, (n, K), or with one for each step (n, T, K)."""
    network = leaf[0].network(leaf[1])
    with share():
        readout = network.predict(examples.x[which])
    return readout.reshape(len(which), -1, readout.shape[1]) if examples.steps else readout
