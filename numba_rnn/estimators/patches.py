"""Patches: a few consecutive steps of a series that the network reads as one.

    series (T, F)  ->  patches (P, size·F)      patch j: steps j·stride to j·stride + size - 1

An Elman network remembers some dozens of steps, and patches make some dozens of the hundreds that
a series may have. Neighbours overlap. Where the last patch reaches beyond the end of a series, the
last step stands for what is missing, so that every series, however short, has a patch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from .sequences import Sequences

COUNT = 24  # patches of the longest series
OVERLAP = 3  # patches that a step is part of
SMALLEST = 4  # steps of a patch


@dataclass(frozen=True)
class Patches:
    """How series are cut.

    Attributes
    ----------
    size, stride : int
        Steps of a patch, and from the beginning of one to that of the next.
    """

    size: int = 1
    stride: int = 1

    @classmethod
    def of(cls, setting: int | Literal["auto"] | None, lengths: np.ndarray) -> Patches:
        """Patches as the parameter `patch` asks for them, for series of these lengths."""
        if setting is None:
            return cls()
        if setting == "auto":
            stride = max(1, round(int(lengths.max()) / COUNT))
            return cls(max(SMALLEST, OVERLAP * stride), stride)
        return cls(setting, max(1, setting // OVERLAP))

    def counts(self, lengths: np.ndarray) -> np.ndarray:
        """How many patches series of these lengths have."""
        return 1 + -(-np.maximum(lengths - self.size, 0) // self.stride)

    def cut(self, x: Sequences) -> Sequences:
        """Patches of all series, (R, size·F); the rows of x, each once, where a patch is a step."""
        if self.size == 1:
            return x
        counts = self.counts(x.lengths)
        ends = np.cumsum(counts)
        number = np.arange(ends[-1]) - np.repeat(ends - counts, counts)  # of a patch in its series
        step = self.stride * number[:, None] + np.arange(self.size)
        step = np.minimum(step, np.repeat(x.lengths - 1, counts)[:, None])
        rows = x.rows[np.repeat(x.starts, counts)[:, None] + step]
        return Sequences.of(rows.reshape(len(rows), -1), counts)
