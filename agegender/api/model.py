"""`agegender.Model`: a network with its heads, trained, loaded, asked, judged and explained.

What only training, explaining and reporting need is imported there: fastai, scikit-learn and matplotlib take longer to
load than a photo takes to be predicted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from agegender.api.trained_model import TrainedModel
from agegender.data.faces_table import FacesTable
from agegender.errors import TableError, UsageError
from agegender.explanation import EXPLANATIONS_FOLDER
from agegender.heads import Head
from agegender.model.face_rows import Looking
from agegender.model.model_folder import (
    ONNX_FILE,
    cards_beside,
    ensemble_words,
    is_exported,
    newest_model,
    resume_words,
)
from agegender.model.shipped import is_shipped, say_terms, shipped_folder
from agegender.photos.finding import named_photos, printable
from agegender.photos.reading import as_photo
from agegender.progress import say
from agegender.settings import RUNTIMES
from agegender.swapping import Swap, finish_swaps, replaced_set

if TYPE_CHECKING:
    from agegender.explanation.face_explanation import FaceExplanation
    from agegender.pages.page_writing import ReportContent

Place = str | Path


class Model(TrainedModel):
    """A trained network, its heads, and what is known about it.

    Attributes
    ----------
    name : str
    card : dict
        Everything needed to rebuild, judge and repeat the model.
    heads : tuple of Regression and Classification
    faces : Faces or None
        What it was trained on, splits included.
    predictions : DataFrame or None
        Of every kept photo of `faces`.
    history : DataFrame or None
        One row per epoch.
    learner : fastai Learner
    """

    @classmethod
    def load(
        cls,
        folder: Place | None = None,
        *,
        models_dir: Place | None = None,
        device: str = "auto",
        precision: str = "auto",
        runtime: str = "auto",
        detector_file: Place | None = None,
        images: Place | None = None,
    ) -> Self:
        """Load a model folder, or the model that comes with the package where none is named; no pickle is opened.

        The shipped model predicts without torch unless a device or a precision is asked for, and is for non-commercial
        research only, which is said on stderr.

        Parameters
        ----------
        folder : str or Path, optional
            Or the .onnx file that `export` wrote: it predicts and evaluates without torch, on the processor.
        runtime : {"auto", "torch", "onnx"}
            "auto" takes torch for a folder and onnxruntime for an .onnx file. "onnx" takes the `model.onnx` in the
            folder, and exports it there first where it is missing or of other weights.
        models_dir : str or Path, optional
            Load the newest model folder in it, where no folder is named.
        images : str or Path, optional
            Where the photos that it was trained on are now, if they have moved.

        Raises
        ------
        CardError, WeightsError
            The folder lacks a file, or its parts do not fit together.
        UsageError
            There is no such device.
        """
        if folder is None:
            place = shipped_folder() if models_dir is None else newest_model(Path(models_dir))
        else:
            place = Path(folder)
        detector = None if detector_file is None else Path(detector_file)
        if is_shipped(place) and runtime == "auto" and device in ("auto", "cpu") and precision in ("auto", "fp32"):
            runtime = "onnx"
        file = cls._named_for(place, runtime)
        model = super().load(file, device=device, precision=precision, detector_file=detector)
        if is_shipped(file):
            place = model.torch_folder = shipped_folder()
        model._folder, model._images = None if is_exported(place) else place, images
        say_terms(model.card)
        return model

    @classmethod
    def _named_for(cls, place: Path, runtime: str) -> Path:
        """Return what a runtime loads of a model: its folder, or its .onnx file, which is made where it is missing."""
        if runtime not in RUNTIMES:
            raise UsageError(f"runtime {runtime!r}: there are {', '.join(RUNTIMES)}.")
        if is_exported(place) and runtime == "torch":
            raise UsageError(f"{place} is an exported model, which torch does not run. Name its model folder.")
        if is_exported(place) or runtime != "onnx":
            return place
        from agegender.model.onnx_runtime import fresh_export

        file = fresh_export(place)
        if file is None:
            file = place / ONNX_FILE
            say(f"exporting {place} to {file}, once")
            cls.load(place, device="cpu", precision="fp32").export(file)
        return file

    @classmethod
    def from_onnx(cls, path: Place, about: Mapping[str, Any] | Place) -> Self:
        """Take an ONNX file that is not ours: it predicts, is judged and is explained as a model of ours.

        Parameters
        ----------
        path : str or Path
            Weights in files beside it are taken in.
        about : mapping, str or Path
            How it wants its pixels and which outputs are which heads, or a JSON file that says so. `input` has `layout`
            ("NCHW" or "NHWC"), `size`, `colour` ("RGB" or "BGR"), `white` (what a white pixel is before the next two:
            1 or 255), `mean` and `std`; what the graph tells may be left out. `heads` is a list: `name`, `output`,
            `columns` (the first and the last of its numbers, from 0), and of numbers `unit`, `scale`, `shift`, `values`
            ("number", or "distribution" over whole units from `first`), of classes `classes` in the order of the
            columns and `values` ("logits", "probabilities", or of one number "log-odds" of the class named last).

        Raises
        ------
        WeightsError
            The file is damaged, or lacks its weights.
        UsageError
            What is said cannot be true of the graph, or of its answers to a few test pictures.

        Examples
        --------
        >>> heads = [{"name": "age", "columns": [2], "scale": 100},
        ...          {"name": "gender", "columns": [0, 1], "classes": ["female", "male"]}]
        >>> model = Model.from_onnx("genderage.onnx", {"input": {"white": 255}, "heads": heads})  # doctest: +SKIP
        >>> ag.Audit(model.predict(faces)).findings, model.explain("photo.jpg").plot()  # doctest: +SKIP
        """
        from agegender.model.foreign_about import read_about
        from agegender.model.foreign_onnx import ForeignRuntime, read_foreign

        document, place = read_about(about), Path(path)
        runtime = ForeignRuntime(read_foreign(place), place, document)
        return cls(runtime, runtime.card(document))

    @classmethod
    def from_learner(
        cls, learner: Any, *, heads: Sequence[Head] | None = None, image_size: int | None = None, name: str = "learner"
    ) -> Self:
        """Take a fastai Learner of one's own, whose model gives one tensor per head.

        Parameters
        ----------
        learner : fastai Learner
        heads : sequence of Regression and Classification
            What the outputs mean, in their order; a Learner of ours knows them.
        image_size : int, optional
            Pixels; by default what the Learner's batches have.

        Raises
        ------
        UsageError
            The outputs are not those of the heads, or nothing says how photos are normalised.
        """
        from agegender.model.learner import predictor_from_learner

        known = getattr(learner, "heads", None) if heads is None else heads
        if not known:
            raise UsageError(
                "a Learner of one's own does not say what its outputs mean: name heads=[…] in their order."
            )
        predictor = predictor_from_learner(learner, heads=tuple(known), image_size=image_size, name=name)
        model = cls(predictor.runtime, predictor.card)
        model.learner = learner
        return model

    def evaluate(self, faces: FacesTable | None = None, *, split: str = "test") -> dict[str, Any]:
        """Predict labelled faces, its own by default, and return the metrics document: split -> head -> scores."""
        from agegender.audit.metrics_document import evaluation_metrics

        chosen = self.faces if faces is None else faces
        if chosen is None:
            raise TableError("this model knows no faces of its own: give it some to be judged on.")
        return evaluation_metrics(self.predict_faces(chosen, split=split), self.heads)

    def predict_shards(  # noqa: PLR0913 (the options of the command, each by its name)
        self,
        folder: Place,
        photos: Any,
        *,
        scheduler: str | None = None,
        workers: int | None = None,
        shard_photos: int | None = None,
        is_cropped: bool = False,
        faces_in_photo: str | None = None,
        finds_problems: bool = True,
        checks: Mapping[str, float] | None = None,
    ) -> dict[str, Any]:
        """Predict more photos than one process can, into a folder of Parquet files, by the workers of Dask.

        Rows are those of `predict`; `pandas.read_parquet(folder)` reads them all, in the photos' order. A shard that
        is there already is not computed again, so the same call goes on after a stop, and a shard whose worker dies is
        handed to another. Each worker loads the model once, and computes in one thread unless it is told otherwise.

        Parameters
        ----------
        folder : str or Path
            New, or of an earlier call with the same model, photos and options. `_manifest.json` in it has the digest
            of the model's weights.
        photos : str, Path, or a sequence of these
            Photos, folders and patterns, which are dealt to shards in their order; or Parquet files whose column
            `path` lists photos, or folders of such: each is one shard.
        scheduler : str, optional
            Address of a Dask scheduler, `tcp://HOST:8786`. Its workers must see the photos, the model's folder and
            `folder` at the same paths as this process.
        workers : int, optional
            Without a scheduler: so many processes here; by default one for each core.
        shard_photos : int, optional
            How many photos of those that are dealt make a shard, by default 2048.
        is_cropped, faces_in_photo, finds_problems, checks
            As for `predict`.

        Returns
        -------
        dict
            How many `shards` there are, `skipped_shards` of which were there before, and of the others as `predict_to`:
            `photos`, `faces`, `unreadable`, `problems`.

        Raises
        ------
        MissingExtraError
            Dask is not installed.
        ShardError
            A shard failed three times; the others are kept.
        UsageError
            The folder has shards of another model, of other photos or of other options; the model has no folder that
            workers could load it from; no scheduler or no worker answers.
        FolderError, TableError, OutputError

        Examples
        --------
        >>> Model.load("models/mine").predict_shards("faces", "archive", workers=8)  # doctest: +SKIP
        {'photos': 204800, 'faces': 204790, 'unreadable': 10, 'problems': {'blurred': 310}, 'shards': 100, …}
        """
        from agegender.api.dask_engine import SHARD_PHOTOS, Cluster, predict_in_shards

        looking = Looking(faces_in_photo, is_cropped=is_cropped, finds_problems=finds_problems)
        return predict_in_shards(
            {self.name: self}, photos, Path(folder), looking, checks or {}, cluster=Cluster(scheduler, workers),
            shard_photos=SHARD_PHOTOS if shard_photos is None else shard_photos,
        ).document()  # fmt: skip

    def explain(
        self,
        photos: Any,
        *,
        samples: int | str = "auto",
        segments: str = "slic",
        fill: str = "mean",
        seed: int = 0,
        second_opinions: bool = False,
    ) -> Any:
        """Say which parts of a photo each answer rests on, and how far that can be believed.

        Parameters
        ----------
        photos : str, Path or a sequence of them
        samples : int or "auto"
            Perturbed photos per face; "auto" goes on until the strongest regions hold still.
        segments : {"slic", "quickshift", "face-grid"}
        fill : {"mean", "blur", "inpaint"}
        second_opinions : bool
            Grad-CAM and occlusion beside LIME (needs the extra `explain`).

        Returns
        -------
        FaceExplanation, or a list of them for a sequence

        Raises
        ------
        PhotoError
            No photo can be read.
        """
        from agegender.api.explaining import PhotoToExplain, explain_photos
        from agegender.explanation import GRAD_CAM, OCCLUSION
        from agegender.explanation.lime_explainer import LimeSettings

        is_one = isinstance(photos, (str, Path)) and not Path(photos).is_dir()
        given = photos if isinstance(photos, (list, tuple)) else [photos]
        wanted = [PhotoToExplain(photo, printable(photo)) for photo in named_photos(given)]
        settings = LimeSettings(samples, segments, fill=fill, seed=seed, device=str(self.device))
        methods = (GRAD_CAM, OCCLUSION) if second_opinions else ()
        found = explain_photos(self, wanted, settings, None, methods=methods).faces
        return found[0] if is_one else found

    def report(
        self, folder: Place, *, hide_faces: bool | None = None, explains: bool = True, title: str | None = None
    ) -> dict[str, Path]:
        """Write every page about the model to `folder`; return page name -> file.

        Parameters
        ----------
        hide_faces : bool, optional
            Blur faces and name no photo; by default what the folder's reports remember, else False.
        explains : bool
            Explain the faces worth a look first; otherwise the explanations that lie in the folder are shown.

        Raises
        ------
        TableError
            The model knows no predictions to report on.
        OutputError
            The folder cannot be written to.
        """
        place = Path(folder)
        finish_swaps(place.absolute().parent, place)
        with replaced_set() as swap:
            return self._staged_report(swap, place, hide_faces=hide_faces, explains=explains, title=title)

    def _staged_report(
        self, swap: Swap, place: Path, *, hide_faces: bool | None, explains: bool = True, title: str | None = None,
        becomes: Path | None = None,
    ) -> dict[str, Path]:  # fmt: skip
        from agegender.pages.report_set import is_hiding_faces, stage_report_set

        hides = is_hiding_faces(place) if hide_faces is None else hide_faces
        explanations = self._explanations(place, swap if explains else None, hide_faces=hides)
        content = replace(self.report_content(title=title), explanations=explanations or None)
        if becomes is not None:
            others = [card for card in cards_beside(becomes) if card.get("name") != self.card.get("name")]
            content = replace(content, model_folder=becomes, runs=(self.card, *others))
        return stage_report_set(swap, place, content, hide_faces=hide_faces, replaces_all=becomes is not None).pages

    def _explanations(self, reports: Path, swap: Swap | None, *, hide_faces: bool) -> list[FaceExplanation]:
        """Explain the faces worth a look and leave that to be swapped in; without a swap, read what lies there."""
        from agegender.api.explaining import explain_photos, faces_to_explain, usual_methods
        from agegender.explanation.explanation_files import read_explanations
        from agegender.explanation.lime_explainer import LimeSettings

        if swap is None or self.faces is None or self.predictions is None:
            return read_explanations(reports / EXPLANATIONS_FOLDER, run_id=self.card.get("run_id"))
        photos = faces_to_explain(self, self.faces, self.predictions)
        settings = LimeSettings(seed=int(self.card.get("seed", 0)), device=str(self.device))
        if not photos:
            return []
        earlier = reports / EXPLANATIONS_FOLDER
        return explain_photos(
            self,
            photos,
            settings,
            swap.stage(earlier),
            methods=usual_methods(self),
            hide_faces=hide_faces,
            earlier=earlier,
        ).faces

    def report_content(self, *, title: str | None = None) -> ReportContent:
        """Return what the pages are made of, explanations aside.

        Raises
        ------
        TableError
            The model knows no predictions to report on.
        """
        from agegender.audit.assessment import assess
        from agegender.pages.page_writing import ReportContent

        if self.predictions is None:
            raise TableError(
                f"the model {self.name} has no predictions to report on. Audit(model.predict(faces)) makes some."
            )
        faces = self.faces
        judged = assess(
            self.predictions,
            heads=self.heads,
            title=title or self.name,
            is_drawn=faces is not None and faces.is_drawn(),
        )
        judged = replace(judged, notices=(*judged.notices, *ensemble_words(self.card)))
        root = None if faces is None else faces.root
        return ReportContent(judged, photos_root=root, card=self.card, history=self.history, model_folder=self._folder)

    def save(
        self,
        folder: Place,
        *,
        reports: Place | None = None,
        hide_faces: bool | None = None,
    ) -> Path:
        """Write the model folder, whole or not at all, and return it; an older one of that name is replaced.

        Parameters
        ----------
        reports : str or Path, optional
            Write every page about the model to this folder, as `report` does, and swap both in as one: whoever is
            killed on the way leaves the old model with the old pages.
        hide_faces : bool, optional
            See `report`.

        Raises
        ------
        OutputError
            A place cannot be written to.
        ModelError
            The network is somebody's own and cannot be rebuilt from a card.
        """
        from agegender.model.learner import check_storable
        from agegender.model.training import write_model
        from agegender.pages.card_text import HUMAN_FILE, keep_or_make

        place = Path(folder)
        check_storable(self.network)  # before faces are explained
        finish_swaps(place.absolute().parent)
        try:
            with replaced_set() as swap:
                if reports is not None:  # first: pages are looked at as they are, and every command mends the model
                    finish_swaps(Path(reports))
                    self._staged_report(swap, Path(reports), hide_faces=hide_faces, becomes=place)
                parts = {"faces": self.faces, "predictions": self.predictions, "history": self.history}
                has_learner = "learner" in self.__dict__ or (self._folder is not None and "members" not in self.card)
                learner = self.learner if has_learner else None
                new = swap.stage(place)
                write_model(new, self, learner=learner, **parts)
                written = (one / HUMAN_FILE for one in (place, self._folder) if one is not None)
                old = next((one for one in written if one.is_file()), place / HUMAN_FILE)
                keep_or_make(old, new / HUMAN_FILE, self.name, str(self.card.get("run_id") or ""))
                if self._run is not None:
                    swap.remove(self._run.folder)
        except BaseException:
            if self._run is not None:
                say(f"{self._run.folder} keeps the whole training: {resume_words(self._run.folder)}")
            raise
        if self._run is not None:
            self._run.close()
            self._run = None
        return place

    def export(
        self, path: Place, *, photos: Any = None, int8: bool = False, int8_limits: Mapping[str, float] | None = None
    ) -> dict[str, float]:
        """Write the model as one ONNX file: from photos as bytes to answers, with the card in its metadata.

        It takes any number of photos as `fit_photo` returns them, `photos`: uint8 (N, S, S, 3), and gives an output for
        each head, under its name: logits, shape (N, classes); a number in its unit, shape (N,); or, where the head
        learns a distribution, its point and its spread, shape (N, 2). `Model.load` and `agegender predict --model` take
        the file without torch. It is compared with torch before it is written.

        Parameters
        ----------
        path : str or Path
            An older file is replaced.
        photos : str, Path, ndarray uint8 (H, W, 3) RGB, PIL image, or a sequence of these, optional
            To compare on, besides random pixels; by default some of its own test photos, where these can be read.
        int8 : bool
            Compute between the first and the last convolution in whole numbers of eight bits: smaller, quicker, and
            worse. The loss is measured on the validation photos and stands in the file's card, `card["int8"]`.
        int8_limits : mapping of str to float, optional
            Head name -> how much of its main figure may be lost: of a number's mean absolute error so much in its unit
            (by default 2 % of the error), of a class's accuracy so many points (by default 0.5, or one photo). The
            coverage of an interval may fall by one point.

        Returns
        -------
        dict of str to float
            Head name -> the largest difference between both runtimes' answers, in the head's unit or in logits.

        Raises
        ------
        UsageError
            A head may not be exported, the path does not end in .onnx, or int8 lacks training or validation photos.
        ModelError
            torch cannot export the network, the answers differ by more than 1e-4, or int8 loses too much.
        PhotoError
            A photo to compare on cannot be read.
        OutputError
            The file cannot be written.

        Examples
        --------
        >>> model = Model.load("models/mine")  # doctest: +SKIP
        >>> model.export("mine.onnx")  # doctest: +SKIP
        {'age': 7.6e-06, 'gender': 1.2e-06}
        """
        place = Path(path)
        if not is_exported(place):
            raise UsageError(f"{place} must be a file that ends in .onnx, by which it is known when it is loaded.")
        from agegender.model.onnx_export import export_model, tested_photos

        if photos is None:
            compared = tested_photos(self, self.faces)
        else:
            items = named_photos(photos if isinstance(photos, (list, tuple)) else [photos])
            compared = [self.fit_photo(as_photo(item)) for item in items]
        limits = dict(int8_limits or {}) if int8 else None
        return export_model(self, place, compared, faces=self.faces, int8_limits=limits)

    def _repr_html_(self) -> str:
        lines = []
        for side, figures in (self.card.get("metrics") or {}).items():
            said = ", ".join(head.summary(figures.get(head.name) or {}) for head in self.heads)
            lines.append(f"<li>{escape(str(side))} ({figures.get('n', 0):,} photos): {escape(said)}</li>")
        heads = ", ".join(head.title for head in self.heads)
        return (
            f"<p><b>{escape(self.name)}</b>: {escape(str(self.card.get('body')))} at {self.image.size} px, heads: "
            f"{escape(heads)}</p><ul>{''.join(lines)}</ul>"
        )
