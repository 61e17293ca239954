"""Whether this process is a fork: a thread pool does not live on in a child."""

import os

_PID = os.getpid()  # of the process that imported the package


def is_child() -> bool:
    """Whether this process is a child of the one that imported the package."""
    return os.getpid() != _PID
