"""How the arrays of a call lie with the caller; inside, all is rows (see layout.py)."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import batches, validation
from .layout import Layout
from .packed import PackedSequence


class Form:
    """What input, output and states are like in one call of a layer, and the way back to that.

    Attributes
    ----------
    layout : Layout
    leading : tuple of int
        Axes of x before its features: (L, N), (N, L) batch first, (L,) unbatched, (R,) packed; (N,)
        or () for a cell.
    states : tuple of int
        Shape of h_0 and h_n: (S, N, H), or (S, H) unbatched; (N, H) or (H,) for a cell.
    inside : tuple of int
        The same inside, (S, N, H).
    width : int
        Features of the output, D·H.
    batch_first : bool
        Whether leading is (N, L).
    dtype : dtype
    place : str
        Where the arrays lie, see dispatch.py.
    """

    __slots__ = ("batch_first", "dtype", "inside", "layout", "leading", "place", "states", "width")

    def __init__(
        self,
        layout: Layout,
        leading: tuple[int, ...],
        states: tuple[int, ...],
        inside: tuple[int, int, int],
        width: int,
        batch_first: bool,
        dtype: np.dtype,
        place: str,
    ) -> None:
        self.layout, self.leading, self.width = layout, leading, width
        self.states, self.inside = states, inside
        self.batch_first, self.dtype, self.place = batch_first, dtype, place

    # --- there ----------------------------------------------------------------------------------

    def first_states(self, name: str, h: Any, backend: Any) -> Any:
        """Check the states that a call begins with, None for zeros; return them as (S, N, H)."""
        if h is None:
            return backend.zeros(self.inside, self.dtype)
        return self.state_rows(name, h, backend)

    def state_rows(self, name: str, h: Any, backend: Any) -> Any:
        """Check states, or the gradient of some; return them as (S, N, H)."""
        h = validation.shaped(name, h, self.states, self.dtype, self.place)
        return backend.rows(h, self.inside[2]).reshape(self.inside)

    def output_rows(self, name: str, grad: Any, backend: Any) -> Any:
        """Check the gradient of the output; return it as rows (R, D·H)."""
        shape = (*self.leading, self.width)
        return backend.rows(
            validation.shaped(name, grad, shape, self.dtype, self.place), self.width
        )

    def data_of(self, grad_output: PackedSequence) -> Any:
        """Rows of a packed gradient, which must be laid out as x was."""
        packing = self.layout.packing
        if packing is not None and batches.packed(grad_output) is self.layout:
            return grad_output.data
        return validation.same_packing("grad_output", grad_output, packing)

    # --- and back -------------------------------------------------------------------------------

    def shaped(self, rows: Any) -> Any:
        """Rows with the leading axes of x."""
        return rows.reshape(*self.leading, rows.shape[1])

    def like_input(self, shaped: Any) -> Any:
        """What has the leading axes of x as what x was: packed for packed."""
        packing = self.layout.packing
        return shaped if packing is None else PackedSequence._of_checked(shaped, *packing)

    def state(self, h: Any) -> Any:
        """States (S, N, H) as the caller has them."""
        return h if self.states == self.inside else h.reshape(self.states)

    def time_major(self, states: list[Any], backend: Any) -> Any:
        """dL/dh_t of all layers, (R, D·H) each, as (S, L, N, H), (S, L, H) or packed (S, R, H)."""
        return backend.time_major(states, self.leading, self.inside[2], self.batch_first)
