"""In Numba's simulator: what the CPU refuses is refused on the GPU, in the same words.

The tests are those of `test_bad_input.py`, with layers and arrays on the GPU.
"""

import copy
import pickle

import numpy as np
import pytest
import test_bad_input
from on_gpu import to_gpu
from test_bad_input import (  # noqa: F401
    H,
    I,
    L,
    Layers,
    N,
    test_changed_packed_sequence,
    test_lengths,
    test_lengths_where_there_can_be_none,
    test_malformed_packed_sequence,
    test_no_array,
    test_no_gradient_at_all,
    test_packed_input_is_for_the_layer_alone,
    test_shape_of_gradients,
    test_shape_of_h_0,
    test_shape_of_h_0_follows_x,
    test_shape_of_packed_data,
    test_shape_of_x,
    test_shape_of_x_for_the_cell,
)

import numba_rnn as nr
from numba_rnn.cuda.libraries import NUMBA


def zeros(*shape, dtype=np.float32):
    return to_gpu(np.zeros(shape, dtype))


@pytest.fixture
def layers(monkeypatch):
    """Take the place of the fixture there."""
    monkeypatch.setattr(test_bad_input, "zeros", zeros)
    layers = Layers()
    for layer in layers.layers:
        layer.to("cuda")
    return layers


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int32, bool, np.complex64], ids=str)
def test_dtype(layers, dtype):
    def bad(*shape):
        return zeros(*shape, dtype=dtype)

    x, got = zeros(L, N, I), str(np.dtype(dtype))
    tape = layers.rnn.forward(zeros(1, 1, I))
    for name, call in [
        ("x", lambda: layers.rnn(bad(L, N, I))),
        ("x", lambda: layers.cell(bad(N, I))),
        ("x", lambda: layers.linear(bad(N, I))),
        ("h_0", lambda: layers.rnn(x, bad(4, N, H))),
        ("h", lambda: layers.cell(zeros(N, I), bad(N, H))),
        ("grad_output", lambda: tape.backward(bad(1, 1, 2 * H))),
        ("grad_h_n", lambda: tape.backward(grad_h_n=bad(4, 1, H))),
        ("x.data", lambda: layers.rnn(nr.PackedSequence(bad(6, I), [3, 2, 1]))),
    ]:
        with layers.refuse(TypeError, name, "float32", got, "astype(np.float32)"):
            call()


def test_mixed_places(layers):
    x, host = zeros(L, N, I), np.zeros((L, N, I), np.float32)
    tape, packed = layers.rnn.forward(zeros(1, 1, I)), nr.PackedSequence(host[0, :3], [2, 1])
    here, there = "on the CPU", "on the GPU (cuda:0)"
    for name, call in [
        ("x", lambda: layers.rnn(host)),
        ("x", lambda: layers.cell(host[0])),
        ("x", lambda: layers.linear.forward(host)),
        ("x.data", lambda: layers.rnn(packed)),
        ("h_0", lambda: layers.rnn(x, np.zeros((4, N, H), np.float32))),
        ("h", lambda: layers.cell(zeros(N, I), np.zeros((N, H), np.float32))),
        ("grad_output", lambda: tape.backward(np.zeros((1, 1, 2 * H), np.float32))),
        ("grad_h_n", lambda: tape.backward(tape.output, np.zeros((4, 1, H), np.float32))),
    ]:
        move = f"torch.from_numpy({name}).cuda() or numba.cuda.to_device({name})"
        with layers.refuse(TypeError, f"{name} is {here}, the layer {there}", move, ".to('cpu')"):
            call()
    cpu = nr.RNN(I, H, rng=0)
    with layers.refuse(TypeError, f"x is {there}, the layer {here}", "x.copy_to_host()", "'cuda'"):
        cpu(x)
    with layers.refuse(TypeError, "grad_output is on the GPU", "grad_output.copy_to_host()"):
        cpu.forward(host).backward(zeros(L, N, H))
    with layers.refuse(TypeError, "lengths must be a 1-D sequence of integers on the CPU"):
        layers.rnn(x, lengths=to_gpu(np.ones(N, int)))
    with layers.refuse(TypeError, "batch_sizes must be a 1-D sequence of integers on the CPU"):
        nr.PackedSequence(x[0], to_gpu(np.array([N])))
    with layers.refuse(TypeError, "weight must be an array on the CPU", "copy_to_host()"):
        nr.Linear(I, H).weight = zeros(H, I)


def test_another_gpu_than_the_current_one(monkeypatch):
    """Its kernels would be launched where the array is not."""
    x, rnn = zeros(L, N, I), nr.RNN(I, H, rng=0).to("cuda")
    monkeypatch.setattr(NUMBA, "place", lambda array: "cuda:1")
    rnn._place = "cuda:1"
    with pytest.raises(
        RuntimeError, match=r"on cuda:1, but the current GPU is cuda:0.*device\(1\)"
    ):
        rnn(x)


def test_optimisers_of_gpu_arrays_are_not_copied():
    opt = nr.optim.Adam(zeros(3))
    for copied in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="state_dict"):
            copied(opt)


def test_dask_arrays_are_the_hosts(layers):
    da = pytest.importorskip("dask.array")
    x = da.zeros((L, N, I), chunks=2, dtype=np.float32).rechunk({2: I})
    for call in (
        lambda: layers.rnn(x),
        lambda: layers.cell(x[0]),
        lambda: layers.linear(x),
    ):
        with layers.refuse(TypeError, "a layer on the GPU takes no Dask arrays", '.to("cpu")'):
            call()
