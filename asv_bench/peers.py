"""Measure numba_rnn side by side with torch, JAX, ONNX Runtime and OpenVINO.

    pip install torch && pip install '.[peers]'
    python asv_bench/peers.py --markdown docs/performance-tables.md --picture docs/performance.png

Each library runs in a process of its own; they take turns, and the order changes every round. All
have the same weights, and every answer is checked against the textbook before it is timed. Run it
on a quiet machine. `--what` measures some parts only; the results of all parts gather in the file
that `--json` names, from which tables and picture are made anew each time.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path

from comparison.parts import PARTS, cell_of
from comparison.report import picture, text
from comparison.rounds import Settings, Workers


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--what", default=",".join(PARTS), help=f"parts to measure, of {','.join(PARTS)}, or none")
    add("--cells", nargs="+", type=cell_of, metavar="L,N,I,H[,layers,directions]")
    add("--dtype", choices=("float32", "float64"), default="float32")
    add("--rounds", type=int, default=Settings.rounds)
    add("--threads", type=int, default=Settings().threads, help="JAX takes all cores only")
    add("--quick", action="store_true", help="one short round: does everything run?")
    add("--json", type=Path, default=Path("peers.json"), help="where results gather")
    add("--markdown", type=Path, help="file for the tables")
    add("--picture", type=Path, help="file for the bar chart")
    chosen = parser.parse_args()
    chosen.what = [] if chosen.what == "none" else chosen.what.split(",")
    unknown = set(chosen.what) - set(PARTS)
    if unknown:
        parser.error(f"--what must be of {','.join(PARTS)}, got {','.join(sorted(unknown))}")
    return chosen


def machine() -> str:
    """Name of the processor and how many cores there are."""
    name = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as file:
            models = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
        name = models[0] if models else name
    return f"{name}, {len(os.sched_getaffinity(0))} cores"


def measure(chosen: argparse.Namespace) -> dict:
    """Measure the chosen parts."""
    settings = Settings(rounds=chosen.rounds, threads=chosen.threads)
    if chosen.quick:
        settings = Settings(rounds=1, seconds=0.005, settle=0.01, threads=chosen.threads)
    workers = Workers(settings)
    results = {}
    try:
        for name in chosen.what:
            results[f"{name} {chosen.dtype}"] = PARTS[name](workers, chosen.cells, chosen.dtype) | {
                "date": datetime.date.today().isoformat(),
                "machine": machine(),
                "threads": settings.threads,
                "rounds": settings.rounds,
                "versions": workers.versions() | {"numba": version("numba")},
            }
    finally:
        workers.end()
    return results


def main() -> None:
    """Measure, gather, and write what was asked for."""
    chosen = options()
    results = json.loads(chosen.json.read_text()) if chosen.json.exists() else {}
    measured = measure(chosen)
    results |= measured
    chosen.json.write_text(json.dumps(results, indent=1) + "\n")
    print(text(measured or results))
    if chosen.markdown:
        chosen.markdown.parent.mkdir(parents=True, exist_ok=True)
        chosen.markdown.write_text(text(results))
    if chosen.picture:
        chosen.picture.parent.mkdir(parents=True, exist_ok=True)
        picture(results, chosen.picture)


if __name__ == "__main__":
    main()
