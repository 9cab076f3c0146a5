"""Owns how nested settings become lines of a table: names joined by dots, long lists cut."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MOST_ITEMS = 12


def flattened(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Return (name, value) pairs of nested mappings and lists.

    >>> flattened({"image": {"size": 96, "mean": [0.5, 0.4]}})
    [('image.size', '96'), ('image.mean', '0.5, 0.4')]
    """
    if isinstance(value, Mapping):
        named = ((f"{prefix}.{key}" if prefix else str(key), item) for key, item in value.items())
        return [pair for name, item in named for pair in flattened(item, name)]
    if isinstance(value, (list, tuple)) and any(isinstance(item, (Mapping, list)) for item in value):
        return [pair for place, item in enumerate(value) for pair in flattened(item, f"{prefix}.{place}")]
    if isinstance(value, (list, tuple)):
        shown = ", ".join(map(str, value[:_MOST_ITEMS]))
        return [(prefix, f"{shown}, … {len(value)} in all" if len(value) > _MOST_ITEMS else shown)]
    return [(prefix, "" if value is None else str(value))]
