"""Do explanations point to true causes? Drawn faces know theirs; a model trained on them is explained and judged.

    python benchmarks/known_causes.py --model models/NAME --data data/drawn-faces-1200-seed7 [--quick] [--json]

The strongest region of a map *lies on a true cause* when at least half of its pixels show a feature that causes the
label (`drawing.causes.CAUSES`), or when it holds at least a third of all pixels of one such feature: lips, lashes and
wrinkles are thinner than any superpixel and could never fill one. Scalp that receding hair has bared counts as a
feature of both labels (`bared_scalp`): it is found by drawing the person again with all the hair. The chance level
beside each figure is the share of a photo's regions for which the same is true: what a map of random numbers would
reach. Photos come from the model's own test split where the model folder knows it.
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from agegender.api.finding_parts import find_parts
from agegender.data.faces_table import read_faces
from agegender.data.sources.drawn_faces import Causes, bared_scalp, read_causes
from agegender.explanation.face_explanation import FaceExplanation
from agegender.explanation.lime_explainer import LimeExplainer, LimeSettings
from agegender.explanation.superpixels import Regions, name_regions
from agegender.heads import AGE, GENDER
from agegender.model.model_folder import FACES_FILE, newest_model
from agegender.model.predictor import Predictor
from agegender.photos.reading import read_photo
from agegender.progress import track
from agegender.writing import to_json

LEAST_SHARE_OF_REGION = 1 / 2
LEAST_SHARE_OF_FEATURE = 1 / 3
HEADS = ("age", "gender")


def on_a_cause(face: FaceExplanation, causes: Causes, cause: str, bared: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which regions lie on a true cause, shape (regions,); `bared` are the pixels that hair has left."""
    side = face.region_map.shape[0]
    regions = Regions(face.region_map, name_regions(face.region_map))
    pixel_counts = regions.pixel_shares * face.region_map.size
    covered, holds_feature = np.zeros(regions.count), np.zeros(regions.count, dtype=bool)
    seen = np.zeros_like(bared)
    for pixels in (*(causes.masks[feature] for feature in causes.causes[cause]), bared):
        mask, fresh = (
            cv2.resize(_square(one), (side, side), interpolation=cv2.INTER_AREA) for one in (pixels, pixels & ~seen)
        )
        seen |= pixels  # bared scalp may be forehead, which is listed already
        if mask.sum() == 0:
            continue
        inside = np.bincount(face.region_map.ravel(), weights=mask.ravel(), minlength=regions.count)
        holds_feature |= inside / mask.sum() >= LEAST_SHARE_OF_FEATURE
        covered += np.bincount(face.region_map.ravel(), weights=fresh.ravel(), minlength=regions.count)
    return holds_feature | (covered / pixel_counts >= LEAST_SHARE_OF_REGION)


def judge(face: FaceExplanation, causes: Causes, bared: NDArray[np.bool_]) -> dict[str, dict[str, float]]:
    """Return the figures of one face, per head."""
    found = {}
    for head, one in zip(HEADS, face.maps, strict=True):
        lies_on = on_a_cause(face, causes, head, bared)
        assert one.trust is not None
        found[head] = {
            "strongest_on_cause": float(lies_on[one.strongest(1)[0].region]),
            "chance": float(lies_on.mean()),
            "weight_on_cause": float(np.abs(one.weights()) @ lies_on / max(np.abs(one.weights()).sum(), 1e-12)),
            "deletion_beats_random": float(one.trust.deletion_auc < one.trust.random_deletion_auc),
            "insertion_beats_random": float(one.trust.insertion_auc > one.trust.random_insertion_auc),
            "held_out_r2": one.trust.held_out_r2,
            "top_jaccard": one.trust.top_jaccard,
            "background_share": one.trust.background_share,
            "believable": float(one.trust.is_believable),
        }
    return found


def measure(model_folder: Path, photos: list[Path], settings: LimeSettings) -> dict[str, Any]:
    model = Predictor.load(model_folder, device="cpu" if settings.device == "cpu" else settings.device)
    explainer = LimeExplainer(model.score_images, (*AGE.targets, *GENDER.targets), settings)
    started, judged, evaluations = time.perf_counter(), [], 0
    for photo in track(photos, "explaining drawn faces", total=len(photos)):
        pixels = read_photo(photo)
        parts = find_parts(pixels, model.image.size, file=photo)
        face = explainer.explain(model.fit_photo(pixels), photo.name, parts=parts)
        judged.append(judge(face, read_causes(photo), bared_scalp(photo)))
        evaluations += face.evaluation_count
    seconds = time.perf_counter() - started
    heads = {
        head: {name: float(np.nanmean([one[head][name] for one in judged])) for name in judged[0][head]}
        for head in HEADS
    }
    return {
        "model": model_folder.name,
        "faces": len(photos),
        "segments": settings.segments,
        "fill": settings.fill,
        "heads": heads,
        "evaluations_per_face": evaluations / len(photos),
        "seconds_per_face": seconds / len(photos),
    }


def choose_photos(data: Path, model_folder: Path, count: int, seed: int) -> list[Path]:
    """Return drawn photos of the model's test split, or any where the model folder does not know them."""
    photos = sorted(data.glob("*.jpg"))
    table = model_folder / FACES_FILE
    if table.is_file():
        kept = read_faces(table).kept()
        tested = set(kept.loc[kept["split"] == "test", "path"].map(lambda path: Path(path).name))
        photos = [photo for photo in photos if photo.name in tested] or photos
    return random.Random(seed).sample(photos, min(count, len(photos)))


def _square(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    height, width = mask.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return mask[top : top + side, left : left + side].astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a model trained on drawn faces (default: the newest in models/)")
    parser.add_argument("--data", type=Path, default=Path("data/drawn-faces-1200-seed7"), help="folder of drawn faces")
    parser.add_argument("--faces", type=int, default=100)
    parser.add_argument("--segments", default="slic")
    parser.add_argument("--fill", default="mean")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="ten faces")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    model_folder = options.model or newest_model(Path("models"))
    photos = choose_photos(options.data, model_folder, 10 if options.quick else options.faces, options.seed)
    settings = LimeSettings(segments=options.segments, fill=options.fill, device=options.device)
    document = measure(model_folder, photos, settings)
    if options.json:
        print(to_json(document))
        return
    print(f"{document['faces']} faces, {document['seconds_per_face']:.2f} s each")
    for head, figures in document["heads"].items():
        print(head, ", ".join(f"{name.replace('_', ' ')} {value:.2f}" for name, value in figures.items()))


if __name__ == "__main__":
    main()
