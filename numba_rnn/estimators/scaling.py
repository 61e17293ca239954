"""What series are scaled by."""

from __future__ import annotations

import numpy as np

from .differencing import difference
from .plan import Plan
from .sequences import ROUNDING, spread, units


def measured(truth: np.ndarray, seen: int, lags: list[int]) -> tuple[float, float]:
    """Return mean and scale of the differences of a series of which the first values are seen.

    The unit of a series that changes only after them has to come from there; the network, which
    sees a constant, learns nothing from it. NaN is a missing value, and so is what it differs from.
    Both are 0 where all values are missing.
    """
    values = truth[~np.isnan(truth)]
    if not len(values):
        return 0.0, 0.0
    found = [_known(difference(part, lags)) for part in (truth[:seen], truth)]
    if not len(found[1]):  # too short to be differenced: only its unit is known
        return 0.0, float(spread(values[:, None])[1][0])
    rounding = ROUNDING * 2 ** min(len(lags), 50) * np.abs(values).max()
    early = found[0] if len(found[0]) else found[1]
    mean, scale = spread(early, rounding)
    if scale[0] == 0:
        scale = spread(found[1], rounding)[1]
    return float(mean[0]), float(scale[0])


def _known(values: np.ndarray) -> np.ndarray:
    """Return the values that are not missing, a column."""
    return values[~np.isnan(values), None]


def level(truth: np.ndarray) -> tuple[float, float]:
    """Return mean and scale of a series, as the linear path has them."""
    return measured(truth, len(truth), [])


def unit(plan: Plan, truth: np.ndarray, seen: int) -> tuple[float, float]:
    """Return what the network's differences are scaled by.

    Beside a linear path their mean is not subtracted: it is a drift, which that path has.
    """
    mean, scale = measured(truth, seen, plan.lags)
    return (0.0 if plan.linear and plan.lags and scale > 0 else mean), scale


def root_mean_square(values: np.ndarray) -> float:
    """Return that of values, which may be so large that their squares are not numbers."""
    largest = np.abs(values).max(initial=0.0)
    return float(largest * np.sqrt(np.mean((values / units(largest)) ** 2))) if largest else 0.0
