"""Compiled kernels on disk: where they are kept, who is trusted to have written them.

Numba's own cache fails over a damaged file, reads from writable directories only, and unpickles
(so runs) whatever lies in them. Here an entry is one file, a checksum with the pickled result of
a compilation behind it. Its name has all that the code depends on: the kernel, the sources, the
types, the processor, the versions of Numba and Python, and Numba's settings. So nothing can be
stale, whatever time stamps say, and what two processes write at once is the same. Who writes an
entry removes what other versions and processes that were killed have left.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import re
import stat
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba import njit, types
from numba.core import config
from numba.core.caching import NullCache
from numba.core.ccallback import CFunc
from numba.core.compiler import CompileResult
from numba.core.runtime import rtsys
from numba.core.serialize import dumps
from numba.misc.appdirs import AppDirs

from .. import __version__

CHECKSUM = hashlib.sha256
CHECKSUM_BYTES = CHECKSUM().digest_size
DAY = 86400  # seconds
# How long an entry of other sources stays that nobody reads, and a file that was not finished.
UNUSED, UNFINISHED = 30 * DAY, DAY / 24
# Of Numba's settings (NUMBA_BOUNDSCHECK and others) those that make other code of the same source.
SETTINGS = (
    "BOUNDSCHECK", "DEBUGINFO_DEFAULT", "DEBUG_ARRAY_OPT_RUNTIME", "EXTEND_VARIABLE_LIFETIMES",
    "LOOP_VECTORIZE", "OPT", "SLP_VECTORIZE",
)  # fmt: skip
_warned = False
_tidied: set[Path] = set()


def jitted(function: Callable, name: str, **options: Any) -> Callable:
    """Compile a function when it is called, as `numba.njit` does."""
    function.__qualname__ = name  # the symbols in the code have it in their names
    dispatcher = njit(**options)(function)
    dispatcher._cache = DiskCache(name)
    return dispatcher


def callback(function: Callable, name: str, kinds: list[types.Type], **options: Any) -> CFunc:
    """Compile a function of these types that returns nothing, as `numba.cfunc` does."""
    function.__qualname__ = name
    compiled = CFunc(function, (tuple(kinds), types.void), locals={}, options=options)
    compiled._cache = DiskCache(name)
    compiled.compile()
    return compiled


class DiskCache(NullCache):
    """What Numba asks before it compiles a function, and gives the result to."""

    def __init__(self, name: str) -> None:
        self._name = name

    def load_overload(self, sig: Any, target_context: Any) -> CompileResult | None:
        # Finished code needs Numba's runtime alone. `refresh` would import what Numba compiles
        # with, and SciPy too, which takes longer than to load all kernels.
        rtsys.initialize(target_context)
        name = self._file_name(sig, target_context.codegen())
        for directory in places():
            payload = _read(directory, name)
            if payload is not None:
                try:
                    return CompileResult._rebuild(target_context, *pickle.loads(payload))
                except Exception:  # whole, yet of no use here: compiled again and replaced
                    return None
            if _can_write(directory):  # here it will be kept; what lies further on is not asked
                return None
        return None

    def save_overload(self, sig: Any, data: CompileResult) -> None:
        if data.library.has_dynamic_globals:  # addresses of this process, with NUMBA_OPT=0
            return
        name = self._file_name(sig, data.codegen)
        payload = dumps(data._reduce())
        failures, kept = [], None
        for directory in places():
            try:
                _write(directory, name, CHECKSUM(payload).digest() + payload)
                kept = directory
                _tidy(directory)
                break
            except OSError as error:
                failures.append(_why_not(directory, name, error))
        # Without NUMBA_CACHE_DIR one place is as good as another.
        if kept is None or (failures and config.CACHE_DIR):
            _warn(failures, kept)

    def _file_name(self, sig: Any, codegen: Any) -> str:
        key = (
            str(sig), codegen.magic_tuple(), numba.__version__, llvmlite.__version__,
            sys.implementation.cache_tag, getattr(sys, "abiflags", ""),
            [getattr(config, setting, None) for setting in SETTINGS],
        )  # fmt: skip
        digest = hashlib.sha256(repr(key).encode()).hexdigest()[:24]
        return f"{self._name}-{DIGEST}-{digest}.nbc"


def _digest() -> str:
    """Digest of the sources of all kernels, or of what there is in their place.

    With it in the name of every entry, code of another version of this package can't be found.
    """
    digest = hashlib.sha256(__version__.encode())
    try:
        files = sorted(resources.files(__package__).iterdir(), key=lambda file: file.name)
    except OSError:  # an application in one file may have modules only
        files = []
    for suffix in (".py", ".pyc"):
        found = [file for file in files if file.name.endswith(suffix)]
        for file in found:
            digest.update(file.read_bytes())
        if found:
            break
    return digest.hexdigest()[:16]


DIGEST = _digest()


# --- where ----------------------------------------------------------------------------------------


def places() -> list[Path]:
    """Directories for entries, the best first; each is ours alone, inside one that may not be."""
    parents = [config.CACHE_DIR] if config.CACHE_DIR else []
    here = os.path.dirname(os.path.abspath(__file__))
    if os.path.isdir(here):  # not in a zip file, not frozen
        parents.append(os.path.join(here, "__pycache__"))
    of_user = AppDirs(appname="numba", appauthor=False).user_cache_dir
    if os.path.isabs(of_user):  # a user without a home has "~"
        parents.append(of_user)
    return [Path(os.path.abspath(parent), "numba_rnn") for parent in parents]


def _can_write(directory: Path) -> bool:
    """Whether entries can be written to a directory, which may have to be made first."""
    if _distrust(directory):
        return False
    there = next((path for path in (directory, *directory.parents) if os.path.exists(path)), None)
    effective = os.access in os.supports_effective_ids
    return there is not None and os.access(there, os.W_OK | os.X_OK, effective_ids=effective)


def _why_not(directory: Path, name: str, error: OSError) -> str:
    """Say why an entry can't be kept in a directory."""
    distrust = _distrust(directory) or _distrust(directory / name)
    if distrust:
        return f"{distrust}: what lies there is run as code, so it must be writable by you alone"
    if os.path.isdir(directory) and not _can_write(directory):
        if os.access(directory, os.R_OK | os.X_OK):
            return (
                f"{directory} can be read but not written to, and what is needed is not in it: "
                f"nr.warmup(), run by a user that can write to it, fills it"
            )
        return f"{directory} can't be read or written to by this user"
    return f"{directory} can't be written to ({error.strerror or error})"


