"""Photos in, rows out: in memory and part by part into a file, which goes on where a killed run was."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bad_photos import UNREADABLE, write_bad_photos
from golden_model import write_golden, write_noisy_photos
from PIL import Image
from skimage import data

import agegender as ag
from agegender.audit.predictions_table import read_predictions
from agegender.data.faces_table import FacesTable, make_table
from agegender.errors import FolderError, OutputError, PhotoError, UsageError
from agegender.model import face_rows, prediction_parts
from agegender.model.model_folder import CARD_FILE, WEIGHTS_FILE
from agegender.photos.face_crops import cut_out, face_cut
from agegender.photos.face_detection import FaceBox

ANSWERS = ["predicted_age_years", "age_low_years", "age_high_years", "gender_probability_female"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_golden(tmp_path_factory.mktemp("golden") / "model")


@pytest.fixture
def model(folder: Path) -> ag.Model:
    return ag.Model.load(folder, device="cpu")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seventy small photos of drawn heads, no two alike."""
    return write_noisy_photos(tmp_path_factory.mktemp("photos"), 70)


@pytest.fixture
def short_parts(monkeypatch: pytest.MonkeyPatch) -> int:
    """Parts of sixteen photos, so that few photos make several."""
    for module in (face_rows, prediction_parts):
        monkeypatch.setattr(module, "PART", 16)
    return 16


class Boxes:
    """A detector that finds what it is told to find."""

    name = "haar"

    def __init__(self, *boxes: tuple[int, int, int, int]) -> None:
        self._faces = [FaceBox(*box, 0.5) for box in boxes]

    def detect(self, _: object) -> list[FaceBox]:
        return self._faces


def with_boxes(model: ag.Model, *boxes: tuple[int, int, int, int]) -> ag.Model:
    model.__dict__["detector"] = Boxes(*boxes)
    del model.margins  # kept since loading; the image settings are to change
    return model


def rows_of(path: Path) -> pd.DataFrame:
    if path.suffix == ".jsonl":
        return pd.DataFrame([json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()])
    return read_predictions(path)


def test_every_answer_is_the_one_of_evaluate(model: ag.Model, photos: Path) -> None:
    table = make_table([{"path": path.name, "source": "csv"} for path in sorted(photos.iterdir())])
    judged = model.predict(FacesTable(table, photos))
    predicted = model.predict(photos)
    np.testing.assert_allclose(predicted[ANSWERS[:3]], judged[ANSWERS[:3]], atol=1e-3)
    np.testing.assert_allclose(predicted[ANSWERS[3:]], judged[ANSWERS[3:]], atol=1e-4)
    assert predicted["predicted_gender"].tolist() == judged["predicted_gender"].tolist()


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_bulk_equals_single_whatever_the_batch(
    model: ag.Model, photos: Path, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(face_rows, "BATCH_SIZE", batch)
    together = model.predict(photos)
    alone = pd.concat([model.predict(path) for path in sorted(photos.iterdir())[:20]], ignore_index=True)
    np.testing.assert_allclose(together[ANSWERS[:3]].head(20), alone[ANSWERS[:3]], atol=1e-3)
    np.testing.assert_allclose(together[ANSWERS[3:]].head(20), alone[ANSWERS[3:]], atol=1e-4)


@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".parquet"])
def test_a_file_holds_the_rows_of_the_table_in_the_photos_order(
    model: ag.Model, photos: Path, tmp_path: Path, short_parts: int, ending: str
) -> None:
    given = [*sorted(photos.iterdir())[::-1], tmp_path / "absent.png"]
    out = tmp_path / f"rows{ending}"
    counts = model.predict_to(out, given, checks={"age": 25})
    table, stored = model.predict(given, checks={"age": 25}), rows_of(out)
    assert counts == {"photos": 71, "faces": 70, "unreadable": 1, "problems": counts["problems"]}
    assert stored["path"].tolist() == table["path"].tolist() == list(map(str, given))
    np.testing.assert_allclose(stored[ANSWERS].astype(float), table[ANSWERS], atol=1e-6)
    assert stored["age_check_25"].fillna("").tolist() == table["age_check_25"].fillna("").tolist()
    assert stored["error"].notna().tolist() == table["error"].notna().tolist() == [False] * 70 + [True]
    assert sorted(tmp_path.iterdir()) == [out]  # nothing is left beside it


