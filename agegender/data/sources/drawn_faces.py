"""Draws the embedded default dataset and reads it back: labelled portraits of which the causes are known.

The folder holds UTKFace-named JPEG files, `drawing.json` (the plan, with the planted group) and `causes/`: for every
photo a feature map (PNG, one number per pixel) and a JSON document that says which feature shows which label how
strongly. Commands draw it where no `--data` is given; tests and benchmarks use its causes as the known answer.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from agegender.data.faces_table import FacesTable, make_table
from agegender.drawing.causes import CAUSES, FEATURES, age_strengths, gender_strengths
from agegender.drawing.painting import draw_portrait
from agegender.drawing.person import (
    ETHNICITIES,
    GENDERS,
    PLANTED_DELAY_YEARS,
    PLANTED_ETHNICITY,
    PLANTED_FULLY_FROM_YEARS,
    Labels,
    Person,
    sample_labels,
    sample_person,
)
from agegender.drawing.portrait import Scene, sample_scene
from agegender.errors import FolderError, PhotoError, UsageError
from agegender.photos.finding import CAUSES_FOLDER, DRAWING_FILE
from agegender.photos.reading_ahead import spread
from agegender.progress import track
from agegender.swapping import replaced_folder
from agegender.writing import plain, to_json

SOURCE = "drawn_faces"
FACE_COUNT = 1200
IMAGE_SIZE = 200
SEED = 7
PHOTO_ENDING = ".jpg.chip.jpg"
# Raise it whenever the same seed draws another picture: an older folder is then drawn anew.
DRAWING_VERSION = 1

_FIRST_TIME = datetime(2026, 1, 1)
_JPEG_QUALITY = 93
_SMALLEST_IMAGE, _LARGEST_IMAGE = 32, 1024
_FACES_AT_ONCE = 16
_FACES_WORTH_A_PROCESS = 300  # a second or more of drawing, which is what it takes to start


@dataclass(frozen=True)
class Causes:
    """What can be seen in one drawn face, and why.

    Attributes
    ----------
    masks : mapping of str to ndarray, shape (height, width), bool
        For every feature of `FEATURES` its pixels, each pixel in one mask; empty where the face has none.
    causes : mapping of str to tuple of str
        For "age", "gender", "ethnicity" and "expression" the features that show it in drawn faces.
    strengths : mapping of str to mapping of str to float
        For "age" and "gender" how strongly each feature shows it in this face, 0..1.
    """

    masks: Mapping[str, NDArray[np.bool_]]
    causes: Mapping[str, tuple[str, ...]]
    strengths: Mapping[str, Mapping[str, float]]

    def mask_of(self, cause: str) -> NDArray[np.bool_]:
        """Return the pixels of the features that show `cause`, shape (height, width)."""
        nothing = np.zeros_like(self.masks["background"])
        return np.logical_or.reduce([nothing, *(self.masks[name] for name in self.causes[cause])])


def draw_faces(folder: Path, *, face_count: int = FACE_COUNT, image_size: int = IMAGE_SIZE, seed: int = SEED) -> None:
    """Draw `face_count` portraits into `folder`; do nothing when just these are there already.

    Parameters
    ----------
    folder : Path
        Appears whole or not at all; an older folder of drawn faces there is replaced.
    face_count : int
        At least 1. Face number 7 is the same whatever the count.
    image_size : int
        Pixels of a side, 32 to 1024.
    seed : int
        The same seed, the same faces.
    """
    _check_numbers(face_count, image_size, seed)
    plan = _plan(face_count, image_size, seed)
    if _is_drawn(folder, plan):
        return
    _check_replaceable(folder)
    with replaced_folder(folder) as temporary:
        (temporary / CAUSES_FOLDER).mkdir()
        draw = partial(_draw_some, temporary, image_size, seed)
        drawn = spread(draw, range(face_count), at_once=_FACES_AT_ONCE, worth_a_process=_FACES_WORTH_A_PROCESS)
        for _ in track(drawn, "drawing faces", total=face_count, unit="face"):
            pass
        (temporary / DRAWING_FILE).write_text(to_json(plan) + "\n", encoding="utf-8")


def read(root: Path) -> FacesTable:
    """Return the faces table of a folder of drawn faces."""
    plan = read_plan(root)
    photos = sorted(path.name for path in root.glob(f"*{PHOTO_ENDING}"))
    if len(photos) != plan["face_count"]:
        raise FolderError(
            f"{root} holds {len(photos)} drawn faces, its {DRAWING_FILE} says {plan['face_count']}. Delete the folder; "
            "it is drawn anew when it is needed."
        )
    rows = [_row(root, name) for name in photos]
    return FacesTable(
        make_table(rows), root.absolute(), {"drawn": True, "drawing": plan, "planted_group": plan["planted_group"]}
    )


def read_plan(root: Path) -> dict[str, Any]:
    """Return what `drawing.json` says: seed, count, image size, version and the planted group."""
    try:
        plan = json.loads((root / DRAWING_FILE).read_text(encoding="utf-8"))
        if plan["kind"] == SOURCE and isinstance(plan["face_count"], int) and "planted_group" in plan:
            return dict(plan)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise FolderError(
        f"{root} is no folder of drawn faces: it lacks a readable {DRAWING_FILE}. Leave --data out to draw one."
    )


def photo_name(labels: Labels, index: int) -> str:
    """Return the UTKFace name of face number `index`.

    >>> photo_name(Labels(31, "female", "Asian", "happy"), 0)
    '31_1_2_20260101000000000.jpg.chip.jpg'
    """
    moment = _FIRST_TIME + timedelta(milliseconds=61_007 * index)
    stamp = f"{moment:%Y%m%d%H%M%S}{moment.microsecond // 1000:03d}"
    gender, ethnicity = GENDERS.index(labels.gender), ETHNICITIES.index(labels.ethnicity)
    return f"{labels.age_years}_{gender}_{ethnicity}_{stamp}{PHOTO_ENDING}"


def read_causes(photo: Path) -> Causes:
    """Return what can be seen in a drawn photo, and which label it shows."""
    document = _read_document(photo)
    try:
        coded = np.frombuffer(_beside(photo, ".png").read_bytes(), np.uint8)
        numbers = np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE), np.uint8)
    except (OSError, cv2.error, TypeError) as error:
        raise _without_side_files(photo) from error
    masks = {feature: np.asarray(numbers == number) for number, feature in enumerate(FEATURES)}
    return Causes(masks, dict(CAUSES), document["strengths"])


def bared_scalp(photo: Path) -> NDArray[np.bool_]:
    """Return the pixels of a drawn photo where hair would be, had it not receded, shape (height, width).

    The person is drawn again with all its hair. Hair recedes with age, and more in those who are drawn as men, so that
    these pixels show both labels, whatever feature they now are.
    """
    plan, document = read_plan(photo.parent), _read_document(photo)
    labels = Labels(**document["labels"])
    index = next((i for i in range(plan["face_count"]) if photo_name(labels, i) == photo.name), None)
    if index is None:
        raise _without_side_files(photo)
    person, scene = sample_person(plan["seed"], index), sample_scene(plan["seed"], index)
    masks = read_causes(photo).masks
    if person.recession == 0:
        return np.zeros_like(masks["hair"])
    haired = replace(person, recession=0.0)
    _, features = draw_portrait(haired, scene, plan["image_size"], seed=plan["seed"], index=index)
    now: NDArray[np.bool_] = masks["hair"] | masks["background"]
    return (features == FEATURES.index("hair")) & ~now


def _draw_some(folder: Path, image_size: int, seed: int, indices: Sequence[int]) -> list[str]:
    return [_draw_one(folder, image_size, seed, index) for index in indices]


def _draw_one(folder: Path, image_size: int, seed: int, index: int) -> str:
    person, scene = sample_person(seed, index), sample_scene(seed, index)
    photo, features = draw_portrait(person, scene, image_size, seed=seed, index=index)
    path = folder / photo_name(person.labels, index)
    coded = cv2.imencode(".jpg", cv2.cvtColor(photo, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]
    path.write_bytes(coded.tobytes())
    _beside(path, ".png").write_bytes(cv2.imencode(".png", features)[1].tobytes())
    _beside(path, ".json").write_text(to_json(_rounded(_document(person, scene))) + "\n", encoding="utf-8")
    return path.name


def _document(person: Person, scene: Scene) -> dict[str, Any]:
    return {
        "labels": vars(person.labels),
        "strengths": {"age": age_strengths(person), "gender": gender_strengths(person)},
        "signs": {name: value for name, value in vars(person).items() if name != "labels"},
        "scene": vars(scene),
    }


def _read_document(photo: Path) -> dict[str, Any]:
    try:
        document = dict(json.loads(_beside(photo, ".json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise _without_side_files(photo) from error
    if not {"labels", "strengths"} <= set(document):
        raise _without_side_files(photo)
    return document


def _beside(photo: Path, ending: str) -> Path:
    return photo.parent / CAUSES_FOLDER / f"{photo.name.removesuffix(PHOTO_ENDING)}{ending}"


def _without_side_files(photo: Path) -> PhotoError:
    return PhotoError(
        f"{photo.name} has no readable side files in {photo.parent / CAUSES_FOLDER}. Only drawn faces have them; "
        "keep that folder beside the photos."
    )


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_rounded(item) for item in value]
    return round(value, 4) if isinstance(value, float) else value


def _row(root: Path, name: str) -> dict[str, Any]:
    return {"path": name, "source": SOURCE, **_read_document(root / name)["labels"]}


def _plan(face_count: int, image_size: int, seed: int) -> dict[str, Any]:
    drawn = Counter(sample_labels(seed, index).ethnicity for index in range(face_count))
    planted = PLANTED_ETHNICITY
    return {
        "kind": SOURCE,
        "version": DRAWING_VERSION,
        "seed": seed,
        "face_count": face_count,
        "image_size": image_size,
        "features": list(FEATURES),
        "causes": plain(CAUSES),
        "planted_group": {
            "columns": ["ethnicity"],
            "values": [planted],
            "share": round(drawn[planted] / face_count, 4),
            "largest_share": round(max(drawn.values()) / face_count, 4),
            "difference": (
                "the smallest ethnicity, half as many as the largest; from the age of "
                f"{PLANTED_FULLY_FROM_YEARS} its faces show the wrinkles, hair and proportions of people "
                f"{PLANTED_DELAY_YEARS:.0f} years younger, and skin tone tells the group only in part, so that a model "
                "that learns from everybody underestimates its ages"
            ),
        },
    }


def _is_drawn(folder: Path, plan: dict[str, Any]) -> bool:
    try:
        is_same = read_plan(folder) == plan
    except FolderError:
        return False
    photos, side_files = list(folder.glob(f"*{PHOTO_ENDING}")), list((folder / CAUSES_FOLDER).glob("*"))
    return is_same and len(photos) == plan["face_count"] and len(side_files) == 2 * plan["face_count"]


def _check_replaceable(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise FolderError(f"{folder} is a file; drawn faces need a folder. Name another place.")
    if any(folder.iterdir()) and not (folder / DRAWING_FILE).is_file():
        raise FolderError(f"{folder} holds something else than drawn faces, which would be lost. Name another place.")


def _check_numbers(face_count: int, image_size: int, seed: int) -> None:
    if face_count < 1:
        raise UsageError(f"{face_count} faces cannot be drawn; at least 1 is needed.")
    if not _SMALLEST_IMAGE <= image_size <= _LARGEST_IMAGE:
        raise UsageError(f"an image size of {image_size} pixels is none of {_SMALLEST_IMAGE} to {_LARGEST_IMAGE}.")
    if seed < 0:
        raise UsageError(f"the seed {seed} is below 0.")
