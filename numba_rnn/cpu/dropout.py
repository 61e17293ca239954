"""Dropout whose masks are a function of a key: nothing is stored, and backward finds them again."""

from __future__ import annotations

from typing import ClassVar

from numba import int64, prange, uint64

from .native import inline, native, twins
from .products import range_of
from .structures import Int, Numbers, Structure

GOLDEN = 0x9E3779B97F4A7C15


class Drop(Structure):
    """What dropout is given."""

    arrays: ClassVar = {"x": 2, "out": 2, "scale": 1}

    size: Int
    parts: Int
    key: Int
    layer: Int
    least: Int  # the least 53 bits with which an element is kept
    x: Numbers  # IN (size,)
    out: Numbers  # OUT (size,)
    scale: Numbers  # IN (1,): 1 / (1 - probability)


@inline
def scramble(z):
    """The finaliser of SplitMix64 (Steele, Lea and Flood, 2014): neighbours become unrelated."""
    z = uint64(z)
    z = (z ^ (z >> uint64(30))) * uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> uint64(27))) * uint64(0x94D049BB133111EB)
    return z ^ (z >> uint64(31))


@twins
def dropout(p: Drop):
    """out = x / (1 - p) where an element is kept, which it is with probability 1 - p, else 0."""
    for part in prange(p.parts):
        drop(p, part)


@native
def drop(p: Drop, part: Int):
    """Drop or scale a part of the elements; the i-th is kept where its 53 random bits >= least."""
    first, last = range_of(part, p.parts, p.size, 64)
    start = scramble(uint64(p.key) + scramble(p.layer))
    for i in range(first, last):
        bits = scramble(start + uint64(GOLDEN) * uint64(i + 1)) >> uint64(11)
        p.out[i] = p.x[i] * p.scale[0] if int64(bits) >= p.least else 0
