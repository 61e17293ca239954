"""Files that are there as a whole or not at all, whenever the process or the machine stops."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path


def write(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file beside its place, bring it to the disk and rename it, so that none is torn.

    What stood there before stays until the new file is complete. A symbolic link stays one.

    Raises
    ------
    OSError
        If the directory is missing or can't be written to, or the disk is full; what stood there
        is unchanged then.
    """
    place = Path(os.path.realpath(path))
    beside = place.with_name(f".numba_rnn-{secrets.token_hex(8)}.tmp")
    try:
        with open(beside, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, place)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()
        raise
    if os.name == "posix":  # the new name is an entry of the directory, which has a cache too
        directory = os.open(place.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
