"""One reader of the tables that people have: Parquet, CSV with any usual separator and encoding, gzipped, Excel.

The kind is told by the content, not by the name. A table that cannot be read is one line with its remedy; how much a
table may hold is limited here, so that a small file cannot fill the memory.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import re
import stat
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from agegender.errors import MissingExtraError, TableError
from agegender.table_cells import has_decimal_commas, typed, without_apostrophes

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet", ".xlsx", ".csv.gz", ".tsv.gz")
MOST_ROWS = 10_000_000
MOST_COLUMNS = 2_000
LONGEST_CELL = 100_000  # characters
LARGEST_BYTES = 4_000_000_000  # unpacked
METADATA_KEY = b"agegender"  # where our Parquet files keep what their columns do not tell
_SEPARATORS = (",", ";", "\t", "|")
_SAMPLE = 100_000  # characters in which the separator is looked for
_SAMPLED_ROWS = 30
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\r?(?:\n|$)', re.IGNORECASE)  # Excel's own hint, before the headings
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark is the beginning of this one
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True)
class ReadTable:
    """A table as read: its rows, what its file says of itself (Parquet only), and what is unusual, as sentences."""

    rows: pd.DataFrame
    facts: Mapping[str, Any] = field(default_factory=dict)
    notices: tuple[str, ...] = ()


def read_table(path: str | Path, *, what: str = "table", hint: str = "", as_texts: bool = False) -> ReadTable:
    """Read a table of any usual kind."""
    place = check_is_file(path, what=what, hint=hint)
    try:
        start, data = _start_and_rest(place)
        if start == b"PAR1":
            return _checked(_read_parquet(place, as_texts=as_texts), place)
        if place.suffix.lower() == ".parquet":
            raise TableError(f"{place} is no Parquet file: it lacks the mark that each one starts with. Make it anew.")
        return _checked(_read_other(data, place, as_texts=as_texts), place)
    except OSError as error:
        raise TableError(f"{place} cannot be read: {error.strerror or error}.") from error


def check_is_file(path: str | Path, *, what: str = "table", hint: str = "") -> Path:
    """Return the path of an ordinary file, or say what stands there instead."""
    if re.match(r"(https?|ftp|s3|gs|hdfs|file):/", str(path), re.IGNORECASE):
        raise TableError(f"{path} is a web address, and nothing is fetched from there. Download the {what} first.")
    if "\0" in str(path):
        raise TableError(f"{str(path)!r} cannot be a file's name: it holds a NUL character.")
    place = Path(path)
    try:
        facts = place.stat()
    except FileNotFoundError:
        raise TableError(f"there is no {what} at {path}. {hint}".strip()) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise TableError(f"the {what} {str(path)[:200]} cannot be read: {reason}.") from error
    if stat.S_ISDIR(facts.st_mode):
        raise TableError(f"{path} is a folder and no {what}. Name the file in it.")
    if not stat.S_ISREG(facts.st_mode):  # a named pipe would wait for ever
        raise TableError(f"{path} is no ordinary file (a pipe or a device) and no {what}. Save the table to a file.")
    if facts.st_size > LARGEST_BYTES:
        raise TableError(f"{path} has {facts.st_size:,} bytes; at most {LARGEST_BYTES:,} are read. Split it.")
    return place


def stored_facts(metadata: Mapping[bytes, bytes] | None, path: Path) -> dict[str, Any]:
    """Return what one of our Parquet files says of itself, {} for anybody else's."""
    try:
        facts = json.loads((metadata or {}).get(METADATA_KEY, b"{}"))
    except (ValueError, RecursionError):
        facts = None
    if not isinstance(facts, dict):
        raise TableError(f"the notes inside {path} are damaged. Make the table anew.")
    return facts


def _start_and_rest(place: Path) -> tuple[bytes, bytes]:
    """Return the first four bytes of a file and, unless it is Parquet, all of it."""
    with place.open("rb") as file:
        start = file.read(4)
        return start, b"" if start == b"PAR1" else start + file.read()


def _read_parquet(place: Path, *, as_texts: bool) -> ReadTable:
    import pyarrow.parquet as pq

    try:
        # A ParquetFile reads this file alone; `read_table` would take labels from the names of folders as well.
        with pq.ParquetFile(place) as file:
            told = file.metadata
            unpacked = sum(told.row_group(number).total_byte_size for number in range(told.num_row_groups))
            _check_size(place, told.num_rows, told.num_columns, unpacked)
            arrow = file.read()
        facts = stored_facts(arrow.schema.metadata, place)
        try:
            rows = arrow.to_pandas()
        except Exception:  # pandas' own notes in the file are damaged, or tell of types that this one lacks
            rows = arrow.replace_schema_metadata(None).to_pandas()
    except (TableError, KeyboardInterrupt):
        raise
    except Exception as error:  # pyarrow raises what it pleases on damaged files
        raise TableError(f"{place} cannot be read as a Parquet file: {_reason(error)} Make it anew.") from error
    if not isinstance(rows.index, pd.RangeIndex):
        rows = rows.reset_index(drop=rows.index.name is None or rows.index.name in rows.columns)
    if as_texts:
        rows = rows.astype(object).where(rows.notna(), "").map(str)
    return ReadTable(rows, facts)


