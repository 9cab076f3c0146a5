"""Owns the names inside a model folder and the reading of its card; knows nothing of tensors.

models/<name>/
  weights.safetensors   the network's weights
  model.json            the card: everything needed to rebuild, judge and repeat the model
  faces.parquet         the faces table with the splits it was trained on
  history.csv           one row per epoch
  predictions.parquet   every kept photo, predicted
  metrics.json          first metrics per split
  learner.pkl           the fastai export; the program itself never loads it
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from agegender.errors import CardError

WEIGHTS_FILE = "weights.safetensors"
CARD_FILE = "model.json"
FACES_FILE = "faces.parquet"
HISTORY_FILE = "history.csv"
PREDICTIONS_FILE = "predictions.parquet"
METRICS_FILE = "metrics.json"
LEARNER_FILE = "learner.pkl"

_NEEDED = ("name", "body", "heads", "image")


def newest_model(models: Path) -> Path:
    """Return the model folder below `models` whose card was written last.

    Raises
    ------
    CardError
        There is none.
    """
    cards = [card for card in models.glob(f"*/{CARD_FILE}") if not card.parent.name.startswith(".")]
    if not cards:
        raise CardError(f"there is no model in {models}. `agegender train` makes one, or name one with --model.")
    return max(cards, key=lambda card: (card.stat().st_mtime_ns, card.parent.name)).parent


def read_card(folder: Path) -> dict[str, Any]:
    """Return a model's card.

    Raises
    ------
    CardError
        The folder or its card is missing, is no JSON, or lacks an entry.
    """
    path = folder / CARD_FILE
    if not folder.is_dir():
        raise CardError(f"there is no model folder {folder}. `agegender train --name {folder.name}` would make one.")
    if not path.is_file():
        raise CardError(f"{folder} is no model folder: it has no {CARD_FILE}.")
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise CardError(
            f"{path} cannot be read as JSON: {error}. Train the model again or restore the file."
        ) from error
    lacking = [entry for entry in _NEEDED if not isinstance(card, dict) or entry not in card]
    if lacking:
        raise CardError(f"{path} lacks {', '.join(lacking)}. It was not written by agegender, or by a broken run.")
    return dict(card)
