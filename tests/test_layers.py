"""What a layer holds: parameters, state dicts, copies, dtypes; the cell and the linear map."""

import copy
import inspect
import pickle
import subprocess
import sys

import numpy as np
import pytest
from helpers import assert_close, assert_same_bits, check, example, normal
from scipy.optimize import minimize

import numba_rnn as nr
from numba_rnn import batches, reference

DTYPES = [np.float32, np.float64]
LAYERS = {
    "rnn": lambda **options: nr.RNN(3, 4, num_layers=2, bidirectional=True, **options),
    "cell": lambda **options: nr.RNNCell(3, 4, **options),
    "linear": lambda **options: nr.Linear(3, 4, **options),
}
each_layer = pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)


def output_of(layer):
    """Return what a layer makes of a fixed input."""
    result = layer(normal((5, 3), layer.dtype))
    return result[0] if isinstance(result, tuple) else result


def backward_of(layer):
    """Return a tape of a fixed input and the gradients of the sum of its output."""
    tape = layer.forward(normal((5, 3), layer.dtype))
    return tape, tape.backward(np.ones_like(getattr(tape, "h", getattr(tape, "output", None))))


# --- parameters ---------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_names_and_shapes_are_torchs(torch, bias, bidirectional):
    options = {"num_layers": 3, "bias": bias, "bidirectional": bidirectional}
    pairs = [
        (nr.RNN(3, 4, **options), torch.nn.RNN(3, 4, **options)),
        (nr.RNNCell(3, 4, bias), torch.nn.RNNCell(3, 4, bias)),
        (nr.Linear(3, 4, bias), torch.nn.Linear(3, 4, bias)),
    ]
    for ours, theirs in pairs:
        expected = {name: tuple(p.shape) for name, p in theirs.state_dict().items()}
        for named in (ours.parameters, ours.state_dict(), backward_of(ours)[1].parameters):
            assert list(named) == list(expected)
            assert {name: p.shape for name, p in named.items()} == expected
        assert bool(ours.bias is not None and np.any(ours.bias)) == bias


def test_names():
    assert list(nr.RNN(3, 4, 2, bidirectional=True).parameters) == [
        f"{kind}_l{layer}{suffix}"
        for layer in range(2)
        for suffix in ("", "_reverse")
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    ]
    assert list(nr.RNNCell(3, 4).parameters) == ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]
    assert list(nr.Linear(3, 4).parameters) == ["weight", "bias"]


@each_layer
def test_parameters_are_views_of_one_vector(make):
    layer = make(rng=0)
    flat = layer.flat_parameters
    assert flat.ndim == 1 and flat.flags.c_contiguous
    joined = np.concatenate([p.ravel() for p in layer.parameters.values()])
    assert_same_bits(flat, joined)
    for k, (name, p) in enumerate(layer.parameters.items()):
        assert np.shares_memory(p, flat) and p.flags.writeable and p.flags.c_contiguous
        assert np.shares_memory(getattr(layer, name), p)
        p[...] = k
        assert np.all(getattr(layer, name) == k)
        assert np.all(flat[np.cumsum([0, *(q.size for q in layer.parameters.values())])[k]] == k)
        assert name in dir(layer)
    flat[:] = 0
    assert np.all(output_of(layer) == 0)


@each_layer
def test_gradients_are_views_of_one_vector(make):
    _, grads = backward_of(make(rng=0, dtype=np.float64))
    joined = np.concatenate([g.ravel() for g in grads.parameters.values()])
    assert_same_bits(grads.flat, joined)
    for gradient in grads.parameters.values():
        assert np.shares_memory(gradient, grads.flat)
    before = grads.flat.copy()
    norm = nr.optim.clip_grad_norm(grads.flat, 0.1)
    assert norm == pytest.approx(np.linalg.norm(before))
    assert np.linalg.norm(grads.flat) == pytest.approx(0.1, rel=1e-4)
    assert_same_bits(grads.flat, np.concatenate([g.ravel() for g in grads.parameters.values()]))


@each_layer
def test_assignment(make):
    layer = make(rng=0)
    flat = layer.flat_parameters
    for name, p in layer.parameters.items():
        value = normal(p.shape)  # float64 into float32
        setattr(layer, name, value)
        assert_same_bits(p, value.astype(np.float32))
        assert getattr(layer, name) is not value
        setattr(layer, name, value.tolist())
        assert_same_bits(p, value.astype(np.float32))
        getattr(layer, name)[...] += 1  # in place, through what is read
        setattr(layer, name, getattr(layer, name) * 2)  # as in layer.w *= 2
        assert_same_bits(p, (value.astype(np.float32) + 1) * 2)
    assert layer.flat_parameters is flat or np.shares_memory(layer.flat_parameters, flat)
    layer.note = "anything else may be set"
    assert layer.note


