"""The linear layer: y = x·wᵀ + b, and its gradients dx = g·w, dw = Σ gᵀ·x, db = Σ g.

Symbols: M rows, I features in, O features out. All arrays are in C order.
"""

from __future__ import annotations

from .build import Int, Numbers, Table, advance, call, frame_of, launch, natives, shell
from .products import (
    AFFINE_BAND,
    BLOCK,
    BLOCK_COLUMNS,
    COLUMN_SUMS,
    LINEAR_GRADIENTS,
    LINEAR_MAP,
    LINEAR_PACK,
    LINEAR_PACK_BACK,
    MAP_ROWS,
    OUTER_PRODUCT,
    PACK_STRAIGHT,
    PACK_TRANSPOSED,
    ROWS_AT_ONCE,
    panels,
    range_of,
)
from .tile import TILE_ROWS

FORWARD = (PACK_TRANSPOSED, LINEAR_PACK, AFFINE_BAND, MAP_ROWS, LINEAR_MAP)
BACKWARD = (
    PACK_STRAIGHT, LINEAR_PACK_BACK, AFFINE_BAND, MAP_ROWS, OUTER_PRODUCT, COLUMN_SUMS,
    LINEAR_GRADIENTS,
)  # fmt: skip


@natives.task(LINEAR_PACK)
def linear_pack(
    part: Int, bands: Table, packed: Numbers, bias: Numbers, weights: Numbers, has_bias: Int,
    I: Int, O: Int, lanes: Int, parts: Int,
):  # fmt: skip
    """Pack a part of wᵀ and b."""
    v0, v1 = range_of(part, parts, panels(O, lanes), 1)
    call(bands[PACK_TRANSPOSED], (packed, weights, O, I, lanes, v0, v1))
    for j in range(v0 * lanes, v1 * lanes):
        bias[j] = weights[O * I + j] if has_bias and j < O else 0


@natives.task(LINEAR_MAP)
def linear_map(
    part: Int, bands: Table, y: Numbers, x: Numbers, packed: Numbers, bias: Numbers, rows: Table,
    tables: Table, M: Int, I: Int, O: Int, lanes: Int, parts: Int,
):  # fmt: skip
    """Map a part of the rows."""
    m0, m1 = range_of(part, parts, M, TILE_ROWS)
    call(
        bands[MAP_ROWS],
        (bands, y, rows, O, 0, O, bias, x, rows, I, 0, packed, I, 0, packed, 0, m0, m1, lanes,
         (tables, part * 3 * ROWS_AT_ONCE)),
    )  # fmt: skip


@shell
def linear_forward(
    launcher,  # 0, or the address of the parallel one
    bands,  # table of natives
    y,  # (M, O)
    x,  # (M, I)
    weights,  # flat: w (O, I), then b (O,) where there is one
    rows,  # (M,): 0, 1, 2, ...
    scratch,  # V·LANES·(I + 1)
    tables,  # parts·3·ROWS_AT_ONCE
    M, I, O, lanes, parts, packers,
):  # fmt: skip
    """Map every row."""
    packed, bias = (scratch, 0), (scratch, panels(O, lanes) * lanes * I)
    has_bias = int(len(weights) > O * I)
    frame = frame_of((bands, packed, bias, weights, has_bias, I, O, lanes, packers))
    launch(launcher, bands[LINEAR_PACK], packers, frame)
    frame = frame_of((bands, y, x, packed, bias, rows, tables, M, I, O, lanes, parts))
    launch(launcher, bands[LINEAR_MAP], parts, frame)


@natives.task(LINEAR_PACK_BACK)
def linear_pack_back(
    part: Int, bands: Table, packed: Numbers, w: Numbers, I: Int, O: Int, lanes: Int, parts: Int
):
    """Pack a part of w."""
    v0, v1 = range_of(part, parts, panels(I, lanes), 1)
    call(bands[PACK_STRAIGHT], (packed, w, I, O, lanes, v0, v1))


@natives.task(LINEAR_GRADIENTS)
def linear_gradients(
    part: Int, bands: Table, dx: Numbers, gradients: Numbers, g: Numbers, x: Numbers,
    packed: Numbers, zeros: Numbers, rows: Table, tables: Table, scratch: Numbers, has_bias: Int,
    M: Int, I: Int, O: Int, lanes: Int, parts: Int,
):  # fmt: skip
    """A range of rows of dx, and of outputs of the gradients of the parameters."""
    m0, m1 = range_of(part, parts, M, TILE_ROWS)
    call(
        bands[MAP_ROWS],
        (bands, dx, rows, I, 0, I, zeros, g, rows, O, 0, packed, O, 0, packed, 0, m0, m1, lanes,
         (tables, part * 3 * ROWS_AT_ONCE)),
    )  # fmt: skip
    j0, j1 = range_of(part, parts, O, TILE_ROWS)
    packed_a = advance(scratch, part * (BLOCK * (BLOCK_COLUMNS + lanes * panels(I, lanes)) + lanes))
    packed_b = advance(packed_a, BLOCK * BLOCK_COLUMNS + lanes)
    call(
        bands[OUTER_PRODUCT],
        ((gradients, j0 * I), I, g, rows, O, j0, j1 - j0, x, rows, I, 0, I, M,
         packed_a, packed_b, lanes),
    )  # fmt: skip
    if has_bias:
        call(
            bands[COLUMN_SUMS],
            ((gradients, O * I + j0), g, rows, O, j0, j1 - j0, M, packed_a),
        )


@shell
def linear_backward(
    launcher,
    bands,
    dx,  # (M, I)
    gradients,  # flat, zeros, laid out as weights
    g,  # (M, O), dL/dy
    x,  # (M, I)
    weights,
    rows,
    scratch,  # V·LANES·(O + 1) + parts·(BLOCK·(BLOCK_COLUMNS + V·LANES) + LANES)
    tables,
    M, I, O, lanes, parts, packers,
):  # fmt: skip
    """Gradients of the input and the parameters."""
    width = panels(I, lanes) * lanes
    packed, zeros = (scratch, 0), width * O
    for j in range(zeros, zeros + width):
        scratch[j] = 0
    frame = frame_of((bands, packed, weights, I, O, lanes, packers))
    launch(launcher, bands[LINEAR_PACK_BACK], packers, frame)
    has_bias = int(len(gradients) > O * I)
    frame = frame_of(
        (bands, dx, gradients, g, x, packed, (scratch, zeros), rows, tables,
         (scratch, zeros + width), has_bias, M, I, O, lanes, parts)
    )  # fmt: skip
    launch(launcher, bands[LINEAR_GRADIENTS], parts, frame)
