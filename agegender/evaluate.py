"""The command `evaluate`: a model and labelled faces in, a predictions table and metrics out."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agegender.console import Result, command_parser, execute, metrics_lines
from agegender.errors import UsageError
from agegender.options import (
    add_age_bands_option,
    add_age_check_options,
    add_device_options,
    add_faces_options,
    add_model_option,
    add_split_option,
    age_check_keywords,
    check_device,
    check_faces_options,
    source_options,
)

if TYPE_CHECKING:
    from agegender.data.faces_table import FacesTable

EPILOG = """\
examples:
  agegender evaluate
      the newest model, on the test split that it was trained with
  agegender evaluate --model models/first --source utkface --data UTKFace --out predictions.parquet"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = command_parser("evaluate", "Predict labelled faces with a model, and measure it.", epilog=EPILOG)
    add_model_option(parser, takes_exported=True)
    add_device_options(parser)
    add_faces_options(
        parser, faces=" (default: the one the model was trained with)", data="", source=" (default: recognised)"
    )
    add_split_option(
        parser,
        "which part to predict (default: test; all of a --data folder, which the model has never seen and which is not "
        "split)",
        default=None,
    )
    add_age_check_options(parser)
    add_age_bands_option(parser)
    parser.add_argument(
        "--out", metavar="FILE", type=Path, help="write the predictions table here, Parquet or .csv by its name"
    )
    return parser


def run(options: argparse.Namespace) -> Result:
    """Gather, predict, measure."""
    if options.source and not options.data:
        raise UsageError(f"--source {options.source} needs --data FOLDER: where are its photos?")
    if options.data and options.split not in (None, "all"):
        raise UsageError(
            f"--split {options.split}: a --data folder is new to the model and has no splits; leave --split out."
        )
    check_faces_options(options)
    from agegender.heads.age_bands import checked_edges

    age_bands = checked_edges(options.age_bands)
    check_device(options.device)
    checks = age_check_keywords(options)
    from agegender.model.model_folder import chosen_model_or_export
    from agegender.writing import check_writable

    folder = chosen_model_or_export(options.model, options.models_dir)
    if options.out:
        check_writable(options.out.parent)
    from agegender.api.model import Model
    from agegender.audit.age_checks import checks_of
    from agegender.audit.challenge_ages import checks_document, chosen_age
    from agegender.audit.metrics_document import evaluation_metrics, split_age_checks
    from agegender.audit.predictions_table import write_predictions

    model = Model.load(folder, device=options.device, precision=options.precision)
    split = options.split or ("all" if options.data else "test")
    predictions = model.predict(_faces(options, folder), split=split)
    metrics = evaluation_metrics(predictions, model.heads, age_bands=age_bands)
    checked = split_age_checks(predictions, model.heads, checks_of(checks["age_checks"]))
    if options.out:
        write_predictions(predictions, options.out, model.heads)
    document = {
        "model": str(folder),
        "split": split,
        "photos": len(predictions),
        "out": str(options.out) if options.out else None,
        "metrics": metrics,
        "age_checks": {
            name: checks_document(results, [chosen_age(one, options.age_check_rate) for one in results])
            for name, results in checked.items()
        },
    }
    said = f"model {document['model']}, {document['photos']} photos ({document['split']})"
    words = [f"{name}: {words}" for name, results in checked.items() for one in results for words in one.sentences]
    return Result(document, "\n".join([said, *metrics_lines(metrics, model.heads), *words]))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    return execute(build_parser(), run, arguments)


def _faces(options: argparse.Namespace, folder: Path) -> FacesTable:
    from agegender.data.preparing import gather
    from agegender.model.model_folder import FACES_FILE, is_exported

    if is_exported(folder) and not (options.faces or options.data):
        raise UsageError(f"{folder} is an exported model, which knows no faces of its own: name some with --faces.")
    table = options.faces or (None if options.data else folder / FACES_FILE)
    return gather(
        faces=table, source=options.source, folders=options.data, options=source_options(options),
        images=options.images, limit=options.limit,
        splits=not options.data,
    )  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
