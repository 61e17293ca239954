"""How far a forecast may be off: widths from the residuals of values held back."""

from __future__ import annotations

import math
import warnings

import numpy as np
from scipy.special import ndtri, stdtrit

SPARE = 1.5  # degrees of freedom beside the horizons that residuals fill


def widths(residuals: np.ndarray, coverage: float, otherwise: np.ndarray) -> np.ndarray:
    """Return how far an interval reaches to each side, (horizon,), in the unit of the residuals.

    With n residuals at a step ahead that is the ⌈(n + 1)·coverage⌉-th smallest. Where that is
    beyond n, residuals of all steps are taken together, each in units of their root mean square at
    its step; where those are too few as well, or there are none, a normal distribution's quantile.
    Residuals of forecasts from neighbouring steps are alike, so that all are stretched as Student's
    distribution is beside the normal one, with as many degrees of freedom as horizons are filled.

    Parameters
    ----------
    residuals : ndarray, shape (origins, horizon)
    coverage : float
    otherwise : ndarray, shape (horizon,)
        Standard deviations where there are no residuals.

    Warns
    -----
    UserWarning
        Where the quantile is that of a normal distribution.
    """
    n, horizon = residuals.shape
    normal = ndtri((1 + coverage) / 2)
    stretch = stdtrit(n / horizon + SPARE, (1 + coverage) / 2) / normal
    if (rank := _rank(n, coverage)) <= n:
        return stretch * np.sort(np.abs(residuals), axis=0)[rank - 1]
    deviations = np.sqrt(np.mean(residuals**2, axis=0)) if n else otherwise
    together = np.sort(np.abs(residuals / np.where(deviations == 0, 1, deviations)), axis=None)
    if n > 1 and (rank := _rank(together.size, coverage)) <= together.size:
        return stretch * deviations * together[rank - 1]
    warnings.warn(
        f"{n} residuals were held back for each step, too few for intervals of coverage "
        f"{coverage:g}; their ends are those of a normal distribution",
        UserWarning,
        stacklevel=3,
    )
    return stretch * deviations * normal


def _rank(n: int, coverage: float) -> int:
    return max(1, math.ceil(round((n + 1) * coverage, 9)))
