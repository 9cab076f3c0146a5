"""The example for a web page gives the numbers of `agegender predict`, in a real browser."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from golden_model import GOLDEN, write_golden
from PIL import Image

import agegender as ag
from agegender.heads import head_to_dict
from agegender.model.model_folder import heads_of
from agegender.photos.warping import fit_square

ROOT = Path(__file__).parents[2]
PHOTOS = np.load(GOLDEN / "photos.npz")["photos"]
PINNED = Path(__file__).parent / "onnxruntime_web"
SERVED = ("ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
SITE = "http://example.test/"
KINDS = {".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm"}
pytestmark = pytest.mark.browser


@pytest.fixture(scope="session")
def runtime() -> Path:
    """The folder with onnxruntime-web: one that is named, or the pinned one, installed once per machine."""
    if named := os.environ.get("AGEGENDER_ONNXRUNTIME_WEB"):
        return Path(named)
    if shutil.which("npm") is None:
        pytest.skip("needs npm, or onnxruntime-web's dist folder in AGEGENDER_ONNXRUNTIME_WEB")
    lock = (PINNED / "package-lock.json").read_bytes()
    place = Path(tempfile.gettempdir()) / f"agegender-web-{os.getuid()}-{len(lock)}-{sum(lock)}"
    dist = place / "node_modules" / "onnxruntime-web" / "dist"
    if not dist.is_dir():
        place.mkdir(exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(PINNED / name, place)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        try:
            subprocess.run(command, cwd=place, check=True, capture_output=True, timeout=120)
        except (subprocess.SubprocessError, OSError) as error:
            shutil.rmtree(place, ignore_errors=True)
            pytest.skip(f"onnxruntime-web cannot be installed here: {error}")
    return dist


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> ag.Model:
    """An exported model with a temperature, and with intervals that know the spread and the predicted gender."""
    folder = tmp_path_factory.mktemp("model")
    card = json.loads((write_golden(folder) / "model.json").read_text(encoding="utf-8"))
    card["heads"] = [head_to_dict(head) for head in heads_of(card)]
    effects = {"shift": -0.5, "log_scale": 0.1, "low_score": 0.2, "high_score": -0.1}
    card["calibration"] = {
        "age": {
            "level": 0.9,
            "calibration_count": 900,
            "knots": [10.0, 30.0, 60.0],
            "centre": [0.5, -0.5, -2.0],
            "low_log_scale": [1.0, 1.5, 2.0],
            "high_log_scale": [1.2, 1.4, 1.9],
            "low_score": [1.6, 1.7, 1.8],
            "high_score": [1.5, 1.7, 1.9],
            "log_spread": [1.5, 2.0, 2.3],
            "spread_power": 0.4,
            "spread_range": [-0.6, 0.6],
            "groups": {"predicted_gender": {"female": effects}},
        },
        "gender": {"temperature": 1.7},
    }
    (folder / "model.json").write_text(json.dumps(card), encoding="utf-8")
    ag.Model.load(folder, device="cpu").export(folder / "model.onnx")
    return ag.Model.load(folder / "model.onnx")


@pytest.fixture(scope="module")
def site(chromium, runtime: Path, model: ag.Model):
    """The page of docs/web, as a web server would give it."""
    files = {name: runtime / name for name in SERVED}
    files |= {name: ROOT / "docs" / "web" / name for name in ("index.html", "agegender.js")}
    files |= {"model.onnx": model.runtime.place}
    complaints: list[str] = []
    context = chromium.new_context()
    page = context.new_page()

    def serve(route) -> None:
        name = route.request.url.removeprefix(SITE) or "index.html"
        if name not in files:
            complaints.append(f"asked for {route.request.url}")
            route.abort()
            return
        kind = KINDS.get(files[name].suffix, "application/octet-stream")
        route.fulfill(body=files[name].read_bytes(), content_type=kind)

    page.route("**/*", serve)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(SITE)
    yield page
    context.close()
    assert [one for one in complaints if not one.endswith("favicon.ico")] == []


def answered(page, photo: Path) -> dict:
    page.evaluate("document.querySelector('pre').textContent = ''")
    page.set_input_files("input", photo)
    page.wait_for_function("document.querySelector('pre').textContent !== ''", timeout=180_000)
    return json.loads(page.inner_text("pre"))


def check_same(page, model: ag.Model, photo: Path, *, years: float, probability: float) -> None:
    theirs = answered(page, photo)
    (ours,) = model.predict([photo], is_cropped=True).to_dict("records")
    assert set(theirs) == {name for head in model.heads for name in head.prediction_columns}
    assert theirs["predicted_gender"] == ours["predicted_gender"]
    for name, value in theirs.items():
        if isinstance(value, float):
            limit = probability if "probability" in name else years
            assert value == pytest.approx(ours[name], abs=limit), (photo.name, name)


def face(width: int, height: int, number: int = 0) -> np.ndarray:
    return cv2.resize(PHOTOS[number], (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize(("width", "height"), [(200, 200), (64, 90), (41, 57), (333, 250), (640, 481), (96, 64)])
def test_a_photo_without_losses_gives_the_numbers_of_predict(site, model, tmp_path: Path, width, height) -> None:
    Image.fromarray(face(width, height, width % len(PHOTOS))).save(tmp_path / "face.png")
    check_same(site, model, tmp_path / "face.png", years=1e-3, probability=1e-4)


def test_a_jpeg_that_lies_on_its_side_is_turned(site, model, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(face(300, 360, 2)).copy()).save(tmp_path / "turned.jpg", exif=exif, quality=92)
    check_same(site, model, tmp_path / "turned.jpg", years=0.5, probability=0.02)


@pytest.mark.parametrize("size", [32, 64, 100, 224])
def test_pixels_come_to_the_square_as_in_python(site, size: int) -> None:
    """To the last bit: a rounding that differs is seen in noise, where neighbours have nothing in common."""
    random = np.random.default_rng(size)
    for width, height in ((64, 64), (200, 200), (129, 97), (300, 431), (65, 64), (50, 37)):
        photo = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        rgba = np.dstack([photo, np.full((height, width), 255, np.uint8)])
        found = site.evaluate(
            "async ([data, width, height, size]) => {"
            " const { fitSquare } = await import('./agegender.js');"
            " return Array.from(fitSquare({ data: Uint8ClampedArray.from(data), width, height }, size)); }",
            [rgba.ravel().tolist(), width, height, size],
        )
        difference = np.abs(np.array(found).reshape(size, size, 3) - fit_square(photo, size).astype(int))
        assert difference.max() == 0, (width, height)


def test_what_is_no_photo_and_no_model_is_said(site, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("no photo")
    assert "no answer: " in answered(site, tmp_path / "letter.txt")
    for bytes_, said in (([8, 1], "was not exported by agegender"), ([114, 200], "damaged"), ([], "not exported")):
        found = site.evaluate(
            "async (bytes) => { const { cardOf } = await import('./agegender.js');"
            " try { cardOf(Uint8Array.from(bytes)); return ''; } catch (error) { return error.message; } }",
            bytes_,
        )
        assert said in found


def test_the_example_is_as_short_as_it_says() -> None:
    page = (ROOT / "docs" / "web" / "index.html").read_text(encoding="utf-8")
    script = page.partition('<script type="module">')[2].partition("</script>")[0]
    assert len([line for line in script.splitlines() if line.strip()]) <= 10
    readme = (ROOT / "docs" / "web" / "README.md").read_text(encoding="utf-8")
    version = json.loads((PINNED / "package.json").read_text(encoding="utf-8"))["dependencies"]["onnxruntime-web"]
    assert f"onnxruntime-web@{version.removeprefix('^')}" in readme
    assert all(name.removesuffix(".js").removesuffix(".mjs").removesuffix(".wasm") in readme for name in SERVED)
