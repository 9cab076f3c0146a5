"""`bias.html`, the flagship: what can be claimed about groups, then everything that it rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agegender.audit import grouping
from agegender.audit.findings import Finding
from agegender.audit.sentences import equal_words
from agegender.audit.words import capitalised, count, identifier, own_id
from agegender.heads import Classification, Regression
from agegender.pages import bias_charts, bias_tables, galleries
from agegender.pages.age_check_section import age_check_section
from agegender.pages.bias_overview import overview, verdict, yardsticks
from agegender.pages.coverage_tables import coverage_table
from agegender.pages.error_curve_section import error_curves
from agegender.pages.findings_by_group import findings_by_group
from agegender.pages.further_tables import further_section
from agegender.pages.group_heatmaps import heatmaps
from agegender.pages.page_writing import ReportContent, write_page
from agegender.pages.slicing import slice_section
from agegender.pages.split_tables import overfitting_words, split_group_table, split_table
from agegender.pages.tables import matrix_table

SCRIPTS = ("slice_estimates.js", "marks.js", "slicer.js", "pointing.js")

MOST_IMAGES = 240  # beside rows, charts and tables the page is to stay under 3 MB


def write_bias(path: Path, content: ReportContent, pages: Sequence[Mapping[str, Any]] = ()) -> Path:
    """Write `bias.html` to `path`, whole or not at all; return the path."""
    lime = next((page["address"] for page in pages if page["address"] == "lime.html"), "")
    return write_page(path, "bias.html", pages=pages, scripts=SCRIPTS, **bias_context(content, lime))


def bias_context(content: ReportContent, explained_on: str = "") -> dict[str, Any]:
    """Return everything that the template of the page names; `explained_on` is the page of explanations."""
    assessment = content.assessment
    shelf = galleries.PhotoShelf(content, MOST_IMAGES, explained_on=explained_on)
    links = finding_links(content, assessment.findings)
    numbers = [_regression_section(content, head) for head in content.regressions]
    classes = [section for head in content.classifications if (section := _class_section(content, head))]
    context = {
        "title": f"Who is it wrong about? {assessment.title}",
        "heading": "Who is it wrong about?",
        "subject": assessment.title,
        "is_drawn": assessment.is_drawn,
        "hide_faces": content.hide_faces,
        "run_id": content.run_id,
        "has_photos": content.photos_root is not None,
        "notices": assessment.notices,
        "cautions": content.cautions,
        "judged_split": assessment.judged_split,
        "judged_count": count(len(assessment.judged)),
        "equal": equal_words(assessment.adjust_for).strip(),
        "age_checks": age_check_section(content, shelf),
        "findings": links,
        "verdict": _verdict_links(links, assessment.findings, verdict(content)),
        "yardsticks": yardsticks(content),
        "overview": overview(content),
        "blocks": findings_by_group(content, links, shelf),
        "curves": [part for head in content.regressions if (part := error_curves(content, head))],
        "heatmaps": heatmaps(content),
        "split_table": split_table(content),
        "split_groups": split_group_table(content),
        "overfitting": overfitting_words(content),
        "groups": [_group_section(content, columns) for columns in content.comparisons.by_columns],
        "gaps": bias_tables.gap_table(content),
        "representation": bias_charts.representation(content),
        "numbers": numbers,
        "classes": classes,
        "certainty": [part for head in content.heads if (part := _certainty(content, head))],
        "chalearn": [bias_tables.chalearn_table(content, head) for head in content.regressions if head.has_bands],
        "further": further_section(content),
        "strips": galleries.strips(content, assessment.judged, shelf),
        "galleries": galleries.galleries(content, shelf),
        "left_out_images": shelf.left_out_count,
    }
    context["slice"] = slice_section(content, shelf)  # last, since it tells whose faces the page holds
    return {**context, "sections": _sections(context)}


def finding_links(content: ReportContent, findings: Sequence[Finding], page: str = "") -> list[dict[str, Any]]:
    """Return the findings with links to figures and faces; `page` is the bias page when they stand on another."""
    links = []
    for finding in findings:
        columns = tuple(finding.columns)
        is_shown = columns in content.comparisons.by_columns
        faces = galleries.faces_addresses(content, columns, page) if is_shown else {}
        links.append(
            {
                "sentence": finding.sentence.replace("n = ", "n\u00a0=\u00a0"),
                "claim": finding.claim.replace("n = ", "n\u00a0=\u00a0"),
                "address": f"{page}#by-{identifier(columns)}" if is_shown else f"{page}#groups",
                "faces_address": faces.get(tuple(finding.values), ""),
                "kind": finding.kind,
                "is_gap": finding.is_gap,
            }
        )
    return links


def _verdict_links(
    links: Sequence[Mapping[str, Any]], findings: Sequence[Finding], told: Sequence[Finding | str]
) -> list[Mapping[str, Any]]:
    """Return the lines of the verdict, those that are findings with their links."""
    of_finding = {id(finding): link for finding, link in zip(findings, links, strict=True)}
    return [{"claim": one, "address": ""} if isinstance(one, str) else of_finding[id(one)] for one in told]


def _sections(context: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return anchor and name of each part of the page."""
    numbers, classes = context["numbers"], context["classes"]
    sections = [("findings", "In short")]
    sections += [("overview", "Overview")] if context["overview"] else []
    sections += [("who", "Findings")] if context["findings"] else []
    sections += [(one["anchor"], f"Errors by {one['title']}") for one in context["curves"]]
    sections += [("crossings", "Crossings")] if context["heatmaps"] else []
    sections += [("age-checks", "Age checks")] if context["age_checks"] else []
    sections += [("splits-section", "Splits"), ("groups", "Groups")]
    if numbers:
        sections += [("representation", "Representation"), *((one["anchor"], one["name"]) for one in numbers)]
        sections += [("errors", "Errors")]
    sections += [(one["anchor"], one["name"]) for one in classes]
    if context["certainty"]:
        sections += [("certainty", "Certainty")]
    sections += [("scores", "Scores"), ("further", "Further"), ("faces", "Faces"), ("slice", "Cut it yourself")]
    return [*sections, ("methods", "Methods")]


