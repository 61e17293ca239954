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
accumulators wait on the stack for the tiles beside them; then one loop, the same for tiles of all
shapes, takes them through the activation function and writes each once.

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
from numba import types
from numba.core import cgutils

from . import plain
from .native import instructions
from .vectors import HAS_FMA, INT, TANH, VECTOR_BYTES, Vectors

TILE_ROWS = 8 if VECTOR_BYTES == 64 else 6 if HAS_FMA else 4  # rows of the tallest tile
WIDEST = 8  # vectors of the widest tile
CACHE_LINE = 64  # bytes
# (rows, vectors) of the tiles. A low tile reuses little of B, but a wide one has sums enough to
# hide the latency of each. A band of 3 rows runs in the tile of 4.
TILES = tuple((rows, WIDEST // rows) for rows in (1, 2, 4)) + (
    ((TILE_ROWS, 2),) if TILE_ROWS > 4 else ()
)
LOW_TILES = TILES[:3]  # all that few.py needs


# --- the tile -----------------------------------------------------------------------------------


class Tile(Vectors):
    """height × across accumulators, and the loop over k that fills them."""

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


def _band(builder, scalar, rows, v0, v1, width, start, products, finish, tiles=TILES) -> None:
    """Emit a band of `rows` <= TILE_ROWS rows over the panels v0:v1, with tiles of these shapes.

    Sums start from `start(tile, v)`, v the first panel, and run through all `products`, which are
    `Factor`s. Then `finish(vec, r)` begins a row, and what it returns is emitted for each vector of
    it: body(sums, column, mask), `mask` None where the vector lies within `width` columns.
    """
    vec = Vectors(builder, scalar)
    kept = vec.memory(TILE_ROWS * WIDEST)  # sums of WIDEST panels

    def place(r, v):
        index = builder.add(builder.mul(r, INT(WIDEST)), v)
        return builder.gep(kept, [index], source_etype=vec.type)

    with cgutils.for_range_slice(builder, v0, v1, INT(WIDEST)) as (v, _):
        stop = _least(builder, builder.add(v, INT(WIDEST)), v1)
        lower = 0
        for height, across in tiles:
            fits = builder.and_(
                builder.icmp_signed(">", rows, INT(lower)),
                builder.icmp_signed("<=", rows, INT(height)),
            )
            with builder.if_then(fits):
                with cgutils.for_range_slice(builder, v, stop, INT(across)) as (first, _):
                    tile = Tile(builder, scalar, height, across)
                    acc = start(tile, first)
                    for array, table, panels, depth in products:
                        factors = tile.row_factors(tile.rows_of(array, table, rows))
                        b = tile.panels_of(panels, first, depth)
                        acc = tile.multiply(acc, depth, factors, b)
                    for r, row in enumerate(acc):
                        for c, sums in enumerate(row):
                            beside = builder.add(builder.sub(first, v), INT(c))
                            builder.store(sums, place(INT(r), beside))
            lower = height

        column = builder.mul(v, INT(vec.lanes))
        columns = builder.sub(_least(builder, builder.mul(stop, INT(vec.lanes)), width), column)
        whole = builder.sdiv(columns, INT(vec.lanes))
        rest = builder.sub(columns, builder.mul(whole, INT(vec.lanes)))
        with cgutils.for_range(builder, rows) as row:
            body = finish(vec, row.index)

            def emit(vector, mask, r=row.index, column=column, body=body):
                sums = builder.load(place(r, vector), typ=vec.type)
                body(sums, builder.add(column, builder.mul(vector, INT(vec.lanes))), mask)

            with cgutils.for_range(builder, whole) as vector:
                emit(vector.index, None)
            with builder.if_then(builder.icmp_signed(">", rest, INT(0))):
                emit(whole, vec.first_lanes(rest))


def _least(builder, a, b) -> ir.Value:
    return builder.select(builder.icmp_signed("<", a, b), a, b)


# --- what is done with tiles ----------------------------------------------------------------------


def _to_rows(out, f) -> Callable:
    """What `_band` finishes a row with: f of the sums, written to the `Rows` out."""

    def finish(vec, r):
        row = vec.at(out[0], vec.entry(out[1], r))

        def write(sums, column, mask):
            vec.store(vec.activate(sums, f), row, column, mask)

        return write

    return finish


@instructions(plain.affine_band)
def affine_band(builder, number, out, rows, v0, v1, width, bias, a, b, f):
    """Out = f(bias + a·panels + b·panels) for a band: an RNN step, a linear map, an input gradient.

    out is `Rows`, a and b are `Factor`s, see products.py.
    """

    def start(tile, v):
        return [[tile.load(bias, tile.column(v, c)) for c in range(tile.across)]] * tile.height

    _band(builder, number, rows, v0, v1, width, start, (a, b), _to_rows(out, f))


@instructions(plain.delta_band)
def delta_band(builder, number, delta, rows, v0, v1, width, g, later, h, dh, keep, f):
    """One step back in time: dh = g + later·panels, delta = dh · f'(h); dh is kept if asked for.

    delta and g are `Rows`, later is a `Factor`; h and dh lie as delta does.
    """
    _delta_band(builder, number, delta, rows, v0, v1, width, g, later, h, dh, keep, f, TILES)


def _delta_band(builder, number, delta, rows, v0, v1, width, g, later, h, dh, keep, f, tiles):
    def start(tile, v):
        return [[tile.zero] * tile.across] * tile.height

    def finish(vec, r):
        row = vec.entry(delta[1], r)
        of_g = vec.at(g[0], vec.entry(g[1], r))
        of_h, of_dh, of_delta = (vec.at(array, row) for array in (h, dh, delta[0]))
        is_tanh, keeps = vec.equals(f, TANH), builder.icmp_signed("!=", keep, INT(0))

        def write(value, column, mask):
            d = builder.fadd(value, vec.load(of_g, column, mask))
            with builder.if_then(keeps):
                vec.store(d, of_dh, column, mask)
            d = vec.times_derivative(is_tanh, d, vec.load(of_h, column, mask))
            vec.store(d, of_delta, column, mask)

        return write

    _band(builder, number, rows, v0, v1, width, start, (later,), finish, tiles)


@instructions(plain.recurrent_band)
def recurrent_band(builder, number, out, rows, v0, v1, width, z, pitch, h, f):
    """Out = f(z + h·panels) for a few rows; row r of z starts at r·pitch."""

    def start(tile, v):
        rows = [tile.at(z, builder.mul(INT(r), pitch)) for r in range(tile.height)]
        return [[tile.load(row, tile.column(v, c)) for c in range(tile.across)] for row in rows]

    _band(builder, number, rows, v0, v1, width, start, (h,), _to_rows(out, f), LOW_TILES)


@instructions(plain.delta_band)
def low_delta_band(builder, number, delta, rows, v0, v1, width, g, later, h, dh, keep, f):
    """As `delta_band` for a few rows."""
    _delta_band(builder, number, delta, rows, v0, v1, width, g, later, h, dh, keep, f, LOW_TILES)


@instructions(plain.outer_tile)
def outer_tile(builder, number, c, stride, rows, v, width, stripe, b, depth):
    """c[m·stride : ] += Σ_k stripe[k, m] · b[k, :] for the first `rows` rows m of a tile.

    Sums over the rows k of a batch, as weight gradients do: a is packed in stripes, b in panels.
    Each call adds one block of k, summed on its own, to c: a long sum in blocks loses less to
    rounding.
    """
    tile = Tile(builder, number, TILE_ROWS, 2)
    # Lines of c are seldom in the nearest cache: they come while the sums run. Rows that c does not
    # have do no harm: what can't be fetched is not.
    for r in range(TILE_ROWS):
        row = tile.at(c, builder.mul(INT(r), stride))
        tile.prefetch(tile.at(row, builder.mul(v, INT(tile.lanes))))
    acc = [[tile.zero] * 2] * TILE_ROWS
    acc = tile.multiply(acc, depth, tile.stripe_factors(stripe), tile.panels_of(b, v, depth))

    first = builder.mul(v, INT(tile.lanes))
    for r in range(TILE_ROWS):
        with builder.if_then(builder.icmp_signed("<", INT(r), rows)):
            row = tile.at(c, builder.mul(INT(r), stride))
            for i in range(2):
                column = builder.add(first, INT(i * tile.lanes))
                rest = builder.sub(width, column)
                whole = builder.icmp_signed(">=", rest, INT(tile.lanes))
                with builder.if_else(whole) as (all_lanes, some):
                    with all_lanes:
                        total = builder.fadd(tile.load(row, column), acc[r][i])
                        tile.store(total, row, column)
                    with some:
                        mask = tile.first_lanes(rest)
                        total = builder.fadd(tile.load(row, column, mask), acc[r][i])
                        tile.store(total, row, column, mask)


# --- vectors --------------------------------------------------------------------------------------


@instructions(plain.lanes_of, types.int64)
def lanes_of(builder, number, numbers):
    """How many numbers fill a vector: a constant of the compiled code."""
    return INT(Vectors(builder, number).lanes)


# --- reading ahead --------------------------------------------------------------------------------


@instructions(plain.prefetch)
def prefetch(builder, number, numbers, count):
    """Bring the first `count` numbers near before they are needed."""
    vec = Vectors(builder, number)
    with cgutils.for_range_slice(builder, INT(0), count, INT(CACHE_LINE // vec.bytes)) as (j, _):
        vec.prefetch(vec.at(numbers, j))


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
