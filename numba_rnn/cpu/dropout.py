"""Dropout whose masks are a function of a key: nothing is stored, and backward finds them again."""

from __future__ import annotations

from numba import prange, uint64

from .build import Shell, kernel
from .products import range_of


@kernel
def scramble(z):
    """The finaliser of SplitMix64 (Steele, Lea and Flood, 2014): neighbours become unrelated."""
    z = uint64(z)
    z = (z ^ (z >> uint64(30))) * uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> uint64(27))) * uint64(0x94D049BB133111EB)
    return z ^ (z >> uint64(31))


@Shell
def dropout(
    out,  # (size,)
    x,  # (size,)
    probability, key, layer, parts,
):  # fmt: skip
    """Out = x / (1 - p) where the element is kept, which it is with probability 1 - p, else 0."""
    scale = x.dtype.type(1 / (1 - probability)) if probability < 1 else x.dtype.type(0)
    start = scramble(uint64(key) + scramble(layer))
    golden = uint64(0x9E3779B97F4A7C15)
    for part in prange(parts):
        first, last = range_of(part, parts, len(x), 64)
        for i in range(first, last):
            uniform = (scramble(start + golden * uint64(i + 1)) >> uint64(11)) * 2.0**-53
            out[i] = x[i] * scale if uniform >= probability else 0
