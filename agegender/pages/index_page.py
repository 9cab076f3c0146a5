"""Owns `index.html`: what was trained, how it went, the key figures, the first findings, and where to read on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from agegender.audit.judgement import Judgement
from agegender.pages.bias_page import finding_lines
from agegender.pages.charts import line_chart
from agegender.pages.page_writing import write_page
from agegender.pages.split_tables import key_figures, overfitting_words
from agegender.pages.tables import Column, Row, Table
from agegender.pages.words import flattened

_MOST_FINDINGS = 5
_CURVES = (
    ("Loss of the age head", "loss", {"train": "train_loss_age", "valid": "valid_loss_age"}),
    ("Loss of the gender head", "loss", {"train": "train_loss_gender", "valid": "valid_loss_gender"}),
    ("Both losses, weighted", "loss", {"train": "train_loss", "valid": "valid_loss"}),
    ("Age error", "valid MAE, years", {"valid": "valid_age_mae"}),
    ("Gender accuracy", "valid accuracy", {"valid": "valid_gender_accuracy"}),
    ("Learning rate", "learning rate", {"learning rate": "learning_rate"}),
)


def write_index(
    path: Path,
    judgement: Judgement,
    history: pd.DataFrame | None,
    *,
    pages: Sequence[Mapping[str, Any]] = (),
) -> Path:
    """Write `index.html` to `path`, whole or not at all; return the path."""
    audit, splits = judgement.audit, judgement.splits
    claimed = [finding for finding in judgement.findings if finding.is_gap] or list(judgement.findings)
    return write_page(
        path,
        "index.html",
        title=audit.title,
        pages=pages,
        is_drawn=audit.is_drawn,
        notices=audit.notices,
        audit=audit,
        splits=splits,
        figures=key_figures(splits, audit.judged_split),
        overfitting=overfitting_words(audit),
        findings=finding_lines(claimed[:_MOST_FINDINGS], judgement.comparisons, "bias.html"),
        more_findings=max(len(claimed) - _MOST_FINDINGS, 0) if claimed[:1] and claimed[0].is_gap else 0,
        facts=model_facts(audit.card),
        settings=settings_table(audit.card),
        curves=learning_curves(history),
        history=_history_table(history),
    )


def learning_curves(history: pd.DataFrame | None) -> list[Markup]:
    """Return the curves that the history has columns for."""
    if history is None or not len(history):
        return []
    drawings = []
    for name, y_label, wanted in _CURVES:
        lines = {label: (history["epoch"], history[key]) for label, key in wanted.items() if key in history}
        if not lines:
            continue
        last = ", ".join(f"{label} {y.iloc[-1]:.3g}" for label, (_, y) in lines.items())
        description = f"{name} over {len(history)} epochs; at the end {last}"
        drawings.append(line_chart(lines, title=name, x_label="epoch", y_label=y_label, description=description))
    return drawings


def model_facts(card: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Return the few facts about a model that everybody asks for first."""
    if not card:
        return []
    image, data = card.get("image") or {}, card.get("data") or {}
    photos = data.get("photos") or {}
    facts = (
        ("Network", f"{card.get('body', '')} ({card['size']})" if card.get("size") else card.get("body")),
        ("Starting weights", card.get("weights")),
        ("Photos", ", ".join(f"{name} {count:,}" for name, count in photos.items()) if photos else None),
        ("Sources", ", ".join(map(str, data.get("sources") or [])) or None),
        ("Image size", f"{image['size']} px" if image.get("size") else None),
        ("Best epoch", card.get("best_epoch")),
        ("Precision", f"{card['precision']} on {card.get('device', '?')}" if card.get("precision") else None),
        ("Trained", card.get("created")),
        ("Took", f"{card['seconds']:,.0f} s" if isinstance(card.get("seconds"), (int, float)) else None),
        ("Fingerprint of the faces", str(card.get("faces_fingerprint") or "")[:16] or None),
    )
    return [(name, str(value)) for name, value in facts if value not in (None, "")]


def settings_table(card: Mapping[str, Any] | None) -> Table | None:
    """Return every setting of the card as a table, nested names joined by dots."""
    if not card:
        return None
    left_out = {"metrics", "name"}
    pairs = flattened({key: value for key, value in card.items() if key not in left_out})
    rows = [Row({"setting": name, "value": value}) for name, value in pairs]
    columns = (Column("setting", "Setting"), Column("value", "Value"))
    return Table("settings", "Every setting, as stored with the model", columns, rows, can_filter=True)


def _history_table(history: pd.DataFrame | None) -> Table | None:
    if history is None or not len(history):
        return None
    columns = [
        Column(name, name.replace("_", " "), 0 if name == "epoch" else _digits(name)) for name in history.columns
    ]
    rows = [Row({str(key): value for key, value in record.items()}) for record in history.to_dict("records")]
    return Table("history", "Epoch by epoch", columns, rows)


def _digits(name: str) -> int:
    return {"learning_rate": 6, "seconds": 1}.get(name, 3)
