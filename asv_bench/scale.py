"""What Dask costs, and what more workers bring: the figures of docs/howto/dask.md.

    python asv_bench/scale.py            all of them, a few minutes on two idle cores
    python asv_bench/scale.py overhead   one of them: overhead speedup training memory torch model

Workers are processes of one thread. Each time is the least of some rounds, since what disturbs a
round only ever makes it longer.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import dask
import dask.array as da
import numba
import numpy as np
from distributed import Client, LocalCluster

import numba_rnn as nr

L, I, H = 100, 8, 64
MS = 1e3


def filled(shape: tuple[int, ...], block_id: tuple[int, ...] | None = None) -> np.ndarray:
    """A block of numbers that cost nothing to make."""
    count = 0 if block_id is None else sum(block_id)
    return np.full(shape, np.float32(np.sin(count)), np.float32)


def sequences(blocks: int, N: int, steps: int = L) -> da.Array:
    """So many blocks of N sequences."""
    shape, meta = (steps, N, I), np.empty((0, 0, 0), np.float32)
    chunks = ((steps,), (N,) * blocks, (I,))
    return da.map_blocks(partial(filled, shape), chunks=chunks, dtype=np.float32, meta=meta)


@contextmanager
def workers(count: int, **options: object) -> Iterator[Client]:
    """A cluster of so many workers, warm."""
    with (
        LocalCluster(
            n_workers=count, threads_per_worker=1, dashboard_address=":0", **options
        ) as cluster,
        Client(cluster) as client,
    ):
        client.run(nr.RNN(I, H, rng=0), filled((L, 16, I)))
        yield client


def best(call: Callable[[], object], rounds: int) -> float:
    """Least time of a call, in seconds."""
    found = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return min(found)


def samples_for(seconds: float, rnn: nr.RNN) -> int:
    """How many sequences a block takes about so long for, in one thread."""
    numba.set_num_threads(1)
    x = filled((L, 512, I))
    rnn(x)
    return max(1, round(512 * seconds / best(lambda: rnn(x), 5)))


def overhead(rounds: int) -> None:
    """What a block costs beside its work, on one worker."""
    rnn = nr.RNN(I, H, rng=0)
    with workers(1):
        for ms, blocks in ((0, 200), (100, 30)):
            N = samples_for(ms / MS, rnn)
            x, block = sequences(blocks, N), filled((L, N, I))
            own = {"chunks": ((1,), (N,) * blocks, (I,)), "dtype": np.float32, "meta": x._meta}
            alone = best(lambda block=block: rnn(block)[1].sum(), rounds) * MS
            whole = best(lambda x=x: rnn(x)[1].sum().compute(), rounds) * MS / blocks
            plain = x.map_blocks(_last_step, **own).sum()
            nothing = best(plain.compute, rounds) * MS / blocks
            print(
                f"overhead: {whole - alone:.1f} ms a block of {alone:.1f} ms, "
                f"{100 * (whole / alone - 1):.0f}%; a map_blocks of no work takes {nothing:.1f} ms"
            )


def _last_step(block: np.ndarray) -> np.ndarray:
    return block[-1:]


def torchs(module: object, block: np.ndarray) -> np.ndarray:
    """What users write for map_blocks: the module in the task, in the threads that torch likes."""
    import torch

    with torch.no_grad():
        return module(torch.from_numpy(block))[1].numpy()


def speedup(rounds: int, with_torch: bool = False) -> None:
    """Inference on two workers against one, at blocks of 100 ms."""
    rnn = nr.RNN(I, H, rng=0)
    blocks, N = 24, samples_for(0.1, rnn)
    x = sequences(blocks, N)
    work = rnn(x)[1].sum()
    if with_torch:
        chunks = ((1,), (N,) * blocks, (H,))
        module = dask.delayed(nr.to_torch(rnn), traverse=False)
        run = partial(x.map_blocks, chunks=chunks, dtype=np.float32, meta=np.empty((0, 0, 0), "f4"))
        work = run(_of_torch, module).sum()
    times = []
    for count in (1, 2):
        with workers(count):
            times.append(best(work.compute, rounds))
    name = "map_blocks of torch.nn.RNN" if with_torch else "inference"
    print(
        f"{name}: {times[0]:.2f} s on one worker, {times[1]:.2f} s on two, "
        f"{times[0] / times[1]:.2f}x"
    )


def _of_torch(block: np.ndarray, module: object) -> np.ndarray:
    return torchs(module, block)


def loss(rnn: nr.RNN, x: np.ndarray) -> tuple[float, list[np.ndarray]]:
    """Half the sum of squares of the last states, and its gradients."""
    tape = rnn.forward(x)
    return 0.5 * float((tape.h_n**2).sum()), [tape.backward(grad_h_n=tape.h_n).flat]


def training(rounds: int) -> None:
    """A step of 16 blocks of 50 ms on two workers against one; and one of blocks of no work."""
    rnn = nr.RNN(I, H, rng=0)
    numba.set_num_threads(1)
    x = filled((L, 256, I))
    loss(rnn, x)
    N = max(1, round(256 * 0.05 / best(lambda: loss(rnn, x), 5)))
    times, idle, sums = [], [], []
    for count in (1, 2):
        with workers(count):
            kept = {n: sequences(16, n).persist() for n in (1, N)}
            given = {n: one.to_delayed().ravel() for n, one in kept.items()}
            sums.append(nr.dask.gradients(loss, rnn, given[N]))
            step = partial(nr.dask.gradients, loss, rnn)
            times.append(best(lambda step=step, given=given: step(given[N]), rounds))
            idle.append(best(lambda step=step, given=given: step(given[1]), 3 * rounds))
    same = sums[0][0] == sums[1][0] and np.array_equal(sums[0][1][0], sums[1][1][0])
    print(
        f"training: {times[0] * MS:.0f} ms a step on one worker, {times[1] * MS:.0f} on two, "
        f"{times[0] / times[1]:.2f}x, {'the same bits' if same else 'OTHER BITS'}; a step of no "
        f"work {idle[0] * MS:.0f} and {idle[1] * MS:.0f} ms"
    )


def resident() -> float:
    """Memory of this process, in MB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def memory(rounds: int) -> None:
    """2 GB of sequences through two workers of 400 MB, in 1,000 blocks."""
    rnn = nr.RNN(I, H, rng=0)
    N = 2_000_000_000 // (1000 * L * I * 4)
    with workers(2, memory_limit="400MB") as client:
        before = client.run(os.getpid)
        found = []
        for part in range(4):
            h_n = rnn(sequences(250, N, L))[1]
            (h_n.sum() + part).compute()
            found.append(max(client.run(resident).values()))
        after = client.run(os.getpid)
        spilled = client.run(lambda dask_worker: len(getattr(dask_worker.data, "slow", None) or ()))
    print(
        f"memory: {1000 * N * L * I * 4 / 1e9:.2f} GB through two workers of 400 MB; MB of the "
        f"larger after 250, 500, 750, 1000 blocks: {', '.join(f'{one:.0f}' for one in found)}; "
        f"{len(set(after.values()) - set(before.values()))} restarts, "
        f"{sum(spilled.values())} blocks spilled"
    )


