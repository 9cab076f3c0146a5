"""Photos in, predictions out, by one model or by several side by side: as a table, or part by part as a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from agegender.audit.predictions_files import PROBLEMS_JOINT, check_ending, predictions_file
from agegender.data.faces_table import FacesTable
from agegender.errors import PhotoError, UsageError
from agegender.heads import Head, limits_to_check
from agegender.model.face_rows import Looking, face_rows
from agegender.model.prediction_parts import PredictionParts, model_digest, opened_parts, remove_parts
from agegender.model.predictor import Predictor
from agegender.photos.finding import photo_names
from agegender.progress import say
from agegender.settings import VERSION

Place = str | Path
_MODEL = "model"  # the column that says whose row it is, where there are several


class PredictingModel(Predictor):
    """The part of `agegender.Model` that predicts."""

    def predict(
        self,
        photos: Any,
        *,
        split: str = "all",
        is_cropped: bool = False,
        faces_in_photo: str | None = None,
        finds_problems: bool = True,
        checks: Mapping[str, float] | None = None,
    ) -> pd.DataFrame:
        """Predict faces, photos, folders, patterns such as `holidays/*.jpg`, or a sequence of these.

        Parameters
        ----------
        photos : Faces, str, Path, ndarray uint8 (H, W, 3) RGB, PIL image, or a sequence of these
        split : str
            Of faces: "train", "valid", "test" or "all".
        is_cropped : bool
            Photos are faces already cut out; matters to models that were trained on crops.
        faces_in_photo : {"largest", "all"}, optional
            Find faces and cut them out as training did, one row for each that is taken; a model that was trained on
            photos as they came takes OpenCV's Haar cascade and a margin of 0.4 for it. By default photos are taken as
            training took them: as they come, or the largest face.
        finds_problems : bool
            Look for what is doubtful about each face; a little sooner without.
        checks : mapping of str to float, optional
            Limits to check numbers against, such as {"age": 25}: the column `age_check_25` is "under" where the upper
            end of the 90 % interval lies below 25, "not under" where the lower end doesn't, and else "unsure". Each end
            is a bound of 95 % on its own.

        Returns
        -------
        DataFrame
            Of faces: the columns of the faces table and each head's `prediction_columns`; rows that cannot be read are
            left out and counted on stderr. Of photos, in their order: `path`, `error` (why a photo could not be read,
            else missing), `problems` (such as "several faces, blurred", else missing), `face` (its number in the
            photo, the largest is 0), and where faces were looked for `face_count`, the face's box and crop in pixels
            of the upright photo (`face_left`, …, `crop_side`) and the detector's `face_score`; then the prediction
            columns.

        Raises
        ------
        FolderError
            A folder holds no photo, or no photo of the split is there.
        UsageError
            A check is of no number that the model predicts, or the photos are none, or an address.
        """
        if isinstance(photos, FacesTable):
            limits = limits_to_check(checks or {}, self.heads)
            table = self.predict_faces(photos, split=split)
            return table.assign(**{head.check_column(limit): head.checked(table, limit) for head, limit in limits})
        looking = Looking(faces_in_photo, is_cropped=is_cropped, finds_problems=finds_problems)
        return predict_table({str(self.card["name"]): self}, photos, looking, checks or {})

    def predict_to(
        self,
        path: Place,
        photos: Any,
        *,
        is_cropped: bool = False,
        faces_in_photo: str | None = None,
        finds_problems: bool = True,
        checks: Mapping[str, float] | None = None,
    ) -> dict[str, Any]:
        """Predict any number of photo files into a file, in level memory; a run that was stopped goes on.

        Rows are those of `predict`. Until the file is whole they lie in `<path>.unfinished`, and the same call goes on
        behind the last 512 photos that are there, also after a kill.

        Parameters
        ----------
        path : str or Path
            JSON Lines, CSV or Parquet by its ending: .jsonl, .csv, .parquet. An older file is replaced at the end.
        photos : str, Path, or a sequence of these
            Photos, folders, patterns.
        is_cropped, faces_in_photo, finds_problems, checks
            As for `predict`.

        Returns
        -------
        dict
            How many `photos`, `faces` and `unreadable` photos there were, and how often each of the `problems`.

        Raises
        ------
        PhotoError
            No photo could be read.
        UsageError
            What an interrupted run left is of another model or of other options.
        FolderError, OutputError

        Examples
        --------
        >>> Model.load("models/mine").predict_to("faces.parquet", "holidays")  # doctest: +SKIP
        {'photos': 1204, 'faces': 1203, 'unreadable': 1, 'problems': {'blurred': 31}}
        """
        looking = Looking(faces_in_photo, is_cropped=is_cropped, finds_problems=finds_problems)
        return predict_file({str(self.card["name"]): self}, photos, Path(path), looking, checks or {}).document()


@dataclass
class Counts:
    """What a prediction came to."""

    photos: int = 0
    faces: int = 0
    unreadable: int = 0
    problems: Counter[str] = field(default_factory=Counter)
    first_error: str = ""

    def add(self, table: pd.DataFrame) -> None:
        """Count the rows, of several models those of the first."""
        table = table[table[_MODEL] == table[_MODEL].iloc[0]] if _MODEL in table else table
        errors = table["error"].dropna()
        self.first_error = self.first_error or str(next(iter(errors), ""))
        self.unreadable += len(errors)
        self.faces += len(table) - len(errors)
        self.photos += int(table["path"].nunique())
        self.problems.update(word for words in table["problems"].dropna() for word in words.split(PROBLEMS_JOINT))

    def merge(self, other: Counts) -> None:
        """Add what other photos came to."""
        self.first_error = self.first_error or other.first_error
        self.unreadable += other.unreadable
        self.faces += other.faces
        self.photos += other.photos
        self.problems.update(other.problems)

    def document(self) -> dict[str, Any]:
        """Return the counts, JSON-able."""
        return {
            "photos": self.photos,
            "faces": self.faces,
            "unreadable": self.unreadable,
            "problems": dict(self.problems),
        }

    def check_any(self) -> None:
        """Refuse to call it a result where no photo could be read."""
        if self.photos and self.unreadable == self.photos:
            raise PhotoError(f"no photo could be read. {self.first_error}")


def predict_table(
    models: Mapping[str, Predictor], photos: Any, looking: Looking, checks: Mapping[str, float]
) -> pd.DataFrame:
    """Return the predictions of photos of any kind, see `Model.predict`; of several models a row for each."""
    items = photo_names(photos if isinstance(photos, (list, tuple)) else [photos])
    if not items:
        raise UsageError("there is no photo to predict: the list is empty.")
    return pd.concat(list(predicted_parts(models, items, looking, checks, label="predicting")), ignore_index=True)


def predict_file(
    models: Mapping[str, Predictor],
    photos: Any,
    out: Path,
    looking: Looking,
    checks: Mapping[str, float],
    *,
    sinks: Sequence[Callable[[pd.DataFrame], None]] = (),
) -> Counts:
    """Write the predictions of photo files to `out`, going on where a stopped run was; see `Model.predict_to`.

    Each of the `sinks` is given every table, in order.
    """
    check_ending(out)
    files = photo_names(photos if isinstance(photos, (list, tuple)) else [photos])
    if not files:
        raise UsageError("there is no photo to predict: the list is empty.")
    if not all(isinstance(one, str) for one in files):
        raise UsageError("only files are predicted into a file: what is in memory has no name to be found by again.")
    plan = {
        "version": VERSION,
        "models": {name: model_digest(one.card) for name, one in models.items()},
        "precision": [one.runtime.precision for one in models.values()],
        "looking": asdict(looking),
        "checks": dict(checks),
    }
    with opened_parts(out, files, plan) as parts:
        if parts.done:
            say(f"going on behind the {parts.done:,} photos that {parts.folder} keeps")
        try:
            for table in predicted_parts(models, files, looking, checks, first=parts.done, label="predicting"):
                parts.add(table)
        except BaseException:
            if parts.done:
                say(f"{parts.folder} keeps {parts.done:,} of {len(files):,} photos; the same command goes on with it.")
            raise
        try:
            return _join(parts, out, models, sinks)
        finally:
            remove_parts(parts)


def _join(
    parts: PredictionParts, out: Path, models: Mapping[str, Predictor], sinks: Sequence[Callable[[pd.DataFrame], None]]
) -> Counts:
    counts = Counts()
    run_ids = [model.card.get("run_id") for model in models.values()]
    run_id = str(run_ids[0]) if len(run_ids) == 1 and run_ids[0] else None
    with predictions_file(out, heads_of_all(models.values()), run_id) as write:
        for table in parts.tables():
            counts.add(table)
            for sink in (write, *sinks):
                sink(table)
        counts.check_any()
    return counts


def heads_of_all(models: Iterable[Predictor]) -> tuple[Head, ...]:
    """Return the heads of several models, each name once."""
    heads: dict[str, Head] = {}
    for model in models:
        for head in model.heads:
            heads.setdefault(head.name, head)
    return tuple(heads.values())


def predicted_parts(
    models: Mapping[str, Predictor],
    items: Sequence[Any],
    looking: Looking,
    checks: Mapping[str, float],
    *,
    first: int = 0,
    label: str | None = None,
) -> Iterator[pd.DataFrame]:
    """Yield the predictions of photos part by part, of several models a row for each; with a label, progress."""
    limits = [limits_to_check(checks, model.heads) for model in models.values()]
    streams = [
        face_rows(model, items, looking, first=first, label=label if number == 0 else None)
        for number, model in enumerate(models.values())
    ]
    for tables in zip(*streams, strict=True):
        checked = [
            table.assign(**{head.check_column(limit): head.checked(table, limit) for head, limit in some})
            for table, some in zip(tables, limits, strict=True)
        ]
        yield checked[0] if len(models) == 1 else _side_by_side(checked, models)


def _side_by_side(tables: Sequence[pd.DataFrame], names: Iterable[str]) -> pd.DataFrame:
    """Return one table with a row for each face and model, face by face."""
    together = pd.concat([table.assign(**{_MODEL: name}) for table, name in zip(tables, names, strict=True)])
    place = {path: number for number, path in enumerate(dict.fromkeys(tables[0]["path"]))}
    # The last key counts first; of equals the order, which is the models', stays.
    order = np.lexsort((together["face"].fillna(0).to_numpy(int), together["path"].map(place).to_numpy(int)))
    columns = ["path", _MODEL, *(name for name in together if name not in ("path", _MODEL))]
    return together.iloc[order][columns].reset_index(drop=True)
