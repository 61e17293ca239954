"""Elman recurrent neural networks as Numba kernels.

    >>> import numpy as np
    >>> import numba_rnn as nr
    >>> rnn = nr.RNN(input_size=4, hidden_size=8, rng=0)
    >>> output, h_n = rnn(np.zeros((10, 3, 4), np.float32))

Names are imported when they are first used, so that ``import numba_rnn`` stays quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from . import forks as forks  # now, while this is the process that may fork

__version__ = "0.1.0"

if TYPE_CHECKING:
    from . import analysis, dask, datasets, estimators, init, losses, optim, plotting, reference
    from .cell import RNNCell
    from .export.files import load, save
    from .export.onnx import to_onnx
    from .export.torch import from_torch, to_torch
    from .linear import Linear
    from .packed import (
        PackedSequence,
        pack_padded_sequence,
        pack_sequence,
        pad_packed_sequence,
        pad_sequence,
        unpack_sequence,
        unpad_sequence,
    )
    from .rnn import RNN
    from .tools.versions import show_versions
    from .tools.warmup import warmup

_MODULES = (
    "analysis", "dask", "datasets", "estimators", "init", "losses", "optim", "plotting",
    "reference",
)  # fmt: skip
_NAMES = {
    "RNN": "rnn",
    "RNNCell": "cell",
    "Linear": "linear",
    "PackedSequence": "packed",
    "pack_padded_sequence": "packed",
    "pad_packed_sequence": "packed",
    "pack_sequence": "packed",
    "unpack_sequence": "packed",
    "pad_sequence": "packed",
    "unpad_sequence": "packed",
    "save": "export.files",
    "load": "export.files",
    "to_onnx": "export.onnx",
    "from_torch": "export.torch",
    "to_torch": "export.torch",
    "show_versions": "tools.versions",
    "warmup": "tools.warmup",
}

__all__ = [
    "RNN",
    "Linear",
    "PackedSequence",
    "RNNCell",
    "analysis",
    "dask",
    "datasets",
    "estimators",
    "from_torch",
    "init",
    "load",
    "losses",
    "optim",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "plotting",
    "reference",
    "save",
    "show_versions",
    "to_onnx",
    "to_torch",
    "unpack_sequence",
    "unpad_sequence",
    "warmup",
]


def _imported(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _NAMES:
        value = getattr(importlib.import_module(f"{__name__}.{_NAMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if not TYPE_CHECKING:  # a type checker would take every name for one of ours
    __getattr__ = _imported


def __dir__() -> list[str]:
    names = list(globals())  # at once: another thread may import a name meanwhile
    return sorted([*__all__, *(name for name in names if name.startswith("__"))])
