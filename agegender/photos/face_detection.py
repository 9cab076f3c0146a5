"""Where the faces of a photo are, and where the eyes, the nose and the mouth, if the detector tells.

OpenCV's Haar cascade comes with it and needs no download; YuNet is better at turned faces, but its file (233 kB, MIT,
from OpenCV's model zoo) has to be brought.

References
----------
Viola, Jones: Rapid object detection using a boosted cascade of simple features, CVPR 2001.
Wu, Peng, Yu: YuNet: a tiny millisecond-level face detector, Machine Intelligence Research 2023.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from agegender.errors import MissingExtraError, UsageError, WeightsError

SECOND_LOOK = "haar-again"
DETECTORS = ("haar", SECOND_LOOK, "yunet")
DETECTORS_OF_LANDMARKS = ("yunet",)
FRONTAL, PROFILE = "haarcascade_frontalface_alt2.xml", "haarcascade_profileface.xml"  # files of OpenCV
_loaded = threading.local()


@dataclass(frozen=True)
class FaceBox:
    """Where a face is, in pixels of the photo; parts may lie beyond its edges.

    Attributes
    ----------
    x, y : int
        Upper left corner.
    width, height : int
    score : float
        0 to 1, higher is surer; comparable within one detector only, and no probability.
    landmarks : tuple of (x, y)
        Where `LANDMARKS` are, in pixels of the photo; empty where the detector does not tell.
    found_by : str
        The detector's name, where there are several.
    """

    x: int
    y: int
    width: int
    height: int
    score: float
    landmarks: tuple[tuple[float, float], ...] = ()
    found_by: str = ""

    def area(self) -> int:
        """Return the size in square pixels."""
        return self.width * self.height


class FaceDetector(Protocol):
    """Whatever finds faces; `name` goes into the notes of the table and the card of the model."""

    @property
    def name(self) -> str:
        """The word that stands for it in tables and cards."""
        ...

    def detect(self, photo: NDArray[np.uint8]) -> list[FaceBox]:
        """Return the faces of a photo of shape (height, width, 3), uint8 RGB, the largest first."""
        ...


@dataclass(frozen=True)
class HaarDetector:
    """OpenCV's frontal-face cascade.

    Attributes
    ----------
    scale_factor : float
        Step from one size of face to the next.
    neighbour_count : int
        How many overlapping finds make a face; more means fewer false ones.
    border_share : float
        The photo's edge is repeated by this share of its shorter side (64 pixels at most) before the search: the
        cascade wants to see some surroundings, and tightly cropped faces have none. On 200 UTKFace chips it found 134
        without and 199 with a fifth.
    longest_side : int
        Larger photos are shrunk to this many pixels before the search.
    """

    scale_factor: float = 1.1
    neighbour_count: int = 3
    border_share: float = 0.25
    longest_side: int = 1000

    @property
    def name(self) -> str:
        """The word that stands for it in tables and cards."""
        return "haar"

    def detect(self, photo: NDArray[np.uint8]) -> list[FaceBox]:
        """Return the frontal faces of a photo, the largest first; the score grows with the overlapping finds."""
        grey = _Grey.of(photo, self.longest_side, self.border_share)
        return _largest_first(grey.faces(FRONTAL, self.scale_factor, self.neighbour_count))


@dataclass(frozen=True)
class SecondLook:
    """OpenCV's cascades asked once more, less strictly, for a photo in which the first look found nothing.

    Frontal faces come first, then profiles to either side. At most one face is returned, the one with the most
    overlapping finds, and none that is small in the photo: less strictly asked, they see faces in wallpaper.

    Attributes
    ----------
    neighbour_count : int
        How many overlapping finds make a face.
    smallest : float
        Least side of a face, as a share of the photo's shorter side.
    """

    neighbour_count: int = 1
    smallest: float = 0.25
    scale_factor: float = 1.1
    border_share: float = 0.25
    longest_side: int = 1000

    @property
    def name(self) -> str:
        """The word that stands for it in tables and cards."""
        return SECOND_LOOK

    def detect(self, photo: NDArray[np.uint8]) -> list[FaceBox]:
        """Return the surest face of a photo, or none."""
        grey = _Grey.of(photo, self.longest_side, self.border_share)
        least = self.smallest * min(photo.shape[:2])
        faces = grey.faces(FRONTAL, self.scale_factor, self.neighbour_count, least=least)
        if not faces:
            for is_mirrored in (False, True):
                faces += grey.faces(
                    PROFILE, self.scale_factor, self.neighbour_count, least=least, is_mirrored=is_mirrored
                )
        return sorted(faces, key=lambda face: (-face.score, -face.area(), face.x, face.y))[:1]


@dataclass(frozen=True)
class YuNetDetector:
    """OpenCV's small neural detector; its ONNX file is not part of OpenCV.

    Attributes
    ----------
    model_file : Path
        `face_detection_yunet_*.onnx` of OpenCV's model zoo.
    least_score : float
        0 to 1; weaker finds are passed over.
    longest_side : int
        Larger photos are shrunk to this many pixels before the search.
    """

    model_file: Path
    least_score: float = 0.7
    longest_side: int = 1000

    @property
    def name(self) -> str:
        """The word that stands for it in tables and cards."""
        return "yunet"

    def detect(self, photo: NDArray[np.uint8]) -> list[FaceBox]:
        """Return the faces of a photo, the largest first."""
        height, width = photo.shape[:2]
        scale = min(1.0, self.longest_side / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = cv2.resize(cv2.cvtColor(photo, cv2.COLOR_RGB2BGR), size, interpolation=cv2.INTER_AREA)
        network = _yunet(self.model_file)
        network.setInputSize(size)
        network.setScoreThreshold(self.least_score)
        _, found = network.detect(image)
        faces = []
        for row in [] if found is None else found.astype(float):
            left, top, box_width, box_height = (round(side / scale) for side in row[:4])
            points = tuple((float(x / scale), float(y / scale)) for x, y in row[4:14].reshape(5, 2))
            faces.append(FaceBox(left, top, box_width, box_height, float(row[-1]), points))
        return _largest_first(faces)


@dataclass(frozen=True)
class DetectorsInTurn:
    """One detector after another, until one of them finds a face that is large enough.

    Attributes
    ----------
    detectors : tuple of FaceDetector
    smallest : float
        Least length of a face's longer side: in pixels, or below 1 as a share of the photo's shorter side.
    """

    detectors: tuple[FaceDetector, ...]
    smallest: float = 0.0

    @property
    def name(self) -> str:
        """The word that stands for the first one in tables and cards."""
        return self.detectors[0].name

    def detect(self, photo: NDArray[np.uint8]) -> list[FaceBox]:
        """Return the faces that the first successful detector finds, the largest first."""
        least = self.smallest if self.smallest >= 1 else self.smallest * min(photo.shape[:2])
        for detector in self.detectors:
            found = [face for face in detector.detect(photo) if max(face.width, face.height) >= least]
            if found:
                return [replace(face, found_by=detector.name) for face in found]
        return []


def make_detectors(
    name: str, then: str = "none", *, smallest: float = 0.0, model_file: Path | None = None
) -> FaceDetector:
    """Return the detector of a name, a second one behind it, as a model's card stores them."""
    first = make_detector(name, model_file=model_file)
    if then == "none" and not smallest:
        return first
    others = () if then == "none" else (make_detector(then, model_file=model_file),)
    return DetectorsInTurn((first, *others), smallest)


