"""Losses of a training: those of `numba_rnn.losses`, of batches that were checked before.

A batch is small and its loss is asked for thousands of times, so nothing is checked here. Each is
called as (prediction, target, weights) and returns (value, gradient); weights are (M, 1), one a
row of the prediction, (M, K) where some of several targets are missing, or None where all are
alike.

Symbols: M rows, K targets, C classes, Q quantiles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import losses, validation

Loss = Callable[[np.ndarray, np.ndarray, np.ndarray | None], tuple[float, np.ndarray]]


def _mean(
    loss: np.ndarray, slope: np.ndarray, weights: np.ndarray | None, dtype: np.dtype
) -> tuple[float, np.ndarray]:
    """Mean over all elements, those of a row with its weight."""
    if weights is None:
        return losses.mean(loss, slope, dtype)
    weights = np.broadcast_to(weights, loss.shape) if loss.ndim > 1 else weights[:, 0]
    return losses.weighted_mean(loss, slope, weights, dtype)


def cross_entropy(
    logits: np.ndarray, classes: np.ndarray, weights: np.ndarray | None = None
) -> tuple[float, np.ndarray]:
    """`losses.cross_entropy` of logits (M, C) and classes (M,) from 0 to C - 1."""
    return _mean(*losses.softmax(logits, classes), weights, logits.dtype)


def squared_error(
    prediction: np.ndarray, target: np.ndarray, weights: np.ndarray | None = None
) -> tuple[float, np.ndarray]:
    """`losses.mse` of predictions and targets (M, K)."""
    return _mean(*losses.squared(prediction, target), weights, prediction.dtype)


def absolute_error(
    prediction: np.ndarray, target: np.ndarray, weights: np.ndarray | None = None
) -> tuple[float, np.ndarray]:
    """`losses.mae` of predictions and targets (M, K)."""
    return _mean(*losses.absolute(prediction, target), weights, prediction.dtype)


def huber(
    prediction: np.ndarray, target: np.ndarray, weights: np.ndarray | None = None
) -> tuple[float, np.ndarray]:
    """`losses.huber`, delta 1, of predictions and targets (M, K)."""
    return _mean(*losses.hubers(prediction, target, 1.0), weights, prediction.dtype)


@dataclass(frozen=True)
class Quantile:
    """Pinball loss: q·d where the target lies d above the prediction, (1 - q)·|d| where below.

    Of predictions (M, K·Q), the quantiles of a target side by side, and targets (M, K).
    """

    levels: tuple[float, ...]

    def __call__(
        self, prediction: np.ndarray, target: np.ndarray, weights: np.ndarray | None = None
    ) -> tuple[float, np.ndarray]:
        """Value and gradient."""
        q = np.tile(self.levels, target.shape[1])
        d = np.subtract(np.repeat(target, len(self.levels), axis=1), prediction, dtype=np.float64)
        loss = np.maximum(q * d, (q - 1) * d)
        slope = np.where(d > 0, -q, np.where(d < 0, 1 - q, 0.0))
        if weights is not None and weights.shape[1] > 1:
            weights = np.repeat(weights, len(self.levels), axis=1)
        return _mean(loss, slope, weights, prediction.dtype)


@dataclass(frozen=True)
class Own:
    """A loss that the user wrote, what it returns checked."""

    function: Callable[..., Any]

    def __call__(
        self, prediction: np.ndarray, target: np.ndarray, weights: np.ndarray | None = None
    ) -> tuple[float, np.ndarray]:
        """Value and gradient."""
        found = self.function(prediction, target, weights)
        if not isinstance(found, tuple) or len(found) != 2:
            raise TypeError(
                "loss must return a tuple (value, gradient), got " + validation.describe(found)
            )
        gradient = np.asarray(found[1], prediction.dtype)
        if gradient.shape != prediction.shape:
            raise ValueError(
                f"loss must return a gradient of shape {prediction.shape}, that of the "
                f"prediction, got shape {gradient.shape}"
            )
        return float(found[0]), gradient


NAMED = {"squared_error": squared_error, "absolute_error": absolute_error, "huber": huber}
