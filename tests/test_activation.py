"""The activations, seen through a layer: how close tanh is, and what passes through unharmed.

A layer with W_ih = 1 and one step is its activation: f(x). With W_hh and the biases -0, even the
sign of a zero arrives.
"""

from decimal import Decimal, localcontext

import numpy as np
import pytest
from helpers import assert_same_bits, gradients, normal

import numba_rnn as nr

DTYPES = [np.float32, np.float64]
each_dtype = pytest.mark.parametrize("dtype", DTYPES)


def activation(x, nonlinearity="tanh"):
    rnn = nr.RNN(1, 1, nonlinearity=nonlinearity, dtype=x.dtype)
    rnn.flat_parameters[:] = -0.0
    rnn.weight_ih_l0[:] = 1
    parts = np.array_split(x, max(len(x) // 4000, 1))
    return np.concatenate([rnn(part[None, :, None])[0].ravel() for part in parts])


def ulps(ours, exact):
    """Error in units of the last place of the exact result."""
    unit = np.spacing(np.abs(exact).astype(ours.dtype))
    return np.abs(ours.astype(exact.dtype) - exact) / unit


def from_decimal(x):
    """Return tanh of float64 numbers as decimal ones, right to 40 digits and more."""
    results = []
    with localcontext() as context:
        context.prec = 60
        for value in map(Decimal, x.tolist()):
            if abs(value) < Decimal("1e-12"):
                result = value - value**3 / 3  # the next term is below 1e-48 of it
            elif abs(value) > 1000:
                result = value / abs(value)
            else:
                grown = (2 * value).exp()
                result = (grown - 1) / (grown + 1)
            results.append(result)
    return results


def sample(dtype, count):
    """All kinds of finite numbers: of every exponent, near every power of 2, and evenly spread."""
    info = np.finfo(dtype)
    whole = np.dtype(f"u{info.dtype.itemsize}").type
    step = int(info.max.view(whole)) // (count // 2)
    patterns = np.arange(count // 2, dtype=whole) * whole(step)
    powers = np.ldexp(dtype(1), np.arange(info.minexp - info.nmant, info.maxexp)).astype(dtype)
    near = powers.view(whole)[:, None] + np.arange(-3, 4).astype(whole)
    x = np.concatenate([
        patterns.view(dtype),
        near.ravel().view(dtype),
        np.linspace(0, 25, count // 2, dtype=dtype),
    ])  # fmt: skip
    x = x[np.isfinite(x)]
    return np.concatenate([x, -x])


def test_tanh_in_float32():
    x = sample(np.float32, 1 << 21)
    assert len(x) > 4_000_000
    ours = activation(x)
    assert ulps(ours, np.tanh(x.astype(np.float64))).max() <= 4
    assert_same_bits(ours, -activation(-x))
    assert np.abs(ours).max() == 1


def test_tanh_in_float64():
    x = sample(np.float64, 1 << 14)
    ours = activation(x)
    exact = from_decimal(x)
    units = np.spacing([abs(float(value)) for value in exact]).tolist()
    for value, known, unit in zip(ours.tolist(), exact, units, strict=True):
        assert abs(Decimal(value) - known) <= 4 * Decimal(unit)


@pytest.mark.skipif(
    np.finfo(np.longdouble).eps > 2e-19, reason="needs a long double that is longer than a double"
)
def test_tanh_in_float64_densely():
    x = np.random.default_rng(0).uniform(-25, 25, 1000)
    x[::2] *= np.exp(x[::2])
    for value, known in zip(np.tanh(x.astype(np.longdouble)), from_decimal(x), strict=True):
        high = float(value)
        value = Decimal(high) + Decimal(float(value - high))
        assert abs(value - known) <= abs(known) * Decimal("3e-19")  # good enough a judge
    x = sample(np.float64, 1 << 21)
    ours = activation(x)
    assert ulps(ours, np.tanh(x.astype(np.longdouble))).max() <= 4
    assert_same_bits(ours, -activation(-x))
    assert np.abs(ours).max() == 1


@each_dtype
def test_tanh_of_the_largest_and_the_least(dtype):
    info = np.finfo(dtype)
    huge = np.array([20, 100, 1e10, 1e30, info.max, np.inf], dtype)
    assert_same_bits(activation(huge), np.ones_like(huge))
    assert_same_bits(activation(-huge), -np.ones_like(huge))
    for zero in (0.0, -0.0):
        result = activation(np.full(17, zero, dtype))
        assert np.all(result == 0) and np.all(np.signbit(result) == np.signbit(zero))
    tiny = np.concatenate([
        np.arange(1, 2000) * info.smallest_subnormal, [info.tiny, info.tiny / 3],
    ]).astype(dtype)  # fmt: skip
    assert_same_bits(activation(tiny), tiny)
    assert_same_bits(activation(-tiny), -tiny)
    assert np.all(np.isnan(activation(np.array([np.nan, -np.nan], dtype))))


@each_dtype
def test_relu(dtype):
    info = np.finfo(dtype)
    positive = np.array([0, info.smallest_subnormal, info.tiny, 0.1, 1e30, info.max, np.inf], dtype)
    assert_same_bits(activation(positive, "relu"), positive)
    assert_same_bits(activation(-positive, "relu"), np.zeros_like(positive))
    assert np.all(np.isnan(activation(np.array([np.nan, -np.nan] * 9, dtype), "relu")))


def special(shape, dtype, seed):
    """Normal numbers with a few NaN, infinities, zeros and huge numbers among them."""
    rng = np.random.default_rng(seed)
    x = normal(shape, dtype, seed)
    values = np.array([np.nan, np.inf, -np.inf, -0.0, 1e30, -1e30], dtype)
    return np.where(rng.random(shape) < 0.03, rng.choice(values, shape), x)


@each_dtype
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("seed", range(6))
def test_nan_and_infinity_pass_as_in_torch(torch, seed, nonlinearity, dtype):
    """In the input, the state and the incoming gradients; on the way forward and back."""
    L, N, I, H = 4, 13, 3, 19
    rnn = nr.RNN(I, H, nonlinearity=nonlinearity, bidirectional=True, dtype=dtype, rng=seed)
    theirs = torch.nn.RNN(
        I, H, nonlinearity=nonlinearity, bidirectional=True, dtype=getattr(torch, rnn.dtype.name)
    )
    theirs.load_state_dict({name: torch.tensor(p) for name, p in rnn.parameters.items()})
    arrays = [special((L, N, I), dtype, seed), special((2, N, H), dtype, seed + 50)]
    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    tape, expected = rnn.forward(*arrays), theirs(*tensors)
    for ours, known in zip(tape, expected, strict=True):
        passed_alike(ours, known.detach().numpy())

    grads = [special(a.shape, dtype, seed + 100 + k) for k, a in enumerate(tape)]
    torch.autograd.backward(expected, [torch.tensor(g) for g in grads])
    result = gradients(tape.backward(*grads))
    passed_alike(result["input"], tensors[0].grad.numpy())
    passed_alike(result["h_0"], tensors[1].grad.numpy())
    for name, p in theirs.named_parameters():
        passed_alike(result["parameters"][name], p.grad.numpy())


def passed_alike(ours, theirs):
    """NaN and infinities in the same places, and about the same numbers elsewhere."""
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)
