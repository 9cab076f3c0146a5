"""What is worth knowing about a finished faces table: where its photos went, and what to be wary of.

Plain counting on the table, without a page or a photo.
"""

from __future__ import annotations

from collections.abc import Mapping
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
from agegender.heads import AGE, GENDER
from agegender.settings import SMALL_GROUP

MOST_LOST_SHARE = 0.2
LEAST_GROUP_SHARE = 0.05
LARGEST_GENDER_SHARE = 0.6
LARGEST_AGE_GAP_YEARS = 5.0
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
        steps.append(Step(str(reason), int(count), _EXPLANATIONS.get(str(reason), ""), False))
    return [*steps, Step("kept", len(faces.kept()), "photos to train and test on", True)]


def warnings_of(faces: FacesTable, counts: Mapping[str, Any]) -> list[str]:
    """Return what to be wary of, in plain sentences, most serious first; `counts` are those of `count_faces`."""
    kept = faces.kept()
    return [
        *_leaks(counts),
        *_published_leaks(counts),
        *_absent_sides(kept),
        *_absent_labels(kept),
        *_losses(faces, counts),
        *_small_groups(kept),
        *_age_gaps(kept),
        *_small_cells(kept),
        *_missing_labels(kept),
        *_limits(faces),
    ]


def _leaks(counts: Mapping[str, Any]) -> list[str]:
    return [
        f"{leak['shared_count']} {leak['check']} stand in both {leak['split_a']} and {leak['split_b']} "
        f"({leak['photo_count']} photos): figures on the test side flatter a model that remembers them."
        for leak in counts.get("leakage", [])
        if leak["shared_count"] > 0
    ]


def _published_leaks(counts: Mapping[str, Any]) -> list[str]:
    published, left = counts.get("leaks_as_published", 0), counts.get("leaks", 0)
    if published <= left:
        return []
    return [
        f"The published split had {published} twins or persons on two sides; {left} are left now that further copies "
        "are left out. Figures measured on the published split flatter."
    ]


def _absent_sides(kept: pd.DataFrame) -> list[str]:
    absent = [side for side in SPLITS if not (kept["split"] == side).any()]
    return [f"No photo is in {', '.join(absent)}."] if absent else []


def _absent_labels(kept: pd.DataFrame) -> list[str]:
    return [f"No photo has {name}." for column, name in _LABELS.items() if kept[column].isna().all()]


def _missing_labels(kept: pd.DataFrame) -> list[str]:
    missing = {name: int(kept[column].isna().sum()) for column, name in _LABELS.items()}
    few = {name: count for name, count in missing.items() if 0 < count < len(kept)}
    return [f"{count:,} of {len(kept):,} kept photos lack {name}." for name, count in few.items()]


def _losses(faces: FacesTable, counts: Mapping[str, Any]) -> list[str]:
    said = []
    if conflicts := counts.get("exact_conflicts", 0):
        said.append(
            f"{conflicts:,} groups of identical files carry contradictory labels: so some of the other labels, which "
            "no twin contradicts, are wrong too."
        )
    files, lost = len(faces.table), len(faces.table) - len(faces.kept())
    if lost > MOST_LOST_SHARE * files:
        said.append(f"{lost:,} of {files:,} files ({lost / files:.0%}) were left out.")
    return said


def _small_groups(kept: pd.DataFrame) -> list[str]:
    said = []
    shares = kept[GENDER.column].value_counts(normalize=True)
    if len(shares) and shares.iloc[0] > LARGEST_GENDER_SHARE:
        said.append(f"{shares.iloc[0]:.0%} of the labelled photos are labelled {shares.index[0]}.")
    ethnicities = kept["ethnicity"].value_counts()
    for name, count in ethnicities[ethnicities < LEAST_GROUP_SHARE * ethnicities.sum()].items():
        said.append(f"Only {count} photos ({count / ethnicities.sum():.1%}) are labelled {name}.")
    return said


def _age_gaps(kept: pd.DataFrame) -> list[str]:
    ages = kept[AGE.column].dropna()
    if ages.empty:
        return []
    said = []
    if ages.max() < 70:
        said.append(f"Nobody is older than {ages.max():g} years; what a model says of older people is a guess.")
    if ages.min() >= 10:
        said.append(f"Nobody is younger than {ages.min():g} years; children will be given adult ages.")
    means = kept.groupby(GENDER.column)[AGE.column].mean()
    if len(means) > 1 and means.max() - means.min() > LARGEST_AGE_GAP_YEARS:
        younger = means.idxmin()
        said.append(
            f"People labelled {younger} are {means.max() - means.min():.1f} years younger on average: a model can use "
            "one label to guess the other."
        )
    return said


def _small_cells(kept: pd.DataFrame) -> list[str]:
    test = kept[kept["split"] == "test"]
    sizes = test.groupby([GENDER.column, "ethnicity"]).size().tolist()
    small_count = sum(size < SMALL_GROUP for size in sizes)
    if not small_count:
        return []
    return [
        f"{small_count} of {len(sizes)} groups by gender and ethnicity have fewer than {SMALL_GROUP} test photos; what "
        "is found about them will be unsure."
    ]


def _limits(faces: FacesTable) -> list[str]:
    notes = faces.notes
    if "limit" not in notes:
        return []
    return [f"Only a random {notes['limit']:,} of {notes['photos_before_limit']:,} photos were taken."]
