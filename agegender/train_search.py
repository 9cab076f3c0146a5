"""What `train --search` does: refuse what cannot be searched, search, and write what was found."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agegender.console import Result
from agegender.errors import UsageError
from agegender.launching import launched
from agegender.options import pairs_of, training_keywords
from agegender.training_settings import check_untracked

if TYPE_CHECKING:
    from agegender.data.faces_table import FacesTable
    from agegender.model.searching import Search

_SEARCHED = "NAME=VALUES, such as learning_rate=1e-4..1e-2:log or image_size=64,96"
_OF_SEARCH = ("help", "json", "search", "trials", "objective")


def _ranges(options: argparse.Namespace) -> dict[str, str]:
    """Return what --search says, by name."""
    given: dict[str, str] = {}
    for text in options.search:
        for name, values in pairs_of([text], "--search", _SEARCHED).items():
            if given.setdefault(name.replace("-", "_"), values) is not values:
                raise UsageError(f"--search names {name} twice.")
    return given


def check_search(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuse a search that cannot be made, before anything heavy is loaded."""
    from agegender.model.search_space import check_search_extra, check_space, parse_objective, parse_space

    if not options.search or options.trials is None:
        raise UsageError(
            "a search takes --search and --trials: --search learning_rate=1e-4..1e-2:log image_size=64,96 --trials 20."
        )
    usual = parser.parse_args([])
    for name in ("resume", "folds", "stop_after", "minutes", "find_rate"):
        if getattr(options, name) != getattr(usual, name):
            raise UsageError(f"--{name.replace('_', '-')} is of one run, and --search makes several: leave it out.")
    check_untracked(options.track, "--search")
    if launched().count > 1:
        raise UsageError("--search trains in one process: start it without torchrun.")
    space = parse_space(_ranges(options))
    for one in space:
        given = next((name for name in (one.name, "body") if _is_given(name, one.name, options, usual)), None)
        if given is not None:
            raise UsageError(f"--{given.replace('_', '-')} fixes what --search {one.name} varies: leave one out.")
    check_space(space, parse_objective(options.objective))
    check_search_extra()


def _is_given(name: str, searched: str, options: argparse.Namespace, usual: argparse.Namespace) -> bool:
    counts = searched in {name, "size"}  # a body has no other size
    return counts and getattr(options, name) != getattr(usual, name)


def searched(
    options: argparse.Namespace, parser: argparse.ArgumentParser, gather: Callable[[dict[str, Any]], FacesTable]
) -> Result:
    """Search, write what was found as table, drawing and page, and say the command that trains the best."""
    keywords = training_keywords(options)
    name = options.name or re.sub(r"[^\w.-]", "-", options.body or options.size)
    folder, reports = options.models_dir / f"{name}.search", options.reports_dir / f"{name}-search"
    _check_searched_bodies(_ranges(options))
    faces = gather(keywords)
    from agegender.api.model import Model

    judged = {"trials": options.trials, "objective": options.objective}
    found = Model.search(faces, _ranges(options), folder=folder, **judged, **keywords)
    command = command_of(parser, options, found.best)
    document = found.to_dict() | {"folder": str(folder), "command": command}
    lines = [f"{len(found.table)} trials, best {options.objective} {found.value:.4g} ({found.objective.words})"]
    lines += [f"{setting}: {share:.0%} of the differences" for setting, share in found.importances.items()]
    if not options.no_report:
        found.save(reports)
        page = _write_page(reports / "search.html", name, found, command, is_drawn=faces.is_drawn())
        places = {"page": page, "table": reports / "search.csv", "plot": reports / "search.svg"}
        document |= {what: str(place) for what, place in places.items()}
        lines += [f"{what:<8} {place}" for what, place in places.items()]
    lines += ["The best of several looks better than it is; the test photos, which no trial saw, will tell:"]
    return Result(document, "\n".join([*lines, command]))


def _write_page(path: Path, name: str, found: Search, command: str, *, is_drawn: bool) -> Path:
    from agegender.pages.search_page import write_search

    return write_search(
        path, title=name, table=found.table, best=found.best, value=found.value, words=found.objective.words,
        rises=found.objective.direction == "maximize", importances=found.importances, command=command,
        is_drawn=is_drawn,
    )  # fmt: skip


def _check_searched_bodies(ranges: dict[str, str]) -> None:
    from agegender.model.bodies import check_body
    from agegender.model.search_space import parse_space

    for body in (body for one in parse_space(ranges) if one.name == "body" for body in one.values):
        check_body(body)


def command_of(parser: argparse.ArgumentParser, options: argparse.Namespace, best: dict[str, Any]) -> str:
    """Return the command that trains once with the settings that did best."""
    words = ["agegender", "train"]
    for action in parser._actions:
        value = best.get(action.dest, getattr(options, action.dest, None))
        value = list(value) if isinstance(value, tuple) else value
        if action.dest in _OF_SEARCH or value in (None, "", []) or value == action.default:
            continue
        several = value if isinstance(value, list) else [value]
        if action.nargs == 0:
            words += action.option_strings[:1] if action.const == value else []
        elif isinstance(action, argparse._AppendAction):
            words += [word for one in several for word in (action.option_strings[0], str(one))]
        else:
            words += [action.option_strings[0], *map(str, several)]
    return shlex.join(words)
