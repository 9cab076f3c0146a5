"""What people found is taken into the table with its history; a file that cannot be right is refused in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from agegender import prepare
from agegender.data.corrections import correct_faces, photo_code, read_corrections
from agegender.data.faces_table import FacesTable, make_table, read_faces
from agegender.errors import TableError

HEAD = "photo,path,column,label,mark,correction\n"


@pytest.fixture
def faces(tmp_path: Path) -> FacesTable:
    rows = [
        {"path": f"{number}.png", "source": "csv", "age_years": 10 * number, "gender": ("male", "female")[number % 2]}
        for number in range(6)
    ]
    return FacesTable(make_table(rows), tmp_path)


def written(tmp_path: Path, *lines: str, head: str = HEAD) -> Path:
    path = tmp_path / "corrections.csv"
    path.write_text(head + "\n".join(lines) + "\n", encoding="utf-8")
    return path


def corrected(faces: FacesTable, tmp_path: Path, *lines: str) -> tuple[FacesTable, dict[str, int]]:
    return correct_faces(faces, read_corrections(written(tmp_path, *lines)))


def test_labels_are_mended_made_unknown_or_left_and_the_history_is_kept(faces: FacesTable, tmp_path: Path) -> None:
    done, counts = corrected(
        faces, tmp_path,
        ",1.png,age_years,10,wrong label,36", ",1.png,gender,female,wrong label,m", ",2.png,gender,male,wrong label,",
        f"{photo_code('3.png')},,age_years,30,not a face,", ",4.png,age_years,40,look again,7",
    )  # fmt: skip
    table = done.table.set_index("path")
    assert table.loc["1.png", ["age_years", "gender"]].tolist() == [36.0, "male"]
    assert table.loc["1.png", "corrected"] == "age_years: 10 → 36; gender: female → male"
    assert table.loc["2.png", "gender"] is None
    assert table.loc["2.png", "corrected"] == "gender: male → unknown"
    assert table.loc["3.png", "dropped_because"] == "not a face, found by review"
    assert table.loc["4.png", "age_years"] == 40
    assert {name: count for name, count in counts.items() if count} == {
        "mended": 2, "made_unknown": 1, "not_a_face": 1, "look_again": 1,
    }  # fmt: skip
    assert len(done.table) == 6


def test_a_photo_without_any_label_left_is_left_out(faces: FacesTable, tmp_path: Path) -> None:
    done, _ = corrected(faces, tmp_path, ",1.png,age_years,,wrong label,", ",1.png,gender,,wrong label,unknown")
    assert done.dropped().to_dict() == {"wrong label, found by review": 1}


def test_a_label_that_has_changed_since_is_left_alone(faces: FacesTable, tmp_path: Path) -> None:
    done, counts = corrected(faces, tmp_path, ",1.png,age_years,63,wrong label,36")
    assert counts["label_changed_since"] == 1
    assert done.table.loc[1, "age_years"] == 10


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([",1.png,age_years,10,wrong,36"], "has the mark 'wrong', and there are wrong label, not a face"),
        ([",,age_years,10,wrong label,36"], "1 rows have a mark and name no photo"),
        ([",1.png,,10,wrong label,36"], "a wrong label needs its column"),
        ([",1.png,age_years,10,wrong label,36", ",1.png,age_years,10,wrong label,37"], "twice, and differently"),
        ([",1.png,age_years,10,wrong label,old"], "'old' is no age_years: give a number of 0 to 122"),
        ([",1.png,age_years,10,wrong label,500"], "'500' is no age_years"),
        ([",1.png,age_years,10,wrong label,nan"], "'nan' is no age_years"),
        ([",1.png,gender,female,wrong label,robot"], "'robot' is no gender: it is male or female"),
        ([",1.png,hat,,wrong label,crown"], "there is no label column 'hat'"),
        ([",../../etc/x.png,age_years,,wrong label,3"], "none of the 1 photos"),
    ],
)
def test_a_file_that_cannot_be_right_is_refused_in_one_line(
    lines: list[str], said: str, faces: FacesTable, tmp_path: Path
) -> None:
    with pytest.raises(TableError, match=said.replace("(", r"\(")) as caught:
        corrected(faces, tmp_path, *lines)
    assert "\n" not in str(caught.value)


def test_a_table_without_marks_is_no_corrections_file(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="needs the columns mark, and photo or path; it has a, b"):
        read_corrections(written(tmp_path, "1,2", head="a,b\n"))


def test_prepare_takes_corrections_in_before_twins_contradict_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    generator = np.random.default_rng(0)
    for number in range(8):
        Image.fromarray(generator.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(photos / f"{number}.png")
    (photos / "8.png").write_bytes((photos / "7.png").read_bytes())  # twins, of whom one is labelled wrongly
    labels = "".join(f"{number}.png,{20 + number // 8 * 40}\n" for number in range(9))
    (photos / "labels.csv").write_text(f"path,age_years\n{labels}", encoding="utf-8")
    words = ["--source", "csv", "--data", str(photos), "--out", str(tmp_path / "f.parquet"), "--cache"]
    words += [str(tmp_path / "c.parquet"), "--json"]
    assert prepare.main(words) == 0
    assert set(read_faces(tmp_path / "f.parquet").dropped().index) == {"conflicting labels"}
    file = written(tmp_path, ",8.png,age_years,60,wrong label,20")
    assert prepare.main([*words, "--corrections", str(file)]) == 0
    faces = read_faces(tmp_path / "f.parquet")
    assert set(faces.dropped().index) == {"exact duplicate"}
    assert faces.notes["corrections"]["mended"] == 1
    assert "corrections: 1 mended" in capsys.readouterr().err
    assert prepare.main([*words, "--corrections", str(tmp_path / "absent.csv")]) == 2
    assert "there is no corrections file" in capsys.readouterr().err
