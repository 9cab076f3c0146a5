"""One .onnx file answers as the model folder that it was made of, and needs no torch for it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from golden_model import GOLDEN, write_golden
from torch import Tensor, nn

import agegender as ag
from agegender import evaluate, explain, export, predict
from agegender.errors import CardError, ModelError, PhotoError, UsageError
from agegender.heads import GENDER, Classification, Regression
from agegender.model import onnx_export
from agegender.model.model_folder import CARD_FILE, ONNX_FILE, network_entries
from agegender.model.onnx_file import read_exported
from agegender.model.predictor import Predictor
from agegender.settings import ImageSettings

PHOTOS = np.load(GOLDEN / "photos.npz")["photos"]
THREE = (
    Regression("height", "height_cm", "cm"),
    Classification("mask", "mask", ("none", "cloth", "surgical")),
    replace(GENDER),
)
# Whatever asks for torch or what stands on it is told that it is not installed.
WITHOUT_TORCH = """
import sys
class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "fastai", "torchvision", "timm", "fasttransform"}:
            raise ModuleNotFoundError(f"No module named {name!r}")
sys.meta_path.insert(0, Refused())
"""


class Toy(nn.Module):
    """A network that answers for a number, three classes and two."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 5, stride=4), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.heads = nn.ModuleList([nn.Linear(8, count) for count in (1, 3, 2)])

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        features = self.body(images).flatten(1)
        height, mask, gender = (head(features) for head in self.heads)
        return 170 + 10 * height.squeeze(1), mask, gender


