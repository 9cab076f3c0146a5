"""Take the site's pictures of pages: `python docs/take_pictures.py MODEL PHOTOS`, a model of drawn faces and these.

A third word is a report of that model, which is taken as it lies instead of being written anew. A report alone, such as
`reports/example`, gives the pictures of its pages, without those of suspects and of the server.
Needs Debian's Chromium and the package playwright. Pages of real faces are never to be put here.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pandas as pd

import agegender as ag
from agegender.serving.application import make_application
from agegender.serving.limits import Limits
from agegender.serving.running import listening, make_server
from agegender.serving.service import Service

PICTURES = Path(__file__).resolve().parent / "pictures"
WIDE, HIGH = 1100, 640


def main(model_folder: Path, photos: Path, report: Path | None = None) -> None:
    """Take a picture of each page of a model."""
    from playwright.sync_api import sync_playwright

    model = ag.Model.load(model_folder, images=photos)
    assert model.faces is not None
    assert model.faces.is_drawn(), "only pages of drawn faces may be shown"
    with tempfile.TemporaryDirectory() as written, sync_playwright() as started:
        pages = (
            model.report(written) if report is None else {path.stem: path for path in report.resolve().glob("*.html")}
        )
        suspects = _suspects(model, Path(written) / "suspects.html", photos)
        browser = started.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": WIDE, "height": HIGH}, color_scheme="light")
        _of_pages(page, pages)
        page.goto(f"file://{suspects}")
        _take(page, "suspects", "#suspects li")
        with _served(model, model_folder) as address:
            page.goto(address)
            page.set_input_files("input[type=file]", model.faces.photo_path(model.faces.kept()["path"].iloc[0]))
            page.wait_for_selector("article.photo:not([aria-busy])")
            _take(page, "serving", "article.photo")


def of_report(report: Path) -> None:
    """Take the pictures of a report's pages."""
    from playwright.sync_api import sync_playwright

    said = (report / "bias.html").read_text(encoding="utf-8")
    assert "These faces are drawn" in said, "only pages of drawn faces may be shown"
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": WIDE, "height": HIGH}, color_scheme="light")
        _of_pages(page, {path.stem: path for path in report.resolve().glob("*.html")})


def _of_pages(page: Any, pages: Mapping[str, Path]) -> None:
    for name, place, part in (
        ("index", pages["index"], None),
        ("bias", pages["bias"], None),
        ("forest", pages["bias"], "h2:has-text('All groups in one picture')"),
    ):
        page.goto(f"file://{place}")
        _take(page, name, part)
    page.goto(f"file://{pages['lime']}")
    _hold_bars(page)
    page.locator("article.face").first.screenshot(path=PICTURES / "explanation.png")
    _shrink(PICTURES / "explanation.png")
    _side_by_side(page, [pages["bias"], pages["lime"]])


def _take(page: Any, name: str, part: str | None) -> None:
    """Take the top of a page, or, from where a part begins, as much as fits."""
    if part is not None:
        _hold_bars(page)
        top = page.locator(part).first.bounding_box()["y"] + page.evaluate("scrollY")
        page.evaluate("(top) => scrollTo(0, top - 20)", top)
    page.screenshot(path=PICTURES / f"{name}.png")
    _shrink(PICTURES / f"{name}.png")


def _hold_bars(page: Any) -> None:
    """Have bars stay where they are written, instead of over the part that is taken."""
    page.evaluate("document.querySelectorAll('nav, .marking').forEach((bar) => { bar.style.position = 'static'; })")


def _side_by_side(page: Any, places: list[Path]) -> None:
    """Take the README's picture: the tops of two pages beside each other."""
    from PIL import Image

    page.set_viewport_size({"width": 1000, "height": 1220})
    whole = Image.new("RGB", (2020, 1220), "#d0d4da")
    for number, place in enumerate(places):
        page.goto(f"file://{place}")
        with tempfile.NamedTemporaryFile(suffix=".png") as file:
            page.screenshot(path=file.name)
            whole.paste(Image.open(file.name).convert("RGB"), (number * 1020, 0))
    whole.save(PICTURES.parent / "report.png")
    _shrink(PICTURES.parent / "report.png")
    page.set_viewport_size({"width": WIDE, "height": HIGH})


def _shrink(file: Path) -> None:
    """Keep few colours, which pages have anyhow: a third of the bytes."""
    from PIL import Image

    with Image.open(file) as picture:
        small = picture.convert("RGB").quantize(160, dither=Image.Dither.NONE)
    small.save(file, optimize=True)


def _suspects(model: ag.Model, page: Path, photos: Path) -> Path:
    """Write a page of suspected labels, after making some of the test photos' labels wrong."""
    assert model.predictions is not None
    rows: pd.DataFrame = model.predictions[model.predictions["split"] == "test"].reset_index(drop=True)
    rows.loc[::15, "age_years"] = (rows.loc[::15, "age_years"] + 50) % 90
    return ag.Audit(rows, images=photos, title="drawn faces").suspects_to_html(page)


@contextmanager
def _served(model: ag.Model, folder: Path) -> Iterator[str]:
    limits = Limits()
    with listening("127.0.0.1", 0) as place:
        server = make_server(make_application(Service(model, folder, largest_pixels=limits.pixels), limits), limits)
        thread = Thread(target=server.run, kwargs={"sockets": [place]}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{place.getsockname()[1]}/"
        server.should_exit = True
        thread.join(timeout=10)


if __name__ == "__main__":
    (of_report if len(sys.argv) == 2 else main)(*map(Path, sys.argv[1:]))
