"""The linear layer: y = x·wᵀ + b, and its gradients dx = g·w, dw = Σ gᵀ·x, db = Σ g.

Symbols: M rows, I features in, O features out. All arrays are 1-D views in C order.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from .build import Shell, kernel
from .packing import pack_straight, pack_transposed, panels
from .products import affine_rows, column_sums, outer_product, range_of
from .tile import IDENTITY, TILE_ROWS


@kernel
def map_rows(bands, out, a, packed, bias, m0, m1, I, O, lanes):
    """Out = a·packed + bias for rows m0:m1; a has I columns, out has O."""
    at_once = 8 * TILE_ROWS
    a_at, out_at = np.empty(at_once, np.int64), np.empty(at_once, np.int64)
    for start in range(m0, m1, at_once):
        n = min(at_once, m1 - start)
        for i in range(n):
            a_at[i] = (start + i) * I
            out_at[i] = (start + i) * O
        affine_rows(
            bands, out, out_at, n, 0, panels(O, lanes), O, bias, a, a_at, packed, I,
            a, a_at, packed, 0, IDENTITY, lanes,
        )  # fmt: skip


@Shell
def forward(
    bands,
    y,  # (M, O)
    x,  # (M, I)
    weights,  # flat: w (O, I), then b (O,) where there is one
    M, I, O, lanes, parts,
):  # fmt: skip
    """Map every row."""
    V = panels(O, lanes)
    packed, bias = np.empty(V * lanes * I, x.dtype), np.zeros(V * lanes, x.dtype)
    for part in prange(parts):
        v0, v1 = range_of(part, parts, V, 1)
        pack_transposed(bands, packed, weights, 0, O, I, lanes, v0, v1)
    if len(weights) > O * I:
        for j in range(O):
            bias[j] = weights[O * I + j]
    for part in prange(parts):
        m0, m1 = range_of(part, parts, M, TILE_ROWS)
        map_rows(bands, y, x, packed, bias, m0, m1, I, O, lanes)


@Shell
def backward(
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
    for part in prange(parts):
        v0, v1 = range_of(part, parts, V, 1)
        pack_straight(packed, weights, 0, I, O, lanes, v0, v1)
    rows = np.arange(M)
    for part in prange(parts):
        m0, m1 = range_of(part, parts, M, TILE_ROWS)
        map_rows(bands, dx, grad_output, packed, zeros, m0, m1, O, I, lanes)
        j0, j1 = range_of(part, parts, O, TILE_ROWS)
        if j1 > j0:
            outer_product(
                bands,
                gradients,
                j0 * I,
                I,
                grad_output,
                rows,
                O,
                j0,
                j1 - j0,
                x,
                rows,
                I,
                0,
                I,
                lanes,
            )
            if len(gradients) > O * I:
                column_sums(gradients, O * I + j0, grad_output, rows, O, j0, j1 - j0)
