"""Checks of what an estimator is given: its parameters, X and y.

Single values are checked by `numba_rnn.validation`, tables by scikit-learn, as its users know it.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils import check_array
from sklearn.utils.validation import check_consistent_length, column_or_1d

from .. import validation
from . import missing
from .sequences import Sequences
from .training import History, Settings

RATES = ("constant", "cosine", "plateau")
# What parameters were before there were any, in files and in estimators that don't have them.
BEFORE = {"patch": None, "n_members": 1, "learning_rate": "constant", "missing": "error"}
LOSSES = ("squared_error", "absolute_error", "huber", "quantile")
SOLVERS = ("adam", "sgd", "rmsprop", "lbfgs")
POOLINGS = ("last", "mean", "max")
FORMS = (
    "shape (n_samples, n_timesteps, n_features) or (n_samples, n_timesteps), or be a list of arrays"
)


def settings(parameters: Mapping[str, Any]) -> Settings:
    """Return what rules the training.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not as described, or two of them contradict one another.
    """
    get, real = (BEFORE | parameters).__getitem__, validation.real
    for name in ("hidden_size", "num_layers"):
        validation.positive_int(name, get(name))
    for name in ("standardize", "warm_start", "early_stopping"):
        validation.flag(name, get(name))
    both = get("bidirectional")
    if not (isinstance(both, str) and both == "auto"):
        validation.flag("bidirectional", both)
    if "loss" in parameters:
        loss(get("loss"), get("quantiles"))
    validation.choice("missing", get("missing"), missing.CHOICES)
    validation.choice("nonlinearity", get("nonlinearity"), validation.NONLINEARITIES)
    validation.choice("pooling", get("pooling"), POOLINGS)
    solver = validation.choice("solver", get("solver"), SOLVERS)
    real("dropout", get("dropout"), 0, 1)
    validation.float_dtype("dtype", get("dtype"))
    batch_size, truncation = get("batch_size"), get("truncation")
    if not (isinstance(batch_size, str) and batch_size == "auto"):
        batch_size = validation.positive_int("batch_size", batch_size)
    if truncation is not None:
        truncation = validation.positive_int("truncation", truncation)
        if not isinstance(both, str) and both:
            raise ValueError(
                "truncation must be None with bidirectional=True, whose second direction begins "
                f"at the end of a series, got {truncation}"
            )
        if solver == "lbfgs":
            raise ValueError(
                f'truncation must be None with solver="lbfgs", which needs the whole gradient, '
                f"got {truncation}"
            )
    if solver == "lbfgs" and get("dropout") != 0:
        raise ValueError(
            f'dropout must be 0 with solver="lbfgs", whose loss must not change from one call to '
            f"the next, got {get('dropout')}"
        )
    rate = validation.choice("learning_rate", get("learning_rate"), RATES)
    if solver == "lbfgs" and rate != "constant":
        raise ValueError(
            f'learning_rate must be "constant" with solver="lbfgs", which has none, got {rate!r}'
        )
    validation.positive_int("n_members", get("n_members"))
    patch = get("patch")
    if patch is not None and not (isinstance(patch, str) and patch == "auto"):
        validation.positive_int("patch", patch)
    clip_norm = get("clip_norm")
    patience = get("n_iter_no_change")
    if not (isinstance(patience, float) and patience == math.inf):
        patience = validation.positive_int("n_iter_no_change", patience)
    verbose = get("verbose")
    if not isinstance(verbose, (bool, np.bool_)):
        verbose = real("verbose", verbose, 0)
    if get("early_stopping") and get("validation_fraction") is not None:
        real("validation_fraction", get("validation_fraction"), 0, 1, open_low=True, open_high=True)
    return Settings(
        solver=solver,
        alpha=real("alpha", get("alpha"), 0, open_high=True),
        batch_size=None if batch_size == "auto" else batch_size,
        learning_rate_init=real(
            "learning_rate_init", get("learning_rate_init"), 0, open_low=True, open_high=True
        ),
        learning_rate=rate,
        max_iter=validation.positive_int("max_iter", get("max_iter")),
        shuffle=validation.flag("shuffle", get("shuffle")),
        clip_norm=None if clip_norm is None else real("clip_norm", clip_norm, 0, open_low=True),
        truncation=truncation,
        tol=real("tol", get("tol"), 0, open_high=True),
        n_iter_no_change=patience,
        verbose=bool(verbose),
    )


def loss(value: Any, levels: Any) -> None:
    """Check the loss of a regressor, and its quantiles where it has some."""
    if callable(value):
        return
    validation.choice("loss", value, LOSSES)
    if value == "quantile":
        quantiles(levels)


def named_loss(value: Any) -> None:
    """Refuse a loss of the user's own that its name doesn't tell from others.

    Raises
    ------
    ValueError
        If it can't be imported by that name, as no lambda can, nor a closure or a partial.
    """
    if not callable(value):
        return
    found = sys.modules.get(getattr(value, "__module__", None) or "")
    for name in getattr(value, "__qualname__", "?").split("."):
        found = getattr(found, name, None)
    if found is None or found != value:
        raise ValueError(
            "loss must be a name or a function at the top of a module with checkpoint, which knows "
            f"it by its name, got {validation.describe(value)}"
        )


def quantiles(value: Any) -> tuple[float, ...]:
    """Return quantiles, which rise between 0 and 1.

    Raises
    ------
    TypeError, ValueError
        If they are anything else.
    """
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        raise TypeError(
            f"quantiles must be a sequence of numbers, got {validation.describe(value)}"
        )
    found = tuple(
        validation.real(f"quantiles[{k}]", one, 0, 1, open_low=True, open_high=True)
        for k, one in enumerate(value)
    )
    if not found or any(a >= b for a, b in itertools.pairwise(found)):
        raise ValueError(f"quantiles must be one or more that rise, got {found}")
    return found


# --- X and y ------------------------------------------------------------------------------------


def is_list_of_series(value: Any) -> bool:
    """Whether this is a list of arrays, frames or series: one a sequence. A list of lists isn't."""
    if isinstance(value, np.ndarray):
        if value.dtype != object or value.ndim != 1:
            return False
    elif not isinstance(value, (list, tuple)):
        return False
    return len(value) > 0 and all(len(getattr(entry, "shape", ())) > 0 for entry in value)


