"""The examples run, on a short setting, and do what they claim."""

import importlib.util
from pathlib import Path

import numpy as np

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


def test_forecast_co2_does_not_look_ahead():
    """What is held back, replaced by anything, changes no forecast."""
    example = load("forecast_co2")
    dates, co2 = example.load()
    co2 = example.fill_gaps(co2)[-4 * example.YEAR :]
    dates = dates[-4 * example.YEAR :]
    model = example.train(co2[: -example.YEAR], dates[: -example.YEAR], epochs=1, seed=0)
    forecast = example.forecast_year(model, co2[: -example.YEAR], dates[: -example.YEAR])
    assert forecast.shape == (example.YEAR,)
    assert np.all(np.abs(forecast - co2[-example.YEAR :].mean()) < 50)
