"""The command `predict`: photos in, ages and gender labels out."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agegender.console import Result, command_parser, execute
from agegender.errors import FolderError, PhotoError
from agegender.model_options import add_model_options, chosen_model
from agegender.writing import check_writable

if TYPE_CHECKING:
    from agegender.heads import Head

EPILOG = """\
examples:
  agegender predict photo.jpg
  agegender predict --model models/first holidays/ --out predictions.csv

A photo should show one face as the model's training photos did. A photo that cannot be read is reported and does not
stop the others. The gender is a guess at how an annotator would label the person, no fact about them."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = command_parser("predict", "Predict age and gender of one photo, or of many.", epilog=EPILOG)
    parser.add_argument("photos", metavar="PHOTO", nargs="+", type=Path, help="a photo, or a folder of photos")
    add_model_options(parser)
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
    return parser


def run(options: argparse.Namespace) -> Result:
    """Load the model, predict every photo."""
    folder = chosen_model(options)
    if options.out:
        check_writable(options.out.parent)
    paths = _expand(options.photos)
    import pandas as pd

    from agegender.audit.predictions_table import write_predictions
    from agegender.model.predictor import Predictor

    model = Predictor.load(folder, device=options.device, precision=options.precision, detector_file=options.crop_model)
    predictions, problems = model.predict_photos(paths, crops=not options.cropped)
    if len(problems) == len(paths):
        raise PhotoError(f"no photo could be read. {next(iter(problems.values()))}")
    table = pd.concat([pd.DataFrame({"path": [str(path) for path in paths]}), predictions], axis=1)
    if options.out:
        write_predictions(table.drop(index=list(problems)), options.out)
    rows = [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]
    document = [_entry(row, problems.get(place)) for place, row in enumerate(rows)]
    return Result(document, "\n".join(_line(entry, model.heads) for entry in document))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    return execute(build_parser(), run, arguments)


def _expand(given: Sequence[Path]) -> list[Path]:
    from agegender.photos.finding import find_photos

    paths: list[Path] = []
    for path in given:
        if path.is_dir():
            found = find_photos(path)
            if not found:
                raise FolderError(f"there is no photo in {path}.")
            paths += found
        else:
            paths.append(path)
    return paths


def _entry(row: dict[str, Any], problem: str | None) -> dict[str, Any]:
    return {"path": row["path"], "error": problem} if problem else row


def _line(entry: dict[str, Any], heads: Sequence[Head]) -> str:
    if "error" in entry:
        return f"{entry['path']}: {entry['error']}"
    return f"{entry['path']}: {', '.join(head.sentence(entry) for head in heads)}"


if __name__ == "__main__":
    raise SystemExit(main())
