"""Functions that are compiled apart and called by name.

Numba compiles a function that is called by name again within each of its callers, which for long
ones takes seconds. So there are three kinds of functions in this backend:

* an `inline` one is small, and compiled into whatever uses it;
* a `native` one is long, and compiled once for each dtype. It is called by its name all the same:
  number and types of the arguments are checked when the caller is compiled, and what a function
  calls is found in its source;
* `twins` are what Python calls: the same source compiled for one thread, where `prange` is
  `range`, and for all of them.

Annotations say what the parameters of natives are, see structures.py. With NUMBA_DISABLE_JIT=1 all
of them are plain functions of Python, and a debugger steps through.
"""

from __future__ import annotations

import dis
import inspect
import os
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import from_dtype, get_num_threads, njit, types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic

from .cache import DIGEST, callback, jitted
from .structures import (
    INT,
    PLAIN,
    Structure,
    StructureType,
    as_kernels_want,
    kind_of,
    number_of,
    opaque,
    structure_at,
)

OPTIONS = {"error_model": "numpy"}
INSIDE = OPTIONS | {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}  # of other functions

_compiling = threading.RLock()


def _after_fork() -> None:
    global _compiling
    _compiling = threading.RLock()  # another thread of the parent may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


# --- instructions ---------------------------------------------------------------------------------


def instructions(plain: Callable, result: types.Type = types.void) -> Callable:
    """Make a function of kernels from one that emits instructions.

    That one gets an LLVM builder, the type of the numbers and the arguments, tuples of them as
    tuples. `plain` does the same in Python, with one lane to a vector.
    """

    def decorate(emit: Callable) -> Callable:
        if PLAIN:
            return plain

        def body(typing, *arguments):
            def codegen(context, builder, signature, values):
                number = number_of(signature.args)
                number = None if number is None else context.get_data_type(number)
                value = emit(builder, number, *_unpacked(builder, signature.args, values))
                return context.get_dummy_value() if result == types.void else value

            wanted = (types.int64 if isinstance(k, types.Integer) else k for k in arguments)
            return result(*wanted), codegen

        return _named(body, emit, list(inspect.signature(emit).parameters)[2:])

    return decorate


def _named(body: Callable, function: Callable, parameters: list[str]) -> Any:
    """Make an instruction of kernels of `body`, with the name and parameters of a function."""
    positional = inspect.Parameter.POSITIONAL_OR_KEYWORD
    names = ["typing", *parameters]
    body.__signature__ = inspect.Signature([inspect.Parameter(n, positional) for n in names])
    body.__name__, body.__doc__ = function.__name__, function.__doc__
    return intrinsic(body)


def _unpacked(builder, kinds, values) -> Iterator[Any]:
    for kind, value in zip(kinds, values, strict=True):
        if isinstance(kind, types.BaseTuple):
            yield tuple(_unpacked(builder, kind, cgutils.unpack_tuple(builder, value)))
        elif isinstance(kind, types.CPointer):
            yield opaque(builder, value)
        else:
            yield value


# --- functions ------------------------------------------------------------------------------------


def inline(function: Callable) -> Callable:
    """Compile a small function into what uses it."""
    if PLAIN:
        return function
    return njit(**INSIDE)(function)


def native(function: Callable) -> Callable:
    """Compile a long function once for each dtype; it returns nothing and is called by name."""
    return function if PLAIN else _Native(function).caller


class _Native:
    """A function that is compiled apart, and the instruction that calls it."""

    def __init__(self, function: Callable) -> None:
        self.function = function
        self.name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
        self.annotations = list(function.__annotations__.values())
        self._made: dict[np.dtype, Any] = {}

        def body(typing, *arguments):
            return self._call(arguments)

        self.caller = _named(body, function, list(function.__annotations__))
        self.caller.native = self

    def _call(self, given: tuple[types.Type, ...]) -> tuple[Any, Callable]:
        """Signature of a call with arguments of the given types, and the code for it."""
        number = number_of(given)
        wanted = self._kinds(number)
        fits = len(given) == len(wanted) and all(
            a == b or (b == types.int64 and isinstance(a, types.Integer))
            for a, b in zip(given, wanted, strict=True)
        )
        if not fits:
            raise TypingError(f"{self.name} takes {wanted}, got {list(given)}")

        def codegen(context, builder, signature, values):
            kinds = [value.type for value in values]
            function = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(ir.VoidType(), kinds), self._symbol(number)
            )
            builder.call(function, values)
            return context.get_dummy_value()

        return types.void(*wanted), codegen

    def _kinds(self, number: types.Type) -> list[types.Type]:
        names = self.function.__globals__
        return [kind_of(annotation, number, names) for annotation in self.annotations]

    def _symbol(self, number: types.Type) -> str:
        return f"numba_rnn.{self.name}.{number}.{DIGEST}"

    def make(self, dtype: np.dtype) -> None:
        """Compile it, or load it from the cache, with all that it calls."""
        if dtype in self._made:
            return
        _make_called(self.function, dtype)
        number = from_dtype(dtype)
        kinds = self._kinds(number)
        made = callback(_copy(self.function), f"{self.name}-{dtype}", kinds, **OPTIONS)
        llvmlite.binding.add_symbol(self._symbol(number), made.address)
        self._made[dtype] = made


