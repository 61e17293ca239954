"""How the kernels are compiled: when first needed, once per dtype, and kept on disk (cache.py).

Numba optimises a function that is called by name again within each of its callers, and takes
seconds over a long parallel loop. So:

* a `kernel` is a small function, for use inside others;
* a native is a long one: compiled on its own, for pointers and integers, and called by address;
* a task is a native whose first argument says which part of the work to do. Its other arguments
  are laid down in a frame, so that one parallel loop, compiled once, can `launch` any task;
* a `shell` is what Python calls, with arrays and scratch memory: it launches tasks.

Without this the first call takes several times as long.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import from_dtype, get_num_threads, njit, prange, types
from numba.core import cgutils
from numba.core.extending import intrinsic

from .cache import callback, jitted

# What the annotations of natives stand for; see `Natives`.
Numbers = Table = Int = Any
CLOCK = getattr(time, "CLOCK_MONOTONIC", 0)
PATIENCE = 500_000  # nanoseconds that a launch may take besides its work
OPTIONS = {"nogil": True, "error_model": "numpy"}


def _copy(function: Callable, names: dict[str, Any] | None = None) -> Callable:
    """Copy a function, so that each compilation has its own name, perhaps with more globals."""
    known = function.__globals__ if names is None else function.__globals__ | names
    return type(function)(function.__code__, known, function.__name__)


def kernel(function: Callable) -> Callable:
    """Compile a small function for use inside others, which are cached with it in them."""
    return njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **OPTIONS)(function)


def shell(function: Callable) -> Callable:
    """Compile a function that Python calls, (release, *arguments), with arrays.

    `release` says whether to let go of Python's lock (the GIL) meanwhile. Other threads of Python
    can run then, but one that wants it back has to wait for them, often longer than a small piece
    of work takes.
    """
    run = _copy(_run_shell, {"body": kernel(function)})
    return jitted(run, function.__name__, **OPTIONS | {"nogil": False})


def _run_shell(release, *arguments):
    state = let_go(release)
    body(*arguments)  # noqa: F821, a name that `_copy` provides
    take_back(state)


class Natives:
    """All natives and tasks: found by their place in a table of addresses that kernels get.

    The annotations of their parameters say what these are: `Numbers` and `Table` are pointers to
    numbers of the dtype and to int64, `Int` is an int64.
    """

    def __init__(self) -> None:
        self._builders: dict[int, Callable] = {}
        self._tables: dict[np.dtype, np.ndarray] = {}
        self._ready: dict[tuple[np.dtype, tuple[int, ...]], np.ndarray] = {}
        self._kept: list[Any] = []
        self._lock = threading.RLock()

    def native(self, place: int) -> Callable[[Callable], Callable]:
        """Decorate a function that is called by its address at a place of the table."""

        def decorate(function: Callable) -> Callable:
            def build(dtype: np.dtype) -> Any:
                kinds = [_kind(kind, dtype) for kind in function.__annotations__.values()]
                return callback(_copy(function), f"{function.__name__}-{dtype}", kinds, **OPTIONS)

            self._builders[place] = build
            return function

        return decorate

    def task(self, place: int) -> Callable[[Callable], Callable]:
        """Decorate a function (task: Int, ...) that is launched from a place of the table."""

        def decorate(function: Callable) -> Callable:
            def build(dtype: np.dtype) -> Any:
                kinds = [_kind(kind, dtype) for kind in function.__annotations__.values()]
                names = {
                    "body": kernel(function),
                    "letters": "".join(k[0] for k in list(function.__annotations__.values())[1:]),
                }
                frame = types.CPointer(types.CPointer(from_dtype(dtype)))
                name = f"{function.__name__}-{dtype}"
                return callback(_copy(_run_task, names), name, [kinds[0], frame], **OPTIONS)

            self._builders[place] = build
            return function

        return decorate

    def table(self, dtype: np.dtype, places: tuple[int, ...]) -> np.ndarray:
        """Return the table for a dtype, with at least the natives at these places compiled."""
        ready = self._ready.get((dtype, places))
        if ready is None:
            with self._lock:
                ready = self._tables.setdefault(dtype, np.zeros(32, np.int64))
                for place in places:
                    if ready[place] == 0:
                        made = self._builders[place](dtype)
                        self._kept.append(made)
                        ready[place] = made.address
                self._ready[dtype, places] = ready
        return ready


def _kind(annotation: str, dtype: np.dtype) -> types.Type:
    if annotation == "Int":
        return types.int64
    return types.CPointer(types.int64 if annotation == "Table" else from_dtype(dtype))


def _run_task(task, frame):
    body(task, *unpack(frame, letters))  # noqa: F821, names that `_copy` provides


natives = Natives()


def _after_fork() -> None:
    # Another thread of the parent may have held it, and what it was compiling is not in the table.
    natives._lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


# --- calls by address ---------------------------------------------------------------------------


def _passed(context, builder, kinds, arguments) -> list[ir.Value]:
    """Arguments of a native: arrays as pointers, (array or pointer, start) from start on."""
    passed = []
    for kind, value in zip(kinds, cgutils.unpack_tuple(builder, arguments), strict=True):
        start = None
        if isinstance(kind, types.BaseTuple):
            value, start = cgutils.unpack_tuple(builder, value)
            kind = kind[0]
        if isinstance(kind, types.Array):
            value = context.make_array(kind)(context, builder, value).data
        if start is not None:
            value = builder.gep(value, [start])
        passed.append(value)
    return passed


@intrinsic
def call(typing, address, arguments):
    """Call a native with a tuple of arguments."""

    def codegen(context, builder, signature, values):
        passed = _passed(context, builder, signature.args[1], values[1])
        function = ir.FunctionType(ir.VoidType(), [value.type for value in passed])
        builder.call(builder.inttoptr(values[0], function.as_pointer()), passed)
        return context.get_dummy_value()

    return types.void(types.int64, arguments), codegen


@intrinsic
def frame_of(typing, arguments):
    """Lay arguments down in memory for tasks; return the address."""

    def codegen(context, builder, signature, values):
        passed = _passed(context, builder, signature.args[0], values[0])
        frame = cgutils.alloca_once(builder, ir.IntType(64), size=len(passed))
        for place, value in enumerate(passed):
            if isinstance(value.type, ir.PointerType):
                value = builder.ptrtoint(value, ir.IntType(64))
            builder.store(value, builder.gep(frame, [ir.IntType(64)(place)]))
        return builder.ptrtoint(frame, ir.IntType(64))

    return types.int64(arguments), codegen


@intrinsic(prefer_literal=True)
def unpack(typing, frame, letters):
    """Read arguments back: N, T and I stand for Numbers, Table and Int."""
    numbers = frame.dtype
    kinds = {"N": numbers, "T": types.CPointer(types.int64), "I": types.int64}
    result = types.Tuple([kinds[letter] for letter in letters.literal_value])

    def codegen(context, builder, signature, values):
        slots = builder.bitcast(values[0], ir.IntType(64).as_pointer())
        read = []
        for place, kind in enumerate(result):
            value = builder.load(builder.gep(slots, [ir.IntType(64)(place)]))
            if kind != types.int64:
                value = builder.inttoptr(value, context.get_value_type(kind))
            read.append(value)
        return context.make_tuple(builder, result, read)

    return result(frame, letters), codegen


@intrinsic
def advance(typing, pointer, start):
    """Return a pointer `start` numbers further on."""

    def codegen(context, builder, signature, values):
        return builder.gep(values[0], [values[1]])

    return pointer(pointer, types.int64), codegen


@intrinsic
def let_go(typing, release):
    """Release Python's lock if asked to; `take_back` wants to know what is returned."""

    def codegen(context, builder, signature, values):
        state = cgutils.alloca_once_value(builder, ir.IntType(64)(0))
        with builder.if_then(builder.icmp_signed("!=", values[0], values[0].type(0))):
            kind = ir.FunctionType(ir.IntType(64), [])
            save = cgutils.get_or_insert_function(builder.module, kind, "PyEval_SaveThread")
            builder.store(builder.call(save, []), state)
        return builder.load(state)

    return types.int64(release), codegen


