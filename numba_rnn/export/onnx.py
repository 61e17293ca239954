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
    RNNRegressor   `x` (N, L, F), `lengths`        `prediction` (N,) or (N, targets)
    =============  ==============================  =================================================

    `x` of estimators is double, `lengths` is int32, and `label` is int64, bool, double or string,
    as the labels are; all else has the dtype of the network. Estimators bring their standardisation
    with them; a table, a column a time step, goes in with one feature, (N, L, 1). Where they were
    fitted to targets of each step, outputs have an axis L after N.

    Parameters
    ----------
    model : RNN, RNNClassifier or RNNRegressor
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
        If initial_state is True for an estimator, or the labels of a classifier have no type in
        ONNX.

    Notes
    -----
    Of an RNNForecaster its `regressor_` can be written; what the forecaster does around that, one
    step of a recursion after the other, is not part of the graph.

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
    kind = models.name(model, ("RNN", "RNNClassifier", "RNNRegressor"))
    path = validation.path("path", path)
    initial_state = validation.flag("initial_state", initial_state)
    lengths = validation.flag("lengths", lengths)
    graph = Graph(onnx)
    if kind == "RNN":
        _layers(graph, model, initial_state, lengths)
    elif initial_state:
        raise ValueError(f"initial_state must be False for {kind}, which starts from zeros")
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

    check_is_fitted(model)
    rnn, head, form = model.rnn_, model.head_, model._form
    dtype = rnn.dtype
    x = graph.input("x", np.float64, ["N", "L", rnn.input_size])
    ends = graph.input("lengths", np.int32, ["N"]) if lengths else None
    # As in Python, x is double until it is scaled, so that a large mean costs no digits.
    x = graph.add("Sub", graph.swapped(x), graph.constant(model.x_mean_))
    x = graph.cast(graph.add("Div", x, graph.constant(model.x_scale_)), dtype)
    output, h_n = stack(graph, rnn, x, None, ends)
    if form.steps:
        features = graph.swapped(output)  # (N, L, D·H)
    else:
        features = _pooled(graph, model.pooling, output, h_n[-1], ends)  # (N, D·H)
    readout = graph.add("MatMul", features, graph.constant(np.ascontiguousarray(head.weight.T)))
    if head.bias is not None:
        readout = graph.add("Add", readout, graph.constant(head.bias))

    def finished(value: str) -> str:
        """Zero beyond the lengths."""
        if not form.steps or ends is None:
            return value
        real = graph.swapped(graph.real(output, ends))
        return graph.add("Where", real, value, graph.constant(0, dtype))

    leading = ["N", "L"] if form.steps else ["N"]
    if hasattr(model, "classes_"):
        classes = _labels(model.classes_)
        keep = 0 if form.flat else 1
        best = graph.add("ArgMax", readout, axis=-1, keepdims=keep)
        label = graph.add("Gather", graph.constant(classes), best)
        graph.output("label", label, classes.dtype, leading if form.flat else [*leading, 1])
        probabilities = finished(graph.add("Softmax", readout, axis=-1))
        graph.output("probabilities", probabilities, dtype, [*leading, len(classes)])
        return
    wide = graph.add("Mul", graph.cast(readout, np.float64), graph.constant(model.y_scale_))
    wide = graph.add("Add", wide, graph.constant(model.y_mean_))
    prediction = finished(graph.cast(wide, dtype))
    if form.flat:
        prediction = graph.add("Squeeze", prediction, graph.constant([-1]))
    shape = leading if form.flat else [*leading, head.out_features]
    graph.output("prediction", prediction, dtype, shape)


def _pooled(graph: Graph, pooling: str, output: str, h_n: str, lengths: str | None) -> str:
    """One vector a sequence, (N, D·H), of output (L, N, D·H) and the last h_n (D, N, H)."""
    if pooling == "last":
        return graph.add("Reshape", graph.swapped(h_n), graph.constant([0, -1]))
    over_time = graph.constant([0])
    if pooling == "mean":
        if lengths is None:
            return graph.add("ReduceMean", output, over_time, keepdims=0)
        total = graph.add("ReduceSum", output, over_time, keepdims=0)  # 0 beyond a length
        steps = graph.add("Unsqueeze", lengths, graph.constant([1]))
        return graph.add("Div", total, graph.add("CastLike", steps, total))
    if lengths is not None:
        lowest = graph.add("CastLike", graph.constant(-np.inf), output)
        output = graph.add("Where", graph.real(output, lengths), output, lowest)
    return graph.add("ReduceMax", output, over_time, keepdims=0)


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
