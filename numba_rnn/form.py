"""How the arrays of a call lie with the caller; inside, all is rows (see layout.py)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import batches, validation
from .dispatch import CPU
from .layout import LARGEST_KEPT, Layout
from .packed import PackedSequence

Shape = tuple[int, ...]


@dataclass(eq=False, slots=True)
class Form:
    """What input, output and states are like in one call of a layer; the way to rows, and back.

    Attributes
    ----------
    backend : module or object
        Of the arrays.
    layout : Layout
    input : tuple of int
        Shape of x: (L, N, I), (N, L, I) batch first, (L, I) unbatched, (R, I) the data of a packed
        sequence; (N, I) or (I,) for a cell.
    output : tuple of int
        Shape of the output: the same with D·H features.
    states : tuple of int
        Shape of h_0 and h_n: (S, N, H), or (S, H) unbatched; (N, H) or (H,) for a cell.
    inside : tuple of int
        The same inside, (S, N, H).
    batch_first : bool
        Whether x is (N, L, I).
    dtype : dtype
    place : str
        Where the arrays lie, see dispatch.py.
    """

    backend: Any
    layout: Layout
    input: Shape
    width: int
    states: Shape
    inside: tuple[int, int, int]
    batch_first: bool
    dtype: np.dtype
    place: str
    output: Shape = field(init=False)
    _rows: tuple[int, int] = field(init=False)  # shapes of input and output as rows
    _output_rows: tuple[int, int] = field(init=False)

    def __post_init__(self) -> None:
        R, width = self.layout.rows, self.width
        self.output = *self.input[:-1], width
        self._rows, self._output_rows = (R, self.input[-1]), (R, width)

    # --- the next call --------------------------------------------------------------------------

    @property
    def small(self) -> bool:
        """Whether a layer may keep this for its next call."""
        return self.place == CPU and len(self.layout.index) <= LARGEST_KEPT

    def rows_if_alike(self, x: Any) -> np.ndarray | None:
        """Return x as rows (R, I) if it is an array just like the one this was made for."""
        if type(x) is np.ndarray and x.shape == self.input and x.dtype == self.dtype:
            return x.reshape(self._rows) if x.flags.carray else self.input_rows(x)
        return None

    # --- to rows --------------------------------------------------------------------------------

    def input_rows(self, x: Any) -> Any:
        """Return x, which was checked, as rows (R, I)."""
        return self.backend.rows(x, self._rows[1])

    def first_states(self, name: str, h: Any) -> Any:
        """Check the states that a call begins with, None for zeros; return them as (S, N, H)."""
        if h is None:
            return self.backend.zeros(self.inside, self.dtype)
        return self.state_rows(name, h)

    def state_rows(self, name: str, h: Any) -> Any:
        """Check states, or the gradient of some; return them as (S, N, H)."""
        return self._checked(name, h, self.states, self.inside)

    def output_rows(self, name: str, grad: Any) -> Any:
        """Check the gradient of the output; return it as rows (R, D·H)."""
        return self._checked(name, grad, self.output, self._output_rows)

    def _checked(self, name: str, array: Any, shape: Shape, inside: Shape) -> Any:
        """Check an array of a shape; return what it holds in another shape, in C order."""
        if (
            type(array) is np.ndarray
            and array.shape == shape
            and array.dtype == self.dtype
            and self.place == CPU
            and array.flags.carray
        ):  # as most are: needs no closer look, and no copy
            return array.reshape(inside)
        array = validation.shaped(name, array, shape, self.dtype, self.place)
        return self.backend.rows(array, inside[-1]).reshape(inside)

    def data_of(self, grad_output: PackedSequence) -> Any:
        """Rows of a packed gradient, which must be laid out as x was."""
        packing = self.layout.packing
        if packing is not None and batches.packed(grad_output) is self.layout:
            return grad_output.data
        return validation.same_packing("grad_output", grad_output, packing)

    # --- and back -------------------------------------------------------------------------------

    def pack(self, shaped: Any) -> Any:
        """Return what is shaped as x as what x was: packed for packed."""
        packing = self.layout.packing
        return shaped if packing is None else PackedSequence._of_checked(shaped, *packing)

    def state(self, h: Any) -> Any:
        """Return states (S, N, H) as the caller has them."""
        return h if self.states == self.inside else h.reshape(self.states)

    def time_major(self, states: list[Any]) -> Any:
        """dL/dh_t of all layers, (R, D·H) each, as (S, L, N, H), (S, L, H) or packed (S, R, H)."""
        return self.backend.time_major(states, self.input[:-1], self.inside[2], self.batch_first)
