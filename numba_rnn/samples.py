"""Gradients of the parameters sample by sample: what each one adds to the whole gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from .chains import below
from .stack import Pass


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
    delta = dh * (1 - h * h if nonlinearity == "tanh" else h > 0)
    np.matmul(delta.T, x, out=out[w_ih : w_ih + H * I].reshape(H, I))
    dw_hh = out[w_hh : w_hh + H * H].reshape(H, H)
    if reverse:
        np.matmul(delta[:-1].T, h[1:], out=dw_hh)
    else:
        np.matmul(delta[1:].T, h[:-1], out=dw_hh)
    if L > 0:
        dw_hh += np.multiply.outer(delta[-1 if reverse else 0], h_0)
    if b_ih >= 0:
        out[b_ih : b_ih + H] = out[b_hh : b_hh + H] = delta.sum(axis=0)


def of_each_sample(done: Pass, of_states: list[Any]) -> np.ndarray:
    """Return the gradient of every sample, (N, P), from dL/dh_t of each layer, (R, D·H)."""
    stack, layout, H = done.stack, done.layout, done.stack.hidden_size
    samples = np.empty((layout.batch, done.weights.size), done.weights.dtype)
    inputs = [below(done, k) for k in range(len(stack._parts))]
    # A sample at a time: what is in between is small, and stays in the cache.
    each = zip(layout.order, layout.batch_row, layout.lengths, strict=True)
    for n, first, length in each:
        rows = layout.step_row[:length] + first
        for k, (span, states, starts) in enumerate(stack._parts):
            x, h, dh = inputs[k][rows], done.outputs[k][rows], of_states[k][rows]
            for d in range(stack.directions):
                own = slice(d * H, (d + 1) * H)
                sample_gradient(
                    starts[d], dh[:, own], x, h[:, own], done.h_0[states][d, n], d == 1,
                    stack.nonlinearity, samples[n, span],
                )  # fmt: skip
    return samples
