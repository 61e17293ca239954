"""Drawings of what this package computes, each on one matplotlib Axes; arrays in, Axes out.

`numba_rnn.plotting` has them too. Colours are Okabe and Ito's, or those of viridis, and lines
differ in dashes and markers as well, so that they can be told apart in print and by everybody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import validation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

__all__ = [
    "cliff",
    "contributions",
    "gradcheck",
    "gradient_flow",
    "saturation",
    "spectrum",
    "truncation",
]

_DASHES = ("-", "--", ":", "-.")
_MARKERS = "os^Dvx"


def gradient_flow(
    total: ArrayLike,
    local: ArrayLike | None = None,
    carried: ArrayLike | None = None,
    *,
    ax: Axes | None = None,
) -> Axes:
    """Draw the norm of the gradient of the state at every step, and of its two parts.

    Parameters
    ----------
    total : array_like, shape (L,) or (L, N)
        Norms of one layer and direction, as ``analysis.gradient_flow(...).norms()[k]``. Of several
        samples the mean is drawn, and a band from the least to the largest.
    local, carried : array_like, shape of total, optional
        As ``norms("local")[k]`` and ``norms("carried")[k]``. Steps at which a part is zero are left
        out: the axis is logarithmic.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    TypeError, ValueError
        If an array isn't as described.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from numba_rnn import plotting
    >>> ax = plotting.gradient_flow(0.5 ** np.arange(9, -1, -1), ax=Figure().subplots())
    >>> ax.get_yscale(), len(ax.lines)
    ('log', 1)
    """
    parts = {"total": _steps("total", total)}
    for name, part in (("local", local), ("carried", carried)):
        if part is not None:
            parts[name] = _steps(name, part)
            if parts[name].shape != parts["total"].shape:
                raise ValueError(
                    f"{name} must have the shape of total, {np.shape(total)}, got {np.shape(part)}"
                )
    ax, colors = _axes(ax, "gradient_flow")
    styles = {"total": (0, "-", "o"), "local": (1, "--", "s"), "carried": (2, ":", "^")}
    for name, norms in parts.items():
        color, dashes, marker = styles[name]
        t = np.arange(len(norms))
        if norms.shape[1] > 1:
            low, high = _positive(norms.min(axis=1)), _positive(norms.max(axis=1))
            ax.fill_between(t, low, high, color=colors[color], alpha=0.15, linewidth=0)
        ax.plot(
            t, _positive(norms.mean(axis=1)), dashes, marker=marker, color=colors[color],
            label=name, markersize=8 if name == "local" else 4,
            fillstyle="none" if name == "local" else "full",
        )  # fmt: skip
    ax.set_yscale("log")
    ax.set_xlabel("step t")
    ax.set_ylabel("norm of the gradient of $h_t$")
    _whole_numbers(ax.xaxis)
    ax.grid(alpha=0.3)
    if len(parts) > 1:
        ax.legend(frameon=False)
    return ax


def contributions(values: ArrayLike, *, ax: Axes | None = None) -> Axes:
    """Draw how much gradient the output of each step sends to the state of each step.

    Parameters
    ----------
    values : array_like, shape (L, L) or (L, L, N)
        [s, t], as ``analysis.contributions(...)[k]``; the mean over samples is drawn.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        With a colour bar, logarithmic. What is zero is left white.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    TypeError, ValueError
        If values isn't as described.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from numba_rnn import plotting
    >>> lag = np.subtract.outer(np.arange(8), np.arange(8))
    >>> ax = plotting.contributions(np.where(lag >= 0, 0.5**lag, 0), ax=Figure().subplots())
    >>> ax.get_xlabel()
    'state of step t'
    """
    array = _real("values", values)
    if array.ndim == 3 and array.size:
        array = array.mean(axis=2)
    if array.ndim != 2 or array.shape[0] != array.shape[1] or array.size == 0:
        raise ValueError(f"values must have shape (L, L) or (L, L, N), got {np.shape(values)}")
    ax, _ = _axes(ax, "contributions")
    from matplotlib.colors import LogNorm

    seen = array[array > 0]
    limits = (seen.min(), seen.max()) if seen.size else (0.5, 1.0)
    if limits[0] == limits[1]:
        limits = (limits[0] / 2, limits[1])
    image = ax.imshow(
        np.ma.masked_where(array <= 0, array), norm=LogNorm(*limits), cmap="viridis",
        origin="upper", interpolation="nearest",
    )  # fmt: skip
    ax.figure.colorbar(image, ax=ax, label="norm of the gradient")
    ax.set_xlabel("state of step t")
    ax.set_ylabel("output of step s")
    _whole_numbers(ax.xaxis)
    _whole_numbers(ax.yaxis)
    return ax


def spectrum(lags: ArrayLike, values: ArrayLike, *, ax: Axes | None = None) -> Axes:
    """Draw singular values of products of Jacobians over the number of steps.

    Parameters
    ----------
    lags : array_like, shape (K,)
        Ascending.
    values : array_like, shape (K, H)
        Of one sample, largest first, as ``analysis.jacobian_spectrum(...).values[:, n]``. Of more
        than eight the largest, the median and the smallest are drawn, and the others in grey.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        Logarithmic, with a line at 1.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    TypeError, ValueError
        If an array isn't as described.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from numba_rnn import plotting
    >>> lags = np.arange(1, 20)
    >>> values = np.stack([1.05**lags, 0.8**lags], axis=1)
    >>> ax = plotting.spectrum(lags, values, ax=Figure().subplots())
    >>> [line.get_label() for line in ax.lines[1:]]
    ['largest', 'smallest']
    """
    k, array = _real("lags", lags), _real("values", values)
    if k.ndim != 1 or array.ndim != 2 or len(k) != len(array) or array.size == 0:
        raise ValueError(
            f"values must have shape (K, H) with K lags, got {array.shape} for {k.shape} lags"
        )
    ax, colors = _axes(ax, "spectrum")
    H = array.shape[1]
    ax.axhline(1, color="0.5", linewidth=1)
    named = {0: "largest", H // 2: "median", H - 1: "smallest"} if H > 2 else {}
    named = named or ({0: "largest", 1: "smallest"} if H == 2 else {0: "the only one"})
    for column in range(H):
        if column not in named:
            ax.plot(k, _positive(array[:, column]), color="0.75", linewidth=0.8, zorder=1)
    for place, (column, name) in enumerate(named.items()):
        ax.plot(
            k, _positive(array[:, column]), _DASHES[place], color=colors[place], label=name,
            marker=_MARKERS[place], markersize=4, markevery=max(1, len(k) // 12),
        )  # fmt: skip
    ax.set_yscale("log")
    ax.set_xlabel("steps k")
    ax.set_ylabel(r"singular values of $\partial h_t / \partial h_{t-k}$")
    _whole_numbers(ax.xaxis)
    ax.grid(alpha=0.3)
    ax.legend(frameon=False)
    return ax


def truncation(
    windows: Sequence[Any], error: ArrayLike, cosine: ArrayLike | None = None, *,
    ax: Axes | None = None,
) -> Axes:  # fmt: skip
    """Draw what truncation changes about a gradient, over the steps that it flows back.

    Parameters
    ----------
    windows : sequence of int or (int, int), length K
        k, or k1 and k2, of which k2 is drawn.
    error : array_like, shape (K,)
        Relative, as ``analysis.truncation_bias(...).error``. An exact 0 is drawn at the bottom.
    cosine : array_like, shape (K,), optional
        Drawn on an axis of its own on the right; below 0 a step goes uphill.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        The one with the error, logarithmic.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    TypeError, ValueError
        If an array isn't as described.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from numba_rnn import plotting
    >>> ax = plotting.truncation([1, 2, 4], [0.9, 0.5, 0.1], ax=Figure().subplots())
    >>> ax.get_xlabel()
    'steps that the gradient flows back'
    """
    k = np.array([np.ravel(window)[-1] for window in windows], float)
    values = _real("error", error)
    if values.shape != k.shape or k.size == 0:
        raise ValueError(f"error must have one value for each window, got {np.shape(error)}")
    angles = None if cosine is None else _real("cosine", cosine)
    if angles is not None and angles.shape != k.shape:
        raise ValueError(f"cosine must have one value for each window, got {np.shape(cosine)}")
    order = np.argsort(k, kind="stable")
    ax, colors = _axes(ax, "truncation")
    above = values[values > 0]
    floor = above.min() / 10 if above.size else 1e-16
    handles = ax.plot(
        k[order], np.maximum(values, floor)[order], "-o", color=colors[0], markersize=4,
        label="relative error",
    )  # fmt: skip
    ax.set_yscale("log")
    ax.set_xlabel("steps that the gradient flows back")
    ax.set_ylabel("relative error of the gradient")
    _whole_numbers(ax.xaxis)
    ax.grid(alpha=0.3)
    if (values == 0).any():
        exact = values[order] == 0
        handles += ax.plot(
            k[order][exact], np.full(exact.sum(), floor), "o", markerfacecolor="white",
            markersize=8, color=colors[0], label="exact",
        )  # fmt: skip
    if angles is not None:
        right = ax.twinx()
        right.axhline(0, color="0.6", linewidth=0.8)
        handles += right.plot(
            k[order], angles[order], "--s", color=colors[1], markersize=4, label="cosine"
        )
        right.set_ylim(min(-0.1, 1.1 * float(np.nanmin(angles, initial=0))), 1.05)
        right.set_ylabel("cosine with the whole gradient")
    if len(handles) > 1:  # above the picture: both lines go through all of it
        place = {"loc": "lower left", "bbox_to_anchor": (0, 1.0), "ncols": len(handles)}
        ax.legend(handles=handles, frameon=False, **place)
    return ax


def saturation(
    states: Sequence[ArrayLike], *, labels: Sequence[str] | None = None, ax: Axes | None = None
) -> Axes:
    """Draw how large the states of each layer are: near 1 and -1 tanh has no slope.

    Parameters
    ----------
    states : sequence of array_like
        The states of each layer, of any shape, as ``tape.layer_outputs``. Of several lengths, real
        steps alone: padding is 0.
    labels : sequence of str, optional
        'layer 0', 'layer 1' and so on where left out.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        Shares of the states in forty ranges of abs(h), a line for each layer.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    TypeError, ValueError
        If an array isn't as described, or there are as many labels as layers.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from numba_rnn import plotting
    >>> h = np.tanh(np.random.default_rng(0).normal(size=(2, 100, 8)))
    >>> ax = plotting.saturation(h, ax=Figure().subplots())
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['layer 0', 'layer 1']
    """
    layers = [np.abs(_real(f"states[{k}]", h)).ravel() for k, h in enumerate(states)]
    if not layers or any(h.size == 0 or not np.isfinite(h).all() for h in layers):
        raise ValueError("states must be finite numbers of at least one layer, with no size 0")
    names = [f"layer {k}" for k in range(len(layers))] if labels is None else list(labels)
    if len(names) != len(layers):
        raise ValueError(f"labels must have {len(layers)} names, as states has, got {len(names)}")
    ax, colors = _axes(ax, "saturation")
    top = max(1.0, max(float(h.max()) for h in layers))
    edges = np.linspace(0, top, 41)
    for k, (h, name) in enumerate(zip(layers, names, strict=True)):
        share = np.histogram(h, edges)[0] / h.size
        ax.stairs(
            share, edges, color=colors[k % len(colors)], linestyle=_DASHES[k % len(_DASHES)],
            linewidth=1.6, label=name,
        )  # fmt: skip
    ax.set_xlim(0, top)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("|h|")
    ax.set_ylabel("share of the states")
    ax.grid(alpha=0.3)
    ax.legend(frameon=False)
    return ax


def gradcheck(
    eps: ArrayLike,
    error: Mapping[str, ArrayLike],
    kinks: Mapping[str, ArrayLike] | None = None,
    *,
    ax: Axes | None = None,
) -> Axes:
    """Draw the error of finite differences over eps: rounding on the left, curvature on the right.

    Parameters
    ----------
    eps : array_like, shape (E,)
        As ``analysis.gradcheck(...).eps``.
    error : mapping of str to array_like, shape (E,)
        As ``analysis.gradcheck(...).error``: a line for each quantity. An exact 0 isn't drawn.
    kinks : mapping of str to array_like, shape (E,), optional
        As ``analysis.gradcheck(...).kinks``: eps at which kinks spoil some elements are shaded, the
        darker the more.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        Logarithmic both ways.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    TypeError, ValueError
        If an array isn't as described.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from numba_rnn import plotting
    >>> ax = plotting.gradcheck([1e-2, 1e-5, 1e-8], {"input": [1e-4, 1e-10, 1e-8]},
    ...                         ax=Figure().subplots())
    >>> ax.get_xscale(), ax.get_yscale()
    ('log', 'log')
    """
    along = _real("eps", eps)
    if along.ndim != 1 or along.size == 0 or not np.all(along > 0):
        raise ValueError(f"eps must be positive numbers with one axis, got {eps}")
    lines = {name: _real(name, values) for name, values in error.items()}
    shade = {name: _real(name, values) for name, values in (kinks or {}).items()}
    for name, values in (*lines.items(), *shade.items()):
        if values.shape != along.shape:
            raise ValueError(f"{name} must have a value for each eps, got shape {values.shape}")
    if not lines:
        raise ValueError("error must have at least one quantity, got none")
    ax, colors = _axes(ax, "gradcheck")
    order = np.argsort(along)
    for k, (name, values) in enumerate(lines.items()):
        ax.plot(
            along[order], _positive(values[order]), _DASHES[k // len(colors) % len(_DASHES)],
            color=colors[k % len(colors)], marker=_MARKERS[k % len(_MARKERS)], markersize=4,
            label=name,
        )  # fmt: skip
    ax.set_xscale("log")
    ax.set_yscale("log")
    if shade:
        worst = np.max(list(shade.values()), axis=0)
        for at, share in zip(along, worst, strict=True):
            if share > 0:
                alpha = 0.08 + 0.3 * float(share)
                ax.axvspan(at / 1.8, at * 1.8, color="0.3", alpha=alpha, linewidth=0, zorder=0)
    ax.set_xlabel("eps")
    ax.set_ylabel("relative error of the gradient")
    ax.grid(alpha=0.3)
    ax.legend(frameon=False, fontsize="small", ncols=1 + len(lines) // 7)
    return ax


def cliff(
    along: ArrayLike,
    loss: ArrayLike,
    across: ArrayLike | None = None,
    *,
    folds: ArrayLike = (),
    ax: Axes | None = None,
) -> Axes:
    """Draw a loss along one parameter, or over two, with its cliff.

    Parameters
    ----------
    along : array_like, shape (A,)
        Values of a parameter or steps along a direction, ascending.
    loss : array_like, shape (A,), or (A, B) with across
        As ``analysis.loss_surface(...).losses``.
    across : array_like, shape (B,), optional
        Values of another parameter, ascending: the loss becomes a map.
    folds : array_like, default ()
        Values of the first at which to draw a line, as ``analysis.bifurcation(...).folds``.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        A line breaks where the loss jumps by more than a third of its range between two values.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    TypeError, ValueError
        If an array isn't as described.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from numba_rnn import plotting
    >>> b = np.linspace(-3, -2, 50)
    >>> ax = plotting.cliff(b, np.where(b < -2.6, 0.4, 0.1), folds=[-2.65], ax=Figure().subplots())
    >>> ax.get_ylabel()
    'loss'
    """
    a, losses, lines = _real("along", along), _real("loss", loss), _real("folds", folds)
    b = None if across is None else _real("across", across)
    shape = (len(a),) if b is None else (len(a), b.size)
    if a.ndim != 1 or a.size < 2 or losses.shape != shape or (b is not None and b.ndim != 1):
        raise ValueError(
            f"loss must have shape (A,), or (A, B) with across, A = {a.size} >= 2, got "
            f"{losses.shape}"
        )
    ax, colors = _axes(ax, "cliff")
    if b is None:
        jumps = np.abs(np.diff(losses)) > np.ptp(losses) / 3
        at = 1 + np.flatnonzero(jumps)
        ax.plot(np.insert(a, at, np.nan), np.insert(losses, at, np.nan), "-", color=colors[0])
        for j in at:
            ax.plot(a[j - 1 : j + 1], losses[j - 1 : j + 1], ":", color=colors[0], linewidth=1)
        ax.set_ylabel("loss")
    else:
        image = ax.pcolormesh(a, b, losses.T, cmap="viridis", shading="nearest")
        ax.figure.colorbar(image, ax=ax, label="loss")
        ax.set_ylabel("second parameter")
    for k, fold in enumerate(np.ravel(lines)):
        ax.axvline(fold, color=colors[1] if b is None else "white", linestyle="--", linewidth=1,
                   label="fold" if k == 0 else None)  # fmt: skip
    ax.set_xlabel("parameter")
    if lines.size and b is None:
        ax.legend(frameon=False)
    elif lines.size:  # white on the map
        ax.legend(facecolor="0.3", labelcolor="white", framealpha=1)
    if b is None:
        ax.grid(alpha=0.3)
    return ax


# --- what they share ----------------------------------------------------------------------------


def _axes(ax: Any, what: str) -> tuple[Axes, tuple[str, ...]]:
    """Return the Axes to draw on, and colours."""
    from .. import plotting  # which imports this module

    return plotting._axes(ax, what), plotting._COLORS


def _real(name: str, value: Any) -> np.ndarray:
    array = np.asarray(validation.unmasked(name, value))
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} must be real numbers, got {validation.describe(value)}")
    return array.astype(float)


def _steps(name: str, value: Any) -> np.ndarray:
    """Norms by step, (L,) or (L, N), as (L, N)."""
    array = _real(name, value)
    if array.ndim not in (1, 2) or array.size == 0:
        raise ValueError(f"{name} must have shape (L,) or (L, N), got {array.shape}")
    return array.reshape(len(array), -1)


def _positive(values: np.ndarray) -> np.ndarray:
    """What a logarithmic axis can show."""
    return np.where(values > 0, values, np.nan)


def _whole_numbers(axis: Any) -> None:
    axis.get_major_locator().set_params(integer=True)
