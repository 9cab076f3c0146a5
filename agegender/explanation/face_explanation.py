"""What is said of one photo, as frozen data that shows itself in a notebook.

All weights are in the unit of their target (years, log-odds): the change of the answer, averaged over what else is
visible, when a region goes from covered to visible.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from agegender.explanation.face_parts import FaceParts
from agegender.explanation.maps import address_of, figure_of, scales_of, weight_picture
from agegender.heads import Target
from agegender.photos.warping import hidden

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAN = float("nan")
_CURVES = ("deletion", "insertion", "random_deletions")
_MOST_SHOWN = 8  # maps in a notebook's cell, which is to stay small
_LONGEST_NAME = 30


@dataclass(frozen=True)
class RegionWeight:
    """What one region of the photo does to one target.

    Attributes
    ----------
    region : int
        Its number in the region map, 0..K-1.
    name : str
        The part of the face that it holds, numbered where several do ("nose 2"), or its place in the photo where the
        parts of the face are not known ("upper middle, 3rd of 5").
    weight, low, high : float
        Unit of the target; `low` and `high` end the 95 % interval (NaN where the samples are too few for one).
    pixel_share : float
        Share of the photo's pixels, in (0, 1].
    """

    region: int
    name: str
    weight: float
    low: float
    high: float
    pixel_share: float


@dataclass(frozen=True)
class Curve:
    """The answer, in its unit, by the share of pixels covered (deletion) or uncovered (insertion) so far, 0 to 1."""

    pixel_share: tuple[float, ...]
    values: tuple[float, ...]

    def area(self) -> float:
        """Return the mean height."""
        return float(np.trapezoid(self.values, self.pixel_share))


@dataclass(frozen=True)
class Trust:
    """How far one map can be believed; NaN where a figure could not be had.

    Attributes
    ----------
    held_out_r2 : float
        Share of the answers' variance over fresh perturbations, never fitted to, that the map predicts; at most 1.
    in_sample_r2 : float
        The same over the fitted ones, which flatters; shown only to show by how much.
    deletion_auc, insertion_auc : float
        Mean height of the scaled curve; see `scaled_curves`. Deletion covers what speaks most for the answer first and
        should be low; insertion shows it first and should be high.
    random_deletion_auc, random_insertion_auc : float
        Means of the same over random orders.
    expects_gain : bool
        Whether the map says of itself that its order beats random ones; regions of one weight have no order.
    agreement : float
        Likeness of the maps of independent halves of the samples, in [-1, 1]; see `surrogate.likeness`.
    top_jaccard : float
        Overlap of the strongest regions between these halves: shared / all, 1 is the same set. Told, but no check:
        between regions of nearly one weight it is a matter of chance.
    photo_share : float
        What the answer on the photo itself loses when each of the strongest regions alone is covered, in the direction
        that its weight says, as a share of these weights: 1 where the map says it right, 0 where nothing moves.
    background_share : float
        Share of the absolute weights that lies outside the head, regions counted by their pixels there; NaN where the
        place of the head is not known.
    background_pixel_share : float
        Share of the pixels that lies outside the head: what a map without preference would have.
    untrained_correlation : float
        Rank correlation with the map of the same network untrained; far from 1 is as it should be. NaN: not asked.
    failures : tuple of str
        In words, each check that failed and why; empty when the map can be shown as it is.
    """

    held_out_r2: float = NAN
    in_sample_r2: float = NAN
    held_out_count: int = 0
    deletion_auc: float = NAN
    insertion_auc: float = NAN
    random_deletion_auc: float = NAN
    random_insertion_auc: float = NAN
    expects_gain: bool = True
    deletion: Curve | None = None
    insertion: Curve | None = None
    random_deletions: tuple[Curve, ...] = ()
    agreement: float = NAN
    top_jaccard: float = NAN
    top_count: int = 0
    photo_share: float = NAN
    background_share: float = NAN
    background_pixel_share: float = NAN
    untrained_correlation: float = NAN
    failures: tuple[str, ...] = ()

    @property
    def is_believable(self) -> bool:
        """Whether every check passed."""
        return not self.failures


@dataclass(frozen=True)
class SecondOpinion:
    """What another method ("Grad-CAM", "occlusion") says of the same regions.

    Weights are sums over each region's pixels, so that only their order is comparable; `rank_correlation` is
    Spearman's, of the signed weights with ours, in [-1, 1].
    """

    method: str
    weights: tuple[float, ...]
    rank_correlation: float


@dataclass(frozen=True)
class TargetMap:
    """The explanation of one target on one photo.

    Attributes
    ----------
    target : Target
    value : float
        The model's answer on the photo as it is.
    intercept : float
        The base value: the surrogate's answer with every region covered. See `parts_sum`.
    regions : tuple of RegionWeight
        One per region, in the order of the region map.
    trust : Trust or None
        None when it was not asked for.
    verdict : str
        One sentence: whether to believe the map, and why not.
    problems : tuple of str
        In words, what is wrong with the model's answers; empty when nothing is.
    covered_value : float
        The model's answer with every region covered; NaN where an earlier version did not keep it.
    finding : str
        One sentence: what a map that can be believed says of where the model looks; empty for any other map.
    """

    target: Target
    value: float
    intercept: float
    regions: tuple[RegionWeight, ...]
    trust: Trust | None
    verdict: str
    second_opinions: tuple[SecondOpinion, ...] = ()
    problems: tuple[str, ...] = ()
    covered_value: float = NAN
    finding: str = ""

    @property
    def is_believable(self) -> bool:
        """Whether no check failed; a map that was not checked is taken at its word."""
        return self.trust is None or self.trust.is_believable

    @property
    def parts_sum(self) -> float:
        """What the map makes of the whole photo: the base value and the weights of all regions."""
        return self.intercept + float(self.weights().sum())

    def strongest(self, count: int = 6) -> tuple[RegionWeight, ...]:
        """Return the regions with the largest absolute weights, largest first."""
        known = [region for region in self.regions if np.isfinite(region.weight)]
        return tuple(sorted(known, key=lambda region: -abs(region.weight))[:count])

    def weights(self) -> NDArray[np.float64]:
        """Return the weights, shape (regions,), in the target's unit."""
        return np.array([region.weight for region in self.regions], dtype=np.float64)

    def intervals(self) -> NDArray[np.float64]:
        """Return the 95 % intervals, shape (regions, 2), in the target's unit."""
        return np.array([(region.low, region.high) for region in self.regions], dtype=np.float64).reshape(-1, 2)


