"""From a faces table to a model folder: build, fit, calibrate, predict, store."""

from __future__ import annotations

import platform
import time
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from agegender import __version__
from agegender.api.evaluating import evaluate_faces
from agegender.audit.metrics_document import evaluation_metrics
from agegender.audit.predictions_table import write_predictions
from agegender.data.balancing import balancing_weights
from agegender.data.batches import make_dataloaders
from agegender.data.faces_table import SPLITS, FacesTable, write_faces
from agegender.errors import DataError
from agegender.model.checkpoint import continue_from, network_entries, save_weights
from agegender.model.face_network import AgeStatistics, FaceNetwork, make_network
from agegender.model.losses import CombinedLoss
from agegender.model.model_folder import (
    CARD_FILE,
    FACES_FILE,
    HISTORY_FILE,
    LEARNER_FILE,
    METRICS_FILE,
    PREDICTIONS_FILE,
    WEIGHTS_FILE,
)
from agegender.model.precision import choose_device, choose_precision, set_seed
from agegender.model.predictor import Model
from agegender.model.tensorboard import TensorBoardRun
from agegender.model.training import Fit, export_learner, fit, make_learner
from agegender.progress import say
from agegender.settings import AugmentationSettings, Head, ImageSettings, TrainingSettings
from agegender.writing import replaced_folder, write_json

LEAST_TRAINING_PHOTOS = 2
MOST_LISTED = 20  # items of a list in the card's notes
LIBRARIES = ("torch", "torchvision", "fastai", "timm", "lime", "numpy", "pandas", "opencv-python-headless")


@dataclass(frozen=True)
class Plan:
    """Everything that decides what a training run makes, apart from the faces."""

    name: str
    size: str
    body: str
    weights: str
    heads: tuple[Head, ...]
    image: ImageSettings = field(default_factory=ImageSettings)
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    balance: tuple[str, ...] = ()  # columns whose groups are drawn equally often


def train_model(faces: FacesTable, plan: Plan, *, models: Path, runs: Path) -> tuple[Model, pd.DataFrame]:
    """Train, and write the model folder `models/<name>`, whole or not at all.

    Returns
    -------
    Model
        The trained and calibrated model.
    DataFrame
        Its predictions of every kept photo.

    Raises
    ------
    DataError
        Too few labelled photos to train on.
    WeightsError, UsageError, ModelError, OutputError
    """
    started = time.perf_counter()
    plan = replace(plan, image=_cropped_as(faces, plan.image))
    device = choose_device(plan.training.device)
    precision = choose_precision(plan.training.precision, device)
    ages = training_ages(faces)
    network = _network(plan, ages)
    say(f"training {plan.body} ({plan.size}) at {plan.image.size} px in {precision} on {device.type}")
    with replaced_folder(models / plan.name) as folder:
        result = _fit(faces, plan, network, ages, runs / plan.name)
        card = _card(faces, plan, ages, result, precision=precision, device=device.type)
        model = Model(result.learner.model, card, device=device, precision="auto")
        predictions = evaluate_faces(model, faces, calibrates=True)
        metrics = evaluation_metrics(predictions)
        card |= {"metrics": _without_groups(metrics), "seconds": round(time.perf_counter() - started, 1)}
        _store(folder, model, faces, result, predictions)
    return model, predictions


def _fit(faces: FacesTable, plan: Plan, network: FaceNetwork, ages: AgeStatistics, runs: Path) -> Fit:
    settings = plan.training
    device = choose_device(settings.device)
    precision = choose_precision(settings.precision, device)
    dataloaders = make_dataloaders(
        faces,
        plan.heads,
        plan.image,
        plan.augmentation,
        batch_size=settings.batch_size,
        seed=settings.seed,
        device=device,
    )
    if plan.balance:
        dataloaders.train.weights = balancing_weights(_rows_of(faces, "train"), plan.balance)
    learner = make_learner(dataloaders, network, CombinedLoss(plan.heads, age_unit_years=ages.std_years))
    board = TensorBoardRun(
        runs,
        hyper_parameters=_hyper_parameters(plan) | {"precision": precision},
        image=plan.image,
        valid_faces=_rows_of(faces, "valid"),
    )
    return fit(learner, settings, precision=precision, device=device, callbacks=[board])