def _read_other(data: bytes, place: Path, *, as_texts: bool) -> ReadTable:
    notices: list[str] = []
    if data.startswith(b"\x1f\x8b"):
        data = _unzipped(data, place)
    if data.startswith(b"PK\x03\x04"):
        texts = _excel_texts(data, place, notices)
        separator = "\t"
    elif data.startswith(b"\xd0\xcf\x11\xe0"):
        raise TableError(f"{place} is a workbook of an old Excel (.xls). Save it as .xlsx, or as CSV UTF-8.")
    else:
        text = _decoded(data, place, notices)
        separator, text = _separator(text)
        texts = _text_rows(text, separator, place, notices)
    table = _with_headings(texts, place)
    if separator != ",":  # beside commas as separators, a comma in a cell may well be a range or thousands
        commas = [name for name in table if has_decimal_commas(table[name])]
        table = table.assign(**{name: table[name].str.replace(",", ".", regex=False) for name in commas})
        if commas:
            notices.append(f"the decimal commas in {_listed(commas)} were read as points.")
    if not as_texts:
        table = pd.DataFrame({name: typed(table[name]) for name in table}, index=table.index)
    return ReadTable(table, {}, tuple(notices))


def _unzipped(data: bytes, place: Path) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            unpacked = file.read(LARGEST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise TableError(f"{place} is a damaged gzip file: {_reason(error)} Pack it anew.") from error
    _check_size(place, 0, 0, len(unpacked))
    return unpacked


def _decoded(data: bytes, place: Path, notices: list[str]) -> str:
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS if data.startswith(mark)), None) or _utf_16(data)
    try:
        text = data.decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        if encoding is not None:
            raise TableError(f"{place} starts as {encoding.upper()} and is no such text: {_reason(error)}") from error
        encoding = _western(data)
        text = data.decode(encoding)
        notices.append(f"{place.name} is no UTF-8 and was read as {encoding}: look whether its names are right.")
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise TableError(f"{place} holds a NUL character in line {line}: it is damaged, or no table. Save it anew.")
    if not text.strip():
        raise TableError(f"{place} cannot be read as a table: it is empty.")
    return text


def _utf_16(data: bytes) -> str | None:
    """Return which UTF-16 a text without a mark is: every second byte of Western text is zero."""
    sample = data[:4000]
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if max(even, odd) < len(sample) // 4 or len(sample) < 4:
        return None
    return "utf-16-le" if odd > even else "utf-16-be"


def _western(data: bytes) -> str:
    try:
        data.decode("cp1252")
    except UnicodeDecodeError:
        return "latin-1"
    return "cp1252"


def _separator(text: str) -> tuple[str, str]:
    """Return the separator, and the text without the line in which Excel names it."""
    if match := _SEPARATOR_LINE.match(text):
        return match[1], text[match.end() :]
    sample = text[:_SAMPLE]
    return max(_SEPARATORS, key=lambda separator: _evenness(sample, separator)), text


def _evenness(sample: str, separator: str) -> float:
    """Return in how many columns a separator cuts the headings, times the share of rows that it cuts alike."""
    try:
        rows = list(islice(csv.reader(io.StringIO(sample, newline=""), delimiter=separator), _SAMPLED_ROWS))
    except csv.Error:
        return 0.0
    cut = [len(row) for row in rows if row]
    if not cut or cut[0] < 2:
        return 0.0
    return cut[0] * sum(one == cut[0] for one in cut) / len(cut)


def _text_rows(text: str, separator: str, place: Path, notices: list[str]) -> pd.DataFrame:
    try:
        rows = pd.read_csv(
            io.StringIO(text, newline=""), sep=separator, header=None, dtype=str, keep_default_na=False, engine="c"
        )
    except (ValueError, OSError, OverflowError) as error:  # pandas' parse errors are ValueErrors
        if "EOF inside string" in str(error):
            raise TableError(
                f"{place} cannot be read as a table: a quotation mark is opened and never closed. Close or remove it."
            ) from error
        raise TableError(
            f"{place} cannot be read as a table: {_reason(error)} Cells are separated by {separator!r}; one that "
            "holds it must stand in double quotes."
        ) from error
    short = int(rows.iloc[:, -1].isna().sum())
    if short:
        notices.append(f"{short:,} rows of {place.name} are shorter than its headings; what they lack is unknown.")
    return rows.fillna("")


