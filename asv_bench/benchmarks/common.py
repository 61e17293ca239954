"""Sizes, and layers with their input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

import numba_rnn as nr

# (L, N, I, H): steps, samples, inputs, units
SIZES = [
    (100, 1, 1, 32),
    (100, 1, 16, 128),
    (60, 1, 64, 512),
    (100, 16, 10, 50),
    (100, 32, 8, 64),
    (1000, 8, 4, 32),
    (100, 64, 32, 128),
    (100, 128, 64, 256),
    (50, 64, 256, 512),
    (20, 64, 1024, 1024),
]


def layer(size: tuple[int, int, int, int], dtype: str = "float32", **options) -> nr.RNN:
    """Make the RNN of a size."""
    return nr.RNN(*size[2:], dtype=dtype, rng=0, **options)


def arrays(
    size: tuple[int, int, int, int], dtype: str = "float32", directions: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Draw an input, (L, N, I), and the gradient of the output, (L, N, D·H)."""
    L, N, I, H = size
    rng = np.random.default_rng(0)
    x, g = rng.normal(size=(L, N, I)), rng.normal(size=(L, N, directions * H))
    return x.astype(dtype), g.astype(dtype)


def fresh(*arguments: object, **variables: str) -> dict[str, float]:
    """Run comparison/fresh.py in a process of its own; return what it measured."""
    script = Path(__file__).resolve().parent.parent / "comparison" / "fresh.py"
    done = subprocess.run(
        [sys.executable, str(script), *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=os.environ | variables,
    )
    return json.loads(done.stdout)
