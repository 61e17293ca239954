"""Training kept on disk: a file that is always whole, and says what it belongs to.

A file is a line with the SHA-256 of the rest, and the rest an .npz: arrays, and one of JSON text.
`numba_rnn.atomic` puts it in the place of the last one, which stays whole until then.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from typing import Any

import numpy as np

from .. import atomic, validation

_MAGIC = b"numba_rnn checkpoint 1 "


def digest(*arrays: np.ndarray) -> str:
    """SHA-256 of arrays with their shapes and dtypes."""
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(f"{array.dtype.str} {array.shape};".encode())
        sha.update(np.ascontiguousarray(array).data if array.size else b"")
    return sha.hexdigest()


class Checkpoint:
    """The file of one training.

    Parameters
    ----------
    path : path-like
    parameters : dict
        What the estimator was built with, JSON-able.
    data : str
        Digest of what it is trained on.

    Raises
    ------
    TypeError
        If the path is none.
    ValueError
        If the path is that of a folder or lies in none, or there is a file which is no whole
        checkpoint, or one of other parameters or data.
    """

    def __init__(self, path: str | os.PathLike[str], parameters: dict[str, Any], data: str) -> None:
        self.path = validation.path("checkpoint", path)
        if self.path.is_dir():
            raise ValueError(f"checkpoint must be a file, got the folder {str(self.path)!r}")
        if not self.path.parent.is_dir():
            raise ValueError(
                f"checkpoint must lie in a folder that is there, got {str(self.path)!r}"
            )
        self.identity = {"parameters": parameters, "data": data}
        self.found: tuple[dict[str, Any], dict[str, np.ndarray]] | None = None
        if self.path.exists():
            self.found = self._read()

    def _read(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        content = self.path.read_bytes()
        head, _, body = content.partition(b"\n")
        whole = head == _MAGIC + hashlib.sha256(body).hexdigest().encode()
        if not whole:
            raise ValueError(
                f"checkpoint {str(self.path)!r} is not whole or no checkpoint of an estimator; "
                "remove it to train from the beginning"
            )
        try:
            with np.load(io.BytesIO(body), allow_pickle=False) as file:
                arrays = dict(file)
            meta = json.loads(arrays.pop("meta").tobytes())
            identity = meta.pop("identity")
        except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"checkpoint {str(self.path)!r} can't be read, remove it to train from the "
                f"beginning: {error}"
            ) from error
        theirs, ours = identity["parameters"], json.loads(json.dumps(self.identity["parameters"]))
        wrong = [
            f"{name}={theirs.get(name)!r}, not {ours.get(name)!r}"
            for name in sorted({*theirs, *ours})
            if theirs.get(name) != ours.get(name)
        ]
        if identity["data"] != self.identity["data"]:
            wrong.append("other X or y")
        if wrong:
            raise ValueError(
                f"checkpoint {str(self.path)!r} must belong to the same training, but it was "
                f"written with {'; '.join(wrong)}. Remove it to train from the beginning"
            )
        return meta, arrays

    def save(self, meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Put a state in the place of the last one, in one go."""
        text = json.dumps(meta | {"identity": self.identity}).encode()
        buffer = io.BytesIO()
        np.savez(buffer, meta=np.frombuffer(text, np.uint8), **arrays)
        body = buffer.getvalue()
        atomic.write(self.path, _MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
