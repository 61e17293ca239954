"""One layer of the Elman RNN, both directions: the forward pass and its backward, side by side.

    h_t     = f(b_ih + b_hh + x_t·w_ihᵀ + h_{t-1}·w_hhᵀ)  forward
    dh_t    = g_t + delta_{t+1}·w_hh                       backward, g_t = dL/d(output_t)
    delta_t = dh_t · f'(h_t)                               the gradient at the sum inside f
    dx_t    = delta_t·w_ih      dw_ih = Σ_t delta_tᵀ·x_t   products, once delta is known
    dh_0    = delta_0·w_hh      dw_hh = Σ_t delta_tᵀ·h_{t-1}          db = Σ_t delta_t

Symbols: L steps, N samples, I input size, H hidden size, D directions; R rows of memory.
Rows: step t of sample n lies in row step_row[t] + batch_row[n], whether the input is padded, batch
first or packed (see layout.py). Samples come longest first, so those still alive are the first.
Steps: s counts the steps of a direction, 0, 1, ... from its own start: t = s forward, and
t = length - 1 - s in reverse, so that both directions start together and end with the length.

All arrays are 1-D views in C order; the shapes are in the comments. Rows are independent, and each
element is summed in one order: the result is the same however the work is split. A split has
`blocks` ranges of samples, each of which walks through time alone; or, where a few samples meet a
large H, `slices` ranges of hidden units, which meet after every step.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from .build import Shell, kernel
from .packing import pack_straight, pack_transposed, panels
from .products import affine_rows, column_sums, delta_rows, outer_product, range_of
from .tile import IDENTITY, TANH, TILE_ROWS, WIDEST


@kernel
def row_of(s, n, reverse, step_row, batch_row, lengths):
    """Row of memory of sample n at step s of a direction."""
    t = lengths[n] - 1 - s if reverse else s
    return step_row[t] + batch_row[n]


@kernel
def alive(n, first, s, lengths):
    """How many of the samples first:first+n have a step s."""
    while n > 0 and lengths[first + n - 1] <= s:
        n -= 1
    return n


# --- forward ------------------------------------------------------------------------------------


@kernel
def forward_steps(
    bands, output,  # (R, D, H)
    x,  # (R, I)
    h_0,  # (D, N, H)
    w_ih,  # packed w_ihᵀ of the direction
    w_hh,  # packed w_hhᵀ
    bias,  # b_ih + b_hh, padded to whole panels
    step_row, batch_row, lengths, order,
    I, H, D, d, f, n0, n1, s0, s1, v0, v1, lanes,
):  # fmt: skip
    """Steps s0:s1 of samples n0:n1, hidden units of panels v0:v1, in direction d."""
    n = n1 - n0
    N = len(lengths)
    x_at, h_at, out_at = np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n, np.int64)
    for s in range(s0, s1):
        n = alive(n, n0, s, lengths)
        if n == 0:
            break
        for i in range(n):
            row = row_of(s, n0 + i, d == 1, step_row, batch_row, lengths)
            x_at[i] = row * I
            out_at[i] = (row * D + d) * H
            if s == 0:
                h_at[i] = (d * N + order[n0 + i]) * H
            else:
                row = row_of(s - 1, n0 + i, d == 1, step_row, batch_row, lengths)
                h_at[i] = (row * D + d) * H
        h = h_0 if s == 0 else output
        affine_rows(
            bands, output, out_at, n, v0, v1, H, bias, x, x_at, w_ih, I, h, h_at, w_hh, H, f, lanes
        )


@Shell
def forward(
    bands,  # addresses of the tile's functions
    output,  # (R, D, H), zeros where a row is no real step
    h_n,  # (D, N, H)
    x,  # (R, I)
    h_0,  # (D, N, H)
    weights,  # flat: every parameter of the layer
    at,  # (D, 4): where w_ih, w_hh, b_ih, b_hh start in it, biases at -1 where there are none
    step_row, batch_row, lengths, order,  # (L,), (N,), (N,), (N,)
    bounds,  # (blocks + 1,): the samples of each block
    I, H, D, f, lanes, parts, slices,
):  # fmt: skip
    """Run a layer forward."""
    N = len(lengths)
    L = lengths[0] if N > 0 else 0
    V = panels(H, lanes)
    w_ih = np.empty((D, V * lanes * I), x.dtype)
    w_hh = np.empty((D, V * lanes * H), x.dtype)
    bias = np.empty((D, V * lanes), x.dtype)
    for part in prange(parts):
        v0, v1 = range_of(part, parts, V, 1)
        for d in range(D):
            pack_transposed(bands, w_ih[d], weights, at[d, 0], H, I, lanes, v0, v1)
            pack_transposed(bands, w_hh[d], weights, at[d, 1], H, H, lanes, v0, v1)
            for j in range(v0 * lanes, v1 * lanes):
                real = j < H and at[d, 2] >= 0
                bias[d, j] = weights[at[d, 2] + j] + weights[at[d, 3] + j] if real else 0

    blocks = len(bounds) - 1
    stride = max(L, 1) if slices == 1 else 1  # slices of hidden units meet after every step
    for s in range(0, L, stride):
        for task in prange(D * blocks * slices):
            d, rest = task // (blocks * slices), task % (blocks * slices)
            block, part = rest // slices, rest % slices
            v0, v1 = range_of(part, slices, V, WIDEST)
            forward_steps(
                bands, output, x, h_0, w_ih[d], w_hh[d], bias[d],
                step_row, batch_row, lengths, order,
                I, H, D, d, f, bounds[block], bounds[block + 1], s, s + stride, v0, v1, lanes,
            )  # fmt: skip

    for d in range(D):
        for n in range(N):
            state = (d * N + order[n]) * H
            if lengths[n] > 0:
                row = row_of(lengths[n] - 1, n, d == 1, step_row, batch_row, lengths)
                for j in range(H):
                    h_n[state + j] = output[(row * D + d) * H + j]
            else:
                for j in range(H):
                    h_n[state + j] = h_0[state + j]


# --- backward -----------------------------------------------------------------------------------


@kernel
def backward_steps(
    bands, delta,  # (R, D, H)
    dh,  # (R, D, H), or empty where it isn't asked for
    grad_output,  # (R, D, H), or one row of zeros
    grad_h_n,  # (D, N, H), or empty
    output,  # (R, D, H)
    w_hh,  # packed w_hh of the direction
    step_row, batch_row, lengths, order,
    H, D, d, f, n0, n1, s0, s1, v0, v1, lanes,
):  # fmt: skip
    """Steps s0:s1, last first, of samples n0:n1, hidden units of panels v0:v1, in direction d."""
    N = len(lengths)
    at, g_at = np.zeros(n1 - n0, np.int64), np.zeros(n1 - n0, np.int64)
    later_at = np.zeros(n1 - n0, np.int64)
    one_row = len(grad_output) < len(output)
    keep = len(dh) > 0
    for s in range(min(s1, lengths[n0]) - 1, s0 - 1, -1):
        n = alive(n1 - n0, n0, s, lengths)
        going_on = alive(n, n0, s + 1, lengths)  # samples that have a step s + 1
        for i in range(n):
            row = row_of(s, n0 + i, d == 1, step_row, batch_row, lengths)
            at[i] = (row * D + d) * H
            g_at[i] = d * H if one_row else at[i]
            if i < going_on:
                row = row_of(s + 1, n0 + i, d == 1, step_row, batch_row, lengths)
                later_at[i] = (row * D + d) * H
        delta_rows(
            bands, delta, at, going_on, v0, v1, H, grad_output, g_at, delta, later_at, w_hh, H,
            output, dh, keep, f, lanes,
        )  # fmt: skip
        for i in range(going_on, n):  # the last step of a sample: nothing comes from later
            for j in range(v0 * lanes, min(v1 * lanes, H)):
                gradient = grad_output[g_at[i] + j]
                if len(grad_h_n) > 0:
                    gradient += grad_h_n[(d * N + order[n0 + i]) * H + j]
                if keep:
                    dh[at[i] + j] = gradient
                h = output[at[i] + j]
                if f == TANH:
                    gradient *= 1 - h * h
                elif h <= 0:
                    gradient = 0
                delta[at[i] + j] = gradient


@kernel
def real_rows(reverse, step_row, batch_row, lengths, order):
    """Rows of all real steps, and which of them follow which state, for one direction.

    Returns `rows` (K,) in time order; `with_past` and `past`: the rows that have a step before
    them, and those steps' rows; `first` and `sample`: the rows of first steps, and whose they are.
    """
    N = len(lengths)
    starting = alive(N, 0, 0, lengths)
    K = 0
    for n in range(N):
        K += lengths[n]
    rows, with_past = np.empty(K, np.int64), np.empty(K - starting, np.int64)
    past = np.empty(K - starting, np.int64)
    first, sample = np.empty(starting, np.int64), np.empty(starting, np.int64)
    k, j, m, n = 0, 0, 0, N
    for t in range(lengths[0] if N > 0 else 0):
        n = alive(n, 0, t, lengths)
        for i in range(n):
            row = step_row[t] + batch_row[i]
            rows[k] = row
            k += 1
            before = t + 1 if reverse else t - 1
            if 0 <= before < lengths[i]:
                with_past[j] = row
                past[j] = step_row[before] + batch_row[i]
                j += 1
            else:
                first[m] = row
                sample[m] = order[i]
                m += 1
    return rows, with_past, past, first, sample


@kernel
def input_gradient(bands, dx, delta, w_ih, rows, k0, k1, I, H, D, zeros, lanes):
    """dx_t = delta_t·w_ih, summed over directions, for rows k0:k1 of the table."""
    at_once = 8 * TILE_ROWS
    to, forward_at = np.empty(at_once, np.int64), np.empty(at_once, np.int64)
    reverse_at = np.empty(at_once, np.int64)
    last = D - 1
    for start in range(k0, k1, at_once):
        n = min(at_once, k1 - start)
        for i in range(n):
            row = rows[start + i]
            to[i] = row * I
            forward_at[i] = row * D * H
            reverse_at[i] = (row * D + last) * H
        affine_rows(
            bands, dx, to, n, 0, panels(I, lanes), I, zeros, delta, forward_at, w_ih[0], H,
            delta, reverse_at, w_ih[last], H * last, IDENTITY, lanes,
        )  # fmt: skip


@kernel
def state_gradient(bands, dh_0, delta, w_hh, first, sample, d, i0, i1, N, H, D, zeros, lanes):
    """dh_0 = delta_0·w_hh for the samples that have a step."""
    to, delta_at = np.empty(i1 - i0, np.int64), np.empty(i1 - i0, np.int64)
    for i in range(i0, i1):
        to[i - i0] = (d * N + sample[i]) * H
        delta_at[i - i0] = (first[i] * D + d) * H
    affine_rows(
        bands, dh_0, to, i1 - i0, 0, panels(H, lanes), H, zeros, delta, delta_at, w_hh, H,
        delta, delta_at, w_hh, 0, IDENTITY, lanes,
    )  # fmt: skip


@kernel
def weight_gradients(
    bands, gradients, at, delta, x, output, h_0, rows, with_past, past, first, sample,
    I, H, D, d, j0, j1, lanes,
):  # fmt: skip
    """dw_ih, dw_hh, db_ih, db_hh of one direction, for hidden units j0:j1 (added to zeros)."""
    N = len(h_0) // (D * H)
    units, column, width = j1 - j0, d * H + j0, D * H
    if units == 0:
        return
    if I >= 2 * lanes:
        outer_product(
            bands,
            gradients,
            at[d, 0] + j0 * I,
            I,
            delta,
            rows,
            width,
            column,
            units,
            x,
            rows,
            I,
            0,
            I,
            lanes,
        )
    else:  # few inputs would leave most of a vector empty: compute the transpose
        transposed = np.zeros(I * units, x.dtype)
        outer_product(
            bands, transposed, 0, units, x, rows, I, 0, I, delta, rows, width, column, units, lanes
        )
        for j in range(units):
            for i in range(I):
                gradients[at[d, 0] + (j0 + j) * I + i] = transposed[i * units + j]
    w_hh = at[d, 1] + j0 * H
    outer_product(
        bands,
        gradients,
        w_hh,
        H,
        delta,
        with_past,
        width,
        column,
        units,
        output,
        past,
        width,
        d * H,
        H,
        lanes,
    )
    outer_product(
        bands,
        gradients,
        w_hh,
        H,
        delta,
        first,
        width,
        column,
        units,
        h_0,
        sample,
        H,
        d * N * H,
        H,
        lanes,
    )
    if at[d, 2] >= 0:
        column_sums(gradients, at[d, 2] + j0, delta, rows, width, column, units)
        for j in range(j0, j1):
            gradients[at[d, 3] + j] = gradients[at[d, 2] + j]


@Shell
def backward(
    bands,
    dx,  # (R, I), zeros where a row is no real step
    dh_0,  # (D, N, H)
    gradients,  # flat, zeros: every parameter of the layer
    delta,  # (R, D, H), scratch
    dh,  # (R, D, H), zeros, or empty where state gradients aren't asked for
    grad_output,  # (R, D, H), or (1, D, H) zeros
    grad_h_n,  # (D, N, H), or empty
    x,  # (R, I)
    h_0,  # (D, N, H)
    output,  # (R, D, H)
    weights, at, step_row, batch_row, lengths, order, bounds, I, H, D, f, lanes, parts, slices,
):  # fmt: skip
    """Run a layer backward; the arguments it shares with `forward` are those of `forward`."""
    N = len(lengths)
    L = lengths[0] if N > 0 else 0
    V, V_in = panels(H, lanes), panels(I, lanes)
    w_hh = np.empty((D, V * lanes * H), x.dtype)
    w_ih = np.empty((D, V_in * lanes * H), x.dtype)
    for part in prange(parts):
        v0, v1 = range_of(part, parts, V, 1)
        u0, u1 = range_of(part, parts, V_in, 1)
        for d in range(D):
            pack_straight(w_hh[d], weights, at[d, 1], H, H, lanes, v0, v1)
            pack_straight(w_ih[d], weights, at[d, 0], I, H, lanes, u0, u1)

    blocks = len(bounds) - 1
    stride = max(L, 1) if slices == 1 else 1
    for step in range(0, L, stride):
        s1 = L - step
        for task in prange(D * blocks * slices):
            d, rest = task // (blocks * slices), task % (blocks * slices)
            block, part = rest // slices, rest % slices
            v0, v1 = range_of(part, slices, V, WIDEST)
            backward_steps(
                bands, delta, dh, grad_output, grad_h_n, output, w_hh[d],
                step_row, batch_row, lengths, order,
                H, D, d, f, bounds[block], bounds[block + 1], s1 - stride, s1, v0, v1, lanes,
            )  # fmt: skip

    if len(grad_h_n) > 0:  # where a sample has no step, h_n is h_0
        for n in range(N):
            if lengths[n] == 0:
                for d in range(D):
                    for j in range(H):
                        state = (d * N + order[n]) * H + j
                        dh_0[state] = grad_h_n[state]
    zeros = np.zeros(max(V, V_in) * lanes, x.dtype)
    for d in range(D):
        rows, with_past, past, first, sample = real_rows(
            d == 1, step_row, batch_row, lengths, order
        )
        for part in prange(parts):
            if d == 0:
                k0, k1 = range_of(part, parts, len(rows), TILE_ROWS)
                input_gradient(bands, dx, delta, w_ih, rows, k0, k1, I, H, D, zeros, lanes)
            i0, i1 = range_of(part, parts, len(first), 1)
            state_gradient(
                bands, dh_0, delta, w_hh[d], first, sample, d, i0, i1, N, H, D, zeros, lanes
            )
            j0, j1 = range_of(part, parts, H, TILE_ROWS)
            weight_gradients(
                bands, gradients, at, delta, x, output, h_0, rows, with_past, past, first, sample,
                I, H, D, d, j0, j1, lanes,
            )  # fmt: skip
