"""Models as ONNX files, for whatever runs those."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from .. import __version__, atomic, validation
from ..extras import need
from ..rnn import RNN
from . import models
from .graph import Graph, stack
from .readout import patches, readout


def to_onnx(
    model: Any,
    path: str | os.PathLike[str],
    *,
    initial_state: bool = False,
    lengths: bool = False,
) -> None:
    """Write an RNN or a fitted estimator as an ONNX model.

    It computes what the model does in evaluation mode, without dropout; steps L and batch N are
    free. ONNX's checker has seen it before it is written, and a file that is there is replaced as
    a whole.

    =============  ==============================  =================================================
    model          inputs                          outputs
    =============  ==============================  =================================================
    RNN            `x`, `h_0`, `lengths`           `output`, `h_n`, in the axes of the layer
    RNNClassifier  `x` (N, L, F), `lengths`        `label` (N,), `probabilities` (N, classes)
    RNNRegressor   `x` (N, L, F), `lengths`        `prediction` (N,) or (N, targets), and with
                                                   loss="quantile" `quantiles`, an axis more
    RNNForecaster  `y` (N, T), `x` (N, T + h, F),  `forecast` (N, h), double
                   `x_past` (N, T, P)
    =============  ==============================  =================================================

    `x` of estimators is double, `lengths` is int32, and `label` is int64, bool, double or string,
    as the labels are; all else has the dtype of the network. Estimators bring their standardisation
    with them, their patches and all of their members; a table, a column a time step, goes in with
    one feature, (N, L, 1). Where they were fitted to targets of each step, outputs have an axis L
    after N.

    Parameters
    ----------
    model : RNN, RNNClassifier, RNNRegressor or RNNForecaster
    path : str or path-like
        Usually ``*.onnx``.
    initial_state : bool, default False
        Whether an RNN has an input `h_0`, (num_layers·D, N, H), or starts from zeros.
    lengths : bool, default False
        Whether there is an input `lengths`, (N,), 0 to L for an RNN and 1 to L for an estimator.
        Outputs of steps are zero beyond a length then, and labels mean nothing there.

    Raises
    ------
    ModuleNotFoundError
        If onnx is not installed, which the extra `onnx` has.
    OSError
        If the file can't be written.
    TypeError
        If an argument is not of its type.
    ValueError
        If initial_state is True for an estimator, an estimator fills gaps (missing="forward"), or
        the labels of a classifier have no type in ONNX.

    Notes
    -----
    **A forecaster** forecasts its horizon h from the last T values of its series, where T is
    ``model.tail_``, and of what was known beside them, x of the future too; inputs that were not in
    fit are left out. It has the scaling, the linear path and the static columns of the series of
    fit: N is free where there was one, and else their number. Where y had K columns, `y` is
    (N, T, K) and the forecast (N, h, K). With ``strategy="recursive"`` the network is in the graph
    step after step. For more steps, append the forecast to y and run it again: that is not what
    `predict` gives, whose three ways feed on themselves apart, but near it. Intervals are
    `predict_interval`'s distances from the forecast.

    Estimators subtract their means in double precision, and so `x` is double whatever the dtype of
    the network: in float32 small changes of large values would be lost before that.

    A layer of float32 is an operator RNN. ONNX Runtime has none for float64, so that a layer of
    that is a Scan over matrix products, which takes longer.

    A file is of operator set 18 and IR version 8. The oldest versions it is tested with are ONNX
    Runtime 1.19.0 and onnx 1.17.0, the first that go with NumPy 2.

    References
    ----------
    Operators, version 18: https://onnx.ai/onnx/operators/

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> import onnxruntime
    >>> import numba_rnn as nr
    >>> rnn = nr.RNN(4, 8, batch_first=True, rng=0)
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     path = os.path.join(directory, "rnn.onnx")
    ...     nr.to_onnx(rnn, path, lengths=True)
    ...     session = onnxruntime.InferenceSession(path)
    >>> x, lengths = np.ones((3, 5, 4), np.float32), np.array([5, 2, 0], np.int32)
    >>> output, h_n = session.run(["output", "h_n"], {"x": x, "lengths": lengths})
    >>> bool(np.allclose(output, rnn(x, lengths=lengths)[0], atol=1e-5))
    True
    """
    onnx = need("onnx", "onnx", "numba_rnn.to_onnx")
    kind = models.name(model, ("RNN", "RNNClassifier", "RNNRegressor", "RNNForecaster"))
    path = validation.path("path", path)
    initial_state = validation.flag("initial_state", initial_state)
    lengths = validation.flag("lengths", lengths)
    graph = Graph(onnx)
    if kind == "RNN":
        _layers(graph, model, initial_state, lengths)
    elif initial_state:
        raise ValueError(f"initial_state must be False for {kind}, which starts from zeros")
    elif kind == "RNNForecaster":
        if lengths:
            raise ValueError("lengths must be False for RNNForecaster, whose windows have one")
        from .forecast_graph import forecaster

        forecaster(graph, model)
    else:
        _estimator(graph, model, lengths)
    atomic.write(path, graph.model(kind, __version__).SerializeToString())


def _layers(graph: Graph, rnn: RNN, initial_state: bool, lengths: bool) -> None:
    """x, h_0 and lengths to output and h_n, in the axes of the layer."""
    I, H, dtype = rnn.input_size, rnn.hidden_size, rnn.dtype
    D = 2 if rnn.bidirectional else 1
    leading = ["N", "L"] if rnn.batch_first else ["L", "N"]
    states = [rnn.num_layers * D, "N", H]
    x = graph.input("x", dtype, [*leading, I])
    h_0 = graph.input("h_0", dtype, states) if initial_state else None
    ends = graph.input("lengths", np.int32, ["N"]) if lengths else None
    if rnn.batch_first:
        x = graph.swapped(x)
    output, h_n = stack(graph, rnn, x, h_0, ends)
    if rnn.batch_first:
        output = graph.swapped(output)
    graph.output("output", output, dtype, [*leading, D * H])
    graph.output("h_n", graph.joined(h_n, axis=0), dtype, states)


def _estimator(graph: Graph, model: Any, lengths: bool) -> None:
    """x and lengths to what `predict` and `predict_proba` return."""
    from sklearn.utils.validation import check_is_fitted

    from ..estimators.supervised import middle

    check_is_fitted(model)
    if model.filling_ is not None:
        raise ValueError(
            'missing must be "error" for to_onnx, whose graphs fill no gaps, got a fit with '
            'missing="forward"; fill them before, or nr.save the model'
        )
    form, dtype = model._form, model.rnn_.dtype
    x = graph.input("x", np.float64, ["N", "L", len(model.x_mean_)])
    ends = graph.input("lengths", np.int32, ["N"]) if lengths else None
    # As in Python, x is double until it is scaled, so that a large mean costs no digits.
    x = graph.add("Sub", graph.swapped(x), graph.constant(model.x_mean_))
    x = graph.cast(graph.add("Div", x, graph.constant(model.x_scale_)), dtype)
    if model.patch_size_ > 1:
        x, ends = patches(graph, x, ends, model.patch_size_, model.patch_stride_)
    readouts = [readout(graph, model, rnn, head, x, ends) for rnn, head in model.members_]

    def averaged(values: list[str]) -> str:
        """Mean over the members."""
        return values[0] if len(values) == 1 else graph.add("Mean", *values)

    def finished(value: str) -> str:
        """Zero beyond the lengths."""
        if not form.steps or ends is None:
            return value
        real = graph.swapped(graph.real(x, ends))
        return graph.add("Where", real, value, graph.constant(0, dtype))

    leading = ["N", "L"] if form.steps else ["N"]
    if hasattr(model, "classes_"):
        classes = _labels(model.classes_)
        keep = 0 if form.flat else 1
        shares = averaged([graph.add("Softmax", one, axis=-1) for one in readouts])
        likeliest = readouts[0] if len(readouts) == 1 else shares
        best = graph.add("ArgMax", likeliest, axis=-1, keepdims=keep)
        label = graph.add("Gather", graph.constant(classes), best)
        graph.output("label", label, classes.dtype, leading if form.flat else [*leading, 1])
        graph.output("probabilities", finished(shares), dtype, [*leading, len(classes)])
        return

    def unscaled(value: str, axes: int) -> str:
        """Undo the scaling of targets, after which come so many axes."""
        shape = (-1, *[1] * axes)
        scale, mean = (array.reshape(shape) for array in (model.y_scale_, model.y_mean_))
        wide = graph.add("Mul", graph.cast(value, np.float64), graph.constant(scale))
        return graph.cast(graph.add("Add", wide, graph.constant(mean)), dtype)

    if (levels := model.quantiles_) is None:
        prediction = finished(unscaled(averaged(readouts), 0))
    else:
        targets = [len(model.y_mean_), len(levels)]
        shape = graph.constant([0] * len(leading) + targets)
        apart = [graph.add("Reshape", one, shape) for one in readouts]
        count = graph.constant([len(levels)])
        rising = [graph.add("TopK", one, count, largest=0, outputs=2)[0] for one in apart]
        quantiles = unscaled(averaged(rising), 1)
        place = graph.constant(middle(levels), np.int64)
        prediction = finished(graph.add("Gather", quantiles, place, axis=-1))
        names = [*leading, *targets]
        if form.steps and ends is not None:
            real = graph.add("Unsqueeze", graph.swapped(graph.real(x, ends)), graph.constant([3]))
            quantiles = graph.add("Where", real, quantiles, graph.constant(0, dtype))
        if form.flat:
            quantiles = graph.add("Squeeze", quantiles, graph.constant([-2]))
            del names[-2]
        graph.output("quantiles", quantiles, dtype, names)
    if form.flat:
        prediction = graph.add("Squeeze", prediction, graph.constant([-1]))
    names = leading if form.flat else [*leading, len(model.y_mean_)]
    graph.output("prediction", prediction, dtype, names)


def _labels(classes: np.ndarray) -> np.ndarray:
    """Labels in a type that ONNX has."""
    kinds = {type(label) for label in classes.tolist()}
    if kinds == {str}:
        return classes.astype(object)
    if kinds == {int}:
        if not all(-(2**63) <= label < 2**63 for label in classes.tolist()):
            raise ValueError("labels must fit into int64, got larger ones")
        return classes.astype(np.int64)
    if kinds in ({bool}, {float}):
        return np.array(classes.tolist())
    names = ", ".join(sorted(kind.__name__ for kind in kinds))
    raise ValueError(
        f"the labels of a classifier must be all strings, integers, floats or booleans, got {names}"
    )
