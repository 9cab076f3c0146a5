"""The section on groups of the page of explanations: what the model looks at for whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from agegender.audit.estimates import Estimate
from agegender.audit.grouping import group_columns, title
from agegender.audit.words import FEW, interval, number
from agegender.errors import UsageError
from agegender.explanation.face_explanation import FaceExplanation
from agegender.explanation.face_parts import FACE_PARTS
from agegender.explanation.group_maps import GroupDifference, GroupMap, GroupMaps, PartMeans, group_maps, usual_parts
from agegender.explanation.maps import Scale, weight_picture
from agegender.heads.age_bands import with_age_group
from agegender.pages.tables import Column, Row, Table
from agegender.pages.thumbnails import webp

_MOST_SENTENCES = 6
_PICTURE_QUALITY = 72


def group_sections(
    sample: Sequence[FaceExplanation], scales: Mapping[str, Scale], *, hide_faces: bool = False
) -> list[dict[str, Any]]:
    """Return what can be said of groups, from faces at random; nothing where too few of any group were explained."""
    if not sample:
        return []
    labels = with_age_group(pd.DataFrame([dict(face.labels) for face in sample]))
    sections = []
    for column in group_columns(labels):
        groups = [value if isinstance(value, str) and value else None for value in labels[column]]
        if hide_faces:
            groups = [group if groups.count(group) >= FEW else None for group in groups]
        if len({group for group in groups if group}) > 1:
            sections += [_section(column, found, scales[found.target.key]) for found in _maps(sample, groups)]
    return sections


def no_groups_words(sample: Sequence[FaceExplanation]) -> str:
    """Return why no groups are compared."""
    if not sample:
        return (
            "Groups are compared over faces at random, lest the worst errors speak for everybody, and none was "
            "explained. `agegender explain --report` explains 48."
        )
    if usual_parts(sample) is None:
        return (
            "Groups are compared part by part, and where the parts of these faces are is not known. It is known of "
            "drawn faces, of photos aligned as UTKFace's are, and of faces that the detector finds."
        )
    return (
        "Too few faces at random of any two groups were explained to compare them: three of each are the least, and "
        "twenty begin to say something. `agegender explain --random 100 --report` explains more."
    )


def _maps(sample: Sequence[FaceExplanation], groups: Sequence[str | None]) -> Sequence[GroupMaps]:
    try:
        return [found for found in group_maps(sample, groups) if len(found.groups) > 1]
    except UsageError:  # no group has enough faces
        return []


def _section(column: str, found: GroupMaps, scale: Scale) -> dict[str, Any]:
    target = found.target
    largest = float(np.abs([group.weights.mean for group in found.groups]).max())
    own = Scale(target, largest or 1.0)
    return {
        "title": f"{target.title.capitalize()} head, by {title((column,))}",
        "limit": f"{number(own.limit, scale.digits)} {target.unit}".rstrip(),
        "is_on_a_face": found.parts.names != FACE_PARTS,
        "pictures": [_picture(group, found, own) for group in found.groups],
        "sentences": _sentences(found, scale),
        "table": _table(f"parts-{target.key}-{column}".replace("_", "-"), found, scale),
        "left_out": found.left_out,
    }


def _picture(group: GroupMap, found: GroupMaps, scale: Scale) -> dict[str, str]:
    places = found.parts.part_map
    blank = np.full((*places.shape, 3), 225, np.uint8)
    picture = weight_picture(blank, places.astype(np.int64), group.weights.mean, scale)
    strongest = found.parts.names[int(np.argmax(np.abs(group.weights.mean)))]
    return {
        "name": f"{group.group} ({group.face_count} faces)",
        "picture": webp(picture, _PICTURE_QUALITY),
        "alt": f"Mean map of the {found.target.title} head, {group.group}. Strongest part: {strongest}",
    }


def _sentences(found: GroupMaps, scale: Scale) -> list[str]:
    """Return the clear differences, largest first; of two groups one's, since the other's are the same turned round."""
    told = found.differences[:1] if len(found.differences) == 2 else found.differences
    clear = [
        (abs(difference.weights.mean[place]), _sentence(found.parts.names[place], difference, int(place), scale))
        for difference in told
        for place in np.flatnonzero(difference.is_clear)
    ]
    return [sentence for _, sentence in sorted(clear, reverse=True)[:_MOST_SENTENCES]]


def _sentence(part: str, difference: GroupDifference, place: int, scale: Scale) -> str:
    words = f"{interval(_interval(difference.weights, place), scale.digits, signed=True)} {scale.target.unit}".rstrip()
    return (
        f"{part}: {words} for {difference.group} ({difference.face_count} faces) against "
        f"{difference.others_count} others"
    )


def _table(identifier: str, found: GroupMaps, scale: Scale) -> Table:
    columns = [Column("part", "Part of the face")]
    columns += [
        Column(f"group_{place}", group.group, scale.digits, is_signed=True) for place, group in enumerate(found.groups)
    ]
    rows = [
        Row({"part": part} | {f"group_{i}": _interval(group.weights, place) for i, group in enumerate(found.groups)})
        for place, part in enumerate(found.parts.names)
    ]
    caption = ", ".join(part for part in ("Mean weight of each part", scale.target.unit) if part)
    return Table(identifier, caption, columns, rows, "Brackets: 95 % interval between faces.")


def _interval(values: PartMeans, place: int) -> Estimate:
    return Estimate(float(values.mean[place]), float(values.low[place]), float(values.high[place]))
