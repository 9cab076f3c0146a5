"""`agegender.Comparison`: several models on the same photos, and who gains or loses."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pandas as pd

from agegender.audit.comparison_sentences import group_sentences, headline, leaders_sentences
from agegender.audit.leaderboard import leaderboard, leaders
from agegender.audit.models_compared import PairedComparison, compare_pair
from agegender.audit.predictions_table import complete_predictions, read_predictions
from agegender.audit.submission import write_submission
from agegender.errors import AgeGenderError, TableError, UsageError
from agegender.model.shipped import shipped_folder
from agegender.reading_tables import TABLE_SUFFIXES

if TYPE_CHECKING:
    from agegender.api.model import Model
    from agegender.data.faces_table import FacesTable

Place = str | Path
SHIPPED = "shipped"  # what the model that comes with the package is called
OWN_TEST = "its own test photos"


class Comparison:
    """Models on the same photos: a leaderboard, and each further model held against the first, photo by photo.

    Parameters
    ----------
    models : sequence, or mapping of name to model
        Each a predictions table (DataFrame or file), a model folder, or a `Model`; with `faces` also an exported .onnx
        file, and "shipped" for the model that comes with the package. The first is the baseline.
    split : str, optional
        Rows to compare, where the tables know their split, "all" for all: by default "test", and all with `faces`.
    images : str or Path, optional
        Where the photos are, if not where the first model's faces table, or that of `faces`, says.
    faces : str, Path, Faces, or a sequence or mapping of these, optional
        Judge the models on these photos instead of their own: faces tables, labelled folders, or folders without
        labels. Photos that a model was trained or validated on are left out for all, by content. Of several sets the
        attributes below are about the first, and `others` about the rest.
    keep : str or Path, optional
        Folder in which the predictions of `faces` are kept, and found again.
    times : bool
        Measure how long a photo takes.
    device, precision : str
        For models that predict here.

    Attributes
    ----------
    predictions : dict of name to DataFrame
        The compared rows.
    board : DataFrame
        Ordered by average rank; see `agegender compare --help`. It has no intervals.
    pairs : dict of name to PairedComparison
        What each further model changes against the first: errors, accuracy, gaps of groups and bias scores before and
        after, with intervals; see `agegender.audit.models_compared`.
    headline : list of str
        Which model is better in what, by how much, and what that leaves open.
    judged : DataFrame
        With `faces`, how each model does on each set of photos, beside its own test photos: `model`, `trained_on`,
        `judged_on`, `is_own`, `head`, `score`, `unit`, `n`, `value`, `low`, `high`, `mean_error`, …; else empty.
    notes : list of str
        With `faces`, what was left out of them, and of which model its training photos are not known.
    others : dict of name to Comparison
        Further sets of `faces`.

    Raises
    ------
    UsageError
        No model is named; a predictions table is asked to judge new photos.
    TableError, CardError
        A table or folder cannot be used, the tables share no photo, the models no head, or nothing new is left.

    Examples
    --------
    >>> comparison = Comparison(["models/plain", "models/balanced"])  # doctest: +SKIP
    >>> comparison.headline[0]  # doctest: +SKIP
    'Age: balanced is better than plain: mean absolute error 4.90 years against 5.05, 0.14 lower (…; 2,816 photos).'
    >>> Comparison(["models/a", "models/b"], faces=["a.parquet", "b.parquet"]).judged  # doctest: +SKIP
    """

    def __init__(  # noqa: PLR0913 (the options of the command, each by its name)
        self,
        models: Sequence[pd.DataFrame | Place | Model] | Mapping[str, pd.DataFrame | Place | Model],
        *,
        split: str | None = None,
        images: Place | None = None,
        faces: Any = None,
        keep: Place | None = None,
        times: bool = False,
        device: str = "auto",
        precision: str = "auto",
    ) -> None:
        self._named = dict(models) if isinstance(models, Mapping) else _named(models)
        if not self._named:
            raise UsageError("there is nothing to compare: name at least one model.")
        self._times, self._loading = times, {"device": device, "precision": precision}
        self._loaded: dict[str, Model] = {}
        self.name, self.judged, self.notes = "", pd.DataFrame(), list[str]()
        self.others: dict[str, Comparison] = {}
        root = None if images is None else Path(images).absolute()
        first = next(iter(self._named))
        if faces is None:
            own = split or "test"
            self._compare({name: _rows(name, model, own) for name, model in self._named.items()})
            self._photos_of_split = _photo_count(self._named[first], own)
            self.photos_root = _photos_root(self._named[first]) if root is None else root
        else:
            self._judge(faces, split or "all", root, None if keep is None else Path(keep))

    def _compare(self, predictions: dict[str, pd.DataFrame]) -> None:
        self.predictions = predictions
        self.first, *others = predictions
        self.board = leaderboard(predictions)
        self.pairs: dict[str, PairedComparison] = {
            name: compare_pair(predictions[self.first], predictions[name]) for name in others
        }
        if self.pairs and not any(pair.shared for pair in self.pairs.values()):
            told = "; ".join(f"{name}: {', '.join(_head_names(table))}" for name, table in predictions.items())
            raise TableError(f"the models have no head in common, so there is nothing to compare ({told}).")

    def _judge(self, faces: Any, split: str, images: Path | None, keep: Path | None) -> None:
        """Predict each set of photos with every model, and compare on each."""
        from agegender.api.judging import faces_to_judge, judge, judged_table

        given = dict(faces) if isinstance(faces, Mapping) else _named_faces(faces)
        models = {name: self._model(name) for name in self._named}
        sets = [
            judge(models, faces_to_judge(place, images=images), name, split=split, keep=keep)
            for name, place in given.items()
        ]
        own = [one for name, model in models.items() if (one := _own_photos(name, model)) is not None]
        self.judged = judged_table([*own, *sets], models)
        self._compare(sets[0].predictions)
        self._photos_of_split = len(sets[0].predictions[self.first])
        self.others = {one.name: Comparison(one.predictions, split="all") for one in sets[1:]}
        for comparison, one in zip((self, *self.others.values()), sets, strict=True):
            comparison.name, comparison.notes, comparison.photos_root = one.name, one.notes, one.root

    def _model(self, name: str) -> Model:
        """Return a model that can predict."""
        from agegender.api.model import Model

        if name not in self._loaded:
            given = self._named[name]
            if isinstance(given, pd.DataFrame) or (isinstance(given, (str, Path)) and _is_table(Path(given))):
                raise UsageError(
                    f"{name} is a predictions table, which says nothing of new photos: name its model folder, or "
                    f"compare its own rows without --faces."
                )
            if isinstance(given, (str, Path)):
                place = None if _is_shipped_name(given) else Path(given)
                given = Model.load(place, **self._loading)
            self._loaded[name] = given
        return self._loaded[name]

    @cached_property
    def headline(self) -> list[str]:
        """Which model is better in what, by how much, and what that leaves open: the first sentences of the page."""
        answers = headline(self.first, self.pairs)
        return [*self._leaders, *(sentence for answer in answers for sentence in answer.sentences)]

    @cached_property
    def _leaders(self) -> list[str]:
        return leaders_sentences(leaders(self.predictions, self.board)) if len(self.predictions) > 2 else []

    @cached_property
    def experiments(self) -> list[dict[str, Any]]:
        """The trainings side by side: settings that differ, scores by split, `parameters`, `megabytes`, `macs`, `ms`.

        What a predictions table does not tell is missing; `ms`, milliseconds a photo, is measured where `times` is.
        """
        from agegender.model.experiments import experiments

        folders = {name: _folder_of(model) for name, model in self._named.items()}
        found = experiments({name: _card_of(model) for name, model in self._named.items()})
        return [record | self._measured(record["model"], folders[record["model"]]) for record in found]

    def _measured(self, name: str, folder: Path | None) -> dict[str, float]:
        if folder is None:
            return {}
        from agegender.model.network_size import milliseconds_per_photo, network_size

        try:
            size = network_size(folder)
        except AgeGenderError:  # whoever compares predictions need not be able to build the network
            return {}
        return size | {"ms": milliseconds_per_photo(self._model(name))} if self._times else size

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as plain dictionaries, as `agegender compare --json` prints them."""
        document = self._own_dict() | {"experiments": self.experiments}
        if len(self.judged):
            document |= {"judged": self.judged.to_dict(orient="records")}
            document["on"] = {name: one._own_dict() for name, one in self.others.items()}
        return document

    def _own_dict(self) -> dict[str, Any]:
        return {
            "first": self.first,
            **({"judged_on": self.name, "notes": self.notes} if self.name else {}),
            "headline": self.headline,
            "photos": {name: len(table) for name, table in self.predictions.items()},
            "leaderboard": self.board.to_dict(orient="records"),
            "against_first": {
                name: pair.to_dict() | {"sentences": group_sentences(name, pair)} for name, pair in self.pairs.items()
            },
        }

    def to_html(self, path: Place, *, hide_faces: bool = False, reports_dir: Place | None = None) -> Path:
        """Write the page, one offline file, whole or not at all; return its place.

        Parameters
        ----------
        reports_dir : str or Path, optional
            Where the models' own reports are, to which the page then leads.
        """
        from agegender.pages.compare_page import JudgedSet, write_comparisons

        every = [self, *self.others.values()]
        judged = [
            JudgedSet(one.board, one.pairs, one.first, one.name, one._leaders, one.notes, one.photos_root)
            for one in every
        ]
        reports = {} if reports_dir is None else self._reports(Path(path), Path(reports_dir))
        return write_comparisons(
            Path(path), judged, hide_faces=hide_faces, experiments=self.experiments, matrix=self.judged, reports=reports
        )

    def _reports(self, page: Path, reports_dir: Path) -> dict[str, str]:
        """Return the addresses of the models' reports that are there, seen from a page."""
        found = {name: reports_dir / name / "index.html" for name, model in self._named.items() if _folder_of(model)}
        return {
            name: quote(os.path.relpath(place.absolute(), page.absolute().parent).replace(os.sep, "/"))
            for name, place in found.items()
            if place.is_file()
        }

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
        said = "".join(f"<li>{escape(sentence)}</li>" for sentence in self.headline) if self.pairs else ""
        return f"<p><b>{escape(self.first)}</b> and {len(self.pairs)} more</p><ul>{said}</ul>{shown}"


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

        if _is_shipped_name(model):
            raise UsageError("the model that comes with the package has no predictions here: name photos with --faces.")
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
    if place.suffix.lower() == ".onnx" or _is_shipped_name(place):
        return False
    return not place.is_dir() and (place.exists() or place.name.lower().endswith(TABLE_SUFFIXES))


