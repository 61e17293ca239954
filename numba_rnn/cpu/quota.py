"""How many processors a control group lets this process use: containers are limited by quotas.

A process with two threads under a quota of one processor is stopped for the rest of a period as
soon as both together have used it up, so that some calls take many times as long as others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ROOT, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def processors(root: Path = ROOT, own: Path = OWN) -> int | None:
    """Return the least quota of the groups that this process is in, rounded up; None without one.

    Parameters
    ----------
    root : Path
        Where the groups are mounted, those of version 2 and of version 1.
    own : Path
        A file that names the process' groups.
    """
    try:
        lines = own.read_text().splitlines()
    except OSError:  # no Linux
        return None
    least = math.inf
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if not controllers:
            mounted, quota = (root, root / "unified"), _version_2
        elif "cpu" in controllers.split(","):
            mounted, quota = (root / controllers, root / "cpu"), _version_1
        else:
            continue
        for place in mounted:
            for folder in _upwards(place, group):
                least = min(least, quota(folder))
    return max(1, math.ceil(least)) if least < math.inf else None


def _upwards(mounted: Path, group: str) -> Iterator[Path]:
    """Folders of a group and of all that it is in. A container sees its own group as the root."""
    path = PurePosixPath(group.lstrip("/"))
    if ".." in path.parts:  # of a group outside what is mounted here
        path = PurePosixPath()
    for part in (path, *path.parents):
        yield mounted / part


def _version_2(folder: Path) -> float:
    try:
        quota, period = (folder / "cpu.max").read_text().split()
        return math.inf if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf


def _version_1(folder: Path) -> float:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        return quota / int((folder / "cpu.cfs_period_us").read_text()) if quota > 0 else math.inf
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf
