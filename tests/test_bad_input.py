"""Bad input: what is raised, what the message says, and that nothing has changed afterwards."""

import copy
import re
from contextlib import contextmanager

import numpy as np
import pytest
from helpers import normal
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import eye_array

import numba_rnn as nr

L, N, I, H = 7, 5, 3, 4
F32 = np.float32


def zeros(*shape, dtype=F32):
    return np.zeros(shape, dtype)


class Layers:
    """One of each, and the generator that the RNN draws from."""

    def __init__(self):
        self.rng = np.random.default_rng(0)
        self.rnn = nr.RNN(I, H, 2, dropout=0.5, bidirectional=True, rng=self.rng)
        self.batch_first = nr.RNN(I, H, batch_first=True, rng=0)
        self.double = nr.RNN(I, H, dtype=np.float64, rng=0)
        self.cell = nr.RNNCell(I, H, rng=0)
        self.linear = nr.Linear(I, H, rng=0)
        self.layers = [self.rnn, self.batch_first, self.double, self.cell, self.linear]

    def snapshot(self):
        flats = [layer.flat_parameters.tobytes() for layer in self.layers]
        return flats, [repr(layer) for layer in self.layers], self.rng.bit_generator.state

    @contextmanager
    def refuse(self, exception, *words):
        """Refuse what happens inside, with these words in the message, changing nothing."""
        before = self.snapshot()
        with pytest.raises(exception) as caught:
            yield
        assert type(caught.value) in (ValueError, TypeError)
        message = str(caught.value)
        for word in words:
            assert str(word) in message, f"{word!r} is not in {message!r}"
        assert self.snapshot() == before


@pytest.fixture
def layers():
    return Layers()


# --- construction -------------------------------------------------------------------------------

SIZES = [
    (0, ValueError), (-2, ValueError), (2**40, ValueError), (10**400, ValueError),
    (2.0, TypeError), (True, TypeError), ("2", TypeError), (None, TypeError),
    (np.array([2]), TypeError), (np.float32(2), TypeError),
]  # fmt: skip


@pytest.mark.parametrize(("value", "exception"), SIZES, ids=repr)
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (nr.RNN, "input_size"), (nr.RNN, "hidden_size"), (nr.RNN, "num_layers"),
        (nr.RNNCell, "input_size"), (nr.RNNCell, "hidden_size"),
        (nr.Linear, "in_features"), (nr.Linear, "out_features"),
    ],
)  # fmt: skip
def test_sizes(make, name, value, exception):
    sizes = ("in_features", "out_features") if make is nr.Linear else ("input_size", "hidden_size")
    with pytest.raises(exception, match=rf"{name} must be"):
        make(**dict.fromkeys(sizes, 2) | {name: value})


@pytest.mark.parametrize(
    ("option", "value", "exception", "words"),
    [
        ("nonlinearity", "sigmoid", ValueError, ["'tanh'", "'relu'", "sigmoid"]),
        ("nonlinearity", "TANH", ValueError, ["TANH"]),
        ("nonlinearity", None, ValueError, ["None"]),
        ("nonlinearity", np.tanh, ValueError, ["tanh"]),
        ("bias", 1, TypeError, ["True or False", "1"]),
        ("bias", None, TypeError, ["None"]),
        ("batch_first", 0, TypeError, ["True or False", "0"]),
        ("bidirectional", "yes", TypeError, ["True or False", "yes"]),
        ("dropout", -0.1, ValueError, ["[0, 1]", "-0.1"]),
        ("dropout", 1.1, ValueError, ["[0, 1]", "1.1"]),
        ("dropout", float("nan"), ValueError, ["[0, 1]", "nan"]),
        ("dropout", True, TypeError, ["True"]),
        ("dropout", "0.5", TypeError, ["0.5"]),
        ("dropout", None, TypeError, ["None"]),
        ("rng", -1, ValueError, ["negative", "-1"]),
        ("rng", 1.5, TypeError, ["1.5"]),
        ("rng", True, TypeError, ["True"]),
        ("rng", "seed", TypeError, ["Generator", "seed"]),
        ("rng", np.random.RandomState(0), TypeError, ["Generator"]),
    ],
    ids=lambda value: (
        type(value).__name__ if isinstance(value, np.random.RandomState) else repr(value)
    ),
)
def test_options(option, value, exception, words):
    makers = {"rnn": lambda **o: nr.RNN(I, H, 2, **o)}
    if option in ("nonlinearity", "bias", "rng"):
        makers["cell"] = lambda **o: nr.RNNCell(I, H, **o)
    if option in ("bias", "rng"):
        makers["linear"] = lambda **o: nr.Linear(I, H, **o)
    for make in makers.values():
        with pytest.raises(exception, match=option) as caught:
            make(**{option: value})
        for word in words:
            assert word in str(caught.value)


# --- input --------------------------------------------------------------------------------------

