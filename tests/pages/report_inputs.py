"""Made-up predictions, photos and explanations, with a gap that is known."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from agegender.audit.predictions_files import FACT_TYPES
from agegender.data.faces_table import FacesTable, make_table
from agegender.explanation.face_explanation import Curve, FaceExplanation, RegionWeight, TargetMap, Trust
from agegender.explanation.face_parts import aligned_parts
from agegender.heads import AGE, GENDER, Classification

ETHNICITIES = ("White", "Black", "Asian", "Indian", "Others")


def make_predictions(row_count: int = 900, *, seed: int = 7, old_gap_years: float = -6.0) -> pd.DataFrame:
    """Return predictions of a model that drags the old towards the middle and is otherwise alike to all."""
    generator = np.random.default_rng(seed)
    age = np.clip(generator.gamma(4.0, 9.0, row_count), 1, 100).round()
    gender = generator.choice(["male", "female"], row_count)
    ethnicity = generator.choice(ETHNICITIES, row_count, p=[0.42, 0.2, 0.15, 0.16, 0.07])
    split = generator.choice(["train", "valid", "test"], row_count, p=[0.6, 0.15, 0.25])
    spread = np.where(split == "train", 3.5, 5.5)
    predicted = np.clip(age + generator.normal(0, spread) + np.where(age >= 60, old_gap_years, 0.0), 0, 110)
    odds = np.where(gender == "female", 1, -1) * generator.gamma(3.0, 1.2, row_count)
    odds += generator.normal(0, 1.5, row_count)
    probability = 1 / (1 + np.exp(-odds))
    return pd.DataFrame(
        {
            "path": [f"{int(years)}_{place}.jpg" for place, years in enumerate(age)],
            "source": "csv",
            "age_years": age,
            "gender": gender,
            "ethnicity": ethnicity,
            "split": split,
            "predicted_age_years": predicted,
            "age_low_years": predicted - 9,
            "age_high_years": predicted + 9,
            "predicted_gender": np.where(probability >= 0.5, "female", "male"),
            "female_probability": probability,
        }
    )


def make_photos(folder: Path, predictions: pd.DataFrame, *, source: str = "csv", photo_count: int = 40) -> FacesTable:
    """Write a coloured square for the first rows; the photos of the others are missing."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(3)
    for name in predictions["path"].head(photo_count):
        photo = np.full((60, 60, 3), generator.integers(60, 200, 3), np.uint8)
        photo[20:40, 20:40] = 255 - photo[20:40, 20:40]
        cv2.imwrite(str(folder / name), photo)
    labels = predictions[["path", "age_years", "gender", "ethnicity", "split"]].assign(source=source)
    return FacesTable(make_table(labels.to_dict("list")), folder)


def make_explanations(count: int = 8, *, path: str = "face.jpg") -> list[FaceExplanation]:
    """Return explanations on six regions, all of a random sample, the first half chosen for their ages too.

    The second one's gender map fails its check.
    """
    generator = np.random.default_rng(5)
    regions = np.repeat(np.repeat(np.arange(6).reshape(2, 3), 24, axis=0), 16, axis=1)
    return [
        FaceExplanation(
            path if count == 1 else path.replace(".", f"{place}."),
            generator.integers(0, 255, (48, 48, 3)).astype(np.uint8),
            regions,
            (
                _target_map(AGE.targets[0], generator, ()),
                _target_map(GENDER.targets[0], generator, ("held-out R² 0.1",) if place == 1 else ()),
            ),
            labels={"age_years": 20.0 + 8 * place, "gender": ("male", "female")[place % 2], "ethnicity": "White"},
            predictions={"predicted_age_years": 30.0, "predicted_gender": "female", "gender_probability_female": 0.7},
            reason="largest error of age: 9 years" if 2 * place < count else "chosen at random",
            chosen_for="age" if 2 * place < count else "",
            is_random=True,
            parts=aligned_parts(48),
        )
        for place in range(count)
    ]


def _target_map(target, generator, failures) -> TargetMap:
    weights = generator.normal(0, 2, 6)
    regions = tuple(
        RegionWeight(place, "hair" if place == 0 else "", weight, weight - 1, weight + 1, 1 / 6)
        for place, weight in enumerate(weights.tolist())
    )
    shares = (0.0, 0.5, 1.0)
    trust = Trust(
        held_out_r2=0.7,
        in_sample_r2=0.8,
        deletion_auc=0.3,
        random_deletion_auc=0.5,
        deletion=Curve(shares, (30.0, 22.0, 20.0)),
        insertion=Curve(shares, (20.0, 28.0, 30.0)),
        random_deletions=(Curve(shares, (30.0, 25.0, 20.0)),),
        failures=failures,
    )
    verdict = "Not to be believed: held-out R² 0.1." if failures else "All checks passed."
    return TargetMap(target, 30.0, 25.0, regions, trust, verdict)


