"""RNNClassifier and RNNRegressor as aeon has classifiers and regressors.

    X of aeon, (n_cases, n_channels, n_timepoints)  ->  ours, (n_samples, n_timesteps, n_features)

Each is a thin layer around the estimator of the same name in `numba_rnn.estimators`, with its
parameters, which is `model_` after `fit`. They go wherever aeon's own do: ensembles, pipelines,
benchmarking. They need aeon: ``pip install aeon``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import adapters, estimators
from .extras import need

need("aeon", "aeon", "numba_rnn.aeon")

from aeon.classification.base import BaseClassifier  # noqa: E402
from aeon.regression.base import BaseRegressor  # noqa: E402

__all__ = ["RNNClassifier", "RNNRegressor"]

_TAGS = {
    "capability:multivariate": True,
    "capability:unequal_length": True,
    "algorithm_type": "deeplearning",
    "X_inner_type": ["np-list", "numpy3D"],
}
_FORGOTTEN = ("warm_start",)  # aeon's fit begins anew whenever it is called


def _tagged(estimator: Any) -> None:
    """Say what depends on the parameters."""
    estimator.set_tags(**{"capability:missing_values": estimator.missing == "forward"})


class RNNClassifier(BaseClassifier):
    """`numba_rnn.estimators.RNNClassifier` as a classifier of aeon.

    It takes the parameters of that class, but for `warm_start`, and collections of aeon: arrays
    (n_cases, n_channels, n_timepoints) and (n_cases, n_timepoints), or lists of arrays (n_channels,
    n_timepoints_i). With missing="forward" values may be missing.

    Attributes
    ----------
    model_ : numba_rnn.estimators.RNNClassifier
        What was fitted, which takes (n_timesteps, n_features) of each series.
    classes_ : ndarray, shape (n_classes,)
    n_classes_ : int

    See Also
    --------
    numba_rnn.estimators.RNNClassifier : Parameters, what they do, and their defaults.

    Examples
    --------
    >>> import numpy as np
    >>> from numba_rnn.aeon import RNNClassifier
    >>> X = np.random.default_rng(0).normal(size=(60, 2, 12))  # 60 cases of 2 channels
    >>> y = np.where(X[:, 0].sum(axis=1) > 0, "up", "down")
    >>> model = RNNClassifier(max_iter=30, n_iter_no_change=np.inf, random_state=0).fit(X, y)
    >>> bool(model.score(X, y) > 0.9)
    True
    """

    _tags = _TAGS

    __init__ = adapters.constructor(
        estimators.RNNClassifier, BaseClassifier, _FORGOTTEN, after=_tagged
    )

    def _fit(self, X: Any, y: np.ndarray) -> RNNClassifier:
        model = adapters.of(estimators.RNNClassifier, self.get_params(deep=False))
        self.model_ = model.fit(adapters.time_first(X), y)
        return self

    def _predict(self, X: Any) -> np.ndarray:
        return self.model_.predict(adapters.time_first(X))

    def _predict_proba(self, X: Any) -> np.ndarray:
        return self.model_.predict_proba(adapters.time_first(X))

    @classmethod
    def _get_test_params(cls, parameter_set: str = "default") -> dict[str, Any]:
        return dict(adapters.TINY)


class RNNRegressor(BaseRegressor):
    """`numba_rnn.estimators.RNNRegressor` as a regressor of aeon.

    It takes the parameters of that class, but for `warm_start`, and collections of aeon: arrays
    (n_cases, n_channels, n_timepoints) and (n_cases, n_timepoints), or lists of arrays (n_channels,
    n_timepoints_i). With missing="forward" values may be missing.

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
    >>> from numba_rnn.aeon import RNNRegressor
    >>> X = np.random.default_rng(0).normal(size=(60, 2, 12))  # 60 cases of 2 channels
    >>> model = RNNRegressor(max_iter=30, n_iter_no_change=np.inf, random_state=0)
    >>> model.fit(X, X[:, 0].sum(axis=1)).predict(X[:3]).shape
    (3,)
    """

    _tags = _TAGS

    __init__ = adapters.constructor(
        estimators.RNNRegressor, BaseRegressor, _FORGOTTEN, after=_tagged
    )

    def _fit(self, X: Any, y: np.ndarray) -> RNNRegressor:
        model = adapters.of(estimators.RNNRegressor, self.get_params(deep=False))
        self.model_ = model.fit(adapters.time_first(X), y)
        return self

    def _predict(self, X: Any) -> np.ndarray:
        return self.model_.predict(adapters.time_first(X))

    @classmethod
    def _get_test_params(cls, parameter_set: str = "default") -> dict[str, Any]:
        return dict(adapters.TINY)
