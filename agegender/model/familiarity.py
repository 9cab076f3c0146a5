"""What the photos of a training looked like, for its card: so that others can be told from them, and cut like them.

The look of a face is its coarse edges: strengths of six directions in 5 × 5 cells, of which a principal component
analysis keeps what training photos share. A photo is unlike them when it lies further off than 99.5 % of the validation
photos. That is no detector of faces: it takes 0.15 ms, and of UTKFace finds 5 in 1,000 faces, 6 in 10 pieces of other
pictures, 5 to 7 in 10 faces that are turned and 8 in 10 that are cut beside the middle; noise passes for a face.

References
----------
Turk, Pentland: Eigenfaces for recognition, Journal of Cognitive Neuroscience 1991 (the distance from face space).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from agegender.data.faces_table import FacesTable
from agegender.errors import CardError, PhotoError
from agegender.photos.face_crops import Margins, usual_margins
from agegender.photos.face_detection import HaarDetector
from agegender.photos.reading import read_photo
from agegender.photos.reading_ahead import read_ahead
from agegender.photos.warping import fit_square

Floats = NDArray[np.float32]
ENTRY = "training_photos"  # of the card
_SIDE, _CELLS, _DIRECTIONS, _COMPONENTS = 32, 5, 6, 48
_EDGES = _CELLS * _CELLS * _DIRECTIONS
_LIMIT = 0.995  # of the validation photos lie nearer
_FEWEST, _MOST = 200, 2000  # photos of each split that are looked at
_FRAMED = 40  # photos in which a face is looked for


@dataclass(frozen=True)
class Familiarity:
    """Where the edges of training photos lie.

    Attributes
    ----------
    mean : ndarray, shape (150,)
    directions : ndarray, shape (48, 150)
        Of their largest variances, which are `variances`; `rest` is the mean variance in all other directions.
    limit : float
        The distance from which a photo is unlike them.
    """

    mean: Floats
    directions: Floats
    variances: Floats
    rest: float
    limit: float

    @classmethod
    def fit(cls, training: Floats, others: Floats) -> Self:
        """Learn from the edges of training photos and of others like them, shape (photos, 150) each."""
        mean = training.mean(axis=0)
        values, vectors = np.linalg.eigh(np.cov(training - mean, rowvar=False))
        directions = vectors[:, ::-1][:, :_COMPONENTS].T.astype(np.float16).astype(np.float32)  # as the card has them
        variances, rest = np.maximum(values[::-1][:_COMPONENTS], 1e-9), max(float(values[:-_COMPONENTS].mean()), 1e-9)
        found = cls(mean.astype(np.float16).astype(np.float32), directions, variances.astype(np.float32), rest, np.inf)
        limit = float(np.quantile([found.distance(edges) for edges in others], _LIMIT))
        return cls(found.mean, found.directions, found.variances, found.rest, limit)

    def distance(self, edges: Floats) -> float:
        """Return how far edges lie from those of training photos, in their variances."""
        away = edges - self.mean
        along = self.directions @ away
        beside = max(float(away @ away - along @ along), 0.0)
        return float((along**2 / self.variances).sum() + beside / self.rest)

    def is_unlike(self, image: NDArray[np.uint8]) -> bool:
        """Return whether a fitted photo, shape (S, S, 3), uint8 RGB, is unlike the training photos."""
        return self.distance(coarse_edges(image)) > self.limit

    def to_dict(self) -> dict[str, Any]:
        """Return it JSON-able; `from_dict` reads it."""
        return {
            "mean": _packed(self.mean), "directions": _packed(self.directions),
            "variances": self.variances.astype(float).tolist(), "rest": self.rest, "limit": self.limit,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> Self:
        """Return what `to_dict` gave.

        Raises
        ------
        CardError
            It cannot be understood.
        """
        try:
            mean, directions = (
                _unpacked(entry["mean"], (_EDGES,)),
                _unpacked(entry["directions"], (_COMPONENTS, _EDGES)),
            )
            variances = np.asarray(entry["variances"], np.float32).reshape(_COMPONENTS)
            rest, limit = float(entry["rest"]), float(entry["limit"])
        except (KeyError, TypeError, ValueError) as error:
            raise CardError(f"edges in {ENTRY} of the card cannot be understood: {error}.") from error
        if not (np.isfinite([rest, limit, *variances, *mean]).all() and min(rest, *variances) > 0):
            raise CardError(f"edges in {ENTRY} of the card hold numbers that are none, or no variances.")
        return cls(mean, directions, variances, rest, limit)


def coarse_edges(image: NDArray[np.uint8]) -> Floats:
    """Return the edges of a photo, shape (H, W, 3), uint8 RGB: shares of each cell and direction, roots, (150,)."""
    grey = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    across, down = (cv2.Sobel(grey, cv2.CV_32F, *order) for order in ((1, 0), (0, 1)))
    strength = np.hypot(across, down)
    turn = np.mod(np.arctan2(down, across), np.pi) / np.pi * _DIRECTIONS
    lower = np.floor(turn).astype(int)
    share = turn - lower
    line = np.arange(_SIDE) * _CELLS // _SIDE
    cell = (line[:, None] * _CELLS + line[None, :]) * _DIRECTIONS
    places = np.concatenate([(cell + lower % _DIRECTIONS).ravel(), (cell + (lower + 1) % _DIRECTIONS).ravel()])
    weights = np.concatenate([((1 - share) * strength).ravel(), (share * strength).ravel()])
    sums = np.bincount(places, weights, _EDGES)
    return np.sqrt(sums / (sums.sum() + 1e-3)).astype(np.float32)


def training_photos_entry(faces: FacesTable, size: int) -> dict[str, Any]:
    """Return what the card says of the photos of a table with splits; {} where they are too few.

    `edges` is a `Familiarity`; `margins` are what lies above, below and beside a face, in shares of its longer side as
    OpenCV's cascade finds it, where it finds one in at least half of them.
    """
    kept = faces.kept()
    paths = {
        side: _spread([faces.photo_path(path) for path in kept.loc[kept["split"] == side, "path"]], _MOST)
        for side in ("train", "valid")
    }
    if min(map(len, paths.values())) < _FEWEST:
        return {}
    edges = {
        side: [one for one in read_ahead(partial(_edges, size=size), some) if one is not None]
        for side, some in paths.items()
    }
    if min(map(len, edges.values())) < _FEWEST:
        return {}
    entry: dict[str, Any] = {"edges": Familiarity.fit(np.stack(edges["train"]), np.stack(edges["valid"])).to_dict()}
    found = [one for one in read_ahead(_margins, _spread(paths["train"], _FRAMED)) if one is not None]
    if 2 * len(found) >= _FRAMED:
        above, below, beside = np.median(found, axis=0)
        entry["margins"] = [round(float(side), 3) for side in (above, below, beside)]
    return entry


def familiarity_of(card: Mapping[str, Any]) -> Familiarity | None:
    """Return how a card's training photos looked, or None where it does not say."""
    edges = (card.get(ENTRY) or {}).get("edges")
    return None if edges is None else Familiarity.from_dict(edges)


