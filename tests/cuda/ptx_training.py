"""Losses, optimisers and copies compiled without a GPU: every kernel, as it would be launched."""

import functools
import re
from types import SimpleNamespace

import numpy as np
import pytest
from numba import from_dtype, types
from resources import compiled, resources

from numba_rnn.cuda import dropout, losses, memory, optim
from numba_rnn.cuda.launching import SLOTS, Vector, _numbers, slots

F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
I64, FLAG, DOUBLE = types.int64, types.boolean, types.float64
CAPABILITIES = [(7, 5), (8, 0), (9, 0), (10, 0)]


def vector(dtype):
    return types.Array(from_dtype(np.dtype(dtype)), 1, "C")


def axes(count):
    return types.UniTuple(types.int64, count)


def elementwise(kind, x, y, w, count):
    sums, gradients = losses.elementwise(kind)
    masks = (vector(w), FLAG, axes(count), axes(count), DOUBLE, I64)
    given = (vector(x), vector(y), *masks)
    yield sums, (vector(F64), *given)
    yield gradients, (vector(x), vector(F64), vector(F64), I64, *given)


def classes(x, y, w, count):
    sums, gradients = losses.classes()
    given = (vector(F64), vector(x), vector(y), vector(w), FLAG, axes(count), axes(count), I64, I64)
    yield sums, (vector(F64), *given)
    yield gradients, (vector(x), vector(F64), vector(F64), I64, *given)


def optimisers(dtype):
    v, number = vector(dtype), from_dtype(dtype)
    yield optim.sgd(dtype), (v, v, v, FLAG, *[number] * 4, FLAG, I64)
    yield optim.rmsprop(dtype), (*[v] * 5, *[number] * 6, FLAG, I64)
    yield optim.adam(dtype), (*[v] * 5, *[number] * 9, FLAG, I64)
    yield optim.sum_squares, (vector(F64), I64, v, I64)
    yield optim.scale(dtype), (v, vector(F64), vector(F64), I64, DOUBLE, I64)


def copies(dtype):
    number = from_dtype(dtype)
    for ndim, kernel in enumerate(memory._COPIES, 1):
        yield kernel, (types.Array(number, ndim, "A"), types.Array(number, ndim, "C"))
    yield memory.move_states, (vector(dtype), vector(dtype), *[I64] * 6)


# One of each for every GPU; of other dtypes, for one.
KERNELS = [
    *elementwise(losses.MSE, F32, F32, F32, 1),
    *elementwise(losses.MAE, F64, np.int64, np.bool_, 2),
    *elementwise(losses.HUBER, F32, F64, F64, 3),
    *elementwise(losses.BINARY_CROSS_ENTROPY, F32, np.bool_, F32, 1),
    *classes(F32, np.int64, F32, 1),
    *optimisers(F32),
    *copies(F32),
]
OTHERS = [*classes(F64, np.uint8, F64, 2), *optimisers(F64)]


@functools.cache
def library(kernel, kinds):
    return compiled(kernel, types.void(*kinds), (9, 0))


def ptx(kernel, kinds, cc):
    return library(kernel, kinds).get_asm_str(cc=cc)


@pytest.mark.parametrize(
    ("kernel", "kinds", "capabilities"),
    [(*entry, CAPABILITIES) for entry in KERNELS] + [(*entry, [(9, 0)]) for entry in OTHERS],
    ids=lambda v: getattr(v, "__name__", ""),
)
def test_kernels_compile(kernel, kinds, capabilities):
    for cc in capabilities:
        code = ptx(kernel, kinds, cc)
        assert f".target sm_{cc[0]}{cc[1]}" in code and ".entry" in code
        assert "approx.f32" not in code and "approx.ftz.f32" not in code
        if cc == (9, 0):
            found = resources(code)
            assert found.stack == found.spills == 0
            assert found.registers * 256 <= 65536


@pytest.mark.parametrize("dtype", [F32, F64])
def test_numbers_have_the_parameters_dtype(dtype):
    """Nothing of an optimiser is silently computed in float64 where parameters are float32."""
    for kernel, kinds in list(optimisers(dtype))[:3]:
        code = ptx(kernel, kinds, (9, 0))
        assert ("f64" in code) == (dtype == F64), kernel.__name__


# --- what a launch hands over ---------------------------------------------------------------------

NUMBERS = {
    I64: 5, FLAG: True, DOUBLE: 0.5, types.float32: np.float32(0.5), types.uint64: np.uint64(5)
}  # fmt: skip
WIDTHS = {"?7x": "b8", "f4x": "b32", "q": "b64", "Q": "b64", "d": "b64"}


def argument(kind):
    """Something of a kind, as the package hands it over."""
    if isinstance(kind, types.UniTuple):
        return (2,) * len(kind)
    if not isinstance(kind, types.Array):
        return NUMBERS[kind]
    dtype = np.dtype(kind.dtype.name.replace("boolean", "bool"))
    if kind.ndim == 1 and kind.layout == "C":
        return Vector(1 << 40, 3, dtype, None)
    return SimpleNamespace(
        size=0, dtype=dtype, shape=(0,) * kind.ndim, strides=(8,) * kind.ndim, _numba_type_=kind,
        device_ctypes_pointer=SimpleNamespace(value=None),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kernel", "kinds"),
    [*KERNELS, (dropout.drop(F32), (*[vector(F32)] * 2, DOUBLE, *[types.uint64] * 2, I64))],
    ids=lambda v: getattr(v, "__name__", ""),
)
def test_arguments_are_laid_out_as_the_kernel_expects(kernel, kinds):
    arguments = tuple(map(argument, kinds))
    assert tuple(kernel.typeof_pyval(a) for a in arguments) == tuple(kinds)
    code = ptx(kernel, kinds, (9, 0))
    (head,) = re.findall(r"\.entry [^{]*\)", code)
    expected = [f"b{width}" for width in re.findall(r"\.param \.\w(\d+)", head)]
    assert [WIDTHS[slot] for slot in slots(arguments)] == expected


def test_a_vector_is_an_array_of_numbas():
    assert _numbers((Vector(1 << 40, 3, F64, None), 7, (8, 9), True)) == [
        0, 0, 3, 8, 1 << 40, 3, 8, 7, 8, 9, True
    ]  # fmt: skip
    assert set(SLOTS) == {int, bool, float, np.int64, np.uint64, np.float32, np.float64}
