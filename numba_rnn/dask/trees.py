r"""Gradients of blocks, summed in one order whatever the workers.

Floating-point sums depend on their order. Here it is a binary tree over the blocks, as many of them
as there are: each task sums an aligned subtree, and the caller the rest of the tree. With more
workers the subtrees are smaller, and the sums are the same, to the last bit.

        +                 the caller
      /   \
     +     +              tasks, one a worker
    / \   / \
    0 1   2 3             blocks
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any
from uuid import uuid4

import numpy as np

from ..extras import need
from ..validation import blocks_still_there, describe
from . import workers
from .threads import share

Sum = tuple[float, list[np.ndarray]]  # a loss and its gradients


def gradients(function: Callable[[Any, Any], Any], parameters: Any, blocks: Iterable[Any]) -> Sum:
    """Sum what a function returns for each block: a loss and its gradients.

    The blocks are computed where Dask computes: on the workers of the current client, or in threads
    where there is none. The sum has the same bits for any number of workers, and when some of them
    are lost on the way.

    Parameters
    ----------
    function : callable
        ``function(parameters, block) -> (value, gradients)``, value a number and gradients a list
        of arrays, both sums over the block. It must give the same for the same block, and change
        nothing: a block may be computed twice.
    parameters : object
        Whatever the function needs that changes from call to call, as the layers themselves. It is
        sent to each worker once.
    blocks : sequence
        What the function gets, one after the other. Of what is Dask's, in tuples and lists too, it
        gets the result: ``zip(x.to_delayed().ravel(), y.to_delayed().ravel())`` are blocks of
        Dask arrays. To keep them on the workers from call to call take those of
        ``kept = x.persist()``, of which Dask makes a lost block anew, and keep `kept` too: with it
        they go. Arrays of the caller are sent in every call.

    Returns
    -------
    value : float
    gradients : list of ndarray

    Raises
    ------
    ValueError
        If there is no block, gradients of two blocks differ in number, shape or dtype, or a block
        was persisted and is gone.
    TypeError
        If the function returns something else, or it, the parameters or a block can't be pickled
        and have to be sent to workers.

    Notes
    -----
    Whatever the function raises is raised here, with its traceback. The number of blocks is part
    of the result: other blocks are another order of the sum.

    Examples
    --------
    >>> import numpy as np
    >>> import numba_rnn as nr
    >>> import dask.array as da
    >>> x = da.ones((5, 8, 2), chunks=(5, 2, 2), dtype=np.float32)
    >>> rnn = nr.RNN(2, 3, rng=0)
    >>> def loss(rnn, x):
    ...     tape = rnn.forward(x)
    ...     grads = tape.backward(grad_h_n=tape.h_n)  # of half the sum of squares
    ...     return 0.5 * (tape.h_n**2).sum(), [grads.flat]
    >>> value, grads = nr.dask.gradients(loss, rnn, x.to_delayed().ravel())
    >>> grads[0].shape == rnn.flat_parameters.shape
    True
    """
    dask = need("dask", "dask", "numba_rnn.dask.gradients")
    if not callable(function):
        raise TypeError(f"function must be callable, got {describe(function)}")
    given = list(blocks)
    if not given:
        raise ValueError("blocks must hold at least one block, got none")
    blocks_still_there("blocks", given, workers.client())
    leaves = 1 << (len(given) - 1).bit_length()
    each = max(1, leaves // _workers(dask))
    # A name of its own, or else a value would be looked at to make one.
    shared = dask.delayed((function, parameters), name=f"parameters-{uuid4().hex}", traverse=False)
    task = dask.delayed(_subtree, pure=False)
    parts = [task(shared, given[k : k + each], k) for k in range(0, len(given), each)]
    with workers.sending(function=function, parameters=parameters, blocks=given):
        found = dask.compute(*parts)
    return _tree(found.__getitem__, 0, len(found))


def _workers(dask: Any) -> int:
    """How many subtrees there are to be: a power of two, enough for the threads of all workers."""
    client = workers.client()
    if client is not None:
        threads = int(sum(client.nthreads().values()))
    else:
        threads = int(dask.config.get("num_workers", None) or os.cpu_count() or 1)
    return 1 << (max(threads, 1) - 1).bit_length()


def _subtree(shared: tuple[Any, Any], blocks: list[Any], first: int) -> Sum:
    """Sum over some blocks, of which the first is the caller's block `first`."""
    function, parameters = shared

    def leaf(k: int) -> Sum:
        if workers.abandoned():
            raise RuntimeError("nobody waits for this sum any more")
        return _checked(function(parameters, blocks[k]), first + k)

    with share():
        return _tree(leaf, 0, len(blocks))


def _tree(leaf: Callable[[int], Sum], start: int, count: int) -> Sum:
    """Sum of leaves, in the order of a tree that is full on its left."""
    if count == 1:
        return leaf(start)
    left = 1 << (count - 1).bit_length() - 1
    return _added(_tree(leaf, start, left), _tree(leaf, start + left, count - left))


def _checked(result: Any, block: int) -> Sum:
    try:
        value, found = result
        arrays = [np.asarray(array) for array in found]
        value = float(value)
    except (TypeError, ValueError) as error:
        raise TypeError(
            "function must return a number and a list of arrays, (value, gradients), got "
            f"{describe(result)} of block {block}"
        ) from error
    if any(array.dtype.kind != "f" for array in arrays):
        raise TypeError(
            "function must return gradients of a floating dtype, got "
            f"{', '.join(str(array.dtype) for array in arrays)} of block {block}"
        )
    return value, arrays


def _added(a: Sum, b: Sum) -> Sum:
    forms = [[(array.shape, array.dtype.name) for array in one[1]] for one in (a, b)]
    if forms[0] != forms[1]:
        raise ValueError(
            "gradients of all blocks must have the same shapes and dtypes, got "
            f"{forms[0]} and {forms[1]}"
        )
    return a[0] + b[0], [x + y for x, y in zip(a[1], b[1], strict=True)]
