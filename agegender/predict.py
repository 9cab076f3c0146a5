"""The command `predict`: photos in, what each head says of them out."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agegender.console import Result, command_parser, execute
from agegender.errors import PhotoError, UsageError
from agegender.options import (
    add_device_options,
    add_model_option,
    add_runtime_option,
    check_device,
    check_photos,
    pairs_of,
)

EPILOG = """\
examples:
  agegender predict photo.jpg
  agegender predict --model models/first holidays/ --out predictions.csv
  agegender predict --model models/first/model.onnx photo.jpg
  agegender predict photo.jpg --check age=25
      whether it is somebody under 25 years, where 95 % can be had for the answer
  agegender predict --model models/masks eval/images --answers answers.csv=eval/info.csv

A photo should show one face as the model's training photos did. A photo that cannot be read is reported and does not
stop the others. An .onnx file written by `agegender export` predicts as its model does, and sooner. The gender is a
guess at how an annotator would label the person, no fact about them."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = command_parser("predict", "Predict what a model's heads say of one photo, or of many.", epilog=EPILOG)
    parser.add_argument("photos", metavar="PHOTO", nargs="+", type=Path, help="a photo, or a folder of photos")
    add_model_option(parser, takes_exported=True, is_shipped_usual=True)
    add_device_options(parser)
    add_runtime_option(parser)
    parser.add_argument(
        "--cropped",
        action="store_true",
        help="the photos are faces already cut out (matters to models trained on crops)",
    )
    parser.add_argument(
        "--crop-model",
        metavar="FILE",
        type=Path,
        help="face_detection_yunet_*.onnx, for a model whose crops YuNet made",
    )
    parser.add_argument(
        "--out", metavar="FILE", type=Path, help="also write a predictions table, Parquet or .csv by its name"
    )
    parser.add_argument(
        "--check",
        metavar="HEAD=LIMIT",
        action="append",
        default=[],
        help="say of numbers whether they are under a limit, each answer with 95 %%: age=25",
    )
    parser.add_argument(
        "--answers",
        metavar="OUT=INFO",
        help="fill the mask competition's INFO (info.csv) with the classes of its photos, and write it as OUT",
    )
    return parser


def run(options: argparse.Namespace) -> Result:
    """Load the model, predict every photo."""
    check_photos(options.photos)
    check_device(options.device)
    checks = _checks(options.check)
    answers, _, info = (options.answers or "").partition("=")
    if options.answers and not (answers and info):
        raise UsageError(f"--answers {options.answers!r} is no OUT=INFO, such as answers.csv=eval/info.csv.")
    from agegender.model.model_folder import chosen_model_or_export
    from agegender.writing import check_writable

    folder = chosen_model_or_export(options.model, options.models_dir)
    if options.out:
        check_writable(options.out.parent)
    from agegender.api.model import Model
    from agegender.audit.predictions_table import write_predictions
    from agegender.heads import limits_to_check
    from agegender.model.shipped import warn_of_drawn

    model = Model.load(
        folder, device=options.device, precision=options.precision, runtime=options.runtime,
        detector_file=options.crop_model,
    )  # fmt: skip
    warn_of_drawn(model.card, folder)
    table = model.predict(options.photos, is_cropped=options.cropped, checks=checks)
    is_read = table["problem"].isna()
    if not is_read.any():
        raise PhotoError(f"no photo could be read. {table['problem'].iloc[0]}")
    if options.out:
        write_predictions(table[is_read].drop(columns="problem"), options.out, model.heads)
    if answers:
        from agegender.data.sources.masked_faces import write_answers

        write_answers(table[is_read], Path(info), Path(answers))
    limits = limits_to_check(checks, model.heads)
    document = [_entry(row) for row in table.to_dict("records")]
    return Result(document, "\n".join(_line(entry, model, limits) for entry in document))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    return execute(build_parser(), run, arguments)


def _entry(row: dict[Any, Any]) -> dict[str, Any]:
    if isinstance(row["problem"], str):
        return {"path": row["path"], "error": row["problem"]}
    return {str(name): value for name, value in row.items() if name != "problem"}


def _checks(texts: Sequence[str]) -> dict[str, float]:
    try:
        return {head: float(limit) for head, limit in pairs_of(texts, "--check", "HEAD=LIMIT, such as age=25").items()}
    except ValueError as error:
        raise UsageError(f"--check {' '.join(texts)}: {error}; give numbers, such as age=25.") from None


def _line(entry: dict[str, Any], model: Any, limits: Sequence[tuple[Any, float]]) -> str:
    if "error" in entry:
        return f"{entry['path']}: {entry['error']}"
    said = [head.sentence(entry) for head in model.heads]
    said += [head.check_sentence(entry[head.check_column(limit)], limit) for head, limit in limits]
    return f"{entry['path']}: {', '.join(said)}"


if __name__ == "__main__":
    raise SystemExit(main())
