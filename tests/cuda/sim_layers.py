"""In Numba's simulator, or on a GPU: every feature of the layers against the textbook, tiny shapes.

`test_cuda.py` runs this file in processes of its own.
"""

import copy
import pickle

import numpy as np
import pytest
from helpers import assert_close, check, example, normal
from numba import cuda
from on_gpu import OnGpu, to_cpu, to_gpu

import numba_rnn as nr
from numba_rnn import reference

F32, F64 = np.float32, np.float64

# Sizes I, H, L, N are odd and differ; each option meets both dtypes and both directions.
CASES = [
    ("padded", {}, F32),
    ("padded", {"bidirectional": True, "num_layers": 2}, F64),
    ("padded", {"batch_first": True, "num_layers": 2, "nonlinearity": "relu"}, F32),
    ("padded", {"batch_first": True, "bidirectional": True, "bias": False}, F64),
    ("lengths", {"num_layers": 2}, F64),
    ("lengths", {"bidirectional": True, "num_layers": 2, "nonlinearity": "relu"}, F32),
    ("lengths", {"batch_first": True, "bidirectional": True, "bias": False}, F32),
    ("packed", {"num_layers": 3}, F32),
    ("packed", {"bidirectional": True, "num_layers": 2, "bias": False}, F64),
    ("packed", {"nonlinearity": "relu", "bidirectional": True, "batch_first": True}, F32),
    ("unbatched", {"bidirectional": True, "num_layers": 2}, F32),
    ("unbatched", {"batch_first": True, "nonlinearity": "relu"}, F64),
]


@pytest.mark.parametrize(("kind", "options", "dtype"), CASES, ids=str)
def test_against_the_textbook(kind, options, dtype):
    rnn = OnGpu(nr.RNN(3, 5, dtype=dtype, rng=0, **options))
    x, h_0, lengths = example(rnn, kind, 4, 3)
    check(rnn, x, h_0, lengths)


@pytest.mark.parametrize("kind", ["padded", "lengths"])
def test_without_h_0(kind):
    rnn = OnGpu(nr.RNN(2, 3, 2, bidirectional=True, dtype=F64, rng=1))
    x, _, lengths = example(rnn, kind, 3, 2)
    check(rnn, x, None, lengths)


@pytest.mark.parametrize("lengths", [[0, 3, 0, 1], [0, 0, 0, 0], [3, 3, 3, 3]])
@pytest.mark.parametrize("batch_first", [False, True])
def test_lengths_of_zero(lengths, batch_first):
    rnn = OnGpu(nr.RNN(2, 3, 2, bidirectional=True, batch_first=batch_first, dtype=F64, rng=0))
    x, h_0, _ = example(rnn, "padded", 3, 4)
    check(rnn, x, h_0, lengths)


@pytest.mark.parametrize(("I", "H", "L", "N"), [(1, 1, 1, 1), (1, 9, 2, 1), (7, 2, 1, 5)])
def test_odd_sizes(I, H, L, N):
    rnn = OnGpu(nr.RNN(I, H, bidirectional=True, dtype=F64, rng=0))
    check(rnn, *example(rnn, "lengths", L, N))


@pytest.mark.parametrize(("L", "N"), [(0, 3), (3, 0), (0, 0)])
def test_nothing_to_do(L, N):
    rnn = OnGpu(nr.RNN(2, 3, 2, bidirectional=True, rng=0))
    x, h_0 = normal((L, N, 2), F32), normal((4, N, 3), F32)
    tape = rnn.forward(x, h_0)
    assert tape.output.shape == (L, N, 6)
    np.testing.assert_array_equal(tape.h_n, h_0)
    grads = tape.backward(tape.output, np.ones_like(h_0), state_gradients=True)
    assert grads.input.shape == x.shape and grads.states.shape == (4, L, N, 3)
    np.testing.assert_array_equal(grads.h_0, np.ones_like(h_0))
    assert not grads.flat.any()


def test_one_gradient_alone():
    rnn = nr.RNN(2, 3, 2, bidirectional=True, dtype=F64, rng=0).to("cuda")
    x, g, g_n = normal((3, 2, 2)), normal((3, 2, 6), seed=1), normal((4, 2, 3), seed=2)
    tape = rnn.forward(to_gpu(x))
    both, first, second = (
        tape.backward(to_gpu(a), to_gpu(b)) for a, b in ((g, g_n), (g, None), (None, g_n))
    )
    assert both.states is None
    for name in ("input", "h_0", "flat"):
        whole, a, b = (to_cpu(getattr(grads, name)) for grads in (both, first, second))
        assert_close(a + b, whole)
        assert np.abs(a).max() > 0 and np.abs(b).max() > 0


