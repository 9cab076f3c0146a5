"""The command `report`: a model folder, or anybody's predictions table, becomes offline HTML pages."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from agegender.console import Result, command_parser, execute
from agegender.errors import FolderError, TableError, UsageError
from agegender.progress import say

if TYPE_CHECKING:
    import pandas as pd

    from agegender.pages.report_set import ReportInput

EPILOG = """\
examples:
  agegender report                                   the newest model's pages, below reports/<name>/
  agegender report --model models/first --no-faces   another model's, faces blurred beyond recognition
  agegender report --predictions theirs.csv --columns predicted_age_years=pred age_years=true_age --images photos

A predictions table has one row per photo: the labels path, age_years, gender, ethnicity, split, and the predictions
predicted_age_years, predicted_gender, female_probability, age_low_years, age_high_years. Only an age or a gender with
its prediction is needed; what is absent is left out of the pages, and they say so."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = command_parser(
        "report", "Write the HTML reports of a model, or of anybody's predictions table.", epilog=EPILOG
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--model", metavar="FOLDER", type=Path, help="a model folder (default: the newest)")
    what.add_argument("--predictions", metavar="FILE", type=Path, help="a predictions table, .parquet or .csv")
    parser.add_argument(
        "--columns",
        metavar="OURS=THEIRS",
        nargs="+",
        action="extend",
        default=[],
        help="how the table calls our columns, such as predicted_age_years=pred_age",
    )
    parser.add_argument("--images", metavar="FOLDER", type=Path, help="where the paths of the table start")
    parser.add_argument("--title", help="what the pages call the model (default: its folder's or table's name)")
    parser.add_argument("--no-faces", action="store_true", help="blur faces, so that nobody can be recognised")
    parser.add_argument("--models-dir", metavar="FOLDER", type=Path, default=Path("models"), help="(default: models)")
    parser.add_argument(
        "--reports-dir", metavar="FOLDER", type=Path, default=Path("reports"), help="(default: reports)"
    )
    parser.add_argument("--out", metavar="FOLDER", type=Path, help="folder of the pages (default: reports/<title>)")
    return parser


def run(options: argparse.Namespace) -> Result:
    """Read, judge, write pages."""
    started = time.perf_counter()
    if options.images is not None and not options.images.is_dir():
        raise FolderError(f"--images {options.images} is no folder. Name the folder that the table's paths start from.")
    content = _foreign_content(options) if options.predictions else _model_content(options)
    from agegender.pages.report_set import write_report_set

    folder = options.out or options.reports_dir / content.title
    if options.predictions is None:
        content = _with_explanations(content, options.reports_dir / content.title)
    report = write_report_set(folder, content, hide_faces=options.no_faces)
    for page in report.older_pages:
        say(f"{page} is from an earlier run and stays as it is" + ("; it may show faces" if options.no_faces else ""))
    document = {
        "title": content.title,
        "pages": {name: str(path) for name, path in report.pages.items()},
        "photos": len(report.audit.judged),
        "split": report.audit.judged_split,
        "notices": list(report.audit.notices),
        "findings": [finding.to_dict() for finding in report.findings],
        "seconds": round(time.perf_counter() - started, 2),
    }
    claimed = [finding.sentence for finding in report.findings if finding.is_gap]
    lines = [*report.audit.notices, *claimed, *(f"wrote {path}" for path in report.pages.values())]
    return Result(document, "\n".join(lines))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    return execute(build_parser(), run, arguments)


def _model_content(options: argparse.Namespace) -> ReportInput:
    if options.columns:
        raise UsageError("--columns maps the columns of a foreign table; give it together with --predictions.")
    from agegender.api.report_content import read_report_content
    from agegender.model.model_folder import newest_model

    folder = options.model or newest_model(options.models_dir)
    if options.model is None:
        say(f"reporting on the newest model, {folder}")
    return read_report_content(folder, images=options.images, title=options.title)


def _with_explanations(content: ReportInput, folder: Path) -> ReportInput:
    """Return the content with the explanations that `train` or `explain` left among the model's reports."""
    from agegender.explanation import EXPLANATIONS_FOLDER
    from agegender.explanation.face_explanation import read_explanations

    return replace(content, explanations=read_explanations(folder / EXPLANATIONS_FOLDER) or None)


def _foreign_content(options: argparse.Namespace) -> ReportInput:
    import pandas as pd

    from agegender.audit.predictions_table import read_predictions
    from agegender.data.faces_table import FacesTable
    from agegender.pages.report_set import ReportInput

    table = mapped(read_predictions(options.predictions), options.columns)
    faces = None
    if options.images is not None:
        listed = pd.DataFrame({"path": table.get("path", pd.Series(dtype=object)), "source": "images"})
        faces = FacesTable(listed, options.images.absolute())
    return ReportInput(table, options.title or options.predictions.stem, faces)


def mapped(table: pd.DataFrame, pairs: Sequence[str]) -> pd.DataFrame:
    """Return a table whose columns have our names, as `OURS=THEIRS` pairs say.

    Raises
    ------
    UsageError
        A pair isn't one, or names a column that we don't know.
    TableError
        The table lacks a named column.
    """
    from agegender.audit.judged import NUMBERS, TEXTS

    renamed = table.copy()
    for pair in pairs:
        ours, equals, theirs = pair.partition("=")
        if not equals or ours not in (*TEXTS, *NUMBERS):
            raise UsageError(f"--columns {pair!r} is no OURS=THEIRS; ours are {', '.join((*TEXTS, *NUMBERS))}.")
        if theirs not in table:
            raise TableError(f"the table has no column {theirs!r}; it has {', '.join(map(str, table.columns[:20]))}.")
        renamed[ours] = table[theirs]
    return renamed


if __name__ == "__main__":
    raise SystemExit(main())
