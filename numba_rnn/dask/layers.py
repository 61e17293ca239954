"""A layer called on a Dask array: tasks that give what it gives, none of them run yet.

Chunks of samples are computed apart. Where they hold all steps, Dask knows that a block comes of
one block (`blockwise`) and makes one task of what is done to it before and after. Chunks of steps
are a chain: a task takes the states that the one before it ended with, and in reverse those of the
one behind it. Several layers of one direction are one task a chunk. With two directions a layer
needs all steps of the layer below from both ends, so that a chunk has a task for each layer and
direction.

The layer is a key of the graph, which Dask sends to a worker once, and names come of what a result
depends on: the same call twice is computed once.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from operator import getitem
from typing import Any, cast

import numpy as np

from .. import validation
from ..cell import RNNCell
from ..extras import need
from ..linear import ANY, Linear
from ..owners import is_dask
from ..rnn import RNN
from . import tasks

Key = Any  # of a task, or what makes it of another one: (function, key, ...)


def rnn(layer: RNN, x: Any, h_0: Any, lengths: Any) -> tuple[Any, Any]:
    """Return output and h_n of a call as Dask arrays."""
    axes = (("N", "L") if layer.batch_first else ("L", "N"), ("L",))
    validation.evaluating(layer)
    validation.dask_array("x", x, layer.dtype, layer.input_size, axes)
    S, H = layer.num_layers * layer._directions, layer.hidden_size
    if x.ndim == 2:
        if lengths is not None:
            raise ValueError(f"lengths must be None with unbatched input, got x of shape {x.shape}")
        if h_0 is not None:
            h_0 = validation.dask_states("h_0", h_0, (S, H), layer.dtype)[:, None]
        sample = 0 if layer.batch_first else 1
        one = x[None] if layer.batch_first else x[:, None]
        output, h_n = rnn(layer, one, h_0, None)
        return output[(slice(None),) * sample + (0,)], h_n[:, 0]
    time, sample = (1, 0) if layer.batch_first else (0, 1)
    x = _whole(x)
    N, L = x.shape[sample], x.shape[time]
    of_samples, of_steps = x.chunks[sample], x.chunks[time]
    if h_0 is not None:
        h_0 = validation.dask_states("h_0", h_0, (S, N, H), layer.dtype)
        h_0 = _chunked(h_0, ((S,), of_samples, (H,)))
    if lengths is not None:
        lengths = _chunked(validation.dask_lengths("lengths", lengths, N, L), (of_samples,))

    call = _Call(layer, x, h_0, lengths)
    if len(of_steps) == 1:
        index = "nlf" if layer.batch_first else "lnf"
        given = ((x, index), (h_0, "lnf"), (lengths, "n"), (0, None), (L, None), (False, None))
        both = call.blocks("run", index, tasks.run, given, {})
        features = {"f": layer._directions * H}
        return (
            call.blocks("output", index, getitem, ((both, index), (0, None)), features),
            call.blocks("state", "lnf", getitem, ((both, index), (1, None)), {"l": S, "f": H}),
        )
    parts = _chains(layer)
    for name, part in parts.items():
        call.graph[call.name("layer", *name)] = part
    starts = np.cumsum((0, *of_steps)).tolist()

    def block(n: int, step: int) -> Key:
        return (n, step, 0) if layer.batch_first else (step, n, 0)

    for n in range(len(of_samples)):
        below = [(x.name, *block(n, step)) for step in range(len(of_steps))]
        states: list[Key] = []
        for k in range(1 if len(parts) == 1 else layer.num_layers):
            ends = []
            for d in range(1 if len(parts) == 1 else 2):
                h: Key = None if h_0 is None else (h_0.name, 0, n, 0)
                if h is not None and len(parts) > 1:
                    h = (tasks.state, h, len(states))
                outputs = {}
                for step in _order(len(of_steps), d):
                    done = (call.name("run"), k, d, step, n)
                    call.graph[done] = (
                        tasks.run, call.name("layer", k, d), below[step], h,
                        None if lengths is None else (lengths.name, n), starts[step], L, d == 1,
                    )  # fmt: skip
                    kept, h = call.graph, (call.name("carry"), k, d, step, n)
                    if len(parts) == 1 and step == len(of_steps) - 1:  # these are h_n
                        kept, h = call.states, (call.name("state"), 0, n, 0)
                    kept[h] = (getitem, done, 1)
                    outputs[step] = (getitem, done, 0)
                states.append(h)
                ends.append(outputs)
            last = k == layer.num_layers - 1 or len(parts) == 1
            above = []
            for step in range(len(of_steps)):
                task: Key = ends[0][step]
                if len(ends) == 2:
                    task = (tasks.join, [outputs[step] for outputs in ends])
                if last:
                    call.outputs[(call.name("output"), *block(n, step))] = task
                else:
                    above.append((call.name("between"), k, step, n))
                    call.graph[above[-1]] = task
            below = above
        if len(parts) > 1:
            call.states[(call.name("state"), 0, n, 0)] = (tasks.stack, states)

    chunks = list(x.chunks)
    chunks[-1] = (layer._directions * H,)
    output, h_n = call.arrays(tuple(chunks), ((S,), of_samples, (H,)))
    return output, h_n


def _chains(layer: RNN) -> dict[tuple[int, int], RNN]:
    """What is run over the chunks of steps: the layer, or each of its layers and directions."""
    if layer._directions == 1:
        return {(0, 0): _frozen(layer)}
    found = {}
    for k in range(layer.num_layers):
        features = layer.input_size if k == 0 else 2 * layer.hidden_size
        for d, suffix in enumerate((f"_l{k}", f"_l{k}_reverse")):
            part = RNN(
                features, layer.hidden_size, 1, cast(Any, layer.nonlinearity), layer.bias,
                layer.batch_first, dtype=layer.dtype, rng=0,
            )  # fmt: skip
            for name, value in part.parameters.items():
                value[...] = layer.parameters[name.removesuffix("_l0") + suffix]
            found[k, d] = part.eval()
    return found


def _frozen(layer: Any) -> Any:
    """A copy, which stays what it is while the layer is trained on."""
    twin = copy.deepcopy(layer)
    return twin.eval() if isinstance(twin, RNN) else twin


def _order(count: int, direction: int) -> Iterator[int]:
    return iter(range(count) if direction == 0 else range(count - 1, -1, -1))


def cell(layer: RNNCell, x: Any, h: Any) -> Any:
    """Return the new state of a call as a Dask array."""
    validation.evaluating(layer)
    validation.dask_array("x", x, layer.dtype, layer.input_size, (("N",), ()))
    x = _whole(x)
    chunks = (*x.chunks[:-1], (layer.hidden_size,))
    if h is not None:
        shape = (*x.shape[:-1], layer.hidden_size)
        h = _chunked(validation.dask_states("h", h, shape, layer.dtype), chunks)
    index = tuple(range(x.ndim))
    given = ((x, index), (h, index))
    return _Call(layer, x, h).blocks("output", index, tasks.step, given, {index[-1]: chunks[-1]})


def linear(layer: Linear, x: Any) -> Any:
    """Return the output of a call as a Dask array."""
    validation.evaluating(layer)
    validation.dask_array("x", x, layer.dtype, layer.in_features, ANY)
    x = _whole(x)
    index = tuple(range(x.ndim))
    sizes = {index[-1]: layer.out_features}
    return _Call(layer, x).blocks("output", index, tasks.mapped, ((x, index),), sizes)


def _whole(x: Any) -> Any:
    """X with all features of a step in one chunk."""
    if x.numblocks[-1] == 1:
        return x
    warnings.warn(
        f"the {x.shape[-1]} features of x lie in {x.numblocks[-1]} chunks and are moved into one: "
        "x.rechunk({-1: -1}) does so where it costs least",
        UserWarning,
        stacklevel=4,
    )
    return x.rechunk({x.ndim - 1: -1})


def _chunked(array: Any, chunks: tuple[tuple[int, ...], ...]) -> Any:
    """A NumPy or a Dask array, as a Dask array in these chunks."""
    if is_dask(array):
        return array.rechunk(chunks)
    # a copy: the tasks run later, and the caller may have written to the array by then
    return need("dask.array", "dask", "a Dask array").from_array(np.array(array), chunks)


class _Call:
    """The graph of a call while it is made.

    Attributes
    ----------
    graph, outputs, states : dict
        Tasks of a chain by key: what is done, and what is seen of it.
    """

    def __init__(self, layer: Any, *given: Any) -> None:
        base = need("dask.base", "dask", "a Dask array")
        self._layer = layer
        self._given: list[Any] = [array for array in given if array is not None]
        names = [None if array is None else array.name for array in given]
        self._kind = type(layer).__name__.lower()
        self._token = base.tokenize("numba_rnn", repr(layer), layer.flat_parameters, *names)
        self._dtype = layer.dtype
        self.graph: dict[Any, Any] = {}
        self.outputs: dict[Any, Any] = {}
        self.states: dict[Any, Any] = {}

    def name(self, what: str, *part: int) -> str:
        """Name of some of the keys."""
        return "-".join([self._kind, what, *map(str, part), self._token])

    def blocks(self, what: str, out: Any, task: Any, given: Any, sizes: Any) -> Any:
        """A Dask array of which each block comes of one block of each of the arrays.

        Parameters
        ----------
        what : str
            Part of its name.
        out : sequence
            Its axes.
        task : callable
            One of `tasks`, which takes the layer first, or getitem.
        given : tuple of pairs
            Arrays with their axes, and other things with None.
        sizes : dict
            Chunks along those axes that are not as long as they were.
        """
        dask = need("dask", "dask", "a Dask array")
        array = need("dask.array", "dask", "a Dask array")
        if task is not getitem:
            frozen = _frozen(self._layer)
            key = dask.delayed(frozen, name=self.name("layer"), traverse=False)
            given = ((key, None), *given)
        pairs = [part for one, axes in given for part in (one, None if one is None else axes)]
        meta = np.empty((0,) * len(out), self._dtype)
        return array.blockwise(
            task, out, *pairs, name=self.name(what), adjust_chunks=sizes, align_arrays=False,
            dtype=self._dtype, meta=meta,
        )  # fmt: skip

    def arrays(self, *chunks: tuple[tuple[int, ...], ...]) -> list[Any]:
        """Output and states of a chain as Dask arrays with these chunks."""
        array = need("dask.array", "dask", "a Dask array")
        graphs = need("dask.highlevelgraph", "dask", "a Dask array").HighLevelGraph
        below = {one.name for one in self._given}
        run, output, states = self.name("run"), self.name("output"), self.name("state")
        layers = {run: self.graph, output: self.outputs, states: self.states}
        rests_on = {run: below, output: {run, *below}, states: {run}}
        graph = graphs.merge(*(one.dask for one in self._given), graphs(layers, rests_on))
        found = []
        for name, own in zip((output, states), chunks, strict=False):
            meta = np.empty((0,) * len(own), self._dtype)
            found.append(array.Array(graph, name, own, meta=meta))
        return found
