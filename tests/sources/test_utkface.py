"""UTKFace: every defect of the published names, and folders that are no UTKFace."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agegender.data.sources import find_source, utkface
from agegender.errors import FolderError

DEFECTS = {
    # name: (age, gender, ethnicity, counts as malformed)
    "1_0_2_20161219140530307.jpg.chip.jpg": (1, "male", "Asian", False),
    "116_1_0_20170112213500903.jpg": (116, "female", "White", False),
    "0_1_4_20170112213500903.JPG": (0, "female", "Others", False),
    "24_0_1_20170116220224657 .jpg.chip.jpg": (24, "male", "Black", False),
    "55_0_0_20170116232725357jpg.chip.jpg": (55, "male", "White", False),
    "55_0_0_20170116232725357jpg": (55, "male", "White", False),
    "44_1_4_20170116235150272.pg": (44, "female", "Others", False),
    "28_1_2_201701161846515488.jpg.chip.jpg": (28, "female", "Asian", False),
    "14_0_0_2017011022340900.jpg.chip.jpg": (14, "male", "White", False),
    "39_1_20170116174525125.jpg.chip.jpg": (39, None, None, True),
    "61_3_20170109150557335.jpg": (61, None, None, True),
    "61_3_1_20170109150557335.jpg": (61, None, "Black", True),
    "53__0_20170116184028385.jpg": (53, None, "White", True),
    "53_1_7_20170116184028385.jpg": (53, "female", None, True),
    "x7_0_1_20170116174525125.jpg": (None, "male", "Black", True),
    "25_0_1.jpg": (25, "male", "Black", True),
}


def write(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"the names are what counts here")
    return root


@pytest.fixture
def faces(tmp_path):
    return utkface.read(write(tmp_path, *DEFECTS, "holiday.jpg", "readme.txt", "150_0_0_20170116174525125.jpg"))


@pytest.mark.parametrize("name", DEFECTS)
def test_a_published_defect_costs_no_more_than_the_label_it_hides(faces, name):
    row = faces.table.set_index("path").loc[name]
    age, gender, ethnicity, is_malformed = DEFECTS[name]
    assert row["dropped_because"] is None
    assert (row["age_years"] == age) if age is not None else row["age_years"] != row["age_years"]
    assert (row["gender"], row["ethnicity"], bool(row["is_malformed_name"])) == (gender, ethnicity, is_malformed)


def test_a_name_that_says_nothing_is_left_out_with_its_reason(faces):
    assert faces.dropped().to_dict() == {"malformed name": 1, "age out of range": 1}
    assert "holiday.jpg" in faces.notes["malformed_names"]


def test_malformed_names_are_listed_and_an_impossible_age_is_not_one_of_them(faces):
    assert len(faces.notes["malformed_names"]) == sum(defect[3] for defect in DEFECTS.values()) + 1


def test_what_is_no_photo_is_no_row(faces):
    assert len(faces.table) == len(DEFECTS) + 2


@given(
    st.integers(0, 122), st.sampled_from("01"), st.sampled_from("01234"), st.from_regex(r"\d{16,18}", fullmatch=True)
)
def test_a_well_formed_name_gives_back_what_was_written_into_it(age, gender, ethnicity, date):
    labels = utkface.parse_name(f"{age}_{gender}_{ethnicity}_{date}.jpg.chip.jpg")
    assert (labels.age_years, labels.is_whole) == (age, True)
    assert labels.gender == ("male", "female")[int(gender)]
    assert labels.ethnicity == utkface.ETHNICITIES[int(ethnicity)]


@given(st.text())
def test_no_name_whatever_is_an_error(name):
    labels = utkface.parse_name(name)
    assert labels.dropped_because in {None, "malformed name", "age out of range"}


def test_folders_below_are_read_too_and_hidden_copies_are_not(tmp_path):
    name = "25_0_1_20170116174525125.jpg.chip.jpg"
    write(tmp_path, f"UTKFace/{name}", f"crop_part1/{name}", f"UTKFace/._{name}", f"__MACOSX/{name}")
    assert utkface.read(tmp_path).table["path"].tolist() == [f"UTKFace/{name}", f"crop_part1/{name}"]


def test_links_neither_loop_nor_leave_the_folder(tmp_path):
    name = "25_0_1_20170116174525125.jpg"
    outside = write(tmp_path / "outside", name)
    root = write(tmp_path / "faces", f"a/{name}")
    (root / "a" / "loop").symlink_to(root)
    (root / "itself_1_2_20170116174525125.jpg").symlink_to(root / "itself_1_2_20170116174525125.jpg")
    (root / "26_1_1_20170116174525125.jpg").symlink_to(outside / name)
    (root / "27_1_1_20170116174525125.jpg").symlink_to(root / "a" / name)
    (root / "elsewhere").symlink_to(outside)
    table = utkface.read(root).table.set_index("path")
    assert table["dropped_because"].value_counts().to_dict() == {"escapes the folder": 3}
    assert table["dropped_because"].isna().sum() == 2
    assert "a/loop/a/" + name not in table.index


def test_a_name_that_is_not_utf8_is_counted_as_malformed(tmp_path):
    write(tmp_path, "25_0_1_20170116174525125.jpg")
    with open(os.fsencode(tmp_path) + b"/25_0_1_2017011617452512\xff.jpg", "wb"):  # noqa: PTH123
        pass
    faces = utkface.read(tmp_path)
    assert faces.dropped().to_dict() == {"malformed name": 1}
    assert len(faces.notes["malformed_names"]) == 1


def test_drawn_faces_are_called_drawn_and_their_causes_are_no_faces(tmp_path):
    name = "25_0_1_20260101000000000.jpg.chip.jpg"
    write(tmp_path, name, f"causes/{name.removesuffix('.jpg')}.png", "drawing.json")
    faces = utkface.read(tmp_path)
    assert faces.is_drawn()
    assert faces.table["path"].tolist() == [name]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "is empty"),
        (("notes.txt",), "holds no photo;"),
        (("holiday.jpg",), "holds no photo that is named as utkface"),
        (("15/111/638660-1.jpg", "AFAD-Full.txt"), "it looks like afad. Try --source afad"),
        (("14_Bill_Skarsgård_0004.jpg", "33_A.J._Cook_0013.jpg"), "looks like cacd"),
        (("train/000000.jpg", "train/000000.jpg_face.jpg"), "looks like appa_real. Try --source appa-real"),
        (("train/images/000001_female_Asian_45/mask1.jpg",), "looks like masked_faces"),
        (("original images/00000A02.jpg",), "looks like all_age_faces"),
        (("train/9.jpg", "val/3.jpg"), "looks like fairface"),
        (("25/female/me.jpg",), "looks like folder"),
    ],
)
def test_a_folder_of_the_wrong_kind_says_which_kind_it_looks_like(tmp_path, names, message):
    with pytest.raises(FolderError, match=message.replace(".", r"\.")):
        utkface.read(write(tmp_path, *names))


def test_a_folder_that_is_not_there_is_a_folder_error(tmp_path):
    with pytest.raises(FolderError, match="there is no folder at"):
        utkface.read(tmp_path / "nowhere")
    with pytest.raises(FolderError, match="is a file"):
        utkface.read(write(tmp_path, "a.jpg") / "a.jpg")


@pytest.mark.skipif("AGEGENDER_UTKFACE" not in os.environ, reason="AGEGENDER_UTKFACE names no folder of UTKFace")
def test_the_real_folder_has_three_malformed_names_and_loses_no_photo():
    faces = find_source("utkface")(Path(os.environ["AGEGENDER_UTKFACE"]))
    assert len(faces.notes["malformed_names"]) == 3
    assert len(faces.kept()) == len(faces.table) > 20_000
    assert faces.table["age_years"].between(0, 116).all()


@pytest.mark.skipif("AGEGENDER_LABELS" not in os.environ, reason="AGEGENDER_LABELS names no folder of label files")
@pytest.mark.parametrize(("part", "count"), [("train", 13_146), ("test", 3_287)])
def test_ages_equal_those_of_the_published_split_of_16433_names(part, count):
    lines = (Path(os.environ["AGEGENDER_LABELS"]) / f"utkface-coral/UTK_{part}_coral.csv").read_text().splitlines()[1:]
    listed = [line.split(",")[1:3] for line in lines]
    assert len(listed) == count
    assert [utkface.parse_name(name).age_years for name, _ in listed] == [float(age) for _, age in listed]
