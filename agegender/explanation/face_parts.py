"""Where the parts of one face are, as far as it is known, and what regions are called after them.

Names are only as good as what is known of the photo: an aligned photo has its parts at places that were measured, a
found face has them in its box, and a drawing knows them to the pixel. Of any other photo nothing is claimed, and its
regions are called after their place in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

RegionMap = NDArray[np.int64]

# Parts of an aligned face, seen from the viewer, in the order of their numbers on the face grid.
FACE_PARTS = (
    "hair",
    "left side hair",
    "right side hair",
    "forehead",
    "left eye",
    "right eye",
    "nose",
    "left cheek",
    "right cheek",
    "mouth",
    "left jaw",
    "right jaw",
    "chin",
    "upper left background",
    "upper right background",
    "lower left background",
    "lower right background",
)
BACKGROUND_PARTS = tuple(name for name in FACE_PARTS if name.endswith("background"))
# Of what is drawn: what lies outside the head, and what is thinner than any superpixel and so could never fill one.
DRAWN_BACKGROUND = ("background", "clothes")
DRAWN_DETAILS = (
    *("brows", "eyes", "lashes", "nose", "lips", "glasses", "earrings", "hair bow", "ears"),
    *("forehead lines", "crows feet", "under eye", "nasolabial folds", "spots"),
)
LEAST_SHARE_OF_DETAIL = 1 / 3
# OpenCV's frontal cascade finds UTKFace's aligned photos in a box of 1.01 of their side, its middle at 0.405 of their
# height (medians of 119; 80 % within 0.94 to 1.09 and 0.39 to 0.44).
BOX_SIDE, BOX_MIDDLE = 1.01, 0.405
_PLACES = (
    ("upper left", "upper middle", "upper right"),
    ("middle left", "centre", "middle right"),
    ("lower left", "lower middle", "lower right"),
)
ALIGNED, FOUND, DRAWN = "alignment", "detector", "drawing"


@dataclass(frozen=True, eq=False)
class FaceParts:
    """Where the parts of one face are.

    Attributes
    ----------
    part_map : array, shape (S, S), uint8
        The number of each pixel's part.
    names : tuple of str
        The parts' names, in the order of their numbers.
    background : tuple of str
        The names of those that lie outside head and hair.
    details : tuple of str
        The names of those that are thinner than a region: one that holds a third of such a part is called after it.
    known_from : str
        "alignment", "detector" or "drawing".
    """

    part_map: NDArray[np.uint8]
    names: tuple[str, ...]
    background: tuple[str, ...] = BACKGROUND_PARTS
    details: tuple[str, ...] = ()
    known_from: str = ALIGNED

    def outside(self) -> NDArray[np.bool_]:
        """Return which pixels lie outside head and hair, shape (S, S)."""
        return np.isin(self.part_map, [place for place, name in enumerate(self.names) if name in self.background])


def aligned_parts(side: int) -> FaceParts:
    """Return the parts of a photo that is aligned and cropped as UTKFace's are."""
    return FaceParts(face_grid(side, side).astype(np.uint8), FACE_PARTS)


def found_parts(side: int, box: tuple[float, float, float, float]) -> FaceParts:
    """Return the parts of a face in the box that OpenCV's frontal cascade gave it.

    `box` is left, top, width and height, as shares of the photo's side. A turned or raised face has its parts elsewhere
    than the box says.
    """
    left, top, width, height = box
    face = width / BOX_SIDE, height / BOX_SIDE  # of the aligned photo that the face would fill
    corner = left + width / 2 - face[0] / 2, top + height / 2 - BOX_MIDDLE * face[1]
    pixels = (np.arange(side) + 0.5) / side
    x, y = np.meshgrid((pixels - corner[0]) / face[0], (pixels - corner[1]) / face[1])
    return FaceParts(parts_at(x, y).astype(np.uint8), FACE_PARTS, known_from=FOUND)


def drawn_parts(part_map: NDArray[np.uint8], features: tuple[str, ...]) -> FaceParts:
    """Return the parts of a drawn face: the features of its drawing, part_map (S, S) their number at each pixel."""
    names = tuple(feature.replace("_", " ") for feature in features)
    return FaceParts(part_map, names, DRAWN_BACKGROUND, DRAWN_DETAILS, DRAWN)


