"""Device memory as Numba sees it: to allocate, fill and copy, and to look at that of others."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from .launching import Vector, launch
from .toolkit import SIMULATOR, cuda, device_memset, device_number, kernel, require

THREADS = 4 if SIMULATOR else 256


def empty(shape: tuple[int, ...], dtype: Any) -> Any:
    """Allocate a device array on the current GPU."""
    return cuda.device_array(tuple(shape), dtype)


def zeros(shape: tuple[int, ...], dtype: Any, stream: Any) -> Any:
    """Allocate a device array of zeros."""
    array = empty(shape, dtype)
    if array.size:
        device_memset(array.reshape(array.size), 0, array.nbytes, stream)
    return array


def to_device(array: np.ndarray) -> Any:
    """Copy a host array to the current GPU; where there is none, the error says what is missing."""
    require()
    result = cuda.to_device(np.asarray(array, order="C"))
    settle()
    return result


def to_host(array: Any) -> np.ndarray:
    """Copy a device array in C order to the host, after all that any stream still does to it."""
    settle()
    return array.copy_to_host()


def copy(array: Any, stream: Any) -> Any:
    """Copy a device array of Numba's, in C order."""
    result = empty(array.shape, array.dtype)
    if array.size and array.is_c_contiguous():
        result.copy_to_device(array, stream=stream)
    elif array.size:
        strided_copy(array, result, stream)
    return result


def write(target: Any, values: Any, stream: Any) -> None:
    """Copy a device array in C order into another."""
    if target.size:
        target.copy_to_device(values, stream=stream)


def write_from_host(target: Any, values: np.ndarray) -> None:
    """Copy a host array into a device array, both in C order, between what streams do with it."""
    settle()
    write(target, values, 0)
    settle()


def settle() -> None:
    """Wait for all streams, as other libraries' and the default one don't wait for each other."""
    cuda.synchronize()


def require_current(place: str) -> None:
    """Refuse what lies on another GPU than the current one, where kernels would be launched."""
    current, number = device_number(), place.partition(":")[2]
    if number and int(number) != current:
        raise RuntimeError(
            f"the array is on {place}, but the current GPU is cuda:{current}: enter "
            f"torch.cuda.device({number}), cupy.cuda.Device({number}) or numba.cuda.gpus[{number}] "
            "around the call"
        )


def address(array: Any) -> int:
    """Return where a device array begins."""
    if hasattr(array, "gpu_data"):
        return array.device_ctypes_pointer.value or 0
    return array.__array_interface__["data"][0]  # the simulator's are on the host


def vector(library: Any, array: Any) -> Vector:
    """Look at an array of a library, in C order, as kernels get it."""
    size = math.prod(library.shape(array))
    at = library.memory(array).reshape(size) if SIMULATOR else library.address(array)
    return Vector(at, size, np.dtype(library.dtype(array)), array)


def view(array: Any, sync: bool) -> Any:
    """Look at any array with a __cuda_array_interface__ as a device array, without a copy.

    With sync, wait for the stream that the array names as the one it is written on.
    """
    return cuda.as_cuda_array(array, sync=sync)


@lru_cache(maxsize=64)
def stream(pointer: int) -> Any:
    """Return a stream of Numba's for one of another library; 0 is the default one."""
    return cuda.external_stream(pointer) if pointer else 0


def strided_copy(array: Any, result: Any, stream: Any) -> None:
    """Copy an array with any strides into one in C order."""
    ndim = array.ndim
    if ndim > len(_COPIES):
        raise ValueError(
            f"a device array with gaps may have {len(_COPIES)} axes at most, got {ndim}: "
            "copy it into one without"
        )
    launch(_COPIES[ndim - 1], -(-result.size // THREADS), THREADS, stream, array, result)


@kernel(THREADS)
def copy_1(a, out):
    """A thread for each element, as in the following."""
    e = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    if e < out.shape[0]:
        out[e] = a[e]


@kernel(THREADS)
def copy_2(a, out):
    """Two axes."""
    e = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    A, B = out.shape
    if e < A * B:
        i, j = e // B, e % B
        out[i, j] = a[i, j]


@kernel(THREADS)
def copy_3(a, out):
    """Three axes."""
    e = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    A, B, C = out.shape
    if e < A * B * C:
        i, j, k = e // (B * C), e // C % B, e % C
        out[i, j, k] = a[i, j, k]


@kernel(THREADS)
def copy_4(a, out):
    """Four axes."""
    e = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    A, B, C, D = out.shape
    if e < A * B * C * D:
        i, j, k, m = e // (B * C * D), e // (C * D) % B, e // D % C, e % D
        out[i, j, k, m] = a[i, j, k, m]


_COPIES = (copy_1, copy_2, copy_3, copy_4)


def time_major(
    library: Any, states: list[Any], leading: tuple[int, ...], H: int, swap: bool
) -> Any:
    """dL/dh_t of all layers, (R, D·H) each, as one array (num_layers·D, *leading, H).

    With swap, leading is (N, L) and changes places in the result.
    """
    R, D = math.prod(leading), tuple(states[0].shape)[1] // H
    L, N = (R, 1) if len(leading) == 1 else (leading[1], leading[0]) if swap else leading
    shape = (len(states) * D, *((L, N) if len(leading) == 2 else leading), H)
    result = library.empty(shape, states[0].dtype, states[0])
    out, size = vector(library, result), D * R * H
    for k, layer in enumerate(states):
        if size:
            launch(
                move_states, -(-size // THREADS), THREADS, library.stream(),
                out, vector(library, layer), k * size, L, N, H, D, int(swap),
            )  # fmt: skip
    return result


@kernel(THREADS)
def move_states(out, dh, first, L, N, H, D, swap):
    """One layer, from (R, D·H) to (D, L, N, H)."""
    e = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    if e < D * L * N * H:
        d, t, n, j = e // (L * N * H), e // (N * H) % L, e // H % N, e % H
        row = n * L + t if swap else t * N + n
        out[first + e] = dh[(row * D + d) * H + j]
