"""From a model and photos to explanations: which photos, in what order, and each one kept as soon as it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agegender.errors import PhotoError, TableError, UsageError
from agegender.explanation.lime_explainer import LimeExplainer
from agegender.explanation.problems import SMALLEST_SIDE_PIXELS, small_photo
from agegender.explanation.results import AGE_AND_GENDER, FaceExplanation, Output
from agegender.explanation.second_opinions import SecondOpinions, last_spatial_layer
from agegender.explanation.settings import LimeSettings
from agegender.explanation.storing import clear_explanations, write_explanation
from agegender.explanation.untrained import untrained_copy
from agegender.faces import Faces, read_faces
from agegender.images.face_detection import HaarDetector
from agegender.images.reading import read_photo
from agegender.inference.model import Model
from agegender.inference.outputs import head_scores
from agegender.model_folder import FACES_FILE, HISTORY_FILE, PREDICTIONS_FILE, read_card
from agegender.predictions import read_predictions, with_errors
from agegender.progress import say, track
from agegender.reporting.reports import write_reports
from agegender.settings import Head
from agegender.stages.evaluating import evaluate_faces

AskOthers = Callable[[FaceExplanation], FaceExplanation]
LABEL_COLUMNS = ("age_years", "gender", "ethnicity", "expression", "mask", "split")


@dataclass(frozen=True)
class Wanted:
    """One photo to explain: its file, the name that the result gets, what is known of it, and why it was chosen."""

    photo: Path
    name: str
    labels: dict[str, Any] = field(default_factory=dict)
    reason: str = ""
    is_from_table: bool = False


@dataclass(frozen=True)
class Explanations:
    """What came of each photo wanted, in their order: its name, and an explanation or why it could not be read."""

    results: list[tuple[str, FaceExplanation | str]]

    @property
    def faces(self) -> list[FaceExplanation]:
        """Return the explanations alone."""
        return [result for _, result in self.results if not isinstance(result, str)]

    @property
    def unreadable(self) -> list[tuple[str, str]]:
        """Return name and reason of each photo without one."""
        return [(name, result) for name, result in self.results if isinstance(result, str)]


@dataclass(frozen=True)
class Choice:
    """How many faces of a table to explain, and of which group (`{"ethnicity": "Black"}`; empty: everyone)."""

    worst: int = 0
    best: int = 0
    random: int = 0
    group: dict[str, str] = field(default_factory=dict)
    seed: int = 0


def choose_faces(model: Model, faces: Faces, choice: Choice, *, split: str = "test") -> list[Wanted]:
    """Return the faces with the largest and the smallest age errors, and some at random, none of them twice.

    Raises
    ------
    TableError
        The table has no such column, or nobody is in the group.
    """
    kept = faces.kept()
    if split != "all":
        kept = kept[kept["split"] == split]
    kept = _of_group(kept, choice.group)
    if kept.empty:
        raise TableError(f"no face of the split {split!r} is in the group {choice.group}. Use --split all.")
    if not (choice.worst or choice.best):
        chosen = _at_random(kept, choice).assign(reason="chosen at random")
    else:
        chosen = _by_error(evaluate_faces(model, replace(faces, table=kept)), choice)
    return [
        Wanted(faces.photo_path(row["path"]), row["path"], _labels(row), row["reason"], is_from_table=True)
        for _, row in chosen.iterrows()
    ]


def explain_wanted(
    model: Model,
    wanted: Sequence[Wanted],
    settings: LimeSettings,
    folder: Path | None,
    *,
    has_second_opinions: bool = False,
) -> Explanations:
    """Explain photos one after the other, writing each as it is done.

    An interrupt says how many are kept, and goes on up.

    Raises
    ------
    PhotoError
        None of the photos can be read.
    OutputError
        `folder` cannot be written to.
    MissingExtraError
        Second opinions are wanted, and captum is not installed.
    """
    ask_others = opinions_of(model) if has_second_opinions else None
    if folder is not None:
        clear_explanations(folder)
    results: list[tuple[str, FaceExplanation | str]] = []
    try:
        for number, (one, result) in enumerate(
            track(_explained(model, wanted, settings, ask_others), "explaining", total=len(wanted)), start=1
        ):
            results.append((one.name, result))
            if folder is not None and not isinstance(result, str):
                write_explanation(result, folder, number)
    except KeyboardInterrupt:
        kept = len(Explanations(results).faces)
        say(f"interrupted: {kept} of {len(wanted)} explanations are done" + (f", kept in {folder}" if folder else ""))
        raise
    explanations = Explanations(results)
    if not explanations.faces:
        raise PhotoError(f"no photo can be read ({len(wanted)} given): {explanations.unreadable[0][1]}")
    return explanations


def report_explanations(faces: Sequence[FaceExplanation], model_folder: Path, folder: Path) -> Path:
    """Write a model's pages to `folder`, the explanations among them, and return the page of these.

    Raises
    ------
    TableError
        The model folder holds no predictions, from which the other pages are made.
    """
    history = model_folder / HISTORY_FILE
    pages = write_reports(
        folder,
        predictions=read_predictions(model_folder / PREDICTIONS_FILE),
        title=model_folder.name,
        faces=read_faces(model_folder / FACES_FILE),
        card=read_card(model_folder),
        history=pd.read_csv(history) if history.is_file() else None,
        explanations=list(faces),
    )
    return pages["lime"]


def explainer_of(model: Model, settings: LimeSettings) -> LimeExplainer:
    """Return an explainer of every head of a model, with its untrained copy for the sanity check."""
    untrained = Model(untrained_copy(model.network), model.card, device=model.device, precision=model.precision)
    return LimeExplainer(model.score_images, outputs_of(model.heads), settings, untrained.score_images)


def opinions_of(model: Model) -> AskOthers:
    """Return what adds Grad-CAM and occlusion to an explanation.

    Raises
    ------
    MissingExtraError
        captum is not installed.
    """
    device = str(model.device)
    return SecondOpinions(
        model.score_images,
        lambda images: [head_scores(h, raw) for h, raw in zip(model.heads, model.network(images), strict=True)],
        last_spatial_layer(model.network, model.image.size, device),
        model.image.mean,
        model.image.std,
        device,
    )


def outputs_of(heads: Sequence[Head]) -> tuple[Output, ...]:
    """Return what the columns of a model's scores mean.

    >>> from agegender.settings import age_head, gender_head
    >>> [output.name for output in outputs_of((age_head(), gender_head()))]
    ['age', 'gender (female)']
    """
    outputs: list[Output] = []
    for head in heads:
        if head.kind == "years":
            outputs.append(AGE_AND_GENDER[0] if head.name == "age" else Output(head.name, "years"))
        elif len(head.classes) == 2:
            outputs.append(Output(f"{head.name} ({head.classes[1]})", "log-odds"))
        else:
            outputs += [Output(f"{head.name}: {name}", "log-odds") for name in head.classes]
    return tuple(outputs)


def _explained(
    model: Model, wanted: Sequence[Wanted], settings: LimeSettings, ask_others: AskOthers | None
) -> Iterator[tuple[Wanted, FaceExplanation | str]]:
    explainer = explainer_of(model, settings)
    for one in wanted:
        try:
            photo = read_photo(one.photo)
        except PhotoError as error:
            yield one, str(error)
            continue
        face = _explain_photo(model, explainer, photo, one)
        yield one, face if ask_others is None else ask_others(face)


def _explain_photo(model: Model, explainer: LimeExplainer, photo: NDArray[np.uint8], one: Wanted) -> FaceExplanation:
    height, width = photo.shape[:2]
    problems = [small_photo(width, height)] if min(height, width) < SMALLEST_SIDE_PIXELS else []
    # Faces of a table were looked for when it was prepared; the detector misses about one in forty real faces.
    if not one.is_from_table and not problems and not HaarDetector().detect(photo):
        problems.append("no face was found in the photo: what the model says of it means nothing")
    fitted = model.fit_photo(photo)
    face = explainer.explain(fitted, one.name, known_problems=problems, reason=one.reason).face
    predictions = {str(name): values.iloc[0] for name, values in model.predict_photos([photo]).items()}
    return replace(face, predictions=predictions, labels=one.labels)


def _of_group(table: pd.DataFrame, group: dict[str, str]) -> pd.DataFrame:
    for column, value in group.items():
        if column not in table:
            raise TableError(f"the faces table has no column {column!r}; it has {', '.join(table.columns)}.")
        present = sorted(table[column].dropna().astype(str).unique())
        if value not in present:
            raise UsageError(f"nobody has {column}={value!r}; there are {', '.join(present[:20]) or 'none'}.")
        table = table[table[column].astype(str) == value]
    return table


def _by_error(predictions: pd.DataFrame, choice: Choice) -> pd.DataFrame:
    table = with_errors(predictions).dropna(subset=["absolute_age_error_years"])
    by_error = table.sort_values("absolute_age_error_years", kind="stable")
    worst = by_error.iloc[::-1].head(choice.worst)
    best = by_error.drop(worst.index).head(choice.best)
    rest = by_error.drop(worst.index).drop(best.index)
    some = _at_random(rest, choice)
    return pd.concat(
        [
            worst.assign(reason=worst["age_error_years"].map(_error_words("worst"))),
            best.assign(reason=best["age_error_years"].map(_error_words("best"))),
            some.assign(reason="chosen at random"),
        ]
    )


def _at_random(table: pd.DataFrame, choice: Choice) -> pd.DataFrame:
    return table.sort_values("path").sample(min(choice.random, len(table)), random_state=choice.seed)


def _error_words(which: str) -> Callable[[float], str]:
    def words(error_years: float) -> str:
        return f"{which}: {'over' if error_years > 0 else 'under'}-estimated by {abs(error_years):.1f} years"

    return words


def _labels(row: pd.Series) -> dict[str, Any]:
    return {name: row[name] for name in LABEL_COLUMNS if name in row and pd.notna(row[name])}
