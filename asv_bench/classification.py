"""Accuracy of RNNClassifier as it is, and of what else classifies series, on problems of archives.

    pip install '.[test]'
    python asv_bench/classification.py --data FOLDER

Each is fitted to the training part with its defaults and tested on the test part: RNNClassifier,
the mean of some of them (`n_members`), scikit-learn's MLPClassifier on scaled tables, the nearest
neighbour by dynamic time warping (here, in NumPy, with a band of a tenth), and aeon's MiniRocket
where aeon is installed. JapaneseVowels is part of this package. Others are read from FOLDER/NAME/
NAME_TRAIN.ts and NAME_TEST.ts, files as timeseriesclassification.com and aeon's wheel have them.
What can't be run or found is a dash. Peers that need one length get series stretched to the longest
by linear interpolation.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from numba_rnn.datasets import load_japanese_vowels
from numba_rnn.estimators import RNNClassifier

Problem = tuple[list[np.ndarray], np.ndarray, list[np.ndarray], np.ndarray]
PROBLEMS = ("GunPoint", "ItalyPowerDemand", "JapaneseVowels")
BAND = 0.1  # of the length, how far dynamic time warping may shift


def read(path: Path) -> tuple[list[np.ndarray], np.ndarray]:
    """Return series (T_i, F) and labels of a .ts file."""
    series, labels, begun = [], [], False
    for line in path.read_text(encoding="utf-8").splitlines():
        if begun and line.strip():
            *features, label = line.strip().split(":")
            series.append(np.array([feature.split(",") for feature in features], float).T)
            labels.append(label)
        begun = begun or line.strip().lower() == "@data"
    return series, np.array(labels)


def load(name: str, folder: Path | None) -> Problem | None:
    """Return training and test part, or None where they are not there."""
    if name == "JapaneseVowels":
        X_train, y_train, X_test, y_test = load_japanese_vowels()
        return list(X_train), np.asarray(y_train), list(X_test), np.asarray(y_test)
    paths = [] if folder is None else [folder / name / f"{name}_{p}.ts" for p in ("TRAIN", "TEST")]
    if not paths or not all(path.exists() for path in paths):
        return None
    return *read(paths[0]), *read(paths[1])


def stretched(series: list[np.ndarray], steps: int) -> np.ndarray:
    """Series of one length, (N, steps, F), by linear interpolation."""
    found = []
    for x in series:
        at = np.linspace(0, len(x) - 1, steps)
        found.append(np.stack([np.interp(at, np.arange(len(x)), row) for row in x.T], axis=1))
    return np.stack(found)


def warped(x: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Squared distance of a series (T, F) to others (N, T, F) by dynamic time warping, (N,)."""
    steps = len(x)
    band = max(1, round(BAND * steps))
    above = np.full((steps + 1, len(others)), np.inf)
    above[0] = 0
    for i in range(steps):
        here = np.full_like(above, np.inf)
        first, last = max(0, i - band), min(steps, i + band + 1)
        cost = ((others[:, first:last] - x[i]) ** 2).sum(axis=2).T
        for j in range(first, last):
            least = np.minimum(np.minimum(above[j], above[j + 1]), here[j])
            here[j + 1] = cost[j - first] + least
        above = here
    return above[-1]


class NearestNeighbour:
    """The label of the nearest series by dynamic time warping."""

    def fit(self, X: np.ndarray, y: np.ndarray) -> NearestNeighbour:
        """Keep all of them."""
        self.X, self.y = X, y
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Labels of series (M, T, F)."""
        return np.array([self.y[warped(x, self.X).argmin()] for x in X])


def contestants(members: int, epochs: int | None) -> dict[str, Callable[[], object] | None]:
    """What is compared, by name; None for what isn't installed."""
    ours = {"random_state": 0} | ({} if epochs is None else {"max_iter": epochs})
    found: dict[str, Callable[[], object] | None] = {
        "RNNClassifier": lambda: RNNClassifier(**ours),
        f"n_members={members}": lambda: RNNClassifier(n_members=members, **ours),
        "sklearn MLP": lambda: make_pipeline(StandardScaler(), MLPClassifier(random_state=0)),
        "1-NN DTW": NearestNeighbour,
        "aeon MiniRocket": None,
    }
    if importlib.util.find_spec("aeon") is not None:
        from aeon.classification.convolution_based import MiniRocketClassifier

        found["aeon MiniRocket"] = lambda: MiniRocketClassifier(random_state=0)
    return found


