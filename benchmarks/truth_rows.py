"""The rows of `truth.py`: what is promised, how one trial of it goes, and when the promise holds.

A trial gets a generator, the labels and its number, and returns figures: `ours`, those of the alternatives under their
names, and others that stand beside them. A row is judged by the means over its trials.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from math import inf

import numpy as np
from scipy.stats import binom
from truth_tables import Labels

Trial = Callable[[np.random.Generator, Labels, int], dict[str, float]]


_POWER = "Planted gaps that are found"


@dataclass(frozen=True)
class Promise:
    """Between which ends the mean of `ours` stays; a rare event may also exceed its rate as chance does.

    `most` names another figure that must not be exceeded, and its end.
    """

    low: float = -inf
    high: float = inf
    is_rare: bool = False
    most: tuple[str, float] | None = None

    def holds(self, means: Mapping[str, float], trials: int) -> bool:
        """Return whether means over so many trials keep the promise."""
        if self.most and means[self.most[0]] > self.most[1]:
            return False
        if self.is_rare:
            return round(means["ours"] * trials) <= most_by_chance(trials, self.high)
        return self.low - 1e-9 <= means["ours"] <= self.high + 1e-9

    def words(self, unit: str) -> str:
        """Return the promise as the table has it."""
        factor, name = (100.0, "%") if unit == "share" else (1.0, unit)
        low, high = (f"{factor * end:g}" for end in (self.low, self.high))
        more = f", {self.most[0]} at most {100 * self.most[1]:g} %" if self.most else ""
        if self.low == -inf:
            return f"at most {high} {name}{more}"
        return f"at least {low} {name}{more}" if self.high == inf else f"{low} to {high} {name}{more}"


WIDTH = "width by that of 0.1"
RARE = Promise(high=0.05, is_rare=True)


@dataclass(frozen=True)
class Row:
    """One promise.

    Attributes
    ----------
    name : str
        For `--only`.
    part : str
        The heading that it stands under.
    title : str
        What is measured.
    promise : Promise or None
    trials, quick_trials : int
    trial : callable
        (generator, labels, number) -> figures.
    unit : str
        Of `ours` and of every figure that names no unit of its own; shares are 0..1.
    """

    name: str
    part: str
    title: str
    promise: Promise | None
    trials: int
    quick_trials: int
    trial: Trial
    unit: str = "share"


def most_by_chance(trials: int, rate: float = 0.05) -> int:
    """Return the count that a true rate of 5 % exceeds in at most 5 of 100 cases.

    >>> most_by_chance(400), most_by_chance(200), most_by_chance(100)
    (27, 15, 9)
    """
    return int(binom.ppf(0.95, trials, rate))


def _later(module: str, function: str, *arguments: object) -> Trial:
    # torch and the audit are loaded by those rows alone that need them.
    return partial(_call, module, function, arguments)


def _call(
    module: str,
    function: str,
    arguments: tuple[object, ...],
    generator: np.random.Generator,
    labels: Labels,
    number: int,
) -> dict[str, float]:
    return getattr(import_module(module), function)(*arguments, generator, labels, number)


def _audit_rows() -> Iterator[Row]:
    part = "Claims where there is nothing"
    trial = _later("truth_audits", "null_trial", "true_null")
    yield Row("true_null", part, "errors look at no label", RARE, 400, 6, trial)
    trial = _later("truth_audits", "null_trial", "any_size")
    yield Row("conditional_null", part, "errors depend on age alone; claims beyond age", RARE, 200, 4, trial)
    dependent = {
        "four_photos": "4 photos a person, ICC 0.5",
        "seven_photos": "7 photos a person, masks, ICC 0.6",
        "twins": "20 % of the photos stand twice",
    }
    for name, title in dependent.items():
        yield Row(name, part, title, RARE, 100, 3, _later("truth_audits", "null_trial", name))
    for name, title in dependent.items():
        trial, words = _later("truth_audits", "untold_trial", name), f"{title}, and the table does not say so"
        yield Row(f"{name}_untold", part, words, None, 100, 2, trial)
    trial = _later("truth_audits", "bands_trial")
    yield Row("five_year_bands", part, "errors look at no label; bands of five years besides", RARE, 100, 3, trial)
    trial = _later("truth_audits", "age_check_trial")
    yield Row("age_checks", part, "age checks, errors depend on age alone; any group claimed", RARE, 100, 4, trial)
    trial = _later("truth_audits", "compare_trial")
    yield Row("compare", part, "two models, equally good; any group claimed by any score", RARE, 100, 4, trial)


def _power_rows() -> Iterator[Row]:
    planted = {
        "shift": (0.70, "2 years too old, 100 of 1,200"),
        "gender": (0.55, "10 points less accurate, 100 of 1,200"),
        "scale": (0.88, "2 years more of absolute error, 100 of 1,200"),
        "intersection": (0.70, "4 years more among 100 women over 60 of one ethnicity"),
    }
    for what, (share, title) in planted.items():
        trial = _later("truth_audits", "power_trial", what)
        yield Row(what, _POWER, title, Promise(low=share), 100, 3, trial)
    for years in (2.0, 4.0):
        title = f"age check: minors among women judged {years:.0f} years older, 10,000 rows"
        trial = _later("truth_audits", "age_check_power_trial", years)
        yield Row(f"age_check_{years:.0f}", _POWER, title, None, 100, 3, trial)


def _interval_rows() -> Iterator[Row]:
    part, promise = "95 % intervals that miss the truth", Promise(high=0.065)
    for n in (1_000, 3_000, 10_000):
        title = f"gaps at equal ages, {n:,} rows, errors depend on age alone"
        yield Row(f"adjusted_{n}", part, title, promise, 400, 3, _later("truth_audits", "adjusted_trial", n))
    for n in (10, 30, 100):
        trial = _later("truth_audits", "level_trial", n)
        yield Row(f"means_{n}", part, f"means of {n} rows", promise if n >= 30 else None, 80, 4, trial)


def _age_rows() -> Iterator[Row]:
    part, promise = "Fits whose 90 % age intervals cover 87 to 93 % of every group", Promise(0.9, most=(WIDTH, 1.05))
    titles = {
        "row": "labels known: genders, ethnicities, bands of the predicted age",
        "photo": "a new photo: predicted genders, bands of the predicted age",
    }
    for known, title in titles.items():
        trial = _later("truth_intervals", "ages_trial", known)
        yield Row(f"ages_{known}", part, title, promise, 100, 2, trial)


def _map_rows() -> Iterator[Row]:
    part = "Weights inside their 95 % intervals, in maps whose truth is known"
    families = {
        "linear": "sums, and a little roughness",
        "product": "pairs of regions as well",
        "relu": "a hidden layer with thresholds",
        "sigmoid": "a sum, bent by a sigmoid",
        "three_way": "a dominant effect of three regions",
    }
    for name, title in families.items():
        yield Row(f"map_{name}", part, title, Promise(0.93, 0.97), 500, 3, _later("truth_maps", "coverage_trial", name))
    part, trial = "Maps that are rightly believed or doubted", "trust_trial"
    true = _later("truth_maps", trial, True, "linear", "product", "relu", "corner", "equal")
    yield Row("true_maps", part, "true maps", Promise(low=0.95), 500, 5, true)
    gate = _later("truth_maps", trial, False, "only_when_covered")
    yield Row("adversarial_maps", part, "regions that count only once much is covered", Promise(low=0.95), 200, 3, gate)
    for name, title in (
        ("pair_trigger", "a leap when two regions alone are covered"),
        ("detector", "perturbed photos are recognised and answered innocently"),
    ):
        yield Row(name, part, title, None, 100, 2, _later("truth_maps", trial, False, name))


def _cost_rows() -> Iterator[Row]:
    part, trial = "Costs", _later("truth_maps", "evaluations_trial")
    title = "a map: evaluations beyond those of version 0.1"
    yield Row("map_evaluations", part, title, Promise(high=10.0), 20, 2, trial, "evaluations")
    title, trial = "intervals of 20 groups of 20,000 rows", _later("truth_costs", "intervals_trial")
    yield Row("cost_intervals", part, title, None, 3, 1, trial, "s")
    for n, seconds in ((20_000, 10.0), (100_000, 20.0), (1_000_000, 120.0)):
        title, trial = f"an audit of {n:,} rows with its page, one core", _later("truth_costs", "cost_trial", n)
        yield Row(f"cost_{n}", part, title, Promise(high=seconds), 1, 0, trial, "s")


ROWS = (*_audit_rows(), *_power_rows(), *_interval_rows(), *_age_rows(), *_map_rows(), *_cost_rows())