def without_masks(name: str, value: Any, *, gaps: bool) -> Any:
    """Return what is given with NaN for what is missing; masks are refused where no gaps may be."""
    return missing.opened(value if gaps else validation.unmasked(name, value))


def series_list(
    name: str, value: Any, *, labels: bool = False, gaps: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows (R, F) of a list of arrays, (R,) where they have one axis, and their lengths.

    Raises
    ------
    TypeError, ValueError
        If they are neither all (T_i,) nor all (T_i, F) with one F and at least one step, or, but
        for labels, an entry is no finite number, nor NaN where there may be gaps.
    """
    arrays = [np.asarray(entry) for entry in value]
    first = arrays[0].shape
    for k, array in enumerate(arrays):
        if array.ndim not in (1, 2) or array.shape[1:] != first[1:]:
            raise ValueError(
                f"{name} must be a list of arrays (T_i,), or of arrays (T_i, F) with one F, got "
                f"shapes {first} of {name}[0] and {array.shape} of {name}[{k}]"
            )
        if array.size == 0:
            raise ValueError(f"{name}[{k}] must not be empty, got shape {array.shape}")
    rows = np.concatenate(arrays)
    if not labels:
        try:
            rows = numbers(name, rows, gaps=gaps)
        except ValueError:
            for k, array in enumerate(arrays):  # which of them it is
                numbers(f"{name}[{k}]", array, gaps=gaps)
            raise
    return rows, np.array([len(array) for array in arrays])


FILLED = {
    "X": '; missing="forward" carries the last value forward',
    "y": '; missing="forward" leaves targets that are missing out of the loss',
}


def numbers(name: str, value: Any, *, gaps: bool = False) -> np.ndarray:
    """Return an array of finite numbers, or NaN for gaps, in float64 where it isn't float32."""
    array = check_array(
        value, dtype=[np.float64, np.float32], ensure_2d=False, allow_nd=True, input_name=name,
        ensure_all_finite="allow-nan",
    )  # fmt: skip
    return array if gaps else complete(name, array)


def complete(name: str, array: np.ndarray) -> np.ndarray:
    """Return an array in which nothing is missing."""
    if count := np.count_nonzero(gaps := np.isnan(array)):
        where = ", ".join(map(str, np.argwhere(gaps)[0].tolist()))
        raise ValueError(
            f"{name} contains NaN, {count} in all, the first at index {where}"
            + FILLED.get(name.partition("[")[0], "")
        )
    return array


def plain(name: str, value: Any) -> np.ndarray:
    """Return an array_like as an array, be its rows of one length."""
    value = validation.unmasked(name, value)
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(
            f"{name} must be an array, or a list of arrays where lengths differ; a list of lists "
            "is an array, so its rows need one length"
        ) from error


def table(name: str, value: Any, *, gaps: bool = False) -> np.ndarray:
    """Return a table (N, T), a column a time step, as an array (N, T, 1), as `numbers` does."""
    array = numbers(name, value, gaps=gaps)
    if array.ndim != 2:
        way = one_series(value) if array.ndim == 1 else ""
        raise ValueError(f"{name} must have {FORMS}, got shape {array.shape}{way}")
    return array[:, :, None]


def shape(name: str, value: Any) -> tuple[int, ...]:
    """Return the shape of an array_like."""
    return tuple(value.shape if hasattr(value, "shape") else np.shape(plain(name, value)))


def one_series(value: Any) -> str:
    """Say how one series alone is passed."""
    return f"; for one series pass {'X[None]' if isinstance(value, np.ndarray) else '[X]'}"


def array_3d(name: str, value: Any, *, gaps: bool = False) -> np.ndarray:
    """Return an array (N, T, F), as `numbers` does."""
    array = numbers(name, value, gaps=gaps)
    validation.not_empty(name, array)
    return array


def turned(shape: tuple[int, ...]) -> str:
    """Say that an array of this shape (N, T, F) looks like (N, channels, time)."""
    _, steps, features = shape
    return (
        f"X of shape {tuple(shape)} is read as series of {steps} steps of {features} features "
        "each, and looks as if the last axis were time: then pass np.swapaxes(X, 1, 2). Where it "
        "is right, list(X) is read without a word"
    )


SERIES_LOOKED_AT = 200


def may_be_turned(steps: int, features: int) -> bool:
    """Whether there are so many features, and so few steps, that they may stand for one another."""
    return features >= 8 and features > 3 * steps


def looks_turned(array: np.ndarray) -> bool:
    """Whether an array (N, T, F) looks like (N, channels, time).

    It does where there are more than three times as many features as steps, and 8 at least, and
    either one step only, or neighbours of the last axis are alike, and more so than those of the
    second, which is the rule for time and not for features. Spectra are alike in both ways, what
    was embedded in neither.
    """
    _, steps, features = array.shape
    if not may_be_turned(steps, features):
        return False
    if steps == 1:
        return True
    some = array[:: -(-len(array) // SERIES_LOOKED_AT)].astype(np.float64)
    for axes in ((1, 2), (0, 2), (0, 1)):  # levels of series, channels and features tell nothing
        some = _centred(some, axes)
    along, across = (float(np.mean(np.diff(some, axis=axis) ** 2)) for axis in (2, 1))
    # over twice the variance, as von Neumann (1941) has it: 1 where the order says nothing
    alike = along < float(np.mean(some.var(axis=2, ddof=1)))
    return alike and along < 0.5 * across


def _centred(array: np.ndarray, axes: tuple[int, int]) -> np.ndarray:
    """Subtract means over some axes, 0 for NaN, and scale each series to 1 at most."""
    size = np.nan_to_num(np.abs(array), nan=0, posinf=0).max(axis=(1, 2), keepdims=True)
    array = array / np.where(size > 0, size, 1)
    known = ~np.isnan(array)
    total = np.where(known, array, 0).sum(axis=axes, keepdims=True)
    return np.where(known, array - total / np.maximum(known.sum(axis=axes, keepdims=True), 1), 0)


def in_dtype(name: str, rows: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return rows cast to a dtype that can hold them."""
    with np.errstate(over="ignore", under="ignore"):
        cast = rows.astype(dtype, copy=False)
    if not np.isfinite(cast).all():
        raise ValueError(
            f"{name} must hold values that {dtype} can hold, got {np.abs(rows).max():.3g}; "
            'use dtype="float64" or standardize=True'
        )
    return cast


# --- what a file says ---------------------------------------------------------------------------


def kept_array(name: str, array: np.ndarray) -> np.ndarray:
    """Return an array of finite numbers, which are positive where it is a scale.

    That of y may be 0, where y is constant.
    """
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite")
    if name in ("x_scale_", "x_past_scale_", "static_scale_") and not (array > 0).all():
        raise ValueError(f"{name} must be positive")
    if name in ("y_scale_", "level_scale_") and not (array >= 0).all():
        raise ValueError(f"{name} must be positive, or 0 where y is constant")
    return array


def kept_list(name: str, values: Any) -> list[float]:
    """Return a list of real numbers."""
    if not isinstance(values, list):
        raise TypeError(f"{name} must be a list of numbers, got {validation.describe(values)}")
    return [validation.real(f"{name}[{k}]", value) for k, value in enumerate(values)]


KEPT_OF_MEMBERS = ("n_iter", "best_loss", "loss_curve", "validation_scores", "validation_losses")


def kept_history(value: Any) -> History:
    """Return what a file says of the training of a member."""
    if not isinstance(value, dict) or set(value) != set(KEPT_OF_MEMBERS):
        raise ValueError(f"members must each have {', '.join(KEPT_OF_MEMBERS)}")
    if type(value["n_iter"]) is not int or value["n_iter"] < 0:
        raise ValueError(f"n_iter must be an int from 0 on, got {value['n_iter']!r}")
    validation.real("best_loss", value["best_loss"])
    for name in KEPT_OF_MEMBERS[2:]:
        kept_list(name, value[name])
    return History(**value)


def sample_weight(value: Any, series: int) -> np.ndarray | None:
    """Return weights of series, (N,), or None where there are none.

    Raises
    ------
    TypeError, ValueError
        If they are not one number a series, finite, not negative, and not all 0.
    """
    if value is None:
        return None
    array = plain("sample_weight", value)
    if array.shape != (series,):
        raise ValueError(
            f"sample_weight must have shape ({series},), one weight a series, got {array.shape}"
        )
    array = check_array(array, dtype=np.float64, ensure_2d=False, input_name="sample_weight")
    if (array < 0).any():
        raise ValueError(f"sample_weight must not be negative, got {array.min():g}")
    if not array.any():
        raise ValueError("sample_weight must not be zero for all series")
    return array


def shares(weights: np.ndarray) -> np.ndarray:
    """Return weights divided by a power of two, which is exact, so that no sum overflows."""
    return np.ldexp(weights, -np.frexp(weights.max())[1])


def class_weights(
    value: Any, classes: np.ndarray, codes: np.ndarray, weights: np.ndarray | None
) -> np.ndarray | None:
    """Return what each class weighs, (C,), or None where all weigh 1.

    Parameters
    ----------
    value : None, "balanced" or mapping of labels to numbers
    classes : ndarray, shape (C,)
    codes : ndarray of int64
        Classes of the targets, as places in classes.
    weights : ndarray or None
        Of the targets.

    Raises
    ------
    TypeError, ValueError
        If it is none of these, has a label that is no class, or a weight is no number from 0 on.
    """
    if value is None:
        return None
    if isinstance(value, str) and value == "balanced":
        total = np.bincount(codes, None if weights is None else shares(weights), len(classes))
        # of a class that isn't there, as may be where a fit goes on, the weight is never asked for
        return total.sum() / (len(classes) * np.where(total > 0, total, 1))
    if not isinstance(value, Mapping):
        raise TypeError(
            'class_weight must be None, "balanced" or a dict of labels and weights, got '
            + validation.describe(value)
        )
    known = {label: k for k, label in enumerate(classes.tolist())}
    found = np.ones(len(classes))
    for label, weight in value.items():
        label = label.item() if isinstance(label, np.generic) else label
        if label not in known:
            raise ValueError(f"class_weight must have labels of y alone, got {label!r}")
        found[known[label]] = validation.real(f"class_weight[{label!r}]", weight, 0, open_high=True)
    if not found[codes].any():
        raise ValueError("class_weight must not be 0 for all labels of y")
    return found


@dataclass(frozen=True)
class TargetForm:
    """How y was given, and so how predictions are given back.

    Attributes
    ----------
    steps : bool
        Whether there is a target for every step of a series, or one for the series.
    flat : bool
        Whether a target is a number or a label, or a vector of them.
    listed : bool
        Whether y was a list of arrays.
    """

    steps: bool
    flat: bool
    listed: bool = False

    def shape(self, values: np.ndarray, x: Sequences) -> Any:
        """Give what belongs to series (N, ...) or steps (R, ...) the form of y."""
        if not self.steps:
            return values
        lengths = x.lengths
        if self.listed or (lengths != lengths[0]).any():
            return np.split(values, np.cumsum(lengths)[:-1])
        return values.reshape(len(x), -1, *values.shape[1:])


def target(
    y: Any, x: Sequences, *, labels: bool, gaps: bool = False
) -> tuple[np.ndarray, TargetForm]:
    """Return targets as rows, (N, K) or with one for each step (R, K), and the form they had.

    Parameters
    ----------
    labels : bool
        Whether they are labels of any type, K = 1, or numbers.
    gaps : bool
        Whether numbers may be missing: they are NaN then. Labels never are.

    Raises
    ------
    TypeError, ValueError
        If y doesn't fit X, or its entries are no numbers where there should be some.
    """
    if y is None:
        raise ValueError(
            "This estimator requires y to be passed, but the target y is None."
        )  # the words that scikit-learn looks for
    y = validation.unmasked("y", y) if labels else without_masks("y", y, gaps=gaps)
    if is_list_of_series(y):
        check_consistent_length(x.lengths, y)
        rows, lengths = series_list("y", y, labels=labels, gaps=gaps)
        if (lengths != x.lengths).any():
            k = int(np.argmax(lengths != x.lengths))
            raise ValueError(
                f"y[{k}] must have {x.lengths[k]} steps as X[{k}] has, got {lengths[k]}"
            )
        form = TargetForm(steps=True, flat=rows.ndim == 1, listed=True)
        rows = rows.reshape(len(rows), -1)
    else:
        if isinstance(y, (list, tuple)):
            y = plain("y", y)
        array = np.asarray(y) if labels else numbers("y", y, gaps=gaps)
        if array.ndim == 3:
            validation.not_empty("y", array)
            check_consistent_length(x.lengths, array)
            if (x.lengths != array.shape[1]).any():
                raise ValueError(
                    f"y of shape {array.shape} must have as many steps as each series of X, whose "
                    f"lengths are {x.lengths.min()} to {x.lengths.max()}"
                )
            rows, form = array.reshape(-1, array.shape[2]), TargetForm(steps=True, flat=False)
        elif labels:
            array = column_or_1d(array, warn=True)
            if array.dtype.kind == "f":
                numbers("y", array, gaps=True)
            check_consistent_length(x.lengths, array)
            rows, form = array[:, None], TargetForm(steps=False, flat=True)
        elif array.ndim in (1, 2):
            check_consistent_length(x.lengths, array)
            rows = array.reshape(len(array), -1)
            form = TargetForm(steps=False, flat=array.ndim == 1)
        else:
            raise ValueError(
                "y must have one to three axes, (n_samples,), (n_samples, n_targets) or "
                f"(n_samples, n_timesteps, n_targets), got shape {array.shape}"
            )
    if labels and rows.shape[1] != 1:
        raise ValueError(f"y must have one label a step, got {rows.shape[1]}")
    if labels and (count := np.count_nonzero(none := missing.absent(rows))):
        raise ValueError(
            f"y must have a label everywhere, got NaN or None instead of {count}, the first at "
            f"place {int(np.argmax(none))}; leave these series out, or give them a label of their "
            "own"
        )
    return rows, form


def with_target(rows: np.ndarray, x: Sequences, form: TargetForm) -> np.ndarray:
    """Which series have a target that is not missing, (N,), of rows (N, K) or (R, K).

    Raises
    ------
    ValueError
        If none has.
    """
    known = ~missing.absent(rows).all(axis=1)
    if form.steps:
        known = np.logical_or.reduceat(known, x.starts)
    if not known.any():
        raise ValueError("y must have a target that is not missing, got none")
    return known
