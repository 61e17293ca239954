"""What series are scaled by."""

from __future__ import annotations

import numpy as np

from .differencing import difference
from .plan import Plan
from .sequences import ROUNDING, spread, units


def measured(values: np.ndarray, seen: int, lags: list[int]) -> tuple[float, float]:
    """Return mean and scale of the differences of a series of which the first values are seen.

    The unit of a series that changes only after them has to come from there; the network, which
    sees a constant, learns nothing from it.
    """
    if len(values) <= sum(lags):  # too short to be differenced: only its unit is known
        return 0.0, float(spread(values[:, None])[1][0])
    rounding = ROUNDING * 2 ** min(len(lags), 50) * np.abs(values).max()
    mean, scale = spread(difference(values[:seen], lags)[:, None], rounding)
    if scale[0] == 0:
        scale = spread(difference(values, lags)[:, None], rounding)[1]
    return float(mean[0]), float(scale[0])


def level(values: np.ndarray) -> tuple[float, float]:
    """Return mean and scale of a series, as the linear path has them."""
    return measured(values, len(values), [])


def unit(plan: Plan, values: np.ndarray, seen: int) -> tuple[float, float]:
    """Return what the network's differences are scaled by.

    Beside a linear path their mean is not subtracted: it is a drift, which that path has.
    """
    mean, scale = measured(values, seen, plan.lags)
    return (0.0 if plan.linear and plan.lags and scale > 0 else mean), scale


def root_mean_square(values: np.ndarray) -> float:
    """Return that of values, which may be so large that their squares are not numbers."""
    largest = np.abs(values).max(initial=0.0)
    return float(largest * np.sqrt(np.mean((values / units(largest)) ** 2))) if largest else 0.0
