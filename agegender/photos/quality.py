"""Owns what can be wrong with a photo by its pixels alone, as columns `<check>_score` and `is_<check>`.

A score lies between 0 and 1, and low is suspicious. A check is a hint where to look and never a reason to drop a photo
by itself: dark skin makes a photo darker, and soft focus is common in old and in childhood portraits. It knows no
labels. `dataset.preparing` calls it, and the dataset report shows the extremes.

Thresholds are those at which UTKFace photos began to look wrong to the eye; BRISQUE, whose values mean little by
themselves, is judged by rank.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agegender.data.faces_table import FacesTable
from agegender.errors import PhotoError
from agegender.photos.brisque_score import brisque_value, brisque_version, is_brisque_installed
from agegender.photos.face_detection import FaceDetector, HaarDetector
from agegender.photos.reading import read_photo
from agegender.photos.reading_ahead import read_ahead
from agegender.progress import track

# A photo is suspicious when its score lies below this.
THRESHOLDS = {
    "blurry": 0.010,  # Laplacian variance as a share of the variance of grey; about 6 % of UTKFace lie below
    "blurry_fft": 0.004,  # share of spectral energy above 1/8 cycle per pixel; about 3 % of UTKFace
    "dark": 0.40,  # brightness that only 5 % of the pixels exceed; about 0.4 % of UTKFace
    "bright": 0.40,  # one minus the brightness that only 5 % of the pixels fall short of; about 0.2 %
    "low_contrast": 0.25,  # range from 5 % to 95 % as a share of the range there is around its middle
    "tiny": 0.50,  # shorter side as a share of 64 pixels
    "odd_aspect": 0.50,  # shorter side as a share of the longer
    "no_face": 0.50,  # 1 when the detector finds a face, 0 when not
    "brisque": 0.01,  # rank among the photos of the table, the worst at 0
}
CHECKS = tuple(THRESHOLDS)
_FINE_CYCLES = 1 / 8  # cycles per pixel at 128 pixels
_COARSE_CYCLES = 1 / 64  # below lies the light of the scene
_JUDGED_SIDE = 128  # pixels; larger photos are shrunk, so that blur means the same at every size
_TINY_SIDE = 64
_FIRST_LOOK_SIDE = 112
_FEWEST_RANKED = 100


def quality_scores(photo: NDArray[np.uint8]) -> dict[str, float]:
    """Return the scores that need nothing but the pixels.

    Parameters
    ----------
    photo : ndarray, shape (height, width, 3), uint8 RGB

    Returns
    -------
    dict of str to float
        "blurry", "blurry_fft", "dark", "bright", "low_contrast", "tiny" and "odd_aspect", each 0 to 1, low is bad.
    """
    height, width = photo.shape[:2]
    grey = _judged_grey(photo)
    low, high = (float(level) for level in np.percentile(grey, [5, 95]))
    middle = (low + high) / 2
    return {
        "blurry": _sharpness(grey),
        "blurry_fft": _fine_energy(grey),
        "dark": high / 255,
        "bright": 1 - low / 255,
        "low_contrast": min(1.0, (high - low) / max(1.0, 2 * min(middle, 255 - middle))),
        "tiny": min(1.0, min(height, width) / _TINY_SIDE),
        "odd_aspect": min(height, width) / max(height, width),
    }


def assess_quality(
    faces: FacesTable, *, detector: FaceDetector | None = None, brisque: bool | None = None
) -> FacesTable:
    """Add `<check>_score` and `is_<check>` for every check to the kept rows; nothing is dropped.

    Parameters
    ----------
    faces : FacesTable
    detector : FaceDetector, optional
        Who says whether there is a face; OpenCV's cascade by default.
    brisque : bool, optional
        Whether to score BRISQUE, at about 30 ms a photo; by default when its package is installed.

    Returns
    -------
    FacesTable
        Scores are missing for rows that were left out and photos that cannot be read; `brisque_value` is the
        library's own value. The notes say under "quality" which thresholds, detector and library were used, and how
        many photos each check suspects.

    Raises
    ------
    MissingExtraError
        BRISQUE is asked for and not installed.
    """
    detector = detector or HaarDetector()
    with_brisque = is_brisque_installed() if brisque is None else brisque
    table = faces.table.copy()
    kept = table.index[table["dropped_because"].isna()]
    paths = [faces.photo_path(path) for path in table.loc[kept, "path"]]
    rows = list(track(_score_all(paths, detector, with_brisque), "scoring quality", total=len(paths)))
    scores = pd.DataFrame(rows, index=kept, columns=[*(set(CHECKS) - {"brisque"}), "brisque_value"], dtype="float64")
    scores["brisque"] = _rank(scores["brisque_value"])
    for check in CHECKS:
        table[f"{check}_score"] = scores[check].reindex(table.index)
        suspicious = (scores[check] < THRESHOLDS[check]).astype("boolean").where(scores[check].notna())
        table[f"is_{check}"] = suspicious.reindex(table.index)
    table["brisque_value"] = scores["brisque_value"].reindex(table.index)
    counts = {check: int(table[f"is_{check}"].sum()) for check in CHECKS}
    library = brisque_version() if with_brisque else "not scored: the package brisque is not installed"
    facts: dict[str, Any] = {"thresholds": THRESHOLDS, "detector": detector.name, "brisque": library, "counts": counts}
    return FacesTable(table, faces.root, {**faces.notes, "quality": facts})


def _score_all(paths: list[Path], detector: FaceDetector, with_brisque: bool) -> Iterator[dict[str, float]]:
    return read_ahead(lambda path: _score(path, detector, with_brisque), paths)


def _score(path: Path, detector: FaceDetector, with_brisque: bool) -> dict[str, float]:
    try:
        photo = read_photo(path)
    except PhotoError:
        return {}
    scores = quality_scores(photo)
    scores["no_face"] = float(_has_face(photo, detector))
    if with_brisque:
        scores["brisque_value"] = brisque_value(photo)
    return scores


def _has_face(photo: NDArray[np.uint8], detector: FaceDetector) -> bool:
    # Most photos show one large face, which a small copy shows as well and in a fraction of the time.
    scale = _FIRST_LOOK_SIDE / max(photo.shape[:2])
    if scale < 1 and min(photo.shape[:2]) * scale >= _FIRST_LOOK_SIDE / 2:
        copy = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        if detector.detect(copy.astype(np.uint8, copy=False)):
            return True
    return bool(detector.detect(photo))


def _judged_grey(photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    scale = _JUDGED_SIDE / min(grey.shape)
    if scale < 1:
        size = (max(_JUDGED_SIDE, round(grey.shape[1] * scale)), max(_JUDGED_SIDE, round(grey.shape[0] * scale)))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    return grey.astype(np.uint8, copy=False)


def _sharpness(grey: NDArray[np.uint8]) -> float:
    """Return the Laplacian variance as a share of the variance, so that contrast does not pass for sharpness."""
    variance = float(grey.var())
    if variance < 1:
        return 1.0  # a flat picture is not blurred; low contrast says what is wrong with it
    return min(1.0, float(cv2.Laplacian(grey, cv2.CV_32F).var()) / variance)


def _fine_energy(grey: NDArray[np.uint8]) -> float:
    """Return the share of the spectrum's energy in fine detail, of the square in the middle."""
    side = min(*grey.shape, _JUDGED_SIDE)
    if side < 16:
        return 1.0
    top, left = (grey.shape[0] - side) // 2, (grey.shape[1] - side) // 2
    square = grey[top : top + side, left : left + side].astype(np.float32)
    window, is_fine, is_counted = _spectrum_masks(side)
    energy = np.abs(np.fft.rfft2((square - square.mean()) * window)) ** 2
    counted = float(energy[is_counted].sum())
    return float(energy[is_fine].sum()) / counted if counted > side**2 else 1.0


@lru_cache(maxsize=128)
def _spectrum_masks(side: int) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
    window = np.outer(np.hanning(side), np.hanning(side)).astype(np.float32)
    cycles = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :])
    return window, cycles > _FINE_CYCLES, cycles > _COARSE_CYCLES


def _rank(values: pd.Series) -> pd.Series:
    """Return 0 for the worst BRISQUE value and 1 for the best; missing where there are too few to rank."""
    count = int(values.notna().sum())
    if count < _FEWEST_RANKED:
        return pd.Series(np.nan, index=values.index)
    return (values.rank(ascending=False) - 1) / (count - 1)
