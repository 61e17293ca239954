"""Functions that are compiled apart and called by name, and the structures that they are given.

Numba compiles a function that is called by name again within each of its callers, which for long
ones takes seconds. So there are three kinds of functions in this backend:

* an `inline` one is small, and compiled into whatever uses it;
* a `native` one is long, and compiled once for each dtype. It is called by its name all the same:
  number and types of the arguments are checked when the caller is compiled, and what a function
  calls is found in its source;
* `twins` are what Python calls: the same source compiled for one thread, where `prange` is
  `range`, and for all of them.

Annotations say what the parameters of natives, and the fields of structures, are: `Int` is an
int64, `Table` and `Numbers` point to int64 and to numbers of the dtype. A pointer is indexed as a
flat array is, and `at(pointer, start)` points further on.

With NUMBA_DISABLE_JIT=1 all of them are plain functions of Python, pointers are flat views of NumPy
arrays, and a debugger steps through.
"""

from __future__ import annotations

import dis
import inspect
import os
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, ClassVar

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import config, from_dtype, get_num_threads, njit, types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.core.imputils import lower_getattr_generic
from numba.core.typing.templates import AttributeTemplate, infer_getattr
from numba.extending import intrinsic, models, register_model

from .cache import DIGEST, callback, jitted

Numbers = Table = Int = Any
PLAIN = bool(config.DISABLE_JIT)
OPTIONS = {"error_model": "numpy"}
INSIDE = OPTIONS | {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}  # of other functions
INT = ir.IntType(64)

_compiling = threading.RLock()


def _after_fork() -> None:
    global _compiling
    _compiling = threading.RLock()  # another thread of the parent may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _kind(annotation: Any, number: types.Type, names: dict[str, Any]) -> types.Type:
    """Numba's type for an annotation among such names, `number` being that of the dtype."""
    annotation = getattr(annotation, "__forward_arg__", annotation)  # in a NamedTuple
    if annotation == "Int":
        return types.int64
    if annotation == "Table":
        return types.CPointer(types.int64)
    if annotation == "Numbers":
        return types.CPointer(number)
    found = names[annotation]
    if issubclass(found, Structure):
        name = f"{found.__module__}.{annotation}"
        return StructureType(name, tuple(found.kinds.items()), number)
    kinds = [_kind(kind, number, names) for kind in found.__annotations__.values()]
    return types.NamedTuple(kinds, found)


# --- structures -----------------------------------------------------------------------------------


class Structure:
    """Base of what kernels are given: arrays and integers by name, as the annotations say.

    In Python an instance is made from its fields; those that `arrays` names, with their number of
    axes, are given with each call, and so is `parallel`, whether all threads are at work. In
    kernels it is an address, and a field is read from memory where it is used.
    """

    arrays: ClassVar[dict[str, int]] = {}

    def __init_subclass__(cls) -> None:
        cls.kinds = getattr(cls, "kinds", {"parallel": "Int"}) | cls.__annotations__
        cls.kinds.pop("arrays", None)
        cls.order = {name: place for place, name in enumerate(cls.kinds)}

    def __init__(self, **values: Any) -> None:
        self._kept = values  # the memory that the addresses are of
        if PLAIN:
            for name, kind in self.kinds.items():
                if name not in self.arrays and name != "parallel":
                    setattr(self, name, values[name] if kind == "Int" else values[name].reshape(-1))
            return
        self._fields = np.zeros(len(self.kinds), np.int64)
        for place, (name, kind) in enumerate(self.kinds.items()):
            if name not in self.arrays and name != "parallel":
                value = values[name]
                self._fields[place] = value if kind == "Int" else _address(value)
        self.address = _address(self._fields)

    def point(self, memory: dict[str, np.ndarray]) -> None:
        """Let fields be other arrays, which the caller keeps as long as they are used."""
        if PLAIN:
            for name, array in memory.items():
                setattr(self, name, array.reshape(-1))
            return
        for name, array in memory.items():
            self._fields[self.order[name]] = _address(array)
            self._kept.pop(name, None)

    def put(self, **values: int) -> None:
        """Change integers."""
        for name, value in values.items():
            if PLAIN:
                setattr(self, name, value)
            else:
                self._fields[self.order[name]] = value


