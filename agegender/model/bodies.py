"""The convolutional bodies, and where their first weights come from.

ResNets are torchvision's and every other name is timm's; both keep their weights in the usual caches. Weights that
cannot be had are an error that names the remedies: a start from scratch happens only when it is asked for.
"""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from agegender.errors import UsageError, WeightsError, did_you_mean
from agegender.model.resnet import is_resnet, make_resnet
from agegender.settings import NARROW, SIZES, SMALL_STEM, TORCHVISION_BODIES, has_imagenet_weights

DOWNLOAD_TIMEOUT_SECONDS = 20.0
_LARGEST_PROBED = 256  # pixels; what a body does to a photo is seen at this size as well as at a larger one
_CLASSIFIER_PREFIXES = ("fc.", "classifier.", "head.", "head_dist.")


class TimmFeatures(nn.Module):
    """A timm model without its classifier.

    Attributes
    ----------
    is_pooled : bool
        Whether it returns one vector per photo (transformers, by timm's own pooling) rather than a feature map.
    """

    def __init__(self, model: Any, *, is_pooled: bool) -> None:
        super().__init__()
        self.model: Any = model
        self.is_pooled = is_pooled

    def forward(self, images: Tensor) -> Tensor:
        """Return features of images, shape (N, 3, S, S): (N, C, h, w), or (N, C) when pooled."""
        features: Tensor = self.model.forward_features(images)
        pooled: Tensor = self.model.forward_head(features, pre_logits=True) if self.is_pooled else features
        return pooled


def make_body(name: str, *, weights: str = "none", image_size: int = 128) -> tuple[nn.Module, int]:
    """Return a body and the number of its feature channels."""
    if is_resnet(name):
        return _torchvision_body(name, weights)
    return _timm_body(name, weights, image_size)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict from a .safetensors or PyTorch file without running anything that it holds."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise WeightsError(f"there is no weights file {path}. Name a .safetensors or .pth file, or use --weights none.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, OSError, ValueError, EOFError, KeyError) as error:
        raise WeightsError(f"{path} holds no readable weights: {_first_line(error)}") from error
    except Exception as error:
        # weights_only refuses a pickle with pickle.UnpicklingError, and damaged ones raise anything at all.
        raise WeightsError(f"{path} is not a plain state dict: {_first_line(error)}") from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{path} is not a plain state dict of tensors.")
    return state


def _torchvision_body(name: str, weights: str) -> tuple[nn.Module, int]:
    model, channels = make_resnet(name)
    check_body(name, weights)
    if weights == "imagenet":
        import torchvision

        entry = torchvision.models.get_model_weights(name).DEFAULT
        cached = Path(torch.hub.get_dir()) / "checkpoints" / entry.url.rsplit("/", 1)[-1]
        with _weights_errors(name, cached):
            state = entry.get_state_dict(progress=True, check_hash=True)
        load_body_weights(model, state, cached)
    elif weights != "none":
        load_body_weights(model, read_weights(Path(weights)), Path(weights))
    return nn.Sequential(*model.children()), channels  # numbered, as fastai's `create_body` leaves them


def check_body(name: str, weights: str = "none") -> None:
    """Refuse a name that is no body's, and ImageNet weights of a body that has none."""
    if is_resnet(name):
        if weights == "imagenet" and not has_imagenet_weights(name):
            usual = name.removesuffix(SMALL_STEM).removesuffix(NARROW)
            raise WeightsError(
                f"there are no ImageNet weights for {name}: they were made for the usual stem and width. Say --weights "
                f"none, or --body {usual}."
            )
        return
    timm = _timm()

    if not (re.fullmatch(r"[\w.-]+", name, re.ASCII) and timm.is_model(name)):
        names = timm.list_models()
        near = did_you_mean(name, [*TORCHVISION_BODIES, *SIZES.values(), *names])
        alike = ", ".join(one for one in names if name[:6].lower() in one)[:80].rpartition(",")[0]
        listed = f" Others like it: {alike}." if alike else ""
        raise UsageError(
            f"there is no body called {name[:60]!r}.{near} Names are torchvision's ResNets, with {NARROW} (18, 34) or "
            f"{SMALL_STEM} behind, and timm's.{listed}"
        )


