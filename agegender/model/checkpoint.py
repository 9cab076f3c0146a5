"""How a network goes to disk and comes back: safetensors and a card, never a pickle.

The card holds what is needed to build the same layers again; the weights must fit it to the last name and shape, which
is compared before a network takes any memory. Both may come from anywhere: what does not fit is refused in words.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from agegender.errors import CardError, WeightsError
from agegender.heads import Head, Regression
from agegender.model.model_folder import CARD_FILE, WEIGHTS_FILE, check_calibration, heads_of, image_of, read_card
from agegender.model.network import FaceNetwork, Statistics, make_network
from agegender.progress import say
from agegender.settings import ImageSettings
from agegender.writing import current_umask

LARGEST_LABEL = 1e15  # beyond it float32 comes to infinities
_DRAWS = {Tensor.normal_, Tensor.uniform_, Tensor.erfinv_, Tensor.bernoulli_, Tensor.random_}
_SAME_RUN = f"{CARD_FILE} and {WEIGHTS_FILE} must come from the same run."


def save_weights(network: FaceNetwork, path: Path) -> None:
    """Write the network's weights as safetensors, in plain row-major order on the CPU."""
    write_tensors(dict(network.state_dict()), path)


def write_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors to a file that has to reach the disk before anything follows."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    try:
        save_file(plain, path, None if metadata is None else dict(metadata))
    except SafetensorError as error:
        number = next((code for code in (errno.ENOSPC, errno.EDQUOT) if os.strerror(code) in str(error)), errno.EIO)
        words = os.strerror(number) if number != errno.EIO else str(error)
        raise OSError(number, words, str(path)) from error
    path.chmod(0o666 & ~current_umask())  # safetensors makes files that only their owner can read
    with path.open("rb") as file:
        os.fsync(file.fileno())


class Undrawn(TorchFunctionMode):
    """Layers made under it draw no first weights, which are loaded anyway: ResNet-34 takes 0.3 s to draw.

    On the device "meta" drawing even imports half of torch, for 2 s.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run a function unless it draws into a tensor."""
        given = kwargs or {}
        if func in _DRAWS or getattr(func, "__module__", "") == "torch.nn.init":
            return given["tensor"] if "tensor" in given else args[0]
        return func(*args, **given)


def load_network(folder: Path) -> tuple[FaceNetwork, dict[str, Any]]:
    """Build the network of a model folder and fill in its weights."""
    card = read_card(folder)
    if card.get("members") is not None:
        names = ", ".join(str(folder / str(member["folder"])) for member in card["members"][:2])
        raise CardError(f"{folder} is an ensemble and no single network: name one of its members, such as {names}.")
    heads, image = heads_of(card), image_of(card)
    statistics = card_statistics(card, heads)
    check_calibration(card, heads)
    _check_shapes(folder, card["body"], heads, statistics, image)
    _check_digest(folder, card)
    with Undrawn():
        network = make_network(card["body"], heads, statistics, image_size=image.size)
    network.load_state_dict(_read(folder / WEIGHTS_FILE))
    network.mirrored = image.mirrored
    return network.eval(), card


def continue_from(network: FaceNetwork, heads: Sequence[Head], folder: Path) -> None:
    """Start a network from the weights of a model folder: its whole body, and those heads that say the same there."""
    stored = {head.name: _outputs_of(head) for head in heads_of(read_card(folder))}
    others = [head.name for head in heads if stored.get(head.name, _outputs_of(head)) != _outputs_of(head)]
    for name in others:
        say(f"the head {name} of {folder} has other outputs than this one, which begins anew")
    state, wanted = _read(folder / WEIGHTS_FILE), network.state_dict()
    anew = tuple(f"heads.{name}." for name in others)
    fitting = {
        name: value for name, value in state.items()
        if name in wanted and wanted[name].shape == value.shape and not name.startswith(anew)
    }  # fmt: skip
    lacking = [name for name in wanted if name.startswith("body.") and name not in fitting]
    if lacking:
        raise WeightsError(
            f"the weights in {folder} belong to another body: {len(lacking)} of its layers are missing or of another "
            f"shape, first {lacking[0]}. Name the same --size or --body."
        )
    network.load_state_dict(fitting, strict=False)


def _outputs_of(head: Head) -> tuple[Any, ...]:
    """Return what the outputs of a head stand for, the order of its classes included."""
    if isinstance(head, Regression):
        return head.column, head.unit, head.grid
    return head.column, head.classes


