"""Models on new photos: which of these they know already, what each predicts of the others, kept beside the page."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from agegender.audit.dependence import clusters_of
from agegender.audit.estimates import UNKNOWN, mean_of
from agegender.audit.predictions_table import complete_predictions, read_predictions, write_predictions
from agegender.audit.words import photos
from agegender.data.faces_table import FacesTable, make_table, read_faces
from agegender.errors import FolderError, TableError, UsageError
from agegender.heads import Regression
from agegender.model.experiments import trained_on
from agegender.model.model_folder import FACES_FILE
from agegender.model.prediction_parts import model_digest
from agegender.progress import say
from agegender.writing import write_json

if TYPE_CHECKING:
    from agegender.api.model import Model

KEPT_FILE = "kept.json"
_LEARNT_SIDES = ("train", "valid")  # validation photos have chosen the epoch, and calibrated


@dataclass(frozen=True)
class JudgedPhotos:
    """One set of photos that none of the models has learnt from, and what each says of them.

    Attributes
    ----------
    name : str
    predictions : dict of str to DataFrame
        Model -> its predictions table.
    root : Path
    notes : list of str
        What was left out, and of which model the photos that it learnt from are not known.
    own : set of str
        Models of whose dataset the photos are.
    """

    name: str
    predictions: dict[str, pd.DataFrame]
    root: Path
    notes: list[str] = field(default_factory=list)
    own: set[str] = field(default_factory=set)


def faces_to_judge(place: str | Path | FacesTable, *, images: Path | None = None) -> FacesTable:
    """Return photos to judge on: of a faces table, of a labelled folder, or of a folder without labels."""
    from agegender.data.preparing import gather
    from agegender.data.sources.layouts import layout_scores
    from agegender.data.sources.recognising import recognised_source
    from agegender.photos.finding import list_photos

    if isinstance(place, FacesTable):
        return place
    path = Path(place)
    if not path.exists():
        raise UsageError(f"there is neither a faces table nor a folder of photos at {path}.")
    if not path.is_dir():
        return gather(faces=path, images=images, splits=False)
    try:
        source = recognised_source(path)
    except FolderError:
        found = [one.path for one in list_photos(path) if not one.dropped_because]
        if layout_scores(path) or not found:
            raise
        say(f"{path} says nothing of labels: only how far the models agree can be told.")
        return FacesTable(make_table([{"path": one, "source": "folder"} for one in found]), path.absolute())
    return gather(source=source, folders=[path], splits=False)


def judge(
    models: Mapping[str, Model], faces: FacesTable, name: str, *, split: str = "all", keep: Path | None = None
) -> JudgedPhotos:
    """Predict the photos that no model has learnt from; `keep` is a folder in which predictions are found again.

    Raises
    ------
    TableError
        No photo is left.
    """
    rows = faces.kept() if split == "all" else faces.kept().query("split == @split")
    if rows.empty:
        raise TableError(f"{name} has no photo{'' if split == 'all' else f' in the split {split!r}'} to judge on.")
    digests = _digests(faces, rows)
    known = {model: _learnt(one) for model, one in models.items()}
    learnt = {model: digests.isin(seen["learnt"]) for model, seen in known.items() if seen}
    every = {model: float(digests.isin(seen["every"]).mean()) for model, seen in known.items() if seen}
    left_out = pd.concat(learnt, axis=1).any(axis=1) if learnt else pd.Series(data=False, index=rows.index)
    if left_out.all():
        raise TableError(
            f"every one of the {len(rows):,} photos of {name} was trained or validated on by "
            f"{' or '.join(model for model, one in learnt.items() if one.any())}: nothing new is left to judge on."
        )
    new = replace(faces, table=rows[~left_out].reset_index(drop=True))
    sources = set(new.table["source"].dropna())
    own = {model for model, share in every.items() if share >= 0.5}
    own |= {model for model, one in models.items() if model not in every and sources & set(_sources(one))}
    notes = [f"{photos(len(new.table))} of {name}.", *_left_out_words(left_out, learnt), *_unknown_words(known, own)]
    predictions = {model: _kept_or_predicted(one, new, f"{name}-{model}", keep) for model, one in models.items()}
    return JudgedPhotos(name, predictions, faces.root, notes, own)


def judged_table(judged: Iterable[JudgedPhotos], models: Mapping[str, Model]) -> pd.DataFrame:
    """Return how each model does on each set of photos, one row per head, interval and n with it.

    Returns
    -------
    DataFrame
        `model`, `trained_on`, `judged_on`, `is_own`, `head`, `score` ("mae" or "accuracy"), `unit`, `n`, `value`,
        `low`, `high`, and of numbers `mean_error`, `mean_error_low`, `mean_error_high`.
    """
    records = [
        {"model": model, "trained_on": trained_on(models[model].card), "judged_on": one.name,
         "is_own": model in one.own, **record}
        for one in judged for model, table in one.predictions.items() for record in _figures(table)
    ]  # fmt: skip
    return pd.DataFrame(records)


def _figures(table: pd.DataFrame) -> list[dict[str, Any]]:
    rows, heads, _ = complete_predictions(table)
    clusters, found = clusters_of(rows), []
    for head in heads:
        metric = head.metrics[0]
        values = metric.values(rows) if metric.is_known(rows) else None
        score = UNKNOWN if values is None else mean_of(values, is_rate=metric.is_rate, clusters=clusters)
        error = UNKNOWN
        if values is not None and isinstance(head, Regression):
            error = mean_of(head.errors(rows), is_rate=False, clusters=clusters)
        found.append(
            {
                "head": head.name, "score": metric.short, "unit": metric.unit,
                "n": 0 if values is None else int(pd.notna(values).sum()),
                "value": score.value, "low": score.low, "high": score.high,
                "mean_error": error.value, "mean_error_low": error.low, "mean_error_high": error.high,
            }
        )  # fmt: skip
    return found


def _learnt(model: Model) -> dict[str, set[str]] | None:
    """Return the SHA-512 of photos that a model has learnt from, and of all of its dataset; None where nobody knows."""
    if model.faces is not None:
        return _learnt_of(model.faces, is_of_folds=model.is_of_folds(model.faces.notes))
    folder = model._folder
    members = [folder / str(one["folder"]) / FACES_FILE for one in model.card.get("members") or ()] if folder else []
    if not members or not all(one.is_file() for one in members):
        return None
    parts = [_learnt_of(read_faces(one), is_of_folds=False) for one in members]
    known = [one for one in parts if one is not None]
    if len(known) < len(parts):
        return None
    return {kind: set().union(*(one[kind] for one in known)) for kind in ("learnt", "every")}


def _learnt_of(faces: FacesTable, *, is_of_folds: bool) -> dict[str, set[str]] | None:
    kept = faces.kept()
    digests = kept["file_sha512"]
    if digests.isna().all():
        digests = _digests(faces, kept)
    if digests.isna().all():
        return None
    has_learnt = kept["path"].notna() if is_of_folds else kept["split"].isin(_LEARNT_SIDES)
    return {"learnt": set(digests[has_learnt].dropna()), "every": set(digests.dropna())}


def _digests(faces: FacesTable, rows: pd.DataFrame) -> pd.Series:
    """Return the SHA-512 of each photo's file, as the table has it or else read."""
    known = rows["file_sha512"].astype(object)
    missing = known.isna()
    return known.where(~missing, [_digest(faces, path) if lacks else None
                                  for path, lacks in zip(rows["path"], missing, strict=True)])  # fmt: skip


