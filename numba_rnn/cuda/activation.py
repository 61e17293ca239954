"""The nonlinearity f on the device, and its derivative in terms of h = f(a)."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from .toolkit import device_function

TANH, RELU = 0, 1
F = {"tanh": TANH, "relu": RELU}


@cache
def activation(dtype: np.dtype) -> Any:
    """f(a, which). Both let NaN pass: a comparison with NaN is false and selects a itself."""
    zero = dtype.type(0)

    @device_function
    def f(a, nonlinearity):
        if nonlinearity == TANH:
            return math.tanh(a)
        return zero if a < zero else a

    return f


@cache
def derivative(dtype: np.dtype) -> Any:
    """d · f'(a), for h = f(a): d (1 - h²) for tanh; for ReLU d where h > 0 or h is NaN."""
    zero, one = dtype.type(0), dtype.type(1)

    @device_function
    def f_prime(d, h, nonlinearity):
        if nonlinearity == TANH:
            return d * (one - h * h)
        return zero if h <= zero else d

    return f_prime
