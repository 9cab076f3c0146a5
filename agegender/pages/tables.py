"""Owns tables as pages know them: columns with units, rows that may be greyed, and their downloads.

A `Table` is data. Templates turn it into HTML, `csv_link` and `json_link` into files that can be saved from an offline
page even with JavaScript off.
"""

from __future__ import annotations

import base64
import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import pandas as pd

from agegender.pages.words import MISSING, Interval, interval_ends, number, p_value
from agegender.writing import to_json

# A spreadsheet takes a text that starts like this for a formula and runs it.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


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
        value = value.estimate if isinstance(value, Interval) else value
        if _is_missing(value):
            return MISSING
        if not self.is_number:
            return str(value)
        if self.is_p_value:
            return p_value(value)
        return number(value, self.digits or 0, signed=self.is_signed, is_percent=self.is_percent)

    def ends(self, value: Any) -> str:
        """Return the interval in brackets, or nothing."""
        if not isinstance(value, Interval):
            return ""
        return interval_ends(value, self.digits or 0, signed=self.is_signed, is_percent=self.is_percent)

    def sort_key(self, value: Any) -> str:
        """Return what the page's script sorts by: a number, a text, or nothing for a missing value."""
        value = value.estimate if isinstance(value, Interval) else value
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
    def csv_link(self) -> str:
        """The table as a CSV file in a data: address."""
        return f"data:text/csv;charset=utf-8,{quote(self.csv_text())}"

    @property
    def json_link(self) -> str:
        """The table as a JSON file in a data: address."""
        encoded = base64.b64encode(to_json(self.records()).encode()).decode()
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
        if isinstance(value, Interval):
            ends = {f"{column.key}_low": value.low, f"{column.key}_high": value.high}
            record |= {column.key: value.estimate} | ends
        else:
            record[column.key] = None if _is_missing(value) else value
    return record


def _harmless(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return ""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA_STARTS) else value


def _is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))
