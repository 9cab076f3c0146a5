"""The command `train`: a folder of labelled faces in, a trained model and its reports out."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, redirect_stderr
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agegender.console import Result, command_parser, execute, metrics_lines
from agegender.errors import TrainingStopped, UsageError
from agegender.launching import check_processes, launched
from agegender.options import (
    add_training_options,
    check_model_name,
    check_training_options,
    settings_given,
    source_options,
    training_keywords,
)
from agegender.settings import DRAWN_DEFAULTS, OWN_DEFAULTS, REPORT_BYTES, SIZES
from agegender.training_settings import TrainingSettings, check_folds_asked, check_untracked

if TYPE_CHECKING:
    from agegender.api.model import Model
    from agegender.data.faces_table import FacesTable

EPILOG = """\
examples:
  agegender train --size small
      draw 1,200 faces, train on them, and write reports/<name>/index.html
  agegender train --size small --source utkface --data UTKFace --weights none --image-size 96 --epochs 12
  agegender train --faces faces.parquet --body efficientnet_b0
  agegender train --faces faces.parquet --heads age gender expression mask
  agegender train --faces faces.parquet --folds 5 --name five
      five networks that answer as one; each photo is judged by the one that never saw it
  agegender train --faces faces.parquet --name long --epochs 40 --minutes 60
  agegender train --resume long --minutes 60
      the next hour of it; --resume goes on after a crash or Ctrl-C as well, from the last whole epoch
  agegender train --faces faces.parquet --epochs 6 --search learning_rate=1e-4..1e-2:log ema=none,0.99 --trials 20
      twenty short trainings, and the command of the best; the same command goes on after a stop
  torchrun --nproc_per_node 4 -m agegender.train --faces faces.parquet --processes 4 --batch-size 256
      four processes, on a GPU each, with 64 photos of every batch (docs/several-processes.md)

