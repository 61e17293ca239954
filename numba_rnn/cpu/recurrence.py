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

All arrays are in C order, and natives see pointers; the shapes are in the comments. Rows are
independent, and each element is summed in one order: the result is the same however the work is
split. A split has
`blocks` ranges of samples, each of which walks through time alone; or, where a few samples meet a
large H, `slices` ranges of hidden units, which meet after every step.
"""

from __future__ import annotations

from .build import (
    Int,
    Numbers,
    Table,
    advance,
    call,
    frame_of,
    kernel,
    launch,
    launch_again,
    natives,
    shell,
)
from .products import (
    AFFINE_BAND,
    BLOCK,
    BLOCK_COLUMNS,
    COLUMN_SUMS,
    DELTA_BAND,
    MAP_ROWS,
    OUTER_PRODUCT,
    PACK_STRAIGHT,
    PACK_TRANSPOSED,
    RNN_GRADIENTS,
    RNN_PACK,
    RNN_PACK_BACK,
    RNN_STEPS,
    RNN_STEPS_BACK,
    ROWS_AT_ONCE,
    affine_rows,
    delta_rows,
    panels,
    panels_at_once,
    range_of,
    vectors,
)
from .tile import TILE_ROWS, WIDEST

FORWARD = (PACK_TRANSPOSED, RNN_PACK, AFFINE_BAND, RNN_STEPS)
BACKWARD = (
    PACK_STRAIGHT, RNN_PACK_BACK, DELTA_BAND, RNN_STEPS_BACK,
    AFFINE_BAND, MAP_ROWS, OUTER_PRODUCT, COLUMN_SUMS, RNN_GRADIENTS,
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


@natives.task(RNN_PACK)
def rnn_pack(
    part: Int, bands: Table, w_ih: Numbers, w_hh: Numbers, bias: Numbers, weights: Numbers,
    at: Table, I: Int, H: Int, D: Int, lanes: Int, parts: Int,
):  # fmt: skip
    """Pack a part of w_ihᵀ, w_hhᵀ and b_ih + b_hh of all directions."""
    V = panels(H, lanes)
    v0, v1 = range_of(part, parts, V, 1)
    for d in range(D):
        place = d * V * lanes
        source = (weights, at[4 * d])
        call(bands[PACK_TRANSPOSED], ((w_ih, place * I), source, H, I, lanes, v0, v1))
        source = (weights, at[4 * d + 1])
        call(bands[PACK_TRANSPOSED], ((w_hh, place * H), source, H, H, lanes, v0, v1))
        b_ih, b_hh = at[4 * d + 2], at[4 * d + 3]
        for j in range(v0 * lanes, v1 * lanes):
            real = j < H and b_ih >= 0
            bias[place + j] = weights[b_ih + j] + weights[b_hh + j] if real else 0


@natives.task(RNN_STEPS)
def rnn_steps(
    task: Int,
    bands: Table,
    output: Numbers,  # (R, D, H)
    h_n: Numbers,  # (D, N, H)
    x: Numbers,  # (R, I)
    h_0: Numbers,  # (D, N, H)
    w_ih: Numbers,  # packed w_ihᵀ of each direction
    w_hh: Numbers,  # packed w_hhᵀ
    bias: Numbers,  # b_ih + b_hh, padded to whole panels
    step_row: Table, batch_row: Table, lengths: Table, order: Table,
    bounds: Table, blocks: Int, slices: Int,
    tables: Table,  # scratch: (D, slices, 3·N)
    N: Int, I: Int, H: Int, D: Int, f: Int, s0: Int, s1: Int, lanes: Int,
):  # fmt: skip
    """Steps s0:s1 of one block of samples, one slice of hidden units, one direction."""
    V = panels(H, lanes)
    d, block = task // (blocks * slices), task // slices % blocks
    n0, n = bounds[block], bounds[block + 1] - bounds[block]
    v0, v1 = range_of(task % slices, slices, vectors(H, lanes), WIDEST)
    w_ih, w_hh = advance(w_ih, d * V * lanes * I), advance(w_hh, d * V * lanes * H)
    bias = advance(bias, d * V * lanes)
    x_at = advance(tables, 3 * (N * (d * slices + task % slices) + n0))
    h_at, out_at = advance(x_at, n), advance(x_at, 2 * n)
    step = panels_at_once(I + H, lanes)
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
            bands, output, out_at, n, v0, v1, step, H, bias, x, x_at, w_ih, I, h, h_at, w_hh, H, f
        )
        for i in range(n):
            if lengths[n0 + i] == s + 1:  # the last step of a sample
                state = (d * N + order[n0 + i]) * H
                for j in range(v0 * lanes, min(v1 * lanes, H)):
                    h_n[state + j] = output[out_at[i] + j]


@shell
def rnn_forward(
    launcher,  # 0, or the address of the parallel one
    bands,  # table of natives
    output,  # (R, D, H), zeros where a row is no real step
    h_n,  # (D, N, H), filled where a sample has a step
    x,  # (R, I)
    h_0,  # (D, N, H)
    weights,  # flat: every parameter of the layer
    at,  # (D, 4): where w_ih, w_hh, b_ih, b_hh start in it, biases at -1 where there are none
    index,  # step_row (steps), batch_row (N), lengths (N), order (N), one after the other
    bounds,  # (blocks + 1,): the samples of each block
    scratch,  # D·V·LANES·(I + H + 1)
    tables,  # D·slices·3·N
    L, N, I, H, D, f, lanes, parts, packers, slices,
):  # fmt: skip
    """Run a layer forward."""
    width = D * panels(H, lanes) * lanes
    w_ih, w_hh, bias = (scratch, 0), (scratch, width * I), (scratch, width * (I + H))
    frame = frame_of((bands, w_ih, w_hh, bias, weights, at, I, H, D, lanes, packers))
    launch(launcher, bands[RNN_PACK], packers, frame)

    blocks, steps = len(bounds) - 1, len(index) - 3 * N
    batch_row, lengths, order = (index, steps), (index, steps + N), (index, steps + 2 * N)
    stride = max(L, 1) if slices == 1 else 1  # slices of hidden units meet after every step
    step_work = N * D * H * (I + H) * stride
    for s in range(0, L, stride):
        frame = frame_of(
            (bands, output, h_n, x, h_0, w_ih, w_hh, bias, index, batch_row, lengths, order,
             bounds, blocks, slices, tables, N, I, H, D, f, s, s + stride, lanes)
        )  # fmt: skip
        launcher = launch_again(launcher, bands[RNN_STEPS], D * blocks * slices, frame, step_work)


# --- backward -----------------------------------------------------------------------------------


@natives.task(RNN_PACK_BACK)
def rnn_pack_back(
    part: Int, bands: Table, w_ih: Numbers, w_hh: Numbers, weights: Numbers, at: Table,
    I: Int, H: Int, D: Int, lanes: Int, parts: Int,
):  # fmt: skip
    """Pack a part of w_ih and w_hh of all directions."""
    V, V_in = panels(H, lanes), panels(I, lanes)
    v0, v1 = range_of(part, parts, V, 1)
    u0, u1 = range_of(part, parts, V_in, 1)
    for d in range(D):
        packed, source = (w_ih, d * V_in * lanes * H), (weights, at[4 * d])
        call(bands[PACK_STRAIGHT], (packed, source, I, H, lanes, u0, u1))
        packed, source = (w_hh, d * V * lanes * H), (weights, at[4 * d + 1])
        call(bands[PACK_STRAIGHT], (packed, source, H, H, lanes, v0, v1))


@natives.task(RNN_STEPS_BACK)
def rnn_steps_back(
    task: Int,
    bands: Table,
    delta: Numbers,  # (R, D, H)
    dh: Numbers,  # (R, D, H), where `keep` asks for it
    grad_output: Numbers,  # (R, D, H), or with `one_row` a single row of zeros
    grad_h_n: Numbers,  # (D, N, H)
    output: Numbers,  # (R, D, H)
    w_hh: Numbers,  # packed w_hh of each direction
    step_row: Table, batch_row: Table, lengths: Table, order: Table,
    bounds: Table, blocks: Int, slices: Int,
    tables: Table,  # scratch: (D, slices, 3·N)
    one_row: Int, keep: Int, N: Int, H: Int, D: Int, f: Int, s0: Int, s1: Int, lanes: Int,
):  # fmt: skip
    """Steps s0:s1, last first, of one block of samples, one slice of units, one direction."""
    V = panels(H, lanes)
    d, block = task // (blocks * slices), task // slices % blocks
    n0, n1 = bounds[block], bounds[block + 1]
    v0, v1 = range_of(task % slices, slices, vectors(H, lanes), WIDEST)
    w_hh = advance(w_hh, d * V * lanes * H)
    at = advance(tables, 3 * (N * (d * slices + task % slices) + n0))
    g_at, later_at = advance(at, n1 - n0), advance(at, 2 * (n1 - n0))
    step = panels_at_once(H, lanes)
    going_on = alive(n1 - n0, n0, s1, lengths)
    for s in range(s1 - 1, s0 - 1, -1):
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
            bands, delta, at, going_on, v0, v1, step, H, grad_output, g_at, delta, later_at, w_hh,
            H, output, dh, keep, f,
        )  # fmt: skip
        # The last step of a sample: grad_h_n comes in place of what flows back from a later one.
        for i in range(going_on, n):
            state = (d * N + order[n0 + i]) * H
            for j in range(v0 * lanes, min(v1 * lanes, H)):
                delta[at[i] + j] = grad_output[g_at[i] + j] + grad_h_n[state + j]
        ending = advance(at, going_on)
        delta_rows(
            bands, delta, ending, n - going_on, v0, v1, step, H, delta, ending, delta, ending, w_hh,
            0, output, dh, keep, f,
        )  # fmt: skip
        going_on = n


@natives.task(RNN_GRADIENTS)
def rnn_gradients(
    part: Int,
    bands: Table,
    dx: Numbers, dh_0: Numbers, gradients: Numbers, delta: Numbers,
    x: Numbers, h_0: Numbers, output: Numbers,
    w_ih: Numbers, w_hh: Numbers,  # packed, of each direction
    at: Table, rows: Table, with_past: Table, past: Table, first: Table, sample: Table,
    zeros: Numbers, scratch: Numbers, tables: Table,
    K: Int, K_past: Int, K_first: Int, N: Int, I: Int, H: Int, D: Int, d: Int,
    lanes: Int, parts: Int, part_size: Int,
):  # fmt: skip
    """Part of the gradients of the input, h_0 and the parameters of direction d, from delta.

    A part is a range of rows of dx, of samples of dh_0, and of hidden units of the parameters.
    """
    V, V_in = panels(H, lanes), panels(I, lanes)
    tables = advance(tables, part * 3 * ROWS_AT_ONCE)
    width, both = D * H, D - 1
    if d == 0:  # both directions at once
        k0, k1 = range_of(part, parts, K, TILE_ROWS)
        call(
            bands[MAP_ROWS],
            (bands, dx, rows, I, 0, I, zeros, delta, rows, width, 0, w_ih, H,
             H * both, (w_ih, V_in * lanes * H * both), H * both, k0, k1, lanes, tables),
        )  # fmt: skip
    k0, k1 = range_of(part, parts, K_first, 1)
    own = (w_hh, d * V * lanes * H)
    call(
        bands[MAP_ROWS],
        (bands, dh_0, sample, H, d * N * H, H, zeros, delta, first, width, d * H, own, H,
         0, own, 0, k0, k1, lanes, tables),
    )  # fmt: skip

    j0, j1 = range_of(part, parts, H, TILE_ROWS)
    units, column = j1 - j0, d * H + j0
    packed_a = advance(scratch, part * part_size)
    packed_b = advance(packed_a, BLOCK * BLOCK_COLUMNS + lanes)
    dw_ih = (gradients, at[4 * d] + j0 * I)
    if I >= 2 * lanes:
        call(
            bands[OUTER_PRODUCT],
            (dw_ih, I, delta, rows, width, column, units, x, rows, I, 0, I, K,
             packed_a, packed_b, lanes),
        )  # fmt: skip
    else:  # few inputs would leave most of a vector empty: compute the transpose
        transposed = advance(packed_b, BLOCK * lanes * max(V, V_in))
        for i in range(I * units):
            transposed[i] = 0
        call(
            bands[OUTER_PRODUCT],
            (transposed, units, x, rows, I, 0, I, delta, rows, width, column, units, K,
             packed_a, packed_b, lanes),
        )  # fmt: skip
        for j in range(units):
            for i in range(I):
                gradients[at[4 * d] + (j0 + j) * I + i] = transposed[i * units + j]
    dw_hh = (gradients, at[4 * d + 1] + j0 * H)
    call(
        bands[OUTER_PRODUCT],
        (dw_hh, H, delta, with_past, width, column, units, output, past, width, d * H, H, K_past,
         packed_a, packed_b, lanes),
    )  # fmt: skip
    call(
        bands[OUTER_PRODUCT],
        (dw_hh, H, delta, first, width, column, units, h_0, sample, H, d * N * H, H, K_first,
         packed_a, packed_b, lanes),
    )  # fmt: skip
    db_ih, db_hh = at[4 * d + 2], at[4 * d + 3]
    if db_ih >= 0:
        call(
            bands[COLUMN_SUMS],
            ((gradients, db_ih + j0), delta, rows, width, column, units, K, packed_a),
        )
        for j in range(j0, j1):
            gradients[db_hh + j] = gradients[db_ih + j]


@shell
def rnn_backward(
    launcher,
    bands,
    dx,  # (R, I), zeros where a row is no real step
    dh_0,  # (D, N, H), zeros
    gradients,  # flat, zeros: every parameter of the layer
    delta,  # (R, D, H), scratch
    dh,  # (R, D, H), zeros, or empty where state gradients aren't asked for
    grad_output,  # (R, D, H), or (1, D, H) zeros
    grad_h_n,  # (D, N, H)
    x,  # (R, I)
    h_0,  # (D, N, H)
    output,  # (R, D, H)
    weights, at, index, bounds,
    scratch,  # D·LANES·(V + V_in)·H + LANES·max(V, V_in) + parts·part_size
    tables,  # max(D·slices·3·N, parts·3·ROWS_AT_ONCE)
    transitions,  # of each direction, see Layout.transitions
    part_size,  # BLOCK·(BLOCK_COLUMNS + LANES·max(V, V_in)) + LANES·(1 + 2·H)
    L, N, I, H, D, f, lanes, parts, packers, slices,
):  # fmt: skip
    """Run a layer backward; the arguments it shares with `rnn_forward` are the same."""
    V, V_in = panels(H, lanes), panels(I, lanes)
    width, width_in = V * lanes, V_in * lanes
    w_ih, w_hh = (scratch, 0), (scratch, D * width_in * H)
    zeros = D * (width + width_in) * H
    for j in range(zeros, zeros + max(width, width_in)):
        scratch[j] = 0
    frame = frame_of((bands, w_ih, w_hh, weights, at, I, H, D, lanes, packers))
    launch(launcher, bands[RNN_PACK_BACK], packers, frame)

    blocks, steps = len(bounds) - 1, len(index) - 3 * N
    batch_row, lengths, order = (index, steps), (index, steps + N), (index, steps + 2 * N)
    one_row, keep = int(len(grad_output) < len(output)), int(len(dh) > 0)
    stride = max(L, 1) if slices == 1 else 1
    step_work = N * D * H * H * stride
    for last in range(L, 0, -stride):
        frame = frame_of(
            (bands, delta, dh, grad_output, grad_h_n, output, w_hh,
             index, batch_row, lengths, order, bounds, blocks, slices, tables,
             one_row, keep, N, H, D, f, last - stride, last, lanes)
        )  # fmt: skip
        launcher = launch_again(
            launcher, bands[RNN_STEPS_BACK], D * blocks * slices, frame, step_work
        )

    for d in range(D):
        rows, with_past, past, first, sample = transitions[d]
        frame = frame_of(
            (bands, dx, dh_0, gradients, delta, x, h_0, output, w_ih, w_hh, at,
             rows, with_past, past, first, sample, (scratch, zeros),
             (scratch, zeros + max(width, width_in)), tables,
             len(rows), len(past), len(first), N, I, H, D, d, lanes, parts, part_size)
        )  # fmt: skip
        launch(launcher, bands[RNN_GRADIENTS], parts, frame)