def test_dropout_has_the_masks_of_the_cpu():
    options = {"dropout": 0.4, "bidirectional": True, "dtype": F64}
    x, g = normal((4, 3, 2)), normal((4, 3, 6), seed=1)
    cpu, gpu = (nr.RNN(2, 3, 3, rng=5, **options) for _ in range(2))
    gpu.to("cuda")
    seen = []
    for call in range(3):
        if call == 2:
            cpu.eval(), gpu.eval()
        ours, theirs = gpu.forward(to_gpu(x), lengths=[4, 2, 1]), cpu.forward(x, lengths=[4, 2, 1])
        assert_close(to_cpu(ours.output), theirs.output)
        ours, theirs = ours.backward(to_gpu(g)), theirs.backward(g)
        for name in ("input", "h_0", "flat"):
            assert_close(to_cpu(getattr(ours, name)), getattr(theirs, name), name=name)
        seen.append(theirs.flat)
    assert not np.allclose(seen[0], seen[1]) and not np.allclose(seen[1], seen[2])


def test_a_tape_keeps_what_it_needs():
    """The layer may be trained on, and moved, before its tapes are played backward."""
    rnn = nr.RNN(2, 3, 2, dtype=F64, rng=0).to("cuda")
    h_0 = to_gpu(normal((2, 2, 3)))
    tape = rnn.forward(to_gpu(normal((3, 2, 2))), h_0)
    grad = to_gpu(normal((3, 2, 3)))
    before = to_cpu(tape.backward(grad).flat)
    h_0.copy_to_device(np.full((2, 2, 3), 7.0))
    rnn.flat_parameters = to_gpu(np.zeros(len(rnn.flat_parameters)))
    rnn.to("cpu")
    np.testing.assert_array_equal(to_cpu(tape.backward(grad).flat), before)


# --- the other layers -----------------------------------------------------------------------------


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("shape", [(3, 2), (2,)])
def test_cell(shape, nonlinearity):
    cell = nr.RNNCell(2, 4, nonlinearity=nonlinearity, dtype=F64, rng=0).to("cuda")
    x, h = normal(shape), normal((*shape[:-1], 4), seed=1)
    grad = normal(h.shape, seed=2)
    p = {f"{name}_l0": value for name, value in cell.state_dict().items()}
    question = (x.reshape(1, -1, 2), h.reshape(1, -1, 4), p)
    options = {"num_layers": 1, "bidirectional": False, "nonlinearity": nonlinearity}
    expected, _, _ = reference.rnn_forward(*question, **options)
    tape = cell.forward(to_gpu(x), to_gpu(h))
    assert_close(to_cpu(tape.h), expected.reshape(h.shape))
    np.testing.assert_array_equal(to_cpu(cell(to_gpu(x), to_gpu(h))), to_cpu(tape.h))
    grads = tape.backward(to_gpu(grad))
    answer = reference.rnn_backward(grad.reshape(1, -1, 4), 0 * question[1], *question, **options)
    assert_close(to_cpu(grads.input), answer["input"].reshape(shape))
    assert_close(to_cpu(grads.h), answer["h_0"].reshape(h.shape))
    for name, value in to_cpu(grads.parameters).items():
        assert_close(value, answer["parameters"][f"{name}_l0"], name=name)
    zero = cell(to_gpu(x), to_gpu(np.zeros_like(h)))
    np.testing.assert_array_equal(to_cpu(cell(to_gpu(x))), to_cpu(zero))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(3,), (4, 3), (2, 1, 5, 3), (0, 3)])
def test_linear(shape, bias):
    linear = nr.Linear(3, 2, bias, dtype=F64, rng=0).to("cuda")
    x, grad = normal(shape), normal((*shape[:-1], 2), seed=1)
    state = linear.state_dict()
    tape = linear.forward(to_gpu(x))
    assert_close(to_cpu(tape.output), x @ state["weight"].T + state.get("bias", 0))
    np.testing.assert_array_equal(to_cpu(linear(to_gpu(x))), to_cpu(tape.output))
    grads = tape.backward(to_gpu(grad))
    assert_close(to_cpu(grads.input), grad @ state["weight"])
    rows, grad_rows = x.reshape(-1, 3), grad.reshape(-1, 2)
    parameters = to_cpu(grads.parameters)
    assert_close(parameters["weight"], grad_rows.T @ rows)
    assert list(parameters) == list(state)
    if bias:
        assert_close(parameters["bias"], grad_rows.sum(0))


