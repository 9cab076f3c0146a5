"""Labels made of other labels: classes of age with any edges, and several columns as one."""

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agegender.data.derived_labels import (
    add_age_class,
    age_class_names,
    age_classes,
    combine_labels,
    parse_age_edges,
)
from agegender.data.faces_table import FacesTable, make_table, read_faces, write_faces
from agegender.errors import UsageError


def faces(**columns) -> FacesTable:
    count = len(next(iter(columns.values())))
    table = {"path": [f"{number}.jpg" for number in range(count)], "source": ["test"] * count, **columns}
    return FacesTable(make_table(table), Path("/photos"))


def test_ages_fall_into_the_class_that_names_them_and_unknown_ones_into_none():
    made = add_age_class(faces(age_years=[0, 29.5, 30, 59, 60, None]), (30, 60))
    assert made.table["age_class"].tolist() == ["<30", "<30", "30–59", "30–59", "≥60", None]
    assert made.notes["age_classes"] == [30.0, 60.0]


@given(st.lists(st.integers(1, 120), min_size=1, max_size=8, unique=True), st.floats(0, 122))
def test_every_age_is_in_the_one_class_between_its_edges(edges, years):
    edges = sorted(edges)
    names = age_class_names(edges)
    assert len(set(names)) == len(edges) + 1
    assert age_classes(pd.Series([years]), edges)[0] == names[sum(edge <= years for edge in edges)]


@pytest.mark.parametrize("text", ["", "30,", "60,30", "30,30", "0,30", "-1", "young", "30,inf", "nan"])
def test_edges_that_make_no_classes_are_refused(text):
    with pytest.raises(UsageError, match="30,60"):
        parse_age_edges(text)


def test_a_class_that_a_source_gave_stays_where_no_age_is_known():
    given = faces(age_years=[None, None, 20], age_class=["≥60", "teens", "≥60"])
    assert add_age_class(given, (30, 60)).table["age_class"].tolist() == ["≥60", None, "<30"]


def test_several_labels_become_one_that_is_missing_where_any_of_them_is():
    given = faces(mask=["wear", "normal", None], gender=["male", None, "female"], age_years=[70, 20, 20])
    made = combine_labels(add_age_class(given, (30, 60)), ["mask", "age_class", "gender"])
    assert made.table["mask_age_gender"].tolist() == ["wear / ≥60 / male", None, None]
    assert made.notes["combined"] == {"mask_age_gender": ["mask", "age_class", "gender"]}


def test_a_table_of_a_subclass_stays_one_and_survives_the_disk(tmp_path):
    class Own(FacesTable):
        pass

    given = Own(faces(gender=["male"], ethnicity=["Asian"]).table, tmp_path)
    made = combine_labels(given, ["gender", "ethnicity"])
    assert type(made) is Own
    write_faces(made, tmp_path / "faces.parquet")
    assert read_faces(tmp_path / "faces.parquet").table["gender_ethnicity"].tolist() == ["male / Asian"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["gender", "age_class"], "no labels age_class; .* Make it with --age-classes 30,60"),
        (["gender", "hat"], "no labels hat; they have age_years, gender, ethnicity"),
        (["gender", "split"], "no labels split"),
        (["gender", "gender"], "two or more different columns"),
        (["gender"], "two or more different columns"),
    ],
)
def test_columns_that_cannot_be_combined_are_refused(columns, message):
    with pytest.raises(UsageError, match=message):
        combine_labels(faces(gender=["male"], split=["test"]), columns)
