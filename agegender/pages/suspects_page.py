"""`suspects.html`: labels that are probably wrong, to be looked at and marked; the marks are saved as a CSV file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from agegender.audit.words import count, number
from agegender.data.corrections import MARKS, photo_code
from agegender.heads import Head, Regression
from agegender.pages.galleries import MOST_IMAGES, PhotoShelf
from agegender.pages.page_writing import ReportContent, write_page


def write_suspects(
    path: Path, content: ReportContent, suspects: pd.DataFrame, *, most: int = 200,
    pages: Sequence[Mapping[str, Any]] = (),
) -> Path:  # fmt: skip
    """Write the page of `suspected_labels` to `path`, whole or not at all; at most `most` of them are shown."""
    shown = suspects.head(min(most, MOST_IMAGES))
    heads = {head.column: head for head in content.heads}
    shelf = PhotoShelf(content)
    rows = content.assessment.judged
    said = [
        _suspect(one, rows.loc[place], heads[one["column"]], shelf, content)
        for place, one in zip(shown.index, shown.to_dict("records"), strict=True)
    ]
    title = content.assessment.title
    return write_page(
        path,
        "suspects.html",
        scripts=("marks.js",),
        title=f"Labels to look at: {title}",
        subject=title,
        lead=f"{count(len(suspects))} labels of {count(len(rows))} photos are probably wrong.",
        is_drawn=content.assessment.is_drawn,
        notices=content.assessment.notices,
        cautions=content.cautions,
        hide_faces=content.hide_faces,
        marks=MARKS,
        suspects=said,
        pages=pages,
        run_id=content.run_id,
        left_out=len(suspects) - len(shown),
        sections=[("list", "Suspects"), ("methods", "Methods")],
    )


def _suspect(
    one: Mapping[str, Any], row: pd.Series, head: Head, shelf: PhotoShelf, content: ReportContent
) -> dict[str, Any]:
    chance = float(one["probability_wrong"])
    sure = "> 99 %" if chance > 0.99 else number(chance, 0, is_percent=True)
    label, predicted = head.label_words(one["label"]), head.label_words(one["predicted"])
    lines = [f"label {label}", f"guess {predicted}"]
    if isinstance(head, Regression) and pd.notna(one["low"]):
        lines[1] += f" ({head.label_words(one['low'])} to {head.label_words(one['high'])})"
    photo = shelf.photo(row, head, f"{head.title}: {sure} likely wrong", lines)
    given = one["path"] if isinstance(one["path"], str) else ""
    original = row.get("original_path")
    name = original if isinstance(original, str) and original else given
    plain = f"{one['label']:g}" if isinstance(one["label"], float) else str(one["label"])
    return {
        "image": photo.image, "alt": photo.alt, "headline": photo.headline, "lines": lines,
        "code": photo_code(name), "path": "" if content.hide_faces else name, "file": PurePosixPath(name).name,
        "column": head.column, "label": plain, "suggested": head.label_words(one["suggested"]),
    }  # fmt: skip
