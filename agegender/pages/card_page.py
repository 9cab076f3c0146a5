"""The model card, as a page and as Markdown: filled from what is known, with what only a person can write marked.

References
----------
Mitchell et al.: Model cards for model reporting, FAT* 2019. Its nine parts are the sections here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from agegender.heads import Classification, Head, Regression
from agegender.pages.bias_tables import group_tables
from agegender.pages.coverage_tables import coverage_table
from agegender.pages.index_page import model_facts
from agegender.pages.page_writing import ReportContent, write_page
from agegender.pages.split_tables import split_table
from agegender.pages.tables import Table
from agegender.pages.words import capitalised, count, listing, photos
from agegender.writing import write_text

MARKDOWN_FILE = "MODEL_CARD.md"
Part = Mapping[str, Any]


def write_card(path: Path, content: ReportContent, pages: Sequence[Mapping[str, Any]] = ()) -> Path:
    """Write the card to `path` and as `MODEL_CARD.md` beside it, each whole or not at all; return the path."""
    assessment, parts = content.assessment, card_parts(content)
    write_text(path.parent / MARKDOWN_FILE, card_markdown(assessment.title, parts, is_drawn=assessment.is_drawn))
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
    )


def card_parts(content: ReportContent) -> list[Part]:
    """Return the nine parts of the card.

    Each has a `title` and what is known of `lines` (sentences), `facts` (names and values), `tables`, and `ask`: what a
    person has to write there.
    """
    groupings = content.comparisons.single
    claimed = [finding.sentence for finding in content.assessment.findings if finding.is_gap]
    tables = [table for columns in groupings for table in group_tables(content, columns, page="bias.html")]
    coverage = [table for head in content.regressions if (table := coverage_table(content, head))]
    return [
        _part(
            "Model details", facts=model_facts(content.card), ask="Who made it, who answers for it, licence, contact."
        ),
        _part("Intended uses", ask="What it is for, and who is to use it."),
        _part("Out-of-scope uses", list(out_of_scope(content.heads)), ask="Further uses that its makers warn against."),
        _part("Factors", [_factor_words(groupings)], ask="Groups and conditions that matter and aren't labelled."),
        _part("Metrics", list(_metric_words(content.heads)), tables=[split_table(content), *coverage]),
        _part("Results by group", claimed or ["No gap could be told from chance."], tables=tables),
        _part("Training and evaluation data", facts=_data_facts(content), ask="How the photos came about; consent."),
        _part("Ethical considerations", _ethics(content), ask="Risks that were weighed, and what was decided."),
        _part("Caveats and recommendations", _caveats(content), ask="What users should test before relying on it."),
    ]


def card_markdown(title: str, parts: Sequence[Part], *, is_drawn: bool) -> str:
    """Return the card as Markdown; whatever comes from labels is escaped."""
    blocks = [f"# Model card: {_escaped(title)}"]
    if is_drawn:
        blocks.append("> These faces are drawn. The figures say nothing about how the model does on real people.")
    for part in parts:
        blocks.append(f"## {part['title']}")
        blocks.append("\n".join(f"- {_escaped(line)}" for line in part["lines"]))
        blocks.append("\n".join(f"- {name}: {_escaped(value)}" for name, value in part["facts"]))
        blocks += [_markdown_table(table) for table in part["tables"]]
        blocks.append(f"> **To be written by a person:** {part['ask']}" if part["ask"] else "")
    return "\n\n".join(block for block in blocks if block) + "\n"


def _part(
    title: str,
    lines: Sequence[str] = (),
    *,
    facts: Sequence[tuple[str, str]] = (),
    tables: Sequence[Table] = (),
    ask: str = "",
) -> Part:
    return {"title": title, "lines": lines, "facts": facts, "tables": tables, "ask": ask}


def out_of_scope(heads: Sequence[Head]) -> Iterator[str]:
    """Yield what a model with these heads must not be used for, as sentences."""
    yield "Deciding anything about a person: access, price, hiring, policing, medical care."
    for head in heads:
        if isinstance(head, Classification) and head.caution:
            what = head.title if head.is_sensitive else f"{head.title} identity"
            yield f"Telling anybody's {what}, or sorting people by it."
    for number in (head for head in heads if isinstance(head, Regression)):
        what = f"{'an' if number.title[0] in 'aeiou' else 'a'} {number.title}"
        many = f" of many {number.unit}" if number.unit else ""
        yield f"Proving {what}. An estimate has an interval{many}, wider for some groups than for others."
    yield (
        "Photos unlike those it was judged on: other cameras, poses, ages or groups, until it has been judged on them."
    )


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
            low, middle, high = (f"{value:.{content.digits(head, 0)}f}" for value in values.quantile([0, 0.5, 1]))
            facts.append(
                (f"{capitalised(head.title)}s", f"{low} to {high} {head.unit}".rstrip() + f", median {middle}")
            )
    halves = (content.card or {}).get("validation") or {}
    uses = {"selecting": "Validation photos that chose the epoch", "calibrating": "Validation photos that calibrate"}
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
        known = "It was not judged on photos kept aside, so the figures may flatter."
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
