"""Detectors give boxes in the photo's own pixels, the largest first, and say what is missing."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from skimage import data

from agegender.errors import MissingExtraError, UsageError, WeightsError
from agegender.photos import face_detection
from agegender.photos.face_detection import (
    DetectorsInTurn,
    FaceBox,
    HaarDetector,
    SecondLook,
    YuNetDetector,
    make_detector,
    make_detectors,
)

PROFILE_FACE = (163, 68, 142)  # of the man in scikit-image's photo of a camera, who looks to the right
ASTRONAUT_FACE = (177, 66, 96)  # left, top and side of Eileen Collins's face in scikit-image's sample photo


def overlap(face, left, top, side):
    across = min(face.x + face.width, left + side) - max(face.x, left)
    down = min(face.y + face.height, top + side) - max(face.y, top)
    shared = max(0, across) * max(0, down)
    return shared / (face.area() + side**2 - shared)


@pytest.fixture(scope="module")
def astronaut():
    return data.astronaut()


def test_the_cascade_finds_the_face_where_it_is(astronaut):
    faces = HaarDetector().detect(astronaut)
    assert len(faces) == 1
    assert overlap(faces[0], *ASTRONAUT_FACE) > 0.7
    assert 0 < faces[0].score < 1


def test_the_place_is_the_same_in_a_large_photo(astronaut):
    large = cv2.resize(astronaut, None, fx=4, fy=4)
    faces = HaarDetector().detect(large)
    assert overlap(faces[0], *(4 * side for side in ASTRONAUT_FACE)) > 0.7


def test_a_tightly_cropped_face_is_found(astronaut):
    left, top, side = ASTRONAUT_FACE
    tight = astronaut[top : top + side, left : left + side]
    faces = HaarDetector().detect(tight)
    assert len(faces) == 1
    assert overlap(faces[0], 0, 0, side) > 0.6


def test_the_largest_face_comes_first(astronaut):
    canvas = np.full((700, 900, 3), 120, np.uint8)
    canvas[:512, :512] = astronaut
    canvas[450:706, 600:856] = cv2.resize(astronaut, (256, 256))[:250]
    faces = HaarDetector().detect(canvas)
    assert len(faces) == 2
    assert faces[0].area() > faces[1].area()
    assert faces[1].x > 600


@pytest.mark.parametrize("shape", [(200, 300), (1, 1), (5, 400)])
def test_a_flat_picture_has_no_face(shape):
    assert HaarDetector().detect(np.full((*shape, 3), 90, np.uint8)) == []


@pytest.mark.parametrize("way", [1, -1])
def test_a_second_look_finds_the_profile_that_the_first_does_not_to_either_side(way):
    photo = np.stack([data.camera()[:, ::way]] * 3, axis=-1)
    left, top, side = PROFILE_FACE
    left = left if way == 1 else photo.shape[1] - left - side
    assert HaarDetector().detect(photo) == []
    (face,) = make_detectors("haar", "haar-again").detect(photo)
    assert overlap(face, left, top, side) > 0.9
    assert face.found_by == "haar-again"


def test_a_second_look_returns_the_surest_face_alone_and_none_that_is_small(astronaut):
    canvas = np.full((700, 900, 3), 120, np.uint8)
    canvas[:512, :512] = astronaut
    canvas[450:706, 600:856] = cv2.resize(astronaut, (256, 256))[:250]
    (face,) = SecondLook(smallest=0.05).detect(canvas)
    assert overlap(face, *ASTRONAUT_FACE) > 0.7
    assert SecondLook().detect(canvas) == []  # a seventh of the photo's shorter side


@pytest.mark.parametrize("name", ["brick", "coins", "grass", "page", "rocket", "text"])
def test_a_second_look_sees_no_face_where_there_is_none(name):
    photo = np.asarray(getattr(data, name)())
    assert SecondLook().detect(photo if photo.ndim == 3 else np.stack([photo] * 3, axis=-1)) == []


def test_where_the_first_look_finds_faces_a_second_one_changes_nothing(astronaut):
    both = make_detectors("haar", "haar-again").detect(astronaut)
    assert [replace(face, found_by="") for face in both] == HaarDetector().detect(astronaut)


def test_detectors_are_made_by_name(tmp_path):
    assert make_detector("haar-again") == SecondLook()
    assert make_detector("haar").name == "haar"
    assert make_detector("yunet", model_file=tmp_path / "x.onnx").name == "yunet"
    with pytest.raises(UsageError, match="haar, haar-again, yunet"):
        make_detector("dlib")
    with pytest.raises(UsageError, match="model file"):
        make_detector("yunet")


def test_yunet_without_its_file_says_so(tmp_path):
    with pytest.raises(WeightsError, match="no YuNet model"):
        YuNetDetector(tmp_path / "missing.onnx").detect(np.zeros((9, 9, 3), np.uint8))
    (tmp_path / "words.onnx").write_text("no network")
    with pytest.raises(WeightsError, match="no YuNet model that"):
        YuNetDetector(tmp_path / "words.onnx").detect(np.zeros((9, 9, 3), np.uint8))


class PretendedYuNet:
    """Answers as OpenCV's FaceDetectorYN does: fifteen numbers a face, the score last."""

    def setInputSize(self, size):  # noqa: N802
        self.size = size

    def setScoreThreshold(self, threshold):  # noqa: N802
        self.threshold = threshold

    def detect(self, image):
        assert image.shape[1::-1] == self.size
        rows = np.zeros((2, 15), np.float32)
        rows[:, :4] = [[10, 20, 30, 40], [100, 50, 60, 80]]
        rows[:, 4:14] = np.arange(10)
        rows[:, 14] = [0.95, 0.8]
        return 1, rows


