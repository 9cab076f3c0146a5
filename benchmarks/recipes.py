"""Recipes side by side on the same photos: which of them lower the error, and what each mitigation of bias costs.

    python benchmarks/recipes.py errors --data UTKFace [--arms plain ema …] [--json]
    python benchmarks/recipes.py mitigations --data UTKFace --judge test [--json]
    python benchmarks/recipes.py mitigations --quick [--json]

`errors` are changes named before any was run, one at a time against the plain recipe, with epochs chosen so that each
takes about as long; the processor seconds stand beside every figure. They are chosen by the half of the validation
photos that chooses epochs. `mitigations` are what the options of `train` offer against unequal errors, all with the
epochs of the plain run. `--judge test` measures the kept models on the test photos, which is done once, at the end.

Of each model: the mean absolute error of ages and the accuracy of gender, and the ChaLearn bias scores (mean gap
between groups in absolute error, years) of each attribute. Beside a figure stands what it differs from the plain run's,
with a 95 % interval: photos are resampled in pairs, persons and twins as a whole. It holds for these two trainings;
what another seed of the same recipe would change is told by the arms `plain-seed-2` and `plain-seed-3`.

Each arm is recorded as it ends in the working folder, and not run again on the same terms.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from time_to_error import place_of, processor_seconds

import agegender as ag
from agegender.audit.chalearn import chalearn_scores
from agegender.audit.dependence import clusters_of
from agegender.audit.predictions_table import complete_predictions
from agegender.data.splitting import calibration_rows
from agegender.heads import AGE, GENDER
from agegender.progress import say
from agegender.writing import to_json, write_json

RESULTS = Path(__file__).parent / "results"
RESAMPLE_COUNT = 2000
FULL = {"body": "resnet18-narrow", "weights": "none", "image_size": 96, "epochs": 12, "batch_size": 32}
QUICK = {"body": "resnet18", "weights": "none", "image_size": 32, "epochs": 1, "batch_size": 16}
SEEDS = {f"plain-seed-{seed}": {"seed": seed} for seed in (2, 3)}
ONE_EPOCH = {"epochs": 1, "progressive": None, "image_size": 32}
# What an arm changes in the plain keywords of `Model.train`; epochs are those that take about as long as plain ones.
ERRORS: Mapping[str, Mapping[str, Any]] = {
    "plain": {},
    **SEEDS,
    "resnet34": {"body": "resnet34", "image_size": 64, "epochs": 4},
    "small-stem": {"body": "resnet18-narrow-small-stem", "image_size": 64, "epochs": 10},
    "ema": {"ema": 0.998},
    "alternating-flip": {"flip": "alternating"},
    "progressive": {"image_size": 128, "progressive": "96:7", "epochs": 10},
    "mixup": {"mixup": 0.2},
    "stronger": {"augmentation": "strong", "auxiliary": ("age_class",)},
    # What was best of these alone.
    "together": {"flip": "alternating", "image_size": 128, "progressive": "96:7", "epochs": 10},
}
MITIGATIONS: Mapping[str, Mapping[str, Any]] = {
    "plain": {},
    **SEEDS,
    "balance-ethnicity": {"balance": ("ethnicity",)},
    "balance-age": {"balance": ("age_group",)},
    "weigh-ethnicity": {"weigh": ("ethnicity",)},
    "weigh-age": {"weigh": ("age_group",)},
    "oversample-age": {"oversample": ("age_group",)},
    "l1": {"losses": {"age": "l1"}},
    "focal": {"losses": {"gender": "focal:gamma=2"}},
    "class-weights": {"losses": {"gender": "cross-entropy:balanced=1"}},
    "uncertainty": {"weighting": "uncertainty"},
}
SETS = {"errors": ERRORS, "mitigations": MITIGATIONS}


@dataclass(frozen=True)
class Figure:
    """One number of a predictions table; `of` takes the absolute errors, the right answers and groups of the rows."""

    name: str
    of: Callable[[pd.DataFrame], float]


def _mean_absolute_error(rows: pd.DataFrame) -> float:
    return float(np.nanmean(np.abs(AGE.errors(rows))))


def _accuracy(rows: pd.DataFrame) -> float:
    return float(GENDER.is_right(rows).mean())


def _bias(attribute: str) -> Callable[[pd.DataFrame], float]:
    return lambda rows: chalearn_scores(rows, AGE)[attribute]


FIGURES = (
    Figure("mae", _mean_absolute_error),
    Figure("gender", _accuracy),
    *(Figure(f"bias_{attribute}", _bias(attribute)) for attribute in ("gender", "age", "ethnicity")),
)


def faces_of(data: Path | None, folder: Path, limit: int | None) -> ag.Faces:
    """Return UTKFace, or drawn faces where no folder is named, cleaned and split; kept for the next run."""
    table = folder / f"faces-{limit or 'all'}.parquet"
    if table.is_file():
        return ag.Faces.load(table)
    raw = ag.Faces.read("utkface", data) if data else ag.Faces.drawn(folder / "drawn", limit or 1200)
    faces = raw.limit(limit).clean().split().with_age_classes()
    faces.save(table)
    return faces


def train_arm(name: str, faces: ag.Faces, folder: Path, keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Train an arm, unless it is recorded on these terms; return its record. Its model lies beside the record."""
    path = folder / f"{name}.json"
    terms = json.loads(to_json({"keywords": keywords, "photos": len(faces.kept())}))
    if path.is_file() and (known := json.loads(path.read_text(encoding="utf-8")))["terms"] == terms:
        say(f"{name}: recorded already in {path}")
        return dict(known)
    say(f"{name}: {keywords}")
    started = processor_seconds()
    model = ag.Model.train(faces, name=name, **keywords)
    seconds = processor_seconds() - started
    model.save(folder / name)
    assert model.history is not None
    record = {
        "arm": name,
        "terms": terms,
        "place": place_of(str(model.card["precision"])),
        "processor_seconds": seconds,
        "best_epoch": int(model.card["best_epoch"]),
        "curve": model.history[[c for c in model.history if str(c).startswith("valid_")]].to_dict("list"),
    }
    write_json(path, record)
    return record


