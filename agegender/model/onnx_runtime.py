"""An exported model at work: fitted photos in, each head's answers out, by onnxruntime and without torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from copy import copy
from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from agegender.errors import CardError, UsageError, WeightsError
from agegender.heads import Head, Regression
from agegender.model.card_schema import card_of
from agegender.model.model_folder import ONNX_FILE, check_calibration, heads_of, image_of, read_card
from agegender.model.onnx_file import INPUT_NAME, read_exported
from agegender.settings import ImageSettings

LARGEST_MEMORY_BYTES = 4 << 30  # for weights and features; 64 photos of 320 pixels take a third of it in a ResNet-101


class OnnxRuntime:
    """A session of onnxruntime on the processor.

    Parameters
    ----------
    model : bytes
        An exported model that `onnx_file` has looked through.
    place : Path
        For messages.
    """

    precision = "fp32"

    def __init__(self, model: bytes, place: Path, heads: Sequence[Head], image: ImageSettings) -> None:
        self.place, self._heads = place, tuple(heads)
        self._session = open_session(model, place)
        self._check_signature(image.size)
        self.answers(
            np.zeros((1, image.size, image.size, 3), np.uint8)
        )  # what cannot run is said before photos are read

    @classmethod
    def load(cls, path: Path, *, device: str = "auto", precision: str = "auto") -> tuple[Self, dict[str, Any]]:
        """Return the runtime of an exported model, and its card.

        Raises
        ------
        CardError, WeightsError
            The file is damaged, not ours, or its parts do not fit together.
        UsageError
            It is to run on another device, or in another precision.
        """
        if device not in ("auto", "cpu") or precision not in ("auto", "fp32"):
            asked = f"--device {device}" if device not in ("auto", "cpu") else f"--precision {precision}"
            raise UsageError(
                f"{asked}: the exported model {path.name} runs on the processor, as it was exported. Leave it out, or "
                f"name the model folder."
            )
        model, text = read_exported(path)
        card = card_of(text, f"the card in {path}")
        heads = heads_of(card)
        check_calibration(card, heads)
        return cls(model, path, heads, image_of(card)), card

    def answers(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
        """Return what each head's `columns` takes, shape (N, *head.answer_shape)."""
        names = [head.name for head in self._heads]
        try:
            found = self._session.run(names, {INPUT_NAME: np.ascontiguousarray(images)})
        except Exception as error:
            raise WeightsError(f"onnxruntime cannot run {self.place}: {words_of(error)}.") from error
        for head, values in zip(self._heads, found, strict=True):
            shape = (len(images), *head.answer_shape)
            is_number = isinstance(head, Regression) and values.shape == (len(images),)  # somebody's own network
            if not (values.shape == shape or is_number) or not np.isfinite(values).all():
                raise WeightsError(
                    f"{self.place} gives no answer that means anything for the head {head.name!r}: its shape is "
                    f"{values.shape} where {shape} belongs, or it holds values that are no numbers."
                )
        return tuple(found)

    @property
    def device(self) -> str:
        """What it runs on."""
        return "cpu"

    def score_images(self, images: Any) -> NDArray[np.float32]:
        """Return each head's scores of images, a tensor uint8 (N, 3, S, S): float32 (N, K); see `Predictor`."""
        answers = self.answers(np.asarray(images).transpose(0, 2, 3, 1))
        scores = [scores_of(head, values) for head, values in zip(self._heads, answers, strict=True)]
        return np.concatenate(scores, axis=1).astype(np.float32)

    def untrained(self) -> Self:
        """Return the same network with its weights shuffled, which keeps their scale and destroys what they learnt."""
        other = copy(self)
        other._session = open_session(shuffled(self._stored()), self.place)
        return other

    def _stored(self) -> bytes:
        return read_exported(self.place)[0]

    def _check_signature(self, size: int) -> None:
        """Compare inputs and outputs with the card."""
        inputs = [(one.name, one.type, one.shape[1:]) for one in self._session.get_inputs()]
        outputs = {one.name for one in self._session.get_outputs() if one.type == "tensor(float)"}
        wanted = [(INPUT_NAME, "tensor(uint8)", [size, size, 3])]
        if inputs != wanted or not {head.name for head in self._heads} <= outputs:
            raise WeightsError(
                f"{self.place} does not fit its card: it takes {_short(inputs)} and gives {_short(sorted(outputs))}; "
                f"expected {wanted} and {', '.join(head.name for head in self._heads)}. Export it again."
            )


