"""The packaged data is what its sources say of it."""

import numpy as np

from numba_rnn.datasets import load_co2, load_japanese_vowels


def test_co2():
    dates, ppm = load_co2()
    assert dates.shape == ppm.shape == (2284,)
    assert dates.dtype == "datetime64[D]" and ppm.dtype == np.float64
    assert (np.diff(dates) == np.timedelta64(7, "D")).all()
    assert str(dates[0]) == "1958-03-29" and str(dates[-1]) == "2001-12-29"
    assert np.isnan(ppm).sum() == 59
    assert np.nanmin(ppm) == 313.0 and np.nanmax(ppm) == 373.9
    assert ppm[[0, -1]].tolist() == [316.1, 371.5]


def test_japanese_vowels():
    X_train, y_train, X_test, y_test = load_japanese_vowels()
    assert len(X_train) == 270 and len(X_test) == 370
    # the files size_ae.train and size_ae.test of the source
    assert np.bincount(y_train).tolist() == [0] + 9 * [30]
    assert np.bincount(y_test).tolist() == [0, 31, 35, 88, 44, 29, 24, 40, 50, 29]
    assert y_train.dtype == y_test.dtype == np.int64
    for X, shortest, longest, steps in ((X_train, 7, 26, 4274), (X_test, 7, 29, 5687)):
        lengths = [len(x) for x in X]
        assert (min(lengths), max(lengths), sum(lengths)) == (shortest, longest, steps)
        for x in X:
            assert x.shape[1:] == (12,) and x.dtype == np.float64 and x.flags.c_contiguous
            assert x.base is None  # a series does not keep all others in memory
            assert np.isfinite(x).all()
            np.testing.assert_array_equal(x, np.round(x, 6))  # the decimals that were published
    # the first two steps of the file ae.train of the source, and of its second utterance
    assert X_train[0][0].tolist() == [
        1.860936, -0.207383, 0.261557, -0.214562, -0.171253, -0.118167,
        -0.277557, 0.025668, 0.126701, -0.306756, -0.213076, 0.088728,
    ]  # fmt: skip
    assert X_train[0][1, :5].tolist() == [1.891651, -0.193249, 0.235363, -0.249118, -0.11289]
    assert X_train[1][0, :5].tolist() == [1.303905, 0.067256, 0.597720, -0.271474, -0.236808]


def test_each_call_returns_arrays_of_its_own():
    load_co2().ppm[:] = 0
    assert load_co2().ppm[0] == 316.1
    load_japanese_vowels().X_train[0][:] = 0
    assert load_japanese_vowels().X_train[0][0, 0] == 1.860936
