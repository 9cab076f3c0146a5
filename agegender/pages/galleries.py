"""Owns the galleries: which photos of a group are shown, and the words under them.

A caption says what was labelled and what was predicted; no text states a guessed gender as a fact about the person.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from agegender.audit.comparisons import Comparisons, group_anchor, title
from agegender.audit.judged import Audit
from agegender.audit.results import Group, GroupResult
from agegender.pages.thumbnails import thumbnail
from agegender.pages.words import count, number

MOST_IMAGES = 420  # about 1.4 MB in the page
_FACES_EACH = 4  # of each kind, in a group


@dataclass(frozen=True)
class Photo:
    """One photo on a page: its picture (or none), and what is said of it."""

    image: str
    alt: str
    headline: str
    lines: tuple[str, ...]
    file: str
    is_expected: bool = True  # False where nobody said where photos lie, so that no empty frame is drawn


@dataclass(frozen=True)
class Strip:
    """Photos of one kind: the worst over-estimates, the typical ones."""

    title: str
    photos: tuple[Photo, ...]


@dataclass(frozen=True)
class Gallery:
    """The faces of one group."""

    anchor: str
    title: str
    grouping: str
    note: str
    strips: tuple[Strip, ...]


class PhotoShelf:
    """Makes photos for a page, each picture once, and stops when the page has enough of them."""

    def __init__(self, audit: Audit, most_images: int = MOST_IMAGES) -> None:
        self._audit = audit
        self._made: dict[str, str] = {}
        self._left = most_images
        self.left_out_count = 0

    def photo(self, row: Mapping[Any, Any], headline: str) -> Photo:
        """Return one row's photo with what was labelled and predicted."""
        file = str(row["path"] or "no file name")
        labelled = _words(row["age_years"], row["gender"])
        predicted = _words(row["predicted_age_years"], row["predicted_gender"])
        image = self._image(row["path"])
        what = "A drawn face" if self._audit.is_drawn else "A face"
        blurred = ", blurred" if self._audit.hide_faces else ""
        alt = f"{what}{blurred}, in the data labelled {labelled}; the model's guess: {predicted}"
        lines = (f"label {labelled}", f"guess {predicted}")
        return Photo(image, alt, headline, lines, PurePosixPath(file).name, self._audit.faces is not None)

    def compared(self, row: Mapping[Any, Any], headline: str, lines: tuple[str, ...]) -> Photo:
        """Return one row's photo for a comparison of models, with its label and what the caller says of it."""
        labelled = _words(row["age_years"], row["gender"])
        what = "A drawn face" if self._audit.is_drawn else "A face"
        alt = f"{what}, in the data labelled {labelled}; {', '.join(lines)}"
        name = PurePosixPath(str(row["path"])).name
        return Photo(
            self._image(row["path"]), alt, headline, (f"label {labelled}", *lines), name, self._audit.faces is not None
        )

    def _image(self, path: Any) -> str:
        if not isinstance(path, str):
            return ""
        if path not in self._made:
            if self._left <= 0:
                self.left_out_count += 1
                return ""
            self._made[path] = thumbnail(self._audit.photo_path(path), hide_faces=self._audit.hide_faces)
        # Each place where a picture stands costs its bytes again.
        self._left -= bool(self._made[path])
        return self._made[path]


def galleries(audit: Audit, comparisons: Comparisons, shelf: PhotoShelf) -> list[Gallery]:
    """Return the faces of every group, single groupings first, up to what a page can hold."""
    found = []
    group_count = sum(len(_groups(results)) for columns, results in comparisons.by_columns.items() if len(columns) < 3)
    each = max(1, min(_FACES_EACH, MOST_IMAGES // (4 * max(group_count, 1))))
    for columns, results in sorted(comparisons.by_columns.items(), key=lambda item: len(item[0])):
        places = _places(audit.judged, columns)
        for position, group in enumerate(_groups(results)):
            anchor = group_anchor(columns, position)
            if not anchor:
                continue
            rows = audit.judged.iloc[places.get(group.values, [])]
            note = f"{count(len(rows))} photos"
            found.append(Gallery(anchor, group.name, title(columns), note, tuple(_strips(rows, shelf, each))))
    return found


def overall_strips(audit: Audit, shelf: PhotoShelf, each: int = 12) -> list[Strip]:
    """Return the worst and the typical photos of all judged rows."""
    return _strips(audit.judged, shelf, each)


def _groups(results: Mapping[str, GroupResult]) -> Sequence[Group]:
    result = results.get("mae") or results.get("gender_accuracy")
    return result.groups if result else ()


def _places(rows: pd.DataFrame, columns: tuple[str, ...]) -> dict[tuple[str, ...], Any]:
    """Return the row numbers of each group, by its values."""
    known = rows[list(columns)].astype(object)
    indices = known.groupby(list(columns), sort=False).indices
    return {tuple(map(str, key if isinstance(key, tuple) else (key,))): places for key, places in indices.items()}


def _strips(rows: pd.DataFrame, shelf: PhotoShelf, each: int) -> list[Strip]:
    known = rows.dropna(subset=["age_error_years"]).sort_values("age_error_years", kind="stable")
    over, under = known[known["age_error_years"] > 0].tail(each)[::-1], known[known["age_error_years"] < 0].head(each)
    middle = known.assign(distance=(known["age_error_years"].abs() - known["age_error_years"].abs().median()).abs())
    typical = middle.sort_values("distance", kind="stable").head(each)
    wrong = rows[rows["is_gender_right"] == 0]
    certainty = (wrong["female_probability"].fillna(0.5) - 0.5).abs()
    wrong = wrong.loc[certainty.sort_values(ascending=False, kind="stable").index].head(each)
    parts = (
        ("Most over-estimated", over),
        ("Most under-estimated", under),
        ("Typical error", typical),
        ("Gender label missed, most certain first", wrong),
    )
    return [Strip(name, _photos(part, shelf, is_age=part is not wrong)) for name, part in parts if len(part)]


def _photos(rows: pd.DataFrame, shelf: PhotoShelf, *, is_age: bool) -> tuple[Photo, ...]:
    return tuple(shelf.photo(row, _headline(row, is_age=is_age)) for row in rows.to_dict("records"))


def _headline(row: Mapping[Any, Any], *, is_age: bool) -> str:
    if is_age:
        return f"{number(row['age_error_years'], 0, signed=True)} years"
    probability = row["female_probability"]
    if not np.isfinite(probability):
        return "label missed"
    sure = max(probability, 1 - probability)
    return f"{number(sure, 0, is_percent=True)} sure"


def _words(age_years: Any, gender: Any) -> str:
    age = f"{number(age_years, 0)}" if age_years is not None and np.isfinite(age_years) else ""
    return ", ".join(part for part in (age, gender or "") if part) or "unknown"
