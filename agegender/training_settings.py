"""The settings of a training run, each of which is an option, a keyword, a check and an entry of the card at once.

Imports nothing heavy: `--help` is made of them (docs/decisions/0118-a-setting-is-an-option.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from numbers import Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Self, get_args, get_origin, get_type_hints

from agegender.errors import UsageError, did_you_mean
from agegender.settings import (
    FLIPS,
    LARGEST_IMAGE_SIZE,
    LEAST_FOLDS,
    LEAST_TRAINED_SIZE,
    MOST_FOLDS,
    NORMALISATIONS,
    OWN_DEFAULTS,
    OWN_RANGES,
    POINTS,
    PRECISIONS,
    SCHEDULES,
    STRENGTHS,
    STRONGEST,
    TEACHER_TEMPERATURE,
    TEACHER_WEIGHT,
    TRAINABLE,
    VOTES,
    WEIGH_CAP,
    WEIGHTINGS,
    AugmentationSettings,
    ImageSettings,
    strength_of,
)

KEPT_EPOCHS = ("loss", "last")
# Settings that say something of some schedules alone.
_OF_SCHEDULES = {
    "div_final": ("one-cycle", "cosine"),
    "step_size": ("step",),
    "step_gamma": ("step", "plateau"),
    "plateau_patience": ("plateau",),
}


def parse_phases(text: str) -> list[tuple[int, int]]:
    """Return the phases of a training that begins with small photos: pixels and epochs of each.

    >>> parse_phases("48:6,96:2")
    [(48, 6), (96, 2)]
    """
    phases: list[tuple[int, int]] = []
    for part in text.split(",") if text else []:
        size, colon, epochs = part.strip().partition(":")
        if not (colon and size.isdecimal() and epochs.isdecimal() and int(epochs) > 0):
            raise UsageError(f"--progressive {text}: {part.strip()!r} is no PIXELS:EPOCHS, such as 48:6.")
        if not LEAST_TRAINED_SIZE <= int(size) <= LARGEST_IMAGE_SIZE:
            raise UsageError(f"--progressive {text}: give {LEAST_TRAINED_SIZE} to {LARGEST_IMAGE_SIZE} pixels.")
        phases.append((int(size), int(epochs)))
    return phases


def _check_teacher(place: str) -> None:
    if not Path(place).exists():
        raise UsageError(f"--teacher {place}: there is no such model or table.")


def setting(default: Any, help_text: str, group: str, **limits: Any) -> Any:
    """Return a field that is an option of `train` as well, a keyword of `Model.train`, and an entry of the card.

    `limits` may hold `metavar`, `choices`, what a number must be: `least`, `most` (both allowed) and `above`;
    `check`, which raises for a value that makes no sense; and `usual`, words for a default that is none by itself.
    """
    return field(default=default, metadata={"help": help_text, "group": group, **limits})


@dataclass(frozen=True)
class Stage:
    """A part of a run: what it trains, after how many epochs it begins, and how many it takes."""

    trainable: str
    first_epoch: int
    epochs: int

    @property
    def end(self) -> int:
        """The epoch after its last one."""
        return self.first_epoch + self.epochs


@dataclass(frozen=True)
class TrainingSettings:
    """How a network is trained. A field more is an option more, see `setting`."""

    epochs: int = setting(OWN_DEFAULTS["epochs"], "rounds over the training photos", "training", metavar="N", least=1)
    batch_size: int = setting(OWN_DEFAULTS["batch_size"], "photos per step", "training", metavar="N", least=2)
    learning_rate: float = setting(2e-3, "peak of the schedule", "training", metavar="R", above=0.0)
    weight_decay: float = setting(1e-2, "of the optimiser", "training", metavar="R", least=0.0)
    trainable: str = setting(
        "all", "all layers, the body's last block and the heads, or the heads alone; norms are always "
        "trained, as fastai's freezing leaves them", "training", choices=TRAINABLE,
    )  # fmt: skip
    device: str = setting("auto", "auto, cpu, cuda, cuda:1", "training", metavar="NAME")
    precision: str = setting(
        "auto", "auto: fp16 on CUDA, bf16 on processors that have it, else fp32", "training", choices=PRECISIONS
    )
    seed: int = setting(7, "", "training", metavar="N", least=0)
    track: str | None = setting(
        None,
        "also send each epoch's figures and the numbers among the settings to this service (needs the extra of its "
        "name); never photos, paths, names or labels",
        "tracking",
        choices=("wandb",),
    )
    progressive: str = setting(
        "",
        "smaller photos first, such as 48:6,96:2: six epochs at 48 pixels, two at 96, the others at --image-size",
        "training",
        metavar="PIXELS:EPOCHS,…",
        check=parse_phases,
    )
    augmentation: str = setting(
        "usual",
        f"random changes of training photos: {', '.join(f'{name} ({value:g})' for name, value in STRENGTHS.items())}, "
        f"or a number up to {STRONGEST:g}; above 1 colours, grey photos and hidden parts too",
        "augmentation",
        metavar="STRENGTH",
        check=strength_of,
    )
    flip: str = setting(
        "auto",
        "mirrored photos: random, alternating (each photo every other epoch), none",
        "augmentation",
        choices=("auto", *FLIPS),
        usual="auto: random, or none with --augmentation none",
    )
    wider: float = setting(
        0.0, "a third of the training photos shrink as if cut with up to this share of their side more on each side, "
        "so that photos cut otherwise are known too", "augmentation", metavar="SHARE", least=0.0, most=1.0,
    )  # fmt: skip
    mixup: float = setting(
        0.0, "blend photos in pairs, shares drawn from Beta(A, A); 0 for none", "augmentation", metavar="A", least=0.0
    )
    mirrored: bool = setting(
        False, "answer by the mean over a photo and its mirror image, for twice the time; training stays as it is",
        "augmentation",
    )  # fmt: skip
    point: str = setting(
        "mean", "answer by the mean of a number's learnt distribution, or by its median, whose absolute error is "
        "smaller; training goes by the mean", "augmentation", choices=POINTS,
    )  # fmt: skip
    normalise: str = setting(
        "imagenet", "colours by ImageNet's mean and std, or by the training photos' own", "augmentation",
        choices=NORMALISATIONS,
    )  # fmt: skip

    teacher: str | None = setting(
        None, "also learn what this model (folder, ensemble or .onnx file) or predictions table says of the training "
        "photos, of each head that it has", "teacher", metavar="MODEL", check=_check_teacher,
    )  # fmt: skip
    teacher_weight: float = setting(
        TEACHER_WEIGHT, "share of the teacher's answers where a photo has a label too", "teacher", metavar="SHARE",
        above=0.0, most=1.0,
    )  # fmt: skip
    teacher_temperature: float = setting(
        TEACHER_TEMPERATURE, "of classes: above 1, what the teacher holds for unlikely counts more", "teacher",
        metavar="T", above=0.0, most=20.0,
    )  # fmt: skip
    weighting: str = setting(
        "fixed", "the heads' shares in the loss stay, or are learned with the network as its uncertainty",
        "losses and balance", choices=WEIGHTINGS,
    )  # fmt: skip
    auxiliary: tuple[str, ...] = setting(
        (), "heads, written as for --heads, that help to train, predict nothing and are not stored",
        "losses and balance", metavar="NAME",
    )  # fmt: skip
    weigh: tuple[str, ...] = setting(
        (), "photos of rare groups of these columns count for more in the training loss", "losses and balance",
        metavar="COLUMN",
    )  # fmt: skip
    weigh_cap: float = setting(
        WEIGH_CAP, "most that a photo counts for with --weigh, in photos", "losses and balance", metavar="W", above=1.0
    )
    oversample: tuple[str, ...] = setting(
        (), "as --balance, and a photo that is drawn again in an epoch is changed more strongly", "losses and balance",
        metavar="COLUMN",
    )  # fmt: skip
    relabel: tuple[str, ...] = setting(
        (), "training labels that are learnt as another: age:58-59=60, mask:incorrect=wear", "losses and balance",
        metavar="HEAD:OLD=NEW",
    )  # fmt: skip
    stages: str | None = setting(
        None,
        "parts of one run, in place of --epochs and --trainable: heads:3,all:12",
        "schedule",
        metavar="PART:EPOCHS",
    )
    schedule: str = setting(
        "one-cycle", "how the learning rate goes, in each stage anew", "schedule", choices=SCHEDULES
    )
    layer_rates: float = setting(
        1.0, "how many times as fast the heads learn as the body's first blocks", "schedule", metavar="F", least=1.0
    )
    warmup: float | None = setting(
        None, "part of the steps in which the rate rises", "schedule", metavar="SHARE", least=0.0, most=0.9,
        usual="0.25 with one-cycle, else 0",
    )  # fmt: skip
    div: float = setting(25.0, "the rise begins at the peak divided by this", "schedule", metavar="N", least=1.0)
    div_final: float = setting(
        1e5, "one-cycle and cosine end at the peak divided by this", "schedule", metavar="N", least=1.0
    )
    step_size: int = setting(3, "epochs between the steps of the schedule step", "schedule", metavar="N", least=1)
    step_gamma: float = setting(
        0.1, "what step and plateau multiply the rate by", "schedule", metavar="G", above=0.0, most=1.0
    )
    plateau_patience: int = setting(
        2,
        "epochs without a lower validation loss, after which plateau lowers the rate",
        "schedule",
        metavar="N",
        least=1,
    )
    early_stopping: int | None = setting(
        None, "stop after so many epochs without a lower validation loss", "schedule", metavar="N", least=1
    )
    keep_epoch: str = setting(
        "loss", "the weights of which epoch are kept: of the lowest validation loss, or of the last", "schedule",
        choices=KEPT_EPOCHS,
    )  # fmt: skip

    optimiser: str = setting("adamw", "adamw, or any of timm's: sgd, adamp, sgdp, lamb, adan, lion, …", "optimiser")
    accumulate: int = setting(1, "batches whose gradients make one step", "optimiser", metavar="N", least=1)
    clip: float | None = setting(
        None, "largest norm of the gradients of a step", "optimiser", metavar="NORM", above=0.0
    )
    l1: float = setting(
        0.0, "of the sum of all absolute weights, added to the loss", "optimiser", metavar="R", least=0.0
    )
    dropout: float | None = setting(
        None, "of the heads, half of it before their first layer", "optimiser", metavar="SHARE", least=0.0, most=0.95,
        usual="0.1 for numbers, 0.5 for classes",
    )  # fmt: skip
    ema: float | None = setting(
        None, "validate and store the moving average of the weights, such as 0.999", "optimiser", metavar="DECAY",
        above=0.0, most=0.99999,
    )  # fmt: skip

    def changes(self, own: AugmentationSettings | None = None) -> AugmentationSettings:
        """Return the ranges of the random changes: those of the strength, or somebody's own."""
        ranges = AugmentationSettings.of_strength(strength_of(self.augmentation)) if own is None else own
        told: dict[str, Any] = {"flip": self.flip} if self.flip != "auto" else {}
        return replace(ranges, **told | ({"wider": self.wider} if self.wider else {}))

    def sizes(self, image_size: int) -> list[int]:
        """Return the side of the training photos in each epoch, which ends with `image_size` pixels.

        Raises
        ------
        UsageError
            The phases are longer than the training, or do not end there.
        """
        phases = parse_phases(self.progressive)
        sizes = [size for size, epochs in phases for _ in range(epochs)]
        if len(sizes) < self.epochs:
            sizes += [image_size] * (self.epochs - len(sizes))
        if len(sizes) > self.epochs or sizes[-1] != image_size:
            raise UsageError(
                f"--progressive {self.progressive} does not fit {self.epochs} epochs that end at {image_size} pixels: "
                f"its phases must leave an epoch for them (--epochs, --image-size), or its last one be of that size."
            )
        return sizes

    @classmethod
    def of_keywords(cls, given: Mapping[str, Any], defaults: Mapping[str, Any], *, others: Iterable[str] = ()) -> Self:
        """Return the settings of keywords, those that are None or absent by default; refuse others and wrong values.

        A keyword that there is not may have been meant as one of `others`.

        Raises
        ------
        UsageError
        """
        known = {one.name for one in fields(cls)}
        usual = {name: value for name, value in defaults.items() if name in known}
        told = {}
        for name, value in given.items():
            if name not in known:
                raise UsageError(f"there is no keyword {name!r} in training.{did_you_mean(name, [*known, *others])}")
            if value is not None:
                told[name] = checked(name, value)
        settings = cls(**usual | told)
        if settings.stages is not None:
            stages = settings.parts()
            if given.get("epochs") is not None or settings.trainable != "all":
                raise UsageError(
                    "--stages says itself how long and what is trained: leave --epochs and --trainable out."
                )
            settings = replace(settings, epochs=sum(stage.epochs for stage in stages))
        settings.check_together()
        return settings

    def parts(self) -> list[Stage]:
        """Return the stages of a run: the one of --trainable and --epochs, or those of --stages."""
        if self.stages is None:
            return [Stage(self.trainable, 0, self.epochs)]
        stages: list[Stage] = []
        for text in self.stages.split(","):
            part, _, count = text.strip().partition(":")
            if part not in TRAINABLE or not count.isdecimal() or int(count) < 1:
                raise UsageError(
                    f"--stages {self.stages}: {text.strip()!r} is no PART:EPOCHS, such as heads:3; parts are "
                    f"{', '.join(TRAINABLE)}."
                )
            stages.append(Stage(part, stages[-1].end if stages else 0, int(count)))
        return stages

    def check_together(self) -> None:
        """Refuse settings that contradict each other."""
        usual = {one.name: one.default for one in fields(self)}
        for name, schedules in _OF_SCHEDULES.items():
            if getattr(self, name) != usual[name] and self.schedule not in schedules:
                raise UsageError(
                    f"--{name.replace('_', '-')} says something of the schedule {' and '.join(schedules)}, and this is "
                    f"{self.schedule}. Leave it out, or give --schedule {schedules[0]}."
                )
        rises = self.schedule == "one-cycle" if self.warmup is None else self.warmup > 0
        if self.div != usual["div"] and not rises:
            raise UsageError("--div says where the rise of the rate begins, and nothing rises here: give --warmup.")
        told = (self.teacher_weight, self.teacher_temperature)
        if self.teacher is None and told != (TEACHER_WEIGHT, TEACHER_TEMPERATURE):
            raise UsageError("--teacher-weight and --teacher-temperature say how --teacher is followed: name one.")
        if self.layer_rates != 1 and {stage.trainable for stage in self.parts()} == {"heads"}:
            raise UsageError("--layer-rates compares the body's rates with the heads', and only the heads are trained.")
        if self.weigh_cap != WEIGH_CAP and not self.weigh:
            raise UsageError("--weigh-cap limits the weights of photos: say by which columns they are, with --weigh.")
        if self.oversample and self.augmentation != OWN_RANGES and not strength_of(self.augmentation):
            raise UsageError(
                "--oversample changes repeated photos more strongly, and --augmentation none changes none."
            )
        _check_one_of("--weigh", self.weigh, "--oversample", self.oversample)

    def check_with_balance(self, balance: Sequence[str]) -> None:
        """Refuse settings that contradict the columns of --balance."""
        if balance and self.oversample:
            raise UsageError("--oversample draws as --balance does, with stronger changes: give one of them.")
        _check_one_of("--weigh", self.weigh, "--balance", balance)


