"""Forecasters to and from what a file holds: JSON's types, and arrays by name."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .. import validation
from . import checks, component, ridge
from .gaps import Gaps
from .plan import Plan
from .series import Form
from .supervised import RNNRegressor

if TYPE_CHECKING:
    from .forecasting import RNNForecaster

ARRAYS = (
    "_values", "_x", "_read", "_static", "y_mean_", "y_scale_", "level_mean_", "level_scale_",
    "x_mean_", "x_scale_", "x_past_mean_", "x_past_scale_", "static_mean_", "static_scale_",
    "residuals_", "coefficients_", "_deviations",
)  # fmt: skip
ASKED = ("standardize", "early_stopping", "patch")  # that the fitted regressor has otherwise
PREFIX = "regressor."


def to_tensors(model: RNNForecaster) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return a fitted forecaster as JSON's types, and arrays by name, without a checkpoint."""
    check_is_fitted(model)
    regressor, tensors = model.regressor_._to_tensors()
    own = {name: _plain(value) for name, value in model._given.items() if name != "checkpoint"}
    own["random_state"] = regressor["params"]["random_state"]
    config = {
        "own": own,
        # of the regressor that was given, where one was, what the fitted one doesn't say
        "asked": None
        if model._given["regressor"] is None
        else {name: _plain(getattr(model._asked, name)) for name in ASKED},
        "plan": asdict(model._plan),
        "network_share": model.network_share_,
        "naive_share": model.naive_share_,
        "changes": model._changes,
        "regressor": regressor,
        "listed": model._listed,
        "wide": model._wide,
        "targets": model._targets,
        "forms": [form.describe() for form in model._forms],
        "names": model._names,
        "gaps": None if model._gaps is None else model._gaps.describe(),
    }
    del own["regressor"]
    tensors = {PREFIX + name: value for name, value in tensors.items()}
    return config, tensors | {name: getattr(model, name) for name in ARRAYS}


