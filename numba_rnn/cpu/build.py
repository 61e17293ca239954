"""How the kernels are compiled: when first needed, once per dtype, and kept on disk.

Numba optimises a function that is called by name again within each of its callers, and once more
in a parallel loop. So whatever is long here is a `Native`: compiled on its own, for pointers and
integers, and called by address (`call`). What allocates memory and loops over threads is a `Shell`,
compiled serial or parallel from the same source. Small pieces used inside both are `kernel`s.
Without this the first call takes several times as long.
"""

from __future__ import annotations

import hashlib
import threading
import warnings
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from llvmlite import ir
from numba import cfunc, from_dtype, njit, types
from numba.core import cgutils
from numba.core.extending import intrinsic


def _digest() -> str:
    """Digest of the sources of all kernels.

    Numba's cache looks at the time stamp of a function's own file only, not at those of the
    functions that it calls. With the digest in the name of every cache entry, code of another
    version of this package can't be found.
    """
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


DIGEST = _digest()
_warned = False


def _compiled(compiler: Callable, function: Callable, name: str, **options: Any) -> Any:
    function.__qualname__ = f"{name}-{DIGEST}"
    options |= {"nogil": True, "error_model": "numpy"}
    try:
        return compiler(cache=True, **options)(function)
    except RuntimeError as error:  # Numba found no directory that it can write to
        global _warned
        if not _warned:
            _warned = True
            warnings.warn(
                f"compiled kernels can't be kept on disk and will be compiled in each process "
                f"({error}); set NUMBA_CACHE_DIR to a writable directory",
                RuntimeWarning,
                stacklevel=2,
            )
        return compiler(**options)(function)


def _copy(function: Callable) -> Callable:
    """Copy a function, so that each compilation can have a name of its own."""
    return type(function)(
        function.__code__, function.__globals__, function.__name__, function.__defaults__
    )


def kernel(function: Callable) -> Callable:
    """Compile a small function for use inside other ones."""
    return _compiled(njit, function, function.__name__)


class Native:
    """A function of pointers and integers, compiled for a dtype and called by its address.

    The annotations of its parameters say what they are: `Numbers` and `Table` are pointers to
    numbers of the dtype and to int64, `Int` is an int64.
    """

    def __init__(self, function: Callable) -> None:
        self._function = function
        self._kinds = list(function.__annotations__.values())
        self._made: dict[np.dtype, Any] = {}

    def address(self, dtype: np.dtype) -> int:
        """Compile for a dtype, or find it compiled, and return the address."""
        made = self._made.get(dtype)
        if made is None:
            kinds = {
                "Numbers": types.CPointer(from_dtype(dtype)),
                "Table": types.CPointer(types.int64),
                "Int": types.int64,
            }
            signature = types.void(*(kinds[kind] for kind in self._kinds))
            name = f"{self._function.__name__}-{dtype}"
            made = _compiled(
                lambda **options: cfunc(signature, **options), _copy(self._function), name
            )
            self._made[dtype] = made
        return made.address


class Natives:
    """The addresses of all natives for a dtype, as the table that kernels get."""

    def __init__(self) -> None:
        self._natives: dict[int, Native] = {}
        self._tables: dict[np.dtype, np.ndarray] = {}
        self._ready: set[tuple[np.dtype, tuple[int, ...]]] = set()
        self._lock = threading.RLock()

    def add(self, place: int) -> Callable[[Callable], Native]:
        """Decorate a function that kernels find at a place of the table."""

        def decorate(function: Callable) -> Native:
            native = self._natives[place] = Native(function)
            return native

        return decorate

    def table(self, dtype: np.dtype, places: tuple[int, ...]) -> np.ndarray:
        """Return the table for a dtype, with at least the natives at these places compiled."""
        if (dtype, places) not in self._ready:
            with self._lock:
                table = self._tables.setdefault(dtype, np.zeros(32, np.int64))
                for place in places:
                    table[place] = self._natives[place].address(dtype)
                self._ready.add((dtype, places))
        return self._tables[dtype]


natives = Natives()


@intrinsic
def call(typing, address, arguments):
    """Call a native: arrays and pointers as they are, or, as (array, start), from start on."""

    def codegen(context, builder, signature, values):
        passed = []
        for kind, value in zip(
            signature.args[1], cgutils.unpack_tuple(builder, values[1]), strict=True
        ):
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
        builder.call(builder.inttoptr(values[0], function.as_pointer()), passed)
        return context.get_dummy_value()

    return types.void(types.int64, arguments), codegen


@intrinsic
def advance(typing, pointer, start):
    """Return a pointer `start` numbers further on."""

    def codegen(context, builder, signature, values):
        return builder.gep(values[0], [values[1]])

    return pointer(pointer, types.int64), codegen


class Shell:
    """A function that Python calls, compiled for one thread or for all of Numba's pool.

    In the serial one `prange` is an ordinary loop. Each is compiled when it is first called: a
    process that never has work enough for two threads never pays for the parallel one.
    """

    def __init__(self, function: Callable) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    @cached_property
    def serial(self) -> Callable:
        return _compiled(njit, _copy(self._function), self._function.__name__)

    @cached_property
    def parallel(self) -> Callable:
        name = f"{self._function.__name__}-parallel"
        return _compiled(njit, _copy(self._function), name, parallel=True)
