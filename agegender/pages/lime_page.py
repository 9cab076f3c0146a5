"""Owns `lime.html`: per photo what each head looks at, how far that can be believed, and what holds for groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agegender.explanation.results import FaceExplanation, OutputMap, RegionWeight
from agegender.pages import maps
from agegender.pages.explanation_words import photo_words, region_words, trust_lines
from agegender.pages.group_map_section import group_sections
from agegender.pages.page_writing import write_page
from agegender.pages.tables import Column, Row, Table
from agegender.pages.trust_charts import trust_charts
from agegender.pages.words import number

MOST_FACES = 60  # four pictures each: about 1.5 MB
_STRONGEST = 5


@dataclass(frozen=True)
class HeadView:
    """One head's map of one photo, ready for the page."""

    name: str
    headline: str
    picture: str
    alt: str
    is_believable: bool
    verdict: str
    regions: Sequence[str]
    trust: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class FaceView:
    """One photo with its maps."""

    title: str
    file: str
    picture: str
    alt: str
    outlines: str
    region_count: int
    problems: Sequence[str]
    heads: Sequence[HeadView]
    sampling: str


@dataclass(frozen=True)
class Scale:
    """The colour scale of one head, the same for every photo on the page."""

    name: str
    unit: str
    limit: float
    colours: tuple[maps.Colour, maps.Colour]
    low_words: str
    high_words: str

    @property
    def gradient(self) -> str:
        """The scale as a CSS gradient."""
        low, high = (f"rgb{colour}" for colour in self.colours)
        return f"linear-gradient(90deg, {low}, #e8e8e8, {high})"


def write_lime(
    path: Path,
    explanations: Sequence[FaceExplanation],
    *,
    title: str,
    is_drawn: bool = False,
    hide_faces: bool = False,
    pages: Sequence[Mapping[str, Any]] = (),
) -> Path:
    """Write `lime.html` to `path`, whole or not at all; return the path.

    Parameters
    ----------
    explanations : sequence of FaceExplanation
        In the order in which they are to be shown; the first `MOST_FACES` are.
    """
    scales = page_scales(explanations)
    shown = list(explanations[:MOST_FACES])
    return write_page(
        path,
        "lime.html",
        title=f"What does it look at? {title}",
        heading="What does it look at?",
        subject=title,
        pages=pages,
        is_drawn=is_drawn,
        hide_faces=hide_faces,
        scales=list(scales.values()),
        faces=[_face(face, scales, is_drawn=is_drawn, hide_faces=hide_faces) for face in shown],
        left_out=len(explanations) - len(shown),
        face_count=len(explanations),
        failed=sum(not _is_believable(output) for face in explanations for output in face.outputs),
        map_count=sum(len(face.outputs) for face in explanations),
        trust=trust_table(explanations),
        curves=trust_charts(explanations),
        groups=group_sections(explanations, scales),
        sections=[
            ("photos", "Photo by photo"),
            ("trust-section", "Trust"),
            ("group-maps", "Groups"),
            ("methods", "Methods"),
        ],
    )


def page_scales(explanations: Sequence[FaceExplanation]) -> dict[str, Scale]:
    """Return one colour scale per head, by the head's key."""
    found: dict[str, Scale] = {}
    outputs = {output.output.key: output.output for face in explanations for output in face.outputs}
    for key, output in outputs.items():
        weights = [one.weights() for face in explanations for one in face.outputs if one.output.key == key]
        is_gender = key == "gender"
        found[key] = Scale(
            output.name,
            output.unit,
            maps.common_scale(weights),
            maps.GENDER_COLOURS if is_gender else maps.AGE_COLOURS,
            "speaks for “male”" if is_gender else "makes younger",
            "speaks for “female”" if is_gender else "makes older",
        )
    return found


def trust_table(explanations: Sequence[FaceExplanation]) -> Table | None:
    """Return the trust figures of every map as a table."""
    columns = (
        Column("path", "Photo"),
        Column("head", "Head"),
        Column("held_out_r2", "Held-out R²", 2, hint="variance over fresh perturbations that the map predicts"),
        Column("deletion_auc", "Deletion", 2, hint="lower is better; random order beside it"),
        Column("random_deletion_auc", "at random", 2),
        Column("insertion_auc", "Insertion", 2, hint="higher is better; random order beside it"),
        Column("random_insertion_auc", "at random", 2),
        Column(
            "top_jaccard",
            "Top regions repeat",
            2,
            hint="overlap of the strongest regions between halves of the samples",
        ),
        Column("background_share", "On background", 0, is_percent=True),
        Column("verdict", "Verdict"),
    )
    keys = [column.key for column in columns[2:9]]
    rows = [
        Row(
            {"path": face.path, "head": one.output.key, "verdict": one.verdict}
            | {key: getattr(one.trust, key) if one.trust else None for key in keys},
            not _is_believable(one),
        )
        for face in explanations
        for one in face.outputs
    ]
    note = "Rows in grey italics: maps that failed a check."
    return Table("trust", "How far each map can be believed", columns, rows, note, len(rows) > 8) if rows else None


def _face(face: FaceExplanation, scales: Mapping[str, Scale], *, is_drawn: bool, hide_faces: bool) -> FaceView:
    labels, guesses = photo_words(face.labels, face.predictions)
    alt = f"{'A drawn face' if is_drawn else 'A face'}, in the data labelled {labels}; the model's guess: {guesses}"
    return FaceView(
        title=(face.reason or "Photo").capitalize(),
        file=face.path,
        picture=maps.face_picture(face.photo, hide_faces=hide_faces),
        alt=alt,
        outlines=maps.outline_picture(face.photo, face.region_map, hide_faces=hide_faces),
        region_count=face.region_count,
        problems=face.problems,
        heads=[_head(face, one, scales[one.output.key], hide_faces=hide_faces) for one in face.outputs],
        sampling=f"label {labels}; guess {guesses}. {_sampling_words(face)}".strip(),
    )


def _sampling_words(face: FaceExplanation) -> str:
    if face.stopped_because:
        return f"{face.stopped_because[0].upper()}{face.stopped_because[1:]}."
    return f"{face.sample_count:,} samples." if face.sample_count else ""


def _head(face: FaceExplanation, one: OutputMap, scale: Scale, *, hide_faces: bool) -> HeadView:
    strongest: Sequence[RegionWeight] = one.strongest(_STRONGEST)
    sentences = [region_words(region, scale.unit) for region in strongest]
    return HeadView(
        name=one.output.key,
        headline=f"{number(one.value, 1 if scale.unit == 'years' else 2, signed=scale.unit != 'years')} {scale.unit}",
        picture=maps.weight_picture(
            face.photo, face.region_map, one.weights(), scale=scale.limit, colours=scale.colours, hide_faces=hide_faces
        ),
        alt=f"Map of the {one.output.key} head. Strongest: {'; '.join(sentences) or 'nothing'}",
        is_believable=_is_believable(one),
        verdict=one.verdict,
        regions=sentences,
        trust=trust_lines(one),
    )


def _is_believable(one: OutputMap) -> bool:
    return one.trust is None or one.trust.is_believable
