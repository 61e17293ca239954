"""One layer of the Elman RNN, both directions: the forward pass and its backward, side by side.

    h_t     = f(b_ih + b_hh + x_t·w_ihᵀ + h_{t-1}·w_hhᵀ)   forward, (1) of reference.py
    dh_t    = g_t + delta_{t+1}·w_hh                       backward, g_t = dL/d(output_t)
    delta_t = dh_t · f'(h_t)                               the gradient at the sum inside f
    dx_t    = delta_t·w_ih      dw_ih = Σ_t delta_tᵀ·x_t   products, once delta is known
    dh_init = delta_0·w_hh      dw_hh = Σ_t delta_tᵀ·h_{t-1}          db = Σ_t delta_t

t + 1 is the step computed after t; at the one computed last grad_h_n stands for delta_{t+1}·w_hh.

Symbols: L steps, N samples, I input size, H hidden size, D directions; R rows of memory.
Rows: step t of sample n lies in row step_row[t] + batch_row[n], whether the input is padded, batch
first or packed (see layout.py). Samples come longest first, so those still alive are the first.
Steps: s counts the steps of a direction, 0, 1, ... from its own start: t = s forward, and
t = length - 1 - s in reverse, so that both directions start together and end with the length.

Threads: each takes tasks. A task walks one range of samples, in one direction, through all steps;
nobody waits. Where a few samples meet a large H, threads share the samples instead, and each takes
a slice of the hidden units at every step (see marks.py). Gradients of parameters are split by
hidden units: an element is summed over all steps and samples by one thread, in one order. So the
result is the same, to the last bit, however the work is split.
"""

from __future__ import annotations

from typing import ClassVar

from numba import prange

from .marks import LATE, PATIENCE, mark, set_mark, wait
from .native import inline, native, twins
from .products import (
    ROWS_AT_ONCE,
    Columns,
    Factor,
    Rows,
    Source,
    affine_rows,
    column_sums,
    delta_rows,
    map_rows,
    outer_product,
    pack_straight,
    pack_transposed,
    padded,
    panels,
    product_size,
    range_of,
    vectors,
)
from .structures import Int, Numbers, Structure, Table, at
from .tile import TILE_ROWS, WIDEST, lanes_of, prefetch


class Layer(Structure):
    """What both passes of a layer are given; flat, in C order."""

    L: Int  # steps of the longest sample
    N: Int  # samples
    I: Int  # inputs
    H: Int  # hidden units
    D: Int  # directions
    f: Int  # TANH or RELU
    # how the work is split
    packers: Int  # parts of the weights to pack
    blocks: Int  # ranges of samples
    slices: Int  # ranges of hidden units
    bounds: Table  # IN (blocks + 1,): the samples of each block
    # where the rows of a step lie
    step_row: Table  # IN (L,)
    batch_row: Table  # IN (N,)
    lengths: Table  # IN (N,)
    order: Table  # IN (N,): place of a sample in h_0 and h_n
    # the layer, and what goes into it and comes out
    weights: Numbers  # IN (P,)
    places: Table  # IN (D, 4): where w_ih, w_hh, b_ih, b_hh start in weights, no bias at -1
    x: Numbers  # IN (R, I)
    h_0: Numbers  # IN (D, N, H)
    output: Numbers  # OUT of forward, IN of backward (R, D, H); 0 where a row is no real step
    # scratch
    packed_ih: Numbers
    packed_hh: Numbers
    table: Int  # entries of a task's table of rows
    row_tables: Table
    marks: Table  # zeros


class Forward(Layer):
    """What a forward pass is given besides."""

    arrays: ClassVar = {
        "weights": 1,
        "places": 2,
        "x": 2,
        "h_0": 3,
        "output": 2,
        "h_n": 3,
    }  # and their axes

    h_n: Numbers  # OUT (D, N, H), where a sample has a step
    packed_bias: Numbers  # scratch
    projected: Numbers  # scratch of few.py


