"""The register tile: the one clever file of the CPU backend.

All the time of an RNN goes into small matrix products, C[M, N] += A[M, K] · B[K, N]. A processor
multiplies and adds a whole *vector* of numbers in one instruction, and can start two such
instructions in every cycle; but it can fetch only two or three vectors from its nearest cache in
that cycle. A loop that fetches two operands for every multiplication therefore waits for memory
most of the time. The cure is to fetch each number once and use it many times:

                    b0        b1            one row of B: `vectors` vectors, loaded once per k
                 +--------+--------+
        a0  ->   | acc00  | acc01  |
        a1  ->   | acc10  | acc11  |        rows · vectors accumulators, which never leave
        a2  ->   | acc20  | acc21  |        the registers while k runs over the whole sum
        a3  ->   | acc30  | acc31  |
                 +--------+--------+

For each k the tile loads `vectors` vectors of B, broadcasts `rows` single numbers of A, and does
rows · vectors fused multiply-adds: 4 + 2 loads feed 8 of them above. When k is done the
accumulators pass through the activation function, still in registers, and are written once.

Two rules give the layer its promises about bits:

* each element of C is summed over k = 0, 1, 2, ... in that order, by one accumulator, whatever the
  height and width of the tile, so a sequence's result does not depend on the batch it is in;
* the last, partly filled vector of a row goes through the same instructions as every other one
  (its unused lanes are masked when memory is touched), so neither does it depend on the width.

The tiles are written as LLVM instructions (`@intrinsic`, see vectors.py for the vectors): plain
Python loops below unroll the picture above.

Operands. A is given by *row tables*: row i starts at a[a_at[i]], so rows may lie anywhere (padded,
batch first, packed, a state from the caller). B is packed in panels one vector wide: panel v holds
B[k, v·LANES : (v+1)·LANES] for k = 0, 1, ..., one after the other (see products.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from llvmlite import ir
from numba.core import cgutils

from . import plain
from .native import instructions
from .vectors import HAS_FMA, INT, TANH, VECTOR_BYTES, Vectors

TILE_ROWS = 8 if VECTOR_BYTES == 64 else 6 if HAS_FMA else 4  # rows of the tallest tile
WIDEST = 8  # vectors of the widest tile
# (rows, vectors) of the tiles. A low tile reuses little of B, but a wide one has sums enough to
# hide the latency of each. A band of 3 rows runs in the tile of 4.
TILES = tuple((rows, WIDEST // rows) for rows in (1, 2, 4)) + (
    ((TILE_ROWS, 2),) if TILE_ROWS > 4 else ()
)


# --- the tile -----------------------------------------------------------------------------------


class Tile(Vectors):
    """height × across accumulators: the loop over k that fills them, the loop that empties them."""

    def __init__(self, builder: ir.IRBuilder, scalar: ir.Type, height: int, across: int) -> None:
        super().__init__(builder, scalar)
        self.height, self.across = height, across

    def rows_of(self, pointer: ir.Value, table: ir.Value, rows: ir.Value) -> list[ir.Value]:
        """Where each row starts: pointer + table[r]; the last real row again beyond it."""
        build, starts = self.builder, []
        for r in range(self.height):
            inside = build.icmp_signed("<", INT(r), rows)
            row = build.select(inside, INT(r), build.sub(rows, INT(1)))
            starts.append(self.at(pointer, self.entry(table, row)))
        return starts

    def panels_of(self, pointer: ir.Value, first: ir.Value, depth: ir.Value) -> list[ir.Value]:
        """Where each panel of B starts: `depth` vectors lie between two panels."""
        build = self.builder
        size = build.mul(depth, INT(self.lanes))
        return [
            self.at(pointer, build.mul(build.add(first, INT(v)), size)) for v in range(self.across)
        ]

    def column(self, first: ir.Value, v: int) -> ir.Value:
        """First column of the v-th panel from `first` on."""
        return self.builder.mul(self.builder.add(first, INT(v)), INT(self.lanes))

    def row_factors(self, starts: list[ir.Value]) -> Callable:
        """Columns of an A whose rows start at the given places."""
        return lambda k: (self.broadcast(start, k) for start in starts)

    def stripe_factors(self, stripe: ir.Value) -> Callable:
        """Columns of an A that is packed in stripes of `height` rows."""

        def factors(k: ir.Value) -> Iterator[ir.Value]:
            first = self.builder.mul(k, INT(self.height))
            return (
                self.broadcast(stripe, self.builder.add(first, INT(r))) for r in range(self.height)
            )

        return factors

    def multiply(self, acc: list, depth: ir.Value, factors: Callable, panels: list) -> list:
        """acc[r][v] += Σ_k A[r, k] · B[k, v]; `factors(k)` broadcasts the column A[:, k]."""
        build = self.builder
        before = build.block
        loop, after = build.append_basic_block("sum"), build.append_basic_block("summed")
        build.cbranch(build.icmp_signed(">", depth, INT(0)), loop, after)

        build.position_at_end(loop)
        k = build.phi(INT)
        k.add_incoming(INT(0), before)
        held = [[build.phi(self.type) for _ in row] for row in acc]
        b = [self.load(panel, build.mul(k, INT(self.lanes))) for panel in panels]
        summed = [
            [self.fma(factor, b[v], held[r][v]) for v in range(self.across)]
            for r, factor in enumerate(factors(k))
        ]
        k_next = build.add(k, INT(1))
        k.add_incoming(k_next, loop)
        build.cbranch(build.icmp_signed("<", k_next, depth), loop, after)

        build.position_at_end(after)
        result = []
        for start_row, held_row, summed_row in zip(acc, held, summed, strict=True):
            result.append([])
            for start, inside, end in zip(start_row, held_row, summed_row, strict=True):
                inside.add_incoming(start, before)
                inside.add_incoming(end, loop)
                value = build.phi(self.type)
                value.add_incoming(start, before)
                value.add_incoming(end, loop)
                result[-1].append(value)
        return result

    def finish(
        self, acc: list, rows: ir.Value, first: ir.Value, width: ir.Value, body: Callable
    ) -> None:
        """Emit body(r, value, column, mask) for each vector with a real row and real columns.

        `mask` is None where the whole vector lies within `width` columns. Two loops, because
        unrolled code would be many times as long to compile, and no faster.
        """
        build = self.builder
        kept = self.memory(self.height * self.across)

        def place(r: ir.Value, v: ir.Value) -> ir.Value:
            index = build.add(build.mul(r, INT(self.across)), v)
            return build.gep(kept, [index], source_etype=self.type)

        for r, row in enumerate(acc):
            for v, value in enumerate(row):
                build.store(value, place(INT(r), INT(v)))
        real = build.sub(width, build.mul(first, INT(self.lanes)))  # columns from here on
        vectors = build.sdiv(build.add(real, INT(self.lanes - 1)), INT(self.lanes))
        fewer = build.icmp_signed("<", vectors, INT(self.across))
        vectors = build.select(fewer, vectors, INT(self.across))
        with cgutils.for_range(build, rows) as row, cgutils.for_range(build, vectors) as vector:
            value = build.load(place(row.index, vector.index), typ=self.type)
            column = build.mul(build.add(first, vector.index), INT(self.lanes))
            rest = build.sub(width, column)
            is_whole = build.icmp_signed(">=", rest, INT(self.lanes))
            with build.if_else(is_whole) as (whole, partial):
                with whole:
                    body(row.index, value, column, None)
                with partial:
                    body(row.index, value, column, self.first_lanes(rest))


def _sweep(builder, scalar, rows, v0, v1, emit) -> None:
    """Emit the walk of a band of `rows` <= TILE_ROWS rows over the panels v0:v1.

    `emit(tile, v)` writes the instructions of one tile whose first panel is v.
    """
    lower = 0
    for height, across in TILES:
        fits = builder.and_(
            builder.icmp_signed(">", rows, INT(lower)),
            builder.icmp_signed("<=", rows, INT(height)),
        )
        with builder.if_then(fits):
            with cgutils.for_range_slice(builder, v0, v1, INT(across)) as (v, _):
                emit(Tile(builder, scalar, height, across), v)
        lower = height


# --- what is done with tiles ----------------------------------------------------------------------


@instructions(plain.affine_band)
def affine_band(builder, number, out, rows, v0, v1, width, bias, a, b, f):
    """Out = f(bias + a·panels + b·panels) for a band: an RNN step, a linear map, an input gradient.

    out is `Rows`, a and b are `Factor`s, see products.py.
    """

    def one(tile, v):
        start = [tile.load(bias, tile.column(v, c)) for c in range(tile.across)]
        acc = [start] * tile.height
        for array, table, panels, depth in (a, b):
            factors = tile.row_factors(tile.rows_of(array, table, rows))
            acc = tile.multiply(acc, depth, factors, tile.panels_of(panels, v, depth))

        def write(r, value, column, mask):
            place = tile.at(out[0], tile.entry(out[1], r))
            tile.store(tile.activate(value, f), place, column, mask)

        tile.finish(acc, rows, v, width, write)

    _sweep(builder, number, rows, v0, v1, one)


@instructions(plain.delta_band)
def delta_band(builder, number, delta, rows, v0, v1, width, g, later, h, dh, keep, f):
    """One step back in time: dh = g + later·panels, delta = dh · f'(h); dh is kept if asked for.

    delta and g are `Rows`, later is a `Factor`; h and dh lie as delta does.
    """

    def one(tile, v):
        acc = [[tile.zero] * tile.across] * tile.height
        array, table, panels, depth = later
        factors = tile.row_factors(tile.rows_of(array, table, rows))
        acc = tile.multiply(acc, depth, factors, tile.panels_of(panels, v, depth))
        is_tanh, keeps = tile.equals(f, TANH), builder.icmp_signed("!=", keep, INT(0))

        def write(r, value, column, mask):
            row, g_row = tile.entry(delta[1], r), tile.entry(g[1], r)
            d = builder.fadd(value, tile.load(tile.at(g[0], g_row), column, mask))
            with builder.if_then(keeps):
                tile.store(d, tile.at(dh, row), column, mask)
            d = tile.times_derivative(is_tanh, d, tile.load(tile.at(h, row), column, mask))
            tile.store(d, tile.at(delta[0], row), column, mask)

        tile.finish(acc, rows, v, width, write)

    _sweep(builder, number, rows, v0, v1, one)


@instructions(plain.outer_tile)
def outer_tile(builder, number, c, stride, rows, v, width, stripe, b, depth):
    """c[m·stride : ] += Σ_k stripe[k, m] · b[k, :] for the first `rows` rows m of a tile.

    Sums over the rows k of a batch, as weight gradients do: a is packed in stripes, b in panels.
    Each call adds one block of k, summed on its own, to c: a long sum in blocks loses less to
    rounding.
    """
    tile = Tile(builder, number, TILE_ROWS, 2)
    acc = [[tile.zero] * 2] * TILE_ROWS
    acc = tile.multiply(acc, depth, tile.stripe_factors(stripe), tile.panels_of(b, v, depth))

    def write(r, value, column, mask):
        place = tile.at(c, builder.mul(r, stride))
        tile.store(builder.fadd(tile.load(place, column, mask), value), place, column, mask)

    tile.finish(acc, rows, v, width, write)


# --- moving whole vectors, for packing ------------------------------------------------------------


@instructions(plain.copy_vector)
def copy_vector(builder, number, out, a, count):
    """out[:LANES] = a[:count] and zeros; the whole of it, or less."""
    vec = Vectors(builder, number)
    whole, first = builder.icmp_signed(">=", count, INT(vec.lanes)), INT(0)
    with builder.if_else(whole) as (all_lanes, some):
        with all_lanes:
            vec.store(vec.load(a, first), out, first)
        with some:
            vec.store(vec.load(a, first, vec.first_lanes(count)), out, first)


@instructions(plain.transpose_square)
def transpose_square(builder, number, out, w, stride):
    """out[k, l] = w[l, k] for LANES × LANES numbers: rows of w are `stride` apart, of out LANES.

    Halves change places between rows LANES/2 apart, then quarters, and so on to single lanes.
    """
    vec = Vectors(builder, number)
    n = vec.lanes
    rows = [vec.load(w, builder.mul(INT(r), stride)) for r in range(n)]
    size = n // 2
    while size:
        high = [lane & size for lane in range(n)]
        upper_takes = [n + lane - size if high[lane] else lane for lane in range(n)]
        lower_takes = [n + lane if high[lane] else lane + size for lane in range(n)]
        for r in range(n):
            if not r & size:
                pair = rows[r], rows[r + size]
                rows[r] = vec.shuffle(*pair, upper_takes)
                rows[r + size] = vec.shuffle(*pair, lower_takes)
        size //= 2
    for k in range(n):
        vec.store(rows[k], out, INT(k * n))
