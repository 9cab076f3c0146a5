"""Every setting, frozen, and the few named choices. Imports nothing heavy: `--help` reads its choices here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

VERSION = "0.1.0"
# Size -> timm or torchvision body.
SIZES = {
    "tiny": "mobilenetv3_small_100",
    "small": "resnet34",
    "medium": "resnet50",
    "large": "resnet101",
}
# ResNets come from torchvision, so that its ImageNet weights and cache are the ones that fastai users have.
TORCHVISION_BODIES = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
SPLITS = ("train", "valid", "test")
SPLIT_CHOICES = (*SPLITS, "all")
PRECISIONS = ("auto", "fp32", "fp16", "bf16")
# What is trained: everything, the last block of the body and the heads, or the heads alone (feature extraction).
TRAINABLE = ("all", "last-block", "heads")

# What a run takes where nobody says otherwise. Drawn faces are few and simple: small photos, and small batches so that
# there are steps enough.
OWN_DEFAULTS = {"image_size": 128, "epochs": 10, "batch_size": 64}
DRAWN_DEFAULTS = {"image_size": 64, "epochs": 9, "batch_size": 32}

SMALLEST_IMAGE_SIZE, LARGEST_IMAGE_SIZE = 8, 2048  # pixels; a card that asks for more would ask for all memory
# What results take on the disk, with room to spare: long work is refused where that is not free.
REPORT_BYTES = 20_000_000  # the pages and explanations of the usual faces
BYTES_PER_ROW = 2_000  # a photo in the faces and the predictions table

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
class ImageSettings:
    """How a photo becomes the model's input; stored with the model, so that predict does as training did."""

    size: int = OWN_DEFAULTS["image_size"]  # pixels, square
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

    epochs: int = OWN_DEFAULTS["epochs"]
    batch_size: int = OWN_DEFAULTS["batch_size"]
    learning_rate: float = 2e-3  # the peak of the one-cycle schedule
    weight_decay: float = 1e-2
    precision: str = "auto"  # one of PRECISIONS
    device: str = "auto"  # auto, cpu, cuda, cuda:1, …
    trainable: str = "all"  # one of TRAINABLE
    seed: int = 7


@dataclass(frozen=True)
class Plan:
    """Everything that decides what a training run makes, apart from the faces."""

    name: str
    body: str
    size: str = "custom"  # of SIZES, where the body is one of these
    weights: str = "none"  # none, imagenet, a weights file, or a model folder to go on from
    heads: tuple[str, ...] | None = None  # as `choose_heads` takes them; by default those of age and gender with labels
    losses: Mapping[str, str] = field(default_factory=dict)  # head name -> loss, where it isn't the head's own
    head_weights: Mapping[str, float] = field(default_factory=dict)  # head name -> share in the loss
    allows_sensitive: bool = False
    image: ImageSettings = field(default_factory=ImageSettings)
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    balance: tuple[str, ...] = ()  # columns whose groups are drawn equally often


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
