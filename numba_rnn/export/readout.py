"""What estimators do around their RNN, as graphs: patches before it, pooling and readout."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..rnn import RNN
from .graph import Graph, stack


def readout(graph: Graph, model: Any, rnn: RNN, head: Any, x: str, ends: str | None) -> str:
    """What a member reads of every series (N, K), or step (N, L, K), in x (L, N, I)."""
    output, h_n = stack(graph, rnn, x, None, ends)
    if model._form.steps:
        features = graph.swapped(output)  # (N, L, D·H)
    else:
        features = pooled(graph, model.pooling, output, h_n[-1], ends)  # (N, D·H)
    readout = graph.add("MatMul", features, graph.constant(np.ascontiguousarray(head.weight.T)))
    if head.bias is not None:
        readout = graph.add("Add", readout, graph.constant(head.bias))
    return readout


def patches(
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


def pooled(graph: Graph, pooling: str, output: str, h_n: str, lengths: str | None) -> str:
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
