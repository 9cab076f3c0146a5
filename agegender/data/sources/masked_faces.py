"""The mask competition's layout: one folder per person, seven photos in each, and its 18 classes.

A folder is named `<id>_<gender>_<race>_<age>`, its photos mask1 to mask5, incorrect_mask and normal, with whatever
ending; macOS' and notebooks' leftovers lie between them. Known label errors are mended only when asked for.

The evaluation photos are named in `eval/info.csv` with the columns `ImageID` and `ans`, which is 0 for all of them as
it was given out. An answer is 6 · mask + 3 · gender + age, with the orders of `MASKS`, `GENDERS` and the age classes
<30, 30–59 and ≥60. `write_answers` fills the file; once the true answers are known, `eval=yes` reads them.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from agegender.data.derived_labels import JOINT, age_class_names, age_classes
from agegender.data.faces_table import GENDERS, FacesTable
from agegender.data.sources.labels import is_unknown, read_age, read_gender, read_label_file
from agegender.data.sources.layouts import assemble, malformed_row
from agegender.errors import TableError, UsageError
from agegender.photos.finding import FoundFile, list_photos
from agegender.writing import write_text

EXPECTED = "folders named id_gender_race_age with mask1 to mask5, incorrect_mask and normal, below train/images"
PHOTO_MASKS = {**{f"mask{number}": "wear" for number in range(1, 6)}, "incorrect_mask": "incorrect", "normal": "normal"}
MASKS = ("wear", "incorrect", "normal")
AGE_EDGES = (30.0, 60.0)
AGE_CLASSES = age_class_names(AGE_EDGES)
COMBINED = "mask_age_gender"  # the column of all three, as `--combine mask age_class gender` makes it
_CLASS_COUNT = len(MASKS) * len(GENDERS) * len(AGE_CLASSES)
_PERSON = re.compile(r"(?P<id>[\w-]+?)_(?P<gender>male|female)_(?P<race>[^_/]+)_(?P<age>\d{1,3})")
_EVALUATION_PHOTO = re.compile(r"(^|/)eval/images/[^/]+$")
# Found by participants of the competition by looking at the photos.
_WRONG_GENDER = frozenset({"001498-1", "004432", "005223", *(f"{number:06d}" for number in range(6359, 6365))})
_SWAPPED_MASKS = frozenset({"000020", "004418", "005227"})
_OTHER_GENDER = {"male": "female", "female": "male", None: None}
_OTHER_MASK = {"normal": "incorrect", "incorrect": "normal"}


def read(root: Path, *, corrections: bool | str = False, eval: bool | str = False) -> FacesTable:
    """Return the faces table of the competition's folder; `subject_id` is the person.

    With `corrections` the known label errors are mended: nine genders, and three people whose `normal` and
    `incorrect_mask` are swapped; what was mended stands in the notes. With `eval` the evaluation photos are rows too,
    in the split "test", the others in "train"; all then have the label `age_class`.
    """
    is_corrected, is_evaluated = _is_yes(corrections), _is_yes(eval)
    listed = list_photos(root)
    labelled = [found for found in listed if not _EVALUATION_PHOTO.search(found.path)]
    rows = [_row(found, is_corrected) for found in labelled]
    mended = [row["path"] for row in rows if row.pop("is_mended", False)]
    unlabelled_count = len(listed) - len(labelled)
    notes: dict[str, Any] = {}
    if is_evaluated:
        classes = age_classes(pd.Series([row.get("age_years") for row in rows], dtype="float64"), AGE_EDGES)
        rows = [{**row, "split": "train", "age_class": name} for row, name in zip(rows, classes, strict=True)]
        answers = _true_answers(root)
        photos = [found for found in listed if _EVALUATION_PHOTO.search(found.path) and found.name in answers.index]
        rows += [_evaluation_row(found, answers.loc[found.name]) for found in photos]
        unlabelled_count -= len(photos)
        notes = {"answers_without_photo": len(answers) - len(photos)}
    return assemble(
        rows,
        root,
        "masked_faces",
        expected=EXPECTED,
        photos_without_labels=unlabelled_count,
        corrected_photos=mended or None,
        **notes,
    )


def answers_of_labels(labels: pd.DataFrame) -> pd.Series:
    """Return the competition's number 0 to 17 of each row, missing where one of its labels is.

    Examples
    --------
    >>> labels = pd.DataFrame({"mask": ["wear", "normal"], "gender": ["male", "female"], "age_years": [54, None]})
    >>> answers_of_labels(labels).tolist()
    [1, <NA>]
    """
    mask, age_class, gender = _three_labels(labels)
    places = [
        pd.Index(names).get_indexer(values)
        for names, values in ((MASKS, mask), (GENDERS, gender), (AGE_CLASSES, age_class))
    ]
    numbers = 6 * places[0] + 3 * places[1] + places[2]
    is_known = np.min(places, axis=0) >= 0
    return pd.Series(numbers, index=labels.index, dtype="Int64").where(is_known)


def labels_of_answers(answers: pd.Series) -> pd.DataFrame:
    """Return the labels `mask`, `age_class`, `gender` and `mask_age_gender` of the competition's numbers.

    >>> labels_of_answers(pd.Series([7])).iloc[0].tolist()
    ['incorrect', '30–59', 'male', 'incorrect / 30–59 / male']
    """
    numbers = pd.to_numeric(answers, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    is_known = np.isin(numbers, np.arange(_CLASS_COUNT))
    wrong = ~is_known & answers.notna().to_numpy() & (answers.astype(str).str.strip() != "").to_numpy()
    if wrong.any():
        raise TableError(
            f"{int(wrong.sum())} answers are no whole numbers from 0 to 17, first {answers[wrong].iloc[0]!r}."
        )
    whole = np.where(is_known, numbers, 0).astype(np.int64)
    named = {
        "mask": np.array(MASKS, dtype=object)[whole // 6],
        "age_class": np.array(AGE_CLASSES, dtype=object)[whole % 3],
        "gender": np.array(GENDERS, dtype=object)[whole // 3 % 2],
    }
    labels = pd.DataFrame(named, index=answers.index)
    labels[COMBINED] = labels.agg(JOINT.join, axis=1) if len(labels) else None
    labels[~is_known] = None
    return labels


def write_answers(predictions: pd.DataFrame, info_csv: Path, out: Path) -> None:
    """Write the competition's `info.csv` with an answer for each of its photos, in its order."""
    if "path" not in predictions:
        raise TableError("the predictions have no column path, so nobody knows which photo each is of.")
    wanted = read_label_file(info_csv, ("ImageID", "ans"))
    names = predictions["path"].astype(str).str.rpartition("/")[2]
    predicted = predictions.filter(like="predicted_").rename(columns=lambda name: name.removeprefix("predicted_"))
    answers = answers_of_labels(predicted).set_axis(names)
    answers = answers[~answers.index.duplicated()].reindex(wanted["ImageID"])
    if answers.isna().any():
        raise TableError(
            f"{int(answers.isna().sum())} of the {len(wanted)} photos in {info_csv} have no prediction of mask, gender "
            f"and age, first {answers.index[answers.isna()][0]}. Predict all of them: agegender predict eval/images."
        )
    text = io.StringIO()
    wanted.assign(ans=answers.to_numpy()).to_csv(text, index=False, lineterminator="\n")
    write_text(out, text.getvalue())


