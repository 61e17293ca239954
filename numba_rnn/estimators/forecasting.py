"""RNNForecaster: a series in, its future out, by a linear path and an RNNRegressor on windows.

    y, (n,)  scaled  ridge regressions, step after step                         L, (steps,)
    y, (n,)  differences  z, scaled  windows  (N, w, 1 + 2F)  RNNRegressor      N, (steps,)
    y, (n,)  the last season, or value, again                                  S, (steps,)
    forecast  a weighted mean of L, N and S

Symbols: w = window, k steps that the network forecasts at once (1, or the whole horizon), F columns
of X. What either forecasts is appended to what it has read, and the next steps follow from that.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.optimize import nnls
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted

from .. import validation
from . import checks, component, forecast_files, intervals, scaling, series
from .backtesting import Backtest, run
from .base import all_or_nothing
from .component import window_regressor
from .differencing import difference
from .paths import LastSeason, LinearPath, NetworkPath, Past
from .plan import Parts, Plan, divide, resolve
from .sequences import spread, units
from .series import Form, Series
from .supervised import RNNRegressor
from .windows import rolling

if TYPE_CHECKING:
    import pandas as pd


class RNNForecaster(BaseEstimator):
    """Elman recurrent network beside a linear path, for a series or many series of one kind.

    Forecasts are made in three ways, and their weighted mean is given: by ridge regressions on the
    last `window` values, which are the linear path; by an `RNNRegressor` that reads windows of the
    series, differenced if asked for; and by repeating the last season. How much each counts is
    measured on values that were held back from all. The season is that of a pandas Series' index:
    arrays have none, unless `season` says so.

    What is known of the future beside the series goes into X, a row a step. A list of series trains
    one network for all of them; each is scaled on its own, has a linear path of its own, which is
    pulled towards that of all where they are alike, and forecasts and intervals of its own.

    Parameters
    ----------
    horizon : int
        Steps ahead that `predict` forecasts by default, for which intervals are calibrated, which
        `backtest` forecasts, and which ``strategy="direct"`` forecasts at once.
    window : int, optional
        Values that are read. By default two seasons; one, if two are more than 60 values, and with
        X `horizon` at least; 24 without a season; and at most half of what a series has beside its
        season.
    season : int, optional
        Steps of a season; 1 for none. By default that of the index of a pandas Series: 12 for
        months, 4 for quarters, 52 for weeks, 7 for days, 5 for working days, 24 for hours, and as
        many as a day has for steps down to five minutes, or an hour or minute for shorter ones;
        none where the series is not longer than three of them. Arrays and other indices have none.
    difference_season : bool, optional
        Whether the network works on ``y_t - y_(t-season)``. By default where there is a season and
        no X, which may carry the season itself.
    difference : int, default=0
        How many times the change from step to step is taken for the network, after that of the
        season. 1 is for series with a trend or without a fixed level, which a network alone can't
        extrapolate.
    strategy : {"auto", "recursive", "direct"}, default="auto"
        Of the network: forecast one step and feed it back, again and again; or all of `horizon` at
        once, and feed that back where more steps are asked for. "auto" is direct where there are
        8 windows for it at least, and, with X, the window is as long as the horizon.
    linear : bool, default=True
        Whether there is a linear path. Without one the network forecasts alone.
    calibration_fraction : float, default=0.2
        Share of each series, its end, that is held back at first: the network doesn't learn from
        it, and it says when the network stops, how much it counts and how wide intervals are. The
        linear path is then fitted to all values. Where that is less than two horizons, it is that
        share of the forecasts of a whole horizon. With 0 there are no residuals, and the network
        counts half.
    regressor : RNNRegressor, optional
        The network and its training, `window_regressor()` by default, which has 32 units; that
        function makes one with other parameters. A copy is fitted, and reads scaled windows. An
        RNNRegressor is used as it stands, but that ``patch="auto"`` is none. What it says of early
        stopping is by R² of later windows: with ``validation_fraction=None`` those of the values
        held back, or the last fifth where none are; else that share of the windows before them. No
        window that is trained on has a target in common with them. Where there aren't two of them,
        the training loss says when to stop. ``standardize`` says whether each differenced series,
        and each column of X, is scaled by what was trained on; the linear path always scales.
    warm_start : bool, default=False
        Whether `fit` goes on with the network of the last one, with as many series and columns of
        X, in its scaling. The linear path is fitted anew. This and what follows are the
        forecaster's to say: the regressor must leave them at their defaults.
    random_state : int, RandomState instance or None, default=None
        Of the regressor.
    verbose : int, default=0
        As in `RNNRegressor`.
    checkpoint : path or None, default=None
        As in `RNNRegressor`: of the training of the network.

    Attributes
    ----------
    regressor_ : RNNRegressor
        The fitted network, whose `standardize` is False: it reads scaled windows.
    loss_curve_, validation_scores_, validation_losses_, best_loss_, n_iter_, rnn_, head_
        Its attributes.
    network_share_, naive_share_ : float
        How much the network counts, and the last season repeated; the linear path has the rest.
    coefficients_ : ndarray of float64, shape (views, 1 + n_series, window + 2 n_features_in_ + 1)
        Of the linear path, the constant last: of the values and, with a season, of their changes
        from season to season; of all series together first, then of each.
    n_features_in_ : int
        Columns of X, 0 without it.
    feature_names_in_ : ndarray of str, shape (n_features_in_,)
        Where X was a frame, or a list of frames.
    y_mean_, y_scale_ : ndarray of float64, shape (n_series,)
        Scaling of the differenced series. The scale of one that is constant where it is trained on
        is that of all of it; 0 where all of it is constant, so that the constant is what is
        forecast. Beside a linear path the mean of differences is taken to be 0: it is a drift,
        which that path has.
    level_mean_, level_scale_ : ndarray of float64, shape (n_series,)
        Scaling of the series as they are, for the linear path.
    x_mean_, x_scale_ : ndarray of float64, shape (n_features_in_,)
        Scaling of X.
    residuals_ : ndarray of float64, shape (origins, horizon)
        Truth minus forecast of the values held back, a row for each of the steps before them from
        which they were forecast, divided by y_scale_ of their series. No row where too little was
        held back, and none of constant series beside others.

    Notes
    -----
    **The linear path** is one regression on values and, where there is a season, the mean of that
    and of one on their changes from season to season. They forecast one step and feed it back. Each
    is pulled towards 0, as hard as makes the observed values likeliest (MacKay 1992); of X it sees
    the row of the step and the one before, or none where that is likelier.

    **The shares** of the network and of the last season are the weights that would have made the
    squared error of the values held back smallest, none below 0, where the linear path was fitted
    without them too. They are multiplied by e / (e + 2), where as many forecasts are held back as e
    horizons have steps: of few values they say little.

    **Intervals** are those of split conformal prediction, for each step ahead on its own. Values
    held back are forecast from every step that leaves a whole horizon, and with n absolute
    residuals at a step ahead the interval reaches as far as the ⌈(n + 1)·coverage⌉-th smallest on
    both sides of the forecast. If the residuals of the past and of the future are exchangeable,
    such an interval holds the true value with a probability of at least `coverage`, on average over
    series and futures, and at one step ahead, not at all of them together. In a series neighbouring
    residuals are alike, and they may grow with time, so they are exchangeable at best roughly:
    after a change the intervals are too narrow until it has come into the values held back.
    Forecasts from neighbouring steps have errors in common: where they begin as many as e horizons
    have steps, widths are stretched by the ratio of Student's quantile with e + 1.5 degrees of
    freedom to the normal one. Where n is too small for the coverage, residuals of all steps are
    taken together, each in units of their root mean square at its step; where those are too few
    too, the ends are a normal distribution's, stretched likewise, with a warning.

    **Other losses** are the regressor's, as of ``window_regressor(loss="absolute_error")``. The
    linear path has least squares in any case.

    **Time** only goes forward: windows to train on, their scaling and the residuals' forecasts know
    values from before the ones held back alone. When to stop and the two shares are numbers that
    come from these. A forecast starts from the end of the whole series.

    References
    ----------
    V. Vovk, A. Gammerman and G. Shafer, Algorithmic Learning in a Random World, Springer, 2005.

    J. Lei, M. G'Sell, A. Rinaldo, R. J. Tibshirani and L. Wasserman, "Distribution-free predictive
    inference for regression", Journal of the American Statistical Association 113, 2018.

    S. Ben Taieb, G. Bontempi, A. F. Atiya and A. Sorjamaa, "A review and comparison of strategies
    for multi-step ahead time series forecasting", Expert Systems with Applications 39, 2012.

    Y. Romano, E. Patterson and E. J. Candès, "Conformalized quantile regression", Advances in
    Neural Information Processing Systems 32, 2019.

    D. J. C. MacKay, "Bayesian interpolation", Neural Computation 4, 1992.

    Examples
    --------
    >>> import numpy as np
    >>> from numba_rnn.estimators import RNNForecaster
    >>> month = np.arange(120)
    >>> y = 0.2 * month + np.sin(month * 2 * np.pi / 12)
    >>> model = RNNForecaster(6, season=12, random_state=0).fit(y)
    >>> model.predict().shape
    (6,)
    >>> lower, upper = model.predict_interval(coverage=0.8).T
    >>> bool((lower <= model.predict()).all() and (model.predict() <= upper).all())
    True
    """

    loss_curve_ = property(attrgetter("regressor_.loss_curve_"))
    validation_scores_ = property(attrgetter("regressor_.validation_scores_"))
    validation_losses_ = property(attrgetter("regressor_.validation_losses_"))
    best_loss_ = property(attrgetter("regressor_.best_loss_"))
    n_iter_ = property(attrgetter("regressor_.n_iter_"))
    rnn_ = property(attrgetter("regressor_.rnn_"))
    head_ = property(attrgetter("regressor_.head_"))

    def __init__(
        self,
        horizon: int,
        *,
        window: int | None = None,
        season: int | None = None,
        difference_season: bool | None = None,
        difference: int = 0,
        strategy: Literal["auto", "recursive", "direct"] = "auto",
        linear: bool = True,
        calibration_fraction: float = 0.2,
        regressor: RNNRegressor | None = None,
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
        checkpoint: str | os.PathLike[str] | None = None,
    ) -> None:
        self.horizon = horizon
        self.window = window
        self.season = season
        self.difference_season = difference_season
        self.difference = difference
        self.strategy = strategy
        self.linear = linear
        self.calibration_fraction = calibration_fraction
        self.regressor = regressor
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        self.checkpoint = checkpoint

    def set_params(self, **params: Any) -> Self:
        """Set parameters, those of the regressor as ``regressor__name``.

        Where there is no regressor it becomes `window_regressor()` for these.

        Parameters
        ----------
        **params

        Returns
        -------
        self
        """
        if self.regressor is None and "regressor" not in params:
            if any(name.startswith("regressor__") for name in params):
                params = {"regressor": window_regressor()} | params
        return super().set_params(**params)

    # --- fit ------------------------------------------------------------------------------------

    def fit(self, y: Any, X: Any = None) -> Self:
        """Fit the linear path and the network to one series or to many.

        Parameters
        ----------
        y : array_like, shape (n,), pandas or polars Series, or a list of such
            Finite numbers at regular steps.
        X : array_like or frame, shape (n,) or (n, F), or a list of such, optional
            What is known beside y, row by row, and will be known of the future, like the time of
            the year or a price to be set. Where y and X both have an index of pandas, it must be
            the same.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If a parameter is not as described, a value is missing, the series are too short for a
            single window, or an index has no regular steps. The forecaster is then what it was
            before.
        FloatingPointError
            If the loss became infinite or NaN, or the forecast of what is held back. The forecaster
            keeps the best weights that it had.

        Warns
        -----
        ConvergenceWarning
            Without a linear path, if max_iter epochs were over before loss or validation score had
            stalled. Beside one a network that has learned little counts little.
        UserWarning
            If the training was interrupted from the keyboard; the model so far is kept.
        """
        many, listed = series.many(y, X)
        return self._fit(many, listed, series.columns(X))

    def _fit(self, many: list[Series], listed: bool, columns: list[str] | None = None) -> Self:
        params = self.get_params(deep=False)
        regressor = component.given(self.regressor)
        to_fit = component.to_fit(regressor, params)
        plan, parts = self._planned(many, listed)
        features = many[0].x.shape[1]
        with all_or_nothing(self):
            # others may be set after the fit
            self._given = params | {"regressor": self.regressor and clone(regressor)}
            self._asked = clone(regressor)
            if self.warm_start and self.__sklearn_is_fitted__():
                self._check_going_on(plan, len(many), features, columns)
                self._plan = plan
                self._measure_constants(many, parts)
            else:
                self._plan, self.regressor_ = plan, type(regressor)()
                self._measure(many, parts)
            self._listed, self._forms = listed, [one.form for one in many]
            self.n_features_in_ = features
            self.__dict__.pop("feature_names_in_", None)
            if columns is not None:
                self.feature_names_in_ = np.array(columns, object)
            self._values, self._x = self._ends(many)
            values, xs = [one.values for one in many], [self._scaled_x(one.x) for one in many]
            self._fit_linear(values, xs)
            self.residuals_ = np.empty((0, plan.horizon))
            quantiles = regressor._levels() or ()
            self._deviations = np.empty((0, plan.horizon, len(quantiles)))
            # Until it is known better; a network that fails counts nothing beside a linear path.
            unknown = 0.0 if self.calibration_fraction > 0 else 0.5
            self.network_share_, self.naive_share_ = unknown if plan.linear else 1.0, 0.0
            self._changes = self._naive_errors(values)
            with all_or_nothing(self.regressor_):
                self.regressor_.set_params(**to_fit)
                training, inputs, targets = NetworkPath(plan, self.regressor_).begin(
                    values, xs, self.y_mean_, self.y_scale_, parts
                )
        try:
            # Beside a linear path a network that has learned little counts little.
            training.run(inputs, targets, quiet=plan.linear)
        finally:
            self.regressor_._take_down(training)
        self._look_back(values, xs, parts)
        return self

    def _planned(
        self, many: list[Series], listed: bool, folds: int = 0
    ) -> tuple[Plan, list[Parts]]:
        """Choose what is read, and what the values of each series are for, before some folds."""
        regressor = component.given(self.regressor)
        names = ("early_stopping", "validation_fraction")
        params = self.get_params(deep=False) | {name: getattr(regressor, name) for name in names}
        features = many[0].x.shape[1]
        held = folds * self.horizon if folds else 0
        lengths = [max(len(one) - held, 0) for one in many]
        seasons = {one.form.season for one in many}
        own = seasons.pop() if len(seasons) == 1 else None
        plan = resolve(params, lengths, own, features)
        if features and plan.window < plan.at_once:
            raise ValueError(
                f'window must be at least horizon, {plan.horizon}, with strategy="direct" and X, '
                f"so that the network sees all of the future X, got {plan.window}"
            )
        parts, refused = [], []
        for i, n in enumerate(lengths):
            name = f"y[{i}]" if listed else "y"
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
        validated = sum(part.windows - part.validated_from for part in parts)
        share = params["validation_fraction"]
        if params["early_stopping"] and share is not None and validated < 2:
            raise ValueError(
                "early_stopping needs two windows held back at least, got "
                f"validation_fraction={share} of "
                f"{sum(part.windows for part in parts)} windows"
            )
        return plan, parts

    def _check_going_on(
        self, plan: Plan, count: int, features: int, columns: list[str] | None
    ) -> None:
        """Check that a network, and the scaling that it knows, can be trained further."""
        own = getattr(self, "feature_names_in_", None)
        for name, was, now in (
            ("season and difference", self._plan.lags, plan.lags),
            ("window, and steps forecast at once", _read(self._plan), _read(plan)),
            ("the number of series", len(self.y_mean_), count),
            ("the number of columns of X", self.n_features_in_, features),
            ("the columns of X", None if own is None else own.tolist(), columns),
        ):
            if was != now and not (name == "the columns of X" and None in (was, now)):
                raise ValueError(
                    f"warm_start=True must keep {name}, with which it is scaled, {was}, got {now}"
                )

    def _measure(self, many: list[Series], parts: list[Parts]) -> None:
        """Measure differences and X where they are trained on."""
        pairs = list(zip(many, parts, strict=True))
        x = np.concatenate([one.x[: part.seen] for one, part in pairs])
        if self._asked.standardize:
            found = [scaling.unit(self._plan, one.values, part.seen) for one, part in pairs]
            self.y_mean_, self.y_scale_ = np.array(found).T.copy()
            self.x_mean_, scale = spread(x)
            self.x_scale_ = units(scale)
        else:
            self.y_mean_, self.y_scale_ = np.zeros(len(pairs)), np.ones(len(pairs))
            self.x_mean_, self.x_scale_ = np.zeros(x.shape[1]), np.ones(x.shape[1])

    def _measure_constants(self, many: list[Series], parts: list[Parts]) -> None:
        """Scale series that were constant at first by what they are now."""
        self.y_mean_, self.y_scale_ = self.y_mean_.copy(), self.y_scale_.copy()
        for i in np.flatnonzero(self.y_scale_ == 0):
            found = scaling.unit(self._plan, many[i].values, parts[i].seen)
            self.y_mean_[i], self.y_scale_[i] = found

    def _ends(self, many: list[Series]) -> tuple[np.ndarray, np.ndarray]:
        """Return what a forecast reads of series: values (M, tail), and X (M, tail, F) scaled."""
        tail = self._plan.tail
        many = [one.lengthened(tail, self._plan.season) for one in many]
        values = np.stack([one.values[len(one) - tail :] for one in many])
        return values, np.stack([self._scaled_x(one.x[len(one) - tail :]) for one in many])

    def _scaled_x(self, x: np.ndarray) -> np.ndarray:
        return (x - self.x_mean_) / self.x_scale_

    def _fit_linear(self, values: list[np.ndarray], xs: list[np.ndarray]) -> None:
        """Fit the linear path to all values of some series, with scaled X."""
        levels = np.array([scaling.level(one) for one in values])
        self.level_mean_, self.level_scale_ = levels.T.copy()
        self.coefficients_ = LinearPath(self._plan).fit(
            values, xs, self.level_mean_, self.level_scale_
        )

    def _naive_errors(self, values: list[np.ndarray]) -> float:
        """Return the error of the seasonal naive forecast, in units of y_scale_."""
        lag = [self._plan.season]
        found = [
            difference(one, lag) / units(scale)
            for one, scale in zip(values, self.y_scale_, strict=True)
        ]
        return scaling.root_mean_square(np.concatenate(found))

    def _look_back(
        self, values: list[np.ndarray], xs: list[np.ndarray], parts: list[Parts]
    ) -> None:
        """Forecast what was held back: how much the network counts, and what is left."""
        plan, h, tail = self._plan, self._plan.horizon, self._plan.tail
        # a constant says nothing of how far others may be from their forecast
        telling = np.flatnonzero(self.y_scale_ > 0) if self.y_scale_.any() else range(len(values))
        telling = [
            i for i in telling
            if parts[i].known >= tail and len(values[i]) - parts[i].known >= h
        ]  # fmt: skip
        if not telling:
            return
        earlier = self
        if plan.linear:
            earlier = _shallow(self)
            known = [part.known for part in parts]
            earlier._fit_linear(
                [one[:end] for one, end in zip(values, known, strict=True)],
                [x[:end] for x, end in zip(xs, known, strict=True)],
            )
        network = NetworkPath(plan, self.regressor_)
        found: list[list[np.ndarray]] = []
        for i in telling:
            begin = parts[i].known - tail
            rows = sliding_window_view(values[i][begin:], tail + h)
            x = rolling(xs[i][begin:], tail + h)
            scale = units(self.y_scale_[i])
            for first in range(0, len(rows), ORIGINS_AT_ONCE):
                some = slice(first, first + ORIGINS_AT_ONCE)
                past = earlier._own().of(np.full(len(rows[some]), i)).at(rows[some, :tail])
                ways = [way[:, :h] / scale for way in self._ways(past, x[some])]
                apart = np.empty((*ways[0].shape, 0))
                if self.regressor_.quantiles_ is not None:
                    apart = network.deviations(past, _whole(x[some], plan))[:, :h] / scale
                found.append([rows[some, tail:] / scale, apart, *ways])
        truth, apart, ahead, *others = (np.concatenate(each) for each in zip(*found, strict=True))
        self._deviations = apart
        if not plan.linear:
            self.residuals_ = truth - ahead
            return
        line = others[0]
        changes = [ahead - line, others[1] - line]
        best, _ = nnls(np.stack([change.ravel() for change in changes], 1), (truth - line).ravel())
        horizons = len(truth) / h
        best = best / max(1.0, best.sum()) * horizons / (horizons + 2)
        self.network_share_, self.naive_share_ = best.tolist()
        self.residuals_ = truth - line - best[0] * changes[0] - best[1] * changes[1]

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(getattr(self, "regressor_", None), "best_loss_")

    # --- predict --------------------------------------------------------------------------------

    def _own(self) -> Past:
        """Return the ends of the series of `fit`."""
        return Past(
            self._values, self._x, self.y_mean_, self.y_scale_, self.level_mean_,
            self.level_scale_, self.coefficients_[:, 1:],
        )  # fmt: skip

    def _ways(self, past: Past, x: np.ndarray) -> list[np.ndarray]:
        """Forecast by the network and, beside a linear path, by that and the last season.

        Each is (M, steps at least), with x (M, tail + steps, F) scaled.
        """
        plan = self._plan
        found = [NetworkPath(plan, self.regressor_).forecast(past, _whole(x, plan))]
        if plan.linear:
            found += [LinearPath(plan).forecast(past, x), LastSeason(plan).forecast(past, x)]
        return found

    def _ahead(self, past: Past, steps: int, x: np.ndarray) -> np.ndarray:
        """Forecast series, (M, steps), with X of so many whole blocks, unscaled."""
        plan, x = self._plan, np.concatenate([past.x, self._scaled_x(x)], axis=1)
        network = NetworkPath(plan, self.regressor_)
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
        names = series.columns(X)
        own = getattr(self, "feature_names_in_", None)
        if names is not None and own is not None and names != own.tolist():
            raise ValueError(f"X must have the columns {own.tolist()}, as in fit, got {names}")
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
            index = None if form.last is None else form.index(rows)
            if before is not None:
                index = before.append(index)
            table = series.table(name, given, n + steps, index, most=n + rows)
            if table.shape[1] != features:
                raise ValueError(
                    f"{name} must have {features} columns, as in fit, got {table.shape[1]}"
                )
            more = np.repeat(table[-1:], n + rows - len(table), axis=0)
            found.append(np.concatenate([table, more]))
        return found

    def _forecast(self, steps: int | None, X: Any, y: Any) -> _Forecast:
        """Forecast the series of `fit`, or other ones."""
        check_is_fitted(self)
        steps = self._plan.horizon if steps is None else validation.positive_int("steps", steps)
        if y is None:
            past, forms, listed = self._own(), self._forms, self._listed
            x = np.stack(self._future(steps, X, forms, listed, [(0, None)] * len(forms)))
        else:
            many, listed = series.many(y, None)
            forms = [one.form for one in many]
            known = [
                (len(one), series.index_of(given))
                for one, given in zip(many, y if listed else [y], strict=True)
            ]
            tables = self._future(steps, X, forms, listed, known)
            pairs = list(zip(many, tables, strict=True))
            past = self._past_of([Series(one.values, x[: len(one)], one.form) for one, x in pairs])
            x = np.stack([x[len(one) :] for one, x in pairs])
        return _Forecast(self._ahead(past, steps, x), past, x, forms, listed)

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

    def _past_of(self, many: list[Series]) -> Past:
        """Return the ends of other series, each scaled by itself."""
        plan = self._plan
        for i, one in enumerate(many):
            if len(one) == 0:
                name = f"y[{i}]" if len(many) > 1 else "y"
                raise ValueError(f"{name} must have values, got an empty series")
        levels = [scaling.level(one.values) for one in many]
        scales = [(0.0, 1.0)] * len(many)
        if self._asked.standardize:
            for i, one in enumerate(many):
                enough = len(one) >= 2 * sum(plan.lags) or not plan.lags
                mean, scale = scaling.unit(plan, one.values, len(one)) if enough else (0.0, 0.0)
                if scale == 0:  # too few: differences beside levels as in the series of `fit`
                    alike = np.std(self._values[:, -len(one) :], axis=1)
                    scale = float(np.median(self.y_scale_ / units(alike))) * levels[i][1]
                scales[i] = (mean, scale)
        return Past(
            *self._ends(many),
            *np.array(scales).T,
            *np.array(levels).T,
            np.repeat(self.coefficients_[:, :1], len(many), axis=1),
        )

    def predict(
        self, steps: int | None = None, X: Any = None, *, y: Any = None
    ) -> np.ndarray | pd.Series | list[np.ndarray | pd.Series]:
        """Forecast the values that follow the series of `fit`, or other ones.

        Parameters
        ----------
        steps : int, optional
            How many, `horizon` by default; there may be more.
        X : array_like or frame, shape (steps,) or (steps, F), or a list of such, optional
            What is known beside them, if it was in `fit`. With ``strategy="direct"`` the network
            reads X of as many whole horizons as the steps begin: X may have rows up to there, and
            where it ends before, its last row stands for what is missing. With y it begins with the
            rows of y.
        y : array_like, pandas or polars Series, or a list of such, optional
            Other series, or newer values, that the forecast follows instead of those of `fit`.
            Nothing is learnt from them; each is scaled by itself, and the linear path is that of
            all series together. One that is shorter than what is read is continued backwards by its
            first season, or its first value.

        Returns
        -------
        ndarray of float64 or pandas Series, shape (steps,), or list of such
            A pandas Series for a pandas Series, its index continued.

        Raises
        ------
        FloatingPointError
            If the forecast, which feeds on itself, becomes infinite.
        NotFittedError
            If `fit` was not called before.
        TypeError, ValueError
            If steps is no positive number, or X doesn't have the rows and columns described.
        """
        found = self._forecast(steps, X, y)
        return found.give(found.values)

    def predict_interval(
        self, steps: int | None = None, X: Any = None, *, y: Any = None, coverage: float = 0.9
    ) -> np.ndarray | pd.DataFrame | list[np.ndarray | pd.DataFrame]:
        """Forecast intervals: for each step ahead, where its value lies with some probability.

        Parameters
        ----------
        steps : int, optional
            How many, at most `horizon`, which is the default.
        X, y : optional
            As in `predict`.
        coverage : float, default=0.9
            Probability that the interval of a step holds its value, between 0 and 1; see the notes
            of the class for what it rests on.

        Returns
        -------
        ndarray of float64, shape (steps, 2), or pandas DataFrame, or list of such
            Lower and upper ends; a DataFrame, for a pandas Series, has columns of these names.

        Raises
        ------
        FloatingPointError
            If the forecast, which feeds on itself, becomes infinite.
        NotFittedError
            If `fit` was not called before.
        TypeError, ValueError
            If an argument is not as described.

        Warns
        -----
        UserWarning
            If too few residuals were held back for the coverage, also of all steps together. The
            ends are then those of a normal distribution, whose variance is that of the residuals,
            or of the errors of the seasonal naive forecast where there are none.
        """
        steps = self._within_horizon(steps)
        coverage = validation.real("coverage", coverage, 0, 1, open_low=True, open_high=True)
        found = self._forecast(steps, X, y)
        width = intervals.widths(self.residuals_, coverage, self._naive_deviations())
        width = width[:steps] * found.past.y_scale[:, None]
        ends = np.stack([found.values - width, found.values + width], axis=-1)
        return found.give(ends, ["lower", "upper"])

    def predict_quantiles(
        self,
        steps: int | None = None,
        X: Any = None,
        *,
        y: Any = None,
        quantiles: Sequence[float] = (0.1, 0.5, 0.9),
    ) -> np.ndarray | pd.DataFrame | list[np.ndarray | pd.DataFrame]:
        """Forecast quantiles: for each step ahead, below which value it lies with a probability.

        They are the forecast plus quantiles of the residuals of the values held back, at each step
        ahead and for each quantile on its own, so that their distribution need not be symmetric.
        With a regressor of ``loss="quantile"`` the forecast of each is the network's, as much as
        that counts, and those between are interpolated.

        Parameters
        ----------
        steps : int, optional
            How many, at most `horizon`, which is the default.
        X, y : optional
            As in `predict`.
        quantiles : sequence of float, default=(0.1, 0.5, 0.9)
            Between 0 and 1, rising.

        Returns
        -------
        ndarray of float64, shape (steps, Q), or pandas DataFrame, or list of such
            They rise from left to right. A DataFrame, for a pandas Series, has the quantiles as
            columns.

        Raises
        ------
        FloatingPointError
            If the forecast, which feeds on itself, becomes infinite.
        NotFittedError
            If `fit` was not called before.
        TypeError, ValueError
            If an argument is not as described.

        Warns
        -----
        UserWarning
            If too few residuals were held back for a quantile, as for `predict_interval`.

        References
        ----------
        Y. Romano, E. Patterson and E. J. Candès, "Conformalized quantile regression", Advances in
        Neural Information Processing Systems 32, 2019.
        """
        steps = self._within_horizon(steps)
        levels = checks.quantiles(quantiles)
        found, share, own = self._forecast(steps, X, y), self.network_share_, None
        if (known := self.regressor_.quantiles_) is not None and share > 0:
            x = np.concatenate([found.past.x, self._scaled_x(found.x)], axis=1)
            own = share * NetworkPath(self._plan, self.regressor_).deviations(found.past, x)
        otherwise, columns = self._naive_deviations(), []
        for level in levels:
            residuals, ahead = self.residuals_, found.values
            if own is not None:
                ahead = ahead + _between(own, known, level)[:, :steps]
                residuals = residuals - share * _between(self._deviations, known, level)
            shift = intervals.shifts(residuals, level, otherwise)[:steps]
            columns.append(ahead + shift * found.past.y_scale[:, None])
        return found.give(np.sort(np.stack(columns, axis=-1), axis=-1), list(levels))

    def update(self, y: Any, X: Any = None) -> Self:
        """Append what was observed since `fit`, so that forecasts follow it; nothing is learnt.

        Parameters
        ----------
        y : array_like, pandas or polars Series, or a list of such
            The values that follow those of `fit`, or of the last update, of every series. An index
            of pandas must go on where the last one ends.
        X : array_like or frame, or a list of such, optional
            As in `fit`, of these steps.

        Returns
        -------
        self

        Raises
        ------
        NotFittedError
            If `fit` was not called before.
        TypeError, ValueError
            If y or X is not as described. The forecaster is then what it was before.
        """
        check_is_fitted(self)
        many, listed = series.many(y, X)
        count, features = len(self._values), many[0].x.shape[1]
        if listed != self._listed or len(many) != count:
            raise ValueError(f"y must be as it was in fit, {count} series, got {len(many)}")
        names, own = series.columns(X), getattr(self, "feature_names_in_", None)
        if names is not None and own is not None and names != own.tolist():
            raise ValueError(f"X must have the columns {own.tolist()}, as in fit, got {names}")
        if features != self.n_features_in_:
            expected = self.n_features_in_
            raise ValueError(f"X must have {expected} columns, as in fit, got {features}")
        forms, values, x = [], [], []
        for i, one in enumerate(many):
            name = f"y[{i}]" if listed else "y"
            form = self._forms[i]
            forms.append(form.after(name, series.index_of((y if listed else [y])[i]), len(one)))
            tail = self._plan.tail
            values.append(np.concatenate([self._values[i], one.values])[-tail:])
            x.append(np.concatenate([self._x[i], self._scaled_x(one.x)])[-tail:])
        self._forms, self._values, self._x = forms, np.stack(values), np.stack(x)
        return self

    def backtest(self, y: Any, folds: int, X: Any = None, *, season: int | None = None) -> Backtest:
        """Forecast the end of a series, fold by fold, each from all that came before it.

        The last ``folds · horizon`` values are cut into folds of one horizon. For each of them a
        copy of this forecaster is fitted to the values before it, as `fit` would do it at that
        time, and forecasts it. The forecaster itself does not change, and need not be fitted.

        Parameters
        ----------
        y : array_like, pandas or polars Series, or a list of such
            As in `fit`.
        folds : int
        X : array_like or frame, or a list of such, optional
            As in `fit`.
        season : int, optional
            Season of the seasonal naive forecast and of the unit of MASE; that of the forecaster if
            not given. Without either, there is no seasonal naive forecast.

        Returns
        -------
        Backtest
            Forecasts, those of naive and seasonal naive, and MASE, RMSE and MAE of each. Print it.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described, or a series is too short.

        References
        ----------
        R. J. Hyndman and A. B. Koehler, "Another look at measures of forecast accuracy",
        International Journal of Forecasting 22, 2006: the MASE.
        """
        folds = validation.positive_int("folds", folds)
        horizon = validation.positive_int("horizon", self.horizon)
        if season is not None:
            season = validation.positive_int("season", season)
        many, listed = series.many(y, X)
        plan, _ = self._planned(many, listed, folds)
        unit = plan.season if season is None else season
        for i, one in enumerate(many):
            first = max(len(one) - folds * horizon, 0)
            if first <= unit:
                name = f"y[{i}]" if listed else "y"
                raise ValueError(
                    f"{name}, before the first of {folds} folds of {horizon} values, must have "
                    f"more than season, {unit}, values, got {first}"
                )

        def forecast(known: list[Series], future: np.ndarray) -> np.ndarray:
            own = {"season": plan.season, "checkpoint": None, "warm_start": False}
            model = clone(self).set_params(**own)
            model._fit(known, listed)
            rows = np.repeat(future[:, -1:], model._rows(horizon) - horizon, axis=1)
            x = np.concatenate([future, rows], axis=1)
            return model._ahead(model._own(), horizon, x)

        seasonal = unit if unit > 1 or season is not None else None
        result = run(type(self).__name__, forecast, many, folds, horizon, seasonal)
        return result if listed else result.of(0)

    # --- files ----------------------------------------------------------------------------------

    def _to_tensors(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return a fitted forecaster as JSON's types, and arrays by name, without a checkpoint."""
        return forecast_files.to_tensors(self)

    @classmethod
    def _from_tensors(cls, config: dict[str, Any], tensors: dict[str, np.ndarray]) -> Self:
        """Return the forecaster that `_to_tensors` took apart.

        Raises
        ------
        KeyError, TypeError, ValueError
            If anything does not fit.
        """
        return forecast_files.from_tensors(cls, config, tensors)


