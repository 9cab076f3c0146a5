"""From a model and photos to explanations, in the order wanted, each one kept as soon as it is done.

What an earlier run has explained in the very same way is taken over: a run that was interrupted goes on.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agegender.api.finding_parts import find_parts
from agegender.audit.predictions_table import read_predictions
from agegender.data.faces_table import FacesTable, read_faces
from agegender.data.sources import is_aligned
from agegender.errors import PhotoError, TableError, UsageError
from agegender.explanation import GRAD_CAM, OCCLUSION, has_captum
from agegender.explanation.choosing_faces import REPORT_CHOICE, Choice, choose_faces, label_columns, of_group
from agegender.explanation.explanation_files import clear_explanations, reusable_explanations, stage_explanation
from agegender.explanation.face_explanation import FaceExplanation, without_face
from agegender.explanation.face_parts import FaceParts
from agegender.explanation.lime_explainer import SMALLEST_SIDE_PIXELS, LimeExplainer, LimeSettings, small_photo
from agegender.explanation.second_opinions import SecondOpinions, last_spatial_layer
from agegender.explanation.trust import untrained_copy
from agegender.heads import Head, Target
from agegender.memory import kept_memory
from agegender.model.model_folder import FACES_FILE, PREDICTIONS_FILE
from agegender.model.onnx_runtime import OnnxRuntime
from agegender.model.predictor import Predictor
from agegender.model.torch_runtime import TorchRuntime, head_scores
from agegender.photos.face_detection import SECOND_LOOK, make_detectors
from agegender.photos.reading import as_photo
from agegender.progress import say, track
from agegender.settings import VERSION
from agegender.swapping import finish_swaps, replaced_set

FindEarlier = Callable[[str], FaceExplanation | None]
_RANDOM_COST = 0.4  # evaluations of a photo for the mean, as a share of another one's
_LONG_SECONDS = 20


@dataclass(frozen=True)
class PhotoToExplain:
    """One photo: its file, the name that the result gets, what is known of it, and why it was chosen.

    `chosen_for` is the head that was the reason; `is_random` says that it is of the random sample; `is_aligned` that
    its source promises the parts of the face at the places of an aligned photo; `member` which network of an ensemble
    speaks of it, since the others have learnt from it.
    """

    photo: Path | None  # None: its pixels are at hand
    name: str
    labels: dict[str, Any] = field(default_factory=dict)
    reason: str = ""
    chosen_for: str = ""
    is_random: bool = False
    is_from_table: bool = False
    is_aligned: bool = False
    member: int | None = None


@dataclass(frozen=True)
class Explanations:
    """What came of each photo, in their order: its name, and an explanation or why it could not be read."""

    results: list[tuple[str, FaceExplanation | str]]

    @property
    def faces(self) -> list[FaceExplanation]:
        """The explanations alone."""
        return [result for _, result in self.results if not isinstance(result, str)]

    @property
    def unreadable(self) -> list[tuple[str, str]]:
        """Name and reason of each photo without one."""
        return [(name, result) for name, result in self.results if isinstance(result, str)]


def chosen_photos(
    model: Predictor,
    folder: Path,
    choice: Choice,
    *,
    faces_file: Path | None = None,
    images: Path | None = None,
    split: str = "test",
) -> list[PhotoToExplain]:
    """Choose faces of a table: the one that the model was trained with, or another one; its photos may be in `images`.

    The model folder holds predictions of its own faces; another table is predicted where the choice needs it.

    Raises
    ------
    TableError, UsageError
        There is no such table, it has no such column, or nobody is in the group.
    """
    own_file = folder / FACES_FILE
    faces = read_faces(faces_file or own_file, root=images)
    faces.check_photos()
    is_own = faces_file is None or faces_file.resolve() == own_file.resolve()
    has_predictions = is_own and (folder / PREDICTIONS_FILE).is_file()
    table = read_predictions(folder / PREDICTIONS_FILE) if has_predictions else faces.kept()
    chosen = table if split == "all" or "split" not in table else table[table["split"] == split]
    rows = of_group(chosen, choice.group)
    if rows.empty:
        raise TableError(f"no face of the split {split!r} is in the group {dict(choice.group)}. Use --split all.")
    if choice.needs_predictions and not has_predictions:
        rows = model.predict_faces(replace(faces, table=rows))
    chosen_faces = choose_faces(rows, choice, model.heads)
    return photos_of_rows(faces, chosen_faces, model.heads, of_folds=model.is_of_folds(faces.notes))


def faces_to_explain(model: Predictor, faces: FacesTable, predictions: pd.DataFrame) -> list[PhotoToExplain]:
    """Return the photos of the test split that are worth a look, or of everything where no split is known."""
    tested = predictions[predictions["split"] == "test"] if "split" in predictions else predictions
    rows = predictions if tested.empty else tested
    chosen = choose_faces(rows, REPORT_CHOICE, model.heads)
    return photos_of_rows(faces, chosen, model.heads, of_folds=model.is_of_folds(faces.notes))


def photos_of_rows(
    faces: FacesTable, rows: pd.DataFrame, heads: Sequence[Head], *, of_folds: bool = False
) -> list[PhotoToExplain]:
    """Return rows that `choose_faces` chose as photos to explain; none whose path may not be opened."""
    columns = label_columns(rows, heads)
    # Crops of ours show another square than the source cut out.
    is_uncut = faces.notes.get("crop", "none") == "none"
    sources = dict(zip(faces.table["path"], faces.table["source"], strict=True)) if is_uncut else {}
    places = [faces.photo_place(path) for path in rows["path"]]
    if None in places:
        say(f"{places.count(None)} of {len(places)} chosen photos are not opened: their paths lead out of {faces.root}")
    return [
        PhotoToExplain(
            place,
            row["path"],
            {name: row[name] for name in columns if pd.notna(row[name])},
            row["reason"],
            row["chosen_for"],
            is_random=bool(row["is_random"]),
            is_from_table=True,
            is_aligned=is_aligned(str(sources.get(row["path"], "")), row["path"]),
            member=int(row["fold"]) if of_folds else None,
        )
        for place, (_, row) in zip(places, rows.iterrows(), strict=True)
        if place is not None
    ]


@kept_memory()
def explain_photos(
    model: Predictor,
    photos: Sequence[PhotoToExplain],
    settings: LimeSettings,
    folder: Path | None,
    *,
    methods: Sequence[str] = (),
    hide_faces: bool = False,
    earlier: Path | None = None,
) -> Explanations:
    """Explain photos one after the other, and store them in `folder`, blurred and nameless with `hide_faces`.

    They take the place of those of an earlier run together, at the end. An interrupt keeps those that are done, says
    how many, and goes on up. `methods` are those of the second opinions; explanations that lie in `earlier`, or else in
    `folder`, are not made again where nothing that they depend on has changed.

    Raises
    ------
    PhotoError
        None of the photos can be read.
    OutputError
        `folder` cannot be written to.
    MissingExtraError
        Second opinions are wanted, and captum is not installed.
    """
    if methods:  # what stands in their way is said before anything long
        opinions_of(model if all(one.member is None for one in photos) else model.member(0), methods)
    explanations = Explanations([])
    if folder is not None:
        finish_swaps(folder)
    source = earlier or folder
    find = reusable_explanations(source) if source is not None else None
    with replaced_set() as swap:
        try:
            explained = track(_explained(model, photos, settings, methods, find), "explaining", total=len(photos))
            for number, (one, result) in enumerate(explained, start=1):
                if folder is not None and not isinstance(result, str):
                    stage_explanation(swap, without_face(result, number) if hide_faces else result, folder, number)
                explanations.results.append((one.name, result))
        except KeyboardInterrupt:
            kept = f", kept in {folder}" if folder and explanations.faces else ""
            say(f"interrupted: {len(explanations.faces)} of {len(photos)} explanations are done{kept}")
            if folder and explanations.faces:
                clear_explanations(swap, folder, run_id=model.card.get("run_id"))
                swap.commit()
            raise
        if not explanations.faces:
            raise PhotoError(f"no photo can be read ({len(photos)} given): {explanations.unreadable[0][1]}")
        if folder is not None:
            clear_explanations(swap, folder, run_id=model.card.get("run_id"))
    return explanations


def usual_methods(model: Predictor) -> tuple[str, ...]:
    """Return the second opinions that cost next to nothing, where there are any: Grad-CAM of a network in torch."""
    if not has_captum() or not isinstance(model.runtime, TorchRuntime):
        return ()
    with suppress(UsageError):
        opinions_of(model, (GRAD_CAM,))
        return (GRAD_CAM,)
    return ()


def explainer_of(model: Predictor, settings: LimeSettings) -> LimeExplainer:
    """Return an explainer of every head of a model, with its untrained copy for the sanity check."""
    return LimeExplainer(model.score_images, targets_of(model), settings, _untrained(model).score_images)


def _untrained(model: Predictor) -> TorchRuntime | OnnxRuntime:
    ours = model.runtime
    if isinstance(ours, OnnxRuntime):
        return ours.untrained()
    return TorchRuntime(
        untrained_copy(ours.network), model.heads, model.image, device=ours.device, precision=ours.scoring_precision
    )


def targets_of(model: Predictor) -> tuple[Target, ...]:
    """Return what the columns of a model's scores mean."""
    return tuple(target for head in model.heads for target in head.targets)


