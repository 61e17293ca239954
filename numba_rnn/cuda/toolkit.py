"""What the kernels need of Numba's CUDA target: every import of it is here, and stated once.

Kernels say `from .toolkit import cuda` and use of it threadIdx, blockIdx, blockDim, gridDim,
shared.array, local.array, syncthreads, threadfence, shfl_xor_sync and atomic.add; nothing else.

With NUMBA_ENABLE_CUDASIM=1 kernels run in Numba's simulator: one Python thread for each thread of
a block, so that blocks are kept tiny.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

EXTRAS = 'pip install "numba-cuda[cu13]" (or "numba-cuda[cu12]" with a driver for CUDA 12)'

if find_spec("numba_cuda") is None:
    raise ModuleNotFoundError(f"CUDA arrays need numba-cuda: {EXTRAS}", name="numba_cuda")

from numba import config, cuda, from_dtype, types  # noqa: E402
from numba import uint64 as uint64  # noqa: E402
from numba.cuda.cudadrv.driver import device_memset as device_memset  # noqa: E402

SIMULATOR = bool(getattr(config, "ENABLE_CUDASIM", False))
bindings: Any = None  # the driver's functions
if not SIMULATOR:
    from cuda.bindings import driver as bindings
WARP = 1 if SIMULATOR else 32  # what numbers of threads are rounded up to
ALIGNMENT = None if SIMULATOR else 16  # of shared memory, so that four numbers are loaded at once


class Gpu(NamedTuple):
    """What the choice of a kernel needs to know of a device."""

    multiprocessors: int
    shared_memory: int  # bytes that one block can have
    cooperative: bool  # whether blocks of one launch can wait for each other


def require() -> None:
    """Raise an error that says what is missing where CUDA can't be used."""
    if SIMULATOR:
        return
    try:  # what numba-cuda imports when it first compiles
        importlib.import_module("numba.cuda.np.arrayobj")
    except AttributeError as error:
        raise RuntimeError(
            f"numba-cuda {version('numba-cuda')} doesn't work with NumPy {np.__version__} "
            f"({error}): pip install 'numpy<2.5'"
        ) from error
    try:
        cuda.current_context()
    except Exception as error:
        raise RuntimeError(
            f"CUDA arrays need an NVIDIA GPU with its driver, and Numba finds none ({error}); "
            f"the CUDA libraries themselves come with {EXTRAS}"
        ) from error


def gpu() -> Gpu:
    """Describe the current device."""
    if SIMULATOR:
        return Gpu(multiprocessors=4, shared_memory=48 << 10, cooperative=False)
    return _describe(device_number())


@cache
def _describe(number: int) -> Gpu:
    device = cuda.get_current_device()
    return Gpu(
        device.MULTIPROCESSOR_COUNT,
        device.MAX_SHARED_MEMORY_PER_BLOCK_OPTIN,
        bool(device.COOPERATIVE_LAUNCH),
    )


def device_number() -> int:
    """Number of the current device; makes one current in a thread that has none."""
    if SIMULATOR:
        return 0
    status, device = bindings.cuCtxGetDevice()
    if int(status):
        cuda.current_context()
        return cuda.get_current_device().id
    return int(device)


@cache
def array_type(dtype: np.dtype) -> Any:
    """What Numba calls a vector of a dtype."""
    return types.Array(from_dtype(dtype), 1, "C")


def device_function(function: Callable) -> Any:
    """Compile a function that kernels call."""
    return cuda.jit(device=True)(function)


def kernel(threads: int) -> Callable[[Callable], Any]:
    """Decorate a kernel that is launched with at most so many threads a block.

    The compiler may then give each thread its share of the registers. Nothing is approximated
    beyond the fusing of products and sums: no fast mathematics.
    """

    def decorate(function: Callable) -> Any:
        if SIMULATOR:
            return cuda.jit(function)
        return cuda.jit(launch_bounds=(threads, 1))(function)

    return decorate


def upload(array: np.ndarray, stream: Any) -> Any:
    """Copy a host array to the device, ordered before what follows on the stream."""
    if SIMULATOR:
        return cuda.to_device(array)
    # Numba takes 0 for no stream at all, and then the host waits for what the GPU still does.
    return cuda.to_device(array, stream=stream or cuda.legacy_default_stream())
