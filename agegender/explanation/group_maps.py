"""What the model looks at for whom: mean weights per part of the face and group, and differences with their intervals.

Maps of any regions are carried over by pixels to the parts of their own face, so that people can be averaged; a face of
which the parts are not known is left out. It gets explanations and a group name for each, and knows no model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student_t

from agegender.errors import UsageError
from agegender.explanation.face_explanation import NAN, FaceExplanation, TargetMap
from agegender.explanation.face_parts import FACE_PARTS, FaceParts, aligned_parts
from agegender.heads import Target

Numbers = NDArray[np.float64]
# Below this an interval of a mean says more about the formula than about the faces.
SMALLEST_GROUP = 3
_SHOWN_SIDE = 120


@dataclass(frozen=True)
class PartMeans:
    """The mean of one quantity per part of the face, shape (parts,), with 95 % intervals between faces."""

    mean: Numbers
    low: Numbers
    high: Numbers


@dataclass(frozen=True)
class GroupMap:
    """One group's mean weights of one target, part by part.

    Attributes
    ----------
    group : str
    face_count : int
    weights : PartMeans
        Signed, in the target's unit: what a part adds on average.
    attention : PartMeans
        Share of the map's absolute weights on each part, in [0, 1], summing to 1: how much is looked at it, whichever
        way it speaks.
    """

    group: str
    face_count: int
    weights: PartMeans
    attention: PartMeans


@dataclass(frozen=True)
class GroupDifference:
    """A group's mean minus the mean of everybody else, with Welch's interval at 95 % over all comparisons together.

    Attributes
    ----------
    is_clear : array of bool, shape (parts,)
        Where the interval of the weights leaves out zero. Intervals are widened (Bonferroni) for the number of parts
        and groups compared, so that one clear difference anywhere by chance is had in at most 5 of 100 such tables.
    """

    group: str
    face_count: int
    others_count: int
    weights: PartMeans
    attention: PartMeans

    @property
    def is_clear(self) -> np.ndarray:
        """Return where the weights' interval leaves out zero."""
        return (self.weights.low > 0) | (self.weights.high < 0)


@dataclass(frozen=True)
class GroupMaps:
    """All groups' maps of one target, and how each differs from everybody else.

    Attributes
    ----------
    parts : FaceParts
        What the parts are, and a face to show them on: for drawn faces one of those that were explained.
    left_out : tuple of str
        Groups with fewer than `SMALLEST_GROUP` faces, each with its size in words.
    """

    target: Target
    parts: FaceParts
    groups: tuple[GroupMap, ...]
    differences: tuple[GroupDifference, ...]
    left_out: tuple[str, ...]


def group_maps(faces: Sequence[FaceExplanation], groups: Sequence[str | None]) -> tuple[GroupMaps, ...]:
    """Average explanations by group, one result per target that has enough usable maps.

    Where faces know different parts (some drawn, some photographed), those that most of them know are compared.
    """
    if len(faces) != len(groups):
        raise UsageError(f"{len(faces)} explanations and {len(groups)} groups: expected one group for each.")
    usable = [(face, group) for face, group in zip(faces, groups, strict=True) if group and not face.problems]
    parts = usual_parts([face for face, _ in usable])
    if parts is None:
        raise UsageError(
            "where the parts of these faces are is not known, so that they cannot be compared part by part. They are "
            "known of drawn faces, of photos aligned as UTKFace's are, and of faces that the detector finds."
        )
    usable = [(face, group) for face, group in usable if face.parts is not None and face.parts.names == parts.names]
    found = []
    for i in range(len(usable[0][0].maps)):
        known = [(face, group) for face, group in usable if not face.maps[i].problems]
        members = np.array([group for _, group in known])
        sizes = {str(name): int((members == name).sum()) for name in np.unique(members)}
        if max(sizes.values(), default=0) >= SMALLEST_GROUP:
            weights = np.stack([on_parts(face, face.maps[i], face.parts or parts) for face, _ in known])
            found.append(_maps_of_target(usable[0][0].maps[i].target, parts, weights, members, sizes))
    if not found:
        raise UsageError(f"no group has {SMALLEST_GROUP} explained faces; explain more, for example --random 50.")
    return tuple(found)


def usual_parts(faces: Sequence[FaceExplanation]) -> FaceParts | None:
    """Return the parts that most of these faces know, with a face to show them on; None where no face knows any."""
    known = [face.parts for face in faces if face.parts is not None]
    if not known:
        return None
    names = Counter(parts.names for parts in known).most_common(1)[0][0]
    if names == FACE_PARTS:
        return aligned_parts(_SHOWN_SIDE)
    return next(parts for parts in known if parts.names == names)


def on_parts(face: FaceExplanation, one: TargetMap, parts: FaceParts) -> Numbers:
    """Return one map carried over to the parts of its face, shape (parts,), in the target's unit; the sum stays.

    A region's weight is divided over the parts by the pixels that it has in each.
    """
    weights = one.weights()
    per_pixel = weights / np.bincount(face.region_map.ravel(), minlength=len(weights))
    on_pixels = per_pixel[face.region_map].ravel()
    return np.bincount(parts.part_map.ravel(), on_pixels, len(parts.names)).astype(np.float64)


def _maps_of_target(
    target: Target, parts: FaceParts, weights: Numbers, members: np.ndarray, sizes: dict[str, int]
) -> GroupMaps:
    total = np.abs(weights).sum(axis=1, keepdims=True)
    attention = np.abs(weights) / np.where(total > 0, total, 1)
    names = [name for name, size in sizes.items() if size >= SMALLEST_GROUP]
    left_out = tuple(
        f"{name} ({size} face{'s' * (size != 1)})" for name, size in sizes.items() if size < SMALLEST_GROUP
    )
    groups, differences = [], []
    level = 1 - 0.05 / (len(parts.names) * max(1, len(names)))
    for name in names:
        is_in = members == name
        groups.append(GroupMap(name, int(is_in.sum()), _mean(weights[is_in]), _mean(attention[is_in])))
        if (~is_in).sum() >= SMALLEST_GROUP:
            compared = [_difference(values[is_in], values[~is_in], level) for values in (weights, attention)]
            differences.append(GroupDifference(name, int(is_in.sum()), int((~is_in).sum()), *compared))
    return GroupMaps(target, parts, tuple(groups), tuple(differences), left_out)


def _mean(values: Numbers) -> PartMeans:
    mean, error = values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(len(values))
    half_width = student_t.ppf(0.975, len(values) - 1) * error
    return PartMeans(mean, mean - half_width, mean + half_width)


def _difference(first: Numbers, second: Numbers, level: float) -> PartMeans:
    """Return Welch's interval of the difference of means, each part on its own."""
    variances = [values.var(axis=0, ddof=1) / len(values) for values in (first, second)]
    total = variances[0] + variances[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = total**2 / sum(v**2 / (len(x) - 1) for v, x in zip(variances, (first, second), strict=True))
        half_width = student_t.ppf(1 - (1 - level) / 2, freedom) * np.sqrt(total)
    half_width = np.where(total > 0, half_width, NAN)
    difference = first.mean(axis=0) - second.mean(axis=0)
    return PartMeans(difference, difference - half_width, difference + half_width)
