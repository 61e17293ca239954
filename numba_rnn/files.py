"""Models as files: safetensors with a configuration and a digest, and nothing that could run.

A file holds the parameters under their names, as other programs expect them, and in the metadata,
under the key ``numba_rnn``, one line of JSON: the number of this format, the class, its
configuration, and the SHA-256 of all that and of the tensors.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from . import atomic, configuration, models, validation
from .extras import need
from .parameters import Parametrised

if TYPE_CHECKING:
    from .cell import RNNCell
    from .estimators import RNNClassifier, RNNForecaster, RNNRegressor
    from .linear import Linear
    from .rnn import RNN

FORMAT = 1
_KEY = "numba_rnn"


def save(model: Any, path: str | os.PathLike[str]) -> None:
    """Write a layer or a fitted estimator to a safetensors file.

    The file is complete or not there at all: it is written beside its place, brought to the disk
    and renamed. The source of random numbers is not part of it, nor is the state of an optimiser.

    Parameters
    ----------
    model : RNN, RNNCell, Linear or estimator
        Of these very classes: of a subclass, a file would not know what to make.
    path : str or path-like
        Usually ``*.safetensors``. A file that is there is replaced.

    Raises
    ------
    ModuleNotFoundError
        If safetensors is not installed, which the extra `files` has.
    OSError
        If the file can't be written.
    TypeError
        If model is none of these, or path no path.

    Notes
    -----
    The parameters of an RNN have torch's names, so that
    ``module.load_state_dict(safetensors.torch.load_file(path))`` puts them into a torch.nn.RNN.

    References
    ----------
    The format: https://github.com/huggingface/safetensors

    Examples
    --------
    >>> import os, tempfile
    >>> import numba_rnn as nr
    >>> rnn = nr.RNN(4, 8, num_layers=2, rng=0)
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     path = os.path.join(directory, "rnn.safetensors")
    ...     nr.save(rnn, path)
    ...     again = nr.load(path)
    >>> again
    RNN(4, 8, num_layers=2)
    >>> bool((again.weight_hh_l1 == rnn.weight_hh_l1).all())
    True
    """
    safetensors = need("safetensors.numpy", "files", "numba_rnn.save")
    path = validation.path("path", path)
    name = models.name(model)
    if isinstance(model, Parametrised):
        config, tensors = configuration.describe(model), model.state_dict()
    else:
        config, tensors = model._to_tensors()
    # safetensors takes the memory as it lies, whatever the strides say
    tensors = {key: np.asarray(array, order="C") for key, array in tensors.items()}
    record = {"format": FORMAT, "class": name, "config": config}
    record["sha256"] = _digest(record, tensors)
    # one key: safetensors writes several in any order, and the same model is to be the same file
    atomic.write(path, safetensors.save(tensors, {_KEY: _text(record)}))


def load(
    path: str | os.PathLike[str],
) -> RNN | RNNCell | Linear | RNNClassifier | RNNRegressor | RNNForecaster:
    """Read a layer or a fitted estimator that `save` wrote.

    The file may come from anyone: nothing in it is executed, and it is checked as a whole before
    anything is built. The digest finds damage, not forgery, for whoever makes a file can compute
    it too.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    RNN, RNNCell, Linear or estimator
        A new one, dropout and mode as they were saved. Its random numbers start anew. The file
        says which: ``assert isinstance(rnn, nr.RNN)`` makes sure of it, for type checkers too.

    Raises
    ------
    ModuleNotFoundError
        If safetensors is not installed, which the extra `files` has, or what the class itself
        needs.
    OSError
        If the file can't be read.
    TypeError
        If path is no path.
    ValueError
        If the file is truncated, altered or malformed, is no safetensors file, or one without a
        configuration of ours; the message names the file.

    Notes
    -----
    Parameters alone, from whatever safetensors file, go into a layer that was built before by
    ``layer.load_state_dict(safetensors.numpy.load_file(path))``.

    Examples
    --------
    >>> import os, tempfile
    >>> import numba_rnn as nr
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     path = os.path.join(directory, "readout.safetensors")
    ...     nr.save(nr.Linear(8, 1), path)
    ...     nr.load(path)
    Linear(8, 1)
    """
    need("safetensors.numpy", "files", "numba_rnn.load")
    path = validation.path("path", path)
    with open(path, "rb") as file:
        data = file.read()  # once, so that what was checked is what is used
    try:
        record, tensors = _read(data)
        kind = models.find(record["class"])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    except RecursionError as error:
        raise ValueError(f"{path}: has a header that is nested too deep") from error
    try:
        if issubclass(kind, Parametrised):
            return configuration.build(kind, record["config"], tensors)
        return kind._from_tensors(record["config"], tensors)
    except Exception as error:  # whatever a configuration that is not ours leads to
        raise ValueError(
            f"{path}: holds no {kind.__name__} that this version can build: {error}"
        ) from error


def _read(data: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the record and the tensors (read-only views) of a file that is whole."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    # By hand, as safetensors tells the metadata of files alone, and says nothing to names given
    # twice. It checks everything else.
    try:
        header = _parsed(data[8 : 8 + int.from_bytes(data[:8], "little")].decode())
    except ValueError as error:
        raise ValueError(f"is not a safetensors file, or is damaged ({error})") from error
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    text = metadata.get(_KEY) if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        raise ValueError(
            "has no configuration of numba_rnn. If it holds the parameters of a layer, build the "
            "layer and call layer.load_state_dict(safetensors.numpy.load_file(path))"
        )
    record = _parsed(text)
    if not isinstance(record, dict) or type(record.get("format")) is not int:
        raise ValueError("has a malformed configuration")
    if record["format"] != FORMAT:
        raise ValueError(
            f"has format {record['format']}, and this version of numba_rnn reads format {FORMAT}"
        )
    if set(record) != {"format", "class", "config", "sha256"} or _text(record) != text:
        raise ValueError("has a malformed configuration")
    try:
        tensors = load(data)
    except (SafetensorError, KeyError) as error:  # a KeyError for dtypes that NumPy has not
        raise ValueError(f"is not a safetensors file, or is damaged ({error})") from error
    if record.pop("sha256") != _digest(record, tensors):
        raise ValueError("is damaged: its content is not what its SHA-256 belongs to")
    if not isinstance(record["class"], str) or not isinstance(record["config"], dict):
        raise ValueError("has a malformed configuration")
    return record, tensors


def _text(record: Mapping[str, Any]) -> str:
    return json.dumps(record, separators=(",", ":"))


def _parsed(text: str) -> Any:
    """JSON without names that come twice: of those, readers may take the one or the other."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("has a name in its header twice")
        return found

    return json.loads(text, object_pairs_hook=once)


def _digest(record: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of the record and of names, dtypes, shapes and bytes, in the order of the names."""
    names = sorted(tensors)
    about = [[name, tensors[name].dtype.name, tensors[name].shape] for name in names]
    digest = hashlib.sha256(_text({**record, "tensors": about}).encode())
    for name in names:
        digest.update(tensors[name].data)
    return digest.hexdigest()
