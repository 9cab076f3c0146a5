"""Files of predictions, written table by table, so that no more than one is in memory: JSON Lines, CSV, Parquet.

The name's ending says which. A file takes its place when it is whole.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from agegender.errors import UsageError
from agegender.heads import Classification, Head, head_to_dict
from agegender.reading_tables import METADATA_KEY
from agegender.table_cells import write_csv
from agegender.writing import plain, replaced_file

if TYPE_CHECKING:
    import pyarrow as pa

Writer = Callable[[pd.DataFrame], None]
JSON_LINES = (".jsonl", ".ndjson")
ENDINGS = (*JSON_LINES, ".csv", ".parquet")
# What a row of `predict` says of its photo and face before any head speaks -> its type in a table.
FACT_TYPES = {
    "path": "object",
    "error": "object",
    "problems": "object",
    "face": "Int64",
    "face_count": "Int64",
    "face_left": "Int64",
    "face_top": "Int64",
    "face_width": "Int64",
    "face_height": "Int64",
    "face_score": "float64",
    "crop_left": "Int64",
    "crop_top": "Int64",
    "crop_side": "Int64",
    "crop_degrees": "float64",
}
PROBLEMS_JOINT = ", "


def check_ending(path: Path) -> None:
    """Refuse a file whose name does not say what it is to be, and a folder."""
    if path.suffix.lower() not in ENDINGS:
        raise UsageError(f"--out {path}: name a file that ends in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}.")
    if path.is_dir():
        raise UsageError(f"--out {path} is a folder. Name a file in it: {path / 'predictions.parquet'}.")


@contextmanager
def predictions_file(path: Path, heads: Sequence[Head], run_id: str | None = None) -> Iterator[Writer]:
    """Give a function that adds a table to the file, which takes its place at the end; all have the same columns."""
    with replaced_file(path) as temporary:
        ending = path.suffix.lower()
        if ending in JSON_LINES:
            with temporary.open("a", encoding="utf-8") as lines:
                yield lambda table: lines.writelines(f"{json_line(row)}\n" for row in json_rows(table))
        elif ending == ".csv":
            yield lambda table: write_csv(table, temporary, adds=temporary.stat().st_size > 0)
        else:
            with _parquet_writer(temporary, heads, run_id) as write:
                yield write


def json_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of `predict` as JSON has them: problems as a list, a photo that could not be read as its error.

    Facts that are not known, such as a box where no face was looked for, are left out; an unknown answer is null.
    """
    return [_json_row(row) for row in table.to_dict("records")]


def _json_row(row: Mapping[Any, Any]) -> dict[str, Any]:
    if isinstance(row.get("error"), str):
        return {name: row[name] for name in ("path", "model", "error") if name in row}
    said = {str(name): value for name, value in row.items() if name not in FACT_TYPES or pd.notna(value)}
    if "problems" in row:
        said["problems"] = said["problems"].split(PROBLEMS_JOINT) if "problems" in said else []
    return said


def json_line(row: Mapping[str, Any]) -> str:
    """Return a row as one line of JSON that any reader understands."""
    return json.dumps(plain(row), ensure_ascii=False, allow_nan=False)


@contextmanager
def _parquet_writer(path: Path, heads: Sequence[Head], run_id: str | None) -> Iterator[Writer]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    writers: list[pq.ParquetWriter] = []

    def write(table: pd.DataFrame) -> None:
        if not writers:
            first = with_facts(_known_types(pa.Table.from_pandas(table, preserve_index=False)), heads, run_id)
            writers.append(pq.ParquetWriter(path, first.schema))
        # What is missing in all rows of a table has no type of its own.
        writers[0].write_table(pa.Table.from_pandas(table, schema=writers[0].schema, preserve_index=False))

    try:
        yield write
    finally:
        for writer in writers:
            writer.close()


def _known_types(table: pa.Table) -> pa.Table:
    """Return an Arrow table whose columns without a value are texts, as all that pandas holds as objects are."""
    import pyarrow as pa

    fields = [field.with_type(pa.string()) if pa.types.is_null(field.type) else field for field in table.schema]
    return table.cast(pa.schema(fields, metadata=table.schema.metadata))


def with_facts(table: pa.Table, heads: Sequence[Head], run_id: str | None = None) -> pa.Table:
    """Return an Arrow table with what columns alone do not tell: the heads, the whole names of classes, the run."""
    facts: dict[str, Any] = {
        "heads": plain([head_to_dict(head) for head in heads]),
        # A column's name has only part of a class's name; here is the whole of it.
        "classes": {
            head.name: {column: name for name, column in head.probability_columns.items()}
            for head in heads
            if isinstance(head, Classification)
        },
    }
    if run_id:
        facts["run_id"] = run_id
    return table.replace_schema_metadata({**(table.schema.metadata or {}), METADATA_KEY: json.dumps(facts).encode()})