def test_heads_and_run_travel_in_parquet(model: ag.Model, photos: Path, tmp_path: Path, short_parts: int) -> None:
    model.card["run_id"] = "abc"
    model.predict_to(tmp_path / "rows.parquet", photos)
    attributes = read_predictions(tmp_path / "rows.parquet").attrs
    assert [head["name"] for head in attributes["heads"]] == ["age", "gender"]
    assert attributes["run_id"] == "abc"


def stopped(model: ag.Model, out: Path, photos: Path, after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Predict until so many batches are done."""
    answers, done = model.answers, []

    def some(images: np.ndarray) -> tuple[np.ndarray, ...]:
        done.append(images)
        if len(done) > after:
            raise KeyboardInterrupt
        return answers(images)

    with monkeypatch.context() as patched:
        patched.setattr(model, "answers", some)
        with pytest.raises(KeyboardInterrupt):
            model.predict_to(out, photos)


def test_a_stopped_run_goes_on_and_ends_in_the_same_file(
    model: ag.Model, photos: Path, tmp_path: Path, short_parts: int, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    whole, out = tmp_path / "whole.csv", tmp_path / "rows.csv"
    model.predict_to(whole, photos)
    stopped(model, out, photos, 2, monkeypatch)
    assert "keeps 32 of 70 photos" in capsys.readouterr().err
    assert not out.exists()
    seen: list[int] = []
    answers = model.answers
    monkeypatch.setattr(model, "answers", lambda images: (seen.append(len(images)), answers(images))[1])
    counts = model.predict_to(out, photos)
    assert sum(seen) == 70 - 32
    assert counts["photos"] == 70
    assert "going on behind the 32 photos" in capsys.readouterr().err
    assert out.read_bytes() == whole.read_bytes()


def test_photos_that_have_changed_are_predicted_again(
    model: ag.Model, photos: Path, tmp_path: Path, short_parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "photos"
    own.mkdir()
    for path in photos.iterdir():
        (own / path.name).write_bytes(path.read_bytes())
    stopped(model, tmp_path / "rows.csv", own, 3, monkeypatch)
    Image.new("RGB", (32, 32)).save(own / "020.png")
    model.predict_to(tmp_path / "rows.csv", own)
    stored = read_predictions(tmp_path / "rows.csv")
    np.testing.assert_allclose(stored[ANSWERS].astype(float), model.predict(own)[ANSWERS], atol=1e-6)


def test_what_another_model_has_begun_is_refused(
    model: ag.Model, photos: Path, tmp_path: Path, short_parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "rows.csv"
    stopped(model, out, photos, 2, monkeypatch)
    with pytest.raises(UsageError, match="other options"):
        model.predict_to(out, photos, checks={"age": 25})
    model.card["calibration"] = {}
    with pytest.raises(UsageError, match=r"another model has predicted.*Remove .*rows.csv.unfinished"):
        model.predict_to(out, photos)
    (tmp_path / "rows.csv.unfinished" / "plan.json").write_text("{", encoding="utf-8")
    with pytest.raises(UsageError, match="no prediction that can go on"):
        model.predict_to(out, photos)


def test_a_file_that_is_there_stays_until_the_new_one_is_whole(
    model: ag.Model, photos: Path, tmp_path: Path, short_parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "rows.csv"
    out.write_text("old", encoding="utf-8")
    stopped(model, out, photos, 2, monkeypatch)
    assert out.read_text(encoding="utf-8") == "old"
    model.predict_to(out, photos)
    assert len(read_predictions(out)) == 70


def test_outputs_that_cannot_be_are_refused_in_words(model: ag.Model, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="ends in"):
        model.predict_to(tmp_path / "rows.txt", photos)
    (tmp_path / "rows.csv").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        model.predict_to(tmp_path / "rows.csv", photos)
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(OutputError, match="in the way"):
        model.predict_to(tmp_path / "file" / "rows.csv", photos)
    with pytest.raises(UsageError, match="only files"):
        model.predict_to(tmp_path / "array.csv", np.zeros((8, 8, 3), np.uint8))


def test_where_nothing_can_be_read_there_is_no_result(model: ag.Model, tmp_path: Path) -> None:
    out = tmp_path / "rows.csv"
    with pytest.raises(PhotoError, match="no photo could be read"):
        model.predict_to(out, [tmp_path / "a.png", tmp_path / "b.png"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["https://example.org/a.jpg", "HTTP://a/b.png", "s3://a/b.jpg", "data:image/png;base64,"]
)
def test_addresses_are_refused(model: ag.Model, name: str) -> None:
    with pytest.raises(UsageError, match="network address"):
        model.predict(name)


def test_patterns_and_empty_lists_say_what_is_there(model: ag.Model, photos: Path, tmp_path: Path) -> None:
    assert len(model.predict(f"{photos}/00*.png")) == 10
    assert len(model.predict(f"{photos.parent}/photos?/**/00*.png")) == 10
    odd = tmp_path / "a[1].png"
    odd.write_bytes((photos / "000.png").read_bytes())
    assert model.predict(str(odd))["error"].isna().all()
    with pytest.raises(FolderError, match="no photo matches"):
        model.predict(f"{photos}/*.jpg")
    with pytest.raises(UsageError, match="the list is empty"):
        model.predict([])
    (tmp_path / "bare").mkdir()
    with pytest.raises(FolderError, match="there is no photo in"):
        model.predict(tmp_path / "bare")


def test_the_command_takes_patterns_and_says_what_it_cannot_take(
    folder: Path, photos: Path, tmp_path: Path, capsys
) -> None:
    from agegender import predict

    model = ["--model", str(folder), "--device", "cpu"]
    assert predict.main([f"{photos}/00*.png", *model, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 10
    first = str(photos / "000.png")
    for words, said in (
        ([f"{photos}/*.tif"], "no photo matches"),
        (["https://example.org/a.jpg"], "network address"),
        ([first, "--out", str(tmp_path / "rows.txt")], "ends in"),
        ([first, "--report", str(tmp_path / "page.pdf")], "an HTML file"),
        ([first, "--no-faces"], "the page that --report writes"),
    ):
        assert predict.main([*words, *model]) == 2
        assert said in capsys.readouterr().err


def test_the_zoo_of_photos_is_rows_each(model: ag.Model, tmp_path: Path, short_parts: int) -> None:
    bad = write_bad_photos(tmp_path / "zoo")
    (tmp_path / "zoo" / "two\nlines\r.png").write_bytes(bad["png"].read_bytes())
    for ending in (".jsonl", ".csv", ".parquet"):
        out = tmp_path / f"rows{ending}"
        model.predict_to(out, tmp_path / "zoo")
        stored = rows_of(out).set_index("path")
        assert set(stored.index) == {str(path) for path in (tmp_path / "zoo").iterdir()}
        broken = {str(bad[kind]) for kind in UNREADABLE}
        assert set(stored.index[stored["error"].notna()]) == broken
        assert stored["predicted_age_years"].isna().sum() == len(broken)


def test_largest_and_all_faces_are_cut_as_training_cut_them(model: ag.Model, tmp_path: Path) -> None:
    scene = np.full((100, 200, 3), 200, np.uint8)
    scene[20:60, 20:60], scene[30:50, 150:170] = 60, 120
    path = tmp_path / "two.png"
    Image.fromarray(scene).save(path)
    with_boxes(model, (20, 20, 40, 40), (150, 30, 20, 20)).image = replace(model.image, crop="haar", crop_margin=0.0)
    usual, largest, every = (
        model.predict(path),
        model.predict(path, faces_in_photo="largest"),
        model.predict(path, faces_in_photo="all"),
    )
    assert usual["face_count"].tolist() == [2]
    assert usual["problems"].str.contains("several faces").all()
    pd.testing.assert_frame_equal(usual, largest)
    assert not every["problems"].fillna("").str.contains("several").any()
    assert every["face"].tolist() == [0, 1]
    assert every[["crop_left", "crop_top", "crop_side"]].to_numpy().tolist() == [[20, 20, 40], [150, 30, 20]]
    assert every[["face_left", "face_width"]].to_numpy().tolist() == [[20, 40], [150, 20]]
    alone = model.predict([scene[20:60, 20:60], scene[30:50, 150:170]], is_cropped=True)
    np.testing.assert_allclose(every[ANSWERS], alone[ANSWERS], atol=1e-3)
    with pytest.raises(UsageError, match="faces already"):
        model.predict(path, is_cropped=True, faces_in_photo="all")


def test_a_photo_without_a_face_is_predicted_by_its_middle_and_says_so(model: ag.Model, tmp_path: Path) -> None:
    path = tmp_path / "none.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)).save(path)
    with_boxes(model).image = replace(model.image, crop="haar")
    (row,) = model.predict(path).to_dict("records")
    assert (row["problems"], row["face_count"], row["crop_left"], row["crop_side"]) == ("no face found", 0, 16, 64)
    assert pd.isna(row["face_left"])
    assert np.isfinite(row["predicted_age_years"])


def test_a_face_that_the_first_look_has_missed_is_predicted_and_says_so(model: ag.Model) -> None:
    """A model of photos as they came looks twice where faces are asked for, one of crops as its photos were cut."""
    photo = np.stack([data.camera()] * 3, axis=-1)  # a man in profile
    (row,) = model.predict(photo, faces_in_photo="largest").to_dict("records")
    assert "found at the second look" in row["problems"]
    assert "no face found" not in row["problems"]
    assert (row["face_count"], row["face_width"]) == (1, 142)
    cut = model.fit_photo(cut_out(photo, face_cut(FaceBox(163, 68, 142, 142, 1.0), model.margins)))
    np.testing.assert_allclose(row["predicted_age_years"], model.predict_images(cut[None])["predicted_age_years"][0])
    for then, said in (("none", "no face found"), ("haar-again", "found at the second look")):
        model.image = replace(model.image, crop="haar", crop_then=then)
        del model.detector  # kept since loading
        assert said in model.predict(photo)["problems"][0]


def test_blur_darkness_and_size_are_problems_and_can_be_left_alone(model: ag.Model, photos: Path) -> None:
    sharp = np.kron(np.indices((32, 32)).sum(axis=0) % 2 * 255, np.ones((4, 4)))
    sharp = np.repeat(sharp[..., None], 3, axis=2).astype(np.uint8)
    ramp = np.repeat(np.linspace(0, 255, 128, dtype=np.uint8)[None, :, None].repeat(128, axis=0), 3, axis=2)
    given = {"fine": sharp, "blurred": ramp, "dark": sharp // 6, "overexposed": 255 - sharp // 6, "tiny": sharp[:9, :9]}
    rows = model.predict(list(given.values()))
    assert rows["problems"].fillna("fine").tolist() == list(given)
    assert model.predict(list(given.values()), finds_problems=False)["problems"].isna().all()


class NothingFamiliar:
    def is_unlike(self, _: np.ndarray) -> bool:
        return True


def test_a_photo_unlike_the_training_is_looked_at_again(model: ag.Model) -> None:
    """Faces are looked for only where there is a reason: it takes longer than many a network."""
    flat = np.full((64, 64, 3), 120, np.uint8)
    model.__dict__["familiarity"] = NothingFamiliar()
    assert model.predict(flat)["problems"].tolist() == ["no face found, unlike the training photos"]
    assert model.predict(flat, is_cropped=True)["problems"].tolist() == ["unlike the training photos"]


def test_a_model_of_whole_photos_cuts_faces_out_as_they_lay_in_its_photos(
    model: ag.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agegender.model.predictor.make_detectors", lambda *_, **__: Boxes((50, 60, 20, 20)))
    scene = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    usual = model.predict(scene, faces_in_photo="largest")
    assert usual[["crop_left", "crop_top", "crop_side"]].to_numpy().tolist() == [[42, 52, 36]]  # a margin of 0.4
    del model.margins
    model.card["training_photos"] = {"margins": [0.0, 0.5, 0.25]}
    framed = model.predict(scene, faces_in_photo="largest")
    assert framed[["crop_left", "crop_top", "crop_side"]].to_numpy().tolist() == [[45, 60, 30]]


def test_two_models_answer_side_by_side(folder: Path, photos: Path, tmp_path: Path, capsys) -> None:
    from agegender import predict

    other = tmp_path / "other"
    other.mkdir()
    card = json.loads((folder / CARD_FILE).read_text(encoding="utf-8"))
    (other / CARD_FILE).write_text(json.dumps({**card, "name": "other", "calibration": {}}), encoding="utf-8")
    (other / WEIGHTS_FILE).write_bytes((folder / WEIGHTS_FILE).read_bytes())
    out, page = tmp_path / "both.parquet", tmp_path / "both.html"
    words = ["--model", str(folder), "--model", str(other), "--device", "cpu", "--out", str(out), "--report", str(page)]
    assert predict.main([str(photos), *words, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["photos"], document["faces"]) == (70, 70)
    stored = pd.read_parquet(out)
    assert stored["model"].tolist() == [card["name"], "other"] * 70
    assert stored["path"].tolist() == [str(path) for path in sorted(photos.iterdir()) for _ in range(2)]
    assert stored.loc[stored["model"] == "other", "age_low_years"].isna().all()
    text = page.read_text(encoding="utf-8")
    assert text.count("<b>other</b>") == 70
    assert "These faces are drawn" not in text  # the model's were; whose these are nobody said
    assert "other was trained on drawn faces" in text


def test_a_list_on_stdin_may_hold_any_name(folder: Path, photos: Path, tmp_path: Path) -> None:
    odd = tmp_path / "two\nlines <b>.png"
    odd.write_bytes((photos / "000.png").read_bytes())
    command = [sys.executable, "-m", "agegender.predict", "-", "--model", str(folder), "--device", "cpu", "--json"]

    def listed(data: bytes) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(command, input=data, capture_output=True, check=False)

    ended = listed(f"{odd}\0{photos / '001.png'}\0".encode())
    assert [row["path"] for row in json.loads(ended.stdout)] == [str(odd), str(photos / "001.png")]
    assert len(json.loads(listed(f"{photos / '001.png'}\n\n{photos / '002.png'}\n".encode()).stdout)) == 2
    nothing = listed(b"\n")
    assert (nothing.returncode, b"names no photo" in nothing.stderr) == (2, True)


def test_memory_is_level_over_many_photos(model: ag.Model, photos: Path, tmp_path: Path) -> None:
    """Of twenty thousand photos no more is kept than of five thousand: a name each, and the part that is being made."""
    files = sorted(photos.iterdir())
    model.answers = lambda images: (  # type: ignore[method-assign]
        np.zeros((len(images), 2), np.float32) + 30,
        np.zeros((len(images), 2), np.float32),
    )

    def peak(count: int) -> float:
        place = tmp_path / str(count)
        place.mkdir()
        names = []
        for number in range(count):
            link = place / f"{number:05}.png"
            link.hardlink_to(files[number % len(files)])
            names.append(str(link))
        tracemalloc.start()
        model.predict_to(tmp_path / f"{count}.jsonl", names, finds_problems=False)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most / 1e6

    few, many = peak(1_500), peak(6_000)
    assert many - few < 3  # megabytes; the tables alone would have grown by more than ten
