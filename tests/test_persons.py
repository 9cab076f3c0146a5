"""docs/persons.md: its search finds every file that names a photo, and its steps leave none."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from dataset_layouts import write_utkface
from pages.report_inputs import make_explanations

from agegender.data.faces_table import read_faces
from agegender.explanation.explanation_files import write_explanation
from agegender.model.model_folder import training_entries
from agegender.prepare import main as prepare
from agegender.report import main as report
from agegender.training_settings import Plan

PAGE = Path(__file__).parent.parent / "docs" / "persons.md"


@pytest.fixture(scope="module")
def traces():
    names: dict = {}
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.S)
    exec(code, names)
    return names["traces"]


def make_everything(root):
    """Tables, page, a foreign model's predictions with its report and explanations, as commands leave them."""
    words = ["--source", "utkface", "--data", str(root), "--cache", "data/hashes.parquet", "--near-duplicates", "none"]
    assert prepare([*words, "--out", "faces.parquet", "--report", "pages/dataset.html"]) == 0
    rows = read_faces(Path("faces.parquet")).kept()
    columns = ["path", "age_years", "gender", "ethnicity"]
    rows[columns].assign(predicted_age_years=30.0).to_parquet("predictions.parquet")
    path = rows["path"].iloc[0]
    shutil.rmtree("pages/explanations", ignore_errors=True)
    write_explanation(make_explanations(1, path=path)[0], Path("pages/explanations"), 1)
    assert report(["--predictions", "predictions.parquet", "--images", str(root), "--out", "pages"]) == 0
    return path


def test_the_search_finds_every_file_and_the_steps_leave_none(traces, in_a_fresh_folder, tmp_path):
    here, root = tmp_path / "here", write_utkface(tmp_path / "photos")
    path = make_everything(root)
    kept = tmp_path / "kept" / path
    kept.parent.mkdir(parents=True)
    shutil.copy(root / path, kept)
    found = {Path(one).relative_to(here).as_posix() for one in traces(kept, tmp_path / "kept", here)}
    assert {"faces.parquet", "predictions.parquet", "data/hashes.parquet"} <= found
    assert {"pages/bias.html", "pages/index.html"} & found
    assert sum(one.startswith("pages/explanations/") for one in found) == 2
    (root / path).unlink()
    (here / "data" / "hashes.parquet").unlink()
    make_everything(root)
    assert traces(kept, tmp_path / "kept", here, root) == []


def test_pages_that_show_nobody_are_no_trace(traces, in_a_fresh_folder, tmp_path):
    root = write_utkface(tmp_path / "photos")
    words = ["--source", "utkface", "--data", str(root), "--cache", "data/hashes.parquet"]
    assert prepare([*words, "--out", "faces.parquet", "--report", "pages/dataset.html", "--no-faces"]) == 0
    photo = next(path for path in sorted(root.rglob("*.jpg")))
    assert traces(photo, root, tmp_path / "here" / "pages") == []


def test_a_models_card_names_no_photo_although_its_table_does(in_a_fresh_folder, tmp_path):
    root = write_utkface(tmp_path / "photos")
    assert prepare(["--source", "utkface", "--data", str(root), "--out", "faces.parquet"]) == 0
    faces = read_faces(Path("faces.parquet"))
    contradicting = {"cleaning": {"conflicts": [{"photos": [{"path": path}]} for path in faces.table["path"][:3]]}}
    faces = replace(faces, notes={**faces.notes, "parts": [contradicting], **contradicting})
    card = training_entries(faces, Plan("x", "resnet18"))
    said = json.dumps(card)
    assert faces.notes["malformed_names"]
    assert card["data"]["notes"]["malformed_names"] == len(faces.notes["malformed_names"])
    assert card["data"]["notes"]["cleaning"] == card["data"]["notes"]["parts"][0]["cleaning"] == {"conflicts": 3}
    assert [path for path in faces.table["path"] if path in said] == []
    assert [name for name in faces.notes["malformed_names"] if name in said] == []
