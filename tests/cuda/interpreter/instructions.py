"""The table of instructions that only compute: what each does to NumPy arrays, a number a thread.

An entry's name is the opcode as PTX spells it. An instruction that is neither here nor one of the
few that `decode.py` names, which load, store, branch or wait, is an error: add it where a kernel
needs it.

Floating point is what PTX says but for this: fma of float32 is computed in float64 and rounded
again, that of float64 in NumPy's long double; approximate instructions give the nearest number,
rcp.approx of float64 the upper half of it.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

DTYPES = {"pred": np.dtype(bool)} | {
    f"{letter}{8 * size}": np.dtype(f"{kind}{size}")
    for letter, kind, sizes in (("b", "u", (1, 2, 4, 8)), ("u", "u", (1, 2, 4, 8)),
                                ("s", "i", (1, 2, 4, 8)), ("f", "f", (4, 8)))
    for size in sizes
}  # fmt: skip


class Rule(NamedTuple):
    """How an instruction's result is computed.

    Attributes
    ----------
    result : str
        Kind of number; what `compute` returns is cast to it.
    operands : tuple of str
        Kinds of what `compute` takes.
    compute : callable
    """

    result: str
    operands: tuple[str, ...]
    compute: Callable


TABLE: dict[str, Rule] = {}


def _each(opcode, kinds, operands, compute, result=None):
    """Add an instruction for each kind; the kind is {} in the opcode and t among the operands."""
    for kind in kinds.split():
        own = tuple(kind if name == "t" else name for name in operands.split())
        TABLE[opcode.format(kind)] = Rule(result or kind, own, compute)


def _same(a):
    return a


# --- moves and conversions ------------------------------------------------------------------------

BITS, INTEGERS, FLOATS = "b16 b32 b64", "u32 s32 u64 s64", "f32 f64"
_each("mov.{}", f"pred {BITS} {INTEGERS} {FLOATS}", "t", _same)
_each("selp.{}", f"{BITS} {INTEGERS} {FLOATS}", "t t pred", lambda a, b, p: np.where(p, a, b))
_each("cvta.to.global.{}", "u64", "t", _same)  # addresses are the same with and without their space
for _to, _of in (
    ("u64", "u32"), ("s64", "s32"), ("u32", "u64"), ("u16", "u32"), ("u32", "u16"), ("u16", "u64"),
    ("u64", "u16"), ("f64", "f32"),
):  # fmt: skip
    _each(f"cvt.{_to}.{_of}", _of, "t", _same, _to)
for _to, _of in (("f32", "f64"), ("f64", "s64"), ("f64", "u64"), ("f64", "s32"), ("f64", "u32"),
                 ("f64", "u16"), ("f32", "s32"), ("f32", "s64")):  # fmt: skip
    _each(f"cvt.rn.{_to}.{_of}", _of, "t", _same, _to)
_each("cvt.rni.{0}.{0}", FLOATS, "t", np.rint)

# --- integers and bits ----------------------------------------------------------------------------


def _quotient(a, b):
    """Rounded towards zero, as in C; np.fmod has the sign of a."""
    return (a - _remainder(a, b)) // b


def _remainder(a, b):
    if not b.all():
        raise ZeroDivisionError
    return np.fmod(a, b)


def _shifted_left(a, count):
    bits = 8 * a.itemsize
    return np.where(count < bits, a << (count % bits).astype(a.dtype), a.dtype.type(0))


def _shifted_right(a, count):
    """Signed numbers keep their sign, however far they are shifted."""
    bits = 8 * a.itemsize
    if a.dtype.kind == "i":
        return a >> np.minimum(count, bits - 1).astype(a.dtype)
    return np.where(count < bits, a >> (count % bits).astype(a.dtype), a.dtype.type(0))


def _inserted(a, b, start, length):
    """The lowest bits of a in the place of some of b's."""
    start, length = start.astype(np.uint64), length.astype(np.uint64)
    field = (np.uint64(1) << length) - np.uint64(1)
    return b & ~(field << start) | (a & field) << start


