"""What the tasks of a layer do, on NumPy arrays, wherever they run."""

from __future__ import annotations

import numpy as np

from .. import validation
from ..cell import RNNCell
from ..linear import Linear
from ..rnn import RNN
from .threads import share


def run(
    rnn: RNN,
    x: np.ndarray,
    h: np.ndarray | None,
    lengths: np.ndarray | None,
    start: int,
    total: int,
    reverse: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Run a layer over a chunk of steps, from the states that it begins with.

    Parameters
    ----------
    x : ndarray, shape (l, n, I) or (n, l, I)
        Steps start, start + 1, ... of some samples.
    h : ndarray, shape (S, n, H), or None for zeros
    lengths : ndarray of int, shape (n,), or None
        Of the whole sequences, which have `total` steps with padding.
    reverse : bool
        Whether the chunk is read from its end; the layer then has one direction.

    Returns
    -------
    output, h_n : ndarray
    """
    axis = 1 if rnn.batch_first else 0
    steps = x.shape[axis]
    if lengths is not None:
        batch = x.shape[1 - axis]
        lengths = validation.lengths("lengths", lengths, batch, total, zero_allowed=True)
        lengths = np.clip(lengths - start, 0, steps)
    if reverse:
        turn = _turned(lengths, steps, axis)
        x = _along(x, turn, axis)
    with share():
        output, h_n = rnn(x, h, lengths=lengths)
    return (_along(output, turn, axis) if reverse else output), h_n


def _turned(lengths: np.ndarray | None, steps: int, axis: int) -> np.ndarray | None:
    """Places of the steps from behind, padding left where it is; None for all of them turned."""
    if lengths is None:
        return None
    step = np.arange(steps)[:, None]
    turn = np.where(step < lengths, lengths - 1 - step, step)
    return (turn.T if axis else turn)[:, :, None]


def _along(array: np.ndarray, turn: np.ndarray | None, axis: int) -> np.ndarray:
    if turn is None:
        return np.flip(array, axis)
    return np.take_along_axis(array, turn, axis)


def join(directions: list[np.ndarray]) -> np.ndarray:
    """Output of both directions, on the last axis."""
    return np.concatenate(directions, axis=-1)


def stack(states: list[np.ndarray]) -> np.ndarray:
    """States of several layers and directions, each (1, n, H), as one array."""
    return np.concatenate(states)


def state(h: np.ndarray, k: int) -> np.ndarray:
    """The states of one layer and direction, (1, n, H)."""
    return h[k : k + 1]


def step(cell: RNNCell, x: np.ndarray, h: np.ndarray | None) -> np.ndarray:
    """One step of a cell."""
    with share():
        return cell(x, h)


def mapped(linear: Linear, x: np.ndarray) -> np.ndarray:
    """What a linear layer makes of a block."""
    with share():
        return linear(x)
