"""Which arrays are recognised, and that every mixture of places is refused, with stand-ins.

The stand-ins look like CuPy's, torch's and Numba's arrays, so that neither library nor GPU is
needed; `test_cuda.py` runs kernels on them in Numba's simulator.
"""

import importlib
import inspect
import os
import sys
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
from processes import TESTS, environment, python

import numba_rnn as nr
from numba_rnn import dispatch, losses, optim
from numba_rnn.backends import Backend, GpuBackend
from numba_rnn.cuda import libraries
from numba_rnn.validation import advice

sys.path.insert(0, str(TESTS / "cuda"))
standins = importlib.import_module("standins")
sys.path.remove(str(TESTS / "cuda"))
CupyLike, TorchLike, NumbaLike = standins.CupyLike, standins.TorchLike, standins.NumbaLike
Stranger = standins.Stranger

F32 = np.float32
KINDS = {"cupy": CupyLike, "torch": TorchLike, "numba": NumbaLike, "stranger": Stranger}
TO_NUMPY = {
    "cupy": "x.get()",
    "torch": "x.cpu().numpy()",
    "numba": "x.copy_to_host()",
    "stranger": "x.copy_to_host()",
}
TO_GPU = "cupy.asarray({0}), torch.from_numpy({0}).cuda() or numba.cuda.to_device({0})"


def zeros(*shape, dtype=F32):
    return np.zeros(shape, dtype)


@pytest.fixture
def gpu(monkeypatch):
    """Layers on a GPU of stand-ins, with number 0; nothing can be computed there."""
    memory = SimpleNamespace(
        to_device=lambda array: NumbaLike(array.copy()),
        view=lambda array, sync: NumbaLike(array.host),
        address=lambda array: array.host.__array_interface__["data"][0],
    )
    monkeypatch.setattr(libraries, "_memory", lambda: memory)
    return SimpleNamespace(
        rnn=nr.RNN(3, 4, rng=0).to("cuda"),
        cell=nr.RNNCell(3, 4, rng=0).to("cuda"),
        linear=nr.Linear(3, 4, rng=0).to("cuda"),
    )


# --- recognition ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_kinds_are_recognised(name):
    array = KINDS[name](zeros(2, 3))
    library = dispatch.library(array)
    assert library is {"cupy": libraries.CUPY, "torch": libraries.TORCH}.get(name, libraries.NUMBA)
    assert dispatch.place(array) == ("cuda" if name == "stranger" else "cuda:0")
    assert dispatch.on_gpu(array)
    assert library.shape(array) == (2, 3) and library.dtype(array) == F32


def test_derived_kinds_are_recognised():
    class Parameter(TorchLike):
        pass

    Parameter.__module__ = "torch.nn.parameter"
    assert dispatch.library(Parameter(zeros(2))) is libraries.TORCH

    class Mapped(np.ndarray):  # as Numba's memory that host and GPU share
        __cuda_ndarray__ = True

    assert dispatch.library(zeros(2).view(Mapped)) is libraries.NUMBA


@pytest.mark.parametrize("number", [1, 10])
def test_other_gpus_have_other_places(number):
    for kind in (CupyLike, TorchLike, NumbaLike):
        assert dispatch.place(kind(zeros(2), number)) == f"cuda:{number}"
    assert not dispatch.agree(f"cuda:{number}", "cuda:0")
    assert dispatch.agree(f"cuda:{number}", "cuda") and not dispatch.agree("cuda", "cpu")


def test_arrays_of_the_cpu(torch):
    memmap_like = type("Sub", (np.ndarray,), {})
    for array in (zeros(2), zeros(2).view(memmap_like), np.ma.zeros(2)):
        assert dispatch.library(array) is None
        assert dispatch.place(array) == "cpu" and not dispatch.on_gpu(array)
    for tensor in (torch.zeros(2), torch.nn.Parameter(torch.zeros(2))):
        assert dispatch.library(tensor) is libraries.TORCH
        assert dispatch.place(tensor) == "cpu" and not dispatch.on_gpu(tensor)
        assert libraries.TORCH.dtype(tensor) == F32 and libraries.TORCH.shape(tensor) == (2,)
    assert libraries.TORCH.dtype(torch.zeros(2, dtype=torch.bfloat16)) == "bfloat16"
    assert dispatch.backend(zeros(2)).__name__ == "numba_rnn.cpu"