@each_layer
@pytest.mark.parametrize(
    ("value", "exception", "words"),
    [
        (np.zeros((2, 2)), ValueError, ["shape", "(2, 2)"]),
        (np.zeros(()), ValueError, ["shape", "()"]),
        (0.0, ValueError, ["shape"]),
        ("zeros", TypeError, ["float"]),
        (None, TypeError, ["float"]),
        ([[1.0], [2.0, 3.0]], TypeError, ["array"]),
    ],
    ids=["shape", "scalar array", "number", "text", "None", "ragged"],
)
def test_refused_assignment(make, value, exception, words):
    layer = make(rng=0)
    before = layer.flat_parameters.copy()
    for name, p in layer.parameters.items():
        with pytest.raises(exception) as caught:
            setattr(layer, name, value)
        for word in [name, *words]:
            assert word in str(caught.value)
        if exception is ValueError:
            assert str(p.shape) in str(caught.value)
        for dtype in (np.int64, np.complex64, object, bool):
            with pytest.raises(TypeError, match=name):
                setattr(layer, name, np.ones(p.shape, dtype))
    assert_same_bits(layer.flat_parameters, before)


@pytest.mark.parametrize(
    ("layer", "names"),
    [
        (nr.RNN(3, 4, 2), ["weight_ih_l2", "weight_hh_l0_reverse", "bias_ih_l9", "weight"]),
        (nr.RNN(3, 4, bias=False), ["bias_ih_l0", "bias_hh_l0"]),
        (nr.RNNCell(3, 4), ["weight_ih_l0", "bias_ih_l0"]),
        (nr.RNNCell(3, 4, bias=False), ["bias_ih", "bias_hh"]),
        (nr.Linear(3, 4), ["weight_ih", "weights", "bias_ih"]),
        (nr.Linear(3, 4, bias=False), ["bias"]),
    ],
    ids=repr,
)
def test_unknown_parameter(layer, names):
    for name in names:
        with pytest.raises(AttributeError, match=rf"{name}.*weight"):
            setattr(layer, name, np.zeros(4))
        if name != "bias":  # which is None there
            with pytest.raises(AttributeError, match=name):
                getattr(layer, name)
        else:
            assert layer.bias is None


@each_layer
def test_properties_cannot_be_replaced(make):
    layer = make()
    for name in ("parameters", "dtype"):
        with pytest.raises(AttributeError):
            setattr(layer, name, getattr(layer, name))


@pytest.mark.parametrize("H", [1, 4, 100])
def test_initial_distribution(H):
    layers = [nr.RNN(50, H, 2, rng=0), nr.RNNCell(50, H, rng=0), nr.Linear(H, 50, rng=0)]
    bound = 1 / np.sqrt(H)
    for layer in layers:
        flat = layer.flat_parameters
        assert np.all(np.abs(flat) <= np.float32(bound))
        assert np.abs(flat).max() > 0.9 * bound
        assert abs(flat.mean()) < 5 * bound / np.sqrt(3 * flat.size)
        assert abs(flat.std() * np.sqrt(3) - bound) < 3 * bound / np.sqrt(flat.size)
        for p in layer.parameters.values():  # biases too
            assert np.all(p != 0)
    for part in np.array_split(layers[0].flat_parameters, 5):
        assert np.abs(part).max() > 0.5 * bound


@each_layer
def test_rng(make):
    """None, a seed or a generator, which is used and moved on."""
    assert_same_bits(make(rng=3).flat_parameters, make(rng=3).flat_parameters)
    assert_same_bits(make(rng=3).flat_parameters, make(rng=np.int64(3)).flat_parameters)
    rng = np.random.default_rng(3)
    assert_same_bits(make(rng=3).flat_parameters, make(rng=rng).flat_parameters)
    second = make(rng=rng)
    for other in (make(rng=3), make(rng=4), make(), make(rng=None)):
        assert not np.array_equal(second.flat_parameters, other.flat_parameters)


@each_layer
def test_same_seed_same_values_in_both_dtypes(make):
    single, double = make(rng=1), make(rng=1, dtype=np.float64)
    assert_same_bits(single.flat_parameters, double.flat_parameters.astype(np.float32))


@each_layer
def test_dtype(make):
    for dtype in (np.float32, "float32", np.dtype("f4"), "f"):
        assert make(dtype=dtype).dtype == np.float32
    for dtype in (np.float64, "float64", float, "float", "d", np.dtype(np.float64)):
        layer = make(dtype=dtype)
        assert layer.dtype == layer.flat_parameters.dtype == output_of(layer).dtype == np.float64
        _, grads = backward_of(layer)
        assert grads.flat.dtype == grads.input.dtype == np.float64
    assert make().dtype == np.float32