def _digest(faces: FacesTable, path: str) -> str | None:
    place = faces.photo_place(path)
    try:
        with open(place or "", "rb") as file:  # noqa: PTH123 (no path, no photo)
            return hashlib.file_digest(file, "sha512").hexdigest()
    except OSError:
        return None


def _sources(model: Model) -> list[str]:
    sources = ((model.card.get("data") or {}).get("sources")) or []
    return [str(one) for one in sources if one not in ("folder", "csv_table", "csv")]


def _left_out_words(left_out: pd.Series, learnt: Mapping[str, pd.Series]) -> list[str]:
    if not left_out.any():
        return (
            ["None of them is a photo that a model was trained or validated on, by content; near copies would pass."]
            if learnt
            else []
        )
    by = ", ".join(f"{model} {int(one.sum()):,}" for model, one in learnt.items() if one.any())
    return [f"{photos(int(left_out.sum()))} left out, which a model was trained or validated on ({by})."]


def _unknown_words(known: Mapping[str, Any], own: set[str]) -> list[str]:
    said = []
    for model in (name for name, seen in known.items() if seen is None):
        more = "; it was trained on this dataset, so its figures flatter it" if model in own else ""
        said.append(f"Which photos {model} was trained on is not known here{more}.")
    return said


def _kept_or_predicted(model: Model, faces: FacesTable, name: str, keep: Path | None) -> pd.DataFrame:
    """Return what a model says of faces: read again where the same model has said it of the same photos."""
    if keep is None:
        return model.predict_faces(faces)
    file, key = keep / f"{_file_name(name)}.parquet", _key(model, faces)
    there = _kept(keep)
    if there.get(file.name) == key and file.is_file():
        say(f"{file} has the predictions already")
        return read_predictions(file)
    table = model.predict_faces(faces)
    keep.mkdir(parents=True, exist_ok=True)
    write_predictions(table, file, model.heads)
    write_json(keep / KEPT_FILE, {**there, file.name: key})
    return table


def _key(model: Model, faces: FacesTable) -> str:
    photos = hashlib.sha256("".join(map(str, faces.table["file_sha512"])).encode()).hexdigest()[:16]
    return f"{model_digest(model.card)} {faces.fingerprint()[:16]} {photos}"


def _kept(keep: Path) -> dict[str, str]:
    try:
        found = json.loads((keep / KEPT_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _file_name(name: str) -> str:
    plain = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name)
    return plain.lstrip(".") if len(plain) <= 80 else f"{plain[:60]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
