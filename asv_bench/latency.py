"""Time single steps: a stream, a cell and a layer beside ONNX Runtime and torch, call by call.

    python asv_bench/latency.py

Every call is timed on its own, so that the slow ones show too. Each library is in a process of its
own, with one thread; they take turns, and the median of the rounds counts.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

I, H = 8, 64
WARM = 2000  # calls before the first that counts


def ours() -> dict[str, Callable[[], object]]:
    """A step in a stream, of a cell, and a sequence of one step."""
    import numba_rnn as nr

    rnn, cell = nr.RNN(I, H, rng=0), nr.RNNCell(I, H, rng=0)
    stream, x, h = rnn.stream(), np.ones((1, 1, I), np.float32), np.zeros((1, H), np.float32)
    grad = np.ones((1, 1, H), np.float32)
    return {
        "numba_rnn, stream.step(x_t)": lambda: stream.step(x[0, 0]),
        "numba_rnn, cell(x, h)": lambda: cell(x[0], h),
        "numba_rnn, rnn(x)": lambda: rnn(x),
        "numba_rnn, backward of a step": lambda: rnn.forward(x).backward(grad),
    }


def onnxruntime() -> dict[str, Callable[[], object]]:
    """The same layer from a file, its state fed back."""
    import onnxruntime

    import numba_rnn as nr

    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "rnn.onnx")
        nr.to_onnx(nr.RNN(I, H, rng=0), path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]
    shapes = {"x": (1, 1, I), "h_0": (1, 1, H)}
    feed = {name: np.zeros(shapes[name], np.float32) for name in names if name in shapes}
    return {"ONNX Runtime, session.run": lambda: session.run(None, feed)}


def torch() -> dict[str, Callable[[], object]]:
    """torch.nn.RNNCell."""
    import torch

    torch.set_num_threads(1)
    cell, x, h = torch.nn.RNNCell(I, H).eval(), torch.ones(1, I), torch.zeros(1, H)

    def step() -> object:
        with torch.inference_mode():
            return cell(x, h)

    return {"torch, RNNCell": step}


LIBRARIES = {"numba_rnn": ours, "onnxruntime": onnxruntime, "torch": torch}


def microseconds(call: Callable[[], object], calls: int) -> list[float]:
    """Median and 99.9th percentile of so many calls."""
    for _ in range(WARM):
        call()
    clock, found = time.perf_counter, np.empty(calls)
    for k in range(calls):
        start = clock()
        call()
        found[k] = clock() - start
    return (1e6 * np.percentile(found, [50, 99.9])).tolist()


def main(argv: Sequence[str] | None = None) -> None:
    """Print a line for each kind of call."""
    parser = argparse.ArgumentParser(description="Time single steps.")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each library (5)")
    parser.add_argument("--calls", type=int, default=20_000, help="of each kind in a turn (20000)")
    parser.add_argument("--library", choices=LIBRARIES, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.library is not None:
        calls = LIBRARIES[options.library]()
        print(json.dumps({name: microseconds(f, options.calls) for name, f in calls.items()}))
        return
    rounds: dict[str, list[list[float]]] = {}
    there = [name for name in LIBRARIES if importlib.util.find_spec(name) is not None]
    for _ in range(options.rounds):
        for library in there:
            command = [sys.executable, __file__, "--library", library, "--calls"]
            done = subprocess.run(
                [*command, str(options.calls)],
                stdout=subprocess.PIPE, text=True, check=True,
                env=os.environ | {"NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            )  # fmt: skip
            for name, found in json.loads(done.stdout).items():
                rounds.setdefault(name, []).append(found)
    print(f"One step, I = {I}, H = {H}, float32: median, and 99.9th percentile over median")
    for name, found in rounds.items():
        median = statistics.median(half for half, _ in found)
        tail = statistics.median(late / half for half, late in found)
        print(f"{name:<30} {median:6.2f} µs {tail:6.2f}")


if __name__ == "__main__":
    main()
