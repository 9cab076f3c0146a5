"""The command `train`: a folder of labelled faces in, a trained model and its reports out."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agegender.console import Result, command_parser, execute, metrics_lines
from agegender.options import add_training_options, check_training_options, training_keywords

if TYPE_CHECKING:
    from agegender.data.faces_table import FacesTable

EPILOG = """\
examples:
  agegender train --size small
      draw 1,200 faces, train on them, and write reports/<name>/index.html
  agegender train --size small --source utkface --data UTKFace --weights none --image-size 96 --epochs 12
  agegender train --faces faces.parquet --body efficientnet_b0
  agegender train --faces faces.parquet --heads age gender expression mask

A run writes models/<name>/, reports/<name>/ and runs/<name>/ (tensorboard --logdir runs)."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = command_parser(
        "train", "Train one network with a head for each thing to predict, then tell the truth about it.", epilog=EPILOG
    )
    add_training_options(parser)
    return parser


def run(options: argparse.Namespace) -> Result:
    """Gather, train, report."""
    check_training_options(options)
    keywords = training_keywords(options)
    from agegender.writing import check_writable

    folders = [options.models_dir, options.runs_dir] + ([] if options.no_report else [options.reports_dir])
    for folder in folders:
        check_writable(folder)
    from agegender.data.preparing import gather

    if not (options.data or options.faces):
        _check_network(options)  # before faces are drawn
    faces = gather(
        faces=options.faces, source=options.source, folders=options.data, limit=options.limit, seed=options.seed,
        fold=options.fold, images=options.images, check=partial(_check_before_photos, options, keywords),
    )  # fmt: skip
    from agegender.api.model import Model

    model = Model.train(faces, runs_dir=options.runs_dir, **keywords)
    folder = model.save(options.models_dir / model.name)
    pages: dict[str, Path] = {}
    if not options.no_report:
        pages = model.report(options.reports_dir / model.name, hide_faces=options.hide_faces)
    card = model.card
    document = {
        "model": str(folder),
        "runs": str(options.runs_dir / model.name),
        "reports": {name: str(path) for name, path in pages.items()},
        "heads": [head.name for head in model.heads],
        **{name: card[name] for name in ("precision", "device", "best_epoch", "metrics", "seconds")},
    }
    lines = [f"model    {folder}", f"runs     {document['runs']}", *(f"report   {path}" for path in pages.values())]
    return Result(document, "\n".join([*lines, *metrics_lines(card["metrics"], model.heads)]))


def _check_before_photos(options: argparse.Namespace, keywords: dict[str, Any], faces: FacesTable) -> None:
    """Refuse labels, a body or a device that is not there: reading photos takes minutes, loading torch seconds."""
    from agegender.data.balancing import balancing_weights
    from agegender.heads import choose_heads

    rows = faces.kept()
    if not rows.empty:
        choose_heads(keywords["heads"], rows, allows_sensitive=keywords["allows_sensitive"])
        if options.balance:
            balancing_weights(rows, options.balance)
    _check_network(options)


def _check_network(options: argparse.Namespace) -> None:
    from agegender.model.bodies import check_body
    from agegender.model.precision import choose_device, choose_precision

    choose_precision(options.precision, choose_device(options.device))
    if options.body:
        check_body(options.body)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    return execute(build_parser(), run, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
