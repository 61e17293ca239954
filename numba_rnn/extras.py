"""Packages that only some functions need: imported when used, with a word on how to get them.

The word names the package itself, which can be got wherever numba_rnn came from.
"""

from __future__ import annotations

import importlib
from types import ModuleType


def need(module: str, extra: str, what: str) -> ModuleType:
    """Import a module for a function, or say which extra brings it.

    Parameters
    ----------
    module : str
        Such as ``"safetensors.numpy"``.
    extra : str
        The extra of numba_rnn in pyproject.toml that has it.
    what : str
        The name of what was called, as the user knows it.

    Raises
    ------
    ModuleNotFoundError
        If it is not installed.
    """
    package = module.split(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != package:  # it is there, and lacks something itself
            raise
        raise ModuleNotFoundError(
            f"{what} needs {package}, which is not installed: pip install "
            f"{_DISTRIBUTIONS.get(package, package)} (numba_rnn has it in its extra {extra!r})",
            name=error.name,
        ) from error


_DISTRIBUTIONS = {"sklearn": "scikit-learn"}
