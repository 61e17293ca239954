"""The three ways to forecast: a linear path, a network, and the last season again.

Each forecasts what follows the ends of M series, of which K at a time may be columns that the
network reads and forecasts together. Symbols: w = window, k steps that the network forecasts at
once, F columns of X, P of what is known up to now alone, S of what is known of a series as a
whole, C coefficients of a regression.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Protocol

import numpy as np

from . import ridge
from .differencing import difference, undo
from .examples import Data
from .members import Trainings
from .plan import Parts, Plan
from .sequences import Sequences, units
from .supervised import RNNRegressor, middle
from .windows import cut, rows


@dataclass(frozen=True, eq=False)
class Past:
    """Ends of series, and what they are scaled and continued by.

    Attributes
    ----------
    values : ndarray, shape (M, tail)
    x : ndarray, shape (M, tail, F)
        Scaled, as what follows.
    read : ndarray, shape (M, tail, P)
    static : ndarray, shape (M, S)
    y_mean, y_scale, level_mean, level_scale : ndarray, shape (M,)
    coefficients : ndarray, shape (views, M, C)
    """

    values: np.ndarray
    x: np.ndarray
    read: np.ndarray
    static: np.ndarray
    y_mean: np.ndarray
    y_scale: np.ndarray
    level_mean: np.ndarray
    level_scale: np.ndarray
    coefficients: np.ndarray

    def of(self, which: np.ndarray) -> Past:
        """Return some of them, in any order."""
        found = [getattr(self, field.name)[which] for field in fields(self)[:-1]]
        return Past(*found, self.coefficients[:, which])

    def at(self, values: np.ndarray, read: np.ndarray) -> Past:
        """Return them as they would be after other values."""
        return replace(self, values=values, read=read)


@dataclass(frozen=True, eq=False)
class Scaled:
    """A series to fit to, and what is known beside it, scaled.

    Attributes
    ----------
    values, truth : ndarray, shape (n,)
        As they are, without gaps and with NaN in them.
    x, read : ndarray, shape (n, F) and (n, P)
    static : ndarray, shape (S,)
    """

    values: np.ndarray
    truth: np.ndarray
    x: np.ndarray
    read: np.ndarray
    static: np.ndarray

    def until(self, end: int) -> Scaled:
        """Return the first values."""
        rows = (self.values, self.truth, self.x, self.read)
        return Scaled(*(array[:end] for array in rows), self.static)


class Path(Protocol):
    """A way to forecast."""

    def forecast(self, past: Past, x: np.ndarray) -> np.ndarray:
        """Forecast what follows.

        Parameters
        ----------
        past : Past
        x : ndarray, shape (M, tail + steps, F)
            Scaled.

        Returns
        -------
        ndarray of float64, shape (M, steps)

        Raises
        ------
        FloatingPointError
            If the forecast, which feeds on itself, becomes infinite.
        """


@dataclass(frozen=True)
class LastSeason:
    """The last season again, or the last value where there is none."""

    plan: Plan

    def forecast(self, past: Past, x: np.ndarray) -> np.ndarray:
        """Forecast what follows, as a `Path`."""
        season, steps = self.plan.season, x.shape[1] - self.plan.tail
        return past.values[:, -season:][:, np.arange(steps) % season]


@dataclass(frozen=True)
class LinearPath:
    """Ridge regressions on the last values, step after step."""

    plan: Plan

    def fit(self, many: Sequence[Scaled], mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """Return coefficients (views, 1 + M, C); 0 views without a path.

        Parameters
        ----------
        many : sequence of Scaled
        mean, scale : ndarray, shape (M,)
            Of the series as they are.
        """
        plan = self.plan
        xs = [_beside(one.x, one.static) for one in many]
        if not plan.linear:
            return np.zeros((0, 1 + len(many), plan.window + 2 * xs[0].shape[1] + 1))
        unit = units(scale)
        zs, truths = (
            [(getattr(one, name) - mean[i]) / unit[i] for i, one in enumerate(many)]
            for name in ("values", "truth")
        )
        return ridge.fit(zs, truths, xs, plan.window, plan.season)

    def forecast(self, past: Past, x: np.ndarray) -> np.ndarray:
        """Forecast what follows, as a `Path`."""
        plan, mean, scale = self.plan, past.level_mean[:, None], past.level_scale[:, None]
        z = (past.values - mean) / units(scale)
        x = _beside(x, past.static)
        with np.errstate(all="ignore"):
            found = ridge.forecast(past.coefficients, z, x, plan.window, plan.season)
            found = found * scale + mean
        if not np.isfinite(found).all():
            raise FloatingPointError(
                "the linear path's forecast leaves the numbers of float64, as it feeds on itself; "
                "ask for fewer steps"
            )
        return found


def _beside(x: np.ndarray, static: np.ndarray) -> np.ndarray:
    """Join x (..., n, F) and static (..., S), the same in each row, to (..., n, F + S)."""
    if static.shape[-1] == 0:
        return x
    shape = (*x.shape[:-1], static.shape[-1])
    return np.concatenate([x, np.broadcast_to(static[..., None, :], shape)], axis=-1)


@dataclass(frozen=True)
class NetworkPath:
    """A regressor on windows of scaled differences, of which `targets` series share each.

    The first `marks` columns of what is known up to now alone say where a value of these is
    missing: of what is forecast none is.
    """

    plan: Plan
    regressor: RNNRegressor
    targets: int = 1
    marks: int = 0

    def begin(
        self,
        many: Sequence[Scaled],
        mean: np.ndarray,
        scale: np.ndarray,
        parts: Sequence[Parts],
        sent: bool,
    ) -> tuple[Trainings, Data]:
        """Make the regressor ready for the windows of series.

        It stops early by those that are for that, where there are two at least, which R² needs.
        Windows after which all is missing are left out.

        Parameters
        ----------
        many : sequence of Scaled
        mean, scale : ndarray, shape (M,)
            Of the differences.
        parts : sequence of Parts
        sent : bool
            Whether Dask's workers train it.

        Raises
        ------
        ValueError
            If nothing is left to train on.
        """
        plan, K = self.plan, self.targets
        zs, truths, reads, xs = [], [], [], []
        trained, validated, first = [], [], 0
        for i in range(0, len(parts), K):
            part, own = parts[i], slice(i, i + K)
            if part.windows == 0:
                continue
            end = part.windows + plan.shortest + plan.at_once - 1
            for name, found in (("values", zs), ("truth", truths)):
                both = np.stack([getattr(one, name)[:end] for one in many[own]])
                z = difference(both, plan.lags) - mean[own, None]
                found.append((z / units(scale[own, None])).T)
            beside = slice(sum(plan.lags), end)
            reads.append(_beside(many[i].read[beside], many[i].static))
            xs.append(many[i].x[beside])
            trained.append(first + np.arange(part.trained))
            validated.append(first + np.arange(part.validated_from, part.windows))
            first += part.windows
        windows, targets = cut(zs, truths, reads, xs, plan.window, plan.at_once)
        there = ~np.isnan(targets)
        train, later = (
            places[there[places].any(axis=1)]
            for places in (np.concatenate(trained), np.concatenate(validated))
        )
        if not there[train].any(axis=0).all():
            raise ValueError(
                f"y must have values that are not missing after windows of {plan.window} to train "
                "on, got none of some step ahead"
            )
        stops = bool(there[later].sum(axis=0).max(initial=0) >= 2)
        self.regressor.set_params(early_stopping=stops)
        held = (windows[later], targets[later]) if stops else None
        return self.regressor._begin(
            windows[train], targets[train], validation_data=held, sent=sent
        )

    def forecast(self, past: Past, x: np.ndarray) -> np.ndarray:
        """Forecast what follows, as a `Path`; steps must be a multiple of those at once."""
        return self._run(past, x)[0]

    def deviations(self, past: Past, x: np.ndarray) -> np.ndarray:
        """Return how far quantiles lie from the forecast, (M, steps, Q), where there are Q.

        Parameters
        ----------
        past, x
            As for `forecast`.
        """
        return self._run(past, x)[1]

    def _run(self, past: Past, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return forecast and deviations; what feeds on itself is the forecast."""
        plan, dtype, K = self.plan, self.regressor.rnn_.dtype, self.targets
        k, w, lags = plan.at_once, plan.window, plan.lags
        values, mean, scale = past.values[:, -plan.shortest :], past.y_mean, past.y_scale
        x = x[::K, plan.tail - w :]
        steps = x.shape[1] - w
        # what is known up to now alone stays as it was last
        read = _beside(past.read, past.static)[::K, plan.tail - w :]
        ahead = np.repeat(read[:, -1:], steps, axis=1)
        ahead[:, :, : self.marks] = 0
        read = np.concatenate([read, ahead], axis=1)
        largest = np.finfo(dtype).max
        z = (difference(values, lags) - mean[:, None]) / units(scale[:, None])
        z = z.reshape(len(x), K, w).swapaxes(1, 2)
        levels, apart = self.regressor.quantiles_, []
        for done in range(0, steps, k):
            now = slice(done, done + w)
            table = rows(z[:, now], read[:, now], x[:, done : done + w + k], k)
            windows = Sequences.of(table.reshape(len(z) * w, -1), np.full(len(z), w))
            if levels is None:
                ahead = self.regressor.predict(windows)
            else:  # (M / K, k·K, Q)
                quantiles = self.regressor.predict_quantiles(windows)
                ahead = quantiles[:, :, middle(levels)]
                apart.append((quantiles - ahead[:, :, None]).reshape(len(z), k, K, -1))
            if not np.all(np.abs(ahead) <= largest):
                raise FloatingPointError(
                    f"the forecast leaves the numbers of {dtype} within {done + k} "
                    'steps, as it feeds on itself; try nonlinearity="tanh", or a larger alpha'
                )
            z = np.concatenate([z, ahead.reshape(len(z), k, K)], axis=1)
        z = z[:, w:].swapaxes(1, 2).reshape(len(values), -1)
        found = undo(z * scale[:, None] + mean[:, None], values, lags)
        if not apart:
            return found, np.empty((*found.shape, 0))
        spread = np.concatenate(apart, axis=1).swapaxes(1, 2).reshape(*found.shape, -1)
        return found, spread * scale[:, None, None]
