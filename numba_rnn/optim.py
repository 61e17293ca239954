"""Optimisers with the update rules, names and defaults of ``torch.optim``, and gradient clipping.

Every rule is one short function of one parameter p, its gradient g and its buffers, all of one
shape and dtype; the classes add the names and the memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from . import devices, dispatch, sharing, validation

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "RMSprop", "clip_grad_norm"]

Buffers = dict[str, np.ndarray]


# --- update rules: p and the buffers change in place, t counts from 1 ----------------------------


def _sgd(
    p: np.ndarray,
    g: np.ndarray,
    buffers: Buffers,
    t: int,
    *,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
) -> None:
    if weight_decay:
        g = g + weight_decay * p
    if momentum:
        b = buffers["momentum_buffer"]
        if t == 1:
            b[...] = g  # not dampened, as in torch
        else:
            b *= momentum
            b += (1 - dampening) * g
        g = g + momentum * b if nesterov else b
    p -= lr * g


def _rmsprop(
    p: np.ndarray,
    g: np.ndarray,
    buffers: Buffers,
    t: int,
    *,
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float,
    momentum: float,
    centered: bool,
) -> None:
    if weight_decay:
        g = g + weight_decay * p
    v = buffers["square_avg"]
    v *= alpha
    v += (1 - alpha) * g * g
    if centered:
        m = buffers["grad_avg"]
        m += (1 - alpha) * (g - m)
        v = np.maximum(v - m * m, 0)  # a variance, which rounding may push below 0
    step = g / (np.sqrt(v) + eps)
    if momentum:
        b = buffers["momentum_buffer"]
        b *= momentum
        b += step
        step = b
    p -= lr * step


def _adam_direction(
    g: np.ndarray,
    buffers: Buffers,
    t: int,
    *,
    betas: tuple[float, float],
    eps: float,
    amsgrad: bool,
) -> np.ndarray:
    beta1, beta2 = betas
    m, v = buffers["exp_avg"], buffers["exp_avg_sq"]
    m += (1 - beta1) * (g - m)
    v *= beta2
    v += (1 - beta2) * g * g
    if amsgrad:
        v = np.maximum(buffers["max_exp_avg_sq"], v, out=buffers["max_exp_avg_sq"])
    root = np.sqrt(v) / math.sqrt(1 - beta2**t) + eps
    return m / (1 - beta1**t) / root


def _adam(
    p: np.ndarray,
    g: np.ndarray,
    buffers: Buffers,
    t: int,
    *,
    lr: float,
    weight_decay: float,
    **options: Any,
) -> None:
    if weight_decay:
        g = g + weight_decay * p
    p -= lr * _adam_direction(g, buffers, t, **options)


def _adamw(
    p: np.ndarray,
    g: np.ndarray,
    buffers: Buffers,
    t: int,
    *,
    lr: float,
    weight_decay: float,
    **options: Any,
) -> None:
    # before p changes: g may be p itself, the gradient of |p|^2 / 2
    direction = _adam_direction(g, buffers, t, **options)
    p *= 1 - lr * weight_decay
    p -= lr * direction


# --- what the user holds --------------------------------------------------------------------------


class Optimizer:
    """What all optimisers share; use one of its subclasses.

    Parameters
    ----------
    params : ndarray or iterable of ndarray
        One array (a layer's ``flat_parameters``) or a list of arrays of any shapes, float32 or
        float64; they are kept, not copied, and `step` changes them in place. All on the CPU, or all
        on one GPU, where they may be of several libraries, and gradients of others.
    lr : float
        Learning rate; may be assigned between steps.
    **options
        Options of the rule.

    Raises
    ------
    TypeError
        If params is no float32 or float64 array or list of them, or an option is no number.
    ValueError
        If the list is empty, an array is read-only, two arrays share memory, or a value is out of
        its range.

    Notes
    -----
    Copied or pickled together with the layers whose vectors it changes, as in
    ``copy.deepcopy((rnn, optimizer))``, the copy trains the copies. Alone it would train nothing:
    the first step of such a copy is refused. ``copy.copy`` gives an optimiser of the same arrays
    with a state of its own.
    """

    _rule: ClassVar[Callable[..., None]]
    _check: ClassVar[Callable[..., dict[str, Any]]]

    def __init__(self, params: np.ndarray | Iterable[np.ndarray], lr: float, **options: Any):
        self._arrays: list[Any] | None
        self._arrays, self._single = validation.optimizer_params(params)
        self.lr = lr
        self._options = self._check(**options)
        self._steps = 0
        self._buffers = {
            name: [devices.zeros_like(p) for p in self._params]
            for name in self._buffer_names(self._options)
        }

    @staticmethod
    def _buffer_names(options: dict[str, Any]) -> tuple[str, ...]:
        """Name the buffers, each of the parameters' shapes, that the rule needs."""
        raise NotImplementedError

    @property
    def _params(self) -> list[Any]:
        """The arrays that steps change."""
        if self._arrays is None:  # a copy, used for the first time
            self._arrays = validation.arrays_of_a_copy([lent.get() for lent in self._lent])
        return self._arrays

    @property
    def lr(self) -> float:
        """Learning rate; may be assigned between steps."""
        return self._lr

    @lr.setter
    def lr(self, value: float) -> None:
        self._lr = validation.learning_rate(value)

    def __repr__(self) -> str:
        options = {"lr": self.lr, **self._options}
        return f"{type(self).__name__}({', '.join(f'{k}={v}' for k, v in options.items())})"

    def step(self, grads: np.ndarray | Iterable[np.ndarray]) -> None:
        """Change the parameters in place, one step against the gradients.

        Infinities and NaN go through as IEEE 754 has it, without a warning.

        Parameters
        ----------
        grads : ndarray or iterable of ndarray
            One array where the parameters are one array, else a list or any other iterable, in
            their order; of their shapes and dtypes.

        Raises
        ------
        TypeError, ValueError
            If the gradients do not match the parameters; then nothing has changed.
        """
        arrays = validation.optimizer_grads(grads, self._params, self._single)
        self._steps += 1
        # quiet, since a warning turned into an error would stop a step half-way
        with np.errstate(all="ignore"):
            for i, (p, g) in enumerate(zip(self._params, arrays, strict=True)):
                buffers = {name: group[i] for name, group in self._buffers.items()}
                if dispatch.on_gpu(p):
                    self._step_on_gpu(p, g, buffers)
                else:
                    self._rule(p, g, buffers, self._steps, lr=self.lr, **self._options)

    def _step_on_gpu(self, p: Any, g: Any, buffers: dict[str, Any]) -> None:
        """The same by a kernel, on the stream on which the gradient was written."""
        devices.settle((p, g, *buffers.values()))
        vectors = {name: devices.vector(buffer) for name, buffer in buffers.items()}
        dispatch.backend(g).optimizer_step(
            self._rule.__name__[1:], devices.vector(p), devices.vector(g), vectors, self._steps,
            self.lr, self._options,
        )  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of all that the next steps depend on, the parameters apart.

        Returns
        -------
        dict
            Scalars and arrays by name, such as ``step``, ``lr`` and ``exp_avg.0`` (the buffer of
            parameter 0), copies on the host also of what is on a GPU. ``np.savez(file, **state)``
            saves it and `load_state_dict` takes what ``np.load`` gives.
        """
        state: dict[str, Any] = {
            "optimizer": type(self).__name__,
            "step": self._steps,
            "lr": self.lr,
        }
        for name, value in self._options.items():
            state[name] = np.array(value) if isinstance(value, tuple) else value
        for name, group in self._buffers.items():
            copies = {f"{name}.{i}": devices.to_host(b) for i, b in enumerate(group)}
            state.update(copies)
        return state

    # A copy changes the copies of the arrays, which others hold that were copied with it: a layer,
    # a list. Where nobody does, a step would train nothing, and is refused. So, until the copy is
    # used, it does not keep its arrays alive itself.

    def __getstate__(self) -> dict[str, Any]:
        validation.copied_on_the_host(self._params)
        state = dict(self.__dict__)
        del state["_arrays"]
        state.pop("_lent", None)
        return state | {"_memories": [sharing.apart(p) for p in self._params]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        memories = state.pop("_memories")
        self.__dict__.update(state)
        for group in self._buffers.values():  # which may come from read-only memory
            group[:] = [np.require(b, requirements="W") for b in group]
        self._arrays = None
        self._lent = [sharing.Lent(sharing.together(*memory)) for memory in memories]

    def __copy__(self) -> Optimizer:
        """Return an optimiser of the same arrays with a state of its own."""
        validation.copied_on_the_host(self._params)
        twin = object.__new__(type(self))
        buffers = {name: [b.copy() for b in group] for name, group in self._buffers.items()}
        twin.__dict__.update(self.__dict__, _buffers=buffers)
        return twin

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a state, options and learning rate included; the next step has the same bits.

        Parameters
        ----------
        state : mapping
            As `state_dict` returned it, from the same kind of optimiser of equal parameters.

        Raises
        ------
        TypeError, ValueError
            If an entry is missing, unknown, or does not fit; then nothing has changed.
        """
        self._steps, self._lr, self._options, self._buffers = validation.optimizer_state(
            state,
            type(self).__name__,
            self._check,
            self._options,
            self._buffer_names,
            self._params,
        )


class SGD(Optimizer):
    r"""Stochastic gradient descent with momentum.

    With :math:`g \leftarrow g + \lambda p` first (weight decay),

    .. math::
        b_1 = g_1, \quad b_t = \mu b_{t-1} + (1 - \tau) g_t, \quad p_t = p_{t-1} - \gamma b_t

    and :math:`g_t + \mu b_t` in the place of :math:`b_t` with Nesterov's momentum.

    Parameters
    ----------
    params : ndarray or iterable of ndarray
        One array (a layer's ``flat_parameters``) or a list of arrays, changed in place.
    lr : float
        Learning rate, gamma.
    momentum : float
        Momentum, mu.
    dampening : float
        Dampening of the momentum, tau.
    weight_decay : float
        L2 penalty, lambda.
    nesterov : bool
        Nesterov's momentum; needs momentum above 0 and no dampening.

    Raises
    ------
    TypeError, ValueError
        As `Optimizer` says.

    References
    ----------
    I. Sutskever et al., "On the importance of initialization and momentum in deep learning",
    ICML 2013; the formulas are those of torch.optim.SGD.

    Examples
    --------
    >>> import numpy as np
    >>> from numba_rnn import optim
    >>> p = np.array([1.0, -2.0])
    >>> opt = optim.SGD(p, lr=0.5)
    >>> opt.step(np.array([1.0, 1.0]))
    >>> p
    array([ 0.5, -2.5])
    """

    _rule = staticmethod(_sgd)
    _check = staticmethod(validation.sgd_options)

    def __init__(
        self,
        params: np.ndarray | Iterable[np.ndarray],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ):
        super().__init__(
            params,
            lr,
            momentum=momentum,
            dampening=dampening,
            weight_decay=weight_decay,
            nesterov=nesterov,
        )

    @staticmethod
    def _buffer_names(options: dict[str, Any]) -> tuple[str, ...]:
        return ("momentum_buffer",) if options["momentum"] else ()


class RMSprop(Optimizer):
    r"""Gradient descent scaled by a running root mean square of the gradient.

    With :math:`g \leftarrow g + \lambda p` first (weight decay),

    .. math::
        v_t = \alpha v_{t-1} + (1 - \alpha) g_t^2, \quad
        b_t = \mu b_{t-1} + \frac{g_t}{\sqrt{v_t} + \epsilon}, \quad
        p_t = p_{t-1} - \gamma b_t

    Centered, :math:`v_t - m_t^2` stands under the root, with
    :math:`m_t = \alpha m_{t-1} + (1 - \alpha) g_t`; where rounding makes it negative it counts
    as 0 (in torch the step is NaN there).

    Parameters
    ----------
    params : ndarray or iterable of ndarray
        One array (a layer's ``flat_parameters``) or a list of arrays, changed in place.
    lr : float
        Learning rate, gamma.
    alpha : float
        Smoothing constant.
    eps : float
        Added to the root.
    weight_decay : float
        L2 penalty, lambda.
    momentum : float
        Momentum, mu.
    centered : bool
        Divide by an estimate of the standard deviation.

    Raises
    ------
    TypeError, ValueError
        As `Optimizer` says.

    References
    ----------
    T. Tieleman and G. Hinton, "Lecture 6.5: rmsprop", Coursera, 2012; centered: A. Graves,
    "Generating sequences with recurrent neural networks", arXiv:1308.0850; the formulas are those
    of torch.optim.RMSprop.

    Examples
    --------
    >>> import numpy as np
    >>> from numba_rnn import optim
    >>> p = np.array([1.0, -2.0])
    >>> opt = optim.RMSprop(p, lr=0.1, alpha=0.75)
    >>> opt.step(np.array([10.0, -0.1]))
    >>> p.round(3)
    array([ 0.8, -1.8])
    """

    _rule = staticmethod(_rmsprop)
    _check = staticmethod(validation.rmsprop_options)

    def __init__(
        self,
        params: np.ndarray | Iterable[np.ndarray],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
    ):
        super().__init__(
            params,
            lr,
            alpha=alpha,
            eps=eps,
            weight_decay=weight_decay,
            momentum=momentum,
            centered=centered,
        )

    @staticmethod
    def _buffer_names(options: dict[str, Any]) -> tuple[str, ...]:
        centered = ("grad_avg",) if options["centered"] else ()
        momentum = ("momentum_buffer",) if options["momentum"] else ()
        return ("square_avg", *centered, *momentum)


class Adam(Optimizer):
    r"""Adam: running means of the gradient and of its square, both corrected for their start at 0.

    With :math:`g \leftarrow g + \lambda p` first (weight decay),

    .. math::
        m_t &= \beta_1 m_{t-1} + (1 - \beta_1) g_t, \quad
        v_t = \beta_2 v_{t-1} + (1 - \beta_2) g_t^2 \\
        p_t &= p_{t-1} - \gamma \frac{m_t}{1 - \beta_1^t} \Big/
               \left( \sqrt{\frac{v_t}{1 - \beta_2^t}} + \epsilon \right)

    and with AMSGrad the largest :math:`v` so far in the place of :math:`v_t` in the last line.

    Parameters
    ----------
    params : ndarray or iterable of ndarray
        One array (a layer's ``flat_parameters``) or a list of arrays, changed in place.
    lr : float
        Learning rate, gamma.
    betas : pair of float
        Decay of the two running means.
    eps : float
        Added to the root.
    weight_decay : float
        L2 penalty, lambda.
    amsgrad : bool
        AMSGrad.

    Raises
    ------
    TypeError, ValueError
        As `Optimizer` says.

    References
    ----------
    D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization", arXiv:1412.6980; AMSGrad:
    S. J. Reddi et al., "On the convergence of Adam and beyond", arXiv:1904.09237; the formulas are
    those of torch.optim.Adam.

    Examples
    --------
    >>> import numpy as np
    >>> from numba_rnn import optim
    >>> p = np.array([1.0, -2.0], dtype=np.float32)
    >>> opt = optim.Adam(p, lr=0.1)
    >>> opt.step(np.array([10.0, -0.1], dtype=np.float32))
    >>> p.round(3)
    array([ 0.9, -1.9], dtype=float32)
    >>> opt.lr = 0.01  # a schedule assigns it
    """

    _rule = staticmethod(_adam)
    _check = staticmethod(validation.adam_options)

    def __init__(
        self,
        params: np.ndarray | Iterable[np.ndarray],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
    ):
        super().__init__(
            params, lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad
        )

    @staticmethod
    def _buffer_names(options: dict[str, Any]) -> tuple[str, ...]:
        amsgrad = ("max_exp_avg_sq",) if options["amsgrad"] else ()
        return ("exp_avg", "exp_avg_sq", *amsgrad)


class AdamW(Adam):
    r"""Adam with decoupled weight decay: not in the gradient but on the parameter itself.

    :math:`p \leftarrow (1 - \gamma \lambda) p` first, then a step of `Adam` without weight decay.

    Parameters
    ----------
    params : ndarray or iterable of ndarray
        One array (a layer's ``flat_parameters``) or a list of arrays, changed in place.
    lr : float
        Learning rate, gamma.
    betas : pair of float
        Decay of the two running means.
    eps : float
        Added to the root.
    weight_decay : float
        Weight decay, lambda.
    amsgrad : bool
        AMSGrad.

    Raises
    ------
    TypeError, ValueError
        As `Optimizer` says.

    References
    ----------
    I. Loshchilov and F. Hutter, "Decoupled weight decay regularization", arXiv:1711.05101; the
    formulas are those of torch.optim.AdamW.

    Examples
    --------
    >>> import numpy as np
    >>> from numba_rnn import optim
    >>> p = np.array([1.0, -2.0])
    >>> opt = optim.AdamW(p, lr=0.1, weight_decay=1.0)
    >>> opt.step(np.array([10.0, -0.1]))
    >>> p.round(3)
    array([ 0.8, -1.7])
    """

    _rule = staticmethod(_adamw)

    def __init__(
        self,
        params: np.ndarray | Iterable[np.ndarray],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
    ):
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad)


