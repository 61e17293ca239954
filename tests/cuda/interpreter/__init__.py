"""Compiled kernels run without a GPU: an interpreter of PTX that watches what threads do.

    instructions.py     the table of instructions that compute, each on NumPy arrays
    decode.py           text of a kernel to instructions
    launch.py           all threads of a launch, run together or apart
    memory.py           what they touch: bounds, alignment, what was never written, races
    order.py            what comes before what: barriers and fences
    gpu.py              in place of a GPU's memory and of its driver
    fault.py            what is raised

A launch raises `Fault` at the first of

    outside       an access beyond the arrays that the launch was given, or beside a shared variable
    misaligned    an address that is no multiple of the size of the access
    unwritten     a load of what nobody wrote
    race          two accesses by different threads, one of them at least a store, that no barrier
                  and no fences with an atomic order; not even the threads of a warp are in step
    barrier       one that not all threads of a block come to
    shuffle       one that names a lane that isn't there, or doesn't come
    division      an integer divided by 0
    register      read where no thread has set it
    endless       threads that wait, or run, for ever

with the kernel, the instruction and the thread. An instruction that the table lacks is a
NotImplementedError. What is not covered: what the linker makes of PTX, streams, and time.
"""

from .decode import Kernel
from .fault import Fault
from .gpu import GPU, install

__all__ = ["GPU", "Fault", "Kernel", "install"]
