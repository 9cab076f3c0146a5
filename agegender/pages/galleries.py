"""The galleries: which photos of a group are shown, and the words under them.

A caption says what was labelled and what was predicted; no text states a guessed label as a fact about the person.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from agegender.audit import grouping
from agegender.audit.groups import Group, GroupResult
from agegender.audit.words import about, capitalised, identifier, number, photo_anchor, photos
from agegender.heads import Classification, Head, Regression
from agegender.pages.page_writing import ReportContent
from agegender.pages.thumbnails import thumbnail

MOST_IMAGES = 420  # about 1.4 MB in the page
_FACES_EACH = 4  # of each kind, in a group
_FACES_OVERALL = 12
_MOST_LABELS = 2  # in a caption, beside the one that the photo is shown for


@dataclass(frozen=True)
class Photo:
    """One photo on a page: its picture (or none), and what is said of it."""

    image: str
    alt: str
    headline: str
    lines: tuple[str, ...]
    file: str
    is_expected: bool = True  # False where nobody said where photos lie, so that no empty frame is drawn
    anchor: str = ""  # where it stands on the page first
    place: int | None = None  # its number among the judged rows, where scripts may ask for it
    explained: str = ""  # the address of its explanation


class Strip(NamedTuple):
    """Photos of one kind: the worst over-estimates, the typical ones."""

    title: str
    photos: tuple[Photo, ...]


class PhotoShelf:
    """Makes photos for a page, each picture once, and stops when the page has enough of them.

    With `explained_on`, the page of explanations or an empty text, photos carry their place among the judged rows and
    lead to their explanation; `shown` says which places have a picture, and where that leads. With faces hidden no
    photo has a place.
    """

    def __init__(
        self, content: ReportContent, most_images: int = MOST_IMAGES, *, explained_on: str | None = None
    ) -> None:
        self._content = content
        self._made: dict[str, str] = {}
        self._left = most_images
        self.left_out_count = 0
        self.shown: dict[int, str] = {}
        self._explained_on = explained_on or ""
        self._anchors: set[str] = set()
        self._places: dict[str, int] = {}
        if explained_on is not None and not content.hide_faces:
            self._places = {path: place for place, path in enumerate(content.assessment.judged["path"]) if path}
        self._explained = {one.path for one in content.explanations or ()} if explained_on else set()

    @property
    def shows_nobody(self) -> bool:
        """Whether the page is to have no photo."""
        return self._content.hide_faces

    def photo(self, row: Mapping[Any, Any], head: Head, headline: str, said: Sequence[str] | None = None) -> Photo:
        """Return one row's photo with its labels, of `head` at least; beside them `said`, or what was predicted."""
        content = self._content
        heads = tuple(dict.fromkeys((*content.heads[:_MOST_LABELS], head)))
        labelled = _labels(row, heads, [one.column for one in heads])
        guessed = _labels(row, heads, [one.predicted for one in heads])
        what = f"A {'drawn ' * content.assessment.is_drawn}face{', blurred' * content.hide_faces}"
        told = f"the model's guess: {guessed}" if said is None else ", ".join(said)
        lines = (f"label {labelled}", *([f"guess {guessed}"] if said is None else said))
        path = row.get("path")
        name = "" if content.hide_faces else PurePosixPath(path).name if isinstance(path, str) else "no file name"
        alt = f"{what}, in the data labelled {labelled}; {told}"
        made = Photo(self._image(path), alt, headline, lines, name, content.photos_root is not None)
        if not isinstance(path, str) or path not in self._places:
            return made
        return self._placed(made, self._places[path], path)

    def _placed(self, photo: Photo, place: int, path: str) -> Photo:
        anchor = photo_anchor(path)
        explained = f"{self._explained_on}#{anchor}" if path in self._explained else ""
        if photo.image:
            self.shown[place] = explained
        is_first = anchor not in self._anchors
        self._anchors.add(anchor)
        return replace(photo, anchor=anchor if is_first else "", place=place, explained=explained)

    def _image(self, path: Any) -> str:
        if not isinstance(path, str):
            return ""
        if path not in self._made:
            if self._left <= 0:
                self.left_out_count += 1
                return ""
            self._made[path] = thumbnail(self._content.photo_path(path), hide_faces=self._content.hide_faces)
        # Each place where a picture stands costs its bytes again.
        self._left -= bool(self._made[path])
        return self._made[path]


