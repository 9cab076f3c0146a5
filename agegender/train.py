"""The command `train`: a folder of labelled faces in, a trained model and its reports out."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from agegender.console import Result, command_parser, execute
from agegender.errors import UsageError
from agegender.settings import (
    AGE_LOSSES,
    PRECISIONS,
    SIZES,
    TRAINABLE,
    ImageSettings,
    TrainingSettings,
    age_head,
    gender_head,
)

if TYPE_CHECKING:
    from agegender.stages.training import Plan

IMAGE_SIZE = 128
# Measured: at equal shares the easier gender head takes most of the body, and an age that is one number is learnt late.
# Soft labels ask more of the body, and need no more than their share.
SOFT_LABELS_WEIGHT, ONE_NUMBER_WEIGHT = 1.0, 4.0
# Drawn faces are few and simple: small photos, and small batches so that there are steps enough.
DRAWN_IMAGE_SIZE, DRAWN_BATCH_SIZE, DRAWN_EPOCHS = 96, 32, 15

EPILOG = """\
examples:
  agegender train --size small
      draw 1,200 faces, train on them, and write reports/<name>/index.html
  agegender train --size small --source utkface --data UTKFace --weights none --image-size 96 --epochs 12
  agegender train --faces faces.parquet --body efficientnet_b0

A run writes models/<name>/, reports/<name>/ and runs/<name>/ (tensorboard --logdir runs)."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = command_parser(
        "train", "Train one network with an age and a gender head, then tell the truth about it.", epilog=EPILOG
    )
    defaults = TrainingSettings()
    data = parser.add_argument_group("data")
    data.add_argument("--source", metavar="NAME", help="layout of --data, such as utkface (default: drawn_faces)")
    data.add_argument(
        "--data",
        metavar="FOLDER",
        type=Path,
        action="append",
        default=[],
        help="folder of labelled faces; may be given several times (default: faces drawn here)",
    )
    data.add_argument("--faces", metavar="FILE", type=Path, help="a faces table made by `agegender prepare`")
    data.add_argument(
        "--fold", metavar="K", type=int, help="of a table with folds: test on fold K, validate on the next (default: 0)"
    )
    data.add_argument("--limit", metavar="N", type=int, help="use a random N of the photos")
    data.add_argument(
        "--balance",
        metavar="COLUMN",
        nargs="+",
        default=[],
        help="draw groups of these columns equally often (age_group, gender, ethnicity, …), rare faces again and again",
    )
    network = parser.add_argument_group("network")
    network.add_argument(
        "--size",
        choices=SIZES,
        default="small",
        help="; ".join(f"{size}: {body}" for size, body in SIZES.items()) + " (default: small)",
    )
    network.add_argument("--body", metavar="NAME", help="a torchvision ResNet or any timm name, instead of --size")
    network.add_argument(
        "--weights",
        metavar="imagenet|none|FILE",
        help="first weights (default: imagenet with --data or --faces, none for drawn faces)",
    )
    network.add_argument(
        "--image-size",
        metavar="PIXELS",
        type=int,
        help=f"side of the square that the network sees (default: {IMAGE_SIZE}, drawn faces {DRAWN_IMAGE_SIZE})",
    )
    network.add_argument(
        "--age-loss",
        choices=AGE_LOSSES,
        default=AGE_LOSSES[0],
        help="soft-labels: a distribution over years, whose mean is the age; others: one number (default: %(default)s)",
    )
    network.add_argument(
        "--age-weight",
        metavar="W",
        type=float,
        help=f"share of the age loss (default: {SOFT_LABELS_WEIGHT:g} with soft labels, else {ONE_NUMBER_WEIGHT:g})",
    )
    network.add_argument(
        "--gender-weight", metavar="W", type=float, default=1.0, help="share of the gender loss (default: 1)"
    )
    training = parser.add_argument_group("training")
    training.add_argument(
        "--epochs",
        metavar="N",
        type=int,
        help=f"rounds over the training photos (default: {defaults.epochs}, drawn faces {DRAWN_EPOCHS})",
    )
    training.add_argument(
        "--batch-size",
        metavar="N",
        type=int,
        help=f"photos per step (default: {defaults.batch_size}, drawn faces {DRAWN_BATCH_SIZE})",
    )
    training.add_argument(
        "--learning-rate",
        metavar="R",
        type=float,
        default=defaults.learning_rate,
        help="peak of the one-cycle schedule (default: %(default)s)",
    )
    training.add_argument(
        "--weight-decay", metavar="R", type=float, default=defaults.weight_decay, help="of AdamW (default: %(default)s)"
    )
    training.add_argument(
        "--trainable",
        choices=TRAINABLE,
        default="all",
        help="all layers, the body's last block and the heads, or the heads alone (default: all)",
    )
    training.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="auto",
        help="auto: fp16 on CUDA, bf16 on processors that have it, else fp32 (default: auto)",
    )
    training.add_argument("--device", metavar="NAME", default="auto", help="auto, cpu, cuda, cuda:1 (default: auto)")
    training.add_argument("--seed", metavar="N", type=int, default=defaults.seed, help="(default: %(default)s)")
    output = parser.add_argument_group("output")
    output.add_argument("--name", help="name of the run (default: size and time); a model of that name is replaced")
    add_place_options(output)
    output.add_argument(
        "--runs-dir", metavar="FOLDER", type=Path, default=Path("runs"), help="for TensorBoard (default: runs)"
    )
    output.add_argument("--no-report", action="store_true", help="train only")
    return parser