def test_what_is_no_array():
    class Broken:
        @property
        def __cuda_array_interface__(self):
            raise RuntimeError("not here")

    for value in (None, 3, "x", [1.0], object(), Broken(), np.float32(1), int):
        assert dispatch.library(value) is None and not dispatch.on_gpu(value)
        assert dispatch.place(value) is None
    with pytest.raises(TypeError, match=r"no backend for arrays of type builtins\.list"):
        dispatch.backend([1.0])


def test_torch_does_what_is_asked_of_it(torch):
    """The calls that need no GPU, of the real library."""
    like, library = torch.ones((2, 3)), libraries.TORCH
    for dtype in (np.dtype(F32), np.dtype(np.float64)):
        made = library.zeros((2, 3), dtype, like)
        assert library.dtype(made) == dtype and not made.any()
        assert library.dtype(library.empty((), dtype, like)) == dtype
    assert library.empty((2,), torch.float64, like).dtype is torch.float64
    turned = torch.arange(6.0).reshape(2, 3).T.requires_grad_()
    assert not library.in_c_order(turned)
    plain = library.plain(turned)
    assert not plain.requires_grad and plain.data_ptr() == turned.data_ptr()
    for made in (library.contiguous(plain), library.copy(turned)):
        assert library.in_c_order(made) and made.data_ptr() != turned.data_ptr()
        assert not made.requires_grad and torch.equal(made, turned.detach())
    np.testing.assert_array_equal(library.to_host(turned), turned.detach().numpy())
    out = torch.zeros((2, 2))
    library.matmul(torch.arange(6.0).reshape(2, 3), plain, out)
    np.testing.assert_array_equal(out, [[5, 14], [14, 50]])


def test_a_tensor_is_known_without_numba_cuda():
    """To say what a tensor on the CPU is, and how it becomes an array, takes nothing of CUDA."""
    printed = python("""
import importlib.util
import sys

find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name == "numba_cuda" else find_spec(name)

import numpy as np
import standins
import numba_rnn as nr

try:
    nr.RNN(2, 3)(standins.TorchLike(np.zeros((1, 1, 2), np.float32), where="cpu"))
except TypeError as error:
    print(error)
loaded = {name for name in sys.modules if name.startswith(("numba.cuda", "numba_rnn.cuda."))}
assert loaded == {"numba_rnn.cuda.libraries"}, loaded
""", PYTHONPATH=os.pathsep.join([environment()["PYTHONPATH"], str(TESTS / "cuda")]))  # fmt: skip
    assert "convert with x.numpy()" in printed


# --- what a backend is ----------------------------------------------------------------------------

PROMISED = [
    (place, name)
    for place, protocol in (("cpu", Backend), ("cuda", GpuBackend))
    for name, _ in inspect.getmembers(protocol, inspect.isfunction)
    if not name.startswith("_")
]


def arguments(function):
    parameters = inspect.signature(function).parameters.values()
    return [(p.name, p.default) for p in parameters if p.name != "self"]


@pytest.mark.parametrize(("place", "name"), PROMISED)
def test_backends_keep_what_is_promised(place, name):
    """The same arguments under the same names; those of NumPy's own functions by their place."""
    if place == "cpu":
        promised, backend = getattr(Backend, name), dispatch.backend(zeros(1))
    elif find_spec("numba_cuda") is None:
        pytest.skip("numba-cuda is not installed: pip install 'numba_rnn[test]' on Linux")
    else:
        promised = getattr(GpuBackend, name)
        backend = importlib.import_module("numba_rnn.cuda").Backend
    found = getattr(backend, name)
    if name not in ("empty", "zeros", "copy"):
        assert arguments(found) == arguments(promised)
    elif place == "cuda":
        inspect.signature(found).bind(*inspect.signature(promised).parameters)
    else:
        given = (zeros(2, 3),) if name == "copy" else ((2, 3), np.dtype(F32))
        inspect.signature(promised).bind("self", *given)
        made = found(*given)
        assert made.shape == (2, 3) and made.dtype == F32 and made is not given[0]


def test_promises_are_found():
    assert len(PROMISED) == 12 + 15


# --- mixed places ---------------------------------------------------------------------------------


def layers():
    return nr.RNN(3, 4, rng=0), nr.RNNCell(3, 4, rng=0), nr.Linear(3, 4, rng=0)


@pytest.mark.parametrize("name", KINDS)
def test_layer_on_the_cpu_and_input_on_the_gpu(name):
    kind = KINDS[name]
    where = "cuda" if name == "stranger" else "cuda:0"
    words = (f"x is on the GPU ({where}), the layer on the CPU: move x with {TO_NUMPY[name]}, "
             "or the layer with .to('cuda')")  # fmt: skip
    x = kind(zeros(2, 3))
    for layer in layers():
        for call in (layer, layer.forward):
            with pytest.raises(TypeError) as caught:
                call(x)
            assert str(caught.value) == words


