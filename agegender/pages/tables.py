"""Tables as pages know them: columns with units, rows that may be greyed, matrices, and their downloads.

A `Table` is data. Templates turn it into HTML, `csv_link` and `json_link` into files that can be saved from an offline
page even with JavaScript off.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agegender.audit.estimates import Estimate
from agegender.audit.words import FEW, MISSING, count, interval_ends, number, p_value
from agegender.table_cells import harmless
from agegender.writing import plain

BYTE_ORDER_MARK = "\ufeff"
_LONGEST_HEADING = 8  # letters


@dataclass(frozen=True)
class Column:
    """One column: how its values are called, written and explained.

    Attributes
    ----------
    key : str
        Name in downloads; intervals add `<key>_low` and `<key>_high`.
    title : str
        Heading on the page, unit included.
    digits : int or None
        Decimals; None for text.
    """

    key: str
    title: str
    digits: int | None = None
    hint: str = ""
    is_signed: bool = False
    is_percent: bool = False
    is_p_value: bool = False

    @property
    def is_number(self) -> bool:
        """Whether values are set flush right and sorted by size."""
        return self.digits is not None

    def text(self, value: Any) -> str:
        """Return the value as the page writes it, without its interval."""
        value = value.value if isinstance(value, Estimate) else value
        if _is_missing(value):
            return MISSING
        if not self.is_number or isinstance(value, str):
            return str(value)
        if self.is_p_value:
            return p_value(value).removeprefix("= ")
        return number(value, self.digits or 0, signed=self.is_signed, is_percent=self.is_percent)

    def ends(self, value: Any) -> str:
        """Return the interval in brackets, or nothing."""
        if not isinstance(value, Estimate):
            return ""
        return interval_ends(value, self.digits or 0, signed=self.is_signed, is_percent=self.is_percent)

    def sort_key(self, value: Any) -> str:
        """Return what the page's script sorts by: a number, a text, or nothing for a missing value."""
        value = value.value if isinstance(value, Estimate) else value
        return "" if _is_missing(value) else str(value)


@dataclass(frozen=True)
class Row:
    """One row; `is_small` greys it, `address` is where its drill-down starts."""

    values: Mapping[str, Any]
    is_small: bool = False
    address: str = ""


@dataclass(frozen=True)
class Table:
    """A table with its caption; the first column heads each row."""

    identifier: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    note: str = ""
    can_filter: bool = False
    hidden_rows: Sequence[Row] = field(default=())  # in the downloads, too many for the page

    @property
    def hints(self) -> list[Column]:
        """The columns whose headings need a word."""
        return [column for column in self.columns if column.hint]

    @property
    def csv_link(self) -> str:
        """The table as a CSV file in a data: address; spreadsheets need the mark in front to read it as UTF-8."""
        return f"data:text/csv;charset=utf-8,{quote(BYTE_ORDER_MARK + self.csv_text())}"

    @property
    def json_link(self) -> str:
        """The table as a JSON file in a data: address, `columns` and rows of `data`: pandas calls that "split"."""
        records = self.records()
        names = list(dict.fromkeys(name for record in records for name in record))
        rows = [[record.get(name) for name in names] for record in records]
        # Names once and not in every row, which would take three times the room.
        text = json.dumps(plain({"columns": names, "data": rows}), ensure_ascii=False, allow_nan=False)
        encoded = base64.b64encode(text.encode()).decode()
        return f"data:application/json;base64,{encoded}"

    def records(self) -> list[dict[str, Any]]:
        """Return every row as a flat mapping, intervals spread over three keys, numbers unrounded."""
        return [_flat(row, self.columns) for row in (*self.rows, *self.hidden_rows)]

    def csv_text(self) -> str:
        """Return the table as CSV; texts that a spreadsheet would run as a formula get an apostrophe in front."""
        records = self.records()
        names = list(dict.fromkeys(name for record in records for name in record))
        stream = io.StringIO()
        writer = csv.DictWriter(stream, names or [column.key for column in self.columns])
        writer.writeheader()
        writer.writerows({name: _harmless(value) for name, value in record.items()} for record in records)
        return stream.getvalue()


