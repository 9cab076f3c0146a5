"""Batches on planted photos: right labels beside right photos, same seed same batches, all of fastai's manners."""

from __future__ import annotations

import gc
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import dill
import matplotlib as mpl
import numpy as np
import pytest
import torch
from fastai.callback import progress  # noqa: F401 (gives Learner its no_bar)
from fastai.data.block import DataBlock
from fastai.data.transforms import IntToFloatTensor
from fastai.learner import Learner
from PIL import Image
from torch import nn

from agegender.data.datablock import ClassNumbers, Numbers, make_data_block, make_dataloaders
from agegender.data.faces_table import FacesTable, make_table
from agegender.data.loading import TensorPhoto, face_items
from agegender.errors import PhotoError, TableError, UsageError
from agegender.heads import AGE, GENDER, Classification, Regression
from agegender.settings import AugmentationSettings, ImageSettings

mpl.use("Agg")
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # fastai and numpy 2

HEADS = (AGE, GENDER)
IMAGE = ImageSettings(size=32)


def coded_photo(age: int) -> np.ndarray:
    """Return a photo that says its age by its colour, so that a label can be found beside the wrong photo."""
    return np.full((40, 40, 3), (age * 2, 255 - age * 2, 128), np.uint8)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> FacesTable:
    root = tmp_path_factory.mktemp("coded")
    rows = []
    for age in range(60):
        Image.fromarray(coded_photo(age)).save(root / f"{age}.png")
        rows.append(
            {
                "path": f"{age}.png",
                "source": "coded",
                "age_years": None if age == 5 else age,
                "gender": None if age == 6 else ("male", "female")[age % 2],
                "ethnicity": ("Asian", "Black")[age % 2],
                "split": "train" if age < 40 else "valid" if age < 50 else "test",
                "dropped_because": "exact duplicate" if age == 3 else None,
            }
        )
    return FacesTable(make_table(rows), root)


def loaders(faces: FacesTable, **changed: object):
    settings = {"batch_size": 8, "seed": 3, "workers": 2, "device": "cpu"} | changed
    augmentation = settings.pop("augmentation", AugmentationSettings(lighting=0.0))
    return make_dataloaders(faces, settings.pop("heads", HEADS), IMAGE, augmentation, **settings)


def shown_ages(loader, photos: torch.Tensor) -> list[int]:
    """Return the age that each photo's colour says, through the loader's own decoding."""
    decoded = loader.decode((photos,))[0]
    return (decoded[:, 0].mean(dim=(1, 2)) * 255 / 2).round().int().tolist()


def epoch(loader) -> list[tuple[torch.Tensor, ...]]:
    return [tuple(part.clone() for part in batch) for batch in loader]


