"""Losses on the GPU: value and gradient stay there, two launches each.

The formulas are those of `numba_rnn.losses`, in float64 inside. Targets and weights are not looked
at on the host: one that would be refused there makes value and gradient NaN.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from .launching import launch
from .reduce import DOUBLE, THREADS, add_up, blocks
from .toolkit import cuda, device_function, kernel

MSE, MAE, HUBER, BINARY_CROSS_ENTROPY = range(4)
KINDS = {"mse": MSE, "mae": MAE, "huber": HUBER, "binary_cross_entropy": BINARY_CROSS_ENTROPY}
INFINITY, NAN = math.inf, math.nan


@device_function
def log_logistic(x):
    """Log s(x), s the logistic function; exp is taken of numbers up to 0 alone."""
    return x - math.log1p(math.exp(x)) if x < 0 else -math.log1p(math.exp(-x))


@device_function
def logistic(x):
    """s(x) = 1 / (1 + exp(-x))."""
    return math.exp(x) / (1 + math.exp(x)) if x < 0 else 1 / (1 + math.exp(-x))


@device_function
def times(share, loss):
    """share·loss, 0 where the share is 0 and the loss infinite."""
    return 0.0 if share == 0 and loss == INFINITY else share * loss


@device_function
def below(x, largest):
    """How far a logit lies below the largest one, which may be +inf."""
    return 0.0 if x == largest else x - largest


@device_function
def loss_and_slope(kind, x, y, delta):
    """The loss l of one element and dl/dx."""
    d = x - y
    if kind == MSE:
        return d * d, 2 * d
    if kind == MAE:
        return abs(d), 1.0 if d > 0 else -1.0 if d < 0 else d
    if kind == HUBER:
        if abs(d) <= delta:
            return d * d / 2, d
        return delta * (abs(d) - delta / 2), delta if d > 0 else -delta if d < 0 else d
    loss = times(y, -log_logistic(x)) + times(1 - y, -log_logistic(-x))
    return loss, (1 - y) * logistic(x) - y * logistic(-x)


@device_function
def weight(w, i, sizes, strides):
    """The weight of element i, w being broadcast; NaN where it is negative or not finite."""
    at = 0
    for axis in range(len(sizes) - 1, -1, -1):
        at += i % sizes[axis] * strides[axis]
        i //= sizes[axis]
    found = np.float64(w[at])
    return found if 0 <= found < INFINITY else NAN


@device_function
def add_parts(shared, parts, count):
    """Put the sums of the parts, (count, 2), into shared[0, 0] and shared[1, 0]."""
    thread = cuda.threadIdx.x
    for k in range(2):
        shared[k, thread] = parts[2 * thread + k] if thread < count else 0.0
    add_up(shared)


@cache
def elementwise(kind: int) -> tuple[Any, Any]:
    """The two kernels of a loss of single elements."""

    @kernel(THREADS)
    def sums(parts, x, y, w, weighted, sizes, strides, delta, size):
        """A block's part of sum(w·l) and sum(w)."""
        shared = cuda.shared.array((2, THREADS), DOUBLE)
        loss = total = 0.0
        first = cuda.blockIdx.x * THREADS + cuda.threadIdx.x
        for i in range(first, size, cuda.gridDim.x * THREADS):
            share = weight(w, i, sizes, strides) if weighted else 1.0
            if share != 0:
                found, _ = loss_and_slope(kind, np.float64(x[i]), np.float64(y[i]), delta)
                loss += share * found
                total += share
                if kind == BINARY_CROSS_ENTROPY and not 0 <= y[i] <= 1:
                    total = NAN
        shared[0, cuda.threadIdx.x] = loss
        shared[1, cuda.threadIdx.x] = total
        add_up(shared)
        if cuda.threadIdx.x < 2:
            parts[2 * cuda.blockIdx.x + cuda.threadIdx.x] = shared[cuda.threadIdx.x, 0]

    @kernel(THREADS)
    def gradients(gradient, value, parts, count, x, y, w, weighted, sizes, strides, delta, size):
        """The mean, and its gradient."""
        shared = cuda.shared.array((2, THREADS), DOUBLE)
        add_parts(shared, parts, count)
        loss, total = shared[0, 0], shared[1, 0]
        first = cuda.blockIdx.x * THREADS + cuda.threadIdx.x
        if first == 0:
            value[0] = 0.0 if total == 0 else loss / total
        for i in range(first, size, cuda.gridDim.x * THREADS):
            share = weight(w, i, sizes, strides) if weighted else 1.0
            if share != 0:
                _, slope = loss_and_slope(kind, np.float64(x[i]), np.float64(y[i]), delta)
                gradient[i] = share / total * slope + 0.0  # -0 becomes 0
            else:
                gradient[i] = total * 0.0  # NaN where a weight is refused

    return sums, gradients


