"""The card of a served model in words, for its page and for whoever asks /model."""

from __future__ import annotations

from typing import Any

from agegender.audit.words import capitalised, count
from agegender.heads import Classification, Head, Regression
from agegender.pages.card_text import out_of_scope
from agegender.serving.limits import Limits
from agegender.serving.service import Service


def model_facts(service: Service, limits: Limits) -> dict[str, Any]:
    """Return the heads, the card in words, what is known of its weaknesses, and the limits; nothing of its place."""
    card, heads = service.model.card, service.model.heads
    return {
        "name": service.model.name,
        "facts": [{"name": name, "value": value} for name, value in _facts(card, heads)],
        "figures": _figures(card, heads),
        "heads": [_head(head) for head in heads],
        "cautions": list(dict.fromkeys(head.caution for head in heads if isinstance(head, Classification))),
        "not_for": list(out_of_scope(heads)),
        "is_drawn": (card.get("data") or {}).get("is_drawn") is True,
        "looks_for_faces": service.model.image.crop != "none",
        "weaknesses": service.weaknesses.document(),
        "limits": {"bytes": limits.body_bytes, "photos": limits.photos, "pixels": limits.pixels},
    }


def _facts(card: dict[str, Any], heads: tuple[Head, ...]) -> list[tuple[str, str]]:
    data = card.get("data") or {}
    facts = [
        ("Predicts", ", ".join(head.title for head in heads)),
        ("Network", f"{card.get('body')} at {card['image']['size']} pixels"),
        ("Made on", str(card.get("created", ""))[:10]),
        ("Trained on", ", ".join(data.get("sources") or ())),
    ]
    facts += [(f"Photos, {side}", count(number)) for side, number in (data.get("photos") or {}).items()]
    facts.append(("Terms", capitalised(str(card.get("licence", "")))))
    return [(name, value) for name, value in facts if value]


def _figures(card: dict[str, Any], heads: tuple[Head, ...]) -> list[str]:
    """Return how well it does on photos kept aside, a sentence for each head."""
    test = (card.get("metrics") or {}).get("test") or {}
    photos = f"{count(test.get('n', 0))} photos kept aside"
    return [f"{capitalised(head.summary(test[head.name]))} ({photos})." for head in heads if test.get(head.name)]


def _head(head: Head) -> dict[str, Any]:
    named = {"name": head.name, "title": head.title, "kind": head.kind, "predicted": head.predicted}
    if isinstance(head, Regression):
        low, high = head.interval_columns
        return {**named, "unit": head.unit, "low": low, "high": high}
    return {**named, "probabilities": head.probability_columns}
