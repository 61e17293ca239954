"""Versions: what pyproject.toml asks for, and the list of the oldest ones that CI runs with."""

import importlib
import re
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import numba_rnn as nr

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
FOR_USERS = ("sklearn", "files", "onnx", "dask", "examples", "aeon", "sktime")


def requirements(*extras):
    """Return what extras ask for, but for each other."""
    lines = [line for extra in extras for line in PROJECT["optional-dependencies"][extra]]
    return [r for r in map(Requirement, lines) if r.name != PROJECT["name"]]


def floor(requirement):
    """Return the version that a requirement starts from, None without one."""
    found = [s.version for s in requirement.specifier if s.operator == ">="]
    return found[0] if found else None


def oldest():
    lines = (ROOT / "tests" / "oldest.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert all([s.operator for s in pin.specifier] == ["=="] for pin in pins)
    return {pin.name: next(iter(pin.specifier)).version for pin in pins}


def test_what_a_user_gets_has_a_floor():
    wanted = [*map(Requirement, PROJECT["dependencies"]), *requirements(*FOR_USERS)]
    assert len(wanted) >= 10
    assert [str(r) for r in wanted if floor(r) is None] == []


def test_the_oldest_versions_are_the_floors():
    """The CUDA toolchain is left out: its tests are not of those that CI runs with the oldest."""
    wanted = [*map(Requirement, PROJECT["dependencies"]), *requirements(*FOR_USERS, "test")]
    floors = {r.name: floor(r) for r in wanted if r.name != "numba-cuda"}
    pins = oldest()
    assert {name: v for name, v in floors.items() if v} == {
        name: v for name, v in pins.items() if name in floors
    }


@pytest.mark.parametrize("name", ["aeon", "sktime"])
def test_adapters_say_what_they_need(name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, f"numba_rnn.{name}", raising=False)
    words = f"numba_rnn.{name} needs {name}, which is not installed: pip install {name}"
    with pytest.raises(ModuleNotFoundError, match=words):
        importlib.import_module(f"numba_rnn.{name}")


def test_the_oldest_python_is_a_tested_one():
    (python,) = re.findall(r"^>=(3\.\d+)$", PROJECT["requires-python"])
    named = [c for c in PROJECT["classifiers"] if re.search(r"Python :: 3\.\d+$", c)]
    assert f"Programming Language :: Python :: {python}" in named
    assert f"Python {python}," in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_citation_is_of_this_version():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    fields = dict(re.findall(r"^([\w-]+): *(.+)$", text, re.MULTILINE))
    assert fields["cff-version"] == "1.2.0"
    assert fields["version"] == nr.__version__
    assert PROJECT["license"].startswith(fields["license"])


CI = ROOT / ".ci" / "run"


@pytest.mark.skipif(not CI.exists(), reason="only the repository has it, the sdist does not")
def test_ci_names_files_that_are_there():
    lists = dict(re.findall(r"^(\w+)=\(([^)]+)\)$", CI.read_text(encoding="utf-8"), re.MULTILINE))
    assert list(lists) == ["THREADS", "GENERIC", "OLDEST", "NEWER"]
    for names in lists.values():
        for name in names.split():
            assert (ROOT / "tests" / f"test_{name}.py").exists(), name
