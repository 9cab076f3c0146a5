"""Owns the set of pages of one model: which can be made of what is known, in which order, and how they link.

`train` and `report` call it; whatever is missing (photos, card, history, explanations) is left out, and the pages say
so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from agegender.audit.findings import Finding
from agegender.audit.judged import Audit, make_audit
from agegender.audit.judgement import judge
from agegender.data.faces_table import FacesTable
from agegender.explanation.face_explanation import FaceExplanation
from agegender.pages.bias_page import write_bias
from agegender.pages.card_page import write_card
from agegender.pages.index_page import write_index
from agegender.pages.lime_page import write_lime
from agegender.writing import check_writable

Writer = Callable[[Path, list[dict[str, Any]]], Path]

PAGES = {
    "index": ("Overview", "figures, learning curves, settings"),
    "bias": ("Bias", "who the model is wrong about, by how much, and how sure that is"),
    "lime": ("Explanations", "which parts of a face an estimate rests on, and how far that can be trusted"),
    "card": ("Model card", "what the model is for, what it isn't for, and what only its makers can say"),
}


@dataclass(frozen=True)
class ReportInput:
    """What a report is made of; only the predictions are needed.

    Attributes
    ----------
    predictions : DataFrame
        Label columns of the faces table, `split` where known, and the predictions; ours or anybody's.
    title : str
        What the model is called.
    faces : FacesTable or None
        Where photos lie.
    card, history : mapping, DataFrame or None
        The model's card and its epochs.
    explanations : sequence of FaceExplanation or None
        For the page of explanations, which isn't written without.
    """

    predictions: pd.DataFrame
    title: str
    faces: FacesTable | None = None
    card: Mapping[str, Any] | None = None
    history: pd.DataFrame | None = None
    explanations: Sequence[FaceExplanation] | None = None


@dataclass(frozen=True)
class ReportSet:
    """The pages that were written, what stands in them, and pages of an earlier run that were left in the folder."""

    pages: dict[str, Path]
    audit: Audit
    findings: Sequence[Finding]
    older_pages: Sequence[Path] = ()


def write_reports(
    folder: Path, *, predictions: pd.DataFrame, title: str, hide_faces: bool = False, **known: Any
) -> dict[str, Path]:
    """Write every page that can be made; `known` are the further attributes of `ReportInput`.

    Returns
    -------
    dict
        Page name ("index", "bias", …) -> file.
    """
    return write_report_set(folder, ReportInput(predictions, title, **known), hide_faces=hide_faces).pages


def write_report_set(folder: Path, content: ReportInput, *, hide_faces: bool = False) -> ReportSet:
    """Write every page that can be made to `folder`, each file whole or not at all; other files in it stay.

    Parameters
    ----------
    hide_faces : bool
        Blur each face before it enters a page.

    Raises
    ------
    TableError
        The predictions can't be judged.
    OutputError
        The folder can't be written to.
    """
    audit = make_audit(
        content.predictions, title=content.title, faces=content.faces, card=content.card, hide_faces=hide_faces
    )
    check_writable(folder)
    judgement = judge(audit)
    writers: dict[str, Writer] = {
        "index": lambda path, pages: write_index(path, judgement, content.history, pages=pages),
        "bias": lambda path, pages: write_bias(path, judgement, pages=pages),
        "card": lambda path, pages: write_card(path, judgement, pages=pages),
    }
    if content.explanations:
        shown = list(content.explanations)
        writers["lime"] = lambda path, pages: write_lime(
            path, shown, title=content.title, is_drawn=audit.is_drawn, hide_faces=hide_faces, pages=pages
        )
    writers = {name: writers[name] for name in PAGES if name in writers}
    pages = {name: write(folder / f"{name}.html", page_links(list(writers), name)) for name, write in writers.items()}
    older = [folder / f"{name}.html" for name in PAGES if name not in pages and (folder / f"{name}.html").is_file()]
    return ReportSet(pages, audit, judgement.findings, older)


def page_links(names: Sequence[str], current: str) -> list[dict[str, Any]]:
    """Return what a page's navigation shows."""
    return [
        {"address": f"{name}.html", "name": PAGES[name][0], "about": PAGES[name][1], "is_current": name == current}
        for name in names
    ]
