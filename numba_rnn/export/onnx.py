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
    RNNRegressor   `x` (N, L, F), `lengths`        `prediction` (N,) or (N, targets), and with
                                                   loss="quantile" `quantiles`, an axis more
    =============  ==============================  =================================================

    `x` of estimators is double, `lengths` is int32, and `label` is int64, bool, double or string,
    as the labels are; all else has the dtype of the network. Estimators bring their standardisation
    with them, their patches and all of their members; a table, a column a time step, goes in with
    one feature, (N, L, 1). Where they were fitted to targets of each step, outputs have an axis L
    after N.

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
        If initial_state is True for an estimator, an estimator fills gaps (missing="forward"), or
        the labels of a classifier have no type in ONNX.

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
        x, ends = _patches(graph, x, ends, model.patch_size_, model.patch_stride_)
    readouts = [_readout(graph, model, rnn, head, x, ends) for rnn, head in model.members_]

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


def _readout(graph: Graph, model: Any, rnn: RNN, head: Any, x: str, ends: str | None) -> str:
    """What a member reads of every series (N, K), or step (N, L, K), in x (L, N, I)."""
    output, h_n = stack(graph, rnn, x, None, ends)
    if model._form.steps:
        features = graph.swapped(output)  # (N, L, D·H)
    else:
        features = _pooled(graph, model.pooling, output, h_n[-1], ends)  # (N, D·H)
    readout = graph.add("MatMul", features, graph.constant(np.ascontiguousarray(head.weight.T)))
    if head.bias is not None:
        readout = graph.add("Add", readout, graph.constant(head.bias))
    return readout


def _patches(
    graph: Graph, x: str, lengths: str | None, size: int, stride: int
) -> tuple[str, str | None]:
    """Patches (P, N, size·F) of x (L, N, F), and how many each series has; see `Patches`."""

    def number(value: Any) -> str:
        return graph.constant(value, np.int64)

    def counts(steps: str) -> str:
        over = graph.add("Max", graph.add("Sub", steps, number(size)), number(0))
        over = graph.add("Div", graph.add("Add", over, number(stride - 1)), number(stride))
        return graph.add("Add", over, number(1))

    steps = graph.size(x, 0)  # (1,)
    most = graph.add("Squeeze", counts(steps), number([0]))
    first = graph.add("Mul", graph.add("Range", number(0), most, number(1)), number(stride))
    within = number(np.arange(size))
    index = graph.add("Add", graph.add("Unsqueeze", first, number([1])), within)
    index = graph.add("Reshape", index, number([-1, 1, 1]))  # (P·size, 1, 1)
    ends = steps if lengths is None else graph.cast(lengths, np.int64)
    last = graph.add("Unsqueeze", graph.add("Sub", ends, number(1)), number([0, 2]))  # (1, N, 1)
    index = graph.add("Min", index, last)
    rows = graph.size(index, 0)
    index = graph.add(
        "Expand", index, graph.joined([rows, graph.size(x, 1), graph.size(x, 2)], axis=0)
    )
    found = graph.add("GatherElements", x, index, axis=0)
    shape = graph.joined([number([-1, size]), graph.size(x, 1), graph.size(x, 2)], axis=0)
    found = graph.add("Transpose", graph.add("Reshape", found, shape), perm=[0, 2, 1, 3])
    found = graph.add("Reshape", found, number([0, 0, -1]))
    return found, None if lengths is None else graph.cast(counts(ends), np.int32)


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
