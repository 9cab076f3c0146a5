"""An exported model in whole numbers of eight bits: smaller and quicker, and worse by an amount that is measured.

What lies between the first convolution and the last one is quantised; preprocessing, pooled features, heads and their
decoding stay in fp32. Ranges are learnt from training photos, the loss is measured on the validation photos, and a file
that loses more than its limits is not written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agegender.audit.paired_differences import Family, measure_together
from agegender.data.faces_table import FacesTable
from agegender.data.splitting import group_numbers
from agegender.errors import ModelError, PhotoError, UsageError, did_you_mean
from agegender.heads import Head, Regression, RowMetric
from agegender.model.onnx_file import CARD_KEY, INPUT_NAME
from agegender.model.onnx_runtime import OnnxRuntime
from agegender.model.predictor import Predictor
from agegender.photos.reading import as_photo
from agegender.settings import VERSION
from agegender.writing import to_json

CALIBRATING_PHOTOS = 256
_BATCH = 32
# What may be lost where nobody says: of a mean error this share of itself, of accuracy and coverage these points.
ERROR_SHARE, ACCURACY_LOSS, COVERAGE_LOSS = 0.02, 0.005, 0.01
LEAST_QUANTISED = 4  # convolutions; a network of fewer has nothing to gain
_COVERAGE = "interval_coverage"
# Operators that can stay in eight bits between two convolutions.
_OPERATORS = frozenset(
    ("Conv", "Relu", "Clip", "Add", "Mul", "Concat", "MaxPool", "AveragePool", "GlobalAveragePool", "Sigmoid")
)

_NO_LABELS = "--int8: no validation photo has a label, so that its loss cannot be measured."


@dataclass(frozen=True)
class Int8Loss:
    """What a figure was before and is after; what was lost, above 0 is worse, with its 95 % interval; the limit."""

    head: str
    metric: str
    unit: str
    n: int
    before: float
    after: float
    lost: float
    low: float
    high: float
    limit: float

    @property
    def is_too_much(self) -> bool:
        """Whether it is beyond the limit, or cannot be told."""
        return not self.lost <= self.limit

    def sentence(self) -> str:
        """Return it as `export` prints it.

        >>> Int8Loss("age", "mean absolute error", "years", 900, 5.0, 5.04, 0.04, 0.01, 0.07, 0.1).sentence()
        'age: mean absolute error 5.00 to 5.04 years, lost 0.04 (95 % interval 0.01 to 0.07; limit 0.10)'
        """
        scale, unit = (100, "%") if self.unit == "share" else (1, self.unit)
        before, after, lost, low, high, limit = (
            f"{scale * value:.2f}" for value in (self.before, self.after, self.lost, self.low, self.high, self.limit)
        )
        said = f"{self.head}: {self.metric} {before} to {after} {unit}".rstrip()
        return f"{said}, lost {lost} (95 % interval {low} to {high}; limit {limit})"


def as_int8(
    model: bytes,
    whole: Predictor,
    faces: FacesTable,
    photos: NDArray[np.uint8],
    place: Path,
    limits: Mapping[str, float],
) -> bytes:
    """Return an exported model in eight bits, with its measured loss in the card.

    Parameters
    ----------
    model : bytes
        What `onnx_export` made.
    whole : Predictor
        The same, ready to run.
    faces : FacesTable
        What the model was trained on.
    photos : ndarray, uint8 (N, S, S, 3)
        What `calibrating_photos` returned.
    place : Path
        For messages.
    limits : mapping of str to float
        Head name -> how much of its main metric may be lost, in its unit, or in points of accuracy.

    Raises
    ------
    UsageError
        No validation photo can be judged.
    ModelError
        It loses too much, or has no convolutions to quantise.
    """
    quantised = quantise(model, photos)
    halved = Predictor(OnnxRuntime(quantised, place, whole.heads, whole.image), whole.card)
    before, after = (one.predict_faces(faces, split="valid") for one in (whole, halved))
    losses = measured_losses(before, after, whole.heads, limits)
    _refuse_losses(losses)
    card = {
        **whole.card,
        "int8": {
            "calibrated_on": {"split": "train", "photos": len(photos)},
            "measured_on": {"split": "valid", "photos": len(after)},
            "losses": [asdict(loss) for loss in losses],
            "answers": {head.name: _changes(head, before, after) for head in whole.heads},
        },
    }
    return _with_card(quantised, card)


def check_limits(limits: Mapping[str, float], heads: Sequence[Head]) -> None:
    """Refuse limits of heads that are not there, and limits that are none."""
    names = [head.name for head in heads]
    for name, limit in limits.items():
        if name not in names:
            raise UsageError(
                f"--int8-limit {name}: the model has the heads {', '.join(names)}.{did_you_mean(name, names)}"
            )
        if not 0 <= limit < np.inf:
            raise UsageError(f"--int8-limit {name}={limit:g}: expected a number from 0, in the head's unit or points.")


def quantise(model: bytes, photos: NDArray[np.uint8]) -> bytes:
    """Return a model with its convolutions in eight bits, their ranges those of photos, uint8 (N, S, S, 3)."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.batches: Iterator[Any] = (
                {INPUT_NAME: photos[start : start + _BATCH]} for start in range(0, len(photos), _BATCH)
            )

        def get_next(self) -> Any:
            return next(self.batches, None)

    graph = onnx.load_from_string(model)
    for number, node in enumerate(graph.graph.node):
        node.name = f"node {number}"  # the quantiser knows nodes by their names, and ours have none
    chosen = _between_convolutions(graph.graph)
    if sum(node.op_type == "Conv" for node in chosen) < LEAST_QUANTISED:
        raise ModelError("--int8 makes convolutions quicker, and this network has next to none. Export it without.")
    with TemporaryDirectory() as folder:
        file = Path(folder) / "int8.onnx"
        quantize_static(
            graph, file, Reader(), quant_format=QuantFormat.QDQ, per_channel=True, activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            # Weights of seven bits: with eight, sums of two products overflow on processors without VNNI, silently.
            reduce_range=True,
            nodes_to_quantize=[node.name for node in chosen],
        )  # fmt: skip
        return file.read_bytes()