def training_ages(faces: FacesTable) -> AgeStatistics:
    """Return mean and standard deviation of the training ages.

    Raises
    ------
    DataError
        The training or validation part has no photo, or all ages are equal or unknown.
    """
    kept = faces.kept()
    counts = {side: int((kept["split"] == side).sum()) for side in SPLITS}
    if counts["train"] < LEAST_TRAINING_PHOTOS or counts["valid"] < 1:
        raise DataError(
            f"{counts['train']} training and {counts['valid']} validation photos are too few to train on. "
            f"Give more photos, or a larger --limit."
        )
    ages = kept.loc[kept["split"] == "train", "age_years"].dropna()
    if ages.nunique() < 2:
        raise DataError(f"the {len(ages)} known training ages are all equal or missing, so there is nothing to learn.")
    return AgeStatistics(float(ages.mean()), float(ages.std(ddof=0)))


def _network(plan: Plan, ages: AgeStatistics) -> FaceNetwork:
    model_folder = Path(plan.weights)
    goes_on = (model_folder / WEIGHTS_FILE).is_file()
    set_seed(plan.training.seed)  # for the layers that start at random
    weights = "none" if goes_on else plan.weights
    network = make_network(plan.body, plan.heads, ages, weights=weights, image_size=plan.image.size)
    if goes_on:
        continue_from(network, model_folder)
    return network


def _cropped_as(faces: FacesTable, image: ImageSettings) -> ImageSettings:
    """Return the image settings with the table's crop, which the card carries to `predict`."""
    crop, margin = faces.notes.get("crop", "none"), faces.notes.get("crop_margin", image.crop_margin)
    return replace(image, crop=crop, crop_margin=margin)


def _rows_of(faces: FacesTable, split: str) -> pd.DataFrame:
    kept = faces.kept()
    return kept[kept["split"] == split]


def _hyper_parameters(plan: Plan) -> dict[str, Any]:
    heads = {f"{head.name}_{key}": getattr(head, key) for head in plan.heads for key in ("loss", "weight")}
    network = {"body": plan.body, "weights": plan.weights, "image_size": plan.image.size}
    return network | heads | asdict(plan.training) | {"balance": " ".join(plan.balance)}


def _card(
    faces: FacesTable, plan: Plan, ages: AgeStatistics, result: Fit, *, precision: str, device: str
) -> dict[str, Any]:
    kept = faces.kept()
    return {
        "name": plan.name,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "agegender_version": __version__,
        "size": plan.size,
        **network_entries(plan.heads, plan.image, ages, plan.body),
        "weights": plan.weights,
        "loss": {"age_unit_years": ages.std_years, "class_unit": 1.0},
        "augmentation": asdict(plan.augmentation),
        "training": asdict(plan.training),
        "balance": list(plan.balance),
        "precision": precision,
        "device": device,
        "seed": plan.training.seed,
        "best_epoch": result.best_epoch,
        "faces_fingerprint": faces.fingerprint(),
        "data": {
            "sources": sorted(kept["source"].unique()),
            "folder": faces.root.name,
            "is_drawn": faces.is_drawn(),
            "photos": {side: int((kept["split"] == side).sum()) for side in SPLITS},
            "dropped": {str(reason): int(count) for reason, count in faces.dropped().items()},
            "notes": _for_others(dict(faces.notes)),
        },
        "versions": _versions(),
        "calibration": {},
    }


def _without_groups(metrics: dict[str, Any]) -> dict[str, Any]:
    return {
        side: {key: value for key, value in figures.items() if key != "groups"} for side, figures in metrics.items()
    }


def _for_others(value: Any) -> Any:
    """Return notes fit for a card that is handed on: no absolute paths, long lists cut; faces.parquet has all."""
    if isinstance(value, dict):
        return {key: _for_others(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        cut = [f"… {len(value)} in all"] if len(value) > MOST_LISTED else []
        return [_for_others(item) for item in value[:MOST_LISTED]] + cut
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{library: version(library) for library in LIBRARIES}}


def _store(folder: Path, model: Model, faces: FacesTable, result: Fit, predictions: pd.DataFrame) -> None:
    save_weights(model.network, folder / WEIGHTS_FILE)
    write_json(folder / CARD_FILE, model.card)
    write_json(folder / METRICS_FILE, evaluation_metrics(predictions))
    write_faces(faces, folder / FACES_FILE)
    result.history.to_csv(folder / HISTORY_FILE, index=False)
    write_predictions(predictions, folder / PREDICTIONS_FILE)
    export_learner(result.learner, folder / LEARNER_FILE)
