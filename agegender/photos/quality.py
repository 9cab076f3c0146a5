"""What can be wrong with a photo by its pixels alone, as scores between 0 and 1 of which low ones are suspicious.

A check is a hint where to look and never a reason to drop a photo by itself: dark skin makes a photo darker, and soft
focus is common in old and in childhood portraits. Thresholds are those at which UTKFace photos began to look wrong to
the eye. BRISQUE, a learnt verdict on how natural a photo looks, comes from the optional package `brisque`; packages
that carry this name differ by tens of points on the same photo, so its values go with the library and version that
made them, and are judged by their rank within one table only.

References
----------
Mittal, Moorthy, Bovik: No-reference image quality assessment in the spatial domain, TIP 2012.
"""

from __future__ import annotations

import atexit
import importlib.util
import pickletools
import threading
import warnings
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from agegender.errors import MissingExtraError
from agegender.photos.face_detection import FaceDetector

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

_BRISQUE = "brisque"
_SMALLEST_BRISQUE_SIDE = 16  # pixels; below, there are too few for statistics of two scales
# What a pickle needs to call code; a plain dictionary of numbers needs none of it.
_CALLING_OPCODES = {"GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "REDUCE", "NEWOBJ", "NEWOBJ_EX", "BUILD", "EXT1", "EXT2"}
# libsvm reads a model into a buffer that all threads share: two that load at once crash the interpreter.
_loading = threading.Lock()


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


def light_and_blur(photo: NDArray[np.uint8]) -> dict[str, float]:
    """Return "blurry", "dark" and "bright" as `quality_scores` does, in a third of the time."""
    grey = _judged_grey(photo)
    low, high = np.percentile(grey, [5, 95])
    return {"blurry": _sharpness(grey), "dark": float(high) / 255, "bright": 1 - float(low) / 255}


def has_face(photo: NDArray[np.uint8], detector: FaceDetector) -> bool:
    """Return whether the detector finds a face in a photo of shape (height, width, 3), uint8 RGB."""
    # Most photos show one large face, which a small copy shows as well and in a fraction of the time.
    scale = _FIRST_LOOK_SIDE / max(photo.shape[:2])
    if scale < 1 and min(photo.shape[:2]) * scale >= _FIRST_LOOK_SIDE / 2:
        copy = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        if detector.detect(copy.astype(np.uint8, copy=False)):
            return True
    return bool(detector.detect(photo))


def is_brisque_installed() -> bool:
    """Return whether the optional package can be imported."""
    return all(importlib.util.find_spec(name) is not None for name in (_BRISQUE, "libsvm"))


def brisque_version() -> str:
    """Return the library and its version, as notes store it."""
    return f"{_BRISQUE} {version(_BRISQUE)}"


def brisque_value(photo: NDArray[np.uint8]) -> float:
    """Return the BRISQUE value of a photo: about 0 for natural ones, 100 for spoilt ones; NaN where it is undefined.

    Parameters
    ----------
    photo : ndarray, shape (height, width, 3), uint8 RGB
    """
    if min(photo.shape[:2]) < _SMALLEST_BRISQUE_SIDE:
        return float("nan")
    with _loading:
        scorer = _brisque_scorer()
    with np.errstate(all="ignore"):
        value = float(scorer.score(photo))
    return value if np.isfinite(value) else float("nan")


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


@lru_cache(maxsize=1)
def _brisque_scorer() -> Any:
    if not is_brisque_installed():
        raise MissingExtraError(
            'BRISQUE needs the package brisque: pip install "agegender[quality]". Its libsvm is built there, by a C++ '
            "compiler: apt install g++, or conda install -c conda-forge cxx-compiler."
        )
    _check_pickle()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from brisque import BRISQUE

    class _Scorer(BRISQUE):
        """The library's own score to 1e-10, mended for numpy 2.4, with its convolutions through OpenCV."""

        def scale_features(self, features: Any) -> NDArray[np.float64]:
            scaled: NDArray[np.float64] = super().scale_features([float(np.ravel(value)[0]) for value in features])
            return scaled

        def local_mean(self, image: NDArray[np.float64], kernel: NDArray[np.float64]) -> NDArray[np.float64]:
            return cv2.filter2D(image, cv2.CV_64F, kernel, borderType=cv2.BORDER_CONSTANT)  # type: ignore[return-value]

        def local_deviation(self, image: Any, local_mean: Any, kernel: Any) -> NDArray[np.float64]:
            deviation: NDArray[np.float64] = np.sqrt(np.abs(local_mean**2 - self.local_mean(image**2, kernel)))
            return deviation

    # libsvm frees its model with a function that is gone when the interpreter ends: let go of it before.
    atexit.register(_brisque_scorer.cache_clear)
    return _Scorer()


def _check_pickle() -> None:
    """Refuse the package's pickle unless it is nothing but numbers and texts."""
    package = importlib.util.find_spec(_BRISQUE)
    data = (Path(str(package and package.origin)).parent / "models" / "normalize.pickle").read_bytes()
    used = {opcode.name for opcode, _, _ in pickletools.genops(data)}
    if used & _CALLING_OPCODES:
        raise MissingExtraError(
            f"{brisque_version()} brings a pickle that would call code, which is not loaded. Version 0.2.0 does not."
        )
