"""The table of faces gains two columns per check, with exact counts of the planted pictures."""

import numpy as np
from photo_scenes import PLANTED, scene
from PIL import Image

from agegender.data import photo_quality
from agegender.data.faces_table import FacesTable, make_table
from agegender.data.photo_quality import assess_quality
from agegender.photos.face_detection import FaceBox
from agegender.photos.quality import CHECKS, THRESHOLDS


class EvenPictures:
    """Finds a face in every picture that is not entirely flat."""

    name = "even"

    def detect(self, photo):
        return [FaceBox(0, 0, 10, 10, 1.0)] if photo.std() > 1 else []


def planted_faces(root):
    pictures = {f"good{seed}.png": scene(seed) for seed in range(3)} | {
        f"{defect}.png": photo for defect, (photo, _) in PLANTED.items()
    }
    pictures["flat.png"] = np.full((90, 90, 3), 128, np.uint8)
    for name, photo in pictures.items():
        Image.fromarray(photo).save(root / name)
    (root / "words.png").write_text("no photo")
    rows = [{"path": name, "source": "csv"} for name in [*pictures, "words.png"]]
    rows.append({"path": "gone.png", "source": "csv", "dropped_because": "malformed name"})
    return FacesTable(make_table(rows), root)


def test_the_table_gains_two_columns_per_check_with_exact_counts(tmp_path):
    assessed = assess_quality(planted_faces(tmp_path), detector=EvenPictures(), brisque=False)
    counts = {check: int(assessed.table[f"is_{check}"].sum()) for check in CHECKS}
    assert counts == {
        "blurry": 1,
        "blurry_fft": 1,
        "dark": 1,
        "bright": 1,
        "low_contrast": 2,
        "tiny": 1,
        "odd_aspect": 1,
        "no_face": 1,
        "brisque": 0,
    }
    assert assessed.notes["quality"]["counts"] == counts
    assert assessed.notes["quality"]["detector"] == "even"
    by_path = assessed.table.set_index("path")
    assert by_path.loc[["words.png", "gone.png"], [f"{check}_score" for check in CHECKS]].isna().all(axis=None)
    assert by_path.loc[["words.png", "gone.png"], "is_dark"].isna().all()
    assert by_path.loc["gone.png", "dropped_because"] == "malformed name"


def test_an_assessed_table_survives_the_disk(tmp_path):
    from agegender.data.faces_table import read_faces, write_faces

    assessed = assess_quality(planted_faces(tmp_path), detector=EvenPictures(), brisque=False)
    write_faces(assessed, tmp_path / "faces.parquet")
    again = read_faces(tmp_path / "faces.parquet")
    assert again.table["is_tiny"].sum() == 1
    assert again.notes["quality"]["thresholds"] == THRESHOLDS


def test_brisque_is_ranked_within_the_table(tmp_path, monkeypatch):
    for number in range(120):
        Image.fromarray(np.full((20, 20, 3), number, np.uint8)).save(tmp_path / f"{number:03}.png")
    monkeypatch.setattr(photo_quality, "brisque_value", lambda photo: float(photo.mean()))
    monkeypatch.setattr(photo_quality, "brisque_version", lambda: "brisque 0.0")
    faces = FacesTable(make_table([{"path": f"{number:03}.png", "source": "csv"} for number in range(120)]), tmp_path)
    table = assess_quality(faces, detector=EvenPictures(), brisque=True).table
    assert table.loc[table["is_brisque"], "path"].tolist() == ["118.png", "119.png"]
    assert table["brisque_score"].iloc[[0, -1]].tolist() == [1.0, 0.0]