def judged_rows(faces: ag.Faces, model: Path, judge: str) -> pd.DataFrame:
    """Return the rows that are judged, completed: the half of `valid` that chooses, or the test split."""
    predictions = ag.Model.load(model).predictions
    assert predictions is not None
    if judge == "test":
        rows = predictions[predictions["split"] == "test"]
    else:
        valid = faces.kept()
        valid = valid[valid["split"] == "valid"]
        chosen = valid["path"][~calibration_rows(valid)]
        rows = predictions[predictions["path"].isin(set(chosen))]
    rows = rows.sort_values("path").reset_index(drop=True)
    return complete_predictions(rows, (AGE, GENDER))[0]


def differences(plain: pd.DataFrame, rows: pd.DataFrame, draws: Sequence[NDArray[np.int64]]) -> dict[str, Any]:
    """Return each figure, its difference from the plain run's and the 95 % interval of that over paired resamples."""
    found = {}
    for figure in FIGURES:
        value, before = figure.of(rows), figure.of(plain)
        spread = [figure.of(rows.iloc[draw]) - figure.of(plain.iloc[draw]) for draw in draws]
        low, high = np.nanpercentile(spread, [2.5, 97.5])
        found[figure.name] = {"value": value, "difference": value - before, "low": float(low), "high": float(high)}
    return found


def paired_draws(rows: pd.DataFrame, count: int, seed: int = 7) -> list[NDArray[np.int64]]:
    """Return resamples of row numbers; rows that hang together are drawn together."""
    clusters = clusters_of(rows)
    numbers = np.arange(len(rows)) if clusters is None else np.asarray(clusters)
    members = pd.Series(np.arange(len(rows))).groupby(numbers).agg(list).tolist()
    generator = np.random.default_rng(seed)
    return [
        np.concatenate([members[one] for one in generator.integers(len(members), size=len(members))])
        for _ in range(count)
    ]


