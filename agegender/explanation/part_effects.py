"""What each part of the face does to each answer, on average over faces at random, with intervals between photos.

A part's effect on one photo is the sum of the weights of the regions that are called after it. Photos of which the
parts are not known are summed by the ninths of the photo instead. It gets explanations, and knows no model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student_t

from agegender.explanation.face_explanation import NAN, FaceExplanation, TargetMap
from agegender.explanation.face_parts import parts_of_regions
from agegender.heads import Target

Numbers = NDArray[np.float64]
LEAST_PHOTOS = 3  # below this an interval of a mean says more about the formula than about the photos
LEAST_BOOTSTRAPPED = 8
LEAST_RESAMPLED_ERROR = 1 / 3  # of the sample's: of mostly equal values some resamples have hardly any spread
RESAMPLE_COUNT = 2_000
_NORMAL_95 = 1.96


@dataclass(frozen=True)
class PartEffect:
    """What one part does to one target.

    Attributes
    ----------
    part : str
    photo_count : int
        Photos that have the part.
    mean, low, high : float
        The mean effect of showing it, in the target's unit. The intervals are between photos, and as wide as it takes
        for all parts of a target to hold together in 95 of 100 samples; NaN with fewer than `LEAST_PHOTOS`.
    size : float
        The root of the mean square of the photos' effects, their sampling error taken off: how much the part moves the
        answer, whichever way.
    raising_share : float
        Share of the photos where it raises the answer.
    """

    part: str
    photo_count: int
    mean: float
    low: float
    high: float
    size: float
    raising_share: float

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Effects:
    """What the parts do to one target over faces at random.

    Attributes
    ----------
    target : Target
    parts : tuple of PartEffect
        Those that move the answer most first.
    photo_count, failed_count : int
        Photos that the means are over, and of how many the map failed a check; they are not left out, since that would
        choose photos by their answers.
    base, answer : float
        Means of the base value (with everything covered, as the maps have it) and of the answer on the photo.
    by_place : bool
        Whether parts are ninths of the photo, because those of the faces are not known.
    """

    target: Target
    parts: tuple[PartEffect, ...]
    photo_count: int
    failed_count: int
    base: float
    answer: float
    by_place: bool

    @property
    def total(self) -> float:
        """What all regions add to the base value, on average; with it they make the mean answer but for `rest`."""
        return sum(part.mean * part.photo_count for part in self.parts) / self.photo_count

    @property
    def rest(self) -> float:
        """What the maps leave unexplained of the mean answer: regions that work together."""
        return self.answer - self.base - self.total


def part_effects(faces: Sequence[FaceExplanation]) -> list[Effects]:
    """Return the effects of each target over those faces that are of the random sample; none where there are none.

    Where more faces know their parts than do not, those alone count, and else all do, by the ninths of the photo.
    """
    sample = [face for face in faces if face.is_random and not face.problems]
    kinds = Counter(face.parts.names for face in sample if face.parts is not None).most_common(1)
    by_place = not kinds or 2 * kinds[0][1] <= len(sample)
    if not by_place:
        sample = [face for face in sample if face.parts is not None and face.parts.names == kinds[0][0]]
    names = [parts_of_regions(face.region_map, None if by_place else face.parts) for face in sample]
    found: dict[str, tuple[Target, list[tuple[list[str], TargetMap]]]] = {}
    for face, called in zip(sample, names, strict=True):
        for one in face.maps:
            if not one.problems and np.isfinite(one.weights()).all() and np.isfinite([one.value, one.intercept]).all():
                found.setdefault(one.target.key, (one.target, []))[1].append((called, one))
    return [_effects(target, maps, by_place=by_place) for target, maps in found.values()]


def _effects(target: Target, maps: Sequence[tuple[list[str], TargetMap]], *, by_place: bool) -> Effects:
    parts = list(dict.fromkeys(part for called, _ in maps for part in called))
    weights, variances = np.full((2, len(maps), len(parts)), NAN)
    for photo, (called, one) in enumerate(maps):
        for part, region in zip(called, one.regions, strict=True):
            place = photo, parts.index(part)
            error = (region.high - region.low) / 2 / _NORMAL_95
            weights[place] = region.weight + np.nan_to_num(weights[place])
            variances[place] = np.nan_to_num(error**2) + np.nan_to_num(variances[place])
    counts = np.isfinite(weights).sum(axis=0)
    means = np.nanmean(weights, axis=0)
    half_widths = simultaneous_half_widths(weights)
    sizes = np.sqrt(np.maximum(0.0, np.nanmean(weights**2 - variances, axis=0)))
    columns = [counts, means, means - half_widths, means + half_widths, sizes, (weights > 0).sum(axis=0) / counts]
    found = [
        PartEffect(part, int(n), *figures) for part, n, *figures in zip(parts, *np.array(columns).tolist(), strict=True)
    ]
    base, answer = np.mean([(one.intercept, one.value) for _, one in maps], axis=0).tolist()
    failed = sum(not one.is_believable for _, one in maps)
    found.sort(key=lambda part: -part.size)
    return Effects(target, tuple(found), len(maps), failed, base, answer, by_place)


def simultaneous_half_widths(values: Numbers) -> Numbers:
    """Return half of intervals of the columns' means that all hold together in 95 of 100 samples of rows.

    Rows are resampled whole, each mean in its own standard errors, and the largest of all columns counts: skewed
    columns get the width that they need, and columns that go together cost nothing. Columns with fewer than
    `LEAST_BOOTSTRAPPED` values get Student's width, divided by Bonferroni; with fewer than `LEAST_PHOTOS` none.

    Parameters
    ----------
    values : array, shape (rows, columns)
        NaN where a row has no such value.

    References
    ----------
    Romano, Wolf: Exact and approximate stepdown methods for multiple hypothesis testing, JASA 2005 (the first step).
    """
    is_known = np.isfinite(values)
    counts, known = is_known.sum(axis=0), np.nan_to_num(values)
    errors = _errors(counts, known.sum(axis=0), (known**2).sum(axis=0))
    compared = counts >= LEAST_PHOTOS
    student = student_t.ppf(1 - 0.05 / (2 * max(1, compared.sum())), np.maximum(1, counts - 1))
    quantiles = np.where(compared, student, NAN)
    many = counts >= LEAST_BOOTSTRAPPED
    if many.any():
        generator = np.random.default_rng(0)
        drawn = generator.multinomial(len(values), np.full(len(values), 1 / len(values)), RESAMPLE_COUNT).astype(float)
        numbers, sums = drawn @ is_known[:, many], drawn @ known[:, many]
        own = np.maximum(_errors(numbers, sums, drawn @ known[:, many] ** 2), errors[many] * LEAST_RESAMPLED_ERROR)
        moved = np.abs(sums / np.maximum(1, numbers) - known[:, many].sum(axis=0) / counts[many])
        quantiles[many] = np.quantile(np.divide(moved, own, out=np.zeros_like(moved), where=own > 0).max(axis=1), 0.95)
    return np.asarray(quantiles * errors)


def _errors(counts: NDArray[np.floating] | NDArray[np.integer], sums: Numbers, squares: Numbers) -> Numbers:
    """Return the standard errors of means."""
    counts = np.maximum(2, counts)
    variances = np.maximum(0.0, squares - sums**2 / counts) / (counts - 1)
    variances[variances < 1e-12 * squares / counts] = 0.0  # equal values, but for rounding
    return np.asarray(np.sqrt(variances / counts))
