"""Training, from a faces table to a trained model in memory: heads, network, batches, fit, calibration, predictions.

Read from top to bottom: `train_network` is the whole run, `write_model` writes it down, `fit` is the fastai part of it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from fastai.callback.core import Callback
from fastai.callback.progress import ProgressCallback  # noqa: F401 (gives Learner its no_bar)

from agegender.audit.metrics_document import card_metrics, evaluation_metrics
from agegender.audit.predictions_table import write_predictions
from agegender.data.balancing import apply_balance
from agegender.data.datablock import make_dataloaders, with_known_classes
from agegender.data.faces_table import FacesTable, write_faces
from agegender.data.normalisation import Colour, mean_and_std
from agegender.data.relabelling import relabelled
from agegender.data.splitting import validation_halves, without_calibration_rows
from agegender.errors import CardError, DataError, DivergedError, OutOfMemoryError, TrainingStopped
from agegender.heads import Head, Regression, choose_heads, head_to_dict
from agegender.launching import launched
from agegender.memory import kept_memory
from agegender.model.checkpoint import continue_from, digest_of, save_weights
from agegender.model.ensembles import EnsembleNetwork, write_members
from agegender.model.epochs import EpochRecorder, KeepBest, TrainingBar
from agegender.model.familiarity import ENTRY, training_photos_entry
from agegender.model.learner import FaceLearner, check_storable, export_learner, make_learner
from agegender.model.losses import CombinedLoss, class_counts, loss_settings
from agegender.model.memory_room import fitting_batch, is_out_of_memory, room_words
from agegender.model.model_folder import (
    CARD_FILE,
    FACES_FILE,
    HISTORY_FILE,
    LEARNER_FILE,
    LEARNT_ENTRY,
    METRICS_FILE,
    PREDICTIONS_FILE,
    UNFINISHED,
    WEIGHTS_FILE,
    judging_photos_learnt,
    network_entries,
    resume_words,
    training_entries,
)
from agegender.model.network import FaceNetwork, Statistics, make_network, set_dropout, statistics_of
from agegender.model.optimisers import USUAL, check_optimiser
from agegender.model.precision import choose_device, choose_precision, set_seed
from agegender.model.predictor import Predictor
from agegender.model.progressive_sizes import ProgressiveSizes
from agegender.model.recipe import recipe_callbacks
from agegender.model.run_state import KeepRun, RunState, processor_facts, read_state, say_difference
from agegender.model.several_processes import (
    SharedSteps,
    agreed,
    check_photo_count,
    go_on_alone,
    leads,
    own_device,
    process_count,
)
from agegender.model.teaching import Lessons, lessons_for
from agegender.model.tensorboard import TensorBoardRun
from agegender.model.tracking import WandbRun, check_tracking
from agegender.model.training_speed import CHANNELS_LAST, choose_layout, speed_callbacks
from agegender.model.unfinished import UnfinishedRun, new_run_id
from agegender.progress import say, track
from agegender.settings import BYTES_PER_ROW, CROP_SETTINGS, SPLITS, ImageSettings
from agegender.training_settings import Plan, TrainingSettings, as_field
from agegender.writing import check_space, output_errors, write_json

LEAST_TRAINING_PHOTOS = 2


@dataclass(frozen=True)
class Trained:
    """What a training run leaves, all in memory; its card, metrics included, is the predictor's.

    Attributes
    ----------
    predictor : Predictor
        Trained and calibrated.
    learner : FaceLearner
    history : DataFrame
        One row per epoch, see `EpochRecorder`.
    predictions : DataFrame
        Of every kept photo.
    """

    predictor: Predictor
    learner: FaceLearner
    history: pd.DataFrame
    predictions: pd.DataFrame


def train_network(  # noqa: PLR0915 (a run is read from top to bottom)
    faces: FacesTable, plan: Plan, *, run_folder: Path | None = None, run: UnfinishedRun | None = None
) -> Trained:
    """Train, choose the best epoch on one half of the validation photos, calibrate on the other, predict every photo.

    Nothing is written but TensorBoard's files and the state of each epoch.
    """
    started = time.perf_counter()
    if leads():
        agreed((replace(faces), plan, None if run is None else replace(run, _lock=None)))  # others begin
    heads = heads_to_train(faces, plan)
    stored = heads[: len(heads) - len(plan.training.auxiliary)]
    learnt, counts = _relabelled(faces, heads, plan)
    statistics = statistics_of(heads, _rows_of(learnt, "train"))
    plan = replace(plan, image=_image_of(faces, plan))  # the card carries it to `predict`
    sizes = plan.training.sizes(plan.image.size)
    device = own_device(choose_device(plan.training.device))
    precision = agreed(choose_precision(plan.training.precision, device))
    state = read_state(run.state_file) if run is not None and run.state_file.is_file() else None
    _check_same_state(run, state)
    place = None if run is None else run.folder
    lessons = agreed(lessons_for(learnt, heads, plan.training, place) if leads() else None)
    network = _first_network(plan, heads, statistics, is_begun=state is not None)
    known = judging_photos_learnt(Path(plan.weights), faces.kept(), "the model that it goes on from")
    if run is not None:
        _check_space(run.folder, network, len(faces.table), plan.training)
    where = _place_words(device, precision, plan.training)
    say(f"training {plan.body} ({plan.size}) at {plan.image.size} px in {precision} on {where}")
    fitted = without_calibration_rows(learnt)  # what calibrates chooses no epoch
    learner = _learner_on(with_known_classes(fitted, heads), plan, heads, network, device, lessons=lessons)
    also: list[Callback] = []
    if run_folder:
        settings = _hyper_parameters(plan, heads) | {"precision": precision}
        seen, rows = None if state is None else state.facts.get("batches_seen"), _rows_of(fitted, "valid")
        also.append(TensorBoardRun(run_folder, hyper_parameters=settings, valid_faces=rows, batches_seen=seen))
    if plan.training.track == "wandb" and leads():
        check_tracking(plan.training.track)
        also.append(WandbRun(_hyper_parameters(plan, heads), new_run_id() if run is None else run.run_id))
    processor = processor_facts(device, precision)
    layouts = {} if state is None else state.layouts_on(processor)
    for size in sorted(set(sizes) - set(layouts)):
        looks = len(_rows_of(faces, "train")) * sizes.count(size)
        layouts[size] = agreed(choose_layout(network.body, size, looks, precision=precision, device=device))
    layout = layouts[sizes[-1]]
    if len(layouts) > 1:
        also.append(ProgressiveSizes(sizes, layouts))
    if run is not None:
        laid = {str(size): one for size, one in layouts.items()}  # as JSON has it
        also.append(_keeper(learner, run, state, processor | {"memory_layouts": laid}))
    also.append(TrainingBar(has_report=run is not None and run.choices.get("no_report") is False))
    result = fit(learner, plan.training, precision=precision, layout=layout, device=device, callbacks=also)
    process_number = process_count()
    go_on_alone()
    learner.dls.train.teacher_answers = None  # whoever trains the Learner on does so by the labels
    if learner.combined_loss.auxiliary or learner.combined_loss.has_learned_weights:
        learner.keep_heads(_loss_of(stored, network, learnt))
    card = training_entries(faces, plan) | network_entries(stored, plan.image, network.statistics, plan.body)
    card |= {"auxiliary_heads": [head_to_dict(head) for head in heads[len(stored) :]], "relabelled": counts}
    card |= {"log_variances": result.log_variances, "class_counts": class_counts(stored, _rows_of(learnt, "train"))}
    card |= {} if lessons is None else {"teacher": dict(lessons.facts)}
    card |= {} if known is None else {"first_weights": {LEARNT_ENTRY: known}}
    card |= {"run_id": new_run_id()} if run is None else {"run_id": run.run_id, "changed": run.changed}
    card |= {"precision": precision, "memory_layout": layout, "device": device.type} | result.facts()
    card["processes"] = process_number
    card[ENTRY] = training_photos_entry(faces, plan.image.size)
    predictor = Predictor.of_network(network, card, device=device)
    card["validation"] = validation_halves(faces)
    predictions = predictor.predict_faces(faces, calibrates=True)
    say(_calibration_words(card))
    card["metrics"] = card_metrics(predictions, stored)
    earlier_seconds = 0.0 if state is None else float(state.facts["seconds"])
    card["seconds"] = round(earlier_seconds + time.perf_counter() - started, 1)
    return Trained(predictor, learner, result.history, predictions)


def follow() -> None:
    """Compute a part of each batch of the training that another process leads."""
    told: Any = agreed(None)
    faces, plan, run = told
    with suppress(TrainingStopped):
        train_network(faces, plan, run=run)


def _place_words(device: torch.device, precision: str, settings: TrainingSettings) -> str:
    count, size = process_count(), settings.batch_size
    if count > 1:
        return (
            f"{device.type}, {count} processes with {size / count:g} of the {size} photos of each batch, "
            f"learning rate {settings.learning_rate:g}"
        )
    return f"{device.type}, which is slow" if (precision, device.type) == ("fp16", "cpu") else device.type


def _check_same_state(run: UnfinishedRun | None, state: RunState | None) -> None:
    done = 0 if state is None else state.epochs_done
    if run is not None and agreed(done) != done:
        raise CardError(
            f"{launched()} sees {done} epochs in {run.folder.absolute()}, and the first process sees others: all "
            f"machines have to share this folder."
        )


def write_model(
    new: Path,
    predictor: Predictor,
    *,
    faces: FacesTable | None = None,
    predictions: pd.DataFrame | None = None,
    history: pd.DataFrame | None = None,
    learner: FaceLearner | None = None,
) -> None:
    """Write a model folder of what is known to a place where it waits for its swap."""
    network = check_storable(predictor.network)
    with output_errors(new):
        new.mkdir(exist_ok=True)
        if isinstance(network, EnsembleNetwork):
            write_members(new, network, predictor.card)
        else:
            save_weights(network, new / WEIGHTS_FILE)
            predictor.card["weights_sha256"] = digest_of(new / WEIGHTS_FILE)
            write_json(new / CARD_FILE, predictor.card)
        if faces is not None:
            write_faces(faces, new / FACES_FILE)
        if predictions is not None:
            write_predictions(predictions, new / PREDICTIONS_FILE, predictor.heads)
            write_json(new / METRICS_FILE, evaluation_metrics(predictions, predictor.heads))
        if history is not None:
            history.to_csv(new / HISTORY_FILE, index=False)
        if learner is not None:
            _export_learner(learner, new / LEARNER_FILE)


def _export_learner(learner: FaceLearner, path: Path) -> None:
    """Write the Learner, which the program does without: whatever is in its way must not cost the training."""
    try:
        export_learner(learner, path)
    except Exception as error:
        why = " ".join(str(error).split())[:300]
        say(f"{path.name} is left out ({why or type(error).__name__}); everything else of the model is stored.")


def _relabelled(faces: FacesTable, heads: Sequence[Head], plan: Plan) -> tuple[FacesTable, dict[str, int]]:
    learnt, counts = relabelled(faces, heads, plan.training.relabel)
    for rule, count in counts.items():
        say(f"--relabel {rule}: {count} training photos")
    return learnt, counts


def heads_to_train(faces: FacesTable, plan: Plan) -> tuple[Head, ...]:
    """Return the heads of a plan that the training photos have labels for; the others are left out with a sentence."""
    kept = faces.kept()
    counts = {side: int((kept["split"] == side).sum()) for side in SPLITS}
    if counts["train"] < LEAST_TRAINING_PHOTOS or counts["valid"] < 1:
        raise DataError(
            f"{counts['train']} training and {counts['valid']} validation photos are too few to train on. "
            f"Give more photos, or a larger --limit."
        )
    heads, notes = choose_heads(
        plan.heads, _rows_of(faces, "train"), losses=plan.losses, weights=plan.head_weights,
        allows_sensitive=plan.allows_sensitive, auxiliary=plan.training.auxiliary, point=plan.training.point,
    )  # fmt: skip
    for note in notes:
        say(note)
    return heads


def _calibration_words(card: Mapping[str, Any]) -> str:
    """Say how the validation photos were used, and what they were too few for."""
    halves, entries = card["validation"], card["calibration"]
    said = f"{halves['selecting']} validation photos judged the epochs, {halves['calibrating']} others calibrate"
    without = [head["name"] for head in card["heads"] if head["name"] not in entries]
    if without:
        said += f"; too few, or with too few labels, for {', '.join(without)}: no intervals or calibrated probabilities"
    return said


def _keeper(learner: FaceLearner, run: UnfinishedRun, state: RunState | None, processor: dict[str, Any]) -> KeepRun:
    learner.first_epoch = 0
    if state is not None:
        learner.first_epoch = state.epochs_done
        say(f"going on after epoch {state.epochs_done} of {run.plan.training.epochs}")
        say_difference(state, processor)
    return KeepRun(run, state, processor)


def _check_space(folder: Path, network: FaceNetwork, row_count: int, settings: TrainingSettings) -> None:
    """Refuse a run whose state, model and tables would not fit on the disk."""
    weights_bytes = sum(value.numel() * value.element_size() for value in network.state_dict().values())
    # A state is the weights, the best ones, two moments (others of timm's have more) and the average; a new one is
    # written beside the old one. What is stored at the end, with the Learner, needs less than that.
    copies = 4 + (settings.ema is not None) + 2 * (settings.optimiser != USUAL)
    check_space(folder, 2 * copies * weights_bytes + BYTES_PER_ROW * row_count, "this training")


def _first_network(
    plan: Plan, heads: Sequence[Head], statistics: dict[str, Statistics], *, is_begun: bool = False
) -> FaceNetwork:
    check_optimiser(plan.training.optimiser)
    model_folder = Path(plan.weights)
    goes_on = (model_folder / WEIGHTS_FILE).is_file() and not is_begun
    set_seed(plan.training.seed)  # for the layers that start at random
    weights = "none" if goes_on or is_begun else plan.weights
    network = make_network(plan.body, heads, statistics, weights=weights, image_size=plan.image.size)
    set_dropout(network, plan.training.dropout)
    network.mirrored = plan.training.mirrored
    if goes_on:
        continue_from(network, heads, model_folder)
    return network


def first_learner(
    faces: FacesTable, plan: Plan, device: torch.device, lessons_folder: Path | None = None
) -> FaceLearner:
    """Return the Learner that a training of a plan begins with; a teacher's answers are kept in the folder."""
    heads = heads_to_train(faces, plan)
    learnt, _ = _relabelled(faces, heads, plan)
    plan = replace(plan, image=_image_of(faces, plan))
    network = _first_network(plan, heads, statistics_of(heads, _rows_of(learnt, "train")))
    fitted = without_calibration_rows(learnt)
    lessons = lessons_for(learnt, heads, plan.training, lessons_folder)
    return _learner_on(with_known_classes(fitted, heads), plan, heads, network, device, lessons=lessons)