def add_place_options(group: argparse._ArgumentGroup) -> None:
    """Add --models-dir and --reports-dir, which several commands share."""
    group.add_argument("--models-dir", metavar="FOLDER", type=Path, default=Path("models"), help="(default: models)")
    group.add_argument("--reports-dir", metavar="FOLDER", type=Path, default=Path("reports"), help="(default: reports)")


def run(options: argparse.Namespace) -> Result:
    """Gather, train, report."""
    plan = plan_of(options)
    from agegender.writing import check_writable

    folders = [options.models_dir, options.runs_dir] + ([] if options.no_report else [options.reports_dir])
    for folder in folders:
        check_writable(folder)
    from agegender.stages.gathering import Wanted, gather_faces
    from agegender.stages.reporting import report_model
    from agegender.stages.training import train_model

    wanted = Wanted(options.faces, options.source, options.data, options.limit, options.seed, options.fold)
    faces = gather_faces(wanted)
    model, predictions = train_model(faces, plan, models=options.models_dir, runs=options.runs_dir)
    model_folder = options.models_dir / plan.name
    pages: dict[str, Path] = {}
    if not options.no_report:
        pages = report_model(model, faces, predictions, model_folder, options.reports_dir / plan.name)
    return _result(model_folder, options.runs_dir / plan.name, model.card, pages)


def plan_of(options: argparse.Namespace) -> Plan:
    """Return the checked plan that the options describe.

    Raises
    ------
    UsageError
        A value is out of its range.
    """
    _check(options)
    from agegender.stages.training import Plan

    defaults = TrainingSettings()
    is_drawn = (options.source or "").replace("-", "_") == "drawn_faces"
    has_own_data = (bool(options.data) and not is_drawn) or options.faces is not None
    body = options.body or SIZES[options.size]
    size = "custom" if options.body else options.size
    return Plan(
        name=options.name or f"{re.sub(r'[^A-Za-z0-9_.-]', '-', options.body or size)}-{datetime.now():%Y%m%d-%H%M%S}",
        size=size,
        body=body,
        weights=options.weights or ("imagenet" if has_own_data else "none"),
        heads=(age_head(options.age_loss, _age_weight(options)), gender_head(weight=options.gender_weight)),
        image=ImageSettings(size=options.image_size or (IMAGE_SIZE if has_own_data else DRAWN_IMAGE_SIZE)),
        balance=tuple(options.balance),
        training=TrainingSettings(
            epochs=options.epochs or (defaults.epochs if has_own_data else DRAWN_EPOCHS),
            batch_size=options.batch_size or (defaults.batch_size if has_own_data else DRAWN_BATCH_SIZE),
            learning_rate=options.learning_rate,
            weight_decay=options.weight_decay,
            precision=options.precision,
            device=options.device,
            trainable=options.trainable,
            seed=options.seed,
        ),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    return execute(build_parser(), run, arguments)


def _age_weight(options: argparse.Namespace) -> float:
    if options.age_weight is not None:
        return float(options.age_weight)
    return SOFT_LABELS_WEIGHT if options.age_loss == "soft-labels" else ONE_NUMBER_WEIGHT


def _check(options: argparse.Namespace) -> None:
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


def _result(model: Path, runs: Path, card: dict, pages: dict[str, Path]) -> Result:
    from agegender.stages.summaries import metrics_lines

    document = {
        "model": str(model),
        "runs": str(runs),
        "reports": {name: str(path) for name, path in pages.items()},
        "precision": card["precision"],
        "device": card["device"],
        "best_epoch": card["best_epoch"],
        "metrics": card["metrics"],
        "seconds": card["seconds"],
    }
    lines = [f"model    {model}", f"runs     {runs}", *(f"report   {path}" for path in pages.values())]
    return Result(document, "\n".join([*lines, *metrics_lines(card["metrics"])]))


if __name__ == "__main__":
    raise SystemExit(main())
