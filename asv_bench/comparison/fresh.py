"""What only a fresh process shows: imports, first calls, memory.

`python fresh.py first LIBRARY DTYPE` times imports and first calls, in seconds;
`python fresh.py memory LIBRARY TASK DTYPE L N I H` what a call adds to memory, in bytes;
`python fresh.py growth LIBRARY DTYPE CALLS` what many small calls leave behind.

Each prints one JSON object. The asv suite runs this file too. Memory is read from /proc: it takes
Linux.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

SMALL = (20, 4, 8, 16)  # L, N, I, H


# --- the same few calls in each library -----------------------------------------------------------


def numba_rnn_calls(L: int, N: int, I: int, H: int, dtype: str) -> dict[str, Callable]:
    """Inference, and training, on arrays that are written already."""
    import numba_rnn as nr

    rnn = nr.RNN(I, H, dtype=dtype, rng=0)
    x, g = np.ones((L, N, I), dtype), np.ones((L, N, H), dtype)

    def training() -> Any:
        tape = rnn.forward(x)
        return tape, tape.backward(g)

    return {
        "inference": lambda: rnn(x),
        "training": training,
        "forward": lambda: rnn.forward(x),
        "backward": lambda tape: tape.backward(g),
    }


def torch_calls(L: int, N: int, I: int, H: int, dtype: str) -> dict[str, Callable]:
    """Do what `numba_rnn_calls` does."""
    import torch

    kind = getattr(torch, dtype)
    rnn = torch.nn.RNN(I, H, dtype=kind)
    x, g = torch.ones(L, N, I, dtype=kind, requires_grad=True), torch.ones(L, N, H, dtype=kind)

    def backward(result: Any) -> Any:
        return torch.autograd.grad(result[0], [x, *rnn.parameters()], g)

    def training() -> Any:
        result = rnn(x)
        return result, backward(result)

    return {
        "inference": torch.inference_mode()(lambda: rnn(x)),
        "training": training,
        "forward": lambda: rnn(x),
        "backward": backward,
    }


CALLS = {"numba_rnn": numba_rnn_calls, "torch": torch_calls}


# --- measurements ---------------------------------------------------------------------------------


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds of a call, and its result."""
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def first(library: str, dtype: str) -> dict[str, float]:
    """Time imports and the first calls; for this package `import` is what comes on top of numba's.

    `layer` is the time from the end of the import to a layer, with what is imported lazily.
    """
    seconds = {}
    if library == "numba_rnn":
        seconds["import numba"], _ = timed(lambda: __import__("numba"))
    seconds["import"], _ = timed(lambda: __import__(library))
    seconds["layer"], calls = timed(lambda: CALLS[library](*SMALL, dtype))
    seconds["forward"], result = timed(calls["forward"])
    seconds["backward"], _ = timed(lambda: calls["backward"](result))
    return seconds


def memory(library: str, task: str, dtype: str, L: int, N: int, I: int, H: int) -> dict[str, int]:
    """Peak memory that one call adds, after a small one that started threads and the like."""
    CALLS[library](max(1, L // 50), N, I, H, dtype)[task]()
    call = CALLS[library](L, N, I, H, dtype)[task]
    before = _resident("VmRSS")
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak starts anew from here
    result = call()
    added = _resident("VmHWM") - before
    del result
    return {"added": added, "output": L * N * H * np.dtype(dtype).itemsize}


def growth(library: str, dtype: str, calls: int) -> dict[str, int]:
    """Memory that small training steps and inferences leave behind, after a tenth to warm up."""
    run = CALLS[library](*SMALL, dtype)
    for _ in range(calls // 10):
        run["training"]()
        run["inference"]()
    before = _resident("VmRSS")
    for _ in range(calls):
        run["training"]()
        run["inference"]()
    return {"grown": _resident("VmRSS") - before}


def _resident(name: str) -> int:
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith(name))
    return int(line.split()[1]) * 1024


def main() -> None:
    """Carry out the command line."""
    name, library, *rest = sys.argv[1:]
    values = [int(value) if value.isdigit() else value for value in rest]
    measure = {"first": first, "memory": memory, "growth": growth}[name]
    print(json.dumps(measure(library, *values)))


if __name__ == "__main__":
    main()
