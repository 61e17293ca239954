"""The examples run, on a short setting, and do what they claim."""

import importlib.util
from pathlib import Path

import pytest
from processes import python

EXAMPLES = Path(__file__).parents[1] / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_forecast_co2(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    example = load("forecast_co2")
    assert example.main(["--quick"]) == 0  # 1 where it does not beat seasonal naive
    picture = tmp_path / "forecast_co2.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 10_000
    assert [path.name for path in tmp_path.iterdir()] == [picture.name]
    printed = capsys.readouterr().out
    for word in ("RMSE", "RNN", "seasonal naive", picture.name):
        assert word in printed


GPU_EXAMPLE = """
import sys
sys.path.insert(0, {folder!r})
import train_on_gpu
sys.stderr = sys.stdout
print(train_on_gpu.main([]))
"""


def test_train_on_gpu_says_what_to_install():
    if "True" in python("from numba import cuda; print(cuda.is_available())"):
        pytest.skip("there is a GPU here; test_cuda.py runs the example in the simulator")
    printed = python(GPU_EXAMPLE.format(folder=str(EXAMPLES)))
    assert printed.startswith("This example needs a GPU") and printed.endswith("2\n")
    for word in ("CUDA arrays need", "numba-cuda[cu13]", "numba-cuda[cu12]"):
        assert word in printed


def test_train_by_hand(capsys):
    # 1 where it has not halved the error of who always answers the same
    assert load("train_by_hand").main(["--steps", "8", "--batches", "600"]) == 0
    assert "steps from the end" in capsys.readouterr().out


def test_lbfgs(capsys):
    assert load("lbfgs").main(["--iterations", "200"]) == 0  # 1 where Adam is better
    printed = capsys.readouterr().out
    assert "L-BFGS" in printed and "Adam" in printed


def test_classify_speakers(capsys):
    assert load("classify_speakers").main([]) == 0  # 1 where the accuracy is below 0.95
    assert "test accuracy: 0.9" in capsys.readouterr().out


def test_export_onnx(tmp_path, capsys):
    output = tmp_path / "speakers.onnx"
    assert load("export_onnx").main(["--epochs", "2", "--output", str(output)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "speakers.onnx",
        "speakers.safetensors",
    ]
    assert "largest difference" in capsys.readouterr().out
