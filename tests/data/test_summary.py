"""What a dataset is to be wary of: each planted trouble is said, and a sound dataset says nothing."""

from pathlib import Path

import numpy as np
import pytest

from agegender.data.faces_table import FacesTable, make_table
from agegender.data.preparing import count_faces
from agegender.data.splitting import split_faces
from agegender.data.summary import count_steps, warnings_of


def sound_faces(count=4_000, **columns) -> FacesTable:
    random = np.random.default_rng(3)
    table = {
        "path": [f"{number}.jpg" for number in range(count)],
        "source": ["test"] * count,
        "age_years": random.uniform(0, 90, count),
        "gender": random.choice(["male", "female"], count),
        "ethnicity": random.choice(["White", "Black", "Asian"], count),
        **columns,
    }
    return split_faces(FacesTable(make_table(table), Path("/photos")))


def warned(faces: FacesTable, **counts: int) -> list[str]:
    return warnings_of(faces, {**count_faces(faces), **counts})


def test_a_sound_dataset_has_no_warning():
    assert warned(sound_faces()) == []


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"gender": [None] * 4_000}, "No photo has a gender label."),
        ({"age_years": [None] * 10 + [40.0] * 2_000 + [75.0, 5.0] * 995}, "10 of 4,000 kept photos lack an age."),
        ({"gender": ["male"] * 3_000 + ["female"] * 1_000}, "75% of the labelled photos are labelled male."),
        ({"age_years": [30.0] * 4_000}, "Nobody is older than 30 years"),
        ({"age_years": [30.0] * 4_000}, "Nobody is younger than 30 years"),
        (
            {"gender": ["male", "female"] * 2_000, "age_years": [60.0, 20.0] * 2_000},
            "labelled female are 40.0 years younger",
        ),
        ({"ethnicity": ["Others"] * 40 + ["White"] * 3_960}, "Only 40 photos (1.0%) are labelled Others."),
        (
            {"ethnicity": ["Others"] * 40 + ["White"] * 3_960},
            "2 of 4 groups by gender and ethnicity have fewer than 30",
        ),
        ({"dropped_because": ["unreadable"] * 1_000 + [None] * 3_000}, "1,000 of 4,000 files (25%) were left out."),
    ],
)
def test_a_planted_trouble_is_said(columns, said):
    assert any(said in warning for warning in warned(sound_faces(**columns)))


def test_leaks_come_first_and_are_counted():
    faces = sound_faces()
    faces.table["split"] = ["train", "test"] * 2_000
    faces.table["subject_id"] = [str(number // 2) if number < 10 else None for number in range(4_000)]
    first, second = warned(faces, exact_conflicts=3)[:2]
    assert first.startswith("5 persons stand in both train and test (10 photos)")
    assert second == "No photo is in valid."


def test_contradictions_among_twins_and_a_limit_are_said():
    faces = sound_faces()
    limited = FacesTable(faces.table, faces.root, {"limit": 4_000, "photos_before_limit": 9_000})
    said = warned(limited, exact_conflicts=3)
    assert said[0].startswith("3 groups of identical files carry contradictory labels")
    assert said[-1] == "Only a random 4,000 of 9,000 photos were taken."


def test_the_steps_lead_from_files_to_kept_without_a_gap():
    steps = count_steps(sound_faces(dropped_because=["unreadable"] * 5 + ["no face"] * 9 + [None] * 3_986))
    assert [(step.name, step.photo_count) for step in steps] == [
        ("files", 4_000),
        ("no face", 9),
        ("unreadable", 5),
        ("kept", 3_986),
    ]
    assert all(step.explanation for step in steps)
