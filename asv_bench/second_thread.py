"""Time work of growing size in one thread and in two: from where on does the second one pay?

    python asv_bench/second_thread.py

Calls come one after the other, or some milliseconds apart, when the pool's threads have gone to
sleep. Both ways take turns; best of the rounds' medians. `WORTH_A_LAUNCH` in
numba_rnn/cpu/parallel.py is chosen by this, with all limits taken away meanwhile.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from types import SimpleNamespace

import numba
import numpy as np

import numba_rnn as nr
from numba_rnn.cpu import parallel, plans
from numba_rnn.cpu.vectors import LANES

N, I, H = 32, 8, 64
STEPS = (1, 2, 3, 4, 6, 8, 12, 20, 40, 100)


def seconds(call: Callable[[], object], calls: int, pause: float) -> float:
    """Median time of a call, so many seconds after the one before."""
    found = []
    for _ in range(calls):
        if pause:
            time.sleep(pause)
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def train(rnn: nr.RNN, x: np.ndarray, g: np.ndarray) -> None:
    """Go forward and backward."""
    rnn.forward(x).backward(g)


def main(argv: Sequence[str] | None = None) -> None:
    """Print a line for each size."""
    parser = argparse.ArgumentParser(description="Time work in one thread and in two.")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each (5)")
    parser.add_argument("--calls", type=int, default=100, help="in a turn (100)")
    parser.add_argument("--pause", type=float, default=5.0, help="between calls apart, in ms (5)")
    options = parser.parse_args(argv)
    # Whatever is asked for in two threads is done in two.
    parallel.WORTH_A_LAUNCH = 1
    parallel.worth = SimpleNamespace(launch=lambda kind: True, ran=lambda *found: None)
    rnn, width = nr.RNN(I, H, rng=0), LANES[np.dtype(np.float32)]
    print(f"two threads' time over one's, (L, {N}, {I}, {H}), float32, vectors of {width}")
    print("multiply-adds  forward  apart  training  apart")
    for L in STEPS:
        x, g = np.ones((L, N, I), np.float32), np.ones((L, N, H), np.float32)
        ways = partial(rnn, x), partial(train, rnn, x, g)
        ratios = []
        for way in ways:
            for pause in (0.0, options.pause / 1e3):
                best = [np.inf, np.inf]
                for _ in range(options.rounds):
                    for threads in (1, 2):
                        numba.set_num_threads(threads)
                        plans._plans.clear()
                        way()
                        took = seconds(way, options.calls, pause)
                        best[threads - 1] = min(best[threads - 1], took)
                ratios.append(best[1] / best[0])
        work = L * N * H * (I + H)
        print(
            f"{work / 1e6:10.2f} M  " + "  ".join(f"{ratio:7.2f}" for ratio in ratios), flush=True
        )


if __name__ == "__main__":
    main()
