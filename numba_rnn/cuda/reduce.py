"""Sums over a whole array in two launches, in a fixed order: every block leaves a part behind.

A first kernel runs over the array with at most BLOCKS blocks, each of which writes its part; the
kernel that needs the sum adds the parts up, in every block anew, since that is quicker than a
launch of its own.
"""

from __future__ import annotations

import numpy as np

from .toolkit import SIMULATOR, cuda, device_function

THREADS = 4 if SIMULATOR else 256
BLOCKS = THREADS  # so that a block adds up the parts of a sum with one number a thread


def blocks(size: int) -> int:
    """How many blocks run over an array of this size."""
    return max(1, min(BLOCKS, -(-size // THREADS)))


@device_function
def add_up(shared):
    """Sum shared[k, :], over the threads of a block, into shared[k, 0]."""
    width = THREADS // 2
    while width > 0:
        cuda.syncthreads()
        if cuda.threadIdx.x < width:
            for k in range(shared.shape[0]):
                shared[k, cuda.threadIdx.x] += shared[k, cuda.threadIdx.x + width]
        width //= 2
    cuda.syncthreads()


DOUBLE = np.dtype(np.float64)