def form_for(name: str, series: list[np.ndarray], steps: int) -> object:
    """Series as a contestant takes them."""
    if name.startswith(("RNN", "n_members")):
        return series
    table = stretched(series, steps)
    if name == "sklearn MLP":
        return table.reshape(len(table), -1)
    return table.swapaxes(1, 2) if name == "aeon MiniRocket" else table


def compare(
    problems: dict[str, Problem | None], members: int, epochs: int | None = None
) -> dict[str, dict[str, tuple[float, float] | None]]:
    """Fit and test all on all.

    Returns
    -------
    dict
        For each contestant and problem accuracy on the test part and seconds of the fit.
    """
    results: dict[str, dict[str, tuple[float, float] | None]] = {}
    for name, make in contestants(members, epochs).items():
        results[name] = {}
        for problem, parts in problems.items():
            results[name][problem] = None
            if make is None or parts is None:
                continue
            X_train, y_train, X_test, y_test = parts
            steps = max(len(x) for x in (*X_train, *X_test))
            train, test = (form_for(name, X, steps) for X in (X_train, X_test))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                if name.startswith("aeon"):
                    make().fit(train, y_train)  # compiles; ours did before
                start = time.perf_counter()
                model = make().fit(train, y_train)
                seconds = time.perf_counter() - start
            results[name][problem] = float(np.mean(model.predict(test) == y_test)), seconds
    return results


def report(results: dict[str, dict[str, tuple[float, float] | None]]) -> str:
    """Return the table, accuracy and seconds of the fit, as Markdown."""
    problems = list(next(iter(results.values())))
    lines = ["| | " + " | ".join([*problems, "mean"]) + " |", "|---" * (len(problems) + 2) + "|"]
    for name, found in results.items():
        cells = ["-" if one is None else f"{one[0]:.3f} ({one[1]:.1f} s)" for one in found.values()]
        known = [one[0] for one in found.values() if one is not None]
        mean = f"{statistics.mean(known):.3f}" if len(known) == len(found) else "-"
        lines.append(f"| {name} | " + " | ".join([*cells, mean]) + " |")
    return "\n".join(lines)


def main() -> None:
    """Read the command line and compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, help="folder of the archive's problems")
    add("--problems", nargs="+", default=PROBLEMS)
    add("--members", type=int, default=5)
    add("--epochs", type=int, help="at most, instead of the default")
    add("--series", type=int, help="of each part at most: does everything run?")
    chosen = parser.parse_args()
    problems = {name: load(name, chosen.data) for name in chosen.problems}
    if chosen.series is not None:
        problems = {
            name: None if parts is None else tuple(_some(part, chosen.series) for part in parts)
            for name, parts in problems.items()
        }
    RNNClassifier(2, max_iter=1, n_iter_no_change=np.inf).fit(np.eye(4), [0, 1, 0, 1])  # compile
    print(report(compare(problems, chosen.members, chosen.epochs)))


def _some(part: list[np.ndarray] | np.ndarray, count: int) -> list[np.ndarray] | np.ndarray:
    """Take some entries, from all over a part."""
    places = np.linspace(0, len(part) - 1, min(count, len(part))).astype(int)
    return part[places] if isinstance(part, np.ndarray) else [part[k] for k in places]


if __name__ == "__main__":
    main()
