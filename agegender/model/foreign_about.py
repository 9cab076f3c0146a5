"""What somebody says of an ONNX file that is not ours: how it wants its pixels, and which outputs are which heads.

Said as JSON, or in the words of a command, which become the same document:

    {"input": {"layout": "NCHW", "size": 96, "colour": "RGB", "white": 255, "mean": 0, "std": 1},
     "heads": [{"name": "age", "output": "fc1", "columns": [2], "scale": 100},
               {"name": "gender", "output": "fc1", "columns": [0, 1], "classes": ["female", "male"]}]}

What the graph tells itself (layout, size, the only output) may be left out; what is wrong is found in `foreign_onnx`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agegender.errors import UsageError, did_you_mean
from agegender.heads import KNOWN_HEADS, Classification, Head, Regression
from agegender.heads.choosing import MOST_CLASSES, SENSITIVE_COLUMNS
from agegender.settings import LARGEST_IMAGE_SIZE, SMALLEST_IMAGE_SIZE

LAYOUTS, COLOURS = ("NCHW", "NHWC"), ("RGB", "BGR")
NUMBER_KINDS, CLASS_KINDS = ("number", "distribution"), ("logits", "probabilities", "log-odds")
LARGEST_BYTES = 1_000_000
_INPUT_KEYS = ("layout", "size", "colour", "white", "mean", "std")
_HEAD_KEYS = ("name", "output", "columns", "values", "classes", "unit", "scale", "shift", "first")


@dataclass(frozen=True)
class ForeignPixels:
    """How pixels reach the network: (pixel · white / 255 − mean) / std, in this order of axes and colours.

    `layout` is empty and `size` 0 where the graph is to tell.
    """

    layout: str = ""
    size: int = 0
    colour: str = "RGB"
    white: float = 1.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class ForeignHead:
    """A head, and where its answer stands.

    Attributes
    ----------
    output : str
        Empty where there is only one, or one of the head's name.
    columns : (int, int) or None
        The first of the output's numbers, and the one behind the last; None takes all.
    values : str
        Of a number "number" or "distribution", of classes "logits", "probabilities" or, of one number, "log-odds";
        empty where the answers are to tell.
    order : tuple of int
        Of each of the head's classes, the number of its column.
    scale, shift : float
        A number is its column times scale plus shift.
    first : int
        The number that the first column of a distribution stands for; each further column is one more.
    """

    head: Head
    output: str = ""
    columns: tuple[int, int] | None = None
    values: str = ""
    order: tuple[int, ...] = ()
    scale: float = 1.0
    shift: float = 0.0
    first: int = 0


@dataclass(frozen=True)
class ForeignAbout:
    """All that is said of a file."""

    pixels: ForeignPixels
    heads: tuple[ForeignHead, ...]


def read_about(about: Mapping[str, Any] | str | Path) -> dict[str, Any]:
    """Return a description as a dictionary: one, or the JSON file of one."""
    if isinstance(about, Mapping):
        return dict(about)
    path = Path(about)
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise UsageError(f"{path} is larger than {LARGEST_BYTES:,} bytes, and no description of a model.")
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read as JSON: {error}.") from error
    if not isinstance(document, dict):
        raise UsageError(f"{path} holds no JSON object. It should look like {_example()}.")
    return document


def about_of(document: Mapping[str, Any]) -> ForeignAbout:
    """Return what a description says, each part checked by itself.

    >>> about_of({"heads": [{"name": "age", "columns": [2], "scale": 100}]}).heads[0].columns
    (2, 3)
    """
    _check_keys(document, ("input", "heads"), "the description")
    given, heads = document.get("input") or {}, document.get("heads")
    if not isinstance(given, Mapping):
        raise UsageError(f"input is {_short(given)}; expected an object such as {_example()}.")
    if not isinstance(heads, Sequence) or isinstance(heads, str) or not heads:
        raise UsageError(f"heads is {_short(heads)}; expected a list, such as {_example()}.")
    found = tuple(_head(one) for one in heads)
    names = [one.head.name for one in found]
    if len(set(names)) < len(names):
        raise UsageError(f"the head {max(names, key=names.count)} is described twice.")
    return ForeignAbout(_pixels(given), found)


def words_of_input(words: Sequence[str]) -> dict[str, Any]:
    """Return what `--input KEY=VALUE` says, as the description has it.

    >>> words_of_input(["layout=NHWC", "mean=0.5,0.5,0.5"])
    {'layout': 'NHWC', 'mean': ['0.5', '0.5', '0.5']}
    """
    said: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not (key and equals and value):
            raise UsageError(f"--input {word!r} is no KEY=VALUE, such as size=96; keys are {', '.join(_INPUT_KEYS)}.")
        said[key] = value.split(",") if "," in value else value
    return said


def words_of_head(word: str) -> dict[str, Any]:
    """Return what `--head NAME=OUTPUT:KEY=VALUE,…` says, as the description has it.

    >>> words_of_head("gender=fc1:columns=0-1,classes=female|male")
    {'name': 'gender', 'output': 'fc1', 'columns': [0, 1], 'classes': ['female', 'male']}
    """
    name, _, rest = word.partition("=")
    # An output may be called like "StatefulPartitionedCall:0"; settings hold an equals sign.
    output, _, settings = rest.rpartition(":") if "=" in rest.rpartition(":")[2] else (rest, "", "")
    said: dict[str, Any] = {"name": name} | ({"output": output} if output else {})
    for setting in filter(None, settings.split(",")):
        key, equals, value = setting.partition("=")
        if not (key and equals and value):
            raise UsageError(f"--head {word!r}: {setting!r} is no KEY=VALUE; keys are {', '.join(_HEAD_KEYS[2:])}.")
        said[key] = value
    if "classes" in said:
        said["classes"] = said["classes"].split("|")
    if "columns" in said:
        first, _, last = said["columns"].partition("-")
        said["columns"] = [_whole(first, "columns"), _whole(last or first, "columns")]
        said["columns"] = said["columns"][: 1 if not last else 2]
    return said


def _pixels(given: Mapping[str, Any]) -> ForeignPixels:
    _check_keys(given, _INPUT_KEYS, "input")
    size = _whole(given["size"], "size") if "size" in given else 0
    if "size" in given and not SMALLEST_IMAGE_SIZE <= size <= LARGEST_IMAGE_SIZE:
        raise UsageError(f"size is {size}; expected {SMALLEST_IMAGE_SIZE} to {LARGEST_IMAGE_SIZE} pixels.")
    std, white = _three(given.get("std", 1.0), "std"), _number(given.get("white", 1.0), "white")
    if min(std) <= 0 or white <= 0:
        raise UsageError("std and white must be above 0; white is what a white pixel is before mean and std: 1 or 255.")
    return ForeignPixels(
        _one_of(given.get("layout", ""), ("", *LAYOUTS), "layout"),
        size,
        _one_of(given.get("colour", "RGB"), COLOURS, "colour"),
        white,
        _three(given.get("mean", 0.0), "mean"),
        std,
    )


def _head(entry: Any) -> ForeignHead:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str) or not entry["name"].isidentifier():
        raise UsageError(f"a head is {_short(entry)}; expected an object with a name, such as {_example()}.")
    name = entry["name"]
    _check_keys(entry, _HEAD_KEYS, f"the head {name}")
    if name in SENSITIVE_COLUMNS:
        raise UsageError(f"{name} is what groups are made of here to be treated alike; no head of a model answers it.")
    head, order = _meant(name, entry)
    kinds = CLASS_KINDS if isinstance(head, Classification) else NUMBER_KINDS
    return ForeignHead(
        head,
        str(entry.get("output", "")),
        _span(entry["columns"]) if "columns" in entry else None,
        _one_of(entry.get("values", ""), ("", *kinds), f"values of {name}"),
        order,
        _number(entry.get("scale", 1.0), "scale"),
        _number(entry.get("shift", 0.0), "shift"),
        _whole(entry.get("first", 0), "first"),
    )


def _meant(name: str, entry: Mapping[str, Any]) -> tuple[Head, tuple[int, ...]]:
    """Return the head that is meant, and where each of its classes stands."""
    known = {head.name: head for head in KNOWN_HEADS}.get(name)
    classes, unit = entry.get("classes"), str(entry.get("unit", ""))
    if classes is None and not isinstance(known, Classification):
        if known is None:
            return Regression(name, f"{name}_{unit}" if unit else name, unit), ()
        if unit not in ("", known.unit):
            raise UsageError(f"{name} is told in {known.unit} here, not in {unit}; scale and shift convert it.")
        return known, ()
    if not isinstance(classes, Sequence) or isinstance(classes, str) or not 2 <= len(classes) <= MOST_CLASSES:
        raise UsageError(f"{name} needs its classes in the order of the outputs, such as classes=female|male.")
    if known is None:
        if len(set(classes)) < len(classes):
            raise UsageError(f"a class of {name} is named twice: {', '.join(map(str, classes))}.")
        return Classification(name, name, tuple(map(str, classes))), tuple(range(len(classes)))
    if not isinstance(known, Classification):
        raise UsageError(f"{name} is a number here, which has no classes.")
    said = [one if one in known.classes else known.spellings.get(str(one).strip().lower()) for one in classes]
    if sorted(map(str, said)) != sorted(known.classes):
        raise UsageError(f"the classes of {name} are {', '.join(known.classes)}, not {', '.join(map(str, classes))}.")
    return known, tuple(said.index(one) for one in known.classes)


def _span(columns: Any) -> tuple[int, int]:
    if not isinstance(columns, Sequence) or isinstance(columns, str) or len(columns) not in (1, 2):
        raise UsageError(f"columns is {_short(columns)}; expected [2], or the first and the last: [0, 1].")
    first, last = (_whole(columns[place], "columns") for place in (0, -1))
    if not 0 <= first <= last:
        raise UsageError(f"columns is {_short(columns)}; they count from 0, the first before the last.")
    return first, last + 1


def _check_keys(given: Mapping[str, Any], known: Sequence[str], what: str) -> None:
    for key in given:
        if key not in known:
            raise UsageError(f"{what} has no {key!r}; there are {', '.join(known)}.{did_you_mean(str(key), known)}")


def _one_of(value: Any, choices: Sequence[str], what: str) -> str:
    if value not in choices:
        raise UsageError(f"{what} is {_short(value)}; there are {', '.join(filter(None, choices))}.")
    return str(value)


def _number(value: Any, what: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not abs(number) < 1e6:
        raise UsageError(f"{what} is {_short(value)}; expected a number.")
    return number


def _whole(value: Any, what: str) -> int:
    number = _number(value, what)
    if number != int(number):
        raise UsageError(f"{what} is {_short(value)}; expected a whole number.")
    return int(number)


def _three(value: Any, what: str) -> tuple[float, float, float]:
    parts = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value] * 3
    if len(parts) != 3:
        raise UsageError(f"{what} is {_short(value)}; expected one number, or one each for red, green and blue.")
    red, green, blue = (_number(part, what) for part in parts)
    return red, green, blue


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


def _example() -> str:
    return '{"input": {"size": 96, "white": 255}, "heads": [{"name": "age", "columns": [2], "scale": 100}]}'
