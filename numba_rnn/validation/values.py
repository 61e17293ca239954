"""Numbers, flags, words and paths."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from .. import dispatch
from ..owners import is_dask
from .advice import is_torchs_packed

LARGEST_SIZE = 1 << 31
NONLINEARITIES = ("tanh", "relu")
FLOAT_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


def describe(value: Any) -> str:
    """Say in a few words what a value is: its shape and dtype, or its type and itself."""
    if isinstance(value, type):
        return f"{type(value).__name__} {value!r}"
    if (owner := dispatch.library(value)) is not None:
        kind = f"{type(value).__module__.partition('.')[0]}.{type(value).__name__}"
        return f"{kind} of shape {owner.shape(value)} and dtype {owner.dtype(value)}"
    if is_dask(value):
        return f"a Dask array of shape {tuple(value.shape)} and dtype {value.dtype}"
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{type(value).__name__} of shape {tuple(value.shape)} and dtype {value.dtype}"
    if is_torchs_packed(value):
        return "torch's PackedSequence"
    kind, text = type(value).__name__, " ".join(repr(value).split())
    text = text if len(text) <= 60 else text[:57] + "..."
    return text if text.startswith(f"{kind}(") else f"{kind} {text}"


# --- numbers, flags and choices -----------------------------------------------------------------


def positive_int(name: str, value: Any) -> int:
    """Return a size as an int; booleans and floats are refused as torch refuses them."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an int, got {describe(value)}")
    if not 0 < value < LARGEST_SIZE:
        raise ValueError(f"{name} must be positive and below {LARGEST_SIZE}, got {describe(value)}")
    return int(value)


def index(name: str, value: Any, count: int) -> int:
    """Return one of the numbers 0, 1, ..., count - 1."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an int, got {describe(value)}")
    if not 0 <= value < count:
        raise ValueError(f"{name} must lie in 0 to {count - 1}, got {describe(value)}")
    return int(value)


def truncation(name: str, value: Any) -> tuple[int, int]:
    """Return k1 and k2 of truncated backpropagation; a single k is both."""
    if not isinstance(value, tuple):
        k = positive_int(name, value)
        return k, k
    if len(value) != 2:
        raise ValueError(f"{name} must be an int or two, (k1, k2), got {describe(value)}")
    k1, k2 = positive_int(f"{name}[0]", value[0]), positive_int(f"{name}[1]", value[1])
    if k2 < k1:
        raise ValueError(
            f"{name} must be (k1, k2) with k2 >= k1, got {describe(value)}: the loss of k1 steps "
            "can't flow back fewer"
        )
    return k1, k2


def flag(name: str, value: Any) -> bool:
    """Return a bool; anything else, 0 and 1 included, is refused."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {describe(value)}")
    return bool(value)


def real(
    name: str,
    value: Any,
    low: float = -np.inf,
    high: float = np.inf,
    *,
    open_low: bool = False,
    open_high: bool = False,
) -> float:
    """Return a real number within bounds as a float; NaN is out of every bound."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(
        value, (int, float, np.integer, np.floating)
    ):
        raise TypeError(f"{name} must be a real number, got {describe(value)}")
    above = value > low if open_low else value >= low
    below = value < high if open_high else value <= high
    if not (above and below):
        left, right = "(["[not open_low], ")]"[not open_high]
        raise ValueError(f"{name} must lie in {left}{low:g}, {high:g}{right}, got {value}")
    return float(value)


def choice(name: str, value: Any, allowed: tuple[str, ...]) -> str:
    """Return one of the allowed words."""
    if not isinstance(value, str) or value not in allowed:
        words = " or ".join(repr(word) for word in allowed)
        raise ValueError(f"{name} must be {words}, got {describe(value)}")
    return value


def float_dtype(name: str, value: Any) -> np.dtype:
    """Return float32 or float64 as a dtype; everything else is refused."""
    try:
        dtype = None if value is None else np.dtype(value)
    except (TypeError, ValueError, SyntaxError):  # what NumPy says to nonsense
        dtype = None
    if dtype is None or dtype not in FLOAT_DTYPES:
        raise ValueError(f"{name} must be np.float32 or np.float64, got {describe(value)}")
    return dtype


def seed(name: str, value: Any) -> int | np.random.Generator | None:
    """Return what a random generator can be made from."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(
        value, (int, np.integer, np.random.Generator, type(None))
    ):
        raise TypeError(f"{name} must be None, an int or a numpy Generator, got {describe(value)}")
    if isinstance(value, (int, np.integer)) and value < 0:
        raise ValueError(f"{name} must not be negative, got {value}")
    return value


def dropout(name: str, value: Any, num_layers: int) -> float:
    """Return the probability that an element is dropped."""
    probability = real(name, value, 0, 1)
    if probability > 0 and num_layers == 1:
        warnings.warn(
            f"{name} acts between layers, so {name}={value} has no effect with num_layers=1",
            UserWarning,
            stacklevel=5,  # the caller of the constructor
        )
    return probability


def path(name: str, value: Any) -> Path:
    """Return the place of a file."""
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name} must be a str or a path, got {describe(value)}")
    return Path(value)
