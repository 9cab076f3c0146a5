"""Crops lie beside the originals, every decision is in the table, and nothing of anybody's is replaced."""

import hashlib

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import agegender as ag
from agegender.data.cropping import MARKER, RECORD, crop_faces, remove_other_crops
from agegender.data.faces_table import FacesTable, make_table, read_faces, write_faces
from agegender.errors import TableError, UsageError
from agegender.model import predictor
from agegender.photos.face_crops import Margins, crop_largest_face
from agegender.photos.face_detection import DetectorsInTurn, FaceBox, YuNetDetector
from agegender.photos.reading import read_photo


class WhiteSquares:
    """Finds bright squares on dark ground, so that places are known to the pixel."""

    name = "white squares"

    def detect(self, photo):
        import cv2

        count, _, facts, _ = cv2.connectedComponentsWithStats((photo[:, :, 0] > 128).astype(np.uint8))
        boxes = [FaceBox(*(int(value) for value in facts[label, :4]), 0.5) for label in range(1, count)]
        return sorted(boxes, key=lambda box: -box.area())


def photo_with(*squares, height=120, width=200):
    photo = np.full((height, width, 3), 20, np.uint8)
    for left, top, side in squares:
        photo[top : top + side, left : left + side] = 230
    return photo


@pytest.fixture
def faces(tmp_path):
    photos = {
        "one.png": photo_with((60, 40, 30)),
        "deep/er/two.png": photo_with((10, 10, 20), (100, 30, 40)),
        "none.png": photo_with(),
        "edge.png": photo_with((0, 0, 50)),
    }
    root = tmp_path / "photos"
    for name, photo in photos.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo).save(root / name)
    (root / "broken.png").write_bytes(b"not a photo")
    rows = [{"path": name, "source": "csv", "age_years": 30} for name in [*photos, "broken.png"]]
    rows.append({"path": "copy.png", "source": "csv", "dropped_because": "exact duplicate"})
    return FacesTable(make_table(rows), root, {"seed": 7})


