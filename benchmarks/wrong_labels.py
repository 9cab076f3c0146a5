"""Are wrong labels found? Some are made wrong on purpose on drawn faces, or contradicted by twins on real ones.

    python benchmarks/wrong_labels.py [--quick] [--json]
    python benchmarks/wrong_labels.py --data UTKFace [--limit N] [--model FOLDER] [--quick] [--json]

*Drawn faces*: of 1,200, 3 % get the other gender and 3 % an age that is off by 25 years or more. Networks are
trained in folds on these labels, and each label is judged by the one that never saw its photo. Recall is the share of
the changed labels that are called wrong with a probability of at least one half, precision the share of changed ones
among those that are called so, and average precision says how well the whole order puts them first (by chance 0.03).

*Real faces* (`--data`, UTKFace's layout): groups of identical files whose labels contradict each other are left out of
the training, so at least one label of each group is wrong and no network saw any. The trained ensemble judges them:
recall is the share of groups of which a contradicted label is called wrong; how often an ordinary photo's label is
called wrong stands beside it, since nobody knows how many of those are. Networks are trained in folds, or a model that
left those groups out judges them beside its test photos (`--model`).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import agegender as ag
from agegender.audit.assessment import assess
from agegender.audit.suspected_labels import suspected_labels
from agegender.data.faces_table import CONFLICTING_LABELS, FacesTable
from agegender.errors import AgeGenderError
from agegender.heads import AGE, GENDER
from agegender.writing import to_json

CHANGED_SHARE, LEAST_CHANGE_YEARS = 0.03, 25.0
OLDEST_YEARS = 90
TRAINING = {"weights": "none", "image_size": 48, "batch_size": 32, "body": "resnet18-small-stem"}
TRAINING_REAL = {
    "weights": "none",
    "image_size": 64,
    "batch_size": 32,
    "body": "resnet18-narrow",
    "learning_rate": 2e-3,
}


def with_wrong_labels(faces: ag.Faces, seed: int) -> tuple[ag.Faces, dict[str, set[str]]]:
    """Return the faces with labels made wrong, and the paths of those by column."""
    generator = np.random.default_rng(seed)
    table, count = faces.table.copy(), round(CHANGED_SHARE * len(faces.table))
    turned, moved = (generator.choice(table.index, count, replace=False) for _ in range(2))
    others = dict(zip(GENDER.classes, reversed(GENDER.classes), strict=True))
    table.loc[turned, GENDER.column] = table.loc[turned, GENDER.column].map(others)
    for row in moved:
        ages = np.arange(OLDEST_YEARS + 1.0)
        table.loc[row, AGE.column] = generator.choice(
            ages[np.abs(ages - table.loc[row, AGE.column]) >= LEAST_CHANGE_YEARS]
        )
    changed = {GENDER.column: set(table.loc[turned, "path"]), AGE.column: set(table.loc[moved, "path"])}
    return replace(faces, table=table), changed


def measure_drawn(*, quick: bool, seed: int) -> dict[str, Any]:
    """Return precision, recall and average precision of each column on drawn faces."""
    count, folds, epochs = (240, 3, 2) if quick else (1200, 5, 8)
    with tempfile.TemporaryDirectory() as folder:
        faces, changed = with_wrong_labels(ag.Faces.drawn(Path(folder) / "faces", count, image_size=64), seed)
        model = ag.Model.train(faces, folds=folds, epochs=epochs, learning_rate=4e-3, **TRAINING)
    judged = assess(model.predictions)
    document: dict[str, Any] = {"faces": count, "folds": folds, "epochs": epochs, "seed": seed, "columns": {}}
    everybody = suspected_labels(judged.judged, judged.heads, least=0.0)
    for column, wrong in changed.items():
        ranked = everybody[everybody["column"] == column]
        is_wrong = ranked["path"].isin(wrong).to_numpy()
        called = (ranked["probability_wrong"] >= 0.5).to_numpy()
        hits = int((is_wrong & called).sum())
        document["columns"][column] = {
            "changed": len(wrong), "called_wrong": int(called.sum()), "hits": hits,
            "precision": hits / max(1, int(called.sum())), "recall": hits / len(wrong),
            "average_precision": average_precision(is_wrong),
            "recall_of_as_many": float(is_wrong[: len(wrong)].mean()),
            "mean_probability_of_called": float(ranked["probability_wrong"][called].mean()),
        }  # fmt: skip
    scores = model.card["metrics"]["test"]
    document["on_ordinary_photos"] = {"age_mae": scores["age"]["mae"], "gender_accuracy": scores["gender"]["accuracy"]}
    document["age_interval_coverage"] = scores["age"]["interval"]
    return document


def average_precision(is_wrong: np.ndarray) -> float:
    """Return the mean precision at the places of the wrong ones, the surest first."""
    places = np.flatnonzero(is_wrong) + 1
    return float(np.mean(np.arange(1, len(places) + 1) / places)) if len(places) else float("nan")


def measure_real(
    folder: Path, *, quick: bool, limit: int | None, seed: int, model_folder: Path | None
) -> dict[str, Any]:
    """Return how many groups of contradicting twins are found by networks that saw none of their photos."""
    faces = ag.Faces.read("utkface", folder).clean(near_duplicates=None)
    groups = [one["photos"] for one in faces.notes["cleaning"]["conflicts"] if one["kind"] == "exact"]
    table, document = faces.table, {}
    if model_folder is None:
        kept = faces.kept()
        chosen = kept.sample(min(limit or (600 if quick else len(kept)), len(kept)), random_state=seed)
        training = replace(faces, table=chosen.reset_index(drop=True))
        folds, epochs = (3, 1) if quick else (5, 8)
        model = ag.Model.train(training, folds=folds, epochs=epochs, **TRAINING_REAL)
        document = {"folds": folds, "epochs": epochs}
    else:
        model = ag.Model.load(model_folder, images=folder)
    known = model.predictions
    known = known[known["split"] == "test"]  # of folds, all photos are
    twins = table[table["dropped_because"] == CONFLICTING_LABELS].assign(dropped_because=None)
    seen = model.predict(FacesTable(twins.reset_index(drop=True), faces.root, {}))
    together = pd.concat([known, seen.assign(split="test")], ignore_index=True)
    together.attrs = known.attrs
    judged = assess(together)
    suspects = suspected_labels(judged.judged, judged.heads)
    called = set(zip(suspects["path"], suspects["column"], strict=True))
    document |= {"photos": len(known), "columns": {}}
    for column in (AGE.column, GENDER.column):
        torn = [group for group in groups if len({photo[column] for photo in group}) > 1]
        ordinary = sum((path, column) in called for path in known["path"]) / len(known)
        document["columns"][column] = _recall(torn, column, called) | {"ordinary_labels_called_wrong": ordinary}
    far = [group for group in groups if np.ptp([float(photo[AGE.column]) for photo in group]) >= LEAST_CHANGE_YEARS]
    document["columns"][f"{AGE.column}, {LEAST_CHANGE_YEARS:.0f} or more apart"] = _recall(far, AGE.column, called)
    scores = model.card["metrics"]["test"]
    document["on_ordinary_photos"] = {"age_mae": scores["age"]["mae"], "gender_accuracy": scores["gender"]["accuracy"]}
    return document


def _recall(groups: list[list[dict[str, Any]]], column: str, called: set[tuple[str, str]]) -> dict[str, Any]:
    hits = sum(any((photo["path"], column) in called for photo in group) for group in groups)
    return {"contradicting_groups": len(groups), "hits": hits, "recall": hits / max(1, len(groups))}


def words(document: dict[str, Any]) -> str:
    """Return the document as a few lines."""
    lines = []
    for column, found in document["columns"].items():
        said = ", ".join(f"{name} {value:.3g}" for name, value in found.items())
        lines.append(f"{column}: {said}")
    scores = document["on_ordinary_photos"]
    return "\n".join([*lines, f"on ordinary photos: {scores}", f"{document['processor_seconds']:.0f} s"])


def main() -> int:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a folder in UTKFace's layout; without it, faces are drawn")
    parser.add_argument("--limit", type=int, help="train on a random N of its photos")
    parser.add_argument("--model", type=Path, help="with --data: judge the twins by this model; none is trained")
    parser.add_argument("--seed", type=int, default=1, help="of the labels made wrong (default: 1)")
    parser.add_argument("--quick", action="store_true", help="few photos, within a minute or two")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # the libraries' own
    started = time.process_time()
    try:
        if options.data is None:
            document = measure_drawn(quick=options.quick, seed=options.seed)
        else:
            document = measure_real(
                options.data, quick=options.quick, limit=options.limit, seed=options.seed, model_folder=options.model
            )
    except AgeGenderError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    document["processor_seconds"] = round(time.process_time() - started, 1)
    print(to_json(document) if options.json else words(document))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
