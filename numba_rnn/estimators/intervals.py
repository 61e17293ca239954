"""How far a forecast may be off: widths and quantiles from the residuals of values held back."""

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
    _warn(n, f"intervals of coverage {coverage:g}; their ends")
    return stretch * deviations * normal


def shifts(residuals: np.ndarray, level: float, otherwise: np.ndarray) -> np.ndarray:
    """Return where a quantile lies beside the forecast, (horizon,), in the unit of the residuals.

    With n residuals at a step ahead, truth minus forecast, that is the ⌈(n + 1)·level⌉-th smallest
    above the median, and as far from the largest below it. What there is where n is too small, and
    the stretching, are as in `widths`, around the median of the residuals.

    Parameters
    ----------
    residuals : ndarray, shape (origins, horizon)
    level : float
    otherwise : ndarray, shape (horizon,)
        Standard deviations where there are no residuals.

    Warns
    -----
    UserWarning
        Where the quantile is that of a normal distribution.
    """
    n, horizon = residuals.shape
    centre = np.median(residuals, axis=0) if n else np.zeros(horizon)
    if level == 0.5:
        return centre
    side, outer = (1, level) if level > 0.5 else (-1, 1 - level)
    normal = ndtri(outer)
    stretch = side * stdtrit(n / horizon + SPARE, outer) / normal
    away = side * (residuals - centre)  # outwards
    if (rank := _rank(n, outer)) <= n:
        return centre + stretch * np.sort(away, axis=0)[rank - 1]
    deviations = np.sqrt(np.mean(away**2, axis=0)) if n else otherwise
    together = np.sort(away / np.where(deviations == 0, 1, deviations), axis=None)
    if n > 1 and (rank := _rank(together.size, outer)) <= together.size:
        return centre + stretch * deviations * together[rank - 1]
    _warn(n, f"the quantile {level:g}, which")
    return centre + stretch * deviations * normal


def _warn(n: int, what: str) -> None:
    """Say that there are too few residuals, from a method that a user called."""
    are = "are those" if what.endswith("ends") else "is that"
    warnings.warn(
        f"{n} residuals were held back for each step, too few for {what} {are} of a normal "
        "distribution",
        UserWarning,
        stacklevel=4,
    )


def _rank(n: int, coverage: float) -> int:
    return max(1, math.ceil(round((n + 1) * coverage, 9)))
