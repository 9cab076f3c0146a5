"""The command `prepare`: every source to a table, counts that add up, bad input in one line, nothing half-written."""

import os
import subprocess
import sys

import cv2
import dataset_layouts
import numpy as np
import pandas as pd
import pytest
from dataset_layouts import (
    LAYOUTS,
    text,
    write_appa_real,
    write_fairface,
    write_folder,
    write_masked_faces,
    write_utkface,
)
from prepare_command import document, prepare, refusal

from agegender import compare, train
from agegender.data.faces_table import read_faces
from agegender.data.sources.drawn_faces import draw_faces
from agegender.prepare import build_parser

pytestmark = pytest.mark.usefixtures("in_a_fresh_folder")

NEEDED = [
    "files",
    "unreadable",
    "malformed_names",
    "exact_duplicates",
    "exact_conflicts",
    "near_duplicate_pairs",
    "near_duplicates",
    "kept",
    "split",
    "seconds",
]


@pytest.fixture(scope="module")
def drawn_photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "faces"
    draw_faces(folder, face_count=48, image_size=64)
    return [cv2.imread(str(path)) for path in sorted(folder.glob("*.jpg"))]


@pytest.fixture
def _photos_are_drawn_faces(drawn_photos, monkeypatch):
    unused = iter(drawn_photos)

    def write_drawn(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), next(unused))
        return path

    monkeypatch.setattr(dataset_layouts, "photo", write_drawn)


@pytest.mark.usefixtures("_photos_are_drawn_faces")
@pytest.mark.parametrize("source", LAYOUTS)
def test_drawn_faces_in_the_layout_of_every_source_become_a_table_whose_counts_add_up(source, tmp_path, capsys):
    write, options = LAYOUTS[source]
    columns = [f"{ours}={theirs}" for ours, theirs in options.get("columns", {}).items()]
    given = ["--source", source.replace("_", "-"), "--data", write(tmp_path / "data")]
    counts = document(capsys, *given, *(["--columns", *columns] if columns else []))
    faces = read_faces(tmp_path / "here" / "faces.parquet")
    assert set(NEEDED) <= set(counts)
    assert counts["files"] == len(faces.table) == counts["kept"] + sum(counts["dropped"].values())
    assert counts["kept"] == len(faces.kept()) == sum(counts["split"].values())
    assert counts["unreadable"] == counts["leaks"] == 0
    assert faces.kept()["file_sha512"].str.fullmatch("[0-9a-f]{128}").all()


def test_planted_defects_are_counted_exactly(tmp_path, capsys):
    root = write_utkface(tmp_path / "data")
    names = sorted(path.name for path in root.iterdir())
    copy = root / "again" / names[0]
    copy.parent.mkdir()
    copy.write_bytes((root / names[0]).read_bytes())
    contradiction = root / "77_1_0_20170116174525999.jpg"
    contradiction.write_bytes((root / names[1]).read_bytes())
    (root / "50_0_0_20170116174525111.jpg").write_bytes(b"")
    text(root / "holiday.jpg", "not a photo")
    counts = document(capsys, "--source", "utkface", "--data", root, "--near-duplicates", "none")
    wanted = {
        "files": 17,
        "unreadable": 1,
        "malformed_names": 2,
        "exact_duplicates": 2,
        "exact_conflicts": 1,
        "kept": 12,
    }
    assert {name: counts[name] for name in wanted} == wanted
    assert counts["dropped"] == {"conflicting labels": 2, "exact duplicate": 1, "malformed name": 1, "unreadable": 1}
    assert "holiday.jpg" in counts["malformed"]


def test_two_folders_with_the_same_names_become_one_table(tmp_path, capsys):
    one, two = write_utkface(tmp_path / "one"), write_utkface(tmp_path / "two")
    counts = document(capsys, "--source", "utkface", "--data", one, "--data", two)
    faces = read_faces(tmp_path / "here" / "faces.parquet")
    assert counts["files"] == 26
    assert all(faces.photo_path(path).is_file() for path in faces.table["path"])


def test_two_sources_with_their_own_options_become_one_table(tmp_path, capsys):
    appa = ["--source", "appa_real", "--data", write_appa_real(tmp_path / "appa"), "--option", "target=real"]
    fair = ["--source", "fairface", "--data", write_fairface(tmp_path / "fair"), "--option", "open_range_age_years=77"]
    document(capsys, *appa, *fair, "--official-split")
    table = read_faces(tmp_path / "here" / "faces.parquet").table
    assert table["source"].value_counts().to_dict() == {"fairface": 16, "appa_real": 12}
    assert (table["age_years"] == table["real_age_years"])[table["source"] == "appa_real"].all()
    assert (table["age_years"] == 77).sum() == 2
    assert table["split"].value_counts()["test"] == 3 + 8


