"""Time one thread and all of them while other processes take the cores, and fits side by side.

    python asv_bench/busy.py

A launch ends when the last of its threads has come, and one that the system doesn't run holds up
the rest. The first table has a training step beside none, one, ... busy processes, the second a fit
of a classifier alone and beside another one.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Sequence
from multiprocessing.synchronize import Barrier

import numba
import numpy as np

import numba_rnn as nr

SIZES = ((100, 32, 8, 64), (60, 1, 64, 512))  # (L, N, I, H)


def forever() -> None:
    """Keep a core busy."""
    while True:
        pass


class Step:
    """A forward and backward pass of one size."""

    def __init__(self, L: int, N: int, I: int, H: int) -> None:
        self.rnn = nr.RNN(I, H, rng=0)
        self.x = np.random.default_rng(0).standard_normal((L, N, I)).astype(np.float32)
        self.grad = np.ones((L, N, H), np.float32)

    def milliseconds(self, threads: int, seconds: float) -> float:
        """Mean time of a pass over so many seconds: what holds it up now and then counts too."""
        numba.set_num_threads(threads)
        passes, start = 0, time.perf_counter()
        while time.perf_counter() < start + seconds:
            self.rnn.forward(self.x).backward(self.grad)
            passes += 1
        return 1e3 * (time.perf_counter() - start) / passes


def fit(threads: int, together: Barrier, took: multiprocessing.SimpleQueue) -> None:
    """Fit a classifier when all who fit are ready, and report the seconds."""
    from numba_rnn.estimators import RNNClassifier

    numba.set_num_threads(threads)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(512, 50, 8)), rng.integers(2, size=512)
    settings = {"batch_size": 64, "n_iter_no_change": np.inf, "random_state": 0}
    RNNClassifier(64, max_iter=1, **settings).fit(X, y)  # compiles, or loads what is compiled
    together.wait()
    start = time.perf_counter()
    RNNClassifier(64, max_iter=20, **settings).fit(X, y)
    took.put(time.perf_counter() - start)


def fits(context: multiprocessing.context.SpawnContext, threads: int, count: int) -> float:
    """Seconds of the slowest of so many fits at once."""
    together, took = context.Barrier(count), context.SimpleQueue()
    processes = [context.Process(target=fit, args=(threads, together, took)) for _ in range(count)]
    for process in processes:
        process.start()
    seconds = [took.get() for _ in processes]
    for process in processes:
        process.join()
    return max(seconds)


def main(argv: Sequence[str] | None = None) -> None:
    """Print a line for each number of busy processes and each size, and for each number of fits."""
    parser = argparse.ArgumentParser(description="Time a training step beside busy processes.")
    parser.add_argument("--repeats", type=int, default=7, help="turns of each (7)")
    parser.add_argument("--seconds", type=float, default=0.5, help="that a turn takes (0.5)")
    options = parser.parse_args(argv)
    all_threads = numba.config.NUMBA_NUM_THREADS
    steps = {size: Step(*size) for size in SIZES}
    for step in steps.values():
        step.milliseconds(all_threads, 0.01)  # compiles
    others: list[multiprocessing.Process] = []
    spawn = multiprocessing.get_context("spawn")
    try:
        for busy in range(all_threads + 1):
            if busy:
                others.append(spawn.Process(target=forever, daemon=True))
                others[-1].start()
                time.sleep(2)  # until it is under way
            for size, step in steps.items():
                turns = [
                    [step.milliseconds(threads, options.seconds) for threads in (1, all_threads)]
                    for _ in range(options.repeats)
                ]
                one, every = (statistics.median(times) for times in zip(*turns, strict=True))
                worst = max(turn[1] / turn[0] for turn in turns)
                print(
                    f"{busy} busy, {size}: 1 thread {one:.2f} ms, {all_threads} threads "
                    f"{every:.2f} ms, {every / one:.2f} times (at worst {worst:.2f})",
                    flush=True,
                )
    finally:
        for process in others:
            process.kill()
    for threads in (1, all_threads):
        alone, beside = (
            statistics.median(fits(spawn, threads, count) for _ in range(min(options.repeats, 3)))
            for count in (1, 2)
        )
        print(f"fit, {threads} threads: alone {alone:.2f} s, beside another {beside:.2f} s")


if __name__ == "__main__":
    main()
