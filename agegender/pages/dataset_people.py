"""Who is in a dataset: cells of ethnicity, gender and age, ages year by year, and what is labelled at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from agegender.audit.words import FEW, count, number
from agegender.data.faces_table import SPLITS, label_columns
from agegender.heads import AGE, GENDER
from agegender.heads.age_bands import AGE_GROUPS, age_group
from agegender.pages.charts import INK, SERIES, captioned, chart, svg
from agegender.pages.tables import Column, Row, Table
from agegender.settings import SMALL_GROUP

MOST_CELL_ROWS = 24  # of a heatmap; the table has all
_MOST_NUMBERS = 3  # columns that get a histogram
_BINS = 30
_HEAPED_AGES = (18, 82)  # years; younger and older ages don't run smoothly enough to say what is expected
_LEAST_HEAPED = 200  # photos
_WHOLE_SHARE = 0.95  # of the ages that are whole years, for heaping to mean something
_KEYS = ("ethnicity", GENDER.column)


class Cell(NamedTuple):
    """How a cell of a heatmap is written: its text, and the strength of its colour, 0..1."""

    text: str
    share: float


class Heat(NamedTuple):
    """Counts of one split: rows of groups, columns of bands."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell]]]


def group_names(kept: pd.DataFrame) -> pd.Series:
    """Return the group of each photo by ethnicity and gender label, missing where one of those in use is unknown."""
    keys = [kept[key].astype(object) for key in _KEYS if kept[key].notna().any()]
    if not keys:
        return pd.Series(None, index=kept.index, dtype=object)
    known = pd.concat(keys, axis=1).notna().all(axis=1)
    names = keys[0].astype(str).str.cat([key.astype(str) for key in keys[1:]], sep=" × ")
    return names.where(known, None)


def age_bands(kept: pd.DataFrame) -> pd.Series:
    """Return the band of each labelled age, missing where it is unknown."""
    return pd.Series(age_group(kept[AGE.column]), index=kept.index, dtype=object)


def heatmaps(kept: pd.DataFrame, *, hide_few: bool) -> list[Heat]:
    """Return a heatmap for each split (one of all photos where there is none): the groups with most photos first."""
    names, bands = group_names(kept), age_bands(kept)
    if names.isna().all() or bands.isna().all():
        return []
    rows = names.value_counts().index[:MOST_CELL_ROWS]
    sides = [side for side in SPLITS if (kept["split"] == side).any()]
    parts = [(f"In {side}", kept["split"] == side) for side in sides] or [("All photos", kept["path"].notna())]
    return [_heat(title, names[inside], bands[inside], sorted(map(str, rows)), hide_few) for title, inside in parts]


def _heat(title: str, names: pd.Series, bands: pd.Series, rows: Sequence[str], hide_few: bool) -> Heat:
    counts = pd.crosstab(names, bands).reindex(index=rows, columns=list(AGE_GROUPS), fill_value=0)
    largest = max(int(counts.to_numpy().max(initial=0)), 1)
    shown = [(str(row), [_cell(int(size), largest, hide_few) for size in counts.loc[row]]) for row in rows]
    return Heat(f"{title}: {count(int(counts.to_numpy().sum()))} photos" * (not hide_few) or title, AGE_GROUPS, shown)


def _cell(size: int, largest: int, hide_few: bool) -> Cell:
    if not size:
        return Cell("none", 0.0)
    if hide_few and size < FEW:
        return Cell(f"<{FEW} few", 0.0)
    return Cell(f"{count(size)}{' few' * (size < SMALL_GROUP)}", round(size / largest, 3))


def cells_table(kept: pd.DataFrame) -> Table | None:
    """Return every cell of group and age band with its photos per split, empty ones too, for the downloads."""
    frame = pd.DataFrame({"group": group_names(kept), "age": age_bands(kept), "split": kept["split"].fillna("none")})
    frame = frame.dropna(subset=["group", "age"])
    if frame.empty:
        return None
    every = pd.MultiIndex.from_product([sorted(frame["group"].unique()), AGE_GROUPS], names=["group", "age"])
    counts = pd.crosstab([frame["group"], frame["age"]], frame["split"]).reindex(every, fill_value=0)
    sides = [side for side in (*SPLITS, "none") if side in counts]
    rows = [
        Row(
            {"group": group, "age": age, "photos": int(counts.loc[(group, age)].sum())}
            | {side: int(counts.loc[(group, age), side]) for side in sides},
            int(counts.loc[(group, age)].sum()) < SMALL_GROUP,
        )
        for group, age in every
    ]
    columns = [Column("group", "Group"), Column("age", "Age"), Column("photos", "Photos", 0)]
    columns += [Column(side, f"In {side}" if side in SPLITS else "In no split", 0) for side in sides]
    return Table("cells", "Photos in every cell", columns, rows, can_filter=True)


def number_charts(kept: pd.DataFrame, *, hide_few: bool) -> list[Markup]:
    """Return the labelled ages year by year, and a histogram of each other number."""
    ages = kept[AGE.column].dropna()
    found = [_years_chart(ages, hide_few)] if len(ages) else []
    others = [name for name in label_columns(kept) if name != AGE.column and pd.api.types.is_float_dtype(kept[name])]
    return found + [_number_chart(name, kept[name].dropna(), hide_few) for name in others[:_MOST_NUMBERS]]


