"""The learning-rate finder: what it reads off a known curve, and the command that draws one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from coded_faces import coded_faces
from matplotlib import image as pictures

import agegender as ag
from agegender import train
from agegender.errors import UsageError
from agegender.model.rate_finding import search_of


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> ag.Faces:
    root = tmp_path_factory.mktemp("coded")
    return ag.Faces.from_frame(coded_faces(root).table, root=root)


def test_rates_are_read_off_a_known_valley() -> None:
    rates = np.geomspace(1e-6, 10, 100)
    # Nothing is learnt below 1e-4; from there the loss falls to its lowest at 1e-2, and bursts behind it.
    losses = np.interp(np.log10(rates), [-6, -4, -2, 0, 1], [3.0, 3.0, 1.0, 4.0, 9.0])
    found = search_of(list(rates), list(losses))
    assert found.rate == found.suggestions["valley"]
    assert 1e-4 < found.rate < 1e-2
    assert found.suggestions["minimum"] == pytest.approx(1e-3, rel=0.2)
    assert 1e-4 < found.suggestions["steep"] < 1e-2


def test_what_comes_after_a_loss_that_is_no_number_is_left_aside() -> None:
    rates = np.geomspace(1e-6, 10, 100)
    losses = np.interp(np.log10(rates), [-6, -4, -2, 0, 1], [3.0, 3.0, 1.0, 4.0, 9.0])
    losses[80:] = np.nan
    assert len(search_of(list(rates), list(losses)).losses) == 80
    losses[10:] = np.nan
    with pytest.raises(UsageError, match="burst after 10 steps"):
        search_of(list(rates), list(losses))


def test_it_searches_with_several_heads_and_draws(
    faces: ag.Faces, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = ag.Model.find_rate(
        faces, steps=30, body="test_resnet", weights="none", image_size=32, batch_size=8, precision="fp32",
        heads=["age", "gender", "height:regression"], optimiser="sgd", accumulate=4, layer_rates=10.0,
    )  # fmt: skip
    assert "without --accumulate, --layer-rates: the rate that suits these may differ" in capsys.readouterr().err
    assert 1e-6 < found.rate < 10
    assert np.all(np.diff(found.rates) > 0)
    found.save(tmp_path / "curve.png")
    assert pictures.imread(tmp_path / "curve.png").shape[2] >= 3
    with pytest.raises(UsageError, match="at least 20"):
        ag.Model.find_rate(faces, steps=5)


def test_the_command_suggests_a_rate_and_trains_nothing(
    faces: ag.Faces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    faces.save("faces.parquet")
    options = "--faces faces.parquet --body test_resnet --weights none --image-size 32 --batch-size 8 --name mine"
    assert train.main([*options.split(), "--find-rate", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert set(document["suggestions"]) == {"valley", "steep", "minimum"}
    assert document["learning_rate"] == document["suggestions"]["valley"]
    assert Path(document["plot"]).read_text().startswith("<?xml")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["faces.parquet", "runs"]
    assert train.main(["--find-rate", "--resume", "mine"]) == 2
    assert "leave --resume and --folds out" in capsys.readouterr().err