EXPRESSIONS = ("neutral", "slightly happy", "happy")
MASK_CLASSES = tuple(
    f"{mask}, {gender}, {age}"
    for mask in ("mask", "no mask", "worn wrongly")
    for gender in ("male", "female")
    for age in ("<30", "30–59", "≥60")
)


def with_more_heads(predictions: pd.DataFrame, *, seed: int = 3) -> pd.DataFrame:
    """Return the predictions with an expression (3 classes), a height (a second number) and 18 mask classes beside."""
    generator = np.random.default_rng(seed)
    count = len(predictions)
    height = generator.normal(168, 10, count) + np.where(predictions["gender"] == "male", 7, -6)
    guess = 172 + 0.6 * (height - 172) + generator.normal(0, 4, count)
    table = predictions.assign(height_cm=height, predicted_height_cm=guess)
    table = table.assign(height_low_cm=guess - 10, height_high_cm=guess + 10)
    for name, classes, sharpness in (("expression", EXPRESSIONS, 2.0), ("mask_age_gender", MASK_CLASSES, 3.0)):
        label = generator.integers(0, len(classes), count)
        logits = generator.normal(0, 1, (count, len(classes)))
        logits[np.arange(count), label] += sharpness
        chance = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        head = Classification(name, name, classes)
        guessed = np.array(classes, dtype=object)[chance.argmax(axis=1)]
        columns = {name: np.array(classes, dtype=object)[label], head.predicted: guessed}
        table = table.assign(**columns, **dict(zip(head.number_columns, chance.T, strict=True)))
    return table


def predicted_rows(predictions, root):
    """Rows as `predict` has them: the first photo with two faces, every seventh doubtful, every tenth unreadable."""
    rows = predictions.drop(columns=[name for name in predictions if "predicted" not in name and name[:4] != "age_"])
    rows = rows.drop(columns="age_years", errors="ignore").reset_index(drop=True)
    rows = rows.assign(**{name: pd.Series([None] * len(rows), dtype=kind) for name, kind in FACT_TYPES.items()})
    rows["gender_probability_female"] = predictions["female_probability"].to_numpy()
    rows["gender_probability_male"] = 1 - rows["gender_probability_female"]
    places = pd.Series(range(len(rows)))
    rows["path"] = [str(root / path) for path in predictions["path"]]
    rows["problems"] = pd.Series("blurred, dark", index=rows.index, dtype=object).where(places % 7 == 3, None)
    rows["error"] = pd.Series("x.jpg: damaged", index=rows.index, dtype=object).where(places % 10 == 9, None)
    rows["face"] = pd.array([0] * len(rows), dtype="Int64")
    rows.loc[1, ["path", "face"]] = [rows.loc[0, "path"], 1]
    rows.loc[:1, "face_count"] = 2
    rows.loc[:1, ["crop_left", "crop_top", "crop_side"]] = [4, 4, 30]
    return rows


def search_found() -> dict:
    """Return what a search of six trials found, a name that is no HTML among it."""
    trials = pd.DataFrame(
        {
            "trial": range(1, 7),
            "state": ["complete", "complete", "pruned", "complete", "pruned", "complete"],
            "value": [6.1, 5.8, 7.2, 5.4, np.nan, 5.9],
            "best_epoch": [3, 3, 1, 2, None, 3],
            "epochs": [3, 3, 1, 3, None, 3],
            "seconds": [30.5, 31.0, 10.2, 30.9, None, 31.1],
            "why": [None, None, "worse than the median", None, "the loss stopped being a number <b>", None],
            "learning_rate": [1e-4, 3e-4, 9e-3, 1.2e-3, 1e-2, 2e-3],
            "ema": [None, 0.99, None, 0.99, 0.99, None],
        }
    )
    return {
        "title": "<script>mine</script>", "table": trials, "best": {"learning_rate": 1.2e-3, "ema": 0.99}, "value": 5.4,
        "words": "validation mean absolute error of age", "rises": False,
        "importances": {"learning_rate": 0.81, "ema": 0.19},
        "command": "agegender train --faces 'my faces.parquet' --learning-rate 0.0012 --ema 0.99", "is_drawn": True,
    }  # fmt: skip
