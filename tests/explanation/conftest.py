"""Photos whose explanations are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

SIDE = 64


@pytest.fixture(scope="session")
def photo() -> NDArray[np.uint8]:
    """Smooth blobs of colour with some texture: superpixels of all sizes, none of them flat."""
    generator = np.random.default_rng(3)
    coarse = torch.tensor(generator.uniform(30, 220, size=(1, 3, 6, 6)), dtype=torch.float32)
    smooth = torch.nn.functional.interpolate(coarse, size=(SIDE, SIDE), mode="bicubic")[0].permute(1, 2, 0).numpy()
    return (smooth + generator.uniform(-25, 25, size=smooth.shape)).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def another_photo(photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(photo[::-1, ::-1, ::-1])
