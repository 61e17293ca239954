"""A layer on the GPU that is spoken to in NumPy arrays, so that the CPU's tests can ask it."""

from types import SimpleNamespace

import numpy as np
from numba import cuda

import numba_rnn as nr


def to_gpu(value):
    """A copy on the GPU, of an array or the data of a packed sequence."""
    if isinstance(value, nr.PackedSequence):
        return value._replace(data=to_gpu(value.data))
    return None if value is None else cuda.to_device(np.asarray(value, order="C"))


def to_cpu(value):
    """A copy on the host of all arrays in a value."""
    if isinstance(value, nr.PackedSequence):
        return value._replace(data=to_cpu(value.data))
    if isinstance(value, dict):
        return {name: to_cpu(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(to_cpu, value))
    assert not isinstance(value, np.ndarray), "this should be on the GPU"
    return None if value is None else value.copy_to_host()


class Shuttle:
    """Copies arrays to a kind by `to`, and back by `of`, where they must be of one of `kinds`."""

    def __init__(self, to, kinds, of):
        self.to, self.kinds, self.of = to, kinds, of

    def there(self, value):
        if isinstance(value, nr.PackedSequence):
            return value._replace(data=self.there(value.data))
        return None if value is None else self.to(np.array(value, order="C"))

    def back(self, value):
        if isinstance(value, nr.PackedSequence):
            return value._replace(data=self.back(value.data))
        if isinstance(value, dict):
            return {name: self.back(entry) for name, entry in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(map(self.back, value))
        if value is None:
            return None
        assert type(value) in self.kinds, (type(value), self.kinds)
        return self.of(value)


class OnGpu:
    """An RNN; what goes in and comes out is copied, and x must come back as it was."""

    def __init__(self, rnn, there=to_gpu, back=to_cpu):
        self.rnn, self.there, self.back = rnn.to("cuda"), there, back

    def __getattr__(self, name):
        return getattr(self.rnn, name)

    @property
    def parameters(self):
        return self.rnn.state_dict()

    def __call__(self, x, h_0=None, *, lengths=None):
        return self.back(self.rnn(self.there(x), self.there(h_0), lengths=lengths))

    def forward(self, x, h_0=None, *, lengths=None):
        given = self.there(x)
        tape = self.rnn.forward(given, self.there(h_0), lengths=lengths)

        def backward(grad_output=None, grad_h_n=None, *, state_gradients=False):
            grads = tape.backward(
                self.there(grad_output), self.there(grad_h_n), state_gradients=state_gradients
            )
            after = self.back(given)
            np.testing.assert_array_equal(getattr(after, "data", after), getattr(x, "data", x))
            names = ("input", "h_0", "flat", "states", "parameters")
            return SimpleNamespace(**{name: self.back(getattr(grads, name)) for name in names})

        found = (tape.output, tape.h_n, tape.layer_outputs)
        return _Tape(*self.back(found), backward)


class _Tape:
    def __init__(self, output, h_n, layer_outputs, backward):
        self.output, self.h_n, self.layer_outputs = output, h_n, layer_outputs
        self.backward = backward

    def __iter__(self):
        return iter((self.output, self.h_n))
