"""The gradient of every sample: what it costs beside an ordinary backward, and beside torch.

    pip install '.[torch]'
    python asv_bench/per_sample.py

Milliseconds for forward and backward, medians of rounds in which all take turns; torch, where it is
installed, by a loop over samples and by `torch.func.vmap` over a loop of steps.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import numba_rnn as nr


def ours(L: int, N: int, I: int, H: int, lengths: Any) -> dict[str, Callable[[], Any]]:
    """Return an ordinary backward and one of each sample."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((L, N, I)).astype(np.float32)
    rnn = nr.RNN(I, H, rng=0)
    grad = np.ones((L, N, H), np.float32)
    return {
        "ordinary": lambda: rnn.forward(x, lengths=lengths).backward(grad),
        "per_sample": lambda: rnn.forward(x, lengths=lengths).backward(grad, per_sample=True),
    }


def torchs(L: int, N: int, I: int, H: int) -> dict[str, Callable[[], Any]]:
    """Return the two ways that torch's users take."""
    import torch

    x = torch.randn(L, N, I)
    rnn = torch.nn.RNN(I, H)
    parameters = {k: v.detach() for k, v in rnn.named_parameters()}

    def loop() -> None:
        for n in range(N):
            torch.autograd.grad(rnn(x[:, n : n + 1])[0].sum(), list(rnn.parameters()))

    def loss(p: dict[str, Any], own: Any) -> Any:
        h, total = torch.zeros(H), torch.zeros(())
        for x_t in own:
            a = p["weight_ih_l0"] @ x_t + p["bias_ih_l0"] + p["bias_hh_l0"]
            h = torch.tanh(a + p["weight_hh_l0"] @ h)
            total = total + h.sum()
        return total

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 1))
    return {"torch, loop": loop, "torch, vmap": lambda: each(parameters, x)}


def measure(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Return medians, in milliseconds."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(found) for name, found in times.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, nargs=4, default=[100, 64, 32, 128], help="L N I H")
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    L, N, _, _ = args.size
    lengths = np.random.default_rng(0).integers(1, L + 1, N)
    calls = ours(*args.size, None)
    calls |= {f"{name}, lengths": call for name, call in ours(*args.size, lengths).items()}
    if importlib.util.find_spec("torch") is not None:
        calls |= torchs(*args.size)
    for name, found in measure(calls, args.rounds).items():
        print(f"{name:24}{found:10.1f} ms")


if __name__ == "__main__":
    main()
