"""`agegender.Explainer`: which parts of a face an answer rests on, for anybody's model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agegender.explanation.face_explanation import FaceExplanation
from agegender.explanation.lime_explainer import LimeExplainer, LimeSettings
from agegender.heads import AGE, GENDER, Target

Photo = str | Path | NDArray[np.uint8] | Any


class Explainer:
    """LIME with antithetic samples, an interval for each weight, and figures on how far a map can be trusted.

    Parameters
    ----------
    score_images : callable
        Photos, uint8 tensor (N, 3, S, S) RGB, to scores, float (N, K): one column per target. It may return a tensor or
        an array.
    targets : sequence of Target, optional
        What the columns mean; by default age in years and the log-odds of "female".
    image_size : int
        S: photos are fitted to it.
    samples : int or "auto"
        Perturbed photos; "auto" goes on until the strongest regions hold still.
    segments : {"slic", "quickshift", "face-grid"}
    fill : {"mean", "blur", "inpaint"}
    seed : int
    device : str
        Where perturbed photos are composed.
    is_aligned : bool
        The photos are aligned and cropped as UTKFace's are, so that it is known where the parts of the face are. Else
        they are known of drawn faces, and of faces that OpenCV's frontal detector finds.

    Examples
    --------
    >>> import numpy as np, torch
    >>> def left_is_bright(images):
    ...     return images[:, :, :, :32].float().mean(dim=(1, 2, 3))[:, None]
    >>> explainer = Explainer(left_is_bright, [Target("light", "light", "levels")], image_size=64, samples=200)
    >>> photo = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    >>> explained = explainer.explain(photo)
    >>> len(explained.maps)
    1
    >>> explainer.to_html([explained], "lime.html", title="their model")  # doctest: +SKIP
    """

    def __init__(  # noqa: PLR0913 (settings, each by its name)
        self,
        score_images: Callable[[Any], Any],
        targets: Sequence[Target] | None = None,
        *,
        image_size: int,
        samples: int | str = "auto",
        segments: str = "slic",
        fill: str = "mean",
        seed: int = 0,
        device: str = "cpu",
        is_aligned: bool = False,
    ) -> None:
        chosen = tuple(targets) if targets is not None else (*AGE.targets, *GENDER.targets)
        settings = LimeSettings(samples, segments, fill=fill, seed=seed, device=device)
        self.image_size, self.is_aligned = image_size, is_aligned
        self._explainer = LimeExplainer(score_images, chosen, settings)

    def explain(self, photo: Photo) -> FaceExplanation:
        """Explain one photo: a file, an array uint8 (H, W, 3) RGB, or a PIL image.

        Raises
        ------
        PhotoError
            It cannot be read.
        UsageError
            It is no photo, or the model gives another number of scores than there are targets.
        """
        from agegender.api.finding_parts import find_parts
        from agegender.photos.reading import as_photo
        from agegender.photos.warping import fit_square

        file = Path(photo) if isinstance(photo, (str, Path)) else None
        pixels = as_photo(photo)
        parts = find_parts(pixels, self.image_size, is_aligned=self.is_aligned, file=file)
        name = "photo" if file is None else str(photo)
        return self._explainer.explain(fit_square(pixels, self.image_size), name, parts=parts)

    def to_html(
        self, explanations: Sequence[FaceExplanation], path: str | Path, *, title: str, hide_faces: bool = False
    ) -> Path:
        """Write explanations as one offline page, whole or not at all; return its place.

        Parameters
        ----------
        title : str
            What the model is called.
        hide_faces : bool
            Blur faces and name no photo.
        """
        from agegender.pages.lime_page import write_lime

        return write_lime(Path(path), list(explanations), title=title, hide_faces=hide_faces)
