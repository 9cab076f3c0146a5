"""A model folder: the names of its files, and its card, made, read and checked; knows nothing of tensors.

models/<name>/
  weights.safetensors   the network's weights
  model.json            the card: everything needed to rebuild, judge and repeat the model
  faces.parquet         the faces table with the splits it was trained on
  history.csv           one row per epoch
  predictions.parquet   every kept photo, predicted
  metrics.json          first metrics per split
  card.toml             what people write for the model card; made once, never changed
  learner.pkl           the fastai export; the program itself never loads it, and it fits this version alone
  model.onnx            where `agegender export` was called: all that a prediction needs, without torch
  model-int8.onnx       where `agegender export --int8` was called
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from agegender.data.faces_table import FacesTable, read_faces
from agegender.errors import CardError, TableError
from agegender.heads import Head, Regression, head_from_dict, head_to_dict
from agegender.model.card_schema import parse_card
from agegender.model.shipped import shipped_folder
from agegender.progress import say
from agegender.settings import (
    CROPS,
    LARGEST_IMAGE_SIZE,
    LARGEST_MARGIN,
    SMALLEST_IMAGE_SIZE,
    SPLITS,
    VERSION,
    ImageSettings,
)
from agegender.swapping import finish_swaps
from agegender.training_settings import Plan, as_field

WEIGHTS_FILE = "weights.safetensors"
CARD_FILE = "model.json"
FACES_FILE = "faces.parquet"
HISTORY_FILE = "history.csv"
PREDICTIONS_FILE = "predictions.parquet"
METRICS_FILE = "metrics.json"
LEARNER_FILE = "learner.pkl"
ONNX_FILE = "model.onnx"
INT8_FILE = "model-int8.onnx"
LEARNT_ENTRY = "trained_on_judging_photos"  # of a card's teacher and first weights: how many
UNFINISHED = ".unfinished"  # how the folder of a run that is not done yet ends

LIBRARIES = ("torch", "torchvision", "fastai", "timm", "lime", "numpy", "pandas", "opencv-python-headless")
MOST_LISTED = 20  # items of a list in the card's notes
_NAMING_PHOTOS = ("malformed_names", "conflicts")  # lists in the notes of a faces table
MOST_RUNS = 50  # of a folder of models, that are shown beside one another


def judging_photos_learnt(folder: Path, rows: pd.DataFrame, who: str = "") -> int | None:
    """Return how many photos that choose and judge a model have trained that of the folder.

    None where the folder has no faces table. With `who`, what that model is to the new one, a warning is said.
    """
    path = folder / FACES_FILE
    if not path.is_file():
        return None
    theirs = read_faces(path).kept()
    trained = theirs[theirs["split"] == "train"]
    learnt = theirs if trained.empty else trained  # networks in folds, of which each photo has trained some
    judging = rows[rows["split"] != "train"]
    count = int(judging["file_sha512"].isin(learnt["file_sha512"].dropna()).sum())
    if count and who:
        say(
            f"careful: {count:,} of the {len(judging):,} photos that choose and judge this model have trained {who}, "
            f"so its figures will flatter. Train both on the same splits."
        )
    return count


def has_learnt_judging_photos(card: Mapping[str, Any]) -> bool:
    """Return whether a model began with, or was taught by, one that knew photos which judge it."""
    return any((card.get(entry) or {}).get(LEARNT_ENTRY) for entry in ("teacher", "first_weights"))


def newest_model(models: Path) -> Path:
    """Return the model folder below `models` whose card was written last."""
    finish_swaps(models)
    found = list(models.glob(f"*/{CARD_FILE}"))
    cards = [card for card in found if not card.parent.name.startswith(".") and card.parent.suffix != UNFINISHED]
    if not cards:
        begun = sorted(path for path in models.glob(f"*{UNFINISHED}") if path.is_dir())
        more = f" {begun[-1]} is not finished: {resume_words(begun[-1])}" if begun else ""
        raise CardError(f"there is no model in {models}. `agegender train` makes one, or name one with --model.{more}")
    return max(cards, key=lambda card: (card.stat().st_mtime_ns, card.parent.name)).parent


def chosen_model(model: Path | None, models: Path) -> Path:
    """Return the model folder that is named, or the newest one below `models`, and say which."""
    if model is None:
        model = newest_model(models)
        say(f"using the newest model, {model}")
    read_card(model)
    return model


def chosen_model_or_export(model: Path | None, models: Path | None) -> Path:
    """Return a model folder as `chosen_model` does, the .onnx file that is named, or where nothing is named ours."""
    if model is None and models is None:
        return shipped_folder()
    if model is None or not is_exported(model):
        return chosen_model(model, models or Path("models"))
    if not model.exists():
        raise CardError(f"there is no file {model}. `agegender export --out {model}` would make one.")
    return model


def is_exported(model: Path) -> bool:
    """Return whether a model is named by the file that it was exported to, and not by its folder."""
    return model.suffix.lower() == ".onnx" and not model.is_dir()


def read_card(folder: Path) -> dict[str, Any]:
    """Return a model's card."""
    path = folder / CARD_FILE
    if is_exported(folder) and folder.is_file():
        raise CardError(
            f"{folder} is an exported model, which predicts and evaluates and nothing else. Name the model folder that "
            f"it was exported from."
        )
    finish_swaps(folder.absolute().parent)
    if folder.name.endswith(UNFINISHED) and folder.is_dir():
        raise CardError(f"{folder} is no model yet, but a training that is not finished: {resume_words(folder)}")
    if not folder.is_dir():
        begun = folder.with_name(f"{folder.name}{UNFINISHED}")
        if begun.is_dir():
            raise CardError(f"the model {folder} is not finished yet: {resume_words(begun)}")
        raise CardError(f"there is no model folder {folder}. `agegender train --name {folder.name}` would make one.")
    if not path.is_file():
        raise CardError(f"{folder} is no model folder: it has no {CARD_FILE}.")
    return parse_card(path)


