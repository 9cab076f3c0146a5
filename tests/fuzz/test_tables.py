"""Whatever bytes a table is made of, an `AgeGenderError` or a table comes out, and never anything else."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agegender.audit.predictions_table import complete_predictions, read_predictions, with_our_names, write_predictions
from agegender.data.faces_table import FacesTable, make_table, read_faces
from agegender.data.sources import csv_table
from agegender.errors import AgeGenderError

from .conftest import examples

pytestmark = pytest.mark.filterwarnings("error")

HEADINGS = st.sampled_from(
    [
        *(
            "path",
            "age_years",
            "Age_Years ",
            "predicted_age_years",
            "predicted age years",
            "gender",
            "predicted_gender",
        ),
        *("female_probability", "gender_probability_male", "split", "ethnicity", "subject_id", "predicted_", "=x", ""),
        *("age_low_years", "predicted_height_cm", "height_cm", "source", "dropped_because", "x\n", "Unnamed: 0", "é"),
    ]
)
ODD_CELLS = (
    *("", "a.jpg", "../a", "/etc/x", "26,5", "26.5", "-3", "1e9", "1e999", "nan", "inf", "male", "F", "test", "train"),
    *("03-Sep", "=1+1", "'=1", "True", "1_000", "0x1A", "9" * 400, '"', "a\nb", "\r"),
)
CELLS = st.sampled_from(ODD_CELLS) | st.text(max_size=8) | st.integers().map(str) | st.floats().map(repr)


def plain_table() -> pd.DataFrame:
    return make_table(
        [{"path": f"{n}.jpg", "source": "csv", "age_years": n, "split": "test"} for n in range(3)]
    ).assign(predicted_age_years=[1.5, 2.5, 3.5], predicted_gender="male", female_probability=0.25)


def packed(write) -> bytes:
    stream = io.BytesIO()
    write(stream)
    return stream.getvalue()


def parquet(facts: bytes = b'{"root": "/tmp", "notes": {"limit": 3, "photos_before_limit": 4}}') -> bytes:
    arrow = pa.Table.from_pandas(plain_table())
    arrow = arrow.replace_schema_metadata({**arrow.schema.metadata, b"agegender": facts})
    return packed(lambda stream: pq.write_table(arrow, stream))


CSV = plain_table().to_csv(index=False).encode()
SEEDS = [CSV, CSV.replace(b",", b";"), CSV.decode().encode("utf-16"), gzip.compress(CSV), parquet()]
SEEDS.append(packed(lambda stream: plain_table().to_excel(stream, index=False)))


@st.composite
def damaged(draw) -> bytes:
    """A table of some kind with a few bytes changed, cut or doubled."""
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, max(len(data) - 1, 0)))
        change = draw(st.sampled_from(["byte", "cut", "double", "insert"]))
        if change == "byte" and data:
            data[place] = draw(st.integers(0, 255))
        elif change == "cut":
            del data[place : place + draw(st.integers(1, 200))]
        elif change == "double":
            data[place:place] = data[place : place + draw(st.integers(1, 200))]
        else:
            data[place:place] = draw(st.binary(max_size=9))
    return bytes(data)


@st.composite
def written(draw) -> bytes:
    """A text table of odd headings and cells, rows of any length, in some encoding."""
    separator = draw(st.sampled_from([",", ";", "\t", "|"]))
    width = draw(st.integers(1, 6))
    lines = [draw(st.lists(HEADINGS, min_size=width, max_size=width))]
    lines += draw(st.lists(st.lists(CELLS, min_size=width, max_size=width), max_size=5))
    text = draw(st.sampled_from(["\n", "\r\n", "\r"])).join(separator.join(line) for line in lines)
    return text.encode(draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"])), "replace")


def read_in_every_way(folder: Path, data: bytes) -> None:
    """Read the bytes as each kind of table that a command may take them for."""
    place = folder / "table.csv"
    place.write_bytes(data)
    for read in (
        lambda: complete_predictions(read_predictions(place)),
        lambda: complete_predictions(with_our_names(read_predictions(place), {"age_years": "a"})),
        lambda: read_faces(place),
        lambda: csv_table.read(place),
    ):
        try:
            made = read()
        except AgeGenderError:
            continue
        assert isinstance(made, (tuple, FacesTable))


@examples(60, 700)
@given(damaged())
def test_damaged_tables(tmp_path: Path, data: bytes) -> None:
    read_in_every_way(tmp_path, data)


@examples(60, 700)
@given(written())
def test_odd_texts(tmp_path: Path, data: bytes) -> None:
    read_in_every_way(tmp_path, data)


@examples(60, 700)
@given(st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
def test_bytes_of_nothing(tmp_path: Path, data: bytes) -> None:
    for start in (b"", b"PAR1", b"PK\x03\x04", b"\x1f\x8b\x08\x00"):
        read_in_every_way(tmp_path, start + data)


NESTED = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NOTES = st.dictionaries(
    st.sampled_from(["sources", "malformed_names", "cleaning", "crop", "crop_margin", "limit", "photos_before_limit"])
    | st.text(max_size=5),
    NESTED | st.fixed_dictionaries({"conflicts": NESTED}),
)


@examples(60, 500)
@given(st.fixed_dictionaries({}, optional={"root": NESTED, "notes": NESTED | NOTES, "heads": NESTED}) | NESTED)
def test_metadata_of_any_kind(tmp_path: Path, facts: object) -> None:
    read_in_every_way(tmp_path, parquet(json.dumps(facts).encode()))


COLUMNS = st.sampled_from(
    [
        [True, False, True],
        pd.to_timedelta([1, 2, 3], unit="D"),
        pd.to_datetime(["2020-01-01", None, "2021-01-01"], format="%Y-%m-%d"),
        pd.Categorical(["male", "x", None]),
        pd.Series([1, None, 3], dtype="Int64"),
        [[1], {2: 3}, None],
        [b"a", "b", 3],
        [1j, 2j, 3j],
        [np.nan, np.inf, -np.inf],
        [1e9, -3.0, 1e300],
        ["26,5", " 7 ", "old"],
        [None, None, None],
        ["male", "M ", "robot"],
        [object(), 10**400, "9" * 400],
        ["test", "train", "somewhere"],
        ["=1", "'=1", "\r"],
    ]
)


@examples(60, 100)
@given(st.dictionaries(HEADINGS, COLUMNS, min_size=1, max_size=6))
def test_frames_of_any_types(tmp_path: Path, columns: dict) -> None:
    table = pd.DataFrame(columns)
    try:
        rows, heads, notices = complete_predictions(table)
    except AgeGenderError:
        return
    assert len(rows) == 3
    assert all(isinstance(notice, str) for notice in notices)
    write_predictions(rows, tmp_path / "rows.csv", heads)
    read_in_every_way(tmp_path, (tmp_path / "rows.csv").read_bytes())
