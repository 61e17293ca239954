"""Models as files: safetensors with a configuration and a digest, and nothing that could run.

A file holds the parameters under their names, as other programs expect them, and in the metadata,
under the key ``numba_rnn``, one line of JSON: the number of this format, the version that wrote it,
the class, its configuration, and the SHA-256 of all that and of the tensors.

What is not known to be ours is not read: first come the length of the header, the header, and
whether the tensors that it tells of fill the rest of the file and are those of its configuration.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from .. import __version__, atomic, validation
from ..extras import need
from ..parameters import Parametrised
from . import configuration, models

if TYPE_CHECKING:
    from ..cell import RNNCell
    from ..estimators import RNNClassifier, RNNForecaster, RNNRegressor
    from ..linear import Linear
    from ..rnn import RNN

FORMAT = 1
_KEY = "numba_rnn"
# Python's objects take 26 times the memory of their JSON at worst. A curve of 400,000 epochs fits;
# what grows with the data, a forecaster's series, comes with tensors of that size.
_LONGEST_HEADER = 8_000_000


def save(model: Any, path: str | os.PathLike[str]) -> None:
    """Write a layer or a fitted estimator to a safetensors file.

    The file is complete or not there at all: it is written beside its place, brought to the disk
    and renamed. One that it replaces passes its permissions on, and its owner where the process may
    set that; other hard links to it keep what they had. A pipe or a device is written to as it is.
    The source of random numbers is not part of a file, nor is the state of an optimiser.

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
    ValueError
        If what is to be written beside the tensors, such as the curve of millions of epochs, is
        longer than `load` would read.

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
    record = {"format": FORMAT, "version": __version__, "class": name, "config": config}
    record["sha256"] = _digest(record, tensors)
    # one key: safetensors writes several in any order, and the same model is to be the same file
    data = safetensors.save(tensors, {_KEY: _text(record)})
    length = int.from_bytes(data[:8], "little")
    try:
        _check_length(length, len(data) - 8 - length)
    except ValueError as error:
        raise ValueError(f"model can't be saved: its file {error}") from error
    atomic.write(path, data)


def load(
    path: str | os.PathLike[str], *, allow_nonfinite: bool = False
) -> RNN | RNNCell | Linear | RNNClassifier | RNNRegressor | RNNForecaster:
    """Read a layer or a fitted estimator that `save` wrote.

    The file may come from anyone: nothing in it is executed, and it is checked as a whole before
    anything is built. The digest finds damage, not forgery, for whoever makes a file can compute
    it too.

    Parameters
    ----------
    path : str or path-like
    allow_nonfinite : bool, default False
        Whether weights may be NaN or infinite.

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
        configuration of ours, or if its weights are not finite; the message names the file.

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
    allow_nonfinite = validation.flag("allow_nonfinite", allow_nonfinite)
    with open(path, "rb") as file:
        try:
            kind, record, tensors = _read(file)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        except RecursionError as error:
            raise ValueError(f"{path}: has a header that is nested too deep") from error
    for name, tensor in tensors.items():
        is_weight = name.rpartition(".")[2].startswith(("weight", "bias"))
        if is_weight and not allow_nonfinite and not _is_finite(tensor):
            raise ValueError(
                f"{path}: {name} is NaN or infinite somewhere; "
                "numba_rnn.load(path, allow_nonfinite=True) takes it as it is"
            )
    try:
        if issubclass(kind, Parametrised):
            return configuration.build(kind, record["config"], tensors)
        return kind._from_tensors(record["config"], tensors)
    except Exception as error:  # whatever a configuration that is not ours leads to
        raise ValueError(f"{path}: {_not_built(kind, record, error)}") from error


def _read(file: BinaryIO) -> tuple[type, dict[str, Any], dict[str, np.ndarray]]:
    """Return class, record and tensors (read-only views) of a file that is whole."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    if not file.seekable():  # a pipe
        file = io.BytesIO(file.read())
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    first = file.read(8)
    length = int.from_bytes(first, "little")
    if len(first) < 8 or length > end - 8:
        raise _damaged(f"its {end} bytes end within the header")
    _check_length(length, end - 8 - length)
    header = file.read(length)
    # By hand, as safetensors tells the metadata of files alone, and says nothing to names given
    # twice. It checks everything else.
    try:
        parsed = _parsed(header.decode())
    except ValueError as error:
        raise _damaged(error) from error
    metadata = parsed.pop("__metadata__", None) if isinstance(parsed, dict) else None
    text = metadata.get(_KEY) if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        raise ValueError(
            "has no configuration of numba_rnn. If it holds the parameters of a layer, build the "
            "layer and call layer.load_state_dict(safetensors.numpy.load_file(path))"
        )
    record = _record(text)
    kind = models.find(record["class"])
    shapes = _shapes(parsed, end - 8 - length)
    try:
        configuration.check_sizes(record["config"], shapes, kind)
    except Exception as error:  # whatever a configuration that is not ours leads to
        raise ValueError(_not_built(kind, record, error)) from error
    data = first + header + file.read()  # once, so that what was checked is what is used
    try:
        tensors = load(data)
    except (SafetensorError, KeyError) as error:  # a KeyError for dtypes that NumPy has not
        raise _damaged(error) from error
    if record.pop("sha256") != _digest(record, tensors):
        raise ValueError("is damaged: its content is not what its SHA-256 belongs to")
    return kind, record, tensors


