"""Losses against finite differences and against torch, with masks, extremes and bad input."""

import subprocess
import sys
from functools import partial

import numpy as np
import pytest

from numba_rnn import losses
from numba_rnn.estimators import objectives

SHAPE = (4, 3, 5)
ELEMENTWISE = {
    "mse": losses.mse,
    "mae": losses.mae,
    "huber": losses.huber,
    "huber_0.3": partial(losses.huber, delta=0.3),
    "binary_cross_entropy": losses.binary_cross_entropy,
}
ALL = {**ELEMENTWISE, "cross_entropy": losses.cross_entropy}
TORCH = {
    "mse": lambda f, x, y: f.mse_loss(x, y, reduction="none"),
    "mae": lambda f, x, y: f.l1_loss(x, y, reduction="none"),
    "huber": lambda f, x, y: f.huber_loss(x, y, reduction="none"),
    "huber_0.3": lambda f, x, y: f.huber_loss(x, y, reduction="none", delta=0.3),
    "binary_cross_entropy": lambda f, x, y: f.binary_cross_entropy_with_logits(
        x, y, reduction="none"
    ),
    "cross_entropy": lambda f, x, y: f.cross_entropy(x.movedim(-1, 1), y, reduction="none"),
}


def example(name, dtype=np.float64, scale=1.0, seed=0):
    """Return a prediction, a target and weights (some 0) for a loss."""
    rng = np.random.default_rng(seed)
    x = (scale * rng.normal(size=SHAPE)).astype(dtype)
    if name == "cross_entropy":
        shape, y = SHAPE[:-1], rng.integers(0, SHAPE[-1], SHAPE[:-1])
    else:
        shape, y = SHAPE, rng.uniform(size=SHAPE).astype(dtype)
    w = rng.uniform(size=shape) * (rng.uniform(size=shape) < 0.7)
    assert (w == 0).any() and (w > 0).any()
    return x, y, w


def error(a, b):
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape
    return np.max(np.abs(a - b)) / max(1, np.max(np.abs(b)))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", ALL)
def test_gradient_is_the_finite_difference_of_the_value(name, weighted):
    x, y, w = example(name)
    w = w if weighted else None
    value, gradient = ALL[name](x, y, w)
    assert type(value) is float and value > 0
    numeric, h = np.empty_like(x), 1e-6
    for i in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[i] += h
        down[i] -= h
        numeric[i] = (ALL[name](up, y, w)[0] - ALL[name](down, y, w)[0]) / (2 * h)
    assert error(gradient, numeric) < 1e-8
    assert np.abs(gradient).max() > 1e-3


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("scale", [1.0, 1e4])
@pytest.mark.parametrize("name", ALL)
def test_against_torch(torch, name, scale, weighted, dtype):
    x, y, w = example(name, dtype, scale)
    w = w if weighted else np.ones_like(w)
    # torch in float64, whatever the dtype: we accumulate in float64 too
    tx = torch.tensor(x.astype(np.float64), requires_grad=True)
    ty = torch.tensor(y if name == "cross_entropy" else y.astype(np.float64))
    tw = torch.tensor(w)
    expected = (tw * TORCH[name](torch.nn.functional, tx, ty)).sum() / tw.sum()
    expected.backward()
    value, gradient = ALL[name](x, y, w if weighted else None)
    assert gradient.dtype == dtype
    assert abs(value - expected.item()) <= 1e-12 * max(1, expected.item())
    peak = tx.grad.abs().max().item()
    tolerance = 1e-11 if dtype == np.float64 else 1e-7
    assert np.max(np.abs(gradient - tx.grad.numpy())) <= tolerance * peak


