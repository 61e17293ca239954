"""How threads that share a sample meet after every step, without waiting for each other.

Each slice of hidden units has a mark: how many steps of it are done. A thread does its own slice of
a step, sets the mark, and looks for the others' marks a little while; what has not come by then it
computes itself. Whoever computes a slice gets the same bits, so it does no harm if two do, and a
thread that the system does not run holds up nobody.
"""

from __future__ import annotations

import platform

from llvmlite import ir
from numba import types
from numba.core import cgutils

from . import plain
from .native import inline, instructions
from .structures import INT

APART = 16  # entries between two marks, so that no two share a cache line
PATIENCE, LATE = 1000, 50  # looks at a mark: while others come, and once one has not come
PAUSE = {"x86_64": "llvm.x86.sse2.pause", "amd64": "llvm.x86.sse2.pause"}


@instructions(plain.set_mark)
def set_mark(builder, number, marks, slot, steps):
    """Set a mark, unless it is further on; what was written before can be read by who sees it."""
    place = builder.gep(marks, [builder.mul(slot, INT(APART))], source_etype=INT)
    builder.atomic_rmw("max", place, steps, "release")


@instructions(plain.mark, types.int64)
def mark(builder, number, marks, slot):
    """Read a mark."""
    place = builder.gep(marks, [builder.mul(slot, INT(APART))], source_etype=INT)
    return builder.load_atomic(place, "acquire", 8, typ=INT)


@instructions(plain.pause)
def pause(builder, number):
    """Tell the processor that this thread only waits."""
    name = PAUSE.get(platform.machine().lower())
    if name is not None:
        kind = ir.FunctionType(ir.VoidType(), [])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [])


@inline
def wait(marks, slot, steps, patience):
    """Wait a little for a mark; return whether it is as far as that."""
    for _ in range(patience):
        if mark(marks, slot) >= steps:
            return True
        pause()
    return mark(marks, slot) >= steps