class TinyNetwork(nn.Module):
    """Reads the age off the colour and the gender off its being odd or even: a model that is right by construction."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, photos: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        red = photos[:, 0].mean(dim=(1, 2)) * 0.229 + 0.485
        age = red * 255 / 2 + self.bias
        is_odd = (age.round() % 2) * 2 - 1
        return age, torch.stack([-is_odd, is_odd], dim=1)


class TinyLoss(nn.Module):
    """What fastai asks of a loss over two heads."""

    def forward(self, predictions, age, gender, reduction="mean"):
        known = ~age.isnan()
        loss = (predictions[0] - age)[known].abs().mean()
        return loss + nn.functional.cross_entropy(predictions[1], gender, ignore_index=-1)

    def activation(self, predictions):
        return predictions[0], predictions[1].softmax(dim=1)

    def decodes(self, predictions):
        return predictions[0], predictions[1].argmax(dim=1)


@pytest.fixture
def learner(faces: FacesTable) -> Learner:
    return Learner(loaders(faces), TinyNetwork(), loss_func=TinyLoss(), path=Path("unused"))


def test_batches_are_typed_normalised_and_hold_the_kept_rows_of_their_split(faces):
    dls = loaders(faces)
    photos, ages, genders = dls.one_batch()
    assert (type(photos), type(ages), type(genders)) == (TensorPhoto, Numbers, ClassNumbers)
    assert (photos.shape, photos.dtype) == ((8, 3, 32, 32), torch.float32)
    assert (ages.dtype, genders.dtype) == (torch.float32, torch.int64)
    assert (len(dls.train_ds), len(dls.valid_ds)) == (39, 10)
    valid_ages = torch.cat([batch[1] for batch in dls.valid]).tolist()
    assert valid_ages == list(range(40, 50))


def test_labels_stay_beside_their_photos_through_shuffling_threads_and_changes(faces):
    dls = loaders(faces)
    for photos, ages, genders in dls.train:
        known = [
            (shown, age, gender)
            for shown, age, gender in zip(shown_ages(dls.train, photos), ages, genders, strict=True)
        ]
        for shown, age, gender in known:
            assert shown == (5 if age.isnan() else age)
            assert gender == (-1 if shown == 6 else shown % 2)


def test_unknown_labels_are_missing_and_not_made_up(faces):
    items = {item.photo.stem: item.labels for item in face_items(faces, HEADS)}
    assert np.isnan(items["5"][0])
    assert items["6"] == (6.0, -1)
    assert "3" not in items


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_same_seed_gives_the_same_batches_whatever_the_workers(faces, workers):
    reference = loaders(faces, workers=2, augmentation=AugmentationSettings())
    other = loaders(faces, workers=workers, augmentation=AugmentationSettings())
    for _ in range(2):
        for ours, theirs in zip(epoch(reference.train), epoch(other.train), strict=True):
            assert torch.equal(ours[0], theirs[0])
            assert torch.equal(ours[2], theirs[2])


def test_epochs_and_seeds_differ_in_order_and_in_changes(faces):
    dls = loaders(faces, augmentation=AugmentationSettings())
    first, second = epoch(dls.train), epoch(dls.train)
    other_seed = epoch(loaders(faces, seed=4, augmentation=AugmentationSettings()).train)
    assert not torch.equal(first[0][1], second[0][1])
    assert not torch.equal(first[0][1], other_seed[0][1])


def test_validation_and_training_photos_read_in_order_are_never_changed(faces):
    dls = loaders(faces, augmentation=AugmentationSettings())
    in_order = dls.train.new(shuffle=False, drop_last=False)
    for loader in (dls.valid, in_order):
        for first, second in zip(epoch(loader), epoch(loader), strict=True):
            assert torch.equal(first[0], second[0])
    assert len(torch.cat([batch[1] for batch in in_order])) == 39


def test_decoding_undoes_the_normalisation(faces):
    dls = loaders(faces)
    photos = dls.valid.one_batch()[0]
    expected = torch.tensor([80.0, 175.0, 128.0]) / 255
    assert torch.allclose(dls.valid.decode((photos,))[0][0].mean(dim=(1, 2)), expected, atol=1e-5)
    reference = (expected - torch.tensor(IMAGE.mean)) / torch.tensor(IMAGE.std)
    assert torch.allclose(photos[0, :, 7, 7], reference, atol=1e-5)


def test_show_batch_writes_labels_above_photos(faces):
    figure = shown_figure(loaders(faces).valid.show_batch, max_n=4)
    assert [axis.get_title() for axis in figure.axes] == ["40 y, male", "41 y, female", "42 y, male", "43 y, female"]


def test_unknown_labels_are_shown_as_unknown(faces):
    dls = loaders(faces)
    unknown = [item for item in face_items(faces, HEADS) if item.photo.stem in {"5", "6"}]
    figure = shown_figure(dls.test_dl(unknown, with_labels=True).show_batch, max_n=2)
    assert [axis.get_title() for axis in figure.axes] == ["age unknown, female", "6 y, gender unknown"]


def test_show_results_writes_predictions_below_the_truth(learner):
    figure = shown_figure(learner.show_results, max_n=4, shuffle=False)
    assert figure.axes[1].get_title() == "true 41 y, female\npredicted 41 y, female"


def shown_figure(show, **options):
    import matplotlib.pyplot as plt

    plt.close("all")
    show(**options)
    figure = plt.gcf()
    plt.close("all")
    return figure


@pytest.mark.parametrize("kind", ["path", "text", "array", "image", "bytes"])
def test_predict_takes_a_photo_of_any_kind_and_names_the_right_age_and_gender(learner, faces, kind):
    path = faces.root / "47.png"
    with Image.open(path) as image:
        item = {
            "path": path,
            "text": str(path),
            "array": np.asarray(image),
            "image": image.copy(),
            "bytes": path.read_bytes(),
        }[kind]
    with learner.no_bar():
        (age, gender), *_ = learner.predict(item)
    assert float(age) == pytest.approx(47, abs=0.1)
    assert (str(age), gender) == ("47 y", "female")


def test_training_runs_through_fastai(learner):
    with learner.no_bar(), learner.no_logging():
        learner.fit(1, lr=0.1)
    assert np.isfinite(learner.recorder.values[0]).all()


def test_single_head_and_further_heads_need_no_other_code(faces):
    ethnicity = Classification("ethnicity", "ethnicity", ("Asian", "Black"))
    _, ages, _, ethnicities = loaders(faces, heads=(*HEADS, ethnicity)).valid.one_batch()
    assert (ethnicities == ages.long() % 2).all()
    single = loaders(faces, heads=(GENDER,))
    assert len(single.valid.one_batch()) == 2
    assert shown_figure(single.valid.show_batch, max_n=2).axes[1].get_title() == "female"


@pytest.mark.parametrize(
    ("column", "head", "title"),
    [
        ("height_cm", Regression("height", "height_cm", "cm"), "142 cm"),
        ("beauty", Regression("beauty", "beauty"), "beauty 4.2"),
    ],
)
def test_any_number_is_shown_with_its_unit_or_its_name(faces, column, head, title):
    values = faces.table["age_years"] + 100 if head.unit else faces.table["age_years"] / 10
    table = FacesTable(faces.table.assign(**{column: values}), faces.root)
    assert shown_figure(loaders(table, heads=(head,)).valid.show_batch, max_n=3).axes[2].get_title() == title


def test_item_transforms_are_refused_in_words(faces):
    from fastai.vision.augment import Resize

    block = make_data_block(HEADS, IMAGE, None, seed=1).new(item_tfms=Resize(32))
    with pytest.raises(UsageError, match=r"item_tfms \(Resize\) would never run.*ImageSettings"):
        block.dataloaders(face_items(faces, HEADS))
    with pytest.raises(UsageError, match="Resize"):
        loaders(faces).valid.new(after_item=[Resize(32)])


def test_batch_transforms_work(faces):
    from fastai.vision.augment import Flip

    block = make_data_block(HEADS, IMAGE, None, seed=3).new(batch_tfms=[IntToFloatTensor(), Flip(p=1.0)])
    plain = loaders(faces, augmentation=None).train
    flipped = block.dataloaders(face_items(faces, HEADS), bs=8, device="cpu").train
    for ours, theirs in zip(plain, flipped, strict=True):
        assert type(theirs[0]) is TensorPhoto
        torch.testing.assert_close(theirs[0], ours[0], atol=1e-5, rtol=0)  # one colour is its own mirror image


def test_loader_of_bare_paths_has_photos_alone(faces):
    batches = list(loaders(faces).test_dl([faces.root / f"{age}.png" for age in range(10, 20)]))
    assert [len(batch) for batch in batches] == [1, 1]
    assert shown_ages(loaders(faces).valid, batches[1][0]) == [18, 19]


def test_small_training_set_still_gives_its_one_batch(faces):
    assert [len(batch[0]) for batch in loaders(faces, batch_size=64).train] == [39]


def test_weights_choose_how_often_a_photo_is_drawn(faces):
    dls = loaders(faces)
    weights = np.zeros(39)
    weights[[10, 20]] = 1
    dls.train.weights = weights
    drawn = torch.cat([batch[1] for batch in dls.train]).unique().tolist()
    assert drawn == [11.0, 21.0]  # row 3 was dropped, so number 10 is age 11


def test_unreadable_photo_in_training_is_an_error_that_names_it(faces, tmp_path):
    (tmp_path / "bad.jpg").write_text("no photo")
    (tmp_path / "good.png").write_bytes((faces.root / "1.png").read_bytes())
    rows = [
        {"path": path, "source": "coded", "age_years": 1, "gender": "male", "split": split}
        for path, split in (("good.png", "train"), ("bad.jpg", "valid"))
    ]
    dls = make_dataloaders(
        FacesTable(make_table(rows), tmp_path), HEADS, IMAGE, None, batch_size=1, seed=0, device="cpu"
    )
    with pytest.raises(PhotoError, match=r"bad\.jpg: not an image"):
        list(dls.valid)


@pytest.mark.parametrize("split", ["train", "valid"])
def test_missing_split_is_an_error_in_one_line(faces, split):
    table = faces.table[faces.table["split"] != split]
    with pytest.raises(TableError, match=f"is split '{split}'"):
        loaders(FacesTable(table, faces.root))


def test_class_that_a_head_does_not_know_is_an_error(faces):
    with pytest.raises(TableError, match="none of Asian"):
        loaders(faces, heads=(Classification("ethnicity", "ethnicity", ("Asian",)),))


def test_early_stop_leaves_no_thread_behind(faces):
    iterator = iter(loaders(faces, batch_size=1).train)
    next(iterator)
    iterator.close()
    gc.collect()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("photos")]


def test_it_is_a_real_data_block(faces):
    block = make_data_block(HEADS, IMAGE, None, seed=1)
    assert isinstance(block, DataBlock)
    datasets = block.datasets(face_items(faces, HEADS))
    photo, age, gender = datasets.valid[2]
    assert (photo.size, float(age), int(gender)) == ((40, 40), 42.0, 0)


def test_loaders_travel_by_pickle_with_types(faces):
    dls = pickle.loads(pickle.dumps(loaders(faces).new_empty()))
    batch = dls.test_dl([faces.root / "44.png"]).one_batch()
    assert type(batch[0]) is TensorPhoto


@pytest.mark.slow
def test_exported_learner_predicts_the_same_in_a_new_process(learner, faces, tmp_path):
    learner.path = tmp_path
    learner.export("learner.pkl", pickle_module=dill)
    code = (
        "import sys, dill, warnings; warnings.simplefilter('ignore'); import fastai.callback.progress;"
        "sys.path.insert(0, sys.argv[1]);"
        "from fastai.learner import load_learner;"
        "learner = load_learner(sys.argv[2], pickle_module=dill);"
        "context = learner.no_bar(); context.__enter__();"
        "print(*map(str, learner.predict(sys.argv[3])[0]), sep='|')"
    )
    arguments = [str(Path(__file__).parent), str(tmp_path / "learner.pkl"), str(faces.root / "43.png")]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.stdout.strip().splitlines()[-1:] == ["43 y|female"], done.stderr
