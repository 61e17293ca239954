"""The textbook: the Elman RNN and its backpropagation through time in plain NumPy.

Read this page first. It is written for the eye, not for speed, and each forward stands directly
above its backward. A line with a number behind it stands for that equation below; the others say
which steps and samples it is for. The fast kernels compute the same numbers and are tested against
these functions.

Symbols: L steps, N batch (samples), I input size, H hidden size, D directions (1 or 2).

Forward, for t = 0, 1, ..., L - 1, starting from the initial state h_init, which takes the place of
the h_(t-1) of the first step and is the argument ``h_0`` in the code (Elman 1990)::

    a_t = W_ih x_t + b_ih + W_hh h_(t-1) + b_hh                                  (1)
    h_t = f(a_t)                                                                 (2)

Write d for dE/d, E being the loss. The *total* gradient dh_t of a state has two parts: the *local*
one, which E sees at step t directly, through the output (``grad_output``), and the *carried* one,
which flows back from the step that was computed after it. E may see the state that was computed
last through ``h_n`` as well, with the gradient ``grad_h_n``. Backward, for t = L - 1, ..., 1, 0
(Werbos 1990)::

    dh_t      = grad_output_t + carried_t                                        (3)
    da_t      = dh_t * f'(a_t)                                                   (4)
    dx_t      = W_ih^T da_t                                                      (5)
    carried_t = W_hh^T da_(t+1), and grad_h_n at the step that was computed last (6)
    dW_ih     = sum over t of da_t x_t^T                                         (7)
    dW_hh     = sum over t of da_t h_(t-1)^T                                     (8)
    db_ih     = db_hh = sum over t of da_t                                       (9)

What is carried out of the first step, by (6), is dh_init, the gradient of the initial state. It is
not dh_0, the total gradient of the state of step 0.

*Lengths and directions.* t - 1 and t + 1 stand for the step computed before and the one computed
after. In reverse the first step of a sequence is its own last one, and t - 1 and t + 1 change
places. The step that was computed last, which is where h_n is taken from, is the last real step of
a sequence, and in reverse step 0, whatever the length. A sequence of length 0 has no step: its h_n
is h_init, and its dh_init is grad_h_n.

*Layers.* The layer above reads the output of the layer below, both directions side by side, times
a dropout mask m where there are masks, and what the layer below sees as ``grad_output`` is the
input gradient of the layer above, times the same mask::

    x_t of layer l + 1         = m_t * output_t of layer l                       (10)
    grad_output_t of layer l   = m_t * (dx_t of layer l + 1, summed over the directions)   (11)

*The function f* is tanh or relu, as in the kernels, or, for textbooks' examples, sigmoid or the
identity, which makes a linear network. f' needs no a_t: with h = f(a),

    tanh'(a) = 1 - h^2,  relu'(a) = [h > 0],  sigmoid'(a) = h (1 - h),  identity'(a) = 1.

At a = 0 relu has a kink and no derivative. That relu'(0) is 0 here, and not 1, is a choice; it is
that of the kernels and of torch too.

In the arrays each sample is a *row*, so W x is written ``x @ w.T`` and W^T da is ``da @ w``.
Sequences are time-major, shape (L, N, features). Arguments must have the stated shapes, which is
not checked. What is computed with is the dtype that the arguments have together, float64 where they
are all integers.

References
----------
J. L. Elman, "Finding structure in time", Cognitive Science 14(2), 1990.
P. J. Werbos, "Backpropagation through time: what it does and how to do it",
Proceedings of the IEEE 78(10), 1990.
R. J. Williams and D. Zipser, "A learning algorithm for continually running fully recurrent neural
networks", Neural Computation 1(2), 1989.
"""

import numpy as np

__all__ = [
    "cell_backward",
    "cell_forward",
    "layer_backward",
    "layer_forward",
    "rnn_backward",
    "rnn_forward",
    "rtrl",
]


# ---------------------------------------------------------------------------------------------
# The nonlinearity f, and its derivative written in terms of h = f(a)
# ---------------------------------------------------------------------------------------------


