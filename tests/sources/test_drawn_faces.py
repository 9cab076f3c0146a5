"""The embedded default: drawn faces are reproducible, whole, and their causes are where they should be."""

from pathlib import Path

import numpy as np
import pytest

from agegender.sources.drawn_faces import draw_faces, read, read_causes


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "faces"
    draw_faces(folder, face_count=24, image_size=96)
    return folder


def test_drawn_faces_come_back_as_a_labelled_table(drawn):
    faces = read(drawn)
    assert len(faces.kept()) == 24
    assert faces.is_drawn()
    assert faces.notes["drawn"] is True
    assert faces.table[["age_years", "gender", "ethnicity", "expression"]].notna().all(axis=None)


def test_every_photo_has_causes(drawn):
    faces = read(drawn)
    for path in faces.table["path"]:
        causes = read_causes(faces.photo_path(path))
        assert causes.mask_of("age").any()
        assert np.add.reduce(list(causes.masks.values())).max() == 1
