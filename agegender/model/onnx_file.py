"""What an exported model may hold: a file from anywhere is looked through before anything runs it.

The parts of an .onnx file are walked here, by the numbers of its protobuf schema, and not with the package onnx, whose
import takes longer than a prediction. Nothing is taken that a model of ours never has: data in other files, graphs
inside graphs (loops that need not end), functions, operators that are not ONNX's own, and texts, whose memory
onnxruntime does not limit.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from agegender.errors import CardError, WeightsError

CARD_KEY = "agegender"  # under which the metadata hold the card, as JSON
INPUT_NAME = "photos"
LARGEST_FILE_BYTES = 1_000_000_000
MOST_PARTS = 1_000_000  # a ResNet-101 has some ten thousand
_STANDARD_DOMAINS = ("", "ai.onnx")
_REMEDY = "Export the model again."

# Numbers of the fields in onnx.proto that decide.
_GRAPH, _METADATA, _TRAINING, _FUNCTIONS = 7, 14, 20, 25  # of a model
_NODE, _INITIALIZER, _SPARSE_INITIALIZER = 1, 5, 15  # of a graph
_OPERATOR, _ATTRIBUTE, _DOMAIN = 4, 5, 7  # of a node
_NAME, _TENSOR, _SUBGRAPH, _TENSORS, _SUBGRAPHS, _SPARSE, _SPARSES = 1, 5, 6, 10, 11, 22, 23  # of an attribute
_TEXTS, _EXTERNAL_DATA, _DATA_LOCATION = 6, 13, 14  # of a tensor
_KEY, _VALUE = 1, 2  # of an entry of the metadata

Part = int | memoryview


def read_exported(path: Path) -> tuple[bytes, bytes]:
    """Return the bytes of an exported model, looked through, and the text of its card.

    Raises
    ------
    CardError, WeightsError
        It is no whole file that agegender exported, or holds what such a file never does.
    """
    data = _read(path)
    try:
        card = _Look(path).through(memoryview(data))
    except (ValueError, IndexError) as error:
        raise WeightsError(f"{path} is damaged, or no ONNX file at all ({error}). {_REMEDY}") from error
    if card is None:
        raise CardError(
            f"{path} was not exported by agegender: its metadata hold no card that says what its outputs mean. "
            f"`agegender export` writes one."
        )
    return data, card


def _read(path: Path) -> bytes:
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):
            raise WeightsError(f"{path} is no ordinary file. Name an .onnx file that agegender exported.")
        if facts.st_size > LARGEST_FILE_BYTES:
            raise WeightsError(f"{path} is larger than {LARGEST_FILE_BYTES / 1e9:g} GB, and no model of agegender's.")
        return path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}.") from error


class _Look:
    """One look through a file; counts the parts, of which a hostile one could have a thousand million."""

    def __init__(self, path: Path) -> None:
        self.path, self.parts_left = path, MOST_PARTS

    def through(self, model: memoryview) -> bytes | None:
        """Return the card, or None where there is none."""
        card = None
        has_graph = False
        for number, value in self._parts(model):
            if number == _GRAPH:
                has_graph = True
                self._graph(value)
            elif number == _METADATA:
                entry = dict(self._parts(value))
                if _bytes(entry.get(_KEY, b"")) == CARD_KEY.encode():
                    card = _bytes(entry.get(_VALUE, b""))
            elif number in (_TRAINING, _FUNCTIONS):
                self._refuse("functions of its own or a training")
        if not has_graph:
            raise ValueError("it has no graph")
        return card

    def _graph(self, graph: Part) -> None:
        for number, value in self._parts(graph):
            if number == _NODE:
                self._node(value)
            elif number == _INITIALIZER:
                self._tensor(value)
            elif number == _SPARSE_INITIALIZER:
                self._refuse("sparse weights")

    def _node(self, node: Part) -> None:
        for number, value in self._parts(node):
            if number == _DOMAIN and _bytes(value).decode("utf-8") not in _STANDARD_DOMAINS:
                self._refuse(f"operators that are not ONNX's own ({_bytes(value)[:60].decode('utf-8', 'replace')})")
            elif number == _OPERATOR and _bytes(value).startswith(b"String"):  # joined with themselves, they double
                self._refuse("texts in its graph")
            elif number == _ATTRIBUTE:
                self._attribute(value)

    def _attribute(self, attribute: Part) -> None:
        for number, value in self._parts(attribute):
            if number in (_TENSOR, _TENSORS):
                self._tensor(value)
            elif number in (_SUBGRAPH, _SUBGRAPHS):
                self._refuse("graphs inside its graph")
            elif number in (_SPARSE, _SPARSES):
                self._refuse("sparse weights")
            elif number == _NAME and _bytes(value).startswith(b"value_string"):  # of a Constant
                self._refuse("texts in its graph")

    def _tensor(self, tensor: Part) -> None:
        for number, value in self._parts(tensor):
            if number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value != 0):
                self._refuse("weights in another file")
            elif number == _TEXTS:
                self._refuse("texts in its graph")

    def _refuse(self, what: str) -> None:
        raise WeightsError(
            f"{self.path} is not opened: it has {what}, which no model exported by agegender has. {_REMEDY}"
        )

    def _parts(self, message: Part) -> Iterator[tuple[int, Part]]:
        """Yield the number and the value of each field of a protobuf message."""
        if isinstance(message, int):
            raise ValueError("a number where a message belongs")
        place = 0
        while place < len(message):
            self.parts_left -= 1
            if self.parts_left < 0:
                raise ValueError(f"more than {MOST_PARTS:,} parts")
            key, place = _number(message, place)
            if key >> 32:  # other readers take the lower half for the whole
                raise ValueError("a field of a number that is not there")
            value: Part
            if key & 7 == 0:
                value, place = _number(message, place)
            else:
                length, place = _length(message, place, key & 7)
                value = message[place : place + length]
                place += length
                if place > len(message):
                    raise ValueError("it ends too early")
            yield key >> 3, value


def _length(message: memoryview, place: int, wire_type: int) -> tuple[int, int]:
    """Return how many bytes a field has, and where they begin."""
    if wire_type == 2:
        return _number(message, place)
    if wire_type not in (1, 5):
        raise ValueError("a field of a kind that is not there")
    return {1: 8, 5: 4}[wire_type], place


def _number(message: memoryview, place: int) -> tuple[int, int]:
    """Return a number written in groups of seven bits, the lowest first, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError("a number of more than ten bytes")


def _bytes(value: Part | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number where a text belongs")
    return bytes(value)
