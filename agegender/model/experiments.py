"""Trainings side by side: the settings in which their cards differ, what came of them, how large the networks are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agegender.card_settings import settings_of
from agegender.heads import Head
from agegender.model.model_folder import heads_of

SIDES = ("valid", "test")


def experiments(cards: Mapping[str, Mapping[str, Any] | None]) -> list[dict[str, Any]]:
    """Return a record for each model: `model`, `trained_on`, `photos`, differing `settings`, scores by split.

    A model of which only predictions are known has None for a card, and says nothing.
    """
    flat = {name: settings_of(card) for name, card in cards.items() if card is not None}
    keys = dict.fromkeys(key for settings in flat.values() for key in settings)
    differing = [key for key in keys if len({settings.get(key, "") for settings in flat.values()}) > 1]
    return [
        {
            "model": name,
            "trained_on": trained_on(card),
            "photos": ((card or {}).get("data") or {}).get("photos", {}).get("train"),
            "settings": {key: flat[name].get(key, "") for key in differing} if name in flat else {},
            **{side: _scores(card, side) for side in SIDES},
        }
        for name, card in cards.items()
    ]


def trained_on(card: Mapping[str, Any] | None) -> str:
    """Return the sources that a model was trained on, empty where nobody says."""
    data = (card or {}).get("data") or {}
    sources = [str(source) for source in data.get("sources") or []]
    return ", ".join(sources)


def _scores(card: Mapping[str, Any] | None, side: str) -> dict[str, float]:
    """Return the main score of each head on a split, as the card has it."""
    if card is None:
        return {}
    figures = (card.get("metrics") or {}).get(side) or {}
    found = {f"{head.name}_{_short(head)}": (figures.get(head.name) or {}).get(_short(head)) for head in heads_of(card)}
    return {name: float(value) for name, value in found.items() if isinstance(value, (int, float))}


def _short(head: Head) -> str:
    return head.metrics[0].short
