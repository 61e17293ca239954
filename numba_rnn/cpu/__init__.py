"""The CPU backend: NumPy arrays in, NumPy arrays out, Numba kernels in between.

    vectors.py     vector instructions and activation functions
    tile.py        the register tile; the only clever file
    products.py    matrix products over tables of rows, and the packing they need
    recurrence.py  one RNN layer: forward, and backward beside it
    linear.py      the linear map: forward, and backward beside it
    dropout.py     masks from a key
    parallel.py    how work is split over threads
    worth.py       whether threads bring more than they cost
    quota.py       how many processors a container may use
    build.py       how kernels are compiled
    cache.py       how what is compiled is kept on disk

This file allocates memory, decides the split and calls the kernels, nothing else.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..layout import Layout
from . import dropout as _dropout
from . import linear, recurrence
from .build import natives
from .parallel import packers, run, split, threads
from .parallel import start_threads as start_threads
from .products import BLOCK, BLOCK_COLUMNS, ROWS_AT_ONCE
from .tile import WIDEST
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


def padded(columns: int, lanes: int) -> int:
    """Columns of a packed matrix: whole panels, and whole tiles of them; see products.panels."""
    return -(-columns // (lanes * WIDEST)) * lanes * WIDEST


def _shape(dtype: np.dtype, N: int, *sizes: int) -> tuple[Any, ...]:
    """What the speed of a kernel depends on: batches of about the same size are alike."""
    return (dtype, N.bit_length(), *sizes)


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
    width = LANES[dtype]
    arguments = (
        natives.table(dtype, recurrence.FORWARD),
        output, h_n, x, h_0, weights, places,
        layout.index, layout.blocks(blocks),
        empty(D * padded(H, width) * (I + H + 1), dtype), empty(D * slices * 3 * N, int),
        layout.longest, N, I, H, D, F[nonlinearity], width, parts, packers(D * H * (I + H)), slices,
    )  # fmt: skip
    run(recurrence.rnn_forward, parts, arguments, work, _shape(dtype, N, I, H, D))
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
    if grad_output is None:
        grad_output = zeros((1, D * H), dtype)
    if grad_h_n is None:
        grad_h_n = zeros(dh_0.shape, dtype)
    if len(layout.empty):
        dh_0[:, layout.empty] = grad_h_n[:, layout.empty]
    work = 2 * layout.real_steps * D * H * (I + H)
    parts, blocks, slices = split(layout, work, D, True)
    width = LANES[dtype]
    widths = padded(H, width), padded(I, width)
    part_size = BLOCK * (BLOCK_COLUMNS + max(widths)) + width * (1 + 2 * H)
    scratch = D * H * sum(widths) + max(widths) + parts * part_size
    places_in_rows = max(D * slices * 3 * N, 3 * parts * ROWS_AT_ONCE)
    arguments = (
        natives.table(dtype, recurrence.BACKWARD),
        dx, dh_0, gradients, delta, dh,
        grad_output, grad_h_n,
        x, h_0, output, weights, places,
        layout.index, layout.blocks(blocks),
        empty(scratch, dtype), empty(places_in_rows, int),
        tuple(layout.transitions(d == 1) for d in range(D)), part_size,
        layout.longest, N, I, H, D, F[nonlinearity], width, parts, packers(D * H * (I + H)), slices,
    )  # fmt: skip
    run(recurrence.rnn_backward, parts, arguments, work, _shape(dtype, N, I, H, D))
    return dx, dh if state_gradients else None


def linear_forward(x: np.ndarray, weights: np.ndarray, out_features: int) -> np.ndarray:
    """Y = x·wᵀ + b: x (M, I), weights w (O, I) and perhaps b (O,) in one vector, y (M, O)."""
    M, I = x.shape
    y = empty((M, out_features), x.dtype)
    work, width = M * I * out_features, LANES[x.dtype]
    parts = threads(work)
    arguments = (
        natives.table(x.dtype, linear.FORWARD), y, x, weights,
        np.arange(M), empty(padded(out_features, width) * (I + 1), x.dtype),
        empty(3 * parts * ROWS_AT_ONCE, int), M, I, out_features, width, parts,
        packers(I * out_features),
    )  # fmt: skip
    run(linear.linear_forward, parts, arguments, work, _shape(x.dtype, M, I, out_features))
    return y


def linear_backward(
    x: np.ndarray, weights: np.ndarray, out_features: int, grad_output: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return dx (M, I) and the gradients of the parameters, laid out as weights."""
    M, I = x.shape
    dx, gradients = empty(x.shape, x.dtype), zeros(weights.shape, x.dtype)
    work, width = 2 * M * I * out_features, LANES[x.dtype]
    parts = threads(work)
    across = padded(I, width)
    scratch = across * (out_features + 1) + parts * (BLOCK * (BLOCK_COLUMNS + across) + width)
    arguments = (
        natives.table(x.dtype, linear.BACKWARD),
        dx, gradients, grad_output, x, weights,
        np.arange(M), empty(scratch, x.dtype), empty(3 * parts * ROWS_AT_ONCE, int),
        M, I, out_features, width, parts,
        packers(I * out_features),
    )  # fmt: skip
    run(linear.linear_backward, parts, arguments, work, _shape(x.dtype, M, I, out_features))
    return dx, gradients


def dropout(x: np.ndarray, probability: float, key: int, layer: int) -> np.ndarray:
    """Drop elements of x by the mask that (key, layer) gives for its size."""
    out = empty(x.shape, x.dtype)
    scale = np.array([0.0 if probability == 1 else 1 / (1 - probability)], x.dtype)
    parts = threads(10 * x.size)
    arguments = (
        natives.table(x.dtype, _dropout.PLACES), out, x, scale,
        probability, key, layer, parts,
    )  # fmt: skip
    run(_dropout.dropout, parts, arguments, 10 * x.size)
    return out
