"""Owns the curves that show whether maps are faithful: whether their order moves the answer sooner than chance does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from agegender.explanation.results import Curve, FaceExplanation, Trust
from agegender.pages.charts import line_chart

Floats = NDArray[np.float64]
_SHARES = np.linspace(0, 1, 41)


def trust_charts(explanations: Sequence[FaceExplanation]) -> list[Markup]:
    """Return deletion and insertion of each head, averaged over the photos; nothing where no curve was measured."""
    drawings = []
    for key in dict.fromkeys(one.output.key for face in explanations for one in face.outputs):
        trusts = [one.trust for face in explanations for one in face.outputs if one.output.key == key and one.trust]
        deletions = [_normalised(trust.deletion, trust) for trust in trusts]
        insertions = [_normalised(trust.insertion, trust) for trust in trusts]
        random = [_normalised(curve, trust) for trust in trusts for curve in trust.random_deletions]
        # Showing in an order is covering in the reverse one, and a random order reversed is a random order.
        shown = [None if curve is None else curve[::-1] for curve in random]
        drawings += _drawing(f"{key.capitalize()}: deletion", "covered", deletions, random)
        drawings += _drawing(f"{key.capitalize()}: insertion", "shown", insertions, shown)
    return drawings


def _drawing(title: str, verb: str, ours: Sequence[Floats | None], random: Sequence[Floats | None]) -> list[Markup]:
    lines, x = {}, 100 * _SHARES
    for name, curves in (("strongest first", ours), ("random order", random)):
        known = [curve for curve in curves if curve is not None]
        if known:
            lines[name] = (x, np.mean(known, axis=0))
    if "strongest first" not in lines:
        return []
    drawing = line_chart(
        lines,
        title=title,
        x_label=f"% of the pixels {verb}",
        y_label="answer, 0 lowest, 1 highest",
        description=f"{title}, mean over {sum(curve is not None for curve in ours)} photos",
    )
    return [drawing]


def _normalised(curve: Curve | None, trust: Trust) -> Floats | None:
    """Return a curve on common shares, scaled to the lowest and highest answer on any curve of its photo."""
    curves = [one for one in (trust.deletion, trust.insertion, *trust.random_deletions) if one is not None]
    values = np.concatenate([np.asarray(one.values, float) for one in curves]) if curves else np.zeros(0)
    if curve is None or not len(values) or not np.isfinite(values).all() or np.ptp(values) == 0:
        return None
    scaled = (np.asarray(curve.values, float) - values.min()) / np.ptp(values)
    return np.interp(_SHARES, np.asarray(curve.pixel_share, float), scaled)
