"""The command `predict`: photos in, what each head says of every face out."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from glob import has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agegender.console import Result, command_parser, execute
from agegender.errors import UsageError
from agegender.options import (
    add_device_options,
    add_model_option,
    add_no_faces_option,
    add_runtime_option,
    check_device,
    check_photos,
    number_pairs,
)
from agegender.settings import FACES_IN_PHOTO

if TYPE_CHECKING:
    import pandas as pd

    from agegender.api.model import Model
    from agegender.api.predicting import Counts
    from agegender.model.face_rows import Looking
    from agegender.pages.contact_sheet import ContactSheet

EPILOG = """\
examples:
  agegender predict photo.jpg
  agegender predict --model models/first holidays/ --faces-in-photo all --out faces.csv
  agegender predict "archive/**/*.jpg" --out faces.parquet --report faces.html
  find archive -name '*.jpg' -print0 | agegender predict - --out faces.jsonl
  agegender predict --model models/first --model models/second holidays/ --report both.html
  agegender predict photo.jpg --check age=25
      whether it is somebody under 25 years, where 95 % can be had for the answer
  agegender predict --engine dask --workers 8 archive/ --out archive-faces
      a folder of Parquet files, by eight processes; docs/scale.md has more, and other machines
  agegender predict --model models/masks eval/images --answers answers.csv=eval/info.csv

A list on stdin has one file a line, or ends each with NUL. Photos are taken as the model's training took them: as
they came, or the largest face cut out; --faces-in-photo finds faces in any case. `problems` say what is doubtful about
a face, and nothing is left out for it. A photo that cannot be read is a row with its error and does not stop the
others. With --out the rows go to that file and a summary to the screen; a run that was stopped, even by kill -9, goes
on when it is called again. Rows keep the order of the photos. An .onnx file written by `agegender export` predicts as
its model does, and sooner. Addresses are not fetched, and webcams and videos not read, on purpose: who is filmed did
not hand in a photo. The gender is a guess at how an annotator would label the person, no fact about them."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = command_parser("predict", "Predict what a model's heads say of one photo, or of many.", epilog=EPILOG)
    parser.add_argument(
        "photos",
        metavar="PHOTO",
        nargs="+",
        help="a photo, a folder of photos, a pattern in quotes, or - for a list on stdin",
    )
    add_model_option(parser, takes_exported=True, is_shipped_usual=True, takes_several=True)
    add_device_options(parser)
    add_runtime_option(parser)
    parser.add_argument(
        "--faces-in-photo",
        choices=FACES_IN_PHOTO,
        help="find faces and cut them out as training did, a row for the largest or for each (default: as training "
        "took photos: as they came, or the largest face)",
    )
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
    parser.add_argument("--no-problems", action="store_true", help="look for nothing doubtful: a little sooner")
    parser.add_argument(
        "--out",
        metavar="FILE",
        type=Path,
        help="write the rows to this file, .jsonl (JSON Lines), .csv or .parquet, and only a summary to the screen; a "
        "stopped run goes on",
    )
    parser.add_argument("--report", metavar="FILE", type=Path, help="also write a page of the faces with the answers")
    add_no_faces_option(parser)
    _add_engine_options(parser)
    parser.add_argument(
        "--check",
        metavar="HEAD=LIMIT",
        action="append",
        default=[],
        help="say of numbers whether they are under a limit, each answer with 95 %%: age=25",
    )
    parser.add_argument(
        "--answers",
        metavar="OUT=INFO",
        help="fill the mask competition's INFO (info.csv) with the classes of its photos, and write it as OUT",
    )
    return parser


