"""The measurements, one function each: they take the workers and return what the report shows.

A part returns a dict with `rows`, one a line of its table, and with `waited`, the largest
processor time that a worker used while others had their turn.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

from . import limit
from .libraries import LIBRARIES, OURS
from .problem import Problem
from .rounds import Contestant, Workers, environment, play, ratio

CELLS = [
    Problem(100, 1, 1, 32),
    Problem(100, 1, 16, 128),
    Problem(1000, 8, 4, 32),
    Problem(100, 32, 8, 64),
    Problem(28, 128, 28, 128),
    Problem(100, 64, 32, 128),
    Problem(100, 128, 64, 256),
    Problem(50, 64, 256, 512),
    Problem(20, 64, 1024, 1024),
    Problem(80, 32, 16, 64, layers=2, D=2),
]
OTHERS = [
    Problem(100, 16, 10, 50),
    Problem(100, 32, 20, 100),
    Problem(50, 7, 3, 24),
    Problem(20, 32, 64, 768),
    Problem(60, 1, 64, 512),
]
RAGGED = [
    Problem(1000, 8, 4, 32, ragged=True),
    Problem(100, 32, 8, 64, ragged=True),
    Problem(28, 128, 28, 128, ragged=True),
    Problem(100, 64, 32, 128, ragged=True),
    Problem(50, 64, 256, 512, ragged=True),
]
STREAMING = Problem(1, 1, 8, 64)
STEP = (400, 256, 64, 128)  # L, N, I, H of the step whose memory is measured
MANY_CALLS = 20_000


def cell_of(text: str) -> Problem:
    """Read a cell, "L,N,I,H" or "L,N,I,H,layers,directions"."""
    return Problem(*(int(number) for number in text.split(",")))


def peers_of(task: str, dtype: str) -> list[str]:
    """Return the libraries that can do a task: two only infer, and only in float32."""
    if task == "training" or dtype == "float64":
        return ["torch", "jax"]
    return [library for library in LIBRARIES if library != OURS]


def side_by_side(workers: Workers, problem: Problem, task: str) -> dict:
    """Measure all libraries on one problem: a row of a table."""
    libraries = [OURS, *peers_of(task, problem.dtype)]
    contestants = [Contestant(name, task) for name in libraries if workers.has(name)]
    result = play(workers, problem, contestants)
    peers = [name for name in result["seconds"] if name != OURS]
    row = {"name": problem.name, "H": problem.H, "N": problem.N}
    row |= {name: result[name] for name in ("seconds", "ways", "errors", "waited")}
    if OURS in result["seconds"] and peers:
        row["ratio"] = ratio(result, OURS, peers)
        row["ratios"] = {peer: ratio(result, OURS, [peer]) for peer in peers}
        row["best"] = min(peers, key=result["seconds"].get)
    return row


def _of_dtype(problems: list[Problem], dtype: str) -> list[Problem]:
    return [Problem(**(vars(problem) | {"dtype": dtype})) for problem in problems]


def _part(rows: list[dict]) -> dict:
    waited = max((row.pop("waited", 0.0) for row in rows), default=0.0)
    return {"rows": rows, "waited": waited}


def _all_cells(task: str) -> Callable:
    def part(workers: Workers, cells: list[Problem] | None, dtype: str) -> dict:
        chosen = [("", cells)] if cells else [("figures", CELLS), ("others", OTHERS)]
        rows = []
        for group, problems in chosen:
            for problem in _of_dtype(problems, dtype):
                rows.append(side_by_side(workers, problem, task) | {"group": group})
                _progress(task, rows[-1])
        return _part(rows)

    return part


def _progress(part: str, row: dict) -> None:
    found = f"{row['ratio']:.2f}x {row['best']}" if "ratio" in row else ""
    print(f"{part}: {row['name']} {found}", file=sys.stderr, flush=True)
    for key, error in row.get("errors", {}).items():
        print(f"  {key} left out: {error}", file=sys.stderr)


def cell(workers: Workers, cells: list[Problem] | None, dtype: str) -> dict:
    """One step of a cell: batch 1, or what the cells say."""
    steps = [Problem(1, p.N, p.I, p.H) for p in cells or [STREAMING]]
    rows = [side_by_side(workers, problem, "cell") for problem in _of_dtype(steps, dtype)]
    for row in rows:
        _progress("cell", row)
    return _part(rows)


def lengths(workers: Workers, cells: list[Problem] | None, dtype: str) -> dict:
    """Cost per real step with lengths from L/4 to L, against the padded run and torch's packed."""
    rows = []
    for problem in _of_dtype(cells or RAGGED, dtype):
        padded = Problem(**(vars(problem) | {"ragged": False}))
        ragged = Problem(**(vars(problem) | {"ragged": True}))
        for task in ("forward", "training"):
            rows.append(_lengths_row(workers, padded, ragged, task))
            _progress("lengths", rows[-1])
    return _part(rows)