def _check_one_of(first: str, columns: Sequence[str], second: str, others: Sequence[str]) -> None:
    both = [name for name in columns if name in others]
    if both:
        raise UsageError(
            f"{first} and {second} would both make up for rare groups of {both[0]}: give it to one of them."
        )


def checked(name: str, value: Any) -> Any:
    """Return a value as the field of `TrainingSettings` holds it: Python's own number, a tuple; refuse what is none.

    >>> checked("epochs", 3.0), checked("weigh", "gender"), checked("weigh", ["gender", "source"])
    (3, ('gender',), ('gender', 'source'))
    """
    kind = get_type_hints(TrainingSettings)[name]
    value = as_kind(f"--{name.replace('_', '-')}", value, kind)
    if value is not None:
        check_limits(name, value, TrainingSettings.__dataclass_fields__[name].metadata)
    return value


def as_kind(what: str, value: Any, kind: Any) -> Any:
    """Return a value as the type says: numpy's numbers as Python's, sequences as tuples, one text as a tuple of one."""
    kinds = get_args(kind) if get_origin(kind) is UnionType else (kind,)
    if value is None and NoneType in kinds:
        return None
    if bool in kinds and isinstance(value, bool):
        return value
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if int in kinds and is_number and value == value and float(value).is_integer():  # noqa: PLR0124
        return int(value)
    if float in kinds and is_number:
        return float(value)
    if str in kinds and isinstance(value, str):
        return value
    if any(get_origin(one) is tuple for one in kinds):
        texts = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Iterable) else (value,)
        if all(isinstance(one, str) for one in texts):
            return tuple(map(str, texts))  # numpy has texts of its own
    wanted = "a whole number" if int in kinds else "a number" if float in kinds else "text" if str in kinds else "names"
    wanted = "True or False" if bool in kinds else wanted
    raise UsageError(f"{what} {value!r}: expected {wanted}.")