@pytest.mark.parametrize(
    ("call", "value", "gradient"),
    [
        (lambda x: losses.mse(x, [0, 0]), 2.5, [1, 2]),
        (lambda x: losses.mse(x, [0, 0], [3, 1]), 1.75, [1.5, 1]),
        (lambda x: losses.mae(x, [1, 4]), 1.0, [0, -0.5]),
        (lambda x: losses.huber(x, [0, 0]), 1.0, [0.5, 0.5]),
        (lambda x: losses.huber(x, [0, 0], delta=4), 1.25, [0.5, 1]),
    ],
)
def test_by_hand(call, value, gradient):
    got = call(np.array([1.0, 2.0]))
    assert got[0] == value
    assert got[1].tolist() == gradient


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ALL)
def test_weight_zero_masks_whatever_lies_there(name, dtype):
    x, y, w = example(name, dtype)
    expected = ALL[name](x, y, w)
    masked = np.argwhere(w == 0)
    junk = [np.nan, np.inf, -np.inf, np.finfo(dtype).max]
    classes = [-100, SHAPE[-1], np.iinfo(np.int64).min, np.iinfo(np.int64).max]
    for k, index in enumerate(map(tuple, masked)):
        x[index] = junk[k % 4]
        y[index] = classes[k % 4] if name == "cross_entropy" else junk[(k + 1) % 4]
    value, gradient = ALL[name](x, y, w)
    assert value == expected[0]
    np.testing.assert_array_equal(gradient, expected[1])
    assert not gradient[w == 0].any()


@pytest.mark.parametrize("name", ALL)
def test_unmasked_nan_shows(name):
    x, y, _ = example(name)
    x[1, 2, 3] = np.nan
    value, gradient = ALL[name](x, y)
    assert np.isnan(value) and np.isnan(gradient[1, 2, 3])
    assert np.isfinite(gradient[0]).all()


@pytest.mark.parametrize("name", ALL)
def test_masking_is_leaving_out(name):
    x, y, w = example(name)
    step = np.array([1, 0, 1, 1]).reshape((4,) + (1,) * (w.ndim - 1))  # broadcasts
    value, gradient = ALL[name](x, y, step)
    keep = [0, 2, 3]
    expected = ALL[name](x[keep], y[keep])
    assert value == pytest.approx(expected[0], rel=1e-14)
    np.testing.assert_allclose(gradient[keep], expected[1], rtol=1e-14)
    assert not gradient[1].any()


@pytest.mark.parametrize("name", ALL)
def test_weights_count_by_their_ratio_alone(name):
    x, y, w = example(name)
    expected = ALL[name](x, y, w)
    for factor in (4.0, 1e-300, 1e308):  # the sum of the last ones overflows
        value, gradient = ALL[name](x, y, w * factor)
        assert value == pytest.approx(expected[0], rel=1e-13)
        np.testing.assert_allclose(gradient, expected[1], rtol=1e-13)


@pytest.mark.parametrize("name", ALL)
def test_nothing_to_average_is_zero(name):
    x, y, w = example(name, np.float32)
    for value, gradient in (
        ALL[name](x, y, np.zeros_like(w)),
        ALL[name](x, y, 0),
        ALL[name](np.full_like(x, np.nan), y, False),
        ALL[name](x[:0], y[:0]),
        ALL[name](x[:0], y[:0], np.ones((0, 1) + (1,) * (w.ndim - 2))),
    ):
        assert type(value) is float and value == 0
        assert gradient.dtype == np.float32 and not gradient.any()
    assert ALL[name](x, y, 0)[1].shape == x.shape
    assert ALL[name](x[:0], y[:0])[1].shape == (0, *SHAPE[1:])


