"""What other methods say of the same regions: Grad-CAM and occlusion, through captum (the extra `explain`).

These look into a network, so the network's parts are handed in. Agreement is no proof, but where three methods point to
different regions, none of them should be shown alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from agegender.errors import UsageError
from agegender.explanation import GRAD_CAM, OCCLUSION, require_captum
from agegender.explanation.face_explanation import FaceExplanation, SecondOpinion, TargetMap
from agegender.explanation.perturbing import ScoreImages
from agegender.explanation.surrogate import Numbers, rank_correlation

# Windows of a sixth of the side, moved by half of that: 121 evaluations a target.
OCCLUSION_WINDOWS_PER_SIDE = 6


@dataclass
class SecondOpinions:
    """Asks Grad-CAM and occlusion about a photo that LIME has explained.

    Attributes
    ----------
    score_images : callable
        Photos uint8 (N, 3, S, S) to float (N, targets), as for LIME.
    column_scores : callable
        Normalised photos float (N, 3, S, S) to the same columns in pieces, each (N, k), with gradients.
    layer : nn.Module
        The last layer with a map in space; see `last_spatial_layer`.
    mean, std : sequence of 3 float
        Of the channels, in [0, 1].
    device : str

    Raises
    ------
    MissingExtraError
        captum is not installed.
    """

    score_images: ScoreImages
    column_scores: Callable[[Tensor], Sequence[Tensor]]
    layer: nn.Module
    mean: Sequence[float]
    std: Sequence[float]
    device: str = "cpu"
    methods: Sequence[str] = (GRAD_CAM, OCCLUSION)

    def __post_init__(self) -> None:
        self._captum = _captum()

    def __call__(self, face: FaceExplanation) -> FaceExplanation:
        """Return the explanation with the opinions beside each of its maps."""
        image = torch.tensor(np.ascontiguousarray(face.photo), device=self.device).permute(2, 0, 1)[None].float()
        ask = {GRAD_CAM: self.grad_cam, OCCLUSION: self.occlusion}
        maps = []
        for i, one in enumerate(face.maps):
            opinions = tuple(_opinion(method, ask[method](image, i), one, face) for method in self.methods)
            maps.append(replace(one, second_opinions=opinions))
        return replace(face, maps=tuple(maps))

    def grad_cam(self, image: Tensor, target: int) -> Numbers:
        """Return Grad-CAM, signed, of one target, shape (S, S), for an image float (1, 3, S, S) in 0..255.

        References
        ----------
        Selvaraju and others: Grad-CAM, ICCV 2017; without its last ReLU, which would hide what lowers an age.
        """
        mean, std = (
            torch.tensor(values, device=self.device).view(1, 3, 1, 1) * 255 for values in (self.mean, self.std)
        )
        method = self._captum.LayerGradCam(lambda pixels: torch.cat(list(self.column_scores(pixels)), 1), self.layer)
        with torch.enable_grad():
            cam = method.attribute((image - mean) / std, target=target, relu_attributions=False).detach()
        resized = self._captum.LayerAttribution.interpolate(cam, tuple(image.shape[2:]), "bilinear")
        return resized[0, 0].double().cpu().numpy()

    def occlusion(self, image: Tensor, target: int) -> Numbers:
        """Return how far a grey window lowers one target, shape (S, S), for an image float (1, 3, S, S) in 0..255."""
        side = max(1, image.shape[2] // OCCLUSION_WINDOWS_PER_SIDE)
        method = self._captum.Occlusion(lambda pixels: self.score_images(pixels.round().to(torch.uint8)))
        with torch.inference_mode():
            found = method.attribute(
                image,
                sliding_window_shapes=(3, side, side),
                strides=(3, max(1, side // 2), max(1, side // 2)),
                baselines=image.mean(dim=(2, 3), keepdim=True).expand_as(image).clone(),
                target=target,
                perturbations_per_eval=32,
            )
        return found[0].mean(dim=0).double().cpu().numpy()


def last_spatial_layer(network: nn.Module, image_size: int, device: str = "cpu") -> nn.Module:
    """Return the module that last gives a map in space, (N, C, h, w) with h and w above 1, as Grad-CAM needs."""
    seen: list[nn.Module] = []

    def note(module: nn.Module, _: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and min(output.shape[2:]) > 1:
            seen.append(module)

    hooks = [module.register_forward_hook(note) for module in network.modules()]
    try:
        with torch.inference_mode():
            network(torch.zeros(1, 3, image_size, image_size, device=device))
    finally:
        for hook in hooks:
            hook.remove()
    if not seen:
        raise UsageError("this network has no layer with a map in space, so that Grad-CAM cannot be asked.")
    return seen[-1]


def _opinion(method: str, pixels: Numbers, one: TargetMap, face: FaceExplanation) -> SecondOpinion:
    weights = np.zeros(face.region_count)
    np.add.at(weights, face.region_map.ravel(), pixels.ravel())
    return SecondOpinion(method, tuple(weights.tolist()), rank_correlation(weights, one.weights()))


def _captum() -> Any:
    require_captum()
    import captum.attr

    return captum.attr
