"""In Numba's simulator, or on a GPU: losses, optimisers and clipping beside NumPy's."""

import io

import numpy as np
import pytest
import test_losses
import test_optim
from on_gpu import to_cpu, to_gpu

from numba_rnn import losses, optim
from numba_rnn.cuda.losses import broadcast

F32, F64 = np.float32, np.float64

# --- losses ---------------------------------------------------------------------------------------


def example(name, dtype, scale):
    """A few elements: prediction, target, weights of which some are 0."""
    x, y, w = test_losses.example(name, dtype, scale)
    cut = (slice(2), slice(3), slice(3))
    x, y, w = x[cut], y[cut[: y.ndim]], w[cut[: w.ndim]]
    if name == "cross_entropy":
        y = y % 3
    assert (w == 0).any() and (w > 0).any()
    return x, y, w


@pytest.mark.parametrize(("dtype", "scale"), [(F32, 1.0), (F64, 1e4)])
@pytest.mark.parametrize("name", test_losses.ALL)
def test_losses_are_the_cpus(name, dtype, scale):
    loss, (x, y, w) = test_losses.ALL[name], example(name, dtype, scale)
    column = w[..., :1] if w.ndim == 3 else w[:, :1]
    for weights in (None, w, column, w[:1], 2.5, 0):
        expected, slope = loss(x, y, weights)
        there = to_gpu(weights) if isinstance(weights, np.ndarray) else weights
        value, gradient = loss(to_gpu(x), to_gpu(y), there)
        assert tuple(value.shape) == () and value.dtype == F64
        assert tuple(gradient.shape) == x.shape and gradient.dtype == dtype
        assert abs(to_cpu(value)[()] - expected) <= 1e-12 * max(1, expected)
        tolerance = (1e-11 if dtype == F64 else 1e-7) * np.abs(slope).max()
        assert np.max(np.abs(to_cpu(gradient) - slope)) <= tolerance


@pytest.mark.parametrize("name", test_losses.ALL)
def test_masked_elements_are_never_looked_at(name):
    x, y, w = example(name, F64, 1.0)
    value, gradient = (to_cpu(a) for a in test_losses.ALL[name](to_gpu(x), to_gpu(y), to_gpu(w)))
    x[w == 0], y[w == 0] = np.nan, 99
    masked = test_losses.ALL[name](to_gpu(x), to_gpu(y), to_gpu(w))
    np.testing.assert_array_equal(to_cpu(masked[0]), value)
    np.testing.assert_array_equal(to_cpu(masked[1]), gradient)
    nothing = test_losses.ALL[name](to_gpu(x), to_gpu(y), to_gpu(0 * w))
    assert to_cpu(nothing[0])[()] == 0 and not to_cpu(nothing[1]).any()
    empty = test_losses.ALL[name](to_gpu(x[:0]), to_gpu(y[:0]))
    assert to_cpu(empty[0])[()] == 0 and tuple(empty[1].shape) == (0, *x.shape[1:])


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("mse", lambda x, y, w: w.__setitem__((0, 0, 0), -1)),
        ("mae", lambda x, y, w: w.__setitem__((0, 0, 0), np.inf)),
        ("huber", lambda x, y, w: w.__setitem__((1, 1, 1), np.nan)),
        ("binary_cross_entropy", lambda x, y, w: y.__setitem__((0, 0, 0), 1.5)),
        ("cross_entropy", lambda x, y, w: y.__setitem__((0, 0), 3)),
        ("cross_entropy", lambda x, y, w: y.__setitem__((1, 2), -1)),
        ("cross_entropy", lambda x, y, w: w.__setitem__((1, 2), -1)),
    ],
)
def test_what_the_cpu_refuses_makes_nan(name, spoil):
    x, y, w = example(name, F64, 1.0)
    w[:] = 1
    spoil(x, y, w)
    with pytest.raises(ValueError, match="must"):
        getattr(losses, name)(x, y, w)
    value, gradient = getattr(losses, name)(to_gpu(x), to_gpu(y), to_gpu(w))
    assert np.isnan(to_cpu(value)[()]) and np.isnan(to_cpu(gradient)).all()


def test_extreme_logits():
    x, y = np.array([1e4, -1e4, 1e4, -1e4, 40.0, -40.0]), np.array([1, 0, 0, 1, 1, 0])
    expected, slope = losses.binary_cross_entropy(x, y)
    value, gradient = losses.binary_cross_entropy(to_gpu(x), to_gpu(y))
    assert to_cpu(value)[()] == expected
    np.testing.assert_allclose(to_cpu(gradient), slope, rtol=1e-15)
    logits = np.array([[1e4, -1e4, 0.0], [0.0, 0.0, -1e300]])
    for classes in ([1, 0], [0, 1]):
        expected, slope = losses.cross_entropy(logits, classes)
        value, gradient = losses.cross_entropy(to_gpu(logits), to_gpu(np.array(classes)))
        assert to_cpu(value)[()] == expected
        np.testing.assert_array_equal(to_cpu(gradient), slope)


