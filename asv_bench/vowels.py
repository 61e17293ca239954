"""Train a classifier of speakers with RNNClassifier and with an ordinary loop around torch.nn.RNN.

    pip install '.[test]' && pip install torch==2.13.0
    python asv_bench/vowels.py

The data are JapaneseVowels: 270 utterances to train on, 370 to test on, 7 to 29 steps of 12
coefficients, 9 speakers. Both libraries have the same network with the same initial weights, the
same batches, optimiser, clipping and epochs, and packed sequences. Each runs in a process of its
own; they take turns, one seed a round, and the order changes every round. torch's time is that of
its loop alone, on tensors that were scaled before; ours is that of `fit`, checks and scaling
included.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

LIBRARIES = ("numba_rnn", "torch")


@dataclass(frozen=True)
class Problem:
    """What is trained."""

    hidden_size: int = 64
    batch_size: int = 32
    epochs: int = 60
    lr: float = 3e-3
    clip_norm: float = 1.0


Run = Callable[[int, int], tuple[float, float]]  # seed, epochs -> seconds, accuracy on the tests


def ours(problem: Problem, threads: int) -> Run:
    """Return a run of RNNClassifier."""
    import numba
    import numpy as np

    from numba_rnn.datasets import load_japanese_vowels
    from numba_rnn.estimators import RNNClassifier

    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    X_train, y_train, X_test, y_test = load_japanese_vowels()

    def run(seed: int, epochs: int) -> tuple[float, float]:
        model = RNNClassifier(
            problem.hidden_size, batch_size=problem.batch_size, max_iter=epochs,
            learning_rate_init=problem.lr, clip_norm=problem.clip_norm, n_iter_no_change=np.inf,
            random_state=seed, bidirectional=False, pooling="last", patch=None,
        )  # fmt: skip
        start = time.perf_counter()
        model.fit(X_train, y_train)
        return time.perf_counter() - start, model.score(X_test, y_test)

    return run


def theirs(problem: Problem, threads: int) -> Run:
    """Return a run of an ordinary loop around torch.nn.RNN."""
    import numpy as np
    import torch
    from sklearn.utils import check_random_state
    from torch import nn
    from torch.nn.utils.rnn import pack_sequence

    import numba_rnn as nr
    from numba_rnn.datasets import load_japanese_vowels
    from numba_rnn.estimators.sequences import Sequences

    torch.set_num_threads(threads)
    X_train, y_train, X_test, y_test = load_japanese_vowels()
    rows = np.concatenate(X_train)
    mean, scale = rows.mean(axis=0), rows.std(axis=0)
    train = [torch.tensor((x - mean) / scale, dtype=torch.float32) for x in X_train]
    test = [torch.tensor((x - mean) / scale, dtype=torch.float32) for x in X_test]
    labels = torch.tensor(y_train - 1)
    series = Sequences.of(rows, np.array([len(x) for x in train]))

    def run(seed: int, epochs: int) -> tuple[float, float]:
        # What `fit` draws from the seed: the initial weights, then the order of each epoch.
        drawn = check_random_state(seed).randint(2**31, size=4).tolist()
        rng = np.random.default_rng(drawn)
        rnn = nn.RNN(rows.shape[1], problem.hidden_size)
        head = nn.Linear(problem.hidden_size, 9)
        for layer, same in (
            (rnn, nr.RNN(rows.shape[1], problem.hidden_size, rng=rng)),
            (head, nr.Linear(problem.hidden_size, 9, rng=rng)),
        ):
            state = {name: torch.from_numpy(value) for name, value in same.state_dict().items()}
            layer.load_state_dict(state)
        parameters = [*rnn.parameters(), *head.parameters()]
        optimizer = torch.optim.Adam(parameters, lr=problem.lr)
        loss = nn.CrossEntropyLoss()
        start = time.perf_counter()
        for _ in range(epochs):
            for batch in series.batches(problem.batch_size, rng):
                optimizer.zero_grad()
                _, h_n = rnn(pack_sequence([train[k] for k in batch]))
                loss(head(h_n[-1]), labels[batch]).backward()
                nn.utils.clip_grad_norm_(parameters, problem.clip_norm)
                optimizer.step()
        seconds = time.perf_counter() - start
        with torch.no_grad():
            _, h_n = rnn(pack_sequence(test, enforce_sorted=False))
            found = head(h_n[-1]).argmax(axis=1).numpy() + 1
        return seconds, float((found == y_test).mean())

    return run


def work(library: str, problem: Problem, threads: int) -> None:
    """Answer the requests of the parent process, one line each."""
    run = {"numba_rnn": ours, "torch": theirs}[library](problem, threads)
    run(0, 2)  # compile, start threads, fill caches
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        print(json.dumps(run(int(line), problem.epochs)), flush=True)


def measure(problem: Problem, rounds: int, threads: int) -> dict[str, Any]:
    """Let the libraries take turns.

    Returns
    -------
    dict
        For each library its ``seconds`` and ``accuracy`` in every round.
    """
    here = Path(__file__).resolve()
    path = os.pathsep.join(filter(None, [str(here.parent.parent), os.environ.get("PYTHONPATH")]))
    workers = {}
    results: dict[str, Any] = {library: {"seconds": [], "accuracy": []} for library in LIBRARIES}
    try:
        for library in LIBRARIES:
            command = [sys.executable, str(here), "--worker", library, "--threads", str(threads)]
            for name, value in asdict(problem).items():
                command += [f"--{name.replace('_', '-')}", str(value)]
            workers[library] = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                env=os.environ | {"PYTHONPATH": path},
            )  # fmt: skip
            _answer(workers[library])
        for seed in range(rounds):
            for library in LIBRARIES if seed % 2 == 0 else LIBRARIES[::-1]:
                worker = workers[library]
                worker.stdin.write(f"{seed}\n")
                worker.stdin.flush()
                seconds, accuracy = _answer(worker)
                results[library]["seconds"].append(seconds)
                results[library]["accuracy"].append(accuracy)
    finally:
        for worker in workers.values():
            worker.stdin.close()
            worker.wait()
            worker.stdout.close()
    return results


def _answer(worker: subprocess.Popen) -> Any:
    line = worker.stdout.readline()
    if not line:
        raise RuntimeError("a worker ended")
    return json.loads(line)


def report(results: dict[str, Any]) -> str:
    """Say what came out."""
    lines = [f"{'':12} {'seconds':>8} {'fastest':>8} {'slowest':>8} {'accuracy':>9} {'worst':>6}"]
    for library, found in results.items():
        seconds, accuracy = found["seconds"], found["accuracy"]
        lines.append(
            f"{library:12} {statistics.median(seconds):8.2f} {min(seconds):8.2f} "
            f"{max(seconds):8.2f} {statistics.mean(accuracy):9.4f} {min(accuracy):6.4f}"
        )
    pairs = zip(results["torch"]["seconds"], results["numba_rnn"]["seconds"], strict=True)
    ratio = statistics.median(theirs / ours for theirs, ours in pairs)
    lines.append(f"torch's time / ours, median of the rounds: {ratio:.1f}")
    return "\n".join(lines)


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds, each with a seed of its own")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--worker", choices=LIBRARIES, help=argparse.SUPPRESS)
    for name, value in asdict(Problem()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    chosen = parser.parse_args()
    problem = Problem(**{name: getattr(chosen, name) for name in asdict(Problem())})
    if chosen.worker:
        work(chosen.worker, problem, chosen.threads)
    else:
        print(report(measure(problem, chosen.rounds, chosen.threads)))


if __name__ == "__main__":
    main()
