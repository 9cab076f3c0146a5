"""How a network goes to disk and comes back: safetensors and a card, never a pickle.

The card holds what is needed to build the same layers again; the weights must fit it to the last name and shape.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from agegender.errors import CardError, WeightsError
from agegender.heads import Head, Regression
from agegender.model.model_folder import CARD_FILE, WEIGHTS_FILE, heads_of, image_of, read_card
from agegender.model.network import FaceNetwork, Statistics, make_network
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
    heads, image = heads_of(card), image_of(card)
    statistics = card_statistics(card, heads)
    state = _read(folder / WEIGHTS_FILE)
    _check_heads(state, heads, folder)
    network = make_network(card["body"], heads, statistics, image_size=image.size)
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


def card_statistics(card: Mapping[str, Any], heads: Sequence[Head]) -> dict[str, Statistics]:
    """Return mean and spread of the training labels of each regression that a card describes.

    Raises
    ------
    CardError
        They are missing or cannot be understood.
    """
    names = [head.name for head in heads if isinstance(head, Regression)]
    try:
        if "statistics" not in card and "training_ages" in card:  # version 0.1 had one regression at most
            ages = card["training_ages"]
            return {name: Statistics(float(ages["mean_years"]), float(ages["std_years"])) for name in names}
        entries = card.get("statistics", {})
        return {name: Statistics(float(entries[name]["mean"]), float(entries[name]["std"])) for name in names}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CardError(
            f"{CARD_FILE} of {card.get('name')} needs the mean and the std of the training labels of "
            f"{', '.join(names)} under statistics: {type(error).__name__} {error}."
        ) from error


def _read(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise WeightsError(f"{path.parent} is incomplete: it has no {WEIGHTS_FILE}. Train again or restore the file.")
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is damaged: {error}. Train again or restore the file.") from error
    # Version 0.1 knew ages only, and wrote their unit into the name.
    return {name.replace(".std_years", ".std"): value for name, value in state.items()}


def _check_heads(state: Mapping[str, Tensor], heads: Sequence[Head], folder: Path) -> None:
    """Compare the heads' outputs before a body, which may be large, is built."""
    layers = [re.fullmatch(r"heads\.(\w+)\.(\d+)\.weight", name) for name, value in state.items() if value.ndim == 2]
    in_order = sorted(filter(None, layers), key=lambda layer: int(layer[2]))
    outputs = {layer[1]: len(state[layer[0]]) for layer in in_order}  # the last layer of each head stays
    wanted = {head.name: head.output_count for head in heads}
    if outputs != wanted:
        raise WeightsError(
            f"the weights in {folder} do not fit its card: their heads have the outputs {outputs}, and the card says "
            f"{wanted}. {CARD_FILE} and {WEIGHTS_FILE} must come from the same run."
        )


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
