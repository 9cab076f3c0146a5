"""The mask competition: its layout, written with drawn faces, three heads, its 18 classes, and its answers file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from agegender import predict, prepare, train
from agegender.data.faces_table import read_faces
from agegender.data.sources.masked_faces import labels_of_answers

from .conftest import run_for_json

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning"),
]
NAMES = ("mask1", "mask2", "mask3", "mask4", "mask5", "incorrect_mask", "normal")
PEOPLE = [(number, gender, age) for number, (gender, age) in enumerate(
    (gender, age) for age in (18, 22, 29, 35, 41, 58, 60, 64) for gender in ("male", "female")
)]  # fmt: skip
TINY = ("--body", "test_resnet", "--image-size", "32", "--epochs", "1", "--batch-size", "16", "--weights", "none")


@pytest.fixture(scope="module")
def competition(drawn_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("masks") / "data"
    photos = sorted(drawn_folder.glob("*.jpg"))
    for person, gender, age in PEOPLE:
        folder = root / "train" / "images" / f"{person:06d}_{gender}_Asian_{age}"
        folder.mkdir(parents=True)
        for place, name in enumerate(NAMES):
            shutil.copy(photos[(person * 7 + place) % len(photos)], folder / f"{name}.jpg")
    (root / "eval" / "images").mkdir(parents=True)
    names = [f"{digit * 40}.jpg" for digit in "abc"]
    for name, photo in zip(names, photos, strict=False):
        shutil.copy(photo, root / "eval" / "images" / name)
    (root / "eval" / "info.csv").write_text("ImageID,ans\n" + "".join(f"{name},0\n" for name in names))
    return root


@pytest.fixture(scope="module")
def table(competition: Path) -> Path:
    path = competition.parent / "faces.parquet"
    words = ["--source", "masked-faces", "--data", str(competition), "--near-duplicates", "none", "--out", str(path)]
    labels = ["--age-classes", "30,60", "--combine", "mask", "age_class", "gender"]
    run_for_json(prepare, [*words, *labels, "--on-conflict", "keep-first", "--split", "50/25/25", "--json"])
    return path


def trained(table: Path, name: str, *heads: str) -> tuple[Path, dict]:
    root = table.parent
    places = [word for kind in ("models", "reports", "runs") for word in (f"--{kind}-dir", str(root / kind))]
    words = ["--faces", str(table), "--heads", *heads, "--name", name, "--json", *TINY, *places]
    return root / "models" / name, run_for_json(train, words)


def test_the_18_classes_are_a_column_of_the_table(table: Path) -> None:
    kept = read_faces(table).kept()
    assert kept["mask_age_gender"].notna().all()
    assert kept["mask_age_gender"].nunique() == 18
    assert kept.groupby("subject_id")["split"].nunique().max() == 1


def test_three_heads_answer_the_competition(competition: Path, table: Path, tmp_path: Path) -> None:
    model, document = trained(table, "three", "mask", "age", "gender")
    assert document["heads"] == ["mask", "age", "gender"]
    assert document["metrics"]["test"]["mask"]["macro_f1"] >= 0
    info, out = competition / "eval" / "info.csv", tmp_path / "answers.csv"
    words = ["--model", str(model), str(competition / "eval" / "images"), "--answers", f"{out}={info}", "--json"]
    predictions = pd.DataFrame(run_for_json(predict, words))
    answers = pd.read_csv(out)
    assert answers["ImageID"].tolist() == pd.read_csv(info)["ImageID"].tolist()
    assert labels_of_answers(answers["ans"])["mask"].tolist() == predictions["predicted_mask"].tolist()
    assert labels_of_answers(answers["ans"])["gender"].tolist() == predictions["predicted_gender"].tolist()


def test_18_classes_are_a_head_with_macro_f1_in_the_table_and_on_the_page(table: Path) -> None:
    model, document = trained(table, "classes", "mask_age_gender")
    metrics = json.loads((model / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["test"]["mask_age_gender"]["macro_f1"] >= 0
    card = json.loads((model / "model.json").read_text(encoding="utf-8"))
    assert len(card["heads"][0]["classes"]) == 18
    assert "macro F1" in Path(document["reports"]["bias"]).read_text(encoding="utf-8").replace("Macro", "macro")
    assert "macro F1" in Path(document["reports"]["index"]).read_text(encoding="utf-8").replace("Macro", "macro")
