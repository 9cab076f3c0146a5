"""Owns the way to BRISQUE, a learnt verdict on how natural a photo looks, through the optional package `brisque`.

Packages that carry this name differ by tens of points on the same photo, so scores go with the library and version
that made them, and are compared by rank within one table only. `images.quality` calls this module.

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

LIBRARY = "brisque"
_SMALLEST_SIDE = 16  # pixels; below, there are too few for statistics of two scales
# What a pickle needs to call code; a plain dictionary of numbers needs none of it.
_CALLING_OPCODES = {"GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "REDUCE", "NEWOBJ", "NEWOBJ_EX", "BUILD", "EXT1", "EXT2"}
# libsvm reads a model into a buffer that all threads share: two that load at once crash the interpreter.
_loading = threading.Lock()


def is_brisque_installed() -> bool:
    """Return whether the optional package can be imported."""
    return all(importlib.util.find_spec(name) is not None for name in (LIBRARY, "libsvm"))


def brisque_version() -> str:
    """Return the library and its version, as notes store it."""
    return f"{LIBRARY} {version(LIBRARY)}"


def brisque_value(photo: NDArray[np.uint8]) -> float:
    """Return the BRISQUE value of a photo: about 0 for natural ones, 100 for spoilt ones; NaN where it is undefined.

    Parameters
    ----------
    photo : ndarray, shape (height, width, 3), uint8 RGB

    Raises
    ------
    MissingExtraError
        The package is not installed, or its data file is not the plain one that it should be.
    """
    if min(photo.shape[:2]) < _SMALLEST_SIDE:
        return float("nan")
    with _loading:
        scorer = _scorer()
    with np.errstate(all="ignore"):
        value = float(scorer.score(photo))
    return value if np.isfinite(value) else float("nan")


@lru_cache(maxsize=1)
def _scorer() -> Any:
    if not is_brisque_installed():
        raise MissingExtraError('BRISQUE needs the package brisque: pip install "agegender[quality]".')
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
    atexit.register(_scorer.cache_clear)
    return _Scorer()


def _check_pickle() -> None:
    """Refuse the package's pickle unless it is nothing but numbers and texts."""
    place = importlib.util.find_spec(LIBRARY)
    data = (Path(str(place and place.origin)).parent / "models" / "normalize.pickle").read_bytes()
    used = {opcode.name for opcode, _, _ in pickletools.genops(data)}
    if used & _CALLING_OPCODES:
        raise MissingExtraError(
            f"{brisque_version()} brings a pickle that would call code, which is not loaded. Version 0.2.0 does not."
        )
