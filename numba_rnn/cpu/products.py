"""Matrix products over sets of rows, built from the tiles.

`affine_rows` is both the inside of an RNN step and the forward of Linear; `outer_product` is what
every weight gradient is made of. Rows are given by tables (row i of `a` starts at a[a_at[i]]), so
the same code serves padded, batch-first and packed memory, and reads no padding.
"""

from __future__ import annotations

import numpy as np

from .bands import AFFINE, DELTA, OUTER, call
from .build import kernel
from .packing import pack_rows, pack_stripes, panels
from .tile import TILE_ROWS, WIDEST

CACHED = 1 << 15  # numbers of a packed matrix to use for all rows before going on: half of an L2
BLOCK = 256  # rows summed at once in an outer product


@kernel
def range_of(part, parts, count, multiple):
    """The part-th of `parts` nearly equal ranges of 0:count, cut at multiples."""
    units = (count + multiple - 1) // multiple
    return min(units * part // parts * multiple, count), min(
        units * (part + 1) // parts * multiple, count
    )


@kernel
def panels_at_once(depth, lanes):
    """How many panels of a packed matrix to keep in the cache while all rows pass by."""
    return max(WIDEST, CACHED // (max(depth, 1) * lanes) // WIDEST * WIDEST)


@kernel
def rows_at_once(left):
    """Height of the next band of `left` rows, so that no tile is left nearly empty."""
    if left >= 2 * TILE_ROWS or left <= TILE_ROWS:
        return min(left, TILE_ROWS)
    return 4 if left <= 8 else TILE_ROWS


@kernel
def affine_rows(
    bands, out, out_at, n, v0, v1, width, bias, a, a_at, wa, na, b, b_at, wb, nb, f, lanes
):
    """out[i] = f(bias + a[i]·wa + b[i]·wb) for rows i < n and panels v0:v1.

    a[i] has na numbers, b[i] nb; wa and wb are packed in panels; `width` columns of out are real.
    """
    step = panels_at_once(na + nb, lanes)
    for v in range(v0, v1, step):
        stop = min(v + step, v1)
        i = 0
        while i < n:
            rows = rows_at_once(n - i)
            call(
                bands[AFFINE],
                (out, (out_at, i), rows, v, stop, width, bias,
                 a, (a_at, i), wa, na, b, (b_at, i), wb, nb, f),
            )  # fmt: skip
            i += rows


@kernel
def delta_rows(
    bands, delta, at, n, v0, v1, width, g, g_at, later, later_at, w, depth, h, dh, keep, f, lanes
):
    """delta[i] = (g[i] + later[i]·w) · f'(h[i]) for rows i < n and panels v0:v1."""
    step = panels_at_once(depth, lanes)
    for v in range(v0, v1, step):
        stop = min(v + step, v1)
        i = 0
        while i < n:
            rows = rows_at_once(n - i)
            call(
                bands[DELTA],
                (delta, (at, i), rows, v, stop, width, g, (g_at, i),
                 later, (later_at, i), w, depth, h, dh, keep, f),
            )  # fmt: skip
            i += rows


@kernel
def outer_product(
    bands,
    c,
    start,
    c_stride,
    a,
    a_rows,
    a_stride,
    a_column,
    m,
    b,
    b_rows,
    b_stride,
    b_column,
    n,
    lanes,
):
    """C += Σ_k a[k]ᵀ·b[k], in blocks of k, for m columns of a and n columns of b.

    a[k] is row a_rows[k] of a, from a_column on; b[k] likewise. Element (i, j) of the product is
    added to c[start + i·c_stride + j].
    """
    stripes = (m + TILE_ROWS - 1) // TILE_ROWS
    packed_a = np.empty(stripes * TILE_ROWS * BLOCK, a.dtype)
    packed_b = np.empty(panels(n, lanes) * lanes * BLOCK, a.dtype)
    for k in range(0, len(a_rows), BLOCK):
        stop = min(k + BLOCK, len(a_rows))
        pack_stripes(packed_a, a, a_rows, a_stride, a_column, m, k, stop)
        pack_rows(packed_b, b, b_rows, b_stride, b_column, n, k, stop, lanes)
        depth = stop - k
        for v in range(0, (n + lanes - 1) // lanes, 2):
            for row in range(0, m, TILE_ROWS):
                call(
                    bands[OUTER],
                    ((c, start + row * c_stride), c_stride, min(TILE_ROWS, m - row), v, v + 2, n,
                     (packed_a, row * depth), packed_b, depth),
                )  # fmt: skip


@kernel
def column_sums(sums, start, a, rows, stride, column, width):
    """sums[start:] += Σ_k of columns column:column+width of a[rows[k]], in blocks of k."""
    block = np.empty(width, a.dtype)
    for first in range(0, len(rows), BLOCK):
        for j in range(width):
            block[j] = 0
        for k in range(first, min(first + BLOCK, len(rows))):
            source = rows[k] * stride + column
            for j in range(width):
                block[j] += a[source + j]
        for j in range(width):
            sums[start + j] += block[j]
