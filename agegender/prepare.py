"""The command `prepare`: folders of labelled faces in, one clean faces table with leak-safe splits out."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agegender.console import Result, command_parser, execute
from agegender.data.sources import DESCRIPTIONS, choices, source_name
from agegender.errors import OutputError, UsageError
from agegender.options import check_data_folder
from agegender.settings import (
    BYTES_PER_ROW,
    CROPS,
    NEAR_RADIUS_BITS,
    NEAR_TWINS,
    ON_CONFLICT,
    QUALITY_CHECKS,
    REPORT_BYTES,
    WHEN_NO_FACE,
    WHEN_SEVERAL_FACES,
    PreparationSettings,
)

if TYPE_CHECKING:
    from agegender.data.faces_table import FacesTable
    from agegender.data.preparing import Dataset

_LISTED_NAMES = 5
_SAMPLED_PHOTOS = 200
_OTHER_TABLES = (".csv", ".tsv", ".xlsx", ".xls", ".json", ".txt", ".html")
EPILOG = """\
sources:
{sources}

examples:
  agegender prepare --source utkface --data UTKFace --out faces.parquet --report dataset.html
  agegender prepare --source appa-real --data appa-real-release --option target=real --out faces.parquet
  agegender prepare --source csv --data photos --columns path=img age_years=age --option male=0 --option female=1 \\
                    --source fairface --data FairFace --out both.parquet
  agegender prepare --source masked-faces --data mask --age-classes 30,60 --combine mask age_class gender \\
                    --out masks.parquet

--option, --columns and further --data belong to the --source before them. Options: appa-real target=apparent|real
photos=crops|whole ignore_list=FILE; course-kit photos=FOLDER; afad ages=15-40; fairface margin=025|125
open_range_age_years=N; all-age-faces photos=aligned|original; masked-faces corrections=yes eval=yes; csv table=FILE
male=LABEL female=LABEL.

--age-classes 30,60 writes the column age_class ("<30", "30–59", "≥60"); --combine mask age_class gender writes one
column of the three, mask_age_gender, and may be given several times. Both can be learnt and grouped by."""


class DatasetOption(argparse.Action):
    """Remembers --source, --data, --option and --columns in the order in which they stand."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Add one step; the datasets are made of them when all are known."""
        del parser
        namespace.steps = [*(namespace.steps or []), (option_string, values)]


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    described = zip(choices(), DESCRIPTIONS.values(), strict=True)
    epilog = EPILOG.format(sources="\n".join(f"  {name:14} {text}" for name, text in described))
    parser = command_parser(
        "prepare",
        "Turn folders of labelled faces into one clean table, every lost photo with its reason.",
        epilog=epilog,
    )
    parser.set_defaults(steps=[])
    data = parser.add_argument_group("data")
    for option, metavar, text in (
        ("--source", "NAME", "layout of the folders that follow (see below; default: recognised)"),
        ("--data", "FOLDER", "folder of labelled faces; may be given several times"),
        ("--option", "NAME=VALUE", "an option of the source before it"),
    ):
        data.add_argument(option, metavar=metavar, action=DatasetOption, dest="steps", help=text)
    data.add_argument(
        "--columns",
        metavar="OURS=THEIRS",
        nargs="+",
        action=DatasetOption,
        dest="steps",
        help="columns of a csv source; any further name becomes a label",
    )
    data.add_argument(
        "--quality", action="store_true", help="score blur, light, contrast, size and whether a face is found"
    )
    data.add_argument(
        "--corrections",
        metavar="FILE",
        type=Path,
        help="take in what people marked on a page of `agegender suspects`: mend labels, leave out what is no face",
    )
    data.add_argument(
        "--leave-out",
        metavar="CHECKS",
        help=f"score the photos and leave out those that these checks suspect, such as no_face,blurry; there are "
        f"{', '.join(QUALITY_CHECKS)}",
    )
    data.add_argument("--limit", metavar="N", type=int, help="use a random N of the photos")
    _add_derived_labels(parser.add_argument_group("derived labels"))
    _add_cleaning(parser.add_argument_group("twins"))
    _add_splitting(parser.add_argument_group("split"))
    _add_cropping(parser.add_argument_group("face crops"))
    output = parser.add_argument_group("output")
    output.add_argument("--out", metavar="FILE", type=Path, required=True, help="the faces table to write (Parquet)")
    output.add_argument("--report", metavar="FILE", type=Path, help="write a page about the dataset as well")
    output.add_argument(
        "--no-faces", action="store_true", help="show no photo on that page, and no figure of fewer than 10"
    )
    return parser