def heaping_words(kept: pd.DataFrame) -> list[str]:
    """Return whether ages gather at round years, and at which one most.

    What is expected is a moving average over ten years: each of its windows holds every last digit as often.
    """
    ages = kept[AGE.column].dropna()
    whole = ages[ages % 1 == 0]
    if len(ages) < _LEAST_HEAPED or len(whole) < _WHOLE_SHARE * len(ages):
        return []
    counts = np.bincount(whole.astype(int), minlength=int(AGE.high) + 1).astype(float)
    top = int(counts.argmax())
    said = [f"The most frequent {AGE.name} is {top}: it holds {number(counts[top] / len(ages), 1, is_percent=True)}."]
    first, last = _HEAPED_AGES
    smooth = np.convolve(counts, np.r_[0.5, np.ones(9), 0.5] / 10, mode="same")[first : last + 1]
    inside, years = counts[first : last + 1], np.arange(first, last + 1)
    if inside.sum() < _LEAST_HEAPED:
        return said
    is_round = years % 5 == 0
    share, expected = inside[is_round].sum() / inside.sum(), smooth[is_round].sum() / smooth.sum()
    said.append(
        f"From {first} to {last}, {AGE.name}s ending in 0 or 5 hold {number(share, 1, is_percent=True)} of the photos, "
        f"against {number(expected, 1, is_percent=True)} if {AGE.name}s ran smoothly: "
        + (
            "they gather at round years, as guessed ones do, so single years mean less than they seem to."
            if share > 1.1 * expected
            else "no sign that they were rounded."
        )
    )
    return said


def missing_table(kept: pd.DataFrame, *, hide_few: bool) -> Table:
    """Return what is known of each label: of how many photos, and which values it has."""
    rows = [Row(_known(name, kept[name], hide_few)) for name in label_columns(kept)]
    columns = (
        Column("label", "Label"),
        Column("known", "Known", 0),
        Column("missing", "Missing", 0),
        Column("missing_share", "Share missing", 1, is_percent=True),
        Column("values", "Different values", 0),
        Column("range", "What it holds"),
    )
    return Table("missing", "Every label, and what is missing", columns, rows)


def _known(name: str, values: pd.Series, hide_few: bool) -> dict[str, Any]:
    known = values.dropna()
    held = ""
    if len(known) and pd.api.types.is_float_dtype(known):
        ends = known.quantile([0.05, 0.95] if hide_few else [0, 1])
        held = f"{ends.iloc[0]:g} to {ends.iloc[1]:g}, median {known.median():g}" + ", the middle 90 %" * hide_few
    elif len(known):
        top = known.value_counts()
        is_shown = not hide_few or int(top.iloc[0]) >= FEW
        held = f"most often {top.index[0]}, {number(top.iloc[0] / len(known), 1, is_percent=True)}" if is_shown else ""
    return {
        "label": name.replace("_", " "), "known": len(known), "missing": len(values) - len(known),
        "missing_share": 1 - len(known) / max(len(values), 1), "values": known.nunique(), "range": held,
    }  # fmt: skip


def _years_chart(ages: pd.Series, hide_few: bool) -> Markup:
    counts = ages.astype(int).value_counts().sort_index()
    shown = counts[counts >= FEW] if hide_few else counts
    told = "; ".join(f"{age}: {size}" for age, size in shown.items())
    title = f"Every {AGE.name}, {AGE.unit} ({count(len(ages))} photos)"
    drawing = _bars(shown.index.to_numpy(), shown.to_numpy(), 0.9, title, f"labelled {AGE.name}", told)
    words = "Darker: years that end in 0 or 5."
    return captioned(drawing, words + f" Years of fewer than {FEW} photos are left out." * (len(shown) < len(counts)))


def _number_chart(name: str, values: pd.Series, hide_few: bool) -> Markup:
    counts, edges = np.histogram(values, bins=_BINS)
    counts = np.where(hide_few & (counts < FEW), 0, counts)
    middles, width = (edges[:-1] + edges[1:]) / 2, float(edges[1] - edges[0])
    told = "; ".join(f"about {middle:.4g}: {size}" for middle, size in zip(middles, counts, strict=True) if size)
    label = name.replace("_", " ")
    return _bars(middles, counts, 0.9 * width, f"{label.capitalize()} ({count(len(values))} photos)", label, told)


def _bars(places: Any, counts: Any, width: float, title: str, x_label: str, told: str) -> Markup:
    with chart(2.6) as figure:
        axes = figure.add_subplot(title=title, xlabel=x_label, ylabel="photos")
        is_round = (np.asarray(places) % 5 == 0) & (width == 0.9)
        for chosen, color in ((~is_round, SERIES[0]), (is_round, INK)):
            axes.bar(np.asarray(places)[chosen], np.asarray(counts)[chosen], width=width, color=color)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(visible=False, axis="x")
        return svg(figure, f"{title}. {told}")


def split_sizes(kept: pd.DataFrame) -> Mapping[str, int]:
    """Return how many photos each split has, those without any left out."""
    sizes = {side: int((kept["split"] == side).sum()) for side in SPLITS}
    return {side: size for side, size in sizes.items() if size}
