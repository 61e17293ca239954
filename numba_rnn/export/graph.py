"""Graphs of ONNX: values by name, nodes in order, and the recurrence in two ways.

For float32 a layer is one node, ONNX's RNN. Its float64 has no kernel in ONNX Runtime, so there a
layer is a Scan over matrix products. Everything inside is (L, N, features).

ONNX Runtimes up to 1.24 end the process where an RNN gets no step at all, and give whatever the
memory held as the last state of a sequence of length 0. So neither is left to them.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from ..rnn import RNN

OPSET = 18  # the first in which reductions take their axes as an input
IR_VERSION = 8  # that of the same release


class Graph:
    """A graph in the making: each method adds nodes and returns the name of what they compute."""

    def __init__(self, onnx: ModuleType, prefix: str = "") -> None:
        self.onnx, self.prefix = onnx, prefix  # names of a graph inside another are to be new
        self.nodes: list[Any] = []
        self.constants: dict[tuple, Any] = {}
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []

    def input(self, name: str, dtype: Any, shape: list[int | str] | None) -> str:
        """Declare an input; names among the axes are free, and mean the same number everywhere."""
        self.inputs.append(self._info(name, dtype, shape))
        return name

    def output(self, name: str, value: str, dtype: Any, shape: list[int | str] | None) -> None:
        """Declare a value as an output under a name."""
        self.nodes.append(self.onnx.helper.make_node("Identity", [value], [name]))
        self.outputs.append(self._info(name, dtype, shape))

    def _info(self, name: str, dtype: Any, shape: list[int | str] | None) -> Any:
        helper = self.onnx.helper
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return helper.make_tensor_value_info(name, kind, shape)

    def constant(self, value: Any, dtype: Any = None) -> str:
        """Put an array into the graph; the same one once."""
        array = np.asarray(value, dtype)
        content = array.tobytes() if array.dtype.kind != "O" else tuple(array.tolist())
        key = (array.dtype.str, array.shape, content)
        if key not in self.constants:
            name = f"constant_{len(self.constants)}"
            self.constants[key] = self.onnx.numpy_helper.from_array(array, name)
        return self.constants[key].name

    def add(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """Add a node; the names of its outputs are returned as a list where there are several."""
        name = f"{self.prefix}{operator}_{len(self.nodes)}"
        names = [f"{name}_{k}" if k else name for k in range(outputs)]
        self.nodes.append(self.onnx.helper.make_node(operator, list(inputs), names, **attributes))
        return names if outputs > 1 else names[0]

    def cast(self, value: str, dtype: Any) -> str:
        """Change the dtype."""
        return self.add(
            "Cast", value, to=self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        )

    def size(self, value: str, axis: int) -> str:
        """Size of an axis, int64, shape (1,)."""
        return self.add("Shape", value, start=axis, end=axis + 1)

    def joined(self, values: list[str], axis: int) -> str:
        """Values side by side."""
        return values[0] if len(values) == 1 else self.add("Concat", *values, axis=axis)

    def swapped(self, value: str) -> str:
        """(A, B, C) -> (B, A, C)."""
        return self.add("Transpose", value, perm=[1, 0, 2])

    def real(self, x: str, lengths: str | None) -> str:
        """Whether step t of (L, N, I) is no padding: bool, shape (L, N, 1)."""
        steps = self.add("Squeeze", self.size(x, 0), self.constant([0], np.int64))
        zero, one = self.constant(0, np.int64), self.constant(1, np.int64)
        time = self.add("Unsqueeze", self.add("Range", zero, steps, one), self.constant([1, 2]))
        if lengths is None:
            shape = self.joined([self.size(x, 0), self.size(x, 1), self.constant([1])], axis=0)
            return self.add("Expand", self.add("GreaterOrEqual", time, zero), shape)
        ends = self.add("Unsqueeze", self.cast(lengths, np.int64), self.constant([0, 2]))
        return self.add("Less", time, ends)

    def model(self, name: str, version: str) -> Any:
        """Return the checked model."""
        helper = self.onnx.helper
        graph = helper.make_graph(
            self.nodes, name, self.inputs, self.outputs, list(self.constants.values())
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="numba_rnn",
            producer_version=version,
        )
        self.onnx.checker.check_model(model, full_check=True)
        return model


def stack(
    graph: Graph, rnn: RNN, x: str, h_0: str | None, lengths: str | None
) -> tuple[str, list[str]]:
    """Add all layers.

    Parameters
    ----------
    x : name of (L, N, I)
    h_0 : name of (num_layers·D, N, H), or None for zeros
    lengths : name of (N,) int32, or None

    Returns
    -------
    output : name of (L, N, D·H)
        Zero beyond a length.
    h_n : list of the names of (D, N, H), one a layer
    """
    D, layers = 2 if rnn.bidirectional else 1, rnn.num_layers
    starts: list[str | None] = [h_0] * layers
    if h_0 is not None and layers > 1:
        starts = graph.add("Split", h_0, graph.constant([D] * layers), axis=0, outputs=layers)
    names = [[f"_l{k}", f"_l{k}_reverse"][:D] for k in range(layers)]
    h_n = []
    if rnn.dtype != np.float32:
        for suffixes, start in zip(names, starts, strict=True):
            x, last = _scan(graph, rnn, suffixes, x, start, lengths)
            h_n.append(last)
        return x, h_n
    L = steps = graph.size(x, 0)
    if lengths is not None:
        steps = graph.add("Unsqueeze", graph.cast(lengths, np.int64), graph.constant([1]))
    stepless = graph.add("Equal", steps, graph.constant(0, np.int64))  # (1,) or (N, 1)
    x = _not_without_steps(graph, x, L)
    for suffixes, start in zip(names, starts, strict=True):
        x, last = _node(graph, rnn, suffixes, x, start, lengths)
        # Without a step h_n is h_0, where ONNX Runtime says 0 at best.
        start = start or graph.constant(0, rnn.dtype)
        h_n.append(graph.add("Where", stepless, start, last))
    zero = graph.constant([0])
    return graph.add("Slice", x, zero, L, zero), h_n


def _not_without_steps(graph: Graph, x: str, L: str) -> str:
    """Put a step into (0, N, I), and none into others."""
    none = graph.cast(graph.add("Equal", L, graph.constant(0, np.int64)), np.int64)
    shape = graph.joined([none, graph.size(x, 1), graph.size(x, 2)], axis=0)
    zero = graph.onnx.numpy_helper.from_array(np.zeros(1, np.float32))
    return graph.joined([x, graph.add("ConstantOfShape", shape, value=zero)], axis=0)


def _weights(rnn: RNN, suffix: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """w_ih (H, I), w_hh (H, H), and [b_ih, b_hh] (2H,) of a layer and direction."""
    p = rnn.parameters
    bias = None
    if rnn.bias:
        bias = np.concatenate([p[f"bias_ih{suffix}"], p[f"bias_hh{suffix}"]])
    return p[f"weight_ih{suffix}"], p[f"weight_hh{suffix}"], bias


def _node(
    graph: Graph, rnn: RNN, suffixes: list[str], x: str, h_0: str | None, lengths: str | None
) -> tuple[str, str]:
    """One layer as ONNX's own RNN."""
    D, H = len(suffixes), rnn.hidden_size
    w_ih, w_hh, bias = zip(*(_weights(rnn, suffix) for suffix in suffixes), strict=True)
    output, h_n = graph.add(
        "RNN",
        x,
        graph.constant(np.stack(w_ih)),
        graph.constant(np.stack(w_hh)),
        graph.constant(np.stack(bias)) if rnn.bias else "",
        lengths or "",
        h_0 or "",
        outputs=2,
        hidden_size=H,
        direction="bidirectional" if D == 2 else "forward",
        activations=[rnn.nonlinearity.capitalize()] * D,
    )  # (L, D, N, H) and (D, N, H)
    output = graph.add("Transpose", output, perm=[0, 2, 1, 3])
    return graph.add("Reshape", output, graph.constant([0, 0, D * H])), h_n


