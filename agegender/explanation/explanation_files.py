"""Explanations as files: two per photo, written as one, read with care.

NNNN-<photo>.explanation.json   everything in words and numbers
NNNN-<photo>.explanation.npz    the photo and its region map

One pair per photo, so that an interrupted run can keep what is done.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, fields, is_dataclass, replace
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, cast, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from agegender.errors import TableError
from agegender.explanation.face_explanation import NAN, FaceExplanation, TargetMap, to_document, without_face
from agegender.explanation.face_parts import name_regions
from agegender.heads import KNOWN_HEADS
from agegender.progress import say
from agegender.swapping import Swap, finish_swaps, replaced_set
from agegender.writing import replaced_file, write_json

SUFFIX = ".explanation"
_RUN_FILE = "run.json"  # of which training run the explanations in a folder are
_MOST_PIXEL_BYTES = 200_000_000  # of a photo and its region map, unpacked


def stage_explanation(swap: Swap, face: FaceExplanation, folder: Path, number: int) -> None:
    """Write one explanation where it waits for its swap."""
    place = _file_of(face, folder, number)
    pixels = swap.stage(place.with_suffix(".npz"))
    # The JSON comes last: where it stands, its pixels stand too.
    _write(face, pixels.parent / place.name)
    swap.stage(place)


def hide_explanations(swap: Swap, folder: Path) -> None:
    """Have those of a folder that still show somebody replaced by such as do not."""
    for path in sorted(folder.glob(f"[0-9]*{SUFFIX}.json")):
        face = _read_explanation(path)
        if face.is_hidden:
            continue
        number = int(re.findall(r"^\d+", path.name)[0])
        stage_explanation(swap, without_face(face, number), folder, number)
        _remove_others(swap, [path])


def _remove_others(swap: Swap, old: Sequence[Path]) -> None:
    """Have explanations go that no new one takes the place of."""
    for path in old:
        for one in (path, path.with_suffix(".npz")):
            if not swap.has(one):
                swap.remove(one)


def _file_of(face: FaceExplanation, folder: Path, number: int) -> Path:
    stem = re.sub(r"[^A-Za-z0-9_.-]", "_", Path(face.path).stem)[:80]
    return folder / f"{number:04d}-{stem}{SUFFIX}.json"


def write_explanation(face: FaceExplanation, folder: Path, number: int) -> Path:
    """Write one explanation, its two files as one, and return the JSON's place."""
    with replaced_set() as swap:
        stage_explanation(swap, face, folder, number)
    return _file_of(face, folder, number)


def _write(face: FaceExplanation, path: Path) -> None:
    with replaced_file(path.with_suffix(".npz")) as temporary, temporary.open("wb") as file:
        arrays: dict[str, Any] = {"photo": face.photo, "region_map": face.region_map.astype(np.uint16)}
        if face.parts is not None:
            arrays["part_map"] = face.parts.part_map
        np.savez_compressed(file, **arrays)
    document = to_document(face, has_curves=True)
    write_json(path, document | {"prediction_columns": list(face.predictions)})


def clear_explanations(swap: Swap, folder: Path, *, run_id: str | None = None) -> None:
    """Have all explanations go that are not replaced, and nothing else; note of which training run the new ones are."""
    stored = [*folder.glob(f"[0-9]*{SUFFIX}.json"), *folder.glob(f"[0-9]*{SUFFIX}.npz")]
    _remove_others(swap, sorted({path.with_suffix(".json") for path in stored}))
    if run_id:
        write_json(swap.stage(folder / _RUN_FILE), {"run_id": run_id})
    else:
        swap.remove(folder / _RUN_FILE)


def read_explanations(folder: Path, *, run_id: str | None = None) -> list[FaceExplanation]:
    """Read all explanations of a folder, in their order; none where they are of another training run than `run_id`."""
    finish_swaps(folder)
    of_run = _run_of(folder)
    if run_id and of_run and of_run != run_id:
        say(f"the explanations in {folder} are of another training run ({of_run}, not {run_id}) and are left out.")
        return []
    return [_read_explanation(path) for path in sorted(folder.glob(f"[0-9]*{SUFFIX}.json"))]


def reusable_explanations(folder: Path) -> Callable[[str], FaceExplanation | None]:
    """Return what finds an explanation of a folder by its `made_by`; a damaged one is as good as none."""
    places = {}
    for path in sorted(folder.glob(f"[0-9]*{SUFFIX}.json")):
        with suppress(OSError, ValueError, LookupError, TypeError, RecursionError):
            places[str(json.loads(path.read_text(encoding="utf-8"))["made_by"])] = path

    def find(made_by: str) -> FaceExplanation | None:
        if not made_by or made_by not in places:
            return None
        try:
            return _read_explanation(places[made_by])
        except TableError:
            return None

    return find


def _run_of(folder: Path) -> str:
    try:
        return str(json.loads((folder / _RUN_FILE).read_text(encoding="utf-8"))["run_id"])[:32]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return ""


def _read_explanation(path: Path) -> FaceExplanation:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        pixels = _read_pixels(path.with_suffix(".npz"))
        part_map = {"part_map": pixels.pop("part_map", None)}
        maps = tuple(_read_map(key, head) for key, head in document["heads"].items())
        of_answers = {words for one in maps for words in one.problems}
        known = {
            **document,
            **pixels,
            "parts": document["parts"] and {**document["parts"], **part_map} if "parts" in document else None,
            "maps": (),
            "problems": [words for words in document["problems"] if words not in of_answers],
            "predictions": {name: document[name] for name in document["prediction_columns"]},
        }
        face: FaceExplanation = replace(_read(FaceExplanation, known), maps=maps)
        _check_parts(face)
        if "parts" not in document:  # version 0.1 called regions after an aligned face, whatever the photo
            names = name_regions(face.region_map)
            face = replace(face, maps=tuple(_renamed(one, names) for one in maps))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise TableError(f"{path} is no whole explanation: {error}. `agegender explain` writes them.") from error
    return face


def _renamed(one: TargetMap, names: Sequence[str]) -> TargetMap:
    regions = tuple(replace(region, name=name) for region, name in zip(one.regions, names, strict=True))
    return replace(one, regions=regions)


def _read_pixels(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with zipfile.ZipFile(path) as packed:
            size = sum(member.file_size for member in packed.infolist())
        if size > _MOST_PIXEL_BYTES:
            raise ValueError(f"{path.name} would unpack to {size:,} bytes")
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
            return {**found, "region_map": found["region_map"].astype(np.int64)}
    except OSError:
        raise
    except Exception as error:  # numpy and zipfile raise some ten unrelated types on damaged files
        raise ValueError(f"{path.name} cannot be read ({type(error).__name__}: {error})") from error


def _check_parts(face: FaceExplanation) -> None:
    """Raise a ValueError unless pixels, regions and maps belong together."""
    photo, regions = face.photo, face.region_map
    if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or regions.shape != photo.shape[:2]:
        raise ValueError(f"its photo has the shape {photo.shape}, and its region map {regions.shape}")
    if not regions.size or regions.min() < 0 or regions.max() >= regions.size:
        raise ValueError("its region map holds no regions")
    if face.parts is not None:
        numbers = face.parts.part_map
        if not isinstance(numbers, np.ndarray) or numbers.dtype != np.uint8 or numbers.shape != regions.shape:
            raise ValueError("its map of the parts of the face does not fit its photo")
        if numbers.max() >= len(face.parts.names):
            raise ValueError(f"its map of the parts of the face has more than {len(face.parts.names)} parts")
    for one in face.maps:
        counts = [len(one.regions), *(len(opinion.weights) for opinion in one.second_opinions)]
        if set(counts) != {face.region_count} or [region.region for region in one.regions] != [*range(counts[0])]:
            raise ValueError(f"{one.target.key} has weights of {counts[0]} regions, and the photo {face.region_count}")
        drawn = () if one.trust is None else (one.trust.deletion, one.trust.insertion, *one.trust.random_deletions)
        if any(curve and not 0 < len(curve.values) == len(curve.pixel_share) for curve in drawn):
            raise ValueError(f"a curve of {one.target.key} has not as many shares as answers")
    if not face.maps:
        raise ValueError("it has no maps")


def _read_map(key: str, head: Mapping[str, Any]) -> TargetMap:
    # Target and trust figures stand flat in the document; version 0.1 wrote of a target no more than name and unit.
    known = {target.key: asdict(target) for one in KNOWN_HEADS for target in one.targets}
    trust = {**head, **head["curves"]} if head["has_trust"] else None
    target = {"key": key, **known.get(key, {}), **head}
    if "covered_value" not in head and trust and trust["deletion"]:
        head = {**head, "covered_value": trust["deletion"]["values"][-1]}  # where a curve of deletion ends
    one: TargetMap = _read(TargetMap, {**head, "target": target, "trust": trust})
    return one


def _read(kind: Any, value: Any) -> Any:
    """Return JSON data as the type that a dataclass says its field has; a TypeError where it is none."""
    if kind is Any or get_origin(kind) is np.ndarray:
        return value
    if value is None and kind is float:
        return NAN  # JSON knows no NaN
    if get_origin(kind) is UnionType:
        return None if value is None and NoneType in get_args(kind) else _read(get_args(kind)[0], value)
    if is_dataclass(kind):
        kinds, made = get_type_hints(kind), cast("type", kind)
        return made(**{one.name: _read(kinds[one.name], value[one.name]) for one in fields(kind) if one.name in value})
    if get_origin(kind) is tuple:
        if not isinstance(value, (list, tuple)):
            raise TypeError(f"{str(value)[:60]!r} is no list")
        return tuple(_read(get_args(kind)[0], item) for item in value)
    plain = get_origin(kind) or kind
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (is_number if plain is float else isinstance(value, plain)):
        raise TypeError(f"{str(value)[:60]!r} is no {plain.__name__}")
    return float(value) if plain is float else value
