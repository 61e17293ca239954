"""Losses of a training: those of `numba_rnn.losses`, of batches that were checked before.

A batch is small and its loss is asked for thousands of times, so nothing is checked here.
"""

from __future__ import annotations

import numpy as np

from ..losses import certain


def cross_entropy(logits: np.ndarray, classes: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean of -log softmax(x)[y] and its gradient: logits (M, C), classes (M,) from 0 to C - 1."""
    x = certain(logits.astype(np.float64))
    x -= x.max(axis=1, keepdims=True)
    slope = np.exp(x)
    total = slope.sum(axis=1, keepdims=True)
    place = np.arange(len(x)), classes
    value = float((np.log(total[:, 0]) - x[place]).mean())
    slope /= total  # softmax(x) minus 1 at the class
    slope[place] -= 1
    slope /= len(x)
    return value, slope.astype(logits.dtype)


def squared_error(prediction: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean of (x - y)² and its gradient, both (M, K)."""
    d = np.subtract(prediction, target, dtype=np.float64)
    return float((d * d).mean()), (d * (2 / d.size)).astype(prediction.dtype)
