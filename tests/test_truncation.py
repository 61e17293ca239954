"""Truncated backpropagation, and the gradient of every sample by itself."""

import copy
import itertools

import numpy as np
import pytest
from helpers import Question, assert_close, assert_same_bits, example, gradients, normal

import numba_rnn as nr

KINDS = ["padded", "lengths", "packed", "unbatched"]


def layer(**options):
    return nr.RNN(3, 4, **{"num_layers": 2, "dtype": np.float64, "rng": 0} | options)


def asked(rnn, kind, L=11, N=4):
    """A tape, the gradients that come into it, and the same time-major: x, lengths, grads."""
    x, h_0, lengths = example(rnn, kind, L, N)
    if kind == "lengths":
        lengths[1] = 0
    tape = rnn.forward(x, h_0, lengths=lengths)
    output = tape.output.data if kind == "packed" else tape.output
    incoming = normal(output.shape, rnn.dtype, 5), normal(tape.h_n.shape, rnn.dtype, 6)
    q = Question(rnn, x, h_0, lengths)
    return tape, incoming, q


def one_by_one(rnn, q, incoming, windows):
    """The truncated gradient of a layer with one direction: a call for each sample and window."""
    k1, k2 = windows
    grad_output, grad_h_n = q.padded(incoming[0]), q.batched(incoming[1])
    L, N, _ = q.x.shape
    lengths = np.full(N, L) if q.lengths is None else np.asarray(q.lengths)
    dx, dh_0, samples = np.zeros_like(q.x), np.zeros_like(q.h_0), []
    for n, length in enumerate(lengths):
        x, g, last = q.x[:length, n], grad_output[:length, n], grad_h_n[:, n]
        states = [q.h_0[:, n]]  # the states before each step
        for t in range(length):
            states.append(rnn(x[t : t + 1], states[-1])[1])
        flat = np.zeros(rnn.flat_parameters.size)
        chunks = [0] if length <= k2 else range(0, length, k1)
        for chunk in chunks:
            stop = length if length <= k2 else min(chunk + k1, length)
            start = 0 if length <= k2 else max(0, chunk + k1 - k2)
            seen = g[start:stop].copy()
            seen[: chunk - start] = 0
            tape = rnn.forward(x[start:stop], np.ascontiguousarray(states[start]))
            end = last if stop == length else np.zeros_like(last)
            grads = tape.backward(seen, np.ascontiguousarray(end))
            dx[start:stop, n] += grads.input
            flat += grads.flat
            if start == 0:
                dh_0[:, n] += grads.h_0
        samples.append(flat)
    return dx, dh_0, np.array(samples)


@pytest.mark.parametrize("windows", [(1, 1), (3, 3), (2, 5), (4, 10), (1, 10), (4, 6), (5, 11)])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch_first", [False, True])
def test_windows_one_by_one(kind, windows, batch_first):
    rnn = layer(batch_first=batch_first, nonlinearity="relu" if batch_first else "tanh")
    tape, incoming, q = asked(rnn, kind)
    grads = tape.backward(*incoming, truncation=windows, per_sample=True)
    dx, dh_0, samples = one_by_one(layer(nonlinearity=rnn.nonlinearity), q, incoming, windows)
    assert_close(q.padded(grads.input), dx)
    assert_close(q.batched(grads.h_0), dh_0)
    assert_close(grads.flat, samples.sum(axis=0))
    assert_close(grads.samples, samples)
    if windows[0] == windows[1]:
        assert_same_bits(
            gradients(grads), gradients(tape.backward(*incoming, truncation=windows[0]))
        )


