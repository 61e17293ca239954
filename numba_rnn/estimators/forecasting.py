"""RNNForecaster: a series in, its future out, by an RNNRegressor that reads windows.

    y, (n,)  differences  z, scaled  windows  (N, w, 1 + 2F)  RNNRegressor  next k of z  undone  y

Symbols: w = window, k steps that the network forecasts at once (1, or the whole horizon), F columns
of X. What it forecasts is appended to z, and the next k follow from it.
"""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted

from .. import validation
from . import checks, series
from .backtesting import Backtest, run
from .base import all_or_nothing
from .differencing import difference, undo
from .sequences import ROUNDING, Sequences, spread, units
from .series import Form, Series
from .supervised import RNNRegressor
from .training import Training
from .windows import cut, joined, rolling

if TYPE_CHECKING:
    import pandas as pd


class RNNForecaster(BaseEstimator):
    """Elman recurrent network that forecasts a series, or many series of one kind.

    The network is an `RNNRegressor` on windows: it reads the last `window` values, differenced if
    asked for, and forecasts what follows. What is known of the future beside the series goes into
    X, a row a step. A list of series trains one network for all of them; each is scaled on its
    own, and has forecasts and intervals of its own.

    Parameters
    ----------
    window : int
        Values that the network reads.
    horizon : int
        Steps ahead for which intervals are calibrated and `backtest` forecasts, and which
        ``strategy="direct"`` forecasts at once.
    season : int, optional
        Steps of a season, at least 2: the network works on ``y_t - y_(t-season)``.
    difference : int, default=0
        How many times the change from step to step is taken, after that of the season. 1 is for
        series with a trend or without a fixed level, which a network can't extrapolate.
    strategy : {"recursive", "direct"}, default="recursive"
        Forecast one step and feed it back, again and again; or all of `horizon` at once, and feed
        that back where more steps are asked for.
    calibration_fraction : float, default=0.2
        Share of each series, its end, that is held back from training for `predict_interval`; 0 to
        train on all of it and have no intervals.
    hidden_size, num_layers, nonlinearity, bidirectional, dropout, pooling
        The network, as in `RNNRegressor`.
    solver, alpha, batch_size, learning_rate_init, max_iter, shuffle, clip_norm, truncation
        Its training, as there.
    early_stopping : bool, default=False
        Stop when R² of held-back windows no longer rises. They are the last ones of the training
        values, and no window that is trained on has a target in common with them.
    validation_fraction, n_iter_no_change, tol
        For early stopping, as in `RNNRegressor`.
    standardize : bool, default=True
        Scale each differenced series, and each column of X, by what was trained on.
    warm_start, random_state, verbose, dtype, checkpoint
        As in `RNNRegressor`. A warm start goes on with as many series and columns of X, in the
        scaling of the first fit.

    Attributes
    ----------
    regressor_ : RNNRegressor
        The fitted network, which sees scaled windows.
    loss_curve_, validation_scores_, best_loss_, n_iter_, rnn_, head_
        Its attributes.
    n_features_in_ : int
        Columns of X, 0 without it.
    feature_names_in_ : ndarray of str, shape (n_features_in_,)
        Where X was a frame, or a list of frames.
    y_mean_, y_scale_ : ndarray of float64, shape (n_series,)
        Scaling of the differenced series. The scale of one that is constant where it is trained on
        is that of all of it; 0 where all of it is constant, so that the constant is what is
        forecast.
    x_mean_, x_scale_ : ndarray of float64, shape (n_features_in_,)
        Scaling of X.
    residuals_ : ndarray of float64, shape (origins, horizon)
        Truth minus forecast of the values held back, a row for each of the steps before them from
        which they were forecast, divided by y_scale_ of their series. No row where too little was
        held back, and none of constant series beside others.

    Notes
    -----
    **Intervals** are those of split conformal prediction, for each step ahead on its own. The
    network never sees the values held back. They are forecast from every step that leaves a whole
    horizon, and with n absolute residuals at a step ahead the interval reaches as far as the
    ⌈(n + 1)·coverage⌉-th smallest on both sides of the forecast. If the residuals of the past and
    of the future are exchangeable, such an interval holds the true value with a probability of
    at least `coverage`, on average over series and futures, and at one step ahead, not at all of
    them together. In a series neighbouring residuals are alike, and they may grow with time, so
    they are exchangeable at best roughly: after a change the intervals are too narrow until it
    has come into the values held back.

    **Time** only goes forward: windows to train on, scaling and the choice of the best epoch know
    values from before the ones held back alone. A forecast starts from the end of the whole
    series.

    References
    ----------
    V. Vovk, A. Gammerman and G. Shafer, Algorithmic Learning in a Random World, Springer, 2005.

    J. Lei, M. G'Sell, A. Rinaldo, R. J. Tibshirani and L. Wasserman, "Distribution-free predictive
    inference for regression", Journal of the American Statistical Association 113, 2018.

    S. Ben Taieb, G. Bontempi, A. F. Atiya and A. Sorjamaa, "A review and comparison of strategies
    for multi-step ahead time series forecasting", Expert Systems with Applications 39, 2012.

    Examples
    --------
    >>> import numpy as np
    >>> from numba_rnn.estimators import RNNForecaster
    >>> month = np.arange(120)
    >>> y = 0.2 * month + np.sin(month * 2 * np.pi / 12)
    >>> model = RNNForecaster(window=12, horizon=6, season=12, max_iter=5,
    ...                       n_iter_no_change=np.inf, random_state=0)
    >>> model.fit(y).predict(6).shape
    (6,)
    >>> lower, upper = model.predict_interval(6, coverage=0.8).T
    >>> bool((lower <= model.predict(6)).all() and (model.predict(6) <= upper).all())
    True
    """

    loss_curve_ = property(attrgetter("regressor_.loss_curve_"))
    validation_scores_ = property(attrgetter("regressor_.validation_scores_"))
    best_loss_ = property(attrgetter("regressor_.best_loss_"))
    n_iter_ = property(attrgetter("regressor_.n_iter_"))
    rnn_ = property(attrgetter("regressor_.rnn_"))
    head_ = property(attrgetter("regressor_.head_"))

    def __init__(
        self,
        window: int,
        horizon: int,
        season: int | None = None,
        difference: int = 0,
        strategy: Literal["recursive", "direct"] = "recursive",
        calibration_fraction: float = 0.2,
        hidden_size: int = 64,
        num_layers: int = 1,
        nonlinearity: Literal["tanh", "relu"] = "tanh",
        bidirectional: bool = False,
        dropout: float = 0.0,
        pooling: Literal["last", "mean", "max"] = "last",
        solver: Literal["adam", "sgd", "rmsprop", "lbfgs"] = "adam",
        alpha: float = 0.0,
        batch_size: int | Literal["auto"] = "auto",
        learning_rate_init: float = 1e-3,
        max_iter: int = 200,
        shuffle: bool = True,
        clip_norm: float | None = 1.0,
        truncation: int | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: float = 10,
        tol: float = 1e-4,
        standardize: bool = True,
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
        dtype: str = "float32",
        checkpoint: str | os.PathLike[str] | None = None,
    ) -> None:
        self.window = window
        self.horizon = horizon
        self.season = season
        self.difference = difference
        self.strategy = strategy
        self.calibration_fraction = calibration_fraction
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.nonlinearity = nonlinearity
        self.bidirectional = bidirectional
        self.dropout = dropout
        self.pooling = pooling
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.clip_norm = clip_norm
        self.truncation = truncation
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.standardize = standardize
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        self.dtype = dtype
        self.checkpoint = checkpoint

    # --- fit ------------------------------------------------------------------------------------

    def fit(self, y: Any, X: Any = None) -> Self:
        """Fit the network to one series or to many.

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
            If a parameter is not as described, a value is missing, a series is too short for a
            single window, or an index has no regular steps. The forecaster is then what it was
            before.
        FloatingPointError
            If the loss became infinite or NaN, or the forecast of what is held back. The forecaster
            keeps the best weights that it had.

        Warns
        -----
        ConvergenceWarning
            If max_iter epochs were over before loss or validation score had stalled.
        UserWarning
            If the training was interrupted from the keyboard; the model so far is kept.
        """
        many, listed = series.many(y, X)
        names = [f"y[{k}]" for k in range(len(many))] if listed else ["y"]
        return self._fit(many, names, listed, series.columns(X))

    def _fit(
        self, many: list[Series], names: list[str], listed: bool, columns: list[str] | None = None
    ) -> Self:
        checks.settings(self.get_params(deep=False))
        plan, features = self._checked_plan(), many[0].x.shape[1]
        w, k, lags = plan.window, plan.at_once, plan.lags
        if features and w < k:
            raise ValueError(
                f'window must be at least horizon, {k}, with strategy="direct" and X, so that the '
                f"network sees all of the future X, got {w}"
            )
        parts = [self._parts(plan, *pair) for pair in zip(names, map(len, many), strict=True)]
        validated = sum(part.windows - part.validated_from for part in parts)
        if self.early_stopping and validated < 2:
            raise ValueError(
                "early_stopping needs two windows held back at least, got "
                f"validation_fraction={self.validation_fraction} of "
                f"{sum(part.windows for part in parts)} windows"
            )
        pairs = list(zip(many, parts, strict=True))
        with all_or_nothing(self):
            if self.warm_start and self.__sklearn_is_fitted__():
                self._check_going_on(plan, len(many), features, columns)
                self._measure_constants(pairs, lags)
            else:
                self.regressor_ = RNNRegressor()
                self._measure(pairs, lags)
            self._plan, self._listed, self._forms = plan, listed, [one.form for one in many]
            self.n_features_in_ = features
            self.__dict__.pop("feature_names_in_", None)
            if columns is not None:
                self.feature_names_in_ = np.array(columns, object)
            self._values = np.stack([one.values[len(one) - w - sum(lags) :] for one in many])
            self._x = np.stack([self._scaled_x(one.x[len(one) - w :]) for one in many])
            self.residuals_ = np.empty((0, plan.horizon))
            with all_or_nothing(self.regressor_):
                begun = self._begin(pairs)
        training, inputs, targets = begun
        try:
            training.run(inputs, targets)
        finally:
            self.regressor_._take_down(training)
        # a constant says nothing of how far others may be from their forecast
        telling = np.flatnonzero(self.y_scale_ > 0) if self.y_scale_.any() else range(len(pairs))
        self.residuals_ = np.concatenate([self._residuals(i, *pairs[i]) for i in telling])
        return self

    def _checked_plan(self) -> _Plan:
        """Check the parameters of what is read and forecast."""
        window = validation.positive_int("window", self.window)
        horizon = validation.positive_int("horizon", self.horizon)
        strategy = validation.choice("strategy", self.strategy, ("recursive", "direct"))
        times, season = self.difference, self.season
        if isinstance(times, (bool, float)) or times != 0:
            times = validation.positive_int("difference", times)
        if season is not None:
            season = validation.positive_int("season", season)
            if season == 1:
                raise ValueError(
                    "season must be None or at least 2, got 1; use difference=1 for that"
                )
        return _Plan(window, horizon, season, int(times), strategy)

    def _parts(self, plan: _Plan, name: str, n: int) -> _Parts:
        """Return what each of n values is for."""
        k, shortest = plan.at_once, plan.window + sum(plan.lags)
        fraction = validation.real(
            "calibration_fraction", self.calibration_fraction, 0, 1, open_high=True
        )
        known = n - int(fraction * n)
        windows = known - shortest - k + 1
        validated = math.ceil(self.validation_fraction * windows) if self.early_stopping else 0
        trained = windows - validated - (k - 1 if validated else 0)
        if windows < 1 or trained < 1:
            needed = f"{shortest + k} (window {plan.window}"
            needed += "".join(f" + difference {lag}" for lag in plan.lags)
            needed += f" + {k} forecast at once)"
            raise ValueError(
                f"{name} must have at least {needed} values to train on"
                + (", and more for early_stopping" if self.early_stopping else "")
                + f", got {known}"
                + (f", which calibration_fraction={fraction} leaves of {n}" if known < n else "")
            )
        return _Parts(known, windows, trained, windows - validated, shortest + trained + k - 1)

    def _check_going_on(
        self, plan: _Plan, count: int, features: int, columns: list[str] | None
    ) -> None:
        """Check that a network, and the scaling that it knows, can be trained further."""
        own = getattr(self, "feature_names_in_", None)
        for name, was, now in (
            ("season and difference", self._plan.lags, plan.lags),
            ("the number of series", len(self.y_mean_), count),
            ("the number of columns of X", self.n_features_in_, features),
            ("the columns of X", None if own is None else own.tolist(), columns),
        ):
            if was != now and not (name == "the columns of X" and None in (was, now)):
                raise ValueError(
                    f"warm_start=True must keep {name}, with which it is scaled, {was}, got {now}"
                )

    def _measure(self, pairs: list[tuple[Series, _Parts]], lags: list[int]) -> None:
        """Measure differences and X where they are trained on."""
        x = np.concatenate([one.x[: part.seen] for one, part in pairs])
        if self.standardize:
            measured = [_measured(one.values, part.seen, lags) for one, part in pairs]
            self.y_mean_, self.y_scale_ = np.array(measured).T.copy()
            self.x_mean_, scale = spread(x)
            self.x_scale_ = units(scale)
        else:
            self.y_mean_, self.y_scale_ = np.zeros(len(pairs)), np.ones(len(pairs))
            self.x_mean_, self.x_scale_ = np.zeros(x.shape[1]), np.ones(x.shape[1])

    def _measure_constants(self, pairs: list[tuple[Series, _Parts]], lags: list[int]) -> None:
        """Scale series that were constant at first by what they are now."""
        self.y_mean_, self.y_scale_ = self.y_mean_.copy(), self.y_scale_.copy()
        for i in np.flatnonzero(self.y_scale_ == 0):
            one, part = pairs[i]
            self.y_mean_[i], self.y_scale_[i] = _measured(one.values, part.seen, lags)

    def _scaled_x(self, x: np.ndarray) -> np.ndarray:
        return (x - self.x_mean_) / self.x_scale_

    def _begin(self, pairs: list[tuple[Series, _Parts]]) -> tuple[Training, Sequences, np.ndarray]:
        """Make the regressor ready for the windows of all series."""
        plan = self._plan
        windows, train, validated, first = [], [], [], 0
        for i, (one, part) in enumerate(pairs):
            z = difference(one.values[: part.known], plan.lags)
            z = (z - self.y_mean_[i]) / units(self.y_scale_[i])
            x = self._scaled_x(one.x[part.known - len(z) : part.known])
            windows.append(cut(z, x, plan.window, plan.at_once))
            train.append(first + np.arange(part.trained))
            validated.append(first + np.arange(part.validated_from, part.windows))
            first += part.windows
        inputs, targets = (np.concatenate(arrays) for arrays in zip(*windows, strict=True))
        split = np.concatenate(train), np.concatenate(validated)

        own = self.get_params(deep=False)
        params = {name: own[name] for name in self.regressor_.get_params() if name in own}
        params |= {"standardize": False, "patch": None}
        regressor = self.regressor_.set_params(**params)
        regressor._split = lambda *_: split  # what is validated on is later, not chosen at random
        try:
            return regressor._begin(inputs, targets)
        finally:
            del regressor._split

    def _residuals(self, i: int, one: Series, part: _Parts) -> np.ndarray:
        """Forecast what is held back of series i, from every step before a whole horizon of it."""
        h, w, n = self._plan.horizon, self._plan.window, len(one)
        if n - part.known < h:
            return np.empty((0, h))
        begin = part.known - w - sum(self._plan.lags)
        values = sliding_window_view(one.values[begin : n - h], part.known - begin)
        x = rolling(self._scaled_x(one.x[part.known - w :]), w + h)
        truth = sliding_window_view(one.values[part.known :], h)
        forecast = self._forecast(values, x, np.full(len(truth), i))
        return (truth - forecast) / units(self.y_scale_[i])

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(getattr(self, "regressor_", None), "best_loss_")

    # --- predict --------------------------------------------------------------------------------

    def _forecast(self, values: np.ndarray, x: np.ndarray, which: np.ndarray) -> np.ndarray:
        """Forecast what follows values.

        Parameters
        ----------
        values : ndarray, shape (M, window + sum of lags)
        x : ndarray, shape (M, window + steps, F)
            Scaled; steps is a multiple of those forecast at once.
        which : ndarray of int, shape (M,)
            Series whose scaling is to be used.

        Returns
        -------
        ndarray of float64, shape (M, steps)
        """
        k, w, lags = self._plan.at_once, self._plan.window, self._plan.lags
        mean, scale = self.y_mean_[which, None], self.y_scale_[which, None]
        largest = np.finfo(self.rnn_.dtype).max
        z = (difference(values, lags) - mean) / units(scale)
        for done in range(0, x.shape[1] - w, k):
            ahead = self.regressor_.predict(joined(z[:, done:], x[:, done : done + w + k]))
            if not np.all(np.abs(ahead) <= largest):
                raise FloatingPointError(
                    f"the forecast leaves the numbers of {self.rnn_.dtype} within {done + k} "
                    'steps, as it feeds on itself; try nonlinearity="tanh", or a larger alpha'
                )
            z = np.concatenate([z, ahead], axis=1)
        return undo(z[:, w:] * scale + mean, values, lags)

    def _ahead(self, steps: int, x: np.ndarray) -> np.ndarray:
        """Forecast all series, (n_series, steps), with X of so many whole blocks, unscaled."""
        x = np.concatenate([self._x, self._scaled_x(x)], axis=1)
        return self._forecast(self._values, x, np.arange(len(self._values)))[:, :steps]

    def _future(self, steps: int, X: Any) -> np.ndarray:
        """Check X of the future; return it as an array (n_series, steps, F)."""
        count, features = len(self._values), self.n_features_in_
        k = self._plan.at_once
        rows = -(-steps // k) * k
        if features == 0:
            if X is not None:
                raise ValueError("X must be None, as it was in fit, got " + validation.describe(X))
            return np.empty((count, rows, 0))
        if X is None:
            raise ValueError(f"X must have the {features} columns that it had in fit, got None")
        names = series.columns(X)
        own = getattr(self, "feature_names_in_", None)
        if names is not None and own is not None and names != own.tolist():
            raise ValueError(f"X must have the columns {own.tolist()}, as in fit, got {names}")
        if not self._listed:
            X = [X]
        elif not isinstance(X, (list, tuple)) or len(X) != count:
            raise ValueError(
                f"X must be a list of {count} tables, as y was a list of {count} series, "
                f"got {validation.describe(X)}"
            )
        found = []
        for i, table in enumerate(X):
            name, form = f"X[{i}]" if self._listed else "X", self._forms[i]
            index = None if form.last is None else form.index(rows)
            table = series.table(name, table, steps, index, most=rows)
            if table.shape[1] != features:
                raise ValueError(
                    f"{name} must have {features} columns, as in fit, got {table.shape[1]}"
                )
            found.append(np.concatenate([table, np.repeat(table[-1:], rows - len(table), axis=0)]))
        return np.stack(found)

    def predict(
        self, steps: int, X: Any = None
    ) -> np.ndarray | pd.Series | list[np.ndarray | pd.Series]:
        """Forecast the values that follow the series of `fit`.

        Parameters
        ----------
        steps : int
            How many; there may be more than `horizon`.
        X : array_like or frame, shape (steps,) or (steps, F), or a list of such, optional
            What is known beside them, if it was in `fit`. With ``strategy="direct"`` the network
            reads X of as many whole horizons as the steps begin: X may have rows up to there, and
            where it ends before, its last row stands for what is missing.

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
        check_is_fitted(self)
        steps = validation.positive_int("steps", steps)
        values = self._ahead(steps, self._future(steps, X))
        return self._given_back(
            [form.give(row) for form, row in zip(self._forms, values, strict=True)]
        )

    def predict_interval(
        self, steps: int, X: Any = None, *, coverage: float = 0.9
    ) -> np.ndarray | pd.DataFrame | list[np.ndarray | pd.DataFrame]:
        """Forecast intervals: for each step ahead, where its value lies with some probability.

        Parameters
        ----------
        steps : int
            How many, at most `horizon`.
        X : array_like or frame, optional
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
            If an argument is not as described, or too few residuals were held back for the
            coverage.
        """
        check_is_fitted(self)
        steps = validation.positive_int("steps", steps)
        coverage = validation.real("coverage", coverage, 0, 1, open_low=True, open_high=True)
        if steps > self._plan.horizon:
            raise ValueError(
                f"steps must be at most horizon, {self._plan.horizon}, up to which residuals were "
                f"held back, got {steps}"
            )
        n = len(self.residuals_)
        rank = math.ceil(round((n + 1) * coverage, 9))
        if rank > n:
            needed = math.ceil(round(coverage / (1 - coverage), 9))
            raise ValueError(
                f"{needed} residuals must be held back for each step for intervals of coverage "
                f"{coverage:g}, got {n}; raise calibration_fraction, now "
                f"{self.calibration_fraction}, or give a longer series"
                + (f", or ask for a coverage of at most {n / (n + 1):.3g}" if n else "")
            )
        width = np.sort(np.abs(self.residuals_), axis=0)[rank - 1, :steps]
        values = self._ahead(steps, self._future(steps, X))
        width = width * self.y_scale_[:, None]
        ends = np.stack([values - width, values + width], axis=-1)
        names = ["lower", "upper"]
        return self._given_back(
            [form.give(row, names) for form, row in zip(self._forms, ends, strict=True)]
        )

    def _given_back(self, found: list[Any]) -> Any:
        return found if self._listed else found[0]

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
        plan = self._checked_plan()
        folds = validation.positive_int("folds", folds)
        season = self.season if season is None else validation.positive_int("season", season)
        many, listed = series.many(y, X)
        for i, one in enumerate(many):
            name, first = f"y[{i}]" if listed else "y", max(len(one) - folds * self.horizon, 0)
            name = f"{name}, before the first of {folds} folds of {self.horizon} values,"
            self._parts(plan, name, first)
            if first <= (season or 1):
                raise ValueError(
                    f"{name} must have more than season, {season or 1}, values, got {first}"
                )

        def forecast(known: list[Series], future: np.ndarray) -> np.ndarray:
            model = clone(self).set_params(checkpoint=None, warm_start=False)
            names = [f"y[{i}]" for i in range(len(known))]
            return model._fit(known, names, listed)._ahead(self.horizon, future)

        result = run(type(self).__name__, forecast, many, folds, self.horizon, season)
        return result if listed else result.of(0)

    # --- files ----------------------------------------------------------------------------------

    def _to_tensors(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return a fitted forecaster as JSON's types, and arrays by name, without a checkpoint."""
        check_is_fitted(self)
        regressor, tensors = self.regressor_._to_tensors()
        own = asdict(self._plan) | {
            "calibration_fraction": float(self.calibration_fraction),
            "standardize": bool(self.standardize),
        }
        regressor["params"]["checkpoint"] = None
        names = getattr(self, "feature_names_in_", None)
        config = {
            "own": own,
            "regressor": regressor,
            "listed": self._listed,
            "forms": [form.describe() for form in self._forms],
            "feature_names_in": None if names is None else names.tolist(),
        }
        tensors = {f"regressor.{name}": value for name, value in tensors.items()}
        return config, tensors | {name: getattr(self, name) for name in _ARRAYS}

    @classmethod
    def _from_tensors(cls, config: dict[str, Any], tensors: dict[str, np.ndarray]) -> Self:
        """Return the forecaster that `_to_tensors` took apart.

        Raises
        ------
        KeyError, TypeError, ValueError
            If anything does not fit.
        """
        prefix = "regressor."
        parts = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
        regressor = RNNRegressor._from_tensors(config["regressor"], parts)
        nowhere = {"checkpoint": None}  # a file from anyone must not say where to write
        regressor.set_params(**nowhere)
        shared = regressor.get_params(deep=False)
        shared = {name: shared[name] for name in cls._get_param_names() if name in shared}
        model = cls(**shared | config["own"] | nowhere)
        model.regressor_, model._listed = regressor, validation.flag("listed", config["listed"])
        checks.settings(model.get_params(deep=False))
        if model.difference > tensors["_values"].shape[-1]:  # before a list of lags is made
            raise ValueError(f"difference must fit what is kept, got {model.difference}")
        model._plan = plan = model._checked_plan()
        for name, value in regressor._made_with().items():
            if getattr(model, name) != value:
                raise ValueError(f"{name} must be that of the network, {value!r}")
        model._forms = [Form.build(form) for form in config["forms"]]
        count, k, w, lost = len(model._forms), plan.at_once, plan.window, sum(plan.lags)
        if count < 1 or (count > 1 and not model._listed):
            raise ValueError(f"forms must be one, or as many as listed, got {count}")
        inputs = regressor.rnn_.input_size
        model.n_features_in_ = features = (inputs - 1) // 2
        if inputs % 2 == 0 or regressor.head_.out_features != k or (features and w < k):
            raise ValueError(f"{regressor.rnn_!r} and {regressor.head_!r} must fit its forecaster")
        rest = {name: value for name, value in tensors.items() if not name.startswith(prefix)}
        if set(rest) != set(_ARRAYS):
            raise ValueError(f"the arrays must be {', '.join(_ARRAYS)}, got {', '.join(rest)}")
        shapes = {
            "_values": (count, w + lost),
            "_x": (count, w, features),
            "y_mean_": (count,),
            "y_scale_": (count,),
            "x_mean_": (features,),
            "x_scale_": (features,),
            "residuals_": (len(rest["residuals_"]), plan.horizon),
        }
        for name, shape in shapes.items():
            array = validation.shaped(name, rest[name], shape, np.dtype(np.float64))
            setattr(model, name, checks.kept_array(name, array).copy())
        names = config["feature_names_in"]
        if names is not None:
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise ValueError("feature_names_in must be a list of strings")
            if len(names) != features:
                raise ValueError(f"feature_names_in must be {features} names")
            model.feature_names_in_ = np.array(names, object)
        return model


def _measured(values: np.ndarray, seen: int, lags: list[int]) -> tuple[float, float]:
    """Return mean and scale of the differences of a series of which the first values are seen.

    The unit of a series that changes only after them has to come from there; the network, which
    sees a constant, learns nothing from it.
    """
    rounding = ROUNDING * 2 ** min(len(lags), 50) * np.abs(values).max()
    mean, scale = spread(difference(values[:seen], lags)[:, None], rounding)
    if scale[0] == 0:
        scale = spread(difference(values, lags)[:, None], rounding)[1]
    return float(mean[0]), float(scale[0])


_ARRAYS = ("_values", "_x", "y_mean_", "y_scale_", "x_mean_", "x_scale_", "residuals_")


@dataclass(frozen=True)
class _Plan:
    """What the network reads and forecasts: parameters, as they were when it was fitted."""

    window: int
    horizon: int
    season: int | None
    difference: int
    strategy: str

    @property
    def lags(self) -> list[int]:
        """Lags of the differences, in their order."""
        return ([] if self.season is None else [self.season]) + [1] * self.difference

    @property
    def at_once(self) -> int:
        """Steps that are forecast at once."""
        return self.horizon if self.strategy == "direct" else 1


@dataclass(frozen=True)
class _Parts:
    """What the values of a series are for, from its beginning to its end.

    Attributes
    ----------
    known : int
        Values that the fit may use; those after them are held back for intervals.
    windows : int
        Of known values.
    trained : int
        The first of the windows, which are trained on.
    validated_from : int
        Windows from this one on are for early stopping. Those between have targets in common
        with the first of these.
    seen : int
        Values in the windows that are trained on.
    """

    known: int
    windows: int
    trained: int
    validated_from: int
    seen: int