def _scan(
    graph: Graph, rnn: RNN, suffixes: list[str], x: str, h_0: str | None, lengths: str | None
) -> tuple[str, str]:
    """One layer as a Scan in each direction; padding leaves the state as it is.

    One more step of padding comes behind the others, as ONNX Runtime can't scan none.
    """
    H = rnn.hidden_size
    N, one = graph.size(x, 1), graph.constant([1])
    padding = graph.joined([one, N, graph.constant([H])], axis=0)
    zero = graph.onnx.numpy_helper.from_array(np.zeros(1, rnn.dtype))
    xs = graph.add("ConstantOfShape", padding, value=zero)  # (1, N, H)
    never = graph.add("Expand", graph.constant([[[False]]]), graph.joined([one, N, one], axis=0))
    real = graph.joined([graph.real(x, lengths), never], axis=0)
    starts = [xs] * len(suffixes)
    if h_0 is not None:
        starts = [h_0]
        if len(suffixes) == 2:
            starts = graph.add("Split", h_0, graph.constant([1, 1]), axis=0, outputs=2)
    outputs, h_n = [], []
    for k, suffix in enumerate(suffixes):
        w_ih, w_hh, bias = _weights(rnn, suffix)
        projected = graph.add("MatMul", x, graph.constant(np.ascontiguousarray(w_ih.T)))
        if bias is not None:
            projected = graph.add("Add", projected, graph.constant(bias[:H] + bias[H:]))
        last, output = graph.add(
            "Scan",
            graph.add("Squeeze", starts[k], graph.constant([0])),
            graph.joined([projected, xs], axis=0),
            real,
            outputs=2,
            body=_step(graph, rnn, f"step{suffix}_", w_hh),
            num_scan_inputs=2,
            scan_input_directions=[k, k],
            scan_output_directions=[k],
        )
        ends = (graph.constant([0]), graph.constant([-1]))
        outputs.append(graph.add("Slice", output, *ends, graph.constant([0])))
        h_n.append(graph.add("Unsqueeze", last, graph.constant([0])))
    return graph.joined(outputs, axis=2), graph.joined(h_n, axis=0)


def _step(graph: Graph, rnn: RNN, prefix: str, w_hh: np.ndarray) -> Any:
    """One step: h, x_t w_ihᵀ + b and whether it is real, to the next h and the output."""
    step = Graph(graph.onnx, prefix)
    h = step.input(f"{prefix}h", rnn.dtype, None)
    x_t = step.input(f"{prefix}x_t", rnn.dtype, None)
    real = step.input(f"{prefix}real", bool, None)
    recurrent = step.add("MatMul", h, graph.constant(np.ascontiguousarray(w_hh.T)))
    new = step.add(rnn.nonlinearity.capitalize(), step.add("Add", x_t, recurrent))
    zero = graph.constant(0, rnn.dtype)
    shape = ["N", rnn.hidden_size]  # old ONNX Runtimes can't do without
    step.output(f"{prefix}h_next", step.add("Where", real, new, h), rnn.dtype, shape)
    step.output(f"{prefix}output", step.add("Where", real, new, zero), rnn.dtype, shape)
    return graph.onnx.helper.make_graph(step.nodes, "step", step.inputs, step.outputs)
