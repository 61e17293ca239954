"""The benchmarks still run: every method of the asv suite once, on its smallest parameters."""

import importlib
import inspect
import pkgutil
import sys
from pathlib import Path

import pytest

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
    wanted = {"Forward", "Training", "Lengths", "Cell", "TrainingFloat64"}
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
