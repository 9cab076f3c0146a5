"""What a search chooses between, and by what it judges: parsed and checked without torch.

A dimension is a range, `learning_rate=1e-4..1e-2:log`, or a list, `image_size=64,96`; a list whose values have commas
in them is divided by semicolons.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.util import find_spec
from typing import Any, Literal, get_args, get_origin, get_type_hints

from agegender.errors import MissingExtraError, UsageError, did_you_mean
from agegender.settings import LARGEST_IMAGE_SIZE, LEAST_TRAINED_SIZE, SIZES
from agegender.training_settings import TrainingSettings, check_limits

# What says where and how a run computes, and not what it learns; and the seed, which all trials share.
_FIXED = ("device", "precision", "seed")
_OF_NETWORK: dict[str, tuple[Any, dict[str, Any]]] = {
    "image_size": (int, {"least": LEAST_TRAINED_SIZE, "most": LARGEST_IMAGE_SIZE}),
    "body": (str, {}),
    "size": (str, {"choices": tuple(SIZES)}),
}
# With these, an epoch of one trial says little against the same epoch of another.
_CHANGE_COURSE = ("epochs", "progressive", "stages")
_MEASURES = ("mae", "accuracy")


@dataclass(frozen=True)
class Dimension:
    """A setting, and a range or a list for it."""

    name: str
    low: float = 0
    high: float = 0
    is_log: bool = False
    is_whole: bool = False
    values: tuple[Any, ...] = ()  # of a list; a setting of several words has them joined by "+"

    def suggested(self, trial: Any) -> Any:
        """Return what an optuna trial is to take."""
        if self.values:
            return trial.suggest_categorical(self.name, list(self.values))
        suggest = trial.suggest_int if self.is_whole else trial.suggest_float
        return suggest(self.name, self.low, self.high, log=self.is_log)

    def __str__(self) -> str:
        """Return it in one spelling, however it was given."""
        if self.values:
            return f"{self.name}={';'.join(map(str, self.values))}"
        return f"{self.name}={self.low:g}..{self.high:g}{':log' if self.is_log else ''}"


@dataclass(frozen=True)
class Objective:
    """What trials are judged by: a column of a training's history, and its direction for optuna."""

    name: str = "loss"

    @property
    def column(self) -> str:
        """The column of the history."""
        return "valid_loss" if self.name == "loss" else f"valid_{self.name.replace('.', '_')}"

    @property
    def direction(self) -> Literal["minimize", "maximize"]:
        """`minimize` or `maximize`."""
        return "maximize" if self.name.endswith(".accuracy") else "minimize"

    @property
    def words(self) -> str:
        """What it is, and which way is better."""
        what = "validation loss" if self.name == "loss" else f"validation {self.name}"
        return f"{what}, {'lower' if self.direction == 'minimize' else 'higher'} is better"


def parse_objective(text: str) -> Objective:
    """Return what --objective names.

    >>> parse_objective("gender.accuracy").column, parse_objective("age.mae").words
    ('valid_gender_accuracy', 'validation age.mae, lower is better')
    """
    head, _, measure = text.rpartition(".")
    if text != "loss" and not (head and measure in _MEASURES):
        hint = did_you_mean(text if not head else measure, ("loss", *_MEASURES))
        raise UsageError(
            f"--objective {text}: give loss, or HEAD.mae of a number and HEAD.accuracy of a class, such as age.mae."
            f"{hint}"
        )
    return Objective(text)


def check_measured(objective: Objective, heads: Mapping[str, bool]) -> None:
    """Refuse a measure that no head has; `heads` says of each by name whether it predicts a number."""
    head, _, measure = objective.name.rpartition(".")
    if not head:
        return
    if head not in heads:
        raise UsageError(
            f"--objective {objective.name}: no head {head} is trained; there are {', '.join(heads)}."
            f"{did_you_mean(head, heads)}"
        )
    if (measure == "mae") != heads[head]:
        raise UsageError(f"--objective {objective.name}: give {head}.{'mae' if heads[head] else 'accuracy'}.")


def parse_space(given: Mapping[str, str | Sequence[Any]]) -> tuple[Dimension, ...]:
    """Return the dimensions of names and their ranges or lists.

    >>> [str(one) for one in parse_space({"learning-rate": "1e-4..1e-2:log", "ema": [None, 0.99]})]
    ['learning_rate=0.0001..0.01:log', 'ema=None;0.99']
    """
    if not given:
        raise UsageError("a search needs something to choose between, such as learning_rate=1e-4..1e-2:log.")
    space = tuple(_dimension(name.replace("-", "_"), wanted) for name, wanted in given.items())
    if {"body", "size"} <= {one.name for one in space}:
        raise UsageError("--search: a size is a body by another name; search body or size.")
    return space


