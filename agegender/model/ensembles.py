"""Several networks that answer as one, and how they are kept: a model folder with model folders in it.

models/<name>/
  model.json            the ensemble's card; `members` names the folders below and the digests of their weights
  <member>/             each a whole model folder, which every command takes as well
  faces.parquet, …      as in any model folder

Of a training in folds the faces table says for each photo in which `fold` it is: the one member that was tested on that
fold has never seen it, neither in training nor to choose its epoch nor to be calibrated, and alone speaks of it.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agegender.data.faces_table import FacesTable, read_faces
from agegender.errors import CardError, UsageError, WeightsError
from agegender.heads import Classification, Head, Regression, head_to_dict
from agegender.heads.calibration import temperature_of
from agegender.model.checkpoint import digest_of, load_network, save_weights
from agegender.model.familiarity import ENTRY
from agegender.model.model_folder import (
    CARD_FILE,
    FACES_FILE,
    HISTORY_FILE,
    METRICS_FILE,
    PREDICTIONS_FILE,
    WEIGHTS_FILE,
    has_learnt_judging_photos,
    heads_of,
    image_of,
    read_card,
)
from agegender.model.network import decode
from agegender.model.unfinished import new_run_id
from agegender.settings import CROP_SETTINGS, VERSION, VOTES, ImageSettings
from agegender.writing import write_json

MOST_MEMBERS = 50
_LEAST_CHANCE = 1e-12  # whose logarithm is still a number
_MEMBER_FILES = (CARD_FILE, WEIGHTS_FILE, FACES_FILE, HISTORY_FILE, PREDICTIONS_FILE, METRICS_FILE)
_FOLDER_NAME = re.compile(r"\w[\w .()+-]*")


class EnsembleNetwork(nn.Module):
    """Networks with the same heads, as one network: it gives for each head what a single one would.

    With the vote "soft" distributions are averaged: probabilities of classes, each member's calibrated by its own
    temperature, and the distributions over the units of a number, so that the spread holds the members' disagreement
    as well (numbers without a distribution: their mean). With "hard" each member has one vote: the class that it says,
    ties settled by the mean probabilities, which count as one vote more; of numbers the median.

    Parameters
    ----------
    networks : sequence of FaceNetwork
    cards : sequence of dict
        Theirs, in the same order.
    """

    def __init__(self, networks: Sequence[nn.Module], cards: Sequence[dict[str, Any]], *, vote: str = VOTES[0]) -> None:
        super().__init__()
        self.members, self.cards, self.vote = nn.ModuleList(networks), list(cards), vote
        self.sources: dict[str, Path] = {}  # member -> the model folder that it lies in
        self.heads, self.image = common_heads(self.cards, vote), common_image(self.cards)
        self._places = [[head.name for head in heads_of(card)] for card in self.cards]
        self._member_heads = [{head.name: head for head in heads_of(card)} for card in self.cards]
        self._images = [image_of(card) for card in self.cards]
        self._temperatures = [
            {name: temperature_of((card.get("calibration") or {}).get(name) or {}) for name in names}
            for card, names in zip(self.cards, self._places, strict=True)
        ]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return one raw tensor per head, of images normalised as `image` says, float (N, 3, S, S)."""
        outputs = []
        for member, names, image in zip(self.members, self._places, self._images, strict=True):
            outputs.append(dict(zip(names, member(_as_seen(images, self.image, image)), strict=True)))
        return tuple(self._together(head, [one[head.name].float() for one in outputs]) for head in self.heads)

    def _together(self, head: Head, raw: Sequence[Tensor]) -> Tensor:
        if isinstance(head, Classification):
            scaled = [one / known[head.name] for one, known in zip(raw, self._temperatures, strict=True)]
            return _mean_distribution(scaled) if self.vote == "soft" else _majority(scaled)
        if head.answer_shape:
            return _mean_distribution(raw)
        pairs = zip(self._member_heads, raw, strict=True)
        numbers = torch.stack([decode(heads[head.name], one) for heads, one in pairs])
        return numbers.mean(dim=0) if self.vote == "soft" else _median(numbers)


def _mean_distribution(scores: Sequence[Tensor]) -> Tensor:
    """Return the logarithm of the mean of the distributions, which is as good as scores of it."""
    return torch.stack([one.softmax(dim=1) for one in scores]).mean(dim=0).clamp(min=_LEAST_CHANCE).log()


def _majority(scores: Sequence[Tensor]) -> Tensor:
    chances = torch.stack([one.softmax(dim=1) for one in scores])
    votes = (chances == chances.amax(dim=2, keepdim=True)).float().sum(dim=0)
    return ((votes + chances.mean(dim=0)) / (len(scores) + 1)).clamp(min=_LEAST_CHANCE).log()


