"""A forecaster as a graph: its network step by step, and all else, which is linear, as matrices.

Symbols: N series of K columns each, T values of each that are read, w = window, k steps that the
network forecasts at once, h = horizon, F columns of X, P of X_past, S static ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..estimators import ridge
from ..estimators.differencing import difference, undo
from ..estimators.sequences import units
from ..estimators.supervised import middle
from .graph import Graph
from .readout import patches, readout


def forecaster(graph: Graph, model: Any) -> None:
    """y, x and x_past to the forecast of a fitted forecaster over its horizon."""
    from sklearn.utils.validation import check_is_fitted

    check_is_fitted(model)
    if model._gaps is not None:
        raise ValueError(
            'missing must be "error" for to_onnx, whose graphs fill no gaps, got a fit with '
            'missing="forward"; fill them before, or nr.save the model'
        )
    plan, K = model._plan, model._targets
    T, h = plan.tail, plan.horizon
    M = len(model.y_mean_) // K
    N: int | str = M if M > 1 else "N"
    y = graph.input("y", np.float64, [N, T, K] if model._wide else [N, T])
    if not model._wide:
        y = graph.add("Unsqueeze", y, graph.constant([2]))
    y = graph.add("Transpose", y, perm=[0, 2, 1])  # (N, K, T)
    features, past = model.n_features_in_, len(model.x_past_mean_)
    x = read = None
    if features:
        x = graph.input("x", np.float64, [N, T + h, features])
        x = _scaled(graph, x, model.x_mean_, model.x_scale_)
    if past:
        read = graph.input("x_past", np.float64, [N, T, past])
        read = _scaled(graph, read, model.x_past_mean_, model.x_past_scale_)
    found = _network(graph, model, y, x, read, M)
    if plan.linear:
        line = _line(graph, model, y, x, M)
        places = T - plan.season + np.arange(h) % plan.season
        last = graph.add("Gather", y, graph.constant(places, np.int64), axis=2)
        shares = (model.network_share_, found), (model.naive_share_, last)
        for share, way in shares:
            change = graph.add("Mul", graph.add("Sub", way, line), graph.constant(share))
            found = change if way is found else graph.add("Add", found, change)
        found = graph.add("Add", line, found)
    found = graph.add("Transpose", found, perm=[0, 2, 1])
    if not model._wide:
        found = graph.add("Squeeze", found, graph.constant([2]))
    graph.output("forecast", found, np.float64, [N, h, K] if model._wide else [N, h])


def _scaled(graph: Graph, value: str, mean: np.ndarray, scale: np.ndarray) -> str:
    centred = graph.add("Sub", value, graph.constant(mean))
    return graph.add("Div", centred, graph.constant(scale))


def _unscaled(graph: Graph, value: str, mean: np.ndarray, scale: np.ndarray) -> str:
    wide = graph.add("Mul", value, graph.constant(scale))
    return graph.add("Add", wide, graph.constant(mean))


def _columns(values: np.ndarray, M: int) -> np.ndarray:
    """Numbers of all columns (M·K,) as (M, K, 1)."""
    return values.reshape(M, -1, 1)


def _slice(graph: Graph, value: str, axis: int, begin: int, end: int) -> str:
    bounds = (graph.constant([bound]) for bound in (begin, end, axis))
    return graph.add("Slice", value, *bounds)


def _network(graph: Graph, model: Any, y: str, x: str | None, read: str | None, M: int) -> str:
    """Forecast of the network (N, K, h), from y (N, K, T) and scaled x (N, T + h, F)."""
    plan, K, regressor = model._plan, model._targets, model.regressor_
    T, h, w, k, lags = plan.tail, plan.horizon, plan.window, plan.at_once, plan.lags
    blocks = -(-h // k)
    mean, scale = _columns(model.y_mean_, M), _columns(model.y_scale_, M)
    # z of the values, and values of z, are sums of some of them: products with matrices of 0 and 1
    differences = difference(np.eye(T)[:, -plan.shortest :], lags)  # (T, w)
    z = graph.add("MatMul", y, graph.constant(differences))
    z = _scaled(graph, z, mean, units(scale))
    steps = blocks * k
    beside = []
    if read is not None:
        rows = _slice(graph, read, 1, T - w, T)
        last = _slice(graph, read, 1, T - 1, T)
        beside.append(graph.joined([rows, *[last] * steps], axis=1))
    if (fixed := model._static.shape[1]) > 0:
        static = model._static[::K, None, :]
        shape = [graph.size(y, 0), graph.constant([w + steps, fixed])]
        shape = graph.joined(shape, axis=0)
        beside.append(graph.add("Expand", graph.constant(static), shape))
    if x is not None:
        x = _slice(graph, x, 1, T - w, T + h)
        if steps > h:  # the last row stands for what is missing
            last = _slice(graph, x, 1, w + h - 1, w + h)
            x = graph.joined([x, *[last] * (steps - h)], axis=1)
    for done in range(0, steps, k):
        rows = [graph.add("Transpose", _slice(graph, z, 2, done, done + w), perm=[0, 2, 1])]
        rows += [_slice(graph, part, 1, done, done + w) for part in beside]
        if x is not None:
            rows += [_slice(graph, x, 1, begin, begin + w) for begin in (done, done + k)]
        ahead = _reading(graph, regressor, graph.joined(rows, axis=2))  # (N, k·K)
        ahead = graph.add("Reshape", ahead, graph.constant([0, k, K]))
        z = graph.joined([z, graph.add("Transpose", ahead, perm=[0, 2, 1])], axis=2)
    z = _unscaled(graph, _slice(graph, z, 2, w, w + h), mean, scale)
    own = undo(np.eye(h), np.zeros((h, T)), lags)
    before = undo(np.zeros((T, h)), np.eye(T), lags)
    if not lags:
        return z
    return graph.add(
        "Add", graph.add("MatMul", z, graph.constant(own)),
        graph.add("MatMul", y, graph.constant(before)),
    )  # fmt: skip


def _reading(graph: Graph, regressor: Any, windows: str) -> str:
    """What a regressor, which scales nothing, says of windows (N, w, I): (N, targets), double."""
    x = graph.cast(graph.swapped(windows), regressor.rnn_.dtype)
    if regressor.patch_size_ > 1:
        x, _ = patches(graph, x, None, regressor.patch_size_, regressor.patch_stride_)
    found = [readout(graph, regressor, *member, x, None) for member in regressor.members_]
    if (levels := regressor.quantiles_) is not None:
        count = len(levels)
        shape = graph.constant([0, len(regressor.y_mean_), count])
        found = [graph.add("Reshape", one, shape) for one in found]
        found = [
            graph.add("TopK", one, graph.constant([count]), largest=0, outputs=2)[0]
            for one in found
        ]
    value = found[0] if len(found) == 1 else graph.add("Mean", *found)
    if levels is not None:
        value = graph.add("Gather", value, graph.constant(middle(levels), np.int64), axis=-1)
    return graph.cast(value, np.float64)


def _line(graph: Graph, model: Any, y: str, x: str | None, M: int) -> str:
    """Forecast of the linear path (N, K, h), which is one of y (N, K, T) and x (N, T + h, F)."""
    plan, K, F = model._plan, model._targets, model.n_features_in_
    T, h, count = plan.tail, plan.horizon, M * K

    def of(values: np.ndarray, beside: np.ndarray, one: int) -> np.ndarray:
        own = np.repeat(model.coefficients_[:, 1 + one, None], len(values), axis=1)
        return ridge.forecast(own, values, beside, plan.window, plan.season)

    fixed = model._static.shape[1]
    constants, by_values, by_x = [], [], []
    for one in range(count):
        nothing = np.zeros((1, T + h, F + fixed))
        nothing[..., F:] = model._static[one]
        base = of(np.zeros((1, T)), nothing, one)
        constants.append(base)
        by_values.append(of(np.eye(T), np.repeat(nothing, T, axis=0), one) - base)
        if x is None:
            continue
        size = (T + h) * F
        changed = np.repeat(nothing, size, axis=0)
        changed[:, :, :F] += np.eye(size).reshape(size, T + h, F)
        by_x.append(of(np.zeros((size, T)), changed, one) - base)
    mean, scale = _columns(model.level_mean_, M), _columns(model.level_scale_, M)
    z = _scaled(graph, y, mean, units(scale))

    def product(rows: str, matrices: list[np.ndarray]) -> str:
        """Rows (N, K or 1, 1, n) times matrices (n, h), one a column: (N, K, h)."""
        stacked = np.stack(matrices).reshape(M, K, -1, h)
        return graph.add(
            "Squeeze", graph.add("MatMul", rows, graph.constant(stacked)), graph.constant([2])
        )

    found = product(graph.add("Unsqueeze", z, graph.constant([2])), by_values)
    if x is not None:
        flat = graph.add("Reshape", x, graph.constant([0, 1, 1, -1]))
        found = graph.add("Add", found, product(flat, by_x))
    found = graph.add("Add", found, graph.constant(np.concatenate(constants).reshape(M, K, h)))
    return _unscaled(graph, found, mean, scale)
