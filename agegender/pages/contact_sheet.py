"""A contact sheet of photos without labels: each face as the models saw it, what they say of it, and what is doubtful.

It is filled table by table, so that of any number of photos only the rows that are shown are kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from agegender.audit.predictions_files import PROBLEMS_JOINT
from agegender.audit.words import count
from agegender.errors import PhotoError
from agegender.heads import Classification, Head
from agegender.pages.page_writing import write_page
from agegender.pages.thumbnails import SIZE_PIXELS, square, webp

MOST_FACES = 300
MOST_DOUBTFUL = 60
MOST_UNREADABLE = 50
_MODEL = "model"


class ContactSheet:
    """The page, on its way.

    Parameters
    ----------
    models : sequence of str
        Their names, as the column `model` of several has them.
    heads : sequence of Head
        Of all models.
    """

    def __init__(
        self, models: Sequence[str], heads: Sequence[Head], *, hide_faces: bool = False, notices: Sequence[str] = ()
    ) -> None:
        self._models, self._heads = list(models), tuple(heads)
        self._hides, self._notices = hide_faces, list(notices)
        self._faces: list[list[dict[str, Any]]] = []  # the first ones, a row of each model
        self._doubtful: list[list[dict[str, Any]]] = []
        self._unreadable: list[dict[str, Any]] = []
        self._counts: Counter[str] = Counter()
        self._problems: Counter[str] = Counter()

    def add(self, table: pd.DataFrame) -> None:
        """Take the rows of some photos, as `predict` has them."""
        for rows in _by_face(table):
            first = rows[0]
            if isinstance(first["error"], str):
                self._counts["unreadable"] += 1
                if len(self._unreadable) < MOST_UNREADABLE:
                    self._unreadable.append(first)
                continue
            problems = _problems(rows)
            self._counts["faces"] += 1
            self._counts["doubtful"] += bool(problems)
            self._problems.update(problems)
            if len(self._faces) < MOST_FACES:
                self._faces.append(rows)
            elif problems and len(self._doubtful) < MOST_DOUBTFUL:
                self._doubtful.append(rows)
        self._counts["photos"] += table["path"].nunique()

    def write(self, path: Path) -> Path:
        """Write the page, whole or not at all."""
        shown = [self._shown(rows) for rows in self._faces]
        later = [self._shown(rows) for rows in self._doubtful]
        sections = [("faces", "Faces")] * bool(shown) + [("doubtful", "Doubtful")] * bool(later)
        sections += [("unreadable", "Unreadable")] * bool(self._unreadable)
        return write_page(
            path,
            "contact_sheet.html",
            title="Faces and answers",
            subject=" and ".join(self._models),
            notices=self._notices,
            cautions=[head.caution for head in self._heads if isinstance(head, Classification) and head.caution],
            hide_faces=self._hides,
            counts=self._counts,
            problems=[(word, count(number)) for word, number in self._problems.most_common()],
            faces=shown,
            doubtful=later,
            unreadable=[("" if self._hides else one["path"], self._reason(one)) for one in self._unreadable],
            models=self._models,
            sections=[*sections, ("methods", "Methods")],
        )

    def _shown(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        first, problems = rows[0], _problems(rows)
        answers = [
            (str(row.get(_MODEL, "")), [head.sentence(row) for head in self._heads if head.predicted in row])
            for row in rows
        ]
        number = f", face {int(first['face']) + 1}" if pd.notna(first["face_count"]) and first["face_count"] > 1 else ""
        name = "" if self._hides else PurePosixPath(first["path"]).name + number
        said = "; ".join(", ".join(lines) for _, lines in answers)
        what = f"A face{', blurred' * self._hides}"
        return {
            "image": self._image(first), "alt": f"{what}; the models' guess: {said}", "answers": answers,
            "problems": problems, "name": name, "path": "" if self._hides else first["path"],
        }  # fmt: skip

    def _image(self, row: Mapping[str, Any]) -> str:
        from agegender.photos.face_crops import Cut, Square, cut_out
        from agegender.photos.reading import read_photo
        from agegender.photos.warping import hidden

        try:
            photo = read_photo(Path(row["path"]))
        except PhotoError:
            return ""
        if pd.notna(row["crop_side"]):
            area = Square(int(row["crop_left"]), int(row["crop_top"]), int(row["crop_side"]))
            degrees = float(row["crop_degrees"]) if pd.notna(row["crop_degrees"]) else 0.0
            middle = (
                (row["face_left"] + row["face_width"] / 2, row["face_top"] + row["face_height"] / 2)
                if degrees
                else (0.0, 0.0)
            )
            photo = cut_out(photo, Cut(area, degrees, middle))
        small = square(photo, SIZE_PIXELS)
        return webp(hidden(small) if self._hides else small)

    def _reason(self, row: Mapping[str, Any]) -> str:
        name = PurePosixPath(row["path"]).name
        return row["error"].removeprefix(f"{name}: ").replace(name, "photo" if self._hides else name)


def _by_face(table: pd.DataFrame) -> list[list[dict[str, Any]]]:
    """Return the rows of each face: one, or with several models those of each, which found it under one number."""
    found: dict[tuple[Any, int], list[dict[str, Any]]] = {}
    for row in table.to_dict("records"):
        number = int(row["face"]) if pd.notna(row["face"]) else 0
        found.setdefault((row["path"], number), []).append({str(name): value for name, value in row.items()})
    return list(found.values())


def _problems(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    said = (words.split(PROBLEMS_JOINT) for words in (row["problems"] for row in rows) if isinstance(words, str))
    return list(dict.fromkeys(word for words in said for word in words))
