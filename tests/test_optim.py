"""Optimisers against torch.optim, resumed, on bad input; gradient clipping."""

import copy
import io
import pickle

import cloudpickle
import joblib
import numpy as np
import pytest

import numba_rnn as nr
from numba_rnn import optim

SHAPES = [(7, 3), (5,), (), (2, 0), (1, 4, 2)]
CASES = [
    ("SGD", {}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.8, "dampening": 0.3, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ("RMSprop", {}),
    ("RMSprop", {"alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1}),
    ("RMSprop", {"centered": True}),
    ("RMSprop", {"lr": 1e-3, "momentum": 0.9}),
    ("RMSprop", {"lr": 1e-3, "momentum": 0.5, "centered": True, "weight_decay": 0.1}),
    ("Adam", {}),
    ("Adam", {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-4}),
    ("Adam", {"lr": 0.1, "betas": (0.0, 0.5), "weight_decay": 0.1}),
    ("Adam", {"lr": 0.1, "amsgrad": True}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.1, "weight_decay": 0.5, "amsgrad": True}),
    ("AdamW", {"lr": 0.1, "weight_decay": 0}),
]
IDS = ["-".join([name, *options]) for name, options in CASES]
each_case = pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)


def arrays(rng, dtype=np.float64, shapes=SHAPES):
    return [np.asarray(rng.normal(size=shape), dtype) for shape in shapes]


def gradients(rng, params):
    """Return those of a bowl with noise: steps pull the parameters to 0."""
    return [np.asarray(p + 0.3 * rng.normal(size=p.shape), p.dtype) for p in params]


def worst(ours, theirs):
    return max(
        np.max(np.abs(a - b), initial=0) / max(1, np.max(np.abs(b), initial=0))
        for a, b in zip(ours, theirs, strict=True)
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("single", [False, True], ids=["list", "vector"])
@each_case
def test_fifty_steps_are_torchs(torch, name, options, single, dtype):
    rng = np.random.default_rng(1)
    params = arrays(rng, dtype, [(23,)] if single else SHAPES)
    start = [p.copy() for p in params]
    tensors = [torch.tensor(p, requires_grad=True) for p in params]
    opt = getattr(optim, name)(params[0] if single else params, **options)
    other = getattr(torch.optim, name)(tensors, **options)
    for t in range(50):
        grads = gradients(rng, params)
        kept = [g.copy() for g in grads]
        if t == 25:  # a schedule
            opt.lr = other.param_groups[0]["lr"] = 0.03
        assert opt.step(grads[0] if single else grads) is None
        for tensor, g in zip(tensors, grads, strict=True):
            tensor.grad = torch.tensor(g)
        other.step()
        assert worst(grads, kept) == 0  # the gradients are left alone
    assert all(p.dtype == dtype for p in params)
    theirs = [tensor.detach().numpy() for tensor in tensors]
    assert worst(params, theirs) <= (1e-11 if dtype == np.float64 else 2e-5)
    assert worst(params, start) > 1e-3


@each_case
def test_defaults_are_torchs(torch, name, options):
    group = getattr(torch.optim, name)([torch.zeros(1)]).param_groups[0]
    state = getattr(optim, name)(np.zeros(1)).state_dict()
    for key in {"lr", "momentum", "dampening", "weight_decay", "nesterov", "alpha", "eps"} | {
        "centered",
        "betas",
        "amsgrad",
    }:
        assert (key in state) == (key in group)
        if key in state:
            assert np.all(np.asarray(state[key]) == np.asarray(group[key])), key


@pytest.mark.parametrize(
    ("opt", "expected"),
    [
        # two steps with the gradients 1 and 3 from p = 1, worked out on paper
        (lambda p: optim.SGD(p, 0.1), 1 - 0.1 - 0.3),
        (lambda p: optim.SGD(p, 0.1, momentum=0.5, dampening=0.25), 1 - 0.1 - 0.1 * 2.75),
        (lambda p: optim.SGD(p, 0.1, momentum=0.5, nesterov=True), 1 - 0.15 - 0.1 * 4.75),
        (lambda p: optim.RMSprop(p, 0.1, 0.5, eps=0), 1 - 0.1 / 0.5**0.5 - 0.3 / 4.75**0.5),
        (
            lambda p: optim.Adam(p, 0.1, (0.5, 0.5), eps=0),
            1 - 0.1 - 0.1 * (1.75 / 0.75) / (4.75 / 0.75) ** 0.5,
        ),
        (
            lambda p: optim.AdamW(p, 0.1, (0.5, 0.5), eps=0, weight_decay=1),
            (0.9 - 0.1) * 0.9 - 0.1 * (1.75 / 0.75) / (4.75 / 0.75) ** 0.5,
        ),
    ],
)
def test_by_hand(opt, expected):
    p = np.array([1.0])
    opt = opt(p)
    opt.step(np.array([1.0]))
    opt.step(np.array([3.0]))
    assert p[0] == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@each_case
def test_vector_and_list_take_the_same_steps(name, options, dtype):
    rng = np.random.default_rng(2)
    vector = rng.normal(size=12).astype(dtype)
    other = vector.copy()
    views = [other[:6].reshape(2, 3), other[6:]]  # views of a flat vector, as a layer holds them
    one = getattr(optim, name)(vector, **options)
    many = getattr(optim, name)(views, **options)
    for _ in range(5):
        g = rng.normal(size=12).astype(dtype)
        one.step(g)
        many.step([g[:6].reshape(2, 3), g[6:]])
    np.testing.assert_array_equal(vector, other)


def test_strided_parameters():
    memory = np.ones((4, 6))
    opt = optim.Adam([memory[:, ::2], memory[:, 1::2].T], lr=0.1)
    opt.step([np.ones((4, 3)), -np.ones((3, 4))])
    np.testing.assert_allclose(memory, np.tile([0.9, 1.1], (4, 3)), rtol=1e-6)


@each_case
def test_a_gradient_that_is_the_parameter(name, options):
    p = np.array([1.0, -2.0])
    q = p.copy()
    one, other = (getattr(optim, name)(a, **options) for a in (p, q))
    for _ in range(3):
        one.step(p)
        other.step(q.copy())
    np.testing.assert_array_equal(p, q)


@pytest.mark.parametrize("through_file", [False, True])
@each_case
def test_resume_has_the_same_bits(name, options, through_file):
    rng = np.random.default_rng(3)
    params = arrays(rng, np.float32)
    opt = getattr(optim, name)(params, **options)
    for _ in range(4):
        opt.step(gradients(rng, params))
    opt.lr = 0.0123
    state = opt.state_dict()
    if through_file:
        file = io.BytesIO()
        np.savez(file, **state)
        file.seek(0)
        state = dict(np.load(file))  # allow_pickle is off
    kept = copy.deepcopy(state)
    twins = [p.copy() for p in params]
    twin = getattr(optim, name)(twins)  # other options, which the state replaces
    twin.load_state_dict(state)
    assert repr(twin) == repr(opt)
    for _ in range(4):
        grads = gradients(rng, params)
        opt.step(grads)
        twin.step(grads)
    for a, b in zip(params, twins, strict=True):
        np.testing.assert_array_equal(a, b)
    # a state is a copy, going out and coming in: it still is that of step 4
    assert list(state) == list(kept) and state["step"] == 4
    for key in kept:
        np.testing.assert_array_equal(state[key], kept[key])


def bits(opt, params):
    """Return all that a refused call may not change."""
    return copy.deepcopy((opt.state_dict(), params))


def unchanged(before, opt, params):
    now = bits(opt, params)
    assert list(before[0]) == list(now[0])
    for key in now[0]:
        np.testing.assert_array_equal(before[0][key], now[0][key])
    for a, b in zip(before[1], now[1], strict=True):
        np.testing.assert_array_equal(a, b)


@each_case
def test_refused_gradients_change_nothing(name, options):
    rng = np.random.default_rng(4)
    params = arrays(rng, shapes=[(2, 3), (4,)])
    opt = getattr(optim, name)(params, **options)
    opt.step(gradients(rng, params))
    before = bits(opt, params)
    a, b = gradients(rng, params)
    for bad, kind, words in [
        ([a], ValueError, "grads must hold 2 arrays, got 1"),
        ([a, b, b], ValueError, "grads must hold 2 arrays, got 3"),
        ([a, b[:3]], ValueError, r"grads\[1\] must have shape \(4,\), got \(3,\)"),
        ([b, a], ValueError, r"grads\[0\] must have shape \(2, 3\), got \(4,\)"),
        ([a, b.astype(np.float32)], TypeError, r"grads\[1\] must be of dtype float64, got float32"),
        ([a, b.astype(int)], TypeError, r"got int64: convert with grads.1..astype\(np.float64"),
        ([a, None], TypeError, r"grads\[1\] must be a NumPy array, got NoneType"),
        ([a, b.tolist()], TypeError, r"grads\[1\] must be a NumPy array, got list"),
        (a, TypeError, "grads must be a list of 2 arrays"),
        ({"a": a, "b": b}, TypeError, "grads must be a list of 2 arrays.*dict"),
        ({"a": None, "b": 3}, TypeError, "grads must be a list of 2 arrays.*dict"),
        (None, TypeError, "grads must be a list of 2 arrays.*None"),
    ]:
        with pytest.raises(kind, match=words):
            opt.step(bad)
        unchanged(before, opt, params)
    params[1].setflags(write=False)
    with pytest.raises(ValueError, match=r"params\[1\] must be writeable"):
        opt.step([a, b])
    unchanged(before, opt, params)
    with pytest.raises(TypeError, match=r"grads must be an array of shape \(4,\)"):
        optim.SGD(np.zeros(4)).step([np.zeros(4)])


def test_nothing_stops_a_step_half_way():
    p = [np.ones(2), np.ones(2)]
    opt = optim.Adam(p)
    with np.errstate(all="raise"):
        opt.step([np.array([1e200, np.inf]), np.ones(2)])
    assert np.isfinite(p[0][0]) and np.isnan(p[0][1])
    assert (p[1] < 1).all()


@pytest.mark.parametrize("name", ["SGD", "RMSprop", "Adam", "AdamW"])
def test_bad_params(name):
    kind = getattr(optim, name)
    frozen = np.zeros(3)
    frozen.setflags(write=False)
    flat = np.zeros(6)
    for bad, error, words in [
        ([], ValueError, "params must hold at least one array"),
        ((), ValueError, "params must hold at least one array"),
        (frozen, ValueError, "params must be writeable"),
        ([flat, frozen], ValueError, r"params\[1\] must be writeable"),
        (np.zeros(3, int), TypeError, "params must be of dtype float32 or float64, got int64"),
        ([flat, np.zeros(3, np.float16)], TypeError, r"params\[1\] must be of dtype.*float16"),
        ([flat, np.zeros(3, complex)], TypeError, "complex128"),
        ([1.0, 2.0], TypeError, r"params\[0\] must be a NumPy array, got float"),
        ([flat, None], TypeError, r"params\[1\].*NoneType"),
        ({"w": flat}, TypeError, r"params must be.*pass list\(params.values\(\)\)"),
        (None, TypeError, "params must be an array or a list"),
        ("abc", TypeError, "params must be an array or a list"),
        ([flat, flat], ValueError, r"share memory, got params\[0\] and params\[1\]"),
        ([flat[:4], np.zeros(1), flat[3:]], ValueError, r"got params\[0\] and params\[2\]"),
    ]:
        with pytest.raises(error, match=words):
            kind(bad)
    kind({"w": flat}.values())
    kind([flat[::2], flat[1::2]])  # interleaved, but apart


@pytest.mark.parametrize(
    ("name", "options", "kind", "words"),
    [
        ("SGD", {"lr": -1.0}, ValueError, "lr must lie in"),
        ("SGD", {"lr": np.nan}, ValueError, "lr must lie in"),
        ("SGD", {"lr": "1"}, TypeError, "lr must be a real number"),
        ("SGD", {"momentum": -0.1}, ValueError, "momentum must lie in"),
        ("SGD", {"dampening": np.inf}, ValueError, "dampening must lie in"),
        ("SGD", {"weight_decay": -0.1}, ValueError, "weight_decay must lie in"),
        ("SGD", {"nesterov": 1}, TypeError, "nesterov must be True or False"),
        ("SGD", {"nesterov": True}, ValueError, "nesterov must come with momentum"),
        (
            "SGD",
            {"nesterov": True, "momentum": 0.9, "dampening": 0.1},
            ValueError,
            "nesterov must come with.*dampening=0.1",
        ),
        ("RMSprop", {"alpha": 1.1}, ValueError, "alpha must lie in"),
        ("RMSprop", {"eps": -1e-8}, ValueError, "eps must lie in"),
        ("RMSprop", {"momentum": -1}, ValueError, "momentum must lie in"),
        ("RMSprop", {"centered": None}, TypeError, "centered must be True or False"),
        ("Adam", {"betas": (0.9, 1.0)}, ValueError, r"betas\[1\] must lie in"),
        ("Adam", {"betas": (-0.1, 0.9)}, ValueError, r"betas\[0\] must lie in"),
        ("Adam", {"betas": 0.9}, TypeError, "betas must be a pair"),
        ("Adam", {"betas": (0.9,)}, TypeError, "betas must be a pair"),
        ("AdamW", {"eps": np.inf}, ValueError, "eps must lie in"),
        ("AdamW", {"weight_decay": True}, TypeError, "weight_decay must be a real number"),
        ("AdamW", {"amsgrad": 0}, TypeError, "amsgrad must be True or False"),
    ],
)
def test_bad_options(name, options, kind, words):
    with pytest.raises(kind, match=words):
        getattr(optim, name)(np.zeros(3), **options)


def test_bad_lr_is_not_assigned():
    opt = optim.SGD(np.zeros(3), lr=0.5)
    for bad in (-1, np.nan, np.inf):
        with pytest.raises(ValueError, match="lr must lie in"):
            opt.lr = bad
    assert opt.lr == 0.5


@each_case
def test_refused_states_change_nothing(name, options):
    rng = np.random.default_rng(5)
    params = arrays(rng, shapes=[(2, 3), (4,)])
    opt = getattr(optim, name)(params, **options)
    opt.step(gradients(rng, params))
    before = bits(opt, params)
    good = opt.state_dict()
    good.update(step=7, lr=0.7)  # what a half-done load would leave behind
    wrong = [
        (None, TypeError, "state must be a dict"),
        ({}, ValueError, "state must hold.*'step'"),
        ({**good, "extra": 1}, ValueError, r"got also \['extra'\]"),
        ({**good, "step": -1}, ValueError, r"state\['step'\] must be an int"),
        ({**good, "step": 1.0}, ValueError, r"state\['step'\] must be an int"),
        ({**good, "step": True}, ValueError, r"state\['step'\] must be an int"),
        ({**good, "step": np.array([1, 2])}, ValueError, r"state\['step'\] must be an int"),
        ({**good, "lr": -1}, ValueError, "lr must lie in"),
        ({**good, "weight_decay": "much"}, TypeError, "weight_decay must be a real number"),
        ({**good, "optimizer": "Adagrad"}, ValueError, f"must come from {name}, got.*Adagrad"),
    ]
    buffers = [key for key in good if key.endswith(".1")]
    for key in buffers:
        array = good[key]
        wrong += [
            ({k: v for k, v in good.items() if k != key}, ValueError, f"must hold.*'{key}'"),
            ({**good, key: array[:3]}, ValueError, r"must have shape \(4,\), got \(3,\)"),
            ({**good, key: array.astype(np.float32)}, TypeError, "float64, got float32"),
            ({**good, key: array.tolist()}, TypeError, "must be a NumPy array, got list"),
        ]
    assert buffers or name == "SGD"
    for state, kind, words in wrong:
        with pytest.raises(kind, match=words):
            opt.load_state_dict(state)
        unchanged(before, opt, params)
    opt.load_state_dict(good)
    assert opt.lr == 0.7


def test_state_of_fewer_parameters_is_refused():
    state = optim.Adam(np.zeros(3)).state_dict()
    with pytest.raises(ValueError, match=r"exp_avg\.1"):
        optim.Adam([np.zeros(3), np.zeros(3)]).load_state_dict(state)


def test_centered_rmsprop_stays_finite_on_a_constant_gradient():
    p = np.zeros(50, np.float32)
    g = np.linspace(0.1, 1, 50, dtype=np.float32)
    opt = optim.RMSprop(p, lr=1e-6, alpha=0.5, centered=True)
    for _ in range(100):
        opt.step(g)
    assert np.isfinite(p).all()


# --- what people pass -----------------------------------------------------------------------------

ITERABLES = {
    "list": list,
    "tuple": tuple,
    "generator": lambda arrays: (a for a in arrays),
    "map": lambda arrays: map(np.asarray, arrays),
    "values": lambda arrays: dict(enumerate(arrays)).values(),
    "reversed": lambda arrays: reversed(arrays[::-1]),
}


@pytest.mark.parametrize("given", ITERABLES.values(), ids=ITERABLES)
@pytest.mark.parametrize("name", ["SGD", "RMSprop", "Adam", "AdamW"])
def test_any_iterable_will_do(name, given):
    """For the parameters, their gradients and what is clipped."""
    rng = np.random.default_rng(7)
    params = arrays(rng)
    twins, grads = [p.copy() for p in params], gradients(rng, params)
    opt, twin = getattr(optim, name)(given(params)), getattr(optim, name)(twins)
    for _ in range(2):
        opt.step(given(grads))
        twin.step(grads)
    assert worst(params, twins) == 0
    kept = [g.copy() for g in grads]
    assert optim.clip_grad_norm(given(grads), 0.1) == optim.clip_grad_norm(kept, 0.1)
    assert worst(grads, kept) == 0


def test_gradients_of_parameters_as_they_come():
    rnn, twin = nr.RNN(2, 3, rng=0), nr.RNN(2, 3, rng=0)
    tape = rnn.forward(np.ones((4, 1, 2), np.float32))
    grads = tape.backward(np.ones_like(tape.output))
    optim.Adam(rnn.parameters.values()).step(grads.parameters.values())
    optim.Adam(twin.flat_parameters).step(grads.flat)
    np.testing.assert_array_equal(rnn.flat_parameters, twin.flat_parameters)


def test_iterables_of_the_wrong_length_or_order_change_nothing():
    params = [np.ones(2), np.ones(3)]
    opt = optim.Adam(params)
    before = bits(opt, params)
    for grads in (iter([np.ones(2)]), iter([np.ones(3), np.ones(2)]), iter([]), np.ones((2, 2))):
        with pytest.raises((ValueError, TypeError), match="grads"):
            opt.step(grads)
        unchanged(before, opt, params)

    def broken():
        yield np.ones(2)
        raise KeyError("somebody's own")

    with pytest.raises(KeyError, match="somebody's own"):
        opt.step(broken())
    unchanged(before, opt, params)


def layers_and_gradients():
    """Layers, and the gradients of a loss with respect to what they have."""
    x = np.ones((4, 1, 2), np.float32)
    rnn, cell, linear = nr.RNN(2, 3, rng=0), nr.RNNCell(2, 3, rng=0), nr.Linear(2, 3, rng=0)
    tape, cell_tape, linear_tape = rnn.forward(x), cell.forward(x[0]), linear.forward(x)
    return [
        (rnn, tape.backward(np.ones_like(tape.output))),
        (cell, cell_tape.backward(np.ones_like(cell_tape.h))),
        (linear, linear_tape.backward(np.ones_like(linear_tape.output))),
    ]


def do_as_told(call, name, value, word):
    """Refused, the call is repeated with what the message says to pass or to convert with."""
    with pytest.raises(TypeError, match=name) as caught:
        call(value)
    advice = str(caught.value).rpartition(word)[2]
    call(eval(advice, {name: value}))
    return advice


@pytest.mark.parametrize("index", range(3), ids=["rnn", "cell", "linear"])
def test_a_layer_or_its_gradients_in_the_place_of_a_vector(index):
    """The message names the vector."""
    layer, grads = layers_and_gradients()[index]
    before = layer.flat_parameters.copy()
    assert do_as_told(optim.Adam, "params", layer, ": pass ") == "params.flat_parameters"
    assert do_as_told(optim.Adam, "params", layer.parameters, ": pass ") == "list(params.values())"
    step = optim.SGD(layer.flat_parameters, lr=1.0).step
    assert do_as_told(step, "grads", grads, ": pass ") == "grads.flat"
    np.testing.assert_allclose(layer.flat_parameters, before - grads.flat, rtol=1e-5, atol=1e-6)
    with pytest.raises(TypeError, match=r"params\[0\] must be.*with params\[0\]\.flat_parameters"):
        optim.Adam([layer])
    do_as_told(optim.SGD([layer.flat_parameters]).step, "grads", grads, ": pass ")
    each = optim.SGD(layer.parameters.values()).step
    do_as_told(each, "grads", grads, ": pass ")
    do_as_told(each, "grads", grads.parameters, ": pass ")
    with pytest.raises(TypeError, match=r"grads\[0\] must be.*with grads\[0\]\.flat"):
        optim.SGD([layer.flat_parameters]).step([grads])
    with pytest.raises(TypeError, match=r"list with the \.flat of the gradients of each layer"):
        optim.SGD([layer.flat_parameters, np.ones(2)]).step(grads)

    def clip(value):
        assert optim.clip_grad_norm(value, 1e9) > 0

    assert do_as_told(clip, "grads", grads, ": pass ") == "grads.flat"
    do_as_told(clip, "grads", grads.parameters, ": pass ")
    with pytest.raises(TypeError, match=r"grads\[0\] must be.*with grads\[0\]\.flat"):
        optim.clip_grad_norm([grads], 1.0)


# --- copies ---------------------------------------------------------------------------------------


def through_joblib(things, **options):
    file = io.BytesIO()
    joblib.dump(things, file, **options)
    file.seek(0)
    return joblib.load(file)


def from_read_only_memory(things):
    """As multiprocessing and Ray keep large arrays."""
    buffers = []
    packed = pickle.dumps(things, protocol=5, buffer_callback=buffers.append)
    return pickle.loads(packed, buffers=[bytes(buffer.raw()) for buffer in buffers])


DUPLICATES = {
    "deepcopy": copy.deepcopy,
    **{
        f"pickle-{protocol}": lambda things, protocol=protocol: pickle.loads(
            pickle.dumps(things, protocol)
        )
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    },
    "joblib": through_joblib,
    "joblib-compressed": lambda things: through_joblib(things, compress=3),
    "cloudpickle": lambda things: pickle.loads(cloudpickle.dumps(things)),
    "read-only memory": from_read_only_memory,
    "twice": lambda things: copy.deepcopy(pickle.loads(pickle.dumps(things))),
    "pickled twice": lambda things: pickle.loads(
        pickle.dumps(pickle.loads(pickle.dumps(things, 5)), 5)
    ),
}
each_duplicate = pytest.mark.parametrize("duplicate", DUPLICATES.values(), ids=DUPLICATES)


class Trainer:
    """Layers and their optimiser in one object, as people hold them."""

    def __init__(self, params):
        self.layers = [nr.RNN(2, 3, 2, rng=0), nr.RNNCell(3, 3, rng=0), nr.Linear(3, 1, rng=0)]
        self.optimizer = optim.Adam(params(self.layers), lr=0.1)

    def step(self, sign=1):
        """Against gradients of ones."""
        self.optimizer.step([sign * np.ones_like(p) for p in self.optimizer._params])

    def flat(self):
        return np.concatenate([layer.flat_parameters for layer in self.layers])


PARAMS = {
    "vectors": lambda layers: [layer.flat_parameters for layer in layers],
    "parameters": lambda layers: [p for layer in layers for p in layer.parameters.values()],
    "attributes": lambda layers: [
        layers[0].weight_hh_l1, layers[1].bias_ih, layers[2].weight, layers[2].bias
    ],
    "parts": lambda layers: [layers[0].flat_parameters[::-3], layers[1].weight_hh.T[1:]],
}  # fmt: skip


@each_duplicate
@pytest.mark.parametrize("params", PARAMS.values(), ids=PARAMS)
@pytest.mark.parametrize("order", ["layers first", "optimiser first"])
def test_copies_of_layers_and_optimiser_are_one_again(params, duplicate, order):
    trainer = Trainer(params)
    if order == "optimiser first":
        trainer.__dict__ = dict(reversed(trainer.__dict__.items()))
    trainer.step()
    before = trainer.flat()
    twin = duplicate(trainer)
    np.testing.assert_array_equal(twin.flat(), before)
    twin.step()
    np.testing.assert_array_equal(trainer.flat(), before)  # the original is left alone
    trainer.step()
    assert (trainer.flat() != before).any()
    np.testing.assert_array_equal(twin.flat(), trainer.flat())
    for layer, other in zip(twin.layers, trainer.layers, strict=True):
        for name, p in layer.parameters.items():
            np.testing.assert_array_equal(p, other.parameters[name])


@each_duplicate
def test_one_vector_and_real_gradients(duplicate):
    rnn = nr.RNN(2, 3, rng=0)
    opt = optim.RMSprop(rnn.flat_parameters)
    twin, its = duplicate((rnn, opt))
    x = np.ones((4, 1, 2), np.float32)
    for layer, optimizer in ((rnn, opt), (twin, its)):
        for _ in range(3):
            tape = layer.forward(x)
            optimizer.step(tape.backward(np.ones_like(tape.output)).flat)
    np.testing.assert_array_equal(twin(x)[0], rnn(x)[0])
    assert (twin(x)[0] != nr.RNN(2, 3, rng=0)(x)[0]).any()


@pytest.mark.parametrize("name", sorted(DUPLICATES.keys() - {"twice", "pickled twice"}))
@pytest.mark.parametrize("params", PARAMS.values(), ids=PARAMS)
def test_an_optimiser_copied_alone_is_refused(params, name):
    trainer, duplicate = Trainer(params), DUPLICATES[name]
    trainer.step()
    state = trainer.optimizer.state_dict()
    layers, alone = duplicate(trainer.layers), duplicate(trainer.optimizer)
    before = [layer.state_dict() for layer in layers]
    grads = [np.ones_like(p) for p in trainer.optimizer._params]
    for call in (
        lambda: alone.step(grads),
        lambda: alone.load_state_dict(state),
        lambda: copy.copy(alone),
        lambda: duplicate(alone),
    ):
        with pytest.raises(ValueError, match=r"deepcopy\(\(rnn, optimizer\)\).*state_dict\(\)"):
            call()
    for layer, kept in zip(layers, before, strict=True):
        for name, value in kept.items():
            np.testing.assert_array_equal(layer.parameters[name], value)
    # the way that the sentence names; the state is there, and as it was
    again = optim.Adam(params(layers))
    again.load_state_dict(alone.state_dict())
    again.step(grads)
    trainer.step()
    ours = np.concatenate([layer.flat_parameters for layer in layers])
    np.testing.assert_array_equal(ours, trainer.flat())


@pytest.mark.parametrize("name", ["deepcopy", "pickle-2", "pickle-5", "cloudpickle", "twice"])
def test_copies_of_arrays_and_optimiser_are_one_again(name):
    memory, strided = np.ones((4, 6)), np.asfortranarray(np.ones((3, 2)))
    opt = optim.SGD([memory[:, ::2], strided, memory[:, 1::2].T, np.ones((2, 0))], lr=1.0)
    grads = [np.ones((4, 3)), np.ones((3, 2)), -np.ones((3, 4)), np.ones((2, 0))]
    other, its_strided, its = DUPLICATES[name]((memory, strided, opt))
    its.step(grads)
    np.testing.assert_array_equal(other, np.tile([0.0, 2.0], (4, 3)))
    assert not its_strided.any() and (memory == 1).all() and (strided == 1).all()


def test_memory_maps(tmp_path):
    """joblib can hand out arrays that lie in a file."""
    trainer = Trainer(PARAMS["vectors"])
    joblib.dump(trainer, tmp_path / "trainer")
    trainer.step()
    for mode in ("r", "c"):
        twin = joblib.load(tmp_path / "trainer", mmap_mode=mode)
        twin.step()
        np.testing.assert_array_equal(twin.flat(), trainer.flat())


@pytest.mark.parametrize("params", PARAMS.values(), ids=PARAMS)
def test_a_shallow_copy_has_a_state_of_its_own(params):
    """The same arrays, as copy.copy says, and another memory of the steps."""
    trainer, expected = Trainer(params), Trainer(params)
    trainer.step()
    expected.step()
    kept = trainer.optimizer.state_dict()
    original, trainer.optimizer = trainer.optimizer, copy.copy(trainer.optimizer)
    trainer.step(-1)
    expected.step(-1)
    np.testing.assert_array_equal(trainer.flat(), expected.flat())
    for key, value in original.state_dict().items():
        np.testing.assert_array_equal(value, kept[key])
    assert trainer.optimizer.state_dict()["step"] == 2


def test_a_copy_of_the_layer_alone_is_nobodys():
    """A shallow copy of a layer owns its parameters, and the optimiser stays with the original."""
    rnn = nr.RNN(2, 3, rng=0)
    opt = optim.SGD(rnn.flat_parameters)
    twin = copy.copy(rnn)
    opt.step(np.ones_like(rnn.flat_parameters))
    assert (twin.flat_parameters != rnn.flat_parameters).all()


# --- clipping -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("max_norm", [0, 0.5, 7.0, 1e3, np.inf])
@pytest.mark.parametrize("single", [False, True], ids=["list", "vector"])
def test_clipping_is_torchs(torch, single, max_norm, dtype):
    rng = np.random.default_rng(6)
    grads = arrays(rng, dtype, [(60,)] if single else [*SHAPES, (8, 5)])
    tensors = [torch.zeros(g.shape, dtype=torch.tensor(g).dtype) for g in grads]
    for tensor, g in zip(tensors, grads, strict=True):
        tensor.grad = torch.tensor(g)
    expected = torch.nn.utils.clip_grad_norm_(tensors, max_norm).item()
    norm = optim.clip_grad_norm(grads[0] if single else grads, max_norm)
    tolerance = 1e-13 if dtype == np.float64 else 1e-6
    assert type(norm) is float and norm == pytest.approx(expected, rel=tolerance)
    assert all(g.dtype == dtype for g in grads)
    assert worst(grads, [tensor.grad.numpy() for tensor in tensors]) <= tolerance


def test_clipping_by_hand():
    memory = np.zeros((2, 4))
    a, b = memory[:, ::2], np.array(4.0)
    a[0, 0] = 3
    assert optim.clip_grad_norm([a, b], 1.0) == 5
    assert memory[0, 0] == pytest.approx(0.6, rel=1e-6)
    assert b[()] == pytest.approx(0.8, rel=1e-6)
    before = memory.copy()
    assert optim.clip_grad_norm([a, b], 1.5) < 1
    np.testing.assert_array_equal(memory, before)  # below the bound nothing is touched
    assert optim.clip_grad_norm([], 1.0) == 0
    assert optim.clip_grad_norm(np.full(4, 1e30, np.float32), 1.0) == pytest.approx(2e30)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_clipping_what_is_not_finite(torch, bad):
    g = np.array([1.0, bad, -2.0])
    tensor = torch.zeros(3, dtype=torch.float64)
    tensor.grad = torch.tensor(g)
    expected = torch.nn.utils.clip_grad_norm_([tensor], 1.0).item()
    np.testing.assert_equal(optim.clip_grad_norm(g, 1.0), expected)
    np.testing.assert_equal(g, tensor.grad.numpy())


def test_bad_clipping():
    g = np.ones(3)
    frozen = np.ones(3)
    frozen.setflags(write=False)
    for grads, max_norm, kind, words in [
        (g, -1, ValueError, "max_norm must lie in"),
        (g, np.nan, ValueError, "max_norm must lie in"),
        (g, None, TypeError, "max_norm must be a real number"),
        ([g, frozen], 0.1, ValueError, r"grads\[1\] must be writeable"),
        ([g, np.ones(3, int)], 0.1, TypeError, r"grads\[1\] must be of dtype"),
        ([g, g], 0.1, ValueError, "grads must not share memory"),
        ([g, None], 0.1, TypeError, r"grads\[1\] must be a NumPy array"),
        ({"w": g}, 0.1, TypeError, r"pass list\(grads.values\(\)\)"),
        (3.0, 0.1, TypeError, "grads must be an array or a list"),
    ]:
        with pytest.raises(kind, match=words):
            optim.clip_grad_norm(grads, max_norm)
        assert (g == 1).all()