def _make_called(function: Callable, dtype: np.dtype) -> None:
    """Make the natives that a function calls, itself or in a function that is inlined."""
    for instruction in dis.get_instructions(function):
        if instruction.opname != "LOAD_GLOBAL":
            continue
        called = function.__globals__.get(instruction.argval)
        if hasattr(called, "native"):
            called.native.make(dtype)
        elif hasattr(called, "py_func"):
            _make_called(called.py_func, dtype)


def _copy(function: Callable, names: dict[str, Any] | None = None) -> Callable:
    """Copy a function, so that each compilation has its own name, perhaps with more globals."""
    known = function.__globals__ if names is None else function.__globals__ | names
    return type(function)(function.__code__, known, function.__name__)


class Twins:
    """A kernel for Python to call with a structure: in one thread, or with all of them."""

    def __init__(self, function: Callable) -> None:
        self.function, self.__name__, self.__doc__ = function, function.__name__, function.__doc__
        (self.structure,) = function.__annotations__.values()
        self._entries: dict[tuple[np.dtype, bool], Callable] = {}

    def __call__(
        self, p: Structure, arrays: tuple[np.ndarray, ...], dtype: np.dtype, parallel: bool,
        release: bool,
    ) -> None:  # fmt: skip
        """Run it.

        Parameters
        ----------
        arrays : tuple of ndarray
            The structure's `arrays`, in C order.
        release : bool
            Whether to let go of Python's lock (the GIL) meanwhile. Other threads of Python can
            run then, but this one may have to wait for them after, often longer than a small piece
            of work takes.
        """
        if PLAIN:
            for name, array in zip(p.arrays, arrays, strict=True):
                setattr(p, name, array.reshape(-1))
            p.parallel = parallel
            with np.errstate(over="ignore"):  # integers go round
                self.function(p)
            return
        p._fields[0] = parallel
        entry = self.make(dtype, parallel)
        try:
            entry(p.address, release, *arrays)
        except TypeError:  # before anything has run: some are not as they should be
            entry(p.address, release, *map(as_kernels_want, arrays))

    def alone(self, p: Structure, dtype: np.dtype) -> Callable[..., None]:
        """Return the twin for one thread and one structure: a function of release and arrays."""
        if PLAIN:
            return lambda release, *arrays: self(p, arrays, dtype, False, release)
        p._fields[0] = False
        return partial(self.make(dtype, False), p.address)

    def make(self, dtype: np.dtype, parallel: bool) -> Callable:
        """Compile a twin, or load it from the cache, with all that it calls."""
        entry = self._entries.get((dtype, parallel))
        if entry is not None or PLAIN:
            return entry or self.function
        with _compiling:
            if (dtype, parallel) in self._entries:
                return self._entries[dtype, parallel]
            if parallel:
                get_num_threads()  # starts the pool: code that comes from the cache would not
            _make_called(self.function, dtype)
            names, number = self.function.__globals__, from_dtype(dtype)
            kind, structure = kind_of(self.structure, number, names), names[self.structure]
            body = njit(parallel=parallel, **INSIDE)(_copy(self.function))
            name = f"{self.__name__}-{'parallel' if parallel else 'serial'}-{dtype}"
            entry = jitted(_entry(kind, structure, body), name, **OPTIONS)
            arrays = [
                types.Array(kind_of(structure.kinds[field], number, names).dtype, axes, "C")
                for field, axes in structure.arrays.items()
            ]
            entry.compile((types.int64, types.boolean, *arrays))
            entry.disable_compile()  # arrays in another order are a fault
            self._entries[dtype, parallel] = entry
            return entry


def twins(function: Callable) -> Twins:
    """Make a kernel that Python calls."""
    return Twins(function)


# What Python calls. The arrays are parameters of their own, since Numba takes a millisecond to find
# the code for a tuple of them.
_ENTER = """
def enter(address, release, {arrays}):
    p = structure_at(address, ({arrays},))
    state = let_go(release)
    body(p)
    take_back(state)
"""


def _entry(kind: StructureType, structure: type[Structure], body: Callable) -> Callable:
    names = {"__name__": __name__, "let_go": let_go, "take_back": take_back, "body": body}
    names["structure_at"] = structure_at(kind, structure)
    exec(_ENTER.format(arrays=", ".join(structure.arrays)), names)
    return names["enter"]


@intrinsic
def let_go(typing, release):
    """Release Python's lock if asked to; `take_back` wants to know what is returned."""

    def codegen(context, builder, signature, values):
        state = cgutils.alloca_once_value(builder, INT(0))
        with builder.if_then(values[0]):
            save = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(INT, []), "PyEval_SaveThread"
            )
            builder.store(builder.call(save, []), state)
        return builder.load(state, typ=INT)

    return types.int64(types.boolean), codegen


@intrinsic
def take_back(typing, state):
    """Take Python's lock again where it was released."""

    def codegen(context, builder, signature, values):
        with builder.if_then(builder.icmp_signed("!=", values[0], INT(0))):
            restore = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(ir.VoidType(), [INT]), "PyEval_RestoreThread"
            )
            builder.call(restore, [values[0]])
        return context.get_dummy_value()

    return types.void(types.int64), codegen
