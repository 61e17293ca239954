"""Truncated backpropagation through time: windows of steps, and the kernels run on each.

The steps of a direction are cut into chunks of k1 from its own start. What the loss sees of the
steps s = j·k1, ..., (j + 1)·k1 - 1 flows back to step (j + 1)·k1 - k2, and no further; a sequence
that is no longer than k2 is not truncated. With one direction a window is one of the whole stack,
as where a chunk's initial states are detached. With two, what the layers above send into one
direction comes from windows of both; there each layer and direction is truncated by itself.

Here arrays are in a direction's own order of steps, (L, N, features), see chains.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import batches
from .chains import Grid, below
from .samples import sample_gradient
from .stack import Pass


@dataclass(frozen=True, eq=False)
class _Window:
    """Steps start:stop of some samples, and the chunk from `chunk` on whose loss flows through."""

    start: int
    chunk: int
    stop: int
    lengths: np.ndarray  # (N,), from the start of a sequence; 0 for samples that are not in it
    ending: np.ndarray  # (N,): whether grad_h_n of a sample belongs to this chunk


def _windows(lengths: np.ndarray, k1: int, k2: int) -> Iterator[_Window]:
    whole = lengths <= k2
    if whole.any():
        of_them = np.where(whole, lengths, 0)
        yield _Window(0, 0, int(of_them.max()), of_them, whole)
    others = np.where(whole, 0, lengths)
    longest = int(others.max(initial=0))
    for chunk in range(0, longest, k1):
        start, stop = max(0, chunk + k1 - k2), min(chunk + k1, longest)
        yield _Window(start, chunk, stop, others, (chunk < others) & (others <= stop))


class _Answer:
    """What all windows add up to."""

    def __init__(self, done: Pass, grid: Grid, states: bool, samples: bool) -> None:
        h_0, w = done.h_0, done.weights
        self.dh_init, self.gradients = np.zeros_like(h_0), np.zeros_like(w)
        self.states = np.zeros((len(h_0), *grid.shape, h_0.shape[2]), w.dtype) if states else None
        self.samples = np.zeros((h_0.shape[1], w.size), w.dtype) if samples else None


class _Chain:
    """One layer and direction, as the kernels want it."""

    def __init__(self, done: Pass, grid: Grid, answer: _Answer, layer: int, direction: int) -> None:
        stack, H = done.stack, done.stack.hidden_size
        self.done, self.answer, self.H = done, answer, H
        self.span, states, kind = stack._parts[layer]
        own_places = kind.places[direction : direction + 1]
        self.kind = kind._replace(places=own_places, directions=1)
        self.state = states.start + direction
        self.reverse, self.grid = direction == 1, grid
        own = done.outputs[layer][:, direction * H : (direction + 1) * H]
        self.x = self._turned(below(done, layer))
        self.h = self._turned(own)

    def _turned(self, rows: Any) -> np.ndarray:
        return self.grid.turned(self.grid.by_step(rows), self.reverse)

    def backward(self, w: _Window, grad: np.ndarray, grad_h_n: np.ndarray | None) -> np.ndarray:
        """Go back through a window from grad (steps, N, H); return dx (steps, N, I)."""
        done, answer, k, start, stop = self.done, self.answer, self.state, w.start, w.stop
        _, N, I = self.x.shape
        steps, h_0 = stop - start, done.h_0[k]
        begin = h_0 if start == 0 else self.h[start - 1]
        lengths = np.clip(w.lengths - start, 0, steps)
        # windows without padding are alike, and share a layout that is kept
        layout = batches.padded(steps, N, False, None if np.all(lengths == steps) else lengths)
        end = np.zeros_like(h_0)
        if grad_h_n is not None:
            end[w.ending] = grad_h_n[k][w.ending]
        dh_begin = np.zeros((1, N, self.H), h_0.dtype)
        gradients = np.zeros_like(answer.gradients[self.span])
        wants_dh = answer.states is not None or answer.samples is not None
        x, h = self.x[start:stop], self.h[start:stop]
        dx, dh = done.backend.rnn_backward(
            x.reshape(steps * N, I), np.ascontiguousarray(begin[None]),
            h.reshape(steps * N, self.H), done.weights[self.span], self.kind, layout,
            np.ascontiguousarray(grad).reshape(steps * N, self.H), end[None], dh_begin, gradients,
            wants_dh,
        )  # fmt: skip
        answer.gradients[self.span] += gradients
        if start == 0:
            answer.dh_init[k] += dh_begin[0]
        if wants_dh:
            dh = dh.reshape(h.shape)
        if answer.states is not None:
            answer.states[k, start:stop] += dh
        if answer.samples is not None:
            f, of_one = done.stack.nonlinearity, np.empty_like(gradients)
            for n in np.flatnonzero(lengths):
                real = slice(lengths[n])
                of_one[:] = 0  # what belongs to the other direction
                sample_gradient(
                    self.kind.places[0],
                    dh[real, n],
                    x[real, n],
                    h[real, n],
                    begin[n],
                    False,
                    f,
                    of_one,
                )
                answer.samples[n, self.span] += of_one
        return dx.reshape(steps, N, I)


def truncated(
    done: Pass,
    grad_output: np.ndarray | None,
    grad_h_n: np.ndarray | None,
    windows: tuple[int, int],
    state_gradients: bool,
    per_sample: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[np.ndarray] | None, np.ndarray | None]:
    """Run all layers backward, truncated; like `Pass.backward`, with gradients of samples beside.

    Parameters
    ----------
    windows : tuple of int
        k1 and k2.

    Returns
    -------
    dx : ndarray, shape (R, I)
    dh_init : ndarray, shape (S, N, H)
    gradients : ndarray, shape (P,)
    states : list of ndarray, shape (R, D·H), or None
    samples : ndarray, shape (N, P), or None
    """
    stack, grid = done.stack, Grid(done.layout)
    answer = _Answer(done, grid, state_gradients, per_sample)
    layers = len(stack._parts)
    masks: list[np.ndarray | None] = [None] * layers  # of what each layer read
    if done.key is not None:
        for k in range(1, layers):
            ones = np.ones_like(done.outputs[k - 1])
            masks[k] = grid.by_step(done.backend.dropout(ones, done.dropout, done.key, k))
    if grad_output is None:
        grad_output = np.zeros_like(done.outputs[-1])
    grad = grid.by_step(grad_output)
    every = list(_windows(grid.lengths, *windows))
    each = [
        [_Chain(done, grid, answer, k, d) for d in range(stack.directions)] for k in range(layers)
    ]
    if stack.directions == 1:
        dx = np.zeros_like(each[0][0].x)
        for w in every:
            flowing = _seen(grad, w)
            for k in range(layers - 1, -1, -1):
                flowing = each[k][0].backward(w, flowing, grad_h_n)
                mask = masks[k]
                if mask is not None:
                    flowing = flowing * mask[w.start : w.stop]
            dx[w.start : w.stop] += flowing
    else:
        for k in range(layers - 1, -1, -1):
            dx = np.zeros((*grid.shape, each[k][0].x.shape[2]), grad.dtype)
            for d, chain in enumerate(each[k]):
                half = grad[:, :, d * stack.hidden_size : (d + 1) * stack.hidden_size]
                half, of_input = grid.turned(half, chain.reverse), np.zeros_like(dx)
                for w in every:
                    of_input[w.start : w.stop] += chain.backward(w, _seen(half, w), grad_h_n)
                dx += grid.turned(of_input, chain.reverse)
            mask = masks[k]
            grad = dx if mask is None else dx * mask
        dx = grad
    states = _rows(answer.states, grid, stack.directions)
    return grid.rows(dx), answer.dh_init, answer.gradients, states, answer.samples


def _seen(grad: np.ndarray, w: _Window) -> np.ndarray:
    """What the loss sees of a window: of its chunk alone."""
    seen = np.zeros_like(grad[w.start : w.stop])
    seen[w.chunk - w.start :] = grad[w.chunk : w.stop]
    return seen


def _rows(states: np.ndarray | None, grid: Grid, D: int) -> list[np.ndarray] | None:
    """Gradients of states, (S, L, N, H), as rows (R, D·H) of each layer."""
    if states is None:
        return None
    by_time = [grid.turned(own, k % D == 1) for k, own in enumerate(states)]
    return [
        grid.rows(np.concatenate(by_time[k : k + D], axis=2)) for k in range(0, len(by_time), D)
    ]
