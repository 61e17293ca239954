"""Gradients of the parameters sample by sample: what each one adds to the whole gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from .chains import below
from .stack import Pass

SINGLE = (1 << 19) - 1  # multiplications up to which OpenBLAS, NumPy's usual one, starts no threads


def sample_gradient(
    starts: np.ndarray,
    dh: np.ndarray,
    x: np.ndarray,
    h: np.ndarray,
    h_0: np.ndarray,
    reverse: bool,
    nonlinearity: str,
    out: np.ndarray,
) -> None:
    """Fill in the gradient of one sample for the parameters of one layer and direction.

    Parameters
    ----------
    starts : ndarray of int64, shape (4,)
        Where w_ih, w_hh, b_ih, b_hh start in P, -1 for no bias.
    dh : ndarray, shape (L, H)
        dL/dh_t of the sample's own steps, of which there are L.
    x : ndarray, shape (L, I)
    h : ndarray, shape (L, H)
    h_0 : ndarray, shape (H,)
    reverse : bool
    out : ndarray, shape (P,)
        Of the layer.
    """
    (L, H), I = dh.shape, x.shape[1]
    w_ih, w_hh, b_ih, b_hh = starts
    delta = h * h if nonlinearity == "tanh" else (h > 0).astype(h.dtype)
    if nonlinearity == "tanh":
        np.subtract(1, delta, out=delta)
    delta *= dh
    before = np.empty_like(delta)
    if L > 0:
        before[-1 if reverse else 0] = h_0
        before[slice(L - 1) if reverse else slice(1, L)] = h[1:] if reverse else h[:-1]
    _multiply(delta.T, np.ascontiguousarray(x), out[w_ih : w_ih + H * I].reshape(H, I))
    _multiply(delta.T, before, out[w_hh : w_hh + H * H].reshape(H, H))
    if b_ih >= 0:
        out[b_ih : b_ih + H] = out[b_hh : b_hh + H] = delta.sum(axis=0)


def _multiply(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    """Out = a·b, in pieces for which OpenBLAS starts no threads: they would wait for each other."""
    (m, k), n = a.shape, b.shape[1]
    rows = max(8, SINGLE // max(1, k * n) // 8 * 8)
    for i in range(0, m, rows):
        np.matmul(a[i : i + rows], b, out=out[i : i + rows])


def of_each_sample(done: Pass, of_states: list[Any]) -> np.ndarray:
    """Return the gradient of every sample, (N, P), from dL/dh_t of each layer, (R, D·H)."""
    stack, layout, H = done.stack, done.layout, done.stack.hidden_size
    samples = np.empty((layout.batch, done.weights.size), done.weights.dtype)
    inputs = [below(done, k) for k in range(len(stack._parts))]
    apart = int(layout.step_row[1] - layout.step_row[0]) if layout.steps > 1 else 1
    # A sample at a time: what is in between is small, and stays in the cache.
    each = zip(layout.order, layout.batch_row, layout.lengths, strict=True)
    for n, first, length in each:
        rows: Any = layout.step_row[:length] + first
        if layout.packing is None:  # equally far apart: a view will do
            rows = slice(first, first + (length - 1) * apart + 1, apart) if length else slice(0)
        for k, (span, states, kind) in enumerate(stack._parts):
            x, h, dh = inputs[k][rows], done.outputs[k][rows], of_states[k][rows]
            for d in range(stack.directions):
                own = slice(d * H, (d + 1) * H)
                sample_gradient(
                    kind.places[d], dh[:, own], x, h[:, own], done.h_0[states][d, n], d == 1,
                    stack.nonlinearity, samples[n, span],
                )  # fmt: skip
    return samples
