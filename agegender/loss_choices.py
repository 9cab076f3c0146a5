"""The losses that heads can be trained with: names, settings, limits, words. Imports nothing heavy, as `--help` needs.

A loss is written LOSS or LOSS:setting=value,setting=value; its formulas are in `model/losses.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from agegender.errors import UsageError, did_you_mean

LossSettings = tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class LossSetting:
    """A number that a loss can be given, its usual value and its limits, both allowed."""

    usual: float
    least: float
    most: float
    words: str


@dataclass(frozen=True)
class LossChoice:
    """What a head can be trained with.

    Attributes
    ----------
    has_grid : bool
        Whether the head gives scores of the whole units of a grid, and not one number.
    weight : float
        The head's share in the combined loss where nobody says otherwise.
    """

    settings: Mapping[str, LossSetting] = field(default_factory=dict)
    words: str = ""
    has_grid: bool = False
    weight: float = 1.0


_SIGMA = LossSetting(2.0, 0.1, 50.0, "width of the label's distribution, in whole units")
_LAMBDA = LossSetting(1.0, 0.0, 100.0, "share of the L1 loss of the expectation")
_OF_CLASSES = {
    "balanced": LossSetting(0.0, 0.0, 2.0, "exponent of the inverse frequency that weighs each class"),
    "smoothing": LossSetting(0.0, 0.0, 0.9, "share of a label that is spread over all classes"),
}
# The first of each kind is the usual one. At equal shares classes take most of the body and one number is learnt late,
# so numbers ask for more. Distributions have losses of a class's size; DLDL-v2's and mean-variance's other parts count
# in the unit itself, years, and are tens at the start.
REGRESSION_LOSSES: Mapping[str, LossChoice] = {
    "soft-labels": LossChoice({"sigma": _SIGMA}, "a distribution, whose mean is the answer", has_grid=True),
    "smooth-l1": LossChoice({"beta": LossSetting(0.2, 0.001, 10.0, "of the labels' spread")}, weight=4.0),
    "l1": LossChoice(weight=4.0),
    "mse": LossChoice(weight=4.0),
    "huber": LossChoice({"delta": LossSetting(0.5, 0.001, 10.0, "of the labels' spread")}, weight=4.0),
    "cross-entropy": LossChoice(words="over years", has_grid=True),
    "dldl-v2": LossChoice({"sigma": _SIGMA, "lambda": _LAMBDA}, has_grid=True, weight=0.2),
    "mean-variance": LossChoice(
        {
            "mean": LossSetting(0.2, 0.0, 100.0, "share of the mean's loss"),
            "variance": LossSetting(0.05, 0.0, 100.0, "share of the variance's loss"),
        },
        has_grid=True,
        weight=0.05,
    ),
}  # fmt: skip
CLASSIFICATION_LOSSES: Mapping[str, LossChoice] = {
    "cross-entropy": LossChoice(_OF_CLASSES),
    "focal": LossChoice({"gamma": LossSetting(2.0, 0.0, 10.0, "how little easy photos count"), **_OF_CLASSES}),
}


def parse_loss(text: str, losses: Mapping[str, LossChoice], head: str) -> tuple[str, LossSettings]:
    """Return a loss and its unusual settings, by name.

    >>> parse_loss("focal:gamma=1,balanced=0", CLASSIFICATION_LOSSES, "gender")
    ('focal', (('gamma', 1.0),))
    """
    name, colon, rest = text.partition(":")
    if name not in losses:
        raise UsageError(
            f"the head {head!r} has no loss {name!r}; it has {', '.join(losses)}.{did_you_mean(name, losses)}"
        )
    given: dict[str, float] = {}
    for part in rest.split(",") if colon else ():
        setting, _, value = part.partition("=")
        try:
            number = float(value)
        except ValueError:
            raise UsageError(
                f"--loss {head}={text}: {part!r} is no setting=number. {_settings_words(name, losses[name])}"
            ) from None
        if setting in given:
            raise UsageError(f"--loss {head}={text}: {setting} is given twice.")
        given[setting] = number
    problem = settings_problem(name, losses[name], given)
    if problem:
        raise UsageError(f"--loss {head}={text}: {problem}")
    return name, unusual(losses[name], given)


def settings_problem(name: str, loss: LossChoice, given: Mapping[str, float]) -> str:
    """Return what is wrong with settings of a loss; "" where nothing is."""
    for setting, value in given.items():
        known = loss.settings.get(setting)
        if known is None:
            return _settings_words(name, loss) + did_you_mean(setting, loss.settings)
        if not known.least <= value <= known.most:
            return f"{setting} of {name} is {value:g}; it must be {known.least:g} to {known.most:g}."
    return ""


def unusual(loss: LossChoice, given: Mapping[str, float]) -> LossSettings:
    """Return the settings that are not the usual ones, in the order of the loss."""
    usual = {setting: known.usual for setting, known in loss.settings.items()}
    return tuple(
        (setting, float(given[setting])) for setting in usual if given.get(setting, usual[setting]) != usual[setting]
    )


def all_settings(loss: LossChoice, given: LossSettings) -> dict[str, float]:
    """Return every setting of a loss, the usual ones included."""
    return {setting: known.usual for setting, known in loss.settings.items()} | dict(given)


def losses_words(losses: Mapping[str, LossChoice]) -> str:
    """Return the losses of a kind in one line, with what can be set of each.

    >>> losses_words(CLASSIFICATION_LOSSES)
    'cross-entropy[:balanced=0,smoothing=0], focal[:gamma=2,balanced=0,smoothing=0]'
    """
    return ", ".join(
        _with_settings(name, loss) + f" ({loss.words})" * bool(loss.words) for name, loss in losses.items()
    )


def _with_settings(name: str, loss: LossChoice) -> str:
    usual = ",".join(f"{setting}={known.usual:g}" for setting, known in loss.settings.items())
    return f"{name}[:{usual}]" if usual else name


def _settings_words(name: str, loss: LossChoice) -> str:
    if not loss.settings:
        return f"{name} has no settings."
    said = (f"{setting} ({known.words}, {known.least:g} to {known.most:g})" for setting, known in loss.settings.items())
    return f"{name} has the settings {', '.join(said)}."
