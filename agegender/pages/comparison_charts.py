"""Charts of a comparison: groups before and after on one axis, and the errors of two models against one another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.lines import Line2D

from agegender.audit.estimates import Estimate
from agegender.pages import charts

_BEFORE, _AFTER = charts.SERIES[1], charts.SERIES[0]
_ASIDE = 0.17  # of a row: before above its middle, after below


def dumbbell_chart(  # noqa: PLR0913 (what a chart says, each by its name)
    names: Sequence[str],
    before: Sequence[Estimate],
    after: Sequence[Estimate],
    *,
    is_claimed: Sequence[bool],
    models: tuple[str, str],
    title: str,
    x_label: str,
    description: str,
    null_value: float | None,
) -> Markup:
    """Draw a row for each group: a circle before and a diamond after, filled where the change is claimed."""
    with charts.chart(1.35 + 0.3 * max(len(names), 2)) as figure:
        axes = figure.add_subplot()
        figure.suptitle(title, x=0.01, ha="left", fontsize=9.5, fontweight="bold", color=charts.INK)
        axes.set_yticks(range(len(names)), [charts.shortened(name, 30) for name in names])
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlabel(x_label)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        if null_value is not None:
            axes.axvline(null_value, color=charts.FAINT, linewidth=1.2, linestyle=(0, (4, 3)))
        for place, (old, new, is_filled) in enumerate(zip(before, after, is_claimed, strict=True)):
            axes.plot([old.value, new.value], [place - _ASIDE, place + _ASIDE], color=charts.FAINT, linewidth=0.8)
            for value, color, marker, at in ((old, _BEFORE, "o", -_ASIDE), (new, _AFTER, "D", _ASIDE)):
                axes.plot([value.low, value.high], [place + at] * 2, color=color, linewidth=1.5)
                face = color if is_filled else charts.PAPER
                axes.plot(value.value, place + at, marker, color=color, markerfacecolor=face, markersize=4.6)
        marks = [("o", _BEFORE, models[0]), ("D", _AFTER, models[1])]
        handles = [Line2D([], [], marker=mark, color=color, markersize=4.6, label=charts.shortened(name, 24))
                   for mark, color, name in marks]  # fmt: skip
        figure.legend(handles=handles, loc="outside lower left", ncols=2)
        return charts.svg(figure, description)


def errors_chart(
    first: Sequence[float], second: Sequence[float], *, models: tuple[str, str], unit: str, title: str, description: str
) -> Markup:
    """Draw one point per photo: below the line the second model is nearer; the farthest 1 % stand at the edge."""
    errors = np.stack([np.asarray(first, dtype=float), np.asarray(second, dtype=float)])
    edge = float(np.quantile(errors, 0.995)) or float(errors.max()) or 1.0
    x, y = np.minimum(errors, edge)
    behind = f", {unit}" if unit else ""
    names = [f"absolute error of {charts.shortened(name, 24)}{behind}" for name in models]
    return charts.cloud_chart(
        x, y, title=title, x_label=names[0], y_label=names[1], description=description, ends=(0.0, 1.02 * edge)
    )
