"""Owns explanations as JSON and on disk: one pair of files per photo, so that an interrupted run keeps what is done.

NNNN-<photo>.explanation.json   everything in words and numbers
NNNN-<photo>.explanation.npz    the photo and its region map
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from agegender.errors import TableError
from agegender.explanation.results import (
    NAN,
    Curve,
    FaceExplanation,
    Output,
    OutputMap,
    RegionWeight,
    SecondOpinion,
    Trust,
)
from agegender.writing import replaced_file, write_json

EXPLANATIONS_FOLDER = "explanations"  # below a model's reports
SUFFIX = ".explanation"
_FACE_FIELDS = (
    "segments",
    "fill",
    "seed",
    "sample_count",
    "evaluation_count",
    "stopped_because",
    "reason",
    "duration_seconds",
)


def to_document(face: FaceExplanation, *, has_curves: bool = False) -> dict[str, Any]:
    """Return one explanation as JSON-able data.

    Parameters
    ----------
    face : FaceExplanation
    has_curves : bool
        Whether the deletion and insertion curves are in it, without which it cannot be read back whole.

    Returns
    -------
    dict
        `path`, the predictions' columns, `labels`, `problems`, and `heads`: for each output its regions with weight
        and interval and its trust figures. Pixels are left out.
    """
    return {
        "path": face.path,
        **face.predictions,
        "labels": dict(face.labels),
        "problems": list(face.problems),
        **{name: getattr(face, name) for name in _FACE_FIELDS},
        "region_count": face.region_count,
        "heads": {one.output.key: _head_document(one, has_curves=has_curves) for one in face.outputs},
    }


def write_explanation(face: FaceExplanation, folder: Path, number: int) -> Path:
    """Write one explanation, each file whole or not at all, and return the JSON's place.

    Raises
    ------
    OutputError
        The folder cannot be written to.
    """
    stem = re.sub(r"[^A-Za-z0-9_.-]", "_", Path(face.path).stem)[:80]
    path = folder / f"{number:04d}-{stem}{SUFFIX}.json"
    with replaced_file(path.with_suffix(".npz")) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, photo=face.photo, region_map=face.region_map.astype(np.uint16))
    # The JSON comes last: where it stands, its pixels stand too.
    document = to_document(face, has_curves=True)
    write_json(path, document | {"prediction_columns": list(face.predictions)})
    return path


def clear_explanations(folder: Path) -> None:
    """Remove the explanations of an earlier run, and nothing else."""
    for path in [*folder.glob(f"[0-9]*{SUFFIX}.json"), *folder.glob(f"[0-9]*{SUFFIX}.npz")]:
        path.unlink()


def read_explanations(folder: Path) -> list[FaceExplanation]:
    """Read all explanations of a folder, in their order.

    Raises
    ------
    TableError
        A file lacks its partner, or is none of ours.
    """
    return [_read_explanation(path) for path in sorted(folder.glob(f"[0-9]*{SUFFIX}.json"))]


def _read_explanation(path: Path) -> FaceExplanation:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        with np.load(path.with_suffix(".npz"), allow_pickle=False) as arrays:
            photo, region_map = arrays["photo"], arrays["region_map"].astype(np.int64)
        outputs = tuple(_read_head(head) for head in document["heads"].values())
        return FaceExplanation(
            path=document["path"],
            photo=photo,
            region_map=region_map,
            region_names=tuple(region.name or "" for region in outputs[0].regions),
            outputs=outputs,
            problems=tuple(document["problems"]),
            predictions={name: document[name] for name in document["prediction_columns"]},
            labels=document["labels"],
            **{name: document[name] for name in _FACE_FIELDS},
        )
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise TableError(f"{path} is no whole explanation: {error}. `agegender explain` writes them.") from error


def _head_document(one: OutputMap, *, has_curves: bool) -> dict[str, Any]:
    trust = one.trust or Trust()
    figures = {field.name: getattr(trust, field.name) for field in fields(Trust)}
    curves = {name: figures.pop(name) for name in ("deletion", "insertion", "random_deletions")}
    document: dict[str, Any] = {
        "name": one.output.name,
        "unit": one.output.unit,
        "value": one.value,
        "intercept": one.intercept,
        "verdict": one.verdict,
        "has_trust": one.trust is not None,
        "is_believable": trust.is_believable if one.trust else None,
        **figures,
        "regions": [_fields(region) for region in one.regions],
        "second_opinions": [_fields(opinion) for opinion in one.second_opinions],
    }
    if has_curves and one.trust is not None:
        document["curves"] = {
            "deletion": _fields(curves["deletion"]),
            "insertion": _fields(curves["insertion"]),
            "random_deletions": [_fields(curve) for curve in curves["random_deletions"]],
        }
    return document


def _read_head(head: Mapping[str, Any]) -> OutputMap:
    regions = tuple(RegionWeight(**_numbers(region, ("weight", "low", "high"))) for region in head["regions"])
    opinions = tuple(
        SecondOpinion(one["method"], tuple(one["weights"]), _number(one["rank_correlation"]))
        for one in head["second_opinions"]
    )
    trust = _read_trust(head) if head["has_trust"] else None
    output = Output(head["name"], head["unit"])
    return OutputMap(
        output, _number(head["value"]), _number(head["intercept"]), regions, trust, head["verdict"], opinions
    )


def _read_trust(head: Mapping[str, Any]) -> Trust:
    curves = head["curves"]
    figures = {field.name: head[field.name] for field in fields(Trust) if field.name in head}
    floats = tuple(name for name, value in Trust().__dict__.items() if isinstance(value, float))
    return Trust(
        **(_numbers(figures, floats) | {"failures": tuple(head["failures"])}),
        deletion=_read_curve(curves["deletion"]),
        insertion=_read_curve(curves["insertion"]),
        random_deletions=tuple(_read_curve(curve) for curve in curves["random_deletions"]),
    )


def _read_curve(curve: Mapping[str, Any]) -> Curve:
    return Curve(tuple(curve["pixel_share"]), tuple(map(_number, curve["values"])))


def _fields(data: Any) -> dict[str, Any]:
    return {field.name: getattr(data, field.name) for field in fields(data)}


def _numbers(values: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: _number(value) if name in names else value for name, value in values.items()}


def _number(value: float | None) -> float:
    """Return a number as it was before JSON, which knows no NaN."""
    return NAN if value is None else float(value)
