"""Duties of every source: paths lead to photos, labels are in range, losses have reasons, bad folders are refused."""

import pytest
from dataset_layouts import LAYOUTS

from agegender.data.faces_table import check_table, read_faces, write_faces
from agegender.data.sources import DESCRIPTIONS, find_source
from agegender.data.sources.layouts import guess_source
from agegender.errors import FolderError


@pytest.fixture(params=LAYOUTS)
def source(request):
    return request.param


@pytest.fixture
def faces(source, tmp_path):
    write, options = LAYOUTS[source]
    return find_source(source)(write(tmp_path / "data"), **options)


def test_every_source_has_a_layout_to_be_tested_on():
    assert set(LAYOUTS) == set(DESCRIPTIONS) - {"drawn_faces"}


def test_every_kept_path_leads_to_a_photo(faces):
    assert len(faces.kept()) >= 4
    assert all(faces.photo_path(path).is_file() for path in faces.kept()["path"])


def test_the_table_says_where_it_came_from_and_obeys_the_rules(faces, source):
    assert set(faces.table["source"]) == {source}
    assert faces.notes["sources"] == [source]
    assert check_table(faces.table).equals(faces.table)


def test_the_table_survives_the_disk(faces, tmp_path):
    write_faces(faces, tmp_path / "faces.parquet")
    again = read_faces(tmp_path / "faces.parquet")
    assert again.fingerprint() == faces.fingerprint()
    assert (again.root, again.notes) == (faces.root, dict(faces.notes))


def test_photos_have_labels(faces):
    kept = faces.kept()
    assert kept["age_years"].notna().sum() + kept["gender"].notna().sum() >= 4


def test_its_own_folder_is_recognised(faces, source):
    assert guess_source(faces.root) == source or source in {"folder", "csv_table"}  # too varied to be recognised


@pytest.mark.parametrize("kind", ["missing", "empty", "file", "foreign"])
def test_a_folder_that_is_none_is_refused_in_one_sentence(source, kind, tmp_path):
    root = tmp_path / "root"
    if kind == "file":
        root.write_text("no folder")
    elif kind != "missing":
        root.mkdir()
    if kind == "foreign":
        (root / "holiday.jpg").write_bytes(b"")
    with pytest.raises(FolderError, match=str(root)) as refusal:
        find_source(source)(root)
    assert "\n" not in str(refusal.value)