def run(options: argparse.Namespace) -> Result:
    """Load the model, predict every photo."""
    check_device(options.device)
    checks = _checks(options.check)
    answers, _, info = (options.answers or "").partition("=")
    if options.answers and not (answers and info):
        raise UsageError(f"--answers {options.answers!r} is no OUT=INFO, such as answers.csv=eval/info.csv.")
    _check_engine_options(options)
    _check_outputs(options)
    photos = _photos(options.photos)
    models = _models(options)
    from agegender.api.predicting import Counts, predict_file, predict_table
    from agegender.model.face_rows import Looking

    looking = Looking(options.faces_in_photo, is_cropped=options.cropped, finds_problems=not options.no_problems)
    if options.engine == "dask":
        return _in_shards(options, models, photos, looking, checks)
    sheet = _sheet(options, models)
    sinks: list[Callable[[pd.DataFrame], None]] = [] if sheet is None else [sheet.add]
    kept: list[pd.DataFrame] = []  # only where all rows are wanted at once
    if options.out:
        sinks += [kept.append] * bool(answers)
        counts = predict_file(models, photos, options.out, looking, checks, sinks=sinks)
    else:
        kept.append(predict_table(models, photos, looking, checks))
        counts = Counts()
        for sink in (counts.add, *sinks):
            sink(kept[0])
        counts.check_any()
    if answers:
        import pandas as pd

        from agegender.data.sources.masked_faces import write_answers

        table = pd.concat(kept, ignore_index=True)
        write_answers(table[table["error"].isna()], Path(info), Path(answers))
    if sheet is not None:
        sheet.write(options.report)
    return _summary(options, counts) if options.out else _rows(kept[0], models, checks)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    return execute(build_parser(), run, arguments)


def _add_engine_options(parser: argparse._ActionsContainer) -> None:
    """Add --engine, and what belongs to Dask."""
    parser.add_argument(
        "--engine",
        choices=("local", "dask"),
        default="local",
        help="dask: predict shards of photos by several processes or machines (needs the extra dask). PHOTO may also "
        "be Parquet files whose column path lists photos, or a folder of such; --out is a folder of Parquet files "
        "(default: local)",
    )
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="with --engine dask: compute by the workers of this Dask scheduler, tcp://HOST:8786; photos, model and "
        "--out lie where all of them see them at the same path",
    )
    parser.add_argument(
        "--workers",
        metavar="N",
        type=int,
        help="with --engine dask: so many processes here (default: one per core)",
    )
    parser.add_argument(
        "--shard-photos",
        metavar="N",
        type=int,
        help="with --engine dask: photos per Parquet file (default: 2048)",
    )


