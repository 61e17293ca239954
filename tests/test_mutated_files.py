"""Files of models and checkpoints that were altered: the same comes out of them, or a ValueError.

NUMBA_RNN_MUTATED_FILES asks for another number of files, 10000 say, than the 600 of the suite. The
file of a failure is read alone by ``python tests/mutations.py KIND NUMBER 1``.
"""

import json
import os
import subprocess
import sys

import pytest
from processes import TESTS, at_once, chosen, environment

pytest.importorskip("safetensors")
if sys.platform == "win32":
    pytest.skip("a timer ends what hangs", allow_module_level=True)

COUNT = int(os.environ.get("NUMBA_RNN_MUTATED_FILES", 600)) // 2
KINDS = ("models", "checkpoints")


def read(kind):
    """Let a process read so many; return how many were what."""
    done = subprocess.run(
        [sys.executable, str(TESTS / "mutations.py"), kind, "0", str(COUNT)],
        env=environment(), capture_output=True, text=True, timeout=300 + COUNT,
    )  # fmt: skip
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def found(request):
    kinds = chosen(request, "test_what_comes_of_altered_files")
    with at_once({kind: lambda kind=kind: read(kind) for kind in sorted(kinds)}) as wait:
        yield wait


@pytest.mark.parametrize("kind", KINDS)
def test_what_comes_of_altered_files(kind, found):
    counts = found(kind)
    assert sum(counts.values()) == COUNT
    assert set(counts) == {"refused", "the same", "another"}  # or else little was tried
