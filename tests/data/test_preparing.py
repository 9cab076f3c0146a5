"""The way from folders to a table, called from Python as `train` calls it."""

from pathlib import Path

import pytest
from dataset_layouts import write_fairface, write_utkface

from agegender.data.faces_table import write_faces
from agegender.data.preparing import Dataset, gather, limit_faces, parse_shares, prepare_datasets, prepare_faces
from agegender.data.sources import find_source
from agegender.errors import TableError, UsageError, WeightsError
from agegender.settings import PreparationSettings


def test_folders_of_one_source_are_prepared_in_one_call(tmp_path):
    folders = [write_utkface(tmp_path / name) for name in ("one", "two")]
    faces, counts = prepare_faces("utkface", folders, split=(50, 25, 25), near_duplicates=None)
    assert counts["files"] == counts["kept"] == len(faces.table) == 26
    assert counts["split"]["train"] == 13
    assert faces.notes["split"] == {"kind": "drawn", "shares": [50, 25, 25], "seed": 7}


def test_the_same_photos_get_the_same_side_wherever_they_lie(tmp_path):
    before = write_utkface(tmp_path / "before")
    first, _ = prepare_faces("utkface", [before])
    moved = before.rename(tmp_path / "after")
    second, _ = prepare_faces("utkface", [moved])
    assert first.table["split"].tolist() == second.table["split"].tolist()
    assert first.fingerprint() == second.fingerprint()


def test_datasets_keep_their_own_options(tmp_path):
    datasets = [
        Dataset("utkface", write_utkface(tmp_path / "utk")),
        Dataset("fairface", write_fairface(tmp_path / "fair"), {"open_range_age_years": 80}),
    ]
    faces, counts = prepare_datasets(datasets, PreparationSettings(near_duplicates=None))
    assert faces.notes["sources"] == ["utkface", "fairface"]
    assert (faces.table["age_years"] == 80).sum() == 2
    assert counts["malformed_names"] == 1


def test_a_limit_keeps_the_order_and_forgets_names_that_are_gone(tmp_path):
    faces = find_source("utkface")(write_utkface(tmp_path))
    few = limit_faces(faces, 5)
    assert few.table["path"].tolist() == [path for path in faces.table["path"] if path in set(few.table["path"])]
    assert set(few.notes["malformed_names"]) <= set(few.table["path"])
    assert few.notes["photos_before_limit"] == 13
    assert limit_faces(faces, 13) is faces


@pytest.mark.parametrize("text", ["70", "70/30", "a/b/c", "70/15/15/0", ""])
def test_parts_that_are_not_three_numbers_are_a_usage_error(text):
    with pytest.raises(UsageError, match="70/15/15"):
        parse_shares(text)


def test_a_detector_that_cannot_be_had_is_found_out_before_photos_are_read(tmp_path):
    with pytest.raises(WeightsError, match="no face detection model"):
        prepare_faces("utkface", [tmp_path / "nowhere"], crop="yunet", crops=tmp_path / "c", crop_model=tmp_path / "m")
    with pytest.raises(UsageError, match="needs a folder for the crops"):
        prepare_faces("utkface", [tmp_path / "nowhere"], crop="haar")


class TestGathering:
    """What `train` and `evaluate` are told to read."""

    def test_folders_get_splits_unless_nobody_has_seen_their_photos(self, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        root = write_utkface(tmp_path / "faces")
        seen = gather(source="utkface", folders=[root])
        assert seen.kept()["split"].notna().all()
        assert "13 photos, 13 kept (" in capsys.readouterr().err
        unseen = gather(source="utkface", folders=[root], splits=False)
        assert unseen.table["split"].isna().all()
        assert "13 photos, 13 kept\n" in capsys.readouterr().err

    def test_a_published_split_of_unseen_photos_is_left_out_too(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        root = write_fairface(tmp_path / "faces")
        assert gather(source="fairface", folders=[root], splits=False).table["split"].isna().all()

    def test_a_table_needs_a_split_unless_all_of_it_is_judged(self, tmp_path):
        faces = find_source("utkface")(write_utkface(tmp_path / "faces"))
        write_faces(faces, tmp_path / "faces.parquet")
        with pytest.raises(TableError, match="has no splits"):
            gather(faces=tmp_path / "faces.parquet")
        assert len(gather(faces=tmp_path / "faces.parquet", limit=5, splits=False).table) == 5

    @pytest.mark.parametrize(
        ("wanted", "message"),
        [
            ({"faces": Path("faces.parquet"), "folders": [Path()]}, "either --faces or --data"),
            ({"fold": 1}, "--fold needs --faces"),
            ({"source": "afad"}, "--source afad needs --data"),
        ],
    )
    def test_what_does_not_go_together_is_refused(self, wanted, message):
        with pytest.raises(UsageError, match=message):
            gather(**wanted)
