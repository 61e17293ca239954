"""The linear layer: y = x·wᵀ + b, and its gradients dx = g·w, dw = Σ gᵀ·x, db = Σ g.

Symbols: M rows, I features in, O features out. All arrays are 1-D views in C order.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from .build import Shell, call
from .products import (
    AFFINE_BAND,
    BLOCK,
    BLOCK_COLUMNS,
    COLUMN_SUMS,
    MAP_ROWS,
    OUTER_PRODUCT,
    PACK_STRAIGHT,
    PACK_TRANSPOSED,
    panels,
    range_of,
)
from .tile import TILE_ROWS

FORWARD = (PACK_TRANSPOSED, AFFINE_BAND, MAP_ROWS)
BACKWARD = (PACK_STRAIGHT, AFFINE_BAND, MAP_ROWS, OUTER_PRODUCT, COLUMN_SUMS)


@Shell
def linear_forward(
    bands,  # table of natives
    y,  # (M, O)
    x,  # (M, I)
    weights,  # flat: w (O, I), then b (O,) where there is one
    M, I, O, lanes, parts,
):  # fmt: skip
    """Map every row."""
    V = panels(O, lanes)
    packed, bias = np.empty(V * lanes * I, x.dtype), np.zeros(V * lanes, x.dtype)
    tables = np.empty((parts, 16 * TILE_ROWS), np.int64)
    for part in prange(parts):
        v0, v1 = range_of(part, parts, V, 1)
        call(bands[PACK_TRANSPOSED], (packed, weights, O, I, lanes, v0, v1))
    if len(weights) > O * I:
        for j in range(O):
            bias[j] = weights[O * I + j]
    for part in prange(parts):
        m0, m1 = range_of(part, parts, M, TILE_ROWS)
        call(bands[MAP_ROWS], (bands, y, x, packed, bias, tables[part], m0, m1, I, O, lanes))


@Shell
def linear_backward(
    bands,
    dx,  # (M, I)
    gradients,  # flat, zeros, laid out as weights
    grad_output,  # (M, O)
    x,  # (M, I)
    weights,
    M, I, O, lanes, parts,
):  # fmt: skip
    """Gradients of the input and the parameters."""
    V = panels(I, lanes)
    packed, zeros = np.empty(V * lanes * O, x.dtype), np.zeros(V * lanes, x.dtype)
    tables = np.empty((parts, 16 * TILE_ROWS), np.int64)
    scratch_a = np.empty((parts, BLOCK_COLUMNS * BLOCK + lanes), x.dtype)
    scratch_b = np.empty((parts, V * lanes * BLOCK), x.dtype)
    for part in prange(parts):
        v0, v1 = range_of(part, parts, V, 1)
        call(bands[PACK_STRAIGHT], (packed, weights, I, O, lanes, v0, v1))
    rows = np.arange(M)
    for part in prange(parts):
        m0, m1 = range_of(part, parts, M, TILE_ROWS)
        call(
            bands[MAP_ROWS],
            (bands, dx, grad_output, packed, zeros, tables[part], m0, m1, O, I, lanes),
        )
        j0, j1 = range_of(part, parts, O, TILE_ROWS)
        call(
            bands[OUTER_PRODUCT],
            ((gradients, j0 * I), I, grad_output, rows, O, j0, j1 - j0, x, rows, I, 0, I, M,
             scratch_a[part], scratch_b[part], lanes),
        )  # fmt: skip
        if len(gradients) > O * I:
            call(
                bands[COLUMN_SUMS],
                ((gradients, O * I + j0), grad_output, rows, O, j0, j1 - j0, M, scratch_a[part]),
            )
