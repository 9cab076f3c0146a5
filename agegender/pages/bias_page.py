"""Owns `bias.html`, the flagship: what can be claimed about groups, then everything that it rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from agegender.audit.comparisons import Comparisons, faces_address, identifier, ranked, title
from agegender.audit.findings import Finding
from agegender.audit.judged import Audit
from agegender.audit.judgement import Judgement
from agegender.pages import bias_charts, galleries
from agegender.pages.bias_scores import chalearn_table
from agegender.pages.bias_tables import calibration_table, coverage_table, gap_table, group_tables
from agegender.pages.matrices import Matrix, confusion_matrix, decade_matrix, matrix_table
from agegender.pages.page_writing import write_page
from agegender.pages.split_tables import overfitting_words, split_group_table
from agegender.pages.tables import Table
from agegender.pages.words import count

_MOST_MATRICES = 10


@dataclass(frozen=True)
class GroupSection:
    """One grouping on the page: its tables and forest plots."""

    anchor: str
    name: str
    tables: Sequence[Table]
    drawings: Sequence[Markup]
    notes: Sequence[str]
    is_intersection: bool = False
    size_words: str = ""


@dataclass(frozen=True)
class FindingLine:
    """One finding and where its figures stand."""

    sentence: str
    address: str
    faces_address: str
    kind: str
    is_gap: bool


def write_bias(path: Path, judgement: Judgement, *, pages: Sequence[Mapping[str, Any]] = ()) -> Path:
    """Write `bias.html` to `path`, whole or not at all; return the path."""
    return write_page(path, "bias.html", pages=pages, **bias_context(judgement))


def bias_context(judgement: Judgement) -> dict[str, Any]:
    """Return everything that the template of the page names."""
    audit, comparisons = judgement.audit, judgement.comparisons
    shelf = galleries.PhotoShelf(audit)
    confusions, decades = _confusions(audit, comparisons), decade_matrix(audit.judged)
    return {
        "title": f"Who is it wrong about? {audit.title}",
        "heading": "Who is it wrong about?",
        "subject": audit.title,
        "audit": audit,
        "is_drawn": audit.is_drawn,
        "notices": audit.notices,
        "judged_count": count(len(audit.judged)),
        "findings": finding_lines(judgement.findings, comparisons),
        "sections": _sections(audit),
        "split_table": judgement.splits,
        "split_groups": split_group_table(audit, comparisons.single),
        "overfitting": overfitting_words(audit),
        "groups": [_group_section(audit, comparisons, columns) for columns in comparisons.by_columns],
        "gaps": gap_table(comparisons),
        "representation": bias_charts.representation(audit, comparisons),
        "clouds": bias_charts.clouds(audit, comparisons) if audit.has_age else [],
        "distributions": bias_charts.error_distributions(audit, comparisons) if audit.has_age else [],
        "confusions": confusions,
        "confusion_table": matrix_table("confusions", confusions),
        "decades": decades,
        "decade_table": matrix_table("decades", [decades] if decades else []),
        "coverages": bias_charts.coverages(comparisons),
        "coverage_table": coverage_table(comparisons),
        "reliabilities": bias_charts.reliabilities(audit, comparisons)
        if audit.has("gender", "female_probability")
        else [],
        "calibration": calibration_table(audit, comparisons),
        "chalearn": chalearn_table(audit),
        "strips": galleries.overall_strips(audit, shelf),
        "galleries": galleries.galleries(audit, comparisons, shelf),
        "left_out_images": shelf.left_out_count,
    }


def finding_lines(findings: Sequence[Finding], comparisons: Comparisons, page: str = "") -> list[FindingLine]:
    """Return the findings with their links; `page` is the address of the bias page when they stand on another."""
    return [_finding_line(finding, comparisons, page) for finding in findings]


def _finding_line(finding: Finding, comparisons: Comparisons, page: str) -> FindingLine:
    columns, sentence = tuple(finding.columns), finding.sentence.replace("n = ", "n\u00a0=\u00a0")
    if columns not in comparisons.by_columns:
        return FindingLine(sentence, f"{page}#groups", "", finding.kind, finding.is_gap)
    result = next(iter(comparisons.by_columns[columns].values()), None)
    places = {group.values: place for place, group in enumerate(result.groups)} if result else {}
    faces = faces_address(columns, places[finding.values], page) if finding.values in places else ""
    return FindingLine(sentence, f"{page}#by-{identifier(columns)}", faces, finding.kind, finding.is_gap)


def _sections(audit: Audit) -> list[tuple[str, str]]:
    sections = [("findings", "Findings"), ("splits-section", "Splits"), ("groups", "Groups")]
    if audit.has_age:
        sections += [("representation", "Representation"), ("ages", "Ages"), ("errors", "Errors")]
    if audit.has_gender:
        sections += [("genders", "Gender labels")]
    if audit.has_intervals or audit.has("gender", "female_probability"):
        sections += [("certainty", "Certainty")]
    return [*sections, ("scores", "Scores"), ("faces", "Faces"), ("methods", "Methods")]


def _group_section(audit: Audit, comparisons: Comparisons, columns: tuple[str, ...]) -> GroupSection:
    # A recall leaves out the other gender by its nature; saying so each time would only confuse.
    told = [result for metric, result in comparisons.by_columns[columns].items() if not metric.startswith("recall")]
    notes = dict.fromkeys(note for result in told for note in result.notes)
    return GroupSection(
        f"by-{identifier(columns)}",
        title(columns),
        group_tables(audit, comparisons, columns),
        bias_charts.forests(comparisons, columns),
        list(notes),
        len(columns) > 1,
        _size_words(comparisons, columns),
    )


def _size_words(comparisons: Comparisons, columns: tuple[str, ...]) -> str:
    groups = max((result.groups for result in comparisons.by_columns[columns].values()), key=len, default=())
    few = sum(not group.is_ranked for group in groups)
    return f"{len(groups)} groups" + (f", {few} of them under 30 photos" if few else "")


def _confusions(audit: Audit, comparisons: Comparisons) -> list[Matrix]:
    matrices = [confusion_matrix(audit.judged, "Everybody")]
    for columns in comparisons.single:
        if columns == ("gender",):
            continue
        for group in ranked(comparisons.get(columns, "gender_accuracy"))[:_MOST_MATRICES]:
            rows = audit.judged[audit.judged[columns[0]].astype(object) == group.name]
            matrices.append(confusion_matrix(rows, f"{title(columns).capitalize()}: {group.name}"))
    return [matrix for matrix in matrices if matrix is not None]
