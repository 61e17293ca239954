"""The linear layer: y = x·wᵀ + b, and its gradients dx = g·w, dw = Σ gᵀ·x, db = Σ g.

Symbols: M rows, I features in, O features out. All arrays are in C order.
"""

from __future__ import annotations

from typing import ClassVar

from numba import prange

from .native import native, twins
from .products import (
    ROWS_AT_ONCE,
    Columns,
    Source,
    column_sums,
    map_rows,
    outer_product,
    pack_straight,
    pack_transposed,
    padded,
    panels,
    product_size,
    range_of,
)
from .structures import Int, Numbers, Structure, Table, at
from .tile import TILE_ROWS, lanes_of


class Map(Structure):
    """What both passes are given; flat, in C order."""

    M: Int
    I: Int
    O: Int
    has_bias: Int
    parts: Int  # of the rows
    packers: Int  # parts of the weights to pack
    rows: Table  # IN (M,): 0, 1, 2, ...
    x: Numbers  # IN (M, I)
    weights: Numbers  # IN: w (O, I), then b (O,) where there is one
    packed: Numbers  # scratch
    row_tables: Table  # scratch, (parts, 3, ROWS_AT_ONCE)


class Forward(Map):
    """What the map is given besides."""

    arrays: ClassVar = {"x": 2, "weights": 1, "y": 2}

    y: Numbers  # OUT (M, O)
    packed_bias: Numbers  # scratch


class Backward(Map):
    """What its gradients are given besides."""

    arrays: ClassVar = {"x": 2, "weights": 1, "g": 2, "dx": 2, "gradients": 1}

    g: Numbers  # IN (M, O): dL/dy
    dx: Numbers  # OUT (M, I)
    gradients: Numbers  # OUT, zeros: as weights
    zeros: Numbers  # IN: as many as a row of dx has, and more
    product_size: Int
    products: Numbers  # scratch, (parts, product_size)


@twins
def linear_forward(p: Forward):
    """y = x·wᵀ + b for every row."""
    if p.packers == 1:
        pack_forward(p, 0)
    else:
        for part in prange(p.packers):
            pack_forward(p, part)
    for part in prange(p.parts):
        map_forward(p, part)


@native
def pack_forward(p: Forward, part: Int):
    """Pack a part of wᵀ and b."""
    lanes = lanes_of(p.x)
    v0, v1 = range_of(part, p.packers, panels(p.O, lanes), 1)
    pack_transposed(p.packed, p.weights, p.O, p.I, v0, v1)
    for j in range(v0 * lanes, v1 * lanes):
        p.packed_bias[j] = p.weights[p.O * p.I + j] if p.has_bias and j < p.O else 0


@native
def map_forward(p: Forward, part: Int):
    """Map a part of the rows."""
    m0, m1 = range_of(part, p.parts, p.M, TILE_ROWS)
    map_rows(
        Columns(p.y, p.rows, p.O, 0), p.O, p.packed_bias,
        Source(p.x, p.rows, p.I, 0, p.packed, p.I), Source(p.x, p.rows, p.I, 0, p.packed, 0),
        m0, m1, at(p.row_tables, part * 3 * ROWS_AT_ONCE),
    )  # fmt: skip


def forward_scratch(I: int, O: int, lanes: int) -> dict[str, int]:
    """Return the size of the scratch of a forward pass, by name."""
    return {"packed": padded(O, lanes) * I, "packed_bias": padded(O, lanes)}


@twins
def linear_backward(p: Backward):
    """dx = g·w, dw = Σ gᵀ·x, db = Σ g."""
    if p.packers == 1:
        pack_backward(p, 0)
    else:
        for part in prange(p.packers):
            pack_backward(p, part)
    for part in prange(p.parts):
        gradients(p, part)


@native
def pack_backward(p: Backward, part: Int):
    """Pack a part of w."""
    v0, v1 = range_of(part, p.packers, panels(p.I, lanes_of(p.x)), 1)
    pack_straight(p.packed, p.weights, p.I, p.O, v0, v1)


@native
def gradients(p: Backward, part: Int):
    """A range of rows of dx, and of outputs of the gradients of the parameters."""
    I, O = p.I, p.O
    m0, m1 = range_of(part, p.parts, p.M, TILE_ROWS)
    map_rows(
        Columns(p.dx, p.rows, I, 0), I, p.zeros,
        Source(p.g, p.rows, O, 0, p.packed, O), Source(p.g, p.rows, O, 0, p.packed, 0),
        m0, m1, at(p.row_tables, part * 3 * ROWS_AT_ONCE),
    )  # fmt: skip
    j0, j1 = range_of(part, p.parts, O, TILE_ROWS)
    scratch = at(p.products, part * p.product_size)
    g = Columns(p.g, p.rows, O, j0)
    outer_product(
        at(p.gradients, j0 * I), I, g, j1 - j0, Columns(p.x, p.rows, I, 0), I, p.M, scratch
    )
    if p.has_bias:
        column_sums(at(p.gradients, O * I + j0), g, j1 - j0, p.M, scratch)


def backward_scratch(I: int, O: int, parts: int, lanes: int) -> dict[str, int]:
    """Return the size of the scratch of a backward pass, by name."""
    wide = padded(I, lanes)
    return {"packed": wide * O, "zeros": wide, "products": parts * product_size(wide, lanes)}
