"""Files that are there as a whole or not at all, whenever the process or the machine stops.

A new file is written beside its place, brought to the disk and renamed. What is beside has a name
that its place can be told from, and is locked while it is written, so that what a killed process
left can be told and removed by the next one that writes to that place.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import stat
import time
from pathlib import Path
from typing import BinaryIO

from . import locks

_A_DAY = 24 * 3600


def write(path: str | os.PathLike[str], data: bytes) -> None:
    """Put a file in its place, in one go, so that none is torn.

    What stood there before stays until the new file is complete; the new one has its permissions,
    and its owner and group where the process may say so, or else no more rights than with those. A
    symbolic link stays one. What is no file but a pipe or a device is written to as it is.

    Raises
    ------
    OSError
        If the directory is missing or can't be written to, the file may not be written to, or the
        disk is full; what stood there is unchanged then. It names the path that was given, not the
        new file beside it.
    """
    given = os.fspath(path)
    before = check(given)
    if (before and not stat.S_ISREG(before.st_mode)) or _is_descriptor(given):
        with open(given, "wb") as file:
            file.write(data)
        return
    place = Path(os.path.realpath(given))
    _remove_abandoned(place)
    new = None
    try:
        with _beside(place, 0o600 if before else 0o666) as file:
            new = Path(file.name)
            if before:
                _make_alike(file.fileno(), before)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            if os.name == "posix":  # while it is locked
                os.replace(new, place)
        if os.name != "posix":  # Windows renames no open file
            os.replace(new, place)
    except BaseException as error:
        if new is not None:
            with contextlib.suppress(OSError):
                new.unlink()
        if isinstance(error, OSError) and error.errno is not None:
            raise OSError(error.errno, error.strerror, given) from None
        raise
    if os.name == "posix":  # the new name is an entry of the directory, which has a cache too
        directory = os.open(place.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def check(path: str | os.PathLike[str]) -> os.stat_result | None:
    """Return what is known of a file that may be replaced, or None where there is none.

    Raises
    ------
    OSError
        If it is a folder, or may not be written to.
    """
    given = os.fspath(path)
    try:
        found = os.stat(given)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), given)
    if stat.S_ISREG(found.st_mode):
        open(given, "r+b").close()  # a renaming would not ask
    return found


def lock(path: str | os.PathLike[str]) -> locks.Lock:
    """Lock the place of a file by another one beside it, which needs a folder to write to."""
    place = Path(os.path.realpath(path))
    return locks.Lock(place.with_name(f"{_prefix(place)}.lock"))


def _prefix(place: Path) -> str:
    """What names of files beside a place begin with; names that are long leave no room for more."""
    return f".numba_rnn-{hashlib.sha256(os.fsencode(place.name)).hexdigest()[:16]}"


def _is_descriptor(path: str) -> bool:
    """Whether a path such as /dev/stdout stands for a file that the process has open already."""
    return os.path.islink(path) and os.path.abspath(path).startswith(("/dev/", "/proc/"))


def _beside(place: Path, mode: int) -> BinaryIO:
    """Open a new file beside a place, locked where there are locks."""
    while True:
        name = place.with_name(f"{_prefix(place)}-{secrets.token_hex(8)}.tmp")
        file = open(name, "xb", opener=lambda path, flags: os.open(path, flags, mode))
        if locks.hold(file.fileno()) is not False and locks.is_at(file.fileno(), name):
            return file
        file.close()  # it was taken for an abandoned one before it was locked


def _make_alike(file: int, before: os.stat_result) -> None:
    """Give a new file owner, group and permissions of the one that it replaces."""
    if not hasattr(os, "fchown"):  # Windows
        return
    mode = before.st_mode & 0o777
    try:
        os.fchown(file, -1, before.st_gid)
    except OSError:  # another group gets what all may do, and no more
        mode &= 0o707 | (mode & 0o007) << 3
    with contextlib.suppress(OSError):
        os.fchown(file, before.st_uid, -1)
    with contextlib.suppress(OSError):  # of a file system without permissions
        os.fchmod(file, mode)


def _remove_abandoned(place: Path) -> None:
    """Remove what processes that were killed have left beside a place."""
    beginning = f"{_prefix(place)}-"
    with contextlib.suppress(OSError), os.scandir(place.parent) as entries:
        for entry in entries:
            if entry.name.startswith(beginning) and entry.name.endswith(".tmp"):
                with contextlib.suppress(OSError):
                    _remove_if_abandoned(entry.path)


def _remove_if_abandoned(path: str) -> None:
    file = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    try:
        held = locks.hold(file)
        age = time.time() - os.fstat(file).st_mtime
        if held:
            os.unlink(path)
    finally:
        os.close(file)
    if held is None and age > _A_DAY:  # without locks age alone tells
        os.unlink(path)
