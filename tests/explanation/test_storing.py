from __future__ import annotations

import json
from dataclasses import fields, replace

import numpy as np
import pytest
from toy_models import curved_scores

from agegender.errors import TableError
from agegender.explanation.faces_in_turn import explain_faces
from agegender.explanation.lime_explainer import LimeExplainer
from agegender.explanation.results import FaceExplanation, SecondOpinion, Trust
from agegender.explanation.settings import LimeSettings
from agegender.explanation.storing import clear_explanations, read_explanations, to_document, write_explanation
from agegender.writing import to_json


@pytest.fixture(scope="module")
def explanation(photo) -> FaceExplanation:
    face = LimeExplainer(curved_scores, settings=LimeSettings(128)).explain(photo, "a/<b>.jpg", reason="typical").face
    opinion = SecondOpinion("occlusion", tuple(np.arange(face.region_count, dtype=float)), 0.5)
    first = replace(face.outputs[0], second_opinions=(opinion,))
    return replace(
        face,
        outputs=(first, face.outputs[1]),
        predictions={"predicted_age_years": 31.5, "predicted_gender": "female"},
        labels={"age_years": 30.0},
        problems=("one", "two"),
    )


def test_written_explanations_come_back_whole_and_in_order(explanation, tmp_path):
    write_explanation(replace(explanation, path="z.jpg"), tmp_path, 1)
    write_explanation(explanation, tmp_path, 2)
    first, second = read_explanations(tmp_path)
    assert first.path == "z.jpg"
    for field in fields(FaceExplanation):
        found, expected = getattr(second, field.name), getattr(explanation, field.name)
        assert np.array_equal(found, expected) if isinstance(expected, np.ndarray) else found == expected, field.name


def test_figures_that_are_not_numbers_come_back_as_such(explanation, tmp_path):
    unknown = replace(explanation.outputs[0], trust=replace(explanation.outputs[0].trust, held_out_r2=float("nan")))
    write_explanation(replace(explanation, outputs=(unknown,)), tmp_path, 1)
    assert np.isnan(read_explanations(tmp_path)[0].outputs[0].trust.held_out_r2)
    write_explanation(replace(explanation, outputs=(replace(unknown, trust=None),)), tmp_path, 1)
    assert read_explanations(tmp_path)[0].outputs[0].trust is None


def test_json_has_path_predictions_and_per_head_regions_and_trust(explanation):
    document = json.loads(to_json(to_document(explanation)))
    assert document["path"] == "a/<b>.jpg"
    assert document["predicted_age_years"] == 31.5
    assert list(document["heads"]) == ["age", "gender"]
    for head in document["heads"].values():
        wanted = {"held_out_r2", "deletion_auc", "insertion_auc", "top_jaccard", "background_share"}
        assert wanted | {field.name for field in fields(Trust)} - {"deletion", "insertion", "random_deletions"} <= set(
            head
        )
        assert set(head["regions"][0]) == {"region", "name", "weight", "low", "high", "pixel_share"}
        assert len(head["regions"]) == document["region_count"]


def test_clearing_removes_explanations_and_nothing_else(explanation, tmp_path):
    write_explanation(explanation, tmp_path, 1)
    (tmp_path / "notes.json").write_text("{}")
    clear_explanations(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.json"]


def test_a_lonely_json_is_a_clear_error(explanation, tmp_path):
    write_explanation(explanation, tmp_path, 1).with_suffix(".npz").unlink()
    with pytest.raises(TableError, match="is no whole explanation"):
        read_explanations(tmp_path)


def test_explaining_faces_in_turn_keeps_their_order(photo, another_photo):
    found = explain_faces(curved_scores, [("b", photo), ("a", another_photo)], samples=128, trust=False)
    assert [face.path for face in found] == ["b", "a"]
    assert found[0].outputs[0].trust is None
    assert found[0].outputs[0].verdict == "Not checked: trust figures were not asked for."
