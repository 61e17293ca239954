"""Every snippet in the documents runs, and docstrings name the arguments that there are."""

import doctest
import importlib.util
import inspect
import os
import pkgutil
import re
import textwrap
from pathlib import Path

import pytest

import numba_rnn as nr

ROOT = Path(__file__).parents[1]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md"))]
FENCED = re.compile(r"^([ \t]*)```python[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)


def snippets(path):
    """Return the line a snippet starts on and its code, one after the other."""
    text = path.read_text(encoding="utf-8")
    found = []
    for match in FENCED.finditer(text):
        line = text.count("\n", 0, match.start(2))
        found.append((line, textwrap.dedent(match[2])))
    return found


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_snippets_run(path, tmp_path, monkeypatch):
    """Those of one document share their names, as a reader would type them."""
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    for line, code in snippets(path):
        # Blank lines in front: a traceback shows the line of the document.
        exec(compile("\n" * line + code, os.fspath(path), "exec"), names)


def test_snippets_are_found(tmp_path):
    path = tmp_path / "page.md"
    path.write_text(
        "a\n```python\nx = 1\n```\n```sh\nls\n```\n- b\n  ```python\n  if x:\n      y = 2\n  ```\n"
    )
    assert [code for _, code in snippets(path)] == ["x = 1\n", "if x:\n    y = 2\n"]
    assert [line for line, _ in snippets(path)] == [2, 9]


LINK = re.compile(r"\]\(([^)#\s]*)(#[^)\s]*)?\)")


def headings(path):
    """Return the anchors of a document's headings."""
    titles = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {"#" + re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    links = LINK.findall(path.read_text(encoding="utf-8"))
    for target, anchor in links:
        if target.startswith("https://"):
            continue
        to = path.parent / target if target else path
        assert to.exists(), target
        assert not anchor or anchor in headings(to), target + anchor
    assert links or path.name not in ("README.md", "serving.md", "SECURITY.md")


MODULES = [m.name for m in pkgutil.walk_packages(nr.__path__, "numba_rnn.")]
if importlib.util.find_spec("numba_cuda") is None:  # which the CUDA backend can't be without
    of_cuda = ("numba_rnn.cuda", "numba_rnn.tools.check_cuda")
    MODULES = [name for name in MODULES if not name.startswith(of_cuda)]
for other in ("aeon", "sktime"):  # whose adapters can't be without them
    if importlib.util.find_spec(other) is None:
        MODULES.remove(f"numba_rnn.{other}")
if not all(map(importlib.util.find_spec, ("dask", "pyarrow"))):  # which the examples are with
    MODULES = [name for name in MODULES if not name.startswith("numba_rnn.dask")]


@pytest.mark.parametrize("name", ["numba_rnn", *MODULES])
def test_docstring_examples_run(name, request):
    if name == "numba_rnn.export.torch":
        request.getfixturevalue("torch")  # its examples make torch's modules
    module = importlib.import_module(name)
    assert doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE).failed == 0


def test_docstring_examples_are_found():
    finder = doctest.DocTestFinder()
    found = [t for name in MODULES for t in finder.find(importlib.import_module(name))]
    assert sum(bool(test.examples) for test in found) >= 20


def public_objects():
    """Yield name and object of all that is public, methods included."""
    modules = {"nr": nr}
    for name in nr._MODULES:
        modules[name] = getattr(nr, name)
    for prefix, module in modules.items():
        names = getattr(module, "__all__", None) or [n for n in vars(module) if n[0] != "_"]
        for name in names:
            value = getattr(module, name)
            own = getattr(value, "__module__", "")  # a dict has none
            if inspect.ismodule(value) or not own.startswith("numba_rnn"):
                continue
            yield f"{prefix}.{name}", value
            if inspect.isclass(value):
                for key, member in inspect.getmembers(value):
                    own = getattr(member, "__module__", "") or ""
                    wanted = not key.startswith("_") or key == "__call__"
                    if wanted and inspect.isfunction(member) and own.startswith("numba_rnn"):
                        yield f"{prefix}.{name}.{key}", member


def section(docstring, title):
    """Return the names that a section of a numpydoc docstring describes, None without it."""
    lines = inspect.cleandoc(docstring).splitlines()
    try:
        start = lines.index(title) + 2
    except ValueError:
        return None
    names = []
    for line, following in zip(lines[start:], [*lines[start + 1 :], ""], strict=True):
        if set(following) == {"-"}:
            break
        if line and not line.startswith(" "):
            names += [name.strip().lstrip("*") for name in line.split(" : ")[0].split(",")]
    return names


OBJECTS = dict(public_objects())


@pytest.mark.parametrize("name", OBJECTS)
def test_docstring_names_the_arguments(name):
    value = OBJECTS[name]
    assert value.__doc__, "no docstring"
    described = section(value.__doc__, "Parameters")
    try:
        signature = inspect.signature(value)
    except ValueError:
        return
    arguments = [p for p in signature.parameters if p not in ("self", "cls")]
    if described is not None:
        assert described == arguments
    elif name.count(".") == 1:  # a method may leave a plain argument or its twin's to a sentence
        assert not arguments or not callable(value)


@pytest.mark.parametrize("name", [n for n in OBJECTS if n.count(".") == 1])
def test_docstring_has_an_example(name):
    if name == "optim.Optimizer":  # the base of the others, not for use
        return
    assert ">>> " in OBJECTS[name].__doc__


@pytest.mark.parametrize("name", OBJECTS)
def test_annotations(name):
    """Type hints on everything public."""
    value = OBJECTS[name]
    function = value.__init__ if inspect.isclass(value) else value
    if function is object.__init__:
        function = value.__new__
    hints = getattr(function, "__annotations__", {})
    for argument in inspect.signature(value).parameters.values():
        if argument.name not in ("self", "cls"):
            assert argument.name in hints, argument.name