def opinions_of(model: Predictor, methods: Sequence[str] = (GRAD_CAM, OCCLUSION)) -> SecondOpinions:
    """Return what adds the opinions of other methods to an explanation.

    Raises
    ------
    MissingExtraError
        captum is not installed.
    UsageError
        The model is an ensemble, which has no one last layer to look at.
    """
    if "members" in model.card:
        raise UsageError(
            f"second opinions look into one network, and {model.card['name']} is an ensemble of "
            f"{len(model.card['members'])}: name the model folder of a member."
        )
    device = str(model.device)
    # Grad-CAM looks into the layers of one look at a photo, also where the mirror image is looked at besides.
    outputs = getattr(model.network, "plain_outputs", model.network)
    return SecondOpinions(
        model.in_torch.score_images,
        lambda images: [head_scores(h, raw) for h, raw in zip(model.heads, outputs(images), strict=True)],
        last_spatial_layer(model.network, model.image.size, device),
        model.image.mean,
        model.image.std,
        device,
        methods,
    )


def _explained(
    model: Predictor,
    photos: Sequence[PhotoToExplain],
    settings: LimeSettings,
    methods: Sequence[str],
    find: FindEarlier | None,
) -> Iterator[tuple[PhotoToExplain, FaceExplanation | str]]:
    judges: dict[int | None, tuple[Predictor, LimeExplainer, SecondOpinions | None]] = {}
    is_told = False
    for place, one in enumerate(photos):
        if one.member not in judges:
            judge = model if one.member is None else model.member(one.member)
            opinions = opinions_of(judge, methods) if methods else None
            judges[one.member] = judge, explainer_of(judge, settings), opinions
        judge, explainer, opinions = judges[one.member]
        try:
            photo = as_photo(one.photo)
        except PhotoError as error:
            yield one, str(error)
            continue
        started = time.perf_counter()
        face = explain_photo(judge, explainer, photo, one, opinions=opinions, find=find)
        seconds = time.perf_counter() - started
        if not is_told and seconds >= face.duration_seconds:  # else it was taken over
            is_told = True
            _tell_duration(seconds, photos[place:])
        yield one, face


