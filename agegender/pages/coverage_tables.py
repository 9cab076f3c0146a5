"""How often intervals hold: by group, by what was predicted, by what is labelled; each end on its own as well."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agegender.audit import grouping
from agegender.audit.estimates import Estimate, mean_of
from agegender.audit.words import FEW, in_unit, own_id
from agegender.heads import Regression
from agegender.heads.age_bands import FINE_BANDS, fine_age_band
from agegender.heads.row_metrics import beyond_and_within
from agegender.pages.page_writing import ReportContent
from agegender.pages.tables import Column, Row, Table, known_columns
from agegender.settings import SMALL_GROUP

_FIFTHS = 5
Part = tuple[str, str, NDArray[np.bool_], Estimate | None]


def coverage_table(content: ReportContent, head: Regression) -> Table | None:
    """Return coverage and width of a head's intervals, None where no row has label and interval."""
    rows = content.assessment.judged
    is_judged = next(metric for metric in head.metrics if metric.key == "interval_coverage")
    if not is_judged.is_known(rows):
        return None
    known = np.isfinite(is_judged.values(rows))
    found = [_row(content, head, part, known) for part in _parts(content, head)]
    shown = [row for row in found if row.values["n"] >= (FEW if content.hide_faces else 1)]
    return Table(
        own_id("coverage", head, content.regressions),
        f"Coverage of the 90 % {head.title} intervals",
        known_columns(_columns(content, head), shown),
        shown,
        _note(head, has_labelled=any(row.values["label_width"] is not None for row in shown)),
        can_filter=True,
    )


def _columns(content: ReportContent, head: Regression) -> list[Column]:
    digits, label = content.digits(head), f"labelled {head.title}s"
    knows = f"of the interval that knows the row's labels ({', '.join(head.label_interval_columns)})"
    return [
        Column("grouping", "Grouping"),
        Column("group", "Group"),
        Column("n", "Photos", 0),
        Column("coverage", "Coverage", 1, is_percent=True, hint=f"share of {label} inside the interval: 90 %"),
        Column("below", "Below it", 1, is_percent=True, hint=f"share of {label} below the lower end: 5 %"),
        Column("above", "Above it", 1, is_percent=True, hint=f"share of {label} above the upper end: 5 %"),
        Column("width", in_unit("Mean width", head), digits),
        Column("label_coverage", "Coverage, labels known", 1, is_percent=True, hint=f"coverage {knows}"),
        Column("label_width", in_unit("Mean width, labels known", head), digits, hint=f"width {knows}"),
    ]


def _note(head: Regression, *, has_labelled: bool) -> str:
    told = (
        f"An interval can know what a new photo tells: the prediction, how far its distribution spreads, the "
        f"predicted classes. By these, 90 % of the labels should lie inside and 5 % beyond each end. Which "
        f"{head.title} a photo is labelled with is not known beforehand, nor any label that the model doesn't "
        f"predict: by these, coverage is only measured, and differs."
    )
    if has_labelled:
        told += " Where labels are known, a second interval is fitted to them; it exists in labelled tables alone."
    return f"{told} Mean widths have no interval."


def _parts(content: ReportContent, head: Regression) -> Iterator[Part]:
    """Yield grouping, group, its rows and, where the page has it already, its coverage."""
    rows = content.assessment.judged
    yield "all", "everybody", np.ones(len(rows), dtype=bool), None
    for single in content.comparisons.single:
        result = content.comparisons.get(single, f"{head.name}.interval_coverage")
        for group in result.groups if result is not None else ():
            inside = (rows[single[0]].astype(object) == group.name).to_numpy(dtype=bool)
            yield grouping.title(single), group.name, inside, group.estimate
    for what, column in ((f"predicted {head.title}", head.predicted), (f"labelled {head.title}", head.column)):
        bands = _bands(head, rows[column])
        names = FINE_BANDS if head.has_bands else list(bands.cat.categories)
        for name in names:
            yield what, str(name), (bands == name).to_numpy(dtype=bool), None


def _bands(head: Regression, values: pd.Series) -> pd.Series:
    """Return the band of each value: of ages those that all know, of other numbers fifths."""
    if head.has_bands:
        return pd.Series(fine_age_band(values), index=values.index, dtype=object)
    fifths = pd.qcut(values, _FIFTHS, duplicates="drop")
    parts = fifths.cat.categories
    for digits in range(3, 17):  # of numbers near one another more digits are needed to tell the fifths apart
        names = [f"{part.left:.{digits}g} to {part.right:.{digits}g}" for part in parts]
        if len(set(names)) == len(names):
            return fifths.cat.rename_categories(names)
    return fifths.cat.rename_categories([f"fifth {place}" for place in range(1, len(parts) + 1)])


def _row(content: ReportContent, head: Regression, part: Part, known: NDArray[np.bool_]) -> Row:
    what, name, inside, estimate = part
    chosen = inside & known
    rows, clusters = content.assessment.judged[chosen], content.assessment.clusters
    own = None if clusters is None else clusters[chosen]
    covered, width, below, above = beyond_and_within(rows, head.column, head.interval_columns)
    label_covered, label_width, *_ = beyond_and_within(rows, head.column, head.label_interval_columns)
    shares = {"coverage": covered, "below": below, "above": above, "label_coverage": label_covered}
    values = {key: mean_of(share, is_rate=True, clusters=own) for key, share in shares.items()}
    values |= {"coverage": values["coverage"] if estimate is None else estimate}
    widths = {"width": float(np.mean(width)) if len(rows) else None}
    widths["label_width"] = float(np.nanmean(label_width)) if np.isfinite(label_width).any() else None
    return Row({"grouping": what, "group": name, "n": len(rows), **values, **widths}, len(rows) < SMALL_GROUP)