def _warn(failures: list[str], kept: Path | None) -> None:
    global _warned
    if _warned:
        return
    _warned = True
    if kept is None:
        end = (
            "each process compiles them again, which takes seconds. Set NUMBA_CACHE_DIR to a "
            "directory that is writable by you alone"
        )
    else:
        end = f"they are kept in {kept}, not where NUMBA_CACHE_DIR says"
    reasons = "; ".join(failures) or "there is no directory for them"
    warnings.warn(
        f"compiled kernels can't be kept on disk as they should be: {reasons}. So {end}",
        RuntimeWarning,
        stacklevel=2,
    )


# --- whose ----------------------------------------------------------------------------------------


class _Distrusted(PermissionError):
    """A directory or file that another user could have written."""


def _distrust(path: Path, status: os.stat_result | None = None) -> str | None:
    """Say why what lies at a path may be another user's, None where it can't be, or isn't there.

    As ssh has it: it must belong to this user or to root, and nobody else may write to it, no
    group either. The directories above don't count: who can write to those can put something
    else in its place, which is theirs then and refused.
    """
    if not hasattr(os, "geteuid"):  # Windows: such directories are in the user's profile
        return None
    try:
        status = os.stat(path) if status is None else status
    except OSError:
        return None
    if status.st_uid not in (0, os.geteuid()):
        return f"{path} belongs to another user (uid {status.st_uid})"
    if status.st_mode & 0o022:
        return f"{path} can be written to by other users (its mode is {status.st_mode & 0o777:o})"
    return None


def _readers() -> int:
    """Return who may read what is ours: what root wrote is for all, as all trust it."""
    return 0o055 if hasattr(os, "geteuid") and os.geteuid() == 0 else 0


# --- files ----------------------------------------------------------------------------------------


def _read(directory: Path, name: str) -> bytes | None:
    """Return what is in an entry; None where there is none, or none whole, or not to be trusted."""
    if _distrust(directory):
        return None
    path = directory / name
    try:
        with open(path, "rb") as file:
            if _distrust(path, os.fstat(file.fileno())):
                return None
            contents = file.read()
    except OSError:
        return None
    payload = contents[CHECKSUM_BYTES:]
    return payload if CHECKSUM(payload).digest() == contents[:CHECKSUM_BYTES] else None


def _write(directory: Path, name: str, contents: bytes) -> None:
    """Put an entry in its place as a whole; OSError where that can't be done."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    try:
        directory.mkdir(mode=0o700)
        if _readers():
            directory.chmod(0o700 | _readers())
    except FileExistsError:
        distrust = _distrust(directory)
        if distrust:
            raise _Distrusted(distrust) from None
    handle, beside = tempfile.mkstemp(dir=directory, prefix=f"{name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(contents)
        if _readers():
            os.chmod(beside, 0o600 | _readers() & 0o044)
        os.replace(beside, directory / name)
    except BaseException as error:
        os.unlink(beside)
        # Windows doesn't replace what another process reads; the entry is as good as this one.
        if not isinstance(error, PermissionError) or _read(directory, name) is None:
            raise


_OURS = re.compile(r".+-(?P<digest>[0-9a-f]{16})-[0-9a-f]{24}\.nbc(?P<unfinished>\..+\.tmp)?")


def _tidy(directory: Path) -> None:
    """Remove what nobody needs any more, once in a process; what can't be removed stays.

    That is what processes left that were killed as they wrote, and entries of other sources which
    nobody has read for a month. Should somebody need one after all, it is compiled again.
    """
    if directory in _tidied:
        return
    _tidied.add(directory)
    with contextlib.suppress(OSError), os.scandir(directory) as files:
        for file in files:
            with contextlib.suppress(OSError):
                if _is_left_over(file.name, file.stat(follow_symlinks=False)):
                    os.unlink(file.path)


def _is_left_over(name: str, status: os.stat_result) -> bool:
    """Whether a file is one of ours that nobody needs any more."""
    found = _OURS.fullmatch(name)
    if found is None or not stat.S_ISREG(status.st_mode):
        return False
    if hasattr(os, "geteuid") and status.st_uid != os.geteuid():
        return False
    now = time.time()
    if found["unfinished"]:
        return now - status.st_mtime > UNFINISHED
    # Where the system doesn't note when a file is read, it is the time when it was written.
    last = max(status.st_atime, status.st_mtime)
    return found["digest"] != DIGEST and now - last > UNUSED
