"""The linear layer: the readout on top of an RNN."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import DTypeLike

from . import validation
from .dispatch import A, Lazy, backend, lazy
from .parameters import Parametrised, generator, linear_shapes
from .tape import LinearTape

if TYPE_CHECKING:
    from .parameters import OptionalParameter, Parameter

ANY = (("...",),)  # the axes that an input may have before its features


class Linear(Parametrised):
    """Linear map of the last axis: y = x Wᵀ + b.

    Parameters
    ----------
    in_features, out_features : int
        Size of the last axis of x and of y.
    bias : bool, default True
    dtype : dtype, default np.float32
        np.float32 or np.float64.
    rng : None, int or numpy.random.Generator, default None
        Source of the initial parameters, U(-1/sqrt(in_features), 1/sqrt(in_features)), as in torch.

    Attributes
    ----------
    weight : ndarray, shape (out_features, in_features)
    bias : ndarray, shape (out_features,), or None
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
    >>> readout = nr.Linear(8, 1, rng=0)
    >>> tape = readout.forward(np.ones((5, 3, 8), np.float32))
    >>> tape.output.shape
    (5, 3, 1)
    >>> tape.backward(np.ones_like(tape.output)).parameters["bias"]
    array([15.], dtype=float32)
    """

    _fixed = frozenset(("in_features", "out_features"))

    if TYPE_CHECKING:
        weight = Parameter()
        bias = OptionalParameter()

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: DTypeLike = np.float32,
        rng: int | np.random.Generator | None = None,
    ) -> None:
        self.in_features = validation.positive_int("in_features", in_features)
        self.out_features = validation.positive_int("out_features", out_features)
        has_bias = validation.flag("bias", bias)
        dtype = validation.float_dtype("dtype", dtype)
        shapes = linear_shapes(self.in_features, self.out_features, has_bias)
        if not has_bias:
            self.__dict__["bias"] = None
        self._create(shapes, 1 / math.sqrt(self.in_features), dtype, generator(rng))

    def __repr__(self) -> str:
        parts = [str(self.in_features), str(self.out_features)]
        if "bias" not in self._shapes:
            parts.append("bias=False")
        if self.dtype != np.float32:
            parts.append(f"dtype={self.dtype}")
        return f"Linear({', '.join(parts)})"

    @overload
    def __call__(self, x: A) -> A: ...
    @overload
    def __call__(self, x: Lazy) -> Lazy: ...
    def __call__(self, x: Any) -> Any:
        """Map the last axis and keep nothing for backward.

        Parameters
        ----------
        x : ndarray, shape (..., in_features)
            Or a Dask array, and then the result is one.

        Returns
        -------
        ndarray, shape (..., out_features)

        Raises
        ------
        TypeError, ValueError
            If x is no array of the layer's dtype with in_features on its last axis.
        """
        if type(x) is not np.ndarray and (tasks := lazy(x)) is not None:
            return tasks.linear(self, x)
        module, rows, leading = self._enter(x)
        y = module.linear_forward(rows, self._flat, self.out_features)
        return y.reshape(*leading, self.out_features)

    def forward(self, x: A) -> LinearTape[A]:
        """Map the last axis and keep what backward needs; parameters and errors as in a call.

        x must not be changed before the last backward: the tape refers to it.

        Returns
        -------
        LinearTape
            With ``output`` and ``backward(grad_output)``.
        """
        module, rows, leading = self._enter(x)
        weights = module.copy(self._flat)
        y = module.linear_forward(rows, weights, self.out_features)
        return LinearTape(module, weights, rows, y, leading, self._shapes, self.dtype, self._place)

    def _enter(self, x: Any) -> tuple[Any, Any, tuple[int, ...]]:
        """Check what a call is given; return the backend, x as rows, and its other axes."""
        x = validation.features("x", x, self._flat.dtype, self.in_features, ANY, self._place)
        module = backend(x)
        return module, module.rows(x, self.in_features), x.shape[:-1]
