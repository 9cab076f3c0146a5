"""The findings of the bias page, group by group: what is claimed, three faces, and what may be done about it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from agegender.audit import grouping
from agegender.audit.findings import Finding
from agegender.audit.sentences import columns_words, equal_words, group_words
from agegender.audit.words import count, number
from agegender.heads import Head, Regression
from agegender.pages import galleries
from agegender.pages.page_writing import ReportContent

_FACES_EACH = 3
_FEWER = 0.8  # a share this much below another counts as smaller


def findings_by_group(
    content: ReportContent, links: Sequence[Mapping[str, Any]], shelf: galleries.PhotoShelf
) -> list[dict[str, Any]]:
    """Return one block per group with a claim, in the order of the strongest; `links` are those of all findings."""
    blocks: dict[tuple[tuple[str, ...], tuple[str, ...]], list[tuple[Finding, Mapping[str, Any]]]] = {}
    for finding, link in zip(content.assessment.findings, links, strict=True):
        if finding.is_gap:
            blocks.setdefault((finding.columns, finding.values), []).append((finding, link))
    return [
        {
            "anchor": f"finding-{place}",
            "name": group_words(*key),
            "count": count(found[0][0].n),
            "claims": [link for _, link in found],
            "address": found[0][1]["address"],
            "faces_address": found[0][1]["faces_address"],
            "photos": _faces(content, found[0][0], shelf),
            **_remedy(content, [finding for finding, _ in found]),
        }
        for place, (key, found) in enumerate(blocks.items())
    ]


def _faces(content: ReportContent, finding: Finding, shelf: galleries.PhotoShelf) -> tuple[galleries.Photo, ...]:
    """Return the photos of a group that show its strongest finding best: the largest errors on its side."""
    if content.photos_root is None:
        return ()
    head, rows = _head(content, finding), _rows(content.assessment.judged, finding)
    side = np.sign(finding.size) if isinstance(head, Regression) and finding.kind.startswith("signed") else 0.0
    return galleries.few_faces(rows, head, shelf, side=float(side), each=_FACES_EACH)


def _remedy(content: ReportContent, found: Sequence[Finding]) -> dict[str, Any]:
    """Return what may be done about a group: in words, as a command, and what to look at afterwards."""
    first = found[0]
    columns, of_training, here = first.columns, first.training_share, first.judged_share
    if of_training is None or here is None:
        words = "Which photos the model was trained on isn't known here, nor whether this group was rare among them."
        return {"remedy": words, "command": "", "afterwards": _afterwards(content, found)}
    is_fewer = of_training < _FEWER * here
    is_rare = of_training < _FEWER / max(_group_count(content, columns), 1)
    shares = (
        f"It has {number(of_training, 1, is_percent=True)} of the training photos and "
        f"{number(here, 1, is_percent=True)} of these."
    )
    if is_fewer:
        words = f"{shares} It is rarer in training than here: more photos of it are the first thing to try."
    elif is_rare:
        equal = f"Equal parts for all {columns_words(columns)} would be more"
        words = f"{shares} {equal}: drawing it more often may help."
    else:
        words = (
            f"{shares} It is not rare in training, so drawing it more often will hardly help. Look at its faces and "
            "labels first: is it the label that is wrong, the light, the size of the face?"
        )
    if any(finding.kind == "interval_gap" for finding in found):
        words += " Its intervals can be fitted better with more validation photos of it."
    command = _command(content, columns) if is_fewer or is_rare else ""
    return {"remedy": words, "command": command, "afterwards": _afterwards(content, found)}


def _group_count(content: ReportContent, columns: tuple[str, ...]) -> int:
    return content.assessment.groupings[columns].size if columns in content.assessment.groupings else 0


def _command(content: ReportContent, columns: Sequence[str]) -> str:
    if not content.card:
        return ""
    # Bands of any width are drawn alike often by the bands that `train` knows.
    names = dict.fromkeys("age_group" if name in grouping.AGE_COLUMNS else name for name in columns)
    title = shlex.quote(f"{content.assessment.title}-balanced")
    return f"agegender train --balance {shlex.join(names)} --name {title}"


def _afterwards(content: ReportContent, found: Sequence[Finding]) -> str:
    """Return which figures should have moved, with what they are now."""
    names = dict.fromkeys(finding.metric for finding in found)
    return "; ".join(words for name in names if (words := _now(content, name, found[0])))


def _now(content: ReportContent, name: str, finding: Finding) -> str:
    result = content.comparisons.get(finding.columns, name)
    group = next((one for one in result.groups if one.values == finding.values), None) if result else None
    if group is None:
        return ""
    metric, head = content.assessment.metric(name), _head_of(content, name)
    digits = content.digits(head) if isinstance(head, Regression) and not metric.is_rate else 1
    is_signed = metric.better == "zero" and not metric.is_rate
    value = number(group.estimate.value, digits, signed=is_signed, is_percent=metric.is_rate)
    said = value if metric.is_rate else f"{value} {metric.unit}".rstrip()
    if not np.isfinite(group.adjusted_gap.value):
        return f"{metric.title} (now {said})"
    gap = group.adjusted_gap.scaled(100.0) if metric.is_rate else group.adjusted_gap
    unit = "points" if metric.is_rate else metric.unit
    apart = f"{number(gap.value, digits, signed=True)} {unit}".rstrip()
    return f"{metric.title} (now {said}; {apart} from the rest{equal_words(content.assessment.adjust_for)})"


def _head(content: ReportContent, finding: Finding) -> Head:
    return _head_of(content, finding.metric)


def _head_of(content: ReportContent, metric: str) -> Head:
    return next(head for head in content.heads if head.name == metric.partition(".")[0])


def _rows(rows: pd.DataFrame, finding: Finding) -> pd.DataFrame:
    inside = np.ones(len(rows), dtype=bool)
    for name, value in zip(finding.columns, finding.values, strict=True):
        inside &= (rows[name].astype(object).astype(str) == value).to_numpy()
    return rows[inside]
