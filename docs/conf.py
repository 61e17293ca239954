"""Sphinx settings. Pages are executed while they are built; one that fails fails the build."""

import re
from importlib.metadata import version as installed
from typing import Any

project = "numba_rnn"
author = "The numba_rnn developers"
copyright = author
release = version = installed("numba_rnn")

extensions = ["myst_nb", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.autosummary"]
exclude_patterns = ["_build", "**.ipynb_checkpoints"]
templates_path = ["_templates"]

# pages
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "force"  # a cache would not see that the package has changed
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_execution_timeout = 300  # seconds a cell
nb_merge_streams = True
nb_output_stderr = "remove"  # progress bars and notes of other libraries

# reference, from the docstrings
autosummary_generate = True
autodoc_typehints = "none"  # numpydoc's sections have the types, with shapes
autodoc_inherit_docstrings = True
numpydoc_show_class_members = False  # _templates/autosummary/class.rst lists them
numpydoc_class_members_toctree = False

# appearance
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme = "pydata_sphinx_theme"
html_title = f"numba_rnn {release}"
html_theme_options = {
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
}
html_sidebars = {"performance": [], "gpu": []}
html_show_sourcelink = False

NAME = re.compile(r"(?<![`*:.\w])((?:\w+\.)*[a-z]\w*_)(?![`\w{])")


def leave_out(app: Any, what: str, name: str, value: Any, skip: bool, options: Any) -> bool:
    """Leave out what scikit-learn brings along: its own site describes that."""
    return skip or (getattr(value, "__module__", None) or "numba_rnn").split(".")[0] == "sklearn"


def quote(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Quote names like y_scale_, which are links in reStructuredText and plain in a terminal."""
    for i, line in enumerate(lines):
        parts = line.split("``")  # every second one is quoted already
        parts[::2] = [re.sub(NAME, r"``\1``", part) for part in parts[::2]]
        lines[i] = "``".join(parts)


def setup(app: Any) -> None:
    """Have Sphinx call the two."""
    app.connect("autodoc-skip-member", leave_out)
    app.connect("autodoc-process-docstring", quote, priority=900)  # after numpydoc
