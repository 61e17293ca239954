"""The one place that knows array types: whose an array is, where it lies, which backend computes.

A NumPy array belongs to `numba_rnn.cpu`. An array on the GPU belongs to a `Library` here, which
says how its kind is allocated, copied and handed to a kernel, and to the `numba_rnn.cuda.Backend`
made for that library. A backend, module or object, has the functions

    rows(array, features)                        -> memory of a kernel, (R, features)
    zeros(shape, dtype), empty(shape, dtype)     -> arrays of the backend's own kind
    copy(array), read_only(array)                -> a copy; a view that can't be written to
    time_major(states, leading, H, swap)         -> dL/dh_t of all layers as one array
    rnn_forward, rnn_backward, linear_forward, linear_backward, dropout
    prepare(dtype, training)                     -> what a first call would wait for

`numba_rnn.cpu` describes them. Types are recognised by their names: no library is imported to
find out, and neither backend before an array of its kind is seen.
"""

from __future__ import annotations

import importlib
import math
import sys
import warnings
from collections.abc import Iterable
from functools import cache
from types import ModuleType
from typing import Any, Protocol, TypeVar

import numpy as np

CPU = "cpu"


class GpuArray(Protocol):
    """An array on a GPU, of whatever library, as type checkers know it."""

    @property
    def __cuda_array_interface__(self) -> Any: ...


A = TypeVar("A", bound=np.ndarray | GpuArray)  # what comes out is of the kind of what goes in


class Library:
    """A library whose arrays live on a GPU: Numba's here, CuPy's and torch's below.

    Numba's serves its own device arrays, those of its simulator, and whatever else has a
    ``__cuda_array_interface__``: such an array is looked at as a device array of Numba's.
    """

    name = "Numba"
    matmul: Any = None  # (a, b, out): out = a·b through the library's cuBLAS, where it has one

    # What an array is.

    def place(self, array: Any) -> str:
        """Say where an array lies: "cpu", or "cuda:0" and so on, "cuda" where it can't be told."""
        data = getattr(array, "gpu_data", None)
        if data is not None:
            return f"cuda:{data.context.device.id}"
        return "cuda:0" if _is_numba(type(array)) else "cuda"  # the simulator's; someone else's

    def shape(self, array: Any) -> tuple[int, ...]:
        """Shape as a tuple of ints."""
        found = getattr(array, "shape", None)
        return tuple(array.__cuda_array_interface__["shape"] if found is None else found)

    def dtype(self, array: Any) -> np.dtype | str:
        """NumPy's dtype, or the name of one that NumPy hasn't got."""
        if _is_numba(type(array)):
            return array.dtype
        return np.dtype(array.__cuda_array_interface__["typestr"])

    def plain(self, array: Any) -> Any:
        """Return an array of this library without a copy, ready for reshape and slices."""
        return array if _is_numba(type(array)) else _memory().view(array, sync=True)

    # What is done with arrays. Everything happens on the caller's current stream.

    def stream(self) -> Any:
        """Return the caller's current stream as Numba's kernels take it."""
        return 0

    def memory(self, array: Any) -> Any:
        """Return the device array of Numba's that kernels are launched with, without a copy."""
        return self.plain(array)

    def own(self, array: Any) -> Any:
        """Return any array on the GPU as one of this library, without a copy."""
        found = library(array)
        return array if found is self and _is_numba(type(array)) else found.memory(array)

    def empty(self, shape: tuple[int, ...], dtype: Any, like: Any = None) -> Any:
        """Allocate an array, on the device of `like`."""
        return _memory().empty(shape, dtype)

    def zeros(self, shape: tuple[int, ...], dtype: Any, like: Any = None) -> Any:
        """Allocate an array of zeros, on the device of `like`."""
        return _memory().zeros(shape, dtype, self.stream())

    def copy(self, array: Any) -> Any:
        """Copy any array on the GPU into one of this library, in C order."""
        return _memory().copy(self.own(array), self.stream())

    def in_c_order(self, array: Any) -> bool:
        """Whether the elements of an array lie one after the other."""
        return array.is_c_contiguous()

    def contiguous(self, array: Any) -> Any:
        """Return an array of this library in C order: itself where it is."""
        return array if self.in_c_order(array) else self.copy(array)

    def to_host(self, array: Any) -> np.ndarray:
        """Copy to the host, in C order."""
        return _memory().to_host(self.contiguous(self.plain(array)))

    # What is said to people.

    def how_to_move(self, name: str, array: Any, place: str, dtype: np.dtype | None = None) -> str:
        """Say how an array called `name` gets to a place, and, where one step can, to a dtype."""
        host = f"{name}.copy_to_host()"
        return host if place == CPU else f"numba.cuda.to_device({host})"

    def how_to_cast(self, name: str, dtype: np.dtype) -> str:
        """Say how an array called `name` gets another dtype."""
        return f"numba.cuda.to_device({name}.copy_to_host().astype(np.{dtype.name}))"