@cache
def classes() -> tuple[Any, Any]:
    """The two kernels of the cross-entropy."""

    @kernel(THREADS)
    def sums(parts, scales, x, y, w, weighted, sizes, strides, C, size):
        """A block's part of sum(w·l) and sum(w), a thread a position; log-sum-exp of each."""
        shared = cuda.shared.array((2, THREADS), DOUBLE)
        loss = total = 0.0
        first = cuda.blockIdx.x * THREADS + cuda.threadIdx.x
        for i in range(first, size, cuda.gridDim.x * THREADS):
            share = weight(w, i, sizes, strides) if weighted else 1.0
            if share != 0:
                largest = -INFINITY
                for c in range(C):
                    largest = max(largest, np.float64(x[i * C + c]))
                exponentials = 0.0
                for c in range(C):
                    exponentials += math.exp(below(np.float64(x[i * C + c]), largest))
                log = math.log(exponentials)  # of 1 at least: the largest one's is 1
                if largest == -INFINITY or (largest == INFINITY and exponentials > 1):
                    log = NAN  # nothing but -inf, or several of +inf: they say nothing
                scales[2 * i] = largest
                scales[2 * i + 1] = log
                found = NAN
                if 0 <= y[i] < C:
                    found = 0 - (below(np.float64(x[i * C + np.int64(y[i])]), largest) - log)
                else:
                    total = NAN
                loss += share * found
                total += share
        shared[0, cuda.threadIdx.x] = loss
        shared[1, cuda.threadIdx.x] = total
        add_up(shared)
        if cuda.threadIdx.x < 2:
            parts[2 * cuda.blockIdx.x + cuda.threadIdx.x] = shared[cuda.threadIdx.x, 0]

    @kernel(THREADS)
    def gradients(
        gradient, value, parts, count, scales, x, y, w, weighted, sizes, strides, C, size
    ):
        """The mean, and its gradient: softmax minus 1 at the class; a thread a logit."""
        shared = cuda.shared.array((2, THREADS), DOUBLE)
        add_parts(shared, parts, count)
        loss, total = shared[0, 0], shared[1, 0]
        first = cuda.blockIdx.x * THREADS + cuda.threadIdx.x
        if first == 0:
            value[0] = 0.0 if total == 0 else loss / total
        for e in range(first, size * C, cuda.gridDim.x * THREADS):
            i, c = e // C, e % C
            share = weight(w, i, sizes, strides) if weighted else 1.0
            if share != 0:
                slope = math.exp(below(np.float64(x[e]), scales[2 * i]) - scales[2 * i + 1])
                if c == y[i]:
                    slope -= 1
                gradient[e] = share / total * slope + 0.0
            else:
                gradient[e] = total * 0.0

    return sums, gradients


def loss(
    library: Any, name: str, prediction: Any, target: Any, weights: Any, delta: float
) -> tuple[Any, Any]:
    """Return value, shape (), and gradient, as arrays of the library.

    Parameters
    ----------
    library : libraries.Library
        The prediction's.
    name : str
        Of a function of `numba_rnn.losses`.
    prediction, target : array
    weights : array, number or None
    delta : float
        Of Huber's loss.
    """
    shape, dtype = library.shape(prediction), library.dtype(prediction)
    by_class = name == "cross_entropy"
    places = shape[:-1] if by_class else shape
    size = math.prod(places)
    gradient = library.empty(shape, dtype, prediction)
    value = library.zeros((1,), DOUBLE, prediction)
    if size == 0 or (not by_class and math.prod(shape) == 0):
        return value.reshape(()), gradient
    if isinstance(weights, float):
        if weights == 0:
            return value.reshape(()), library.zeros(shape, dtype, prediction)
        weights = None
    x, y = library.vector(prediction), library.vector(target)
    w, sizes, strides = x, (size,), (0,)  # a stand-in
    if weights is not None:
        sizes, strides = broadcast(places, library.shape(weights))
        w = library.vector(weights)
    count, stream = blocks(size), library.stream()
    parts = library.vector(library.empty((2 * count,), DOUBLE, prediction))
    masks = (w, weights is not None, sizes, strides)
    out = library.vector(gradient), library.vector(value), parts, count
    if by_class:
        C = shape[-1]
        scales = library.vector(library.empty((2 * size,), DOUBLE, prediction))
        sums, gradients = classes()
        launch(sums, count, THREADS, stream, parts, scales, x, y, *masks, C, size)
        many = blocks(size * C)
        launch(gradients, many, THREADS, stream, *out, scales, x, y, *masks, C, size)
    else:
        sums, gradients = elementwise(KINDS[name])
        launch(sums, count, THREADS, stream, parts, x, y, *masks, delta, size)
        launch(gradients, count, THREADS, stream, *out, x, y, *masks, delta, size)
    return value.reshape(()), gradient


def broadcast(
    shape: tuple[int, ...], of: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Sizes of axes, and how far apart elements of an array of shape `of` are along them.

    Axes that lie together are one, so that there are few of them.

    Examples
    --------
    >>> broadcast((4, 3, 5), (3, 1))
    ((4, 3, 5), (0, 1, 0))
    >>> broadcast((4, 3, 5), (4, 3, 1))
    ((12, 5), (1, 0))
    """
    sizes: list[int] = []
    strides: list[int] = []
    own = (1,) * (len(shape) - len(of)) + of
    for axis, length in enumerate(shape):
        stride = 0 if own[axis] == 1 else math.prod(own[axis + 1 :])
        if length == 1:
            continue
        if sizes and strides[-1] == stride * length:
            sizes[-1], strides[-1] = sizes[-1] * length, stride
        else:
            sizes.append(length)
            strides.append(stride)
    return (tuple(sizes), tuple(strides)) if sizes else ((1,), (0,))
