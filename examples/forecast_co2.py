"""Forecast weekly CO2 at Mauna Loa one year ahead with RNNForecaster and its defaults.

    python examples/forecast_co2.py

The last five years are held back, year by year: for each of them a forecaster is fitted to all that
was measured before, and forecasts it. Three baselines stand beside it: naive (the last value),
seasonal naive (the value one year ago), and seasonal naive with drift, which adds the mean yearly
rise of the last ten years. Errors are printed in ppm and a picture is written.

The forecaster is told the steps of a year, twice: how far to forecast, and that it is a season. For
the last year it is fitted once more, to say how far its forecasts are off: the interval.
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
    nr.plotting.forecast(
        model.predict(),
        history=co2[begin:end],
        interval=model.predict_interval(coverage=0.9),
        truth=co2[end:],
        index=dates[begin:],
        coverage=0.9,
        ax=last,
    )
    last.set_title(f"The year from {dates[end]}, and where nine of ten values should lie")
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
    parser.add_argument("--epochs", type=int, help="passes over the training windows at most (200)")
    parser.add_argument("--seed", type=int, default=0, help="for initialisation and shuffling (0)")
    parser.add_argument("--output", type=Path, default="forecast_co2.png", help="the picture")
    parser.add_argument("--quick", action="store_true", help="15 epochs at most")
    args = parser.parse_args(argv)

    dates, co2 = nr.datasets.load_co2()
    co2 = fill_gaps(co2)
    model = RNNForecaster(YEAR, season=YEAR, random_state=args.seed, verbose=1)
    epochs = args.epochs if args.epochs is not None else 15 if args.quick else None
    if epochs is not None:
        model.set_params(regressor__max_iter=epochs, regressor__n_iter_no_change=np.inf)
    result = model.backtest(co2, HELD_BACK)

    drift = np.stack([with_drift(co2, origin) for origin in result.origins])
    forecasts = {**result.forecasts, "naive with drift": drift}
    print("RMSE in ppm".ljust(16), *(f"{name:>16}" for name in forecasts))
    for k, origin in enumerate(result.origins):
        errors = (rmse(f[k], result.truth[k]) for f in forecasts.values())
        print(f"from {dates[origin]}".ljust(16), *(f"{e:16.2f}" for e in errors))
    total = {name: rmse(f, result.truth) for name, f in forecasts.items()}
    print("all five years".ljust(16), *(f"{e:16.2f}" for e in total.values()))
    print("MASE".ljust(16), *(f"{scores['MASE']:16.2f}" for scores in result.scores.values()))

    model.fit(co2[:-YEAR])
    draw(dates, co2, result, model, args.output)
    print(f"picture: {args.output}")
    return int(total["RNNForecaster"] >= total["seasonal naive"])


if __name__ == "__main__":
    raise SystemExit(main())
