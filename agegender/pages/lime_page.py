"""`lime.html`: what moves each head on average, what it looks at in single photos and for groups, how sure that is."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from markupsafe import Markup
from numpy.typing import NDArray

from agegender.audit.estimates import Estimate
from agegender.audit.predictions_table import complete_predictions
from agegender.audit.words import FEW, capitalised, chance_of, interval, listing, number, photo_anchor, too
from agegender.errors import TableError
from agegender.explanation.face_explanation import (
    Curve,
    FaceExplanation,
    RegionWeight,
    SecondOpinion,
    TargetMap,
    direction,
    scaled_curves,
)
from agegender.explanation.maps import Scale, outline_picture, resized, scales_of, weight_picture
from agegender.explanation.trust import looks_outside
from agegender.heads import KNOWN_HEADS, Classification, Head, Target
from agegender.pages.charts import line_chart
from agegender.pages.group_map_section import group_sections, no_groups_words
from agegender.pages.page_writing import write_page
from agegender.pages.part_effects_section import effect_sections
from agegender.pages.tables import Column, Row, Table
from agegender.pages.thumbnails import webp

MOST_FACES = 84  # a dozen or three with five pictures each, the others with three: about 2 MB
_STRONGEST = 5
_MOST_IN_HEADING = 2  # heads
_POINTED_SIDE = 48
EXACT = "(exact to this digit)"
_PICTURE_QUALITY = 72  # colours and borders suffer sooner than a photo does
_SHARES = np.linspace(0, 1, 41)


def write_lime(  # noqa: PLR0913 (what a page is about, each by its name)
    path: Path,
    explanations: Sequence[FaceExplanation],
    *,
    title: str,
    is_drawn: bool = False,
    hide_faces: bool = False,
    cautions: Sequence[str] | None = None,
    pages: Sequence[Mapping[str, Any]] = (),
    run_id: str = "",
) -> Path:
    """Write `lime.html` to `path`, whole or not at all; return the path.

    With `hide_faces` it tells of averages alone: a single photo's map is somebody's.
    """
    maps = [one for face in explanations for one in face.maps]
    scales = scales_of((one.target, one.weights()) for one in maps)
    targets = [scale.target for scale in scales.values()]
    sample = [face for face in explanations if face.is_random]
    photos = [] if hide_faces else _photos(explanations[:MOST_FACES], scales, is_drawn=is_drawn)
    links = {str(page["address"]) for page in pages}
    return write_page(
        path,
        "lime.html",
        scripts=("pointing.js",),
        title=f"What does it look at? {title}",
        heading="What does it look at?",
        subject=title,
        pages=pages,
        run_id=run_id,
        cautions=cautions,
        is_drawn=is_drawn,
        hide_faces=hide_faces,
        scales=[(scale, clipped_words(scale, maps)) for scale in scales.values()],
        lead=lead_words(targets),
        method=method_words(targets),
        effects=effect_sections(explanations, scales, hide_faces=hide_faces),
        sample_count=len(sample),
        few_hidden=hide_faces and 0 < len(sample) < FEW,
        cases=cases_of([photo for photo in photos if not photo["is_only_random"]]),
        random=[photo for photo in photos if photo["is_only_random"]],
        bias_address="bias.html" if "bias.html" in links else "",
        left_out=max(0, len(explanations) - MOST_FACES),
        face_count=len(explanations),
        failed=sum(not one.is_believable for one in maps),
        map_count=len(maps),
        outside=sum(one.trust is not None and looks_outside(one.trust) for one in maps),
        has_log_odds=any(target.is_log_odds for target in targets),
        has_opinions=any(one.second_opinions for one in maps),
        trust=None if hide_faces else trust_table(explanations),
        curves=[] if hide_faces and len(explanations) < FEW else trust_charts(maps),
        groups=group_sections(sample, scales, hide_faces=hide_faces),
        no_groups=no_groups_words(sample),
        sections=[
            ("summary", "Summary"),
            ("photos", "Photo by photo"),
            ("group-maps", "Groups"),
            ("trust-section", "Trust"),
            ("methods", "Methods"),
        ],
    )


def clipped_words(scale: Scale, maps: Sequence[TargetMap]) -> str:
    """Return how many weights lie beyond the scale, whose colours no longer tell them apart."""
    weights = np.concatenate([one.weights() for one in maps if one.target.key == scale.target.key])
    weights = weights[np.isfinite(weights)]
    beyond = weights[np.abs(weights) > scale.limit]
    if not len(beyond):
        return "No weight lies beyond the ends."
    largest = number(beyond[np.argmax(np.abs(beyond))], scale.digits, signed=True)
    which = "1 weight lies" if len(beyond) == 1 else f"{len(beyond):,} weights lie"
    return f"{which} beyond the ends, of {len(weights):,}, and get the same full colour: up to {largest}."


def cases_of(photos: Sequence[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return the photos that were chosen or named, by what for, in their order."""
    kinds: dict[str, list[dict[str, Any]]] = {}
    for photo in photos:
        kinds.setdefault(photo["face"].reason.partition(":")[0], []).append(photo)
    return [(capitalised(kind), chosen) for kind, chosen in kinds.items()]