def _dimension(name: str, given: str | Sequence[Any]) -> Dimension:
    kinds = get_type_hints(TrainingSettings)
    known = {one.name: (kinds[one.name], dict(one.metadata)) for one in fields(TrainingSettings)} | _OF_NETWORK
    del known["track"]  # trials are not sent anywhere
    if name in _FIXED:
        raise UsageError(f"--search {name}: it is the same in all trials. Give it as --{name}.")
    if name not in known:
        searchable = [one for one in known if one not in _FIXED]
        raise UsageError(f"--search {name}: there is no such setting.{did_you_mean(name, searchable)}")
    kind, limits = known[name]
    if isinstance(given, str) and ".." in given:
        dimension = _range(name, given, kind)
        tried: tuple[Any, ...] = (dimension.low, dimension.high)
    else:
        dimension = Dimension(name, values=_listed(name, given, kind))
        tried = dimension.values
    for value in tried:
        if value not in (None, ""):
            check_limits(name, value, limits)
    return dimension


def _range(name: str, text: str, kind: Any) -> Dimension:
    own = _kind_of(kind)
    if own not in (int, float):
        raise UsageError(f"--search {name}={text}: {name} is no number; list its values, divided by commas.")
    found = re.fullmatch(r"(.+?)\.\.(.+?)(:log)?", text)
    try:
        low, high = (own(end) for end in found.groups()[:2]) if found else (own(""), own(""))
    except ValueError:
        wanted = "1..4" if own is int else "1e-4..1e-2 or 1e-4..1e-2:log"
        raise UsageError(f"--search {name}={text} is no range of {_words(own)}, such as {wanted}.") from None
    if not low < high:
        raise UsageError(f"--search {name}={text}: a range goes from a lower number to a higher one.")
    is_log = bool(found and found[3])
    if is_log and low <= 0:
        raise UsageError(f"--search {name}={text}: a range with :log begins above 0.")
    return Dimension(name, low, high, is_log, is_whole=own is int)


def _listed(name: str, given: str | Sequence[Any], kind: Any) -> tuple[Any, ...]:
    if isinstance(given, str):
        texts = [part.strip() for part in given.split(";" if ";" in given else ",")]
    else:
        texts = ["+".join(one) if isinstance(one, (list, tuple)) else str(one) for one in given]
    values = tuple(_value(name, text, kind) for text in texts)
    if len(set(values)) < max(2, len(values)):
        raise UsageError(f"--search {name}={','.join(texts)}: list at least two values, each once, or give a range.")
    return values


def _value(name: str, text: str, kind: Any) -> Any:
    own, is_none = _kind_of(kind), text.lower() in ("none", "")
    if is_none and type(None) in get_args(kind):
        return None
    if is_none and (get_origin(kind) is tuple or name == "progressive"):
        return ""
    if own is bool and text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        if own is bool:
            raise ValueError
        return own(text)
    except ValueError:
        raise UsageError(f"--search {name}: {text!r} is none of the {_words(own)} that it takes.") from None


def _kind_of(kind: Any) -> Any:
    """Return the type of one value: that of a tuple's parts, or of what may also be None."""
    return (get_args(kind) or (kind,))[0]


def _words(own: type) -> str:
    return {int: "whole numbers", float: "numbers", bool: "words true and false"}.get(own, "words")


def keywords_of(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a trial as keywords of `Model.train`."""
    several = {one.name for one in fields(TrainingSettings) if one.default == ()}
    return {
        name: tuple(part for part in str(value).split("+") if part) if name in several else value
        for name, value in parameters.items()
    }


def check_space(space: Sequence[Dimension], objective: Objective) -> None:
    """Refuse a search by a loss that is not the same measure in all trials."""
    # What validates has fixed weights and no auxiliary heads (`CombinedLoss`), whatever a trial learns by.
    if objective.name == "loss" and any(one.name == "relabel" for one in space):
        raise UsageError(
            "with relabel searched, the losses of two trials count in other units and class weights: judge by one "
            "head, such as --objective age.mae."
        )


def can_prune(space: Sequence[Dimension], progressive: str) -> bool:
    """Say whether the same epoch of two trials can be compared."""
    return not progressive and not any(one.name in _CHANGE_COURSE for one in space)


def check_search_extra() -> None:
    """Refuse to search where optuna is not installed."""
    if find_spec("optuna") is None:
        raise MissingExtraError('--search needs the extra search: pip install "agegender[search]".')