def test_yunets_answer_is_scaled_back_to_the_photo(tmp_path, monkeypatch):
    monkeypatch.setattr(face_detection, "_yunet", lambda model_file: PretendedYuNet())
    faces = YuNetDetector(tmp_path / "model.onnx", longest_side=500).detect(np.zeros((800, 1000, 3), np.uint8))
    assert [(face.x, face.y, face.width, face.height) for face in faces] == [(200, 100, 120, 160), (20, 40, 60, 80)]
    assert [round(face.score, 2) for face in faces] == [0.8, 0.95]
    assert faces[0].landmarks == ((0, 2), (4, 6), (8, 10), (12, 14), (16, 18))


class FindsOne:
    def __init__(self, name, side):
        self.name, self.side = name, side

    def detect(self, photo):
        return [FaceBox(5, 5, self.side, self.side // 2, 0.5)] if self.side else []


def test_a_second_detector_is_asked_where_the_first_finds_nothing_large_enough():
    photo = np.zeros((100, 200, 3), np.uint8)
    for sides, smallest, found in (
        ((30, 60), 0, "first"),
        ((0, 60), 0, "second"),
        ((30, 60), 40, "second"),
        ((30, 60), 0.25, "first"),
        ((30, 60), 0.35, "second"),
        ((30, 60), 0.7, None),
    ):
        chain = DetectorsInTurn((FindsOne("first", sides[0]), FindsOne("second", sides[1])), smallest)
        assert [face.found_by for face in chain.detect(photo)] == ([found] if found else [])
        assert chain.name == "first"


def test_detectors_are_made_as_a_card_names_them(tmp_path):
    assert make_detectors("haar") == HaarDetector()
    chain = make_detectors("haar", "yunet", smallest=20, model_file=tmp_path / "model.onnx")
    assert chain == DetectorsInTurn((HaarDetector(), YuNetDetector(tmp_path / "model.onnx")), 20)
    with pytest.raises(UsageError, match="model file"):
        make_detectors("haar", "yunet")


def test_an_opencv_without_cascades_says_what_to_install(monkeypatch):
    monkeypatch.setattr(face_detection, "_loaded", type("Empty", (), {})())
    monkeypatch.delattr(cv2, "CascadeClassifier")
    with pytest.raises(MissingExtraError, match="opencv-python-headless<5"):
        HaarDetector().detect(np.zeros((50, 50, 3), np.uint8))