# --- parameters -----------------------------------------------------------------------------------


CLONES = (copy.copy, copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer)))


def makers():
    return {
        "rnn": nr.RNN(2, 3, 2, rng=0),
        "cell": nr.RNNCell(2, 3, rng=0),
        "linear": nr.Linear(2, 3, rng=0),
    }


@pytest.mark.parametrize("name", makers())
def test_there_and_back(name):
    layer, twin = makers()[name], makers()[name]
    assert layer.device == "cpu" and layer.to("cpu") is layer
    stale = layer.flat_parameters
    assert layer.to("cuda") is layer and layer.device == "cuda"
    assert layer.to("cuda") is layer
    assert layer.dtype == F32
    stale[:] = 9  # no longer the layer's
    for value in (layer.flat_parameters, *layer.parameters.values()):
        assert value.__cuda_ndarray__
    assert {k: v.shape for k, v in layer.parameters.items()} == {
        k: v.shape for k, v in twin.parameters.items()
    }
    state = layer.state_dict()
    for key, value in twin.state_dict().items():
        assert type(state[key]) is np.ndarray
        np.testing.assert_array_equal(state[key], value)
    first = next(iter(state))
    state[first][:] = 5  # a copy
    np.testing.assert_array_equal(layer.state_dict()[first], twin.state_dict()[first])
    assert layer.to("cpu") is layer and layer.device == "cpu"
    np.testing.assert_array_equal(layer.flat_parameters, twin.flat_parameters)
    layer.flat_parameters[0] = 1  # it is memory of its own


@pytest.mark.parametrize("name", makers())
@pytest.mark.parametrize("clone", CLONES)
def test_copies_are_on_the_gpu_too(name, clone):
    layer = makers()[name].to("cuda")
    before = to_cpu(layer.flat_parameters)
    twin = clone(layer)
    assert twin.device == "cuda"
    twin.flat_parameters = to_gpu(np.zeros_like(before))
    np.testing.assert_array_equal(to_cpu(layer.flat_parameters), before)
    assert not any(value.any() for value in twin.state_dict().values())


def test_assignment():
    rnn, new = nr.RNN(2, 3, rng=0).to("cuda"), normal((3, 2), F32)
    flat, view = rnn.flat_parameters, rnn.weight_ih_l0
    rnn.weight_ih_l0 = to_gpu(new)
    np.testing.assert_array_equal(to_cpu(view), new)
    np.testing.assert_array_equal(to_cpu(flat)[:6], new.ravel())
    vector = normal(tuple(flat.shape), F32)
    rnn.flat_parameters = to_gpu(vector)
    np.testing.assert_array_equal(to_cpu(flat), vector)
    state = nr.RNN(2, 3, rng=1).state_dict()
    rnn.load_state_dict(state)
    np.testing.assert_array_equal(to_cpu(view), state["weight_ih_l0"])
    before = to_cpu(flat)
    for name, value, kind, words in [
        ("weight_ih_l0", new, TypeError, "weight_ih_l0 is on the CPU, the layer on the GPU"),
        ("weight_ih_l0", to_gpu(new.T), ValueError, r"must have shape \(3, 2\), got \(2, 3\)"),
        ("weight_ih_l0", to_gpu(new.astype(F64)), TypeError, "of dtype float32.*got float64"),
        ("flat_parameters", vector, TypeError, "flat_parameters is on the CPU"),
        ("flat_parameters", to_gpu(vector[1:]), ValueError, "flat_parameters must have shape"),
    ]:
        with pytest.raises(kind, match=words):
            setattr(rnn, name, value)
    with pytest.raises(TypeError, match=r"bias_hh_l0 must be an array on the CPU.*copy_to_host"):
        rnn.load_state_dict(state | {"bias_hh_l0": to_gpu(state["bias_hh_l0"])})
    with pytest.raises(ValueError, match="device must be 'cpu' or 'cuda'"):
        rnn.to("gpu")
    np.testing.assert_array_equal(to_cpu(flat), before)


# --- where things are -----------------------------------------------------------------------------


