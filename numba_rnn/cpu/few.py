"""Up to four samples of one length: the kernels of recurrence.py with less to do at each step.

A step of so few samples is short, and much of it would be spent on what is the same at each one.
So the loop over steps calls nothing at each step here, and what can be done for many steps at once
is: x_t·w_ihᵀ of a chunk of steps fills tall tiles. Each sum runs in the order that it
has in recurrence.py, so the bits are the same.
"""

from __future__ import annotations

from numba import prange

from . import tile
from .native import inline, native, twins
from .products import Factor, Rows, affine_rows, panels, vectors
from .recurrence import (
    Backward,
    Forward,
    backward_step,
    input_gradients,
    look_back,
    pack_backward,
    pack_forward,
    parameter_gradients,
    row_of,
    share_of,
)
from .structures import Int, Numbers, Table, at
from .tile import TILE_ROWS, WIDEST, lanes_of
from .vectors import IDENTITY

FEW = 4  # samples
CHUNK = 4 * TILE_ROWS  # rows to project at once


@inline
def there_and_back(u, V, s):
    """The panel to begin at for the u-th: up at one step, down at the next.

    So a step begins with those numbers of w_hh that are in the cache from the step before.
    """
    return u if s % 2 == 0 else (V - 1) // WIDEST * WIDEST - u


@twins
def rnn_forward_few(p: Forward):
    """(1), h_t = f(b_ih + b_hh + x_t·w_ihᵀ + h_{t-1}·w_hhᵀ), for all t."""
    if p.packers == 1:
        pack_forward(p, 0)
    else:
        for part in prange(p.packers):
            pack_forward(p, part)
    for task in prange(p.D * p.blocks):
        walk(p, task)


@native
def walk(p: Forward, task: Int):
    """All steps of a few samples in one direction."""
    d, n0, n1, _ = share_of(p, task)
    n, H, D = n1 - n0, p.H, p.D
    lanes = lanes_of(p.x)
    V, width = vectors(H, lanes), panels(H, lanes) * lanes
    z = at(p.projected, task * CHUNK * width)
    tables = at(p.row_tables, task * p.table)
    h_at, out_at = tables, at(tables, FEW)
    w_hh = at(p.packed_hh, d * width * H)
    steps = CHUNK // (2 if n <= 2 else FEW)  # three samples have the tile of four
    for i in range(n):
        h_at[i] = (d * p.N + p.order[n0 + i]) * H
    for s in range(p.L):
        if s % steps == 0:
            project(p, d, n0, n, s, min(s + steps, p.L), z, at(tables, 2 * FEW), width)
        for i in range(n):
            out_at[i] = (row_of(p, d, n0 + i, s) * D + d) * H
        h = Factor(p.h_0 if s == 0 else p.output, h_at, w_hh, H)
        for u in range(0, V, WIDEST):
            v = there_and_back(u, V, s)
            tile.recurrent_band(
                Rows(p.output, out_at), n, v, min(v + WIDEST, V), H,
                at(z, s % steps * n * width), width, h, p.f,
            )  # fmt: skip
        h_at, out_at = out_at, h_at
    for i in range(n):
        state = (d * p.N + p.order[n0 + i]) * H
        for j in range(H):
            p.h_n[state + j] = p.output[h_at[i] + j]


@native
def project(
    p: Forward, d: Int, n0: Int, n: Int, s0: Int, s1: Int, z: Numbers, tables: Table, width: Int
):
    """z = b_ih + b_hh + x_t·w_ihᵀ of n samples for the steps s0:s1."""
    x_at, z_at, count = tables, at(tables, CHUNK), 0
    for s in range(s0, s1):
        for i in range(n):
            x_at[count] = row_of(p, d, n0 + i, s) * p.I
            z_at[count] = count * width
            count += 1
    affine_rows(
        Rows(z, z_at), count, 0, vectors(p.H, lanes_of(z)), width, at(p.packed_bias, d * width),
        Factor(p.x, x_at, at(p.packed_ih, d * width * p.I), p.I), Factor(p.x, x_at, p.packed_ih, 0),
        IDENTITY,
    )  # fmt: skip


@twins
def rnn_backward_few(p: Backward):
    """delta_t = (g_t + delta_{t+1}·w_hh) · f'(h_t) for all t, last first; then all products."""
    if p.packers == 1:
        pack_backward(p, 0)
    else:
        for part in prange(p.packers):
            pack_backward(p, part)
    for task in prange(p.D * p.blocks):
        walk_back(p, task)
    for part in prange(p.parts):
        input_gradients(p, part)
        parameter_gradients(p, part)


@native
def walk_back(p: Backward, task: Int):
    """All steps, last first, of a few samples in one direction."""
    d, n0, n1, _ = share_of(p, task)
    n, H, D = n1 - n0, p.H, p.D
    lanes = lanes_of(p.x)
    V = vectors(H, lanes)
    backward_step(p, task, d, n0, n1, p.L - 1, n, 0, 0)
    tables = at(p.row_tables, task * p.table)
    later_at, delta_at, g_at = tables, at(tables, FEW), at(tables, 2 * FEW)
    w_hh = at(p.packed_hh, d * panels(H, lanes) * lanes * H)
    for i in range(n):
        later_at[i] = (row_of(p, d, n0 + i, p.L - 1) * D + d) * H
        g_at[i] = d * H
    for s in range(p.L - 2, -1, -1):
        for i in range(n):
            delta_at[i] = (row_of(p, d, n0 + i, s) * D + d) * H
        look_back(p, d, n0, n, s)
        later = Factor(p.delta, later_at, w_hh, H)
        for u in range(0, V, WIDEST):
            v = there_and_back(u, V, s)
            tile.low_delta_band(
                Rows(p.delta, delta_at), n, v, min(v + WIDEST, V), H,
                Rows(p.grad_output, g_at if p.one_row else delta_at), later,
                p.output, p.dh, p.keep, p.f,
            )  # fmt: skip
        later_at, delta_at = delta_at, later_at


def projected_size(tasks: int, padded: int) -> int:
    """Return the size of `projected`."""
    return tasks * CHUNK * padded


def table() -> int:
    """Return how many entries the table of a task has; no two tasks share a cache line."""
    return -(-(2 * FEW + 2 * CHUNK) // 8) * 8 + 8
