"""The benchmarks still run: every method of the asv suite once, on its smallest parameters."""

import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from processes import environment

FOLDER = Path(__file__).resolve().parent.parent / "asv_bench"
KINDS = ("time_", "track_", "peakmem_")


def _modules():
    sys.path.insert(0, str(FOLDER))
    try:
        package = importlib.import_module("benchmarks")
        names = [module.name for module in pkgutil.iter_modules(package.__path__)]
        return [importlib.import_module(f"benchmarks.{name}") for name in names]
    finally:
        sys.path.remove(str(FOLDER))


def _classes():
    return [
        member
        for module in _modules()
        for _, member in inspect.getmembers(module, inspect.isclass)
        if member.__module__ == module.__name__
    ]


def _methods(benchmark):
    return [name for name in dir(benchmark) if name.startswith(KINDS)]


CLASSES = _classes()


def test_the_suite_is_complete():
    wanted = {"Forward", "Training", "Lengths", "Cell", "Stream", "TrainingFloat64"}
    wanted |= {"FirstCall", "Import", "Memory"}
    assert wanted <= {benchmark.__name__ for benchmark in CLASSES}


@pytest.mark.parametrize("benchmark", CLASSES, ids=lambda benchmark: benchmark.__name__)
def test_a_benchmark_runs(benchmark):
    smallest = [values[0] for values in getattr(benchmark, "params", ())]
    assert _methods(benchmark)
    bench = benchmark()
    bench.setup(*smallest)
    try:
        for name in _methods(benchmark):
            result = getattr(bench, name)(*smallest)
            if name.startswith("track_"):
                assert result >= 0
    finally:
        if hasattr(bench, "teardown"):
            bench.teardown(*smallest)


def test_the_comparison_on_vowels_runs(torch):
    command = [sys.executable, FOLDER / "vowels.py", "--rounds", "2", "--epochs", "2"]
    done = subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=300, check=True
    )
    ours, theirs = (line.split() for line in done.stdout.splitlines()[1:3])
    assert (ours[0], theirs[0]) == ("numba_rnn", "torch")
    assert ours[4] == theirs[4]  # from the same weights on the same batches, the same accuracy
    assert "torch's time / ours" in done.stdout


@pytest.mark.parametrize(
    ("command", "first"),
    [
        (("busy.py", "--repeats", "1", "--seconds", "0.1"), "0 busy, (100, 32, 8, 64): 1 thread "),
        (("new_lengths.py", "--rounds", "1"), "(1000, 8, 4, 32) forward: kept "),
        (("second_thread.py", "--rounds", "1", "--calls", "1"), "two threads' time over one's"),
        (("forecasting.py", "--series", "CO2", "--peers", "ridge", "RNNForecaster"), "| "),
        (("per_sample.py", *"--size 3 2 2 3 --rounds 1".split()), "ordinary  "),
        (("latency.py", "--rounds", "1", "--calls", "10"), "One step, I = 8, H = 64, float32: "),
        (
            ("classification.py", *"--problems JapaneseVowels --series 27 --epochs 2".split()),
            "| | JapaneseVowels | mean |",
        ),
    ],
)
def test_a_script_runs(command, first):
    done = subprocess.run(
        [sys.executable, FOLDER / command[0], *command[1:]],
        env=environment(), capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert lines[0].startswith(first) and len(lines) >= 2


def test_regression_runs(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "Sums").mkdir()
    for part in ("TRAIN", "TEST"):
        lines = [",".join(map(str, x)) + f":{x.sum()}" for x in rng.normal(size=(12, 8)).round(3)]
        (tmp_path / "Sums" / f"Sums_{part}.ts").write_text("@data\n" + "\n".join(lines))
    options = f"--data {tmp_path} --problems Sums Gone --members 2 --seeds 1 --epochs 2".split()
    done = subprocess.run(
        [sys.executable, FOLDER / "regression.py", *options],
        env=environment(), capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    lines = [line.split("|")[1:-1] for line in done.stdout.splitlines()]
    assert [line[0].strip() for line in lines[2:]] == [
        "RNNRegressor", "n_members=2", "sklearn MLP", "ridge",
    ]  # fmt: skip
    assert all(line[2].strip() == "-" for line in lines[2:])
    assert float(lines[-1][1].split()[0]) > 0.9  # of ridge, whose problem this is