def cards_beside(folder: Path) -> list[dict[str, Any]]:
    """Return the cards of the models in the folder around `folder`, its own too, the newest first."""
    cards = []
    for place in folder.absolute().parent.glob(f"*/{CARD_FILE}"):
        if place.parent.name.startswith(".") or place.parent.suffix == UNFINISHED:
            continue
        try:
            cards.append(parse_card(place))
        except (CardError, OSError):
            continue  # another model's card that can't be read is not this one's trouble
    cards.sort(key=lambda card: str(card.get("created") or ""), reverse=True)
    return cards[:MOST_RUNS]


def read_history(folder: Path) -> pd.DataFrame | None:
    """Return one row per epoch, or None where the folder has no history."""
    path = folder / HISTORY_FILE
    if not path.is_file():
        return None
    try:
        history = pd.read_csv(path)
    except ValueError as error:
        raise TableError(f"{path} cannot be read as CSV: {error}. Delete it to go without learning curves.") from error
    return history if "epoch" in history else None


def ensemble_words(card: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what a report on the networks of a training in folds has to say, as notices."""
    folds = card.get("folds")
    if not isinstance(folds, int) or card.get("members") is None:
        return ()
    return (
        f"Every photo is judged by the one of {folds} networks that never saw it, each trained on {folds - 2} of "
        f"{folds} parts of the photos. What all of them answer together for new photos is not measured here.",
    )


def resume_words(run: Path) -> str:
    """Return how to go on with an unfinished run.

    >>> resume_words(Path("models/first.unfinished"))
    '`agegender train --resume first` goes on with it.'
    """
    if run.parent.name.endswith(UNFINISHED):  # of one fold: the whole goes on
        return resume_words(run.parent)
    place = "" if run.parent == Path("models") else f" --models-dir {run.parent}"
    return f"`agegender train --resume {run.name.removesuffix(UNFINISHED)}{place}` goes on with it."


def heads_of(card: Mapping[str, Any]) -> tuple[Head, ...]:
    """Return the heads that a card describes, also one of version 0.1."""
    described = card["heads"]
    if not isinstance(described, (list, tuple)) or not described:
        raise CardError(f"heads in {CARD_FILE} of {card.get('name')} is {described!r} and no list of heads.")
    heads = tuple(head_from_dict(head) for head in described)
    names = [head.name for head in heads]
    if len(set(names)) < len(names):
        raise CardError(f"two heads in {CARD_FILE} of {card.get('name')} are called {max(names, key=names.count)!r}.")
    return heads


def check_calibration(card: Mapping[str, Any], heads: Sequence[Head]) -> None:
    """Ask every head for a row, so that a calibration that cannot be understood is found before photos are read."""
    for head in heads:
        entry = (card.get("calibration") or {}).get(head.name)
        row = head.columns(np.zeros((1, *head.answer_shape)), entry)
        if isinstance(head, Regression):
            table = pd.DataFrame({head.column: [0.0], **row})
            head.intervals(table, entry)
            head.label_intervals(table, entry)


def image_of(card: Mapping[str, Any]) -> ImageSettings:
    """Return how the model of a card wants its photos."""
    try:
        entries: dict[str, Any] = card["image"]
        # Whoever writes a card by hand leaves out what is usual; a size there is none.
        image = ImageSettings(**{**{name: as_field(value) for name, value in entries.items()}, "size": entries["size"]})
        fits = len(image.mean) == len(image.std) == 3
        fits &= all(abs(one) <= 1000 for one in (*image.mean, *image.std))
        fits &= min(image.std) >= 1e-6
        fits &= isinstance(image.size, int) and SMALLEST_IMAGE_SIZE <= image.size <= LARGEST_IMAGE_SIZE
        margins = image.crop_margins or (image.crop_margin,) * 3
        fits &= len(margins) == 3 and all(0 <= margin <= LARGEST_MARGIN for margin in margins)
        fits &= image.crop in CROPS and image.crop_then in CROPS and isinstance(image.crop_aligned, bool)
        fits &= isinstance(image.mirrored, bool)
        fits &= 0 <= image.crop_smallest <= 1e6
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise CardError(f"image in {CARD_FILE} of {card.get('name')} cannot be understood: {error}.") from error
    if not fits:
        raise CardError(
            f"image in {CARD_FILE} of {card.get('name')} makes no sense: it needs a size of {SMALLEST_IMAGE_SIZE} to "
            f"{LARGEST_IMAGE_SIZE} pixels, a crop of {', '.join(CROPS)}, margins of 0 to "
            f"{LARGEST_MARGIN:g}, three means, and three standard deviations from 0.000001, none of them beyond 1000; "
            f"it is {str(entries)[:200]}."
        )
    return image


def network_entries(
    heads: Sequence[Head], image: ImageSettings, statistics: Mapping[str, Any], body: str
) -> dict[str, Any]:
    """Return the part of a card from which `load_network` builds the layers again."""
    return {
        "body": body,
        "heads": [head_to_dict(head) for head in heads],
        "image": asdict(image),
        "statistics": {name: asdict(values) for name, values in statistics.items()},
    }


def training_entries(faces: FacesTable, plan: Plan) -> dict[str, Any]:
    """Return the part of a card that says how the model was made, and of which faces."""
    kept = faces.kept()
    return {
        "name": plan.name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "agegender_version": VERSION,
        "size": plan.size,
        "weights": _for_others(plan.weights),
        "augmentation": asdict(plan.augmentation),
        "training": asdict(plan.training) | {"teacher": _for_others(plan.training.teacher)},
        "balance": list(plan.balance),
        "seed": plan.training.seed,
        "faces_fingerprint": faces.fingerprint(),
        "data": {
            "sources": sorted(kept["source"].unique()),
            "folder": faces.root.name,
            "is_drawn": faces.is_drawn(),
            "photos": {side: int((kept["split"] == side).sum()) for side in SPLITS},
            "dropped": {str(reason): int(count) for reason, count in faces.dropped().items()},
            "notes": _for_others(dict(faces.notes)),
        },
        "versions": {"python": platform.python_version(), **{library: version(library) for library in LIBRARIES}},
        "calibration": {},
    }


def _for_others(value: Any) -> Any:
    """Return what is fit for a card that is handed on: no photo's name, no absolute paths; faces.parquet has all."""
    if isinstance(value, dict):
        counted = {key: len(item) for key, item in value.items() if key in _NAMING_PHOTOS and isinstance(item, list)}
        return {key: _for_others(item) for key, item in value.items()} | counted
    if isinstance(value, (list, tuple)):
        cut = [f"… {len(value)} in all"] if len(value) > MOST_LISTED else []
        return [_for_others(item) for item in value[:MOST_LISTED]] + cut
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value