def lead_words(targets: Sequence[Target]) -> str:
    """Return which answers the page is about, and their units.

    >>> lead_words([Target("age", "age", "years"), Target("gender", "gender (female)", "log-odds")])
    "both heads: which regions raise or lower the model's answer, in years and in log-odds"
    """
    units = listing(f"in {unit}" for unit in dict.fromkeys(target.unit for target in targets) if unit)
    which = {1: "one answer", 2: "both heads"}.get(len(targets), f"all {len(targets)} answers")
    return f"{which}: which regions raise or lower the model's answer{', ' if units else ''}{units}"


def method_words(targets: Sequence[Target]) -> str:
    """Return in what each answer is explained.

    >>> method_words([Target("age", "age", "years"), Target("gender", "gender (female)", "log-odds")])
    'Age is explained in years, as the regression that it is; gender in log-odds of “female”.'
    """
    said: dict[str, str] = {}
    for target in targets:
        head, _, one_of_many = target.name.partition(": ")
        if not target.is_log_odds:
            said[target.title] = f"in {target.unit or 'its own unit'}, as the regression that it is"
        elif one_of_many:
            said[head] = "in log-odds of each class"
        else:
            said[target.title] = f"in log-odds of “{target.class_name}”"
    first, *others = said.items() or [("Nothing", "here")]
    return "; ".join([f"{first[0].capitalize()} is explained {first[1]}", *map(" ".join, others)]) + "."


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
        Column("agreement", "Halves alike", 2, hint="likeness of the maps of two halves of the samples; 1 is the same"),
        Column(
            "photo_share",
            "On the photo itself",
            0,
            is_percent=True,
            hint="what covering the strongest regions one by one moves, of what the map says",
        ),
        Column("background_share", "Outside the head", 0, is_percent=True),
        Column("verdict", "Is the map right?"),
        Column("looks", "Where the model looks"),
    )
    keys = [column.key for column in columns[2:10]]
    rows = [
        Row(
            {"path": face.path, "head": one.target.title, "verdict": _short_verdict(one), "looks": _short_finding(one)}
            | {key: getattr(one.trust, key) if one.trust else None for key in keys},
            not one.is_believable,
            address=f"#{photo_anchor(face.path)}" if place < MOST_FACES else "",
        )
        for place, face in enumerate(explanations)
        for one in face.maps
    ]
    note = "Rows in grey italics: maps that failed a check."
    return Table("trust", "How far each map can be believed", columns, rows, note, len(rows) > 8) if rows else None


def _short_verdict(one: TargetMap) -> str:
    if one.trust is None:
        return "not checked"
    return "holds" if one.is_believable else "; ".join(one.trust.failures)


def _short_finding(one: TargetMap) -> str:
    if one.trust is None or not one.is_believable:
        return ""
    if not _is_number(one.trust.background_share):
        return "not known"
    return "outside the head" if looks_outside(one.trust) else "at the head"


def trust_charts(maps: Sequence[TargetMap]) -> list[Markup]:
    """Return deletion and insertion of each target, averaged over the photos; nothing where none was measured."""
    drawings = []
    for target in {one.target.key: one.target for one in maps}.values():
        deletion, insertion, count = mean_curves([one for one in maps if one.target.key == target.key])
        for what, verb, lines in (("deletion", "covered", deletion), ("insertion", "shown", insertion)):
            if not lines:
                continue
            title = f"{target.title.capitalize()}: {what}"
            drawing = line_chart(
                {name: (100 * _SHARES, line) for name, line in lines.items()},
                title=title,
                x_label=f"% of the pixels {verb}",
                y_label="towards the predicted, 0 to 1" if target.is_log_odds else "answer, 0 lowest, 1 highest",
                description=f"{title}, mean over {count} photos",
            )
            drawings.append(drawing)
    return drawings