def test_the_official_split_is_the_default_only_where_every_source_has_one(tmp_path, capsys):
    appa = ["--source", "appa-real", "--data", write_appa_real(tmp_path / "appa")]
    assert document(capsys, *appa)["split"] == {"train": 6, "valid": 3, "test": 3}
    mixed = document(capsys, *appa, "--source", "utkface", "--data", write_utkface(tmp_path / "utk"))
    assert mixed["split"]["train"] == pytest.approx(0.7 * mixed["kept"], abs=1)
    assert document(capsys, *appa, "--split", "50/25/25")["split"] == {"train": 6, "valid": 3, "test": 3}


def test_a_published_split_that_leaks_is_kept_and_said(tmp_path, capsys):
    root = write_appa_real(tmp_path / "appa")
    release = root / "appa-real-release"
    (release / "test/000011.jpg_face.jpg").write_bytes((release / "train/000000.jpg_face.jpg").read_bytes())
    given = ["--source", "appa-real", "--data", root, "--on-conflict", "keep-first"]
    counts = document(capsys, *given)
    assert (counts["leaks"], counts["leaks_as_published"]) == (0, 1)
    prepare(*given)
    assert "the published split had 1" in capsys.readouterr().out


def test_folds_are_written_into_the_table(tmp_path):
    prepare("--source", "utkface", "--data", write_utkface(tmp_path / "data"), "--folds", 4)
    assert sorted(read_faces(tmp_path / "here" / "faces.parquet").kept()["fold"].unique()) == [0, 1, 2, 3]


def test_a_limit_takes_the_same_random_photos_for_the_same_seed(tmp_path, capsys):
    given = ["--source", "utkface", "--data", write_utkface(tmp_path / "data"), "--limit", 6]
    chosen = []
    for seed in (1, 1, 2):
        assert document(capsys, *given, "--seed", seed)["files"] == 6
        chosen.append(read_faces(tmp_path / "here" / "faces.parquet").table["path"].tolist())
    assert chosen[0] == chosen[1] != chosen[2]


def test_derived_labels_are_columns_of_the_table(tmp_path, capsys):
    given = ["--source", "masked-faces", "--data", write_masked_faces(tmp_path / "data")]
    document(capsys, *given, "--age-classes", "30,60", "--combine", "mask", "age_class", "gender")
    table = read_faces(tmp_path / "here" / "faces.parquet").table
    assert table["age_class"].value_counts().to_dict() == {"30–59": 21, "<30": 7}
    assert table["mask_age_gender"].nunique() == 3 * 3
    assert "no labels age_class" in refusal(capsys, *given, "--combine", "mask", "age_class")
    assert "write for example 30,60" in refusal(capsys, *given, "--age-classes", "60,30")


def test_the_evaluation_photos_of_the_mask_competition_become_the_test_part(tmp_path, capsys):
    root = write_masked_faces(tmp_path / "data", answers=[14, 0, 7])
    counts = document(capsys, "--source", "masked-faces", "--data", root, "--option", "eval=yes")
    assert counts["split"]["test"] == 3
    assert counts["split"]["train"] + counts["split"]["valid"] == 28


def test_the_text_says_what_was_lost_and_why(tmp_path, capsys):
    prepare("--source", "utkface", "--data", write_utkface(tmp_path / "data"))
    said = capsys.readouterr().out
    assert "13 files, 13 kept" in said
    assert "malformed names: 1 (39_1_20170116174525125.jpg.chip.jpg)" in said
    assert "nothing on two sides of the split" in said


def test_a_report_is_written_offline_beside_the_table(tmp_path, capsys):
    page = tmp_path / "here" / "dataset.html"
    given = ["--source", "folder", "--data", write_folder(tmp_path / "data")]
    assert document(capsys, *given, "--report", "dataset.html")["report"] == "dataset.html"
    assert "age out of range" in page.read_text(encoding="utf-8")


def test_faces_are_cropped_beside_the_table_and_the_photos_stay(tmp_path, capsys):
    root = write_utkface(tmp_path / "data")
    before = {path.name: path.read_bytes() for path in root.iterdir()}
    counts = document(capsys, "--source", "utkface", "--data", root, "--crop", "haar", "--crop-margin", "0.3")
    faces = read_faces(tmp_path / "here" / "faces.parquet")
    assert (faces.notes["crop"], faces.notes["crop_margin"]) == ("haar", 0.3)
    assert counts["kept"] == 13
    assert all(
        faces.photo_path(path).is_relative_to(tmp_path / "here" / "faces-crops") for path in faces.kept()["path"]
    )
    assert {path.name: path.read_bytes() for path in root.iterdir()} == before


