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
from urllib.parse import quote

from agegender.errors import UsageError
from agegender.explanation import EXPLANATIONS_FOLDER
from agegender.pages.bias_page import write_bias
from agegender.pages.card_page import MARKDOWN_FILE, write_card
from agegender.pages.card_text import human_place, read_human, template
from agegender.pages.index_page import write_index
from agegender.pages.page_writing import ReportContent, render_navigation
from agegender.progress import say
from agegender.settings import VERSION
from agegender.swapping import Swap, finish_swaps, replaced_set
from agegender.writing import write_json, write_text

Writer = Callable[[Path, ReportContent, Sequence[Mapping[str, Any]]], Path]

SETTINGS_FILE = "report.json"
PAGES = {
    "index": ("Overview", "figures, learning curves, settings"),
    "bias": ("Bias", "who the model is wrong about, by how much, and how sure that is"),
    "lime": ("Explanations", "which parts of a face an estimate rests on, and how far that can be trusted"),
    "card": ("Model card", "what the model is for, what it isn't for, and what only its makers can say"),
    "compare": ("Comparison", "this model beside others, on the same photos"),
    "dataset": ("Dataset", "what became of the files, who is in the data, and what to be wary of"),
    "suspects": ("Labels to look at", "labels that are probably wrong, to be marked"),
    "search": ("Search", "which settings were tried, and what came of them"),
}
# Commands of their own write these; a report leaves them where they are. Suspects go with the run that they are of.
_OF_ANY_RUN = ("compare", "dataset", "search")
_MOST_COMPARISONS = 8


class ReportSet(NamedTuple):
    """The pages that were written, by name, and pages of an earlier run that were left in the folder."""

    pages: dict[str, Path]
    older_pages: tuple[Path, ...] = ()


def write_report_set(
    folder: Path, content: ReportContent, *, hide_faces: bool | None = None, only: Collection[str] | None = None
) -> ReportSet:
    """Write every page that can be made to `folder`, all of them or none; other files in it stay."""
    finish_swaps(folder.absolute().parent, folder)
    with replaced_set() as swap:
        return stage_report_set(swap, folder, content, hide_faces=hide_faces, only=only)


def stage_report_set(
    swap: Swap,
    folder: Path,
    content: ReportContent,
    *,
    hide_faces: bool | None = None,
    only: Collection[str] | None = None,
    replaces_all: bool = False,
) -> ReportSet:
    """Write the pages where they wait for their swap; with `replaces_all`, older ones that are not written go."""
    hides = is_hiding_faces(folder) or content.hide_faces if hide_faces is None else hide_faces
    human = human_place(content.model_folder, folder)
    content = replace(content, hide_faces=hides, human=read_human(human))
    stored = folder / EXPLANATIONS_FOLDER
    if hides and stored.is_dir() and not swap.has(stored):
        from agegender.explanation.explanation_files import hide_explanations

        hide_explanations(swap, stored)
    writers = _writers(content)
    missing = sorted(set(only or ()) - set(writers))
    if missing:
        raise UsageError(f"the page {missing[0]!r} cannot be made here; there are {', '.join(writers)}.")
    of_pages = _run_of_pages(folder)
    if of_pages and of_pages != content.run_id and not replaces_all:
        become = "those that are not written now stay" if only is not None else "they are replaced"
        of_now = content.run_id or "known"
        say(f"the pages in {folder} are of another training run ({of_pages}, not {of_now}): {become}.")
    there = [name for name in PAGES if (folder / f"{name}.html").is_file()]
    wanted = [name for name in writers if only is None or name in only]
    # Suspects are looked for by a command of their own, and stay as long as the run is the same.
    is_same_run = of_pages == content.run_id and not replaces_all and is_hiding_faces(folder) == hides
    shows_as_before = is_hiding_faces(folder) == hides
    stays = [
        one
        for one in there
        if one not in wanted
        and (only is not None or (one == "suspects" and is_same_run) or (one in _OF_ANY_RUN and shows_as_before))
    ]
    listed = [name for name in PAGES if name in wanted or name in stays]
    pages = {name: folder / f"{name}.html" for name in wanted}
    content = replace(content, nearby=nearby_pages(folder))
    for name, page in pages.items():
        writers[name](swap.stage(page), content, page_links(listed, name))
    if "card" in wanted:
        swap.stage(folder / MARKDOWN_FILE)  # which the card's page writes beside itself
        _make_human(swap, human, content, is_saved=replaces_all)
    if only is None or hide_faces is not None:
        run_id = content.run_id if only is None else of_pages
        write_json(swap.stage(folder / SETTINGS_FILE), _settings(content, run_id))
    older = [folder / f"{name}.html" for name in there if name not in (*pages, *stays)]
    if replaces_all:
        for page in older:
            if page.stem not in _OF_ANY_RUN:
                swap.remove(page)
    for name in stays:
        page = folder / f"{name}.html"
        _mend_navigation(page, swap.stage(page), page_links(listed, name))
    return ReportSet(pages, tuple(page for page in older if not replaces_all or page.stem in _OF_ANY_RUN))


