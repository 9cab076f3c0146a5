"""Owns brightness and contrast as a table of 256 bytes, so that a photo's light changes without one float per pixel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_DARKEST = 1 / 1024  # the logarithm of black itself is infinite


def lighting_tables(brightness: NDArray[np.float64], log_contrast: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return one byte table per photo.

    Parameters
    ----------
    brightness : ndarray, shape (N,), in (-1, 1)
        0 changes nothing; b moves middle grey from 0.5 to 0.5 (1 + b).
    log_contrast : ndarray, shape (N,)
        0 changes nothing; the slope at middle grey is its exponential.

    Returns
    -------
    NDArray, shape (N, 256), uint8
        `table[i][old value] = new value`.

    Notes
    -----
    Both act on log-odds of the value, as fastai's lighting transforms do, so nothing is clipped at white or black.

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
