"""How the site is built: `sphinx-build -W -n docs site`. Pages are Markdown; the reference is made from the code."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from agegender.settings import VERSION

project = "agegender"
author = "the authors of agegender"
copyright = f"2026, {author}"
version = release = VERSION

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc"]
exclude_patterns = ["_build"]
# Names of the library stand in single backticks in its docstrings.
default_role = "code"

html_theme = "furo"
html_title = "agegender"
html_copy_source = False
html_show_sphinx = False
html_static_path = ["_static"]
html_css_files = ["site.css"]

# Notebooks show what is stored in them; tests/test_notebooks.py runs them.
nb_execution_mode = "off"
# Links to headings, as GitHub has them.
myst_heading_anchors = 4

autosummary_generate = False
autodoc_typehints = "none"  # numpydoc's sections say them in words
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
numpydoc_show_class_members = False
# Names of other packages are not looked up: the site is built without a network.
nitpick_ignore_regex = [(r"py:.*", r"(?!agegender).*")]


def setup(app: Any) -> None:
    """Have what the theme leaves out for people who use a keyboard or hear the page added to every page."""
    app.connect("html-page-context", _complete, priority=900)
    app.connect("build-finished", _add_example)


def _add_example(app: Any, error: Exception | None) -> None:
    if error is None:  # the report from drawn faces, as it lies in the repository
        pages = Path(app.srcdir).parent / "reports" / "example"
        shutil.copytree(pages, Path(app.outdir) / "example", dirs_exist_ok=True)


def _complete(_app: Any, _page: str, _template: str, context: dict[str, Any], _tree: Any) -> None:
    if "body" in context:  # code and tables that are wider than the page can be scrolled by keyboard
        body = context["body"].replace("<pre>", '<pre tabindex="0">')
        context["body"] = body.replace('<div class="output text_html">', '<div class="output text_html" tabindex="0">')
    tree = context.get("furo_navigation_tree", "")
    context["furo_navigation_tree"] = tree.replace('role="heading"', 'role="heading" aria-level="2"')
