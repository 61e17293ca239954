"""Vector instructions: loads, stores, arithmetic and the activation functions, as LLVM code.

Numba has no vector type, so the register tile is written as LLVM instructions. The width of a
vector comes from the processor that Numba compiles for: 64 bytes with AVX-512, 32 with AVX2, 16
elsewhere (SSE, NEON). `NUMBA_CPU_FEATURES` says what that has. `NUMBA_CPU_NAME` alone does not, as
Numba then takes the features of the processor it runs on, except for the name `generic`, which has
none.
"""

from __future__ import annotations

import platform

import numpy as np
from llvmlite import ir
from numba.core import cgutils, config
from numba.core.codegen import get_host_cpu_features

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

    def at(self, numbers: ir.Value, index: ir.Value) -> ir.Value:
        """Where the number of an index lies."""
        return self.builder.gep(numbers, [index], inbounds=True, source_etype=self.scalar)

    def entry(self, table: ir.Value, index: ir.Value) -> ir.Value:
        """Read an entry of a table of integers."""
        place = self.builder.gep(table, [index], inbounds=True, source_etype=INT)
        return self.builder.load(place, typ=INT)

    def broadcast(self, pointer: ir.Value, index: ir.Value) -> ir.Value:
        return self.splat(self.builder.load(self.at(pointer, index), typ=self.scalar))

    def memory(self, size: int = 1) -> ir.Value:
        """Room for so many vectors on the stack."""
        return cgutils.alloca_once(self.builder, self.type, size=size)

    def load(self, pointer: ir.Value, index: ir.Value, mask: ir.Value | None = None) -> ir.Value:
        address = self.at(pointer, index)
        if mask is None:
            return self.builder.load(address, align=self.bytes, typ=self.type)
        name = f"llvm.masked.load.v{self.lanes}f{8 * self.bytes}.p0"
        i32 = ir.IntType(32)
        signature = ir.FunctionType(self.type, [address.type, i32, self.mask_type, self.type])
        function = cgutils.get_or_insert_function(self.builder.module, signature, name)
        return self.builder.call(function, [address, i32(self.bytes), mask, self.zero])

    def store(
        self, value: ir.Value, pointer: ir.Value, index: ir.Value, mask: ir.Value | None = None
    ) -> None:
        address = self.at(pointer, index)
        if mask is None:
            self.builder.store(value, address, align=self.bytes)
            return
        name = f"llvm.masked.store.v{self.lanes}f{8 * self.bytes}.p0"
        i32 = ir.IntType(32)
        signature = ir.FunctionType(ir.VoidType(), [self.type, address.type, i32, self.mask_type])
        function = cgutils.get_or_insert_function(self.builder.module, signature, name)
        self.builder.call(function, [value, address, i32(self.bytes), mask])

    def prefetch(self, pointer: ir.Value) -> None:
        """Bring a cache line near before it is needed."""
        i32 = ir.IntType(32)
        signature = ir.FunctionType(ir.VoidType(), [pointer.type, i32, i32, i32])
        function = cgutils.get_or_insert_function(
            self.builder.module, signature, "llvm.prefetch.p0"
        )
        self.builder.call(function, [pointer, i32(0), i32(3), i32(1)])

    def first_lanes(self, count: ir.Value) -> ir.Value:
        """Mask of the lanes below `count`."""
        numbers = ir.Constant(ir.VectorType(INT, self.lanes), list(range(self.lanes)))
        return self.builder.icmp_signed("<", numbers, self.splat(count))

    def _intrinsic(self, name: str, *values: ir.Value) -> ir.Value:
        """Call LLVM's function of that name on vectors."""
        signature = ir.FunctionType(self.type, [self.type] * len(values))
        name = f"llvm.{name}.v{self.lanes}f{8 * self.bytes}"
        function = cgutils.get_or_insert_function(self.builder.module, signature, name)
        return self.builder.call(function, values)

    def fma(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        """a·b + c, rounded once where the processor can."""
        if HAS_FMA:
            return self._intrinsic("fma", a, b, c)
        return self.builder.fadd(self.builder.fmul(a, b), c)

    def polynomial(self, z: ir.Value, coefficients: tuple[float, ...]) -> ir.Value:
        """Horner's rule, the constant term first in `coefficients`."""
        result = self.constant(coefficients[-1])
        for coefficient in coefficients[-2::-1]:
            result = self.fma(result, z, self.constant(coefficient))
        return result

    def absolute(self, x: ir.Value) -> ir.Value:
        """|x|."""
        return self._intrinsic("fabs", x)

    def with_sign(self, x: ir.Value, of: ir.Value) -> ir.Value:
        """|x| with the sign of another vector."""
        return self._intrinsic("copysign", x, of)

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
        # (1 + r)² + s²/4, with 1 + ... last, so that small x loses nothing to rounding.
        one, half_s = self.constant(1.0), build.fmul(s, self.constant(0.5))
        excess = fma(half_s, half_s, fma(r, r, build.fadd(r, r)))
        denominator = build.fadd(excess, one)
        numerator = fma(s, r, s)  # s (1 + r)
        if HAS_FMA:
            return build.fdiv(numerator, denominator)
        # Without it every product is rounded too. 1 - tanh |x| = (1 + r - |s|/2)² / denominator
        # loses less where tanh is near 1, and can't pass it.
        size = self.absolute(x)
        gap = build.fsub(build.fadd(r, one), self.absolute(half_s))
        large = build.fcmp_ordered(">", size, one)
        numerator = build.select(large, build.fmul(gap, gap), numerator)
        result = build.fdiv(numerator, denominator)
        beside_one = build.fsub(one, result)
        beside_one = build.select(build.fcmp_ordered("==", size, high), one, beside_one)
        return build.select(large, self.with_sign(beside_one, x), result)

    def equals(self, value: ir.Value, constant: int) -> ir.Value:
        return self.builder.icmp_signed("==", value, INT(constant))

    def activate(self, value: ir.Value, f: ir.Value) -> ir.Value:
        """f of a vector; f is one of IDENTITY, TANH, RELU, known at run time."""
        build = self.builder
        result = self.memory()
        build.store(value, result)
        for index, activation in ((TANH, self.tanh), (RELU, self.relu)):
            with build.if_then(self.equals(f, index)):
                build.store(activation(value), result)
        return build.load(result, typ=self.type)

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
