"""Version 0.1 judged one table; every point value and every closed interval still comes out as it did then."""

import json
from pathlib import Path

import pandas as pd
import pytest

from agegender.audit.assessment import assess
from agegender.audit.metrics_document import evaluation_metrics

NUMBERS = json.loads(Path(__file__).with_name("numbers_of_0_1.json").read_text(encoding="utf-8"))
TABLE = pd.DataFrame(NUMBERS["table"])


def same(number, then):
    assert number == pytest.approx(float("nan") if then is None else then, abs=1e-9, nan_ok=True)


def test_overall_scores_are_those_of_0_1():
    scores = evaluation_metrics(TABLE)["all"]
    for part, then in NUMBERS["scores"].items():
        for name, number in then.items():
            same(scores[part][name], number)


def test_groups_are_those_of_0_1():
    # Intervals of gaps are now corrected, and made anew at equal ages; those for a gap alone are what they were.
    assessment = assess(TABLE, adjust_for=None)
    for key, then in NUMBERS["groups"].items():
        metric, columns, name = key.split(" | ")
        groups = assessment.compare(metric, columns.split(" × ")).groups
        group = next(one for one in groups if one.name == name)
        assert group.n == then["n"]
        same(group.estimate.value, then["value"])
        same(group.gap_to_rest.value, then["gap"])
        ends = [group.estimate.low, group.estimate.high, group.gap_alone.low, group.gap_alone.high]
        for end, number in zip(ends, then.get("ends", []), strict=False):
            same(end, number)
