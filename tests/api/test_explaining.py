from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from agegender import explain, report
from agegender.api import explaining
from agegender.api.explaining import PhotoToExplain, chosen_photos, explain_photos
from agegender.audit.predictions_table import write_predictions
from agegender.data.faces_table import FacesTable, make_table, read_faces, write_faces
from agegender.explanation import GRAD_CAM, OCCLUSION
from agegender.explanation.choosing_faces import Choice
from agegender.explanation.explanation_files import read_explanations
from agegender.explanation.lime_explainer import LimeExplainer, LimeSettings
from agegender.heads import KNOWN_HEADS as HEADS
from agegender.heads import Classification, Regression
from agegender.model.checkpoint import save_weights
from agegender.model.model_folder import network_entries
from agegender.model.network import Statistics, make_network
from agegender.model.predictor import Predictor
from agegender.settings import ImageSettings
from agegender.writing import write_json

SETTINGS = LimeSettings(64, "face-grid", has_trust=False)
IMAGE = ImageSettings(size=32)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory) -> Path:
    """A model with random weights and a faces table of eight photos."""
    folder = tmp_path_factory.mktemp("models") / "toy"
    photos = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    rows = []
    for i in range(8):
        photo = cv2.resize(generator.integers(0, 255, (6, 6, 3), dtype=np.uint8), (64, 64))
        cv2.imwrite(str(photos / f"{i}.png"), photo)
        label = {"age_years": 10.0 * i, "gender": "male", "ethnicity": "Asian" if i % 2 else "White", "split": "test"}
        rows.append({"path": f"{i}.png", "source": "csv", **label})
    write_faces(FacesTable(make_table(rows), photos), folder / "faces.parquet")
    toy = toy_predictor(HEADS)
    save_weights(toy.network, folder / "weights.safetensors")
    write_json(folder / "model.json", toy.card)
    return folder


def toy_predictor(heads) -> Predictor:
    statistics = {head.name: Statistics(35.0, 20.0) for head in heads if head.kind == "regression"}
    card = {"name": "toy", **network_entries(heads, IMAGE, statistics, "resnet18")}
    network = make_network("resnet18", heads, statistics, image_size=IMAGE.size)
    return Predictor.of_network(network, card, device=torch.device("cpu"), precision="fp32")


@pytest.fixture(scope="module")
def model(model_folder) -> Predictor:
    return Predictor.load(model_folder, device="cpu")


@pytest.fixture
def photos(model_folder) -> list[Path]:
    root = Path(read_faces(model_folder / "faces.parquet").root)
    return [root / f"{i}.png" for i in range(8)]


