"""RNNForecaster, RNNClassifier and RNNRegressor as sktime has forecasters and the like.

    X of sktime, (instances, channels, time)  ->  ours, (n_samples, n_timesteps, n_features)

Each is a thin layer around the estimator of the same name in `numba_rnn.estimators`, with its
parameters, which is `model_` after `fit`. They go wherever sktime's own do: tuning, evaluation,
pipelines, reduction to many series. They need sktime: ``pip install sktime``.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from sklearn.base import clone

from . import adapters, estimators
from .extras import need

need("sktime", "sktime", "numba_rnn.sktime")

from sktime.classification.base import BaseClassifier  # noqa: E402
from sktime.forecasting.base import BaseForecaster, ForecastingHorizon  # noqa: E402
from sktime.regression.base import BaseRegressor  # noqa: E402

__all__ = ["RNNClassifier", "RNNForecaster", "RNNRegressor"]

_ABOUT = {
    "authors": ["The numba_rnn developers"],
    "maintainers": ["The numba_rnn developers"],
    "capability:random_state": True,
    "property:randomness": "derandomized",
}
_COLLECTIONS = _ABOUT | {
    "X_inner_mtype": ["df-list", "numpy3D"],
    "y_inner_mtype": "numpy1D",
    "capability:multivariate": True,
    "capability:unequal_length": True,
    "capability:categorical_in_X": False,
}
_FORGOTTEN = ("warm_start",)  # sktime's fit begins anew whenever it is called


def _tagged(estimator: Any) -> None:
    """Say what depends on the parameters."""
    forward = getattr(estimator, "missing", "error") == "forward"
    estimator.set_tags(**{"capability:missing_values": forward})


def _series(X: Any) -> list[Any]:
    """Return series as ours are: frames (time, channels) as they are, arrays turned."""
    return X if isinstance(X, list) else adapters.time_first(X)


class RNNClassifier(BaseClassifier):
    """`numba_rnn.estimators.RNNClassifier` as a classifier of sktime.

    It takes the parameters of that class, but for `warm_start`, and panels of sktime: arrays
    (instances, channels, time), frames with an index of instances and time, and whatever else
    sktime converts. With missing="forward" values may be missing.

    Attributes
    ----------
    model_ : numba_rnn.estimators.RNNClassifier
        What was fitted, which takes (n_timesteps, n_features) of each series.

    See Also
    --------
    numba_rnn.estimators.RNNClassifier : Parameters, what they do, and their defaults.

    Examples
    --------
    >>> import numpy as np
    >>> from numba_rnn.sktime import RNNClassifier
    >>> X = np.random.default_rng(0).normal(size=(60, 2, 12))  # 60 instances of 2 channels
    >>> y = np.where(X[:, 0].sum(axis=1) > 0, "up", "down")
    >>> model = RNNClassifier(max_iter=30, n_iter_no_change=np.inf, random_state=0).fit(X, y)
    >>> bool(model.score(X, y) > 0.9)
    True
    """

    _tags = _COLLECTIONS | {"capability:predict_proba": True, "capability:class_weight": True}

    __init__ = adapters.constructor(
        estimators.RNNClassifier, BaseClassifier, _FORGOTTEN, after=_tagged
    )

    def _fit(self, X: Any, y: np.ndarray) -> Self:
        model = adapters.of(estimators.RNNClassifier, self.get_params(deep=False))
        self.model_ = model.fit(_series(X), y)
        return self

    def _predict(self, X: Any) -> np.ndarray:
        return self.model_.predict(_series(X))

    def _predict_proba(self, X: Any) -> np.ndarray:
        return self.model_.predict_proba(_series(X))

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Return parameters for sktime's checks."""
        return [dict(adapters.TINY), adapters.TINY | {"n_members": 2, "patch": None}]


class RNNRegressor(BaseRegressor):
    """`numba_rnn.estimators.RNNRegressor` as a regressor of sktime.

    It takes the parameters of that class, but for `warm_start`, and panels of sktime: arrays
    (instances, channels, time), frames with an index of instances and time, and whatever else
    sktime converts. With missing="forward" values may be missing.

    Attributes
    ----------
    model_ : numba_rnn.estimators.RNNRegressor
        What was fitted, which takes (n_timesteps, n_features) of each series.

    See Also
    --------
    numba_rnn.estimators.RNNRegressor : Parameters, what they do, and their defaults.

    Examples
    --------
    >>> import numpy as np
    >>> from numba_rnn.sktime import RNNRegressor
    >>> X = np.random.default_rng(0).normal(size=(60, 2, 12))  # 60 instances of 2 channels
    >>> model = RNNRegressor(max_iter=30, n_iter_no_change=np.inf, random_state=0)
    >>> model.fit(X, X[:, 0].sum(axis=1)).predict(X[:3]).shape
    (3,)
    """

    _tags = _COLLECTIONS

    __init__ = adapters.constructor(
        estimators.RNNRegressor, BaseRegressor, _FORGOTTEN, after=_tagged
    )

    def _fit(self, X: Any, y: np.ndarray) -> Self:
        model = adapters.of(estimators.RNNRegressor, self.get_params(deep=False))
        self.model_ = model.fit(_series(X), y)
        return self

    def _predict(self, X: Any) -> np.ndarray:
        return self.model_.predict(_series(X))

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Return parameters for sktime's checks."""
        return [dict(adapters.TINY), adapters.TINY | {"n_members": 2, "patch": None}]


