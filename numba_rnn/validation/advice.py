"""What messages say to do: how an array is moved, cast, shared or made of what is none."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from .. import dispatch
from ..dispatch import CPU
from ..owners import CUPY, TORCH, is_dask, owner


def how_to_cast(name: str, array: Any, dtype: np.dtype) -> str:
    """Say how an array called `name` gets another dtype."""
    library = owner(array)
    if library == TORCH:
        return f"{name}.to(torch.{dtype.name})"
    if library in (None, CUPY):  # NumPy's way is CuPy's
        return f"{name}.astype(np.{dtype.name})"
    return f"numba.cuda.to_device({name}.copy_to_host().astype(np.{dtype.name}))"


def how_to_move(name: str, array: Any, to: str, dtype: np.dtype | None = None) -> str:
    """Say how an array called `name` gets to a place, and, where one step can, to a dtype."""
    library = owner(array)
    if library is None:
        return (
            f"cupy.asarray({name}), torch.from_numpy({name}).cuda() or numba.cuda.to_device({name})"
        )
    if library == TORCH:
        return _how_to_move_torchs(name, array, to, dtype)
    if library == CUPY:
        if to == CPU:
            return f"{name}.get()"
        return f"cupy.asarray({name}) within cupy.cuda.Device({to.removeprefix('cuda:')})"
    host = f"{name}.copy_to_host()"
    return host if to == CPU else f"numba.cuda.to_device({host})"


def _how_to_move_torchs(name: str, array: Any, to: str, dtype: np.dtype | None) -> str:
    if to != CPU:
        return f"{name}.cuda()" if to == "cuda:0" else f"{name}.to({to!r})"
    found = dispatch.library(array).dtype(array)  # a str for bfloat16 and the like
    other = isinstance(found, str) or (dtype is not None and dtype != found)
    steps = [
        (array.requires_grad, "detach"),
        (dispatch.place(array) != CPU, "cpu"),
        (str(getattr(array, "layout", "torch.strided")) != "torch.strided", "to_dense"),
        (hasattr(array, "is_neg") and array.is_neg(), "resolve_neg"),
        (other, "double" if dtype is not None and dtype.itemsize == 8 else "float"),
        (True, "numpy"),
    ]
    return name + "".join(f".{step}()" for needed, step in steps if needed)


def how_to_convert(
    name: str, value: Any, dtype: np.dtype | None = None, to: str = CPU
) -> str | None:
    """Say what makes an array at a place of what is none; None where nothing is known to.

    Called when something was refused, so it may take its time: what it says has been tried.
    """
    if owner(value) is not None:
        return how_to_move(name, value, to, dtype)
    if is_dask(value):
        return (
            f"{name}.compute() where it fits into memory. Layers take Dask arrays when they are "
            "called, as in rnn(x), and numba_rnn.dask.gradients has gradients of blocks"
        )
    if is_torchs_packed(value):
        return _how_to_repack(name, value, dtype, to)
    if (vector := how_to_share(name, value)) is not None:
        return vector
    if type(value).__name__ == "PackedSequence":  # ours
        return f"{name}.data"
    if hasattr(value, "toarray"):  # SciPy's sparse arrays
        return f"{name}.toarray()"
    words = "" if dtype is None else f", dtype=np.{dtype.name}"
    try:
        with warnings.catch_warnings(action="error"):
            if np.asarray(value, dtype=dtype).ndim == 0:  # a number, None, an object of any kind
                return None
    except Exception:  # whatever someone else's __array__ raises
        return _how_to_pack(name, value)
    return f"{'np' if to == CPU else 'cupy'}.asarray({name}{words})"


def how_to_share(name: str, value: Any) -> str | None:
    """Say what gives the very memory of a value as an array; None where nothing is known to."""
    library = dispatch.library(value)
    if library is not None:
        shared = library.place(value) == CPU and not isinstance(library.dtype(value), str)
        return how_to_move(name, value, CPU) if shared else None
    for attribute in ("flat_parameters", "flat"):  # of a layer, of the gradients of one
        if dispatch.place(getattr(value, attribute, None)) is not None:
            return f"{name}.{attribute}"
    return None


def is_torchs_packed(value: Any) -> bool:
    """Whether this is a PackedSequence of torch's, which is none of ours."""
    kind = type(value)
    return kind.__name__ == "PackedSequence" and kind.__module__.partition(".")[0] == "torch"


def _how_to_pack(name: str, value: Any) -> str | None:
    """Say how a list of sequences becomes a packed one; None where it is none."""
    shapes = [getattr(entry, "shape", ()) for entry in value] if isinstance(value, list) else []
    if not all(shapes) or len({tuple(shape[1:]) for shape in shapes}) != 1:
        return None
    return f"nr.pack_sequence({name}, enforce_sorted=False)"


def _how_to_repack(name: str, value: Any, dtype: np.dtype | None, to: str) -> str:
    """Say how a PackedSequence of torch's becomes one of ours, its data at a place."""
    on_gpu = dispatch.on_gpu
    data = f"{name}.data"
    if not (to != CPU and on_gpu(value.data)):
        data = how_to_move(data, value.data, to, dtype)
    if not any(on_gpu(index) for index in value[1:]):
        return f"nr.PackedSequence({data}, *{name}[1:])"
    fields = zip(value._fields[1:], value[1:], strict=True)
    indices = [f"{name}.{field}{'.cpu()' if on_gpu(index) else ''}" for field, index in fields]
    return f"nr.PackedSequence({data}, {', '.join(indices)})"


def convert(fix: str | None) -> str:
    """End a message with the way out, where one is known."""
    return "" if fix is None else f"; convert with {fix}"