def _group_section(content: ReportContent, columns: tuple[str, ...]) -> dict[str, Any]:
    """Return one grouping: its tables and forest plots."""
    results = content.comparisons.by_columns[columns]
    # A recall leaves out the other classes by its nature; saying so each time would only confuse.
    told = [result for name, result in results.items() if not name.partition(".")[2].startswith("recall")]
    groups = max((result.groups for result in results.values()), key=len, default=())
    few = sum(not group.is_ranked for group in groups)
    return {
        "anchor": f"by-{identifier(columns)}",
        "name": grouping.title(columns),
        "tables": bias_tables.group_tables(content, columns),
        "drawings": bias_charts.forests(content, columns),
        "notes": list(dict.fromkeys(note for result in told for note in result.notes)),
        "is_intersection": len(columns) > 1,
        "size_words": f"{len(groups)} groups" + (f", {few} of them under 30 photos" if few else ""),
    }


def _regression_section(content: ReportContent, head: Regression) -> dict[str, Any]:
    """Return what is shown of a head of numbers: clouds, decades, the distribution of errors."""
    judged = content.assessment.judged
    decades = bias_tables.decade_matrix(head, judged, hides_few=content.hide_faces) if head.has_bands else None
    more, less = head.words
    return {
        "anchor": f"{head.name}s",
        "name": f"{capitalised(head.title)}s",
        "title": head.title,
        "over": f"judged too {more.removesuffix('er')}",
        "under": f"judged too {less.removesuffix('er')}",
        "clouds": [] if content.hide_faces else bias_charts.clouds(content, head),
        "distributions": bias_charts.error_distributions(content, head),
        "decades": decades,
        "decade_table": matrix_table("decades", [decades]) if decades else None,
    }


def _class_section(content: ReportContent, head: Classification) -> dict[str, Any] | None:
    """Return what is shown of a head of classes: confusion matrices, and each class where there are more than two."""
    matrices = bias_tables.confusion_matrices(content, head)
    table = bias_tables.class_table(content, head)
    if not matrices and table is None:
        return None
    return {
        "anchor": f"{head.name}s",
        "name": f"{capitalised(head.title)} labels",
        "class_count": len(head.classes),
        "matrices": matrices,
        "matrix_table": matrix_table(own_id("confusions", head, content.heads), matrices),
        "table": table,
    }


def _certainty(content: ReportContent, head: Regression | Classification) -> dict[str, Any] | None:
    """Return how far the intervals or the probabilities of a head hold; None where it has none."""
    if isinstance(head, Regression):
        table = coverage_table(content, head)
        return {"head": head, "drawings": bias_charts.coverages(content, head), "table": table} if table else None
    drawings = bias_charts.reliabilities(content, head)
    if not drawings:
        return None
    return {"head": head, "drawings": drawings, "table": bias_tables.calibration_table(content, head)}
