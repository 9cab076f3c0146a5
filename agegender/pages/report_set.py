"""The set of pages of one model: which can be made of what is known, in which order, and how they link.

Whatever is missing (photos, card, history, explanations) is left out, and the pages say so. `report.json` beside the
pages remembers whether faces are to be shown, so that a page which is written later by itself keeps to it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from agegender.errors import UsageError
from agegender.pages.bias_page import write_bias
from agegender.pages.card_page import write_card
from agegender.pages.index_page import write_index
from agegender.pages.page_writing import ReportContent, render_navigation
from agegender.settings import VERSION
from agegender.writing import check_writable, write_json, write_text

Writer = Callable[[Path, ReportContent, Sequence[Mapping[str, Any]]], Path]

SETTINGS_FILE = "report.json"
PAGES = {
    "index": ("Overview", "figures, learning curves, settings"),
    "bias": ("Bias", "who the model is wrong about, by how much, and how sure that is"),
    "lime": ("Explanations", "which parts of a face an estimate rests on, and how far that can be trusted"),
    "card": ("Model card", "what the model is for, what it isn't for, and what only its makers can say"),
}


class ReportSet(NamedTuple):
    """The pages that were written, by name, and pages of an earlier run that were left in the folder."""

    pages: dict[str, Path]
    older_pages: tuple[Path, ...] = ()


def write_report_set(
    folder: Path, content: ReportContent, *, hide_faces: bool | None = None, only: Collection[str] | None = None
) -> ReportSet:
    """Write every page that can be made to `folder`, each file whole or not at all; other files in it stay."""
    hides = is_hiding_faces(folder) or content.hide_faces if hide_faces is None else hide_faces
    content = replace(content, hide_faces=hides)
    writers = _writers(content)
    missing = sorted(set(only or ()) - set(writers))
    if missing:
        raise UsageError(f"the page {missing[0]!r} cannot be made here; there are {', '.join(writers)}.")
    check_writable(folder)
    there = [name for name in PAGES if (folder / f"{name}.html").is_file()]
    wanted = [name for name in writers if only is None or name in only]
    listed = [name for name in PAGES if name in wanted or (only is not None and name in there)]
    pages = {name: writers[name](folder / f"{name}.html", content, page_links(listed, name)) for name in wanted}
    if only is None or hide_faces is not None:
        write_json(folder / SETTINGS_FILE, _settings(content))
    if only is None:
        return ReportSet(pages, tuple(folder / f"{name}.html" for name in there if name not in pages))
    for name in listed:
        if name not in pages:
            _mend_navigation(folder / f"{name}.html", page_links(listed, name))
    return ReportSet(pages)


def write_page_alone(path: Path, name: str, content: ReportContent) -> Path:
    """Write one page of `PAGES`, which leads to no other, to any file; return the path."""
    writers = _writers(content)
    if name not in writers:
        raise UsageError(f"the page {name!r} cannot be made here; there are {', '.join(writers)}.")
    return writers[name](path, content, ())


def is_hiding_faces(folder: Path) -> bool:
    """Return whether the last report in a folder was made without faces."""
    try:
        settings = json.loads((folder / SETTINGS_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    except (OSError, ValueError, RecursionError):
        return True  # what cannot be read may have asked for it
    return not isinstance(settings, Mapping) or bool(settings.get("hide_faces", True))


def page_links(names: Sequence[str], current: str) -> list[dict[str, Any]]:
    """Return what a page's navigation shows."""
    return [
        {"address": f"{name}.html", "name": PAGES[name][0], "about": PAGES[name][1], "is_current": name == current}
        for name in names
    ]


def _writers(content: ReportContent) -> dict[str, Writer]:
    """Return how each page is written that can be made of what is known, in the order of the navigation."""
    writers: dict[str, Writer] = {"index": write_index, "bias": write_bias, "card": write_card}
    if content.explanations:
        writers["lime"] = _write_explanations
    return {name: writers[name] for name in PAGES if name in writers}


def _write_explanations(path: Path, content: ReportContent, pages: Sequence[Mapping[str, Any]]) -> Path:
    # Maps are drawn with OpenCV, which a report on a table alone does without.
    from agegender.pages.lime_page import write_lime

    assessment = content.assessment
    return write_lime(
        path,
        list(content.explanations or ()),
        title=assessment.title,
        is_drawn=assessment.is_drawn,
        hide_faces=content.hide_faces,
        cautions=content.cautions,
        pages=pages,
    )


def _settings(content: ReportContent) -> dict[str, Any]:
    return {
        "title": content.assessment.title,
        "hide_faces": content.hide_faces,
        "version": VERSION,
    }


def _mend_navigation(path: Path, links: list[dict[str, Any]]) -> None:
    """Write the navigation of a page that stays anew, and nothing else of it."""
    page = path.read_text(encoding="utf-8")
    for name in ("pages", "next-pages"):
        first, last = f"<!-- {name} -->", f"<!-- /{name} -->"
        before, found, rest = page.partition(first)
        if found and last in rest:
            page = f"{before}{first}{render_navigation(name, links)}{last}{rest.partition(last)[2]}"
    write_text(path, page)
