"""From a network in torch to one .onnx file that holds everything a prediction needs, compared before it is written.

The file takes photos as `fit_photo` leaves them, uint8 (N, S, S, 3), and gives a number in its unit or the logits of
each head: normalisation and decoding are part of it, so that nobody writes them twice. Its metadata hold the card.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from copy import deepcopy
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agegender.data.faces_table import FacesTable
from agegender.errors import ModelError, PhotoError, UsageError
from agegender.heads import Classification, Head
from agegender.model.onnx_file import CARD_KEY, INPUT_NAME
from agegender.model.onnx_int8 import as_int8, calibrating_photos, check_limits
from agegender.model.onnx_runtime import OnnxRuntime
from agegender.model.predictor import Predictor
from agegender.model.torch_runtime import TorchRuntime, answer
from agegender.photos.reading import as_photo
from agegender.settings import VERSION, ImageSettings
from agegender.writing import replaced_file, to_json

LARGEST_DIFFERENCE = 1e-4  # between both runtimes' answers of up to 100; of larger ones in proportion
RANDOM_PHOTOS, TESTED_PHOTOS = 8, 32  # to compare on


class ExportedNetwork(nn.Module):
    """A network between bytes and answers."""

    scale: Tensor
    shift: Tensor

    def __init__(self, network: nn.Module, heads: Sequence[Head], image: ImageSettings) -> None:
        super().__init__()
        self.network, self.heads = network, tuple(heads)
        means, deviations = (torch.tensor(values, dtype=torch.float64) for values in (image.mean, image.std))
        self.register_buffer("scale", (1 / (255 * deviations)).float().view(1, 3, 1, 1))
        self.register_buffer("shift", (-means / deviations).float().view(1, 3, 1, 1))

    def forward(self, photos: Tensor) -> tuple[Tensor, ...]:
        """Return each head's answers to fitted photos, uint8 (N, S, S, 3)."""
        pixels = photos.permute(0, 3, 1, 2).to(torch.float32)
        raw = self.network(pixels * self.scale + self.shift)
        return tuple(answer(head, values) for head, values in zip(self.heads, raw, strict=True))