@each_layer
@pytest.mark.parametrize(
    "dtype",
    [
        np.float16, np.dtype("f2"), np.longdouble, np.int64, int, complex, object, None, ">f4",
        "x", 3, "float32x",
    ],
    ids=str,
)  # fmt: skip
def test_refused_dtype(make, dtype):
    with pytest.raises((ValueError, TypeError), match=r"dtype must be .*float32.*float64.*got"):
        make(dtype=dtype)


@pytest.mark.parametrize("name", ["RNN", "RNNCell", "Linear"])
def test_signature_is_torchs(torch, name):
    """The arguments in the same order with the same defaults, then what is ours by keyword."""
    ours = inspect.signature(getattr(nr, name)).parameters
    positional = [p for p in ours.values() if p.kind == p.POSITIONAL_OR_KEYWORD]
    assert [p.name for p in ours.values() if p.kind == p.KEYWORD_ONLY] == ["dtype", "rng"]
    theirs = getattr(torch.nn, name)
    if name != "RNN":  # whose signature is *args
        expected = list(inspect.signature(theirs).parameters.values())
        for p, q in zip(positional, expected, strict=False):
            assert (p.name, p.default) == (q.name, q.default)
    else:
        layer = theirs(1, 2)
        for p in positional[2:]:
            assert getattr(layer, p.name) == p.default, p.name
        both = (3, 4, 2, "relu", False, True, 0.5, True)
        for p in positional:
            assert getattr(theirs(*both), p.name) == getattr(nr.RNN(*both), p.name)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_layers": 2},
        {"bias": False},
        {"batch_first": True},
        {"bidirectional": True},
        {"num_layers": 3, "dropout": 0.25},
        {"num_layers": 2, "bias": False, "batch_first": True, "dropout": 0.5},
    ],
    ids=str,
)  # fmt: skip
def test_repr_is_torchs(torch, options):
    assert repr(nr.RNN(3, 4, **options)) == repr(torch.nn.RNN(3, 4, **options))


def test_repr():
    """What eval turns into the same layer."""
    layers = [
        nr.RNN(3, 4, nonlinearity="relu", dtype=np.float64),
        nr.RNN(3, 4, 2, dropout=0.5),
        nr.RNNCell(3, 4),
        nr.RNNCell(3, 4, False, "relu", dtype=np.float64),
        nr.Linear(3, 4),
        nr.Linear(3, 4, bias=False, dtype=np.float64),
    ]
    for layer in layers:
        names = {"RNN": nr.RNN, "RNNCell": nr.RNNCell, "Linear": nr.Linear, "float64": "float64"}
        again = eval(repr(layer), names)
        assert repr(again) == repr(layer)
        assert list(again.parameters) == list(layer.parameters)
        assert again.dtype == layer.dtype


# --- state dicts --------------------------------------------------------------------------------


@each_layer
def test_state_dict_copies(make):
    layer, other = make(rng=0), make(rng=1)
    state = layer.state_dict()
    flat = layer.flat_parameters
    before = flat.copy()
    for name, value in state.items():
        assert not np.shares_memory(value, flat)
        assert_same_bits(value, getattr(layer, name))
    assert other.load_state_dict(state) is None
    assert_same_bits(other.flat_parameters, before)
    for value in state.values():
        value[...] = 7
    assert_same_bits(layer.flat_parameters, before)
    assert_same_bits(other.flat_parameters, before)
    assert_same_bits(output_of(layer), output_of(other))


@each_layer
def test_state_dict_through_npz(make, tmp_path):
    layer, other = make(rng=0), make(rng=1)
    np.savez(tmp_path / "layer.npz", **layer.state_dict())
    with np.load(tmp_path / "layer.npz") as state:
        other.load_state_dict(state)
    assert_same_bits(layer.flat_parameters, other.flat_parameters)


@each_layer
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble, ">f8"])
def test_state_dict_is_cast(make, dtype):
    values = {name: p.astype(dtype) for name, p in make(rng=0).parameters.items()}
    for own in DTYPES:
        layer = make(rng=1, dtype=own)
        flat = layer.flat_parameters
        layer.load_state_dict(values)
        assert layer.flat_parameters is flat and layer.dtype == own
        assert_same_bits(layer.state_dict(), {n: v.astype(own) for n, v in values.items()})
        layer.load_state_dict({name: v.tolist() for name, v in values.items()})
        assert_same_bits(layer.state_dict(), {n: v.astype(own) for n, v in values.items()})


