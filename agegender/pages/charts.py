"""Charts: curves, intervals, bars, histograms, clouds. Arrays in, inline SVG out, in the pages' own colours.

Charts are drawn in placeholder colours, which are replaced by CSS variables, so that one drawing serves light, dark and
print. Figures are narrow (`WIDTH`) so that their text stays legible on a screen of 400 pixels. Every chart says in
words, for those who can't see it, what it shows; the figures themselves stand in a table nearby.
"""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from cycler import cycler
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from agegender.audit.estimates import Estimate, Estimates
from agegender.pages.figure_data import OF_PHOTOS, figure_facts

WIDTH = 3.75  # inches; at a phone's width text is then about 12 px high
# Placeholder colours; none of them may be a colour that matplotlib uses by itself.
INK = "#010203"
FAINT = "#010204"
GRID = "#010205"
PAPER = "#010206"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442")  # Okabe and Ito (2008)
_VARIABLES = {INK: "var(--ink)", FAINT: "var(--faint)", GRID: "var(--grid)", PAPER: "var(--paper)"} | {
    color: f"var(--series-{position})" for position, color in enumerate(SERIES, start=1)
}
_PARAMETERS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "agegender",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.labelsize": 9,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "text.color": INK,
    "figure.facecolor": "none",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.8,
    "axes.prop_cycle": cycler(color=SERIES),
    "path.simplify": True,
}

MOST_VECTOR_POINTS = 500  # more are drawn as pixels, which take 50 kB: 1,500 points take 150 kB as vectors
_LONGEST_LABEL = 26


@contextmanager
def chart(height: float = 2.7, *, width: float = WIDTH) -> Iterator[Figure]:
    """Give an empty figure in the pages' style; sizes in inches."""
    with mpl.rc_context(_PARAMETERS):
        yield Figure(figsize=(width, height), layout="constrained")


