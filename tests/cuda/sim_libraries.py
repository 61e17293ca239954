"""In Numba's simulator: arrays of CuPy's and torch's kind in, the same kind out.

The libraries are stand-ins (see `standins.py`): what is tested is that the package asks each for
the right things, not that the libraries give them.
"""

import importlib
import pkgutil
import sys

import numpy as np
import pytest
import standins
from helpers import assert_close, check, example, normal
from numba import cuda
from on_gpu import OnGpu, Shuttle
from standins import CupyLike, Stranger, TorchLike

import numba_rnn as nr

standins.install()

F32, F64 = np.float32, np.float64


def numba_like(host):
    return cuda.to_device(host)


DEVICE_ARRAY = type(cuda.device_array(1))
KINDS = {"cupy": (CupyLike, CupyLike), "torch": (TorchLike, TorchLike)}
KINDS["numba"] = (numba_like, DEVICE_ARRAY)
KINDS["stranger"] = (Stranger, DEVICE_ARRAY)  # which gets Numba's


def to_host(array):
    return array.host if hasattr(array, "host") else array.copy_to_host()


def shuttle_of(name):
    make, kind = KINDS[name]
    return Shuttle(make, (kind, Stranger) if make is Stranger else (kind,), to_host)


@pytest.mark.parametrize("kind", ["padded", "lengths", "packed"])
@pytest.mark.parametrize("name", KINDS)
def test_you_get_back_the_kind_you_gave(name, kind):
    """All of a forward and a backward pass, and the numbers are right."""
    if (name, kind) == ("stranger", "packed"):
        kind = "unbatched"
    dtype = F32 if kind == "lengths" else F64
    shuttle = shuttle_of(name)
    rnn = OnGpu(nr.RNN(2, 3, 2, bidirectional=kind == "lengths", dtype=dtype, rng=0))
    rnn.there, rnn.back = shuttle.there, shuttle.back
    x, h_0, lengths = example(rnn, kind, 3, 2)
    check(rnn, x, h_0, lengths)


@pytest.mark.parametrize("name", ["cupy", "torch"])
def test_the_other_layers_and_losses(name):
    shuttle = shuttle_of(name)
    x, h, grad = normal((2, 3)), normal((2, 4)), normal((2, 4), seed=2)
    for make, arguments in ((nr.RNNCell, (x, h)), (nr.Linear, (x,))):
        layer = make(3, 4, dtype=F64, rng=0)
        expected = layer.forward(*arguments)
        tape = layer.to("cuda").forward(*map(shuttle.there, arguments))
        output = getattr(tape, "h" if make is nr.RNNCell else "output")
        assert_close(shuttle.back(output), getattr(expected, "h", getattr(expected, "output", 0)))
        ours, theirs = tape.backward(shuttle.there(grad)), expected.backward(grad)
        assert_close(shuttle.back(ours.input), theirs.input)
        for key, value in theirs.parameters.items():
            assert_close(shuttle.back(ours.parameters)[key], value)
    for loss, y in ((nr.losses.huber, h), (nr.losses.cross_entropy, np.array([1, 3]))):
        value, gradient = loss(grad, y, np.array([[1.0], [0.5]]) if y.ndim == 2 else None)
        weights = shuttle.there([[1.0], [0.5]]) if y.ndim == 2 else None
        ours = shuttle.back(loss(shuttle.there(grad), shuttle.there(y), weights))
        assert ours[0].shape == () and abs(ours[0][()] - value) < 1e-14
        assert_close(ours[1], gradient)


def test_optimisers_take_any_mixture():
    hosts = [normal((4,), seed=k) for k in range(3)]
    grads = [normal((4,), seed=k + 3) for k in range(3)]
    params = [CupyLike(hosts[0].copy()), TorchLike(hosts[1].copy()), numba_like(hosts[2])]
    opt = nr.optim.Adam(params, lr=0.1, amsgrad=True)
    cpu = nr.optim.Adam(hosts, lr=0.1, amsgrad=True)
    for _ in range(2):
        there = [TorchLike(grads[0].copy()), numba_like(grads[1]), CupyLike(grads[2].copy())]
        norm = nr.optim.clip_grad_norm(there, 0.5)
        assert type(norm) is TorchLike and norm.shape == ()
        opt.step(there)
        clipped = [g.copy() for g in grads]
        assert abs(nr.optim.clip_grad_norm(clipped, 0.5) - norm.host) < 1e-14
        cpu.step(clipped)
    for p, host in zip(params, hosts, strict=True):
        assert_close(p.host if hasattr(p, "host") else p.copy_to_host(), host)
    state = opt.state_dict()
    assert all(type(state[f"exp_avg.{k}"]) is np.ndarray for k in range(3))
    opt.load_state_dict(state)
    opt.step([TorchLike(g) for g in grads])
    cpu.step(grads)
    assert_close(params[2].copy_to_host(), hosts[2])


