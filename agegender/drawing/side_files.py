"""Owns the side files of a drawn photo: its feature map (PNG) and a JSON document with labels, signs and strengths."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from agegender.drawing.causes import CAUSES, FEATURES, age_strengths, gender_strengths
from agegender.drawing.person import Person
from agegender.drawing.scene import Scene
from agegender.errors import PhotoError
from agegender.writing import to_json

CAUSES_FOLDER = "causes"
PHOTO_ENDING = ".jpg.chip.jpg"


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

    def mask_of(self, cause: str, *, least_strength: float = 0.0) -> NDArray[np.bool_]:
        """Return the pixels of the features that show `cause`, shape (height, width).

        Features that show it less than `least_strength` in this face are left out; a cause without strengths keeps all.
        """
        strengths = self.strengths.get(cause, {})
        shown = [name for name in self.causes[cause] if strengths.get(name, 1.0) >= least_strength]
        nothing = np.zeros_like(self.masks["background"])
        return np.logical_or.reduce([nothing, *(self.masks[name] for name in shown)])


def write_side_files(photo: Path, person: Person, scene: Scene, features: NDArray[np.uint8]) -> None:
    """Write both side files of `photo`; the folder for them is there already.

    Parameters
    ----------
    features : ndarray, shape (height, width), uint8
        The number in `FEATURES` of the topmost feature at each pixel.
    """
    document = {
        "labels": vars(person.labels),
        "strengths": {"age": age_strengths(person), "gender": gender_strengths(person)},
        "signs": {name: value for name, value in vars(person).items() if name != "labels"},
        "scene": vars(scene),
    }
    _beside(photo, ".png").write_bytes(cv2.imencode(".png", features)[1].tobytes())
    _beside(photo, ".json").write_text(to_json(_rounded(document)) + "\n", encoding="utf-8")


def read_document(photo: Path) -> dict[str, Any]:
    """Return the JSON document of `photo`: labels, strengths, signs, scene.

    Raises
    ------
    PhotoError
        It is missing or unreadable.
    """
    try:
        document = dict(json.loads(_beside(photo, ".json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise _without_side_files(photo) from error
    if not {"labels", "strengths"} <= set(document):
        raise _without_side_files(photo)
    return document


def read_causes(photo: Path) -> Causes:
    """Return what can be seen in a drawn photo, and which label it shows.

    Raises
    ------
    PhotoError
        The photo has no side files, so it is not drawn or has been moved without them.
    """
    document = read_document(photo)
    try:
        coded = np.frombuffer(_beside(photo, ".png").read_bytes(), np.uint8)
        numbers = np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE), np.uint8)
    except (OSError, cv2.error, TypeError) as error:
        raise _without_side_files(photo) from error
    masks = {feature: np.asarray(numbers == number) for number, feature in enumerate(FEATURES)}
    return Causes(masks, dict(CAUSES), document["strengths"])


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
