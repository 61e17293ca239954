"""The examples run, on a short setting, and do what they claim."""

import importlib.util
from pathlib import Path

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