def _add_derived_labels(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--age-classes", metavar="EDGES", help="write the column age_class, with these edges: 30,60")
    group.add_argument(
        "--combine",
        metavar="COLUMN",
        nargs="+",
        action="append",
        default=[],
        help="write one column of these labels, named after them; may be given several times",
    )


def _add_cleaning(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--near-duplicates",
        metavar="BITS",
        default=str(NEAR_RADIUS_BITS),
        help=f"Hamming radius of 64-bit pHashes within which photos are near twins, or none "
        f"(default: {NEAR_RADIUS_BITS})",
    )
    group.add_argument(
        "--on-conflict", choices=ON_CONFLICT, default="drop", help="twins with contradictory labels (default: drop all)"
    )
    group.add_argument(
        "--near-twins",
        choices=NEAR_TWINS,
        default="keep-one",
        help="near twins with agreeing labels; drop-all drops every photo with a near hash (default: keep-one)",
    )
    group.add_argument(
        "--cache",
        metavar="FILE",
        type=Path,
        default=Path("data/hashes.parquet"),
        help="remembers hashes between runs; can be deleted freely (default: data/hashes.parquet)",
    )


def _add_splitting(group: argparse._ArgumentGroup) -> None:
    ways = group.add_mutually_exclusive_group()
    ways.add_argument("--split", metavar="70/15/15", help="draw train, valid and test in these parts")
    ways.add_argument(
        "--official-split",
        action="store_true",
        help="the published split (default where every source has one, otherwise 70/15/15 is drawn)",
    )
    ways.add_argument("--folds", metavar="K", type=int, help="K grouped stratified folds, in the column `fold`")
    group.add_argument("--seed", metavar="N", type=int, default=7, help="(default: 7)")


def _add_cropping(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--crop",
        choices=CROPS,
        default="none",
        help="cut faces out with this detector; the photos stay (default: none)",
    )
    group.add_argument(
        "--crop-margin", metavar="SHARE", type=float, default=0.4, help="of the face, on every side (default: 0.4)"
    )
    group.add_argument(
        "--crop-margins", metavar="ABOVE,BELOW,BESIDE", help="three margins instead of one, such as 0.6,0.3,0.4"
    )
    group.add_argument(
        "--crop-then",
        choices=CROPS,
        default="none",
        help="the detector to ask where --crop finds no face; haar-again is less strict than haar (default: none)",
    )
    group.add_argument(
        "--smallest-face",
        metavar="SIZE",
        type=float,
        default=0.0,
        help="pass over faces with a longer side below this: pixels, or below 1 a share of the photo (default: 0)",
    )
    group.add_argument("--align", action="store_true", help="turn faces until their eyes lie level; needs yunet")
    group.add_argument("--crop-model", metavar="FILE", type=Path, help="face_detection_yunet_*.onnx, for yunet")
    group.add_argument("--crops", metavar="FOLDER", type=Path, help="where crops go (default: beside --out)")
    group.add_argument(
        "--no-face", choices=WHEN_NO_FACE, default="centre", help="cut the middle, or drop (default: centre)"
    )
    group.add_argument(
        "--several-faces", choices=WHEN_SEVERAL_FACES, default="largest", help="take one, or drop (default: largest)"
    )


def run(options: argparse.Namespace) -> Result:
    """Prepare, write the table and, when asked, the page."""
    started = time.monotonic()
    _check_outputs(options.out, options.report)
    settings = _settings(options)
    datasets = name_datasets(options.steps)
    if options.corrections is not None:
        from agegender.reading_tables import check_is_file

        check_is_file(options.corrections, what="corrections file")
    from agegender.data.faces_table import write_faces
    from agegender.data.preparing import prepare_datasets
    from agegender.swapping import replaced_set

    faces, counts = prepare_datasets(datasets, settings, check=partial(_check_room, options, settings))
    with replaced_set() as swap:
        if options.report is not None:
            from agegender.pages.dataset_page import write_dataset_page

            write_dataset_page(swap.stage(options.report), faces, counts, hide_faces=options.no_faces)
        write_faces(faces, swap.stage(options.out))
    if options.report is not None and options.no_faces:
        from agegender.pages.report_set import remember_faces

        remember_faces(options.report.parent, hide_faces=True)
    if settings.crop != "none" and settings.crops is not None:
        from agegender.data.cropping import remove_other_crops

        remove_other_crops(settings.crops, faces.notes["cropping"]["folder"])
    report = None if options.report is None else str(options.report)
    places = {"out": str(options.out), "report": report, "seconds": round(time.monotonic() - started, 3)}
    document = {**counts, **places}
    return Result(document, _text(document))


def _check_room(options: argparse.Namespace, settings: PreparationSettings, faces: FacesTable) -> None:
    """Refuse photos whose table, page and crops would not fit on the disk, before the first one is read."""
    from agegender.writing import check_space

    rows = faces.kept()
    check_space(options.out.parent, BYTES_PER_ROW * len(faces.table), "this faces table")
    if options.report is not None:
        check_space(options.report.parent, REPORT_BYTES, "a page about the dataset")
    if settings.crop != "none" and settings.crops is not None and len(rows):
        sample = rows["path"].iloc[:: -(-len(rows) // _SAMPLED_PHOTOS)]
        places = [place for place in map(faces.photo_place, sample) if place is not None and place.is_file()]
        # A crop is part of a photo, stored finer than most are.
        photo_bytes = sum(place.stat().st_size for place in places) / max(1, len(places))
        check_space(settings.crops, photo_bytes * len(rows), f"{len(rows):,} face crops")


def name_datasets(steps: Sequence[tuple[str, Any]]) -> list[Dataset]:
    """Return what --source, --data, --option and --columns name; the last three belong to the source before them."""
    by_source = _steps_by_source(steps)
    for option, value in steps:
        if option == "--source":
            source_name(value)
        elif option == "--data":
            check_data_folder(Path(value))
    from agegender.data.preparing import Dataset

    datasets = []
    for source, given in by_source:
        options: dict[str, Any] = dict(_pair(value, option) for option, value in given if option == "--option")
        columns = [_pair(pair, option) for option, value in given if option == "--columns" for pair in value]
        if columns:
            options["columns"] = dict(columns)
        folders = [Path(value) for option, value in given if option == "--data"]
        if not folders:
            raise UsageError(f"--source {source} has no --data FOLDER after it.")
        datasets += [Dataset(source, folder, options) for folder in folders]
    return datasets


def _steps_by_source(steps: Sequence[tuple[str, Any]]) -> list[tuple[str, list[tuple[str, Any]]]]:
    """Return each source with the options that stand behind it; with a single source the order does not matter."""
    sources = [value for option, value in steps if option == "--source"]
    if not any(option == "--data" for option, _ in steps) and not sources:
        raise UsageError("nothing to prepare: name a dataset with --data FOLDER, and its layout with --source NAME.")
    if len(sources) <= 1:
        return [("".join(sources), [step for step in steps if step[0] != "--source"])]
    if steps[0][0] != "--source":
        raise UsageError(f"{steps[0][0]} stands before any of the {len(sources)} sources: to which does it belong?")
    by_source: list[tuple[str, list[tuple[str, Any]]]] = []
    for step in steps:
        if step[0] == "--source":
            by_source.append((step[1], []))
        else:
            by_source[-1][1].append(step)
    return by_source


def _pair(text: str, option: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not (name and separator and value):
        raise UsageError(f"{option} {text} is not of the form name=value.")
    return name, value


def _check_outputs(out: Path, report: Path | None) -> None:
    from agegender.swapping import finish_swaps
    from agegender.writing import check_writable

    if out.suffix.lower() in _OTHER_TABLES:
        raise OutputError(f"--out {out}: a faces table is a Parquet file. Write --out {out.with_suffix('.parquet')}.")
    for place in (out, report):
        if place is None:
            continue
        if place.is_dir():
            raise OutputError(f"cannot write {place}: it is a folder. Name a file in it.")
        check_writable(place.parent)
        finish_swaps(place.parent)
    if report is not None and report.suffix.lower() not in (".html", ".htm"):
        raise OutputError(f"--report {report}: the page is an HTML file. Write --report {report.with_suffix('.html')}.")


def _settings(options: argparse.Namespace) -> PreparationSettings:
    radius = _radius(options.near_duplicates)
    if options.seed < 0:
        raise UsageError(f"--seed {options.seed} is below 0.")
    leave_out: tuple[str, ...] = ()
    if options.leave_out is not None:
        from agegender.data.leaving_out import check_names

        leave_out = check_names(options.leave_out)
    edges: tuple[float, ...] = ()
    if options.age_classes is not None:
        from agegender.data.derived_labels import parse_age_edges

        edges = parse_age_edges(options.age_classes)
    return PreparationSettings(
        near_duplicates=radius,
        on_conflict=options.on_conflict,
        near_twins=options.near_twins,
        age_classes=edges,
        combine=options.combine,
        split="official" if options.official_split else options.split or "auto",
        folds=options.folds,
        seed=options.seed,
        limit=options.limit,
        corrections=options.corrections,
        quality=options.quality,
        leave_out=leave_out,
        cache=options.cache,
        crop=options.crop,
        crop_margin=options.crop_margin,
        crop_margins=_margins(options.crop_margins),
        crop_then=options.crop_then,
        smallest_face=options.smallest_face,
        align=options.align,
        crop_model=options.crop_model,
        crops=options.crops or options.out.with_name(f"{options.out.stem}-crops"),
        no_face=options.no_face,
        several_faces=options.several_faces,
    )


def _margins(text: str | None) -> tuple[float, float, float] | None:
    if text is None:
        return None
    try:
        above, below, beside = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--crop-margins {text} is not three shares, above, below and beside: 0.6,0.3,0.4.") from None
    return above, below, beside


def _radius(text: str) -> int | None:
    if text.lower() == "none":
        return None
    if not text.isdecimal() or int(text) > 64:
        raise UsageError(f"--near-duplicates {text} is no number of bits from 0 to 64, nor none.")
    return int(text)


def _text(document: dict[str, Any]) -> str:
    sides = ", ".join(f"{count} {side}" for side, count in document["split"].items())
    lines = [f"{document['files']} files, {document['kept']} kept ({sides}), in {document['seconds']:.1f} s"]
    lines += [f"  dropped {count:6}: {reason}" for reason, count in document["dropped"].items()]
    if document["malformed"]:
        names = ", ".join(document["malformed"][:_LISTED_NAMES])
        more = len(document["malformed"]) - _LISTED_NAMES
        lines.append(f"  malformed names: {document['malformed_names']} ({names}{f' and {more} more' * (more > 0)})")
    if document["near_duplicates"]:
        lines.append(
            f"  near twins: {document['near_duplicate_pairs']} pairs among {document['near_duplicates']} distinct files"
        )
    if document["exact_conflicts"]:
        lines.append(f"  {document['exact_conflicts']} groups of identical files have contradictory labels")
    leaks = f"{document['leaks']} twins or persons" if document["leaks"] else "nothing"
    lines.append(f"  leakage: {leaks} on two sides of the split")
    if document["leaks_as_published"] > document["leaks"]:
        lines.append(f"  before twins were left out, the published split had {document['leaks_as_published']}")
    lines.append(f"table    {document['out']}")
    return "\n".join(lines + ([f"report   {document['report']}"] if document["report"] else []))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    return execute(build_parser(), run, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
