"""The model card, as a page and as Markdown: what is known, what people wrote in `card.toml`, and what is still open.

References
----------
Mitchell et al.: Model cards for model reporting, FAT* 2019. Its nine parts are the sections here, and one more is
between them: conditional uses, drafted from measured intervals.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from agegender.audit import grouping
from agegender.audit.groups import GroupResult
from agegender.audit.words import capitalised, count, interval, listing, photos
from agegender.heads import Head, Regression
from agegender.pages.bias_tables import group_tables
from agegender.pages.card_metadata import metadata_block
from agegender.pages.card_text import HUMAN_FILE, out_of_scope
from agegender.pages.card_uses import drafted_uses, rule_words, use_lists, use_table
from agegender.pages.charts import captioned, forest_chart
from agegender.pages.coverage_tables import coverage_table
from agegender.pages.index_page import model_facts
from agegender.pages.page_writing import ReportContent, write_page
from agegender.pages.split_tables import split_table
from agegender.pages.tables import Table
from agegender.writing import write_text

MARKDOWN_FILE = "MODEL_CARD.md"
_MOST_HEADS = 2  # of which a chart is drawn
_MOST_CHARTS = 12
_MOST_BARS = 14
Part = Mapping[str, Any]


def write_card(path: Path, content: ReportContent, pages: Sequence[Mapping[str, Any]] = ()) -> Path:
    """Write the card to `path` and as `MODEL_CARD.md` beside it, each whole or not at all; return the path."""
    assessment, parts = content.assessment, card_parts(content)
    markdown = metadata_block(content) + card_markdown(assessment.title, parts, is_drawn=assessment.is_drawn)
    write_text(path.parent / MARKDOWN_FILE, markdown)
    return write_page(
        path,
        "card.html",
        title=f"Model card: {assessment.title}",
        heading="Model card",
        subject=assessment.title,
        pages=pages,
        is_drawn=assessment.is_drawn,
        notices=assessment.notices,
        run_id=content.run_id,
        cautions=(),  # they stand among the ethical considerations
        parts=parts,
        markdown_file=MARKDOWN_FILE,
        human_file=HUMAN_FILE,
        open_count=sum(len(part["asks"]) for part in parts),
    )


def card_parts(content: ReportContent) -> list[Part]:
    """Return the parts of the card.

    Each has a `title` and what is known: `lines` (sentences), `facts` (names and values), `lists` (headings and their
    sentences), `charts` (drawings and their words) and `tables`; then what people wrote, `human` (names and
    paragraphs), and what they have not written yet, `asks` (keys and questions).
    """
    groupings, human = content.comparisons.single, content.human
    claimed = [finding.sentence for finding in content.assessment.findings if finding.is_gap]
    tables = [table for columns in groupings for table in group_tables(content, columns, page="bias.html")]
    coverage = [table for head in content.regressions if (table := coverage_table(content, head))]
    uses = drafted_uses(content, human)
    drafted = [table for table in [use_table(uses)] if table]
    parts = [
        _part("Model details", _age_of_text(content), facts=model_facts(content.card)),
        _part("Intended uses"),
        _part("Conditional uses", list(rule_words(content, human)), lists=use_lists(content, uses), tables=drafted),
        _part("Out-of-scope uses", list(out_of_scope(content.heads))),
        _part("Factors", [_factor_words(groupings)], charts=factor_charts(content)),
        _part("Metrics", list(_metric_words(content.heads)), tables=[split_table(content), *coverage]),
        _part("Results by group", claimed or ["No gap could be told from chance."], tables=tables),
        _part("Training and evaluation data", facts=_data_facts(content)),
        _part("Ethical considerations", _ethics(content)),
        _part("Caveats and recommendations", _caveats(content)),
    ]
    return [
        {**part, "human": human.answers(part["title"]), "asks": human.open_questions(part["title"])} for part in parts
    ]


def card_markdown(title: str, parts: Sequence[Part], *, is_drawn: bool) -> str:
    """Return the card as Markdown; whatever comes from labels is escaped, and a chart is its words."""
    blocks = [f"# Model card: {_escaped(title)}"]
    if is_drawn:
        blocks.append("> These faces are drawn. The figures say nothing about how the model does on real people.")
    for part in parts:
        blocks.append(f"## {part['title']}")
        for name, paragraphs in part["human"]:
            blocks += [f"**{name}.** {_escaped(paragraphs[0])}", *map(_escaped, paragraphs[1:])]
        blocks.append("\n".join(f"- {_escaped(line)}" for line in part["lines"]))
        blocks.append("\n".join(f"- {name}: {_escaped(value)}" for name, value in part["facts"]))
        for heading, lines in part["lists"]:
            blocks += [f"### {_escaped(heading)}", "\n".join(f"- {_escaped(line)}" for line in lines)]
        blocks.append("\n".join(f"- {_escaped(words)}" for _, words in part["charts"]))
        blocks += [_markdown_table(table) for table in part["tables"]]
        blocks += [f"> **To be written by a person**, as `{key}` in {HUMAN_FILE}: {asks}" for key, asks in part["asks"]]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _part(
    title: str,
    lines: Sequence[str] = (),
    *,
    facts: Sequence[tuple[str, str]] = (),
    lists: Sequence[tuple[str, Sequence[str]]] = (),
    charts: Sequence[tuple[Markup, str]] = (),
    tables: Sequence[Table] = (),
) -> Part:
    return {"title": title, "lines": lines, "facts": facts, "lists": lists, "charts": charts, "tables": tables}


def _age_of_text(content: ReportContent) -> list[str]:
    """Return what is wrong with the human part: what could not be read, and a run that is not this one."""
    human, said = content.human, list(content.human.problems)
    if human.paragraphs and human.run and content.run_id and human.run != content.run_id:
        said.append(
            f"What people wrote here is about the training run {human.run}; the model has been trained again since "
            f"({content.run_id}). Read it again, and then write the new run into {HUMAN_FILE}."
        )
    return said


def factor_charts(content: ReportContent) -> list[tuple[Markup, str]]:
    """Return one drawing for each column of groups and head, with its words: worst group first."""
    pairs = [(columns, head) for columns in content.comparisons.single for head in content.heads[:_MOST_HEADS]]
    found = [(head, content.comparisons.get(columns, head.metrics[0].name)) for columns, head in pairs]
    return [_factor_chart(content, head, result) for head, result in found if result and result.groups][:_MOST_CHARTS]


def _factor_chart(content: ReportContent, head: Head, result: GroupResult) -> tuple[Markup, str]:
    is_number, factor = isinstance(head, Regression), grouping.title(result.columns)
    digits, percent = (content.digits(head), False) if isinstance(head, Regression) else (1, True)
    known = [group for group in result.groups if math.isfinite(group.estimate.value)]
    known.sort(key=lambda group: group.estimate.value, reverse=is_number)
    known.sort(key=lambda group: not group.is_ranked)
    shown = known[:_MOST_BARS]
    what = f"{capitalised(head.title)}: {result.title}" if is_number else f"{capitalised(head.title)} label: accuracy"
    unit = (f", {head.unit}" if head.unit else "") if isinstance(head, Regression) else ", %"
    told = [f"{one.name} {interval(one.estimate, digits, is_percent=percent)}, {photos(one.n)}" for one in shown]
    left = len(known) - len(shown)
    words = f"{what}{unit.replace(', %', '')} by {factor}, worst first: {'; '.join(told)}" + (
        f"; {left} more groups in the tables." if left else "."
    )
    scale = 100.0 if percent else 1.0
    drawing = forest_chart(
        [f"{one.name} ({count(one.n)})" for one in shown],
        [one.estimate.scaled(scale) for one in shown],
        title=f"{what} by {factor}",
        x_label=f"{'error' if is_number else 'accuracy'}{unit}; broken line: everybody",
        description=words,
        null_value=result.overall.estimate.value * scale,
        is_faint=[not one.is_ranked for one in shown],
    )
    note = "Worst first; grey: under 30 photos." if any(not one.is_ranked for one in shown) else "Worst first."
    return captioned(drawing, f"{note} {left} more groups in the tables." if left else note), words


def _metric_words(heads: Sequence[Head]) -> Iterator[str]:
    for head in heads:
        name = capitalised(head.title)
        if isinstance(head, Regression):
            unit = f" {head.unit}" if head.unit else ""
            near = listing(f"±{size:g}" for size in head.tolerances)
            more = f", and the share within {near}{unit}" if near else ""
            yield f"{name}: mean absolute error{' in' * bool(unit)}{unit}{more}."
        elif head.is_binary:
            yield f"{name} label: accuracy, and recall of each label."
        else:
            yield f"{name} label: accuracy, macro F1 over its {len(head.classes)} classes, and recall of each."
    yield "All with 95 % intervals where one is known; groups under 30 photos are never ranked."


def _factor_words(groupings: Sequence[tuple[str, ...]]) -> str:
    names = [columns[0].replace("_", " ") for columns in groupings]
    return f"Judged by {listing(names)}, and where they meet." if names else "No group is labelled in these data."


def _data_facts(content: ReportContent) -> list[tuple[str, str]]:
    assessment = content.assessment
    judged = assessment.judged
    facts = [(f"Photos, {name}", count(len(rows))) for name, rows in assessment.splits.items()]
    facts.append(("Judged on", f"{assessment.judged_split}, {photos(len(judged))}"))
    sources = sorted({str(name) for name in assessment.rows["source"].dropna().unique()})
    if sources:
        facts.append(("Sources", listing(sources)))
    for head in content.regressions:
        values = judged[head.column].dropna()
        if len(values):
            # The least and the largest are each about one person.
            ends = [0.05, 0.5, 0.95] if content.hide_faces else [0, 0.5, 1]
            low, middle, high = (f"{value:.{content.digits(head, 0)}f}" for value in values.quantile(ends))
            said = f"{low} to {high} {head.unit}".rstrip() + ", the middle 90 %" * content.hide_faces
            facts.append((f"{capitalised(head.title)}s", f"{said}, median {middle}"))
    halves = (content.card or {}).get("validation") or {}
    uses = {"selecting": "Validation photos that judged the epochs", "calibrating": "Validation photos that calibrate"}
    facts += [(words, count(halves[use])) for use, words in uses.items() if use in halves]
    dropped = ((content.card or {}).get("data") or {}).get("dropped") or {}
    return facts + [(f"Left out: {reason}", count(number)) for reason, number in dropped.items()]


def _ethics(content: ReportContent) -> list[str]:
    return [
        *content.cautions,
        "Faces are personal data. Those shown in the training photos may not have agreed to this use.",
        "Differences between groups are assessed, with intervals; that none is found doesn't prove that there is none.",
    ]


def _caveats(content: ReportContent) -> list[str]:
    assessment = content.assessment
    caveats = ["Labels count as the truth here, and some are wrong.", *assessment.notices]
    if assessment.judged_split != "test":
        known = "It may have learnt from the photos that it was judged on, so the figures may flatter."
        unknown = "Whether the model was trained on these photos isn't known; if it was, the figures flatter."
        caveats.append(known if content.card else unknown)
    without = [head for head in content.regressions if not assessment.has(head.column, *head.interval_columns)]
    return caveats + [f"Its {head.title}s come without intervals." for head in without]


def _markdown_table(table: Table) -> str:
    columns = table.columns
    lines = [
        f"**{_escaped(table.caption)}**",
        "",
        "| " + " | ".join(_escaped(column.title) for column in columns) + " |",
        "|" + "|".join(" ---: " if column.is_number else " --- " for column in columns) + "|",
    ]
    for row in table.rows:
        values = ((column, row.values.get(column.key)) for column in columns)
        cells = (f"{column.text(value)} {column.ends(value)}".strip() for column, value in values)
        lines.append("| " + " | ".join(_escaped(cell) for cell in cells) + " |")
    return "\n".join(lines)


def _escaped(text: str) -> str:
    """Return text that Markdown shows as it is, markup included."""
    plain = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_|\[\]#])", r"\\\1", plain)