@dataclass(frozen=True)
class FaceExplanation:
    """Everything that is said of one photo.

    Attributes
    ----------
    path : str
        As the caller gave it.
    photo : array, shape (S, S, 3), uint8, RGB
        As the model saw it.
    region_map : array, shape (S, S), int
        Region number of each pixel, 0..K-1 without gaps.
    maps : tuple of TargetMap
        One per target of the model.
    segments, fill : str
        How regions were made and what covers them ("slic", "mean").
    sample_count : int
        Perturbed photos that the maps were fitted to; `evaluation_count` adds those for the trust figures.
    stopped_because : str
        Why sampling ended, in words.
    problems : tuple of str
        In words, what is wrong with the photo; empty when nothing is. What is wrong with answers stands on their map.
    predictions, labels : mapping
        Columns of the predictions and of the faces table, where known (`predicted_age_years`, `age_years`, …).
    reason : str
        Why this photo was chosen ("chosen at random"), empty when it was named by the caller.
    chosen_for : str
        The name of the head whose answer on it was the reason, where one was.
    is_random : bool
        Whether it is of the random sample, whatever else it was chosen for; only such photos may be averaged.
    made_by : str
        A digest of all that the maps depend on, by which a later run knows that they need not be made again; empty
        where that is not known.
    is_hidden : bool
        Faces were hidden when it was stored: the photo is blurred and has lost its name.
    parts : FaceParts or None
        Where the parts of this face are, after which the regions are called; None where that is not known.

    Examples
    --------
    >>> from agegender.heads import AGE
    >>> photo = np.zeros((64, 64, 3), np.uint8)
    >>> region = RegionWeight(0, "nose", 2.0, 1.5, 2.5, 1.0)
    >>> one = TargetMap(*AGE.targets, 31.0, 29.0, (region,), None, "Not checked.")
    >>> figure = FaceExplanation("face.jpg", photo, np.zeros((64, 64), int), (one,)).plot()
    >>> figure.get_axes()[1].get_title().splitlines()
    ['age: 31.0 years', 'blue makes younger', 'red makes older']
    """

    path: str
    photo: NDArray[np.uint8]
    region_map: NDArray[np.int64]
    maps: tuple[TargetMap, ...]
    segments: str = "slic"
    fill: str = "mean"
    seed: int = 0
    sample_count: int = 0
    evaluation_count: int = 0
    stopped_because: str = ""
    problems: tuple[str, ...] = ()
    predictions: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    duration_seconds: float = 0.0
    is_hidden: bool = False
    parts: FaceParts | None = None
    chosen_for: str = ""
    is_random: bool = False
    made_by: str = ""

    @property
    def region_count(self) -> int:
        """The number of regions, K."""
        return int(self.region_map.max()) + 1

    @property
    def all_problems(self) -> tuple[str, ...]:
        """What is wrong with the photo or with the answers on it."""
        return (*self.problems, *(words for one in self.maps for words in one.problems))

    def plot(self) -> Figure:
        """Return a matplotlib figure: the photo beside one map per target."""
        return _figure(self, self.maps)

    def _repr_html_(self) -> str:
        shown = self.maps[:_MOST_SHOWN]
        picture = address_of(_figure(self, shown))
        lines = [*self.problems, *(f"{one.target.name}: {one.verdict}" for one in shown)]
        if len(self.maps) > len(shown):
            lines.append(f"{len(self.maps) - len(shown)} more maps: .plot() shows them all.")
        alternative = f"The photo and a map for each of {', '.join(one.target.name for one in shown)}"
        return f'<img src="{picture}" alt="{escape(alternative)}"><br>' + "<br>".join(escape(line) for line in lines)


