"""Owns what is to be prepared and how, as frozen settings; `dataset.preparing` follows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True)
class Dataset:
    """One folder, the source whose layout it has, and options for that source."""

    source: str
    folder: Path
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PreparationSettings:
    """How faces are prepared.

    Attributes
    ----------
    near_duplicates : int or None
        Hamming radius of 64-bit pHashes within which photos are near twins; None does not look for any.
    on_conflict, near_twins : str
        What becomes of twins, as `agegender.data.cleaning.clean` says.
    split : str or three numbers
        "auto" (the official split where every source has one, 70/15/15 otherwise), "official", or parts of train, valid
        and test.
    folds : int or None
        This many grouped stratified folds instead of a split.
    limit : int or None
        Only this many photos, drawn by `seed` before any is opened.
    quality : bool
        Whether to score the quality of every kept photo, before it is cropped.
    crop : str
        "none" or the name of a face detector, "haar" or "yunet".
    crop_margin : float
        Share of the face's longer side that is added on every side.
    crop_model : Path or None
        The file that YuNet needs.
    crops : Path or None
        The folder that the crops go to; needed for cropping.
    no_face, several_faces : str
        What becomes of photos without a face and with several, as `agegender.data.cropping.crop_faces` says.
    cache : Path or None
        Where hashes are remembered between runs.
    """

    near_duplicates: int | None = 5
    on_conflict: Literal["drop", "keep-first", "median"] = "drop"
    near_twins: Literal["keep-one", "drop-all"] = "keep-one"
    split: str | Sequence[float] = "auto"
    folds: int | None = None
    seed: int = 7
    limit: int | None = None
    quality: bool = False
    crop: str = "none"
    crop_margin: float = 0.4
    crop_model: Path | None = None
    crops: Path | None = None
    no_face: Literal["centre", "skip"] = "centre"
    several_faces: Literal["largest", "skip"] = "largest"
    cache: Path | None = None
