"""What a comparison says in words: which model is better in what, by how much, and what that leaves open.

Verdicts come from the paired tests alone, never from ranks, so that no sentence contradicts another. Every number of a
sentence stands in `PairedComparison.to_dict`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from agegender.audit.estimates import Estimate
from agegender.audit.models_compared import Agreement, ClassChange, NumberChange, PairedComparison
from agegender.audit.sentences import group_words
from agegender.audit.words import capitalised, listing, number, p_value, photos
from agegender.heads import Classification, Head, Regression

LEFT_OPEN = "Choosing the winner on these photos flatters it; test it again on others."
_FEW = 30  # photos, below which hardly any difference can be told
CLAIMED = 0.05  # below this corrected p-value a change is claimed
_MOST_GROUPS = 3  # named in a sentence


@dataclass(frozen=True)
class Answer:
    """One thing that a comparison comes to: the verdict that is read first, its figures, and what holds for groups."""

    verdict: str = ""
    rest: str = ""
    of_groups: tuple[str, ...] = ()

    @property
    def sentences(self) -> list[str]:
        """The answer as a text."""
        return [f"{self.verdict}{self.rest}", *self.of_groups]


def headline(first: str, pairs: Mapping[str, PairedComparison], *, least: int = 1) -> list[Answer]:
    """Return what a comparison comes to: each further model against the first, head by head, and what is left open.

    Groups and counts of fewer than `least` photos are not told.
    """
    said = [answer for name, pair in pairs.items() for answer in pair_answers(first, name, pair, least=least)]
    is_judged = any(change.n for pair in pairs.values() for change in pair.changes.values())
    return [*said, Answer(rest=LEFT_OPEN)] if is_judged else said


def pair_answers(first: str, second: str, pair: PairedComparison, *, least: int = 1) -> list[Answer]:
    """Return what a second model changes, head by head, and what could not be compared."""
    said = [_judged_answer(first, second, head, pair, least) for head in pair.heads]
    judged = {head.name for head in pair.heads}
    unjudged = [head for head in pair.shared if head.name not in judged and pair.agreement[head.name].n]
    said += [_agreement_answer(first, second, head, pair.agreement[head.name]) for head in unjudged]
    return [*said, *(Answer(rest=sentence) for sentence in _limits(first, second, pair, is_silent=not said))]


def _limits(first: str, second: str, pair: PairedComparison, *, is_silent: bool) -> Iterator[str]:
    """Yield what a pair cannot tell."""
    if is_silent:
        yield f"{first} and {second} predict nothing in common on these photos, so nothing can be compared."
    counts = [change.n for change in pair.changes.values() if 0 < change.n < _FEW]
    if counts:
        yield f"With {photos(min(counts))} hardly any difference can be told from chance."
    yield from _unshared_sentences(first, second, pair)


def group_sentences(second: str, pair: PairedComparison, *, least: int = 1) -> list[str]:
    """Return claimed changes of groups: of the direction of errors, and of gaps to the rest; largest first."""
    said = []
    for head in pair.heads:
        groups, digits, unit = _shown(pair.changes[head.name].by_group, least), digits_of(head, pair), unit_of(head)
        scale = 100.0 if isinstance(head, Classification) else 1.0
        if isinstance(head, Regression):
            for row in _claimed(groups, "signed"):
                who, moved = _who(row), _estimate(row, "signed_difference")
                direction = head.words[0] if moved.value > 0 else head.words[1]
                before, now = (number(row[f"signed_{which}"], digits, signed=True) for which in ("first", "second"))
                what = f"{abs(moved.value):.{digits}f}{unit} {direction} by {second}"
                said.append(
                    f"{who} are judged {what} ({_facts(row['n'], moved, digits, is_corrected=True)}): mean error "
                    f"{before} → {now}."
                )
        for row in _claimed(groups, "gap"):
            old, new = (scale * float(row[f"gap_{which}"]) for which in ("first", "second"))
            what = f"{head.title} accuracy" if isinstance(head, Classification) else f"mean {head.title} error"
            verb = "shrinks" if abs(new) < abs(old) else "grows"
            change = _estimate(row, "gap_difference").scaled(scale)
            said.append(
                f"{_who(row)}: the gap in {what} to the rest {verb}, {number(old, digits, signed=True)} → "
                f"{number(new, digits, signed=True)}{unit} ({_facts(row['n'], change, digits, is_corrected=True)})."
            )
    return said


def bias_sentences(first: str, second: str, pair: PairedComparison) -> list[str]:
    """Return ChaLearn's bias scores before and after, each with its chance level: known scores alone."""
    unit = next((unit_of(head) for head in pair.heads if isinstance(head, Regression) and head.has_bands), "")
    return [
        f"{second} against {first}, bias score by {one.attribute}: "
        f"{one.first.value:.2f} → {one.second.value:.2f}{unit}, "
        f"{number(one.difference.value, 2, signed=True)} ({_facts(one.n, one.difference, 2)}); chance level "
        f"{one.chance_first:.2f} for {first}, {one.chance_second:.2f} for {second}."
        for one in pair.bias
    ]


