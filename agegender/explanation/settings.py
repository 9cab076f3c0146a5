"""Owns the choices of an explanation, frozen and checked."""

from __future__ import annotations

from dataclasses import dataclass

from agegender.errors import UsageError
from agegender.explanation.superpixels import FILLS, SEGMENTS

SAMPLINGS = ("antithetic", "stock")


@dataclass(frozen=True)
class LimeSettings:
    """How photos are explained.

    Attributes
    ----------
    samples : int or "auto"
        Perturbed photos to fit to; "auto" goes on until the strongest regions no longer change.
    segments, region_count, fill
        See `superpixels.find_regions` and `superpixels.cover`.
    sampling : str
        "antithetic", or "stock": the rows, kernel and ridge of `lime.lime_image`, for measuring agreement.
    has_trust : bool
        Whether to spend further evaluations, about 140 a photo, on the trust figures.
    device : str
        Where perturbed photos are composed: the model's device.
    batch_size : int
        Perturbed photos per call of the model; 0 chooses by the device.

    Raises
    ------
    UsageError
        A choice that does not exist.
    """

    samples: int | str = "auto"
    segments: str = "slic"
    region_count: int = 30
    fill: str = "mean"
    seed: int = 0
    sampling: str = "antithetic"
    has_trust: bool = True
    device: str = "cpu"
    batch_size: int = 0

    def __post_init__(self) -> None:
        _check_choice("regions", self.segments, SEGMENTS)
        _check_choice("fill", self.fill, FILLS)
        _check_choice("sampling", self.sampling, SAMPLINGS)
        if self.samples != "auto" and (not isinstance(self.samples, int) or self.samples < 4):
            raise UsageError(f"{self.samples!r} is no number of samples: expected auto, or a number from 4.")

    @property
    def photos_per_call(self) -> int:
        """Return how many perturbed photos the model gets at once: what fits a CPU's cache, or fills a GPU."""
        return self.batch_size or (64 if self.device.startswith("cpu") else 512)


def _check_choice(what: str, given: str, choices: tuple[str, ...]) -> None:
    if given not in choices:
        raise UsageError(f"{what}: {given!r} is none of {', '.join(choices)}.")
