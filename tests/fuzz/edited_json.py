"""JSON documents with entries replaced, removed or added at random."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

junk = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(),
    st.sampled_from(["", "a.b", "../../x", "\0", "nan", "years", "classes", "age", "gender", "x" * 5000, "yunet"]),
    st.sampled_from(["vit_giant_patch14_224", "resnet152", "regnety_1280", "resnet35", "eva_giant_patch14_224"]),
    st.sampled_from([[], {}, [[]], [None], [1, 2, 3], ["a", "a"], {"kind": "years"}, {"temperature": 0}, [0.5] * 3]),
    st.text(max_size=20),
)


def places(part: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document, as the keys that lead to it."""
    keys = list(part) if isinstance(part, dict) else list(range(min(len(part), 3))) if isinstance(part, list) else []
    return [place for key in keys for place in [(*path, key), *places(part[key], (*path, key))]]


@st.composite
def edited(draw: st.DrawFn, document: Any, where: list[tuple[Any, ...]]) -> Any:
    """Return a copy of a document with one to three entries replaced, removed or added."""
    changed = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from(where))
        part: Any = changed
        try:
            for key in way:
                part = part[key]
            match draw(st.sampled_from(["replace", "replace", "replace", "remove", "add"])):
                case "replace":
                    part[last] = draw(junk)
                case "remove":
                    del part[last]
                case "add":
                    part[draw(st.text(max_size=8))] = draw(junk)
        except (TypeError, LookupError, AttributeError):
            continue  # an earlier edit took this place away
    return changed
