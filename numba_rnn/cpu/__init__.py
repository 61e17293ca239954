"""The CPU backend: NumPy arrays in, NumPy arrays out, Numba kernels in between.

    recurrence.py  one RNN layer: forward, and backward beside it
    few.py         the same for up to four samples, whose steps are short
    linear.py      the linear map: forward, and backward beside it
    dropout.py     masks from a key
    products.py    matrix products over tables of rows, and the packing they need
    marks.py       how threads that share a sample meet
    tile.py        the register tile; the only clever file
    vectors.py     vector instructions and activation functions
    native.py      how kernels are compiled and call each other
    structures.py  what they are given; the only place of addresses without a type
    cache.py       how compiled kernels are kept on disk
    plain.py       what the tile does, in plain Python
    parallel.py    how work is split over threads
    tables.py      what kernels are told of a batch, which may be new in every call
    plans.py       what a call needs besides its arrays, kept by shape
    worth.py       whether threads bring more than they cost
    quota.py       how many processors a container may use

This file is what layers call: it allocates what comes out, and finds or makes a plan.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from .. import batches
from ..backends import LayerKind
from ..forks import is_child
from ..layout import LARGEST_KEPT, Layout
from . import dropout as _dropout
from . import few, linear, recurrence, tables
from .marks import APART
from .parallel import PACKING, counted, packers, run, split, threads
from .plans import Plan, Size, with_plan
from .products import ROWS_AT_ONCE, padded, product_size
from .structures import PLAIN, Structure, as_kernels_want
from .tables import CUTS, Cut, LayerPlan
from .vectors import LANES, RELU, TANH

INT = np.dtype(np.int64)
F = {"tanh": TANH, "relu": RELU}


def rows(array: np.ndarray, features: int) -> np.ndarray:
    """Return an array's memory as rows, shape (R, features); a copy only where it must be one."""
    array = np.asarray(array)
    if not array.flags.carray:  # C order, aligned and writeable
        array = as_kernels_want(array)
    return array.reshape(array.size // features, features)


empty = np.empty
zeros = np.zeros
copy = np.ndarray.copy


def read_only(array: np.ndarray) -> np.ndarray:
    """Return a view that can't be written to."""
    view = array.view()
    view.flags.writeable = False
    return view


def time_major(
    states: list[np.ndarray], leading: tuple[int, ...], H: int, swap: bool
) -> np.ndarray:
    """dL/dh_t of all layers, (R, D·H) each, as one array (num_layers·D, *leading, H).

    With swap, leading is (N, L) and changes places in the result.
    """
    apart = [layer[:, d : d + H] for layer in states for d in range(0, layer.shape[1], H)]
    together = np.stack([rows.reshape(*leading, H) for rows in apart])
    return np.ascontiguousarray(together.swapaxes(1, 2)) if swap else together


def prepare(dtype: np.dtype, training: bool) -> None:
    """Compile every kernel for one thread and for all of them, and start the threads."""
    if PLAIN:
        return
    kernels = [recurrence.rnn_forward, few.rnn_forward_few, linear.linear_forward]
    if training:
        kernels += [recurrence.rnn_backward, few.rnn_backward_few, linear.linear_backward]
        kernels += [_dropout.dropout]
    for kernel in kernels:
        for parallel in (False,) if is_child() else (False, True):
            kernel.make(dtype, parallel)
    tables.prepare()


def _shape(dtype: np.dtype, N: int, *sizes: int) -> tuple[Any, ...]:
    """What the speed of a kernel depends on: batches of about the same size are alike."""
    return (dtype, N.bit_length(), *sizes)


def _lanes(dtype: np.dtype) -> int:
    return 1 if PLAIN else LANES[dtype]


def _sizes(counts: dict[str, int], dtype: np.dtype) -> dict[str, Size]:
    return {name: Size(count, dtype, name == "zeros") for name, count in counts.items()}


def _cut(structure: type[Structure], layout: Layout, I: int, H: int, D: int) -> Cut:
    """Split a batch for a pass of a layer, or find how it was."""
    backward, each = structure is recurrence.Backward, D * H * (I + H)
    work = (1 + backward) * layout.real_steps * each
    key = (structure, each, D, counted(max(work, PACKING * each)))
    found = layout.kept.get(key)
    if found is None:
        found = Cut(structure, layout, work, split(layout, work, D, backward))
        if layout.rows <= LARGEST_KEPT:
            if len(layout.kept) > CUTS:
                layout.kept.clear()
            layout.kept[key] = found
    return found


def _layer(cut: Cut, N: int, I: int, H: int, D: int, nonlinearity: str) -> dict[str, Any]:
    """Fields of `recurrence.Layer` that depend on shapes."""
    _, blocks, slices = cut.split
    return {
        "N": N, "I": I, "H": H, "D": D, "f": F[nonlinearity],
        "packers": packers(D * H * (I + H)), "blocks": blocks, "slices": slices, "table": cut.table,
    }  # fmt: skip


def _tables(cut: Cut, D: int) -> dict[str, Size]:
    """Scratch of both passes that holds integers."""
    parts, blocks, slices = cut.split
    tasks = D * blocks * slices
    marks = tasks * APART if slices > 1 else 0
    rows = max(tasks * cut.table, 3 * parts * ROWS_AT_ONCE)
    return {
        "row_tables": Size(rows, INT),
        "marks": Size(marks, INT, zeros=True, each_time=True),
    }


def rnn_forward(
    x: np.ndarray,
    h_0: np.ndarray,
    h_n: np.ndarray,
    weights: np.ndarray,
    kind: LayerKind,
    layout: Layout,
) -> np.ndarray:
    """Run one layer, both directions, and fill h_n.

    Parameters
    ----------
    x : ndarray, shape (R, I)
    h_0, h_n : ndarray, shape (D, N, H)
    weights : ndarray, shape (P,)
        The layer's parameters.
    kind : LayerKind
        What the layer is, with D directions of H hidden units.

    Returns
    -------
    output : ndarray, shape (R, D·H)
        Zero in rows that are no real step.
    """
    I, dtype, (places, H, D, nonlinearity) = x.shape[1], x.dtype, kind
    output = (zeros if layout.has_padding else empty)((layout.rows, D * H), dtype)
    if len(layout.empty):  # no step: the state stays as it is
        h_n[:, layout.empty] = h_0[:, layout.empty]

    cut = _cut(recurrence.Forward, layout, I, H, D)
    with_plan(
        (weights, places, x, h_0, output, h_n), (cut,),
        _rnn_forward, cut.key, I, H, D, nonlinearity, dtype,
    )  # fmt: skip
    return output


def _rnn_forward(
    key: tuple[int, ...], I: int, H: int, D: int, nonlinearity: str, dtype: np.dtype, cut: Cut,
    keeps: bool = False,
) -> LayerPlan:  # fmt: skip
    N, lanes, (parts, blocks, _) = cut.samples, _lanes(dtype), cut.split
    fields = _layer(cut, N, I, H, D, nonlinearity)
    sizes = _sizes(recurrence.forward_scratch(I, H, D, lanes), dtype) | _tables(cut, D)
    kernel, projected = recurrence.rnn_forward, 0
    if cut.few:
        kernel, tasks = few.rnn_forward_few, D * blocks
        projected = few.projected_size(tasks, padded(H, lanes))
        fields["table"] = few.table()
        sizes["row_tables"] = Size(tasks * few.table(), INT)
    sizes["projected"] = Size(projected, dtype)
    return LayerPlan(
        kernel, recurrence.Forward, cut, fields, sizes,
        dtype, parts, cut.work, _shape(dtype, N, I, H, D), keeps,
    )  # fmt: skip


class Stepper:
    """One layer and direction that takes a step at a time, its weights packed once.

    Parameters
    ----------
    weights : ndarray, shape (P,)
        As they are now.
    kind : LayerKind
        With one direction.
    N, I : int
    """

    def __init__(self, weights: np.ndarray, kind: LayerKind, N: int, I: int) -> None:
        places, H, D, nonlinearity = kind
        self._weights, self._places = as_kernels_want(weights), as_kernels_want(places)
        self._cut = cut = _cut(recurrence.Forward, batches.padded(1, N, False), I, H, D)
        options = I, H, D, nonlinearity, weights.dtype
        self._plan = _rnn_forward(cut.key, *options, cut, keeps=True)
        x, h, following = (zeros(shape, weights.dtype) for shape in ((N, I), (1, N, H), (1, N, H)))
        arrays = self._weights, self._places, x, h, following[0], following
        self._plan.run(arrays, cut)  # packs
        self._plan.put(packers=0)
        self._run = partial(Plan.run, self._plan)  # the batch stays what it was, in self._cut

    def step(self, x: np.ndarray, h: np.ndarray, following: np.ndarray, output: np.ndarray) -> None:
        """From x (N, I) and the state h (1, N, H), fill the state that follows, (1, N, H).

        `output` is that state as rows, (N, H).
        """
        self._run((self._weights, self._places, x, h, output, following))


def rnn_backward(
    x: np.ndarray,
    h_0: np.ndarray,
    output: np.ndarray,
    weights: np.ndarray,
    kind: LayerKind,
    layout: Layout,
    grad_output: np.ndarray | None,
    grad_h_n: np.ndarray | None,
    dh_init: np.ndarray,
    gradients: np.ndarray,
    state_gradients: bool,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Run one layer backward; fill dh_init, shape (D, N, H), and gradients, shape (P,), from zeros.

    Parameters
    ----------
    grad_output : ndarray, shape (R, D·H), or None for zeros
    grad_h_n : ndarray, shape (D, N, H), or None for zeros

    Returns
    -------
    dx : ndarray, shape (R, I)
    dh : ndarray, shape (R, D·H), or None
        dL/dh_t, where state_gradients asks for it.
    """
    I, dtype, (places, H, D, nonlinearity) = x.shape[1], x.dtype, kind
    allocate = zeros if layout.has_padding else empty
    dx = allocate(x.shape, dtype)
    delta = empty((layout.rows, D * H), dtype)
    dh = allocate((layout.rows, D * H) if state_gradients else (0, 0), dtype)
    if len(layout.empty):
        dh_init[:, layout.empty] = 0 if grad_h_n is None else grad_h_n[:, layout.empty]
    one_row = grad_output is None
    if grad_output is None:
        grad_output = zeros((1, D * H), dtype)
    if grad_h_n is None:
        grad_h_n = zeros(dh_init.shape, dtype)

    cut = _cut(recurrence.Backward, layout, I, H, D)
    with_plan(
        (weights, places, x, h_0, output, grad_output, grad_h_n, dx, dh_init, gradients, dh, delta),
        (cut,),
        _rnn_backward, cut.key, I, H, D, nonlinearity, dtype, one_row, state_gradients,
    )  # fmt: skip
    return dx, dh if state_gradients else None


def _rnn_backward(
    key: tuple[int, ...], I: int, H: int, D: int, nonlinearity: str, dtype: np.dtype, one_row: bool,
    state_gradients: bool, cut: Cut,
) -> LayerPlan:  # fmt: skip
    N, lanes = cut.samples, _lanes(dtype)
    parts, _, slices = cut.split
    constants = _layer(cut, N, I, H, D, nonlinearity) | {
        "parts": parts, "one_row": one_row, "keep": state_gradients,
        "product_size": product_size(max(padded(H, lanes), padded(I, lanes)), lanes),
    }  # fmt: skip
    kernel = few.rnn_backward_few if cut.few else recurrence.rnn_backward
    return LayerPlan(
        kernel, recurrence.Backward, cut, constants,
        _sizes(recurrence.backward_scratch(N, I, H, D, slices, parts, lanes), dtype)
        | _tables(cut, D),
        dtype, parts, cut.work, _shape(dtype, N, I, H, D),
    )  # fmt: skip


def _map(M: int, I: int, O: int, has_bias: bool, parts: int) -> dict[str, Any]:
    """Fields of `linear.Map` that depend on shapes."""
    return {
        "M": M, "I": I, "O": O, "has_bias": has_bias, "parts": parts,
        "packers": packers(I * O), "rows": np.arange(M),
    }  # fmt: skip


def linear_forward(x: np.ndarray, weights: np.ndarray, out_features: int) -> np.ndarray:
    """Y = x·wᵀ + b: x (M, I), weights w (O, I) and perhaps b (O,) in one vector, y (M, O)."""
    (M, I), O, dtype = x.shape, out_features, x.dtype
    has_bias = weights.size > O * I
    y = empty((M, O), dtype)

    count = counted(I * O * max(M, PACKING))
    with_plan((x, weights, y), (), _linear_forward, M, I, O, has_bias, dtype, count)
    return y


# The last part of a key is the number of threads, on which the split rests.
def _linear_forward(M: int, I: int, O: int, has_bias: bool, dtype: np.dtype, _: int) -> Plan:
    work, lanes = M * I * O, _lanes(dtype)
    parts = threads(work)
    return Plan(
        linear.linear_forward, linear.Forward, _map(M, I, O, has_bias, parts),
        _sizes(linear.forward_scratch(I, O, lanes), dtype)
        | {"row_tables": Size(3 * parts * ROWS_AT_ONCE, INT)},
        dtype, parts, work, _shape(dtype, M, I, O),
    )  # fmt: skip


def linear_backward(
    x: np.ndarray, weights: np.ndarray, out_features: int, grad_output: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return dx (M, I) and the gradients of the parameters, laid out as weights."""
    (M, I), O, dtype = x.shape, out_features, x.dtype
    has_bias = weights.size > O * I
    dx, gradients = empty((M, I), dtype), zeros(weights.shape, dtype)

    count = counted(I * O * max(2 * M, PACKING))
    with_plan(
        (x, weights, grad_output, dx, gradients), (),
        _linear_backward, M, I, O, has_bias, dtype, count,
    )  # fmt: skip
    return dx, gradients


def _linear_backward(M: int, I: int, O: int, has_bias: bool, dtype: np.dtype, _: int) -> Plan:
    work, lanes = 2 * M * I * O, _lanes(dtype)
    parts = threads(work)
    return Plan(
        linear.linear_backward, linear.Backward,
        _map(M, I, O, has_bias, parts)
        | {"product_size": product_size(padded(I, lanes), lanes)},
        _sizes(linear.backward_scratch(I, O, parts, lanes), dtype)
        | {"row_tables": Size(3 * parts * ROWS_AT_ONCE, INT)},
        dtype, parts, work, _shape(dtype, M, I, O),
    )  # fmt: skip


def dropout(x: np.ndarray, probability: float, key: int, layer: int) -> np.ndarray:
    """Drop elements of x by the mask that (key, layer) gives for its size."""
    out, dtype, work = empty(x.shape, x.dtype), x.dtype, 10 * x.size
    scale = np.array([0.0 if probability == 1 else 1 / (1 - probability)], dtype)
    parts = threads(work)
    p = _dropout.Drop(
        size=x.size, parts=parts, key=int(key), layer=layer,
        least=math.ceil(probability * 2.0**53),
    )  # fmt: skip
    run(_dropout.dropout, p, (x, out, scale), parts, dtype, work, _shape(dtype, x.size))
    return out
