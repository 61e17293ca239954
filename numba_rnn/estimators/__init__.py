"""Estimators with scikit-learn's conventions for whole series: fit, predict, score.

    >>> import numpy as np
    >>> from numba_rnn.estimators import RNNRegressor
    >>> x = np.random.default_rng(0).normal(size=(100, 10, 2))  # 100 series of 10 steps
    >>> model = RNNRegressor(16, n_iter_no_change=np.inf, max_iter=20, random_state=0)
    >>> model.fit(x, x[:, -3:, 0].sum(axis=1)).predict(x[:5]).shape
    (5,)

They need scikit-learn: ``pip install scikit-learn``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ..extras import need

if TYPE_CHECKING:
    from .backtesting import Backtest
    from .component import window_regressor
    from .forecasting import RNNForecaster
    from .importance import permutation_importance
    from .long_frames import from_long, to_long
    from .supervised import EXPECTED_FAILED_CHECKS, RNNClassifier, RNNRegressor

need("sklearn", "sklearn", "numba_rnn.estimators")

_NAMES = {
    "Backtest": "backtesting",
    "EXPECTED_FAILED_CHECKS": "supervised",
    "RNNClassifier": "supervised",
    "RNNForecaster": "forecasting",
    "RNNRegressor": "supervised",
    "from_long": "long_frames",
    "permutation_importance": "importance",
    "to_long": "long_frames",
    "window_regressor": "component",
}

__all__ = [
    "EXPECTED_FAILED_CHECKS", "Backtest", "RNNClassifier", "RNNForecaster", "RNNRegressor",
    "from_long", "permutation_importance", "to_long", "window_regressor",
]  # fmt: skip


def _imported(name: str) -> Any:
    if name in _NAMES:
        value = getattr(importlib.import_module(f"{__name__}.{_NAMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if not TYPE_CHECKING:  # a type checker would take every name for one of ours
    __getattr__ = _imported


def __dir__() -> list[str]:
    names = list(globals())  # at once: another thread may import a name meanwhile
    return sorted([*__all__, *(name for name in names if name.startswith("__"))])
