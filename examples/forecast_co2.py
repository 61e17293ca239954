"""Forecast weekly CO2 at Mauna Loa one year ahead with an Elman RNN and a linear readout.

    python examples/forecast_co2.py

The last five years are held back. The network is fitted once, on the years before them, and then
forecasts each held-back year from what was known when that year began. Two baselines stand beside
it: seasonal naive (the value one year ago), and seasonal naive with drift, which adds the mean
yearly rise of the last ten years. Errors are printed in ppm and a picture is written.

The network reads one year and writes the next one in one go. Both are measured from a straight
line, the mean of the year it reads carried on with the mean rise of the training years, so the
trend is taken care of; the season, and how fast CO2 rises at the moment, are left for it to learn.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

import numba_rnn as nr

DATA = Path(__file__).parent / "data" / "co2_weekly.csv"
YEAR = 52  # weeks
HELD_BACK = 5  # years
COLORS = {"RNN": "#d55e00", "seasonal naive": "#0072b2", "naive with drift": "#009e73"}


class Model(NamedTuple):
    """A recurrent layer, its readout, and what was measured on the training years for scaling."""

    rnn: nr.RNN
    readout: nr.Linear
    rise: float  # mean rise per week, ppm
    scale: float  # typical distance from the trend line, ppm


def load() -> tuple[np.ndarray, np.ndarray]:
    """Return dates and CO2 in ppm, NaN where a week is missing; both have shape (weeks,)."""
    dates, co2 = np.loadtxt(DATA, delimiter=",", skiprows=1, dtype=str, unpack=True)
    return dates.astype("datetime64[D]"), np.where(co2 == "", "nan", co2).astype(float)


def fill_gaps(co2: np.ndarray) -> np.ndarray:
    """Interpolate missing weeks linearly; the longest gap, 18 weeks, lies on a rising flank."""
    week, known = np.arange(len(co2)), ~np.isnan(co2)
    return np.interp(week, week[known], co2[known])


def trend_line(past: np.ndarray, rise: float) -> np.ndarray:
    """Lay a line through the past year and the next: (YEAR, N) -> (2 * YEAR, N), ppm."""
    weeks_from_middle = np.arange(2 * YEAR) - (YEAR - 1) / 2
    return past.mean(axis=0) + rise * weeks_from_middle[:, None]


def inputs(past: np.ndarray, dates: np.ndarray, rise: float, scale: float) -> np.ndarray:
    """Join distance from the trend and time of the year to the layer's x, shape (YEAR, N, 3)."""
    angle = 2 * np.pi * dates.astype("datetime64[D]").astype(float) / 365.2425
    distance = (past - trend_line(past, rise)[:YEAR]) / scale
    return np.stack([distance, np.sin(angle), np.cos(angle)], axis=-1).astype(np.float32)


def train(co2: np.ndarray, dates: np.ndarray, epochs: int, seed: int) -> Model:
    """Fit on every window of two years, one to read and one to forecast, with Adam."""
    windows = np.lib.stride_tricks.sliding_window_view(co2, 2 * YEAR).T  # (2 * YEAR, N)
    past_dates = np.lib.stride_tricks.sliding_window_view(dates, 2 * YEAR).T[:YEAR]
    past, future = windows[:YEAR], windows[YEAR:]
    rise = float(np.mean(co2[YEAR:] - co2[:-YEAR])) / YEAR
    scale = float(np.std(past - trend_line(past, rise)[:YEAR]))
    x = inputs(past, past_dates, rise, scale)
    target = ((future - trend_line(past, rise)[YEAR:]) / scale).T.astype(np.float32)  # (N, YEAR)

    rng = np.random.default_rng(seed)
    rnn = nr.RNN(input_size=3, hidden_size=32, rng=rng)
    readout = nr.Linear(32, YEAR, rng=rng)
    peak = 1e-2
    adam = nr.optim.Adam([rnn.flat_parameters, readout.flat_parameters], lr=peak)
    progress = tqdm(range(epochs), desc="training", unit="epoch")
    for epoch in progress:
        adam.lr = peak * (1 - epoch / epochs)  # large steps first, then settle
        order = rng.permutation(len(target))
        losses = []
        for batch in np.split(order, range(64, len(order), 64)):
            hidden = rnn.forward(x[:, batch])
            forecast = readout.forward(hidden.h_n[-1])
            loss, d_forecast = nr.losses.mse(forecast.output, target[batch])
            d_readout = forecast.backward(d_forecast)
            d_rnn = hidden.backward(grad_h_n=d_readout.input[None])
            grads = [d_rnn.flat, d_readout.flat]
            nr.optim.clip_grad_norm(grads, 1.0)  # gradients through 52 steps can explode
            adam.step(grads)
            losses.append(loss)
        progress.set_postfix(rmse=f"{scale * np.mean(losses) ** 0.5:.2f} ppm")
    return Model(rnn, readout, rise, scale)


