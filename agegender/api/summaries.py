"""Metrics in a few lines of text, for people in front of a terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from agegender.data.faces_table import SPLITS


def metrics_lines(metrics: Mapping[str, Any]) -> list[str]:
    """Return one line per split: photos, age and gender figures."""
    known = [side for side in (*SPLITS, "all") if side in metrics]
    return [_line(side, metrics[side]) for side in known]


def _line(side: str, figures: Mapping[str, Any]) -> str:
    age, gender = figures.get("age", {}), figures.get("gender", {})
    return (
        f"{side:>5}: age MAE {_number(age, 'mae', '.2f')} years, within 8 years {_number(age, 'within_8', '.1%')}, "
        f"gender accuracy {_number(gender, 'accuracy', '.1%')}, AUC {_number(gender, 'roc_auc', '.3f')}"
        f" (n = {age.get('n', 0)})"
    )


def _number(figures: Mapping[str, Any], name: str, form: str) -> str:
    value = figures.get(name)
    return "unknown" if value is None or math.isnan(value) else format(value, form)
