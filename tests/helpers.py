"""One call compares a layer with the textbook, or with torch: output, h_n and every gradient."""

import numpy as np

import numba_rnn as nr
from numba_rnn import reference

TOLERANCE = {np.dtype(np.float32): 2e-5, np.dtype(np.float64): 1e-11}


def error(a, b):
    """max|a - b| / max(1, max|b|); NaN where either holds one."""
    return np.max(np.abs(a - b), initial=0) / np.max(np.abs(b), initial=1)


def assert_close(ours, theirs, tolerance=None, name=""):
    assert ours.shape == theirs.shape, name
    wrong = error(ours.astype(np.float64), theirs)
    assert wrong <= (TOLERANCE[ours.dtype] if tolerance is None else tolerance), (name, wrong)


def assert_same_bits(ours, theirs, name=""):
    """Arrays, packed sequences, dicts and lists of them: the very same numbers."""
    if isinstance(ours, nr.PackedSequence):
        for field in nr.PackedSequence._fields:
            assert_same_bits(getattr(ours, field), getattr(theirs, field), f"{name}.{field}")
    elif isinstance(ours, dict):
        assert list(ours) == list(theirs), name
        for key in ours:
            assert_same_bits(ours[key], theirs[key], f"{name}.{key}")
    elif isinstance(ours, (list, tuple)):
        for k, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            assert_same_bits(a, b, f"{name}[{k}]")
    elif ours is None:
        assert theirs is None, name
    else:
        assert ours.dtype == theirs.dtype, name
        np.testing.assert_array_equal(ours, theirs, err_msg=name)


def gradients(grads):
    """Return all that is in Gradients, by name."""
    names = ("input", "h_0", "flat", "states", "parameters")
    return {name: getattr(grads, name) for name in names}


