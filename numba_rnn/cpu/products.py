"""Matrix products over sets of rows, built from the tiles, and the packing that they need.

`affine_rows` is both the inside of an RNN step and the forward of Linear; `outer_product` is what
every weight gradient is made of. Rows are given by tables, so the same code serves padded,
batch-first and packed memory, and reads no padding.

Packed matrices: a *panel* is one vector wide; panel v of B (K, N) holds B[k, v·LANES : (v+1)·LANES]
for k = 0, 1, ..., one after the other, zeros where v·LANES + l >= N, and there are `panels(N)` of
them, a few more than N needs, so that the widest tile never reads past the end. A *stripe* is
TILE_ROWS columns wide and holds A[k, m : m + TILE_ROWS] for k = 0, 1, ...

Arrays are 1-D views in C order; a `rows` or `_rows` table holds numbers of rows, `_at` places.
"""

from __future__ import annotations

from . import tile
from .build import Int, Numbers, Table, advance, call, kernel, natives
from .tile import TILE_ROWS, WIDEST, copy_vector, transpose_square
from .vectors import IDENTITY

# Places in the table of natives.
(
    AFFINE_BAND, DELTA_BAND, PACK_TRANSPOSED, PACK_STRAIGHT, OUTER_PRODUCT, COLUMN_SUMS,
    MAP_ROWS, RNN_PACK, RNN_STEPS, RNN_PACK_BACK, RNN_STEPS_BACK, RNN_GRADIENTS,
    LINEAR_PACK, LINEAR_MAP, LINEAR_PACK_BACK, LINEAR_GRADIENTS, DROPOUT,
) = range(17)  # fmt: skip

CACHED = 1 << 15  # numbers of a packed matrix to use for all rows before going on
BLOCK = 256  # rows summed at once in an outer product
ROWS_AT_ONCE = 16 * TILE_ROWS  # rows of a plain product between two looks at the tables
BLOCK_COLUMNS = 32 * TILE_ROWS  # columns of A packed at once, BLOCK rows of them


@kernel
def vectors(width, lanes):
    """How many vectors `width` columns fill, the last one perhaps in part."""
    return (width + lanes - 1) // lanes


@kernel
def panels(width, lanes):
    """How many panels to pack for `width` columns: a multiple of what the widest tile takes."""
    return (width + lanes * WIDEST - 1) // (lanes * WIDEST) * WIDEST


@kernel
def range_of(part, parts, count, multiple):
    """Cut 0:count into `parts` nearly equal ranges, at multiples, and return the part-th."""
    units = (count + multiple - 1) // multiple
    first = units * part // parts * multiple
    last = units * (part + 1) // parts * multiple
    return min(first, count), min(last, count)


# --- packing --------------------------------------------------------------------------------------


@natives.native(PACK_TRANSPOSED)
def pack_transposed(
    packed: Numbers, w: Numbers, width: Int, depth: Int, lanes: Int, v0: Int, v1: Int
):
    """Pack panels v0:v1 of B = wᵀ, where w is (width, depth)."""
    for v in range(v0, v1):
        panel = v * depth * lanes
        k = 0
        if (v + 1) * lanes <= width:
            while k + lanes <= depth:
                transpose_square((packed, panel + k * lanes, w, v * lanes * depth + k, depth))
                k += lanes
        while k < depth:
            for lane in range(lanes):
                j = v * lanes + lane
                packed[panel + k * lanes + lane] = w[j * depth + k] if j < width else 0
            k += 1


@natives.native(PACK_STRAIGHT)
def pack_straight(
    packed: Numbers, w: Numbers, width: Int, depth: Int, lanes: Int, v0: Int, v1: Int
):
    """Pack panels v0:v1 of B = w, which is (depth, width)."""
    for v in range(v0, v1):
        for k in range(depth):
            to = (v * depth + k) * lanes
            copy_vector((packed, to, w, k * width + v * lanes, width - v * lanes))


@kernel
def pack_rows(packed, b, rows, stride, column, width, k0, k1, lanes):
    """Pack panels of B[k, :] = the `width` numbers from `column` on in row rows[k0 + k] of b."""
    depth = k1 - k0
    for k in range(depth):
        source = rows[k0 + k] * stride + column
        for v in range(vectors(width, lanes)):
            to = (v * depth + k) * lanes
            copy_vector((packed, to, b, source + v * lanes, width - v * lanes))


@kernel
def pack_stripes(packed, a, rows, stride, column, width, k0, k1, lanes):
    """Pack stripes of A[k, :] = the `width` numbers from `column` on in row rows[k0 + k] of a."""
    depth = k1 - k0
    for m in range(0, width, TILE_ROWS):
        for k in range(depth):
            source = rows[k0 + k] * stride + column + m
            to = m * depth + k * TILE_ROWS
            # Whole vectors reach into the place of the next k, which is written after.
            for r in range(0, TILE_ROWS, lanes):
                copy_vector((packed, to + r, a, source + r, min(width - m, TILE_ROWS) - r))


# --- products -------------------------------------------------------------------------------------


@natives.native(AFFINE_BAND)
def affine_band(
    out: Numbers, out_at: Table, rows: Int, v0: Int, v1: Int, width: Int, bias: Numbers,
    a: Numbers, a_at: Table, wa: Numbers, na: Int, b: Numbers, b_at: Table, wb: Numbers, nb: Int,
    f: Int,
):  # fmt: skip
    """See `tile.affine_band`."""
    tile.affine_band((out, out_at, rows, v0, v1, width, bias, a, a_at, wa, na, b, b_at, wb, nb, f))


