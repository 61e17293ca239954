"""Backwards in the layouts of well-known courses, as `check_backward` takes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Student = Callable[..., dict[str, Any]]


def from_min_char_rnn(backward: Callable[..., Any]) -> Student:
    """Adapt a backward over lists of columns, as in Karpathy's min-char-rnn.

    ::

        dWxh, dWhh, dbh, dhprev = backward(xs, hprev, Wxh, Whh, bh, dhs)

    Parameters
    ----------
    backward : callable
        Of xs, a list of (I, 1), hprev (H, 1), Wxh (H, I), Whh (H, H), bh (H, 1) and dhs, a list of
        (H, 1): what the output layer sends to each state, ``Why.T @ dy``. Returns the gradients of
        Wxh, Whh and bh, and that of hprev last, which may be left out.

    Returns
    -------
    callable
        For `check_backward`; it does no batches, and tanh alone.

    References
    ----------
    A. Karpathy, "Minimal character-level language model with a vanilla recurrent neural network".

    Examples
    --------
    >>> import numpy as np
    >>> from numba_rnn import analysis
    >>> def backward(xs, hprev, Wxh, Whh, bh, dhs):
    ...     hs = [hprev]
    ...     for x in xs:
    ...         hs.append(np.tanh(Wxh @ x + Whh @ hs[-1] + bh))
    ...     dWxh, dWhh, dbh = np.zeros_like(Wxh), np.zeros_like(Whh), np.zeros_like(bh)
    ...     dhnext = np.zeros_like(hprev)
    ...     for t in reversed(range(len(xs))):
    ...         dhraw = (1 - hs[t + 1] ** 2) * (dhs[t] + dhnext)
    ...         dbh += dhraw
    ...         dWxh += dhraw @ xs[t].T
    ...         dWhh += dhraw @ hs[t].T
    ...         dhnext = Whh.T @ dhraw
    ...     return dWxh, dWhh, dbh
    >>> analysis.check_backward(analysis.from_min_char_rnn(backward)).passed
    True
    """

    def student(
        x: np.ndarray,
        h_0: np.ndarray,
        w_ih: np.ndarray,
        w_hh: np.ndarray,
        b_ih: np.ndarray,
        b_hh: np.ndarray,
        grad_output: np.ndarray,
        grad_h_n: np.ndarray,
    ) -> dict[str, Any]:
        columns = [_kept(x_t.T, x) for x_t in x]
        seen = [_kept(g.T, grad_output) for g in _with_h_n(grad_output, grad_h_n)]
        bias = _kept((b_ih + b_hh)[:, None], b_ih)
        returned = tuple(backward(columns, _kept(h_0.T, h_0), w_ih, w_hh, bias, seen))
        dw_ih, dw_hh, db, *rest = returned
        answer = {"w_ih": dw_ih, "w_hh": dw_hh, "b": None if db is None else np.ravel(db)}
        if rest and rest[0] is not None:
            answer["h_0"] = np.transpose(rest[0])
        return answer

    student.scope = ()  # type: ignore[attr-defined]
    return student


def from_cs231n(forward: Callable[..., Any], backward: Callable[..., Any]) -> Student:
    """Adapt rnn_forward and rnn_backward as in the assignments of Stanford's CS231n.

    ::

        h, cache = forward(x, h0, Wx, Wh, b)
        dx, dh0, dWx, dWh, db = backward(dh, cache)

    Parameters
    ----------
    forward : callable
        Of x (N, T, D), h0 (N, H), Wx (D, H), Wh (H, H) and b (H,); returns h (N, T, H) and a cache.
    backward : callable
        Of dh (N, T, H) and the cache; returns the five gradients, of which each may be None.

    Returns
    -------
    callable
        For `check_backward`; tanh alone.

    References
    ----------
    Stanford University, CS231n, "Image captioning with vanilla RNNs".

    Examples
    --------
    >>> import numpy as np
    >>> from numba_rnn import analysis
    >>> def forward(x, h0, Wx, Wh, b):
    ...     hs = [h0]
    ...     for t in range(x.shape[1]):
    ...         hs.append(np.tanh(x[:, t] @ Wx + hs[-1] @ Wh + b))
    ...     return np.stack(hs[1:], axis=1), (x, hs, Wx, Wh)
    >>> def backward(dh, cache):
    ...     x, hs, Wx, Wh = cache
    ...     dWx, dWh = np.zeros_like(Wx), np.zeros_like(Wh)
    ...     for t in reversed(range(x.shape[1])):
    ...         da = dh[:, t] * (1 - hs[t + 1] ** 2)
    ...         dWx, dWh, carried = dWx + x[:, t].T @ da, dWh + hs[t].T @ da, da @ Wh.T
    ...     return None, carried, dWx, dWh, None
    >>> analysis.check_backward(analysis.from_cs231n(forward, backward)).mistakes
    ['nothing carried']
    """

    def student(
        x: np.ndarray,
        h_0: np.ndarray,
        w_ih: np.ndarray,
        w_hh: np.ndarray,
        b_ih: np.ndarray,
        b_hh: np.ndarray,
        grad_output: np.ndarray,
        grad_h_n: np.ndarray,
    ) -> dict[str, Any]:
        by_sample = _kept(x.swapaxes(0, 1), x)
        _, cache = forward(
            by_sample, h_0, _kept(w_ih.T, w_ih), _kept(w_hh.T, w_hh), _kept(b_ih + b_hh, b_ih)
        )
        seen = _kept(_with_h_n(grad_output, grad_h_n).swapaxes(0, 1), grad_output)
        dx, dh0, dwx, dwh, db = backward(seen, cache)
        return {
            "x": None if dx is None else np.swapaxes(dx, 0, 1),
            "h_0": dh0,
            "w_ih": None if dwx is None else np.transpose(dwx),
            "w_hh": None if dwh is None else np.transpose(dwh),
            "b": db,
        }

    student.scope = ("batch",)  # type: ignore[attr-defined]
    return student


def from_deeplearning_ai(forward: Callable[..., Any], backward: Callable[..., Any]) -> Student:
    """Adapt rnn_forward and rnn_backward as in DeepLearning.AI's course on sequence models.

    ::

        a, y_pred, caches = forward(x, a0, parameters)
        gradients = backward(da, caches)

    Parameters
    ----------
    forward : callable
        Of x (n_x, m, T_x), a0 (n_a, m) and a dict with Wax (n_a, n_x), Waa (n_a, n_a), ba (n_a, 1),
        and Wya (1, n_a) and by (1, 1), which have no part in what is checked.
    backward : callable
        Of da (n_a, m, T_x) and the caches; returns a dict of dx (n_x, m, T_x), da0 (n_a, m), dWax,
        dWaa and dba, of which each may be missing.

    Returns
    -------
    callable
        For `check_backward`; tanh alone.

    References
    ----------
    DeepLearning.AI, "Sequence models", "Building your recurrent neural network, step by step".

    Examples
    --------
    >>> import numpy as np
    >>> from numba_rnn import analysis
    >>> def forward(x, a0, p):
    ...     states = [a0]
    ...     for t in range(x.shape[2]):
    ...         states.append(np.tanh(p["Wax"] @ x[:, :, t] + p["Waa"] @ states[-1] + p["ba"]))
    ...     return np.stack(states[1:], axis=2), None, (x, states, p)
    >>> def backward(da, caches):
    ...     x, states, p = caches
    ...     dWaa, carried = np.zeros_like(p["Waa"]), 0
    ...     for t in reversed(range(x.shape[2])):
    ...         delta = (da[:, :, t] + carried) * (1 - states[t + 1] ** 2)
    ...         dWaa, carried = dWaa + delta @ states[t].T, p["Waa"].T @ delta
    ...     return {"dWaa": dWaa, "da0": carried}
    >>> analysis.check_backward(analysis.from_deeplearning_ai(forward, backward)).passed
    True
    """

    def student(
        x: np.ndarray,
        h_0: np.ndarray,
        w_ih: np.ndarray,
        w_hh: np.ndarray,
        b_ih: np.ndarray,
        b_hh: np.ndarray,
        grad_output: np.ndarray,
        grad_h_n: np.ndarray,
    ) -> dict[str, Any]:
        H = len(w_hh)
        parameters = {
            "Wax": w_ih, "Waa": w_hh, "ba": _kept((b_ih + b_hh)[:, None], b_ih),
            "Wya": np.zeros((1, H)), "by": np.zeros((1, 1)),
        }  # fmt: skip
        caches = forward(_kept(x.transpose(2, 1, 0), x), _kept(h_0.T, h_0), parameters)[-1]
        seen = _kept(_with_h_n(grad_output, grad_h_n).transpose(2, 1, 0), grad_output)
        found: Mapping[str, Any] = backward(seen, caches)
        dx, da0, db = (found.get(name) for name in ("dx", "da0", "dba"))
        return {
            "x": None if dx is None else np.transpose(dx, (2, 1, 0)),
            "h_0": None if da0 is None else np.transpose(da0),
            "w_ih": found.get("dWax"),
            "w_hh": found.get("dWaa"),
            "b": None if db is None else np.ravel(db),
        }

    student.scope = ("batch",)  # type: ignore[attr-defined]
    return student


def _with_h_n(grad_output: np.ndarray, grad_h_n: np.ndarray) -> np.ndarray:
    """These layouts have no h_n: what the loss sees of it, it sees of the last output."""
    seen = grad_output.copy()
    seen[-1] += grad_h_n
    return seen


def _kept(array: np.ndarray, of: np.ndarray) -> np.ndarray:
    """A copy in C order, read-only if what it is of is."""
    array = np.array(array, order="C")
    array.flags.writeable = of.flags.writeable
    return array
