"""Several datasets in one table: one root, no path twice, notes merged."""

import pytest

from agegender.data.faces_table import FacesTable, combine_faces, make_table
from agegender.errors import FolderError, UsageError


def part(root, *paths, source="test", **notes):
    root.mkdir(parents=True, exist_ok=True)
    for path in paths:
        (root / path).touch()
    return FacesTable(make_table({"path": list(paths), "source": [source] * len(paths)}), root, notes)


def test_the_same_names_in_two_folders_keep_two_paths_that_lead_to_the_photos(tmp_path):
    both = combine_faces([part(tmp_path / "a" / "b", "1.jpg", "2.jpg"), part(tmp_path / "c", "1.jpg")])
    assert both.root == tmp_path
    assert both.table["path"].tolist() == ["a/b/1.jpg", "a/b/2.jpg", "c/1.jpg"]
    assert all(both.photo_path(path).is_file() for path in both.table["path"])


def test_one_dataset_stays_as_it_is(tmp_path):
    alone = part(tmp_path, "1.jpg")
    assert combine_faces([alone]) is alone


def test_notes_are_merged_and_the_rest_is_kept_per_part(tmp_path):
    one = part(tmp_path / "a", "1.jpg", sources=["utkface"], malformed_names=["1.jpg"], target="real")
    two = part(tmp_path / "b", "1.jpg", sources=["afad"])
    notes = combine_faces([one, two]).notes
    assert (notes["sources"], notes["malformed_names"]) == (["utkface", "afad"], ["a/1.jpg"])
    assert notes["parts"][0] == {"root": str(tmp_path / "a"), "target": "real"}


def test_columns_that_only_one_source_has_are_missing_for_the_other(tmp_path):
    one, two = part(tmp_path / "a", "1.jpg"), part(tmp_path / "b", "1.jpg")
    one.table["real_age_years"] = 30.0
    assert combine_faces([one, two]).table["real_age_years"].isna().tolist() == [False, True]


@pytest.mark.parametrize("second", ["a", "a/b"])
def test_a_folder_given_twice_or_within_another_is_refused(tmp_path, second):
    (tmp_path / "a" / "b").mkdir(parents=True)
    outer = part(tmp_path / "a", "1.jpg", "b/1.jpg")
    inner = part(tmp_path / second, "1.jpg")
    with pytest.raises(FolderError, match="Name each folder once"):
        combine_faces([outer, inner])


def test_nothing_to_combine_is_a_usage_error():
    with pytest.raises(UsageError, match="--source"):
        combine_faces([])
