"""Published splits: kept as they are, completed where they lack a part, refused where there is none."""

from pathlib import Path

import pytest

from agegender.data.faces_table import FacesTable, make_table
from agegender.data.splitting import has_official_split, keep_official_split
from agegender.errors import UsageError


def faces(split, **columns):
    table = {"path": [f"{number}.jpg" for number in range(len(split))], "source": ["test"] * len(split)}
    return FacesTable(make_table({**table, "split": split, **columns}), Path("/photos"))


def test_a_published_split_is_kept_to_the_letter():
    published = ["train", "valid", "test", "test"]
    assert keep_official_split(faces(published)).table["split"].tolist() == published


def test_without_a_validation_part_some_of_train_becomes_one_and_persons_stay_whole():
    before = faces(["train"] * 200 + ["test"] * 50, subject_id=[str(number // 4) for number in range(250)])
    after = keep_official_split(before)
    assert (after.table["split"] == "valid").sum() in {28, 32}
    assert after.table["split"][200:].unique() == ["test"]
    assert after.table[:200].groupby("subject_id")["split"].nunique().max() == 1
    assert after.notes["split"]["valid_was_set_apart_from_train"]


def test_photos_outside_the_published_split_are_left_out_with_that_reason():
    after = keep_official_split(faces(["train", "valid", "test", None]))
    assert after.dropped().to_dict() == {"not in the official split": 1}


def test_a_source_without_a_published_split_is_named():
    mixed = faces(["train", "test", None], source=["fairface", "fairface", "utkface"])
    assert not has_official_split(mixed)
    with pytest.raises(UsageError, match="utkface has no official split"):
        keep_official_split(mixed)
