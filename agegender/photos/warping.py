"""The one way from a photo of any shape to the model's square, and the random changes that a training photo sees.

Training warps with random turns, everything else with none, and both go through the same filter, so that a network
never sees sharper or softer photos than it learned from. Changes are drawn for a whole batch from one generator: the
same generator gives the same changes, whoever applies them and in how many threads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from agegender.settings import AugmentationSettings

Turn = tuple[tuple[float, float], tuple[float, float]]
_UNTURNED: Turn = ((1.0, 0.0), (0.0, 1.0))
# Bilinear sampling skips pixels when it shrinks; above this ratio they are averaged first.
_SMOOTHED_FROM = 1.2
_WIDER_SHARE = 1 / 3  # of the photos, where some are to seem cut wider
_HIDDEN_PIXELS = 6  # a face of 6 × 6 pixels shows its light and nothing else
# What is painted over: shares of the photo's area, and of the longer side to the shorter.
_LEAST_ERASED, _MOST_ERASED, _LONGEST_ERASED = 0.02, 0.2, 2.0
# Red, green and blue to luma and two differences of colour (YIQ).
_TO_LUMA = np.array([[0.299, 0.587, 0.114], [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])
_MOST_ZOOM = 4.0
_MOST_LIGHTING = 0.9  # at 1 a photo is white or black
_DARKEST = 1 / 1024  # the logarithm of black itself is infinite


@dataclass(frozen=True)
class Changes:
    """What happens to each of N photos.

    Attributes
    ----------
    turns : ndarray, shape (N, 2, 2), float64
        Zoom, rotation and flip, as `warp_square` takes them.
    shifts : ndarray, shape (N, 2), float64
        Across and down, shares of the side.
    tables : ndarray, shape (N, 256), uint8
        Light.
    colours : ndarray, shape (N, 3, 3), float32, or None
        From a pixel's red, green and blue to what they become; None leaves them.
    erased : ndarray, shape (N, 7), or None
        Top, left, bottom and right of the rectangle that is painted over, shares of the side, and its colour; all
        zeros where there is none.
    widened : ndarray, shape (N,), bool, or None
        Whether what lies around the photo is seen: its edge goes on there, as a mirrored face would be a second one.
    """

    turns: NDArray[np.float64]
    shifts: NDArray[np.float64]
    tables: NDArray[np.uint8]
    colours: NDArray[np.float32] | None = None
    erased: NDArray[np.float64] | None = None
    widened: NDArray[np.bool_] | None = None

    def apply(self, photo: NDArray[np.uint8], number: int, out: NDArray[np.uint8]) -> None:
        """Write the photo, changed as that `number` of the N is, into `out`, uint8 (S, S, 3)."""
        (a, b), (c, d) = self.turns[number].tolist()
        across, down = self.shifts[number].tolist()
        is_widened = self.widened is not None and bool(self.widened[number])
        warp_square(
            photo, len(out), turn=((a, b), (c, d)), shift=(across, down), is_mirrored_around=not is_widened, out=out
        )
        cv2.LUT(out, self.tables[number], dst=out)
        if self.colours is not None:
            cv2.transform(out, self.colours[number], dst=out)
        if self.erased is not None:
            top, left, bottom, right = (self.erased[number, :4] * len(out)).round().astype(int)
            out[top:bottom, left:right] = self.erased[number, 4:]


def fit_square(photo: NDArray[np.uint8], size: int, *, out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """Return the central square of a photo, resized: what validation, prediction and explanation see.

    >>> fit_square(np.full((200, 300, 3), 7, np.uint8), 96)[0, 0].tolist()
    [7, 7, 7]
    """
    return warp_square(photo, size, out=out)


def warp_square(
    photo: NDArray[np.uint8],
    size: int,
    *,
    turn: Turn = _UNTURNED,
    shift: tuple[float, float] = (0.0, 0.0),
    is_mirrored_around: bool = True,
    out: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Return a square of a photo: crop, zoom, rotation, flip and shift in one warp.

    Parameters
    ----------
    photo : ndarray, shape (H, W, 3), uint8
    size : int
        Pixels of the result's side.
    turn : 2x2 numbers
        From offsets in the result to offsets in the photo's central square, both as shares of their side.
    shift : (across, down)
        Where in the photo the result's centre lies, from the photo's centre, as shares of the central square's side.
    is_mirrored_around : bool
        Whether the photo is mirrored at its edges, or goes on as they are.
    out : ndarray, shape (size, size, 3), uint8, optional
        Where to write, for instance one photo of a batch.

    Returns
    -------
    NDArray, shape (size, size, 3), uint8

    Notes
    -----
    A shrunk photo is first averaged over whole pixels, then smoothed by a Gaussian of the width that remains, so that
    no pattern finer than the result folds into it.
    """
    height, width = photo.shape[:2]
    side = min(height, width)
    if out is None:
        out = np.empty((size, size, 3), np.uint8)
    if turn == _UNTURNED and shift == (0.0, 0.0) and side == size:
        top, left = (height - size) // 2, (width - size) // 2
        np.copyto(out, photo[top : top + size, left : left + size])
        return out
    ratio = side / size
    shrinking = ratio * math.sqrt(abs(turn[0][0] * turn[1][1] - turn[0][1] * turn[1][0]))
    photo, reduction = _smoothed(photo, shrinking)
    ratio /= reduction
    matrix = _pixel_matrix(
        turn, ratio, size, (width / 2 + shift[0] * side) / reduction, (height / 2 + shift[1] * side) / reduction
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    border = cv2.BORDER_REFLECT_101 if is_mirrored_around else cv2.BORDER_REPLICATE
    cv2.warpAffine(photo, matrix, (size, size), dst=out, flags=flags, borderMode=border)
    return out


def draw_changes(
    generator: np.random.Generator,
    count: int,
    settings: AugmentationSettings,
    *,
    mirrored: NDArray[np.bool_] | None = None,
) -> Changes:
    """Draw the changes of `count` photos, uniform within the ranges of `settings`, zoom and contrast on a log scale.

    `mirrored`, shape (count,), says which photos are flipped where the settings leave that to whoever counts epochs.
    """
    # All numbers are drawn, used or not, so that switching one change off leaves the others as they were.
    drawn = generator.uniform(-1, 1, size=(count, 7))
    angles = np.radians(settings.rotation_degrees) * drawn[:, 0]
    scales = np.exp(-math.log(settings.zoom) * drawn[:, 1])
    if mirrored is None:
        mirrored = np.asarray((settings.flip == "random") & (drawn[:, 4] < 0))
    mirrors = np.where(mirrored, -1.0, 1.0)
    tables = lighting_tables(settings.lighting * drawn[:, 5], -math.log(1 - settings.lighting) * drawn[:, 6])
    more = generator.uniform(size=(count, 11))  # after the others, which stay what they were without these
    widened, widths = _drawn_widths(generator.uniform(size=(count, 2)), settings.wider)
    scales *= widths
    turns = np.empty((count, 2, 2))
    turns[:, 0, 0] = mirrors * scales * np.cos(angles)
    turns[:, 0, 1] = -scales * np.sin(angles)
    turns[:, 1, 0] = mirrors * scales * np.sin(angles)
    turns[:, 1, 1] = scales * np.cos(angles)
    return Changes(
        turns, settings.shift * drawn[:, 2:4], tables, _drawn_colours(more[:, :3], settings),
        _drawn_rectangles(more[:, 3:], settings.erasing), widened,
    )  # fmt: skip


def _drawn_widths(drawn: NDArray[np.float64], wider: float) -> tuple[NDArray[np.bool_] | None, NDArray[np.float64]]:
    """Return which photos seem cut wider, and how many of their sides each shows."""
    if not wider:
        return None, np.ones(len(drawn))
    widened = drawn[:, 0] < _WIDER_SHARE
    return widened, np.where(widened, 1 + 2 * wider * drawn[:, 1], 1.0)


def _drawn_colours(drawn: NDArray[np.float64], settings: AugmentationSettings) -> NDArray[np.float32] | None:
    if not (settings.saturation or settings.hue_degrees or settings.grey):
        return None
    strengths = 1 + settings.saturation * (2 * drawn[:, 0] - 1)
    strengths = np.where(drawn[:, 2] < settings.grey, 0.0, strengths)
    return colour_matrices(strengths, np.radians(settings.hue_degrees) * (2 * drawn[:, 1] - 1))


def colour_matrices(saturation: NDArray[np.float64], hue: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return one matrix for the red, green and blue of each photo, shape (N, 3, 3): its brightness (luma) stays.

    Parameters
    ----------
    saturation : ndarray, shape (N,)
        1 changes nothing, 0 leaves grey.
    hue : ndarray, shape (N,), radians
        0 changes nothing.

    Examples
    --------
    >>> bool(np.allclose(colour_matrices(np.ones(1), np.zeros(1))[0], np.eye(3), atol=1e-6))
    True
    """
    turned = np.zeros((len(hue), 3, 3))
    turned[:, 0, 0] = 1.0
    turned[:, 1, 1] = turned[:, 2, 2] = saturation * np.cos(hue)
    turned[:, 1, 2] = -saturation * np.sin(hue)
    turned[:, 2, 1] = saturation * np.sin(hue)
    return (np.linalg.inv(_TO_LUMA) @ turned @ _TO_LUMA).astype(np.float32)


def _drawn_rectangles(drawn: NDArray[np.float64], share: float) -> NDArray[np.float64] | None:
    """Return a rectangle for that share of the photos (Zhong et al., Random Erasing Data Augmentation, AAAI 2020)."""
    if not share:
        return None
    areas = _LEAST_ERASED + (_MOST_ERASED - _LEAST_ERASED) * drawn[:, 1]
    ratios = np.exp(math.log(_LONGEST_ERASED) * (2 * drawn[:, 2] - 1))
    sides = np.sqrt(areas[:, None] * np.stack([ratios, 1 / ratios], axis=1))  # down and across
    corners = drawn[:, 3:5] * (1 - sides)
    rectangles = np.concatenate([corners, corners + sides, np.round(255 * drawn[:, 5:8])], axis=1)
    return np.where(drawn[:, :1] < share, rectangles, 0.0)


def stronger(settings: AugmentationSettings, factor: float) -> AugmentationSettings:
    """Return the ranges of changes, each so many times as wide."""
    return replace(
        settings,
        rotation_degrees=min(settings.rotation_degrees * factor, 180.0),
        zoom=min(settings.zoom**factor, _MOST_ZOOM),
        shift=min(settings.shift * factor, 1.0),
        lighting=min(settings.lighting * factor, _MOST_LIGHTING),
        hue_degrees=min(settings.hue_degrees * factor, 180.0),
        saturation=min(settings.saturation * factor, 1.0),
        grey=min(settings.grey * factor, 1.0),
        erasing=min(settings.erasing * factor, 1.0),
        wider=min(settings.wider * factor, 1.0),
    )


def lighting_tables(brightness: NDArray[np.float64], log_contrast: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return brightness and contrast as one table of bytes per photo: shape (N, 256), old value -> new value.

    Both act on log-odds of the value, as fastai's lighting transforms do, so nothing is clipped at white or black.

    Parameters
    ----------
    brightness : ndarray, shape (N,), in (-1, 1)
        0 changes nothing; b moves middle grey from 0.5 to 0.5 (1 + b).
    log_contrast : ndarray, shape (N,)
        0 changes nothing; the slope at middle grey is its exponential.

    Examples
    --------
    >>> table = lighting_tables(np.zeros(1), np.zeros(1))[0]
    >>> bool((table == np.arange(256)).all())
    True
    """
    values = np.linspace(0, 1, 256).clip(_DARKEST, 1 - _DARKEST)
    log_odds = np.log(values / (1 - values))
    shifts = np.log((1 + brightness) / (1 - brightness))
    changed = (log_odds[None] + shifts[:, None]) * np.exp(log_contrast)[:, None]
    return np.round(255 / (1 + np.exp(-changed))).astype(np.uint8)


def _smoothed(photo: NDArray[np.uint8], shrinking: float) -> tuple[NDArray[np.uint8], int]:
    """Return the photo without what is too fine for the result, and by which whole factor it was reduced."""
    reduction = max(1, int(shrinking + 1e-6))
    if reduction > 1:
        height, width = photo.shape[0] // reduction, photo.shape[1] // reduction
        whole = photo[: height * reduction, : width * reduction]
        photo = cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    remaining = shrinking / reduction
    if remaining > _SMOOTHED_FROM:
        photo = cv2.GaussianBlur(photo, (3, 3), 0.5 * math.sqrt(remaining**2 - 1))  # type: ignore[assignment]
    return photo, reduction


def _pixel_matrix(turn: Turn, ratio: float, size: int, across: float, down: float) -> NDArray[np.float64]:
    """Return the map from the result's pixel numbers to the photo's, whose centres lie half a pixel further."""
    (a, b), (c, d) = turn
    a, b, c, d = a * ratio, b * ratio, c * ratio, d * ratio
    middle = (size - 1) / 2
    return np.array([[a, b, across - 0.5 - (a + b) * middle], [c, d, down - 0.5 - (c + d) * middle]])


def hidden(photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a photo (H, W, 3) with so little detail that nobody can be recognised."""
    few = cv2.resize(photo, (_HIDDEN_PIXELS, _HIDDEN_PIXELS), interpolation=cv2.INTER_AREA)
    return cv2.resize(few, photo.shape[1::-1], interpolation=cv2.INTER_CUBIC).astype(np.uint8)
