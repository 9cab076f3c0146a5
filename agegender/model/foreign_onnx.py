"""An ONNX file that is not ours at work: as its makers trained it, behind what a `Predictor` asks of a runtime.

What is said of it (`foreign_about`) is held against its graph, and against its answers to a few test pictures: a wrong
guess at a layout, a column or a unit is an error here and no wrong map later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agegender.errors import UsageError, WeightsError
from agegender.heads import Classification, Regression, head_to_dict
from agegender.model.foreign_about import ForeignHead, ForeignPixels, about_of
from agegender.model.onnx_file import LARGEST_FILE_BYTES
from agegender.model.onnx_runtime import OnnxRuntime, open_session, words_of
from agegender.progress import say
from agegender.settings import ImageSettings
from agegender.writing import plain

Floats = NDArray[np.floating]
_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64,
          "tensor(uint8)": np.uint8}  # fmt: skip
_ALIKE = 1e-3
_LEAST_CHANCE = 1e-7
_NOISES = 4


@dataclass(frozen=True)
class _Input:
    """Where pixels go in: `batch` is 0 where the graph takes any number of photos."""

    name: str
    type: type
    pixels: ForeignPixels
    batch: int

    def values(self, images: NDArray[np.uint8]) -> NDArray[Any]:
        """Return what the graph takes of fitted photos, uint8 (N, S, S, 3)."""
        pixels = self.pixels
        if self.type is np.uint8:
            values: NDArray[Any] = images
        else:
            mean, std = (np.array(three, dtype=np.float32) for three in (pixels.mean, pixels.std))
            values = ((images.astype(np.float32) * np.float32(pixels.white / 255) - mean) / std).astype(self.type)
        values = values[..., ::-1] if pixels.colour == "BGR" else values
        return np.ascontiguousarray(values.transpose(0, 3, 1, 2) if pixels.layout == "NCHW" else values)


class ForeignRuntime(OnnxRuntime):
    """A session of onnxruntime with somebody else's network.

    Parameters
    ----------
    model : bytes
        The whole file, weights included.
    place : Path
        For messages.
    document : mapping
        What is said of it; see `foreign_about`.

    Raises
    ------
    UsageError
        What is said cannot be true of this graph, or of its answers.
    WeightsError
        onnxruntime cannot open or run it.
    """

    def __init__(self, model: bytes, place: Path, document: Mapping[str, Any]) -> None:
        self.place, self._session = place, open_session(model, place)
        about = about_of({**document, "heads": document.get("heads") or _guessed_heads(self._session, place)})
        self._input = _input_of(self._session, about.pixels, place)
        self._outputs = {one.name: one for one in self._session.get_outputs() if one.type in _TYPES}
        meant = [self._with_output(one) for one in about.heads]
        self._asked = list(dict.fromkeys(one.output for one in meant))
        found = self._checked_answers()
        self._meant = tuple(_understood(one, found[one.output], place) for one in meant)
        self._heads = tuple(one.head for one in self._meant)
        self.image = _image_of(self._input.pixels)

    def card(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a `Predictor` needs to know of it."""
        return {
            "name": self.place.stem,
            "body": "onnx",
            "heads": [head_to_dict(head) for head in self._heads],
            "image": asdict(self.image),
            "calibration": {},
            "foreign": plain(dict(document)),
        }

    def answers(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
        """Return what each head's `columns` takes, shape (N, *head.answer_shape); no number where it gives none."""
        found = self._run(images)
        return tuple(_answer(one, _columns(one, found[one.output])) for one in self._meant)

    def _stored(self) -> bytes:
        return read_foreign(self.place)

    def _run(self, images: NDArray[np.uint8]) -> dict[str, Floats]:
        """Return each asked output, shape (N, numbers), in batches of the size that the graph insists on."""
        size = self._input.batch or max(1, len(images))
        parts: list[list[Floats]] = []
        for start in range(0, len(images), size):
            some = images[start : start + size]
            lacking = self._input.batch - len(some) if self._input.batch else 0
            padded = np.concatenate([some, np.repeat(some[-1:], lacking, axis=0)]) if lacking else some
            try:
                given = self._session.run(self._asked, {self._input.name: self._input.values(padded)})
            except Exception as error:
                raise WeightsError(f"onnxruntime cannot run {self.place}: {words_of(error)}.") from error
            for name, values in zip(self._asked, given, strict=True):
                if values.ndim == 0 or len(values) != len(padded):
                    raise UsageError(
                        f"{self.place}: {name} has the shape {values.shape} for {len(padded)} photos; expected one row "
                        f"for each photo."
                    )
            parts.append([values.reshape(len(values), -1)[: len(some)] for values in given])
        return {name: np.concatenate(one) for name, one in zip(self._asked, zip(*parts, strict=True), strict=True)}

    def _with_output(self, one: ForeignHead) -> ForeignHead:
        there = ", ".join(f"{name} {shape.shape}" for name, shape in self._outputs.items()) or "none of numbers"
        if not one.output:
            named = one.head.name if one.head.name in self._outputs else ""
            only = next(iter(self._outputs)) if len(self._outputs) == 1 else ""
            if not (named or only):
                raise UsageError(f"{self.place}: which output is {one.head.name}? There are {there}.")
            return replace(one, output=named or only)
        if one.output not in self._outputs:
            raise UsageError(f"{self.place} has no output {one.output!r} of decimal numbers; there are {there}.")
        return one

    def _checked_answers(self) -> dict[str, Floats]:
        """Return the answers to the test pictures, which must not depend on what else is in a batch."""
        pictures = _test_pictures(self._input.pixels.size)
        together = self._run(pictures)
        alone = [self._run(picture[None]) for picture in pictures]
        for name, values in together.items():
            single = np.concatenate([one[name] for one in alone])
            if single.shape != values.shape or not np.allclose(
                single, values, rtol=_ALIKE, atol=_ALIKE * np.nanmax(np.abs(single), initial=1.0), equal_nan=True
            ):
                raise UsageError(
                    f"{self.place}: {name} is not the same for a photo alone and among others. It was exported in "
                    f"training mode, or mixes its batch; export it in evaluation mode."
                )
        return together


def read_foreign(path: Path) -> bytes:
    """Return the bytes of an ONNX file, weights that lie in other files beside it taken in.

    Raises
    ------
    WeightsError
        It is missing, damaged, too large, or lacks the file with its weights.
    """
    import onnx
    from onnx.external_data_helper import load_external_data_for_model, uses_external_data

    if not path.is_file():
        raise WeightsError(f"{path} is no file. Name an .onnx file.")
    if path.stat().st_size > LARGEST_FILE_BYTES:
        raise WeightsError(f"{path} is larger than {LARGEST_FILE_BYTES / 1e9:g} GB.")
    data = path.read_bytes()
    try:
        model = onnx.load_from_string(data)
    except Exception as error:
        raise WeightsError(f"{path} is damaged, or no ONNX file at all ({words_of(error)}).") from error
    if not model.graph.node:
        raise WeightsError(f"{path} is damaged, or no ONNX file at all (it has no graph).")
    if not any(map(uses_external_data, model.graph.initializer)):
        return data
    try:
        load_external_data_for_model(model, str(path.parent))  # refuses paths that lead out of the folder
        if model.ByteSize() > LARGEST_FILE_BYTES:
            raise WeightsError(f"{path} and its weights are larger than {LARGEST_FILE_BYTES / 1e9:g} GB.")
        return bytes(model.SerializeToString())
    except WeightsError:
        raise
    except Exception as error:
        raise WeightsError(
            f"{path} keeps its weights in another file, which cannot be read: {words_of(error)}. Put it beside {path}."
        ) from error


def _guessed_heads(session: Any, place: Path) -> list[dict[str, Any]]:
    """Refuse to guess: names of outputs are no promise of what they mean."""
    there = ", ".join(f"{one.name} {one.shape}" for one in session.get_outputs())
    raise UsageError(
        f"{place} gives {there}, and nothing says what that means. Say it: --head age=OUTPUT:columns=2,scale=100, "
        f"--head gender=OUTPUT:columns=0-1,classes=female|male, or --about FILE.json."
    )


def _input_of(session: Any, said: ForeignPixels, place: Path) -> _Input:
    inputs = session.get_inputs()
    there = ", ".join(f"{one.name} {one.shape} {one.type}" for one in inputs)
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type not in _TYPES:
        raise UsageError(
            f"{place} takes {there}; expected one input of photos with four axes. It cannot be asked here."
        )
    one = inputs[0]
    layouts = [name for name, axis in (("NCHW", 1), ("NHWC", 3)) if one.shape[axis] == 3]
    if not layouts and isinstance(one.shape[1], int) and isinstance(one.shape[3], int):
        raise UsageError(f"{place} takes {there}: no axis has three colours.")
    layout = said.layout or (layouts[0] if len(layouts) == 1 else "")
    if not layout:
        raise UsageError(f"{place} takes {there}, which does not tell the layout: say layout=NCHW or layout=NHWC.")
    if layouts and layout not in layouts:
        raise UsageError(f"{place} takes {there}: its layout is {layouts[0]}, and {layout} was said.")
    sides = [side for side in (one.shape[2:] if layout == "NCHW" else one.shape[1:3]) if isinstance(side, int)]
    if len(set(sides)) > 1:
        raise UsageError(f"{place} takes {there}: photos that are not square cannot be asked here.")
    if said.size and sides and said.size != sides[0]:
        raise UsageError(f"{place} takes {there}: its size is {sides[0]}, and {said.size} was said.")
    size = sides[0] if sides else said.size
    if not size:
        raise UsageError(f"{place} takes {there}, photos of any size: say which it was trained on, such as size=224.")
    pixels = replace(said, layout=layout, size=size)
    if one.type == "tensor(uint8)" and (pixels.mean, pixels.std) != (ForeignPixels.mean, ForeignPixels.std):
        raise UsageError(f"{place} takes bytes, which have no mean and std; leave these out.")
    about_of({"input": {"size": size}, "heads": [{"name": "x"}]})  # a graph may ask for any size
    return _Input(one.name, _TYPES[one.type], pixels, one.shape[0] if isinstance(one.shape[0], int) else 0)


def _image_of(pixels: ForeignPixels) -> ImageSettings:
    mean, std = ([one / pixels.white for one in values] for values in (pixels.mean, pixels.std))
    return ImageSettings(size=pixels.size, mean=(mean[0], mean[1], mean[2]), std=(std[0], std[1], std[2]))


def _test_pictures(size: int) -> NDArray[np.uint8]:
    """Return black, white, grey and a few noises, coarse ones among them: uint8 (N, S, S, 3)."""
    random = np.random.default_rng(0)
    plain_ones = [np.full((size, size, 3), value, np.uint8) for value in (0, 255, 128)]
    noises = []
    for number in range(_NOISES):
        cell = 1 if number % 2 else max(1, size // 8)
        coarse = random.integers(0, 256, (-(-size // cell), -(-size // cell), 3), dtype=np.uint8)
        noises.append(coarse.repeat(cell, axis=0).repeat(cell, axis=1)[:size, :size])
    return np.stack([*plain_ones, *noises])


def _understood(one: ForeignHead, values: Floats, place: Path) -> ForeignHead:
    """Return a head with the kind of its values known, held against the answers to the test pictures, (N, numbers)."""
    if one.columns and one.columns[1] > values.shape[1]:
        raise UsageError(
            f"{place}: {one.output} has {values.shape[1]} numbers a photo, counted from 0; {one.head.name} asks for "
            f"number {one.columns[1] - 1}."
        )
    chosen = _columns(one, values)
    if not np.isfinite(chosen).all():
        raise UsageError(f"{place}: {one.output} holds values that are no numbers for plain test pictures.")
    if np.ptp(chosen, axis=0).max() == 0:
        raise UsageError(
            f"{place}: {one.output} is the same for black, white, grey and noise ({_range(chosen)}): it is no answer "
            f"about a photo, or white, mean and std are others."
        )
    return _number_head(one, chosen, place) if isinstance(one.head, Regression) else _class_head(one, chosen, place)


def _number_head(one: ForeignHead, chosen: Floats, place: Path) -> ForeignHead:
    assert isinstance(one.head, Regression)
    where, count, are_chances = _where(one), chosen.shape[1], _are_chances(chosen)
    if count > 1 and not (are_chances or one.values == "distribution"):
        raise UsageError(
            f"{place}: {one.head.name} is one number, and {where} has {count}: name one with columns, or say that they "
            f"are a distribution (values=distribution)."
        )
    if count == 1 and one.values == "distribution":
        raise UsageError(f"{place}: {where} is one number a photo, and no distribution.")
    if count > 1 and one.values == "number":
        raise UsageError(f"{place}: {where} has {count} numbers a photo; {one.head.name} is one: name it with columns.")
    if count == 1:
        head = replace(one.head, loss="smooth-l1", loss_settings=())
        _check_range(head, _answer(replace(one, head=head, values="number"), chosen), where, place)
        return replace(one, head=head, values="number")
    last = one.first + count - 1
    if not one.head.low <= one.first <= last <= one.head.high:
        raise UsageError(
            f"{place}: {where} would be a distribution over {one.first} to {last}, where {one.head.name} can be "
            f"{one.head.low:g} to {one.head.high:g}. Say which number its first column stands for: first=…"
        )
    head = replace(one.head, loss="soft-labels", loss_settings=(), grid=(one.first, last))
    return replace(one, head=head, values="distribution" if are_chances else "distribution of logits")


def _check_range(head: Regression, answers: Floats, where: str, place: Path) -> None:
    """Refuse numbers that no label can be: a scale was forgotten, or this is another output."""
    if not (np.isfinite(head.low) and np.isfinite(head.high)):
        return
    span = head.high - head.low
    is_beyond = not head.low - span <= np.median(answers) <= head.high + span
    is_flat = float(np.abs(answers - head.low).max()) < 0.02 * span
    if is_beyond or is_flat:
        raise UsageError(
            f"{place}: as {head.name} {where} gives {_range(answers)} {head.unit} on test pictures, where "
            f"{head.low:g} to {head.high:g} can be. Say scale and shift, or another output."
        )


def _class_head(one: ForeignHead, chosen: Floats, place: Path) -> ForeignHead:
    assert isinstance(one.head, Classification)
    where, count, classes = _where(one), chosen.shape[1], one.head.classes
    if count != len(classes) and not (count == 1 and len(classes) == 2):
        raise UsageError(
            f"{place}: {one.head.name} has {len(classes)} classes, and {where} {count} numbers a photo. Name the right "
            f"ones with columns."
        )
    found = "probabilities" if _are_chances(chosen) else "logits" if count > 1 else "log-odds"
    said = "log-odds" if one.values == "logits" and count == 1 else one.values
    # Of one number log-odds may lie within 0 and 1 on a few pictures.
    if said and said != found and not (said == "log-odds" and count == 1):
        raise UsageError(
            f"{place}: {where} is said to be {said}, and gives {_range(chosen)} on test pictures, rows adding up to "
            f"{_range(chosen.sum(axis=1))}: these are {found}."
        )
    if not said:
        say(f"{where} is taken for {found} of {', '.join(classes[number] for number in np.argsort(one.order))}")
    return replace(one, values=said or found)


def _answer(one: ForeignHead, chosen: Floats) -> NDArray[np.float32]:
    """Return a head's answer of its columns, shape (N, numbers)."""
    values = chosen.astype(np.float64)
    if isinstance(one.head, Regression):
        if one.values == "number":
            return (values[:, 0] * one.scale + one.shift).astype(np.float32)
        chances = values if one.values == "distribution" else _softmax(values)
        units = np.arange(one.first, one.first + values.shape[1])
        mean = chances @ units
        spread = np.sqrt(np.maximum((chances * (units - mean[:, None]) ** 2).sum(axis=1), 0.0))
        return np.stack([mean * one.scale + one.shift, spread * abs(one.scale)], axis=1).astype(np.float32)
    if one.values == "probabilities":
        chances = np.clip(values, _LEAST_CHANCE, 1 - _LEAST_CHANCE)
        values = np.log(chances / (1 - chances)) if chances.shape[1] == 1 else np.log(chances)
    if values.shape[1] == 1:  # log-odds of the class that was named last
        values = np.concatenate([np.zeros_like(values), values], axis=1)
    return values[:, list(one.order)].astype(np.float32)


def _columns(one: ForeignHead, values: Floats) -> Floats:
    return values if one.columns is None else values[:, slice(*one.columns)]


def _where(one: ForeignHead) -> str:
    if one.columns is None:
        return one.output
    first, last = one.columns[0], one.columns[1] - 1
    return f"{one.output}[{first}]" if first == last else f"{one.output}[{first}-{last}]"


def _are_chances(values: Floats) -> bool:
    within = bool((values >= -_ALIKE).all() and (values <= 1 + _ALIKE).all())
    return within and (values.shape[1] == 1 or bool(np.allclose(values.sum(axis=1), 1, atol=_ALIKE)))


def _softmax(values: Floats) -> Floats:
    odds = np.exp(values - values.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def _range(values: Floats) -> str:
    return f"{values.min():.3g} to {values.max():.3g}"
