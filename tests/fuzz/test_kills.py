"""Five commands are killed at moments of their own: what they leave is old or new, each file whole, nothing piles up.

AGEGENDER_KILLS=60 tries so many moments of each command.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from dataset_layouts import write_utkface
from golden_model import GOLDEN, STORED, write_golden
from PIL import Image

from agegender.explanation.explanation_files import read_explanations
from agegender.model.predictor import Predictor

KILLS = int(os.environ.get("AGEGENDER_KILLS", "6"))  # of each command
pytestmark = pytest.mark.slow


def kill(root: Path, *command: str) -> dict[str, Any]:
    """Kill a command again and again; return what was found after each kill, and after a run to the end."""
    script = str(Path(__file__).with_name("killing.py"))
    words = [sys.executable, script, str(root), str(KILLS), *command]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert [one["code"] for one in found["kills"]] == [-9] * KILLS
    assert found["code"] == 0
    print(f"{command[0]}: {KILLS} kills among {found['changes']} changes of the disk and {found['events']:,} events")
    return found


def without_chance(names: Any) -> set[str]:
    """Names of files, those that hold the time of their writing alike."""
    return {re.sub(r"events\.out\.tfevents\.\S*", "events", name) for name in names}


def is_whole(found: dict[str, Any], old: dict[str, bytes], of: str = ".*", *, by_name: bool = False) -> bool:
    """Return whether the files of a set were all old or all new after each kill, once the next command had come by."""

    def part(files: dict[str, str]) -> dict[str, str]:
        return {name: "" if by_name else digest for name, digest in files.items() if re.fullmatch(of, name)}

    was = part({name: hashlib.sha256(data).hexdigest() for name, data in old.items()})
    return all(part(one["mended"]) in (was, part(found["new"])) for one in found["kills"])


def is_old_or_new(found: dict[str, Any], name: str, old: bytes) -> bool:
    known = {hashlib.sha256(old).hexdigest(), found["new"][name]}
    return all(one["files"].get(name) in known for one in found["kills"])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A small model of version 0.1, outside the folder that is watched."""
    folder = write_golden(tmp_path / "model", "faces.parquet", "predictions.parquet", "history.csv")
    for number, photo in enumerate(np.load(GOLDEN / "photos.npz")["photos"][:2]):
        Image.fromarray(photo).resize((96, 96)).save(tmp_path / f"{number}.png")
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def test_predict_killed_leaves_the_old_table_or_the_new_one(root: Path, model: Path) -> None:
    (root / "p.csv").write_bytes(b"old")
    photos = [str(model.parent / f"{number}.png") for number in range(2)]
    found = kill(root, "predict", *photos, "--model", str(model), "--device", "cpu", "--out", "p.csv")
    assert is_old_or_new(found, "p.csv", b"old")
    assert is_whole(found, {"p.csv": b"old"}, r"p\.csv")  # beside it lies what the next run goes on with
    assert set(found["after"]) == {"p.csv"} == set(found["new"])


def test_prepare_killed_leaves_the_old_table_or_the_new_one(root: Path, tmp_path: Path) -> None:
    data = write_utkface(tmp_path / "data")
    for name in ("faces.parquet", "faces.html"):
        (root / name).write_bytes(b"old")
    found = kill(
        root, "prepare", "--data", str(data), "--out", "faces.parquet", "--report", "faces.html", "--cache", "c/hashes"
    )
    assert is_old_or_new(found, "faces.parquet", b"old")
    assert is_old_or_new(found, "faces.html", b"old")
    assert is_whole(found, dict.fromkeys(("faces.parquet", "faces.html"), b"old"), r"faces\.\w+")
    assert set(found["after"]) == set(found["new"])


def test_report_killed_leaves_every_page_whole(root: Path, tmp_path: Path) -> None:
    rows = pd.read_parquet(STORED / "predictions.parquet").query("split == 'test'").head(40)
    rows = rows[["path", "age_years", "predicted_age_years", "gender"]]  # little to draw, since it is drawn nine times
    rows.to_csv(tmp_path / "theirs.csv", index=False)
    pages = root / "reports" / "theirs"
    pages.mkdir(parents=True)
    for name in ("index.html", "bias.html", "card.html"):
        (pages / name).write_bytes(b"old")
    found = kill(root, "report", "--predictions", str(tmp_path / "theirs.csv"), "--reports-dir", "reports")
    for name in ("index", "bias", "card"):
        assert is_old_or_new(found, f"reports/theirs/{name}.html", b"old")
    assert is_whole(found, {f"reports/theirs/{name}.html": b"old" for name in ("index", "bias", "card")}, r".*\.html")
    assert set(found["after"]) == set(found["new"])


def test_explain_killed_leaves_the_old_explanations_or_the_new_ones(root: Path, model: Path) -> None:
    photos = [str(model.parent / f"{number}.png") for number in range(2)]
    old = {f"explanations/000{n}-old.explanation.{kind}": b"old" for n in (1, 2, 3) for kind in ("json", "npz")}
    for name, data in old.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(data)
    found = kill(
        root, "explain", *photos, "--model", str(model), "--samples", "16", "--device", "cpu", "--out", "explanations"
    )
    assert is_whole(found, old, by_name=True)
    assert set(found["after"]) == set(found["new"])
    assert len(read_explanations(root / "explanations")) == 2


def test_train_killed_leaves_the_old_model_or_the_new_one(root: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    generator = np.random.default_rng(0)
    for number in range(40):
        photo = generator.integers(0, 255, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(photo).save(data / f"{20 + number}_{number % 2}_0_20170109123456{number:03}.jpg")
    old = root / "models" / "m"
    old.mkdir(parents=True)
    (old / "old").write_bytes(b"old")
    found = kill(
        root, "train", "--data", str(data), "--weights", "none", "--body", "test_efficientnet", "--image-size", "32",
        "--epochs", "1", "--batch-size", "8", "--device", "cpu", "--precision", "fp32", "--name", "m", "--no-report",
    )  # fmt: skip
    parts = {name for name in found["new"] if name.startswith("models/m/")}
    for one in found["kills"]:
        there = {name for name in one["files"] if name.startswith("models/m/")}
        assert there in (set(), {"models/m/old"}, parts), one["moment"]  # nothing between two renames
    assert is_whole(found, {"models/m/old": b"old"}, r"models/m/.*", by_name=True)
    assert without_chance(found["after"]) == without_chance(found["new"])
    assert Predictor.load(old, device="cpu").card["name"] == "m"
