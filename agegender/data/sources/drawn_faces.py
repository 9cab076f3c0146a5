"""Draws the embedded default dataset and reads it back: labelled portraits of which the causes are known.

The folder holds UTKFace-named JPEG files, `drawing.json` (the plan, with the planted group) and `causes/`: for every
photo a feature map (PNG, one number per pixel) and a JSON document that says which feature shows which label how
strongly. The painting itself is `agegender.drawing`. Commands call it where no `--data` is given; tests and
benchmarks use its causes as the known answer.
"""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import cv2

from agegender.data.faces_table import FacesTable, make_table
from agegender.drawing.causes import CAUSES, FEATURES
from agegender.drawing.person import (
    ETHNICITIES,
    GENDERS,
    PLANTED_DELAY_YEARS,
    PLANTED_ETHNICITY,
    PLANTED_FULLY_FROM_YEARS,
    Labels,
    sample_labels,
    sample_person,
)
from agegender.drawing.portrait import draw_portrait
from agegender.drawing.scene import sample_scene
from agegender.drawing.side_files import (
    CAUSES_FOLDER,
    PHOTO_ENDING,
    Causes,
    read_causes,
    read_document,
    write_side_files,
)
from agegender.errors import FolderError, UsageError
from agegender.progress import track
from agegender.writing import plain, replaced_folder, to_json

__all__ = ["Causes", "draw_faces", "photo_name", "read", "read_causes", "read_plan"]

SOURCE = "drawn_faces"
FACE_COUNT = 1200
IMAGE_SIZE = 200
SEED = 7
PLAN_FILE = "drawing.json"
# Raise it whenever the same seed draws another picture: an older folder is then drawn anew.
DRAWING_VERSION = 1

_FIRST_TIME = datetime(2026, 1, 1)
_JPEG_QUALITY = 93
_SMALLEST_IMAGE, _LARGEST_IMAGE = 32, 1024


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

    Raises
    ------
    UsageError
        A number is out of its range.
    FolderError
        `folder` holds something else than drawn faces.
    OutputError
        The folder cannot be written to.
    """
    _check_numbers(face_count, image_size, seed)
    plan = _plan(face_count, image_size, seed)
    if _is_drawn(folder, plan):
        return
    _check_replaceable(folder)
    with replaced_folder(folder) as temporary:
        (temporary / CAUSES_FOLDER).mkdir()
        for index in track(range(face_count), "drawing faces", total=face_count, unit="face"):
            _draw_one(temporary, index, image_size, seed)
        (temporary / PLAN_FILE).write_text(to_json(plan) + "\n", encoding="utf-8")


def read(root: Path) -> FacesTable:
    """Return the faces table of a folder of drawn faces.

    Raises
    ------
    FolderError
        The folder is no whole folder of drawn faces.
    """
    plan = read_plan(root)
    photos = sorted(path.name for path in root.glob(f"*{PHOTO_ENDING}"))
    if len(photos) != plan["face_count"]:
        raise FolderError(
            f"{root} holds {len(photos)} drawn faces, its {PLAN_FILE} says {plan['face_count']}. Delete the folder; "
            "it is drawn anew when it is needed."
        )
    rows = [_row(root, name) for name in photos]
    return FacesTable(
        make_table(rows), root.absolute(), {"drawn": True, "drawing": plan, "planted_group": plan["planted_group"]}
    )


def read_plan(root: Path) -> dict[str, Any]:
    """Return what `drawing.json` says: seed, count, image size, version and the planted group.

    Raises
    ------
    FolderError
        The folder or the file is missing, or is none of ours.
    """
    try:
        plan = json.loads((root / PLAN_FILE).read_text(encoding="utf-8"))
        if plan["kind"] == SOURCE and isinstance(plan["face_count"], int) and "planted_group" in plan:
            return dict(plan)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise FolderError(
        f"{root} is no folder of drawn faces: it lacks a readable {PLAN_FILE}. Leave --data out to draw one."
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


def _draw_one(folder: Path, index: int, image_size: int, seed: int) -> None:
    person, scene = sample_person(seed, index), sample_scene(seed, index)
    photo, features = draw_portrait(person, scene, image_size, seed=seed, index=index)
    place = folder / photo_name(person.labels, index)
    coded = cv2.imencode(".jpg", cv2.cvtColor(photo, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]
    place.write_bytes(coded.tobytes())
    write_side_files(place, person, scene, features)


def _row(root: Path, name: str) -> dict[str, Any]:
    return {"path": name, "source": SOURCE, **read_document(root / name)["labels"]}


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
    if any(folder.iterdir()) and not (folder / PLAN_FILE).is_file():
        raise FolderError(f"{folder} holds something else than drawn faces, which would be lost. Name another place.")


def _check_numbers(face_count: int, image_size: int, seed: int) -> None:
    if face_count < 1:
        raise UsageError(f"{face_count} faces cannot be drawn; at least 1 is needed.")
    if not _SMALLEST_IMAGE <= image_size <= _LARGEST_IMAGE:
        raise UsageError(f"an image size of {image_size} pixels is none of {_SMALLEST_IMAGE} to {_LARGEST_IMAGE}.")
    if seed < 0:
        raise UsageError(f"the seed {seed} is below 0.")
