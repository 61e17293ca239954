"""Dropout whose masks are a function of a key: nothing is stored, and backward finds them again."""

from __future__ import annotations

import math

from numba import int64, uint64

from .build import Int, Numbers, frame_of, kernel, launch, natives, shell
from .products import DROPOUT, range_of

PLACES = (DROPOUT,)


@kernel
def scramble(z):
    """The finaliser of SplitMix64 (Steele, Lea and Flood, 2014): neighbours become unrelated."""
    z = uint64(z)
    z = (z ^ (z >> uint64(30))) * uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> uint64(27))) * uint64(0x94D049BB133111EB)
    return z ^ (z >> uint64(31))


@natives.task(DROPOUT)
def drop(
    part: Int, out: Numbers, x: Numbers, size: Int, start: Int, least: Int, scale: Numbers,
    parts: Int,
):  # fmt: skip
    """Drop or scale a part of the elements; the i-th is kept where its 53 random bits >= least."""
    first, last = range_of(part, parts, size, 64)
    golden = uint64(0x9E3779B97F4A7C15)
    for i in range(first, last):
        bits = scramble(uint64(start) + golden * uint64(i + 1)) >> uint64(11)
        out[i] = x[i] * scale[0] if int64(bits) >= least else 0


@shell
def dropout(
    launcher,  # 0, or the address of the parallel one
    bands,  # table of natives
    out,
    x,
    scale,  # (1,): 1 / (1 - probability)
    probability, key, layer, parts,
):  # fmt: skip
    """out = x / (1 - p) where the element is kept, which it is with probability 1 - p, else 0."""
    start = int64(scramble(uint64(key) + scramble(layer)))
    least = int64(math.ceil(probability * 2.0**53))
    launch(launcher, bands[DROPOUT], parts, frame_of((out, x, x.size, start, least, scale, parts)))
