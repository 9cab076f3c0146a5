"""What a model says of faces that were cut otherwise than its training photos, and of photos that lie on their side.

    python benchmarks/margins.py --faces faces.parquet [--model MODEL] [--images FOLDER] [--quick] [--json]

The photos are those of the table's test split. Each is measured

- as it came, and as its middle 85 % (cut tighter);
- cut wider by 10, 25 and 50 % of its side on each side, what lies around being a scene of scraps of other photos: the
  margins are exact, and no detector is asked;
- found in that scene, three times as wide as the photo, as `predict` finds faces, and cut out with margins of 0, 0.2
  and 0.4 of the box and with the model's own; where none is found the middle is taken, as `predict` does; `again` is
  the share that only the second look has found, `first look alone` what it is without;
- turned by 15 and by 30 degrees, either way by chance, what lies around repeating the edge;
- written as a JPEG that lies on its side or head, with the EXIF entry that says so: read as `predict` reads files, its
  answers must be those of the upright one; `largest` is the largest difference of an age, in years.

By default the model is the one that comes with agegender.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from face_cropping import overlap
from numpy.typing import NDArray
from PIL import Image

import agegender as ag
from agegender.errors import AgeGenderError, PhotoError
from agegender.heads import AGE, GENDER
from agegender.photos.face_crops import Margins, centre_square, crop_square, cut_out, cuts_of
from agegender.photos.face_detection import SECOND_LOOK, FaceBox, HaarDetector
from agegender.photos.reading import as_photo
from agegender.writing import to_json

Photo = NDArray[np.uint8]
TIGHTER, WIDER, MARGINS, DEGREES = 0.85, (0.1, 0.25, 0.5), (0.0, 0.2, 0.4), (15, 30)
SCENE_SIDES = 3
LEAST_OVERLAP = 1 / 3
# EXIF orientation -> what a camera did to the upright photo.
LYING: dict[int, Callable[[Photo], Photo]] = {
    3: lambda photo: np.rot90(photo, 2),
    6: lambda photo: np.rot90(photo, 1),
    8: lambda photo: np.rot90(photo, 3),
}
QUICK_PHOTOS = 150


@dataclass
class Tested:
    """The labelled photos to judge on."""

    photos: list[Photo]
    ages: NDArray[np.float64]
    genders: NDArray[np.object_]


def read_tested(faces: ag.Faces, count: int | None, generator: np.random.Generator) -> Tested:
    """Return photos of the test split, a random `count` of them or all."""
    rows = faces.kept().query("split == 'test'")
    if count is not None and count < len(rows):
        rows = rows.iloc[np.sort(generator.permutation(len(rows))[:count])]
    photos, kept = [], []
    for number, path in enumerate(rows["path"]):
        with suppress(PhotoError):
            photos.append(as_photo(faces.photo_path(path)))
            kept.append(number)
    if len(photos) < 4:
        raise AgeGenderError(f"{faces.root} holds {len(photos)} readable photos of the test split; 4 are needed.")
    rows = rows.iloc[kept]
    return Tested(photos, rows[AGE.column].to_numpy(), rows[GENDER.column].to_numpy())


def scene_around(photo: Photo, others: Sequence[Photo], generator: np.random.Generator) -> Photo:
    """Return the photo in the middle of a ground of upside-down, blurred scraps of others, three times as wide."""
    side = min(photo.shape[:2])
    tile = max(8, side // 4)
    scene = np.zeros((SCENE_SIDES * side, SCENE_SIDES * side, 3), np.uint8)
    for top in range(0, len(scene), tile):
        for left in range(0, len(scene), tile):
            source = others[generator.integers(len(others))]
            scrap = max(2, min(source.shape[:2]) // 8)
            row, column = (int(generator.integers(length - scrap)) for length in source.shape[:2])
            piece = cv2.resize(source[row : row + scrap, column : column + scrap][::-1], (tile, tile))
            scene[top : top + tile, left : left + tile] = piece[: len(scene) - top, : len(scene) - left]
    scene = cv2.GaussianBlur(scene, (0, 0), float(generator.uniform(0.5, 6)))
    scene[side : 2 * side, side : 2 * side] = crop_square(photo, centre_square(photo))
    return scene


def wider(scene: Photo, share: float) -> Photo:
    """Return the middle of a scene: its photo, and this share of the photo's side on each side."""
    side = len(scene) // SCENE_SIDES
    more = round(share * side)
    return scene[side - more : 2 * side + more, side - more : 2 * side + more]


def tighter(photo: Photo) -> Photo:
    """Return the middle of a photo."""
    height, width = photo.shape[:2]
    down, across = (round(length * (1 - TIGHTER) / 2) for length in (height, width))
    return photo[down : height - down, across : width - across]


def turned(photo: Photo, degrees: float) -> Photo:
    """Return a photo turned around its middle."""
    height, width = photo.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    return cv2.warpAffine(photo, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)