def forecast_year(model: Model, history: np.ndarray, dates: np.ndarray) -> np.ndarray:
    """Forecast the YEAR weeks that follow the history, in ppm, shape (YEAR,)."""
    past, past_dates = history[-YEAR:, None], dates[-YEAR:, None]
    _, h_n = model.rnn(inputs(past, past_dates, model.rise, model.scale))
    distance = model.readout(h_n[-1])[0] * model.scale
    return distance + trend_line(past, model.rise)[YEAR:, 0]


def rmse(forecast: np.ndarray, truth: np.ndarray) -> float:
    """Return the root mean squared error over the weeks that were measured."""
    return float(np.sqrt(np.nanmean((forecast - truth) ** 2)))


def draw(dates: np.ndarray, co2: np.ndarray, forecasts: dict[str, np.ndarray], path: Path) -> None:
    """Draw the record above and the last held-back year, with every forecast of it, below."""
    fig = Figure(figsize=(12, 8), layout="constrained")
    whole, year = fig.subplots(2)

    # + 1: the grey line ends where the black one begins
    before, held_back = slice(-HELD_BACK * YEAR + 1), slice(-HELD_BACK * YEAR, None)
    whole.plot(dates[before], co2[before], color="0.6", label="measured, for training")
    whole.plot(dates[held_back], co2[held_back], color="black", label="measured, held back")
    rnn = forecasts["RNN"].ravel()
    whole.plot(dates[held_back], rnn, "--", color=COLORS["RNN"], label="RNN, year by year")
    whole.set_title("Weekly CO$_2$ at Mauna Loa: the record and the held-back years")

    before, last = slice(-2 * YEAR, -YEAR + 1), slice(-YEAR, None)
    year.plot(dates[before], co2[before], color="0.6", label="measured, the year before")
    year.plot(dates[last], co2[last], color="black", label="measured, held back")
    for name, color in COLORS.items():
        label = f"{name}, RMSE {rmse(forecasts[name][-1], co2[last]):.2f} ppm"
        line = "-" if name == "RNN" else "--"
        year.plot(dates[last], forecasts[name][-1], line, color=color, label=label)
    year.set_title(f"Forecast of the year from {dates[last][0]}")

    for ax in (whole, year):
        ax.set_ylabel("CO$_2$ (ppm)")
        ax.grid(alpha=0.3)
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    fig.savefig(path, dpi=120)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the example; the exit status is 1 if seasonal naive was better."""
    parser = argparse.ArgumentParser(description="Forecast CO2 at Mauna Loa with an RNN.")
    parser.add_argument("--epochs", type=int, help="passes over the training windows (60)")
    parser.add_argument("--seed", type=int, default=0, help="for initialisation and shuffling (0)")
    parser.add_argument("--output", type=Path, default="forecast_co2.png", help="the picture")
    parser.add_argument("--quick", action="store_true", help="15 epochs: less exact, in seconds")
    args = parser.parse_args(argv)
    epochs = args.epochs if args.epochs is not None else 15 if args.quick else 60

    dates, co2 = load()
    origins = [len(co2) - k * YEAR for k in range(HELD_BACK, 0, -1)]
    model = train(fill_gaps(co2[: origins[0]]), dates[: origins[0]], epochs, args.seed)

    truth = np.stack([co2[o : o + YEAR] for o in origins])  # (HELD_BACK, YEAR)
    known = [fill_gaps(co2[:o]) for o in origins]  # nothing from after an origin gets in
    naive = np.stack([h[-YEAR:] for h in known])
    rise = np.array([np.mean(h[-10 * YEAR :] - h[-11 * YEAR : -YEAR]) for h in known])
    forecasts = {
        "RNN": np.stack([forecast_year(model, h, dates[: len(h)]) for h in known]),
        "seasonal naive": naive,
        "naive with drift": naive + rise[:, None],
    }

    print("RMSE in ppm".ljust(16), *(f"{name:>16}" for name in forecasts))
    for k, origin in enumerate(origins):
        errors = (rmse(f[k], truth[k]) for f in forecasts.values())
        print(f"from {dates[origin]}".ljust(16), *(f"{e:16.2f}" for e in errors))
    total = {name: rmse(f, truth) for name, f in forecasts.items()}
    print("all five years".ljust(16), *(f"{e:16.2f}" for e in total.values()))
    draw(dates, co2, forecasts, args.output)
    print(f"picture: {args.output}")
    return int(total["RNN"] >= total["seasonal naive"])


if __name__ == "__main__":
    raise SystemExit(main())
