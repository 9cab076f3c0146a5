"""Photos of any kind in, a row for each face out, part by part: a million photos take no more memory than a thousand.

Threads read photos, find faces, cut them as training cut its own and look for problems, while the network works on
earlier ones. A photo that cannot be read is a row with its error and stops nothing; the order is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agegender.audit.predictions_files import FACT_TYPES, PROBLEMS_JOINT
from agegender.errors import PhotoError, UsageError, did_you_mean
from agegender.memory import kept_memory
from agegender.model.predictor import BATCH_SIZE, READING_THREADS, Predictor
from agegender.photos.face_crops import Cut, cut_out, cuts_of
from agegender.photos.face_detection import SECOND_LOOK, FaceBox, FaceDetector, HaarDetector
from agegender.photos.finding import printable
from agegender.photos.problems import UNLIKE, face_count_problems, pixel_problems
from agegender.photos.reading import as_photo
from agegender.photos.reading_ahead import read_ahead
from agegender.progress import track
from agegender.settings import FACES_IN_PHOTO

PART = 512  # photos; an interrupted run loses no more
_BOX = ("face_left", "face_top", "face_width", "face_height")
_CUT = ("crop_left", "crop_top", "crop_side")


_LOOK_AGAIN = HaarDetector(longest_side=400)


@dataclass(frozen=True)
class Looking:
    """What is taken from each photo.

    Attributes
    ----------
    faces : {"largest", "all"} or None
        None takes photos as training took them: whole, or the largest face where it cut faces out.
    is_cropped : bool
        Photos are faces already cut out.
    finds_problems : bool
        Whether blur, light, size and likeness to the training photos are judged.
    """

    faces: str | None = None
    is_cropped: bool = False
    finds_problems: bool = True

    def __post_init__(self) -> None:
        """Refuse what contradicts itself."""
        if self.faces not in (None, *FACES_IN_PHOTO):
            hint = did_you_mean(str(self.faces), FACES_IN_PHOTO)
            raise UsageError(f"--faces-in-photo {self.faces}: there are {', '.join(FACES_IN_PHOTO)}.{hint}")
        if self.faces and self.is_cropped:
            raise UsageError(
                "--cropped says that photos are faces already, so there are none to be looked for in them."
            )


@dataclass(frozen=True)
class _Face:
    image: NDArray[np.uint8]  # as the network takes it
    facts: dict[str, Any]


def face_rows(
    predictor: Predictor, photos: Sequence[Any], looking: Looking, *, first: int = 0, label: str | None = None
) -> Iterator[pd.DataFrame]:
    """Yield a table for every `PART` of the photos, from that number on: a row for each face, in the photos' order.

    Parameters
    ----------
    photos : sequence
        Paths, the bytes of files, arrays uint8 (H, W, 3) RGB, Pillow images.
    label : str, optional
        What the bar on stderr is called; without one there is none.

    Yields
    ------
    DataFrame
        The columns of `FACT_TYPES` and those of `Predictor.columns`. `error` says why a photo could not be read, and
        all else is then missing; `problems` are words of `photos.problems`, joined by commas; boxes and crops are
        pixels of the photo as it stands upright, missing where no face was looked for.
    """
    names = (_name(photos, place) for place in range(first, len(photos)))
    detector = predictor.detector_for(looking.faces, is_cropped=looking.is_cropped)
    look = partial(_seen, predictor, detector, looking)
    seen = read_ahead(look, (photos[place] for place in range(first, len(photos))), threads=READING_THREADS)
    if label is not None:
        seen = track(seen, label, total=len(photos), done=first)
    for start in range(first, len(photos), PART):
        with kept_memory():
            table = _part(predictor, seen, names, min(PART, len(photos) - start))
        yield table


def _part(
    predictor: Predictor, seen: Iterator[list[_Face] | PhotoError], names: Iterator[str], count: int
) -> pd.DataFrame:
    facts: list[dict[str, Any]] = []
    places: list[int] = []  # rows of faces that are predicted
    images: list[NDArray[np.uint8]] = []
    answers: list[tuple[NDArray[np.float32], ...]] = []
    for name, found in zip(islice(names, count), seen, strict=False):
        if isinstance(found, PhotoError):
            facts.append({"path": name, "error": str(found)})
            continue
        for face in found:
            places.append(len(facts))
            facts.append({"path": name, **face.facts})
            images.append(face.image)
            if len(images) == BATCH_SIZE:
                answers.append(predictor.answers(np.stack(images)))
                images = []
    if images:
        answers.append(predictor.answers(np.stack(images)))
    table = pd.DataFrame(
        {key: pd.Series([one.get(key) for one in facts], dtype=kind) for key, kind in FACT_TYPES.items()}
    )
    return pd.concat([table, predictor.placed(_joined(answers), places, len(table))], axis=1)


def _joined(answers: Sequence[tuple[NDArray[np.float32], ...]]) -> tuple[NDArray[np.float32], ...]:
    return tuple(np.concatenate(parts) for parts in zip(*answers, strict=True))


def _seen(predictor: Predictor, detector: FaceDetector | None, looking: Looking, item: Any) -> list[_Face] | PhotoError:
    """Return what is to be predicted of a photo; one of which no face is known is taken whole, or its middle."""
    try:
        photo = as_photo(item)
        if detector is None:
            return [_face(predictor, photo, {}, looking, [], explains=not looking.is_cropped)]
        found = detector.detect(photo)
        taken = found if looking.faces == "all" else found[:1]
        cuts = cuts_of(photo, taken, predictor.margins, aligns=predictor.image.crop_aligned)
        # Where all are asked for, several are as good as one.
        is_second_look = bool(found) and found[0].found_by == SECOND_LOOK
        problems = face_count_problems(
            len(found) if looking.faces != "all" else len(found[:1]), is_second_look=is_second_look
        )
        facts = [
            _facts(number, len(found), face, cut) for number, (face, cut) in enumerate(zip(taken, cuts, strict=False))
        ]
        facts = facts or [_facts(0, 0, None, cuts[0])]
        return [
            _face(predictor, cut_out(photo, cut), fact, looking, problems)
            for cut, fact in zip(cuts, facts, strict=True)
        ]
    except PhotoError as error:
        return error


def _face(
    predictor: Predictor,
    face: NDArray[np.uint8],
    facts: dict[str, Any],
    looking: Looking,
    problems: list[str],
    *,
    explains: bool = False,
) -> _Face:
    image = predictor.fit_photo(face)
    if looking.finds_problems:
        problems = [*problems, *pixel_problems(face, predictor.image.size)]
        if predictor.familiarity is not None and predictor.familiarity.is_unlike(image):
            # Looking for faces takes as long as many a network, so it is done where there is a reason.
            why = face_count_problems(len(_LOOK_AGAIN.detect(face))) if explains else []
            problems = [*why, *problems, UNLIKE]
    return _Face(image, {"face": 0, **facts, "problems": PROBLEMS_JOINT.join(problems) or None})


def _facts(number: int, count: int, face: FaceBox | None, cut: Cut) -> dict[str, Any]:
    square = cut.square
    facts: dict[str, Any] = {
        "face": number,
        "face_count": count,
        **dict(zip(_CUT, (square.left, square.top, square.side), strict=True)),
    }
    if cut.degrees:
        facts["crop_degrees"] = cut.degrees
    if face is None:
        return facts
    box = (face.x, face.y, face.width, face.height)
    return {**facts, **dict(zip(_BOX, box, strict=True)), "face_score": face.score}


def _name(photos: Sequence[Any], place: int) -> str:
    item = photos[place]
    return printable(item) if isinstance(item, (str, Path)) else f"photo {place}"
