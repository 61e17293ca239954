"""Pictures of trainings, forecasts, predictions and gradients, each on one matplotlib Axes.

Every function draws on the Axes it is given, or on a new figure of `matplotlib.pyplot`, and returns
the Axes, so that a title, a limit or another line can be added. They need matplotlib, which is
imported when one of them is called: ``pip install matplotlib``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import validation
from .analysis.pictures import (
    cliff,
    contributions,
    gradcheck,
    gradient_flow,
    saturation,
    spectrum,
    truncation,
)
from .extras import need

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

__all__ = [
    "backtest", "cliff", "contributions", "forecast", "gradcheck", "gradient_flow", "importance",
    "loss_curves", "predicted_against_true", "quantiles", "saturation", "spectrum", "truncation",
]  # fmt: skip

# Okabe and Ito's colours, which people with any colour vision can tell apart
_COLORS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_FORECAST = _COLORS[0]


def loss_curves(model: Any, *, ax: Axes | None = None) -> Axes:
    """Draw the loss of every epoch, and validation loss and score where there are some.

    Parameters
    ----------
    model : fitted estimator
        Its `loss_curve_`, `validation_losses_` and `validation_scores_` are drawn.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        The one with the losses, on a logarithmic scale where they span a decade. Scores have an
        axis of their own on the right, with a dot at the best epoch, whose
        weights early stopping keeps.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    TypeError
        If model is not fitted, or ax no Axes.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from numba_rnn import estimators, plotting
    >>> x = np.random.default_rng(0).standard_normal((50, 6))
    >>> model = estimators.RNNRegressor(4, max_iter=5, n_iter_no_change=np.inf, random_state=0)
    >>> ax = plotting.loss_curves(model.fit(x, x.sum(axis=1)), ax=Figure().subplots())
    >>> ax.get_xlabel(), len(ax.lines[0].get_xdata())
    ('epoch', 5)
    """
    if not hasattr(model, "loss_curve_"):
        raise TypeError(
            f"model must be a fitted estimator, got {validation.describe(model)} without "
            "loss_curve_"
        )
    ax = _axes(ax, "loss_curves")
    loss = np.asarray(model.loss_curve_, float)
    epochs = np.arange(1, len(loss) + 1)
    handles = ax.plot(epochs, loss, color=_COLORS[0], label="training loss")
    validation_loss = np.asarray(getattr(model, "validation_losses_", None) or [], float)
    if validation_loss.size:
        later = epochs[-len(validation_loss) :]
        handles += ax.plot(later, validation_loss, color=_COLORS[2], label="validation loss")
    both = np.concatenate([loss, validation_loss[np.isfinite(validation_loss)]])
    if loss.size and 0 < both.min() < both.max() / 10:
        ax.set_yscale("log")
    ax.set_xlabel("epoch")
    ax.set_ylabel("loss" if validation_loss.size else "training loss")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.grid(alpha=0.3)
    score = getattr(model, "validation_scores_", None)
    if score:
        right, epochs = ax.twinx(), epochs[-len(score) :]
        best = int(np.nanargmax(score))
        label = f"validation score, best in epoch {epochs[best]}"
        handles += right.plot(epochs, score, "--o", markevery=[best], color=_COLORS[1], label=label)
        right.set_ylabel("validation score")
        # Losses go down and scores go up: the middle is free. On the right axis, above all lines.
        right.legend(handles=handles, loc="center right")
    return ax


def forecast(
    forecast: ArrayLike,
    *,
    history: ArrayLike | None = None,
    interval: ArrayLike | None = None,
    truth: ArrayLike | None = None,
    index: ArrayLike | None = None,
    coverage: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw a forecast with what came before it, its interval, and what came true.

    Parameters
    ----------
    forecast : array_like, shape (steps,)
        As `RNNForecaster.predict` returns it.
    history : array_like, shape (n,), optional
        Values up to the forecast; usually not all, but the last few windows.
    interval : array_like, shape (steps, 2), optional
        Lower and upper ends, as `RNNForecaster.predict_interval` returns them.
    truth : array_like, shape (m,), optional
        What was measured afterwards, m <= steps; NaN leaves a gap.
    index : array_like, shape (n + steps,), optional
        Dates or numbers of history and forecast. Without it, the index of pandas objects is used,
        and otherwise steps, of which 1 is the first forecast.
    coverage : float, optional
        That of the interval, for the legend.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    TypeError, ValueError
        If an argument does not have the shape described.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from numba_rnn import plotting
    >>> past, future = np.arange(5.0), np.arange(5.0, 8.0)
    >>> band = np.stack([future - 1, future + 1], axis=1)
    >>> ax = plotting.forecast(future, history=past, interval=band, ax=Figure().subplots())
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['history', 'interval', 'forecast']
    """
    values = _numbers("forecast", forecast, ("steps",))
    known = _Known("forecast", forecast, len(values), history, truth, index)
    band = None
    if interval is not None:
        band = _numbers("interval", interval, ("steps", "2"))
        if band.shape != (len(values), 2):
            raise ValueError(f"interval must have shape ({len(values)}, 2), got {band.shape}")
    ax = _axes(ax, "forecast")
    known.draw(ax)
    x_future = known.x_future
    marker = "o" if len(values) == 1 else None  # a line of one point would not be seen
    if band is not None:
        percent = "" if coverage is None else f"{100 * coverage:g}% "
        if marker:
            errors = np.abs(band - values[:, None]).T.tolist()  # arrays of one: some versions warn
            ax.errorbar(x_future, values, errors, fmt="none", color=_FORECAST, alpha=0.5,
                        capsize=4, label=f"{percent}interval")  # fmt: skip
        else:
            ax.fill_between(x_future, *band.T, color=_FORECAST, alpha=0.25, linewidth=0,
                            label=f"{percent}interval")  # fmt: skip
    ax.plot(x_future, values, color=_FORECAST, marker=marker, label="forecast")
    return _finished(ax, x_future, getattr(forecast, "name", None))