def test_extreme_logits_are_exact():
    x = np.array([1e4, -1e4, 1e4, -1e4, 40.0, -40.0])
    y = np.array([1, 0, 0, 1, 1, 0])
    tiny = np.exp(-40.0)
    for i, (loss, slope) in enumerate(
        [(0, 0), (0, 0), (1e4, 1), (1e4, -1), (tiny, -tiny), (tiny, tiny)]
    ):
        value, gradient = losses.binary_cross_entropy(x[i : i + 1], y[i : i + 1])
        assert value == pytest.approx(loss, rel=1e-12, abs=0)
        assert gradient[0] == pytest.approx(slope, rel=1e-12, abs=0)
    for dtype in (np.float32, np.float64):
        logits = np.array([[1e4, -1e4, 0.0]], dtype)
        assert losses.cross_entropy(logits, [1])[0] == 2e4
        assert losses.cross_entropy(logits, [1])[1].tolist() == [[1, -1, 0]]
        assert losses.cross_entropy(logits, [0])[0] == 0
        assert not losses.cross_entropy(logits, [0])[1].any()
    # a class ruled out by -inf
    value, gradient = losses.cross_entropy(np.array([0.0, 0.0, -np.inf]), 0)
    assert value == pytest.approx(np.log(2)) and gradient.tolist() == [-0.5, 0.5, 0]


INF, NAN = np.inf, np.nan
LOG2 = np.log(2)
# loss, logits or predictions, targets, the terms' sum, the gradient of the sum
INFINITE = [
    ("binary_cross_entropy", [2.0, -1, -INF], [1, 0, 0],
     np.log1p(np.exp(-2)) + np.log1p(np.exp(-1)), [-1 / (1 + np.exp(2)), 1 / (1 + np.exp(1)), 0]),
    ("binary_cross_entropy", [INF, -INF], [1, 0], 0, [0, 0]),
    ("binary_cross_entropy", [INF, -INF], [0, 1], INF, [1, -1]),
    ("binary_cross_entropy", [INF, -INF], [0.25, 0.25], INF, [0.75, -0.25]),
    ("binary_cross_entropy", [NAN, INF, NAN], [0, 1, 1], NAN, [NAN, 0, NAN]),
    ("cross_entropy", [[0, 0, -INF]], [0], LOG2, [[-0.5, 0.5, 0]]),
    ("cross_entropy", [[0, 0, -INF]], [2], INF, [[0.5, 0.5, -1]]),
    ("cross_entropy", [[3, INF, -INF], [0, 0, -INF]], [1, 1], LOG2, [[0, 0, 0], [0.5, -0.5, 0]]),
    ("cross_entropy", [[3, INF, -INF]], [0], INF, [[-1, 1, 0]]),
    ("cross_entropy", [[INF, INF, 0], [0, 0, -INF]], [0, 0], NAN, [[NAN] * 3, [-0.5, 0.5, 0]]),
    ("cross_entropy", [[-INF, -INF]], [0], NAN, [[NAN, NAN]]),
    ("cross_entropy", [[NAN, INF]], [1], NAN, [[NAN, NAN]]),
    ("mse", [INF, -INF, 1], [0, 0, INF], INF, [INF, -INF, -INF]),
    ("mse", [INF, 2], [INF, 1], NAN, [NAN, 2]),
    ("mae", [INF, -INF, 1], [0, 0, INF], INF, [1, -1, -1]),
    ("mae", [INF, 2], [INF, 1], NAN, [NAN, 1]),
    ("huber", [INF, -INF, 1], [0, 0, INF], INF, [1, -1, -1]),
    ("huber", [INF, 2], [INF, 1.5], NAN, [NAN, 0.5]),
    ("huber_0.3", [INF, -INF, 1], [0, 0, INF], INF, [0.3, -0.3, -0.3]),
]  # fmt: skip
each_infinite = pytest.mark.parametrize(
    ("name", "x", "y", "total", "slopes"), INFINITE, ids=[f"{c[0]}-{c[1]}-{c[2]}" for c in INFINITE]
)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@each_infinite
def test_infinite_predictions(name, x, y, total, slopes, dtype):
    x, y, slopes = np.array(x, dtype), np.array(y), np.array(slopes)
    for weights in (None, np.full(y.shape, 3.0)):
        with np.errstate(all="raise"):  # nothing is warned of either
            value, gradient = ALL[name](x, y, weights)
        np.testing.assert_allclose(value, total / y.size, rtol=1e-14)
        np.testing.assert_allclose(gradient, slopes / y.size, rtol=1e-6)
    # beside what is masked, and where it is masked itself
    both = np.stack([x, np.ones_like(x)]), np.stack([y, np.zeros_like(y)])
    value, gradient = ALL[name](*both, np.array([[0.0], [1.0]]))
    assert np.isfinite(value) and np.isfinite(gradient).all() and not gradient[0].any()