@dataclass(frozen=True)
class Matrix:
    """Labels (rows) against predictions (columns): counts (classes, classes), int.

    `has_counts` writes count and share into a cell; without, the share of the row alone, for many classes. `hides_few`
    keeps counts under `FEW` from the page and the downloads.
    """

    caption: str
    names: tuple[str, ...]
    counts: NDArray[np.int64]
    note: str = ""
    has_counts: bool = True
    hides_few: bool = False

    @property
    def heads_are_numbers(self) -> bool:
        """Whether columns are headed by numbers: long names side by side would be wider than any screen."""
        return not self.has_counts and max(map(len, self.names)) > _LONGEST_HEADING

    def row_name(self, place: int) -> str:
        """Return how a row is headed: with its number where columns have it, and its photos where cells have none."""
        name, total = self.names[place], int(self.counts[place].sum())
        name = f"{place + 1}: {name}" if self.heads_are_numbers else name
        return name if self.has_counts else f"{name} ({self._words(total)})"

    def cells(self, place: int) -> list[tuple[str, float]]:
        """Return text and share of the row (0..1) of each cell of a row."""
        total = int(self.counts[place].sum())
        return [self._cell(int(one), one / total if total else 0.0) for one in self.counts[place]]

    def records(self) -> list[dict[str, Any]]:
        """Return one flat mapping per label, for the downloads."""
        return [
            {"matrix": self.caption, "labelled": name}
            | {f"predicted {other}": self._value(int(one)) for other, one in zip(self.names, row, strict=True)}
            for name, row in zip(self.names, self.counts, strict=True)
        ]

    def _cell(self, photo_count: int, share: float) -> tuple[str, float]:
        if self._is_hidden(photo_count):
            return f"<{FEW}" if self.has_counts else "…", 0.0
        text = "" if not photo_count else "<1" if share < 0.005 else f"{100 * share:.0f}"
        return (f"{count(photo_count)} ({text or 0} %)" if self.has_counts else text), round(share, 3)

    def _value(self, photo_count: int) -> int | str:
        return f"<{FEW}" if self._is_hidden(photo_count) else photo_count

    def _words(self, photo_count: int) -> str:
        return f"<{FEW}" if self._is_hidden(photo_count) else count(photo_count)

    def _is_hidden(self, photo_count: int) -> bool:
        return self.hides_few and 0 < photo_count < FEW


def matrix_table(name: str, matrices: Sequence[Matrix]) -> Table:
    """Return matrices as one table of counts, for the downloads."""
    names = list(dict.fromkeys(name for matrix in matrices for name in matrix.names))
    columns = [Column("matrix", "Matrix"), Column("labelled", "Labelled")]
    columns += [Column(f"predicted {name}", f"Predicted {name}", 0) for name in names]
    rows = [Row(record) for matrix in matrices for record in matrix.records()]
    return Table(name, "Labels against predictions", columns, rows)


def without_few(table: Table, counts: Sequence[str]) -> Table:
    """Return the table as a page has it that is to show nobody: what counts fewer than `FEW` photos says no more.

    `counts` are keys of numbers of photos, the row's own first: where that one is few, no other number of it stays.
    """
    rows = [_row_without_few(row, table.columns, counts) for row in table.rows]
    hidden = [_row_without_few(row, table.columns, counts) for row in table.hidden_rows]
    if rows == list(table.rows) and hidden == list(table.hidden_rows):
        return table
    note = f"{table.note} Numbers of fewer than {FEW} photos, and what is known of them, are left out.".strip()
    return replace(table, rows=rows, hidden_rows=hidden, note=note)


def _row_without_few(row: Row, columns: Sequence[Column], counts: Sequence[str]) -> Row:
    few = {key for key in counts if _is_few(row.values.get(key))}
    if not few:
        return row
    values: dict[str, Any] = dict(row.values)
    if counts[0] in few:
        numbers = {column.key for column in columns if column.is_number} - set(counts)
        values |= dict.fromkeys(numbers, None)
        few |= {key for key in counts if key in values}
    return replace(row, values=values | dict.fromkeys(few, f"<{FEW}"), is_small=True)


def _is_few(value: Any) -> bool:
    return isinstance(value, (int, float)) and not _is_missing(value) and 0 < abs(value) < FEW


def known_columns(columns: Sequence[Column], rows: Sequence[Row]) -> list[Column]:
    """Return the first column, and the others of which some row knows a value."""
    return [
        column
        for place, column in enumerate(columns)
        if place == 0 or any(_is_known(row.values.get(column.key)) for row in rows)
    ]


def table_of_frame(identifier: str, caption: str, frame: pd.DataFrame, *, note: str = "", digits: int = 2) -> Table:
    """Return any DataFrame as a page's table, its numeric columns set flush right."""
    columns = [Column(str(name), _title(str(name)), _digits(frame[name], digits)) for name in frame.columns]
    rows = [Row({str(name): value for name, value in record.items()}) for record in frame.to_dict("records")]
    return Table(identifier, caption, columns, rows, note)


def _title(name: str) -> str:
    words = name.replace("_", " ")
    return f"{words[:1].upper()}{words[1:]}"


def _digits(values: pd.Series, digits: int) -> int | None:
    if not pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
        return None
    return 0 if pd.api.types.is_integer_dtype(values) else digits


def _flat(row: Row, columns: Sequence[Column]) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for column in columns:
        value = row.values.get(column.key)
        if isinstance(value, Estimate):
            ends = {f"{column.key}_low": value.low, f"{column.key}_high": value.high}
            record |= {column.key: value.value} | ends
        else:
            record[column.key] = None if _is_missing(value) else value
    return record


def _harmless(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return ""
    return harmless(value)


def _is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def _is_known(value: Any) -> bool:
    value = value.value if isinstance(value, Estimate) else value
    return not _is_missing(value) and (isinstance(value, str) or math.isfinite(value))