@pytest.mark.filterwarnings("ignore:.*invalid value encountered in scalar")  # of the simulator
@test_losses.each_infinite
def test_infinite_predictions(name, x, y, total, slopes):
    x, y, slopes = np.array(x), np.array(y), np.array(slopes)
    loss = test_losses.ALL[name]
    for weights in (None, to_gpu(np.full(y.shape, 3.0))):
        value, gradient = loss(to_gpu(x), to_gpu(y), weights)
        np.testing.assert_allclose(to_cpu(value), total / y.size, rtol=1e-14)
        np.testing.assert_allclose(to_cpu(gradient), slopes / y.size, rtol=1e-14)


def test_broadcast_finds_every_weight():
    rng = np.random.default_rng(0)
    for shape in [(4, 3, 5), (2, 1, 3, 2), (6,), ()]:
        for _ in range(8):
            of = [n if rng.random() < 0.5 else 1 for n in shape]
            of = tuple(of[rng.integers(len(of) + 1) :])
            weights = np.arange(np.prod(of, dtype=int)).reshape(of)
            sizes, strides = broadcast(shape, of)
            at = np.array(strides) @ np.indices(sizes).reshape(len(sizes), -1)
            expected = np.broadcast_to(weights, shape).ravel()
            np.testing.assert_array_equal(weights.ravel()[at], expected)


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda x, y, w: losses.mse(x, y.copy_to_host()), TypeError,
         r"target is on the CPU, prediction on the GPU \(cuda:0\): move target with"),
        (lambda x, y, w: losses.mse(x.copy_to_host(), y), TypeError,
         r"target is on the GPU \(cuda:0\), prediction on the CPU.*target.copy_to_host\(\)"),
        (lambda x, y, w: losses.mse(x, y, w.copy_to_host()), TypeError, "weights is on the CPU"),
        (lambda x, y, w: losses.mse(x.copy_to_host(), y.copy_to_host(), w), TypeError,
         "weights is on the GPU"),
        (lambda x, y, w: losses.mse(x, [0.0, 0.0]), TypeError, "target must be an array on the G"),
        (lambda x, y, w: losses.mse(x, y[:, :1]), ValueError,
         r"target must have the prediction's shape \(2, 3\), got \(2, 1\)"),
        (lambda x, y, w: losses.mse(x, y, -1.0), ValueError, "weights must be finite and not neg"),
        (lambda x, y, w: losses.mse(x, y, "one"), TypeError, "weights must be an array on the GPU"),
        (lambda x, y, w: losses.mse(x, y, w[0, :2]), ValueError, r"broadcast to shape \(2, 3\)"),
        (lambda x, y, w: losses.mse(x, y, to_gpu(np.ones((1, 2, 3)))), ValueError, "broadcast"),
        (lambda x, y, w: losses.mse(x, to_gpu(np.ones((2, 3), complex))), TypeError,
         "target must hold real numbers"),
        (lambda x, y, w: losses.mse(to_gpu(np.ones((2, 3), int)), y), TypeError,
         "prediction must be of dtype float32 or float64, got int64"),
        (lambda x, y, w: losses.cross_entropy(x, y[:, 0]), TypeError,
         "target must hold integer class indices"),
        (lambda x, y, w: losses.cross_entropy(x, to_gpu(np.zeros((2, 3), int))), ValueError,
         r"target must have shape \(2,\)"),
        (lambda x, y, w: losses.cross_entropy(to_gpu(np.zeros((2, 0))), y), ValueError,
         "at least one of them"),
        (lambda x, y, w: losses.huber(x, y, delta=0), ValueError, "delta must lie in"),
    ],
)  # fmt: skip
def test_bad_input_of_losses(call, kind, words):
    with pytest.raises(kind, match=words):
        call(*(to_gpu(a) for a in (np.zeros((2, 3)), np.zeros((2, 3)), np.ones((2, 3)))))


