"""The linear path of a forecaster: ridge regressions on the last values, step after step.

    levels     y_t           from 1, y_(t-w) .. y_(t-1),       x_(t-1), x_t
    changes    y_t - y_(t-m) from 1 and the same of all the changes, where there is a season m

The forecast is the mean of the two. Levels return to a mean, changes go on with a drift; which of
them is right is hard to tell from one series, and their mean is better than a choice.

Symbols: w = window, m = season (1 for none), F columns of X, P = w + 2F + 1 coefficients, M series.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.linalg import eigh

from .differencing import difference, undo

STRENGTHS = 10.0 ** np.arange(-4, 4.5, 0.5)  # of the penalty, times the number of rows
UNITS_OF_X = (0.0, 0.3, 1.0)  # 0 leaves X out
ROWS_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums over rows a and their targets b, of which a regression needs no more.

    Attributes
    ----------
    count : int
    sums : ndarray, shape (P,)
        Of (a, b).
    products : ndarray, shape (P, P)
        Of (a, b) with itself.
    """

    count: int
    sums: np.ndarray
    products: np.ndarray

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            self.count + other.count, self.sums + other.sums, self.products + other.products
        )

    @classmethod
    def of(cls, z: np.ndarray, x: np.ndarray, w: int, truth: np.ndarray | None = None) -> Moments:
        """Those of a series (n,), with x (n, F); targets are those of truth that are not NaN."""
        size = w + 2 * x.shape[1] + 1
        found = cls(0, np.zeros(size), np.zeros((size, size)))
        for begin in range(w, len(z), ROWS_AT_ONCE):
            end = min(begin + ROWS_AT_ONCE, len(z))
            windows = sliding_window_view(z[begin - w : end - 1], w)
            beside = x[begin - 1 : end - 1], x[begin:end]
            rows = np.concatenate([windows, *beside, z[begin:end, None]], axis=1)
            if truth is not None:
                rows = rows[~np.isnan(truth[begin:end])]
            found += cls(len(rows), rows.sum(axis=0), rows.T @ rows)
        return found

    def regression(self, w: int, around: np.ndarray | None = None) -> tuple[float, np.ndarray]:
        """Return a score and coefficients (P,), the constant last, that are pulled towards some.

        How much, and how large X is beside the values, is what makes the targets likeliest: the
        evidence of a Gaussian prior, summed over the coefficients. A lower score is likelier.
        """
        size = len(self.sums) - 1
        if self.count == 0:
            return np.inf, np.zeros(size + 1) if around is None else around
        centre = np.zeros(size) if around is None else around[:-1]
        mean = self.sums / self.count
        spread = self.products - self.count * np.outer(mean, mean)
        gram, cross, total = spread[:-1, :-1], spread[:-1, -1], spread[-1, -1]
        total = total - 2 * centre @ cross + centre @ gram @ centre
        cross = cross - gram @ centre
        found, best = centre, np.inf
        for unit in UNITS_OF_X if size > w and around is None else (1.0,):
            units = np.ones(size)
            units[w:] = unit
            values, vectors = eigh(gram * np.outer(units, units))
            values = np.maximum(values, 0)
            along = vectors.T @ (units * cross)
            for strength in STRENGTHS * self.count:
                left = total - np.sum(along**2 / (values + strength))
                if not left > 1e-14 * abs(self.products[-1, -1]):  # nothing but rounding
                    continue
                score = (self.count - 1) * np.log(left) + np.log1p(values / strength).sum()
                if score < best:
                    best = score
                    found = centre + units * (vectors @ (along / (values + strength)))
        return best, np.append(found, mean[-1] - found @ mean[:-1])


def views(season: int) -> list[list[int]]:
    """Return the lags of what each regression sees."""
    return [[]] if season == 1 else [[], [season]]


def fit(
    zs: Sequence[np.ndarray],
    truths: Sequence[np.ndarray],
    xs: Sequence[np.ndarray],
    w: int,
    season: int,
) -> np.ndarray:
    """Fit the regressions to scaled series, of which those in truths that are not NaN are targets.

    Returns
    -------
    ndarray of float64, shape (views, 1 + M, P)
        First those of all series together, then those of each, which are pulled towards them.
    """
    found = []
    for lags in views(season):
        lost = sum(lags)
        each = [
            Moments.of(difference(z, lags), difference(x.T, lags).T, w, difference(truth, lags))
            if len(z) > lost
            else Moments.of(z[:0], x[:0], w)
            for z, truth, x in zip(zs, truths, xs, strict=True)
        ]
        _, common = sum(each[1:], each[0]).regression(w)
        own = [common]
        if len(each) > 1:  # the likelier of both: the series are alike, or each is for itself
            both = [(part.regression(w, common), part.regression(w)) for part in each]
            own = [like if like[0] <= free[0] else free for like, free in both]
            own = [coefficients for _, coefficients in own]
        found.append([common, *own])
    return np.array(found)


def forecast(
    coefficients: np.ndarray, values: np.ndarray, x: np.ndarray, w: int, season: int
) -> np.ndarray:
    """Forecast what follows scaled values.

    Parameters
    ----------
    coefficients : ndarray, shape (views, M, P)
    values : ndarray, shape (M, at least w + lags)
    x : ndarray, shape (M, as many as values + steps, F)

    Returns
    -------
    ndarray, shape (M, steps)
    """
    known, features = values.shape[1], x.shape[2]
    steps = x.shape[1] - known
    total = np.zeros((len(values), steps))
    for own, lags in zip(coefficients, views(season), strict=True):
        z = np.empty((len(values), w + steps))
        z[:, :w] = difference(values, lags)[:, -w:]
        beside = difference(x.swapaxes(1, 2), lags)[:, :, -steps - 1 :].swapaxes(1, 2)
        for step in range(steps):
            ahead = own[:, -1] + np.einsum("mw,mw->m", z[:, step : step + w], own[:, :w])
            if features:
                pair = beside[:, step : step + 2].reshape(len(values), -1)
                ahead = ahead + np.einsum("mf,mf->m", pair, own[:, w:-1])
            z[:, w + step] = ahead
        total += undo(z[:, w:], values, lags)
    return total / len(coefficients)
