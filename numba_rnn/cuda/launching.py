"""Launches: vectors of device memory and numbers go to a kernel with little work for the host.

Numba compiles a kernel, once for the types of its arguments. Its own way to launch it takes longer
than a small kernel runs, so the driver is asked directly. The arguments are laid out as Numba's
kernels expect them, each number in eight bytes of its own: an array is (0, 0, size, itemsize,
address, shape, strides), a tuple its elements.
"""

from __future__ import annotations

import struct
import warnings
from typing import Any, NamedTuple

import numpy as np

from .toolkit import SIMULATOR, array_type, bindings, device_number

UNASKED = 48 << 10  # bytes of shared memory that a block gets without being asked for
SLOTS = {
    int: "q", bool: "?7x", float: "d", np.int64: "q", np.uint64: "Q", np.float32: "f4x",
    np.float64: "d",
}  # fmt: skip


class Vector:
    """An array's memory as kernels get it: numbers one after the other.

    Attributes
    ----------
    address : int
        In the simulator the array itself, as a vector of the simulator's.
    size : int
    dtype : numpy.dtype
    array : array
        Of whatever library; in C order, of any shape.
    """

    __slots__ = ("address", "array", "dtype", "size")

    def __init__(self, address: Any, size: int, dtype: np.dtype, array: Any) -> None:
        self.address, self.size, self.dtype, self.array = address, size, dtype, array

    @property
    def _numba_type_(self) -> Any:
        return array_type(self.dtype)


def launch(
    compiled: Any,
    grid: int | tuple[int, ...],
    threads: int,
    stream: Any,
    *arguments: Any,
    shared: int = 0,
    cooperative: bool = False,
) -> None:
    """Launch a kernel.

    Parameters
    ----------
    compiled : kernel
    grid : int or tuple of int
        Blocks.
    threads : int
        Threads of each block.
    stream : Numba stream
    *arguments
        Vectors, Numba's device arrays, numbers and tuples of ints.
    shared : int
        Bytes of dynamic shared memory. A kernel always gets the same.
    cooperative : bool
        All blocks must run at once, because they wait for each other.
    """
    if SIMULATOR:
        _simulate(compiled, grid, threads, stream, arguments, shared)
        return
    key = id(compiled), device_number(), *map(_kind, arguments)  # kernels live with the process
    ready = _ready.get(key)
    if ready is None:
        ready = _ready[key] = _prepared(compiled, arguments, shared)
    # Memory for the numbers, and a table of their addresses. The driver copies what it reads there.
    numbers = np.empty(len(ready.offsets), np.int64)
    ready.layout.pack_into(numbers, 0, *_numbers(arguments))
    table = ready.offsets + numbers.__array_interface__["data"][0]
    start = bindings.cuLaunchCooperativeKernel if cooperative else bindings.cuLaunchKernel
    x, y, z = (grid, 1, 1) if isinstance(grid, int) else (*grid, 1, 1)[:3]
    end = () if cooperative else (0,)
    (status,) = start(
        ready.function, x, y, z, threads, 1, 1, shared, int(stream),
        table.__array_interface__["data"][0], *end,
    )  # fmt: skip
    _require_success(status, compiled)


class _Ready(NamedTuple):
    function: Any
    layout: struct.Struct
    offsets: np.ndarray
    overload: Any  # owns the function


_ready: dict[tuple[Any, ...], _Ready] = {}


def _prepared(compiled: Any, arguments: tuple[Any, ...], shared: int) -> _Ready:
    """Compile for the types of the arguments and load to the current GPU."""
    overload = compiled.compile(tuple(compiled.typeof_pyval(a) for a in arguments))
    function = overload.library.get_cufunc().handle
    if shared > UNASKED:
        attribute = bindings.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        (status,) = bindings.cuKernelSetAttribute(attribute, shared, function, device_number())
        _require_success(status, compiled)
    formats = slots(arguments)
    offsets = 8 * np.arange(len(formats))
    layout = struct.Struct("<" + "".join(formats))
    return _Ready(bindings.CUfunction(int(function)), layout, offsets, overload)


def _require_success(status: Any, compiled: Any) -> None:
    if int(status):
        name = compiled.py_func.__name__
        raise RuntimeError(f"the CUDA driver could not launch {name}: {status!r}")


def _kind(argument: Any) -> Any:
    """What an argument is, as far as the compiled kernel depends on it."""
    kind = type(argument)
    if kind is Vector:
        return argument.dtype
    if kind is tuple:
        return len(argument)
    return kind if kind in SLOTS else argument._numba_type_


def slots(arguments: tuple[Any, ...]) -> list[str]:
    """Formats of the numbers that the arguments are laid out as, eight bytes each."""
    return [SLOTS[type(number)] for number in _numbers(arguments)]


def _numbers(arguments: tuple[Any, ...]) -> list[Any]:
    found: list[Any] = []
    for a in arguments:
        kind = type(a)
        if kind is Vector:
            itemsize = a.dtype.itemsize
            found += (0, 0, a.size, itemsize, a.address, a.size, itemsize)
        elif kind is tuple:
            found += a
        elif kind in SLOTS:
            found.append(a)
        else:
            address = a.device_ctypes_pointer.value or 0
            found += (0, 0, a.size, a.dtype.itemsize, address, *a.shape, *a.strides)
    return found


def _simulate(
    compiled: Any, grid: Any, threads: int, stream: Any, arguments: tuple[Any, ...], shared: int
) -> None:
    given = (a.address if type(a) is Vector else a for a in arguments)
    with warnings.catch_warnings():  # integers wrap around on a GPU without a word
        warnings.filterwarnings("ignore", "overflow encountered", RuntimeWarning)
        compiled[grid, threads, stream, shared](*given)
