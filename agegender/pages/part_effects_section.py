"""What the page of explanations begins with: which parts of the face move each answer, over faces at random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agegender.audit.estimates import Estimate
from agegender.audit.words import FEW, chance_of, interval, listing, number
from agegender.explanation.face_explanation import FaceExplanation
from agegender.explanation.maps import Scale
from agegender.explanation.part_effects import Effects, PartEffect, part_effects
from agegender.pages.charts import axis_ends, forest_chart
from agegender.pages.tables import Column, Row, Table

_MOST_BARS = 12
_MOST_NAMED = 3
_MOST_CLEAR = 6


def effect_sections(
    explanations: Sequence[FaceExplanation], scales: Mapping[str, Scale], *, hide_faces: bool = False
) -> list[dict[str, Any]]:
    """Return what is said of each answer; nothing where no face was chosen at random, or too few to be told of."""
    found = part_effects(explanations)
    return [
        {
            "title": one.target.name,
            "sentences": effect_sentences(one, scales[one.target.key]),
            "chart": _chart(one, scales[one.target.key]),
            "table": _table(one, scales[one.target.key]),
            "photo_count": one.photo_count,
            "by_place": one.by_place,
        }
        for one in found
        if not (hide_faces and one.photo_count < FEW)
    ]


def effect_sentences(effects: Effects, scale: Scale) -> list[str]:
    """Return what moves an answer most, what raises or lowers it on average, and how the parts make the answer."""
    return [_strongest(effects, scale), *_clear(effects, scale), _sum(effects, scale), *_trust(effects)]


def _strongest(effects: Effects, scale: Scale) -> str:
    named = [part for part in effects.parts if part.size > 0][:_MOST_NAMED]
    if not named:
        return "No part moves it."
    words = [
        f"{part.part} (typically ±{number(part.size, scale.digits)} {scale.target.unit}".rstrip() for part in named
    ]
    return f"What moves it most: {listing(f'{word})' for word in words)}."


def _clear(effects: Effects, scale: Scale) -> list[str]:
    """Return what each part does on average whose interval leaves out zero, largest first."""
    clear = sorted((part for part in effects.parts if part.is_clear), key=lambda part: -abs(part.mean))
    if not clear:
        return [f"As far as {effects.photo_count} photos can tell, no part raises or lowers it on average."]
    sentences = [_effect_words(part, scale) for part in clear[:_MOST_CLEAR]]
    left_out = len(clear) - len(sentences)
    more = [f"{left_out} more stand in the table."] if left_out else []
    return [*sentences, *more]


def _effect_words(part: PartEffect, scale: Scale) -> str:
    target = scale.target
    does = target.high_words if part.mean > 0 else target.low_words
    value, _, ends = interval(Estimate(part.mean, part.low, part.high), scale.digits, signed=True).partition(" ")
    words = " ".join(filter(None, (value, target.unit, ends)))
    odds = f", which takes an even chance to {chance_of(part.mean)} {target.class_name}" if target.is_log_odds else ""
    return f"Seeing the {part.part} {does}, on average by {words}{odds}."


def _sum(effects: Effects, scale: Scale) -> str:
    """Return how base value, parts and what is left over make the mean answer."""
    unit, is_log_odds = scale.target.unit, scale.target.is_log_odds
    base, answer = (number(value, scale.digits, signed=is_log_odds) for value in (effects.base, effects.answer))
    total, rest = (number(value, scale.digits, signed=True) for value in (effects.total, effects.rest))
    chances = [f" ({chance_of(value)} {scale.target.class_name})" for value in (effects.base, effects.answer)]
    first, last = chances if is_log_odds else ("", "")
    return (
        f"Mean over {effects.photo_count} photos: {base} {unit}{first} with everything covered, {total} from all "
        f"parts, {rest} from parts that only work together, which makes the answer of {answer} {unit}{last}."
    ).replace(" ,", ",")


def _trust(effects: Effects) -> list[str]:
    if not effects.failed_count:
        return []
    failed = f"{effects.failed_count} of these {effects.photo_count} maps failed a check"
    if 2 * effects.failed_count > effects.photo_count:
        return [f"{failed}: do not rest a decision on these averages."]
    return [f"{failed}. They stay in the averages, since leaving them out would choose photos by their answers."]


def _chart(effects: Effects, scale: Scale) -> Any:
    parts = [part for part in effects.parts if part.low == part.low][:_MOST_BARS]  # a NaN is no interval
    if not parts:
        return ""
    unit, effects_shown = scale.target.unit, [Estimate(part.mean, part.low, part.high) for part in parts]
    return forest_chart(
        [part.part for part in parts],
        effects_shown,
        title=f"{scale.target.name[:1].upper()}{scale.target.name[1:]}: mean effect",
        x_label=f"{unit} by showing it".strip(),
        description=f"Mean effect of each part on {scale.target.name}, in {unit or 'its unit'}, with intervals; those "
        f"that move it most stand first. The figures are in the table.",
        null_value=0.0,
        is_faint=[not part.is_clear for part in parts],
        ends=axis_ends(effects_shown, 0.0),
    )


def _table(effects: Effects, scale: Scale) -> Table:
    unit, digits = f", {scale.target.unit}" if scale.target.unit else "", scale.digits
    columns = [
        Column("part", "Place in the photo" if effects.by_place else "Part of the face"),
        Column("mean", f"Mean effect{unit}", digits, is_signed=True),
        Column("size", f"Typical size{unit}", digits, hint="root mean square, sampling error taken off"),
        Column("raising", "Raises it in", 0, is_percent=True, hint="share of the photos"),
        Column("photos", "Photos", 0, hint="that have the part"),
    ]
    rows = [
        Row(
            {
                "part": part.part,
                "mean": Estimate(part.mean, part.low, part.high),
                "size": part.size,
                "raising": part.raising_share,
                "photos": part.photo_count,
            }
        )
        for part in effects.parts
    ]
    note = (
        "Those that move it most first. Brackets: intervals over photos, made so that all of this table hold together "
        "in 95 of 100 such samples. The typical size is either way and has no interval."
    )
    return Table(f"effects-{scale.target.key}".replace("_", "-"), f"Parts and {scale.target.name}", columns, rows, note)
