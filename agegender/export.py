"""The command export: a model folder in, one ONNX file out, which predicts without torch."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agegender.console import Result, command_parser, execute
from agegender.errors import UsageError
from agegender.options import add_images_option, add_model_option, check_images_folder, check_photos, number_pairs

EPILOG = """\
examples:
  agegender export
  agegender export --model models/first --out first.onnx photos/
  agegender predict --model first.onnx photo.jpg
  agegender export --int8 --int8-limit age=0.2 --int8-limit gender=1
      a quarter of the bytes and quicker; refused where it loses more years, or points of accuracy, than that

The file takes photos as bytes, uint8 (N, size, size, 3), and gives one output for each head. Its metadata hold the
model's card: size and cut of the photos, heads, classes, intervals. Its answers are compared with torch's first, on
random pixels and on photos, and nothing is written where they differ by more than 1e-4. With --int8 convolutions
compute in whole numbers of eight bits: ranges come from training photos, and what is lost is measured on the
validation photos, printed, and written into the file."""


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
        "--out",
        metavar="FILE",
        type=Path,
        help="the .onnx file to write (default: model.onnx in the model folder, model-int8.onnx with --int8)",
    )
    int8 = parser.add_argument_group("int8")
    int8.add_argument(
        "--int8", action="store_true", help="compute in whole numbers of eight bits: smaller, quicker, measurably worse"
    )
    int8.add_argument(
        "--int8-limit",
        metavar="HEAD=LIMIT",
        action="append",
        default=[],
        help="how much may be lost on the validation photos: of a number's mean error so much in its unit (default: 2 "
        "%% of the error), of a class's accuracy so many points (default: 0.5, or one photo)",
    )
    add_images_option(int8)
    return parser


def run(options: argparse.Namespace) -> Result:
    """Load, export, compare."""
    check_photos(options.photos)
    check_images_folder(options.images)
    limits = _limits(options)
    from agegender.model.model_folder import INT8_FILE, ONNX_FILE, chosen_model
    from agegender.model.shipped import is_shipped
    from agegender.writing import check_writable

    folder = chosen_model(options.model, options.models_dir)
    if options.out is None and is_shipped(folder):
        raise UsageError(
            f"the model that comes with agegender is not written to: name a file with --out. Its {folder / ONNX_FILE} "
            f"predicts without torch as it is."
        )
    out = options.out or folder / (INT8_FILE if options.int8 else ONNX_FILE)
    check_writable(out.parent)
    from agegender.api.model import Model

    model = Model.load(folder, device="cpu", precision="fp32", images=options.images)
    differences = model.export(out, photos=options.photos or None, int8=options.int8, int8_limits=limits)
    document = {
        "model": str(folder),
        "out": str(out),
        "bytes": out.stat().st_size,
        "image_size": model.image.size,
        "outputs": [head.name for head in model.heads],
        "largest_differences": differences,
        "int8": Model.load(out).card["int8"] if options.int8 else None,
    }
    return Result(document, _text(document, differences))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    return execute(build_parser(), run, arguments)


def _limits(options: argparse.Namespace) -> dict[str, float]:
    limits = number_pairs(options.int8_limit, "--int8-limit", "HEAD=LIMIT, such as age=0.2")
    if limits and not options.int8:
        raise UsageError("--int8-limit is about --int8, which is not asked for.")
    return limits


def _text(document: Mapping[str, Any], differences: Mapping[str, float]) -> str:
    said = ", ".join(f"{name} by at most {size:.1g}" for name, size in differences.items())
    lines = [f"{document['out']}: {document['bytes'] / 1e6:.1f} MB, differs from torch in {said}"]
    if document["int8"]:
        from agegender.model.onnx_int8 import Int8Loss

        judged, taught = document["int8"]["measured_on"], document["int8"]["calibrated_on"]
        lines[0] = f"{document['out']}: {document['bytes'] / 1e6:.1f} MB, in fp32 differs from torch in {said}"
        lines.append(f"int8, ranges of {taught['photos']} training photos; on {judged['photos']} validation photos:")
        lines += [f"  {Int8Loss(**loss).sentence()}" for loss in document["int8"]["losses"]]
    return "\n".join([*lines, f"agegender predict --model {document['out']} PHOTO"])


if __name__ == "__main__":
    raise SystemExit(main())
