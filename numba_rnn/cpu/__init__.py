"""The CPU backend: NumPy arrays in, NumPy arrays out, Numba kernels in between.

    recurrence.py  one RNN layer: forward, and backward beside it
    linear.py      the linear map: forward, and backward beside it
    dropout.py     masks from a key
    products.py    matrix products over tables of rows, and the packing they need
    marks.py       how threads that share a sample meet
    tile.py        the register tile; the only clever file
    vectors.py     vector instructions and activation functions
    native.py      how kernels are compiled and call each other
    cache.py       how compiled kernels are kept on disk
    plain.py       what the tile does, in plain Python
    parallel.py    how work is split over threads
    worth.py       whether threads bring more than they cost
    quota.py       how many processors a container may use

This file allocates memory, decides the split and calls the kernels, nothing else.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..forks import is_child
from ..layout import Layout
from . import dropout as _dropout
from . import linear, recurrence
from .marks import APART
from .native import PLAIN
from .parallel import packers, run, split, threads
from .products import ROWS_AT_ONCE, padded, product_size
from .vectors import LANES, RELU, TANH

F = {"tanh": TANH, "relu": RELU}


class _Alias:
    """Memory of a read-only array as Numba wants it: a read-only type would compile anew."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array  # keeps the memory alive
        self.__array_interface__ = array.__array_interface__ | {
            "data": (array.__array_interface__["data"][0], False)
        }


def rows(array: np.ndarray, features: int) -> np.ndarray:
    """Return an array's memory as rows, shape (R, features); a copy only where it must be one."""
    if type(array) is not np.ndarray:
        array = np.asarray(array)
    if not array.flags.carray:  # C order, aligned and writeable
        if not (array.flags.c_contiguous and array.flags.aligned):
            array = np.array(array, order="C")
        elif not array.flags.writeable:
            array = np.asarray(_Alias(array))
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
    """Compile what large work needs besides what small work does, and start the threads."""
    if is_child() or PLAIN:
        return
    kernels = [recurrence.rnn_forward, linear.linear_forward]
    if training:
        kernels += [recurrence.rnn_backward, linear.linear_backward, _dropout.dropout]
    for kernel in kernels:
        kernel.make(dtype, True)


def _shape(dtype: np.dtype, N: int, *sizes: int) -> tuple[Any, ...]:
    """What the speed of a kernel depends on: batches of about the same size are alike."""
    return (dtype, N.bit_length(), *sizes)


