"""Owns turning a source's rows into its faces table, and refusing a folder in which no row is usable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agegender.data.faces_table import FacesTable, make_table
from agegender.data.sources.recognising import refuse
from agegender.photos.finding import MALFORMED, FoundFile


def assemble(rows: list[dict[str, Any]], root: Path, source: str, *, expected: str, **notes: Any) -> FacesTable:
    """Return the faces table of `rows`, names that could not be read listed in its notes.

    Parameters
    ----------
    expected : str
        How a folder of this source looks, for the refusal.
    **notes
        JSON-able facts; counts of 0 are left out.

    Raises
    ------
    FolderError
        No row is usable.
    """
    if all(row.get("dropped_because") is not None for row in rows):
        raise refuse(root, source, expected)
    malformed = [row["path"] for row in rows if row.get("dropped_because") == MALFORMED or row.get("is_malformed_name")]
    facts = {name: value for name, value in notes.items() if value not in (0, None)}
    table = make_table([{**row, "source": source} for row in rows])
    return FacesTable(table, root.resolve(), {"sources": [source], "malformed_names": malformed, **facts})


def malformed_row(found: FoundFile) -> dict[str, Any]:
    """Return the row of a photo of which nothing can be read from its name."""
    return {"path": found.path, "dropped_because": found.dropped_because or MALFORMED}
