"""The command `explain`: a model and photos in, what it looked at out, and how far that can be believed."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agegender.console import Result, command_parser, execute
from agegender.errors import UsageError
from agegender.explanation import EXPLANATIONS_FOLDER, FILLS, GRAD_CAM, OCCLUSION, SEGMENTS, require_captum
from agegender.options import (
    add_device_options,
    add_folder_option,
    add_images_option,
    add_model_option,
    add_no_faces_option,
    add_split_option,
    check_device,
    check_faces_file,
    check_images_folder,
    check_photos,
)
from agegender.settings import REPORT_BYTES

if TYPE_CHECKING:
    from agegender.api.explaining import Explanations
    from agegender.api.model import Model
    from agegender.explanation.choosing_faces import Choice
    from agegender.explanation.face_explanation import FaceExplanation

_COUNTS = ("worst", "mistakes", "best", "random")
EPILOG = """\
examples:
  agegender explain portrait.jpg
  agegender explain --report
      of the newest model's own test split 48 faces at random, the largest errors, the most certain mistakes, and
      reports/<model>/lime.html, which begins with what holds for the faces at random
  agegender explain --model models/first --faces faces.parquet --random 20 --group ethnicity=Asian --segments face-grid
  agegender explain --onnx genderage.onnx --input white=255 --head age=fc1:columns=2,scale=100 \
      --head "gender=fc1:columns=0-1,classes=female|male" --faces faces.parquet --worst 5 --report
      somebody else's model, with every page that a table of its predictions allows

An ONNX file that is not ours says little of itself: --input KEY=VALUE (layout, size, colour, white, mean, std; white is
what a white pixel is before mean and std) and --head NAME=OUTPUT:KEY=VALUE,… (columns, values, classes, unit, scale,
shift, first), or both as JSON with --about. What is said is held against the graph and its answers to test pictures.
Explanations take the place of earlier ones in --out together, at the end; Ctrl-C keeps those that are done, and the
same command goes on from there: what was explained in the very same way is not explained again.
Of faces at random the averages are made. They are sampled more lightly than others (--samples auto), and where the
parts of their faces are known these are the regions (--segments slic)."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = command_parser("explain", "Show which parts of a face a prediction rests on.", epilog=EPILOG)
    parser.add_argument("photos", metavar="PHOTO", nargs="*", type=Path, help="photos, or folders of photos")
    add_model_option(parser, takes_exported=True)
    add_device_options(parser)
    foreign = parser.add_argument_group("somebody else's model")
    foreign.add_argument("--onnx", metavar="FILE", type=Path, help="an ONNX file that is not ours")
    foreign.add_argument("--about", metavar="FILE", type=Path, help="JSON that says what it takes and gives")
    foreign.add_argument(
        "--input", metavar="KEY=VALUE", action="append", default=[], help="how it wants its pixels; may be repeated"
    )
    foreign.add_argument(
        "--head",
        metavar="NAME=OUTPUT:KEY=VALUE,…",
        action="append",
        default=[],
        help="which output is which head; may be repeated",
    )
    table = parser.add_argument_group("faces of a table")
    table.add_argument(
        "--faces", metavar="FILE", type=Path, help="a faces table (default: the one the model was trained with)"
    )
    add_images_option(table)
    add_split_option(table, "which part of it (default: test)")
    table.add_argument(
        "--worst", metavar="N", type=int, help="faces with the largest errors of each number, such as age"
    )
    table.add_argument(
        "--mistakes",
        metavar="N",
        type=int,
        help="faces taken for a wrong class, of gender for example, the most certain",
    )
    table.add_argument("--best", metavar="N", type=int, help="faces with the smallest errors of each head")
    table.add_argument(
        "--random",
        metavar="N",
        type=int,
        help="faces at random, whose averages the page begins with (without any of these four and without photos: "
        "--random 48 --worst 6 --mistakes 6)",
    )
    table.add_argument(
        "--group", metavar="COLUMN=VALUE", action="append", default=[], help="only faces of this group; may be repeated"
    )
    lime = parser.add_argument_group("explanation")
    lime.add_argument(
        "--samples",
        metavar="auto|N",
        default="auto",
        help="perturbed photos per face; auto: until the strongest regions hold still (default: auto)",
    )
    lime.add_argument("--segments", choices=SEGMENTS, default="slic", help="kind of regions (default: slic)")
    lime.add_argument("--fill", choices=FILLS, default="mean", help="what covers a region (default: mean)")
    lime.add_argument("--seed", metavar="N", type=int, default=0, help="(default: 0)")
    lime.add_argument(
        "--second-opinions",
        action="store_true",
        help="occlusion beside LIME and Grad-CAM, which stands there wherever the extra explain is installed",
    )
    output = parser.add_argument_group("output")
    output.add_argument("--report", action="store_true", help="also write the page lime.html")
    output.add_argument(
        "--out", metavar="FOLDER", type=Path, help="where results are written (default: reports/<model>/explanations)"
    )
    add_folder_option(output, "reports")
    add_no_faces_option(output)
    return parser


