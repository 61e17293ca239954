"""What a bug report needs."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import sys

PACKAGES = (
    "numba", "llvmlite", "numpy", "scipy", "scikit-learn", "pandas", "safetensors", "onnx",
    "onnxruntime", "numba-cuda", "cupy", "torch",
)  # fmt: skip


def show_versions() -> None:
    """Print versions, threads, threading layer, vector width and whether CUDA is seen.

    Examples
    --------
    >>> import numba_rnn as nr
    >>> nr.show_versions()  # doctest: +ELLIPSIS
    numba_rnn ...
    """
    import numba

    from .. import __version__
    from ..cpu import cache, native, parallel, quota, vectors

    try:
        layer = numba.threading_layer()
    except ValueError:
        layer = f"not started yet (setting: {numba.config.THREADING_LAYER})"
    rows = {"numba_rnn": __version__, "python": sys.version.split()[0]}
    for package in PACKAGES:
        try:
            rows[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    rows["platform"] = platform.platform()
    rows["cpu"] = f"{os.cpu_count()} cores, compiled for {_cpu_name()}"
    fused = "fused multiply-add" if vectors.HAS_FMA else "no fused multiply-add"
    rows["vectors"] = f"{8 * vectors.VECTOR_BYTES} bits, {fused}"
    if native.PLAIN:
        rows["vectors"] = "none: plain Python, as NUMBA_DISABLE_JIT is set"
    rows["threads"] = f"{parallel.available()} of {numba.config.NUMBA_NUM_THREADS}"
    limit = quota.processors()
    rows["quota"] = "none" if limit is None else f"{limit} processors, by the control group"
    rows["cache"] = ", ".join(map(str, cache.places()))
    rows["threading layer"] = layer
    rows["CUDA"] = _cuda()
    for name, value in rows.items():
        print(f"{name:<16}{value}")


def _cpu_name() -> str:
    import llvmlite.binding
    import numba

    return numba.config.CPU_NAME or llvmlite.binding.get_host_cpu_name()


def _cuda() -> str:
    try:
        from ..cuda.toolkit import cuda

        return "device seen" if cuda.is_available() else "no device seen"
    except Exception as error:  # a broken driver must not keep the report from being written
        return f"not usable ({error})"
