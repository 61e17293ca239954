"""What the adapters to other packages' estimators share."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

TINY = {"hidden_size": 3, "max_iter": 2, "n_iter_no_change": np.inf, "random_state": 0}
"""Parameters with which the checks of other packages take seconds."""


def constructor(
    kind: type,
    base: type,
    without: Iterable[str] = (),
    after: Callable[[Any], None] | None = None,
    **defaults: Any,
) -> Callable[..., None]:
    """Return an ``__init__`` that takes the parameters of another class, and keeps each as it is.

    Parameters
    ----------
    kind : type
        The class that the parameters are of: their names, order and defaults.
    base : type
        What is initialised once they are kept.
    without : iterable of str
        Parameters that are left out.
    after : callable, optional
        Called with the object at the end.
    **defaults
        Parameters with another default, or of the adapter's own, which then come last.
    """
    first, *own = inspect.signature(kind.__init__).parameters.values()  # type: ignore[misc]
    kept = {one.name: one for one in own if one.name not in without}
    for name, default in defaults.items():
        keyword = inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
        kept[name] = kept[name].replace(default=default) if name in kept else keyword
    signature = inspect.Signature([first, *kept.values()])

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        given = signature.bind(self, *args, **kwargs)
        given.apply_defaults()
        for name in kept:
            setattr(self, name, given.arguments[name])
        base.__init__(self)  # type: ignore[misc]
        if after is not None:
            after(self)

    __init__.__signature__ = signature  # type: ignore[attr-defined]
    return __init__


def time_first(X: Iterable[np.ndarray]) -> list[np.ndarray]:
    """Series (channels, time) as ours are, (time, channels)."""
    return [one.T for one in X]


def of(kind: type, parameters: Mapping[str, Any]) -> Any:
    """Return an estimator of ours with those of the parameters that it has."""
    names = inspect.signature(kind.__init__).parameters  # type: ignore[misc]
    return kind(**{name: value for name, value in parameters.items() if name in names})
