"""A search for settings: short trainings that optuna chooses, judged on the validation photos that choose the epoch.

models/<name>.search/
  trials.db             optuna's study: every trial, what it took and came to, and what the search began with
  teacher.safetensors   what a teacher says of each training photo, where one teaches all trials

A search goes on where it was stopped. Each trial is drawn from the finished ones and from a seed of its own number, so
one that was killed is drawn again as it was, and a search in two legs is the search in one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from fastai.callback.core import Callback, CancelFitException

from agegender.data.faces_table import FacesTable
from agegender.errors import CardError, ModelError, OutputError, TableError, UsageError
from agegender.heads import Regression
from agegender.model.precision import choose_device, choose_precision
from agegender.model.progressive_sizes import ProgressiveSizes
from agegender.model.search_space import (
    Dimension,
    Objective,
    can_prune,
    check_measured,
    check_search_extra,
    check_space,
    keywords_of,
)
from agegender.model.training import first_learner, fit, heads_to_train
from agegender.model.training_speed import CHANNELS_LAST
from agegender.progress import say
from agegender.training_settings import Plan, check_untracked
from agegender.writing import hold, output_errors, plain, replaced_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRIALS_FILE = "trials.db"
STARTUP_TRIALS = 5  # drawn at random, and ended by nothing, before others are held against them
FREE_SHARE = 1 / 3  # of the epochs, in which no trial is ended: the rate is still high there
_LEAST_FOR_IMPORTANCE = 4


@dataclass(frozen=True)
class Search:
    """What a search has found.

    Attributes
    ----------
    table : DataFrame
        A row per finished trial: `trial`, `state` (complete or pruned), `value`, `best_epoch`, `epochs`, `seconds`,
        `why` it was ended, and what it took of each searched setting.
    best : dict
        The settings of the best whole trial, as keywords of `Model.train`.
    value : float
        What that trial came to.
    objective : Objective
    importances : dict of str to float
        Share of the differences between whole trials that hang on each setting (functional ANOVA); empty where there
        are too few trials to tell.
    """

    table: pd.DataFrame
    best: dict[str, Any]
    value: float
    objective: Objective
    importances: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        said = {"objective": self.objective.name, "direction": self.objective.direction, "value": self.value}
        rows = self.table.to_dict("records")
        return said | {"best": self.best, "importances": self.importances, "trials": rows}

    def plot(self) -> Figure:
        """Return how the search went, and what mattered, as a matplotlib figure."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(10, 4), layout="constrained")
        course = figure.add_subplot(1, 2, 1, xlabel="trial", ylabel=self.objective.words)
        whole = self.table[self.table["state"] == "complete"]
        ended = self.table[(self.table["state"] == "pruned") & self.table["value"].notna()]
        best = whole["value"].cummin() if self.objective.direction == "minimize" else whole["value"].cummax()
        course.scatter(whole["trial"], whole["value"], color="0.35", label="whole trial")
        course.scatter(ended["trial"], ended["value"], color="0.6", marker="x", label="ended early")
        course.step(whole["trial"], best, where="post", color="C0", label="best so far")
        course.legend()
        names = list(self.importances)[::-1]
        title = f"what mattered, by {len(whole)} whole trials" if names else "too few whole trials to say what mattered"
        bars = figure.add_subplot(1, 2, 2, xlabel="share of the differences", title=title, xlim=(0, 1))
        bars.barh(names, [self.importances[name] for name in names], color="C0")
        return figure

    def save(self, folder: Path) -> None:
        """Write `search.csv` and `search.svg` into a folder."""
        with output_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        with replaced_file(folder / "search.csv") as temporary:
            self.table.to_csv(temporary, index=False)
        with replaced_file(folder / "search.svg") as temporary:
            self.plot().savefig(temporary, format="svg")


class PruneTrial(Callback):
    """Report each epoch to optuna, and end the trial where its pruner says so."""

    order = 96  # after the epoch's row is closed, and after a stop of the run's own

    def __init__(self, trial: Any, objective: Objective, *, is_active: bool) -> None:
        super().__init__()
        self.trial, self.objective, self.is_active, self.is_pruned = trial, objective, is_active, False

    def after_epoch(self) -> None:
        """Report the epoch."""
        value = float(self.learn.epoch_recorder.rows[-1].get(self.objective.column, np.nan))
        self.trial.report(value, self.epoch)
        if self.is_active and self.epoch + 1 < self.learn.n_epoch and self.trial.should_prune():
            self.is_pruned = True
            raise CancelFitException


