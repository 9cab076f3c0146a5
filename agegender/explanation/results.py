"""Owns what an explanation says, as frozen data: numpy only, no torch, no lime, no drawing.

The explainer fills these, pages and JSON read them. All weights are in the unit of their output (years, log-odds): the
change of the output, averaged over what else is visible, when a region goes from covered to visible.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

NAN = float("nan")


@dataclass(frozen=True)
class Output:
    """One number that the model gives for a photo.

    Attributes
    ----------
    name : str
        For people: "age", "gender (female)". What stands in brackets says which way is up.
    unit : str
        "years", "log-odds".
    """

    name: str
    unit: str

    @property
    def key(self) -> str:
        """Return the name without its bracket, as JSON uses it.

        >>> Output("gender (female)", "log-odds").key
        'gender'
        """
        return self.name.split(" (")[0]


AGE = Output("age", "years")
GENDER = Output("gender (female)", "log-odds")
AGE_AND_GENDER = (AGE, GENDER)


@dataclass(frozen=True)
class RegionWeight:
    """What one region of the photo does to one output.

    Attributes
    ----------
    region : int
        Its number in the region map, 0..K-1.
    name : str or None
        Part of the face, exact on the face grid; for other superpixels the part that holds most of its pixels,
        numbered where there are several ("nose 2").
    weight, low, high : float
        Unit of the output; `low` and `high` end the 95 % interval (NaN where the samples are too few for one).
    pixel_share : float
        Share of the photo's pixels, in (0, 1].
    """

    region: int
    name: str | None
    weight: float
    low: float
    high: float
    pixel_share: float

    @property
    def is_clear(self) -> bool:
        """Return whether the interval leaves out zero."""
        return bool(self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class Curve:
    """The output along an order of covering (deletion) or uncovering (insertion) regions.

    Attributes
    ----------
    pixel_share : tuple of float
        Share of the pixels covered (deletion) or uncovered (insertion) so far, from 0 to 1.
    values : tuple of float
        The output there, in its unit.
    """

    pixel_share: tuple[float, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class Trust:
    """How far one map can be believed; NaN where a figure could not be had.

    Attributes
    ----------
    held_out_r2 : float
        Share of the output's variance over fresh perturbations, never fitted to, that the map predicts; at most 1.
    in_sample_r2 : float
        The same over the fitted ones, which flatters; shown only to show by how much.
    deletion_auc, insertion_auc : float
        Mean height of the curve, 0 at the lowest and 1 at the highest output on any of the curves. Deletion covers
        what speaks most for the output first and should be low; insertion shows it first and should be high.
    random_deletion_auc, random_insertion_auc : float
        Means of the same over random orders.
    top_jaccard : float
        Overlap of the strongest regions between independent halves of the samples: shared / all, 1 is the same set.
    background_share : float
        Share of the absolute weights that lies outside the head, regions counted by their pixels there.
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
    deletion: Curve | None = None
    insertion: Curve | None = None
    random_deletions: tuple[Curve, ...] = ()
    top_jaccard: float = NAN
    top_count: int = 0
    background_share: float = NAN
    background_pixel_share: float = NAN
    untrained_correlation: float = NAN
    failures: tuple[str, ...] = ()

    @property
    def is_believable(self) -> bool:
        """Return whether every check passed."""
        return not self.failures

    @property
    def deletion_beats_random(self) -> bool:
        """Return whether covering by the map's order lowers the output more than random orders do on average."""
        return bool(self.deletion_auc < self.random_deletion_auc)


@dataclass(frozen=True)
class SecondOpinion:
    """What another method says of the same regions.

    Attributes
    ----------
    method : str
        "Grad-CAM", "occlusion".
    weights : tuple of float
        One per region, the sum over its pixels; only their order is comparable between methods.
    rank_correlation : float
        Spearman's, of the signed weights with ours, in [-1, 1].
    """

    method: str
    weights: tuple[float, ...]
    rank_correlation: float


@dataclass(frozen=True)
class OutputMap:
    """The explanation of one output on one photo.

    Attributes
    ----------
    output : Output
    value : float
        The output on the photo as it is.
    intercept : float
        The surrogate's output with every region covered: intercept + sum of weights is its value for the whole photo.
    regions : tuple of RegionWeight
        One per region, in the order of the region map.
    trust : Trust or None
        None when it was not asked for.
    verdict : str
        One sentence: whether to believe the map, and why not.
    """

    output: Output
    value: float
    intercept: float
    regions: tuple[RegionWeight, ...]
    trust: Trust | None
    verdict: str
    second_opinions: tuple[SecondOpinion, ...] = ()

    def strongest(self, count: int = 6) -> tuple[RegionWeight, ...]:
        """Return the regions with the largest absolute weights, largest first."""
        known = [region for region in self.regions if np.isfinite(region.weight)]
        return tuple(sorted(known, key=lambda region: -abs(region.weight))[:count])

    def weights(self) -> NDArray[np.float64]:
        """Return the weights, shape (regions,), in the output's unit."""
        return np.array([region.weight for region in self.regions], dtype=np.float64)

    def intervals(self) -> NDArray[np.float64]:
        """Return the 95 % intervals, shape (regions, 2), in the output's unit."""
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
    region_names : tuple of str or None
        One per region; see `RegionWeight.name`.
    outputs : tuple of OutputMap
    segments, fill : str
        How regions were made and what covers them ("slic", "mean").
    sample_count : int
        Perturbed photos that the maps were fitted to; `evaluation_count` adds those for the trust figures.
    stopped_because : str
        Why sampling ended, in words.
    problems : tuple of str
        In words, what is wrong with the photo or the model's answers on it; empty when nothing is.
    predictions, labels : mapping
        Columns of the predictions and of the faces table, where known (`predicted_age_years`, `age_years`, …).
    reason : str
        Why this photo was chosen ("worst over-estimate"), empty when it was named by the caller.
    """

    path: str
    photo: NDArray[np.uint8]
    region_map: NDArray[np.int64]
    region_names: tuple[str, ...] | None
    outputs: tuple[OutputMap, ...]
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

    @property
    def region_count(self) -> int:
        """Return the number of regions, K."""
        return int(self.region_map.max()) + 1

    def weight_map(self, output_index: int = 0) -> NDArray[np.float64]:
        """Return the weights painted on the pixels, shape (S, S), in the output's unit."""
        return self.outputs[output_index].weights()[self.region_map]