@each_layer
def test_state_dict_order_does_not_matter(make):
    layer, other = make(rng=0), make(rng=1)
    other.load_state_dict(dict(reversed(list(layer.state_dict().items()))))
    assert_same_bits(layer.parameters, other.parameters)


@pytest.mark.parametrize("name", LAYERS)
def test_torchs_state_dict_gives_torchs_output(torch, name):
    theirs = {
        "rnn": lambda: torch.nn.RNN(3, 4, num_layers=2, bidirectional=True),
        "cell": lambda: torch.nn.RNNCell(3, 4),
        "linear": lambda: torch.nn.Linear(3, 4),
    }[name]()
    x = normal((5, 3), np.float32)
    expected = theirs(torch.tensor(x))
    expected = expected[0] if isinstance(expected, tuple) else expected
    for dtype in DTYPES:  # torch's CPU tensors as they are
        layer = LAYERS[name](dtype=dtype)
        layer.load_state_dict({k: v.detach() for k, v in theirs.state_dict().items()})
        assert_close(output_of(layer), expected.detach().numpy(), 2e-5)
    back = {k: torch.tensor(v) for k, v in layer.state_dict().items()}
    theirs.double().load_state_dict(back)


# --- copies -------------------------------------------------------------------------------------

COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda layer: pickle.loads(pickle.dumps(layer)),
    "oldest pickle": lambda layer: pickle.loads(pickle.dumps(layer, protocol=0)),
    "copy of a copy": lambda layer: copy.deepcopy(copy.copy(layer)),
}
each_copy = pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES)


@each_copy
@each_layer
def test_copies_own_their_parameters(make, duplicate):
    layer = make(rng=0, dtype=np.float64)
    again = duplicate(layer)
    assert type(again) is type(layer) and repr(again) == repr(layer)
    assert_same_bits(again.parameters, layer.parameters)
    assert not np.shares_memory(again.flat_parameters, layer.flat_parameters)
    before = layer.flat_parameters.copy()
    for name, p in again.parameters.items():
        assert np.shares_memory(p, again.flat_parameters)
        assert np.shares_memory(getattr(again, name), again.flat_parameters)
    again.flat_parameters[:] = 0.5
    assert all(np.all(p == 0.5) for p in again.parameters.values())
    assert np.all(backward_of(again)[1].flat == backward_of(again)[1].flat)
    assert_same_bits(layer.flat_parameters, before)
    name = next(iter(layer.parameters))
    setattr(again, name, 2 * np.ones_like(getattr(layer, name)))
    assert np.all(again.flat_parameters[:12] == 2)
    assert_same_bits(layer.flat_parameters, before)


@each_copy
def test_copies_go_on_where_the_layer_was(duplicate):
    """Mode and generator travel; afterwards the two draw on their own."""
    layer = nr.RNN(3, 4, 2, dropout=0.5, rng=np.random.default_rng(0))
    layer(normal((5, 3), np.float32))
    again = duplicate(layer)
    assert again.training
    ours = [output_of(layer) for _ in range(3)]
    assert_same_bits(ours, [output_of(again) for _ in range(3)])
    assert not np.array_equal(ours[0], ours[1])
    again.eval()
    assert layer.training and not again.training
    assert not duplicate(again).training
    assert_same_bits(output_of(again), output_of(duplicate(again)))


# --- training on one vector ---------------------------------------------------------------------


def test_scipy_minimises_on_the_flat_vector():
    rnn = nr.RNN(1, 3, dtype=np.float64, rng=0)
    x, target = normal((8, 4, 1)), 0.5 * np.tanh(normal((8, 4, 3), seed=1))

    def loss(flat):
        rnn.flat_parameters[:] = flat
        tape = rnn.forward(x)
        value, gradient = nr.losses.mse(tape.output, target)
        return value, tape.backward(gradient).flat

    start = rnn.flat_parameters.copy()
    result = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 50})
    assert result.fun < 0.7 * loss(start)[0]
    assert loss(result.x)[0] == result.fun


def test_an_optimiser_trains_layers_together():
    rng = np.random.default_rng(0)
    rnn, readout = nr.RNN(1, 8, rng=rng), nr.Linear(8, 1, rng=rng)
    x = np.sin(np.arange(21, dtype=np.float32) / 2)[:, None, None]
    adam = nr.optim.Adam([rnn.flat_parameters, readout.flat_parameters], lr=0.02)
    values = []
    for _ in range(150):
        tape = rnn.forward(x[:-1])
        forecast = readout.forward(tape.output)
        value, gradient = nr.losses.mse(forecast.output, x[1:])
        d_readout = forecast.backward(gradient)
        adam.step([tape.backward(d_readout.input).flat, d_readout.flat])
        values.append(value)
    assert values[-1] < 0.05 * values[0]


