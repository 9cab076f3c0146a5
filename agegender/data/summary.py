"""What is worth knowing about a finished faces table: where its photos went, and what to be wary of.

Plain counting on the table, without a page or a photo.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from agegender.data.faces_table import (
    CONFLICTING_LABELS,
    EXACT_DUPLICATE,
    NEAR_DUPLICATE,
    SPLITS,
    UNREADABLE,
    FacesTable,
)
from agegender.data.leaving_out import POOR, left_out_words
from agegender.heads import AGE, GENDER
from agegender.heads.age_bands import age_group
from agegender.settings import SMALL_GROUP

MOST_LOST_SHARE = 0.2
LEAST_GROUP_SHARE = 0.05
LARGEST_GENDER_SHARE = 0.6
LARGEST_AGE_GAP_YEARS = 5.0
_MOST_NAMED = 6  # cells in a sentence
_TINY = 10  # test photos of gender, ethnicity and age band: too few for any figure
_BAND_WORDS = {"<20": "under 20", "≥60": "of 60 and over"}
_LABELS = {"age_years": "an age", "gender": "a gender label", "ethnicity": "an ethnicity label"}
_EXPLANATIONS = {
    "malformed name": "nothing could be read from the file's name",
    UNREADABLE: "the file could not be decoded",
    EXACT_DUPLICATE: "a further copy, byte for byte, of a photo that is kept",
    NEAR_DUPLICATE: "the same picture as a photo that is kept, saved or cut differently",
    CONFLICTING_LABELS: "twins whose labels contradict each other; nobody knows which is right",
    "age out of range": "an age that nobody could have",
    "escapes the folder": "a link, or a path, that leads out of the dataset's folder",
    "no face": "no face was found",
    "several faces": "more than one face was found",
    "photo missing": "the table names a photo that is not there",
    "not in the official split": "the published split does not mention it",
}


class Step(NamedTuple):
    """One line of the way from files to kept photos."""

    name: str
    photo_count: int
    explanation: str
    is_total: bool


def count_steps(faces: FacesTable) -> list[Step]:
    """Return the way from files to kept photos, the largest loss first."""
    steps = [Step("files", len(faces.table), "photos found in the folders", True)]
    for reason, count in faces.dropped().items():
        poor = "what a quality check suspects, and --leave-out asked to drop" if str(reason).startswith(POOR) else ""
        steps.append(Step(str(reason), int(count), _EXPLANATIONS.get(str(reason), poor), False))
    return [*steps, Step("kept", len(faces.kept()), "photos to train and test on", True)]


def warnings_of(faces: FacesTable, counts: Mapping[str, Any], *, least: int = 0) -> list[str]:
    """Return what to be wary of, in plain sentences, most serious first; `counts` are those of `count_faces`.

    Numbers of photos under `least` are not told.
    """
    kept = faces.kept()
    return [
        *_leaks(counts, least),
        *_published_leaks(counts, least),
        *_absent_sides(kept),
        *_absent_labels(kept),
        *_losses(faces, counts, least),
        *left_out_words(faces, least=least)[1:],
        *_small_groups(kept, least),
        *_age_gaps(kept, least),
        *_empty_cells(kept),
        *_small_cells(kept, least),
        *_missing_labels(kept, least),
        *_limits(faces),
    ]


def told(number: int, least: int) -> str:
    """Return a number of photos in words.

    >>> told(1234, 10), told(3, 10), told(3, 0)
    ('1,234', 'under 10', '3')
    """
    return f"under {least}" if 0 < number < least else f"{number:,}"


def _leaks(counts: Mapping[str, Any], least: int) -> list[str]:
    return [
        f"{told(leak['shared_count'], least)} {leak['check']} stand in both {leak['split_a']} and {leak['split_b']} "
        f"({told(leak['photo_count'], least)} photos): figures on the test side flatter a model that remembers them."
        for leak in counts.get("leakage", [])
        if leak["shared_count"] > 0
    ]


def _published_leaks(counts: Mapping[str, Any], least: int) -> list[str]:
    published, left = counts.get("leaks_as_published", 0), counts.get("leaks", 0)
    if published <= left:
        return []
    return [
        f"The published split had {told(published, least)} twins or persons on two sides; {told(left, least)} are left "
        "now that further copies are left out. Figures measured on the published split flatter."
    ]


def _absent_sides(kept: pd.DataFrame) -> list[str]:
    absent = [side for side in SPLITS if not (kept["split"] == side).any()]
    return [f"No photo is in {', '.join(absent)}."] if absent else []


def _absent_labels(kept: pd.DataFrame) -> list[str]:
    return [f"No photo has {name}." for column, name in _LABELS.items() if kept[column].isna().all()]


def _missing_labels(kept: pd.DataFrame, least: int) -> list[str]:
    missing = {name: int(kept[column].isna().sum()) for column, name in _LABELS.items()}
    few = {name: count for name, count in missing.items() if 0 < count < len(kept)}
    return [f"{told(count, least)} of {len(kept):,} kept photos lack {name}." for name, count in few.items()]


def _losses(faces: FacesTable, counts: Mapping[str, Any], least: int) -> list[str]:
    said = []
    if conflicts := counts.get("exact_conflicts", 0):
        said.append(
            f"{told(conflicts, least)} groups of identical files carry contradictory labels: so some of the other "
            "labels, which no twin contradicts, are wrong too."
        )
    files, lost = len(faces.table), len(faces.table) - len(faces.kept())
    if lost > MOST_LOST_SHARE * files:
        share = f" ({lost / files:.0%})" if lost >= least else ""
        said.append(f"{told(lost, least)} of {files:,} files{share} were left out.")
    return said


def _small_groups(kept: pd.DataFrame, least: int) -> list[str]:
    said = []
    shares = kept[GENDER.column].value_counts(normalize=True)
    if len(shares) and shares.iloc[0] > LARGEST_GENDER_SHARE:
        said.append(f"{shares.iloc[0]:.0%} of the labelled photos are labelled {shares.index[0]}.")
    ethnicities = kept["ethnicity"].value_counts()
    for name, count in ethnicities[ethnicities < LEAST_GROUP_SHARE * ethnicities.sum()].items():
        share = f" ({count / ethnicities.sum():.1%})" if count >= least else ""
        said.append(f"Only {told(int(count), least)} photos{share} are labelled {name}.")
    return said


def _age_gaps(kept: pd.DataFrame, least: int) -> list[str]:
    ages = kept[AGE.column].dropna()
    if ages.empty:
        return []
    said = []
    # Where no photo is to be told of, the oldest one isn't either.
    oldest, youngest = (70, 10) if least else (ages.max(), ages.min())
    if ages.max() < 70:
        said.append(f"Nobody is older than {oldest:g} years; what a model says of older people is a guess.")
    if ages.min() >= 10:
        said.append(f"Nobody is younger than {youngest:g} years; children will be given adult ages.")
    means = kept.groupby(GENDER.column)[AGE.column].mean()
    if len(means) > 1 and means.max() - means.min() > LARGEST_AGE_GAP_YEARS:
        younger = means.idxmin()
        said.append(
            f"People labelled {younger} are {means.max() - means.min():.1f} years younger on average: a model can use "
            "one label to guess the other."
        )
    return said


def _cells(kept: pd.DataFrame) -> pd.Series:
    """Return the test photos of every cell of the labels that are known: gender, ethnicity, age band; 0 for empty ones.

    A cell is a combination of values that occur; whether anybody could be in it is for people to say.
    """
    bands = pd.Series(age_group(kept[AGE.column]), index=kept.index, dtype=object)
    keys = {GENDER.column: kept[GENDER.column], "ethnicity": kept["ethnicity"], "ages": bands}
    known = pd.DataFrame({name: values for name, values in keys.items() if values.notna().any()}).dropna()
    if len(known.columns) < 2 or known.empty or not (kept["split"] == "test").any():
        return pd.Series(dtype=int)
    every = pd.MultiIndex.from_product([sorted(known[name].unique()) for name in known.columns], names=known.columns)
    test = known[kept["split"].reindex(known.index) == "test"]
    return test.value_counts().reindex(every, fill_value=0)


def _cell_words(names: Sequence[str], values: Sequence[str]) -> str:
    labels = [value for name, value in zip(names, values, strict=True) if name != "ages"]
    ages = [_BAND_WORDS.get(value, f"of {value}") for name, value in zip(names, values, strict=True) if name == "ages"]
    return " ".join([" and ".join(labels), *ages])


def _empty_cells(kept: pd.DataFrame) -> list[str]:
    cells = _cells(kept)
    empty = cells.index[cells == 0]
    if not len(empty):
        return []
    named = [_cell_words(list(cells.index.names), cell) for cell in empty[:_MOST_NAMED]]
    more = len(empty) - len(named)
    return [
        f"Nobody labelled {'; nobody labelled '.join(named)}{f'; nor anybody of {more} more groups' * (more > 0)} "
        "is in the test photos: what a model does with them can't be judged."
    ]


def _small_cells(kept: pd.DataFrame, least: int) -> list[str]:
    test = kept[kept["split"] == "test"]
    sizes = test.groupby([GENDER.column, "ethnicity"]).size().tolist()
    said = []
    if small_count := sum(size < SMALL_GROUP for size in sizes):
        said.append(
            f"{small_count} of {len(sizes)} groups by gender and ethnicity have fewer than {SMALL_GROUP} test photos; "
            "what is found about them will be unsure."
        )
    cells = _cells(kept)
    tiny = cells[(cells > 0) & (cells < _TINY)].sort_values(kind="stable")
    names = list(cells.index.names)
    named = [f"{_cell_words(names, cell)} ({told(int(size), least)})" for cell, size in tiny[:_MOST_NAMED].items()]
    if named:
        by = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
        more = f" and {len(tiny) - len(named)} more" * (len(tiny) > len(named))
        said.append(
            f"{len(tiny)} of {len(cells)} groups by {by} have fewer than {_TINY} test photos, too few to say "
            f"anything of them: {'; '.join(named)}{more}."
        )
    return said


def _limits(faces: FacesTable) -> list[str]:
    notes = faces.notes
    if "limit" not in notes:
        return []
    return [f"Only a random {notes['limit']:,} of {notes['photos_before_limit']:,} photos were taken."]