Lines = dict[str, NDArray[np.float64]]


def mean_curves(maps: Sequence[TargetMap]) -> tuple[Lines, Lines, int]:
    """Return one target's deletion and insertion curves, ours and those of random orders, and of how many photos.

    Each photo's are scaled as its trust figures are, so that the area under a line is the mean of the figures.
    """
    deletions, insertions, randoms = [], [], []
    for one in maps:
        trust = one.trust
        if trust is None or trust.deletion is None or trust.insertion is None:
            continue
        curves = (trust.deletion, trust.insertion, *trust.random_deletions)
        scaled = scaled_curves(curves, direction(one.target, one.value))
        if scaled is not None:
            deletion, insertion, *random = map(_on_shares, scaled)
            deletions.append(deletion)
            insertions.append(insertion)
            randoms += random
    if not deletions:
        return {}, {}, 0
    # Showing in an order is covering in the reverse one, and a random order reversed is a random order.
    at_random = {"random order": np.mean(randoms, axis=0)} if randoms else {}
    return (
        {"strongest first": np.mean(deletions, axis=0), **at_random},
        {"strongest first": np.mean(insertions, axis=0), **{name: line[::-1] for name, line in at_random.items()}},
        len(deletions),
    )


def _on_shares(curve: Curve) -> NDArray[np.float64]:
    return np.interp(_SHARES, curve.pixel_share, curve.values)


def _photos(
    explanations: Sequence[FaceExplanation], scales: Mapping[str, Scale], *, is_drawn: bool
) -> list[dict[str, Any]]:
    """Return what is shown of each photo; one that was drawn at random and chosen for nothing else shows less."""
    shown = [
        _photo(face, said, scales, is_drawn=is_drawn)
        for face, said in zip(explanations, photo_words(explanations), strict=True)
    ]
    anchors: set[str] = set()
    for one in shown:  # somebody may name a photo twice
        one["anchor"] = "" if one["anchor"] in anchors else one["anchor"]
        anchors.add(one["anchor"])
    return shown


def _photo(face: FaceExplanation, said: Said, scales: Mapping[str, Scale], *, is_drawn: bool) -> dict[str, Any]:
    who = "A drawn face" if is_drawn else "A face"
    photo = resized(face.photo)
    is_only_random = face.is_random and not face.chosen_for
    return {
        "face": face,
        "is_only_random": is_only_random,
        "anchor": photo_anchor(face.path),
        "heading": said.heading or capitalised(face.reason) or "Photo",
        "photo": webp(photo),
        "outlines": "" if is_only_random else webp(outline_picture(photo, face.region_map), _PICTURE_QUALITY),
        "regions": json.dumps(regions_document(face), separators=(",", ":"), ensure_ascii=False),
        "alt": f"{who}, in the data labelled {said.labels}; the model's guess: {said.guesses}",
        "sampling": f"label {said.labels}; guess {said.guesses}. {_sampling_words(face)} {_names_words(face)}".strip(),
        "maps": [_map(face, one, scales[one.target.key], photo) for one in face.maps],
    }


