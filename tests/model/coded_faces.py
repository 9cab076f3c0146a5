"""Photos that say their age by their brightness, and a small Learner on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from agegender.data.datablock import make_dataloaders
from agegender.data.faces_table import FacesTable, make_table
from agegender.heads import AGE, GENDER, Classification, Head, Regression
from agegender.model.learner import FaceLearner, make_learner
from agegender.model.losses import CombinedLoss
from agegender.model.network import FaceNetwork, Statistics, make_network
from agegender.model.training import Trained, write_model
from agegender.settings import AugmentationSettings, ImageSettings
from agegender.swapping import replaced_folder

CPU = torch.device("cpu")
HEADS = (AGE, GENDER)
ETHNICITY = Classification("ethnicity", "ethnicity", ("Asian", "Black"), weight=0.5)
HEIGHT = Regression("height", "height_cm", "cm")
STATISTICS = {"age": Statistics(30.0, 17.0), "height": Statistics(130.0, 17.0)}
TINY = "mobilenetv3_small_050"


def coded_faces(root: Path) -> FacesTable:
    rows = []
    for number in range(32):
        Image.fromarray(np.full((32, 32, 3), number * 7, np.uint8)).save(root / f"{number}.png")
        row = {"path": f"{number}.png", "source": "coded", "age_years": number * 2, "ethnicity": "Asian"}
        row |= {"height_cm": 100.0 + 2 * number}
        rows.append(row | {"gender": ("male", "female")[number % 2], "split": "valid" if number % 4 == 0 else "train"})
    return FacesTable(make_table(rows), root)


def small_network(heads: tuple[Head, ...] = HEADS) -> FaceNetwork:
    torch.manual_seed(3)
    return make_network(TINY, heads, STATISTICS, image_size=32)


def small_learner(faces: FacesTable, heads: tuple[Head, ...] = HEADS) -> FaceLearner:
    image, augmentation = ImageSettings(size=32), AugmentationSettings()
    dataloaders = make_dataloaders(faces, heads, image, augmentation, batch_size=8, seed=1, device=CPU)
    return make_learner(dataloaders, small_network(heads), CombinedLoss(heads, {"age": 17.0, "height": 17.0}))


def store(trained: Trained, faces: FacesTable, folder: Path) -> Path:
    parts = {"predictions": trained.predictions, "history": trained.history, "learner": trained.learner}
    with replaced_folder(folder) as new:
        write_model(new, trained.predictor, faces=faces, **parts)
    return folder
