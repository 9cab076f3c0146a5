"""Rewrite what is made from the code: `python docs/update_readme.py`.

The README's tree, the list of files in CONTRIBUTING.md, and the pages of the reference (`reference_pages.py`), the
options of all commands among them. `tests/test_readme.py` fails when one of them is behind.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

from agegender.writing import write_text

sys.path.insert(0, str(Path(__file__).resolve().parent))
import reference_pages

ROOT = Path(__file__).resolve().parent.parent
README, CONTRIBUTING = ROOT / "README.md", ROOT / "CONTRIBUTING.md"
# What a docstring cannot say, because it is no Python.
NOTES = {
    "benchmarks": "claims about speed and about truth, measured side by side with what people use today",
    "docs": "the site: start, guides, how it works, reference, decisions, experiments; and what keeps it true",
    "shipped": "the model that answers where none is named; written by docs/ship_model.py, no code",
    "licenses": "of the weights in agegender/shipped/, which are for non-commercial research only",
    "models": "what training writes (ignored by git)",
    "reports": "what reports write (ignored by git), and one example from drawn faces",
    "tests": "mirrors agegender/, plus end_to_end/ and browser/",
    ".ci": "run: what a change must pass",
    "environment.yml": "conda",
    "requirements-audit.txt": "what judging a table takes, without torch (docs/install.md)",
    "pyproject.toml": "dependencies, ruff, mypy, pytest",
    "README.md": "this page",
    "CHANGELOG.md": "what changed",
    "CITATION.cff": "how to cite it",
    "SECURITY.md": "what is promised about pickles, pages and the server, and how to report",
    "CONTRIBUTING.md": "how to work here",
    "LICENSE": "MIT, of everything but those weights",
    "Dockerfile": "`agegender serve` in a container",
    ".dockerignore": "what a container needs nothing of",
    ".gitignore": "what runs write",
}


def tree_text() -> str:
    """Return the tracked files and folders, one line each with what they own; of the package its rooms."""
    listed = _listed()
    top = sorted({Path(name).parts[0] for name in listed}, key=lambda name: (not (ROOT / name).is_dir(), name))
    lines = []
    for name in top:
        if name == "agegender":
            lines += [_line("agegender/", "the package"), *_rooms(listed)]
        else:
            lines.append(_line(name + "/" * (ROOT / name).is_dir(), NOTES[name]))
    return _fenced(lines)


def files_text() -> str:
    """Return the files of the package, room by room, one line each with what they are for."""
    files = sorted(Path(name) for name in _listed() if name.startswith("agegender/") and name.endswith(".py"))
    lines = []
    for room in sorted({path.parent for path in files}, key=lambda room: (len(room.parts) > 1, room)):
        lines.append(f"{room}/")
        lines += [
            _line(f"  {path.name}", _first_line(ROOT / path))
            for path in files
            if path.parent == room and path.name != "__init__.py"
        ]
    return _fenced(lines)


def updated(text: str) -> str:
    """Return the README or CONTRIBUTING.md with what is marked in it written anew."""
    for mark, part in (("tree", tree_text), ("files", files_text)):
        pattern = rf"<!-- {mark} -->.*<!-- /{mark} -->"
        text = re.sub(pattern, lambda _, m=mark, p=part: f"<!-- {m} -->\n{p()}\n<!-- /{m} -->", text, flags=re.DOTALL)
    return text


def _listed() -> list[str]:
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True)
    return [name for name in done.stdout.split("\n") if name]


def _rooms(listed: list[str]) -> list[str]:
    parts = [Path(name).parts for name in listed if name.startswith("agegender/")]
    rooms = [
        _line(f"  {name}/", NOTES.get(name) or _first_line(ROOT / "agegender" / name / "__init__.py"))
        for name in sorted({part[1] for part in parts if len(part) > 2})
    ]
    return [*rooms, _line("  *.py", "the commands, and what every room may use")]


def _fenced(lines: list[str]) -> str:
    return "\n".join(["```text", *lines, "```"])


def _first_line(path: Path) -> str:
    said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return said.splitlines()[0].rstrip(".").replace("`", "")


def _line(name: str, note: str) -> str:
    return f"{name:22} {note}"


if __name__ == "__main__":
    for document in (README, CONTRIBUTING):
        write_text(document, updated(document.read_text(encoding="utf-8")))
    for page, text in reference_pages.pages().items():
        write_text(page, text)