@pytest.mark.parametrize("windows", [(2, 2), (2, 5)])
def test_a_reverse_direction_counts_from_its_own_end(windows):
    """The reverse half of a layer is a layer that reads each sequence turned round."""
    both = layer(num_layers=1, bidirectional=True)
    tape, incoming, q = asked(both, "lengths")
    grads = tape.backward(*incoming, truncation=windows, state_gradients=True, per_sample=True)
    total, states, samples = 0, [], []
    t, n = np.arange(len(q.x))[:, None], np.arange(q.x.shape[1])
    real = t < q.lengths
    for d in (0, 1):
        one = layer(num_layers=1)
        for name in one.parameters:
            setattr(one, name, both.parameters[name + "_reverse" * d])
        at = np.where(real, q.lengths - 1 - t if d else t, t)
        alone = one.forward(q.x[at, n], q.h_0[d : d + 1], lengths=q.lengths)
        half = incoming[0][:, :, d * 4 : d * 4 + 4][at, n]
        answer = alone.backward(
            half, incoming[1][d : d + 1], truncation=windows, state_gradients=True, per_sample=True
        )
        total = total + answer.input[at, n]
        states.append(answer.states[0][at, n])
        samples.append(answer.samples)
        assert_close(grads.h_0[d], answer.h_0[0])
        for name, value in answer.parameters.items():
            assert_close(grads.parameters[name + "_reverse" * d], value)
    assert_close(grads.input, total)
    assert_close(grads.states, np.array(states))
    assert_close(grads.samples, np.concatenate(samples, axis=1))


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("lengths", [None, [7, 0, 4, 6]])
def test_same_as_detaching(torch, bidirectional, lengths):
    """torch, cell by cell, the state detached after every third step of each direction."""
    rnn = layer(bidirectional=bidirectional, num_layers=3)
    x, h_0, _ = example(rnn, "padded", 7, 4)
    tape = rnn.forward(x, h_0, lengths=lengths)
    incoming = normal(tape.output.shape, seed=5), normal(tape.h_n.shape, seed=6)
    grads = tape.backward(*incoming, truncation=3, per_sample=True)
    p = {name: torch.tensor(value, requires_grad=True) for name, value in rnn.parameters.items()}
    at = torch.tensor(x, requires_grad=True)
    h_init = torch.tensor(h_0, requires_grad=True)
    loss = 0
    for n, length in enumerate(lengths or [7] * 4):
        inputs = [at[t, n] for t in range(length)]
        for k in range(3):
            outputs = [[None] * length for _ in range(1 + bidirectional)]
            for d, states in enumerate(outputs):
                end, h = f"_l{k}" + "_reverse" * d, h_init[k * (1 + bidirectional) + d, n]
                for s in range(length):
                    t = length - 1 - s if d else s
                    h = h.detach() if s and s % 3 == 0 else h
                    a = p["weight_ih" + end] @ inputs[t] + p["bias_ih" + end]
                    h = states[t] = torch.tanh(a + p["weight_hh" + end] @ h + p["bias_hh" + end])
                loss = loss + h @ torch.tensor(incoming[1][k * (1 + bidirectional) + d, n])
            inputs = [torch.cat(at_t) for at_t in zip(*outputs, strict=True)]
        for t, y in enumerate(inputs):
            loss = loss + y @ torch.tensor(incoming[0][t, n])
    loss.backward()
    assert_close(grads.input, at.grad.numpy())
    assert_close(grads.h_0, h_init.grad.numpy())
    for name, value in p.items():
        assert_close(grads.parameters[name], value.grad.numpy())


