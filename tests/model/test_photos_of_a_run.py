"""What goes into the network while it is trained: changed, mixed, resized and normalised photos."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from coded_faces import CPU, ETHNICITY, HEIGHT, TINY, coded_faces, small_learner
from photo_scenes import noisy_photos
from PIL import Image
from safetensors.torch import load_file

import agegender as ag
from agegender import train
from agegender.data.faces_table import make_table
from agegender.data.normalisation import mean_and_std
from agegender.errors import TrainingStopped, UsageError
from agegender.heads import AGE, GENDER, Regression
from agegender.model import training
from agegender.model.epochs import TrainingBar
from agegender.model.learner import MixPhotos
from agegender.model.losses import CombinedLoss
from agegender.model.progressive_sizes import ProgressiveSizes
from agegender.model.training import fit
from agegender.model.training_speed import CHANNELS_LAST, CONTIGUOUS
from agegender.settings import AugmentationSettings
from agegender.training_settings import TrainingSettings

SMALL = {"body": "resnet18", "weights": "none", "image_size": 48, "batch_size": 16, "epochs": 3, "device": "cpu"}
SMALL |= {"precision": "fp32", "heads": ["age", "gender"]}


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> ag.Faces:
    """48 noisy photos, light for the old, far from ImageNet's colours."""
    root = tmp_path_factory.mktemp("coded")
    rows = []
    for number, name in enumerate(noisy_photos(root, 48, brighter=3, side=48)):
        row = {
            "path": name,
            "source": "coded",
            "age_years": number,
            "gender": ("male", "female")[number % 2],
        }
        rows.append(row | {"split": ("train", "train", "valid", "test")[number % 4]})
    return ag.Faces.from_frame(make_table(rows), root=root)


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "weights.safetensors")