def table_text(document: Mapping[str, Any]) -> str:
    """Return the table as Markdown."""
    names = [figure.name for figure in FIGURES]
    lines = ["| recipe | " + " | ".join(names) + " | processor min |", "|---" * (len(names) + 2) + "|"]
    for arm in document["arms"]:
        cells = []
        for name in names:
            one = arm["figures"][name]
            digits = 3 if name == "gender" else 2
            cell = f"{one['value']:.{digits}f}"
            if arm["arm"] != "plain":
                cell += f" ({one['difference']:+.{digits}f}: {one['low']:+.{digits}f} to {one['high']:+.{digits}f})"
            cells.append(cell)
        lines.append(f"| {arm['arm']} | " + " | ".join(cells) + f" | {arm['processor_seconds'] / 60:.0f} |")
    return "\n".join(lines)


def draw_plot(document: Mapping[str, Any], path: Path) -> None:
    """Draw the differences from the plain run with their intervals, one panel per figure."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    arms = [arm for arm in document["arms"] if arm["arm"] != "plain"]
    figure, axes = plt.subplots(
        1, len(FIGURES), figsize=(3 * len(FIGURES), 0.4 * len(arms) + 1.4), sharey=True, constrained_layout=True
    )
    for axis, one in zip(axes, FIGURES, strict=True):
        cells = [arm["figures"][one.name] for arm in arms]
        middle = np.array([cell["difference"] for cell in cells])
        ends = np.array([[cell["difference"] - cell["low"], cell["high"] - cell["difference"]] for cell in cells]).T
        axis.errorbar(middle, range(len(arms)), xerr=np.maximum(ends, 0), fmt="o")
        axis.axvline(0, color="grey", linestyle=":")
        axis.set(title=one.name, xlabel="difference from plain")
    axes[0].set_yticks(range(len(arms)), [arm["arm"] for arm in arms])
    axes[0].invert_yaxis()
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path)


def main() -> None:
    """Parse, train, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", choices=SETS, help="which recipes")
    parser.add_argument("--data", metavar="FOLDER", type=Path, help="a UTKFace folder (default: faces are drawn)")
    parser.add_argument("--limit", type=int, help="only this many photos")
    parser.add_argument("--arms", nargs="+", metavar="NAME", help="only these; plain is always among them")
    parser.add_argument("--judge", choices=("selection", "test"), default="selection", help="(default: selection)")
    parser.add_argument("--folder", type=Path, help="where models and records are kept (default: a temporary one)")
    parser.add_argument(
        "--quick", action="store_true", help="three recipes (or --arms) for an epoch on 240 drawn faces, no record"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    recipes = SETS[options.set]
    wanted = ["plain", *(options.arms or list(recipes)[: 3 if options.quick else None])]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) if options.quick or not options.folder else options.folder
        folder.mkdir(parents=True, exist_ok=True)
        faces = faces_of(options.data, folder, 240 if options.quick else options.limit)
        usual, always = (QUICK, ONE_EPOCH) if options.quick else (FULL, {})
        records = {
            name: train_arm(name, faces, folder, {**usual, **recipes[name], **always}) for name in dict.fromkeys(wanted)
        }
        plain = judged_rows(faces, folder / "plain", options.judge)
        draws = paired_draws(plain, 100 if options.quick else RESAMPLE_COUNT)
        arms = [
            {**record, "figures": differences(plain, judged_rows(faces, folder / name, options.judge), draws)}
            for name, record in records.items()
        ]
    document = {"benchmark": "recipes", "set": options.set, "judged": options.judge, "n": len(plain), "arms": arms}
    if not options.quick:
        place = RESULTS / f"recipes-{options.set}-{options.judge}"
        write_json(place.with_suffix(".json"), document)
        draw_plot(document, place.with_suffix(".svg"))
    print(to_json(document) if options.json else table_text(document))


if __name__ == "__main__":
    main()
