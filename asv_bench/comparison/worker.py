"""A process that holds one library and times it when its turn comes; blocked on a pipe otherwise.

`python -m comparison.worker LIBRARY THREADS` reads requests, one JSON object a line, from standard
input, and answers on standard output in the same way.
"""

from __future__ import annotations

import gc
import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

from .libraries import LIBRARIES
from .problem import Problem, check, load

BATCH = 1e-3  # seconds: calls that are quicker are timed several at once
WARM = 0.1  # seconds: warm calls end here


class Worker:
    """One library and the calls that were prepared for it.

    Parameters
    ----------
    name : str
        The library, a key of LIBRARIES.
    threads : int
        Threads that it may use.
    """

    def __init__(self, name: str, threads: int) -> None:
        self.library = LIBRARIES[name](threads)
        self.calls: dict[str, tuple[Callable[[], Any], int | None]] = {}
        self.settled = time.process_time()
        try:
            self.version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # run from the source tree
            self.version = __import__(name).__version__

    def handle(self, request: dict) -> dict:
        """Carry out a request: say the version, prepare a call, take a turn, or forget all."""
        if request["do"] == "prepare":
            return self.prepare(**request["with"])
        if request["do"] == "turn":
            return self.turn(**request["with"])
        if request["do"] == "forget":
            self.calls.clear()
        return {"version": self.version}

    def prepare(
        self, key: str, problem: dict, task: str, layout: str, path: str, threads: int | None
    ) -> dict:
        """Make a call ready: check every way of doing it, and keep the fastest."""
        self._use(threads)
        sizes = Problem(**problem)
        arrays, expected = load(path)
        best = None
        for way, (call, answer) in self.library.calls(sizes, task, layout, arrays).items():
            check(lambda call=call, answer=answer: answer(call()), expected, sizes.dtype)
            seconds = min(measure(call, 0.03) for _ in range(2))
            if best is None or seconds < best[0]:
                best = seconds, way, call
        seconds, way, call = best
        self.calls[key] = call, threads
        return {"way": way, "seconds": seconds}

    def turn(self, key: str, seconds: float, settle: float) -> dict:
        """Time a call; then wait until the threads of the library sleep.

        `waited` is the processor time that this process used since its last turn, while it was
        the turn of others.
        """
        waited = time.process_time() - self.settled
        call, threads = self.calls[key]
        self._use(threads)
        took = measure(call, seconds)
        time.sleep(settle)
        self.settled = time.process_time()
        return {"seconds": took, "waited": waited}

    def _use(self, threads: int | None) -> None:
        if threads is not None:
            self.library.set_threads(threads)


def measure(call: Callable[[], Any], seconds: float) -> float:
    """Return the seconds of one call: some warm calls, then the median over batches of calls."""
    start = time.perf_counter()
    warm = 0
    while warm < 3 and time.perf_counter() - start < WARM:
        call()
        warm += 1
    start = time.perf_counter()
    call()
    number = max(1, int(BATCH / max(time.perf_counter() - start, 1e-7)))
    batches = []
    gc.collect()
    gc.disable()
    end = time.perf_counter() + seconds
    while len(batches) < 2 or time.perf_counter() < end:
        start = time.perf_counter()
        for _ in range(number):
            call()
        batches.append((time.perf_counter() - start) / number)
    gc.enable()
    batches.sort()
    return batches[len(batches) // 2]


def serve(worker: Worker, requests: TextIO, answers: TextIO) -> None:
    """Answer requests until there are none."""
    for line in requests:
        try:
            answer = worker.handle(json.loads(line))
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


def main() -> None:
    """Run a worker; what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        worker = Worker(sys.argv[1], int(sys.argv[2]))
    except (ImportError, ValueError) as error:
        print(json.dumps({"error": str(error)}), file=answers, flush=True)
        return
    print(json.dumps({"version": worker.version}), file=answers, flush=True)
    serve(worker, sys.stdin, answers)


if __name__ == "__main__":
    main()
