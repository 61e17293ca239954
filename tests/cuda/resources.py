"""Kernels compiled without a GPU: their PTX, and what NVIDIA's linker says that they take."""

import re
from typing import NamedTuple
from unittest import mock

import numba.cuda.dispatcher
from cuda.bindings import nvjitlink
from numba import cuda, types
from numba.cuda import compiler

LETTERS = {"i": types.int64, "u": types.uint64, "f": types.float64}


class Resources(NamedTuple):
    """What a kernel takes on a GPU: registers of a thread, and bytes."""

    registers: int
    stack: int
    spills: int
    shared: int


def signature(letters, dtype):
    """Types of a kernel's arguments: a is a vector of the dtype, x one of int64, t one of int32."""
    vectors = {"a": numba.from_dtype(dtype), "x": types.int64, "t": types.int32}
    return types.void(
        *(types.Array(vectors[k], 1, "C") if k in vectors else LETTERS[k] for k in letters)
    )


class _Device:
    def __init__(self, cc):
        self.compute_capability = cc


def ptx(kernel, letters, dtype, *capabilities):
    """Compile a kernel as a launch would; return PTX for each compute capability."""
    library = compiled(kernel, signature(letters, dtype), capabilities[0])
    return [library.get_asm_str(cc=cc) for cc in capabilities]


def compiled(kernel, kinds, first):
    """Compile a kernel as a launch on a GPU would; return what gives PTX for others as well."""
    libraries, build = [], compiler._compile_pyfunc_with_fixup

    def recorded(*args, **options):
        libraries.append(build(*args, **options))
        return libraries[-1]

    with (
        mock.patch.object(numba.cuda.dispatcher, "get_current_device", lambda: _Device(first)),
        mock.patch.object(compiler, "_compile_pyfunc_with_fixup", recorded),
    ):
        cuda.compile(
            kernel.py_func, kinds, cc=first, device=False, abi="numba",
            output="ptx", launch_bounds=kernel.targetoptions.get("launch_bounds"),
        )  # fmt: skip
    ((library, _),) = libraries
    return library


def resources(code, arch="sm_90"):
    """Link PTX for an architecture and read the report."""
    linker = nvjitlink.create(3, [f"-arch={arch}", "-O3", "-verbose"])
    try:
        data = code.encode()
        nvjitlink.add_data(linker, nvjitlink.InputType.PTX, data, len(data), "kernel")
        nvjitlink.complete(linker)
        log = bytearray(nvjitlink.get_info_log_size(linker))
        nvjitlink.get_info_log(linker, log)
    finally:
        nvjitlink.destroy(linker)
    text = log.decode()

    def number(pattern):
        found = re.findall(pattern, text)
        assert found or "smem" in pattern, text
        return max(map(int, found), default=0)

    return Resources(
        number(r"Used (\d+) registers"),
        number(r"(\d+) bytes stack frame"),
        number(r"(\d+) bytes spill stores") + number(r"(\d+) bytes spill loads"),
        number(r"(\d+) bytes smem"),
    )
