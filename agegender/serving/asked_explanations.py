"""What answers rest on, for whoever asks a server. It loads torch, so it is imported when the first one asks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agegender.api.explaining import PhotoToExplain, explain_photo, explainer_of, targets_of
from agegender.api.model import Model
from agegender.explanation.face_explanation import FaceExplanation, to_document
from agegender.explanation.lime_explainer import LimeExplainer, LimeSettings
from agegender.explanation.maps import outline_picture, scales_of, weight_picture
from agegender.model.onnx_runtime import OnnxRuntime
from agegender.pages.thumbnails import webp

_STRONGEST_REGIONS = 6


class Explanations:
    """Explains the network that is in memory; its files may be another's by now."""

    def __init__(self, model: Model) -> None:
        self._model, runtime = model, model.runtime
        if isinstance(runtime, OnnxRuntime) and model.torch_folder is None:
            self._explainer = LimeExplainer(runtime.score_images, targets_of(model), LimeSettings())
        else:
            self._explainer = explainer_of(model, LimeSettings(device=str(model.device)))

    def of(self, photo: NDArray[np.uint8], cut: NDArray[np.uint8], name: str) -> dict[str, Any]:
        """Return what the answers to the face that was cut out of a photo rest on, with pictures."""
        return _document(explain_photo(self._model, self._explainer, photo, PhotoToExplain(None, name), cut=cut))


def _document(face: FaceExplanation) -> dict[str, Any]:
    scales = scales_of((one.target, one.weights()) for one in face.maps)
    document = to_document(face)
    for one in face.maps:
        scale = scales[one.target.key]
        low, high = scale.colour_words.splitlines()
        strongest = [
            {"name": region.name, "weight": region.weight, "low": region.low, "high": region.high}
            for region in one.strongest(_STRONGEST_REGIONS)
        ]
        document["heads"][one.target.key] |= {
            "picture": webp(weight_picture(face.photo, face.region_map, one.weights(), scale)),
            "colours": [low, high],
            "digits": scale.digits,
            "strongest": strongest,
        }
    return {**document, "picture": webp(outline_picture(face.photo, face.region_map))}
