"""Owns every setting, frozen, and the few named choices. Imports nothing heavy: `--help` reads its choices here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

# Size -> timm or torchvision body.
SIZES = {
    "tiny": "mobilenetv3_small_100",
    "small": "resnet34",
    "medium": "resnet50",
    "large": "resnet101",
}
# ResNets come from torchvision, so that its ImageNet weights and cache are the ones that fastai users have.
TORCHVISION_BODIES = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
# The first one is the default (docs/decisions/0005).
AGE_LOSSES = ("soft-labels", "smooth-l1", "l1", "mse", "huber")
SPLITS = ("train", "valid", "test")
SPLIT_CHOICES = (*SPLITS, "all")
PRECISIONS = ("auto", "fp32", "fp16", "bf16")
# What is trained: everything, the last block of the body and the heads, or the heads alone (feature extraction).
TRAINABLE = ("all", "last-block", "heads")
GENDER_CLASSES = ("male", "female")

SMALL_GROUP = 30  # photos; below, an accuracy of 93 % is known to ±10 points at best
# What becomes of photos that show the same; the first one is the default.
NEAR_RADIUS_BITS = 5  # of 64
ON_CONFLICT = ("drop", "keep-first", "median")
NEAR_TWINS = ("keep-one", "drop-all")
# Face detectors, and what becomes of a photo in which they find no face, or several.
CROPS = ("none", "haar", "yunet")
WHEN_NO_FACE = ("centre", "skip")
WHEN_SEVERAL_FACES = ("largest", "skip")

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Head:
    """One thing to predict, as data: a further head is one more of these and not a fork.

    Attributes
    ----------
    name : str
        Also the name of its loss (`loss/<name>`).
    column : str
        The column of the faces table that holds its labels.
    kind : str
        "years" (a regression) or "classes".
    classes : tuple of str
        Class names in the order of the logits; empty for years.
    loss : str
        One of `AGE_LOSSES` for years; "cross-entropy" or "focal" for classes.
    weight : float
        Its share in the combined loss.
    """

    name: str
    column: str
    kind: str
    classes: tuple[str, ...] = ()
    loss: str = "cross-entropy"
    weight: float = 1.0


def age_head(loss: str = AGE_LOSSES[0], weight: float = 1.0) -> Head:
    """Return the head that predicts age in years."""
    return Head("age", "age_years", "years", (), loss, weight)


def gender_head(loss: str = "cross-entropy", weight: float = 1.0) -> Head:
    """Return the head that predicts the annotated gender label."""
    return Head("gender", "gender", "classes", GENDER_CLASSES, loss, weight)


@dataclass(frozen=True)
class ImageSettings:
    """How a photo becomes the model's input; stored with the model, so that predict does as training did."""

    size: int = 128  # pixels, square
    crop: str = "none"  # how faces were cropped beforehand: none, or a detector's name
    crop_margin: float = 0.4  # share of the face box added on each side, when cropped
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD


@dataclass(frozen=True)
class AugmentationSettings:
    """Ranges of the random changes that a training photo sees."""

    rotation_degrees: float = 10.0
    zoom: float = 1.15  # largest magnification; 1 / zoom is the smallest
    shift: float = 0.06  # share of the side
    lighting: float = 0.2  # brightness shift and log-contrast, as shares of the range
    flip: bool = True


@dataclass(frozen=True)
class TrainingSettings:
    """How a network is trained."""

    epochs: int = 10
    batch_size: int = 64
    learning_rate: float = 2e-3  # the peak of the one-cycle schedule
    weight_decay: float = 1e-2
    precision: str = "auto"  # one of PRECISIONS
    device: str = "auto"  # auto, cpu, cuda, cuda:1, …
    trainable: str = "all"  # one of TRAINABLE
    seed: int = 7


@dataclass(frozen=True)
class PreparationSettings:
    """How labelled folders become a faces table."""

    near_duplicates: int | None = NEAR_RADIUS_BITS  # bits between the hashes of near twins; None looks for none
    on_conflict: Literal["drop", "keep-first", "median"] = "drop"
    near_twins: Literal["keep-one", "drop-all"] = "keep-one"
    age_classes: Sequence[float] = ()  # rising edges in years; the column `age_class` is made with them
    combine: Sequence[Sequence[str]] = ()  # label columns to be joined to one, as often as wanted
    # "auto" (the official one where every source has it, 70/15/15 otherwise), "official", "none", or three parts.
    split: str | Sequence[float] = "auto"
    folds: int | None = None  # this many grouped stratified folds instead of a split
    seed: int = 7
    limit: int | None = None  # only this many photos, drawn by `seed` before any is opened
    quality: bool = False  # score the quality of every kept photo, before it is cropped
    crop: str = "none"  # one of CROPS
    crop_margin: float = 0.4  # share of the face's longer side, added on every side
    crop_model: Path | None = None  # the file that YuNet needs
    crops: Path | None = None  # the folder that the crops go to
    no_face: Literal["centre", "skip"] = "centre"
    several_faces: Literal["largest", "skip"] = "largest"
    cache: Path | None = None  # where hashes are remembered between runs
