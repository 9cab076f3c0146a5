"""Owns everything that is computed for a report, once: comparisons, findings, key figures. Pages are views of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agegender.audit.comparisons import Comparisons, compare_all
from agegender.audit.judged import Audit
from agegender.audit.old_findings import Finding, find
from agegender.pages.split_tables import split_table
from agegender.pages.tables import Table


@dataclass(frozen=True)
class Judgement:
    """An audit and what came of it.

    Attributes
    ----------
    findings : sequence of Finding
        Strongest first, then what could not be told from chance.
    splits : Table
        Key figures of train, valid and test.
    """

    audit: Audit
    comparisons: Comparisons
    findings: Sequence[Finding]
    splits: Table


def judge(audit: Audit) -> Judgement:
    """Compute what every page is a view of."""
    return Judgement(audit, compare_all(audit), find(audit.judged), split_table(audit))