def _record(text: str) -> dict[str, Any]:
    """Return what the metadata say of the model."""
    record = _parsed(text)
    if not isinstance(record, dict) or type(record.get("format")) is not int:
        raise ValueError("has a malformed configuration")
    if record["format"] != FORMAT:
        raise ValueError(
            f"has format {record['format']}{_by(record)}, and this version of numba_rnn, "
            f"{__version__}, reads format {FORMAT}"
        )
    names = {"format", "version", "class", "config", "sha256"}
    if {*record, "version"} != names or _text(record) != text:  # the first files had no version
        raise ValueError("has a malformed configuration")
    strings = isinstance(record["class"], str) and isinstance(record.get("version", ""), str)
    if not strings or not isinstance(record["config"], dict):
        raise ValueError("has a malformed configuration")
    return record


def _shapes(entries: Mapping[str, Any], size: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of tensors, which together fill so many bytes."""
    shapes, total = {}, 0
    try:
        for name, entry in entries.items():
            start, stop = entry["data_offsets"]
            shapes[name] = tuple(entry["shape"])
            if not all(type(n) is int and n >= 0 for n in (start, stop, *shapes[name])):
                raise ValueError("a size is no size")
            if stop - start < math.prod(shapes[name]):  # of a byte at least
                raise ValueError(f"{name} is larger than its place")
            total += stop - start
    except (TypeError, KeyError, ValueError) as error:
        raise _damaged(error) from error
    if total != size:
        raise _damaged(f"it has {size} bytes of tensors, where its header says {total}")
    return shapes


def _check_length(header: int, data: int) -> None:
    """Refuse a header that is longer than ours are, before it is read."""
    most = _LONGEST_HEADER + data // 2
    if header > most:
        raise ValueError(
            f"has a header of {header} bytes, and with {data} bytes of tensors {most} are the most"
        )


def _damaged(why: object) -> ValueError:
    return ValueError(f"is not a safetensors file, or is damaged ({why})")


def _not_built(kind: type, record: Mapping[str, Any], error: Exception) -> str:
    return (
        f"holds no {kind.__name__} that this version of numba_rnn, {__version__}, can build"
        f"{_by(record)}: {error}"
    )


def _by(record: Mapping[str, Any]) -> str:
    """Say which version wrote a file, where it is another one."""
    version = record.get("version", __version__)
    return "" if version == __version__ else f" (written by {validation.describe(version)})"


def _is_finite(array: np.ndarray) -> bool:
    """Whether no element is NaN or infinite; without an array of its size."""
    pieces = array.reshape(-1)
    return all(np.isfinite(pieces[k : k + 65536]).all() for k in range(0, array.size, 65536))


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