def test_other_kinds_beside_x():
    """h_0 and gradients may be of another library than x."""
    rnn = nr.RNN(2, 3, dtype=F64, rng=0)
    x, h_0, grad = normal((3, 2, 2)), normal((1, 2, 3)), normal((3, 2, 3), seed=1)
    expected = rnn.forward(x, h_0).backward(grad)
    rnn.to("cuda")
    grads = rnn.forward(TorchLike(x), CupyLike(h_0)).backward(numba_like(grad))
    assert type(grads.input) is type(grads.h_0) is type(grads.flat) is TorchLike
    assert_close(grads.flat.host, expected.flat)
    grads = rnn.forward(numba_like(x), TorchLike(h_0)).backward(CupyLike(grad))
    assert type(grads.input) is type(grads.h_0) is DEVICE_ARRAY
    assert_close(grads.flat.copy_to_host(), expected.flat)


def test_tensors_that_require_grad_are_detached():
    rnn = nr.RNN(2, 3, rng=0).to("cuda")
    x, h_0 = normal((3, 2, 2), F32), normal((1, 2, 3), F32)
    plain = rnn(TorchLike(x), TorchLike(h_0))
    output, h_n = rnn(TorchLike(x, requires_grad=True), TorchLike(h_0, requires_grad=True))
    assert not output.requires_grad and not h_n.requires_grad
    np.testing.assert_array_equal(output.host, plain[0].host)
    p = TorchLike(np.ones(2), requires_grad=True)
    nr.optim.SGD(p, lr=1.0).step(TorchLike(np.ones(2)))
    assert not p.host.any()


@pytest.mark.parametrize("name", ["cupy", "torch"])
def test_arrays_with_gaps(name):
    make, kind = KINDS[name]
    rnn = nr.RNN(2, 3, batch_first=True, dtype=F64, rng=0).to("cuda")
    wide = normal((4, 6, 5))
    ours, _ = rnn(make(wide)[:, ::2, 1:3])
    theirs, _ = rnn(make(wide[:, ::2, 1:3].copy()))
    assert type(ours) is kind
    np.testing.assert_array_equal(ours.host, theirs.host)


def test_launches_are_on_the_callers_stream(monkeypatch):
    """Every kernel of a training step, whoever allocates."""
    from numba_rnn.cuda import launching, memory

    streams, launch = [], launching.launch

    def watched(compiled, grid, threads, stream, *arguments, **options):
        streams.append(stream)
        launch(compiled, grid, threads, 0, *arguments, **options)

    for found in pkgutil.iter_modules(nr.cuda.__path__, "numba_rnn.cuda."):  # or some came later
        importlib.import_module(found.name)
    for module in list(sys.modules.values()):
        if getattr(module, "launch", None) is launch and module is not launching:
            monkeypatch.setattr(module, "launch", watched)
    monkeypatch.setattr(memory, "stream", lambda pointer: 100 + pointer)
    monkeypatch.setattr(sys.modules["torch"].cuda.current_stream(), "cuda_stream", 7)
    monkeypatch.setattr(sys.modules["cupy"].cuda.get_current_stream(), "ptr", 8)
    for make, expected in ((TorchLike, 107), (CupyLike, 108)):
        rnn = nr.RNN(2, 3, 2, dropout=0.5, bidirectional=True, rng=0).to("cuda")
        opt = nr.optim.SGD(rnn.flat_parameters)
        x = make(normal((3, 2, 2), F32))
        streams.clear()
        tape = rnn.forward(x, lengths=[3, 1])
        _, slope = nr.losses.mse(tape.output, make(np.zeros((3, 2, 6), F32)))
        grads = tape.backward(slope, state_gradients=True)
        nr.optim.clip_grad_norm(grads.flat, 0.1)
        opt.step(grads.flat)
        assert len(streams) > 10 and set(streams) == {expected}
