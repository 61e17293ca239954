"""Singular values of long products of matrices, whose scales leave the range of floats."""

from __future__ import annotations

import numpy as np

NEAR = 10.0  # scales that are no further apart need no care: e^10 costs five digits of sixteen
SWEEPS = 60  # far more than are needed


class Product:
    """A product of square matrices, multiplied from the left; N of them at once.

    It is kept as Q·diag(exp(scales))·rows: Q orthogonal, rows upper triangular and of norm 1. As
    each row has a scale of its own, small ones are not lost beside large ones.
    """

    def __init__(self, N: int, H: int) -> None:
        eye = np.broadcast_to(np.eye(H), (N, H, H))
        self._q, self._rows = eye.copy(), eye.copy()
        self._scales = np.zeros((N, H))

    def multiply(self, factor: np.ndarray) -> None:
        """Multiply by a factor, (N, H, H), from the left."""
        self._q, r = np.linalg.qr(factor @ self._q)
        # A row of the new triangle sums rows from its own on: take the largest scale out of each.
        least = np.finfo(float).min
        scales = np.maximum(self._scales, least)
        largest = np.maximum.accumulate(scales[:, ::-1], axis=1)[:, ::-1]
        with np.errstate(under="ignore", over="ignore"):
            weights = r * np.exp(np.minimum(scales[:, None, :] - largest[:, :, None], 0))
            rows = weights @ self._rows
        self._rows, norms = _normed(rows)
        with np.errstate(divide="ignore"):
            self._scales = np.where(norms > 0, largest + np.log(norms), -np.inf)

    def log_singular_values(self) -> np.ndarray:
        """Natural logarithms, (N, H), in descending order.

        One-sided Jacobi rotations make the rows orthogonal, two and two; each pair shares a factor,
        so that only the ratio of their scales is ever computed with.
        """
        rows, scales = self._rows.copy(), self._scales.copy()
        if np.all(np.isfinite(scales)):
            largest = scales.max(axis=1, initial=-np.inf, keepdims=True)
            values = np.linalg.svd(np.exp(scales - largest)[:, :, None] * rows, compute_uv=False)
            if np.all(values[:, -1:] >= values[:, :1] * np.exp(-NEAR)):
                return np.log(values) + largest
        H = rows.shape[1]
        places = list(range(H + H % 2))  # a tournament: every row meets every other
        for _ in range(SWEEPS):
            worst = 0.0
            for _ in range(len(places) - 1):
                half = len(places) // 2
                pairs = zip(places[:half], reversed(places[half:]), strict=True)
                met = [(i, j) for i, j in pairs if max(i, j) < H]
                if met:
                    worst = max(worst, _rotate(rows, scales, np.array(met).T))
                places = [places[0], places[-1], *places[1:-1]]
            if worst < 1e-15 * H:
                break
        return -np.sort(-scales, axis=1)


def _rotate(rows: np.ndarray, scales: np.ndarray, pairs: np.ndarray) -> float:
    """Make pairs of rows orthogonal; return the largest cosine that there was."""
    first, second = pairs
    n = np.arange(len(rows))[:, None]
    swap = scales[:, first] < scales[:, second]
    i, j = np.where(swap, second, first), np.where(swap, first, second)  # (N, pairs), larger first
    u, v = rows[n, i], rows[n, j]
    s, smaller = scales[n, i], scales[n, j]
    with np.errstate(invalid="ignore", under="ignore"):
        ratio = np.where(np.isfinite(smaller), np.exp(smaller - s), 0.0)
    cosine = np.sum(u * v, axis=-1)
    # The angle that makes u - t·ratio·v and v + tau·u orthogonal, t = ratio·tau.
    p, q = 1 - ratio * ratio, 2 * ratio * cosine
    below = p + np.hypot(p, q)
    tau = np.where(below > 0, -2 * cosine / np.where(below > 0, below, 1), 0.0)
    t = ratio * tau
    cos = (1 / np.sqrt(1 + t * t))[..., None]
    new_u, of_u = _normed(cos * (u - (t * ratio)[..., None] * v))
    new_v, of_v = _normed(cos * (v + tau[..., None] * u))
    rows[n, i], rows[n, j] = new_u, new_v
    with np.errstate(divide="ignore"):
        scales[n, i], scales[n, j] = s + np.log(of_u), smaller + np.log(of_v)
    lost = ~np.isfinite(smaller)
    return float(np.max(np.where(lost, 0, np.abs(cosine)), initial=0))


def _normed(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    norms = np.linalg.norm(rows, axis=-1)
    return rows / np.where(norms > 0, norms, 1)[..., None], norms
