"""Models on photos that are new to all of them: what is left out, what is said, what is kept."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from agegender import compare
from agegender.api.comparison import OWN_TEST, Comparison
from agegender.api.judging import judge, judged_table
from agegender.data.faces_table import FacesTable, make_table
from agegender.data.sources.drawn_faces import draw_faces
from agegender.errors import TableError, UsageError
from agegender.heads import AGE, GENDER, head_to_dict
from agegender.model import shipped

is_there = all((shipped.SHIPPED_FOLDER / name).is_file() for name in shipped.SHIPPED_FILES)
needs_it = pytest.mark.skipif(not is_there, reason="this working copy has no shipped model")


def faces_in(
    folder: Path, numbers: range, *, prefix: str = "", splits: str = "test", source: str = "csv"
) -> FacesTable:
    """Write a photo of its own content for each number, and return their table."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in numbers:
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{prefix}{number}.png")
        rows.append({"path": f"{prefix}{number}.png", "source": source, "age_years": 20.0 + number, "split": splits,
                     "gender": "female" if number % 2 else "male"})  # fmt: skip
    return FacesTable(make_table(rows), folder)


class Stub:
    """Says the label and a shift, and counts how often it is asked."""

    heads = (AGE, GENDER)
    _folder = None
    predictions = None

    def __init__(self, name: str, shift: float, faces: FacesTable | None, sources: tuple[str, ...] = ()) -> None:
        self.name, self.shift, self.faces, self.asked = name, shift, faces, 0
        heads = [head_to_dict(head) for head in self.heads]
        self.card = {"name": name, "run_id": name, "data": {"sources": list(sources)}, "heads": heads}

    def is_of_folds(self, notes: dict) -> bool:
        return False

    def predict_faces(self, faces: FacesTable, *, split: str = "all") -> pd.DataFrame:
        self.asked += 1
        rows = faces.table.assign(
            predicted_age_years=faces.table["age_years"].fillna(30.0) + self.shift,
            predicted_gender=faces.table["gender"].fillna("male"),
        )
        rows.attrs["heads"] = [head_to_dict(head) for head in self.heads]
        return rows


def test_photos_that_a_model_has_learnt_from_are_left_out_for_all_whatever_they_are_called(tmp_path: Path) -> None:
    learnt = faces_in(tmp_path / "old", range(10), splits="train")
    tested = faces_in(tmp_path / "tested", range(10, 14))
    both = FacesTable(
        pd.concat([learnt.table.assign(path="old/" + learnt.table["path"]),
                   tested.table.assign(path="tested/" + tested.table["path"])], ignore_index=True), tmp_path
    )  # fmt: skip
    models = {"a": Stub("a", 1.0, both), "b": Stub("b", 2.0, faces_in(tmp_path / "b", range(90, 99), splits="train"))}
    new = faces_in(tmp_path / "new", range(6, 20), prefix="renamed-")
    judged = judge(models, new, "new")
    # 6 to 9 were trained on; 10 to 13 only tested, and are as new as any.
    assert judged.predictions["a"]["path"].tolist() == [f"renamed-{number}.png" for number in range(10, 20)]
    assert judged.predictions["b"]["path"].tolist() == judged.predictions["a"]["path"].tolist()
    assert judged.notes == [
        "10 photos of new.", "4 photos left out, which a model was trained or validated on (a 4)."
    ]  # fmt: skip
    assert judged.own == {"a"}
    with pytest.raises(TableError, match=r"every one of the 10 photos of old .* by a: nothing new"):
        judge(models, learnt, "old")


def test_a_model_whose_training_photos_nobody_knows_is_named(tmp_path: Path) -> None:
    new = faces_in(tmp_path, range(8), source="utkface")
    models = {"a": Stub("a", 1.0, None, ("utkface",)), "b": Stub("b", 1.0, None, ("csv",))}
    judged = judge(models, new, "new")
    assert (
        "Which photos a was trained on is not known here; it was trained on this dataset, so its figures flatter it."
        in judged.notes
    )
    assert "Which photos b was trained on is not known here." in judged.notes
    assert judged.own == {"a"}


