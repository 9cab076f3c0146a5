"""The command `prepare`: every source to a table, counts that add up, bad input in one line, nothing half-written."""

import errno
import json
import os
import signal
import subprocess
import sys
import time

import cv2
import dataset_layouts
import numpy as np
import pytest
from dataset_layouts import LAYOUTS, photo, text, write_appa_real, write_fairface, write_folder, write_utkface

from agegender.faces import read_faces
from agegender.prepare import build_parser, main
from agegender.sources.drawn_faces import draw_faces

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


@pytest.fixture(autouse=True)
def _in_a_fresh_folder(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def prepare(*arguments, code=0):
    assert main([*map(str, arguments), "--out", "faces.parquet"]) == code


def document(capsys, *arguments):
    prepare(*arguments, "--json")
    return json.loads(capsys.readouterr().out)


def refusal(capsys, *arguments):
    prepare(*arguments, code=2)
    said = capsys.readouterr()
    assert said.out == ""
    lines = [line for line in said.err.splitlines() if line.startswith("agegender prepare: ")]
    assert len(lines) == 1
    assert "Traceback" not in said.err
    return lines[0]


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to prepare"),
        (["--source", "utkface"], "has no --data"),
        (["--source", "utkfaces", "--data", "DATA"], "Did you mean utkface"),
        (["--source", "utkface", "--data", "nowhere"], "there is no folder at nowhere"),
        (["--source", "afad", "--data", "DATA"], "looks like utkface. Try --source utkface"),
        (["--source", "utkface", "--data", "DATA", "--data", "DATA"], "Name each folder once"),
        (["--source", "utkface", "--data", "DATA", "--option", "colour=red"], "has no option colour; it has none"),
        (["--source", "afad", "--data", "DATA", "--option", "colour=red"], "has no option colour; it has ages"),
        (["--source", "utkface", "--data", "DATA", "--option", "colour"], "is not of the form name=value"),
        (["--data", "DATA", "--source", "utkface", "--source", "afad"], "to which does it belong"),
        (["--source", "utkface", "--data", "DATA", "--split", "70/30"], "write 70/15/15"),
        (["--source", "utkface", "--data", "DATA", "--split", "0/0/0"], "write for example 70/15/15"),
        (["--source", "utkface", "--data", "DATA", "--official-split"], "has no official split"),
        (["--source", "utkface", "--data", "DATA", "--folds", "1"], "1 folds cannot be made"),
        (["--source", "utkface", "--data", "DATA", "--limit", "0"], "--limit 0 leaves no photo"),
        (["--source", "utkface", "--data", "DATA", "--near-duplicates", "65"], "from 0 to 64"),
        (["--source", "utkface", "--data", "DATA", "--near-duplicates", "-1"], "from 0 to 64"),
        (["--source", "utkface", "--data", "DATA", "--report", "."], "it is a folder"),
        (["--source", "utkface", "--data", "DATA", "--crop", "yunet"], "yunet"),
        (
            ["--source", "utkface", "--data", "DATA", "--crop", "haar", "--crop-margin", "-1"],
            "--crop-margin -1 is no share",
        ),
        (["--source", "utkface", "--data", "DATA", "--crop", "haar", "--crops", "DATA"], "lie within each other"),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_table(tmp_path, capsys, arguments, message):
    root = str(write_utkface(tmp_path / "data"))
    assert message in refusal(capsys, *[root if argument == "DATA" else argument for argument in arguments])
    assert not (tmp_path / "here" / "faces.parquet").exists()


def test_ten_thousand_empty_files_are_refused_quickly(tmp_path, capsys):
    root = tmp_path / "data"
    root.mkdir()
    for number in range(10_000):
        (root / f"{number % 100}_0_0_2017011617452{number:05d}.jpg").touch()
    started = time.monotonic()
    said = refusal(capsys, "--source", "utkface", "--data", root)
    assert "no readable photo" in said
    assert "all 10000 files" in said
    assert time.monotonic() - started < 20


def test_a_place_that_cannot_be_written_fails_before_the_work(tmp_path, capsys):
    root = write_utkface(tmp_path / "data")
    (tmp_path / "file").write_text("in the way")
    assert main(["--source", "utkface", "--data", str(root), "--out", str(tmp_path / "file" / "faces.parquet")]) == 2
    assert "cannot write" in capsys.readouterr().err


def test_a_full_disk_leaves_the_old_table(tmp_path, capsys, monkeypatch):
    import pyarrow.parquet as pq

    given = ["--source", "utkface", "--data", write_utkface(tmp_path / "data")]
    prepare(*given)
    before = (tmp_path / "here" / "faces.parquet").read_bytes()

    def write_half(_, path):
        path.write_bytes(before[: len(before) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pq, "write_table", write_half)
    capsys.readouterr()
    assert "No space left" in refusal(capsys, *given, "--split", "50/25/25")
    assert (tmp_path / "here" / "faces.parquet").read_bytes() == before
    assert sorted(path.name for path in (tmp_path / "here").iterdir()) == ["data", "faces.parquet"]


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    prepare("--source", "utkface", "--data", write_utkface(tmp_path / "data"), "--cache", tmp_path / "file" / "hashes")
    assert "hashes are not remembered" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif("AGEGENDER_UTKFACE" not in os.environ, reason="AGEGENDER_UTKFACE names no folder of UTKFace")
def test_the_real_photos_give_the_published_counts(capsys):
    counts = document(capsys, "--source", "utkface", "--data", os.environ["AGEGENDER_UTKFACE"])
    assert (counts["malformed_names"], counts["near_duplicates"], counts["unreadable"]) == (3, 1470, 0)
    assert counts["leaks"] == 0


@pytest.mark.slow
def test_killed_at_any_moment_the_old_table_or_the_new_one_is_there(tmp_path):
    root = tmp_path / "data"
    for number in range(300):
        photo(root / f"{number % 90}_0_0_2017011617452{number:05d}.jpg")
    prepare("--source", "utkface", "--data", root, "--limit", 150)
    command = [sys.executable, "-m", "agegender.prepare", "--source", "utkface", "--data", str(root)]
    command += ["--out", "faces.parquet", "--cache", str(tmp_path / "no" / "hashes")]
    for delay in np.linspace(0.3, 2.5, 6):
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(delay)
        running.send_signal(signal.SIGKILL)
        running.wait()
        assert len(read_faces(tmp_path / "here" / "faces.parquet").table) in {150, 300}


def test_the_help_lists_every_source_and_imports_nothing_heavy():
    help_text = build_parser().format_help()
    assert all(source.replace("_", "-").replace("csv-table", "csv") in help_text for source in LAYOUTS)
    code = (
        "import sys, agegender.prepare as p; p.build_parser(); print({'pandas','numpy','torch','cv2'} & {*sys.modules})"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
