"""The command ensemble: several model folders in, one that answers for all of them out."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agegender.console import Result, command_parser, execute, metrics_lines
from agegender.options import (
    add_device_options,
    add_folder_option,
    add_images_option,
    add_vote_option,
    check_device,
    check_images_folder,
    check_model_name,
)

EPILOG = """\
examples:
  agegender ensemble models/small models/medium --name both
  agegender ensemble models/a models/b models/c --name vote --vote hard

Bodies and image sizes may differ, heads may not. Models that were trained with one faces table and the same splits are
calibrated together and judged on its test photos; others have no photo that is known to be new to all of them.
`agegender train --folds 5` trains an ensemble of its own."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = command_parser("ensemble", "Have several models answer as one.", epilog=EPILOG)
    parser.add_argument("models", metavar="MODEL", nargs="+", type=Path, help="model folders, two or more")
    parser.add_argument("--name", required=True, help="name of the ensemble; a model of that name is replaced")
    add_vote_option(parser)
    add_images_option(parser)
    add_folder_option(parser, "models")
    add_device_options(parser)
    return parser


def run(options: argparse.Namespace) -> Result:
    """Put together, calibrate, store."""
    check_model_name(options.name)
    check_images_folder(options.images)
    check_device(options.device)
    from agegender.writing import check_writable

    check_writable(options.models_dir)
    from agegender.api.model import Model

    model = Model.ensemble(
        options.models, name=options.name, vote=options.vote, device=options.device, precision=options.precision,
        images=options.images,
    )  # fmt: skip
    folder = model.save(options.models_dir / options.name)
    metrics: dict[str, Any] = model.card.get("metrics") or {}
    document = {
        "model": str(folder),
        "vote": options.vote,
        "members": [str(folder / member["folder"]) for member in model.card["members"]],
        "heads": [head.name for head in model.heads],
        "is_calibrated": bool(model.card["calibration"]),
        "metrics": metrics,
    }
    lines = [f"model    {folder}, {model.card['body']}, {options.vote} vote", *metrics_lines(metrics, model.heads)]
    return Result(document, "\n".join(lines))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    return execute(build_parser(), run, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
