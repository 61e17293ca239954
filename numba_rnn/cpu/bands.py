"""The functions of tile.py, compiled once per dtype and called by address.

A function that Numba calls by name is optimised again within every caller. The tiles are most of
the code of this backend, so they are compiled on their own, and the kernels get their addresses:
that makes the first call several times shorter.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from llvmlite import ir
from numba import from_dtype, types
from numba.core import cgutils
from numba.core.extending import intrinsic

from . import tile
from .build import native

AFFINE, DELTA, OUTER, TRANSPOSE = range(4)


@cache
def bands(dtype: np.dtype) -> np.ndarray:
    """Addresses of the four functions for a dtype, indexed by AFFINE, DELTA, OUTER, TRANSPOSE."""
    numbers = types.CPointer(from_dtype(dtype))
    table, n = types.CPointer(types.int64), types.int64

    @native(
        numbers, table, n, n, n, n, numbers, numbers, table, numbers, n, numbers, table, numbers,
        n, n,
    )  # fmt: skip
    def affine(out, out_at, rows, v0, v1, width, bias, a, a_at, wa, na, b, b_at, wb, nb, f):
        tile.affine_band(
            (out, out_at, rows, v0, v1, width, bias, a, a_at, wa, na, b, b_at, wb, nb, f)
        )

    @native(
        numbers, table, n, n, n, n, numbers, table, numbers, table, numbers, n, numbers, numbers,
        n, n,
    )  # fmt: skip
    def delta(out, at, rows, v0, v1, width, g, g_at, later, later_at, w, depth, h, dh, keep, f):
        tile.delta_band(
            (out, at, rows, v0, v1, width, g, g_at, later, later_at, w, depth, h, dh, keep, f)
        )

    @native(numbers, n, n, n, n, n, numbers, numbers, n)
    def outer(c, stride, rows, v0, v1, width, a, b, depth):
        tile.outer_band((c, stride, rows, v0, v1, width, a, b, depth))

    @native(numbers, numbers, n)
    def transpose(out, w, stride):
        tile.transpose_square((out, w, stride))

    return np.array([f.address for f in (affine, delta, outer, transpose)], np.int64)


@intrinsic
def call(typing, address, arguments):
    """Call a function at an address; arrays go as pointers, (array, start) from start on."""

    def codegen(context, builder, signature, values):
        kinds = signature.args[1]
        passed = []
        for kind, value in zip(kinds, cgutils.unpack_tuple(builder, values[1]), strict=True):
            start = None
            if isinstance(kind, types.BaseTuple):
                value, start = cgutils.unpack_tuple(builder, value)
                kind = kind[0]
            if isinstance(kind, types.Array):
                value = context.make_array(kind)(context, builder, value).data
            if start is not None:
                value = builder.gep(value, [start])
            passed.append(value)
        function = ir.FunctionType(ir.VoidType(), [value.type for value in passed])
        pointer = builder.inttoptr(values[0], function.as_pointer())
        builder.call(pointer, passed)
        return context.get_dummy_value()

    return types.void(types.int64, arguments), codegen
