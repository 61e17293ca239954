"""Losses that return their value and, beside it, the gradient that ``tape.backward`` takes.

Every loss is called as ``(prediction, target, weights=None)`` and returns ``(value, gradient)``:

    value    = sum(w * l) / sum(w), with l the loss of one element and w = 1 without weights
    gradient = d value / d prediction, in the prediction's shape and dtype

Where the weights sum to 0 (or there is no element) both are 0. A weight of 0 masks its element
completely: neither prediction nor target is looked at there, be they NaN or out of range.
Inside, everything is computed in float64. Infinities and NaN go through as IEEE 754 has it, without
a warning; an infinite logit is the limit of large ones: right, its loss is 0, wrong, infinite.

Where the prediction is on a GPU, target and weights must be there too (weights may also be a
number), value and gradient come as arrays of the prediction's kind, the value with shape (), and
nothing is copied to the host. So values can't be refused: an invalid weight, class or probability
makes value and gradient NaN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special

from . import validation
from .dispatch import backend, on_gpu

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["binary_cross_entropy", "cross_entropy", "huber", "mae", "mse"]


def mse(
    prediction: np.ndarray, target: ArrayLike, weights: ArrayLike | None = None
) -> tuple[float, np.ndarray]:
    """Mean squared error, l = (x - y)^2.

    Parameters
    ----------
    prediction : ndarray of float32 or float64, any shape
    target : array_like of real numbers, shape of the prediction
    weights : array_like, broadcast to the shape of the prediction, optional
        Finite and not negative; 0 masks an element.

    Returns
    -------
    value : float
    gradient : ndarray, shape and dtype of the prediction

    Raises
    ------
    TypeError
        If an argument has a wrong dtype.
    ValueError
        If the shapes do not fit or a weight is negative or not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from numba_rnn import losses
    >>> value, gradient = losses.mse(np.array([1.0, 5.0]), [2.0, 2.0])
    >>> value, gradient
    (5.0, array([-1.,  3.]))
    >>> losses.mse(np.array([1.0, np.nan]), [2.0, 2.0], weights=[1, 0])
    (1.0, array([-2.,  0.]))
    """
    if on_gpu(prediction):
        return _on_gpu("mse", prediction, target, weights)
    x, y, w = _prepare(prediction, target, weights)
    with np.errstate(all="ignore"):
        return weighted_mean(*squared(x, y), w, prediction.dtype)


def mae(
    prediction: np.ndarray, target: ArrayLike, weights: ArrayLike | None = None
) -> tuple[float, np.ndarray]:
    """Mean absolute error, l = ``|x - y|``; the gradient at x = y is 0, as in torch.

    Parameters
    ----------
    prediction : ndarray of float32 or float64, any shape
    target : array_like of real numbers, shape of the prediction
    weights : array_like, broadcast to the shape of the prediction, optional
        Finite and not negative; 0 masks an element.

    Returns
    -------
    value : float
    gradient : ndarray, shape and dtype of the prediction

    Raises
    ------
    TypeError
        If an argument has a wrong dtype.
    ValueError
        If the shapes do not fit or a weight is negative or not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from numba_rnn import losses
    >>> losses.mae(np.array([1.0, 5.0]), [2.0, 2.0])
    (2.0, array([-0.5,  0.5]))
    """
    if on_gpu(prediction):
        return _on_gpu("mae", prediction, target, weights)
    x, y, w = _prepare(prediction, target, weights)
    with np.errstate(all="ignore"):
        return weighted_mean(*absolute(x, y), w, prediction.dtype)


def huber(
    prediction: np.ndarray,
    target: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    delta: float = 1.0,
) -> tuple[float, np.ndarray]:
    """Huber's loss: squared near 0, absolute beyond delta.

    l = d^2 / 2 where ``|d| <= delta``, else ``delta * (|d| - delta / 2)``, with d = x - y.

    Parameters
    ----------
    prediction : ndarray of float32 or float64, any shape
    target : array_like of real numbers, shape of the prediction
    weights : array_like, broadcast to the shape of the prediction, optional
        Finite and not negative; 0 masks an element.
    delta : float
        Where the parabola becomes a line; above 0.

    Returns
    -------
    value : float
    gradient : ndarray, shape and dtype of the prediction

    Raises
    ------
    TypeError
        If an argument has a wrong dtype.
    ValueError
        If the shapes do not fit, a weight is negative or not finite, or delta is not above 0.

    References
    ----------
    P. J. Huber, "Robust estimation of a location parameter", Ann. Math. Statist. 35, 1964.

    Examples
    --------
    >>> import numpy as np
    >>> from numba_rnn import losses
    >>> losses.huber(np.array([2.5, 5.0]), [2.0, 2.0])
    (1.3125, array([0.25, 0.5 ]))
    """
    delta = validation.real("delta", delta, 0, open_low=True, open_high=True)
    if on_gpu(prediction):
        return _on_gpu("huber", prediction, target, weights, delta)
    x, y, w = _prepare(prediction, target, weights)
    with np.errstate(all="ignore"):
        return weighted_mean(*hubers(x, y, delta), w, prediction.dtype)


def binary_cross_entropy(
    prediction: np.ndarray, target: ArrayLike, weights: ArrayLike | None = None
) -> tuple[float, np.ndarray]:
    """Binary cross-entropy of logits, l = -y log s(x) - (1 - y) log s(-x), s the logistic function.

    Safe for logits of any size, infinite ones too; s itself is never rounded to 0 or 1 first.

    Parameters
    ----------
    prediction : ndarray of float32 or float64, any shape
        Logits.
    target : array_like of real numbers in [0, 1], shape of the prediction
    weights : array_like, broadcast to the shape of the prediction, optional
        Finite and not negative; 0 masks an element.

    Returns
    -------
    value : float
    gradient : ndarray, shape and dtype of the prediction

    Raises
    ------
    TypeError
        If an argument has a wrong dtype.
    ValueError
        If the shapes do not fit, a target lies outside [0, 1], or a weight is negative or not
        finite.

    Examples
    --------
    >>> import numpy as np
    >>> from numba_rnn import losses
    >>> value, gradient = losses.binary_cross_entropy(np.array([0.0, -1000.0]), [1, 1])
    >>> round(value, 4), gradient
    (500.3466, array([-0.25, -0.5 ]))
    """
    if on_gpu(prediction):
        return _on_gpu("binary_cross_entropy", prediction, target, weights)
    x, y, w = _prepare(prediction, target, weights, probabilities=True)
    with np.errstate(all="ignore"):
        return weighted_mean(*_logistic(x, y), w, prediction.dtype)


def cross_entropy(
    prediction: np.ndarray, target: ArrayLike, weights: ArrayLike | None = None
) -> tuple[float, np.ndarray]:
    """Cross-entropy of logits and classes, l = -log softmax(x)[y], log-sum-exp safe.

    A logit of -inf rules its class out, one of +inf alone makes its class certain. Several of +inf,
    or nothing but -inf, say nothing: then value and gradient are NaN, as in torch.

    Parameters
    ----------
    prediction : ndarray of float32 or float64, shape (..., C)
        Logits of C classes, on the last axis.
    target : array_like of int, shape (...)
        Classes, 0 to C - 1.
    weights : array_like, broadcast to shape (...), optional
        Finite and not negative; 0 masks a position. (They weigh positions, not classes.)

    Returns
    -------
    value : float
    gradient : ndarray, shape (..., C)
        Of the prediction's dtype.

    Raises
    ------
    TypeError
        If an argument has a wrong dtype.
    ValueError
        If the shapes do not fit, a class is out of range, or a weight is negative or not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from numba_rnn import losses
    >>> logits = np.array([[0.0, 0.0], [3.0, -1.0]])
    >>> value, gradient = losses.cross_entropy(logits, [0, -100], weights=[1, 0])
    >>> round(value, 4)
    0.6931
    >>> gradient
    array([[-0.5,  0.5],
           [ 0. ,  0. ]])
    """
    if on_gpu(prediction):
        return _on_gpu("cross_entropy", prediction, target, weights)
    prediction = validation.loss_prediction(prediction, classes=True)
    w = validation.loss_weights(weights, prediction.shape[:-1])
    used = w > 0
    y = validation.loss_classes(target, prediction.shape, used)
    x = np.where(used[..., None], prediction, 0)
    with np.errstate(all="ignore"):
        loss, slope = softmax(x.reshape(y.size, x.shape[-1]), y.ravel())
        value, gradient = weighted_mean(loss, slope, w.ravel(), prediction.dtype)
    return value, gradient.reshape(prediction.shape)


# --- formulas: loss l of every element and slope dl/dx, in float64, unchecked ---------------------


def squared(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(x - y)^2."""
    d = np.subtract(x, y, dtype=np.float64)
    loss = d * d
    d *= 2
    return loss, d


