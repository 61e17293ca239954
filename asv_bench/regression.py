"""R² of RNNRegressor as it is, and of what else predicts numbers from series, on real problems.

    pip install '.[test]'
    python asv_bench/regression.py --data FOLDER

Each is fitted to the training part with its defaults and tested on the test part: RNNRegressor, the
mean of some of them (`n_members`), and on scaled tables scikit-learn's MLPRegressor, whose target
is scaled too, and RidgeCV. The median over seeds is printed, and from where to where they go.
Problems are read from FOLDER/NAME/NAME_TRAIN.ts and NAME_TEST.ts, files as tseregression.org has
them, and aeon's and sktime's wheels. What can't be found is a dash.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from classification import load, stretched
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from numba_rnn.estimators import RNNRegressor

PROBLEMS = ("Tecator", "Covid3Month", "CardanoSentiment")


def contestants(members: int, epochs: int | None = None) -> dict[str, Callable[[int], object]]:
    """What is compared, by name; each is made from a seed."""
    ours = {} if epochs is None else {"max_iter": epochs}

    def mlp(seed: int) -> object:
        network = make_pipeline(StandardScaler(), MLPRegressor(random_state=seed))
        return TransformedTargetRegressor(network, transformer=StandardScaler())

    return {
        "RNNRegressor": lambda seed: RNNRegressor(random_state=seed, **ours),
        f"n_members={members}": lambda seed: RNNRegressor(
            n_members=members, random_state=seed, **ours
        ),
        "sklearn MLP": mlp,
        "ridge": lambda _: make_pipeline(StandardScaler(), RidgeCV(np.logspace(-4, 4, 17))),
    }


def main() -> None:
    """Read the command line and compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the problems")
    parser.add_argument("--problems", nargs="+", default=PROBLEMS)
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="at most, instead of the default")
    chosen = parser.parse_args()
    RNNRegressor(2, max_iter=1, n_iter_no_change=np.inf).fit(np.eye(4), np.arange(4.0))  # compile
    problems = {name: load(name, chosen.data) for name in chosen.problems}
    print("| | " + " | ".join(problems) + " |\n" + "|---" * (len(problems) + 1) + "|")
    for name, make in contestants(chosen.members, chosen.epochs).items():
        cells = []
        for parts in problems.values():
            if parts is None:
                cells.append("-")
                continue
            train, y_train, test, y_test = parts
            y_train, y_test = y_train.astype(float), y_test.astype(float)
            if not name.startswith(("RNN", "n_members")):
                steps = max(map(len, train + test))
                train, test = (stretched(x, steps).reshape(len(x), -1) for x in (train, test))
            found, start = [], time.perf_counter()
            for seed in range(chosen.seeds):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", ConvergenceWarning)
                    model = make(seed).fit(train, y_train)
                found.append(r2_score(y_test, model.predict(test)))
            seconds = (time.perf_counter() - start) / chosen.seeds
            low, middle, high = np.percentile(found, (0, 50, 100))
            cells.append(f"{middle:.2f} ({low:.2f} to {high:.2f}; {seconds:.1f} s)")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
