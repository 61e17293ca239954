"""What of the documentation site can be seen without building it."""

import re
from pathlib import Path

import pytest

import numba_rnn as nr

DOCS = Path(__file__).parents[1] / "docs"
# Modules are described by what is in them. The list of checks that fail is empty, and says so.
NOT_LISTED = {"EXPECTED_FAILED_CHECKS", "Optimizer", *nr._MODULES}


def listed():
    """Return the names in the reference's tables, with their modules."""
    found, module = set(), None
    for line in (DOCS / "reference" / "index.md").read_text(encoding="utf-8").splitlines():
        if match := re.match(r"\.\. currentmodule:: (\S+)", line):
            module = match[1]
        elif match := re.match(r"   (\w+)$", line):
            found.add((module, match[1]))
    return found


@pytest.mark.parametrize("module", ["", *nr._MODULES])
def test_the_reference_has_every_public_name(module):
    value = getattr(nr, module) if module else nr
    full = f"numba_rnn.{module}" if module else "numba_rnn"
    names = {name for name in value.__all__ if name not in NOT_LISTED}
    assert names == {name for where, name in listed() if where == full}


def test_every_page_is_in_a_table_of_contents():
    """Sphinx warns of it too, but only where the site is built."""
    pages = {path.relative_to(DOCS).with_suffix("") for path in DOCS.glob("**/*.md")}
    pages = {page for page in pages if "_build" not in page.parts}
    found = {Path("index")}
    for path in DOCS.glob("**/*.md"):
        for tree in re.findall(r"```\{toctree\}\n(.*?)```", path.read_text("utf-8"), re.DOTALL):
            for entry in tree.split():
                if not entry.startswith(":"):
                    there = (path.parent / entry).resolve().relative_to(DOCS.resolve())
                    found.add(there)
    assert pages == found
