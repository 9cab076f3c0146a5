"""Training in folds: one network for each fold, and an ensemble of all; each photo is predicted by who never saw it.

Of K folds the k-th network is tested on fold k, chosen and calibrated on the halves of fold k + 1, and trained on the
rest. So every photo is a test photo of exactly one network. These out-of-fold predictions, each with the interval and
the probabilities of its own network, are what reports judge, and what the ensemble is calibrated by.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from weakref import finalize

import numpy as np
import pandas as pd

from agegender.audit.metrics_document import card_metrics
from agegender.audit.predictions_table import read_predictions
from agegender.data.faces_table import FacesTable
from agegender.data.relabelling import relabelled
from agegender.data.splitting import fold_faces, use_fold
from agegender.errors import CardError, DataError, TableError, TrainingStopped, UsageError, WeightsError
from agegender.heads import Classification, Head, Regression, choose_heads
from agegender.model.checkpoint import load_network
from agegender.model.ensembles import EnsembleNetwork, ensemble_entries
from agegender.model.model_folder import (
    CARD_FILE,
    PREDICTIONS_FILE,
    judging_photos_learnt,
    read_history,
    resume_words,
    training_entries,
)
from agegender.model.predictor import Predictor
from agegender.model.run_state import read_state
from agegender.model.training import LEAST_TRAINING_PHOTOS, Trained, train_network, write_model
from agegender.model.unfinished import (
    UnfinishedRun,
    begin_run,
    keeps_epochs,
    member_folder,
    new_run_id,
    open_run,
    unfinished_folder,
)
from agegender.progress import say
from agegender.settings import OUT_OF_FOLD, SPLITS
from agegender.swapping import finish_swaps, replaced_set
from agegender.training_settings import Plan


class OwnFolder:
    """A temporary folder that lives as long as this object."""

    def __init__(self) -> None:
        self.path = Path(mkdtemp(prefix="agegender-folds-"))
        finalize(self, shutil.rmtree, self.path, ignore_errors=True)


@dataclass(frozen=True)
class TrainedFolds:
    """What a training in folds leaves, all in memory.

    Attributes
    ----------
    predictor : Predictor
        The ensemble.
    faces : FacesTable
        With `fold`; every kept photo is a test photo.
    predictions : DataFrame
        Out of fold.
    """

    predictor: Predictor
    faces: FacesTable
    predictions: pd.DataFrame
    home: OwnFolder | None = None  # where the networks lie until they are saved, if in no run


@dataclass(frozen=True)
class _Member:
    network: Any
    card: dict[str, Any]
    predictions: pd.DataFrame
    epochs: int


def train_folds(
    faces: FacesTable,
    plan: Plan,
    folds: int,
    *,
    vote: str = "soft",
    run_folder: Path | None = None,
    run: UnfinishedRun | None = None,
) -> TrainedFolds:
    """Train a network for each fold, one after the other, and return them as one; finished ones are kept by the run."""
    faces = with_folds(faces, folds, seed=plan.training.seed)
    check_folds(faces, plan, folds)
    members: list[_Member] = []
    home = OwnFolder() if run is None else None
    kept = home.path if home is not None else run.folder if run is not None else Path()
    finish_swaps(kept)  # of a fold that was finished, and killed before it had taken its place
    for number in range(folds):
        place = member_folder(kept, number)
        if (place / CARD_FILE).is_file():
            say(f"fold {number + 1} of {folds} is done already")
            members.append(_stored(place))
            continue
        side = use_fold(faces, number)
        counts = side.kept()["split"].value_counts()
        said = ", ".join(f"{counts.get(name, 0):,} {name}" for name in SPLITS)
        say(f"fold {number + 1} of {folds}: {said} photos")
        own = replace(
            plan, name=f"fold-{number}", training=replace(plan.training, seed=plan.training.seed + number)
        )  # fmt: skip
        board = None if run_folder is None else run_folder / own.name
        try:
            members.append(_trained(side, own, board, place, run))
        except TrainingStopped as stopped:
            assert run is not None  # nobody else stops half-way
            raise _stopped(run, sum(one.epochs for one in members) + stopped.epoch, plan, folds) from stopped
        _stop_where_asked(run, members, plan, folds)
    return replace(_together(faces, plan, members, vote, kept, run), home=home)


def with_folds(faces: FacesTable, folds: int, *, seed: int) -> FacesTable:
    """Return the faces in so many folds: those of the table where it has as many, else newly drawn ones."""
    known = faces.kept()["fold"].dropna() if "fold" in faces.table else pd.Series(dtype="Int64")
    if known.empty:
        if isinstance(faces.notes.get("split"), dict) and faces.notes["split"].get("kind") == "official":
            say("the published split is set aside: in folds every photo is a test photo once")
        return fold_faces(faces, folds=folds, seed=seed)
    count, photos = int(known.max()) + 1, len(faces.kept())
    if count != folds or len(known) < photos:
        raise UsageError(
            f"--folds {folds}: this table has {count} folds for {len(known):,} of {photos:,} photos. Ask for as many, "
            f"or prepare it without --folds."
        )
    return faces


def check_folds(faces: FacesTable, plan: Plan, folds: int) -> None:
    """Refuse folds of which one would be empty, or leaves something that its network could not learn."""
    if plan.training.teacher is not None:
        raise UsageError(
            "--folds and --teacher: every photo is judged by the network that never saw it, and the teacher of that "
            "network has. Teach a network on a split, or leave one of them out."
        )
    kept = faces.kept()
    learnt = judging_photos_learnt(Path(plan.weights), kept.assign(split="test"))
    if learnt:
        raise UsageError(
            f"--folds and --weights {plan.weights}: every photo is judged by the network that never saw it, and that "
            f"model has learnt {learnt:,} of them. Begin with others, or train on a split."
        )
    sizes = np.bincount(kept["fold"].to_numpy(dtype=np.int64), minlength=folds)
    if sizes.min() == 0 or len(kept) - np.sort(sizes)[-2:].sum() < LEAST_TRAINING_PHOTOS:
        raise DataError(
            f"the {len(kept):,} photos make no {folds} folds: they hold {', '.join(map(str, sizes))} photos, since "
            f"twins and persons stay together. Ask for fewer --folds, or give more photos."
        )
    heads = _heads_for(kept, plan)
    stored = heads[: len(heads) - len(plan.training.auxiliary)]
    for number in range(folds):
        turned = (kept["fold"] - number) % folds
        train, tested = kept[turned >= 2], kept[turned == 0]
        for head in heads:
            labels = train[head.column].dropna()
            if isinstance(head, Classification) and head in stored:  # helping ones may know other classes in each fold
                found = head.classes_of(kept[head.column])
                lacking = sorted(set(found.dropna()) - set(head.classes_of(labels)))
                if lacking:
                    count = int((found == lacking[0]).sum())
                    raise DataError(
                        f"{head.column} {lacking[0]!r} ({count} of {len(kept):,} photos) lies in folds {number} and "
                        f"{(number + 1) % folds} alone, so that one network would never see it. Join it with another "
                        f"class, leave its label empty, or train without --folds."
                    )
            elif labels.nunique() < 2:
                raise DataError(f"without fold {number} too few labels of {head.column} are left to learn from.")
            if tested[head.column].isna().all():
                say(f"no photo of fold {number} has a label of {head.column}: it tells nothing about that head")
        try:  # as its training will, which may be hours away
            relabelled(use_fold(faces, number), _heads_for(train, plan), plan.training.relabel)
        except (DataError, UsageError) as error:
            raise type(error)(f"the network that fold {number} tests could not be trained: {error}") from error


def _heads_for(rows: pd.DataFrame, plan: Plan) -> tuple[Head, ...]:
    return choose_heads(
        plan.heads, rows, losses=plan.losses, weights=plan.head_weights, allows_sensitive=plan.allows_sensitive,
        auxiliary=plan.training.auxiliary, point=plan.training.point,
    )[0]  # fmt: skip


def _trained(faces: FacesTable, plan: Plan, board: Path | None, place: Path, run: UnfinishedRun | None) -> _Member:
    """Train the network of one fold and write its model folder to `place`."""
    if run is None:
        trained = train_network(faces, plan, run_folder=board)
        _keep(place, trained, faces)
        return _member_of(trained)
    part = unfinished_folder(place)
    own = open_run(part) if keeps_epochs(part) else begin_run(part, faces, plan)
    own.plan, own.choices = plan, run.choices
    own.leg_epochs, own.leg_minutes = run.left_of_leg()
    before = read_state(own.state_file).epochs_done if own.state_file.is_file() else 0
    with own.closed_on_error():
        trained = train_network(faces, plan, run_folder=board, run=own)
    run.count_epochs(len(trained.history) - before)
    _keep(place, trained, faces, part)
    own.close()
    return _member_of(trained)


def _member_of(trained: Trained) -> _Member:
    predictor = trained.predictor
    return _Member(predictor.network, predictor.card, trained.predictions, len(trained.history))


def _keep(place: Path, trained: Trained, faces: FacesTable, part: Path | None = None) -> None:
    with replaced_set() as swap:
        tables = {"predictions": trained.predictions, "history": trained.history}
        write_model(swap.stage(place), trained.predictor, faces=faces, **tables)
        if part is not None:
            swap.remove(part)


def _stop_where_asked(run: UnfinishedRun | None, members: Sequence[_Member], plan: Plan, folds: int) -> None:
    if run is not None and len(members) < folds and run.is_leg_over():
        raise _stopped(run, sum(member.epochs for member in members), plan, folds)


def _stopped(run: UnfinishedRun, epochs: int, plan: Plan, folds: int) -> TrainingStopped:
    return TrainingStopped(run.folder, epochs, folds * plan.training.epochs, resume_words(run.folder))


def _stored(place: Path) -> _Member:
    """Return a network that an earlier leg has finished."""
    try:
        network, card = load_network(place)
        history, predictions = read_history(place), read_predictions(place / PREDICTIONS_FILE)
    except (CardError, WeightsError, TableError) as error:
        raise type(error)(
            f"{error} The other folds are whole: delete {place}, and --resume trains this one alone again."
        ) from error
    return _Member(network, card, predictions, 0 if history is None else len(history))


def _together(
    faces: FacesTable, plan: Plan, members: Sequence[_Member], vote: str, home: Path, run: UnfinishedRun | None
) -> TrainedFolds:
    network = EnsembleNetwork([one.network for one in members], [one.card for one in members], vote=vote).eval()
    names = [f"fold-{number}" for number in range(len(members))]
    run_id = new_run_id() if run is None else run.run_id
    network.sources = {name: home / name for name in names}
    folds = len(members)
    kept = faces.kept().index
    table = faces.table.assign(split=pd.Series("test", index=kept, dtype=object).reindex(faces.table.index))
    note = {"kind": OUT_OF_FOLD, "folds": folds, "run_id": run_id}
    faces = replace(faces, table=table, notes={**faces.notes, "split": note})
    first = members[0].card
    card = training_entries(faces, plan) | {name: first[name] for name in ("precision", "device")}
    card |= ensemble_entries(network, names) | {"run_id": run_id, "folds": folds}
    card["seconds"] = round(sum(float(one.card.get("seconds", 0.0)) for one in members), 1)
    predictor = Predictor.of_network(network, card, device=first["device"])
    tested = [one.predictions[one.predictions["split"] == "test"] for one in members]
    place = {path: number for number, path in enumerate(table["path"])}
    joined = pd.concat(tested).sort_values("path", key=lambda paths: paths.map(place), kind="stable")
    predictions = predictor.as_ours(joined)
    card["calibration"] = predictor.calibration_by(_as_the_ensemble(predictions, network))
    card["metrics"] = card_metrics(predictions, predictor.heads)
    say(f"each of {len(predictions):,} photos is judged by the one of {folds} networks that never saw it")
    return TrainedFolds(predictor, faces, predictions)


def _as_the_ensemble(predictions: pd.DataFrame, network: EnsembleNetwork) -> pd.DataFrame:
    """Return out-of-fold rows without the spreads that the ensemble has none of."""
    lacking = [
        head.spread_column for head in network.heads if isinstance(head, Regression) and not head.answer_shape
    ]  # fmt: skip
    return predictions.drop(columns=lacking)
