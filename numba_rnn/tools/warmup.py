"""Compile ahead of the first call."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from .. import validation
from ..cell import RNNCell
from ..dispatch import backend
from ..linear import Linear
from ..rnn import RNN


def warmup(dtype: DTypeLike = np.float32, *, training: bool = True) -> None:
    """Compile what layers of a dtype need, or load it from the cache, and start the threads.

    After it the first call is as fast as any other. Run when a container image is built, it fills
    the cache on disk that the service then starts from: the directory that ``NUMBA_CACHE_DIR``
    names, or else ``__pycache__`` of the package. The service's user need not be able to write
    there, but must be who filled it, or it must have been root: what is kept is run as code, so
    a directory that anyone else owns or can write to is not used.

    Call it before a process forks while it has other threads: a child that is forked while
    another thread compiles may wait forever for a lock of Numba's.

    Parameters
    ----------
    dtype : dtype, default np.float32
        np.float32 or np.float64.
    training : bool, default True
        Whether to prepare backward passes and dropout too.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Examples
    --------
    >>> import numpy as np
    >>> import numba_rnn as nr
    >>> nr.warmup(np.float32, training=False)
    """
    dtype = validation.float_dtype("dtype", dtype)
    training = validation.flag("training", training)
    x = np.zeros((2, 2, 1), dtype)
    backend(x).prepare(dtype, training)
    rnn = RNN(1, 1, num_layers=2, dropout=0.5, bidirectional=True, dtype=dtype, rng=0)
    cell, linear = RNNCell(1, 1, dtype=dtype, rng=0), Linear(1, 1, dtype=dtype, rng=0)
    if training:
        tape = rnn.train().forward(x)
        tape.backward(tape.output)
        cell.forward(x[0]).backward(x[0])
        linear.forward(x).backward(x)
    else:
        rnn.eval()(x)
        cell(x[0])
        linear(x)