def _lengths_row(workers: Workers, padded: Problem, ragged: Problem, task: str) -> dict:
    contestants = [
        Contestant(OURS, task, label="padded", problem=padded),
        Contestant(OURS, task, "lengths", label="lengths"),
        Contestant(OURS, task, "packed", label="packed"),
    ]
    if workers.has("torch"):
        contestants.append(Contestant("torch", task, "packed", label="torch packed"))
    result = play(workers, ragged, contestants)
    share = ragged.arrays()["lengths"].sum() / (ragged.L * ragged.N)  # of steps that are real
    row = {"name": padded.name, "task": task, "real": share}
    row |= {name: result[name] for name in ("seconds", "errors", "waited")}
    for layout in ("lengths", "packed"):
        row[f"{layout} per step"] = 1 / ratio(result, layout, ["padded"]) / share
        if "torch packed" in result["seconds"]:
            row[f"torch / {layout}"] = ratio(result, layout, ["torch packed"])
    return row


def limits(workers: Workers, cells: list[Problem] | None, dtype: str) -> dict:
    """Floating-point operations per second, beside what the register tile alone reaches."""
    large = [problem for problem in CELLS if problem.H >= 256 and problem.N >= 64]
    tasks = {"forward": 1, "training": 3}
    rows = []
    for problem in _of_dtype(cells or large, dtype):
        contestants = [Contestant(OURS, task, label=task) for task in ("tile", *tasks)]
        result = play(workers, problem, contestants)
        tile = 2.0 * workers.settings.threads * limit.multiply_adds(dtype)
        speed = tile / result["seconds"]["tile"]
        for task, times in tasks.items():
            share = ratio(result, task, ["tile"]) * problem.flops * times / tile
            rows.append(
                {
                    "name": problem.name,
                    "task": task,
                    "tile": speed / 1e9,
                    "gflops": problem.flops * times / result["seconds"][task] / 1e9,
                    "share": share,
                    "waited": result["waited"],
                }
            )
        _progress("limit", rows[-1])
    return _part(rows)


def scaling(workers: Workers, cells: list[Problem] | None, dtype: str) -> dict:
    """One thread against all, by numba.set_num_threads in one process."""
    wide = [problem for problem in CELLS if problem.N >= 32]
    threads = workers.settings.threads
    rows = []
    for problem in _of_dtype(cells or wide, dtype):
        for task in ("forward", "training"):
            one = Contestant(OURS, task, threads=1, label="1 thread")
            more = Contestant(OURS, task, threads=threads, label=f"{threads} threads")
            result = play(workers, problem, [one, more])
            row = {"name": problem.name, "task": task}
            row |= {name: result[name] for name in ("seconds", "errors", "waited")}
            row["speedup"] = ratio(result, more.key, [one.key])
            rows.append(row)
            _progress("scaling", row)
    return _part(rows)


# --- in fresh processes ---------------------------------------------------------------------------


def fresh(*arguments: object, **variables: str) -> dict:
    """Run fresh.py with arguments, and variables in its environment."""
    command = [sys.executable, str(Path(__file__).with_name("fresh.py")), *map(str, arguments)]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, env=environment(**variables)
    )
    return json.loads(done.stdout)


def _present(workers: Workers) -> list[str]:
    return [library for library in (OURS, "torch") if workers.has(library)]


def memory(workers: Workers, cells: list[Problem] | None, dtype: str) -> dict:
    """Peak memory that one training step and one inference add; what many calls leave behind."""
    libraries = _present(workers)
    rows = []
    for size in [(p.L, p.N, p.I, p.H) for p in cells or []] or [STEP]:
        for task in ("training", "inference"):
            found = {library: fresh("memory", library, task, dtype, *size) for library in libraries}
            row = {"name": str(size), "task": task, "output": found[OURS]["output"]}
            rows.append(row | {"added": {k: value["added"] for k, value in found.items()}})
    few = workers.settings.rounds < 3
    calls = MANY_CALLS // 100 if few else MANY_CALLS
    return _part(rows) | {"calls": calls, "grown": fresh("growth", OURS, dtype, calls)["grown"]}


def first(workers: Workers, cells: list[Problem] | None, dtype: str) -> dict:
    """Imports and first calls, in fresh processes: with an empty cache, then with a warm one."""
    found: dict[str, list[dict]] = {}
    for _ in range(min(workers.settings.rounds, 3)):
        with tempfile.TemporaryDirectory() as folder:
            for cache in ("empty", "warm"):
                seconds = fresh("first", OURS, dtype, NUMBA_CACHE_DIR=folder)
                found.setdefault(f"{OURS}, {cache} cache", []).append(seconds)
        if "torch" in _present(workers):
            found.setdefault("torch", []).append(fresh("first", "torch", dtype))
    rows = [
        {"name": name, "seconds": {k: median(run[k] for run in runs) for k in runs[0]}}
        for name, runs in found.items()
    ]
    return _part(rows)


PARTS = {
    "forward": _all_cells("forward"),
    "training": _all_cells("training"),
    "lengths": lengths,
    "cell": cell,
    "memory": memory,
    "first": first,
    "scaling": scaling,
    "limit": limits,
}