ORIGINS_AT_ONCE = 512  # from which values held back are forecast together


@dataclass(frozen=True, eq=False)
class _Forecast:
    """What follows some series, and how it is given back.

    Attributes
    ----------
    values : ndarray, shape (M, steps)
    past : Past
    x : ndarray, shape (M, whole blocks, F)
        Of the steps, unscaled.
    forms : list of Form
    listed : bool
    """

    values: np.ndarray
    past: Past
    x: np.ndarray
    forms: list[Form]
    listed: bool

    def give(self, values: np.ndarray, columns: list[Any] | None = None) -> Any:
        """Return values (M, steps), or (M, steps, columns), as the series were given."""
        found = [form.give(row, columns) for form, row in zip(self.forms, values, strict=True)]
        return found if self.listed else found[0]


def _between(values: np.ndarray, levels: tuple[float, ...], level: float) -> np.ndarray:
    """Interpolate what there is of some quantiles (..., Q) for another one, (...)."""
    place = float(np.interp(level, levels, np.arange(len(levels))))
    low = min(int(place), len(levels) - 1)
    high = min(low + 1, len(levels) - 1)
    return values[..., low] + (place - low) * (values[..., high] - values[..., low])


def _read(plan: Plan) -> tuple[int, int]:
    """Return what the shape of a network rests on."""
    return plan.window, plan.at_once


def _shallow(model: RNNForecaster) -> RNNForecaster:
    """Return a forecaster with the same attributes."""
    other = object.__new__(type(model))
    vars(other).update(vars(model))
    return other


def _whole(x: np.ndarray, plan: Plan) -> np.ndarray:
    """Return x (M, tail + steps, F) with whole blocks of steps, the last row repeated."""
    more = -(x.shape[1] - plan.tail) % plan.at_once
    return np.concatenate([x, np.repeat(x[:, -1:], more, axis=1)], axis=1) if more else x
