"""What is computed: sizes, one set of weights and inputs for all libraries, and the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from numba_rnn import reference

TOLERANCE = {"float32": 1e-4, "float64": 1e-9}


@dataclass(frozen=True)
class Problem:
    """One size: L steps, N samples, I inputs, H units, layers, D directions.

    With `ragged` the lengths of the samples are drawn uniformly from L/4 to L.
    """

    L: int
    N: int
    I: int
    H: int
    layers: int = 1
    D: int = 1
    dtype: str = "float32"
    ragged: bool = False

    @property
    def name(self) -> str:
        """The size as the tables show it."""
        name = f"({self.L}, {self.N}, {self.I}, {self.H})"
        if self.layers > 1:
            name += f" {self.layers} layers"
        return name + (" bidirectional" if self.D == 2 else "")

    @property
    def flops(self) -> float:
        """Floating-point operations of the products of a forward pass; training takes 3 times."""
        inputs = [self.I] + [self.D * self.H] * (self.layers - 1)
        return sum(2.0 * self.L * self.N * self.D * self.H * (i + self.H) for i in inputs)

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the parameters, as torch.nn.RNN has them."""
        shapes = {}
        for layer in range(self.layers):
            inputs = self.I if layer == 0 else self.D * self.H
            for suffix in ("", "_reverse")[: self.D]:
                end = f"_l{layer}{suffix}"
                shapes["weight_ih" + end] = (self.H, inputs)
                shapes["weight_hh" + end] = (self.H, self.H)
                shapes["bias_ih" + end] = (self.H,)
                shapes["bias_hh" + end] = (self.H,)
        return shapes

    def arrays(self) -> dict[str, np.ndarray]:
        """Draw the input x, h_0 (for a cell), the gradient g that comes in, and the weights."""
        rng = np.random.default_rng(0)
        bound = self.H**-0.5
        draw = {
            "x": rng.normal(size=(self.L, self.N, self.I)),
            "h_0": rng.uniform(-1, 1, (self.N, self.H)),
            "g": rng.normal(size=(self.L, self.N, self.D * self.H)),
        }
        for name, shape in self.parameter_shapes().items():
            draw[name] = rng.uniform(-bound, bound, shape)
        drawn = {name: value.astype(self.dtype) for name, value in draw.items()}
        low = max(1, self.L // 4) if self.ragged else self.L
        drawn["lengths"] = rng.integers(low, self.L, self.N, endpoint=True)
        return drawn


def parameters(problem: Problem, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the weights among the arrays of a problem."""
    return {name: arrays[name] for name in problem.parameter_shapes()}


def answer(problem: Problem, task: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Compute what a task must give, by the textbook in float64."""
    if task == "tile":  # has no result, see limit.py
        return {}
    wide = {name: value.astype("float64") for name, value in parameters(problem, arrays).items()}
    x, h_0, g = (arrays[name].astype("float64") for name in ("x", "h_0", "g"))
    if task == "cell":
        return {"h": reference.cell_forward(x[0], h_0, *wide.values())}
    options = {
        "num_layers": problem.layers,
        "bidirectional": problem.D == 2,
        "lengths": arrays["lengths"],
    }
    zeros = np.zeros((problem.layers * problem.D, problem.N, problem.H))
    output, h_n, _ = reference.rnn_forward(x, zeros, wide, **options)
    expected = {"output": output, "h_n": h_n}
    if task == "training":
        gradients = reference.rnn_backward(g, np.zeros_like(h_n), x, zeros, wide, **options)
        expected |= {"dx": gradients["input"]}
        expected |= {f"d{name}": value for name, value in gradients["parameters"].items()}
    return expected


def save(problem: Problem, task: str, path: Path) -> None:
    """Write the arrays of a problem and what the task must give, for the workers."""
    arrays = problem.arrays()
    expected = answer(problem, task, arrays)
    np.savez(path, **arrays, **{f"expected {name}": value for name, value in expected.items()})


def load(path: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Read what `save` wrote: the arrays, and what a task must give."""
    with np.load(path) as file:
        read = dict(file)
    expected = {k.split()[1]: read.pop(k) for k in list(read) if k.startswith("expected ")}
    return read, expected


def check(call: Callable[[], dict], expected: dict[str, np.ndarray], dtype: str) -> None:
    """Compare a library's answer with the textbook's.

    Raises
    ------
    ArithmeticError
        If one of the results is missing or differs.
    """
    got = call()
    if got.keys() != expected.keys():
        raise ArithmeticError(f"results must be {list(expected)}, got {list(got)}")
    for name, right in expected.items():
        error = np.abs(np.asarray(got[name], "float64") - right).max()
        error /= max(1.0, np.abs(right).max())
        if not error <= TOLERANCE[dtype]:
            raise ArithmeticError(f"{name} differs from the textbook by {error:.1e}")
