"""What a backtest gives: forecasts beside the truth, and their errors beside the baselines'."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .differencing import difference
from .gaps import carried
from .series import Series


@dataclass(frozen=True, eq=False)
class Backtest:
    """Forecasts of the past, each from what was known then.

    A list of series gives all arrays one more axis in front, and the scores are means over series,
    or of RMSE the root of the mean.

    Parameters
    ----------
    origins : ndarray of int64, shape (folds,)
        How many values were known.
    truth : ndarray of float64, shape (folds, horizon)
        The values that followed; NaN, where one is missing, is not scored.
    forecasts : dict of str to ndarray, shape (folds, horizon)
        Of the forecaster under the name of its class, and of the baselines: "naive", the last known
        value, and, with a season, "seasonal naive", the last known season.
    scale : ndarray of float64, shape (folds,)
        Mean absolute error of the (seasonal) naive forecast one step (one season) ahead within the
        known values: the unit of MASE.

    Attributes
    ----------
    scores : dict of str to dict
        For each forecast MASE, RMSE and MAE over all folds. MASE is infinite or NaN where the known
        values were constant.

    Examples
    --------
    >>> import numpy as np
    >>> from numba_rnn.estimators import RNNForecaster
    >>> y = np.sin(np.arange(80) * 2 * np.pi / 8)
    >>> model = RNNForecaster(4, season=8, random_state=0)
    >>> result = model.backtest(y + 0.1 * np.arange(80), folds=2)
    >>> print(result)  # doctest: +ELLIPSIS
                        MASE     RMSE      MAE
    RNNForecaster  ...
    naive          ...
    seasonal naive        1      0.8      0.8
    """

    origins: np.ndarray
    truth: np.ndarray
    forecasts: dict[str, np.ndarray]
    scale: np.ndarray
    scores: dict[str, dict[str, float]] = field(init=False)

    def __post_init__(self) -> None:
        scores = {name: self._scores(values) for name, values in self.forecasts.items()}
        object.__setattr__(self, "scores", scores)

    def _scores(self, forecast: np.ndarray) -> dict[str, float]:
        error = np.abs(forecast - self.truth)
        there = ~np.isnan(self.truth)
        count, known = there.sum(axis=-1), error[there]
        scored = count > 0
        with np.errstate(divide="ignore", invalid="ignore"):  # a constant history has no scale
            means = np.where(there, error, 0).sum(axis=-1)[scored] / count[scored]
            mase = np.mean(means / self.scale[scored]) if scored.any() else np.nan
        if not known.size:
            return dict.fromkeys(("MASE", "RMSE", "MAE"), np.nan)
        rmse = np.sqrt(np.mean(known**2))
        return {"MASE": float(mase), "RMSE": float(rmse), "MAE": float(known.mean())}

    def of(self, which: int) -> Backtest:
        """Return that of one series of a list."""
        forecasts = {name: values[which] for name, values in self.forecasts.items()}
        return Backtest(self.origins[which], self.truth[which], forecasts, self.scale[which])

    def __str__(self) -> str:
        width = max(map(len, self.scores))
        lines = [" " * width + "".join(f"{word:>9}" for word in ("MASE", "RMSE", "MAE"))]
        for name, scores in self.scores.items():
            lines.append(f"{name:<{width}}" + "".join(f"{v:>9.4g}" for v in scores.values()))
        return "\n".join(lines)


def _mean(values: np.ndarray) -> float:
    """Mean of the values that are not missing; NaN where all are."""
    values = values[~np.isnan(values)]
    return float(np.mean(values)) if values.size else np.nan


def run(
    name: str,
    forecast: Callable[[list[Series], np.ndarray], np.ndarray],
    many: list[Series],
    folds: int,
    horizon: int,
    season: int | None,
) -> Backtest:
    """Forecast fold by fold.

    Parameters
    ----------
    name : str
        Of the forecasts.
    forecast : callable
        Given the series up to a fold, and what is known beside them in it, (n_series, horizon, F),
        return (n_series, horizon).
    many : list of Series
    folds, horizon : int
    season : int or None
    """
    lengths = np.array([len(one) for one in many])
    origins = lengths[:, None] - horizon * np.arange(folds, 0, -1)  # (n_series, folds)
    found: dict[str, list[np.ndarray]] = {name: [], "naive": []}
    if season is not None:
        found["seasonal naive"] = []
    scale = []
    for ends in origins.T.tolist():
        known = [one.until(end) for one, end in zip(many, ends, strict=True)]
        future = [one.x[end : end + horizon] for one, end in zip(many, ends, strict=True)]
        found[name].append(forecast(known, np.stack(future)))
        for baseline, lag in (("naive", 1), ("seasonal naive", season)):
            if lag is not None:
                values = [
                    np.resize(carried(one.values, season=lag)[-lag:], horizon) for one in known
                ]
                found[baseline].append(np.stack(values))
        changes = [difference(one.values, [season or 1]) for one in known]
        scale.append([_mean(np.abs(change)) for change in changes])
    truth = [one.values[len(one) - folds * horizon :].reshape(folds, horizon) for one in many]
    forecasts = {name: np.stack(values, axis=1) for name, values in found.items()}
    return Backtest(origins, np.stack(truth), forecasts, np.array(scale).T)
