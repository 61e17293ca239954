"""How the kernels are compiled: lazily, once per dtype, and kept on disk.

`kernel` compiles a function that other kernels call; `Shell` compiles one that Python calls, in two
ways from the same source: serial, where `prange` is an ordinary loop, and parallel.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from numba import cfunc, njit, types


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
OPTIONS = {"nogil": True, "error_model": "numpy"}
_warned = False


def _compiled(function: Callable, name: str, compiler: Callable = njit, **options):
    function.__qualname__ = f"{name}-{DIGEST}"
    try:
        return compiler(cache=True, **OPTIONS, **options)(function)
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
        return compiler(**OPTIONS, **options)(function)


def kernel(function: Callable) -> Callable:
    """Compile a function for use inside other kernels."""
    return _compiled(function, function.__name__)


def native(*arguments: types.Type) -> Callable:
    """Compile a function of pointers and integers that is called by its address."""

    def compile_native(function: Callable):
        signature = types.void(*arguments)
        name = f"{function.__name__}-{arguments[0].dtype}"
        return _compiled(function, name, lambda **options: cfunc(signature, **options))

    return compile_native


class Shell:
    """A function that Python calls, compiled for one thread or for all of Numba's pool.

    The two are compiled when they are first called: a process that never has enough work for two
    threads never pays for the parallel one.
    """

    def __init__(self, function: Callable) -> None:
        self._function = function
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__

    @cached_property
    def serial(self) -> Callable:
        return _compiled(self._function, self.__name__)

    @cached_property
    def parallel(self) -> Callable:
        copy = type(self._function)(
            self._function.__code__, self._function.__globals__, self.__name__
        )
        return _compiled(copy, f"{self.__name__}-parallel", parallel=True)
