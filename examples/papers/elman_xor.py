"""XOR in time: every third bit follows from the two before it.

    python examples/papers/elman_xor.py [--quick]

Source: J. L. Elman, "Finding structure in time", Cognitive Science 14(2), 1990, figure 3.

A sequence of 3,000 bits is a thousand triples, two random bits and their XOR each. The network sees
one bit at a time and predicts the next. Only every third can be known, and nothing says which.

Reproduced: after 600 passes the error, by position in the sequence, dips at every third bit.

What to expect can be computed. Who looks at the last two bits and doesn't know the phase does best
to bet 2 : 1 on their XOR at every step: root mean squared errors of 1/3 at the third bits and
sqrt(5/18) = 0.527 at the others. Who knows the phase has 0 and 1/2. It can be inferred, as the XOR
holds at every third step in the right phase and now and then in a wrong one.

Settings: 3,000 bits, 600 passes, 2 hidden units as in the paper, and 8 beside them; error on
another sequence of 3,000 bits.

Deviations: Elman trained with one-step truncation, the state before a step counting as an input;
here gradients flow back through pieces of 30 steps, the state being carried on from piece to piece.
The sequence is read as ten of 300 bits side by side, tanh units stand for logistic ones,
cross-entropy and Adam (0.01) for squared error and gradient descent. There are
five runs, and a dip is an error at the third bits below 0.8 of that at the others.

Reached, and more: 2 units do what can be done without the phase, in each run; 8 units find the
phase, and then know every third bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from record import Number, Paper, Settings, main, rounded
from scipy import special

import numba_rnn as nr

PAPER = Paper(
    name="elman_xor",
    source="Elman 1990, XOR in time",
    whole=dict(
        seeds=5, triples=1000, passes=600, side_by_side=10, piece=30, lr=0.01, hidden=[2, 8]
    ),
    quick=dict(seeds=1, triples=1000, passes=20, side_by_side=10, piece=30, lr=0.01, hidden=[2, 8]),
    numbers={
        "third_2": Number("RMS error at third bits, 2 units", None, "dips"),
        "others_2": Number("RMS error at the others, 2 units", None, "no dip"),
        "dips_2": Number("share of runs with a dip, 2", None, "the one run shown has it", digits=1),
        "third_8": Number("RMS error at third bits, 8 units", None, "not tried"),
        "others_8": Number("RMS error at the others, 8 units", None, "not tried"),
        "dips_8": Number("share of runs with a dip, 8", None, "not tried", digits=1),
    },
    deviations=(
        "BPTT over pieces of 30 steps, the paper truncates after one",
        "ten sequences of 300 bits side by side, the paper has one of 3,000",
        "tanh units, cross-entropy, Adam; the paper: logistic units, squared error, SGD",
    ),
)


def bits(rng: np.random.Generator, triples: int) -> np.ndarray:
    """Draw triples, and return their bits one after the other."""
    two = rng.integers(0, 2, (triples, 2))
    return np.column_stack([two, two[:, 0] ^ two[:, 1]]).ravel()


def columns(sequence: np.ndarray, side_by_side: int) -> tuple[np.ndarray, np.ndarray]:
    """Input and what comes next, both (L, N, 1), of a sequence that is cut into N."""
    cut = sequence.reshape(side_by_side, -1).T[:, :, None].astype(np.float32)
    return np.ascontiguousarray(cut[:-1]), np.ascontiguousarray(cut[1:])


def train(sequence: np.ndarray, hidden: int, settings: Settings, rng: np.random.Generator) -> tuple:
    """Return a layer and a readout that were trained to predict the next bit."""
    rnn, readout = nr.RNN(1, hidden, rng=rng), nr.Linear(hidden, 1, rng=rng)
    adam = nr.optim.Adam([rnn.flat_parameters, readout.flat_parameters], lr=settings["lr"])
    x, y = columns(sequence, settings["side_by_side"])
    pieces = [slice(at, at + settings["piece"]) for at in range(0, len(x), settings["piece"])]
    for _ in range(settings["passes"]):
        h = None
        for piece in pieces:
            tape = rnn.forward(x[piece], h)
            head = readout.forward(tape.output)
            _, slope = nr.losses.binary_cross_entropy(head.output, y[piece])
            head_grads = head.backward(slope)
            adam.step([tape.backward(head_grads.input).flat, head_grads.flat])
            h = tape.h_n  # the state goes on, gradients do not
    return rnn, readout


def errors(rnn: nr.RNN, readout: nr.Linear, sequence: np.ndarray) -> np.ndarray:
    """Squared errors of the predictions of bits 12, 13, ... of a sequence, shape (n, 12)."""
    x, y = columns(sequence, 1)
    square = (special.expit(readout(rnn(x)[0])) - y)[:, 0, 0] ** 2  # of bits 1, 2, ...
    return square[11:].reshape(-1, 12)


def experiment(settings: Settings, seed: int) -> tuple[dict[str, float], dict[str, Any]]:
    """Train networks of several sizes, and look at the error by position."""
    numbers, curves = {}, {}
    for hidden in settings["hidden"]:
        rng = np.random.default_rng(seed)
        rnn, readout = train(bits(rng, settings["triples"]), hidden, settings, rng)
        square = errors(rnn, readout, bits(rng, settings["triples"])).mean(axis=0)
        by_phase = square.reshape(4, 3).mean(axis=0)  # the third of three is the XOR
        third, others = math.sqrt(by_phase[2]), math.sqrt(by_phase[:2].mean())
        numbers |= {
            f"third_{hidden}": third,
            f"others_{hidden}": others,
            f"dips_{hidden}": float(third < 0.8 * others),
        }
        curves[f"error_by_position_{hidden}"] = rounded(np.sqrt(square), 4)
    return numbers, curves


def run(argv: Sequence[str] | None = None) -> int:
    """Run the experiment."""
    return main(PAPER, experiment, argv)


if __name__ == "__main__":
    raise SystemExit(run())