def _learner_on(
    faces: FacesTable,
    plan: Plan,
    heads: Sequence[Head],
    network: FaceNetwork,
    device: torch.device,
    *,
    lessons: Lessons | None = None,
) -> FaceLearner:
    settings = plan.training
    sizes = {"batch_size": settings.batch_size, "seed": settings.seed}
    dataloaders = make_dataloaders(faces, heads, plan.image, plan.augmentation, device=device, **sizes)
    check_photo_count(len(dataloaders.train.dataset), settings.batch_size)
    apply_balance(dataloaders.train, _rows_of(faces, "train"), settings, plan.balance)
    helping = [head.name for head in heads[len(heads) - len(settings.auxiliary) :]]
    teaching = None
    if lessons is not None:
        teaching, dataloaders.train.teacher_answers = lessons.teaching(heads, settings), lessons.answers
    loss = _loss_of(
        heads, network, faces, auxiliary=helping, weighting=settings.weighting, teaching=teaching
    )  # fmt: skip
    return make_learner(dataloaders, network, loss, optimiser=settings.optimiser)


def _loss_of(heads: Sequence[Head], network: FaceNetwork, faces: FacesTable, **options: Any) -> CombinedLoss:
    units = {head.name: network.statistics[head.name].std for head in heads if isinstance(head, Regression)}
    return CombinedLoss(heads, units, class_counts=class_counts(heads, _rows_of(faces, "train")), **options)