def direction(target: Target, value: float) -> float:
    """Return 1 or -1: log-odds are followed towards the predicted class, everything else upwards."""
    return -1.0 if target.is_log_odds and value < 0 else 1.0


def scaled_curves(curves: Sequence[Curve], sign: float) -> list[Curve] | None:
    """Return the curves of one map on a scale from 0 to 1: the lowest and the highest answer on any of them.

    `sign` is the map's `direction`: curves of a class that is predicted against are turned round first. None where an
    answer is not finite or none differs.
    """
    values = sign * np.array([value for curve in curves for value in curve.values])
    if not values.size or not np.isfinite(values).all() or np.ptp(values) == 0:
        return None
    low, span = values.min(), np.ptp(values)
    return [Curve(one.pixel_share, tuple(((sign * np.array(one.values) - low) / span).tolist())) for one in curves]


def to_document(face: FaceExplanation, *, has_curves: bool = False) -> dict[str, Any]:
    """Return one explanation as JSON-able data: everything but its pixels, `heads` holding one entry per target.

    Without the curves it is shorter, and cannot be read back whole.
    """
    plain = {one.name: getattr(face, one.name) for one in fields(face)}
    for name in ("photo", "region_map", "maps", "predictions"):
        del plain[name]
    parts = face.parts and {one.name: getattr(face.parts, one.name) for one in fields(face.parts)}
    if parts:
        del parts["part_map"]
    return {
        **plain,
        "parts": parts,
        **face.predictions,
        "problems": list(face.all_problems),
        "region_count": face.region_count,
        "heads": {one.target.key: _map_document(one, has_curves=has_curves) for one in face.maps},
    }


def without_face(face: FaceExplanation, number: int) -> FaceExplanation:
    """Return an explanation that shows and names nobody: a file's name may be a person's, a digest may tell a photo."""
    if face.is_hidden:
        return face
    return replace(face, photo=hidden(face.photo), path=f"photo {number}", is_hidden=True, made_by="")


def _figure(face: FaceExplanation, maps: Sequence[TargetMap]) -> Figure:
    name = Path(face.path).name or "photo"
    pictures = [(name if len(name) <= _LONGEST_NAME else f"…{name[-_LONGEST_NAME:]}", face.photo)]
    scales = scales_of((one.target, one.weights()) for one in maps)
    for one in maps:
        scale = scales[one.target.key]
        doubt = "" if one.is_believable else "\n(not to be believed)"
        number = f"{one.value:.{scale.digits}f}".replace("-", "−")
        value = f"{number} {one.target.unit}".rstrip()
        title = f"{one.target.name}: {value}{doubt}\n{scale.colour_words}"
        pictures.append((title, weight_picture(face.photo, face.region_map, one.weights(), scale)))
    return figure_of(pictures)


def _map_document(one: TargetMap, *, has_curves: bool) -> dict[str, Any]:
    document = asdict(one)
    target, trust = document.pop("target"), document.pop("trust")
    figures = trust or asdict(Trust())
    curves = {name: figures.pop(name) for name in _CURVES}
    checked = {"has_trust": trust is not None, "is_believable": one.is_believable if one.trust else None}
    return {**target, **document, **checked, **figures} | ({"curves": curves} if has_curves and trust else {})
