"""docs/fastai.md, line by line: what of fastai works with several heads, what refuses in words, what to use instead."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from coded_faces import ETHNICITY, HEADS, HEIGHT, coded_faces, small_learner, store
from fastai.callback.mixup import CutMix, MixUp
from fastai.data.block import CategoryBlock, DataBlock
from fastai.data.core import DataLoaders
from fastai.data.transforms import Normalize
from fastai.interpret import ClassificationInterpretation, Interpretation
from fastai.learner import Learner, load_learner
from fastai.metrics import F1Score, accuracy, mae
from fastai.vision.augment import Resize
from fastai.vision.core import imagenet_stats
from fastai.vision.data import ImageBlock
from torch import nn

from agegender.data.faces_table import FacesTable
from agegender.errors import ModelError, UsageError
from agegender.heads import AGE, GENDER
from agegender.model.face_rows import Looking, face_rows
from agegender.model.learner import (
    FaceLearner,
    HeadMetric,
    MixPhotos,
    export_learner,
    learner_of,
    predictor_from_learner,
)
from agegender.model.training import Plan, fit, train_network
from agegender.settings import ImageSettings
from agegender.training_settings import TrainingSettings

mpl.use("Agg")
pytestmark = [
    pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]
THREE = (AGE, HEIGHT, GENDER)
PAGE = Path(__file__).parents[2] / "docs" / "fastai.md"


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> FacesTable:
    return coded_faces(tmp_path_factory.mktemp("coded"))


@pytest.fixture
def learner(faces: FacesTable, tmp_path: Path) -> FaceLearner:
    made = small_learner(faces, THREE)
    made.path = tmp_path
    return made


def test_every_line_of_the_page_is_tried_here() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    named = re.findall(r"\| `(test_\w+)` \|", PAGE.read_text(encoding="utf-8"))
    assert len(named) > 10
    assert [name for name in named if f"def {name}(" not in source] == []


def test_fit_one_cycle_records_losses_that_can_be_plotted(learner: FaceLearner) -> None:
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(1)
    assert len(learner.recorder.losses) == 3
    learner.recorder.plot_loss(skip_start=0)
    assert plt.gca().get_ylabel() == "loss"
    plt.close("all")


def test_the_program_s_own_fit_leaves_the_recorder_filled(learner: FaceLearner) -> None:
    history = fit(learner, TrainingSettings(epochs=2), precision="fp32", device=torch.device("cpu")).history
    assert [row[1] for row in learner.recorder.values] == pytest.approx(history["valid_loss"].tolist(), rel=1e-5)


def test_lr_find_suggests_a_rate_and_leaves_the_weights(learner: FaceLearner) -> None:
    before = [weight.clone() for weight in learner.model.parameters()]
    with learner.no_bar():
        found = learner.lr_find(num_it=20)
    plt.close("all")
    assert 1e-7 < found.valley < 10
    for old, new in zip(before, learner.model.parameters(), strict=True):
        assert torch.equal(old, new)


def test_predict_gives_three_tuples_of_all_heads(learner: FaceLearner, faces: FacesTable) -> None:
    with learner.no_bar():
        (age, height, gender), values, activations = learner.predict(faces.photo_path("3.png"))
    assert str(age).endswith(" y")
    assert str(height).endswith(" cm")
    assert gender == GENDER.classes[int(values[2])]
    assert [tuple(part.shape) for part in activations] == [(), (), (2,)]
    assert float(values[1]) == pytest.approx(float(height))


def test_get_preds_gives_a_tensor_per_head(learner: FaceLearner) -> None:
    with learner.no_bar():
        activations, targets = learner.get_preds()
    assert [tuple(part.shape) for part in activations] == [(8,), (8,), (8, 2)]
    assert [tuple(part.shape) for part in targets] == [(8,)] * 3


def test_tta_averages_changed_views_of_every_head(learner: FaceLearner) -> None:
    with learner.no_bar():
        plain, _ = learner.get_preds()
        same, _ = learner.tta(n=2, beta=1.0)
        mixed, targets = learner.tta(n=2)
        again, _ = learner.tta(n=2)
    for one, other in zip(plain, same, strict=True):
        torch.testing.assert_close(one, other)
    assert [tuple(part.shape) for part in mixed] == [(8,), (8,), (8, 2)]
    assert not torch.equal(mixed[2], plain[2])
    assert torch.equal(mixed[2], again[2])
    assert len(targets) == 3
    with pytest.raises(UsageError, match="use_max"):
        learner.tta(use_max=True)


@pytest.mark.parametrize("stock", [MixUp, CutMix])
def test_stock_mixup_is_refused_in_words(learner: FaceLearner, stock: type) -> None:
    for callback in (stock, stock()):
        with pytest.raises(UsageError, match="MixPhotos"):
            learner.fit(1, cbs=[callback])


def test_mix_photos_mixes_the_losses_of_all_heads(learner: FaceLearner) -> None:
    history = fit(
        learner, TrainingSettings(epochs=1), precision="fp32", device=torch.device("cpu"), callbacks=[MixPhotos(0.4)]
    ).history
    assert np.isfinite(history[["train_loss", "train_loss_height", "valid_loss", "valid_height_mae"]].to_numpy()).all()
    assert learner.loss_func is learner.combined_loss


@pytest.mark.parametrize("metric", [accuracy, mae, F1Score(average="macro")])
def test_stock_metrics_on_all_heads_are_refused_in_words(learner: FaceLearner, metric: object) -> None:
    learner.metrics = [metric]
    with pytest.raises(UsageError, match="HeadMetric"), learner.no_bar(), learner.no_logging():
        learner.validate()


def test_stock_metrics_measure_one_head(learner: FaceLearner) -> None:
    learner.metrics = [
        HeadMetric("gender", accuracy),
        HeadMetric("height", mae),
        HeadMetric("gender", F1Score(average="macro")),
    ]
    with learner.no_bar():
        _, share, height_mae, f1 = learner.validate()
        activations, targets = learner.get_preds()
    assert share == pytest.approx((activations[2].argmax(dim=1) == targets[2]).float().mean().item())
    assert height_mae == pytest.approx((activations[1] - targets[1]).abs().mean().item(), rel=1e-5)
    assert 0 <= f1 <= 1
    assert learner.metrics.attrgot("name") == ["gender_accuracy", "height_mae", "gender_f1_score"]


def test_metrics_of_whole_predictions_work(learner: FaceLearner) -> None:
    def height_above_age(predictions, age, height, gender):
        return (predictions[1] > age).float().mean()

    learner.metrics = height_above_age
    with learner.no_bar():
        assert learner.validate()[1] == 1.0


def test_interpretation_finds_and_draws_the_top_losses(learner: FaceLearner) -> None:
    with learner.no_bar():
        interpretation = Interpretation.from_learner(learner)
        losses, numbers = interpretation.top_losses(2)
        interpretation.plot_top_losses(2)
    titles = [axes.get_title() for axes in plt.gcf().axes]
    plt.close("all")
    assert losses[0] >= losses[1]
    assert len(set(numbers.tolist())) == 2
    assert titles[0].startswith(f"loss {losses[0]:.2f}: true ")


def test_classification_interpretation_is_refused_in_words(learner: FaceLearner) -> None:
    with pytest.raises(UsageError, match=r"one set of classes.*Audit"), learner.no_bar():
        ClassificationInterpretation.from_learner(learner)


def test_show_batch_titles_every_head(learner: FaceLearner) -> None:
    learner.dls.valid.show_batch(max_n=2)
    titles = [axes.get_title() for axes in plt.gcf().axes]
    plt.close("all")
    assert titles == ["0 y, 100 cm, male", "8 y, 108 cm, male"]


def test_show_results_titles_every_head(learner: FaceLearner) -> None:
    with learner.no_bar():
        learner.show_results(max_n=1, shuffle=False)
    title = plt.gcf().axes[0].get_title()
    plt.close("all")
    assert re.fullmatch(r"true 0 y, 100 cm, male\npredicted -?\d+ y, -?\d+ cm, (fe)?male", title)


def test_an_exported_learner_is_loaded_and_names_its_version(
    learner: FaceLearner, faces: FacesTable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import dill

    learner.metrics = HeadMetric("gender", accuracy)
    export_learner(learner, tmp_path / "learner.pkl")
    loaded = load_learner(tmp_path / "learner.pkl", pickle_module=dill)
    assert loaded.agegender_version == learner.agegender_version
    photo = faces.photo_path("3.png")
    with learner.no_bar(), loaded.no_bar():
        for here, there in zip(learner.predict(photo)[2], loaded.predict(photo)[2], strict=True):
            torch.testing.assert_close(here, there)
    assert "exported by" not in capsys.readouterr().err
    learner.agegender_version = "0.0.9"
    export_learner(learner, tmp_path / "learner.pkl")
    load_learner(tmp_path / "learner.pkl", pickle_module=dill)
    assert "exported by agegender 0.0.9" in capsys.readouterr().err


@pytest.fixture(scope="module")
def model_folder(faces: FacesTable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "small"
    plan = Plan("small", "mobilenetv3_small_050", image=ImageSettings(size=32), training=TrainingSettings(epochs=1))
    store(train_network(faces, plan), faces, folder)
    return folder


def test_a_learner_is_rebuilt_from_a_model_folder_and_goes_on(model_folder: Path, faces: FacesTable) -> None:
    learner = learner_of(model_folder)
    assert [head.name for head in learner.heads] == ["age", "gender"]
    assert len(learner.dls.train_ds) == 24
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(1)
    assert np.isfinite(learner.recorder.values[0]).all()


def test_without_its_photos_a_rebuilt_learner_only_predicts(
    model_folder: Path, faces: FacesTable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(model_folder, copy)
    (copy / "faces.parquet").unlink()
    learner = learner_of(copy)
    assert "has no batches" in capsys.readouterr().err
    with learner.no_bar():
        (age, gender), *_ = learner.predict(faces.photo_path("3.png"))
    assert str(age).endswith(" y")
    assert gender in GENDER.classes


def test_a_learner_of_ours_becomes_a_predictor(model_folder: Path, faces: FacesTable) -> None:
    learner = learner_of(model_folder)
    predictor = predictor_from_learner(learner, heads=learner.heads, device="cpu")
    (table,) = face_rows(predictor, [faces.photo_path("3.png")], Looking())
    with learner.no_bar():
        (age, gender), *_ = learner.predict(faces.photo_path("3.png"))
    assert table["predicted_age_years"][0] == pytest.approx(max(0.0, float(age)), abs=1e-3)
    assert table["predicted_gender"][0] == gender
    assert predictor.card["body"] == "mobilenetv3_small_050"


class TwoAnswers(nn.Module):
    """Somebody's own model: the age is the mean colour, the gender follows it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 1, 1)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        age = self.layer(images).mean(dim=(1, 2, 3), keepdim=True)[:, 0, 0] + 40
        return age, torch.cat([-age, age], dim=1)


