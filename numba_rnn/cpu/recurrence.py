"""One layer of the Elman RNN, both directions: the forward pass and its backward, side by side.

    h_t     = f(b_ih + b_hh + x_t·w_ihᵀ + h_{t-1}·w_hhᵀ)   forward
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

from .build import Shell, advance, call, kernel, natives
from .products import (
    AFFINE_BAND,
    BACKWARD_STEPS,
    BLOCK,
    BLOCK_COLUMNS,
    COLUMN_SUMS,
    DELTA_BAND,
    FORWARD_STEPS,
    INPUT_GRADIENT,
    OUTER_PRODUCT,
    PACK_STRAIGHT,
    PACK_TRANSPOSED,
    affine_rows,
    delta_rows,
    panels,
    range_of,
)
from .tile import IDENTITY, TANH, TILE_ROWS, WIDEST

FORWARD = (PACK_TRANSPOSED, AFFINE_BAND, FORWARD_STEPS)
BACKWARD = (
    PACK_STRAIGHT, DELTA_BAND, BACKWARD_STEPS, AFFINE_BAND, INPUT_GRADIENT, OUTER_PRODUCT,
    COLUMN_SUMS,
)  # fmt: skip


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


@natives.add(FORWARD_STEPS)
def forward_steps(
    bands: Table,
    output: Numbers,  # (R, D, H)
    x: Numbers,  # (R, I)
    h_0: Numbers,  # (D, N, H)
    w_ih: Numbers,  # packed w_ihᵀ of the direction
    w_hh: Numbers,  # packed w_hhᵀ
    bias: Numbers,  # b_ih + b_hh, padded to whole panels
    step_row: Table, batch_row: Table, lengths: Table, order: Table,
    tables: Table,  # scratch: 3 (n1 - n0)
    N: Int, I: Int, H: Int, D: Int, d: Int, f: Int,
    n0: Int, n1: Int, s0: Int, s1: Int, v0: Int, v1: Int, lanes: Int,
):  # fmt: skip
    """Steps s0:s1 of samples n0:n1, hidden units of panels v0:v1, in direction d."""
    n = n1 - n0
    x_at, h_at, out_at = tables, advance(tables, n), advance(tables, 2 * n)
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
def rnn_forward(
    bands,  # table of natives
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
            call(bands[PACK_TRANSPOSED], (w_ih[d], (weights, at[d, 0]), H, I, lanes, v0, v1))
            call(bands[PACK_TRANSPOSED], (w_hh[d], (weights, at[d, 1]), H, H, lanes, v0, v1))
    for d in range(D):
        for j in range(V * lanes):
            real = j < H and at[d, 2] >= 0
            bias[d, j] = weights[at[d, 2] + j] + weights[at[d, 3] + j] if real else 0

    blocks = len(bounds) - 1
    tasks = D * blocks * slices
    tables = np.empty((tasks, 3 * N), np.int64)
    stride = max(L, 1) if slices == 1 else 1  # slices of hidden units meet after every step
    for s in range(0, L, stride):
        for task in prange(tasks):
            d, rest = task // (blocks * slices), task % (blocks * slices)
            block = rest // slices
            v0, v1 = range_of(rest % slices, slices, V, WIDEST)
            call(
                bands[FORWARD_STEPS],
                (bands, output, x, h_0, w_ih[d], w_hh[d], bias[d],
                 step_row, batch_row, lengths, order, tables[task],
                 N, I, H, D, d, f, bounds[block], bounds[block + 1], s, s + stride, v0, v1, lanes),
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


@natives.add(BACKWARD_STEPS)
def backward_steps(
    bands: Table,
    delta: Numbers,  # (R, D, H)
    dh: Numbers,  # (R, D, H), where `keep` asks for it
    grad_output: Numbers,  # (R, D, H), or with `one_row` a single row of zeros
    grad_h_n: Numbers,  # (D, N, H)
    output: Numbers,  # (R, D, H)
    w_hh: Numbers,  # packed w_hh of the direction
    step_row: Table, batch_row: Table, lengths: Table, order: Table,
    tables: Table,  # scratch: 3 (n1 - n0)
    one_row: Int, keep: Int,
    N: Int, H: Int, D: Int, d: Int, f: Int,
    n0: Int, n1: Int, s0: Int, s1: Int, v0: Int, v1: Int, lanes: Int,
):  # fmt: skip
    """Steps s0:s1, last first, of samples n0:n1, hidden units of panels v0:v1, in direction d."""
    at, g_at, later_at = tables, advance(tables, n1 - n0), advance(tables, 2 * (n1 - n0))
    going_on = alive(n1 - n0, n0, s1, lengths)
    for s in range(min(s1, lengths[n0]) - 1, s0 - 1, -1):
        # Samples that have a step s; of them, `going_on` have a step s + 1.
        n = going_on
        while n < n1 - n0 and lengths[n0 + n] > s:
            n += 1
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
                gradient = grad_output[g_at[i] + j] + grad_h_n[(d * N + order[n0 + i]) * H + j]
                if keep:
                    dh[at[i] + j] = gradient
                h = output[at[i] + j]
                if f == TANH:
                    gradient *= 1 - h * h
                elif h <= 0:
                    gradient = 0
                delta[at[i] + j] = gradient
        going_on = n


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


@natives.add(INPUT_GRADIENT)
def input_gradient(
    bands: Table,
    out: Numbers, out_rows: Table, out_stride: Int, out_column: Int, width: Int,
    delta: Numbers, delta_rows: Table, H: Int, D: Int, d: Int,
    wa: Numbers, wb: Numbers, k0: Int, k1: Int, zeros: Numbers, tables: Table, lanes: Int,
):  # fmt: skip
    """out = delta·w of direction d, or with d < 0 of both: dx_t = delta_t·w_ih, dh_0 = delta_0·w_hh.

    wa and wb are the packed w of the directions, k0:k1 a range of the tables of rows.
    """
    at_once = 8 * TILE_ROWS
    to, a_at, b_at = tables, advance(tables, at_once), advance(tables, 2 * at_once)
    both = d < 0
    for start in range(k0, k1, at_once):
        n = min(at_once, k1 - start)
        for i in range(n):
            to[i] = out_rows[start + i] * out_stride + out_column
            a_at[i] = (delta_rows[start + i] * D + (0 if both else d)) * H
            b_at[i] = (delta_rows[start + i] * D + 1) * H if both else 0
        affine_rows(
            bands, out, to, n, 0, panels(width, lanes), width, zeros, delta, a_at, wa, H,
            delta, b_at, wb, H if both else 0, IDENTITY, lanes,
        )  # fmt: skip


@Shell
def rnn_backward(
    bands,
    dx,  # (R, I), zeros where a row is no real step
    dh_0,  # (D, N, H)
    gradients,  # flat, zeros: every parameter of the layer
    delta,  # (R, D, H), scratch
    dh,  # (R, D, H), zeros, or empty where state gradients aren't asked for
    grad_output,  # (R, D, H), or (1, D, H) zeros
    grad_h_n,  # (D, N, H)
    x,  # (R, I)
    h_0,  # (D, N, H)
    output,  # (R, D, H)
    weights, at, step_row, batch_row, lengths, order, bounds, I, H, D, f, lanes, parts, slices,
):  # fmt: skip
    """Run a layer backward; the arguments it shares with `rnn_forward` are the same."""
    N = len(lengths)
    L = lengths[0] if N > 0 else 0
    V, V_in = panels(H, lanes), panels(I, lanes)
    w_hh = np.empty((D, V * lanes * H), x.dtype)
    w_ih = np.empty((D, V_in * lanes * H), x.dtype)
    for part in prange(parts):
        v0, v1 = range_of(part, parts, V, 1)
        u0, u1 = range_of(part, parts, V_in, 1)
        for d in range(D):
            call(bands[PACK_STRAIGHT], (w_hh[d], (weights, at[d, 1]), H, H, lanes, v0, v1))
            call(bands[PACK_STRAIGHT], (w_ih[d], (weights, at[d, 0]), I, H, lanes, u0, u1))

    blocks = len(bounds) - 1
    tasks = D * blocks * slices
    tables = np.empty((max(tasks, parts), max(3 * N, 24 * TILE_ROWS)), np.int64)
    one_row, keep = int(len(grad_output) < len(output)), int(len(dh) > 0)
    stride = max(L, 1) if slices == 1 else 1
    for step in range(0, L, stride):
        s1 = L - step
        for task in prange(tasks):
            d, rest = task // (blocks * slices), task % (blocks * slices)
            block = rest // slices
            v0, v1 = range_of(rest % slices, slices, V, WIDEST)
            if bounds[block] < bounds[block + 1]:
                call(
                    bands[BACKWARD_STEPS],
                    (bands, delta, dh, grad_output, grad_h_n, output, w_hh[d],
                     step_row, batch_row, lengths, order, tables[task], one_row, keep,
                     N, H, D, d, f, bounds[block], bounds[block + 1], s1 - stride, s1, v0, v1,
                     lanes),
                )  # fmt: skip

    for n in range(N):
        if lengths[n] == 0:  # h_n is h_0
            for d in range(D):
                for j in range(H):
                    state = (d * N + order[n]) * H + j
                    dh_0[state] = grad_h_n[state]
    zeros = np.zeros(max(V, V_in) * lanes, x.dtype)
    scratch_a = np.empty((parts, BLOCK * BLOCK_COLUMNS + lanes), x.dtype)
    scratch_b = np.empty((parts, BLOCK * lanes * max(V, V_in)), x.dtype)
    transposed = np.zeros((parts, I * H if I < 2 * lanes else 0), x.dtype)
    width = D * H
    for d in range(D):
        rows, with_past, past, first, sample = real_rows(
            d == 1, step_row, batch_row, lengths, order
        )
        K, past_count, first_count = len(rows), len(past), len(first)
        for part in prange(parts):
            if d == 0:
                k0, k1 = range_of(part, parts, K, TILE_ROWS)
                call(
                    bands[INPUT_GRADIENT],
                    (bands, dx, rows, I, 0, I, delta, rows, H, D, -1 if D == 2 else 0,
                     w_ih[0], w_ih[D - 1], k0, k1, zeros, tables[part], lanes),
                )  # fmt: skip
            k0, k1 = range_of(part, parts, first_count, 1)
            call(
                bands[INPUT_GRADIENT],
                (bands, dh_0, sample, H, d * N * H, H, delta, first, H, D, d,
                 w_hh[d], w_hh[d], k0, k1, zeros, tables[part], lanes),
            )  # fmt: skip

            # Gradients of the parameters of hidden units j0:j1.
            j0, j1 = range_of(part, parts, H, TILE_ROWS)
            units, column = j1 - j0, d * H + j0
            scratch = scratch_a[part], scratch_b[part]
            if I >= 2 * lanes:
                call(
                    bands[OUTER_PRODUCT],
                    ((gradients, at[d, 0] + j0 * I), I, delta, rows, width, column, units,
                     x, rows, I, 0, I, K, scratch[0], scratch[1], lanes),
                )  # fmt: skip
            else:  # few inputs would leave most of a vector empty: compute the transpose
                t = transposed[part]
                for i in range(I * units):
                    t[i] = 0
                call(
                    bands[OUTER_PRODUCT],
                    (t, units, x, rows, I, 0, I, delta, rows, width, column, units, K,
                     scratch[0], scratch[1], lanes),
                )  # fmt: skip
                for j in range(units):
                    for i in range(I):
                        gradients[at[d, 0] + (j0 + j) * I + i] = t[i * units + j]
            w_hh_at = at[d, 1] + j0 * H
            call(
                bands[OUTER_PRODUCT],
                ((gradients, w_hh_at), H, delta, with_past, width, column, units,
                 output, past, width, d * H, H, past_count, scratch[0], scratch[1], lanes),
            )  # fmt: skip
            call(
                bands[OUTER_PRODUCT],
                ((gradients, w_hh_at), H, delta, first, width, column, units,
                 h_0, sample, H, d * N * H, H, first_count, scratch[0], scratch[1], lanes),
            )  # fmt: skip
            if at[d, 2] >= 0:
                call(
                    bands[COLUMN_SUMS],
                    ((gradients, at[d, 2] + j0), delta, rows, width, column, units, K, scratch[0]),
                )
                for j in range(j0, j1):
                    gradients[at[d, 3] + j] = gradients[at[d, 2] + j]
