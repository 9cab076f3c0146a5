"""The example report is what its script makes: six pages from drawn faces that lead to one another."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "reports" / "example"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("make_example", ROOT / "docs" / "make_example.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made(script, tmp_path_factory):
    """The pages of a quick run."""
    folder = tmp_path_factory.mktemp("example")
    assert script.main(["--quick", "--out", str(folder)]) == 0
    return folder


def links(page):
    found = re.search(r"<!-- pages -->(.*?)<!-- /pages -->", page.read_text(encoding="utf-8"), re.S)
    return set(re.findall(r'href="([\w.]+)"', found[1]))


@pytest.mark.slow
def test_the_script_makes_six_pages_that_lead_to_one_another(script, made):
    assert sorted(path.name for path in made.iterdir()) == sorted(script.FILES)
    every = {f"{page}.html" for page in script.PAGES}
    for page in script.PAGES:
        assert links(made / f"{page}.html") == every, page
        text = (made / f"{page}.html").read_text(encoding="utf-8")
        assert "These faces are drawn." in text
        assert str(Path.home()) not in text
        assert "/tmp/" not in text


def test_the_example_in_the_repository_has_the_files_of_the_script_and_no_others(script):
    assert sorted(path.name for path in EXAMPLE.iterdir()) == sorted(script.FILES)
    for page in script.PAGES:
        assert links(EXAMPLE / f"{page}.html") == {f"{one}.html" for one in script.PAGES}, page
    assert "These faces are drawn" in (EXAMPLE / "MODEL_CARD.md").read_text(encoding="utf-8")


def test_a_quick_run_never_takes_the_place_of_the_example(script, capsys):
    with pytest.raises(SystemExit):
        script.main(["--quick"])
    assert "name another --out" in capsys.readouterr().err
