"""Owns the clear word for every photo or answer that cannot be explained well."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from agegender.explanation.results import Output
from agegender.explanation.superpixels import Regions

SMALLEST_SIDE_PIXELS = 32


def problems_of_photo(photo: NDArray[np.uint8], covered: NDArray[np.uint8], regions: Regions) -> tuple[str, ...]:
    """Say what about the photo itself keeps it from being explained; empty when nothing does."""
    found = []
    if min(photo.shape[:2]) < SMALLEST_SIDE_PIXELS:
        found.append(small_photo(photo.shape[1], photo.shape[0]))
    if np.ptp(photo.reshape(-1, 3), axis=0).max() == 0:
        found.append("the photo has one colour: there is no face in it to explain")
    elif np.array_equal(photo, covered):
        found.append("covered regions look like visible ones: another fill would be needed")
    if regions.count == 1:
        found.append("the photo is one superpixel: there is nothing to compare it with")
    return tuple(found)


def small_photo(width: int, height: int) -> str:
    """Say that a photo of this size in pixels was too small before it was fitted to the model."""
    return (
        f"the photo has only {width}×{height} pixels: below {SMALLEST_SIDE_PIXELS} a side, "
        f"what the model looks at is mostly interpolation"
    )


def problems_of_sample(region_count: int, pair_count: int) -> tuple[str, ...]:
    """Say whether there are too few samples for the regions."""
    if pair_count > region_count:
        return ()
    return (
        f"more superpixels ({region_count}) than independent samples ({pair_count}): the weights are shrunk guesses "
        f"without intervals; ask for at least {4 * region_count} samples",
    )


def problems_of_answers(
    scores: NDArray[np.float64], values: NDArray[np.float64], outputs: Sequence[Output]
) -> tuple[tuple[str, ...], ...]:
    """Say for each output what is wrong with the model's answers.

    Parameters
    ----------
    scores : array, shape (rows, outputs)
        Answers on the perturbed photos.
    values : array, shape (outputs,)
        Answers on the photo as it is.
    """
    return tuple(_problems_of_output(scores[:, i], float(values[i]), output) for i, output in enumerate(outputs))


def is_constant(scores: NDArray[np.float64]) -> bool:
    """Return whether finite answers differ by no more than rounding, shape (rows,)."""
    finite = scores[np.isfinite(scores)]
    return len(finite) == 0 or float(np.ptp(finite)) <= 1e-6 * max(1.0, float(abs(finite).max()))


def _problems_of_output(scores: NDArray[np.float64], value: float, output: Output) -> tuple[str, ...]:
    finite = np.isfinite(scores)
    if not finite.any():
        return (f"{output.key}: the model gave no number for any perturbed photo (NaN or infinite)",)
    found = []
    if not np.isfinite(value):
        found.append(f"{output.key}: the model gave no number for the photo itself (NaN or infinite)")
    if not finite.all():
        found.append(
            f"{output.key}: the model gave no number for {int((~finite).sum())} of {len(scores)} perturbed photos; "
            f"they are left out"
        )
    if is_constant(scores):
        found.append(
            f"{output.key}: the model answers {scores[finite][0]:.3g} {output.unit} whatever is covered; "
            f"there is nothing to explain"
        )
    return tuple(found)