def test_train_and_eval():
    rnn = nr.RNN(1, 1)
    assert rnn.training
    assert rnn.eval() is rnn and rnn.training is False
    assert rnn.train() is rnn and rnn.training is True
    assert rnn.train(False) is rnn and rnn.training is False
    with pytest.raises(TypeError, match="mode"):
        rnn.train("yes")


# --- the cell -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("size", [(5, 3, 4), (0, 3, 4), (1, 1, 1), (13, 17, 33)], ids=str)
def test_cell_against_the_textbook(size, bias, nonlinearity, dtype):
    N, I, H = size
    cell = nr.RNNCell(I, H, bias, nonlinearity, dtype=dtype, rng=0)
    x, h, dh_new = normal((N, I), dtype), normal((N, H), dtype, 1), normal((N, H), dtype, 2)
    kept = copy.deepcopy((x, h, dh_new))
    tape = cell.forward(x, h)
    grads = tape.backward(dh_new)
    double = [a.astype(np.float64) for a in (x, h, *cell.parameters.values(), dh_new)]
    *arguments, dh = double
    expected = reference.cell_forward(*arguments, nonlinearity=nonlinearity)
    assert_close(tape.h, expected)
    assert_same_bits(cell(x, h), tape.h)
    dx, dh, dw_ih, dw_hh, db = reference.cell_backward(
        dh, *arguments[:2], expected, *arguments[2:4], nonlinearity
    )
    assert_close(grads.input, dx)
    assert_close(grads.h, dh)
    known = [dw_ih, dw_hh, db, db] if bias else [dw_ih, dw_hh]
    for ours, theirs in zip(grads.parameters.values(), known, strict=True):
        assert_close(ours, theirs)
    assert_same_bits((x, h, dh_new), kept)


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("batched", [False, True])
def test_cell_against_torch(torch, nonlinearity, batched):
    theirs = torch.nn.RNNCell(3, 4, nonlinearity=nonlinearity, dtype=torch.float64)
    cell = nr.RNNCell(3, 4, nonlinearity=nonlinearity, dtype=np.float64)
    cell.load_state_dict(theirs.state_dict())
    leading = (5,) if batched else ()
    x, h, grad = normal((*leading, 3)), normal((*leading, 4), seed=1), normal((*leading, 4), seed=2)
    leaves = [torch.tensor(a, requires_grad=True) for a in (x, h)]
    expected = theirs(*leaves)
    expected.backward(torch.tensor(grad))
    tape = cell.forward(x, h)
    grads = tape.backward(grad)
    assert_close(tape.h, expected.detach().numpy())
    assert_close(grads.input, leaves[0].grad.numpy())
    assert_close(grads.h, leaves[1].grad.numpy())
    for name, p in theirs.named_parameters():
        assert_close(grads.parameters[name], p.grad.numpy())
    assert_close(cell(x), theirs(torch.tensor(x)).detach().numpy())


@pytest.mark.parametrize("dtype", DTYPES)
def test_cell_step_by_step_is_the_layer(dtype):
    rnn, cell = nr.RNN(3, 9, dtype=dtype, rng=0), nr.RNNCell(3, 9, dtype=dtype, rng=0)
    assert_same_bits(rnn.flat_parameters, cell.flat_parameters)
    x, h_0, _ = example(rnn, "padded", 6, 5)
    tape = rnn.forward(x, h_0)
    tapes, h = [], h_0[0]
    for x_t in x:
        tapes.append(cell.forward(x_t, h))
        h = tapes[-1].h
    assert_same_bits(np.stack([t.h for t in tapes]), tape.output)
    grad = normal(tape.output.shape, dtype, 3)
    expected, flat, dh = tape.backward(grad), 0, 0
    for t in reversed(range(6)):
        step = tapes[t].backward((grad[t] + dh).astype(dtype))
        dh, flat = step.h, flat + step.flat.astype(np.float64)
        assert_close(step.input, expected.input[t].astype(np.float64))
    assert_close(dh, expected.h_0[0].astype(np.float64))
    assert_close(expected.flat, flat)


def test_cell_tape():
    cell = nr.RNNCell(3, 4, dtype=np.float64, rng=0)
    x, h = normal((5, 3)), normal((5, 4))
    tape = cell.forward(x, h)
    first = tape.backward(np.ones((5, 4)))
    h[:] = 0
    cell.flat_parameters[:] = 0
    again = tape.backward(np.ones((5, 4)))
    for name in ("input", "h", "flat", "parameters"):
        assert_same_bits(getattr(again, name), getattr(first, name))
    with pytest.raises(ValueError, match="read-only"):
        tape.h[0] = 0
    assert cell(x).flags.writeable
    missing = cell.forward(x).backward(np.ones((5, 4)))
    assert missing.h.shape == (5, 4)