def test_a_stack_with_two_directions_is_truncated_layer_by_layer():
    rnn = layer(bidirectional=True, dropout=0.4)
    tape, incoming, _ = asked(rnn, "lengths")
    grads = tape.backward(*incoming, truncation=(2, 4))
    mask = tape._pass.backend.dropout(np.ones((44, 8)), 0.4, tape._pass.key, 1).reshape(11, 4, 8)
    lower, upper = layer(num_layers=1, bidirectional=True), nr.RNN(
        8, 4, bidirectional=True, dtype=np.float64
    )  # fmt: skip
    for name, value in rnn.parameters.items():
        setattr(upper if "_l1" in name else lower, name.replace("_l1", "_l0"), value)
    h_0, lengths = tape._pass.h_0, Question(rnn, *example(rnn, "lengths", 11, 4)).lengths
    lengths[1] = 0
    low = lower.forward(tape._pass.x.reshape(11, 4, 3), h_0[:2], lengths=lengths)
    high = upper.forward(low.output * mask, h_0[2:], lengths=lengths)
    of_high = high.backward(incoming[0], incoming[1][2:], truncation=(2, 4))
    of_low = low.backward(of_high.input * mask, incoming[1][:2], truncation=(2, 4))
    assert_close(grads.flat, np.concatenate([of_low.flat, of_high.flat]))
    assert_close(grads.input, of_low.input)
    assert_close(grads.h_0, np.concatenate([of_low.h_0, of_high.h_0]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_window_as_long_as_the_sequence_is_the_whole_gradient(kind, bidirectional):
    tape, incoming, _ = asked(layer(bidirectional=bidirectional, dropout=0.3), kind)
    whole = gradients(tape.backward(*incoming, state_gradients=True))
    for truncation in (11, 50, (1, 11), (4, 11), (11, 12)):
        grads = tape.backward(*incoming, state_gradients=True, truncation=truncation)
        assert_same_bits(gradients(grads), whole)
    cut = tape.backward(*incoming, truncation=(1, 2))
    assert np.linalg.norm(cut.flat - whole["flat"]) > 0.01 * np.linalg.norm(whole["flat"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "options",
    [{}, {"bidirectional": True}, {"bias": False, "dropout": 0.3, "bidirectional": True}],
)
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_gradients_of_every_sample(kind, options, nonlinearity):
    rnn = layer(nonlinearity=nonlinearity, batch_first=kind == "lengths", **options)
    tape, (grad_output, grad_h_n), q = asked(rnn, kind)
    grads = tape.backward(grad_output, grad_h_n, per_sample=True)
    assert_same_bits(
        gradients(grads) | {"states": None}, gradients(tape.backward(grad_output, grad_h_n))
    )
    N = q.x.shape[1]
    assert grads.samples.shape == (N, grads.flat.size) and grads.states is None
    assert_close(grads.samples.sum(axis=0), grads.flat)
    assert list(grads.sample_parameters) == list(rnn.parameters)
    for name, value in grads.sample_parameters.items():
        assert value.shape == (N, *rnn.parameters[name].shape)
        assert np.shares_memory(value, grads.samples)
        assert_close(value.sum(axis=0), grads.parameters[name])
    for n in range(N):  # each one: nothing comes in from the others
        of_output = q.padded(grad_output).copy()
        of_output[:, np.arange(N) != n] = 0
        of_h_n = q.batched(grad_h_n) * (np.arange(N) == n)[:, None]
        if kind == "packed":
            _, lengths = nr.pad_packed_sequence(q.x_as_given)
            packed = nr.pack_padded_sequence(of_output, lengths, enforce_sorted=False)
            alone = tape.backward(packed, of_h_n)
        elif kind == "unbatched":
            alone = grads
        else:
            of_output = of_output.swapaxes(0, 1) if rnn.batch_first else of_output
            alone = tape.backward(of_output, of_h_n)
        assert_close(grads.samples[n], alone.flat)


@pytest.mark.parametrize("size", [(0, 3), (4, 0), (0, 0)])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_no_steps_and_no_samples(size, bidirectional):
    rnn = layer(bidirectional=bidirectional)
    tape = rnn.forward(np.zeros((*size, 3)))
    for options in ({}, {"truncation": 2}):
        grads = tape.backward(tape.output, np.ones_like(tape.h_n), per_sample=True, **options)
        assert grads.samples.shape == (size[1], rnn.flat_parameters.size)
        assert not grads.samples.any()


def test_float32_stays_float32():
    rnn = nr.RNN(3, 4, 2, bidirectional=True, rng=0)
    tape = rnn.forward(normal((6, 2, 3), np.float32))
    grads = tape.backward(tape.output, truncation=2, per_sample=True, state_gradients=True)
    for name in ("input", "h_0", "flat", "states", "samples"):
        assert getattr(grads, name).dtype == np.float32


@pytest.mark.parametrize(
    ("truncation", "error", "words"),
    [
        (0, ValueError, "truncation must be positive"),
        (-3, ValueError, "truncation must be positive"),
        ((2, 1), ValueError, r"truncation must be \(k1, k2\) with k2 >= k1, got tuple \(2, 1\)"),
        ((0, 1), ValueError, r"truncation\[0\] must be positive"),
        ((1, 2, 3), ValueError, r"truncation must be an int or two, \(k1, k2\)"),
        ((1,), ValueError, r"truncation must be an int or two"),
        (2.0, TypeError, "truncation must be an int, got float 2.0"),
        (True, TypeError, "truncation must be an int"),
        ((1, 2.5), TypeError, r"truncation\[1\] must be an int"),
        ("3", TypeError, "truncation must be an int"),
    ],
)
def test_bad_truncation(truncation, error, words):
    tape = layer().forward(np.zeros((4, 2, 3)))
    with pytest.raises(error, match=words):
        tape.backward(tape.output, truncation=truncation)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"truncation": 2}, "truncation=2"), ({"per_sample": True}, "per_sample=True")],
)
def test_on_a_gpu_they_are_refused(options, words):
    tape = layer().forward(np.zeros((4, 2, 3)))
    tape._form = copy.copy(tape._form)
    tape._form.place = "cuda:0"
    with pytest.raises(ValueError, match=rf"{words} takes a tape on the CPU.*\.to\(.cpu.\)"):
        tape.backward(tape.output, **options)


def test_per_sample_is_a_flag():
    tape = layer().forward(np.zeros((4, 2, 3)))
    with pytest.raises(TypeError, match="per_sample must be True or False"):
        tape.backward(tape.output, per_sample=1)
    assert tape.backward(tape.output).sample_parameters is None


def test_all_pairs_of_windows_agree_where_nothing_is_truncated():
    """The last window of a short sequence reaches its start, in whatever batch it is."""
    rnn, x = layer(num_layers=1), normal((9, 2, 3))
    for k1, k2 in itertools.product((1, 2, 3), (5, 6)):
        both = rnn.forward(x, lengths=[9, 5])
        alone = rnn.forward(x[:5, 1:])
        g = normal(both.output.shape, seed=4)
        ours = both.backward(g, truncation=(k1, k2), per_sample=True).samples[1]
        assert_close(ours, alone.backward(g[:5, 1:]).flat)