def open_session(model: bytes, place: Path) -> Any:
    """Return a session of onnxruntime on the processor."""
    import onnxruntime

    _limit_memory()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # fatal: everything else comes as an exception
    options.add_session_config_entry("session.use_env_allocators", "1")
    # A pattern is kept for every size of batch, with memory of its own: a server's would go on growing.
    options.enable_mem_pattern = False
    # Waiting threads would spin on the cores that read photos.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    threads = os.environ.get("OMP_NUM_THREADS", "")
    options.intra_op_num_threads = int(threads) if threads.isdecimal() else 0  # 0: as many as there are cores
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        # onnxruntime has a dozen exceptions without a common base.
        raise WeightsError(f"onnxruntime cannot open {place}: {words_of(error)}. Export it again.") from error


def scores_of(head: Head, answers: NDArray[np.float32]) -> NDArray[np.floating]:
    """Return one head's scores of its answers, shape (N, k), one column for each of its `targets`."""
    values = answers.astype(np.float64)
    if isinstance(head, Regression):
        return values.reshape(len(values), -1)[:, :1]
    if head.is_binary:
        return values[:, 1:2] - values[:, 0:1]
    values -= values.max(axis=1, keepdims=True)
    logs = values - np.log(np.exp(values).sum(axis=1, keepdims=True))
    return logs - np.log1p(-np.minimum(np.exp(logs), 1 - 1e-6))


def shuffled(model: bytes) -> bytes:
    """Return a model whose matrices and kernels have their numbers in random order."""
    import onnx
    from onnx import numpy_helper

    proto, random = onnx.load_from_string(model), np.random.default_rng(0)
    for part in proto.graph.initializer:
        values = numpy_helper.to_array(part)
        if values.ndim >= 2 and values.dtype.kind in "fiu":
            part.CopyFrom(numpy_helper.from_array(random.permutation(values.ravel()).reshape(values.shape), part.name))
    return bytes(proto.SerializeToString())


def fresh_export(folder: Path) -> Path | None:
    """Return the .onnx file in a model folder; None where there is none, or it is not of the model that lies there."""
    path, card = folder / ONNX_FILE, read_card(folder)
    if not path.is_file():
        return None
    try:
        exported = card_of(read_exported(path)[1], f"the card in {path}")
    except (CardError, WeightsError):
        return None
    exported.pop("exported_with", None)
    return path if exported == card else None


@cache  # once per process: onnxruntime keeps one allocator for all sessions
def _limit_memory() -> None:
    """Have an operator that asks for a terabyte fail, instead of the machine."""
    from onnxruntime import (
        OrtAllocatorType,
        OrtArenaCfg,
        OrtMemoryInfo,
        OrtMemType,
        create_and_register_allocator,
    )

    place = OrtMemoryInfo("Cpu", OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, OrtMemType.DEFAULT)
    # Strategy 0 takes the next power of two from the system; what is not written to costs nothing. To the byte, a batch
    # larger than any before would find no piece that fits, and a server would hold the pieces of all sizes at last.
    create_and_register_allocator(place, OrtArenaCfg({"max_mem": LARGEST_MEMORY_BYTES, "arena_extend_strategy": 0}))


def words_of(error: Exception) -> str:
    """Return the first words of an error of onnxruntime's."""
    text = " ".join(str(error).split()).removeprefix("[ONNXRuntimeError] : ")
    return text[:200].rstrip(".") or type(error).__name__


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 200 else f"{text[:200]}…"
