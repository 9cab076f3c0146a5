"""Owns the options by which commands choose a model and where it runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from agegender.settings import PRECISIONS


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add --model, --models-dir, --device and --precision."""
    parser.add_argument(
        "--model", metavar="DIR", type=Path, help="a model folder (default: the newest in --models-dir)"
    )
    parser.add_argument("--models-dir", metavar="FOLDER", type=Path, default=Path("models"), help="(default: models)")
    parser.add_argument("--device", metavar="NAME", default="auto", help="auto, cpu, cuda, cuda:1 (default: auto)")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto", help="(default: auto)")


def chosen_model(options: argparse.Namespace) -> Path:
    """Return the model folder that the options name, or the newest one, and say which.

    Raises
    ------
    CardError
        There is none, or it is incomplete.
    """
    from agegender.model.model_folder import chosen_model as named_or_newest

    return named_or_newest(options.model, options.models_dir)