class Backward(Layer):
    """What a backward pass is given besides."""

    arrays: ClassVar = {
        "weights": 1, "places": 2, "x": 2, "h_0": 3, "output": 2, "grad_output": 2, "grad_h_n": 3,
        "dx": 2, "dh_init": 3, "gradients": 1, "dh": 2, "delta": 2,
    }  # fmt: skip

    parts: Int  # ranges of rows and hidden units for the gradients
    # which step follows which, see tables.follow
    steps: Int
    successions: Int
    starts: Int
    rows: Table  # IN (steps,): all real ones
    earlier: Table  # IN (successions,)
    later: Table  # IN (successions,)
    first: Table  # IN (starts,): first steps, of the samples in `sample`
    first_in_reverse: Table  # IN (starts,)
    sample: Table  # IN (starts,)
    # gradients that come in
    one_row: Int  # whether grad_output is a single row of zeros
    grad_output: Numbers  # IN (R, D·H)
    grad_h_n: Numbers  # IN (D, N, H)
    # gradients that go out
    dx: Numbers  # OUT (R, I); zeros where a row is no real step
    dh_init: Numbers  # OUT (D, N, H), zeros: of the initial state h_0; that of step 0 is in dh
    gradients: Numbers  # OUT (P,), zeros: as weights
    keep: Int  # whether dh is asked for
    dh: Numbers  # OUT (R, D, H): dL/dh_t of every step
    # scratch
    delta: Numbers  # (R, D, H)
    ending: Numbers
    zeros: Numbers  # IN: as many as a row of dx or h has, and more
    product_size: Int
    products: Numbers  # (parts, product_size)
    transposed: Numbers


# --- samples and steps ----------------------------------------------------------------------------


@inline
def row_of(p, d, n, s):
    """Row of memory of sample n at step s of a direction."""
    t = p.lengths[n] - 1 - s if d == 1 else s
    return p.step_row[t] + p.batch_row[n]


@inline
def alive(p, n0, n, s):
    """How many of the samples n0:n0+n have a step s."""
    while n > 0 and p.lengths[n0 + n - 1] <= s:
        n -= 1
    return n


@inline
def share_of(p, task):
    """Direction, range of samples and slice of hidden units that a task is about."""
    block = task // p.slices % p.blocks
    d = task // (p.blocks * p.slices)
    return d, p.bounds[block], p.bounds[block + 1], task % p.slices


@inline
def slice_of(p, k):
    """Vectors of hidden units in slice k."""
    all_of_them = vectors(p.H, lanes_of(p.x))
    if p.slices == 1:
        return 0, all_of_them
    return range_of(k, p.slices, all_of_them, WIDEST)


@inline
def look(p, task, k, steps, turn, patience):
    """Say how long to wait from now on, and whether slice k has done so many steps."""
    if p.slices == 1:
        return patience, False
    slot = task - task % p.slices + k
    if turn == 0:  # its own: done only where it was given up by the others
        return patience, mark(p.marks, slot) >= steps
    came = wait(p.marks, slot, steps, patience if p.parallel else 0)
    return (PATIENCE if came else LATE), came


# --- forward --------------------------------------------------------------------------------------


@twins
def rnn_forward(p: Forward):
    """(1), h_t = f(b_ih + b_hh + x_t·w_ihᵀ + h_{t-1}·w_hhᵀ), for all t."""
    if p.packers == 1:
        pack_forward(p, 0)
    else:
        for part in prange(p.packers):
            pack_forward(p, part)
    for task in prange(p.D * p.blocks * p.slices):
        forward_steps(p, task)


