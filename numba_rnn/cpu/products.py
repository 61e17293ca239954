"""Matrix products over sets of rows, built from the tiles, and the packing that they need.

`affine_rows` is both the inside of an RNN step and the forward of Linear; `outer_product` is what
every weight gradient is made of. Rows are given by tables, so the same code serves padded,
batch-first and packed memory, and reads no padding.

Packed matrices: a *panel* is one vector wide; panel v of B (K, N) holds B[k, v·LANES : (v+1)·LANES]
for k = 0, 1, ..., one after the other, zeros where v·LANES + l >= N, and there are `panels(N)` of
them, a few more than N needs, so that the widest tile never reads past the end. A *stripe* is
TILE_ROWS columns wide and holds A[k, m : m + TILE_ROWS] for k = 0, 1, ...

Arrays are flat, in C order.
"""

from __future__ import annotations

from typing import NamedTuple

from . import tile
from .native import inline, native
from .structures import Int, Numbers, Table, at
from .tile import TILE_ROWS, WIDEST, copy_vector, lanes_of, transpose_square
from .vectors import IDENTITY

CACHED = 1 << 15  # numbers of a packed matrix to use for all rows before going on
BLOCK = 256  # rows summed at once in an outer product
BLOCK_COLUMNS = 32 * TILE_ROWS  # columns of A packed at once, BLOCK rows of them
ROWS_AT_ONCE = 16 * TILE_ROWS  # rows of a plain product between two looks at the tables


class Rows(NamedTuple):
    """Row i starts at numbers[at[i]]."""

    numbers: Numbers
    at: Table


class Factor(NamedTuple):
    """A product: rows of `depth` numbers, row i from numbers[at[i]] on, times packed panels."""

    numbers: Numbers
    at: Table
    panels: Numbers
    depth: Int


class Columns(NamedTuple):
    """Columns of a matrix whose rows lie anywhere: row k is numbers[rows[k]·stride + column :]."""

    numbers: Numbers
    rows: Table
    stride: Int
    column: Int


class Source(NamedTuple):
    """A product of `Columns`, `depth` of them, with packed panels."""

    numbers: Numbers
    rows: Table
    stride: Int
    column: Int
    panels: Numbers
    depth: Int


@inline
def vectors(width, lanes):
    """How many vectors `width` columns fill, the last one perhaps in part."""
    return (width + lanes - 1) // lanes


@inline
def panels(width, lanes):
    """How many panels to pack for `width` columns: a multiple of what the widest tile takes."""
    return (width + lanes * WIDEST - 1) // (lanes * WIDEST) * WIDEST


@inline
def range_of(part, parts, count, multiple):
    """Cut 0:count into `parts` nearly equal ranges, at multiples, and return the part-th."""
    units = (count + multiple - 1) // multiple
    first = units * part // parts * multiple
    last = units * (part + 1) // parts * multiple
    return min(first, count), min(last, count)


# --- packing --------------------------------------------------------------------------------------


@native
def pack_transposed(packed: Numbers, w: Numbers, width: Int, depth: Int, v0: Int, v1: Int):
    """Pack panels v0:v1 of B = wᵀ, where w is (width, depth)."""
    lanes = lanes_of(packed)
    for v in range(v0, v1):
        panel = v * depth * lanes
        k = 0
        if (v + 1) * lanes <= width:
            while k + lanes <= depth:
                transpose_square(at(packed, panel + k * lanes), at(w, v * lanes * depth + k), depth)
                k += lanes
        while k < depth:
            for lane in range(lanes):
                j = v * lanes + lane
                packed[panel + k * lanes + lane] = w[j * depth + k] if j < width else 0
            k += 1


@native
def pack_straight(packed: Numbers, w: Numbers, width: Int, depth: Int, v0: Int, v1: Int):
    """Pack panels v0:v1 of B = w, which is (depth, width)."""
    lanes = lanes_of(packed)
    for v in range(v0, v1):
        for k in range(depth):
            to, source = (v * depth + k) * lanes, k * width + v * lanes
            copy_vector(at(packed, to), at(w, source), width - v * lanes)


@inline
def pack_rows(packed, b, width, k0, k1, lanes):
    """Pack panels of B[k, :] = the first `width` numbers of row k0 + k of the columns b."""
    depth = k1 - k0
    for k in range(depth):
        source = b.rows[k0 + k] * b.stride + b.column
        for v in range(vectors(width, lanes)):
            to = (v * depth + k) * lanes
            copy_vector(at(packed, to), at(b.numbers, source + v * lanes), width - v * lanes)


@inline
def pack_stripes(packed, a, first, width, k0, k1, lanes):
    """Pack stripes of A[k, :] = `width` numbers, from the first, of row k0 + k of the columns a."""
    depth = k1 - k0
    for m in range(0, width, TILE_ROWS):
        for k in range(depth):
            source = a.rows[k0 + k] * a.stride + a.column + first + m
            to = m * depth + k * TILE_ROWS
            # Whole vectors reach into the place of the next k, which is written after.
            for r in range(0, TILE_ROWS, lanes):
                copy_vector(
                    at(packed, to + r), at(a.numbers, source + r), min(width - m, TILE_ROWS) - r
                )


# --- products -------------------------------------------------------------------------------------


