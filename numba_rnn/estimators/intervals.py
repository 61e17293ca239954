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
    return _outwards(
        np.abs(residuals), residuals, coverage, (1 + coverage) / 2, otherwise,
        f"intervals of coverage {coverage:g}; their ends are those",
    )  # fmt: skip


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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of steps without residuals
        centre = np.nanmedian(residuals, axis=0) if len(residuals) else np.full(len(otherwise), 0.0)
    centre = np.where(np.isnan(centre), 0, centre)
    if level == 0.5:
        return centre
    side, outer = (1, level) if level > 0.5 else (-1, 1 - level)
    away = side * (residuals - centre)
    words = f"the quantile {level:g}, which is that"
    return centre + side * _outwards(away, away, outer, outer, otherwise, words)


def _outwards(
    away: np.ndarray,
    residuals: np.ndarray,
    share: float,
    level: float,
    otherwise: np.ndarray,
    words: str,
) -> np.ndarray:
    """Return how far a share of residuals reaches, (horizon,), stretched.

    Parameters
    ----------
    away : ndarray, shape (origins, horizon)
        Outwards; NaN where a value is missing.
    residuals : ndarray, shape (origins, horizon)
        Whose root mean square is the unit of a step.
    share : float
    level : float
        Of the normal distribution and Student's.
    otherwise : ndarray, shape (horizon,)
    words : str
        What there are too few residuals for.
    """
    horizon = len(otherwise)
    n = np.count_nonzero(~np.isnan(residuals), axis=0)
    normal = ndtri(level)
    stretch = stdtrit(n / horizon + SPARE, level) / normal
    rank = np.array([_rank(count, share) for count in n.tolist()])
    enough = rank <= n
    found = np.zeros(horizon)
    if enough.any():
        ranked = np.sort(away, axis=0)  # NaN comes last
        found = stretch * np.where(
            enough, ranked[np.minimum(rank, len(away)) - 1, np.arange(horizon)], 0.0
        )
    if not enough.all():
        squares = np.where(np.isnan(residuals), 0.0, residuals) ** 2
        deviations = np.sqrt(squares.sum(axis=0) / np.maximum(n, 1)) if len(away) else otherwise
        deviations = np.where(n > 0, deviations, otherwise)
        together = np.sort(away / np.where(deviations == 0, 1, deviations), axis=None)
        total, most = int(n.sum()), int(n.max(initial=0))
        factor = normal
        if most > 1 and (rank_of_all := _rank(total, share)) <= total:
            factor = together[rank_of_all - 1]
        else:
            warnings.warn(
                f"{most} residuals were held back for each step, too few for {words} of a normal "
                "distribution",
                UserWarning,
                stacklevel=4,
            )
        found = np.where(enough, found, stretch * deviations * factor)
    return found


def _rank(n: int, coverage: float) -> int:
    return max(1, math.ceil(round((n + 1) * coverage, 9)))
