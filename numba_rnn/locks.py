"""Locks on files: they end with the process that holds them, however it ends."""

from __future__ import annotations

import contextlib
import os
import weakref
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


def hold(file: int) -> bool | None:
    """Lock an open file until it is closed.

    Returns
    -------
    bool or None
        False where somebody else holds it, None where the system or the file system has no locks.
    """
    if fcntl is None:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def is_at(file: int, path: str | os.PathLike[str]) -> bool:
    """Whether an open file is the one that a path names."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False


class Lock:
    """A file that is there for its lock alone; it is removed in the end.

    One that a process left when it was killed is locked by nobody, and is taken over.

    Raises
    ------
    BlockingIOError
        If somebody else holds it.
    OSError
        If the file can't be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        while True:
            self._file: int | None = os.open(path, flags, 0o666)
            held = hold(self._file)
            if held is not False and is_at(self._file, path):
                break
            self._close()  # it is somebody else's, or was until a moment ago
            if held is False:
                raise BlockingIOError(f"{path} is locked")
        _locks.add(self)

    def release(self) -> None:
        """Let others have it."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                if fcntl is None:  # Windows removes no open file
                    self._close()
                self.path.unlink()
            self._close()

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


_locks: weakref.WeakSet[Lock] = weakref.WeakSet()


def _close_in_child() -> None:
    """Children have the open file too, and would hold the lock on when the parent is gone."""
    for lock in list(_locks):
        lock._close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)
