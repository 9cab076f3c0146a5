"""README and reference keep their word: the tree is the folder, the options are those of the parsers."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_the_tree_and_the_files_are_those_that_are_there(name: str) -> None:
    module = runpy.run_path(str(ROOT / "docs" / "update_readme.py"))
    text = (ROOT / name).read_text(encoding="utf-8")
    assert module["updated"](text) == text, "run `python docs/update_readme.py`"


def test_the_readme_has_its_two_commands_and_stays_short() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert '\n    pip install -e ".[dev]" && python -m agegender.train --size small\n' in text
    assert '\n    pip install -e ".[dev]" && pytest\n' in text
    assert len(text.splitlines()) < 150


def test_the_reference_is_made_of_the_code() -> None:
    module = runpy.run_path(str(ROOT / "docs" / "update_readme.py"))
    for page, text in module["reference_pages"].pages().items():
        assert page.read_text(encoding="utf-8") == text, f"{page.name}: run `python docs/update_readme.py`"


def test_every_link_of_the_readme_leads_somewhere() -> None:
    import re

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = [target for target in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in target]
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []
