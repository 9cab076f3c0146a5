"""The starting kit of the bias challenge: APPA-REAL faces as NumPy arrays, without names of files.

`data/data_<split>.npy` holds the photos (N, 224, 224, 3), uint8, in OpenCV's order of blue, green and red;
`labels_<split>.npy` their apparent ages; `meta_data_<split>.npy` three words each: gender, ethnicity and expression.
The test part has photos alone. They are unpacked once into PNG files, in the order of the arrays, which is the order
that a submission has to have. The kit leaves out photos of the release, so a row's number says nothing there.

An array of Python objects can only be read by running a pickle, and no pickle is opened.

References
----------
Clapés et al.: From apparent to real age: gender, age, ethnic, makeup, and expression bias analysis in real age
estimation, CVPR Workshops 2018.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from agegender.data.faces_table import SPLITS, FacesTable
from agegender.data.sources.labels import is_unknown, read_age, read_gender
from agegender.data.sources.layouts import assemble, refuse
from agegender.errors import OutputError, TableError
from agegender.photos.finding import require_folder
from agegender.photos.reading_ahead import read_ahead
from agegender.progress import track
from agegender.swapping import replaced_folder
from agegender.writing import check_space

EXPECTED = "data_train.npy, labels_train.npy and meta_data_train.npy (and the same of valid and test), maybe in data/"
UNPACKED = "course-kit-photos"
RECORD = "unpacked.json"
_WORDS = 3  # of meta_data: gender, ethnicity, expression
_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1]
_BYTES_PER_PIXEL = 2  # a PNG with room to spare


def read(root: Path, *, photos: Path | str | None = None) -> FacesTable:
    """Return the faces table of the kit; its photos are unpacked into `photos`, by default beside the arrays."""
    require_folder(root)
    home = next((place for place in (root, root / "data") if (place / "data_train.npy").is_file()), None)
    if home is None:
        raise refuse(root, "course_kit", EXPECTED)
    parts = {split: _Part(home, split) for split in SPLITS if (home / f"data_{split}.npy").is_file()}
    folder = home / UNPACKED if photos is None else Path(photos)
    _unpack(list(parts.values()), folder)
    base = root if photos is None else folder
    prefix = "" if base == folder else f"{folder.relative_to(root).as_posix()}/"
    rows = [row for part in parts.values() for row in part.rows(prefix)]
    return assemble(rows, base, "course_kit", expected=EXPECTED)


class _Part:
    """One split of the kit: its photos, not yet in memory, and its labels."""

    def __init__(self, home: Path, split: str) -> None:
        self.split, self.file = split, home / f"data_{split}.npy"
        self.photos = read_array(self.file)
        shape = self.photos.shape
        if self.photos.dtype != np.uint8 or len(shape) != 4 or shape[3] != 3:
            raise TableError(
                f"{self.file} holds {self.photos.dtype} of the shape {shape}; expected uint8 (N, height, width, 3)."
            )
        self.ages = self._labels(home / f"labels_{split}.npy", 1)
        self.words = self._labels(home / f"meta_data_{split}.npy", _WORDS)

    def _labels(self, path: Path, width: int) -> NDArray[Any] | None:
        """Return the labels, shape (N, width), or None where the part has none."""
        if not path.is_file():
            return None
        labels = read_array(path)
        count = len(self.photos)
        if labels.shape != (count, width) and (width > 1 or labels.shape != (count,)):
            raise TableError(f"{path} has the shape {labels.shape}; expected ({count}, {width}) for as many photos.")
        return labels.reshape(count, width)

    def names(self) -> list[str]:
        """Return the names of the photos' files."""
        return [f"kit-{self.split}-{number:06d}.png" for number in range(len(self.photos))]

    def rows(self, prefix: str) -> Iterable[dict[str, Any]]:
        """Yield a row per photo."""
        for number, name in enumerate(self.names()):
            age = read_age(None if self.ages is None else self.ages[number, 0])
            gender, ethnicity, expression = (None,) * _WORDS if self.words is None else map(_word, self.words[number])
            yield {
                "path": prefix + name,
                "age_years": age.years,
                "gender": read_gender(gender),
                "ethnicity": ethnicity,
                "expression": expression,
                "split": self.split,
                "dropped_because": age.dropped_because,
            }


def read_array(path: Path) -> NDArray[Any]:
    """Return an array of a .npy file as it lies on the disk; no pickle is opened."""
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        if "pickle" in str(error) or "object" in str(error).lower():
            raise TableError(
                f"{path} holds Python objects, which only a pickle can carry; a pickle can run anything, so it is not "
                "opened. If you trust it, store it as plain text once, in Python: numpy.save(FILE, numpy.load(FILE, "
                "allow_pickle=True).astype(str))"
            ) from error
        raise TableError(f"{path} cannot be read as a NumPy array: {error}. Restore it from the kit.") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biufUS":
        raise TableError(f"{path} holds no plain array of numbers or texts.")
    return array


def _word(label: object) -> str | None:
    text = label.decode("utf-8", "replace") if isinstance(label, bytes) else str(label)
    return None if is_unknown(text) else text.strip().lower()


def _unpack(parts: list[_Part], folder: Path) -> None:
    """Write the photos to PNG files, whole or not at all; do nothing where these arrays have been unpacked before."""
    facts = {part.file.name: [part.file.stat().st_size, part.file.stat().st_mtime_ns] for part in parts}
    names = [name for part in parts for name in part.names()]
    if _read_record(folder) == facts and all((folder / name).is_file() for name in names):
        return
    if folder.exists() and not (folder / RECORD).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(
            f"{folder} holds something else than the kit's photos. Name another with --option photos=FOLDER."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    check_space(folder.parent, _BYTES_PER_PIXEL * sum(part.photos[..., 0].size for part in parts), "the kit's photos")
    with replaced_folder(folder) as new:
        jobs = ((new / name, photo) for part in parts for name, photo in zip(part.names(), part.photos, strict=True))
        for _ in track(read_ahead(_write, jobs), "unpacking the kit", total=len(names)):
            pass
        (new / RECORD).write_text(json.dumps(facts), encoding="utf-8")


def _write(job: tuple[Path, NDArray[np.uint8]]) -> None:
    path, photo = job
    _, encoded = cv2.imencode(".png", np.ascontiguousarray(photo), _PNG)
    path.write_bytes(encoded.tobytes())


def _read_record(folder: Path) -> Any:
    try:
        return json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