def run(options: argparse.Namespace) -> Result:
    """Choose, explain, write."""
    samples, group = _samples(options.samples), _group(options)
    check_photos(options.photos)
    check_faces_file(options.faces)
    check_images_folder(options.images)
    check_device(options.device)
    if options.second_opinions:
        require_captum()
    about = _about(options)
    from agegender.model.model_folder import chosen_model_or_export, is_exported

    folder = options.onnx or chosen_model_or_export(options.model, options.models_dir)
    if is_exported(folder) and not (options.photos or options.faces):
        raise UsageError(f"{folder} knows no faces of its own: name photos, or a faces table with --faces.")
    _check_group(group, options.faces, folder)
    from agegender.api.explaining import PhotoToExplain, chosen_photos, explain_photos, usual_methods
    from agegender.api.model import Model
    from agegender.explanation.lime_explainer import LimeSettings
    from agegender.pages.report_set import is_hiding_faces
    from agegender.photos.finding import named_photos, printable
    from agegender.writing import check_space, check_writable

    reports = options.reports_dir / (folder.stem if is_exported(folder) else folder.name)
    out = options.out or reports / EXPLANATIONS_FOLDER
    check_writable(out)
    check_space(reports if options.report else out, REPORT_BYTES, "a set of explanations")
    images = None if options.faces else options.images
    model = (
        Model.from_onnx(folder, about)
        if options.onnx
        else Model.load(folder, device=options.device, precision=options.precision, images=images)
    )
    settings = LimeSettings(samples, options.segments, fill=options.fill, seed=options.seed, device=str(model.device))
    photos = [PhotoToExplain(photo, printable(photo)) for photo in named_photos(options.photos)] or chosen_photos(
        model, folder, _choice(options, group), faces_file=options.faces, images=options.images, split=options.split
    )
    hides = is_hiding_faces(reports) if options.hide_faces is None else options.hide_faces
    methods = (GRAD_CAM, OCCLUSION) if options.second_opinions else usual_methods(model)
    explanations = explain_photos(model, photos, settings, out, methods=methods, hide_faces=hides)
    page = _write_page(model, reports, explanations.faces, options) if options.report else None
    return Result(_document(explanations), _text(explanations, out, page))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    return execute(build_parser(), run, arguments)


def _about(options: argparse.Namespace) -> dict[str, Any]:
    """Return what is said of somebody else's model, as one document."""
    said = {"--about": options.about, "--input": options.input, "--head": options.head}
    if options.onnx is None:
        for name in filter(said.get, said):
            raise UsageError(f"{name} is about somebody else's model, which --onnx names.")
        return {}
    if options.model:
        raise UsageError("--onnx and --model exclude each other: give one of them.")
    if options.device not in ("auto", "cpu") or options.precision not in ("auto", "fp32"):
        raise UsageError("--onnx runs on the processor, as it was exported: leave --device and --precision out.")
    from agegender.model.foreign_about import read_about, words_of_head, words_of_input

    document = read_about(options.about) if options.about else {}
    if options.input:
        document["input"] = {**(document.get("input") or {}), **words_of_input(options.input)}
    if options.head:
        document["heads"] = [words_of_head(word) for word in options.head]
    return document


def _write_page(model: Model, reports: Path, faces: list[FaceExplanation], options: argparse.Namespace) -> Path:
    """Write the page of explanations; of an .onnx file and a faces table every page, from predictions made now."""
    from dataclasses import replace

    from agegender.api.faces import Faces
    from agegender.pages.report_set import is_hiding_faces, write_report_set

    only: tuple[str, ...] | None = ("lime",)
    if model.predictions is None and options.faces:
        model.faces = Faces.load(options.faces, root=options.images)
        model.predictions, only = model.predict(model.faces, split=options.split), None
    if model.predictions is None:
        from agegender.pages.lime_page import write_lime

        hides = is_hiding_faces(reports) if options.hide_faces is None else options.hide_faces
        return write_lime(reports / "lime.html", faces, title=model.name, hide_faces=hides)
    content = replace(model.report_content(), explanations=faces)
    return write_report_set(reports, content, hide_faces=options.hide_faces, only=only).pages["lime"]


