"""`agegender.Comparison`: several models on the same photos, and who gains or loses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from agegender.audit.comparison_sentences import group_sentences, headline, leaders_sentences
from agegender.audit.models_compared import PairedComparison, compare_pair, leaderboard, leaders
from agegender.audit.predictions_table import complete_predictions, read_predictions
from agegender.audit.submission import write_submission
from agegender.errors import TableError, UsageError
from agegender.reading_tables import TABLE_SUFFIXES

if TYPE_CHECKING:
    from agegender.api.model import Model
    from agegender.data.faces_table import FacesTable

Place = str | Path


class Comparison:
    """Models on the same photos: a leaderboard, and each further model held against the first, photo by photo.

    Parameters
    ----------
    models : sequence, or mapping of name to model
        Each a predictions table (DataFrame or file), a model folder, or a `Model`. The first is the baseline.
    split : str
        Rows to compare, where the tables know their split; "all" for all.
    images : str or Path, optional
        Where the photos are, if not where the first model's faces table says.

    Attributes
    ----------
    predictions : dict of name to DataFrame
        The compared rows.
    board : DataFrame
        Ordered by average rank; see `agegender compare --help`.
    pairs : dict of name to PairedComparison
        What each further model changes against the first.

    Raises
    ------
    UsageError
        No model is named.
    TableError, CardError
        A table or folder cannot be used, or the tables share no photo.
    """

    def __init__(
        self,
        models: Sequence[pd.DataFrame | Place | Model] | Mapping[str, pd.DataFrame | Place | Model],
        *,
        split: str = "test",
        images: Place | None = None,
    ) -> None:
        named = dict(models) if isinstance(models, Mapping) else _named(models)
        if not named:
            raise UsageError("there is nothing to compare: name at least one model.")
        self.predictions = {name: _rows(name, model, split) for name, model in named.items()}
        first, *others = self.predictions
        self.first = first
        self.board = leaderboard(self.predictions)
        self.pairs: dict[str, PairedComparison] = {
            name: compare_pair(self.predictions[first], self.predictions[name]) for name in others
        }
        if self.pairs and not any(pair.shared for pair in self.pairs.values()):
            told = "; ".join(f"{name}: {', '.join(_head_names(table))}" for name, table in self.predictions.items())
            raise TableError(f"the models have no head in common, so there is nothing to compare ({told}).")
        self._photos_of_split = _photo_count(named[first], split)
        self.photos_root = _photos_root(named[first]) if images is None else Path(images).absolute()

    @cached_property
    def headline(self) -> list[str]:
        """Which model is better in what, by how much, and what that leaves open: the first sentences of the page."""
        best = leaders_sentences(leaders(self.predictions, self.board)) if len(self.predictions) > 2 else []
        return [*best, *headline(self.first, self.pairs)]

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as plain dictionaries, as `agegender compare --json` prints them."""
        return {
            "first": self.first,
            "headline": self.headline,
            "photos": {name: len(table) for name, table in self.predictions.items()},
            "leaderboard": self.board.to_dict(orient="records"),
            "against_first": {
                name: pair.to_dict() | {"sentences": group_sentences(name, pair)} for name, pair in self.pairs.items()
            },
        }

    def to_html(self, path: Place, *, hide_faces: bool = False) -> Path:
        """Write the page, one offline file, whole or not at all; return its place."""
        from agegender.pages.compare_page import JudgedSet, write_comparisons

        judged = JudgedSet(self.board, self.pairs, self.first, headline=self.headline, photos_root=self.photos_root)
        return write_comparisons(Path(path), [judged], hide_faces=hide_faces)

    def write_submission(self, path: Place, *, rows: int | None = None) -> int:
        """Write the first model's ages as the ChaLearn course's `predictions.zip`; return how many there are.

        Parameters
        ----------
        rows : int, optional
            How many there have to be; by default as many as the first model's faces table has photos in the split,
            those that were dropped among them, where that is known.

        Raises
        ------
        TableError
            There are more or fewer, or a photo has no age.
        """
        expected = self._photos_of_split if rows is None else rows
        return write_submission(self.predictions[self.first], Path(path), expected=expected)

    def _repr_html_(self) -> str:
        board = self.board.loc[:, ~self.board.columns.str.startswith("rank_")].dropna(axis=1, how="all")
        shown = board.to_html(index=False, float_format="%.3f")
        return f"<p><b>{escape(self.first)}</b> and {len(self.pairs)} more</p>{shown}"


def _named(models: Sequence[Any]) -> dict[str, Any]:
    names = [_name(model, place) for place, model in enumerate(models)]
    repeated = {name for name in names if names.count(name) > 1}
    unique = [
        (str(model) if isinstance(model, (str, Path)) else f"{name} {place + 1}") if name in repeated else name
        for place, (name, model) in enumerate(zip(names, models, strict=True))
    ]
    # The same path twice is the same model twice, under two names.
    numbered = [name if unique.index(name) == place else f"{name} {place + 1}" for place, name in enumerate(unique)]
    return dict(zip(numbered, models, strict=True))


def _name(model: Any, place: int) -> str:
    if isinstance(model, (str, Path)):
        return Path(model).name if Path(model).is_dir() else Path(model).stem
    return f"model {place + 1}" if isinstance(model, pd.DataFrame) else str(model.name)


def _rows(name: str, model: Any, split: str) -> pd.DataFrame:
    if isinstance(model, pd.DataFrame):
        table = model
    elif isinstance(model, (str, Path)) and _is_table(Path(model)):
        table = read_predictions(Path(model))
    elif isinstance(model, (str, Path)):
        from agegender.model.model_folder import PREDICTIONS_FILE, read_card

        read_card(Path(model))
        table = read_predictions(Path(model) / PREDICTIONS_FILE)
    else:
        table = model.predictions
    if split == "all" or "split" not in table or table["split"].isna().all():
        return table
    rows = table[table["split"] == split]
    if rows.empty:
        raise TableError(f"{name} has no row in the split {split!r}. Compare all rows with --split all.")
    return rows.reset_index(drop=True)


def _head_names(table: pd.DataFrame) -> list[str]:
    return [head.title for head in complete_predictions(table)[1]]


def _is_table(place: Path) -> bool:
    """Return whether a name is a table's: a file of any kind, or what is called like one."""
    return not place.is_dir() and (place.exists() or place.name.lower().endswith(TABLE_SUFFIXES))


def _photos_root(model: Any) -> Path | None:
    faces = _faces_of(model)
    return None if faces is None else Path(faces.root)


def _faces_of(model: Any) -> FacesTable | None:
    """Return the faces that a model folder or a model knows; a table of predictions knows none."""
    if isinstance(model, (str, Path)) and Path(model).is_dir():
        from agegender.data.faces_table import read_faces
        from agegender.model.model_folder import FACES_FILE

        table = Path(model) / FACES_FILE
        return read_faces(table) if table.is_file() else None
    return getattr(model, "faces", None)


def _photo_count(model: Any, split: str) -> int | None:
    """Return how many photos of a split there are, whatever became of them."""
    faces = _faces_of(model)
    if faces is None:
        return None
    return len(faces.table) if split == "all" else int((faces.table["split"] == split).sum())
