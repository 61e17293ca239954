"""Tell nine speakers apart by how they say two vowels: sequences of different lengths.

    python examples/classify_speakers.py

The utterances of the JapaneseVowels data are 7 to 29 steps long. They go to the classifier as a
list of arrays, nothing is padded. What it learned from 270 of them is tested on 370 others; the
script prints the share that it got right, and who was taken for whom.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

from sklearn.metrics import confusion_matrix

import numba_rnn as nr
from numba_rnn.estimators import RNNClassifier

ENOUGH = 0.95


def main(argv: Sequence[str] | None = None) -> int:
    """Run the example; the exit status is 1 if fewer than 95% were right."""
    parser = argparse.ArgumentParser(description="Tell nine speakers apart with an RNN.")
    parser.add_argument("--epochs", type=int, default=30, help="passes over the utterances (30)")
    parser.add_argument("--seed", type=int, default=0, help="for parameters and shuffling (0)")
    args = parser.parse_args(argv)

    X_train, y_train, X_test, y_test = nr.datasets.load_japanese_vowels()
    nr.warmup()  # compile first, so that the time below is that of training
    model = RNNClassifier(
        max_iter=args.epochs,
        n_iter_no_change=float("inf"),  # the epochs are few: take them all
        random_state=args.seed,
        verbose=1,
    )
    start = time.perf_counter()
    model.fit(X_train, y_train)
    took = time.perf_counter() - start

    accuracy = model.score(X_test, y_test)
    print(f"trained on {len(X_train)} utterances in {took:.1f} s")
    print(f"test accuracy: {accuracy:.3f} ({len(X_test)} utterances)")
    print("rows: who spoke; columns: whom the network heard")
    print("    ", *(f"{name:>4}" for name in model.classes_))
    for name, row in zip(
        model.classes_, confusion_matrix(y_test, model.predict(X_test)), strict=True
    ):
        print(f"{name:>4} ", *(f"{count or '.':>4}" for count in row))
    return int(accuracy < ENOUGH)


if __name__ == "__main__":
    raise SystemExit(main())
