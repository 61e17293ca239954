"""On a GPU: arrays of CuPy and torch in, the same kind out, on the caller's stream.

`test_cuda.py` runs this file in a process of its own where there is a GPU.
"""

import threading

import cupy
import numpy as np
import pytest
import torch
from helpers import assert_close, check, example, normal
from numba import cuda
from on_gpu import OnGpu, Shuttle

import numba_rnn as nr

F32, F64 = np.float32, np.float64
KINDS = {
    "cupy": (cupy.ndarray, cupy.asarray, cupy.asnumpy),
    "torch": (torch.Tensor, lambda a: torch.from_numpy(a).cuda(), lambda a: a.cpu().numpy()),
    "numba": (type(cuda.device_array(1)), cuda.to_device, lambda a: a.copy_to_host()),
}


def shuttle_of(name):
    kind, to, of = KINDS[name]
    return Shuttle(to, (kind,), of)


@pytest.mark.parametrize("kind", ["padded", "lengths", "packed", "unbatched"])
@pytest.mark.parametrize("name", KINDS)
def test_you_get_back_the_kind_you_gave(name, kind):
    dtype = F32 if kind == "lengths" else F64
    shuttle = shuttle_of(name)
    layer = nr.RNN(3, 40, 2, bidirectional=kind != "padded", dtype=dtype, rng=0)
    rnn = OnGpu(layer, shuttle.there, shuttle.back)
    x, h_0, lengths = example(rnn, kind, 9, 5)
    check(rnn, x, h_0, lengths)


@pytest.mark.parametrize("name", ["cupy", "torch"])
def test_the_other_layers_losses_and_optimisers(name):
    shuttle = shuttle_of(name)
    x, h, grad = normal((2, 3)), normal((2, 4)), normal((2, 4), seed=2)
    for make, arguments in ((nr.RNNCell, (x, h)), (nr.Linear, (x,))):
        layer, twin = make(3, 4, dtype=F64, rng=0), make(3, 4, dtype=F64, rng=0)
        expected = layer.forward(*arguments)
        tape = twin.to("cuda").forward(*map(shuttle.there, arguments))
        found = tape.h if make is nr.RNNCell else tape.output
        assert_close(shuttle.back(found), expected.h if make is nr.RNNCell else expected.output)
        value, slope = nr.losses.mse(found, shuttle.there(grad))
        assert tuple(value.shape) == ()
        ours, theirs = tape.backward(slope), expected.backward(shuttle.back(slope))
        for key, gradient in theirs.parameters.items():
            assert_close(shuttle.back(ours.parameters)[key], gradient)
        for layer_, flat in ((twin, ours.flat), (layer, theirs.flat)):
            nr.optim.clip_grad_norm(flat, 0.1)
            nr.optim.AdamW(layer_.flat_parameters).step(flat)
        for key, parameter in layer.state_dict().items():
            assert_close(twin.state_dict()[key], parameter)


def test_other_kinds_beside_x():
    rnn = nr.RNN(2, 3, dtype=F64, rng=0)
    x, h_0, grad = normal((3, 2, 2)), normal((1, 2, 3)), normal((3, 2, 3), seed=1)
    expected = rnn.forward(x, h_0).backward(grad)
    rnn.to("cuda")
    for a, b, c in (("torch", "cupy", "numba"), ("cupy", "numba", "torch")):
        x_, h_, g_ = (shuttle_of(k).there(v) for k, v in ((a, x), (b, h_0), (c, grad)))
        grads = rnn.forward(x_, h_).backward(g_)
        assert type(grads.input) is type(grads.h_0) is type(grads.flat) is KINDS[a][0]
        assert_close(shuttle_of(a).back(grads.flat), expected.flat)


@pytest.mark.parametrize("name", ["cupy", "torch"])
def test_gaps_and_what_requires_grad(name):
    shuttle = shuttle_of(name)
    rnn = nr.RNN(2, 3, batch_first=True, dtype=F64, rng=0).to("cuda")
    wide = normal((4, 6, 5))
    ours, _ = rnn(shuttle.there(wide)[:, ::2, 1:3])
    theirs, _ = rnn(shuttle.there(wide[:, ::2, 1:3]))
    np.testing.assert_array_equal(shuttle.back(ours), shuttle.back(theirs))
    if name == "torch":
        asked, _ = rnn(shuttle.there(wide[:, ::2, 1:3]).requires_grad_())
        assert not asked.requires_grad
        np.testing.assert_array_equal(shuttle.back(asked), shuttle.back(theirs))


def test_nothing_waits_for_the_gpu():
    """A step of training is queued behind what a stream does, and runs after it."""
    rnn = nr.RNN(4, 20, 2, bidirectional=True, dropout=0.3, rng=0).to("cuda")
    first = normal((7, 5, 4), F32)
    found = []
    for slow in (False, True):
        opt = nr.optim.Adam(rnn.flat_parameters, lr=0.0)
        rnn.eval()
        stream, x = torch.cuda.Stream(), torch.zeros(7, 5, 4, device="cuda")
        source = torch.from_numpy(first).cuda()
        torch.cuda.synchronize()
        with torch.cuda.stream(stream):
            if slow:
                torch.cuda._sleep(2_000_000_000)
            x.copy_(source)
            tape = rnn.forward(x, lengths=[7, 7, 3, 1, 0])
            value, slope = nr.losses.mse(tape.output, torch.ones_like(tape.output))
            grads = tape.backward(slope)
            nr.optim.clip_grad_norm(grads.flat, 0.1)
            waited = stream.query()
        assert not (slow and waited)
        opt.step(grads.flat)  # waits, the parameters being on another stream
        torch.cuda.synchronize()
        found.append((value.item(), grads.flat.cpu().numpy()))
    assert found[0][0] == found[1][0] > 0
    np.testing.assert_array_equal(found[0][1], found[1][1])


@pytest.mark.parametrize("name", KINDS)
def test_in_a_thread_of_its_own(name):
    """Which starts without a CUDA context."""
    shuttle, rnn = shuttle_of(name), nr.RNN(2, 40, rng=0).to("cuda")
    x, found = shuttle.there(normal((3, 2, 2), F32)), []
    expected = shuttle.back(rnn(x)[0])
    thread = threading.Thread(target=lambda: found.append(shuttle.back(rnn(x)[0])))
    thread.start()
    thread.join()
    np.testing.assert_array_equal(found[0], expected)
