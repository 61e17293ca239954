"""Arrays that share memory, so that their copies share it too.

NumPy copies and pickles a view as an array of its own, which would part a layer from the optimiser
that changes its vector. Here an array is taken apart into the memory that it lies in and its place
there. The memory is an object, and of one object copy and pickle make one copy, however often they
meet it.
"""

from __future__ import annotations

import threading
import weakref
from typing import Any

import numpy as np


class Memory:
    """The array at the bottom of some views. (joblib copies a bare array anew at each place.)"""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __setstate__(self, state: dict[str, Any]) -> None:
        # it may come from a read-only buffer, from a memory map, or from the middle of a message
        self.array = np.require(np.asarray(state["array"]), requirements="AW")


class _Known(threading.local):
    """The memories that a copy or a pickle is just being made of, by the id of their array."""

    def __init__(self) -> None:
        self.memories: weakref.WeakValueDictionary[int, Memory] = weakref.WeakValueDictionary()

    def of(self, array: np.ndarray) -> Memory:
        found = self.memories.get(id(array))
        if found is None:
            found = self.memories[id(array)] = Memory(array)
        return found


_known = _Known()
Place = tuple[tuple[int, ...], np.dtype, int, tuple[int, ...]] | None


def apart(array: np.ndarray) -> tuple[Memory, Place]:
    """Take an array apart: what to copy or pickle in its place."""
    bottom = _bottom(array)
    return _known.of(bottom), _place(array, bottom)


def together(memory: Memory, place: Place) -> np.ndarray:
    """Put together what `apart` took apart; memory is shared as it was."""
    return _at(memory.array, place)


class Lent:
    """An array that is not kept alive: it can be had as long as somebody else has its memory."""

    def __init__(self, array: np.ndarray) -> None:
        bottom = _bottom(array)
        self._memory, self._place = weakref.ref(bottom), _place(array, bottom)
        self._kept = array if array.size == 0 else None  # nobody could tell it from another one

    def get(self) -> np.ndarray | None:
        """The array, or None where its memory is gone."""
        bottom = self._memory()
        return self._kept if bottom is None else _at(bottom, self._place)


def _bottom(array: np.ndarray) -> np.ndarray:
    """The array whose memory this one's is, itself where there is no other."""
    bottom = array
    while type(bottom.base) is np.ndarray:
        bottom = bottom.base
    # from one with gaps the place could not be found again in a copy, which has none
    found = bottom.flags.c_contiguous or bottom.flags.f_contiguous
    return bottom if found and array.size else array


def _place(array: np.ndarray, bottom: np.ndarray) -> Place:
    if bottom is array:
        return None
    start = array.__array_interface__["data"][0] - bottom.__array_interface__["data"][0]
    return array.shape, array.dtype, start, array.strides


def _at(bottom: np.ndarray, place: Place) -> np.ndarray:
    if place is None:
        return bottom
    shape, dtype, start, strides = place
    return np.ndarray(shape, dtype, bottom.reshape(-1, order="A"), start, strides)
