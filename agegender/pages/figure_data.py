"""What a drawing is made of, beside the drawing: its numbers as a CSV text, and where its axes lie."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

OF_PHOTOS = "photos"  # marks that each stand for a photo: they are saved from the rows of a page that holds these


def figure_facts(figure: Figure) -> Markup:
    """Return attributes of a drawing for the page's script, with a space in front; nothing of a figure without axes.

    `data-axes` has the left, top, right and lower end of the axes in hundredths of a percent of the drawing, and the
    values that they stand for.
    """
    if len(figure.axes) != 1:
        return Markup("")
    axes = figure.axes[0]
    box = axes.get_position()
    ends = [round(10_000 * end) for end in (box.x0, 1 - box.y1, box.x1, 1 - box.y0)]
    values = [f"{value:.6g}" for value in (*axes.get_xlim(), *axes.get_ylim())]
    text = _csv_text(axes)
    attributes = Markup(' data-axes="{}"').format(" ".join(map(str, [*ends, *values])))
    return attributes + Markup(' data-csv="{}"').format(text) if text else attributes


def _csv_text(axes: Axes) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    rows = list(_rows(axes))
    x_label = axes.get_xlabel() or getattr(axes.figure, "get_supxlabel", str)() or "x"
    writer.writerow(["part", "name", x_label, axes.get_ylabel() or "y"])
    writer.writerows(rows)
    return stream.getvalue() if rows else ""


def _rows(axes: Axes) -> Iterator[tuple[str, str, str, str]]:
    """Return part, name, x and y of every mark; y is left empty where the row has a name instead."""
    names = _row_names(axes)
    for line in axes.lines:
        if line.get_linestyle() != "-" and line.get_linestyle() != "None":
            continue  # a line to compare with
        label = str(line.get_label())
        series = "" if label.startswith("_") else label
        x, y = (np.atleast_1d(np.asarray(values, float)) for values in (line.get_xdata(), line.get_ydata()))
        part = "point" if len(x) == 1 else "interval" if len(x) == 2 and (x[0] == x[1] or y[0] == y[1]) else "line"
        known = np.isfinite(x) & np.isfinite(y)  # where nothing is known the line is broken
        yield from (_row(part, series, one, other, names) for one, other in zip(x[known], y[known], strict=True))
    for bars in axes.containers:
        if isinstance(bars, BarContainer):
            label = str(bars.get_label())
            series = "" if label.startswith("_") else label
            for bar in bars.patches:
                middle = bar.get_x() + bar.get_width() / 2, bar.get_y() + bar.get_height() / 2
                lies = bars.orientation == "horizontal"
                end = (bar.get_width(), middle[1]) if lies else (middle[0], bar.get_height())
                yield _row("bar", series, *end, names)
    for marks in axes.collections:
        if isinstance(marks, PathCollection) and marks.get_gid() != OF_PHOTOS:
            yield from (_row("point", "", x, y, names) for x, y in np.asarray(marks.get_offsets(), float))
        elif isinstance(marks, PolyCollection) and marks.get_paths():
            edges = np.concatenate([np.asarray(path.vertices, float) for path in marks.get_paths()])
            yield from (_row("edge of a band", "", x, y, names) for x, y in edges)


def _row_names(axes: Axes) -> list[str]:
    if not isinstance(axes.yaxis.get_major_locator(), FixedLocator):
        return []
    return [text.get_text().replace("\\$", "$") for text in axes.get_yticklabels()]


def _row(part: str, series: str, x: float, y: float, names: list[str]) -> tuple[str, str, str, str]:
    place = round(y)
    if names and abs(y - place) < 0.5 and 0 <= place < len(names):
        return part, f"{names[place]} {series}".strip(), f"{x:.6g}", ""
    return part, series, f"{x:.6g}", f"{y:.6g}"
