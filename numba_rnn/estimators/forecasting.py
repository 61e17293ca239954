"""RNNForecaster: a series in, its future out, by a linear path and an RNNRegressor on windows.

    y, (n,)  scaled  ridge regressions, step after step                         L, (steps,)
    y, (n,)  differences  z, scaled  windows  (N, w, 1 + P + 2F)  RNNRegressor  N, (steps,)
    y, (n,)  the last season, or value, again                                  S, (steps,)
    forecast  a weighted mean of L, N and S

Symbols: w = window, k steps that the network forecasts at once (1, or the whole horizon), F columns
of X, P of X_past. What either forecasts is appended to what it has read, and the next steps follow
from that.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from .. import validation
from ..owners import is_dask_list
from . import blocks, checks, component, forecast_files, intervals, series
from .backtesting import Backtest, run
from .blocks import over_partitions
from .component import window_regressor
from .forecast_base import BaseForecaster, names_beside
from .series import Series
from .supervised import RNNRegressor

if TYPE_CHECKING:
    import pandas as pd


class RNNForecaster(BaseForecaster):
    """Elman recurrent network beside a linear path, for a series or many series of one kind.

    Forecasts are made in three ways, and their weighted mean is given: by ridge regressions on the
    last `window` values, which are the linear path; by an `RNNRegressor` that reads windows of the
    series, differenced if asked for; and by repeating the last season. How much each counts is
    measured on values that were held back from all. The season is that of a pandas Series' index:
    arrays have none, unless `season` says so.

    What is known of the future beside the series goes into X, a row a step, what is known up to now
    alone into X_past, and what is known of a series as a whole into static. A list of series trains
    one network for all of them; each is scaled on its own, has a linear path of its own, which is
    pulled towards that of all where they are alike, and forecasts and intervals of its own. A table
    of several columns, which may depend on one another, is read and forecast as one by the network;
    the linear path takes each column for a series.

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
    missing : {"error", "forward"}, default="error"
        What is done with NaN, None, pandas' NA and masked entries of y, X and X_past: refuse them,
        or carry the last value forward, and of y, where it has a season, the last change from
        season to season; before the first one stands the mean. Beside each column that had gaps in
        `fit` an indicator says where. What is missing in y is no target, and
        nothing is measured or judged by it.
    regressor : RNNRegressor, optional
        The network and its training, `window_regressor()` by default, which has 32 units; that
        function makes one with other parameters. A copy is fitted, and reads scaled windows. An
        RNNRegressor is used as it stands, but that ``patch="auto"`` is none. What it says of early
        stopping is by R² of later windows: with ``validation_fraction=None`` those of the values
        held back, or the last fifth where none are; else that share of the windows before them. No
        window that is trained on has a target in common with them. Where there aren't two of them,
        the training loss says when to stop. ``standardize`` says whether each differenced series,
        and each column of X, is scaled by what was trained on; the linear path always scales the
        series, and has X as the network has it.
    warm_start : bool, default=False
        Whether `fit` goes on with the network of the last one, on the same or on other series. They
        are scaled anew, and X, X_past and static as they were, with the same columns; the linear
        path is fitted anew. The window, season, difference_season and strategy that were chosen by
        default stay. This, what follows and missing are the forecaster's to say: the regressor must
        leave them at their defaults.
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
    tail_ : int
        Values of a series that are kept for a forecast: the window, what differences need, and with
        missing="forward" what gaps in later values are filled from.
    network_share_, naive_share_ : float
        How much the network counts, and the last season repeated; the linear path has the rest.
    coefficients_ : ndarray of float64, shape (views, 1 + n_series, window + 2 (F + S) + 1)
        Of the linear path, the constant last: of the values and, with a season, of their changes
        from season to season; of all series together first, then of each. F columns of X and of
        indicators of its gaps, S static ones.
    n_features_in_ : int
        Columns of X, 0 without it.
    feature_names_in_ : ndarray of str, shape (n_features_in_,)
        Where X was a frame, or a list of frames.
    y_mean_, y_scale_ : ndarray of float64, shape (n_series,)
        Scaling of the differenced series; here and in what follows each of several columns is one,
        those of the first series first. The scale of one that is constant where it is trained on is
        that of all of it; 0 where all of it is constant, so that the constant is what is forecast.
        Beside a linear path the mean of differences is taken to be 0: it is a drift, which that
        path has.
    level_mean_, level_scale_ : ndarray of float64, shape (n_series,)
        Scaling of the series as they are, for the linear path.
    x_mean_, x_scale_, x_past_mean_, x_past_scale_, static_mean_, static_scale_ : ndarray of float64
        Scaling of the columns of X, X_past and static.
    residuals_ : ndarray of float64, shape (origins, horizon)
        Truth, NaN where it is missing, minus forecast of the values held back, a row for each of
        the steps before them from which they were forecast, divided by y_scale_ of their series. No
        row where too little was held back, and none of constant series beside others.

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
        missing: Literal["error", "forward"] = "error",
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
        self.missing = missing
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

    def fit(self, y: Any, X: Any = None, *, X_past: Any = None, static: Any = None) -> Self:
        """Fit the linear path and the network to one series or to many.

        Parameters
        ----------
        y : array_like, shape (n,), pandas or polars Series, or a list of such
            Numbers at regular steps. Dates of working days may lack a tenth of them, as holidays:
            steps are then trading days, and forecasts have the next working days as index. An array
            (n, K) or a frame is K series that are forecast together: the network reads all of them
            and forecasts all. A list may be a bag of Dask's, or a series or frame of its dataframes
            of which each partition is a series: all is brought here, and Dask's workers train the
            network on the windows, with the same bits for any of them, but other batches than those
            of a list in memory.
        X : array_like or frame, shape (n,) or (n, F), or a list of such, optional
            What is known beside y, row by row, and will be known of the future, like the time of
            the year or a price to be set. Where y and X both have an index of pandas, it must be
            the same.
        X_past : array_like or frame, shape (n,) or (n, P), or a list of such, optional
            What is known beside y up to now alone, like the weather. The network reads it, and no
            forecast needs it of the future: where a forecast feeds on itself, the last row stands.
        static : array_like or frame, shape (S,) or for a list of series (n_series, S), optional
            What is known of each series as a whole, like the size of a shop, as numbers. Of series
            without anything of the kind in common it says nothing.

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
        sent = is_dask_list(y)
        y, X, X_past = (blocks.panel(value) for value in (y, X, X_past))
        given = series.panel(y, X, X_past, static, gaps=component.gaps(self))
        return self._fit(given, names_beside(X, X_past, static), sent=sent)

    @property
    def tail_(self) -> int:
        """How many values of a series are kept for a forecast, and for filling later gaps."""
        check_is_fitted(self)
        return self._plan.tail

    # --- predict --------------------------------------------------------------------------------

    @over_partitions
    def predict(
        self,
        steps: int | None = None,
        X: Any = None,
        *,
        y: Any = None,
        X_past: Any = None,
        static: Any = None,
    ) -> np.ndarray | pd.Series | pd.DataFrame | list[np.ndarray | pd.Series | pd.DataFrame]:
        """Forecast the values that follow the series of `fit`, or other ones.

        Parameters
        ----------
        steps : int, optional
            How many, `horizon` by default; there may be more.
        X : array_like or frame, shape (steps,) or (steps, F), or a list of such, optional
            What is known beside them, if it was in `fit`. With ``strategy="direct"`` the network
            reads X of as many whole horizons as the steps begin: X may have rows up to there, and
            where it ends before, its last row stands for what is missing. With y it begins with the
            rows of y. An index of pandas must be that of these steps; after trading days it is of
            days to come, without some holidays.
        y : array_like, pandas or polars Series, or a list of such, optional
            Other series, or newer values, that the forecast follows instead of those of `fit`.
            Nothing is learnt from them; each is scaled by itself, and the linear path is that of
            all series together. One that is shorter than what is read is continued backwards by its
            first season, or its first value. Of a bag of Dask's the forecasts are a bag, not
            computed yet; of a series or frame of its dataframes a list of Delayed objects. X,
            X_past and static, a row a series, are then in the same partitions.
        X_past, static : optional
            Of y, as in `fit`.

        Returns
        -------
        ndarray of float64 or pandas Series, shape (steps,), or list of such
            A pandas Series for a pandas Series, its index continued; (steps, K), or a DataFrame,
            where y had K columns.

        Raises
        ------
        FloatingPointError
            If the forecast, which feeds on itself, becomes infinite.
        NotFittedError
            If `fit` was not called before.
        TypeError, ValueError
            If steps is no positive number, or X doesn't have the rows and columns described.
        """
        found = self._forecast(steps, X, y, X_past, static)
        return self._give(found, found.values)

    @over_partitions
    def predict_interval(
        self,
        steps: int | None = None,
        X: Any = None,
        *,
        y: Any = None,
        X_past: Any = None,
        static: Any = None,
        coverage: float = 0.9,
    ) -> np.ndarray | pd.DataFrame | list[np.ndarray | pd.DataFrame]:
        """Forecast intervals: for each step ahead, where its value lies with some probability.

        Parameters
        ----------
        steps : int, optional
            How many, at most `horizon`, which is the default.
        X, y, X_past, static : optional
            As in `predict`.
        coverage : float, default=0.9
            Probability that the interval of a step holds its value, between 0 and 1; see the notes
            of the class for what it rests on.

        Returns
        -------
        ndarray of float64, shape (steps, 2), or pandas DataFrame, or list of such
            Lower and upper ends; a DataFrame, for a pandas Series, has columns of these names.
            Where y had K columns, (steps, K, 2), or a DataFrame with columns of two levels.

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
        found = self._forecast(steps, X, y, X_past, static)
        width = intervals.widths(self.residuals_, coverage, self._naive_deviations())
        width = width[:steps] * found.past.y_scale[:, None]
        ends = np.stack([found.values - width, found.values + width], axis=-1)
        return self._give(found, ends, ["lower", "upper"])

    @over_partitions
    def predict_quantiles(
        self,
        steps: int | None = None,
        X: Any = None,
        *,
        y: Any = None,
        X_past: Any = None,
        static: Any = None,
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
        X, y, X_past, static : optional
            As in `predict`.
        quantiles : sequence of float, default=(0.1, 0.5, 0.9)
            Between 0 and 1, rising.

        Returns
        -------
        ndarray of float64, shape (steps, Q), or pandas DataFrame, or list of such
            They rise from left to right. A DataFrame, for a pandas Series, has the quantiles as
            columns. Where y had K columns, (steps, K, Q), or a DataFrame with columns of two
            levels.

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
        found = self._forecast(steps, X, y, X_past, static)
        share, own = self.network_share_, None
        if (known := self.regressor_.quantiles_) is not None and share > 0:
            x = np.concatenate([found.past.x, found.x], axis=1)
            own = share * self._network().deviations(found.past, x)
        otherwise, columns = self._naive_deviations(), []
        for level in levels:
            residuals, ahead = self.residuals_, found.values
            if own is not None:
                ahead = ahead + _between(own, known, level)[:, :steps]
                residuals = residuals - share * _between(self._deviations, known, level)
            shift = intervals.shifts(residuals, level, otherwise)[:steps]
            columns.append(ahead + shift * found.past.y_scale[:, None])
        return self._give(found, np.sort(np.stack(columns, axis=-1), axis=-1), list(levels))

    def update(self, y: Any, X: Any = None, *, X_past: Any = None) -> Self:
        """Append what was observed since `fit`, so that forecasts follow it; nothing is learnt.

        Parameters
        ----------
        y : array_like, pandas or polars Series, or a list of such
            The values that follow those of `fit`, or of the last update, of every series. An index
            of pandas must go on where the last one ends; of trading days a tenth may be left out,
            and seven beside them.
        X, X_past : array_like or frame, or a list of such, optional
            As in `fit`, of these steps.

        Returns
        -------
        self

        Raises
        ------
        NotFittedError
            If `fit` was not called before.
        TypeError, ValueError
            If y, X or X_past is not as described. The forecaster is then what it was before.
        """
        check_is_fitted(self)
        gaps, K = self._gaps is not None, self._targets
        given = series.panel(y, X, X_past, gaps=gaps, goes_on=True)
        count, plan = len(self._forms) // K, self._plan
        if given.listed != self._listed or len(given.each) != count:
            raise ValueError(f"y must be as it was in fit, {count} series, got {len(given.each)}")
        self._check_targets(given)
        self._check_beside(given[0], names_beside(X, X_past, None), among=("X", "X_past"))
        static = np.zeros(len(self.static_mean_))  # is known, and stays as it is
        given = given.of([replace(one, static=static) for one in given])
        if self._gaps is not None:
            given = self._gaps.filled(given, plan.season, after=self._last_rows())
        forms, joined = [], []
        for k, one in enumerate(self._scaled(given)):
            own = series.index_of((y if given.listed else [y])[k // K])
            forms.append(self._forms[k].after(given.name(k), own, len(one.values)))
            before = self._values[k], self._x[k], self._read[k]
            both = zip(before, (one.values, one.x, one.read), strict=True)
            joined.append([np.concatenate(pair)[-plan.tail :] for pair in both])
        self._forms = forms
        self._values, self._x, self._read = (np.stack(each) for each in zip(*joined, strict=True))
        return self

    def backtest(
        self,
        y: Any,
        folds: int,
        X: Any = None,
        *,
        X_past: Any = None,
        static: Any = None,
        season: int | None = None,
    ) -> Backtest:
        """Forecast the end of a series, fold by fold, each from all that came before it.

        The last ``folds · horizon`` values are cut into folds of one horizon. For each of them a
        copy of this forecaster is fitted to the values before it, as `fit` would do it at that
        time, and forecasts it. The forecaster itself does not change, and need not be fitted.

        Parameters
        ----------
        y : array_like, pandas or polars Series, or a list of such
            As in `fit`.
        folds : int
        X, X_past, static : optional
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
        y, X, X_past = (blocks.panel(value) for value in (y, X, X_past))
        given = series.panel(y, X, X_past, static, gaps=component.gaps(self))
        plan, _ = self._planned(given, folds)
        unit, K = plan.season if season is None else season, given.targets
        for k, one in enumerate(given):
            first = max(len(one) - folds * horizon, 0)
            if first <= unit:
                raise ValueError(
                    f"{given.name(k)}, before the first of {folds} folds of {horizon} values, must "
                    f"have more than season, {unit}, values, got {first}"
                )

        def forecast(known: list[Series], future: np.ndarray) -> np.ndarray:
            own = {"season": plan.season, "checkpoint": None, "warm_start": False}
            model = clone(self).set_params(**own)
            model._fit(given.of(known), names_beside(None, None, None))
            rows = np.repeat(future[:, -1:], model._rows(horizon) - horizon, axis=1)
            tables, past = np.concatenate([future, rows], axis=1)[::K], model._own()
            return model._ahead(past, horizon, model._scaled_future(past, tables))

        seasonal = unit if unit > 1 or season is not None else None
        result = run(type(self).__name__, forecast, given.series, folds, horizon, seasonal)
        return result if given.listed or given.wide else result.of(0)

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


def _between(values: np.ndarray, levels: tuple[float, ...], level: float) -> np.ndarray:
    """Interpolate what there is of some quantiles (..., Q) for another one, (...)."""
    place = float(np.interp(level, levels, np.arange(len(levels))))
    low = min(int(place), len(levels) - 1)
    high = min(low + 1, len(levels) - 1)
    return values[..., low] + (place - low) * (values[..., high] - values[..., low])