def search(
    faces: FacesTable, plan_of: Callable[..., Plan], space: Sequence[Dimension], *, objective: Objective, trials: int,
    folder: Path,
) -> Search:  # fmt: skip
    """Train until so many trials are finished in all; `plan_of` makes the plan of a trial's keywords."""
    check_search_extra()
    if trials < 1:
        raise UsageError(f"{trials} trials find nothing; ask for at least one.")
    plan = plan_of()
    check_untracked(plan.training.track, "a search")
    check_space(space, objective)
    kept = faces.kept()
    faces = replace(faces, table=kept[kept["split"] != "test"])  # no trial can look at the test photos
    check_measured(objective, {head.name: isinstance(head, Regression) for head in heads_to_train(faces, plan)})
    prunes = can_prune(space, plan.training.progressive)
    if not prunes:
        say("no trial is ended early: the same epoch of two trials is not the same part of them here.")
    began = _beginning(faces, plan, space, objective)
    has_one_teacher = not {"teacher", "auxiliary"} & {one.name for one in space}
    trained = partial(_trained_value, faces, plan_of, objective, prunes, folder if has_one_teacher else None)
    with _study(folder, objective, began, plan) as study:
        finished = _finished(study)
        if finished:
            say(f"going on after {len(finished)} finished trials of {trials}")
        while len(finished) < trials:
            study.sampler = _sampler(plan.training.seed, len(finished))
            trial = study.ask()
            keywords = keywords_of({one.name: one.suggested(trial) for one in space})
            said = ", ".join(f"{name} {_short(value)}" for name, value in keywords.items())
            say(f"trial {len(finished) + 1} of {trials}: {said}")
            _run_trial(study, trial, partial(trained, keywords), finished)
            finished = _finished(study)
        return _found(study, space, objective)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _beginning(faces: FacesTable, plan: Plan, space: Sequence[Dimension], objective: Objective) -> dict[str, Any]:
    """Return what must be the same in every leg of a search."""
    fixed = asdict(plan)
    return plain(
        {"space": sorted(map(str, space)), "objective": objective.name, "faces": faces.fingerprint()}
        | {name: value for name, value in fixed.items() if name not in ("name", "training")}
        | fixed["training"]
    )


@contextmanager
def _study(folder: Path, objective: Objective, began: dict[str, Any], plan: Plan) -> Iterator[Any]:
    """Open the study of a folder; refuse one that began otherwise, or that another process is at."""
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    if "?" in str(folder.absolute()):  # the rest would be read as options, and another file be written
        raise UsageError(f"a search cannot be kept in {folder.absolute()}: its address may hold no question mark.")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    handle = hold(folder)
    if handle is None:
        raise UsageError(f"another process is at work on the search in {folder}. Wait for it, or give another --name.")
    pruner = optuna.pruners.MedianPruner(STARTUP_TRIALS, n_warmup_steps=int(plan.training.epochs * FREE_SHARE))
    storage = None
    try:
        try:
            storage = optuna.storages.RDBStorage(f"sqlite:///{(folder / TRIALS_FILE).absolute()}")
            study = optuna.create_study(
                storage=storage, study_name="search", load_if_exists=True, direction=objective.direction, pruner=pruner
            )
            _check_beginning(study, folder, began)
        except (SQLAlchemyError, RuntimeError, json.JSONDecodeError) as error:
            raise CardError(
                f"{folder / TRIALS_FILE} is no study of a search that can be read ({type(error).__name__}). Restore "
                f"it, or remove {folder} to begin anew."
            ) from error
        for left in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
            study.tell(left.number, state=optuna.trial.TrialState.FAIL)  # its process was killed
        yield study
    except optuna.exceptions.StorageInternalError as error:
        raise OutputError(f"cannot write {folder / TRIALS_FILE}. Free some space, or name another place.") from error
    finally:
        if storage is not None:
            storage.remove_session()
            storage.engine.dispose()
        os.close(handle)


def _check_beginning(study: Any, folder: Path, began: dict[str, Any]) -> None:
    there = study.user_attrs.get("began")
    if there is None:
        study.set_user_attr("began", began)
        return
    for name in (*began, *there):
        if began.get(name) != there.get(name):
            values = "" if name == "faces" else f" ({_listed(there.get(name))}; now {_listed(began.get(name))})"
            raise UsageError(
                f"the search in {folder} began with other {name.replace('_', ' ')}{values}. Repeat its command, or "
                f"give another --name."
            )


