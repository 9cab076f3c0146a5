"""Trainings: faces with splits in, a model out; a learning rate, the best of many settings, several models as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from agegender.api.faces import Faces
from agegender.api.kept_model import KeptModel, Place
from agegender.api.training_plan import plan_of
from agegender.data.faces_table import FacesTable
from agegender.errors import UsageError
from agegender.model.unfinished import UnfinishedRun, begin_run, open_run, unfinished_folder
from agegender.settings import VOTES
from agegender.training_settings import Plan, check_folds_asked

if TYPE_CHECKING:
    from agegender.model.rate_finding import RateSearch
    from agegender.model.searching import Search


class TrainedModel(KeptModel):
    """The part of `agegender.Model` that trains."""

    @classmethod
    def train(  # noqa: PLR0913 (the options of the command, each by its name)
        cls,
        faces: FacesTable,
        *,
        heads: Sequence[str] | None = None,
        size: str = "small",
        body: str | None = None,
        weights: str | None = None,
        image_size: int | None = None,
        losses: Mapping[str, str] | None = None,
        loss_weights: Mapping[str, float] | None = None,
        allows_sensitive: bool = False,
        balance: Sequence[str] = (),
        name: str | None = None,
        runs_dir: Place | None = None,
        models_dir: Place | None = None,
        stop_after: int | None = None,
        minutes: float | None = None,
        folds: int | None = None,
        vote: str = VOTES[0],
        choices: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> Self:
        """Train on faces with splits: one half of the validation photos chooses the epoch, the other calibrates.

        Nothing is written but TensorBoard's run, where `runs_dir` is given, and each epoch's state, where `models_dir`
        is; `save` writes the model folder. Keywords are the options of `agegender train`, with the same defaults.

        Parameters
        ----------
        heads : sequence of str, optional
            Label columns, "NAME", "NAME:regression" or "NAME:classification"; by default age and gender, those that
            have labels.
        losses, loss_weights : mapping, optional
            By head name; a loss may have settings, "focal:gamma=1,balanced=0.5".
        models_dir : str or Path, optional
            Keep each epoch's state in `<name>.unfinished` there, with which `resume` goes on after a stop or a crash;
            it goes when the model is saved.
        stop_after, minutes : int, float, optional
            Stop after so many epochs, or at the end of the epoch in which so many minutes have gone by; needs
            `models_dir`.
        folds : int, optional
            Train a network for each of so many folds (3 to 20), persons and twins whole, and return the ensemble of
            all. Its `predictions` are out of fold: of each photo by the one network that was neither trained, nor
            chosen, nor calibrated on it.
        vote : {"soft", "hard"}
            How the networks of folds answer as one: by averaged distributions, or by majority and median.
        choices : mapping, optional
            Whatever is to be known again by whoever resumes the run, JSON-able.
        **settings
            Every other option of `agegender train` about the training itself, underscores for hyphens: `epochs=20`,
            `learning_rate=1e-3`, `precision="fp32"`; the fields of `agegender.training_settings.TrainingSettings`.
            `augmentation` may be an `agegender.settings.AugmentationSettings` too.

        Raises
        ------
        DataError
            Too few labelled photos to train on.
        TrainingStopped
            As `stop_after` or `minutes` asked for.
        UsageError, WeightsError, ModelError, OutputError
        """
        plan = plan_of(
            faces, signature(cls.train).parameters, heads=heads, size=size, body=body, weights=weights,
            image_size=image_size, losses=losses, loss_weights=loss_weights, allows_sensitive=allows_sensitive,
            balance=balance, name=name, **settings,
        )  # fmt: skip
        check_folds_asked(folds, vote)
        if models_dir is None:
            if stop_after is not None or minutes is not None:
                raise UsageError("a training that stops half-way needs models_dir, where its state is kept.")
            return cls._trained(faces, plan, None, runs_dir, folds=folds, vote=vote)
        place = unfinished_folder(Path(models_dir) / plan.name)
        run = begin_run(place, faces, plan, choices, folds=folds, vote=vote)
        run.leg_epochs, run.leg_minutes = stop_after, minutes
        return cls._trained(faces, plan, run, runs_dir, folds=folds, vote=vote)

    @classmethod
    def find_rate(cls, faces: FacesTable, *, steps: int = 100, **keywords: Any) -> RateSearch:
        """Find a learning rate: raise it over some steps of a mock training until the loss bursts.

        Parameters
        ----------
        faces : Faces
            With splits, as for `train`.
        steps : int
            Batches of the mock training, at least 20.
        **keywords
            Those of `train` that say what is trained: `heads`, `body`, `image_size`, `batch_size`, …

        Returns
        -------
        RateSearch
            `rate` is the one to take, `suggestions` has other readings of the curve, `plot()` draws it, and
            `save(path)` writes the drawing as SVG or PNG.

        Raises
        ------
        DataError
            Too few labelled photos to train on.
        UsageError
            The loss bursts at once, or keywords contradict each other.
        """
        from agegender.model.rate_finding import LEAST_STEPS, search_rate

        if steps < LEAST_STEPS:
            raise UsageError(f"a learning rate is not found in {steps} steps; it takes at least {LEAST_STEPS}.")
        return search_rate(faces, plan_of(faces, signature(cls.train).parameters, **keywords), steps=steps)

    @classmethod
    def search(
        cls, faces: FacesTable, space: Mapping[str, Any], *, trials: int, folder: Place, objective: str = "loss",
        **keywords: Any,
    ) -> Search:  # fmt: skip
        """Search settings by short trainings, which optuna chooses; the test photos are not looked at.

        Parameters
        ----------
        faces : Faces
            With splits, as for `train`.
        space : mapping
            Name of a setting -> a range ("1e-4..1e-2:log", "2..5") or a list of values.
        trials : int
            How many are to be finished in all, those of earlier calls with the same `folder` counted.
        folder : str or Path
            Where the trials are kept; it begins or goes on there.
        objective : str
            "loss", the combined validation loss, or a head's "age.mae" or "gender.accuracy".
        **keywords
            Those of `train` that are the same in all trials: `epochs`, `heads`, `seed`, …

        Returns
        -------
        Search
            `best` has the keywords to give to `train`, `table` a row per trial, `importances` what mattered, and
            `save(folder)` writes a table and a drawing.

        Raises
        ------
        MissingExtraError
            optuna is not installed.
        UsageError
            Of the space, or of a folder whose search began otherwise.
        CardError, DataError, OutputError
        """
        from agegender.model.search_space import parse_objective, parse_space
        from agegender.model.searching import search

        parsed, judged = parse_space(space), parse_objective(objective)
        of_keywords = partial(plan_of, faces, signature(cls.train).parameters)
        return search(
            faces, lambda **tried: of_keywords(**{**keywords, **tried}), parsed, objective=judged, trials=trials,
            folder=Path(folder),
        )  # fmt: skip

    @classmethod
    def resume(
        cls,
        folder: Place,
        *,
        device: str = "auto",
        precision: str = "auto",
        images: Place | None = None,
        runs_dir: Place | None = None,
        stop_after: int | None = None,
        minutes: float | None = None,
        **settings: Any,
    ) -> Self:
        """Go on with a training that was stopped or killed, from its last whole epoch.

        On the same kind of processor the weights are those of a training that was never interrupted; on another one it
        goes on and says that they are not.

        Parameters
        ----------
        folder : str or Path
            `models/<name>.unfinished`, or the model folder `models/<name>` that it is to become.
        device, precision : str
            "auto" is what the run began with, where that is here.
        images : str or Path, optional
            Where the photos are now, if they have moved.
        **settings
            Another `learning_rate`, `batch_size`, `accumulate` or `clip`, for a run whose loss stopped being a number
            or that ran out of memory; the card remembers it.

        Raises
        ------
        CardError
            There is no such run, or its files are damaged.
        TrainingStopped, UsageError, ModelError, OutputError
        """
        from agegender.model.precision import here

        run = open_run(unfinished_folder(Path(folder)))
        run.leg_epochs, run.leg_minutes = stop_after, minutes
        with run.closed_on_error():
            faces = run.read_faces(images=None if images is None else Path(images).absolute())
            run.change(settings)
            run.plan = replace(run.plan, training=here(run.plan.training, device, precision))
        return cls._trained(faces, run.plan, run, runs_dir, folds=run.folds, vote=run.vote)

    @classmethod
    def _trained(
        cls, faces: FacesTable, plan: Plan, run: UnfinishedRun | None, runs_dir: Place | None, *, folds: int | None,
        vote: str,
    ) -> Self:  # fmt: skip
        board = None if runs_dir is None else Path(runs_dir) / plan.name
        if folds is not None:
            from agegender.model.fold_training import train_folds

            with nullcontext() if run is None else run.closed_on_error():
                done = train_folds(faces, plan, folds, vote=vote, run_folder=board, run=run)
            model = cls._of_parts(done.predictor, done.faces, done.predictions)
            model._run, model._home = run, done.home
            return model
        from agegender.model.training import train_network

        with nullcontext() if run is None else run.closed_on_error():
            trained = train_network(faces, plan, run_folder=board, run=run)
        model = cls(trained.predictor.runtime, trained.predictor.card)
        model.faces, model.history = Faces._of(faces), trained.history
        model.predictions, model.learner = trained.predictions, trained.learner
        model._run = run
        return model

    @classmethod
    def ensemble(
        cls,
        folders: Sequence[Place],
        *,
        name: str = "ensemble",
        vote: str = VOTES[0],
        device: str = "auto",
        precision: str = "auto",
        images: Place | None = None,
    ) -> Self:
        """Take models that are there as one; bodies and image sizes may differ, heads may not.

        Where all were trained with one faces table and the same splits, the half of its validation photos that none of
        them has seen calibrates the ensemble, and the test photos judge it. Otherwise no photo is known to be new to
        all: it then has no intervals and no predictions to report on.

        Parameters
        ----------
        folders : sequence of str or Path
            Two model folders or more; `save` copies (or links) them into the ensemble's.
        vote : {"soft", "hard"}
            "soft" averages distributions; "hard" takes the majority of classes and the median of numbers.
        images : str or Path, optional
            Where the photos of the shared faces table are now, if they have moved.

        Raises
        ------
        UsageError
            The models do not fit together.
        CardError, WeightsError
            One of them is damaged.
        """
        from agegender.api.ensembling import answer_as_one

        root = None if images is None else Path(images).absolute()
        made = answer_as_one(
            [Path(one) for one in folders], name, vote, device=device, precision=precision, images=root
        )
        return cls._of_parts(*made)