@pytest.mark.parametrize("name", KINDS)
def test_other_arguments_on_the_gpu(name):
    kind = KINDS[name]
    rnn, cell, linear = layers()
    x = zeros(5, 2, 3)
    tape, packed = rnn.forward(x), nr.PackedSequence(zeros(3, 3), [2, 1])
    for argument, call in [
        ("x.data", lambda: rnn(nr.PackedSequence(kind(zeros(3, 3)), [2, 1]))),
        ("h_0", lambda: rnn(x, kind(zeros(1, 2, 4)))),
        ("h_0", lambda: rnn.forward(packed, kind(zeros(1, 2, 4)))),
        ("h", lambda: cell(x[0], kind(zeros(2, 4)))),
        ("grad_output", lambda: tape.backward(kind(zeros(5, 2, 4)))),
        ("grad_h_n", lambda: tape.backward(tape.output, kind(zeros(1, 2, 4)))),
        ("grad_h", lambda: cell.forward(x[0]).backward(kind(zeros(2, 4)))),
        ("grad_output", lambda: linear.forward(x).backward(kind(zeros(5, 2, 4)))),
    ]:
        with pytest.raises(TypeError) as caught:
            call()
        message = str(caught.value)
        assert message.startswith(f"{argument} is on the GPU")
        assert f"move {argument} with {TO_NUMPY[name].replace('x.', argument + '.', 1)}" in message


@pytest.mark.parametrize("name", KINDS)
def test_what_must_be_on_the_host(name):
    kind, rnn = KINDS[name], layers()[0]
    packed = nr.PackedSequence(kind(zeros(3, 3)), [2, 1])
    assert packed.data.host.shape == (3, 3)
    for argument, call in [
        ("lengths", lambda: rnn(zeros(5, 2, 3), lengths=kind(np.array([1, 2])))),
        ("batch_sizes", lambda: nr.PackedSequence(zeros(3, 3), kind(np.array([2, 1])))),
        ("sorted_indices", lambda: nr.PackedSequence(zeros(2, 3), [2], kind(np.array([1, 0])))),
        ("weight", lambda: setattr(layers()[2], "weight", kind(zeros(4, 3)))),
        ("weight", lambda: layers()[2].load_state_dict({"weight": kind(zeros(4, 3)), "bias": 0})),
        ("flat_parameters", lambda: setattr(rnn, "flat_parameters", kind(zeros(36)))),
        ("input", lambda: nr.pack_padded_sequence(kind(zeros(5, 2, 3)), [5, 4])),
        ("sequences[0]", lambda: nr.pack_sequence([kind(zeros(5, 2))])),
        ("sequence.data", lambda: nr.pad_packed_sequence(packed)),
        ("packed_sequences.data", lambda: nr.unpack_sequence(packed)),
        ("padded_sequences", lambda: nr.unpad_sequence(kind(zeros(5, 2, 3)), [5, 4])),
    ]:
        fix = TO_NUMPY[name].replace("x.", f"{argument}.", 1)
        with pytest.raises(TypeError) as caught:
            call()
        assert str(caught.value).startswith(f"{argument} must be"), argument
        assert "on the CPU" in str(caught.value) and f"copy it with {fix}" in str(caught.value)


@pytest.mark.parametrize("subclass", [False, True])
def test_layer_on_the_gpu_and_arrays_on_the_cpu(gpu, subclass):
    def host(*shape):
        array = zeros(*shape)
        return array.view(type("Sub", (np.ndarray,), {})) if subclass else array

    x = NumbaLike(zeros(5, 2, 3))
    for argument, call in [
        ("x", lambda: gpu.rnn(host(5, 2, 3))),
        ("x", lambda: gpu.cell.forward(host(2, 3))),
        ("x", lambda: gpu.linear(host(2, 3))),
        ("weight", lambda: setattr(gpu.linear, "weight", host(4, 3))),
    ]:
        with pytest.raises(TypeError) as caught:
            call()
        assert str(caught.value) == (
            f"{argument} is on the CPU, the layer on the GPU (cuda:0): move {argument} with "
            f"{TO_GPU.format(argument)}, or the layer with .to('cpu')"
        )
    with pytest.raises(TypeError, match=r"x must be an array on the GPU.*got list"):
        gpu.rnn([[1.0]])
    with pytest.raises(TypeError, match=r"lengths must be a 1-D sequence of integers on the CPU"):
        gpu.rnn(x, lengths=NumbaLike(np.array([1, 2])))


