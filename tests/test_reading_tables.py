"""Tables as people have them, and what is no table: each is read, or is one line with its remedy."""

from __future__ import annotations

import gzip
import os
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from agegender import reading_tables
from agegender.errors import MissingExtraError, TableError
from agegender.reading_tables import read_table
from agegender.table_cells import harmless, harmless_table, numbers_of, with_known_names

PLAIN = pd.DataFrame({"path": ["a.jpg", "b.jpg"], "age_years": [26.5, 30.0], "gender": ["male", "female"]})
GERMAN = "path;age_years;gender\na.jpg;26,5;male\nb.jpg;30;female\n"


def read_text(tmp_path, content, name="table.csv", encoding="utf-8", **options):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return read_table(path, **options)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("path,age_years,gender\na.jpg,26.5,male\nb.jpg,30,female\n", id="commas"),
        pytest.param(GERMAN, id="semicolons and decimal commas"),
        pytest.param("path\tage_years\tgender\na.jpg\t26.5\tmale\nb.jpg\t30\tfemale\n", id="tabs"),
        pytest.param("path|age_years|gender\na.jpg|26.5|male\nb.jpg|30|female\n", id="bars"),
        pytest.param(GERMAN.replace("\n", "\r\n"), id="lines of Windows"),
        pytest.param("sep=;\n" + GERMAN, id="Excel's hint"),
        pytest.param(GERMAN.replace(";male", "; male \t"), id="blanks at the ends of values"),
        pytest.param(GERMAN.replace("age_years", " age_years "), id="blanks around a heading"),
        pytest.param(GERMAN.replace("\n", ";\n") + ";;;\n;;;\n", id="empty columns and rows"),
        pytest.param(GERMAN.replace("a.jpg", '"a.jpg"'), id="quotation marks"),
    ],
)
def test_every_way_to_write_a_table_gives_the_same_one(tmp_path, content):
    read = read_text(tmp_path, content)
    pd.testing.assert_frame_equal(read.rows, PLAIN, check_dtype=False, check_column_type=False)
    assert read.rows["age_years"].dtype == np.float64


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_names_survive_every_usual_encoding(tmp_path, encoding):
    read = read_text(tmp_path, "path,gender\nJosé Müller.jpg,male\nb.jpg,male\n", encoding=encoding)
    assert read.rows["path"].tolist() == ["José Müller.jpg", "b.jpg"]
    assert [notice for notice in read.notices if "no UTF-8" in notice] == (
        ["table.csv is no UTF-8 and was read as cp1252: look whether its names are right."]
        if encoding == "cp1252"
        else []
    )


def test_gzip_and_excel_hold_the_same_table(tmp_path):
    (tmp_path / "table.csv.gz").write_bytes(gzip.compress(GERMAN.encode()))
    pd.testing.assert_frame_equal(read_table(tmp_path / "table.csv.gz").rows, PLAIN, check_dtype=False)
    with pd.ExcelWriter(tmp_path / "table.xlsx") as book:
        PLAIN.to_excel(book, index=False, sheet_name="faces")
        PLAIN.head(1).to_excel(book, index=False, sheet_name="more")
    read = read_table(tmp_path / "table.xlsx")
    pd.testing.assert_frame_equal(read.rows, PLAIN, check_dtype=False)
    assert read.notices == ("table.xlsx has 2 sheets; the first one, 'faces', was read.",)


def test_excel_needs_its_extra_and_says_so(tmp_path, monkeypatch):
    PLAIN.to_excel(tmp_path / "table.xlsx", index=False)
    monkeypatch.setitem(__import__("sys").modules, "openpyxl", None)
    with pytest.raises(MissingExtraError, match=r'pip install "agegender\[excel\]"'):
        read_table(tmp_path / "table.xlsx")


def test_parquet_is_known_by_its_content_and_its_odd_index_is_no_trouble(tmp_path):
    PLAIN.set_index("path").to_parquet(tmp_path / "table.csv")
    assert set(read_table(tmp_path / "table.csv").rows.columns) == {"path", "age_years", "gender"}
    (tmp_path / "split=test").mkdir()
    PLAIN.to_parquet(tmp_path / "split=test" / "table.parquet")
    assert "split" not in read_table(tmp_path / "split=test" / "table.parquet").rows


def test_numbers_come_back_to_the_last_bit(tmp_path):
    values = np.random.default_rng(7).normal(0, 1e5, 2000)
    pd.DataFrame({"x": values}).to_csv(tmp_path / "table.csv", index=False)
    assert read_table(tmp_path / "table.csv").rows["x"].tolist() == values.tolist()


