"""The command suspects: predictions by models that never saw the photos in, labels to look at again out."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agegender.console import Result, command_parser, execute
from agegender.errors import UsageError
from agegender.options import add_folder_option, add_judged_options, add_no_faces_option, check_images_folder, pairs_of
from agegender.settings import REPORT_BYTES
from agegender.writing import check_space

if TYPE_CHECKING:
    from agegender.pages.page_writing import ReportContent

EPILOG = """\
examples:
  agegender train --faces faces.parquet --folds 5 --name five
  agegender suspects --model models/five
  agegender prepare --data photos --corrections corrections.csv --out mended.parquet

Only photos that a model never saw can speak against their labels: of a model trained in folds these are all, of any
other one its test photos. The page saves what you mark as corrections.csv."""
_SAID = 10  # suspects in the terminal


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = command_parser("suspects", "Find labels that are probably wrong, to be looked at.", epilog=EPILOG)
    add_judged_options(parser)
    parser.add_argument(
        "--least", metavar="P", type=float, default=0.5, help="the least probability of being wrong (default: 0.5)"
    )
    parser.add_argument("--most", metavar="N", type=int, default=200, help="suspects on the page (default: 200)")
    add_no_faces_option(parser)
    add_folder_option(parser, "models")
    add_folder_option(parser, "reports")
    parser.add_argument("--out", metavar="FILE", type=Path, help="the page (default: suspects.html in the reports)")
    return parser


def run(options: argparse.Namespace) -> Result:
    """Read, suspect, write the page."""
    check_images_folder(options.images)
    if not 0 <= options.least <= 1:
        raise UsageError(f"--least {options.least:g} is no probability from 0 to 1.")
    if options.most < 1:
        raise UsageError(f"--most {options.most} leaves no suspect. Give a number of at least 1.")
    if options.out is not None and options.out.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--out {options.out}: the page is an HTML file. Write --out {options.out}.html.")
    content = _content(options)
    from dataclasses import replace

    from agegender.audit.suspected_labels import suspected_labels
    from agegender.pages.report_set import add_page, is_hiding_faces, remember_faces
    from agegender.pages.suspects_page import write_suspects
    from agegender.report import folder_name

    judged = content.assessment
    page = options.out or options.reports_dir / folder_name(judged.title) / "suspects.html"
    check_space(page.parent, REPORT_BYTES, "a page of suspects")
    suspects = suspected_labels(judged.judged, judged.heads, least=options.least)
    if options.hide_faces is not None:
        remember_faces(page.parent, hide_faces=options.hide_faces)
    hides = is_hiding_faces(page.parent)
    said = _unseen_words(len(judged.rows), len(judged.judged), judged.judged_split)
    judged = replace(judged, notices=(*judged.notices, *said))
    content = replace(content, assessment=judged, hide_faces=hides)
    add_page(
        page,
        content.run_id,
        lambda place, links: write_suspects(place, content, suspects, most=options.most, pages=links),
    )
    listed = suspects.drop(columns="path") if hides else suspects
    document = {
        "page": str(page), "photos": len(judged.judged), "split": judged.judged_split, "least": options.least,
        "suspects": listed.to_dict("records"), "notices": list(judged.notices),
    }  # fmt: skip
    return Result(document, "\n".join([*judged.notices, *_lines(listed, len(judged.judged)), f"page {page}"]))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    return execute(build_parser(), run, arguments)


def _content(options: argparse.Namespace) -> ReportContent:
    if options.predictions:
        pairs = pairs_of(options.columns, "--columns", "OURS=THEIRS, such as predicted_age_years=pred")
        from agegender.api.audit import Audit

        return Audit(options.predictions, columns=pairs, images=options.images).content
    if options.columns:
        raise UsageError("--columns maps the columns of a foreign table; give it together with --predictions.")
    from agegender.api.report_content import read_report_content
    from agegender.model.model_folder import chosen_model

    return read_report_content(chosen_model(options.model, options.models_dir), images=options.images)


def _unseen_words(row_count: int, judged_count: int, split: str) -> tuple[str, ...]:
    if judged_count == row_count and split == "test":
        return ()
    if judged_count < row_count:
        return (
            f"{row_count - judged_count:,} of {row_count:,} photos are not looked at: the model was trained or chosen "
            f"on them. `agegender train --folds 5` has every photo judged by a network that never saw it.",
        )
    return ("the table does not say which photos the model was trained on: of these, wrong labels stay hidden.",)


def _lines(suspects: Any, photo_count: int) -> list[str]:
    lines = [f"{len(suspects)} labels of {photo_count:,} photos are probably wrong"]
    for one in suspects.head(_SAID).to_dict("records"):
        guess = f"{one['predicted']:.0f}" if isinstance(one["predicted"], float) else one["predicted"]
        named = f" {one['path']}" if one.get("path") else ""
        label = f"{one['label']:g}" if isinstance(one["label"], float) else one["label"]
        lines.append(f"  {one['probability_wrong']:.0%} {one['column']} {label}, guess {guess}{named}")
    return [*lines, *([f"  … and {len(suspects) - _SAID} more"] if len(suspects) > _SAID else [])]


if __name__ == "__main__":
    raise SystemExit(main())
