"""Train an Elman RNN by hand: layer, tape, readout, optimiser, and nothing around them.

    python examples/train_by_hand.py

The task is the adding problem of Hochreiter and Schmidhuber ("Long short-term memory", Neural
Computation 9(8), 1997): each step brings a number between 0 and 1 and a mark, two steps are marked,
and at the end the sum of the two marked numbers is asked for. One number has to be kept while
others go by, so the gradient has to flow back that far; at the end the script shows how much of it
arrives at each step, before training and after. Who always answers 1 has a mean squared error of
1/6.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

import numba_rnn as nr

BATCH = 64
ANSWERING_1 = 1 / 6  # variance of the sum of two uniform numbers


def problem(rng: np.random.Generator, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw a batch: x (L, N, 2) and what is to be answered, (N, 1)."""
    numbers = rng.random((steps, BATCH), np.float32)
    marks = np.zeros_like(numbers)
    samples = np.arange(BATCH)
    marks[rng.integers(0, steps // 2, BATCH), samples] = 1  # one in the first half
    marks[rng.integers(steps // 2, steps, BATCH), samples] = 1  # and one in the second
    return np.stack([numbers, marks], axis=-1), (numbers * marks).sum(axis=0)[:, None]


def gradients(rnn: nr.RNN, readout: nr.Linear, x: np.ndarray, target: np.ndarray) -> tuple:
    """Loss, the gradients of both layers' parameters, and dL/dh_t of every step."""
    # forward: what each tape keeps is what its backward needs
    hidden = rnn.forward(x)  # h_n: (1, N, H)
    answer = readout.forward(hidden.h_n[-1])  # output: (N, 1)
    loss, d_answer = nr.losses.mse(answer.output, target)
    # backward: the same way in the other direction
    d_readout = answer.backward(d_answer)
    d_rnn = hidden.backward(grad_h_n=d_readout.input[None], state_gradients=True)
    return loss, [d_rnn.flat, d_readout.flat], d_rnn.states[0]  # states: (L, N, H)


def arriving(states: np.ndarray) -> np.ndarray:
    """Length of dL/dh_t, in the mean over samples, relative to the last step: shape (L,)."""
    norms = np.linalg.norm(states, axis=-1).mean(axis=1)
    return norms / norms[-1]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the example; the exit status is 1 if the network learned nothing."""
    parser = argparse.ArgumentParser(description="Train an RNN by hand on the adding problem.")
    parser.add_argument("--steps", type=int, default=30, help="of a sequence (30)")
    parser.add_argument("--batches", type=int, default=2500, help="to train on (2500)")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is random (0)")
    args = parser.parse_args(argv)

    rng = np.random.default_rng(args.seed)
    rnn = nr.RNN(input_size=2, hidden_size=32, rng=rng)
    readout = nr.Linear(32, 1, rng=rng)
    adam = nr.optim.Adam([rnn.flat_parameters, readout.flat_parameters], lr=4e-3)

    test = [problem(rng, args.steps) for _ in range(10)]
    before = arriving(gradients(rnn, readout, *test[0])[2])
    progress = tqdm(range(args.batches), desc="training", unit="batch")
    smooth = ANSWERING_1
    for _ in progress:
        loss, grads, _ = gradients(rnn, readout, *problem(rng, args.steps))
        nr.optim.clip_grad_norm(grads, 1.0)  # gradients through many steps can explode
        adam.step(grads)
        smooth += 0.01 * (loss - smooth)
        progress.set_postfix(loss=f"{smooth:.4f}", refresh=False)
    after = arriving(gradients(rnn, readout, *test[0])[2])

    # evaluation keeps nothing for backward
    answers = [readout(rnn(x)[1][-1]) for x, _ in test]
    error = float(np.mean([np.mean((a - y) ** 2) for a, (_, y) in zip(answers, test, strict=True)]))
    print(f"mean squared error: {error:.4f}; who always answers 1 has {ANSWERING_1:.4f}")
    print("share of the gradient of the last state that arrives")
    print("steps from the end".ljust(20), "untrained".rjust(10), "trained".rjust(10))
    for back in range(0, args.steps, max(1, args.steps // 6)):
        print(f"{back:<20} {before[-1 - back]:10.1e} {after[-1 - back]:10.1e}")
    return int(error >= ANSWERING_1 / 2)


if __name__ == "__main__":
    raise SystemExit(main())
