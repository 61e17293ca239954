"""States of trainings as a checkpoint holds them: several put together, taken apart, and checked.

A file may come from anyone, and all of it is checked before a training takes any of it over.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from .. import validation
from . import checks
from .training import History, Training

State = tuple[dict[str, Any], dict[str, np.ndarray]]

_LATER = {"factor", "validation_losses"}  # what the first files didn't have
_CURVES = ("loss_curve", "validation_scores", "validation_losses")
_OPTIMIZER = "optimizer."


def together(states: list[State]) -> State:
    """One state of all: that of the first as it is, and those of the others by their number."""
    meta, arrays = states[0]
    if len(states) == 1:
        return meta, arrays
    rest = {f"{k}:{name}": a for k, s in enumerate(states[1:], 1) for name, a in s[1].items()}
    return meta | {"members": [state[0] for state in states[1:]]}, arrays | rest


def apart(meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> list[State]:
    """Undo `together`, and leave the seed out."""
    first = {name: value for name, value in meta.items() if name not in ("members", "seed")}
    found: list[State] = [(one, {}) for one in (first, *meta.get("members", []))]
    for name, array in arrays.items():
        number, _, own = name.rpartition(":")
        if number and not (number.isdecimal() and 0 < int(number) < len(found)):
            raise ValueError(f"{name} must be of one of {len(found)} members")
        found[int(number or 0)][1][own] = array
    return found


def check_seed(value: Any) -> None:
    """Refuse what no random generator can be made of."""
    if not isinstance(value, list) or not value:
        raise ValueError(f"seed must be a list of integers, got {validation.describe(value)}")
    if not all(type(n) is int and 0 <= n < 2**32 for n in value):
        raise ValueError("seed must hold integers from 0 to 2**32 - 1")


def check(states: list[State], trainings: list[Training]) -> None:
    """Refuse states that these trainings could not have been in.

    Raises
    ------
    KeyError, OverflowError, TypeError, ValueError
        If anything does not fit; nothing was changed then.
    """
    if len(states) > len(trainings):
        raise ValueError(f"members must be {len(trainings)} at most, got {len(states)}")
    for state, training in zip(states, trainings, strict=False):
        if training.settings.solver == "lbfgs":
            _check_evaluations(*state, training)
        else:
            _check_epochs(*state, training)


def _check_evaluations(
    meta: dict[str, Any], arrays: dict[str, np.ndarray], training: Training
) -> None:
    """Values and gradients that SciPy was told."""
    _must_be("the state", meta, ())
    _must_be("the arrays", arrays, ("values", "gradients"))
    count, float64 = len(arrays["values"]), np.dtype(np.float64)
    values = validation.shaped("values", arrays["values"], (count,), float64)
    shape = (count, training.network.weights.size)
    validation.shaped("gradients", arrays["gradients"], shape, float64)
    if not np.isfinite(values).all():
        raise ValueError("values must be finite")


def _check_epochs(meta: dict[str, Any], arrays: dict[str, np.ndarray], training: Training) -> None:
    """Weights, and what the next epoch depends on."""
    _must_be("the state", meta, ("history", "rng"))
    _check_history(meta["history"], training)
    twin = type(training.rng.bit_generator)(0)
    twin.state = meta["rng"]
    if twin.state != meta["rng"]:
        raise ValueError("rng must be the state of a random generator")
    weights = training.network.weights
    of_optimizer = {
        name.removeprefix(_OPTIMIZER): array
        for name, array in arrays.items()
        if name.startswith(_OPTIMIZER)
    }
    rest = [name for name in arrays if not name.startswith(_OPTIMIZER)]
    _must_be("the arrays", rest, ("weights", "best"))
    for name in rest:
        array = validation.shaped(name, arrays[name], weights.shape, weights.dtype)
        if not np.isfinite(array).all():
            raise ValueError(f"{name} must be finite")
    copy.copy(training.optimizer).load_state_dict(of_optimizer)  # which checks them itself


def _check_history(value: Any, training: Training) -> None:
    known = {field.name for field in fields(History)}
    if not isinstance(value, dict) or not known - _LATER <= set(value) <= known:
        raise ValueError(f"history must have {', '.join(sorted(known))}")
    for name, least in (("n_iter", 1), ("stalled", 0)):
        if type(value[name]) is not int or value[name] < least:
            raise ValueError(f"{name} must be an int from {least} on, got {value[name]!r}")
    for name in ("best_loss", "best_score"):
        validation.real(name, value[name])
    validation.real("factor", value.get("factor", 1.0), 0, 1)
    curves = {name: value.get(name, []) for name in _CURVES}
    for name, curve in curves.items():
        checks.kept_list(name, curve)
        is_there = name == "loss_curve" or (training.validate is not None and name in value)
        if is_there and len(curve) < value["n_iter"]:
            raise ValueError(f"{name} must have {value['n_iter']} epochs, got {len(curve)}")
    if training.early_stopping and training.by_loss and not curves["validation_losses"]:
        raise ValueError("validation_losses must be there, by which the training stops")


def _must_be(what: str, found: Iterable[str], names: tuple[str, ...]) -> None:
    if set(found) != set(names):
        raise ValueError(f"{what} must have {', '.join(names) or 'nothing'}, got {list(found)}")
