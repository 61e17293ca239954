"""Structures, what kernels are given, and pointers: the one place of addresses without a type.

In Python a structure is an object with fields by name, in kernels the address of a row of integers,
whose types the annotations say: `Int` is an int64, `Table` and `Numbers` point to int64 and to
numbers of the dtype. A pointer is indexed as a flat array is, and `at(pointer, start)` points
further on.

With NUMBA_DISABLE_JIT=1 a structure is a plain object, and pointers are flat views of NumPy arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.core.imputils import lower_getattr_generic
from numba.core.typing.templates import AttributeTemplate, infer_getattr
from numba.extending import intrinsic, models, register_model

Numbers = Table = Int = Any
PLAIN = bool(config.DISABLE_JIT)
INT = ir.IntType(64)


def kind_of(annotation: Any, number: types.Type, names: dict[str, Any]) -> types.Type:
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
    kinds = [kind_of(kind, number, names) for kind in found.__annotations__.values()]
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
        return kind_of(fields[name], kind.number, {}) if name in fields else None


@lower_getattr_generic(StructureType)
def _read_field(context, builder, kind, value, name):
    place = [field for field, _ in kind.fields].index(name)
    fields = builder.inttoptr(value, ir.PointerType())
    field = builder.load(builder.gep(fields, [INT(place)], source_etype=INT), typ=INT)
    # Nothing writes to fields while a kernel runs, so that one read serves a whole loop. (The entry
    # does before, but reads none that it has written.)
    field.set_metadata("invariant.load", builder.module.add_metadata([]))
    wanted = context.get_value_type(kind_of(kind.fields[place][1], kind.number, {}))
    return field if wanted == INT else builder.inttoptr(field, wanted)


def structure_at(kind: StructureType, structure: type[Structure]) -> Callable:
    """Return the instruction that makes a structure of its address and its arrays."""
    places = [structure.order[name] for name in structure.arrays]

    @intrinsic
    def pointed(typing, address, arrays):
        def codegen(context, builder, signature, values):
            fields = builder.inttoptr(values[0], ir.PointerType())
            given = cgutils.unpack_tuple(builder, values[1])
            for place, array, value in zip(places, signature.args[1], given, strict=True):
                memory = context.make_array(array)(context, builder, value).data
                field = builder.gep(fields, [INT(place)], source_etype=INT)
                builder.store(builder.ptrtoint(memory, INT), opaque(builder, field))
            return values[0]

        return kind(types.int64, arrays), codegen

    return pointed


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


def opaque(builder: ir.IRBuilder, pointer: ir.Value) -> ir.Value:
    """Return a pointer that llvmlite takes for whatever is loaded from it or stored to it."""
    return builder.inttoptr(builder.ptrtoint(pointer, INT), ir.PointerType())


def number_of(kinds: Any) -> types.Type | None:
    """Return the type of the numbers that arguments have."""
    for kind in kinds:
        if isinstance(kind, StructureType):
            return kind.number
        if isinstance(kind, types.CPointer) and kind.dtype != types.int64:
            return kind.dtype
        if isinstance(kind, types.BaseTuple) and (found := number_of(kind)) is not None:
            return found
    return None
