"""Losses of a training: those of `numba_rnn.losses`, of batches that were checked before.

A batch is small and its loss is asked for thousands of times, so nothing is checked here.
"""

from __future__ import annotations

import numpy as np

from .. import losses


def cross_entropy(logits: np.ndarray, classes: np.ndarray) -> tuple[float, np.ndarray]:
    """`losses.cross_entropy` of logits (M, C) and classes (M,) from 0 to C - 1."""
    return losses.mean(*losses.softmax(logits, classes), logits.dtype)


def squared_error(prediction: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
    """`losses.mse` of predictions and targets (M, K)."""
    return losses.mean(*losses.squared(prediction, target), prediction.dtype)