def model(rounds: int) -> None:
    """A step of training as its parts, and what these say of many workers."""
    rnn = nr.RNN(I, H, rng=0)
    P = rnn.flat_parameters.nbytes
    idle = {}
    for count in (1, 2, 4, 8):
        with workers(count):
            kept = sequences(8, 1).persist()
            given = kept.to_delayed().ravel()
            nr.dask.gradients(loss, rnn, given)
            idle[count] = best(lambda given=given: nr.dask.gradients(loss, rnn, given), 5 * rounds)
    slope, constant = np.polyfit(list(idle), list(idle.values()), 1)
    print(
        f"model: a step sends {P} bytes to each worker and takes as many back; "
        f"{constant * MS:.1f} ms + {slope * MS:.2f} ms a worker fits "
        + ", ".join(f"{1e3 * t:.0f} ms on {n}" for n, t in idle.items())
    )
    for work in (1.0, 10.0):
        least = np.sqrt(work / max(slope, 1e-6))
        print(f"model: {work:g} s of work a step is fastest on about {least:.0f} workers")


PARTS = {
    "overhead": overhead,
    "speedup": speedup,
    "training": training,
    "memory": memory,
    "torch": partial(speedup, with_torch=True),
    "model": model,
}


def main(argv: Sequence[str] | None = None) -> None:
    """Print a line or two for each part."""
    parser = argparse.ArgumentParser(description="What Dask costs, and what workers bring.")
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all where left out")
    parser.add_argument("--rounds", type=int, default=5, help="of each time (5)")
    options = parser.parse_args(argv)
    for part in options.parts or PARTS:
        PARTS[part](options.rounds)


if __name__ == "__main__":
    main()
