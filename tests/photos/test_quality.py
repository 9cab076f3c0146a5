"""One planted picture per defect is found by its own check, and good pictures by none."""

import numpy as np
import pytest
from PIL import Image

from agegender.data.faces_table import FacesTable, make_table
from agegender.errors import MissingExtraError
from agegender.photos import brisque_score, quality
from agegender.photos.face_detection import FaceBox
from agegender.photos.quality import CHECKS, THRESHOLDS, assess_quality, quality_scores

PIXEL_CHECKS = ("blurry", "blurry_fft", "dark", "bright", "low_contrast", "tiny", "odd_aspect")


def scene(seed=1, width=160, height=160):
    """Shapes of every size on a soft ground, with some grain: as much fine detail as a photo has."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    grey = 110 + 60 * np.sin(columns / 31 + seed) * np.cos(rows / 23)
    for _ in range(40):
        x, y, radius = generator.integers(width), generator.integers(height), generator.integers(2, 25)
        grey = np.where((columns - x) ** 2 + (rows - y) ** 2 < radius**2, generator.integers(20, 236), grey)
    colour = grey[:, :, None] * np.array([1.0, 0.95, 0.9]) + generator.normal(0, 4, (height, width, 3))
    return colour.clip(0, 255).astype(np.uint8)


def blurred(photo, radius):
    from PIL import ImageFilter

    return np.asarray(Image.fromarray(photo).filter(ImageFilter.GaussianBlur(radius)))


def squeezed(photo, low, high):
    return (low + photo.astype(float) / 255 * (high - low)).round().astype(np.uint8)


PLANTED = {
    "blurred": (blurred(scene(), 6), {"blurry", "blurry_fft"}),
    "dark": (squeezed(scene(), 0, 60), {"dark"}),
    "bright": (squeezed(scene(), 205, 255), {"bright"}),
    "pale": (squeezed(scene(), 110, 138), {"low_contrast"}),
    "tiny": (np.asarray(Image.fromarray(scene()).resize((24, 24), Image.Resampling.LANCZOS)), {"tiny"}),
    "long": (scene(width=400, height=130), {"odd_aspect"}),
}


def suspicions(photo):
    return {check for check, score in quality_scores(photo).items() if score < THRESHOLDS[check]}


@pytest.mark.parametrize("defect", PLANTED)
def test_a_planted_defect_is_found_by_its_own_check_alone(defect):
    photo, expected = PLANTED[defect]
    assert suspicions(photo) == expected


@pytest.mark.parametrize("seed", range(8))
def test_a_good_picture_is_suspected_of_nothing(seed):
    assert suspicions(scene(seed)) == set()


def test_scores_are_uniform():
    for photo in [
        scene(),
        np.zeros((1, 1, 3), np.uint8),
        np.full((300, 2, 3), 255, np.uint8),
        *(p for p, _ in PLANTED.values()),
    ]:
        scores = quality_scores(photo)
        assert tuple(scores) == PIXEL_CHECKS
        assert all(0 <= score <= 1 for score in scores.values())


def test_more_blur_never_scores_higher():
    for check in ("blurry", "blurry_fft"):
        scores = [quality_scores(blurred(scene(3), radius))[check] for radius in (0, 0.5, 1, 2, 4)]
        assert scores == sorted(scores, reverse=True)


def test_blur_means_the_same_at_every_size_and_contrast():
    large = scene(2, 512, 512)
    sharp = np.asarray(Image.fromarray(large).resize((128, 128), Image.Resampling.BOX))
    assert quality_scores(large)["blurry"] == pytest.approx(quality_scores(sharp)["blurry"], rel=0.1)
    assert quality_scores(squeezed(sharp, 90, 170))["blurry"] == pytest.approx(quality_scores(sharp)["blurry"], rel=0.1)


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
    monkeypatch.setattr(quality, "brisque_value", lambda photo: float(photo.mean()))
    monkeypatch.setattr(quality, "brisque_version", lambda: "brisque 0.0")
    faces = FacesTable(make_table([{"path": f"{number:03}.png", "source": "csv"} for number in range(120)]), tmp_path)
    table = assess_quality(faces, detector=EvenPictures(), brisque=True).table
    assert table.loc[table["is_brisque"], "path"].tolist() == ["118.png", "119.png"]
    assert table["brisque_score"].iloc[[0, -1]].tolist() == [1.0, 0.0]


def test_brisque_without_its_package_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(brisque_score, "is_brisque_installed", lambda: False)
    brisque_score._scorer.cache_clear()
    with pytest.raises(MissingExtraError, match="pip install"):
        brisque_score.brisque_value(scene())


def test_a_pickle_that_calls_code_is_refused(tmp_path, monkeypatch):
    import pickle
    from importlib.machinery import ModuleSpec

    package = tmp_path / "brisque" / "__init__.py"
    (package.parent / "models").mkdir(parents=True)
    spec = ModuleSpec("brisque", None, origin=str(package))
    monkeypatch.setattr(brisque_score.importlib.util, "find_spec", lambda name: spec)
    monkeypatch.setattr(brisque_score, "version", lambda name: "9.9")
    file = package.parent / "models" / "normalize.pickle"
    file.write_bytes(pickle.dumps({"min_": [1.0], "max_": [2.0]}))
    brisque_score._check_pickle()
    file.write_bytes(pickle.dumps({"min_": print}))
    with pytest.raises(MissingExtraError, match="would call code"):
        brisque_score._check_pickle()


@pytest.mark.skipif(not brisque_score.is_brisque_installed(), reason="the package brisque is not installed")
def test_brisque_finds_noise_and_blur_worse_than_the_picture():
    clean = scene()
    noisy = (clean + np.random.default_rng(0).normal(0, 40, clean.shape)).clip(0, 255).astype(np.uint8)
    assert brisque_score.brisque_value(blurred(clean, 4)) > brisque_score.brisque_value(clean)
    assert brisque_score.brisque_value(noisy) > brisque_score.brisque_value(clean)
