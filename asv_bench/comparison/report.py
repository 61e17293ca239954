"""The results as text, Markdown and a picture: all are made from the JSON file."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from .libraries import LIBRARIES, OURS

DASH = "–"
COLOURS = {"torch": "#ee7733", "jax": "#0077bb", "onnxruntime": "#33bbee", "openvino": "#bbbbbb"}


def seconds(value: float | None) -> str:
    """Write a time with three digits."""
    if value is None:
        return DASH
    for unit, size in (("s", 1), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= size or unit == "µs":
            break
    digits = max(0, 2 - math.floor(math.log10(max(value / size, 1e-3))))
    return f"{value / size:.{min(digits, 2)}f} {unit}"


def times(value: float | None) -> str:
    """Write a ratio."""
    return DASH if value is None else f"{value:.2f}x"


def megabytes(value: float) -> str:
    """Write an amount of memory."""
    return f"{value / 1e6:.1f} MB"


def geometric_mean(values: Iterable[float]) -> float | None:
    """Return the geometric mean, None of nothing."""
    values = list(values)
    return math.exp(sum(map(math.log, values)) / len(values)) if values else None


def table(head: list[str], rows: list[list[str]]) -> str:
    """Lay out a Markdown table that reads well as text, too."""
    widths = [max(len(row[k]) for row in [head, *rows]) for k in range(len(head))]
    lines = [
        "| " + " | ".join(_pad(text, widths[k], k) for k, text in enumerate(row)) + " |"
        for row in [head, *rows]
    ]
    rule = [("-" * width) if k == 0 else "-" * (width - 1) + ":" for k, width in enumerate(widths)]
    lines.insert(1, "| " + " | ".join(rule) + " |")
    return "\n".join(lines)


def _pad(text: str, width: int, column: int) -> str:
    return text.ljust(width) if column == 0 else text.rjust(width)


# --- one table for each part ----------------------------------------------------------------------


def _side_by_side(part: dict) -> str:
    rows = part["rows"]
    names = [name for name in LIBRARIES if any(name in row["seconds"] for row in rows)]
    peers = [name for name in names if name != OURS]
    head = ["(L, N, I, H)", *names, "fastest peer", "its time / ours"]
    lines = []
    for group in dict.fromkeys(row.get("group", "") for row in rows):
        members = [row for row in rows if row.get("group", "") == group]
        for row in members:
            took = [seconds(row["seconds"].get(name)) for name in names]
            lines.append([row["name"], *took, row.get("best", DASH), times(row.get("ratio"))])
        if len(members) > 1:
            ratios = [
                geometric_mean(r["ratios"][p] for r in members if p in r.get("ratios", {}))
                for p in peers
            ]
            total = geometric_mean(r["ratio"] for r in members if "ratio" in r)
            mean = ["geometric mean of time / ours", "1.00x", *map(times, ratios), "", times(total)]
            lines.append(mean)
    return table(head, lines) + _left_out(rows)


def _left_out(rows: list[dict]) -> str:
    errors = {(key, error) for row in rows for key, error in row.get("errors", {}).items()}
    return "".join(f"\n\n{key} is missing in places: {error}" for key, error in sorted(errors))


def _lengths(part: dict) -> str:
    head = [
        "(L, N, I, H)", "task", "padded", "lengths=", "packed", "torch packed",
        "lengths= per real step", "packed per real step", "torch / lengths=", "torch / packed",
    ]  # fmt: skip
    keys = ("lengths per step", "packed per step", "torch / lengths", "torch / packed")
    lines = []
    for row in part["rows"]:
        took = row["seconds"]
        shown = [seconds(took.get(k)) for k in ("padded", "lengths", "packed", "torch packed")]
        ratios = [times(row.get(key)) for key in keys]
        lines.append([row["name"], row["task"], *shown, *ratios])
    means = [geometric_mean(row[key] for row in part["rows"] if key in row) for key in keys]
    lines.append(["geometric mean", "", "", "", "", "", *map(times, means)])
    return table(head, lines) + _left_out(part["rows"])


def _memory(part: dict) -> str:
    names = list(part["rows"][0]["added"])
    head = ["(L, N, I, H)", "task", *names, "size of the output", "ours / torch's"]
    lines = []
    for row in part["rows"]:
        added = row["added"]
        share = times(added[OURS] / added["torch"]) if "torch" in added else DASH
        shown = [megabytes(added[name]) for name in names]
        lines.append([row["name"], row["task"], *shown, megabytes(row["output"]), share])
    grown = f"{part['calls']:,} small training steps and inferences left {megabytes(part['grown'])}"
    return f"{table(head, lines)}\n\n{grown} behind."


def _first(part: dict) -> str:
    head = ["", "import numba", "import", "layer", "first forward", "first backward"]
    keys = ("import numba", "import", "layer", "forward", "backward")
    lines = [
        [row["name"], *(seconds(row["seconds"].get(key)) for key in keys)] for row in part["rows"]
    ]
    return table(head, lines)


def _scaling(part: dict) -> str:
    labels = list(part["rows"][0]["seconds"])
    lines = [
        [row["name"], row["task"], *(seconds(row["seconds"][k]) for k in labels),
         times(row["speedup"])]
        for row in part["rows"]
    ]  # fmt: skip
    return table(["(L, N, I, H)", "task", *labels, "speed-up"], lines)


def _limit(part: dict) -> str:
    lines = [
        [row["name"], row["task"], f"{row['gflops']:.0f} GFLOP/s", f"{row['tile']:.0f} GFLOP/s",
         f"{100 * row['share']:.0f}%"]
        for row in part["rows"]
    ]  # fmt: skip
    return table(["(L, N, I, H)", "task", "reached", "the tile alone", "share"], lines)


SECTIONS: dict[str, tuple[str, str, Callable[[dict], str]]] = {
    "forward": (
        "Forward",
        "`rnn(x)`: whole public calls, nothing kept for backward. Above 1x we are faster.",
        _side_by_side,
    ),
    "training": (
        "Forward and backward",
        "`rnn.forward(x).backward(g)`: the gradients of the input and of every parameter.",
        _side_by_side,
    ),
    "lengths": (
        "Lengths",
        "Lengths are uniform in L/4..L. Per real step: the time of a step that is no padding, "
        "over that of a step of the padded run (lower is better).",
        _lengths,
    ),
    "cell": ("Streaming", "One step of a cell: 1 sample, `cell(x, h)`.", _side_by_side),
    "memory": (
        "Memory",
        "Peak memory that one call adds in a fresh process, after a small one.",
        _memory,
    ),
    "first": (
        "First use",
        "In a fresh process each. `import` is what comes on top of `import numba`; a first call "
        "includes compilation, or loading from the cache.",
        _first,
    ),
    "scaling": ("Threads", "One thread against all of them.", _scaling),
    "limit": (
        "The limit",
        "The register tile alone, in all threads, on data that lies in the nearest cache: no "
        "kernel that is built of it can be faster. Products only are counted, 2·L·N·H·(I + H) "
        "operations forward and three times as many with backward.",
        _limit,
    ),
}


def text(results: dict) -> str:
    """Write all results as Markdown."""
    pieces = []
    for key in _in_order(results):
        part = results[key]
        name, dtype = key.split()
        title, explanation, layout = SECTIONS[name]
        pieces.append(f"## {title}, {dtype}\n\n{explanation}\n\n{layout(part)}\n\n{_made(part)}")
    return "\n\n".join(pieces) + "\n"


def _in_order(results: dict) -> list[str]:
    names = list(SECTIONS)
    return sorted(results, key=lambda key: (key.split()[1], names.index(key.split()[0])))


def _made(part: dict) -> str:
    """How a part was measured."""
    versions = ", ".join(f"{name} {version}" for name, version in part["versions"].items())
    made = f"{part['date']}, {part['machine']}, {part['threads']} threads; {versions}."
    if part["waited"]:
        made += (
            f" {part['rounds']} rounds; while others had their turn, no process used more than "
            f"{1000 * part['waited']:.0f} ms of processor time."
        )
    return made


# --- the picture ----------------------------------------------------------------------------------


def picture(results: dict, path: Path) -> bool:
    """Draw how many times longer the peers take; return whether there was anything to draw."""
    wanted = [key for key in _in_order(results) if key.split()[0] in ("forward", "training")]
    parts = {key: results[key]["rows"] for key in wanted if _drawable(results[key]["rows"])}
    if not parts:
        return False
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    height = 1.5 + 0.62 * max(len(_drawable(rows)) for rows in parts.values())
    figure, axes = plt.subplots(
        1, len(parts), figsize=(1 + 6.5 * len(parts), height), squeeze=False, layout="constrained"
    )
    for axis, (key, rows) in zip(axes[0], parts.items(), strict=True):
        _bars(axis, f"{SECTIONS[key.split()[0]][0]}, {key.split()[1]}", _drawable(rows))
    handles, names = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=len(names))
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return True


def _drawable(rows: list[dict]) -> list[dict]:
    return [row for row in rows if "ratios" in row]


def _bars(axis: Any, title: str, rows: list[dict]) -> None:
    """Draw a group of bars for each cell, a colour for each peer."""
    peers = [name for name in LIBRARIES if any(name in row["ratios"] for row in rows)]
    thickness = 0.8 / len(peers)
    for k, peer in enumerate(peers):
        places = [n + (k - (len(peers) - 1) / 2) * thickness for n in range(len(rows))]
        values = [row["ratios"].get(peer, math.nan) for row in rows]
        lengths = [value - 1 for value in values]
        axis.barh(places, lengths, thickness, left=1, color=COLOURS[peer], label=peer)
        for place, value in zip(places, values, strict=True):
            if not math.isnan(value):
                end, side = (4, "left") if value >= 1 else (-4, "right")
                shown = f"{value:.1f}" if value >= 1 else f"{value:.2g}"
                axis.annotate(
                    shown, (value, place), (end, 0), textcoords="offset points",
                    ha=side, va="center", fontsize=7,
                )  # fmt: skip
    axis.axvline(1, color="black", linewidth=1)
    axis.set_xscale("log")
    largest = max(max(row["ratios"].values()) for row in rows)
    smallest = min(min(row["ratios"].values()) for row in rows)
    ticks = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200)
    ticks = [t for t in ticks if smallest / 1.4 <= t <= 1.4 * largest or t == 1]
    axis.set_xticks(ticks, [f"{tick:g}x" for tick in ticks], minor=False)
    axis.minorticks_off()
    axis.set_xlim(min(0.8, 0.75 * smallest), 1.5 * largest)
    names = [row["name"].replace(") ", ")\n") for row in rows]
    axis.set_yticks(range(len(rows)), names, fontsize=8)
    axis.invert_yaxis()
    axis.set_xlabel(f"time of the peer / time of {OURS}: right of the line, {OURS} is faster")
    axis.set_title(title)
    axis.margins(y=0.01)
