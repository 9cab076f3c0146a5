"""Metrics in a few lines of text, for people in front of a terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from agegender.data.faces_table import SPLITS
from agegender.heads import Head, Regression


def metrics_lines(metrics: Mapping[str, Any], heads: Sequence[Head]) -> list[str]:
    """Return one line per split: how many photos, and the figures of each head."""
    known = [side for side in (*SPLITS, "all") if side in metrics]
    return [_line(side, metrics[side], heads) for side in known]


def _line(side: str, figures: Mapping[str, Any], heads: Sequence[Head]) -> str:
    parts = [_figures(head, figures.get(head.name, {})) for head in heads]
    count = figures.get(heads[0].name, {}).get("n", 0)
    return f"{side:>5}: {', '.join(parts)} (n = {count})"


def _figures(head: Head, scores: Mapping[str, Any]) -> str:
    if not isinstance(head, Regression):
        return f"{head.title} accuracy {_number(scores, 'accuracy', '.1%')}, AUC {_number(scores, 'roc_auc', '.3f')}"
    said = f"{head.title} MAE {_number(scores, 'mae', '.2f')} {head.unit}".rstrip()
    if head.tolerances:
        widest = head.tolerances[-1]
        share = _number(scores, f"within_{widest:g}", ".1%")
        said += f", within {widest:g} {head.unit}".rstrip() + f" {share}"
    return said


def _number(figures: Mapping[str, Any], name: str, form: str) -> str:
    value = figures.get(name)
    return "unknown" if value is None or math.isnan(value) else format(value, form)