def margins_in(card: Mapping[str, Any]) -> Margins | None:
    """Return what lay around the faces of a card's training photos, or None where it does not say."""
    given = (card.get(ENTRY) or {}).get("margins")
    if given is None:
        return None
    try:
        above, below, beside = map(float, given)
    except (TypeError, ValueError) as error:
        raise CardError(f"margins in {ENTRY} of the card are {str(given)[:60]} and no three numbers.") from error
    return Margins(above, below, beside)


def _spread(paths: Sequence[Path], most: int) -> list[Path]:
    return [paths[place] for place in np.unique(np.linspace(0, len(paths) - 1, min(most, len(paths))).astype(int))]


def _edges(path: Path, *, size: int) -> Floats | None:
    try:
        return coarse_edges(fit_square(read_photo(path), size))
    except PhotoError:
        return None


def _margins(path: Path) -> tuple[float, float, float] | None:
    try:
        photo = read_photo(path)
    except PhotoError:
        return None
    faces = HaarDetector().detect(photo)
    return usual_margins(faces[0], photo) if faces else None


def _packed(values: Floats) -> str:
    return base64.b64encode(values.astype("<f2").tobytes()).decode()


def _unpacked(text: str, shape: tuple[int, ...]) -> Floats:
    return np.frombuffer(base64.b64decode(text, validate=True), "<f2").astype(np.float32).reshape(shape)