A run writes models/<name>/ and reports/<name>/, both at its end and as one, and runs/<name>/ (tensorboard --logdir
runs). Until then it lives in models/<name>.unfinished/."""

# Keywords that are not spelt as their options.
_SPELT = {"losses": "loss", "loss_weights": "loss-weight", "allows_sensitive": "sensitive-head"}


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = command_parser(
        "train", "Train one network with a head for each thing to predict, then tell the truth about it.", epilog=EPILOG
    )
    add_training_options(parser)
    return parser


def typed_options(arguments: Sequence[str] | None) -> frozenset[str]:
    """Return which options stand on the command line, also where they say what is usual.

    >>> sorted(typed_options(["--resume", "long", "--learning-rate", "0.002"]))
    ['learning_rate', 'resume']
    """
    parser = build_parser()
    parser.set_defaults(**dict.fromkeys(vars(parser.parse_args([]))))  # None is what nobody can type
    return frozenset(name for name, value in vars(parser.parse_args(arguments)).items() if value is not None)


def run(options: argparse.Namespace, typed: frozenset[str] = frozenset()) -> Result:
    """Gather, train, report; in several processes this is what the first one does."""
    check_training_options(options)
    if options.resume is None:
        check_folds_asked(options.folds, options.vote)
    if options.folds is not None and options.fold is not None:
        raise UsageError("--fold trains on one fold of a table, --folds on all in turn: give one of them.")
    if options.folds is not None and launched().count > 1:
        raise UsageError("--folds trains one fold after the other in one process: give each run of several a --fold.")
    if options.find_rate and (options.resume is not None or options.folds is not None):
        raise UsageError("--find-rate looks for the rate of a new run: leave --resume and --folds out.")
    if options.find_rate and launched().count > 1:
        raise UsageError("--find-rate looks for a rate in one process: start it without torchrun.")
    if options.find_rate:
        check_untracked(options.track, "--find-rate")
    if options.search or options.trials is not None or options.objective != "loss":
        return _searched(options)
    with _among_processes(options):
        return _run(options, typed)


def _searched(options: argparse.Namespace) -> Result:
    from agegender.train_search import check_search, searched

    check_search(options, build_parser())
    _check_places(options, has_report=not options.no_report)
    return searched(options, build_parser(), partial(_gathered, options))


def _among_processes(options: argparse.Namespace) -> AbstractContextManager[Any]:
    check_processes(options.processes, options.batch_size)
    if launched().count == 1:
        return nullcontext()
    from agegender.model.several_processes import joined

    return joined()


def _follow(_: argparse.Namespace) -> Result:
    """Help the process that leads; it says everything, what is wrong with the options included."""
    from agegender.model.several_processes import joined
    from agegender.model.training import follow

    with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere), joined():
        follow()
    raise SystemExit(0)


def _run(options: argparse.Namespace, typed: frozenset[str]) -> Result:
    keywords = training_keywords(options)
    choices = {"hide_faces": options.hide_faces, "no_report": options.no_report}
    if options.resume is not None:
        choices = _choices_of_run(options, keywords, typed)
    elif options.name is not None:
        from agegender.model.unfinished import check_name_is_free, unfinished_folder

        check_name_is_free(unfinished_folder(options.models_dir / options.name))
    if options.find_rate:
        return _rate_found(options, keywords)
    _check_places(options, has_report=not choices["no_report"])
    try:
        model = _resumed(options, typed) if options.resume is not None else _trained(options, keywords, choices)
    except TrainingStopped as stopped:
        document = {"unfinished": str(stopped.folder), "epochs_done": stopped.epoch, "epochs": stopped.epochs}
        return Result(document, str(stopped))
    return _stored(options, model, choices)


def _check_places(options: argparse.Namespace, *, has_report: bool) -> None:
    from agegender.writing import check_space, check_writable

    for folder in [options.models_dir, options.runs_dir] + ([options.reports_dir] if has_report else []):
        check_writable(folder)
    if has_report:
        check_space(options.reports_dir, REPORT_BYTES, "a report")


def _rate_found(options: argparse.Namespace, keywords: dict[str, Any]) -> Result:
    """Look for a learning rate, and draw how the loss went."""
    from agegender.writing import check_writable

    check_writable(options.runs_dir)
    faces = _gathered(options, keywords)
    from agegender.api.model import Model

    found = Model.find_rate(faces, **keywords)
    options.runs_dir.mkdir(parents=True, exist_ok=True)
    plot = options.runs_dir / f"{options.name or options.body or options.size}-learning-rate.svg"
    found.save(plot)
    readings = ", ".join(f"{name} {rate:.2g}" for name, rate in found.suggestions.items())
    words = [f"--learning-rate {found.rate:.2g}", f"readings of the curve: {readings}", f"plot     {plot}"]
    return Result({**found.to_dict(), "plot": str(plot)}, "\n".join(words))


def _gathered(options: argparse.Namespace, keywords: dict[str, Any]) -> FacesTable:
    """Return the faces to train on; refuse what can be refused before photos are read."""
    from agegender.data.preparing import gather

    if not (options.data or options.faces):  # before faces are drawn
        if options.heads is None and not options.auxiliary:
            from agegender.heads import KNOWN_HEADS, answering_by, check_head_names, with_settings

            losses = keywords["losses"]
            check_head_names((*losses, *keywords["loss_weights"]), KNOWN_HEADS)
            answering_by(options.point, [with_settings(head, loss=losses.get(head.name)) for head in KNOWN_HEADS])
        _check_network(options, keywords, DRAWN_DEFAULTS)
    return gather(
        faces=options.faces, source=options.source, folders=options.data, options=source_options(options),
        limit=options.limit, seed=options.seed, fold=options.fold, images=options.images,
        check=partial(_check_before_photos, options, keywords),
    )  # fmt: skip


def _trained(options: argparse.Namespace, keywords: dict[str, Any], choices: dict[str, Any]) -> Model:
    faces = _gathered(options, keywords)
    from agegender.api.model import Model

    places = {"runs_dir": options.runs_dir, "models_dir": options.models_dir}
    leg = {"stop_after": options.stop_after, "minutes": options.minutes}
    in_folds = {"folds": options.folds, "vote": options.vote}
    return Model.train(faces, **places, **leg, **in_folds, choices=choices, **keywords)


def _resumed(options: argparse.Namespace, typed: frozenset[str]) -> Model:
    from agegender.api.model import Model
    from agegender.model.unfinished import CHANGEABLE

    leg = {"stop_after": options.stop_after, "minutes": options.minutes}
    changed = {name: getattr(options, name) for name in CHANGEABLE if name in typed}
    return Model.resume(
        options.models_dir / options.resume, device=options.device, precision=options.precision, images=options.images,
        runs_dir=options.runs_dir, **leg, **changed,
    )  # fmt: skip


def _choices_of_run(
    options: argparse.Namespace, keywords: dict[str, Any], typed: frozenset[str]
) -> dict[str, Any]:  # fmt: skip
    """Return how the run that is to be resumed began to write; refuse options that contradict it."""
    from agegender.model.unfinished import contradictions, read_run, unfinished_folder

    check_model_name(options.resume)
    if options.faces or options.data or options.source or options.limit or options.fold is not None:
        raise UsageError("--resume goes on with the run's own faces table. Leave --faces, --data and the like out.")
    given = {name: value for name, value in keywords.items() if _SPELT.get(name, name).replace("-", "_") in typed}
    run = read_run(unfinished_folder(options.models_dir / options.resume))
    if options.folds not in (None, run.folds):
        raise UsageError(
            f"--folds {options.folds} contradicts the run {options.resume}, which has {run.folds or 'none'}."
        )
    if "vote" in typed and options.vote != run.vote:
        raise UsageError(f"--vote {options.vote} contradicts the run {options.resume}, which began with {run.vote}.")
    for name, (there, here) in contradictions(run.plan, given).items():
        option = _SPELT.get(name, name.replace("_", "-"))
        raise UsageError(
            f"--{option} {here} contradicts the run {options.resume}, which began with {there}. Leave the option out, "
            f"or begin another run with --name."
        )
    hides = run.choices.get("hide_faces") if options.hide_faces is None else options.hide_faces
    return {"hide_faces": hides, "no_report": options.no_report or bool(run.choices.get("no_report"))}


def _stored(options: argparse.Namespace, model: Model, choices: dict[str, Any]) -> Result:
    reports = None if choices["no_report"] else options.reports_dir / model.name
    from agegender.pages.report_set import PAGES

    folder = model.save(options.models_dir / model.name, reports=reports, hide_faces=choices["hide_faces"])
    places = {} if reports is None else {name: reports / f"{name}.html" for name in PAGES}
    pages = {name: place for name, place in places.items() if place.is_file()}  # older ones went with the swap
    card = model.card
    document = {
        "model": str(folder),
        "runs": str(options.runs_dir / model.name),
        "reports": {name: str(path) for name, path in pages.items()},
        "heads": [head.name for head in model.heads],
        **{name: card.get(name) for name in ("precision", "device", "best_epoch", "metrics", "seconds")},
    }
    lines = [f"model    {folder}", f"runs     {document['runs']}", *(f"report   {path}" for path in pages.values())]
    return Result(document, "\n".join([*lines, *metrics_lines(card["metrics"], model.heads)]))


def _check_before_photos(options: argparse.Namespace, keywords: dict[str, Any], faces: FacesTable) -> None:
    """Refuse labels, a body or a device that is not there: reading photos takes minutes, loading torch seconds."""
    from agegender.data.balancing import check_balance
    from agegender.data.relabelling import relabelled
    from agegender.heads import Regression, choose_heads
    from agegender.model.search_space import check_measured, parse_objective

    rows, settings = faces.kept(), TrainingSettings.of_keywords(settings_given(options), {})
    if not rows.empty:
        heads, _ = choose_heads(
            keywords["heads"], rows, losses=keywords["losses"], weights=keywords["loss_weights"],
            allows_sensitive=keywords["allows_sensitive"], auxiliary=settings.auxiliary, point=settings.point,
        )  # fmt: skip
        kinds = {head.name: isinstance(head, Regression) for head in heads}
        check_measured(parse_objective(options.objective), kinds)
        check_balance(rows, settings, options.balance)
        # There may be no split yet; what is kept would be learnt.
        relabelled(replace(faces, table=rows.assign(split="train")), heads, settings.relabel)
    _check_network(options, keywords, DRAWN_DEFAULTS if faces.is_drawn() else OWN_DEFAULTS)


def _check_network(options: argparse.Namespace, keywords: dict[str, Any], defaults: dict[str, int]) -> None:
    from agegender.model.bodies import check_body, check_sizes
    from agegender.model.optimisers import check_optimiser
    from agegender.model.precision import choose_device, choose_precision
    from agegender.model.tracking import check_tracking

    check_tracking(options.track)
    choose_precision(options.precision, choose_device(options.device))
    check_optimiser(options.optimiser)
    if options.body:
        check_body(options.body, options.weights or "none")
    given = {name: value for name, value in keywords.items() if name in vars(TrainingSettings())}
    sizes = TrainingSettings.of_keywords(given, defaults).sizes(options.image_size or defaults["image_size"])
    check_sizes(options.body or SIZES[options.size], sizes)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser, here = build_parser(), launched()
    if here.leads:
        return execute(parser, lambda options: run(options, typed_options(arguments)), arguments)
    parser.prog += f", {here}"
    return execute(parser, _follow, [])


if __name__ == "__main__":
    raise SystemExit(main())
