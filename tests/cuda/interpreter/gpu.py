"""A GPU that isn't there: memory on the host, and the interpreter in the place of the driver.

`install()` puts it in place, in a process of its own. All of `numba_rnn.cuda` runs as it is:
kernels are compiled as for an H100 and launched through `launching.launch`; their PTX is then
interpreted. Device arrays lie in one piece of memory with gaps between, each aligned to no more
than its numbers are.
"""

import contextlib
import ctypes
import math
import re
import struct
from functools import cache
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
from numba import cuda, types
from numba.cuda.np import numpy_support
from resources import compiled
from standins import NumbaLike

from numba_rnn.cuda import launching, memory, toolkit

from .decode import ADD, BARRIER, FENCE, GAP, Kernel
from .launch import Launch
from .memory import YES, Memory

CAPABILITY = (9, 0)
SIZE = 16 << 20  # bytes of global memory
DEVICE = SimpleNamespace(
    id=0, MULTIPROCESSOR_COUNT=132, COOPERATIVE_LAUNCH=1,
    MAX_SHARED_MEMORY_PER_BLOCK_OPTIN=232448,
)  # fmt: skip


class Gpu:
    """The memory, and what was launched in it.

    Attributes
    ----------
    executed : dict of Kernel to ndarray of int
        How often each instruction of a kernel was run.
    seed : int
        Of the order in which the threads of the next launch run.
    limit : int
        Branches and waits after which a launch is endless.
    """

    def __init__(self):
        self.memory = Memory(SIZE)
        self.base = self.memory.data.__array_interface__["data"][0]
        self.change = None
        self.clear()

    def clear(self, seed=0):
        """Free all memory, and forget what was launched."""
        self.memory.written[:], self.memory.allowed[:] = 0, 0
        self.memory.top = 0
        self.executed, self.seed, self.limit = {}, seed, 100_000

    def empty(self, shape, dtype=np.float64, **_):
        """A device array that nobody has written to."""
        shape, dtype = (shape,) if isinstance(shape, int) else tuple(shape), np.dtype(dtype)
        start = (self.memory.top // GAP + 2) * GAP + dtype.itemsize
        end = start + math.prod(shape) * dtype.itemsize
        assert end <= SIZE, "the memory is full: clear it between cases"
        self.memory.top = end
        self.memory.data[start:end] = 0xFF  # not a number
        return DeviceArray(self.memory.data[start:end].view(dtype).reshape(shape))

    def array(self, host, **_):
        """A copy of an array on the device."""
        found = self.empty(np.shape(host), host.dtype)
        found.copy_to_device(host)
        return found

    def mark_written(self, host):
        """Note that an array of this memory was written by the host."""
        start, end = _extent(_address(host), host.shape, host.strides, host.itemsize)
        self.memory.written[start - self.base : end - self.base] = YES

    def run(self, kernel, grid, threads, parameters, given, *, shared=0, together=False):
        """Launch a kernel that was given arrays: the address of each, and of what is behind it."""
        static = sum(size or 0 for _, size in kernel.variables)
        most = DEVICE.MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
        assert static + shared <= most, f"{kernel.name}: shared memory"
        launch = Launch(
            kernel, grid, threads, parameters, self.memory, self.base, shared=shared,
            together=together, seed=self.seed, limit=self.limit,
        )  # fmt: skip
        self.seed += 1
        self.memory.allowed[: self.memory.top] = 0
        for start, end in given:
            self.memory.allowed[start - self.base : end - self.base] = YES
        try:
            launch.run()
        finally:
            self.executed[kernel] = self.executed.get(kernel, 0) + launch.executed

    @contextlib.contextmanager
    def changed(self, change):
        """Run kernels whose PTX `change` has made of their name and text."""
        launching._ready.clear()
        self.change = change
        try:
            yield
        finally:
            launching._ready.clear()
            self.change = None

    def ordering(self, prefix):
        """The barriers and fences that were run: names of kernels, and which ones of them."""
        found = set()
        for kernel, executed in self.executed.items():
            orders = [k for k, i in enumerate(kernel.code) if i.what in (BARRIER, FENCE)]
            if kernel.name.startswith(prefix):
                found |= {(kernel.name, n) for n, k in enumerate(orders) if executed[k]}
        return sorted(found)

    def without(self, name, number):
        """Run kernels of a name without one of its barriers and fences."""

        def change(of, text):
            if of != name:
                return text
            place = list(re.finditer(r"\n\s*(bar\.sync\s+0|membar\.gl);", text))[number]
            return text[: place.start()] + text[place.end() :]

        return self.changed(change)


GPU = Gpu()


class DeviceArray(NumbaLike):
    """A device array of Numba's, which wraps a part of the memory."""

    strides = property(lambda self: self.host.strides)
    nbytes = property(lambda self: self.host.nbytes)

    @property
    def device_ctypes_pointer(self):
        return SimpleNamespace(value=_address(self.host) if self.size else 0)

    @property
    def _numba_type_(self):
        layout = "C" if self.host.flags.c_contiguous else "A"
        return types.Array(numpy_support.from_dtype(self.dtype), self.ndim, layout)

    def copy_to_device(self, values, stream=0):
        values = getattr(values, "host", values)
        assert values.shape == self.shape and values.dtype == self.dtype
        self.host[...] = values
        GPU.mark_written(self.host)


class _Function(NamedTuple):
    kernel: Kernel
    kinds: tuple  # of the arguments, as Numba names them


class _Driver:
    """What `launching` and `toolkit` call of the driver's functions."""

    def cuCtxGetDevice(self):
        return 0, DEVICE.id

    def cuLaunchKernel(self, function, x, y, z, threads, _, __, shared, stream, table, extra):
        self._launch(function, (x, y, z), threads, shared, table, together=False)
        return (0,)

    def cuLaunchCooperativeKernel(self, function, x, y, z, threads, _, __, shared, stream, table):
        self._launch(function, (x, y, z), threads, shared, table, together=True)
        return (0,)

    def _launch(self, function, grid, threads, shared, table, together):
        """Read the parameters where the table says, and run the function."""
        kernel, kinds = function
        if any(instruction.what == ADD for instruction in kernel.code):  # which blocks wait with
            assert together and math.prod(grid) <= DEVICE.MULTIPROCESSOR_COUNT, kernel.name
        dtypes = kernel.parameters.values()
        places = (ctypes.c_uint64 * len(dtypes)).from_address(table)
        parameters = [
            np.frombuffer(ctypes.string_at(place, dtype.itemsize), dtype)
            for place, dtype in zip(places, dtypes, strict=True)
        ]
        given = _given(kinds, [value[0] for value in parameters])
        GPU.run(kernel, grid, threads, parameters, given, shared=shared, together=together)


@cache
def _text(kernel, kinds):
    return compiled(kernel, types.void(*kinds), CAPABILITY).get_asm_str(cc=CAPABILITY)


_decoded = cache(Kernel)


def _prepared(kernel, arguments, shared):
    """Stands for `launching._prepared`, which compiles a kernel and loads it."""
    kinds = tuple(kernel.typeof_pyval(argument) for argument in arguments)
    function = kernel.py_func
    name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
    text = _text(kernel, kinds)
    if GPU.change is not None:
        text = GPU.change(name, text)
    formats = launching.slots(arguments)
    layout, offsets = struct.Struct("<" + "".join(formats)), 8 * np.arange(len(formats))
    return launching._Ready(_Function(_decoded(text, name), kinds), layout, offsets, None)


def _device_memset(array, value, size, stream):
    array.host.view(np.uint8)[:size] = value
    GPU.mark_written(array.host)


def install():
    """Put all this in place of Numba's device arrays and of the driver."""
    cuda.current_context = lambda *_: SimpleNamespace(device=DEVICE)
    cuda.get_current_device = lambda: DEVICE
    cuda.device_array, cuda.to_device, cuda.synchronize = GPU.empty, GPU.array, lambda: None
    cuda.legacy_default_stream = lambda: 0
    toolkit.bindings = launching.bindings = _Driver()
    launching._prepared, memory.device_memset = _prepared, _device_memset


def _address(host):
    return host.__array_interface__["data"][0]


def _extent(address, shape, strides, itemsize):
    """Addresses of the first byte of an array and of the one behind its last."""
    if 0 in shape:
        return address, address
    reach = [(n - 1) * stride for n, stride in zip(shape, strides, strict=True)]
    before, after = (sum(end(0, r) for r in reach) for end in (min, max))
    return address + before, address + after + itemsize


def _given(kinds, numbers):
    """Where the arrays among the arguments are; `launching` says how they are laid out."""
    at = 0
    for kind in kinds:
        if isinstance(kind, types.Array):
            itemsize, address = int(numbers[at + 3]), int(numbers[at + 4])
            sizes = np.array(numbers[at + 5 :][: 2 * kind.ndim], np.uint64).view(np.int64).tolist()
            yield _extent(address, sizes[: kind.ndim], sizes[kind.ndim :], itemsize)
            at += 5 + 2 * kind.ndim
        else:
            at += len(kind) if isinstance(kind, types.BaseTuple) else 1
