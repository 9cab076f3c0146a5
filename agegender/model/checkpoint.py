"""Owns how a network goes to disk and comes back: safetensors and a card, never a pickle.

The card holds what is needed to build the same layers again; the weights must fit it to the last name and shape.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from agegender.errors import CardError, WeightsError
from agegender.model.face_network import AgeStatistics, FaceNetwork, make_network
from agegender.model.model_folder import CARD_FILE, WEIGHTS_FILE, read_card
from agegender.settings import Head, ImageSettings
from agegender.writing import current_umask


def save_weights(network: FaceNetwork, path: Path) -> None:
    """Write the network's weights as safetensors, in plain row-major order on the CPU."""
    from safetensors.torch import save_file

    state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    save_file(state, path)
    path.chmod(0o666 & ~current_umask())  # safetensors makes files that only their owner can read


def load_network(folder: Path) -> tuple[FaceNetwork, dict[str, Any]]:
    """Build the network of a model folder and fill in its weights.

    Returns
    -------
    network : FaceNetwork
        In evaluation mode, on the CPU.
    card : dict

    Raises
    ------
    CardError
        The card is missing or cannot be understood.
    WeightsError
        The weights are missing, or do not fit the card.
    """
    card = read_card(folder)
    heads, image, ages = heads_of(card), image_of(card), _ages_of(card)
    state = _read(folder / WEIGHTS_FILE)
    network = make_network(card["body"], heads, ages, image_size=image.size)
    _fill(network, state, folder)
    return network.eval(), card


def continue_from(network: FaceNetwork, folder: Path) -> None:
    """Start a network from the weights of a model folder: its whole body, and those heads that fit.

    Raises
    ------
    WeightsError
        The weights are missing, or belong to another body.
    """
    state, wanted = _read(folder / WEIGHTS_FILE), network.state_dict()
    fitting = {name: value for name, value in state.items() if name in wanted and wanted[name].shape == value.shape}
    lacking = [name for name in wanted if name.startswith("body.") and name not in fitting]
    if lacking:
        raise WeightsError(
            f"the weights in {folder} belong to another body: {len(lacking)} of its layers are missing or of another "
            f"shape, first {lacking[0]}. Name the same --size or --body."
        )
    network.load_state_dict(fitting, strict=False)


def heads_of(card: dict[str, Any]) -> tuple[Head, ...]:
    """Return the heads that a card describes.

    Raises
    ------
    CardError
        An entry is missing or unknown.
    """
    try:
        return tuple(Head(**{**head, "classes": tuple(head.get("classes", ()))}) for head in card["heads"])
    except (TypeError, AttributeError) as error:
        raise CardError(f"the heads in {CARD_FILE} of {card.get('name')} cannot be understood: {error}.") from error


def image_of(card: dict[str, Any]) -> ImageSettings:
    """Return how the model of a card wants its photos.

    Raises
    ------
    CardError
        An entry is missing or unknown.
    """
    try:
        entries: dict[str, Any] = card["image"]
        return ImageSettings(**{**entries, "mean": tuple(entries["mean"]), "std": tuple(entries["std"])})
    except (KeyError, TypeError, ValueError) as error:
        raise CardError(f"image in {CARD_FILE} of {card.get('name')} cannot be understood: {error}.") from error


def network_entries(heads: tuple[Head, ...], image: ImageSettings, ages: AgeStatistics, body: str) -> dict[str, Any]:
    """Return the part of a card from which `load_network` builds the layers again."""
    return {
        "body": body,
        "heads": [asdict(head) for head in heads],
        "image": asdict(image),
        "training_ages": asdict(ages),
    }


def _ages_of(card: dict[str, Any]) -> AgeStatistics:
    try:
        return AgeStatistics(**card.get("training_ages", {}))
    except TypeError as error:
        raise CardError(f"training_ages in {CARD_FILE} of {card.get('name')} cannot be understood: {error}.") from error


def _read(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise WeightsError(f"{path.parent} is incomplete: it has no {WEIGHTS_FILE}. Train again or restore the file.")
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is damaged: {error}. Train again or restore the file.") from error


def _fill(network: FaceNetwork, state: dict[str, Tensor], folder: Path) -> None:
    wanted = network.state_dict()
    wrong = sorted(
        name
        for name in wanted.keys() | state.keys()
        if name not in wanted or name not in state or wanted[name].shape != state[name].shape
    )
    if wrong:
        raise WeightsError(
            f"the weights in {folder} do not fit its card: {len(wrong)} of {len(wanted)} layers differ, "
            f"first {wrong[0]}. {CARD_FILE} and {WEIGHTS_FILE} must come from the same run."
        )
    network.load_state_dict(state)
