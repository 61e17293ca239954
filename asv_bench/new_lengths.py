"""What lengths cost that were not seen before.

    python asv_bench/new_lengths.py

Three sides take turns: 20 lengths, which the layer keeps the tables of; 60, which are more than it
keeps, so that each is new when it comes again; and the same input without lengths. Besides times
of a call it prints what a real step takes with new lengths, over a step of the padded run.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import numba_rnn as nr

CELLS = ((1000, 8, 4, 32), (100, 32, 8, 64), (28, 128, 28, 128), (100, 64, 32, 128))
KEPT, NEW = 20, 60  # how many lengths go round; 32 layouts are kept


def microseconds(call: Callable[[Any], Any], lengths: Sequence[np.ndarray | None]) -> float:
    """Median time of a call, once through the lengths."""
    took = []
    for each in lengths:
        start = time.perf_counter()
        call(each)
        took.append(time.perf_counter() - start)
    return 1e6 * statistics.median(took)


def main(argv: Sequence[str] | None = None) -> None:
    """Print a line for each cell and task, and the geometric mean."""
    parser = argparse.ArgumentParser(description="Time lengths that were not seen before.")
    parser.add_argument("--rounds", type=int, default=9, help="in which the sides take turns (9)")
    rounds = parser.parse_args(argv).rounds
    rng = np.random.default_rng(0)
    ratios: dict[str, list[float]] = {"forward": [], "training": []}
    for L, N, I, H in CELLS:
        rnn = nr.RNN(I, H, rng=0)
        x = rng.standard_normal((L, N, I)).astype(np.float32)
        grad = np.ones((L, N, H), np.float32)
        kept, new = ([rng.integers(L // 4, L + 1, N) for _ in range(n)] for n in (KEPT, NEW))
        sides: tuple[list[np.ndarray] | list[None], ...] = kept, new, [None] * KEPT
        real = np.mean(new) / L  # share of the steps

        def training(lengths: Any, rnn: nr.RNN = rnn, x: Any = x, grad: Any = grad) -> None:
            rnn.forward(x, lengths=lengths).backward(grad)

        def forward(lengths: Any, rnn: nr.RNN = rnn, x: Any = x) -> None:
            rnn(x, lengths=lengths)

        for task in (forward, training):
            took: list[list[float]] = [[], [], []]
            for _ in range(rounds):
                for side, lengths in zip(took, sides, strict=True):
                    microseconds(task, lengths)  # so that what is kept is there
                    side.append(microseconds(task, lengths))
            of_kept, of_new, of_padded = map(statistics.median, took)
            ratios[task.__name__].append(of_new / real / of_padded)
            print(f"{(L, N, I, H)} {task.__name__}: kept {of_kept:.0f} µs, new {of_new:.0f} µs, "
                  f"{of_new / of_kept:.2f}x; padded {of_padded:.0f} µs, "
                  f"a real step {ratios[task.__name__][-1]:.2f}x")  # fmt: skip
    for name, found in ratios.items():
        print(f"{name}, a real step with new lengths over a padded one: "
              f"{statistics.geometric_mean(found):.2f}x, {max(found):.2f}x at worst")  # fmt: skip


if __name__ == "__main__":
    main()
