"""What can be seen in a drawn face and why: the features of its map, and the label that each of them carries.

The truth of the drawing stands here once; explanations are tested against it.
"""

from __future__ import annotations

from agegender.drawing.person import Person

# The position in this tuple is the feature's number in the feature map.
FEATURES = (
    "background",
    "clothes",
    "neck",
    "ears",
    "skin",  # of the face, where nothing more special lies
    "hair",
    "brows",
    "eyes",
    "lashes",
    "nose",
    "lips",
    "beard",
    "glasses",
    "forehead",
    "jaw",
    "forehead_lines",
    "crows_feet",
    "under_eye",
    "nasolabial_folds",
    "spots",
    "earrings",
    "hair_bow",
)

CAUSES: dict[str, tuple[str, ...]] = {
    "age": (
        "hair",  # grey, and where it begins
        "forehead",  # large in children and where hair recedes
        "forehead_lines",
        "crows_feet",
        "under_eye",
        "nasolabial_folds",
        "spots",
        "eyes",  # large in children, drooping lids later
        "nose",  # small in children
        "jaw",  # short and round in children, sagging later
        "skin",  # rosy cheeks of children
        "neck",  # thin in children
        "brows",  # grey later
        "beard",  # none in children, grey later
    ),
    "gender": ("hair", "brows", "lashes", "lips", "beard", "jaw", "earrings", "hair_bow"),
    "ethnicity": ("skin", "forehead", "jaw", "nose", "neck", "ears", "hair", "eyes"),
    "expression": ("lips",),
}


def age_strengths(person: Person) -> dict[str, float]:
    """Return how strongly each feature shows the age, 0..1."""
    child = 1.0 - person.growth
    return {
        "hair": max(person.grey, person.recession),
        "forehead": max(child, person.recession),
        "forehead_lines": person.forehead_lines,
        "crows_feet": person.crows_feet,
        "under_eye": person.under_eye,
        "nasolabial_folds": person.nasolabial_folds,
        "spots": person.spots,
        "eyes": max(child, person.droop),
        "nose": child,
        "jaw": max(child, person.jowls),
        "skin": child,
        "neck": child,
        "brows": person.grey,
        "beard": person.beard * person.grey,
    }


def gender_strengths(person: Person) -> dict[str, float]:
    """Return how strongly each feature shows the gender label, 0..1."""
    return {
        "hair": 1.0,
        "brows": abs(person.brow_weight - 0.5) * 2.0,
        "lashes": person.lash_weight,
        "lips": person.lip_colour,
        "beard": person.beard,
        "jaw": abs(person.jaw_width) * person.growth,
        "earrings": float(person.has_earrings),
        "hair_bow": float(person.has_hair_bow),
    }
