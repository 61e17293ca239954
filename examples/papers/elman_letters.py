"""Letters: a consonant says which vowel follows and how often.

    python examples/papers/elman_letters.py [--quick]

Source: J. L. Elman, "Finding structure in time", Cognitive Science 14(2), 1990, figures 4 and 5.

A thousand consonants, b, d or g by chance, are replaced: b by ba, d by dii, g by guuu. Each letter
is six bits, Consonant, Vowel, Interrupted, High, Back and Voiced, and the network predicts the next
letter's.

Reproduced: the error is high where a consonant comes, which is chance, and low at vowels (figure
4); and even at consonants the bit Consonant is known, since the network counts vowels, while the
bit High, in which consonants differ, is not (figure 5).

What to expect can be computed. At a consonant High is 1 for d alone, a chance of 1/3, and Back for
g alone: an error of sqrt(2)/3 = 0.471 in each, and over the six bits a root mean square of
sqrt(2)/sqrt(27) = 0.272. All else can be known.

Settings: 20 hidden units, 1,000 consonants, 200 passes, as in the paper; error on another sequence.

Deviations: Elman trained with one-step truncation, the state before a step counting as an input;
here gradients flow back through pieces of 30 letters, the state being carried on. tanh units stand
for logistic ones, cross-entropy and Adam (0.003) for squared error and gradient descent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from record import Number, Paper, Settings, main, rounded
from scipy import special

import numba_rnn as nr

#             Consonant, Vowel, Interrupted, High, Back, Voiced
LETTERS = {
    "b": (1, 0, 1, 0, 0, 1),
    "d": (1, 0, 1, 1, 0, 1),
    "g": (1, 0, 1, 0, 1, 1),
    "a": (0, 1, 0, 0, 1, 1),
    "i": (0, 1, 0, 1, 0, 1),
    "u": (0, 1, 0, 1, 1, 1),
}
SYLLABLES = ("ba", "dii", "guuu")
CONSONANT, HIGH = 0, 3

PAPER = Paper(
    name="elman_letters",
    source="Elman 1990, letters",
    whole=dict(seeds=3, consonants=1000, hidden=20, passes=200, piece=30, lr=0.003),
    quick=dict(seeds=1, consonants=200, hidden=20, passes=10, piece=30, lr=0.003),
    numbers={
        "consonants": Number("RMS error at consonants", None, "high in figure 4"),
        "vowels": Number("RMS error at vowels", None, "low in figure 4"),
        "consonant_bit": Number(
            "error of the bit Consonant, at consonants", None, "low in figure 5"
        ),
        "high_bit": Number("error of the bit High, at consonants", None, "high in figure 5"),
    },
    deviations=(
        "BPTT over pieces of 30 letters, the paper truncates after one",
        "tanh units, cross-entropy, Adam; the paper: logistic units, squared error, SGD",
    ),
)


def text(rng: np.random.Generator, consonants: int) -> str:
    """Draw a text."""
    return "".join(SYLLABLES[i] for i in rng.integers(0, 3, consonants))


def coded(letters: str) -> tuple[np.ndarray, np.ndarray]:
    """Input and what comes next, both (L, 1, 6)."""
    rows = np.array([LETTERS[letter] for letter in letters], np.float32)[:, None]
    return rows[:-1], rows[1:]


def train(letters: str, settings: Settings, rng: np.random.Generator) -> tuple:
    """Return a layer and a readout that were trained to predict the next letter."""
    H = settings["hidden"]
    rnn, readout = nr.RNN(6, H, rng=rng), nr.Linear(H, 6, rng=rng)
    adam = nr.optim.Adam([rnn.flat_parameters, readout.flat_parameters], lr=settings["lr"])
    x, y = coded(letters)
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


def experiment(settings: Settings, seed: int) -> tuple[dict[str, float], dict[str, Any]]:
    """Train, and look at the errors of every letter of another text."""
    rng = np.random.default_rng(seed)
    rnn, readout = train(text(rng, settings["consonants"]), settings, rng)
    letters = text(rng, settings["consonants"])
    x, y = coded(letters)
    error = (special.expit(readout(rnn(x)[0])) - y)[:, 0]  # (L, 6)
    consonant = y[:, 0, CONSONANT] == 1

    def rms(values: np.ndarray) -> float:
        return math.sqrt(np.mean(values.astype(np.float64) ** 2))

    numbers = {
        "consonants": rms(error[consonant]),
        "vowels": rms(error[~consonant]),
        "consonant_bit": rms(error[consonant, CONSONANT]),
        "high_bit": rms(error[consonant, HIGH]),
    }
    shown = slice(40, 70)
    curves = {
        "letters": letters[1:][shown],
        "error": rounded(np.sqrt(np.mean(error[shown] ** 2, axis=1)), 4),
        "error_of_consonant": rounded(np.abs(error[shown, CONSONANT]), 4),
        "error_of_high": rounded(np.abs(error[shown, HIGH]), 4),
    }
    return numbers, curves


def run(argv: Sequence[str] | None = None) -> int:
    """Run the experiment."""
    return main(PAPER, experiment, argv)


if __name__ == "__main__":
    raise SystemExit(run())
