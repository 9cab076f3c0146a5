"""How a model was made, as its card says it: flat, so that the settings of two can be held against each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Parts of a card that say how a model was made; the rest is its result, or where and when it was made.
_PARTS = (
    "size", "body", "weights", "image", "training", "augmentation", "balance", "vote", "relabelled", "precision",
    "seed",
)  # fmt: skip
_OF_HEADS = ("loss", "weight", "loss_settings", "point")
_NO_SETTINGS = {"training.device", "training.track", "training.seed", "training.precision", "image.mean", "image.std"}


def settings_of(card: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings of a card by name.

    >>> settings_of({"body": "resnet18", "training": {"epochs": 3}, "heads": [{"name": "age", "loss": "l1"}]})
    {'body': 'resnet18', 'training.epochs': '3', 'heads.age.loss': 'l1'}
    """
    heads = [head for head in card.get("heads") or () if isinstance(head, Mapping)]
    chosen: dict[str, Any] = {name: card[name] for name in _PARTS if name in card}
    chosen["heads"] = {str(head.get("name")): {key: head[key] for key in _OF_HEADS if key in head} for head in heads}
    notes = (card.get("data") or {}).get("notes") or {}
    if "fold" in notes:
        chosen["fold"] = notes["fold"]
    if card.get("members"):
        chosen["members"] = len(card["members"])
    return {name: value for name, value in _flat(chosen).items() if name not in _NO_SETTINGS}


def _flat(value: Any, name: str = "") -> dict[str, str]:
    if isinstance(value, Mapping):
        parts = (_flat(item, f"{name}.{key}" if name else str(key)) for key, item in value.items())
        return {key: text for part in parts for key, text in part.items()}
    if isinstance(value, (list, tuple)):
        return {name: ", ".join(map(str, value))}
    if isinstance(value, float):
        return {name: f"{value:g}"}
    return {name: "" if value is None else str(value)}