def make_detector(name: str, *, model_file: Path | None = None) -> FaceDetector:
    """Return a detector by its name, as a model's card stores it."""
    if name == "haar":
        return HaarDetector()
    if name == SECOND_LOOK:
        return SecondLook()
    if name == "yunet":
        if model_file is None:
            raise UsageError(
                "the face detector yunet needs its model file (face_detection_yunet_*.onnx); haar needs none."
            )
        return YuNetDetector(model_file)
    raise UsageError(f"there is no face detector {name!r}; choose one of {', '.join(DETECTORS)}.")


def _largest_first(faces: list[FaceBox]) -> list[FaceBox]:
    return sorted((face for face in faces if face.area() > 0), key=lambda face: (-face.area(), face.x, face.y))


@dataclass(frozen=True)
class _Grey:
    """A photo as cascades take it: shrunk, without colours, its edge repeated around it."""

    pixels: NDArray[np.uint8]
    scale: float
    border: int

    @classmethod
    def of(cls, photo: NDArray[np.uint8], longest_side: int, border_share: float) -> _Grey:
        scale = min(1.0, longest_side / max(photo.shape[:2]))
        grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
        if scale < 1:
            grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        border = min(64, int(min(grey.shape) * border_share))
        return cls(cv2.copyMakeBorder(grey, border, border, border, border, cv2.BORDER_REPLICATE), scale, border)  # type: ignore[arg-type]

    def faces(
        self, cascade: str, scale_factor: float, neighbour_count: int, *, least: float = 0.0, is_mirrored: bool = False
    ) -> list[FaceBox]:
        """Return what a cascade finds, in pixels of the photo."""
        grey = np.ascontiguousarray(self.pixels[:, ::-1]) if is_mirrored else self.pixels
        smallest = (int(least * self.scale),) * 2
        boxes, finds = _cascade(cascade).detectMultiScale2(grey, scale_factor, neighbour_count, minSize=smallest)
        shift, faces = round(self.border / self.scale), []
        for (x, *others), find_count in zip(boxes, finds, strict=True):
            first = grey.shape[1] - x - others[1] if is_mirrored else x
            left, top, width, height = (round(side / self.scale) for side in (first, *others))
            faces.append(FaceBox(left - shift, top - shift, width, height, float(find_count / (find_count + 10))))
        return faces


def _cascade(name: str) -> Any:
    # One per thread: a cascade keeps its working memory between calls.
    cascades: dict[str, Any] = _loaded.__dict__.setdefault("cascades", {})
    if name not in cascades:
        if not hasattr(cv2, "CascadeClassifier"):
            raise MissingExtraError(
                f"OpenCV {cv2.__version__} has no cascade any more: install opencv-python-headless<5, "
                "or bring a YuNet model file."
            )
        cascades[name] = cv2.CascadeClassifier(str(Path(cv2.__file__).parent / "data" / name))
    return cascades[name]


def _yunet(model_file: Path) -> Any:
    networks: dict[Path, Any] = _loaded.__dict__.setdefault("networks", {})
    if model_file not in networks:
        if not model_file.is_file():
            raise WeightsError(f"there is no YuNet model at {model_file}. OpenCV's model zoo has it, or use haar.")
        try:
            networks[model_file] = cv2.FaceDetectorYN.create(str(model_file), "", (320, 320))
        except cv2.error as error:
            raise WeightsError(f"{model_file} is no YuNet model that this OpenCV reads; use haar instead.") from error
    return networks[model_file]
