"""Rows that hang together are known by what the table says; those that merely look alike make a sentence."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metric_tables import simulated_predictions

from agegender.audit import assessment as assessment_module
from agegender.audit.assessment import assess
from agegender.audit.dependence import clusters_of, dependence_words
from agegender.audit.grouping import group_columns
from agegender.audit.predictions_table import complete_predictions, with_our_names
from agegender.heads import AGE, GENDER


def words(table):
    return " ".join(complete_predictions(table)[2])


def test_rows_that_share_nothing_stand_alone():
    table = simulated_predictions(50)
    assert clusters_of(table) is None
    assert clusters_of(table.assign(subject_id=None, twin_cluster=np.nan)) is None
    assert clusters_of(table.assign(subject_id=[" "] * 50)) is None
    assert clusters_of(table.assign(subject_id=range(50))) is None


def test_a_person_a_twin_and_a_photo_tie_rows_through_each_other():
    table = pd.DataFrame(
        {
            "path": ["a", "b", "c", "d", "d", "e", None, None],
            "subject_id": ["1", "1", None, None, "2", "3", "3", None],
            "twin_cluster": [None, "t", "t", None, None, None, None, None],
        }
    )
    assert clusters_of(table).tolist() == [0, 0, 0, 1, 1, 2, 2, 3]


def test_a_number_of_a_person_means_somebody_else_in_another_source():
    table = pd.DataFrame({"subject_id": [1, 1, 1, 1], "source": ["x", "y", "x", None]})
    assert clusters_of(table).tolist() == [0, 1, 0, 2]


@given(st.lists(st.tuples(st.sampled_from("abc "), st.sampled_from([None, 1.0, 2.0, 3.0])), min_size=1, max_size=12))
def test_clusters_are_those_of_a_plain_search(cells):
    table = pd.DataFrame(cells, columns=["twin_cluster", "subject_id"])
    group = list(range(len(cells)))
    for _ in cells:
        for i, one in enumerate(cells):
            for j, other in enumerate(cells):
                if (one[0] != " " and one[0] == other[0]) or (one[1] is not None and one[1] == other[1]):
                    group[i] = group[j] = min(group[i], group[j])
    found = clusters_of(table)
    if found is None:
        assert group == list(range(len(cells)))
    else:
        assert found.tolist() == pd.factorize(np.array(group))[0].tolist()


def test_the_notices_count_the_clusters():
    table = simulated_predictions(200).assign(subject_id=np.arange(200) // 4)
    assert "200 of 200 rows share a person, a twin or a photo with another: 50 clusters." in words(table)
    alone = table.assign(subject_id=[None] * 100 + ["unknown"] * 100)
    assert "One cluster holds 100 of 200 rows" in words(alone)
    assert "All 200 rows are photos of one person" in words(table.assign(subject_id="p"))
    assert "share a person" not in words(table.drop(columns="subject_id"))


def test_a_foreign_name_of_the_person_can_be_mapped():
    table = with_our_names(simulated_predictions(40).assign(who=np.arange(40) // 2), {"subject_id": "who"})
    assert clusters_of(complete_predictions(table)[0]).max() == 19


def test_what_ties_rows_is_no_group():
    table = simulated_predictions(60).assign(twin_cluster=["t1", "t2"] * 30, subject_id=["a", "b", "c"] * 20)
    assert not {"twin_cluster", "subject_id"} & set(group_columns(table))


@pytest.mark.parametrize("n", [300, 20_000])
def test_likely_copies_are_warned_of_and_chance_is_not(n):
    table = simulated_predictions(n).assign(age_years=lambda rows: rows["age_years"].round())
    said = dependence_words(complete_predictions(table)[0], (AGE, GENDER))
    assert not any("nearly the same" in word for word in said)
    half = table.iloc[: n // 2]
    moved = half.assign(path="copy/" + half["path"], predicted_age_years=half["predicted_age_years"] + 0.002)
    assert f"{n:,} rows have the labels of another row and nearly the same" in words(pd.concat([half, moved]))


def test_one_common_age_is_said():
    table = simulated_predictions(300).assign(age_years=[26.0] * 120 + list(np.linspace(1, 60, 180)))
    assert "120 of 300 rows have one and the same age label, 26 years." in words(table)


def judged(table, **changes):
    """Return the findings of a table and its mean error by ethnicity; few deals keep it quick."""
    assessment = replace(assess(table.assign(**changes)), deal_count=200, resample_count=100)
    return assessment, [finding for finding in assessment.findings if finding.is_gap], assessment.by("mae", "ethnicity")


def test_one_person_gets_figures_without_intervals_and_no_findings():
    assessment, gaps, means = judged(simulated_predictions(200), subject_id="p")
    assert (gaps, means["low"].isna().all(), means["value"].notna().all()) == ([], True, True)
    assert (means["persons"] == 1).all()
    assert any("photos of one person" in notice for notice in assessment.notices)


def test_rows_of_one_path_are_one_photo():
    assessment, gaps, means = judged(simulated_predictions(200), path="same.jpg")
    assert (gaps, means["low"].isna().all()) == ([], True)
    assert "200 rows name one photo, same.jpg." in assessment.notices


def test_persons_that_nobody_knows_change_nothing():
    table = simulated_predictions(300)
    plain, named = judged(table)[2], judged(table, subject_id=None, twin_cluster=np.nan)[2]
    pd.testing.assert_frame_equal(plain, named)


def test_five_hundred_groups_of_persons_are_too_many_and_said_so():
    table = simulated_predictions(1500)
    assessment, gaps, _ = judged(table, subject_id=np.arange(1500) // 3, source=[f"s{n % 500}" for n in range(1500)])
    assert not gaps
    assert any("it has 500 different values" in finding.sentence for finding in assessment.findings)


def test_five_hundred_cameras_are_said_and_names_of_files_are_not():
    table = simulated_predictions(1500).assign(
        camera=[f"c{n % 500}" for n in range(1500)], file=[str(n) for n in range(1500)]
    )
    said = [one for one in judged(table)[0].findings if one.kind == "unknown"]
    assert [one.columns for one in said] == [("camera",)]
    assert "between groups of camera cannot be told: it has 500 different values" in said[0].sentence


def test_equal_errors_everywhere_make_no_gap():
    table = simulated_predictions(400)
    _, gaps, means = judged(table, predicted_age_years=table["age_years"] + 2.0, subject_id=np.arange(400) // 4,
                            predicted_gender=table["gender"], female_probability=np.nan)  # fmt: skip
    assert not [gap for gap in gaps if gap.columns == ("ethnicity",)]
    assert means[["low", "high"]].to_numpy() == pytest.approx(2.0)


def test_a_large_table_says_what_was_sampled_and_how_far_it_is(monkeypatch, capsys):
    monkeypatch.setattr(assessment_module, "_VERY_MANY_ROWS", 250)
    assessment, *_ = judged(simulated_predictions(300))
    assert "With 300 rows not everything is done row by row" in assessment.notices[-1]
    assert "looking for gaps between groups of 300 rows" in capsys.readouterr().err