def own_learner(faces: FacesTable, *batch_tfms: object, model: nn.Module | None = None) -> Learner:
    block = DataBlock(
        (ImageBlock, CategoryBlock),
        get_x=lambda row: faces.photo_path(row["path"]),
        get_y=lambda row: row["gender"],
        item_tfms=Resize(32),
        batch_tfms=list(batch_tfms),
    )
    loaders = block.dataloaders(faces.kept(), bs=8, num_workers=0, device="cpu")
    return Learner(loaders, model or TwoAnswers(), loss_func=nn.CrossEntropyLoss())


def test_a_learner_of_one_s_own_becomes_a_predictor(faces: FacesTable) -> None:
    learner = own_learner(faces, Normalize.from_stats(*imagenet_stats))
    predictor = predictor_from_learner(learner, heads=HEADS, device="cpu")
    assert predictor.image.size == 32
    assert predictor.image.mean == pytest.approx(imagenet_stats[0])
    (table,) = face_rows(predictor, [faces.photo_path("3.png"), b"no photo"], Looking())
    photo = learner.dls.test_dl([faces.kept().iloc[3]]).one_batch()[0]
    with torch.no_grad():
        age, _ = learner.model(photo)
    assert table["predicted_age_years"][0] == pytest.approx(float(age), abs=1e-3)
    assert table["gender_probability_female"][0] == pytest.approx(1.0)
    assert table["predicted_age_years"].isna().tolist() == table["error"].notna().tolist() == [False, True]


