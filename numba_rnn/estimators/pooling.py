"""Outputs of all steps to one vector a series: each way forward, and backward beside it.

Outputs are packed, (R, W), chunk after chunk where there are several: step by step the rows of the
first series, as many as have that step. Steps are added one after the other, so that a series' bits
don't depend on what else is in the batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..layout import Layout


def _steps(layouts: Sequence[Layout]) -> tuple[np.ndarray, np.ndarray]:
    """First row of each step, and how many rows it has."""
    before = np.cumsum([0, *(layout.rows for layout in layouts)])
    first = np.concatenate(
        [layout.step_row + row for layout, row in zip(layouts, before[:-1], strict=True)]
    )
    return first, np.diff(first, append=before[-1])


class Mean:
    """Mean over the steps of each series."""

    def __init__(self, output: np.ndarray, layouts: Sequence[Layout], lengths: np.ndarray) -> None:
        total = np.zeros((len(lengths), output.shape[1]))
        self.first, self.sizes = _steps(layouts)
        for row, n in zip(self.first.tolist(), self.sizes.tolist(), strict=True):
            total[:n] += output[row : row + n]
        self.lengths = lengths[:, None]
        self.value = (total / self.lengths).astype(output.dtype)

    def backward(self, grad: np.ndarray) -> np.ndarray:
        """dL/d(output), (R, W), from dL/d(value), (N, W)."""
        series = np.arange(self.sizes.sum()) - np.repeat(self.first, self.sizes)
        return (grad / self.lengths).astype(grad.dtype)[series]


class Max:
    """Largest value over the steps of each series; the first of them where several are equal."""

    def __init__(self, output: np.ndarray, layouts: Sequence[Layout], lengths: np.ndarray) -> None:
        self.shape = output.shape
        self.value = np.full((len(lengths), output.shape[1]), -np.inf, output.dtype)
        self.row = np.zeros(self.value.shape, np.int64)
        first, sizes = _steps(layouts)
        for row, n in zip(first.tolist(), sizes.tolist(), strict=True):
            here, best = output[row : row + n], self.value[:n]
            larger = here > best
            np.copyto(self.row[:n], np.arange(row, row + n)[:, None], where=larger)
            np.maximum(best, here, out=best)  # NaN goes through

    def backward(self, grad: np.ndarray) -> np.ndarray:
        """dL/d(output), (R, W), from dL/d(value), (N, W)."""
        out = np.zeros(self.shape, grad.dtype)
        out[self.row, np.arange(self.shape[1])] = grad
        return out


POOLS = {"mean": Mean, "max": Max}
