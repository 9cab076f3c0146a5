"""From a model and photos to explanations, in the order wanted, each one kept as soon as it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agegender.api.choosing import Wanted
from agegender.errors import PhotoError
from agegender.explanation.lime_explainer import LimeExplainer
from agegender.explanation.problems import SMALLEST_SIDE_PIXELS, small_photo
from agegender.explanation.results import AGE_AND_GENDER, FaceExplanation, Output
from agegender.explanation.second_opinions import SecondOpinions, last_spatial_layer
from agegender.explanation.settings import LimeSettings
from agegender.explanation.storing import clear_explanations, write_explanation
from agegender.explanation.untrained import untrained_copy
from agegender.model.outputs import head_scores
from agegender.model.predictor import Model
from agegender.photos.face_detection import HaarDetector
from agegender.photos.reading import read_photo
from agegender.progress import say, track
from agegender.settings import Head

AskOthers = Callable[[FaceExplanation], FaceExplanation]


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
    photo = photo if one.is_from_table else model.crop_photo(photo)
    fitted = model.fit_photo(photo)
    face = explainer.explain(fitted, one.name, known_problems=problems, reason=one.reason).face
    predictions = {str(name): values.iloc[0] for name, values in model.predict_photos([photo]).items()}
    return replace(face, predictions=predictions, labels=one.labels)