def toy_model(heads=THREE) -> ag.Model:
    torch.manual_seed(0)
    card = {"name": "toy", **network_entries(heads, ImageSettings(size=24), {}, "toy")}
    return ag.Model.of_network(Toy(), card, device="cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained model, with the file that it was exported to and some photos of other sizes beside it."""
    place = tmp_path_factory.mktemp("models") / "trained"
    write_golden(place)
    photos = place / "photos"
    photos.mkdir()
    for number, photo in enumerate(PHOTOS[:4]):
        resized = cv2.resize(photo, (90 + 31 * number, 200 - 40 * number))
        cv2.imwrite(str(photos / f"{number}.png"), cv2.cvtColor(resized, cv2.COLOR_RGB2BGR))
    assert export.main(["--model", str(place), str(photos)]) == 0
    return place


@pytest.mark.parametrize("count", [1, 2, 7, 70])
def test_answers_are_those_of_torch_for_any_number_of_photos(folder: Path, count: int) -> None:
    photos = np.concatenate([PHOTOS] * (count // len(PHOTOS) + 1))[:count]
    ours = ag.Model.load(folder, device="cpu").predict_images(photos)
    theirs = ag.Model.load(folder / ONNX_FILE).predict_images(photos)
    assert theirs["predicted_gender"].tolist() == ours["predicted_gender"].tolist()
    for name in ("predicted_age_years", "age_low_years", "age_high_years"):
        assert ours[name].notna().all()
        assert theirs[name].to_numpy() == pytest.approx(ours[name].to_numpy(), abs=1e-3)
    assert theirs.filter(like="probability").to_numpy() == pytest.approx(
        ours.filter(like="probability").to_numpy(), abs=1e-4
    )


def test_it_predicts_where_torch_and_fastai_cannot_be_imported(folder: Path, tmp_path: Path) -> None:
    given = ["--model", str(folder / ONNX_FILE), str(folder / "photos"), "--json", "--out", str(tmp_path / "p.csv")]
    look = f"{WITHOUT_TORCH}\nfrom agegender.__main__ import main\nraise SystemExit(main(['predict', *{given!r}]))"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ours = ag.Model.load(folder, device="cpu").predict(folder / "photos")
    said = pd.read_csv(tmp_path / "p.csv")
    assert said["path"].tolist() == ours["path"].tolist()
    assert said["predicted_age_years"].tolist() == pytest.approx(ours["predicted_age_years"].tolist(), abs=1e-3)


def test_a_notebook_predicts_and_evaluates_with_it_where_torch_is_missing(folder: Path, tmp_path: Path) -> None:
    labels = pd.DataFrame({"path": [f"{n}.png" for n in range(4)], "age_years": [5, 20, 40, 60], "gender": "male"})
    labels.to_csv(tmp_path / "labels.csv", index=False)
    look = (
        f"{WITHOUT_TORCH}\nimport agegender as ag, pandas as pd\n"
        f"model = ag.Model.load({str(folder / ONNX_FILE)!r})\n"
        f"faces = ag.Faces.from_frame(pd.read_csv({str(tmp_path / 'labels.csv')!r}), root={str(folder / 'photos')!r})\n"
        "print(model.evaluate(faces, split='all')['all']['age']['mae'], len(model.predict(faces)))"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    faces = ag.Faces.from_frame(labels, root=folder / "photos")
    mae = ag.Model.load(folder, device="cpu").evaluate(faces, split="all")["all"]["age"]["mae"]
    said, count = done.stdout.split()
    assert float(said) == pytest.approx(mae, abs=1e-3)
    assert count == "4"


def test_heads_of_every_kind_are_answered_under_their_names(tmp_path: Path) -> None:
    model = toy_model()
    differences = model.export(tmp_path / "toy.onnx", photos=[PHOTOS[0], cv2.resize(PHOTOS[1], (60, 80))])
    assert list(differences) == ["height", "mask", "gender"]
    assert max(differences.values()) < 1e-4
    exported = ag.Model.load(tmp_path / "toy.onnx")
    assert exported.heads == model.heads
    given = [cv2.resize(photo, (50, 50)) for photo in PHOTOS[:5]]
    ours, theirs = model.predict(given), exported.predict(given)
    assert list(theirs) == list(ours)
    pd.testing.assert_frame_equal(theirs, ours, atol=1e-4, rtol=1e-6)
    assert theirs["predicted_height_cm"].between(100, 240).all()


@pytest.mark.parametrize("name", ["relu", "conv2d", "permute"])
def test_a_head_may_be_called_as_layers_are(tmp_path: Path, name: str) -> None:
    toy_model((replace(THREE[0], name=name), *THREE[1:])).export(tmp_path / "toy.onnx")
    assert ag.Model.load(tmp_path / "toy.onnx").heads[0].name == name
    with pytest.raises(UsageError, match="cannot be called 'photos'"):
        toy_model((replace(THREE[0], name="photos"), *THREE[1:])).export(tmp_path / "toy.onnx")


def test_the_file_holds_the_card_and_nothing_of_the_machine_that_made_it(folder: Path) -> None:
    data, card = read_exported(folder / ONNX_FILE)
    ours = json.loads((folder / CARD_FILE).read_text(encoding="utf-8"))
    theirs = json.loads(card)
    assert set(theirs.pop("exported_with")) == {"torch", "onnx", "onnxscript"}
    assert theirs == ours
    for trace in (b"stack_trace", b".py", b"site-packages", str(Path.home()).encode() + b"/", str(folder).encode()):
        assert trace not in data


def test_what_the_network_answers_otherwise_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy.onnx").write_text("the old one")
    monkeypatch.setattr(onnx_export, "LARGEST_DIFFERENCE", -1.0)
    with pytest.raises(ModelError, match="height differs by up to"):
        toy_model().export(tmp_path / "toy.onnx")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("toy.onnx", "the old one")]


def test_a_network_that_torch_cannot_export_is_said(tmp_path: Path) -> None:
    class Undecided(Toy):
        def forward(self, images: Tensor) -> tuple[Tensor, ...]:
            return super().forward(images) if images.sum() > 0 else super().forward(-images)

    card = {"name": "undecided", **network_entries(THREE, ImageSettings(size=24), {}, "undecided")}
    with pytest.raises(ModelError, match="torch cannot export this network \\(undecided\\)"):
        ag.Model.of_network(Undecided(), card, device="cpu").export(tmp_path / "undecided.onnx")
    assert not list(tmp_path.iterdir())


def test_a_head_that_is_for_research_only_is_not_exported(tmp_path: Path) -> None:
    sensitive = (*THREE[:2], replace(THREE[2], name="ethnicity", column="ethnicity", is_sensitive=True))
    with pytest.raises(UsageError, match="research only"):
        toy_model(sensitive).export(tmp_path / "toy.onnx")


def test_photos_to_compare_on_must_be_photos(tmp_path: Path) -> None:
    with pytest.raises(PhotoError):
        toy_model().export(tmp_path / "toy.onnx", photos=tmp_path / "none.jpg")
    with pytest.raises(UsageError, match=r"ends in \.onnx"):
        toy_model().export(tmp_path / "toy.bin")


def test_an_exported_model_says_what_it_cannot_do(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exported = ag.Model.load(folder / ONNX_FILE)
    assert (exported.faces, exported.predictions, exported.history) == (None, None, None)
    for ask in (
        lambda: exported.explain(folder / "photos" / "0.png", second_opinions=True),
        lambda: exported.export(folder / "again.onnx"),
        lambda: exported.save(folder / "again"),
    ):
        with pytest.raises(UsageError, match="Load the model folder that it was exported from"):
            ask()
    with pytest.raises(UsageError):
        _ = exported.learner
    file, photo = str(folder / ONNX_FILE), str(folder / "photos" / "0.png")
    for command, arguments, said in (
        (predict, ["--model", file, "--device", "cuda", photo], "--device cuda"),
        (predict, ["--model", file, "--precision", "bf16", photo], "--precision bf16"),
        (predict, ["--model", str(folder / "none.onnx"), photo], "agegender export"),
        (evaluate, ["--model", file], "--faces"),
        (explain, ["--model", file, "--worst", "2"], "knows no faces of its own"),
        (export, ["--model", file], "Name the model folder"),
    ):
        assert command.main(arguments) == 2
        error = capsys.readouterr().err
        assert said in error
        assert len(error.splitlines()) == 1


def test_an_exported_model_is_explained_as_its_folder_is(folder: Path) -> None:
    photo, settings = folder / "photos" / "0.png", {"samples": 64, "segments": "face-grid"}
    ours = ag.Model.load(folder, device="cpu", precision="fp32").explain(photo, **settings)
    theirs = ag.Model.load(folder / ONNX_FILE).explain(photo, **settings)
    for one, other in zip(ours.maps, theirs.maps, strict=True):
        assert other.value == pytest.approx(one.value, abs=1e-3)
        assert other.weights() == pytest.approx(one.weights(), abs=1e-2)
        assert np.isfinite(other.trust.untrained_correlation)


def test_only_an_onnx_file_is_taken_for_an_exported_model(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes((folder / ONNX_FILE).read_bytes())
    with pytest.raises(CardError):
        Predictor.load(tmp_path / "model.bin", device="cpu")
