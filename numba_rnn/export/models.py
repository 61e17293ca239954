"""The classes that a file can hold, by name."""

from __future__ import annotations

import importlib
from typing import Any

from .. import validation

# Whatever else a file names is refused, so that none can have a module imported.
_MODULES = {
    "RNN": "rnn",
    "RNNCell": "cell",
    "Linear": "linear",
    "RNNClassifier": "estimators",
    "RNNRegressor": "estimators",
    "RNNForecaster": "estimators",
}
NAMES = tuple(_MODULES)


def find(name: str) -> type:
    """Return the class of a name."""
    if name not in _MODULES:
        raise ValueError(f"must hold one of {', '.join(NAMES)}, got {validation.describe(name)}")
    return getattr(importlib.import_module(f"numba_rnn.{_MODULES[name]}"), name)


def name(model: Any, among: tuple[str, ...] = NAMES) -> str:
    """Return the name of a model's class, which must be one of ours and no subclass."""
    found = type(model).__name__
    if found not in among or type(model) is not find(found):
        raise TypeError(
            f"model must be one of {', '.join(among)} and of no subclass, "
            f"got {validation.describe(model)}"
        )
    return found