class _Alias:
    """Memory of a read-only array as Numba wants it: a read-only type would compile anew."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array  # keeps the memory alive
        self.__array_interface__ = array.__array_interface__ | {"data": (_address(array), False)}


def as_kernels_want(array: np.ndarray) -> np.ndarray:
    """Return an array in C order, aligned and, so it seems, writeable.

    Kernels write to those alone that they are given to write to, which are so already.
    """
    if not (array.flags.c_contiguous and array.flags.aligned):
        return np.array(array, order="C")
    return array if array.flags.writeable else np.asarray(_Alias(array))


def _address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


class StructureType(types.Type):
    """Numba's type of a structure: its address."""

    def __init__(self, name: str, fields: tuple[tuple[str, str], ...], number: types.Type) -> None:
        self.fields, self.number = fields, number
        super().__init__(f"{name}({fields}, {number})")


@register_model(StructureType)
class _AddressModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: StructureType) -> None:
        super().__init__(manager, kind, INT)


@infer_getattr
class _Field(AttributeTemplate):
    key = StructureType

    def generic_resolve(self, kind: StructureType, name: str) -> types.Type | None:
        fields = dict(kind.fields)
        return _kind(fields[name], kind.number, {}) if name in fields else None


@lower_getattr_generic(StructureType)
def _read_field(context, builder, kind, value, name):
    place = [field for field, _ in kind.fields].index(name)
    fields = builder.inttoptr(value, ir.PointerType())
    field = builder.load(builder.gep(fields, [INT(place)], source_etype=INT), typ=INT)
    # Nothing writes to fields while a kernel runs, so that one read serves a whole loop. (The entry
    # does before, but reads none that it has written.)
    field.set_metadata("invariant.load", builder.module.add_metadata([]))
    wanted = context.get_value_type(_kind(kind.fields[place][1], kind.number, {}))
    return field if wanted == INT else builder.inttoptr(field, wanted)


def _structure_at(kind: StructureType, structure: type[Structure]) -> Callable:
    places = [structure.order[name] for name in structure.arrays]

    @intrinsic
    def structure_at(typing, address, arrays):
        def codegen(context, builder, signature, values):
            fields = builder.inttoptr(values[0], ir.PointerType())
            given = cgutils.unpack_tuple(builder, values[1])
            for place, array, value in zip(places, signature.args[1], given, strict=True):
                memory = context.make_array(array)(context, builder, value).data
                field = builder.gep(fields, [INT(place)], source_etype=INT)
                builder.store(builder.ptrtoint(memory, INT), opaque(builder, field))
            return values[0]

        return kind(types.int64, arrays), codegen

    return structure_at


# --- pointers -------------------------------------------------------------------------------------


@intrinsic
def at(typing, pointer, start):
    """Return a pointer that many numbers further on."""

    def codegen(context, builder, signature, values):
        element = context.get_data_type(signature.args[0].dtype)
        return builder.gep(values[0], [values[1]], source_etype=element)

    return pointer(pointer, types.int64), codegen


if PLAIN:

    def at(pointer, start):
        """Return the rest of a flat array."""
        return pointer[start:]


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
                number = _number(signature.args)
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


def opaque(builder: ir.IRBuilder, pointer: ir.Value) -> ir.Value:
    """Return a pointer that llvmlite takes for whatever is loaded from it or stored to it."""
    return builder.inttoptr(builder.ptrtoint(pointer, INT), ir.PointerType())


def _number(kinds: Any) -> types.Type | None:
    """Return the type of the numbers that arguments have."""
    for kind in kinds:
        if isinstance(kind, StructureType):
            return kind.number
        if isinstance(kind, types.CPointer) and kind.dtype != types.int64:
            return kind.dtype
        if isinstance(kind, types.BaseTuple) and (found := _number(kind)) is not None:
            return found
    return None


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
        number = _number(given)
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
        return [_kind(annotation, number, names) for annotation in self.annotations]

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
            kind, structure = _kind(self.structure, number, names), names[self.structure]
            body = njit(parallel=parallel, **INSIDE)(_copy(self.function))
            name = f"{self.__name__}-{'parallel' if parallel else 'serial'}-{dtype}"
            entry = jitted(_entry(kind, structure, body), name, **OPTIONS)
            arrays = [
                types.Array(_kind(structure.kinds[field], number, names).dtype, axes, "C")
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
    names["structure_at"] = _structure_at(kind, structure)
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
