"""Truncation that points the wrong way: influence balancing.

    python examples/papers/tallec_balance.py [--quick]

Source: C. Tallec and Y. Ollivier, "Unbiasing truncated backpropagation through time",
arXiv:1705.08209, 2017, the influence balancing problem.

A linear network of 23 units has one parameter theta,

    s_t = A s_(t-1) + theta v,    A = I / 2 + (ones above the diagonal) / 2,

v being +1 for the first 10 units and -1 for the other 13, and its loss looks at the first unit
alone, (s_t[0] - 1)^2 / 2. A unit pushes its neighbour, that one the next, and so on: the ten of
positive influence are near and seen first, the thirteen of negative influence are far and win in
the end. The whole gradient of the first unit is -6, so theta has to become -1/6. A gradient that is
truncated after K steps sees the near ones only and has the wrong sign: descent climbs.

Reproduced: the K from which the sign is right, 41, and where theta is after 3,000 updates from
theta = 0.5 with a learning rate of 1e-4, for several K and for the whole gradient.

Settings: as in the paper. The state is carried on from update to update. Every update takes the
loss of one step, flows back K steps from it, and moves the state on by K steps; a K of 400 is the
whole gradient, A^400 being 0 to 1e-80.

Deviations: the paper's truncated gradient cuts the sequence into pieces of K steps and takes the
losses of all steps of a piece, most of which flow back fewer than K steps; from which K on the sign
is right then is computed too. There is no noise here and nothing is random, so the seed is without
effect. The layer has no linear units: the states are shifted by a constant that keeps all of them
above 0, where a ReLU is the identity. A run stops where theta has passed 10.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from record import Number, Paper, Settings, main

import numba_rnn as nr

UNITS, POSITIVE = 23, 10
V = np.where(np.arange(UNITS) < POSITIVE, 1.0, -1.0)
A = (np.eye(UNITS) + np.eye(UNITS, k=1)) / 2
SHIFT = 1024.0  # h = s + SHIFT > 0, as long as theta is below some 39
WHOLE = 400  # steps of what counts as the whole gradient

PAPER = Paper(
    name="tallec_balance",
    source="Tallec and Ollivier 2017, influence balancing",
    whole=dict(seeds=1, theta=0.5, lr=1e-4, updates=3000, windows=[10, 40, 41, 100], longest=150),
    quick=dict(seeds=1, theta=0.5, lr=1e-4, updates=60, windows=[10, 41], longest=120),
    numbers={
        "right_from": Number(
            "first K whose gradient has the right sign", 41, "by the powers of A", digits=0
        ),
        "theta": Number("theta after the updates, whole gradient", -1 / 6, "exact: -1/6", digits=5),
        "diverged": Number(
            "updates until theta passed 10, K = 10",
            None,
            "diverges",
            digits=0,
        ),
        "pieces_right_from": Number(
            "first K with the right sign, losses of all steps of a piece",
            None,
            "not given",
            digits=0,
        ),
    },
    deviations=(
        "losses of one step per window; pieces, as in the paper, only for the sign",
        "ReLU units, shifted to where they are linear",
        "no noise, hence no seeds",
    ),
)


def network() -> nr.RNN:
    """Return the layer h_t = relu(A h_(t-1) + theta v x_t + SHIFT (1 - A 1)), linear in s."""
    rnn = nr.RNN(1, UNITS, nonlinearity="relu", dtype=np.float64, rng=0)
    rnn.weight_hh_l0[...] = A
    rnn.bias_ih_l0[...] = 0
    rnn.bias_hh_l0[...] = SHIFT * (1 - A.sum(axis=1))
    return rnn


def gradient(
    rnn: nr.RNN, theta: float, h: np.ndarray, steps: int, every_step: bool = False
) -> tuple[float, np.ndarray]:
    """d(loss)/d(theta) of the last step, or of the mean over steps, and the state after them."""
    rnn.weight_ih_l0[:, 0] = theta * V
    tape = rnn.forward(np.ones((steps, 1, 1)), h)
    if tape.output.min() <= 0:
        raise ArithmeticError("a state left the linear part of its ReLU")
    slope = np.zeros_like(tape.output)
    seen = slice(None) if every_step else slice(-1, None)
    slope[seen, 0, 0] = tape.output[seen, 0, 0] - SHIFT - 1  # of (s_t[0] - 1)^2 / 2
    slope /= steps if every_step else 1
    grads = tape.backward(slope).parameters
    return float(V @ grads["weight_ih_l0"][:, 0]), tape.h_n  # W_ih = theta v


def settled(rnn: nr.RNN, theta: float) -> np.ndarray:
    """Return the state into which the network settles at a theta."""
    rnn.weight_ih_l0[:, 0] = theta * V
    return rnn(np.ones((WHOLE, 1, 1)), np.full((1, 1, UNITS), SHIFT))[1]


def experiment(settings: Settings, seed: int) -> tuple[dict[str, float], dict[str, Any]]:
    """Look at the sign of the gradient for every K, then descend with some of them."""
    rnn, theta = network(), settings["theta"]
    h = settled(rnn, theta)
    windows = range(1, settings["longest"] + 1)
    # s_t[0] = -6 theta is below 1 here, so that dL/dtheta = (s - 1) ds/dtheta must be above 0
    last = [gradient(rnn, theta, h, K)[0] for K in windows]
    pieces = [gradient(rnn, theta, h, K, every_step=True)[0] for K in windows]
    numbers = {"right_from": first_positive(last), "pieces_right_from": first_positive(pieces)}

    paths = {K: descent(rnn, settings, K) for K in [*settings["windows"], WHOLE]}
    numbers["theta"] = paths[WHOLE][-1]
    numbers["diverged"] = float(len(paths[10]) - 1)
    curves = {
        "windows": list(windows),
        "gradient": [round(g, 6) for g in last],
        "gradient_of_pieces": [round(g, 6) for g in pieces],
        "paths": {str(K): [round(t, 6) for t in path[::20]] for K, path in paths.items()},
    }
    return numbers, curves


def first_positive(gradients: list[float]) -> float:
    """Return the first K from which on the gradient is positive."""
    wrong = [K for K, g in enumerate(gradients, 1) if g <= 0]
    return float(wrong[-1] + 1)


def descent(rnn: nr.RNN, settings: Settings, steps: int) -> list[float]:
    """Return theta after every update with gradients that flow back that many steps."""
    path = [settings["theta"]]
    h = settled(rnn, path[0])
    for _ in range(settings["updates"]):
        slope, h = gradient(rnn, path[-1], h, steps)
        path.append(path[-1] - settings["lr"] * slope)
        if abs(path[-1]) > 10:
            break
    return path


def run(argv: Sequence[str] | None = None) -> int:
    """Run the experiment."""
    return main(PAPER, experiment, argv)


if __name__ == "__main__":
    raise SystemExit(run())