class _Cupy(Library):
    name = "CuPy"

    @property
    def _cupy(self) -> ModuleType:
        return sys.modules["cupy"]  # imported, as there are arrays of it

    def place(self, array: Any) -> str:
        return f"cuda:{array.device.id}"

    def dtype(self, array: Any) -> np.dtype | str:
        return array.dtype

    def plain(self, array: Any) -> Any:
        return array

    def stream(self) -> Any:
        return _memory().stream(self._cupy.cuda.get_current_stream().ptr)

    def memory(self, array: Any) -> Any:
        return _memory().view(array, sync=False)  # kernels run on the very stream

    def own(self, array: Any) -> Any:
        return array if library(array) is self else self._cupy.asarray(array)

    def empty(self, shape: tuple[int, ...], dtype: Any, like: Any = None) -> Any:
        return self._cupy.empty(shape, dtype)

    def zeros(self, shape: tuple[int, ...], dtype: Any, like: Any = None) -> Any:
        return self._cupy.zeros(shape, dtype)

    def copy(self, array: Any) -> Any:
        return self.own(array).copy(order="C")

    def in_c_order(self, array: Any) -> bool:
        return array.flags.c_contiguous

    def contiguous(self, array: Any) -> Any:
        return array if self.in_c_order(array) else array.copy(order="C")

    def matmul(self, a: Any, b: Any, out: Any) -> None:
        self._cupy.matmul(a, b, out=out)

    def to_host(self, array: Any) -> np.ndarray:
        return array.get(order="C")

    def how_to_move(self, name: str, array: Any, place: str, dtype: np.dtype | None = None) -> str:
        if place == CPU:
            return f"{name}.get()"
        return f"cupy.asarray({name}) within cupy.cuda.Device({place.removeprefix('cuda:')})"

    def how_to_cast(self, name: str, dtype: np.dtype) -> str:
        return f"{name}.astype(np.{dtype.name})"


class _Torch(Library):
    name = "torch"

    @property
    def _torch(self) -> ModuleType:
        return sys.modules["torch"]

    def place(self, array: Any) -> str:
        if array.is_cuda:
            return f"cuda:{array.device.index}"
        return array.device.type

    def dtype(self, array: Any) -> np.dtype | str:
        name = str(array.dtype).removeprefix("torch.")
        try:
            return np.dtype(name)
        except TypeError:  # bfloat16 and the like
            return name

    def plain(self, array: Any) -> Any:
        return array.detach() if array.requires_grad else array

    def stream(self) -> Any:
        return _memory().stream(self._torch.cuda.current_stream().cuda_stream)

    def memory(self, array: Any) -> Any:
        return _memory().view(self.plain(array), sync=False)

    def own(self, array: Any) -> Any:
        if library(array) is self:
            return self.plain(array)
        return self._torch.as_tensor(array, device="cuda")

    def _dtype(self, dtype: Any) -> Any:
        return getattr(self._torch, dtype.name) if isinstance(dtype, np.dtype) else dtype

    def empty(self, shape: tuple[int, ...], dtype: Any, like: Any = None) -> Any:
        device = "cuda" if like is None else like.device
        return self._torch.empty(shape, dtype=self._dtype(dtype), device=device)

    def zeros(self, shape: tuple[int, ...], dtype: Any, like: Any = None) -> Any:
        device = "cuda" if like is None else like.device
        return self._torch.zeros(shape, dtype=self._dtype(dtype), device=device)

    def copy(self, array: Any) -> Any:
        return self.own(array).clone(memory_format=self._torch.contiguous_format)

    def in_c_order(self, array: Any) -> bool:
        return array.is_contiguous()

    def contiguous(self, array: Any) -> Any:
        return array.contiguous()

    def matmul(self, a: Any, b: Any, out: Any) -> None:
        self._torch.matmul(a, b, out=out)

    def to_host(self, array: Any) -> np.ndarray:
        return self.plain(array).contiguous().cpu().numpy()

    def how_to_move(self, name: str, array: Any, place: str, dtype: np.dtype | None = None) -> str:
        if place != CPU:
            return f"{name}.cuda()" if place == "cuda:0" else f"{name}.to({place!r})"
        found = self.dtype(array)  # a str for bfloat16 and the like, which NumPy hasn't got
        other = isinstance(found, str) or (dtype is not None and dtype != found)
        steps = [
            (array.requires_grad, "detach"),
            (self.place(array) != CPU, "cpu"),
            (str(getattr(array, "layout", "torch.strided")) != "torch.strided", "to_dense"),
            (hasattr(array, "is_neg") and array.is_neg(), "resolve_neg"),
            (other, "double" if dtype is not None and dtype.itemsize == 8 else "float"),
            (True, "numpy"),
        ]
        return name + "".join(f".{step}()" for needed, step in steps if needed)

    def how_to_cast(self, name: str, dtype: np.dtype) -> str:
        return f"{name}.to(torch.{dtype.name})"