def from_tensors(
    cls: type[RNNForecaster], config: dict[str, Any], tensors: dict[str, np.ndarray]
) -> RNNForecaster:
    """Return the forecaster that `to_tensors` took apart.

    Raises
    ------
    KeyError, TypeError, ValueError
        If anything does not fit.
    """
    parts = {k[len(PREFIX) :]: v for k, v in tensors.items() if k.startswith(PREFIX)}
    regressor = RNNRegressor._from_tensors(config["regressor"], parts)
    # a file from anyone must not say where to write
    own = {name: value for name, value in config["own"].items() if name != "checkpoint"}
    given = set(cls._get_param_names()) - {"regressor", "checkpoint"}
    if set(own) != given:
        raise ValueError(f"own must be {', '.join(sorted(given))}, got {', '.join(own)}")
    if not isinstance(own["random_state"], (int, type(None))):
        raise ValueError(f"random_state must be None or an int, got {own['random_state']!r}")
    model = cls(**own, regressor=_asked(config["asked"], regressor))
    model._asked = component.given(model.regressor)
    model._given = model.get_params(deep=False)
    _check_regressor(model, regressor)
    fraction = model.calibration_fraction
    validation.real("calibration_fraction", fraction, 0, 1, open_high=True)
    model.regressor_, model._listed = regressor, validation.flag("listed", config["listed"])
    model._plan = plan = _plan_of(config["plan"], model._given, tensors["_values"].shape[-1])
    for name in ("network_share", "naive_share", "changes"):
        value = validation.real(name, config[name], 0, open_high=True)
        setattr(model, "_changes" if name == "changes" else name + "_", value)
    if (total := model.network_share_ + model.naive_share_) > 1 + 1e-9:
        raise ValueError(f"network_share and naive_share must be at most 1, got {total}")
    model._forms = [Form.build(form) for form in config["forms"]]
    model._wide = validation.flag("wide", config["wide"])
    model._targets = K = validation.positive_int("targets", config["targets"])
    count, k, w = len(model._forms), plan.at_once, plan.window
    if count < 1 or count % K or (count > K and not model._listed) or (K > 1 and not model._wide):
        raise ValueError(f"forms must be {K} for each series, got {count}")
    if regressor._form.steps or regressor._form.flat or regressor._table:
        raise ValueError("the regressor must be one that reads windows")
    rest = {name: value for name, value in tensors.items() if not name.startswith(PREFIX)}
    if set(rest) != set(ARRAYS):
        raise ValueError(f"the arrays must be {', '.join(ARRAYS)}, got {', '.join(rest)}")
    lines = len(ridge.views(plan.season)) if plan.linear else 0
    features, past, fixed = (rest[f"{name}_mean_"].size for name in ("x", "x_past", "static"))
    model.n_features_in_ = features
    model._gaps = gaps = Gaps.build(config["gaps"], K, features, past)
    if (gaps is None) != (model.missing == "error"):
        raise ValueError(f"gaps must go with missing={model.missing!r}")
    of_x, of_read = features, past  # with the indicators
    if gaps is not None:
        of_x += len(gaps.x.marked)
        of_read += len(gaps.y) + len(gaps.past.marked)
    inputs = K + of_read + fixed + 2 * of_x
    if len(regressor.x_mean_) != inputs or len(regressor.y_mean_) != k * K or (features and w < k):
        raise ValueError(f"{regressor.rnn_!r} and {regressor.head_!r} must fit its forecaster")
    shapes = {
        "_values": (count, plan.tail),
        "_x": (count, plan.tail, of_x),
        "_read": (count, plan.tail, of_read),
        "_static": (count, fixed),
        "residuals_": (len(rest["residuals_"]), plan.horizon),
        "_deviations": (len(rest["residuals_"]), plan.horizon, len(regressor.quantiles_ or ())),
        "coefficients_": (lines, 1 + count, w + 2 * (of_x + fixed) + 1),
    }
    for name, size in (
        ("y", count), ("level", count), ("x", features), ("x_past", past), ("static", fixed)
    ):  # fmt: skip
        shapes |= {f"{name}_mean_": (size,), f"{name}_scale_": (size,)}
    for name, shape in shapes.items():
        array = validation.shaped(name, rest[name], shape, np.dtype(np.float64))
        if name == "residuals_" and gaps is not None:  # of values that are missing
            checks.kept_array(name, array[~np.isnan(array)])
        else:
            checks.kept_array(name, array)
        setattr(model, name, array.copy())
    model._names = {"y": None} | config["names"]  # which files of before don't have
    sizes = {"y": K, "X": features, "X_past": past, "static": fixed}
    if set(model._names) != set(sizes):
        raise ValueError(f"names must be those of {', '.join(sizes)}")
    for name, own in model._names.items():
        if own is None:
            continue
        if not isinstance(own, list) or not all(isinstance(label, str) for label in own):
            raise ValueError(f"names of {name} must be a list of strings")
        if len(own) != sizes[name]:
            raise ValueError(f"names of {name} must be {sizes[name]}")
    if model._names["X"] is not None:
        model.feature_names_in_ = np.array(model._names["X"], object)
    return model


def _asked(config: dict[str, Any] | None, regressor: RNNRegressor) -> RNNRegressor | None:
    """Return the regressor that was given to the forecaster."""
    if config is None:
        return None
    if set(config) != set(ASKED):
        raise ValueError(f"asked must be {', '.join(ASKED)}, got {', '.join(config)}")
    return RNNRegressor(**regressor.get_params(deep=False) | component.OWNED | config)


def _check_regressor(model: RNNForecaster, regressor: RNNRegressor) -> None:
    """Check that a fitted regressor is one that the forecaster would have fitted."""
    expected = component.to_fit(model._asked, model.get_params(deep=False))
    for name, value in regressor.get_params(deep=False).items():
        # whether it stops early lies with its windows too, and dtype with the solver
        if name in ("early_stopping", "checkpoint"):
            continue
        if value != expected[name]:
            raise ValueError(
                f"{name} of the regressor must be {expected[name]!r}, as its forecaster has it, "
                f"got {value!r}"
            )


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _plan_of(config: dict[str, Any], params: dict[str, Any], kept: int) -> Plan:
    """Return the plan in a file, which must be one that the parameters lead to."""
    plan = Plan(**{"missing": params["missing"]} | config)  # which files of before don't have
    for name in ("window", "horizon", "season"):
        validation.positive_int(name, getattr(plan, name))
    for name in ("difference_season", "linear"):
        validation.flag(name, getattr(plan, name))
    validation.choice("strategy", plan.strategy, ("recursive", "direct"))
    if type(plan.difference) is not int or not 0 <= plan.difference <= kept:
        raise ValueError(f"difference must fit what is kept, got {plan.difference!r}")
    for name, value in asdict(plan).items():
        given = params[name]
        if given is not None and given != "auto" and given != value:
            raise ValueError(f"{name} must be that of the plan, {value!r}, got {given!r}")
    return plan
