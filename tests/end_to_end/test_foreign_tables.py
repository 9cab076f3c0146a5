"""Commands on a faces table from elsewhere: what lies outside its folder stays closed, and moved photos are found."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from agegender import evaluate, explain, report, train
from agegender.data.faces_table import FacesTable, read_faces, write_faces

from .conftest import QUICK, Run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning"),
]
OPENED: list[str] = []
sys.addaudithook(lambda event, words: OPENED.append(str(words[0])) if event == "open" and words else None)


@pytest.fixture
def hostile(trained: Run, tmp_path: Path) -> Path:
    """The model's faces, three of each side leading to a secret photo outside."""
    faces = read_faces(trained.model / "faces.parquet")
    private = tmp_path / "private"
    private.mkdir()
    table = faces.table.copy()
    for side in ("train", "valid", "test"):
        for name in (f"{side}.jpg", f"{side}-up.jpg"):
            (private / name).write_bytes(next(trained.faces.glob("*.jpg")).read_bytes())
        climbing = "../" * len(faces.root.parts) + str(private / f"{side}-up.jpg").lstrip("/")
        rows = table.index[(table["split"] == side) & table["dropped_because"].isna()][:3]
        table.loc[rows, "path"] = [str(private / f"{side}.jpg"), climbing, f"{side}\0.jpg"]
    write_faces(FacesTable(table, faces.root, faces.notes), tmp_path / "faces.parquet")
    return tmp_path / "faces.parquet"


def test_no_command_opens_what_lies_outside(trained: Run, hostile: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, faces = ["--model", str(trained.model)], ["--faces", str(hostile)]
    places = [word for kind in ("models", "reports", "runs") for word in (f"--{kind}-dir", str(hostile.parent / kind))]
    OPENED.clear()
    assert evaluate.main([*model, *faces, "--split", "all"]) == 0
    assert "9 of " in capsys.readouterr().err
    out = ["--out", str(hostile.parent / "explained")]
    assert explain.main([*model, *faces, "--random", "2", "--split", "all", "--samples", "16", *out]) == 0
    quick = ["--weights", "none", "--name", "m", *QUICK, *places]
    assert train.main([*faces, *quick]) == 0
    assert report.main(["--model", str(hostile.parent / "models" / "m"), *places[:4]]) == 0
    assert [name for name in OPENED if "faces.parquet" in name or name.endswith(".jpg")]
    assert not [name for name in OPENED if "private" in name]


def test_photos_that_moved_are_named_by_images(
    trained: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faces = read_faces(trained.model / "faces.parquet")
    write_faces(replace(faces, root=tmp_path / "absent"), tmp_path / "faces.parquet")
    given = ["--model", str(trained.model), "--faces", str(tmp_path / "faces.parquet")]
    assert evaluate.main(given) == 2
    assert "--images FOLDER" in capsys.readouterr().err
    assert explain.main([*given, "--random", "1", "--out", str(tmp_path / "x")]) == 2
    assert "--images FOLDER" in capsys.readouterr().err
    assert evaluate.main([*given, "--images", str(faces.root), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["photos"] > 0
