"""From several models' predictions tables to a leaderboard, paired differences, and the course's submission file."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from agegender.audit.models_compared import PairedComparison, compare_pair, leaderboard
from agegender.audit.predictions_table import read_predictions
from agegender.data.faces_table import read_faces
from agegender.errors import TableError
from agegender.heads import Regression, heads_of_predictions
from agegender.model.model_folder import FACES_FILE, PREDICTIONS_FILE, read_card
from agegender.writing import replaced_file


@dataclass(frozen=True)
class Contest:
    """Models on the same photos: the leaderboard, and each further model against the first.

    Attributes
    ----------
    predictions : mapping of name to DataFrame
        The rows compared, in the order that the models were named.
    board : DataFrame
        See `audit.models_compared.leaderboard`.
    pairs : mapping of name to PairedComparison
        What each further model changes against the first.
    photos_root : Path or None
        Where the photos are, when the first model's folder says so.
    """

    predictions: Mapping[str, pd.DataFrame]
    board: pd.DataFrame
    pairs: Mapping[str, PairedComparison]
    photos_root: Path | None

    @property
    def first(self) -> str:
        """Return the name of the model that the others are held against."""
        return next(iter(self.predictions))

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as plain dictionaries."""
        return {
            "first": self.first,
            "photos": {name: len(table) for name, table in self.predictions.items()},
            "leaderboard": self.board.to_dict(orient="records"),
            "against_first": {name: pair.to_dict() for name, pair in self.pairs.items()},
        }


def compare_models(models: Sequence[Path], *, split: str = "test") -> Contest:
    """Compare model folders, or predictions tables, on the rows of one split.

    Raises
    ------
    TableError, CardError
        A folder or table cannot be used, or the tables share no photo.
    """
    predictions = {name: _rows(path, split) for name, path in _named(models).items()}
    first, *others = predictions
    pairs = {name: compare_pair(predictions[first], predictions[name]) for name in others}
    table = models[0] / FACES_FILE
    photos_root = read_faces(table).root if table.is_file() else None
    return Contest(predictions, leaderboard(predictions), pairs, photos_root)


def write_submission(predictions: pd.DataFrame, path: Path) -> int:
    """Write the ChaLearn course's file: `predictions.csv` inside a zip, one age in years a line, no header, CRLF.

    Returns
    -------
    int
        The number of lines.

    Raises
    ------
    TableError
        An age is missing.
    """
    column = _head_with_ages(predictions).predicted
    ages = pd.to_numeric(predictions.sort_values("path")[column], errors="coerce")
    if ages.isna().any():
        raise TableError(f"{int(ages.isna().sum())} photos have no predicted age, and a submission needs all of them.")
    text = io.StringIO()
    csv.writer(text).writerows([[age] for age in ages])
    with replaced_file(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("predictions.csv", text.getvalue())
    return len(ages)


def _head_with_ages(predictions: pd.DataFrame) -> Regression:
    heads = [head for head in heads_of_predictions(predictions) if isinstance(head, Regression) and head.has_bands]
    if not heads:
        raise TableError("the first model predicts no ages, and a submission is made of them.")
    return heads[0]


def _named(models: Sequence[Path]) -> dict[str, Path]:
    names = [path.name if path.is_dir() else path.stem for path in models]
    repeated = {name for name in names if names.count(name) > 1}
    return {str(path) if name in repeated else name: path for name, path in zip(names, models, strict=True)}


def _rows(path: Path, split: str) -> pd.DataFrame:
    if path.is_file():
        table = read_predictions(path)
    else:
        read_card(path)
        table = read_predictions(path / PREDICTIONS_FILE)
    if split == "all" or "split" not in table:
        return table
    rows = table[table["split"] == split]
    if rows.empty:
        raise TableError(f"{path} has no row in the split {split!r}. Use --split all.")
    return rows.reset_index(drop=True)
