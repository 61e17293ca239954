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

Numba has no vector type, so the tiles are written as LLVM instructions (`@intrinsic`): plain
Python loops below unroll the picture above. The width of a vector comes from the processor that
Numba compiles for: 64 bytes with AVX-512, 32 with AVX2, 16 elsewhere (SSE, NEON).

Operands. A is given by *row tables*: row i starts at a[a_at[i]], so rows may lie anywhere (padded,
batch first, packed, a state from the caller). B is packed in panels one vector wide: panel v holds
B[k, v·LANES : (v+1)·LANES] for k = 0, 1, ..., one after the other (see products.py).
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.core.codegen import get_host_cpu_features
from numba.core.extending import intrinsic

# --- the processor ------------------------------------------------------------------------------


def _target() -> tuple[int, bool]:
    """Bytes in a vector and whether multiply-add is one instruction, where Numba compiles for."""
    features = config.CPU_FEATURES
    features = set((get_host_cpu_features() if features is None else features).split(","))
    if platform.machine().lower() in ("arm64", "aarch64"):
        return 16, True
    if "+fma" not in features:
        return 16, False
    if "+avx512f" in features:
        return 64, True
    return (32, True) if "+avx2" in features else (16, True)


VECTOR_BYTES, HAS_FMA = _target()
TILE_ROWS = 8 if VECTOR_BYTES == 64 else 6 if HAS_FMA else 4  # rows of the tallest tile
WIDEST = 8  # vectors of the widest tile
# (rows, vectors) of the tiles. A low tile reuses little of B, but a wide one has sums enough to
# hide the latency of each. A band of 3 rows runs in the tile of 4.
TILES = tuple((rows, WIDEST // rows) for rows in (1, 2, 4)) + (
    ((TILE_ROWS, 2),) if TILE_ROWS > 4 else ()
)


# How many numbers of a dtype fit into one vector.
LANES = {np.dtype(kind): VECTOR_BYTES // np.dtype(kind).itemsize for kind in ("f4", "f8")}


# The activation is a run-time argument of the tiles: one compilation serves all.
IDENTITY, TANH, RELU = 0, 1, 2

# --- vectors ------------------------------------------------------------------------------------

INT = ir.IntType(64)


class Vectors:
    """LLVM instructions on vectors of one dtype, emitted at the builder's position."""

    def __init__(self, builder: ir.IRBuilder, scalar: ir.Type) -> None:
        self.builder = builder
        self.bytes = 4 if scalar == ir.FloatType() else 8
        self.lanes = VECTOR_BYTES // self.bytes
        self.scalar = scalar
        self.type = ir.VectorType(self.scalar, self.lanes)
        self.mask_type = ir.VectorType(ir.IntType(1), self.lanes)
        self.zero = self.constant(0.0)

    def constant(self, value: float) -> ir.Constant:
        return ir.Constant(self.type, [value] * self.lanes)

    def splat(self, value: ir.Value) -> ir.Value:
        """One number in every lane."""
        first = self.builder.insert_element(
            ir.Constant(ir.VectorType(value.type, self.lanes), ir.Undefined), value, INT(0)
        )
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(first, first, zeros)

    def shuffle(self, a: ir.Value, b: ir.Value, takes: list[int]) -> ir.Value:
        """Lanes of a (0, 1, ...) and b (LANES, LANES + 1, ...) in a new order."""
        mask = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), takes)
        return self.builder.shuffle_vector(a, b, mask)

    def at(self, pointer: ir.Value, index: ir.Value) -> ir.Value:
        return self.builder.gep(pointer, [index], inbounds=True)

    def broadcast(self, pointer: ir.Value, index: ir.Value) -> ir.Value:
        return self.splat(self.builder.load(self.at(pointer, index)))

    def _vector_at(self, pointer: ir.Value, index: ir.Value) -> ir.Value:
        return self.builder.bitcast(self.at(pointer, index), self.type.as_pointer())

    def load(self, pointer: ir.Value, index: ir.Value, mask: ir.Value | None = None) -> ir.Value:
        address = self._vector_at(pointer, index)
        if mask is None:
            return self.builder.load(address, align=self.bytes)
        name = f"llvm.masked.load.v{self.lanes}f{8 * self.bytes}.p0"
        i32 = ir.IntType(32)
        signature = ir.FunctionType(self.type, [address.type, i32, self.mask_type, self.type])
        function = cgutils.get_or_insert_function(self.builder.module, signature, name)
        return self.builder.call(function, [address, i32(self.bytes), mask, self.zero])

    def store(
        self, value: ir.Value, pointer: ir.Value, index: ir.Value, mask: ir.Value | None = None
    ) -> None:
        address = self._vector_at(pointer, index)
        if mask is None:
            self.builder.store(value, address, align=self.bytes)
            return
        name = f"llvm.masked.store.v{self.lanes}f{8 * self.bytes}.p0"
        i32 = ir.IntType(32)
        signature = ir.FunctionType(ir.VoidType(), [self.type, address.type, i32, self.mask_type])
        function = cgutils.get_or_insert_function(self.builder.module, signature, name)
        self.builder.call(function, [value, address, i32(self.bytes), mask])

    def first_lanes(self, count: ir.Value) -> ir.Value:
        """Mask of the lanes below `count`."""
        numbers = ir.Constant(ir.VectorType(INT, self.lanes), list(range(self.lanes)))
        return self.builder.icmp_signed("<", numbers, self.splat(count))

    def fma(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        """a·b + c, rounded once where the processor can."""
        if HAS_FMA:
            name = f"llvm.fma.v{self.lanes}f{8 * self.bytes}"
            signature = ir.FunctionType(self.type, [self.type] * 3)
            function = cgutils.get_or_insert_function(self.builder.module, signature, name)
            return self.builder.call(function, [a, b, c])
        return self.builder.fadd(self.builder.fmul(a, b), c)

    def polynomial(self, z: ir.Value, coefficients: tuple[float, ...]) -> ir.Value:
        """Horner's rule, the constant term first in `coefficients`."""
        result = self.constant(coefficients[-1])
        for coefficient in coefficients[-2::-1]:
            result = self.fma(result, z, self.constant(coefficient))
        return result

    # Activations. Both let NaN pass: each comparison with NaN is false and selects x itself.

    def relu(self, x: ir.Value) -> ir.Value:
        negative = self.builder.fcmp_ordered("<", x, self.zero)
        return self.builder.select(negative, self.zero, x)

    def tanh(self, x: ir.Value) -> ir.Value:
        """tanh(x) = 2u / (1 + u²) with u = tanh(x/2) ≈ (x/2) (1 + z·p(z)) / (1 + z·q(z)), z = x².

        Doubling damps the error of u where u is near 1, so short polynomials are enough, and
        multiplying out leaves one division. All coefficients are positive: nothing cancels. They
        minimise the largest relative error of tanh(x) (7e-9 and 1.5e-18) up to the bound, from
        which on tanh(x) rounds to 1.
        """
        bound, p, q = TANH_COEFFICIENTS[self.bytes]
        build, fma = self.builder, self.fma
        high, low = self.constant(bound), self.constant(-bound)
        x = build.select(build.fcmp_ordered(">", x, high), high, x)
        x = build.select(build.fcmp_ordered("<", x, low), low, x)
        z = build.fmul(x, x)
        s = fma(build.fmul(x, z), self.polynomial(z, p), x)  # x (1 + z p)
        r = build.fmul(z, self.polynomial(z, q))  # z q
        # Written with 1 + ... last, so that small x loses nothing to rounding.
        numerator = fma(s, r, s)  # s (1 + r)
        excess = fma(build.fmul(s, self.constant(0.25)), s, fma(r, r, build.fadd(r, r)))
        return build.fdiv(numerator, build.fadd(excess, self.constant(1.0)))

    def equals(self, value: ir.Value, constant: int) -> ir.Value:
        return self.builder.icmp_signed("==", value, INT(constant))

    def activate(self, values: list[ir.Value], f: ir.Value) -> list[ir.Value]:
        """F of some vectors; f is one of IDENTITY, TANH, RELU, known at run time."""
        build = self.builder
        results = [cgutils.alloca_once(build, self.type) for _ in values]
        for result, value in zip(results, values, strict=True):
            build.store(value, result)
        for index, activation in ((TANH, self.tanh), (RELU, self.relu)):
            with build.if_then(self.equals(f, index)):
                for result, value in zip(results, values, strict=True):
                    build.store(activation(value), result)
        return [build.load(result) for result in results]

    # The derivative in terms of the output h = f(a): what backpropagation has at hand.

    def times_derivative(self, is_tanh: ir.Value, d: ir.Value, h: ir.Value) -> ir.Value:
        """d · f'(a): d (1 - h²) for tanh; for ReLU d where h > 0 or h is NaN, as in torch."""
        slope = self.fma(self.builder.fneg(h), h, self.constant(1.0))
        dead = self.builder.fcmp_ordered("<=", h, self.zero)
        of_relu = self.builder.select(dead, self.zero, d)
        return self.builder.select(is_tanh, self.builder.fmul(d, slope), of_relu)


TANH_COEFFICIENTS = {  # bytes of the dtype: bound, p, q
    4: (
        9.02,
        (0.029776504263281822, 0.00011431255552452058),
        (0.11310980468988419, 0.0012068323558196425, 1.2302455161261605e-06),
    ),
    8: (
        19.1,
        (
            0.03648942739736529,
            0.00031978295085683783,
            9.842585725392833e-07,
            1.1313226681145138e-09,
            4.086759902644521e-13,
            2.0765087630849806e-17,
        ),
        (
            0.11982276073069861,
            0.0019716796784150746,
            1.0021860605264423e-05,
            1.8951265268668184e-08,
            1.2725815710115538e-11,
            2.0976097949679224e-15,
        ),
    ),
}


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
            starts.append(self.at(pointer, build.load(self.at(table, row))))
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
        """Emit body(r, values, columns, masks) for each real row r, in a loop.

        `values` are the row's accumulators, `columns` where they belong; a mask is None where
        the whole vector lies within `width` columns. A loop, because unrolled code would be
        many times as long to compile, and no faster.
        """
        build = self.builder
        kept = cgutils.alloca_once(build, self.type, size=self.height * self.across)
        for r, row in enumerate(acc):
            for v, value in enumerate(row):
                build.store(value, build.gep(kept, [INT(r * self.across + v)]))
        columns = [self.column(first, v) for v in range(self.across)]
        last = build.add(columns[0], INT(self.across * self.lanes))
        is_whole = build.icmp_signed("<=", last, width)
        masks = [self.first_lanes(build.sub(width, column)) for column in columns]
        with cgutils.for_range(build, rows) as loop:
            place = build.mul(loop.index, INT(self.across))
            values = [
                build.load(build.gep(kept, [build.add(place, INT(v))])) for v in range(self.across)
            ]
            with build.if_else(is_whole) as (whole, partial):
                with whole:
                    body(loop.index, values, columns, [None] * self.across)
                with partial:
                    body(loop.index, values, columns, masks)


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


def _emitter(emit: Callable) -> Callable:
    """Make an intrinsic of a function that emits instructions for pointers and integers."""

    def body(typing, arguments):
        def codegen(context, builder, signature, values):
            values = cgutils.unpack_tuple(builder, values[0])
            emit(builder, *values)
            return context.get_dummy_value()

        return types.void(arguments), codegen

    body.__name__ = emit.__name__
    body.__doc__ = emit.__doc__
    return intrinsic(body)


@_emitter
def affine_band(
    builder, out, out_at, rows, v0, v1, width, bias, a, a_at, wa, na, b, b_at, wb, nb, f
):
    """Out = f(bias + a·wa + b·wb) for a band: an RNN step, a linear map, an input gradient."""

    def one(tile, v):
        start = [tile.load(bias, tile.column(v, c)) for c in range(tile.across)]
        acc = [start] * tile.height
        for array, table, panels, depth in ((a, a_at, wa, na), (b, b_at, wb, nb)):
            factors = tile.row_factors(tile.rows_of(array, table, rows))
            acc = tile.multiply(acc, depth, factors, tile.panels_of(panels, v, depth))

        def write(r, values, columns, masks):
            place = tile.at(out, builder.load(tile.at(out_at, r)))
            values = tile.activate(values, f)
            for value, column, mask in zip(values, columns, masks, strict=True):
                tile.store(value, place, column, mask)

        tile.finish(acc, rows, v, width, write)

    _sweep(builder, out.type.pointee, rows, v0, v1, one)


@_emitter
def delta_band(
    builder, delta, at, rows, v0, v1, width, g, g_at, later, later_at, w, n, h, dh, keep, f
):
    """One step back in time: dh = g + later·w, delta = dh · f'(h); dh is kept where asked for."""

    def one(tile, v):
        acc = [[tile.zero] * tile.across] * tile.height
        factors = tile.row_factors(tile.rows_of(later, later_at, rows))
        acc = tile.multiply(acc, n, factors, tile.panels_of(w, v, n))
        is_tanh, keeps = tile.equals(f, TANH), builder.icmp_signed("!=", keep, INT(0))

        def write(r, values, columns, masks):
            row, g_row = builder.load(tile.at(at, r)), builder.load(tile.at(g_at, r))
            for value, column, mask in zip(values, columns, masks, strict=True):
                d = builder.fadd(value, tile.load(tile.at(g, g_row), column, mask))
                with builder.if_then(keeps):
                    tile.store(d, tile.at(dh, row), column, mask)
                d = tile.times_derivative(is_tanh, d, tile.load(tile.at(h, row), column, mask))
                tile.store(d, tile.at(delta, row), column, mask)

        tile.finish(acc, rows, v, width, write)

    _sweep(builder, delta.type.pointee, rows, v0, v1, one)


@_emitter
def outer_tile(builder, c, start, stride, rows, v, width, a, stripe, b, depth):
    """c[start + m·stride : ] += Σ_k a[k, m] · b[k, :] for the first `rows` rows m of a tile.

    Sums over the rows k of a batch, as weight gradients do: a is packed in stripes, b in panels.
    Each call adds one block of k, summed on its own, to c: a long sum in blocks loses less to
    rounding.
    """
    tile = Tile(builder, c.type.pointee, TILE_ROWS, 2)
    acc = [[tile.zero] * 2] * TILE_ROWS
    factors = tile.stripe_factors(tile.at(a, stripe))
    acc = tile.multiply(acc, depth, factors, tile.panels_of(b, v, depth))

    def write(r, values, columns, masks):
        place = tile.at(c, builder.add(start, builder.mul(r, stride)))
        for value, column, mask in zip(values, columns, masks, strict=True):
            total = builder.fadd(tile.load(place, column, mask), value)
            tile.store(total, place, column, mask)

    tile.finish(acc, rows, v, width, write)


# --- moving whole vectors, for packing ------------------------------------------------------------


@_emitter
def copy_vector(builder, out, to, a, source, count):
    """out[to : to + LANES] = a[source : source + count] and zeros; the whole of it, or less."""
    vec = Vectors(builder, out.type.pointee)
    whole = builder.icmp_signed(">=", count, INT(vec.lanes))
    with builder.if_else(whole) as (all_lanes, some):
        with all_lanes:
            vec.store(vec.load(a, source), out, to)
        with some:
            vec.store(vec.load(a, source, vec.first_lanes(count)), out, to)


@_emitter
def transpose_square(builder, out, to, w, source, stride):
    """out[k, l] = w[l, k] for LANES × LANES numbers: rows of w are `stride` apart, of out LANES.

    Halves change places between rows LANES/2 apart, then quarters, and so on to single lanes.
    """
    vec = Vectors(builder, out.type.pointee)
    n = vec.lanes
    rows = [vec.load(w, builder.add(source, builder.mul(INT(r), stride))) for r in range(n)]
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
        vec.store(rows[k], out, builder.add(to, INT(k * n)))
