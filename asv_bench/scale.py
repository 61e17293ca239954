"""What Dask costs, and what more workers bring: the figures of docs/howto/dask.md.

    python asv_bench/scale.py            all of them, ten minutes on two idle cores
    python asv_bench/scale.py kills      one: machine overhead speedup training kills memory model

Workers are processes of one thread. What is compared runs in turns, and times are medians of the
rounds.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context

import dask
import dask.array as da
import numba
import numpy as np
from distributed import Client, LocalCluster

import numba_rnn as nr

L, I, H = 100, 8, 64
MS = 1e3
NO_ARRAY = np.empty((0, 0, 0), np.float32)


def filled(shape: tuple[int, ...], block_id: tuple[int, ...] | None = None) -> np.ndarray:
    """A block of numbers that cost nothing to make."""
    count = 0 if block_id is None else sum(block_id)
    return np.full(shape, np.float32(np.sin(count)), np.float32)


def sequences(blocks: int, N: int) -> da.Array:
    """So many blocks of N sequences."""
    chunks = ((L,), (N,) * blocks, (I,))
    made = partial(filled, (L, N, I))
    return da.map_blocks(made, chunks=chunks, dtype=np.float32, meta=NO_ARRAY)


@contextmanager
def workers(count: int, **options: object) -> Iterator[Client]:
    """A cluster of so many workers, warm."""
    with (
        LocalCluster(
            n_workers=count, threads_per_worker=1, dashboard_address=":0", **options
        ) as cluster,
        Client(cluster) as client,
    ):
        rnn = nr.RNN(I, H, rng=0)
        client.run(rnn, filled((L, 16, I)))
        client.run(loss, rnn, filled((L, 16, I)))
        yield client


def medians(rounds: int, **calls: Callable[[], object]) -> dict[str, float]:
    """Median time of each of some calls, made in turns, in seconds."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if turn:
                found[name].append(time.perf_counter() - start)
    return {name: float(np.median(times)) for name, times in found.items()}


def samples_for(seconds: float, call: Callable[[np.ndarray], object]) -> int:
    """How many sequences a call takes about so long for, in one thread."""
    numba.set_num_threads(1)
    x = filled((L, 512, I))
    return max(1, round(512 * seconds / medians(5, call=lambda: call(x))["call"]))


def machine(rounds: int) -> None:
    """What a second core brings without Dask: the same work in one process, and in two at once."""
    blocks = [samples_for(0.1, nr.RNN(I, H, rng=0))] * 2
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        list(pool.map(_blocks, blocks))
        found = medians(
            3 * rounds,
            one=lambda: list(pool.map(_blocks, blocks[:1])),
            two=lambda: list(pool.map(_blocks, blocks)),
        )
    print(f"machine: two processes without Dask do {2 * found['one'] / found['two']:.2f}x the work")


def _blocks(N: int) -> None:
    """Twelve blocks in one thread."""
    numba.set_num_threads(1)
    rnn, x = nr.RNN(I, H, rng=0), filled((L, N, I))
    for _ in range(12):
        rnn(x)


# --- inference ----------------------------------------------------------------------------------


def overhead(rounds: int) -> None:
    """What a block costs beside its work, on one worker, and a block of a plain map_blocks."""
    rnn = nr.RNN(I, H, rng=0)
    with workers(1):
        for ms, blocks in ((0, 200), (100, 30)):
            N = samples_for(ms / MS, rnn)
            x = sequences(blocks, N)
            chunks = ((1,), (N,) * blocks, (I,))
            plain = x.map_blocks(_last_step, chunks=chunks, dtype=np.float32, meta=NO_ARRAY)
            found = medians(
                rounds,
                alone=lambda N=N: rnn(filled((L, N, I)))[1].sum(),
                ours=lambda x=x: rnn(x)[1].sum().compute(),
                plain=lambda plain=plain: plain.sum().compute(),
            )
            alone, ours, plain = (found[k] * MS for k in ("alone", "ours", "plain"))
            ours, plain = ours / blocks, plain / blocks
            print(
                f"overhead: {ours - alone:.1f} ms a block of {alone:.1f} ms, "
                f"{100 * (ours / alone - 1):.0f}%; a plain map_blocks of no work takes {plain:.1f}"
                f" ms a block ({blocks} blocks)"
            )


