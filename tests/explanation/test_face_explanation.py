from __future__ import annotations

import json
from dataclasses import fields, replace

import numpy as np
import pytest
from toy_models import TARGETS, curved_scores

from agegender.errors import TableError
from agegender.explanation.explanation_files import clear_explanations, read_explanations, write_explanation
from agegender.explanation.face_explanation import FaceExplanation, SecondOpinion, Trust, to_document
from agegender.explanation.face_parts import aligned_parts
from agegender.explanation.lime_explainer import LimeExplainer, LimeSettings
from agegender.swapping import replaced_set
from agegender.writing import to_json


@pytest.fixture(scope="module")
def explanation(photo) -> FaceExplanation:
    face = LimeExplainer(curved_scores, TARGETS, LimeSettings(128)).explain(photo, "a/<b>.jpg", reason="typical")
    opinion = SecondOpinion("occlusion", tuple(np.arange(face.region_count, dtype=float)), 0.5)
    first = replace(face.maps[0], second_opinions=(opinion,), problems=("age: odd answers",))
    return replace(
        face,
        maps=(first, face.maps[1]),
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


def test_where_the_parts_of_the_face_are_comes_back_too(explanation, tmp_path):
    parts = aligned_parts(64)
    write_explanation(replace(explanation, parts=parts), tmp_path, 1)
    (face,) = read_explanations(tmp_path)
    assert np.array_equal(face.parts.part_map, parts.part_map)
    assert (face.parts.names, face.parts.background, face.parts.known_from) == (
        *(parts.names, parts.background, parts.known_from),
    )


def test_parts_that_do_not_fit_the_photo_are_refused(explanation, tmp_path):
    write_explanation(replace(explanation, parts=aligned_parts(32)), tmp_path, 1)
    with pytest.raises(TableError, match="map of the parts of the face does not fit"):
        read_explanations(tmp_path)


def test_base_covered_value_and_sum_are_kept(explanation, tmp_path):
    write_explanation(explanation, tmp_path, 1)
    (face,) = read_explanations(tmp_path)
    for kept, one in zip(face.maps, explanation.maps, strict=True):
        assert kept.covered_value == one.covered_value == one.trust.deletion.values[-1]
        assert kept.parts_sum == pytest.approx(one.intercept + one.weights().sum())


def test_figures_that_are_not_numbers_come_back_as_such(explanation, tmp_path):
    unknown = replace(explanation.maps[0], trust=replace(explanation.maps[0].trust, held_out_r2=float("nan")))
    write_explanation(replace(explanation, maps=(unknown,)), tmp_path, 1)
    assert np.isnan(read_explanations(tmp_path)[0].maps[0].trust.held_out_r2)
    write_explanation(replace(explanation, maps=(replace(unknown, trust=None),)), tmp_path, 1)
    assert read_explanations(tmp_path)[0].maps[0].trust is None


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
    (tmp_path / "0007-lonely.explanation.npz").write_bytes(b"")
    with replaced_set() as swap:
        clear_explanations(swap, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.json"]


def test_a_lonely_json_is_a_clear_error(explanation, tmp_path):
    write_explanation(explanation, tmp_path, 1).with_suffix(".npz").unlink()
    with pytest.raises(TableError, match="is no whole explanation"):
        read_explanations(tmp_path)


def test_what_version_0_1_wrote_is_still_read(explanation, tmp_path):
    path = write_explanation(explanation, tmp_path, 1)
    document = json.loads(path.read_text())
    for head in document["heads"].values():
        for name in ("key", "low_words", "high_words", "problems", "covered_value", "finding"):
            del head[name]
        for name in ("agreement", "photo_share", "expects_gain"):
            del head[name]
        head["regions"][0]["name"] = "nose 1"
    del document["parts"]
    path.write_text(json.dumps(document))
    (face,) = read_explanations(tmp_path)
    assert tuple(one.target for one in face.maps) == TARGETS
    assert face.problems == ("one", "two", "age: odd answers")
    assert np.array_equal(face.maps[0].weights(), explanation.maps[0].weights())
    assert face.maps[0].covered_value == explanation.maps[0].covered_value
    # Its names were those of an aligned face, whatever the photo.
    assert "nose" not in " ".join(region.name for region in face.maps[0].regions)


def test_a_plot_shows_the_photo_and_every_map(explanation):
    figure = explanation.plot()
    assert [axis.get_title().split(":")[0] for axis in figure.get_axes()] == ["<b>.jpg", "age", "gender (female)"]
    doubted = replace(explanation.maps[0], trust=replace(explanation.maps[0].trust, failures=("noise",)))
    assert "not to be believed" in replace(explanation, maps=(doubted,)).plot().get_axes()[1].get_title()


def test_a_notebook_gets_a_small_picture_and_the_verdicts(explanation):
    many = replace(explanation, maps=explanation.maps * 6)
    for face in (explanation, many):
        html = face._repr_html_()
        assert len(html) < 60_000
        assert "data:image/webp" in html
        assert explanation.maps[1].verdict in html
    assert "4 more maps" in html