def resumed_equals_whole(faces: ag.Faces, folder: Path, **keywords: object) -> ag.Model:
    """Train without and with a stop after the first epoch; refuse any difference of a bit."""
    whole = ag.Model.train(faces, name="whole", **SMALL, **keywords)
    one = weights_of(whole.save(folder / "whole"))
    with pytest.raises(TrainingStopped):
        ag.Model.train(faces, name="legs", models_dir=folder, stop_after=1, **SMALL, **keywords)
    torch.manual_seed(99)  # whatever another process has drawn before
    model = ag.Model.resume(folder / "legs")
    other = weights_of(model.save(folder / "legs"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    pd.testing.assert_frame_equal(whole.history.drop(columns="seconds"), model.history.drop(columns="seconds"))
    return model


def test_strong_changes_alternating_flips_mixing_and_own_colours_survive_a_stop(
    faces: ag.Faces, tmp_path: Path
) -> None:
    options = {"augmentation": "strong", "flip": "alternating", "mixup": 0.4, "normalise": "own"}
    card = resumed_equals_whole(faces, tmp_path, **options).card
    assert {name: card["training"][name] for name in options} == options
    assert card["augmentation"]["flip"] == "alternating"
    assert card["augmentation"]["erasing"] == 0.25
    paths = [faces.photo_path(path) for path in faces.kept().query("split == 'train'")["path"]]
    pixels = np.stack([np.asarray(Image.open(path)) for path in paths]) / 255
    assert card["image"]["mean"] == pytest.approx(pixels.mean(axis=(0, 1, 2)), abs=1e-6)
    assert card["image"]["std"] == pytest.approx(pixels.std(axis=(0, 1, 2)), abs=1e-6)
    loaded = ag.Model.load(tmp_path / "legs")
    assert loaded.image.mean == tuple(card["image"]["mean"])


def test_small_photos_first_survive_a_stop_and_the_last_size_is_stored(
    faces: ag.Faces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The layout changes with the size, so that weights and moments are turned round in the middle.
    monkeypatch.setattr(training, "choose_layout", lambda _, size, *__, **___: (CHANNELS_LAST, CONTIGUOUS)[size > 32])
    seen = []
    before_batch = MixPhotos.before_batch
    monkeypatch.setattr(
        MixPhotos, "before_batch", lambda self: (seen.append((self.epoch, self.xb[0].shape[-1])), before_batch(self))
    )
    model = resumed_equals_whole(faces, tmp_path, progressive="32:2", mixup=0.2)
    assert set(seen) == {(0, 32), (1, 32), (2, 48)}
    assert model.card["image"]["size"] == 48
    assert model.card["training"]["progressive"] == "32:2"
    assert model.learner.dls.train.image.size == 48


def test_own_ranges_from_python_reach_the_loader_and_the_card(faces: ag.Faces) -> None:
    own = AugmentationSettings(rotation_degrees=3.0, flip="none")
    model = ag.Model.train(faces, augmentation=own, **SMALL | {"body": TINY, "image_size": 32, "epochs": 1})
    assert model.learner.dls.train.augmentation == own
    assert model.card["training"]["augmentation"] == "own"
    assert model.card["augmentation"]["rotation_degrees"] == 3.0


def test_no_augmentation_shows_photos_as_they_are(faces: ag.Faces) -> None:
    small = SMALL | {"body": TINY, "image_size": 48, "epochs": 1, "batch_size": 24}
    loader = ag.Model.train(faces, augmentation="none", **small).learner.dls.train
    photos = (loader.decode(loader.one_batch())[0] * 255).round().byte().permute(0, 2, 3, 1).numpy()
    files = {np.asarray(Image.open(faces.photo_path(path))).tobytes() for path in faces.kept()["path"]}
    assert {photo.tobytes() for photo in photos} <= files


def test_each_photo_is_flipped_in_every_other_epoch_and_half_of_them_at_first(tmp_path: Path) -> None:
    learner = small_learner(coded_faces(tmp_path))
    loader = learner.dls.train
    loader.augmentation = AugmentationSettings(flip="alternating")
    numbers = list(range(len(loader.dataset.items)))
    flips = []
    for loader.epoch in (1, 2, 3, 4):
        flips.append(loader._mirrored(numbers))
    assert (flips[0] != flips[1]).all()
    assert (flips[0] == flips[2]).all()
    assert (flips[1] == flips[3]).all()
    assert 0.2 < flips[0].mean() < 0.8
    assert (loader._mirrored(numbers[5:8]) == flips[3][5:8]).all()


@pytest.mark.parametrize("loss", ["l1", "mse", "smooth-l1", "huber", "soft-labels"])
def test_mixing_mixes_every_loss_and_its_parts_as_the_formula_says(loss: str) -> None:
    heads = (replace(AGE, loss=loss), replace(GENDER, loss="focal"), ETHNICITY)
    combined = CombinedLoss(heads, {"age": 17.0})
    torch.manual_seed(1)
    ages = torch.randn(6, heads[0].output_count).squeeze(1)
    outputs = (ages, torch.randn(6, 2), torch.randn(6, 2))
    labels = (
        torch.tensor([20.0, 30, float("nan"), 50, 60, 70]),
        torch.tensor([0, 1, 1, 0, -1, 1]),
        torch.zeros(6).long(),
    )
    others = tuple(label.flip(0) for label in labels)
    mixing = MixPhotos(0.4)
    mixing.learn = type("Learn", (), {"combined_loss": combined, "training": True})()
    mixing.old_lf, mixing.lam, mixing.yb1 = combined, 0.7, others
    mixed = mixing.lf(outputs, *labels)
    parts = dict(combined.parts)
    own, own_parts = combined(outputs, *labels), dict(combined.parts)
    other = combined(outputs, *others)
    assert float(mixed) == pytest.approx(0.7 * float(own) + 0.3 * float(other), rel=1e-6)
    for name, part in parts.items():
        assert float(part) == pytest.approx(0.7 * float(own_parts[name]) + 0.3 * float(combined.parts[name]), rel=1e-6)


def test_mixing_leaves_validation_alone(tmp_path: Path) -> None:
    faces = coded_faces(tmp_path)
    settings = TrainingSettings(epochs=1, learning_rate=1e-12, mixup=5.0)
    mixed = fit(small_learner(faces, (AGE, HEIGHT, GENDER)), settings, precision="fp32", device=CPU).history
    plain = fit(
        small_learner(faces, (AGE, HEIGHT, GENDER)), replace(settings, mixup=0.0), precision="fp32", device=CPU
    ).history
    # Running means of the norms differ; the losses of photos as they are stay near.
    assert mixed["valid_loss"][0] == pytest.approx(plain["valid_loss"][0], rel=0.2)
    parts = sum(mixed[f"train_loss_{head.name}"][0] * head.weight for head in (AGE, HEIGHT, GENDER))
    assert parts == pytest.approx(mixed["train_loss"][0], rel=1e-5)


def test_a_bar_counts_small_photos_for_less(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    learner = small_learner(coded_faces(tmp_path))
    bar = TrainingBar()
    sizes = ProgressiveSizes([16, 32], {16: CHANNELS_LAST, 32: CHANNELS_LAST})
    fit(learner, TrainingSettings(epochs=2), precision="fp32", device=CPU, callbacks=[sizes, bar])
    train, valid = len(learner.dls.train), len(learner.dls.valid)
    assert bar._bar.total == pytest.approx(1.25 * train + 2 * valid)
    assert bar._bar.n == pytest.approx(bar._bar.total)
    assert not learner.epoch_sizes
    assert "100%" in capsys.readouterr().err


def test_colours_are_measured_over_all_pixels_in_one_pass() -> None:
    generator = np.random.default_rng(5)
    photos = [generator.integers(0, 256, (16, 16, 3), np.uint8) for _ in range(7)]
    mean, std = mean_and_std(iter(photos), 16)
    every = np.concatenate([photo.reshape(-1, 3) for photo in photos]) / 255
    assert mean == pytest.approx(every.mean(axis=0), abs=1e-6)
    assert std == pytest.approx(every.std(axis=0), abs=1e-6)
    assert min(mean_and_std([np.zeros((16, 16, 3), np.uint8)], 16)[1]) > 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--augmentation sttrong", "Did you mean strong"),
        ("--augmentation 7", "from 0 to 3"),
        ("--augmentation nan", "from 0 to 3"),
        ("--flip sideways", "there are auto, random"),
        ("--mixup -1", "at least 0"),
        ("--normalise photos", "there are imagenet, own"),
        ("--point median --loss age=l1", "no head learns a distribution"),
        ("--body resnet18-narrow --weights imagenet", "no ImageNet weights for resnet18-narrow"),
        ("--vote hard", "--vote hard says how the networks of --folds answer as one"),
        ("--find-rate --track wandb", "--find-rate leaves none"),
        ("--schedule cosine --div 5", "nothing rises here: give --warmup"),
        ("--warmup 0 --div 5", "nothing rises here: give --warmup"),
        ("--loss age=l1 age=mse", "--loss names age twice: l1 and mse"),
        ("--loss age=l1 --loss age=mse", "--loss names age twice: l1 and mse"),
        ("--progressive 48", "no PIXELS:EPOCHS"),
        ("--progressive 48:0", "no PIXELS:EPOCHS"),
        ("--progressive 8:3", "32 to 2048 pixels"),
        ("--progressive 48:9 --epochs 9", "does not fit 9 epochs"),
        ("--progressive 48:3 --epochs 9 --body vit_tiny_patch16_224", "one size only"),
    ],
)
def test_bad_values_are_one_line_before_anything_is_drawn(
    words: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        code = train.main(words.split())
    except SystemExit as left:  # argparse
        code = left.code
    assert code == 2
    said = capsys.readouterr().err
    assert message in said
    assert "drawing" not in said
    assert not list(tmp_path.rglob("*.*"))


def test_older_runs_and_cards_say_whether_they_flip_in_their_own_way() -> None:
    assert AugmentationSettings(flip=True) == AugmentationSettings()
    assert AugmentationSettings(flip=False).flip == "none"
    with pytest.raises(UsageError, match="alternating"):
        AugmentationSettings(flip="often")
    with pytest.raises(UsageError, match="lighting"):
        AugmentationSettings(lighting=1.0)


def test_a_strength_of_one_is_todays_and_others_grow_from_nothing() -> None:
    assert AugmentationSettings.of_strength(1.0) == AugmentationSettings()
    nothing = AugmentationSettings.of_strength(0.0)
    assert (nothing.zoom, nothing.rotation_degrees, nothing.shift, nothing.lighting) == (1.0, 0.0, 0.0, 0.0)
    assert nothing.flip == "none"
    strong = AugmentationSettings.of_strength(2.0)
    assert (strong.saturation, strong.hue_degrees, strong.grey, strong.erasing) == (0.3, 10.0, 0.1, 0.25)
    json.dumps(strong.flip)


def test_phases_fill_up_to_the_last_size() -> None:
    assert TrainingSettings(epochs=5, progressive="32:2,48:1").sizes(64) == [32, 32, 48, 64, 64]
    assert TrainingSettings(epochs=3, progressive="32:2,64:1").sizes(64) == [32, 32, 64]
    assert TrainingSettings(epochs=2).sizes(64) == [64, 64]
    with pytest.raises(UsageError, match="end at 64 pixels"):
        TrainingSettings(epochs=2, progressive="32:2").sizes(64)


def test_regressions_without_a_grid_are_mixed_too() -> None:
    height = Regression("height", "height_cm", "cm", loss="l1")
    combined = CombinedLoss([height], {"height": 10.0})
    mixing = MixPhotos(0.4)
    mixing.learn = type("Learn", (), {"combined_loss": combined, "training": True})()
    mixing.old_lf, mixing.lam, mixing.yb1 = combined, 0.75, (torch.tensor([20.0]),)
    assert float(mixing.lf((torch.tensor([10.0]),), torch.tensor([10.0]))) == pytest.approx(0.25 * height.weight)
