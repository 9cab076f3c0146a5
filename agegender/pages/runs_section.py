"""The runs of one folder of models, beside one another: figures on their test photos, and the settings that differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from agegender.audit.words import capitalised, in_unit, number
from agegender.card_settings import settings_of
from agegender.heads import Head, Regression
from agegender.pages.charts import bar_chart, captioned
from agegender.pages.page_writing import ReportContent
from agegender.pages.tables import Column, Row, Table, known_columns

Card = Mapping[str, Any]
_MOST_DIFFERENCES = 8
_MOST_BARS = 12


def runs_table(content: ReportContent) -> Table | None:
    """Return a row for each run, the newest first, or None where this one is alone."""
    if len(content.runs) < 2 or not content.card:
        return None
    rows = [_row(content, card) for card in content.runs]
    columns = [
        Column("name", "Run"),
        Column("created", "Trained"),
        Column("split", "Judged on"),
        Column("n", "Photos", 0),
        *(_column(content, head) for head in content.heads),
        Column("data", "Faces table"),
        Column("differs", "Settings that differ from this run's"),
    ]
    note = (
        "Figures are those on the cards, without intervals; only runs of the same faces table were judged on the same "
        "photos. The command compare tells whether a difference is more than chance."
    )
    return Table("runs", "Runs in this folder of models", known_columns(columns, rows), rows, note, len(rows) > 8)


def runs_chart(content: ReportContent) -> Markup | None:
    """Return the first head's main figure of the runs that were judged on the same photos, as they followed."""
    table = runs_table(content)
    if table is None:
        return None
    head = content.heads[0]
    same = [row for row in table.rows if row.values["data"] == _SAME and row.values[_key(head)] is not None]
    shown = list(reversed(same[:_MOST_BARS]))
    if len(shown) < 2:
        return None
    is_number = isinstance(head, Regression)
    values = [row.values[_key(head)] * (1 if is_number else 100) for row in shown]
    names = [row.values["name"] for row in shown]
    title = (
        in_unit(f"Mean absolute {head.title} error", head) if isinstance(head, Regression) else f"{head.title} accuracy"
    )
    digits = content.digits(head, 2) if isinstance(head, Regression) else 1
    told = "; ".join(f"{name} {number(value, digits)}" for name, value in zip(names, values, strict=True))
    drawing = bar_chart(
        names, values, title=f"{capitalised(title)}, by run", x_label=title if is_number else f"{title}, %",
        description=f"{capitalised(title)} of the runs on the same test photos, oldest first: {told}",
    )  # fmt: skip
    return captioned(drawing, "The oldest run first; no intervals.")


_SAME = "the same"


def _row(content: ReportContent, card: Card) -> Row:
    own = content.card or {}
    is_own = card.get("run_id") == own.get("run_id") and card.get("name") == own.get("name")
    metrics = card.get("metrics") or {}
    split = next((name for name in ("test", "valid") if name in metrics), "")
    scores = metrics.get(split) or {}
    is_same = card.get("faces_fingerprint") == own.get("faces_fingerprint")
    return Row(
        {
            "name": f"{card.get('name')}{' (this one)' * is_own}",
            "created": str(card.get("created") or "")[:16].replace("T", " "),
            "split": split,
            "n": scores.get("n"),
            **{_key(head): _score(scores, head) for head in content.heads},
            "data": _SAME if is_same else "another one",
            "differs": "" if is_own else _differences(card, own),
        }
    )


def _key(head: Head) -> str:
    return f"{head.name}_{'mae' if isinstance(head, Regression) else 'accuracy'}"


def _score(scores: Mapping[str, Any], head: Head) -> float | None:
    found = scores.get(head.name)
    value = found.get("mae" if isinstance(head, Regression) else "accuracy") if isinstance(found, Mapping) else None
    return float(value) if isinstance(value, (int, float)) else None


def _column(content: ReportContent, head: Head) -> Column:
    if isinstance(head, Regression):
        return Column(_key(head), in_unit(f"{capitalised(head.title)} MAE", head), content.digits(head, 2))
    return Column(_key(head), f"{capitalised(head.title)} accuracy", 1, is_percent=True)


def _differences(card: Card, own: Card) -> str:
    """Return the settings of another run that this one has otherwise: "epochs 5 (here 9)"."""
    theirs, ours = settings_of(card), settings_of(own)
    keys = [key for key in dict.fromkeys((*theirs, *ours)) if theirs.get(key, "–") != ours.get(key, "–")]
    said = [f"{_short(key)} {theirs.get(key, '–')[:40]} (here {ours.get(key, '–')[:40]})" for key in keys]
    more = len(said) - _MOST_DIFFERENCES
    return "; ".join([*said[:_MOST_DIFFERENCES], *([f"{more} more"] if more > 0 else [])]) or "none"


def _short(key: str) -> str:
    return key.removeprefix("training.").replace("_", " ").replace(".", " ")
