"""What is said of one photo, as frozen data that shows itself in a notebook, and its files.

NNNN-<photo>.explanation.json   everything in words and numbers
NNNN-<photo>.explanation.npz    the photo and its region map

One pair of files per photo, so that an interrupted run can keep what is done. All weights are in the unit of their
target (years, log-odds): the change of the answer, averaged over what else is visible, when a region goes from covered
to visible.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from html import escape
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, cast, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from agegender.errors import TableError
from agegender.explanation.face_parts import FaceParts, name_regions
from agegender.explanation.maps import address_of, figure_of, scales_of, weight_picture
from agegender.heads import KNOWN_HEADS, Target
from agegender.photos.warping import hidden
from agegender.progress import say
from agegender.swapping import Swap, finish_swaps, replaced_set
from agegender.writing import replaced_file, write_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAN = float("nan")
SUFFIX = ".explanation"
_RUN_FILE = "run.json"  # of which training run the explanations in a folder are
_CURVES = ("deletion", "insertion", "random_deletions")
_MOST_SHOWN = 8  # maps in a notebook's cell, which is to stay small
_LONGEST_NAME = 30
_MOST_PIXEL_BYTES = 200_000_000  # of a photo and its region map, unpacked


@dataclass(frozen=True)
class RegionWeight:
    """What one region of the photo does to one target.

    Attributes
    ----------
    region : int
        Its number in the region map, 0..K-1.
    name : str
        The part of the face that it holds, numbered where several do ("nose 2"), or its place in the photo where the
        parts of the face are not known ("upper middle, 3rd of 5").
    weight, low, high : float
        Unit of the target; `low` and `high` end the 95 % interval (NaN where the samples are too few for one).
    pixel_share : float
        Share of the photo's pixels, in (0, 1].
    """

    region: int
    name: str
    weight: float
    low: float
    high: float
    pixel_share: float


@dataclass(frozen=True)
class Curve:
    """The answer, in its unit, by the share of pixels covered (deletion) or uncovered (insertion) so far, 0 to 1."""

    pixel_share: tuple[float, ...]
    values: tuple[float, ...]

    def area(self) -> float:
        """Return the mean height."""
        return float(np.trapezoid(self.values, self.pixel_share))


@dataclass(frozen=True)
class Trust:
    """How far one map can be believed; NaN where a figure could not be had.

    Attributes
    ----------
    held_out_r2 : float
        Share of the answers' variance over fresh perturbations, never fitted to, that the map predicts; at most 1.
    in_sample_r2 : float
        The same over the fitted ones, which flatters; shown only to show by how much.
    deletion_auc, insertion_auc : float
        Mean height of the scaled curve; see `scaled_curves`. Deletion covers what speaks most for the answer first and
        should be low; insertion shows it first and should be high.
    random_deletion_auc, random_insertion_auc : float
        Means of the same over random orders.
    expects_gain : bool
        Whether the map says of itself that its order beats random ones; regions of one weight have no order.
    agreement : float
        Likeness of the maps of independent halves of the samples, in [-1, 1]; see `surrogate.likeness`.
    top_jaccard : float
        Overlap of the strongest regions between these halves: shared / all, 1 is the same set. Told, but no check:
        between regions of nearly one weight it is a matter of chance.
    photo_share : float
        What the answer on the photo itself loses when each of the strongest regions alone is covered, in the direction
        that its weight says, as a share of these weights: 1 where the map says it right, 0 where nothing moves.
    background_share : float
        Share of the absolute weights that lies outside the head, regions counted by their pixels there; NaN where the
        place of the head is not known.
    background_pixel_share : float
        Share of the pixels that lies outside the head: what a map without preference would have.
    untrained_correlation : float
        Rank correlation with the map of the same network untrained; far from 1 is as it should be. NaN: not asked.
    failures : tuple of str
        In words, each check that failed and why; empty when the map can be shown as it is.
    """

    held_out_r2: float = NAN
    in_sample_r2: float = NAN
    held_out_count: int = 0
    deletion_auc: float = NAN
    insertion_auc: float = NAN
    random_deletion_auc: float = NAN
    random_insertion_auc: float = NAN
    expects_gain: bool = True
    deletion: Curve | None = None
    insertion: Curve | None = None
    random_deletions: tuple[Curve, ...] = ()
    agreement: float = NAN
    top_jaccard: float = NAN
    top_count: int = 0
    photo_share: float = NAN
    background_share: float = NAN
    background_pixel_share: float = NAN
    untrained_correlation: float = NAN
    failures: tuple[str, ...] = ()

    @property
    def is_believable(self) -> bool:
        """Whether every check passed."""
        return not self.failures


@dataclass(frozen=True)
class SecondOpinion:
    """What another method ("Grad-CAM", "occlusion") says of the same regions.

    Weights are sums over each region's pixels, so that only their order is comparable; `rank_correlation` is
    Spearman's, of the signed weights with ours, in [-1, 1].
    """

    method: str
    weights: tuple[float, ...]
    rank_correlation: float


@dataclass(frozen=True)
class TargetMap:
    """The explanation of one target on one photo.

    Attributes
    ----------
    target : Target
    value : float
        The model's answer on the photo as it is.
    intercept : float
        The base value: the surrogate's answer with every region covered. See `parts_sum`.
    regions : tuple of RegionWeight
        One per region, in the order of the region map.
    trust : Trust or None
        None when it was not asked for.
    verdict : str
        One sentence: whether to believe the map, and why not.
    problems : tuple of str
        In words, what is wrong with the model's answers; empty when nothing is.
    covered_value : float
        The model's answer with every region covered; NaN where an earlier version did not keep it.
    finding : str
        One sentence: what a map that can be believed says of where the model looks; empty for any other map.
    """

    target: Target
    value: float
    intercept: float
    regions: tuple[RegionWeight, ...]
    trust: Trust | None
    verdict: str
    second_opinions: tuple[SecondOpinion, ...] = ()
    problems: tuple[str, ...] = ()
    covered_value: float = NAN
    finding: str = ""

    @property
    def is_believable(self) -> bool:
        """Whether no check failed; a map that was not checked is taken at its word."""
        return self.trust is None or self.trust.is_believable

    @property
    def parts_sum(self) -> float:
        """What the map makes of the whole photo: the base value and the weights of all regions."""
        return self.intercept + float(self.weights().sum())

    def strongest(self, count: int = 6) -> tuple[RegionWeight, ...]:
        """Return the regions with the largest absolute weights, largest first."""
        known = [region for region in self.regions if np.isfinite(region.weight)]
        return tuple(sorted(known, key=lambda region: -abs(region.weight))[:count])

    def weights(self) -> NDArray[np.float64]:
        """Return the weights, shape (regions,), in the target's unit."""
        return np.array([region.weight for region in self.regions], dtype=np.float64)

    def intervals(self) -> NDArray[np.float64]:
        """Return the 95 % intervals, shape (regions, 2), in the target's unit."""
        return np.array([(region.low, region.high) for region in self.regions], dtype=np.float64).reshape(-1, 2)


@dataclass(frozen=True)
class FaceExplanation:
    """Everything that is said of one photo.

    Attributes
    ----------
    path : str
        As the caller gave it.
    photo : array, shape (S, S, 3), uint8, RGB
        As the model saw it.
    region_map : array, shape (S, S), int
        Region number of each pixel, 0..K-1 without gaps.
    maps : tuple of TargetMap
        One per target of the model.
    segments, fill : str
        How regions were made and what covers them ("slic", "mean").
    sample_count : int
        Perturbed photos that the maps were fitted to; `evaluation_count` adds those for the trust figures.
    stopped_because : str
        Why sampling ended, in words.
    problems : tuple of str
        In words, what is wrong with the photo; empty when nothing is. What is wrong with answers stands on their map.
    predictions, labels : mapping
        Columns of the predictions and of the faces table, where known (`predicted_age_years`, `age_years`, …).
    reason : str
        Why this photo was chosen ("worst over-estimate"), empty when it was named by the caller.
    is_hidden : bool
        Faces were hidden when it was stored: the photo is blurred and has lost its name.
    parts : FaceParts or None
        Where the parts of this face are, after which the regions are called; None where that is not known.

    Examples
    --------
    >>> from agegender.heads import AGE
    >>> photo = np.zeros((64, 64, 3), np.uint8)
    >>> region = RegionWeight(0, "nose", 2.0, 1.5, 2.5, 1.0)
    >>> one = TargetMap(*AGE.targets, 31.0, 29.0, (region,), None, "Not checked.")
    >>> figure = FaceExplanation("face.jpg", photo, np.zeros((64, 64), int), (one,)).plot()
    >>> figure.get_axes()[1].get_title().splitlines()
    ['age: 31.0 years', 'blue makes younger', 'red makes older']
    """

    path: str
    photo: NDArray[np.uint8]
    region_map: NDArray[np.int64]
    maps: tuple[TargetMap, ...]
    segments: str = "slic"
    fill: str = "mean"
    seed: int = 0
    sample_count: int = 0
    evaluation_count: int = 0
    stopped_because: str = ""
    problems: tuple[str, ...] = ()
    predictions: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    duration_seconds: float = 0.0
    is_hidden: bool = False
    parts: FaceParts | None = None

    @property
    def region_count(self) -> int:
        """The number of regions, K."""
        return int(self.region_map.max()) + 1

    @property
    def all_problems(self) -> tuple[str, ...]:
        """What is wrong with the photo or with the answers on it."""
        return (*self.problems, *(words for one in self.maps for words in one.problems))

    def plot(self) -> Figure:
        """Return a matplotlib figure: the photo beside one map per target."""
        return _figure(self, self.maps)

    def _repr_html_(self) -> str:
        shown = self.maps[:_MOST_SHOWN]
        picture = address_of(_figure(self, shown))
        lines = [*self.problems, *(f"{one.target.name}: {one.verdict}" for one in shown)]
        if len(self.maps) > len(shown):
            lines.append(f"{len(self.maps) - len(shown)} more maps: .plot() shows them all.")
        alternative = f"The photo and a map for each of {', '.join(one.target.name for one in shown)}"
        return f'<img src="{picture}" alt="{escape(alternative)}"><br>' + "<br>".join(escape(line) for line in lines)


def direction(target: Target, value: float) -> float:
    """Return 1 or -1: log-odds are followed towards the predicted class, everything else upwards."""
    return -1.0 if target.is_log_odds and value < 0 else 1.0


def scaled_curves(curves: Sequence[Curve], sign: float) -> list[Curve] | None:
    """Return the curves of one map on a scale from 0 to 1: the lowest and the highest answer on any of them.

    `sign` is the map's `direction`: curves of a class that is predicted against are turned round first. None where an
    answer is not finite or none differs.
    """
    values = sign * np.array([value for curve in curves for value in curve.values])
    if not values.size or not np.isfinite(values).all() or np.ptp(values) == 0:
        return None
    low, span = values.min(), np.ptp(values)
    return [Curve(one.pixel_share, tuple(((sign * np.array(one.values) - low) / span).tolist())) for one in curves]


def to_document(face: FaceExplanation, *, has_curves: bool = False) -> dict[str, Any]:
    """Return one explanation as JSON-able data: everything but its pixels, `heads` holding one entry per target.

    Without the curves it is shorter, and cannot be read back whole.
    """
    plain = {one.name: getattr(face, one.name) for one in fields(face)}
    for name in ("photo", "region_map", "maps", "predictions"):
        del plain[name]
    parts = face.parts and {one.name: getattr(face.parts, one.name) for one in fields(face.parts)}
    if parts:
        del parts["part_map"]
    return {
        **plain,
        "parts": parts,
        **face.predictions,
        "problems": list(face.all_problems),
        "region_count": face.region_count,
        "heads": {one.target.key: _map_document(one, has_curves=has_curves) for one in face.maps},
    }


def without_face(face: FaceExplanation, number: int) -> FaceExplanation:
    """Return an explanation that shows and names nobody; a file's name may be a person's."""
    return face if face.is_hidden else replace(face, photo=hidden(face.photo), path=f"photo {number}", is_hidden=True)


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


def _run_of(folder: Path) -> str:
    try:
        return str(json.loads((folder / _RUN_FILE).read_text(encoding="utf-8"))["run_id"])[:32]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return ""


def _figure(face: FaceExplanation, maps: Sequence[TargetMap]) -> Figure:
    name = Path(face.path).name or "photo"
    pictures = [(name if len(name) <= _LONGEST_NAME else f"…{name[-_LONGEST_NAME:]}", face.photo)]
    scales = scales_of((one.target, one.weights()) for one in maps)
    for one in maps:
        scale = scales[one.target.key]
        doubt = "" if one.is_believable else "\n(not to be believed)"
        value = f"{one.value:.{scale.digits}f} {one.target.unit}".rstrip().replace("-", "−", 1)
        title = f"{one.target.name}: {value}{doubt}\n{scale.colour_words}"
        pictures.append((title, weight_picture(face.photo, face.region_map, one.weights(), scale)))
    return figure_of(pictures)


def _map_document(one: TargetMap, *, has_curves: bool) -> dict[str, Any]:
    document = asdict(one)
    target, trust = document.pop("target"), document.pop("trust")
    figures = trust or asdict(Trust())
    curves = {name: figures.pop(name) for name in _CURVES}
    checked = {"has_trust": trust is not None, "is_believable": one.is_believable if one.trust else None}
    return {**target, **document, **checked, **figures} | ({"curves": curves} if has_curves and trust else {})


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
