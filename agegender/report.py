"""The command `report`: a model folder, or anybody's predictions table, becomes offline HTML pages."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agegender.console import Result, command_parser, execute
from agegender.errors import UsageError
from agegender.options import (
    add_age_bands_option,
    add_age_check_options,
    add_folder_option,
    add_judged_options,
    add_no_faces_option,
    age_check_keywords,
    check_images_folder,
    pairs_of,
)
from agegender.progress import say
from agegender.settings import REPORT_BYTES
from agegender.writing import check_space

if TYPE_CHECKING:
    from agegender.pages.page_writing import ReportContent

EPILOG = """\
examples:
  agegender report                                   the newest model's pages, below reports/<name>/
  agegender report --model models/first --no-faces   another model's, faces blurred beyond recognition
  agegender report --predictions theirs.csv --columns predicted_age_years=pred age_years=true_age --images photos

A predictions table has one row per photo: path, split, label columns such as age_years, gender and ethnicity, and of
each head predicted_<column>; of a number also <name>_low_<unit> and <name>_high_<unit>, of a class
<name>_probability_<class>. Only one label with its prediction is needed: age_years and predicted_age_years, or
height_cm and predicted_height_cm. What is absent is left out of the pages, and they say so."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = command_parser(
        "report", "Write the HTML reports of a model, or of anybody's predictions table.", epilog=EPILOG
    )
    add_judged_options(parser)
    parser.add_argument(
        "--adjust-for",
        metavar="COLUMN",
        nargs="+",
        help="label columns that are held equal when groups are compared, or none (default: the labelled age)",
    )
    add_age_check_options(parser)
    add_age_bands_option(parser)
    parser.add_argument("--title", help="what the pages call the model (default: its folder's or table's name)")
    add_no_faces_option(parser)
    add_folder_option(parser, "models")
    add_folder_option(parser, "reports")
    parser.add_argument("--out", metavar="FOLDER", type=Path, help="folder of the pages (default: reports/<title>)")
    return parser


def run(options: argparse.Namespace) -> Result:
    """Read, judge, write pages."""
    started = time.perf_counter()
    check_images_folder(options.images)
    from agegender.heads.age_bands import checked_edges

    checks = {"age_bands": checked_edges(options.age_bands), **age_check_keywords(options)}
    check_space(options.out or options.reports_dir, REPORT_BYTES, "a report")
    content = _foreign_content(options, checks) if options.predictions else _model_content(options, checks)
    from agegender.audit.challenge_ages import checks_document
    from agegender.pages.report_set import write_report_set

    assessment = content.assessment
    folder = options.out or options.reports_dir / folder_name(assessment.title)
    report = write_report_set(folder, content, hide_faces=options.hide_faces)
    for page in report.older_pages:
        say(f"{page} is from an earlier run and stays as it is" + ("; it may show faces" if options.hide_faces else ""))
    document = {
        "title": assessment.title,
        "pages": {name: str(path) for name, path in report.pages.items()},
        "photos": len(assessment.judged),
        "split": assessment.judged_split,
        "notices": list(assessment.notices),
        "findings": [finding.to_dict() for finding in assessment.findings],
        "age_checks": checks_document(assessment.age_checks, assessment.chosen_ages),
        "seconds": round(time.perf_counter() - started, 2),
    }
    claimed = [finding.sentence for finding in assessment.findings if finding.is_gap]
    lines = [*assessment.notices, *claimed, *(f"wrote {path}" for path in report.pages.values())]
    return Result(document, "\n".join(lines))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    return execute(build_parser(), run, arguments)


def folder_name(title: str) -> str:
    """Return a title as the name of one folder, wherever it came from.

    >>> folder_name("first"), folder_name("../../etc/x"), folder_name("..")
    ('first', 'etc-x', 'report')
    """
    return re.sub(r"[^\w. ()+-]+", "-", title).strip(" .-") or "report"


def _model_content(options: argparse.Namespace, checks: dict[str, Any]) -> ReportContent:
    if options.columns:
        raise UsageError("--columns maps the columns of a foreign table; give it together with --predictions.")
    from agegender.api.report_content import read_report_content
    from agegender.explanation import EXPLANATIONS_FOLDER
    from agegender.model.model_folder import chosen_model, read_card

    folder = chosen_model(options.model, options.models_dir)
    title = options.title or str(read_card(folder)["name"])
    explanations = options.reports_dir / folder_name(title) / EXPLANATIONS_FOLDER
    return read_report_content(
        folder,
        images=options.images,
        title=title,
        explanations=explanations,
        adjust_for=_held_equal(options),
        **checks,
    )


def _foreign_content(options: argparse.Namespace, checks: dict[str, Any]) -> ReportContent:
    pairs = pairs_of(options.columns, "--columns", "OURS=THEIRS, such as predicted_age_years=pred")
    from agegender.api.audit import Audit

    return Audit(
        options.predictions,
        columns=pairs,
        adjust_for=_held_equal(options),
        title=options.title,
        images=options.images,
        **checks,
    ).content


def _held_equal(options: argparse.Namespace) -> str | list[str]:
    return "auto" if options.adjust_for is None else [name for name in options.adjust_for if name != "none"]


if __name__ == "__main__":
    raise SystemExit(main())