NUMBA, CUPY, TORCH = Library(), _Cupy(), _Torch()
_NAMES = {("cupy", "ndarray"): CUPY, ("torch", "Tensor"): TORCH}
_NEITHER = frozenset((np.ndarray, np.float64, float, int, bool, list, tuple, str, type(None)))
_libraries: dict[type, Library] = {}
_backends: dict[type, Any] = {}


def library(array: Any) -> Library | None:
    """Return the library of an array that may be on a GPU; None for NumPy's and for no array.

    torch has one type for tensors everywhere: `place` tells.
    """
    kind = type(array)
    if kind in _NEITHER:
        return None
    if kind in _libraries:
        return _libraries[kind]
    found = _by_name(kind)
    if found is not None:
        _libraries[kind] = found
        return found
    try:  # not kept: what is on a GPU now may be elsewhere the next time
        return NUMBA if hasattr(array, "__cuda_array_interface__") else None
    except Exception:  # some raise other things than AttributeError where they are on the CPU
        return None


def _by_name(kind: type) -> Library | None:
    for base in kind.__mro__:
        found = _NAMES.get((str(base.__module__).partition(".")[0], base.__name__))
        if found is not None:
            return found
    return NUMBA if _is_numba(kind) else None


def _is_numba(kind: type) -> bool:
    """Whether this is a type of Numba's device arrays, the simulator's included."""
    return bool(getattr(kind, "__cuda_ndarray__", False))


def place(array: Any) -> str | None:
    """Say where an array lies, "cpu" or "cuda:0" and so on; None for what is no array here.

    A torch tensor on the CPU lies at "cpu" too, though only NumPy arrays are computed on there.
    """
    found = library(array)
    if found is not None:
        return found.place(array)
    return CPU if isinstance(array, np.ndarray) else None


def on_gpu(array: Any) -> bool:
    """Whether this is an array on a GPU."""
    if type(array) in _NEITHER:
        return False
    found = library(array)
    return found is not None and found.place(array).startswith("cuda")


def plain(array: Any) -> Any:
    """Return an array on a GPU ready for reshape and slices, without a copy."""
    return library(array).plain(array)


def agree(a: str, b: str) -> bool:
    """Whether two places are one; "cuda" stands for a GPU whose number isn't known."""
    return a == b or ("cuda" in (a, b) and a[:4] == b[:4])


def how_to_cast(name: str, array: Any, dtype: np.dtype) -> str:
    """Say how an array called `name` gets another dtype."""
    found = library(array)
    return (found or CUPY).how_to_cast(name, dtype)  # NumPy's way is CuPy's


def how_to_move(name: str, array: Any, to: str, dtype: np.dtype | None = None) -> str:
    """Say how an array called `name` gets to a place, and, where one step can, to a dtype."""
    found = library(array)
    if found is not None:
        return found.how_to_move(name, array, to, dtype)
    return f"cupy.asarray({name}), torch.from_numpy({name}).cuda() or numba.cuda.to_device({name})"


def how_to_convert(
    name: str, value: Any, dtype: np.dtype | None = None, to: str = CPU
) -> str | None:
    """Say what makes an array at a place of what is none; None where nothing is known to.

    Called when something was refused, so it may take its time: what it says has been tried.
    """
    if library(value) is not None:
        return how_to_move(name, value, to, dtype)
    if is_torchs_packed(value):
        return _how_to_repack(name, value, dtype, to)
    if (vector := how_to_share(name, value)) is not None:
        return vector
    if type(value).__name__ == "PackedSequence":  # ours
        return f"{name}.data"
    if hasattr(value, "toarray"):  # SciPy's sparse arrays
        return f"{name}.toarray()"
    words = "" if dtype is None else f", dtype=np.{dtype.name}"
    try:
        with warnings.catch_warnings(action="error"):
            if np.asarray(value, dtype=dtype).ndim == 0:  # a number, None, an object of any kind
                return None
    except Exception:  # whatever someone else's __array__ raises
        return _how_to_pack(name, value)
    return f"{'np' if to == CPU else 'cupy'}.asarray({name}{words})"


def how_to_share(name: str, value: Any) -> str | None:
    """Say what gives the very memory of a value as an array; None where nothing is known to."""
    found = library(value)
    if found is not None:
        shared = found.place(value) == CPU and not isinstance(found.dtype(value), str)
        return found.how_to_move(name, value, CPU) if shared else None
    for attribute in ("flat_parameters", "flat"):  # of a layer, of the gradients of one
        if place(getattr(value, attribute, None)) is not None:
            return f"{name}.{attribute}"
    return None