def check_sizes(name: str, sizes: Sequence[int]) -> None:
    """Refuse photos of several sizes for a body that is built for one, as most transformers are."""
    if len(set(sizes)) == 1 or is_resnet(name):
        return
    timm = _timm()
    if getattr(timm.get_pretrained_cfg(name), "fixed_input_size", False):
        raise UsageError(f"--progressive: {name} takes photos of one size only. Leave it out, or take another --body.")


def _timm() -> Any:
    """Return timm without wandb: it loads that wherever it is, which takes seconds, for scripts of its own."""
    if "timm" in sys.modules or "wandb" in sys.modules:
        import timm

        return timm
    sys.modules.update({"wandb": None})  # type: ignore[dict-item]  # which is how Python says that it isn't there
    try:
        import timm
    finally:
        del sys.modules["wandb"]
    return timm


def _timm_body(name: str, weights: str, image_size: int) -> tuple[nn.Module, int]:
    timm = _timm()

    check_body(name)
    options: dict[str, Any] = {"num_classes": 0, "global_pool": ""}
    model: Any = timm.create_model(name, **options)
    with torch.no_grad():
        probed = min(image_size, _LARGEST_PROBED)
        fixed_size = getattr(model.default_cfg, "get", lambda *_: None)("fixed_input_size")
        if fixed_size:
            options["img_size"] = image_size
            model, probed = timm.create_model(name, **options), image_size
        features = model.eval().forward_features(torch.zeros(1, 3, probed, probed))
    if weights == "imagenet":
        with _weights_errors(name, _hub_cache()):
            model = timm.create_model(name, pretrained=True, **options)
    elif weights != "none":
        load_body_weights(model, read_weights(Path(weights)), Path(weights))
    is_map = features.ndim == 4 and features.shape[1] == model.num_features
    if is_map:
        _drop_unused(model, probed)
        return TimmFeatures(model, is_pooled=False), features.shape[1]
    model = timm.create_model(name, **{key: value for key, value in options.items() if key != "global_pool"})
    return TimmFeatures(model, is_pooled=True), model.num_features


def _hub_cache() -> Path:
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE)


def _drop_unused(model: nn.Module, image_size: int) -> None:
    """Take out the layers that `forward_features` never calls: the classifier's own, which our heads replace."""
    called: set[int] = set()
    hooks = [module.register_forward_hook(lambda seen, *_: called.add(id(seen))) for module in model.modules()]
    with torch.no_grad():
        model.eval().forward_features(torch.zeros(1, 3, image_size, image_size))  # type: ignore[operator]
    for hook in hooks:
        hook.remove()
    for name, child in model.named_children():
        if not called & {id(module) for module in child.modules()}:
            setattr(model, name, nn.Identity())


def load_body_weights(model: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """Load `state` into `model`, its classifier left aside."""
    # Older files, torchvision's own among them, don't count the batches that a norm has seen; nothing reads the count.
    wanted = {
        name: value
        for name, value in model.state_dict().items()
        if not name.startswith(_CLASSIFIER_PREFIXES) and (name in state or not name.endswith(".num_batches_tracked"))
    }
    lacking = [name for name, value in wanted.items() if name not in state or state[name].shape != value.shape]
    if lacking:
        raise WeightsError(
            f"{path} does not fit this body: {len(lacking)} of {len(wanted)} layers are missing or of another shape, "
            f"first {lacking[0]}. Name the body that these weights were made for with --size or --body."
        )
    model.load_state_dict({name: state[name] for name in wanted}, strict=False)


@contextmanager
def _weights_errors(name: str, cached: Path) -> Iterator[None]:
    """Turn every way in which a download can fail into one error that names the remedies."""
    waited = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_SECONDS)
    try:
        yield
    except Exception as error:
        # urllib, httpx and the hub raise some ten unrelated types when there is no network.
        raise WeightsError(
            f"ImageNet weights of {name} cannot be had ({_first_line(error)}). They belong in the cache at {cached}; "
            f"bring them there, start from scratch with --weights none, or name a file with --weights FILE."
        ) from error
    finally:
        socket.setdefaulttimeout(waited)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:160]