@native
def pack_forward(p: Forward, part: Int):
    """Pack a part of w_ihᵀ, w_hhᵀ and b_ih + b_hh of all directions."""
    I, H, lanes = p.I, p.H, lanes_of(p.x)
    V = panels(H, lanes)
    v0, v1 = range_of(part, p.packers, V, 1)
    for d in range(p.D):
        place = d * V * lanes
        w_ih, w_hh = at(p.weights, p.places[4 * d]), at(p.weights, p.places[4 * d + 1])
        pack_transposed(at(p.packed_ih, place * I), w_ih, H, I, v0, v1)
        pack_transposed(at(p.packed_hh, place * H), w_hh, H, H, v0, v1)
        b_ih, b_hh = p.places[4 * d + 2], p.places[4 * d + 3]
        for j in range(v0 * lanes, v1 * lanes):
            real = j < H and b_ih >= 0
            p.packed_bias[place + j] = p.weights[b_ih + j] + p.weights[b_hh + j] if real else 0


@native
def forward_steps(p: Forward, task: Int):
    """All steps of one range of samples in one direction, or a thread's slice of them."""
    d, n0, n1, own = share_of(p, task)
    n, patience = n1 - n0, PATIENCE
    for s in range(p.L):
        n = alive(p, n0, n, s)
        if n == 0:
            break
        for turn in range(p.slices):  # its own slice first, then those that nobody has done
            k = own + turn if own + turn < p.slices else own + turn - p.slices
            patience, is_done = look(p, task, k, s + 1, turn, patience)
            if not is_done:
                forward_step(p, task, d, n0, s, n, k)
                if p.slices > 1:
                    set_mark(p.marks, task - own + k, s + 1)


@native
def forward_step(p: Forward, task: Int, d: Int, n0: Int, s: Int, n: Int, k: Int):
    """Step s of n samples from n0 on, in direction d: slice k of the hidden units."""
    N, I, H, D, lanes = p.N, p.I, p.H, p.D, lanes_of(p.x)
    x_at = at(p.row_tables, task * p.table)
    h_at, out_at = at(x_at, n), at(x_at, 2 * n)
    for i in range(n):
        row = row_of(p, d, n0 + i, s)
        x_at[i] = row * I
        out_at[i] = (row * D + d) * H
        if s == 0:
            h_at[i] = (d * N + p.order[n0 + i]) * H
        else:
            h_at[i] = (row_of(p, d, n0 + i, s - 1) * D + d) * H
    place = d * panels(H, lanes) * lanes
    v0, v1 = slice_of(p, k)
    affine_rows(
        Rows(p.output, out_at), n, v0, v1, H, at(p.packed_bias, place),
        Factor(p.x, x_at, at(p.packed_ih, place * I), I),
        Factor(p.h_0 if s == 0 else p.output, h_at, at(p.packed_hh, place * H), H), p.f,
    )  # fmt: skip
    for i in range(n):
        if p.lengths[n0 + i] == s + 1:  # the last step of a sample
            state = (d * N + p.order[n0 + i]) * H
            for j in range(v0 * lanes, min(v1 * lanes, H)):
                p.h_n[state + j] = p.output[out_at[i] + j]


def forward_scratch(I: int, H: int, D: int, lanes: int) -> dict[str, int]:
    """Return the size of the scratch of a forward pass, by name."""
    width = D * padded(H, lanes)
    return {"packed_ih": width * I, "packed_hh": width * H, "packed_bias": width}


# --- backward -------------------------------------------------------------------------------------


@twins
def rnn_backward(p: Backward):
    """delta_t = (g_t + delta_{t+1}·w_hh) · f'(h_t) for all t, last first; then all products."""
    if p.packers == 1:
        pack_backward(p, 0)
    else:
        for part in prange(p.packers):
            pack_backward(p, part)
    for task in prange(p.D * p.blocks * p.slices):
        backward_steps(p, task)
    for part in prange(p.parts):
        input_gradients(p, part)
        parameter_gradients(p, part)


@native
def pack_backward(p: Backward, part: Int):
    """Pack a part of w_ih and w_hh of all directions."""
    I, H, lanes = p.I, p.H, lanes_of(p.x)
    V, V_in = panels(H, lanes), panels(I, lanes)
    v0, v1 = range_of(part, p.packers, V, 1)
    u0, u1 = range_of(part, p.packers, V_in, 1)
    for d in range(p.D):
        w_ih, w_hh = at(p.weights, p.places[4 * d]), at(p.weights, p.places[4 * d + 1])
        pack_straight(at(p.packed_ih, d * V_in * lanes * H), w_ih, I, H, u0, u1)
        pack_straight(at(p.packed_hh, d * V * lanes * H), w_hh, H, H, v0, v1)


