"""The adding problem with an IRNN: ReLU units that start as a running sum.

    python examples/papers/le_adding.py [--quick]

Source: Q. V. Le, N. Jaitly and G. E. Hinton, "A simple way to initialize recurrent networks of
rectified linear units", arXiv:1504.00941, 2015, section 4.1; the problem is S. Hochreiter and J.
Schmidhuber's, "Long short-term memory", Neural Computation 9(8), 1997.

Each step brings a number between 0 and 1 and a mark; two steps are marked, and at the end the sum
of their numbers is asked for. Who always answers 1 has a mean squared error of 1/6. An IRNN has
ReLU units whose recurrent weights start as the identity and whose biases start at 0: at first it
keeps whatever it has, and gradients flow back undiminished.

Reproduced: an IRNN solves sequences of 150 steps, the shortest of the paper's, whose curve for it
ends near 0.

Settings: 100 units, T = 150, recurrent weights I, biases 0, input weights from a normal
distribution with standard deviation 0.001, as in the paper.

Deviations: Adam with a learning rate of 0.0003, gradients clipped to norm 1, batches of 32; the
paper has SGD, batches of 16, and rates and clips chosen on a grid. 8,000 batches of fresh sequences
in the place of many more on 100,000 sequences. The paper marks two steps anywhere; here one is in
the first half and one in the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from record import Number, Paper, Settings, main, rounded

import numba_rnn as nr

PAPER = Paper(
    name="le_adding",
    source="Le, Jaitly and Hinton 2015, adding problem",
    whole=dict(
        seeds=1, steps=150, hidden=100, batch=32, batches=8000, lr=3e-4, clip=1.0, tested=10_000
    ),
    quick=dict(
        seeds=1, steps=10, hidden=100, batch=32, batches=200, lr=3e-4, clip=1.0, tested=1000
    ),
    numbers={
        "irnn": Number("mean squared error, IRNN", None, "near 0 in the figure", digits=4),
        "answering_1": Number("mean squared error of who answers 1", 1 / 6, "exact", digits=4),
    },
    deviations=(
        "Adam with lr 0.0003 and clip 1, the paper has SGD with both chosen on a grid",
        "8,000 batches of 32 fresh sequences, the paper has many more of 16 from 100,000 sequences",
        "one mark in each half",
    ),
)  # fmt: skip


def problem(rng: np.random.Generator, steps: int, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw a batch: x (L, N, 2) and what is to be answered, (N, 1)."""
    numbers = rng.random((steps, samples), np.float32)
    marks = np.zeros_like(numbers)
    marks[rng.integers(0, steps // 2, samples), np.arange(samples)] = 1
    marks[rng.integers(steps // 2, steps, samples), np.arange(samples)] = 1
    return np.stack([numbers, marks], axis=-1), (numbers * marks).sum(axis=0)[:, None]


def identity(rnn: nr.RNN, rng: np.random.Generator) -> None:
    """Make an IRNN of a ReLU layer."""
    rnn.weight_ih_l0[...] = 0.001 * rng.standard_normal(rnn.weight_ih_l0.shape)
    rnn.weight_hh_l0[...] = np.eye(rnn.hidden_size)
    rnn.bias_ih_l0[...] = 0
    rnn.bias_hh_l0[...] = 0


def train(rnn: nr.RNN, settings: Settings, rng: np.random.Generator) -> tuple[nr.Linear, list]:
    """Train a layer and a readout; return the readout and the loss of every batch."""
    readout = nr.Linear(rnn.hidden_size, 1, rng=rng)
    adam = nr.optim.Adam([rnn.flat_parameters, readout.flat_parameters], lr=settings["lr"])
    history = []
    for _ in range(settings["batches"]):
        x, y = problem(rng, settings["steps"], settings["batch"])
        tape = rnn.forward(x)
        head = readout.forward(tape.h_n[-1])
        loss, slope = nr.losses.mse(head.output, y)
        head_grads = head.backward(slope)
        grads = [tape.backward(grad_h_n=head_grads.input[None]).flat, head_grads.flat]
        nr.optim.clip_grad_norm(grads, settings["clip"])
        adam.step(grads)
        history.append(loss)
    return readout, history


def experiment(settings: Settings, seed: int) -> tuple[dict[str, float], dict[str, Any]]:
    """Train an IRNN, and test it on other sequences."""
    rng = np.random.default_rng(seed)
    rnn = nr.RNN(2, settings["hidden"], nonlinearity="relu", rng=rng)
    identity(rnn, rng)
    readout, history = train(rnn, settings, rng)
    x, y = problem(np.random.default_rng([seed, 1]), settings["steps"], settings["tested"])
    answers = readout(rnn(x)[1][-1])
    numbers = {
        "irnn": float(np.mean((answers - y) ** 2, dtype=np.float64)),
        "answering_1": float(np.mean((1 - y) ** 2, dtype=np.float64)),
    }
    return numbers, {"loss_every_50": rounded(np.reshape(history, (-1, 50)).mean(axis=1))}


def run(argv: Sequence[str] | None = None) -> int:
    """Run the experiment."""
    return main(PAPER, experiment, argv)


if __name__ == "__main__":
    raise SystemExit(run())