_each("add.{}", INTEGERS, "t t", np.add)
_each("sub.{}", INTEGERS, "t t", np.subtract)
_each("mul.lo.{}", INTEGERS, "t t", np.multiply)
_each("mad.lo.{}", INTEGERS, "t t t", lambda a, b, c: a * b + c)
_each("mul.wide.{}", "s32", "t t", lambda a, b: a.astype(np.int64) * b, "s64")
_each("mul.wide.{}", "u32", "t t", lambda a, b: a.astype(np.uint64) * b, "u64")
_each("div.{}", INTEGERS, "t t", _quotient)
_each("rem.{}", INTEGERS, "t t", _remainder)
_each("min.{}", INTEGERS, "t t", np.minimum)
_each("max.{}", INTEGERS, "t t", np.maximum)
_each("neg.{}", "s32 s64", "t", np.negative)
_each("not.{}", f"pred {BITS}", "t", np.invert)
_each("and.{}", f"pred {BITS}", "t t", np.bitwise_and)
_each("or.{}", f"pred {BITS}", "t t", np.bitwise_or)
_each("xor.{}", f"pred {BITS}", "t t", np.bitwise_xor)
_each("shl.{}", "b32 b64", "t u32", _shifted_left)
_each("shr.{}", INTEGERS, "t u32", _shifted_right)
_each("bfi.{}", "b64", "t t u32 u32", _inserted)

# --- floating point -------------------------------------------------------------------------------


def _fused(a, b, c):
    wide = np.float64 if a.dtype == np.float32 else np.longdouble
    return (a.astype(wide) * b + c).astype(a.dtype)


def _flushed(a):
    """Numbers too small for the usual form become 0."""
    return np.where(np.abs(a) < np.finfo(a.dtype).tiny, np.copysign(a.dtype.type(0), a), a)


def _reciprocal(a):
    return _flushed(1 / _flushed(a))


def _upper_half(a):
    return (a.view(np.uint64) & np.uint64(0xFFFFFFFF_00000000)).view(np.float64)


_each("add.{}", FLOATS, "t t", np.add)
_each("add.rn.{}", FLOATS, "t t", np.add)
_each("sub.{}", FLOATS, "t t", np.subtract)
_each("mul.{}", FLOATS, "t t", np.multiply)
_each("mul.rn.{}", FLOATS, "t t", np.multiply)
_each("fma.rn.{}", FLOATS, "t t t", _fused)
_each("div.rn.{}", FLOATS, "t t", np.divide)
_each("rcp.rn.{}", FLOATS, "t", np.reciprocal)
_each("sqrt.rn.{}", FLOATS, "t", np.sqrt)
_each("min.{}", FLOATS, "t t", np.fmin)  # the other one where one is NaN
_each("max.{}", FLOATS, "t t", np.fmax)
_each("abs.{}", FLOATS, "t", np.abs)
_each("neg.{}", FLOATS, "t", np.negative)
_each("copysign.{}", FLOATS, "t t", lambda a, b: np.copysign(b, a))  # a has the sign
_each("ex2.approx.ftz.{}", "f32", "t", lambda a: _flushed(np.exp2(_flushed(a))))
_each("rcp.approx.ftz.{}", "f32", "t", _reciprocal)
_each("rcp.approx.ftz.{}", "f64", "t", lambda a: _upper_half(_reciprocal(_upper_half(a))))

# --- comparisons ----------------------------------------------------------------------------------


def _ordered(compare):
    """False where a number is NaN, which only matters to !=."""
    return lambda a, b: compare(a, b) & (a == a) & (b == b)


def _unordered(compare):
    return lambda a, b: compare(a, b) | (a != a) | (b != b)


_COMPARISONS = {
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
    "ge": np.greater_equal,
}  # fmt: skip
for _name, _compare in _COMPARISONS.items():
    _each(f"setp.{_name}.{{}}", f"u16 s16 {INTEGERS} {BITS}", "t t", _compare, "pred")
    _each(f"setp.{_name}.{{}}", FLOATS, "t t", _ordered(_compare), "pred")
    _each(f"setp.{_name}u.{{}}", FLOATS, "t t", _unordered(_compare), "pred")
_each("setp.num.{}", FLOATS, "t t", lambda a, b: (a == a) & (b == b), "pred")
_each("setp.nan.{}", FLOATS, "t t", lambda a, b: (a != a) | (b != b), "pred")

# --- two registers side by side -------------------------------------------------------------------


def _packed(lower, upper):
    return lower.astype(np.uint64) | upper.astype(np.uint64) << np.uint64(32)


_each("pack", "b64", "b32 b32", _packed)
_each("lower", "b64", "t", lambda a: a & np.uint64(0xFFFFFFFF), "b32")
_each("upper", "b64", "t", lambda a: a >> np.uint64(32), "b32")
