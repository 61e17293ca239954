"""How each library computes a problem, in the fastest way that its public interface offers.

A library is made with a number of threads and then asked for `calls(problem, task, layout,
arrays)`: the *ways* in which it can do that, by name. A way is a pair of functions: the call that
is timed, and one that turns its result into arrays for the check. Where there are several ways, the
worker takes the fastest. Everything that a user does once (making the layer, compiling, moving
data to the library) happens before the call.

Tasks: "forward" (inference), "training" (forward, and all gradients from the gradient of the
output), "cell" (one step). Layouts: "padded", "lengths", "packed".
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from .problem import Problem, parameters

Arrays = dict[str, np.ndarray]
Way = tuple[Callable[[], Any], Callable[[Any], Arrays]]


class NumbaRNN:
    """The public calls of numba_rnn."""

    def __init__(self, threads: int) -> None:
        import numba

        self.set_threads = numba.set_num_threads
        self.set_threads(threads)

    def calls(self, problem: Problem, task: str, layout: str, arrays: Arrays) -> dict[str, Way]:
        """Offer one way: the public call."""
        from . import limit

        if task == "tile":
            return limit.calls(problem.dtype)
        if task == "cell":
            return {"": self._cell(problem, arrays)}
        return {"": self._rnn(problem, task, layout, arrays)}

    @staticmethod
    def _cell(problem: Problem, arrays: Arrays) -> Way:
        import numba_rnn as nr

        cell = nr.RNNCell(problem.I, problem.H, dtype=problem.dtype)
        for name, value in parameters(problem, arrays).items():
            setattr(cell, name.removesuffix("_l0"), value)
        x, h = arrays["x"][0], arrays["h_0"]
        return lambda: cell(x, h), lambda result: {"h": result}

    @staticmethod
    def _rnn(problem: Problem, task: str, layout: str, arrays: Arrays) -> Way:
        import numba_rnn as nr

        rnn = nr.RNN(
            problem.I, problem.H, problem.layers, bidirectional=problem.D == 2, dtype=problem.dtype
        )
        rnn.load_state_dict(parameters(problem, arrays))
        x, g = arrays["x"], arrays["g"]
        lengths = arrays["lengths"] if layout == "lengths" else None
        if layout == "packed":
            x, g = (nr.pack_padded_sequence(a, arrays["lengths"], False, False) for a in (x, g))

        def padded(sequence: Any) -> np.ndarray:
            if layout == "packed":
                return nr.pad_packed_sequence(sequence, total_length=problem.L)[0]
            return sequence

        def forward() -> Any:
            return rnn(x, lengths=lengths)

        def training() -> Any:
            tape = rnn.forward(x, lengths=lengths)
            return tape, tape.backward(g)

        def states(result: Any) -> Arrays:
            output, h_n = result
            return {"output": padded(output), "h_n": h_n}

        def gradients(result: Any) -> Arrays:
            tape, grads = result
            found = {f"d{name}": value for name, value in grads.parameters.items()}
            return states(tape) | {"dx": padded(grads.input)} | found

        return (forward, states) if task == "forward" else (training, gradients)


class Torch:
    """torch.nn.RNN and torch.nn.RNNCell, eager, as they come."""

    def __init__(self, threads: int) -> None:
        import torch

        self.set_threads = torch.set_num_threads
        self.set_threads(threads)

    def calls(self, problem: Problem, task: str, layout: str, arrays: Arrays) -> dict[str, Way]:
        """Offer one way: the module."""
        make = self._cell if task == "cell" else self._rnn
        return {"": make(problem, task, layout, arrays)}

    @staticmethod
    def _tensors(problem: Problem, arrays: Arrays) -> dict[str, Any]:
        import torch

        return {k: torch.from_numpy(v) for k, v in parameters(problem, arrays).items()}

    def _cell(self, problem: Problem, task: str, layout: str, arrays: Arrays) -> Way:
        import torch

        cell = torch.nn.RNNCell(problem.I, problem.H, dtype=getattr(torch, problem.dtype)).eval()
        tensors = self._tensors(problem, arrays)
        cell.load_state_dict({k.removesuffix("_l0"): v for k, v in tensors.items()})
        x, h = torch.from_numpy(arrays["x"][0]), torch.from_numpy(arrays["h_0"])
        inference = torch.inference_mode()(lambda: cell(x, h))
        return inference, lambda result: {"h": result.numpy()}

    def _rnn(self, problem: Problem, task: str, layout: str, arrays: Arrays) -> Way:
        import torch
        from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

        rnn = torch.nn.RNN(
            problem.I,
            problem.H,
            problem.layers,
            bidirectional=problem.D == 2,
            dtype=getattr(torch, problem.dtype),
        )
        rnn.load_state_dict(self._tensors(problem, arrays))
        rnn.train(task == "training")
        leaf, g = torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["g"])
        form = None  # of packed input
        if layout == "packed":
            lengths = torch.from_numpy(arrays["lengths"])
            form, g_packed = (pack_padded_sequence(a, lengths, False, False) for a in (leaf, g))
            leaf, g = form.data, g_packed.data
        if task == "training":
            leaf.requires_grad_()
        x = leaf if form is None else PackedSequence(leaf, *form[1:])
        names, weights = zip(*rnn.named_parameters(), strict=True)

        def training() -> Any:
            output, h_n = rnn(x)
            out = output if form is None else output.data
            return output, h_n, torch.autograd.grad(out, [leaf, *weights], g)

        def padded(sequence: Any) -> np.ndarray:
            if form is not None:
                if torch.is_tensor(sequence):
                    sequence = PackedSequence(sequence, *form[1:])
                sequence = pad_packed_sequence(sequence, total_length=problem.L)[0]
            return sequence.detach().numpy()

        def states(result: Any) -> Arrays:
            return {"output": padded(result[0]), "h_n": result[1].detach().numpy()}

        def gradients(result: Any) -> Arrays:
            dx, *found = result[2]
            named = {f"d{k}": v.numpy() for k, v in zip(names, found, strict=True)}
            return states(result) | {"dx": padded(dx)} | named

        if task == "forward":
            return torch.inference_mode()(lambda: rnn(x)), states
        return training, gradients


class Jax:
    """JAX: jit of lax.scan over time, the projection of the input taken out of the scan.

    Kernels are (in, out), as JAX libraries keep them. The ways differ in how often the scan is
    unrolled.
    """

    UNROLL = (1, 4, 16)

    def __init__(self, threads: int) -> None:
        import jax

        jax.config.update("jax_enable_x64", True)
        jax.config.update("jax_platforms", "cpu")
        cores = len(os.sched_getaffinity(0))
        if threads != cores:
            raise ValueError(f"JAX uses all {cores} cores of the process, asked for {threads}")

    def calls(self, problem: Problem, task: str, layout: str, arrays: Arrays) -> dict[str, Way]:
        """Offer one way for each unrolling of the scan."""
        import jax

        weights = {
            k: jax.device_put(np.ascontiguousarray(v.T))
            for k, v in parameters(problem, arrays).items()
        }
        x, g, h_0 = (jax.device_put(arrays[k]) for k in ("x", "g", "h_0"))
        if task == "cell":
            return {"": self._cell(weights, x[0], h_0)}
        unrollings = [u for u in self.UNROLL if u <= problem.L]
        make = self._forward if task == "forward" else self._training
        return {f"unroll={u}": make(problem, u, weights, x, g) for u in unrollings}

    @staticmethod
    def _cell(weights: dict, x: Any, h_0: Any) -> Way:
        import jax
        import jax.numpy as jnp

        @jax.jit
        def step(w: dict, x: Any, h: Any) -> Any:
            b = w["bias_ih_l0"] + w["bias_hh_l0"]
            return jnp.tanh(x @ w["weight_ih_l0"] + b + h @ w["weight_hh_l0"])

        return lambda: step(weights, x, h_0).block_until_ready(), lambda h: {"h": np.asarray(h)}

    @staticmethod
    def _network(problem: Problem, unroll: int) -> Callable:
        import jax
        import jax.numpy as jnp

        def direction(w: dict, x: Any, end: str) -> Any:
            projected = x @ w["weight_ih" + end] + (w["bias_ih" + end] + w["bias_hh" + end])

            def step(h: Any, a: Any) -> Any:
                h = jnp.tanh(a + h @ w["weight_hh" + end])
                return h, h

            h_0 = jnp.zeros((problem.N, problem.H), x.dtype)
            reverse = end.endswith("reverse")
            return jax.lax.scan(step, h_0, projected, reverse=reverse, unroll=unroll)

        def network(w: dict, x: Any) -> Any:
            last = []
            for layer in range(problem.layers):
                ends = (f"_l{layer}", f"_l{layer}_reverse")[: problem.D]
                found = [direction(w, x, end) for end in ends]
                last += [h for h, _ in found]
                x = jnp.concatenate([states for _, states in found], axis=2)
            return x, jnp.stack(last)

        return network

    def _forward(self, problem: Problem, unroll: int, weights: dict, x: Any, g: Any) -> Way:
        import jax

        compiled = jax.jit(self._network(problem, unroll))

        def states(result: Any) -> Arrays:
            return {"output": np.asarray(result[0]), "h_n": np.asarray(result[1])}

        return lambda: jax.block_until_ready(compiled(weights, x)), states

    def _training(self, problem: Problem, unroll: int, weights: dict, x: Any, g: Any) -> Way:
        import jax

        network = self._network(problem, unroll)

        @jax.jit
        def compiled(w: dict, x: Any, g: Any) -> Any:
            output, vjp, h_n = jax.vjp(network, w, x, has_aux=True)
            return output, h_n, *vjp(g)

        def gradients(result: Any) -> Arrays:
            output, h_n, dw, dx = map(jax.device_get, result)
            found = {f"d{name}": dw[name].T for name in problem.parameter_shapes()}
            return {"output": output, "h_n": h_n, "dx": dx} | found

        return lambda: jax.block_until_ready(compiled(weights, x, g)), gradients


class OnnxRuntime:
    """ONNX Runtime: a session with the RNN operator.

    The ways: arrays in and out, or memory of the results bound beforehand.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def calls(self, problem: Problem, task: str, layout: str, arrays: Arrays) -> dict[str, Way]:
        """Offer `run`, and `run_with_iobinding`."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        session = onnxruntime.InferenceSession(
            onnx_model(problem, task, arrays), options, providers=["CPUExecutionProvider"]
        )
        feed = onnx_inputs(task, arrays)

        def named(result: list) -> Arrays:
            return onnx_answer(task, dict(zip(onnx_results(task), result, strict=True)))

        binding = session.io_binding()
        for name, value in feed.items():
            binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(value))
        for output in session.get_outputs():
            empty = np.empty(output.shape, problem.dtype)
            value = onnxruntime.OrtValue.ortvalue_from_numpy(empty)
            binding.bind_ortvalue_output(output.name, value)

        def bound() -> Any:
            session.run_with_iobinding(binding)
            return binding

        return {
            "run": (lambda: session.run(None, feed), named),
            "bound": (bound, lambda result: named(result.copy_outputs_to_cpu())),
        }


class OpenVino:
    """OpenVINO: the same model, compiled for latency, in float32."""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def calls(self, problem: Problem, task: str, layout: str, arrays: Arrays) -> dict[str, Way]:
        """Offer one way: an inference request that shares memory with NumPy."""
        import openvino

        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": self.threads,
            "INFERENCE_PRECISION_HINT": "f32",
        }
        core = openvino.Core()
        model = core.read_model(onnx_model(problem, task, arrays))
        request = core.compile_model(model, "CPU", settings).create_infer_request()
        feed = onnx_inputs(task, arrays)

        def infer() -> Any:
            return request.infer(feed, share_inputs=True, share_outputs=True)

        def named(result: Any) -> Arrays:
            return onnx_answer(task, dict(zip(onnx_results(task), result.values(), strict=True)))

        return {"": (infer, named)}


def onnx_inputs(task: str, arrays: Arrays) -> Arrays:
    """What the model of `onnx_model` is fed."""
    return {"x": arrays["x"], "h_0": arrays["h_0"][None]} if task == "cell" else {"x": arrays["x"]}


def onnx_results(task: str) -> list[str]:
    """Name the results of the model of `onnx_model`, in order."""
    return ["h_n"] if task == "cell" else ["output", "h_n"]


def onnx_answer(task: str, results: Arrays) -> Arrays:
    """Give the results of the model of `onnx_model` the names and shapes of the check."""
    return {"h": results["h_n"][0]} if task == "cell" else results


def onnx_model(problem: Problem, task: str, arrays: Arrays) -> bytes:
    """Build an ONNX model: an RNN operator a layer, with fixed shapes and the weights in it."""
    from onnx import TensorProto, checker, helper, numpy_helper

    L, N, I, H, D = problem.L, problem.N, problem.I, problem.H, problem.D
    kind = TensorProto.FLOAT if problem.dtype == "float32" else TensorProto.DOUBLE
    shape = np.array([L, N, D * H])
    nodes, weights, states, below = [], [numpy_helper.from_array(shape, "shape")], [], "x"
    for layer in range(problem.layers):
        ends = (f"_l{layer}", f"_l{layer}_reverse")[:D]
        for name, matrix in (("W", "weight_ih"), ("R", "weight_hh")):
            stacked = np.stack([arrays[matrix + end] for end in ends])
            weights.append(numpy_helper.from_array(stacked, f"{name}{layer}"))
        both = [np.concatenate([arrays["bias_ih" + e], arrays["bias_hh" + e]]) for e in ends]
        weights.append(numpy_helper.from_array(np.stack(both), f"B{layer}"))
        nodes.append(
            helper.make_node(
                "RNN",
                [below, f"W{layer}", f"R{layer}", f"B{layer}"] + ["", "h_0"] * (task == "cell"),
                [f"Y{layer}", f"H{layer}"],
                hidden_size=H,
                direction="bidirectional" if D == 2 else "forward",
                activations=["Tanh"] * D,
            )
        )
        below = "output" if layer == problem.layers - 1 else f"output{layer}"
        nodes.append(helper.make_node("Transpose", [f"Y{layer}"], [f"T{layer}"], perm=[0, 2, 1, 3]))
        nodes.append(helper.make_node("Reshape", [f"T{layer}", "shape"], [below]))
        states.append(f"H{layer}")
    nodes.append(helper.make_node("Concat", states, ["h_n"], axis=0))

    def value(name: str, *dimensions: int) -> Any:
        return helper.make_tensor_value_info(name, kind, dimensions)

    inputs = [value("x", L, N, I)] + [value("h_0", D, N, H)] * (task == "cell")
    shapes = {"output": (L, N, D * H), "h_n": (problem.layers * D, N, H)}
    outputs = [value(name, *shapes[name]) for name in onnx_results(task)]
    graph = helper.make_graph(nodes, "rnn", inputs, outputs, initializer=weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    return model.SerializeToString()


LIBRARIES = {
    "numba_rnn": NumbaRNN,
    "torch": Torch,
    "jax": Jax,
    "onnxruntime": OnnxRuntime,
    "openvino": OpenVino,
}
OURS = "numba_rnn"