# --- the linear map -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("features", [(1, 1), (3, 4), (17, 33), (40, 1), (1, 40)], ids=str)
@pytest.mark.parametrize(
    "leading", [(), (1,), (7,), (0,), (2, 3), (2, 0, 3), (2, 1, 3, 2)], ids=str
)
def test_linear(leading, features, bias, dtype):
    I, O = features
    linear = nr.Linear(I, O, bias, dtype=dtype, rng=0)
    x, grad = normal((*leading, I), dtype), normal((*leading, O), dtype, 1)
    kept = x.copy(), grad.copy()
    tape = linear.forward(x)
    grads = tape.backward(grad)
    double, dy = x.astype(np.float64), grad.astype(np.float64)
    w = linear.weight.astype(np.float64)
    expected = double @ w.T + (linear.bias if bias else 0)
    assert_close(tape.output, expected)
    assert_same_bits(linear(x), tape.output)
    assert_close(grads.input, dy @ w)
    dy, double = dy.reshape(-1, O), double.reshape(-1, I)
    assert_close(grads.parameters["weight"], dy.T @ double)
    if bias:
        assert_close(grads.parameters["bias"], dy.sum(axis=0))
    assert_same_bits((x, grad), kept)


@pytest.mark.parametrize("leading", [(), (5,), (4, 3)], ids=str)
def test_linear_against_torch(torch, leading):
    theirs = torch.nn.Linear(3, 4, dtype=torch.float64)
    linear = nr.Linear(3, 4, dtype=np.float64)
    linear.load_state_dict(theirs.state_dict())
    x, grad = normal((*leading, 3)), normal((*leading, 4), seed=1)
    leaf = torch.tensor(x, requires_grad=True)
    expected = theirs(leaf)
    expected.backward(torch.tensor(grad))
    tape = linear.forward(x)
    grads = tape.backward(grad)
    assert_close(tape.output, expected.detach().numpy())
    assert_close(grads.input, leaf.grad.numpy())
    for name, p in theirs.named_parameters():
        assert_close(grads.parameters[name], p.grad.numpy())


@pytest.mark.parametrize("dtype", DTYPES)
def test_linear_with_much_work(dtype):
    """Enough for several threads; and one row alone gives the bits it gives among others."""
    linear = nr.Linear(65, 130, dtype=dtype, rng=0)
    x, grad = normal((301, 65), dtype), normal((301, 130), dtype, 1)
    tape = linear.forward(x)
    grads = tape.backward(grad)
    assert_close(tape.output, x.astype(np.float64) @ linear.weight.T + linear.bias)
    assert_close(grads.input, grad.astype(np.float64) @ linear.weight)
    assert_close(grads.parameters["weight"], grad.astype(np.float64).T @ x)
    for row in (0, 150, 300):
        assert_same_bits(linear(x[row]), tape.output[row])
        assert_same_bits(linear.forward(x[row]).backward(grad[row]).input, grads.input[row])


