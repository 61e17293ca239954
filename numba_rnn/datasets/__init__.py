"""Two small data sets, packaged: a series to forecast and sequences to classify.

`README.md` beside this file has their sources and licences in full.
"""

from __future__ import annotations

import io
from importlib import resources
from typing import NamedTuple

import numpy as np

__all__ = ["CO2", "JapaneseVowels", "load_co2", "load_japanese_vowels"]

_TRAINING_UTTERANCES = 270


class CO2(NamedTuple):
    """Weekly CO2 at Mauna Loa, as `load_co2` returns it.

    Parameters
    ----------
    dates : ndarray of datetime64[D], shape (weeks,)
    ppm : ndarray of float64, shape (weeks,)

    Examples
    --------
    >>> from numba_rnn.datasets import load_co2
    >>> load_co2()._fields
    ('dates', 'ppm')
    """

    dates: np.ndarray
    ppm: np.ndarray


class JapaneseVowels(NamedTuple):
    """Utterances of nine speakers, as `load_japanese_vowels` returns them.

    Parameters
    ----------
    X_train : list of ndarray of float64, shape (T_i, 12)
    y_train : ndarray of int64, shape (270,)
    X_test : list of ndarray of float64, shape (T_i, 12)
    y_test : ndarray of int64, shape (370,)

    Examples
    --------
    >>> from numba_rnn.datasets import load_japanese_vowels
    >>> load_japanese_vowels()._fields
    ('X_train', 'y_train', 'X_test', 'y_test')
    """

    X_train: list[np.ndarray]
    y_train: np.ndarray
    X_test: list[np.ndarray]
    y_test: np.ndarray


def load_co2() -> CO2:
    """Weekly atmospheric CO2 at Mauna Loa Observatory, Hawaii, March 1958 to December 2001.

    A steady rise and a clear yearly season: 2284 weeks, of which 59 were not measured.

    Returns
    -------
    dates : ndarray of datetime64[D], shape (2284,)
        The Saturday of each week.
    ppm : ndarray of float64, shape (2284,)
        CO2 in parts per million by volume, NaN where no value was published.

    Notes
    -----
    Public domain; by way of the data set `co2` of statsmodels 0.15.0.

    References
    ----------
    C. D. Keeling and T. P. Whorf, "Atmospheric CO2 concentrations derived from flask air samples
    at sites in the SIO network", in: Trends: A Compendium of Data on Global Change, Carbon Dioxide
    Information Analysis Center, Oak Ridge National Laboratory, 2004.

    Examples
    --------
    >>> from numba_rnn.datasets import load_co2
    >>> dates, ppm = load_co2()
    >>> print(dates[0], ppm[0])
    1958-03-29 316.1
    """
    file = _packaged("co2_weekly.csv")
    dates, ppm = np.loadtxt(file, delimiter=",", skiprows=1, dtype=str, unpack=True)
    return CO2(dates.astype("datetime64[D]"), np.where(ppm == "", "nan", ppm).astype(float))


def load_japanese_vowels() -> JapaneseVowels:
    """Nine speakers who say two vowels, to be told apart: sequences of different lengths.

    640 utterances of the Japanese vowels /ae/ by nine male speakers, as 12 LPC cepstrum
    coefficients every 6.4 ms, 7 to 29 steps long: 30 utterances a speaker to train on, and 24 to 88
    from other occasions to test on.

    Returns
    -------
    X_train : list of 270 ndarrays of float64, shape (T_i, 12)
    y_train : ndarray of int64, shape (270,)
        The speaker, 1 to 9.
    X_test : list of 370 ndarrays of float64, shape (T_i, 12)
    y_test : ndarray of int64, shape (370,)

    Notes
    -----
    From the UCI Machine Learning Repository, licensed under CC BY 4.0
    (https://creativecommons.org/licenses/by/4.0/); by way of the package aeon 1.6.0. Every value
    is as it was published; the file format is ours.

    References
    ----------
    M. Kudo, J. Toyama and M. Shimbo, Japanese Vowels, UCI Machine Learning Repository,
    https://doi.org/10.24432/C5NS47.

    M. Kudo, J. Toyama and M. Shimbo, "Multidimensional curve classification using passing-through
    regions", Pattern Recognition Letters 20(11-13), 1103-1111, 1999.

    Examples
    --------
    >>> from numba_rnn.datasets import load_japanese_vowels
    >>> X_train, y_train, X_test, y_test = load_japanese_vowels()
    >>> len(X_train), len(X_test), X_train[0].shape, int(y_train[0])
    (270, 370, (20, 12), 1)
    """
    with np.load(_packaged("japanese_vowels.npz")) as file:
        x = file["millionths"] / 1e6  # (9961, 12): the decimals that were published, to the bit
        ends = np.cumsum(file["lengths"], dtype=np.int64)
        y = file["speakers"].astype(np.int64)
    X = [part.copy() for part in np.split(x, ends[:-1])]
    k = _TRAINING_UTTERANCES
    return JapaneseVowels(X[:k], y[:k], X[k:], y[k:])


def _packaged(name: str) -> io.BytesIO:
    """Read a file of this package, which may be in a zip file or an application."""
    return io.BytesIO(resources.files(__package__).joinpath(name).read_bytes())
