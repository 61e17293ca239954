"""A single step of the Elman RNN."""

from __future__ import annotations

import math
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import DTypeLike

from . import batches, validation
from .dispatch import A, GpuArray, backend
from .parameters import Parametrised, cell_shapes, generator, places
from .tape import CellGradients, CellTape

if TYPE_CHECKING:
    from .parameters import Parameter


class RNNCell(Parametrised):
    """One step of an Elman RNN: h' = f(W_ih x + b_ih + W_hh h + b_hh).

    Step by step it computes the very bits that `RNN` computes for a whole sequence.

    Parameters
    ----------
    input_size, hidden_size : int
        Features of the input, I, and units, H.
    bias : bool, default True
    nonlinearity : {"tanh", "relu"}, default "tanh"
    dtype : dtype, default np.float32
        np.float32 or np.float64.
    rng : None, int or numpy.random.Generator, default None
        Source of the initial parameters, U(-1/sqrt(H), 1/sqrt(H)).

    Attributes
    ----------
    weight_ih, weight_hh, bias_ih, bias_hh : ndarray
        Shapes (H, I), (H, H), (H,) and (H,). They can be assigned to.
    parameters : dict of str to ndarray
    flat_parameters : ndarray, shape (P,)

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Examples
    --------
    >>> import numpy as np
    >>> import numba_rnn as nr
    >>> cell = nr.RNNCell(2, 3, rng=0)
    >>> h = None
    >>> for x_t in np.ones((4, 2), np.float32):
    ...     h = cell(x_t, h)
    >>> h.shape
    (3,)
    >>> tape = cell.forward(x_t, h)
    >>> tape.backward(np.ones_like(tape.h)).h.shape
    (3,)
    """

    _fixed = frozenset(("input_size", "hidden_size", "nonlinearity"))

    if TYPE_CHECKING:
        weight_ih = weight_hh = bias_ih = bias_hh = Parameter()

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: Literal["tanh", "relu"] = "tanh",
        *,
        dtype: DTypeLike = np.float32,
        rng: int | np.random.Generator | None = None,
    ) -> None:
        self.input_size = validation.positive_int("input_size", input_size)
        self.hidden_size = validation.positive_int("hidden_size", hidden_size)
        self._has_bias = validation.flag("bias", bias)
        self.nonlinearity = validation.choice(
            "nonlinearity", nonlinearity, validation.NONLINEARITIES
        )
        dtype = validation.float_dtype("dtype", dtype)
        shapes = cell_shapes(self.input_size, self.hidden_size, self._has_bias)
        self._places = places(shapes, 1)
        self._create(shapes, 1 / math.sqrt(self.hidden_size), dtype, generator(rng))

    @property
    def bias(self) -> bool:
        """Whether the cell has biases."""
        return self._has_bias

    def __repr__(self) -> str:
        parts = [str(self.input_size), str(self.hidden_size)]
        if not self.bias:
            parts.append("bias=False")
        if self.nonlinearity != "tanh":
            parts.append(f"nonlinearity={self.nonlinearity!r}")
        if self.dtype != np.float32:
            parts.append(f"dtype={self.dtype}")
        return f"RNNCell({', '.join(parts)})"

    def _checked(self, x: Any, h: Any) -> tuple:
        """Backend, x as rows, h as (1, N, H), and the shape of the state."""
        dtype, I, H = self._flat.dtype, self.input_size, self.hidden_size
        x = validation.features("x", x, dtype, I, (("N",), ()), self._place)
        shape = (*x.shape[:-1], H)
        module = backend(x)
        rows = module.rows(x, I)
        if h is None:
            h = module.zeros((1, len(rows), H), dtype)
        else:
            h = validation.shaped("h", h, shape, dtype, self._place)
            h = module.rows(h, H).reshape(1, len(rows), H)
        return module, rows, h, shape

    def _step(
        self, module: ModuleType, weights: np.ndarray, x: np.ndarray, h: np.ndarray
    ) -> np.ndarray:
        """One step is a layer with L = 1."""
        return module.rnn_forward(
            x, h, module.empty(h.shape, h.dtype), weights, self._places,
            batches.padded(1, len(x), False), self.hidden_size, 1, self.nonlinearity,
        )  # fmt: skip

    def __call__(self, x: A, h: np.ndarray | GpuArray | None = None) -> A:
        """Take one step and keep nothing for backward.

        Parameters
        ----------
        x : ndarray, shape (N, I) or (I,)
        h : ndarray, shape (N, H) or (H,), optional
            Zeros where left out.

        Returns
        -------
        ndarray, shape (N, H) or (H,)

        Raises
        ------
        TypeError, ValueError
            If x or h is no array of the layer's dtype and the right shape.
        """
        module, rows, h, shape = self._checked(x, h)
        return self._step(module, self._flat, rows, h).reshape(shape)

    def forward(self, x: A, h: np.ndarray | GpuArray | None = None) -> CellTape[A]:
        """Take one step and keep what backward needs; parameters and errors as in a call.

        x must not be changed before the last backward: the tape refers to it.

        Returns
        -------
        CellTape
            With ``h`` and ``backward(grad_h)``.
        """
        module, rows, h, shape = self._checked(x, h)
        h = module.copy(h)  # the tape refers to x alone
        weights = module.copy(self._flat)
        output = self._step(module, weights, rows, h)
        x_shape, shapes, dtype = x.shape, self._shapes, self.dtype
        places, nonlinearity, place = self._places, self.nonlinearity, self._place

        def backward(grad_h: Any) -> CellGradients:
            H = shape[-1]
            grad = module.rows(validation.shaped("grad_h", grad_h, shape, dtype, place), H)
            dh, gradients = module.zeros(h.shape, dtype), module.zeros(weights.shape, dtype)
            dx, _ = module.rnn_backward(
                rows, h, output, weights, places, batches.padded(1, len(rows), False), H, 1,
                nonlinearity, grad, None, dh, gradients, False,
            )  # fmt: skip
            return CellGradients(
                input=dx.reshape(x_shape), h=dh.reshape(shape), flat=gradients, _shapes=shapes
            )

        return CellTape(module.read_only(output.reshape(shape)), backward)
