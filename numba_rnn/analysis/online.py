"""Learning while the sequence goes on: the whole gradient forward in time, and truncated ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import reference, validation
from ..packed import PackedSequence
from ..parameters import Parameters, Shapes, views
from .landscape import settled
from .taken import layer


@dataclass(frozen=True, eq=False)
class RealTime:
    """Gradients of real-time recurrent learning, and what they cost beside backpropagation.

    Attributes
    ----------
    flat : ndarray, shape (P,)
        Of the parameters, in the order of ``rnn.flat_parameters``.
    h_0 : ndarray, shape of h_0
    multiplications, bptt_multiplications : int
        For the whole call, without what both spend on the states.
    memory, bptt_memory : int
        Numbers that are kept from step to step.
    parameters : dict of str to ndarray
        `flat` by name: views of it.
    """

    flat: np.ndarray
    h_0: np.ndarray
    multiplications: int
    bptt_multiplications: int
    memory: int
    bptt_memory: int
    _shapes: Shapes = field(repr=False)

    @property
    def parameters(self) -> Parameters:
        """Gradients by parameter name."""
        return Parameters(views(self.flat, self._shapes))


def rtrl(rnn: Any, x: np.ndarray, grad_output: np.ndarray, h_0: Any = None) -> RealTime:
    """Return the gradient of a layer without going back: by real-time recurrent learning.

    Beside the state it carries forward how the state depends on every parameter theta::

        dh_t/dtheta = f'(a_t) * (da_t/dtheta directly + W_hh dh_(t-1)/dtheta)
        dL/dtheta   = sum over t of (dh_t/dtheta)^T grad_output_t

    It is the gradient of backpropagation through time, to rounding. The cost: for each step and
    sample about H² P multiplications, P = H (I + H + 1) + H, where backpropagation needs less than
    2 P; and H P numbers of memory for each sample, however long the sequence is, where
    backpropagation keeps L H.

    Parameters
    ----------
    rnn : RNN
        With one layer and one direction.
    x : ndarray, shape (L, N, I)
        Or batch first or unbatched, as the layer takes it.
    grad_output : ndarray, shape of the output
        dL/d(output).
    h_0 : ndarray, shape of the initial state, optional
        Zeros where left out.

    Returns
    -------
    RealTime
        With parameters, flat and h_0, and the costs.

    Raises
    ------
    TypeError, ValueError
        If rnn has several layers or directions or lies on a GPU, or an array isn't as `RNN.forward`
        and `Tape.backward` take it.

    References
    ----------
    R. J. Williams and D. Zipser, "A learning algorithm for continually running fully recurrent
    neural networks", Neural Computation 1(2), 1989.

    Examples
    --------
    >>> import numpy as np
    >>> import numba_rnn as nr
    >>> rnn, x = nr.RNN(2, 3, dtype=np.float64, rng=0), np.ones((5, 1, 2))
    >>> online = nr.analysis.rtrl(rnn, x, np.ones((5, 1, 3)))
    >>> np.allclose(online.flat, rnn.forward(x).backward(np.ones((5, 1, 3))).flat)
    True
    >>> online.multiplications, online.bptt_multiplications
    (1575, 150)
    """
    rnn = layer(rnn)
    if rnn.num_layers != 1 or rnn.bidirectional:
        raise ValueError(f"rtrl takes an RNN of one layer and one direction, got {rnn!r}")
    if isinstance(x, PackedSequence):
        raise TypeError("x must be an array, got a PackedSequence: unpack it")
    tape = rnn.forward(x, h_0)
    of_output, _ = tape._incoming(grad_output, None)
    done, L, I, H = tape._pass, tape._pass.layout.steps, rnn.input_size, rnn.hidden_size
    by_step = [_by_step(rows, tape._form, width) for rows, width in ((done.x, I), (of_output, H))]
    w_ih, w_hh, *biases = rnn.parameters.values()
    b_ih, b_hh = biases or (0.0, 0.0)
    dh_init, dw_ih, dw_hh, db = reference.rtrl(
        by_step[1], np.zeros_like(done.h_0[0]), by_step[0], done.h_0[0], w_ih, w_hh, b_ih, b_hh,
        nonlinearity=rnn.nonlinearity,
    )  # fmt: skip
    both = [db, db] if rnn.bias else []
    flat = np.concatenate([part.ravel() for part in (dw_ih, dw_hh, *both)])
    N, P = done.layout.batch, H * (I + H + 1) + H
    return RealTime(
        flat, tape._form.state(dh_init[None]), L * N * H * P * (H + 2), L * N * H * (I + 2 * H + 2),
        N * H * P, N * L * H, rnn._shapes,
    )  # fmt: skip


def _by_step(rows: np.ndarray, form: Any, width: int) -> np.ndarray:
    """Rows of padded input without lengths, as (L, N, features)."""
    layout = form.layout
    if form.batch_first:
        return rows.reshape(layout.batch, layout.steps, width).swapaxes(0, 1)
    return rows.reshape(layout.steps, layout.batch, width)


@dataclass(frozen=True, eq=False)
class TruncationBias:
    """Truncated gradients of the parameters beside the whole one.

    Attributes
    ----------
    windows : list of (int, int)
        k1 and k2 of each.
    error : ndarray, shape (len(windows),)
        |truncated - whole| / |whole|.
    cosine : ndarray, shape (len(windows),)
        Of the angle between the two; below 0 a step against it goes uphill.
    norm : ndarray, shape (len(windows),)
        |truncated| / |whole|.
    """

    windows: list[tuple[int, int]]
    error: np.ndarray
    cosine: np.ndarray
    norm: np.ndarray


def truncation_bias(
    rnn: Any,
    x: Any,
    grad_output: Any,
    windows: Sequence[int | tuple[int, int]],
    *,
    grad_h_n: np.ndarray | None = None,
    h_0: np.ndarray | None = None,
    lengths: Sequence[int] | np.ndarray | None = None,
) -> TruncationBias:
    """Return what truncation changes about the gradient of the parameters.

    With g the whole gradient and g_k the truncated one, of all parameters as one vector::

        error = |g_k - g| / |g|,    cosine = g_k·g / (|g_k| |g|)

    Parameters
    ----------
    rnn : RNN
        On the CPU; without dropout, or in evaluation mode.
    x : ndarray or PackedSequence, shape (L, N, I)
        As the layer takes it.
    grad_output : ndarray or PackedSequence, shape of the output, or None
        dL/d(output).
    windows : sequence of int or (int, int)
        Each as the `truncation` of `Tape.backward`.
    grad_h_n : ndarray, shape of h_n, optional
    h_0 : ndarray, shape of h_n, optional
    lengths : array_like of int, shape (N,), optional

    Returns
    -------
    TruncationBias
        With windows, and error, cosine and norm for each. NaN where a gradient is zero.

    Raises
    ------
    TypeError, ValueError
        If rnn is no RNN on the CPU or drops at random, a window isn't one, or as in `RNN.forward`
        and `Tape.backward`.

    References
    ----------
    R. J. Williams and J. Peng, "An efficient gradient-based algorithm for on-line training of
    recurrent network trajectories", Neural Computation 2(4), 1990.
    C. Tallec and Y. Ollivier, "Unbiasing truncated backpropagation through time",
    arXiv:1705.08209, 2017.

    Examples
    --------
    >>> import numpy as np
    >>> import numba_rnn as nr
    >>> rnn, x = nr.RNN(2, 3, dtype=np.float64, rng=0), np.ones((20, 1, 2))
    >>> bias = nr.analysis.truncation_bias(rnn, x, np.ones((20, 1, 3)), [1, 5, (1, 5), 20])
    >>> bool(bias.error[0] > bias.error[1] > bias.error[2] > bias.error[3] == 0)
    True
    """
    tape = settled(rnn).forward(x, h_0, lengths=lengths)
    pairs = [validation.truncation(f"windows[{k}]", w) for k, w in enumerate(windows)]
    whole = tape.backward(grad_output, grad_h_n).flat.astype(np.float64)
    found = []
    for pair in pairs:
        cut = tape.backward(grad_output, grad_h_n, truncation=pair).flat.astype(np.float64)
        norms = np.linalg.norm(cut), np.linalg.norm(whole)
        with np.errstate(divide="ignore", invalid="ignore"):
            found.append(
                (
                    np.linalg.norm(cut - whole) / norms[1],
                    np.clip(cut @ whole / (norms[0] * norms[1]), -1, 1),
                    norms[0] / norms[1],
                )
            )
    return TruncationBias(pairs, *np.array(found).reshape(len(pairs), 3).T)
