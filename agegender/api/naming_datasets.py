"""From the options of a command line, in their order, to the datasets that they name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agegender.data.preparation_settings import Dataset
from agegender.errors import UsageError


def name_datasets(steps: Sequence[tuple[str, Any]]) -> list[Dataset]:
    """Return what to read.

    Parameters
    ----------
    steps : sequence of (option, value)
        --source, --data, --option and --columns as they stood; the last three belong to the source before them.

    Raises
    ------
    UsageError
        A source without a folder, an option without its source, or one that is not of the form name=value.
    """
    datasets = []
    for source, given in _steps_by_source(steps):
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
    if not sources:
        raise UsageError("nothing to prepare: name a dataset with --source NAME --data FOLDER.")
    if len(sources) == 1:
        return [(sources[0], [step for step in steps if step[0] != "--source"])]
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
