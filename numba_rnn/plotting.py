"""Pictures of a training, a forecast, predictions and gradients, each on one matplotlib Axes.

Every function draws on the Axes it is given, or on a new figure of `matplotlib.pyplot`, and returns
the Axes, so that a title, a limit or another line can be added. They need matplotlib, which is
imported when one of them is called: ``pip install matplotlib``.
"""

from __future__ import annotations

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
    "cliff",
    "contributions",
    "forecast",
    "gradcheck",
    "gradient_flow",
    "loss_curves",
    "predicted_against_true",
    "saturation",
    "spectrum",
    "truncation",
]

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
    past = np.empty(0) if history is None else _numbers("history", history, ("n",))
    total = len(past) + len(values)
    if index is not None:
        x = _positions(index)
        if x.shape != (total,):
            raise ValueError(f"index must have shape ({total},), got {x.shape}")
        x_past, x_future = x[: len(past)], x[len(past) :]
    else:
        x_past = _index(history, np.arange(1 - len(past), 1))
        x_future = _index(forecast, np.arange(1, len(values) + 1))
        if history is not None and x_past.dtype.kind != x_future.dtype.kind:
            raise TypeError(
                "history and forecast must both have an index of dates, or neither, got "
                f"{validation.describe(history)} and {validation.describe(forecast)}"
            )
    band = None
    if interval is not None:
        band = _numbers("interval", interval, ("steps", "2"))
        if band.shape != (len(values), 2):
            raise ValueError(f"interval must have shape ({len(values)}, 2), got {band.shape}")
    if truth is not None:
        real = _numbers("truth", truth, ("m",))
        if len(real) > len(values):
            raise ValueError(
                f"truth must have at most {len(values)} values, as forecast has, got {len(real)}"
            )
    ax = _axes(ax, "forecast")
    if len(past):
        ax.plot(x_past, past, color="0.5", label="history")
    if truth is not None:
        ax.plot(x_future[: len(real)], real, color="black", label="measured")
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
    if x_future.dtype.kind == "M":
        _date_axis(ax)
    else:
        ax.set_xlabel("step")
    name = getattr(forecast, "name", None)
    if isinstance(name, str):
        ax.set_ylabel(name)
    ax.grid(alpha=0.3)
    ax.legend(frameon=False)
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
