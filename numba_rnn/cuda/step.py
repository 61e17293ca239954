"""A step of the recurrence for one hidden unit of one sample: what all walks through time share.

    h_t     = f(a_t + h_{t-1}·w_hhᵀ)        forward, a_t = x_t·w_ihᵀ + b_ih + b_hh
    dh_t    = g_t + delta_{t+1}·w_hh        backward, g_t = dL/d(output_t)
    delta_t = dh_t · f'(h_t)                the gradient at the sum inside f

The walks differ in how they get the products h·w_hhᵀ and delta·w_hh, and in which thread does what.

Symbols: L steps, N samples, H hidden size, D directions; R rows of memory, of D·H numbers each.
Step t of the n-th longest sample lies in row step_row[t] + batch_row[n], see layout.py; s counts
the steps of a direction from its own start, and step -1 stands for the initial state. `index` is
step_row (L), batch_row (N), lengths (N) and order (N), one after the other.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from .activation import activation, derivative
from .toolkit import device_function, uint64

GRAD_OUTPUT, GRAD_H_N, KEEP, PADDED = 1, 2, 4, 8  # bits of `given`


@device_function
def sample(index, n, d, j, L, N, H, D):
    """Length of the n-th longest sample, and where its hidden unit j is in direction d.

    `first`: from the start of the row of a step, so that step t is at first + D·H·step_row[t].
    `state`: in arrays (D, N, H).
    """
    length, first = index[L + N + n], (index[L + n] * D + d) * H + j
    return length, first, (d * N + index[L + 2 * N + n]) * H + j


@device_function
def place_of(s, length, first, index, d, row):
    """Where step s of a sample's unit is, row = D·H numbers being a row.

    0 where the sample has no step s. Unsigned, as signed indices are tested for being negative.
    """
    if s < 0 or s >= length:
        return uint64(0)
    t = length - 1 - s if d == 1 else s
    return uint64(first + row * index[uint64(t)])


@device_function
def clear(array, length, first, index, row, L):
    """Zero a sample's unit in all steps beyond its length."""
    for t in range(length, L):
        array[first + row * index[t]] = 0


@cache
def forward(dtype: np.dtype) -> tuple[Any, Any]:
    """b_ih + b_hh of a unit, and h_t."""
    f, zero = activation(dtype), dtype.type(0)

    @device_function
    def bias_of(weights, bias, unit, H):
        """The sum of both, b_ih being at `bias` and b_hh behind it; 0 where bias < 0."""
        return weights[bias + unit] + weights[bias + H + unit] if bias >= 0 else zero

    @device_function
    def state_of(product, a, b, nonlinearity):
        """h_t, for product = h_{t-1}·w_hhᵀ and a + b = a_t."""
        return f(product + a + b, nonlinearity)

    return bias_of, state_of


@cache
def backward(dtype: np.dtype) -> Any:
    """delta_t, from dh_t and h_t; written, and dh_t too where it is to be kept."""
    f_prime = derivative(dtype)

    @device_function
    def delta_of(dh_t, h, at, delta, dh, given, nonlinearity):
        if given & KEEP:
            dh[at] = dh_t
        delta_t = f_prime(dh_t, h, nonlinearity)
        delta[at] = delta_t
        return delta_t

    return delta_of


@device_function
def clear_backward(delta, dh, length, first, index, row, L, given):
    """Zero delta, and dh where it is to be kept, in all steps beyond a sample's length."""
    clear(delta, length, first, index, row, L)
    if given & KEEP:
        clear(dh, length, first, index, row, L)
