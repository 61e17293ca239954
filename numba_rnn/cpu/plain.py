"""What the tile does, in plain Python: with NUMBA_DISABLE_JIT=1 kernels run on these.

One vector is one number here, so panel v of a packed matrix is its column v.
"""

from __future__ import annotations

import math

from .vectors import TANH


def activate(value, f):
    """f of a number: tanh or max(0, ·), or the number itself."""
    if f == TANH:
        return math.tanh(value)
    return value if f == 0 or not value < 0 else 0.0


def affine_band(out, rows, v0, v1, width, bias, a, b, f):
    """Out = f(bias + a·panels + b·panels)."""
    for r in range(rows):
        for v in range(v0, min(v1, width)):
            total = bias[v]
            for factor in (a, b):
                row = factor.at[r] if factor.depth else 0
                for k in range(factor.depth):
                    total += factor.numbers[row + k] * factor.panels[v * factor.depth + k]
            out.numbers[out.at[r] + v] = activate(total, f)


def recurrent_band(out, rows, v0, v1, width, z, pitch, h, f):
    """Out = f(z + h·panels)."""
    for r in range(rows):
        for v in range(v0, min(v1, width)):
            total = z[r * pitch + v]
            for k in range(h.depth):
                total += h.numbers[h.at[r] + k] * h.panels[v * h.depth + k]
            out.numbers[out.at[r] + v] = activate(total, f)


def delta_band(delta, rows, v0, v1, width, g, later, h, dh, keep, f):
    """Dh = g + later·panels, delta = dh · f'(h); relu'(0) is 0, a choice, as in torch."""
    for r in range(rows):
        place = delta.at[r]
        for v in range(v0, min(v1, width)):
            total = g.numbers[g.at[r] + v]
            for k in range(later.depth):
                total += later.numbers[later.at[r] + k] * later.panels[v * later.depth + k]
            if keep:
                dh[place + v] = total
            state = h[place + v]
            slope = 1 - state * state if f == TANH else 0 if state <= 0 else 1
            delta.numbers[place + v] = total * slope


def outer_tile(c, stride, rows, v, width, stripe, b, depth):
    """c[m·stride + j] += Σ_k stripe[k, m] · b[k, j] for two columns j."""
    from .tile import TILE_ROWS

    for m in range(rows):
        for j in range(v, min(v + 2, width)):
            for k in range(depth):
                c[m * stride + j] += stripe[k * TILE_ROWS + m] * b[j * depth + k]


def lanes_of(numbers):
    """One."""
    return 1


def copy_vector(out, a, count):
    """out[0] = a[0], or 0 where there is none."""
    out[0] = a[0] if count >= 1 else 0


def transpose_square(out, w, stride):
    """One number is its own transpose."""
    out[0] = w[0]


def set_mark(marks, slot, steps):
    """Set a mark, unless it is further on."""
    from .marks import APART

    marks[slot * APART] = max(marks[slot * APART], steps)


def mark(marks, slot):
    """Read a mark."""
    from .marks import APART

    return marks[slot * APART]


def pause():
    """Do nothing."""


def prefetch(numbers, count):
    """Do nothing: numbers come when they are read."""
