"""What the kernels need of Numba's CUDA target: every import of it is here, and stated once.

Kernels say `from .toolkit import cuda` and use of it threadIdx, blockIdx, blockDim, gridDim,
shared.array, local.array, syncthreads, threadfence, shfl_xor_sync and atomic.add; nothing else.

With NUMBA_ENABLE_CUDASIM=1 kernels run in Numba's simulator: one Python thread for each thread of
a block, so that blocks are kept tiny.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

EXTRAS = 'pip install "numba-cuda[cu13]" (or "numba-cuda[cu12]" with a driver for CUDA 12)'

if find_spec("numba_cuda") is None:
    raise ModuleNotFoundError(f"CUDA arrays need numba-cuda: {EXTRAS}", name="numba_cuda")

from numba import config, cuda  # noqa: E402
from numba import uint64 as uint64  # noqa: E402
from numba.cuda.cudadrv.driver import device_memset as device_memset  # noqa: E402

SIMULATOR = bool(getattr(config, "ENABLE_CUDASIM", False))
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
    return _describe(cuda.get_current_device().id)


@cache
def _describe(number: int) -> Gpu:
    device = cuda.get_current_device()
    return Gpu(
        device.MULTIPROCESSOR_COUNT,
        device.MAX_SHARED_MEMORY_PER_BLOCK_OPTIN,
        bool(device.COOPERATIVE_LAUNCH),
    )


def device_number() -> int:
    """Number of the current device."""
    return 0 if SIMULATOR else cuda.get_current_device().id


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


def launch(
    compiled: Any,
    grid: int | tuple[int, ...],
    threads: int,
    stream: Any,
    *arguments: Any,
    shared: int = 0,
    cooperative: bool = False,
) -> None:
    """Launch a kernel.

    Parameters
    ----------
    compiled : kernel
    grid : int or tuple of int
        Blocks.
    threads : int
        Threads of each block.
    stream : Numba stream
    *arguments
        Device arrays and ints.
    shared : int
        Bytes of dynamic shared memory.
    cooperative : bool
        All blocks must run at once, because they wait for each other.
    """
    if SIMULATOR:
        with warnings.catch_warnings():  # integers wrap around on a GPU without a word
            warnings.filterwarnings("ignore", "overflow encountered", RuntimeWarning)
            compiled[grid, threads, stream, shared](*arguments)
        return
    if cooperative or shared > 48 << 10:
        _prepare(compiled, arguments, shared, cooperative)
    configured(compiled, grid, threads, stream, shared)(*arguments)


def configured(
    compiled: Any, grid: int | tuple[int, ...], threads: int, stream: Any, shared: int
) -> Any:
    """Return a kernel ready for a launch, without Numba's warning that the grid is a small one."""
    from numba.cuda.core import config as options

    with _configuring:
        wanted = options.CUDA_LOW_OCCUPANCY_WARNINGS
        options.CUDA_LOW_OCCUPANCY_WARNINGS = 0
        try:
            return compiled[grid, threads, stream, shared]
        finally:
            options.CUDA_LOW_OCCUPANCY_WARNINGS = wanted


_configuring = threading.Lock()
_prepared: set[tuple[int, int]] = set()


def _prepare(compiled: Any, arguments: tuple[Any, ...], shared: int, cooperative: bool) -> None:
    """Compile for the arguments, and say what the driver must be told before the first launch.

    Numba launches cooperatively what uses its own grid group, which needs NVIDIA's device runtime
    library; the barrier in `grid.py` doesn't. More than 48 KiB of shared memory must be asked for.
    A kernel of these kinds is always launched with the same types and the same shared memory.
    """
    key = id(compiled), device_number()  # kernels live as long as the process
    if key in _prepared:
        return
    overload = compiled.compile(tuple(compiled.typeof_pyval(a) for a in arguments))
    if not hasattr(overload, "cooperative"):
        raise RuntimeError("this version of numba-cuda has no cooperative launches as of 0.30")
    overload.cooperative = cooperative
    if shared > 48 << 10:
        from numba.cuda.cudadrv.driver import binding, driver

        function = overload.library.get_cufunc()
        attribute = binding.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        driver.cuKernelSetAttribute(attribute, shared, function.handle, function.device.id)
    _prepared.add(key)


def upload(array: np.ndarray, stream: Any) -> Any:
    """Copy a host array to the device, ordered before what follows on the stream."""
    if SIMULATOR:
        return cuda.to_device(array)
    # Numba takes 0 for no stream at all, and then the host waits for what the GPU still does.
    return cuda.to_device(array, stream=stream or cuda.legacy_default_stream())


class Strided:
    """A strided view of device memory, as other libraries understand it."""

    def __init__(
        self, flat: Any, at: int, shape: tuple[int, ...], strides: tuple[int, ...]
    ) -> None:
        self._memory = flat  # keeps it alive
        itemsize, interface = flat.dtype.itemsize, flat.__cuda_array_interface__
        self.__cuda_array_interface__ = {
            "shape": shape,
            "strides": tuple(stride * itemsize for stride in strides),
            "typestr": interface["typestr"],
            "data": (interface["data"][0] + at * itemsize, False),
            "version": 3,
        }