def _listed(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _sampler(seed: int, number: int) -> Any:
    """Return the sampler of one trial: what it draws hangs on its number, and not on who asked before."""
    import optuna

    own = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    return optuna.samplers.TPESampler(seed=own, n_startup_trials=STARTUP_TRIALS)


def _finished(study: Any) -> list[Any]:
    from optuna.trial import TrialState

    trials: list[Any] = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    return trials


def _run_trial(study: Any, trial: Any, value_of: Callable[[Any], float | None], finished: Sequence[Any]) -> None:
    """Train a trial and store what came of it; a plan that cannot be trained is a finding too."""
    from optuna.trial import TrialState

    same = next((one for one in finished if one.params == trial.params), None)
    if same is not None:  # with the same seed it would come to the same
        trial.set_user_attr("why", f"the same settings as trial {_number(same, finished)}")
        value = same.value if same.state == TrialState.COMPLETE else None
    else:
        try:
            value = value_of(trial)
        except (ModelError, TableError, UsageError) as error:  # photos or a disk that fail are no fault of the settings
            trial.set_user_attr("why", str(error))
            say(f"this trial cannot be trained: {error}")
            value = None
    study.tell(trial, value, state=TrialState.PRUNED if value is None else TrialState.COMPLETE)


def _number(trial: Any, finished: Sequence[Any]) -> int:
    """Return the number of a finished trial, from 1; optuna's counts killed ones as well."""
    return [one.number for one in finished].index(trial.number) + 1


def _trained_value(
    faces: FacesTable, plan_of: Callable[..., Plan], objective: Objective, prunes: bool, lessons_folder: Path | None,
    keywords: dict[str, Any], trial: Any,
) -> float | None:  # fmt: skip
    """Return what the epoch that would be stored comes to; None where the trial was ended early."""
    plan = plan_of(**keywords)
    settings, device = plan.training, choose_device(plan.training.device)
    learner = first_learner(faces, plan, device, lessons_folder)
    pruning = PruneTrial(trial, objective, is_active=prunes)
    callbacks: list[Callback] = [pruning]
    sizes = settings.sizes(plan.image.size)
    if len(set(sizes)) > 1:
        callbacks.append(ProgressiveSizes(sizes, dict.fromkeys(sizes, CHANNELS_LAST)))
    precision = choose_precision(settings.precision, device)
    done = fit(learner, settings, precision=precision, device=device, callbacks=callbacks)
    row = done.history.loc[done.history["epoch"] == done.best_epoch].iloc[0]
    value, seconds = float(row[objective.column]), float(done.history["seconds"].sum())
    facts: dict[str, Any] = {"best_epoch": done.best_epoch, "epochs": len(done.history), "seconds": round(seconds, 1)}
    facts["value"] = value
    for name, fact in facts.items():
        trial.set_user_attr(name, fact)
    if pruning.is_pruned:
        trial.set_user_attr("why", f"worse after epoch {len(done.history)} than the median of the trials before")
    elif not np.isfinite(value):
        trial.set_user_attr("why", f"{objective.name} of epoch {done.best_epoch} is no number.")
    say(f"{objective.name} {value:.4g} in epoch {done.best_epoch}{', ended early' if pruning.is_pruned else ''}")
    return None if pruning.is_pruned or not np.isfinite(value) else value


def _found(study: Any, space: Sequence[Dimension], objective: Objective) -> Search:
    from optuna.trial import TrialState

    finished = _finished(study)
    rows = []
    for number, trial in enumerate(finished, start=1):
        facts = dict(trial.user_attrs)
        is_whole = trial.state == TrialState.COMPLETE
        row: dict[str, Any] = {"trial": number, "state": "complete" if is_whole else "pruned"}
        row |= {"value": trial.value if is_whole else facts.get("value", np.nan)}
        row |= {name: facts.get(name) for name in ("best_epoch", "epochs", "seconds", "why")}
        rows.append(row | {one.name: trial.params[one.name] for one in space})
    table = pd.DataFrame(rows)
    if not (table["state"] == "complete").any():
        raise UsageError(
            f"none of the {len(table)} trials came to a value. The first one: {table['why'].iloc[0]} Search a "
            f"narrower space, or more --trials."
        )
    best = study.best_trial
    return Search(table, keywords_of(best.params), float(best.value), objective, _importances(study))


def _importances(study: Any) -> dict[str, float]:
    import optuna

    values = [trial.value for trial in _finished(study) if trial.state == optuna.trial.TrialState.COMPLETE]
    if len(values) < _LEAST_FOR_IMPORTANCE or len(set(values)) == 1:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: round(float(share), 4) for name, share in found.items()}
