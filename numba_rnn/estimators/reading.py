"""How a network reads series: their gaps filled, scaled, and cut into patches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import checks
from .missing import Filling
from .patches import Patches
from .sequences import Sequences


@dataclass(frozen=True, eq=False)
class Reading:
    """What was measured in fit, and is done to all series from then on.

    Attributes
    ----------
    dtype : dtype
        Of the network.
    filling : Filling or None
    mean, scale : ndarray of float64, shape (F,)
    patches : Patches
    """

    dtype: np.dtype
    filling: Filling | None
    mean: np.ndarray
    scale: np.ndarray
    patches: Patches

    def read(self, x: Sequences) -> Sequences:
        """Return series as the network reads them; with NaN for gaps where they are filled."""
        rows, marks = x.rows, None
        if self.filling is not None:
            rows, marks = self.filling.fill(x)
        rows = checks.in_dtype("X", (rows - self.mean) / self.scale, self.dtype)
        if marks is not None and marks.shape[1]:
            rows = np.concatenate((rows, marks.astype(self.dtype)), axis=1)
        return self.patches.cut(Sequences(rows, x.starts, x.lengths))