def _named_faces(faces: Any) -> dict[str, Any]:
    given = faces if isinstance(faces, (list, tuple)) else [faces]
    names = [Path(one).stem if isinstance(one, (str, Path)) else f"faces {place}" for place, one in enumerate(given, 1)]
    unique = [name if names.count(name) == 1 else f"{name} {place}" for place, name in enumerate(names, 1)]
    return dict(zip(unique, given, strict=True))


def _own_photos(name: str, model: Model) -> Any:
    """Return a model's own test photos as a set that it is judged on; None where it has no predictions of any."""
    from agegender.api.judging import JudgedPhotos

    table = model.predictions
    if table is None or "split" not in table or not (table["split"] == "test").any():
        return None
    rows = table[table["split"] == "test"].reset_index(drop=True)
    return JudgedPhotos(OWN_TEST, {name: rows}, Path(), own={name})


def _is_shipped_name(model: Any) -> bool:
    return isinstance(model, (str, Path)) and str(model) == SHIPPED and not Path(model).exists()


def _folder_of(model: Any) -> Path | None:
    """Return the folder of a model that has one, with a card in it."""
    if isinstance(model, (str, Path)):
        place = shipped_folder() if _is_shipped_name(model) else Path(model)
        return place if place.is_dir() else None
    return getattr(model, "_folder", None)


def _card_of(model: Any) -> dict[str, Any] | None:
    from agegender.model.model_folder import read_card

    folder = _folder_of(model)
    return getattr(model, "card", None) if folder is None else read_card(folder)


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
