"""Optimisers on the GPU: a launch for each parameter; the rules are those of `numba_rnn.optim`."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from .launching import Vector, launch
from .reduce import DOUBLE, THREADS, add_up, blocks
from .toolkit import cuda, kernel


@cache
def sgd(dtype: np.dtype) -> Any:
    """The kernel of SGD; a thread for each number, as in the others."""

    @kernel(THREADS)
    def sgd_kernel(p, g, b, first, lr, momentum, undamped, weight_decay, nesterov, size):
        i = cuda.blockIdx.x * THREADS + cuda.threadIdx.x
        if i < size:
            step = g[i]
            if weight_decay != 0:
                step += weight_decay * p[i]
            if momentum != 0:
                kept = step if first else momentum * b[i] + undamped * step
                b[i] = kept
                step = step + momentum * kept if nesterov else kept
            p[i] -= lr * step

    return sgd_kernel


@cache
def rmsprop(dtype: np.dtype) -> Any:
    """The kernel of RMSprop."""
    zero = dtype.type(0)

    @kernel(THREADS)
    def rmsprop_kernel(p, g, v, m, b, lr, alpha, rest, eps, weight_decay, momentum, centered, size):
        i = cuda.blockIdx.x * THREADS + cuda.threadIdx.x
        if i < size:
            step = g[i]
            if weight_decay != 0:
                step += weight_decay * p[i]
            square = alpha * v[i] + rest * step * step
            v[i] = square
            if centered:
                mean = m[i] + rest * (step - m[i])
                m[i] = mean
                square -= mean * mean
                if square < 0:  # a variance, which rounding may push there
                    square = zero
            step /= math.sqrt(square) + eps
            if momentum != 0:
                step += momentum * b[i]
                b[i] = step
            p[i] -= lr * step

    return rmsprop_kernel


@cache
def adam(dtype: np.dtype) -> Any:
    """The kernel of Adam and, with decoupled decay, AdamW."""

    @kernel(THREADS)
    def adam_kernel(
        p, g, m, v, largest, lr, rest1, beta2, rest2, correction1, correction2, eps,
        weight_decay, shrink, amsgrad, size,
    ):  # fmt: skip
        i = cuda.blockIdx.x * THREADS + cuda.threadIdx.x
        if i < size:
            step = g[i]
            if weight_decay != 0:
                step += weight_decay * p[i]
            mean = m[i] + rest1 * (step - m[i])
            square = beta2 * v[i] + rest2 * step * step
            m[i] = mean
            v[i] = square
            if amsgrad:
                if square > largest[i] or square != square:
                    largest[i] = square
                square = largest[i]
            root = math.sqrt(square) / correction2 + eps
            p[i] = p[i] * shrink - lr * (mean / correction1 / root)

    return adam_kernel


def step(
    stream: Any,
    rule: str,
    p: Vector,
    g: Vector,
    buffers: dict[str, Vector],
    t: int,
    lr: float,
    options: dict[str, Any],
) -> None:
    """Change one parameter in place.

    Parameters
    ----------
    stream : Numba stream
    rule : {"sgd", "rmsprop", "adam", "adamw"}
    p, g : Vector, shape (n,)
    buffers : dict of str to Vector, shape (n,)
    t : int
        Counts from 1.
    lr : float
    options : dict
    """
    size, dtype = p.size, p.dtype
    if size == 0:
        return
    number, decay = dtype.type, options["weight_decay"]
    absent = p  # stands for a buffer that the options leave out
    with np.errstate(over="ignore"):  # what float32 can't hold is infinite
        if rule == "sgd":
            compiled = sgd(dtype)
            arguments = (
                buffers.get("momentum_buffer", absent), t == 1, number(lr),
                number(options["momentum"]), number(1 - options["dampening"]), number(decay),
                options["nesterov"],
            )  # fmt: skip
        elif rule == "rmsprop":
            compiled = rmsprop(dtype)
            alpha = options["alpha"]
            arguments = (
                buffers["square_avg"], buffers.get("grad_avg", absent),
                buffers.get("momentum_buffer", absent), number(lr), number(alpha),
                number(1 - alpha), number(options["eps"]), number(decay),
                number(options["momentum"]), options["centered"],
            )  # fmt: skip
        else:
            compiled = adam(dtype)
            beta1, beta2 = options["betas"]
            decoupled = rule == "adamw"
            arguments = (
                buffers["exp_avg"], buffers["exp_avg_sq"], buffers.get("max_exp_avg_sq", absent),
                number(lr), number(1 - beta1), number(beta2), number(1 - beta2),
                number(1 - beta1**t), number(math.sqrt(1 - beta2**t)), number(options["eps"]),
                number(0 if decoupled else decay), number(1 - lr * decay if decoupled else 1),
                options["amsgrad"],
            )  # fmt: skip
    launch(compiled, -(-size // THREADS), THREADS, stream, p, g, *arguments, size)


@kernel(THREADS)
def sum_squares(parts, at, g, size):
    """A block's part of the sum of squares."""
    shared = cuda.shared.array((1, THREADS), DOUBLE)
    total = 0.0
    first = cuda.blockIdx.x * THREADS + cuda.threadIdx.x
    for i in range(first, size, cuda.gridDim.x * THREADS):
        total += np.float64(g[i]) * np.float64(g[i])
    shared[0, cuda.threadIdx.x] = total
    add_up(shared)
    if cuda.threadIdx.x == 0:
        parts[at + cuda.blockIdx.x] = shared[0, 0]


@cache
def scale(dtype: np.dtype) -> Any:
    """The kernel that shortens a gradient, and writes the norm."""
    number = dtype.type

    @kernel(THREADS)
    def scale_kernel(g, norm, parts, count, max_norm, size):
        shared = cuda.shared.array((1, THREADS), DOUBLE)
        total = 0.0
        for k in range(cuda.threadIdx.x, count, THREADS):
            total += parts[k]
        shared[0, cuda.threadIdx.x] = total
        add_up(shared)
        length = math.sqrt(shared[0, 0])
        first = cuda.blockIdx.x * THREADS + cuda.threadIdx.x
        if first == 0:
            norm[0] = length
        factor = max_norm / (length + 1e-6)
        if not factor >= 1:  # NaN included
            for i in range(first, size, cuda.gridDim.x * THREADS):
                g[i] *= number(factor)

    return scale_kernel


def parts(gradients: list[Vector]) -> int:
    """How many parts of the sum of squares `clip` needs memory for."""
    return sum(blocks(g.size) for g in gradients)


def clip(
    stream: Any, gradients: list[Vector], parts: Vector, norm: Vector, max_norm: float
) -> None:
    """Scale gradients in place so that their norm, of all together, is at most max_norm.

    Parameters
    ----------
    stream : Numba stream
    gradients : list of Vector, shape (n,)
    parts : Vector of float64, shape (parts(gradients),)
    norm : Vector of float64, shape (1,)
        Is filled in.
    max_norm : float
    """
    sizes = [g.size for g in gradients]
    count = 0
    for g, size in zip(gradients, sizes, strict=True):
        launch(sum_squares, blocks(size), THREADS, stream, parts, count, g, size)
        count += blocks(size)
    for g, size in zip(gradients, sizes, strict=True):
        launch(
            scale(g.dtype), blocks(size), THREADS, stream,
            g, norm, parts, count, max_norm, size,
        )  # fmt: skip