def test_tensors_on_the_cpu(gpu, torch):
    x = torch.zeros((5, 2, 3))
    with pytest.raises(TypeError, match=r"x is on the CPU, the layer.*move x with x.cuda\(\), or"):
        gpu.rnn(x)
    with pytest.raises(TypeError, match=r"must be a NumPy array, got torch.Tensor.*x.numpy\(\)"):
        nr.RNN(3, 4)(x)
    with pytest.raises(TypeError, match=r"convert with x.detach\(\).numpy\(\)"):
        nr.RNN(3, 4)(x.requires_grad_())
    with pytest.raises(TypeError, match=r"x is on meta, the layer on the CPU"):
        nr.RNN(3, 4)(torch.zeros((5, 2, 3), device="meta"))


@pytest.mark.parametrize("kind", [CupyLike, TorchLike, NumbaLike])
def test_two_gpus(gpu, kind):
    with pytest.raises(TypeError, match=r"x is on the GPU \(cuda:1\), the layer on .*\(cuda:0\)"):
        gpu.rnn(kind(zeros(5, 2, 3), 1))
    with pytest.raises(TypeError, match=r"params\[1\] is on the GPU \(cuda:1\), params\[0\]"):
        optim.SGD([kind(zeros(3), 0), kind(zeros(3), 1)])


@pytest.mark.parametrize("first", KINDS)
@pytest.mark.parametrize("second", KINDS)
def test_losses_and_optimisers_refuse_mixed_places(gpu, first, second):
    """Every kind beside NumPy; kinds on one GPU may be mixed, which `test_cuda.py` computes."""
    one, other = KINDS[first](zeros(2, 3)), KINDS[second](zeros(2, 3))
    host = zeros(2, 3)
    move = TO_GPU.format("{0}")
    for loss in (losses.mse, losses.mae, losses.huber, losses.binary_cross_entropy):
        for call, argument, on_host in [
            (lambda loss=loss: loss(one, host), "target", True),
            (lambda loss=loss: loss(host, one), "target", False),
            (lambda loss=loss: loss(one, other, host), "weights", True),
            (lambda loss=loss: loss(host, host, other), "weights", False),
        ]:
            with pytest.raises(TypeError) as caught:
                call()
            message = str(caught.value)
            assert message.startswith(f"{argument} is on the {'CPU' if on_host else 'GPU'}")
            assert "prediction on the" in message
            assert not on_host or move.format(argument) in message
    for call, argument, owner in [
        (lambda: optim.SGD([one, host]), "params[1]", "params[0]"),
        (lambda: optim.SGD([host, other]), "params[1]", "params[0]"),
        (lambda: optim.SGD([host]).step([one]), "grads[0]", "params[0]"),
        (lambda: optim.SGD(host).step(other), "grads", "params"),
        (lambda: optim.SGD([one]).step([host]), "grads[0]", "params[0]"),
        (lambda: optim.SGD(one).step(host), "grads", "params"),
        (lambda: optim.clip_grad_norm([one, host], 1.0), "grads[1]", "grads[0]"),
        (lambda: optim.clip_grad_norm([host, other], 1.0), "grads[1]", "grads[0]"),
    ]:
        with pytest.raises(TypeError) as caught:
            call()
        assert str(caught.value).startswith(f"{argument} is on the ")
        assert f", {owner} on the " in str(caught.value)


def test_how_to_move():
    tensor = TorchLike(zeros(2), requires_grad=True)
    for array, place, words in [
        (tensor, "cpu", "x.detach().cpu().numpy()"),
        (tensor, "cuda:0", "x.cuda()"),
        (tensor, "cuda:1", "x.to('cuda:1')"),
        (CupyLike(zeros(2)), "cuda:1", "cupy.asarray(x) within cupy.cuda.Device(1)"),
        (NumbaLike(zeros(2)), "cuda:1", "numba.cuda.to_device(x.copy_to_host())"),
    ]:
        assert advice.how_to_move("x", array, place) == words


class Bfloat16(TorchLike):
    """A tensor of a dtype that NumPy hasn't got."""

    dtype = property(lambda self: standins.DTYPES["bfloat16"])


