"""Streams: a step at a time, with the bits of the whole sequence."""

import copy
import pickle
import threading

import numpy as np
import pytest

import numba_rnn as nr


def sequence(L, N, I, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).standard_normal((L, N, I)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize(
    ("N", "I", "H", "num_layers", "bias"),
    [(1, 8, 64, 1, True), (1, 1, 1, 2, False), (3, 5, 33, 3, True), (17, 20, 7, 2, True)],
)
def test_steps_have_the_bits_of_the_sequence(N, I, H, num_layers, bias, nonlinearity, dtype):
    rnn = nr.RNN(I, H, num_layers, nonlinearity, bias, dtype=dtype, rng=1)
    x = sequence(6, N, I, dtype)
    h_0 = sequence(num_layers, N, H, dtype, seed=1)
    expected, h_n = rnn(x, h_0)
    stream = rnn.stream(N, h_0)
    np.testing.assert_array_equal([stream.step(x_t) for x_t in x], expected)
    np.testing.assert_array_equal(stream.state, h_n)
    stream.reset()
    np.testing.assert_array_equal([stream.step(x_t) for x_t in x], rnn(x)[0])


def test_large_layers_too():
    """Those whose steps are shared by threads, and whose packed weights are large."""
    rnn = nr.RNN(64, 600, 2, rng=1)
    x = sequence(4, 2, 64)
    stream = rnn.stream(2)
    np.testing.assert_array_equal([stream.step(x_t) for x_t in x], rnn(x)[0])


@pytest.mark.parametrize("N", [1000, 6000])
def test_many_sequences(N):
    """What a step is told of its batch stays in memory, whatever else is computed meanwhile."""
    rnn, other = nr.RNN(2, 3, rng=0), nr.RNN(1, 2, rng=0)
    x = sequence(3, N, 2)
    expected, stream = rnn(x)[0], rnn.stream(N)
    for k, x_t in enumerate(x):
        for L in range(1, 40):
            other(np.zeros((L, 1, 1), np.float32))
        np.testing.assert_array_equal(stream.step(x_t), expected[k])


def test_one_sequence_has_no_axis():
    rnn = nr.RNN(3, 5, 2, rng=0)
    x = sequence(4, 1, 3)[:, 0]
    stream = rnn.stream()
    outputs = [stream.step(x_t) for x_t in x]
    np.testing.assert_array_equal(outputs, rnn(x)[0])
    assert outputs[0].shape == (5,)
    np.testing.assert_array_equal(stream.state, rnn(x)[1])
    assert stream.state.shape == (2, 5)


def test_out():
    """A result goes to where it is asked for, and those before stay as they were."""
    rnn, x = nr.RNN(3, 5, rng=0), sequence(2, 2, 3)
    expected = rnn(x)[0]
    stream, out = rnn.stream(2), np.empty((2, 5), np.float32)
    first = stream.step(x[0])
    assert stream.step(x[1], out) is out
    np.testing.assert_array_equal(first, expected[0])
    np.testing.assert_array_equal(out, expected[1])


def test_input_of_every_kind():
    """Read-only, in another order, unaligned: the same bits, and the input as it was."""
    rnn, x = nr.RNN(3, 5, rng=0), sequence(1, 4, 3)[0]
    expected = rnn.stream(4).step(x)
    fixed = x.copy()
    fixed.flags.writeable = False
    shifted = np.frombuffer(b"0" + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(x.shape)
    for other in (fixed, np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2], shifted):
        before = other.copy()
        np.testing.assert_array_equal(rnn.stream(4).step(other), expected)
        np.testing.assert_array_equal(other, before)


def test_the_state_is_saved_and_restored():
    rnn, x = nr.RNN(3, 5, 2, rng=0), sequence(6, 2, 3)
    stream = rnn.stream(2)
    for x_t in x[:2]:
        stream.step(x_t)
    saved = stream.state
    kept = saved.copy()
    after = [stream.step(x_t) for x_t in x[2:]]
    np.testing.assert_array_equal(saved, kept)  # a copy of its own
    stream.state = saved
    saved[:] = 0
    np.testing.assert_array_equal([stream.step(x_t) for x_t in x[2:]], after)


@pytest.mark.parametrize(
    "twin", [copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))]
)
def test_copies_go_on_alone(twin):
    rnn, x = nr.RNN(3, 5, 2, rng=0), sequence(3, 2, 3)
    expected = rnn(x)[0]
    stream = rnn.stream(2)
    stream.step(x[0])
    other = twin(stream)
    np.testing.assert_array_equal(stream.step(x[1]), expected[1])
    np.testing.assert_array_equal(other.step(x[1]), expected[1])
    stream.reset()
    np.testing.assert_array_equal(other.step(x[2]), expected[2])


