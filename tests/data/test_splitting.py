"""Splits: exact shares, balanced strata, whole groups, and no dependence on the order of rows."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agegender.data.faces_table import FacesTable, make_table
from agegender.data.splitting import (
    calibration_rows,
    fold_faces,
    split_faces,
    strata_numbers,
    use_fold,
    validation_halves,
    without_calibration_rows,
)
from agegender.errors import UsageError


def some_faces(count: int, seed: int = 0, **columns) -> FacesTable:
    random = np.random.default_rng(seed)
    table = {
        "path": [f"{number:06d}.jpg" for number in range(count)],
        "source": ["test"] * count,
        "age_years": np.where(random.random(count) < 0.05, np.nan, random.gamma(4, 9, count).clip(0, 110)),
        "gender": random.choice(["male", "female", None], count, p=[0.5, 0.45, 0.05]),
        "ethnicity": random.choice(["White", "Black", "Asian"], count, p=[0.7, 0.25, 0.05]),
        **columns,
    }
    return FacesTable(make_table(table), Path("/photos"))


def test_the_shares_are_met_to_one_photo():
    assert split_faces(some_faces(10_000)).table["split"].value_counts().to_dict() == {
        "train": 7000,
        "valid": 1500,
        "test": 1500,
    }


def test_every_stratum_is_within_two_photos_of_its_share():
    table = split_faces(some_faces(5_000)).table
    parts = pd.crosstab(strata_numbers(table), table["split"])
    size = parts.sum(axis=1)
    for side, share in (("train", 0.7), ("valid", 0.15), ("test", 0.15)):
        assert (parts[side] - size * share).abs().max() < 2


def test_the_split_does_not_depend_on_the_order_of_the_rows():
    faces = some_faces(800, subject_id=[str(number % 300) for number in range(800)])
    shuffled = FacesTable(faces.table.sample(frac=1, random_state=3), faces.root)
    first = split_faces(faces).table.set_index("path")["split"]
    second = split_faces(shuffled).table.set_index("path")["split"]
    assert first.sort_index().equals(second.sort_index())


def test_moving_a_photo_does_not_move_it_to_another_side():
    digests = [f"{number:0128x}" for number in range(500)]
    before, after = some_faces(500, file_sha512=digests), some_faces(500, file_sha512=digests)
    after.table["path"] = "elsewhere/" + after.table["path"]
    assert split_faces(before).table["split"].equals(split_faces(after).table["split"])


def test_the_seed_changes_the_split_and_the_same_seed_repeats_it():
    faces = some_faces(500)
    seven, again, eight = (split_faces(faces, seed=seed).table["split"] for seed in (7, 7, 8))
    assert seven.equals(again)
    assert not seven.equals(eight)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=60))
def test_whatever_binds_photos_together_keeps_them_on_one_side(bonds):
    hashes, clusters, subjects = (
        [None if value == 0 else str(value) for value in column] for column in zip(*bonds, strict=True)
    )
    faces = some_faces(len(bonds), file_sha512=hashes, twin_cluster=clusters, subject_id=subjects)
    table = split_faces(faces).table
    assert table["split"].notna().all()
    for column in ("file_sha512", "twin_cluster", "subject_id"):
        assert table.groupby(column)["split"].nunique().max() in {1, np.nan} or table[column].isna().all()


def test_equal_subject_ids_of_two_sources_are_two_people():
    faces = some_faces(40, subject_id=["1"] * 40, source=["one"] * 20 + ["two"] * 20)
    sides = split_faces(faces, shares=(50, 0, 50)).table.groupby("source")["split"].unique()
    assert {side[0] for side in sides} == {"train", "test"}


def test_persons_with_many_photos_still_leave_the_shares_near_one_percent():
    random = np.random.default_rng(1)
    subjects = [str(number) for number in np.minimum(random.pareto(1.2, 6_000) * 20, 400).astype(int)]
    shares = split_faces(some_faces(6_000, subject_id=subjects)).table["split"].value_counts(normalize=True)
    assert shares["valid"] == pytest.approx(0.15, abs=0.01)
    assert shares["test"] == pytest.approx(0.15, abs=0.01)


def test_rows_that_were_left_out_get_no_side():
    faces = some_faces(100, dropped_because=["unreadable"] * 10 + [None] * 90, split=["train"] * 100)
    split = split_faces(faces).table["split"]
    assert split[:10].isna().all()
    assert split[10:].notna().all()


def test_a_share_of_nothing_gets_nothing():
    assert set(split_faces(some_faces(200), shares=(80, 0, 20)).table["split"]) == {"train", "test"}


def test_an_empty_table_splits_into_nothing():
    assert split_faces(some_faces(0)).table.empty


@pytest.mark.parametrize("shares", [(70, 30), (70, -1, 31), (0, 0, 0), (float("nan"), 1, 1), (float("inf"), 1, 1)])
def test_shares_that_are_no_shares_are_a_usage_error(shares):
    with pytest.raises(UsageError, match="70/15/15"):
        split_faces(some_faces(10), shares=shares)


def test_folds_are_equal_stratified_and_whole():
    faces = some_faces(1_000, subject_id=[str(number // 2) for number in range(1_000)])
    table = fold_faces(faces, folds=5).table
    assert table["fold"].value_counts().between(195, 205).all()
    assert table.groupby("subject_id")["fold"].nunique().max() == 1
    assert pd.crosstab(table["fold"], table["gender"]).std().max() < 5
    assert table.groupby("fold")["split"].unique().map(list).tolist() == [["test"], ["valid"], *[["train"]] * 3]


@pytest.mark.parametrize("folds", [2, 21, 11])
def test_folds_that_cannot_be_made_are_a_usage_error(folds):
    with pytest.raises(UsageError, match=f"{folds} folds"):
        fold_faces(some_faces(10), folds=folds)


def test_every_photo_is_tested_once_as_the_folds_go_round():
    folded = fold_faces(some_faces(200), folds=5)
    tested = [use_fold(folded, fold).table.query("split == 'test'")["path"].tolist() for fold in range(5)]
    assert sorted(path for paths in tested for path in paths) == sorted(folded.table["path"])
    assert tested[0] == folded.table.query("split == 'test'")["path"].tolist()


def test_a_fold_that_is_not_there_is_refused():
    with pytest.raises(UsageError, match="no folds"):
        use_fold(split_faces(some_faces(50)), 0)
    with pytest.raises(UsageError, match="0 to 4"):
        use_fold(fold_faces(some_faces(50), folds=5), 5)


def test_half_of_the_validation_photos_calibrate_in_whatever_order_they_stand():
    valid = some_faces(2_001).table
    halves = calibration_rows(valid)
    assert halves.sum() == pytest.approx(1_000, abs=3)
    order = np.random.default_rng(3).permutation(len(valid))
    assert (calibration_rows(valid.iloc[order]) == halves[order]).all()
    assert valid["age_years"][halves].mean() == pytest.approx(valid["age_years"][~halves].mean(), abs=1.0)


def test_a_person_is_in_one_half():
    people = [f"person {number // 3}" for number in range(600)]
    valid = some_faces(600, subject_id=people).table
    assert (valid.assign(half=calibration_rows(valid)).groupby("subject_id")["half"].nunique() == 1).all()


@pytest.mark.parametrize(("count", "calibrating"), [(0, 0), (1, 0), (2, 1)])
def test_the_first_of_few_chooses(count, calibrating):
    assert calibration_rows(some_faces(count).table).sum() == calibrating


def test_one_person_alone_chooses():
    assert not calibration_rows(some_faces(50, subject_id=["one"] * 50).table).any()


def test_the_rows_that_calibrate_are_on_no_side_of_a_fit():
    faces = split_faces(some_faces(1_000))
    halves = validation_halves(faces)
    assert sum(halves.values()) == 150
    assert without_calibration_rows(faces).table["split"].value_counts().to_dict() == {
        "train": 700,
        "valid": halves["selecting"],
        "test": 150,
    }