def test_without_normalize_the_range_of_a_float_is_taken(faces: FacesTable) -> None:
    predictor = predictor_from_learner(own_learner(faces), heads=HEADS, device="cpu")
    assert (predictor.image.mean, predictor.image.std) == ((0, 0, 0), (1, 1, 1))


def test_a_normalisation_that_is_not_known_is_asked_for(faces: FacesTable) -> None:
    photos = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.zeros(4, 3, 32, 32), torch.zeros(4)))
    learner = Learner(DataLoaders(photos, photos), TwoAnswers(), loss_func=nn.MSELoss())
    with pytest.raises(UsageError, match=r"ImageSettings\(size"):
        predictor_from_learner(learner, heads=HEADS, image_size=32)
    assert predictor_from_learner(learner, heads=HEADS, image=ImageSettings(size=32), device="cpu").image.size == 32


def test_outputs_that_are_not_those_of_the_heads_are_refused_with_their_shapes(faces: FacesTable) -> None:
    for heads, said in (
        (THREE, "gives 2 tensors"),
        ((AGE, ETHNICITY.__class__("e", "e", ("a", "b", "c"))), r"\(2, 3\)"),
    ):
        with pytest.raises(UsageError, match=said):
            predictor_from_learner(own_learner(faces), heads=heads)


def test_a_network_of_one_s_own_is_not_stored_as_a_folder(faces: FacesTable, tmp_path: Path) -> None:
    from agegender.model.learner import check_storable

    predictor = predictor_from_learner(own_learner(faces), heads=HEADS, device="cpu")
    with pytest.raises(ModelError, match="from_learner"):
        check_storable(predictor.network)
