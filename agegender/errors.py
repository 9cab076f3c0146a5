"""Everything that a user can get wrong, as one tree. Commands turn it into one line and exit code 2.

    AgeGenderError
    ├── UsageError            options that cannot work together, or a value out of range
    ├── DataError
    │   ├── FolderError       a folder that is missing, empty or of the wrong kind
    │   ├── PhotoError        a photo that cannot be read
    │   └── TableError        a table without the columns or values that it needs
    ├── ModelError
    │   ├── DivergedError     a training whose loss stopped being a number
    │   ├── OutOfMemoryError  a step of training that does not fit into memory
    │   ├── WeightsError      weights that cannot be had or do not fit
    │   └── CardError         a model folder that is incomplete or contradicts itself
    ├── OutputError           a result that cannot be written
    ├── ProcessEndedError     another process of a training in several is gone
    ├── ShardError            a part of a large prediction that no worker could compute
    ├── TrainingStopped       no error: a training that was to stop here, and can go on
    └── MissingExtraError     an optional package that is not installed

A message says what happened, where, what was expected and what to do next. A bug is not in this tree: it keeps its
traceback.
"""

from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches
from itertools import takewhile
from pathlib import Path


class AgeGenderError(Exception):
    """Base of all errors that are the input's fault, not the program's."""


class UsageError(AgeGenderError):
    """Options that cannot work together, or a value out of range."""


class DataError(AgeGenderError):
    """Something about the photos or labels."""


class FolderError(DataError):
    """A folder that is missing, empty or of the wrong kind."""


class PhotoError(DataError):
    """A photo that cannot be read."""


class TableError(DataError):
    """A table without the columns or values that it needs."""


class ModelError(AgeGenderError):
    """Something about a model folder."""


class DivergedError(ModelError):
    """A training whose loss stopped being a number."""


class OutOfMemoryError(ModelError):
    """A step of training that does not fit into memory."""


class WeightsError(ModelError):
    """Weights that cannot be had or do not fit."""


class CardError(ModelError):
    """A model folder that is incomplete or contradicts itself."""


class OutputError(AgeGenderError):
    """A result that cannot be written."""


class ShardError(AgeGenderError):
    """A part of a large prediction that no worker could compute."""


class ProcessEndedError(AgeGenderError):
    """Another process of a training in several is gone."""

    def __init__(self) -> None:
        super().__init__(str(self))  # fastai reads the first argument of whatever ends a callback

    def __str__(self) -> str:
        """Return the same words wherever it is noticed: fastai puts the place before those of an error."""
        return (
            "another process of this run has ended or cannot be reached, or torchrun was told to stop, so this one "
            "ends too."
        )


class TrainingStopped(AgeGenderError):  # noqa: N818 (nothing went wrong)
    """A training that was to stop after so many epochs or minutes.

    Attributes
    ----------
    folder : Path
        The unfinished run; `Model.resume` goes on with it.
    epoch, epochs : int
        How many are done, of how many.
    """

    def __init__(self, folder: Path, epoch: int, epochs: int, more: str) -> None:
        super().__init__(f"stopped after epoch {epoch} of {epochs}, as asked. {more}")
        self.folder, self.epoch, self.epochs = folder, epoch, epochs


class MissingExtraError(AgeGenderError):
    """An optional package that is not installed."""


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Return " Did you mean …?" with the nearest of the known names, or an empty text where none is near.

    >>> did_you_mean("ethnicty", ["gender", "ethnicity"]), did_you_mean("shoes", ["gender", "ethnicity"])
    (' Did you mean ethnicity?', '')
    """
    spelled = {name.lower(): name for name in map(str, known)}
    near = get_close_matches(given.lower(), spelled)
    # Of names as near as each other the one that begins alike: resnet34 for resnet35, and not resnet50.
    best = max(near, key=lambda name: _likeness(name, given.lower()), default="")
    return f" Did you mean {spelled[best]}?" if best else ""


def _likeness(name: str, given: str) -> tuple[float, int]:
    begins_alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(name, given, strict=False)))
    return SequenceMatcher(None, given, name).ratio(), begins_alike
