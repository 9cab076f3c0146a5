"""Owns the section on groups of the page of explanations: what the model looks at for whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from agegender.audit.bias import age_group
from agegender.audit.comparisons import TITLES
from agegender.errors import UsageError
from agegender.explanation.results import FaceExplanation
from agegender.pages import maps
from agegender.pages.tables import Column, Row, Table
from agegender.pages.words import Interval, interval, number

if TYPE_CHECKING:
    from agegender.explanation.group_maps import GroupDifference, GroupMaps
    from agegender.pages.lime_page import Scale

_COLUMNS = ("gender", "ethnicity", "age_group")
_MOST_SENTENCES = 6
_GRID_PIXELS = 120


@dataclass(frozen=True)
class GroupPicture:
    """The mean map of one group."""

    name: str
    picture: str
    alt: str


@dataclass(frozen=True)
class GroupMapSection:
    """One head's mean maps over the groups of one column."""

    title: str
    limit: str
    pictures: Sequence[GroupPicture]
    sentences: Sequence[str]
    table: Table
    left_out: Sequence[str]


def group_sections(explanations: Sequence[FaceExplanation], scales: Mapping[str, Scale]) -> list[GroupMapSection]:
    """Return what can be said of groups; nothing where too few faces of any group were explained."""
    sections = []
    for column in _COLUMNS:
        groups = [_group_of(face.labels, column) for face in explanations]
        if len({group for group in groups if group}) < 2:
            continue
        sections += [_section(column, found, scales[found.output.key]) for found in _maps(explanations, groups)]
    return sections


def _maps(explanations: Sequence[FaceExplanation], groups: Sequence[str | None]) -> Sequence[GroupMaps]:
    from agegender.explanation.group_maps import group_maps

    try:
        return [found for found in group_maps(explanations, groups) if len(found.groups) > 1]
    except UsageError:  # no group has enough faces
        return []


def _section(column: str, found: GroupMaps, scale: Scale) -> GroupMapSection:
    from agegender.explanation.superpixels import face_grid

    grid = face_grid(_GRID_PIXELS, _GRID_PIXELS)
    blank = np.full((_GRID_PIXELS, _GRID_PIXELS, 3), 225, np.uint8)
    limit = maps.common_scale([group.weights.mean for group in found.groups])
    pictures = []
    for group in found.groups:
        image = maps.weight_picture(
            blank, grid, group.weights.mean, scale=limit, colours=scale.colours, hide_faces=False
        )
        strongest = found.parts[int(np.argmax(np.abs(group.weights.mean)))]
        alt = f"Mean map of the {found.output.key} head, {group.group}. Strongest part: {strongest}"
        pictures.append(GroupPicture(f"{group.group} ({group.face_count} faces)", image, alt))
    name = TITLES.get(column, column)
    return GroupMapSection(
        f"{found.output.key.capitalize()} head, by {name}",
        f"{number(limit, 1 if scale.unit == 'years' else 2)} {scale.unit}",
        pictures,
        _sentences(found, scale.unit),
        _table(f"parts-{found.output.key}-{column.replace('_', '-')}", found, scale.unit),
        found.left_out,
    )


def _sentences(found: GroupMaps, unit: str) -> list[str]:
    """Return the clear differences, largest first."""
    clear = [
        (abs(difference.weights.mean[place]), _sentence(found.parts[place], difference, int(place), unit))
        for difference in found.differences
        for place in np.flatnonzero(difference.is_clear)
    ]
    return [sentence for _, sentence in sorted(clear, reverse=True)[:_MOST_SENTENCES]]


def _sentence(part: str, difference: GroupDifference, place: int, unit: str) -> str:
    value = Interval(*(float(ends[place]) for ends in _ends(difference.weights)))
    words = interval(value, 1 if unit == "years" else 2, signed=True)
    return (
        f"{part}: {words} {unit} for {difference.group} ({difference.face_count} faces) against "
        f"{difference.others_count} others"
    )


def _table(identifier: str, found: GroupMaps, unit: str) -> Table:
    columns = [Column("part", "Part of the face")]
    columns += [
        Column(f"group_{place}", group.group, 1 if unit == "years" else 2, is_signed=True)
        for place, group in enumerate(found.groups)
    ]
    rows = [
        Row({"part": part} | {f"group_{i}": _interval(group.weights, place) for i, group in enumerate(found.groups)})
        for place, part in enumerate(found.parts)
    ]
    return Table(
        identifier, f"Mean weight of each part, {unit}", columns, rows, "Brackets: 95 % interval between faces."
    )


def _interval(values: Any, place: int) -> Interval:
    return Interval(*(float(ends[place]) for ends in _ends(values)))


def _ends(values: Any) -> tuple[Any, Any, Any]:
    return values.mean, values.low, values.high


def _group_of(labels: Mapping[str, Any], column: str) -> str | None:
    if column == "age_group":
        years = labels.get("age_years")
        found = age_group([years if isinstance(years, (int, float)) else np.nan])[0]
        return str(found) if found else None
    value = labels.get(column)
    return value if isinstance(value, str) and value else None
