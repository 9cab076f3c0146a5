"""The command `evaluate`: a model and labelled faces in, a predictions table and metrics out."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agegender.console import Result, command_parser, execute
from agegender.errors import UsageError
from agegender.model_options import add_model_options, chosen_model
from agegender.settings import SPLIT_CHOICES
from agegender.writing import check_writable

if TYPE_CHECKING:
    from agegender.data.faces_table import FacesTable
    from agegender.heads import Head

EPILOG = """\
examples:
  agegender evaluate
      the newest model, on the test split that it was trained with
  agegender evaluate --model models/first --source utkface --data UTKFace --split all --out predictions.parquet"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = command_parser("evaluate", "Predict labelled faces with a model, and measure it.", epilog=EPILOG)
    add_model_options(parser)
    parser.add_argument("--source", metavar="NAME", help="layout of --data, such as utkface")
    parser.add_argument(
        "--data", metavar="FOLDER", type=Path, action="append", default=[], help="folder of labelled faces"
    )
    parser.add_argument(
        "--faces", metavar="FILE", type=Path, help="a faces table (default: the one the model was trained with)"
    )
    parser.add_argument("--limit", metavar="N", type=int, help="use a random N of the photos")
    parser.add_argument(
        "--split",
        choices=SPLIT_CHOICES,
        help="which part to predict (default: test; all for a --data folder, which the model has not split)",
    )
    parser.add_argument(
        "--out", metavar="FILE", type=Path, help="write the predictions table here, Parquet or .csv by its name"
    )
    return parser


def run(options: argparse.Namespace) -> Result:
    """Gather, predict, measure."""
    folder = chosen_model(options)
    if options.out:
        check_writable(options.out.parent)
    from agegender.audit.metrics_document import evaluation_metrics
    from agegender.audit.predictions_table import write_predictions
    from agegender.model.predictor import Predictor

    model = Predictor.load(folder, device=options.device, precision=options.precision)
    split = options.split or ("all" if options.data else "test")
    predictions = model.predict_faces(_faces(options, folder, split), split=split)
    metrics = evaluation_metrics(predictions)
    if options.out:
        write_predictions(predictions, options.out)
    document = {
        "model": str(folder),
        "split": split,
        "photos": len(predictions),
        "out": str(options.out) if options.out else None,
        "metrics": metrics,
    }
    return Result(document, _text(document, model.heads))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    return execute(build_parser(), run, arguments)


def _faces(options: argparse.Namespace, folder: Path, split: str) -> FacesTable:
    from agegender.data.preparing import gather
    from agegender.model.model_folder import FACES_FILE

    if options.source and not options.data:
        raise UsageError(f"--source {options.source} needs --data FOLDER: where are its photos?")
    table = options.faces or (None if options.data else folder / FACES_FILE)
    return gather(faces=table, source=options.source, folders=options.data, limit=options.limit, splits=split != "all")


def _text(document: dict[str, Any], heads: Sequence[Head]) -> str:
    from agegender.api.summaries import metrics_lines

    lines = [f"model {document['model']}, {document['photos']} photos ({document['split']})"]
    return "\n".join([*lines, *metrics_lines(document["metrics"], heads)])


if __name__ == "__main__":
    raise SystemExit(main())
