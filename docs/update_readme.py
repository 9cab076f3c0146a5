"""Rewrite what is made from the code: `python docs/update_readme.py`.

The README's list of commands and its tree, and the pages of the reference (`reference_pages.py`).
`tests/test_readme.py` fails when one of them is behind.
"""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

from agegender.__main__ import COMMANDS
from agegender.writing import write_text

sys.path.insert(0, str(Path(__file__).resolve().parent))
import reference_pages

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
# What a docstring cannot say, because it is no Python.
NOTES = {
    "benchmarks": "claims about speed and about truth, measured side by side with what people use today",
    "docs": "a notebook, decisions, experiments (failures included), and the script that keeps this page true",
    "shipped": "the model that answers where none is named; written by docs/ship_model.py, no code",
    "licenses": "of the weights in agegender/shipped/, which are for non-commercial research only",
    "models": "what training writes (ignored by git)",
    "reports": "what reports write (ignored by git), and one example from drawn faces",
    "tests": "mirrors agegender/, plus end_to_end/ and browser/",
    ".ci": "run: what a change must pass",
    "environment.yml": "conda",
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


def commands_text() -> str:
    """Return one table per command: its options and what they do."""
    parts = []
    for name, summary in COMMANDS.items():
        parser = importlib.import_module(f"agegender.{name}").build_parser()
        table = reference_pages.option_table(parser._actions, parser)
        parts.append(f"<details>\n<summary><code>agegender {name}</code>: {summary}</summary>\n\n{table}\n\n</details>")
    return "\n\n".join(parts)


def tree_text() -> str:
    """Return the tracked files and folders, one line each with what they own."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split(
        "\n"
    )
    top = sorted({Path(name).parts[0] for name in listed if name}, key=lambda name: (not (ROOT / name).is_dir(), name))
    lines = []
    for name in top:
        if name == "agegender":
            lines += _package_lines([Path(path) for path in listed if path.startswith("agegender/")])
        else:
            lines.append(_line(name + "/" * (ROOT / name).is_dir(), NOTES[name]))
    return "```text\n" + "\n".join(lines) + "\n```"


def updated(text: str) -> str:
    """Return the README with both parts written anew."""
    for mark, part in (("commands", commands_text()), ("tree", tree_text())):
        pattern = rf"<!-- {mark} -->.*<!-- /{mark} -->"
        whole = f"<!-- {mark} -->\n{part}\n<!-- /{mark} -->"
        text = re.sub(pattern, lambda _, whole=whole: whole, text, flags=re.DOTALL)
    return text


def _package_lines(paths: list[Path]) -> list[str]:
    lines = [_line("agegender/", "the package")]
    folders = sorted({path.parts[1] for path in paths if len(path.parts) > 2})
    lines += [
        _line(f"  {name}/", NOTES.get(name) or _first_line(ROOT / "agegender" / name / "__init__.py"))
        for name in folders
    ]
    files = sorted(path for path in paths if len(path.parts) == 2 and path.suffix == ".py")
    return lines + [_line(f"  {path.name}", _first_line(ROOT / path)) for path in files]


def _first_line(path: Path) -> str:
    said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return said.splitlines()[0].rstrip(".").replace("`", "")


def _line(name: str, note: str) -> str:
    return f"{name:22} {note}"


if __name__ == "__main__":
    write_text(README, updated(README.read_text(encoding="utf-8")))
    for page, text in reference_pages.pages().items():
        write_text(page, text)