def _is_yes(choice: bool | str) -> bool:
    return str(choice).lower() in {"true", "yes", "1"}


def _true_answers(root: Path) -> pd.DataFrame:
    """Return the labels that `eval/info.csv` states, indexed by the photos' names."""
    path = next(iter(sorted(root.rglob("eval/info.csv"))), None)
    if path is None:
        raise UsageError(f"eval=yes: there are no answers in an eval/info.csv below {root}. Leave the option out.")
    table = read_label_file(path, ("ImageID", "ans")).drop_duplicates("ImageID").set_index("ImageID")
    if table["ans"].nunique() < 2:
        raise UsageError(
            f"eval=yes: every answer in {path} is {', '.join(table['ans'].unique()) or 'missing'}, so these are no "
            "true answers but the file as it was given out. Leave the option out."
        )
    return labels_of_answers(table["ans"])


def _three_labels(labels: pd.DataFrame) -> tuple[pd.Series, pd.Series, pd.Series]:
    """Return mask, age class and gender, taken from one column or from three."""
    if COMBINED in labels:
        parts = labels[COMBINED].astype("string").str.split(JOINT, expand=True).reindex(columns=range(3))
        return parts[0], parts[1], parts[2]
    lacking = [name for name in ("mask", "gender") if name not in labels]
    if not {"age_class", "age_years"} & set(labels.columns):
        lacking.append("age_class or age_years")
    if lacking:
        raise TableError(f"the 18 classes need {COMBINED}, or mask, gender and age; there is no {', '.join(lacking)}.")
    ages = labels["age_class"] if "age_class" in labels else age_classes(labels["age_years"], AGE_EDGES)
    return labels["mask"], ages, labels["gender"]


def _evaluation_row(found: FoundFile, labels: Mapping[Any, Any]) -> dict[str, Any]:
    return {
        "path": found.path,
        "gender": labels["gender"],
        "mask": labels["mask"],
        "age_class": labels["age_class"],
        "split": "test",
        "dropped_because": found.dropped_because,
    }


def _row(found: FoundFile, is_corrected: bool) -> dict[str, Any]:
    folder = found.path.split("/")[-2] if "/" in found.path else ""
    person = _PERSON.fullmatch(folder)
    mask = PHOTO_MASKS.get(found.name.rpartition(".")[0])
    if found.dropped_because or not person or not mask:
        return malformed_row(found)
    age, gender, subject = read_age(person["age"]), read_gender(person["gender"]), person["id"]
    is_gender_mended = is_corrected and subject in _WRONG_GENDER
    is_mask_mended = is_corrected and subject in _SWAPPED_MASKS and mask in _OTHER_MASK
    return {
        "path": found.path,
        "age_years": age.years,
        "gender": _OTHER_GENDER[gender] if is_gender_mended else gender,
        "ethnicity": None if is_unknown(person["race"]) else person["race"],
        "mask": _OTHER_MASK[mask] if is_mask_mended else mask,
        "subject_id": subject,
        "is_mended": is_gender_mended or is_mask_mended,
        "dropped_because": age.dropped_because,
    }
