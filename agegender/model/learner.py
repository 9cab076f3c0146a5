"""The fastai Learner that knows several heads, and the ways between it, a model folder and a predictor.

What of fastai works with it, what it refuses and what to use instead stands in docs/fastai.md, each line tried by a
test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import numpy as np
import torch
from fastai.callback.core import CancelEpochException
from fastai.callback.mixup import CutMix, MixUp
from fastai.callback.schedule import fit_one_cycle, lr_find  # noqa: F401 (add their methods to Learner)
from fastai.data.core import DataLoaders
from fastai.data.transforms import IntToFloatTensor, Normalize
from fastai.learner import Learner, Metric
from fastai.metrics import mk_metric
from fastcore.foundation import L
from torch import Tensor, nn

from agegender.data.balancing import apply_balance
from agegender.data.datablock import make_data_block, make_dataloaders, with_known_classes
from agegender.data.faces_table import read_faces
from agegender.data.loading import FaceItem, NormalisePhotos, PhotoLoader
from agegender.data.relabelling import relabelled
from agegender.data.splitting import without_calibration_rows
from agegender.errors import ModelError, UsageError
from agegender.heads import Classification, Head, Regression, head_to_dict
from agegender.model.checkpoint import card_statistics, load_network
from agegender.model.ensembles import EnsembleNetwork
from agegender.model.losses import CombinedLoss
from agegender.model.model_folder import FACES_FILE, heads_of, image_of, network_entries
from agegender.model.network import FaceNetwork, body_and_heads, decode, set_dropout
from agegender.model.optimisers import USUAL, optimiser_function
from agegender.model.predictor import Predictor
from agegender.progress import say
from agegender.settings import VERSION, AugmentationSettings, ImageSettings
from agegender.training_settings import TrainingSettings, as_field
from agegender.writing import replaced_file

Settings = TypeVar("Settings", AugmentationSettings, TrainingSettings)


class FaceLearner(Learner):
    """A Learner over several heads: the stock one predicts the first alone, and mixes and measures one target.

    Attributes
    ----------
    heads : tuple of Head
    combined_loss : CombinedLoss
        The loss function, also while a mixing callback has put its own in its place.
    first_epoch : int
        From 0; above it, a fit goes on with a run whose earlier epochs are done.
    epoch_sizes : sequence of int
        The side of the training photos in each epoch of a fit; empty where it is always the same.
    agegender_version : str
        Which version made it; an exported Learner promises nothing to another.
    """

    first_epoch = 0
    epoch_sizes: Sequence[int] = ()

    def __init__(self, dls: Any, model: nn.Module, loss_func: CombinedLoss, **options: Any) -> None:
        self.agegender_version = VERSION
        self.combined_loss, self.heads = loss_func, loss_func.heads
        super().__init__(dls, model, loss_func=loss_func, **options)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore an exported Learner, and say when another version made it."""
        super().__setstate__(state)
        made_by = state.get("agegender_version", "0.1.0")
        if made_by != VERSION:
            say(
                f"this Learner was exported by agegender {made_by} and this is {VERSION}: if it fails, "
                f"rebuild it from its model folder, which any version reads."
            )

    def _do_epoch_train(self) -> None:
        self.combined_loss.train()
        super()._do_epoch_train()

    def _do_epoch_validate(self, ds_idx: int = 1, dl: Any = None) -> None:
        self.combined_loss.eval()
        super()._do_epoch_validate(ds_idx, dl)

    def keep_heads(self, loss: CombinedLoss) -> None:
        """Let go of the heads that a loss of the first ones alone does without: layers, labels, learned weights."""
        self.heads = loss.heads
        self.model.keep_heads([head.name for head in loss.heads])
        self.combined_loss = self.loss_func = loss
        self.splitter, self.opt = partial(all_groups, loss=loss), None
        for loader in self.dls.loaders:
            loader.dataset.tls = loader.dataset.tls[: 1 + len(loss.heads)]

    def _do_fit(self) -> None:
        # fastai's own start_epoch cancels the epochs before it one by one, and callbacks would count them.
        for epoch in range(self.first_epoch, self.n_epoch):
            self.epoch = epoch
            self._with_events(self._do_epoch, "epoch", CancelEpochException)

    @property
    def metrics(self) -> Any:
        """Metrics of a whole prediction, or stock ones of one head as `HeadMetric`."""
        return self._metrics

    @metrics.setter
    def metrics(self, given: Any) -> None:
        made = L(given).map(mk_metric)
        self._metrics = made.map(lambda one: one if isinstance(one, HeadMetric) else _MetricOfAll(one))

    def add_cb(self, cb: Any) -> Any:
        """Add a callback; fastai's mixing ones know one target alone and are refused."""
        kind = cb if isinstance(cb, type) else type(cb)
        if issubclass(kind, (MixUp, CutMix)) and not issubclass(kind, MixPhotos):
            raise UsageError(
                f"fastai's {kind.__name__} mixes one target, and there are {len(self.heads)} heads. Use "
                f"agegender.model.learner.MixPhotos() instead."
            )
        return super().add_cb(cb)

    def predict(
        self, item: Any, rm_type_tfms: Any = None, with_input: bool = False
    ) -> tuple[Any, tuple[Any, ...], tuple[Any, ...]] | tuple[Any, Any, tuple[Any, ...], tuple[Any, ...]]:
        """Predict one photo.

        Parameters
        ----------
        item : path, bytes or array, uint8 (H, W, 3)
            Whatever the DataLoaders take.
        with_input : bool
            Whether to return the decoded photo first.

        Returns
        -------
        decoded : tuple
            What each head says, as a person reads it: "34 y", "female".
        values : tuple of Tensor
            For each head its number or its class number.
        activations : tuple of Tensor
            For each head its number, or the probability of each class in the order of the head's classes.
        """
        loader = self.dls.test_dl([item], rm_type_tfms=rm_type_tfms, num_workers=0)
        inputs, activations, _, values = self.get_preds(dl=loader, with_input=True, with_decoded=True)
        decoded = self.dls.decode_batch((inputs, *values))[0]
        photo, labels = decoded[0], tuple(decoded[1:])
        result = (labels, tuple(value[0] for value in values), tuple(value[0] for value in activations))
        return (photo, *result) if with_input else result

    def tta(
        self, ds_idx: int = 1, dl: Any = None, n: int = 4, beta: float = 0.25, **others: Any
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Return activations, one per head, averaged over `n` changed views and the photo itself, and the targets.

        Parameters
        ----------
        beta : float
            Share of the photo as it is.
        """
        if {name for name, value in others.items() if value}:
            raise UsageError(
                f"tta takes ds_idx, dl, n and beta, not {', '.join(others)}: the loader makes the changes."
            )
        loader = self.dls[ds_idx] if dl is None else dl
        loader = loader.new(shuffle=False, drop_last=False)
        plain, targets = self.get_preds(dl=loader)
        views = [
            self.get_preds(dl=loader.new(always_changes=True, seed=loader.seed + number))[0]
            for number in range(1, n + 1)
        ]
        means = (torch.stack(parts).mean(dim=0) for parts in zip(*views, strict=True))
        return tuple(torch.lerp(mean, whole, beta) for mean, whole in zip(means, plain, strict=True)), targets


class HeadMetric(Metric):
    """Any fastai metric (`accuracy`, `mae`, `F1Score()`), measured on one head, over the photos with a label for it."""

    def __init__(self, head: str, metric: Any) -> None:
        self.head, self.metric = head, mk_metric(metric)

    def reset(self) -> None:
        """Start again."""
        self.metric.reset()

    def accumulate(self, learn: Any) -> None:
        """Add a batch: decoded numbers of a regression, logits of a classification."""
        names = [head.name for head in learn.heads]
        if self.head not in names:
            raise UsageError(f"there is no head {self.head!r} to measure; there are {', '.join(names)}.")
        place = names.index(self.head)
        head, raw, target = learn.heads[place], learn.pred[place], torch.as_tensor(learn.yb[place]).reshape(-1)
        is_regression = isinstance(head, Regression)
        known = ~target.isnan() if is_regression else target >= 0
        if known.any():
            seen = (decode(head, raw) if is_regression else raw)[known]
            target = target[known]
            one = {"pred": seen, "yb": (target,), "y": target, "loss": learn.loss, "to_detach": learn.to_detach}
            self.metric.accumulate(SimpleNamespace(**one))

    @property
    def value(self) -> Any:
        """The metric's value."""
        return self.metric.value

    @property
    def name(self) -> str:
        """The head's name before the metric's."""
        return f"{self.head}_{self.metric.name}"


class _MetricOfAll(Metric):
    """A metric of all outputs at once; one that was made for a single output fails in words."""

    def __init__(self, metric: Any) -> None:
        self.metric = metric

    def reset(self) -> None:
        self.metric.reset()

    def accumulate(self, learn: Any) -> None:
        try:
            self.metric.accumulate(learn)
        except (TypeError, AttributeError, ValueError, RuntimeError) as error:
            names = [head.name for head in learn.heads]
            raise UsageError(
                f"the metric {self.name} does not take the outputs of {len(names)} heads ({error}). Measure one of "
                f"them, such as HeadMetric({names[0]!r}, {self.name})."
            ) from error

    @property
    def value(self) -> Any:
        return self.metric.value

    @property
    def name(self) -> str:
        return str(self.metric.name)


class MixPhotos(MixUp):
    """MixUp for any number of heads and any losses: photos are blended, and so are the losses to the labels of both.

    One share is drawn for each batch, as in the paper's own program, so that the loss of a batch stays what it is: a
    mean over the photos that have a label.

    References
    ----------
    Zhang, Cisse, Dauphin, Lopez-Paz: mixup: Beyond Empirical Risk Minimization, ICLR 2018.
    """

    stack_y = False  # fastai puts a loss back that it has changed, also after a fit that ends before it begins

    def before_batch(self) -> None:
        """Blend each photo with another of the batch."""
        photos = self.xb[0]
        share = float(self.distrib.sample())
        self.lam = max(share, 1 - share)
        order = torch.randperm(len(photos), device=photos.device)
        self.yb1 = tuple(target[order] for target in self.yb)
        self.learn.xb = (torch.lerp(photos[order], photos, self.lam),)

    def lf(self, pred: Sequence[Tensor], *yb: Tensor) -> Tensor:
        """Return the mixed loss; its parts, which the history keeps, are mixed alike."""
        if not self.training:
            return self.old_lf(pred, *yb)
        combined = self.learn.combined_loss
        other, others = self.old_lf(pred, *self.yb1), combined.parts
        own = self.old_lf(pred, *yb)
        combined.parts = {name: torch.lerp(others[name], part, self.lam) for name, part in combined.parts.items()}
        return torch.lerp(other, own, self.lam)


def make_learner(dataloaders: Any, network: FaceNetwork, loss: CombinedLoss, *, optimiser: str = USUAL) -> FaceLearner:
    """Return a fastai Learner for the network, in three groups of layers."""
    groups = partial(all_groups, loss=loss)
    return FaceLearner(dataloaders, network, loss, opt_func=optimiser_function(optimiser), splitter=groups)


def all_groups(network: FaceNetwork, *, loss: CombinedLoss) -> list[list[nn.Parameter]]:
    """Return the network's three groups of parameters; what the loss learns is trained with the heads."""
    early, last, heads = body_and_heads(network)
    return [early, last, [*heads, *loss.parameters()]]


def export_learner(learner: Learner, path: Path) -> None:
    """Write the fastai export through dill, whole or not at all."""
    import dill

    with replaced_file(path) as temporary:
        place, learner.path = learner.path, temporary.parent
        try:
            learner.export(temporary.name, pickle_module=dill)
        finally:
            learner.path = place


def learner_of(folder: Path, *, photos_root: Path | None = None) -> FaceLearner:
    """Rebuild the Learner of a model folder from its weights, its card and its faces table.

    Where the photos are neither in their place nor in `photos_root` it has no batches, and says so; it predicts all the
    same.

    Raises
    ------
    CardError, WeightsError
        The folder lacks a file, or its weights do not fit its card.
    """
    network, card = load_network(folder)
    heads = heads_of(card)
    settings = _known_settings(TrainingSettings, card.get("training"))
    set_dropout(network, settings.dropout)
    units = {name: values.std for name, values in card_statistics(card, heads).items()}
    loss = CombinedLoss(heads, units, class_counts=card.get("class_counts"))
    loaders = _loaders_of(folder, card, photos_root)
    return make_learner(loaders, network, loss, optimiser=settings.optimiser)


def _loaders_of(folder: Path, card: dict[str, Any], photos_root: Path | None) -> DataLoaders:
    heads, image, path = heads_of(card), image_of(card), folder / FACES_FILE
    augmentation = _known_settings(AugmentationSettings, card.get("augmentation"))
    settings = _known_settings(TrainingSettings, card.get("training"))
    faces = read_faces(path, root=photos_root) if path.is_file() else None
    photos = [] if faces is None else [faces.photo_path(name) for name in faces.kept()["path"]]
    if faces is not None and photos and all(photo.is_file() for photo in photos):
        batch_size, seed = settings.batch_size, settings.seed
        names = {head.name for head in heads}  # auxiliary heads are no longer there
        rules = [text for text in settings.relabel if text.partition(":")[0] in names]
        fitted, _ = relabelled(without_calibration_rows(faces), heads, rules)
        fitted = with_known_classes(fitted, heads)
        loaders = make_dataloaders(fitted, heads, image, augmentation, batch_size=batch_size, seed=seed)
        kept = fitted.kept()
        apply_balance(loaders.train, kept[kept["split"] == "train"], settings, card.get("balance") or ())
        return loaders
    why = f"the photos of {path} are not all in {faces.root}" if faces is not None else f"there is no {path}"
    say(f"{why}, so this Learner has no batches: it predicts, and takes photos by dls.test_dl")
    nothing = tuple(float("nan") if isinstance(head, Regression) else -1 for head in heads)
    items = [FaceItem(np.zeros((8, 8, 3), np.uint8), nothing, split) for split in ("train", "valid")]
    block = make_data_block(heads, image, augmentation, seed=settings.seed)
    return block.dataloaders(items, bs=settings.batch_size).new_empty()


def _known_settings(kind: type[Settings], entries: Any) -> Settings:
    """Return the settings of a card, which another version may have written: what is not known here stays as it is."""
    names = {field.name for field in fields(kind)} & set(entries or ())
    return kind(**{name: as_field(entries[name]) for name in names})


def predictor_from_learner(
    learner: Learner,
    *,
    heads: Sequence[Head],
    image: ImageSettings | None = None,
    image_size: int | None = None,
    name: str = "learner",
    device: str = "auto",
    precision: str = "auto",
) -> Predictor:
    """Return a predictor of a fastai Learner of one's own, whose model gives one tensor per head.

    Parameters
    ----------
    heads : sequence of Head
        In the order of the model's outputs: numbers, shape (N,) or (N, 1), or scores of the head's grid; logits, shape
        (N, classes).
    image : ImageSettings, optional
        By default the size and the normalisation of the Learner's validation batches.
    image_size : int, optional
        Pixels, where only the size is to be said.

    Raises
    ------
    UsageError
        The size or normalisation cannot be told, or the outputs are not those of the heads.
    """
    image = image or _image_of_loaders(learner.dls, image_size)
    network = learner.model if isinstance(learner.model, FaceNetwork) else OutputsOfHeads(learner.model, heads)
    _check_outputs(network, heads, image.size)
    if isinstance(network, FaceNetwork):
        entries = network_entries(heads, image, network.statistics, network.body_name)
    else:
        described = [head_to_dict(head) for head in heads]
        entries = {"body": type(learner.model).__name__, "heads": described, "image": asdict(image)}
    card = {"name": name, **entries, "agegender_version": VERSION, "calibration": {}}
    return Predictor.of_network(network, card, device=device, precision=precision)


class OutputsOfHeads(nn.Module):
    """Somebody's model, its outputs brought to one float tensor per head; it cannot be stored as a model folder."""

    def __init__(self, model: nn.Module, heads: Sequence[Head]) -> None:
        super().__init__()
        self.model = model
        self.is_regression = [isinstance(head, Regression) for head in heads]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return one tensor per head."""
        given = self.model(images)
        outputs = (given,) if isinstance(given, Tensor) else tuple(given)
        if len(outputs) != len(self.is_regression):
            raise UsageError(f"the model gives {len(outputs)} tensors, and there are {len(self.is_regression)} heads.")
        return tuple(
            raw.reshape(-1) if is_regression and raw.ndim == 2 and raw.shape[1] == 1 else raw
            for raw, is_regression in zip(outputs, self.is_regression, strict=True)
        )


def _check_outputs(network: nn.Module, heads: Sequence[Head], size: int) -> None:
    device = next(network.parameters()).device
    was_training = network.training
    with torch.no_grad():
        outputs = network.eval()(torch.zeros(2, 3, size, size, device=device))
    network.train(was_training)
    shapes = [tuple(raw.shape) for raw in outputs]
    for head, shape in zip(heads, shapes, strict=True):
        fitting: set[tuple[int, ...]] = {(2, head.output_count)} if isinstance(head, Classification) else {(2,)}
        if isinstance(head, Regression) and head.grid is not None:
            fitting.add((2, head.grid[1] - head.grid[0] + 1))
        if shape not in fitting:
            raise UsageError(
                f"the model's output for the head {head.name!r} has the shape {shape} for two photos; a "
                f"{head.kind} of this head gives {' or '.join(map(str, sorted(fitting)))}. All its outputs: {shapes}."
            )


def _image_of_loaders(dls: Any, size: int | None) -> ImageSettings:
    """Return the size and normalisation of a Learner's photos."""
    loader = dls.valid
    transforms = getattr(getattr(loader, "after_batch", None), "fs", ())  # a torch loader has none
    for transform in transforms:
        if isinstance(transform, (NormalisePhotos, Normalize)):
            mean, std = (tuple(torch.as_tensor(part).flatten().tolist()) for part in (transform.mean, transform.std))
            break
    else:
        if not any(isinstance(transform, IntToFloatTensor) for transform in transforms):
            raise UsageError(
                "the Learner's batches are normalised in a way that is not known here: there is no Normalize among its "
                "batch_tfms. Say image=ImageSettings(size=…, mean=…, std=…)."
            )
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    image = ImageSettings(mean=mean, std=std)
    if isinstance(loader, PhotoLoader):
        return replace(loader.image, size=size or loader.image.size, mean=mean, std=std)
    if size:
        return replace(image, size=size)
    if not len(loader):
        raise UsageError("the Learner has no batches to read the size of its photos from. Say image_size=…")
    shape = tuple(loader.one_batch()[0].shape)
    if len(shape) != 4 or shape[1] != 3 or shape[2] != shape[3]:
        raise UsageError(f"the Learner's photos have the shape {shape}, and only square RGB photos can be predicted.")
    return replace(image, size=shape[2])


def check_storable(network: nn.Module) -> FaceNetwork | EnsembleNetwork:
    """Return the network if a card can describe it.

    Raises
    ------
    ModelError
        It is somebody's own model.
    """
    if isinstance(network, (FaceNetwork, EnsembleNetwork)):
        return network
    raise ModelError(
        "a network of one's own cannot be rebuilt from a card, so it cannot be stored as a model folder. Keep its "
        "Learner (learner.export), and make a predictor of it again with from_learner."
    )
