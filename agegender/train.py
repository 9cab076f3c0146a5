"""The command `train`: a folder of labelled faces in, a trained model and its reports out."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from agegender.console import Result, command_parser, execute, metrics_lines
from agegender.options import add_training_options, check_training_options, training_keywords

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
    from agegender.api.model import Model
    from agegender.data.preparing import gather

    faces = gather(
        faces=options.faces, source=options.source, folders=options.data, limit=options.limit, seed=options.seed,
        fold=options.fold,
    )  # fmt: skip
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    return execute(build_parser(), run, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