@inline
def panels_at_once(depth, lanes):
    """How many panels of a packed matrix to keep in the cache while all rows pass by."""
    return max(WIDEST, CACHED // (max(depth, 1) * lanes) // WIDEST * WIDEST)


@inline
def rows_at_once(left):
    """Height of the next band of `left` rows, so that no tile is left nearly empty."""
    if left >= 2 * TILE_ROWS or left <= TILE_ROWS:
        return min(left, TILE_ROWS)
    return 4 if left <= 8 else TILE_ROWS


@native
def affine_rows(
    out: Rows, n: Int, v0: Int, v1: Int, width: Int, bias: Numbers, a: Factor, b: Factor, f: Int
):  # fmt: skip
    """out[i] = f(bias + a[i]·a.panels + b[i]·b.panels) for rows i < n and panels v0:v1.

    `width` columns of out are real.
    """
    step = panels_at_once(a.depth + b.depth, lanes_of(bias))
    for v in range(v0, v1, step):
        i = 0
        while i < n:
            rows = rows_at_once(n - i)
            tile.affine_band(
                Rows(out.numbers, at(out.at, i)), rows, v, min(v + step, v1), width, bias,
                Factor(a.numbers, at(a.at, i), a.panels, a.depth),
                Factor(b.numbers, at(b.at, i), b.panels, b.depth), f,
            )  # fmt: skip
            i += rows


@native
def delta_rows(
    delta: Rows, n: Int, v0: Int, v1: Int, width: Int, g: Rows, later: Factor, h: Numbers,
    dh: Numbers, keep: Int, f: Int,
):  # fmt: skip
    """delta[i] = (g[i] + later[i]·later.panels) · f'(h[i]) for rows i < n and panels v0:v1."""
    step = panels_at_once(later.depth, lanes_of(h))
    for v in range(v0, v1, step):
        i = 0
        while i < n:
            rows = rows_at_once(n - i)
            tile.delta_band(
                Rows(delta.numbers, at(delta.at, i)), rows, v, min(v + step, v1), width,
                Rows(g.numbers, at(g.at, i)),
                Factor(later.numbers, at(later.at, i), later.panels, later.depth), h, dh, keep, f,
            )  # fmt: skip
            i += rows


@native
def map_rows(
    out: Columns, width: Int, bias: Numbers, a: Source, b: Source, k0: Int, k1: Int, tables: Table,
):  # fmt: skip
    """out = bias + a·a.panels + b·b.panels for rows k0:k1: a linear map, or an input gradient.

    a and b are the same array, or b has depth 0; `tables` is scratch for 3·ROWS_AT_ONCE.
    """
    panels = vectors(width, lanes_of(bias))
    out_at, a_at, b_at = tables, at(tables, ROWS_AT_ONCE), at(tables, 2 * ROWS_AT_ONCE)
    for start in range(k0, k1, ROWS_AT_ONCE):
        n = min(ROWS_AT_ONCE, k1 - start)
        for i in range(n):
            out_at[i] = out.rows[start + i] * out.stride + out.column
            a_at[i] = a.rows[start + i] * a.stride + a.column
            b_at[i] = b.rows[start + i] * b.stride + b.column
        affine_rows(
            Rows(out.numbers, out_at), n, 0, panels, width, bias,
            Factor(a.numbers, a_at, a.panels, a.depth), Factor(b.numbers, b_at, b.panels, b.depth),
            IDENTITY,
        )  # fmt: skip


def padded(width: int, lanes: int) -> int:
    """Return how many columns a packed matrix of `width` columns has."""
    return -(-width // (lanes * WIDEST)) * lanes * WIDEST


def product_size(width: int, lanes: int) -> int:
    """Return how much scratch an `outer_product` with n <= width, itself padded, needs."""
    return BLOCK * (BLOCK_COLUMNS + width) + lanes


@native
def outer_product(
    c: Numbers, c_stride: Int, a: Columns, m: Int, b: Columns, n: Int, count: Int,
    scratch: Numbers,
):  # fmt: skip
    """c += Σ_k a[k]ᵀ·b[k], k < count, in blocks of k, for m columns of a and n columns of b.

    Element (i, j) of the product is added to c[i·c_stride + j].
    """
    lanes = lanes_of(scratch)
    packed_a, packed_b = scratch, at(scratch, BLOCK * BLOCK_COLUMNS + lanes)
    for k in range(0, count, BLOCK):
        stop = min(k + BLOCK, count)
        depth = stop - k
        pack_rows(packed_b, b, n, k, stop, lanes)
        for m0 in range(0, m, BLOCK_COLUMNS):
            columns = min(BLOCK_COLUMNS, m - m0)
            pack_stripes(packed_a, a, m0, columns, k, stop, lanes)
            for v in range(0, vectors(n, lanes), 2):
                for i in range(0, columns, TILE_ROWS):
                    tile.outer_tile(
                        at(c, (m0 + i) * c_stride), c_stride, min(TILE_ROWS, columns - i), v, n,
                        at(packed_a, i * depth), packed_b, depth,
                    )  # fmt: skip


@native
def column_sums(sums: Numbers, a: Columns, width: Int, count: Int, block: Numbers):
    """sums += Σ_k a[k] for `width` columns of a and k < count.

    In blocks of rows, as in `outer_product`, and of columns; `block` is scratch for
    BLOCK_COLUMNS numbers.
    """
    for j0 in range(0, width, BLOCK_COLUMNS):
        columns = min(BLOCK_COLUMNS, width - j0)
        for first in range(0, count, BLOCK):
            for j in range(columns):
                block[j] = 0
            for k in range(first, min(first + BLOCK, count)):
                source = a.rows[k] * a.stride + a.column + j0
                for j in range(columns):
                    block[j] += a.numbers[source + j]
            for j in range(columns):
                sums[j0 + j] += block[j]