def _last_step(block: np.ndarray) -> np.ndarray:
    return block[-1:]


def torchs(module: object, block: np.ndarray) -> np.ndarray:
    """What users write for map_blocks: the module in the task, in the threads that it finds."""
    import torch

    with torch.no_grad():
        return module(torch.from_numpy(block))[1].numpy()


def _torch_threads() -> int:
    import torch

    return torch.get_num_threads()


def speedup(rounds: int) -> None:
    """Inference on two workers against one at blocks of 100 ms, beside torch in a map_blocks."""
    rnn = nr.RNN(I, H, rng=0)
    blocks, N = 12, samples_for(0.1, rnn)
    x = sequences(blocks, N)
    calls = {"ours": rnn(x)[1].sum().compute}
    try:
        module = nr.to_torch(rnn)
    except ModuleNotFoundError:
        print("speedup: torch is not there to compare with")
    else:
        chunks = ((1,), (N,) * blocks, (H,))
        run = partial(x.map_blocks, chunks=chunks, dtype=np.float32, meta=NO_ARRAY)
        calls["map_blocks of torch.nn.RNN"] = run(partial(torchs, module)).sum().compute
    found = {}
    for count in (1, 2):
        with workers(count) as client:
            if len(calls) > 1:
                threads = set(client.run(_torch_threads).values())
                print(f"speedup: threads of torch on a worker: {threads}")
            found[count] = medians(rounds, **calls)
    for name in calls:
        one, two = found[1][name], found[2][name]
        print(f"speedup: {name}: {one:.2f} s on one worker, {two:.2f} s on two, {one / two:.2f}x")


# --- training -----------------------------------------------------------------------------------


def loss(rnn: nr.RNN, x: np.ndarray) -> tuple[float, list[np.ndarray]]:
    """Half the sum of squares of the last states, and its gradients."""
    tape = rnn.forward(x)
    return 0.5 * float((tape.h_n**2).sum()), [tape.backward(grad_h_n=tape.h_n).flat]


def training(rounds: int) -> None:
    """A step of 16 blocks of 50 ms on two workers against one; and one of blocks of no work."""
    rnn = nr.RNN(I, H, rng=0)
    N = samples_for(0.05, partial(loss, rnn))
    found, sums = {}, []
    for count in (1, 2):
        with workers(count) as client:
            kept = {"work": sequences(16, N).persist(), "idle": sequences(16, 1).persist()}
            given = {name: one.to_delayed().ravel() for name, one in kept.items()}
            sums.append(nr.dask.gradients(loss, rnn, given["work"]))
            calls = {
                name: partial(nr.dask.gradients, loss, rnn, one) for name, one in given.items()
            }
            calls["task"] = lambda client=client: client.submit(int, pure=False).result()
            found[count] = medians(3 * rounds, **calls)
    same = sums[0][0] == sums[1][0] and np.array_equal(sums[0][1][0], sums[1][1][0])
    one, two = found[1], found[2]
    print(
        f"training: {one['work'] * MS:.0f} ms a step on one worker, {two['work'] * MS:.0f} on two, "
        f"{one['work'] / two['work']:.2f}x, {'the same bits' if same else 'OTHER BITS'}; a step of "
        f"no work {one['idle'] * MS:.0f} and {two['idle'] * MS:.0f} ms, a task of no work there and"
        f" back {one['task'] * MS:.0f} and {two['task'] * MS:.0f} ms"
    )


