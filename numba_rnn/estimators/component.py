"""The regressor that is a part of a forecaster: its defaults, and what it may not say itself."""

from __future__ import annotations

from typing import Any

from sklearn.base import clone

from .. import validation
from . import checks, missing
from .supervised import RNNRegressor

# What forecaster and regressor both have is the forecaster's to say.
OWNED: dict[str, Any] = {
    "missing": "error", "warm_start": False, "random_state": None, "verbose": 0, "checkpoint": None,
}  # fmt: skip


def window_regressor(**changes: Any) -> RNNRegressor:
    """Return the regressor that `RNNForecaster` has by default, with some changes.

    32 units that read in one direction, of which the last state counts, without patches; batches of
    32 windows, a learning rate of 1e-3, and early stopping by the values held back from training.

    Parameters
    ----------
    **changes
        Parameters of `RNNRegressor`, by keyword.

    Returns
    -------
    RNNRegressor
        Not fitted. It is one as any other, but that it has ``validation_fraction=None`` with early
        stopping: without a forecaster it must be given validation_data.

    Raises
    ------
    TypeError
        If `RNNRegressor` has no such parameter.

    Examples
    --------
    >>> from numba_rnn.estimators import RNNForecaster, window_regressor
    >>> model = RNNForecaster(6, regressor=window_regressor(hidden_size=64, n_members=3))
    >>> model.set_params(regressor__hidden_size=16).regressor.hidden_size
    16
    """
    defaults: dict[str, Any] = {
        "hidden_size": 32, "bidirectional": False, "pooling": "last", "batch_size": 32,
        "learning_rate_init": 1e-3, "early_stopping": True, "validation_fraction": None,
        "patch": None,
    }  # fmt: skip
    return RNNRegressor(**defaults | changes)


def given(regressor: Any) -> RNNRegressor:
    """Return the regressor of a forecaster, or the default one, checked.

    Raises
    ------
    TypeError, ValueError
        If it is no RNNRegressor, a parameter of it is not as described, or one is set that is the
        forecaster's.
    """
    if regressor is None:
        return window_regressor()
    if not isinstance(regressor, RNNRegressor):
        raise TypeError(
            "regressor must be an RNNRegressor, as window_regressor() returns it, got "
            + validation.describe(regressor)
        )
    params = regressor.get_params(deep=False)
    for name, default in OWNED.items():
        value = params[name]
        if value is not default and not (isinstance(value, (bool, int, str)) and value == default):
            raise ValueError(
                f"regressor must leave {name} at {default!r}, got {validation.describe(value)}: "
                f"give {name} to the forecaster, which hands it on"
            )
    checks.settings(params)
    return regressor


def gaps(forecaster: Any) -> bool:
    """Whether missing values are filled.

    Raises
    ------
    ValueError
        If the parameter `missing` is none of its choices.
    """
    return validation.choice("missing", forecaster.missing, missing.CHOICES) == "forward"


def to_fit(regressor: RNNRegressor, own: dict[str, Any]) -> dict[str, Any]:
    """Return parameters with which windows, which are scaled, are fitted.

    Parameters
    ----------
    regressor : RNNRegressor
        As given.
    own : dict
        Parameters of the forecaster.
    """
    params = clone(regressor).get_params(deep=False) | {name: own[name] for name in OWNED}
    validation.flag("warm_start", own["warm_start"])
    patch = params["patch"]
    automatic = isinstance(patch, str) and patch == "auto"
    params |= {"standardize": False, "patch": None if automatic else patch}
    checks.settings(params)
    return params
