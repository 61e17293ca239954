"""Libraries whose arrays live on a GPU: how their arrays are told apart, allocated, copied, moved.

Neither CuPy nor torch is imported here: they are there where there are arrays of theirs. Numba's
CUDA target is imported with `memory`, when something is first done on a GPU: to ask a torch tensor
on the CPU what it is, nothing more is needed.
"""

from __future__ import annotations

import importlib
import math
import sys
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import owners
from ..owners import is_numba, owner

if TYPE_CHECKING:
    from .launching import Vector


class Library:
    """A library whose arrays live on a GPU: Numba's here, CuPy's and torch's below.

    Numba's serves its own device arrays, those of its simulator, and whatever else has a
    ``__cuda_array_interface__``: such an array is looked at as a device array of Numba's.
    """

    matmul: Any = None  # (a, b, out): out = a·b through the library's cuBLAS, where it has one

    # What an array is.

    def place(self, array: Any) -> str:
        """Say where an array lies: "cpu", or "cuda:0" and so on, "cuda" where it can't be told."""
        data = getattr(array, "gpu_data", None)
        if data is not None:
            return f"cuda:{data.context.device.id}"
        return "cuda:0" if is_numba(type(array)) else "cuda"  # the simulator's; someone else's

    def shape(self, array: Any) -> tuple[int, ...]:
        """Shape as a tuple of ints."""
        found = getattr(array, "shape", None)
        return tuple(array.__cuda_array_interface__["shape"] if found is None else found)

    def dtype(self, array: Any) -> np.dtype | str:
        """NumPy's dtype, or the name of one that NumPy hasn't got."""
        if is_numba(type(array)):
            return array.dtype
        return np.dtype(array.__cuda_array_interface__["typestr"])

    def plain(self, array: Any) -> Any:
        """Return an array of this library without a copy, ready for reshape and slices."""
        return array if is_numba(type(array)) else _memory().view(array, sync=True)

    # What is done with arrays. Everything happens on the caller's current stream.

    def stream(self) -> Any:
        """Return the caller's current stream as Numba's kernels take it."""
        return 0

    def memory(self, array: Any) -> Any:
        """Return the device array of Numba's that kernels are launched with, without a copy."""
        return self.plain(array)

    def own(self, array: Any) -> Any:
        """Return any array on the GPU as one of this library, without a copy."""
        return array if is_numba(type(array)) else _library(array).memory(array)

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

    def vector(self, array: Any) -> Vector:
        """Look at the memory of any array on the GPU as kernels do; a copy only where it must be.

        The array stays of the library that it is of.
        """
        found = _library(array)
        return _memory().vector(found, found.contiguous(found.plain(array)))

    def address(self, array: Any) -> int:
        """Return where an array of this library begins."""
        return _memory().address(array)

    def strided(
        self, vector: Vector, at: int, shape: tuple[int, int], strides: tuple[int, int]
    ) -> Any:
        """Look at a part of a vector as an array of this library; only where it has `matmul`."""
        raise NotImplementedError

    def zeros_like(self, array: Any) -> Any:
        """Return zeros of an array's shape and dtype, on its device, for whichever stream."""
        result = self.zeros(self.shape(array), self.dtype(array), array)
        self.settle()
        return result

    def assign(self, target: Any, values: Any) -> None:
        """Write values on the host, or of any library at the same place, into one in C order."""
        if owner(values) is None:
            values = np.asarray(values, order="C")
            _memory().write_from_host(self.memory(target), values)
        else:
            source = _library(values)
            flat = source.memory(source.contiguous(values))
            _memory().write(self.memory(target), flat, source.stream())

    def to_device(self, array: np.ndarray) -> Any:
        """Copy an array on the host to the current GPU, as Numba's."""
        return _memory().to_device(array)

    def extent(self, array: Any) -> tuple[int, int]:
        """Return the first address of an array in C order, and the one behind its last."""
        start = _memory().address(self.memory(array))
        return start, start + math.prod(self.shape(array)) * self.dtype(array).itemsize

    def settle(self) -> None:
        """Wait for all streams."""
        _memory().settle()

    def require_current(self, array: Any) -> None:
        """Refuse an array on another GPU than the current one, where kernels are launched."""
        _memory().require_current(self.place(array))


class _Cupy(Library):
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
        return array if _library(array) is self else self._cupy.asarray(array)

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

    def address(self, array: Any) -> int:
        return array.data.ptr

    def strided(
        self, vector: Vector, at: int, shape: tuple[int, int], strides: tuple[int, int]
    ) -> Any:
        own, itemsize = self.own(vector.array).reshape(-1)[at:], vector.dtype.itemsize
        in_bytes = tuple(stride * itemsize for stride in strides)
        return self._cupy.lib.stride_tricks.as_strided(own, shape, in_bytes)

    def matmul(self, a: Any, b: Any, out: Any) -> None:
        self._cupy.matmul(a, b, out=out)

    def to_host(self, array: Any) -> np.ndarray:
        return array.get(order="C")


class _Torch(Library):
    @property
    def _torch(self) -> ModuleType:
        return sys.modules["torch"]

    def place(self, array: Any) -> str:
        if array.is_cuda:
            return f"cuda:{array.device.index}"
        return array.device.type

    def dtype(self, array: Any) -> np.dtype | str:
        return _torch_dtype(array.dtype)

    def plain(self, array: Any) -> Any:
        return array.detach() if array.requires_grad else array

    def stream(self) -> Any:
        return _memory().stream(self._torch.cuda.current_stream().cuda_stream)

    def memory(self, array: Any) -> Any:
        return _memory().view(self.plain(array), sync=False)

    def own(self, array: Any) -> Any:
        if _library(array) is self:
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

    def address(self, array: Any) -> int:
        return array.data_ptr()

    def strided(
        self, vector: Vector, at: int, shape: tuple[int, int], strides: tuple[int, int]
    ) -> Any:
        own = self.own(vector.array)
        return own.as_strided(shape, strides, own.storage_offset() + at)

    def matmul(self, a: Any, b: Any, out: Any) -> None:
        self._torch.matmul(a, b, out=out)

    def to_host(self, array: Any) -> np.ndarray:
        return self.plain(array).contiguous().cpu().numpy()


@cache
def _torch_dtype(dtype: Any) -> np.dtype | str:
    name = str(dtype).removeprefix("torch.")
    try:
        found = np.dtype(name)
    except TypeError:  # bfloat16 and the like
        return name
    return found if found.isbuiltin == 1 else name  # which ml_dtypes gives NumPy, not torch


NUMBA, CUPY, TORCH = Library(), _Cupy(), _Torch()
LIBRARIES = {owners.NUMBA: NUMBA, owners.CUPY: CUPY, owners.TORCH: TORCH}


def _library(array: Any) -> Library:
    return LIBRARIES[owner(array)]


@cache
def _memory() -> ModuleType:
    """Device memory as Numba sees it: imported when CUDA is asked for, which may fail."""
    return importlib.import_module("numba_rnn.cuda.memory")