def _rows_of(faces: FacesTable, split: str) -> pd.DataFrame:
    kept = faces.kept()
    return kept[kept["split"] == split]


def _image_of(faces: FacesTable, plan: Plan) -> ImageSettings:
    image = replace(plan.image, mirrored=plan.training.mirrored)
    image = replace(image, **{name: as_field(faces.notes[name]) for name in CROP_SETTINGS if name in faces.notes})
    if plan.training.normalise != "own":
        return image
    mean, std = _own_colours(faces, image.size)
    return replace(image, mean=mean, std=std)


def _own_colours(faces: FacesTable, size: int) -> tuple[Colour, Colour]:
    paths = [faces.photo_path(path) for path in _rows_of(faces, "train")["path"]]
    mean, std = mean_and_std(track(paths, "measuring colours"), size)
    say(f"colours of {len(paths)} training photos: mean {_triple(mean)}, std {_triple(std)}")
    return mean, std


def _triple(values: Colour) -> str:
    return " ".join(f"{value:.3f}" for value in values)


def _hyper_parameters(plan: Plan, heads: Sequence[Head]) -> dict[str, Any]:
    of_heads = {f"{head.name}_{key}": getattr(head, key) for head in heads for key in ("loss", "weight")}
    of_heads |= {f"{head.name}_{name}": value for head in heads for name, value in loss_settings(head).items()}
    network = {"body": plan.body, "weights": plan.weights, "image_size": plan.image.size}
    return network | of_heads | asdict(plan.training) | {"balance": " ".join(plan.balance)}