def _tell_duration(seconds: float, photos: Sequence[PhotoToExplain]) -> None:
    """Say how long the rest will take, judged by the first, where that is long enough to matter."""
    costs = [_RANDOM_COST if one.is_random and not one.chosen_for else 1.0 for one in photos]
    whole = seconds * sum(costs) / costs[0]
    if whole > _LONG_SECONDS:
        words = f"{whole:.0f} seconds" if whole < 100 else f"{whole / 60:.0f} minutes"
        say(f"{len(photos)} photos to explain: about {words}. Ctrl-C keeps what is done; the same command goes on.")


def explain_photo(
    model: Predictor,
    explainer: LimeExplainer,
    photo: NDArray[np.uint8],
    one: PhotoToExplain,
    *,
    cut: NDArray[np.uint8] | None = None,
    opinions: SecondOpinions | None = None,
    find: FindEarlier | None = None,
) -> FaceExplanation:
    """Explain a photo, or the face that was cut out of it; by default it is cut as the model's training cut its own.

    One that was drawn at random, and chosen for nothing else, is explained for the mean; `find` knows earlier ones.
    """
    height, width = photo.shape[:2]
    problems = [small_photo(width, height)] if min(height, width) < SMALLEST_SIDE_PIXELS else []
    # Faces of a table were looked for when it was prepared.
    if not one.is_from_table and not problems and not make_detectors("haar", SECOND_LOOK).detect(photo):
        problems.append("no face was found in the photo: what the model says of it means nothing")
    if cut is None:
        cut = photo if one.is_from_table else model.crop_photo(photo)
    fitted = model.fit_photo(cut)
    parts = find_parts(cut, len(fitted), is_aligned=one.is_aligned, file=one.photo if cut is photo else None)
    if one.is_random and not one.chosen_for:
        # The untrained network's map is a check of the method, which the other photos make.
        explainer = replace(explainer, settings=explainer.settings.for_averaging(parts), untrained_scores=None)
        opinions = None
    made_by = _digest(model, explainer.settings, fitted, parts, problems, opinions.methods if opinions else ())
    face = find(made_by) if find is not None else None
    if face is None:
        face = explainer.explain(fitted, one.name, parts=parts, known_problems=problems)
        face = replace(face if opinions is None else opinions(face), made_by=made_by)
        predictions = {str(name): values.iloc[0] for name, values in model.predict_images(fitted[None]).items()}
        face = replace(face, predictions=predictions)
    return replace(
        face, path=one.name, labels=one.labels, reason=one.reason, chosen_for=one.chosen_for, is_random=one.is_random
    )


def _digest(
    model: Predictor,
    settings: LimeSettings,
    photo: NDArray[np.uint8],
    parts: FaceParts | None,
    problems: Sequence[str],
    methods: Sequence[str],
) -> str:
    """Return what tells an explanation from all that would come out otherwise; nothing where that cannot be known."""
    runtime, card = model.runtime, model.card
    if not isinstance(runtime, TorchRuntime) or not (card.get("weights_sha256") or card.get("members")):
        return ""
    known: list[Any] = [
        VERSION,
        card,
        asdict(settings),
        problems,
        methods,
        runtime.scoring_precision,
        str(model.device),
    ]
    known += [photo.shape, parts and (parts.known_from, parts.names)]
    told = hashlib.sha256(json.dumps(known, sort_keys=True, default=str).encode())
    for pixels in (photo, *(() if parts is None else (parts.part_map,))):
        told.update(np.ascontiguousarray(pixels).tobytes())
    return told.hexdigest()
