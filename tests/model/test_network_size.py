"""How large a network is said to be, against what its file and its layers say; and trainings side by side."""

from __future__ import annotations

import pytest
from safetensors import safe_open
from torch import nn

from agegender.heads import AGE, head_to_dict
from agegender.model import shipped
from agegender.model.experiments import experiments
from agegender.model.network_size import _multiplications, milliseconds_per_photo, network_size

FOLDER = shipped.SHIPPED_FOLDER
is_there = all((FOLDER / name).is_file() for name in shipped.SHIPPED_FILES)


class Toy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.Conv2d(8, 8, 3, padding=1, groups=8))
        self.heads = nn.ModuleDict({"age": nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))})


def test_multiplications_of_a_small_network_are_those_counted_by_hand() -> None:
    by_hand = 8 * 16 * 16 * 9 * 3 + 8 * 16 * 16 * 9 + 8 * 5
    assert _multiplications(Toy().to("meta").eval(), 32) == by_hand


@pytest.mark.skipif(not is_there, reason="this working copy has no shipped model")
def test_parameters_are_those_of_the_weights_file() -> None:
    with safe_open(FOLDER / "weights.safetensors", "pt") as file:
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    counters = ("running_mean", "running_var", "num_batches_tracked", ".std")
    stored = 0
    for name, shape in shapes.items():
        size = 1
        for side in shape:
            size *= side
        stored += 0 if name.endswith(counters) else size
    size = network_size(FOLDER)
    assert size["parameters"] == stored
    assert size["megabytes"] == pytest.approx((FOLDER / "weights.safetensors").stat().st_size / 1e6)
    assert size["macs"] > size["parameters"]


def test_time_is_that_of_one_photo() -> None:
    class Slow:
        class image:  # noqa: N801
            size = 8

        asked = 0

        def answers(self, images):
            self.asked += 1
            assert images.shape == (32, 8, 8, 3)

    model = Slow()
    assert 0 <= milliseconds_per_photo(model) < 1000
    assert model.asked == 6


def test_only_settings_that_differ_stand_side_by_side() -> None:
    cards = {
        name: {
            "body": "resnet18", "training": {"epochs": epochs, "seed": 7, "device": name}, "balance": balance,
            "heads": [{"kind": "regression", "name": "age", "column": "age_years", "unit": "years", "loss": loss}],
            "data": {"sources": ["utkface"], "photos": {"train": 90}},
            "metrics": {"valid": {"age": {"mae": 5.5}}, "test": {"age": {"mae": 5.0 + epochs}}},
        }
        for name, epochs, balance, loss in (("a", 3, [], "l1"), ("b", 9, ["ethnicity", "gender"], "l1"))
    }  # fmt: skip
    first, second, third = experiments({**cards, "theirs": None})
    assert first["settings"] == {"training.epochs": "3", "balance": ""}
    assert second["settings"] == {"training.epochs": "9", "balance": "ethnicity, gender"}
    assert (first["trained_on"], first["photos"], second["test"]["age_mae"]) == ("utkface", 90, 14.0)
    assert third == {"model": "theirs", "trained_on": "", "photos": None, "settings": {}, "valid": {}, "test": {}}


def test_models_of_two_folds_of_a_table_differ_in_that() -> None:
    card = {"body": "resnet18", "heads": [head_to_dict(AGE)]}
    folds = {str(fold): card | {"data": {"notes": {"fold": fold}}} for fold in range(2)}
    assert [one["settings"] for one in experiments(folds)] == [{"fold": "0"}, {"fold": "1"}]