@dataclass(frozen=True)
class Fit:
    """What a fit leaves: one row per epoch, and which epoch was best; the learner has its weights."""

    history: pd.DataFrame
    best_epoch: int

    @property
    def log_variances(self) -> dict[str, float]:
        """What the best epoch has learned to weigh each head by; empty where weights are fixed."""
        best = self.history.loc[self.history["epoch"] == self.best_epoch].iloc[0]
        names = [name for name in best.index if name.startswith("log_variance_")]
        return {name.removeprefix("log_variance_"): round(float(best[name]), 4) for name in names}

    def facts(self) -> dict[str, int]:
        """Return what a card says of it."""
        return {"best_epoch": self.best_epoch, "epochs_trained": len(self.history)}


def fit(
    learner: FaceLearner,
    settings: TrainingSettings,
    *,
    precision: str,
    device: torch.device,
    layout: str = CHANNELS_LAST,
    callbacks: Sequence[Callback] = (),
) -> Fit:
    """Train as the settings say, the kept epoch's weights in place at the end."""
    set_seed(settings.seed, is_reproducible=device.type == "cuda")
    recorder, best = EpochRecorder(), KeepBest(keeps_last=settings.keep_epoch == "last")
    during: list[Callback] = []  # of the fit alone: predicting and showing are no epochs
    keeper = next((one for one in callbacks if isinstance(one, KeepRun)), None)
    has_room = True
    try:
        learner.model.to(device)
        learner.combined_loss.to(device).begin()
        speed = speed_callbacks(precision, layout, device)
        during += [*recipe_callbacks(settings, learner), *speed, recorder, best, *callbacks]
        if process_count() > 1:
            during.append(SharedSteps(settings.seed))
        # Our own bar replaces fastai's, which belongs to notebooks; its recorder stays, for `recorder.plot_loss`.
        with learner.no_bar(), learner.no_logging(), kept_memory():
            learner.fit(settings.epochs, wd=settings.weight_decay, cbs=during)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        has_room = False  # the error holds the step's tensors, so it has to go before others are tried
    finally:
        # fastai tells callbacks nothing of Ctrl-C.
        for callback in during:
            getattr(callback, "close", lambda: None)()
    if not has_room:
        size = learner.dls.train.image.size
        count = process_count()  # each had its part of the batch
        own = fitting_batch(
            learner, settings.batch_size // count, image_size=size, precision=precision, device=device
        )  # fmt: skip
        fitting = None if own is None else own * count
        raise OutOfMemoryError(room_words(settings, size, fitting) + _kept_words(recorder, keeper))
    if keeper is not None and keeper.is_stopped:
        folder = keeper.kept.folder
        raise TrainingStopped(folder, len(recorder.rows), settings.epochs, resume_words(folder))
    remedy = f"Lower --learning-rate (it was {settings.learning_rate:g}), give --clip 1, or use --precision fp32."
    if recorder.spoilt is not None:
        raise DivergedError(
            f"the loss stopped being a number in {recorder.spoilt}, of {settings.epochs} epochs. {remedy}"
            f"{_kept_words(recorder, keeper)}"
        )
    if recorder.rows and not best.best_epoch:
        raise DivergedError(f"the validation loss was a number in none of {len(recorder.rows)} epochs. {remedy}")
    return Fit(pd.DataFrame(recorder.rows), best.best_epoch)


def _kept_words(recorder: EpochRecorder, keeper: KeepRun | None) -> str:
    is_fold = keeper is not None and keeper.kept.folder.parent.name.endswith(UNFINISHED)
    if keeper is None or not recorder.rows:
        return f" {'Of this fold nothing' if is_fold else 'Nothing'} was stored."
    kept = f" Epoch {len(recorder.rows)} is kept: {resume_words(keeper.kept.folder)}"
    if is_fold:
        return f"{kept} A run in folds goes on as it began: with other settings begin another."
    return f"{kept} It takes another --learning-rate, --batch-size, --accumulate or --clip."