def test_how_to_convert_what_numpy_has_no_dtype_for():
    on_gpu, on_cpu = Bfloat16(zeros(2)), Bfloat16(zeros(2), where="cpu", requires_grad=True)
    for array, dtype, words in [
        (on_gpu, None, "x.cpu().float().numpy()"),
        (on_gpu, np.dtype(F32), "x.cpu().float().numpy()"),
        (on_gpu, np.dtype(np.float64), "x.cpu().double().numpy()"),
        (on_cpu, None, "x.detach().float().numpy()"),
        (TorchLike(zeros(2)), F32, "x.cpu().numpy()"),
        (TorchLike(zeros(2)), np.dtype(np.float64), "x.cpu().double().numpy()"),
    ]:
        assert advice.how_to_move("x", array, "cpu", dtype) == words
    rnn = nr.RNN(3, 4, rng=0)
    with pytest.raises(TypeError, match=r"move x with x\.cpu\(\)\.float\(\)\.numpy\(\), or the la"):
        rnn(Bfloat16(zeros(2, 5, 3)))


def test_dtypes_that_other_packages_give_numpy():
    """With ml_dtypes NumPy knows a bfloat16, and torch's tensors of it still have no .numpy()."""
    pytest.importorskip("ml_dtypes", reason="it comes with onnx: pip install 'numba_rnn[test]'")
    for array in (Bfloat16(zeros(2)), Bfloat16(zeros(2), where="cpu")):
        assert type(libraries.TORCH.dtype(array)) is str
        assert advice.how_to_move("x", array, "cpu").endswith(".float().numpy()")


class TorchsPacked(tuple):
    """torch.nn.utils.rnn.PackedSequence."""

    _fields = ("data", "batch_sizes", "sorted_indices", "unsorted_indices")
    data = property(lambda self: self[0])


TorchsPacked.__module__ = "torch.nn.utils.rnn"
TorchsPacked.__name__ = "PackedSequence"


def test_how_to_repack_on_the_gpu(gpu):
    """Index arrays belong on the host, data where the layer is."""
    cpu, sizes = nr.RNN(3, 4, rng=0), TorchLike(zeros(1), where="cpu")
    order = TorchLike(zeros(1))
    rows = zeros(2, 3)
    for layer, data, index, words in [
        (gpu.rnn, TorchLike(rows), (sizes, None, None), "nr.PackedSequence(x.data, *x[1:])"),
        (gpu.rnn, TorchLike(rows), (sizes, order, order),
         "nr.PackedSequence(x.data, x.batch_sizes, x.sorted_indices.cpu(), "
         "x.unsorted_indices.cpu())"),
        (gpu.rnn, TorchLike(rows, where="cpu"), (sizes, None, None),
         "nr.PackedSequence(x.data.cuda(), *x[1:])"),
        (cpu, TorchLike(rows), (sizes, None, order),
         "nr.PackedSequence(x.data.cpu().numpy(), x.batch_sizes, x.sorted_indices, "
         "x.unsorted_indices.cpu())"),
        (cpu, Bfloat16(rows, where="cpu"), (sizes, None, None),
         "nr.PackedSequence(x.data.float().numpy(), *x[1:])"),
    ]:  # fmt: skip
        with pytest.raises(TypeError) as caught:
            layer(TorchsPacked((data, *index)))
        assert str(caught.value).endswith(f"got torch's PackedSequence; convert with {words}")


def test_dtypes_on_the_gpu(gpu):
    for kind, dtype, words in [
        (CupyLike, np.float64, "got float64; convert with x.astype(np.float32) or build the layer"),
        (TorchLike, np.float64, "got float64; convert with x.to(torch.float32) or build"),
        (TorchLike, np.int64, "got int64; convert with x.to(torch.float32)"),
        (NumbaLike, np.float64, "to_device(x.copy_to_host().astype(np.float32)) or build"),
    ]:
        for layer in (gpu.rnn, gpu.cell, gpu.linear):
            with pytest.raises(TypeError) as caught:
                layer(kind(zeros(2, 3, dtype=dtype)))
            assert str(caught.value).startswith("x must be of dtype float32, as the layer is")
            assert words in str(caught.value)


@pytest.mark.parametrize("kind", [CupyLike, TorchLike, NumbaLike])
def test_shapes_on_the_gpu(gpu, kind):
    for layer, shape in ((gpu.rnn, (5, 2, 2)), (gpu.cell, (1, 2, 3)), (gpu.linear, (3, 2))):
        with pytest.raises(ValueError, match=rf"x must have shape .*got \({shape[0]}, "):
            layer(kind(zeros(*shape)))
