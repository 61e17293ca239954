"""The gradient on its way back: of every state, from every output, into every parameter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..chains import Grid, chain
from ..tape import Tape
from .taken import passed


@dataclass(frozen=True, eq=False)
class GradientFlow:
    """The gradients of all states, in their parts; each of shape (S, L, N, H).

    Attributes
    ----------
    total : ndarray
        dL/dh_t: local + carried, exactly.
    local : ndarray
        What the loss, or the layer above, sees of h_t directly. Where h_t is the state that was
        computed last, that includes grad_h_n.
    carried : ndarray
        What flows back from the step that was computed after step t.
    delta : ndarray
        dL/da_t = total · f'(a_t), the gradient inside f.
    """

    total: np.ndarray
    local: np.ndarray
    carried: np.ndarray
    delta: np.ndarray

    def norms(self, part: str = "total") -> np.ndarray:
        """Euclidean norms over the hidden units of one of the parts, shape (S, L, N)."""
        if part not in ("total", "local", "carried", "delta"):
            raise ValueError(f"part must be total, local, carried or delta, got {part!r}")
        return np.linalg.norm(getattr(self, part), axis=-1)


def gradient_flow(
    tape: Tape[Any, Any], grad_output: Any = None, grad_h_n: np.ndarray | None = None
) -> GradientFlow:
    """Return the gradient of every state, and where it comes from.

    In each layer and direction, with t + 1 for the step computed after step t (in reverse t - 1)::

        total_t   = local_t + carried_t
        delta_t   = total_t * f'(a_t)
        carried_t = W_hh^T delta_(t+1)

    local_t is grad_output_t in the last layer, and below it what the layer above sends down,
    through the dropout mask where there is one. The kernels' own backward runs, once.

    Parameters
    ----------
    tape : Tape
        Of `RNN.forward`.
    grad_output : ndarray or PackedSequence, shape of the output, optional
        dL/d(output), as in `Tape.backward`.
    grad_h_n : ndarray, shape of h_n, optional
        dL/d(h_n). At least one of the two must be given.

    Returns
    -------
    GradientFlow
        With total, local, carried and delta, each (S, L, N, H), and ``norms()``.

    Raises
    ------
    TypeError, ValueError
        If tape is none of an RNN on the CPU, or as in `Tape.backward`.

    References
    ----------
    P. J. Werbos, "Backpropagation through time: what it does and how to do it", Proceedings of the
    IEEE 78(10), 1990.

    Examples
    --------
    A loss that sees the last state alone: all other states get what is carried to them.

    >>> import numpy as np
    >>> import numba_rnn as nr
    >>> rnn = nr.RNN(1, 1, nonlinearity="relu", bias=False, dtype=np.float64)
    >>> rnn.weight_ih_l0, rnn.weight_hh_l0 = [[1.0]], [[0.5]]
    >>> tape = rnn.forward(np.ones((3, 1, 1)))
    >>> flow = nr.analysis.gradient_flow(tape, grad_h_n=np.ones((1, 1, 1)))
    >>> flow.local[0, :, 0, 0], flow.carried[0, :, 0, 0]
    (array([0., 0., 1.]), array([0.25, 0.5 , 0.  ]))
    """
    done = passed(tape)
    of_output, of_h_n = tape._incoming(grad_output, grad_h_n)
    grid = Grid(done.layout)
    seen: list[tuple[Any, Any]] = []
    done.backward(of_output, of_h_n, True, lambda *two: seen.insert(0, two))
    parts: dict[str, list[np.ndarray]] = {"total": [], "local": [], "carried": [], "delta": []}
    H = done.stack.hidden_size
    for layer, (from_above, of_states) in enumerate(seen):
        for direction in range(done.stack.directions):
            own, one = (
                slice(direction * H, (direction + 1) * H),
                chain(done, grid, layer, direction),
            )
            delta = grid.by_step(of_states[:, own]) * one.slope
            local = np.zeros_like(delta)
            if from_above is not None:
                local = grid.by_step(from_above[:, own])
            if of_h_n is not None:
                at_end = of_h_n[layer * done.stack.directions + direction]
                local += grid.after(np.zeros_like(delta), at_end, one.reverse)
            nothing = np.zeros_like(one.h_0)
            carried = grid.after(delta, nothing, one.reverse) @ one.w_hh
            for name, part in zip(parts, (local + carried, local, carried, delta), strict=True):
                parts[name].append(part)
    return GradientFlow(**{name: np.array(part) for name, part in parts.items()})


def contributions(tape: Tape[Any, Any], grad_output: Any) -> np.ndarray:
    """Return how much gradient the output of each step sends to the state of each step.

    ::

        C[k, s, t, n] = | grad_output_s  d(output_s) / dh_t |

    for state k and sample n: the norm over the hidden units of what dL/dh_t would be, if the loss
    saw the output of step s alone. The triangle of all of them shows how far back a step is
    learned from. It takes L backward passes.

    Parameters
    ----------
    tape : Tape
        Of `RNN.forward`.
    grad_output : ndarray or PackedSequence, shape of the output
        dL/d(output), as in `Tape.backward`.

    Returns
    -------
    ndarray, shape (S, L, L, N)
        0 for t > s, and in reverse for t < s: a state has no part in outputs before it. (Below the
        last layer of a stack with two directions there is a way from every step to every other.)

    Raises
    ------
    TypeError, ValueError
        If tape is none of an RNN on the CPU, or grad_output isn't as in `Tape.backward`.

    References
    ----------
    R. Pascanu, T. Mikolov and Y. Bengio, "On the difficulty of training recurrent neural networks",
    ICML 2013: these are the norms of the terms of its equation (4), without their last factor.

    Examples
    --------
    >>> import numpy as np
    >>> import numba_rnn as nr
    >>> rnn = nr.RNN(1, 1, nonlinearity="relu", bias=False, dtype=np.float64)
    >>> rnn.weight_ih_l0, rnn.weight_hh_l0 = [[1.0]], [[0.5]]
    >>> tape = rnn.forward(np.ones((3, 1, 1)))
    >>> nr.analysis.contributions(tape, np.ones((3, 1, 1)))[0, :, :, 0]
    array([[1.  , 0.  , 0.  ],
           [0.5 , 1.  , 0.  ],
           [0.25, 0.5 , 1.  ]])
    """
    done = passed(tape)
    of_output, _ = tape._incoming(grad_output, None)
    grid, H, D = Grid(done.layout), done.stack.hidden_size, done.stack.directions
    by_step = grid.by_step(of_output)
    L, N = grid.shape
    found = np.zeros((len(done.h_0), L, L, N), of_output.dtype)
    for s in range(L):
        alone = np.zeros_like(by_step)
        alone[s] = by_step[s]
        _, _, _, states = done.backward(grid.rows(alone), None, True)
        for k in range(len(found)):
            layer, direction = divmod(k, D)
            own = (states or [])[layer][:, direction * H : (direction + 1) * H]
            found[k, s] = np.linalg.norm(grid.by_step(own), axis=-1)
    return found


def gradient_by_step(
    tape: Tape[Any, Any],
    name: str,
    grad_output: Any = None,
    grad_h_n: np.ndarray | None = None,
) -> np.ndarray:
    """Return what each step adds to the gradient of a parameter.

    The same weights are used at every step, so the gradient is a sum over steps, with
    delta_t = dL/da_t, summed over the samples::

        dW_ih = sum over t of delta_t x_t^T
        dW_hh = sum over t of delta_t h_(t-1)^T
        db    = sum over t of delta_t

    and these are the terms.

    Parameters
    ----------
    tape : Tape
        Of `RNN.forward`.
    name : str
        Of the parameter: 'weight_hh_l0' and so on.
    grad_output : ndarray or PackedSequence, shape of the output, optional
        dL/d(output), as in `Tape.backward`.
    grad_h_n : ndarray, shape of h_n, optional
        dL/d(h_n). At least one of the two must be given.

    Returns
    -------
    ndarray, shape (L, ...)
        Its sum over the steps is ``tape.backward(...).parameters[name]`` to rounding.

    Raises
    ------
    TypeError, ValueError
        If tape is none of an RNN on the CPU, there is no parameter of that name, or as in
        `Tape.backward`.

    References
    ----------
    P. J. Werbos, "Backpropagation through time: what it does and how to do it", Proceedings of the
    IEEE 78(10), 1990.

    Examples
    --------
    >>> import numpy as np
    >>> import numba_rnn as nr
    >>> rnn = nr.RNN(1, 1, nonlinearity="relu", bias=False, dtype=np.float64)
    >>> rnn.weight_ih_l0, rnn.weight_hh_l0 = [[1.0]], [[0.5]]
    >>> tape = rnn.forward(np.ones((3, 1, 1)))
    >>> terms = nr.analysis.gradient_by_step(tape, "weight_ih_l0", grad_h_n=np.ones((1, 1, 1)))
    >>> terms[:, 0, 0]
    array([0.25, 0.5 , 1.  ])
    """
    done = passed(tape)
    if name not in tape._shapes:
        raise ValueError(f"name must be one of {', '.join(tape._shapes)}, got {name!r}")
    direction = int(name.endswith("_reverse"))
    layer = next(k for k, shapes in enumerate(done.stack.layers) if name in shapes)
    delta = gradient_flow(tape, grad_output, grad_h_n).delta[
        layer * done.stack.directions + direction
    ]
    if name.startswith("bias"):
        return delta.sum(axis=1)
    one = chain(done, Grid(done.layout), layer, direction)
    read = one.x if name.startswith("weight_ih") else one.h_before
    return delta.transpose(0, 2, 1) @ read
