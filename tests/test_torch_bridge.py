"""Layers from torch's modules and back: the same parameters, and the same numbers come out."""

import warnings

import numpy as np
import pytest
from helpers import assert_close, assert_same_bits

import numba_rnn as nr

LAYERS = [
    nr.RNN(3, 4, rng=0),
    nr.RNN(3, 4, 2, "relu", True, True, 0.5, True, dtype=np.float64, rng=1),
    nr.RNN(2, 5, 3, bias=False, rng=2).eval(),
    nr.RNNCell(3, 4, nonlinearity="relu", dtype=np.float64, rng=3),
    nr.RNNCell(3, 4, bias=False, rng=4),
    nr.Linear(3, 2, rng=5),
    nr.Linear(3, 2, bias=False, dtype=np.float64, rng=6),
]


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_there_and_back(torch, layer):
    module = nr.to_torch(layer)
    assert type(module) is getattr(torch.nn, type(layer).__name__)
    assert all(p.requires_grad and p.device.type == "cpu" for p in module.parameters())
    assert_same_bits({k: v.numpy() for k, v in module.state_dict().items()}, layer.state_dict())
    again = nr.from_torch(module)
    assert repr(again) == repr(layer) and again.dtype == layer.dtype
    assert_same_bits(again.state_dict(), layer.state_dict())
    if isinstance(layer, nr.RNN):
        assert module.training == again.training == layer.training
        assert module.dropout == again.dropout == layer.dropout


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_the_same_results(torch, layer):
    features = layer.in_features if isinstance(layer, nr.Linear) else layer.input_size
    shape = (5, 3, features) if isinstance(layer, nr.RNN) else (3, features)
    x = np.random.default_rng(0).standard_normal(shape).astype(layer.dtype)
    module = nr.to_torch(layer).eval()
    ours = nr.from_torch(module)(x)
    theirs = module(torch.from_numpy(x))
    if isinstance(layer, nr.RNN):
        (ours, h_n), (theirs, their_h_n) = ours, theirs
        assert_close(h_n, their_h_n.detach().numpy())
    assert_close(ours, theirs.detach().numpy())


def test_copies(torch):
    rnn = nr.RNN(2, 3, rng=0)
    module = nr.to_torch(rnn)
    again = nr.from_torch(module)
    before = rnn.state_dict()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(7)
    assert_same_bits(rnn.state_dict(), before)
    assert_same_bits(again.state_dict(), before)


def test_torch_trains_it(torch):
    """The flat memory of torch's own kernels is the parameters that the module shows."""
    module = nr.to_torch(nr.RNN(2, 3, rng=0))
    x = torch.ones(4, 1, 2)
    first, _ = module(x)
    first.sum().backward()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter -= parameter.grad
    assert not torch.equal(module(x)[0], first)


def test_torchs_random_numbers_are_left_alone(torch):
    before = torch.random.get_rng_state()
    nr.to_torch(nr.RNN(2, 3, rng=0))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_dropout_without_effect_is_not_warned_of_again(torch):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rnn, module = nr.RNN(2, 3, dropout=0.5), torch.nn.RNN(2, 3, dropout=0.5)
    assert nr.from_torch(module).dropout == nr.to_torch(rnn).dropout == 0.5


def test_parametrised_modules_give_what_they_compute(torch):
    module = torch.nn.RNN(2, 3)
    torch.nn.utils.parametrizations.weight_norm(module, "weight_hh_l0")
    with torch.no_grad():
        module.parametrizations.weight_hh_l0.original0.mul_(2)
    x = torch.ones(4, 1, 2)
    assert_close(nr.from_torch(module)(x.numpy())[0], module(x)[0].detach().numpy())


def test_bad_input(torch):
    for module in (torch.nn.LSTM(2, 3), torch.nn.Sequential(), nr.RNN(2, 3), None):
        with pytest.raises(TypeError, match=r"module must be a torch\.nn\.RNN.*got"):
            nr.from_torch(module)
    for layer in (torch.nn.RNN(2, 3), None, type("Mine", (nr.RNN,), {})(2, 3)):
        with pytest.raises(TypeError, match=r"layer must be an RNN.*got"):
            nr.to_torch(layer)
    with pytest.raises(ValueError, match=r"module.*torch.float32 or.*got torch.bfloat16"):
        nr.from_torch(torch.nn.RNN(2, 3, dtype=torch.bfloat16))
