"""Fit an Elman RNN with SciPy's L-BFGS, all parameters as one vector.

    python examples/lbfgs.py

``flat_parameters`` is the memory of a layer's parameters, so that what an optimiser of SciPy tries
is written there and the network computes with it. Second-order methods pay where the data is one
batch and the loss is exact; the script lets Adam take as many gradients and prints both.

What is to be learned is a system that the network never sees, only what goes in and comes out:

    y_{t+1} = y_t / (1 + y_t²) + u_t³

(K. S. Narendra and K. Parthasarathy, "Identification and control of dynamical systems using neural
networks", IEEE Transactions on Neural Networks 1(1), 1990).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize

import numba_rnn as nr


def system(rng: np.random.Generator, steps: int, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Drive the system at random: u and y, both (L, N, 1)."""
    u = rng.uniform(-1, 1, (steps, samples, 1))
    y = np.zeros((steps + 1, samples, 1))
    for t in range(steps):
        y[t + 1] = y[t] / (1 + y[t] ** 2) + u[t] ** 3
    return u, y[1:]


class Loss:
    """Mean squared error of a network over one batch, as a function of all its parameters."""

    def __init__(self, rnn: nr.RNN, readout: nr.Linear, x: np.ndarray, y: np.ndarray) -> None:
        self.rnn, self.readout, self.x, self.y = rnn, readout, x, y
        self.split = rnn.flat_parameters.size
        self.calls = 0

    @property
    def parameters(self) -> np.ndarray:
        """Those of both layers, one after the other, shape (P,)."""
        return np.concatenate([self.rnn.flat_parameters, self.readout.flat_parameters])

    @parameters.setter
    def parameters(self, values: np.ndarray) -> None:
        self.rnn.flat_parameters[:] = values[: self.split]
        self.readout.flat_parameters[:] = values[self.split :]

    def __call__(self, values: np.ndarray) -> tuple[float, np.ndarray]:
        """Loss and its gradient, shape (P,)."""
        self.calls += 1
        self.parameters = values
        hidden = self.rnn.forward(self.x)
        prediction = self.readout.forward(hidden.output)  # every step has one
        loss, slope = nr.losses.mse(prediction.output, self.y)
        d_readout = prediction.backward(slope)
        d_rnn = hidden.backward(d_readout.input)
        return loss, np.concatenate([d_rnn.flat, d_readout.flat])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the example; the exit status is 1 if L-BFGS was not better than Adam."""
    parser = argparse.ArgumentParser(description="Fit an RNN with SciPy's L-BFGS.")
    parser.add_argument("--iterations", type=int, default=400, help="of L-BFGS (400)")
    parser.add_argument("--seed", type=int, default=0, help="of data and initial parameters (0)")
    args = parser.parse_args(argv)

    rng = np.random.default_rng(args.seed)
    x, y = system(rng, steps=100, samples=20)
    new_x, new_y = system(rng, steps=100, samples=20)
    # Double precision: the line search compares losses that are nearly equal.
    rnn = nr.RNN(input_size=1, hidden_size=16, dtype=np.float64, rng=rng)
    readout = nr.Linear(16, 1, dtype=np.float64, rng=rng)
    loss = Loss(rnn, readout, x, y)
    start = loss.parameters

    def report(name: str) -> float:
        error = float(np.sqrt(np.mean((readout(rnn(new_x)[0]) - new_y) ** 2)))
        print(f"{name:<8} RMSE on new data {error:.4f}, after {loss.calls} gradients")
        return error

    print(f"{len(start)} parameters; the output of the system has RMS {np.std(new_y):.4f}")
    limits = {"maxiter": args.iterations, "maxfun": 10 * args.iterations}
    result = minimize(loss, start, jac=True, method="L-BFGS-B", options=limits)
    loss.parameters = result.x  # the best, which need not be the last that was tried
    quasi_newton = report("L-BFGS")

    gradients, loss.calls = loss.calls, 0
    parameters = start.copy()
    adam = nr.optim.Adam(parameters, lr=1e-2)
    for _ in range(gradients):
        adam.step(loss(parameters)[1])
    loss.parameters = parameters
    return int(quasi_newton >= report("Adam"))


if __name__ == "__main__":
    raise SystemExit(main())
