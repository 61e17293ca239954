"""Python in a process of its own, for what a process can do or be only once."""

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent


def environment(**variables):
    """Return the environment of a process that can import what tests can.

    A variable that is None is taken out.
    """
    path = os.pathsep.join(p for p in (str(TESTS), os.environ.get("PYTHONPATH")) if p)
    both = os.environ | {"PYTHONPATH": path} | variables
    return {name: str(value) for name, value in both.items() if value is not None}


def python(code, cwd=None, **variables):
    """Run code where warnings are errors, with environment variables; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=environment(**variables), cwd=cwd, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout
