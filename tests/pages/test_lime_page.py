"""The page of explanations: what it must say, of any head."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from html import unescape

import numpy as np
import pytest

from agegender.explanation.face_explanation import Curve, TargetMap, Trust, scaled_curves
from agegender.explanation.lime_explainer import LimeExplainer, LimeSettings
from agegender.heads import GENDER, Classification, Regression
from agegender.pages.lime_page import mean_curves, write_lime
from pages.report_inputs import make_explanations


def test_explanations_fold_away_a_map_that_failed(tmp_path):
    page = write_lime(tmp_path / "lime.html", make_explanations(3), title="x").read_text()
    believed, _, rest = page.partition("Not to be believed: held-out R² 0.1.")
    assert "1 of 6 maps failed a check" in believed
    assert rest.index("Show the map that can't be believed") < rest.index("<img")


def test_explanations_say_regions_in_years_and_log_odds_with_intervals(tmp_path):
    page = write_lime(tmp_path / "lime.html", make_explanations(1), title="x").read_text()
    assert re.search(r"hair: [+−]\d\.\d years \([+−]\d\.\d to [+−]\d\.\d\)", page)
    assert re.search(r"log-odds \([+−]\d\.\d\d to", page)


def test_explanations_show_whether_their_order_beats_a_random_one(tmp_path):
    page = write_lime(tmp_path / "lime.html", make_explanations(2), title="x").read_text()
    for chart in ("Age: deletion", "Age: insertion", "Gender: deletion", "Gender: insertion"):
        assert f'aria-label="{chart}, mean over 2 photos"' in page
    assert page.count(">random order</text>") == 4


def test_explanations_survive_what_could_not_be_known(tmp_path):
    (one,) = make_explanations(1)
    blank = replace(one, problems=("the photo has one colour",), predictions={}, labels={}, reason="")
    nothing = tuple(
        replace(
            output,
            regions=tuple(replace(r, weight=np.nan, low=np.nan, high=np.nan) for r in output.regions),
            trust=None,
        )
        for output in one.maps
    )
    page = write_lime(tmp_path / "lime.html", [blank, replace(one, maps=nothing)], title="x").read_text()
    visible = re.sub(r"<(style|script|svg)\b.*?</\1>|<[^>]*>", " ", page, flags=re.S)
    assert "the photo has one colour" in visible
    assert not re.search(r"\b(nan|None)\b", visible)


def test_charts_of_trust_agree_with_the_figures_for_either_predicted_class():
    shares, down, up = (0.0, 0.4, 1.0), (-3.0, 0.5, 1.0), (1.0, -2.0, -3.0)
    straight = Curve(shares, (-3.0, -1.4, 1.0))
    figures = []
    for sign in (1.0, -1.0):
        deletion, insertion, random = (
            Curve(shares, tuple(-sign * value for value in curve)) for curve in (down, up, straight.values)
        )
        scaled = scaled_curves((deletion, insertion, random), sign)
        areas = [curve.area() for curve in scaled]
        figures.append(areas)
        trust = Trust(deletion_auc=areas[0], deletion=deletion, insertion=insertion, random_deletions=(random,))
        one = TargetMap(GENDER.targets[0], 3.0 * sign, 0.0, (), trust, "")
        deleted, inserted, count = mean_curves([one])
        assert count == 1
        grid = np.linspace(0, 1, 41)
        assert np.trapezoid(deleted["strongest first"], grid) == pytest.approx(areas[0], abs=1e-3)
        assert np.trapezoid(inserted["strongest first"], grid) == pytest.approx(areas[1], abs=1e-3)
        assert np.trapezoid(deleted["random order"], grid) == pytest.approx(areas[2], abs=1e-3)
        # What speaks for the predicted class goes first, so that the answer falls from the top, whichever class it is.
        assert deleted["strongest first"][0] == 1
        assert deleted["strongest first"][-1] < deleted["strongest first"][0]
    assert figures[0] == pytest.approx(figures[1])


def test_explanations_of_other_heads_speak_of_themselves(tmp_path):
    mood = Classification("mood", "mood", ("calm", "happy", "sad"))
    height = Regression("height", "height_cm", "cm")
    targets = (*height.targets, *mood.targets)
    faces = []
    for place, face in enumerate(make_explanations(8)):
        maps = tuple(replace(face.maps[0], target=target) for target in targets)
        labels = {"height_cm": 170.0, "mood": ("calm", "sad")[place % 2]}
        guess = {"predicted_height_cm": 165.0, "predicted_mood": "happy", "mood_probability_happy": 0.8}
        faces.append(replace(face, maps=maps, labels=labels, predictions=guess))
    page = unescape(write_lime(tmp_path / "lime.html", faces, title="x").read_text())
    for words in (
        "all 4 answers: which regions raise or lower the model's answer, in cm and in log-odds",
        "Height is explained in cm, as the regression that it is; mood in log-odds of each class.",
        "lowers height",
        "speaks for “happy”",
        "label 170 cm, calm; guess 165 cm, happy (80 % sure)",
        "Mood: sad: ",
        "Height head, by mood",
    ):
        assert words in page, words
    assert not re.search(r"makes older|years|female", re.sub(r"<(style|script|svg)\b.*?</\1>", "", page, flags=re.S))


def test_explanations_without_faces_name_no_file(tmp_path):
    page = write_lime(tmp_path / "lime.html", make_explanations(2), title="x", hide_faces=True).read_text()
    assert "face.jpg" not in page
    assert "photo 2" in page


def text_of(page: str) -> str:
    return " ".join(unescape(re.sub(r"<(style|script|svg)\b.*?</\1>|<[^>]*>", " ", page, flags=re.S)).split())


def with_map(face, place, **changes):
    maps = list(face.maps)
    maps[place] = replace(maps[place], **changes)
    return replace(face, maps=tuple(maps))


def test_the_answer_the_covered_answer_and_the_sum_of_the_parts_stand_side_by_side(tmp_path):
    (face,) = make_explanations(1)
    weights = face.maps[0].weights()
    face = with_map(face, 0, value=36.5, covered_value=30.2, intercept=31.0)
    face = with_map(face, 1, value=2.0, covered_value=-1.0)
    text = text_of(write_lime(tmp_path / "lime.html", [face], title="x").read_text())
    assert "Answer on the photo 36.5 years Answer with all covered 30.2 years Sum of the parts" in text
    assert f"{31.0 + weights.sum():.1f} years: base value 31.0, regions" in text
    assert "Answer on the photo 88.1 % female (+2.00 log-odds) Answer with all covered 26.9 % female (−1.00" in text
    assert "0 is even, +1 is 73 %" in text


def test_looking_at_the_background_is_a_finding_beside_a_map_that_holds(tmp_path):
    (face,) = make_explanations(1)
    trust = replace(face.maps[0].trust, background_share=0.9, background_pixel_share=0.3)
    face = with_map(face, 0, trust=trust, finding="The model looks outside the head: 90 %.")
    page = write_lime(tmp_path / "lime.html", [face], title="x").read_text()
    text = text_of(page)
    assert "1 of 2 maps hold and say that the model looks outside the head" in text
    assert "The model looks outside the head: 90 %." in text
    assert "folded away" not in text
    assert "Show the map that can't be believed" not in page


def test_a_weight_without_sampling_error_is_said_to_be_exact(tmp_path):
    (face,) = make_explanations(1)
    regions = tuple(replace(region, low=region.weight, high=region.weight) for region in face.maps[0].regions)
    text = text_of(write_lime(tmp_path / "lime.html", [with_map(face, 0, regions=regions)], title="x").read_text())
    assert re.search(r"years \(exact to this digit\)", text)
    assert "a weight is exact to the digit shown" in text


def test_the_page_says_that_a_model_can_be_built_to_fool_it(tmp_path):
    text = text_of(write_lime(tmp_path / "lime.html", make_explanations(1), title="x").read_text())
    assert "models can be built that fool any method that covers parts of a photo" in text


def test_faces_whose_parts_are_not_known_have_no_group_map(tmp_path):
    faces = [replace(face, parts=None) for face in make_explanations(8)]
    text = text_of(write_lime(tmp_path / "lime.html", faces, title="x").read_text())
    assert "where the parts of these faces are is not known" in text
    assert "Where the parts of this face are is not known: regions are called after their place in the photo" in text
    assert "head, by gender" not in text
    known = text_of(write_lime(tmp_path / "lime.html", make_explanations(8), title="x").read_text())
    assert "Age head, by gender" in known


def test_charts_of_faces_predicted_male_and_female_both_fall_when_the_strongest_go_first(photo_of_halves):
    for sign in (1.0, -1.0):
        scores = partial(halves, sign=sign)
        face = LimeExplainer(scores, GENDER.targets, LimeSettings(128)).explain(photo_of_halves)
        (one,) = face.maps
        assert np.sign(one.value) == sign
        deletion, insertion, _ = mean_curves([one])
        assert deletion["strongest first"].mean() < deletion["random order"].mean()
        assert insertion["strongest first"].mean() > insertion["random order"].mean()


def halves(images, sign):
    """Log-odds that the texture of the left half raises and that of the right half lowers."""
    texture = images.float().std(1)
    return sign * (texture[:, :, :24].mean((1, 2)) * 2 - texture[:, :, 24:].mean((1, 2)))[:, None] / 10


@pytest.fixture
def photo_of_halves():
    return np.random.default_rng(0).integers(0, 255, (48, 48, 3)).astype(np.uint8)
