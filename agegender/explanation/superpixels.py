"""How a photo falls into regions, and what is seen of a region that is covered.

Regions are always numbered 0..K-1 without gaps: stock LIME silently never perturbs one region when numbers start at 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agegender.errors import UsageError
from agegender.explanation import FILLS, SEGMENTS
from agegender.explanation.face_parts import FACE_PARTS, FaceParts, RegionMap, face_grid, name_regions

Photo = NDArray[np.uint8]


@dataclass(frozen=True)
class Regions:
    """A photo's regions: the number of each pixel's region, and their names.

    Attributes
    ----------
    region_map : array, shape (S, S), int64, 0..K-1
    names : tuple of str, K of them
        The part of the face that each holds, or its place in the photo where no part is known; see `name_regions`.
    """

    region_map: RegionMap
    names: tuple[str, ...]

    @property
    def count(self) -> int:
        """Return K."""
        return len(self.names)

    @property
    def pixel_shares(self) -> NDArray[np.float64]:
        """Return each region's share of the pixels, shape (K,), summing to 1."""
        return np.bincount(self.region_map.ravel(), minlength=self.count) / self.region_map.size

    def share_inside(self, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return which share of each region's pixels lies in `mask` (S, S), shape (K,), in [0, 1]."""
        inside = np.bincount(self.region_map.ravel(), weights=mask.ravel().astype(float), minlength=self.count)
        return inside / np.bincount(self.region_map.ravel(), minlength=self.count)


def find_regions(
    photo: Photo, segments: str = "slic", region_count: int = 30, parts: FaceParts | None = None
) -> Regions:
    """Cut a photo into regions.

    Parameters
    ----------
    photo : array, shape (S, S, 3), uint8
    segments : str
        "slic" and "quickshift" (scikit-image) follow the photo; "face-grid" is the same on every face whose parts are
        known, and where they are not, the same on every photo.
    region_count : int
        About how many SLIC makes; quickshift finds its own number, the face grid has always the same. A photo of one
        colour is one region.
    parts : FaceParts, optional
        Where the parts of the face are, for the names.
    """
    if segments not in SEGMENTS:
        raise UsageError(f"no kind of regions is called {segments!r}; there are {', '.join(SEGMENTS)}.")
    if segments == "face-grid":
        region_map = contiguous(
            parts.part_map if parts is not None and parts.names == FACE_PARTS else face_grid(*photo.shape[:2])
        )
    elif np.ptp(photo.reshape(-1, photo.shape[-1]), axis=0).max() == 0:
        region_map = np.zeros(photo.shape[:2], dtype=np.int64)
    else:
        region_map = _slic(photo, region_count) if segments == "slic" else _quickshift(photo)
    return Regions(region_map, name_regions(region_map, parts))


def contiguous(region_map: NDArray[np.integer]) -> RegionMap:
    """Renumber regions 0..K-1, in the order of their numbers.

    >>> contiguous(np.array([[1, 1], [7, 3]])).tolist()
    [[0, 0], [2, 1]]
    """
    _, numbers = np.unique(region_map, return_inverse=True)
    return numbers.reshape(region_map.shape).astype(np.int64)


def cover(photo: Photo, region_map: RegionMap, fill: str = "mean") -> Photo:
    """Return what is seen of each region when it is covered, shape (S, S, 3), uint8.

    "mean" is the region's mean colour: it takes away the texture and leaves the tone. "blur" is the photo through a
    Gaussian of a tenth of its side. "inpaint" continues each region's surroundings into it (Telea): it takes away tone
    and texture, at the price of about a millisecond a region.
    """
    if fill not in FILLS:
        raise UsageError(f"no fill is called {fill!r}; there are {', '.join(FILLS)}.")
    fills: dict[str, Callable[[Photo, RegionMap], Photo]] = {"mean": _mean, "blur": _blur, "inpaint": _inpaint}
    return fills[fill](photo, region_map)


def _slic(photo: Photo, region_count: int) -> RegionMap:
    from skimage.segmentation import slic

    return contiguous(slic(photo, n_segments=region_count, compactness=12.0, sigma=1.0, start_label=0))


def _quickshift(photo: Photo) -> RegionMap:
    from skimage.segmentation import quickshift

    # LIME's own setting (largest distance 200) leaves about 8 regions at 96 px; a distance of a tenth of the side
    # leaves some 20 to 40 whatever the size.
    side = min(photo.shape[:2])
    found = quickshift(photo, kernel_size=max(1.0, side / 40), max_dist=max(2.0, side / 10), ratio=0.2, rng=0)
    return contiguous(found)


def _mean(photo: Photo, region_map: RegionMap) -> Photo:
    numbers = region_map.ravel()
    counts = np.bincount(numbers)
    means = [np.bincount(numbers, weights=photo[..., channel].ravel()) / counts for channel in range(3)]
    # Truncated, not rounded, as stock LIME does: so that both see the very same photo.
    return np.stack(means, axis=1).astype(np.uint8)[region_map]


def _blur(photo: Photo, _: RegionMap) -> Photo:
    import cv2

    blurred = cv2.GaussianBlur(photo, (0, 0), sigmaX=max(1.0, min(photo.shape[:2]) / 10))
    return np.asarray(blurred, dtype=np.uint8)


def _inpaint(photo: Photo, region_map: RegionMap) -> Photo:
    import cv2

    covered = photo.copy()
    for region in range(int(region_map.max()) + 1):
        mask = region_map == region
        if mask.all():
            return _mean(photo, region_map)
        covered[mask] = cv2.inpaint(photo, mask.astype(np.uint8), 3, cv2.INPAINT_TELEA)[mask]
    return covered
