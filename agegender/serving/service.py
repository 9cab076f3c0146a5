"""What is served: one model as it was when the server began, whatever becomes of its files; knows nothing of HTTP."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from agegender.api.model import Model
from agegender.audit.predictions_files import json_rows
from agegender.errors import PhotoError, UsageError
from agegender.heads import Classification
from agegender.model.face_rows import Looking, face_rows
from agegender.model.model_folder import CARD_FILE, WEIGHTS_FILE, is_exported
from agegender.photos.face_crops import cut_out, cuts_of
from agegender.photos.reading import as_photo, opened_with_pillow
from agegender.serving.known_weaknesses import Weaknesses
from agegender.serving.limits import MEGA
from agegender.serving.sent_photos import SentPhoto

if TYPE_CHECKING:
    from agegender.serving.asked_explanations import Explanations

Row = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """What one request asks about its photos; `face` is the number of the face to explain."""

    photos: tuple[SentPhoto, ...]
    looking: Looking
    face: int = 0


class Service:
    """A model, and what can be asked of it. One thread may predict while another one explains.

    Parameters
    ----------
    model : Model
    place : Path
        The folder or the file that it was loaded from.
    largest_pixels : int
        Of a photo; larger ones are answered with an error.
    """

    def __init__(self, model: Model, place: Path, *, largest_pixels: int) -> None:
        for head in model.heads:
            if isinstance(head, Classification) and head.is_sensitive:
                raise UsageError(
                    f"the head {head.name!r} sorts people by what groups are made of here to be treated alike, and is "
                    f"for research only: a model with it is not served."
                )
        self.model, self.weaknesses = model, Weaknesses(model)
        self.loaded = datetime.now(UTC).isoformat(timespec="seconds")
        self._place, self._largest_pixels, self._stamp = place, largest_pixels, _stamp(place)
        self._explanations: Explanations | None = None
        self._explaining = threading.Lock()

    def is_current(self) -> bool:
        """Return whether the model's files are still those that were loaded."""
        return _stamp(self._place) == self._stamp

    def predict(self, asked: Sequence[Asked]) -> list[list[Row]]:
        """Return for each request the rows of its photos, as `agegender predict --json` prints them."""
        found: dict[tuple[int, int], list[Row]] = {}
        for looking in dict.fromkeys(one.looking for one in asked):
            places, items = [], []
            for number, one in enumerate(asked):
                for place, photo in enumerate(one.photos if one.looking == looking else ()):
                    if error := self._too_large(photo):
                        found[number, place] = [{"path": photo.name, "error": error}]
                        continue
                    places.append((number, place))
                    items.append(photo.data)
            for table in face_rows(self.model, items, looking):
                for row in json_rows(table):
                    number, place = places[int(row["path"].removeprefix("photo "))]
                    named = {**row, "path": asked[number].photos[place].name}
                    found.setdefault((number, place), []).append(named)
        return [
            [row for place in range(len(one.photos)) for row in found[number, place]]
            for number, one in enumerate(asked)
        ]

    def explain(self, asked: Sequence[Asked]) -> list[dict[str, Any]]:
        """Return for each request, of one photo, what its answers rest on, with pictures."""
        return [self._explained(one) for one in asked]

    def _explained(self, asked: Asked) -> dict[str, Any]:
        sent = asked.photos[0]
        if error := self._too_large(sent):
            raise PhotoError(error)
        photo = as_photo(sent.data)
        cut = self._cut(photo, asked)
        from agegender.serving.asked_explanations import Explanations

        with self._explaining:
            self._explanations = self._explanations or Explanations(self.model)
        return self._explanations.of(photo, cut, sent.name)

    def _cut(self, photo: NDArray[np.uint8], asked: Asked) -> NDArray[np.uint8]:
        """Return the face that is to be explained as `predict` has cut it."""
        detector = self.model.detector_for(asked.looking.faces, is_cropped=asked.looking.is_cropped)
        found = [] if detector is None else detector.detect(photo)
        count = len(found) if asked.looking.faces == "all" else 1
        if asked.face >= max(1, count):
            raise UsageError(f"there is no face {asked.face}: {max(1, count)} can be explained, the first is 0.")
        if detector is None:
            return photo
        chosen = found[asked.face : asked.face + 1]
        return cut_out(photo, cuts_of(photo, chosen, self.model.margins, aligns=self.model.image.crop_aligned)[0])

    def _too_large(self, photo: SentPhoto) -> str:
        """Return why a photo is too large to be looked at, or an empty text; only its header is read."""
        try:
            with opened_with_pillow(photo.data, "photo") as image:
                width, height = image.size
        except PhotoError:
            return ""  # why it is none is said where it is read
        if width * height <= self._largest_pixels:
            return ""
        return f"photo: {width}x{height} pixels; at most {self._largest_pixels / MEGA:g} megapixels are taken here"


def _stamp(place: Path) -> tuple[tuple[str, int, int, int], ...]:
    """Return what changes when a model's files are replaced or written to."""
    names = (CARD_FILE, WEIGHTS_FILE)
    files = [place] if is_exported(place) else sorted(path for name in names for path in place.rglob(name))
    facts = []
    for file in files:
        try:
            status = file.stat()
        except OSError:
            continue
        facts.append((str(file), status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(facts)
