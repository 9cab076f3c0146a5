"""How explanations are coloured: weights per region become a picture, on one scale for all that are shown together.

Regions that raise the answer are warm, those that lower it cool; what hardly matters keeps the grey of the photo. The
colours are those of ColorBrewer's RdBu (numbers) and PuOr (log-odds of classes), which colour-blind people can tell
apart. Pictures are arrays; whoever shows them encodes them. OpenCV and matplotlib are loaded when something is drawn.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from agegender.heads import Target

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIDE_PIXELS = 192
LARGEST_ADDRESS = 50_000  # characters, so that a notebook of explanations stays small
Photo = NDArray[np.uint8]
Colour = tuple[int, int, int]
NUMBER_COLOURS: tuple[Colour, Colour] = ((33, 102, 172), (178, 24, 43))  # lower, higher
CLASS_COLOURS: tuple[Colour, Colour] = ((179, 88, 6), (84, 39, 136))
_OUTLINE: Colour = (255, 209, 59)


@dataclass(frozen=True)
class Scale:
    """The colour scale of one target: `limit` is the absolute weight that gets the full colour, in its unit."""

    target: Target
    limit: float

    @property
    def colours(self) -> tuple[Colour, Colour]:
        """The colours of weights below and above zero."""
        return CLASS_COLOURS if self.target.is_log_odds else NUMBER_COLOURS

    @property
    def colour_words(self) -> str:
        """What the colours say, one line each."""
        low, high = ("orange", "purple") if self.target.is_log_odds else ("blue", "red")
        return f"{low} {self.target.low_words}\n{high} {self.target.high_words}"

    @property
    def digits(self) -> int:
        """How many decimals weights are written with."""
        return 2 if self.target.is_log_odds else max(1, -math.floor(math.log10(self.limit)))

    @property
    def gradient(self) -> str:
        """The scale as a CSS gradient."""
        low, high = (f"rgb{colour}" for colour in self.colours)
        return f"linear-gradient(90deg, {low}, #e8e8e8, {high})"


def scales_of(weights: Iterable[tuple[Target, NDArray[np.float64]]]) -> dict[str, Scale]:
    """Return one scale per target, by its key, common to all maps of that target."""
    by_key: dict[str, tuple[Target, list[NDArray[np.float64]]]] = {}
    for target, values in weights:
        by_key.setdefault(target.key, (target, []))[1].append(values)
    return {key: Scale(target, largest_weight(found)) for key, (target, found) in by_key.items()}


def largest_weight(weights: list[NDArray[np.float64]]) -> float:
    """Return the absolute weight that gets the full colour: the 98th percentile, so that no single one rules.

    >>> largest_weight([np.array([0.0, -2.0]), np.array([np.nan])])
    2.0
    """
    found = np.abs(np.concatenate([np.ravel(values) for values in weights])) if weights else np.zeros(0)
    found = found[np.isfinite(found) & (found > 0)]
    return (float(np.round(np.percentile(found, 98, method="higher"), 3)) if len(found) else 0.0) or 1.0


def resized(photo: Photo) -> Photo:
    """Return a photo (S, S, 3) in the size in which all pictures are shown."""
    import cv2

    return cv2.resize(photo, (SIDE_PIXELS, SIDE_PIXELS), interpolation=cv2.INTER_AREA).astype(np.uint8)


def outline_picture(photo: Photo, region_map: NDArray[np.int64]) -> Photo:
    """Return the photo with the borders of its regions, region_map (S, S)."""
    picture, regions = resized(photo), _enlarged(region_map)
    borders = np.zeros(regions.shape, dtype=bool)
    borders[:, 1:] |= regions[:, 1:] != regions[:, :-1]
    borders[1:] |= regions[1:] != regions[:-1]
    picture[borders] = _OUTLINE
    return picture


def weight_picture(photo: Photo, region_map: NDArray[np.int64], weights: NDArray[np.float64], scale: Scale) -> Photo:
    """Return the weights laid over the grey photo.

    Parameters
    ----------
    photo : array, shape (S, S, 3)
    region_map : array, shape (S, S)
        Region number of each pixel, 0..K-1.
    weights : array, shape (K,)
        NaN counts as nothing.
    """
    grey = resized(photo).astype(np.float32).mean(axis=2, keepdims=True) * 0.55 + 100  # light, so that colours speak
    share = np.clip(np.nan_to_num(weights) / scale.limit, -1, 1)[_enlarged(region_map)][..., None]
    colour = np.where(share < 0, *np.asarray(scale.colours, np.float32))
    strength = 0.85 * np.abs(share) ** 0.7
    return (grey * (1 - strength) + colour * strength).astype(np.uint8)


def figure_of(pictures: Sequence[tuple[str, Photo]], *, columns: int = 4) -> Figure:
    """Return a matplotlib figure of pictures with their titles, side by side."""
    import matplotlib.pyplot as plt

    columns = min(len(pictures), columns)
    rows = -(-len(pictures) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(2.6 * columns, 3.4 * rows), squeeze=False, layout="constrained")
    plt.close(figure)  # else a notebook would show it twice: pyplot's, and the cell's value
    for axis in axes.ravel():
        axis.set_axis_off()
        axis.set_anchor("S")  # what room is over goes to the titles
    for axis, (title, picture) in zip(axes.ravel(), pictures, strict=False):
        axis.imshow(picture)
        axis.set_title(title, fontsize=8.5, parse_math=False)  # a name with $ in it is no formula
    return figure


def address_of(figure: Figure) -> str:
    """Return a figure as a data: address of at most `LARGEST_ADDRESS` characters, less sharp where there is much."""
    address = ""
    for quality in (75, 50, 25, 5):
        stream = io.BytesIO()
        figure.savefig(stream, format="webp", dpi=90, pil_kwargs={"quality": quality})
        address = f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode()}"
        if len(address) <= LARGEST_ADDRESS:
            break
    return address


def _enlarged(region_map: NDArray[np.int64]) -> NDArray[np.int32]:
    import cv2

    numbers = region_map.astype(np.int32)
    return cv2.resize(numbers, (SIDE_PIXELS, SIDE_PIXELS), interpolation=cv2.INTER_NEAREST).astype(np.int32)
