"""The model that comes with the package answers where none is named, and its figures are of photos it never saw."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from golden_model import write_golden
from PIL import Image
from skimage import data
from torch import nn

import agegender as ag
from agegender import export, predict
from agegender.errors import CardError, ModelError
from agegender.heads import AGE, GENDER
from agegender.model import shipped
from agegender.model.checkpoint import write_tensors
from agegender.model.half_floats import as_half_floats, half_state, with_half_initializers
from agegender.model.model_folder import CARD_FILE, ONNX_FILE, WEIGHTS_FILE, network_entries, read_card
from agegender.model.network import Statistics, make_network
from agegender.model.onnx_export import export_model
from agegender.model.onnx_runtime import OnnxRuntime
from agegender.settings import ImageSettings

ROOT = Path(ag.__file__).parent.parent
DOCS = ROOT / "docs" / "shipped-model"
is_there = all((shipped.SHIPPED_FOLDER / name).is_file() for name in shipped.SHIPPED_FILES)
needs_it = pytest.mark.skipif(not is_there, reason="this working copy has no shipped model")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(1).integers(0, 256, (150, 120, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((240, 300)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@needs_it
def test_without_a_model_named_the_shipped_one_answers_and_torch_is_never_loaded(photo: Path, tmp_path: Path) -> None:
    look = (
        "import sys; from agegender.__main__ import main; code = main(sys.argv[1:]); "
        "print(sorted({'torch', 'fastai', 'torchvision', 'timm'} & set(sys.modules)), file=sys.stderr); sys.exit(code)"
    )
    command = [sys.executable, "-c", look, "predict", str(photo), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "[]"
    (row,) = json.loads(done.stdout)
    assert row["age_low_years"] <= row["predicted_age_years"] <= row["age_high_years"]
    card = read_card(shipped.SHIPPED_FOLDER)
    terms = [line for line in done.stderr.splitlines() if shipped.LICENCE in line]
    assert len(terms) == 1
    assert card["name"] in terms[0]
    assert "non-commercial" in terms[0]


@needs_it
def test_a_server_of_it_answers_without_torch_until_somebody_asks_for_an_explanation(photo: Path) -> None:
    look = (
        "import sys; import agegender as ag; from pathlib import Path\n"
        "from agegender.model.face_rows import Looking; from agegender.serving.application import make_application\n"
        "from agegender.serving.limits import Limits; from agegender.serving.sent_photos import SentPhoto\n"
        "from agegender.serving.service import Asked, Service\n"
        "service = Service(ag.Model.load(), ag.Model.load().place, largest_pixels=10**7)\n"
        "make_application(service, Limits())\n"
        "asked = Asked((SentPhoto('a.png', Path(sys.argv[1]).read_bytes()),), Looking())\n"
        "assert service.predict([asked])[0][0]['predicted_gender']\n"
        "print(sorted({'torch', 'lime', 'scipy', 'sklearn', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", look, str(photo)], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr


@needs_it
def test_in_python_it_is_what_load_returns_and_torch_finds_the_same_network() -> None:
    model = ag.Model.load()
    photos = np.random.default_rng(2).integers(0, 256, (5, model.image.size, model.image.size, 3), dtype=np.uint8)
    assert isinstance(model.runtime, OnnxRuntime)
    for ours, theirs in zip(model.runtime.answers(photos), model.in_torch.answers(photos), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    pd.testing.assert_frame_equal(
        model.predict_images(photos), ag.Model.load(runtime="torch").predict_images(photos), atol=1e-3
    )


@needs_it
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read as Linux tells it")
def test_batches_of_many_sizes_take_no_more_memory_than_the_largest() -> None:
    def held_megabytes() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6

    model, held = ag.Model.load(), []
    photos = np.zeros((52, model.image.size, model.image.size, 3), np.uint8)
    for count in range(20, 53, 4):
        model.runtime.answers(photos[:count])
        held.append(held_megabytes())
    assert held[-1] - held[1] < 100  # it was 150, when the pieces of every size were kept


@needs_it
def test_export_does_not_write_over_it(capsys: pytest.CaptureFixture[str]) -> None:
    before = (shipped.SHIPPED_FOLDER / ONNX_FILE).stat().st_mtime_ns
    for more in ([], ["--int8"]):
        assert export.main(["--model", str(shipped.SHIPPED_FOLDER), *more]) == 2
        assert "name a file with --out" in capsys.readouterr().err
    assert (shipped.SHIPPED_FOLDER / ONNX_FILE).stat().st_mtime_ns == before


@needs_it
def test_it_looks_twice_for_a_face_whatever_runs_it() -> None:
    photo = np.stack([data.camera()] * 3, axis=-1)  # a man in profile
    answers = [ag.Model.load(runtime=runtime).predict(photo) for runtime in ("onnx", "torch")]
    assert all("found at the second look" in table["problems"][0] for table in answers)
    pd.testing.assert_frame_equal(*answers, atol=1e-3)


@needs_it
def test_it_is_small_and_every_figure_of_its_card_is_of_photos_that_it_never_saw() -> None:
    sizes = {name: (shipped.SHIPPED_FOLDER / name).stat().st_size for name in shipped.SHIPPED_FILES}
    assert max(sizes.values()) <= 6_000_000
    card = read_card(shipped.SHIPPED_FOLDER)
    assert not card["data"]["is_drawn"]
    assert list(card["metrics"]) == ["test"]
    split = pd.read_parquet(DOCS / "split.parquet")
    assert split["file_sha512"].is_unique  # so no photo stands on two sides
    assert split["split"].value_counts().to_dict() == card["data"]["photos"]
    assert card["metrics"]["test"]["n"] == card["data"]["photos"]["test"]
    figures = json.loads((DOCS / "figures.json").read_text())
    assert figures["test"]["age"]["mae"] == card["metrics"]["test"]["age"]["mae"]
    assert figures["test"]["gender"]["accuracy"] == card["metrics"]["test"]["gender"]["accuracy"]


@needs_it
def test_no_page_about_it_shows_a_face() -> None:
    page = (DOCS / "bias.html").read_text(encoding="utf-8")
    assert "data:image/webp" not in page
    assert "data:image/jpeg" not in page
    assert ".chip.jpg" not in page


def test_its_licence_stands_apart_from_that_of_the_code_and_travels_with_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["license"] == f"MIT AND {shipped.LICENCE}"
    assert "licenses/*" in project["project"]["license-files"]
    assert "shipped/*" in project["tool"]["setuptools"]["package-data"]["agegender"]
    assert "non-commercial research" in (ROOT / "licenses" / f"{shipped.LICENCE}.txt").read_text()


def test_a_package_that_was_built_without_it_says_so(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shipped, "SHIPPED_FOLDER", tmp_path / "nowhere")
    assert predict.main([str(photo)]) == 2
    assert "came without the model" in capsys.readouterr().err
    with pytest.raises(CardError, match="Install it again, or train a model"):
        ag.Model.load()


def test_a_model_of_drawn_faces_answers_only_by_name_and_warns(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "models" / "drawn"
    card = json.loads((write_golden(folder) / CARD_FILE).read_text())
    (folder / CARD_FILE).write_text(json.dumps({**card, "data": {"is_drawn": True}}))
    for named in (["--model", str(folder)], ["--models-dir", str(folder.parent)]):
        assert predict.main([str(photo), *named]) == 0
        said = capsys.readouterr().err
        assert said.count("trained on drawn faces and has never seen a real one") == 1
        assert shipped.LICENCE not in said


def trained_network(seed: int = 0) -> nn.Module:
    """A network whose norms have seen something, as those of a trained one have."""
    torch.manual_seed(seed)
    network = make_network("resnet18-narrow-small-stem", (AGE, GENDER), {"age": Statistics(33.0, 20.0)})
    with torch.no_grad():
        for _ in range(6):
            network.train()(torch.randn(8, 3, 48, 48))
    return network.eval()


def test_half_floats_are_stored_and_computed_with_alike_by_both_runtimes(tmp_path: Path) -> None:
    network = trained_network()
    rounded = as_half_floats(network)
    photos = torch.randn(4, 3, 48, 48)
    with torch.inference_mode():
        for ours, whole in zip(rounded(photos), network(photos), strict=True):
            assert float((ours - whole).abs().max()) < 0.02
    stored = half_state(rounded)
    assert all(torch.equal(value.float(), rounded.state_dict()[name].float()) for name, value in stored.items())
    image = ImageSettings(size=48, mirrored=True)
    by_median = replace(AGE, point="median")
    card = {"name": "half", **network_entries((by_median, GENDER), image, network.statistics, network.body_name)}
    (tmp_path / "half").mkdir()
    write_tensors(stored, tmp_path / "half" / WEIGHTS_FILE)
    (tmp_path / "half" / CARD_FILE).write_text(json.dumps(card))
    model = ag.Model.load(tmp_path / "half", device="cpu")
    whole_file = tmp_path / "half" / ONNX_FILE
    export_model(model, whole_file)
    halves = with_half_initializers(whole_file.read_bytes())
    assert len(halves) < 0.51 * whole_file.stat().st_size
    whole_file.write_bytes(halves)
    exported = ag.Model.load(whole_file)
    pixels = np.random.default_rng(3).integers(0, 256, (6, 48, 48, 3), dtype=np.uint8)
    for ours, theirs in zip(model.runtime.answers(pixels), exported.runtime.answers(pixels), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_weights_that_are_no_half_floats_are_refused(tmp_path: Path) -> None:
    network = trained_network()
    card = {"name": "x", **network_entries((AGE, GENDER), ImageSettings(size=48), network.statistics, "custom")}
    export_model(ag.Model.of_network(network, card, device="cpu"), tmp_path / "x.onnx")
    with pytest.raises(ModelError, match="the exporter has changed a weight"):
        with_half_initializers((tmp_path / "x.onnx").read_bytes())
    with torch.no_grad():
        network.heads["gender"][-1].weight[0, 0] = 1e6
    with pytest.raises(ModelError, match=r"heads.gender.* beyond 65504"):
        as_half_floats(network)