def digest_of(weights: Path) -> str:
    """Return the SHA-256 of a weights file, by which a card knows it."""
    with weights.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def card_statistics(card: Mapping[str, Any], heads: Sequence[Head]) -> dict[str, Statistics]:
    """Return mean and spread of the training labels of each regression that a card describes."""
    names = [head.name for head in heads if isinstance(head, Regression)]
    try:
        if "statistics" not in card and "training_ages" in card:  # version 0.1 had one regression at most
            ages = card["training_ages"]
            found = {name: Statistics(float(ages["mean_years"]), float(ages["std_years"])) for name in names}
        else:
            entries = card.get("statistics", {})
            found = {name: Statistics(float(entries[name]["mean"]), float(entries[name]["std"])) for name in names}
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CardError(
            f"{CARD_FILE} of {card.get('name')} needs the mean and the std of the training labels of "
            f"{', '.join(names)} under statistics: {type(error).__name__} {error}."
        ) from error
    for name, values in found.items():
        if not (abs(values.mean) <= LARGEST_LABEL and 0 < values.std <= LARGEST_LABEL):
            raise CardError(
                f"the training labels of {name} in {CARD_FILE} of {card.get('name')} have the mean {values.mean:g} and "
                f"the std {values.std:g}; expected numbers up to {LARGEST_LABEL:g}, and a std above 0."
            )
    return found


def _check_shapes(
    folder: Path, body: str, heads: Sequence[Head], statistics: Mapping[str, Statistics], image: ImageSettings
) -> None:
    """Compare the weights' names and shapes with those of the card's network before either takes memory."""
    shapes = _stored_shapes(folder / WEIGHTS_FILE)
    _check_heads(shapes, heads, folder)
    with Undrawn(), torch.device("meta"):  # layers that have shapes and no memory
        wanted = make_network(body, heads, statistics, image_size=image.size).state_dict()
    sizes = {name: tuple(value.shape) for name, value in wanted.items()}
    wrong = sorted(name for name in sizes.keys() | shapes.keys() if sizes.get(name) != shapes.get(name))
    if wrong:
        raise WeightsError(
            f"the weights in {folder} do not fit its card: {len(wanted)} layers of {body} are expected, {len(shapes)} "
            f"are stored, {len(wrong)} differ, first {wrong[0]}. {_SAME_RUN}"
        )


def _check_digest(folder: Path, card: Mapping[str, Any]) -> None:
    known = card.get("weights_sha256")  # version 0.1 had none
    if known is not None and digest_of(folder / WEIGHTS_FILE) != known:
        raise WeightsError(f"the weights in {folder} are not those that its card was written for. {_SAME_RUN}")


def _stored_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor from the file's header; no tensor is read."""
    with _opened(path) as (file, names):
        return {name: tuple(file.get_slice(stored).get_shape()) for name, stored in names.items()}


def _read(path: Path) -> dict[str, Tensor]:
    with _opened(path) as (file, names):
        state = {name: file.get_tensor(stored) for name, stored in names.items()}
    broken = [name for name, value in state.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        raise WeightsError(
            f"{path} holds values that are no numbers (NaN or infinite), first in {broken[0]}: no answer would mean "
            f"anything. Train again or restore the file."
        )
    return state


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, dict[str, str]]]:
    """Give an open weights file, and today's name of each tensor -> its name there."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise WeightsError(f"{path.parent} is incomplete: it has no {WEIGHTS_FILE}. Train again or restore the file.")
    try:
        with safe_open(path, framework="pt") as file:
            # Version 0.1 knew ages only, and wrote their unit into the name.
            yield file, {name.replace(".std_years", ".std"): name for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is damaged: {error}. Train again or restore the file.") from error


def _check_heads(shapes: Mapping[str, tuple[int, ...]], heads: Sequence[Head], folder: Path) -> None:
    """Compare the heads' outputs, which a sentence can say better than a list of layers."""
    layers = [re.fullmatch(r"heads\.(\w+)\.(\d+)\.weight", name) for name, shape in shapes.items() if len(shape) == 2]
    in_order = sorted(filter(None, layers), key=lambda layer: int(layer[2]))
    outputs = {layer[1]: shapes[layer[0]][0] for layer in in_order}  # the last layer of each head stays
    wanted = {head.name: head.output_count for head in heads}
    if outputs != wanted:
        raise WeightsError(
            f"the weights in {folder} do not fit its card: their heads have the outputs {outputs}, and the card says "
            f"{wanted}. {_SAME_RUN}"
        )