_F = {
    "tanh": np.tanh,
    "relu": lambda a: np.maximum(a, 0),
    "sigmoid": lambda a: (1 + np.tanh(a / 2)) / 2,  # 1 / (1 + exp(-a)), without overflow
    "identity": lambda a: a,
}
_F_PRIME = {
    "tanh": lambda h: 1 - h * h,
    "relu": lambda h: h > 0,
    "sigmoid": lambda h: h * (1 - h),
    "identity": lambda h: np.ones_like(h),
}


def _known(nonlinearity: str) -> str:
    """Return the word, if it is one."""
    if nonlinearity not in _F:
        words = ", ".join(map(repr, _F))
        raise ValueError(f"nonlinearity must be one of {words}, got {nonlinearity!r}")
    return nonlinearity


def _dtype(*arrays: np.ndarray | float) -> np.dtype:
    """Return the dtype to compute with: the arguments' own, float64 where all are integers."""
    dtype = np.result_type(*arrays)
    return np.dtype(np.float64) if dtype.kind in "iub" else dtype


# ---------------------------------------------------------------------------------------------
# One step
# ---------------------------------------------------------------------------------------------


def cell_forward(
    x: np.ndarray,
    h: np.ndarray,
    w_ih: np.ndarray,
    w_hh: np.ndarray,
    b_ih: np.ndarray | float = 0.0,
    b_hh: np.ndarray | float = 0.0,
    nonlinearity: str = "tanh",
) -> np.ndarray:
    """One step: the new state from the input and the state before, equations (1) and (2).

    Parameters
    ----------
    x : ndarray, shape (N, I)
        Input of this step.
    h : ndarray, shape (N, H)
        State before this step.
    w_ih : ndarray, shape (H, I)
        Input weights.
    w_hh : ndarray, shape (H, H)
        Recurrent weights.
    b_ih, b_hh : ndarray, shape (H,), default 0.0
        Biases; 0.0 stands for no bias.
    nonlinearity : {'tanh', 'relu', 'sigmoid', 'identity'}, default 'tanh'
        The function f.

    Returns
    -------
    h_new : ndarray, shape (N, H)
        State after this step.

    Examples
    --------
    >>> import numpy as np
    >>> from numba_rnn import reference
    >>> x, h = np.array([[1.0, 2.0]]), np.array([[3.0]])
    >>> w_ih, w_hh = np.array([[0.5, 0.25]]), np.array([[-0.1]])
    >>> reference.cell_forward(x, h, w_ih, w_hh, nonlinearity="relu")
    array([[0.7]])
    """
    f = _F[_known(nonlinearity)]
    a = x @ w_ih.T + b_ih + h @ w_hh.T + b_hh  # (N, H)  (1)
    return f(a)  # (N, H)  (2)