def regions_document(face: FaceExplanation) -> dict[str, Any]:
    """Return where the regions are, for scripts that name the one under the pointer.

    `side` rows of as many places each; `runs` are region numbers, each followed by how many places it goes on, row
    after row from the top left; `names` are those of the regions, in the order of their numbers.
    """
    side = min(_POINTED_SIDE, *face.region_map.shape)
    rows, columns = ((np.arange(side) + 0.5) * length // side for length in face.region_map.shape)
    places = face.region_map[np.ix_(rows.astype(int), columns.astype(int))].ravel()
    starts = np.flatnonzero(np.diff(places, prepend=-1))
    lengths = np.diff(starts, append=len(places))
    runs = np.stack([places[starts], lengths], axis=1).ravel().tolist()
    names = [region.name or f"region {region.region}" for region in face.maps[0].regions]
    return {"side": side, "runs": runs, "names": names}


def _map(face: FaceExplanation, one: TargetMap, scale: Scale, photo: NDArray[np.uint8]) -> dict[str, Any]:
    sentences = [region_words(region, scale) for region in one.strongest(_STRONGEST)]
    beyond = int((np.abs(one.weights()) > scale.limit).sum())
    return {
        "one": one,
        "headline": _answer(one.value, scale),
        "picture": webp(weight_picture(photo, face.region_map, one.weights(), scale), _PICTURE_QUALITY),
        "alt": f"Map of the {one.target.title} head. Strongest: {'; '.join(sentences) or 'nothing'}",
        "clipped": f"{beyond} region{'s' * (beyond != 1)} beyond the scale" if beyond else "",
        "weights": json.dumps([_weight_words(region, scale) for region in one.regions], ensure_ascii=False),
        "regions": sentences,
        "answers": answer_words(one, scale),
        "looks_outside": one.trust is not None and looks_outside(one.trust),
        "trust": trust_lines(one),
        "opinions": [_opinion(face, one, other, photo) for other in one.second_opinions],
    }


def _opinion(face: FaceExplanation, one: TargetMap, other: SecondOpinion, photo: NDArray[np.uint8]) -> dict[str, str]:
    """Return another method's map in colours of its own: only its order can be compared."""
    weights = np.array(other.weights)
    per_pixel = weights / np.bincount(face.region_map.ravel(), minlength=len(weights))
    scale = Scale(one.target, float(np.abs(per_pixel).max()) or 1.0)
    agrees = number(other.rank_correlation, 2)
    strongest = one.regions[int(np.argmax(np.abs(per_pixel)))].name or "a region without a name"
    return {
        "method": other.method,
        "picture": webp(weight_picture(photo, face.region_map, per_pixel, scale), _PICTURE_QUALITY),
        "alt": f"{other.method} of the {one.target.title} head, by region. Strongest: {strongest}",
        "caption": f"{other.method}: order alone; rank correlation with LIME {agrees}",
    }


def _weight_words(region: RegionWeight, scale: Scale) -> str:
    return f"{number(region.weight, scale.digits, signed=True)} {scale.target.unit}".rstrip()


def answer_words(one: TargetMap, scale: Scale) -> list[tuple[str, str]]:
    """Return the answer on the photo, that with all covered, and what the map makes of them, each with its name.

    >>> region = RegionWeight(0, "hair", 6.0, 5.0, 7.0, 1.0)
    >>> one = TargetMap(Target("age", "age", "years"), 36.5, 30.25, (region,), None, "", covered_value=30.0)
    >>> answer_words(one, Scale(one.target, 6.0))[0]
    ('Answer on the photo', '36.5 years')
    """
    shown = [("Answer on the photo", one.value), ("Answer with all covered", one.covered_value)]
    total = float(one.weights().sum())
    base = number(one.intercept, scale.digits, signed=scale.target.is_log_odds)
    parts = number(total, scale.digits, signed=True)
    lines = [(name, _answer(value, scale)) for name, value in shown if _is_number(value)]
    if _is_number(total) and _is_number(one.intercept):
        lines.append(("Sum of the parts", f"{_answer(one.parts_sum, scale)}: base value {base}, regions {parts}"))
    return lines


def _answer(value: float, scale: Scale) -> str:
    """Return an answer in its unit; log-odds as the probability that they stand for too."""
    target = scale.target
    words = f"{number(value, scale.digits, signed=target.is_log_odds)} {target.unit}".rstrip()
    if not target.is_log_odds:
        return words
    return f"{chance_of(value)} {target.class_name} ({words})"


_NAMED = {
    "drawing": "Regions are called after what is drawn there.",
    "alignment": "Regions are called after the parts of an aligned face.",
    "detector": "Regions are called after the parts of the face that was detected; of a turned head they are off.",
}


def _names_words(face: FaceExplanation) -> str:
    if face.parts is None:
        return "Where the parts of this face are is not known: regions are called after their place in the photo."
    return _NAMED.get(face.parts.known_from, "")


def _sampling_words(face: FaceExplanation) -> str:
    stored = " Its photo was stored blurred; `agegender explain --show-faces` shows it." if face.is_hidden else ""
    if face.stopped_because:
        return f"{capitalised(face.stopped_because)}.{stored}"
    return f"{face.sample_count:,} samples.{stored}" if face.sample_count else stored.strip()


def region_words(region: RegionWeight, scale: Scale) -> str:
    """Return one region's weight as a sentence.

    >>> region_words(RegionWeight(3, "hair", 6.21, 4.8, 7.5, 0.2), Scale(Target("age", "age", "years"), 8.0))
    'hair: +6.2 years (+4.8 to +7.5)'
    >>> region_words(RegionWeight(3, "hair", 6.21, 6.21, 6.21, 0.2), Scale(Target("age", "age", "years"), 8.0))
    'hair: +6.2 years (exact to this digit)'
    """
    value = Estimate(region.weight, region.low, region.high)
    estimate, _, ends = interval(value, scale.digits, signed=True).partition(" ")
    if ends == f"({estimate} to {estimate})":
        ends = EXACT
    said = " ".join(part for part in (estimate, scale.target.unit, ends) if part)
    return f"{region.name or f'region {region.region}'}: {said}"


class Said(NamedTuple):
    """What is labelled and what was guessed of a photo, and the error in words; empty where it is not known."""

    labels: str
    guesses: str
    heading: str


def photo_words(explanations: Sequence[FaceExplanation]) -> list[Said]:
    """Return what is said of each photo; its heading is about the head that it was chosen for, or the first ones."""
    table = pd.DataFrame([{**face.labels, **face.predictions} for face in explanations])
    try:
        rows, heads, _ = complete_predictions(table)
    except TableError:  # nothing is known of any of them
        return [Said("unknown", "unknown", "")] * len(explanations)
    found = []
    for face, row in zip(explanations, rows.to_dict("records"), strict=True):
        labels = ", ".join(filter(None, (head.label_words(row[head.column]) for head in heads)))
        guesses = ", ".join(filter(None, (_guess_words(head, row) for head in heads)))
        told = [head for head in heads if head.name == face.chosen_for] or heads[:_MOST_IN_HEADING]
        heading = "; ".join(filter(None, (error_words(head, row) for head in told)))
        found.append(Said(labels or "unknown", guesses or "unknown", capitalised(heading)))
    return found


def error_words(head: Head, row: Mapping[Any, Any]) -> str:
    """Return how a guess differs from the label; nothing where one of them is not known.

    >>> from agegender.heads import AGE
    >>> error_words(AGE, {"age_years": 63.0, "predicted_age_years": 38.2})
    'labelled 63, guessed 38: 25 years too young'
    """
    label, guess = head.label_words(row[head.column]), head.label_words(row[head.predicted])
    if not (label and guess):
        return ""
    name = "" if head in KNOWN_HEADS else f"{head.title} "
    if isinstance(head, Classification):
        sure = _sure_words(head, row)
        if label == guess:
            return f"{name}labelled {label}, recognised{sure and f', {sure}'}"
        return f"{name}labelled {label}, taken for {guess}{sure and f', {sure}'}"
    error = float(row[head.predicted]) - float(row[head.column])
    size = number(abs(error), 0 if abs(error) >= 1 else 1)
    more, less = too(head)
    way = f"{size} {head.unit}".strip() + f" too {more if error > 0 else less}"
    return f"{name}labelled {label}, guessed {guess}: {way if size != '0.0' else 'no error'}"


def _guess_words(head: Head, row: Mapping[Any, Any]) -> str:
    words = head.label_words(row[head.predicted])
    if not (words and isinstance(head, Classification)):
        return words
    sure = _sure_words(head, row)
    return f"{words} ({sure})" if sure else words


def _sure_words(head: Classification, row: Mapping[Any, Any]) -> str:
    probability = row[head.probability_columns[row[head.predicted]]]
    return f"{number(probability, 0, is_percent=True)} sure" if _is_number(probability) else ""


def trust_lines(one: TargetMap) -> list[tuple[str, str]]:
    """Return the trust figures of a map, each with what it should be; nothing where none were asked for."""
    trust = one.trust
    if trust is None:
        return []
    background = number(trust.background_pixel_share, 0, is_percent=True)
    found = [
        ("Held-out R²", trust.held_out_r2, f"in-sample {number(trust.in_sample_r2, 2)}, which flatters"),
        ("Deletion", trust.deletion_auc, f"random order {number(trust.random_deletion_auc, 2)}; lower is better"),
        ("Insertion", trust.insertion_auc, f"random order {number(trust.random_insertion_auc, 2)}; higher is better"),
        ("Halves of the samples alike", trust.agreement, "1 is the same map"),
        ("On the photo itself", trust.photo_share, "1: covering single regions moves what the map says"),
        ("Weight outside the head", trust.background_share, f"{background} of the pixels"),
        ("Likeness to an untrained network", trust.untrained_correlation, "should be far from 1"),
    ]
    lines = [(name, f"{number(value, 2)} ({more})") for name, value, more in found if _is_number(value)]
    opinions = [(other.method, other.rank_correlation) for other in one.second_opinions]
    return lines + [(f"{name} agrees", f"{number(value, 2)} (rank correlation)") for name, value in opinions]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