def judged_lines(judged: pd.DataFrame) -> list[str]:
    """Return a line for each model on each set of photos, see `api.judging.judged_table`."""
    lines = []
    for (model, where), rows in judged.groupby(["model", "judged_on"], sort=False) if len(judged) else ():
        told = [_score_words(row) for row in rows.to_dict("records")]
        first = rows.iloc[0]
        own = ", its own dataset" if first["is_own"] else ""
        on = f" (trained on {first['trained_on']})" if first["trained_on"] else ""
        lines.append(f"{model}{on} on {where}{own}: {'; '.join(told)}.")
    return lines


def _score_words(row: Mapping[Any, Any]) -> str:
    name, is_rate = str(row["head"]).replace("_", " "), row["unit"] == "share"
    if not row["n"]:
        return f"{name} without labels"
    value = _estimate(
        {f"value{end}": row[key] for end, key in (("", "value"), ("_low", "low"), ("_high", "high"))}, "value"
    )
    value, digits = (value.scaled(100.0), 1) if is_rate else (value, 2)
    unit = " %" if is_rate else f" {row['unit']}".rstrip()
    error = "" if is_rate else f", mean error {number(row['mean_error'], 2, signed=True)}"
    facts = _facts(row["n"], value, digits, is_signed=False)
    return f"{name} {row['score']} {value.value:.{digits}f}{unit} ({facts}){error}"


def leaders_sentences(leaders: Iterable[tuple[Head, str, str, PairedComparison]]) -> list[str]:
    """Return of each head which of many models does best, and whether it can be told from the next one."""
    said = []
    for head, best, following, pair in leaders:
        change, digits = pair.changes[head.name], digits_of(head, pair)
        if isinstance(change, NumberChange):
            score, other, difference = change.second, change.first, change.error_difference
            what, is_told = f"lowest mean absolute {head.title} error", difference.is_off_zero
        else:
            score, other = change.second.scaled(100.0), change.first.scaled(100.0)
            difference = change.accuracy_difference.scaled(100.0)
            what, is_told = f"highest {head.title} accuracy", change.mcnemar_p_value < CLAIMED
        unit = " %" if isinstance(head, Classification) else unit_of(head)
        verdict = "more than chance makes" if is_told else "which may be chance"
        said.append(
            f"{best} has the {what}, {score.value:.{digits}f}{unit}, before {following} with {other.value:.{digits}f}: "
            f"{number(difference.value, digits, signed=True)} ({_facts(change.n, difference, digits)}), {verdict}."
        )
    return said


def digits_of(head: Head, pair: PairedComparison) -> int:
    """Return how many decimals figures of a head need: more where its labels lie close together."""
    if isinstance(head, Classification):
        return 1
    spread = float(pair.faces[head.column].std()) if head.column in pair.faces and not head.has_bands else np.inf
    return 2 if not 0 < spread < 3 else min(2 + int(np.ceil(np.log10(3 / spread))), 6)


def unit_of(head: Head) -> str:
    """Return what stands behind a figure of a head: " years", " points", or nothing."""
    if isinstance(head, Classification):
        return " points"
    return f" {head.unit}" if head.unit else ""


def _judged_answer(first: str, second: str, head: Head, pair: PairedComparison, least: int) -> Answer:
    change, agreement = pair.changes[head.name], pair.agreement.get(head.name)
    if not change.n:
        return Answer(rest=f"No photo that both predict has a label of {head.title} to judge them by.")
    if agreement is not None and agreement.is_identical:
        return _identical(first, second, head, agreement)
    if isinstance(change, NumberChange) and isinstance(head, Regression):
        verdict, rest = _number_answer(first, second, head, change, digits_of(head, pair))
    else:
        assert isinstance(change, ClassChange)
        test = "exact McNemar test" if pair.cluster_count is None else "exact test, persons and twins kept whole"
        verdict, rest = _class_answer(first, second, change, test, least)
    groups = _groups_sentence(second, head, _shown(change.by_group, least), digits_of(head, pair))
    return Answer(f"{capitalised(head.title)}: {verdict}", f": {rest}.", groups)


def _identical(first: str, second: str, head: Head, agreement: Agreement) -> Answer:
    return Answer(f"{second} and {first} give one and the same {head.title} for each of {photos(agreement.n)}", ".")


def _number_answer(first: str, second: str, head: Regression, change: NumberChange, digits: int) -> tuple[str, str]:
    difference, unit = change.error_difference, unit_of(head)
    figures = f"mean absolute error {change.second.value:.{digits}f}{unit} against {change.first.value:.{digits}f}"
    if not difference.is_off_zero:
        apart = number(difference.value, digits, signed=True)
        facts = _facts(change.n, difference, digits)
        return f"{second} and {first} cannot be told apart", f"{figures}, a difference of {apart} ({facts})"
    verdict, side = ("better", "lower") if difference.value < 0 else ("worse", "higher")
    size = Estimate(*(abs(end) for end in (difference.value, *sorted((difference.low, difference.high), key=abs))))
    facts = _facts(change.n, size, digits, is_signed=False)
    return f"{second} is {verdict} than {first}", f"{figures}, {size.value:.{digits}f} {side} ({facts})"