def _samples(given: str) -> int | str:
    if given == "auto":
        return given
    if not given.isdigit() or int(given) < 4:
        raise UsageError(f"--samples {given}: expected auto, or a number of perturbed photos from 4.")
    return int(given)


def _group(options: argparse.Namespace) -> dict[str, str]:
    """Check what the options ask for, and return the group as a column's name to its value."""
    counts = {f"--{name}": getattr(options, name) for name in _COUNTS}
    for name, count in counts.items():
        if count is not None and count < 0:
            raise UsageError(f"{name} {count}: expected 0 or more faces.")
    if options.photos and (any(counts.values()) or options.faces or options.group or options.images):
        raise UsageError("give either photos, or --worst, --mistakes, --best and --random of a faces table, not both.")
    if not options.photos and 0 in counts.values() and not any(counts.values()):
        raise UsageError("nothing to explain: every count is 0.")
    for text in options.group:
        if "=" not in text:
            raise UsageError(f"--group {text}: expected COLUMN=VALUE, for example ethnicity=Asian.")
    return dict(text.split("=", 1) for text in options.group)


def _choice(options: argparse.Namespace, group: dict[str, str]) -> Choice:
    """Return how many faces of each kind are wanted; what was left open is as on every report."""
    from agegender.explanation.choosing_faces import REPORT_CHOICE, Choice

    counts = {name: getattr(options, name) for name in _COUNTS}
    usual = {name: getattr(REPORT_CHOICE, name) for name in _COUNTS}
    wanted = usual if all(count is None for count in counts.values()) else counts
    return Choice(**{name: wanted[name] or 0 for name in _COUNTS}, group=group, seed=options.seed)


def _check_group(group: dict[str, str], faces_file: Path | None, folder: Path) -> None:
    """Refuse a group that nobody is in before torch is loaded."""
    if not group:
        return
    from agegender.audit.predictions_table import read_predictions
    from agegender.data.faces_table import read_faces
    from agegender.explanation.choosing_faces import of_group
    from agegender.model.model_folder import FACES_FILE, PREDICTIONS_FILE

    is_predicted = faces_file is None and (folder / PREDICTIONS_FILE).is_file()
    rows = read_predictions(folder / PREDICTIONS_FILE) if is_predicted else None
    of_group(read_faces(faces_file or folder / FACES_FILE, root=folder).kept() if rows is None else rows, group)


def _document(explanations: Explanations) -> list[dict[str, Any]]:
    from agegender.explanation.face_explanation import to_document

    return [
        {"path": name, "problems": [result]} if isinstance(result, str) else to_document(result)
        for name, result in explanations.results
    ]


def _text(explanations: Explanations, out: Path, page: Path | None) -> str:
    told = [face for face in explanations.faces if face.chosen_for or not face.is_random]
    lines = [line for face in told for line in _face_lines(face)]
    lines += _summary_lines(explanations.faces)
    lines += [f"{name}: left out, {reason}" for name, reason in explanations.unreadable]
    lines.append(f"{len(explanations.faces)} explanations are in {out}" + (f", the page is {page}" if page else ""))
    return "\n".join(lines)


def _summary_lines(faces: list[FaceExplanation]) -> list[str]:
    """Return what holds over the faces at random, as the page begins with it; of fewer than its least, face by face."""
    from agegender.explanation.maps import scales_of
    from agegender.explanation.part_effects import LEAST_PHOTOS, part_effects
    from agegender.pages.part_effects_section import effect_sentences

    sample = [face for face in faces if face.is_random]
    if len(sample) < LEAST_PHOTOS:
        return [line for face in sample if not face.chosen_for for line in _face_lines(face)]
    scales = scales_of((one.target, one.weights()) for face in sample for one in face.maps)
    lines = []
    for effects in part_effects(sample):
        lines.append(f"{effects.target.name}, over {effects.photo_count} faces at random:")
        lines += [f"  {sentence}" for sentence in effect_sentences(effects, scales[effects.target.key])]
    return lines


def _face_lines(face: FaceExplanation) -> list[str]:
    lines = [face.path + (f" ({face.reason})" if face.reason else "")]
    for one in face.maps:
        lines.append(f"  {one.target.name}: {one.value:.1f} {one.target.unit}. {one.verdict} {one.finding}".rstrip())
        lines += [
            f"    {region.name}: {region.weight:+.2f} {one.target.unit} ({region.low:.2f} to {region.high:.2f})"
            for region in one.strongest(3)
        ]
    return lines


if __name__ == "__main__":
    raise SystemExit(main())
