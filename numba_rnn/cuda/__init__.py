"""The CUDA backend: device arrays in, device arrays of the same library out.

    backend.py      the backend: allocates, and calls what follows
    libraries.py    CuPy, torch and Numba: how their arrays are allocated, copied, moved
    toolkit.py      what the kernels need of Numba's CUDA target
    choice.py       which kernels walk through time: the one place that decides
    walk.py         their launches
    launching.py    how a kernel is launched, and what it is given
    step.py         the equations of one step, which all walks share
    generic.py      any shape and dtype, a block a sample
    persistent.py   w_hh in the registers and shared memory of one block
    grid.py         w_hh spread over the blocks of a grid, which meet after every step
    lanes.py        how the threads of a block share w_hh in these two
    steps.py        a product and a launch for every step
    products.py     matrix products, sums and copies over all rows
    activation.py   the nonlinearity
    dropout.py      masks from a key
    memory.py       allocation and copies, and Numba's view of other libraries' memory
    losses.py       losses: value and gradient
    optim.py        update rules, and the clipping of gradients
    reduce.py       sums over a whole array, for both

x_t·w_ihᵀ of all steps is one product before the walk, and the walk backward writes delta alone:
dx, dw_ih, dw_hh and db are products over all rows. Everything runs on the caller's current stream
and nothing waits for it.

The backend is imported when it is asked for: to ask what an array is, `libraries` needs no CUDA.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .backend import Backend

__all__ = ["Backend"]

if not TYPE_CHECKING:  # a type checker would take every name for one of ours

    def __getattr__(name: str) -> Any:
        if name == "Backend":
            from .backend import Backend

            return Backend
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
