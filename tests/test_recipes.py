"""Each recipe turns another model's answers, in their own format, into a table that an audit reads."""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

import agegender as ag

RECIPES = Path(__file__).parents[1] / "docs" / "recipes"
FORMATS = Path(__file__).parent / "recipes"
SCRIPTS = sorted(RECIPES.glob("*_answers.py"))


def example(name: str) -> Any:
    return json.loads((FORMATS / f"{name}.json").read_text(encoding="utf-8"))


class Recognised(SimpleNamespace):
    """As MiVOLO's PersonAndFaceResult, as far as it tells of boxes."""

    def get_bboxes_inds(self, category: str) -> list[int]:
        return [number for number, name in enumerate(self.names) if name == category]

    def get_bbox_by_ind(self, number: int) -> np.ndarray:
        return np.array(self.boxes[number], dtype=np.int32)


def deepface_says(age: float, gender: str) -> list[dict[str, Any]]:
    faces = deepcopy(example("deepface"))
    female = 97.25 if gender == "female" else 2.75
    faces[1] |= {"age": int(age), "gender": {"Woman": female, "Man": 100 - female}}
    faces[1]["dominant_gender"] = "Woman" if gender == "female" else "Man"
    return faces


def mivolo_says(age: float, gender: str) -> Recognised:
    found = example("mivolo")
    for number in (0, 1):  # a person and her face have the same answer
        found["ages"][number], found["genders"][number], found["gender_scores"][number] = round(age, 2), gender, 0.9725
    return Recognised(**found)


def insightface_says(age: float, gender: str) -> list[dict[str, Any]]:
    faces = deepcopy(example("insightface"))
    faces[1] |= {"age": int(age), "gender": np.int64(gender == "male"), "bbox": np.array(faces[1]["bbox"], np.float32)}
    return faces


SAYS: dict[str, Callable[[float, str], Any]] = {
    "deepface": deepface_says,
    "mivolo": mivolo_says,
    "insightface": insightface_says,
}


def install(monkeypatch: pytest.MonkeyPatch, name: str, answers: Callable[[str], Any]) -> None:
    """Put a module in the place of theirs; `answers` gets the photo's name."""

    def module(path: str, **content: Any) -> None:
        made = ModuleType(path)
        vars(made).update(content)
        monkeypatch.setitem(sys.modules, path, made)

    def of_pixels(pixels: np.ndarray) -> Any:
        return answers(f"{pixels[0, 0, 0]}.png")

    if name == "deepface":
        module("deepface", DeepFace=SimpleNamespace(analyze=lambda photo, **_: answers(Path(photo).name)))
    elif name == "mivolo":
        maker = lambda config: SimpleNamespace(recognize=lambda pixels: (of_pixels(pixels), None))  # noqa: E731
        module("mivolo")
        module("mivolo.predictor", Predictor=maker)
    else:
        maker = lambda **_: SimpleNamespace(prepare=lambda ctx_id: None, get=of_pixels)  # noqa: E731
        module("insightface")
        module("insightface.app", FaceAnalysis=maker)


@pytest.mark.parametrize("name", SAYS)
def test_the_largest_face_of_their_answer_is_the_row(name: str) -> None:
    row = runpy.run_path(str(RECIPES / f"{name}_answers.py"))["row"]
    plain = Recognised(**example(name)) if name == "mivolo" else example(name)
    expected = {
        "deepface": (52, "male", 0.0000593),
        "mivolo": (44.31, "female", 0.9871),
        "insightface": (47, "male", None),
    }[name]
    found = row(plain)
    assert (found["predicted_age_years"], found["predicted_gender"]) == expected[:2]
    assert found.get("gender_probability_female") == pytest.approx(expected[2], abs=1e-6)
    nobody = Recognised(names=["person"], boxes=[[0, 0, 9, 9]], ages=[None], genders=[None], gender_scores=[None])
    assert row(nobody if name == "mivolo" else []) == {}


@pytest.mark.parametrize("name", SAYS)
def test_the_script_writes_a_table_in_which_the_audit_finds_what_was_planted(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Women are judged ten years too old, men right; one photo in twenty has no face."""
    random = np.random.default_rng(0)
    labels = pd.DataFrame({"path": [f"{n}.png" for n in range(200)], "age_years": random.integers(20, 60, 200)})
    labels["gender"] = np.where(random.random(200) < 0.5, "female", "male")
    for number in range(200):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((4, 4, 3), number, np.uint8))
    labels.to_csv(tmp_path / "labels.csv", index=False)
    known = labels.set_index("path")

    def answers(photo: str) -> Any:
        if int(Path(photo).stem) % 20 == 7:
            if name == "deepface":
                raise ValueError("Face could not be detected.")
            return Recognised(names=[], boxes=[], ages=[], genders=[], gender_scores=[]) if name == "mivolo" else []
        age, gender = known.loc[photo]
        return SAYS[name](age + (10 if gender == "female" else 0), gender)

    install(monkeypatch, name, answers)
    words = [str(tmp_path / "labels.csv"), str(tmp_path), str(tmp_path / "out.csv"), "detector.pt", "checkpoint.pth"]
    monkeypatch.setattr(sys, "argv", ["recipe", *words])
    runpy.run_path(str(RECIPES / f"{name}_answers.py"), run_name="__main__")
    audit = ag.Audit(tmp_path / "out.csv")
    by_gender = audit.by("mae", "gender").set_index("gender")["value"]
    assert by_gender["female"] == pytest.approx(10)
    assert by_gender["male"] == pytest.approx(0)
    assert audit.by("accuracy", "gender")["value"].tolist() == [1, 1]
    assert any("10 rows have no predicted_age_years" in notice for notice in audit.notices)
    gap = next(one for one in audit.findings if one.is_gap)
    assert "female" in gap.sentence


def test_each_recipe_is_short_and_listed() -> None:
    listed = (RECIPES / "README.md").read_text(encoding="utf-8")
    assert {path.name.removesuffix("_answers.py") for path in SCRIPTS} == set(SAYS)
    for path in SCRIPTS:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip() and '"""' not in line]
        assert len(lines) <= 25, path.name
        assert f"]({path.name})" in listed