def check_limits(name: str, value: Any, limits: Mapping[str, Any]) -> None:
    """Refuse a value outside the limits of its `setting`."""
    option = f"--{name.replace('_', '-')}"
    if "check" in limits:
        limits["check"](value)
    if "choices" in limits and value not in limits["choices"]:
        hint = did_you_mean(str(value), limits["choices"])
        raise UsageError(f"{option} {value}: choose of {', '.join(limits['choices'])}.{hint}")
    for number in value if isinstance(value, (tuple, list)) else [value]:
        if not isinstance(number, (int, float)):
            continue
        if not abs(number) < float("inf") or number <= limits.get("above", -float("inf")):
            raise UsageError(f"{option} {number:g} is out of range; it must be above {limits.get('above', 0):g}.")
        if number < limits.get("least", number):
            raise UsageError(f"{option} {number:g} is too small; it must be at least {limits['least']:g}.")
        if number > limits.get("most", number):
            raise UsageError(f"{option} {number:g} is too large; at most {limits['most']:g}.")


def check_folds_asked(folds: int | None, vote: str) -> None:
    """Refuse a number of folds, or a vote, that there is not."""
    if folds is not None and not LEAST_FOLDS <= folds <= MOST_FOLDS:
        raise UsageError(
            f"--folds {folds}: ask for {LEAST_FOLDS} to {MOST_FOLDS}, one to test, one to choose and calibrate by, and "
            f"the rest to train on."
        )
    if vote not in VOTES:
        raise UsageError(f"--vote {vote}: choose of {', '.join(VOTES)}.{did_you_mean(vote, VOTES)}")
    if folds is None and vote != VOTES[0]:
        raise UsageError(f"--vote {vote} says how the networks of --folds answer as one, and this is one network.")


def check_untracked(track: str | None, option: str) -> None:
    """Refuse to track what leaves no run."""
    if track is not None:
        raise UsageError(f"--track {track} sends the figures of a run, and {option} leaves none: leave it out.")


def as_field(value: Any) -> Any:
    """Return a value as a frozen field holds it: JSON and argparse give lists."""
    return tuple(value) if isinstance(value, list) else value


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
