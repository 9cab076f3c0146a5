"""The command `train`: a folder of labelled faces in, a trained model and its reports out."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from agegender.console import Result, command_parser, execute
from agegender.settings import SIZES, ImageSettings, Plan, TrainingSettings
from agegender.training_options import (
    DRAWN_BATCH_SIZE,
    DRAWN_EPOCHS,
    DRAWN_IMAGE_SIZE,
    IMAGE_SIZE,
    add_training_options,
    check_training_options,
)

if TYPE_CHECKING:
    from agegender.model.predictor import Predictor

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
    add_training_options(parser)
    return parser


def run(options: argparse.Namespace) -> Result:
    """Gather, train, report."""
    plan = plan_of(options)
    from agegender.writing import check_writable

    folders = [options.models_dir, options.runs_dir] + ([] if options.no_report else [options.reports_dir])
    for folder in folders:
        check_writable(folder)
    from agegender.api.reporting import report_model
    from agegender.data.preparing import gather
    from agegender.model.training import store_trained, train_network

    faces = gather(
        faces=options.faces,
        source=options.source,
        folders=options.data,
        limit=options.limit,
        seed=options.seed,
        fold=options.fold,
    )
    trained = train_network(faces, plan, run_folder=options.runs_dir / plan.name)
    model_folder = options.models_dir / plan.name
    store_trained(trained, faces, model_folder)
    model = trained.predictor
    pages: dict[str, Path] = {}
    if not options.no_report:
        pages = report_model(model, faces, trained.predictions, model_folder, options.reports_dir / plan.name)
    return _result(model_folder, options.runs_dir / plan.name, model, pages)


def plan_of(options: argparse.Namespace) -> Plan:
    """Return the checked plan that the options describe.

    Raises
    ------
    UsageError
        A value is out of its range.
    """
    check_training_options(options)
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
        losses={"age": options.age_loss} if options.age_loss else {},
        head_weights={
            name: value
            for name, value in (("age", options.age_weight), ("gender", options.gender_weight))
            if value is not None
        },
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


def _result(folder: Path, runs: Path, model: Predictor, pages: dict[str, Path]) -> Result:
    from agegender.api.summaries import metrics_lines

    card = model.card

    document = {
        "model": str(folder),
        "runs": str(runs),
        "reports": {name: str(path) for name, path in pages.items()},
        "precision": card["precision"],
        "device": card["device"],
        "best_epoch": card["best_epoch"],
        "metrics": card["metrics"],
        "seconds": card["seconds"],
    }
    lines = [f"model    {folder}", f"runs     {runs}", *(f"report   {path}" for path in pages.values())]
    return Result(document, "\n".join([*lines, *metrics_lines(card["metrics"], model.heads)]))


if __name__ == "__main__":
    raise SystemExit(main())
