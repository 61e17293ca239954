"""What is called step by step, or beside the RNN: cell, stream and linear layer."""

from __future__ import annotations

import numpy as np

import numba_rnn as nr


class Cell:
    """One step, as in streaming."""

    param_names = ("batch", "dtype")
    params = ([1, 32], ["float32", "float64"])

    def setup(self, batch, dtype):
        """Make the cell and run it once."""
        self.cell = nr.RNNCell(8, 64, dtype=dtype, rng=0)
        self.x, self.h = np.ones((batch, 8), dtype), np.zeros((batch, 64), dtype)
        self.time_training_step(batch, dtype)

    def time_step(self, batch, dtype):
        self.cell(self.x, self.h)

    def time_training_step(self, batch, dtype):
        self.cell.forward(self.x, self.h).backward(self.h)


class Stream:
    """One step, the state carried along."""

    param_names = ("batch", "num_layers")
    params = ([1, 32], [1, 3])

    def setup(self, batch, num_layers):
        """Make the stream and take a step."""
        self.stream = nr.RNN(8, 64, num_layers, rng=0).stream(batch)
        self.x = np.ones((batch, 8), np.float32)
        self.time_step(batch, num_layers)

    def time_step(self, batch, num_layers):
        self.stream.step(self.x)


class Linear:
    """The readout."""

    param_names = ("rows", "dtype")
    params = ([1, 6400], ["float32", "float64"])

    def setup(self, rows, dtype):
        """Make the layer and run it once."""
        self.linear = nr.Linear(128, 10, dtype=dtype, rng=0)
        self.x, self.g = np.ones((rows, 128), dtype), np.ones((rows, 10), dtype)
        self.time_training_step(rows, dtype)

    def time_forward(self, rows, dtype):
        self.linear(self.x)

    def time_training_step(self, rows, dtype):
        self.linear.forward(self.x).backward(self.g)