def _check_engine_options(options: argparse.Namespace) -> None:
    """Refuse what one engine alone knows with the other."""
    if options.engine == "local":
        given = [name for name in ("scheduler", "workers", "shard_photos") if getattr(options, name) is not None]
        if given:
            raise UsageError(f"--{given[0].replace('_', '-')} is for --engine dask.")
        return
    for name in ("workers", "shard_photos"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise UsageError(f"--{name.replace('_', '-')} must be at least 1, not {value}.")
    if not options.out:
        raise UsageError("--engine dask writes a folder of Parquet files: name it with --out.")
    if options.report or options.answers:
        name = "--report" if options.report else "--answers"
        raise UsageError(f"{name} is made on one machine: leave it out, or predict without --engine dask.")
    if options.scheduler and options.workers:
        raise UsageError("--workers starts processes here, and --scheduler has workers of its own: give one of them.")


def _check_outputs(options: argparse.Namespace) -> None:
    from agegender.writing import check_writable

    if options.report and options.report.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--report {options.report}: the page is an HTML file. Write --report {options.report}.html.")
    if options.hide_faces is not None and not options.report:
        raise UsageError("--no-faces and --show-faces are about the page that --report writes.")
    if options.out and options.engine == "local":
        from agegender.audit.predictions_files import check_ending

        check_ending(options.out)
    for place in (options.out, options.report):
        if place:
            check_writable(place.parent)


def _photos(given: Sequence[str]) -> list[str]:
    """Return what stands on the command line, `-` replaced by the list on stdin."""
    from agegender.photos.finding import refuse_address

    for name in given:
        refuse_address(name)
    if "-" not in given:
        if not any(map(has_magic, given)):  # what a pattern matches is seen when it is asked
            check_photos([Path(name) for name in given])
        return list(given)
    data = sys.stdin.buffer.read()
    names = [os.fsdecode(name) for name in (data.split(b"\0") if b"\0" in data else data.splitlines())]
    listed = [name for name in names if name.strip()]
    if not listed and set(given) == {"-"}:
        raise UsageError("the list on stdin names no photo. Write one file a line, as find and ls do.")
    place = list(given).index("-")
    return [*given[:place], *listed, *(name for name in given[place:] if name != "-")]


def _models(options: argparse.Namespace) -> dict[str, Model]:
    """Return the models by the names that rows call them by."""
    from agegender.model.model_folder import chosen_model_or_export

    places = [chosen_model_or_export(place, options.models_dir) for place in options.model or [None]]
    from agegender.api.model import Model
    from agegender.model.shipped import warn_of_drawn

    models: dict[str, Model] = {}
    for place in places:
        model = Model.load(
            place, device=options.device, precision=options.precision, runtime=options.runtime,
            detector_file=options.crop_model,
        )  # fmt: skip
        warn_of_drawn(model.card, place)
        name = model.name if model.name not in models else str(place)
        if name in models:
            raise UsageError(f"--model {place} is given twice.")
        models[name] = model
    return models


def _sheet(options: argparse.Namespace, models: Mapping[str, Model]) -> ContactSheet | None:
    if not options.report:
        return None
    from agegender.api.predicting import heads_of_all
    from agegender.pages.contact_sheet import ContactSheet
    from agegender.pages.report_set import is_hiding_faces, remember_faces

    if options.hide_faces is not None:
        remember_faces(options.report.parent, hide_faces=options.hide_faces)
    drawn = [name for name, model in models.items() if (model.card.get("data") or {}).get("is_drawn") is True]
    notices = [f"{name} was trained on drawn faces and has never seen a real one." for name in drawn]
    hides = is_hiding_faces(options.report.parent)
    return ContactSheet(list(models), heads_of_all(models.values()), hide_faces=hides, notices=notices)


def _summary(
    options: argparse.Namespace, counts: Counts, facts: Mapping[str, Any] | None = None, more: str = ""
) -> Result:
    document = {
        **(facts or counts.document()),
        "out": str(options.out),
        "report": options.report and str(options.report),
    }
    lines = [f"{options.out}: {more}{counts.photos:,} photos, {counts.faces:,} faces, {counts.unreadable:,} unreadable"]
    if counts.unreadable:
        lines.append(f"first of these: {counts.first_error}")
    lines += [f"{count:>7,} {problem}" for problem, count in counts.problems.most_common()]
    return Result(document, "\n".join([*lines, *([f"page {options.report}"] if options.report else [])]))


def _in_shards(
    options: argparse.Namespace, models: Mapping[str, Model], photos: Sequence[str], looking: Looking,
    checks: Mapping[str, float],
) -> Result:  # fmt: skip
    from agegender.api.dask_engine import Cluster, predict_in_shards

    done = predict_in_shards(
        models, photos, options.out, looking, checks, cluster=Cluster(options.scheduler, options.workers),
        **({} if options.shard_photos is None else {"shard_photos": options.shard_photos}),
    )  # fmt: skip
    return _summary(options, done.counts, done.document(), f"{done.shards:,} shards, {done.skipped:,} there before; ")


def _rows(table: pd.DataFrame, models: Mapping[str, Model], checks: Mapping[str, float]) -> Result:
    from agegender.audit.predictions_files import json_rows
    from agegender.heads import limits_to_check

    rows = json_rows(table)
    limits = {name: limits_to_check(checks, model.heads) for name, model in models.items()}
    first = next(iter(models))
    lines = [_line(row, models[row.get("model", first)], limits[row.get("model", first)]) for row in rows]
    return Result(rows, "\n".join(lines))


def _line(row: Mapping[str, Any], model: Model, limits: Sequence[tuple[Any, float]]) -> str:
    several = row.get("face_count", 1) > 1
    named = str(row["path"])
    named += f" (face {row['face'] + 1} of {row['face_count']})" if several else ""
    named += f", {row['model']}" if "model" in row else ""
    if "error" in row:
        return f"{named}: {row['error']}"
    said = [head.sentence(row) for head in model.heads]
    said += [head.check_sentence(row[head.check_column(limit)], limit) for head, limit in limits]
    problems = f" [{', '.join(row['problems'])}]" if row["problems"] else ""
    return f"{named}: {', '.join(said)}{problems}"


def _checks(texts: Sequence[str]) -> dict[str, float]:
    return number_pairs(texts, "--check", "HEAD=LIMIT, such as age=25")


if __name__ == "__main__":
    raise SystemExit(main())