def test_predictions_are_kept_and_made_anew_for_another_model_or_other_photos(tmp_path: Path) -> None:
    new, model = faces_in(tmp_path / "new", range(8)), Stub("a", 1.0, None)
    first = judge({"a": model}, new, "new", keep=tmp_path / "kept").predictions["a"]
    again = judge({"a": model}, new, "new", keep=tmp_path / "kept").predictions["a"]
    assert model.asked == 1
    assert again["predicted_age_years"].tolist() == first["predicted_age_years"].tolist()
    model.card["run_id"] = "another"
    judge({"a": model}, new, "new", keep=tmp_path / "kept")
    judge({"a": model}, faces_in(tmp_path / "new", range(9)), "new", keep=tmp_path / "kept")
    assert model.asked == 3


def test_several_sets_make_a_table_with_intervals_whose_own_cells_are_marked(tmp_path: Path) -> None:
    sets = {name: faces_in(tmp_path / name, range(start, start + 30)) for name, start in (("one", 0), ("two", 40))}
    models = {"a": Stub("a", 1.0, sets["one"]), "b": Stub("b", 3.0, sets["two"])}
    comparison = Comparison(models, faces=sets)
    table = comparison.judged.set_index(["model", "judged_on", "head"])
    assert table.loc[("a", "two", "age"), ["value", "low", "mean_error", "n"]].tolist() == [1.0, 1.0, 1.0, 30]
    assert table.loc[("b", "one", "gender"), "value"] == 1.0
    own = {key[:2] for key, is_own in table["is_own"].items() if is_own}
    assert own == {("a", "one"), ("b", "two")}
    assert list(comparison.others) == ["two"]
    page = comparison.to_html(tmp_path / "compare.html").read_text()
    assert "Trained on × judged on" in page
    assert page.count("◆ ") == 5  # two models by two heads, and the sentence that explains it
    document = comparison.to_dict()
    assert document["on"]["two"]["against_first"]["b"]["age"]["n"] == 30
    assert len(document["judged"]) == 8


def test_own_test_photos_stand_beside_new_ones(tmp_path: Path) -> None:
    new, old = faces_in(tmp_path / "new", range(8)), faces_in(tmp_path / "old", range(20, 26))
    model = Stub("a", 1.0, old)
    model.predictions = Stub("a", 0.5, None).predict_faces(old)
    table = judged_table([], {"a": model})
    assert table.empty
    judged = Comparison({"a": model, "b": Stub("b", 1.0, None)}, faces={"new": new}).judged
    own = judged[judged["judged_on"] == OWN_TEST]
    assert own[["model", "head", "value"]].to_numpy().tolist() == [["a", "age", 0.5], ["a", "gender", 1.0]]


def test_a_predictions_table_cannot_judge_new_photos(tmp_path: Path) -> None:
    new = faces_in(tmp_path, range(8))
    table = Stub("a", 1.0, None).predict_faces(new)
    with pytest.raises(UsageError, match="theirs is a predictions table, which says nothing of new photos"):
        Comparison({"theirs": table, "b": Stub("b", 1.0, None)}, faces=new)


def test_missing_photos_to_judge_on_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare.main(["shipped", "shipped", "--faces", str(tmp_path / "none.parquet")]) == 2
    assert "neither a faces table nor a folder" in capsys.readouterr().err
    assert compare.main(["shipped", "shipped"]) == 2
    assert "name photos with --faces" in capsys.readouterr().err


@needs_it
def test_an_exported_model_and_the_shipped_one_are_judged_on_photos_without_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(shipped.SHIPPED_FOLDER / "model.onnx", tmp_path / "copy.onnx")
    draw_faces(tmp_path / "drawn", face_count=4, image_size=64)
    (tmp_path / "photos").mkdir()
    for number, photo in enumerate(sorted((tmp_path / "drawn").rglob("*.[jp][pn]g"))):
        photo.rename(tmp_path / "photos" / f"{chr(97 + number)}{photo.suffix}")
    count = len(list((tmp_path / "photos").iterdir()))
    words = ["shipped", "copy.onnx", "--faces", "photos", "--out", "out", "--json"]
    assert compare.main(words) == 0
    document = json.loads(capsys.readouterr().out)
    assert f"copy and shipped give one and the same age for each of {count} photos." in document["headline"]
    assert document["experiments"][0]["parameters"] > 1e6
    assert {one["n"] for one in document["judged"]} == {0}
    assert (tmp_path / "out" / "predictions" / "photos-copy.parquet").is_file()
    assert "no labels" in (tmp_path / "out" / "compare.html").read_text()