def _scratch(sizes: dict[str, int], dtype: np.dtype) -> dict[str, np.ndarray]:
    """Memory for what kernels need besides, by name; each begins on a cache line."""
    line = 64 // dtype.itemsize
    whole = {name: -(-size // line) * line for name, size in sizes.items()}
    memory = empty(sum(whole.values()) + line, dtype)
    begin = -(memory.__array_interface__["data"][0] // dtype.itemsize) % line
    found = {}
    for name, size in whole.items():
        found[name] = memory[begin : begin + size]
        begin += size
    return found


def _lanes(dtype: np.dtype) -> int:
    return 1 if PLAIN else LANES[dtype]


def _layer(
    x: np.ndarray,
    h_0: np.ndarray,
    output: np.ndarray,
    weights: np.ndarray,
    places: np.ndarray,
    layout: Layout,
    H: int,
    D: int,
    nonlinearity: str,
    blocks: int,
    slices: int,
    parts: int,
) -> dict[str, Any]:
    """Fields of `recurrence.Layer`."""
    I, N = x.shape[1], layout.batch
    return {
        "L": layout.longest, "N": N, "I": I, "H": H, "D": D, "f": F[nonlinearity],
        "lanes": _lanes(x.dtype), "packers": packers(D * H * (I + H)),
        "blocks": blocks, "slices": slices, "bounds": layout.blocks(blocks),
        "step_row": layout.step_row, "batch_row": layout.batch_row,
        "lengths": layout.lengths, "order": layout.order,
        "weights": weights, "places": places, "x": x, "h_0": h_0, "output": output,
        "row_tables": empty(recurrence.tables(N, D, slices, parts), int),
        "marks": zeros(D * blocks * slices * APART if slices > 1 else 0, int),
    }  # fmt: skip


def rnn_forward(
    x: np.ndarray,
    h_0: np.ndarray,
    h_n: np.ndarray,
    weights: np.ndarray,
    places: np.ndarray,
    layout: Layout,
    H: int,
    D: int,
    nonlinearity: str,
) -> np.ndarray:
    """Run one layer, both directions, and fill h_n.

    Parameters
    ----------
    x : ndarray, shape (R, I)
    h_0, h_n : ndarray, shape (D, N, H)
    weights : ndarray, shape (P,)
        The layer's parameters.
    places : ndarray of int64, shape (D, 4)
        Where w_ih, w_hh, b_ih, b_hh start in weights, -1 for no bias.

    Returns
    -------
    output : ndarray, shape (R, D·H)
        Zero in rows that are no real step.
    """
    I, N, dtype = x.shape[1], layout.batch, x.dtype
    output = (zeros if layout.has_padding else empty)((layout.rows, D * H), dtype)
    if len(layout.empty):  # no step: the state stays as it is
        h_n[:, layout.empty] = h_0[:, layout.empty]
    work = layout.real_steps * D * H * (I + H)
    parts, blocks, slices = split(layout, work, D, False)
    p = recurrence.Forward(
        **_layer(
            x, h_0, output, weights, places, layout, H, D, nonlinearity, blocks, slices, parts
        ),
        **_scratch(recurrence.forward_scratch(I, H, D, _lanes(dtype)), dtype),
        h_n=h_n,
    )
    run(recurrence.rnn_forward, parts, p, dtype, work, _shape(dtype, N, I, H, D))
    return output


def rnn_backward(
    x: np.ndarray,
    h_0: np.ndarray,
    output: np.ndarray,
    weights: np.ndarray,
    places: np.ndarray,
    layout: Layout,
    H: int,
    D: int,
    nonlinearity: str,
    grad_output: np.ndarray | None,
    grad_h_n: np.ndarray | None,
    dh_0: np.ndarray,
    gradients: np.ndarray,
    state_gradients: bool,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Run one layer backward; fill dh_0, shape (D, N, H), and gradients, shape (P,), from zeros.

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
    I, N, dtype = x.shape[1], layout.batch, x.dtype
    allocate = zeros if layout.has_padding else empty
    dx = allocate(x.shape, dtype)
    delta = empty((layout.rows, D * H), dtype)
    dh = allocate((layout.rows, D * H) if state_gradients else (0, 0), dtype)
    one_row = grad_output is None and layout.rows != 1
    if grad_output is None:
        grad_output = zeros((1, D * H), dtype)
    if grad_h_n is None:
        grad_h_n = zeros(dh_0.shape, dtype)
    if len(layout.empty):
        dh_0[:, layout.empty] = grad_h_n[:, layout.empty]
    work = 2 * layout.real_steps * D * H * (I + H)
    parts, blocks, slices = split(layout, work, D, True)
    lanes = _lanes(dtype)
    rows, later, earlier, first, sample = layout.transitions(False)
    first_in_reverse = layout.transitions(True)[3]
    scratch = _scratch(recurrence.backward_scratch(N, I, H, D, slices, parts, lanes), dtype)
    scratch["zeros"][:] = 0
    p = recurrence.Backward(
        **_layer(
            x, h_0, output, weights, places, layout, H, D, nonlinearity, blocks, slices, parts
        ),
        **scratch,
        parts=parts, steps=len(rows), successions=len(later), starts=len(first),
        rows=rows, earlier=earlier, later=later, first=first, first_in_reverse=first_in_reverse,
        sample=sample, one_row=one_row, grad_output=grad_output, grad_h_n=grad_h_n,
        dx=dx, dh_init=dh_0, gradients=gradients, keep=state_gradients, dh=dh, delta=delta,
        product_size=product_size(max(padded(H, lanes), padded(I, lanes)), lanes),
    )  # fmt: skip
    run(recurrence.rnn_backward, parts, p, dtype, work, _shape(dtype, N, I, H, D))
    return dx, dh if state_gradients else None


def _map(x: np.ndarray, weights: np.ndarray, O: int, parts: int) -> dict[str, Any]:
    """Fields of `linear.Map`."""
    M, I = x.shape
    return {
        "M": M, "I": I, "O": O, "lanes": _lanes(x.dtype), "has_bias": weights.size > O * I,
        "parts": parts, "packers": packers(I * O), "rows": np.arange(M), "x": x,
        "weights": weights, "row_tables": empty(3 * parts * ROWS_AT_ONCE, int),
    }  # fmt: skip


def linear_forward(x: np.ndarray, weights: np.ndarray, out_features: int) -> np.ndarray:
    """Y = x·wᵀ + b: x (M, I), weights w (O, I) and perhaps b (O,) in one vector, y (M, O)."""
    M, I = x.shape
    y = empty((M, out_features), x.dtype)
    work = M * I * out_features
    parts = threads(work)
    p = linear.Forward(
        **_map(x, weights, out_features, parts),
        **_scratch(linear.forward_scratch(I, out_features, _lanes(x.dtype)), x.dtype),
        y=y,
    )
    run(linear.linear_forward, parts, p, x.dtype, work, _shape(x.dtype, M, I, out_features))
    return y


def linear_backward(
    x: np.ndarray, weights: np.ndarray, out_features: int, grad_output: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return dx (M, I) and the gradients of the parameters, laid out as weights."""
    M, I = x.shape
    dx, gradients = empty(x.shape, x.dtype), zeros(weights.shape, x.dtype)
    work, lanes = 2 * M * I * out_features, _lanes(x.dtype)
    parts = threads(work)
    scratch = _scratch(linear.backward_scratch(I, out_features, parts, lanes), x.dtype)
    scratch["zeros"][:] = 0
    p = linear.Backward(
        **_map(x, weights, out_features, parts),
        **scratch,
        g=grad_output,
        dx=dx,
        gradients=gradients,
        product_size=product_size(padded(I, lanes), lanes),
    )
    run(linear.linear_backward, parts, p, x.dtype, work, _shape(x.dtype, M, I, out_features))
    return dx, gradients


def dropout(x: np.ndarray, probability: float, key: int, layer: int) -> np.ndarray:
    """Drop elements of x by the mask that (key, layer) gives for its size."""
    out = empty(x.shape, x.dtype)
    scale = np.array([0.0 if probability == 1 else 1 / (1 - probability)], x.dtype)
    parts = threads(10 * x.size)
    p = _dropout.Drop(
        size=x.size, parts=parts, key=int(key), layer=layer,
        least=math.ceil(probability * 2.0**53), x=x, out=out, scale=scale,
    )  # fmt: skip
    run(_dropout.dropout, parts, p, x.dtype, 10 * x.size)
    return out