def svg(figure: Figure, description: str) -> Markup:
    """Return the figure as inline SVG that a screen reader announces by `description`.

    Addresses (name spaces, metadata) are taken out: a page holds none, and HTML needs none.
    """
    stream = io.StringIO()
    with mpl.rc_context(_PARAMETERS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # texts stay texts, and browsers have other fonts
        # savefig would draw it twice, the first time for its layout alone.
        dpi, figure.dpi = figure.dpi, 170
        FigureCanvasSVG(figure).print_svg(stream, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
        figure.dpi = dpi
    drawing = stream.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    drawing = re.sub(r"<metadata>.*?</metadata>", "", drawing, flags=re.DOTALL)
    drawing = re.sub(r' xmlns(:\w+)?="[^"]*"', "", drawing).replace("xlink:href", "href")
    drawing = _own_names(re.sub(r'<g id="[^"]*"', "<g", drawing))
    drawing = re.sub(r"<!--.*?-->\s*", "", drawing, flags=re.DOTALL)
    drawing = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font: \1 inherit; font-size: \1", drawing)
    for placeholder, variable in _VARIABLES.items():
        drawing = drawing.replace(placeholder, variable)
    size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', drawing)
    box = f'viewBox="0 0 {size[1]} {size[2]}"' if size else ""
    head = f'<svg class="chart" role="img" aria-label="{escape(description)}" {box}{figure_facts(figure)}>'
    return Markup(head + _shorter(drawing[drawing.index(">") + 1 :]))


def captioned(drawing: Markup, caption: str) -> Markup:
    """Return the drawing with a sentence under it, where there is one."""
    return drawing + Markup("<figcaption>{}</figcaption>").format(caption) if caption else drawing


def _own_names(drawing: str) -> str:
    """Make ids unique in a page: a clip path that is found in a folded part first would hide this drawing."""
    prefix = f"c{hashlib.sha256(drawing.encode()).hexdigest()[:8]}-"
    for name in set(re.findall(r' id="([^"]+)"', drawing)):
        drawing = drawing.replace(f'id="{name}"', f'id="{prefix}{name}"').replace(f"#{name}", f"#{prefix}{name}")
    return drawing


def _shorter(drawing: str) -> str:
    """Drop decimals that no screen shows, in attributes but not in texts, and the white space between tags."""
    drawing = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(\d+\.\d{2})\d+", r"\1", tag[0]), drawing)
    return re.sub(r">\s+<", "><", drawing)


def line_chart(
    lines: Mapping[str, tuple[ArrayLike, ArrayLike]], *, title: str, x_label: str, y_label: str, description: str
) -> Markup:
    """Draw named curves, each labelled at the top of the chart."""
    with chart() as figure:
        axes = figure.add_subplot(title=title, xlabel=x_label, ylabel=y_label)
        for name, (x, y) in lines.items():
            marker = "o" if len(np.atleast_1d(np.asarray(x))) < 25 else ""
            axes.plot(x, y, label=name, marker=marker, markersize=3.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if len(lines) > 1:
            axes.legend(loc="upper right")
        return svg(figure, description)


def forest_chart(  # noqa: PLR0913 (what is drawn, and how)
    names: Sequence[str],
    intervals: Sequence[Estimate],
    *,
    title: str,
    x_label: str,
    description: str,
    null_value: float,
    is_faint: Sequence[bool],
    is_filled: Sequence[bool] | None = None,
    ends: tuple[float, float] | None = None,
) -> Markup:
    """Draw one line per group: estimate, 95 % interval, and where "no difference" lies.

    `is_filled` leaves the points of some groups hollow. `ends` are those of an axis that several charts share: an
    interval that goes on beyond them ends in an arrow.
    """
    with chart(0.75 + 0.235 * max(len(names), 2)) as figure:
        axes = _row_axes(figure, names, title, x_label)
        axes.axvline(null_value, color=FAINT, linewidth=1.2, linestyle=(0, (4, 3)))
        for place, (value, is_grey) in enumerate(zip(intervals, is_faint, strict=True)):
            color = FAINT if is_grey else SERIES[0]
            fill = PAPER if is_filled is not None and not is_filled[place] else color
            axes.plot([value.low, value.high], [place, place], color=color, linewidth=2.2 if fill == color else 1.2)
            axes.plot([value.value], [place], "o", color=color, markerfacecolor=fill, markersize=5.5)
        clear = [value for value, is_grey in zip(intervals, is_faint, strict=True) if not is_grey]
        low, high = ends or axis_ends(clear, null_value)
        if low < high:
            axes.set_xlim(low, high)
            for place, value in enumerate(intervals):
                for marker, edge in (("<", low), (">", high)):
                    if (value.low < edge) if marker == "<" else (value.high > edge):
                        # Dotted, as what is no figure: the arrow is left out of the chart's data.
                        axes.plot([edge], [place], ":", marker=marker, color=FAINT, markersize=5, clip_on=False)
        return svg(figure, description)


def axis_ends(intervals: Sequence[Estimate], null_value: float) -> tuple[float, float]:
    """Return the ends of an axis that holds all of these intervals; equal ones where none is known."""
    every = np.array([[value.low, value.value, value.high] for value in intervals], dtype=float)
    known = every[np.isfinite(every)]
    if not known.size:
        return 0.0, 0.0
    low, high = min(float(known.min()), null_value), max(float(known.max()), null_value)
    return low - 0.06 * (high - low), high + 0.06 * (high - low)


def curve_chart(  # noqa: PLR0913 (what is drawn, and how)
    x: ArrayLike,
    values: Estimates,
    *,
    title: str,
    x_label: str,
    y_label: str,
    description: str,
    ends: tuple[tuple[float, float], tuple[float, float]],
    beside: tuple[ArrayLike, ArrayLike] | None = None,
    has_zero: bool = False,
) -> Markup:
    """Draw a curve with its band, and dashed beside it the curve of everybody; `ends` are those of both axes."""
    x = np.asarray(x, float)
    with chart(2.4) as figure:
        axes = figure.add_subplot(xlabel=x_label, ylabel=y_label)
        figure.suptitle(shortened(title, 44), x=0.01, ha="left", fontsize=9.5, fontweight="bold", color=INK)
        if has_zero:
            axes.axhline(0, color=FAINT, linewidth=1.2, linestyle=(0, (4, 3)))
        axes.fill_between(x, values.low, values.high, color=SERIES[0], alpha=0.22, linewidth=0)
        if beside is not None:
            axes.plot(*beside, color=INK, linewidth=1, linestyle=(0, (2, 2)))
        # A point that stands alone would be no line at all.
        known = np.isfinite(values.values)
        is_alone = known & ~np.r_[False, known[:-1]] & ~np.r_[known[1:], False]
        axes.plot(x, values.values, color=SERIES[0])
        axes.plot(x[is_alone], values.values[is_alone], "o", color=SERIES[0], markersize=4)
        axes.set(xlim=ends[0] if ends[0][0] < ends[0][1] else None, ylim=ends[1])
        return svg(figure, description)


def bar_chart(
    names: Sequence[str],
    values: Sequence[float],
    *,
    title: str,
    x_label: str,
    description: str,
    reference: float | None = None,
) -> Markup:
    """Draw lying bars, with an optional line to compare them against."""
    with chart(0.75 + 0.235 * max(len(names), 2)) as figure:
        axes = _row_axes(figure, names, title, x_label)
        axes.barh(range(len(names)), values, color=SERIES[0], height=0.62)
        if reference is not None:
            axes.axvline(reference, color=INK, linewidth=1.2, linestyle=(0, (4, 3)))
        return svg(figure, description)


def cloud_chart(
    x: ArrayLike, y: ArrayLike, *, title: str, x_label: str, y_label: str, description: str, ends: tuple[float, float]
) -> Markup:
    """Draw one point per photo against the line where both are equal; `ends` are those of both axes."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    with chart(3.4) as figure:
        axes = figure.add_subplot(title=title, xlabel=x_label, ylabel=y_label, aspect="equal")
        axes.plot(ends, ends, color=FAINT, linewidth=1, linestyle=(0, (4, 3)))
        is_many = len(x) > MOST_VECTOR_POINTS
        alpha = max(0.12, min(0.7, 400 / max(len(x), 1)))
        axes.scatter(x, y, s=5, alpha=alpha, linewidths=0, rasterized=is_many, gid=OF_PHOTOS)
        axes.plot(*_trend(x, y), color=SERIES[1], linewidth=1.8, label="mean")
        axes.set(xlim=ends, ylim=ends)
        return svg(figure, description)


def _trend(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the means of both in pieces of as many points, at least 30 in each; nothing of fewer than 60 points."""
    pieces = min(len(x) // 30, 16)
    if pieces < 2:
        return np.zeros(0), np.zeros(0)
    parts = np.array_split(np.argsort(x, kind="stable"), pieces)
    return np.array([x[part].mean() for part in parts]), np.array([y[part].mean() for part in parts])


def histogram_chart(values: ArrayLike, *, step: float, title: str, x_label: str, description: str) -> Markup:
    """Draw how often each error occurs, in 31 bins of `step`; what lies further out stands in the last bin."""
    bins = step * np.arange(-15.5, 15.6)
    kept = np.clip(np.asarray(values, float), -15 * step, 15 * step)
    shares = 100 * np.histogram(kept, bins)[0] / max(np.size(values), 1)
    with chart() as figure:
        axes = figure.add_subplot(title=title, xlabel=x_label, ylabel="% of photos")
        axes.bar(bins[:-1] + step / 2, shares, width=0.85 * step, color=SERIES[0])
        axes.axvline(0, color=FAINT, linewidth=1.2, linestyle=(0, (4, 3)))
        axes.grid(visible=False, axis="x")
        return svg(figure, description)


def quantile_chart(
    names: Sequence[str], samples: Sequence[ArrayLike], *, title: str, x_label: str, description: str
) -> Markup:
    """Draw one strip per group: median, middle half (thick) and middle 90 % (thin) of its values."""
    with chart(0.75 + 0.235 * max(len(names), 2)) as figure:
        axes = _row_axes(figure, names, title, x_label)
        axes.axvline(0, color=FAINT, linewidth=1.2, linestyle=(0, (4, 3)))
        for place, values in enumerate(samples):
            ends = np.quantile(np.asarray(values, float), [0.05, 0.25, 0.5, 0.75, 0.95])
            axes.plot(ends[[0, 4]], [place, place], color=SERIES[0], linewidth=1.2)
            axes.plot(ends[[1, 3]], [place, place], color=SERIES[0], linewidth=6, alpha=0.55, solid_capstyle="butt")
            axes.plot(ends[2], place, "o", color=SERIES[0], markersize=5)
        return svg(figure, description)


def pyramid_chart(
    bands: Sequence[str],
    left: Sequence[int],
    right: Sequence[int],
    *,
    sides: tuple[str, str],
    title: str,
    description: str,
) -> Markup:
    """Draw counts of two sides back to back, one pair of bars per age band, youngest below."""
    with chart(0.8 + 0.21 * max(len(bands), 2)) as figure:
        axes = figure.add_subplot(title=title, xlabel="photos")
        places = range(len(bands))
        axes.barh(places, [-count for count in left], color=SERIES[4], height=0.8, label=sides[0])
        axes.barh(places, right, color=SERIES[0], height=0.8, label=sides[1])
        axes.set_yticks(places, bands)
        edge = max([*left, *right, 1]) * 1.05
        axes.set_xlim(-edge, edge)
        axes.xaxis.set_major_formatter(lambda value, _: f"{abs(value):,.0f}")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
        axes.grid(visible=False, axis="y")
        axes.axvline(0, color=GRID, linewidth=0.8)
        figure.legend(loc="outside lower center", ncols=2)
        return svg(figure, description)


def reliability_chart(
    predicted: ArrayLike, observed: Sequence[Estimate], *, title: str, x_label: str, y_label: str, description: str
) -> Markup:
    """Draw how often the model was right where it said so with a given probability."""
    with chart(3.2) as figure:
        axes = figure.add_subplot(title=title, xlabel=x_label, ylabel=y_label, aspect="equal")
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=(0, (4, 3)))
        for place, value in zip(np.asarray(predicted, float), observed, strict=True):
            axes.plot([place, place], [value.low, value.high], color=SERIES[0], linewidth=1.6)
        axes.plot(predicted, [value.value for value in observed], "o-", color=SERIES[0], markersize=4)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        return svg(figure, description)


def representation_chart(
    names: Sequence[str],
    shares: Sequence[float],
    errors: Sequence[Estimate],
    *,
    title: str,
    y_label: str,
    description: str,
) -> Markup:
    """Draw each group's error against its share of the training photos."""
    with chart(3.0) as figure:
        axes = figure.add_subplot(title=title, xlabel="% of the training photos", ylabel=y_label)
        for share, error in zip(shares, errors, strict=True):
            axes.plot([100 * share] * 2, [error.low, error.high], color=SERIES[0], linewidth=1.4, alpha=0.6)
            axes.plot([100 * share], [error.value], "o", color=SERIES[0], markersize=5)
        _name_points(axes, names, [(100 * share, error.value) for share, error in zip(shares, errors, strict=True)])
        axes.set_xlim(left=0)
        axes.margins(x=0.15)
        return svg(figure, description)


def _name_points(axes: Axes, names: Sequence[str], points: Sequence[tuple[float, float]]) -> None:
    """Write each name beside its point: on the left where the right is taken by a near neighbour's name."""
    (low_x, high_x), (low_y, high_y) = axes.get_xlim(), axes.get_ylim()
    for place, (x, y) in enumerate(points):
        others = [point for other, point in enumerate(points) if other != place]
        is_taken = any(
            0 <= (other_x - x) / (high_x - low_x) < 0.3 and abs(other_y - y) / (high_y - low_y) < 0.08
            for other_x, other_y in others
        )
        side = "right" if is_taken else "left"
        shift = (-5 if is_taken else 5, 3)
        axes.annotate(shortened(names[place], 16), (x, y), shift, textcoords="offset points", fontsize=8, ha=side)


def _row_axes(figure: Figure, names: Sequence[str], title: str, x_label: str) -> Axes:
    """Return axes with one named row per group; title and label span the figure, however long the names are."""
    axes = figure.add_subplot()
    figure.suptitle(title, x=0.01, ha="left", fontsize=9.5, fontweight="bold", color=INK)
    figure.supxlabel(x_label, fontsize=9, color=INK)
    axes.set_yticks(range(len(names)), shortened_apart(names))
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    return axes


def shortened_apart(names: Sequence[str], longest: int = _LONGEST_LABEL) -> list[str]:
    """Return labels that fit beside a chart and stay apart: where two would be cut to the same, what they share goes.

    >>> shortened_apart(["a camera of the first kind", "a camera of the third kind"], 12)
    ['…first kind', '…third kind']
    """
    labels = [shortened(name, longest) for name in names]
    for label in {label for label in labels if labels.count(label) > 1}:
        places = [place for place, other in enumerate(labels) if other == label]
        words = [" ".join(str(names[place]).split()) for place in places]
        shared = next((at for at, letters in enumerate(zip(*words, strict=False)) if len(set(letters)) > 1), 0)
        for place, word in zip(places, words, strict=True):
            labels[place] = shortened(f"…{word[shared:]}", longest)
    numbered = {label for label in labels if labels.count(label) > 1}
    return [
        shortened(f"{place}: {label}", longest) if label in numbered else label for place, label in enumerate(labels, 1)
    ]


def shortened(name: str, longest: int = _LONGEST_LABEL) -> str:
    """Return a label that fits beside a chart: its start and its end, since group names often differ in their ends.

    `$` is escaped, which matplotlib would read as mathematics.

    >>> shortened("group of people number 17", 14)
    'group o…ber 17'
    """
    name = " ".join(str(name).split())
    if len(name) > longest:
        head = longest // 2
        name = f"{name[:head]}…{name[-(longest - head - 1) :]}"
    return name.replace("$", r"\$")
