"""The page about a dataset: twins, contradictions, extremes, labels by split, all from the table alone."""

import re

import pytest
from dataset_layouts import write_utkface

from agegender.data.faces_table import FacesTable, make_table
from agegender.data.preparing import prepare_faces
from agegender.pages.dataset_page import dataset_context, write_dataset_page


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    root = write_utkface(tmp_path_factory.mktemp("utkface"))
    names = sorted(path.name for path in root.glob("2*"))
    (root / "copies").mkdir()
    (root / "copies" / names[0]).write_bytes((root / names[0]).read_bytes())
    (root / "88_0_0_20170116174525999.jpg").write_bytes((root / names[1]).read_bytes())
    return prepare_faces("utkface", [root])


def galleries(faces, counts):
    return {gallery["anchor"]: gallery for gallery in dataset_context(faces, counts)["galleries"]}


def test_twins_and_contradictions_are_shown_with_their_labels(prepared):
    shown = galleries(*prepared)
    (conflict,) = shown["conflicts"]["groups"]
    assert sorted(photo.lines for photo in conflict["photos"]) == [
        ("21 years, female, Black",),
        ("88 years, male, White",),
    ]
    (twins,) = shown["twins"]["groups"]  # what contradicts itself is shown once, below
    assert twins["title"] == "2 photos, identical files"
    assert twins["note"] == "1 kept, 1 exact duplicate"
    assert all(photo.image for group in (twins, conflict) for photo in group["photos"])


def test_the_lowest_scores_of_each_check_that_marked_a_photo_are_shown(prepared):
    faces, counts = prepared
    faces = type(faces)(faces.table.copy(), faces.root, faces.notes)
    faces.table["blurry_score"] = range(len(faces.table))
    faces.table["is_blurry"] = faces.table["blurry_score"] < 10
    faces.table["tiny_score"], faces.table["is_tiny"] = 1.0, False
    (group,) = galleries(faces, counts)["quality"]["groups"]
    shown = [float(photo.lines[0]) for photo in group["photos"]]
    assert group["title"] == f"Blurry: {int((faces.kept()['blurry_score'] < 10).sum())} of 12 photos"
    assert "low is bad" in group["note"]
    assert shown == sorted(shown)
    assert len(shown) == 6


def test_photos_of_contradictions_are_found_again_after_cropping(prepared, tmp_path):
    root = prepared[0].root
    shown = galleries(*prepare_faces("utkface", [root], crop="haar", crops=tmp_path / "crops"))
    photos = [photo for kind in ("conflicts", "twins") for group in shown[kind]["groups"] for photo in group["photos"]]
    assert len(photos) == 4
    assert all(photo.image for photo in photos)


def test_every_label_of_few_values_is_counted_by_split(prepared):
    faces, counts = prepared
    faces = type(faces)(faces.table.copy(), faces.root, faces.notes)
    faces.table["hat"] = ["none", "cap"] * 7 + ["none"]
    faces.table["remark"] = faces.table["path"] + " and so on"
    table = dataset_context(faces, counts)["label_counts"]
    counted = {(row.values["label"], row.values["value"]): row.values for row in table.rows}
    assert {"Age", "Gender", "Ethnicity", "Hat"} == {label for label, _ in counted} - {"Remark"}
    hats = faces.kept()["hat"].value_counts()
    cap = counted["Hat", "cap"]
    assert cap["n"] == hats["cap"] == cap["train"] + cap["valid"] + cap["test"]


def test_counts_are_made_anew_for_a_table_that_comes_without_them(prepared, tmp_path):
    faces, counts = prepared
    one, two = (write_dataset_page(tmp_path / name, faces, given) for name, given in (("1", counts), ("2", None)))
    assert one.read_text(encoding="utf-8") == two.read_text(encoding="utf-8")


def test_the_page_is_written(prepared, tmp_path):
    page = write_dataset_page(tmp_path / "dataset.html", *prepared).read_text(encoding="utf-8")
    assert "identical files" in page
    assert not re.search(r"""(src|href)=["']?https?:""", page)


def test_warnings_stand_first_and_what_is_left_out_is_counted(prepared, tmp_path):
    faces, counts = prepared
    cleaning = faces.notes["cleaning"]
    many = {"conflicts": cleaning["conflicts"] * 30, "conflict_groups": 400}
    faces = type(faces)(faces.table, faces.root, {**faces.notes, "cleaning": {**cleaning, **many}})
    page = write_dataset_page(tmp_path / "dataset.html", faces, counts).read_text(encoding="utf-8")
    assert page.index("carry contradictory labels") < page.index("photos found in the folders")
    assert "−1" in page
    assert "400 found; the first 24 are shown" in page


def test_photos_without_labels_have_no_pyramid(tmp_path):
    table = make_table({"path": ["a.jpg", "b.jpg"], "source": ["csv", "csv"]})
    page = write_dataset_page(tmp_path / "dataset.html", FacesTable(table, tmp_path)).read_text(encoding="utf-8")
    assert "there is no pyramid" in page


def test_names_with_markup_stay_text(tmp_path):
    root = write_utkface(tmp_path / "<img src=x onerror=alert(1)>")
    faces, counts = prepare_faces("utkface", [root])
    page = write_dataset_page(tmp_path / "dataset.html", faces, counts).read_text(encoding="utf-8")
    assert "<img src=x" not in page
