"""Temporal order: which two symbols came, and which of them first.

    python examples/papers/pascanu_order.py [--quick]

Source: R. Pascanu, T. Mikolov and Y. Bengio, "On the difficulty of training recurrent neural
networks", arXiv:1211.5063, 2013, section 4.1.1; the problem is S. Hochreiter and J. Schmidhuber's,
"Long short-term memory", Neural Computation 9(8), 1997.

A sequence of symbols c, d, e, f has two others in it, each A or B: one in its second tenth, one in
its fifth. At the end the network has to say which of AA, AB, BA, BB it was. Who guesses is wrong in
three of four cases, with a loss of ln 4.

Reproduced: success, which the paper calls fewer than 1 % of 10,000 test sequences wrong; and that
the network trained on short sequences is right on longer ones than it has seen.

Settings: 6 inputs, 50 tanh units, batches of 20, gradients clipped to norm 1, as in the paper.

Deviations: lengths of 20 to 50 in training, the paper's are 50 to 200. Adam with a learning rate of
0.001 in the place of SGD with 0.01. No regulariser Omega, which the paper needs for lengths to 200:
the recurrent weights start orthogonal instead, so that little vanishes to begin with. 4,000
batches; the paper allows millions. All sequences of a batch have one length.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from record import Number, Paper, Settings, main, rounded
from scipy import stats

import numba_rnn as nr

PAPER = Paper(
    name="pascanu_order",
    source="Pascanu, Mikolov and Bengio 2013, temporal order",
    whole=dict(
        seeds=3, lengths=[20, 50], hidden=50, batch=20, batches=4000, lr=1e-3, clip=1.0,
        tested=10_000, longer=[100, 200],
    ),
    quick=dict(
        seeds=1, lengths=[10, 12], hidden=50, batch=20, batches=400, lr=1e-3, clip=1.0,
        tested=1000, longer=[24],
    ),
    numbers={
        "wrong": Number("wrong, per cent", None, "below 1", digits=2),
        "loss": Number("cross-entropy at the end of training (guessing: 1.386)", None, "not given"),
        "wrong_longer": Number(
            "wrong, per cent, at twice the longest length in training", None, "not given", digits=2
        ),
    },
    deviations=(
        "lengths of 20 to 50, the paper's are 50 to 200",
        "Adam with lr 0.001, the paper has SGD with 0.01",
        "no regulariser Omega; recurrent weights start orthogonal instead",
        "4,000 batches of 20, the paper allows millions",
    ),
)  # fmt: skip


def sequences(rng: np.random.Generator, steps: int, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw x (L, N, 6), one symbol a step as a unit vector, and classes (N,)."""
    symbols = rng.integers(2, 6, (steps, samples))  # the distractors
    ordered = rng.integers(0, 2, (2, samples))
    at = np.arange(samples)
    symbols[rng.integers(steps // 10, 2 * steps // 10, samples), at] = ordered[0]
    symbols[rng.integers(4 * steps // 10, 5 * steps // 10, samples), at] = ordered[1]
    return np.eye(6, dtype=np.float32)[symbols], 2 * ordered[0] + ordered[1]


def wrong(rnn: nr.RNN, readout: nr.Linear, rng: np.random.Generator, lengths: Any, n: int) -> float:
    """Per cent of n test sequences that are classified wrongly, a batch of 100 for each length."""
    errors = 0
    for _ in range(n // 100):
        x, y = sequences(rng, int(rng.integers(lengths[0], lengths[1] + 1)), 100)
        errors += np.count_nonzero(readout(rnn(x)[1][-1]).argmax(axis=1) != y)
    return 100 * errors / (n // 100 * 100)


def experiment(settings: Settings, seed: int) -> tuple[dict[str, float], dict[str, Any]]:
    """Train on sequences of many lengths, test on new ones and on longer ones."""
    rng = np.random.default_rng(seed)
    H, lengths = settings["hidden"], settings["lengths"]
    rnn, readout = nr.RNN(6, H, rng=rng), nr.Linear(H, 4, rng=rng)
    rnn.weight_hh_l0[...] = stats.ortho_group.rvs(H, random_state=rng)
    adam = nr.optim.Adam([rnn.flat_parameters, readout.flat_parameters], lr=settings["lr"])
    history = []
    for _ in range(settings["batches"]):
        x, y = sequences(rng, int(rng.integers(lengths[0], lengths[1] + 1)), settings["batch"])
        tape = rnn.forward(x)
        head = readout.forward(tape.h_n[-1])
        loss, slope = nr.losses.cross_entropy(head.output, y)
        head_grads = head.backward(slope)
        grads = [tape.backward(grad_h_n=head_grads.input[None]).flat, head_grads.flat]
        nr.optim.clip_grad_norm(grads, settings["clip"])
        adam.step(grads)
        history.append(loss)
    numbers = {
        "wrong": wrong(rnn, readout, rng, lengths, settings["tested"]),
        "loss": float(np.mean(history[-100:])),
    }
    longer = {
        n: wrong(rnn, readout, rng, (n, n), settings["tested"]) for n in settings["longer"]
    }
    numbers["wrong_longer"] = longer[settings["longer"][0]]
    blocks = np.array(history[: len(history) // 50 * 50]).reshape(-1, 50).mean(axis=1)
    curves = {
        "loss_every_50": rounded(blocks, 4),
        "wrong_by_length": {str(n): v for n, v in longer.items()},
    }
    return numbers, curves


def run(argv: Sequence[str] | None = None) -> int:
    """Run the experiment."""
    return main(PAPER, experiment, argv)


if __name__ == "__main__":
    raise SystemExit(run())
