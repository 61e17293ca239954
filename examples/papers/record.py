"""What the scripts of this folder share: arguments, seeds, and the JSON file of a run.

    python examples/papers/record.py

prints README.md's table from the files in results/.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import numba_rnn as nr

HERE = Path(__file__).parent
PACKAGES = ("numba", "numpy", "scipy")

Settings = dict[str, Any]
# From settings and a seed: a number for every key of `Paper.numbers`, and curves to draw.
Experiment = Callable[[Settings, int], tuple[dict[str, float], dict[str, Any]]]


@dataclass(frozen=True)
class Number:
    """A number of the paper, which a run has to find again.

    Attributes
    ----------
    what : str
    paper : float or None
        None where the paper shows a picture or gives none.
    said : str
        What the paper says in words or pictures; for a number that it gives, where.
    why : str
        Where it is not reached: why not.
    digits : int
        After the point, in tables.
    """

    what: str
    paper: float | None
    said: str = ""
    why: str = ""
    digits: int = 3


@dataclass(frozen=True)
class Paper:
    """An experiment: where it comes from, its settings, its numbers, and what is done otherwise.

    ``whole`` and ``quick`` have the same keys; "seeds" is how many runs there are.
    """

    name: str
    source: str
    whole: Settings
    quick: Settings
    numbers: dict[str, Number]
    deviations: tuple[str, ...]


def main(paper: Paper, experiment: Experiment, argv: Sequence[str] | None = None) -> int:
    """Run an experiment once for every seed, write FOLDER/NAME.json, and print its numbers."""
    parser = argparse.ArgumentParser(description=paper.source)
    parser.add_argument("--quick", action="store_true", help="seconds, to see that it runs")
    parser.add_argument("--seed", type=int, default=0, help="the first one, the others follow (0)")
    parser.add_argument("--folder", type=Path, help="of the JSON file (results, or quick)")
    args = parser.parse_args(argv)

    settings = paper.quick if args.quick else paper.whole
    seeds = list(range(args.seed, args.seed + settings["seeds"]))
    start, used = time.perf_counter(), time.process_time()
    found, curves = [], {}
    for seed in seeds:
        numbers, drawn = experiment(settings, seed)
        curves = curves or drawn  # those of the first seed
        found.append(numbers)
        print(f"seed {seed}:", ", ".join(f"{k} {v:.6g}" for k, v in numbers.items()), flush=True)
    record = {
        "name": paper.name,
        "source": paper.source,
        "quick": args.quick,
        "seeds": seeds,
        "settings": settings,
        "numbers": {k: summary(n, [f[k] for f in found]) for k, n in paper.numbers.items()},
        "deviations": list(paper.deviations),
        "curves": curves,
        "seconds": round(time.perf_counter() - start, 1),
        "processor_seconds": round(time.process_time() - used, 1),
        "versions": versions(),
        "processor": processor(),
    }
    folder = args.folder or Path("quick" if args.quick else "results")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{paper.name}.json"
    path.write_text(as_json(record), encoding="utf-8")
    for key, number in paper.numbers.items():
        row = record["numbers"][key]
        print(f"{number.what}: {shown(row)}; the paper: {said(row)}")
    print(f"written: {path}")
    return 0


def summary(number: Number, values: list[float]) -> dict[str, Any]:
    """Return what the JSON file says of a number: the paper's, ours over the seeds, and the gap."""
    ours = statistics.fmean(values)
    return asdict(number) | {
        "ours": ours,
        "least": min(values),
        "most": max(values),
        "by_seed": [float(value) for value in values],
        "difference": None if number.paper is None else ours - number.paper,
    }


def shown(row: dict[str, Any]) -> str:
    """Our number as text: the mean, and the range where seeds differ."""
    mean, least, most = (f"{row[key]:.{row['digits']}f}" for key in ("ours", "least", "most"))
    return mean if least == most else f"{mean} ({least} to {most})"


def said(row: dict[str, Any]) -> str:
    """Return the paper's number, or its words, as text."""
    if row["paper"] is None:
        return row["said"]
    number = f"{row['paper']:.{row['digits']}f}"
    return f"{number} ({row['said']})" if row["said"] else number


def as_json(record: dict[str, Any]) -> str:
    """Return a record as text for people: lists of numbers and words are one line each.

    NaN is no JSON and is refused: a run that diverged has to say so in a number.
    """
    text = json.dumps(record, indent=1, allow_nan=False)
    return re.sub(r"\[[^][{}]*\]", lambda found: " ".join(found[0].split()), text) + "\n"


def difference(row: dict[str, Any]) -> str:
    """Return how far ours is from the paper's number, as text."""
    if row["difference"] is None:
        return ""
    text = f"{row['difference']:+.{row['digits']}f}"
    return text if float(text) else "0"


def versions() -> dict[str, str]:
    """Return the versions of what has a part in the numbers."""
    found = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"python": platform.python_version(), "numba_rnn": nr.__version__, **found}


def processor() -> str:
    """Return the processor's name, as far as the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def rounded(values: Any, digits: int = 5) -> list[Any]:
    """Return an array as nested lists, short enough for a file that people look into."""
    return np.round(np.asarray(values, np.float64), digits).tolist()


def table(folder: Path) -> str:
    """Return all results of a folder as a table, and what was done otherwise as lists."""
    records = [
        json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))
    ]
    lines = ["| script | number | the paper | ours | difference |", "|---|---|---|---|---|"]
    for record in records:
        script = f"`{record['name']}.py`"
        for row in record["numbers"].values():
            cells = script, row["what"], said(row), shown(row), difference(row)
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
            script = ""
    for record in records:
        runs = f"{len(record['seeds'])} seeds" if len(record["seeds"]) > 1 else "one run"
        lines += ["", f"**{record['source']}** (`{record['name']}.py`, {runs}):", ""]
        lines += [f"* {text}" for text in record["deviations"]]
        reasons = dict.fromkeys(row["why"] for row in record["numbers"].values() if row["why"])
        lines += [f"* not reached: {text}" for text in reasons]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(HERE / "results"))
