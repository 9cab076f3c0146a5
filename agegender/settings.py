"""Every setting, frozen, and the few named choices. Imports nothing heavy: `--help` reads its choices here."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from agegender.errors import UsageError, did_you_mean

VERSION = "0.2.0"
# Size -> timm or torchvision body.
SIZES = {
    "tiny": "mobilenetv3_small_100",
    "small": "resnet34",
    "medium": "resnet50",
    "large": "resnet101",
}
# ResNets come from torchvision, so that its ImageNet weights and cache are the ones that fastai users have.
TORCHVISION_BODIES = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
# After the name of one of these, in this order; narrow ones are 18 and 34.
NARROW, SMALL_STEM = "-narrow", "-small-stem"
SPLITS = ("train", "valid", "test")
SPLIT_CHOICES = (*SPLITS, "all")
PRECISIONS = ("auto", "fp32", "fp16", "bf16")
RUNTIMES = ("auto", "torch", "onnx")  # auto: torch for a model folder, onnxruntime for an .onnx file
# What is trained: everything, the last block of the body and the heads, or the heads alone (feature extraction). The
# norms of frozen layers are trained as well, and their running means move, as fastai's freezing leaves them.
TRAINABLE = ("all", "last-block", "heads")
# Where the heads' shares in the loss come from: they stay as they are, or are learned.
WEIGHTINGS = ("fixed", "uncertainty")
POINTS = ("mean", "median")  # of a predicted distribution, which of them is the answer
WEIGH_CAP = 10.0  # photos
TEACHER_WEIGHT, TEACHER_TEMPERATURE = 0.5, 2.0
VOTES = ("soft", "hard")  # how the members of an ensemble answer as one
LEAST_FOLDS, MOST_FOLDS = 3, 20
OUT_OF_FOLD = "out-of-fold"  # the kind of split in which each photo tests the one member that has never seen it
SCHEDULES = ("one-cycle", "cosine", "step", "plateau", "constant")

# What a run takes where nobody says otherwise. Drawn faces are few and simple: small photos, and small batches so that
# there are steps enough.
OWN_DEFAULTS = {"image_size": 128, "epochs": 10, "batch_size": 64}
DRAWN_DEFAULTS = {"image_size": 64, "epochs": 9, "batch_size": 32}

LEAST_TRAINED_SIZE = 32  # pixels
SMALLEST_IMAGE_SIZE, LARGEST_IMAGE_SIZE = 8, 2048  # pixels; a card that asks for more would ask for all memory
# What results take on the disk, with room to spare: long work is refused where that is not free.
REPORT_BYTES = 20_000_000  # the pages and explanations of the usual faces
BYTES_PER_ROW = 2_000  # a photo in the faces and the predictions table

# What an age check asks: `18:25` whether somebody is 18, and lets in who is judged 25; `13-16` whether of these ages.
AGE_CHECKS = ("18:25", "13-16")
AGE_CHECK_RATE = 0.05  # at most such a share of people just under a legal age is to be let through

SMALL_GROUP = 30  # photos; below, an accuracy of 93 % is known to ±10 points at best
# What can be wrong with a photo by its pixels; `photos.quality` scores them.
QUALITY_CHECKS = (
    "blurry",
    "blurry_fft",
    "dark",
    "bright",
    "low_contrast",
    "tiny",
    "odd_aspect",
    "no_face",
    "brisque",
)
# What becomes of photos that show the same; the first one is the default.
NEAR_RADIUS_BITS = 5  # of 64
ON_CONFLICT = ("drop", "keep-first", "median")
NEAR_TWINS = ("keep-one", "drop-all")
# Face detectors, and what becomes of a photo in which they find no face, or several.
CROPS = ("none", "haar", "haar-again", "yunet")
LARGEST_MARGIN = 3.0  # of a face's longer side
# What a detector may find in a face; right and left are the person's own.
LANDMARKS = ("right_eye", "left_eye", "nose", "right_mouth_corner", "left_mouth_corner")
WHEN_NO_FACE = ("centre", "skip")
WHEN_SEVERAL_FACES = ("largest", "skip")
FACES_IN_PHOTO = ("largest", "all")  # which of them are predicted

# Strengths of augmentation by their names; any number between is one too.
STRENGTHS = {"none": 0.0, "light": 0.5, "usual": 1.0, "strong": 2.0}
STRONGEST = 3.0
OWN_RANGES = "own"  # in the place of a strength, where Python gave the ranges themselves
FLIPS = ("random", "alternating", "none")
NORMALISATIONS = ("imagenet", "own")

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


# Fields of `ImageSettings` that say how faces were cut out of their photos beforehand.
CROP_SETTINGS = ("crop", "crop_margin", "crop_margins", "crop_then", "crop_smallest", "crop_aligned")


@dataclass(frozen=True)
class ImageSettings:
    """How a photo becomes the model's input; stored with the model, so that predict does as training did."""

    size: int = OWN_DEFAULTS["image_size"]  # pixels, square
    crop: str = "none"  # how faces were cropped beforehand: none, or a detector's name
    crop_margin: float = 0.4  # share of the face box added on each side, when cropped
    crop_margins: tuple[float, float, float] | None = None  # above, below and beside, where they differ
    crop_then: str = "none"  # the detector that was asked where the first found nothing
    crop_smallest: float = 0.0  # pixels of the least face, or below 1 its share of the photo's shorter side
    crop_aligned: bool = False  # whether faces were turned until their eyes lay level
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    mirrored: bool = False  # whether the network answers by the mean over a photo and its mirror image


