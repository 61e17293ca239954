"""Time a training step with one thread and with all, while other processes take the cores.

    python asv_bench/busy.py

Threads wait for each other at every launch, so that one of them without a core holds up the rest.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Sequence

import numba
import numpy as np

import numba_rnn as nr


def forever() -> None:
    """Keep a core busy."""
    while True:
        pass


def milliseconds(threads: int, repeats: int) -> float:
    """Median time of a forward and backward pass, (L, N, I, H) = (100, 32, 8, 64)."""
    numba.set_num_threads(threads)
    rnn = nr.RNN(8, 64, rng=0)
    x = np.random.default_rng(0).standard_normal((100, 32, 8)).astype(np.float32)
    grad = np.ones((100, 32, 64), np.float32)
    took = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        for _ in range(20):
            rnn.forward(x).backward(grad)
        took.append((time.perf_counter() - start) / 20)
    return 1e3 * statistics.median(took[1:])


def main(argv: Sequence[str] | None = None) -> None:
    """Print a line for each number of busy processes, from none to one a core."""
    parser = argparse.ArgumentParser(description="Time a training step beside busy processes.")
    parser.add_argument("--repeats", type=int, default=7, help="of 20 steps each (7)")
    repeats = parser.parse_args(argv).repeats
    all_threads = numba.config.NUMBA_NUM_THREADS
    others: list[multiprocessing.Process] = []
    spawn = multiprocessing.get_context("spawn")
    try:
        for busy in range(all_threads + 1):
            if busy:
                others.append(spawn.Process(target=forever, daemon=True))
                others[-1].start()
                time.sleep(2)  # until it is under way
            took = [milliseconds(threads, repeats) for threads in (1, all_threads)]
            print(f"{busy} busy: 1 thread {took[0]:.2f} ms, {all_threads} threads {took[1]:.2f} ms")
    finally:
        for process in others:
            process.kill()


if __name__ == "__main__":
    main()