@pytest.mark.parametrize("sizes", [(1, 100_003), (100_003, 1)])
def test_linear_with_a_very_long_side(sizes):
    """Scratch memory is cut to the tiles, not to the layer: every block of columns must fit."""
    linear = nr.Linear(*sizes, dtype=np.float64, rng=0)
    rng = np.random.default_rng(0)
    x, g = rng.standard_normal((3, sizes[0])), rng.standard_normal((3, sizes[1]))
    tape = linear.forward(x)
    grads = tape.backward(g)
    np.testing.assert_allclose(tape.output, x @ linear.weight.T + linear.bias, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(grads.input, g @ linear.weight, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(grads.parameters["weight"], g.T @ x, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(grads.parameters["bias"], g.sum(axis=0), rtol=1e-9, atol=1e-9)


def test_linear_tape_and_memory():
    linear = nr.Linear(3, 4, dtype=np.float64, rng=0)
    x = normal((5, 2, 3))
    tape = linear.forward(x)
    first = tape.backward(np.ones((5, 2, 4)))
    linear.flat_parameters[:] = 0
    for ones in (np.ones((5, 2, 4)), np.broadcast_to(1.0, (5, 2, 4))):
        again = tape.backward(ones)
        for name in ("input", "flat", "parameters"):
            assert_same_bits(getattr(again, name), getattr(first, name))
    with pytest.raises(ValueError, match="read-only"):
        tape.output[0] = 0
    linear = nr.Linear(3, 4, dtype=np.float64, rng=0)
    assert linear(x).flags.writeable
    read_only = x.copy()
    read_only.flags.writeable = False
    for other in (read_only, np.asfortranarray(x), x[::-1].copy()[::-1], x.repeat(2, -1)[..., ::2]):
        assert_same_bits(linear(other), tape.output)


# --- the package --------------------------------------------------------------------------------


def test_public_names():
    for name in nr.__all__:
        assert getattr(nr, name) is not None
        assert name in dir(nr)
    with pytest.raises(AttributeError, match="no attribute 'LSTM'"):
        nr.LSTM  # noqa: B018


@pytest.mark.thread_unsafe(reason="names of the module come and go")
@pytest.mark.parametrize("module", [nr, nr.estimators], ids=["numba_rnn", "estimators"])
def test_names_are_listed_while_another_thread_imports_one(module):
    came = []

    def another_thread(frame, event, function):
        if event == "c_call" and getattr(function, "__name__", "") == "startswith" and not came:
            module.another = came.append(True)

    sys.setprofile(another_thread)
    try:
        names = dir(module)
    finally:
        sys.setprofile(None)
        del module.another
    assert came and "another" not in names and set(module.__all__) <= set(names)


def test_importing_is_light():
    """Neither Numba nor anything that is no dependency, until it is used."""
    code = (
        "import sys, numba_rnn; "
        "print(*{'numba', 'scipy', 'torch', 'matplotlib', 'tqdm'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_layers_agree_with_the_textbook_after_training():
    """Weights that are no longer initial ones, relu and tanh, one more time."""
    rnn = nr.RNN(3, 4, 2, bidirectional=True, dtype=np.float64, rng=0)
    rnn.flat_parameters[:] *= 3
    check(rnn, *example(rnn, "lengths", 9, 5))


def test_unpickled_from_read_only_memory():
    """As from a memory map: the parameters are still the layer's own to change."""
    rnn, buffers = nr.RNN(2, 3, rng=0), []
    packed = pickle.dumps(rnn, protocol=5, buffer_callback=buffers.append)
    copied = pickle.loads(packed, buffers=[bytes(b.raw()) for b in buffers])
    assert_same_bits(copied.flat_parameters, rnn.flat_parameters)
    copied.weight_ih_l0 = np.zeros((3, 2), np.float32)
    assert not copied.flat_parameters[:6].any()


def test_large_calls_leave_no_tables_behind():
    """Layouts of small calls are kept for the next one, those of large calls are not."""
    rnn = nr.RNN(1, 2, rng=0)
    sizes = []
    for steps in (200, 20_000):
        tape = rnn.forward(np.ones((steps, 1, 1), np.float32))
        tape.backward(tape.output)
        sizes.append(len(batches.padded(steps, 1, False).kept))
    assert sizes[0] > 0 and sizes[1] == 0


@pytest.mark.parametrize("name", ["bias2", "bias_hh_l7", "weights"])
def test_no_layer_takes_a_misspelt_parameter(name):
    for layer in (nr.RNN(2, 3), nr.RNNCell(2, 3), nr.Linear(2, 3), nr.Linear(2, 3, bias=False)):
        with pytest.raises(AttributeError, match=name):
            setattr(layer, name, np.zeros(3, np.float32))


@pytest.mark.parametrize("of", ["layer", "gradients"])
@each_layer
def test_the_dict_of_parameters_is_read(make, of):
    """A dict of live arrays; a new array in it would be nobody's, so it is refused."""
    layer = make(rng=0)
    owner = layer if of == "layer" else backward_of(layer)[1]
    before = owner.parameters
    name = list(before)[1]
    assert isinstance(before, dict)
    for change, kind, words in [
        (lambda p: p.__setitem__(name, 0 * p[name]), TypeError,
         rf"parameters\['{name}'\]\[\.\.\.\] = value"),
        (lambda p: p.__setitem__("wieght", 0), TypeError, f"no parameter 'wieght'; there.*{name}"),
        (lambda p: p.__delitem__(name), TypeError, r"dict\(parameters\)"),
        (lambda p: p.update({name: 0}), TypeError, r"dict\(parameters\)"),
        (lambda p: p.__ior__({name: 0}), TypeError, r"dict\(parameters\)"),
        (lambda p: p.setdefault("new", 0), TypeError, r"dict\(parameters\)"),
        (lambda p: p.pop(name), TypeError, r"dict\(parameters\)"),
        (lambda p: p.popitem(), TypeError, r"dict\(parameters\)"),
        (lambda p: p.clear(), TypeError, r"dict\(parameters\)"),
        (lambda p: p(), TypeError, "leave out the brackets"),
        (lambda p: setattr(owner, "parameters", p), AttributeError, "parameters"),
    ]:  # fmt: skip
        parameters = owner.parameters
        with pytest.raises(kind, match=words):
            change(parameters)
        assert_same_bits(parameters, before)
        assert_same_bits(owner.parameters, before)
    if of == "layer":
        with pytest.raises(TypeError, match=rf"or layer\.{name} = value"):
            owner.parameters[name] = 0
    owner.parameters[name][...] = 7  # as the message says
    assert (before[name] == 7).all()
    for mine in (dict(before), before.copy(), before | {"x": 1}, {**before}, copy.copy(before),
                 copy.deepcopy(before), pickle.loads(pickle.dumps(before))):  # fmt: skip
        assert type(mine) is dict
        mine["new"] = mine.pop(name)
    assert_same_bits(owner.parameters, before)


def test_kept_layouts_are_found_by_content_alone():
    """Lengths changed in place are new lengths, and equal ones from elsewhere the same."""
    rnn, x = nr.RNN(2, 3, rng=0), np.random.default_rng(0).standard_normal((5, 3, 2))
    x, lengths = x.astype(np.float32), np.array([5, 2, 3])
    first = rnn(x, lengths=lengths)
    lengths[:] = [1, 5, 0]
    second = rnn(x, lengths=lengths)
    assert_same_bits(second[0], rnn(x, lengths=[1, 5, 0])[0])
    assert_same_bits(first[0], rnn(x, lengths=np.array([5, 2, 3], np.uint8))[0])
    for lengths in ([5, 2, 6], [5, 2, -1], [5, 2]):
        for _ in range(2):  # what was refused is refused again
            with pytest.raises(ValueError, match="lengths"):
                rnn(x, lengths=lengths)


@pytest.mark.parametrize("kind", ["in front", "holes"])
def test_steps_that_do_not_count_are_left_out(kind):
    """As a loop over the cell has it that leaves the state as it is at such a step."""
    L, N = 9, 5
    rng = np.random.default_rng(0)
    x = normal((L, N, 2))
    real = rng.random((L, N)) < 0.6
    if kind == "in front":
        real = np.arange(L)[:, None] >= [0, 2, 5, 8, 9]
    x[~real] = np.nan  # never read
    rnn = nr.RNN(2, 3, dtype=np.float64, rng=0)
    kept = [x[real[:, n], n] for n in range(N)]
    _, h_n = rnn(nr.pad_sequence(kept), lengths=[len(steps) for steps in kept])
    cell = nr.RNNCell(2, 3, dtype=np.float64)
    cell.load_state_dict({name[:-3]: value for name, value in rnn.state_dict().items()})
    h = np.zeros((N, 3))
    for t in range(L):
        h[real[t]] = cell(x[t][real[t]], h[real[t]])
    np.testing.assert_array_equal(h_n[0], h)


# --- the next call ------------------------------------------------------------------------------

KINDS = {
    "rnn": (lambda dtype: nr.RNN(3, 4, dtype=dtype, rng=0), (5, 2, 3), (5, 2, 4)),
    "cell": (lambda dtype: nr.RNNCell(3, 4, dtype=dtype, rng=0), (2, 3), (2, 4)),
    "linear": (lambda dtype: nr.Linear(3, 4, dtype=dtype, rng=0), (2, 3), (2, 4)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_like_the_last_is_checked_as_the_first(kind):
    make, shape, _ = KINDS[kind]
    layer, x = make(np.float32), np.ones(shape, np.float32)
    for wrong in (x.astype(">f4"), x.astype(np.float64), x[..., :2], x[..., 0], x.tolist(),
                  np.ma.masked_equal(x, 1)):  # fmt: skip
        with pytest.raises((TypeError, ValueError)) as first:
            make(np.float32)(wrong)
        layer(x)
        with pytest.raises(type(first.value)) as later:
            layer(wrong)
        assert str(later.value) == str(first.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_like_the_last_takes_memory_of_any_kind(kind):
    make, shape, _ = KINDS[kind]
    layer = make(np.float32)
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    expected = layer(x)
    read_only, strided = x.copy(), np.repeat(x, 2, axis=-1)[..., ::2]
    read_only.setflags(write=False)
    unaligned = np.frombuffer(b"." + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(shape)
    for same in (read_only, strided, unaligned, np.asfortranarray(x)):
        found = layer(same)
        for a, b in zip(expected, found, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", KINDS)
def test_a_deep_copy_of_a_tape_goes_back_too(kind):
    make, shape, grown = KINDS[kind]
    tape = make(np.float64).forward(np.ones(shape))
    twin = copy.deepcopy(tape)
    g = np.ones(grown)
    assert twin.backward(g).flat.tobytes() == tape.backward(g).flat.tobytes()
    name = "h" if kind == "cell" else "output"
    assert not np.shares_memory(getattr(twin, name), getattr(tape, name))