@dataclass(frozen=True)
class AugmentationSettings:
    """Ranges of the random changes that a training photo sees."""

    rotation_degrees: float = 10.0
    zoom: float = 1.15  # largest magnification; 1 / zoom is the smallest
    shift: float = 0.06  # share of the side
    lighting: float = 0.2  # brightness shift and log-contrast, as shares of the range
    flip: str = "random"  # of FLIPS; True and False of older cards are "random" and "none"
    saturation: float = 0.0  # 0.3: colours from 0.7 to 1.3 of what they are
    hue_degrees: float = 0.0  # by how much colours turn, either way
    grey: float = 0.0  # share of the photos that lose their colours
    erasing: float = 0.0  # share of the photos in which a rectangle is painted over
    wider: float = 0.0  # a third of the photos get up to this share of their side added on each, as if cut wider

    def __post_init__(self) -> None:
        """Take the flip of older cards; refuse what no photo can be changed by."""
        if isinstance(self.flip, bool):
            object.__setattr__(self, "flip", "random" if self.flip else "none")
        if self.flip not in FLIPS:
            raise UsageError(f"flip={self.flip!r}: choose of {', '.join(FLIPS)}.")
        shares = ("shift", "lighting", "saturation", "grey", "erasing", "wider")
        limits = {"rotation_degrees": (0, 180), "zoom": (1, 4), "hue_degrees": (0, 180)} | dict.fromkeys(shares, (0, 1))
        for name, (least, most) in limits.items():
            value = getattr(self, name)
            is_light_out = name == "lighting" and value >= 1  # black and white alone would be left
            if not isinstance(value, (int, float)) or not least <= value <= most or is_light_out:
                raise UsageError(f"augmentation: {name}={value!r} is out of range; it goes from {least} to {most}.")

    @classmethod
    def of_strength(cls, strength: float) -> Self:
        """Return the ranges of a strength: 1 is usual; above it colours, grey photos and hidden parts come in."""
        beyond = max(0.0, strength - 1)
        usual = cls()
        return cls(
            rotation_degrees=usual.rotation_degrees * strength,
            zoom=usual.zoom**strength,
            shift=usual.shift * strength,
            lighting=usual.lighting * strength,
            flip="random" if strength else "none",
            saturation=0.3 * beyond,
            hue_degrees=10.0 * beyond,
            grey=0.1 * beyond,
            erasing=0.25 * beyond,
        )


def strength_of(name: str) -> float:
    """Return the strength of augmentation that a name or a number stands for.

    >>> strength_of("light"), strength_of("1.5")
    (0.5, 1.5)
    """
    with suppress(ValueError):
        strength = STRENGTHS.get(name)
        strength = float(name) if strength is None else strength
        if 0 <= strength <= STRONGEST:
            return strength
    hint = did_you_mean(name, STRENGTHS)
    raise UsageError(
        f"--augmentation {name}: choose of {', '.join(STRENGTHS)}, or a number from 0 to {STRONGEST:g}.{hint}"
    )


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
    corrections: Path | None = None  # what people found about labels, taken in before anything else
    seed: int = 7
    limit: int | None = None  # only this many photos, drawn by `seed` before any is opened
    quality: bool = False  # score the quality of every kept photo, before it is cropped
    leave_out: Sequence[str] = ()  # of QUALITY_CHECKS: kept photos that these suspect are left out; scores them first
    crop: str = "none"  # one of CROPS
    crop_margin: float = 0.4  # share of the face's longer side, added on every side
    crop_margins: tuple[float, float, float] | None = None  # above, below and beside, instead
    crop_then: str = "none"  # a second detector, for photos in which the first finds nothing
    smallest_face: float = 0.0  # pixels, or below 1 a share of the photo's shorter side; smaller ones are passed over
    align: bool = False  # turn faces until their eyes lie level, where the detector tells where they are
    crop_model: Path | None = None  # the file that YuNet needs
    crops: Path | None = None  # the folder that the crops go to
    no_face: Literal["centre", "skip"] = "centre"
    several_faces: Literal["largest", "skip"] = "largest"
    cache: Path | None = None  # where hashes are remembered between runs


def has_imagenet_weights(body: str) -> bool:
    """Return whether somebody may have trained a body of this name on ImageNet."""
    return not body.endswith((NARROW, SMALL_STEM))
