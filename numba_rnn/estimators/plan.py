"""What a forecaster reads and forecasts, and what each value of a series is for.

The first values are known, those at the end are held back from the network. Windows to train on lie
in the known ones; those to validate on at their end, or, where no share is said, among the values
held back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from .. import validation

LONGEST = 60  # values of two seasons that a window spans by default; of one where they are more
WITHOUT_SEASON = 24
FEWEST = 8  # windows to train on, for a whole horizon at once


@dataclass(frozen=True)
class Plan:
    """What is read and forecast: parameters, as they were when it was fitted.

    Attributes
    ----------
    window, horizon, season, difference : int
        A season of 1 is none.
    difference_season : bool
    strategy : {"recursive", "direct"}
    linear : bool
    missing : {"error", "forward"}
    """

    window: int
    horizon: int
    season: int
    difference_season: bool
    difference: int
    strategy: str
    linear: bool
    missing: str

    @property
    def lags(self) -> list[int]:
        """Lags of the network's differences, in their order."""
        return ([self.season] if self.difference_season else []) + [1] * self.difference

    @property
    def at_once(self) -> int:
        """Steps that the network forecasts at once."""
        return self.horizon if self.strategy == "direct" else 1

    @property
    def shortest(self) -> int:
        """Values that a forecast of the network needs."""
        return self.window + sum(self.lags)

    @property
    def tail(self) -> int:
        """Values that a forecast needs, or the filling of gaps that come after them."""
        needed, season = self.shortest, self.season if self.season > 1 else 0
        if self.linear:
            needed = max(needed, self.window + season)
        if season and self.missing == "forward":  # the last change from season to season
            needed = max(needed, season + 1)
        return needed


@dataclass(frozen=True)
class Parts:
    """What the values of a series are for, from its beginning to its end.

    Attributes
    ----------
    known : int
        Values that the fit may use; those after them are held back for intervals.
    windows : int
        Of known values, and where early stopping asks those held back, of all.
    trained : int
        The first of the windows, which are trained on.
    validated_from : int
        Windows from this one on are for early stopping. Those between have targets in common
        with the first of these.
    seen : int
        Values in the windows that are trained on; where there are none, all.
    """

    known: int
    windows: int
    trained: int
    validated_from: int
    seen: int

    @classmethod
    def none(cls, n: int) -> Parts:
        """Those of a series that is too short for a window, beside others that are not."""
        return cls(n, 0, 0, 0, n)


def resolve(params: dict[str, Any], lengths: Sequence[int], own: int | None, features: int) -> Plan:
    """Check the parameters of what is read and forecast, and choose those that are not given.

    Parameters
    ----------
    params : dict
        Of the forecaster.
    lengths : sequence of int
        Of the series.
    own : int or None
        Season of their index.
    features : int
        Columns of X.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not as described.
    """
    given = {"horizon": validation.positive_int("horizon", params["horizon"])}
    for name in ("window", "season"):
        value = params[name]
        given[name] = None if value is None else validation.positive_int(name, value)
    strategy = validation.choice("strategy", params["strategy"], ("auto", "recursive", "direct"))
    linear = validation.flag("linear", params["linear"])
    times = params["difference"]
    if isinstance(times, (bool, float)) or times != 0:
        times = validation.positive_int("difference", times)
    seasonal = params["difference_season"]
    if seasonal is not None:
        seasonal = validation.flag("difference_season", seasonal)
    typical, horizon = sorted(lengths)[len(lengths) // 2], given["horizon"]
    season = given["season"]
    if season is None:  # that of the index, where the series show it three times
        season = own if own is not None and 3 * own < typical else 1
    if seasonal is None:
        seasonal = season > 1 and features == 0
    elif seasonal and season == 1:
        raise ValueError(
            "difference_season=True needs a season of at least 2, and none was given or is known "
            "from the index"
        )
    window = given["window"]
    if window is None:
        window = WITHOUT_SEASON if season == 1 else 2 * season
        window = max(season, horizon if features else 1) if window > LONGEST else window
        if features and strategy == "direct":  # which sees all of the future X
            window = max(window, horizon)
        window = max(1, min(window, (typical - season - int(times)) // 2))
    plan = Plan(window, horizon, season, seasonal, int(times), "direct", linear, params["missing"])
    if strategy == "auto":
        fraction = params["calibration_fraction"]
        enough = any(
            known(plan, n, fraction) - plan.shortest - horizon + 1 >= FEWEST for n in lengths
        )
        strategy = "direct" if enough and not (features and window < horizon) else "recursive"
    return replace(plan, strategy=strategy)


def known(plan: Plan, n: int, fraction: Any) -> int:
    """Return how many of n values are not held back.

    Where the share of them is less than two horizons, a share of the forecasts is held back, as far
    as there are any.
    """
    fraction = validation.real("calibration_fraction", fraction, 0, 1, open_high=True)
    held, h = int(fraction * n), plan.horizon
    origins = n - plan.shortest - h + 1
    if 0 < held < 2 * h and origins >= FEWEST:
        held = max(held, h - 1 + int(fraction * origins))
    return n - held


def divide(plan: Plan, name: str, n: int, params: dict[str, Any]) -> Parts:
    """Return what each of n values is for.

    Raises
    ------
    ValueError
        If they are too few.
    """
    k, shortest, fraction = plan.at_once, plan.shortest, params["calibration_fraction"]
    before = known(plan, n, fraction)
    windows = before - shortest - k + 1
    share = params["validation_fraction"]
    if not params["early_stopping"]:
        trained = validated_from = windows
    elif share is None and before < n:
        trained, windows = windows, n - shortest - k + 1
        validated_from = min(before - shortest, windows)
    else:
        validated_from = windows - math.ceil((0.2 if share is None else share) * windows)
        trained = validated_from - (k - 1)
        if share is None and trained < 1:
            trained = validated_from = windows
    if windows < 1 or trained < 1:
        needed = f"{shortest + k} (window {plan.window}"
        needed += "".join(f" + difference {lag}" for lag in plan.lags)
        needed += f" + {k} forecast at once)"
        raise ValueError(
            f"{name} must have at least {needed} values to train on"
            + (", and more for early_stopping" if params["early_stopping"] else "")
            + f", got {before}"
            + (f", which calibration_fraction={fraction} leaves of {n}" if before < n else "")
        )
    return Parts(before, windows, trained, validated_from, shortest + trained + k - 1)