def _begun(estimator: Any) -> None:
    """Say that fit must be told how far ahead, where no parameter does."""
    _tagged(estimator)
    estimator._y = estimator._X = None  # what sktime would remember, where it is told to
    estimator.set_tags(**{"requires-fh-in-fit": estimator.horizon is None})


class RNNForecaster(BaseForecaster):
    """`numba_rnn.estimators.RNNForecaster` as a forecaster of sktime.

    It takes the parameters of that class, but for `warm_start`. `horizon` may be left out where
    `fit` is told the steps ahead: it is then the last of them. Intervals and quantiles reach as far
    as `horizon`. X is what is known beside the series, and of the steps ahead, all up to the last.
    `update` refits, or with update_params=False follows the new values and learns nothing.

    Attributes
    ----------
    model_ : numba_rnn.estimators.RNNForecaster
        What was fitted.

    See Also
    --------
    numba_rnn.estimators.RNNForecaster : Parameters, what they do, and their defaults.

    Examples
    --------
    >>> from sktime.datasets import load_airline
    >>> from numba_rnn.sktime import RNNForecaster
    >>> model = RNNForecaster(random_state=0).fit(load_airline(), fh=range(1, 13))
    >>> model.predict().index[0]
    Period('1961-01', 'M')
    >>> model.predict_interval(coverage=0.8).shape
    (12, 2)
    """

    _tags = _ABOUT | {
        "y_inner_mtype": "pd.Series",
        "X_inner_mtype": "pd.DataFrame",
        "capability:multivariate": False,
        "capability:exogenous": True,
        "capability:insample": False,
        "capability:pred_int": True,
        "capability:pred_int:insample": False,
        "capability:non_contiguous_X": False,
        "capability:categorical_in_X": False,
        "capability:update": True,
        "requires-fh-in-fit": True,
        "X-y-must-have-same-index": True,
    }
    _config: ClassVar[dict[str, Any]] = {"remember_data": False}  # `_known` does

    __init__ = adapters.constructor(
        estimators.RNNForecaster, BaseForecaster, _FORGOTTEN, after=_begun, horizon=None
    )

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
                params = {"regressor": estimators.window_regressor()} | params
        return super().set_params(**params)

    def _fit(self, y: pd.Series, X: pd.DataFrame | None, fh: Any) -> Self:
        params = self.get_params(deep=False)
        if params["horizon"] is None:
            params["horizon"] = int(fh.to_relative(self.cutoff).to_numpy().max())
        if params["regressor"] is not None:
            # the forecaster's is meant, but sktime's tools give one to whatever could have one
            params["regressor"] = clone(params["regressor"]).set_params(random_state=None)
        self._refit(adapters.of(estimators.RNNForecaster, params), y, X)
        return self

    def _refit(self, model: Any, y: pd.Series, X: pd.DataFrame | None) -> None:
        self.model_, self._known = model.fit(y, X), (y, X)

    def _ahead(self, fh: Any, X: pd.DataFrame | None) -> tuple[int, np.ndarray, Any]:
        """Return how many steps are forecast, which of them are asked for, and X of all."""
        relative = fh.to_relative(self.cutoff).to_numpy().astype(int)
        steps = int(relative.max())
        if X is not None:
            index = ForecastingHorizon(range(1, steps + 1)).to_absolute_index(self.cutoff)
            X = X.loc[X.index.isin(index)]
        return steps, relative - 1, X

    def _predict(self, fh: Any, X: pd.DataFrame | None) -> pd.Series:
        steps, places, X = self._ahead(fh, X)
        values = np.asarray(self.model_.predict(steps, X))[places]
        return pd.Series(values, fh.to_absolute_index(self.cutoff), name=self._known[0].name)

    def _predict_quantiles(
        self, fh: Any, X: pd.DataFrame | None, alpha: list[float]
    ) -> pd.DataFrame:
        steps, places, X = self._ahead(fh, X)
        levels, which = np.unique(alpha, return_inverse=True)
        found = self.model_.predict_quantiles(steps, X, quantiles=levels.tolist())
        columns = pd.MultiIndex.from_product([self._names(), alpha])
        index = fh.to_absolute_index(self.cutoff)
        return pd.DataFrame(np.asarray(found)[places][:, which], index, columns)

    def _names(self) -> list[Any]:
        return list(self._get_varnames())

    def _update(
        self, y: pd.Series, X: pd.DataFrame | None = None, update_params: bool = True
    ) -> Self:
        try:
            self._learn_or_follow(y, X, update_params)
        finally:  # sktime has set the cutoff to the end of y, whether or not that is the end
            self._set_cutoff_from_y(self._known[0])
        return self

    def _learn_or_follow(self, y: pd.Series, X: pd.DataFrame | None, update_params: bool) -> None:
        known, beside = self._known
        y = y[y.index > known.index[-1]]  # what was seen may come again
        if len(y) == 0:
            return
        known = pd.concat([known, y])
        if X is not None:
            X = X.loc[y.index]
            beside = pd.concat([beside, X])
        if update_params:
            self._refit(clone(self.model_), known, beside)
        else:
            self.model_.update(y, X)
            self._known = known, beside

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Return parameters for sktime's checks."""
        tiny = dict(adapters.TINY)
        regressor = estimators.window_regressor(
            hidden_size=tiny["hidden_size"], max_iter=tiny["max_iter"], n_iter_no_change=np.inf
        )
        quick = {"regressor": regressor, "window": 3, "random_state": 0}
        return [quick, quick | {"linear": False, "strategy": "recursive", "season": 1}]