def measured_losses(
    before: pd.DataFrame, after: pd.DataFrame, heads: Sequence[Head], limits: Mapping[str, float]
) -> list[Int8Loss]:
    """Return what each head's main metric, and the coverage of its interval, lost on the same labelled rows."""
    metrics = [metric for head in heads for metric in _judged(head) if metric.is_known(before)]
    losses = []
    for metric in metrics:
        old, new = metric.values(before), metric.values(after)
        known = np.isfinite(old) & np.isfinite(new)
        worse = 1.0 if metric.better == "lower" else -1.0
        family = Family(worse * (new - old), [known], is_class=metric.is_rate)
        (found,) = measure_together([family], group_numbers(before), seed=0)
        change = found.of(0)
        n, mean = int(known.sum()), float(old[known].mean())
        limit = _limit(metric, mean, n, limits.get(metric.head) if metric.key != _COVERAGE else None)
        ends = (mean, float(new[known].mean()), change.value, change.low, change.high)
        losses.append(Int8Loss(metric.head, metric.title, metric.unit, n, *ends, limit))
    return losses


def _judged(head: Head) -> Iterator[RowMetric]:
    yield head.metrics[0]
    yield from (metric for metric in head.metrics[1:] if metric.key == _COVERAGE)


def _limit(metric: RowMetric, before: float, n: int, asked: float | None) -> float:
    if not metric.is_rate:
        return ERROR_SHARE * before if asked is None else asked
    if asked is not None:
        return asked / 100
    return max(COVERAGE_LOSS if metric.key == _COVERAGE else ACCURACY_LOSS, 1.0 / n)  # one photo is always allowed


def _refuse_losses(losses: Sequence[Int8Loss]) -> None:
    if not losses:
        raise UsageError(_NO_LABELS)
    beyond = [loss.sentence() for loss in losses if loss.is_too_much]
    if beyond:
        raise ModelError(
            f"int8 loses too much on the validation photos: {'; '.join(beyond)}. Nothing was written. Export without "
            f"--int8, or allow it with --int8-limit HEAD=LIMIT."
        )


def _changes(head: Head, before: pd.DataFrame, after: pd.DataFrame) -> dict[str, float]:
    """Return by how much answers themselves differ, whether right or wrong."""
    if isinstance(head, Regression):
        difference = (after[head.predicted] - before[head.predicted]).abs()
        return {"mean_difference": float(difference.mean()), "largest_difference": float(difference.max())}
    return {"share_changed": float((after[head.predicted] != before[head.predicted]).mean())}


def calibrating_photos(predictor: Predictor, faces: FacesTable | None) -> tuple[FacesTable, NDArray[np.uint8]]:
    """Return the faces table, and random training photos as the network sees them, shape (N, S, S, 3).

    What is missing is said here, before anything is exported.
    """
    if faces is None or "members" in predictor.card:
        raise UsageError(
            "--int8 needs one network and the photos that it was trained and validated on: name a model folder that "
            "is no ensemble, and has its faces.parquet."
        )
    valid = faces.kept().query("split == 'valid'")
    if not any(valid[head.column].notna().any() for head in predictor.heads if head.column in valid):
        raise UsageError(_NO_LABELS)
    rows = faces.kept().query("split == 'train'")
    rows = rows.sample(n=min(len(rows), 2 * CALIBRATING_PHOTOS), random_state=0)
    fitted: list[NDArray[np.uint8]] = []
    for place in filter(None, map(faces.photo_place, rows["path"])):
        with suppress(PhotoError):
            photo = as_photo(place)
            is_uncut = faces.notes.get("crop", "none") == "none"
            fitted.append(predictor.fit_photo(predictor.crop_photo(photo) if is_uncut else photo))
        if len(fitted) == CALIBRATING_PHOTOS:
            break
    if not fitted:
        raise UsageError(
            f"--int8 learns its ranges from the model's training photos, and none can be read in {faces.root}. Name "
            f"their folder with --images."
        )
    return faces, np.stack(fitted)


def _between_convolutions(graph: Any) -> list[Any]:
    """Return the convolutions, and the nodes on the way from one to another that can be quantised."""
    after, before = _reached(graph.node, forwards=True), _reached(reversed(graph.node), forwards=False)
    return [
        node
        for node in graph.node
        if node.op_type in _OPERATORS and (node.op_type == "Conv" or {node.name} <= after & before)
    ]


def _reached(nodes: Any, *, forwards: bool) -> set[str]:
    """Return the names of the nodes behind a convolution, or before one, nodes given in that order."""
    values: set[str] = set()
    names: set[str] = set()
    for node in nodes:
        near, far = (node.input, node.output) if forwards else (node.output, node.input)
        is_reached = bool(values.intersection(near))
        if is_reached:
            names.add(node.name)
        if is_reached or node.op_type == "Conv":
            values.update(filter(None, far))
    return names


def _with_card(model: bytes, card: Mapping[str, Any]) -> bytes:
    import onnx

    graph = onnx.load_from_string(model)
    del graph.metadata_props[:]
    graph.metadata_props.add(key=CARD_KEY, value=to_json(card))
    graph.producer_name, graph.producer_version = "agegender", VERSION
    for part in (graph.graph, *graph.graph.node):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    for node in graph.graph.node:
        node.ClearField("name")
    graph.graph.ClearField("value_info")
    return bytes(graph.SerializeToString())
