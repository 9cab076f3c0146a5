"""Make a trained model the one that comes with the package: `python docs/ship_model.py models/NAME`.

It rounds the weights to half floats, predicts the validation and test photos with what remains, calibrates by the
former and measures on the latter, and writes:

agegender/shipped/         model.onnx, weights.safetensors, model.json: each at most 6 MB
docs/shipped-model/        bias.html (no faces), figures.json, split.parquet (hashes of the photos of each split)
docs/shipped-model.md      the table between its two marks

onnxruntime and torch must agree on every test photo to 1e-3 years and 1e-4 of a probability, or nothing is written.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import agegender as ag
from agegender.audit.metrics_document import card_metrics
from agegender.heads import Classification, Regression
from agegender.model.checkpoint import digest_of, write_tensors
from agegender.model.familiarity import ENTRY, training_photos_entry
from agegender.model.half_floats import as_half_floats, half_state, with_half_initializers
from agegender.model.model_folder import CARD_FILE, ONNX_FILE, WEIGHTS_FILE
from agegender.model.onnx_export import export_model, tested_photos
from agegender.model.predictor import Predictor
from agegender.model.shipped import LICENCE, SHIPPED_FOLDER
from agegender.photos.face_detection import SECOND_LOOK
from agegender.progress import say
from agegender.writing import replaced_file, write_json, write_text

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs" / "shipped-model"
PAGE = ROOT / "docs" / "shipped-model.md"
MARKS = ("<!-- figures: written by docs/ship_model.py -->", "<!-- end of figures -->")
LARGEST_BYTES = 6_000_000
MOST_YEARS, MOST_PROBABILITY = 1e-3, 1e-4  # between onnxruntime and torch
LEAST = {"age": 5.0, "gender": 0.928}  # what has to be reached to land
HASH_DIGITS = 16
# What a card needs for predictions and for whoever judges the model; the rest of a run stays at home.
KEPT = (
    "body", "heads", "statistics", "augmentation", "training", "seed", "agegender_version", "faces_fingerprint",
    "run_id", "versions", "precision", "best_epoch", "seconds", "class_counts", "validation",
    ENTRY,
)  # fmt: skip


def ship(folder: Path, name: str, images: Path | None, *, mirrored: bool, median: bool) -> dict[str, Any]:
    """Write everything; return the figures."""
    trained = ag.Model.load(folder, device="cpu", precision="fp32", images=images)
    if trained.faces is None or trained.faces.is_drawn():
        raise SystemExit(f"{folder} was not trained on real faces whose table lies in it.")
    network = as_half_floats(trained.network)
    network.mirrored = mirrored
    card = _card(trained.card, name, mirrored=mirrored)
    if median:
        card["heads"] = [
            head | {"point": "median"} if head["kind"] == Regression.kind else head for head in card["heads"]
        ]
    if not card.get(ENTRY):
        card[ENTRY] = training_photos_entry(trained.faces, trained.image.size)
    judged = Predictor.of_network(network, card, device="cpu", precision="fp32")
    seen = replace(trained.faces, table=trained.faces.kept().query("split != 'train'").reset_index(drop=True))
    predictions = judged.predict_faces(seen, calibrates=True)
    tested = predictions[predictions["split"] == "test"].reset_index(drop=True)
    card["metrics"] = card_metrics(tested, judged.heads)
    found = [one.to_dict() for one in ag.Audit(tested, heads=judged.heads, title=name).findings if one.is_gap]
    card["findings"] = [{entry: one[entry] for entry in ("sentence", "columns", "values", "n")} for one in found]
    with tempfile.TemporaryDirectory() as temporary:
        new = Path(temporary)
        write_tensors(half_state(network), new / WEIGHTS_FILE)
        card["weights_sha256"] = digest_of(new / WEIGHTS_FILE)
        # A face is cut out with what lay around the faces of UTKFace, as the cascade boxes them.
        card["image"] |= {"crop": "haar", "crop_then": SECOND_LOOK}
        card["image"] |= {"crop_margins": card[ENTRY].get("margins", (0.0, 0.0, 0.0))}
        export_model(judged, new / ONNX_FILE, tested_photos(judged, seen))
        (new / ONNX_FILE).write_bytes(with_half_initializers((new / ONNX_FILE).read_bytes()))
        write_json(new / CARD_FILE, card)
        largest = _differences(new / ONNX_FILE, seen, tested)
        sizes = {path.name: path.stat().st_size for path in sorted(new.iterdir())}
        too_large = [file for file, size in sizes.items() if size > LARGEST_BYTES]
        if too_large:
            raise SystemExit(f"{', '.join(too_large)} would be larger than {LARGEST_BYTES:,} bytes: {sizes}")
        SHIPPED_FOLDER.mkdir(exist_ok=True)
        for path in new.iterdir():
            with replaced_file(SHIPPED_FOLDER / path.name) as place:
                place.write_bytes(path.read_bytes())
    figures = {"model": name, "bytes": sizes, "onnx_differs_by": largest, "test": card["metrics"]["test"]}
    _document(figures, tested, trained.faces)
    return figures


def _card(card: Mapping[str, Any], name: str, *, mirrored: bool) -> dict[str, Any]:
    kept = {entry: card[entry] for entry in KEPT if entry in card}
    data = {entry: card["data"][entry] for entry in ("sources", "is_drawn", "photos", "dropped")}
    licence = f"for non-commercial research and teaching only ({LICENCE}), not for decisions about people"
    image = {**card["image"], "crop": "none", "mirrored": mirrored}  # it is measured on faces
    return {
        "name": name, "created": card["created"], "licence": licence, **kept, "data": data, "image": image,
        "size": "custom", "weights": Path(card["weights"]).name, "calibration": {},
    }  # fmt: skip


def _differences(file: Path, faces: ag.Faces, tested: pd.DataFrame) -> dict[str, float]:
    """Return by how much onnxruntime's answers to the test photos differ from torch's, the largest of each head."""
    exported = Predictor.load(file)
    exported.card["image"] = {**exported.card["image"], "crop": "none"}
    plain = Predictor(exported.runtime, exported.card)
    found = plain.predict_faces(replace(faces, table=faces.kept().query("split == 'test'").reset_index(drop=True)))
    largest = {}
    for head in plain.heads:
        is_class = isinstance(head, Classification)
        columns = [one for one in head.prediction_columns if tested[one].dtype.kind == "f"]
        largest[head.name] = max(float(np.abs(found[one] - tested[one]).max()) for one in columns)
        if largest[head.name] > (MOST_PROBABILITY if is_class else MOST_YEARS):
            raise SystemExit(f"onnxruntime's {head.name} differs from torch's by {largest[head.name]:.2g}.")
    return largest


def _document(figures: dict[str, Any], tested: pd.DataFrame, faces: ag.Faces) -> None:
    """Write what stands in docs/ about the model: nothing that shows or names a photo."""
    DOCS.mkdir(exist_ok=True)
    unnamed = tested.drop(columns=["path", "phash", "file_sha512"], errors="ignore")
    ag.Audit(unnamed, heads=_heads(tested), title=figures["model"]).to_html(DOCS / "bias.html", hide_faces=True)
    write_json(DOCS / "figures.json", figures)
    rows = faces.kept()[["file_sha512", "split"]]
    hashes = rows.assign(file_sha512=rows["file_sha512"].str[:HASH_DIGITS]).sort_values("file_sha512")
    hashes.reset_index(drop=True).to_parquet(DOCS / "split.parquet", compression="zstd")
    text = PAGE.read_text(encoding="utf-8")
    between = re.compile(f"{re.escape(MARKS[0])}.*{re.escape(MARKS[1])}", re.DOTALL)
    table = "\n".join([MARKS[0], *_table(figures, tested), MARKS[1]])
    write_text(PAGE, between.sub(lambda _: table, text))


def _heads(tested: pd.DataFrame) -> Sequence[Any]:
    from agegender.heads import head_from_dict

    return [head_from_dict(entry) for entry in tested.attrs["heads"]]


def _table(figures: Mapping[str, Any], tested: pd.DataFrame) -> list[str]:
    lines = [
        "",
        "| photos of the test split | n | MAE, years | within ±8 years | gender as labelled | in the 90 % interval |",
        "|---|---:|---:|---:|---:|---:|",
        _line("all", tested),
    ]
    for column, values in {"gender": tested["gender"], "ethnicity": tested["ethnicity"], "age": _bands(tested)}.items():
        lines += [_line(f"{column}: {value}", rows) for value, rows in tested.groupby(values.to_numpy(), observed=True)]
    sizes = ", ".join(f"{file} {size / 1e6:.2f} MB" for file, size in figures["bytes"].items())
    apart = ", ".join(f"{head} by at most {value:.1g}" for head, value in figures["onnx_differs_by"].items())
    return [*lines, "", f"{sizes}. onnxruntime and torch differ on these photos in {apart}.", ""]


def _line(name: str, rows: pd.DataFrame) -> str:
    error = (rows["predicted_age_years"] - rows["age_years"]).abs()
    is_right = (rows["predicted_gender"] == rows["gender"])[rows["gender"].notna()]
    is_inside = rows["age_years"].between(rows["age_low_years"], rows["age_high_years"])
    shares = " | ".join(f"{100 * one.mean():.1f} %" for one in (error <= 8, is_right, is_inside))
    return f"| {name} | {len(rows):,} | {error.mean():.2f} | {shares} |"


def _bands(rows: pd.DataFrame) -> pd.Series:
    edges = [*range(0, 80, 10), np.inf]
    names = [f"{low} to {low + 9}" for low in range(0, 70, 10)] + ["70 and more"]
    return pd.cut(rows["age_years"], edges, right=False, labels=names)


def main() -> None:
    """Read the command line, write, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="the folder of a model trained on UTKFace")
    parser.add_argument("--name", default="agegender-tiny", help="what the shipped model is called")
    parser.add_argument("--images", type=Path, help="where its photos are now, if they have moved")
    parser.add_argument("--mirrored", action="store_true", help="answer by the mean over a photo and its mirror image")
    parser.add_argument("--median", action="store_true", help="answer by medians of distributions, not by means")
    options = parser.parse_args()
    figures = ship(options.model, options.name, options.images, mirrored=options.mirrored, median=options.median)
    print(json.dumps(figures, indent=1))
    digest = hashlib.sha256((SHIPPED_FOLDER / ONNX_FILE).read_bytes()).hexdigest()
    say(f"{SHIPPED_FOLDER / ONNX_FILE}: SHA-256 {digest}")
    age, gender = figures["test"]["age"], figures["test"]["gender"]
    reached = age["mae"] <= LEAST["age"] and gender["accuracy"] >= LEAST["gender"]
    say(f"{'reached' if reached else 'NOT reached'}: MAE of at most {LEAST['age']}, gender at least {LEAST['gender']}")


if __name__ == "__main__":
    main()