SHAPES = [(), (I,), (L, N, I + 1), (L, N, I - 1), (L, N, 0), (L, I + 1), (1, L, N, I)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shape_of_x(layers, shape):
    x = zeros(*shape)
    for call in (layers.rnn, layers.rnn.forward):
        with layers.refuse(ValueError, "x must have shape", "(L, N, 3) or (L, 3)", shape):
            call(x)
    with layers.refuse(ValueError, "x must have shape", "(N, L, 3) or (L, 3)", shape):
        layers.batch_first(x)
    if shape != (I,):
        for call in (layers.cell, layers.cell.forward):
            with layers.refuse(ValueError, "x must have shape", "(N, 3) or (3)", shape):
                call(x)
    if shape[-1:] != (I,):
        for call in (layers.linear, layers.linear.forward):
            with layers.refuse(ValueError, "x must have shape", "(..., 3)", shape):
                call(x)


def test_shape_of_x_for_the_cell(layers):
    with layers.refuse(ValueError, "x must have shape", "(N, 3) or (3)", (L, N, I)):
        layers.cell(zeros(L, N, I))


DTYPES = [
    np.float64, np.float16, np.longdouble, np.int32, np.int64, np.uint8, bool, np.complex64,
    np.complex128, object, "U3", "S3", "M8[s]", ">f4", [("a", "f4")],
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dtype_of_arrays(layers, dtype):
    """The message names both dtypes and says how to convert."""

    def bad(*shape):
        return np.zeros(shape, dtype)

    x, fix = zeros(L, N, I), "astype(np.float32)"
    got = str(np.dtype(dtype))
    tape = layers.rnn.forward(x)
    cell_tape, linear_tape = layers.cell.forward(x[0]), layers.linear.forward(x)
    calls = {
        "x": [lambda: layers.rnn(bad(L, N, I)), lambda: layers.rnn.forward(bad(L, I))],
        "h_0": [lambda: layers.rnn(x, bad(4, N, H))],
        "h": [lambda: layers.cell(x[0], bad(N, H))],
        "grad_output": [
            lambda: tape.backward(bad(L, N, 2 * H)),
            lambda: linear_tape.backward(bad(L, N, H)),
        ],
        "grad_h_n": [
            lambda: tape.backward(grad_h_n=bad(4, N, H)),
            lambda: tape.backward(zeros(L, N, 2 * H), bad(4, N, H)),
        ],
        "grad_h": [lambda: cell_tape.backward(bad(N, H))],
    }
    calls["x"] += [lambda: layers.cell(bad(N, I)), lambda: layers.linear(bad(N, I))]
    for name, group in calls.items():
        for call in group:
            with layers.refuse(TypeError, name, "float32", got, f"{name}.{fix}"):
                call()


def test_the_other_float_dtype(layers):
    """Both ways out: convert the array, or build the layer for it."""
    with layers.refuse(TypeError, "x", "float32", "float64", "dtype=np.float64"):
        layers.rnn(np.zeros((L, N, I)))
    with layers.refuse(TypeError, "x", "x.astype(np.float64)", "dtype=np.float32"):
        layers.double(zeros(L, N, I))
    with layers.refuse(TypeError, "h_0", "h_0.astype(np.float64)", "got float32"):
        layers.double(np.zeros((L, N, I)), zeros(1, N, H))


@pytest.mark.parametrize(
    "value",
    [None, "text", 3, 1.5, [[[0.0] * I] * N] * L, (1.0,), {"x": 1}, object(), memoryview(b"abc")],
    ids=lambda v: type(v).__name__,
)
def test_no_array(layers, value):
    x = zeros(L, N, I)
    tape = layers.rnn.forward(x)
    cell_tape, linear_tape = layers.cell.forward(x[0]), layers.linear.forward(x)
    for call in (layers.rnn, layers.rnn.forward, layers.cell, layers.cell.forward,
                 layers.linear, layers.linear.forward):  # fmt: skip
        with layers.refuse(TypeError, "x must be", "array", "float32", type(value).__name__):
            call(value)
    with layers.refuse(TypeError, "grad_h must be", "array", type(value).__name__):
        cell_tape.backward(value)
    with layers.refuse(TypeError, "grad_output must be", "array", type(value).__name__):
        linear_tape.backward(value)
    if value is None:  # which stands for something left out
        return
    with layers.refuse(TypeError, "h_0 must be", "array", type(value).__name__):
        layers.rnn(x, value)
    with layers.refuse(TypeError, "h must be", "array", type(value).__name__):
        layers.cell(x[0], value)
    with layers.refuse(TypeError, "grad_output must be", "array", type(value).__name__):
        tape.backward(value)
    with layers.refuse(TypeError, "grad_h_n must be", "array", type(value).__name__):
        tape.backward(grad_h_n=value)


# --- masks --------------------------------------------------------------------------------------


def masked(*shape, dtype=F32):
    """Return an array with one masked entry, whose value stands for nothing."""
    array = np.ma.masked_array(np.zeros(shape, dtype), False)
    array[(0,) * len(shape)] = np.ma.masked
    return array


def test_masked_arrays(layers):
    """NumPy would drop the mask, and what lies under it would be a number like any other."""
    x, words = zeros(L, N, I), ("masked entries, got 1 of", ".filled(value)")
    tape = layers.rnn.forward(x)
    cell_tape, linear_tape = layers.cell.forward(x[0]), layers.linear.forward(x)
    state = {name: p.copy() for name, p in layers.rnn.parameters.items()}
    weight, shape = "weight_hh_l1", (H, H)
    calls = {
        "x": [
            lambda: layers.rnn(masked(L, N, I)),
            lambda: layers.rnn.forward(masked(L, I)),
            lambda: layers.cell(masked(N, I)),
            lambda: layers.linear(masked(L, N, I)),
        ],
        "h_0": [lambda: layers.rnn(x, masked(4, N, H))],
        "h": [lambda: layers.cell(x[0], masked(N, H))],
        "grad_output": [
            lambda: tape.backward(masked(L, N, 2 * H)),
            lambda: linear_tape.backward(masked(L, N, H)),
        ],
        "grad_h_n": [lambda: tape.backward(grad_h_n=masked(4, N, H))],
        "grad_h": [lambda: cell_tape.backward(masked(N, H))],
        "lengths": [lambda: layers.rnn(x, lengths=masked(N, dtype=int))],
        weight: [lambda: layers.rnn.load_state_dict(state | {weight: masked(*shape)})],
    }
    for name, group in calls.items():
        for call in group:
            with layers.refuse(ValueError, f"{name} must have no", *words):
                call()


def test_masked_arrays_of_sequences():
    calls = {
        "sequences[1]": lambda: nr.pack_sequence([zeros(3, I), masked(2, I)]),
        "batch_sizes": lambda: nr.PackedSequence(zeros(3, I), masked(2, dtype=int)),
        "data": lambda: nr.PackedSequence(masked(3, I), [2, 1]),
        "input": lambda: nr.pack_padded_sequence(masked(L, N, I), [L] * N),
    }
    for name, call in calls.items():
        with pytest.raises(ValueError, match=r"must have no masked entries, got 1 of") as caught:
            call()
        assert str(caught.value).startswith(name), name


def test_masked_arrays_of_losses_and_optimisers():
    y, p = zeros(N, I), zeros(N, I)
    opt = nr.optim.Adam(p, 1e-2)
    calls = {
        "prediction": [lambda: nr.losses.mse(masked(N, I), y)],
        "target": [
            lambda: nr.losses.mse(y, masked(N, I)),
            lambda: nr.losses.huber(y, masked(N, I)),
            lambda: nr.losses.binary_cross_entropy(y, masked(N, I)),
            lambda: nr.losses.cross_entropy(y, masked(N, dtype=int)),
        ],
        "weights": [lambda: nr.losses.mse(y, y, masked(N, I))],
        "params": [lambda: nr.optim.SGD(masked(N, I), 1e-2)],
        "params[1]": [lambda: nr.optim.SGD([y, masked(N, I)], 1e-2)],
        "grads": [lambda: opt.step(masked(N, I)), lambda: nr.optim.clip_grad_norm(masked(N), 1.0)],
    }
    for name, group in calls.items():
        for call in group:
            with pytest.raises(ValueError, match="must have no masked entries, got 1 of") as caught:
                call()
            assert str(caught.value).startswith(name + " must"), name
    assert not p.any()


def test_a_mask_of_nothing_changes_nothing(layers):
    x, h = np.ma.masked_array(np.ones((L, N, I), F32)), np.ma.masked_array(zeros(1, L, H))
    plain, found = layers.batch_first(x.data, h.data), layers.batch_first(x, h)
    for ours, theirs in zip(found, plain, strict=True):
        assert type(ours) is np.ndarray
        np.testing.assert_array_equal(ours, theirs)
    params = np.ma.masked_array(zeros(3), [False] * 3)
    nr.optim.SGD(params, 1.0).step(np.ma.masked_array(np.ones(3, F32)))
    np.testing.assert_array_equal(params.data, -1)
    value, slope = nr.losses.mse(x, np.ma.masked_array(x.data + 1))
    assert value == 1 and type(slope) is np.ndarray


def test_torch_tensors_are_refused_as_input(layers, torch):
    with layers.refuse(TypeError, "x must be", "NumPy array", "Tensor"):
        layers.rnn(torch.zeros(L, N, I))


# --- what other libraries give ------------------------------------------------------------------


class Foreign:
    """One array in many forms, and calls that take it, with the answer to the array itself."""

    def __init__(self, torch):
        self.torch = torch
        self.x = np.round(8 * normal((L, N, I))).astype(F32) / 8  # what half a float32 can hold
        self.lengths = [4, 7, 1, 2, 3]
        self.rnn, self.cell = nr.RNN(I, H, rng=0), nr.RNNCell(I, H, rng=0)
        self.double, self.linear = nr.RNN(I, H, dtype=np.float64, rng=0), nr.Linear(I, H, rng=0)
        self.identity = nr.RNN(I, I, rng=0)

    def forms(self):
        torch, x = self.torch, self.torch.tensor(self.x)
        return {
            "float32": x,
            "double": x.double(),
            "half": x.half(),
            "bfloat16": x.bfloat16(),
            "float8": (x * 0).to(torch.float8_e4m3fn),
            "requires grad": x.clone().requires_grad_(),
            "bfloat16 with grad": x.bfloat16().requires_grad_(),
            "parameter": torch.nn.Parameter(x),
            "int64": (8 * x).long(),
            "bool": x > 0,
            "sparse": x.to_sparse(),
            "negative bit": torch.complex(x, x).conj().imag,
            "list": self.x.tolist(),
            "tuple of arrays": tuple(self.x),
            "float64": self.x.astype(np.float64),
            "object": self.x.astype(object),
            "masked": np.ma.masked_array(self.x, self.x > 9),
        }

    def packed_forms(self):
        torch, utils = self.torch, self.torch.nn.utils.rnn
        x = torch.tensor(self.x)
        lists = [self.x[:length, n] for n, length in enumerate(self.lengths)]
        ours = nr.pack_padded_sequence(self.x, self.lengths, enforce_sorted=False)
        return {
            **{
                f"torch's, {name}": utils.pack_padded_sequence(
                    kind, self.lengths, enforce_sorted=False
                )
                for name, kind in [
                    ("float32", x),
                    ("double", x.double()),
                    ("bfloat16", x.bfloat16()),
                    ("with grad", x.clone().requires_grad_()),
                    ("bfloat16 with grad", x.bfloat16().requires_grad_()),
                ]
            },
            "float64": ours._replace(data=ours.data.astype(np.float64)),
            "ragged list": lists,
            "ragged list of tensors": [torch.tensor(a) for a in lists],
            "ragged list, float64": [a.astype(np.float64) for a in lists],
        }


def advice(message):
    """Return the expression that a message ends with; None where it ends with none."""
    for word in ("convert with ", "copy it with ", ": pass "):
        if word in message:
            return re.split(", or | or build | if they ", message.split(word)[1])[0]
    return None


def follow(call, name, value, **names):
    """Do what the messages say until the call is accepted; return what it returns, and how often.

    The value is called `name` in the messages; what they say of ``name[1]`` is put there.
    """
    for rounds in range(4):
        try:
            return call(value), rounds
        except (TypeError, ValueError) as error:
            message = str(error)
        expression = advice(message)
        assert expression is not None, message
        result = eval(expression, {"np": np, "nr": nr, name: value, **names})
        if message.startswith(f"{name}["):
            value = list(value)
            value[int(message[len(name) + 1 :].split("]")[0])] = result
        else:
            value = result
    raise AssertionError(f"still refused: {message}")


def answers(value):
    if isinstance(value, nr.PackedSequence):
        return [value.data]
    return list(value) if isinstance(value, tuple) else [value]


def same(got, expected):
    for ours, theirs in zip(answers(got), answers(expected), strict=True):
        data = (getattr(a, "data", a) if isinstance(a, tuple) else a for a in (ours, theirs))
        np.testing.assert_array_equal(*data)


def test_the_way_out_of_a_message_works(torch):
    """For every form of an array and every place that takes one."""
    foreign = Foreign(torch)
    f, x = foreign, foreign.x
    tape, double_tape = f.identity.forward(x), f.double.forward(x.astype(np.float64))
    assert double_tape.output.dtype == np.float64
    vector = f.identity.flat_parameters.copy()

    def mse(*arguments):
        value, gradient = nr.losses.mse(*arguments)
        return value, gradient.astype(F32)

    def train(value):
        layer = nr.RNN(I, I, rng=0)
        nr.optim.SGD([layer.weight_ih_l0, layer.weight_hh_l0], lr=1.0).step(value)
        return layer.flat_parameters.copy()

    def assign(value):
        f.identity.weight_hh_l0 = value
        weight = f.identity.weight_hh_l0.copy()
        f.identity.flat_parameters = vector
        return weight

    def load(value):
        layer = nr.Linear(I, I, bias=False)
        layer.load_state_dict({"weight": value})
        return layer.weight

    calls = [
        ("x", f.rnn, lambda a: a), ("x", f.double, lambda a: a), ("x", f.linear, lambda a: a),
        ("x", f.cell, lambda a: a[0]),
        ("x", lambda v: f.rnn.forward(v).output, lambda a: a),
        ("h_0", lambda v: f.identity(x, v), lambda a: a[:1]),
        ("h", lambda v: nr.RNNCell(I, I, rng=0)(x[0], v), lambda a: a[0]),
        ("grad_output", lambda v: tape.backward(v).flat, lambda a: a),
        ("grad_h_n", lambda v: tape.backward(grad_h_n=v).flat, lambda a: a[:1]),
        ("prediction", lambda v: mse(v, 0 * x), lambda a: a),
        ("target", lambda v: mse(x, v), lambda a: a),
        ("weights", lambda v: mse(x, 0 * x, v), lambda a: abs(a)),
        ("grads", train, lambda a: [a[0, :I], a[1, :I]]),
        ("weight_hh_l0", assign, lambda a: a[0, :I]),
        ("weight", load, lambda a: a[0, :I]),
        ("input", lambda v: nr.pack_padded_sequence(v, [L] * N), lambda a: a),
        ("sequences", nr.pad_sequence, lambda a: [a[0], a[1]]),
        ("data", lambda v: nr.PackedSequence(v, [1]), lambda a: a[0, :1]),
    ]  # fmt: skip
    for form, value in foreign.forms().items():
        dense = value.to_dense() if form == "sparse" else value
        host = {
            "int64": 8 * x, "bool": x > 0, "float8": 0 * x, "negative bit": -x,
        }.get(form, x).astype(F32)  # fmt: skip
        for name, call, part in calls:
            try:
                given = part(dense if not isinstance(dense, (list, tuple)) else np.array(dense))
            except (TypeError, RuntimeError):  # what torch can't do with a dtype
                continue
            if form in ("list", "tuple of arrays"):
                given = [list(p) for p in given] if isinstance(given, list) else type(value)(given)
            if form == "sparse":
                given = [p.to_sparse() for p in given] if type(given) is list else given.to_sparse()
            if form == "masked" and name in ("grads", "sequences"):
                given = [np.ma.masked_array(p) for p in given]
            expected = part(host)
            if call == f.double:
                expected = expected.astype(np.float64)
            got, rounds = follow(call, name, given, torch=torch)
            same(got, call(expected))
            assert rounds <= 2 + isinstance(given, list) * 2, (form, name)


def test_the_way_out_for_packed_sequences(torch):
    foreign = Foreign(torch)
    packed = nr.pack_padded_sequence(foreign.x, foreign.lengths, enforce_sorted=False)
    tape = foreign.identity.forward(packed)
    for form, value in foreign.packed_forms().items():
        calls = [
            ("x", foreign.rnn),
            ("x", lambda v: foreign.rnn.forward(v).output),
            ("grad_output", lambda v: tape.backward(v).flat),
        ]
        if "list" not in form and form != "float64":
            calls += [
                ("sequence", lambda v: nr.pad_packed_sequence(v)[0].astype(F32)),
                ("packed_sequences", lambda v: tuple(a.astype(F32) for a in nr.unpack_sequence(v))),
                ("x", foreign.linear),
            ]
        for name, call in calls:
            got, _ = follow(call, name, value, torch=torch)
            same(got, call(packed.data if call is foreign.linear else packed))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_foreign_parameters_and_lengths(torch, dtype):
    """Vectors that an optimiser would change: what is advised is the very memory, or nothing."""
    tensor = torch.ones(4, dtype=getattr(torch, dtype), requires_grad=True)
    if dtype == "bfloat16":
        for call in (nr.optim.Adam, lambda v: nr.optim.clip_grad_norm(v, 1.0)):
            with pytest.raises(TypeError, match=r"must be a NumPy array.*bfloat16$"):
                call(tensor)
    else:
        for value in (tensor, [tensor]):
            follow(lambda v: nr.optim.SGD(v, 1.0).step(v), "params", value)
            assert (tensor == 0).all()
            tensor.detach()[:] = 1
            follow(lambda v: nr.optim.clip_grad_norm(v, 0.0), "grads", value)
            assert (tensor == 0).all()
            tensor.detach()[:] = 1
    rnn, x = nr.RNN(I, H, rng=0), zeros(L, N, I)
    lengths = torch.tensor([1, 2, 3, 4, 5]).to(getattr(torch, dtype))
    got, _ = follow(lambda v: rnn(x, lengths=v), "lengths", lengths)
    same(got, rnn(x, lengths=[1, 2, 3, 4, 5]))


def test_advice_is_given_where_it_works_alone():
    """Not for what NumPy makes nothing of, or makes an array that nobody meant."""
    rnn = nr.RNN(I, H, rng=0)
    for value in (None, 3, "12", {"x": 1}, object(), [[1.0], [2.0, 3.0]], [None, "a"], memoryview):
        with pytest.raises(TypeError) as caught:
            rnn(value)
        assert advice(str(caught.value)) is None
    sparse = eye_array(I, dtype=F32)
    got, _ = follow(rnn, "x", sparse)
    same(got, rnn(np.eye(I, dtype=F32)))


@pytest.mark.parametrize("shape", [(4, N, H + 1), (2, N, H), (4, N - 1, H), (4, H), (N, H), (0,)])
def test_shape_of_h_0(layers, shape):
    for call in (layers.rnn, layers.rnn.forward):
        with layers.refuse(ValueError, "h_0 must have shape", (4, N, H), shape):
            call(zeros(L, N, I), zeros(*shape))
    packed = nr.PackedSequence(zeros(2 * N, I), [N, N])
    with layers.refuse(ValueError, "h_0 must have shape", (4, N, H), shape):
        layers.rnn(packed, zeros(*shape))
    with layers.refuse(ValueError, "h must have shape", (N, H), "got"):
        layers.cell(zeros(N, I), zeros(*shape, 1))


def test_shape_of_h_0_follows_x(layers):
    with layers.refuse(ValueError, "h_0 must have shape", (4, H), (4, 1, H)):
        layers.rnn(zeros(L, I), zeros(4, 1, H))
    with layers.refuse(ValueError, "h_0 must have shape", (1, N, H), (N, 1, H)):
        layers.batch_first(zeros(N, L, I), zeros(N, 1, H))
    with layers.refuse(ValueError, "h must have shape", (H,), (1, H)):
        layers.cell(zeros(I), zeros(1, H))


# --- lengths ------------------------------------------------------------------------------------

LENGTHS = {
    "too long": ([1, 2, L + 1, 3, 4], ValueError, [L, L + 1, "index 2"]),
    "far too long": ([1, 2, 2**62, 3, 4], ValueError, [L, 2**62]),
    "negative": ([1, -1, 2, 3, 4], ValueError, ["-1", "index 1"]),
    "most negative": ([1, -(2**63), 2, 3, 4], ValueError, [-(2**63)]),
    "over int64": ([1, 2**64, 2, 3, 4], (ValueError, TypeError), []),
    "over int64, unsigned": (np.full(N, 2**63, np.uint64), ValueError, [2**63]),
    "float": (np.full(N, 2.0), TypeError, ["integers", "float64"]),
    "list of float": ([1.0, 2.0, 3.0, 4.0, 5.0], TypeError, ["integers"]),
    "bool": (np.ones(N, bool), TypeError, ["integers", "bool"]),
    "list with a bool": ([True, 2, 3, 4, 5], TypeError, ["integers"]),
    "object": (np.array([1, 2, 3, 4, 5], object), TypeError, ["integers", "object"]),
    "complex": (np.ones(N, complex), TypeError, ["integers", "complex"]),
    "strings": (["1"] * N, TypeError, ["integers"]),
    "Nones": ([None] * N, TypeError, ["integers"]),
    "too few": ([1] * (N - 1), ValueError, [N, N - 1]),
    "too many": ([1] * (N + 1), ValueError, [N, N + 1]),
    "none": ([], ValueError, [N, 0]),
    "2-D": (np.ones((N, 1), int), ValueError, ["1-D", (N, 1)]),
    "a number": (3, ValueError, ["1-D", "3"]),
    "ragged": ([[1], [2, 3]], (ValueError, TypeError), ["1-D"]),
    "text": ("12345", ValueError, ["1-D"]),
    "dict": ({"a": 1}, (ValueError, TypeError), ["1-D"]),
}


@pytest.mark.parametrize("case", LENGTHS)
def test_lengths(layers, case):
    value, exception, words = LENGTHS[case]
    for call in (layers.rnn, layers.rnn.forward):
        with layers.refuse(exception, "lengths", *words):
            call(zeros(L, N, I), lengths=value)
    with layers.refuse(exception, "lengths", *words):
        layers.batch_first(zeros(N, L, I), lengths=value)


def test_lengths_where_there_can_be_none(layers):
    with layers.refuse(ValueError, "lengths must be None", "unbatched", (L, I)):
        layers.rnn(zeros(L, I), lengths=[L])
    packed = nr.PackedSequence(zeros(3, I), [2, 1])
    with layers.refuse(ValueError, "lengths must be None", "PackedSequence"):
        layers.rnn(packed, lengths=[2, 1])
    with pytest.raises(TypeError):  # by keyword alone: it could be taken for h_0
        layers.rnn(zeros(L, N, I), None, [1] * N)


# --- packed sequences ---------------------------------------------------------------------------


def forged(data, *indices):
    """Return a PackedSequence whose parts nobody has checked."""
    return tuple.__new__(nr.PackedSequence, (data, *indices, *[None] * (3 - len(indices))))


big = np.iinfo(np.int64).max
MALFORMED = {
    "sizes grow": ([2, 3, 1], None, None, "batch_sizes must not grow"),
    "sum too large": ([3, 3, 1], None, None, "batch_sizes must sum"),
    "sum too small": ([3, 2], None, None, "batch_sizes must sum"),
    "sum overflows": ([big, big, 8], None, None, "batch_sizes"),
    "a zero": ([3, 3, 0], None, None, "batch_sizes must be positive"),
    "negative": ([4, 3, -1], None, None, "batch_sizes must be positive"),
    "no steps": ([], None, None, "batch_sizes"),
    "2-D sizes": ([[3, 2, 1]], None, None, "batch_sizes must be 1-D"),
    "float sizes": ([3.0, 2.0, 1.0], None, None, "batch_sizes must hold integers"),
    "no sizes": (None, None, None, "batch_sizes"),
    "order too short": ([3, 2, 1], [1, 0], None, "sorted_indices must hold"),
    "order too long": ([3, 2, 1], [1, 0, 2, 3], None, "sorted_indices must hold"),
    "order repeats": ([3, 2, 1], [1, 1, 0], None, "sorted_indices must be a permutation"),
    "order out of range": ([3, 2, 1], [0, 1, 3], None, "sorted_indices must be a permutation"),
    "order negative": ([3, 2, 1], [0, 1, -1], None, "sorted_indices must be a permutation"),
    "order huge": ([3, 2, 1], [0, 1, 2**62], None, "sorted_indices must be a permutation"),
    "order float": ([3, 2, 1], [0.0, 1.0, 2.0], None, "sorted_indices must hold integers"),
    "unsorted repeats": ([3, 2, 1], None, [2, 2, 0], "unsorted_indices must be a permutation"),
    "not inverse": ([3, 2, 1], [2, 0, 1], [2, 0, 1], "unsorted_indices must be the inverse"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_packed_sequence(layers, case):
    *indices, message = MALFORMED[case]
    data = zeros(6, I)
    exception = TypeError if "integers" in message else ValueError
    if case in ("no sizes", "no steps"):  # np.asarray([]) is an array of floats
        exception = (TypeError, ValueError)
    with layers.refuse(exception, message):
        nr.PackedSequence(data, *indices)
    good = nr.PackedSequence(data, [3, 2, 1], [2, 0, 1])
    fields = dict(zip(("batch_sizes", "sorted_indices", "unsorted_indices"), indices, strict=True))
    with layers.refuse(exception, message):
        good._replace(**fields)
    # What got past the constructor is met in the call.
    arrays = [None if i is None else np.asarray(i) for i in indices]
    for parts in (indices, arrays):
        for call in (layers.rnn, layers.rnn.forward):
            with layers.refuse(exception, message):
                call(forged(data, *parts))
    tape = layers.rnn.forward(good)
    with layers.refuse((TypeError, ValueError)):
        tape.backward(forged(zeros(6, 2 * H), *indices))


def test_changed_packed_sequence(layers):
    """Its index arrays are read-only; whoever insists is found out at the next use."""
    packed = nr.PackedSequence(zeros(6, I), [3, 2, 1], [2, 0, 1])
    for field in ("batch_sizes", "sorted_indices", "unsorted_indices"):
        again = copy.deepcopy(packed)
        array = getattr(again, field)
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 100
        with pytest.raises(AttributeError):
            setattr(again, field, np.array([100]))
        with pytest.raises(AttributeError):
            object.__setattr__(again, field, np.array([100]))
        array.flags.writeable = True
        array[0] = 100
        with layers.refuse(ValueError, field):
            layers.rnn(again)


def test_a_tape_does_not_depend_on_the_index_arrays(layers):
    """Changed after the forward pass, they must not lead its backward astray."""
    packed = nr.PackedSequence(normal((6, I)), [3, 2, 1], [2, 0, 1])
    tape = layers.double.forward(packed)
    grad = np.ones_like(tape.output.data)
    expected = tape.backward(grad)
    for array in (*tape.output[1:], *expected.input[1:]):
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.flags.writeable = True
    for array in packed[1:]:
        array.flags.writeable = True
        array[...] = 10**9
    again = tape.backward(grad)
    np.testing.assert_array_equal(again.flat, expected.flat)
    np.testing.assert_array_equal(again.h_0, expected.h_0)
    np.testing.assert_array_equal(again.input.data, expected.input.data)


@pytest.mark.parametrize("shape", [(6,), (6, I + 1), (6, I - 1), (6, 1, I), (2, 3, I)], ids=str)
def test_shape_of_packed_data(layers, shape):
    sizes = [3, 2, 1] if shape[0] == 6 else [2]
    with layers.refuse(ValueError, "x.data must have shape", "3)", shape):
        layers.rnn(nr.PackedSequence(zeros(*shape), sizes))


def test_dtype_of_packed_data(layers):
    for dtype in (np.float64, np.int64, object):
        with layers.refuse(TypeError, "x.data", "float32", np.dtype(dtype), "astype(np.float32)"):
            layers.rnn(nr.PackedSequence(np.zeros((6, I), dtype), [3, 2, 1]))


def test_a_plain_tuple_is_no_packed_sequence(layers):
    with layers.refuse(TypeError, "x must be", "tuple"):
        layers.rnn((zeros(6, I), np.array([3, 2, 1]), None, None))


def test_packed_input_is_for_the_layer_alone(layers):
    packed = nr.PackedSequence(zeros(6, I), [3, 2, 1])
    for call in (layers.cell, layers.linear):
        with layers.refuse(TypeError, "x must be", "PackedSequence"):
            call(packed)


# --- gradients ----------------------------------------------------------------------------------


def test_no_gradient_at_all(layers):
    tape = layers.rnn.forward(zeros(L, N, I))
    for call in (tape.backward, lambda: tape.backward(None, None),
                 lambda: tape.backward(state_gradients=True)):  # fmt: skip
        with layers.refuse(ValueError, "grad_output", "grad_h_n", "None"):
            call()


@pytest.mark.parametrize("flag", [1, 0, None, "yes", np.array(True)], ids=repr)
def test_state_gradients_is_a_flag(layers, flag):
    tape = layers.rnn.forward(zeros(L, N, I))
    with layers.refuse(TypeError, "state_gradients"):
        tape.backward(np.ones_like(tape.output), state_gradients=flag)


def test_shape_of_gradients(layers):
    packed = nr.PackedSequence(zeros(6, I), [3, 2, 1])
    for rnn, x, output, h_n in [
        (layers.rnn, zeros(L, N, I), (L, N, 2 * H), (4, N, H)),
        (layers.rnn, zeros(L, I), (L, 2 * H), (4, H)),
        (layers.rnn, packed, (6, 2 * H), (4, 3, H)),
        (layers.batch_first, zeros(N, L, I), (N, L, H), (1, N, H)),
    ]:
        tape = rnn.forward(x)
        for name, shape in (("grad_output", output), ("grad_h_n", h_n)):
            for bad in [(), shape[1:], (1, *shape), (*shape[:-1], shape[-1] + 1),
                        (shape[0] + 1, *shape[1:]), (0,), (*shape[:-1], 0)]:  # fmt: skip
                with layers.refuse(ValueError, f"{name} must have shape", shape, bad):
                    tape.backward(**{name: zeros(*bad)})
        with layers.refuse(ValueError, "grad_h_n must have shape"):
            tape.backward(zeros(*output), zeros(1))
    cell, linear = layers.cell.forward(zeros(N, I)), layers.linear.forward(zeros(L, N, I))
    for bad in [(), (N, H + 1), (H,), (1, N, H)]:
        with layers.refuse(ValueError, "grad_h must have shape", (N, H), bad):
            cell.backward(zeros(*bad))
        with layers.refuse(ValueError, "grad_output must have shape", (L, N, H), bad):
            linear.backward(zeros(*bad))


def test_packed_gradient_of_another_layout(layers):
    packed = nr.PackedSequence(zeros(6, I), [3, 2, 1], [2, 0, 1])
    tape = layers.double.forward(packed._replace(data=np.zeros((6, I))))

    def grad(*indices, rows=6, width=H):
        return nr.PackedSequence(np.zeros((rows, width)), *indices)

    for value, message in [
        (grad([3, 3], [2, 0, 1]), "batch_sizes"),
        (grad([3, 2, 1]), "sorted_indices"),
        (grad([3, 2, 1], [0, 2, 1]), "sorted_indices"),
        (grad([3, 2], [2, 0, 1], rows=5), "batch_sizes"),
        (grad([3, 2, 1], [2, 0, 1], width=H + 1), "(6, 4)"),
    ]:
        with layers.refuse(ValueError, "grad_output", message):
            tape.backward(value)
    with layers.refuse(TypeError, "grad_output", "float64", "float32"):
        tape.backward(nr.PackedSequence(zeros(6, H), [3, 2, 1], [2, 0, 1]))
    padded = layers.double.forward(np.zeros((3, 3, I)))
    with layers.refuse(TypeError, "grad_output", "PackedSequence"):
        padded.backward(grad([3, 2, 1]))


# --- state dicts --------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["rnn", "cell", "linear"])
def test_state_dicts(layers, which):
    layer = getattr(layers, which)
    state = {name: np.ones_like(p) for name, p in layer.parameters.items()}
    names = list(state)
    last = names[-1]
    shape = state[last].shape

    def load(**changes):
        layer.load_state_dict(state | changes)

    with layers.refuse(ValueError, "missing", last):
        layer.load_state_dict({name: state[name] for name in names[:-1]})
    with layers.refuse(ValueError, "missing", *names):
        layer.load_state_dict({})
    with layers.refuse(ValueError, "unknown", "weight_xx"):
        load(weight_xx=np.ones(3))
    with layers.refuse(ValueError, "missing", "unknown", f"rnn.{last}"):
        layer.load_state_dict({f"rnn.{name}": value for name, value in state.items()})
    with layers.refuse(ValueError, "unknown", "3"):
        layer.load_state_dict(state | {3: np.ones(3)})
    for bad in [(), (*shape, 1), (shape[0] + 1,), (1,)]:
        with layers.refuse(ValueError, last, shape, bad):
            load(**{last: np.ones(bad)})
    for dtype in (int, bool, np.uint8, complex, object, "U3"):
        array = np.ones(shape, dtype)
        with layers.refuse(TypeError, last, array.dtype, "float32"):
            load(**{last: array})
    for bad in (None, "text", [1] * shape[0], [[1.0], [1.0, 2.0]], {"a": 1}, object()):
        with layers.refuse(TypeError, last):
            load(**{last: bad})
    for bad in (None, list(state.items()), "state", 3, np.ones(3)):
        with layers.refuse(TypeError, "state must be", type(bad).__name__):
            layer.load_state_dict(bad)
    load()
    assert np.all(layer.flat_parameters == 1)


def test_torch_tensors_that_no_array_can_be_made_of(layers, torch):
    state = {n: torch.tensor(p) for n, p in layers.linear.parameters.items()}
    for bad in (torch.ones(H, requires_grad=True), torch.ones(H, dtype=torch.bfloat16),
                torch.ones(H, device="meta"), torch.ones(H).to_sparse()):  # fmt: skip
        with layers.refuse(TypeError, "bias must be an array"):
            layers.linear.load_state_dict(state | {"bias": bad})
    for bad in (torch.ones(H, dtype=torch.int64), torch.ones(H, dtype=torch.complex64)):
        with layers.refuse(TypeError, "bias must be of a real floating dtype"):
            layers.linear.load_state_dict(state | {"bias": bad})


# --- no way around the checks -------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"input_size": 300}, {"hidden_size": 300}, {"num_layers": 1}, {"num_layers": 9},
        {"bidirectional": False}, {"nonlinearity": "relu"}, {"nonlinearity": "sigmoid"},
    ],
    ids=str,
)  # fmt: skip
def test_what_a_layer_is_made_of_stays(change):
    """The parameters have their shapes: another size would read what is not there."""
    (name, value), *_ = change.items()
    rnn, linear = nr.RNN(I, H, 2, bidirectional=True, rng=0), nr.Linear(I, H, rng=0)
    with pytest.raises(AttributeError, match=name):
        setattr(rnn, name, value)
    assert getattr(rnn, name) != value
    if name.endswith("_size"):
        cell = nr.RNNCell(I, H, rng=0)
        for layer, its_name in (
            (cell, name),
            (linear, {"input_size": "in_features", "hidden_size": "out_features"}[name]),
        ):
            with pytest.raises(AttributeError, match=its_name):
                setattr(layer, its_name, value)


@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan"), "0.5", None, True], ids=repr)
def test_dropout_stays_a_probability(value):
    rnn = nr.RNN(I, H, 2, dropout=0.5)
    with pytest.raises((ValueError, TypeError), match="dropout"):
        rnn.dropout = value
    assert rnn.dropout == 0.5


indices = st.lists(st.integers(-2, 5) | st.sampled_from([big, -big]), max_size=5)


@given(indices, indices | st.none(), indices | st.none(), st.integers(0, 8))
def test_any_index_arrays_are_refused_or_right(sizes, order, back, rows):
    """Whatever they hold, nothing is read that is not there."""
    rnn = nr.RNN(1, 2, rng=0)
    parts = [np.array(a, np.int64) if a is not None else None for a in (sizes, order, back)]
    try:
        _, h_n = rnn(forged(zeros(rows, 1), *parts))
    except ValueError:
        return
    assert sum(sizes) == rows and h_n.shape == (1, sizes[0], 2)
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] > 0
    for permutation in (order, back):
        assert permutation is None or sorted(permutation) == list(range(sizes[0]))


@given(st.lists(st.integers(-2, 9) | st.sampled_from([big, -big]), max_size=6))
def test_any_lengths_are_refused_or_right(lengths):
    rnn = nr.RNN(1, 2, rng=0)
    right = len(lengths) == 3 and all(0 <= length <= 4 for length in lengths)
    try:
        rnn(zeros(4, 3, 1), lengths=lengths)
    except ValueError:
        assert not right
    else:
        assert right