def test_quality_is_scored_and_nothing_is_dropped_for_it(tmp_path, capsys):
    counts = document(capsys, "--source", "utkface", "--data", write_utkface(tmp_path / "data"), "--quality")
    table = read_faces(tmp_path / "here" / "faces.parquet").table
    assert counts["kept"] == counts["files"] == 13
    assert table["is_tiny"].tolist() == [False] * 13
    assert table["blurry_score"].between(0, 1).all()


def test_photos_without_a_face_can_be_left_out(tmp_path, capsys):
    root = write_utkface(tmp_path / "data")
    said = refusal(capsys, "--source", "utkface", "--data", root, "--crop", "haar", "--no-face", "skip")
    assert "none of the 13 photos" in said
    assert "13 no face" in said


@pytest.mark.slow
@pytest.mark.skipif("AGEGENDER_UTKFACE" not in os.environ, reason="AGEGENDER_UTKFACE names no folder of UTKFace")
def test_the_real_photos_give_the_published_counts(capsys):
    counts = document(capsys, "--source", "utkface", "--data", os.environ["AGEGENDER_UTKFACE"])
    assert (counts["malformed_names"], counts["near_duplicates"], counts["unreadable"]) == (3, 1470, 0)
    assert counts["leaks"] == 0


def test_the_help_lists_every_source_and_imports_nothing_heavy():
    help_text = build_parser().format_help()
    assert all(source.replace("_", "-").replace("csv-table", "csv") in help_text for source in LAYOUTS)
    code = (
        "import sys, agegender.prepare as p; p.build_parser(); print({'pandas','numpy','torch','cv2'} & {*sys.modules})"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_train_gives_a_source_its_options_and_refuses_unknown_ones(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_appa_real(tmp_path / "appa")
    words = "--source appa-real --data appa --body test_resnet --weights none --image-size 32 --epochs 1 --no-report"
    assert train.main([*words.split(), "--name", "real", "--batch-size", "2", "--option", "target=real"]) == 0
    table = pd.read_parquet(tmp_path / "models" / "real" / "faces.parquet")
    assert (table["age_years"] == table["real_age_years"]).all()
    capsys.readouterr()
    for option, message in (
        ("target=dreamt", "neither of apparent and real"),
        ("eyes=blue", "no option eyes; it has target"),
        ("target", "is no NAME=VALUE"),
    ):
        assert train.main([*words.split(), "--option", option]) == 2
        assert message in capsys.readouterr().err
    assert train.main(["--option", "target=real"]) == 2
    assert "--data" in capsys.readouterr().err


def test_crops_by_margins_of_three_sides_and_a_smallest_face_are_noted(tmp_path, capsys):
    root = write_utkface(tmp_path / "data")
    words = ["--crop-margins", "0.6,0.3,0.4", "--smallest-face", "0.2"]
    document(capsys, "--source", "utkface", "--data", root, "--crop", "haar", *words)
    notes = read_faces(tmp_path / "here" / "faces.parquet").notes
    assert (notes["crop_margins"], notes["crop_smallest"]) == ([0.6, 0.3, 0.4], 0.2)
    assert "crop_margin" not in notes


def test_the_course_kit_goes_from_arrays_to_a_submission(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    dataset_layouts.write_course_kit(tmp_path / "kit")
    words = (
        "--data kit --body test_resnet --weights none --image-size 32 --epochs 1 --batch-size 4 --no-report --name kit"
    )
    assert train.main(words.split()) == 0
    assert "looks like course-kit" in capsys.readouterr().err
    assert compare.main(["models/kit", "--submission", "predictions.zip"]) == 0
    assert "3 ages" in capsys.readouterr().out
    pixels = np.load("kit/data/data_test.npy")
    pixels[2] = np.load("kit/data/data_train.npy")[0]  # a test photo that is dropped as a twin
    np.save("kit/data/data_test.npy", pixels)
    (tmp_path / "predictions.zip").unlink()
    assert train.main(words.split()) == 0
    capsys.readouterr()
    assert compare.main(["models/kit", "--submission", "predictions.zip"]) == 2
    assert "2 ages, and 3 photos" in capsys.readouterr().err
    assert not (tmp_path / "predictions.zip").exists()
