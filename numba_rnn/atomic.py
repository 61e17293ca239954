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
        is unchanged then. It names the path that was given, not the new file beside it.
    """
    place = Path(os.path.realpath(path))
    beside = place.with_name(f".numba_rnn-{secrets.token_hex(8)}.tmp")
    try:
        with open(beside, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, place)
    except BaseException as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        if isinstance(error, OSError) and error.errno is not None:
            raise OSError(error.errno, error.strerror, os.fspath(path)) from None
        raise
    if os.name == "posix":  # the new name is an entry of the directory, which has a cache too
        directory = os.open(place.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