def normal(shape, dtype=np.float64, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def example(rnn, kind, L, N, seed=0):
    """Input of a layer, kind being padded, lengths, packed or unbatched: x, h_0, lengths.

    Lengths are unsorted, from 1 to L; what lies beyond them is NaN.
    """
    I, H, states = rnn.input_size, rnn.hidden_size, rnn.num_layers * (1 + rnn.bidirectional)
    if kind == "unbatched":
        return normal((L, I), rnn.dtype, seed), normal((states, H), rnn.dtype, seed + 1), None
    x = normal((L, N, I), rnn.dtype, seed)
    h_0 = normal((states, N, H), rnn.dtype, seed + 1)
    lengths = np.random.default_rng(seed).integers(min(1, L), L + 1, N)
    if kind == "packed":
        return nr.pack_padded_sequence(x, lengths, enforce_sorted=False), h_0, None
    if kind == "lengths":
        x[np.arange(L)[:, None] >= lengths] = np.nan
    x = np.ascontiguousarray(x.swapaxes(0, 1)) if rnn.batch_first else x
    return x, h_0, lengths if kind == "lengths" else None


class Question:
    """A call and the gradients that come into it, in the layout of the textbook: (L, N, .)."""

    def __init__(self, rnn, x, h_0, lengths):
        self.rnn, self.x_as_given, self.h_0_as_given = rnn, x, h_0
        self.packed = isinstance(x, nr.PackedSequence)
        self.unbatched = not self.packed and x.ndim == 2
        self.lengths = nr.pad_packed_sequence(x)[1] if self.packed else lengths
        self.x = self.padded(x)
        states = rnn.num_layers * (1 + rnn.bidirectional)
        shape = (states, self.x.shape[1], rnn.hidden_size)
        self.h_0 = np.zeros(shape, rnn.dtype) if h_0 is None else self.batched(h_0)

    def padded(self, array):
        """What is laid out as x, padded and time-major."""
        if self.packed:
            data = getattr(array, "data", array) if isinstance(array, tuple) else array
            return nr.pad_packed_sequence(self.x_as_given._replace(data=data))[0]
        if self.unbatched:
            return array[:, None]
        return array.swapaxes(0, 1) if self.rnn.batch_first else array

    def batched(self, state):
        return state[:, None] if self.unbatched else state

    def states(self, states):
        """grads.states, as (num_layers·D, L, N, H)."""
        if self.packed:
            return np.stack([self.padded(rows) for rows in states])
        return states[:, :, None] if self.unbatched else states


def from_textbook(q, grad_output, grad_h_n, masks=None):
    """What reference.py answers, computed in float64."""
    rnn = q.rnn
    options = {
        "num_layers": rnn.num_layers,
        "bidirectional": rnn.bidirectional,
        "nonlinearity": rnn.nonlinearity,
        "lengths": q.lengths,
        "masks": masks,
    }
    x, h_0, grad_output, grad_h_n = (
        a.astype(np.float64) for a in (q.x, q.h_0, grad_output, grad_h_n)
    )
    parameters = {name: p.astype(np.float64) for name, p in rnn.parameters.items()}
    output, h_n, layer_outputs = reference.rnn_forward(x, h_0, parameters, **options)
    answer = reference.rnn_backward(grad_output, grad_h_n, x, h_0, parameters, **options)
    return {"output": output, "h_n": h_n, "layer_outputs": layer_outputs, **answer}


def from_torch(torch, q, grad_output, grad_h_n):
    """What torch.nn.RNN answers."""
    rnn = q.rnn
    layer = torch.nn.RNN(
        rnn.input_size, rnn.hidden_size, rnn.num_layers, rnn.nonlinearity, rnn.bias,
        bidirectional=rnn.bidirectional, dtype=getattr(torch, rnn.dtype.name),
    )  # fmt: skip
    layer.load_state_dict({name: torch.tensor(p) for name, p in rnn.parameters.items()})
    x, h_0 = (torch.tensor(a, requires_grad=True) for a in (q.x, q.h_0))
    if q.lengths is None:
        output, h_n = layer(x, h_0)
    else:
        utils = torch.nn.utils.rnn
        lengths = torch.tensor(np.asarray(q.lengths))
        packed = utils.pack_padded_sequence(x, lengths, enforce_sorted=False)
        output, h_n = layer(packed, h_0)
        output, _ = utils.pad_packed_sequence(output, total_length=len(x))
    grads = [torch.tensor(np.nan_to_num(g)) for g in (grad_output, grad_h_n)]
    torch.autograd.backward([output, h_n], grads)
    return {
        "output": output.detach().numpy(),
        "h_n": h_n.detach().numpy(),
        "input": x.grad.numpy(),
        "h_0": h_0.grad.numpy(),
        "parameters": {name: p.grad.numpy() for name, p in layer.named_parameters()},
    }


def check(rnn, x, h_0=None, lengths=None, *, torch=None, masks=None, seed=0):
    """Compare output, h_n and every gradient with the textbook or, where it is given, torch.

    Parameters
    ----------
    rnn, x, h_0, lengths
        The call.
    torch : module, optional
    masks : list of ndarray, optional
        Dropout masks in the layout of x, where dropout acts.

    Returns
    -------
    tape, grads
    """
    q = Question(rnn, x, h_0, lengths)
    data = x.data if q.packed else x
    untouched = data.copy()
    tape = rnn.forward(x, h_0, lengths=lengths)
    tape_data = tape.output.data if q.packed else tape.output
    grad_output = normal(tape_data.shape, rnn.dtype, seed + 2)
    if lengths is not None:  # padding must not be read
        by_step = grad_output.swapaxes(0, 1) if rnn.batch_first else grad_output
        by_step[np.arange(len(by_step))[:, None] >= np.asarray(lengths)] = np.nan
    grad_h_n = normal(tape.h_n.shape, rnn.dtype, seed + 3)
    grads = tape.backward(grad_output, grad_h_n, state_gradients=True)
    np.testing.assert_array_equal(data, untouched)

    # Shapes and types as promised, and what is one in memory is one.
    width = rnn.hidden_size * (1 + rnn.bidirectional)
    assert tape_data.shape == (*data.shape[:-1], width)
    assert isinstance(tape.output, nr.PackedSequence) == q.packed
    assert isinstance(grads.input, nr.PackedSequence) == q.packed
    assert len(tape.layer_outputs) == rnn.num_layers
    assert [a.shape for a in tape.layer_outputs] == [tape_data.shape] * rnn.num_layers
    assert grads.states.shape == (len(q.h_0), *data.shape[:-1], rnn.hidden_size) or (
        rnn.batch_first and grads.states.shape == (len(q.h_0), *q.x.shape[:2], rnn.hidden_size)
    )
    assert list(grads.parameters) == list(rnn.parameters)
    np.testing.assert_array_equal(
        np.concatenate([g.ravel() for g in grads.parameters.values()]), grads.flat
    )
    if masks is None:  # without dropout every call gives the same
        assert_same_bits(rnn(x, h_0, lengths=lengths), tuple(tape))

    ours = {
        "output": q.padded(tape.output),
        "h_n": q.batched(tape.h_n),
        "layer_outputs": [q.padded(a) for a in tape.layer_outputs],
        "input": q.padded(grads.input),
        "h_0": q.batched(grads.h_0),
        "parameters": grads.parameters,
        "states": q.states(grads.states),
    }
    question = (q, q.padded(grad_output), q.batched(grad_h_n))
    if torch is None:
        if masks is not None:
            masks = [q.padded(mask) for mask in masks]
        theirs = from_textbook(*question, masks)
    else:
        theirs = from_torch(torch, *question)
    for name, expected in theirs.items():
        if isinstance(expected, np.ndarray):
            assert_close(ours[name], expected, name=name)
        elif isinstance(expected, dict):
            assert list(ours[name]) == list(expected)
            for key, value in expected.items():
                assert_close(ours[name][key], value, name=key)
        else:
            for layer, value in enumerate(expected):
                assert_close(ours[name][layer], value, name=f"{name}[{layer}]")
    return tape, grads


def forecaster(horizon, **options):
    """Return an RNNForecaster; parameters that it doesn't have go to its regressor."""
    from numba_rnn.estimators import RNNForecaster, window_regressor

    own = {
        name: options.pop(name)
        for name in RNNForecaster(1).get_params(deep=False).keys() & options.keys()
    }
    regressor = window_regressor(**options) if options else None
    return RNNForecaster(horizon, **{"regressor": regressor} | own)