def _median(numbers: Tensor) -> Tensor:
    in_order, count = numbers.sort(dim=0).values, len(numbers)
    return (in_order[(count - 1) // 2] + in_order[count // 2]) / 2


def _as_seen(images: Tensor, ours: ImageSettings, theirs: ImageSettings) -> Tensor:
    """Return normalised images in a member's size and normalisation."""
    if theirs.size != ours.size:
        # One photo, shrunk twice: within rounding what the member would see of it alone.
        images = F.interpolate(images, size=(theirs.size, theirs.size), mode="bilinear", antialias=True)
    if (ours.mean, ours.std) != (theirs.mean, theirs.std):
        mean, std, own_mean, own_std = (
            images.new_tensor(values).view(1, 3, 1, 1) for values in (ours.mean, ours.std, theirs.mean, theirs.std)
        )
        images = (images * std + mean - own_mean) / own_std
    return images


def common_heads(cards: Sequence[Mapping[str, Any]], vote: str = VOTES[0]) -> tuple[Head, ...]:
    """Return the heads of an ensemble, in the order of the first member.

    Raises
    ------
    UsageError
        The members have not the same heads.
    """
    first, *others = [{head.name: head for head in heads_of(card)} for card in cards]
    for card, heads in zip(cards[1:], others, strict=True):
        names = f"{cards[0]['name']} and {card['name']}"
        if heads.keys() != first.keys():
            raise UsageError(
                f"{names} do not fit together: one has the heads {', '.join(first)}, the other {', '.join(heads)}."
            )
        for name, head in heads.items():
            if _meaning(head) != _meaning(first[name]):
                one, other = _said(first[name]), _said(head)
                raise UsageError(f"{names} do not fit together: the head {name} is {one} in one, {other} in the other.")
    return tuple(_combined(head, [one[head.name] for one in (first, *others)], vote) for head in first.values())


def _combined(head: Head, of_members: Sequence[Head], vote: str) -> Head:
    has_distribution = all(one.answer_shape for one in of_members)
    if isinstance(head, Regression) and (vote == "hard" or not has_distribution):
        return replace(head, loss="smooth-l1", loss_settings=())  # a number alone, of which no distribution is known
    return head


def _meaning(head: Head) -> Head:
    """Return a head without what only training asks for."""
    if isinstance(head, Classification):
        return replace(head, loss="cross-entropy", loss_settings=(), weight=1.0)
    return replace(head, loss="smooth-l1", loss_settings=(), weight=1.0)


def _said(head: Head) -> str:
    if isinstance(head, Classification):
        return f"{head.column} as one of {', '.join(head.classes)}"
    by_median = " by its median" * (head.point == "median")
    return f"{head.column} as a number of {head.low:g} to {head.high:g} {head.unit}".rstrip() + by_median


def common_image(cards: Sequence[Mapping[str, Any]]) -> ImageSettings:
    """Return how an ensemble takes photos: as its member of the largest images does; crops must agree."""
    images = [image_of(card) for card in cards]
    for card, image in zip(cards[1:], images[1:], strict=True):
        pairs = {name: (getattr(images[0], name), getattr(image, name)) for name in CROP_SETTINGS}
        said = [f"{name} {one} in one, {other} in the other" for name, (one, other) in pairs.items() if one != other]
        if said:
            raise UsageError(
                f"{cards[0]['name']} and {card['name']} do not fit together: they were trained on faces that were cut "
                f"out otherwise ({'; '.join(said)})."
            )
    return max(images, key=lambda image: image.size)


def ensemble_entries(network: EnsembleNetwork, names: Sequence[str]) -> dict[str, Any]:
    """Return the part of a card from which `load_any` puts the ensemble together again."""
    bodies = [str(card["body"]) for card in network.cards]
    counted = ", ".join(f"{bodies.count(body)} × {body}" for body in dict.fromkeys(bodies))
    return {
        "body": f"ensemble of {counted}",
        "vote": network.vote,
        "members": [{"folder": name} for name in names],
        "heads": [head_to_dict(head) for head in network.heads],
        "image": asdict(network.image),
        ENTRY: network.cards[0].get(ENTRY) or {},  # coarse: the same for every image size
    }


def combined(folders: Sequence[Path], name: str, vote: str) -> tuple[EnsembleNetwork, dict[str, Any]]:
    """Return models that are there as one network, and its card, which is not calibrated yet.

    Raises
    ------
    UsageError
        They are fewer than two or more than `MOST_MEMBERS`, one stands twice, or they do not fit together.
    CardError, WeightsError
        One is damaged, or an ensemble itself.
    """
    if not 2 <= len(folders) <= MOST_MEMBERS:
        raise UsageError(f"an ensemble has 2 to {MOST_MEMBERS} models; {len(folders)} given.")
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise UsageError("a model is named twice: it would have two votes.")
    if vote not in VOTES:
        raise UsageError(f"--vote {vote}: choose of {', '.join(VOTES)}.")
    cards = [read_card(folder) for folder in folders]
    common_heads(cards), common_image(cards)  # before weights are read
    networks = [load_network(folder)[0] for folder in folders]
    network = EnsembleNetwork(networks, cards, vote=vote).eval()
    plain = [re.sub(r"[^\w .()+-]|^\W+", "-", folder.resolve().name).lstrip("- .") or "member" for folder in folders]
    names = [one if plain.count(one) == 1 else f"{one}-{number}" for number, one in enumerate(plain, start=1)]
    network.sources = dict(zip(names, folders, strict=True))
    card = {
        "name": name, "created": datetime.now(UTC).isoformat(timespec="seconds"), "agegender_version": VERSION,
        "run_id": new_run_id(), **ensemble_entries(network, names), "calibration": {},
    }  # fmt: skip
    if len(set(names)) < len(names):
        raise UsageError(f"the models cannot be told apart by their folders: {', '.join(names)}. Rename one.")
    return network, card


def shared_faces(folders: Sequence[Path], images: Path | None = None) -> FacesTable | None:
    """Return the faces table that all of these models were trained with, with the same splits; None where none is.

    Its calibrating half and its test photos are then unseen by each of them.
    """
    cards = [read_card(folder) for folder in folders]
    prints = {card.get("faces_fingerprint") for card in cards}
    place = folders[0] / FACES_FILE
    if len(prints) > 1 or None in prints or not place.is_file() or any(map(has_learnt_judging_photos, cards)):
        return None
    faces = read_faces(place, root=images)
    return faces if faces.fingerprint() in prints else None


def load_any(folder: Path) -> tuple[nn.Module, dict[str, Any]]:
    """Return the network of a model folder, or of an ensemble's, and its card."""
    card = read_card(folder)
    if card.get("members") is None:
        return load_network(folder)
    return _load_ensemble(folder, card), card


def _load_ensemble(folder: Path, card: dict[str, Any]) -> EnsembleNetwork:
    names = [str(entry["folder"]) for entry in card["members"]]
    if not (1 <= len(names) <= MOST_MEMBERS and len(set(names)) == len(names) and all(map(_is_inside, names))):
        raise CardError(f"the members in {folder / CARD_FILE} are no list of 1 to {MOST_MEMBERS} folders in it.")
    networks, cards = [], []
    for name, entry in zip(names, card["members"], strict=True):
        try:
            network, member_card = load_network(folder / name)
        except (CardError, WeightsError) as error:
            raise type(error)(f"the ensemble {folder} cannot answer without its member {name}: {error}") from error
        if entry.get("weights_sha256") not in (None, digest_of(folder / name / WEIGHTS_FILE)):
            raise WeightsError(f"the member {name} of the ensemble {folder} is another one than its card was made for.")
        networks.append(network)
        cards.append(member_card)
    vote = card.get("vote")
    try:
        ensemble = EnsembleNetwork(networks, cards, vote=vote if vote in VOTES else VOTES[0])
    except UsageError as error:
        raise CardError(f"the ensemble {folder} cannot be put together: {error}") from error
    if tuple(map(_meaning, heads_of(card))) != tuple(map(_meaning, ensemble.heads)):
        raise CardError(f"the heads in {folder / CARD_FILE} are not those of its members. Restore the file.")
    ensemble.sources = {name: folder / name for name in names}
    card |= {"heads": [head_to_dict(head) for head in ensemble.heads], "image": asdict(ensemble.image)}
    return ensemble.eval()


def _is_inside(name: str) -> bool:
    return _FOLDER_NAME.fullmatch(name) is not None


def write_members(new: Path, network: EnsembleNetwork, card: dict[str, Any]) -> None:
    """Write an ensemble's card and its members' folders into a folder."""
    for number, entry in enumerate(card["members"]):
        place, source = new / entry["folder"], network.sources.get(entry["folder"])
        place.mkdir()
        if source is None:
            member_card = network.cards[number]
            save_weights(network.members[number], place / WEIGHTS_FILE)  # type: ignore[arg-type]
            member_card["weights_sha256"] = digest_of(place / WEIGHTS_FILE)
            write_json(place / CARD_FILE, member_card)
        else:
            for name in _MEMBER_FILES:
                if (source / name).is_file():
                    _link_or_copy(source / name, place / name)
        entry["weights_sha256"] = digest_of(place / WEIGHTS_FILE)
    write_json(new / CARD_FILE, card)


def _link_or_copy(source: Path, place: Path) -> None:
    try:
        os.link(source, place)  # files are replaced here and never changed, so that two names do no harm
    except OSError:
        shutil.copyfile(source, place)