def export_model(
    predictor: Predictor,
    path: Path,
    photos: Sequence[NDArray[np.uint8]] = (),
    *,
    faces: FacesTable | None = None,
    int8_limits: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """Write a model as one .onnx file, and return by how much each head's answers differ between both runtimes.

    Parameters
    ----------
    photos : sequence of ndarray, uint8 (S, S, 3)
        Fitted photos to compare on, besides random ones.
    faces : FacesTable, optional
        What the model was trained on, for int8.
    int8_limits : mapping of str to float, optional
        Where given, the file computes in eight bits, and may lose so much; see `onnx_int8`. What is compared with torch
        is the same network in fp32.

    Raises
    ------
    UsageError
        A head may not be exported, or there are no photos to quantise with.
    ModelError
        torch cannot export the network, the answers differ, or eight bits lose too much.
    OutputError
        The file cannot be written.
    """
    _check_heads(predictor.heads)
    check_limits(int8_limits or {}, predictor.heads)
    known = None if int8_limits is None else calibrating_photos(predictor, faces)
    network = deepcopy(predictor.network).cpu().eval()
    model = _as_onnx(ExportedNetwork(network, predictor.heads, predictor.image), predictor)
    with replaced_file(path) as temporary:
        temporary.write_bytes(model)
        exported, card = OnnxRuntime.load(temporary)
        plain = TorchRuntime(network, predictor.heads, predictor.image, device="cpu", precision="fp32")
        differences = _compared(predictor, plain, exported, photos)
        if known is not None:
            with _quiet():
                temporary.write_bytes(as_int8(model, Predictor(exported, card), *known, path, int8_limits or {}))
        return differences


def tested_photos(predictor: Predictor, faces: FacesTable | None) -> list[NDArray[np.uint8]]:
    """Return some photos of the test split as the network sees them, those that can be read."""
    fitted: list[NDArray[np.uint8]] = []
    if faces is None:
        return fitted
    paths = faces.kept().query("split == 'test'")["path"].head(TESTED_PHOTOS)
    for place in filter(None, map(faces.photo_place, paths)):
        with suppress(PhotoError):
            fitted.append(predictor.fit_photo(as_photo(place)))
    return fitted


def _check_heads(heads: Sequence[Head]) -> None:
    for head in heads:
        if isinstance(head, Classification) and head.is_sensitive:
            raise UsageError(
                f"the head {head.name!r} sorts people by what groups are made of here to be treated alike, and is for "
                f"research only: a model with it is not exported."
            )
        if head.name == INPUT_NAME:
            raise UsageError(f"a head cannot be called {INPUT_NAME!r} in an exported model: its input is called that.")


def _as_onnx(network: nn.Module, predictor: Predictor) -> bytes:
    """Return a network as ONNX, with its card in the metadata and without what the exporter writes about its making."""
    size = predictor.image.size
    example = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    try:
        with _quiet(), torch.no_grad():
            program: Any = torch.onnx.export(
                network.eval(), (example,), dynamo=True, verbose=False, dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)
            )
            model = program.model_proto
    except Exception as error:
        # The exporter's own errors come from four packages.
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"torch cannot export this network ({predictor.card.get('body')}): {reason[:300]}") from error
    graph = model.graph
    _rename(graph, [head.name for head in predictor.heads])
    for part in (graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        part.ClearField("metadata_props")  # sources, paths and layers of whoever exported it
        part.ClearField("doc_string")
    graph.ClearField("value_info")
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = INPUT_NAME
    del model.metadata_props[:]
    model.producer_name, model.producer_version = "agegender", VERSION
    model.doc_string = _explained(predictor)
    card = {**predictor.card, "exported_with": {name: version(name) for name in ("torch", "onnx", "onnxscript")}}
    model.metadata_props.add(key=CARD_KEY, value=to_json(card))
    return bytes(model.SerializeToString())


def _rename(graph: Any, head_names: Sequence[str]) -> None:
    """Call the outputs as the heads are called, and all within so that no head can be called the same."""
    names = {value.name: INPUT_NAME for value in graph.input}
    names |= dict(zip((value.name for value in graph.output), head_names, strict=True))
    for part in graph.initializer:
        names.setdefault(part.name, f"/{len(names)}")
    for node in graph.node:
        for name in filter(None, node.output):  # an optional output that is not there has an empty name
            names.setdefault(name, f"/{len(names)}")
    for value in (*graph.input, *graph.output, *graph.initializer):
        value.name = names[value.name]
    for node in graph.node:
        node.ClearField("name")
        node.input[:] = [names[name] if name else "" for name in node.input]
        node.output[:] = [names[name] if name else "" for name in node.output]


def _explained(predictor: Predictor) -> str:
    """Return what whoever opens the file elsewhere has to know."""
    size = predictor.image.size
    said = [f"{INPUT_NAME}: uint8 (N, {size}, {size}, 3), RGB, the central square of upright photos, shrunk smoothly."]
    for head in predictor.heads:
        if isinstance(head, Classification):
            said.append(f"{head.name}: logits (N, {len(head.classes)}) of {', '.join(head.classes)}.")
        else:
            what = f"{head.unit or 'a number'}" + (", and the spread of its distribution" if head.answer_shape else "")
            said.append(f"{head.name}: {what} (N{', 2' if head.answer_shape else ''}).")
    return " ".join([*said, f"Intervals, temperatures and the rest of the card: metadata, {CARD_KEY!r}, as JSON."])


def _compared(
    predictor: Predictor, plain: TorchRuntime, exported: OnnxRuntime, photos: Sequence[NDArray[np.uint8]]
) -> dict[str, float]:
    """Return the largest difference of each head's answers, to each photo alone and to all of them together."""
    size = predictor.image.size
    random = np.random.default_rng(0).integers(0, 256, (RANDOM_PHOTOS, size, size, 3), dtype=np.uint8)
    images = np.concatenate([random, *(photo[None] for photo in photos)])
    differences = dict.fromkeys((head.name for head in predictor.heads), 0.0)
    for batch in (images, images[:1], images[-3:]):
        for head, ours, theirs in zip(predictor.heads, plain.answers(batch), exported.answers(batch), strict=True):
            difference = np.abs(ours - theirs)
            differences[head.name] = max(differences[head.name], float(difference.max()))
            if not (difference <= LARGEST_DIFFERENCE * np.maximum(1, np.abs(ours) / 100)).all():
                raise ModelError(
                    f"the exported network answers otherwise than the one in torch: {head.name} differs by up to "
                    f"{difference.max():.2g} on {len(batch)} photos, and {LARGEST_DIFFERENCE:g} is allowed. Nothing "
                    f"was written."
                )
    return differences


@contextmanager
def _quiet() -> Any:
    """Keep the exporter's progress and its advice to its own developers off the screen."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
