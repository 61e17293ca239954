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
import pickle
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import lru_cache
from typing import Any
from uuid import uuid4
from weakref import WeakKeyDictionary

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
        sent to each worker in each call.
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
    client = workers.client()
    each = max(1, leaves // _threads(dask, client))
    firsts = range(0, len(given), each)
    parts = [given[k : k + each] for k in firsts]
    with workers.sending(function=function, parameters=parameters, blocks=given):
        try:
            parts = _kept(dask, client, parts)
        except LookupError:
            # A name of its own, or else a value would be looked at to make one.
            name = f"parameters-{uuid4().hex}"
            shared = dask.delayed((function, parameters), name=name, traverse=False)
            task = dask.delayed(_subtree, pure=False)
            found = dask.compute(*map(task, [shared] * len(parts), parts, firsts))
        else:
            found = _submitted(client, function, parameters, parts, firsts)
    return _tree(found.__getitem__, 0, len(found))


_asked: WeakKeyDictionary[Any, tuple[float, int]] = WeakKeyDictionary()  # when, and what it said


def _threads(dask: Any, client: Any) -> int:
    """How many subtrees there are to be: a power of two, enough for the threads of all workers."""
    if client is None:
        threads = int(dask.config.get("num_workers", None) or os.cpu_count() or 1)
    else:
        now = time.monotonic()
        asked, threads = _asked.get(client, (-np.inf, 1))
        if now > asked + 1.0:  # steps may be shorter than the answer takes
            threads = int(sum(client.nthreads().values()))
            _asked[client] = now, threads
    return 1 << (max(threads, 1) - 1).bit_length()


def _kept(dask: Any, client: Any, block: Any) -> Any:
    """What is kept on the workers as its futures, so that no graph has to be sent with it.

    Raises
    ------
    LookupError
        If something of Dask's isn't on the workers; also in a task of one of them, where Dask must
        know that the task waits, so that another may run: `dask.compute` tells it.
    """
    if client is None or _in_a_task():
        raise LookupError("no client")
    delayed = need("dask.delayed", "dask", "a cluster").Delayed

    def kept(block: Any) -> Any:
        if type(block) in (list, tuple):
            return type(block)(map(kept, block))
        if isinstance(block, delayed) and block.key in client.futures:
            return sys.modules["distributed"].Future(block.key, client)
        if dask.base.unpack_collections(block)[0]:
            raise LookupError("not on the workers")
        return block

    return kept(block)


def _in_a_task() -> bool:
    try:
        sys.modules["distributed"].get_worker()
    except ValueError:
        return False
    return True


def _submitted(
    client: Any, function: Any, parameters: Any, parts: list[Any], firsts: range
) -> list[Sum]:
    """Sums over the blocks of each part, from the workers.

    Function and parameters go with each task: they are lost with none of the workers, and no task
    waits for another. As bytes they are nothing that the scheduler must know.
    """
    shared = [workers.pickled("function", function)], [workers.pickled("parameters", parameters)]
    repeated = (one * len(parts) for one in shared)
    futures = client.map(_unpacked, *repeated, parts, list(firsts), key="gradients", pure=False)
    _released()
    try:
        sums: list[Sum] = client.gather(futures)
    except BaseException:  # the others' results are no longer waited for
        for future in futures:
            future.release()
        raise
    _read.extend(futures)
    return sums


# Results of the last call, which are let go of in the next one. A client sends nothing for 10 ms
# after each message, so that the word to forget them would hold up the tasks of the next call.
_read: list[Any] = []


def _released() -> None:
    while _read:
        with suppress(IndexError):  # another thread was faster
            _read.pop().release()


# What a function compiles or reads when it is made is not done again in each step.
_function = lru_cache(maxsize=4)(pickle.loads)


def _unpacked(function: bytes, parameters: bytes, blocks: list[Any], first: int) -> Sum:
    return _subtree((_function(function), pickle.loads(parameters)), blocks, first)


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