def kills(rounds: int, count: int = 20, steps: int = 15) -> None:
    """Trainings on two workers, of which one is killed at a random moment.

    Dask gives up a worker that is away a certain time after it was killed, and that it is once more
    where the next kill falls there: it is told to wait longer.
    """
    N = samples_for(0.01, partial(loss, nr.RNN(I, H, rng=0)))
    rng = random.Random(0)
    patience = dask.config.set({"distributed.deploy.lost-worker-timeout": "1 hour"})
    with patience, workers(2) as client:
        x = sequences(16, N).persist()
        blocks = x.to_delayed().ravel()

        def train() -> tuple[list[float], np.ndarray, list[float]]:
            rnn, losses, times = nr.RNN(I, H, rng=0), [], []
            optimizer = nr.optim.SGD([rnn.flat_parameters], lr=1e-6)
            for _ in range(steps):
                start = time.perf_counter()
                value, grads = nr.dask.gradients(loss, rnn, blocks)
                optimizer.step(grads)
                losses.append(value)
                times.append(time.perf_counter() - start)
            return losses, rnn.flat_parameters, times

        train()
        calm = [train() for _ in range(rounds)]
        whole = float(np.median([sum(times) for *_, times in calm]))
        step = float(np.median([times for *_, times in calm]))
        signal.signal(signal.SIGALRM, _too_long)
        finished, lost, stalls = 0, [], []
        for _ in range(count):
            client.wait_for_workers(2)
            pid = rng.choice(sorted(client.run(os.getpid).values()))
            killer = threading.Timer(rng.random() * whole / 2, os.kill, (pid, signal.SIGKILL))
            killer.start()
            signal.alarm(120)
            try:
                losses, parameters, times = train()
            except Exception as error:
                print(f"kills: {type(error).__name__}: {error}")
                continue
            finally:
                signal.alarm(0)
                killer.join()
            finished += losses == calm[0][0] and np.array_equal(parameters, calm[0][1])
            lost.append(sum(times) - whole)
            stalls.append(max(times) - step)
            print(f"kills: {len(lost)}: {stalls[-1]:.2f} s in a step", flush=True)
            _until_two(client, pid)
    print(
        f"kills: {finished} of {count} finished with the same bits; the step of the kill took "
        f"{np.median(stalls):.2f} s longer than others ({step:.2f} s), {max(stalls):.2f} s at most;"
        f" in all {np.median(lost):.2f} s were lost of {whole:.1f} s, {max(lost):.2f} s at most"
    )


def _too_long(*_: object) -> None:
    raise TimeoutError("no end after 120 s")


def _until_two(client: Client, killed: int) -> None:
    """Wait for the worker that comes in place of a killed one."""
    while len(found := client.run(os.getpid, on_error="ignore")) < 2 or killed in found.values():
        time.sleep(0.1)


# --- memory -------------------------------------------------------------------------------------


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
        found, start = [], time.perf_counter()
        for part in range(4):
            h_n = rnn(sequences(250, N))[1]
            (h_n.sum() + part).compute()
            found.append(max(client.run(resident).values()))
        took = time.perf_counter() - start
        after = client.run(os.getpid)
        spilled = client.run(lambda dask_worker: len(getattr(dask_worker.data, "slow", None) or ()))
    print(
        f"memory: {1000 * N * L * I * 4 / 1e9:.2f} GB through two workers of 400 MB in {took:.0f} "
        f"s; MB of the larger after 250, 500, 750, 1000 blocks: "
        f"{', '.join(f'{one:.0f}' for one in found)}; "
        f"{len(set(after.values()) - set(before.values()))} restarts, "
        f"{sum(spilled.values())} blocks spilled"
    )


# --- many workers -------------------------------------------------------------------------------

CORES = len(os.sched_getaffinity(0))


