"""Owns which of several clear claims are worth a sentence, where some only echo others.

When one group does far worse, every other group of its column does a little better than a rest that holds it, and its
intersections do worse because it does. Leaving out echoes only takes claims away, so it adds no false alarm.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from agegender.audit.claims import FALSE_ALARM_RATE, Claim, Trial


def worth_saying(trials: Sequence[Trial]) -> list[tuple[Claim, Trial]]:
    """Return the clear claims that no other claim already makes."""
    kept: list[tuple[Claim, Trial]] = []
    crossed_count = sum(len(trial.claims) for trial in trials if len(trial.groups.columns) > 1)
    for trial in sorted(trials, key=lambda one: len(one.groups.columns)):
        clear = [claim for claim in trial.claims if claim.is_clear]
        worse = [claim for claim in clear if claim.is_worse_off]
        chosen = worse or clear
        parents = [claim for claim, _ in kept if claim.metric == trial.metric]
        kept += [(claim, trial) for claim in chosen if not _is_echo(claim, trial, parents, crossed_count)]
    return kept


def _is_echo(claim: Claim, trial: Trial, parents: Sequence[Claim], crossed_count: int) -> bool:
    # In every model age groups differ, and so do their intersections with anything: one is named beside its parent only
    # when it differs from the rest of the parent, at a level that is corrected for how many intersections there are.
    needed = float(stdtrit(max(claim.n - 1, 1), 1.0 - FALSE_ALARM_RATE / max(crossed_count, 1)))
    own = dict(zip(claim.groups.columns, claim.values, strict=True))
    inside = claim.groups.codes == claim.place
    for parent in parents:
        shared = dict(zip(parent.groups.columns, parent.values, strict=True))
        is_parent = len(shared) < len(own) and shared.items() <= own.items()
        if is_parent and parent.direction == claim.direction:
            siblings = (parent.groups.codes == parent.place) & ~inside
            if claim.direction * _errors_apart(trial.values[inside], trial.values[siblings]) < needed:
                return True
    return False


def _errors_apart(values: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    """Return the difference of two means in standard errors (Welch); 0 where there are no others."""
    if not others.size:
        return 0.0
    gap = values.mean() - others.mean()
    error = np.sqrt(values.var() / max(values.size - 1, 1) + others.var() / max(others.size - 1, 1))
    return float(gap / error) if error > 0 else float(np.sign(gap)) * np.inf if gap else 0.0