@pytest.mark.parametrize(
    ("name", "x", "y"), [case[:3] for case in INFINITE if np.isfinite(case[3])]
)
def test_a_right_infinite_logit_is_the_limit(name, x, y):
    """A huge number in the place of infinity gives the same."""
    x, y = np.array(x), np.array(y)
    value, gradient = ALL[name](x, y)
    close, its_gradient = ALL[name](np.nan_to_num(x, posinf=1e150, neginf=-1e150), y)
    assert value == close
    np.testing.assert_array_equal(gradient, its_gradient)


SOFTMAX = [case[1:] for case in INFINITE if case[0] == "cross_entropy"]


@pytest.mark.parametrize(("x", "y", "total", "slopes"), SOFTMAX)
def test_infinite_logits_in_training(x, y, total, slopes):
    with np.errstate(all="ignore"):  # as training says
        value, gradient = objectives.cross_entropy(np.array(x), np.array(y))
    np.testing.assert_allclose(value, total / len(y), rtol=1e-14)
    np.testing.assert_allclose(gradient, np.array(slopes) / len(y), rtol=1e-14)


def test_nothing_is_warned_of():
    """What float64 or the gradient's dtype can't hold is infinite."""
    assert losses.mse(np.array([1e200]), [0])[0] == INF
    value, gradient = losses.mse(np.array([3e38], np.float32), [-3e38])
    assert value == pytest.approx(3.6e77) and gradient.tolist() == [INF]


@pytest.mark.parametrize("name", ALL)
def test_layouts_give_the_same(name):
    x, y, w = example(name, np.float32)
    expected = ALL[name](x, y, w)
    wide = np.zeros((4, 3, 10), np.float32)
    wide[..., ::2] = x
    flipped = x[::-1].copy()[::-1]
    for other in (np.asfortranarray(x), wide[..., ::2], flipped):
        other.setflags(write=False)
        before = other.copy()
        value, gradient = ALL[name](other, np.asfortranarray(y), np.asfortranarray(w))
        assert value == expected[0]
        np.testing.assert_array_equal(gradient, expected[1])
        np.testing.assert_array_equal(other, before)
        assert gradient.flags.c_contiguous and gradient.flags.writeable


@pytest.mark.parametrize("name", ALL)
def test_least_axes(name):
    x, y, w = example(name)
    if name == "cross_entropy":
        x, y, w = x[0, 0], y[0, 0], 2.0
    else:
        x, y, w = x[0, 0, :1].reshape(()), y[0, 0, 0], 2.0
    for weights in (None, w):
        value, gradient = ALL[name](x, y, weights)
        assert type(value) is float
        assert isinstance(gradient, np.ndarray) and gradient.shape == x.shape


def test_float32_is_summed_in_float64():
    x = np.full(2_000_000, 0.1, np.float32)
    value, _ = losses.mae(x, np.zeros_like(x))
    assert value == pytest.approx(float(np.float32(0.1)), rel=1e-13)
    assert losses.mse(np.array([1e30], np.float32), [0])[0] == pytest.approx(1e60, rel=1e-6)


BAD_PREDICTIONS = [
    ([1.0, 2.0], "NumPy array.*list"),
    (None, "NumPy array.*None"),
    (np.zeros((2, 3), int), "float32 or float64, got int64.*astype"),
    (np.zeros((2, 3), np.float16), "float16"),
    (np.zeros((2, 3), complex), "complex128"),
    (np.zeros((2, 3), object), "object"),
    (np.array([["a"] * 3] * 2), "got <U1"),
]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(("prediction", "words"), BAD_PREDICTIONS)
def test_bad_predictions(name, prediction, words):
    y = np.zeros(2, int) if name == "cross_entropy" else np.zeros((2, 3))
    with pytest.raises(TypeError, match=f"prediction must be.*{words}"):
        ALL[name](prediction, y)