def test_texts_stay_texts_where_labels_are_read(tmp_path):
    read = read_text(tmp_path, "path,age,id\na.jpg,03-Sep,007\nb.jpg,,\n", as_texts=True)
    assert read.rows.to_numpy().tolist() == [["a.jpg", "03-Sep", "007"], ["b.jpg", "", ""]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b" \n\n ", "it is empty"),
        (b"path,age\na.jpg\0,3\n", "holds a NUL character in line 2"),
        (b"path,age\na.jpg,3,4\n", "Cells are separated by ','; one that holds it must stand in double quotes"),
        (b'path,age\n"a.jpg,3\n', "cannot be read as a table: a quotation mark is opened and never closed"),
        (b"path,age,age\na.jpg,3,4\n", "the column 'age' stands in .* twice"),
        (b"\x1f\x8bnothing", "damaged gzip file"),
        (b"PK\x03\x04nothing", "damaged zip archive or workbook"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", r"old Excel \(.xls\). Save it as .xlsx"),
        (b"PAR1nothing at all", "cannot be read as a Parquet file"),
        (b"\xff\xfeabc", "starts as UTF-16 and is no such text"),
        (b"path,age\na.jpg," + b"3" * 100_001, "has 100,001 characters; at most 100,000 are read"),
        (b",".join(b"c%d" % number for number in range(2001)), "more than 2,000 columns"),
    ],
)
def test_what_is_no_table_is_one_line(tmp_path, content, message):
    with pytest.raises(TableError, match=message):
        read_text(tmp_path, content)


def test_limits_are_named(tmp_path, monkeypatch):
    PLAIN.to_parquet(tmp_path / "table.parquet")
    (tmp_path / "table.csv").write_text(GERMAN)
    (tmp_path / "table.csv.gz").write_bytes(gzip.compress(GERMAN.encode() * 100))
    monkeypatch.setattr(reading_tables, "MOST_ROWS", 1)
    for name in ("table.parquet", "table.csv"):
        with pytest.raises(TableError, match="more than 1 rows, which is the most that is read"):
            read_table(tmp_path / name)
    monkeypatch.setattr(reading_tables, "LARGEST_BYTES", 1000)
    with pytest.raises(TableError, match="more than 1,000 bytes once unpacked"):
        read_table(tmp_path / "table.csv.gz")


def test_what_is_no_file_is_called_what_it_is(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("a.jpg", b"")
    for place, words in {
        "https://example.org/t.csv": "is a web address, and nothing is fetched",
        str(tmp_path): "is a folder and no table",
        str(tmp_path / "pipe"): "is no ordinary file",
        str(tmp_path / "absent.csv"): "there is no table at",
        "a\0b": "holds a NUL character",
        "a" * 5000: "File name too long",
        str(tmp_path / "photos.zip"): "is a zip archive. Unpack it",
    }.items():
        with pytest.raises(TableError, match=words):
            read_table(place)


def test_damaged_pandas_notes_in_parquet_do_not_matter(tmp_path):
    arrow = pa.Table.from_pandas(PLAIN).replace_schema_metadata({b"pandas": b"{[", b"agegender": b"[1]"})
    pq.write_table(arrow.replace_schema_metadata({b"pandas": b"{["}), tmp_path / "one.parquet")
    pd.testing.assert_frame_equal(read_table(tmp_path / "one.parquet").rows, PLAIN, check_dtype=False)
    for facts in (b"[1]", b"{", b"\xff", b"[" * 100_000):
        pq.write_table(arrow.replace_schema_metadata({b"agegender": facts}), tmp_path / "two.parquet")
        with pytest.raises(TableError, match=r"notes inside .* are damaged"):
            read_table(tmp_path / "two.parquet")


def test_true_false_dates_and_spans_are_no_numbers():
    for column in (
        pd.Series([True, False]),
        pd.Series([True, False], dtype="boolean"),
        pd.Series(pd.to_timedelta([1, 2], unit="D")),
        pd.Series(pd.to_datetime(["2020-01-01", "2020-01-02"])),
        pd.Series([[1], {2: 3}], dtype=object),
        pd.Series([1j, 2j]),
        pd.Series([True, pd.Timedelta(1)], dtype=object),
        pd.Series([1e13, 10**400], dtype=object),
    ):
        assert numbers_of(column).isna().all(), column
    assert numbers_of(pd.Series([1, None, "2"], dtype=object)).tolist()[::2] == [1.0, 2.0]
    assert numbers_of(pd.Series(["3", "4"], dtype="category")).tolist() == [3.0, 4.0]


def test_formulas_are_harmless_in_files_and_come_back():
    texts = ["=1+1", "+1", "-1", "@a", "\tx", "\rx", "'=1", "''=1", "'tis", "a=b", "", "26.5"]
    written = [harmless(text) for text in texts]
    assert all(not text.startswith(("=", "+", "-", "@", "\t", "\r")) for text in written)
    table = harmless_table(pd.DataFrame({"=x": texts, "n": range(len(texts))}))
    assert table.columns.tolist() == ["'=x", "n"]
    assert table["n"].tolist() == list(range(len(texts)))


def test_columns_are_known_by_their_names_in_any_case():
    table = pd.DataFrame({" Age_Years ": [1], "predicted age years": [2], "Hair Colour": [3], "AGE-YEARS": [4]})
    known, renamed = with_known_names(table, {"age_years", "predicted_age_years"}.__contains__)
    assert known.columns.tolist() == ["age_years", "predicted_age_years", "Hair Colour", "AGE-YEARS"]
    assert renamed == ((" Age_Years ", "age_years"), ("predicted age years", "predicted_age_years"))