def absolute(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """|x - y|."""
    d = np.subtract(x, y, dtype=np.float64)
    return np.abs(d), np.sign(d)


def hubers(x: np.ndarray, y: np.ndarray, delta: float) -> tuple[np.ndarray, np.ndarray]:
    """d^2 / 2 near 0, a line beyond delta, with d = x - y."""
    d = np.subtract(x, y, dtype=np.float64)
    return special.huber(delta, d), np.clip(d, -delta, delta)


def _logistic(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    # all terms have one sign, so that nothing cancels: neither here nor in the slope
    loss = _times(y, -special.log_expit(x)) + _times(1 - y, -special.log_expit(-x))
    return loss, (1 - y) * special.expit(x) - y * special.expit(-x)


def softmax(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """-log softmax(x)[y] of logits x (M, C) and classes y (M,), shape (M,); slope (M, C)."""
    x = _certain(x.astype(np.float64))
    x -= x.max(axis=1, keepdims=True)
    slope = np.exp(x)
    total = slope.sum(axis=1, keepdims=True)
    at_class = np.arange(len(x)), y
    loss = np.log(total[:, 0]) - x[at_class]
    slope /= total  # softmax(x) minus 1 at the class
    slope[at_class] -= 1
    return loss, slope


def _certain(x: np.ndarray) -> np.ndarray:
    """Return logits (..., C) of the same softmax without +inf: 0 for one that was it, -inf beside.

    Where several were, NaN.
    """
    infinite = x == np.inf
    if not infinite.any():
        return x
    count = np.count_nonzero(infinite, axis=-1, keepdims=True)
    settled = np.where(infinite, 0.0, -np.inf)
    settled = np.where(np.isnan(x) | (count > 1), np.nan, settled)
    return np.where(count > 0, settled, x)


def _times(share: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """share·loss, 0 where the share is 0 and the loss infinite."""
    return share * np.where((share == 0) & (loss == np.inf), 0.0, loss)


def _on_gpu(
    name: str, prediction: Any, target: Any, weights: Any, delta: float = 1.0
) -> tuple[Any, Any]:
    """Check all but the values, and leave the rest to the GPU."""
    checked = validation.gpu_loss(prediction, target, weights, classes=name == "cross_entropy")
    return backend(checked[0]).loss(name, *checked, delta)


def _prepare(
    prediction: np.ndarray,
    target: ArrayLike,
    weights: ArrayLike | None,
    *,
    probabilities: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Check the arguments; return prediction and target in float64, 0 where masked, and weights."""
    prediction = validation.loss_prediction(prediction)
    w = validation.loss_weights(weights, prediction.shape)
    used = w > 0
    if probabilities:
        target = validation.loss_probabilities(target, prediction.shape, used)
    else:
        target = validation.loss_target(target, prediction.shape)
    x, y = (np.where(used, a, 0).astype(np.float64) for a in (prediction, target))
    return x, y, w


# --- means ----------------------------------------------------------------------------------------


def mean(loss: np.ndarray, slope: np.ndarray, dtype: np.dtype) -> tuple[float, np.ndarray]:
    """Return what `weighted_mean` does with weights of 1, to the bit; the slope is used up."""
    slope *= 1 / loss.size
    slope += 0.0  # -0 becomes 0
    return float(loss.mean()), slope.astype(dtype)


def weighted_mean(
    loss: np.ndarray, slope: np.ndarray, w: np.ndarray, dtype: np.dtype
) -> tuple[float, np.ndarray]:
    """Return sum(w l) / sum(w) and its gradient from the slopes dl/dx, which may have more axes."""
    largest = w.max(initial=0)
    if largest == 0:
        return 0.0, np.zeros(slope.shape, dtype)
    # divided by a power of two, which is exact, so that no sum of weights can overflow
    w = np.ldexp(w, -np.frexp(largest)[1])
    total = w.ravel().sum()  # raveled: the same order of summation for every memory layout
    share = (w / total).reshape(w.shape + (1,) * (slope.ndim - w.ndim))
    gradient = share * slope + 0.0  # -0 becomes 0
    return float((w * loss).ravel().sum() / total), np.asarray(gradient, dtype=dtype, order="C")