@native
def backward_steps(p: Backward, task: Int):
    """All steps, last first, of one range of samples in one direction, or a slice of them."""
    d, n0, n1, own = share_of(p, task)
    later, patience = 0, PATIENCE
    for s in range(p.L - 1, -1, -1):
        n = later  # samples that have a step s; of them, `later` have a step s + 1
        while n < n1 - n0 and p.lengths[n0 + n] > s:
            n += 1
        for turn in range(p.slices):
            k = own + turn if own + turn < p.slices else own + turn - p.slices
            patience, is_done = look(p, task, k, p.L - s, turn, patience)
            if not is_done:
                backward_step(p, task, d, n0, n1, s, n, later, k)
                if p.slices > 1:
                    set_mark(p.marks, task - own + k, p.L - s)
        later = n


@inline
def look_back(p, d, n0, n, s):
    """Bring near what the step before s will need: nothing else tells that it comes next."""
    if s > 0:
        for i in range(n):
            place = (row_of(p, d, n0 + i, s - 1) * p.D + d) * p.H
            prefetch(at(p.output, place), p.H)
            prefetch(at(p.delta, place), p.H)
            if p.one_row == 0:
                prefetch(at(p.grad_output, place), p.H)


@native
def backward_step(
    p: Backward, task: Int, d: Int, n0: Int, n1: Int, s: Int, n: Int, later: Int, k: Int
):
    """Step s of n samples, of which the first `later` go on: slice k of the hidden units."""
    N, H, D, lanes = p.N, p.H, p.D, lanes_of(p.x)
    delta_at = at(p.row_tables, task * p.table)
    g_at, later_at = at(delta_at, n1 - n0), at(delta_at, 2 * (n1 - n0))
    for i in range(n):
        delta_at[i] = (row_of(p, d, n0 + i, s) * D + d) * H
        g_at[i] = d * H if p.one_row else delta_at[i]
        if i < later:
            later_at[i] = (row_of(p, d, n0 + i, s + 1) * D + d) * H
    v0, v1 = slice_of(p, k)
    w_hh = at(p.packed_hh, d * panels(H, lanes) * lanes * H)
    delta_rows(
        Rows(p.delta, delta_at), later, v0, v1, H, Rows(p.grad_output, g_at),
        Factor(p.delta, later_at, w_hh, H), p.output, p.dh, p.keep, p.f,
    )  # fmt: skip
    look_back(p, d, n0, n, s)
    # The last step of a sample: grad_h_n comes in place of what flows back from a later one.
    g = at(p.ending, (N * (task % p.slices + d * p.slices) + n0) * H)
    for i in range(later, n):
        state = (d * N + p.order[n0 + i]) * H
        for j in range(v0 * lanes, min(v1 * lanes, H)):
            g[i * H + j] = p.grad_output[g_at[i] + j] + p.grad_h_n[state + j]
        g_at[i] = i * H
    ending = at(delta_at, later)
    delta_rows(
        Rows(p.delta, ending), n - later, v0, v1, H, Rows(g, at(g_at, later)),
        Factor(p.delta, ending, w_hh, 0), p.output, p.dh, p.keep, p.f,
    )  # fmt: skip