@lru_cache(maxsize=8)
def face_grid(height: int, width: int) -> RegionMap:
    """Return the face grid: the number in `FACE_PARTS` of each pixel's part, shape (height, width)."""
    y, x = np.meshgrid((np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width, indexing="ij")
    grid = parts_at(x, y)
    grid.setflags(write=False)
    return grid


def parts_at(x: NDArray[np.float64], y: NDArray[np.float64]) -> RegionMap:
    """Return the number in `FACE_PARTS` of each place, in shares of an aligned photo's width and height.

    Measured on the mean of 600 aligned and cropped UTKFace photos: eyes at 0.30 of the height and 0.28 and 0.72 of the
    width, mouth at 0.70. On very small photos a part can have no pixel.
    """
    parts = {
        "hair": y < 0.13,
        "forehead": y < 0.23,
        "nose": ((abs(x - 0.5) < 0.07) & (y < 0.40)) | ((abs(x - 0.5) < 0.14) & (y >= 0.40) & (y < 0.60)),
        "left eye": (y < 0.38) & (x < 0.5),
        "right eye": y < 0.38,
        "mouth": (abs(x - 0.5) < 0.22) & (y >= 0.60) & (y < 0.79),
        "left cheek": (y < 0.66) & (x < 0.5),
        "right cheek": y < 0.66,
        "chin": abs(x - 0.5) < 0.22,
        "left jaw": x < 0.5,
        "right jaw": x >= 0.5,
    }
    inner = np.select(list(parts.values()), [FACE_PARTS.index(name) for name in parts])
    in_face = ((x - 0.5) / 0.40) ** 2 + ((y - 0.50) / 0.58) ** 2 < 1
    in_hair = (((x - 0.5) / 0.50) ** 2 + ((y - 0.42) / 0.56) ** 2 < 1) & (y < 0.55)
    sides = np.where(x < 0.5, FACE_PARTS.index("left side hair"), FACE_PARTS.index("right side hair"))
    corner = FACE_PARTS.index("upper left background") + 2 * (y >= 0.55) + (x >= 0.5)
    return np.where(in_face, inner, np.where(in_hair, sides, corner)).astype(np.int64)


def name_regions(region_map: RegionMap, parts: FaceParts | None = None) -> tuple[str, ...]:
    """Name each region after the part of the face that it holds, or after its place where no part is known.

    >>> grid = np.arange(4).repeat(25).reshape(10, 10)
    >>> name_regions(grid, aligned_parts(10))
    ('hair', 'right eye', 'mouth', 'chin')
    >>> name_regions(grid)
    ('upper middle', 'centre, 1st of 2', 'centre, 2nd of 2', 'lower middle')
    """
    ending = ", {ordinal} of {count}" if parts is None else " {number}"
    return _numbered(parts_of_regions(region_map, parts), ending)


def parts_of_regions(region_map: RegionMap, parts: FaceParts | None = None) -> list[str]:
    """Return what each region is called after: several may share a part of the face, or a ninth of the photo."""
    if parts is None:
        return _places(region_map)
    counts = np.zeros((int(region_map.max()) + 1, len(parts.names)), dtype=np.int64)
    np.add.at(counts, (region_map.ravel(), parts.part_map.ravel()), 1)
    is_detail = np.isin(parts.names, parts.details)
    of_detail = counts / np.maximum(1, counts.sum(axis=0))
    told = np.where(is_detail & (of_detail >= LEAST_SHARE_OF_DETAIL), counts, 0)
    chosen = np.where(told.any(axis=1), told.argmax(axis=1), counts.argmax(axis=1))
    return [parts.names[part] for part in chosen]


def _places(region_map: RegionMap) -> list[str]:
    """Return the ninth of the photo that the middle of each region lies in."""
    height, width = region_map.shape
    numbers, sizes = region_map.ravel(), np.bincount(region_map.ravel())
    y, x = (
        np.bincount(numbers, weights=(place.ravel() + 0.5) / side) / sizes
        for place, side in zip(np.indices((height, width)), (height, width), strict=True)
    )
    return [_PLACES[int(3 * row)][int(3 * column)] for row, column in zip(y, x, strict=True)]


def _numbered(names: list[str], ending: str) -> tuple[str, ...]:
    """Tell regions of one name apart by their number."""
    seen: dict[str, int] = {}
    told = []
    for name in names:
        number = seen[name] = seen.get(name, 0) + 1
        words = ending.format(number=number, ordinal=_ordinal(number), count=names.count(name))
        told.append(name + words if names.count(name) > 1 else name)
    return tuple(told)


def _ordinal(number: int) -> str:
    """Return a number as an ordinal.

    >>> [_ordinal(number) for number in (1, 2, 3, 4, 11, 22)]
    ['1st', '2nd', '3rd', '4th', '11th', '22nd']
    """
    ending = "th" if number % 100 in {11, 12, 13} else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
