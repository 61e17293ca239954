"""What a forecaster does: it fits, measures on what was held back, and forecasts.

Symbols: M series, each of which may be one of several columns that are read and forecast together,
T values of each that a forecast reads, F columns of X, P of X_past, S static ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.optimize import nnls
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted

from .. import validation
from . import component, scaling, series
from .base import all_or_nothing
from .differencing import difference
from .gaps import Gaps, fill
from .paths import LastSeason, LinearPath, NetworkPath, Past, Scaled
from .plan import Parts, Plan, divide, resolve
from .sequences import spread, units
from .series import Form, Panel, Series
from .windows import rolling

ORIGINS_AT_ONCE = 512  # from which values held back are forecast together


@dataclass(frozen=True, eq=False)
class Forecast:
    """What follows some series, and how it is given back.

    Attributes
    ----------
    values : ndarray, shape (M, steps)
    past : Past
    x : ndarray, shape (M, whole blocks, F)
        Of the steps, scaled.
    forms : list of Form
    listed : bool
    """

    values: np.ndarray
    past: Past
    x: np.ndarray
    forms: list[Form]
    listed: bool


class BaseForecaster(BaseEstimator):
    """All of `RNNForecaster` that its users don't call."""

    # --- fit ------------------------------------------------------------------------------------

    def _fit(self, given: Panel, names: dict[str, list[str] | None], *, sent: bool = False) -> Self:
        """Fit to some series, with Dask's workers where that is asked for."""
        params = self.get_params(deep=False)
        regressor = component.given(self.regressor)
        to_fit = component.to_fit(regressor, params)
        plan, parts = self._planned(given)
        features = given[0].x.shape[1]
        before = dict(vars(self))
        if self.warm_start and self.__sklearn_is_fitted__():
            before["regressor_"] = deepcopy(self.regressor_)  # whose weights are trained in place
        with all_or_nothing(self):
            self._asked = clone(regressor)
            if self.warm_start and self.__sklearn_is_fitted__():
                self._check_going_on(plan, given, names)
                self._plan = plan
                given = self._filled(given, parts)
            else:
                self._plan, self.regressor_, self._gaps = plan, type(regressor)(), None
                if component.gaps(self):
                    self._gaps = Gaps.of(given, [part.known for part in parts])
                given = self._filled(given, parts)
                self._measure_beside(given, parts)
            self._names = names | {"y": given.names}
            # others may be set after the fit
            self._given = params | {"regressor": self.regressor and clone(regressor)}
            self._measure(given, parts)
            self._listed, self._wide, self._targets = given.listed, given.wide, given.targets
            self._forms = given.forms
            self.n_features_in_ = features
            self.__dict__.pop("feature_names_in_", None)
            if names["X"] is not None:
                self.feature_names_in_ = np.array(names["X"], object)
            self._values, self._x, self._read, self._static = self._ends(given)
            many = self._scaled(given)
            self._fit_linear(many)
            self.residuals_ = np.empty((0, plan.horizon))
            quantiles = regressor._levels() or ()
            self._deviations = np.empty((0, plan.horizon, len(quantiles)))
            # Until it is known better; a network that fails counts nothing beside a linear path.
            unknown = 0.0 if self.calibration_fraction > 0 else 0.5
            self.network_share_, self.naive_share_ = unknown if plan.linear else 1.0, 0.0
            self._changes = self._naive_errors(many)
            with all_or_nothing(self.regressor_):
                self.regressor_.set_params(**to_fit)
                training, data = self._network().begin(
                    many, self.y_mean_, self.y_scale_, parts, sent
                )
        try:
            try:
                # Beside a linear path a network that has learned little counts little.
                training.run(data, quiet=plan.linear)
            finally:
                self.regressor_._take_down(training)
            self._look_back(many, parts)
        except (TypeError, ValueError):  # other errors leave what was learnt
            vars(self).clear()
            vars(self).update(before)
            raise
        return self

    def _filled(self, given: Panel, parts: list[Parts] | None = None) -> Panel:
        """Return series whose gaps are filled, where that is asked for."""
        known = None if parts is None else [part.known for part in parts]
        return given if self._gaps is None else self._gaps.filled(given, self._plan.season, known)

    def _planned(self, given: Panel, folds: int = 0) -> tuple[Plan, list[Parts]]:
        """Choose what is read, and what the values of each series are for, before some folds."""
        regressor = component.given(self.regressor)
        names = ("early_stopping", "validation_fraction")
        params = self.get_params(deep=False) | {name: getattr(regressor, name) for name in names}
        seasons = {one.form.season for one in given}
        own = seasons.pop() if len(seasons) == 1 else None
        if self.warm_start and not folds and self.__sklearn_is_fitted__():
            params |= self._kept(params, own)
        features = given[0].x.shape[1]
        held = folds * self.horizon if folds else 0
        lengths = [max(len(one) - held, 0) for one in given]
        plan = resolve(params, lengths, own, features)
        if features and plan.window < plan.at_once:
            raise ValueError(
                f'window must be at least horizon, {plan.horizon}, with strategy="direct" and X, '
                f"so that the network sees all of the future X, got {plan.window}"
            )
        parts, refused = [], []
        for i, n in enumerate(lengths):
            name = given.name(i)
            if folds:
                name += f", before the first of {folds} folds of {plan.horizon} values,"
            try:
                parts.append(divide(plan, name, n, params))
            except ValueError as error:
                refused.append(error)
                parts.append(Parts.none(n))
                if n == 0:
                    raise
        if len(refused) == len(parts):
            raise refused[0]
        each = parts[:: given.targets]
        validated = sum(part.windows - part.validated_from for part in each)
        share = params["validation_fraction"]
        if params["early_stopping"] and share is not None and validated < 2:
            raise ValueError(
                "early_stopping needs two windows held back at least, got "
                f"validation_fraction={share} of "
                f"{sum(part.windows for part in each)} windows"
            )
        return plan, parts

    def _kept(self, params: dict[str, Any], own: int | None) -> dict[str, Any]:
        """Return what a warm start keeps of the last fit: what neither was nor is said.

        A season is kept unless the index of the series has another one.
        """
        by_default = {"window": None, "season": None, "difference_season": None, "strategy": "auto"}
        unsaid = [
            name
            for name, auto in by_default.items()
            if params[name] == auto and self._given[name] == auto
        ]
        plan = self._plan
        if "season" in unsaid and plan.season > 1 and own not in (None, plan.season):
            unsaid = [name for name in unsaid if "season" not in name]
        return {name: getattr(plan, name) for name in unsaid}

    def _check_going_on(self, plan: Plan, given: Panel, names: dict[str, list[str] | None]) -> None:
        """Check that a network, and the scaling that it knows, can be trained further."""
        for what, was, now in (
            ("season and difference", self._plan.lags, plan.lags),
            ("window, and steps forecast at once", _shape(self._plan), _shape(plan)),
            ("the number of columns of y", self._targets, given.targets),
            ("missing", self._given["missing"], self.missing),
        ):
            if was != now:
                raise ValueError(
                    f"warm_start=True must keep {what}, with which it is trained, {was}, got {now}"
                )
        self._check_names_of(given, "warm_start=True: ")
        self._check_beside(given[0], names, "warm_start=True: ")

    def _check_beside(
        self,
        one: Series,
        names: dict[str, list[str] | None],
        why: str = "",
        among: Sequence[str] = ("X", "X_past", "static"),
    ) -> None:
        """Check that a series has beside it what there was in fit."""
        widths = {
            "X": (one.x.shape[1], len(self.x_mean_)),
            "X_past": (one.read.shape[1], len(self.x_past_mean_)),
            "static": (len(one.static), len(self.static_mean_)),
        }
        for name in among:
            now, was = names[name], self._names[name]
            if now is not None and was is not None and now != was:
                raise ValueError(f"{why}{name} must have the columns {was}, as in fit, got {now}")
            found, expected = widths[name]
            if found != expected:
                raise ValueError(
                    f"{why}{name} must have {expected} columns, as in fit, got {found}"
                )

    def _measure_beside(self, given: Panel, parts: list[Parts]) -> None:
        """Measure X and X_past where they are trained on, and what is static."""
        pairs = list(zip(given.each, parts[:: given.targets], strict=True))
        for name, rows in (
            ("x", np.concatenate([one.x[: part.seen] for one, part in pairs])),
            ("x_past", np.concatenate([one.read[: part.seen] for one, part in pairs])),
            ("static", np.stack([one.static for one in given.each])),
        ):
            mean, scale = np.zeros(rows.shape[1]), np.ones(rows.shape[1])
            if self._asked.standardize:
                mean, scale = spread(rows)
            setattr(self, f"{name}_mean_", mean)
            setattr(self, f"{name}_scale_", units(scale))

    def _measure(self, given: Panel, parts: list[Parts]) -> None:
        """Measure differences where they are trained on."""
        found = [(0.0, 1.0)] * len(given)
        if self._asked.standardize:
            found = [
                scaling.unit(self._plan, one.truth, part.seen)
                for one, part in zip(given, parts, strict=True)
            ]
        self.y_mean_, self.y_scale_ = np.array(found).T.copy()

    def _ends(self, given: Panel) -> tuple[np.ndarray, ...]:
        """Return what a forecast reads of series: values (M, tail), and scaled what is beside."""
        plan = self._plan
        many = self._scaled(given.of([one.lengthened(plan.tail, plan.season) for one in given]))
        last = slice(-plan.tail, None)
        return (
            np.stack([one.values[last] for one in many]),
            np.stack([one.x[last] for one in many]),
            np.stack([one.read[last] for one in many]),
            np.stack([one.static for one in many]),
        )

    def _scaled(self, given: Panel) -> list[Scaled]:
        """Return series with what is beside them scaled, which all columns of one share."""
        found = []
        for k, one in enumerate(given):
            if k % given.targets == 0:
                read = (one.read - self.x_past_mean_) / self.x_past_scale_
                beside = (
                    np.concatenate([self._scaled_x(one.x), one.marks_of_x], axis=1),
                    np.concatenate([one.marks_of_y, read, one.marks_of_read], axis=1),
                    (one.static - self.static_mean_) / self.static_scale_,
                )
            found.append(Scaled(one.values, one.truth, *beside))
        return found

    def _scaled_x(self, x: np.ndarray) -> np.ndarray:
        return (x - self.x_mean_) / self.x_scale_

    def _network(self) -> NetworkPath:
        marks = 0 if self._gaps is None else len(self._gaps.y)
        return NetworkPath(self._plan, self.regressor_, self._targets, marks)

    def _fit_linear(self, many: list[Scaled]) -> None:
        """Fit the linear path to all values of some series."""
        levels = np.array([scaling.level(one.truth) for one in many])
        self.level_mean_, self.level_scale_ = levels.T.copy()
        line = LinearPath(self._plan)
        self.coefficients_ = line.fit(many, self.level_mean_, self.level_scale_)

    def _naive_errors(self, many: list[Scaled]) -> float:
        """Return the error of the seasonal naive forecast, in units of y_scale_."""
        lag = [self._plan.season]
        found = [
            difference(one.truth, lag) / units(scale)
            for one, scale in zip(many, self.y_scale_, strict=True)
        ]
        changes = np.concatenate(found)
        return scaling.root_mean_square(changes[~np.isnan(changes)])

    def _look_back(self, many: list[Scaled], parts: list[Parts]) -> None:
        """Forecast what was held back: how much the network counts, and what is left."""
        plan, h, tail = self._plan, self._plan.horizon, self._plan.tail
        earlier = self
        if plan.linear:
            earlier = _shallow(self)
            known = [part.known for part in parts]
            earlier._fit_linear([one.until(end) for one, end in zip(many, known, strict=True)])
        found = []
        for i in range(0, len(many), self._targets):
            columns = np.arange(i, i + self._targets)
            # a constant says nothing of how far others may be from their forecast
            if self.y_scale_.any():
                columns = columns[self.y_scale_[columns] > 0]
            # nothing is forecast of a series before its first value
            begun = [k for k in columns if not np.isnan(many[k].truth[: parts[k].known]).all()]
            columns = np.array(begun, int)
            held = len(many[i].values) - parts[i].known
            if len(columns) and parts[i].known >= tail and held >= h:
                found += earlier._from_each(many, i, parts[i].known, columns)
        if not found:
            return
        truth, apart, ahead, *others = (np.concatenate(each) for each in zip(*found, strict=True))
        self._deviations = apart
        if not plan.linear:
            self.residuals_ = truth - ahead
            return
        line = others[0]
        changes = [ahead - line, others[1] - line]
        there = ~np.isnan(truth)
        if not there.any():
            return
        best, _ = nnls(np.stack([each[there] for each in changes], 1), (truth - line)[there])
        horizons = np.count_nonzero(there) / h**2
        best = best / max(1.0, best.sum()) * horizons / (horizons + 2)
        self.network_share_, self.naive_share_ = best.tolist()
        self.residuals_ = truth - line - best[0] * changes[0] - best[1] * changes[1]

    def _from_each(
        self, many: list[Scaled], i: int, known: int, columns: np.ndarray
    ) -> list[list[np.ndarray]]:
        """Forecast a series, the columns of which begin at i, from each of the values held back.

        Returns
        -------
        list of list of ndarray, shape (origins, horizon)
            For some origins and one of the columns: truth, deviations of the network's quantiles
            (with one axis more), and what each way forecasts, in units of y_scale_.
        """
        plan, h, tail, K = self._plan, self._plan.horizon, self._plan.tail, self._targets
        begin = known - tail
        rows, truths = (  # (origins, K, tail + h)
            sliding_window_view(
                np.stack([getattr(many[k], name)[begin:] for k in range(i, i + K)]), tail + h, 1
            ).swapaxes(0, 1)
            for name in ("values", "truth")
        )
        x, read = rolling(many[i].x[begin:], tail + h), rolling(many[i].read[begin:], tail + h)
        found, own = [], self._own()
        for first in range(0, len(rows), ORIGINS_AT_ONCE):
            some = slice(first, first + ORIGINS_AT_ONCE)
            count = len(rows[some])
            past = own.of(np.tile(np.arange(i, i + K), count))
            past = past.at(
                rows[some, :, :tail].reshape(count * K, tail),
                np.repeat(read[some, :tail], K, axis=0),
            )
            ahead = np.repeat(x[some], K, axis=0)
            ways = self._ways(past, ahead)
            apart = np.empty((*ways[0].shape, 0))
            if self.regressor_.quantiles_ is not None:
                apart = self._network().deviations(past, _whole(ahead, plan))
            for k in columns:
                mine = slice(k - i, None, K)
                scale = units(self.y_scale_[k])
                each = [apart[mine, :h], *(way[mine, :h] for way in ways)]
                truth = truths[some, k - i, tail:]
                found.append([array / scale for array in (truth, *each)])
        return found

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(getattr(self, "regressor_", None), "best_loss_")

    # --- forecasts ------------------------------------------------------------------------------

    def _own(self) -> Past:
        """Return the ends of the series of `fit`."""
        return Past(
            self._values, self._x, self._read, self._static, self.y_mean_, self.y_scale_,
            self.level_mean_, self.level_scale_, self.coefficients_[:, 1:],
        )  # fmt: skip

    def _ways(self, past: Past, x: np.ndarray) -> list[np.ndarray]:
        """Forecast by the network and, beside a linear path, by that and the last season.

        Each is (M, steps at least), with x (M, tail + steps, F) scaled.
        """
        plan = self._plan
        found = [self._network().forecast(past, _whole(x, plan))]
        if plan.linear:
            found += [LinearPath(plan).forecast(past, x), LastSeason(plan).forecast(past, x)]
        return found

    def _ahead(self, past: Past, steps: int, x: np.ndarray) -> np.ndarray:
        """Forecast series, (M, steps), with X of so many whole blocks, scaled."""
        plan, x = self._plan, np.concatenate([past.x, x], axis=1)
        network = self._network()
        if not plan.linear:
            return network.forecast(past, x)[:, :steps]
        near = x[:, : plan.tail + steps]
        line = LinearPath(plan).forecast(past, near)
        found = line
        if self.network_share_ > 0:
            found = found + self.network_share_ * (network.forecast(past, x)[:, :steps] - line)
        if self.naive_share_ > 0:
            found = found + self.naive_share_ * (LastSeason(plan).forecast(past, near) - line)
        return found

    def _rows(self, steps: int) -> int:
        """Rows of X that the network reads for so many steps: whole blocks."""
        k = self._plan.at_once
        return -(-steps // k) * k

    def _future(
        self, steps: int, X: Any, forms: list[Form], listed: bool, known: list[Any]
    ) -> list[np.ndarray]:
        """Check X of what is known, where that is given, and of the future; return it as arrays.

        Parameters
        ----------
        forms : list of Form
            One a series, whatever columns it has.
        known : list
            Lengths and indices of what is known; 0 and None where X begins with the future.
        """
        features, rows = self.n_features_in_, self._rows(steps)
        if features == 0:
            if X is not None:
                raise ValueError("X must be None, as it was in fit, got " + validation.describe(X))
            return [np.empty((n + rows, 0)) for n, _ in known]
        if X is None:
            raise ValueError(f"X must have the {features} columns that it had in fit, got None")
        names, own = series.columns("X", X), self._names["X"]
        if names is not None and own is not None and names != own:
            raise ValueError(f"X must have the columns {own}, as in fit, got {names}")
        if not listed:
            X = [X]
        elif not isinstance(X, (list, tuple)) or len(X) != len(forms):
            raise ValueError(
                f"X must be a list of {len(forms)} tables, as y was a list of {len(forms)} series, "
                f"got {validation.describe(X)}"
            )
        found = []
        for i, (given, form, (n, before)) in enumerate(zip(X, forms, known, strict=True)):
            name = f"X[{i}]" if listed else "X"
            own = series.index_of(given)
            index = form.ahead(name, rows, None if own is None else own[n:])
            if before is not None and index is not None:
                index = before.append(index)
            gaps = self._gaps is not None
            table = series.table(name, given, n + steps, index, most=n + rows, gaps=gaps)
            if table.shape[1] != features:
                raise ValueError(
                    f"{name} must have {features} columns, as in fit, got {table.shape[1]}"
                )
            more = np.repeat(table[-1:], n + rows - len(table), axis=0)
            found.append(np.concatenate([table, more]))
        return found

    def _forecast(self, steps: int | None, X: Any, y: Any, X_past: Any, static: Any) -> Forecast:
        """Forecast the series of `fit`, or other ones."""
        check_is_fitted(self)
        steps = self._plan.horizon if steps is None else validation.positive_int("steps", steps)
        K = self._targets
        if y is None:
            for name, value in (("X_past", X_past), ("static", static)):
                if value is not None:
                    raise ValueError(
                        f"{name} must be None without y, as it is known from fit, got "
                        + validation.describe(value)
                    )
            past, forms, listed = self._own(), self._forms, self._listed
            tables = self._future(steps, X, forms[::K], listed, [(0, None)] * (len(forms) // K))
        else:
            given = series.panel(y, None, X_past, static, gaps=self._gaps is not None)
            self._check_targets(given)
            self._check_beside(
                given[0], names_beside(X, X_past, static), among=("X_past", "static")
            )
            forms, listed = given.forms, given.listed
            known = [
                (len(one), series.index_of(of_one))
                for one, of_one in zip(given.each, y if listed else [y], strict=True)
            ]
            found = self._future(steps, X, forms[::K], listed, known)
            past = self._past_of(given, [x[:n] for x, (n, _) in zip(found, known, strict=True)])
            tables = [x[n:] for x, (n, _) in zip(found, known, strict=True)]
        x = self._scaled_future(past, tables)
        return Forecast(self._ahead(past, steps, x), past, x, forms, listed)

    def _scaled_future(self, past: Past, tables: Sequence[np.ndarray]) -> np.ndarray:
        """Return X of the future (M, steps, F) scaled, with its gaps filled, for all columns."""
        found = []
        for table, before in zip(tables, past.x[:: self._targets], strict=True):
            parts = [self._scaled_x(table)]
            if self._gaps is not None:
                last = before[-1, : self.n_features_in_] * self.x_scale_ + self.x_mean_
                filled, marks = fill(self._gaps.x, table, last)
                parts = [self._scaled_x(filled), marks]
            found.append(np.concatenate(parts, axis=1))
        return np.repeat(np.stack(found), self._targets, axis=0)

    def _check_targets(self, given: Panel) -> None:
        """Check that series have the columns that those of `fit` had."""
        if (given.wide, given.targets) != (self._wide, self._targets):
            shapes = [
                f"(n, {targets})" if wide else "(n,)"
                for wide, targets in (
                    (self._wide, self._targets),
                    (given.wide, given.targets),
                )
            ]
            raise ValueError(
                f"{given.name(0)} must have shape {shapes[0]}, as in fit, got shape {shapes[1]}"
            )
        self._check_names_of(given)

    def _check_names_of(self, given: Panel, why: str = "") -> None:
        """Check that columns have the names that those of `fit` had, where both have some."""
        now, was = given.names, self._names["y"]
        if now is not None and was is not None and now != was:
            raise ValueError(
                f"{why}{given.name(0)} must have the columns {was}, as in fit, got {now}"
            )

    def _within_horizon(self, steps: int | None) -> int:
        """Return the steps of an interval, or of quantiles."""
        check_is_fitted(self)
        horizon = self._plan.horizon
        steps = horizon if steps is None else validation.positive_int("steps", steps)
        if steps > horizon:
            raise ValueError(
                f"steps must be at most horizon, {horizon}, up to which residuals were held back, "
                f"got {steps}"
            )
        return steps

    def _naive_deviations(self) -> np.ndarray:
        """Return how far the seasonal naive forecast is off, (horizon,), in units of y_scale_."""
        seasons = 1 + np.arange(self._plan.horizon) // self._plan.season
        return self._changes * np.sqrt(seasons)

    def _past_of(self, given: Panel, xs: list[np.ndarray]) -> Past:
        """Return the ends of other series, each scaled by itself, with their X."""
        plan, K = self._plan, given.targets
        given = given.of([replace(one, x=xs[k // K]) for k, one in enumerate(given)])
        for k, one in enumerate(given):
            if len(one) == 0:
                raise ValueError(f"{given.name(k)} must have values, got an empty series")
        given = self._filled(given)
        levels = [scaling.level(one.truth) for one in given]
        scales = [(0.0, 1.0)] * len(given)
        if self._asked.standardize:
            for i, one in enumerate(given):
                enough = len(one) >= 2 * sum(plan.lags) or not plan.lags
                mean, scale = scaling.unit(plan, one.truth, len(one)) if enough else (0.0, 0.0)
                if scale == 0:  # too few: differences beside levels as in the series of `fit`
                    alike = np.std(self._values[:, -len(one) :], axis=1)
                    scale = float(np.median(self.y_scale_ / units(alike))) * levels[i][1]
                scales[i] = (mean, scale)
        return Past(
            *self._ends(given),
            *np.array(scales).T,
            *np.array(levels).T,
            np.repeat(self.coefficients_[:, :1], len(given), axis=1),
        )

    def _give(self, found: Forecast, values: np.ndarray, columns: list[Any] | None = None) -> Any:
        """Return values (M, steps) of a forecast, or (M, steps, Q), as the series were given."""
        return series.give(values, found.forms, found.listed, self._wide, self._targets, columns)

    def _last_rows(self) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Return the end of each series, and the last rows of X and X_past, unscaled."""
        read = self._read[:, -1, len(self._gaps.y) :][:, : len(self.x_past_mean_)]
        x = self._x[:, -1, : self.n_features_in_] * self.x_scale_ + self.x_mean_
        read = read * self.x_past_scale_ + self.x_past_mean_
        return list(zip(self._values, x, read, strict=True))


def names_beside(X: Any, X_past: Any, static: Any) -> dict[str, list[str] | None]:
    """Return the names of what is known beside series, where it is in frames."""
    given = {"X": X, "X_past": X_past, "static": static}
    return {name: series.columns(name, value) for name, value in given.items()}


def _shape(plan: Plan) -> tuple[int, int]:
    """Return what the shape of a network rests on."""
    return plan.window, plan.at_once


def _shallow(model: BaseForecaster) -> BaseForecaster:
    """Return a forecaster with the same attributes."""
    other = object.__new__(type(model))
    vars(other).update(vars(model))
    return other


def _whole(x: np.ndarray, plan: Plan) -> np.ndarray:
    """Return x (M, tail + steps, F) with whole blocks of steps, the last row repeated."""
    more = -(x.shape[1] - plan.tail) % plan.at_once
    return np.concatenate([x, np.repeat(x[:, -1:], more, axis=1)], axis=1) if more else x
