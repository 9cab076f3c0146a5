"""What the page about a dataset is given: twins, contradictions, extremes, all from the table alone."""

import re

import pytest
from dataset_layouts import write_utkface

from agegender.api.dataset_report import dataset_content, report_dataset
from agegender.data.preparing import prepare_faces


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    root = write_utkface(tmp_path_factory.mktemp("utkface"))
    names = sorted(path.name for path in root.glob("2*"))
    (root / "copies").mkdir()
    (root / "copies" / names[0]).write_bytes((root / names[0]).read_bytes())
    (root / "88_0_0_20170116174525999.jpg").write_bytes((root / names[1]).read_bytes())
    return prepare_faces("utkface", [root])


def test_twins_and_contradictions_are_shown_with_their_labels(prepared):
    content = dataset_content(*prepared)
    assert content.conflict_group_count == 1
    assert sorted(photo.caption for photo in content.conflict_groups[0].photos) == [
        "21 years, female, Black",
        "88 years, male, White",
    ]
    assert content.twin_group_count == 2
    assert content.twin_groups[0].title == "2 photos, identical files"
    assert content.twin_groups[0].note == "1 kept, 1 exact duplicate"
    assert all(photo.path.is_file() for group in content.twin_groups for photo in group.photos)


def test_the_lowest_scores_of_each_check_that_marked_a_photo_are_shown(prepared):
    faces, counts = prepared
    faces = type(faces)(faces.table.copy(), faces.root, faces.notes)
    faces.table["blurry_score"] = range(len(faces.table))
    faces.table["is_blurry"] = faces.table["blurry_score"] < 10
    faces.table["tiny_score"], faces.table["is_tiny"] = 1.0, False
    (group,) = dataset_content(faces, counts).quality_extremes
    shown = [float(photo.caption) for photo in group.photos]
    assert group.title == f"Blurry: {int((faces.kept()['blurry_score'] < 10).sum())} of 12 photos"
    assert shown == sorted(shown)
    assert len(shown) == 8


def test_photos_of_contradictions_are_found_again_after_cropping(prepared, tmp_path):
    root = prepared[0].root
    faces, counts = prepare_faces("utkface", [root], crop="haar", crops=tmp_path / "crops")
    content = dataset_content(faces, counts)
    photos = [photo for group in (*content.conflict_groups, *content.twin_groups) for photo in group.photos]
    assert len(photos) == 6
    assert all(photo.path.is_file() for photo in photos)


def test_the_page_is_written(prepared, tmp_path):
    page = report_dataset(tmp_path / "dataset.html", *prepared).read_text(encoding="utf-8")
    assert "identical files" in page
    assert not re.search(r"""(src|href)=["']?https?:""", page)


def test_names_with_markup_stay_text(tmp_path):
    root = write_utkface(tmp_path / "<img src=x onerror=alert(1)>")
    faces, counts = prepare_faces("utkface", [root])
    page = report_dataset(tmp_path / "dataset.html", faces, counts).read_text(encoding="utf-8")
    assert "<img src=x" not in page