def test_command_gives_one_object_per_photo_in_order(model_folder, photos, tmp_path, capsys):
    broken = tmp_path / "broken.jpg"
    broken.write_text("no photo")
    given = [photos[3], broken, photos[0]]
    arguments = [
        *map(str, [*given, photos[3]]),
        "--model",
        str(model_folder),
        "--samples",
        "64",
        "--segments",
        "face-grid",
    ]
    assert explain.main([*arguments, "--out", str(tmp_path / "out"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [one["path"] for one in document] == [str(path) for path in given]
    assert "heads" not in document[1]
    assert document[1]["problems"]
    for head in document[0]["heads"].values():
        assert {"held_out_r2", "deletion_auc", "insertion_auc", "top_jaccard", "background_share"} <= set(head)
        assert {"weight", "low", "high"} <= set(head["regions"][0])
    assert document[0]["predicted_gender"] in ("male", "female")
    assert [face.path for face in read_explanations(tmp_path / "out")] == [str(given[i]) for i in (0, 2)]
    assert explain.main([*arguments, "--out", str(tmp_path / "again"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["heads"] == document[0]["heads"]


def test_photo_without_a_face_is_said(model, photos):
    (face,) = explain_photos(model, [PhotoToExplain(photos[0], "blobs")], SETTINGS, None).faces
    assert face.problems[0].startswith("no face was found")


def test_ten_pixel_photo_is_said_although_it_was_enlarged(model, tmp_path):
    cv2.imwrite(str(tmp_path / "tiny.png"), np.random.default_rng(0).integers(0, 255, (10, 12, 3), dtype=np.uint8))
    (face,) = explain_photos(model, [PhotoToExplain(tmp_path / "tiny.png", "tiny")], SETTINGS, None).faces
    assert face.problems[0].startswith("the photo has only 12×10 pixels")


def test_faces_are_chosen_by_error_and_none_twice(model, model_folder):
    chosen = chosen_photos(model, model_folder, Choice(worst=3, best=3, random=9))
    assert len({one.name for one in chosen}) == len(chosen) == 8
    assert [one.reason.split(":")[0] for one in chosen[:3]] == ["largest error of age"] * 3
    errors = [float(one.reason.split()[-2]) for one in chosen if one.chosen_for == "age"]
    assert errors[0] >= errors[1] >= errors[2] >= errors[5] >= errors[4] >= errors[3]
    assert all(one.is_random for one in chosen)
    assert chosen[0].labels["gender"] == "male"


def test_what_the_model_folder_holds_is_not_predicted_again(model, model_folder, tmp_path, monkeypatch):
    faces = read_faces(model_folder / "faces.parquet")
    predictions = model.predict_faces(faces)
    own = tmp_path / "toy"
    write_faces(faces, own / "faces.parquet")
    write_predictions(predictions.assign(predicted_age_years=range(8)), own / "predictions.parquet")
    monkeypatch.setattr(model, "predict_faces", None)
    chosen = chosen_photos(model, own, Choice(worst=1))
    assert [one.reason for one in chosen] == ["largest error of age: under-estimated by 63.0 years"]
    assert chosen_photos(model, own, Choice(worst=1), faces_file=own / "faces.parquet") == chosen
    # Another table is predicted, but not for faces at random.
    assert len(chosen_photos(model, own, Choice(random=3), faces_file=model_folder / "faces.parquet")) == 3
    with pytest.raises(TypeError):
        chosen_photos(model, own, Choice(worst=1), faces_file=model_folder / "faces.parquet")


def test_only_the_wanted_group_is_explained(model_folder, tmp_path, capsys):
    arguments = ["--model", str(model_folder), "--random", "9", "--group", "ethnicity=Asian", "--samples", "64"]
    assert explain.main([*arguments, "--segments", "face-grid", "--out", str(tmp_path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert sorted(one["path"] for one in document) == ["1.png", "3.png", "5.png", "7.png"]
    assert {one["labels"]["ethnicity"] for one in document} == {"Asian"}


def test_faces_at_random_are_told_as_averages(model_folder, tmp_path, capsys):
    arguments = ["--model", str(model_folder), "--samples", "64", "--segments", "face-grid"]
    assert explain.main([*arguments, "--random", "4", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "age, over 4 faces at random:" in said
    assert "gender (female), over 4 faces at random:" in said
    assert "What moves it most: " in said
    assert ".png (chosen at random)" not in said
    assert explain.main([*arguments, "--random", "2", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count(".png (chosen at random)") == 2


def test_interrupted_it_keeps_what_is_done(model, photos, tmp_path, capsys, monkeypatch):
    explained = explaining.explain_photo

    def interrupted(model, explainer, photo, one, **others):
        if one.name == "third":
            raise KeyboardInterrupt
        return explained(model, explainer, photo, one, **others)

    monkeypatch.setattr(explaining, "explain_photo", interrupted)
    names = ("first", "second", "third", "fourth")
    wanted = [PhotoToExplain(path, name) for path, name in zip(photos, names, strict=False)]
    with pytest.raises(KeyboardInterrupt):
        explain_photos(model, wanted, SETTINGS, tmp_path)
    assert [face.path for face in read_explanations(tmp_path)] == ["first", "second"]
    assert "2 of 4 explanations are done, kept in" in capsys.readouterr().err


@pytest.fixture
def counted(monkeypatch) -> list[str]:
    """The names of photos that LIME is asked about."""
    asked: list[str] = []
    explained = LimeExplainer.explain
    monkeypatch.setattr(
        LimeExplainer,
        "explain",
        lambda self, photo, name, **more: (asked.append(name), explained(self, photo, name, **more))[1],
    )
    return asked


def test_what_was_explained_before_is_taken_over_and_what_has_changed_is_not(model_folder, photos, tmp_path, counted):
    loaded = Predictor.load(model_folder, device="cpu")
    loaded.card["weights_sha256"] = "0" * 64
    wanted = [PhotoToExplain(path, path.name) for path in photos[:3]]
    first = explain_photos(loaded, wanted, SETTINGS, tmp_path).faces
    assert counted == ["0.png", "1.png", "2.png"]
    again = [replace(wanted[1], reason="another", labels={"gender": "female"}), PhotoToExplain(photos[4], "4.png")]
    second = explain_photos(loaded, again, SETTINGS, tmp_path).faces
    assert counted[3:] == ["4.png"]
    assert [face.path for face in read_explanations(tmp_path)] == ["1.png", "4.png"]
    assert (second[0].reason, second[0].labels) == ("another", {"gender": "female"})
    assert np.array_equal(second[0].maps[0].weights(), first[1].maps[0].weights())
    # Another setting, another network, and an explanation that shows nobody are all made anew.
    explain_photos(loaded, again[:1], replace(SETTINGS, seed=1), tmp_path, hide_faces=True)
    explain_photos(loaded, again[:1], replace(SETTINGS, seed=1), tmp_path)
    loaded.card["weights_sha256"] = "1" * 64
    explain_photos(loaded, again[:1], replace(SETTINGS, seed=1), tmp_path)
    assert counted[4:] == ["1.png"] * 3


def test_an_interrupted_run_goes_on_where_it_was(model_folder, photos, tmp_path, counted, monkeypatch):
    loaded = Predictor.load(model_folder, device="cpu")
    loaded.card["weights_sha256"] = "0" * 64
    wanted = [PhotoToExplain(path, path.name) for path in photos[:4]]
    explained = explaining.explain_photo

    def interrupted(model, explainer, photo, one, **others):
        if one.name == "2.png":
            raise KeyboardInterrupt
        return explained(model, explainer, photo, one, **others)

    monkeypatch.setattr(explaining, "explain_photo", interrupted)
    with pytest.raises(KeyboardInterrupt):
        explain_photos(loaded, wanted, SETTINGS, tmp_path)
    monkeypatch.setattr(explaining, "explain_photo", explained)
    explain_photos(loaded, wanted, SETTINGS, tmp_path)
    assert counted == ["0.png", "1.png", "2.png", "3.png"]
    assert [face.path for face in read_explanations(tmp_path)] == ["0.png", "1.png", "2.png", "3.png"]


def test_a_damaged_explanation_is_made_anew(model_folder, photos, tmp_path, counted):
    loaded = Predictor.load(model_folder, device="cpu")
    loaded.card["weights_sha256"] = "0" * 64
    wanted = [PhotoToExplain(photos[0], "0.png")]
    explain_photos(loaded, wanted, SETTINGS, tmp_path)
    next(tmp_path.glob("*.npz")).write_bytes(b"PK")
    explain_photos(loaded, wanted, SETTINGS, tmp_path)
    assert counted == ["0.png"] * 2
    assert len(read_explanations(tmp_path)) == 1


def test_faces_at_random_are_sampled_lightly_with_the_parts_as_regions_where_they_are_known(model, photos):
    settings = LimeSettings()
    one = PhotoToExplain(photos[0], "x", is_from_table=True, is_aligned=True, is_random=True)
    wanted = [one, replace(one, chosen_for="age"), replace(one, is_aligned=False)]
    grid, both, unknown = explain_photos(model, wanted, settings, None).faces
    assert (grid.segments, grid.sample_count) == ("face-grid", 128)
    assert grid.evaluation_count < both.evaluation_count / 2
    assert both.segments == "slic"
    assert (unknown.segments, unknown.sample_count) == ("slic", 128)
    assert all(face.is_random for face in (grid, both, unknown))
    assert grid.maps[0].trust is not None


def test_it_says_how_long_it_will_take(model, photos, capsys, monkeypatch):
    monkeypatch.setattr(explaining, "_LONG_SECONDS", 0)
    explain_photos(model, [PhotoToExplain(path, path.name) for path in photos[:3]], SETTINGS, None)
    said = capsys.readouterr().err
    assert said.count("3 photos to explain: about ") == 1
    assert "Ctrl-C keeps what is done" in said


def test_grad_cam_is_asked_by_itself_wherever_it_can_be(model, photos, monkeypatch):
    assert explaining.usual_methods(model) == (GRAD_CAM,)
    (face,) = explain_photos(model, [PhotoToExplain(photos[0], "x")], SETTINGS, None, methods=(GRAD_CAM,)).faces
    assert [opinion.method for opinion in face.maps[0].second_opinions] == [GRAD_CAM]
    monkeypatch.setattr(explaining, "has_captum", lambda: False)
    assert explaining.usual_methods(model) == ()


def test_every_head_is_explained_in_its_own_words(photos):
    heads = (*HEADS, Regression("height", "height_cm", "cm"), Classification("mood", "mood", ("calm", "happy", "sad")))
    (face,) = explain_photos(toy_predictor(heads), [PhotoToExplain(photos[0], "x")], SETTINGS, None).faces
    assert [one.target.name for one in face.maps[2:]] == ["height", "mood: calm", "mood: happy", "mood: sad"]
    assert [one.target.unit for one in face.maps[2:]] == ["cm", *["log-odds"] * 3]
    assert all(np.abs(one.weights()).sum() > 0 for one in face.maps)
    assert {"predicted_height_cm", "predicted_mood", "mood_probability_sad"} <= set(face.predictions)


def test_second_opinions_stand_beside_the_maps(model, photos):
    wanted = [PhotoToExplain(photos[0], "x")]
    (face,) = explain_photos(model, wanted, SETTINGS, None, methods=(GRAD_CAM, OCCLUSION)).faces
    for one in face.maps:
        assert [opinion.method for opinion in one.second_opinions] == ["Grad-CAM", "occlusion"]
        assert all(len(opinion.weights) == face.region_count for opinion in one.second_opinions)


def test_the_untrained_copy_has_other_answers(model):
    explainer = explaining.explainer_of(model, SETTINGS)
    images = torch.randint(0, 255, (3, 3, 32, 32), dtype=torch.uint8)
    assert explainer.untrained_scores is not None
    assert not torch.allclose(explainer.score_images(images), explainer.untrained_scores(images))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--random", "0"], "nothing to explain: every count is 0"),
        (["a.jpg", "--random", "3"], "give either photos"),
        (["--random", "-1"], "--random -1"),
        (["a.jpg", "--samples", "many"], "--samples many"),
        (["--random", "3", "--group", "Asian"], "expected COLUMN=VALUE"),
        (["--random", "3", "--group", "planet=Mars"], "no column 'planet'"),
        (["--random", "3", "--group", "ethnicity=Martian"], "Did you mean Asian?"),
        (["no-such.jpg"], "there is no photo no-such.jpg"),
    ],
)
def test_bad_input_is_one_line(model_folder, tmp_path, capsys, arguments, words):
    assert explain.main([*arguments, "--model", str(model_folder), "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("agegender explain: ")
    assert words in error


@pytest.mark.slow
def test_report_is_written_with_the_explanations_on_it(model, model_folder, photos, tmp_path):
    faces = read_faces(model_folder / "faces.parquet")
    write_predictions(model.predict_faces(faces), model_folder / "predictions.parquet")
    arguments = [str(photos[0]), "--model", str(model_folder), "--samples", "64", "--segments", "face-grid", "--report"]
    assert explain.main([*arguments, "--reports-dir", str(tmp_path)]) == 0
    page = (tmp_path / "toy" / "lime.html").read_text(encoding="utf-8")
    assert "no face was found in the photo" in page
    assert list((tmp_path / "toy" / "explanations").glob("*.json"))
    assert not (tmp_path / "toy" / "index.html").exists()


@pytest.mark.slow
@pytest.mark.parametrize("asked", [[], ["--no-faces"]])
def test_report_hides_faces_when_asked_or_when_the_other_pages_do(model, model_folder, photos, tmp_path, asked):
    write_predictions(
        model.predict_faces(read_faces(model_folder / "faces.parquet")), model_folder / "predictions.parquet"
    )
    if not asked:
        assert report.main(["--model", str(model_folder), "--no-faces", "--reports-dir", str(tmp_path)]) == 0
        (tmp_path / "toy" / "bias.html").write_text("as it was")
    arguments = [str(photos[0]), "--model", str(model_folder), "--samples", "64", "--segments", "face-grid", "--report"]
    assert explain.main([*arguments, "--reports-dir", str(tmp_path), *asked]) == 0
    page = (tmp_path / "toy" / "lime.html").read_text(encoding="utf-8")
    assert photos[0].name not in page
    assert "Faces are hidden, and with them all that is known of single photos." in page
    (stored,) = read_explanations(tmp_path / "toy" / "explanations")
    assert (stored.is_hidden, stored.path) == (True, "photo 1")
    if not asked:
        assert (tmp_path / "toy" / "bias.html").read_text() == "as it was"
        assert 'href="lime.html"' in (tmp_path / "toy" / "index.html").read_text(encoding="utf-8")


def test_a_photo_is_taken_for_aligned_only_where_its_source_says_so_and_it_was_not_cut_again(tmp_path):
    names = ["20_0_0_20170116174525125.jpg.chip.jpg", "20_0_0_20170116174525126.jpg", "own.jpg.chip.jpg"]
    for name in names:
        cv2.imwrite(str(tmp_path / name), np.zeros((8, 8, 3), np.uint8))
    rows = [{"path": path, "source": source} for path, source in zip(names, ["utkface"] * 2 + ["csv"], strict=True)]
    table = make_table(rows)
    for notes, expected in (({}, [True, False, False]), ({"crop": "haar"}, [False, False, False])):
        faces = FacesTable(table, tmp_path, notes)
        found = explaining.photos_of_rows(faces, table.assign(reason="x", chosen_for="", is_random=False), HEADS)
        assert [one.is_aligned for one in found] == expected
