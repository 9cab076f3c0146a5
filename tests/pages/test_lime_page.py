"""The page of explanations: what it must say, of any head."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import partial
from html import unescape

import numpy as np
import pytest

from agegender.audit.words import photo_anchor
from agegender.explanation.face_explanation import Curve, SecondOpinion, TargetMap, Trust, scaled_curves
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
        "Height labelled 170 cm, guessed 165 cm: 5 cm too low",
        "What moves it most: ",
        "Mood: sad: ",
        "Height head, by mood",
    ):
        assert words in page, words
    assert not re.search(r"makes older|years|female", re.sub(r"<(style|script|svg)\b.*?</\1>", "", page, flags=re.S))


def test_explanations_without_faces_tell_of_nobody_alone(tmp_path):
    page = write_lime(tmp_path / "lime.html", make_explanations(24), title="x", hide_faces=True).read_text()
    text = text_of(page)
    assert not re.search(r"face\d*\.jpg|photo-[0-9a-f]|label \d|data-regions=", page)
    assert "Faces are hidden, and with them all that is known of single photos." in text
    assert "Averages over 24 photos" in text
    assert "female (12 faces)" in text
    assert "White (24 faces)" not in text  # the only ethnicity
    few = text_of(write_lime(tmp_path / "lime.html", make_explanations(8), title="x", hide_faces=True).read_text())
    assert "Fewer than 10 photos were drawn at random" in few
    assert "female (" not in few
    assert "years (" not in few


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


def test_the_summary_says_what_moves_each_answer_with_its_interval_and_how_it_adds_up(tmp_path):
    faces = [with_planted_hair(face) for face in make_explanations(20)]
    page = write_lime(tmp_path / "lime.html", faces, title="x").read_text()
    text = text_of(page)
    assert page.index('id="summary"') < page.index('id="photos"')
    assert "Averages over 20 photos that were drawn at random" in text
    match = re.search(
        r"Seeing the left side hair makes older, on average by \+(\d\.\d) years \(\+(\d\.\d) to \+(\d\.\d)\)", text
    )
    assert match
    mean, low, high = map(float, match.groups())
    assert low < 5.0 < high
    assert low < mean < high
    assert re.search(r"What moves it most: left side hair \(typically ±\d\.\d years\)", text)
    odds = (
        r"speaks for “female”, on average by \+\d\.\d\d log-odds \(.*?\), which takes an even chance to 99\.\d % female"
    )
    assert re.search(odds, text)
    sums = re.search(r"Mean over 20 photos: (\S+) years .*? (\S+) from all parts, (\S+) from .*? of (\S+) years", text)
    base, parts, rest, answer = (float(word.replace("−", "-")) for word in sums.groups())
    assert base + parts + rest == pytest.approx(answer, abs=0.16)
    assert 'aria-label="Mean effect of each part on age, in years' in page


def with_planted_hair(face):
    """Hair adds about five to either answer, the other regions nothing on average."""
    generator = np.random.default_rng(int(face.labels["age_years"]))
    maps = []
    for one in face.maps:
        weights = generator.normal([5, 0, 0, 0, 0, 0], 0.6)
        regions = tuple(
            replace(r, weight=w, low=w - 0.1, high=w + 0.1) for r, w in zip(one.regions, weights, strict=True)
        )
        maps.append(replace(one, regions=regions, intercept=25.0, value=30.0))
    return replace(face, maps=tuple(maps))


def test_without_faces_at_random_nothing_is_said_in_general(tmp_path):
    faces = [replace(face, is_random=False, chosen_for="age") for face in make_explanations(8)]
    text = text_of(write_lime(tmp_path / "lime.html", faces, title="x").read_text())
    assert "No photo was drawn at random that could be explained" in text
    assert "Groups are compared over faces at random" in text
    assert "head, by gender" not in text
    assert "on average by" not in text


def test_group_maps_leave_out_faces_that_were_chosen_for_their_errors_alone(tmp_path):
    faces = make_explanations(12)
    faces = [replace(face, is_random=place % 3 > 0) for place, face in enumerate(faces)]
    text = text_of(write_lime(tmp_path / "lime.html", faces, title="x").read_text())
    assert "female (4 faces)" in text
    assert "male (4 faces)" in text


def test_headings_say_the_error_and_sections_say_why_a_face_is_there(tmp_path):
    first, second, third, fourth = make_explanations(4)
    guess = {"predicted_age_years": 38.0, "predicted_gender": "male", "gender_probability_male": 0.97}
    faces = [
        replace(first, labels={"age_years": 63.0, "gender": "female"}, predictions=guess),
        replace(second, labels={"age_years": 63.0, "gender": "female"}, predictions=guess, chosen_for="gender",
                reason="most certain mistake of gender: labelled female"),
        replace(third, labels={"age_years": 38.0, "gender": "male"}, predictions=guess),
        replace(fourth, labels={}),
    ]  # fmt: skip
    page = write_lime(tmp_path / "lime.html", faces, title="x").read_text()
    headings = [text_of(part) for part in re.findall(r"<h[34]>(.*?)</h[34]>", page)]
    kept = [one for one in headings if "abelled" in one or "hosen" in one or "mistake" in one or "error" in one]
    assert kept == [
        "Largest error of age",
        "Labelled 63, guessed 38: 25 years too young",
        "Most certain mistake of gender",
        "Labelled female, taken for male, 97 % sure",
        "Labelled 38, guessed 38: no error; labelled male, recognised, 97 % sure",
        "Chosen at random",
    ]


def test_colours_say_where_they_no_longer_tell_weights_apart(tmp_path):
    faces = make_explanations(20)
    outlier = tuple(
        replace(region, weight=-50.0 if region.region == 3 else region.weight) for region in faces[0].maps[0].regions
    )
    faces[0] = with_map(faces[0], 0, regions=outlier)
    text = text_of(write_lime(tmp_path / "lime.html", faces, title="x").read_text())
    assert re.search(
        r"\d weights? lies? beyond the ends, of 120, and gets? the same full colour: up to −50\.0",
        text.replace("lie ", "lie "),
    )
    assert "1 region beyond the scale" in text
    flat = [with_map(one, 0, regions=tuple(replace(r, weight=2.0) for r in one.maps[0].regions)) for one in faces]
    text = text_of(write_lime(tmp_path / "lime.html", flat, title="x").read_text())
    assert "No weight lies beyond the ends." in text


def test_each_photo_has_its_anchor_and_its_regions_for_scripts(tmp_path):
    faces = make_explanations(3)
    page = write_lime(tmp_path / "lime.html", faces, title="x").read_text()
    for face in faces:
        assert page.count(f' id="{photo_anchor(face.path)}"') == 1
        assert f'href="#{photo_anchor(face.path)}"' in page  # from the table of trust
    document = json.loads(unescape(re.search(r'data-regions="(.*?)"', page)[1]))
    runs = np.array(document["runs"]).reshape(-1, 2)
    places = np.repeat(runs[:, 0], runs[:, 1]).reshape(document["side"], document["side"])
    assert np.array_equal(places, faces[0].region_map)
    assert document["names"] == ["hair", "region 1", "region 2", "region 3", "region 4", "region 5"]
    weights = json.loads(unescape(re.search(r'data-weights="(.*?)"', page)[1]))
    assert weights[0] == f"{faces[0].maps[0].regions[0].weight:+.1f} years".replace("-", "−")


def test_a_photo_named_twice_keeps_one_anchor(tmp_path):
    (face,) = make_explanations(1)
    page = write_lime(tmp_path / "lime.html", [face, face], title="x").read_text()
    assert page.count(f'id="{photo_anchor(face.path)}"') == 1


def test_grad_cam_stands_beside_lime_with_what_each_can_say(tmp_path):
    (face,) = make_explanations(1)
    opinion = SecondOpinion("Grad-CAM", (1.0, -2.0, 0.0, 0.5, 0.1, 0.2), 0.62)
    page = write_lime(tmp_path / "lime.html", [with_map(face, 0, second_opinions=(opinion,))], title="x").read_text()
    text = text_of(page)
    assert "Grad-CAM: order alone; rank correlation with LIME 0.62" in text
    assert "Grad-CAM reads the gradient of the network's last layer" in text
    assert "Strongest: region 1" in page or "Strongest: a region without a name" in page
    assert "Grad-CAM" not in text_of(write_lime(tmp_path / "lime.html", [face], title="x").read_text())


def test_a_page_of_one_head_and_of_two_photos_stands(tmp_path):
    faces = [replace(face, maps=face.maps[:1], labels={"age_years": 30.0}, predictions={"predicted_age_years": 33.0})
             for face in make_explanations(2)]  # fmt: skip
    text = text_of(write_lime(tmp_path / "lime.html", faces, title="x").read_text())
    assert "female" not in text
    assert "Labelled 30, guessed 33: 3 years too old" in text
    assert "As far as 2 photos can tell, no part raises or lowers it on average." in text


def test_photos_of_which_nothing_is_known_in_the_head_say_so(tmp_path):
    faces = [replace(face, problems=("no face was found",)) for face in make_explanations(3)]
    text = text_of(write_lime(tmp_path / "lime.html", faces, title="x").read_text())
    assert "No photo was drawn at random that could be explained" in text
    assert "no face was found" in text


def test_averages_of_which_most_maps_failed_are_not_to_be_relied_on(tmp_path):
    faces = []
    for place, face in enumerate(make_explanations(6)):
        trust = replace(face.maps[0].trust, failures=("x",) if place < 4 else ())
        faces.append(with_map(face, 0, trust=trust))
    text = text_of(write_lime(tmp_path / "lime.html", faces, title="x").read_text())
    assert "4 of these 6 maps failed a check: do not rest a decision on these averages." in text
    assert "1 of these 6 maps failed a check. They stay in the averages" in text
