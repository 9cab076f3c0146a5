"""`index.html`: what was trained, how it went, the key figures, the first findings, and where to read on."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from agegender.audit.assessment import ALL_ROWS, Assessment
from agegender.audit.findings import Finding
from agegender.audit.words import FEW, flattened, listing
from agegender.heads import Regression
from agegender.pages.bias_overview import overview, verdict_words, yardsticks
from agegender.pages.bias_page import finding_links
from agegender.pages.charts import line_chart
from agegender.pages.galleries import PhotoShelf, Strip, strips
from agegender.pages.page_writing import ReportContent, write_page
from agegender.pages.runs_section import runs_chart, runs_table
from agegender.pages.split_tables import key_figures, overfitting_words, split_table
from agegender.pages.tables import Column, Row, Table
from agegender.training_settings import TrainingSettings, as_field

_MOST_FINDINGS = 5
_FACES = 6
# Settings that stand in the facts by themselves, or say where and not how.
_SAID_ELSEWHERE = ("epochs", "batch_size", "auxiliary", "device", "precision", "track")
_NUMBERS = ("No", "One", "Two", "Three", "Four", "Five", "Six")


def write_index(path: Path, content: ReportContent, pages: Sequence[Mapping[str, Any]] = ()) -> Path:
    """Write `index.html` to `path`, whole or not at all; return the path."""
    assessment, splits = content.assessment, split_table(content)
    claimed: list[Finding] = [one for one in assessment.findings if one.is_gap] or list(assessment.findings)
    beside_guesses = [] if _is_few(content) else yardsticks(content)
    shown_already = {one["name"] for one in beside_guesses}
    return write_page(
        path,
        "index.html",
        title=assessment.title,
        pages=pages,
        is_drawn=assessment.is_drawn,
        notices=assessment.notices,
        cautions=content.cautions,
        run_id=content.run_id,
        lead=_lead(content),
        verdict="" if _is_few(content) else verdict_words(content),
        yardsticks=beside_guesses,
        picture=overview(content)[:1],
        subject_of_figures="photos of this table"
        if assessment.judged_split == ALL_ROWS
        else f"photos of the split “{assessment.judged_split}”",
        splits=splits,
        figures=[one for one in key_figures(content, splits) if one["name"] not in shown_already],
        overfitting=overfitting_words(content),
        findings=finding_links(content, claimed[:_MOST_FINDINGS], "bias.html"),
        more_findings=max(len(claimed) - _MOST_FINDINGS, 0) if claimed[:1] and claimed[0].is_gap else 0,
        facts=model_facts(content.card),
        settings=settings_table(content.card),
        curves=learning_curves(content),
        history=_history_table(content.history),
        strips=_six_faces(content),
        runs=runs_table(content),
        runs_chart=runs_chart(content),
        nearby=content.nearby,
        has_labels_page=any(page["address"] == "suspects.html" for page in pages),
    )


def _is_few(content: ReportContent) -> bool:
    return content.hide_faces and len(content.assessment.judged) < FEW


def _six_faces(content: ReportContent) -> list[Strip]:
    """Return the two most over-estimated, most under-estimated and typical faces, or six missed labels; none hidden."""
    if content.hide_faces or content.photos_root is None:
        return []
    shelf = PhotoShelf(content, _FACES)
    each = 2 if isinstance(content.heads[0], Regression) else _FACES
    found = strips(replace(content, assessment=_first_head(content.assessment)), content.assessment.judged, shelf, each)
    return found if any(photo.image for strip in found for photo in strip.photos) else []


def _first_head(assessment: Assessment) -> Assessment:
    return replace(assessment, heads=assessment.heads[:1])


def learning_curves(content: ReportContent) -> list[Markup]:
    """Return the curves that the history has columns for: losses and scores of each head, and the learning rate."""
    history = content.history
    if history is None or not len(history):
        return []
    drawings = []
    for name, y_label, wanted in _curves(content, history):
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
        ("Recipe", _recipe_words(card)),
        ("Auxiliary heads", _auxiliary_words(card)),
        ("Image size", f"{image['size']} px" if image.get("size") else None),
        ("Kept epoch", _kept_epoch_words(card)),
        ("Precision", f"{card['precision']} on {card.get('device', '?')}" if card.get("precision") else None),
        ("Trained", card.get("created")),
        ("Took", f"{card['seconds']:,.0f} s" if isinstance(card.get("seconds"), (int, float)) else None),
        ("Fingerprint of the faces", str(card.get("faces_fingerprint") or "")[:16] or None),
    )
    return [(name, str(value)) for name, value in facts if value not in (None, "")]


def _kept_epoch_words(card: Mapping[str, Any]) -> str:
    """Return whose weights the model has, and why."""
    kept, trained = card.get("best_epoch"), card.get("epochs_trained")
    if kept is None:
        return ""
    why = "the last" if (card.get("training") or {}).get("keep_epoch") == "last" else "the lowest validation loss"
    return f"{kept} of {trained}, {why}" if trained else f"{kept}, {why}"


def _recipe_words(card: Mapping[str, Any]) -> str:
    """Return how long the training was, and what of it is not as usual."""
    given = card.get("training") or {}
    if not {"epochs", "batch_size"} <= set(given):
        return ""
    said = [f"{given['epochs']} epochs, batches of {given['batch_size']}"]
    for one in fields(TrainingSettings):
        value = as_field(given.get(one.name, one.default))
        if value != one.default and one.name not in _SAID_ELSEWHERE:
            words = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
            said.append(f"{one.name.replace('_', ' ')} {words}")
    return "; ".join(said)


def _auxiliary_words(card: Mapping[str, Any]) -> str:
    """Return which heads have helped to train the network and are not in it."""
    names = [str(head.get("name", "")).replace("_", " ") for head in card.get("auxiliary_heads") or ()]
    return f"{', '.join(names)} (helped to train, not stored)" if names else ""


def settings_table(card: Mapping[str, Any] | None) -> Table | None:
    """Return every setting of the card as a table, nested names joined by dots."""
    if not card:
        return None
    left_out = {"metrics", "name", "training_photos"}
    pairs = flattened({key: value for key, value in card.items() if key not in left_out})
    rows = [Row({"setting": name, "value": value}) for name, value in pairs]
    columns = (Column("setting", "Setting"), Column("value", "Value"))
    return Table("settings", "Every setting, as stored with the model", columns, rows, can_filter=True)


def _lead(content: ReportContent) -> str:
    """Return what is known of the model in two sentences, and no more than that."""
    heads = [
        (f"{head.title} in {head.unit}" if head.unit else head.title)
        if isinstance(head, Regression)
        else f"the {head.title} label"
        for head in content.heads
    ]
    if not content.card:
        return f"Predictions of {listing(heads)}: how well they hold on these photos, and who they are wrong about."
    number = _NUMBERS[len(heads)].lower() if len(heads) < len(_NUMBERS) else str(len(heads))
    unseen = "photos that it has never met" if content.assessment.judged_split == "test" else "the photos at hand"
    return (
        f"One model, {number} head{'s' * (len(heads) != 1)}: {listing(heads)}. How it was made, how well it does on "
        f"{unseen}, and who it is wrong about."
    )


def _curves(content: ReportContent, history: pd.DataFrame) -> list[tuple[str, str, dict[str, str]]]:
    """Return title, axis and lines of each chart; which heads there are is read from the losses."""
    losses = [re.fullmatch(r"(?:train|valid)_loss_(\w+)", str(column)) for column in history.columns]
    names = list(dict.fromkeys(match[1] for match in losses if match))
    units = {head.name: f", {head.unit}" if head.unit else "" for head in content.regressions}
    titles = {name: name.replace("_", " ") for name in names}
    curves = [
        (f"Loss of the {titles[name]} head", "loss", {side: f"{side}_loss_{name}" for side in ("train", "valid")})
        for name in names
    ]
    every = {1: "Loss, weighted", 2: "Both losses, weighted"}.get(len(names), "All losses, weighted")
    curves.append((every, "loss", {side: f"{side}_loss" for side in ("train", "valid")}))
    for name in names:
        title = titles[name]
        curves.append(
            (f"{title} error".capitalize(), f"valid MAE{units.get(name, '')}", {"valid": f"valid_{name}_mae"})
        )
        curves.append((f"{title} accuracy".capitalize(), "valid accuracy", {"valid": f"valid_{name}_accuracy"}))
    return [*curves, ("Learning rate", "learning rate", {"learning rate": "learning_rate"})]


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