def lying(photo: Photo, orientation: int) -> bytes:
    """Return a JPEG of a photo as a camera held otherwise would have stored it."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = io.BytesIO()
    pixels = photo if orientation == 1 else np.ascontiguousarray(LYING[orientation](photo))
    Image.fromarray(pixels).save(stored, "JPEG", quality=97, subsampling=0, exif=exif)
    return stored.getvalue()


def figures(model: ag.Model, photos: Sequence[Any], tested: Tested) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return the scores of photos taken as they are, and the answers."""
    columns = model.predict_images(np.stack([model.fit_photo(as_photo(photo)) for photo in photos]))
    has_gender = np.array([isinstance(one, str) for one in tested.genders])
    errors = np.abs(columns[AGE.predicted].to_numpy() - tested.ages)
    right = columns[GENDER.predicted].to_numpy() == tested.genders
    scores = {"n": len(photos), "mae": float(np.nanmean(errors)), "gender": float(right[has_gender].mean())}
    return scores, columns


def found_and_cut(model: ag.Model, scenes: Sequence[Photo]) -> Iterator[tuple[str, list[Photo], dict[str, float]]]:
    """Yield for each margin every scene's largest face cut out, and the shares of right finds and of late ones."""
    ways = {"cut as predict does": model.margins} | {f"margin {margin:g}": Margins.of(margin) for margin in MARGINS}
    detector = model.detector_for("largest", is_cropped=False) or HaarDetector()
    finds = [detector.detect(scene)[:1] for scene in scenes]
    is_right = [bool(found) and _is_right(found[0], scene) for found, scene in zip(finds, scenes, strict=True)]
    is_late = [bool(found) and found[0].found_by == SECOND_LOOK for found in finds]
    shares = {"found": float(np.mean(is_right)), "again": float(np.mean(is_late))}
    for way, margins in ways.items():
        yield way, [_cut(scene, found, margins) for scene, found in zip(scenes, finds, strict=True)], shares
    alone = [[] if late else found for found, late in zip(finds, is_late, strict=True)]
    found = float(np.mean(np.array(is_right) & ~np.array(is_late)))
    cuts = [_cut(scene, found, model.margins) for scene, found in zip(scenes, alone, strict=True)]
    yield "cut as predict does, first look alone", cuts, {"found": found, "again": 0.0}


def _is_right(find: FaceBox, scene: Photo) -> bool:
    side = len(scene) // SCENE_SIDES
    return overlap(find, FaceBox(side, side, side, side, 1.0)) >= LEAST_OVERLAP


def _cut(scene: Photo, found: Sequence[FaceBox], margins: Margins) -> Photo:
    return cut_out(scene, cuts_of(scene, found, margins)[0])


def measure(model: ag.Model, faces: ag.Faces, count: int | None) -> dict[str, Any]:
    """Return the scores of each way to cut, turn and store the same photos."""
    generator = np.random.default_rng(7)
    tested = read_tested(faces, count, generator)
    photos = tested.photos
    rows = {"as they came": figures(model, photos, tested)[0]}
    rows[f"middle {TIGHTER:.0%}"] = figures(model, [tighter(photo) for photo in photos], tested)[0]
    scenes = [scene_around(photo, photos, generator) for photo in photos]
    for share in WIDER:
        cut = [wider(scene, share) for scene in scenes]
        rows[f"cut wider by {share:.0%} on each side"] = figures(model, cut, tested)[0]
    for way, cuts, shares in found_and_cut(model, scenes):
        rows[f"found, {way}"] = figures(model, cuts, tested)[0] | shares
    for degrees in DEGREES:
        signs = generator.choice([-1, 1], len(photos))
        leaning = [turned(photo, sign * degrees) for photo, sign in zip(photos, signs, strict=True)]
        rows[f"turned by {degrees} degrees"] = figures(model, leaning, tested)[0]
    upright = figures(model, [lying(photo, 1) for photo in photos], tested)[1][AGE.predicted]
    for orientation in LYING:
        scores, answers = figures(model, [lying(photo, orientation) for photo in photos], tested)
        largest = float((answers[AGE.predicted] - upright).abs().max())
        rows[f"EXIF orientation {orientation}"] = scores | {"largest": largest}
    return {"benchmark": "margins", "model": model.name, "size": model.image.size, "rows": rows}


def words(document: dict[str, Any]) -> str:
    """Return the document as a table in Markdown."""
    lines = [f"{document['model']}, {document['size']} px", "", "| photos | n | MAE, years | gender | |"]
    lines.append("|---|---:|---:|---:|---|")
    for name, row in document["rows"].items():
        more = f"{100 * row['found']:.1f} % found" if "found" in row else ""
        more += f", {100 * row['again']:.1f} % at the second look" if row.get("again") else ""
        more += f"largest difference {row['largest']:.2f} years" if "largest" in row else ""
        lines.append(f"| {name} | {row['n']:,} | {row['mae']:.2f} | {100 * row['gender']:.1f} % | {more} |")
    return "\n".join(lines)


def main() -> int:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, required=True, help="a faces table with splits")
    parser.add_argument("--images", type=Path, help="where its photos are now, if they have moved")
    parser.add_argument("--model", type=Path, help="a model folder or an .onnx file (default: the shipped one)")
    parser.add_argument("--limit", type=int, help="a random N of the test photos")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_PHOTOS} photos")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # the libraries' own
    started = time.process_time()
    try:
        model = ag.Model.load(options.model)
        faces = ag.Faces.load(options.faces, root=options.images)
        document = measure(model, faces, QUICK_PHOTOS if options.quick else options.limit)
    except AgeGenderError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    document["processor_seconds"] = round(time.process_time() - started, 1)
    print(to_json(document) if options.json else words(document))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
