"""`agegender.Faces`: labelled photos, cleaned, split, cut, and looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Self

import pandas as pd

from agegender.data.derived_labels import add_age_class, combine_labels
from agegender.data.faces_table import FacesTable, check_table, read_faces, write_faces
from agegender.settings import PreparationSettings

Place = str | Path


@dataclass(frozen=True, repr=False)
class Faces(FacesTable):
    """A faces table: one row per photo, its labels, and what became of it.

    Every method returns a new one; a photo that is left out keeps its row and its reason in `dropped_because`, and an
    unknown label is a missing value.

    Attributes
    ----------
    table : DataFrame
        `path` (relative to `root`), `source`, the labels (`age_years`, `gender`, `ethnicity`, …), `subject_id`,
        `split`, hashes, `dropped_because`, and any further column.
    root : Path
        The folder that the paths start from.
    notes : mapping
        How the table was made.

    Examples
    --------
    >>> import pandas as pd
    >>> faces = Faces.from_frame(pd.DataFrame({"path": ["a.jpg", "b.jpg"], "age_years": [7, 34]}), root="photos")
    >>> len(faces.kept()), bool(faces.table["gender"].isna().all())
    (2, True)
    """

    @classmethod
    def read(cls, source: str, *folders: Place, **options: Any) -> Self:
        """Read labelled photos.

        Parameters
        ----------
        source : str
            The layout: "utkface", "appa-real", "fairface", "folder", "csv", … as `agegender prepare --help` lists them.
        *folders : str or Path
        **options
            Of that source, such as `target="real"` for appa-real.

        Raises
        ------
        UsageError
            There is no such source, or it has no such option.
        FolderError
            A folder is missing, empty or of another layout.
        """
        from agegender.data.preparing import Dataset, combine_faces, read_dataset

        return cls._of(combine_faces([read_dataset(Dataset(source, Path(folder), options)) for folder in folders]))

    @classmethod
    def drawn(cls, folder: Place, count: int = 1200, *, seed: int = 7, image_size: int = 200) -> Self:
        """Draw portraits whose causes of age, gender label and ethnicity are known, one group being rare and hard.

        They are drawn once: a folder that holds them already is only read.

        Raises
        ------
        FolderError
            The folder holds something else.
        """
        from agegender.data.sources.drawn_faces import draw_faces

        draw_faces(Path(folder), face_count=count, seed=seed, image_size=image_size)
        return cls.read("drawn_faces", folder)

    @classmethod
    def from_frame(cls, table: pd.DataFrame, *, root: Place = ".") -> Self:
        """Take a table of one's own: `path` and any of the label columns.

        Raises
        ------
        TableError
            A path is missing or stands twice, or a label lies outside its range.
        """
        rows = table if "source" in table else table.assign(source="table")
        return cls(check_table(rows), Path(root).absolute(), {"sources": ["table"]})

    @classmethod
    def load(cls, path: Place, *, root: Place | None = None) -> Self:
        """Read what `save` or `agegender prepare` wrote; `root` says where the photos are now, if they have moved.

        Raises
        ------
        TableError
            The file is missing or no faces table.
        """
        return cls._of(read_faces(Path(path), root=None if root is None else Path(root).absolute()))

    def clean(
        self,
        *,
        near_duplicates: int | None = 5,
        on_conflict: str = "drop",
        near_twins: str = "keep-one",
        cache: Place | None = None,
    ) -> Self:
        """Leave out photos that cannot be read, and twins of others, byte for byte or by perceptual hash.

        Parameters
        ----------
        near_duplicates : int or None
            Bits of the 64-bit perceptual hash within which photos are near twins; None looks for none.
        on_conflict : {"drop", "keep-first", "median"}
            What becomes of twins whose labels contradict each other.
        near_twins : {"keep-one", "drop-all"}
        cache : str or Path, optional
            Remembers hashes between runs.

        Raises
        ------
        UsageError
            A value is out of its range.
        """
        from agegender.data.cleaning import clean

        cleaned, _ = clean(
            self,
            near_duplicates=near_duplicates,
            on_conflict=on_conflict,  # type: ignore[arg-type]
            near_twins=near_twins,  # type: ignore[arg-type]
            cache=None if cache is None else Path(cache),
        )
        return self._of(cleaned)

    def split(self, shares: str | Sequence[float] = "auto", *, seed: int = 7) -> Self:
        """Divide the kept photos into train, valid and test; twins and persons stay on one side.

        Parameters
        ----------
        shares : str or three numbers
            "auto" (the official split where the source has one, else 70/15/15), "official", "80/10/10", (80, 10, 10).

        Raises
        ------
        UsageError
            The shares make no sense, or there is no official split.
        """
        from agegender.data.preparing import split_as

        return self._of(split_as(self, PreparationSettings(split=shares, seed=seed)))

    def folds(self, count: int = 5, *, seed: int = 7) -> Self:
        """Deal the kept photos into grouped, stratified folds, in the column `fold`."""
        from agegender.data.preparing import split_as

        return self._of(split_as(self, PreparationSettings(folds=count, seed=seed)))

    def limit(self, count: int | None, *, seed: int = 7) -> Self:
        """Keep a random `count` of the rows, the same ones for the same seed."""
        from agegender.data.preparing import limit_faces

        return self._of(limit_faces(self, count, seed=seed))

    def crop(self, detector: str = "haar", *, folder: Place, margin: float = 0.4, **rules: Any) -> Self:
        """Cut the faces out of the kept photos, into `folder`; the photos stay.

        Parameters
        ----------
        detector : {"haar", "yunet"}
        margin : float
            Share of the face's longer side that is added on every side.
        **rules
            `crop_model` (YuNet's file), `no_face="centre"|"skip"`, `several_faces="largest"|"skip"`,
            `crop_margins=(above, below, beside)`, `crop_then` (a second detector), `smallest_face`, `align`.
        """
        from agegender.data.preparing import crop_as, detector_of

        settings = PreparationSettings(crop=detector, crops=Path(folder), crop_margin=margin, **rules)
        found = detector_of(settings)
        return self if found is None else self._of(crop_as(self, found, settings))

    def quality(self) -> Self:
        """Score blur, light, contrast, size and whether a face is found: `<check>_score` and `is_<check>` columns."""
        from agegender.data.photo_quality import assess_quality

        return self._of(assess_quality(self))

    def with_age_classes(self, edges: Sequence[float] = (30, 60)) -> Self:
        """Add the label column `age_class`: "<30", "30–59", "≥60" for the edges 30 and 60."""
        return self._of(add_age_class(self, edges))

    def combined(self, *columns: str) -> Self:
        """Add one label column of several, such as the mask competition's 18 classes of mask, age_class and gender."""
        return self._of(combine_labels(self, columns))

    def save(self, path: Place) -> Path:
        """Write the table as Parquet, whole or not at all, and return its place."""
        write_faces(self, Path(path))
        return Path(path)

    def to_html(self, path: Place, *, hide_faces: bool = False) -> Path:
        """Write the page about this dataset: what was kept and dropped and why, twins, conflicts, leaks."""
        from agegender.data.preparing import count_faces
        from agegender.pages.dataset_page import write_dataset_page

        return write_dataset_page(Path(path), self, count_faces(self), hide_faces=hide_faces)

    def __repr__(self) -> str:
        return f"Faces({len(self.table):,} photos, {len(self.kept()):,} kept, root={str(self.root)!r})"

    def _repr_html_(self) -> str:
        kept = self.kept()
        sides = ", ".join(f"{count:,} {side}" for side, count in kept["split"].value_counts().items()) or "no split yet"
        lost = ", ".join(f"{count:,} {escape(str(reason))}" for reason, count in self.dropped().items())
        head = self.table.head(5).drop(columns=["file_sha512", "phash"], errors="ignore")
        dropped = f"; dropped {lost}" if lost else ""
        words = f"<p><b>{len(self.table):,} photos, {len(kept):,} kept</b> ({sides}){dropped}</p>"
        return words + head.to_html(index=False, max_cols=14)

    @classmethod
    def _of(cls, faces: FacesTable) -> Self:
        return cls(faces.table, faces.root, faces.notes)
