"""Dropout on the device: the masks that `cpu/dropout.py` describes, number by number the same."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from .launching import Vector, launch
from .toolkit import SIMULATOR, cuda, device_function, kernel

THREADS = 4 if SIMULATOR else 256
GOLDEN, FIRST, SECOND = (
    np.uint64(constant) for constant in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)
U30, U27, U31, U11 = (np.uint64(shift) for shift in (30, 27, 31, 11))


def _scramble(z):
    """The finaliser of SplitMix64 (Steele, Lea and Flood, 2014): neighbours become unrelated."""
    z = (z ^ (z >> U30)) * FIRST
    z = (z ^ (z >> U27)) * SECOND
    return z ^ (z >> U31)


scramble = device_function(_scramble)


def start_of(key: int, layer: int) -> np.uint64:
    """Where the sequence of random bits of a call's layer starts."""
    with np.errstate(over="ignore"):  # modulo 2^64 is meant
        return _scramble(np.uint64(key) + _scramble(np.uint64(layer)))


@cache
def drop(dtype: np.dtype) -> Any:
    """The kernel; a thread for each number, kept where its 53 random bits are >= least."""
    zero = dtype.type(0)

    @kernel(THREADS)
    def dropout_kernel(out, x, scale, start, least, size):
        i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        if i < size:
            bits = scramble(start + GOLDEN * np.uint64(i + 1)) >> U11
            out[i] = x[i] * dtype_of(scale) if bits >= least else zero

    dtype_of = dtype.type
    return dropout_kernel


def dropout(library: Any, out: Vector, x: Vector, probability: float, key: int, layer: int) -> None:
    """out = x / (1 - p) where the element is kept, which it is with probability 1 - p, else 0."""
    dtype, size = x.dtype, x.size
    scale = 0.0 if probability == 1 else 1 / (1 - probability)
    least = np.uint64(math.ceil(probability * 2.0**53))
    if size:
        launch(
            drop(dtype), -(-size // THREADS), THREADS, library.stream(),
            out, x, scale, start_of(key, layer), least, size,
        )  # fmt: skip
