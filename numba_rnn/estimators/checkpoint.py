"""Training kept on disk: a file that is always whole, and says what it belongs to.

A file is a line with the SHA-256 of the rest, and the rest an .npz: arrays, and one of JSON text.
`numba_rnn.atomic` puts it in the place of the last one, which stays whole until then.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__, atomic, locks, validation
from .states import check_seed

_MAGIC = b"numba_rnn checkpoint 1 "
_HEAD = len(_MAGIC) + 64 + 1
_LONGEST_TEXT = 100_000_000  # the curves of millions of epochs


def digest(*arrays: np.ndarray) -> str:
    """SHA-256 of arrays with their shapes and dtypes."""
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(f"{array.dtype.str} {array.shape};".encode())
        sha.update(np.ascontiguousarray(array).data if array.size else b"")
    return sha.hexdigest()


def checkpoint_path(path: str | os.PathLike[str]) -> Path:
    """Return a path at which there is a file, or may be one.

    Raises
    ------
    TypeError, ValueError
        If it is none, that of a folder, or lies in none.
    """
    found = validation.path("checkpoint", path)
    if found.exists() and not found.is_file():
        kind = "folder" if found.is_dir() else "pipe or device"
        raise ValueError(f"checkpoint must be a file, got the {kind} {str(found)!r}")
    if not found.parent.is_dir():
        raise ValueError(f"checkpoint must lie in a folder that is there, got {str(found)!r}")
    return found


class Checkpoint:
    """The file of one training.

    Parameters
    ----------
    path : path-like
    parameters : dict
        What the epochs depend on of what the estimator was built with, JSON-able. A file that
        says more may be of this training too, where the rest matters to no epoch.
    defaults : mapping
        What they are in a file of a version that didn't have them.
    data : str
        Digest of what it is trained on.

    Attributes
    ----------
    found : tuple of dict and dict, or None
        What was saved last, as `save` took it.

    Raises
    ------
    TypeError
        If the path is none.
    ValueError
        If the path is that of a folder or lies in none, or there is a file which is no whole
        checkpoint, or one of other parameters or data.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        parameters: dict[str, Any],
        defaults: Mapping[str, Any],
        data: str,
    ) -> None:
        self.path = checkpoint_path(path)
        self.identity = {"parameters": parameters, "data": data}
        self._defaults = defaults
        self._lock: locks.Lock | None = None
        self._head: bytes | None = None  # of the file as it was read or written here
        self.found: tuple[dict[str, Any], dict[str, np.ndarray]] | None = None
        if self.path.exists():
            self.found = self._read()

    def _read(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        with open(self.path, "rb") as file:
            self._head, sha = file.read(_HEAD), hashlib.sha256()
            if self._head.startswith(_MAGIC):  # what is not ours may be of any size
                while part := file.read(1 << 20):
                    sha.update(part)
            if self._head != _MAGIC + sha.hexdigest().encode() + b"\n":
                raise ValueError(
                    f"checkpoint {str(self.path)!r} is not whole or no checkpoint of an estimator; "
                    "remove it to train from the beginning"
                )
            file.seek(_HEAD)
            body = file.read()
        with self.reading():
            arrays = _arrays(body)
            meta = json.loads(arrays.pop("meta").tobytes())
            identity, version = meta.pop("identity"), meta.pop("version", None)
            theirs, data = dict(identity["parameters"]), identity["data"]
            check_seed(meta["seed"])
        ours = json.loads(json.dumps(self.identity["parameters"]))
        known = {*ours, *self._defaults}
        wrong = [
            f"{name}={theirs.get(name, self._defaults.get(name))!r}, not {ours[name]!r}"
            for name in sorted(ours)
            if theirs.get(name, self._defaults.get(name)) != ours[name]
        ]
        wrong += [
            f"{name}={theirs[name]!r}, which this version doesn't know"
            for name in sorted({*theirs} - known)
        ]
        if wrong and version not in (None, __version__):
            wrong.append(f"version {version} of numba_rnn")
        if data != self.identity["data"]:
            wrong.append("other X or y")
        if wrong:
            raise ValueError(
                f"checkpoint {str(self.path)!r} must belong to the same training, but it was "
                f"written with {'; '.join(wrong)}. Remove it to train from the beginning"
            )
        return meta, arrays

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Say of whatever a file that is not ours leads to that the file can't be read."""
        try:
            yield
        except Exception as error:
            raise ValueError(
                f"checkpoint {str(self.path)!r} can't be read, remove it to train from the "
                f"beginning: {error}"
            ) from error

    def claim(self) -> None:
        """Be the only one who writes the file, until `release`.

        Raises
        ------
        OSError
            If it can't be written, or nothing else to its folder.
        RuntimeError
            If another training is about to write it.
        """
        try:
            atomic.check(self.path)
            self._lock = atomic.lock(self.path)
        except BlockingIOError:
            raise self._is_of_two() from None
        except OSError as error:
            words = f"checkpoint and its folder must be writable: {error.strerror}"
            raise OSError(error.errno, words, str(self.path)) from None
        try:
            self._check_unchanged()
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Let others write the file."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _check_unchanged(self) -> None:
        """Find out a second training where there are no locks: the file is not what it was."""
        try:
            with open(self.path, "rb") as file:
                head = file.read(_HEAD)
        except FileNotFoundError:  # its owner may remove it
            return
        if head != self._head:
            raise self._is_of_two()

    def _is_of_two(self) -> RuntimeError:
        return RuntimeError(
            f"checkpoint {str(self.path)!r} is being written by another training; wait for its "
            "end, or give each a file of its own"
        )

    def save(self, meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Put a state in the place of the last one, in one go.

        Raises
        ------
        OSError
            If the file can't be written.
        RuntimeError
            If another training has written it meanwhile.
        """
        self._check_unchanged()
        text = json.dumps(meta | {"identity": self.identity, "version": __version__}).encode()
        buffer = io.BytesIO()
        np.savez(buffer, meta=np.frombuffer(text, np.uint8), **arrays)
        body = buffer.getvalue()
        head = _MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n"
        atomic.write(self.path, head + body)
        self._head = head


def _arrays(body: bytes) -> dict[str, np.ndarray]:
    """Return the arrays of an .npz, which take no more memory than itself."""
    with zipfile.ZipFile(io.BytesIO(body)) as file:
        entries = file.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError("its arrays must not be compressed")
    if sum(entry.file_size for entry in entries) > len(body):
        raise ValueError("its arrays must not lie within one another")
    if any(e.filename == "meta.npy" and e.file_size > _LONGEST_TEXT for e in entries):
        raise ValueError(f"its text must not be longer than {_LONGEST_TEXT} bytes")
    names = {entry.filename for entry in entries}
    if len(names) != len(entries) or not all(name.endswith(".npy") for name in names):
        raise ValueError("its arrays must be .npy files, each with a name of its own")
    with zipfile.ZipFile(io.BytesIO(body)) as file:
        return {e.filename.removesuffix(".npy"): _array(e.filename, file.read(e)) for e in entries}


def _array(name: str, data: bytes) -> np.ndarray:
    """Return the array of an .npy, whose header says how large it is."""
    file, form = io.BytesIO(data), np.lib.format
    version = form.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"{name} must be of version 1.0 or 2.0 of its format, got {version}")
    read = form.read_array_header_1_0 if version == (1, 0) else form.read_array_header_2_0
    shape, _, dtype = read(file)
    size = math.prod(shape) * dtype.itemsize
    if not dtype.hasobject and size != len(data) - file.tell():  # or else memory would be asked for
        raise ValueError(f"{name} must have {size} bytes, got {len(data) - file.tell()}")
    file.seek(0)
    array: np.ndarray = form.read_array(file, allow_pickle=False)
    return array
