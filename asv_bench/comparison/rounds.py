"""The workers taking turns: A B C, B C A, C A B, ..., one at a time, the others asleep."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .libraries import OURS
from .problem import Problem, save

HERE = Path(__file__).resolve().parent.parent


def environment(**more: str) -> dict[str, str]:
    """Return the environment of this process, with `comparison` importable and more variables."""
    path = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
    return os.environ | {"PYTHONPATH": path} | more


@dataclass(frozen=True)
class Settings:
    """How long to measure, and on how many threads."""

    rounds: int = 7
    seconds: float = 0.05  # of timed calls in each turn
    settle: float = 0.05  # seconds after a turn in which spinning threads fall asleep
    threads: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))


@dataclass(frozen=True)
class Contestant:
    """A call that takes part: what one library does with one problem."""

    library: str
    task: str
    layout: str = "padded"
    threads: int | None = None
    label: str = ""
    problem: Problem | None = None  # where it isn't the one that the others solve

    @property
    def key(self) -> str:
        """Name in the results."""
        return self.label or self.library


class Process:
    """A worker process, seen from here."""

    def __init__(self, library: str, threads: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "comparison.worker", library, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        self.version = self._answer().get("version")

    def ask(self, do: str, **arguments: object) -> dict:
        """Send a request and wait for the answer."""
        self.process.stdin.write(json.dumps({"do": do, "with": arguments}) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict:
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"error": "the process ended"}

    def end(self) -> None:
        """Close the pipe, at which the worker stops."""
        self.process.stdin.close()
        self.process.wait()


class Workers:
    """All worker processes, started when first needed.

    Parameters
    ----------
    settings : Settings
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.processes: dict[str, Process] = {}

    def __getitem__(self, library: str) -> Process:
        if library not in self.processes:
            self.processes[library] = Process(library, self.settings.threads)
        return self.processes[library]

    def has(self, library: str) -> bool:
        """Whether the library could be imported."""
        return self[library].version is not None

    def versions(self) -> dict[str, str]:
        """Versions of the libraries that ran."""
        return {k: p.version for k, p in self.processes.items() if p.version is not None}

    def end(self) -> None:
        """Stop all processes."""
        for process in self.processes.values():
            process.end()


@contextlib.contextmanager
def _prepared(
    workers: Workers, problem: Problem, contestants: list[Contestant]
) -> Iterator[dict[str, dict]]:
    """Prepare every contestant; yield what it answered, by its key."""
    answers = {}
    with tempfile.TemporaryDirectory() as folder:
        paths: dict[tuple[Problem, str], Path] = {}
        for contestant in contestants:
            given = contestant.problem or problem
            path = paths.get((given, contestant.task))
            if path is None:
                path = paths[given, contestant.task] = Path(folder) / f"{len(paths)}.npz"
                save(given, contestant.task, path)
            answers[contestant.key] = workers[contestant.library].ask(
                "prepare",
                key=contestant.key,
                problem=asdict(given),
                task=contestant.task,
                layout=contestant.layout,
                path=str(path),
                threads=contestant.threads,
            )
    try:
        yield answers
    finally:
        for library in {contestant.library for contestant in contestants}:
            workers[library].ask("forget")


def play(workers: Workers, problem: Problem, contestants: list[Contestant]) -> dict:
    """Measure all contestants in turn.

    Returns
    -------
    dict
        ``rounds``, the seconds of each contestant in each round; ``seconds``, their medians;
        ``ways``, what each chose; ``errors``, why a contestant is missing; ``waited``, the largest
        processor time in seconds that a worker used between two of its turns.

    Raises
    ------
    RuntimeError
        If this package itself fails; a peer that fails is left out, and said to be.
    """
    settings = workers.settings
    with _prepared(workers, problem, contestants) as answers:
        errors = {key: a["error"] for key, a in answers.items() if "error" in a}
        if wrong := [errors[c.key] for c in contestants if c.library == OURS and c.key in errors]:
            raise RuntimeError(f"{OURS} on {problem.name}: {wrong[0]}")
        players = [c for c in contestants if c.key not in errors]
        took: dict[str, list[float]] = {c.key: [] for c in players}
        waited = 0.0
        for number in range(settings.rounds):
            first = number % max(len(players), 1)
            for player in players[first:] + players[:first]:
                turn = workers[player.library].ask(
                    "turn", key=player.key, seconds=settings.seconds, settle=settings.settle
                )
                took[player.key].append(turn["seconds"])
                waited = max(waited, turn["waited"] if number else 0.0)
    return {
        "rounds": took,
        "seconds": {key: statistics.median(values) for key, values in took.items()},
        "ways": {key: a["way"] for key, a in answers.items() if a.get("way")},
        "errors": errors,
        "waited": waited,
    }


def ratio(result: dict, ours: str, peers: list[str]) -> float:
    """Median over rounds of (the fastest peer's time of the round / ours)."""
    rounds = zip(*(result["rounds"][peer] for peer in peers), strict=True)
    best = [min(times) for times in rounds]
    return statistics.median(b / o for b, o in zip(best, result["rounds"][ours], strict=True))
