"""What a network is trained on: series with targets and weights, of series or of their steps.

An epoch goes over them batch by batch. The code of the epochs asks for nothing else, so that the
series may also lie elsewhere: see `numba_rnn.dask.fitting`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol, Self

import numpy as np

from .network import Network
from .sequences import Sequences

SERIES_AT_ONCE = 256  # where the gradient of all series is asked for

# Mean loss of a batch, what its targets weigh, gradients of that mean, and what its series weigh.
Gradient = tuple[float, float, np.ndarray, float]


class Data(Protocol):
    """What training asks of examples, wherever they are."""

    def __len__(self) -> int:
        """How many series there are."""

    def some(self, which: np.ndarray) -> Self:
        """Return some of the series."""

    def epoch(
        self, network: Network, size: int, rng: np.random.Generator | None, truncation: int | None
    ) -> Iterator[Gradient]:
        """Go once over all series in batches of a size, shuffled with random numbers.

        The weights of the network may change between one gradient and the next.
        """

    def whole(self, network: Network) -> Gradient:
        """Return the gradient of all series."""

    def predict(self, network: Network) -> np.ndarray:
        """Return what the network reads of each series, or of each step."""

    @property
    def targets(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Targets and weights of these series alone, in their order."""


@dataclass(frozen=True, eq=False)
class Examples:
    """Examples in memory.

    Attributes
    ----------
    x : Sequences
        As the network reads them.
    target : ndarray, shape (N, ...) or, for each row of x, (R, ...)
    weights : ndarray, shape (N, 1) or (R, 1), or None
        (N, K) or (R, K) where some of several targets are missing.
    steps : bool
        Whether targets are those of steps, and so found by the rows of x.
    exponent : int
        Of the power of two in which weights are counted, so that no sum overflows.
    """

    x: Sequences
    target: np.ndarray
    weights: np.ndarray | None
    steps: bool
    exponent: int

    def __len__(self) -> int:
        return len(self.x)

    def some(self, which: np.ndarray) -> Examples:
        """Return some of the series."""
        if self.steps:
            return replace(self, x=self.x[which])
        weights = None if self.weights is None else self.weights[which]
        return replace(self, x=self.x[which], target=self.target[which], weights=weights)

    @property
    def targets(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Targets and weights of these series alone, in their order."""
        rows = self.x.index if self.steps else slice(None)
        return self.target[rows], None if self.weights is None else self.weights[rows]

    def epoch(
        self, network: Network, size: int, rng: np.random.Generator | None, truncation: int | None
    ) -> Iterator[Gradient]:
        """Go once over all series in batches of a size, shuffled with random numbers."""
        for batch in self.x.batches(size, rng):
            yield from self.gradients(network, batch, truncation)

    def gradients(
        self, network: Network, batch: np.ndarray, truncation: int | None = None
    ) -> Iterator[Gradient]:
        """Gradients of some of the series, longest first: one, or one for each chunk of steps."""
        mass = None
        for value, n, grads in network.gradients(
            self.x, self.target, batch, truncation, self.weights, self.exponent
        ):
            if n == 0:  # a chunk of steps of which none matters
                continue
            mass = self.mass(batch) if mass is None else mass
            yield value, n, grads, mass

    def whole(self, network: Network) -> Gradient:
        """Return the gradient of all series."""
        total, count, sums = 0.0, 0.0, np.zeros_like(network.weights)
        for batch in self.x.batches(SERIES_AT_ONCE):
            for value, n, grads, _ in self.gradients(network, batch):
                total += n * value
                count += n
                sums += n * grads
        sums /= count
        return total / count, count, sums, self.mass(np.arange(len(self)))

    def predict(self, network: Network) -> np.ndarray:
        """Return what the network reads of each series (N, K), or of each step (R, K)."""
        return network.predict(self.x)

    def mass(self, batch: np.ndarray) -> float:
        """How many series these are, or what they weigh.

        That is the mean over their targets, of which those that weigh nothing are not there.
        """
        if self.weights is None:
            return len(batch)
        if not self.steps:
            own = self.weights[batch]
            total, known = own.sum(axis=1), np.count_nonzero(own, axis=1)
        else:
            series = self.x[batch]
            own, starts = self.weights[series.index], np.cumsum(series.lengths) - series.lengths
            total = np.add.reduceat(own.sum(axis=1), starts)
            known = np.add.reduceat(np.count_nonzero(own, axis=1), starts)
        return float(np.sum(total / np.maximum(known, 1)))


def exponent(weights: np.ndarray | None) -> int:
    """Power of two by which weights can be divided, so that no sum overflows: that is exact."""
    return 0 if weights is None else int(np.frexp(weights.max())[1])