def test_parameters_are_those_of_then():
    rnn, x = nr.RNN(3, 5, rng=0), sequence(2, 1, 3)
    expected = rnn(x)[0]
    stream = rnn.stream(1)
    rnn.flat_parameters[:] = 0
    np.testing.assert_array_equal([stream.step(x_t) for x_t in x], expected)


def test_dropout_does_not_act():
    rnn, x = nr.RNN(3, 5, 2, dropout=0.9, rng=0), sequence(2, 1, 3)
    stream = rnn.stream(1)
    np.testing.assert_array_equal([stream.step(x_t) for x_t in x], rnn.eval()(x)[0])


def test_streams_in_threads():
    """Each goes its own way, whatever the others do."""
    rnn = nr.RNN(4, 40, 2, rng=0)
    x = [sequence(200, 1, 4, seed=k) for k in range(8)]
    expected = [rnn(part)[0] for part in x]
    found = {}

    def work(k):
        stream = rnn.stream(1)
        found[k] = [stream.step(x_t) for x_t in x[k]]

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k in range(8):
        np.testing.assert_array_equal(found[k], expected[k])


def test_two_threads_in_one_stream_are_refused():
    stream, x_t = nr.RNN(2, 3, rng=0).stream(), np.ones(2, np.float32)
    inside, done = threading.Event(), threading.Event()

    def stay():  # as a thread does in the middle of a step
        with stream._alone():
            inside.set()
            done.wait()

    thread = threading.Thread(target=stay)
    thread.start()
    inside.wait()
    for call in (lambda: stream.step(x_t), stream.reset, lambda: stream.state):
        with pytest.raises(RuntimeError, match="another thread"):
            call()
    done.set()
    thread.join()
    stream.step(x_t)


def test_bad_input_leaves_the_state_alone():
    rnn, x = nr.RNN(3, 5, rng=0), sequence(2, 2, 3)
    stream = rnn.stream(2)
    stream.step(x[0])
    before = stream.state
    read_only = np.empty((2, 5), np.float32)
    read_only.flags.writeable = False
    for error, match, call in (
        (ValueError, r"x_t must have shape \(2, 3\)", lambda: stream.step(x[0, 0])),
        (TypeError, "x_t must be of dtype float32", lambda: stream.step(x[0].astype(np.float64))),
        (TypeError, "x_t must be a NumPy array", lambda: stream.step([[1, 2, 3], [4, 5, 6]])),
        (ValueError, "out must have shape", lambda: stream.step(x[1], np.empty(5, np.float32))),
        (ValueError, "out must be writeable", lambda: stream.step(x[1], read_only)),
        (ValueError, "h_0 must have shape", lambda: stream.reset(x[0])),
        (TypeError, "state must be of dtype", lambda: setattr(stream, "state", before.astype(int))),
        (ValueError, "batch_size must be", lambda: rnn.stream(0)),
        (TypeError, "batch_size must be", lambda: rnn.stream(1.5)),
        (ValueError, "bidirectional=False", lambda: nr.RNN(2, 3, bidirectional=True).stream()),
    ):
        with pytest.raises(error, match=match):
            call()
        np.testing.assert_array_equal(stream.state, before)
    np.testing.assert_array_equal(stream.step(x[1]), rnn(x)[0][1])


def test_an_interrupted_step_was_none(monkeypatch):
    rnn, x = nr.RNN(3, 5, 2, rng=0), sequence(2, 2, 3)
    stream = rnn.stream(2)
    stream.step(x[0])
    steps = stream._steps[1]
    kept, steps[1] = steps[1], (lambda *_: exec("raise KeyboardInterrupt"), *steps[1][1:])
    with pytest.raises(KeyboardInterrupt):
        stream.step(x[1])
    steps[1] = kept
    np.testing.assert_array_equal(stream.step(x[1]), rnn(x)[0][1])