def is_torchs_packed(value: Any) -> bool:
    """Whether this is a PackedSequence of torch's, which is none of ours."""
    kind = type(value)
    return kind.__name__ == "PackedSequence" and kind.__module__.partition(".")[0] == "torch"


def _how_to_pack(name: str, value: Any) -> str | None:
    """Say how a list of sequences becomes a packed one; None where it is none."""
    shapes = [getattr(entry, "shape", ()) for entry in value] if isinstance(value, list) else []
    if not all(shapes) or len({tuple(shape[1:]) for shape in shapes}) != 1:
        return None
    return f"nr.pack_sequence({name}, enforce_sorted=False)"


def _how_to_repack(name: str, value: Any, dtype: np.dtype | None, to: str) -> str:
    """Say how a PackedSequence of torch's becomes one of ours, its data at a place."""
    data = f"{name}.data"
    if not (to != CPU and on_gpu(value.data)):
        data = how_to_move(data, value.data, to, dtype)
    if not any(on_gpu(index) for index in value[1:]):
        return f"nr.PackedSequence({data}, *{name}[1:])"
    fields = zip(value._fields[1:], value[1:], strict=True)
    indices = [f"{name}.{field}{'.cpu()' if on_gpu(index) else ''}" for field, index in fields]
    return f"nr.PackedSequence({data}, {', '.join(indices)})"


def moved(array: Any, to: str) -> Any:
    """Copy a vector of parameters to the host ("cpu") or to the current GPU ("cuda")."""
    return NUMBA.to_host(array) if to == CPU else _memory().to_device(array)


def to_host(array: Any) -> np.ndarray:
    """Copy an array of any kind to the host."""
    found = library(array)
    return array.copy() if found is None else found.to_host(array)


def like(array: Any, values: np.ndarray) -> Any:
    """Copy values on the host into a new array of another's kind, at its place."""
    found = library(array)
    if found is None:
        return np.array(values)
    result = found.empty(values.shape, values.dtype, array)
    assign(result, values)
    return result


def assign(target: Any, values: Any) -> None:
    """Write values, which lie at the target's place or on the host, into an array in C order."""
    found = library(values)
    if library(target) is None:
        target[...] = values
    elif found is None:
        _memory().write_from_host(library(target).memory(target), np.asarray(values, order="C"))
    else:
        source = found.memory(found.contiguous(values))
        _memory().write(library(target).memory(target), source, found.stream())


def vector(array: Any) -> Any:
    """Return what a kernel gets of an array on a GPU: its memory, as a vector."""
    found = library(array)
    array = found.contiguous(array)
    return found.memory(array).reshape(math.prod(found.shape(array)))


def zeros_like(array: Any) -> Any:
    """Return zeros of an array's shape, dtype, kind and place."""
    found = library(array)
    if found is None:
        return np.zeros_like(array, subok=False)
    result = found.zeros(found.shape(array), found.dtype(array), array)
    _memory().settle()  # whichever stream it is used on
    return result


def settle(arrays: Iterable[Any]) -> None:
    """Wait where arrays on a GPU are of libraries whose current streams differ."""
    if len({int(found.stream()) for found in {library(array) for array in arrays}}) > 1:
        _memory().settle()


def in_c_order(array: Any) -> bool:
    """Whether the elements of an array on a GPU lie one after the other."""
    return library(array).in_c_order(array)


def extent(array: Any) -> tuple[int, int]:
    """Return the first address of an array in C order on a GPU, and the one behind its last."""
    found = library(array)
    start = _memory().address(found.memory(array))
    return start, start + math.prod(found.shape(array)) * found.dtype(array).itemsize


def backend(array: Any) -> Any:
    """Return the backend for an array that validation let pass."""
    kind = type(array)
    found = _backends.get(kind)
    if found is None:
        owner = library(array)
        if owner is not None:
            found = _gpu_backend(owner)
        elif isinstance(array, np.ndarray):
            found = importlib.import_module("numba_rnn.cpu")
        else:
            raise TypeError(f"no backend for arrays of type {kind.__module__}.{kind.__name__}")
        _backends[kind] = found
    if kind is not np.ndarray and (owner := library(array)) is not None:
        _memory().require_current(owner.place(array))
    return found


@cache
def _gpu_backend(owner: Library) -> Any:
    return importlib.import_module("numba_rnn.cuda").Backend(owner)


def _memory() -> ModuleType:
    """Device memory as Numba sees it: imported when CUDA is asked for, which may fail."""
    return importlib.import_module("numba_rnn.cuda.memory")
