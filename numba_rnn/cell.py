"""A single step of the Elman RNN."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import DTypeLike

from . import batches, validation
from .dispatch import A, GpuArray, Lazy, LazyArray, backend, lazy
from .form import Form
from .parameters import Parametrised, cell_shapes, generator
from .stack import Stack
from .tape import CellTape

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

    Notes
    -----
    At 0, where it has a kink, the derivative of ReLU is taken to be 0, as torch does.

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
        self._stack = Stack((shapes,), self.hidden_size, 1, self.nonlinearity)
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

    def _enter(self, x: Any) -> tuple[Form, Any]:
        """Check x; return the form of the call, and x as rows."""
        form = self._last_form
        if form is not None and (rows := form.rows_if_alike(x)) is not None:
            return form, rows
        dtype, place, I, H = self.dtype, self._place, self.input_size, self.hidden_size
        x = validation.features("x", x, dtype, I, (("N",), ()), place)
        leading = tuple(x.shape[:-1])
        N = leading[0] if leading else 1
        form = Form(
            backend(x), batches.padded(1, N, False), (*leading, I), H, (*leading, H), (1, N, H),
            False, dtype, place,
        )  # fmt: skip
        if form.small:
            self._last_form = form
        return form, form.input_rows(x)

    @overload
    def __call__(self, x: A, h: np.ndarray | GpuArray | None = None) -> A: ...
    @overload
    def __call__(self, x: Lazy, h: np.ndarray | LazyArray | None = None) -> Lazy: ...
    def __call__(self, x: Any, h: Any = None) -> Any:
        """Take one step and keep nothing for backward.

        Parameters
        ----------
        x : ndarray, shape (N, I) or (I,)
            Or a Dask array, and then the result is one.
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
        if type(x) is not np.ndarray and (tasks := lazy(x)) is not None:
            return tasks.cell(self, x, h)
        form, rows = self._enter(x)
        h = form.first_states("h", h)
        output, _ = self._stack.run(form.backend, self._flat, rows, h, form.layout)
        return output.reshape(form.output)

    def forward(self, x: A, h: np.ndarray | GpuArray | None = None) -> CellTape[A]:
        """Take one step and keep what backward needs; parameters and errors as in a call.

        x must not be changed before the last backward: the tape refers to it.

        Returns
        -------
        CellTape
            With ``h`` and ``backward(grad_h)``.
        """
        form, rows = self._enter(x)
        state, copy = form.first_states("h", h), form.backend.copy
        if h is not None:
            state = copy(state)  # the tape refers to x alone
        done = self._stack.forward(form.backend, copy(self._flat), rows, state, form.layout)
        return CellTape(done, form, self._shapes)