def test_arrays_with_gaps():
    """Slices of device arrays, which have strides."""
    wide = normal((6, 4, 8, 2), F64)
    rnn = nr.RNN(4, 3, dtype=F64, rng=0).to("cuda")
    x = cuda.to_device(wide)[::2, :, ::2, 0]
    h_0 = cuda.to_device(normal((2, 4, 3)))[::2]
    assert not x.is_c_contiguous()
    ours, h_n = rnn(x, h_0)
    packed = [to_gpu(np.ascontiguousarray(to_cpu(a))) for a in (x, h_0)]
    theirs, expected = rnn(*packed)
    np.testing.assert_array_equal(to_cpu(ours), to_cpu(theirs))
    np.testing.assert_array_equal(to_cpu(h_n), to_cpu(expected))
    linear = nr.Linear(4, 1, dtype=F64, rng=0).to("cuda")
    gaps = cuda.to_device(wide)[:, :, ::2]
    np.testing.assert_array_equal(
        to_cpu(linear(gaps[:, :, :, 0])), to_cpu(linear(to_gpu(wide[:, :, ::2, 0])))
    )


def test_nothing_is_copied_to_or_from_the_host(monkeypatch):
    """A step of training stays on the GPU; lengths alone go there."""
    rnn = nr.RNN(2, 3, 2, dropout=0.5, bidirectional=True, rng=0).to("cuda")
    readout = nr.Linear(6, 1, rng=1).to("cuda")
    opt = nr.optim.Adam([rnn.flat_parameters, readout.flat_parameters])
    x, y = to_gpu(normal((4, 3, 2), F32)), to_gpu(normal((4, 3, 1), F32))
    weights = to_gpu((normal((4, 3, 1), F32) > 0).astype(F32))
    array, copied = type(x), []

    def forbid(name, original):
        def call(self, other=None, *args, **kwargs):
            if not (name == "copy_to_device" and isinstance(other, array)):
                copied.append(name)
            return original(self, other, *args, **kwargs)

        monkeypatch.setattr(array, name, call)

    for name in ("copy_to_host", "copy_to_device"):
        forbid(name, getattr(array, name))
    uploaded, to_device = [], cuda.to_device

    def upload(host, *args, **kwargs):
        uploaded.append(host)
        seen = len(copied)
        found = to_device(host, *args, **kwargs)
        del copied[seen:]
        return found

    monkeypatch.setattr(cuda, "to_device", upload)
    monkeypatch.setattr(array, "__array__", lambda *a: copied.append("__array__"), raising=False)
    for lengths in ([4, 1, 0], [4, 3, 0], [4, 3, 0]):
        tape = rnn.forward(x, lengths=lengths)
        head = readout.forward(tape.output)
        _, slope = nr.losses.mse(head.output, y, weights)
        head_grads = head.backward(slope)
        grads = tape.backward(head_grads.input, state_gradients=True)
        norm = nr.optim.clip_grad_norm([grads.flat, head_grads.flat], 1e-3)
        opt.step([grads.flat, head_grads.flat])
    assert copied == []
    assert {a.dtype for a in uploaded} == {np.dtype(np.int64)}  # of lengths, once for each
    assert len(uploaded) == 2
    monkeypatch.undo()
    assert to_cpu(norm)[()] > 1e-3


def test_a_training_loop_is_the_cpus():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((5, 4, 2)).astype(F32)
    y, lengths = rng.integers(0, 3, 4), [5, 3, 1, 0]
    found = {}
    for place, there, back in (("cpu", np.array, np.array), ("cuda", to_gpu, to_cpu)):
        rnn = nr.RNN(2, 4, 2, dropout=0.3, bidirectional=True, rng=0).to(place)
        readout = nr.Linear(4, 3, rng=1).to(place)
        opt = nr.optim.AdamW([rnn.flat_parameters, readout.flat_parameters], lr=0.05)
        values, x_there, y_there = [], there(x), there(y)
        for _ in range(3):
            tape = rnn.forward(x_there, lengths=lengths)
            head = readout.forward(tape.h_n[-1:].reshape(4, 4))
            value, slope = nr.losses.cross_entropy(head.output, y_there)
            head_grads = head.backward(slope)
            upward = there(np.concatenate([np.zeros((3, 4, 4), F32), back(head_grads.input)[None]]))
            grads = tape.backward(grad_h_n=upward)
            nr.optim.clip_grad_norm([grads.flat, head_grads.flat], 1.0)
            opt.step([grads.flat, head_grads.flat])
            values.append(float(back(value)))
        found[place] = values, rnn.state_dict(), readout.state_dict(), opt.state_dict()
    (values, *states), (expected, *others) = found["cuda"], found["cpu"]
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    assert values[0] > values[-1]
    for state, other in zip(states, others, strict=True):
        assert list(state) == list(other)
        for key in state:
            if isinstance(state[key], np.ndarray):
                assert_close(state[key], other[key].astype(F64), tolerance=1e-4, name=key)
            else:
                assert state[key] == other[key], key
