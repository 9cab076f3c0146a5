"""Trainings side by side: the settings in which their cards differ, what came of them, how large the networks are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agegender.heads import Head
from agegender.model.model_folder import heads_of

# Parts of a card that say how a model was made, and not where or of what run.
_SETTINGS = ("body", "weights", "image", "training", "augmentation", "balance", "vote", "relabelled", "precision")
_NO_SETTINGS = {"training.device", "training.track", "training.seed", "training.precision"}
SIDES = ("valid", "test")


def experiments(cards: Mapping[str, Mapping[str, Any] | None]) -> list[dict[str, Any]]:
    """Return a record for each model: `model`, `trained_on`, `photos`, differing `settings`, scores by split.

    A model of which only predictions are known has None for a card, and says nothing.
    """
    flat = {name: _settings(card) for name, card in cards.items() if card is not None}
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


def _settings(card: Mapping[str, Any]) -> dict[str, str]:
    chosen = {name: card.get(name) for name in _SETTINGS}
    heads = {str(head.get("name")): {key: head.get(key) for key in ("loss", "weight", "loss_settings", "point")}
             for head in card.get("heads") or [] if isinstance(head, Mapping)}  # fmt: skip
    members = card.get("members")
    flat = _flat({**chosen, "heads": heads, "seed": card.get("seed"), "members": members and len(members)})
    return {name: value for name, value in flat.items() if name not in _NO_SETTINGS}


def _flat(value: Any, name: str = "") -> dict[str, str]:
    if isinstance(value, Mapping):
        parts = (_flat(item, f"{name}.{key}" if name else str(key)) for key, item in value.items())
        return {key: text for part in parts for key, text in part.items()}
    if isinstance(value, (list, tuple)):
        return {name: ", ".join(map(str, value))}
    if isinstance(value, float):
        return {name: f"{value:g}"}
    return {name: "" if value is None else str(value)}
