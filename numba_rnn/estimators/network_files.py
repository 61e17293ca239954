"""Classifiers and regressors to and from what a file holds: JSON's types, and arrays by name."""

from __future__ import annotations

import copy
import dataclasses
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .. import validation
from ..export import configuration
from ..linear import Linear
from ..rnn import RNN
from . import checks
from .checks import TargetForm
from .missing import Filling
from .training import History

if TYPE_CHECKING:
    from .base import RNNEstimator

Kind = TypeVar("Kind", bound="RNNEstimator")

# What a file says of a network from before there were patches and members.
ADDED: dict[str, Any] = {"patch": [1, 1], "members": [], "validation_losses": None}


def to_tensors(model: RNNEstimator) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return a fitted estimator as JSON's types, and arrays by name.

    The state of the optimiser is not part of it, nor a random_state that is no number, nor the
    checkpoint: a file from elsewhere must not say what the next fit writes over. Parameters of
    the network are those that it was made with, whatever was set since then.
    """
    check_is_fitted(model)
    params = plain_params(model) | {"checkpoint": None} | _made_with(model)
    params["n_members"] = len(model.members_)
    params["missing"] = "error" if model.filling_ is None else "forward"
    if not isinstance(params["random_state"], (int, type(None))):
        params["random_state"] = None
    config = {
        "params": params,
        "rnn": configuration.describe(model.rnn_),
        "head": configuration.describe(model.head_),
        "target": dataclasses.asdict(model._form),
        "table": model._table,
        "n_features_in": model.n_features_in_,
        "feature_names_in": _listed(getattr(model, "feature_names_in_", None)),
        "loss_curve": model.loss_curve_,
        "validation_scores": model.validation_scores_,
        "validation_losses": model.validation_losses_,
        "n_iter": model.n_iter_,
        "best_loss": model.best_loss_,
        "patch": [model.patch_size_, model.patch_stride_],
        "members": [
            {name: getattr(history, name) for name in checks.KEPT_OF_MEMBERS}
            for history in model._histories[1:]
        ],
    }
    if model.filling_ is not None:
        config["filling"] = model.filling_.describe()
    tensors = {name: getattr(model, name) for name in model._arrays}
    for prefix, layer in (("rnn.", model.rnn_), ("head.", model.head_)):
        tensors |= {prefix + name: value for name, value in layer.state_dict().items()}
    if len(model.members_) > 1:
        flat = [[layer.flat_parameters for layer in member] for member in model.members_[1:]]
        tensors["members.weights"] = np.stack([np.concatenate(member) for member in flat])
    return config, tensors


def _made_with(model: RNNEstimator) -> dict[str, Any]:
    """Parameters that the network shows."""
    names = ("hidden_size", "num_layers", "nonlinearity", "bidirectional")
    shown = {name: getattr(model.rnn_, name) for name in names}
    if model.bidirectional == "auto" and model._both_directions() == shown["bidirectional"]:
        shown["bidirectional"] = "auto"
    if model.solver != "lbfgs":  # which computes in float64 whatever dtype says
        shown["dtype"] = model.rnn_.dtype.name
    return shown


def from_tensors(cls: type[Kind], config: dict[str, Any], tensors: dict[str, np.ndarray]) -> Kind:
    """Return the estimator that `to_tensors` took apart.

    Raises
    ------
    KeyError, TypeError, ValueError
        If anything does not fit.
    """
    if not any(name in config for name in ADDED):
        config = config | ADDED
    model = cls(**checks.BEFORE | config["params"])
    if model.checkpoint is not None:
        raise ValueError(f"checkpoint must be None in a file, got {model.checkpoint!r}")
    checks.settings(model.get_params(deep=False))
    for kind, name in ((RNN, "rnn"), (Linear, "head")):
        prefix = f"{name}."
        own = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
        setattr(model, f"{name}_", configuration.build(kind, config[name], own))
    rnn, head = model.rnn_, model.head_
    tensors = dict(tensors)
    _put_members_together(model, tensors.pop("members.weights", None), config["members"])
    seed = model.random_state
    if seed is not None and type(seed) is not int:
        raise ValueError(f"random_state must be None or an int in a file, got {seed!r}")
    rest = {k: v for k, v in tensors.items() if not k.startswith(("rnn.", "head."))}
    if set(rest) != set(cls._arrays):
        raise ValueError(f"the arrays must be {', '.join(cls._arrays)}, got {', '.join(rest)}")
    model._table = validation.flag("table", config["table"])
    model._form = TargetForm(**config["target"])
    for name, value in dataclasses.asdict(model._form).items():
        validation.flag(f"target[{name!r}]", value)
    if model._form.listed and not model._form.steps:
        raise ValueError("target must not be listed without one for every step")
    model.n_features_in_ = validation.positive_int("n_features_in", config["n_features_in"])
    features = 1 if model._table else model.n_features_in_
    model.filling_ = Filling.build(config.get("filling"), features)
    if (model.filling_ is None) != (model.missing == "error"):
        raise ValueError(f"filling must go with missing={model.missing!r}")
    for name, value in _made_with(model).items():
        if getattr(model, name) != value:
            raise ValueError(
                f"{name} must be that of the network, {value!r}, got {getattr(model, name)!r}"
            )
    names = config["feature_names_in"]
    if names is not None:
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError("feature_names_in must be a list of strings")
        if len(names) != model.n_features_in_:
            raise ValueError(f"feature_names_in must be {model.n_features_in_} names")
        model.feature_names_in_ = np.array(names, object)
    patch = config["patch"]
    if not isinstance(patch, list) or len(patch) != 2:
        raise ValueError(f"patch must be a size and a stride, got {patch!r}")
    size, stride = (validation.positive_int("patch", value) for value in patch)
    model.patch_size_, model.patch_stride_ = size, stride
    if stride > size or (model._form.steps and size > 1):
        raise ValueError(f"patch must be a size and a stride of no more, got {patch!r}")
    shapes = dict.fromkeys(("x_mean_", "x_scale_"), (features,))
    shapes |= dict.fromkeys(("y_mean_", "y_scale_"), (model._targets(),))
    for name, value in rest.items():
        array = validation.shaped(name, value, shapes[name], np.dtype(np.float64))
        setattr(model, name, checks.kept_array(name, array))
    fits = head.in_features == rnn.hidden_size * (2 if rnn.bidirectional else 1)
    if not fits or rnn.dtype != head.dtype or rnn.batch_first:
        raise ValueError(f"{head!r} must fit on {rnn!r}")
    if rnn.input_size != model._inputs() * size:
        raise ValueError(
            f"{rnn!r} must fit n_features_in = {model.n_features_in_} and patches of {size}"
        )
    model.loss_curve_ = checks.kept_list("loss_curve", config["loss_curve"])
    scores = config["validation_scores"]
    if scores is not None:
        scores = checks.kept_list("validation_scores", scores)
    model.validation_scores_ = scores
    kept = config["validation_losses"]
    model.validation_losses_ = None if kept is None else checks.kept_list("validation_losses", kept)
    model.n_iter_ = config["n_iter"]
    if type(model.n_iter_) is not int or model.n_iter_ < 0:
        raise ValueError(f"n_iter must be an int from 0 on, got {model.n_iter_!r}")
    model.best_loss_ = validation.real("best_loss", config["best_loss"])
    model._histories[0] = History(
        model.n_iter_, model.loss_curve_, model.validation_scores_ or [],
        model.validation_losses_ or [], model.best_loss_,
    )  # fmt: skip
    model._optimizer_state = None
    return model


def _put_members_together(model: RNNEstimator, weights: np.ndarray | None, histories: Any) -> None:
    """Make the members of a file, of which the first one is there, with their histories."""
    model.members_, model._histories = [(model.rnn_, model.head_)], [History()]
    count = model.rnn_.flat_parameters.size
    if weights is None:
        weights = np.empty((0, count), model.rnn_.dtype)
    shape = (model.n_members - 1, count + model.head_.flat_parameters.size)
    if len(weights) or model.n_members > 1:
        weights = validation.shaped("members.weights", weights, shape, model.rnn_.dtype)
    if not isinstance(histories, list) or len(histories) != len(weights):
        raise ValueError(f"members must be a list of {len(weights)}, got {histories!r}")
    for row, history in zip(weights, histories, strict=True):
        rnn, head = copy.deepcopy((model.rnn_, model.head_))
        rnn.flat_parameters, head.flat_parameters = row[:count], row[count:]
        model.members_.append((rnn, head))
        model._histories.append(checks.kept_history(history))


def plain_params(model: RNNEstimator) -> dict[str, Any]:
    """Parameters as JSON has them."""
    plain = {}
    for name, value in model.get_params(deep=False).items():
        if isinstance(value, np.generic):
            value = value.item()
        if name == "dtype":
            value = np.dtype(value).name
        if not isinstance(value, (str, int, float, type(None))):
            value = _named(value)
        plain[name] = value
    return plain


def _named(value: Any) -> Any:
    """Return a parameter as JSON has it: two that differ must differ."""
    if isinstance(value, os.PathLike):
        return str(value)
    if isinstance(value, Mapping):
        return [[_named(key), _named(one)] for key, one in value.items()]
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_named(one) for one in value]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (str, int, float, type(None))):
        return value
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    return type(value).__name__


def _listed(array: np.ndarray | None) -> list[Any] | None:
    return None if array is None else array.tolist()
