"""Forecast weekly CO2 at Mauna Loa one year ahead with an Elman RNN.

    python examples/forecast_co2.py

The last five years are held back, year by year: for each of them a network is fitted to all that
was measured before, and forecasts it. Three baselines stand beside it: naive (the last value),
seasonal naive (the value one year ago), and seasonal naive with drift, which adds the mean yearly
rise of the last ten years. Errors are printed in ppm and a picture is written.

The network reads the changes from week to week of one year, with the time of the year as two
numbers, and writes those of the next year in one go. For the last year it is fitted once more, with
a fifth of the record kept away from it, which says how far its forecasts are off: the interval.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import numba_rnn as nr
from numba_rnn.estimators import Backtest, RNNForecaster

YEAR = 52  # weeks
HELD_BACK = 5  # years


def fill_gaps(co2: np.ndarray) -> np.ndarray:
    """Interpolate missing weeks linearly; the last of them lies 11 years before the held-back."""
    week, known = np.arange(len(co2)), ~np.isnan(co2)
    return np.interp(week, week[known], co2[known])


def time_of_year(dates: np.ndarray) -> np.ndarray:
    """Return the place in the year on a circle, shape (weeks, 2)."""
    angle = 2 * np.pi * dates.astype("datetime64[D]").astype(float) / 365.2425
    return np.stack([np.sin(angle), np.cos(angle)], axis=-1)


def with_drift(co2: np.ndarray, origin: int) -> np.ndarray:
    """Repeat the last year, shifted by the mean yearly rise of the last ten, shape (YEAR,)."""
    known = co2[:origin]
    rise = np.mean(known[-10 * YEAR :] - known[-11 * YEAR : -YEAR])
    return known[-YEAR:] + rise


def rmse(forecast: np.ndarray, truth: np.ndarray) -> float:
    """Return the root mean squared error."""
    return float(np.sqrt(np.mean((forecast - truth) ** 2)))


def draw(
    dates: np.ndarray, co2: np.ndarray, result: Backtest, model: RNNForecaster, path: Path
) -> None:
    """Draw the held-back years, the last of them with its interval, and how training went."""
    fig = Figure(figsize=(12, 8), layout="constrained")
    years, last, against, losses = fig.subplot_mosaic("AA;BB;CD", height_ratios=[3, 3, 4]).values()
    first = len(co2) - HELD_BACK * YEAR
    rnn = result.forecasts["RNNForecaster"]

    begin = first - 3 * YEAR
    nr.plotting.forecast(
        rnn.ravel(), history=co2[begin:first], truth=co2[first:], index=dates[begin:], ax=years
    )
    years.set_title(f"Weekly CO$_2$ at Mauna Loa, {HELD_BACK} years forecast one by one")

    begin, end = len(co2) - 2 * YEAR, len(co2) - YEAR
    future = time_of_year(dates[end:])
    nr.plotting.forecast(
        model.predict(YEAR, future),
        history=co2[begin:end],
        interval=model.predict_interval(YEAR, future, coverage=0.9),
        truth=co2[end:],
        index=dates[begin:],
        coverage=0.9,
        ax=last,
    )
    last.set_title(f"The year from {dates[end]}, by a network that never saw the last fifth before")
    for ax in (years, last):
        ax.set_ylabel("CO$_2$ (ppm)")

    nr.plotting.predicted_against_true(result.truth.ravel(), rnn.ravel(), ax=against)
    against.set_xlabel("measured (ppm)")
    against.set_ylabel("forecast (ppm)")
    nr.plotting.loss_curves(model, ax=losses)
    fig.savefig(path, dpi=120)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the example; the exit status is 1 if seasonal naive was better."""
    parser = argparse.ArgumentParser(description="Forecast CO2 at Mauna Loa with an RNN.")
    parser.add_argument("--epochs", type=int, help="passes over the training windows (40)")
    parser.add_argument("--seed", type=int, default=0, help="for initialisation and shuffling (0)")
    parser.add_argument("--output", type=Path, default="forecast_co2.png", help="the picture")
    parser.add_argument("--quick", action="store_true", help="15 epochs: less exact, in seconds")
    args = parser.parse_args(argv)
    epochs = args.epochs if args.epochs is not None else 15 if args.quick else 40

    dates, co2 = nr.datasets.load_co2()
    co2, season = fill_gaps(co2), time_of_year(dates)
    model = RNNForecaster(
        window=YEAR,
        horizon=YEAR,
        difference=1,  # changes from week to week: CO2 rises, and has no level to return to
        strategy="direct",
        calibration_fraction=0,  # all that is known is trained on
        hidden_size=32,
        learning_rate_init=3e-3,
        max_iter=epochs,
        n_iter_no_change=np.inf,
        random_state=args.seed,
        verbose=1,
    )
    result = model.backtest(co2, HELD_BACK, season, season=YEAR)

    drift = np.stack([with_drift(co2, origin) for origin in result.origins])
    forecasts = {**result.forecasts, "naive with drift": drift}
    print("RMSE in ppm".ljust(16), *(f"{name:>16}" for name in forecasts))
    for k, origin in enumerate(result.origins):
        errors = (rmse(f[k], result.truth[k]) for f in forecasts.values())
        print(f"from {dates[origin]}".ljust(16), *(f"{e:16.2f}" for e in errors))
    total = {name: rmse(f, result.truth) for name, f in forecasts.items()}
    print("all five years".ljust(16), *(f"{e:16.2f}" for e in total.values()))
    print("MASE".ljust(16), *(f"{scores['MASE']:16.2f}" for scores in result.scores.values()))

    model.set_params(calibration_fraction=0.2).fit(co2[:-YEAR], season[:-YEAR])
    draw(dates, co2, result, model, args.output)
    print(f"picture: {args.output}")
    return int(total["RNNForecaster"] >= total["seasonal naive"])


if __name__ == "__main__":
    raise SystemExit(main())
