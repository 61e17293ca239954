"""Arrays in the order of other packages, (n, channels, time), are noticed; all others are not."""

import warnings

import numpy as np
import pytest

import numba_rnn as nr
from numba_rnn.estimators import RNNClassifier, RNNRegressor, checks

QUICK = {"hidden_size": 3, "max_iter": 1, "n_iter_no_change": np.inf, "random_state": 0}
RNG = np.random.default_rng(0)


def walks(n, steps, features):
    """Series that go on from step to step, their features unlike one another."""
    return RNG.normal(size=(n, steps, features)).cumsum(axis=1)


def waves(n, steps, features):
    phase = RNG.uniform(0, 6, (n, 1, features))
    wave = np.sin(0.2 * np.arange(steps)[:, None] + phase)
    return wave + RNG.normal(0, 0.3, (n, steps, features))


TURNED = {
    "one channel": walks(20, 50, 1),
    "one channel of noise": RNG.normal(size=(20, 50, 1)),
    "three channels": walks(20, 50, 3),
    "noisy waves": waves(20, 60, 6),
    "six channels of a sensor": 0.01 * waves(40, 100, 6) + np.arange(6),
    "channels of other sizes": waves(20, 60, 3) * [1, 1000, 1e-6],
    "many series": walks(1001, 40, 2),
    "float32": walks(20, 50, 3).astype(np.float32),
}


@pytest.mark.parametrize("name", TURNED)
def test_what_is_turned_is_noticed(name):
    right = TURNED[name]
    assert checks.looks_turned(np.swapaxes(right, 1, 2))
    assert not checks.looks_turned(right)


def spectra(n, steps, bands):
    """Frames of a sound: neighbours in time and in frequency are alike."""
    rough = RNG.normal(size=(n, steps + 8, bands + 8))
    smooth = np.apply_along_axis(np.convolve, 1, rough, np.ones(9), "valid")
    return np.apply_along_axis(np.convolve, 2, smooth, np.ones(9), "valid")


USUAL = {
    "long series": walks(20, 300, 3),
    "as many features as steps": walks(20, 10, 10),
    "a panel of many columns": walks(20, 10, 50),
    "features of other sizes": walks(20, 10, 50) * 10.0 ** RNG.integers(-3, 4, 50),
    "levels beside one another": walks(20, 5, 40) + 100 * RNG.normal(size=40),
    "noise": RNG.normal(size=(50, 5, 60)),
    "what was embedded": RNG.normal(size=(20, 12, 300)) + RNG.normal(size=300),
    "spectra": spectra(10, 20, 80),
    "counts, one at a time": np.eye(60)[RNG.integers(0, 60, (20, 12))],
    "columns of zeros and ones": (RNG.random((20, 6, 40)) < 0.2).astype(float),
    "one step of few features": RNG.normal(size=(20, 1, 4)),
    "constants": np.ones((20, 3, 50)),
    "huge": RNG.normal(size=(20, 3, 50)) * 1e300,
    "japanese vowels": np.stack([x[:7] for x in nr.datasets.load_japanese_vowels()[0]]),
    "the first two steps": np.stack([x[:2] for x in nr.datasets.load_japanese_vowels()[0]]),
}


@pytest.mark.parametrize("name", USUAL)
def test_what_is_usual_is_not_questioned(name):
    assert not checks.looks_turned(USUAL[name])


def test_gaps_are_no_reason():
    x = walks(20, 50, 3)
    x[RNG.random(x.shape) < 0.1] = np.nan
    x[0] = np.nan
    assert checks.looks_turned(np.swapaxes(x, 1, 2)) and not checks.looks_turned(x)


@pytest.mark.parametrize("kind", [RNNClassifier, RNNRegressor])
def test_a_fit_warns_and_says_what_to_do(kind):
    x, y = np.swapaxes(walks(20, 50, 3), 1, 2), np.arange(20) % 2
    words = r"X of shape \(20, 3, 50\) is read as series of 3 steps .*np.swapaxes\(X, 1, 2\)"
    for call in (kind(**QUICK).fit, kind(**QUICK).fit(list(x), y).fit):
        with pytest.warns(UserWarning, match=words) as caught:
            model = call(x, y)
        assert caught[0].filename == __file__
    options = {"classes": [0, 1]} if kind is RNNClassifier else {}
    with pytest.warns(UserWarning, match=words) as caught:
        kind(**QUICK).partial_fit(x, y, **options)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(model.predict(x), kind(**QUICK).fit(list(x), y).predict(x))
        model.partial_fit(x, y)  # it goes on as it began
        kind(**QUICK).fit(np.swapaxes(x, 1, 2), y)