def _class_answer(first: str, second: str, change: ClassChange, test: str, least: int) -> tuple[str, str]:
    difference = change.accuracy_difference.scaled(100.0)
    verdict = f"{second} and {first} cannot be told apart"
    if change.mcnemar_p_value < CLAIMED:
        verdict = f"{second} is {'better' if difference.value > 0 else 'worse'} than {first}"
    mended, broken = (f"under {least}" if 0 < one < least else f"{one:,}" for one in (change.mended, change.broken))
    points = number(difference.value, 1, signed=True)
    return verdict, (
        f"right for {100 * change.second.value:.1f} % against {100 * change.first.value:.1f} %, {points} points "
        f"({_facts(change.n, difference, 1)}); {mended} mended, {broken} broken "
        f"({test}, p {p_value(change.mcnemar_p_value)})"
    )


def _groups_sentence(second: str, head: Head, groups: pd.DataFrame, digits: int) -> tuple[str, ...]:
    """Say for which groups the main score is better or worse, corrected for all groups of the pair."""
    if not len(groups):
        return ()
    kind = "accuracy" if isinstance(head, Classification) else "error"
    claimed = _claimed(groups, kind)
    if not claimed:
        return (f"{capitalised(head.title)} by group: no single change can be told from chance.",)
    scale, is_class = (100.0, True) if isinstance(head, Classification) else (1.0, False)
    told: dict[bool, list[str]] = {True: [], False: []}
    for row in claimed:
        change = _estimate(row, f"{kind}_difference").scaled(scale)
        who, facts = _who(row), _facts(row["n"], change, digits, is_corrected=True)
        words = f"{who[:1].lower()}{who[1:]} ({number(change.value, digits, signed=True)}{unit_of(head)}, {facts})"
        told[(change.value > 0) is is_class].append(words)
    parts = [f"{word} for {_named(told[side])}" for word, side in (("better", True), ("worse", False)) if told[side]]
    none = "worse for no group that can be told" if not told[False] else ""
    told_parts = "; ".join([*parts, *([none] if none else [])])
    return (f"{capitalised(head.title)} by group: {second} is {told_parts}.",)


def _named(items: Sequence[str]) -> str:
    more = len(items) - _MOST_GROUPS
    return f"{', '.join(items[:_MOST_GROUPS])} and {more} more" if more > 0 else listing(items)


def _agreement_answer(first: str, second: str, head: Head, one: Agreement) -> Answer:
    if one.is_identical:
        return _identical(first, second, head, one)
    start = f"{capitalised(head.title)} has no labels, so only agreement can be said: {first} and {second}"
    if isinstance(head, Classification):
        same = one.same.scaled(100.0)
        return Answer(rest=f"{start} say the same of {same.value:.1f} % ({_facts(one.n, same, 1, is_signed=False)}).")
    facts = _facts(one.n, one.distance, 2, is_signed=False)
    shift = number(one.shift.value, 2, signed=True)
    apart = f"{one.distance.value:.2f}{unit_of(head)} apart on average ({facts})"
    return Answer(rest=f"{start} are {apart}, {second} {shift} against {first}.")


def _unshared_sentences(first: str, second: str, pair: PairedComparison) -> list[str]:
    said = []
    for name, heads in zip((first, second), pair.unshared, strict=True):
        if heads:
            what = _named([one.replace("_", " ") for one in heads])
            said.append(f"{name} alone predicts {what} here, which is not compared.")
    return said


def _claimed(groups: pd.DataFrame, kind: str) -> list[dict[str, Any]]:
    """Return the groups whose change holds for all groups of the pair together, the largest change first."""
    column = f"{kind}_p_corrected" if kind in ("signed", "gap") else "p_corrected"
    told = groups[groups[column] < CLAIMED] if len(groups) else groups
    order = told[f"{kind}_difference"].abs().sort_values(ascending=False, kind="stable").index if len(told) else []
    return [{str(key): value for key, value in told.loc[place].items()} for place in order]


def _shown(groups: pd.DataFrame, least: int) -> pd.DataFrame:
    return groups[groups["n"] >= least]


def _who(row: Mapping[str, Any]) -> str:
    return group_words((str(row["column"]),), (str(row["group"]),))


def _estimate(row: Mapping[str, Any], name: str) -> Estimate:
    return Estimate(*(float(row[f"{name}{end}"]) for end in ("", "_low", "_high")))


def _facts(n: int, value: Estimate, digits: int, *, is_corrected: bool = False, is_signed: bool = True) -> str:
    low, high = (number(end, digits, signed=is_signed) for end in (value.low, value.high))
    if not (np.isfinite(value.low) and np.isfinite(value.high)):
        return f"no interval; {photos(n)}"
    return f"{'corrected ' if is_corrected else ''}95 % CI {low} to {high}; {photos(n)}"