def cell_backward(
    dh_new: np.ndarray,
    x: np.ndarray,
    h: np.ndarray,
    h_new: np.ndarray,
    w_ih: np.ndarray,
    w_hh: np.ndarray,
    nonlinearity: str = "tanh",
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Backward of :func:`cell_forward`: equations (4) to (9) for one step.

    What comes in is the total gradient of the new state, and what goes out, ``carried``, is one
    part alone of the gradient of the state before: (3) adds the other.

    Parameters
    ----------
    dh_new : ndarray, shape (N, H)
        Total gradient of the state after this step, (3).
    x : ndarray, shape (N, I)
        Input of this step.
    h : ndarray, shape (N, H)
        State before this step.
    h_new : ndarray, shape (N, H)
        State after this step, as cell_forward gave it.
    w_ih : ndarray, shape (H, I)
        Input weights.
    w_hh : ndarray, shape (H, H)
        Recurrent weights.
    nonlinearity : {'tanh', 'relu', 'sigmoid', 'identity'}, default 'tanh'
        The function f.

    Returns
    -------
    dx : ndarray, shape (N, I)
        Gradient of the input.
    carried : ndarray, shape (N, H)
        What flows back, through this step, to the state before it, (6).
    dw_ih : ndarray, shape (H, I)
        Gradient of the input weights.
    dw_hh : ndarray, shape (H, H)
        Gradient of the recurrent weights.
    db : ndarray, shape (H,)
        Gradient of either bias: they enter (1) in the same way.

    Examples
    --------
    >>> import numpy as np
    >>> from numba_rnn import reference
    >>> x, h, h_new = np.array([[1.0, 2.0]]), np.array([[3.0]]), np.array([[0.7]])
    >>> w_ih, w_hh = np.array([[0.5, 0.25]]), np.array([[-0.1]])
    >>> dx, carried, dw_ih, dw_hh, db = reference.cell_backward(
    ...     np.array([[1.0]]), x, h, h_new, w_ih, w_hh, nonlinearity="relu"
    ... )
    >>> dx, carried, dw_ih
    (array([[0.5 , 0.25]]), array([[-0.1]]), array([[1., 2.]]))
    """
    f_prime = _F_PRIME[_known(nonlinearity)]
    da = dh_new * f_prime(h_new)  # (N, H)  (4)
    dx = da @ w_ih  # (N, I)  (5)
    carried = da @ w_hh  # (N, H)  (6)
    dw_ih = da.T @ x  # (H, I)  (7), summed over the samples
    dw_hh = da.T @ h  # (H, H)  (8)
    db = da.sum(axis=0)  # (H,)    (9)
    return dx, carried, dw_ih, dw_hh, db


# ---------------------------------------------------------------------------------------------
# One layer, one direction: the loop over time
# ---------------------------------------------------------------------------------------------


def _steps(num_steps: int, reverse: bool) -> range:
    """Return the steps in the order in which the forward pass visits them."""
    return range(num_steps)[::-1] if reverse else range(num_steps)


def _lengths(lengths: np.ndarray | None, x: np.ndarray) -> np.ndarray:
    """Return the length of each sample, shape (N,): all of L where none are given."""
    return np.full(x.shape[1], x.shape[0]) if lengths is None else np.asarray(lengths)


def layer_forward(
    x: np.ndarray,
    h_0: np.ndarray,
    w_ih: np.ndarray,
    w_hh: np.ndarray,
    b_ih: np.ndarray | float = 0.0,
    b_hh: np.ndarray | float = 0.0,
    lengths: np.ndarray | None = None,
    nonlinearity: str = "tanh",
    reverse: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """One layer in one direction over whole sequences.

    A sample is *live* at step t while t < its length; where it is not, its state stays as it
    is. That rule alone does both directions: going forward, a state stops at the last real
    step; in reverse, it waits at the initial state until the sequence's own end comes by.

    Parameters
    ----------
    x : ndarray, shape (L, N, I)
        Input. What lies beyond a length is never read.
    h_0 : ndarray, shape (N, H)
        Initial state.
    w_ih : ndarray, shape (H, I)
        Input weights.
    w_hh : ndarray, shape (H, H)
        Recurrent weights.
    b_ih, b_hh : ndarray, shape (H,), default 0.0
        Biases; 0.0 stands for no bias.
    lengths : array_like of int, shape (N,), optional
        Length of each sequence, 0 to L, in any order; all L when left out.
    nonlinearity : {'tanh', 'relu', 'sigmoid', 'identity'}, default 'tanh'
        The function f.
    reverse : bool, default False
        Read from each sequence's own last step to step 0.

    Returns
    -------
    output : ndarray, shape (L, N, H)
        The states h_t; 0 beyond a length.
    h_n : ndarray, shape (N, H)
        The state computed last: of the last real step, or of step 0 in reverse; h_0 where the
        length is 0.

    Examples
    --------
    >>> import numpy as np
    >>> from numba_rnn import reference
    >>> x = np.array([[[1.0]], [[2.0]], [[np.nan]]])  # L = 3, N = 1; the last step is padding
    >>> output, h_n = reference.layer_forward(
    ...     x, np.zeros((1, 1)), np.eye(1), np.eye(1), lengths=[2], nonlinearity="relu"
    ... )
    >>> output[:, 0, 0], h_n[0]
    (array([1., 3., 0.]), array([3.]))
    """
    _known(nonlinearity)
    x, h_0 = np.asarray(x), np.asarray(h_0)
    dtype = _dtype(x, h_0, w_ih, w_hh, b_ih, b_hh)
    lengths = _lengths(lengths, x)  # (N,)
    output = np.zeros((*x.shape[:2], h_0.shape[1]), dtype)  # (L, N, H)
    h = h_0.astype(dtype)  # (N, H), a copy
    for t in _steps(len(x), reverse):
        live = t < lengths  # (N,)
        h[live] = cell_forward(x[t, live], h[live], w_ih, w_hh, b_ih, b_hh, nonlinearity)
        output[t, live] = h[live]
    return output, h


def layer_backward(
    grad_output: np.ndarray,
    grad_h_n: np.ndarray,
    x: np.ndarray,
    h_0: np.ndarray,
    output: np.ndarray,
    w_ih: np.ndarray,
    w_hh: np.ndarray,
    lengths: np.ndarray | None = None,
    nonlinearity: str = "tanh",
    reverse: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Backward of :func:`layer_forward`: backpropagation through time.

    Parameters
    ----------
    grad_output : ndarray, shape (L, N, H)
        Gradient of the loss with respect to output. What lies beyond a length is never read.
    grad_h_n : ndarray, shape (N, H)
        Gradient of the loss with respect to h_n.
    x : ndarray, shape (L, N, I)
        Input. What lies beyond a length is never read.
    h_0 : ndarray, shape (N, H)
        Initial state.
    output : ndarray, shape (L, N, H)
        The states, as layer_forward gave them.
    w_ih : ndarray, shape (H, I)
        Input weights.
    w_hh : ndarray, shape (H, H)
        Recurrent weights.
    lengths : array_like of int, shape (N,), optional
        Length of each sequence, 0 to L, in any order; all L when left out.
    nonlinearity : {'tanh', 'relu', 'sigmoid', 'identity'}, default 'tanh'
        The function f.
    reverse : bool, default False
        Whether the forward pass read from the end.

    Returns
    -------
    dx : ndarray, shape (L, N, I)
        Gradient of the input; 0 beyond a length.
    dh_init : ndarray, shape (N, H)
        Gradient of the initial state, the argument h_0: what is carried out of the first step.
        The state of step 0 has its gradient in dh[0].
    dw_ih : ndarray, shape (H, I)
        Gradient of the input weights.
    dw_hh : ndarray, shape (H, H)
        Gradient of the recurrent weights.
    db : ndarray, shape (H,)
        Gradient of either bias.
    dh : ndarray, shape (L, N, H)
        Total gradient dh_t of every state, (3); 0 beyond a length. ``dh - grad_output`` is what
        was carried to it, in the real steps.

    Examples
    --------
    With W_hh = 0.5 and a loss that is the last state alone, the gradient halves at each step
    back in time:

    >>> import numpy as np
    >>> from numba_rnn import reference
    >>> x, h_0, w_ih, w_hh = np.ones((3, 1, 1)), np.zeros((1, 1)), np.eye(1), 0.5 * np.eye(1)
    >>> output, h_n = reference.layer_forward(x, h_0, w_ih, w_hh, nonlinearity="relu")
    >>> dx, dh_init, dw_ih, dw_hh, db, dh = reference.layer_backward(
    ...     np.zeros_like(output), np.ones_like(h_n), x, h_0, output, w_ih, w_hh,
    ...     nonlinearity="relu",
    ... )
    >>> dh[:, 0, 0], dh_init[0]
    (array([0.25, 0.5 , 1.  ]), array([0.125]))
    """
    _known(nonlinearity)
    x, h_0, output = np.asarray(x), np.asarray(h_0), np.asarray(output)
    dtype = _dtype(grad_output, grad_h_n, x, h_0, output, w_ih, w_hh)
    lengths = _lengths(lengths, x)  # (N,)
    steps = _steps(len(x), reverse)

    # h_before[t] is the state that step t started from: the forward loop again, with the
    # states looked up instead of computed.
    h_before = np.zeros(output.shape, dtype)  # (L, N, H)
    h = h_0.astype(dtype)  # (N, H), a copy
    for t in steps:
        live = t < lengths  # (N,)
        h_before[t] = h
        h[live] = output[t, live]

    dx = np.zeros(x.shape, dtype)  # (L, N, I)
    dw_ih = np.zeros(np.shape(w_ih), dtype)  # (H, I)
    dw_hh = np.zeros(np.shape(w_hh), dtype)  # (H, H)
    db = np.zeros(len(w_hh), dtype)  # (H,)
    dh = np.zeros(output.shape, dtype)  # (L, N, H)
    carried = np.array(grad_h_n, dtype)  # (N, H)  (6) of the step computed last
    for t in steps[::-1]:
        live = t < lengths  # (N,)
        dh[t, live] = grad_output[t, live] + carried[live]  # (3)
        dx[t, live], carried[live], dw_ih_t, dw_hh_t, db_t = cell_backward(
            dh[t, live], x[t, live], h_before[t, live], output[t, live], w_ih, w_hh, nonlinearity
        )  # (4) (5) (6)
        dw_ih += dw_ih_t  # (7)
        dw_hh += dw_hh_t  # (8)
        db += db_t  # (9)
    return dx, carried, dw_ih, dw_hh, db, dh  # what is carried out of the first step is dh_init


def rtrl(
    grad_output: np.ndarray,
    grad_h_n: np.ndarray,
    x: np.ndarray,
    h_0: np.ndarray,
    w_ih: np.ndarray,
    w_hh: np.ndarray,
    b_ih: np.ndarray | float = 0.0,
    b_hh: np.ndarray | float = 0.0,
    lengths: np.ndarray | None = None,
    nonlinearity: str = "tanh",
    reverse: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The same gradients forward in time: real-time recurrent learning.

    It carries, beside the state, how the state depends on each of the P = H (I + H + 1) + H
    numbers that the gradients are for (Williams and Zipser 1989). With theta one of them::

        dh_t/dtheta = f'(a_t) * (da_t/dtheta directly + W_hh dh_(t-1)/dtheta)      (12)
        dtheta      = sum over t of (dh_t/dtheta)^T grad_output_t                  (13)

    and grad_h_n beside grad_output at the step computed last. Nothing of the past has to be kept,
    so it can learn while the sequence goes on. The price: each step takes about H^2 P
    multiplications for a sample, where backpropagation takes about 2 P, and H P numbers of memory,
    whatever L is, where backpropagation keeps L H.

    Parameters
    ----------
    grad_output, grad_h_n, x, h_0, w_ih, w_hh
        As in layer_backward.
    b_ih, b_hh : ndarray, shape (H,), default 0.0
        Biases; 0.0 stands for no bias.
    lengths : array_like of int, shape (N,), optional
        Length of each sequence, 0 to L, in any order; all L when left out.
    nonlinearity : {'tanh', 'relu', 'sigmoid', 'identity'}, default 'tanh'
        The function f.
    reverse : bool, default False
        Whether to read from each sequence's own last step to step 0.

    Returns
    -------
    dh_init : ndarray, shape (N, H)
        Gradient of the initial state.
    dw_ih : ndarray, shape (H, I)
        Gradient of the input weights.
    dw_hh : ndarray, shape (H, H)
        Gradient of the recurrent weights.
    db : ndarray, shape (H,)
        Gradient of either bias.

    Examples
    --------
    >>> import numpy as np
    >>> from numba_rnn import reference
    >>> x, h_0, w_ih, w_hh = np.ones((3, 1, 1)), np.zeros((1, 1)), np.eye(1), 0.5 * np.eye(1)
    >>> output, h_n = reference.layer_forward(x, h_0, w_ih, w_hh, nonlinearity="relu")
    >>> grads = np.zeros_like(output), np.ones_like(h_n)
    >>> dh_init, dw_ih, dw_hh, db = reference.rtrl(*grads, x, h_0, w_ih, w_hh, nonlinearity="relu")
    >>> _, same, dw_ih_same, dw_hh_same, _, _ = reference.layer_backward(
    ...     *grads, x, h_0, output, w_ih, w_hh, nonlinearity="relu"
    ... )
    >>> dh_init == same, dw_ih == dw_ih_same, dw_hh == dw_hh_same
    (array([[ True]]), array([[ True]]), array([[ True]]))
    """
    x, h_0 = np.asarray(x), np.asarray(h_0)
    dtype = _dtype(grad_output, grad_h_n, x, h_0, w_ih, w_hh, b_ih, b_hh)
    lengths = _lengths(lengths, x)  # (N,)
    (_, N, I), H = x.shape, h_0.shape[1]
    f_prime = _F_PRIME[_known(nonlinearity)]

    def gradient(seen: np.ndarray) -> np.ndarray:
        """(13) for one step: of each sample, (N, P)."""
        return np.einsum("nh,nhp->np", seen, dh_dtheta)

    # theta is [w_ih, w_hh, b, h_0], so P columns; each unit has its own rows of the weights.
    starts = np.cumsum([H * I, H * H, H])
    w_ih_part, w_hh_part, b_part, h_0_part = np.split(np.arange(starts[-1] + H), starts)
    P = starts[-1] + H
    h = h_0.astype(dtype)  # (N, H)
    dh_dtheta = np.zeros((N, H, P), dtype)  # (N, H, P)
    dh_dtheta[:, :, h_0_part] = np.eye(H)
    dtheta = np.zeros((N, P), dtype)  # (N, P)
    for t in _steps(len(x), reverse):
        live = t < lengths  # (N,)
        direct = np.zeros((N, H, P), dtype)  # (N, H, P)
        for j in range(H):
            direct[:, j, w_ih_part[j * I : (j + 1) * I]] = x[t]
            direct[:, j, w_hh_part[j * H : (j + 1) * H]] = h
            direct[:, j, b_part[j]] = 1
        h[live] = cell_forward(x[t, live], h[live], w_ih, w_hh, b_ih, b_hh, nonlinearity)
        slope = f_prime(h[live])[:, :, None]  # (live, H, 1)
        dh_dtheta[live] = slope * (direct[live] + w_hh @ dh_dtheta[live])  # (12)
        dtheta[live] += gradient(np.where(live[:, None], grad_output[t], 0))[live]  # (13)
    dtheta += gradient(np.asarray(grad_h_n))
    total = dtheta.sum(axis=0)  # (P,)
    return (
        dtheta[:, h_0_part],
        total[w_ih_part].reshape(H, I),
        total[w_hh_part].reshape(H, H),
        total[b_part],
    )


# ---------------------------------------------------------------------------------------------
# Stacked layers, one or two directions
# ---------------------------------------------------------------------------------------------


def _suffix(layer: int, direction: int) -> str:
    """Return the end of a parameter's name: '_l0', '_l0_reverse', '_l1', ..."""
    return f"_l{layer}" + ("_reverse" if direction == 1 else "")


def rnn_forward(
    x: np.ndarray,
    h_0: np.ndarray,
    parameters: dict[str, np.ndarray],
    *,
    num_layers: int,
    bidirectional: bool,
    nonlinearity: str = "tanh",
    lengths: np.ndarray | None = None,
    masks: list[np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """All layers and directions: each layer reads the output of the one below.

    Parameters
    ----------
    x : ndarray, shape (L, N, I)
        Input. What lies beyond a length is never read.
    h_0 : ndarray, shape (num_layers * D, N, H)
        Initial states, layer by layer, in each layer forward before reverse.
    parameters : dict of str to ndarray
        weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0, weight_ih_l0_reverse, ...;
        weight_ih of the layers above the first has shape (H, D * H). Biases may be missing.
    num_layers : int
        Number of layers.
    bidirectional : bool
        D = 2 where true: a second, reverse direction in every layer.
    nonlinearity : {'tanh', 'relu', 'sigmoid', 'identity'}, default 'tanh'
        The function f.
    lengths : array_like of int, shape (N,), optional
        Length of each sequence, 0 to L, in any order; all L when left out.
    masks : list of num_layers - 1 ndarrays, shape (L, N, D * H), optional
        Dropout masks, multiplied onto the output of every layer but the last: 0 where a value
        is dropped, 1 / (1 - p) where it is kept. No dropout when left out.

    Returns
    -------
    output : ndarray, shape (L, N, D * H)
        Output of the last layer, [forward, reverse] on the last axis; 0 beyond a length.
    h_n : ndarray, shape (num_layers * D, N, H)
        The states computed last, in the order of h_0: in reverse those of step 0.
    layer_outputs : list of num_layers ndarrays, shape (L, N, D * H)
        Output of every layer, before dropout.

    Examples
    --------
    >>> import numpy as np
    >>> from numba_rnn import reference
    >>> parameters = {
    ...     "weight_ih_l0": np.eye(1), "weight_hh_l0": np.eye(1),
    ...     "weight_ih_l0_reverse": np.eye(1), "weight_hh_l0_reverse": np.eye(1),
    ... }
    >>> x, h_0 = np.array([[[1.0]], [[2.0]], [[4.0]]]), np.zeros((2, 1, 1))
    >>> output, h_n, _ = reference.rnn_forward(
    ...     x, h_0, parameters, num_layers=1, bidirectional=True, nonlinearity="relu"
    ... )
    >>> output[:, 0]  # running sums from the left and from the right
    array([[1., 7.],
           [3., 6.],
           [7., 4.]])
    """
    directions = 2 if bidirectional else 1
    x, h_0 = np.asarray(x), np.asarray(h_0)
    h_n = np.zeros(h_0.shape, _dtype(x, h_0, *parameters.values()))  # (num_layers * D, N, H)
    layer_outputs = []  # of (L, N, D * H)
    layer_input = x  # (L, N, I), above the first layer (L, N, D * H)
    for layer in range(num_layers):
        outputs = []  # of (L, N, H)
        for direction in range(directions):
            k = layer * directions + direction
            suffix = _suffix(layer, direction)
            output, h_n[k] = layer_forward(
                layer_input,
                h_0[k],
                parameters["weight_ih" + suffix],
                parameters["weight_hh" + suffix],
                parameters.get("bias_ih" + suffix, 0.0),
                parameters.get("bias_hh" + suffix, 0.0),
                lengths,
                nonlinearity,
                reverse=direction == 1,
            )
            outputs.append(output)
        layer_outputs.append(np.concatenate(outputs, axis=2))
        layer_input = layer_outputs[layer]
        if masks is not None and layer < num_layers - 1:
            layer_input = layer_input * masks[layer]  # (10)
    return layer_outputs[-1], h_n, layer_outputs


def rnn_backward(
    grad_output: np.ndarray,
    grad_h_n: np.ndarray,
    x: np.ndarray,
    h_0: np.ndarray,
    parameters: dict[str, np.ndarray],
    *,
    num_layers: int,
    bidirectional: bool,
    nonlinearity: str = "tanh",
    lengths: np.ndarray | None = None,
    masks: list[np.ndarray] | None = None,
) -> dict[str, np.ndarray | dict[str, np.ndarray]]:
    """Backward of :func:`rnn_forward`: the layers from the last to the first.

    Parameters
    ----------
    grad_output : ndarray, shape (L, N, D * H)
        Gradient of the loss with respect to output. What lies beyond a length is never read.
    grad_h_n : ndarray, shape (num_layers * D, N, H)
        Gradient of the loss with respect to h_n.
    x : ndarray, shape (L, N, I)
        Input. What lies beyond a length is never read.
    h_0 : ndarray, shape (num_layers * D, N, H)
        Initial states.
    parameters : dict of str to ndarray
        As in rnn_forward.
    num_layers : int
        Number of layers.
    bidirectional : bool
        D = 2 where true.
    nonlinearity : {'tanh', 'relu', 'sigmoid', 'identity'}, default 'tanh'
        The function f.
    lengths : array_like of int, shape (N,), optional
        Length of each sequence, 0 to L, in any order; all L when left out.
    masks : list of num_layers - 1 ndarrays, shape (L, N, D * H), optional
        The dropout masks of the forward pass.

    Returns
    -------
    gradients : dict
        ``'input'``, ndarray, shape (L, N, I), 0 beyond a length;
        ``'h_0'``, ndarray, shape (num_layers * D, N, H), dh_init of every layer;
        ``'parameters'``, dict of str to ndarray, names and order of ``parameters``;
        ``'states'``, ndarray, shape (num_layers * D, L, N, H), the total gradient dh_t of every
        state (see :func:`layer_backward`), both parts of it, 0 beyond a length.

    Examples
    --------
    >>> import numpy as np
    >>> from numba_rnn import reference
    >>> parameters = {"weight_ih_l0": np.eye(1), "weight_hh_l0": 0.5 * np.eye(1)}
    >>> x, h_0 = np.ones((3, 1, 1)), np.zeros((1, 1, 1))
    >>> gradients = reference.rnn_backward(
    ...     np.ones((3, 1, 1)), np.zeros((1, 1, 1)), x, h_0, parameters,
    ...     num_layers=1, bidirectional=False, nonlinearity="relu",
    ... )
    >>> gradients["input"][:, 0, 0]
    array([1.75, 1.5 , 1.  ])
    >>> gradients["parameters"]["weight_ih_l0"]
    array([[4.25]])
    """
    directions = 2 if bidirectional else 1
    x, h_0 = np.asarray(x), np.asarray(h_0)
    hidden_size = h_0.shape[2]
    dtype = _dtype(grad_output, grad_h_n, x, h_0, *parameters.values())

    # What each layer read and gave. The forward pass runs again for it, to keep this short;
    # training code keeps the states instead.
    _, _, layer_outputs = rnn_forward(
        x,
        h_0,
        parameters,
        num_layers=num_layers,
        bidirectional=bidirectional,
        nonlinearity=nonlinearity,
        lengths=lengths,
        masks=masks,
    )
    layer_inputs = [x, *layer_outputs[:-1]]
    if masks is not None:
        layer_inputs[1:] = [y * m for y, m in zip(layer_outputs[:-1], masks, strict=True)]  # (10)

    dh_init = np.zeros(h_0.shape, dtype)  # (num_layers * D, N, H)
    dparameters = {name: np.zeros(np.shape(value), dtype) for name, value in parameters.items()}
    dstates = np.zeros((len(h_0), len(x), *h_0.shape[1:]), dtype)  # (num_layers * D, L, N, H)
    doutput = grad_output  # (L, N, D * H)
    for layer in reversed(range(num_layers)):
        dinput = np.zeros(layer_inputs[layer].shape, dtype)  # (L, N, I or D * H)
        for direction in range(directions):
            k = layer * directions + direction
            suffix = _suffix(layer, direction)
            half = slice(direction * hidden_size, (direction + 1) * hidden_size)
            dx, dh_init[k], dw_ih, dw_hh, db, dstates[k] = layer_backward(
                doutput[:, :, half],
                grad_h_n[k],
                layer_inputs[layer],
                h_0[k],
                layer_outputs[layer][:, :, half],
                parameters["weight_ih" + suffix],
                parameters["weight_hh" + suffix],
                lengths,
                nonlinearity,
                reverse=direction == 1,
            )
            dinput += dx  # (11): both directions read the same input
            dparameters["weight_ih" + suffix] = dw_ih  # (H, I or D * H)
            dparameters["weight_hh" + suffix] = dw_hh  # (H, H)
            for name in ("bias_ih" + suffix, "bias_hh" + suffix):
                if name in parameters:
                    dparameters[name] = db.copy()  # (H,)
        if masks is not None and layer > 0:
            dinput = dinput * masks[layer - 1]  # (11)
        doutput = dinput  # the input of this layer is the output of the one below
    return {"input": dinput, "h_0": dh_init, "parameters": dparameters, "states": dstates}