def _make_human(swap: Swap, place: Path, content: ReportContent, *, is_saved: bool) -> None:
    """Have the file for people's part of the card made where there is none; a model that is saved brings its own."""
    for problem in content.human.problems:
        say(problem)
    if place.is_file() or is_saved:
        return
    write_text(swap.stage(place), template(content.assessment.title, content.run_id))
    say(f"{place} is for what only people can say of the model; fill it in, and the next report has it.")


def add_page(path: Path, run_id: str, write: Callable[[Path, Sequence[Mapping[str, Any]]], Any]) -> None:
    """Write a page of `PAGES` beside the report of its run, linked both ways; anywhere else it stands alone."""
    folder, name = path.parent, path.stem
    there = [one for one in PAGES if one != name and (folder / f"{one}.html").is_file()]
    if path.name not in {f"{one}.html" for one in PAGES} or not there or _run_of_pages(folder) != run_id:
        write(path, ())
        return
    finish_swaps(folder.absolute().parent, folder)
    listed = [one for one in PAGES if one in (name, *there)]
    with replaced_set() as swap:
        write(swap.stage(path), page_links(listed, name))
        for one in there:
            page = folder / f"{one}.html"
            _mend_navigation(page, swap.stage(page), page_links(listed, one))


def write_page_alone(path: Path, name: str, content: ReportContent) -> Path:
    """Write one page of `PAGES`, which leads to no other, to any file; return the path."""
    writers = _writers(content)
    if name not in writers:
        raise UsageError(f"the page {name!r} cannot be made here; there are {', '.join(writers)}.")
    human = read_human(human_place(content.model_folder, path.parent))
    return writers[name](path, replace(content, human=human), ())


def is_hiding_faces(folder: Path) -> bool:
    """Return whether the last report in a folder was made without faces."""
    try:
        return bool(_read_settings(folder).get("hide_faces", True))
    except FileNotFoundError:
        return False
    except (OSError, ValueError, AttributeError, RecursionError):
        return True  # what cannot be read may have asked for it


def remember_faces(folder: Path, *, hide_faces: bool) -> None:
    """Note beside the pages of a folder whether faces are to be shown; what else is noted there stays."""
    try:
        known = dict(_read_settings(folder))
    except (OSError, ValueError, TypeError, RecursionError):
        known = {}
    write_json(folder / SETTINGS_FILE, {**known, "hide_faces": hide_faces})


def _read_settings(folder: Path) -> Any:
    return json.loads((folder / SETTINGS_FILE).read_text(encoding="utf-8"))


def _run_of_pages(folder: Path) -> str:
    try:
        return str(_read_settings(folder).get("run_id") or "")[:32]
    except (OSError, ValueError, AttributeError, RecursionError):
        return ""


def page_links(names: Sequence[str], current: str) -> list[dict[str, Any]]:
    """Return what a page's navigation shows."""
    return [
        {"address": f"{name}.html", "name": PAGES[name][0], "about": PAGES[name][1], "is_current": name == current}
        for name in names
    ]


def nearby_pages(folder: Path) -> list[tuple[str, str, str]]:
    """Return address, name and words of what commands have written about a report's model in folders beside its own."""
    around, name = folder.absolute().parent, folder.absolute().name
    found = []
    if (around / f"{name}-search" / "search.html").is_file():
        found.append((f"../{quote(name)}-search/search.html", *PAGES["search"]))
    places = sorted(place for place in around.glob("compare-*/compare.html") if name in place.parent.name[8:])
    for place in places[:_MOST_COMPARISONS]:
        models = place.parent.name.removeprefix("compare-")
        found.append((f"../{quote(place.parent.name)}/compare.html", f"Comparison {models}", PAGES["compare"][1]))
    return found


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
        run_id=content.run_id,
    )


def _settings(content: ReportContent, run_id: str) -> dict[str, Any]:
    return {
        "title": content.assessment.title,
        "hide_faces": content.hide_faces,
        "run_id": run_id or None,
        "version": VERSION,
    }


def _mend_navigation(path: Path, new: Path, links: list[dict[str, Any]]) -> None:
    """Write a page that stays to `new`, its navigation made anew, and nothing else of it."""
    page = path.read_text(encoding="utf-8")
    for name in ("pages", "next-pages"):
        first, last = f"<!-- {name} -->", f"<!-- /{name} -->"
        before, found, rest = page.partition(first)
        if found and last in rest:
            page = f"{before}{first}{render_navigation(name, links)}{last}{rest.partition(last)[2]}"
    write_text(new, page)