BAD_WEIGHTS = [
    (-1.0, ValueError, "finite and not negative, got -1.0"),
    ([np.nan, 1], ValueError, "got nan"),
    ([np.inf, 1], ValueError, "got inf"),
    (np.ones((7, 2)), ValueError, r"broadcast to shape \(.*\), got shape \(7, 2\)"),
    (np.ones((1, 1, 1, 1)), ValueError, r"got shape \(1, 1, 1, 1\)"),
    ([1j, 1], TypeError, "real numbers"),
    ("ab", TypeError, "real numbers"),
    ([None, 1], TypeError, "real numbers"),
    ([[1], [1, 2]], TypeError, "be an array"),
]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(("weights", "kind", "words"), BAD_WEIGHTS)
def test_bad_weights(name, weights, kind, words):
    x, y, _ = example(name)
    if name != "cross_entropy":
        x, y = x[..., :2], y[..., :2]
    else:
        x, y = x[:, :2], y[:, :2]
    with pytest.raises(kind, match=f"weights must .*{words}"):
        ALL[name](x, y, weights)


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize(
    ("target", "kind", "words"),
    [
        (np.zeros((2, 1)), ValueError, r"prediction's shape \(2, 3\), got \(2, 1\)"),
        (0.0, ValueError, r"got \(\)"),
        (np.zeros((2, 3), complex), TypeError, "real numbers.*complex128"),
        ([["a"] * 3] * 2, TypeError, "real numbers"),
        (None, TypeError, "real numbers.*None"),
        ([[1], [1, 2]], TypeError, "array"),
    ],
)
def test_bad_targets(name, target, kind, words):
    with pytest.raises(kind, match=f"target must.*{words}"):
        ELEMENTWISE[name](np.zeros((2, 3)), target)


@pytest.mark.parametrize("bad", [-0.1, 1.1, np.nan])
def test_bad_probabilities(bad):
    with pytest.raises(ValueError, match=rf"target must lie in \[0, 1\], got {bad}"):
        losses.binary_cross_entropy(np.zeros(2), [0.5, bad], weights=[0, 1])


@pytest.mark.parametrize(
    ("prediction", "target", "kind", "words"),
    [
        (np.zeros((2, 3)), [0, 3], ValueError, r"target must lie in 0\.\.2, got 3"),
        (np.zeros((2, 3)), [-1, 0], ValueError, r"target must lie in 0\.\.2, got -1"),
        (np.zeros((2, 3)), np.array([2**63, 0], np.uint64), ValueError, f"got {2**63}"),
        (np.zeros((2, 3)), [0], ValueError, r"target must have shape \(2,\).*got \(1,\)"),
        (np.zeros((2, 3)), np.zeros((2, 3), int), ValueError, r"got \(2, 3\)"),
        (np.zeros((2, 3)), [0.0, 1.0], TypeError, "target must hold integer class indices"),
        (np.zeros((2, 3)), [True, False], TypeError, "target must hold integer class indices"),
        (np.zeros((2, 0)), [0, 0], ValueError, r"prediction must.*got \(2, 0\)"),
        (np.zeros(()), 0, ValueError, r"prediction must.*got \(\)"),
    ],
)
def test_bad_classes(prediction, target, kind, words):
    with pytest.raises(kind, match=words):
        losses.cross_entropy(prediction, target)


@pytest.mark.parametrize("delta", [0, -1.0, np.nan, np.inf])
def test_bad_delta(delta):
    with pytest.raises(ValueError, match="delta must lie in"):
        losses.huber(np.zeros(2), np.zeros(2), delta=delta)
    with pytest.raises(TypeError, match="delta must be a real number"):
        losses.huber(np.zeros(2), np.zeros(2), delta="1")


def test_package_import_does_not_wait_for_scipy():
    code = "import sys, numba_rnn; assert 'scipy.special' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