def fingerprint(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def by_original(faces):
    return faces.table.assign(name=[path.removeprefix("photos/") for path in faces.table["original_path"]]).set_index(
        "name"
    )


def test_every_face_is_cut_out_with_its_margin_and_recorded(faces, tmp_path):
    cropped = crop_faces(faces, WhiteSquares(), folder=tmp_path / "crops", margin=0.5)
    table = by_original(cropped)
    assert table["face_count"].tolist()[:4] == [1, 2, 0, 1]
    assert table.loc["one.png", ["crop_left", "crop_top", "crop_side"]].tolist() == [45, 25, 60]
    assert table.loc["deep/er/two.png", ["crop_left", "crop_top", "crop_side"]].tolist() == [80, 10, 80]
    assert table.loc["edge.png", ["crop_left", "crop_top", "crop_side"]].tolist() == [-25, -25, 100]
    assert table.loc["none.png", ["crop_left", "crop_top", "crop_side"]].tolist() == [40, 0, 120]
    sizes = {name: read_photo(cropped.photo_path(table.loc[name, "path"])).shape for name in ("one.png", "none.png")}
    assert sizes == {"one.png": (60, 60, 3), "none.png": (120, 120, 3)}
    assert cropped.notes["crop"] == "white squares"
    assert cropped.notes["crop_margin"] == 0.5
    assert cropped.notes["seed"] == 7
    assert cropped.notes["cropping"].pop("folder") == cropped.photo_path(table.loc["one.png", "path"]).parent.name
    assert cropped.notes["cropping"] == {
        "when_none": "centre",
        "when_several": "largest",
        "photos": 5,
        "without_face": 1,
        "with_several_faces": 1,
        "unreadable": 1,
    }


@pytest.mark.parametrize("name", ["one.png", "none.png", "edge.png", "deep/er/two.png"])
def test_prediction_crops_as_training_did(faces, tmp_path, name):
    cropped = crop_faces(faces, WhiteSquares(), folder=tmp_path / "crops")
    original = read_photo(faces.photo_path(name))
    stored = read_photo(cropped.photo_path(by_original(cropped).loc[name, "path"]))
    predicted = crop_largest_face(original, WhiteSquares(), Margins.of(cropped.notes["crop_margin"]))
    assert stored.shape == predicted.shape
    assert np.abs(stored.astype(int) - predicted).max() <= 12  # JPEG at quality 95


def test_photos_without_a_face_or_with_several_are_left_out_by_choice(faces, tmp_path):
    cropped = crop_faces(faces, WhiteSquares(), folder=tmp_path / "crops", when_none="skip", when_several="skip")
    reasons = by_original(cropped)["dropped_because"]
    assert reasons.to_dict() == {
        "one.png": None,
        "deep/er/two.png": "several faces",
        "none.png": "no face",
        "edge.png": None,
        "broken.png": "unreadable",
        "copy.png": "exact duplicate",
    }
    assert len(list((tmp_path / "crops").rglob("*.jpg"))) == 2


def test_the_originals_are_never_touched_and_every_path_still_leads_somewhere(faces, tmp_path):
    before = fingerprint(faces.root)
    cropped = crop_faces(faces, WhiteSquares(), folder=tmp_path / "crops")
    assert fingerprint(faces.root) == before
    for row in cropped.table.itertuples():
        if row.path != "photos/copy.png":
            assert cropped.photo_path(row.path).is_file()
            assert cropped.photo_path(row.original_path).is_file()
    assert all(cropped.photo_path(path).parts[-1].endswith(".jpg") for path in cropped.kept()["path"])


def test_a_cropped_table_survives_the_disk(faces, tmp_path):
    cropped = crop_faces(faces, WhiteSquares(), folder=tmp_path / "crops")
    write_faces(cropped, tmp_path / "faces.parquet")
    assert read_faces(tmp_path / "faces.parquet").table["crop_side"].dropna().tolist() == [54, 72, 120, 90]


def test_crops_of_an_earlier_run_stay_until_the_new_table_is_in_place(faces, tmp_path):
    folder = tmp_path / "crops"
    old = crop_faces(faces, WhiteSquares(), folder=folder, margin=0.1)
    pixels = {path: old.photo_path(path).read_bytes() for path in old.kept()["path"]}
    new = crop_faces(faces, WhiteSquares(), folder=folder, margin=0.6)
    assert {path: old.photo_path(path).read_bytes() for path in old.kept()["path"]} == pixels
    (folder / ".0123456789ab.left").mkdir()
    (folder / "letters").mkdir()
    (folder / "love.txt").write_text("dear")
    remove_other_crops(folder, new.notes["cropping"]["folder"])
    assert not any(old.photo_path(path).exists() for path in pixels)
    assert all(new.photo_path(path).is_file() for path in new.kept()["path"])
    left = {MARKER, new.notes["cropping"]["folder"], "letters", "love.txt"}
    assert {path.name for path in folder.iterdir()} == left


class Forbidden(WhiteSquares):
    def __repr__(self):
        return "the same rules"

    def detect(self, photo):
        raise AssertionError("the crops are there already")


class Allowed(Forbidden):
    detect = WhiteSquares.detect


def test_the_same_crops_are_not_made_again(faces, tmp_path):
    first = crop_faces(faces, Allowed(), folder=tmp_path / "crops", when_none="skip")
    second = crop_faces(faces, Forbidden(), folder=tmp_path / "crops", when_none="skip")
    pd.testing.assert_frame_equal(first.table, second.table)
    assert first.notes == second.notes


def test_another_model_file_under_the_same_name_is_another_set(faces, tmp_path, monkeypatch):
    model = tmp_path / "yunet.onnx"
    model.write_bytes(b"one")
    detector = YuNetDetector(model)
    monkeypatch.setattr(YuNetDetector, "detect", lambda self, photo: WhiteSquares().detect(photo))
    first = crop_faces(faces, detector, folder=tmp_path / "crops").notes["cropping"]["folder"]
    assert crop_faces(faces, detector, folder=tmp_path / "crops").notes["cropping"]["folder"] == first
    model.write_bytes(b"another")
    assert crop_faces(faces, detector, folder=tmp_path / "crops").notes["cropping"]["folder"] != first


@pytest.mark.parametrize("harm", ["crop", "record", "photo", "rule"])
def test_crops_are_made_again_when_anything_changed(faces, tmp_path, harm):
    first = crop_faces(faces, Allowed(), folder=tmp_path / "crops")
    crops = tmp_path / "crops" / first.notes["cropping"]["folder"]
    if harm == "crop":
        (crops / "one.png.jpg").unlink()
    if harm == "record":
        (crops / RECORD).write_bytes(b"no table")
    if harm == "photo":
        Image.fromarray(photo_with((50, 40, 30))).save(faces.photo_path("one.png"))
    with pytest.raises(AssertionError, match="there already"):
        crop_faces(faces, Forbidden(), folder=tmp_path / "crops", margin=0.5 if harm == "rule" else 0.4)
    again = crop_faces(faces, Allowed(), folder=tmp_path / "crops")
    assert all(again.photo_path(path).is_file() for path in again.kept()["path"])


def test_a_folder_with_anything_else_in_it_is_refused(faces, tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "love.txt").write_text("dear")
    with pytest.raises(UsageError, match="something else"):
        crop_faces(faces, WhiteSquares(), folder=tmp_path / "letters")
    assert (tmp_path / "letters" / "love.txt").read_text() == "dear"


@pytest.mark.parametrize("place", ["photos", "photos/crops", "."])
def test_a_folder_within_or_around_the_photos_is_refused(faces, tmp_path, place):
    with pytest.raises(UsageError, match="within each other"):
        crop_faces(faces, WhiteSquares(), folder=tmp_path / place)


def test_nothing_is_written_when_the_run_is_stopped_half_way(faces, tmp_path):
    class Stopping(WhiteSquares):
        def detect(self, photo):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        crop_faces(faces, Stopping(), folder=tmp_path / "crops")
    assert not (tmp_path / "crops").exists()


def test_names_that_collide_stay_apart_and_names_that_climb_are_refused(tmp_path):
    root = tmp_path / "set" / "photos"
    root.mkdir(parents=True)
    names = ("a.png", "a.png.jpg", "../b.png")
    for name in names:
        Image.fromarray(photo_with((60, 40, 30))).save(root / name, "PNG")
    table = make_table([{"path": name, "source": "csv"} for name in names])
    with pytest.raises(TableError, match="escapes the folder"):
        crop_faces(FacesTable(table, root), WhiteSquares(), folder=tmp_path / "crops")
    climbing = table.assign(dropped_because=[None, None, "escapes the folder"])
    crop_faces(FacesTable(climbing, root), WhiteSquares(), folder=tmp_path / "crops")
    assert len(list((tmp_path / "crops").glob("*/*.jpg"))) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["crops", "set"]


@pytest.mark.parametrize("options", [{"when_none": "guess"}, {"when_several": "all"}, {"margin": -1}])
def test_unknown_choices_are_refused_before_any_photo_is_opened(faces, tmp_path, options):
    with pytest.raises(UsageError):
        crop_faces(faces, WhiteSquares(), folder=tmp_path / "crops", **options)
    assert not (tmp_path / "crops").exists()


class TiltedEyes:
    """Finds a face in every photo that is not dark, its eyes on a slope of 30 degrees."""

    name = "yunet"

    def detect(self, photo):
        if photo.max() < 100:
            return []
        points = ((60.0, 50.0), (60 + 20 * np.cos(np.pi / 6), 60.0), (70.0, 60.0), (62.0, 70.0), (72.0, 75.0))
        return [FaceBox(50, 40, 40, 44, 0.9, points)]


class Nothing:
    name = "haar"

    def detect(self, photo):
        return []


@pytest.fixture
def labelled(tmp_path):
    """A dozen photos with a light slope, and a dark one."""
    root = tmp_path / "photos"
    root.mkdir()
    rows = []
    slope = np.add.outer(np.arange(120), np.arange(160)).clip(0, 255).astype(np.uint8)
    for number in range(13):
        photo = np.stack([slope, slope.max() - slope, np.full_like(slope, number)], axis=2) // (1 if number else 9)
        Image.fromarray(photo).save(root / f"{number}.png")
        row = {
            "path": f"{number}.png",
            "source": "csv",
            "age_years": 20 + number,
            "gender": ("male", "female")[number % 2],
        }
        rows.append(row | {"split": ("train", "train", "valid")[number % 3]})
    return FacesTable(make_table(rows), root)


def test_margins_second_detector_smallest_face_and_eyes_go_from_the_table_to_prediction(
    labelled, tmp_path, monkeypatch
):
    detector = DetectorsInTurn((Nothing(), TiltedEyes()), 30)
    cropped = crop_faces(labelled, detector, folder=tmp_path / "crops", margins=(0.5, 0.2, 0.3), aligns=True)
    write_faces(cropped, tmp_path / "faces.parquet")
    table = by_original(read_faces(tmp_path / "faces.parquet"))
    assert table["face_found_by"].fillna("").tolist() == ["", *["yunet"] * 12]
    assert table["crop_degrees"].tolist()[1:] == pytest.approx([30.0] * 12)
    assert table.loc["1.png", ["right_eye_x", "right_eye_y", "left_mouth_corner_y"]].tolist() == [60, 50, 75]
    assert np.isnan(table.loc["0.png", "left_eye_x"])
    monkeypatch.setattr(predictor, "make_detectors", lambda *_, **__: detector)
    small = {"body": "test_resnet", "weights": "none", "image_size": 32, "epochs": 1, "batch_size": 4, "device": "cpu"}
    model = ag.Model.train(ag.Faces.load(tmp_path / "faces.parquet"), **small)
    loaded = ag.Model.load(model.save(tmp_path / "model"))
    image = loaded.image
    assert (image.crop, image.crop_then, image.crop_smallest, image.crop_aligned) == ("haar", "yunet", 30, True)
    assert image.crop_margins == (0.5, 0.2, 0.3)
    for name in ("0.png", "1.png", "7.png"):
        stored = read_photo(cropped.photo_path(table.loc[name, "path"]))
        cut = loaded.crop_photo(read_photo(labelled.photo_path(name)))
        assert stored.shape == cut.shape
        assert np.abs(stored.astype(int) - cut).mean() < 2  # JPEG at quality 95


def test_other_rules_are_another_set(labelled, tmp_path):
    sets = set()
    for rules in ({}, {"margins": (0.5, 0.2, 0.3)}, {"aligns": True}):
        crop_faces(labelled, TiltedEyes(), folder=tmp_path / "crops", **rules)
        sets.add(len(list((tmp_path / "crops").glob("*/found.parquet"))))
    assert sets == {1, 2, 3}
