"""Thumbnails: a photo becomes about 3 kB of WebP inside the page, or an honest empty frame.

With `hide_faces` the photo is blurred here, before it is stored, so that the face is not in the file at all. OpenCV is
loaded with the first photo: pages about a table alone need none.
"""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agegender.errors import PhotoError

SIZE_PIXELS = 104
_QUALITY = 62


def thumbnail(path: Path | None, *, hide_faces: bool = False, size: int = SIZE_PIXELS) -> str:
    """Return a photo as a data: address, or an empty text when it can't be read."""
    if path is None:
        return ""
    from agegender.photos.reading import read_photo
    from agegender.photos.warping import hidden

    try:
        photo = read_photo(path)
    except (PhotoError, OSError):
        return ""
    return webp(hidden(square(photo, size)) if hide_faces else square(photo, size))


def square(photo: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Return the middle square of a photo (H, W, 3) as (size, size, 3)."""
    import cv2

    height, width = photo.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    middle = np.ascontiguousarray(photo[top : top + side, left : left + side])
    return cv2.resize(middle, (size, size), interpolation=cv2.INTER_AREA).astype(np.uint8)


def webp(photo: NDArray[np.uint8], quality: int = _QUALITY) -> str:
    """Return RGB pixels (H, W, 3) as a WebP data: address."""
    import cv2

    _, encoded = cv2.imencode(".webp", np.ascontiguousarray(photo[..., ::-1]), [cv2.IMWRITE_WEBP_QUALITY, quality])
    return f"data:image/webp;base64,{base64.b64encode(encoded.tobytes()).decode()}"
