"""Owns how charts look in both themes: matplotlib figures become inline SVG that takes its colours from the page.

Charts are drawn in placeholder colours, which are replaced by CSS variables, so that one drawing serves light, dark and
print. Figures are narrow (`WIDTH`) so that their text stays legible on a screen of 400 pixels.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from cycler import cycler
from markupsafe import Markup, escape
from matplotlib.figure import Figure

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
    with mpl.rc_context(_PARAMETERS):
        figure.savefig(
            stream, format="svg", dpi=170, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
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
    head = f'<svg class="chart" role="img" aria-label="{escape(description)}" {box}>'
    return Markup(head + _shorter(drawing[drawing.index(">") + 1 :]))


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