@natives.native(DELTA_BAND)
def delta_band(
    delta: Numbers, at: Table, rows: Int, v0: Int, v1: Int, width: Int, g: Numbers, g_at: Table,
    later: Numbers, later_at: Table, w: Numbers, n: Int, h: Numbers, dh: Numbers, keep: Int, f: Int,
):  # fmt: skip
    """See `tile.delta_band`."""
    tile.delta_band(
        (delta, at, rows, v0, v1, width, g, g_at, later, later_at, w, n, h, dh, keep, f)
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
    bands, out, out_at, n, v0, v1, step, width, bias, a, a_at, wa, na, b, b_at, wb, nb, f
):
    """out[i] = f(bias + a[i]·wa + b[i]·wb) for rows i < n and panels v0:v1.

    Row i of a starts at a[a_at[i]] and has na numbers; of b, nb. wa and wb are packed in panels;
    `width` columns of out are real. `step` panels serve all rows before the next ones.
    """
    for v in range(v0, v1, step):
        i = 0
        while i < n:
            rows = rows_at_once(n - i)
            call(
                bands[AFFINE_BAND],
                (out, (out_at, i), rows, v, min(v + step, v1), width, bias,
                 a, (a_at, i), wa, na, b, (b_at, i), wb, nb, f),
            )  # fmt: skip
            i += rows


@kernel
def delta_rows(
    bands, delta, at, n, v0, v1, step, width, g, g_at, later, later_at, w, depth, h, dh, keep, f
):
    """delta[i] = (g[i] + later[i]·w) · f'(h[i]) for rows i < n and panels v0:v1."""
    for v in range(v0, v1, step):
        i = 0
        while i < n:
            rows = rows_at_once(n - i)
            call(
                bands[DELTA_BAND],
                (delta, (at, i), rows, v, min(v + step, v1), width, g, (g_at, i),
                 later, (later_at, i), w, depth, h, dh, keep, f),
            )  # fmt: skip
            i += rows


@natives.native(MAP_ROWS)
def map_rows(
    bands: Table,
    out: Numbers, out_rows: Table, out_stride: Int, out_column: Int, width: Int, bias: Numbers,
    a: Numbers, a_rows: Table, a_stride: Int, a_column: Int, wa: Numbers, na: Int,
    b_column: Int, wb: Numbers, nb: Int, k0: Int, k1: Int, lanes: Int,
    tables: Table,  # scratch: 3·ROWS_AT_ONCE
):  # fmt: skip
    """out = bias + a·wa + b·wb for whole tables of rows: a linear map, or an input gradient.

    Row out_rows[k] of out comes from row a_rows[k] of a, k0 <= k < k1: na numbers of it from
    a_column on, and nb more from b_column on (the two directions of an RNN).
    """
    to, a_at, b_at = tables, advance(tables, ROWS_AT_ONCE), advance(tables, 2 * ROWS_AT_ONCE)
    step = panels_at_once(na + nb, lanes)
    for start in range(k0, k1, ROWS_AT_ONCE):
        n = min(ROWS_AT_ONCE, k1 - start)
        for i in range(n):
            to[i] = out_rows[start + i] * out_stride + out_column
            a_at[i] = a_rows[start + i] * a_stride + a_column
            b_at[i] = a_rows[start + i] * a_stride + b_column
        affine_rows(
            bands, out, to, n, 0, vectors(width, lanes), step, width, bias, a, a_at, wa, na,
            a, b_at, wb, nb, IDENTITY,
        )  # fmt: skip


@natives.native(OUTER_PRODUCT)
def outer_product(
    c: Numbers, c_stride: Int, a: Numbers, a_rows: Table, a_stride: Int, a_column: Int, m: Int,
    b: Numbers, b_rows: Table, b_stride: Int, b_column: Int, n: Int, count: Int,
    packed_a: Numbers, packed_b: Numbers, lanes: Int,
):  # fmt: skip
    """c += Σ_k a[k]ᵀ·b[k], in blocks of k, for m columns of a and n columns of b.

    a[k] is row a_rows[k] of a, from a_column on, k < count; b[k] likewise. Element (i, j) of the
    product is added to c[i·c_stride + j]. packed_a and packed_b are scratch.
    """
    for k in range(0, count, BLOCK):
        stop = min(k + BLOCK, count)
        depth = stop - k
        pack_rows(packed_b, b, b_rows, b_stride, b_column, n, k, stop, lanes)
        for m0 in range(0, m, BLOCK_COLUMNS):
            columns = min(BLOCK_COLUMNS, m - m0)
            pack_stripes(packed_a, a, a_rows, a_stride, a_column + m0, columns, k, stop, lanes)
            for v in range(0, vectors(n, lanes), 2):
                for i in range(0, columns, TILE_ROWS):
                    tile.outer_tile(
                        (c, (m0 + i) * c_stride, c_stride, min(TILE_ROWS, columns - i), v, n,
                         packed_a, i * depth, packed_b, depth)
                    )  # fmt: skip


@natives.native(COLUMN_SUMS)
def column_sums(
    sums: Numbers, a: Numbers, rows: Table, stride: Int, column: Int, width: Int, count: Int,
    block: Numbers,
):  # fmt: skip
    """sums += Σ_k of `width` columns of a, from `column` on, in rows[k], k < count.

    In blocks of rows, as in `outer_product`, and of columns; `block` is scratch for
    BLOCK_COLUMNS numbers.
    """
    for j0 in range(0, width, BLOCK_COLUMNS):
        columns = min(BLOCK_COLUMNS, width - j0)
        for first in range(0, count, BLOCK):
            for j in range(columns):
                block[j] = 0
            for k in range(first, min(first + BLOCK, count)):
                source = rows[k] * stride + column + j0
                for j in range(columns):
                    block[j] += a[source + j]
            for j in range(columns):
                sums[j0 + j] += block[j]