def model(rounds: int) -> None:
    """What a step of training costs as a sum of parts, fitted to some runs and checked on others.

    Seconds of a step on W workers with P bytes of parameters and S seconds of work in all:
    (a + b W + c W P) + S / min(W, cores). Client and scheduler are one process here, of which the
    processor time is known: what it takes a worker is what ends the gain of more workers where
    these have cores of their own.
    """
    sizes = {hidden: nr.RNN(I, hidden, rng=0) for hidden in (8, 64, 256)}
    P = {hidden: rnn.flat_parameters.nbytes for hidden, rnn in sizes.items()}
    idle: dict[tuple[int, int], tuple[float, float]] = {}
    working: dict[tuple[int, int, float], float] = {}
    work = {leaf: samples_for(leaf, partial(loss, sizes[64])) for leaf in (0.01, 0.05)}
    sent = {}
    for count in (1, 2, 4, 8):
        with workers(count) as client:
            for hidden, rnn in sizes.items():
                step = partial(nr.dask.gradients, nothing, rnn, list(range(8)))
                before = _sent(client)
                step()
                sent[count, hidden] = _sent(client) - before
                used = time.process_time()
                took = medians(6 * rounds, step=step)["step"]
                used = (time.process_time() - used) / (6 * rounds + 1)
                idle[count, hidden] = took, used
            for leaf, N in work.items():
                kept = sequences(16, N).persist()
                step = partial(nr.dask.gradients, loss, sizes[64], kept.to_delayed().ravel())
                working[count, 64, leaf] = medians(rounds, step=step)["step"]
    fitted = [(W, hidden) for W in (1, 2, 4) for hidden in (8, 256)]
    parts = [
        np.linalg.lstsq(
            np.array([(1, W, W * P[hidden]) for W, hidden in fitted]),
            np.array([idle[one][k] for one in fitted]),
            rcond=None,
        )[0]
        for k in (0, 1)
    ]
    wall, own = parts

    def step_of(part: np.ndarray, W: int, hidden: int) -> float:
        return float(part @ (1, W, W * P[hidden]))

    for (W, hidden), measured in sorted(idle.items()):
        which = "fitted" if (W, hidden) in fitted else "checked"
        values = []
        for k, part in enumerate(parts):
            said = step_of(part, W, hidden)
            values.append(
                f"{said * MS:.0f} said, {measured[k] * MS:.0f} ms measured, "
                f"{100 * (said / measured[k] - 1):+.0f}%"
            )
        print(
            f"model, {which}: no work, {W} workers, {P[hidden]} bytes: {values[0]}; "
            f"client and scheduler {values[1]}"
        )
    for (W, hidden, leaf), measured in sorted(working.items()):
        said = step_of(wall, W, hidden) + 16 * leaf / min(W, CORES)
        print(
            f"model, checked: 16 leaves of {leaf * MS:.0f} ms, {W} workers: {said * MS:.0f} said, "
            f"{measured * MS:.0f} ms measured, {100 * (said / measured - 1):+.0f}%"
        )
    print(
        f"model: a step takes {wall[0] * MS:.1f} ms + {wall[1] * MS:.1f} ms a worker + "
        f"{wall[2] * 1e9:.1f} ms a worker and MB; of client and scheduler {own[0] * MS:.1f} ms + "
        f"{own[1] * MS:.1f} ms + {own[2] * 1e9:.1f} ms: {1 / own[1]:.0f} tasks a second"
    )
    for hidden in (64, 256):
        print(
            f"model: {P[hidden]} bytes of parameters: client and scheduler send "
            + ", ".join(f"{sent[W, hidden]} bytes to {W}" for W in (1, 2, 4, 8))
        )
        for seconds in (1.0, 10.0):
            each = own[1] + own[2] * P[hidden]
            least = np.sqrt(seconds / max(each, 1e-6))
            print(f"model: {seconds:g} s of work a step: fastest on about {least:.0f} workers")


def nothing(rnn: nr.RNN, block: int) -> tuple[float, list[np.ndarray]]:
    """Gradients that cost nothing, as many as there are parameters."""
    return 0.0, [rnn.flat_parameters]


def _sent(client: Client) -> int:
    """Bytes that client and scheduler have sent on their way to workers."""
    streams = [client.scheduler_comm, *client.cluster.scheduler.stream_comms.values()]
    return sum(stream.byte_count for stream in streams)


PARTS = {
    "machine": machine,
    "overhead": overhead,
    "speedup": speedup,
    "training": training,
    "kills": kills,
    "memory": memory,
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
    print(f"on {CORES} cores; load of the last minute {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
