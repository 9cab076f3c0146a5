"""Owns the dataset page: what became of the files, who is in the data, and what to be wary of.

`agegender.prepare` fills a `DatasetReport` and calls `write_dataset`; counting, searching for twins and scoring quality
happened before. This module draws what it is given and reads thumbnails, nothing more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from agegender.data.faces_table import FacesTable


@dataclass(frozen=True)
class CountStep:
    """One step on the way from files to kept photos.

    Attributes
    ----------
    name : str
        What the step is called, e.g. "exact duplicates".
    photo_count : int
        How many photos it took away; for the first and last step, how many there are.
    explanation : str
        One plain sentence on what it means.
    is_total : bool
        True for lines that say how many there are, not how many were lost.
    """

    name: str
    photo_count: int
    explanation: str = ""
    is_total: bool = False


@dataclass(frozen=True)
class GalleryPhoto:
    """A photo to show: its absolute path, and a few words under it (labels, score)."""

    path: Path
    caption: str = ""


@dataclass(frozen=True)
class PhotoGroup:
    """Photos that belong together: one twin group, one conflict, one extreme of a quality score."""

    title: str
    photos: tuple[GalleryPhoto, ...]
    note: str = ""


@dataclass(frozen=True)
class DatasetReport:
    """Everything that `dataset.html` shows.

    Attributes
    ----------
    faces : FacesTable
        The finished table, dropped rows included. Pyramids, splits and sparsest cells are counted from it here.
    counts : tuple of CountStep
        From files found to photos kept, in order.
    warnings : tuple of str
        Plain sentences, most serious first: "No photo over 80 years", "31 people stand on two sides of the split".
    leakage : DataFrame or None
        One row per check and pair of splits, e.g. columns check, split_a, split_b, shared_count; all 0 proves it.
    twin_groups, conflict_groups, quality_extremes : tuple of PhotoGroup
        As many as the caller likes; the page shows the first ones and says how many it left out.
    twin_group_count, conflict_group_count : int or None
        The number found in all, when the caller passes only some.
    tables : mapping
        Further tables for the page, title -> DataFrame (quality scores, sources, settings).
    notes : mapping
        Facts on how it was made: options, seed, duration, library versions.
    """

    faces: FacesTable
    counts: tuple[CountStep, ...]
    title: str = "Dataset report"
    warnings: tuple[str, ...] = ()
    leakage: pd.DataFrame | None = None
    twin_groups: tuple[PhotoGroup, ...] = ()
    conflict_groups: tuple[PhotoGroup, ...] = ()
    quality_extremes: tuple[PhotoGroup, ...] = ()
    twin_group_count: int | None = None
    conflict_group_count: int | None = None
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)


def write_dataset(path: Path, content: DatasetReport, *, hide_faces: bool = False) -> Path:
    """Write `dataset.html` to `path`, one offline file, whole or not at all; return the path.

    Raises
    ------
    OutputError
        The place cannot be written to.
    """
    from agegender.pages.dataset_page import dataset_context
    from agegender.pages.page_writing import write_page

    return write_page(path, "dataset.html", **dataset_context(content, hide_faces=hide_faces))
