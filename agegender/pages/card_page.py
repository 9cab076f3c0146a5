"""Owns the model card, as a page and as Markdown: filled from what is known, with what only a person can write marked.

References
----------
Mitchell et al.: Model cards for model reporting, FAT* 2019. Its nine parts are the sections here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agegender.audit.comparisons import Comparisons
from agegender.audit.judged import Audit
from agegender.audit.judgement import Judgement
from agegender.pages.bias_tables import group_tables
from agegender.pages.index_page import model_facts
from agegender.pages.page_writing import write_page
from agegender.pages.tables import Column, Row, Table
from agegender.pages.words import GENDER_WORDS, count, listing
from agegender.writing import write_text

MARKDOWN_FILE = "MODEL_CARD.md"
_OUT_OF_SCOPE = (
    "Deciding anything about a person: access, price, hiring, policing, medical care.",
    "Telling anybody's gender identity, or sorting people by it.",
    "Proving an age. An estimate has an interval of many years, wider for some groups than for others.",
    "Photos unlike those it was judged on: other cameras, poses, ages or groups, until it has been judged on them.",
)
_ETHICS = (
    GENDER_WORDS,
    "Faces are personal data. Those shown in the training photos may not have agreed to this use.",
    "Differences between groups are assessed, with intervals; that none is found doesn't prove that there is none.",
)


@dataclass(frozen=True)
class CardSection:
    """One part of the card.

    Attributes
    ----------
    lines : sequence of str
        What is known, as sentences.
    facts : sequence of (name, value)
    tables : sequence of Table
    ask : str
        What a person has to write here; empty where nothing is missing.
    """

    title: str
    lines: Sequence[str] = ()
    facts: Sequence[tuple[str, str]] = ()
    tables: Sequence[Table] = ()
    ask: str = ""


def write_card(path: Path, judgement: Judgement, *, pages: Sequence[Mapping[str, Any]] = ()) -> Path:
    """Write the card to `path` and as `MODEL_CARD.md` beside it, each whole or not at all; return the path."""
    audit, sections = judgement.audit, card_sections(judgement)
    write_text(path.parent / MARKDOWN_FILE, card_markdown(audit.title, sections, is_drawn=audit.is_drawn))
    return write_page(
        path,
        "card.html",
        title=f"Model card: {audit.title}",
        heading="Model card",
        subject=audit.title,
        pages=pages,
        is_drawn=audit.is_drawn,
        notices=audit.notices,
        parts=sections,
        markdown_file=MARKDOWN_FILE,
    )


def card_sections(judgement: Judgement) -> list[CardSection]:
    """Return the nine parts of the card."""
    audit, comparisons = judgement.audit, judgement.comparisons
    claimed = [finding.sentence for finding in judgement.findings if finding.is_gap]
    tables = [
        table for columns in comparisons.single for table in group_tables(audit, comparisons, columns, page="bias.html")
    ]
    return [
        CardSection(
            "Model details", facts=model_facts(audit.card), ask="Who made it, who answers for it, licence, contact."
        ),
        CardSection("Intended uses", ask="What it is for, and who is to use it."),
        CardSection("Out-of-scope uses", _OUT_OF_SCOPE, ask="Further uses that its makers warn against."),
        CardSection(
            "Factors", [_factor_words(comparisons)], ask="Groups and conditions that matter and aren't labelled."
        ),
        CardSection("Metrics", _METRIC_WORDS, tables=[judgement.splits]),
        CardSection("Results by group", claimed or ["No gap could be told from chance."], tables=tables),
        CardSection(
            "Training and evaluation data", facts=_data_facts(audit), ask="How the photos came about; consent."
        ),
        CardSection("Ethical considerations", _ETHICS, ask="Risks that were weighed, and what was decided."),
        CardSection("Caveats and recommendations", _caveats(audit), ask="What users should test before relying on it."),
    ]


def card_markdown(title: str, sections: Sequence[CardSection], *, is_drawn: bool) -> str:
    """Return the card as Markdown; whatever comes from labels is escaped."""
    parts = [f"# Model card: {_escaped(title)}"]
    if is_drawn:
        parts.append("> These faces are drawn. The figures say nothing about how the model does on real people.")
    for section in sections:
        parts.append(f"## {section.title}")
        parts += ["\n".join(f"- {_escaped(line)}" for line in section.lines)] if section.lines else []
        parts += ["\n".join(f"- {name}: {_escaped(value)}" for name, value in section.facts)] if section.facts else []
        parts += [_markdown_table(table) for table in section.tables]
        parts += [f"> **To be written by a person:** {section.ask}"] if section.ask else []
    return "\n\n".join(parts) + "\n"


_METRIC_WORDS = (
    "Age: mean absolute error in years, and the share within ±5 and ±8 years.",
    "Gender label: accuracy, and recall of each label.",
    "All with 95 % intervals; groups under 30 photos are never ranked.",
)


def _factor_words(comparisons: Comparisons) -> str:
    names = [columns[0].replace("_", " ") for columns in comparisons.single]
    return f"Judged by {listing(names)}, and where they meet." if names else "No group is labelled in these data."


def _data_facts(audit: Audit) -> list[tuple[str, str]]:
    facts = [(f"Photos, {name}", count(len(rows))) for name, rows in audit.splits.items()]
    facts.append(("Judged on", f"{audit.judged_split}, {count(len(audit.judged))} photos"))
    sources = sorted({str(name) for name in audit.rows["source"].dropna().unique()})
    if sources:
        facts.append(("Sources", listing(sources)))
    ages = audit.judged["age_years"].dropna()
    if len(ages):
        facts.append(("Ages", f"{ages.min():.0f} to {ages.max():.0f} years, median {ages.median():.0f}"))
    dropped = ((audit.card or {}).get("data") or {}).get("dropped") or {}
    return facts + [(f"Left out: {reason}", count(number)) for reason, number in dropped.items()]


def _caveats(audit: Audit) -> list[str]:
    caveats = ["Labels count as the truth here, and some are wrong.", *audit.notices]
    if audit.judged_split != "test":
        caveats.append("It was not judged on photos kept aside, so the figures may flatter.")
    if not audit.has_intervals:
        caveats.append("Its ages come without intervals.")
    return caveats


def _markdown_table(table: Table) -> str:
    columns: Sequence[Column] = table.columns
    lines = [
        f"**{_escaped(table.caption)}**",
        "",
        "| " + " | ".join(_escaped(column.title) for column in columns) + " |",
        "|" + "|".join(" ---: " if column.is_number else " --- " for column in columns) + "|",
    ]
    return "\n".join([*lines, *(_markdown_row(row, columns) for row in table.rows)])


def _markdown_row(row: Row, columns: Sequence[Column]) -> str:
    values = ((column, row.values.get(column.key)) for column in columns)
    cells = (f"{column.text(value)} {column.ends(value)}".strip() for column, value in values)
    return "| " + " | ".join(_escaped(cell) for cell in cells) + " |"


def _escaped(text: str) -> str:
    """Return text that Markdown shows as it is, markup included."""
    plain = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_|\[\]#])", r"\\\1", plain)
