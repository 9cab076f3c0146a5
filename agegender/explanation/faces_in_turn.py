"""Owns explaining many photos one after the other, with progress; what is done stays done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from agegender.explanation.lime_explainer import LimeExplainer
from agegender.explanation.results import FaceExplanation
from agegender.explanation.sampling import ScoreImages
from agegender.explanation.settings import LimeSettings
from agegender.progress import track


def explain_faces(  # noqa: PLR0913 (the one call that training and the command need)
    score_images: ScoreImages,
    photos: Iterable[tuple[str, NDArray[np.uint8]]],
    *,
    samples: int | str = "auto",
    segments: str = "slic",
    seed: int = 0,
    trust: bool = True,
    device: str = "cpu",
    untrained_scores: ScoreImages | None = None,
    label: str = "explaining",
) -> list[FaceExplanation]:
    """Explain age and gender of photos, with our usual settings.

    Parameters
    ----------
    score_images : callable
        Photos uint8 (N, 3, S, S) to float (N, 2): age in years, log-odds of female.
    photos : iterable of (path, array of shape (S, S, 3), uint8)
    samples : int or "auto"
    trust : bool
        Whether to compute the trust figures, about 140 evaluations a photo.
    untrained_scores : callable or None
        The same network untrained (`untrained.untrained_copy`), for the sanity check; it costs about 64 evaluations.
    label : str
        What the progress bar says.

    Returns
    -------
    list of FaceExplanation
        In the order given.
    """
    settings = LimeSettings(samples, segments, seed=seed, has_trust=trust, device=device)
    explainer = LimeExplainer(score_images, settings=settings, untrained_scores=untrained_scores)
    return list(explain_in_turn(explainer, photos, label=label))


def explain_in_turn(
    explainer: LimeExplainer, photos: Iterable[tuple[str, NDArray[np.uint8]]], *, label: str = "explaining"
) -> Iterator[FaceExplanation]:
    """Yield one explanation after the other, so that the caller can keep each before the next begins."""
    photos = list(photos)
    for path, photo in track(photos, label, total=len(photos)):
        yield explainer.explain(photo, path).face
