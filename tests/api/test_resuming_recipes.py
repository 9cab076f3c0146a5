"""Whatever the recipe, a training in legs comes to the weights of one that nothing interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import agegender as ag
from agegender.data.faces_table import make_table
from agegender.errors import TrainingStopped

TINY = {"body": "test_resnet", "weights": "none", "image_size": 32, "batch_size": 8, "device": "cpu"}
TINY |= {"precision": "fp32", "heads": ["age", "gender"]}

RECIPES: dict[str, dict[str, Any]] = {
    "stages": {"stages": "heads:1,last-block:1,all:2", "layer_rates": 10.0, "schedule": "cosine", "warmup": 0.2},
    "stages of one-cycles": {"stages": "heads:2,all:2", "div": 5.0},
    "steps": {"schedule": "step", "step_size": 1, "step_gamma": 0.5},
    "plateau": {"schedule": "plateau", "plateau_patience": 1, "step_gamma": 0.5, "learning_rate": 0.05},
    "everything on the gradients": {"ema": 0.9, "accumulate": 2, "clip": 0.5, "l1": 1e-5, "dropout": 0.3},
    "sgd": {"optimiser": "sgd", "learning_rate": 0.01},
    "lamb": {"optimiser": "lamb", "schedule": "constant"},
    "adan": {"optimiser": "adan"},
    "adamp": {"optimiser": "adamp"},
    "lookahead": {"optimiser": "lookahead_radam"},
    "factors": {"optimiser": "adafactorbv"},
}


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> ag.Faces:
    """56 photos, light for the old, of which 28 train: three batches of 8."""
    root = tmp_path_factory.mktemp("coded")
    rows = []
    for number in range(56):
        Image.fromarray(np.full((32, 32, 3), number * 4, np.uint8)).save(root / f"{number}.png")
        row = {
            "path": f"{number}.png",
            "source": "coded",
            "age_years": number,
            "gender": ("male", "female")[number % 2],
        }
        rows.append(row | {"split": ("train", "train", "valid", "test")[number // 2 % 4]})
    return ag.Faces.from_frame(make_table(rows), root=root)


def weights(model: ag.Model) -> dict[str, torch.Tensor]:
    return model.learner.model.state_dict()


@pytest.mark.parametrize("name", RECIPES)
def test_in_legs_it_comes_to_the_same_weights(faces: ag.Faces, tmp_path: Path, name: str) -> None:
    settings = TINY | RECIPES[name] | ({} if "stages" in RECIPES[name] else {"epochs": 4})
    whole = ag.Model.train(faces, name="whole", **settings)
    with pytest.raises(TrainingStopped):
        ag.Model.train(faces, name="legs", models_dir=tmp_path, stop_after=1, **settings)
    with pytest.raises(TrainingStopped):
        ag.Model.resume(tmp_path / "legs", stop_after=2)
    torch.manual_seed(1)
    legs = ag.Model.resume(tmp_path / "legs")
    legs._run.close()
    assert all(torch.equal(value, weights(whole)[key]) for key, value in weights(legs).items())
    pd.testing.assert_frame_equal(legs.history.drop(columns="seconds"), whole.history.drop(columns="seconds"))
    assert legs.card["training"] == whole.card["training"]
