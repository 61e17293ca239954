"""The RNN: inference, training, variable lengths, stacks, float64."""

from __future__ import annotations

import numpy as np

import numba_rnn as nr

from .common import SIZES, arrays, layer


class Forward:
    """Inference, `rnn(x)`."""

    param_names = ("size", "dtype")
    params = (SIZES, ["float32"])

    def setup(self, size, dtype):
        """Make the layer and run it once."""
        self.rnn = layer(size, dtype)
        self.x, _ = arrays(size, dtype)
        self.time_forward(size, dtype)

    def time_forward(self, size, dtype):
        self.rnn(self.x)


class Training:
    """Forward, and all gradients."""

    param_names = ("size", "dtype")
    params = (SIZES, ["float32"])

    def setup(self, size, dtype):
        """Make the layer, run it forward and backward once and keep the tape."""
        self.rnn = layer(size, dtype)
        self.x, self.g = arrays(size, dtype)
        self.tape = self.rnn.forward(self.x)
        self.tape.backward(self.g)

    def time_training_step(self, size, dtype):
        self.rnn.forward(self.x).backward(self.g)

    def time_backward(self, size, dtype):
        self.tape.backward(self.g)


class ForwardFloat64(Forward):
    """Inference in double precision."""

    params = (SIZES[::3], ["float64"])


class TrainingFloat64(Training):
    """Training in double precision."""

    params = (SIZES[::3], ["float64"])


class Stacked:
    """Two layers, both directions, tanh and ReLU."""

    param_names = ("nonlinearity",)
    params = (["tanh", "relu"],)
    size = (80, 32, 16, 64)

    def setup(self, nonlinearity):
        """Make the layers and train them once."""
        self.rnn = layer(self.size, num_layers=2, bidirectional=True, nonlinearity=nonlinearity)
        self.x, self.g = arrays(self.size, directions=2)
        self.time_training_step(nonlinearity)

    def time_forward(self, nonlinearity):
        self.rnn(self.x)

    def time_training_step(self, nonlinearity):
        self.rnn.forward(self.x).backward(self.g)


class Lengths:
    """Lengths uniform in L/4..L, against the same array without lengths."""

    param_names = ("layout", "size")
    params = (["padded", "lengths", "packed"], [(100, 32, 8, 64), (100, 64, 32, 128)])

    def setup(self, layout, size):
        """Make the layer and its input in the layout; train once."""
        self.rnn = layer(size)
        self.x, self.g = arrays(size)
        steps, samples = size[:2]
        lengths = np.random.default_rng(0).integers(steps // 4, steps, samples, endpoint=True)
        self.lengths = lengths if layout == "lengths" else None
        if layout == "packed":
            self.x, self.g = (
                nr.pack_padded_sequence(a, lengths, enforce_sorted=False) for a in (self.x, self.g)
            )
        self.time_training_step(layout, size)

    def time_forward(self, layout, size):
        self.rnn(self.x, lengths=self.lengths)

    def time_training_step(self, layout, size):
        self.rnn.forward(self.x, lengths=self.lengths).backward(self.g)
