"""The command `compare`: several models on the same photos; who is better, for whom, and how sure that is."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agegender.console import Result, command_parser, execute
from agegender.errors import UsageError
from agegender.options import (
    add_device_options,
    add_folder_option,
    add_images_option,
    add_no_faces_option,
    add_split_option,
    check_device,
    check_images_folder,
)
from agegender.settings import REPORT_BYTES
from agegender.writing import check_space, check_writable

if TYPE_CHECKING:
    import pandas as pd

EPILOG = """\
examples:
  agegender compare models/plain models/soft-labels
  agegender compare models/first theirs.parquet --split all --out reports/against-theirs
  agegender compare models/first --submission predictions.zip
  agegender compare models/a models/b shipped --faces a.parquet --faces b.parquet --time
      each model on the photos of both, which none of them was trained on

Models of ages are ranked by the average rank over MAE and the four bias scores (gender, age, ethnicity, expression), as
the ChaLearn course does, others by the main score of each head. Each further model is held against the first, photo by
photo."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = command_parser("compare", "Compare models photo by photo and group by group.", epilog=EPILOG)
    parser.add_argument(
        "models",
        metavar="MODEL",
        nargs="+",
        type=Path,
        help="a model folder or a predictions table, or with --faces also an .onnx file, or the word shipped for the "
        "model that comes with the package; the first is the baseline",
    )
    parser.add_argument(
        "--faces",
        metavar="PHOTOS",
        type=Path,
        action="append",
        default=[],
        help="judge the models on these photos: a faces table, or a folder, labelled or not; may be given several "
        "times, for a table of trained on × judged on. Photos that a model was trained or validated on are left out",
    )
    add_images_option(parser)
    add_split_option(parser, "rows to compare (default: test, with --faces all)", default=None)
    add_device_options(parser)
    parser.add_argument("--time", action="store_true", help="measure how long each model takes for a photo")
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        type=Path,
        help="where compare.html goes, and with --faces the predictions (default: compare-FIRST-SECOND in "
        "--reports-dir)",
    )
    add_no_faces_option(parser)
    add_folder_option(parser, "reports")
    parser.add_argument(
        "--submission",
        metavar="FILE",
        type=Path,
        help="also write the first model's ages as the course's predictions.zip",
    )
    parser.add_argument(
        "--submission-rows",
        metavar="N",
        type=int,
        help="how many ages it has to have (default: the photos of the split in the first model's faces table)",
    )
    return parser


def run(options: argparse.Namespace) -> Result:
    """Compare, and write the page and the submission."""
    if len(options.models) == 1 and options.submission is None:
        raise UsageError("one model alone cannot be compared: name a second one, or ask for --submission FILE.")
    if options.submission_rows is not None and (options.submission is None or options.submission_rows < 1):
        raise UsageError("--submission-rows N, 1 or more, says how long the file of --submission has to be.")
    check_images_folder(options.images)
    check_device(options.device)
    if options.submission is not None:
        check_writable(options.submission.parent)
    if len(options.models) > 1:
        check_space(options.out or options.reports_dir, REPORT_BYTES, "a comparison")
    from agegender.api.comparison import Comparison
    from agegender.audit.comparison_sentences import bias_sentences, judged_lines
    from agegender.pages.report_set import is_hiding_faces, remember_faces

    folder = options.out or options.reports_dir / f"compare-{'-'.join(path.stem for path in options.models[:2])}"
    comparison = Comparison(
        options.models, split=options.split, images=options.images, faces=options.faces or None,
        keep=folder / "predictions", times=options.time, device=options.device, precision=options.precision,
    )  # fmt: skip
    document = comparison.to_dict()
    lines = judged_lines(comparison.judged)
    for one in (comparison, *comparison.others.values()):
        lines += [f"on {one.name}:"] if one.name else []
        lines += [*one.notes, _board_text(one.board), *(one.headline if one.pairs else [])]
        for name, pair in one.pairs.items():
            lines += bias_sentences(one.first, name, pair)
    if options.submission is not None:
        count = comparison.write_submission(options.submission, rows=options.submission_rows)
        document["submission"] = {"path": str(options.submission), "rows": count}
        lines.append(f"submission {options.submission}, {count} ages")
    if comparison.pairs:
        if options.hide_faces is not None:
            remember_faces(folder, hide_faces=options.hide_faces)
        page = comparison.to_html(
            folder / "compare.html", hide_faces=is_hiding_faces(folder), reports_dir=options.reports_dir
        )
        document["page"] = str(page)
        lines.append(f"page {page}")
    return Result(document, "\n".join(lines))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    return execute(build_parser(), run, arguments)


def _board_text(board: pd.DataFrame) -> str:
    """Return the leaderboard in text; a bias score that nobody can tell is said to be unknown, not left out."""
    shown = [name for name in board if str(name).startswith("bias_") or board[name].notna().any()]
    columns = [name for name in shown if not str(name).startswith("rank_")]
    return str(board[columns].to_string(index=False, float_format=lambda value: f"{value:.3f}", na_rep="unknown"))


if __name__ == "__main__":
    raise SystemExit(main())
