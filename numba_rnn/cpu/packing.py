"""Copies of matrices in the order in which the register tile reads them.

A *panel* is one vector wide: panel v of B (K, N) holds B[k, v·LANES : (v+1)·LANES] for k = 0, 1,
..., one after the other, zeros where v·LANES + l >= N. Kernels ask for `panels(N, lanes)` of them,
a few more than N needs, so that the widest tile never reads past the end.
A *stripe* is TILE_ROWS columns wide and holds A[k, m : m + TILE_ROWS] for k = 0, 1, ...

Shapes: w (N, K) or (K, N), packed (panels, K, LANES); all arrays are 1-D, C order.
"""

from __future__ import annotations

from .bands import TRANSPOSE, call
from .build import kernel
from .tile import TILE_ROWS, WIDEST


@kernel
def panels(width, lanes):
    """How many panels to pack for `width` columns: a multiple of what the widest tile takes."""
    return (width + lanes * WIDEST - 1) // (lanes * WIDEST) * WIDEST


@kernel
def pack_transposed(bands, packed, w, w_start, width, depth, lanes, v0, v1):
    """Panels v0:v1 of B = wᵀ, where w is (width, depth)."""
    for v in range(v0, v1):
        panel = v * depth * lanes
        k = 0
        if (v + 1) * lanes <= width:
            while k + lanes <= depth:
                source = w_start + v * lanes * depth + k
                call(bands[TRANSPOSE], ((packed, panel + k * lanes), (w, source), depth))
                k += lanes
        while k < depth:
            for lane in range(lanes):
                j = v * lanes + lane
                packed[panel + k * lanes + lane] = w[w_start + j * depth + k] if j < width else 0
            k += 1


@kernel
def pack_straight(packed, w, w_start, width, depth, lanes, v0, v1):
    """Panels v0:v1 of B = w, which is (depth, width)."""
    for v in range(v0, v1):
        panel = v * depth * lanes
        real = min(lanes, width - v * lanes)
        for k in range(depth):
            source = w_start + k * width + v * lanes
            for lane in range(lanes):
                packed[panel + k * lanes + lane] = w[source + lane] if lane < real else 0


@kernel
def pack_rows(packed, b, rows, stride, column, width, k0, k1, lanes):
    """Panels of B[k, :] = b[rows[k0 + k], column : column + width], rows of b `stride` apart."""
    depth = k1 - k0
    for v in range(panels(width, lanes)):
        panel = v * depth * lanes
        real = min(lanes, width - v * lanes)
        for k in range(depth):
            source = rows[k0 + k] * stride + column + v * lanes
            if real == lanes:
                for lane in range(lanes):
                    packed[panel + k * lanes + lane] = b[source + lane]
            else:
                for lane in range(lanes):
                    packed[panel + k * lanes + lane] = b[source + lane] if lane < real else 0


@kernel
def pack_stripes(packed, a, rows, stride, column, width, k0, k1):
    """Stripes of A[k, :] = a[rows[k0 + k], column : column + width], rows of a `stride` apart."""
    depth = k1 - k0
    for m in range(0, width, TILE_ROWS):
        stripe = m * depth
        real = min(TILE_ROWS, width - m)
        for k in range(depth):
            source = rows[k0 + k] * stride + column + m
            for r in range(TILE_ROWS):
                packed[stripe + k * TILE_ROWS + r] = a[source + r] if r < real else 0