@native
def input_gradients(p: Backward, part: Int):
    """dx = delta·w_ih for a part of the rows, dh_init = delta_0·w_hh for a part of the samples."""
    I, H, D, lanes = p.I, p.H, p.D, lanes_of(p.x)
    V, V_in = panels(H, lanes), panels(I, lanes)
    width = D * H
    tables = at(p.row_tables, part * 3 * ROWS_AT_ONCE)
    # Both directions at once.
    k0, k1 = range_of(part, p.parts, p.steps, TILE_ROWS)
    other = D - 1
    w_ih_reverse = at(p.packed_ih, V_in * lanes * H * other)
    map_rows(
        Columns(p.dx, p.rows, I, 0), I, p.zeros, Source(p.delta, p.rows, width, 0, p.packed_ih, H),
        Source(p.delta, p.rows, width, H * other, w_ih_reverse, H * other), k0, k1, tables,
    )  # fmt: skip
    k0, k1 = range_of(part, p.parts, p.starts, 1)
    for d in range(D):
        first = p.first_in_reverse if d == 1 else p.first
        w_hh = at(p.packed_hh, d * V * lanes * H)
        map_rows(
            Columns(p.dh_init, p.sample, H, d * p.N * H), H, p.zeros,
            Source(p.delta, first, width, d * H, w_hh, H), Source(p.delta, first, 0, 0, w_hh, 0),
            k0, k1, tables,
        )  # fmt: skip


@native
def parameter_gradients(p: Backward, part: Int):
    """dw_ih = Σ deltaᵀ·x, dw_hh = Σ deltaᵀ·h_{t-1}, db = Σ delta for some hidden units."""
    I, H, D, lanes = p.I, p.H, p.D, lanes_of(p.x)
    j0, j1 = range_of(part, p.parts, H, TILE_ROWS)
    units, width = j1 - j0, D * H
    scratch = at(p.products, part * p.product_size)
    inputs = Columns(p.x, p.rows, I, 0)
    for d in range(D):
        column = d * H + j0
        delta = Columns(p.delta, p.rows, width, column)
        dw_ih = at(p.gradients, p.places[4 * d] + j0 * I)
        if I >= 2 * lanes:
            outer_product(dw_ih, I, delta, units, inputs, I, p.steps, scratch)
        else:  # few inputs would leave most of a vector empty: compute the transpose
            transposed = at(p.transposed, part * 2 * lanes * H)
            for i in range(I * units):
                transposed[i] = 0
            outer_product(transposed, units, inputs, I, delta, units, p.steps, scratch)
            for j in range(units):
                for i in range(I):
                    dw_ih[j * I + i] = transposed[i * units + j]

        # h_{t-1} is the step before in this direction, or h_0.
        with_past, past, first = p.later, p.earlier, p.first
        if d == 1:
            with_past, past, first = p.earlier, p.later, p.first_in_reverse
        dw_hh = at(p.gradients, p.places[4 * d + 1] + j0 * H)
        outer_product(
            dw_hh, H, Columns(p.delta, with_past, width, column), units,
            Columns(p.output, past, width, d * H), H, p.successions, scratch,
        )  # fmt: skip
        outer_product(
            dw_hh, H, Columns(p.delta, first, width, column), units,
            Columns(p.h_0, p.sample, H, d * p.N * H), H, p.starts, scratch,
        )  # fmt: skip

        db_ih, db_hh = p.places[4 * d + 2], p.places[4 * d + 3]
        if db_ih >= 0:
            column_sums(at(p.gradients, db_ih + j0), delta, units, p.steps, scratch)
            for j in range(j0, j1):
                p.gradients[db_hh + j] = p.gradients[db_ih + j]


def backward_scratch(
    N: int, I: int, H: int, D: int, slices: int, parts: int, lanes: int
) -> dict[str, int]:
    """Return the size of the scratch of a backward pass, by name."""
    wide = max(padded(H, lanes), padded(I, lanes))
    return {
        "packed_ih": D * padded(I, lanes) * H,
        "packed_hh": D * padded(H, lanes) * H,
        "ending": D * slices * N * H,
        "zeros": wide,
        "products": parts * product_size(wide, lanes),
        "transposed": parts * 2 * lanes * H,
    }


def table(largest: int) -> int:
    """Return how many entries the table of a task with so many samples has.

    More than it needs, so that no two threads write to one cache line.
    """
    return -(-3 * largest // 8) * 8 + 8