def clip_grad_norm(grads: np.ndarray | Iterable[np.ndarray], max_norm: float) -> float:
    """Scale gradients in place so that their norm, over all of them together, is at most max_norm.

    The factor is min(1, max_norm / (norm + 1e-6)), as in torch.nn.utils.clip_grad_norm_.

    Parameters
    ----------
    grads : ndarray or iterable of ndarray
        One array (``flat`` of a layer's gradients) or a list of arrays.
    max_norm : float
        Largest norm, at least 0.

    Returns
    -------
    float
        The norm before scaling, summed in float64. Of arrays on a GPU it stays there: an array of
        float64, shape (), of the first one's kind.

    Raises
    ------
    TypeError
        If grads is no float32 or float64 array or list of them, or max_norm is no number.
    ValueError
        If an array is read-only, two arrays share memory, or max_norm is negative or NaN.

    References
    ----------
    R. Pascanu, T. Mikolov and Y. Bengio, "On the difficulty of training recurrent neural
    networks", arXiv:1211.5063, algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from numba_rnn import optim
    >>> g = np.array([3.0, 4.0])
    >>> optim.clip_grad_norm(g, max_norm=1.0)
    5.0
    >>> g.round(3)
    array([0.6, 0.8])
    """
    arrays, _ = validation.array_list("grads", grads)
    max_norm = validation.real("max_norm", max_norm, 0)
    if arrays and dispatch.on_gpu(arrays[0]):
        devices.settle(arrays)
        vectors = [devices.vector(g) for g in arrays]
        return dispatch.backend(arrays[0]).clip(vectors, max_norm)
    with np.errstate(all="ignore"):
        norm = math.sqrt(sum(_sum_of_squares(g) for g in arrays))
        factor = max_norm / (norm + 1e-6)
        if not factor >= 1:  # NaN included
            for g in arrays:
                g *= factor
    return norm


def _sum_of_squares(g: np.ndarray) -> float:
    """Sum in float64, without a float64 copy of the array."""
    axes = list(range(g.ndim))
    return float(np.einsum(g, axes, g, axes, [], dtype=np.float64))