@intrinsic
def take_back(typing, state):
    """Take Python's lock again where it was released."""

    def codegen(context, builder, signature, values):
        with builder.if_then(builder.icmp_signed("!=", values[0], ir.IntType(64)(0))):
            kind = ir.FunctionType(ir.VoidType(), [ir.IntType(64)])
            restore = cgutils.get_or_insert_function(builder.module, kind, "PyEval_RestoreThread")
            builder.call(restore, [values[0]])
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@intrinsic
def nanoseconds(typing):
    """Read a clock that only goes forward; where there is none that C programs share, return 0."""

    def codegen(context, builder, signature, values):
        number = ir.IntType(64)
        if os.name != "posix":
            return number(0)
        read = cgutils.alloca_once(builder, number, size=2)  # seconds and nanoseconds
        kind = ir.FunctionType(ir.IntType(32), [ir.IntType(32), read.type])
        clock = cgutils.get_or_insert_function(builder.module, kind, "clock_gettime")
        builder.call(clock, [ir.IntType(32)(CLOCK), read])
        part = [builder.load(builder.gep(read, [number(k)])) for k in range(2)]
        return builder.add(builder.mul(part[0], number(1_000_000_000)), part[1])

    return types.int64(), codegen


# --- launching tasks ------------------------------------------------------------------------------


@kernel
def launch(launcher, address, tasks, frame):
    """Run tasks 0, 1, ..., here one after the other, or by the parallel launcher where given."""
    if launcher == 0 or tasks == 1:
        for task in range(tasks):
            call(address, (task, frame))
    else:
        call(launcher, (address, tasks, frame))


@kernel
def launch_again(launcher, address, tasks, frame, work):
    """Run tasks, and return what shall launch the next ones: nothing where these took too long.

    A launch waits for its threads, and where other processes use the cores the system may take
    milliseconds to run one of them. No processor needs a nanosecond for each multiply-add.
    """
    start = nanoseconds()
    launch(launcher, address, tasks, frame)
    return launcher if nanoseconds() - start <= PATIENCE + work else 0


def _launch_parallel(address, tasks, frame):
    for task in prange(tasks):
        call(address, (task, frame))


def _enter(address, tasks, frame):
    loop(address, tasks, frame)  # noqa: F821, a name that `_copy` provides


@cache
def parallel_launcher() -> Any:
    """Compile the one parallel loop, or find it compiled; its `address` is a launcher."""
    get_num_threads()  # starts the pool: a loop that comes from the cache would not
    function = _copy(_launch_parallel)
    loop = jitted(function, "parallel_launcher-loop", parallel=True, **OPTIONS)
    enter = _copy(_enter, {"loop": loop})
    return callback(enter, "parallel_launcher", [types.int64] * 3, **OPTIONS)
