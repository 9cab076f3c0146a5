"""The leakage table: zero for our splits, exact counts for planted leaks."""

from pathlib import Path

from agegender.data.faces_table import FacesTable, make_table
from agegender.data.leakage import leak_count, leakage_table
from agegender.data.splitting import split_faces


def rows(**columns):
    count = len(columns["split"])
    return make_table({"path": [f"{number}.jpg" for number in range(count)], "source": ["test"] * count, **columns})


def found(table, check, side_a="train", side_b="test"):
    of_check = leakage_table(table).set_index(["check", "split_a", "split_b"])
    return of_check.loc[(check, side_a, side_b), ["known_photo_count", "shared_count", "photo_count"]].tolist()


def test_a_planted_leak_of_each_kind_is_counted():
    table = rows(
        split=["train", "train", "test", "test", "valid"],
        file_sha512=["a", "b", "a", "c", "b"],
        twin_cluster=["1", None, "1", "1", None],
        subject_id=["x", "y", "z", "y", "y"],
    )
    assert found(table, "byte-identical photos") == [4, 1, 2]
    assert found(table, "byte-identical photos", "train", "valid") == [3, 1, 2]
    assert found(table, "exact and near twins") == [3, 1, 3]
    assert found(table, "persons") == [4, 1, 2]
    assert leak_count(leakage_table(table)) == 2 + 3


def test_our_own_split_does_not_leak():
    table = rows(split=[None] * 300, subject_id=[str(number % 90) for number in range(300)])
    assert leak_count(leakage_table(split_faces(FacesTable(table, Path("/photos"))).table)) == 0


def test_a_check_that_could_not_be_made_says_that_it_knows_nothing():
    table = rows(split=["train", "test"]).drop(columns=["file_sha512", "subject_id"])
    assert leakage_table(table)[["known_photo_count", "shared_count"]].to_numpy().tolist() == [[0, 0]] * 9


def test_dropped_photos_and_namesakes_of_another_source_do_not_leak():
    table = rows(
        split=["train", "test", "train", "test"],
        subject_id=["1", "1", "2", "2"],
        source=["one", "two", "one", "one"],
        dropped_because=[None, None, "unreadable", None],
    )
    assert leak_count(leakage_table(table)) == 0


def test_near_twins_are_searched_where_nobody_named_them():
    table = rows(split=["train", "test", "test", "valid"], phash=["0" * 16, "0" * 14 + "1f", "f" * 16, None])
    assert found(table.drop(columns="subject_id"), "exact and near twins") == [3, 1, 2]
    assert found(rows(split=["train", "test"], phash=["0" * 16, "0" * 14 + "3f"]), "exact and near twins") == [2, 0, 0]


def test_what_a_published_split_leaked_is_known_after_cleaning():
    table = rows(
        split=["train", "test", "train"],
        file_sha512=["a", "a", "b"],
        dropped_because=[None, "exact duplicate", "unreadable"],
    )
    assert leak_count(leakage_table(table)) == 0
    assert leak_count(leakage_table(table, as_published=True)) == 1
