"""A cliff in the error of one unit, and what clipping does there.

    python examples/papers/pascanu_cliff.py [--quick]

Source: R. Pascanu, T. Mikolov and Y. Bengio, "On the difficulty of training recurrent neural
networks", arXiv:1211.5063, 2013, figures 3 and 6.

One unit without input, started at x_0 = 0.5, runs for 50 steps:

    x_t = w s(x_(t-1)) + b,    E = (s(x_50) - 0.7)^2,    s the logistic function.

Reproduced: at w = 5 the unit has one fixed point or three, and changes between them at two values
of b, the folds (figure 3); where x_0 crosses from one side of the middle fixed point to the other,
x_50 jumps and the error has a cliff, in the interior of that range. Over the plane of w and b the
cliff is a wall (figure 6): a plain gradient step that touches it is thrown far away, a clipped one
goes on along it.

Settings: w = 5, x_0, 50 steps and the target as in the paper. The folds are found by bisection of
the number of fixed points, and compared with the closed form w s'(x) = 1. The cliff is where
|dE/db| is largest. Descent starts at w = 5, b = -2.8 with a learning rate of 0.1, with and without
clipping the norm of the gradient to 0.1, for 400 updates.

Deviations: the paper gives figures, no numbers: those beside ours come of the equations. Where its
descent starts and its learning rate are not printed, ours are chosen. The unit is computed by the
layer: with h = tanh(x / 2) = 2 s(x) - 1 the equation above becomes

    h_t = tanh(w / 4 h_(t-1) + w / 4 + b / 2),

a tanh layer with W_hh = w / 4 and b_hh = w / 4 + b / 2, and gradients go the same way back. Nothing
is random: the seed is without effect.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from record import Number, Paper, Settings, main, rounded
from scipy import optimize, special

import numba_rnn as nr

W, X_0, STEPS, TARGET = 5.0, 0.5, 50, 0.7
UNIT = nr.RNN(1, 1, dtype=np.float64, rng=0)

# w s'(x) = 1 with s' = s (1 - s): the two values of s where the line touches the curve
_ROOT = math.sqrt(1 - 4 / W)
UPPER, LOWER = (special.logit(s) - W * s for s in ((1 - _ROOT) / 2, (1 + _ROOT) / 2))
ON_THE_MIDDLE = X_0 - W * special.expit(X_0)  # b where x_0 is a fixed point, the middle one

PAPER = Paper(
    name="pascanu_cliff",
    source="Pascanu, Mikolov and Bengio 2013, figures 3 and 6",
    whole=dict(
        seeds=1, points=401, grid=49, w=[3.0, 7.0], b=[-3.6, -1.6],
        start=[5.0, -2.8], lr=0.1, clip=0.1, updates=400,
    ),
    quick=dict(
        seeds=1, points=101, grid=9, w=[3.0, 7.0], b=[-3.6, -1.6],
        start=[5.0, -2.8], lr=0.1, clip=0.1, updates=400,
    ),
    numbers={
        "fold_low": Number("lower fold, b", round(LOWER, 4), "closed form", digits=4),
        "fold_high": Number("upper fold, b", round(UPPER, 4), "closed form", digits=4),
        "cliff": Number("cliff, b", round(ON_THE_MIDDLE, 4), "x_0 is a fixed point", digits=4),
        "jump": Number("fall of E at the cliff", 0.33, "read off the figure", digits=2),
        "steepest": Number("largest |dE/db|", None, "a wall", digits=0),
        "thrown": Number("longest step without clipping", None, "leaves the picture", digits=2),
        "clipped": Number("longest step with clipping", None, "stays at the wall", digits=4),
        "error": Number("E in the end, without clipping", None, "not given", digits=4),
        "error_clipped": Number("E in the end, with clipping", None, "not given", digits=4),
    },
    deviations=(
        "start and learning rate of the descent are ours, the paper prints none",
        "the logistic unit is computed by a tanh layer, which is exact",
    ),
)  # fmt: skip


def error(w: float, b: float) -> tuple[float, np.ndarray, float]:
    """E, its gradient with respect to (w, b), and x after the last step."""
    UNIT.flat_parameters[...] = 0
    UNIT.weight_hh_l0[...] = w / 4
    UNIT.bias_hh_l0[...] = w / 4 + b / 2
    tape = UNIT.forward(np.zeros((STEPS, 1, 1)), np.full((1, 1, 1), math.tanh(X_0 / 2)))
    s = (1 + float(tape.h_n[0, 0, 0])) / 2
    slope = 2 * (s - TARGET) / 2  # dE/dh
    grads = tape.backward(grad_h_n=np.full((1, 1, 1), slope)).parameters
    d_hh, d_bias = float(grads["weight_hh_l0"][0, 0]), float(grads["bias_hh_l0"][0])
    return (s - TARGET) ** 2, np.array([d_hh / 4 + d_bias / 4, d_bias / 2]), special.logit(s)


def fixed_points(b: float) -> np.ndarray:
    """Return the x with x = w s(x) + b, by changes of sign between points of a grid."""
    x = np.linspace(-12, 12, 200_001)
    rest = W * special.expit(x) + b - x
    at = np.nonzero(np.diff(rest >= 0))[0]
    return x[at] + (x[1] - x[0]) * rest[at] / (rest[at] - rest[at + 1])


def fold(outside: float, inside: float) -> float:
    """Return the b between these two where one fixed point becomes three, by bisection."""
    while abs(outside - inside) > 1e-7:
        b = (outside + inside) / 2
        if len(fixed_points(b)) > 1:
            inside = b
        else:
            outside = b
    return (outside + inside) / 2


def descent(settings: Settings, clip: float | None) -> tuple[np.ndarray, float]:
    """Return (w, b) before every update and after the last, and E there."""
    place, path = np.array(settings["start"]), []
    optimizer = nr.optim.SGD(place, lr=settings["lr"])
    for _ in range(settings["updates"]):
        path.append(place.copy())
        gradient = error(*place)[1]
        if clip is not None:
            nr.optim.clip_grad_norm(gradient, clip)
        optimizer.step(gradient)
    path.append(place.copy())
    return np.array(path), error(*place)[0]


def experiment(settings: Settings, seed: int) -> tuple[dict[str, float], dict[str, Any]]:
    """Find folds and cliff at w = 5, then descend."""
    numbers = {"fold_low": fold(-4.0, -2.5), "fold_high": fold(-1.0, -2.5)}

    def steepness(b: float) -> float:
        return abs(error(W, b)[1][1])

    # where x_50 changes from one side of x_0 to the other, and the steepest place around there
    near = optimize.bisect(
        lambda at: error(W, at)[2] - X_0, numbers["fold_low"], numbers["fold_high"]
    )
    around = near + np.linspace(-0.02, 0.02, 401)
    near = around[np.argmax([steepness(at) for at in around])]
    found = optimize.minimize_scalar(
        lambda at: -steepness(at), bounds=(near - 1e-4, near + 1e-4), method="bounded"
    )
    numbers |= {"cliff": float(found.x), "steepest": -float(found.fun)}
    numbers["jump"] = error(W, found.x - 0.01)[0] - error(W, found.x + 0.01)[0]

    plain, numbers["error"] = descent(settings, None)
    clipped, numbers["error_clipped"] = descent(settings, settings["clip"])
    for key, path in (("thrown", plain), ("clipped", clipped)):
        numbers[key] = float(np.linalg.norm(np.diff(path, axis=0), axis=1).max())

    line = np.linspace(*settings["b"], settings["points"])
    ws, bs = (np.linspace(*settings[name], settings["grid"]) for name in ("w", "b"))
    curves = {
        "b": rounded(line),
        "x_50": rounded([error(W, at)[2] for at in line]),
        "E": rounded([error(W, at)[0] for at in line]),
        "fixed_points": [rounded(fixed_points(at)) for at in line[::4]],
        "surface": {
            "w": rounded(ws),
            "b": rounded(bs),
            "E": rounded([[error(w, b)[0] for b in bs] for w in ws], 4),
        },
        "path": rounded(plain),
        "path_clipped": rounded(clipped),
    }
    return numbers, curves


def run(argv: Sequence[str] | None = None) -> int:
    """Run the experiment."""
    return main(PAPER, experiment, argv)


if __name__ == "__main__":
    raise SystemExit(run())