def _excel_texts(data: bytes, place: Path, notices: list[str]) -> pd.DataFrame:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise TableError(f"{place} is a damaged zip archive or workbook: {_reason(error)}") from error
    if not any(entry.filename.startswith("xl/") for entry in entries):
        raise TableError(f"{place} is a zip archive. Unpack it, and name the table in it.")
    _check_size(place, 0, 0, sum(entry.file_size for entry in entries))
    try:
        from openpyxl import load_workbook
    except ImportError:
        raise MissingExtraError(
            f'{place} is an Excel workbook, which needs the package openpyxl: pip install "agegender[excel]". '
            "Or save it as CSV UTF-8."
        ) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and dates that are none of our business
            book = load_workbook(io.BytesIO(data), read_only=True, data_only=True)
            sheets = book.worksheets
            sheets[0].reset_dimensions()  # a wrong one would make millions of empty cells
            cells = _sheet_rows(sheets[0].iter_rows(values_only=True), place)
    except TableError:
        raise
    except Exception as error:  # its parsers raise what they please on damaged files
        raise TableError(f"{place} cannot be read as an Excel workbook: {_reason(error)}") from error
    if len(sheets) > 1:
        notices.append(f"{place.name} has {len(sheets)} sheets; the first one, {sheets[0].title!r}, was read.")
    if not cells:
        raise TableError(f"{place} cannot be read as a table: its first sheet is empty.")
    return pd.DataFrame(cells, dtype=str).fillna("")


def _sheet_rows(rows: Iterable[tuple[Any, ...]], place: Path) -> list[list[str]]:
    texts: list[list[str]] = []
    for row in rows:
        cells = ["" if cell is None else str(cell) for cell in row]
        while cells and not cells[-1]:
            cells.pop()
        _check_size(place, len(texts), len(cells), 0)
        texts.append(cells)
    while texts and not texts[-1]:
        texts.pop()
    return texts


def _with_headings(texts: pd.DataFrame, place: Path) -> pd.DataFrame:
    """Return the table with its first row as headings; columns and rows without any text are left out."""
    headings = without_apostrophes(texts.iloc[0].astype(str).str.strip()).tolist()
    table = texts.iloc[1:]
    is_blank = (table.map(str.strip) == "") if table.size < 10_000 else (table == "")
    kept = [number for number, name in enumerate(headings) if name or not bool(is_blank.iloc[:, number].all())]
    table = table[~is_blank.all(axis=1).to_numpy(dtype=bool)].iloc[:, kept].reset_index(drop=True)
    if not kept:
        raise TableError(f"{place} cannot be read as a table: it has no headings.")
    table.columns = pd.Index([headings[number] or f"Unnamed: {number}" for number in kept])
    _refuse_twins(table, place)
    return table


def _checked(read: ReadTable, place: Path) -> ReadTable:
    """Return what was read, names trimmed, if it is within the limits and names no column twice."""
    rows = read.rows.copy(deep=False)
    rows.columns = pd.Index([str(name).strip().strip("\ufeff") for name in rows.columns])
    _check_size(place, len(rows), rows.shape[1], 0)
    _refuse_twins(rows, place)
    for name in rows:
        longest: Any = 0
        if isinstance(rows[name].dtype, pd.StringDtype):
            longest = rows[name].str.len().max()
        elif pd.api.types.is_object_dtype(rows[name].dtype):
            longest = max((len(cell) for cell in rows[name] if isinstance(cell, (str, bytes))), default=0)
        if not pd.isna(longest) and longest > LONGEST_CELL:
            raise TableError(
                f"a cell of the column {str(name)[:80]!r} in {place} has {int(longest):,} characters; at most "
                f"{LONGEST_CELL:,} are read. Is a quotation mark missing?"
            )
    return ReadTable(rows, read.facts, read.notices)


def _refuse_twins(table: pd.DataFrame, place: Path) -> None:
    twice = table.columns[table.columns.duplicated()]
    if len(twice):
        raise TableError(f"the column {twice[0]!r} stands in {place} twice: keep one of them.")


def _check_size(place: Path, row_count: int, column_count: int, byte_count: int) -> None:
    for count, most, words in (
        (row_count, MOST_ROWS, "rows"),
        (column_count, MOST_COLUMNS, "columns"),
        (byte_count, LARGEST_BYTES, "bytes once unpacked"),
    ):
        if count > most:
            raise TableError(f"{place} has more than {most:,} {words}, which is the most that is read. Split it.")


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _reason(error: BaseException) -> str:
    """Return the first line of an error, a sentence."""
    text = (str(error).splitlines() or [""])[0].strip() or type(error).__name__
    return f"{text[:300].rstrip('.')}."