def galleries(content: ReportContent, shelf: PhotoShelf) -> list[dict[str, Any]]:
    """Return the faces of every group, single groupings first, up to what a page can hold."""
    if content.hide_faces:
        return []
    by_columns = content.comparisons.by_columns
    shown = sorted((columns for columns in by_columns if len(columns) < 3), key=len)
    groups = {columns: main_groups(by_columns[columns], content.heads) for columns in shown}
    each = max(1, min(_FACES_EACH, MOST_IMAGES // (4 * max(sum(map(len, groups.values())), 1))))
    found = []
    for columns in shown:
        places = _places(content.assessment.judged, columns)
        for position, group in enumerate(groups[columns]):
            rows = content.assessment.judged.iloc[places.get(group.values, [])]
            found.append(
                {
                    "anchor": group_anchor(columns, position),
                    "title": group.name,
                    "grouping": grouping.title(columns),
                    "note": photos(len(rows), hides_few=content.hide_faces),
                    "strips": strips(content, rows, shelf, each),
                }
            )
    return found


def strips(content: ReportContent, rows: pd.DataFrame, shelf: PhotoShelf, each: int = _FACES_OVERALL) -> list[Strip]:
    """Return the worst and the typical photos of some rows, head by head; none where nobody is to be shown."""
    if content.hide_faces:
        return []
    parts = [part for head in content.heads for part in _parts(head, rows, each, about(head, content.heads))]
    return [
        Strip(name, tuple(shelf.photo(row, head, _headline(head, row)) for row in part.to_dict("records")))
        for name, head, part in parts
        if len(part)
    ]


def few_faces(
    rows: pd.DataFrame, head: Head, shelf: PhotoShelf, *, side: float = 0.0, each: int = 3
) -> tuple[Photo, ...]:
    """Return the photos with the largest errors, above zero alone with `side` 1 and below it with -1, or the misses."""
    if shelf.shows_nobody:
        return ()
    if isinstance(head, Regression):
        errors = rows[head.error_column].dropna()
        order = (errors.abs() if side == 0.0 else errors[errors * side > 0] * side).sort_values(
            ascending=False, kind="stable"
        )
        chosen = rows.loc[order.index].head(each)
    else:
        chosen = next(_parts(head, rows, each, ""))[2]
    return tuple(shelf.photo(row, head, _headline(head, row)) for row in chosen.to_dict("records"))


def faces_addresses(content: ReportContent, columns: tuple[str, ...], page: str = "") -> dict[tuple[str, ...], str]:
    """Return the link to the faces of each group, which stand on `page`; of three columns none are shown."""
    if len(columns) > 2 or content.hide_faces:
        return {}
    groups = main_groups(content.comparisons.by_columns.get(columns, {}), content.heads)
    return {group.values: f"{page}#{group_anchor(columns, place)}" for place, group in enumerate(groups)}


def main_groups(results: Mapping[str, GroupResult], heads: Sequence[Head]) -> Sequence[Group]:
    """Return the groups of a grouping as the first head that was judged by it knows them: they place the anchors."""
    result = next((results[head.metrics[0].name] for head in heads if head.metrics[0].name in results), None)
    return result.groups if result else ()


def group_anchor(columns: tuple[str, ...], position: int) -> str:
    """Return the anchor of one group's faces, built of positions since values may be any text."""
    return f"faces-{identifier(columns)}-{position}"


def _places(rows: pd.DataFrame, columns: tuple[str, ...]) -> dict[tuple[str, ...], Any]:
    """Return the row numbers of each group, by its values."""
    known = rows[list(columns)].astype(object)
    indices = known.groupby(list(columns), sort=False).indices
    return {tuple(map(str, key if isinstance(key, tuple) else (key,))): places for key, places in indices.items()}


def _parts(head: Head, rows: pd.DataFrame, each: int, where: str) -> Iterator[tuple[str, Head, pd.DataFrame]]:
    if isinstance(head, Regression):
        known = rows.dropna(subset=[head.error_column]).sort_values(head.error_column, kind="stable")
        errors = known[head.error_column]
        yield f"Most over-estimated{where}", head, known[errors > 0].tail(each)[::-1]
        yield f"Most under-estimated{where}", head, known[errors < 0].head(each)
        distance = (errors.abs() - errors.abs().median()).abs()
        yield f"Typical error{where}", head, known.loc[distance.sort_values(kind="stable").index].head(each)
        return
    wrong = rows[rows[head.right_column] == 0]
    certainty = wrong[head.confidence_column].fillna(1 / len(head.classes)).sort_values(ascending=False, kind="stable")
    name = f"{capitalised(head.title)} label missed, most certain first"
    yield name, head, wrong.loc[certainty.index].head(each)


def _headline(head: Head, row: Mapping[Any, Any]) -> str:
    if isinstance(head, Classification):
        sure = row[head.confidence_column]
        return f"{number(sure, 0, is_percent=True)} sure" if np.isfinite(sure) else "label missed"
    error = float(row[head.error_column])
    digits = 0 if head.has_bands or abs(error) >= 10 else 1 if abs(error) >= 1 else 2
    return f"{number(error, digits, signed=True)} {head.unit}".rstrip()


def _labels(row: Mapping[Any, Any], heads: Sequence[Head], columns: Sequence[str]) -> str:
    words = (head.label_words(row.get(column)) for head, column in zip(heads, columns, strict=True))
    return ", ".join(word for word in words if word) or "unknown"