def quantiles(
    quantiles: ArrayLike,
    *,
    levels: ArrayLike | None = None,
    history: ArrayLike | None = None,
    truth: ArrayLike | None = None,
    index: ArrayLike | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw quantiles of a forecast as a fan: bands between pairs of them, and the median.

    Parameters
    ----------
    quantiles : array_like, shape (steps, Q)
        As `RNNForecaster.predict_quantiles` returns them, rising from left to right.
    levels : array_like, shape (Q,), optional
        Which they are, between 0 and 1, rising. Those of a DataFrame are its columns.
    history, truth, index : array_like, optional
        As in `forecast`.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        The first and the last quantile have a band between them, and so on inwards, each darker
        than the one around it. What is left in the middle is a line: "median" where it is that.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    TypeError, ValueError
        If an argument does not have the shape described, or quantiles cross.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from numba_rnn import plotting
    >>> middle = np.arange(5.0, 8.0)
    >>> fan = np.stack([middle - 1, middle, middle + 1], axis=1)
    >>> ax = plotting.quantiles(fan, levels=[0.1, 0.5, 0.9], ax=Figure().subplots())
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['quantiles 0.1 to 0.9', 'median']
    """
    values = _numbers("quantiles", quantiles, ("steps", "Q"))
    names = getattr(quantiles, "columns", None) if levels is None else levels
    if names is None:
        raise ValueError(
            "levels must say which quantiles there are, unless they are columns' names"
        )
    steps, count = values.shape
    places = _numbers("levels", np.asarray(names), ("Q",))
    inside = ((0 < places) & (places < 1)).all() and (np.diff(places) > 0).all()
    if len(places) != count or not inside:
        raise ValueError(
            f"levels must be {count} numbers between 0 and 1 that rise, got {places.tolist()}"
        )
    if (np.diff(values, axis=1) < 0).any():
        raise ValueError("quantiles must not fall from left to right")
    known = _Known("quantiles", quantiles, steps, history, truth, index)
    ax = _axes(ax, "quantiles")
    known.draw(ax)
    x, pairs = known.x_future, count // 2
    for k in range(pairs):
        low, high = values[:, k], values[:, count - 1 - k]
        label = f"quantiles {places[k]:g} to {places[count - 1 - k]:g}"
        shade = {"color": _FORECAST, "alpha": 0.2 + 0.15 * k / max(1, pairs - 1), "label": label}
        if steps == 1:  # a band of one point would not be seen
            ax.errorbar(x, low, [[0], (high - low).tolist()], fmt="none", capsize=4 + 3 * k,
                        **shade | {"alpha": 0.6})  # fmt: skip
        else:
            ax.fill_between(x, low, high, linewidth=0, **shade)
    if count % 2:
        name = "median" if places[pairs] == 0.5 else f"quantile {places[pairs]:g}"
        marker = "o" if steps == 1 else None
        ax.plot(x, values[:, pairs], color=_FORECAST, marker=marker, label=name)
    return _finished(ax, x, getattr(history, "name", None))


def backtest(
    result: Any,
    *,
    history: ArrayLike | None = None,
    index: ArrayLike | None = None,
    names: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw what a backtest forecast, fold by fold, over what was measured.

    Parameters
    ----------
    result : Backtest
        Of one series, as `RNNForecaster.backtest` returns it; of many, ``result.of(k)``.
    history : array_like, shape (n,), optional
        Values up to the first fold; usually not all, but the last few seasons. The whole series
        will do too: what the folds have is not drawn twice. It gives the index of pandas objects,
        which the whole series alone has of the folds.
    index : array_like, shape (folds · horizon,), optional
        Dates or numbers of the folds, where history has none for them. Otherwise they are places in
        the series, of which 0 is the first.
    names : sequence of str, optional
        Which of `result.forecasts` are drawn; all by default.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        A dotted line is where a fold begins. The legend has the MASE of each forecast.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    TypeError, ValueError
        If an argument is not as described.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from numba_rnn import plotting
    >>> from numba_rnn.estimators import Backtest
    >>> truth = np.array([[1.0, 2.0], [3.0, 4.0]])
    >>> result = Backtest(np.array([5, 7]), truth, {"naive": truth - 1}, np.ones(2))
    >>> ax = plotting.backtest(result, ax=Figure().subplots())
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['measured', 'naive, MASE 1.00']
    """
    scores = getattr(result, "scores", None)
    if scores is None or not hasattr(result, "forecasts"):
        raise TypeError(f"result must be a Backtest, got {validation.describe(result)}")
    if np.ndim(result.truth) != 2:
        raise ValueError(
            "result must be of one series, truth of shape (folds, horizon), got "
            f"{np.shape(result.truth)}; draw result.of(k)"
        )
    names = list(result.forecasts) if names is None else list(names)
    if unknown := [name for name in names if name not in result.forecasts]:
        raise ValueError(f"names must be among {', '.join(result.forecasts)}, got {unknown}")
    folds, horizon = result.truth.shape
    count, first = folds * horizon, int(result.origins[0])
    past = np.empty(0) if history is None else _numbers("history", history, ("n",))
    whole = len(past) == first + count
    x_past = _index(history, np.arange(first - len(past), first))
    x = np.arange(first, first + count)
    if whole:
        x_past = _index(history, np.arange(first + count))
        x, x_past, past = x_past[first:], x_past[:first], past[:first]
    elif len(past) > first:
        raise ValueError(
            f"history must have at most {first} values, or all {first + count} of the series, got "
            f"{len(past)}"
        )
    if index is not None:
        x = _positions(index)
        if x.shape != (count,):
            raise ValueError(f"index must have shape ({count},), got {x.shape}")
    if len(past) and x_past.dtype.kind != x.dtype.kind:
        raise TypeError(
            "history must be the whole series, or index be given, where one has an index of dates, "
            f"got {validation.describe(history)}"
        )
    ax = _axes(ax, "backtest")
    if whole:  # as long as the folds, or else these are too small to be seen
        x_past, past = x_past[-count:], past[-count:]
    if len(past):
        ax.plot(x_past, past, color="0.5", label="history")
    ax.plot(x, result.truth.ravel(), color="black", label="measured")
    styles = ("-", "--", ":", "-.")
    for name in names:
        k = list(result.forecasts).index(name)  # so that each looks the same whatever is beside it
        label = f"{name}, MASE {scores[name]['MASE']:.2f}"
        look: dict[str, Any] = {
            "color": _COLORS[k % len(_COLORS)],
            "linestyle": styles[k % len(styles)],
        }
        marker = "o" if horizon == 1 else None
        for at, values in zip(x.reshape(folds, horizon), result.forecasts[name], strict=True):
            ax.plot(at, values, marker=marker, label=label, **look)
            label = "_"  # the legend needs no more than the first
    for at in x[::horizon]:
        ax.axvline(at, color="0.7", linewidth=0.8, linestyle=":", zorder=0)
    return _finished(ax, x, getattr(history, "name", None))


def importance(
    result: Any, *, names: Sequence[str] | None = None, most: int = 20, ax: Axes | None = None
) -> Axes:
    """Draw permutation importances as bars, the largest on top.

    Parameters
    ----------
    result : Bunch
        With `importances`, as `permutation_importance` returns it, here or in scikit-learn.
    names : sequence of str, optional
        Of the features; by default `result.feature_names`, or numbers from 0 on.
    most : int, default 20
        How many of the largest are drawn.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        A bar is the mean over repeats, each of which is a dot on it.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    TypeError, ValueError
        If an argument is not as described.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from sklearn.utils import Bunch
    >>> from numba_rnn import plotting
    >>> result = Bunch(importances=[[0.1, 0.0], [0.5, 0.6]])
    >>> ax = plotting.importance(result, names=["wind", "sun"], ax=Figure().subplots())
    >>> [text.get_text() for text in ax.get_yticklabels()]
    ['wind', 'sun']
    """
    if not hasattr(result, "importances"):
        raise TypeError(
            "result must have importances, as permutation_importance returns it, got "
            + validation.describe(result)
        )
    values = _numbers("importances", result.importances, ("features", "repeats"))
    if not np.isfinite(values).all():
        raise ValueError("importances must be finite, got NaN or infinity")
    most = validation.positive_int("most", most)
    if names is None:
        names = getattr(result, "feature_names", None) or [
            f"feature {k}" for k in range(len(values))
        ]
    names = [str(name) for name in names]
    if len(names) != len(values):
        raise ValueError(f"names must be {len(values)}, one a feature, got {len(names)}")
    means = values.mean(axis=1)
    order = np.argsort(means, kind="stable")[-most:]  # matplotlib's rows go upwards
    ax = _axes(ax, "importance")
    rows = np.arange(len(order))
    ax.barh(rows, means[order], color=_COLORS[5], edgecolor=_COLORS[1])
    places = np.repeat(rows, values.shape[1])
    ax.scatter(
        values[order].ravel(), places, s=14, color="black", zorder=3, alpha=0.7, linewidths=0
    )
    ax.set_yticks(rows, [names[k] for k in order])
    ax.axvline(0, color="black", linewidth=0.8)
    ax.set_xlabel("fall of the score")
    ax.grid(axis="x", alpha=0.3)
    ax.set_axisbelow(True)
    return ax


def predicted_against_true(y_true: ArrayLike, y_pred: ArrayLike, *, ax: Axes | None = None) -> Axes:
    """Draw every prediction over its true value, beside the line on which they would be equal.

    Parameters
    ----------
    y_true : array_like, shape (n,) or (n, k)
        True values; k targets have a colour each.
    y_pred : array_like, shape of y_true
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        The legend has root mean squared error and R² of each target.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    TypeError, ValueError
        If the shapes differ or an entry is no finite number.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from numba_rnn import plotting
    >>> ax = plotting.predicted_against_true([1, 2, 3], [1, 2, 4], ax=Figure().subplots())
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['equal', 'RMSE 0.577, R² 0.50']
    """
    axes = ("n",) if np.ndim(y_true) == 1 else ("n", "k")
    true, predicted = _numbers("y_true", y_true, axes), _numbers("y_pred", y_pred, axes)
    if true.shape != predicted.shape:
        raise ValueError(
            f"y_pred must have the shape of y_true, {true.shape}, got {predicted.shape}"
        )
    both = np.concatenate([true.ravel(), predicted.ravel()])
    if not np.isfinite(both).all():
        raise ValueError("y_true and y_pred must be finite, got NaN or infinity")
    ax = _axes(ax, "predicted_against_true")
    true, predicted = true.reshape(len(true), -1), predicted.reshape(len(true), -1)
    ends = [both.min(), both.max()]
    ax.plot(ends, ends, color="0.5", linewidth=1, label="equal")
    alpha = float(np.clip(30 / np.sqrt(true.size), 0.15, 0.8))  # many points: see where they crowd
    for k, (t, p) in enumerate(zip(true.T, predicted.T, strict=True)):
        squares, spread = np.mean((p - t) ** 2), np.var(t)
        r2 = f"{1 - squares / spread:.2f}" if spread > 0 else "undefined"
        name = f"target {k}: " if true.shape[1] > 1 else ""
        label = f"{name}RMSE {np.sqrt(squares):.3g}, R² {r2}"
        ax.scatter(t, p, s=16, alpha=alpha, linewidths=0, color=_COLORS[k % len(_COLORS)],
                   label=label)  # fmt: skip
    ax.set_xlabel("true")
    ax.set_ylabel("predicted")
    ax.set_aspect("equal", adjustable="datalim")
    ax.grid(alpha=0.3)
    legend = ax.legend(loc="upper left")  # the points lie along the diagonal
    for handle in legend.legend_handles[1:]:
        handle.set_alpha(1)
    return ax


# --- what they share ----------------------------------------------------------------------------


class _Known:
    """What is known beside a forecast of so many steps, and where all of it lies."""

    def __init__(
        self, name: str, forecast: Any, steps: int, history: Any, truth: Any, index: Any
    ) -> None:
        self.past = np.empty(0) if history is None else _numbers("history", history, ("n",))
        n = len(self.past)
        if index is not None:
            x = _positions(index)
            if x.shape != (n + steps,):
                raise ValueError(f"index must have shape ({n + steps},), got {x.shape}")
            self.x_past, self.x_future = x[:n], x[n:]
        else:
            self.x_past = _index(history, np.arange(1 - n, 1))
            self.x_future = _index(forecast, np.arange(1, steps + 1))
            if history is not None and self.x_past.dtype.kind != self.x_future.dtype.kind:
                raise TypeError(
                    f"history and {name} must both have an index of dates, or neither, got "
                    f"{validation.describe(history)} and {validation.describe(forecast)}"
                )
        self.truth = np.empty(0) if truth is None else _numbers("truth", truth, ("m",))
        if len(self.truth) > steps:
            raise ValueError(
                f"truth must have at most {steps} values, as {name} has, got {len(self.truth)}"
            )

    def draw(self, ax: Axes) -> None:
        """Draw history and truth."""
        if len(self.past):
            ax.plot(self.x_past, self.past, color="0.5", label="history")
        if len(self.truth):
            ax.plot(self.x_future[: len(self.truth)], self.truth, color="black", label="measured")


def _finished(ax: Axes, x: np.ndarray, name: Any) -> Axes:
    """Give a picture over time its axes and legend."""
    if x.dtype.kind == "M":
        _date_axis(ax)
    else:
        ax.set_xlabel("step")
    if isinstance(name, str):
        ax.set_ylabel(name)
    ax.grid(alpha=0.3)
    ax.legend(frameon=False)
    return ax


def _axes(ax: Axes | None, what: str) -> Axes:
    """Return the Axes to draw on: the one given, or that of a new figure."""
    need("matplotlib", "examples", f"numba_rnn.plotting.{what}")
    if ax is None:
        pyplot = need("matplotlib.pyplot", "examples", f"numba_rnn.plotting.{what}")
        return pyplot.subplots(layout="constrained")[1]
    from matplotlib.axes import Axes

    if not isinstance(ax, Axes):
        raise TypeError(f"ax must be a matplotlib Axes, got {validation.describe(ax)}")
    return ax


def _numbers(name: str, value: ArrayLike, axes: tuple[str, ...]) -> np.ndarray:
    """Return real numbers with so many axes as floats."""
    array = np.asarray(validation.unmasked(name, value))
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} must be real numbers, got {validation.describe(value)}")
    if array.ndim != len(axes) or array.size == 0:
        shape = f"({', '.join(axes)}{',' * (len(axes) == 1)})"
        raise ValueError(f"{name} must have shape {shape}, with no size 0, got {array.shape}")
    return array.astype(float)


def _index(value: Any, steps: np.ndarray) -> np.ndarray:
    """Return the index of a pandas object as positions on an axis; of anything else, the steps."""
    index = getattr(value, "index", None)  # a list has a method of that name
    return steps if index is None or callable(index) else _positions(index)


def _positions(index: Any) -> np.ndarray:
    """Return dates as datetime64, those of a time zone as its clock shows them."""
    if hasattr(index, "to_timestamp"):  # of pandas: PeriodIndex
        index = index.to_timestamp()
    if getattr(index, "tz", None) is not None:
        index = index.tz_localize(None)
    return np.asarray(index)


def _date_axis(ax: Axes) -> None:
    """Dates as long as necessary, as short as possible."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator()
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))
