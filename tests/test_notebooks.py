"""The notebooks run from their first cell to their last, on drawn faces, and show what is stored in them."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parent.parent / "docs"
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
# What each is about, found among the words that it shows: its text says so.
SHOWN = {
    "a_third_head": ["mask accuracy", "gender accuracy", "three heads", "predicted_mask"],
    "any_model": ["seen: 100%", "The model looks outside the head", "The model looks at the head"],
    "auditing_a_table": [
        "Faces labelled Indian are underestimated",
        "Faces labelled female are given the labelled gender in",
        "No gap in mean absolute age error between groups of studio",
    ],
    "fastai_and_back": ["gender_accuracy", "mine", "ours"],
    "first_steps": ["360 kept", "expression", "bias.html", "ethnicity"],
}


@pytest.fixture(scope="module")
def script() -> Any:
    pytest.importorskip("nbclient")
    spec = importlib.util.spec_from_file_location("run_notebooks", DOCS / "run_notebooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def kernel(script: Any) -> Any:
    with script.one_kernel() as kernel:
        yield kernel


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all, since they draw the same faces."""
    return tmp_path_factory.mktemp("notebooks")


def kinds(notebook: Any) -> list[list[list[str]]]:
    """Return what each cell shows, by kind: pictures, tables, words."""
    return [[sorted(one.get("data", {"words": ""})) for one in cell.get("outputs", [])] for cell in notebook.cells]


def words(notebook: Any) -> str:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    kinds = ("text/html", "text/plain")
    shown = [one.get("text", "") + "".join(one.get("data", {}).get(kind, "") for kind in kinds) for one in outputs]
    return re.sub(r'"data:image[^"]*"', "", " ".join(shown))


def test_all_notebooks_are_known_here() -> None:
    assert [path.stem for path in NOTEBOOKS] == sorted(SHOWN)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_what_is_stored_in_it(path: Path, script: Any, kernel: Any, folder: Path) -> None:
    stored, notebook = (script.nbformat.read(path, 4) for _ in range(2))
    script.run(notebook, kernel, folder)
    script.tidy(notebook)
    assert kinds(notebook) == kinds(stored)
    for phrase in SHOWN[path.stem]:
        assert phrase in words(notebook), phrase
        assert phrase in words(stored), phrase


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_pictures_are_described_and_nothing_of_the_machine_is_stored(path: Path, script: Any) -> None:
    stored = script.nbformat.read(path, 4)
    pictures = 0
    for cell in stored.cells:
        for data in (output.get("data", {}) for output in cell.get("outputs", [])):
            if "image/png" in data:
                assert len(cell.metadata.mystnb.image.alt) > 20
            pictures += "image/png" in data or "<img" in data.get("text/html", "")
    assert pictures >= 3
    assert not re.search(r"/tmp/|/home/|/root/|Traceback|Error", words(stored))
    assert path.stat().st_size < 250_000
