"""Owns the options by which a training run is described, their defaults, and which values make sense."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from agegender.errors import UsageError
from agegender.settings import DRAWN_DEFAULTS, OWN_DEFAULTS, PRECISIONS, SIZES, TRAINABLE, TrainingSettings

DEFAULTS = TrainingSettings()
IMAGE_SIZE = OWN_DEFAULTS["image_size"]
DRAWN_IMAGE_SIZE, DRAWN_BATCH_SIZE, DRAWN_EPOCHS = (
    DRAWN_DEFAULTS[name] for name in ("image_size", "batch_size", "epochs")
)


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """Add everything that `train` can be told."""
    _add_data(parser.add_argument_group("data"))
    _add_network(parser.add_argument_group("network"))
    _add_training(parser.add_argument_group("training"))
    _add_output(parser.add_argument_group("output"))


def check_training_options(options: argparse.Namespace) -> None:
    """Refuse values that make no sense.

    Raises
    ------
    UsageError
        One does not.
    """
    least = {"epochs": 1, "batch_size": 2, "image_size": 32, "limit": 1, "seed": 0}
    for name, minimum in least.items():
        value = getattr(options, name)
        if value is not None and value < minimum:
            raise UsageError(f"--{name.replace('_', '-')} {value} is too small; it must be at least {minimum}.")
    for name in ("learning_rate", "age_weight", "gender_weight", "weight_decay"):
        value = getattr(options, name)
        if value is None:
            continue
        if not 0 <= value < float("inf") or (value == 0 and name == "learning_rate"):
            raise UsageError(f"--{name.replace('_', '-')} {value:g} is out of range; it must be above 0.")
    if options.name is not None and not re.fullmatch(r"[\w][\w.-]*", options.name):
        raise UsageError(f"--name {options.name!r} cannot be a folder name; use letters, digits, '.', '_' and '-'.")


def _add_data(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--source", metavar="NAME", help="layout of --data, such as utkface (default: drawn_faces)")
    group.add_argument(
        "--data",
        metavar="FOLDER",
        type=Path,
        action="append",
        default=[],
        help="folder of labelled faces; may be given several times (default: faces drawn here)",
    )
    group.add_argument("--faces", metavar="FILE", type=Path, help="a faces table made by `agegender prepare`")
    group.add_argument(
        "--fold", metavar="K", type=int, help="of a table with folds: test on fold K, validate on the next (default: 0)"
    )
    group.add_argument("--limit", metavar="N", type=int, help="use a random N of the photos")
    group.add_argument(
        "--balance",
        metavar="COLUMN",
        nargs="+",
        default=[],
        help="draw groups of these columns equally often (age_group, gender, ethnicity, …), rare faces again and again",
    )


def _add_network(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--size",
        choices=SIZES,
        default="small",
        help="; ".join(f"{size}: {body}" for size, body in SIZES.items()) + " (default: small)",
    )
    group.add_argument("--body", metavar="NAME", help="a torchvision ResNet or any timm name, instead of --size")
    group.add_argument(
        "--weights",
        metavar="imagenet|none|FILE",
        help="first weights (default: imagenet with --data or --faces, none for drawn faces)",
    )
    group.add_argument(
        "--image-size",
        metavar="PIXELS",
        type=int,
        help=f"side of the square that the network sees (default: {IMAGE_SIZE}, drawn faces {DRAWN_IMAGE_SIZE})",
    )
    group.add_argument(
        "--age-loss",
        choices=("soft-labels", "smooth-l1", "l1", "mse", "huber"),
        help="soft-labels: a distribution over years, whose mean is the age; others: one number (default: soft-labels)",
    )
    group.add_argument(
        "--age-weight",
        metavar="W",
        type=float,
        help="share of the age loss (default: 1 with soft labels, else 4)",
    )
    group.add_argument("--gender-weight", metavar="W", type=float, help="share of the gender loss (default: 1)")


def _add_training(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--epochs",
        metavar="N",
        type=int,
        help=f"rounds over the training photos (default: {DEFAULTS.epochs}, drawn faces {DRAWN_EPOCHS})",
    )
    group.add_argument(
        "--batch-size",
        metavar="N",
        type=int,
        help=f"photos per step (default: {DEFAULTS.batch_size}, drawn faces {DRAWN_BATCH_SIZE})",
    )
    group.add_argument(
        "--learning-rate",
        metavar="R",
        type=float,
        default=DEFAULTS.learning_rate,
        help="peak of the one-cycle schedule (default: %(default)s)",
    )
    group.add_argument(
        "--weight-decay", metavar="R", type=float, default=DEFAULTS.weight_decay, help="of AdamW (default: %(default)s)"
    )
    group.add_argument(
        "--trainable",
        choices=TRAINABLE,
        default="all",
        help="all layers, the body's last block and the heads, or the heads alone (default: all)",
    )
    group.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="auto",
        help="auto: fp16 on CUDA, bf16 on processors that have it, else fp32 (default: auto)",
    )
    group.add_argument("--device", metavar="NAME", default="auto", help="auto, cpu, cuda, cuda:1 (default: auto)")
    group.add_argument("--seed", metavar="N", type=int, default=DEFAULTS.seed, help="(default: %(default)s)")


def _add_output(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--name", help="name of the run (default: size and time); a model of that name is replaced")
    group.add_argument("--models-dir", metavar="FOLDER", type=Path, default=Path("models"), help="(default: models)")
    group.add_argument("--reports-dir", metavar="FOLDER", type=Path, default=Path("reports"), help="(default: reports)")
    group.add_argument(
        "--runs-dir", metavar="FOLDER", type=Path, default=Path("runs"), help="for TensorBoard (default: runs)"
    )
    group.add_argument("--no-report", action="store_true", help="train only")