# --- optimisers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "dtype"),
    [(*case, (F32, F64)[i % 2]) for i, case in enumerate(test_optim.CASES)],
    ids=test_optim.IDS,
)
def test_steps_are_the_cpus(name, options, dtype):
    rng = np.random.default_rng(1)
    params = test_optim.arrays(rng, dtype, [(2, 2), (), (0, 2)])
    there = [to_gpu(p) for p in params]
    cpu, gpu = getattr(optim, name)(params, **options), getattr(optim, name)(there, **options)
    for t in range(4):
        grads = test_optim.gradients(rng, params)
        given = [to_gpu(g) for g in grads]
        if t == 2:  # a schedule, and a state that is saved and loaded
            cpu.lr = gpu.lr = 0.03
            file = io.BytesIO()
            np.savez(file, **gpu.state_dict())
            file.seek(0)
            gpu = getattr(optim, name)(there)
            gpu.load_state_dict(dict(np.load(file)))
        cpu.step(grads)
        assert gpu.step(given) is None
        for g, kept in zip(given, grads, strict=True):
            np.testing.assert_array_equal(to_cpu(g), kept)
    tolerance = 1e-12 if dtype == F64 else 1e-6
    assert test_optim.worst([to_cpu(p) for p in there], params) <= tolerance
    state, expected = gpu.state_dict(), cpu.state_dict()
    assert list(state) == list(expected)
    for key, value in expected.items():
        assert isinstance(state[key], type(value)), key
        if isinstance(value, np.ndarray):
            np.testing.assert_allclose(state[key], value, rtol=1e-5, atol=tolerance)


@pytest.mark.parametrize("max_norm", [0, 0.5, 1e3, np.inf])
@pytest.mark.parametrize("dtype", [F32, F64])
def test_clipping_is_the_cpus(max_norm, dtype):
    grads = test_optim.arrays(np.random.default_rng(2), dtype, [(7, 2), (), (0,)])
    there = [to_gpu(g) for g in grads]
    norm = optim.clip_grad_norm(there, max_norm)
    expected = optim.clip_grad_norm(grads, max_norm)
    assert tuple(norm.shape) == () and norm.dtype == F64
    assert to_cpu(norm)[()] == pytest.approx(expected, rel=1e-14)
    for ours, theirs in zip(there, grads, strict=True):
        np.testing.assert_allclose(to_cpu(ours), theirs, rtol=1e-14 if dtype == F64 else 1e-6)


def test_clipping_one_vector_that_is_not_finite():
    g = to_gpu(np.array([1.0, np.nan, -2.0]))
    assert np.isnan(to_cpu(optim.clip_grad_norm(g, 1.0))[()])
    assert np.isnan(to_cpu(g)).all()


def test_bad_input_of_optimisers():
    p, g = to_gpu(np.ones(4)), to_gpu(np.ones(4))
    host, wide = np.ones(4), to_gpu(np.ones((4, 2)))
    step = optim.SGD(p).step
    for call, kind, words in [
        (lambda: step(host), TypeError, r"grads is on the CPU, params on the GPU.*move grads"),
        (lambda: optim.SGD(host).step(g), TypeError, r"grads is on the GPU \(cuda:0\), params on"),
        (lambda: optim.SGD([p, host]), TypeError, r"params\[1\] is on the CPU, params\[0\] on"),
        (lambda: optim.SGD([host, p]), TypeError, r"params\[1\] is on the GPU.*copy_to_host"),
        (lambda: optim.clip_grad_norm([p, host], 1), TypeError, r"grads\[1\] is on the CPU"),
        (lambda: optim.SGD([p, p]), ValueError, r"share memory, got params\[0\] and params\[1\]"),
        (lambda: optim.SGD([p[:3], p[2:]]), ValueError, "must not share memory"),
        (lambda: optim.SGD(wide[:, 0]), ValueError, "params must be contiguous"),
        (lambda: optim.SGD(to_gpu(np.ones(4, int))), TypeError, "got int64"),
        (lambda: step([g]), TypeError, r"grads must be an array of shape \(4,\)"),
        (lambda: step(g[:3]), ValueError, r"grads must have shape \(4,\), got \(3,\)"),
        (lambda: step(to_gpu(np.ones(4, F32))), TypeError, "grads must be of dtype float64"),
        (lambda: optim.Adam([p]).step([host]), TypeError, r"grads\[0\] is on the CPU"),
    ]:
        with pytest.raises(kind, match=words):
            call()
    np.testing.assert_array_equal(to_cpu(p), 1)
    optim.SGD([p[:2], p[2:]])  # apart
    state = optim.Adam(p).state_dict()
    with pytest.raises(TypeError, match=r"state\['exp_avg.0'\] is on the GPU"):
        optim.Adam(p).load_state_dict(state | {"exp_avg.0": g})
    gaps = optim.SGD(p[:2], lr=1.0)
    gaps.step(to_gpu(np.arange(4.0))[::2])
    np.testing.assert_array_equal(to_cpu(p), [1, -1, 1, 1])
