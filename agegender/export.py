"""The command export: a model folder in, one ONNX file out, which predicts without torch."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agegender.console import Result, command_parser, execute
from agegender.options import add_model_option, check_photos

EPILOG = """\
examples:
  agegender export
  agegender export --model models/first --out first.onnx photos/
  agegender predict --model first.onnx photo.jpg

The file takes photos as bytes, uint8 (N, size, size, 3), and gives one output for each head. Its metadata hold the
model's card: size and cut of the photos, heads, classes, intervals. Its answers are compared with torch's first, on
random pixels and on photos, and nothing is written where they differ by more than 1e-4."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    description = "Write a model as one ONNX file, which predicts without torch, here or elsewhere."
    parser = command_parser("export", description, epilog=EPILOG)
    parser.add_argument(
        "photos",
        metavar="PHOTO",
        nargs="*",
        type=Path,
        help="photos, or folders of photos, to compare on (default: some that the model was tested on)",
    )
    add_model_option(parser)
    parser.add_argument(
        "--out", metavar="FILE", type=Path, help="the .onnx file to write (default: model.onnx in the model folder)"
    )
    return parser


def run(options: argparse.Namespace) -> Result:
    """Load, export, compare."""
    check_photos(options.photos)
    from agegender.model.model_folder import ONNX_FILE, chosen_model
    from agegender.writing import check_writable

    folder = chosen_model(options.model, options.models_dir)
    out = options.out or folder / ONNX_FILE
    check_writable(out.parent)
    from agegender.api.model import Model

    model = Model.load(folder, device="cpu", precision="fp32")
    differences = model.export(out, photos=options.photos or None)
    document = {
        "model": str(folder),
        "out": str(out),
        "bytes": out.stat().st_size,
        "image_size": model.image.size,
        "outputs": [head.name for head in model.heads],
        "largest_differences": differences,
    }
    return Result(document, _text(document, differences))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    return execute(build_parser(), run, arguments)


def _text(document: Mapping[str, Any], differences: Mapping[str, float]) -> str:
    said = ", ".join(f"{name} by at most {size:.1g}" for name, size in differences.items())
    return (
        f"{document['out']}: {document['bytes'] / 1e6:.1f} MB, differs from torch in {said}\n"
        f"agegender predict --model {document['out']} PHOTO"
    )


if __name__ == "__main__":
    raise SystemExit(main())
